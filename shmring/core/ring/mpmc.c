/* mpmc.c - many producers, many consumers, lock-free: the record word is the truth, the positions are hints.
 *
 * Claim, commit, take and acknowledge are each one compare-and-swap of the record's word; everybody helps the positions
 * along afterwards. Compare Michael and Scott's queue (PODC 1996) for the helping and Vyukov's bounded queue for the lap
 * in the cell; what is ours is that owner and length stand in the same word, so that any death can be repaired.
 *
 * Invariants:
 *   - a word of lap L at the index of position p says that p was claimed; before that it is of an older lap;
 *   - records between reclaim_position and write_position are whole: each word's span leads to the next;
 *   - reclaim_position passes only RELEASED, ABORTED and PADDING, whose words change no more in their lap.
 * Deliberately not here: waiting, liveness, counters.
 */
#include "ring/endpoint.h"

/* Moves a position past the record of this word. Losing the race means that somebody else did. */
static bool help(const struct sr_endpoint *self, sr_atomic_u64 *hint, uint64_t position, uint64_t word) {
    const struct sr_geometry *g = &self->geometry;
    uint64_t span = sr_span(g, position, word);
    if (SR_UNLIKELY(!span))
        return false;
    /* SYNC: position-moved (release; pairs with the acquire in sr_mpmc_try_take and others): whoever sees the new position sees
     * the word that led past the old one. */
    SR_CAS(hint, &position, sr_after(g, position, span, sr_state_of(word) != SR_PADDING), acq_rel);
    return true;
}

/* A position and a word that do not fit together mean that the position was out of date - or, if it still is the
 * present one, that no writer of ours wrote this. */
static bool moved_on(sr_atomic_u64 *hint, uint64_t position) { return SR_LOAD(hint, acquire) != position; }

static bool is_room(uint64_t word) {
    enum sr_state state = sr_state_of(word);
    return state == SR_RELEASED || state == SR_ABORTED || state == SR_PADDING;
}

/* Advances reclaim_position over finished records until so many granules are free below `position`, or an unfinished one
 * stands in the way. Claimers do this, not consumers: two that release neighbours at once can each miss the other. */
static enum sr_result reclaim(struct sr_endpoint *self, uint64_t position, uint64_t wanted) {
    const struct sr_geometry *g = &self->geometry;
    sr_atomic_u64 *hint = &self->header->reclaim_position;
    for (;;) {
        uint64_t start = SR_LOAD(hint, acquire); /* SYNC: position-moved (acquire) */
        uint64_t end = start;
        while (sr_distance(g, end, position) > 0 &&
               (uint64_t)sr_distance(g, end, position) + wanted > g->granules - g->granules / 8) {
            if (sr_index(g, end) >= g->granules)
                return SR_CORRUPT;
            /* SYNC: payload-read (acquire; pairs with the release in change): the taker's reads are over
             * before anyone whom reclaim_position lets in writes there. */
            uint64_t word = SR_LOAD(&self->words[sr_index(g, end)], acquire);
            if (sr_age(g, end, word) || !is_room(word))
                break;
            uint64_t span = sr_span(g, end, word);
            if (!span)
                return SR_CORRUPT;
            end = sr_after(g, end, span, sr_state_of(word) != SR_PADDING);
        }
        /* SYNC: room-reclaimed (release; pairs with the acquire in fits). Whoever was faster may have wanted less. */
        if (end == start ? !moved_on(hint, start) : SR_CAS(hint, &start, end, acq_rel))
            return SR_OK;
    }
}

/* SR_OK: so many granules and one more message fit at this position. SR_STALE: the position is out of date. */
static enum sr_result fits(struct sr_endpoint *self, uint64_t position, uint64_t granules, uint64_t turn) {
    const struct sr_geometry *g = &self->geometry;
    uint64_t reclaimed = SR_LOAD(&self->header->reclaim_position, acquire); /* SYNC: room-reclaimed (acquire) */
    int64_t used = sr_distance(g, reclaimed, position);
    if (used < 0)
        return SR_STALE;
    if (SR_UNLIKELY((uint64_t)used > g->granules || sr_index(g, reclaimed) >= g->granules))
        return SR_CORRUPT;
    uint64_t begins = sr_line_limited(self, reclaimed, turn);
    if (SR_UNLIKELY(begins != reclaimed))
        used = sr_distance(g, begins, position);
    if ((uint64_t)used + granules > g->granules)
        return SR_FULL;
    if (g->slots && sr_messages_between(g, begins, position) >= g->slots)
        return SR_FULL;
    return SR_OK;
}

/* With a bound on messages, finished ones below the reserve of an eighth must be reclaimed too. */
static enum sr_result make_room(struct sr_endpoint *self, uint64_t position, uint64_t granules, uint64_t turn) {
    enum sr_result result = fits(self, position, granules, turn);
    if (SR_LIKELY(result != SR_FULL))
        return result;
    uint64_t wanted = self->geometry.slots ? self->geometry.granules : granules;
    result = reclaim(self, position, wanted);
    return result == SR_OK ? fits(self, position, granules, turn) : result;
}

/* Where a claim may begin. */
struct room {
    uint64_t position;
    uint64_t seen;    /* the word there */
    uint64_t padding; /* granules to the end of the arena, where the record does not fit before it; else 0 */
};

static enum sr_result find_room(struct sr_endpoint *self, uint64_t granules, uint64_t turn, struct room *room) {
    const struct sr_geometry *g = &self->geometry;
    struct sr_header *header = self->header;
    for (;;) {
        uint64_t position = SR_LOAD(&header->write_position, acquire); /* SYNC: position-moved (acquire) */
        uint64_t index = sr_index(g, position);
        if (SR_UNLIKELY(index >= g->granules))
            return SR_CORRUPT;
        uint64_t seen = SR_LOAD(&self->words[index], acquire);
        int64_t age = sr_age(g, position, seen);
        if (age == 0 && sr_state_of(seen) != SR_FREE) { /* somebody claimed here: help */
            if (!help(self, &header->write_position, position, seen))
                return SR_CORRUPT;
            continue;
        }
        if (age <= 0) {
            if (!moved_on(&header->write_position, position))
                return SR_CORRUPT;
            continue;
        }
        uint64_t to_end = g->granules - index;
        uint64_t padding = granules > to_end ? to_end : 0;
        enum sr_result result = g->kind == SR_KIND_TOPIC ? sr_topic_make_room(self, position, padding + granules, turn)
                                                         : make_room(self, position, padding + granules, turn);
        if (result == SR_STALE) {
            if (!moved_on(&header->write_position, position))
                return SR_CORRUPT;
            continue;
        }
        *room = (struct room){position, seen, padding};
        return result;
    }
}

enum sr_result sr_mpmc_try_room(struct sr_endpoint *self, uint64_t length) {
    struct room room;
    return SR_LOAD(&self->header->shutdown, relaxed) ? SR_SHUT_DOWN
                                                     : find_room(self, sr_granules_for(length), 0, &room);
}

enum sr_result sr_mpmc_try_claim(struct sr_endpoint *self, uint64_t length, uint64_t turn, struct sr_record *record) {
    const struct sr_geometry *g = &self->geometry;
    struct sr_header *header = self->header;
    uint64_t granules = sr_granules_for(length);

    if (SR_UNLIKELY(SR_LOAD(&header->shutdown, relaxed)))
        return SR_SHUT_DOWN;
    for (;;) {
        struct room room;
        enum sr_result result = find_room(self, granules, turn, &room);
        if (result != SR_OK)
            return result;
        sr_scrub(self, room.position, room.padding ? room.padding : granules);
        uint64_t word = room.padding
                            ? sr_word(g, room.position, room.padding << SR_GRANULE_SHIFT, self->owner, SR_PADDING)
                            : sr_word(g, room.position, length, self->owner, SR_CLAIMED);
        sr_atomic_u64 *at = &self->words[sr_index(g, room.position)];
        /* Release: a helper that sees our word must see the laps before it. */
        if (!SR_CAS(at, &room.seen, word, acq_rel))
            continue;
        help(self, &header->write_position, room.position, word);
        if (room.padding)
            continue;
        record->position = room.position;
        record->word = word;
        record->length = length;
        record->payload = sr_payload_at(self, room.position);
        sr_light_fence(); /* claim before the second look at shutdown; other side: sr_after_empty in blocking.c */
        if (SR_UNLIKELY(SR_LOAD(&header->shutdown, relaxed))) {
            sr_mpmc_abort(self, record);
            return SR_SHUT_DOWN;
        }
        return SR_OK;
    }
}

/* The owner's steps: from a word that only the owner changes. Failure means that it was taken for dead and repaired. */
static enum sr_result change(struct sr_endpoint *self, struct sr_record *record, enum sr_state state) {
    sr_atomic_u64 *at = &self->words[sr_index(&self->geometry, record->position)];
    uint64_t expected = record->word;
    uint64_t desired = sr_with_state(record->word, state);
    /* SYNC: record-published (release; pairs with the acquire in sr_mpmc_try_take): the payload is written.
     * SYNC: payload-read (release; pairs with the acquire in reclaim): the payload has been read. */
    if (!SR_CAS(at, &expected, desired, release))
        return SR_STALE;
    record->word = desired;
    return SR_OK;
}

enum sr_result sr_mpmc_commit(struct sr_endpoint *self, struct sr_record *record) {
    return change(self, record, SR_COMMITTED);
}

enum sr_result sr_mpmc_commit_part(struct sr_endpoint *self, struct sr_record *record, uint64_t length) {
    const struct sr_geometry *g = &self->geometry;
    uint64_t owner = sr_owner_of(record->word), granules = sr_granules_for(length);
    uint64_t rest = sr_granules_for(record->length) - granules;
    /* What is left over is padding, which counts as no message: so the position behind it is what it was, and whoever went
     * by the word as it was claimed is where all others come to. A word inside a record is looked at by nobody; relaxed,
     * because the commit publishes it. If we die in between, the record is aborted, whole. */
    if (rest) {
        uint64_t behind = sr_after(g, record->position, granules, true);
        SR_STORE(&self->words[sr_index(g, behind)], sr_word(g, behind, rest << SR_GRANULE_SHIFT, owner, SR_PADDING),
                 relaxed);
    }
    uint64_t expected = record->word;
    uint64_t desired = sr_word(g, record->position, length, owner, SR_COMMITTED);
    /* SYNC: record-published (release; pairs with the acquire in sr_mpmc_try_take): the payload, and that padding. */
    if (!SR_CAS(&self->words[sr_index(g, record->position)], &expected, desired, release))
        return SR_STALE;
    record->word = desired;
    record->length = length;
    return SR_OK;
}

enum sr_result sr_mpmc_abort(struct sr_endpoint *self, struct sr_record *record) {
    return change(self, record, SR_ABORTED);
}

enum sr_result sr_mpmc_acknowledge(struct sr_endpoint *self, struct sr_record *record) {
    return change(self, record, SR_RELEASED);
}

enum sr_result sr_mpmc_hand_back(struct sr_endpoint *self, struct sr_record *record) {
    enum sr_result result = change(self, record, SR_RETURNED);
    /* After the word, so that whoever has searched for this count has seen it. A death in between is made up for by the
     * repair, which raises the count as well. SYNC: returned (release; pairs with the acquire in take_returned). */
    SR_ADD(&self->header->returns, 1, release);
    return result;
}

static bool take_word(struct sr_endpoint *self, uint64_t position, uint64_t seen, struct sr_record *record) {
    const struct sr_geometry *g = &self->geometry;
    sr_atomic_u64 *at = &self->words[sr_index(g, position)];
    uint64_t word = sr_with_owner(seen, self->owner, SR_TAKEN);
    uint64_t expected = seen;
    /* SYNC: record-published (acquire; pairs with the release in change): the payload is there. */
    if (!SR_CAS(at, &expected, word, acq_rel))
        return false;
    record->position = position;
    record->word = word;
    record->length = sr_length_of(g, seen);
    record->payload = sr_payload_at(self, position);
    record->redelivered = sr_state_of(seen) == SR_RETURNED;
    return true;
}

/* Looks for a RETURNED record among those that the read position has passed: any, or the one at a position. SR_EMPTY:
 * there is none. */
static enum sr_result take_returned(struct sr_endpoint *self, uint64_t only, uint64_t limit, struct sr_record *record) {
    const struct sr_geometry *g = &self->geometry;
    struct sr_header *header = self->header;
    uint64_t searched = SR_LOAD(&header->returns_searched, relaxed); /* only decides whether to search */
    uint64_t returns = SR_LOAD(&header->returns, acquire);           /* SYNC: returned (acquire) */
    if (SR_LIKELY(searched == returns))
        return SR_EMPTY;
    uint64_t start = SR_LOAD(&header->reclaim_position, acquire);
    uint64_t position = start;
    for (;;) {
        if (sr_index(g, position) >= g->granules)
            return SR_CORRUPT;
        uint64_t word = SR_LOAD(&self->words[sr_index(g, position)], acquire);
        int64_t age = sr_age(g, position, word);
        if (age > 0)
            break;                                     /* the end of what was claimed */
        if (age < 0 || sr_state_of(word) == SR_FREE) { /* reclaimed under us: begin again where the ring does now */
            position = SR_LOAD(&header->reclaim_position, acquire);
            if (sr_distance(g, start, position) <= 0)
                return SR_CORRUPT; /* it does not: no writer of ours leads here */
            start = position;
            continue;
        }
        uint64_t span = sr_span(g, position, word);
        if (!span)
            return SR_CORRUPT;
        if (sr_state_of(word) == SR_RETURNED && (!only || only == position)) {
            if (sr_length_of(g, word) > limit) {
                record->length = sr_length_of(g, word);
                return SR_TOO_LONG;
            }
            if (take_word(self, position, word, record)) {
                help(self, &header->read_position, position, word); /* its first taker may have died before it did */
                return SR_OK;
            }
            continue; /* its state has changed: look again */
        }
        position = sr_after(g, position, span, sr_state_of(word) != SR_PADDING);
    }
    if (!only)
        SR_CAS(&header->returns_searched, &searched, returns, relaxed); /* a hint: a lost one costs a search */
    return SR_EMPTY;
}

/* The read position is out of date. Mostly others have moved it. But a taker that died before it helped leaves it behind,
 * and when its record has come back, been taken again and been reclaimed, nothing there leads on: go where the ring
 * begins now. Everything before reclaim_position is finished. */
static bool catch_up(struct sr_endpoint *self, uint64_t position) {
    struct sr_header *header = self->header;
    uint64_t reclaimed = SR_LOAD(&header->reclaim_position, acquire); /* SYNC: room-reclaimed (acquire) */
    if (sr_index(&self->geometry, reclaimed) < self->geometry.granules &&
        sr_distance(&self->geometry, position, reclaimed) > 0) {
        SR_CAS(&header->read_position, &position, reclaimed, acq_rel); /* SYNC: position-moved (release) */
        return true;
    }
    return moved_on(&header->read_position, position);
}

enum sr_result sr_mpmc_try_take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record) {
    const struct sr_geometry *g = &self->geometry;
    struct sr_header *header = self->header;
    enum sr_result returned = take_returned(self, 0, limit, record);
    if (SR_UNLIKELY(returned != SR_EMPTY))
        return returned;
    for (;;) {
        uint64_t position = SR_LOAD(&header->read_position, acquire); /* SYNC: position-moved (acquire) */
        uint64_t index = sr_index(g, position);
        if (SR_UNLIKELY(index >= g->granules))
            return SR_CORRUPT;
        uint64_t seen = SR_LOAD(&self->words[index], acquire);
        int64_t age = sr_age(g, position, seen);
        if (age > 0)
            return SR_EMPTY; /* nobody has claimed here */
        if (age < 0 || sr_state_of(seen) == SR_FREE) {
            if (!catch_up(self, position))
                return SR_CORRUPT;
            continue;
        }
        if (sr_state_of(seen) == SR_CLAIMED)
            return SR_EMPTY;
        if (SR_UNLIKELY(!sr_span(g, position, seen)))
            return SR_CORRUPT;
        if (sr_state_of(seen) != SR_COMMITTED) {
            help(self, &header->read_position, position, seen);
            continue;
        }
        if (sr_length_of(g, seen) > limit) {
            record->length = sr_length_of(g, seen);
            return SR_TOO_LONG;
        }
        if (!take_word(self, position, seen, record))
            continue;
        help(self, &header->read_position, position, seen);
        return SR_OK;
    }
}

enum sr_result sr_mpmc_try_take_again(struct sr_endpoint *self, uint64_t position, struct sr_record *record) {
    return take_returned(self, position, UINT64_MAX, record);
}

bool sr_mpmc_maybe_ready(struct sr_endpoint *self) {
    const struct sr_geometry *g = &self->geometry;
    if (SR_LOAD(&self->header->returns, acquire) != SR_LOAD(&self->header->returns_searched, relaxed))
        return true;
    uint64_t position = SR_LOAD(&self->header->read_position, acquire);
    if (sr_index(g, position) >= g->granules)
        return true;
    uint64_t word = SR_LOAD(&self->words[sr_index(g, position)], acquire);
    int64_t age = sr_age(g, position, word);
    /* Below 0: the position is out of date, as takers have not come by what was given up there, and the word is another's. */
    return age < 0 || (age == 0 && sr_state_of(word) != SR_CLAIMED);
}

enum sr_result sr_mpmc_reclaim(struct sr_endpoint *self) {
    /* Relaxed: it is how far to go at most; the words on the way are read with acquire. */
    return reclaim(self, SR_LOAD(&self->header->write_position, relaxed), self->geometry.granules);
}

enum sr_result sr_mpmc_in_flight(struct sr_endpoint *self, uint64_t *count) {
    struct sr_header *header = self->header;
    enum sr_result result = sr_mpmc_reclaim(self);
    uint64_t begin, end;
    do { /* both of one instant: else others may have claimed and reclaimed more than slots allow at a time */
        begin = SR_LOAD(&header->reclaim_position, acquire);
        end =
            SR_LOAD(&header->write_position, acquire); /* SYNC: position-moved (acquire): the room it was claimed in */
    } while (SR_LOAD(&header->reclaim_position, relaxed) != begin);
    *count = sr_messages_between(&self->geometry, begin, end);
    return result;
}
