/* rings.cpp - the core's own spsc.c, mpmc.c and wait.c under Relacy, a race detector with a model of C11 memory: small
 * rings, some threads, every load free to answer an older value, each iteration another interleaving.
 *
 *   rings SUITE random|bound|full ITERATIONS    exit status 0: no error; 1: Relacy's report on standard output
 *
 * bound tries every interleaving with at most two preemptions, full every one at all; both end by themselves, or never.
 * geometry.c touches nothing shared. It is compiled as C beside this file, so that these rings have real ones' words.
 * Deliberately not here: blocking.c, whose static atomic outlives an iteration, which Relacy does not allow.
 */
#include "replaced.h"

extern "C" {
#include "ring/endpoint.h"
#include "ring/spsc.c"
#include "ring/mpmc.c"
#include "ring/topic.c"
#include "wait/wait.c"
}

/* What a suite is run with beside its shape. */
static struct options {
    bool before_scrub; /* begin in the lap before the one whose claimers scrub */
    bool asymmetric_fences;
} options;

/* The kernel's part of parking. Nobody wakes without a reason, no time passes: a wake-up that is lost is a deadlock. */
enum sr_os_wakeup sr_os_park(sr_atomic_u32 *word, uint32_t expected, int64_t) {
    rl::context &context = rl::ctx();
    rl::atomic_thread_fence(rl::mo_seq_cst, $);
    uint32_t now;
    {
        rl::preemption_disabler until_asleep(context);
        now = SR_LOAD(word, acquire);
    }
    if (now == expected)
        word->wait(context, false, false, $);
    return SR_OS_WOKEN;
}
int sr_os_unpark(sr_atomic_u32 *word, int count) {
    rl::atomic_thread_fence(rl::mo_seq_cst, $);
    return word->wake(rl::ctx(), count, $);
}

/* A ring of so many granules, its producers and its consumers, in that order one a thread. */
template <typename derived, uint32_t kind, int granules, int slots, int producers, int consumers, int messages>
struct ring_suite : rl::test_suite<derived, producers + consumers> {
    sr_header header;
    sr_atomic_u64 words[granules];
    rl::var<uint64_t> payload[granules];
    unsigned char arena[granules * 64];
    sr_endpoint endpoints[producers + consumers];
    /* Beside the simulated memory: what was seen, and by whom. */
    int taken = 0;
    int seen[producers][messages] = {};
    int latest[consumers][producers];
    uint64_t latest_position[consumers] = {};

    static uint64_t first_position(const sr_geometry &g) {
        uint64_t lap = options.before_scrub ? (UINT64_C(1) << (g.lap_bits - 2)) - 1 : 1;
        return lap << (g.index_bits + g.sequence_bits);
    }

    void before() {
        sr_payload = {arena, payload};
        sr_fences_are_asymmetric = options.asymmetric_fences;
        sr_geometry geometry;
        RL_ASSERT(sr_geometry_plan(&geometry, kind, granules * 64, slots) == SR_OK);
        uint64_t first = first_position(geometry);
        for (auto &word : words)
            SR_STORE(&word, 0, relaxed);
        for (auto *position : {&header.write_position, &header.read_position, &header.reclaim_position})
            SR_STORE(position, first, relaxed);
        for (auto *count : {&header.returns, &header.returns_searched, &header.role_owner[0], &header.role_owner[1],
                            &header.turn, &header.turn_limit})
            SR_STORE(count, 0, relaxed);
        for (auto *half :
             {&header.shutdown, &header.items.sequence, &header.items.armed, &header.room.sequence, &header.room.armed})
            SR_STORE(half, 0, relaxed);
        for (int i = 0; i < producers + consumers; i++) {
            sr_endpoint &endpoint = endpoints[i];
            endpoint.header = &header;
            endpoint.words = words;
            endpoint.arena = arena;
            endpoint.geometry = geometry;
            endpoint.owner = (UINT64_C(1) << SR_SLOT_BITS) | (uint64_t)i;
            endpoint.redeliver = false;
            endpoint.write_position = endpoint.cached_read_position = first;
            endpoint.read_position = endpoint.cached_write_position = first;
        }
        for (auto &producer : latest)
            for (int &message : producer)
                message = -1;
    }

    void thread(unsigned index) {
        if (index < producers)
            self()->produce((int)index);
        else
            self()->consume((int)index - producers);
    }

    void after() {
        RL_ASSERT(taken == producers * messages);
        for (auto &producer : seen)
            for (int times : producer)
                RL_ASSERT(times == 1);
    }

    derived *self() { return static_cast<derived *>(this); }

    /* Messages of one granule and, where the ring takes them, every third of two: then some wrap behind padding. */
    static uint64_t length_of(int producer, int message) {
        return granules >= 4 && (producer + message) % 3 == 1 ? 128 : 64;
    }
    static uint64_t content(int producer, int message, uint64_t granule) {
        return (uint64_t)(producer + 1) << 32 | (uint64_t)message << 8 | granule;
    }

    void write(const sr_record &record, int producer, int message) {
        uint64_t bytes[16];
        for (uint64_t granule = 0; granule < record.length / 64; granule++)
            bytes[granule * 8] = content(producer, message, granule);
        SR_PAYLOAD_WRITE(record.payload, bytes, record.length);
    }

    /* Checks that the payload is all of the message that its first granule says it is. */
    void read(const sr_record &record, int *producer, int *message) {
        uint64_t bytes[16];
        SR_PAYLOAD_READ(bytes, record.payload, record.length);
        *producer = (int)(bytes[0] >> 32) - 1;
        *message = (int)(bytes[0] >> 8 & 0xff);
        RL_ASSERT(*producer >= 0 && *producer < producers && *message < messages);
        RL_ASSERT(record.length == length_of(*producer, *message));
        for (uint64_t granule = 0; granule < record.length / 64; granule++)
            RL_ASSERT(bytes[granule * 8] == content(*producer, *message, granule));
    }

    /* A consumer takes each producer's messages in the order of their claims; being alone, it takes all of them. */
    void check_order(const sr_record &record, int consumer, int producer, int message) {
        RL_ASSERT(!record.redelivered);
        RL_ASSERT(latest[consumer][producer] < message);
        RL_ASSERT(consumers > 1 || latest[consumer][producer] == message - 1);
        RL_ASSERT(!latest_position[consumer] ||
                  sr_distance(&endpoints[0].geometry, latest_position[consumer], record.position) > 0);
        latest[consumer][producer] = message;
        latest_position[consumer] = record.position;
    }

    void count(int producer, int message) {
        seen[producer][message]++;
        taken++;
    }
};

static sr_result done_or_to_wait(sr_result result) {
    RL_ASSERT(result == SR_OK || result == SR_FULL || result == SR_EMPTY);
    return result;
}

/* Tries until it is done: with yields in between, or asleep as in park_until_done of blocking.c. */
enum class waiting { yields, parks };
template <waiting how, typename attempt_type, typename give_up_type>
sr_result wait_for(sr_event *event, attempt_type attempt, give_up_type give_up) {
    for (;;) {
        uint32_t ticket = how == waiting::parks ? sr_event_announce(event) : 0;
        sr_result result = attempt();
        if (result == SR_OK || give_up())
            return result;
        if (how == waiting::parks)
            sr_event_park(event, ticket, INT64_MAX);
        else
            rl::yield(1, $);
    }
}
template <waiting how> void notify(sr_event *event, int count) {
    if (how == waiting::parks)
        sr_event_notify(event, count);
}

/* Lazily: either side shows its position at once or some messages later, but before it waits for the other. */
template <int granules, int slots, int messages, bool lazily, waiting how = waiting::yields>
struct spsc : ring_suite<spsc<granules, slots, messages, lazily, how>, SR_KIND_SPSC, granules, slots, 1, 1, messages> {
    static bool later() { return lazily && rl::rand(2); }

    void publish(sr_endpoint *self) {
        sr_spsc_publish(self);
        notify<how>(&this->header.items, 1);
    }
    void give_back_room(sr_endpoint *self) {
        sr_spsc_give_back_room(self);
        notify<how>(&this->header.room, SR_WAKE_ALL);
    }

    void produce(int producer) {
        sr_endpoint *self = &this->endpoints[0];
        for (int message = 0; message < messages; message++) {
            sr_record record;
            auto attempt = [&] {
                return done_or_to_wait(sr_spsc_try_claim(self, this->length_of(producer, message), &record));
            };
            sr_result result = attempt();
            if (result != SR_OK) {
                publish(self);
                result = wait_for<how>(&this->header.room, attempt, [] { return false; });
            }
            this->write(record, producer, message);
            sr_spsc_commit(self, &record);
            if (message == messages - 1 || !later())
                publish(self);
        }
    }

    void consume(int consumer) {
        sr_endpoint *self = &this->endpoints[1];
        while (this->taken < messages) {
            sr_record record;
            auto attempt = [&] { return done_or_to_wait(sr_spsc_try_take(self, 128, &record)); };
            sr_result result = attempt();
            if (result != SR_OK) {
                give_back_room(self);
                result = wait_for<how>(&this->header.items, attempt, [] { return false; });
            }
            int producer, message;
            this->read(record, &producer, &message);
            this->check_order(record, consumer, producer, message);
            this->count(producer, message);
            sr_spsc_acknowledge(self, &record);
            if (!later())
                give_back_room(self);
        }
    }
};

/* With hands_back, a consumer gives some messages back; somebody takes them again, out of order. */
template <int granules, int slots, int producers, int consumers, int messages, bool hands_back = false,
          waiting how = waiting::yields>
struct mpmc : ring_suite<mpmc<granules, slots, producers, consumers, messages, hands_back, how>, SR_KIND_MPMC, granules,
                         slots, producers, consumers, messages> {
    int handed_back[producers][messages] = {};

    void produce(int producer) {
        sr_endpoint *self = &this->endpoints[producer];
        for (int message = 0; message < messages; message++) {
            sr_record record;
            auto attempt = [&] {
                return done_or_to_wait(sr_mpmc_try_claim(self, this->length_of(producer, message), 0, &record));
            };
            sr_result result = attempt();
            if (result != SR_OK)
                result = wait_for<how>(&this->header.room, attempt, [] { return false; });
            this->write(record, producer, message);
            RL_ASSERT(sr_mpmc_commit(self, &record) == SR_OK);
            notify<how>(&this->header.items, 1);
        }
    }

    void consume(int consumer) {
        sr_endpoint *self = &this->endpoints[producers + consumer];
        auto all_taken = [&] { return this->taken == producers * messages; };
        while (!all_taken()) {
            sr_record record;
            auto attempt = [&] { return done_or_to_wait(sr_mpmc_try_take(self, 128, &record)); };
            sr_result result = attempt();
            if (result != SR_OK) {
                result = wait_for<how>(&this->header.items, attempt, all_taken);
                pass_on(self);
            }
            if (result != SR_OK)
                continue;
            int producer, message;
            this->read(record, &producer, &message);
            RL_ASSERT(record.redelivered == (handed_back[producer][message] > 0));
            if (hands_back && !handed_back[producer][message] && rl::rand(2)) {
                handed_back[producer][message]++;
                RL_ASSERT(sr_mpmc_hand_back(self, &record) == SR_OK);
                notify<how>(&this->header.items, 1);
                continue;
            }
            if (!hands_back)
                this->check_order(record, consumer, producer, message);
            RL_ASSERT(sr_mpmc_acknowledge(self, &record) == SR_OK);
            this->count(producer, message);
            notify<how>(&this->header.room, SR_WAKE_ALL);
            if (all_taken())
                notify<how>(&this->header.items, SR_WAKE_ALL); /* as a shutdown would */
        }
    }

    /* As in blocking.c: on the way out, arm for those who still sleep, and wake one if anything is left. */
    void pass_on(sr_endpoint *self) {
        if (how != waiting::parks)
            return;
        sr_event_announce(&this->header.items);
        if (sr_mpmc_maybe_ready(self))
            sr_event_wake(&this->header.items, 1);
    }
};

static const struct {
    const char *name;
    bool (*simulate)(rl::test_params &params);
    struct options options;
} suites[] = {
    {"spsc", rl::simulate<spsc<4, 0, 7, true>>, {}},
    {"spsc-slots", rl::simulate<spsc<4, 2, 7, true>>, {}},
    {"spsc-scrubs", rl::simulate<spsc<4, 0, 7, true>>, {.before_scrub = true}},
    {"spsc-small", rl::simulate<spsc<2, 0, 3, false>>, {}},
    {"spsc-least", rl::simulate<spsc<2, 0, 2, false>>, {}},
    {"spsc-parks", rl::simulate<spsc<2, 0, 4, false, waiting::parks>>, {}},
    {"spsc-parks-asymmetric",
     rl::simulate<spsc<2, 0, 4, false, waiting::parks>>,
     {.before_scrub = false, .asymmetric_fences = true}},
    {"mpmc-2-producers", rl::simulate<mpmc<4, 0, 2, 1, 3>>, {}},
    {"mpmc-2-consumers", rl::simulate<mpmc<4, 0, 1, 2, 6>>, {}},
    {"mpmc-slots", rl::simulate<mpmc<4, 2, 2, 2, 2>>, {}},
    {"mpmc-hands-back", rl::simulate<mpmc<4, 0, 1, 2, 4, true>>, {}},
    {"mpmc-scrubs", rl::simulate<mpmc<4, 0, 2, 1, 3>>, {.before_scrub = true}},
    {"mpmc-small", rl::simulate<mpmc<2, 0, 1, 1, 3>>, {}},
    {"mpmc-parks", rl::simulate<mpmc<2, 0, 1, 2, 3, false, waiting::parks>>, {}},
    {"mpmc-parks-asymmetric",
     rl::simulate<mpmc<2, 0, 1, 2, 3, false, waiting::parks>>,
     {.before_scrub = false, .asymmetric_fences = true}},
};

int main(int argc, char **argv) {
    for (auto &suite : suites) {
        if (argc != 4 || strcmp(argv[1], suite.name))
            continue;
        options = suite.options;
        rl::test_params params;
        params.iteration_count = strtoull(argv[3], nullptr, 10);
        params.context_bound = 2;
        params.search_type = rl::sched_random;
        if (!strcmp(argv[2], "bound"))
            params.search_type = rl::sched_bound;
        else if (!strcmp(argv[2], "full"))
            params.search_type = rl::sched_full;
        return suite.simulate(params) ? 0 : 1;
    }
    fprintf(stderr, "usage: rings SUITE random|bound|full ITERATIONS, where SUITE is one of\n");
    for (auto &suite : suites)
        fprintf(stderr, "  %s\n", suite.name);
    return 2;
}
