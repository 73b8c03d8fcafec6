/* hostile.c - memory that no writer of ours writes: one word or position of a ring that is in use becomes anything, then
 * every call is made. It may answer what it likes, but it comes to an end, and neither reads nor hands out what lies outside.
 * tests/core/fuzz_segment.c does this for longer; this is quick enough to be asked of every broken version. */
#include <stdlib.h>

#include "configurations.h"

enum { ENDS = 2, TIMES = 4000 };

static struct sr_header *const header = (struct sr_header *)segment;
static struct sr_endpoint ends[ENDS];
static uint32_t semaphores[3];
static struct sr_geometry plan;

static uint64_t seed;
static uint64_t random_bits(void) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed >> 32 ^ seed << 24;
}
static uint64_t random_below(uint64_t bound) { return random_bits() % bound; }

static void make(uint32_t kind, bool overwrite) {
    if (sr_geometry_plan(&plan, kind, 64 * (2 + random_below(9)) - random_below(20),
                         kind < SR_KIND_TOPIC ? random_below(3) : 0) != SR_OK)
        abort();
    plan.overwrite = overwrite;
    memset(segment, 0, plan.segment_size);
    header->write_position = header->read_position = header->reclaim_position = sr_first_position(&plan);
    semaphores[0] = 1;
    semaphores[1] = 0;
    semaphores[2] = (uint32_t)sr_semaphore_slots(&plan);
    for (uint32_t i = 0; i < ENDS; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        sr_endpoint_bind(&ends[i], segment, &plan);
        ends[i].slot = i;
        ends[i].owner = 1u << SR_SLOT_BITS | i;
        ends[i].self = &ends[i].attachments[i];
        ends[i].semaphores = (struct sr_semaphores){&semaphores[0], &semaphores[1], &semaphores[2]};
    }
    header->role_owner[0] = header->role_owner[1] = ends[0].owner | SR_HELD;
    if (kind == SR_KIND_SPSC) {
        (void)sr_spsc_adopt(&ends[0], SR_ROLE_PRODUCER);
        (void)sr_spsc_adopt(&ends[0], SR_ROLE_CONSUMER);
    }
    if (kind == SR_KIND_LATEST)
        header->write_position = 0;
    struct sr_topic_range range;
    if (kind == SR_KIND_TOPIC)
        (void)sr_topic_subscribe(&ends[1], SR_START_OLDEST, 0, &range);
}

static void is_inside(const struct sr_record *record) {
    const unsigned char *end = ends[0].arena + plan.granules * SR_GRANULE;
    EXPECT(record->payload >= ends[0].arena && record->payload <= end);
    EXPECT(record->length <= (uint64_t)(end - record->payload) && record->length <= plan.max_message);
}

static void call(void) {
    struct sr_record record, next;
    struct sr_contents contents;
    struct sr_topic_range range;
    struct sr_wait wait = {.hooks = FOR_EVER.hooks};
    uint64_t number, kind = plan.kind;
    int end = kind == SR_KIND_SPSC ? 0 : (int)random_below(2);
    struct sr_endpoint *self = &ends[end], *subscriber = kind == SR_KIND_TOPIC ? &ends[1] : self;
    switch (random_below(kind == SR_KIND_LATEST ? 6 : 12)) {
    case 0:
    case 1:
        if (sr_claim(self, random_below(plan.max_message + 1), &wait, &record) == SR_OK) {
            is_inside(&record);
            if (random_below(4))
                (void)sr_commit(self, &record);
            else if (random_below(2))
                (void)sr_abort(self, &record);
            sr_announce(self, 1);
        }
        break;
    case 2:
    case 3:
        if (sr_take(subscriber, random_below(8) ? UINT64_MAX : 1, &wait, &record) != SR_OK)
            break;
        is_inside(&record);
        if (kind != SR_KIND_LATEST && sr_try_take_next(subscriber, &record, &next) == SR_OK)
            is_inside(&next);
        if (random_below(4))
            (void)sr_acknowledge(subscriber, &record);
        else if (random_below(2))
            (void)sr_hand_back(subscriber, &record);
        sr_announce_room(subscriber);
        break;
    case 4:
        (void)sr_contents_read(self, &contents);
        break;
    case 5:
        (void)sr_try_room(self, random_below(plan.max_message + 1));
        break;
    case 6:
        (void)sr_after_empty(subscriber);
        break;
    case 7:
        (void)sr_contents_taken_by(self, ends[0].owner);
        break;
    case 8:
        if (kind == SR_KIND_TOPIC)
            (void)sr_topic_subscribe(&ends[1], (enum sr_start)random_below(3), random_below(9), &range);
        else if (kind == SR_KIND_SPSC) {
            (void)sr_spsc_adopt(&ends[0], SR_ROLE_CONSUMER);
            (void)sr_spsc_adopt(&ends[0], SR_ROLE_PRODUCER);
        } else
            (void)sr_mpmc_in_flight(self, &number);
        break;
    case 9:
        if (kind != SR_KIND_SPSC)
            (void)sr_mpmc_repair(self, ends[1 - end].owner, &number);
        break;
    case 10:
        if (kind == SR_KIND_TOPIC)
            (void)sr_topic_range_read(&ends[1], &range);
        else if (kind == SR_KIND_MPMC)
            (void)sr_try_take_again(self, header->read_position, &record);
        break;
    default:
        if (kind == SR_KIND_TOPIC)
            (void)sr_topic_subscribe_again(&ends[1]);
        else if (kind != SR_KIND_SPSC)
            (void)sr_mpmc_maybe_ready(self);
        if (kind == SR_KIND_SEMAPHORE)
            sr_semaphore_repair(self, ends[1 - end].owner);
    }
}

static void damage(void) {
    uint64_t words = plan.kind == SR_KIND_LATEST ? SR_LATEST_PLACES : plan.granules;
    sr_atomic_u64 *const places[] = {&header->write_position,   &header->read_position,
                                     &header->reclaim_position, &header->turn_limit,
                                     &ends[1].self->cursor,     &ends[0].words[random_below(words)]};
    uint64_t which = random_below(12);
    sr_atomic_u64 *place = places[which < 6 ? which : 5];
    uint64_t value = random_bits();
    switch (random_below(5)) {
    case 0:
        *place = value;
        break;
    case 1: /* a granule on or back, perhaps beyond the arena */
        *place += (value % 9 - 4) << plan.sequence_bits;
        break;
    case 2: /* another length, of the same lap */
        *place ^= (value & plan.length_mask) << SR_LENGTH_AT;
        break;
    case 3: /* another state */
        *place ^= value & 7;
        break;
    default: /* another lap */
        *place += (value % 5 - 2) << (place == places[5] ? plan.lap_at : plan.sequence_bits + plan.index_bits);
    }
}

static void hostile(uint32_t kind, bool overwrite) {
    pace_ns = 1000000;
    for (int i = 0; i < TIMES; i++) {
        seed = (uint64_t)i * 977 + kind;
        explore_forbid(NULL, 0);
        make(kind, overwrite);
        for (uint64_t j = random_below(12); j; j--)
            call();
        const unsigned char *end_of_words =
            (const unsigned char *)(kind == SR_KIND_TOPIC    ? ends[0].counts + plan.granules
                                    : kind == SR_KIND_LATEST ? ends[0].words + SR_LATEST_PLACES
                                                             : ends[0].words + plan.granules);
        explore_forbid(end_of_words, (size_t)(segment + sizeof segment - end_of_words));
        damage();
        for (int j = 0; j < 6; j++)
            call();
    }
    explore_forbid(NULL, 0);
}
static void spsc(void) { hostile(SR_KIND_SPSC, false); }
static void mpmc(void) { hostile(SR_KIND_MPMC, false); }
static void semaphore(void) { hostile(SR_KIND_SEMAPHORE, false); }
static void topic(void) { hostile(SR_KIND_TOPIC, false); }
static void overwriting(void) { hostile(SR_KIND_TOPIC, true); }
static void latest(void) { hostile(SR_KIND_LATEST, false); }
static void nothing(void) {}

const struct configuration HOSTILE[] = {
    {C("hostile-spsc", spsc, nothing, 1, nothing)},
    {C("hostile-mpmc", mpmc, nothing, 1, nothing)},
    {C("hostile-semaphore", semaphore, nothing, 1, nothing)},
    {C("hostile-topic", topic, nothing, 1, nothing)},
    {C("hostile-overwrite", overwriting, nothing, 1, nothing)},
    {C("hostile-latest", latest, nothing, 1, nothing)},
};
const size_t HOSTILE_COUNT = sizeof HOSTILE / sizeof *HOSTILE;
