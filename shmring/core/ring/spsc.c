/* spsc.c - one producer, one consumer, wait-free.
 *
 * Two positions on cache lines of their own, each written by one side only, each side caching what it last saw of the
 * other's (Lamport 1983, with the caching of Giacomoni et al., FastForward 2008, and Lee et al., MCRingBuffer 2010).
 * A record's word carries its length; it is ordered by write_position, not by itself.
 *
 * Invariants: granules in [read_position, write_position) belong to the consumer, all others to the producer.
 * A death before publication publishes nothing; a death before read_position moves delivers again.
 * Deliberately not here: who may hold a side (attach.c), waiting, more than one thread a side.
 */
#include "ring/endpoint.h"

static bool room(const struct sr_geometry *g, uint64_t read_position, uint64_t write_position, uint64_t granules) {
    if ((uint64_t)sr_distance(g, read_position, write_position) + granules > g->granules)
        return false;
    return !g->slots || sr_messages_between(g, read_position, write_position) < g->slots;
}

/* Granules to skip at the end of the arena, so that a record of so many lies in one piece. */
static uint64_t padding_for(const struct sr_geometry *g, uint64_t position, uint64_t granules) {
    uint64_t to_end = g->granules - sr_index(g, position);
    return granules > to_end ? to_end : 0;
}

static enum sr_result look_for_room(struct sr_endpoint *self, uint64_t granules) {
    const struct sr_geometry *g = &self->geometry;
    if (SR_LIKELY(room(g, self->cached_read_position, self->write_position, granules)))
        return SR_OK;
    /* SYNC: room-given-back (acquire; pairs with the release in sr_spsc_give_back_room): the consumer has finished
     * reading the bytes that we are about to overwrite. */
    uint64_t seen = SR_LOAD(&self->header->read_position, acquire);
    int64_t used = sr_distance(g, seen, self->write_position);
    if (sr_index(g, seen) >= g->granules || used < 0 || (uint64_t)used > g->granules)
        return SR_CORRUPT;
    self->cached_read_position = seen;
    if (room(g, seen, self->write_position, granules))
        return SR_OK;
    return SR_LOAD(&self->header->shutdown, relaxed) ? SR_SHUT_DOWN : SR_FULL;
}

enum sr_result sr_spsc_try_room(struct sr_endpoint *self, uint64_t length) {
    uint64_t granules = sr_granules_for(length);
    if (SR_LOAD(&self->header->shutdown, relaxed))
        return SR_SHUT_DOWN;
    return look_for_room(self, padding_for(&self->geometry, self->write_position, granules) + granules);
}

enum sr_result sr_spsc_try_claim(struct sr_endpoint *self, uint64_t length, struct sr_record *record) {
    const struct sr_geometry *g = &self->geometry;
    uint64_t position = self->write_position;
    uint64_t granules = sr_granules_for(length);
    uint64_t padding = padding_for(g, position, granules);

    enum sr_result result = look_for_room(self, padding + granules);
    if (result != SR_OK)
        return result;
    if (SR_UNLIKELY(padding)) {
        sr_scrub(self, position, padding);
        SR_STORE(&self->words[sr_index(g, position)],
                 sr_word(g, position, padding << SR_GRANULE_SHIFT, self->owner, SR_PADDING), relaxed);
        position = sr_after(g, position, padding, false);
    }
    sr_scrub(self, position, granules);
    uint64_t word = sr_word(g, position, length, self->owner, SR_CLAIMED);
    sr_atomic_u64 *at = &self->words[sr_index(g, position)];
    /* Relaxed: write_position publishes it. The consumer looks at it earlier only to learn, after a shutdown, whether we
     * are still on our way; the fences order that handshake. */
    SR_STORE(at, word, relaxed);
    sr_light_fence(); /* claim before the look at shutdown; other side: sr_after_empty in blocking.c */
    if (SR_UNLIKELY(SR_LOAD(&self->header->shutdown, relaxed))) {
        SR_STORE(at, sr_with_state(word, SR_ABORTED), relaxed);
        return SR_SHUT_DOWN;
    }
    record->position = position;
    record->word = word;
    record->length = length;
    record->payload = sr_payload_at(self, position);
    return SR_OK;
}

void sr_spsc_shorten(struct sr_endpoint *self, struct sr_record *record, uint64_t length) {
    const struct sr_geometry *g = &self->geometry;
    record->length = length;
    record->word = sr_word(g, record->position, length, sr_owner_of(record->word), SR_CLAIMED);
    SR_STORE(&self->words[sr_index(g, record->position)], record->word, relaxed); /* write_position publishes it */
}

void sr_spsc_commit(struct sr_endpoint *self, struct sr_record *record) {
    self->write_position = sr_after(&self->geometry, record->position, sr_granules_for(record->length), true);
}

void sr_spsc_publish(struct sr_endpoint *self) {
    /* SYNC: record-published (release; pairs with the acquire in look): payload and words first. */
    SR_STORE(&self->header->write_position, self->write_position, release);
}

void sr_spsc_abort(struct sr_endpoint *self, struct sr_record *record) {
    SR_STORE(&self->words[sr_index(&self->geometry, record->position)], sr_with_state(record->word, SR_ABORTED),
             relaxed); /* nothing is published; only the handshake after a shutdown looks at this */
}

static enum sr_result look(struct sr_endpoint *self, uint64_t position, uint64_t limit, struct sr_record *record) {
    const struct sr_geometry *g = &self->geometry;
    for (;;) {
        if (position == self->cached_write_position) {
            /* SYNC: record-published (acquire; pairs with the release in sr_spsc_publish). */
            uint64_t seen = SR_LOAD(&self->header->write_position, acquire);
            int64_t ready = sr_distance(g, position, seen);
            if (sr_index(g, seen) >= g->granules || ready < 0 || (uint64_t)ready > g->granules)
                return SR_CORRUPT;
            if (seen == position)
                return SR_EMPTY;
            self->cached_write_position = seen;
        }
        uint64_t word = SR_LOAD(&self->words[sr_index(g, position)], relaxed); /* ordered by write_position */
        uint64_t span = sr_span(g, position, word);
        if (SR_UNLIKELY(!span || sr_age(g, position, word)))
            return SR_CORRUPT;
        if (SR_UNLIKELY(sr_state_of(word) == SR_PADDING)) {
            position = sr_after(g, position, span, false);
            continue;
        }
        record->position = position;
        record->word = word;
        record->length = sr_length_of(g, word);
        record->payload = sr_payload_at(self, position);
        record->redelivered = self->redeliver || sr_state_of(word) == SR_RETURNED;
        __builtin_prefetch(record->payload +
                           4 * SR_GRANULE); /* for a stream of short messages; harmless past the end */
        return record->length > limit ? SR_TOO_LONG : SR_OK;
    }
}

enum sr_result sr_spsc_try_take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record) {
    return look(self, self->read_position, limit, record);
}

enum sr_result sr_spsc_try_take_next(struct sr_endpoint *self, const struct sr_record *before, uint64_t limit,
                                     struct sr_record *record) {
    uint64_t next = sr_after(&self->geometry, before->position, sr_granules_for(before->length), true);
    return look(self, next, limit, record);
}

void sr_spsc_acknowledge(struct sr_endpoint *self, struct sr_record *record) {
    self->read_position = sr_after(&self->geometry, record->position, sr_granules_for(record->length), true);
    self->redeliver = false;
}

void sr_spsc_give_back_room(struct sr_endpoint *self) {
    /* SYNC: room-given-back (release; pairs with the acquire in look_for_room): our reads of the payload first. */
    SR_STORE(&self->header->read_position, self->read_position, release);
}

/* Relaxed: only the consumer's side looks at it, and a successor's role-passed orders it. */
static void mark(struct sr_endpoint *self, struct sr_record *record, enum sr_state state) {
    SR_STORE(&self->words[sr_index(&self->geometry, record->position)], sr_with_state(record->word, state), relaxed);
}

void sr_spsc_mark_taken(struct sr_endpoint *self, struct sr_record *record) { mark(self, record, SR_TAKEN); }

void sr_spsc_hand_back(struct sr_endpoint *self, struct sr_record *record) {
    mark(self, record, SR_RETURNED); /* read_position has not moved: the next take finds it again */
    self->redeliver = true;
}

/* A predecessor was seen with this message, and died or handed it back. */
static bool was_taken_before(const struct sr_endpoint *self, uint64_t read, uint64_t written) {
    const struct sr_geometry *g = &self->geometry;
    for (int hops = 0; hops < 2 && sr_distance(g, read, written) > 0; hops++) {
        uint64_t word = SR_LOAD(&self->words[sr_index(g, read)], relaxed);
        uint64_t span = sr_span(g, read, word);
        if (sr_state_of(word) != SR_PADDING || !span)
            return sr_state_of(word) == SR_TAKEN || sr_state_of(word) == SR_RETURNED;
        read = sr_after(g, read, span, false);
    }
    return false;
}

bool sr_spsc_claim_is_open(struct sr_endpoint *self) {
    const struct sr_geometry *g = &self->geometry;
    uint64_t producer = SR_LOAD(&self->header->role_owner[0], acquire);
    uint64_t position = self->read_position;
    for (int hops = 0; hops < 2; hops++) {
        uint64_t word = SR_LOAD(&self->words[sr_index(g, position)], relaxed);
        if (sr_age(g, position, word))
            return false;
        if (sr_state_of(word) == SR_CLAIMED)
            return producer == (sr_owner_of(word) | SR_HELD);
        uint64_t span = sr_span(g, position, word);
        if (sr_state_of(word) != SR_PADDING || !span)
            return false;
        position = sr_after(g, position, span, false);
    }
    return false;
}

enum sr_result sr_spsc_adopt(struct sr_endpoint *self, uint32_t role) {
    const struct sr_geometry *g = &self->geometry;
    /* The predecessor wrote these; the compare-and-swap that gave us its role ordered them: role-passed in LAYOUT.md. */
    uint64_t written = SR_LOAD(&self->header->write_position, acquire);
    uint64_t read = SR_LOAD(&self->header->read_position, acquire);
    int64_t used = sr_distance(g, read, written);
    if (sr_index(g, written) >= g->granules || sr_index(g, read) >= g->granules || used < 0 ||
        (uint64_t)used > g->granules)
        return SR_CORRUPT;
    if (role == SR_ROLE_PRODUCER) {
        self->write_position = written;
        self->cached_read_position = read;
        /* A predecessor's open claim must not look like one of ours, once owners come round again. In a full ring the
         * place is that of the oldest message. */
        if ((uint64_t)used < g->granules)
            SR_STORE(&self->words[sr_index(g, written)], sr_word(g, written, 0, 0, SR_FREE), relaxed);
    } else {
        self->read_position = read;
        self->cached_write_position = read;
        self->redeliver = was_taken_before(self, read, written);
    }
    return SR_OK;
}
