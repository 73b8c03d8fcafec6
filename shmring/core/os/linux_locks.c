/* os/linux_locks.c - locks on bytes of a segment's file: open file description locks, F_OFD_SETLK of fcntl(2).
 *
 * They belong to the open file description: unlike POSIX record locks they do not vanish when the process closes some other
 * descriptor of the file, and they work across pid namespaces. A description lasts as long as a descriptor or a mapping
 * refers to it, in whatever process. That is the whole trick here:
 *
 * - A *hold* is a page that is mapped through a description of its own, whose descriptor is closed at once. So it needs
 *   none, nobody who closes descriptors by number takes it away, and the kernel drops it with the last of the memory. A
 *   page with MADV_DONTFORK is in no forked child, whoever forks and however; another is in all of them.
 * - The *locks* of an attachment, which are taken for a moment, go through a descriptor that stays open. Forked children get
 *   a copy, which would keep a lock that the parent is killed with. So they are closed in the child before anything else
 *   runs there; and no fork comes between the opening of a descriptor and its entry in the books, as it waits for them.
 *
 * Programs close descriptors that are not theirs (daemons close all that there are). A number may be another file by then,
 * which is told by device, inode and the file offset: that is ours to choose, as nothing here is read or written.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/os.h"

enum { MARK_BITS = 31 }; /* of an offset that every file system takes */

/* One descriptor for locks, and what tells it from a stranger of its number. */
struct opened {
    int fd; /* -1: none now */
    bool used;
    dev_t device;
    ino_t inode;
    off_t mark;
    char *path; /* or NULL */
};

/* The books: blocks that never move, as a forked child looks through them without a lock. */
enum { IN_A_BLOCK = 64, BLOCKS = 4096 };
static struct opened *blocks[BLOCKS];
static pthread_mutex_t books = PTHREAD_MUTEX_INITIALIZER;

static struct opened *entry_of(int locks) {
    bool there = locks >= 0 && locks < IN_A_BLOCK * BLOCKS && blocks[locks / IN_A_BLOCK];
    return there ? &blocks[locks / IN_A_BLOCK][locks % IN_A_BLOCK] : NULL;
}

static bool is_still_ours(const struct opened *entry) {
    struct stat found;
    return entry->fd >= 0 && fstat(entry->fd, &found) == 0 && found.st_dev == entry->device &&
           found.st_ino == entry->inode && lseek(entry->fd, 0, SEEK_CUR) == entry->mark;
}

/* A new description of the same file, named or not. */
static int open_again(int known_fd) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", known_fd);
    return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
}

static off_t fresh_mark(void) {
    static uint64_t count;
    uint64_t mixed = (uint64_t)sr_os_monotonic_ns() + ++count * UINT64_C(0x9E3779B97F4A7C15); /* under the books */
    return (off_t)((mixed ^ mixed >> 32) & ((UINT64_C(1) << MARK_BITS) - 1));
}

static bool adopt(struct opened *entry, int fd) {
    struct stat found;
    off_t mark = fresh_mark();
    if (fstat(fd, &found) != 0 || lseek(fd, mark, SEEK_SET) != mark)
        return false;
    entry->fd = fd;
    entry->device = found.st_dev;
    entry->inode = found.st_ino;
    entry->mark = mark;
    return true;
}

static int free_entry(void) {
    for (int block = 0; block < BLOCKS; block++) {
        if (!blocks[block]) {
            blocks[block] = calloc(IN_A_BLOCK, sizeof(struct opened));
            if (!blocks[block])
                return -1;
        }
        for (int i = 0; i < IN_A_BLOCK; i++)
            if (!blocks[block][i].used)
                return block * IN_A_BLOCK + i;
    }
    errno = EMFILE;
    return -1;
}

static void watch_forks(void);
static void once(void) {
    static pthread_once_t done = PTHREAD_ONCE_INIT;
    pthread_once(&done, watch_forks);
}

static void close_and_keep_errno(int fd) {
    int error = errno;
    close(fd);
    errno = error;
}

int sr_os_locks_open(int locks_fd, const char *path) {
    once();
    pthread_mutex_lock(&books);
    int locks = free_entry();
    int fd = locks < 0 ? -1 : open_again(locks_fd);
    if (fd >= 0 && !adopt(entry_of(locks), fd)) {
        close_and_keep_errno(fd);
        fd = -1;
    }
    if (fd >= 0) {
        entry_of(locks)->used = true;
        entry_of(locks)->path = path ? strdup(path) : NULL;
    }
    pthread_mutex_unlock(&books);
    return fd < 0 ? -1 : locks;
}

void sr_os_locks_close(int locks) {
    pthread_mutex_lock(&books);
    struct opened *entry = entry_of(locks);
    if (entry && entry->used) {
        if (is_still_ours(entry))
            close(entry->fd);
        free(entry->path);
        *entry = (struct opened){.fd = -1};
    }
    pthread_mutex_unlock(&books);
}

/* Somebody has closed it under us: open the file again, if it still has its name. */
static bool find_again(struct opened *entry) {
    struct stat found;
    int fd = entry->path ? open(entry->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
    bool same = fd >= 0 && fstat(fd, &found) == 0 && found.st_dev == entry->device && found.st_ino == entry->inode;
    if (same && adopt(entry, fd))
        return true;
    if (fd >= 0)
        close(fd);
    entry->fd = -1;
    errno = EBADF;
    return false;
}

/* The descriptor, or -1 with EBADF. */
static int descriptor_of(int locks) {
    struct opened *entry = entry_of(locks);
    if (!entry || !entry->used) {
        errno = EBADF;
        return -1;
    }
    if (is_still_ours(entry))
        return entry->fd;
    pthread_mutex_lock(&books);
    int fd = is_still_ours(entry) || find_again(entry) ? entry->fd : -1;
    pthread_mutex_unlock(&books);
    return fd;
}

static bool is_file(const struct stat *found, const struct sr_os_file *file) {
    return (uint64_t)found->st_dev == file->device && (uint64_t)found->st_ino == file->inode;
}

bool sr_os_file_of(int fd, struct sr_os_file *file) {
    struct stat found;
    if (fstat(fd, &found) != 0)
        return false;
    *file = (struct sr_os_file){(uint64_t)found.st_dev, (uint64_t)found.st_ino};
    return true;
}

bool sr_os_file_is_open_to_others(const struct sr_os_file *file, int fd, const char *path, uint64_t owner) {
    struct stat found;
    bool known = fstat(fd, &found) == 0 && is_file(&found, file);
    known = known || (path && lstat(path, &found) == 0 && is_file(&found, file));
    return known && (found.st_mode & (S_IWGRP | S_IWOTH) || (uint64_t)found.st_uid != owner); /* of an ACL: its mask */
}

void sr_os_remove_name(const struct sr_os_file *file, const char *path) {
    struct stat there;
    if (lstat(path, &there) == 0 && is_file(&there, file))
        (void)unlink(path); /* another user's: its next create takes the place over */
}

static enum sr_os_lock set_lock(int fd, short type, uint64_t byte) {
    struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1};
    int answer;
    do
        answer = fcntl(fd, F_OFD_SETLK, &lock);
    while (answer != 0 && errno == EINTR);
    if (answer == 0)
        return SR_OS_LOCKED;
    return errno == EAGAIN ? SR_OS_LOCK_HELD : SR_OS_LOCK_REFUSED; /* EACCES: a sandbox, or a security module */
}

enum sr_os_lock sr_os_lock(int locks, uint64_t byte) {
    int fd = descriptor_of(locks);
    return fd < 0 ? SR_OS_LOCK_REFUSED : set_lock(fd, F_WRLCK, byte);
}

enum sr_os_lock sr_os_lock_shared(int locks, uint64_t byte) {
    int fd = descriptor_of(locks);
    return fd < 0 ? SR_OS_LOCK_REFUSED : set_lock(fd, F_RDLCK, byte);
}

int sr_os_locks_descriptor(int locks) { return descriptor_of(locks); }

/* Lets go of all that is locked through this descriptor, by a new description in its place. */
static void renew(int locks) {
    pthread_mutex_lock(&books);
    struct opened *entry = entry_of(locks);
    int fd = entry->fd < 0 ? -1 : open_again(entry->fd);
    if (fd >= 0) {
        (void)dup3(fd, entry->fd, O_CLOEXEC);
        close(fd);
        (void)lseek(entry->fd, entry->mark, SEEK_SET);
    }
    pthread_mutex_unlock(&books);
}

void sr_os_unlock(int locks, uint64_t byte) {
    /* Not by closing: a child forked meanwhile may be about to close its copy. */
    int fd = descriptor_of(locks);
    if (fd >= 0 && set_lock(fd, F_UNLCK, byte) != SR_OS_LOCKED)
        renew(locks); /* a sandbox that came over us: nobody else is to wait for what we cannot let go */
}

/* Who would be in the way of a lock on this range: F_UNLCK for nobody, -1 when the kernel does not say. */
static int in_the_way(int locks, uint64_t begin, uint64_t length) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)begin, .l_len = (off_t)length};
    int fd = descriptor_of(locks);
    return fd < 0 || fcntl(fd, F_OFD_GETLK, &lock) != 0 ? -1 : lock.l_type;
}

enum sr_os_liveness sr_os_probe(int locks, uint64_t byte) {
    int found = in_the_way(locks, byte, 1);
    return found < 0 ? SR_OS_UNKNOWN : found == F_UNLCK ? SR_OS_DEAD : SR_OS_ALIVE;
}

bool sr_os_sees_lock(int locks, uint64_t begin, uint64_t length) { return in_the_way(locks, begin, length) != F_UNLCK; }

/* --- holds --- */

static size_t page_size(void) { return (size_t)sysconf(_SC_PAGESIZE); }

struct held {
    void *page;
    bool inherited;
    unsigned forks; /* this process's age in forks: a page that is not inherited is at no address of a child */
};
static unsigned forks;

static void *map_page(int fd, bool inherited) {
    void *page = mmap(NULL, page_size(), PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (page == MAP_FAILED)
        return NULL;
    if (inherited || madvise(page, page_size(), MADV_DONTFORK) == 0)
        return page;
    int error = errno;
    munmap(page, page_size());
    errno = error;
    return NULL;
}

static enum sr_os_lock hold_through(struct held *held, int fd, uint64_t byte) {
    enum sr_os_lock result = set_lock(fd, held->inherited ? F_RDLCK : F_WRLCK, byte);
    if (result == SR_OS_LOCKED && !(held->page = map_page(fd, held->inherited)))
        return SR_OS_LOCK_REFUSED;
    return result;
}

enum sr_os_lock sr_os_hold(void **hold, int locks_fd, uint64_t byte, enum sr_os_holding holding) {
    struct held *held = malloc(sizeof *held);
    if (!held)
        return SR_OS_LOCK_REFUSED;
    *held = (struct held){.inherited = holding == SR_OS_SHARED_AND_INHERITED, .forks = forks};
    enum sr_os_lock result = SR_OS_LOCK_REFUSED;
    once();
    pthread_mutex_lock(&books); /* no child may get the descriptor */
    int fd = open_again(locks_fd);
    if (fd >= 0) {
        result = hold_through(held, fd, byte);
        close_and_keep_errno(fd);
    }
    pthread_mutex_unlock(&books);
    *hold = result == SR_OS_LOCKED ? held : NULL;
    if (!*hold)
        free(held);
    return result;
}

void sr_os_let_go(void **hold) {
    struct held *held = *hold;
    if (held && (held->inherited || held->forks == forks))
        munmap(held->page, page_size());
    free(held);
    *hold = NULL;
}

/* --- forks --- */

static void before_fork(void) { pthread_mutex_lock(&books); }
static void after_fork_in_parent(void) { pthread_mutex_unlock(&books); }

static void after_fork_in_child(void) {
    forks++;
    for (int block = 0; block < BLOCKS && blocks[block]; block++)
        for (int i = 0; i < IN_A_BLOCK; i++) {
            struct opened *entry = &blocks[block][i];
            if (entry->used && is_still_ours(entry))
                close(entry->fd);
            entry->fd = -1; /* whoever uses it here all the same opens it again, by its name */
        }
    pthread_mutex_unlock(&books);
}

static void watch_forks(void) {
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); /* fails for want of memory only */
}

bool sr_os_at_fork(void (*child)(void)) { return pthread_atfork(NULL, NULL, child) == 0; }
