/* kernel.h - a kernel that has locks on bytes, as os.h describes them: each belongs to an open file description, and goes
 * with the last process that has that. A description is a number here; threads are processes unless they are said to be of
 * one. */
#ifndef EXPLORER_KERNEL_H
#define EXPLORER_KERNEL_H

#include "os/os.h"

enum { KERNEL_ENTRIES = 4, KERNEL_SENT = 2 };

void kernel_reset(void);
/* In before() and after(): for which process. */
void kernel_act_as(int process);
void kernel_is_of(int thread, int process);
/* `thread` is a forked child of the process that has this hold, and inherits it if it is of that kind. */
void kernel_fork(void *hold, int thread);
/* The same for a copy of its descriptor, which the child has not closed yet. */
void kernel_fork_locks(int locks, int thread);
/* From now on locks on this byte are refused, with EACCES; and none can be opened. */
void kernel_refuse(uint64_t byte);
void kernel_refuse_to_open(bool refuses);
int kernel_open(int process); /* descriptions that it has */
/* Waiting for a lock takes a thread of this process no time that it has; for good, or until it is let go. */
void kernel_is_impatient(int thread);

#endif
