/* portability.c - the algorithms without Python and without an operating system, so that they can be compiled for other
 * machines and run under an emulator. Prints where the header's fields lie, what geometries come out, how many messages
 * went through, and "ok"; every machine has to print the same. Driven by test_portability.py.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/endpoint.h"

bool sr_fences_are_asymmetric;
void sr_heavy_fence(void) { atomic_thread_fence(memory_order_seq_cst); }

enum { PRODUCER, CONSUMER, DOOMED, ENDPOINTS };
enum { CAPACITY = 4000, IN_TURN = 600, IN_THREADS = 20000, TO_EACH = 5000 };
static const uint64_t ANY = UINT64_MAX; /* no limit of the taker's */

struct ring {
    void *base;
    struct sr_geometry geometry;
    struct sr_endpoint at[ENDPOINTS]; /* each with its index as owner */
};

static _Noreturn void fail(int line, const char *what) {
    fprintf(stderr, "portability.c:%d: not so: %s\n", line, what);
    exit(1);
}
#define CHECK(condition) ((condition) ? (void)0 : fail(__LINE__, #condition))

/* --- the try-operations under one name each; blocking.h has them too, but needs the operating system --- */
static bool is_spsc(const struct sr_endpoint *self) { return self->geometry.kind == SR_KIND_SPSC; }
static enum sr_result claim(struct sr_endpoint *self, uint64_t length, struct sr_record *record) {
    return is_spsc(self) ? sr_spsc_try_claim(self, length, record) : sr_mpmc_try_claim(self, length, 0, record);
}
static enum sr_result take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record) {
    return is_spsc(self) ? sr_spsc_try_take(self, limit, record) : sr_mpmc_try_take(self, limit, record);
}
#define FINISH(self, record, what)                                                                                     \
    (is_spsc(self) ? sr_spsc_##what(self, record) : CHECK(sr_mpmc_##what(self, record) == SR_OK))

/* --- messages: the number says length and content --- */
static uint64_t length_of(const struct sr_endpoint *self, uint64_t number) {
    uint64_t max = self->geometry.max_message;
    return number % 10 == 1 ? max : number * 211 % (max + 1); /* number 0: empty; every tenth: the longest */
}
static unsigned char byte_of(uint64_t number, uint64_t i) { return (unsigned char)(number * 31 + i * 7 + (i >> 8)); }

static void commit_part(struct sr_endpoint *self, struct sr_record *record, uint64_t length) {
    if (is_spsc(self)) {
        sr_spsc_shorten(self, record, length);
        sr_spsc_commit(self, record);
    } else {
        CHECK(sr_mpmc_commit_part(self, record, length) == SR_OK);
    }
}

/* Every third claims more than it needs, where there is room. */
static enum sr_result put(struct sr_endpoint *self, uint64_t number) {
    struct sr_record record;
    uint64_t length = length_of(self, number), more = (number + length) % (self->geometry.max_message - length + 1);
    enum sr_result result = number % 3 ? SR_FULL : claim(self, length + more, &record);
    if (result == SR_FULL)
        result = claim(self, length, &record);
    if (result != SR_OK)
        return result;
    for (uint64_t i = 0; i < length; i++)
        record.payload[i] = byte_of(number, i);
    if (record.length != length)
        commit_part(self, &record, length);
    else
        FINISH(self, &record, commit);
    if (is_spsc(self))
        sr_spsc_publish(self);
    return SR_OK;
}
static enum sr_result look(struct sr_endpoint *self, uint64_t number, bool redelivered, struct sr_record *record) {
    enum sr_result result = take(self, ANY, record);
    if (result != SR_OK)
        return result;
    CHECK(record->length == length_of(self, number) && record->redelivered == redelivered);
    for (uint64_t i = 0; i < record->length; i++)
        CHECK(record->payload[i] == byte_of(number, i));
    return SR_OK;
}
static enum sr_result get(struct sr_endpoint *self, uint64_t number, bool redelivered) {
    struct sr_record record;
    enum sr_result result = look(self, number, redelivered, &record);
    if (result != SR_OK)
        return result;
    FINISH(self, &record, acknowledge);
    if (is_spsc(self))
        sr_spsc_give_back_room(self);
    return SR_OK;
}

/* --- a ring: what sr_format in attach.c does, but beginning at any lap --- */
static void create(struct ring *ring, uint32_t kind, uint64_t slots, uint64_t lap) {
    struct sr_geometry *g = &ring->geometry;
    memset(ring, 0, sizeof *ring);
    CHECK(sr_geometry_plan(g, kind, CAPACITY, slots) == SR_OK);
    struct sr_header *header = ring->base = aligned_alloc(SR_PAGE, (size_t)g->segment_size);
    CHECK(header);
    memset(header, 0, (size_t)g->segment_size);
    CHECK(sr_geometry_read(g, header, g->segment_size) == SR_NOT_READY);
    header->magic = SR_MAGIC;
    header->layout_version = SR_LAYOUT_VERSION;
    header->byte_order = SR_BYTE_ORDER_MARK;
    header->kind = g->kind;
    header->attachment_count = SR_ATTACHMENTS;
    header->segment_size = g->segment_size;
    header->capacity = g->capacity;
    header->granules = g->granules;
    header->slots = g->slots;
    header->attachments_offset = g->attachments_offset;
    header->words_offset = g->words_offset;
    header->arena_offset = g->arena_offset;
    uint64_t first = lap * sr_first_position(g);
    SR_STORE(&header->write_position, kind == SR_KIND_LATEST ? 0 : first, relaxed);
    SR_STORE(&header->read_position, first, relaxed);
    SR_STORE(&header->reclaim_position, first, relaxed);
    SR_STORE(&header->state, SR_SEGMENT_READY, release);
    CHECK(sr_geometry_read(g, header, g->segment_size) == SR_OK);
    header->byte_order = __builtin_bswap32(SR_BYTE_ORDER_MARK);
    CHECK(sr_geometry_read(g, header, g->segment_size) == SR_OTHER_LAYOUT);
    header->byte_order = SR_BYTE_ORDER_MARK;
    header->magic = __builtin_bswap64(SR_MAGIC); /* as from a machine of the other byte order */
    CHECK(sr_geometry_read(g, header, g->segment_size) != SR_OK);
    header->magic = SR_MAGIC;
    for (uint32_t slot = 0; slot < ENDPOINTS; slot++) {
        struct sr_endpoint *endpoint = &ring->at[slot];
        sr_endpoint_bind(endpoint, header, g);
        endpoint->owner = endpoint->slot = slot;
        endpoint->self = &endpoint->attachments[slot];
        if (is_spsc(endpoint) && slot != DOOMED)
            CHECK(sr_spsc_adopt(endpoint, slot == PRODUCER ? SR_ROLE_PRODUCER : SR_ROLE_CONSUMER) == SR_OK);
    }
}

/* Fills and empties by turns, across many wraps; every seventh message is given up once before it is sent. */
static void in_turn(struct ring *ring) {
    struct sr_endpoint *producer = &ring->at[PRODUCER], *consumer = &ring->at[CONSUMER];
    struct sr_record record;
    uint64_t sent = 0, got = 0, full = 0, slots = ring->geometry.slots;
    uint64_t first_lap = sr_lap(&ring->geometry, SR_LOAD(&ring->at->header->write_position, acquire));
    while (got < IN_TURN) {
        if (sent < IN_TURN && sent % 7 == 0 && claim(producer, length_of(producer, sent), &record) == SR_OK)
            FINISH(producer, &record, abort);
        enum sr_result result = sent < IN_TURN ? put(producer, sent) : SR_FULL;
        sent += result == SR_OK;
        CHECK(result == SR_OK || (result == SR_FULL && sent > got));
        CHECK(!slots || sent - got <= slots);
        full += result == SR_FULL && sent < IN_TURN;
        if (result == SR_FULL)
            for (uint64_t half = got + (sent - got + 1) / 2; got < half; got++)
                CHECK(get(consumer, got, false) == SR_OK);
    }
    CHECK(take(consumer, ANY, &record) == SR_EMPTY);
    uint64_t laps = sr_lap(&ring->geometry, SR_LOAD(&ring->at->header->write_position, acquire)) - first_lap;
    printf("in turn: %" PRIu64 " messages, full %" PRIu64 " times, %" PRIu64 " laps\n", got, full, laps);
    CHECK(full > 50 && laps > 50);
}

static void handed_back(struct ring *ring) {
    struct sr_endpoint *producer = &ring->at[PRODUCER], *consumer = &ring->at[CONSUMER];
    struct sr_record record;
    CHECK(put(producer, 2) == SR_OK && put(producer, 3) == SR_OK);
    CHECK(take(consumer, length_of(consumer, 2) - 1, &record) == SR_TOO_LONG &&
          record.length == length_of(consumer, 2));
    CHECK(look(consumer, 2, false, &record) == SR_OK);
    FINISH(consumer, &record, hand_back);
    CHECK(get(consumer, 2, true) == SR_OK && get(consumer, 3, false) == SR_OK);
    CHECK(take(consumer, ANY, &record) == SR_EMPTY);
}

/* One dies with a message taken and another one claimed; a message committed behind them has to wait for the repair. */
static void dead_owner(struct ring *ring) {
    struct sr_endpoint *producer = &ring->at[PRODUCER], *consumer = &ring->at[CONSUMER], *doomed = &ring->at[DOOMED];
    struct sr_record taken, claimed, record;
    struct sr_contents contents;
    uint64_t returned = 0;
    CHECK(put(producer, 4) == SR_OK && look(doomed, 4, false, &taken) == SR_OK);
    CHECK(claim(doomed, 100, &claimed) == SR_OK && put(producer, 5) == SR_OK);
    CHECK(take(consumer, ANY, &record) == SR_EMPTY);
    CHECK(sr_contents_read(consumer, &contents) == SR_OK);
    CHECK(contents.ready == 1 && contents.claimed == 1 && contents.taken == 1);
    CHECK(sr_mpmc_repair(consumer, doomed->owner, &returned) == SR_OK && returned == 1);
    CHECK(sr_mpmc_commit(doomed, &claimed) == SR_STALE && sr_mpmc_acknowledge(doomed, &taken) == SR_STALE);
    CHECK(get(consumer, 4, true) == SR_OK && get(consumer, 5, false) == SR_OK);
    CHECK(take(consumer, ANY, &record) == SR_EMPTY);
    CHECK(sr_contents_read(consumer, &contents) == SR_OK && contents.ready + contents.claimed + contents.taken == 0);
}

static void *produce(void *endpoint) {
    for (uint64_t number = 0; number < IN_THREADS; number++)
        for (enum sr_result result; (result = put(endpoint, number)) != SR_OK; sched_yield())
            CHECK(result == SR_FULL);
    return NULL;
}
static void *consume(void *endpoint) {
    for (uint64_t number = 0; number < IN_THREADS; number++)
        for (enum sr_result result; (result = get(endpoint, number, false)) != SR_OK; sched_yield())
            CHECK(result == SR_EMPTY);
    return NULL;
}
static void in_threads(struct ring *ring) {
    pthread_t producer, consumer;
    CHECK(!pthread_create(&producer, NULL, produce, &ring->at[PRODUCER]));
    CHECK(!pthread_create(&consumer, NULL, consume, &ring->at[CONSUMER]));
    CHECK(!pthread_join(producer, NULL) && !pthread_join(consumer, NULL));
    printf("in threads: %d messages\n", IN_THREADS);
}

/* --- topics and latest values --- */

/* Where a writer overwrites what a reader copies, neither may touch it but by atomics; plain accesses would be a race. */
static void fill_under_readers(struct sr_record *record, uint64_t number) {
    for (uint64_t i = 0; i < record->length; i++)
        __atomic_store_n(&record->payload[i], byte_of(number, i), __ATOMIC_RELAXED);
}
static void copy_under_writers(unsigned char *copy, const struct sr_record *record) {
    for (uint64_t i = 0; i < record->length; i++)
        copy[i] = __atomic_load_n(&record->payload[i], __ATOMIC_RELAXED);
}
static void check_copy(const unsigned char *copy, const struct sr_record *record, uint64_t number, uint64_t length) {
    CHECK(record->length == length);
    for (uint64_t i = 0; i < length; i++)
        CHECK(copy[i] == byte_of(number, i));
}

static void *publish(void *endpoint) {
    struct sr_endpoint *self = endpoint;
    struct sr_record record;
    for (uint64_t number = 0; number < TO_EACH; number++) {
        for (enum sr_result result; (result = sr_topic_try_claim(self, length_of(self, number), 0, &record)) != SR_OK;
             sched_yield())
            CHECK(result == SR_FULL && !self->geometry.overwrite);
        if (self->geometry.overwrite)
            fill_under_readers(&record, number);
        else
            for (uint64_t i = 0; i < record.length; i++)
                record.payload[i] = byte_of(number, i);
        CHECK(sr_mpmc_commit(self, &record) == SR_OK);
        if (self->geometry.overwrite && number % 64 == 0)
            sched_yield(); /* or subscribers on other CPUs see little but the end */
    }
    return NULL;
}

/* Every message in turn; where they are overwritten, those that were not lost, each of them whole. */
static void *subscribe(void *endpoint) {
    struct sr_endpoint *self = endpoint;
    struct sr_record record;
    static _Thread_local unsigned char copy[CAPACITY];
    while (self->sequence < TO_EACH) {
        enum sr_result result = sr_topic_try_take(self, ANY, &record);
        if (result != SR_OK) {
            CHECK(result == SR_EMPTY);
            sched_yield();
            continue;
        }
        uint64_t number = self->sequence; /* taking may have gone on past what was lost */
        if (self->geometry.overwrite) {
            copy_under_writers(copy, &record);
        } else {
            CHECK(record.length == length_of(self, number));
            memcpy(copy, record.payload, record.length);
        }
        result = sr_topic_acknowledge(self, &record);
        if (result == SR_OK)
            check_copy(copy, &record, number, length_of(self, number));
        else
            CHECK(result == SR_OVERWRITTEN && self->geometry.overwrite);
    }
    CHECK(self->geometry.overwrite || !self->lost);
    return NULL;
}

static void *set_values(void *endpoint) {
    struct sr_endpoint *self = endpoint;
    struct sr_record record;
    for (uint64_t version = 1; version <= TO_EACH; version++) {
        CHECK(sr_latest_try_claim(self, length_of(self, version), &record) == SR_OK && record.position == version);
        fill_under_readers(&record, version);
        sr_latest_commit(self, &record);
        if (version % 64 == 0)
            sched_yield();
    }
    return NULL;
}
static void *get_values(void *endpoint) {
    struct sr_endpoint *self = endpoint;
    struct sr_record record;
    static _Thread_local unsigned char copy[CAPACITY];
    for (uint64_t known = 0; known < TO_EACH;) {
        if (sr_latest_try_take(self, known, &record) != SR_OK) {
            sched_yield();
            continue;
        }
        copy_under_writers(copy, &record);
        if (sr_latest_acknowledge(self, &record) != SR_OK)
            continue; /* of several values, perhaps */
        known = record.position;
        check_copy(copy, &record, known, length_of(self, known));
    }
    return NULL;
}

/* One writes, two read. */
static void one_to_each(struct ring *ring, uint32_t kind, bool overwrite) {
    struct sr_topic_range range;
    pthread_t threads[ENDPOINTS];
    bool topic = kind == SR_KIND_TOPIC;
    create(ring, kind, 0, 1);
    for (uint32_t slot = 0; slot < ENDPOINTS; slot++) {
        ring->at[slot].geometry.overwrite = overwrite;
        if (topic && slot != PRODUCER)
            CHECK(sr_topic_subscribe(&ring->at[slot], SR_START_OLDEST, 0, &range) == SR_OK);
    }
    for (uint32_t slot = 0; slot < ENDPOINTS; slot++) {
        void *(*writer)(void *) = topic ? publish : set_values, *(*reader)(void *) = topic ? subscribe : get_values;
        CHECK(!pthread_create(&threads[slot], NULL, slot == PRODUCER ? writer : reader, &ring->at[slot]));
    }
    for (uint32_t slot = 0; slot < ENDPOINTS; slot++)
        CHECK(!pthread_join(threads[slot], NULL));
    const char *what = topic ? overwrite ? "an overwriting topic" : "a topic" : "a latest value";
    printf("%s, to two threads: %d messages\n", what, TO_EACH);
    free(ring->base);
}

static void print_layout(void) {
#define FIELD(field) printf("offset " #field " %zu\n", offsetof(struct sr_header, field))
    FIELD(magic), FIELD(layout_version), FIELD(byte_order), FIELD(state), FIELD(kind), FIELD(flags);
    FIELD(attachment_count), FIELD(segment_size), FIELD(capacity), FIELD(granules), FIELD(slots);
    FIELD(attachments_offset), FIELD(words_offset), FIELD(arena_offset), FIELD(identity), FIELD(created_ns);
    FIELD(creator_pid), FIELD(mode), FIELD(name), FIELD(codec), FIELD(shutdown), FIELD(role_owner);
    FIELD(write_position), FIELD(read_position), FIELD(returns), FIELD(returns_searched), FIELD(reclaim_position);
    FIELD(items), FIELD(room), FIELD(mutex_holder), FIELD(subscribers), FIELD(delivered);
    static const uint64_t wishes[][2] = {{1, 0}, {CAPACITY, 0}, {CAPACITY, 5}, {SR_CAPACITY_MAX, SR_SLOTS_MAX}};
    for (size_t i = 0; i < sizeof wishes / sizeof *wishes; i++) {
        struct sr_geometry g;
        CHECK(sr_geometry_plan(&g, SR_KIND_MPMC, wishes[i][0], wishes[i][1]) == SR_OK);
        uint64_t last = sr_first_position(&g) + ((g.granules - 1) << g.sequence_bits);
        printf("capacity %" PRIu64 ": arena at %" PRIu64 ", size %" PRIu64 ", laps in bits %u and %u, ", g.capacity,
               g.arena_offset, g.segment_size, g.sequence_bits + g.index_bits, g.lap_at);
        printf("word %016" PRIx64 ", next %016" PRIx64 ", way %" PRId64 "\n",
               sr_word(&g, last, g.max_message, 0x3fff, SR_TAKEN), sr_after(&g, last, 1, true),
               sr_distance(&g, sr_after(&g, last, 1, true), last));
    }
}

int main(void) {
    static const uint32_t kinds[] = {SR_KIND_SPSC, SR_KIND_MPMC};
    static struct ring ring;
    print_layout();
    for (size_t i = 0; i < 2; i++) {
        for (uint64_t slots = 0; slots <= 3; slots += 3) {
            printf("kind %" PRIu32 ", slots %" PRIu64 "\n", kinds[i], slots);
            create(&ring, kinds[i], slots, 1);
            in_turn(&ring);
            handed_back(&ring);
            if (kinds[i] == SR_KIND_MPMC)
                dead_owner(&ring);
            in_turn(&ring);
            free(ring.base);
            /* Across the lap at which claimers stamp the inner words of their records: see sr_scrub. */
            create(&ring, kinds[i], slots, (UINT64_C(1) << (ring.geometry.lap_bits - 2)) - 20);
            in_turn(&ring);
            free(ring.base);
        }
        create(&ring, kinds[i], 0, 1);
        in_threads(&ring);
        free(ring.base);
    }
    one_to_each(&ring, SR_KIND_TOPIC, false);
    one_to_each(&ring, SR_KIND_TOPIC, true);
    one_to_each(&ring, SR_KIND_LATEST, false);
    puts("ok");
    return 0;
}
