/* memory_file.c - see memory_file.h. */
#include "memory_file.h"

#include <errno.h>
#include <string.h>

#include "os/memory.h"
#include "wait/watch.h"

_Alignas(4096) unsigned char memory_file[FILE_PAGES * SR_PAGE];
static bool stored[FILE_PAGES];
static unsigned left;
static uint64_t length_now;

void memory_file_reset(unsigned pages) {
    memset(memory_file, 0, sizeof memory_file);
    memset(stored, 0, sizeof stored);
    left = pages;
    length_now = 0;
}

void memory_file_limit(unsigned pages) { left = pages; }

unsigned memory_file_stored(void) {
    unsigned count = 0;
    for (int i = 0; i < FILE_PAGES; i++)
        count += stored[i];
    return count;
}

bool memory_file_has(const void *begin, size_t length) {
    uint64_t at = (uint64_t)((const unsigned char *)begin - memory_file);
    for (uint64_t i = at / SR_PAGE; i < (at + length + SR_PAGE - 1) / SR_PAGE; i++)
        if (i >= FILE_PAGES || !stored[i])
            return false;
    return at + length <= length_now;
}

int sr_os_memory_file(int locks, int segment) { return locks < 0 ? -1 : segment; }
uint64_t sr_os_memory_granularity(void) { return SR_PAGE; }
void *sr_os_memory_map(int file, uint64_t offset, size_t length) {
    if (file == 0 && offset % SR_PAGE == 0 && offset + length <= length_now)
        return memory_file + offset;
    errno = EFAULT;
    return NULL;
}
void sr_os_memory_unmap(void *address, size_t length) { (void)address, (void)length; }
bool sr_os_memory_guard(void *address, size_t length, sr_atomic_u32 *damaged) { return address && length && damaged; }
void sr_os_memory_unguard(const void *address, const sr_atomic_u32 *damaged) { (void)address, (void)damaged; }
void sr_watch_forget(const void *base, uint64_t length) { (void)base, (void)length; }
void sr_os_memory_populate_written(void *address, size_t length) { (void)address, (void)length; }

bool sr_os_memory_lengthen(int file, uint64_t end, uint64_t *before) {
    *before = length_now;
    if (end > sizeof memory_file) {
        errno = ENOSPC;
        return false;
    }
    length_now = end > length_now ? end : length_now;
    return file == 0;
}
bool sr_os_memory_reserve(int file, uint64_t offset, uint64_t length) {
    for (uint64_t i = offset / SR_PAGE; i < (offset + length + SR_PAGE - 1) / SR_PAGE; i++) {
        if (!stored[i] && !left) {
            errno = ENOSPC;
            return false;
        }
        left -= !stored[i];
        stored[i] = true;
    }
    return file == 0;
}
static void take_back(uint64_t begin, uint64_t end) {
    for (uint64_t i = (begin + SR_PAGE - 1) / SR_PAGE; i < end / SR_PAGE; i++) {
        left += stored[i];
        stored[i] = false;
    }
    if (begin < end)
        memset(memory_file + begin, 0, end - begin);
}
bool sr_os_memory_give_back(int file, uint64_t offset, uint64_t length) {
    take_back(offset, offset + length);
    return file == 0;
}
void sr_os_memory_cut(int file, uint64_t end) {
    if (file == 0 && end < length_now) {
        take_back(end, sizeof memory_file);
        length_now = end;
    }
}
