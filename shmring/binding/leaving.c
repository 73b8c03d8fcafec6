/* leaving.c - the end of the process. Rings are left when the interpreter has gone, and not before: functions of atexit,
 * finalizers and daemon threads use them to their last step.
 *
 * By then nobody runs Python any more. Daemon threads may still be in here, waiting or copying without the interpreter: they
 * are told, and waited for. What a view shows stays as it is, for somebody may be writing there who knows no interpreter: the
 * kernel tells of our end once that is over, as after a kill.
 */
#include <stdlib.h>
#include <string.h>

#include "os/semaphore.h"
#include "attachment.h"

static const int64_t PATIENCE_NS = INT64_C(1000000000);

static struct ring *rings; /* that are attached; guarded by the interpreter lock */

void sr_live(struct ring *self) {
    self->next = rings;
    self->previous = NULL;
    if (rings)
        rings->previous = self;
    rings = self;
}

void sr_live_no_more(struct ring *self) {
    if (self->next)
        self->next->previous = self->previous;
    if (self->previous)
        self->previous->next = self->next;
    else if (rings == self)
        rings = self->next;
    self->next = self->previous = NULL;
}

enum sr_result sr_leave_segment(struct ring *self, bool *abandoned) {
    if (self->keeps_name) /* retired, it would stand in the way of the next */
        self->endpoint.geometry.flags |= SR_FLAG_PERSIST;
    enum sr_result result = sr_detach(&self->endpoint, abandoned);
    if (result != SR_OK || !*abandoned)
        return result;
    if (self->path)
        sr_os_remove_name(&self->segment_file, self->path);
    if (self->locks_path) /* after the ring's: a name leads to a ring that has its locks */
        sr_os_remove_name(&self->locks_file, self->locks_path);
    for (int i = 0; i < 3; i++)
        if (self->semaphore_names[i])
            sr_os_semaphore_unlink(self->semaphore_names[i]);
    return result;
}

static bool is_ours(const struct ring *self) { return self->attached && self->generation == sr_fork_generation; }

static void call_back(struct ring *self) {
    if (self->queue)
        sr_queue_wake_for_close(self->queue);
    sr_wake_for_close(&self->endpoint);
}

static bool are_all_back(const struct ring *self, int64_t give_up) {
    while (SR_LOAD(&self->endpoint.abroad, acquire)) { /* pairs with the release in resume: what it wrote is written */
        if (sr_os_monotonic_ns() >= give_up)
            return false;
        sr_os_sleep_ns(100000);
    }
    return true;
}

/* After the interpreter. */
static void leave_all(void) {
    for (struct ring *self = rings; self; self = self->next)
        if (is_ours(self))
            call_back(self);
    int64_t give_up = sr_os_monotonic_ns() + PATIENCE_NS;
    for (struct ring *self = rings; self; self = self->next) {
        bool abandoned;
        if (!is_ours(self) || self->leases || !are_all_back(self, give_up))
            continue;
        self->attached = false;
        sr_forsake(&self->endpoint);
        (void)sr_leave_segment(self, &abandoned);
        sr_detach_finish(&self->endpoint);
    }
}

PyObject *sr_leave_at_exit(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    static bool registered;
    if (!registered)
        registered = SR_OS_REMOVES_NAMES && Py_AtExit(leave_all) == 0;
    return PyBool_FromLong(registered);
}
