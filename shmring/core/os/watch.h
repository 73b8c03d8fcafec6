/* os/watch.h - what watch.c asks of the platform: bells that an event loop can poll, a thread, a lock, and sleeping on
 * several words at once. errno tells of failures. */
#ifndef SHMRING_OS_WATCH_H
#define SHMRING_OS_WATCH_H

#include "os/os.h"

/* A bell is a descriptor that is readable from when it is rung until it is silenced. Closed by exec, not by fork. */
int sr_os_bell_open(void); /* -1: errno says why */
void sr_os_bell_ring(int bell);
void sr_os_bell_silence(int bell);
void sr_os_bell_close(int bell);

/* The words that one thread can sleep on: 128 where the kernel has futex_waitv(2), else 1. Asked once. */
enum { SR_OS_WORDS_MOST = 128 };
unsigned sr_os_words_at_once(void);

/* Sleeps while each word is as expected; otherwise as sr_os_park. Takes as many words as sr_os_words_at_once says. *woken is
 * the one that was woken; `count` when none was, because a word was not as expected, or time was up. */
enum sr_os_wakeup sr_os_park_on_any(sr_atomic_u32 *const *words, const uint32_t *expected, unsigned count,
                                    int64_t timeout_ns, unsigned *woken);

/* Detached, without a claim to the process's signals. */
bool sr_os_thread_start(void (*run)(void *context), void *context);

/* The one lock of watch.c. `renew` is for a forked child, where its holder may not exist. */
void sr_os_watch_lock(void);
void sr_os_watch_unlock(void);
void sr_os_watch_lock_renew(void);

#endif
