/* os/named_locks.c - the books of locks that have names: who holds what. See os/named_locks.h. */
#include "os/named_locks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/layout.h"

enum { HELD_AT_ONCE = 6 }; /* the lifecycle, and an entry under repair; some room for threads */
enum { MORE = 64 };

struct named {
    uint64_t byte;
    intptr_t lock; /* 0: none */
    bool shared;
};
struct locks {
    uint64_t identity; /* 0: free */
    struct named held[HELD_AT_ONCE];
};
struct hold {
    struct hold *next;
    uint64_t identity;
    struct named what;
};
static struct locks *all;
static int room;
static struct hold *holds;
static sr_atomic_u32 busy; /* some thread is at the books, for a system call at most */

static void open_books(void) {
    uint32_t nobody = 0;
    while (!SR_CAS(&busy, &nobody, 1, acquire)) {
        nobody = 0;
        sr_os_yield();
    }
}
static void close_books(void) { SR_STORE(&busy, 0, release); }

static int free_locks(void) {
    int i = 0;
    while (i < room && all[i].identity)
        i++;
    if (i < room)
        return i;
    struct locks *more = realloc(all, (size_t)(room + MORE) * sizeof *all);
    if (!more)
        return -1;
    memset(more + room, 0, MORE * sizeof *more);
    all = more;
    room += MORE;
    return i;
}

int sr_os_locks_open(int locks_fd, const char *path) {
    (void)path; /* nobody can close a lock that has a name by its number */
    uint64_t identity = sr_named_lock_identity(locks_fd);
    if (!identity) {
        errno = EINVAL;
        return -1;
    }
    open_books();
    int locks = free_locks();
    if (locks >= 0)
        all[locks].identity = identity;
    close_books();
    return locks;
}

static bool is_open(int locks) { return locks >= 0 && locks < room && all[locks].identity; }

void sr_os_locks_close(int locks) {
    open_books();
    for (int i = 0; is_open(locks) && i < HELD_AT_ONCE; i++)
        if (all[locks].held[i].lock)
            sr_named_lock_release(all[locks].held[i].lock, all[locks].identity, all[locks].held[i].byte);
    if (is_open(locks))
        all[locks] = (struct locks){0};
    close_books();
}

static enum sr_os_lock take_named(int locks, uint64_t byte, bool shared) {
    open_books();
    enum sr_os_lock result = SR_OS_LOCK_REFUSED;
    errno = EBADF;
    int i = 0;
    while (is_open(locks) && i < HELD_AT_ONCE && all[locks].held[i].lock)
        i++;
    if (is_open(locks) && i < HELD_AT_ONCE) {
        intptr_t lock;
        result = sr_named_lock_try(all[locks].identity, byte, shared, &lock);
        if (result == SR_OS_LOCKED)
            all[locks].held[i] = (struct named){byte, lock, shared};
    }
    close_books();
    return result;
}

enum sr_os_lock sr_os_lock(int locks, uint64_t byte) { return take_named(locks, byte, false); }
enum sr_os_lock sr_os_lock_shared(int locks, uint64_t byte) { return take_named(locks, byte, true); }

int sr_os_locks_descriptor(int locks) {
    open_books();
    int found = -1;
    errno = EBADF;
    for (int i = 0; is_open(locks) && i < HELD_AT_ONCE; i++)
        if (all[locks].held[i].lock && all[locks].held[i].shared)
            found = sr_named_lock_descriptor(all[locks].held[i].lock);
    close_books();
    return found;
}

void sr_os_unlock(int locks, uint64_t byte) {
    open_books();
    for (int i = 0; is_open(locks) && i < HELD_AT_ONCE; i++)
        if (all[locks].held[i].lock && all[locks].held[i].byte == byte) {
            sr_named_lock_release(all[locks].held[i].lock, all[locks].identity, byte);
            all[locks].held[i].lock = 0;
        }
    close_books();
}

enum sr_os_liveness sr_os_probe(int locks, uint64_t byte) {
    open_books();
    uint64_t identity = is_open(locks) ? all[locks].identity : 0;
    close_books();
    return identity ? sr_named_lock_probe(identity, byte) : SR_OS_UNKNOWN;
}

bool sr_os_sees_lock(int locks, uint64_t begin, uint64_t length) {
    /* Names cannot be asked for by range. Locks are on single bytes at the beginning, and on the first of each entry. */
    uint64_t step = length <= SR_SENT ? 1 : sizeof(struct sr_attachment);
    for (uint64_t byte = begin; byte < begin + length; byte += step)
        if (sr_os_probe(locks, byte) != SR_OS_DEAD)
            return true;
    return false;
}

bool sr_os_file_of(int fd, struct sr_os_file *file) {
    (void)fd; /* what has a name here is not the file whose locks these are */
    *file = (struct sr_os_file){0, 0};
    return true;
}

bool sr_os_file_is_open_to_others(const struct sr_os_file *file, int fd, const char *path, uint64_t owner) {
    (void)file;
    (void)fd;
    (void)path;
    (void)owner;
    return false; /* only those of its user find it */
}

void sr_os_remove_name(const struct sr_os_file *file, const char *path) {
    (void)file;
    (void)path; /* not SR_OS_REMOVES_NAMES */
}

/* --- holds: the process has them as long as it lives --- */

enum sr_os_lock sr_os_hold(void **hold, int locks_fd, uint64_t byte, enum sr_os_holding holding) {
    *hold = NULL;
    struct hold *made = malloc(sizeof *made);
    if (!made)
        return SR_OS_LOCK_REFUSED;
    *made = (struct hold){.identity = sr_named_lock_identity(locks_fd)};
    made->what = (struct named){.byte = byte, .shared = holding == SR_OS_SHARED_AND_INHERITED};
    enum sr_os_lock result = SR_OS_LOCK_REFUSED;
    errno = EINVAL;
    open_books();
    if (made->identity)
        result = sr_named_lock_try(made->identity, byte, made->what.shared, &made->what.lock);
    if (result == SR_OS_LOCKED) {
        made->next = holds;
        holds = made;
        *hold = made;
    } else {
        free(made);
    }
    close_books();
    return result;
}

void sr_os_let_go(void **hold) {
    struct hold *held = *hold;
    *hold = NULL;
    if (!held)
        return;
    open_books();
    struct hold **place = &holds;
    while (*place != held)
        place = &(*place)->next;
    *place = held->next;
    if (held->what.lock)
        sr_named_lock_release(held->what.lock, held->identity, held->what.byte);
    close_books();
    free(held);
}

static void forget(struct named *what, void (*let_go)(intptr_t lock)) {
    if (!what->lock || what->shared)
        return;
    let_go(what->lock);
    what->lock = 0;
}

void sr_named_locks_forget(void (*let_go)(intptr_t lock)) {
    for (int t = 0; t < room; t++)
        for (int i = 0; i < HELD_AT_ONCE; i++)
            forget(&all[t].held[i], let_go);
    for (struct hold *held = holds; held; held = held->next)
        forget(&held->what, let_go);
    close_books(); /* perhaps opened by a thread that the fork did not copy */
}
