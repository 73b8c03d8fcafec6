/* attach.c - birth of a ring, and the ladder by which processes come and go.
 *
 * Byte locks on the segment's file, or on one beside it (os.h): byte 0 is the *lifecycle* lock, taken for the few instructions of an attach, a
 * detach, an unlink or the examination of a leftover; the first byte of entry i is held for as long as its owner lives;
 * byte 1 is held, shared, by whoever is attached, and inherited by the children that it forks: so nobody takes a ring for
 * abandoned that a child has and has not attached to yet. Nothing here is on the path of a message.
 */
#include "attach.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "wait/wait.h"

static const int64_t PATIENCE_LEAVING_NS = INT64_C(1000000000);

static uint64_t slot_byte(const struct sr_endpoint *self, uint32_t slot) {
    return self->at + self->geometry.attachments_offset + slot * sizeof(struct sr_attachment);
}

/* SR_OK, SR_HELD_UP or SR_SYSTEM_ERROR. */
static enum sr_result lock_lifecycle(const struct sr_endpoint *self, int64_t patience_ns) {
    int64_t give_up = sr_os_monotonic_ns() + patience_ns;
    for (;;) {
        enum sr_os_lock lock = sr_os_lock(self->locks, self->at + SR_LIFECYCLE_BYTE);
        if (lock != SR_OS_LOCK_HELD)
            return lock == SR_OS_LOCKED ? SR_OK : SR_SYSTEM_ERROR;
        if (sr_os_monotonic_ns() >= give_up)
            return SR_HELD_UP;
        sr_os_sleep_ns(200000);
    }
}

static uint64_t next_in_order(struct sr_endpoint *self) {
    return SR_ADD(&self->header->order, 1, relaxed) + 1; /* the words that carry it order everything else */
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

void sr_locks_path(char *path, size_t size, const char *ring, uint64_t identity) {
    const char *slash = strrchr(ring, '/');
    snprintf(path, size, "%.*sshmring-%016llx.locks", slash ? (int)(slash - ring) + 1 : 0, ring,
             (unsigned long long)identity);
}

/* An entry that is free, or whose last owner's death nobody needs to hear of any more. SR_NO_SLOT: there is none. */
static enum sr_result take_slot(struct sr_endpoint *self, int locks_fd, enum sr_attachment_state wanted) {
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++) {
        struct sr_attachment *entry = &self->attachments[slot];
        uint64_t state = SR_LOAD(&entry->state, acquire); /* SYNC: entry-repaired (acquire) */
        if (sr_entry_state(state) != wanted)
            continue;
        enum sr_os_lock lock = sr_os_hold(&self->token, locks_fd, slot_byte(self, slot), SR_OS_ALONE);
        if (lock == SR_OS_LOCK_REFUSED)
            return SR_SYSTEM_ERROR;
        if (lock == SR_OS_LOCK_HELD)
            continue;
        uint64_t epoch = (sr_entry_epoch(state) + 1) & ((1u << SR_EPOCH_BITS) - 1);
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
        SR_STORE(&entry->state, sr_entry_word(next_in_order(self), epoch, SR_SLOT_ATTACHED),
                 release); /* SYNC: entry-taken (release) */
        return SR_OK;
    }
    return SR_NO_SLOT;
}

/* Under the lifecycle lock. */
static enum sr_result enter(struct sr_endpoint *self, const struct sr_arrival *arrival) {
    if (!arrival->inherited && SR_LOAD(&self->header->state, acquire) != SR_SEGMENT_READY)
        return SR_RETIRED;
    if (sr_reap(self) < 0)
        return SR_SYSTEM_ERROR;
    void *claim = NULL;
    if (sr_os_hold(&claim, arrival->locks_fd, self->at + SR_CLAIM_BYTE, SR_OS_SHARED_AND_INHERITED) != SR_OS_LOCKED)
        return SR_SYSTEM_ERROR;
    enum sr_result result = take_slot(self, arrival->locks_fd, SR_SLOT_FREE);
    if (result == SR_NO_SLOT)
        result = take_slot(self, arrival->locks_fd, SR_SLOT_DIED);
    if (result != SR_OK) {
        int error = errno;
        sr_os_let_go(&claim);
        errno = error;
        return result;
    }
    sr_os_let_go(&self->claim); /* an inherited one: we live on our own from here on */
    self->claim = claim;
    return SR_OK;
}

enum sr_result sr_attach(struct sr_endpoint *self, const struct sr_arrival *arrival) {
    self->locks = sr_os_locks_open(arrival->locks_fd, arrival->path);
    if (self->locks < 0)
        return SR_SYSTEM_ERROR;
    enum sr_result result = lock_lifecycle(self, arrival->patience_ns);
    if (result == SR_OK) {
        result = enter(self, arrival);
        int error = errno;
        sr_os_unlock(self->locks, self->at + SR_LIFECYCLE_BYTE);
        errno = error;
    }
    if (result != SR_OK) {
        int error = errno;
        sr_os_locks_close(self->locks);
        self->locks = -1;
        errno = error;
    }
    return result;
}

/* Once nobody is attached that has a name for it: is it nobody's for good? Under the lifecycle lock. */
static enum sr_result retire_if_abandoned(struct sr_endpoint *self, bool *abandoned) {
    struct sr_contents contents;
    enum sr_result result = sr_contents_by_the_living(self, &contents);
    if (result != SR_OK)
        return result;
    bool stopped = SR_LOAD(&self->header->shutdown, acquire) == SR_STOPPED;
    bool empty = stopped || contents.undelivered + contents.claimed == 0;
    /* Pages that were taken away read as zeros, which say that nothing is there; they decide nothing. */
    if (!empty || self->geometry.flags & SR_FLAG_PERSIST || SR_LOAD(&self->damaged, acquire))
        return SR_OK;
    SR_STORE(&self->header->state, SR_SEGMENT_RETIRED, release); /* read under the lifecycle lock */
    *abandoned = true;
    return SR_OK;
}

enum sr_result sr_detach(struct sr_endpoint *self, bool *abandoned) {
    *abandoned = false;
    if (SR_LOAD(&self->damaged, acquire)) { /* as if we had been killed: what we hold is for others to mend */
        sr_os_let_go(&self->token);
        sr_os_let_go(&self->claim);
        return SR_OK;
    }
    sr_give_role_back(self, SR_ROLE_PRODUCER);
    sr_give_role_back(self, SR_ROLE_CONSUMER);
    if (self->subscribed) {
        sr_topic_unsubscribe(self, self->slot);
        sr_event_notify(&self->header->room, SR_WAKE_ALL);
    }
    /* Without the lock we leave all the same; the ring then stays until somebody looks at it. */
    bool locked = lock_lifecycle(self, PATIENCE_LEAVING_NS) == SR_OK;
    if (locked)
        sr_reap(self); /* while our entry says which links of a queue we are in */
    uint64_t epoch = self->owner >> SR_SLOT_BITS;
    SR_STORE(&self->self->state, sr_entry_word(0, epoch, SR_SLOT_FREE), release); /* SYNC: entry-repaired (release) */
    sr_os_let_go(&self->token);
    sr_os_let_go(&self->claim);
    if (!locked)
        return SR_OK;
    if (sr_count_living(self) || sr_is_claimed(self))
        return SR_OK;
    if (!(self->geometry.flags & SR_FLAG_NAMED)) {
        *abandoned = true; /* not retired: nobody can find it any more, and nobody comes */
        return SR_OK;
    }
    return retire_if_abandoned(self, abandoned);
}

void sr_detach_finish(struct sr_endpoint *self) {
    if (self->locks < 0)
        return;
    sr_os_unlock(self->locks,
                 self->at + SR_LIFECYCLE_BYTE); /* by name: a forked child may be about to close its copy */
    sr_os_locks_close(self->locks);
    self->locks = -1;
}

void sr_forsake(struct sr_endpoint *self) {
    if (self->geometry.kind == SR_KIND_SPSC || self->geometry.kind == SR_KIND_LATEST)
        return; /* nothing was published, and read_position has not moved */
    if (self->further) {
        (void)self->further->repair(self->further, self->owner);
        return;
    }
    uint64_t returned;
    (void)sr_mpmc_repair(self, self->owner, &returned); /* Corrupt shows to whoever comes next */
    sr_line_repair(self, self->owner);
    if (self->geometry.kind == SR_KIND_SEMAPHORE)
        sr_semaphore_top_up(self);
    sr_event_notify(&self->header->items, SR_WAKE_ALL);
    sr_event_notify(&self->header->room, SR_WAKE_ALL);
}

void sr_forget(struct sr_endpoint *self) {
    if (self->locks >= 0)
        sr_os_locks_close(self->locks);
    self->locks = -1;
    sr_os_let_go(&self->token); /* which is not here: the page was the parent's alone */
    self->self = NULL;
    self->roles = 0;
    SR_STORE(&self->reaping, 0, relaxed); /* perhaps by a thread that the fork did not copy */
}

enum sr_os_liveness sr_liveness(const struct sr_endpoint *self, uint32_t slot) {
    if (self->self == &self->attachments[slot])
        return SR_OS_ALIVE;
    return sr_os_probe(self->locks, slot_byte(self, slot));
}

static bool owner_lives(const struct sr_endpoint *self, uint64_t owner) {
    uint32_t slot = owner & (SR_ATTACHMENTS - 1);
    uint64_t epoch = (owner & ~SR_HELD) >> SR_SLOT_BITS;
    uint64_t state = SR_LOAD(&self->attachments[slot].state, acquire);
    if (sr_entry_state(state) != SR_SLOT_ATTACHED || sr_entry_epoch(state) != epoch)
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
        if (sr_entry_state(state) == SR_SLOT_DIED && SR_LOAD(&entry->roles, relaxed) & role)
            SR_CAS(&entry->state, &state, sr_entry_word(0, sr_entry_epoch(state), SR_SLOT_FREE), acq_rel);
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

void sr_note_subscribing(struct sr_endpoint *self) {
    self->roles |= SR_ROLE_SUBSCRIBES;
    SR_STORE(&self->self->roles, self->roles, release);
}

/* What the dead owner of this entry has left. Every step may be done twice: a repairer may die in any. False: it cannot be
 * done now, and somebody does it later. */
static bool repair(struct sr_endpoint *self, uint32_t slot, uint64_t owner) {
    if (self->further)
        return self->further->repair(self->further, owner);
    if (self->geometry.kind == SR_KIND_SPSC || self->geometry.kind == SR_KIND_LATEST) {
        for (int side = 0; side < 2; side++) {
            uint64_t holder = owner | SR_HELD;
            SR_CAS(&self->header->role_owner[side], &holder, 0, acq_rel);
        }
        return true;
    }
    uint64_t returned;
    (void)sr_mpmc_repair(self, owner, &returned); /* Corrupt shows at the next operation */
    sr_line_repair(self, owner);
    if (self->geometry.kind == SR_KIND_SEMAPHORE && self->semaphores.mutex)
        sr_semaphore_repair(self, owner);
    if (self->geometry.kind == SR_KIND_TOPIC)
        sr_topic_unsubscribe(self, slot);
    return true;
}

/* Winning the dead entry's lock elects the one who repairs; if that one dies too, its lock goes to the next. 1 for a death,
 * 0 for none, -1 when the kernel does not tell. */
static int reap_slot(struct sr_endpoint *self, uint32_t slot) {
    struct sr_attachment *entry = &self->attachments[slot];
    uint64_t byte = slot_byte(self, slot);
    uint64_t state = SR_LOAD(&entry->state, acquire); /* SYNC: entry-taken (acquire) */
    if (sr_entry_state(state) != SR_SLOT_ATTACHED || self->self == entry)
        return 0;
    enum sr_os_lock lock = sr_os_lock(self->locks, byte);
    if (lock != SR_OS_LOCKED)
        return lock == SR_OS_LOCK_HELD ? 0 : -1;
    bool dead = false;
    if (SR_LOAD(&entry->state, acquire) == state) {
        uint64_t epoch = sr_entry_epoch(state);
        uint32_t roles = SR_LOAD(&entry->roles, acquire);
        SR_STORE(&entry->died_ns, (uint64_t)sr_os_realtime_ns(), relaxed);
        dead = repair(self, slot, epoch << SR_SLOT_BITS | slot);
        if (dead)
            SR_STORE(&entry->state, sr_entry_word(next_in_order(self), epoch, roles ? SR_SLOT_DIED : SR_SLOT_FREE),
                     release); /* SYNC: entry-repaired (release) */
        sr_event_notify(&self->header->items, SR_WAKE_ALL);
        sr_event_notify(&self->header->room, SR_WAKE_ALL);
    }
    sr_os_unlock(self->locks, byte);
    return dead;
}

int sr_reap(struct sr_endpoint *self) {
    /* Locks exclude attachments, not the threads that share one. */
    uint32_t idle = 0;
    if (!SR_CAS(&self->reaping, &idle, 1, acq_rel))
        return 0;
    int reaped = 0;
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS && reaped >= 0; slot++) {
        int dead = reap_slot(self, slot);
        reaped = dead < 0 ? dead : reaped + dead;
    }
    SR_STORE(&self->reaping, 0, release);
    return reaped;
}

int sr_reap_in_turn(struct sr_endpoint *self, int64_t interval_ns) {
    /* A hint, and no more: one who dies, or stands still, after he said that he would look is followed by another an
     * interval later; and where clocks differ, all look. */
    uint64_t now = (uint64_t)sr_os_monotonic_ns();
    uint64_t last = SR_LOAD(&self->header->looked_ns, relaxed);
    if (now - last < (uint64_t)interval_ns || !SR_CAS(&self->header->looked_ns, &last, now, relaxed))
        return 0;
    int reaped = sr_reap(self);
    if (reaped < 0)
        SR_CAS(&self->header->looked_ns, &now, last, relaxed); /* we could not: let another */
    return reaped;
}

struct sr_peers sr_peers_of(const struct sr_endpoint *self, uint32_t role) {
    struct sr_peers peers = {0};
    uint64_t last_death = 0;
    uint64_t last_comer = 0; /* of those who have not said yet what they are */
    /* Whoever has a topic and does not subscribe is there to publish, though it may not have begun. */
    bool all_may = self->geometry.kind == SR_KIND_TOPIC && role == SR_ROLE_PRODUCER;
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++) {
        struct sr_attachment *entry = &self->attachments[slot];
        uint64_t word = SR_LOAD(&entry->state, acquire);
        enum sr_attachment_state state = sr_entry_state(word);
        uint32_t roles = SR_LOAD(&entry->roles, acquire);
        if (state == SR_SLOT_ATTACHED && !roles && sr_entry_order(word) > last_comer)
            last_comer = sr_entry_order(word);
        if (!(roles & role))
            continue;
        peers.alive += state == SR_SLOT_ATTACHED;
        peers.died += state == SR_SLOT_DIED;
        if (state == SR_SLOT_DIED && sr_entry_order(word) > last_death)
            last_death = sr_entry_order(word);
    }
    peers.alive += last_death && last_comer > (all_may ? 0 : last_death); /* who came after it may be the successor */
    return peers;
}

int sr_count_living(struct sr_endpoint *self) {
    int living = 0;
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++)
        if (sr_entry_state(SR_LOAD(&self->attachments[slot].state, acquire)) == SR_SLOT_ATTACHED)
            living += sr_os_probe(self->locks, slot_byte(self, slot)) != SR_OS_DEAD;
    return living;
}

enum sr_result sr_contents_by_the_living(struct sr_endpoint *self, struct sr_contents *contents) {
    if (self->further)
        return self->further->contents(self->further, contents);
    enum sr_result result = sr_contents_read(self, contents);
    for (uint32_t slot = 0; result == SR_OK && contents->taken && slot < SR_ATTACHMENTS; slot++) {
        uint64_t state = SR_LOAD(&self->attachments[slot].state, acquire);
        if (sr_entry_state(state) != SR_SLOT_ATTACHED || sr_liveness(self, slot) != SR_OS_DEAD)
            continue;
        uint64_t orphaned = sr_contents_taken_by(self, sr_entry_epoch(state) << SR_SLOT_BITS | slot);
        orphaned = orphaned < contents->taken ? orphaned : contents->taken; /* some may have been repaired meanwhile */
        contents->taken -= orphaned;
        contents->ready += orphaned;
    }
    return result;
}

bool sr_is_claimed(struct sr_endpoint *self) {
    if (sr_os_sees_lock(self->locks, self->at + SR_CLAIM_BYTE, 1))
        return true;
    if (!sr_os_sees_lock(self->locks, self->at + SR_SENT_BYTES, SR_SENT))
        return false;
    for (uint32_t i = 0; i < SR_SENT; i++)
        if ((uint32_t)SR_LOAD(&self->header->sent[i], acquire) &&
            sr_os_probe(self->locks, self->at + SR_SENT_BYTES + i) != SR_OS_DEAD)
            return true;
    return false;
}

/* Relaxed: the locks tell who counts, and nothing is published by a count. */
enum sr_result sr_sent_open(struct sr_endpoint *self, int locks, struct sr_sent *sent) {
    static sr_atomic_u32 numbers;
    for (uint32_t i = 0; i < SR_SENT; i++) {
        if (sr_os_lock(locks, self->at + SR_SENT_BYTES + i) != SR_OS_LOCKED)
            continue;
        uint32_t number = (uint32_t)sr_os_monotonic_ns() + SR_ADD(&numbers, 1, relaxed);
        SR_STORE(&self->header->sent[i], (uint64_t)number << 32, relaxed);
        *sent = (struct sr_sent){i, number};
        return SR_OK;
    }
    return SR_FULL;
}

static void count_sent(struct sr_endpoint *self, const struct sr_sent *sent, bool up) {
    sr_atomic_u64 *at = &self->header->sent[sent->index % SR_SENT];
    uint64_t word = SR_LOAD(at, relaxed);
    while (word >> 32 == sent->number && (up || (uint32_t)word))
        if (SR_CAS(at, &word, up ? word + 1 : word - 1, relaxed))
            return;
}

void sr_sent_note(struct sr_endpoint *self, const struct sr_sent *sent) { count_sent(self, sent, true); }
void sr_sent_arrived(struct sr_endpoint *self, const struct sr_sent *sent) { count_sent(self, sent, false); }

bool sr_sent_is_awaited(struct sr_endpoint *self, const struct sr_sent *sent) {
    uint64_t word = SR_LOAD(&self->header->sent[sent->index % SR_SENT], relaxed);
    return word >> 32 == sent->number && (uint32_t)word;
}
