/* queue_models.c - a queue of several processes, one call after the other, against a plain list: what comes in which order,
 * how many there may be, that linking and finishing, deaths and refused memory lose nothing, and that what is drained is given
 * back. */
#include <stdlib.h>

#include "configurations.h"
#include "kernel.h"
#include "memory_file.h"
#include "queue/queue.h"

enum { ENDS = 3, LONGEST = 400, CAPACITY = 4096, FOREVER_PAGES = FILE_PAGES };
enum phase { READY, TAKEN };

struct item {
    enum phase phase;
    uint32_t id;
    uint64_t length;
    bool redelivered;
    int end; /* that took it */
    struct sr_placed placed;
};

static struct sr_header *const header = (struct sr_header *)memory_file;
static struct sr_endpoint ends[ENDS];
static struct sr_queue queues[ENDS];
static bool is_open[ENDS];
static struct sr_geometry plan;
static struct sr_control *control;
static struct item items[LONGEST];
static int count;
static uint32_t ids;
static uint64_t maxsize, shutdown;

static uint64_t seed;
static uint64_t random_below(uint64_t bound) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % bound;
}

static void open_end(int i) {
    const struct sr_arrival arrival = {.patience_ns = 1000000000};
    kernel_act_as(i);
    memset(&ends[i], 0, sizeof ends[i]);
    memset(&queues[i], 0, sizeof queues[i]);
    sr_endpoint_bind(&ends[i], memory_file, &plan);
    ends[i].locks = -1;
    EXPECT(sr_queue_open(&queues[i], &ends[i], memory_file, sizeof memory_file, 0) == SR_OK);
    EXPECT(sr_attach(&ends[i], &arrival) == SR_OK);
    sr_queue_arrive(&queues[i]);
    is_open[i] = true;
}

static void make(uint64_t most_messages, uint64_t max_bytes, unsigned pages) {
    maxsize = most_messages;
    if (sr_geometry_plan(&plan, SR_KIND_MPMC, CAPACITY, maxsize) != SR_OK)
        abort();
    plan.flags = SR_FLAG_NAMED | SR_FLAG_QUEUE;
    memory_file_reset(FOREVER_PAGES);
    uint64_t before, end = plan.segment_size + sizeof(struct sr_control);
    EXPECT(sr_os_memory_lengthen(0, end, &before) && sr_os_memory_reserve(0, 0, end));
    const struct sr_birth birth = {.name = "queue", .codec = "", .flags = plan.flags, .identity = 7};
    sr_format(memory_file, &plan, &birth);
    sr_queue_format(memory_file, plan.segment_size, maxsize, max_bytes, CAPACITY);
    control = (struct sr_control *)(memory_file + plan.segment_size);
    header->stored = plan.granules;
    kernel_reset();
    for (int i = 0; i <= EXPLORE_THREADS; i++)
        kernel_is_impatient(i); /* time goes on */
    count = 0;
    ids = 0;
    shutdown = 0;
    memset(is_open, 0, sizeof is_open);
    for (int i = 0; i < ENDS; i++)
        open_end(i);
    memory_file_limit(pages);
}

static int some_end(void) {
    int i = (int)random_below(ENDS);
    if (!is_open[i])
        open_end(i);
    kernel_act_as(i);
    return i;
}
static struct sr_wait at_once(void) { return (struct sr_wait){.hooks = FOR_EVER.hooks}; }

/* What every call owes the one before it. */
static void tidy_up(int i) {
    struct sr_wait wait = at_once();
    if (queues[i].untidy)
        sr_queue_tidy_up(&queues[i], &wait);
}

static struct item *oldest(void) {
    for (int i = 0; i < count; i++)
        if (items[i].phase == READY)
            return &items[i];
    return NULL;
}
static struct item *some_taken(void) {
    struct item *found = NULL;
    int seen = 0;
    for (int i = 0; i < count; i++)
        if (items[i].phase == TAKEN && !random_below((uint64_t)++seen))
            found = &items[i];
    return found;
}
static void forget(struct item *item) { memmove(item, item + 1, (size_t)(items + --count - item) * sizeof *items); }

/* True when it went in. */
static bool put(int i, uint64_t length) {
    struct sr_queue *self = &queues[i];
    struct sr_queue_standing standing = {0};
    struct sr_wait wait = at_once();
    struct sr_placed placed = {0};
    tidy_up(i);
    enum sr_result room = sr_queue_try_room(self, length);
    enum sr_result result = sr_queue_try_claim(self, length, &placed);
    if (result != SR_OK)
        result = sr_queue_claim(self, length, &wait, &standing, &placed);
    sr_queue_give_up(self, &standing);
    bool too_long = length > CAPACITY / 2 && sr_queue_single_bytes(length) > sr_queue_most_for_one(self);
    EXPECT((result == SR_TOO_LONG) == (too_long && !shutdown));
    if (result == SR_TOO_LONG)
        return false;
    EXPECT(result == SR_OK || result == SR_TIMED_OUT || result == SR_NO_SPACE || result == SR_SHUT_DOWN);
    EXPECT((result == SR_SHUT_DOWN) == (shutdown != 0));
    EXPECT(result != SR_OK || !maxsize || (uint64_t)count < maxsize);
    EXPECT(result != SR_NO_SPACE || !count);
    EXPECT(room != SR_SHUT_DOWN || result == SR_SHUT_DOWN);
    EXPECT(!control->wanter);
    if (result != SR_OK)
        return false;
    EXPECT(placed.record.length == length && memory_file_has(placed.record.payload, length));
    items[count++] = (struct item){.phase = READY, .id = ++ids, .length = length};
    for (uint64_t at = 0; at < length; at += 61)
        placed.record.payload[at] = (unsigned char)(ids + at);
    EXPECT(sr_commit(&placed.link->endpoint, &placed.record) == SR_OK);
    sr_announce(&placed.link->endpoint, 1);
    sr_queue_leave(self, placed.link);
    return true;
}

static void check(const struct item *item, const struct sr_record *record) {
    EXPECT(record->length == item->length && record->redelivered == item->redelivered);
    EXPECT(memory_file_has(record->payload, record->length));
    for (uint64_t at = 0; at < item->length; at += 61)
        EXPECT(record->payload[at] == (unsigned char)(item->id + at));
}

static struct item *get(int i) {
    struct sr_queue *self = &queues[i];
    struct sr_placed placed = {0};
    struct sr_wait wait = at_once();
    struct item *item = oldest();
    tidy_up(i);
    enum sr_result result = sr_queue_try_take(self, &placed);
    EXPECT(result == SR_OK || result == SR_CONTENDED);
    if (result != SR_OK)
        result = sr_queue_take(self, &wait, &placed);
    EXPECT(result == (item && shutdown < SR_STOPPED ? SR_OK : shutdown ? SR_SHUT_DOWN : SR_TIMED_OUT));
    if (result != SR_OK)
        return NULL;
    check(item, &placed.record);
    item->phase = TAKEN;
    item->end = i;
    item->placed = placed;
    return item;
}

static void settle(struct item *item, bool hands_back) {
    struct sr_queue *self = &queues[item->end];
    struct sr_placed placed = item->placed;
    struct sr_endpoint *at = &placed.link->endpoint;
    kernel_act_as(item->end);
    if (hands_back) {
        EXPECT(sr_hand_back(at, &placed.record) == SR_OK);
        sr_queue_handed_back(self, placed.link);
        uint64_t identity = at->header->identity;
        int end = item->end;
        sr_queue_leave(self, placed.link);
        item->phase = READY;
        item->redelivered = true;
        if (random_below(2))
            return;
        EXPECT(sr_queue_take_again(self, identity, placed.record.position, &placed) == SR_OK);
        check(item, &placed.record);
        struct sr_placed none;
        EXPECT(sr_queue_take_again(self, identity, placed.record.position, &none) == SR_EMPTY);
        EXPECT(sr_queue_take_again(self, identity ^ 8, placed.record.position, &none) == SR_EMPTY);
        item->phase = TAKEN;
        item->end = end;
        item->placed = placed;
        return;
    }
    EXPECT(sr_acknowledge(at, &placed.record) == SR_OK);
    sr_announce_room(at);
    (void)sr_queue_note_taken(self, placed.link);
    sr_queue_leave(self, placed.link);
    forget(item);
}

/* One that holds nothing leaves; another is killed, with what it has in hand. */
static void leave(int i, bool is_killed) {
    bool abandoned;
    int others = 0;
    for (int j = 0; j < ENDS; j++)
        others += j != i && is_open[j];
    for (int j = 0; j < count; j++)
        if (items[j].phase == TAKEN && items[j].end == i)
            is_killed = true;
    if (!others)
        return;
    kernel_act_as(i);
    if (is_killed) {
        for (int j = 0; j < count; j++)
            if (items[j].phase == TAKEN && items[j].end == i) {
                items[j].phase = READY;
                items[j].redelivered = true;
            }
        sr_os_locks_close(ends[i].locks);
        sr_os_let_go(&ends[i].token);
        sr_os_let_go(&ends[i].claim);
    } else {
        EXPECT(sr_detach(&ends[i], &abandoned) == SR_OK && !abandoned);
        sr_detach_finish(&ends[i]);
    }
    for (struct sr_link *link = queues[i].links; link; link = link->next)
        link->kept = false;
    sr_queue_close(&queues[i]);
    is_open[i] = false;
    for (int j = 0; j < ENDS; j++)
        if (is_open[j]) {
            kernel_act_as(j);
            EXPECT(sr_reap(&ends[j]) == is_killed);
            break;
        }
}

static void look(void) {
    struct sr_contents contents;
    int i = some_end(), taken = 0;
    for (int j = 0; j < count; j++)
        taken += items[j].phase == TAKEN;
    EXPECT(queues[i].further.contents(&queues[i].further, &contents) == SR_OK);
    if (shutdown == SR_STOPPED)
        return;
    EXPECT(contents.taken == (uint64_t)taken && contents.ready == (uint64_t)(count - taken) && !contents.claimed);
    EXPECT(sr_queue_reserved(&queues[i]) >= plan.segment_size);
    EXPECT(control->first <= control->last && control->buried <= control->first);
    for (uint64_t a = control->first; a <= control->last; a++) /* no two links in one place */
        for (uint64_t b = control->first; b < a; b++) {
            const struct sr_link_entry *one = &control->table[a % SR_QUEUE_LINKS],
                                       *other = &control->table[b % SR_QUEUE_LINKS];
            EXPECT(one->offset >= other->offset + (other->length & ~UINT64_C(1)) ||
                   other->offset >= one->offset + (one->length & ~UINT64_C(1)));
        }
}

static uint64_t some_length(void) {
    uint64_t which = random_below(16);
    return which < 10 ? random_below(900) : which < 14 ? random_below(2049) : random_below(12000);
}

static void drain(void) {
    while (some_taken())
        settle(some_taken(), false);
    for (int i = some_end(); oldest();) {
        struct item *item = get(i);
        if (!item)
            return;
        settle(item, false);
    }
    for (int rounds = 0; rounds < 3; rounds++)
        for (int i = 0; i < ENDS; i++) {
            struct sr_wait wait = at_once();
            kernel_act_as(some_end());
            tidy_up(i);
            (void)sr_queue_tidy(&queues[i], &wait, 0);
            EXPECT(get(i) == NULL);
        }
    EXPECT(control->first == control->last && control->buried == control->first);
    for (int i = 0; i < ENDS; i++)
        for (struct sr_link *link = queues[i].links; link; link = link->next)
            EXPECT(!link->users);
    /* What is given back: all but a link, the first's header, and the control block. */
    EXPECT(memory_file_stored() <= 10 + 10 + 8 + 64);
}

static void drive(int calls) {
    for (int n = 0; n < calls; n++) {
        uint64_t which = random_below(32);
        int i = some_end();
        if (which < 13 && count < LONGEST - 1)
            (void)put(i, some_length());
        else if (which < 22)
            (void)get(i);
        else if (which < 30 && some_taken())
            settle(some_taken(), random_below(4) == 0);
        else if (which == 30 && random_below(4) == 0)
            leave(i, random_below(2));
        else if (which == 31 && random_below(8) == 0)
            drain();
        look();
    }
}

static void finish(void) {
    drain();
    if (!maxsize)
        EXPECT(put(some_end(), 1000));
    shutdown = SR_DRAINING;
    EXPECT(sr_queue_shut_down(&queues[some_end()], SR_DRAINING) == SR_OK);
    EXPECT(!put(some_end(), 10) && sr_queue_try_room(&queues[some_end()], 10) == SR_SHUT_DOWN);
    int last = some_end();
    for (struct item *item; (item = get(last));)
        settle(item, false);
    EXPECT(!count);
}
static void unbounded(void) {
    for (seed = 1; seed < 12; seed++) {
        uint64_t first = seed;
        make(0, UINT64_C(1) << 30, FOREVER_PAGES);
        drive(400);
        finish();
        seed = first;
    }
}
static void counted(void) {
    for (seed = 100; seed < 112; seed++) {
        uint64_t first = seed;
        make(1 + seed % 7, UINT64_C(1) << 30, FOREVER_PAGES);
        drive(400);
        finish();
        seed = first;
    }
}
/* Two links at most, and singles; then hardly any memory at all. */
static void bounded(void) {
    for (seed = 200; seed < 212; seed++) {
        uint64_t first = seed;
        make(0, 45056 + (seed % 3) * 50000, FOREVER_PAGES);
        drive(400);
        finish();
        seed = first;
    }
}
static void without_memory(void) {
    for (seed = 300; seed < 312; seed++) {
        uint64_t first = seed;
        make(0, UINT64_C(1) << 30, 4 + (unsigned)(seed % 5) * 9);
        drive(400);
        memory_file_limit(FOREVER_PAGES);
        finish();
        seed = first;
    }
}
static void nothing(void) {}

const struct configuration QUEUE_MODELS[] = {
    {C("model-queue", unbounded, nothing, 1, nothing)},
    {C("model-queue-maxsize", counted, nothing, 1, nothing)},
    {C("model-queue-max-bytes", bounded, nothing, 1, nothing)},
    {C("model-queue-memory", without_memory, nothing, 1, nothing)},
};
const size_t QUEUE_MODEL_COUNT = sizeof QUEUE_MODELS / sizeof *QUEUE_MODELS;
