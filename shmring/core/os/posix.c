/* os/posix.c - what Linux and macOS have alike: clocks, sleeping, and semaphores with names. */
#include <errno.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"
#include "os/semaphore.h"

static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t sr_os_monotonic_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
int64_t sr_os_realtime_ns(void) { return clock_ns(CLOCK_REALTIME); }

unsigned sr_os_processors(void) {
    /* The machine's, not this process's: whom we wait for may be pinned elsewhere. */
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

uint32_t sr_os_process_id(void) { return (uint32_t)getpid(); }
void sr_os_yield(void) { sched_yield(); }

void sr_os_sleep_ns(int64_t duration_ns) {
    struct timespec duration = {duration_ns / 1000000000, duration_ns % 1000000000};
    nanosleep(&duration, NULL);
}

void *sr_os_semaphore_open(const char *name) {
    sem_t *semaphore = sem_open(name, 0);
    return semaphore == SEM_FAILED ? NULL : semaphore;
}

void sr_os_semaphore_close(void *semaphore) { sem_close(semaphore); }
void sr_os_semaphore_unlink(const char *name) { (void)sem_unlink(name); }

bool sr_os_semaphore_try_wait(void *semaphore) {
    int answer;
    do
        answer = sem_trywait(semaphore);
    while (answer != 0 && errno == EINTR);
    return answer == 0;
}

void sr_os_semaphore_post(void *semaphore) { sem_post(semaphore); }
