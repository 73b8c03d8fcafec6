/* os/memory.h - what shmring.segment asks of the platform beyond the standard library's mmap. errno tells of failures. */
#ifndef SHMRING_OS_MEMORY_H
#define SHMRING_OS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "atomics.h"

bool sr_os_memory_sync(void *address, size_t length, bool wait);
bool sr_os_memory_lock(const void *address, size_t length);
bool sr_os_memory_unlock(const void *address, size_t length);
/* A file's pages in the place of those that are mapped there (POSIX). EINVAL for huge pages, which have an alignment. */
bool sr_os_memory_map_over(void *address, size_t length, int file, uint64_t offset, bool writable, bool shared);
/* Maps pages that exist already before they are touched, many at a time. Only a matter of speed: may do nothing. */
void sr_os_memory_populate(void *address, size_t length);

/* A file that somebody truncates takes its pages from under a mapping, and the next access is a SIGBUS. While a mapping is
 * guarded, such an access finds zeros of its own instead, and *damaged becomes 1. Any other SIGBUS goes to whoever handled
 * it before. Guards are changed by one thread at a time, each is known by its word; false: no memory for one more. */
bool sr_os_memory_guard(void *address, size_t length, sr_atomic_u32 *damaged);
void sr_os_memory_unguard(const void *address, const sr_atomic_u32 *damaged);

/* --- memory that grows and shrinks, range by range, while others have it mapped: the file of a queue --- */

/* What the functions below take, of a segment with these locks; -1: errno says why. Good for the moment. */
int sr_os_memory_file(int locks, int segment);
/* Ranges begin at a multiple of this. */
uint64_t sr_os_memory_granularity(void);
/* NULL: errno says why. EFAULT: it does not lie in the file; or that shows as it is touched (the guard). */
void *sr_os_memory_map(int file, uint64_t offset, size_t length);
void sr_os_memory_unmap(void *address, size_t length);
/* At least so long, without storage where that can be. *before: how long it was. What is added reads as zeros. */
bool sr_os_memory_lengthen(int file, uint64_t end, uint64_t *before);
/* Storage for a range within it. */
bool sr_os_memory_reserve(int file, uint64_t offset, uint64_t length);
/* As populate, for pages that have storage and will be written: where that is quicker. */
void sr_os_memory_populate_written(void *address, size_t length);
/* The storage of a range, which reads as zeros from now on. False: it stays, with what is in it; not every file system gives
 * back, and Windows nothing that is mapped. */
bool sr_os_memory_give_back(int file, uint64_t offset, uint64_t length);
/* What lies behind this; where that can be. */
void sr_os_memory_cut(int file, uint64_t end);

/* A view of a kernel object, at this offset of it, is there or about to go. For a kernel that cannot wait on a word of shared
 * memory (Windows), so that one can be parked on all the same. */
bool sr_os_memory_mapped(void *address, size_t length, int object, uint64_t offset);
void sr_os_memory_unmapped(void *address);

#endif
