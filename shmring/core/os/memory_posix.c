/* os/memory_posix.c - msync, mlock, madvise, and the guard against truncated files. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/os.h"

bool sr_os_memory_sync(void *address, size_t length, bool wait) {
    return msync(address, length, wait ? MS_SYNC : MS_ASYNC) == 0;
}

bool sr_os_memory_lock(const void *address, size_t length) { return mlock(address, length) == 0; }

bool sr_os_memory_unlock(const void *address, size_t length) { return munlock(address, length) == 0; }

bool sr_os_memory_map_over(void *address, size_t length, int file, uint64_t offset, bool writable, bool shared) {
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    int flags = MAP_FIXED | (shared ? MAP_SHARED : MAP_PRIVATE);
    return mmap(address, length, protection, flags, file, (off_t)offset) != MAP_FAILED;
}

void sr_os_memory_populate(void *address, size_t length) {
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; refused before, and harmless */
#endif
    /* For reading: that maps the neighbours of each page along, writable where the mapping is. */
    (void)madvise(address, length, MADV_POPULATE_READ);
}

/* What the handler looks through: blocks that are added as they are needed and never freed. An entry is in use while its
 * version is odd, and the handler believes what it read only if the version did not change meanwhile. */
struct guard {
    sr_atomic_u64 version;
    sr_atomic_u64 address;
    sr_atomic_u64 length;
    _Atomic(sr_atomic_u32 *) damaged;
};
enum { GUARDS_IN_A_BLOCK = 128 };
struct guards {
    struct guard entries[GUARDS_IN_A_BLOCK];
    _Atomic(struct guards *) next;
};
static struct guards first_guards;
static struct sigaction found_first, chained; /* the handlers under ours: when it was put there first, and last */
static sr_atomic_u64 passing_on;              /* the thread that is in one of them */
static sr_atomic_u32 excused; /* raised signals that were taken for the echo of a fault, since the last fault */

struct guarded {
    uint64_t address, length;
    sr_atomic_u32 *damaged;
};

/* Calls look for every guard until it says true. Async-signal-safe if look is: loads only. */
static bool any_guard(bool (*look)(const struct guarded *, void *), void *context) {
    for (struct guards *block = &first_guards; block; block = SR_LOAD(&block->next, acquire)) {
        for (int i = 0; i < GUARDS_IN_A_BLOCK; i++) {
            struct guard *entry = &block->entries[i];
            uint64_t version = SR_LOAD(&entry->version, acquire); /* pairs with the release in sr_os_memory_guard */
            struct guarded found = {SR_LOAD(&entry->address, relaxed), SR_LOAD(&entry->length, relaxed),
                                    SR_LOAD(&entry->damaged, relaxed)};
            SR_FENCE(acquire);
            if (version & 1 && SR_LOAD(&entry->version, relaxed) == version && look(&found, context))
                return true;
        }
    }
    return false;
}

struct fault {
    uint64_t address;
    bool is_ours;
};

/* Several may guard one mapping. */
static bool mark_damaged(const struct guarded *guarded, void *context) {
    struct fault *fault = context;
    if (fault->address - guarded->address >= guarded->length)
        return false;
    SR_STORE(guarded->damaged, 1, release);
    fault->is_ours = true;
    return false;
}

/* Puts a page of zeros where the file has none any more. Async-signal-safe: a loop, stores and a system call. */
static bool patch(uint64_t address) {
    struct fault fault = {address, false};
    (void)any_guard(mark_damaged, &fault);
    if (!fault.is_ours)
        return false;
    SR_STORE(&excused, 0, relaxed);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    void *at = (void *)(uintptr_t)(address & ~(page - 1));
    return mmap(at, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static bool lost_its_end(const struct guarded *guarded, void *context) {
    const int *ends = context;
    const char *last = (const char *)(uintptr_t)(guarded->address + guarded->length - 1);
    char byte;
    return SR_LOAD(guarded->damaged, relaxed) || write(ends[1], last, 1) != 1 || read(ends[0], &byte, 1) != 1;
}

/* Has a guarded mapping lost its end? A pipe tells of a missing page without a signal. */
static bool something_is_missing(void) {
    int ends[2];
    if (pipe(ends) != 0)
        return true; /* it may be so */
    bool missing = any_guard(lost_its_end, ends);
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

static struct guard *free_guard(void) {
    struct guards *block = &first_guards;
    while (true) {
        for (int i = 0; i < GUARDS_IN_A_BLOCK; i++)
            if (!(SR_LOAD(&block->entries[i].version, relaxed) & 1))
                return &block->entries[i];
        struct guards *next = SR_LOAD(&block->next, relaxed);
        if (!next) {
            next = calloc(1, sizeof *next);
            if (!next)
                return NULL;
            SR_STORE(&block->next, next, release); /* the handler sees its zeros */
        }
        block = next;
    }
}

bool sr_os_memory_guard(void *address, size_t length, sr_atomic_u32 *damaged) {
    stand_guard();
    struct guard *entry = free_guard();
    if (!entry)
        return false;
    SR_FENCE(release); /* whoever reads what follows sees that the entry was free, and does not believe it */
    SR_STORE(&entry->damaged, damaged, relaxed);
    SR_STORE(&entry->address, (uint64_t)(uintptr_t)address, relaxed);
    SR_STORE(&entry->length, length, relaxed);
    SR_STORE(&entry->version, SR_LOAD(&entry->version, relaxed) + 1, release);
    return true;
}

void sr_os_memory_unguard(const void *address, const sr_atomic_u32 *damaged) {
    for (struct guards *block = &first_guards; block; block = SR_LOAD(&block->next, relaxed))
        for (int i = 0; i < GUARDS_IN_A_BLOCK; i++) {
            struct guard *entry = &block->entries[i];
            uint64_t version = SR_LOAD(&entry->version, relaxed);
            if (version & 1 && SR_LOAD(&entry->damaged, relaxed) == damaged &&
                SR_LOAD(&entry->address, relaxed) == (uint64_t)(uintptr_t)address) {
                SR_STORE(&entry->version, version + 1, release);
                return;
            }
        }
}

void sr_os_memory_populate_written(void *address, size_t length) {
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)address / page * page;
    (void)madvise((void *)begin, (uintptr_t)address + length - begin, MADV_POPULATE_WRITE);
}

int sr_os_memory_file(int locks, int segment) {
#ifdef __linux__
    (void)segment; /* whose number may be another file by now */
    return sr_os_locks_descriptor(locks);
#else
    (void)locks; /* are files of their own */
    return segment;
#endif
}

uint64_t sr_os_memory_granularity(void) { return (uint64_t)sysconf(_SC_PAGESIZE); }

void *sr_os_memory_map(int file, uint64_t offset, size_t length) {
    void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)offset);
    return address == MAP_FAILED ? NULL : address;
}

void sr_os_memory_unmap(void *address, size_t length) { (void)munmap(address, length); }

static off_t length_of(int file) {
    struct stat found;
    return fstat(file, &found) == 0 ? found.st_size : -1;
}

/* Storage for what is to be added to the end; true where it comes later, in sr_os_memory_reserve. */
static bool store_at_end(int file, off_t added) {
#ifdef F_PREALLOCATE /* macOS, which gives storage there only */
    fstore_t wanted = {.fst_flags = F_ALLOCATEALL, .fst_posmode = F_PEOFPOSMODE, .fst_length = added};
    return fcntl(file, F_PREALLOCATE, &wanted) == 0 || errno == ENOTSUP;
#else
    (void)file;
    (void)added;
    return true;
#endif
}

bool sr_os_memory_lengthen(int file, uint64_t end, uint64_t *before) {
    off_t length = length_of(file), wanted = (off_t)end;
    if (length < 0)
        return false;
    *before = (uint64_t)length;
    return length >= wanted || (store_at_end(file, wanted - length) && ftruncate(file, wanted) == 0);
}

bool sr_os_memory_reserve(int file, uint64_t offset, uint64_t length) {
#ifdef F_PREALLOCATE
    (void)file;
    (void)offset;
    (void)length;
    return true;
#else
    int error;
    do
        error = posix_fallocate(file, (off_t)offset, (off_t)length);
    while (error == EINTR);
    errno = error;
    return error == 0;
#endif
}

bool sr_os_memory_give_back(int file, uint64_t offset, uint64_t length) {
#ifdef FALLOC_FL_PUNCH_HOLE
    return fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) == 0;
#else
    (void)file;
    (void)offset;
    (void)length;
    return false;
#endif
}

void sr_os_memory_cut(int file, uint64_t end) {
    if (length_of(file) > (off_t)end)
        (void)ftruncate(file, (off_t)end);
}

bool sr_os_memory_mapped(void *address, size_t length, int object, uint64_t offset) {
    (void)address;
    (void)length;
    (void)object;
    (void)offset;
    return true;
}

void sr_os_memory_unmapped(void *address) { (void)address; }
