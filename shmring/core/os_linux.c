/* os_linux.c - Linux: shared futexes, open-file-description locks, membarrier, POSIX semaphores.
 *
 * OFD locks (fcntl(2)) belong to the open file description: unlike POSIX record locks they do not vanish when the process
 * closes some other descriptor of the file, and they work across pid namespaces. The mapping must not be made through the
 * token's description, because a forked child would keep that alive with the mapping.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os_semaphore.h"

bool sr_fences_are_asymmetric;

static long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

void sr_os_start(void) {
    /* Registration lasts for the process and is inherited by its forked children. A process that may not register keeps
     * to full fences; one that may relies on nobody else's registration. */
    sr_fences_are_asymmetric = membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) == 0;
}

void sr_heavy_fence(void) {
    atomic_thread_fence(memory_order_seq_cst);
    /* Reaches every registered process, whichever mapping it has. Where it is refused, light fences are full ones. */
    (void)membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}

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

enum sr_os_wakeup sr_os_park(sr_atomic_u32 *word, uint32_t expected, int64_t timeout_ns) {
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    if (syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, NULL, 0) == 0 || errno == EAGAIN)
        return SR_OS_WOKEN;
    return errno == EINTR ? SR_OS_INTERRUPTED : SR_OS_TIMED_OUT;
}

int sr_os_unpark(sr_atomic_u32 *word, int count) {
    long woken = syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
    return woken < 0 ? 0 : (int)woken;
}

int sr_os_token_open(int segment_fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", segment_fd);
    return open(path, O_RDWR | O_CLOEXEC); /* a new description of the same file, named or not */
}

void sr_os_token_close(int token) { close(token); }

static struct flock byte_lock(short type, uint64_t byte) {
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
}

bool sr_os_token_lock(int token, uint64_t byte) {
    struct flock lock = byte_lock(F_WRLCK, byte);
    return fcntl(token, F_OFD_SETLK, &lock) == 0;
}

void sr_os_token_unlock(int token, uint64_t byte) {
    struct flock lock = byte_lock(F_UNLCK, byte);
    (void)fcntl(token, F_OFD_SETLK, &lock); /* cannot fail for a lock that we hold */
}

enum sr_os_liveness sr_os_token_probe(int token, uint64_t byte) {
    struct flock lock = byte_lock(F_WRLCK, byte);
    if (fcntl(token, F_OFD_GETLK, &lock) != 0)
        return SR_OS_UNKNOWN;
    return lock.l_type == F_UNLCK ? SR_OS_DEAD : SR_OS_ALIVE;
}

bool sr_os_token_sees_lock(int token, uint64_t begin, uint64_t length) {
    struct flock lock = byte_lock(F_WRLCK, begin);
    lock.l_len = (off_t)length;
    return fcntl(token, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

bool sr_os_at_fork(void (*child)(void)) { return pthread_atfork(NULL, NULL, child) == 0; }

void *sr_os_semaphore_open(const char *name) {
    sem_t *semaphore = sem_open(name, 0);
    return semaphore == SEM_FAILED ? NULL : semaphore;
}

void sr_os_semaphore_close(void *semaphore) { sem_close(semaphore); }

bool sr_os_semaphore_try_wait(void *semaphore) {
    int answer;
    do
        answer = sem_trywait(semaphore);
    while (answer != 0 && errno == EINTR);
    return answer == 0;
}

void sr_os_semaphore_post(void *semaphore) { sem_post(semaphore); }

int sr_os_semaphore_value(void *semaphore) {
    int value = -1;
    return sem_getvalue(semaphore, &value) == 0 ? value : -1;
}
