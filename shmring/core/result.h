/* result.h - what a core function can answer. One table in binding/errors.c turns these into exceptions. */
#ifndef SHMRING_RESULT_H
#define SHMRING_RESULT_H

enum sr_result {
    SR_OK = 0,
    SR_FULL,         /* no room, or no free slot, at this moment */
    SR_EMPTY,        /* nothing committed at the read position at this moment */
    SR_CONTENDED,    /* semaphore kind: somebody is inside the mutex */
    SR_SHUT_DOWN,    /* no further messages: claims are refused, or everything was drained */
    SR_TOO_LONG,     /* the message is longer than the ring allows, or than the taker's limit */
    SR_STALE,        /* the record is no longer ours: we were taken for dead */
    SR_OVERWRITTEN,  /* what was read was overwritten meanwhile: take again */
    SR_OUTRUN,       /* however often it was taken again, it was overwritten meanwhile */
    SR_BUSY,         /* the role has a live holder */
    SR_CORRUPT,      /* shared memory holds what no writer of ours writes */
    SR_TIMED_OUT,    /* the deadline passed */
    SR_CLOSED,       /* this endpoint was closed while it waited */
    SR_INTERRUPTED,  /* a signal handler raised */
    SR_PEER_DIED,    /* every counterpart is dead */
    SR_RETIRED,      /* the ring was removed between open and attach */
    SR_NO_SLOT,      /* all attachment entries are taken by the living */
    SR_NOT_A_RING,   /* no magic */
    SR_OTHER_LAYOUT, /* a ring of another layout version or byte order */
    SR_NOT_READY,    /* its creator has not finished */
    SR_HELD_UP,      /* another process has held the lifecycle lock for too long */
    SR_NO_SPACE,     /* a queue: there is no memory for a further link, and nothing in it to wait for */
    SR_SYSTEM_ERROR  /* the operating system refused; errno says why */
};

#endif
