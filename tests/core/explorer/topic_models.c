/* topic_models.c - topics and latest values in one thread, against plain lists of what was published: what each subscriber
 * gets and has lost, when there is room, and which message is the oldest that is still there. */
#include <stdlib.h>

#include "configurations.h"

enum { RECORDS = 128, PUBLISHERS = 2, ENDS = 6, CALLS = 700 };
enum phase { CLAIMED, COMMITTED, GAP };

struct item {
    enum phase phase;
    uint64_t begin, granules, length; /* granules from the first position on */
    uint32_t id;
    int end;
    struct sr_record record;
};

static struct sr_header *const header = (struct sr_header *)segment;
static struct sr_endpoint ends[ENDS];
static struct sr_geometry plan;
static struct item items[RECORDS];
static int count;
static uint64_t written, reclaimed; /* granules */
static uint64_t forgotten;          /* messages before the first of the items */
static uint32_t ids, shutdown;
static struct {
    bool on, has_record;
    uint64_t next, got, delivered; /* the number of the next message; how many it got */
    struct sr_record record;
} subscriber[ENDS];

static uint64_t seed;
static uint64_t random_below(uint64_t bound) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % bound;
}

/* --- the model --- */

static uint64_t number_at(uint64_t begin) { /* of the first message from there on */
    uint64_t number = forgotten;
    for (int i = 0; i < count && items[i].begin < begin; i++)
        number += items[i].phase == COMMITTED;
    return number;
}
static struct item *message(uint64_t number) { /* NULL: not published yet, or forgotten */
    if (number < forgotten)
        return NULL;
    number -= forgotten;
    for (int i = 0; i < count; i++)
        if (items[i].phase == CLAIMED)
            return NULL; /* what is behind it is not published yet */
        else if (items[i].phase == COMMITTED && !number--)
            return &items[i];
    return NULL;
}
static uint64_t published(void) {
    uint64_t number = forgotten;
    while (message(number))
        number++;
    return number;
}
/* Where what a subscriber has yet to read begins: at its next message, or a claim that may become it. */
static uint64_t held_from(int i) {
    struct item *next = message(subscriber[i].next);
    uint64_t from = next ? next->begin : written;
    for (int j = 0; j < count && items[j].begin < from; j++)
        if (items[j].phase == CLAIMED)
            return items[j].begin;
    return from;
}
static uint64_t first_claim(void) {
    for (int i = 0; i < count; i++)
        if (items[i].phase == CLAIMED)
            return items[i].begin;
    return written;
}
static uint64_t padding_for(uint64_t granules) {
    uint64_t to_end = plan.granules - written % plan.granules;
    return granules > to_end ? to_end : 0;
}
/* What has to be room for a claim of so many granules to fit. */
static uint64_t needed(uint64_t granules) {
    uint64_t end = written + padding_for(granules) + granules;
    return end > plan.granules ? end - plan.granules : 0;
}
/* What lies before this may be taken away. */
static uint64_t limit(void) {
    uint64_t least = first_claim();
    for (int i = PUBLISHERS; i < ENDS && !plan.overwrite; i++)
        if (subscriber[i].on && held_from(i) < least)
            least = held_from(i);
    return least;
}
static bool has_room(uint64_t granules) { return needed(granules) <= limit(); }
/* A claim takes away what it has to, and what it can even when that is not enough. */
static void reclaim(uint64_t granules) {
    for (int i = 0; i < count && reclaimed < needed(granules); i++)
        if (items[i].begin >= reclaimed && items[i].begin + items[i].granules <= limit())
            reclaimed = items[i].begin + items[i].granules;
}

/* --- the topic --- */

static void make(uint64_t capacity, bool overwrite) {
    if (sr_geometry_plan(&plan, SR_KIND_TOPIC, capacity, 0) != SR_OK || plan.segment_size > sizeof segment)
        abort();
    plan.overwrite = overwrite;
    memset(segment, 0, plan.segment_size);
    header->write_position = header->reclaim_position = sr_first_position(&plan);
    for (uint32_t i = 0; i < ENDS; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        sr_endpoint_bind(&ends[i], segment, &plan);
        ends[i].slot = i < PUBLISHERS ? i : 62 + i; /* bits of two words */
        ends[i].owner = 1u << SR_SLOT_BITS | ends[i].slot;
        ends[i].self = &ends[i].attachments[ends[i].slot];
    }
    memset(subscriber, 0, sizeof subscriber);
    count = 0;
    written = reclaimed = forgotten = 0;
    ids = shutdown = 0;
}

static struct item *add(uint64_t granules, enum phase phase) {
    int old = 0;
    while (old < count && count > RECORDS / 2 && items[old].begin + items[old].granules <= reclaimed)
        forgotten += items[old++].phase == COMMITTED;
    memmove(items, items + old, (size_t)(count - old) * sizeof *items);
    count -= old;
    if (count == RECORDS)
        abort();
    items[count] = (struct item){.phase = phase, .begin = written, .granules = granules};
    written += granules;
    return &items[count++];
}
static struct item *some_claim(void) {
    struct item *found = NULL;
    int seen = 0;
    for (int i = 0; i < count; i++)
        if (items[i].phase == CLAIMED && !random_below((uint64_t)++seen))
            found = &items[i];
    return found;
}

static void claim(void) {
    uint64_t length = random_below(plan.max_message + 1), granules = sr_granules_for(length);
    struct sr_wait wait = {.hooks = FOR_EVER.hooks};
    struct sr_record record;
    int end = (int)random_below(PUBLISHERS);
    bool fits = has_room(granules), polls = random_below(2);
    EXPECT(sr_try_claim(&ends[end], plan.max_message + 1, &record) == SR_TOO_LONG);
    enum sr_result expected = shutdown ? SR_SHUT_DOWN : fits ? SR_OK : polls ? SR_TIMED_OUT : SR_FULL;
    enum sr_result result =
        polls ? sr_claim(&ends[end], length, &wait, &record) : sr_try_claim(&ends[end], length, &record);
    EXPECT(result == expected);
    if (!shutdown)
        reclaim(granules);
    if (result != SR_OK)
        return;
    if (padding_for(granules))
        add(padding_for(granules), GAP);
    struct item *item = add(granules, CLAIMED);
    item->id = ++ids;
    item->end = end;
    item->length = length;
    item->record = record;
    EXPECT(record.length == length);
    EXPECT(record.payload == ends[0].arena + item->begin % plan.granules * SR_GRANULE);
    for (uint64_t i = 0; i < length; i++)
        record.payload[i] = (unsigned char)(item->id + i);
}
/* What is left over is a gap behind it. */
static void commit_part(struct item *item, uint64_t length) {
    uint64_t rest = sr_granules_for(item->length) - sr_granules_for(length);
    if (rest && count == RECORDS)
        length = item->length, rest = 0;
    EXPECT(sr_commit_part(&ends[item->end], &item->record, length) == SR_OK && item->record.length == length);
    item->length = length;
    if (rest) {
        memmove(item + 2, item + 1, (size_t)(items + count - item - 1) * sizeof *items);
        item->granules -= rest;
        item[1] = (struct item){.begin = item->begin + item->granules, .granules = rest, .phase = GAP};
        count++;
    }
}
static void end_claim(bool commits) {
    struct item *item = some_claim();
    if (!item)
        return;
    if (commits) {
        commit_part(item, random_below(2) ? item->length : random_below(item->length + 1));
        sr_announce(&ends[item->end], 1);
    } else
        EXPECT(sr_abort(&ends[item->end], &item->record) == SR_OK);
    item->phase = commits ? COMMITTED : GAP;
}
/* The publisher is killed, and repaired. */
static void die(void) {
    int end = (int)random_below(PUBLISHERS);
    uint64_t returned;
    EXPECT(sr_mpmc_repair(&ends[1 - end], ends[end].owner, &returned) == SR_OK && !returned);
    for (int i = 0; i < count; i++)
        if (items[i].phase == CLAIMED && items[i].end == end)
            items[i].phase = GAP;
}

static int some_subscriber(bool on) {
    int i = PUBLISHERS + (int)random_below(ENDS - PUBLISHERS);
    return subscriber[i].on == on ? i : 0;
}
static void subscribe(void) {
    struct sr_topic_range range = {0};
    int i = some_subscriber(false);
    if (!i)
        return;
    uint64_t oldest = number_at(reclaimed), next = published(), start = random_below(3);
    uint64_t at = random_below(next + 2);
    enum sr_result result = sr_topic_subscribe(&ends[i], (enum sr_start)start, at, &range);
    bool is_there = start != SR_START_AT || (at >= oldest && at <= next);
    EXPECT(result == (is_there ? SR_OK : SR_EMPTY) && range.oldest == oldest);
    EXPECT(range.next == (start == SR_START_OLDEST                ? oldest
                          : start == SR_START_LATEST || at > next ? next
                          : at >= oldest                          ? at
                                                                  : next));
    if (result != SR_OK) {
        sr_topic_unsubscribe(&ends[i], ends[i].slot);
        return;
    }
    subscriber[i].on = true;
    subscriber[i].has_record = false;
    subscriber[i].next = start == SR_START_OLDEST ? oldest : start == SR_START_AT ? at : next;
    subscriber[i].got = 0;
    ends[i].self->base_got = ends[i].self->messages_got;
    EXPECT(ends[i].sequence == subscriber[i].next && !ends[i].lost);
}
static void unsubscribe(void) {
    int i = some_subscriber(true);
    if (!i)
        return;
    sr_topic_unsubscribe(&ends[random_below(2) ? i : 0], ends[i].slot);
    subscriber[i].on = false;
    if (subscriber[i].got && subscriber[i].next > subscriber[0].delivered)
        subscriber[0].delivered = subscriber[i].next;
    sr_topic_unsubscribe(&ends[i], ends[i].slot); /* twice is once */
}
/* In a forked child: the same cursor for another entry. */
static void fork_one(void) {
    int i = some_subscriber(true), child = some_subscriber(false);
    if (!i || !child || subscriber[i].has_record)
        return;
    ends[child].read_position = ends[i].read_position;
    ends[child].sequence = ends[i].sequence;
    ends[child].lost = ends[child].headroom = 0;
    EXPECT(sr_topic_subscribe_again(&ends[child]) == SR_OK);
    subscriber[child] = subscriber[i];
    subscriber[child].got = 0;
    ends[child].self->base_got = ends[child].self->messages_got;
    EXPECT(!ends[child].lost);
}

static void check(int i, const struct sr_record *record, const struct item *item) {
    EXPECT(record->length == item->length && !record->redelivered);
    EXPECT(record->payload == item->record.payload && record->position == item->record.position);
    for (uint64_t at = 0; at < item->length; at++)
        EXPECT(record->payload[at] == (unsigned char)(item->id + at));
    EXPECT(ends[i].sequence == subscriber[i].next);
}
static void take(void) {
    struct sr_record record;
    struct sr_wait wait = {.hooks = FOR_EVER.hooks};
    int i = some_subscriber(true);
    if (!i || subscriber[i].has_record)
        return;
    bool was_passed = subscriber[i].next < number_at(reclaimed), polls = random_below(2);
    bool is_behind = ends[i].headroom;
    uint64_t lost = ends[i].lost, cursor = ends[i].self->cursor;
    bool lies_behind = sr_distance(&plan, cursor, header->reclaim_position) > 0;
    struct item *item = message(subscriber[i].next);
    if (item && !was_passed && !lies_behind && item->length && random_below(3) == 0) {
        EXPECT(sr_try_take(&ends[i], item->length - 1, &record) == SR_TOO_LONG);
        EXPECT(record.length == item->length);
    }
    enum sr_result result =
        polls ? sr_take(&ends[i], UINT64_MAX, &wait, &record) : sr_try_take(&ends[i], UINT64_MAX, &record);
    if (was_passed || (is_behind && lies_behind)) { /* on to the oldest, or further ahead of those who overwrite */
        uint64_t oldest = number_at(reclaimed);
        EXPECT(is_behind ? ends[i].sequence >= oldest : ends[i].sequence == oldest);
        EXPECT(ends[i].lost - lost == ends[i].sequence - subscriber[i].next);
        subscriber[i].next = ends[i].sequence;
    }
    EXPECT(ends[i].self->redelivered - ends[i].self->base_lost == ends[i].lost);
    EXPECT(subscriber[i].next == ends[i].sequence);
    item = message(subscriber[i].next);
    enum sr_result nothing = shutdown && first_claim() == written ? SR_SHUT_DOWN : polls ? SR_TIMED_OUT : SR_EMPTY;
    EXPECT(result == (item ? SR_OK : shutdown == SR_STOPPED ? SR_SHUT_DOWN : nothing));
    if (result != SR_OK || !item)
        return;
    EXPECT(sr_topic_maybe_ready(&ends[i]));
    check(i, &record, item);
    subscriber[i].record = record;
    subscriber[i].has_record = true;
}
static void pass(void) {
    int i = some_subscriber(true);
    if (!i || !subscriber[i].has_record)
        return;
    struct item *item = message(subscriber[i].next), *after = message(subscriber[i].next + 1);
    struct sr_record next;
    bool is_lost = plan.overwrite && (!item || item->begin < reclaimed);
    if (!is_lost && random_below(2)) {
        enum sr_result result = sr_try_take_next(&ends[i], &subscriber[i].record, &next);
        EXPECT(result == (after ? SR_OK : SR_EMPTY));
        EXPECT(!after || (next.position == after->record.position && next.length == after->length));
    }
    EXPECT(sr_acknowledge(&ends[i], &subscriber[i].record) == (is_lost ? SR_OVERWRITTEN : SR_OK));
    subscriber[i].has_record = false;
    if (is_lost) {
        EXPECT(ends[i].headroom);
        return;
    }
    EXPECT(!ends[i].headroom);
    ends[i].self->messages_got++;
    subscriber[i].next++;
    subscriber[i].got++;
}

static void look(void) {
    struct sr_topic_range range;
    struct sr_contents contents;
    EXPECT(sr_topic_range_read(&ends[0], &range) == SR_OK);
    EXPECT(range.oldest == number_at(reclaimed) && range.next == published());
    uint64_t delivered = subscriber[0].delivered;
    for (int i = PUBLISHERS; i < ENDS; i++)
        if (subscriber[i].on && subscriber[i].got && subscriber[i].next > delivered)
            delivered = subscriber[i].next;
    uint64_t first = delivered > range.oldest ? delivered : range.oldest;
    uint64_t undelivered = range.next > first ? range.next - first : 0;
    EXPECT(sr_topic_undelivered(&ends[0], &range) == undelivered);
    EXPECT(sr_contents_read(&ends[0], &contents) == SR_OK && contents.undelivered == undelivered);
    for (int i = PUBLISHERS; i < ENDS; i++)
        EXPECT((header->subscribers[ends[i].slot / 64] >> ends[i].slot % 64 & 1) == subscriber[i].on);
}

static void drive(int calls) {
    for (int i = 0; i < calls; i++) {
        uint64_t which = random_below(32);
        if (which < 8)
            claim();
        else if (which < 14)
            end_claim(random_below(4) != 0);
        else if (which < 20)
            take();
        else if (which < 26)
            pass();
        else if (which < 28)
            subscribe();
        else if (which == 28)
            unsubscribe();
        else if (which == 29)
            fork_one();
        else if (which == 30 && random_below(8) == 0)
            die();
        if (i % 3 == 0) /* which takes longest */
            look();
    }
}
static void many(bool overwrite) {
    pace_ns = 1000;
    static const uint64_t capacities[] = {128, 200, 256, 400}; /* too small for batches, so that all is exact */
    for (uint64_t i = 0; i < 8; i++) {
        seed = i + 1;
        make(capacities[i % 4], overwrite);
        drive(CALLS);
        shutdown = SR_DRAINING;
        sr_shut_down(&ends[0], SR_DRAINING);
        drive(200);
    }
}
static void block(void) { many(false); }
static void overwrite(void) { many(true); }

/* --- latest values --- */

static void fill(struct sr_record *record, uint64_t version) {
    for (uint64_t i = 0; i < record->length; i++)
        record->payload[i] = (unsigned char)(version + i);
}
static void latest(void) {
    if (sr_geometry_plan(&plan, SR_KIND_LATEST, 150, 0) != SR_OK)
        abort();
    memset(segment, 0, plan.segment_size);
    for (uint32_t i = 0; i < 2; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        sr_endpoint_bind(&ends[i], segment, &plan);
        ends[i].self = &ends[i].attachments[i];
    }
    struct sr_record record = {.redelivered = true}, got = {.redelivered = true};
    struct sr_wait wait = {.hooks = FOR_EVER.hooks};
    uint64_t version = 0, known = 0, lengths[8] = {0};
    struct sr_contents none;
    EXPECT(sr_try_take(&ends[1], 0, &got) == SR_EMPTY);
    EXPECT(sr_contents_read(&ends[0], &none) == SR_OK && !none.ready && !none.undelivered);
    for (int i = 0; i < 3000; i++) {
        uint64_t which = random_below(8), length = random_below(151);
        bool stays = which == 7 && got.position;
        EXPECT(sr_try_claim(&ends[0], 151, &record) == SR_TOO_LONG);
        EXPECT(sr_try_room(&ends[0], 150) == SR_OK && sr_try_room(&ends[0], 151) == SR_TOO_LONG);
        if (which < 4) {
            record.redelivered = true;
            EXPECT(sr_try_claim(&ends[0], length, &record) == SR_OK);
            EXPECT(record.length == length && record.position == version + 1 && !record.redelivered);
            fill(&record, version + 1);
            if (random_below(8) == 0) { /* what is given up was never there */
                EXPECT(sr_abort(&ends[0], &record) == SR_OK);
                continue;
            }
            if (random_below(3) == 0) {
                length = random_below(length + 1);
                EXPECT(sr_commit_part(&ends[0], &record, length) == SR_OK && record.length == length);
            } else
                EXPECT(sr_commit(&ends[0], &record) == SR_OK);
            sr_announce(&ends[0], 1);
            lengths[++version % 8] = length;
        } else if (!stays) {
            if (random_below(2))
                EXPECT(sr_take(&ends[1], known, &wait, &got) == (version > known ? SR_OK : SR_TIMED_OUT));
            else
                EXPECT(sr_try_take(&ends[1], known, &got) == (version > known ? SR_OK : SR_EMPTY));
            if (version <= known)
                continue;
            EXPECT(got.position == version && got.length == lengths[version % 8] && !got.redelivered);
            for (uint64_t at = 0; at < got.length; at++)
                EXPECT(got.payload[at] == (unsigned char)(version + at));
            known = random_below(3) ? version : known;
        } else { /* one that was read long ago may be overwritten */
            bool is_whole = version - got.position <= SR_LATEST_PLACES - 2;
            EXPECT(sr_acknowledge(&ends[1], &got) == (is_whole ? SR_OK : SR_OVERWRITTEN));
            EXPECT(sr_still_whole(&ends[1], &got) == is_whole);
        }
        struct sr_contents contents;
        EXPECT(sr_contents_read(&ends[0], &contents) == SR_OK && contents.ready == (version > 0));
    }
    ends[1].self = &ends[1].attachments[1];
    sr_shut_down(&ends[0], SR_DRAINING);
    EXPECT(sr_try_claim(&ends[0], 1, &record) == SR_SHUT_DOWN && sr_try_room(&ends[0], 1) == SR_SHUT_DOWN);
    EXPECT(sr_try_take(&ends[1], 0, &got) == SR_OK && sr_try_take(&ends[1], version, &got) == SR_SHUT_DOWN);
}
static void nothing(void) {}

const struct configuration TOPIC_MODELS[] = {
    {C("model-topic", block, nothing, 1, nothing)},
    {C("model-overwrite", overwrite, nothing, 1, nothing)},
    {C("model-latest", latest, nothing, 1, nothing)},
};
const size_t TOPIC_MODEL_COUNT = sizeof TOPIC_MODELS / sizeof *TOPIC_MODELS;
