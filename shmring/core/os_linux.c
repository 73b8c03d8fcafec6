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

int sr_os_semaphore_value(void *semaphore) {
    int value = -1;
    return sem_getvalue(semaphore, &value) == 0 ? value : -1;
}
