/* main.c - runs one configuration, and does what the platform would do.
 * usage: configurations NAME [LIMIT]; prints executions, pruned, steps, and what failed or "-". Without a name it lists them.
 * configurations - NUMBER LIMIT MILLISECONDS NAME...: with that break of a file (logic.py), the name of the first that fails,
 * or takes more of the processor than that, as what is broken may go round in circles. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "configurations.h"
#include "os/semaphore.h"

_Alignas(4096) unsigned char segment[SR_PAGE * 12];

/* Weak: a program with a kernel that has locks (kernel.c) has its own. */
int64_t pace_ns;
WEAK int64_t sr_os_monotonic_ns(void) {
    static int64_t now;
    return now = pace_ns ? now + pace_ns : 0;
}
int64_t sr_os_realtime_ns(void) { return NOW; }
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

static const struct configuration *const files[] = {
    RINGS, TOPICS, LATESTS, LINES, MODELS, TOPIC_MODELS, LINE_MODELS, HOSTILE, COMINGS, COMING_STORIES, QUEUE_MODELS};
static const size_t *const counts[] = {&RING_COUNT,   &TOPIC_COUNT,        &LATEST_COUNT,     &LINE_COUNT,
                                       &MODEL_COUNT,  &TOPIC_MODEL_COUNT,  &LINE_MODEL_COUNT, &HOSTILE_COUNT,
                                       &COMING_COUNT, &COMING_STORY_COUNT, &QUEUE_MODEL_COUNT};

static const struct configuration *named(const char *name) {
    for (size_t file = 0; file < sizeof counts / sizeof *counts; file++)
        for (size_t i = 0; counts[file] && i < *counts[file]; i++)
            if (!strcmp(name, files[file][i].name))
                return &files[file][i];
    exit(2);
}

int sr_broken;

static bool holds(const char *name, uint64_t limit, long most_ms) {
    int status;
    pid_t child = fork();
    if (child == 0) {
        setitimer(ITIMER_PROF, &(struct itimerval){.it_value = {most_ms / 1000, most_ms % 1000 * 1000}}, NULL);
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(0);
        _exit(!run(named(name), limit));
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static int find_out(int argc, char **argv) {
    sr_broken = atoi(argv[2]);
    for (int i = 5; i < argc; i++)
        if (!holds(argv[i], strtoull(argv[3], NULL, 10), strtol(argv[4], NULL, 10))) {
            puts(argv[i]);
            return 1;
        }
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 5 && !strcmp(argv[1], "-"))
        return find_out(argc, argv);
    if (argc > 1)
        return !run(named(argv[1]), argc > 2 ? strtoull(argv[2], NULL, 10) : 0);
    for (size_t file = 0; file < sizeof counts / sizeof *counts; file++)
        for (size_t i = 0; counts[file] && i < *counts[file]; i++)
            puts(files[file][i].name);
    return 0;
}
