/* os_memory_posix.c - msync, mlock and madvise. */
#include "os_memory.h"

#include <sys/mman.h>

bool sr_os_memory_sync(void *address, size_t length, bool wait) {
    return msync(address, length, wait ? MS_SYNC : MS_ASYNC) == 0;
}

bool sr_os_memory_lock(const void *address, size_t length) { return mlock(address, length) == 0; }

bool sr_os_memory_unlock(const void *address, size_t length) { return munlock(address, length) == 0; }

void sr_os_memory_populate(void *address, size_t length) {
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; refused before, and harmless */
#endif
    /* For reading: that maps the neighbours of each page along, writable where the mapping is. */
    (void)madvise(address, length, MADV_POPULATE_READ);
}
