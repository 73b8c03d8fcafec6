/* os_memory_posix.c - msync, mlock, madvise, and the guard against truncated files. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os_memory.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

bool sr_os_memory_sync(void *address, size_t length, bool wait) {
    return msync(address, length, wait ? MS_SYNC : MS_ASYNC) == 0;
}

bool sr_os_memory_lock(const void *address, size_t length) { return mlock(address, length) == 0; }

bool sr_os_memory_unlock(const void *address, size_t length) { return munlock(address, length) == 0; }

void sr_os_memory_populate(void *address, size_t length) {
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; refused before, and harmless */
#endif
    /* For reading: that maps the neighbours of each page along, writable where the mapping is. */
    (void)madvise(address, length, MADV_POPULATE_READ);
}

/* What the handler looks through. An entry is free while its length is 0. */
struct guard {
    sr_atomic_u64 address;
    sr_atomic_u64 length;
    sr_atomic_u32 *damaged;
};
enum { GUARDS = 1024 };
static struct guard guards[GUARDS];
static sr_atomic_u32 guards_used;             /* entries from here on never were in use */
static struct sigaction found_first, chained; /* the handlers under ours: when it was put there first, and last */
static sr_atomic_u64 passing_on;              /* the thread that is in one of them */
static sr_atomic_u32 excused; /* raised signals that were taken for the echo of a fault, since the last fault */

/* Puts a page of zeros where the file has none any more. Async-signal-safe: a loop, a store and a system call. */
static bool patch(uint64_t address) {
    uint32_t used = SR_LOAD(&guards_used, acquire);
    for (uint32_t i = 0; i < used; i++) {
        uint64_t length = SR_LOAD(&guards[i].length, acquire); /* pairs with the release in sr_os_memory_guard */
        uint64_t begin = SR_LOAD(&guards[i].address, relaxed);
        if (!length || address - begin >= length)
            continue;
        SR_STORE(guards[i].damaged, 1, release);
        SR_STORE(&excused, 0, relaxed);
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        void *at = (void *)(uintptr_t)(address & ~(page - 1));
        return mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
    }
    return false;
}

/* Has a guarded mapping lost its end? A pipe tells of a missing page without a signal. */
static bool something_is_missing(void) {
    int ends[2];
    if (pipe(ends) != 0)
        return true; /* it may be so */
    bool missing = false;
    uint32_t used = SR_LOAD(&guards_used, acquire);
    for (uint32_t i = 0; i < used && !missing; i++) {
        uint64_t length = SR_LOAD(&guards[i].length, acquire);
        if (!length)
            continue;
        const char *last = (const char *)(uintptr_t)(SR_LOAD(&guards[i].address, relaxed) + length - 1);
        char byte;
        missing = SR_LOAD(guards[i].damaged, relaxed) || (write(ends[1], last, 1) < 0 && errno == EFAULT) ||
                  read(ends[0], &byte, 1) < 0;
    }
    close(ends[0]);
    close(ends[1]);
    return missing;
}

static bool is_passing_on(void) { return SR_LOAD(&passing_on, relaxed) == (uint64_t)(uintptr_t)pthread_self(); }

static bool was_raised_here(const siginfo_t *info) {
#ifdef SI_TKILL
    return info->si_code == SI_TKILL && info->si_pid == getpid();
#else
    return info->si_code <= 0 && info->si_pid == getpid();
#endif
}

/* A handler that was put over ours (faulthandler's) reports a fault, puts ours back and raises the signal anew. This one
 * is excused then: the access is tried again, and comes to us as the fault that it was. Not twice without a fault between:
 * nor did one come before the first. */
static bool is_echo(const siginfo_t *info) {
    return was_raised_here(info) && !is_passing_on() && something_is_missing() && SR_ADD(&excused, 1, relaxed) == 0;
}

/* Hands the signal on to the handler that we found. Its own predecessor may be us, when ours was put over it for the
 * second time: coming back here, the signal goes to the one that we found first. */
static void pass_on(int number, siginfo_t *info, void *context) {
    bool came_back = is_passing_on();
    const struct sigaction *next = came_back ? &found_first : &chained;
    if (next->sa_flags & SA_SIGINFO || (next->sa_handler != SIG_DFL && next->sa_handler != SIG_IGN)) {
        SR_STORE(&passing_on, (uint64_t)(uintptr_t)pthread_self(), relaxed);
        if (next->sa_flags & SA_SIGINFO)
            next->sa_sigaction(number, info, context);
        else
            next->sa_handler(number);
        if (!came_back)
            SR_STORE(&passing_on, 0, relaxed);
    } else {
        signal(number, SIG_DFL); /* the access is tried again, and ends the process as it would have */
        if (info->si_code <= 0)
            raise(number); /* no access: somebody sent it */
    }
}

static void on_sigbus(int number, siginfo_t *info, void *context) {
    int error = errno;
    bool mended = (info->si_code == BUS_ADRERR && patch((uint64_t)(uintptr_t)info->si_addr)) || is_echo(info);
    errno = error;
    if (!mended)
        pass_on(number, info, context);
}

/* Comes first, also when somebody (faulthandler.enable) has put a handler over ours since. */
static void stand_guard(void) {
    static bool has_stood;
    struct sigaction now;
    if (sigaction(SIGBUS, NULL, &now) != 0 || (now.sa_flags & SA_SIGINFO && now.sa_sigaction == on_sigbus))
        return;
    chained = now;
    if (!has_stood) {
        found_first = now;
        has_stood = true;
    }
    struct sigaction ours = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    sigemptyset(&ours.sa_mask);
    (void)sigaction(SIGBUS, &ours, NULL);
}

bool sr_os_memory_guard(void *address, size_t length, sr_atomic_u32 *damaged) {
    stand_guard();
    uint32_t used = SR_LOAD(&guards_used, relaxed);
    uint32_t i = 0;
    while (i < used && SR_LOAD(&guards[i].length, relaxed))
        i++;
    if (i == GUARDS)
        return false;
    guards[i].damaged = damaged;
    SR_STORE(&guards[i].address, (uint64_t)(uintptr_t)address, relaxed);
    SR_STORE(&guards[i].length, length, release); /* the handler sees all of it, or none */
    if (i == used)
        SR_STORE(&guards_used, used + 1, release);
    return true;
}

void sr_os_memory_unguard(void *address) {
    uint32_t used = SR_LOAD(&guards_used, relaxed);
    for (uint32_t i = 0; i < used; i++)
        if (SR_LOAD(&guards[i].length, relaxed) &&
            SR_LOAD(&guards[i].address, relaxed) == (uint64_t)(uintptr_t)address) {
            SR_STORE(&guards[i].length, 0, release);
            return;
        }
}

bool sr_os_memory_mapped(void *address, size_t length, int object, uint64_t offset) {
    (void)address;
    (void)length;
    (void)object;
    (void)offset;
    return true;
}

void sr_os_memory_unmapped(void *address) { (void)address; }
