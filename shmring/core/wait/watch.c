/* watch.c - see watch.h. One thread sleeps on up to 127 events, and a further one is started for further events; where the
 * kernel cannot wait for several words, each event has its thread. A thread that has had nothing to do for a second ends.
 *
 * Invariants: a panel's watches have memory (their event is not NULL); the thread touches events under the lock only. While
 * it sleeps it holds nothing but addresses, which may become invalid: the kernel then refuses to sleep on them, or sleeps
 * on what is there now, until the change of the panel wakes it.
 */
#include "wait/watch.h"

#include <errno.h>
#include <stdlib.h>

#include "os/watch.h"

static const int64_t REST_NS = 1000000000;
static const int64_t SLEEP_MOST_NS = INT64_C(60000000000);
static const int64_t SLEEP_ON_ONE_NS = 50000000; /* nothing can wake it from that word but the word's own waker */
static const int64_t REFUSED_NS = 1000000;

/* What one thread watches. */
struct sr_panel {
    struct sr_panel *next;
    sr_atomic_u32 changes; /* the thread sleeps on this too, so that it can be told of a change */
    unsigned count;
    bool is_elsewhere; /* asleep on a word from which it cannot be called away */
    struct sr_watch *watches[SR_OS_WORDS_MOST];
    sr_atomic_u32 *words[SR_OS_WORDS_MOST];
    uint32_t expected[SR_OS_WORDS_MOST];
};

static struct sr_panel *panels;
static struct sr_watch *every_watch;

static unsigned watches_most(void) {
    unsigned words = sr_os_words_at_once();
    return words > 1 ? words - 1 : 1;
}

static void tell(struct sr_panel *panel) {
    SR_ADD(&panel->changes, 1, relaxed); /* the lock orders everything else */
    sr_os_unpark(&panel->changes, SR_WAKE_ALL);
}

static void leave_panel(struct sr_watch *watch) {
    struct sr_panel *panel = watch->panel;
    watch->panel = NULL;
    watch->is_slept_on = false;
    for (unsigned i = 0; i < panel->count; i++)
        if (panel->watches[i] == watch)
            panel->watches[i] = panel->watches[--panel->count];
}

static void ring(struct sr_watch *watch) {
    watch->is_parked = false;
    sr_os_bell_ring(watch->bell);
}

/* After each sleep: rings for the watches whose event has moved on, or whose word was the one woken. When nobody is parked
 * there, that wake was meant for another. */
static void answer(struct sr_panel *panel, const sr_atomic_u32 *woken) {
    for (unsigned i = panel->count; i-- > 0;) {
        struct sr_watch *watch = panel->watches[i];
        sr_atomic_u32 *word = &watch->event->sequence;
        if (SR_LOAD(word, relaxed) == watch->ticket && word != woken) /* the bell's listener announces afresh */
            continue;
        if (watch->is_parked) {
            ring(watch);
        } else if (watch->is_slept_on) {
            leave_panel(watch);
            /* Whoever it wakes arms again for the others, as it would have if it had been woken in the first place. */
            sr_os_unpark(word, 1);
        }
    }
}

/* What to sleep on next; how many words that is. */
static unsigned collect(struct sr_panel *panel) {
    unsigned used = 0;
    if (panel->count == 0 || sr_os_words_at_once() > 1) {
        panel->words[used] = &panel->changes;
        panel->expected[used++] = SR_LOAD(&panel->changes, relaxed);
    }
    for (unsigned i = 0; i < panel->count; i++) {
        struct sr_watch *watch = panel->watches[i];
        watch->is_slept_on = true;
        if (!watch->is_parked)
            watch->ticket = SR_LOAD(&watch->event->sequence, relaxed);
        panel->words[used] = &watch->event->sequence;
        panel->expected[used++] = watch->ticket;
    }
    return used;
}

static void keep_watch(void *context) {
    struct sr_panel *panel = context;
    sr_os_watch_lock();
    for (;;) {
        unsigned count = collect(panel);
        bool rests = panel->count == 0;
        panel->is_elsewhere = !rests && sr_os_words_at_once() == 1;
        int64_t most = rests ? REST_NS : panel->is_elsewhere ? SLEEP_ON_ONE_NS : SLEEP_MOST_NS;
        sr_os_watch_unlock();
        int64_t until = sr_os_monotonic_ns() + most;
        unsigned woken;
        enum sr_os_wakeup wakeup = sr_os_park_on_any(panel->words, panel->expected, count, most, &woken);
        bool refused = wakeup == SR_OS_TIMED_OUT && sr_os_monotonic_ns() < until;
        if (refused)
            sr_os_sleep_ns(REFUSED_NS); /* an address has gone, and its watch is about to: do not race for it */
        sr_os_watch_lock();
        if (rests && panel->count == 0 && wakeup == SR_OS_TIMED_OUT)
            break;
        answer(panel, woken < count ? panel->words[woken] : NULL);
    }
    struct sr_panel **place = &panels;
    while (*place != panel)
        place = &(*place)->next;
    *place = panel->next;
    sr_os_watch_unlock();
    free(panel);
}

static struct sr_panel *panel_with_room(void) {
    for (struct sr_panel *panel = panels; panel; panel = panel->next)
        if (panel->count < watches_most() && !panel->is_elsewhere)
            return panel;
    struct sr_panel *panel = calloc(1, sizeof *panel);
    if (!panel)
        return NULL;
    if (!sr_os_thread_start(keep_watch, panel)) { /* it waits for the lock, which we hold */
        int error = errno;
        free(panel);
        errno = error;
        return NULL;
    }
    panel->next = panels;
    panels = panel;
    return panel;
}

bool sr_watch_open(struct sr_watch *watch, struct sr_event *event) {
    int bell = sr_os_bell_open();
    if (bell < 0)
        return false;
    sr_os_watch_lock();
    *watch = (struct sr_watch){.event = event, .bell = bell, .next = every_watch};
    if (every_watch)
        every_watch->previous = watch;
    every_watch = watch;
    sr_os_watch_unlock();
    return true;
}

/* With its panel told: the thread still sleeps on the word, and must not take another's wake there. */
static void take_off(struct sr_watch *watch) {
    struct sr_panel *panel = watch->panel;
    watch->is_parked = false;
    if (!panel)
        return;
    leave_panel(watch);
    tell(panel);
}

void sr_watch_close(struct sr_watch *watch) {
    sr_os_watch_lock();
    take_off(watch);
    if (watch->previous)
        watch->previous->next = watch->next;
    else
        every_watch = watch->next;
    if (watch->next)
        watch->next->previous = watch->previous;
    int bell = watch->bell;
    watch->bell = -1;
    watch->event = NULL;
    sr_os_watch_unlock();
    if (bell >= 0)
        sr_os_bell_close(bell);
}

bool sr_watch_park(struct sr_watch *watch, uint32_t ticket) {
    bool fine = true;
    sr_os_watch_lock();
    watch->ticket = ticket;
    watch->is_parked = true;
    if (!watch->event || SR_LOAD(&watch->event->sequence, relaxed) != ticket) {
        ring(watch);
    } else if (!watch->panel) {
        struct sr_panel *panel = panel_with_room();
        fine = panel != NULL;
        if (panel) {
            watch->panel = panel;
            panel->watches[panel->count++] = watch;
            tell(panel);
        }
    } /* else the thread sleeps on its word, or looks at it before it sleeps */
    watch->is_parked &= fine;
    sr_os_watch_unlock();
    return fine;
}

void sr_watch_unpark(struct sr_watch *watch) {
    sr_os_watch_lock();
    watch->is_parked = false;
    sr_os_watch_unlock();
}

void sr_watch_forget(const void *base, size_t length) {
    sr_os_watch_lock();
    for (struct sr_watch *watch = every_watch; watch; watch = watch->next) {
        if (!watch->event || (uintptr_t)watch->event - (uintptr_t)base >= length)
            continue;
        take_off(watch);
        watch->event = NULL;
        ring(watch);
    }
    sr_os_watch_unlock();
}

void sr_watch_after_fork(void) {
    sr_os_watch_lock_renew();
    panels = NULL; /* their memory may have been in the middle of a change: leave it */
    for (struct sr_watch *watch = every_watch; watch; watch = watch->next) {
        if (watch->bell >= 0)
            sr_os_bell_close(watch->bell);
        watch->bell = -1;
        watch->panel = NULL;
        watch->is_parked = watch->is_slept_on = false;
    }
}
