/* os/linux.c - Linux: shared futexes, membarrier, the count of a POSIX semaphore. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/os.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <semaphore.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "os/semaphore.h"

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

int sr_os_semaphore_value(void *semaphore) {
    int value = -1;
    return sem_getvalue(semaphore, &value) == 0 ? value : -1;
}
