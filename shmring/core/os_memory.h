/* os_memory.h - what shmring.segment asks of the platform beyond the standard library's mmap. errno tells of failures. */
#ifndef SHMRING_OS_MEMORY_H
#define SHMRING_OS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include "atomics.h"

bool sr_os_memory_sync(void *address, size_t length, bool wait);
bool sr_os_memory_lock(const void *address, size_t length);
bool sr_os_memory_unlock(const void *address, size_t length);
/* Maps pages that exist already before they are touched, many at a time. Only a matter of speed: may do nothing. */
void sr_os_memory_populate(void *address, size_t length);

/* A file that somebody truncates takes its pages from under a mapping, and the next access is a SIGBUS. While a mapping is
 * guarded, such an access finds zeros of its own instead, and *damaged becomes 1. Any other SIGBUS goes to whoever handled
 * it before. Guards are changed by one thread at a time, each is known by its word; false: no memory for one more. */
bool sr_os_memory_guard(void *address, size_t length, sr_atomic_u32 *damaged);
void sr_os_memory_unguard(const sr_atomic_u32 *damaged);

/* A view of a kernel object, at this offset of it, is there or about to go. For a kernel that cannot wait on a word of shared
 * memory (Windows), so that one can be parked on all the same. */
bool sr_os_memory_mapped(void *address, size_t length, int object, uint64_t offset);
void sr_os_memory_unmapped(void *address);

#endif
