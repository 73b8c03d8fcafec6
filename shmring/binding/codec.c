/* codec.c - messages that a codec makes and reads: the parts of an object on their way into one record, and the
 * object that comes out of one.
 *
 * A codec is Python, and may do anything: so an object is encoded before anything is claimed, and its record is TAKEN, and
 * this ring counted as in use, for as long as it is decoded.
 */
#include "attachment.h"

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

static bool hold_parts(struct parts *parts, PyObject *made) {
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
    bool held = hold_parts(parts, made);
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

/* attachment.py: DecodeError in place of what its codec raised. */
static void refuse_record(struct ring *self, struct sr_endpoint *at, const struct sr_record *record, PyObject *cause) {
    PyObject *error =
        PyObject_CallMethod((PyObject *)self, "_undecodable", "OKKK", cause, (unsigned long long)record->position,
                            (unsigned long long)record->length, (unsigned long long)at->header->identity);
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

/* The exception that is set, normalized, or NULL for one that is nothing about any message, as Ctrl-C. */
static PyObject *take_exception(void) {
    PyObject *type, *error, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return error;
}

static void put_exception(PyObject *error) { /* steals it */
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), error, PyException_GetTraceback(error));
}

/* attachment.py: did this come out of a signal handler? Also lets go of what the frames that it ended refer to. -1: now
 * another exception is set. */
static int came_between(struct ring *self, PyObject *error) {
    PyObject *answer = PyObject_CallMethod((PyObject *)self, "_came_between", "O", error);
    int found = answer ? answer == Py_True : -1;
    Py_XDECREF(answer);
    return found;
}

/* A reader has raised: because of the message, or because of something that came between, a signal's handler or an exception
 * that another thread sent? A handler's frames tell; what else came between does not come again when the message is read
 * once more. Only what its codec raises of itself, twice, is a DecodeError. */
static void judge(struct ring *self, struct sr_endpoint *at, const struct sr_record *record, PyObject *reader,
                  PyObject *argument) {
    uint32_t generation = sr_fork_generation;
    PyObject *first = take_exception();
    if (!first)
        return;
    int between = came_between(self, first);
    if (between || generation != sr_fork_generation) {
        if (between < 0)
            Py_DECREF(first);
        else
            put_exception(first);
        return;
    }
    PyObject *object = PyObject_CallFunctionObjArgs(reader, argument, NULL);
    PyObject *second = object ? NULL : take_exception();
    between = second ? came_between(self, second) : 0;
    if (object || (second && !between && Py_TYPE(second) != Py_TYPE(first)))
        put_exception(Py_NewRef(first));
    else if (second && !between)
        refuse_record(self, at, record, first);
    else if (second && between > 0)
        put_exception(Py_NewRef(second));
    /* else what came in place of the second is set already: Ctrl-C, say */
    Py_DECREF(first);
    Py_XDECREF(second);
    Py_XDECREF(object);
}

/* A look takes a microsecond, as a small message does: so it is not for each of them where they come thick and fast. */
static const int64_t LOOK_AGAIN_NS = 50000;

/* Has the memory been opened to others since we came, whose messages could run code here? Sets PermissionError. */
static bool was_opened_to_others(struct ring *self) {
    int64_t now = sr_os_monotonic_ns();
    if (!self->was_opened && now - self->looked_ns < LOOK_AGAIN_NS)
        return false;
    self->looked_ns = now;
    self->was_opened = self->was_opened ||
                       sr_os_file_is_open_to_others(&self->segment_file, self->segment_fd, self->path, self->owner);
    if (!self->was_opened)
        return false;
    PyObject *error = PyObject_CallMethod((PyObject *)self, "_opened_to_others", NULL);
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
    return true;
}

PyObject *sr_read_record(struct ring *self, struct sr_endpoint *at, const struct sr_record *record, PyObject *reader,
                         PyObject *argument) {
    if (SR_UNLIKELY(self->wary) && was_opened_to_others(self))
        return NULL;
    PyObject *object = PyObject_CallFunctionObjArgs(reader, argument, NULL);
    if (SR_UNLIKELY(!object))
        judge(self, at, record, reader, argument);
    else if (SR_UNLIKELY(PyErr_CheckSignals() != 0)) /* now, while the message can still be handed back */
        Py_CLEAR(object);
    return object;
}

bool sr_is_decode_error(void) { return sr_decode_error && PyErr_ExceptionMatches(sr_decode_error); }

int sr_serve_signals(struct ring *self, bool *ours) {
    uint32_t generation = sr_fork_generation;
    self->calls++; /* a close waits for us */
    int raised = PyErr_CheckSignals();
    *ours = generation == sr_fork_generation;
    if (SR_LIKELY(*ours)) {
        self->calls--;
        return raised;
    }
    PyErr_Clear();
    sr_raise(self, SR_STALE, CONSUMING, 0, 0);
    return -1;
}

void sr_refuse_reference(struct ring *self, struct sr_endpoint *at, const struct sr_record *record, PyObject *value) {
    /* The room of a message that was got must not hang on what somebody keeps of it. */
    PyErr_Format(
        PyExc_BufferError,
        "decode() made a %R that refers to the record, whose room is used again after get(): it must copy what "
        "it keeps, as in bytes(record); for a look without a copy there is view(), in `with ring.borrow()`",
        (PyObject *)Py_TYPE(value));
    PyObject *cause = take_exception();
    refuse_record(self, at, record, cause);
    Py_DECREF(cause);
}

/* For the time that a codec runs on something that is not the record itself: a close waits for us, and one at a time. */
static PyObject *read_copy(struct ring *self, struct sr_endpoint *at, const struct sr_record *record, PyObject *reader,
                           PyObject *copy) {
    bool alone = sr_one_at_a_time(self, CONSUMING);
    uint32_t generation = sr_fork_generation;
    self->calls++;
    if (alone)
        self->gate[CONSUMING] |= GATE_BUSY;
    PyObject *object = sr_read_record(self, at, record, reader, copy);
    if (SR_UNLIKELY(generation !=
                    sr_fork_generation)) { /* by the codec: we are the child, the record is the parent's */
        Py_CLEAR(object);
        PyErr_Clear();
        return sr_raise(self, SR_STALE, CONSUMING, record->length, 0);
    }
    self->calls--;
    if (alone)
        self->gate[CONSUMING] &= ~(unsigned)GATE_BUSY;
    return object;
}

/* A short pickle without buffers of its own: nothing of what it becomes can refer to the record. */
static PyObject *read_plain(struct ring *self, struct sr_endpoint *at, struct sr_record *record) {
    PyObject *copy = PyBytes_FromStringAndSize((const char *)record->payload, (Py_ssize_t)record->length);
    PyObject *object = copy ? read_copy(self, at, record, self->plain_decode, copy) : NULL;
    Py_XDECREF(copy);
    return object;
}

/* Memory for copies that are thrown away: kept from one message to the next, as fresh memory is mapped page by page. */
static PyObject *take_scratch(struct ring *self, size_t length) {
    PyObject *scratch = self->scratch;
    self->scratch = NULL; /* another thread, or the codec, may come by */
    if (scratch && (size_t)PyByteArray_Size(scratch) >= length)
        return scratch;
    Py_XDECREF(scratch);
    return PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)length);
}

static void keep_scratch(struct ring *self, PyObject *scratch) { /* steals it */
    if (Py_REFCNT(scratch) == 1 && !self->scratch && self->attached)
        self->scratch = scratch; /* nothing refers to it */
    else
        Py_DECREF(scratch);
}

static PyObject *view_of_copy(PyObject *scratch, size_t length) {
    PyObject *whole = PyMemoryView_FromObject(scratch);
    PyObject *view = whole ? PySequence_GetSlice(whole, 0, (Py_ssize_t)length) : NULL;
    Py_XDECREF(whole);
    return view;
}

/* Where the record may be overwritten as the codec reads it, the codec gets a copy that is known to be whole. */
PyObject *sr_decode_copy(struct ring *self, const struct sr_record *record, bool *again) {
    bool is_long = record->length >= LONG_ENOUGH_TO_LET_OTHERS_RUN;
    PyObject *copy =
        is_long ? take_scratch(self, record->length) : PyBytes_FromStringAndSize(NULL, (Py_ssize_t)record->length);
    if (!copy)
        return NULL;
    sr_copy(self, CONSUMING, is_long ? PyByteArray_AsString(copy) : PyBytes_AsString(copy), record->payload,
            record->length);
    *again = !sr_still_whole(&self->endpoint, record);
    PyObject *view = *again ? NULL : is_long ? view_of_copy(copy, record->length) : PyMemoryView_FromObject(copy);
    PyObject *object = view ? read_copy(self, &self->endpoint, record, self->decode, view) : NULL;
    Py_XDECREF(view);
    if (is_long)
        keep_scratch(self, copy);
    else
        Py_DECREF(copy);
    return object;
}

static PyObject *read_in_place(struct ring *self, struct sr_endpoint *at, struct sr_record *record, bool *settled) {
    uint32_t generation = sr_fork_generation;
    sr_expose(at, record);
    bool plain = self->plain_decode && record->length && record->length <= PLAIN_LONGEST &&
                 record->payload[0] == self->plain_mark;
    PyObject *object = plain ? read_plain(self, at, record) : sr_lease_read(self, at, record, self->decode, settled);
    if (SR_UNLIKELY(generation != sr_fork_generation))
        *settled = true; /* we are a child that was forked by the codec: the record is the parent's */
    return object;
}

PyObject *sr_read_taken(struct ring *self, struct sr_endpoint *at, struct sr_record *record, bool *again,
                        bool *settled) {
    bool ours = true;
    *settled = false;
    PyObject *object = self->endpoint.geometry.overwrite ? sr_decode_copy(self, record, again)
                                                         : read_in_place(self, at, record, settled);
    /* What came while C code decoded is served now, where the message can still be handed back. */
    if (object && !*settled && record->length >= LONG_ENOUGH_FOR_SIGNALS && sr_serve_signals(self, &ours) != 0)
        Py_CLEAR(object);
    if (SR_UNLIKELY(!ours))
        *settled = true;
    return object;
}

/* It was got, as far as anybody else is concerned. */
static void drop_undecodable(struct ring *self, struct sr_endpoint *at, struct sr_record *record) {
    sr_count_task(self, 1);
    if (sr_acknowledge(at, record) != SR_OK) {
        sr_count_task(self, -1);
        return;
    }
    sr_count_got(self, 1, record->length, record->redelivered);
    sr_announce_room(at);
}

PyObject *sr_receive(struct ring *self, struct sr_endpoint *at, struct sr_record *record, bool *again) {
    bool settled;
    PyObject *object = sr_read_taken(self, at, record, again, &settled);
    if (SR_UNLIKELY(settled) || *again)
        return object;
    if (!object) {
        if (SR_UNLIKELY(self->drops_undecodable) && sr_is_decode_error())
            drop_undecodable(self, at, record);
        else
            (void)sr_hand_back(at, record); /* stale: it was handed back for us */
        return NULL;
    }
    sr_count_task(self, 1);
    /* A copy of what may be overwritten is known to be whole already. */
    enum sr_result result = (self->endpoint.geometry.overwrite ? sr_settle : sr_acknowledge)(at, record);
    if (SR_UNLIKELY(result != SR_OK)) {
        sr_count_task(self, -1);
        Py_DECREF(object);
        return sr_raise(self, result, CONSUMING, record->length, 0);
    }
    sr_count_got(self, 1, record->length, record->redelivered);
    return object;
}
