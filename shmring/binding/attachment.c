/* attachment.c - the type under everything that one holds, an attachment: its gates, and the calls that let the interpreter
 * go; and the type under shmring.Ring. The message operations themselves are in put_get.c, topic.c, latest.c.
 *
 * The interpreter lock guards everything in struct ring. It is let go while waiting and during long copies; what another
 * thread may find then is told by `calls` and, for spsc, by GATE_BUSY.
 */
#include <stdlib.h>
#include <string.h>

#include "os/memory.h"
#include "os/semaphore.h"
#include "docstrings.h"
#include "attachment.h"
#include "wait/watch.h"

static const int64_t LOOK_UP_NS = 50000000;
static const size_t POPULATE_MOST = 256u << 20; /* a few tens of milliseconds */

uint32_t sr_fork_generation;

static void suspend(void *context) {
    struct call *call = context;
    call->ring->calls++;
    SR_ADD(&call->ring->endpoint.abroad, 1, relaxed);
    if (sr_one_at_a_time(call->ring, call->side))
        call->ring->gate[call->side] |= GATE_BUSY;
    call->thread = PyEval_SaveThread();
}

static void resume(void *context) {
    struct call *call = context;
    SR_ADD(&call->ring->endpoint.abroad, (uint32_t)-1, release); /* pairs with the acquire in are_all_back */
    PyEval_RestoreThread(call->thread);
    call->ring->calls--;
    call->ring->gate[call->side] &= ~(unsigned)GATE_BUSY;
}

static bool interrupted(void *context) {
    struct call *call = context;
    SR_ADD(&call->ring->endpoint.abroad, (uint32_t)-1, release); /* after the interpreter's end, nobody comes back */
    PyEval_RestoreThread(call->thread);
    SR_ADD(&call->ring->endpoint.abroad, 1, relaxed);
    bool raised = PyErr_CheckSignals() != 0;
    if (call->ring->queue && call->ring->generation == sr_fork_generation)
        (void)sr_reap_in_turn(&call->ring->endpoint, LOOK_UP_NS); /* its links are guarded by the interpreter lock */
    call->thread = PyEval_SaveThread();
    return raised;
}

static const struct sr_hooks HOOKS = {suspend, resume, interrupted};

void sr_call_begin(struct call *call, struct ring *self, enum side side, int64_t timeout_ns) {
    call->ring = self;
    call->side = side;
    call->wait = (struct sr_wait){
        .deadline_ns = timeout_ns == 0 || timeout_ns == INT64_MAX ? timeout_ns : sr_os_monotonic_ns() + timeout_ns,
        .spin_ns = self->spin_ns,
        .outlive_peers = self->outlive_peers,
        .hooks = &HOOKS,
        .context = call,
    };
}

void sr_leave(struct ring *self) {
    if (self->calls || self->leases || !self->attached || !(self->gate[PRODUCING] & GATE_CLOSED))
        return;
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyObject *answer = PyObject_CallMethod((PyObject *)self, "_complete_close", NULL);
    if (!answer)
        PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(answer);
    PyErr_Restore(type, value, traceback);
}

void sr_copy(struct ring *self, enum side side, void *destination, const void *source, size_t length) {
    if (length < LONG_ENOUGH_TO_LET_OTHERS_RUN) {
        SR_PAYLOAD_READ(destination, source, length);
        return;
    }
    unsigned was_busy = self->gate[side] & GATE_BUSY;
    struct call call = {.ring = self, .side = side};
    suspend(&call);
    SR_PAYLOAD_READ(destination, source, length);
    resume(&call);
    self->gate[side] |= was_busy;
}

void sr_gather(struct ring *self, void *destination, const Py_buffer *parts, Py_ssize_t count, size_t length) {
    struct call call = {.ring = self, .side = PRODUCING};
    unsigned was_busy = self->gate[PRODUCING] & GATE_BUSY;
    bool is_long = length >= LONG_ENOUGH_TO_LET_OTHERS_RUN;
    if (is_long)
        suspend(&call);
    char *end = destination;
    for (Py_ssize_t i = 0; i < count; i++) {
        SR_PAYLOAD_READ(end, parts[i].buf, (size_t)parts[i].len);
        end += parts[i].len;
    }
    if (is_long) {
        resume(&call);
        self->gate[PRODUCING] |= was_busy;
    }
}

static const char *path_of_locks(const struct ring *self) { return self->locks_path ? self->locks_path : self->path; }

/* In a forked child the parent's attachment is not ours: take one of our own, through the inherited mapping. */
static bool attach_after_fork(struct ring *self) {
    self->generation = sr_fork_generation;
    self->calls = 0;
    self->leases = 0;
    self->claim_open = false;
    self->populated = !self->populate;
    if (!self->attached)
        return true;
    sr_forget(&self->endpoint);
    if (self->queue)
        sr_queue_after_fork(self->queue);
    SR_STORE(&self->endpoint.abroad, 0, relaxed);
    self->gate[PRODUCING] = self->gate[CONSUMING] = GATE_ROLE | (self->gate[PRODUCING] & GATE_CLOSED);
    const struct sr_arrival arrival = {self->locks_fd, path_of_locks(self), true, SR_PATIENCE_NS};
    enum sr_result result = sr_attach(&self->endpoint, &arrival);
    if (result == SR_OK && self->endpoint.subscribed)
        result = sr_topic_subscribe_again(&self->endpoint);
    if (result == SR_OK && self->queue)
        sr_queue_arrive(self->queue);
    if (result == SR_OK)
        return true;
    self->generation = sr_fork_generation - 1; /* the next call tries again, and says again why not */
    sr_raise(self, result, PRODUCING, 0, 0);
    return false;
}

/* A process that takes a role will touch every page of the arena. One fault for each would make the first time round
 * several times slower than the others. */
static void populate(struct ring *self) {
    size_t length = (size_t)self->mapping.len;
    self->populated = true;
    self->calls++; /* nobody unmaps it meanwhile */
    Py_BEGIN_ALLOW_THREADS
    sr_os_memory_populate(self->mapping.buf, length < POPULATE_MOST ? length : POPULATE_MOST);
    Py_END_ALLOW_THREADS
    self->calls--;
}

bool sr_pass_gate(struct ring *self, enum side side) {
    if (self->generation != sr_fork_generation && !attach_after_fork(self))
        return false;
    if (self->attached && !self->populated && self->gate[side] == GATE_ROLE)
        populate(self); /* first, because other threads may change the gates while it runs */
    if (!self->attached || self->gate[side] & GATE_CLOSED) {
        sr_raise(self, SR_CLOSED, side, 0, 0);
        sr_leave(self);
        return false;
    }
    if (self->gate[side] & GATE_BUSY) {
        sr_raise(self, SR_BUSY, side, SR_ATTACHMENTS, 0); /* by nobody else */
        return false;
    }
    if (self->gate[side] & GATE_ROLE) {
        uint32_t holder = SR_ATTACHMENTS;
        enum sr_result result =
            sr_take_role(&self->endpoint, side == PRODUCING ? SR_ROLE_PRODUCER : SR_ROLE_CONSUMER, &holder);
        if (result != SR_OK) {
            sr_raise(self, result, side, holder, 0);
            return false;
        }
        self->gate[side] &= ~(unsigned)GATE_ROLE;
    }
    return true;
}

/* Somebody may truncate the file of a semaphore as well: of each, the bytes that the C library touches are guarded. */
enum { GUARDED_OF_A_SEMAPHORE = 16 };

static void close_semaphores(struct sr_endpoint *endpoint) {
    void **each[] = {&endpoint->semaphores.mutex, &endpoint->semaphores.full, &endpoint->semaphores.empty};
    for (int i = 0; i < 3; i++) {
        if (*each[i]) {
            sr_os_memory_unguard(*each[i], &endpoint->damaged);
            sr_os_semaphore_close(*each[i]);
        }
        *each[i] = NULL;
    }
}

static bool open_semaphores(struct sr_endpoint *endpoint, PyObject *names, char **known) {
    void **each[] = {&endpoint->semaphores.mutex, &endpoint->semaphores.full, &endpoint->semaphores.empty};
    for (int i = 0; i < 3; i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        PyObject *bytes = name ? PyUnicode_AsUTF8String(name) : NULL;
        if (!bytes)
            return false;
        *each[i] = sr_os_semaphore_open(PyBytes_AsString(bytes));
        known[i] = strdup(PyBytes_AsString(bytes));
        Py_DECREF(bytes);
        if (!*each[i]) {
            sr_raise_errno(name);
            return false;
        }
        if (!sr_os_memory_guard(*each[i], GUARDED_OF_A_SEMAPHORE, &endpoint->damaged)) {
            PyErr_NoMemory();
            return false;
        }
    }
    return true;
}

/* `last`: nobody else in this process uses the mapping, and it goes. */
static void unmap_segment(struct ring *self, bool last) {
    close_semaphores(&self->endpoint);
    if (self->queue)
        sr_queue_close(self->queue);
    if (self->mapped) {
        if (last)
            sr_watch_forget(self->mapping.buf, (size_t)self->mapping.len);
        sr_os_memory_unguard(self->mapping.buf, &self->endpoint.damaged);
        PyBuffer_Release(&self->mapping);
    }
    self->mapped = false;
}

PyObject *sr_attachment_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    (void)args;
    (void)kwargs;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    struct ring *self = (struct ring *)allocate(type, 0);
    if (self) {
        self->gate[PRODUCING] = self->gate[CONSUMING] = GATE_CLOSED; /* until it is attached */
        self->endpoint.locks = -1;
    }
    return (PyObject *)self;
}

static bool open_codec(struct ring *self, PyObject *codec) {
    self->encode = PyObject_GetAttrString(codec, "encode");
    self->decode = self->encode ? PyObject_GetAttrString(codec, "decode") : NULL;
    self->view = self->decode ? PyObject_GetAttrString(codec, "view") : NULL;
    if (!self->view)
        return false;
    self->release = PyObject_GetAttrString(codec, "release"); /* optional */
    if (!self->release && PyErr_ExceptionMatches(PyExc_AttributeError))
        PyErr_Clear();
    if (PyErr_Occurred())
        return false;
    PyObject *plain = PyObject_GetAttrString(codec, "_plain"); /* (encode, decode, first byte), of our own codecs */
    if (!plain)
        PyErr_Clear();
    else if (plain != Py_None &&
             !PyArg_ParseTuple(plain, "OOi", &self->plain_encode, &self->plain_decode, &self->plain_mark)) {
        Py_DECREF(plain);
        return false;
    }
    Py_XINCREF(self->plain_encode);
    Py_XINCREF(self->plain_decode);
    Py_XDECREF(plain);
    return true;
}

static int ring_init(PyObject *object, PyObject *args, PyObject *kwargs) {
    static char *keywords[] = {"segment", "fd",       "name",       "semaphores", "spin_ns", "outlive_peers",
                               "codec",   "at",       "populate",   "inherited",  "path",    "patience_ns",
                               "file",    "locks_fd", "locks_path", NULL};
    struct ring *self = (struct ring *)object;
    PyObject *segment, *name, *semaphores, *codec = Py_None;
    int fd, file = -1, locks_fd = -1, outlive_peers,
            inherited = false; /* by this process: a name that is gone does not matter */
    long long spin_ns;
    unsigned long long at = 0;
    int populate = true;
    const char *path = NULL, *locks_path = NULL;
    long long patience_ns = SR_PATIENCE_NS;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OiOOLp|OKppzLiiz", keywords, &segment, &fd, &name, &semaphores,
                                     &spin_ns, &outlive_peers, &codec, &at, &populate, &inherited, &path, &patience_ns,
                                     &file, &locks_fd, &locks_path))
        return -1;
    if (self->mapped) {
        PyErr_SetString(PyExc_RuntimeError, "this ring is attached already");
        return -1;
    }
    if (codec != Py_None && !open_codec(self, codec))
        return -1;
    if (PyObject_GetBuffer(segment, &self->mapping, PyBUF_WRITABLE) != 0)
        return -1;
    self->mapped = true;
    PyObject *before = self->name;
    self->name = Py_NewRef(name);
    Py_XDECREF(before);
    self->gate[PRODUCING] = self->gate[CONSUMING] = GATE_ROLE;
    self->generation = sr_fork_generation;
    self->segment_fd = fd;
    self->locks_fd = locks_fd < 0 ? fd : locks_fd;
    self->path = path ? strdup(path) : NULL;
    self->locks_path = locks_path ? strdup(locks_path) : NULL;
    self->endpoint.at = at;
    self->populate = populate;
    self->populated = !populate;
    self->spin_ns = spin_ns;
    self->outlive_peers = outlive_peers;
    if (!sr_os_memory_guard(self->mapping.buf, (size_t)self->mapping.len, &self->endpoint.damaged)) {
        unmap_segment(self, true);
        PyErr_NoMemory();
        return -1;
    }
    struct sr_geometry geometry;
    enum sr_result result = sr_geometry_read(&geometry, self->mapping.buf, (uint64_t)self->mapping.len);
    if (result == SR_OK &&
        !(sr_os_file_of(fd, &self->segment_file) && sr_os_file_of(self->locks_fd, &self->locks_file)))
        result = SR_SYSTEM_ERROR;
    if (result == SR_OK) {
        sr_endpoint_bind(&self->endpoint, self->mapping.buf, &geometry);
        if (self->queue)
            result = sr_queue_open(self->queue, &self->endpoint, self->mapping.buf, (uint64_t)self->mapping.len, file);
    }
    if (result == SR_OK) {
        if (semaphores != Py_None && !open_semaphores(&self->endpoint, semaphores, self->semaphore_names)) {
            unmap_segment(self, true);
            return -1;
        }
        /* Whoever has the lifecycle lock may be a thread of ours that waits for the interpreter. */
        const struct sr_arrival arrival = {self->locks_fd, path_of_locks(self), inherited, patience_ns};
        Py_BEGIN_ALLOW_THREADS
        result = sr_attach(&self->endpoint, &arrival);
        Py_END_ALLOW_THREADS
    }
    if (result != SR_OK) {
        unmap_segment(self, true);
        sr_raise(self, result, PRODUCING, 0, 0);
        return -1;
    }
    self->attached = true;
    sr_live(self);
    if (self->queue)
        sr_queue_arrive(self->queue);
    return 0;
}

/* The three steps of a close; ring.py unlinks the name between the last two. */
static PyObject *ring_begin_close(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (self->attached && self->generation != sr_fork_generation && self->endpoint.subscribed) {
        sr_forget(&self->endpoint);
        sr_os_let_go(&self->endpoint.claim);
        self->attached = false; /* the child has not used it */
        Py_RETURN_TRUE;
    }
    if (self->generation != sr_fork_generation && !attach_after_fork(self)) {
        PyErr_Clear(); /* could not attach in this child: there is nothing to leave */
        sr_os_let_go(&self->endpoint.claim);
        self->attached = false;
    }
    if (self->leases) {
        PyErr_Format(PyExc_BufferError,
                     "%u claimed or borrowed view(s) of this ring are still open; leave their with blocks and delete "
                     "slices and arrays of them before close()",
                     self->leases);
        return NULL;
    }
    if (!self->attached)
        Py_RETURN_FALSE;
    self->gate[PRODUCING] |= GATE_CLOSED;
    self->gate[CONSUMING] |= GATE_CLOSED;
    if (self->calls) {
        if (self->queue)
            sr_queue_wake_for_close(self->queue);
        sr_wake_for_close(&self->endpoint); /* the last of them completes the close */
        Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

static PyObject *ring_detach(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!self->attached)
        Py_RETURN_FALSE;
    bool abandoned;
    enum sr_result result;
    self->attached = false; /* first, since another thread may come by while this one waits for the lifecycle lock */
    sr_live_no_more(self);
    Py_BEGIN_ALLOW_THREADS
    result = sr_leave_segment(self, &abandoned);
    Py_END_ALLOW_THREADS
    if (result != SR_OK && result != SR_CORRUPT) /* corrupt: leave it for an inspection */
        return sr_raise(self, result, PRODUCING, 0, 0);
    return PyBool_FromLong(abandoned);
}

static PyObject *ring_keep_name(PyObject *object, PyObject *unused) {
    (void)unused;
    ((struct ring *)object)->keeps_name = true;
    Py_RETURN_NONE;
}

static PyObject *ring_be_wary(PyObject *object, PyObject *owner) {
    struct ring *self = (struct ring *)object;
    self->owner = PyLong_AsUnsignedLongLong(owner);
    if (PyErr_Occurred())
        return NULL;
    self->wary = true;
    Py_RETURN_NONE;
}

static PyObject *ring_clear_claims(PyObject *object, PyObject *unused) {
    (void)unused;
    ((struct ring *)object)->clears_claims = true;
    Py_RETURN_NONE;
}

static PyObject *ring_finish_close(PyObject *object, PyObject *last) {
    struct ring *self = (struct ring *)object;
    sr_detach_finish(&self->endpoint);
    unmap_segment(self, last == Py_True);
    Py_CLEAR(self->scratch);
    Py_RETURN_NONE;
}

static PyObject *ring_after_fork(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (self->generation == sr_fork_generation)
        Py_RETURN_NONE;
    if (self->attached && self->endpoint.subscribed)
        sr_forget(&self->endpoint); /* attaches with its first get: one that is never used must hold nobody up */
    else if (!attach_after_fork(self))
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *change_role(PyObject *object, PyObject *argument, bool take) {
    struct ring *self = (struct ring *)object;
    long side = PyLong_AsLong(argument);
    if (side != PRODUCING && side != CONSUMING)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "side is %ld; 0 produces, 1 consumes", side);
    if (take)
        return sr_pass_gate(self, (enum side)side) ? Py_NewRef(Py_None) : NULL;
    if (self->attached && self->generation == sr_fork_generation && !(self->gate[side] & GATE_BUSY)) {
        sr_give_role_back(&self->endpoint, side == PRODUCING ? SR_ROLE_PRODUCER : SR_ROLE_CONSUMER);
        self->gate[side] |= GATE_ROLE;
    }
    Py_RETURN_NONE;
}

static PyObject *ring_take_role(PyObject *object, PyObject *side) { return change_role(object, side, true); }
static PyObject *ring_give_role_back(PyObject *object, PyObject *side) { return change_role(object, side, false); }

static PyObject *ring_shut_down(PyObject *object, PyObject *argument) {
    struct ring *self = (struct ring *)object;
    int immediate = PyObject_IsTrue(argument);
    if (immediate < 0)
        return NULL;
    if (!self->attached || self->gate[PRODUCING] & GATE_CLOSED)
        return sr_raise(self, SR_CLOSED, PRODUCING, 0, 0);
    sr_shut_down(&self->endpoint, immediate ? SR_STOPPED : SR_DRAINING);
    Py_RETURN_NONE;
}

void sr_attachment_dealloc(PyObject *object) {
    struct ring *self = (struct ring *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->attached && self->generation == sr_fork_generation) {
        bool abandoned; /* without what attachment.py does in __del__ */
        (void)sr_leave_segment(self, &abandoned);
    }
    sr_live_no_more(self);
    if (self->generation == sr_fork_generation)
        sr_detach_finish(&self->endpoint);
    else
        sr_forget(&self->endpoint); /* the parent's locks are not ours to drop */
    sr_os_let_go(&self->endpoint.claim);
    unmap_segment(self, true);
    free(self->path);
    free(self->locks_path);
    for (int i = 0; i < 3; i++)
        free(self->semaphore_names[i]);
    PyObject *owned[] = {self->name,    self->encode,       self->decode,       self->view,
                         self->release, self->plain_encode, self->plain_decode, self->scratch};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++)
        Py_XDECREF(owned[i]);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF((PyObject *)type);
}

static PyObject *ring_name(PyObject *object, void *unused) {
    (void)unused;
    PyObject *name = ((struct ring *)object)->name;
    return Py_NewRef(name ? name : Py_None);
}

static PyObject *ring_closed(PyObject *object, void *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    return PyBool_FromLong(!self->attached || self->gate[PRODUCING] & GATE_CLOSED);
}

static PyObject *ring_damaged(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(SR_LOAD(&((struct ring *)object)->endpoint.damaged, relaxed) != 0);
}

static PyObject *ring_capacity(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(((struct ring *)object)->endpoint.geometry.capacity);
}

static PyObject *ring_max_message(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(((struct ring *)object)->endpoint.geometry.max_message);
}

static PyObject *ring_slot(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLong(((struct ring *)object)->endpoint.slot);
}

static PyGetSetDef attachment_attributes[] = {
    {"name", ring_name, NULL, DOC_Attachment_name, NULL},
    {"closed", ring_closed, NULL, DOC_Attachment_closed, NULL},
    {"_damaged", ring_damaged, NULL, PyDoc_STR("Pages of the segment were truncated away."), NULL},
    {"capacity", ring_capacity, NULL, DOC_Attachment_capacity, NULL},
    {"max_message", ring_max_message, NULL, DOC_Attachment_max_message, NULL},
    {"_turn_is_over", sr_ring_turn_is_over, NULL, PyDoc_STR("Attempts in turn fail until one is made out of turn."),
     NULL},
    {"_slot", ring_slot, NULL, PyDoc_STR("Index of this attachment's entry."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef attachment_methods[] = {
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {"_watch", sr_ring_watch, METH_O, NULL},
    {"_look_up", sr_ring_look_up, METH_O, NULL},
    {"_pass_on", (PyCFunction)(void (*)(void))sr_ring_pass_on, METH_FASTCALL, NULL},
    {"_snapshot", sr_ring_snapshot, METH_NOARGS, NULL},
    {"_totals", sr_ring_totals, METH_NOARGS, NULL},
    {"_begin_close", ring_begin_close, METH_NOARGS, NULL},
    {"_keep_name", ring_keep_name, METH_NOARGS, NULL},
    {"_clear_claims", ring_clear_claims, METH_NOARGS, NULL},
    {"_be_wary", ring_be_wary, METH_O, NULL},
    {"_detach", ring_detach, METH_NOARGS, NULL},
    {"_finish_close", ring_finish_close, METH_O, NULL},
    {"_after_fork", ring_after_fork, METH_NOARGS, NULL},
    {"_take_role", ring_take_role, METH_O, NULL},
    {"_give_role_back", ring_give_role_back, METH_O, NULL},
    {"_shut_down", ring_shut_down, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot attachment_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("One process's attachment to a segment; the base of what a user holds.")},
    {Py_tp_new, (void *)sr_attachment_new},
    {Py_tp_init, (void *)ring_init},
    {Py_tp_dealloc, (void *)sr_attachment_dealloc},
    {Py_tp_methods, attachment_methods},
    {Py_tp_getset, attachment_attributes},
    {0, NULL},
};

PyType_Spec sr_attachment_spec = {
    .name = "shmring._core.Attachment",
    .basicsize = sizeof(struct ring),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = attachment_slots,
};

static PyMethodDef ring_methods[] = {
    {"put", SR_METHOD(sr_ring_put), DOC_Ring_put},
    {"get", SR_METHOD(sr_ring_get), DOC_Ring_get},
    {"get_into", SR_METHOD(sr_ring_get_into), DOC_Ring_get_into},
    {"put_many", SR_METHOD(sr_ring_put_many), DOC_Ring_put_many},
    {"get_many", SR_METHOD(sr_ring_get_many), DOC_Ring_get_many},
    {"claim", SR_METHOD(sr_ring_claim), DOC_Ring_claim},
    {"borrow", SR_METHOD(sr_ring_borrow), DOC_Ring_borrow},
    {"_skip", SR_METHOD(sr_ring_skip), NULL},
    {"_try_get", sr_ring_try_get, METH_O, NULL},
    {"_put_or_hold", sr_ring_put_or_hold, METH_O, NULL},
    {"_put_held", sr_ring_put_held, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot ring_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("One process's attachment to a ring; see shmring.Ring.")},
    {Py_tp_dealloc, (void *)sr_attachment_dealloc},
    {Py_tp_methods, ring_methods},
    {Py_tp_iter, (void *)PyObject_SelfIter},
    {Py_tp_iternext, (void *)sr_ring_next},
    {0, NULL},
};

PyType_Spec sr_ring_spec = {
    .name = "shmring._core.Ring",
    .basicsize = sizeof(struct ring),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = ring_slots,
};
