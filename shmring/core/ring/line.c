/* line.c - the line for room: so that a claimer which needs much of it is not passed over for ever by those who need little.
 *
 * Whoever was passed over for a while takes a place in line, a word with a ticket. The place with the lowest ticket has the
 * *turn*. While it has, all others may claim only what had been room when the turn began (`turn_limit`); what comes free
 * from then on adds up until it is enough for the one whose turn it is. So each place is served after a bounded number of
 * messages, and nobody who need not wait is slowed down: a claim looks at one more word of a cache line that it reads
 * anyway.
 *
 * Invariants:
 *   - a place names its owner, and so does the turn, which is a copy of it: both can be taken from the dead;
 *   - a turn whose place is gone is given up by whoever leaves the place, or gave the turn, whoever sees it last;
 *   - the limit only ever holds back: what lies below reclaim_position is room whatever it says.
 * It is about fairness alone: a lost update costs somebody a message's time, never a message.
 * Deliberately not here: when to stand in line, and how long to suffer one who does not take its turn (blocking.c).
 */
#include "ring/endpoint.h"

enum { TICKET_AT = SR_OWNER_BITS + 1 };

static uint64_t owner_of_place(uint64_t word) { return (word >> 1) & ((UINT64_C(1) << SR_OWNER_BITS) - 1); }

/* Tickets are compared modulo their bits: one that has waited is older than one that has not. */
static bool is_before(uint64_t one, uint64_t other) { return (int64_t)(one - other) < 0; }

void sr_line_join(struct sr_endpoint *self, struct sr_place *place) {
    struct sr_header *header = self->header;
    uint64_t ticket = SR_ADD(&header->tickets, 1, relaxed) + 1;
    uint64_t word = ticket << TICKET_AT | self->owner << 1 | 1;
    for (uint32_t i = 0; i < SR_LINE; i++) {
        uint64_t nobody = 0;
        if (SR_LOAD(&header->line[i], relaxed) == 0 && SR_CAS(&header->line[i], &nobody, word, relaxed)) {
            *place = (struct sr_place){.word = word, .index = i};
            return;
        }
    } /* too many stand there: the next time */
}

static uint64_t longest_waiting(const struct sr_endpoint *self, uint32_t *index) {
    uint64_t first = 0;
    for (uint32_t i = 0; i < SR_LINE; i++) {
        uint64_t word = SR_LOAD(&self->header->line[i], relaxed);
        if (word && (!first || is_before(word, first))) {
            first = word;
            *index = i;
        }
    }
    return first;
}

/* Gives the turn to the one who has waited longest, if nobody has it. */
static void give_turn(struct sr_endpoint *self) {
    struct sr_header *header = self->header;
    for (uint32_t tries = 0; tries < SR_LINE; tries++) { /* each time somebody else has left; bounded all the same */
        uint64_t nobody = 0;
        uint32_t index = 0;
        uint64_t first = longest_waiting(self, &index);
        if (!first || !SR_CAS(&header->turn, &nobody, first, relaxed))
            return;
        sr_heavy_fence(); /* SYNC: turn-or-gone (acquire side: the turn is given, then the place is looked at) */
        if (SR_LOAD(&header->line[index], relaxed) == first)
            return;
        SR_CAS(&header->turn, &first, 0, relaxed); /* it left before it could see its turn */
    }
}

/* Only ever up: one that had the turn before, and is late, must not let others have what came free since. */
static void raise_limit(struct sr_endpoint *self, uint64_t room_begins) {
    sr_atomic_u64 *limit = &self->header->turn_limit;
    uint64_t before = SR_LOAD(limit, relaxed);
    while (sr_distance(&self->geometry, before, room_begins) > 0 && !SR_CAS(limit, &before, room_begins, relaxed))
        ;
}

void sr_line_look(struct sr_endpoint *self, struct sr_place *place, uint64_t room_begins) {
    struct sr_header *header = self->header;
    if (SR_LOAD(&header->line[place->index], relaxed) != place->word) { /* somebody thought that we stand still */
        *place = (struct sr_place){0};
        return;
    }
    if (!SR_LOAD(&header->turn, relaxed))
        give_turn(self);
    if (SR_LOAD(&header->turn, relaxed) == place->word && !place->has_begun) {
        raise_limit(self, room_begins);
        place->has_begun = true;
    }
}

static bool remove_place(struct sr_endpoint *self, uint32_t index, uint64_t word) {
    struct sr_header *header = self->header;
    uint64_t found = word;
    if (!SR_CAS(&header->line[index], &found, 0, relaxed)) /* else it is what we looked for */
        return false;
    sr_heavy_fence(); /* SYNC: turn-or-gone (release side: the place is gone, then the turn is looked at) */
    bool had_turn = SR_CAS(&header->turn, &found, 0, relaxed);
    if (had_turn)
        give_turn(self);
    return had_turn;
}

bool sr_line_leave(struct sr_endpoint *self, struct sr_place *place) {
    bool had_turn = place->word && remove_place(self, place->index, place->word);
    *place = (struct sr_place){0};
    return had_turn;
}

bool sr_line_evict(struct sr_endpoint *self, uint64_t turn) {
    for (uint32_t i = 0; i < SR_LINE; i++)
        if (SR_LOAD(&self->header->line[i], relaxed) == turn)
            return remove_place(self, i, turn);
    return false;
}

void sr_line_repair(struct sr_endpoint *self, uint64_t dead_owner) {
    struct sr_header *header = self->header;
    for (uint32_t i = 0; i < SR_LINE; i++) {
        uint64_t word = SR_LOAD(&header->line[i], relaxed);
        if (word && owner_of_place(word) == dead_owner)
            remove_place(self, i, word);
    }
    uint64_t turn = SR_LOAD(&header->turn, relaxed); /* of a place that it had left already */
    if (turn && owner_of_place(turn) == dead_owner && SR_CAS(&header->turn, &turn, 0, relaxed))
        give_turn(self);
}
