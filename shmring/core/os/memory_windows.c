/* os/memory_windows.c - FlushViewOfFile, VirtualLock, PrefetchVirtualMemory; a file that is lengthened while it is mapped.
 *
 * There is no guard against truncation, because Windows refuses to truncate a file that somebody has mapped. What is left,
 * a disk or a network that fails under a mapped file, ends the process, as it does with any other mapping.
 */
#include "os/memory.h"

#include <errno.h>

#include "os/windows_objects.h"

#ifndef ERROR_DISK_QUOTA_EXCEEDED /* not in MinGW's headers */
#define ERROR_DISK_QUOTA_EXCEEDED 1295
#endif

static int errno_of(DWORD error) {
    switch (error) {
    case ERROR_WORKING_SET_QUOTA:
    case ERROR_NO_SYSTEM_RESOURCES:
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT:
        return ENOMEM;
    case ERROR_ACCESS_DENIED:
    case ERROR_PRIVILEGE_NOT_HELD:
        return EPERM;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
    case ERROR_DISK_QUOTA_EXCEEDED:
        return ENOSPC;
    case ERROR_FILE_TOO_LARGE:
        return EFBIG;
    case ERROR_INVALID_HANDLE:
        return EBADF;
    default:
        return EIO;
    }
}

static bool said(BOOL done) {
    if (!done)
        errno = errno_of(GetLastError());
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

void sr_os_memory_unguard(const void *address, const sr_atomic_u32 *damaged) {
    (void)address;
    (void)damaged;
}

/* --- a queue's file: lengthened as it needs, and neither shortened nor given holes while it is mapped --- */

int sr_os_memory_file(int locks, int segment) {
    (void)locks; /* have names of their own */
    if (segment < 0)
        errno = EBADF;
    return segment;
}

uint64_t sr_os_memory_granularity(void) {
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    return system.dwAllocationGranularity;
}

static bool length_of_file(int file, uint64_t *length) {
    LARGE_INTEGER found;
    if (!said(GetFileSizeEx((HANDLE)(intptr_t)file, &found)))
        return false;
    *length = (uint64_t)found.QuadPart;
    return true;
}

/* A view keeps its section, so that nobody else needs to. Its identity says where to park. */
static void *view_of(HANDLE section, uint64_t offset, size_t length) {
    uint64_t identity = sr_windows_identity(section);
    if (!identity) { /* of a file that is no ring any more */
        errno = EINVAL;
        return NULL;
    }
    void *address =
        MapViewOfFile(section, FILE_MAP_READ | FILE_MAP_WRITE, (DWORD)(offset >> 32), (DWORD)offset, length);
    if (said(address != NULL) && !sr_windows_mapped(address, length, identity, offset)) {
        UnmapViewOfFile(address);
        errno = ENOMEM;
        return NULL;
    }
    return address;
}

void *sr_os_memory_map(int file, uint64_t offset, size_t length) {
    uint64_t there, end = offset + length;
    if (!length_of_file(file, &there))
        return NULL;
    if (end < offset || end > there) { /* a section that is longer than its file would lengthen that */
        errno = EFAULT;
        return NULL;
    }
    HANDLE section = CreateFileMappingW((HANDLE)(intptr_t)file, sr_windows_owner_only(), PAGE_READWRITE,
                                        (DWORD)(end >> 32), (DWORD)end, NULL);
    if (!said(section != NULL))
        return NULL;
    void *address = view_of(section, offset, length);
    CloseHandle(section);
    return address;
}

void sr_os_memory_unmap(void *address, size_t length) {
    (void)length;
    sr_os_memory_unmapped(address);
    UnmapViewOfFile(address);
}

bool sr_os_memory_lengthen(int file, uint64_t end, uint64_t *before) {
    if (!length_of_file(file, before))
        return false;
    FILE_END_OF_FILE_INFO wanted = {.EndOfFile.QuadPart = (LONGLONG)end};
    return *before >= end ||
           said(SetFileInformationByHandle((HANDLE)(intptr_t)file, FileEndOfFileInfo, &wanted, sizeof wanted));
}

bool sr_os_memory_reserve(int file, uint64_t offset, uint64_t length) {
    (void)file; /* is not sparse: it has storage as far as it reaches */
    (void)offset;
    (void)length;
    return true;
}

void sr_os_memory_populate_written(void *address, size_t length) {
    (void)address; /* to fetch what is all zeros from a file is no quicker */
    (void)length;
}

bool sr_os_memory_give_back(int file, uint64_t offset, uint64_t length) {
    (void)file;
    (void)offset;
    (void)length;
    return false;
}

void sr_os_memory_cut(int file, uint64_t end) {
    (void)file;
    (void)end;
}
