/* attach.h - coming, going and dying: entries, roles, liveness, repair. Uses os.h; never waits for a message. */
#ifndef SHMRING_ATTACH_H
#define SHMRING_ATTACH_H

#include "os/os.h"
#include "ring/endpoint.h"

/* Gives a zeroed segment its header. The creator calls it once; the ring is born with the last store. */
struct sr_birth {
    const char *name;
    const char *codec;
    uint32_t flags;
    uint32_t mode;
    uint64_t identity;
};
void sr_format(void *base, const struct sr_geometry *plan, const struct sr_birth *birth);

/* By which way a process comes. */
struct sr_arrival {
    int locks_fd;        /* of the file that has the locks: the segment's, or the one beside it (sr_locks_path) */
    const char *path;    /* where that file has its name; NULL: nowhere */
    bool inherited;      /* through a mapping that a fork handed down: a name that is gone is no obstacle */
    int64_t patience_ns; /* for another that comes or goes at this moment */
};

/* With SR_FLAG_LOCKS_APART the locks are on a file in the folder of the ring at `ring`, which only those may open who
 * may write to the ring: whoever may only read a file can lock its bytes, too. Its path; `size` of 4096 is enough. */
void sr_locks_path(char *path, size_t size, const char *ring, uint64_t identity);

/* Takes an entry. First it repairs after all who have died until now, so that their deaths are before its coming.
 * SR_RETIRED, SR_NO_SLOT, SR_HELD_UP, SR_SYSTEM_ERROR. In a forked child what the endpoint held was the parent's: a claim
 * that it inherited lasts until this has succeeded. */
enum sr_result sr_attach(struct sr_endpoint *self, const struct sr_arrival *arrival);

/* Gives roles and entry back. *abandoned: nobody is attached any more or may yet attach, and a ring with a name is empty,
 * does not persist and is RETIRED now; the caller unlinks its name and semaphores before sr_detach_finish lets others go
 * on. Waits for another that comes or goes, but not long: then the name stays until somebody looks at it. */
enum sr_result sr_detach(struct sr_endpoint *self, bool *abandoned);
void sr_detach_finish(struct sr_endpoint *self);
/* Settles the records that this endpoint still holds, as a repairer would after its death. Nobody may be using them. */
void sr_forsake(struct sr_endpoint *self);
/* In a forked child: the entry is the parent's; forgets it without touching anything. The inherited claim stays. */
void sr_forget(struct sr_endpoint *self);

enum sr_result sr_take_role(struct sr_endpoint *self, uint32_t role, uint32_t *holder_slot);
void sr_give_role_back(struct sr_endpoint *self, uint32_t role);
/* Says of a topic's attachment that somebody subscribed through it: then it is no publisher until it publishes. */
void sr_note_subscribing(struct sr_endpoint *self);

enum sr_os_liveness sr_liveness(const struct sr_endpoint *self, uint32_t slot);
/* Repairs after every dead attachment; answers how many there were, or -1 when the kernel does not tell: errno says why.
 * A query for each that lives. */
int sr_reap(struct sr_endpoint *self);
/* The same for whoever waits: all who wait for one ring share the looking, so that each costs the same however many
 * there are. */
int sr_reap_in_turn(struct sr_endpoint *self, int64_t interval_ns);
/* Are there attachments with this role, alive; did any die since the last one came? */
struct sr_peers {
    int alive;
    int died;
};
struct sr_peers sr_peers_of(const struct sr_endpoint *self, uint32_t role);

/* For a prober with locks but no entry (shmring.list, create): the living attachments, by the kernel's word. */
int sr_count_living(struct sr_endpoint *self);
/* What lies in the ring, by the kernel's word: what the dead had taken waits to be taken again, repaired or not. */
enum sr_result sr_contents_by_the_living(struct sr_endpoint *self, struct sr_contents *contents);
/* Is there a process, or a handle on its way to one, that may yet attach? */
bool sr_is_claimed(struct sr_endpoint *self);

/* Handles that are sent to other processes keep a ring until they have arrived, if their sender lives so long. It takes a
 * number, under a lock of its own that its `locks` keep, and counts there; who gets one counts down. */
struct sr_sent {
    uint32_t index;
    uint32_t number;
};
enum sr_result sr_sent_open(struct sr_endpoint *self, int locks, struct sr_sent *sent); /* SR_FULL: too many have one */
void sr_sent_note(struct sr_endpoint *self, const struct sr_sent *sent);
void sr_sent_arrived(struct sr_endpoint *self, const struct sr_sent *sent);
bool sr_sent_is_awaited(struct sr_endpoint *self, const struct sr_sent *sent);

#endif
