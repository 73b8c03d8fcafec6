/* configurations.h - what the files of configurations share: one segment, and a wait that never gives up. */
#ifndef CONFIGURATIONS_H
#define CONFIGURATIONS_H

#include "blocking.h"
#include "explorer.h"

extern unsigned char segment[SR_PAGE * 12];
extern const struct sr_wait FOR_EVER;

/* Weak, because a program may leave files of configurations out. */
#define WEAK __attribute__((weak))
extern const struct configuration RINGS[] WEAK, TOPICS[] WEAK, LATESTS[] WEAK, LINES[] WEAK, MODELS[] WEAK,
    COMINGS[] WEAK;
extern const size_t RING_COUNT WEAK, TOPIC_COUNT WEAK, LATEST_COUNT WEAK, LINE_COUNT WEAK, MODEL_COUNT WEAK,
    COMING_COUNT WEAK;

#define C(title, setup, check, count, ...)                                                                             \
    .name = title, .before = setup, .after = check, .threads = count, .thread = {__VA_ARGS__}
#define SAFETY .fences_are_void = true /* they order nothing that these look at */

#endif
