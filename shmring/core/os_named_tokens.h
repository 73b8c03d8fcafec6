/* os_named_tokens.h - tokens (os.h) for platforms whose kernels lock no single bytes of a segment as we need it. There a
 * byte is a lock of its own, known by the identity of the ring and the byte's number, and os_named_tokens.c keeps the books.
 * This is what the platform gives: */
#ifndef SHMRING_OS_NAMED_TOKENS_H
#define SHMRING_OS_NAMED_TOKENS_H

#include "os.h"

/* Of the ring that a segment begins with; 0 when it begins with none. */
uint64_t sr_named_lock_identity(int segment_fd);
/* A lock that the kernel drops with this process; 0 when somebody has it. Excludes within a process too. */
intptr_t sr_named_lock_try(uint64_t identity, uint64_t byte);
void sr_named_lock_release(intptr_t lock, uint64_t identity, uint64_t byte);
enum sr_os_liveness sr_named_lock_probe(uint64_t identity, uint64_t byte);

/* In a forked child, where locks are copies of the parent's that would keep them: lets go of them all. */
void sr_named_tokens_forget(void (*let_go)(intptr_t lock));

#endif
