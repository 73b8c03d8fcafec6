/* os/named_locks.h - locks (os.h) for platforms whose kernels lock no single bytes of a segment as we need it. There a byte
 * is a lock of its own, known by the identity of the ring and the byte's number, and os/named_locks.c keeps the books. This
 * is what the platform gives: */
#ifndef SHMRING_OS_NAMED_LOCKS_H
#define SHMRING_OS_NAMED_LOCKS_H

#include "os/os.h"

/* Of the ring that a segment begins with; 0 when it begins with none. */
uint64_t sr_named_lock_identity(int segment_fd);
/* A lock that the kernel drops with this process, in *lock; it is never 0. Excludes within a process too. */
enum sr_os_lock sr_named_lock_try(uint64_t identity, uint64_t byte, bool shared, intptr_t *lock);
void sr_named_lock_release(intptr_t lock, uint64_t identity, uint64_t byte);
enum sr_os_liveness sr_named_lock_probe(uint64_t identity, uint64_t byte);
int sr_named_lock_descriptor(intptr_t lock);

/* In a forked child, where locks are copies of the parent's that would keep them: lets go of all that are not shared. */
void sr_named_locks_forget(void (*let_go)(intptr_t lock));

#endif
