/* os.h - everything that the core asks of the platform. os_linux.c answers; another platform is another such file. */
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

/* Tokens: a descriptor whose byte locks the kernel drops when its process ends, and not before. Each attachment has a
 * token of its own; two tokens exclude each other even within a process. */
int sr_os_token_open(int segment_fd); /* -1: errno says why */
void sr_os_token_close(int token);
bool sr_os_token_lock(int token, uint64_t byte); /* false: another token holds it */
void sr_os_token_unlock(int token, uint64_t byte);
/* Does another token hold a lock anywhere in this range? True when in doubt. */
bool sr_os_token_sees_lock(int token, uint64_t begin, uint64_t length);
enum sr_os_liveness { SR_OS_DEAD, SR_OS_ALIVE, SR_OS_UNKNOWN };
enum sr_os_liveness sr_os_token_probe(int token, uint64_t byte);

/* Called in the child after each fork, before it runs anything else. */
bool sr_os_at_fork(void (*child)(void));

#endif
