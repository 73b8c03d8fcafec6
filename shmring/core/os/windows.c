/* os/windows.c - Windows 10 and later: clocks, locks and semaphores. Parking is in os/windows_events.c.
 *
 * A byte is locked by the existence of a named kernel object, `Global\shmring-IDENTITY.BYTE`: whoever creates it has
 * the lock, whoever finds that it exists does not; of a shared one whoever has a handle. The kernel closes a process's handles when it ends, however it ends, and
 * an object goes with its last handle. A handle belongs to the process and not to a thread, so that any thread may let
 * go (a mutex belongs to the thread that took it, and would be abandoned by that thread's end), and creating is
 * exclusive within a process too. Nobody can wait for such a lock, which nobody needs to: attach.c tries again.
 *
 * To look whether it exists, or to try for it, keeps it alive for an instant. So a probe may say once more "alive" of one
 * that has just died, and a try may fail for no lasting reason, but never does one succeed beside a living holder.
 *
 * Names are in `Global\`, where every session sees them: a service and a desktop program may share a ring that is a file.
 */
#include "os/windows_objects.h"

#include <errno.h>
#include <sddl.h>
#include <stdio.h>
#include <wchar.h>

#include "os/named_locks.h"
#include "os/semaphore.h"

bool sr_fences_are_asymmetric; /* stays false: FlushProcessWriteBuffers reaches this process's threads only */

void sr_os_start(void) {}

void sr_heavy_fence(void) { atomic_thread_fence(memory_order_seq_cst); }

int64_t sr_os_monotonic_ns(void) {
    static sr_atomic_u64 frequency; /* the same whoever asks first */
    uint64_t hertz = SR_LOAD(&frequency, relaxed);
    LARGE_INTEGER now;
    if (!hertz) {
        QueryPerformanceFrequency(&now);
        hertz = (uint64_t)now.QuadPart;
        SR_STORE(&frequency, hertz, relaxed);
    }
    QueryPerformanceCounter(&now);
    uint64_t ticks = (uint64_t)now.QuadPart;
    return (int64_t)(ticks / hertz * 1000000000 + ticks % hertz * 1000000000 / hertz);
}

int64_t sr_os_realtime_ns(void) {
    static const uint64_t FROM_1601_TO_1970 = UINT64_C(116444736000000000); /* in units of 100 ns */
    FILETIME now;
    GetSystemTimePreciseAsFileTime(&now);
    return (int64_t)(((uint64_t)now.dwHighDateTime << 32 | now.dwLowDateTime) - FROM_1601_TO_1970) * 100;
}

unsigned sr_os_processors(void) {
    DWORD active = GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    return active ? active : 1;
}

uint32_t sr_os_process_id(void) { return GetCurrentProcessId(); }
void sr_os_yield(void) { SwitchToThread(); }

void sr_os_sleep_ns(int64_t duration_ns) {
    /* Sleep counts in ticks of the clock, up to 15 ms: what is shorter is spent in letting others run. */
    static const int64_t SHORT_NS = 1000000;
    if (duration_ns >= SHORT_NS) {
        Sleep((DWORD)(duration_ns / 1000000));
        return;
    }
    for (int64_t until = sr_os_monotonic_ns() + duration_ns; sr_os_monotonic_ns() < until;)
        SwitchToThread();
}

/* Only ever set by the first that gets there, so that nobody needs to let go of it. */
SECURITY_ATTRIBUTES *sr_windows_owner_only(void) {
    static SECURITY_ATTRIBUTES attributes = {.nLength = sizeof attributes}; /* not inheritable by child processes */
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    BOOL pending;
    if (!InitOnceBeginInitialize(&once, 0, &pending, NULL))
        return NULL;
    if (!pending)
        return attributes.lpSecurityDescriptor ? &attributes : NULL;
    union {
        TOKEN_USER user;
        unsigned char room[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    } found;
    DWORD length;
    HANDLE token = NULL;
    LPWSTR sid = NULL;
    WCHAR text[256];
    if (OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token) &&
        GetTokenInformation(token, TokenUser, &found, sizeof found, &length) &&
        ConvertSidToStringSidW(found.user.User.Sid, &sid)) {
        swprintf(text, 256, L"D:P(A;;GA;;;%ls)", sid);
        (void)ConvertStringSecurityDescriptorToSecurityDescriptorW(text, SDDL_REVISION_1,
                                                                   &attributes.lpSecurityDescriptor, NULL);
    }
    LocalFree(sid);
    if (token)
        CloseHandle(token);
    InitOnceComplete(&once, 0, NULL);
    return attributes.lpSecurityDescriptor ? &attributes : NULL;
}

/* --- locks --- */

static void name_of(WCHAR *name, uint64_t identity, uint64_t byte) {
    swprintf(name, SR_WINDOWS_NAME, L"Global\\shmring-%016llx.%llx", (unsigned long long)identity,
             (unsigned long long)byte);
}

uint64_t sr_windows_identity(HANDLE section) {
    const struct sr_header *header = MapViewOfFile(section, FILE_MAP_READ, 0, 0, sizeof *header);
    uint64_t identity = header && header->magic == SR_MAGIC ? header->identity : 0;
    if (header)
        UnmapViewOfFile(header);
    return identity;
}

uint64_t sr_named_lock_identity(int segment_fd) { return sr_windows_identity((HANDLE)(intptr_t)segment_fd); }

enum sr_os_lock sr_named_lock_try(uint64_t identity, uint64_t byte, bool shared, intptr_t *lock) {
    WCHAR name[SR_WINDOWS_NAME];
    name_of(name, identity, byte);
    HANDLE object = CreateEventW(sr_windows_owner_only(), TRUE, FALSE, name);
    DWORD error = GetLastError();
    if (object && (shared || error != ERROR_ALREADY_EXISTS)) {
        *lock = (intptr_t)object;
        return SR_OS_LOCKED;
    }
    if (object)
        CloseHandle(object);
    if (object || error == ERROR_ACCESS_DENIED) /* another user's, but it exists */
        return SR_OS_LOCK_HELD;
    errno = error == ERROR_NOT_ENOUGH_MEMORY ? ENOMEM : EIO;
    return SR_OS_LOCK_REFUSED;
}

int sr_named_lock_descriptor(intptr_t lock) { return (int)lock; }

void sr_named_lock_release(intptr_t lock, uint64_t identity, uint64_t byte) {
    (void)identity;
    (void)byte;
    CloseHandle((HANDLE)lock);
}

enum sr_os_liveness sr_named_lock_probe(uint64_t identity, uint64_t byte) {
    WCHAR name[SR_WINDOWS_NAME];
    name_of(name, identity, byte);
    HANDLE object = OpenEventW(SYNCHRONIZE, FALSE, name);
    if (object) {
        CloseHandle(object);
        return SR_OS_ALIVE;
    }
    switch (GetLastError()) {
    case ERROR_FILE_NOT_FOUND:
        return SR_OS_DEAD;
    case ERROR_ACCESS_DENIED:
        return SR_OS_ALIVE; /* another user's, but it exists */
    default:
        return SR_OS_UNKNOWN;
    }
}

bool sr_os_at_fork(void (*child)(void)) {
    (void)child; /* nobody forks here */
    return true;
}

/* --- semaphores --- */

/* Whoever comes first makes it, and it goes with the last. One that a ring outlived, in a file, begins as if it were
 * contended and empty; sr_semaphore_top_up raises its count at the first look. */
void *sr_os_semaphore_open(const char *name) {
    const char *bare = name[0] == '/' ? name + 1 : name;
    WCHAR wide[SR_WINDOWS_NAME];
    swprintf(wide, SR_WINDOWS_NAME, L"Global\\%hs", bare);
    size_t length = strlen(bare);
    bool is_mutex = length > 6 && strcmp(bare + length - 6, ".mutex") == 0;
    HANDLE semaphore = CreateSemaphoreW(sr_windows_owner_only(), is_mutex, INT32_MAX, wide);
    if (!semaphore)
        errno = GetLastError() == ERROR_ACCESS_DENIED ? EACCES : ENOMEM;
    return semaphore;
}

void sr_os_semaphore_close(void *semaphore) { CloseHandle(semaphore); }
void sr_os_semaphore_unlink(const char *name) { (void)name; /* it goes with its last handle */ }

bool sr_os_semaphore_try_wait(void *semaphore) { return WaitForSingleObject(semaphore, 0) == WAIT_OBJECT_0; }

void sr_os_semaphore_post(void *semaphore) { ReleaseSemaphore(semaphore, 1, NULL); }

int sr_os_semaphore_value(void *semaphore) {
    struct {
        ULONG current, maximum;
    } counts;
    /* The only way to read a count without taking from it; in every Windows since NT 3.1, and in no import library. */
    typedef LONG(WINAPI * query)(HANDLE, int, void *, ULONG, ULONG *);
    HMODULE library = GetModuleHandleW(L"ntdll.dll");
    query function = library ? (query)(void (*)(void))GetProcAddress(library, "NtQuerySemaphore") : NULL;
    return function && function(semaphore, 0, &counts, sizeof counts, NULL) >= 0 ? (int)counts.current : -1;
}
