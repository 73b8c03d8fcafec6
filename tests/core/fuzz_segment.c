/* fuzz_segment.c - hostile headers, and hostile words in a ring that is in use. For libFuzzer.
 *
 * The first byte of an input picks one of fifteen small segments, three of each kind, and the mode. "Attach" writes over
 * the header and attaches; both modes then follow the input: writes to record words, positions, roles and attachment
 * entries, between operations on the ring. Every answer is fine. A crash, an endless loop and an access outside header,
 * entries, words or arena are not: inaccessible pages stand around the segment, and the slack inside it is poisoned for
 * AddressSanitizer.
 */
#include <string.h>
#include <sys/mman.h>

#include "blocking.h"
#include "os/semaphore.h"

/* Not every clang comes with <sanitizer/asan_interface.h>. */
void __asan_poison_memory_region(const volatile void *address, size_t size);
void __asan_unpoison_memory_region(const volatile void *address, size_t size);

static uint64_t alive; /* bit i: somebody else, who lives, has entry i */
bool sr_fences_are_asymmetric;
void sr_heavy_fence(void) {}
int64_t sr_os_monotonic_ns(void) { return 1; }
int64_t sr_os_realtime_ns(void) { return 1; }
unsigned sr_os_processors(void) { return 2; }
uint32_t sr_os_process_id(void) { return 1; }
void sr_os_yield(void) {}
void sr_os_sleep_ns(int64_t duration_ns) { (void)duration_ns; }
enum sr_os_wakeup sr_os_park(sr_atomic_u32 *word, uint32_t expected, int64_t timeout_ns) {
    return timeout_ns > 0 && SR_LOAD(word, relaxed) == expected ? SR_OS_TIMED_OUT : SR_OS_WOKEN;
}
int sr_os_unpark(sr_atomic_u32 *word, int count) { return SR_LOAD(word, relaxed) && count; }
int sr_os_locks_open(int segment_fd, const char *path) { return path ? -1 : segment_fd; }
void sr_os_locks_close(int locks) { (void)locks; }
void sr_os_unlock(int locks, uint64_t byte) { (void)locks, (void)byte; }
enum sr_os_lock sr_os_lock(int locks, uint64_t byte) {
    uint64_t entry = (byte - SR_PAGE) / sizeof(struct sr_attachment);
    return locks && (byte < SR_PAGE || !(alive >> entry % 64 & 1)) ? SR_OS_LOCKED : SR_OS_LOCK_HELD;
}
enum sr_os_liveness sr_os_probe(int locks, uint64_t byte) {
    return sr_os_lock(locks, byte) == SR_OS_LOCKED ? SR_OS_DEAD : SR_OS_ALIVE;
}
bool sr_os_sees_lock(int locks, uint64_t begin, uint64_t length) {
    return length > 1 && begin < SR_PAGE && locks; /* handles are on their way, perhaps */
}
enum sr_os_lock sr_os_hold(void **hold, int segment_fd, uint64_t byte, enum sr_os_holding holding) {
    static char held;
    *hold = &held;
    return holding == SR_OS_ALONE ? sr_os_lock(segment_fd, byte) : SR_OS_LOCKED;
}
void sr_os_let_go(void **hold) { *hold = NULL; }
bool sr_os_semaphore_try_wait(void *semaphore) { return *(int *)semaphore > 0 && (*(int *)semaphore)--; }
void sr_os_semaphore_post(void *semaphore) { ++*(int *)semaphore; }
int sr_os_semaphore_value(void *semaphore) { return *(int *)semaphore; }

/* A whole number of granules, of which every index can be written; one that is not; one with a bound on messages, where
 * a kind has such, or that overwrites. */
static const struct size {
    uint64_t capacity, slots;
    uint32_t flags;
} SIZES[][3] = {
    [SR_KIND_SPSC] = {{512, 0}, {600, 0}, {600, 5}},
    [SR_KIND_MPMC] = {{512, 0}, {600, 0}, {600, 5}},
    [SR_KIND_SEMAPHORE] = {{512, 0}, {600, 0}, {600, 5}},
    [SR_KIND_TOPIC] = {{512, 0}, {600, 0}, {600, 0, SR_FLAG_OVERWRITE}},
    [SR_KIND_LATEST] = {{8, 0}, {64, 0}, {200, 0}},
};
enum { SHAPES = 5 * 3, ENTRIES = 8, STEPS = 24, HEADER_USED = offsetof(struct sr_header, reserved) };

static struct shape {
    struct sr_geometry plan;
    unsigned char *base, *pristine;
    struct sr_endpoint endpoint; /* with the pristine segment, as are these: */
    int permits[3], pristine_permits[3];
    bool resized; /* an attach found another size in the header, and it is consistent */
} shapes[SHAPES];

static void must(bool held) {
    if (!held)
        __builtin_trap();
}

static uint64_t words_of(const struct sr_geometry *g) {
    return (g->counts_offset - g->words_offset) / sizeof(sr_atomic_u64);
}

/* Where the words end, and a topic's counts behind them. */
static uint64_t words_end_of(const struct sr_geometry *g) {
    return g->counts_offset + (g->kind == SR_KIND_TOPIC ? g->granules : 0) * sizeof(sr_atomic_u64);
}

static void poison_slack(const struct shape *shape, const struct sr_geometry *g) {
    uint64_t words_end = words_end_of(g);
    uint64_t arena_end = g->arena_offset + g->granules * SR_GRANULE;
    __asan_unpoison_memory_region(shape->base, g->segment_size);
    __asan_poison_memory_region(shape->base + words_end, g->arena_offset - words_end);
    __asan_poison_memory_region(shape->base + arena_end, g->segment_size - arena_end);
}

/* As little as can have changed; what payloads contain decides nothing. */
static void restore(struct shape *shape) {
    const struct sr_geometry *g = &shape->plan;
    if (shape->resized) {
        __asan_unpoison_memory_region(shape->base, g->segment_size);
        memcpy(shape->base, shape->pristine, g->segment_size);
        poison_slack(shape, g);
        shape->resized = false;
    }
    const sr_atomic_u64 *subscribers = ((struct sr_header *)(void *)shape->base)->subscribers;
    bool few = !(SR_LOAD(&subscribers[0], relaxed) >> ENTRIES); /* a publisher may move the cursors of these */
    for (uint32_t i = 1; i < SR_ATTACHMENTS / 64; i++)
        few = few && !SR_LOAD(&subscribers[i], relaxed);
    uint64_t entries = few ? ENTRIES + 1 : SR_ATTACHMENTS; /* an attach may take one more */
    memcpy(shape->base, shape->pristine, HEADER_USED);
    memcpy(shape->base + SR_PAGE, shape->pristine + SR_PAGE, entries * sizeof(struct sr_attachment));
    memcpy(shape->base + g->words_offset, shape->pristine + g->words_offset, words_end_of(g) - g->words_offset);
    memcpy(shape->permits, shape->pristine_permits, sizeof shape->permits);
}

static bool enter(struct shape *shape, struct sr_endpoint *self, const struct sr_geometry *geometry, bool roles) {
    uint32_t holder;
    struct sr_topic_range range;
    *self = (struct sr_endpoint){.semaphores = {&shape->permits[0], &shape->permits[1], &shape->permits[2]}};
    sr_endpoint_bind(self, shape->base, geometry);
    if (sr_attach(self, &(struct sr_arrival){.locks_fd = 3}) != SR_OK)
        return false;
    return !roles ||
           (sr_take_role(self, SR_ROLE_PRODUCER, &holder) == SR_OK &&
            sr_take_role(self, SR_ROLE_CONSUMER, &holder) == SR_OK &&
            (geometry->kind != SR_KIND_TOPIC || sr_topic_subscribe(self, SR_START_OLDEST, 0, &range) == SR_OK));
}

static void put(struct sr_endpoint *self, uint64_t length) {
    struct sr_record record;
    must(sr_try_claim(self, length, &record) == SR_OK && sr_commit(self, &record) == SR_OK);
    sr_announce(self, 1);
}

/* A ring that has been round once, or nearly, with records in different states; a peer holds some. */
static void make(struct shape *shape, uint32_t kind, const struct size *size) {
    const struct sr_birth birth = {.name = "fuzzed", .codec = "bytes", .flags = SR_FLAG_NAMED | size->flags};
    struct sr_endpoint *self = &shape->endpoint, peer;
    struct sr_record record;
    must(sr_geometry_plan(&shape->plan, kind, size->capacity, size->slots) == SR_OK);
    shape->plan.overwrite = size->flags & SR_FLAG_OVERWRITE;
    uint64_t bytes = shape->plan.segment_size;
    unsigned char *all = mmap(NULL, 2 * (bytes + SR_PAGE), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    shape->base = all + SR_PAGE;
    shape->pristine = shape->base + bytes + SR_PAGE;
    must(all != MAP_FAILED && !mprotect(shape->base, bytes, PROT_READ | PROT_WRITE) &&
         !mprotect(shape->pristine, bytes, PROT_READ | PROT_WRITE));
    sr_format(shape->base, &shape->plan, &birth);
    shape->permits[0] = 1;
    shape->permits[2] = (int)sr_semaphore_slots(&shape->plan);
    must(enter(shape, self, &shape->plan, true) && enter(shape, &peer, &shape->plan, false));
    uint64_t most = shape->plan.max_message;
    for (int i = 0; i < 5; i++) {
        put(self, most < 60 ? most : 60);
        must(sr_try_take(self, kind == SR_KIND_LATEST ? 0 : UINT64_MAX, &record) == SR_OK &&
             sr_acknowledge(self, &record) == SR_OK);
        sr_announce_room(self);
    }
    put(self, most < 40 ? most : 40);
    put(self, most < 100 ? most : 100);
    put(self, most < 10 ? most : 10);
    if (kind == SR_KIND_MPMC || kind == SR_KIND_SEMAPHORE) {
        must(sr_try_take(&peer, UINT64_MAX, &record) == SR_OK);
        must(sr_try_take(self, UINT64_MAX, &record) == SR_OK && sr_hand_back(self, &record) == SR_OK);
    }
    if (kind != SR_KIND_SPSC && kind != SR_KIND_LATEST)
        must(sr_try_claim(&peer, 20, &record) == SR_OK);
    memcpy(shape->pristine, shape->base, bytes);
    memcpy(shape->pristine_permits, shape->permits, sizeof shape->permits);
    poison_slack(shape, &shape->plan);
}

int LLVMFuzzerInitialize(int *count, char ***arguments) {
    (void)count, (void)arguments;
    for (uint32_t i = 0; i < SHAPES; i++)
        make(&shapes[i], i / 3 + SR_KIND_SPSC, &SIZES[i / 3 + SR_KIND_SPSC][i % 3]);
    return 0;
}

struct input {
    const uint8_t *at;
    size_t left;
};

static uint64_t eat(struct input *input, uint64_t bytes) {
    uint64_t value = 0;
    for (uint64_t i = 0; i < bytes && input->left; i++, input->left--)
        value |= (uint64_t)*input->at++ << 8 * i;
    return value;
}

/* Writes over the header, may cut the file short, and attaches with what is found then. */
static bool attach(struct shape *shape, struct input *input, struct sr_endpoint *self) {
    for (uint64_t writes = eat(input, 1) & 7; writes; writes--) {
        uint64_t at = eat(input, 2) % HEADER_USED, width = 1 + eat(input, 1) % 8, value = eat(input, width);
        memcpy(shape->base + at, &value, width);
    }
    uint64_t sixteenths = eat(input, 1), mapped = shape->plan.segment_size;
    if (sixteenths < 16)
        mapped = mapped * sixteenths / 16;
    struct sr_geometry geometry;
    if (sr_geometry_read(&geometry, (struct sr_header *)(void *)shape->base, mapped) != SR_OK)
        return false;
    must(geometry.segment_size <= mapped);
    if (geometry.granules != shape->plan.granules || geometry.kind != shape->plan.kind) {
        shape->resized = true;
        poison_slack(shape, &geometry);
    }
    return enter(shape, self, &geometry, true);
}

/* One of the 8-byte places that the core reads again and again. */
static sr_atomic_u64 *place(const struct sr_endpoint *self, uint64_t where) {
#define FIELD(name) offsetof(struct sr_header, name)
#define WORD(name) offsetof(struct sr_attachment, name)
    static const size_t FIELDS[] = {FIELD(write_position), FIELD(read_position),    FIELD(reclaim_position),
                                    FIELD(returns),        FIELD(returns_searched), FIELD(role_owner[0]),
                                    FIELD(role_owner[1]),  FIELD(shutdown),         FIELD(items),
                                    FIELD(room),           FIELD(mutex_holder),     FIELD(state),
                                    FIELD(subscribers[0]), FIELD(subscribers[1]),   FIELD(delivered),
                                    FIELD(turn),           FIELD(turn_limit),       FIELD(order),
                                    FIELD(line[0]),        FIELD(line[15]),         FIELD(tickets),
                                    FIELD(looked_ns),      FIELD(sent[0]),          FIELD(sent[63])};
    static const size_t WORDS[8] = {WORD(state),   WORD(pid),          WORD(attached_ns), WORD(active_ns),
                                    WORD(died_ns), WORD(messages_got), WORD(cursor),      WORD(sequence)};
    if (where < 128)
        return &self->words[where % ((words_end_of(&self->geometry) - self->geometry.words_offset) / 8)];
    if (where < 192)
        return (void *)((unsigned char *)self->header + FIELDS[(where - 128) % (sizeof FIELDS / sizeof *FIELDS)]);
    return (void *)((unsigned char *)&self->attachments[where % ENTRIES] + WORDS[where / ENTRIES % 8]);
}

/* A position, or a word at its own place, nearly as a writer of ours could have written it. */
static void forge(const struct sr_endpoint *self, struct input *input, bool word) {
    const struct sr_geometry *g = &self->geometry;
    uint64_t bits = eat(input, 2), index = bits & g->index_mask, lap = bits >> 8 & 3, state = bits >> 10 & 7;
    uint64_t position = (lap << g->index_bits | index) << g->sequence_bits, more = eat(input, 2);
    if (word)
        SR_STORE(&self->words[index % words_of(g)],
                 sr_word(g, position, more & g->length_mask, more >> 12, (enum sr_state)state), relaxed);
    else
        SR_STORE(state == 7 ? &self->attachments[index % ENTRIES].cursor : place(self, 128 + state % 3),
                 position | (more & g->sequence_mask), relaxed);
}

static bool take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record) {
#ifdef PLANTED_BUG /* believes the length that stands in the word */
    const struct sr_geometry *g = &self->geometry;
    uint64_t index = sr_index(g, SR_LOAD(&self->header->read_position, acquire)) % g->granules;
    record->payload = self->arena + index * SR_GRANULE;
    record->length = sr_length_of(g, SR_LOAD(&self->words[index], acquire));
    return limit;
#else
    return sr_try_take(self, limit, record) == SR_OK;
#endif
}

unsigned char sink[SR_PAGE]; /* not static: nobody reads it, and the copy into it must not be optimised away */

/* One operation, or one write behind the ring's back. False: we have left. */
static bool step(struct sr_endpoint *self, struct input *input, struct sr_record **claimed, struct sr_record **taken) {
    static struct sr_record claim, borrow;
    static struct sr_standing standing;
    struct sr_contents contents;
    struct sr_topic_range range;
    uint32_t kind = self->geometry.kind;
    bool abandoned;
    uint64_t choice = eat(input, 1), more = choice >> 4, returned;
    enum sr_role role = more & 1 ? SR_ROLE_PRODUCER : SR_ROLE_CONSUMER;
    uint32_t holder;
    sr_atomic_u64 *at;
    switch (choice & 15) {
    case 0:
        at = place(self, eat(input, 1));
        SR_STORE(at, eat(input, 8), relaxed);
        return true;
    case 1:
        at = place(self, eat(input, 1));
        SR_STORE(at, SR_LOAD(at, relaxed) ^ eat(input, 1) << 4 * more, relaxed);
        return true;
    case 2:
    case 3:
        forge(self, input, choice & 1);
        return true;
    case 4:
    case 5:
        if (more == 9 && kind != SR_KIND_SPSC && kind != SR_KIND_LATEST)
            sr_line_join(self, &standing.place);
        if (*claimed || sr_try_claim_again(self, eat(input, 1) << more % 3, &standing, &claim) != SR_OK)
            return true;
        sr_give_up(self, &standing);
        memset(claim.payload, 0x55, claim.length);
        *claimed = &claim;
        return true;
    case 6:
    case 7:
        if (*claimed && more & 1)
            sr_commit_part(self, *claimed, eat(input, 1) % ((*claimed)->length + 1));
        else if (*claimed)
            (more ? sr_commit : sr_abort)(self, *claimed);
        sr_announce(self, 1);
        *claimed = NULL;
        return true;
    case 8:
    case 9:
        if (*taken || !take(self, kind == SR_KIND_LATEST ? more : more ? UINT64_MAX : eat(input, 1), &borrow))
            return true; /* a latest value is asked for by the version that is known */
        memcpy(sink, borrow.payload, borrow.length);
        must(borrow.length <= self->geometry.max_message);
        *taken = &borrow;
        return true;
    case 10:
    case 11:
        if (*taken)
            (more & 3 ? sr_acknowledge : sr_hand_back)(self, *taken);
        sr_announce_room(self);
        *taken = NULL;
        return true;
    case 12:
        if (kind != SR_KIND_SPSC && kind != SR_KIND_LATEST)
            sr_mpmc_repair(self, more & 1 ? self->owner : eat(input, 2), &returned);
        sr_line_repair(self, more & 1 ? self->owner : eat(input, 2));
        sr_look_up(self, more & 2, more & 4);
        return true;
    case 13:
        sr_contents_by_the_living(self, &contents);
        if (kind == SR_KIND_TOPIC)
            return sr_topic_subscribe(self, more % 3, eat(input, 1), &range) != SR_CORRUPT;
        if (kind != SR_KIND_LATEST)
            (kind == SR_KIND_SPSC ? sr_spsc_claim_is_open : sr_mpmc_maybe_ready)(self);
        sr_after_empty(self);
        return true;
    case 14:
        alive = eat(input, 1);
        sr_reap(self);
        sr_peers_of(self, role);
        sr_count_living(self);
        sr_is_claimed(self);
        return true;
    default:
        if (*claimed || *taken) /* the binding refuses */
            return true;
        if (more == 15)
            return sr_detach(self, &abandoned), false;
        sr_give_role_back(self, role);
        return sr_take_role(self, role, &holder) == SR_OK;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, size};
    uint64_t first = eat(&input, 1);
    struct shape *shape = &shapes[(first & 127) % SHAPES];
    restore(shape);
    struct sr_endpoint self = shape->endpoint;
    struct sr_record *claimed = NULL, *taken = NULL;
    alive = eat(&input, 1);
    if (first & 128 && !attach(shape, &input, &self))
        return 0;
    for (int steps = 0; steps < STEPS && input.left && step(&self, &input, &claimed, &taken);)
        steps++;
    return 0;
}
