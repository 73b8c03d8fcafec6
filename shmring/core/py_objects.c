/* py_objects.c - messages that a codec makes and reads: the parts of an object on their way into one record, and the
 * object that comes out of one.
 *
 * A codec is Python, and may do anything: so an object is encoded before anything is claimed, and its record is TAKEN, and
 * this ring counted as in use, for as long as it is decoded.
 */
#include "py_module.h"

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

bool sr_open_parts(struct ring *self, PyObject *object, struct parts *parts) {
    PyObject *made = PyObject_CallFunctionObjArgs(self->encode, object, NULL);
    if (!made)
        return false;
    bool fine = sr_hold_parts(self, made, parts);
    Py_DECREF(made);
    return fine;
}

bool sr_hold_parts(struct ring *self, PyObject *made, struct parts *parts) {
    /* A codec, or somebody's buffer, is code: it may have closed this ring, or another thread meanwhile. */
    bool fine = hold(parts, made) && (sr_gate_open(self, PRODUCING) || sr_pass_gate(self, PRODUCING));
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

PyObject *sr_receive(struct ring *self, struct sr_record *record) {
    bool kept;
    sr_expose(&self->endpoint, record);
    PyObject *object = sr_lease_read(self, record, self->decode, &kept);
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
