/* configurations.h - what the files of configurations share: one segment, and a wait that never gives up. */
#ifndef CONFIGURATIONS_H
#define CONFIGURATIONS_H

#include "blocking.h"
#include "explorer.h"

extern unsigned char segment[SR_PAGE * 12];
extern const struct sr_wait FOR_EVER;
enum { NOW = 77 };      /* by the clock on the wall */
extern int64_t pace_ns; /* that each look at the clock takes: 0, or time goes on, which only one thread may see */

/* Weak, because a program may leave files of configurations out. */
#define WEAK __attribute__((weak))
extern const struct configuration RINGS[] WEAK, TOPICS[] WEAK, LATESTS[] WEAK, LINES[] WEAK, MODELS[] WEAK,
    TOPIC_MODELS[] WEAK, LINE_MODELS[] WEAK, HOSTILE[] WEAK, COMINGS[] WEAK, COMING_STORIES[] WEAK, QUEUE_MODELS[] WEAK;
extern const size_t RING_COUNT WEAK, TOPIC_COUNT WEAK, LATEST_COUNT WEAK, LINE_COUNT WEAK, MODEL_COUNT WEAK,
    TOPIC_MODEL_COUNT WEAK, LINE_MODEL_COUNT WEAK, HOSTILE_COUNT WEAK, COMING_COUNT WEAK, COMING_STORY_COUNT WEAK,
    QUEUE_MODEL_COUNT WEAK;

#define C(title, setup, check, count, ...)                                                                             \
    .name = title, .before = setup, .after = check, .threads = count, .thread = {__VA_ARGS__}
#define SAFETY .fences_are_void = true /* they order nothing that these look at */

#endif
