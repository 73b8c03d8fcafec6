/* watch.c - what event loops wait with: shmring._core.Watch, and a ring's side of it. aio/waiting.py is the loop.
 *
 * The interpreter lock guards the objects here; the core's own lock (os/watch.h) what they share with its thread.
 */
#include "os/watch.h"
#include "attachment.h"
#include "wait/watch.h"

struct watch_object {
    PyObject ob_base;
    struct sr_watch watch;
    uint32_t ticket;
    bool is_open;
    struct ring *ring; /* of a queue: which this holds, as it is in one of its links */
    struct sr_link *link;
    uint32_t generation;
};

PyObject *sr_watch_new(struct sr_event *event) {
    struct watch_object *self = PyObject_New(struct watch_object, (PyTypeObject *)sr_watch_type);
    if (!self)
        return NULL;
    self->ticket = 0;
    self->ring = NULL;
    self->link = NULL;
    self->is_open = sr_watch_open(&self->watch, event);
    if (self->is_open)
        return (PyObject *)self;
    PyErr_SetFromErrno(PyExc_OSError);
    Py_DECREF((PyObject *)self);
    return NULL;
}

PyObject *sr_watch_new_in(struct ring *ring, struct sr_link *link, struct sr_event *event) {
    struct watch_object *self = (struct watch_object *)sr_watch_new(event);
    if (!self) {
        sr_queue_leave(ring->queue, link);
        return NULL;
    }
    self->ring = (struct ring *)Py_NewRef((PyObject *)ring);
    self->link = link;
    self->generation = sr_fork_generation;
    return (PyObject *)self;
}

/* Out of the link, unless that has gone with the queue, or was our parent's. */
static void leave_link(struct watch_object *self) {
    if (self->link && self->ring->attached && self->generation == sr_fork_generation)
        sr_queue_leave(self->ring->queue, self->link);
    self->link = NULL;
}

static PyObject *watch_fileno(PyObject *object, PyObject *unused) {
    (void)unused;
    struct watch_object *self = (struct watch_object *)object;
    return PyLong_FromLong(self->is_open ? self->watch.bell : -1);
}

/* The first half of the handshake; the caller looks at the ring next, and parks after that. */
static PyObject *watch_announce(PyObject *object, PyObject *unused) {
    (void)unused;
    struct watch_object *self = (struct watch_object *)object;
    if (self->watch.event) /* changed under the interpreter lock, which we hold */
        self->ticket = sr_event_announce(self->watch.event);
    Py_RETURN_NONE;
}

static PyObject *watch_park(PyObject *object, PyObject *unused) {
    (void)unused;
    struct watch_object *self = (struct watch_object *)object;
    if (!self->is_open || self->watch.bell < 0) {
        PyErr_SetString(PyExc_RuntimeError,
                        "this wait began before a fork, and its event loop is the parent's; start a new loop here");
        return NULL;
    }
    if (!sr_watch_park(&self->watch, self->ticket))
        return PyErr_SetFromErrno(PyExc_OSError); /* no thread: EAGAIN, ENOMEM */
    Py_RETURN_NONE;
}

static PyObject *watch_unpark(PyObject *object, PyObject *unused) {
    (void)unused;
    sr_watch_unpark(&((struct watch_object *)object)->watch);
    Py_RETURN_NONE;
}

static PyObject *watch_silence(PyObject *object, PyObject *unused) {
    (void)unused;
    struct watch_object *self = (struct watch_object *)object;
    if (self->is_open && self->watch.bell >= 0)
        sr_os_bell_silence(self->watch.bell);
    Py_RETURN_NONE;
}

static PyObject *watch_close(PyObject *object, PyObject *unused) {
    (void)unused;
    struct watch_object *self = (struct watch_object *)object;
    struct ring *ring = self->ring;
    leave_link(self);
    if (self->is_open)
        sr_watch_close(&self->watch);
    self->is_open = false;
    self->ring = NULL;
    Py_XDECREF((PyObject *)ring);
    Py_RETURN_NONE;
}

static PyObject *watch_is_orphaned(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(((struct watch_object *)object)->watch.event == NULL);
}

static void watch_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Py_DECREF(watch_close(object, NULL));
    PyObject_Free(object);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef watch_methods[] = {
    {"fileno", watch_fileno, METH_NOARGS, PyDoc_STR("The bell: a descriptor for an event loop to poll.")},
    {"announce", watch_announce, METH_NOARGS, PyDoc_STR("Before the last look at what is waited for.")},
    {"park", watch_park, METH_NOARGS, PyDoc_STR("After it: ring the bell at the next change.")},
    {"unpark", watch_unpark, METH_NOARGS, PyDoc_STR("The bell is not wanted any more.")},
    {"silence", watch_silence, METH_NOARGS, PyDoc_STR("Make the bell ready for the next time.")},
    {"close", watch_close, METH_NOARGS, PyDoc_STR("Close the bell; may be called again.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef watch_attributes[] = {
    {"is_orphaned", watch_is_orphaned, NULL, PyDoc_STR("True when the memory of its event is gone."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot watch_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("One event of a segment, for an event loop to wait for.")},
    {Py_tp_dealloc, (void *)watch_dealloc},
    {Py_tp_methods, watch_methods},
    {Py_tp_getset, watch_attributes},
    {0, NULL},
};

PyType_Spec sr_watch_spec = {
    .name = "shmring._core.Watch",
    .basicsize = sizeof(struct watch_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = watch_slots,
};

/* --- a ring's side of it --- */

static bool parse_side(PyObject *argument, enum side *side) {
    long number = PyLong_AsLong(argument);
    if (number == -1 && PyErr_Occurred())
        return false;
    *side = number == PRODUCING ? PRODUCING : CONSUMING;
    return true;
}

PyObject *sr_ring_watch(PyObject *object, PyObject *argument) {
    struct ring *self = (struct ring *)object;
    enum side side;
    if (!parse_side(argument, &side) || (!sr_gate_open(self, side) && !sr_pass_gate(self, side)))
        return NULL;
    struct sr_header *header = self->endpoint.header;
    return sr_watch_new(side == PRODUCING ? &header->room : &header->items);
}

PyObject *sr_ring_look_up(PyObject *object, PyObject *argument) {
    struct ring *self = (struct ring *)object;
    enum side side;
    if (!parse_side(argument, &side))
        return NULL;
    if (!self->attached || self->gate[side] & GATE_CLOSED || self->generation != sr_fork_generation)
        Py_RETURN_NONE; /* the next attempt says so */
    SR_STORE(&self->endpoint.self->active_ns, (uint64_t)sr_os_realtime_ns(), relaxed);
    enum sr_result result = sr_look_up(&self->endpoint, side == PRODUCING, self->outlive_peers);
    if (result == SR_OK)
        Py_RETURN_NONE;
    return PyUnicode_FromString(sr_result_name(result));
}

PyObject *sr_ring_pass_on(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    struct ring *self = (struct ring *)object;
    enum side side;
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "_pass_on() takes a side and whether it took, not %zd values", count);
    if (!parse_side(args[0], &side))
        return NULL;
    if (self->attached && self->generation == sr_fork_generation)
        sr_pass_on(&self->endpoint, side == PRODUCING, args[1] == Py_True);
    Py_RETURN_NONE;
}

/* --- the module's --- */

static PyObject *seconds_of(PyObject *module, PyObject *timeout) {
    (void)module;
    int64_t timeout_ns;
    if (!sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    if (timeout_ns == INT64_MAX)
        Py_RETURN_NONE;
    return PyFloat_FromDouble((double)timeout_ns / 1e9);
}

PyMethodDef sr_watch_functions[] = {
    {"seconds_of", seconds_of, METH_O, PyDoc_STR("A timeout as seconds, None for ever; TypeError or ValueError.")},
    {NULL, NULL, 0, NULL},
};
