/* models.c - each kind of ring in one thread against a plain list of records: what each call must answer, what lies in the
 * ring, what comes next and how. As tests/model does under Python, but below it and in milliseconds. */
#include <stdlib.h>

#include "configurations.h"

enum { LONGEST = 64, ENDS = 3, CALLS = 700 };
enum phase { NONE, CLAIMED, READY, TAKEN, DONE };

struct item {
    enum phase phase;
    bool is_message, redelivered, is_exposed; /* somebody sees it before it is acknowledged */
    uint64_t granules, length, position;
    uint32_t id;
    int end; /* that claimed or took it */
    struct sr_record record;
};

static struct sr_header *const header = (struct sr_header *)segment;
static struct sr_endpoint ends[ENDS];
static uint32_t semaphores[3];
static struct item items[LONGEST];
static int count, open_claims;
static uint64_t place; /* of the next record: its index */
static uint32_t ids, shutdown;
static bool is_spsc, has_died;
static struct sr_geometry plan;

static uint64_t seed;
static uint64_t random_below(uint64_t bound) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % bound;
}

/* --- the model --- */

static uint64_t used(void) {
    uint64_t sum = 0;
    for (int i = 0; i < count; i++)
        sum += items[i].granules;
    return sum;
}
static uint64_t how_many(enum phase phase) {
    uint64_t found = 0;
    for (int i = 0; i < count; i++)
        found += items[i].is_message && items[i].phase == phase;
    return found;
}
static uint64_t messages(void) { return how_many(CLAIMED) + how_many(READY) + how_many(TAKEN) + how_many(DONE); }
static uint64_t padding_for(uint64_t granules) { return granules > plan.granules - place ? plan.granules - place : 0; }
static bool has_room(uint64_t length) {
    uint64_t granules = sr_granules_for(length);
    return used() + padding_for(granules) + granules <= plan.granules && (!plan.slots || messages() < plan.slots);
}
static void settle(void) {
    int done = 0;
    while (done < count && items[done].phase == DONE)
        done++;
    memmove(items, items + done, (size_t)(count - done) * sizeof *items);
    count -= done;
}
static struct item *add(uint64_t granules, bool is_message) {
    items[count] = (struct item){.granules = granules, .is_message = is_message, .phase = DONE};
    place = (place + granules) % plan.granules;
    return &items[count++];
}
/* What a taker gets next: the oldest that waits, unless an older one is still claimed. */
static struct item *next(void) {
    for (int i = 0; i < count; i++)
        if (items[i].phase == CLAIMED || items[i].phase == READY)
            return items[i].phase == READY ? &items[i] : NULL;
    return NULL;
}
static struct item *any(enum phase phase) {
    uint64_t found = how_many(phase), which = found ? random_below(found) : 0;
    for (int i = 0; found && i < count; i++)
        if (items[i].is_message && items[i].phase == phase && !which--)
            return &items[i];
    return NULL;
}

/* --- the ring --- */

static void make(uint32_t kind, uint64_t capacity, uint64_t slots) {
    if (sr_geometry_plan(&plan, kind, capacity, slots) != SR_OK || plan.segment_size > sizeof segment)
        abort();
    memset(segment, 0, plan.segment_size);
    header->write_position = header->read_position = header->reclaim_position = sr_first_position(&plan);
    is_spsc = kind == SR_KIND_SPSC;
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
        sr_os_semaphore_value(&semaphores[0]);
    }
    header->role_owner[0] = header->role_owner[1] = ends[0].owner | SR_HELD;
    if (is_spsc)
        EXPECT(sr_spsc_adopt(&ends[0], SR_ROLE_PRODUCER) == SR_OK &&
               sr_spsc_adopt(&ends[0], SR_ROLE_CONSUMER) == SR_OK);
    count = open_claims = 0;
    has_died = false;
    place = ids = shutdown = 0;
}

static int some_end(void) { return is_spsc ? 0 : (int)random_below(2); }
static const struct sr_hooks *hooks(void) { return FOR_EVER.hooks; }
static struct sr_wait at_once(void) { return (struct sr_wait){.hooks = hooks()}; }

static void stamp(struct item *item) {
    unsigned char *payload = item->record.payload;
    EXPECT(payload >= ends[0].arena && payload + item->length <= ends[0].arena + plan.granules * SR_GRANULE);
    EXPECT(payload == ends[0].arena + (sr_index(&plan, item->position) << SR_GRANULE_SHIFT));
    for (uint64_t i = 0; i < item->length; i++)
        payload[i] = (unsigned char)(item->id + i);
}
static void read(const struct item *item, const struct sr_record *record) {
    EXPECT(record->length == item->length && record->position == item->position);
    EXPECT(record->redelivered == item->redelivered);
    EXPECT(record->payload == item->record.payload);
    for (uint64_t i = 0; i < item->length; i++)
        EXPECT(record->payload[i] == (unsigned char)(item->id + i));
}

static uint64_t some_length(void) {
    uint64_t length = random_below(3) ? random_below(plan.max_message + 1) : random_below(3) * 64;
    return length < plan.max_message ? length : plan.max_message;
}

/* --- calls --- */

static void claim(void) {
    uint64_t length = some_length(), granules = sr_granules_for(length);
    struct sr_record record = {.redelivered = true};
    struct sr_wait wait = at_once();
    int end = some_end();
    bool polls = random_below(2);
    if (open_claims == (is_spsc ? 1 : 3))
        return;
    EXPECT(sr_try_claim(&ends[end], plan.max_message + 1, &record) == SR_TOO_LONG);
    bool fits = has_room(length);
    enum sr_result room = shutdown ? SR_SHUT_DOWN : fits ? SR_OK : SR_FULL;
    EXPECT(sr_try_room(&ends[end], length) == room);
    EXPECT(sr_try_room(&ends[end], plan.max_message + 1) == SR_TOO_LONG);
    enum sr_result expected = polls && room == SR_FULL ? SR_TIMED_OUT : room;
    if (random_below(4) == 0)
        EXPECT(sr_wait_for_room(&ends[end], length, &wait) == (room == SR_FULL ? SR_TIMED_OUT : room));
    enum sr_result result =
        polls ? sr_claim(&ends[end], length, &wait, &record) : sr_try_claim(&ends[end], length, &record);
    EXPECT(result == expected);
    if (result != SR_OK)
        return;
    uint64_t padding = padding_for(granules);
    if (padding && !is_spsc) {
        add(padding, false);
        settle();
    }
    struct item *item = add(granules + (is_spsc ? padding : 0), true);
    if (padding && is_spsc)
        place = granules % plan.granules;
    item->phase = CLAIMED;
    item->length = length;
    item->id = ++ids;
    item->end = end;
    item->record = record;
    item->position = record.position;
    EXPECT(record.length == length);
    stamp(item);
    open_claims++;
}

/* What is left over is free at once where the record is the newest that there can be, and else padding behind it. */
static void commit_part(struct item *item, uint64_t length) {
    uint64_t rest = sr_granules_for(item->length) - sr_granules_for(length);
    EXPECT(sr_commit_part(&ends[item->end], &item->record, length) == SR_OK);
    EXPECT(item->record.length == length && sr_length_of(&plan, item->record.word) == length);
    item->length = length;
    item->granules -= rest;
    if (is_spsc) {
        place = (place + plan.granules - rest) % plan.granules;
    } else if (rest) {
        memmove(item + 2, item + 1, (size_t)(items + count - item - 1) * sizeof *items);
        item[1] = (struct item){.granules = rest, .phase = DONE};
        count++;
    }
}

static void end_claim(bool commits) {
    struct item *item = any(CLAIMED);
    if (!item)
        return;
    open_claims--;
    if (commits && item->length && random_below(3) == 0) { /* less of it than was claimed */
        uint64_t length = random_below(item->length + 1);
        uint64_t rest = sr_granules_for(item->length) - sr_granules_for(length);
        EXPECT(sr_commit_part(&ends[item->end], &item->record, length) == SR_OK && item->record.length == length);
        sr_announce(&ends[item->end], 1);
        item->phase = READY;
        item->length = length;
        item->granules -= rest;
        if (is_spsc) {
            place = (place + plan.granules - rest) % plan.granules;
        } else if (rest) {
            memmove(item + 2, item + 1, (size_t)(items + count++ - item - 1) * sizeof *items);
            item[1] = (struct item){.phase = DONE, .granules = rest};
        }
        return;
    }
    if (commits) {
        if (random_below(2))
            EXPECT(sr_commit(&ends[item->end], &item->record) == SR_OK);
        else
            commit_part(item, random_below(item->length + 1));
        sr_announce(&ends[item->end], 1);
        item->phase = READY;
        return;
    }
    EXPECT(sr_abort(&ends[item->end], &item->record) == SR_OK);
    if (is_spsc) { /* it never was */
        uint64_t index = sr_index(&plan, ends[0].write_position);
        count--;
        place = index;
        return;
    }
    item->phase = DONE;
    settle();
}

static enum sr_result nothing_there(void) {
    if (shutdown == SR_STOPPED)
        return SR_SHUT_DOWN;
    return shutdown && !open_claims ? SR_SHUT_DOWN : SR_EMPTY;
}

static void take(void) {
    struct sr_record record;
    struct item *item = next();
    struct sr_wait wait = at_once();
    int end = some_end();
    bool polls = random_below(2);
    if (is_spsc && any(TAKEN))
        return;
    if (item && item->length && random_below(3) == 0) {
        EXPECT(sr_try_take(&ends[end], item->length - 1, &record) == SR_TOO_LONG);
        EXPECT(record.length == item->length);
    }
    if (item && plan.kind == SR_KIND_MPMC)
        EXPECT(sr_mpmc_maybe_ready(&ends[end]));
    enum sr_result result = polls ? sr_take(&ends[end], item ? item->length : 0, &wait, &record)
                                  : sr_try_take(&ends[end], item ? item->length : 0, &record);
    enum sr_result expected = item ? SR_OK : nothing_there();
    EXPECT(result == (polls && expected == SR_EMPTY ? SR_TIMED_OUT : expected));
    if (result != SR_OK || !item)
        return;
    read(item, &record);
    item->phase = TAKEN;
    item->end = end;
    item->record = record;
    if (random_below(2)) {
        item->is_exposed = true;
        sr_expose(&ends[end], &item->record);
    }
}

static void acknowledge(struct item *item) {
    EXPECT(sr_still_whole(&ends[item->end], &item->record));
    EXPECT(sr_settle(&ends[item->end], &item->record) == SR_OK);
    sr_announce_room(&ends[item->end]);
    item->phase = DONE;
    settle();
}

static void end_take(void) {
    struct item *item = any(TAKEN);
    if (!item)
        return;
    if (random_below(3)) {
        acknowledge(item);
        return;
    }
    EXPECT(sr_hand_back(&ends[item->end], &item->record) == SR_OK);
    item->phase = READY;
    item->redelivered = true;
    item->is_exposed = false;
    if (random_below(2) == 0)
        return;
    struct sr_record record; /* and takes that very one again */
    EXPECT(sr_try_take_again(&ends[item->end], item->position, &record) == SR_OK);
    read(item, &record);
    item->phase = TAKEN;
    item->record = record;
    if (!is_spsc) {
        EXPECT(sr_try_take_again(&ends[item->end], item->position, &record) == SR_EMPTY);
        acknowledge(item);
        EXPECT(sr_try_take_again(&ends[0], ends[0].header->write_position, &record) == SR_EMPTY);
    }
}

/* All that is there, before any of it is acknowledged. */
static void take_ahead(void) {
    struct item *taken[3];
    struct sr_record record;
    int got = 0, end = some_end();
    if (is_spsc && any(TAKEN))
        return;
    while (got < 3) {
        struct item *item = NULL;
        for (int i = 0; i < count && !item; i++)
            if (items[i].phase == CLAIMED)
                break;
            else if (items[i].phase == READY)
                item = &items[i];
        enum sr_result result = got ? sr_try_take_next(&ends[end], &taken[got - 1]->record, &record)
                                    : sr_try_take(&ends[end], UINT64_MAX, &record);
        enum sr_result expected = item ? SR_OK : got && is_spsc ? SR_EMPTY : nothing_there();
        EXPECT(result == expected);
        if (result != SR_OK || !item)
            break;
        EXPECT(record.length == item->length && record.position == item->position);
        item->phase = TAKEN;
        item->end = end;
        item->record = record;
        taken[got++] = item;
    }
    for (int i = 0; i < got; i++) { /* from the first: items move as they are done with */
        struct item *first = NULL;
        for (int j = 0; j < count && !first; j++)
            if (items[j].phase == TAKEN && items[j].end == end && (is_spsc || random_below(2)))
                first = &items[j];
        if (first)
            acknowledge(first);
    }
}

static void look(void) {
    struct sr_contents contents;
    EXPECT(sr_contents_read(&ends[2], &contents) == SR_OK);
    uint64_t taken = is_spsc ? 0 : how_many(TAKEN);
    for (int i = 0; i < count && is_spsc; i++) /* what nobody has seen is as if it were not taken */
        taken += items[i].is_exposed && (items[i].phase == TAKEN || items[i].phase == READY);
    EXPECT(contents.ready == how_many(READY) + how_many(TAKEN) - taken && contents.taken == taken);
    EXPECT(contents.claimed == (is_spsc ? 0 : how_many(CLAIMED)));
    if (is_spsc)
        EXPECT(sr_contents_taken_by(&ends[2], ends[0].owner) == taken &&
               !sr_contents_taken_by(&ends[2], ends[1].owner));
    EXPECT(contents.undelivered == contents.ready + contents.taken);
    EXPECT(is_spsc ? how_many(CLAIMED) || contents.used_granules == used() : contents.used_granules == used());
    if (is_spsc)
        return;
    if (plan.kind == SR_KIND_SEMAPHORE) { /* a permit too many, after a death, costs a look */
        uint64_t in_flight = how_many(CLAIMED) + how_many(READY) + how_many(TAKEN), slots = sr_semaphore_slots(&plan);
        EXPECT(semaphores[0] == 1 && !header->mutex_holder);
        EXPECT(semaphores[1] >= how_many(READY) && semaphores[2] + in_flight >= slots);
        EXPECT(has_died || (semaphores[1] == how_many(READY) && semaphores[2] + in_flight == slots));
    }
    for (int end = 0; end < 2; end++) {
        uint64_t its = 0;
        for (int i = 0; i < count; i++)
            its += items[i].phase == TAKEN && items[i].end == end;
        EXPECT(sr_contents_taken_by(&ends[2], ends[end].owner) == its);
    }
    if (plan.slots) {
        uint64_t in_flight;
        EXPECT(sr_mpmc_in_flight(&ends[2], &in_flight) == SR_OK && in_flight == messages());
    }
}

/* One of the ends is killed, repaired, and another owner takes its place. */
static void die(void) {
    uint64_t returned = 0, expected = 0;
    struct sr_record stale = {0};
    int end = some_end();
    if (is_spsc) {
        ends[0].write_position = ends[0].read_position = ends[0].cached_read_position = 0;
        ends[0].cached_write_position = 0;
        ends[0].redeliver = false;
        ends[0].owner += 1u << SR_SLOT_BITS;
        header->role_owner[0] = header->role_owner[1] = ends[0].owner | SR_HELD;
        EXPECT(sr_spsc_adopt(&ends[0], SR_ROLE_CONSUMER) == SR_OK);
        EXPECT(sr_spsc_adopt(&ends[0], SR_ROLE_PRODUCER) == SR_OK);
        place = sr_index(&plan, ends[0].write_position);
    }
    for (int i = 0; i < count; i++) {
        struct item *item = &items[i];
        if (item->end != end || !item->is_message)
            continue;
        if (item->phase == TAKEN) {
            expected++;
            item->redelivered |= !is_spsc || item->is_exposed;
            item->phase = READY;
        } else if (item->phase == CLAIMED) {
            item->phase = DONE;
            open_claims--;
            stale = item->record;
            if (is_spsc)
                count--;
        }
    }
    if (!is_spsc) {
        EXPECT(sr_mpmc_repair(&ends[2], ends[end].owner, &returned) == SR_OK && returned == expected);
        if (plan.kind == SR_KIND_SEMAPHORE)
            sr_semaphore_repair(&ends[2], ends[end].owner);
        has_died = true;
        if (stale.position && plan.kind == SR_KIND_MPMC) /* it was only taken for dead */
            EXPECT(sr_commit(&ends[end], &stale) == SR_STALE);
        ends[end].owner = (ends[end].owner + (1u << SR_SLOT_BITS)) & ((1u << SR_OWNER_BITS) - 1);
        settle();
    }
}

static void drive(int calls) {
    for (int i = 0; i < calls; i++) {
        uint64_t which = random_below(16);
        if (which < 6)
            claim();
        else if (which < 9)
            end_claim(random_below(4) != 0);
        else if (which < 12)
            take();
        else if (which < 14)
            end_take();
        else if (which == 14)
            take_ahead();
        else if (random_below(8) == 0)
            die();
        look();
    }
}

static void many(uint32_t kind) {
    static const uint64_t capacities[] = {128, 200, 256, 449, 1024, 2048}, slots[] = {0, 1, 3};
    for (uint64_t i = 0; i < 18; i++) {
        seed = i + 1;
        make(kind, capacities[i % 6], slots[i / 6]);
        drive(CALLS);
        shutdown = SR_DRAINING;
        sr_shut_down(&ends[0], SR_DRAINING);
        drive(100);
        while (any(CLAIMED))
            end_claim(true);
        while (any(TAKEN))
            acknowledge(any(TAKEN));
        while (next())
            take(), acknowledge(any(TAKEN) ? any(TAKEN) : next());
        take();
        shutdown = SR_STOPPED;
        sr_shut_down(&ends[0], SR_STOPPED);
        EXPECT(header->shutdown == SR_STOPPED);
        sr_shut_down(&ends[0], SR_DRAINING);
        EXPECT(header->shutdown == SR_STOPPED);
        take();
    }
}
/* How much of all this happened: a model in which nothing does would find nothing. */
static bool is_corrupt(uint64_t length) {
    struct sr_record record;
    return sr_try_claim(&ends[0], length, &record) == SR_CORRUPT && sr_try_room(&ends[0], length) == SR_CORRUPT;
}
/* Positions that no writer of ours leaves: neither side believes them, nor does a successor. */
static void spsc_corrupt(void) {
    struct sr_record record;
    struct sr_contents contents;
    for (uint64_t granules = 4; granules < 8; granules++) { /* also with indices that there are not */
        make(SR_KIND_SPSC, granules * SR_GRANULE, 0);
        while (sr_try_claim(&ends[0], 64, &record) == SR_OK) {
            EXPECT(sr_commit(&ends[0], &record) == SR_OK);
            sr_announce(&ends[0], 1);
        }
        uint64_t full = header->write_position, first = sr_first_position(&plan), lap = plan.index_mask + 1;
        uint64_t reads[] = {full + 1, first - lap, first - lap + 1, first + granules};
        for (int i = 0; i < 4; i++) {
            if (i == 3 && granules > plan.index_mask)
                continue;
            header->read_position = reads[i];
            EXPECT(is_corrupt(1));
            EXPECT(sr_spsc_adopt(&ends[1], SR_ROLE_PRODUCER) == SR_CORRUPT);
            EXPECT(sr_contents_read(&ends[1], &contents) == SR_CORRUPT);
        }
        uint64_t writes[] = {first - 1, first + 2 * lap, full + 1, first + granules};
        header->read_position = first;
        for (int i = 0; i < 4; i++) {
            if (i == 3 && granules > plan.index_mask)
                continue;
            header->write_position = writes[i];
            EXPECT(sr_try_take(&ends[0], 64, &record) == SR_CORRUPT);
            EXPECT(sr_spsc_adopt(&ends[1], SR_ROLE_CONSUMER) == SR_CORRUPT);
            EXPECT(sr_contents_read(&ends[1], &contents) == SR_CORRUPT);
        }
        header->write_position = full;
        ends[0].words[0] += UINT64_C(1) << plan.lap_at;
        EXPECT(sr_try_take(&ends[0], 64, &record) == SR_CORRUPT);
        ends[0].words[0] -= UINT64_C(2) << plan.lap_at;
        EXPECT(sr_try_take(&ends[0], 64, &record) == SR_CORRUPT);
    }
}
/* A successor takes over: positions, not what its predecessor had cached; a claim that was open then is nobody's. */
static void spsc_adopted(void) {
    struct sr_record record, other;
    for (int skips = 0; skips < 2; skips++) { /* the open claim lies behind the padding of a wrap */
        make(SR_KIND_SPSC, 256, 0);
        for (int i = 0; i < 2 + skips; i++) {
            EXPECT(sr_try_claim(&ends[0], 64, &record) == SR_OK && sr_commit(&ends[0], &record) == SR_OK);
            sr_announce(&ends[0], 1);
            EXPECT(sr_try_take(&ends[0], 64, &record) == SR_OK && sr_acknowledge(&ends[0], &record) == SR_OK);
            sr_announce_room(&ends[0]);
        }
        EXPECT(sr_try_claim(&ends[0], 128, &record) == SR_OK);
        sr_shut_down(&ends[1], SR_DRAINING);
        EXPECT(sr_try_take(&ends[0], 64, &other) == SR_EMPTY && sr_spsc_claim_is_open(&ends[0]));
        header->role_owner[0] = ends[1].owner | SR_HELD;
        EXPECT(!sr_spsc_claim_is_open(&ends[0])); /* of one who has the role no more */
        header->role_owner[0] = ends[0].owner | SR_HELD;
        EXPECT(sr_spsc_adopt(&ends[1], SR_ROLE_PRODUCER) == SR_OK);
        EXPECT(ends[1].write_position == header->write_position);
        EXPECT(ends[1].cached_read_position == header->read_position);
        EXPECT(skips || !sr_spsc_claim_is_open(&ends[0]));
    }
    make(SR_KIND_SPSC, 256, 0); /* a full ring: the oldest message lies where the next claim would */
    for (int i = 0; i < 4; i++) {
        EXPECT(sr_try_claim(&ends[0], 64, &record) == SR_OK && sr_commit(&ends[0], &record) == SR_OK);
        sr_announce(&ends[0], 1);
    }
    EXPECT(sr_spsc_adopt(&ends[1], SR_ROLE_PRODUCER) == SR_OK);
    EXPECT(sr_try_take(&ends[0], 64, &record) == SR_OK);
}
static void put_and_get(uint64_t length) {
    struct sr_record record;
    EXPECT(sr_try_claim(&ends[0], length, &record) == SR_OK && sr_commit(&ends[0], &record) == SR_OK);
    sr_announce(&ends[0], 1);
    EXPECT(sr_try_take(&ends[0], length, &record) == SR_OK && sr_acknowledge(&ends[0], &record) == SR_OK);
    sr_announce_room(&ends[0]);
}
/* What was seen and not acknowledged is flagged when it comes again: here, or to a successor, behind a padding as well. */
static void spsc_seen(void) {
    struct sr_record one, other;
    make(SR_KIND_SPSC, 256, 0);
    for (int i = 0; i < 2; i++) {
        EXPECT(sr_try_claim(&ends[0], 64, &one) == SR_OK && sr_commit(&ends[0], &one) == SR_OK);
        sr_announce(&ends[0], 1);
    }
    EXPECT(sr_try_take(&ends[0], 64, &one) == SR_OK && sr_try_take_next(&ends[0], &one, &other) == SR_OK);
    EXPECT(sr_hand_back(&ends[0], &other) == SR_OK && sr_hand_back(&ends[0], &one) == SR_OK);
    for (int i = 0; i < 2; i++) {
        EXPECT(sr_try_take(&ends[0], 64, &one) == SR_OK && one.redelivered);
        EXPECT(sr_acknowledge(&ends[0], &one) == SR_OK);
    }
    make(SR_KIND_SPSC, 256, 0);
    for (int i = 0; i < 3; i++)
        put_and_get(64);
    EXPECT(sr_try_claim(&ends[0], 128, &one) == SR_OK && sr_commit(&ends[0], &one) == SR_OK);
    sr_announce(&ends[0], 1);
    EXPECT(sr_try_take(&ends[0], 128, &one) == SR_OK && !one.redelivered);
    sr_expose(&ends[0], &one);
    EXPECT(sr_spsc_adopt(&ends[1], SR_ROLE_CONSUMER) == SR_OK);
    EXPECT(sr_try_take(&ends[1], 128, &one) == SR_OK && one.redelivered);
}
/* Drained: whatever lies there from the lap before. */
static void spsc_drained(void) {
    struct sr_record record;
    for (int messages = 1; messages < 12; messages++) {
        make(SR_KIND_SPSC, 256, 0);
        for (int i = 0; i < messages; i++)
            put_and_get(64);
        sr_shut_down(&ends[0], SR_DRAINING);
        EXPECT(sr_try_take(&ends[0], 64, &record) == SR_SHUT_DOWN);
    }
}
static void spsc(void) { many(SR_KIND_SPSC); }
static void mpmc(void) { many(SR_KIND_MPMC); }
static void semaphore(void) { many(SR_KIND_SEMAPHORE); }
/* Somebody else's sem_wait on our mutex; and one that is inside for good, as far as we can see. */
static void semaphore_by_hand(void) {
    struct sr_record record;
    make(SR_KIND_SEMAPHORE, 256, 0);
    for (int i = 0; i < 2; i++) {
        semaphores[0] = i;
        header->mutex_holder = i ? ends[1].owner | SR_HELD : 0;
        EXPECT(sr_try_claim(&ends[0], 1, &record) == SR_CONTENDED);
        EXPECT(header->mutex_holder == (i ? ends[1].owner | SR_HELD : 0) && semaphores[2] == 4);
        semaphores[1] = 1;
        EXPECT(sr_try_take(&ends[0], 1, &record) == SR_CONTENDED && semaphores[1] == 1);
        semaphores[1] = 0;
    }
    header->mutex_holder = 0;
    EXPECT(sr_try_claim(&ends[0], 1, &record) == SR_OK && semaphores[2] == 3);
}
static void nothing(void) {}

const struct configuration MODELS[] = {
    {C("model-spsc", spsc, nothing, 1, nothing)},
    {C("model-spsc-corrupt", spsc_corrupt, nothing, 1, nothing)},
    {C("model-spsc-adopted", spsc_adopted, nothing, 1, nothing)},
    {C("model-spsc-seen", spsc_seen, nothing, 1, nothing)},
    {C("model-spsc-drained", spsc_drained, nothing, 1, nothing)},
    {C("model-mpmc", mpmc, nothing, 1, nothing)},
    {C("model-semaphore", semaphore, nothing, 1, nothing)},
    {C("model-semaphore-by-hand", semaphore_by_hand, nothing, 1, nothing)},
};
const size_t MODEL_COUNT = sizeof MODELS / sizeof *MODELS;
