/* py_objects.c - messages that a codec makes and reads: the parts of an object on their way into one record, and the
 * object that comes out of one.
 *
 * A codec is Python, and may do anything: so an object is encoded before anything is claimed, and its record is TAKEN, and
 * this ring counted as in use, for as long as it is decoded.
 */
#include "py_module.h"

enum { PLAIN_MOST = 64 };          /* objects in one message: looking at more costs more than it saves */
enum { PLAIN_LONGEST = 8 * 1024 }; /* bytes that are copied sooner than a view of them is made */

static bool hold_part(struct parts *parts, PyObject *part) {
    Py_buffer *view = &parts->each[parts->count];
    if (!sr_contiguous_bytes(part, view))
        return false;
    parts->count++;
    if (__builtin_add_overflow(parts->length, (size_t)view->len, &parts->length)) {
        PyErr_SetString(PyExc_OverflowError, "the parts of this message have more bytes than an address space");
        return false;
    }
    return true;
}

static bool hold(struct parts *parts, PyObject *made) {
    bool is_list = PyList_Check(made), is_tuple = PyTuple_Check(made);
    parts->each = parts->few;
    parts->count = 0;
    parts->length = 0;
    if (!is_list && !is_tuple)
        return hold_part(parts, made);
    Py_ssize_t count = is_list ? PyList_Size(made) : PyTuple_Size(made);
    if ((size_t)count > sizeof parts->few / sizeof *parts->few)
        parts->each = PyMem_Malloc((size_t)count * sizeof *parts->each);
    if (!parts->each) {
        PyErr_NoMemory();
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++) { /* a list that another thread shortens ends in an IndexError */
        PyObject *part = is_list ? PyList_GetItem(made, i) : PyTuple_GetItem(made, i);
        if (!part || !hold_part(parts, part))
            return false;
    }
    return true;
}

/* Is it made of nothing but Python's own plain types, and of few of them? Then its pickle has no buffers of its own. */
static bool is_plain(PyObject *object, int *budget, int depth) {
    if (--*budget < 0 || depth > 4)
        return false;
    if (PyUnicode_CheckExact(object) || PyLong_CheckExact(object) || PyFloat_CheckExact(object) ||
        PyBytes_CheckExact(object) || object == Py_None || PyBool_Check(object))
        return true;
    if (PyDict_CheckExact(object)) {
        PyObject *key, *value;
        Py_ssize_t at = 0;
        while (PyDict_Next(object, &at, &key, &value))
            if (!is_plain(key, budget, depth + 1) || !is_plain(value, budget, depth + 1))
                return false;
        return true;
    }
    bool is_list = PyList_CheckExact(object);
    if (!is_list && !PyTuple_CheckExact(object))
        return false;
    Py_ssize_t size = is_list ? PyList_Size(object) : PyTuple_Size(object);
    for (Py_ssize_t i = 0; i < size; i++)
        if (!is_plain(is_list ? PyList_GetItem(object, i) : PyTuple_GetItem(object, i), budget, depth + 1))
            return false;
    return true;
}

PyObject *sr_encode(struct ring *self, PyObject *object) {
    int budget = PLAIN_MOST;
    bool plain = self->plain_encode && is_plain(object, &budget, 0);
    return PyObject_CallFunctionObjArgs(plain ? self->plain_encode : self->encode, object, NULL);
}

/* attachment.py: the words for what a codec made that is no buffer. */
static void refuse_made(struct ring *self, PyObject *made) {
    PyErr_Clear();
    PyObject *error = PyObject_CallMethod((PyObject *)self, "_unencodable", "O", made);
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

bool sr_hold_parts(struct ring *self, PyObject *made, struct parts *parts) {
    /* A codec, or somebody's buffer, is code: it may have closed this ring, or another thread meanwhile. */
    bool held = hold(parts, made);
    if (!held && PyErr_ExceptionMatches(PyExc_TypeError))
        refuse_made(self, made);
    bool fine = held && (sr_gate_open(self, PRODUCING) || sr_pass_gate(self, PRODUCING));
    if (!fine)
        sr_close_parts(parts);
    return fine;
}

void sr_close_parts(struct parts *parts) {
    for (Py_ssize_t i = 0; i < parts->count; i++)
        PyBuffer_Release(&parts->each[i]);
    if (parts->each != parts->few)
        PyMem_Free(parts->each);
    parts->count = 0;
    parts->each = parts->few;
}

PyObject *sr_undecodable(struct ring *self, const struct sr_record *record) {
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(PyExc_MemoryError))
        return NULL; /* Ctrl-C and the like are nothing about this message */
    PyObject *type, *cause, *traceback;
    PyErr_Fetch(&type, &cause, &traceback);
    PyErr_NormalizeException(&type, &cause, &traceback);
    if (traceback)
        PyException_SetTraceback(cause, traceback);
    /* ring.py: the words, and an end to what the traceback's frames still refer to. */
    PyObject *error = PyObject_CallMethod((PyObject *)self, "_undecodable", "OKK", cause,
                                          (unsigned long long)record->position, (unsigned long long)record->length);
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    Py_DECREF(type);
    Py_XDECREF(cause);
    Py_XDECREF(traceback);
    return NULL;
}

/* A short pickle without buffers of its own: nothing of what it becomes can refer to the record. */
static PyObject *read_plain(struct ring *self, struct sr_record *record) {
    PyObject *copy = PyBytes_FromStringAndSize((const char *)record->payload, (Py_ssize_t)record->length);
    bool alone = sr_one_at_a_time(self, CONSUMING);
    uint32_t generation = sr_fork_generation;
    self->calls++; /* a close waits for us */
    if (alone)
        self->gate[CONSUMING] |= GATE_BUSY;
    PyObject *object = copy ? PyObject_CallFunctionObjArgs(self->plain_decode, copy, NULL) : NULL;
    Py_XDECREF(copy);
    if (SR_UNLIKELY(generation != sr_fork_generation)) {
        Py_CLEAR(object);
        PyErr_Clear();
        return sr_raise(self, SR_STALE, CONSUMING, record->length, 0);
    }
    self->calls--;
    if (alone)
        self->gate[CONSUMING] &= ~(unsigned)GATE_BUSY;
    return object ? object : sr_undecodable(self, record);
}

/* Where the record may be overwritten as the codec reads it, the codec gets a copy that is known to be whole. */
PyObject *sr_decode_copy(struct ring *self, const struct sr_record *record, bool *again) {
    PyObject *copy = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)record->length);
    if (!copy)
        return NULL;
    sr_copy(self, CONSUMING, PyBytes_AsString(copy), record->payload, record->length);
    *again = !sr_still_whole(&self->endpoint, record);
    PyObject *view = *again ? NULL : PyMemoryView_FromObject(copy);
    Py_DECREF(copy);
    if (!view)
        return NULL;
    bool alone = sr_one_at_a_time(self, CONSUMING);
    uint32_t generation = sr_fork_generation;
    self->calls++; /* a close waits for us */
    if (alone)
        self->gate[CONSUMING] |= GATE_BUSY;
    PyObject *object = PyObject_CallFunctionObjArgs(self->decode, view, NULL);
    Py_DECREF(view);
    if (SR_UNLIKELY(generation != sr_fork_generation)) { /* by the codec: we are the child */
        Py_CLEAR(object);
        PyErr_Clear();
        return sr_raise(self, SR_STALE, CONSUMING, record->length, 0);
    }
    self->calls--;
    if (alone)
        self->gate[CONSUMING] &= ~(unsigned)GATE_BUSY;
    return object ? object : sr_undecodable(self, record);
}

PyObject *sr_receive(struct ring *self, struct sr_record *record, bool *again) {
    bool kept = false;
    uint32_t generation = sr_fork_generation;
    if (self->endpoint.geometry.overwrite) {
        PyObject *decoded = sr_decode_copy(self, record, again);
        if (decoded) {
            (void)sr_settle(&self->endpoint, record);
            sr_count_got(self, 1, record->length, false);
        }
        return decoded;
    }
    sr_expose(&self->endpoint, record);
    bool plain = self->plain_decode && record->length && record->length <= PLAIN_LONGEST &&
                 record->payload[0] == self->plain_mark;
    PyObject *object = plain ? read_plain(self, record) : sr_lease_read(self, record, self->decode, &kept);
    if (SR_UNLIKELY(generation != sr_fork_generation))
        return NULL; /* we are a child that was forked by the codec: the record is the parent's */
    if (kept)
        return object;
    if (!object) {
        (void)sr_hand_back(&self->endpoint, record); /* stale: it was handed back for us */
        return NULL;
    }
    enum sr_result result = sr_acknowledge(&self->endpoint, record);
    if (SR_UNLIKELY(result != SR_OK)) {
        Py_DECREF(object);
        return sr_raise(self, result, CONSUMING, record->length, 0);
    }
    sr_count_got(self, 1, record->length, record->redelivered);
    return object;
}
