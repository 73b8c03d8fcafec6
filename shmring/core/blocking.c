/* blocking.c - the one blocking loop: deadlines, spinning, parking, signals, shutdown, close and dead peers, for every
 * kind of ring and for both sides.
 *
 * Order of events: try; spin a moment; let the interpreter go; spin as long as it has paid lately; announce, try once
 * more, park. While parked it looks up every 50 ms, serves signals, and asks the kernel whether its counterparts live.
 */
#include "blocking.h"

static const int64_t LOOK_UP_NS = 50000000;
static const int64_t SPIN_FIRST_NS = 20000;
static const int64_t SPIN_MOST_NS = 50000;
static const int64_t NAP_NS = 50000;
enum { NAPS = 4 };
/* Who was passed over so often, and for so long, stands in line: producers of small messages that take turns as it comes
 * are faster without. */
enum { PASSED_OVER_MOST = 4 };
static const int64_t PASSED_OVER_NS = 5000000;
static const int64_t CONTENDED_LONG_NS = 100000;
static const int64_t CONTENDED_NAP_NS = 1000000;
enum { SPINS_WHILE_HOLDING_THE_INTERPRETER = 64 }; /* one to two microseconds */

struct attempt {
    struct sr_endpoint *self;
    struct sr_record *record; /* NULL: only for room */
    uint64_t length;          /* of the claim, or the taker's limit */
    bool is_claim;
    struct sr_standing *standing; /* of the claim */
};

static bool has_a_line(const struct sr_endpoint *self) {
    uint32_t kind = self->geometry.kind;
    return kind == SR_KIND_MPMC || kind == SR_KIND_SEMAPHORE || (kind == SR_KIND_TOPIC && !self->geometry.overwrite);
}

/* Where the room that is free now begins. Relaxed: it says where others are held back, and lets nobody in. */
static uint64_t room_begins(const struct sr_endpoint *self) {
    if (self->geometry.kind == SR_KIND_TOPIC)
        return SR_LOAD(&self->free_position, relaxed);
    return SR_LOAD(&self->header->reclaim_position, relaxed);
}

/* Were others served while we were not? Then often and long enough to stand in line? */
static void note_refusal(struct sr_endpoint *self, struct sr_standing *standing) {
    uint64_t position = SR_LOAD(&self->header->write_position, relaxed);
    if (!standing->since)
        standing->since = sr_os_monotonic_ns();
    else
        standing->passed_over += position != standing->seen;
    standing->seen = position;
    if (!standing->place.word && standing->passed_over >= PASSED_OVER_MOST &&
        sr_os_monotonic_ns() - standing->since > PASSED_OVER_NS)
        sr_line_join(self, &standing->place);
}

enum sr_result sr_try_claim_again(struct sr_endpoint *self, uint64_t length, struct sr_standing *standing,
                                  struct sr_record *record) {
    if (SR_UNLIKELY(standing->place.word))
        sr_line_look(self, &standing->place, room_begins(self));
    enum sr_result result = sr_try_claim_in_turn(self, length, standing->place.word, record);
    if (result == SR_FULL && has_a_line(self))
        note_refusal(self, standing);
    return result;
}

void sr_give_up(struct sr_endpoint *self, struct sr_standing *standing) {
    if (standing->place.word && sr_line_leave(self, &standing->place))
        sr_event_notify(&self->header->room, SR_WAKE_ALL); /* the next one's turn, and what it leaves for all */
    *standing = (struct sr_standing){0};
}

/* Without a look whether it is passed over: that is a matter of milliseconds. */
static enum sr_result try_at_once(struct attempt *attempt) {
    if (!attempt->is_claim)
        return sr_try_take(attempt->self, attempt->length, attempt->record);
    if (!attempt->record)
        return sr_try_room(attempt->self, attempt->length);
    return sr_try_claim(attempt->self, attempt->length, attempt->record);
}

static enum sr_result try_again(struct attempt *attempt) {
    if (!attempt->is_claim || !attempt->record)
        return try_at_once(attempt);
    return sr_try_claim_again(attempt->self, attempt->length, attempt->standing, attempt->record);
}

static bool could_change(enum sr_result result) {
    return result == SR_FULL || result == SR_EMPTY || result == SR_CONTENDED;
}

/* The budget follows the waits: at once up to twice the one that spinning met, slowly down to it, by half when spinning
 * was in vain. But a short spin teaches nothing about a longer one, and parking itself makes the next wait long, since
 * the other side pays for the wake: so when nothing is left, begin afresh with the most. */
static void learn(struct sr_endpoint *self, bool is_claim, int64_t waited) {
    sr_atomic_u64 *budget = &self->spin_ns[is_claim];
    int64_t now = (int64_t)SR_LOAD(budget, relaxed); /* racing threads may lose an update: it is an estimate */
    int64_t next = now / 2;
    if (waited < SPIN_MOST_NS)
        next = 2 * waited > now ? 2 * waited : now - (now - 2 * waited) / 8;
    SR_STORE(budget, (uint64_t)(next && next < SPIN_MOST_NS ? next : SPIN_MOST_NS), relaxed);
}

static int64_t spin_budget(const struct sr_wait *wait, struct sr_endpoint *self, bool is_claim) {
    if (wait->spin_ns != SR_SPIN_ADAPTIVE)
        return wait->spin_ns;
    static sr_atomic_u32 processors; /* asked once; the same answer whoever writes it first */
    uint32_t known = SR_LOAD(&processors, relaxed);
    if (!known) {
        known = sr_os_processors();
        SR_STORE(&processors, known, relaxed);
    }
    if (known < 2)
        return 0; /* whoever we wait for needs this very CPU */
    int64_t learned = (int64_t)SR_LOAD(&self->spin_ns[is_claim], relaxed);
    return learned ? learned : SPIN_FIRST_NS;
}

static enum sr_result spin(struct attempt *attempt, int64_t until) {
    enum sr_result result;
    do {
        for (int i = 0; i < 32; i++) {
            sr_cpu_relax();
            result = try_at_once(attempt);
            if (!could_change(result))
                return result;
        }
        sr_os_yield(); /* with more processes than CPUs, whom we wait for may be waiting for ours */
    } while (sr_os_monotonic_ns() < until && !SR_LOAD(&attempt->self->closing, relaxed));
    return result;
}

/* Of a link, its queue looks after the dead. */
static int reap_in_turn(struct sr_endpoint *self) { return self->root == self ? sr_reap_in_turn(self, LOOK_UP_NS) : 0; }

/* Is half of the ring free, or could be? While another has the turn, nobody else reclaims that far. */
static bool is_half_free(struct sr_endpoint *self, uint64_t turn) {
    uint64_t written = SR_LOAD(&self->header->write_position, relaxed); /* nothing is claimed there */
    uint64_t half = self->geometry.granules / 2;
    if (self->geometry.kind == SR_KIND_TOPIC)
        return sr_topic_make_room(self, written, half, turn) == SR_OK;
    int64_t used = sr_mpmc_reclaim(self) == SR_OK ? sr_distance(&self->geometry, room_begins(self), written) : -1;
    return used >= 0 && (uint64_t)used <= half;
}

/* A turn is given up for whoever has it and does not use it, though there is room for any message: who is stopped, say. */
static void look_after_line(struct sr_endpoint *self) {
    uint64_t turn = SR_LOAD(&self->header->turn, relaxed);
    uint64_t seen = SR_LOAD(&self->turn_seen, relaxed);
    SR_STORE(&self->turn_seen, turn, relaxed);
    if (!turn || turn != seen)
        return;
    if (is_half_free(self, turn) && sr_line_evict(self, turn))
        sr_event_notify(&self->header->room, SR_WAKE_ALL);
}

enum sr_result sr_look_up(struct sr_endpoint *self, bool is_claim, bool outlive_peers) {
    if (SR_LOAD(&self->root->damaged, relaxed))
        return SR_CORRUPT;
    if (reap_in_turn(self) < 0)
        return SR_SYSTEM_ERROR;
    if (is_claim && has_a_line(self))
        look_after_line(self);
    if (self->geometry.kind == SR_KIND_SEMAPHORE)
        sr_semaphore_top_up(self); /* a repair beside live traffic may have counted too few */
    struct sr_peers peers = sr_peers_of(self->root, is_claim ? SR_ROLE_CONSUMER : SR_ROLE_PRODUCER);
    bool nobody_to_wait_for = self->geometry.kind == SR_KIND_TOPIC && is_claim; /* the dead hold nothing up */
    return peers.alive || !peers.died || outlive_peers || nobody_to_wait_for ? SR_OK : SR_PEER_DIED;
}

/* What a waiter does each time it looks up. */
static enum sr_result look_after_peers(struct attempt *attempt, const struct sr_wait *wait) {
    if (wait->hooks->interrupted(wait->context))
        return SR_INTERRUPTED;
    enum sr_result verdict = sr_look_up(attempt->self, attempt->is_claim, wait->outlive_peers);
    if (verdict != SR_PEER_DIED)
        return verdict == SR_OK ? SR_EMPTY : verdict;
    enum sr_result result = try_again(attempt); /* what the dead had committed comes first */
    return could_change(result) ? SR_PEER_DIED : result;
}

static enum sr_result park_until_done(struct attempt *attempt, const struct sr_wait *wait) {
    struct sr_endpoint *self = attempt->self;
    struct sr_event *event = attempt->is_claim ? &self->header->room : &self->header->items;
    int64_t look_up = sr_os_monotonic_ns() + LOOK_UP_NS;
    int64_t contended = 0; /* since when */
    for (;;) {
        uint32_t ticket = sr_event_announce(event);
        enum sr_result result = try_again(attempt);
        if (!could_change(result))
            return result;
        if (SR_LOAD(&self->closing, relaxed)) /* sr_event_announce has ordered it */
            return SR_CLOSED;
        int64_t now = sr_os_monotonic_ns();
        if (now >= wait->deadline_ns)
            return SR_TIMED_OUT;
        int64_t until = wait->deadline_ns < look_up ? wait->deadline_ns : look_up;
        enum sr_os_wakeup wakeup = SR_OS_WOKEN;
        if (result != SR_CONTENDED)
            contended = 0;
        else if (!contended)
            contended = now;
        if (result == SR_CONTENDED && now - contended < CONTENDED_LONG_NS)
            sr_os_yield();               /* the mutex is held for a few instructions */
        else if (result == SR_CONTENDED) /* or by one that stands still, and tells nobody when it goes on */
            sr_os_sleep_ns(until - now < CONTENDED_NAP_NS ? until - now : CONTENDED_NAP_NS);
        else if (until > now)
            wakeup = sr_event_park(event, ticket, until - now);
        if (wakeup == SR_OS_INTERRUPTED || sr_os_monotonic_ns() >= look_up) {
            result = look_after_peers(attempt, wait);
            if (!could_change(result))
                return result;
            look_up = sr_os_monotonic_ns() + LOOK_UP_NS;
        }
    }
}

/* A full ring empties by many messages at a time: a producer that naps finds room for a batch of them, where one that
 * parks is woken for the first, and costs the consumer a call for each. Only when the consumer is slow does it park. */
static enum sr_result nap_until_done(struct attempt *attempt, const struct sr_wait *wait) {
    enum sr_result result = SR_FULL;
    for (int nap = 0; nap < NAPS && could_change(result); nap++) {
        int64_t left = wait->deadline_ns - sr_os_monotonic_ns();
        if (left <= 0 || SR_LOAD(&attempt->self->closing, relaxed))
            break;
        sr_os_sleep_ns(left < NAP_NS ? left : NAP_NS);
        result = try_again(attempt);
    }
    return result;
}

/* On the way out of the park: a wake may have been meant for several, or for another than us. Arm for those who still
 * sleep, and wake one of them if we leave anything. Producers are woken all at once and need none of this, and so are
 * subscribers and the readers of a latest value; an spsc ring has one waiter a side. */
void sr_pass_on(struct sr_endpoint *self, bool is_claim, bool took) {
    if (is_claim || self->geometry.kind == SR_KIND_SPSC || self->geometry.kind >= SR_KIND_TOPIC)
        return;
    struct sr_event *items = &self->header->items;
    sr_event_announce(items);
    if (!took || sr_mpmc_maybe_ready(self) || SR_LOAD(&self->header->shutdown, relaxed))
        sr_event_wake(items, 1);
}

static enum sr_result wait_for(struct attempt *attempt, const struct sr_wait *wait) {
    struct sr_endpoint *self = attempt->self;
    int64_t began = sr_os_monotonic_ns();
    int64_t budget = spin_budget(wait, self, attempt->is_claim);
    enum sr_result result;
    for (int i = 0; budget && i < SPINS_WHILE_HOLDING_THE_INTERPRETER; i++) {
        sr_cpu_relax();
        result = try_at_once(attempt);
        if (!could_change(result)) {
            learn(self, attempt->is_claim, sr_os_monotonic_ns() - began);
            return result;
        }
    }
    wait->hooks->suspend(wait->context);
    result = SR_EMPTY;
    if (budget) {
        int64_t until = began + budget;
        result = spin(attempt, until < wait->deadline_ns ? until : wait->deadline_ns);
    }
    if (could_change(result) && attempt->is_claim)
        result = nap_until_done(attempt, wait);
    if (could_change(result)) {
        SR_STORE(&self->self->active_ns, (uint64_t)sr_os_realtime_ns(), relaxed);
        result = park_until_done(attempt, wait);
        sr_pass_on(self, attempt->is_claim, result == SR_OK);
    }
    wait->hooks->resume(wait->context);
    learn(self, attempt->is_claim, sr_os_monotonic_ns() - began);
    return result;
}

/* In the way is the mutex of the semaphore kind; or, where messages are overwritten, another publisher who still writes the
 * oldest of them. */
static bool is_for_a_moment(const struct sr_endpoint *self, enum sr_result result) {
    return result == SR_CONTENDED || (result == SR_FULL && self->geometry.overwrite);
}

/* A call that may not wait. It still mends, now and then, what the dead left in its way, because its caller may poll for
 * ever; and it outwaits what is held for a few instructions, but nobody who stands still with it. */
static enum sr_result poll(struct attempt *attempt, enum sr_result result) {
    struct sr_endpoint *self = attempt->self;
    int64_t now = sr_os_monotonic_ns();
    if (is_for_a_moment(self, result)) {
        int64_t give_up = now + CONTENDED_LONG_NS;
        while (is_for_a_moment(self, result) && now < give_up) {
            sr_os_yield();
            result = try_at_once(attempt);
            now = sr_os_monotonic_ns();
        }
    }
    if (SR_LOAD(&self->root->damaged, relaxed))
        return SR_CORRUPT;
    uint64_t last = SR_LOAD(&self->last_reap_ns, relaxed);
    if (could_change(result) && now - (int64_t)last > LOOK_UP_NS) {
        SR_STORE(&self->last_reap_ns, (uint64_t)now, relaxed);
        int reaped = reap_in_turn(self);
        if (reaped < 0)
            return SR_SYSTEM_ERROR;
        if (attempt->is_claim && has_a_line(self))
            look_after_line(self);
        if (self->geometry.kind == SR_KIND_SEMAPHORE)
            sr_semaphore_top_up(self);
        result = try_at_once(attempt); /* it was mended, perhaps by another */
    }
    return could_change(result) ? SR_TIMED_OUT : result;
}

static enum sr_result attempt_until(struct attempt *attempt, const struct sr_wait *wait) {
    enum sr_result result = try_at_once(attempt);
    if (SR_LIKELY(!could_change(result)))
        return result;
    return wait->deadline_ns == 0 ? poll(attempt, result) : wait_for(attempt, wait);
}

enum sr_result sr_claim_in_line(struct sr_endpoint *self, uint64_t length, const struct sr_wait *wait,
                                struct sr_standing *standing, struct sr_record *record) {
    struct attempt attempt = {.self = self, .record = record, .length = length, .is_claim = true, .standing = standing};
    return attempt_until(&attempt, wait);
}

enum sr_result sr_claim(struct sr_endpoint *self, uint64_t length, const struct sr_wait *wait,
                        struct sr_record *record) {
    struct sr_standing standing = {0};
    enum sr_result result = sr_claim_in_line(self, length, wait, &standing, record);
    if (SR_UNLIKELY(standing.place.word))
        sr_give_up(self, &standing);
    return result;
}

enum sr_result sr_wait_for_room(struct sr_endpoint *self, uint64_t length, const struct sr_wait *wait) {
    struct attempt attempt = {.self = self, .length = length, .is_claim = true};
    return attempt_until(&attempt, wait);
}

enum sr_result sr_take(struct sr_endpoint *self, uint64_t limit, const struct sr_wait *wait, struct sr_record *record) {
    struct attempt attempt = {.self = self, .record = record, .length = limit, .is_claim = false};
    return attempt_until(&attempt, wait);
}

enum sr_result sr_after_empty(struct sr_endpoint *self) {
    /* A producer claims first and looks at shutdown second; we have looked at shutdown, and look at claims second. So
     * either it sees the shutdown and gives its claim up, or we see the claim and wait for it. */
    sr_heavy_fence();
    if (self->geometry.kind == SR_KIND_SPSC) {
        uint64_t written = SR_LOAD(&self->header->write_position, acquire); /* SYNC: record-published (acquire) */
        bool more = written != self->read_position || sr_spsc_claim_is_open(self);
        return more || SR_LOAD(&self->header->write_position, acquire) != written ? SR_EMPTY : SR_SHUT_DOWN;
    }
    if (self->geometry.kind == SR_KIND_TOPIC)
        return sr_topic_maybe_ready(self) ? SR_EMPTY : SR_SHUT_DOWN;
    if (self->geometry.kind == SR_KIND_LATEST)
        return SR_SHUT_DOWN; /* what was set before the shutdown was there when we looked */
    struct sr_contents contents;
    enum sr_result result = sr_contents_read(self, &contents);
    if (result != SR_OK)
        return result;
    return contents.ready || contents.claimed ? SR_EMPTY : SR_SHUT_DOWN;
}

void sr_shut_down(struct sr_endpoint *self, enum sr_shutdown state) {
    uint32_t now = SR_LOAD(&self->header->shutdown, relaxed);
    /* SYNC: shut-down (release; pairs with the acquire in sr_try_take): what we had put before is there. */
    while (now < (uint32_t)state && !SR_CAS(&self->header->shutdown, &now, (uint32_t)state, release))
        ;
    sr_event_notify(&self->header->items, SR_WAKE_ALL);
    sr_event_notify(&self->header->room, SR_WAKE_ALL);
}

void sr_wake_for_close(struct sr_endpoint *self) {
    SR_STORE(&self->closing, 1, relaxed); /* it carries nothing else; sr_event_notify orders it */
    sr_event_notify(&self->header->items, SR_WAKE_ALL);
    sr_event_notify(&self->header->room, SR_WAKE_ALL);
}
