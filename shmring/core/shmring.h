/* shmring.h - rings in C: everything that a program of its own needs, in one header.
 *
 * Compile with -I and link with -lshmring, both in the folder that shmring.get_include() names; -pthread, and on Linux
 * nothing else. The functions are not stable before version 1, and neither is the layout: a program of another version is
 * told SR_OTHER_LAYOUT by sr_geometry_read, and changes nothing.
 *
 * A program maps a segment (/dev/shm/shmring.NAME, or a file), and then:
 *
 *   sr_geometry_read(&geometry, base, mapped)    is it a ring, and of which kind and size
 *   sr_os_start()                                once a process, before the first attach
 *   sr_endpoint_bind(&ring, base, &geometry)     a way into it; one thread at a time, unless LAYOUT.md says so
 *   sr_attach(&ring, &arrival)                   from now on it is known to live, and repaired after if it dies
 *   sr_take_role(&ring, SR_ROLE_..., &holder)    as a producer, a consumer or both
 *   sr_claim .. sr_commit, sr_announce           a message in: room for it, and then the message to others
 *   sr_take .. sr_acknowledge, sr_announce_room  a message out: where it lies, and then its room to others
 *   sr_detach, sr_detach_finish                  leaves; whoever is the last to leave an empty ring removes its name
 *
 * Each of these says in its own header what it answers: enum sr_result. sr_claim and sr_take wait, by the struct sr_wait
 * that they are given: until a deadline on sr_os_monotonic_ns, or until its hook `interrupted` answers true.
 *
 * Not here: making and finding names (the registry's, in Python), growing queues (queue/queue.h), the binding of Python.
 * What lies in memory is in LAYOUT.md; examples/consumer.c is a whole program.
 */
#ifndef SHMRING_SHMRING_H
#define SHMRING_SHMRING_H

#include "attach.h"
#include "blocking.h"

#endif
