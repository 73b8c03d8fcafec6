/* queue/links.c - the links of a queue as one process has them: mapping them, being in them, walking over all of them. */
#include <errno.h>
#include <stdlib.h>

#include "os/memory.h"
#include "queue/queue.h"
#include "wait/watch.h"

static const int64_t REPAIR_PATIENCE_NS = 1000000000;

void sr_queue_format(void *base, uint64_t control_at, uint64_t maxsize, uint64_t max_bytes, uint64_t capacity) {
    struct sr_control *control = (struct sr_control *)(void *)((unsigned char *)base + control_at);
    control->maxsize = maxsize;
    control->max_bytes = max_bytes;
    control->capacity = capacity;
    SR_STORE(&control->table[0].length, control_at, relaxed); /* link 0 begins the file, and ends here */
    SR_STORE(&control->magic, SR_QUEUE_MAGIC, release);
}

/* --- who is in which link --- */

/* Says in our entry which is the oldest link that we are in. */
static void pin(struct sr_queue *self, uint64_t pinned) {
    self->pinned = pinned;
    SR_STORE(&self->root->self->cursor, pinned, release); /* SYNC: link-pinned (release): what we did there is done */
}

/* One more is in a link, which may be finished. */
static void step_in(struct sr_queue *self, struct sr_link *link) {
    link->users++;
    if (self->root->self && (!self->pinned || link->index + 1 < self->pinned))
        pin(self, link->index + 1);
}

void sr_queue_enter(struct sr_queue *self, struct sr_link *link) { step_in(self, link); }

static void repin(struct sr_queue *self) {
    uint64_t oldest = 0;
    for (const struct sr_link *link = self->links; link; link = link->next)
        if (link->users && (!oldest || link->index + 1 < oldest))
            oldest = link->index + 1;
    pin(self, oldest);
}

void sr_queue_leave(struct sr_queue *self, struct sr_link *link) {
    if (--link->users == 0 && self->root->self && self->pinned == link->index + 1)
        repin(self);
}

enum sr_result sr_queue_try_enter(struct sr_queue *self, struct sr_link *link) {
    step_in(self, link);
    sr_light_fence(); /* SYNC: link-pinned (the pin before the look; other side: sr_queue_oldest_pin in queue.c) */
    if (SR_LIKELY(SR_LOAD(&self->control->first, acquire) <= link->index))
        return SR_OK;
    sr_queue_leave(self, link);
    return SR_STALE;
}

uint64_t sr_queue_oldest_pin(struct sr_queue *self) {
    uint64_t oldest = UINT64_MAX;
    sr_heavy_fence(); /* SYNC: link-pinned (first was raised before the look for pins) */
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++) {
        struct sr_attachment *entry = &self->root->attachments[slot];
        if (sr_entry_state(SR_LOAD(&entry->state, acquire)) != SR_SLOT_ATTACHED)
            continue;
        uint64_t pinned = SR_LOAD(&entry->cursor, acquire); /* SYNC: link-pinned (acquire) */
        if (pinned && pinned - 1 < oldest)
            oldest = pinned - 1;
    }
    return oldest;
}

/* --- mapping them --- */

/* The endpoint of a link is ours through the root's entry, locks and liveness. */
static void bind(struct sr_queue *self, struct sr_link *link) {
    struct sr_endpoint *endpoint = &link->endpoint, *root = self->root;
    endpoint->root = root;
    endpoint->attachments = root->attachments;
    endpoint->self = root->self;
    endpoint->owner = root->owner;
    endpoint->slot = root->slot;
    endpoint->locks = root->locks;
    endpoint->at = root->at;
    link->forks = self->forks;
}

/* The bytes of a link, which are guarded from now on. */
static enum sr_result map(struct sr_queue *self, struct sr_link *link) {
    int file = sr_os_memory_file(self->root->locks, self->file);
    void *base = file < 0 ? NULL : sr_os_memory_map(file, link->offset, link->length);
    if (!base)
        return errno == EFAULT ? SR_CORRUPT : SR_SYSTEM_ERROR;
    if (sr_os_memory_guard(base, link->length, &self->root->damaged)) {
        link->base = base;
        return SR_OK;
    }
    sr_os_memory_unmap(base, link->length);
    errno = ENOMEM;
    return SR_SYSTEM_ERROR;
}

static void unmap(struct sr_queue *self, struct sr_link *link) {
    if (link->index && link->base) {
        int error = errno;
        sr_watch_forget(link->base, link->length);
        sr_os_memory_unguard(link->base, &self->root->damaged);
        sr_os_memory_unmap(link->base, link->length);
        errno = error;
    }
    link->base = NULL;
}

static enum sr_result read_header(struct sr_queue *self, struct sr_link *link) {
    struct sr_geometry geometry;
    enum sr_result result = sr_geometry_read(&geometry, link->base, link->length);
    if (result != SR_OK || geometry.kind != SR_KIND_MPMC)
        return SR_CORRUPT;
    sr_endpoint_bind(&link->endpoint, link->base, &geometry);
    bind(self, link);
    return SR_OK;
}

/* What stands in the table is anybody's who has the queue: it must be a place that there is. */
static bool lies_in_file(const struct sr_queue *self, const struct sr_link *link) {
    int file = sr_os_memory_file(self->root->locks, self->file);
    uint64_t end;
    if (file < 0 || !sr_os_memory_lengthen(file, 0, &end))
        return true; /* it is told by the attempt */
    return link->length && link->offset % sr_os_memory_granularity() == 0 && link->offset <= end &&
           link->length <= end - link->offset;
}

static enum sr_result open_link(struct sr_queue *self, struct sr_link *link) {
    const struct sr_link_entry *entry = &self->control->table[link->index % SR_QUEUE_LINKS];
    uint64_t length = SR_LOAD(&entry->length, relaxed); /* written before last was raised */
    link->offset = SR_LOAD(&entry->offset, relaxed);
    link->length = length & ~(uint64_t)SR_QUEUE_SINGLE;
    link->single = length & SR_QUEUE_SINGLE;
    if (!link->index) { /* everybody has it mapped */
        link->base = self->root->header;
        link->length = self->root->geometry.segment_size;
        sr_endpoint_bind(&link->endpoint, link->base, &self->root->geometry);
        bind(self, link);
        return SR_OK;
    }
    enum sr_result result = lies_in_file(self, link) ? map(self, link) : SR_CORRUPT;
    if (result == SR_OK && (result = read_header(self, link)) != SR_OK)
        unmap(self, link);
    uint64_t shutdown = SR_LOAD(&self->control->shutdown, acquire);
    if (result == SR_OK && shutdown) /* whoever linked it may have died before he saw that */
        sr_shut_down(&link->endpoint, (enum sr_shutdown)shutdown);
    return result;
}

/* Out of the list, and of memory. */
static void drop_link(struct sr_queue *self, struct sr_link *link) {
    for (struct sr_link **at = &self->links; *at; at = &(*at)->next)
        if (*at == link) {
            *at = link->next;
            break;
        }
    if (self->put == link)
        self->put = NULL;
    if (self->get == link)
        self->get = NULL;
    unmap(self, link);
    free(link);
}

void sr_queue_drop_links(struct sr_queue *self) {
    uint64_t first = SR_LOAD(&self->control->first, acquire);
    for (struct sr_link *link = self->links, *next; link; link = next) {
        next = link->next;
        if (link->index < first && !link->users && !link->kept)
            drop_link(self, link);
    }
}

static struct sr_link *known(const struct sr_queue *self, uint64_t index) {
    struct sr_link *link = self->links;
    while (link && link->index != index)
        link = link->next;
    return link;
}

static struct sr_link *add_link(struct sr_queue *self, uint64_t index) {
    struct sr_link *link = calloc(1, sizeof *link);
    if (!link) {
        errno = ENOMEM;
        return NULL;
    }
    link->index = index;
    link->next = self->links;
    self->links = link;
    return link;
}

enum sr_result sr_queue_open_link(struct sr_queue *self, uint64_t index, struct sr_link **found) {
    struct sr_link *link = known(self, index);
    if (!link && !(link = add_link(self, index)))
        return SR_SYSTEM_ERROR;
    enum sr_result result = sr_queue_try_enter(self, link);
    if (result == SR_OK && !link->base && (result = open_link(self, link)) != SR_OK) {
        /* One who only looks may have seen a finished link's place as another uses it. */
        if (SR_LOAD(&self->control->first, acquire) > index)
            result = SR_STALE;
        sr_queue_leave(self, link);
    }
    if (result != SR_OK) {
        if (!link->base)
            drop_link(self, link);
        return result;
    }
    if (SR_UNLIKELY(link->forks != self->forks))
        bind(self, link);
    *found = link;
    return SR_OK;
}

enum sr_result sr_queue_new_link(struct sr_queue *self, const struct sr_link *wanted, struct sr_link **found) {
    struct sr_link *link = add_link(self, wanted->index);
    if (!link)
        return SR_SYSTEM_ERROR;
    link->offset = wanted->offset;
    link->length = wanted->length;
    link->single = wanted->single;
    step_in(self, link);
    enum sr_result result = map(self, link);
    if (result == SR_OK)
        *found = link;
    else
        sr_queue_forget_link(self, link);
    return result;
}

enum sr_result sr_queue_bind_new(struct sr_queue *self, struct sr_link *link) { return read_header(self, link); }

void sr_queue_forget_link(struct sr_queue *self, struct sr_link *link) {
    sr_queue_leave(self, link);
    drop_link(self, link);
}

enum sr_result sr_queue_each_link(struct sr_queue *self, sr_link_visit visit, void *context) {
    enum sr_result result = SR_OK;
    for (uint64_t index = SR_LOAD(&self->control->first, acquire);
         result == SR_OK && index <= SR_LOAD(&self->control->last, acquire); index++) {
        struct sr_link *link;
        if (SR_UNLIKELY(sr_queue_is_too_far(SR_LOAD(&self->control->first, acquire), index)))
            return SR_CORRUPT;
        bool was_known = known(self, index);
        result = sr_queue_open_link(self, index, &link);
        if (result == SR_STALE) {
            result = SR_OK; /* nothing is in it any more */
            continue;
        }
        if (result != SR_OK)
            return result;
        result = visit(self, link, context);
        sr_queue_leave(self, link);
        if (!was_known && !link->users && link != self->put && link != self->get)
            drop_link(self, link); /* many links take much of an address space */
    }
    return result;
}

/* --- what attach.c asks of all links --- */

static enum sr_result repair_link(struct sr_queue *self, struct sr_link *link, void *context) {
    (void)self;
    const uint64_t *dead_owner = context;
    uint64_t returned;
    (void)sr_mpmc_repair(&link->endpoint, *dead_owner, &returned); /* Corrupt shows at the next operation */
    sr_line_repair(&link->endpoint, *dead_owner);
    sr_event_notify(&link->endpoint.header->items, SR_WAKE_ALL);
    sr_event_notify(&link->endpoint.header->room, SR_WAKE_ALL);
    return SR_OK;
}

static bool repair_links(struct sr_further *further, uint64_t dead_owner) {
    struct sr_queue *self = (struct sr_queue *)further;
    /* One who comes has no entry yet, and can tell nobody which links he is in: so nothing may be buried meanwhile. */
    bool unpinned = !self->root->self;
    if (unpinned && sr_queue_lock(self, NULL, REPAIR_PATIENCE_NS) != SR_OK)
        return false;
    enum sr_result result = sr_queue_each_link(self, repair_link, &dead_owner);
    if (unpinned)
        sr_queue_unlock(self);
    uint64_t ticket = SR_LOAD(&self->control->wanter, relaxed);
    if (ticket && (ticket & ((1u << SR_OWNER_BITS) - 1)) == dead_owner)
        SR_CAS(&self->control->wanter, &ticket, 0, relaxed);
    return result == SR_OK || result == SR_CORRUPT;
}

static enum sr_result add_contents(struct sr_queue *self, struct sr_link *link, void *context) {
    struct sr_contents *sum = context, contents;
    enum sr_result result = sr_contents_by_the_living(&link->endpoint, &contents);
    if (SR_LOAD(&self->control->first, acquire) > link->index)
        return SR_OK; /* finished as we looked: nothing was in it, and what we saw may be another's */
    if (result != SR_OK)
        return result;
    sum->ready += contents.ready;
    sum->claimed += contents.claimed;
    sum->taken += contents.taken;
    sum->undelivered += contents.undelivered;
    sum->used_granules += contents.used_granules;
    return SR_OK;
}

static enum sr_result contents(struct sr_further *further, struct sr_contents *sum) {
    struct sr_queue *self = (struct sr_queue *)further;
    *sum = (struct sr_contents){0};
    if (SR_LOAD(&self->control->shutdown, acquire) == SR_STOPPED)
        return SR_OK; /* what is left is thrown away */
    return sr_queue_each_link(self, add_contents, sum);
}

/* --- opening and closing --- */

enum sr_result sr_queue_open(struct sr_queue *self, struct sr_endpoint *root, void *base, uint64_t mapped, int file) {
    uint64_t at = root->geometry.segment_size;
    struct sr_control *control = (struct sr_control *)(void *)((unsigned char *)base + at);
    if (mapped < at + sizeof *control || SR_LOAD(&control->magic, acquire) != SR_QUEUE_MAGIC)
        return SR_CORRUPT;
    *self = (struct sr_queue){.further = {repair_links, contents},
                              .root = root,
                              .control = control,
                              .control_at = at,
                              .afford = self->afford,
                              .context = self->context};
    self->file = file;
    self->counts = control->maxsize != 0;
    root->further = &self->further;
    return SR_OK;
}

void sr_queue_after_fork(struct sr_queue *self) {
    self->untidy = 0;
    self->locked = false; /* perhaps by a thread that the fork did not copy */
    self->put = self->get = NULL;
    for (struct sr_link *link = self->links; link; link = link->next) {
        link->kept |= link->users != 0;
        link->users = 0;
        SR_STORE(&link->endpoint.closing, 0, relaxed);
    }
}

void sr_queue_arrive(struct sr_queue *self) {
    self->forks++; /* the links are bound anew */
    self->put = self->get = NULL;
    self->granted = 0;
    self->untidy = 0;
    pin(self, 0); /* the last owner of the entry may have died in a link */
}

void sr_queue_close(struct sr_queue *self) {
    while (self->links)
        drop_link(self, self->links);
    if (self->root)
        self->root->further = NULL;
}

int64_t sr_queue_pending(struct sr_queue *self) {
    int64_t sum = 0;
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++)
        sum += (int64_t)SR_LOAD(&self->control->pending[slot], acquire);
    return sum;
}

uint64_t sr_queue_reserved(struct sr_queue *self) {
    uint64_t total = 0, first = SR_LOAD(&self->control->first, acquire), last = SR_LOAD(&self->control->last, acquire);
    for (uint64_t index = first; index <= last && !sr_queue_is_too_far(first, index); index++) {
        uint64_t length = SR_LOAD(&self->control->table[index % SR_QUEUE_LINKS].length, relaxed);
        /* A single has storage for its message, which is half of its arena. */
        total += length & SR_QUEUE_SINGLE ? sr_queue_single_bytes(length / 2) : length;
    }
    return total;
}
