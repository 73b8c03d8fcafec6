/* queue.h - a queue: mpmc rings in one file, its *links*, of which the newest takes what is put, and further ones are linked
 * behind it as it needs room. What its processes share beside them, the control block, and what each of them knows of it.
 *
 * Everybody is attached to link 0, whose entries serve for all links: they say who lives, what he has put and got, and
 * which links he is in. A link is *open*, then *shut* (a ring's shutdown, draining), then *finished* (nothing ready, claimed
 * or taken), for ever. To link, under the lock: give the next ring its storage and header; shut the last; write the entry;
 * raise `last`. To finish, under the lock: raise `first`; then give the storage back. So at every moment:
 *
 *   - only `last` may be open, and if it is not, anybody may link the next: a death between two steps leaves room for
 *     whoever comes next, and what it had reserved is taken for the next link, or cut off;
 *   - what is in a link was claimed before anything in the next was, so the order is that of the claims;
 *   - a finished link is shut: whoever is still in it finds that out, and goes where `first` or `last` is.
 *
 * A place in the file is used again when its link is finished and nobody is in it, or in an older one. Whoever enters a link
 * first says so in his entry (`cursor`: index + 1 of the oldest link that he is in, or 0), then looks whether it is finished;
 * whoever buries one first raises `first`, then looks for those who are in it (link-pinned in LAYOUT.md).
 *
 * A *single* is a link for one large message: that is claimed in it before it is linked, and it is shut from the start.
 *
 * The interpreter lock, or whatever guards the endpoint, guards struct sr_queue; `hooks` let it go only where the kernel
 * waits or works. Deliberately not here: what a message is, and who wants one.
 */
#ifndef SHMRING_QUEUE_H
#define SHMRING_QUEUE_H

#include "blocking.h"

/* "SHMRQUE" and the version of the control block. */
#define SR_QUEUE_MAGIC (UINT64_C(0x0045555152484D53) | UINT64_C(2) << 56)
enum { SR_QUEUE_LINKS = 1792, SR_QUEUE_SINGLE = 1 };

struct sr_link_entry {
    sr_atomic_u64 offset; /* in the file */
    sr_atomic_u64 length; /* with SR_QUEUE_SINGLE */
};

struct sr_control {
    /* Written once, before the magic. */
    sr_atomic_u64 magic;
    uint64_t maxsize;   /* messages; 0: no bound */
    uint64_t max_bytes; /* that all links together may take */
    uint64_t capacity;  /* of link 0, and of every link that is not made for more */
    unsigned char pad_identity[96];

    sr_atomic_u64 first; /* index of the oldest link that is not finished; only rises, under the lock */
    unsigned char pad_first[120];
    sr_atomic_u64 last; /* index of the newest link; only rises, under the lock; its entry is written before */
    unsigned char pad_last[120];
    sr_atomic_u64 buried;   /* links below it have no storage and nobody in them; only rises, under the lock */
    sr_atomic_u64 shutdown; /* enum sr_shutdown; only rises, under the lock */
    sr_atomic_u64 wanted;   /* bytes that one who waits for memory needs; the others do not grow meanwhile */
    sr_atomic_u64 wanter;   /* who that is, with SR_HELD, or 0; both under the lock */
    unsigned char pad_buried[96];
    struct sr_event done; /* joiners park here; whoever has done a task notifies */
    unsigned char pad_done[504];
    sr_atomic_u64 pending[SR_ATTACHMENTS]; /* tasks that each attachment got less those that it said were done */
    unsigned char reserved[1024];
    struct sr_link_entry table[SR_QUEUE_LINKS]; /* of link i at i modulo SR_QUEUE_LINKS */
};

SR_AT(sr_control, first, 128);
SR_AT(sr_control, last, 256);
SR_AT(sr_control, buried, 384);
SR_AT(sr_control, done, 512);
SR_AT(sr_control, pending, 1024);
SR_AT(sr_control, table, 4096);
static_assert(sizeof(struct sr_control) == 32768, "the control block");

/* Links from this one to that are more than the table has: no writer of ours says so. */
static inline bool sr_queue_is_too_far(uint64_t first, uint64_t last) {
    return last > first && last - first >= SR_QUEUE_LINKS;
}

/* A link as this process has it mapped. */
struct sr_link {
    struct sr_endpoint endpoint; /* first: who has the endpoint has the link */
    struct sr_link *next;
    uint64_t index, offset, length;
    void *base;
    uint64_t stored; /* granules of its arena that have storage, as far as we know */
    uint64_t forks;  /* `forks` of the queue when it was bound */
    unsigned users;  /* calls and leases that are in it */
    bool single;
    bool kept; /* a view of it may be in use that was inherited by a fork */
};

struct sr_queue {
    struct sr_further further; /* first */
    struct sr_endpoint *root;  /* the attachment, or, for somebody who only looks, one that is not attached */
    struct sr_control *control;
    uint64_t control_at; /* in the file; the byte there is the lock */
    int file;            /* of the segment; see sr_os_memory_file */
    struct sr_link *links;
    struct sr_link *put, *get; /* where the last call was, if it is mapped */
    uint64_t get_at;           /* index of the link to get from; those before it are looked at as well */
    uint64_t pinned;           /* what stands in our entry's cursor */
    uint64_t forks;            /* of this process since the queue was opened */
    bool locked;               /* a thread of ours has the lock */
    bool counts;               /* maxsize is set */
    /* May so many bytes be taken of what the machine, or a container, has? Called without lock or claim; it may run anything,
     * and says SR_OK, SR_NO_SPACE or SR_INTERRUPTED. NULL: whatever the file system gives. */
    enum sr_result (*afford)(void *context, uint64_t bytes);
    void *context;
    sr_atomic_u64 lacking; /* bytes that a link would have taken, and that could not be had when last tried; 0: none */
    uint64_t untidy;       /* index of a link that may be finished, plus one; 0: none */
    uint64_t granted;      /* bytes that `afford` allowed and that are not taken yet */
    uint64_t wanter_seen;  /* who stood in the way of a further link, and since when he could have had it */
    int64_t wanter_since;
    int64_t shrunk_ns; /* when a large link was last left for a small one */
};

/* A record in one of the links. Whoever gets one is in that link until sr_queue_leave. */
struct sr_placed {
    struct sr_link *link;
    struct sr_record record;
};

/* What one who puts remembers from one attempt to the next: in the newest link's line for room, and as the one for whose
 * message there is to be memory. All zeros at first; whoever gives up owes sr_queue_give_up. */
struct sr_queue_standing {
    struct sr_standing in_line;
    uint64_t link;   /* whose line: index + 1 */
    uint64_t ticket; /* what stands in `wanter` */
    int64_t since;   /* when the first attempt failed */
};

/* --- queue.c --- */
/* Gives a new file its control block behind link 0, which ends at `control_at`; all of it has storage. */
void sr_queue_format(void *base, uint64_t control_at, uint64_t maxsize, uint64_t max_bytes, uint64_t capacity);
/* `base` is where the file's beginning is mapped, with so many bytes. SR_CORRUPT: there is no control block. From now on
 * repairs and counts of `root` go to all links. */
enum sr_result sr_queue_open(struct sr_queue *self, struct sr_endpoint *root, void *base, uint64_t mapped, int file);
/* After the root was attached; in a forked child again, and sr_queue_after_fork before. */
void sr_queue_arrive(struct sr_queue *self);
void sr_queue_after_fork(struct sr_queue *self);
/* Forgets all links; nobody may be in them. */
void sr_queue_close(struct sr_queue *self);

/* As sr_claim and sr_take: in the newest link, of which there may be further ones, and in the oldest. Further answers:
 * SR_NO_SPACE, there is no memory for it and none to wait for. */
enum sr_result sr_queue_claim(struct sr_queue *self, uint64_t length, const struct sr_wait *wait,
                              struct sr_queue_standing *standing, struct sr_placed *placed);
void sr_queue_give_up(struct sr_queue *self, struct sr_queue_standing *standing);
enum sr_result sr_queue_take(struct sr_queue *self, const struct sr_wait *wait, struct sr_placed *placed);
/* The same, only where that is quickly done; SR_CONTENDED: use the other. */
enum sr_result sr_queue_try_claim(struct sr_queue *self, uint64_t length, struct sr_placed *placed);
enum sr_result sr_queue_try_take(struct sr_queue *self, struct sr_placed *placed);
/* The message at a position of the link with this identity, if it was handed back; else SR_EMPTY. */
enum sr_result sr_queue_take_again(struct sr_queue *self, uint64_t identity, uint64_t position,
                                   struct sr_placed *placed);
/* For each that was got, when its record is settled, or handed on. */
void sr_queue_enter(struct sr_queue *self, struct sr_link *link); /* once more, for one who is in it */
/* Whoever is in no link may touch nothing of it: others cut off what is finished, or use it again. For a link that this
 * process has. SR_STALE: it is finished, and we are not in it. */
enum sr_result sr_queue_try_enter(struct sr_queue *self, struct sr_link *link);
void sr_queue_leave(struct sr_queue *self, struct sr_link *link);
/* After a message was taken from this link, and settled: it may have been the last. What is to be tidied up then waits for
 * the next call, as giving memory back takes milliseconds, and one who is killed meanwhile would take the message along.
 * True: there is no further link, and so perhaps no next call for long. */
bool sr_queue_note_taken(struct sr_queue *self, const struct sr_link *link);
void sr_queue_tidy_up(struct sr_queue *self, const struct sr_wait *wait); /* where `untidy` is set. Never fails */

/* Would a message of this length be taken at once? SR_OK, SR_FULL or SR_SHUT_DOWN. */
enum sr_result sr_queue_try_room(struct sr_queue *self, uint64_t length);
enum sr_result sr_queue_wait_for_room(struct sr_queue *self, uint64_t length, const struct sr_wait *wait);
/* Refuses further messages; with SR_STOPPED, those that are there as well. */
enum sr_result sr_queue_shut_down(struct sr_queue *self, enum sr_shutdown state);
/* A message was handed back to this link. */
void sr_queue_handed_back(struct sr_queue *self, const struct sr_link *link);
/* Makes our waiters, in whatever thread, return SR_CLOSED. */
void sr_queue_wake_for_close(struct sr_queue *self);
/* What a waiter in an event loop waits at. *link: the one to put into, or to get from; entered. */
enum sr_result sr_queue_link_for(struct sr_queue *self, bool is_claim, struct sr_link **link);

uint64_t sr_queue_reserved(struct sr_queue *self); /* bytes of all links that are not finished */
int64_t sr_queue_pending(struct sr_queue *self);   /* over all attachments */

/* --- queue/links.c, for the two others --- */
enum sr_result sr_queue_open_link(struct sr_queue *self, uint64_t index,
                                  struct sr_link **link); /* SR_STALE: finished */
void sr_queue_drop_links(struct sr_queue *self);          /* those that are finished, and that nobody is in */
/* A link that nobody knows yet, for the one who makes it: mapped; then, once it has its header, ours, and entered. */
enum sr_result sr_queue_new_link(struct sr_queue *self, const struct sr_link *wanted, struct sr_link **link);
enum sr_result sr_queue_bind_new(struct sr_queue *self, struct sr_link *link);
void sr_queue_forget_link(struct sr_queue *self, struct sr_link *link);
uint64_t sr_queue_oldest_pin(struct sr_queue *self);
/* Calls visit in each link that is not finished, in order; it answers SR_OK to go on. */
typedef enum sr_result (*sr_link_visit)(struct sr_queue *self, struct sr_link *link, void *context);
enum sr_result sr_queue_each_link(struct sr_queue *self, sr_link_visit visit, void *context);

/* --- queue/growth.c --- */
/* Alone among all threads of all processes, until the unlock or the end of the process. SR_CONTENDED: not in time, which is
 * `patience_ns` at most. */
enum sr_result sr_queue_lock(struct sr_queue *self, const struct sr_wait *wait, int64_t patience_ns);
void sr_queue_unlock(struct sr_queue *self);
/* Links a further ring behind this link, if that is the last, for a message of this length (0: none in particular).
 * SR_OK: there is one, ours or another's. SR_FULL: max_bytes are in use, or another waits for memory (`beyond`: whatever
 * they say). SR_NO_SPACE: there is no memory. In *placed: where
 * the message was claimed, in a single. */
enum sr_result sr_queue_extend(struct sr_queue *self, struct sr_link *from, uint64_t length, bool beyond,
                               const struct sr_wait *wait, int64_t patience_ns, struct sr_queue_standing *standing,
                               struct sr_placed *placed);
/* Would that be tried for a message of this length? */
bool sr_queue_may_extend(struct sr_queue *self, const struct sr_link *from, uint64_t length);
enum sr_result sr_queue_afford(struct sr_queue *self, uint64_t bytes); /* nothing in hand; see `afford` */
/* Gives storage to so many granules from the beginning of a link's arena. SR_NO_SPACE. */
enum sr_result sr_queue_store(struct sr_queue *self, struct sr_link *link, uint64_t granules,
                              const struct sr_wait *wait);
/* Finishes the links that are drained, in order, and gives their storage back. True when there were any. */
bool sr_queue_tidy(struct sr_queue *self, const struct sr_wait *wait, int64_t patience_ns);
/* Bytes that a link for one such message takes, at most; and what a queue may ever give it. */
uint64_t sr_queue_single_bytes(uint64_t length);
uint64_t sr_queue_most_for_one(struct sr_queue *self);
bool sr_queue_is_outgrown(struct sr_queue *self, const struct sr_link *link);

#endif
