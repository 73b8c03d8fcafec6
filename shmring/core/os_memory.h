/* os_memory.h - what shmring.segment asks of the platform beyond the standard library's mmap. errno tells of failures. */
#ifndef SHMRING_OS_MEMORY_H
#define SHMRING_OS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

bool sr_os_memory_sync(void *address, size_t length, bool wait);
bool sr_os_memory_lock(const void *address, size_t length);
bool sr_os_memory_unlock(const void *address, size_t length);
/* Maps pages that exist already before they are touched, many at a time. Only a matter of speed: may do nothing. */
void sr_os_memory_populate(void *address, size_t length);

#endif
