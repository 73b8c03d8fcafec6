/* wait.c - see wait.h. */
#include "wait/wait.h"

uint32_t sr_event_announce(struct sr_event *event) {
    uint32_t ticket = SR_LOAD(&event->sequence, acquire); /* SYNC: woken (acquire) */
    uint32_t mine = ticket | 1;
    uint32_t armed = SR_LOAD(&event->armed, relaxed);
    /* Never overwrite a later waiter's mark: a waker that saw ours could then disarm both. */
    while (armed != mine && (armed == 0 || (int32_t)(armed - mine) < 0))
        if (SR_CAS(&event->armed, &armed, mine, relaxed))
            break;
    sr_heavy_fence(); /* SYNC: park-or-seen (acquire side: armed before the caller's last look at the ring) */
    return ticket;
}

enum sr_os_wakeup sr_event_park(struct sr_event *event, uint32_t ticket, int64_t timeout_ns) {
    return sr_os_park(&event->sequence, ticket, timeout_ns);
}

void sr_event_wake(struct sr_event *event, int count) {
    uint32_t armed = SR_LOAD(&event->armed, relaxed);
    SR_ADD(&event->sequence, 2, release); /* SYNC: woken (release): who sees it sees the change */
    sr_os_unpark(&event->sequence, count);
    /* Disarm, so that a burst of changes costs one call and not one each: whoever was woken arms again for those who
     * were not (pass_on in blocking.c). Those who announced before our addition will not fall asleep on it; those who did
     * so after it have armed with another value, and the swap fails. */
    if (armed)
        SR_CAS(&event->armed, &armed, 0, relaxed);
}
