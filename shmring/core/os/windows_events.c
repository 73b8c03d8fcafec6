/* os/windows_events.c - parking on a word of shared memory.
 *
 * WaitOnAddress does not see other processes, so a word that somebody parks on has two auto-reset events, named after the
 * identity of the mapping object and the word's offset in it: `.one`, which wakes one waiter, and `.all`, which each that it wakes passes on to
 * the next while the word still says that it was meant. Both are made by whoever comes first and go with the last.
 *
 * The word decides, the events only interrupt a sleep: a set that nobody took stays until the next waiter finds it, and is
 * then one wake for no reason. The other way round, a later waiter can take a set that was meant for one that has looked
 * at the word and does not wait yet. So the first wait is short, and the word is looked at again after it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <wchar.h>

#include "os/os.h"
#include "os/memory.h"
#include "os/windows_objects.h"

enum { FIRST_WAIT_MS = 2 };

struct events {
    struct events *next;
    uint64_t offset; /* of the word, in its mapping object */
    HANDLE one, all;
    unsigned sleepers;
    bool is_orphaned; /* its view has gone; the last sleeper closes it */
};

/* A view that this process has. */
struct view {
    struct view *next;
    uintptr_t begin, end;
    HANDLE section; /* for as long as it has not been asked for its identity */
    uint64_t offset;
    uint64_t identity; /* 0: not asked for yet */
    struct events *events;
};
static struct view *views;
static SRWLOCK views_lock = SRWLOCK_INIT;

static bool add_view(const struct view *what) {
    struct view *view = malloc(sizeof *view);
    if (!view)
        return false;
    *view = *what;
    AcquireSRWLockExclusive(&views_lock);
    view->next = views;
    views = view;
    ReleaseSRWLockExclusive(&views_lock);
    return true;
}

bool sr_os_memory_mapped(void *address, size_t length, int object, uint64_t offset) {
    uintptr_t begin = (uintptr_t)address;
    return add_view(
        &(struct view){.begin = begin, .end = begin + length, .section = (HANDLE)(intptr_t)object, .offset = offset});
}

bool sr_windows_mapped(void *address, size_t length, uint64_t identity, uint64_t offset) {
    uintptr_t begin = (uintptr_t)address;
    return add_view(&(struct view){.begin = begin, .end = begin + length, .identity = identity, .offset = offset});
}

static void close_events(struct events *events) {
    if (events->one)
        CloseHandle(events->one);
    if (events->all)
        CloseHandle(events->all);
    free(events);
}

void sr_os_memory_unmapped(void *address) {
    AcquireSRWLockExclusive(&views_lock);
    struct view **place = &views;
    while (*place && (*place)->begin != (uintptr_t)address)
        place = &(*place)->next;
    struct view *view = *place;
    if (view)
        *place = view->next;
    while (view && view->events) {
        struct events *events = view->events;
        view->events = events->next;
        events->is_orphaned = true;
        if (events->sleepers)
            SetEvent(events->all); /* a watching thread, which sleeps in nobody's name (watch.c) */
        else
            close_events(events);
    }
    ReleaseSRWLockExclusive(&views_lock);
    free(view);
}

static HANDLE make_event(const struct view *view, uint64_t offset, const WCHAR *which) {
    WCHAR name[SR_WINDOWS_NAME];
    swprintf(name, SR_WINDOWS_NAME, L"Global\\shmring-%016llx.%llx.%ls", (unsigned long long)view->identity,
             (unsigned long long)offset, which);
    return CreateEventW(sr_windows_owner_only(), FALSE, FALSE, name);
}

/* Under the lock. */
static struct events *find(uintptr_t word) {
    struct view *view = views;
    while (view && (word < view->begin || word >= view->end))
        view = view->next;
    if (!view)
        return NULL;
    if (!view->identity)
        view->identity = sr_windows_identity(view->section);
    uint64_t offset = view->offset + (word - view->begin);
    struct events *found = view->events;
    while (found && found->offset != offset)
        found = found->next;
    if (found || !view->identity || !(found = calloc(1, sizeof *found)))
        return found;
    found->offset = offset;
    found->one = make_event(view, offset, L"one");
    found->all = make_event(view, offset, L"all");
    if (!found->one || !found->all) {
        close_events(found);
        return NULL;
    }
    found->next = view->events;
    view->events = found;
    return found;
}

/* Rounded up, so that nobody wakes before its time and spins for the rest of it. */
static DWORD milliseconds(int64_t duration_ns) {
    int64_t rounded = (duration_ns + 999999) / 1000000;
    return rounded < INT32_MAX ? (DWORD)rounded : INT32_MAX;
}

/* This process's own memory, and not a view that has gone: watching threads have addresses of those (watch.c). */
static bool is_private(const void *word) {
    MEMORY_BASIC_INFORMATION where;
    return VirtualQuery(word, &where, sizeof where) && where.State == MEM_COMMIT && where.Type != MEM_MAPPED;
}

/* Looks at the word, which is there as long as its view is, and takes a place at its events, or says why not. */
static struct events *lie_down(sr_atomic_u32 *word, uint32_t expected, bool *is_changed) {
    AcquireSRWLockExclusive(&views_lock);
    struct events *events = find((uintptr_t)word);
    *is_changed = events && SR_LOAD(word, acquire) != expected;
    if (*is_changed)
        events = NULL;
    if (events)
        events->sleepers++;
    ReleaseSRWLockExclusive(&views_lock);
    return events;
}

static void get_up(struct events *events, sr_atomic_u32 *word, uint32_t expected, DWORD answer) {
    AcquireSRWLockExclusive(&views_lock);
    events->sleepers--;
    if (answer == WAIT_OBJECT_0 + 1 && (events->is_orphaned || SR_LOAD(word, acquire) != expected))
        SetEvent(events->all); /* it was meant, so for the next as well */
    if (events->is_orphaned && !events->sleepers)
        close_events(events);
    ReleaseSRWLockExclusive(&views_lock);
}

enum sr_os_wakeup sr_os_park(sr_atomic_u32 *word, uint32_t expected, int64_t timeout_ns) {
    int64_t give_up = sr_os_monotonic_ns() + timeout_ns;
    for (DWORD at_most = FIRST_WAIT_MS;; at_most = INFINITE) {
        bool is_changed;
        struct events *events = lie_down(word, expected, &is_changed);
        if (is_changed)
            return SR_OS_WOKEN;
        int64_t left = give_up - sr_os_monotonic_ns();
        DWORD wait = left <= 0 ? 0 : milliseconds(left) < at_most ? milliseconds(left) : at_most;
        if (events) {
            HANDLE either[2] = {events->one, events->all};
            DWORD answer = WaitForMultipleObjects(2, either, FALSE, wait);
            get_up(events, word, expected, answer);
            if (answer != WAIT_TIMEOUT)
                return SR_OS_WOKEN;
        } else if (!is_private((const void *)word)) {
            Sleep(wait ? 1 : 0); /* and no spinning where the kernel refuses events */
            return SR_OS_TIMED_OUT;
        } else if (SR_LOAD(word, acquire) != expected ||
                   WaitOnAddress((volatile void *)word, &expected, sizeof expected, wait)) {
            return SR_OS_WOKEN;
        }
        if (left <= 0)
            return SR_OS_TIMED_OUT;
    }
}

int sr_os_unpark(sr_atomic_u32 *word, int count) {
    AcquireSRWLockExclusive(&views_lock);
    struct events *events = find((uintptr_t)word);
    /* Who is woken wakes the next when it leaves anything (pass_on in blocking.c), so one is enough for several. */
    if (events)
        SetEvent(count == INT32_MAX ? events->all : events->one);
    ReleaseSRWLockExclusive(&views_lock);
    if (!events && is_private((const void *)word))
        WakeByAddressAll((void *)word);
    return events != NULL;
}
