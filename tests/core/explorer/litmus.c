/* litmus.c - the explorer held to itself: small programs whose executions are known by count, and outcomes that C11's model
 * allows or forbids. usage: litmus; prints name, executions, distinct ones found cleverly, distinct ones found naively,
 * and which outcomes were seen. */
#include <stdio.h>

#include "explorer.h"

static uint32_t x, y, z, alive, plain;
static uint32_t r0, r1, r2, r3;
static unsigned outcomes;

static void before(void) {
    x = y = z = plain = 0;
    alive = 1;
    r0 = r1 = r2 = r3 = 9;
}

/* Remembers which of the interesting outcomes occurred. */
static void saw(bool condition, int bit) { outcomes |= condition ? 1u << bit : 0; }

#define THREADS(...) .thread = {__VA_ARGS__}, .before = before

/* store buffering */
static void sb0(void) {
    SR_STORE(&x, 1, release);
    r0 = SR_LOAD(&y, acquire);
}
static void sb1(void) {
    SR_STORE(&y, 1, release);
    r1 = SR_LOAD(&x, acquire);
}
static void sb_after(void) {
    saw(!r0 && !r1, 0);
    saw(r0 && r1, 1);
}
static void sbf0(void) {
    SR_STORE(&x, 1, relaxed);
    explore_fence();
    r0 = SR_LOAD(&y, relaxed);
}
static void sbf1(void) {
    SR_STORE(&y, 1, relaxed);
    explore_fence();
    r1 = SR_LOAD(&x, relaxed);
}

/* message passing, with and without the acquire */
static void mp0(void) {
    SR_STORE(&x, 1, relaxed);
    SR_STORE(&y, 1, release);
}
static void mp1(void) {
    r0 = SR_LOAD(&y, acquire);
    r1 = SR_LOAD(&x, relaxed);
}
static void mp_relaxed1(void) {
    r0 = SR_LOAD(&y, relaxed);
    r1 = SR_LOAD(&x, relaxed);
}
static void mp_after(void) {
    saw(r0 == 1 && r1 == 0, 0);
    saw(r0 == 1 && r1 == 1, 1);
}

/* a release sequence through a read-modify-write of another thread */
static void rs1(void) { SR_ADD(&y, 1, relaxed); }
static void rs2(void) {
    r0 = SR_LOAD(&y, acquire);
    r1 = SR_LOAD(&x, relaxed);
}
static void rs_after(void) {
    saw(r0 == 2 && r1 == 0, 0);
    saw(r0 == 2 && r1 == 1, 1);
}

/* independent reads of independent writes */
static void iriw0(void) { SR_STORE(&x, 1, release); }
static void iriw1(void) { SR_STORE(&y, 1, release); }
static void iriw2(void) {
    r0 = SR_LOAD(&x, acquire);
    r1 = SR_LOAD(&y, acquire);
}
static void iriw3(void) {
    r2 = SR_LOAD(&y, acquire);
    r3 = SR_LOAD(&x, acquire);
}
static void iriw_after(void) { saw(r0 == 1 && r1 == 0 && r2 == 1 && r3 == 0, 0); }

/* coherence: two reads of one location never go back */
static void co0(void) {
    SR_STORE(&x, 1, relaxed);
    SR_STORE(&x, 2, relaxed);
}
static void co1(void) {
    r0 = SR_LOAD(&x, relaxed);
    r1 = SR_LOAD(&x, relaxed);
}
static void co_after(void) {
    saw(r0 != 9 && r1 < r0, 0);
    saw(r0 == 0 && r1 == 2, 1);
}

/* three compare-and-swaps for one place: one wins */
static void cas(uint32_t *won) {
    uint32_t nobody = 0;
    *won = SR_CAS(&x, &nobody, 1, acq_rel);
}
static void cas0(void) { cas(&r0); }
static void cas1(void) { cas(&r1); }
static void cas2(void) { cas(&r2); }
static void cas_after(void) {
    saw(r0 + r1 + r2 != 1, 0);
    saw(r2 == 1, 1);
}

/* plain memory behind a flag, and before it */
static void race0(void) {
    explore_data(&plain, true);
    SR_STORE(&x, 1, release);
}
static void race1(void) {
    if (SR_LOAD(&x, acquire))
        explore_data(&plain, false);
}
static void race_relaxed1(void) {
    if (SR_LOAD(&x, relaxed))
        explore_data(&plain, false);
}
static void nothing(void) {}

/* a futex: asleep for good when the waker looks before the sleeper has told */
static void park0(void) {
    SR_STORE(&x, 1, relaxed);
    explore_fence();
    if (SR_LOAD(&y, relaxed)) {
        SR_ADD(&z, 1, relaxed);
        explore_unpark(&z, 1);
    }
}
static void park1(void) {
    uint32_t ticket = SR_LOAD(&z, relaxed);
    SR_STORE(&y, 1, relaxed);
    explore_fence();
    if (!SR_LOAD(&x, relaxed))
        explore_park(&z, ticket);
    r0 = 1;
}
static void park_unfenced1(void) {
    uint32_t ticket = SR_LOAD(&z, relaxed);
    SR_STORE(&y, 1, relaxed);
    if (!SR_LOAD(&x, relaxed))
        explore_park(&z, ticket);
    r0 = 1;
}
static void park_after(void) {
    saw(explore_is_asleep(1), 0);
    saw(r0 == 1, 1);
}

/* a death between two stores is seen with the first and without the second */
static void kill0(void) {
    SR_STORE(&x, 1, relaxed);
    SR_STORE(&y, 1, relaxed);
}
static void kill1(void) {
    if (!SR_LOAD(&alive, acquire)) {
        r0 = SR_LOAD(&x, relaxed);
        r1 = SR_LOAD(&y, relaxed);
    }
}
static void kill_after(void) {
    saw(r0 == 0 && r1 == 1, 0);
    saw(r0 == 1 && r1 == 0, 1);
    saw(r0 == 0 && r1 == 0, 2);
}

static const struct configuration ALL[] = {
    {.name = "store-buffering", .threads = 2, THREADS(sb0, sb1), .after = sb_after},
    {.name = "store-buffering-fenced", .threads = 2, THREADS(sbf0, sbf1), .after = sb_after},
    {.name = "message-passing", .threads = 2, THREADS(mp0, mp1), .after = mp_after},
    {.name = "message-passing-relaxed", .threads = 2, THREADS(mp0, mp_relaxed1), .after = mp_after},
    {.name = "release-sequence", .threads = 3, THREADS(mp0, rs1, rs2), .after = rs_after},
    {.name = "independent-reads", .threads = 4, THREADS(iriw0, iriw1, iriw2, iriw3), .after = iriw_after},
    {.name = "coherence", .threads = 2, THREADS(co0, co1), .after = co_after},
    {.name = "compare-and-swap", .threads = 3, THREADS(cas0, cas1, cas2), .after = cas_after},
    {.name = "plain-behind-a-flag", .threads = 2, THREADS(race0, race1), .after = nothing},
    {.name = "plain-race", .threads = 2, THREADS(race0, race_relaxed1), .after = nothing},
    {.name = "park", .threads = 2, THREADS(park0, park1), .after = park_after},
    {.name = "park-unfenced", .threads = 2, THREADS(park0, park_unfenced1), .after = park_after},
    {.name = "kill", .threads = 2, THREADS(kill0, kill1), .after = kill_after, .alive = &alive},
};

int main(void) {
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) {
        outcomes = 0;
        struct exploration naive = explore(&ALL[i], true, true, 0);
        unsigned seen_naively = outcomes;
        outcomes = 0;
        struct exploration clever = explore(&ALL[i], false, true, 0);
        printf("%s %llu %llu %llu %u %u %s\n", ALL[i].name, (unsigned long long)clever.executions,
               (unsigned long long)clever.distinct, (unsigned long long)naive.distinct, outcomes, seen_naively,
               clever.failure ? clever.failure : "-");
    }
    return 0;
}
