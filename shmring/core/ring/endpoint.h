/* ring/endpoint.h - what every algorithm shares: geometry, positions, record words, the endpoint, the try-operations.
 *
 * Words: a *position* is a monotonic u64 [lap | index | sequence]: index counts granules in the arena, lap counts the
 * times round it (from 1), sequence counts messages modulo 2^sequence_bits and exists only where slots bound the ring.
 * With it, the number of messages in flight is the difference of two positions, and moves with them in one word.
 * A *record word* is a u64 [lap | length | owner | state]; the word of a record stands at its first granule's index.
 *
 * Try-operations never wait, never call the operating system, never touch Python. A death between any two of their
 * instructions leaves a word that names its owner.
 */
#ifndef SHMRING_ENDPOINT_H
#define SHMRING_ENDPOINT_H

#include "format/layout.h"
#include "result.h"

enum {
    SR_STATE_BITS = 3,
    SR_SLOT_BITS = 8,
    SR_EPOCH_BITS = 6,
    SR_OWNER_BITS = SR_SLOT_BITS + SR_EPOCH_BITS,
    SR_LENGTH_AT = SR_STATE_BITS + SR_OWNER_BITS,
};

/* Marks an owner as present where 0 means nobody. */
#define SR_HELD (UINT64_C(1) << 63)

/* The state of an attachment entry, and what stands in one word with it. */
static inline enum sr_attachment_state sr_entry_state(uint64_t word) { return (enum sr_attachment_state)(word & 0xff); }
static inline uint64_t sr_entry_epoch(uint64_t word) { return (word >> 8) & ((1u << SR_EPOCH_BITS) - 1); }
static inline uint64_t sr_entry_order(uint64_t word) { return word >> 16; }
static inline uint64_t sr_entry_word(uint64_t order, uint64_t epoch, enum sr_attachment_state state) {
    return order << 16 | epoch << 8 | (uint64_t)state;
}

/* A validated, process-local copy: the header is not read again, so nobody can change it under us. */
struct sr_geometry {
    uint64_t granules;
    uint64_t capacity;
    uint64_t max_message;
    uint64_t slots;
    uint64_t attachments_offset;
    uint64_t words_offset;
    uint64_t counts_offset; /* topic */
    uint64_t arena_offset;
    uint64_t segment_size;
    uint64_t index_mask;
    uint64_t sequence_mask;
    uint64_t length_mask;
    unsigned index_bits;
    unsigned sequence_bits;
    unsigned length_bits;
    unsigned lap_at;   /* bit of the word where the lap begins */
    unsigned lap_bits; /* in the word; the position's lap is longer */
    uint32_t kind;
    uint32_t flags; /* enum sr_segment_flag */
    bool overwrite; /* topic: publishers never wait for subscribers */
};

/* Semaphores of the semaphore kind; the platform's, behind os/semaphore.h. */
struct sr_semaphores {
    void *mutex;
    void *full;
    void *empty;
};

struct sr_contents;

/* What belongs to a segment beside its own ring: the further links of a queue. */
struct sr_further {
    /* What a dead owner left there; false: not now, and his entry stays as it is. */
    bool (*repair)(struct sr_further *self, uint64_t dead_owner);
    enum sr_result (*contents)(struct sr_further *self, struct sr_contents *contents); /* by the living, of all */
};

/* One attachment's way into a ring. mpmc operations on one endpoint may run in several threads at once; spsc ones in one
 * thread a side (the binding sees to it). */
struct sr_endpoint {
    struct sr_endpoint *root;   /* the one that is attached; of a queue's link another, else this one */
    struct sr_further *further; /* of the root; NULL: nothing */
    struct sr_header *header;
    struct sr_attachment *attachments;
    sr_atomic_u64 *words;
    sr_atomic_u64 *counts; /* topic */
    unsigned char *arena;
    struct sr_attachment *self;
    struct sr_geometry geometry;
    uint64_t owner; /* epoch << SR_SLOT_BITS | slot */
    uint32_t slot;
    uint32_t roles; /* the ones this endpoint has taken */
    int locks;      /* of os.h: through it we hold others off for a moment, and look at their locks */
    void *token;    /* a hold of our entry's byte: says that we live */
    void *claim;    /* a shared hold that our forked children inherit: they may yet attach */
    uint64_t at;    /* where in its file the segment begins: locks are on bytes of the file */
    bool redeliver; /* spsc: the message at read_position was handed back */
    struct sr_semaphores semaphores;
    sr_atomic_u32 closing; /* somebody is closing this endpoint: waiters leave */
    sr_atomic_u32 reaping;
    sr_atomic_u32 damaged;      /* pages of the segment were taken away under us: set by the guard of os/memory.h */
    sr_atomic_u64 spin_ns[2];   /* adaptive spin budget of each side, see blocking.c */
    sr_atomic_u64 last_reap_ns; /* of the calls that do not wait */
    sr_atomic_u64 turn_seen;    /* in the line for room, at the last look-up */
    sr_atomic_u32 abroad;       /* threads of ours that are in here without the interpreter */
    /* spsc: the producer's and the consumer's own positions, and what each last saw of the other's. */
    uint64_t write_position;
    uint64_t cached_read_position;
    unsigned char pad[48];
    uint64_t read_position; /* topic: the subscriber's as well */
    uint64_t cached_write_position;
    /* topic: a subscriber's, used by one thread at a time. */
    uint64_t sequence; /* of the message at read_position: so many were published before it */
    uint64_t lost;
    uint64_t headroom; /* twice the granules to stay ahead of publishers who overwrite what is being read */
    bool subscribed;
    sr_atomic_u64 free_position; /* topic that blocks: below it everything is read, by everyone */
};

/* A claimer's place in the line for room (line.c). All zeros: none. */
struct sr_place {
    uint64_t word;
    uint32_t index;
    bool has_begun; /* its turn, and the limit for the others is set */
};

/* A record that this endpoint has claimed or taken. */
struct sr_record {
    uint64_t position;
    uint64_t word;
    uint64_t length;
    unsigned char *payload;
    bool redelivered;
};

/* --- geometry.c --- */
enum sr_result sr_geometry_plan(struct sr_geometry *plan, uint32_t kind, uint64_t capacity, uint64_t slots);
enum sr_result sr_geometry_read(struct sr_geometry *geometry, const struct sr_header *header, uint64_t mapped);
void sr_endpoint_bind(struct sr_endpoint *endpoint, void *base, const struct sr_geometry *geometry);

/* --- positions and words --- */
static inline uint64_t sr_index(const struct sr_geometry *g, uint64_t position) {
    return (position >> g->sequence_bits) & g->index_mask;
}
static inline uint64_t sr_lap(const struct sr_geometry *g, uint64_t position) {
    return position >> (g->sequence_bits + g->index_bits);
}
static inline uint64_t sr_first_position(const struct sr_geometry *g) {
    return UINT64_C(1) << (g->sequence_bits + g->index_bits);
}
static inline uint64_t sr_granules_for(uint64_t length) {
    return length ? (length + SR_GRANULE - 1) >> SR_GRANULE_SHIFT : 1;
}

/* The position that follows a record of so many granules. */
static inline uint64_t sr_after(const struct sr_geometry *g, uint64_t position, uint64_t granules, bool is_message) {
    uint64_t index = sr_index(g, position) + granules;
    uint64_t lap = sr_lap(g, position);
    if (index >= g->granules) {
        index = 0;
        lap += 1;
    }
    uint64_t sequence = (position + (is_message ? 1 : 0)) & g->sequence_mask;
    return (((lap << g->index_bits) | index) << g->sequence_bits) | sequence;
}

/* Granules from one position to a later one; negative when "to" lies before "from". */
static inline int64_t sr_distance(const struct sr_geometry *g, uint64_t from, uint64_t to) {
    unsigned lap_bits = 64 - g->sequence_bits - g->index_bits;
    int64_t laps = (int64_t)((sr_lap(g, to) - sr_lap(g, from)) << (64 - lap_bits)) >> (64 - lap_bits);
    /* Unsigned, because hostile positions may lie so far apart that it wraps: then no caller believes them. */
    return (int64_t)((uint64_t)laps * g->granules + sr_index(g, to) - sr_index(g, from));
}
static inline uint64_t sr_messages_between(const struct sr_geometry *g, uint64_t from, uint64_t to) {
    return (to - from) & g->sequence_mask;
}

static inline enum sr_state sr_state_of(uint64_t word) { return (enum sr_state)(word & ((1u << SR_STATE_BITS) - 1)); }
static inline uint64_t sr_owner_of(uint64_t word) {
    return (word >> SR_STATE_BITS) & ((UINT64_C(1) << SR_OWNER_BITS) - 1);
}
static inline uint64_t sr_length_of(const struct sr_geometry *g, uint64_t word) {
    return (word >> SR_LENGTH_AT) & g->length_mask;
}
static inline uint64_t sr_word(const struct sr_geometry *g, uint64_t position, uint64_t length, uint64_t owner,
                               enum sr_state state) {
    return (sr_lap(g, position) << g->lap_at) | (length << SR_LENGTH_AT) | (owner << SR_STATE_BITS) | (uint64_t)state;
}
static inline uint64_t sr_with_state(uint64_t word, enum sr_state state) {
    return (word & ~(uint64_t)((1u << SR_STATE_BITS) - 1)) | (uint64_t)state;
}
static inline uint64_t sr_with_owner(uint64_t word, uint64_t owner, enum sr_state state) {
    uint64_t mask = (UINT64_C(1) << SR_LENGTH_AT) - 1;
    return (word & ~mask) | (owner << SR_STATE_BITS) | (uint64_t)state;
}

/* How many laps the word lies behind the position: 0 it is of this lap, > 0 it is older, < 0 it is newer and the
 * position is out of date. Laps are compared modulo 2^lap_bits; sr_scrub keeps words young enough for that. */
static inline int64_t sr_age(const struct sr_geometry *g, uint64_t position, uint64_t word) {
    uint64_t difference = sr_lap(g, position) - (word >> g->lap_at);
    return (int64_t)(difference << (64 - g->lap_bits)) >> (64 - g->lap_bits);
}

/* Granules that the record of this word spans, or 0 when no writer of ours would have written it there. */
static inline uint64_t sr_span(const struct sr_geometry *g, uint64_t position, uint64_t word) {
    uint64_t length = sr_length_of(g, word);
    uint64_t granules = sr_granules_for(length);
    bool fits = granules <= g->granules - sr_index(g, position);
    bool allowed = length <= g->max_message || sr_state_of(word) == SR_PADDING;
    return fits && allowed ? granules : 0;
}

static inline unsigned char *sr_payload_at(const struct sr_endpoint *self, uint64_t position) {
    return self->arena + (sr_index(&self->geometry, position) << SR_GRANULE_SHIFT);
}

/* Words inside a record are not written when it is claimed, so the one at a given index can be very many laps old. So that
 * its lap, which is kept modulo 2^lap_bits, is never taken for a present one, every 2^(lap_bits-2) laps each claimer
 * brings the inner words of its record-to-be up to the lap before. It does so before it claims, for else its death could
 * leave them out; and by compare-and-swap, for it may be late, and only a word that nobody has used since may change. */
static inline void sr_scrub(const struct sr_endpoint *self, uint64_t position, uint64_t granules) {
    const struct sr_geometry *g = &self->geometry;
    if (SR_LIKELY(sr_lap(g, position) & ((UINT64_C(1) << (g->lap_bits - 2)) - 1)))
        return;
    uint64_t stamp = sr_word(g, position, 0, 0, SR_FREE) - (UINT64_C(1) << g->lap_at);
    for (uint64_t i = 1; i < granules; i++) {
        sr_atomic_u64 *at = &self->words[sr_index(g, position) + i];
        uint64_t old = SR_LOAD(at, relaxed);
        if (sr_age(g, position, old) >= 2)
            SR_CAS(at, &old, stamp, release); /* whoever sees it sees the position that led us here */
    }
}

/* --- try-operations, one set a kind --- */
enum sr_result sr_spsc_try_claim(struct sr_endpoint *self, uint64_t length, struct sr_record *record);
enum sr_result sr_spsc_try_room(struct sr_endpoint *self, uint64_t length);
void sr_spsc_commit(struct sr_endpoint *self, struct sr_record *record);                   /* not yet visible: */
void sr_spsc_shorten(struct sr_endpoint *self, struct sr_record *record, uint64_t length); /* before that */
void sr_spsc_publish(struct sr_endpoint *self); /* ... now everything committed is */
void sr_spsc_abort(struct sr_endpoint *self, struct sr_record *record);
enum sr_result sr_spsc_try_take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record);
/* The one behind a record that was taken and not acknowledged yet; they are acknowledged in order. */
enum sr_result sr_spsc_try_take_next(struct sr_endpoint *self, const struct sr_record *before, uint64_t limit,
                                     struct sr_record *record);
void sr_spsc_acknowledge(struct sr_endpoint *self, struct sr_record *record); /* room not yet given back: */
void sr_spsc_give_back_room(struct sr_endpoint *self);                        /* ... now it is */
void sr_spsc_hand_back(struct sr_endpoint *self, struct sr_record *record);
/* Leaves word in the ring that somebody sees the message before it is acknowledged: should we die, it comes again. */
void sr_spsc_mark_taken(struct sr_endpoint *self, struct sr_record *record);
/* Takes the shared positions over with the role. */
enum sr_result sr_spsc_adopt(struct sr_endpoint *self, uint32_t role);
/* For a consumer that found nothing after a shutdown: is the producer between its claim and its publication? */
bool sr_spsc_claim_is_open(struct sr_endpoint *self);

/* `turn`: the word of the claimer's place in line, or 0. */
enum sr_result sr_mpmc_try_claim(struct sr_endpoint *self, uint64_t length, uint64_t turn, struct sr_record *record);
/* Would a claim of this length find room? */
enum sr_result sr_mpmc_try_room(struct sr_endpoint *self, uint64_t length);
enum sr_result sr_mpmc_commit(struct sr_endpoint *self, struct sr_record *record);
/* Of what was claimed, only so many bytes; the rest is padding. */
enum sr_result sr_mpmc_commit_part(struct sr_endpoint *self, struct sr_record *record, uint64_t length);
enum sr_result sr_mpmc_abort(struct sr_endpoint *self, struct sr_record *record);
enum sr_result sr_mpmc_try_take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record);
/* The record at this position, if it was handed back; else SR_EMPTY. */
enum sr_result sr_mpmc_try_take_again(struct sr_endpoint *self, uint64_t position, struct sr_record *record);
enum sr_result sr_mpmc_acknowledge(struct sr_endpoint *self, struct sr_record *record);
enum sr_result sr_mpmc_hand_back(struct sr_endpoint *self, struct sr_record *record);
/* Whether a take might find something; true when in doubt. */
bool sr_mpmc_maybe_ready(struct sr_endpoint *self);
/* Advances reclaim_position as far as it goes, so that walks over the records are short. */
enum sr_result sr_mpmc_reclaim(struct sr_endpoint *self);
/* Messages that are claimed, waiting, taken, or done with behind one of those; where slots bound the ring. */
enum sr_result sr_mpmc_in_flight(struct sr_endpoint *self, uint64_t *count);
/* Every record of a dead owner becomes ABORTED or RETURNED; answers how many of the latter in *returned. */
enum sr_result sr_mpmc_repair(struct sr_endpoint *self, uint64_t dead_owner, uint64_t *returned);

enum sr_result sr_semaphore_try_claim(struct sr_endpoint *self, uint64_t length, uint64_t turn,
                                      struct sr_record *record);
enum sr_result sr_semaphore_try_room(struct sr_endpoint *self, uint64_t length);
enum sr_result sr_semaphore_commit(struct sr_endpoint *self, struct sr_record *record);
enum sr_result sr_semaphore_commit_part(struct sr_endpoint *self, struct sr_record *record, uint64_t length);
enum sr_result sr_semaphore_abort(struct sr_endpoint *self, struct sr_record *record);
enum sr_result sr_semaphore_try_take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record);
enum sr_result sr_semaphore_try_take_again(struct sr_endpoint *self, uint64_t position, struct sr_record *record);
enum sr_result sr_semaphore_acknowledge(struct sr_endpoint *self, struct sr_record *record);
enum sr_result sr_semaphore_hand_back(struct sr_endpoint *self, struct sr_record *record);
void sr_semaphore_repair(struct sr_endpoint *self, uint64_t dead_owner);
/* Raises counts that a death made too small. Never too high by more than what moves meanwhile. */
void sr_semaphore_top_up(struct sr_endpoint *self);
/* What the count of empty slots begins with: a semaphore holds at most 2^31 - 1. */
static inline uint64_t sr_semaphore_slots(const struct sr_geometry *g) {
    uint64_t slots = g->slots ? g->slots : g->granules;
    return slots < INT32_MAX ? slots : INT32_MAX;
}

/* topic.c: claims are mpmc's, and so are their commits and aborts; takes go by the endpoint's own cursor. */
enum sr_result sr_topic_try_claim(struct sr_endpoint *self, uint64_t length, uint64_t turn, struct sr_record *record);
/* For mpmc's claim: SR_OK when so many granules fit at this position, which may take away the oldest messages. */
enum sr_result sr_topic_make_room(struct sr_endpoint *self, uint64_t position, uint64_t granules, uint64_t turn);
/* The message at the cursor, to be copied and then acknowledged; nothing changes before that. */
enum sr_result sr_topic_try_take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record);
/* The one behind a message that was taken and not passed yet. */
enum sr_result sr_topic_try_take_next(struct sr_endpoint *self, const struct sr_record *before, uint64_t limit,
                                      struct sr_record *record);
/* Both of these. SR_OVERWRITTEN: take again. */
enum sr_result sr_topic_acknowledge(struct sr_endpoint *self, const struct sr_record *record);
/* After the copy: it is of this message and no other. */
bool sr_topic_is_whole(struct sr_endpoint *self, const struct sr_record *record);
/* Moves the cursor on. */
void sr_topic_pass(struct sr_endpoint *self, const struct sr_record *record);
/* Whether anything is claimed at the cursor; true when in doubt. */
bool sr_topic_maybe_ready(struct sr_endpoint *self);
/* Sequence numbers count published messages from 0. */
struct sr_topic_range {
    uint64_t oldest; /* that is still there */
    uint64_t next;   /* that will be published: the newest and one */
};
enum sr_result sr_topic_range_read(struct sr_endpoint *self, struct sr_topic_range *range);
enum sr_start { SR_START_OLDEST, SR_START_LATEST, SR_START_AT };
/* Puts the cursor there. SR_EMPTY: there is no message `sequence`; *range says which there are. */
enum sr_result sr_topic_subscribe(struct sr_endpoint *self, enum sr_start start, uint64_t sequence,
                                  struct sr_topic_range *range);
/* The same cursor for another entry, in a forked child; what was taken away meanwhile is lost. */
enum sr_result sr_topic_subscribe_again(struct sr_endpoint *self);
/* Nobody waits any more for the subscriber of this entry, if there was one. */
void sr_topic_unsubscribe(struct sr_endpoint *self, uint32_t slot);
/* Messages newer than the newest that any subscriber ever got. */
uint64_t sr_topic_undelivered(struct sr_endpoint *self, const struct sr_topic_range *range);

/* latest.c: one writer at a time. */
enum sr_result sr_latest_try_claim(struct sr_endpoint *self, uint64_t length, struct sr_record *record);
void sr_latest_shorten(struct sr_endpoint *self, struct sr_record *record, uint64_t length); /* before its commit */
void sr_latest_commit(struct sr_endpoint *self, struct sr_record *record);
/* The newest value, if its version is above `known`, else SR_EMPTY; to be copied and then acknowledged. Its version is
 * record->position. */
enum sr_result sr_latest_try_take(struct sr_endpoint *self, uint64_t known, struct sr_record *record);
/* SR_OVERWRITTEN: what was copied may be of two values; take again. */
enum sr_result sr_latest_acknowledge(struct sr_endpoint *self, const struct sr_record *record);

/* line.c: who waits for room in an mpmc ring or a topic, in the order of their coming. */
void sr_line_join(struct sr_endpoint *self, struct sr_place *place);
/* Before each attempt of one who stands in line. `room_begins`: where the room that is free now has its beginning. */
void sr_line_look(struct sr_endpoint *self, struct sr_place *place, uint64_t room_begins);
/* True when it had the turn: another has it now, and should be told that room may be its own. */
bool sr_line_leave(struct sr_endpoint *self, struct sr_place *place);
/* Takes the turn, and the place, from one who does not use it. */
bool sr_line_evict(struct sr_endpoint *self, uint64_t turn);
void sr_line_repair(struct sr_endpoint *self, uint64_t dead_owner);
/* Where room begins for a claimer that has this turn: where it does, or where it did as another's turn began. */
static inline uint64_t sr_line_limited(const struct sr_endpoint *self, uint64_t room_begins, uint64_t turn) {
    uint64_t holder = SR_LOAD(&self->header->turn, relaxed);
    if (SR_LIKELY(!holder || holder == turn))
        return room_begins;
    uint64_t limit = SR_LOAD(&self->header->turn_limit, relaxed);
    int64_t held_back = sr_distance(&self->geometry, limit, room_begins);
    return held_back > 0 && (uint64_t)held_back <= self->geometry.granules ? limit : room_begins;
}

/* What lies in the ring: committed or returned messages, and records that are claimed or taken. */
struct sr_contents {
    uint64_t ready;
    uint64_t claimed;
    uint64_t taken;
    uint64_t undelivered; /* what keeps a ring that nobody is attached to */
    uint64_t used_granules;
};
enum sr_result sr_contents_read(struct sr_endpoint *self, struct sr_contents *contents);
/* How many of the taken messages are this owner's. */
uint64_t sr_contents_taken_by(struct sr_endpoint *self, uint64_t owner);

#endif
