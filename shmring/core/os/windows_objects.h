/* os/windows_objects.h - what the Windows files share; nobody else includes it. */
#ifndef SHMRING_OS_WINDOWS_OBJECTS_H
#define SHMRING_OS_WINDOWS_OBJECTS_H

#ifndef _WIN32_WINNT
#define _WIN32_WINNT 0x0A00 /* Windows 10 */
#endif
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#include <windows.h>

#include "format/layout.h"

/* A kernel object's name, long enough for the two that a ring gives: by its identity and a number. */
enum { SR_WINDOWS_NAME = 64 };

/* Admits the user of this process and nobody else; NULL, which means Windows's own default, if that cannot be had. */
SECURITY_ATTRIBUTES *sr_windows_owner_only(void);

/* What tells a mapping object from all others: the identity of the ring that it begins with; 0 when there is none. */
uint64_t sr_windows_identity(HANDLE section);

/* As sr_os_memory_mapped, for a view of a mapping object that begins with this identity. */
bool sr_windows_mapped(void *address, size_t length, uint64_t identity, uint64_t offset);

#endif
