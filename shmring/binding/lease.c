/* lease.c - the context managers behind claim() and borrow(): a record for as long as its view is in use.
 *
 * A view is a lease. Leaving the block with a view, slice or array still alive raises BufferError, and the memory stays
 * theirs: the record is settled (a claim aborted, a borrowed message acknowledged) when the last of them goes.
 *
 * Some keep an address, and a reference, and give the buffer back at once: numpy.ndarray(buffer=) refers to what the view
 * is of, torch.frombuffer to the view. So the view is of an object of its own, `leased`, to which nothing else refers, and
 * which nobody else gets a buffer of: while that is there, something refers to the record. And a view is released only
 * where nothing but the variable of `with ... as` refers to it.
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
    struct leased *memory; /* what the view shows, as long as anything refers to it; it holds us */
    uint32_t generation;
    enum side side;
    enum lease_state state;
    bool keep;      /* commit or acknowledge; else abort or hand back */
    bool opening;   /* the view is being made */
    bool decoded;   /* what the block was given is not the view, but what the codec made of it */
    bool committed; /* by commit(), before the end of its block */
};

struct leased {
    PyObject ob_base;
    struct lease *lease;
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
    self->memory = NULL;
    self->side = side;
    self->state = LEASE_NEW;
    self->keep = self->opening = self->decoded = self->committed = false;
    return (PyObject *)self;
}

static enum sr_result settle_claim(struct lease *self) {
    struct ring *ring = self->ring;
    if (!self->keep) {
        sr_count(&ring->endpoint.self->aborted, 1);
        return sr_abort(self->at, &self->record);
    }
    sr_count_put(ring, self->length);
    enum sr_result result = sr_commit_part(self->at, &self->record, self->length);
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
    if (self->memory)
        self->state = LEASE_LINGERING;
    else
        (void)settle(self);
}

static PyObject *view_of_lease(struct lease *self) {
    struct leased *memory = PyObject_New(struct leased, (PyTypeObject *)sr_leased_type);
    if (!memory)
        return NULL;
    Py_INCREF((PyObject *)self);
    memory->lease = self;
    self->memory = memory;
    self->opening = true;
    PyObject *view = PyMemoryView_FromObject((PyObject *)memory);
    self->opening = false;
    Py_DECREF((PyObject *)memory); /* the view has it */
    return view;
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
    self->decoded = value != view;
    if (self->decoded) {
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
    PyObject *view = view_of_lease(self);
    PyObject *value = view ? sr_read_record(ring, at, record, reader, view) : NULL;
    PyObject *type = NULL, *error = NULL, *traceback = NULL;
    if (SR_UNLIKELY(!value)) {
        PyErr_Fetch(&type, &error, &traceback);
        if (view)
            release(view);
    }
    Py_XDECREF(view);
    if (SR_UNLIKELY(self->memory != NULL) && value && self->generation == sr_fork_generation) {
        PyGC_Collect(); /* it may be in garbage only: a cycle that the codec left behind */
        if (self->memory && self->generation == sr_fork_generation) {
            sr_refuse_reference(ring, at, record, value);
            PyErr_Fetch(&type, &error, &traceback);
            Py_CLEAR(value);
        }
    }
    if (SR_LIKELY(self->generation == sr_fork_generation)) {
        ring->calls--;
        if (alone)
            ring->gate[CONSUMING] &= ~(unsigned)GATE_BUSY;
        if (SR_UNLIKELY(self->memory != NULL)) { /* a view that the codec has put away, or one in a traceback */
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
    PyObject *view = view_of_lease(self);
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
    if (Py_REFCNT(value) != 1 || (!is_view && !self->ring->release))
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

/* References to the view that keep nothing of its memory: those of variables of functions that the exception has ended. */
static Py_ssize_t counted_in(struct lease *self, PyObject *view, PyObject *traceback) {
    if (!traceback || traceback == Py_None)
        return 0;
    PyObject *type, *error, *before;
    PyErr_Fetch(&type, &error, &before);
    PyObject *answer = PyObject_CallMethod((PyObject *)self->ring, "_references_in", "OO", traceback, view);
    Py_ssize_t count = answer ? PyLong_AsSsize_t(answer) : 0;
    Py_XDECREF(answer);
    PyErr_Clear();
    PyErr_Restore(type, error, before);
    return count < 0 ? 0 : count;
}

/* Does nothing refer to the view but the one variable of its block, or the one reference of ours? */
static bool is_alone(struct lease *self, PyObject *view, PyObject *traceback) {
    Py_ssize_t expected = self->decoded ? 1 : 2;
    if (SR_LIKELY(Py_REFCNT(view) <= expected))
        return true;
    if (Py_REFCNT(view) <= expected + counted_in(self, view, traceback))
        return true;
    if (!self->decoded)
        return false;
    PyGC_Collect(); /* a cycle that the codec left behind */
    return Py_REFCNT(view) <= expected;
}

/* True when no view, slice or array refers to the record any more. Weakly referenced, as the view holds us. */
static bool views_gone(struct lease *self, PyObject *traceback) {
    if (self->memory && self->value)
        release_value(self);
    PyObject *view = self->view ? Py_XNewRef(PyWeakref_GetObject(self->view)) : NULL;
    bool is_there = view && view != Py_None, alone = !is_there || is_alone(self, view, traceback);
    if (is_there && alone && self->memory)
        release(view);
    Py_XDECREF(view);
    return alone && !self->memory;
}

static PyObject *answer_settled(struct lease *self, enum sr_result result) {
    if (SR_LOAD(&self->ring->endpoint.damaged, relaxed))
        return sr_raise(self->ring, SR_CORRUPT, self->side, 0, 0);
    if (result != SR_OK)
        return sr_raise(self->ring, result == SR_CLOSED ? SR_STALE : result, self->side, self->record.length, 0);
    Py_RETURN_FALSE;
}

static PyObject *lease_exit(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    struct lease *self = (struct lease *)object;
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "__exit__() takes the three values that `with` gives it, not %zd", count);
    if (self->committed) {
        self->committed = false; /* this was its block's end */
        Py_RETURN_FALSE;
    }
    if (self->state != LEASE_OPEN) {
        PyErr_SetString(PyExc_RuntimeError, "this claim or borrow is not open");
        return NULL;
    }
    bool failed = args[0] != Py_None;
    bool gone = views_gone(self, failed ? args[2] : NULL);
    Py_CLEAR(self->view);
    Py_CLEAR(self->value);
    if (!gone) {
        end(self, !failed && self->side == CONSUMING);
        if (failed)
            Py_RETURN_FALSE;
        PyErr_SetString(
            PyExc_BufferError,
            self->side == PRODUCING
                ? "a view of the claimed memory is still in use, so the claim will be aborted when it goes; delete "
                  "slices, arrays and tensors of the buffer, and further variables for it, inside the with block"
                : "a view of the borrowed message is still in use; it stays valid, and its room is given back when the "
                  "last view goes: copy what you keep (bytes(view), array.copy()) and delete the others (slices, "
                  "arrays, "
                  "tensors, further variables) inside the with block");
        return NULL;
    }
    self->keep = !failed;
    enum sr_result result = settle(self);
    if (failed)
        Py_RETURN_FALSE;
    return answer_settled(self, result);
}

/* What stands between a claim and its early commit; false: an exception is set, and the claim is as it was. */
static bool may_commit(struct lease *self, PyObject *length_object, Py_ssize_t *length) {
    if (self->side != PRODUCING) {
        PyErr_SetString(PyExc_TypeError, "this is a borrow; commit() is for what claim() gave");
        return false;
    }
    if (self->state != LEASE_OPEN) {
        PyErr_SetString(PyExc_RuntimeError,
                        self->state == LEASE_NEW
                            ? "this claim is not open yet; enter its with block, write, then commit()"
                            : "this claim is committed or given up already; claim again for another message");
        return false;
    }
    if (!PyIndex_Check(length_object)) {
        PyErr_Format(PyExc_TypeError, "length is %R; it is a number of bytes, from 0 to the %llu that were claimed",
                     length_object, (unsigned long long)self->record.length);
        return false;
    }
    *length = PyNumber_AsSsize_t(length_object, NULL); /* what does not fit is as large as can be */
    if (*length == -1 && PyErr_Occurred())
        return false;
    if (*length < 0 || (uint64_t)*length > self->record.length) {
        PyErr_Format(PyExc_ValueError,
                     "length is %R; this claim has %llu bytes, so 0 to %llu of them can be the message", length_object,
                     (unsigned long long)self->record.length, (unsigned long long)self->record.length);
        return false;
    }
    return true;
}

static PyObject *lease_commit(PyObject *object, PyObject *length_object) {
    struct lease *self = (struct lease *)object;
    Py_ssize_t length;
    if (!may_commit(self, length_object, &length))
        return NULL;
    bool only_shown = !self->memory || Py_REFCNT((PyObject *)self->memory) == 1;
    if (!only_shown || !views_gone(self, NULL)) {
        PyErr_SetString(
            PyExc_BufferError,
            "a view of the claimed memory is still in use, and would write into the message; delete slices, "
            "arrays and tensors of the buffer, then commit(): the claim stays open");
        return NULL;
    }
    Py_CLEAR(self->view);
    self->length = (uint64_t)length;
    self->keep = self->committed = true;
    PyObject *answer = answer_settled(self, settle(self));
    Py_XDECREF(answer);
    return answer ? Py_NewRef(Py_None) : NULL;
}

static int leased_get_buffer(PyObject *object, Py_buffer *view, int flags) {
    struct lease *self = ((struct leased *)object)->lease;
    if (!self->opening) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError,
                        "the memory is only there as what the with block of claim() or borrow() has");
        return -1;
    }
    return PyBuffer_FillInfo(view, object, self->record.payload, (Py_ssize_t)self->record.length,
                             self->side == CONSUMING, flags);
}

static void leased_dealloc(PyObject *object) {
    struct lease *self = ((struct leased *)object)->lease;
    PyTypeObject *type = Py_TYPE(object);
    self->memory = NULL;
    if (self->state == LEASE_LINGERING)
        (void)settle(self);
    Py_DECREF((PyObject *)self);
    PyObject_Free(object);
    Py_DECREF((PyObject *)type);
}

static PyType_Slot leased_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The memory of a claimed or borrowed record; a memoryview shows it.")},
    {Py_tp_dealloc, (void *)leased_dealloc},
    {Py_bf_getbuffer, (void *)leased_get_buffer},
    {0, NULL},
};

PyType_Spec sr_leased_spec = {
    .name = "shmring._core.Leased",
    .basicsize = sizeof(struct leased),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = leased_slots,
};

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
    {"commit", lease_commit, METH_O, DOC_Lease_commit},
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
    {0, NULL},
};

PyType_Spec sr_lease_spec = {
    .name = "shmring._core.Lease",
    .basicsize = sizeof(struct lease),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = lease_slots,
};
