/* blocking.h - a ring as its users see it, whatever its kind: the try-operations under one name each, and the one
 * blocking loop. Everything above this file knows no kinds.
 */
#ifndef SHMRING_BLOCKING_H
#define SHMRING_BLOCKING_H

#include "attach.h"
#include "ring/endpoint.h"
#include "wait/wait.h"

/* Lets the host language breathe. Both may be called on any thread that called sr_claim or sr_take. */
struct sr_hooks {
    void (*suspend)(void *context); /* before the first long spin: release the interpreter */
    void (*resume)(void *context);  /* before returning */
    /* While suspended: serve signals, and see to what takes the interpreter; true to give up. */
    bool (*interrupted)(void *context);
};

struct sr_wait {
    int64_t deadline_ns; /* on sr_os_monotonic_ns; 0: never wait; INT64_MAX: for ever */
    int64_t spin_ns;     /* SR_SPIN_ADAPTIVE, or exactly so long before parking */
    bool outlive_peers;  /* do not give up when every counterpart has died */
    const struct sr_hooks *hooks;
    void *context;
};

enum { SR_SPIN_ADAPTIVE = -1 };

/* What a claimer remembers from one attempt to the next, so that it is not passed over for ever. All zeros at first;
 * whoever gives up owes sr_give_up. */
struct sr_standing {
    struct sr_place place;
    uint64_t seen;   /* write_position at the last attempt that failed */
    int64_t since;   /* when the first one did */
    int passed_over; /* how often others were served since */
};

/* Block until there is room, or a message, or the reason why there will be none. */
enum sr_result sr_claim(struct sr_endpoint *self, uint64_t length, const struct sr_wait *wait,
                        struct sr_record *record);
/* The same in several parts; the caller owes sr_give_up in the end. */
enum sr_result sr_claim_in_line(struct sr_endpoint *self, uint64_t length, const struct sr_wait *wait,
                                struct sr_standing *standing, struct sr_record *record);
enum sr_result sr_take(struct sr_endpoint *self, uint64_t limit, const struct sr_wait *wait, struct sr_record *record);
/* Until a claim of this length would find room; another may be faster then. */
enum sr_result sr_wait_for_room(struct sr_endpoint *self, uint64_t length, const struct sr_wait *wait);

/* The parts of that loop for a waiter which sleeps elsewhere: see watch.h. */
/* One attempt of several to claim. */
enum sr_result sr_try_claim_again(struct sr_endpoint *self, uint64_t length, struct sr_standing *standing,
                                  struct sr_record *record);
void sr_give_up(struct sr_endpoint *self, struct sr_standing *standing);
/* Mends what the dead left, and answers SR_OK, or why there is nothing to wait for: SR_CORRUPT, SR_SYSTEM_ERROR;
 * SR_PEER_DIED once a last attempt finds nothing. To be asked every 50 ms. */
enum sr_result sr_look_up(struct sr_endpoint *self, bool is_claim, bool outlive_peers);
/* Whoever was woken, or may have been, owes this to the others who sleep, whether or not it took something. */
void sr_pass_on(struct sr_endpoint *self, bool is_claim, bool took);

/* Raises the shutdown state and wakes everybody. */
void sr_shut_down(struct sr_endpoint *self, enum sr_shutdown state);
/* Makes this endpoint's waiters, in whatever thread, return SR_CLOSED. */
void sr_wake_for_close(struct sr_endpoint *self);

/* For a consumer that found nothing: SR_SHUT_DOWN when nothing can come any more, else SR_EMPTY. */
enum sr_result sr_after_empty(struct sr_endpoint *self);

/* `turn`: the word of a place in the line for room, or 0. */
static inline enum sr_result sr_try_claim_in_turn(struct sr_endpoint *self, uint64_t length, uint64_t turn,
                                                  struct sr_record *record) {
    if (SR_UNLIKELY(length > self->geometry.max_message))
        return SR_TOO_LONG;
    enum sr_result result;
    if (self->geometry.kind == SR_KIND_SPSC)
        result = sr_spsc_try_claim(self, length, record);
    else if (self->geometry.kind == SR_KIND_MPMC)
        result = sr_mpmc_try_claim(self, length, turn, record);
    else if (self->geometry.kind == SR_KIND_TOPIC)
        result = sr_topic_try_claim(self, length, turn, record);
    else if (self->geometry.kind == SR_KIND_LATEST)
        result = sr_latest_try_claim(self, length, record);
    else
        result = sr_semaphore_try_claim(self, length, turn, record);
    if (SR_UNLIKELY(result == SR_SHUT_DOWN))
        sr_event_notify(&self->header->items, SR_WAKE_ALL); /* of a claim given up, for which somebody may wait */
    return result;
}
static inline enum sr_result sr_try_claim(struct sr_endpoint *self, uint64_t length, struct sr_record *record) {
    return sr_try_claim_in_turn(self, length, 0, record);
}

/* Would a claim of this length find room at this moment? */
static inline enum sr_result sr_try_room(struct sr_endpoint *self, uint64_t length) {
    if (length > self->geometry.max_message)
        return SR_TOO_LONG;
    if (self->geometry.kind == SR_KIND_SPSC)
        return sr_spsc_try_room(self, length);
    if (self->geometry.kind == SR_KIND_SEMAPHORE)
        return sr_semaphore_try_room(self, length);
    if (self->geometry.kind != SR_KIND_LATEST)
        return sr_mpmc_try_room(self, length);
    return SR_LOAD(&self->header->shutdown, relaxed) ? SR_SHUT_DOWN : SR_OK;
}

/* A topic's cursor may move over padding and aborted claims, which is room for somebody, and find no message behind. */
static inline enum sr_result sr_try_take_of_topic(struct sr_endpoint *self, uint64_t limit, struct sr_record *record) {
    uint64_t before = self->read_position;
    enum sr_result result = sr_topic_try_take(self, limit, record);
    if (SR_UNLIKELY(result == SR_EMPTY && self->read_position != before))
        sr_event_notify(&self->header->room, SR_WAKE_ALL);
    return result;
}

/* `limit`: the longest message that the taker has room for; latest: the version that it knows. */
static inline enum sr_result sr_try_take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record) {
    uint32_t shutdown = SR_LOAD(&self->header->shutdown, acquire); /* SYNC: shut-down (acquire) */
    if (SR_UNLIKELY(shutdown == SR_STOPPED))
        return SR_SHUT_DOWN;
    enum sr_result result;
    if (self->geometry.kind == SR_KIND_SPSC)
        result = sr_spsc_try_take(self, limit, record);
    else if (self->geometry.kind == SR_KIND_MPMC)
        result = sr_mpmc_try_take(self, limit, record);
    else if (self->geometry.kind == SR_KIND_TOPIC)
        result = sr_try_take_of_topic(self, limit, record);
    else if (self->geometry.kind == SR_KIND_LATEST)
        result = sr_latest_try_take(self, limit, record);
    else
        result = sr_semaphore_try_take(self, limit, record);
    if (SR_UNLIKELY(result == SR_EMPTY && shutdown))
        return sr_after_empty(self);
    return result;
}

/* A further record, where those before it are taken and not settled yet: they are settled, or handed back, in order. */
static inline enum sr_result sr_try_take_next(struct sr_endpoint *self, const struct sr_record *before,
                                              struct sr_record *record) {
    if (self->geometry.kind == SR_KIND_SPSC)
        return sr_spsc_try_take_next(self, before, UINT64_MAX, record);
    if (self->geometry.kind == SR_KIND_TOPIC)
        return sr_topic_try_take_next(self, before, UINT64_MAX, record);
    return sr_try_take(self, UINT64_MAX, record);
}

/* The record at this position, which this endpoint took and handed back; SR_EMPTY when somebody else has it by now. */
static inline enum sr_result sr_try_take_again(struct sr_endpoint *self, uint64_t position, struct sr_record *record) {
    if (self->geometry.kind == SR_KIND_MPMC)
        return sr_mpmc_try_take_again(self, position, record);
    if (self->geometry.kind == SR_KIND_SEMAPHORE)
        return sr_semaphore_try_take_again(self, position, record);
    enum sr_result result = self->geometry.kind == SR_KIND_TOPIC ? sr_topic_try_take(self, UINT64_MAX, record)
                                                                 : sr_spsc_try_take(self, UINT64_MAX, record);
    return result == SR_OK && record->position != position ? SR_EMPTY : result; /* not acknowledged: it stays */
}

/* Pages were taken from under us: what we wrote may be in memory of our own, and what we read no message. What is ours is
 * then left to repair, as after a kill: nothing is committed, acknowledged or given back. The word is set by the very thread
 * that touched the missing page, before it goes on. */
static inline bool sr_lost_pages(const struct sr_endpoint *self) {
    return SR_UNLIKELY(SR_GLANCE(&self->root->damaged) != 0);
}

/* Commits without telling anyone yet; sr_announce tells. Between the two an spsc record is not visible. */
static inline enum sr_result sr_commit(struct sr_endpoint *self, struct sr_record *record) {
    if (sr_lost_pages(self))
        return SR_CORRUPT;
    if (self->geometry.kind == SR_KIND_SPSC) {
        sr_spsc_commit(self, record);
        return SR_OK;
    }
    if (self->geometry.kind == SR_KIND_MPMC || self->geometry.kind == SR_KIND_TOPIC)
        return sr_mpmc_commit(self, record);
    if (self->geometry.kind == SR_KIND_LATEST) {
        sr_latest_commit(self, record);
        return SR_OK;
    }
    return sr_semaphore_commit(self, record);
}
/* The same for the first `length` bytes of what was claimed: they are the message, and the rest is room when it
 * is. */
static inline enum sr_result sr_commit_part(struct sr_endpoint *self, struct sr_record *record, uint64_t length) {
    uint32_t kind = self->geometry.kind;
    if (length == record->length || sr_lost_pages(self))
        return sr_commit(self, record);
    if (kind == SR_KIND_MPMC || kind == SR_KIND_TOPIC)
        return sr_mpmc_commit_part(self, record, length);
    if (kind == SR_KIND_SEMAPHORE)
        return sr_semaphore_commit_part(self, record, length);
    (kind == SR_KIND_SPSC ? sr_spsc_shorten : sr_latest_shorten)(self, record, length);
    return sr_commit(self, record);
}
static inline void sr_announce(struct sr_endpoint *self, int messages) {
    if (self->geometry.kind == SR_KIND_SPSC)
        sr_spsc_publish(self);
    if (self->geometry.kind >= SR_KIND_TOPIC)
        messages = SR_WAKE_ALL; /* each of them gets it */
    sr_event_notify(&self->header->items, messages);
    if (self->geometry.kind == SR_KIND_TOPIC)
        sr_event_notify(&self->header->room, SR_WAKE_ALL); /* publishers may have waited for this very claim */
}

static inline enum sr_result sr_abort(struct sr_endpoint *self, struct sr_record *record) {
    if (sr_lost_pages(self))
        return SR_CORRUPT;
    enum sr_result result = SR_OK;
    if (self->geometry.kind == SR_KIND_SPSC)
        sr_spsc_abort(self, record);
    else if (self->geometry.kind == SR_KIND_LATEST)
        return SR_OK; /* nobody has seen it */
    else if (self->geometry.kind == SR_KIND_MPMC || self->geometry.kind == SR_KIND_TOPIC)
        result = sr_mpmc_abort(self, record);
    else
        result = sr_semaphore_abort(self, record);
    sr_event_notify(&self->header->items, SR_WAKE_ALL); /* messages behind it can be taken now, */
    sr_event_notify(&self->header->room, SR_WAKE_ALL);  /* and it is room */
    return result;
}

/* After a copy, or a look, at what was taken: was it that message throughout? Always, but where a topic overwrites, and
 * for a latest value. */
static inline bool sr_still_whole(struct sr_endpoint *self, const struct sr_record *record) {
    if (self->geometry.kind == SR_KIND_LATEST)
        return sr_latest_acknowledge(self, record) == SR_OK;
    return self->geometry.kind != SR_KIND_TOPIC || sr_topic_is_whole(self, record);
}

/* Acknowledges; sr_announce_room tells producers. */
static inline enum sr_result sr_acknowledge(struct sr_endpoint *self, struct sr_record *record) {
    if (sr_lost_pages(self))
        return SR_CORRUPT;
    if (self->geometry.kind == SR_KIND_SPSC) {
        sr_spsc_acknowledge(self, record);
        return SR_OK;
    }
    if (self->geometry.kind == SR_KIND_MPMC)
        return sr_mpmc_acknowledge(self, record);
    if (self->geometry.kind == SR_KIND_TOPIC)
        return sr_topic_acknowledge(self, record);
    if (self->geometry.kind == SR_KIND_LATEST)
        return sr_latest_acknowledge(self, record);
    return sr_semaphore_acknowledge(self, record);
}
/* Acknowledges what was found whole. */
static inline enum sr_result sr_settle(struct sr_endpoint *self, struct sr_record *record) {
    if (self->geometry.kind < SR_KIND_TOPIC)
        return sr_acknowledge(self, record);
    if (self->geometry.kind == SR_KIND_TOPIC)
        sr_topic_pass(self, record);
    return SR_OK;
}
static inline void sr_announce_room(struct sr_endpoint *self) {
    if (self->geometry.kind == SR_KIND_SPSC)
        sr_spsc_give_back_room(self);
    /* All of them: the one that the kernel picks may need more room than there is. */
    sr_event_notify(&self->header->room, SR_WAKE_ALL);
}

/* The taken message will be seen before it is acknowledged. */
static inline void sr_expose(struct sr_endpoint *self, struct sr_record *record) {
    if (self->geometry.kind == SR_KIND_SPSC)
        sr_spsc_mark_taken(self, record); /* the other kinds' words say so already */
}

static inline enum sr_result sr_hand_back(struct sr_endpoint *self, struct sr_record *record) {
    if (sr_lost_pages(self))
        return SR_CORRUPT;
    enum sr_result result = SR_OK;
    if (self->geometry.kind == SR_KIND_SPSC)
        sr_spsc_hand_back(self, record);
    else if (self->geometry.kind >= SR_KIND_TOPIC)
        return SR_OK; /* the cursor has not moved, and nobody else has a part in it */
    else if (self->geometry.kind == SR_KIND_MPMC)
        result = sr_mpmc_hand_back(self, record);
    else
        result = sr_semaphore_hand_back(self, record);
    sr_event_notify(&self->header->items, 1);
    return result;
}

#endif
