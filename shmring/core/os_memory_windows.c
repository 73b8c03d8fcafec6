/* os_memory_windows.c - FlushViewOfFile, VirtualLock, PrefetchVirtualMemory.
 *
 * There is no guard against truncation, because Windows refuses to truncate a file that somebody has mapped. What is left,
 * a disk or a network that fails under a mapped file, ends the process, as it does with any other mapping.
 */
#include "os_memory.h"

#include <errno.h>

#include "os_windows.h"

static bool said(BOOL done) {
    if (!done) {
        DWORD error = GetLastError();
        errno = error == ERROR_WORKING_SET_QUOTA || error == ERROR_NO_SYSTEM_RESOURCES ? ENOMEM
                : error == ERROR_ACCESS_DENIED || error == ERROR_PRIVILEGE_NOT_HELD    ? EPERM
                : error == ERROR_DISK_FULL                                             ? ENOSPC
                                                                                       : EIO;
    }
    return done;
}

bool sr_os_memory_sync(void *address, size_t length, bool wait) {
    (void)wait; /* it begins the writing; to wait for the disk takes the file's handle, which windows.py has */
    return said(FlushViewOfFile(address, length));
}

bool sr_os_memory_lock(const void *address, size_t length) {
    if (VirtualLock((void *)(uintptr_t)address, length))
        return true;
    /* A process may lock what its minimal working set holds, which is little until somebody asks for more. */
    SIZE_T least, most;
    HANDLE self = GetCurrentProcess();
    if (GetLastError() == ERROR_WORKING_SET_QUOTA && GetProcessWorkingSetSize(self, &least, &most) &&
        SetProcessWorkingSetSize(self, least + length, most + length))
        return said(VirtualLock((void *)(uintptr_t)address, length));
    SetLastError(ERROR_WORKING_SET_QUOTA);
    return said(FALSE);
}

bool sr_os_memory_unlock(const void *address, size_t length) {
    return said(VirtualUnlock((void *)(uintptr_t)address, length));
}

void sr_os_memory_populate(void *address, size_t length) {
    WIN32_MEMORY_RANGE_ENTRY range = {address, length};
    (void)PrefetchVirtualMemory(GetCurrentProcess(), 1, &range, 0);
}

bool sr_os_memory_guard(void *address, size_t length, sr_atomic_u32 *damaged) {
    (void)address;
    (void)length;
    (void)damaged;
    return true;
}

void sr_os_memory_unguard(const sr_atomic_u32 *damaged) { (void)damaged; }
