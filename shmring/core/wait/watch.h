/* watch.h - waiting for an event without a thread of one's own in it: for event loops, which sleep on descriptors.
 *
 *   event loop                                 the process's one watching thread
 *   ticket = announce(event)                   asleep on the words of all events that are watched
 *   look at the ring once more
 *   park(watch, ticket), poll the bell         a word moves on from the ticket: ring the bell
 *
 * The handshake is that of wait.h; the thread only sleeps in the loop's stead, so nothing about it is in shared memory,
 * and nothing is left there when the process dies. A watch is *parked* from sr_watch_park until its bell was rung or
 * sr_watch_unpark; between one park and the next the thread stays asleep on its word, since most loops come back at
 * once. A wake that reaches it then was meant for somebody else, and it passes it on.
 *
 * Deliberately not here: why a watcher waits, and what it does when its bell rings (binding/watch.c, aio/waiting.py).
 */
#ifndef SHMRING_WATCH_H
#define SHMRING_WATCH_H

#include <stddef.h>

#include "wait/wait.h"

struct sr_panel;

/* Guarded by the lock of os/watch.h. */
struct sr_watch {
    struct sr_watch *next, *previous; /* all watches of the process */
    struct sr_event *event;           /* NULL once its memory is gone */
    struct sr_panel *panel;           /* of the thread that sleeps on it; NULL: none does */
    uint32_t ticket;
    int bell;
    bool is_parked;
    bool is_slept_on;
};

/* Opens the bell. false: errno says why. */
bool sr_watch_open(struct sr_watch *watch, struct sr_event *event);
void sr_watch_close(struct sr_watch *watch);

/* Rings the bell, once, when the event has moved on from the ticket or its memory goes. Starts the thread if there is
 * none. false: it could not be started, errno says why. */
bool sr_watch_park(struct sr_watch *watch, uint32_t ticket);
/* The bell is not wanted any more; it may have been rung. */
void sr_watch_unpark(struct sr_watch *watch);

/* Before memory is unmapped: rings the bells of every event in it, and forgets them. */
void sr_watch_forget(const void *base, size_t length);

/* In a forked child, which has neither the thread nor a use for the parent's bells. */
void sr_watch_after_fork(void);

#endif
