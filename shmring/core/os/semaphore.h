/* os/semaphore.h - the three counting semaphores of the semaphore kind. Named ones, made by posix_ipc. Never wait. */
#ifndef SHMRING_OS_SEMAPHORE_H
#define SHMRING_OS_SEMAPHORE_H

#include <stdbool.h>

void *sr_os_semaphore_open(const char *name); /* NULL: errno says why */
void sr_os_semaphore_close(void *semaphore);
void sr_os_semaphore_unlink(const char *name); /* if it is there, is ours, and does not go with its last user */
bool sr_os_semaphore_try_wait(void *semaphore);
void sr_os_semaphore_post(void *semaphore);
int sr_os_semaphore_value(void *semaphore);

#endif
