/* os/watch_windows.c - bells are sockets, as nothing else can be polled beside sockets: each is a datagram socket connected
 * to itself. A thread sleeps on one word, since a word takes two of the 64 objects that one wait may have.
 */
#ifndef _WINSOCK_DEPRECATED_NO_WARNINGS
#define _WINSOCK_DEPRECATED_NO_WARNINGS
#endif
#include <winsock2.h>

#include "os/watch.h"

#include <errno.h>
#include <stdlib.h>

#include "os/windows_objects.h"

enum { STACK_BYTES = 128 * 1024 };

int sr_os_bell_open(void) {
    static INIT_ONCE once = INIT_ONCE_STATIC_INIT;
    BOOL pending;
    WSADATA unused;
    if (InitOnceBeginInitialize(&once, 0, &pending, NULL) && pending)
        InitOnceComplete(&once, WSAStartup(MAKEWORD(2, 2), &unused) == 0 ? 0 : INIT_ONCE_INIT_FAILED, NULL);
    SOCKET bell = WSASocketW(AF_INET, SOCK_DGRAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    struct sockaddr_in self = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int length = sizeof self;
    u_long without_waiting = 1;
    if (bell != INVALID_SOCKET && bind(bell, (struct sockaddr *)&self, length) == 0 &&
        getsockname(bell, (struct sockaddr *)&self, &length) == 0 &&
        connect(bell, (struct sockaddr *)&self, length) == 0 && ioctlsocket(bell, FIONBIO, &without_waiting) == 0)
        return (int)bell; /* handles have 31 bits */
    if (bell != INVALID_SOCKET)
        closesocket(bell);
    errno = EMFILE;
    return -1;
}

/* Refused only when its buffer is full, and then it is readable. */
void sr_os_bell_ring(int bell) { (void)send((SOCKET)bell, ".", 1, 0); }

void sr_os_bell_silence(int bell) {
    char rung[1];
    while (recv((SOCKET)bell, rung, sizeof rung, 0) > 0)
        ;
}

void sr_os_bell_close(int bell) { closesocket((SOCKET)bell); }

unsigned sr_os_words_at_once(void) { return 1; }

enum sr_os_wakeup sr_os_park_on_any(sr_atomic_u32 *const *words, const uint32_t *expected, unsigned count,
                                    int64_t timeout_ns, unsigned *woken) {
    enum sr_os_wakeup wakeup = sr_os_park(words[0], expected[0], timeout_ns);
    *woken = wakeup == SR_OS_WOKEN ? 0 : count;
    return wakeup;
}

struct start {
    void (*run)(void *context);
    void *context;
};

static DWORD WINAPI run_watch(void *argument) {
    struct start start = *(struct start *)argument;
    free(argument);
    start.run(start.context);
    return 0;
}

bool sr_os_thread_start(void (*run)(void *context), void *context) {
    struct start *start = malloc(sizeof *start);
    if (!start)
        return false;
    *start = (struct start){run, context};
    HANDLE thread = CreateThread(NULL, STACK_BYTES, run_watch, start, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (!thread) {
        free(start);
        errno = EAGAIN;
        return false;
    }
    CloseHandle(thread);
    return true;
}

static SRWLOCK lock = SRWLOCK_INIT;

void sr_os_watch_lock(void) { AcquireSRWLockExclusive(&lock); }
void sr_os_watch_unlock(void) { ReleaseSRWLockExclusive(&lock); }
void sr_os_watch_lock_renew(void) { InitializeSRWLock(&lock); }
