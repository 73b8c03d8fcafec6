/* os_memory_posix.c - msync and mlock. */
#include "os_memory.h"

#include <sys/mman.h>

bool sr_os_memory_sync(void *address, size_t length, bool wait) {
    return msync(address, length, wait ? MS_SYNC : MS_ASYNC) == 0;
}

bool sr_os_memory_lock(const void *address, size_t length) { return mlock(address, length) == 0; }

bool sr_os_memory_unlock(const void *address, size_t length) { return munlock(address, length) == 0; }
