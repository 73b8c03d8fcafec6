/* os/watch_linux.c - bells are eventfds; sleeping on several words is futex_waitv(2), since Linux 5.16. A kernel or a
 * seccomp profile without it leaves one word a thread. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/watch.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Spelled out, because the headers of the machine that builds may be older than the kernel that runs. */
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif
struct waited_word {
    uint64_t expected;
    uint64_t address;
    uint32_t flags;
    uint32_t reserved;
};
struct wide_timespec {
    int64_t seconds;
    int64_t nanoseconds;
};
enum { SHARED_WORD_OF_32_BITS = 2, STACK_BYTES = 128 * 1024 };

int sr_os_bell_open(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

void sr_os_bell_ring(int bell) {
    uint64_t one = 1;
    /* Refused only when it was rung 2^64 - 2 times, and then it is readable. */
    ssize_t written = write(bell, &one, sizeof one);
    (void)written;
}

void sr_os_bell_silence(int bell) {
    uint64_t times;
    ssize_t got = read(bell, &times, sizeof times);
    (void)got;
}

void sr_os_bell_close(int bell) { close(bell); }

unsigned sr_os_words_at_once(void) {
    static sr_atomic_u32 known; /* the same answer whoever writes it first */
    if (!SR_LOAD(&known, relaxed)) {
        bool has_it = syscall(SYS_futex_waitv, NULL, 0, 0, NULL, 0) == -1 && errno == EINVAL;
        SR_STORE(&known, has_it ? SR_OS_WORDS_MOST : 1, relaxed);
    }
    return SR_LOAD(&known, relaxed);
}

static long wait_for_one(sr_atomic_u32 *word, uint32_t expected, int64_t timeout_ns) {
    struct timespec timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
    return syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, NULL, 0);
}

static long wait_for_any(sr_atomic_u32 *const *words, const uint32_t *expected, unsigned count, int64_t timeout_ns) {
    struct waited_word waited[SR_OS_WORDS_MOST];
    for (unsigned i = 0; i < count; i++)
        waited[i] = (struct waited_word){expected[i], (uintptr_t)words[i], SHARED_WORD_OF_32_BITS, 0};
    int64_t until = sr_os_monotonic_ns() + timeout_ns;
    struct wide_timespec deadline = {until / 1000000000, until % 1000000000};
    return syscall(SYS_futex_waitv, waited, count, 0, &deadline, CLOCK_MONOTONIC);
}

enum sr_os_wakeup sr_os_park_on_any(sr_atomic_u32 *const *words, const uint32_t *expected, unsigned count,
                                    int64_t timeout_ns, unsigned *woken) {
    long answer =
        count == 1 ? wait_for_one(words[0], expected[0], timeout_ns) : wait_for_any(words, expected, count, timeout_ns);
    *woken = answer < 0 ? count : (unsigned)answer;
    if (answer >= 0 || errno == EAGAIN)
        return SR_OS_WOKEN;
    return errno == EINTR ? SR_OS_INTERRUPTED : SR_OS_TIMED_OUT;
}

struct start {
    void (*run)(void *context);
    void *context;
};

static void *run_thread(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    start.run(start.context);
    return NULL;
}

bool sr_os_thread_start(void (*run)(void *context), void *context) {
    struct start *start = malloc(sizeof *start);
    if (!start)
        return false;
    *start = (struct start){run, context};
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    /* Signals go to the program's own threads; those of a fault must still find their handler (os/memory.h). */
    sigset_t all, before;
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    sigdelset(&all, SIGSEGV);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, run_thread, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (error) {
        free(start);
        errno = error;
        return false;
    }
    pthread_setname_np(thread, "shmring-watch");
    pthread_detach(thread);
    return true;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void sr_os_watch_lock(void) { pthread_mutex_lock(&mutex); }
void sr_os_watch_unlock(void) { pthread_mutex_unlock(&mutex); }
void sr_os_watch_lock_renew(void) { pthread_mutex_init(&mutex, NULL); }
