/* lines.c - the configurations of the line for room: who comes, leaves and dies there, and that its turn means something. */
#include <stdlib.h>

#include "configurations.h"

enum { OTHER = EXPLORE_THREADS };

static struct sr_header *const header = (struct sr_header *)segment;
static struct sr_endpoint ends[EXPLORE_THREADS + 1];
static struct sr_place places[EXPLORE_THREADS + 1];
static uint32_t alive;
static bool is_leaving; /* the first thread has done with its turn, or is about to */

static void make_of(uint32_t kind, uint64_t granules) {
    struct sr_geometry plan;
    if (sr_geometry_plan(&plan, kind, granules * SR_GRANULE, 0) != SR_OK || plan.segment_size > sizeof segment)
        abort();
    memset(header, 0, sizeof *header);
    memset(segment + plan.words_offset, 0, plan.segment_size - plan.words_offset);
    memset(segment + plan.attachments_offset, 0, 8 * sizeof(struct sr_attachment));
    header->write_position = header->read_position = header->reclaim_position = sr_first_position(&plan);
    memset(places, 0, sizeof places);
    alive = 1;
    is_leaving = false;
    for (uint32_t i = 0; i <= EXPLORE_THREADS; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        sr_endpoint_bind(&ends[i], segment, &plan);
        ends[i].slot = i;
        ends[i].owner = 1u << SR_SLOT_BITS | i;
        ends[i].self = &ends[i].attachments[i];
    }
}
static void make(void) { make_of(SR_KIND_MPMC, 2); }

static void look(int thread) {
    if (places[thread].word)
        sr_line_look(&ends[thread], &places[thread], SR_LOAD(&header->reclaim_position, acquire));
}

static void come(int thread) {
    sr_line_join(&ends[thread], &places[thread]);
    look(thread);
}

static void come_and_go(int thread) {
    come(thread);
    sr_line_leave(&ends[thread], &places[thread]);
}

static void come_and_go_0(void) { come_and_go(0); }
static void come_and_go_1(void) { come_and_go(1); }
static void go_0(void) { sr_line_leave(&ends[0], &places[0]); }
static void come_1(void) { come(1); }
static void evict_2(void) { sr_line_evict(&ends[2], SR_LOAD(&header->turn, relaxed)); }

static void one_has_the_turn(void) {
    make();
    come(0);
}

/* Nobody stands in line, or has the turn, and the next to come gets it. */
static void empty_afterwards(void) {
    EXPECT(!header->turn);
    for (uint32_t i = 0; i < SR_LINE; i++)
        EXPECT(!header->line[i]);
    come(OTHER);
    EXPECT(header->turn == places[OTHER].word && places[OTHER].has_begun);
}

/* Whoever stands there still has the turn at its next look, at the latest. */
static void second_has_the_turn(void) {
    look(1);
    if (!places[1].word) /* it was evicted */
        come(1);
    EXPECT(places[1].word && header->turn == places[1].word && places[1].has_begun);
    sr_line_leave(&ends[1], &places[1]);
    empty_afterwards();
}

static void second_has_it_from_the_dead(void) {
    if (!alive)
        sr_line_repair(&ends[OTHER], ends[0].owner);
    second_has_the_turn();
}

static void repair_1(void) {
    if (!SR_LOAD(&alive, acquire))
        sr_line_repair(&ends[1], ends[0].owner);
    come(1);
}

/* One died with the turn, and two come to repair it: the first of them may be killed too. */
static void left_by_the_dead(void) {
    make();
    come(3);
    come(2);
}
static void repair_3_by_0(void) { sr_line_repair(&ends[0], ends[3].owner); }
static void repair_3_by_1(void) { sr_line_repair(&ends[1], ends[3].owner); }
static void next_has_it(void) {
    sr_line_repair(&ends[OTHER], ends[3].owner);
    look(2);
    EXPECT(header->turn == places[2].word && places[2].has_begun);
}

/* A full ring, and a turn that began when it was: what comes free is for the one who has it. */
static void full_with_a_turn(void) {
    struct sr_record record;
    make();
    while (sr_mpmc_try_claim(&ends[OTHER], 64, 0, &record) == SR_OK)
        EXPECT(sr_mpmc_commit(&ends[OTHER], &record) == SR_OK);
    come(0);
}
static void take_turn_0(void) {
    struct sr_record record;
    if (sr_mpmc_try_claim(&ends[0], 64, places[0].word, &record) == SR_OK)
        EXPECT(sr_mpmc_commit(&ends[0], &record) == SR_OK);
    is_leaving = true;
    sr_line_leave(&ends[0], &places[0]);
}
static void push_in_1(void) {
    struct sr_record record;
    if (sr_mpmc_try_claim(&ends[1], 64, 0, &record) == SR_OK)
        EXPECT(is_leaving);
}
static void take_2(void) {
    struct sr_record record;
    if (sr_mpmc_try_take(&ends[2], UINT64_MAX, &record) == SR_OK)
        EXPECT(sr_mpmc_acknowledge(&ends[2], &record) == SR_OK);
}

/* One has the turn, and stands still; all that lay in the ring has been got since. */
static void stands_still(uint32_t kind) {
    struct sr_record record;
    struct sr_topic_range range;
    make_of(kind, 16);
    if (kind == SR_KIND_TOPIC)
        EXPECT(sr_topic_subscribe(&ends[1], SR_START_OLDEST, 0, &range) == SR_OK);
    while (sr_try_claim(&ends[OTHER], 64, &record) == SR_OK)
        EXPECT(sr_commit(&ends[OTHER], &record) == SR_OK);
    struct sr_standing standing = {0};
    EXPECT(sr_try_claim(&ends[0], 512, &record) == SR_FULL);
    sr_line_join(&ends[0], &standing.place);
    EXPECT(sr_try_claim_again(&ends[0], 512, &standing, &record) == SR_FULL);
    EXPECT(header->turn && header->turn == standing.place.word);
    while (sr_try_take(&ends[1], UINT64_MAX, &record) == SR_OK)
        EXPECT(sr_acknowledge(&ends[1], &record) == SR_OK);
}
static void stands_still_mpmc(void) { stands_still(SR_KIND_MPMC); }
static void stands_still_topic(void) { stands_still(SR_KIND_TOPIC); }
static void go_on_2(void) {
    struct sr_record record;
    for (int looks = 0; looks < 2; looks++) {
        EXPECT(sr_try_claim(&ends[2], 64, &record) == SR_FULL);
        EXPECT(sr_look_up(&ends[2], true, false) == SR_OK);
    }
    EXPECT(sr_try_claim(&ends[2], 64, &record) == SR_OK);
}
static void nobody_has_the_turn(void) { EXPECT(!header->turn); }

const struct configuration LINES[] = {
    {C("line-come-and-go", make, empty_afterwards, 2, come_and_go_0, come_and_go_1)},
    {C("line-next", one_has_the_turn, second_has_the_turn, 2, go_0, come_1)},
    {C("line-evict", one_has_the_turn, second_has_the_turn, 3, go_0, come_1, evict_2)},
    {C("line-kill-leaver", one_has_the_turn, second_has_it_from_the_dead, 2, go_0, repair_1), .alive = &alive},
    {C("line-kill-comer", make, second_has_it_from_the_dead, 2, come_and_go_0, repair_1), .alive = &alive},
    {C("line-kill-repairer", left_by_the_dead, next_has_it, 2, repair_3_by_0, repair_3_by_1), .alive = &alive},
    {C("line-limit", full_with_a_turn, empty_afterwards, 3, take_turn_0, push_in_1, take_2)},
    {C("line-stands-still", stands_still_mpmc, nobody_has_the_turn, 1, go_on_2)},
    {C("line-stands-still-topic", stands_still_topic, nobody_has_the_turn, 1, go_on_2)},
};
const size_t LINE_COUNT = sizeof LINES / sizeof *LINES;
