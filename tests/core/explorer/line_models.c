/* line_models.c - the line for room in one thread, against a plain list of who stands there: whose turn it is, who is told so,
 * and what the others are held back to. */
#include <stdlib.h>

#include "configurations.h"

enum { ENDS = 3, WAITERS = 20 };

static struct sr_header *const header = (struct sr_header *)segment;
static struct sr_endpoint ends[ENDS];
static struct sr_geometry plan;

static uint64_t seed;
static uint64_t random_below(uint64_t bound) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % bound;
}

static void make(void) {
    if (sr_geometry_plan(&plan, SR_KIND_MPMC, 256, 0) != SR_OK)
        abort();
    memset(segment, 0, plan.segment_size);
    for (uint32_t i = 0; i < ENDS; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        sr_endpoint_bind(&ends[i], segment, &plan);
        ends[i].owner = 1u << SR_SLOT_BITS | i;
    }
}

static struct {
    struct sr_place place;
    uint64_t ticket; /* 0: it does not stand there */
    int end;
} waiters[WAITERS];
static uint64_t turn, limit, tickets; /* whose turn it is, by ticket */

static int waiter_of(uint64_t ticket) {
    for (int i = 0; i < WAITERS; i++)
        if (ticket && waiters[i].ticket == ticket)
            return i;
    return -1;
}
static void next_turn(void) {
    turn = 0;
    for (int i = 0; i < WAITERS; i++)
        if (waiters[i].ticket && (!turn || (int64_t)((waiters[i].ticket - turn) << 15) < 0))
            turn = waiters[i].ticket;
}
static void go(int i) {
    bool had_turn = waiters[i].ticket && waiters[i].ticket == turn;
    waiters[i].ticket = 0;
    if (had_turn)
        next_turn();
}
static bool is_of(int end, uint64_t word) {
    return word && (word >> 1 & ((1u << SR_OWNER_BITS) - 1)) == ends[end].owner;
}
static void stand_in_line(int i) {
    int end = (int)random_below(ENDS), standing = 0;
    if (waiters[i].place.word)
        return;
    for (int j = 0; j < WAITERS; j++)
        standing += waiters[j].ticket != 0;
    tickets++;
    waiters[i].end = end;
    sr_line_join(&ends[end], &waiters[i].place);
    EXPECT(!waiters[i].place.word == (standing == SR_LINE));
    EXPECT(!waiters[i].place.word || is_of(end, waiters[i].place.word));
    EXPECT(!waiters[i].place.word || header->line[waiters[i].place.index] == waiters[i].place.word);
    waiters[i].ticket = waiters[i].place.word ? tickets : 0;
}
static void look_in_line(int i) {
    uint64_t room = sr_first_position(&plan) + random_below(50);
    if (!waiters[i].place.word)
        return;
    bool begins = false, had_begun = waiters[i].place.has_begun;
    if (waiters[i].ticket && !turn)
        next_turn();
    if (waiters[i].ticket && turn == waiters[i].ticket && !had_begun) {
        begins = true;
        limit = room > limit ? room : limit;
    }
    sr_line_look(&ends[waiters[i].end], &waiters[i].place, room);
    EXPECT(!waiters[i].place.word == !waiters[i].ticket); /* one that was removed finds that out */
    EXPECT(waiters[i].place.has_begun == ((begins || had_begun) && waiters[i].ticket));
}
static void line(void) {
    for (seed = 1; seed < 30; seed++) {
        uint64_t first = seed;
        make();
        memset(waiters, 0, sizeof waiters);
        turn = limit = 0;
        header->tickets = tickets = seed % 2 ? 0 : (UINT64_C(1) << 49) - 40; /* which comes round */
        for (int n = 0; n < 500; n++) {
            int i = (int)random_below(WAITERS), end = (int)random_below(ENDS);
            uint64_t which = random_below(first % 3 ? 32 : 12); /* some lines are long */
            /* What lies behind is another's. */
            header->sent[0] = random_below(2) ? waiters[i].place.word ^ UINT64_C(1) << 40 : 0;
            uint64_t sent = header->sent[0];
            if (which < 9)
                stand_in_line(i);
            else if (which < 12 || which > 29)
                look_in_line(i);
            else if (which < 26) {
                bool had_turn = waiters[i].ticket && waiters[i].ticket == turn;
                go(i);
                EXPECT(sr_line_leave(&ends[waiters[i].end], &waiters[i].place) == had_turn);
                EXPECT(!waiters[i].place.word);
            } else if (which < 28) { /* one stands still with its turn */
                int holder = waiter_of(turn);
                EXPECT(holder < 0 || sr_line_evict(&ends[end], header->turn));
                EXPECT(!sent || !sr_line_evict(&ends[end], sent));
                if (holder >= 0)
                    go(holder);
            } else { /* one is dead; perhaps its turn is of a place that it had left */
                bool is_stale = !turn && random_below(2);
                if (is_stale)
                    header->turn = ends[end].owner << 1 | 1 | UINT64_C(1) << 40;
                bool had_turn = waiter_of(turn) >= 0 && waiters[waiter_of(turn)].end == end;
                sr_line_repair(&ends[0], ends[end].owner);
                for (int j = 0; j < WAITERS; j++)
                    if (waiters[j].end == end)
                        waiters[j].ticket = 0;
                if (had_turn || is_stale)
                    next_turn();
            }
            EXPECT(header->sent[0] == sent);
            EXPECT(!header->turn == !turn && header->turn_limit == limit);
            EXPECT(!turn || header->turn == waiters[waiter_of(turn)].place.word);
            for (int j = 0; j < WAITERS; j++)
                EXPECT(!waiters[j].ticket || header->line[waiters[j].place.index] == waiters[j].place.word);
        }
        seed = first;
    }
}
static void nothing(void) {}

const struct configuration LINE_MODELS[] = {{C("model-line", line, nothing, 1, nothing)}};
const size_t LINE_MODEL_COUNT = sizeof LINE_MODELS / sizeof *LINE_MODELS;
