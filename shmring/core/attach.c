/* attach.c - birth of a ring, and the ladder by which processes come and go.
 *
 * Byte locks on the segment, through each attachment's own token (os.h): byte 0 is the *lifecycle* lock, held for the few
 * instructions of an attach, a detach, an unlink or the examination of a leftover; the first byte of entry i is held for
 * as long as its owner lives. Nothing here is on the path of a message.
 */
#include "attach.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "wait.h"

static const uint64_t LIFECYCLE_BYTE = 0;
static const int64_t LIFECYCLE_PATIENCE_NS = INT64_C(10000000000);

static uint64_t slot_byte(const struct sr_endpoint *self, uint32_t slot) {
    return self->at + self->geometry.attachments_offset + slot * sizeof(struct sr_attachment);
}

static bool lock_lifecycle(const struct sr_endpoint *self) {
    int64_t give_up = sr_os_monotonic_ns() + LIFECYCLE_PATIENCE_NS;
    while (!sr_os_token_lock(self->token, self->at + LIFECYCLE_BYTE)) {
        if (sr_os_monotonic_ns() > give_up)
            return false;
        sr_os_sleep_ns(200000);
    }
    return true;
}

void sr_format(void *base, const struct sr_geometry *plan, const struct sr_birth *birth) {
    struct sr_header *header = base;
    header->magic = SR_MAGIC;
    header->layout_version = SR_LAYOUT_VERSION;
    header->byte_order = SR_BYTE_ORDER_MARK;
    header->kind = plan->kind;
    header->flags = birth->flags;
    header->attachment_count = SR_ATTACHMENTS;
    header->segment_size = plan->segment_size;
    header->capacity = plan->capacity;
    header->granules = plan->granules;
    header->slots = plan->slots;
    header->attachments_offset = plan->attachments_offset;
    header->words_offset = plan->words_offset;
    header->arena_offset = plan->arena_offset;
    header->identity = birth->identity;
    header->created_ns = (uint64_t)sr_os_realtime_ns();
    header->creator_pid = sr_os_process_id();
    header->mode = birth->mode;
    strncpy(header->name, birth->name, SR_NAME_BYTES - 1);
    strncpy(header->codec, birth->codec, SR_CODEC_BYTES - 1);
    uint64_t first = sr_first_position(plan);
    SR_STORE(&header->write_position, plan->kind == SR_KIND_LATEST ? 0 : first, relaxed);
    SR_STORE(&header->read_position, first, relaxed);
    SR_STORE(&header->reclaim_position, first, relaxed);
    SR_STORE(&header->state, SR_SEGMENT_READY, release); /* SYNC: ring-born (release) */
}

/* An entry that is free, or whose last owner's death nobody needs to hear of any more. */
static bool take_slot(struct sr_endpoint *self, enum sr_attachment_state wanted) {
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++) {
        struct sr_attachment *entry = &self->attachments[slot];
        uint64_t state = SR_LOAD(&entry->state, acquire); /* SYNC: entry-repaired (acquire) */
        if ((state & 0xff) != wanted || !sr_os_token_lock(self->token, slot_byte(self, slot)))
            continue;
        uint64_t epoch = ((state >> 8) + 1) & ((1u << SR_EPOCH_BITS) - 1);
        self->slot = slot;
        self->owner = epoch << SR_SLOT_BITS | slot;
        self->self = entry;
        uint64_t now = (uint64_t)sr_os_realtime_ns();
        SR_STORE(&entry->pid, sr_os_process_id(), relaxed);
        SR_STORE(&entry->roles, 0, relaxed);
        SR_STORE(&entry->attached_ns, now, relaxed);
        SR_STORE(&entry->active_ns, now, relaxed);
        SR_STORE(&entry->died_ns, 0, relaxed);
        SR_STORE(&entry->base_put, SR_LOAD(&entry->messages_put, relaxed), relaxed);
        SR_STORE(&entry->base_got, SR_LOAD(&entry->messages_got, relaxed), relaxed);
        SR_STORE(&entry->state, epoch << 8 | SR_SLOT_ATTACHED, release); /* SYNC: entry-taken (release) */
        return true;
    }
    return false;
}

enum sr_result sr_attach(struct sr_endpoint *self, int segment_fd, bool inherited) {
    self->token = sr_os_token_open(segment_fd);
    if (self->token < 0)
        return SR_SYSTEM_ERROR;
    enum sr_result result = SR_HELD_UP;
    if (lock_lifecycle(self)) {
        if (!inherited && SR_LOAD(&self->header->state, acquire) != SR_SEGMENT_READY)
            result = SR_RETIRED;
        else if (take_slot(self, SR_SLOT_FREE) || take_slot(self, SR_SLOT_DIED))
            result = SR_OK;
        else
            result =
                sr_reap(self) && (take_slot(self, SR_SLOT_FREE) || take_slot(self, SR_SLOT_DIED)) ? SR_OK : SR_NO_SLOT;
        sr_os_token_unlock(self->token, self->at + LIFECYCLE_BYTE);
    }
    if (result != SR_OK) {
        int error = errno;
        sr_os_token_close(self->token);
        self->token = -1;
        errno = error;
    }
    return result;
}

enum sr_result sr_detach(struct sr_endpoint *self, bool *abandoned) {
    *abandoned = false;
    sr_give_role_back(self, SR_ROLE_PRODUCER);
    sr_give_role_back(self, SR_ROLE_CONSUMER);
    if (self->subscribed) {
        sr_topic_unsubscribe(self, self->slot);
        sr_event_notify(&self->header->room, SR_WAKE_ALL);
    }
    /* Without the lock we leave all the same; the ring then stays until somebody looks at it. */
    bool locked = lock_lifecycle(self);
    uint64_t epoch = self->owner >> SR_SLOT_BITS;
    SR_STORE(&self->self->state, epoch << 8 | SR_SLOT_FREE, release); /* SYNC: entry-repaired (release) */
    sr_os_token_unlock(self->token, slot_byte(self, self->slot));
    if (!locked)
        return SR_OK;
    sr_reap(self);
    uint32_t flags = self->header->flags;
    bool alone = sr_count_living(self) == 0;
    if (!(flags & SR_FLAG_NAMED)) {
        *abandoned = alone; /* not retired: a handle may be on its way to a process that will attach */
        return SR_OK;
    }
    struct sr_contents contents;
    enum sr_result result = sr_contents_read(self, &contents);
    if (result != SR_OK)
        return result;
    bool stopped = SR_LOAD(&self->header->shutdown, acquire) == SR_STOPPED;
    bool empty = stopped || contents.undelivered + contents.claimed == 0;
    if (alone && empty && !(flags & SR_FLAG_PERSIST)) {
        SR_STORE(&self->header->state, SR_SEGMENT_RETIRED, release); /* read under the lifecycle lock */
        *abandoned = true;
    }
    return SR_OK;
}

void sr_detach_finish(struct sr_endpoint *self) {
    /* By name: a child forked meanwhile may hold a copy of the token, which would keep the lock. */
    sr_os_token_unlock(self->token, self->at + LIFECYCLE_BYTE);
    sr_os_token_close(self->token);
    self->token = -1;
}

void sr_forsake(struct sr_endpoint *self) {
    if (self->geometry.kind == SR_KIND_SPSC || self->geometry.kind == SR_KIND_LATEST)
        return; /* nothing was published, and read_position has not moved */
    uint64_t returned;
    (void)sr_mpmc_repair(self, self->owner, &returned); /* Corrupt shows to whoever comes next */
    if (self->geometry.kind == SR_KIND_SEMAPHORE)
        sr_semaphore_top_up(self);
    sr_event_notify(&self->header->items, SR_WAKE_ALL);
    sr_event_notify(&self->header->room, SR_WAKE_ALL);
}

void sr_forget(struct sr_endpoint *self) {
    if (self->token >= 0)
        sr_os_token_close(self->token);
    self->token = -1;
    self->self = NULL;
    self->roles = 0;
    SR_STORE(&self->reaping, 0, relaxed); /* perhaps by a thread that the fork did not copy */
}

enum sr_os_liveness sr_liveness(const struct sr_endpoint *self, uint32_t slot) {
    if (self->self == &self->attachments[slot])
        return SR_OS_ALIVE;
    return sr_os_token_probe(self->token, slot_byte(self, slot));
}

static bool owner_lives(const struct sr_endpoint *self, uint64_t owner) {
    uint32_t slot = owner & (SR_ATTACHMENTS - 1);
    uint64_t epoch = (owner & ~SR_HELD) >> SR_SLOT_BITS;
    uint64_t state = SR_LOAD(&self->attachments[slot].state, acquire);
    if (state != (epoch << 8 | SR_SLOT_ATTACHED))
        return false;
    return sr_liveness(self, slot) != SR_OS_DEAD;
}

/* A role that one has at a time; its holder stands in role_owner. */
static bool is_exclusive(const struct sr_endpoint *self, uint32_t role) {
    return self->geometry.kind == SR_KIND_SPSC || (self->geometry.kind == SR_KIND_LATEST && role == SR_ROLE_PRODUCER);
}

/* Whoever takes a role is the successor of those who died in it: nobody needs to hear of them any more. */
static void forget_the_dead(struct sr_endpoint *self, uint32_t role) {
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++) {
        struct sr_attachment *entry = &self->attachments[slot];
        uint64_t state = SR_LOAD(&entry->state, acquire);
        if ((state & 0xff) == SR_SLOT_DIED && SR_LOAD(&entry->roles, relaxed) & role)
            SR_CAS(&entry->state, &state, (state & ~UINT64_C(0xff)) | SR_SLOT_FREE, acq_rel);
    }
}

enum sr_result sr_take_role(struct sr_endpoint *self, uint32_t role, uint32_t *holder_slot) {
    if (self->roles & role)
        return SR_OK;
    if (is_exclusive(self, role)) {
        sr_atomic_u64 *place = &self->header->role_owner[role == SR_ROLE_CONSUMER];
        uint64_t holder = 0;
        /* SYNC: role-passed (acquire; pairs with the release in sr_give_role_back): the predecessor's positions. */
        while (!SR_CAS(place, &holder, self->owner | SR_HELD, acq_rel)) {
            *holder_slot = holder & (SR_ATTACHMENTS - 1);
            if (owner_lives(self, holder))
                return SR_BUSY;
            sr_reap(self);
            SR_CAS(place, &holder, 0, acq_rel);
            holder = 0;
        }
        enum sr_result result = self->geometry.kind == SR_KIND_SPSC ? sr_spsc_adopt(self, role) : SR_OK;
        if (result != SR_OK)
            return result;
    }
    self->roles |= role;
    SR_STORE(&self->self->roles, self->roles, release);
    SR_STORE(&self->self->active_ns, (uint64_t)sr_os_realtime_ns(), relaxed);
    forget_the_dead(self, role);
    return SR_OK;
}

void sr_give_role_back(struct sr_endpoint *self, uint32_t role) {
    if (!(self->roles & role))
        return;
    self->roles &= ~role;
    SR_STORE(&self->self->roles, self->roles, release);
    if (is_exclusive(self, role)) {
        uint64_t mine = self->owner | SR_HELD;
        /* SYNC: role-passed (release) */
        SR_CAS(&self->header->role_owner[role == SR_ROLE_CONSUMER], &mine, 0, acq_rel);
    }
}

/* Winning the dead entry's lock elects the one who repairs; if that one dies too, its lock goes to the next. */
static bool reap_slot(struct sr_endpoint *self, uint32_t slot) {
    struct sr_attachment *entry = &self->attachments[slot];
    uint64_t byte = slot_byte(self, slot);
    uint64_t state = SR_LOAD(&entry->state, acquire); /* SYNC: entry-taken (acquire) */
    if ((state & 0xff) != SR_SLOT_ATTACHED || self->self == entry || !sr_os_token_lock(self->token, byte))
        return false;
    bool dead = SR_LOAD(&entry->state, acquire) == state;
    if (dead) {
        uint64_t owner = (state >> 8) << SR_SLOT_BITS | slot;
        uint32_t roles = SR_LOAD(&entry->roles, acquire);
        SR_STORE(&entry->died_ns, (uint64_t)sr_os_realtime_ns(), relaxed);
        if (self->geometry.kind == SR_KIND_SPSC || self->geometry.kind == SR_KIND_LATEST) {
            for (int side = 0; side < 2; side++) {
                uint64_t holder = owner | SR_HELD;
                SR_CAS(&self->header->role_owner[side], &holder, 0, acq_rel);
            }
        } else {
            uint64_t returned;
            (void)sr_mpmc_repair(self, owner, &returned); /* Corrupt shows at the next operation */
            if (self->geometry.kind == SR_KIND_SEMAPHORE && self->semaphores.mutex)
                sr_semaphore_repair(self, owner);
            if (self->geometry.kind == SR_KIND_TOPIC)
                sr_topic_unsubscribe(self, slot);
        }
        SR_STORE(&entry->state, (state & ~UINT64_C(0xff)) | (roles ? SR_SLOT_DIED : SR_SLOT_FREE),
                 release); /* SYNC: entry-repaired (release) */
        sr_event_notify(&self->header->items, SR_WAKE_ALL);
        sr_event_notify(&self->header->room, SR_WAKE_ALL);
    }
    sr_os_token_unlock(self->token, byte);
    return dead;
}

int sr_reap(struct sr_endpoint *self) {
    /* Locks exclude tokens, not the threads that share one. */
    uint32_t idle = 0;
    if (!SR_CAS(&self->reaping, &idle, 1, acq_rel))
        return 0;
    int reaped = 0;
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++)
        reaped += reap_slot(self, slot);
    SR_STORE(&self->reaping, 0, release);
    return reaped;
}

struct sr_peers sr_peers_of(const struct sr_endpoint *self, uint32_t role) {
    struct sr_peers peers = {0};
    uint64_t last_death = 0;
    uint64_t last_comer = 0; /* of those who have not said yet what they are */
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++) {
        struct sr_attachment *entry = &self->attachments[slot];
        uint64_t state = SR_LOAD(&entry->state, acquire) & 0xff;
        uint32_t roles = SR_LOAD(&entry->roles, acquire);
        uint64_t came = SR_LOAD(&entry->attached_ns, relaxed), died = SR_LOAD(&entry->died_ns, relaxed);
        if (state == SR_SLOT_ATTACHED && !roles && came > last_comer)
            last_comer = came;
        if (!(roles & role))
            continue;
        peers.alive += state == SR_SLOT_ATTACHED;
        peers.died += state == SR_SLOT_DIED;
        if (state == SR_SLOT_DIED && died > last_death)
            last_death = died;
    }
    peers.alive += last_death && last_comer > last_death; /* whoever came after the death may be the successor */
    return peers;
}

int sr_count_living(struct sr_endpoint *self) {
    int living = 0;
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++)
        if ((SR_LOAD(&self->attachments[slot].state, acquire) & 0xff) == SR_SLOT_ATTACHED)
            living += sr_os_token_probe(self->token, slot_byte(self, slot)) != SR_OS_DEAD;
    return living;
}
