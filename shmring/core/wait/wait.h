/* wait.h - parking on an event word, and waking only when somebody waits (an eventcount; compare ck_ec).
 *
 *   waiter                                waker
 *   ticket = announce(event)              change the ring
 *     arms, heavy fence                   light fence
 *   look at the ring once more            armed? then sequence += 2, wake
 *   park(event, ticket)
 *
 * Either the waiter's look sees the change, or the waker sees that it is armed; the two fences exclude "neither"
 * (park-or-seen in LAYOUT.md). A waker disarms; one that was woken arms again on its way out, and wakes the next if there is
 * more than it took, so that a burst wakes waiters one after the other. No count of waiters is kept, so that one that dies leaves nothing wrong behind.
 */
#ifndef SHMRING_WAIT_H
#define SHMRING_WAIT_H

#include <limits.h>

#include "format/layout.h"
#include "os/os.h"

enum { SR_WAKE_ALL = INT_MAX };

uint32_t sr_event_announce(struct sr_event *event);
enum sr_os_wakeup sr_event_park(struct sr_event *event, uint32_t ticket, int64_t timeout_ns);
void sr_event_wake(struct sr_event *event, int count); /* the slow half of sr_event_notify */

/* After a change that `count` waiters could use. */
static inline void sr_event_notify(struct sr_event *event, int count) {
    sr_light_fence(); /* SYNC: park-or-seen (release side: the change before the look at armed) */
    if (SR_UNLIKELY(SR_LOAD(&event->armed, relaxed)))
        sr_event_wake(event, count);
}

#endif
