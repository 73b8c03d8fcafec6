/* queue.c - putting into a queue and getting from it: in which link, and when to go on to the next, or to make one.
 *
 * A put goes to the newest link. When that is full it waits a moment, for a consumer may be about to make room; then it
 * links a further ring. A get takes from the oldest link that has something; while it waits, it waits at the newest that it
 * has come to, and is told when there is a newer one.
 */
#include "queue/queue.h"

static const int64_t LOOK_UP_NS = 50000000;
static const int64_t CROWDED_NS = 5000000; /* between two looks for memory that others may have given back */
static const int64_t PATIENCE_NS = 1000000;
static const int64_t LOCK_PATIENCE_NS = 2000000; /* of a call that may not wait: the lock is held for less */
static const int64_t ROOM_NAP_NS = 200000;

static int64_t earlier(int64_t one, int64_t other) { return one < other ? one : other; }

/* A part of a wait; between two of them there is a look round. In the past: one attempt. */
static struct sr_wait part_of(const struct sr_wait *wait, int64_t deadline) {
    struct sr_wait part = *wait;
    int64_t end = earlier(wait->deadline_ns, deadline);
    part.deadline_ns = end > sr_os_monotonic_ns() ? end : 0;
    return part;
}

static bool is_over(const struct sr_wait *wait) {
    return !wait->deadline_ns || sr_os_monotonic_ns() >= wait->deadline_ns;
}

/* Several links, and a bound on the messages in all of them: then they are counted under the lock. */
static bool is_counted(struct sr_queue *self) {
    const struct sr_control *control = self->control;
    return self->counts &&
           (control->maxsize > SR_SLOTS_MAX ||
            SR_LOAD(&control->first, relaxed) != SR_LOAD(&control->last, acquire)); /* SYNC: link-published (acquire) */
}

static enum sr_result add_in_flight(struct sr_queue *self, struct sr_link *link, void *context) {
    (void)self;
    uint64_t *sum = context, count = 0;
    enum sr_result result = sr_mpmc_in_flight(&link->endpoint, &count);
    *sum += count;
    return result;
}

/* maxsize messages are in it; a walk over the links, not over the messages. */
static bool is_count_reached(struct sr_queue *self) {
    uint64_t in_flight = 0;
    return self->counts && sr_queue_each_link(self, add_in_flight, &in_flight) == SR_OK &&
           in_flight >= self->control->maxsize;
}

/* --- storage: an arena is given it as the claims reach further --- */

/* The granules of the arena that a claim at the write position will reach to, most likely; perhaps beyond the wrap. */
static uint64_t reach(const struct sr_link *link, uint64_t length) {
    const struct sr_geometry *g = &link->endpoint.geometry;
    uint64_t index = sr_index(g, SR_LOAD(&link->endpoint.header->write_position, relaxed));
    uint64_t granules = sr_granules_for(length);
    return index + granules <= g->granules ? index + granules : granules;
}

static uint64_t reached(const struct sr_link *link, const struct sr_record *record) {
    return sr_index(&link->endpoint.geometry, record->position) + sr_granules_for(record->length);
}

/* Before a claim: with the interpreter, and nothing in hand. */
static enum sr_result store_ahead(struct sr_queue *self, struct sr_link *link, uint64_t length,
                                  const struct sr_wait *wait) {
    uint64_t needed = reach(link, length);
    if (SR_LIKELY(needed <= link->stored))
        return SR_OK;
    enum sr_result result = sr_queue_afford(self, (needed - link->stored) << SR_GRANULE_SHIFT);
    return result == SR_OK ? sr_queue_store(self, link, needed, wait) : result;
}

/* After it, for others may have claimed in between. What gets no storage is given up. */
static enum sr_result store_claimed(struct sr_queue *self, struct sr_placed *placed, const struct sr_wait *wait) {
    uint64_t end = reached(placed->link, &placed->record);
    if (SR_LIKELY(end <= placed->link->stored))
        return SR_OK;
    enum sr_result result = sr_queue_store(self, placed->link, end, wait);
    if (result != SR_OK)
        (void)sr_abort(&placed->link->endpoint, &placed->record);
    return result;
}

/* --- putting --- */

enum sr_result sr_queue_try_claim(struct sr_queue *self, uint64_t length, struct sr_placed *placed) {
    struct sr_link *link = self->put;
    if (SR_UNLIKELY(!link || is_counted(self)))
        return SR_CONTENDED;
    if (SR_UNLIKELY(sr_queue_try_enter(self, link) != SR_OK))
        return SR_CONTENDED;
    enum sr_result result = SR_STALE;
    if (SR_LIKELY(link->stored >= link->endpoint.geometry.granules || reach(link, length) <= link->stored))
        result = sr_try_claim(&link->endpoint, length, &placed->record);
    if (SR_UNLIKELY(result == SR_OK && reached(link, &placed->record) > link->stored)) {
        (void)sr_abort(&link->endpoint, &placed->record);
        result = SR_STALE;
    }
    placed->link = link;
    if (SR_LIKELY(result == SR_OK))
        return SR_OK;
    sr_queue_leave(self, link);
    return SR_CONTENDED;
}

static enum sr_result enter_newest(struct sr_queue *self, struct sr_link **link) {
    for (;;) {
        uint64_t last = SR_LOAD(&self->control->last, acquire);
        enum sr_result result = sr_queue_open_link(self, last, link);
        if (result == SR_STALE && SR_LOAD(&self->control->last, acquire) == last)
            return SR_CORRUPT; /* the newest is never finished */
        if (result == SR_STALE)
            continue; /* a further one is there already, and this one drained */
        if (result == SR_OK && self->put != *link) {
            self->put = *link;
            sr_queue_drop_links(self);
        }
        return result;
    }
}

static void leave_line(struct sr_queue *self, struct sr_queue_standing *standing) {
    struct sr_link *link;
    if (standing->link && sr_queue_open_link(self, standing->link - 1, &link) == SR_OK) {
        sr_give_up(&link->endpoint, &standing->in_line);
        sr_queue_leave(self, link);
    }
    standing->in_line = (struct sr_standing){0};
    standing->link = 0;
}

void sr_queue_give_up(struct sr_queue *self, struct sr_queue_standing *standing) {
    if (standing->in_line.since)
        leave_line(self, standing);
    uint64_t ticket = standing->ticket;
    if (ticket)
        SR_CAS(&self->control->wanter, &ticket, 0, relaxed);
    *standing = (struct sr_queue_standing){0};
}

/* Under the lock: nobody else puts meanwhile. */
static enum sr_result claim_counted(struct sr_queue *self, struct sr_link *link, uint64_t length,
                                    const struct sr_wait *wait, struct sr_record *record) {
    enum sr_result result = sr_queue_lock(self, wait, LOCK_PATIENCE_NS);
    if (result != SR_OK)
        return result == SR_CONTENDED ? SR_FULL : result;
    if (is_count_reached(self))
        result = SR_FULL;
    else
        result = sr_try_claim(&link->endpoint, length, record);
    sr_queue_unlock(self);
    return result;
}

/* A claim in this link, or a wait for one. SR_FULL: not in time. */
static enum sr_result claim_in(struct sr_queue *self, struct sr_link *link, uint64_t length, const struct sr_wait *wait,
                               struct sr_queue_standing *standing, struct sr_placed *placed) {
    if (length > link->endpoint.geometry.max_message)
        return SR_TOO_LONG;
    enum sr_result result = store_ahead(self, link, length, wait);
    if (result != SR_OK)
        return result;
    if (standing->link != link->index + 1) {
        leave_line(self, standing);
        standing->link = link->index + 1;
    }
    placed->link = link;
    if (is_counted(self))
        result = claim_counted(self, link, length, wait, &placed->record);
    else
        result = sr_claim_in_line(&link->endpoint, length, wait, &standing->in_line, &placed->record);
    if (result == SR_OK)
        result = store_claimed(self, placed, wait);
    return result == SR_TIMED_OUT ? SR_FULL : result;
}

/* Sleeps at an event of a link, for a moment at least: what is waited for adds up. */
static enum sr_result sleep_at(struct sr_link *link, struct sr_event *event, uint32_t ticket,
                               const struct sr_wait *wait, int64_t deadline) {
    int64_t left = earlier(wait->deadline_ns, deadline) - sr_os_monotonic_ns();
    if (SR_LOAD(&link->endpoint.closing, relaxed))
        return SR_CLOSED;
    if (left <= 0)
        return SR_OK;
    wait->hooks->suspend(wait->context);
    sr_os_sleep_ns(earlier(left, ROOM_NAP_NS));
    if (left > ROOM_NAP_NS)
        (void)sr_event_park(event, ticket, left - ROOM_NAP_NS);
    bool interrupted = wait->hooks->interrupted(wait->context);
    wait->hooks->resume(wait->context);
    return interrupted ? SR_INTERRUPTED : SR_OK;
}

/* For room among the messages that are counted, most of it at the oldest link; or for memory. */
static enum sr_result wait_for_others(struct sr_queue *self, const struct sr_wait *wait) {
    struct sr_link *link;
    enum sr_result result = sr_queue_open_link(self, SR_LOAD(&self->control->first, acquire), &link);
    if (result != SR_OK)
        return result == SR_STALE ? SR_OK : result;
    struct sr_event *room = &link->endpoint.header->room;
    uint32_t ticket = sr_event_announce(room);
    result = sleep_at(link, room, ticket, wait, sr_os_monotonic_ns() + CROWDED_NS);
    sr_queue_leave(self, link);
    return result;
}

static bool is_anything_in_flight(struct sr_queue *self) {
    struct sr_contents contents;
    return self->further.contents(&self->further, &contents) != SR_OK ||
           contents.ready + contents.claimed + contents.taken;
}

/* There is no memory for a further link within max_bytes. SR_OK: there may be some now. */
static enum sr_result make_memory(struct sr_queue *self, struct sr_link *link, uint64_t length,
                                  const struct sr_wait *wait, struct sr_queue_standing *standing) {
    if (sr_queue_tidy(self, wait, 0))
        return SR_OK;
    bool is_alone = SR_LOAD(&self->control->first, acquire) == link->index;
    bool is_large = link->endpoint.geometry.capacity > self->control->capacity;
    bool is_shut = SR_LOAD(&link->endpoint.header->shutdown, relaxed);
    if (!is_alone || !is_large || (!is_shut && length <= link->endpoint.geometry.max_message))
        return SR_FULL;
    /* The ring that is there takes too much: leave it for a small one, beyond max_bytes until it is drained. */
    struct sr_placed none = {0};
    return sr_queue_extend(self, link, 0, true, wait, 0, standing, &none);
}

/* A further link, where this one has no room. SR_OK: there is one, and perhaps placed->link, with the claim. SR_FULL or
 * SR_NO_SPACE: not now. */
static enum sr_result grow(struct sr_queue *self, struct sr_link *link, uint64_t length, const struct sr_wait *wait,
                           struct sr_queue_standing *standing, struct sr_placed *placed) {
    int64_t left = earlier(wait->deadline_ns - sr_os_monotonic_ns(), LOOK_UP_NS);
    int64_t patience = !wait->deadline_ns ? LOCK_PATIENCE_NS : left > 0 ? left : 0;
    enum sr_result result = sr_queue_extend(self, link, length, false, wait, patience, standing, placed);
    if (result == SR_OK && placed->link) {
        struct sr_link *single = placed->link;
        result = store_claimed(self, placed, wait);
        if (result != SR_OK) {
            sr_queue_leave(self, single);
            placed->link = NULL;
        }
    }
    if (result == SR_CONTENDED)
        return SR_FULL;
    if (result != SR_FULL && result != SR_NO_SPACE)
        return result;
    if (make_memory(self, link, length, wait, standing) == SR_OK)
        return SR_OK;
    return result;
}

static bool is_for_more(enum sr_result result) {
    return result == SR_FULL || result == SR_TOO_LONG || result == SR_SHUT_DOWN || result == SR_NO_SPACE;
}

/* One round in the newest link. SR_FULL: nothing came of it, and time has passed; SR_EMPTY: another one at once. */
static enum sr_result attempt(struct sr_queue *self, struct sr_link *link, uint64_t length, const struct sr_wait *wait,
                              struct sr_queue_standing *standing, struct sr_placed *placed) {
    int64_t now = sr_os_monotonic_ns();
    if (!standing->since)
        standing->since = now;
    int64_t patience = sr_peers_of(self->root, SR_ROLE_CONSUMER).alive ? PATIENCE_NS : 0; /* else nobody makes room */
    struct sr_wait part = part_of(wait, standing->since + patience);
    enum sr_result result = claim_in(self, link, length, &part, standing, placed);
    if (!is_for_more(result))
        return result;
    if (SR_LOAD(&self->control->shutdown, acquire))
        return SR_SHUT_DOWN;
    enum sr_result why = result;
    bool fits_here = why == SR_FULL;
    bool counted_out = fits_here && is_count_reached(self);
    placed->link = NULL;
    if (!counted_out && why != SR_NO_SPACE)
        result = grow(self, link, length, wait, standing, placed);
    if (result == SR_OK)
        return placed->link ? SR_OK : SR_EMPTY;
    if (result == SR_NO_SPACE && !is_anything_in_flight(self))
        return SR_NO_SPACE;
    if (!is_for_more(result) || is_over(wait))
        return result == SR_NO_SPACE || is_for_more(result) ? SR_FULL : result;
    if (!fits_here || is_counted(self)) {
        result = wait_for_others(self, wait);
        return result == SR_OK ? SR_FULL : result;
    }
    bool crowded = SR_LOAD(&self->control->first, acquire) != link->index;
    part = part_of(wait, sr_os_monotonic_ns() + (counted_out || !crowded ? LOOK_UP_NS : CROWDED_NS));
    result = claim_in(self, link, length, &part, standing, placed);
    return is_for_more(result) ? SR_FULL : result; /* it may have been shut meanwhile */
}

enum sr_result sr_queue_claim(struct sr_queue *self, uint64_t length, const struct sr_wait *wait,
                              struct sr_queue_standing *standing, struct sr_placed *placed) {
    if (length > self->control->capacity / 2 && sr_queue_single_bytes(length) > sr_queue_most_for_one(self))
        return SR_TOO_LONG;
    for (;;) {
        struct sr_link *link;
        enum sr_result result = enter_newest(self, &link);
        if (result != SR_OK)
            return result;
        result = attempt(self, link, length, wait, standing, placed);
        if (result != SR_OK || placed->link != link)
            sr_queue_leave(self, link);
        if (result == SR_EMPTY)
            continue;
        if (result != SR_FULL)
            return result;
        int mended = sr_reap_in_turn(self->root, LOOK_UP_NS);
        if (mended == 0 && is_over(wait))
            return SR_TIMED_OUT;
        result = mended < 0 ? SR_SYSTEM_ERROR : sr_look_up(self->root, true, wait->outlive_peers);
        if (result != SR_OK)
            return result;
    }
}

enum sr_result sr_queue_try_room(struct sr_queue *self, uint64_t length) {
    struct sr_link *link;
    if (SR_LOAD(&self->control->shutdown, acquire))
        return SR_SHUT_DOWN;
    enum sr_result result = enter_newest(self, &link);
    if (result != SR_OK)
        return result;
    if (is_count_reached(self))
        result = SR_FULL;
    else if ((result = sr_try_room(&link->endpoint, length)) != SR_OK && is_for_more(result))
        result = sr_queue_may_extend(self, link, length) ? SR_OK : SR_FULL;
    sr_queue_leave(self, link);
    return result;
}

enum sr_result sr_queue_wait_for_room(struct sr_queue *self, uint64_t length, const struct sr_wait *wait) {
    for (;;) {
        enum sr_result result = sr_queue_try_room(self, length);
        if (result != SR_FULL)
            return result;
        (void)sr_queue_tidy(self, wait, 0);
        int mended = sr_reap_in_turn(self->root, LOOK_UP_NS);
        if (mended == 0 && is_over(wait))
            return SR_TIMED_OUT;
        result = mended < 0 ? SR_SYSTEM_ERROR : sr_look_up(self->root, true, wait->outlive_peers);
        if (result == SR_OK)
            result = wait_for_others(self, wait);
        if (result != SR_OK)
            return result;
    }
}

/* --- getting --- */

enum sr_result sr_queue_try_take(struct sr_queue *self, struct sr_placed *placed) {
    struct sr_link *link = self->get;
    if (SR_UNLIKELY(!link))
        return SR_CONTENDED;
    sr_queue_enter(self, link);
    sr_light_fence(); /* SYNC: link-pinned (the pin before the look) */
    enum sr_result result = SR_STALE;
    if (SR_LIKELY(SR_LOAD(&self->control->first, acquire) == link->index)) /* and nothing can be in an older one */
        result = sr_try_take(&link->endpoint, UINT64_MAX, &placed->record);
    placed->link = link;
    if (SR_LIKELY(result == SR_OK))
        return SR_OK;
    sr_queue_leave(self, link);
    return SR_CONTENDED;
}

/* What was handed back, or its taker has died, in links that we have been through. SR_EMPTY. */
static enum sr_result take_older(struct sr_queue *self, struct sr_placed *placed) {
    uint64_t first = SR_LOAD(&self->control->first, acquire);
    if (SR_UNLIKELY(sr_queue_is_too_far(first, self->get_at)))
        return SR_CORRUPT;
    for (uint64_t index = first; index < self->get_at; index++) {
        struct sr_link *link;
        enum sr_result result = sr_queue_open_link(self, index, &link);
        if (result == SR_STALE)
            continue;
        if (result != SR_OK)
            return result;
        placed->link = link;
        if (sr_mpmc_maybe_ready(&link->endpoint) && sr_try_take(&link->endpoint, UINT64_MAX, &placed->record) == SR_OK)
            return SR_OK;
        sr_queue_leave(self, link);
    }
    return SR_EMPTY;
}

static enum sr_result enter_oldest(struct sr_queue *self, struct sr_link **link) {
    for (;;) {
        uint64_t first = SR_LOAD(&self->control->first, acquire);
        if (self->get_at < first)
            self->get_at = first;
        enum sr_result result = sr_queue_open_link(self, self->get_at, link);
        if (result == SR_STALE)
            continue;
        if (result == SR_OK && self->get != *link) {
            self->get = *link;
            sr_queue_drop_links(self);
        }
        return result;
    }
}

/* This link has no more, for ever. SR_OK: there is a further one. SR_EMPTY: not yet, and time has passed. */
static enum sr_result go_on_to_next(struct sr_queue *self, struct sr_link *link, const struct sr_wait *wait) {
    struct sr_control *control = self->control;
    struct sr_event *items = &link->endpoint.header->items;
    if (SR_LOAD(&control->shutdown, acquire) == SR_STOPPED)
        return SR_SHUT_DOWN;
    uint32_t ticket = sr_event_announce(items);
    if (SR_LOAD(&control->last, acquire) > link->index) { /* SYNC: link-published (acquire) */
        if (self->get_at == link->index)
            self->get_at = link->index + 1;
        return SR_OK;
    }
    if (SR_LOAD(&control->shutdown, acquire))
        return SR_SHUT_DOWN;
    /* Somebody is about to link one, or has died before he did: then the next put does. */
    enum sr_result result =
        is_over(wait) ? SR_OK : sleep_at(link, items, ticket, wait, sr_os_monotonic_ns() + LOOK_UP_NS);
    return result == SR_OK ? SR_EMPTY : result;
}

/* One round. SR_EMPTY: nothing there, and time has passed; SR_STALE: another one at once. */
static enum sr_result take_in(struct sr_queue *self, struct sr_link *link, const struct sr_wait *wait,
                              struct sr_placed *placed) {
    bool crowded = SR_LOAD(&self->control->first, acquire) != link->index;
    struct sr_wait part = *wait;
    if (crowded && wait->deadline_ns)
        part = part_of(wait, sr_os_monotonic_ns() + LOOK_UP_NS);
    placed->link = link;
    enum sr_result result = sr_take(&link->endpoint, UINT64_MAX, &part, &placed->record);
    if (result == SR_SHUT_DOWN) {
        result = go_on_to_next(self, link, wait);
        return result == SR_OK ? SR_STALE : result;
    }
    if (result == SR_TIMED_OUT)
        return SR_EMPTY;
    return result == SR_PEER_DIED && is_anything_in_flight(self) ? SR_EMPTY : result;
}

enum sr_result sr_queue_take(struct sr_queue *self, const struct sr_wait *wait, struct sr_placed *placed) {
    for (;;) {
        struct sr_link *link;
        enum sr_result result = take_older(self, placed);
        if (result != SR_EMPTY)
            return result;
        result = enter_oldest(self, &link);
        if (result != SR_OK)
            return result;
        result = take_in(self, link, wait, placed);
        if (result == SR_OK)
            return SR_OK;
        sr_queue_leave(self, link);
        if (result != SR_EMPTY && result != SR_STALE)
            return result;
        (void)sr_queue_tidy(self, wait, 0);
        if (result == SR_STALE)
            continue;
        int mended = sr_reap_in_turn(self->root, LOOK_UP_NS);
        if (mended < 0)
            return SR_SYSTEM_ERROR;
        if (mended == 0 && is_over(wait))
            return SR_TIMED_OUT;
    }
}

enum sr_result sr_queue_take_again(struct sr_queue *self, uint64_t identity, uint64_t position,
                                   struct sr_placed *placed) {
    uint64_t first = SR_LOAD(&self->control->first, acquire), last = SR_LOAD(&self->control->last, acquire);
    if (SR_UNLIKELY(sr_queue_is_too_far(first, last)))
        return SR_CORRUPT;
    for (uint64_t index = first; index <= last; index++) {
        struct sr_link *link;
        enum sr_result result = sr_queue_open_link(self, index, &link);
        if (result == SR_STALE)
            continue;
        if (result != SR_OK)
            return result;
        placed->link = link;
        if (link->endpoint.header->identity == identity &&
            (result = sr_try_take_again(&link->endpoint, position, &placed->record)) == SR_OK)
            return SR_OK;
        sr_queue_leave(self, link);
    }
    return SR_EMPTY;
}

void sr_queue_handed_back(struct sr_queue *self, const struct sr_link *link) {
    struct sr_link *newest = self->get;
    if (!newest || newest == link || sr_queue_try_enter(self, newest) != SR_OK)
        return;
    sr_event_notify(&newest->endpoint.header->items, SR_WAKE_ALL); /* who waits there looks at the older ones */
    sr_queue_leave(self, newest);
}

/* --- the end --- */

static enum sr_result stop_link(struct sr_queue *self, struct sr_link *link, void *context) {
    (void)self;
    sr_shut_down(&link->endpoint, *(const enum sr_shutdown *)context);
    return SR_OK;
}

enum sr_result sr_queue_shut_down(struct sr_queue *self, enum sr_shutdown state) {
    uint64_t now = SR_LOAD(&self->control->shutdown, relaxed);
    while (now < (uint64_t)state && !SR_CAS(&self->control->shutdown, &now, (uint64_t)state, release))
        ;
    /* One who links a further ring publishes it, and looks at shutdown second; we look at last second. So either he, and
     * whoever comes to that link, sees the shutdown, or we see the link. SYNC: shut-or-linked (release side) */
    sr_heavy_fence();
    enum sr_result result = sr_queue_each_link(self, stop_link, &state);
    sr_event_notify(&self->control->done, SR_WAKE_ALL);
    return result;
}

void sr_queue_wake_for_close(struct sr_queue *self) {
    for (struct sr_link *link = self->links; link; link = link->next)
        if (link->users)
            sr_wake_for_close(&link->endpoint);
    sr_wake_for_close(self->root);
    sr_event_notify(&self->control->done, SR_WAKE_ALL);
}

enum sr_result sr_queue_link_for(struct sr_queue *self, bool is_claim, struct sr_link **link) {
    return is_claim ? enter_newest(self, link) : enter_oldest(self, link);
}
