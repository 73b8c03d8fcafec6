/* rings.c - the configurations of rings: the core's own algorithms, waiting included, in small rings that wrap. */
#include <stdlib.h>

#include "configurations.h"

enum { MESSAGES = 16, GRANULES = 4, TAKERS = 3 };

static struct sr_header *const header = (struct sr_header *)segment;
static struct sr_endpoint ends[EXPLORE_THREADS + 1]; /* one a thread, and one to look after them */
static uint32_t alive;
static uint32_t semaphores[3];
static struct sr_record left; /* a record that somebody holds from the start */

static struct {
    bool committed[MESSAGES + 1];
    int seen[MESSAGES + 1], redelivered[MESSAGES + 1];
    bool victim_may_redeliver;
} told;

/* --- a ring, and a fresh one for each execution --- */
static void make(uint32_t kind, uint64_t granules, uint64_t slots) {
    struct sr_geometry plan;
    if (sr_geometry_plan(&plan, kind, granules * SR_GRANULE, slots) != SR_OK || plan.segment_size > sizeof segment)
        abort();
    memset(header, 0, sizeof *header);
    memset(segment + plan.words_offset, 0, granules * sizeof(uint64_t));
    memset(segment + plan.attachments_offset, 0, 8 * sizeof(struct sr_attachment));
    header->write_position = header->read_position = header->reclaim_position = sr_first_position(&plan);
    memset(&told, 0, sizeof told);
    alive = 1;
    semaphores[0] = 1;
    semaphores[1] = 0;
    semaphores[2] = (uint32_t)sr_semaphore_slots(&plan);
    for (uint32_t i = 0; i <= EXPLORE_THREADS; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        sr_endpoint_bind(&ends[i], segment, &plan);
        ends[i].slot = i;
        ends[i].owner = 1u << SR_SLOT_BITS | i;
        ends[i].self = &ends[i].attachments[i];
        ends[i].semaphores = (struct sr_semaphores){&semaphores[0], &semaphores[1], &semaphores[2]};
        if (kind == SR_KIND_SPSC) {
            sr_spsc_adopt(&ends[i], SR_ROLE_PRODUCER);
            sr_spsc_adopt(&ends[i], SR_ROLE_CONSUMER);
        }
    }
    header->role_owner[0] = ends[0].owner | SR_HELD;
    header->role_owner[1] = ends[1].owner | SR_HELD;
}

static void spsc2(void) { make(SR_KIND_SPSC, 2, 0); }
static void spsc4(void) { make(SR_KIND_SPSC, 4, 0); }
static void mpmc2(void) { make(SR_KIND_MPMC, 2, 0); }
static void mpmc4(void) { make(SR_KIND_MPMC, 4, 0); }
static void mpmc4_two(void) { make(SR_KIND_MPMC, 4, 2); }
static void mpmc2_one(void) { make(SR_KIND_MPMC, 2, 1); }
/* One message further, so that the second wraps. */
static void mpmc2_turned(void);
static void semaphore4(void) { make(SR_KIND_SEMAPHORE, 4, 0); }
static void semaphore2(void) { make(SR_KIND_SEMAPHORE, 2, 0); }

/* --- what a thread does --- */
static void touch(const struct sr_record *record, bool is_write) {
    for (uint64_t i = 0; i < sr_granules_for(record->length); i++)
        explore_data(record->payload + i * SR_GRANULE, is_write);
}

static enum sr_result fill(struct sr_endpoint *self, struct sr_record *record, uint32_t id) {
    touch(record, true);
    memcpy(record->payload, &id, sizeof id);
    enum sr_result result = sr_commit(self, record);
    EXPECT(result == SR_OK);
    if (self->geometry.kind == SR_KIND_SPSC)
        sr_spsc_publish(self);
    told.committed[id] = true;
    return result;
}

static bool put_long(int thread, uint32_t id, uint64_t length) {
    struct sr_record record;
    enum sr_result result = sr_try_claim(&ends[thread], length, &record);
    EXPECT(result == SR_OK || result == SR_FULL || result == SR_SHUT_DOWN || result == SR_CONTENDED);
    return result == SR_OK && fill(&ends[thread], &record, id) == SR_OK;
}
static bool put(int thread, uint32_t id) { return put_long(thread, id, 64); }
/* Of two granules that are claimed, one is the message. */
static bool put_part(int thread, uint32_t id) {
    struct sr_endpoint *self = &ends[thread];
    struct sr_record record;
    enum sr_result result = sr_try_claim(self, 128, &record);
    EXPECT(result == SR_OK || result == SR_FULL);
    if (result != SR_OK)
        return false;
    touch(&record, true);
    memcpy(record.payload, &id, sizeof id);
    EXPECT(sr_commit_part(self, &record, 64) == SR_OK && record.length == 64);
    if (self->geometry.kind == SR_KIND_SPSC)
        sr_spsc_publish(self);
    told.committed[id] = true;
    return true;
}

static uint32_t look(const struct sr_record *record) {
    touch(record, false);
    uint32_t id;
    memcpy(&id, record->payload, sizeof id);
    EXPECT(id >= 1 && id <= MESSAGES);
    return id <= MESSAGES ? id : 0;
}

static void note(uint32_t id, bool redelivered) {
    told.seen[id]++;
    told.redelivered[id] += redelivered;
}

static void finish(struct sr_endpoint *self, struct sr_record *record) {
    uint32_t id = look(record);
    note(id, record->redelivered);
    EXPECT(sr_acknowledge(self, record) == SR_OK);
    if (self->geometry.kind == SR_KIND_SPSC)
        sr_spsc_give_back_room(self);
}

/* The id of what it took, or 0. */
static uint32_t get(int thread) {
    struct sr_record record;
    enum sr_result result = sr_try_take(&ends[thread], UINT64_MAX, &record);
    EXPECT(result == SR_OK || result == SR_EMPTY || result == SR_SHUT_DOWN || result == SR_CONTENDED);
    if (result != SR_OK)
        return 0;
    uint32_t id;
    memcpy(&id, record.payload, sizeof id);
    finish(&ends[thread], &record);
    return id;
}

static void produce(int thread, uint32_t first, int tries) {
    uint32_t id = first;
    for (int i = 0; i < tries; i++)
        id += put(thread, id);
}

/* Ids of one producer, which has four of its own, arrive in order, but for those that come again. */
static void consume(int thread, int tries) {
    uint32_t last[4] = {0};
    for (int i = 0; i < tries; i++) {
        uint32_t id = get(thread);
        if (id && !told.redelivered[id]) {
            EXPECT(id > last[(id - 1) / 4]);
            last[(id - 1) / 4] = id;
        }
    }
}

static void wait_and_get(int thread) {
    struct sr_record record;
    EXPECT(sr_take(&ends[thread], UINT64_MAX, &FOR_EVER, &record) == SR_OK);
    finish(&ends[thread], &record);
    sr_event_notify(&header->room, SR_WAKE_ALL);
}

/* Claimed beforehand: only the commits and what follows them matter to those who wait. */
static struct sr_record open[2];
static void claim_two(int first, int second) {
    EXPECT(sr_try_claim(&ends[first], 64, &open[0]) == SR_OK);
    EXPECT(sr_try_claim(&ends[second], 64, &open[1]) == SR_OK);
}
static void commit_and_tell(int thread, int which, uint32_t id) {
    fill(&ends[thread], &open[which], id);
    sr_event_notify(&header->items, 1);
}

/* --- what must hold afterwards --- */
enum { OTHER = EXPLORE_THREADS };

static void drain(void) {
    if (ends[OTHER].geometry.kind == SR_KIND_SPSC)
        sr_spsc_adopt(&ends[OTHER], SR_ROLE_CONSUMER);
    while (get(OTHER))
        ;
    for (int id = 1; id <= MESSAGES; id++) {
        EXPECT(!told.committed[id] || told.seen[id] >= 1); /* nothing lost */
        EXPECT(told.seen[id] <= 1 + told.redelivered[id]); /* nothing twice but as redelivered */
        EXPECT(told.committed[id] || !told.seen[id] || told.victim_may_redeliver); /* nothing made up */
    }
}

static void drained_and_usable(void) {
    drain();
    EXPECT(semaphores[0] == 1 && !header->mutex_holder); /* nobody is inside, and one may enter */
    for (int i = 0; i < 5; i++) {                        /* the ring goes on, right round */
        memset(told.seen, 0, sizeof told.seen);
        EXPECT(put(OTHER, 7));
        EXPECT(get(OTHER) == 7);
    }
}

static void repair(int thread, int dead) {
    uint64_t returned;
    EXPECT(sr_mpmc_repair(&ends[thread], ends[dead].owner, &returned) == SR_OK);
    if (ends[dead].geometry.kind == SR_KIND_SEMAPHORE)
        sr_semaphore_repair(&ends[thread], ends[dead].owner);
}

/* After a death: whatever was not repaired yet is repaired now. */
static void mended_and_usable(void) {
    told.victim_may_redeliver = true; /* it may have died between its commit and its return */
    if (!alive)
        repair(OTHER, 0);
    drained_and_usable();
}

static void repair_if_dead(int thread) {
    if (!SR_LOAD(&alive, acquire))
        repair(thread, 0);
}

static void mpmc2_turned(void) {
    mpmc2();
    EXPECT(put(OTHER, 1) && get(OTHER) == 1);
    memset(&told, 0, sizeof told);
}

static struct sr_record open_takes[2];

/* --- threads --- */
static void p0x1(void) { produce(0, 1, 1); }
static void p0x2(void) { produce(0, 1, 2); }
static void p0x3(void) { produce(0, 1, 3); }
static void p1x1(void) { produce(1, 5, 1); }
static void p1x2(void) { produce(1, 5, 2); }
static void p2x1(void) { produce(2, 9, 1); }
static void c1x1(void) { consume(1, 1); }
static void c1x2(void) { consume(1, 2); }
static void c1x3(void) { consume(1, 3); }
static void c2x1(void) { consume(2, 1); }
static void c2x2(void) { consume(2, 2); }
static void c2x3(void) { consume(2, 3); }
static void c3x1(void) { consume(3, 1); }

static void spsc_p7(void) {
    uint32_t id = 1;
    for (int i = 0; i < 7; i++)
        id += put(0, id);
}
static void spsc_c7(void) {
    uint32_t expected = 1;
    for (int i = 0; i < 7; i++) {
        uint32_t id = get(1);
        EXPECT(!id || id == expected);
        expected += id != 0;
    }
}

/* Lengths that do not divide the ring, so that it wraps by padding. */
static void mixed_p(void) {
    uint32_t id = 1;
    id += put_long(0, id, 64);
    id += put_long(0, id, 128);
    id += put_long(0, id, 128);
    id += put_long(0, id, 64);
}
static void mixed_c(void) { consume(1, 4); }
static void parts_p(void) {
    uint32_t id = 1;
    id += put_part(0, id);
    id += put_part(0, id);
    id += put_long(0, id, 128);
}
static void part_0(void) { put_part(0, 1); }
static void part_1(void) { put_part(1, 5); }
static void mixed_p1(void) { put_long(1, 5, 128); }
static void mixed_after(void) {
    drain();
    if (ends[OTHER].geometry.kind == SR_KIND_SPSC)
        sr_spsc_adopt(&ends[OTHER], SR_ROLE_PRODUCER);
    for (int i = 0; i < 5; i++) {
        memset(told.seen, 0, sizeof told.seen);
        EXPECT(put_long(OTHER, 7, 128) && get(OTHER) == 7);
    }
}

static void hand_back(int thread) {
    struct sr_record record;
    if (sr_try_take(&ends[thread], UINT64_MAX, &record) == SR_OK) {
        look(&record);
        sr_mpmc_hand_back(&ends[thread], &record);
    }
}
static void hand_back_0(void) { hand_back(0); }
static void hand_back_1(void) { hand_back(1); }
static void mpmc2_with_one(void) {
    mpmc2();
    put(OTHER, 1);
}
static void mpmc2_with_two(void) {
    mpmc2_with_one();
    put(OTHER, 2);
}
static void take_0(void) { consume(0, 1); }

static void repairing_c2(void) {
    repair_if_dead(2);
    consume(2, 2);
}
static void repairing_c1(void) {
    repair_if_dead(1);
    consume(1, 2);
}
/* A taker died before it moved read_position on; its record came back, was taken again and is overwritten by now. */
static void lagging(void) {
    mpmc2();
    uint64_t first = header->read_position;
    EXPECT(put(OTHER, 1));
    EXPECT(sr_try_take(&ends[3], UINT64_MAX, &left) == SR_OK);
    header->read_position = first;
    repair(OTHER, 3);
    EXPECT(get(OTHER) == 1);
    header->read_position = first;
    EXPECT(put(OTHER, 2) && put(OTHER, 3));
    told.seen[1] = told.redelivered[1] = 0;
    told.committed[1] = false;
}
/* The same before it was taken again: whoever does that moves on for the dead. */
static void left_behind(void) {
    mpmc2();
    uint64_t first = header->read_position;
    EXPECT(put(OTHER, 1));
    EXPECT(sr_try_take(&ends[3], UINT64_MAX, &left) == SR_OK);
    header->read_position = first;
    repair(OTHER, 3);
}
static void take_returned_0(void) { EXPECT(get(0) == 1); }
static void nothing_is_ahead(void) {
    EXPECT(header->read_position == header->write_position);
    drained_and_usable();
}
/* Somebody died holding a record long ago; two at once come to repair it, and the first is killed too. */
static void left_claimed(void) {
    mpmc2();
    sr_try_claim(&ends[3], 64, &left);
    put(OTHER, 1);
}
static void left_taken(void) {
    mpmc2_with_two();
    sr_try_take(&ends[3], UINT64_MAX, &left);
}
/* One who died with a claim and two takes, and another of his time; what is room before them is taken by a claimer. */
static void left_many(void) {
    static struct sr_record more[3];
    make(SR_KIND_MPMC, 6, 0);
    for (uint32_t id = 1; id <= 4; id++)
        EXPECT(put(OTHER, id));
    EXPECT(sr_try_claim(&ends[3], 64, &left) == SR_OK);
    EXPECT(put(OTHER, 5));
    EXPECT(get(OTHER) == 1);
    for (int i = 0; i < 3; i++)
        EXPECT(sr_try_take(&ends[i == 1 ? 4 : 3], UINT64_MAX, &more[i]) == SR_OK);
}
/* Room of a short record and a long one before what the dead one claimed. A new long one over it ends inside the old one,
 * where the word is of no record: whoever is overtaken there finds no way on from it. */
static void left_behind_room(void) {
    make(SR_KIND_MPMC, 6, 0);
    EXPECT(put(OTHER, 1) && put_long(OTHER, 2, 128));
    EXPECT(sr_try_claim(&ends[3], 64, &left) == SR_OK);
    EXPECT(put(OTHER, 3) && put(OTHER, 4));
    EXPECT(get(OTHER) == 1 && get(OTHER) == 2);
}
static void put_long_1(void) { EXPECT(put_long(1, 5, 128)); }
static void dead_claim_is_aborted(void) {
    EXPECT(sr_state_of(ends[0].words[3]) == SR_ABORTED);
    drained_and_usable();
}
static void returned_behind_room(void) {
    make(SR_KIND_MPMC, 6, 0);
    EXPECT(put(OTHER, 1) && put_long(OTHER, 2, 128) && put(OTHER, 3));
    EXPECT(put(OTHER, 4) && put(OTHER, 9));
    EXPECT(get(OTHER) == 1 && get(OTHER) == 2);
    EXPECT(sr_try_take(&ends[OTHER], UINT64_MAX, &left) == SR_OK);
    EXPECT(sr_mpmc_hand_back(&ends[OTHER], &left) == SR_OK);
}
static void take_3_0(void) { EXPECT(get(0) == 3); }
static void repair_many(int thread) {
    repair(thread, 3);
    repair(thread, 4);
}
static void repair_many_0(void) { repair_many(0); }
static void repair_many_1(void) {
    repair_many(1);
    consume(1, 1);
}
static void put_6_1(void) { put(1, 6); }
static void mended_many(void) {
    repair_many(OTHER);
    mended_and_usable();
}
static void repairer_0(void) { repair(0, 3); }
static void repairer_1(void) {
    repair(1, 3);
    consume(1, 2);
}
static void mended_3(void) {
    repair(OTHER, 3);
    mended_and_usable();
}

/* One died inside the mutex; the lock of its entry sees to it that one repairs at a time. */
static void semaphore_left(void) {
    semaphore2();
    header->mutex_holder = ends[3].owner | SR_HELD;
    semaphores[0] = 0;
}
static void repair_3_by_1(void) { repair(1, 3); }
static void repair_3_and_0_by_1(void) {
    repair(1, 3);
    repair_if_dead(1);
}

static void two_claims(void) {
    mpmc2();
    claim_two(0, 0);
}
static void two_claims_of_two(void) {
    mpmc2();
    claim_two(0, 1);
}
static void one_claim(void) {
    mpmc2();
    EXPECT(sr_try_claim(&ends[0], 64, &open[0]) == SR_OK);
}
static void one_claim_spsc(void) {
    spsc2();
    EXPECT(sr_try_claim(&ends[0], 64, &open[0]) == SR_OK);
}
/* One that goes on for laps, while another is stuck in one call with what it saw at its start. */
static void churn(int thread, int rounds) {
    for (int i = 0; i < rounds; i++) {
        put(thread, 5 + (uint32_t)i);
        get(thread);
    }
}
static void churner_1x2(void) { churn(1, 2); }
static void churner_wrapping(void) { /* comes by the first place once more */
    churn(1, 2);
    put(1, 7);
}
static void contents_0(void) {
    struct sr_contents contents;
    EXPECT(sr_contents_read(&ends[0], &contents) == SR_OK);
    EXPECT(contents.ready <= 3 && contents.used_granules <= 3); /* of two instants, but not of many */
}
/* Of a ring whose both sides are busy. */
static void contents_2(void) {
    struct sr_contents contents;
    EXPECT(sr_contents_read(&ends[2], &contents) == SR_OK);
    EXPECT(contents.ready <= 2 && contents.used_granules <= 2);
}
/* There is room all the time, whatever another does with the rest. */
static void all_released(void) {
    mpmc4();
    for (int i = 0; i < 4; i++)
        EXPECT(put(OTHER, 9));
    for (int i = 0; i < 4; i++)
        EXPECT(get(OTHER));
    memset(&told, 0, sizeof told);
}
static void put_for_sure_0(void) { EXPECT(put_long(0, 1, 128)); }
static void churner_1x1(void) { churn(1, 1); }
/* What a queue adds up to see whether maxsize is reached. */
static void in_flight_0(void) {
    uint64_t count;
    EXPECT(sr_mpmc_in_flight(&ends[0], &count) == SR_OK);
    EXPECT(count <= 2);
}
static void ahead_1(void) {
    struct sr_record taken[2];
    if (sr_try_take(&ends[1], UINT64_MAX, &taken[0]) != SR_OK)
        return;
    enum sr_result result = sr_try_take_next(&ends[1], &taken[0], &taken[1]);
    EXPECT(result == SR_OK || result == SR_EMPTY);
    finish(&ends[1], &taken[0]);
    if (result == SR_OK)
        finish(&ends[1], &taken[1]);
}
static void maybe_ready_0(void) { sr_mpmc_maybe_ready(&ends[0]); }
static void repairer_of_3(void) { repair(0, 3); }
static void hand_back_and_take_0(void) {
    hand_back(0);
    consume(0, 1);
}
/* All room taken by two long messages, half of whose words are of no lap. */
static void full_of_long(void) {
    mpmc4();
    EXPECT(put_long(OTHER, 9, 128) && put_long(OTHER, 10, 128));
}
static void long_taken(void) {
    full_of_long();
    EXPECT(sr_try_take(&ends[2], UINT64_MAX, &open_takes[0]) == SR_OK);
    EXPECT(sr_try_take(&ends[2], UINT64_MAX, &open_takes[1]) == SR_OK);
}
/* Four short ones, the first two about to be acknowledged: a long one will lie over both. */
static void short_taken(void) {
    mpmc4();
    for (uint32_t id = 9; id <= 12; id++)
        EXPECT(put(OTHER, id));
    EXPECT(sr_try_take(&ends[2], UINT64_MAX, &open_takes[0]) == SR_OK);
    EXPECT(sr_try_take(&ends[2], UINT64_MAX, &open_takes[1]) == SR_OK);
}
static void long_0(void) { put_long(0, 1, 128); }
static void acknowledge_2(void) {
    finish(&ends[2], &open_takes[0]);
    finish(&ends[2], &open_takes[1]);
}

static void tell_1(void) { commit_and_tell(0, 0, 1); }
static void tell_2(void) {
    commit_and_tell(0, 0, 1);
    commit_and_tell(0, 1, 2);
}
static void tell_1_too(void) { commit_and_tell(1, 1, 5); }
static void wait_1(void) { wait_and_get(1); }
static void wait_2(void) { wait_and_get(2); }
static void wait_1_twice(void) {
    wait_and_get(1);
    wait_and_get(1);
}
static void nobody_sleeps(void) {
    for (int i = 0; i < EXPLORE_THREADS; i++)
        EXPECT(!explore_is_asleep(i));
    drain();
}
/* One who announces himself late, with what he saw before a wake, beside one who has seen that wake. */
static struct sr_event *const event = &header->items;
static uint64_t condition;
static void armed_before(void) {
    mpmc2();
    condition = 0;
    event->armed = 1;
}
static void announce_1(void) { sr_event_announce(event); }
static void wake_twice_0(void) {
    sr_event_notify(event, SR_WAKE_ALL);
    SR_STORE(&condition, 1, relaxed);
    sr_event_notify(event, SR_WAKE_ALL);
}
static void wait_for_condition_2(void) {
    uint32_t ticket = sr_event_announce(event);
    if (!SR_LOAD(&condition, relaxed))
        sr_event_park(event, ticket, INT64_MAX);
}
/* One who sleeps for another, who waits no more (watch.c): a wake that reaches it goes on to the next. */
static void stand_in_2(void) {
    uint32_t seen = SR_LOAD(&header->items.sequence, relaxed);
    sr_os_park(&header->items.sequence, seen, INT64_MAX);
    sr_os_unpark(&header->items.sequence, 1);
}
static void only_the_stand_in_sleeps(void) {
    EXPECT(!explore_is_asleep(0) && !explore_is_asleep(1));
    drain();
}
/* The sequence is about to come round: marks are compared by their distance. */
static void one_claim_late(void) {
    one_claim();
    event->sequence = UINT32_C(0x90000000);
}
/* A full ring: its producer parks until the consumer has made room. */
static void full_spsc(void) {
    spsc2();
    put(0, 1);
    put(0, 2);
}
static void full_mpmc(void) {
    mpmc2();
    put(OTHER, 1);
    put(OTHER, 2);
}
static void wait_and_put(int thread, uint32_t id) {
    struct sr_record record;
    EXPECT(sr_claim(&ends[thread], 64, &FOR_EVER, &record) == SR_OK);
    fill(&ends[thread], &record, id);
}
static void wait_for_room_0(void) { wait_and_put(0, 3); }
static void wait_in_vain_0(void) { EXPECT(sr_wait_for_room(&ends[0], 0, &FOR_EVER) == SR_SHUT_DOWN); }
static void full_semaphore(void) {
    semaphore2();
    put(OTHER, 1);
    put(OTHER, 2);
}
static void make_room_1(void) {
    EXPECT(get(1));
    sr_event_notify(&header->room, SR_WAKE_ALL);
}
static void make_room_2(void) {
    EXPECT(get(2));
    sr_event_notify(&header->room, SR_WAKE_ALL);
}

/* Shutdown: what was committed before it is delivered before ShutDown is. */
static bool consumer_was_told;
static void open_spsc(void) {
    spsc2();
    consumer_was_told = false;
}
static void open_mpmc(void) {
    mpmc2();
    consumer_was_told = false;
}
static void shut_down_and_drain(void) {
    sr_shut_down(&ends[1], SR_DRAINING);
    for (int i = 0; i < 3 && !consumer_was_told; i++) {
        struct sr_record record;
        enum sr_result result = sr_try_take(&ends[1], UINT64_MAX, &record);
        if (result == SR_OK)
            finish(&ends[1], &record);
        consumer_was_told = result == SR_SHUT_DOWN;
    }
}
static void shut_down_2(void) { sr_shut_down(&ends[2], SR_DRAINING); }
static void drain_1(void) {
    struct sr_record record;
    enum sr_result result = sr_try_take(&ends[1], UINT64_MAX, &record);
    if (result == SR_OK)
        finish(&ends[1], &record);
    consumer_was_told = result == SR_SHUT_DOWN;
}
static void put_and_shut_down_0(void) {
    put(0, 1);
    sr_shut_down(&ends[0], SR_DRAINING);
}
static void told_after_all(void) {
    for (int id = 1; consumer_was_told && id <= MESSAGES; id++)
        EXPECT(told.committed[id] == (told.seen[id] == 1));
}
static void shut_down_1(void) { sr_shut_down(&ends[1], SR_DRAINING); }
static void shut_down_0(void) { sr_shut_down(&ends[0], SR_DRAINING); }
static void wait_for_shutdown_1(void) {
    struct sr_record record;
    EXPECT(sr_take(&ends[1], UINT64_MAX, &FOR_EVER, &record) == SR_SHUT_DOWN);
}

const struct configuration RINGS[] = {
    {C("spsc", spsc2, drain, 2, spsc_p7, spsc_c7), SAFETY},
    {C("spsc-padding", spsc4, mixed_after, 2, mixed_p, mixed_c), SAFETY},
    {C("spsc-shutdown", open_spsc, told_after_all, 2, p0x2, shut_down_and_drain)},
    {C("spsc-ahead", spsc2, drain, 2, p0x3, ahead_1), SAFETY},
    {C("mpmc-1p1c", mpmc2, drained_and_usable, 2, p0x3, c1x3), SAFETY},
    {C("mpmc-2p1c-small", mpmc2_turned, drained_and_usable, 3, p0x1, p1x1, c2x2), SAFETY},
    {C("mpmc-2p1c", mpmc2, drained_and_usable, 3, p0x2, p1x1, c2x1), SAFETY},
    {C("mpmc-2p1c-x2", mpmc2, drained_and_usable, 3, p0x2, p1x2, c2x2), SAFETY},
    {C("mpmc-1p2c-small", mpmc2, drained_and_usable, 3, p0x3, c1x1, c2x1), SAFETY},
    {C("mpmc-1p2c", mpmc2, drained_and_usable, 3, p0x2, c1x2, c2x2), SAFETY},
    {C("mpmc-1p2c-x3", mpmc2, drained_and_usable, 3, p0x3, c1x3, c2x3), SAFETY},
    {C("mpmc-3p", mpmc2_turned, drained_and_usable, 3, p0x1, p1x1, p2x1), SAFETY},
    {C("mpmc-3p1c", mpmc2, drained_and_usable, 4, p0x1, p1x1, p2x1, c3x1), SAFETY},
    {C("mpmc-slots", mpmc2_one, drained_and_usable, 3, p0x1, p1x1, c2x2), SAFETY},
    {C("mpmc-padding", mpmc4, mixed_after, 2, mixed_p, mixed_c), SAFETY},
    {C("mpmc-padding-2p", mpmc4, mixed_after, 3, mixed_p1, p0x1, c2x1), SAFETY},
    {C("spsc-part", spsc4, mixed_after, 2, parts_p, mixed_c), SAFETY},
    {C("mpmc-part", mpmc4, mixed_after, 2, parts_p, mixed_c), SAFETY},
    {C("mpmc-part-2p", mpmc4, mixed_after, 3, part_1, p0x1, c2x2), SAFETY},
    {C("mpmc-part-2c", mpmc4, mixed_after, 3, part_0, c1x1, c2x1), SAFETY},
    {C("mpmc-part-room", all_released, mixed_after, 2, part_0, churner_1x1), SAFETY},
    {C("mpmc-kill-part", mpmc4, mended_and_usable, 3, part_0, p1x1, repairing_c2), .alive = &alive, SAFETY},
    {C("semaphore-part", semaphore4, mixed_after, 2, part_0, c1x2), SAFETY},
    {C("mpmc-hand-back", mpmc2_with_two, drained_and_usable, 2, hand_back_0, c1x2), SAFETY},
    {C("mpmc-hand-back-2", mpmc2_with_one, drained_and_usable, 3, hand_back_0, hand_back_1, c2x1), SAFETY},
    {C("mpmc-hand-back-put", mpmc2_with_two, drained_and_usable, 3, hand_back_0, p1x1, c2x1), SAFETY},
    {C("mpmc-shutdown", open_mpmc, told_after_all, 2, p0x1, shut_down_and_drain)},
    {C("spsc-shutdown-by-another", open_spsc, told_after_all, 3, p0x1, drain_1, shut_down_2)},
    {C("mpmc-shutdown-by-another", open_mpmc, told_after_all, 3, p0x1, drain_1, shut_down_2)},
    {C("spsc-put-shutdown", open_spsc, told_after_all, 2, put_and_shut_down_0, drain_1)},
    {C("mpmc-put-shutdown", open_mpmc, told_after_all, 2, put_and_shut_down_0, drain_1)},
    {C("lagging-put", lagging, drained_and_usable, 2, p0x1, c1x1), SAFETY},
    {C("lagging-again", left_behind, nothing_is_ahead, 1, take_returned_0), SAFETY},
    {C("lagging", lagging, drained_and_usable, 2, c1x1, take_0), SAFETY},
    {C("mpmc-kill-producer", mpmc2, mended_and_usable, 3, p0x1, p1x1, repairing_c2), .alive = &alive, SAFETY},
    {C("mpmc-kill-consumer", mpmc2_with_two, mended_and_usable, 2, take_0, repairing_c1), .alive = &alive, SAFETY},
    {C("mpmc-kill-consumer-put", mpmc2_with_two, mended_and_usable, 3, take_0, p1x1, repairing_c2), .alive = &alive,
     SAFETY},
    {C("mpmc-kill-hand-back", mpmc2_with_two, mended_and_usable, 2, hand_back_0, repairing_c1), .alive = &alive,
     SAFETY},
    {C("mpmc-kill-repairer-of-claim", left_claimed, mended_3, 2, repairer_0, repairer_1), .alive = &alive, SAFETY},
    {C("mpmc-kill-repairer-of-take", left_taken, mended_3, 2, repairer_0, repairer_1), .alive = &alive, SAFETY},
    {C("churn-claim", mpmc2, drained_and_usable, 2, p0x1, churner_wrapping), SAFETY},
    {C("churn-take", mpmc2, drained_and_usable, 2, take_0, churner_wrapping), SAFETY},
    {C("churn-hand-back", mpmc2, drained_and_usable, 2, hand_back_0, churner_wrapping), SAFETY},
    {C("churn-return", mpmc2_with_one, drained_and_usable, 2, hand_back_and_take_0, churner_1x2), SAFETY},
    {C("churn-walk", mpmc2, drained_and_usable, 2, contents_0, churner_wrapping), SAFETY},
    {C("churn-ready", mpmc2, drained_and_usable, 2, maybe_ready_0, churner_wrapping), SAFETY},
    {C("churn-in-flight", mpmc4_two, drained_and_usable, 2, in_flight_0, churner_wrapping), SAFETY},
    {C("churn-count-spsc", spsc2, drain, 3, p0x3, c1x3, contents_2), SAFETY},
    {C("churn-room", all_released, mixed_after, 2, put_for_sure_0, churner_1x1), SAFETY},
    {C("churn-repair", left_taken, mended_3, 2, repairer_of_3, churner_1x2), SAFETY},
    {C("repair-many", left_many, drained_and_usable, 2, repair_many_0, put_6_1), SAFETY},
    {C("repair-spans", left_behind_room, dead_claim_is_aborted, 2, repairer_of_3, put_long_1), SAFETY},
    {C("returned-spans", returned_behind_room, drained_and_usable, 2, take_3_0, put_long_1), SAFETY},
    {C("repair-many-kill-repairer", left_many, mended_many, 2, repair_many_0, repair_many_1), .alive = &alive, SAFETY},
    {C("repair-beside-taker", left_taken, drained_and_usable, 2, repairer_of_3, c1x2), SAFETY},
    {C("repair-beside-producer", left_claimed, drained_and_usable, 2, repairer_of_3, p1x2), SAFETY},
    {C("room-long", long_taken, mixed_after, 3, p0x1, p1x1, acknowledge_2), SAFETY},
    {C("room-short", short_taken, mixed_after, 3, long_0, mixed_p1, acknowledge_2), SAFETY},
    {C("room-long-2", long_taken, mixed_after, 3, mixed_p1, p0x1, acknowledge_2), SAFETY},
    {C("semaphore-1p1c", semaphore2, drained_and_usable, 2, p0x2, c1x2), SAFETY},
    {C("semaphore-kill-producer", semaphore2, mended_and_usable, 2, p0x1, repairing_c1), .alive = &alive, SAFETY},
    {C("semaphore-repair", semaphore2, drained_and_usable, 2, p0x1, repair_3_by_1), SAFETY},
    {C("semaphore-repair-2", semaphore_left, mended_3, 2, p0x1, repair_3_and_0_by_1), .alive = &alive, SAFETY},
    {C("park-spsc", one_claim_spsc, nobody_sleeps, 2, tell_1, wait_1)},
    {C("park-mpmc-1", one_claim, nobody_sleeps, 2, tell_1, wait_1)},
    {C("park-mpmc-round", one_claim_late, nobody_sleeps, 2, tell_1, wait_1)},
    {C("park-mpmc-2", two_claims, nobody_sleeps, 2, tell_2, wait_1)},
    {C("park-mpmc", two_claims, nobody_sleeps, 2, tell_2, wait_1_twice)},
    {C("park-mpmc-2c", two_claims, nobody_sleeps, 3, tell_2, wait_1, wait_2)},
    {C("park-mpmc-2p", two_claims_of_two, nobody_sleeps, 3, tell_1, tell_1_too, wait_2)},
    {C("park-stand-in", one_claim, only_the_stand_in_sleeps, 3, tell_1, wait_1, stand_in_2)},
    {C("park-late", armed_before, nobody_sleeps, 3, wake_twice_0, announce_1, wait_for_condition_2)},
    {C("park-room-spsc", full_spsc, nobody_sleeps, 2, wait_for_room_0, make_room_1)},
    {C("park-room-mpmc-1c", full_mpmc, nobody_sleeps, 2, wait_for_room_0, make_room_1)},
    {C("park-room-mpmc", full_mpmc, nobody_sleeps, 3, wait_for_room_0, make_room_1, make_room_2)},
    {C("park-room-shutdown-spsc", full_spsc, nobody_sleeps, 2, wait_in_vain_0, shut_down_1)},
    {C("park-room-shutdown-mpmc", full_mpmc, nobody_sleeps, 2, wait_in_vain_0, shut_down_1)},
    {C("park-room-shutdown-semaphore", full_semaphore, nobody_sleeps, 2, wait_in_vain_0, shut_down_1)},
    {C("park-shutdown", spsc2, nobody_sleeps, 2, shut_down_0, wait_for_shutdown_1)},
};
const size_t RING_COUNT = sizeof RINGS / sizeof *RINGS;
