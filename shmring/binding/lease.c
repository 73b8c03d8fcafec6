/* lease.c - the context managers behind claim() and borrow(): a record for as long as its view is in use.
 *
 * A view is a lease. Leaving the block with a view, slice or array still alive raises BufferError, and the memory stays
 * theirs: the record is settled (a claim aborted, a borrowed message acknowledged) when the last of them goes.
 */
#include <string.h>

#include "docstrings.h"
#include "attachment.h"

enum lease_state { LEASE_NEW, LEASE_OPEN, LEASE_LINGERING, LEASE_DONE };

struct lease {
    PyObject ob_base;
    struct ring *ring;
    PyObject *timeout;
    PyObject *view;         /* a weak reference: the view holds us, and a lease that is dropped must go */
    PyObject *value;        /* the same for what the codec made of the view; or NULL */
    struct sr_endpoint *at; /* where the record is */
    struct sr_record record;
    uint64_t length;
    Py_ssize_t exports;
    uint32_t generation;
    enum side side;
    enum lease_state state;
    bool keep; /* commit or acknowledge; else abort or hand back */
};

PyObject *sr_lease_new(struct ring *ring, enum side side, uint64_t length, PyObject *timeout) {
    struct lease *self = PyObject_New(struct lease, (PyTypeObject *)sr_lease_type);
    if (!self)
        return NULL;
    Py_INCREF((PyObject *)ring);
    Py_XINCREF(timeout);
    self->ring = ring;
    self->at = &ring->endpoint;
    self->timeout = timeout;
    self->view = self->value = NULL;
    self->length = length;
    self->exports = 0;
    self->side = side;
    self->state = LEASE_NEW;
    self->keep = false;
    return (PyObject *)self;
}

static enum sr_result settle_claim(struct lease *self) {
    struct ring *ring = self->ring;
    if (!self->keep) {
        sr_count(&ring->endpoint.self->aborted, 1);
        return sr_abort(self->at, &self->record);
    }
    sr_count_put(ring, self->record.length);
    enum sr_result result = sr_commit(self->at, &self->record);
    sr_announce(self->at, 1);
    return result;
}

static enum sr_result settle_borrow(struct lease *self) {
    struct ring *ring = self->ring;
    if (!self->keep)
        return sr_hand_back(self->at, &self->record);
    if (!sr_still_whole(self->at, &self->record))
        return SR_OVERWRITTEN; /* it counts as lost, at the next get */
    sr_count_got(ring, 1, self->record.length, self->record.redelivered);
    enum sr_result result = sr_settle(self->at, &self->record);
    sr_announce_room(self->at);
    return result;
}

/* Commits, aborts, acknowledges or hands back; in a forked child nothing: the record is the parent's. */
static enum sr_result settle(struct lease *self) {
    struct ring *ring = self->ring;
    bool ours = self->generation == sr_fork_generation && ring->attached;
    self->state = LEASE_DONE;
    if (!ours)
        return SR_CLOSED;
    enum sr_result result = self->side == PRODUCING ? settle_claim(self) : settle_borrow(self);
    if (ring->queue)
        sr_queue_handed_back_to(ring, self->at);
    ring->leases--;
    ring->gate[self->side] &= ~(unsigned)GATE_BUSY;
    if (self->side == PRODUCING)
        ring->claim_open = false;
    sr_call_end(ring, self->side);
    return result;
}

static bool may_enter(struct lease *self) {
    struct ring *ring = self->ring;
    if (self->state != LEASE_NEW) {
        PyErr_SetString(PyExc_RuntimeError, "this claim or borrow was entered before; call claim() or borrow() again");
        return false;
    }
    if (!sr_gate_open(ring, self->side) && !sr_pass_gate(ring, self->side))
        return false;
    if (self->side == PRODUCING && ring->claim_open) {
        sr_raise(ring, SR_BUSY, self->side, SR_ATTACHMENTS, 0);
        return false;
    }
    return true;
}

/* Ends a lease; while something still refers to the record, it lingers. */
static void end(struct lease *self, bool keep) {
    self->keep = keep;
    if (self->exports)
        self->state = LEASE_LINGERING;
    else
        (void)settle(self);
}

static void release(PyObject *view) {
    PyObject *answer = PyObject_CallMethodObjArgs(view, sr_release_name, NULL);
    if (!answer)
        PyErr_Clear(); /* BufferError: somebody still exports it, which we report in our own words */
    Py_XDECREF(answer);
}

/* Steals the view; what the codec makes of it takes its place. */
static PyObject *view_of_codec(struct lease *self, PyObject *view) {
    struct ring *ring = self->ring;
    PyObject *value = sr_read_record(ring, self->at, &self->record, ring->view, view);
    if (!value) {
        PyObject *type, *error, *traceback;
        PyErr_Fetch(&type, &error, &traceback);
        release(view);
        Py_DECREF(view);
        end(self, false);
        PyErr_Restore(type, error, traceback);
        return NULL;
    }
    Py_DECREF(view);
    if (value != view) {
        self->value = PyWeakref_NewRef(value, NULL);
        if (!self->value)
            PyErr_Clear(); /* a dict, say: then whoever holds it has to let it go by himself */
    }
    return value;
}

PyObject *sr_lease_read(struct ring *ring, struct sr_endpoint *at, const struct sr_record *record, PyObject *reader,
                        bool *kept) {
    bool alone = sr_one_at_a_time(ring, CONSUMING);
    *kept = false;
    struct lease *self = (struct lease *)sr_lease_new(ring, CONSUMING, record->length, NULL);
    if (!self)
        return NULL;
    self->at = at;
    self->record = *record;
    self->generation = sr_fork_generation;
    self->state = LEASE_OPEN;
    ring->calls++; /* a close waits for us */
    if (alone)
        ring->gate[CONSUMING] |= GATE_BUSY;
    PyObject *view = PyMemoryView_FromObject((PyObject *)self);
    PyObject *value = view ? sr_read_record(ring, at, record, reader, view) : NULL;
    PyObject *type = NULL, *error = NULL, *traceback = NULL;
    if (SR_UNLIKELY(!value)) {
        PyErr_Fetch(&type, &error, &traceback);
        if (view)
            release(view);
    }
    Py_XDECREF(view);
    if (SR_UNLIKELY(self->exports) && value && self->generation == sr_fork_generation) {
        PyGC_Collect(); /* it may be in garbage only: a cycle that the codec left behind */
        if (self->exports && self->generation == sr_fork_generation) {
            sr_refuse_reference(ring, at, record, value);
            PyErr_Fetch(&type, &error, &traceback);
            Py_CLEAR(value);
        }
    }
    if (SR_LIKELY(self->generation == sr_fork_generation)) {
        ring->calls--;
        if (alone)
            ring->gate[CONSUMING] &= ~(unsigned)GATE_BUSY;
        if (SR_UNLIKELY(self->exports)) { /* a view that the codec has put away, or one in a traceback */
            *kept = true;
            ring->leases++;
            if (ring->queue)
                sr_queue_enter(ring->queue, (struct sr_link *)at);
            if (alone)
                ring->gate[CONSUMING] |= GATE_BUSY;
            end(self, false);
        }
    } else { /* we are a child that was forked by the codec: the record is the parent's */
        Py_CLEAR(value);
        if (!error)
            sr_raise(ring, SR_STALE, CONSUMING, record->length, 0);
    }
    if (self->state == LEASE_OPEN)
        self->state = LEASE_DONE; /* the caller settles it */
    if (error)
        PyErr_Restore(type, error, traceback);
    Py_DECREF((PyObject *)self);
    return value;
}

static PyObject *lease_enter(PyObject *object, PyObject *unused) {
    (void)unused;
    struct lease *self = (struct lease *)object;
    struct ring *ring = self->ring;
    int64_t timeout_ns;
    if (!may_enter(self) || !sr_parse_timeout(self->timeout, &timeout_ns))
        return NULL;
    if (self->side == PRODUCING)
        ring->claim_open = true; /* before the wait, so that no other thread opens one meanwhile */
    struct call call;
    sr_call_begin(&call, ring, self->side, timeout_ns);
    enum sr_result result = self->side == PRODUCING ? sr_claim(&ring->endpoint, self->length, &call.wait, &self->record)
                                                    : sr_take(&ring->endpoint, UINT64_MAX, &call.wait, &self->record);
    if (result != SR_OK) {
        if (self->side == PRODUCING)
            ring->claim_open = false;
        sr_raise(ring, result, self->side, self->length, timeout_ns);
        sr_call_end(ring, self->side);
        return NULL;
    }
    self->state = LEASE_OPEN;
    self->generation = sr_fork_generation;
    ring->leases++;
    if (self->side == CONSUMING)
        sr_expose(&ring->endpoint, &self->record);
    else if (ring->clears_claims)
        memset(self->record.payload, 0, (size_t)self->record.length);
    if (sr_one_at_a_time(ring, self->side))
        ring->gate[self->side] |= GATE_BUSY;
    PyObject *view = PyMemoryView_FromObject(object);
    self->view = view ? PyWeakref_NewRef(view, NULL) : NULL;
    if (!self->view) {
        Py_XDECREF(view);
        settle(self);
        return NULL;
    }
    return self->side == CONSUMING && ring->view ? view_of_codec(self, view) : view;
}

/* What the codec made of the view stays in the variable of `with ... as`, where nobody deletes it. While that is the only
 * reference to it, the codec may make it let go of the record, as release() does for a memoryview. */
static void release_value(struct lease *self) {
    PyObject *value = PyWeakref_GetObject(self->value);
    if (!value || value == Py_None)
        return;
    bool is_view = PyMemoryView_Check(value);
    if (!is_view && (!self->ring->release || Py_REFCNT(value) != 1))
        return;
    Py_INCREF(value);
    if (is_view) {
        release(value);
    } else {
        PyObject *answer = PyObject_CallFunctionObjArgs(self->ring->release, value, NULL);
        if (!answer)
            PyErr_Clear(); /* then it still refers to the record, which is reported */
        Py_XDECREF(answer);
    }
    Py_DECREF(value);
}

/* True when no view, slice or array refers to the record any more. */
static bool views_gone(struct lease *self) {
    if (self->exports && self->value)
        release_value(self);
    PyObject *view = self->exports ? Py_XNewRef(PyWeakref_GetObject(self->view)) : NULL;
    if (view && view != Py_None)
        release(view);
    Py_XDECREF(view);
    Py_CLEAR(self->view);
    Py_CLEAR(self->value);
    return self->exports == 0;
}

static PyObject *lease_exit(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    struct lease *self = (struct lease *)object;
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "__exit__() takes the three values that `with` gives it, not %zd", count);
    if (self->state != LEASE_OPEN) {
        PyErr_SetString(PyExc_RuntimeError, "this claim or borrow is not open");
        return NULL;
    }
    bool failed = args[0] != Py_None;
    if (!views_gone(self)) {
        self->state = LEASE_LINGERING;
        self->keep = !failed && self->side == CONSUMING;
        if (failed)
            Py_RETURN_FALSE;
        PyErr_SetString(
            PyExc_BufferError,
            self->side == PRODUCING
                ? "a view of the claimed memory is still in use, so the claim will be aborted when it goes; "
                  "delete slices and arrays of the buffer inside the with block"
                : "a view of the borrowed message is still in use; it stays valid, and its room is given "
                  "back when the last view goes: copy what you keep (bytes(view), array.copy()) and delete "
                  "the others inside the with block");
        return NULL;
    }
    self->keep = !failed;
    enum sr_result result = settle(self);
    if (SR_LOAD(&self->ring->endpoint.damaged, relaxed) && !failed)
        return sr_raise(self->ring, SR_CORRUPT, self->side, 0, 0);
    if (result != SR_OK && !failed)
        return sr_raise(self->ring, result == SR_CLOSED ? SR_STALE : result, self->side, self->record.length, 0);
    Py_RETURN_FALSE;
}

static int lease_get_buffer(PyObject *object, Py_buffer *view, int flags) {
    struct lease *self = (struct lease *)object;
    if (self->state != LEASE_OPEN) {
        PyErr_SetString(PyExc_BufferError, "the memory is only there inside the with block of claim() or borrow()");
        return -1;
    }
    if (PyBuffer_FillInfo(view, object, self->record.payload, (Py_ssize_t)self->record.length, self->side == CONSUMING,
                          flags) != 0)
        return -1;
    self->exports++;
    return 0;
}

static void lease_release_buffer(PyObject *object, Py_buffer *view) {
    (void)view;
    struct lease *self = (struct lease *)object;
    self->exports--;
    if (self->exports == 0 && self->state == LEASE_LINGERING)
        (void)settle(self);
}

static PyObject *lease_redelivered(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(((struct lease *)object)->record.redelivered);
}

static void lease_dealloc(PyObject *object) {
    struct lease *self = (struct lease *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->state == LEASE_OPEN)
        (void)settle(self); /* left without its block being: as if by an exception */
    Py_XDECREF(self->view);
    Py_XDECREF(self->value);
    Py_XDECREF(self->timeout);
    Py_DECREF((PyObject *)self->ring);
    PyObject_Free(object);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef lease_methods[] = {
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {"__enter__", lease_enter, METH_NOARGS, DOC_Lease___enter__},
    {"__exit__", (PyCFunction)(void (*)(void))lease_exit, METH_FASTCALL, DOC_Lease___exit__},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef lease_attributes[] = {
    {"redelivered", lease_redelivered, NULL, DOC_Lease_redelivered, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot lease_slots[] = {
    {Py_tp_doc, (void *)DOC_Lease},
    {Py_tp_dealloc, (void *)lease_dealloc},
    {Py_tp_methods, lease_methods},
    {Py_tp_getset, lease_attributes},
    {Py_bf_getbuffer, (void *)lease_get_buffer},
    {Py_bf_releasebuffer, (void *)lease_release_buffer},
    {0, NULL},
};

PyType_Spec sr_lease_spec = {
    .name = "shmring._core.Lease",
    .basicsize = sizeof(struct lease),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = lease_slots,
};
