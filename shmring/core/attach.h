/* attach.h - coming, going and dying: entries, roles, liveness, repair. Uses os.h; never waits for a message. */
#ifndef SHMRING_ATTACH_H
#define SHMRING_ATTACH_H

#include "os.h"
#include "ring.h"

/* Gives a zeroed segment its header. The creator calls it once; the ring is born with the last store. */
struct sr_birth {
    const char *name;
    const char *codec;
    uint32_t flags;
    uint32_t mode;
    uint64_t identity;
};
void sr_format(void *base, const struct sr_geometry *plan, const struct sr_birth *birth);

/* Takes an entry. `inherited`: through a mapping that a fork handed down, so that a removed name is no obstacle.
 * May wait up to ten seconds for another attacher. SR_RETIRED, SR_NO_SLOT, SR_HELD_UP, SR_SYSTEM_ERROR. */
enum sr_result sr_attach(struct sr_endpoint *self, int segment_fd, bool inherited);

/* Gives roles and entry back. *abandoned: nobody is attached any more, and a ring with a name is empty, does not persist
 * and is RETIRED now; the caller unlinks its name and semaphores before sr_detach_finish lets others go on. */
enum sr_result sr_detach(struct sr_endpoint *self, bool *abandoned);
void sr_detach_finish(struct sr_endpoint *self);
/* Settles the records that this endpoint still holds, as a repairer would after its death. Their memory is not to be
 * touched any more. */
void sr_forsake(struct sr_endpoint *self);
/* In a forked child: the entry is the parent's; lets go of its token without touching anything. */
void sr_forget(struct sr_endpoint *self);

enum sr_result sr_take_role(struct sr_endpoint *self, uint32_t role, uint32_t *holder_slot);
void sr_give_role_back(struct sr_endpoint *self, uint32_t role);

enum sr_os_liveness sr_liveness(const struct sr_endpoint *self, uint32_t slot);
/* Repairs after every dead attachment; answers how many there were. Cheap when all live: a query each. */
int sr_reap(struct sr_endpoint *self);
/* Are there attachments with this role, alive; did any die since the last one came? */
struct sr_peers {
    int alive;
    int died;
};
struct sr_peers sr_peers_of(const struct sr_endpoint *self, uint32_t role);

/* For a prober with a token but no entry (shmring.list, create): the living attachments, by the kernel's word. */
int sr_count_living(struct sr_endpoint *self);

#endif
