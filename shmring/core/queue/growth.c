/* queue/growth.c - the lock of a queue, the linking of further rings, and the giving back of those that are drained.
 *
 * Whatever is written here is written under the lock, but for `stored`, which only rises. A death at any point leaves what
 * queue.h says; storage that the dead had taken and not linked is found again by the next who links, or cut off.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "os/memory.h"
#include "queue/queue.h"

#define MIB (UINT64_C(1) << 20)
static const uint64_t GROWN_MOST = 16 * MIB;   /* further rings double up to this, */
static const uint64_t RING_LARGEST = 64 * MIB; /* and are no larger for a large message, or for many of them */
static const uint64_t KEPT_MOST = 4;           /* times the first capacity: a larger ring is left once it is drained */
static const uint64_t STORED_FIRST = 64 << 10; /* bytes of storage that a ring takes at once; doubling, up to: */
static const uint64_t STORED_AT_ONCE = 512 << 10; /* a tenth of a millisecond */
static const uint64_t GRANTED_AT_ONCE = 4 * MIB;
static const int64_t LOCK_NAP_NS = 200000;
static const int64_t WANTER_PATIENCE_NS = 100000000;
static const int64_t SHRINK_INTERVAL_NS = 100000000;

static uint64_t pages(uint64_t bytes) { return (bytes + SR_PAGE - 1) / SR_PAGE * SR_PAGE; }
static uint64_t least(uint64_t one, uint64_t other) { return one < other ? one : other; }
static uint64_t most(uint64_t one, uint64_t other) { return one > other ? one : other; }

static void suspend_caller(const struct sr_wait *wait) {
    if (wait)
        wait->hooks->suspend(wait->context);
}
static void resume_caller(const struct sr_wait *wait) {
    if (wait)
        wait->hooks->resume(wait->context);
}

/* --- the lock --- */

static bool nap(const struct sr_wait *wait, int64_t duration_ns) {
    suspend_caller(wait);
    sr_os_sleep_ns(duration_ns);
    bool interrupted = wait && wait->hooks->interrupted(wait->context);
    resume_caller(wait);
    return interrupted;
}

enum sr_result sr_queue_lock(struct sr_queue *self, const struct sr_wait *wait, int64_t patience_ns) {
    int64_t give_up = patience_ns ? sr_os_monotonic_ns() + patience_ns : 0;
    for (;;) {
        /* The kernel's excludes other processes, and not the threads of ours. */
        enum sr_os_lock lock = self->locked ? SR_OS_LOCK_HELD : sr_os_lock(self->root->locks, self->control_at);
        if (lock == SR_OS_LOCKED) {
            self->locked = true;
            return SR_OK;
        }
        if (lock == SR_OS_LOCK_REFUSED)
            return SR_SYSTEM_ERROR;
        if (!give_up || sr_os_monotonic_ns() >= give_up)
            return SR_CONTENDED;
        if (SR_LOAD(&self->root->closing, relaxed))
            return SR_CLOSED;
        if (nap(wait, LOCK_NAP_NS))
            return SR_INTERRUPTED;
    }
}

void sr_queue_unlock(struct sr_queue *self) {
    self->locked = false;
    sr_os_unlock(self->root->locks, self->control_at);
}

/* --- storage --- */

#ifndef EDQUOT /* Windows, where such a refusal is ENOSPC */
#define EDQUOT ENOSPC
#endif

static enum sr_result refused(void) {
    bool is_want = errno == ENOSPC || errno == EDQUOT || errno == ENOMEM || errno == EFBIG;
    return is_want ? SR_NO_SPACE : SR_SYSTEM_ERROR;
}

static enum sr_result reserve(int file, uint64_t offset, uint64_t length) {
    for (uint64_t done = 0; done < length;) {
        uint64_t step = least(length - done, 2 * MIB); /* a signal makes the kernel begin a step again */
        if (!sr_os_memory_reserve(file, offset + done, step))
            return refused();
        done += step;
    }
    return SR_OK;
}

/* May we take so much of what a container has? Asked for some in advance. */
static enum sr_result afford(struct sr_queue *self, uint64_t bytes) {
    if (!self->afford || self->granted >= bytes)
        return SR_OK;
    enum sr_result result = self->afford(self->context, most(bytes, GRANTED_AT_ONCE));
    if (result == SR_NO_SPACE && bytes < GRANTED_AT_ONCE)
        result = self->afford(self->context, bytes);
    else if (result == SR_OK)
        self->granted = most(bytes, GRANTED_AT_ONCE);
    return result;
}

static void spend(struct sr_queue *self, uint64_t bytes) { self->granted -= least(self->granted, bytes); }

static void note_stored(struct sr_link *link, uint64_t granules) {
    sr_atomic_u64 *stored = &link->endpoint.header->stored;
    uint64_t before = SR_LOAD(stored, relaxed); /* it says what the kernel has, and publishes nothing */
    while (before < granules && !SR_CAS(stored, &before, granules, relaxed))
        ;
    link->stored = most(before, granules);
}

static enum sr_result store_more(struct sr_queue *self, struct sr_link *link, uint64_t granules,
                                 const struct sr_wait *wait) {
    const struct sr_geometry *g = &link->endpoint.geometry;
    uint64_t begin = (link->stored << SR_GRANULE_SHIFT) / SR_PAGE * SR_PAGE;
    uint64_t ahead = link->single ? 0 : least(most(begin, STORED_FIRST), STORED_AT_ONCE);
    uint64_t end = pages(most(granules << SR_GRANULE_SHIFT, begin + ahead));
    end = least(end, g->segment_size - g->arena_offset);
    int file = sr_os_memory_file(self->root->locks, self->file);
    if (file < 0)
        return SR_SYSTEM_ERROR;
    suspend_caller(wait);
    enum sr_result result = reserve(file, link->offset + g->arena_offset + begin, end - begin);
    if (result == SR_OK) { /* one fault for each page would take several times as long */
        uint64_t word = begin >> SR_GRANULE_SHIFT, words = (end - begin) >> SR_GRANULE_SHIFT;
        sr_os_memory_populate_written(link->endpoint.arena + begin, end - begin);
        if (!link->single)
            sr_os_memory_populate_written(&link->endpoint.words[word], words * sizeof(sr_atomic_u64));
    }
    int error = errno;
    resume_caller(wait);
    errno = error;
    if (result != SR_OK)
        return result;
    spend(self, end - begin);
    note_stored(link, least(end >> SR_GRANULE_SHIFT, g->granules));
    return SR_OK;
}

enum sr_result sr_queue_store(struct sr_queue *self, struct sr_link *link, uint64_t granules,
                              const struct sr_wait *wait) {
    enum sr_result result = SR_OK;
    link->stored = most(link->stored, SR_LOAD(&link->endpoint.header->stored, relaxed));
    while (result == SR_OK && link->stored < granules)
        result = store_more(self, link, granules, wait);
    return result;
}

uint64_t sr_queue_single_bytes(uint64_t length) { /* header, the words of two granules, the message */
    return pages(length) + 4 * SR_PAGE;
}

uint64_t sr_queue_most_for_one(struct sr_queue *self) {
    struct sr_geometry first;
    uint64_t capacity = self->control->capacity, all = self->control->max_bytes;
    if (sr_geometry_plan(&first, SR_KIND_MPMC, capacity, 0) != SR_OK || first.segment_size > all)
        return 0;
    return all - first.segment_size;
}

bool sr_queue_is_outgrown(struct sr_queue *self, const struct sr_link *link) {
    return link->single || link->endpoint.geometry.capacity > KEPT_MOST * self->control->capacity;
}

/* --- places in the file --- */

struct range {
    uint64_t begin, end;
};

static int by_begin(const void *one, const void *other) {
    uint64_t a = ((const struct range *)one)->begin, b = ((const struct range *)other)->begin;
    return a < b ? -1 : a > b;
}

/* Where a link of this length can be: behind one that is there, as far in front as it fits. False: no memory. */
static bool find_place(struct sr_queue *self, uint64_t length, uint64_t *offset) {
    struct sr_control *control = self->control;
    uint64_t unit = sr_os_memory_granularity(), last = SR_LOAD(&control->last, relaxed);
    uint64_t oldest = most(1, SR_LOAD(&control->buried, relaxed));
    uint64_t begin = (self->control_at + sizeof *control + unit - 1) / unit * unit;
    size_t count = 0, links = last < oldest ? 1 : (size_t)least(last - oldest, SR_QUEUE_LINKS - 1) + 1;
    struct range *ranges = malloc(links * sizeof *ranges);
    if (!ranges) {
        errno = ENOMEM;
        return false;
    }
    for (uint64_t index = oldest; index <= last && count < links; index++) {
        const struct sr_link_entry *entry = &control->table[index % SR_QUEUE_LINKS];
        uint64_t at = SR_LOAD(&entry->offset, relaxed), size = SR_LOAD(&entry->length, relaxed);
        ranges[count++] = (struct range){at, at + (size & ~(uint64_t)SR_QUEUE_SINGLE)};
    }
    qsort(ranges, count, sizeof *ranges, by_begin);
    for (size_t i = 0; i < count && (ranges[i].begin < begin || ranges[i].begin - begin < length); i++)
        begin = most(begin, (ranges[i].end + unit - 1) / unit * unit);
    free(ranges);
    *offset = begin;
    return true;
}

/* What lies behind this is nobody's. */
static uint64_t end_of_links(struct sr_queue *self) {
    struct sr_control *control = self->control;
    uint64_t end = self->control_at + sizeof *control;
    uint64_t oldest = most(1, SR_LOAD(&control->buried, relaxed));
    for (uint64_t index = oldest; index <= SR_LOAD(&control->last, relaxed) && !sr_queue_is_too_far(oldest, index);
         index++) {
        const struct sr_link_entry *entry = &control->table[index % SR_QUEUE_LINKS];
        end = most(end,
                   SR_LOAD(&entry->offset, relaxed) + (SR_LOAD(&entry->length, relaxed) & ~(uint64_t)SR_QUEUE_SINGLE));
    }
    return end;
}

/* --- linking --- */

struct wish {
    uint64_t capacity;
    bool single;
};

static uint64_t slots_of(const struct sr_queue *self) { return least(self->control->maxsize, SR_SLOTS_MAX); }

static uint64_t size_of(struct sr_queue *self, uint64_t capacity) {
    struct sr_geometry plan;
    return sr_geometry_plan(&plan, SR_KIND_MPMC, capacity, slots_of(self)) == SR_OK ? plan.segment_size : UINT64_MAX;
}

/* What a link takes of memory before the first message is in it; of a single, with its message. */
static uint64_t at_once(struct sr_queue *self, const struct wish *wish, uint64_t length) {
    struct sr_geometry plan;
    if (wish->single)
        return sr_queue_single_bytes(length);
    return sr_geometry_plan(&plan, SR_KIND_MPMC, wish->capacity, slots_of(self)) == SR_OK ? plan.arena_offset
                                                                                          : UINT64_MAX;
}

/* What the next link may be, the best first. A ring has to be twice as large as a message, and is good for many; a single
 * takes what its message needs. How many there are. */
static int wishes(struct sr_queue *self, const struct sr_link *before, uint64_t length, struct wish each[3]) {
    uint64_t capacity = self->control->capacity;
    uint64_t grown = most(most(GROWN_MOST, capacity), least(sr_queue_reserved(self) / 64, RING_LARGEST));
    uint64_t needed = most(capacity, 2 * length), wanted = needed;
    int count = 0;
    if (length && !before->single) /* a put needs more room than there was */
        wanted = most(needed, least(2 * before->endpoint.geometry.capacity, grown));
    if (wanted <= most(RING_LARGEST, grown))
        each[count++] = (struct wish){wanted, false};
    if (needed < wanted && needed <= most(RING_LARGEST, grown))
        each[count++] = (struct wish){needed, false};
    if (2 * length > capacity)
        each[count++] = (struct wish){2 * length, true};
    return count;
}

/* *used: bytes from its beginning where others have been, and which are to be cleaned. */
static enum sr_result give_storage(int file, const struct sr_geometry *plan, uint64_t offset, uint64_t length,
                                   bool single, uint64_t *used) {
    uint64_t before;
    if (!sr_os_memory_lengthen(file, offset + plan->segment_size, &before))
        return refused();
    *used = before > offset ? least(before - offset, plan->segment_size) : 0;
    /* Also what one who died while linking had here. */
    if (sr_os_memory_give_back(file, offset, plan->segment_size))
        *used = 0;
    enum sr_result result = reserve(file, offset, SR_PAGE);
    uint64_t words = offset + plan->words_offset;
    if (result == SR_OK && !single)
        return reserve(file, words, plan->arena_offset - plan->words_offset);
    if (result == SR_OK)
        result = reserve(file, words, SR_PAGE);
    if (result == SR_OK) /* where a taker looks for what follows */
        result = reserve(file, words + sr_granules_for(length) * sizeof(sr_atomic_u64) / SR_PAGE * SR_PAGE, SR_PAGE);
    return result;
}

/* Whole pages, and writes only to those that need it: most were never written to. */
static void clean(unsigned char *bytes, uint64_t length) {
    for (uint64_t at = 0; at < length; at += SR_PAGE)
        if (bytes[at] || memcmp(bytes + at, bytes + at + 1, SR_PAGE - 1) != 0)
            memset(bytes + at, 0, SR_PAGE);
}

static uint64_t new_identity(const struct sr_queue *self) {
    static sr_atomic_u64 count;
    uint64_t mixed = self->root->header->identity + (uint64_t)sr_os_monotonic_ns() +
                     (SR_ADD(&count, 1, relaxed) + 1) * UINT64_C(0x9E3779B97F4A7C15) + sr_os_process_id();
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    return (mixed ^ mixed >> 31) >> 1 | 1;
}

static void format(struct sr_queue *self, void *base, const struct sr_geometry *plan) {
    char codec[SR_CODEC_BYTES + 1] = {0};
    const struct sr_header *header = self->root->header;
    for (size_t i = 0; i < SR_CODEC_BYTES; i++)
        codec[i] = header->codec[i];
    const struct sr_birth birth = {.name = "", .codec = codec, .mode = header->mode, .identity = new_identity(self)};
    sr_format(base, plan, &birth);
}

static void publish(struct sr_queue *self, struct sr_link *from, struct sr_link *link) {
    struct sr_control *control = self->control;
    sr_shut_down(&from->endpoint, SR_DRAINING);
    struct sr_link_entry *entry = &control->table[link->index % SR_QUEUE_LINKS];
    SR_STORE(&entry->offset, link->offset, relaxed);
    SR_STORE(&entry->length, link->length | (link->single ? SR_QUEUE_SINGLE : 0), relaxed);
    SR_STORE(&control->last, link->index, release); /* SYNC: link-published (release): header and entry are there */
    sr_heavy_fence(); /* SYNC: shut-or-linked (acquire side: the link is there, then shutdown is looked at) */
    uint64_t shutdown = SR_LOAD(&control->shutdown, relaxed);
    if (shutdown)
        sr_shut_down(&link->endpoint, (enum sr_shutdown)shutdown);
    sr_event_notify(&from->endpoint.header->items, SR_WAKE_ALL); /* who came between found no further link yet */
    sr_event_notify(&from->endpoint.header->room, SR_WAKE_ALL);
}

/* Under the lock. */
static enum sr_result make_link(struct sr_queue *self, struct sr_link *from, const struct wish *wish, uint64_t length,
                                const struct sr_wait *wait, struct sr_placed *placed) {
    struct sr_geometry plan;
    struct sr_link *link;
    uint64_t offset, used = 0, index = SR_LOAD(&self->control->last, relaxed) + 1;
    if (sr_geometry_plan(&plan, SR_KIND_MPMC, wish->capacity, slots_of(self)) != SR_OK)
        return SR_NO_SPACE;
    int file = sr_os_memory_file(self->root->locks, self->file);
    if (file < 0 || !find_place(self, plan.segment_size, &offset))
        return SR_SYSTEM_ERROR;
    suspend_caller(wait);
    enum sr_result result = give_storage(file, &plan, offset, length, wish->single, &used);
    if (result != SR_OK) {
        int error = errno;
        (void)sr_os_memory_give_back(file, offset, plan.segment_size);
        sr_os_memory_cut(file, end_of_links(self));
        errno = error;
    }
    resume_caller(wait);
    const struct sr_link wanted = {
        .index = index, .offset = offset, .length = plan.segment_size, .single = wish->single};
    if (result == SR_OK)
        result = sr_queue_new_link(self, &wanted, &link);
    if (result != SR_OK)
        return result;
    if (used) {
        suspend_caller(wait);
        clean(link->base, used);
        resume_caller(wait);
    }
    format(self, link->base, &plan);
    result = sr_queue_bind_new(self, link);
    if (result == SR_OK && wish->single) {
        result = sr_mpmc_try_claim(&link->endpoint, length, 0, &placed->record);
        SR_STORE(&link->endpoint.header->shutdown, SR_DRAINING, relaxed); /* nobody knows it yet */
    }
    if (result != SR_OK) {
        sr_queue_forget_link(self, link);
        return result;
    }
    spend(self, wish->single ? 0 : plan.arena_offset);
    publish(self, from, link);
    if (wish->single)
        placed->link = link; /* and we are in it */
    else
        sr_queue_leave(self, link);
    return SR_OK;
}

/* Another waits for memory for a large message: until it has that, or is gone, nobody else takes any. One that does not use
 * what there is for a while is passed over: it may be stopped. */
static bool is_another_first(struct sr_queue *self, uint64_t ticket, uint64_t room) {
    struct sr_control *control = self->control;
    uint64_t wanter = SR_LOAD(&control->wanter, relaxed);
    if (!wanter || wanter == ticket)
        return false;
    int64_t now = sr_os_monotonic_ns();
    if (wanter != self->wanter_seen || SR_LOAD(&control->wanted, relaxed) > room) {
        self->wanter_seen = wanter;
        self->wanter_since = now;
        return true;
    }
    if (now - self->wanter_since < WANTER_PATIENCE_NS)
        return true;
    SR_CAS(&control->wanter, &wanter, 0, relaxed);
    return false;
}

static void want(struct sr_queue *self, struct sr_queue_standing *standing, uint64_t bytes) {
    static sr_atomic_u32 count;
    if (SR_LOAD(&self->control->wanter, relaxed))
        return;
    if (!standing->ticket)
        standing->ticket =
            SR_HELD | (uint64_t)(SR_ADD(&count, 1, relaxed) & 0xffffffff) << SR_OWNER_BITS | self->root->owner;
    SR_STORE(&self->control->wanted, bytes, relaxed);
    SR_STORE(&self->control->wanter, standing->ticket, relaxed);
}

/* Under the lock. */
static enum sr_result extend(struct sr_queue *self, struct sr_link *from, uint64_t length, bool beyond,
                             const struct sr_wait *wait, struct sr_queue_standing *standing, struct sr_placed *placed) {
    struct sr_control *control = self->control;
    uint64_t last = SR_LOAD(&control->last, relaxed), reserved = sr_queue_reserved(self);
    uint64_t room = beyond ? control->max_bytes : control->max_bytes - least(reserved, control->max_bytes);
    if (last != from->index)
        return SR_OK;
    if (SR_LOAD(&control->shutdown, relaxed))
        return SR_SHUT_DOWN;
    if (last + 1 - SR_LOAD(&control->buried, relaxed) >= SR_QUEUE_LINKS)
        return SR_FULL;
    if (!beyond && is_another_first(self, standing ? standing->ticket : 0, room))
        return SR_FULL;
    struct wish each[3];
    enum sr_result result = SR_FULL;
    for (int i = 0, count = wishes(self, from, length, each); i < count; i++) {
        uint64_t size = each[i].single ? sr_queue_single_bytes(length) : size_of(self, each[i].capacity);
        if (size > room)
            continue;
        result = SR_NO_SPACE;
        if (length && self->afford && at_once(self, &each[i], length) > self->granted)
            continue;
        result = make_link(self, from, &each[i], length, wait, placed);
        SR_STORE(&self->lacking, result == SR_NO_SPACE ? size : 0, relaxed); /* for words */
        if (result != SR_NO_SPACE)
            break;
    }
    if (result == SR_FULL && standing && length > from->endpoint.geometry.max_message)
        want(self, standing, sr_queue_single_bytes(length));
    return result;
}

enum sr_result sr_queue_extend(struct sr_queue *self, struct sr_link *from, uint64_t length, bool beyond,
                               const struct sr_wait *wait, int64_t patience_ns, struct sr_queue_standing *standing,
                               struct sr_placed *placed) {
    struct wish each[3];
    enum sr_result result = SR_FULL;
    for (int i = 0, count = wishes(self, from, length, each); i < count; i++) { /* any of them, as max_bytes allows */
        enum sr_result may = afford(self, at_once(self, &each[i], length));
        if (may != SR_OK && may != SR_NO_SPACE)
            return may;
        result = i && may == SR_NO_SPACE ? result : may;
    }
    if (result == SR_OK)
        result = sr_queue_lock(self, wait, patience_ns);
    if (result != SR_OK)
        return result;
    result = extend(self, from, length, beyond, wait, standing, placed);
    int error = errno;
    sr_queue_unlock(self);
    errno = error;
    return result;
}

enum sr_result sr_queue_afford(struct sr_queue *self, uint64_t bytes) { return afford(self, bytes); }

bool sr_queue_may_extend(struct sr_queue *self, const struct sr_link *from, uint64_t length) {
    struct sr_control *control = self->control;
    uint64_t room = control->max_bytes - least(sr_queue_reserved(self), control->max_bytes);
    bool places = SR_LOAD(&control->last, relaxed) + 1 - SR_LOAD(&control->buried, relaxed) < SR_QUEUE_LINKS;
    struct wish each[3];
    if (!places || SR_LOAD(&control->wanter, relaxed))
        return false;
    for (int i = 0, count = wishes(self, from, length, each); i < count; i++)
        if ((each[i].single ? sr_queue_single_bytes(length) : size_of(self, each[i].capacity)) <= room)
            return true;
    return false;
}

/* --- giving back --- */

/* Was it shut, and is everything that was ever put there done with? Then that is so for ever. */
static bool is_drained(struct sr_link *link) {
    struct sr_endpoint *endpoint = &link->endpoint;
    struct sr_contents contents;
    if (!SR_LOAD(&endpoint->header->shutdown, acquire))
        return false;
    sr_heavy_fence(); /* a claim either saw the shutdown, or is seen here: as in sr_after_empty */
    if (sr_mpmc_reclaim(endpoint) != SR_OK || sr_contents_read(endpoint, &contents) != SR_OK)
        return false;
    return contents.ready + contents.claimed + contents.taken == 0;
}

/* All but the header, which says to whoever is still there that it is shut. */
static void empty_out(struct sr_queue *self, int file, const struct sr_link *link) {
    (void)self;
    uint64_t begin = link->endpoint.geometry.words_offset;
    (void)sr_os_memory_give_back(file, link->offset + begin, link->endpoint.geometry.segment_size - begin);
}

static bool finish_drained(struct sr_queue *self, int file, const struct sr_wait *wait) {
    struct sr_control *control = self->control;
    bool did = false;
    for (;;) {
        uint64_t index = SR_LOAD(&control->first, relaxed);
        struct sr_link *link;
        if (index >= SR_LOAD(&control->last, relaxed) || sr_queue_open_link(self, index, &link) != SR_OK)
            return did;
        bool drained = is_drained(link);
        if (drained) {
            SR_STORE(&control->first, index + 1, release);
            suspend_caller(wait);
            empty_out(self, file, link);
            resume_caller(wait);
            did = true;
        }
        sr_queue_leave(self, link);
        if (!drained)
            return did;
    }
}

/* Gives the rest back, and the place, of finished links that nobody is in. */
static void bury(struct sr_queue *self, int file) {
    struct sr_control *control = self->control;
    uint64_t first = SR_LOAD(&control->first, relaxed), index = SR_LOAD(&control->buried, relaxed);
    if (index >= first || SR_UNLIKELY(sr_queue_is_too_far(index, first)))
        return;
    uint64_t end = least(first, sr_queue_oldest_pin(self)), before = index;
    for (; index < end; index++) {
        const struct sr_link_entry *entry = &control->table[index % SR_QUEUE_LINKS];
        uint64_t length = SR_LOAD(&entry->length, relaxed) & ~(uint64_t)SR_QUEUE_SINGLE;
        uint64_t begin = index ? 0 : self->root->geometry.words_offset; /* the root's header stays */
        (void)sr_os_memory_give_back(file, SR_LOAD(&entry->offset, relaxed) + begin, length - begin);
        SR_STORE(&control->buried, index + 1, release);
    }
    if (index > before)
        sr_os_memory_cut(file, end_of_links(self));
}

bool sr_queue_tidy(struct sr_queue *self, const struct sr_wait *wait, int64_t patience_ns) {
    struct sr_control *control = self->control;
    uint64_t first = SR_LOAD(&control->first, acquire);
    if (first == SR_LOAD(&control->last, acquire) && SR_LOAD(&control->buried, relaxed) >= first)
        return false;
    int file = sr_os_memory_file(self->root->locks, self->file);
    if (file < 0 || sr_queue_lock(self, wait, patience_ns) != SR_OK)
        return false;
    bool did = finish_drained(self, file, wait);
    bury(self, file);
    sr_queue_unlock(self);
    sr_queue_drop_links(self);
    struct sr_link *newest = self->put;
    if (did && newest && sr_queue_try_enter(self, newest) == SR_OK) {
        sr_event_notify(&newest->endpoint.header->room, SR_WAKE_ALL); /* of memory, for a further link */
        sr_queue_leave(self, newest);
    }
    return did;
}

/* A large ring is left for a small one once it is drained: but not at once after a burst, as another may follow. */
static bool shrink(struct sr_queue *self, struct sr_link *link, const struct sr_wait *wait) {
    int64_t now = sr_os_monotonic_ns();
    if (now - self->shrunk_ns < SHRINK_INTERVAL_NS || sr_queue_lock(self, wait, 0) != SR_OK)
        return false;
    self->shrunk_ns = now;
    struct sr_placed none = {0};
    enum sr_result result = extend(self, link, 0, false, wait, NULL, &none);
    sr_queue_unlock(self);
    return result == SR_OK;
}

/* What was handed back does not count: it is looked for when it may be the last. */
static bool has_more(const struct sr_link *link) {
    const struct sr_header *header = link->endpoint.header;
    uint64_t read = SR_LOAD(&header->read_position, relaxed);
    return sr_distance(&link->endpoint.geometry, read, SR_LOAD(&header->write_position, relaxed)) > 0;
}

bool sr_queue_note_taken(struct sr_queue *self, const struct sr_link *link) {
    bool is_newest = SR_LOAD(&self->control->last, relaxed) == link->index;
    if (SR_LIKELY(is_newest && !sr_queue_is_outgrown(self, link)))
        return false;
    self->untidy = link->index + 1;
    return is_newest;
}

void sr_queue_tidy_up(struct sr_queue *self, const struct sr_wait *wait) {
    struct sr_link *link;
    uint64_t index = self->untidy - 1;
    self->untidy = 0;
    enum sr_result result = sr_queue_open_link(self, index, &link);
    if (result == SR_OK) {
        bool is_newest = SR_LOAD(&self->control->last, relaxed) == index;
        bool goes_on = has_more(link) || (is_newest && !shrink(self, link, wait));
        sr_queue_leave(self, link);
        if (goes_on)
            return;
    }
    if (result == SR_OK || result == SR_STALE)
        (void)sr_queue_tidy(self, wait, 0);
}
