/* latests.c - the configurations of latest values: a writer, readers, a successor. What a reader gets must be one value,
 * whole, no older than one that had been set before it began, nor than what it got before. */
#include <stdlib.h>

#include "configurations.h"

static struct sr_header *const header = (struct sr_header *)segment;
static struct sr_endpoint ends[EXPLORE_THREADS];
static uint32_t alive;
static uint64_t values_set; /* by calls that have returned */

static void make(void) {
    struct sr_geometry plan;
    if (sr_geometry_plan(&plan, SR_KIND_LATEST, SR_GRANULE, 0) != SR_OK || plan.segment_size > sizeof segment)
        abort();
    memset(header, 0, sizeof *header);
    memset(segment + plan.words_offset, 0, plan.segment_size - plan.words_offset);
    alive = 1;
    values_set = 0;
    for (uint32_t i = 0; i < EXPLORE_THREADS; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        sr_endpoint_bind(&ends[i], segment, &plan);
        ends[i].self = &ends[i].attachments[i];
    }
}

/* The value says its version three times over: in both words, and by its length. Every other one was claimed longer. */
static void set(int thread) {
    struct sr_record record;
    uint64_t length = 16 + (header->write_position + 1) % 48;
    EXPECT(sr_try_claim(&ends[thread], length + (length & 1), &record) == SR_OK);
    uint64_t *words = (uint64_t *)record.payload;
    SR_STORE(&words[0], record.position, relaxed);
    SR_STORE(&words[1], record.position, relaxed);
    EXPECT(sr_commit_part(&ends[thread], &record, length) == SR_OK && record.length == length);
    values_set = record.position;
    sr_announce(&ends[thread], 1);
}
static void set_times(int thread, int count) {
    for (int i = 0; i < count; i++)
        set(thread);
}

static uint64_t known[EXPLORE_THREADS];

static void look(int thread, const struct sr_record *record) {
    uint64_t *words = (uint64_t *)record->payload;
    uint64_t first = SR_LOAD(&words[0], relaxed), second = SR_LOAD(&words[1], relaxed);
    enum sr_result result = sr_acknowledge(&ends[thread], (struct sr_record *)record);
    EXPECT(result == SR_OK || result == SR_OVERWRITTEN);
    if (result != SR_OK)
        return;
    EXPECT(first == record->position && second == record->position);
    EXPECT(record->length == 16 + record->position % 48);
    EXPECT(record->position >= known[thread]);
    known[thread] = record->position;
}
static void get(int thread) {
    struct sr_record record;
    enum sr_result result = sr_try_take(&ends[thread], 0, &record);
    EXPECT(result == SR_OK);
    if (result == SR_OK)
        look(thread, &record);
}

/* One lap of places is behind us, so that each set of these writes over an old value. */
static void four_set(void) {
    make();
    set_times(0, 4);
    memset(known, 0, sizeof known);
}

static void w0x2(void) { set_times(0, 2); }
static void w0x4(void) { set_times(0, 4); }
static void w0x5(void) { set_times(0, 5); }
static void r1(void) { get(1); }
static void r2(void) { get(2); }
static void r1x2(void) {
    get(1);
    get(1);
}
static void successor_2(void) {
    if (!SR_LOAD(&alive, acquire)) /* the role's word does this: role-passed */
        set_times(2, 2);
}
static void wait_1(void) {
    struct sr_record record;
    EXPECT(sr_take(&ends[1], 4, &FOR_EVER, &record) == SR_OK);
    look(1, &record);
}
static void wait_2(void) {
    struct sr_record record;
    EXPECT(sr_take(&ends[2], 4, &FOR_EVER, &record) == SR_OK);
}
static void w0x1(void) { set(0); }
static void shut_down_0(void) { sr_shut_down(&ends[0], SR_DRAINING); }
static void wait_for_shutdown_1(void) {
    struct sr_record record;
    EXPECT(sr_take(&ends[1], 4, &FOR_EVER, &record) == SR_SHUT_DOWN);
}
static void set_and_shut_down_0(void) {
    set(0);
    sr_shut_down(&ends[0], SR_DRAINING);
}
static void told_after_the_value_1(void) {
    struct sr_record record;
    enum sr_result result = sr_try_take(&ends[1], 4, &record);
    EXPECT(result == SR_OK || result == SR_EMPTY);
}

static void the_newest_is_there(void) {
    struct sr_record record;
    EXPECT(sr_try_take(&ends[3], 0, &record) == SR_OK);
    EXPECT(record.position == values_set || (!alive && record.position == values_set + 1));
    look(3, &record);
    EXPECT(known[3] == record.position);
    set_times(4, 5);
    get(3);
    EXPECT(known[3] == values_set);
}
static void nobody_sleeps(void) {
    for (int i = 0; i < EXPLORE_THREADS; i++)
        EXPECT(!explore_is_asleep(i));
}

const struct configuration LATESTS[] = {
    {C("latest-1w1r", four_set, the_newest_is_there, 2, w0x5, r1), SAFETY},
    {C("latest-1w1r-x2", four_set, the_newest_is_there, 2, w0x4, r1x2), SAFETY},
    {C("latest-1w2r", four_set, the_newest_is_there, 3, w0x4, r1, r2), SAFETY},
    {C("latest-kill-writer", four_set, the_newest_is_there, 3, w0x2, r1, successor_2), .alive = &alive, SAFETY},
    {C("latest-park", four_set, nobody_sleeps, 2, w0x1, wait_1)},
    {C("latest-park-2r", four_set, nobody_sleeps, 3, w0x1, wait_1, wait_2)},
    {C("latest-park-shutdown", four_set, nobody_sleeps, 2, shut_down_0, wait_for_shutdown_1)},
    {C("latest-shutdown", four_set, nobody_sleeps, 2, set_and_shut_down_0, told_after_the_value_1)},
};
const size_t LATEST_COUNT = sizeof LATESTS / sizeof *LATESTS;
