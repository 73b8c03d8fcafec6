/* repair.c - reading and mending what lies in an mpmc ring: every walk over the records that changes none, or only a dead
 * owner's. Safe beside live producers and consumers; safe to die in and to do again. */
#include "ring/endpoint.h"

/* Calls visit for each record from reclaim_position to the last claimed one. A record that visit has to see cannot be
 * missed: reclaim_position does not pass it while it is unfinished. */
typedef void (*sr_visit)(struct sr_endpoint *self, uint64_t position, uint64_t word, void *context);

/* `restart` is called when what was visited so far has been reclaimed meanwhile. */
static enum sr_result walk(struct sr_endpoint *self, sr_visit visit, void (*restart)(void *), void *context) {
    const struct sr_geometry *g = &self->geometry;
    sr_atomic_u64 *hint = &self->header->reclaim_position;
    uint64_t position = SR_LOAD(hint, acquire);
    for (uint64_t walked = 0; walked <= g->granules;) {
        if (sr_index(g, position) >= g->granules)
            return SR_CORRUPT;
        uint64_t word = SR_LOAD(&self->words[sr_index(g, position)], acquire);
        int64_t age = sr_age(g, position, word);
        if (age > 0)
            return SR_OK;
        if (age < 0 || sr_state_of(word) == SR_FREE) { /* reclaimed under us: go on where the ring begins now */
            uint64_t now = SR_LOAD(hint, acquire);
            if (sr_distance(g, position, now) <= 0)
                return SR_CORRUPT;
            position = now;
            walked = 0;
            restart(context);
            continue;
        }
        uint64_t span = sr_span(g, position, word);
        if (!span)
            return SR_CORRUPT;
        visit(self, position, word, context);
        position = sr_after(g, position, span, sr_state_of(word) != SR_PADDING);
        walked += span;
    }
    return SR_OK; /* a full lap, all of it in use */
}

struct repair {
    uint64_t dead_owner;
    uint64_t returned;
};

static void repair_record(struct sr_endpoint *self, uint64_t position, uint64_t word, void *context) {
    struct repair *repair = context;
    enum sr_state state = sr_state_of(word);
    if (sr_owner_of(word) != repair->dead_owner || (state != SR_CLAIMED && state != SR_TAKEN))
        return;
    /* The owner is dead: only another repairer can win this, and it writes the same. */
    SR_CAS(&self->words[sr_index(&self->geometry, position)], &word,
           sr_with_state(word, state == SR_CLAIMED ? SR_ABORTED : SR_RETURNED), acq_rel);
    repair->returned += state == SR_TAKEN;
}

static void keep(void *context) { (void)context; } /* what was repaired is repaired */

enum sr_result sr_mpmc_repair(struct sr_endpoint *self, uint64_t dead_owner, uint64_t *returned) {
    struct repair repair = {.dead_owner = dead_owner};
    enum sr_result result = walk(self, repair_record, keep, &repair);
    /* Even when none was found: the dead may have handed one back without counting it. */
    SR_ADD(&self->header->returns, 1, release); /* SYNC: returned (release) */
    *returned = repair.returned;
    return result;
}

static void count_record(struct sr_endpoint *self, uint64_t position, uint64_t word, void *context) {
    struct sr_contents *contents = context;
    enum sr_state state = sr_state_of(word);
    contents->ready += state == SR_COMMITTED || state == SR_RETURNED;
    contents->claimed += state == SR_CLAIMED;
    contents->taken += state == SR_TAKEN;
    /* Finished ones at the front are room that nobody has needed yet. */
    bool is_room = state == SR_RELEASED || state == SR_ABORTED || state == SR_PADDING;
    if (contents->used_granules || !is_room)
        contents->used_granules += sr_span(&self->geometry, position, word);
}

static void count_again(void *context) { *(struct sr_contents *)context = (struct sr_contents){0}; }

static enum sr_result count_spsc(struct sr_endpoint *self, struct sr_contents *contents) {
    const struct sr_geometry *g = &self->geometry;
    uint64_t position, end;
    int64_t used;
    for (;;) {
        position = SR_LOAD(&self->header->read_position, acquire);
        end = SR_LOAD(&self->header->write_position, acquire);
        used = sr_distance(g, position, end);
        if (used >= 0 && (uint64_t)used <= g->granules)
            break;
        if (SR_LOAD(&self->header->read_position, relaxed) == position) /* else both went on between our two looks */
            return SR_CORRUPT;
    }
    if (sr_index(g, position) >= g->granules || sr_index(g, end) >= g->granules)
        return SR_CORRUPT;
    contents->used_granules = (uint64_t)used;
    while (sr_distance(g, position, end) > 0) {
        uint64_t word = SR_LOAD(&self->words[sr_index(g, position)], relaxed);
        uint64_t span = sr_span(g, position, word);
        if (sr_age(g, position, word) < 0)
            return SR_OK; /* overtaken while we looked: an instant's count is all there is */
        if (!span || sr_age(g, position, word) > 0)
            return SR_CORRUPT;
        bool is_message = sr_state_of(word) != SR_PADDING;
        contents->ready += is_message && sr_state_of(word) != SR_TAKEN;
        contents->taken += sr_state_of(word) == SR_TAKEN;
        position = sr_after(g, position, span, is_message);
    }
    return SR_OK;
}

struct holding {
    uint64_t owner;
    uint64_t taken;
};

static void count_taken(struct sr_endpoint *self, uint64_t position, uint64_t word, void *context) {
    (void)self;
    (void)position;
    struct holding *holding = context;
    holding->taken += sr_state_of(word) == SR_TAKEN && sr_owner_of(word) == holding->owner;
}

static void count_taken_again(void *context) { ((struct holding *)context)->taken = 0; }

uint64_t sr_contents_taken_by(struct sr_endpoint *self, uint64_t owner) {
    struct holding holding = {.owner = owner};
    enum sr_result result = SR_OK;
    if (self->geometry.kind == SR_KIND_MPMC || self->geometry.kind == SR_KIND_SEMAPHORE)
        result = walk(self, count_taken, count_taken_again, &holding);
    else if (self->geometry.kind == SR_KIND_SPSC &&
             SR_LOAD(&self->header->role_owner[1], acquire) == (owner | SR_HELD)) {
        struct sr_contents contents = {0};
        result = count_spsc(self, &contents);
        holding.taken = contents.taken;
    }
    return result == SR_OK ? holding.taken : 0;
}

enum sr_result sr_contents_read(struct sr_endpoint *self, struct sr_contents *contents) {
    *contents = (struct sr_contents){0};
    if (self->geometry.kind == SR_KIND_LATEST) {
        contents->ready = SR_LOAD(&self->header->write_position, acquire) > 0;
        return SR_OK;
    }
    enum sr_result result = self->geometry.kind == SR_KIND_SPSC ? count_spsc(self, contents)
                                                                : walk(self, count_record, count_again, contents);
    /* What a dead taker held will be delivered again; what a dead producer had claimed will not. */
    contents->undelivered = contents->ready + contents->taken;
    struct sr_topic_range range;
    if (result == SR_OK && self->geometry.kind == SR_KIND_TOPIC &&
        (result = sr_topic_range_read(self, &range)) == SR_OK)
        contents->undelivered = sr_topic_undelivered(self, &range);
    return result;
}
