/* topic.c - every subscriber sees every message: claims as in mpmc.c, and a cursor of its own for each subscriber.
 *
 * Messages are numbered by their place among all that were ever published. A claim does not know its number, since those
 * before it may yet be aborted; but the number at the position reclaim_position, where the oldest message begins, is
 * known to whoever moves it there, who counts what it passes. It writes that into `counts` at the position's index first,
 * by raising it only: so whoever comes late, by laps even, changes nothing. A cursor counts on from there.
 *
 * Block: reclaim_position is announced first, then the cursors are looked at; a subscriber shows its cursor first, then
 * looks at reclaim_position. One of them sees the other (topic-held in LAYOUT.md), so what lies below both is free.
 * Overwrite: nobody looks at cursors. A reader copies, then looks whether reclaim_position has passed what it read; the
 * writer has moved it before the first byte changes. What was lost is the difference of two numbers.
 *
 * Invariants:
 *   - reclaim_position passes only COMMITTED, ABORTED and PADDING, and less than a lap at a time;
 *   - the count at its index is the number of committed messages before it;
 *   - a subscriber whose bit is set keeps its cursor at or behind what it has read, and no room behind it is used.
 * Deliberately not here: waiting, liveness, what a message means.
 */
#include "ring/endpoint.h"

/* Which part of the ring is taken away at a time, where one message's worth would do. */
enum { HELD_BATCH = 8, OVERWRITE_BATCH = 64 };

/* A position, and the number of the first message from there on. */
struct place {
    uint64_t position;
    uint64_t sequence;
};

static sr_atomic_u64 *count_at(const struct sr_endpoint *self, uint64_t position) {
    return &self->counts[sr_index(&self->geometry, position)];
}

/* Where the oldest message begins. While reclaim_position is there, its count is not replaced by one of a later lap. */
static enum sr_result oldest(struct sr_endpoint *self, struct place *place) {
    sr_atomic_u64 *reclaimed = &self->header->reclaim_position;
    do {
        place->position = SR_LOAD(reclaimed, acquire); /* SYNC: room-reclaimed (acquire) */
        if (SR_UNLIKELY(sr_index(&self->geometry, place->position) >= self->geometry.granules))
            return SR_CORRUPT;
        /* SYNC: counted (acquire; pairs with the release in raise_count): a count of the next lap shows the move that
         * came before it, and we look again. */
        place->sequence = SR_LOAD(count_at(self, place->position), acquire);
    } while (SR_LOAD(reclaimed, acquire) != place->position);
    return SR_OK;
}

static bool passed(const struct sr_endpoint *self, uint64_t position) {
    /* SYNC: room-reclaimed (acquire) */
    return sr_distance(&self->geometry, position, SR_LOAD(&self->header->reclaim_position, acquire)) > 0;
}

/* Moves a place over settled records: until it has gone `enough` granules, or so many messages; never more than `most`.
 * SR_STALE: reclaimed under us, from where the topic begins. */
static enum sr_result go_on(struct sr_endpoint *self, struct place *place, uint64_t enough, uint64_t most,
                            uint64_t messages) {
    const struct sr_geometry *g = &self->geometry;
    uint64_t start = place->position;
    for (uint64_t gone = 0; gone < enough;) {
        if (SR_UNLIKELY(sr_index(g, place->position) >= g->granules))
            return SR_CORRUPT;
        /* SYNC: record-published (acquire): what lies there was written before we let others write over it. */
        uint64_t word = SR_LOAD(&self->words[sr_index(g, place->position)], acquire);
        enum sr_state state = sr_state_of(word);
        int64_t age = sr_age(g, place->position, word);
        if (age < 0 || (age == 0 && state == SR_FREE))
            return SR_LOAD(&self->header->reclaim_position, acquire) == start ? SR_CORRUPT : SR_STALE;
        if (age > 0 || state == SR_CLAIMED)
            return SR_OK;
        uint64_t span = sr_span(g, place->position, word);
        if (SR_UNLIKELY(!span))
            return SR_CORRUPT;
        bool is_message = state == SR_COMMITTED;
        if (gone + span > most || (is_message && !messages))
            return SR_OK;
        messages -= is_message;
        place->sequence += is_message;
        place->position = sr_after(g, place->position, span, is_message);
        gone += span;
    }
    return SR_OK;
}

/* --- publishing --- */

static bool is_gap(uint64_t word) { return sr_state_of(word) == SR_ABORTED || sr_state_of(word) == SR_PADDING; }

/* A cursor, moved over what is no message: its subscriber may be busy elsewhere, having got all there is. What lies at a
 * cursor that counts is not overwritten; another one sees to itself. */
static uint64_t helped(struct sr_endpoint *self, sr_atomic_u64 *cursor) {
    const struct sr_geometry *g = &self->geometry;
    for (;;) {
        /* SYNC: cursor-moved (acquire; pairs with the release in move): what lies behind it has been read. */
        uint64_t position = SR_LOAD(cursor, acquire);
        if (SR_UNLIKELY(sr_index(g, position) >= g->granules))
            return position;
        uint64_t word = SR_LOAD(&self->words[sr_index(g, position)], acquire);
        uint64_t span = sr_span(g, position, word);
        if (sr_age(g, position, word) || !is_gap(word) || !span)
            return position;
        /* Relaxed: it goes on with the release sequence of the subscriber's own move, and we have read nothing. */
        uint64_t next = sr_after(g, position, span, false);
        SR_CAS(cursor, &position, next, relaxed);
    }
}

/* The least of `position` and all cursors. *held: somebody is subscribed. */
static uint64_t slowest(struct sr_endpoint *self, uint64_t position, bool *held) {
    *held = false;
    for (uint32_t i = 0; i < SR_ATTACHMENTS / 64; i++) {
        /* SYNC: subscribed (acquire; pairs with the release in note_subscriber): its cursor; or, of one who has left,
         * that it has read. */
        uint64_t bits = SR_LOAD(&self->header->subscribers[i], acquire);
        for (*held |= bits != 0; bits; bits &= bits - 1) {
            uint64_t cursor = helped(self, &self->attachments[i * 64 + (uint32_t)__builtin_ctzll(bits)].cursor);
            if (sr_distance(&self->geometry, cursor, position) > 0)
                position = cursor;
        }
    }
    return position;
}

/* Only ever up, so that whoever comes late does not harm. */
static void raise_count(sr_atomic_u64 *count, uint64_t sequence) {
    uint64_t before = SR_LOAD(count, relaxed);
    while (before < sequence && !SR_CAS(count, &before, sequence, release)) /* SYNC: counted (release) */
        ;
}

/* Takes the oldest messages away until `granules` more fit at `position`, as far as anybody lets us. SR_FULL: nothing
 * changed. */
static enum sr_result take_oldest_away(struct sr_endpoint *self, uint64_t position, uint64_t granules) {
    const struct sr_geometry *g = &self->geometry;
    struct place place;
    enum sr_result result = oldest(self, &place);
    if (result != SR_OK)
        return result;
    uint64_t start = place.position;
    int64_t used = sr_distance(g, start, position);
    if (used < 0)
        return SR_STALE;
    if (SR_UNLIKELY((uint64_t)used > g->granules))
        return SR_CORRUPT;
    uint64_t enough = (uint64_t)used + granules > g->granules ? (uint64_t)used + granules - g->granules : 0;
    uint64_t most = g->granules - 1; /* less than a lap: see oldest() */
    bool held = false;
    if (g->overwrite) {
        enough += g->granules / OVERWRITE_BATCH; /* and let whoever begins at the oldest message get hold of it */
    } else {
        int64_t distance = sr_distance(g, start, slowest(self, position, &held));
        uint64_t behind = distance > 0 ? (uint64_t)distance : 0;
        most = behind < most ? behind : most;
        enough += held ? g->granules / HELD_BATCH : 0; /* cursors change all the time: do not look for each message */
    }
    result = go_on(self, &place, enough, most, UINT64_MAX);
    if (result == SR_CORRUPT)
        return SR_CORRUPT;
    bool changed = result == SR_STALE || place.position != start;
    if (result == SR_OK && place.position != start) {
        raise_count(count_at(self, place.position), place.sequence);
        /* SYNC: room-reclaimed (release). Whoever was faster did the same. */
        SR_CAS(&self->header->reclaim_position, &start, place.position, acq_rel);
    }
    if (g->overwrite)
        return changed ? SR_OK : SR_FULL;
    uint64_t announced = SR_LOAD(&self->header->reclaim_position, acquire); /* SYNC: room-reclaimed (acquire) */
    sr_light_fence(); /* SYNC: topic-held (release side: announced before the look at the cursors) */
    uint64_t free = slowest(self, announced, &held);
    uint64_t before = SR_LOAD(&self->free_position, relaxed); /* of this process; whoever sees it has our acquires */
    if (free == before)
        return changed ? SR_OK : SR_FULL;
    SR_CAS(&self->free_position, &before, free, release); /* or another thread has done so */
    return SR_OK;
}

enum sr_result sr_topic_make_room(struct sr_endpoint *self, uint64_t position, uint64_t granules, uint64_t turn) {
    const struct sr_geometry *g = &self->geometry;
    sr_atomic_u64 *below = g->overwrite ? &self->header->reclaim_position : &self->free_position;
    for (;;) {
        uint64_t free = SR_LOAD(below, acquire);
        uint64_t limit = g->overwrite ? free : sr_line_limited(self, free, turn);
        int64_t used = sr_distance(g, limit, position);
        if (used < 0)
            return SR_STALE;
        if (SR_LIKELY((uint64_t)used + granules <= g->granules))
            return SR_OK;
        if (limit != free)
            return SR_FULL; /* others, whose turn it is, shall find the oldest messages there until they need the room */
        enum sr_result result = take_oldest_away(self, position, granules);
        if (result != SR_OK)
            return result;
    }
}

enum sr_result sr_topic_try_claim(struct sr_endpoint *self, uint64_t length, uint64_t turn, struct sr_record *record) {
    enum sr_result result = sr_mpmc_try_claim(self, length, turn, record);
    if (self->geometry.overwrite)
        SR_FENCE(release); /* SYNC: overwritten (release; pairs with the fence in sr_topic_is_whole): reclaim first */
    return result;
}

/* --- subscribing --- */

static void move(struct sr_endpoint *self, struct place place) {
    self->read_position = place.position;
    self->sequence = place.sequence;
    SR_STORE(&self->self->sequence, place.sequence, relaxed); /* for those who look how far we are */
    SR_STORE(&self->self->cursor, place.position, release); /* SYNC: cursor-moved (release): we have read up to here */
}

static void note_subscriber(struct sr_endpoint *self, uint32_t slot, bool counts) {
    sr_atomic_u64 *bits = &self->header->subscribers[slot / 64];
    uint64_t bit = UINT64_C(1) << slot % 64;
    uint64_t before = SR_LOAD(bits, relaxed);
    /* SYNC: subscribed (release): the cursor is there; or, when it goes, what was read has been read. */
    while (!SR_CAS(bits, &before, counts ? before | bit : before & ~bit, release))
        ;
}

/* Shows our cursor where the oldest message is, so that nothing from there on is taken away (but for a topic that
 * overwrites: there the cursor is only for others to see). */
static enum sr_result hold(struct sr_endpoint *self) {
    struct place place;
    do {
        enum sr_result result = oldest(self, &place);
        if (result != SR_OK)
            return result;
        move(self, place);
        note_subscriber(self, self->slot, true);
        if (self->geometry.overwrite)
            return SR_OK;
        sr_heavy_fence(); /* SYNC: topic-held (acquire side: shown before the look at reclaim_position) */
    } while (passed(self, place.position));
    return SR_OK;
}

enum sr_result sr_topic_subscribe(struct sr_endpoint *self, enum sr_start start, uint64_t sequence,
                                  struct sr_topic_range *range) {
    self->subscribed = true;
    self->lost = self->headroom = 0;
    SR_STORE(&self->self->base_lost, SR_LOAD(&self->self->redelivered, relaxed), relaxed);
    for (;;) {
        enum sr_result result = hold(self);
        if (result != SR_OK)
            return result;
        struct place place = {self->read_position, self->sequence};
        range->oldest = place.sequence;
        bool too_old = start == SR_START_AT && sequence < place.sequence;
        uint64_t messages = start == SR_START_AT && !too_old ? sequence - place.sequence : UINT64_MAX;
        if (start != SR_START_OLDEST)
            result = go_on(self, &place, UINT64_MAX, self->geometry.granules, messages);
        if (result == SR_STALE || (result == SR_OK && passed(self, place.position)))
            continue; /* only where nobody waits for us */
        range->next = place.sequence;
        if (result == SR_OK && start == SR_START_AT && sequence != place.sequence)
            result = SR_EMPTY;
        if (result == SR_OK)
            move(self, place);
        return result;
    }
}

void sr_topic_unsubscribe(struct sr_endpoint *self, uint32_t slot) {
    struct sr_header *header = self->header;
    struct sr_attachment *entry = &self->attachments[slot];
    if (!(SR_LOAD(&header->subscribers[slot / 64], acquire) >> slot % 64 & 1))
        return;
    uint64_t read = SR_LOAD(&entry->sequence, relaxed);
    uint64_t before = SR_LOAD(&header->delivered, relaxed);
    if (SR_LOAD(&entry->messages_got, relaxed) != SR_LOAD(&entry->base_got, relaxed))
        while (before < read && !SR_CAS(&header->delivered, &before, read, relaxed))
            ;
    note_subscriber(self, slot, false);
}

/* --- getting --- */

/* Publishers have overwritten what is at our cursor: on to the oldest message that is whole, or further ahead of them when
 * that was overwritten as we read it, twice in a row or more. */
static enum sr_result catch_up_with_publishers(struct sr_endpoint *self) {
    struct place place;
    enum sr_result result;
    do {
        result = oldest(self, &place);
        if (result == SR_OK)
            result = go_on(self, &place, self->headroom / 2, self->geometry.granules, UINT64_MAX);
    } while (result == SR_STALE || (result == SR_OK && passed(self, place.position)));
    if (result != SR_OK || SR_UNLIKELY(place.sequence < self->sequence))
        return SR_CORRUPT;
    uint64_t lost = place.sequence - self->sequence;
    self->lost += lost;
    SR_ADD(&self->self->redelivered, lost, relaxed);
    move(self, place);
    return SR_OK;
}

enum sr_result sr_topic_subscribe_again(struct sr_endpoint *self) {
    struct place place = {self->read_position, self->sequence};
    enum sr_result result = SR_OK;
    SR_STORE(&self->self->base_lost, SR_LOAD(&self->self->redelivered, relaxed), relaxed);
    move(self, place);
    note_subscriber(self, self->slot, true);
    while (result == SR_OK && !self->geometry.overwrite) {
        sr_heavy_fence(); /* SYNC: topic-held (acquire side: shown before the look at reclaim_position) */
        if (!passed(self, self->read_position))
            break;
        result = catch_up_with_publishers(self);
    }
    return result;
}

static enum sr_result found_at(const struct sr_endpoint *self, uint64_t position, uint64_t word, uint64_t limit,
                               struct sr_record *record) {
    record->position = position;
    record->word = word;
    record->length = sr_length_of(&self->geometry, word);
    record->payload = sr_payload_at(self, position);
    record->redelivered = false;
    return record->length > limit ? SR_TOO_LONG : SR_OK;
}

enum sr_result sr_topic_try_take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record) {
    const struct sr_geometry *g = &self->geometry;
    for (;;) {
        uint64_t position =
            SR_LOAD(&self->self->cursor, relaxed); /* ours, and those who help it move it over gaps only */
        if (SR_UNLIKELY(sr_index(g, position) >= g->granules))
            return SR_CORRUPT;
        self->read_position = position;
        if (SR_UNLIKELY(g->overwrite && passed(self, position))) {
            enum sr_result result = catch_up_with_publishers(self);
            if (result != SR_OK)
                return result;
            continue;
        }
        /* SYNC: record-published (acquire; pairs with the release in change): the payload is there. */
        uint64_t word = SR_LOAD(&self->words[sr_index(g, position)], acquire);
        int64_t age = sr_age(g, position, word);
        if (age > 0)
            return SR_EMPTY; /* nobody has claimed here */
        enum sr_state state = sr_state_of(word);
        if (SR_UNLIKELY(age < 0 || state == SR_FREE)) {
            if (!passed(self, position))
                return SR_CORRUPT;
            enum sr_result result = catch_up_with_publishers(self);
            if (result != SR_OK)
                return result;
            continue;
        }
        if (state == SR_CLAIMED)
            return SR_EMPTY;
        uint64_t span = sr_span(g, position, word);
        if (SR_UNLIKELY(!span))
            return SR_CORRUPT;
        if (SR_UNLIKELY(state != SR_COMMITTED)) {
            SR_CAS(&self->self->cursor, &position, sr_after(g, position, span, false), relaxed); /* nothing was read */
            continue;
        }
        return found_at(self, position, word, limit, record);
    }
}

/* From a message that was taken and not passed yet. Our cursor stays, and so does what lies from there on, unless
 * publishers overwrite: then the next take tells what is lost. */
enum sr_result sr_topic_try_take_next(struct sr_endpoint *self, const struct sr_record *before, uint64_t limit,
                                      struct sr_record *record) {
    const struct sr_geometry *g = &self->geometry;
    uint64_t position = sr_after(g, before->position, sr_granules_for(before->length), true);
    for (;;) {
        if (SR_UNLIKELY(g->overwrite && passed(self, position)))
            return SR_EMPTY;
        /* SYNC: record-published (acquire; pairs with the release in change): the payload is there. */
        uint64_t word = SR_LOAD(&self->words[sr_index(g, position)], acquire);
        int64_t age = sr_age(g, position, word);
        enum sr_state state = sr_state_of(word);
        if (age > 0 || (age == 0 && state == SR_CLAIMED))
            return SR_EMPTY;
        if (SR_UNLIKELY(age < 0 || state == SR_FREE))
            return passed(self, position) ? SR_EMPTY : SR_CORRUPT;
        uint64_t span = sr_span(g, position, word);
        if (SR_UNLIKELY(!span))
            return SR_CORRUPT;
        if (SR_LIKELY(state == SR_COMMITTED))
            return found_at(self, position, word, limit, record);
        position = sr_after(g, position, span, false);
    }
}

bool sr_topic_is_whole(struct sr_endpoint *self, const struct sr_record *record) {
    if (!self->geometry.overwrite)
        return true;
    SR_FENCE(acquire); /* SYNC: overwritten (acquire): a byte that was not the message's shows that we were passed */
    bool whole = !passed(self, record->position);
    uint64_t most = self->geometry.granules;
    uint64_t farther = self->headroom < most / 2 ? 2 * self->headroom + 1 : most; /* 1, 3, 7 ... */
    self->headroom = SR_LIKELY(whole) ? 0 : farther;
    return whole;
}

void sr_topic_pass(struct sr_endpoint *self, const struct sr_record *record) {
    uint64_t granules = sr_granules_for(record->length);
    move(self, (struct place){sr_after(&self->geometry, record->position, granules, true), self->sequence + 1});
}

enum sr_result sr_topic_acknowledge(struct sr_endpoint *self, const struct sr_record *record) {
    if (!sr_topic_is_whole(self, record))
        return SR_OVERWRITTEN;
    sr_topic_pass(self, record);
    return SR_OK;
}

bool sr_topic_maybe_ready(struct sr_endpoint *self) {
    const struct sr_geometry *g = &self->geometry;
    return passed(self, self->read_position) ||
           sr_age(g, self->read_position, SR_LOAD(&self->words[sr_index(g, self->read_position)], acquire)) <= 0;
}

/* --- looking --- */

enum sr_result sr_topic_range_read(struct sr_endpoint *self, struct sr_topic_range *range) {
    for (;;) {
        struct place place;
        enum sr_result result = oldest(self, &place);
        if (result != SR_OK)
            return result;
        range->oldest = place.sequence;
        result = go_on(self, &place, UINT64_MAX, self->geometry.granules, UINT64_MAX);
        if (result == SR_STALE || (result == SR_OK && passed(self, place.position)))
            continue;
        range->next = place.sequence;
        return result;
    }
}

uint64_t sr_topic_undelivered(struct sr_endpoint *self, const struct sr_topic_range *range) {
    uint64_t read = SR_LOAD(&self->header->delivered, acquire);
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++) {
        struct sr_attachment *entry = &self->attachments[slot];
        uint64_t sequence = SR_LOAD(&entry->sequence, relaxed);
        bool has_read = SR_LOAD(&entry->messages_got, relaxed) != SR_LOAD(&entry->base_got, relaxed);
        if (SR_LOAD(&self->header->subscribers[slot / 64], acquire) >> slot % 64 & 1 && has_read && sequence > read)
            read = sequence;
    }
    uint64_t first = read > range->oldest ? read : range->oldest;
    return range->next > first ? range->next - first : 0;
}
