/* topics.c - the configurations of topics: publishers, subscribers, comers and goers, in small rings that wrap. Every
 * subscriber must see the same messages in the same order, none twice, and know exactly how many it did not see. */
#include <stdlib.h>

#include "configurations.h"

enum { MESSAGES = 12, OTHER = EXPLORE_THREADS };

static struct sr_header *const header = (struct sr_header *)segment;
static struct sr_endpoint ends[EXPLORE_THREADS + 1]; /* one a thread, and one to look after them */
static uint32_t alive;
static struct sr_record open[2];

static struct {
    bool committed[MESSAGES + 1];
    uint32_t at[MESSAGES + 8]; /* by number */
    int seen[EXPLORE_THREADS + 1][MESSAGES + 1];
    uint64_t count[EXPLORE_THREADS + 1], from[EXPLORE_THREADS + 1];
    bool subscribed[EXPLORE_THREADS + 1], may_lose[EXPLORE_THREADS + 1], is_told;
} told;

static void make(uint64_t granules, bool overwrite) {
    struct sr_geometry plan;
    if (sr_geometry_plan(&plan, SR_KIND_TOPIC, granules * SR_GRANULE, 0) != SR_OK || plan.segment_size > sizeof segment)
        abort();
    plan.overwrite = overwrite;
    memset(header, 0, sizeof *header);
    memset(segment + plan.words_offset, 0, plan.segment_size - plan.words_offset);
    memset(segment + plan.attachments_offset, 0, 8 * sizeof(struct sr_attachment));
    header->write_position = header->reclaim_position = sr_first_position(&plan);
    memset(&told, 0, sizeof told);
    alive = 1;
    for (uint32_t i = 0; i <= EXPLORE_THREADS; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        sr_endpoint_bind(&ends[i], segment, &plan);
        ends[i].slot = i;
        ends[i].owner = 1u << SR_SLOT_BITS | i;
        ends[i].self = &ends[i].attachments[i];
    }
}

/* --- what a thread does --- */
static void write_message(struct sr_endpoint *self, struct sr_record *record, uint32_t id) {
    uint64_t *words = (uint64_t *)record->payload;
    if (self->geometry.overwrite) { /* two words, so that a mixture shows */
        SR_STORE(&words[0], id, relaxed);
        SR_STORE(&words[1], id, relaxed);
        return;
    }
    for (uint64_t i = 0; i < sr_granules_for(record->length); i++)
        explore_data(record->payload + i * SR_GRANULE, true);
    words[0] = id;
}

static uint32_t read_message(struct sr_endpoint *self, const struct sr_record *record) {
    uint64_t *words = (uint64_t *)record->payload;
    if (self->geometry.overwrite) {
        uint64_t first = SR_LOAD(&words[0], relaxed), second = SR_LOAD(&words[1], relaxed);
        return first == second ? (uint32_t)first : UINT32_MAX;
    }
    for (uint64_t i = 0; i < sr_granules_for(record->length); i++)
        explore_data(record->payload + i * SR_GRANULE, false);
    return (uint32_t)words[0];
}

static void fill(int thread, struct sr_record *record, uint32_t id) {
    write_message(&ends[thread], record, id);
    EXPECT(sr_commit(&ends[thread], record) == SR_OK);
    told.committed[id] = true;
}

static bool publish_long(int thread, uint32_t id, uint64_t length) {
    struct sr_record record;
    enum sr_result result = sr_try_claim(&ends[thread], length, &record);
    EXPECT(result == SR_OK || result == SR_FULL || result == SR_SHUT_DOWN);
    if (result == SR_OK)
        fill(thread, &record, id);
    return result == SR_OK;
}
static bool publish(int thread, uint32_t id) { return publish_long(thread, id, 64); }

static void publish_times(int thread, uint32_t first, int tries) {
    for (int i = 0; i < tries; i++)
        first += publish(thread, first);
}

static void note(int thread, uint64_t number, uint32_t id) {
    EXPECT(id >= 1 && id <= MESSAGES);
    if (id < 1 || id > MESSAGES || number >= sizeof told.at / sizeof *told.at)
        return;
    EXPECT(!told.at[number] || told.at[number] == id); /* the same for all */
    told.at[number] = id;
    EXPECT(!told.seen[thread][id]);
    told.seen[thread][id]++;
    told.count[thread]++;
}

/* The id of the next message; 0: none, or overwritten as we read it. */
static uint32_t get(int thread) {
    struct sr_record record;
    enum sr_result result = sr_try_take(&ends[thread], UINT64_MAX, &record);
    EXPECT(result == SR_OK || result == SR_EMPTY || result == SR_SHUT_DOWN);
    told.is_told |= result == SR_SHUT_DOWN;
    if (result != SR_OK)
        return 0;
    uint64_t number = ends[thread].sequence;
    uint32_t id = read_message(&ends[thread], &record);
    ends[thread].self->messages_got++; /* nobody else looks at it while threads run */
    result = sr_acknowledge(&ends[thread], &record);
    EXPECT(result == SR_OK || (result == SR_OVERWRITTEN && ends[thread].geometry.overwrite));
    if (result != SR_OK)
        return 0;
    note(thread, number, id);
    return id;
}

static void get_times(int thread, int tries) {
    for (int i = 0; i < tries; i++)
        get(thread);
}

static void subscribe(int thread, enum sr_start start) {
    struct sr_topic_range range;
    EXPECT(sr_topic_subscribe(&ends[thread], start, 0, &range) == SR_OK);
    EXPECT(range.oldest <= range.next || start == SR_START_OLDEST);
    told.subscribed[thread] = true;
    told.from[thread] = ends[thread].sequence;
}
static void unsubscribe(int thread) {
    told.subscribed[thread] = false;
    sr_topic_unsubscribe(&ends[thread], ends[thread].slot);
}

/* --- what must hold afterwards --- */
static void everybody_saw_everything(void) {
    struct sr_topic_range range;
    EXPECT(sr_topic_range_read(&ends[OTHER], &range) == SR_OK);
    for (int thread = 0; thread <= OTHER; thread++) {
        if (!told.subscribed[thread])
            continue;
        while (get(thread))
            ;
        EXPECT(told.from[thread] + told.count[thread] + ends[thread].lost == range.next);
        EXPECT(!ends[thread].lost || ends[thread].geometry.overwrite || told.may_lose[thread]);
    }
    uint64_t committed = 0;
    for (int id = 1; id <= MESSAGES; id++)
        committed += told.committed[id];
    EXPECT(range.next == committed || (!alive && range.next == committed + 1)); /* the victim's last words */
    for (uint64_t number = 1; number < range.next && number < sizeof told.at / sizeof *told.at; number++)
        if (told.at[number] && told.at[number - 1] && (told.at[number] - 1) / 4 == (told.at[number - 1] - 1) / 4)
            EXPECT(told.at[number] > told.at[number - 1]); /* those of one publisher in order */
}

static void usable(void) {
    everybody_saw_everything();
    if (!told.subscribed[OTHER])
        subscribe(OTHER, SR_START_LATEST);
    uint64_t length = ends[OTHER].geometry.granules > 2 ? 128 : 64;
    for (int i = 0; i < 5; i++) { /* the ring goes on, right round */
        for (int thread = 0; thread <= OTHER; thread++)
            told.seen[thread][9] = 0;
        memset(told.at, 0, sizeof told.at);
        EXPECT(publish_long(OTHER, 9, length));
        for (int thread = 0; thread <= OTHER; thread++)
            EXPECT(!told.subscribed[thread] || get(thread) == 9);
    }
}

static void mend(int thread) {
    uint64_t returned;
    EXPECT(sr_mpmc_repair(&ends[thread], ends[0].owner, &returned) == SR_OK);
    sr_topic_unsubscribe(&ends[thread], 0);
}
static void mended_and_usable(void) {
    if (!alive) {
        mend(OTHER);
        told.subscribed[0] = false;
    }
    usable();
}
static void mend_if_dead(int thread) {
    if (!SR_LOAD(&alive, acquire))
        mend(thread);
}
static void nobody_sleeps(void) {
    for (int i = 0; i < EXPLORE_THREADS; i++)
        EXPECT(!explore_is_asleep(i));
}

/* --- topics to begin with --- */
static void block(uint64_t granules, int subscribers) {
    make(granules, false);
    for (int i = 1; i <= subscribers; i++)
        subscribe(i, SR_START_OLDEST);
}
static void block_1s(void) { block(2, 1); }
static void block_2s(void) { block(2, 2); }
static void block4_1s(void) { block(4, 1); }
static void block_0s_full(void) {
    block(2, 0);
    publish(OTHER, 9);
    publish(OTHER, 10);
}
static void block_1s_full(void) {
    block(2, 1);
    publish(OTHER, 9);
    publish(OTHER, 10);
}
static void block_2s_full(void) {
    block(2, 2);
    publish(OTHER, 9);
    publish(OTHER, 10);
}
/* The subscriber has got everything; all room was claimed since, and given up. */
static void block_1s_gaps(void) {
    block(2, 1);
    for (int i = 0; i < 2; i++)
        EXPECT(sr_try_claim(&ends[OTHER], 64, &open[0]) == SR_OK && sr_abort(&ends[OTHER], &open[0]) == SR_OK);
}
static void gaps_are_room(void) {
    EXPECT(told.committed[1]);
    usable();
}
static void block_1s_full_taken(void) {
    block_1s_full();
    EXPECT(sr_try_take(&ends[1], UINT64_MAX, &open[0]) == SR_OK);
}
static void block_1s_full_forked(void) {
    block_1s_full();
    ends[2].read_position = ends[1].read_position;
    ends[2].subscribed = told.subscribed[2] = true;
    told.may_lose[2] = true;
}
static void block_victim_full(void) {
    block(2, 0);
    subscribe(0, SR_START_OLDEST);
    publish(OTHER, 9);
    publish(OTHER, 10);
}
static void block_victim_and_one(void) {
    block(2, 2);
    subscribe(0, SR_START_OLDEST);
    unsubscribe(1);
    publish(OTHER, 9);
}
static void overwrite(int subscribers) {
    make(2, true);
    for (int i = 1; i <= subscribers; i++)
        subscribe(i, SR_START_OLDEST);
    publish(OTHER, 9);
    publish(OTHER, 10);
}
static void overwrite_0s(void) { overwrite(0); }
static void overwrite_1s(void) { overwrite(1); }
static void overwrite_2s(void) { overwrite(2); }
static void overwrite4_1s(void) {
    make(4, true);
    subscribe(1, SR_START_OLDEST);
    publish_long(OTHER, 9, 128);
    publish(OTHER, 10);
}
/* A claim given up, and the padding of a wrap, lie between messages. */
static void overwrite_with_gaps(void) {
    make(4, true);
    subscribe(1, SR_START_OLDEST);
    publish_long(OTHER, 9, 128);
    EXPECT(sr_try_claim(&ends[OTHER], 64, &open[0]) == SR_OK);
    EXPECT(sr_mpmc_abort(&ends[OTHER], &open[0]) == SR_OK);
}
static void claimed_by_0_and_1(void) {
    block(2, 2);
    EXPECT(sr_try_claim(&ends[0], 64, &open[0]) == SR_OK);
    EXPECT(sr_try_claim(&ends[0], 64, &open[1]) == SR_OK);
}
/* A claim of another's is in the way of whoever wants to overwrite it. */
static void overwrite_claimed(void) {
    make(2, true);
    EXPECT(sr_try_claim(&ends[0], 64, &open[0]) == SR_OK);
    publish(OTHER, 9);
}

/* --- threads --- */
static void p0x1(void) { publish_times(0, 1, 1); }
static void p0x2(void) { publish_times(0, 1, 2); }
static void p0x3(void) { publish_times(0, 1, 3); }
static void p2x1(void) { publish_times(2, 5, 1); }
static void p2x2(void) { publish_times(2, 5, 2); }
static void p3x1(void) { publish_times(3, 5, 1); }
static void s1x1(void) { get_times(1, 1); }
static void s1x2(void) { get_times(1, 2); }
static void s1x3(void) { get_times(1, 3); }
static void s2x1(void) { get_times(2, 1); }
static void s2x2(void) { get_times(2, 2); }
static void s0x1(void) { get_times(0, 1); }

static void acknowledge_1(void) {
    note(1, 0, read_message(&ends[1], &open[0]));
    EXPECT(sr_acknowledge(&ends[1], &open[0]) == SR_OK);
}
/* Another thread of the process of thread 0. */
static void p0_too(void) {
    struct sr_record record;
    if (sr_try_claim(&ends[0], 64, &record) == SR_OK)
        fill(0, &record, 5);
}
/* A child that was forked from the process of thread 1, before anything else. */
static void forked_2(void) {
    EXPECT(sr_topic_subscribe_again(&ends[2]) == SR_OK);
    get_times(2, 1);
}

static void mixed_p(void) {
    uint32_t id = 1;
    id += publish_long(0, id, 64);
    id += publish_long(0, id, 128);
    id += publish_long(0, id, 128);
}
static void long_p(void) { publish_long(0, 1, 128); }
static void two_long_p(void) {
    publish_long(0, 1, 128);
    publish_long(0, 2, 128);
}
static void late_1(void) {
    subscribe(1, SR_START_OLDEST);
    get_times(1, 2);
}
static void latest_1(void) {
    subscribe(1, SR_START_LATEST);
    get_times(1, 1);
}
/* Takes all that there is before it passes any of it, as get_many does. */
static void ahead_1(void) {
    struct sr_endpoint *self = &ends[1];
    struct sr_record taken[3];
    int count = 0;
    enum sr_result result = sr_try_take(self, UINT64_MAX, &taken[0]);
    while (result == SR_OK && ++count < 3)
        result = sr_try_take_next(self, &taken[count - 1], &taken[count]);
    EXPECT(result == SR_OK || result == SR_EMPTY);
    for (int i = 0; i < count; i++) {
        uint32_t id = read_message(self, &taken[i]);
        bool whole = sr_still_whole(self, &taken[i]);
        EXPECT(whole || self->geometry.overwrite);
        if (!whole)
            return;
        note(1, self->sequence, id);
        EXPECT(sr_settle(self, &taken[i]) == SR_OK);
    }
}
static void late_0(void) {
    subscribe(0, SR_START_OLDEST);
    get_times(0, 1);
}
static void go_0(void) {
    get_times(0, 1);
    sr_topic_unsubscribe(&ends[0], 0);
    told.subscribed[0] = false;
}
static void go_1(void) {
    get(1);
    unsubscribe(1);
}
static void leave_1(void) { unsubscribe(1); }
static void begin_1(void) { subscribe(1, SR_START_LATEST); }
static void mending_p2(void) {
    mend_if_dead(2);
    publish_times(2, 5, 2);
}
static void mending_p2x1(void) {
    mend_if_dead(2);
    publish_times(2, 5, 1);
}
static void mending_s1(void) {
    mend_if_dead(1);
    get_times(1, 2);
}
static void look_1(void) {
    struct sr_topic_range range;
    EXPECT(sr_topic_range_read(&ends[1], &range) == SR_OK);
    EXPECT(range.oldest <= range.next);
}

/* Waiting. */
static void tell(int which, uint32_t id) {
    fill(0, &open[which], id);
    sr_announce(&ends[0], 1);
}
static void tell_1(void) { tell(0, 1); }
static void tell_2(void) {
    tell(0, 1);
    tell(1, 2);
}
static void wait_and_get(int thread) {
    struct sr_record record;
    EXPECT(sr_take(&ends[thread], UINT64_MAX, &FOR_EVER, &record) == SR_OK);
    EXPECT(sr_acknowledge(&ends[thread], &record) == SR_OK);
    sr_announce_room(&ends[thread]);
}
static void wait_1(void) { wait_and_get(1); }
static void wait_2(void) { wait_and_get(2); }
static void looks_2(void) { get(2); }
static void wait_1_twice(void) {
    wait_and_get(1);
    wait_and_get(1);
}
static void wait_for_room_0(void) {
    struct sr_record record;
    EXPECT(sr_claim(&ends[0], 64, &FOR_EVER, &record) == SR_OK);
    fill(0, &record, 1);
}
static void wait_for_room_2(void) {
    struct sr_record record;
    EXPECT(sr_claim(&ends[2], 64, &FOR_EVER, &record) == SR_OK);
    fill(2, &record, 5);
}
static void make_room_1(void) {
    EXPECT(get(1));
    sr_announce_room(&ends[1]);
}
static void make_room_by_going_1(void) {
    unsubscribe(1);
    sr_event_notify(&header->room, SR_WAKE_ALL);
}

/* Shutdown: what was published before it is got before ShutDown is. */
static void shut_down_2(void) { sr_shut_down(&ends[2], SR_DRAINING); }
static void shut_down_0(void) { sr_shut_down(&ends[0], SR_DRAINING); }
static void wait_for_shutdown_1(void) {
    struct sr_record record;
    EXPECT(sr_take(&ends[1], UINT64_MAX, &FOR_EVER, &record) == SR_SHUT_DOWN);
}
static void publish_and_shut_down_0(void) {
    publish(0, 1);
    sr_shut_down(&ends[0], SR_DRAINING);
}
static void told_after_all(void) {
    for (int id = 1; told.is_told && id <= MESSAGES; id++)
        EXPECT(told.committed[id] == (told.seen[1][id] == 1));
}

const struct configuration TOPICS[] = {
    {C("topic-1p1s", block_1s, usable, 2, p0x3, s1x3), SAFETY},
    {C("topic-1p2s", block_2s_full, usable, 3, p0x1, s1x2, s2x1), SAFETY},
    {C("topic-2p1s-small", block_1s_full, usable, 3, p0x1, s1x1, p2x1), SAFETY},
    {C("topic-2p1s", block_1s_full, usable, 3, p0x1, s1x2, p2x1), SAFETY},
    {C("topic-threads", block_1s_full_taken, usable, 3, p0x1, acknowledge_1, p0_too), SAFETY},
    {C("topic-forked", block_1s_full_forked, usable, 3, p0x1, leave_1, forked_2)},
    {C("topic-padding", block4_1s, usable, 2, mixed_p, s1x3), SAFETY},
    {C("topic-gaps", block_1s_gaps, gaps_are_room, 2, p0x2, s1x2), SAFETY},
    {C("topic-ahead", block_1s, usable, 2, p0x3, ahead_1), SAFETY},
    {C("topic-ahead-full", block_1s_full, usable, 2, p0x2, ahead_1), SAFETY},
    {C("topic-ahead-gaps", block_1s_gaps, usable, 2, p0x2, ahead_1), SAFETY},
    {C("topic-late-small", block_0s_full, usable, 2, p0x1, late_1)},
    {C("topic-late", block_0s_full, usable, 2, p0x2, late_1)},
    {C("topic-late-2p", block_0s_full, usable, 3, p0x1, late_1, p2x1)},
    {C("topic-late-latest", block_0s_full, usable, 2, p0x1, latest_1)},
    {C("topic-go", block_2s_full, usable, 2, p0x2, go_1), SAFETY},
    {C("topic-go-and-get", block_2s_full, usable, 3, p0x2, go_1, s2x1), SAFETY},
    {C("topic-kill-publisher", block_1s, mended_and_usable, 3, p0x1, mending_s1, p2x1), .alive = &alive, SAFETY},
    {C("topic-kill-publisher-full", block_0s_full, mended_and_usable, 2, p0x1, mending_p2x1), .alive = &alive, SAFETY},
    {C("topic-kill-subscriber", block_victim_full, mended_and_usable, 2, s0x1, mending_p2), .alive = &alive, SAFETY},
    {C("topic-kill-subscriber-2", block_victim_and_one, mended_and_usable, 3, s0x1, mending_p2, s2x1), .alive = &alive,
     SAFETY},
    {C("topic-kill-comer", block_0s_full, mended_and_usable, 2, late_0, mending_p2x1), .alive = &alive},
    {C("topic-kill-goer", block_victim_full, mended_and_usable, 2, go_0, mending_p2), .alive = &alive, SAFETY},
    {C("topic-park-1", claimed_by_0_and_1, nobody_sleeps, 2, tell_1, wait_1)},
    {C("topic-park", claimed_by_0_and_1, nobody_sleeps, 2, tell_2, wait_1_twice)},
    {C("topic-park-2s-small", claimed_by_0_and_1, nobody_sleeps, 3, tell_1, wait_1, looks_2)},
    {C("topic-park-2s", claimed_by_0_and_1, nobody_sleeps, 3, tell_1, wait_1, wait_2)},
    {C("topic-park-room", block_1s_full, nobody_sleeps, 2, wait_for_room_0, make_room_1)},
    {C("topic-park-room-gone", block_1s_full, nobody_sleeps, 2, wait_for_room_0, make_room_by_going_1)},
    {C("topic-park-claimed", overwrite_claimed, nobody_sleeps, 2, tell_1, wait_for_room_2)},
    {C("topic-shutdown", block_1s, told_after_all, 3, p0x1, s1x1, shut_down_2)},
    {C("topic-put-shutdown", block_1s, told_after_all, 2, publish_and_shut_down_0, s1x2)},
    {C("topic-park-shutdown", block_1s, nobody_sleeps, 2, shut_down_0, wait_for_shutdown_1)},
    {C("overwrite-1p1s-small", overwrite_1s, usable, 2, p0x2, s1x2), SAFETY},
    {C("overwrite-1p1s", overwrite_1s, usable, 2, p0x3, s1x2), SAFETY},
    {C("overwrite-1p2s", overwrite_2s, usable, 3, p0x1, s1x1, s2x2), SAFETY},
    {C("overwrite-2p1s", overwrite_1s, usable, 3, p0x1, s1x1, p2x1), SAFETY},
    {C("overwrite-2p-small", overwrite_0s, usable, 2, p0x1, p2x1), SAFETY},
    {C("overwrite-2p", overwrite_0s, usable, 2, p0x2, p2x2), SAFETY},
    {C("overwrite-3", overwrite_2s, usable, 4, p0x1, s1x1, s2x1, p3x1), SAFETY},
    {C("overwrite-long", overwrite4_1s, usable, 2, long_p, s1x2), SAFETY},
    {C("overwrite-gaps", overwrite_with_gaps, usable, 2, two_long_p, s1x2), SAFETY},
    {C("overwrite-ahead", overwrite_1s, usable, 2, p0x2, ahead_1), SAFETY},
    {C("overwrite-ahead-gaps", overwrite_with_gaps, usable, 2, two_long_p, ahead_1), SAFETY},
    {C("overwrite-late", overwrite_0s, usable, 2, p0x1, late_1), SAFETY},
    {C("overwrite-late-2p", overwrite_0s, usable, 3, p0x1, begin_1, p2x1), SAFETY},
    {C("overwrite-late-latest", overwrite_0s, usable, 2, p0x2, latest_1), SAFETY},
    {C("overwrite-look", overwrite_0s, usable, 2, p0x2, look_1), SAFETY},
    {C("overwrite-kill-publisher", overwrite_1s, mended_and_usable, 2, p0x1, mending_s1), .alive = &alive, SAFETY},
    {C("overwrite-kill-publisher-2p", overwrite_0s, mended_and_usable, 2, p0x1, mending_p2x1), .alive = &alive, SAFETY},
};
const size_t TOPIC_COUNT = sizeof TOPICS / sizeof *TOPICS;
