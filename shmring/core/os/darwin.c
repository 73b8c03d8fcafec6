/* os/darwin.c - macOS: shared waits on addresses, flock(2), POSIX semaphores. Compiled by the tests; not run by them yet.
 *
 * Byte locks of an open file description are no public interface here, and a POSIX shared memory object takes no locks at
 * all. So a lock is a small file of its own in the user's temporary folder, `shmring-IDENTITY.BYTE`, held by flock:
 * that belongs to the open file description and is dropped by the kernel with the last copy of it, and every open is another,
 * so that it excludes within a process too. Whoever lets go removes the file first; what a killed process leaves of it is
 * taken over, or swept by the system, which clears that folder.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/layout.h"
#include "os/named_locks.h"
#include "os/semaphore.h"

bool sr_fences_are_asymmetric; /* stays false: no call of this kernel runs a barrier in other processes */

void sr_os_start(void) {}

void sr_heavy_fence(void) { atomic_thread_fence(memory_order_seq_cst); }

/* --- parking --- */

/* macOS 14.4 and later; absent before, and from older SDKs. */
extern int os_sync_wait_on_address_with_timeout(void *address, uint64_t value, size_t size, uint32_t flags,
                                                uint32_t clock, uint64_t timeout_ns) __attribute__((weak_import));
extern int os_sync_wake_by_address_any(void *address, size_t size, uint32_t flags) __attribute__((weak_import));
extern int os_sync_wake_by_address_all(void *address, size_t size, uint32_t flags) __attribute__((weak_import));
enum { SHARED = 1, MACH_ABSOLUTE_TIME = 32 };
/* What they stand on, and the standard library of C++ uses; since macOS 10.12. */
extern int __ulock_wait(uint32_t operation, void *address, uint64_t value, uint32_t timeout_us);
extern int __ulock_wake(uint32_t operation, void *address, uint64_t value);
enum { COMPARE_AND_WAIT_SHARED = 3, WAKE_ALL = 0x100 };

enum sr_os_wakeup sr_os_park(sr_atomic_u32 *word, uint32_t expected, int64_t timeout_ns) {
    void *address = (void *)word;
    int answer;
    if (os_sync_wait_on_address_with_timeout) {
        answer = os_sync_wait_on_address_with_timeout(address, expected, sizeof expected, SHARED, MACH_ABSOLUTE_TIME,
                                                      (uint64_t)timeout_ns);
    } else {
        int64_t timeout_us = timeout_ns / 1000 + 1;
        answer = __ulock_wait(COMPARE_AND_WAIT_SHARED, address, expected,
                              timeout_us < INT32_MAX ? (uint32_t)timeout_us : INT32_MAX);
    }
    if (answer >= 0)
        return SR_OS_WOKEN;
    return errno == EINTR ? SR_OS_INTERRUPTED : errno == ETIMEDOUT ? SR_OS_TIMED_OUT : SR_OS_WOKEN;
}

int sr_os_unpark(sr_atomic_u32 *word, int count) {
    void *address = (void *)word;
    int answer;
    /* One where several are meant: it wakes the next when it leaves anything (pass_on in blocking.c). */
    if (os_sync_wait_on_address_with_timeout)
        answer = (count == INT_MAX ? os_sync_wake_by_address_all
                                   : os_sync_wake_by_address_any)(address, sizeof(uint32_t), SHARED);
    else
        answer = __ulock_wake(COMPARE_AND_WAIT_SHARED | (count == INT_MAX ? (uint32_t)WAKE_ALL : 0), address, 0);
    return answer >= 0;
}

/* --- locks --- */

enum { PATH_BYTES = PATH_MAX + 64 };

static void path_of(char *path, uint64_t identity, uint64_t byte) {
    char folder[PATH_MAX];
    size_t length = confstr(_CS_DARWIN_USER_TEMP_DIR, folder, sizeof folder);
    if (!length || length > sizeof folder)
        strcpy(folder, "/tmp/");
    snprintf(path, PATH_BYTES, "%sshmring-%016llx.%llx", folder, (unsigned long long)identity,
             (unsigned long long)byte);
}

uint64_t sr_named_lock_identity(int segment_fd) {
    struct sr_header *header = mmap(NULL, sizeof *header, PROT_READ, MAP_SHARED, segment_fd, 0);
    if (header == MAP_FAILED)
        return 0;
    uint64_t identity = header->magic == SR_MAGIC ? header->identity : 0;
    munmap(header, sizeof *header);
    return identity;
}

/* A descriptor is a lock's number less one, since 0 means none. */
enum sr_os_lock sr_named_lock_try(uint64_t identity, uint64_t byte, bool shared, intptr_t *lock) {
    char path[PATH_BYTES];
    path_of(path, identity, byte);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return SR_OS_LOCK_REFUSED;
    struct stat mine, there;
    enum sr_os_lock result = SR_OS_LOCKED;
    if (flock(fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0)
        result = errno == EWOULDBLOCK ? SR_OS_LOCK_HELD : SR_OS_LOCK_REFUSED;
    /* The file may have been removed between the opening and the locking; then this lock excludes nobody. */
    else if (fstat(fd, &mine) != 0 || stat(path, &there) != 0 || mine.st_ino != there.st_ino ||
             mine.st_dev != there.st_dev)
        result = SR_OS_LOCK_HELD;
    *lock = fd + 1;
    if (result != SR_OS_LOCKED) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return result;
}

int sr_named_lock_descriptor(intptr_t lock) { return (int)lock - 1; }

void sr_named_lock_release(intptr_t lock, uint64_t identity, uint64_t byte) {
    char path[PATH_BYTES];
    path_of(path, identity, byte);
    if (flock((int)lock - 1, LOCK_EX | LOCK_NB) == 0) { /* nobody shares it, so that the file is of no use */
        unlink(path);
        flock((int)lock - 1, LOCK_UN); /* by name: a child forked meanwhile may hold a copy of the descriptor */
    }
    close((int)lock - 1);
}

enum sr_os_liveness sr_named_lock_probe(uint64_t identity, uint64_t byte) {
    char path[PATH_BYTES];
    path_of(path, identity, byte);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? SR_OS_DEAD : SR_OS_UNKNOWN;
    enum sr_os_liveness found = flock(fd, LOCK_EX | LOCK_NB) == 0 ? SR_OS_DEAD
                                : errno == EWOULDBLOCK            ? SR_OS_ALIVE
                                                                  : SR_OS_UNKNOWN;
    close(fd);
    return found;
}

static void close_lock(intptr_t lock) { close((int)lock - 1); }
static void forget_locks(void) { sr_named_locks_forget(close_lock); }

bool sr_os_at_fork(void (*child)(void)) {
    return pthread_atfork(NULL, NULL, child) == 0 && pthread_atfork(NULL, NULL, forget_locks) == 0;
}

/* --- what os/posix.c lacks: the count of a semaphore, which cannot be read here --- */

int sr_os_semaphore_value(void *semaphore) {
    /* Taken down and put back. Whoever tries meanwhile finds too little, and looks again within 50 ms. */
    int value = 0;
    while (sr_os_semaphore_try_wait(semaphore))
        value++;
    for (int i = 0; i < value; i++)
        sem_post(semaphore);
    return value;
}
