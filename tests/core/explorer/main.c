/* main.c - runs one configuration, and does what the platform would do.
 * usage: configurations NAME [LIMIT [SECONDS]]; prints executions, pruned, steps, and what failed or "-". Without a name it
 * lists them. SECONDS of the processor are the most that it takes: what was broken may go round in circles. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "configurations.h"
#include "os/semaphore.h"

_Alignas(4096) unsigned char segment[SR_PAGE * 12];

/* Weak: a program with a kernel that has locks (kernel.c) has its own. */
WEAK int64_t sr_os_monotonic_ns(void) { return 0; }
int64_t sr_os_realtime_ns(void) { return 0; }
uint32_t sr_os_process_id(void) { return 1; }
unsigned sr_os_processors(void) { return 2; }
void sr_os_yield(void) {}
WEAK void sr_os_sleep_ns(int64_t duration_ns) { (void)duration_ns; }
int sr_os_unpark(sr_atomic_u32 *word, int count) { return explore_unpark(word, count); }
enum sr_os_wakeup sr_os_park(sr_atomic_u32 *word, uint32_t expected, int64_t timeout_ns) {
    (void)timeout_ns;
    explore_park(word, expected);
    return SR_OS_WOKEN;
}
WEAK int sr_reap_in_turn(struct sr_endpoint *self, int64_t interval_ns) { return self == NULL && interval_ns; }
WEAK struct sr_peers sr_peers_of(const struct sr_endpoint *self, uint32_t role) {
    return (struct sr_peers){.alive = self != NULL && role};
}
bool sr_os_semaphore_try_wait(void *semaphore) {
    uint32_t value = SR_LOAD((uint32_t *)semaphore, acquire);
    while (value)
        if (SR_CAS((uint32_t *)semaphore, &value, value - 1, acq_rel))
            return true;
    return false;
}
void sr_os_semaphore_post(void *semaphore) { SR_ADD((uint32_t *)semaphore, 1, release); }
int sr_os_semaphore_value(void *semaphore) { return (int)SR_LOAD((uint32_t *)semaphore, acquire); }

static void hook(void *context) { (void)context; }
static bool never(void *context) { return context != NULL; }
static const struct sr_hooks HOOKS = {hook, hook, never};
const struct sr_wait FOR_EVER = {.deadline_ns = INT64_MAX, .hooks = &HOOKS};

static bool run(const struct configuration *one, uint64_t limit) {
    struct exploration found = explore(one, false, false, limit);
    printf("%llu %llu %llu %s %s\n", (unsigned long long)found.executions, (unsigned long long)found.pruned,
           (unsigned long long)found.steps, found.finished ? "all" : "stopped", found.failure ? found.failure : "-");
    return !found.failure;
}

int main(int argc, char **argv) {
    if (argc > 3) {
        const rlim_t seconds = strtoull(argv[3], NULL, 10);
        setrlimit(RLIMIT_CPU, &(struct rlimit){seconds, seconds + 1});
    }
    const struct configuration *files[] = {RINGS, TOPICS, LATESTS, LINES, MODELS, COMINGS};
    const size_t *counts[] = {&RING_COUNT, &TOPIC_COUNT, &LATEST_COUNT, &LINE_COUNT, &MODEL_COUNT, &COMING_COUNT};
    for (int file = 0; file < 6; file++)
        for (size_t i = 0; counts[file] && i < *counts[file]; i++) {
            if (argc < 2)
                printf("%s\n", files[file][i].name);
            else if (!strcmp(argv[1], files[file][i].name))
                return !run(&files[file][i], argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
        }
    return argc < 2 ? 0 : 2;
}
