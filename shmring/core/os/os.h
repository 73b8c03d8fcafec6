/* os.h - everything that the core asks of the platform. os/linux.c answers; another platform is another such file. */
#ifndef SHMRING_OS_H
#define SHMRING_OS_H

#include <stdbool.h>
#include <stdint.h>

#include "atomics.h"

/* Once a process, before the first endpoint; decides sr_fences_are_asymmetric. Safe to call again. */
void sr_os_start(void);

int64_t sr_os_monotonic_ns(void);
int64_t sr_os_realtime_ns(void);
unsigned sr_os_processors(void); /* that are online */
uint32_t sr_os_process_id(void);
void sr_os_yield(void);
void sr_os_sleep_ns(int64_t duration_ns);

enum sr_os_wakeup { SR_OS_WOKEN, SR_OS_TIMED_OUT, SR_OS_INTERRUPTED };

/* Sleeps while *word is `expected`, in shared memory, at most timeout_ns. May wake for no reason. */
enum sr_os_wakeup sr_os_park(sr_atomic_u32 *word, uint32_t expected, int64_t timeout_ns);
/* Wakes at most `count` sleepers; answers how many there were. */
int sr_os_unpark(sr_atomic_u32 *word, int count);

/* Locks on bytes of a segment's file, or of one that is there for them alone, which the kernel drops when whoever has them ends. They say who lives, and who is at
 * work; nothing else may. There are two ways to have one.
 *
 * For a moment, through *locks*: each attachment has its own, and two exclude each other even within a process. `path` is
 * where the file has its name, if it has one, and serves to open it again should a program close our descriptors. */
int sr_os_locks_open(int locks_fd, const char *path); /* -1: errno says why */
void sr_os_locks_close(int locks);
enum sr_os_lock { SR_OS_LOCKED, SR_OS_LOCK_HELD /* by another */, SR_OS_LOCK_REFUSED /* errno says why */ };
enum sr_os_lock sr_os_lock(int locks, uint64_t byte);
void sr_os_unlock(int locks, uint64_t byte);
/* Does anybody else hold a lock anywhere in this range? True when in doubt. */
bool sr_os_sees_lock(int locks, uint64_t begin, uint64_t length);
enum sr_os_liveness { SR_OS_DEAD, SR_OS_ALIVE, SR_OS_UNKNOWN };
enum sr_os_liveness sr_os_probe(int locks, uint64_t byte);
/* What tells a file from any other, whatever descriptor or name leads to it. */
struct sr_os_file {
    uint64_t device, inode;
};
bool sr_os_file_of(int fd, struct sr_os_file *file);
/* May others than its owner write to that very file, and is the owner still this one? By a descriptor, if it is still of
 * that file, or a name. False where nothing leads to it any more: then nobody comes to it either. */
bool sr_os_file_is_open_to_others(const struct sr_os_file *file, int fd, const char *path, uint64_t owner);
/* Takes the name away from that very file. Where names lead to something else than segments, the registry does it. */
#ifdef __linux__
enum { SR_OS_REMOVES_NAMES = true };
#else
enum { SR_OS_REMOVES_NAMES = false };
#endif
void sr_os_remove_name(const struct sr_os_file *file, const char *path);

/* For life: a *hold* lasts as long as the memory of the process, to its last instruction, and takes no descriptor. One that
 * is inherited is shared with others, and lasts as long as the memory of any child that was forked meanwhile, too. */
enum sr_os_holding { SR_OS_ALONE, SR_OS_SHARED_AND_INHERITED };
enum sr_os_lock sr_os_hold(void **hold, int locks_fd, uint64_t byte, enum sr_os_holding holding);
void sr_os_let_go(void **hold); /* may be called again */

/* A shared lock through locks whose descriptor goes along to a child: it lasts until the last copy is closed. */
enum sr_os_lock sr_os_lock_shared(int locks, uint64_t byte);
int sr_os_locks_descriptor(int locks); /* -1: errno says why */

/* `child` is called in the child after each fork, before it runs anything else. */
bool sr_os_at_fork(void (*child)(void));

#endif
