/* py_messages.c - put, get and their kin. The fast path is: parse, gate, try, copy, commit, count; no call to the
 * operating system, no allocation but the message itself.
 */
#include <string.h>

#include "py_module.h"

/* A message to put. */
enum holding { HELD_BY_CALLER, HELD_VIEW, HELD_BYTES, HELD_PARTS };

struct message {
    const char *data; /* unless it is in parts */
    size_t length;
    enum holding holding;
    union {
        Py_buffer view;
        PyObject *bytes;
        struct parts parts;
    } held;
};

/* What a codec made: most often bytes. */
static bool open_made(struct ring *self, PyObject *made, struct message *message) {
    if (PyBytes_CheckExact(made)) {
        if (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING)) /* the codec may have closed this ring */
            return false;
        message->holding = HELD_BYTES;
        message->held.bytes = Py_NewRef(made);
        message->data = PyBytes_AsString(made);
        message->length = (size_t)PyBytes_Size(made);
        return true;
    }
    message->holding = HELD_PARTS;
    if (!sr_hold_parts(self, made, &message->held.parts))
        return false;
    message->length = message->held.parts.length;
    return true;
}

static bool open_object(struct ring *self, PyObject *object, struct message *message) {
    PyObject *made = sr_encode(self, object);
    bool fine = made && open_made(self, made, message);
    Py_XDECREF(made);
    return fine;
}

/* Bytes are read in place, anything else through the buffer protocol, or what the codec makes of it. */
static inline bool open_message(struct ring *self, PyObject *object, struct message *message) {
    if (SR_UNLIKELY(self->encode != NULL))
        return open_object(self, object, message);
    if (SR_LIKELY(PyBytes_CheckExact(object))) {
        message->holding = HELD_BY_CALLER;
        message->data = PyBytes_AsString(object);
        message->length = (size_t)PyBytes_Size(object);
        return true;
    }
    message->holding = HELD_VIEW;
    if (!sr_contiguous_bytes(object, &message->held.view))
        return false;
    message->data = message->held.view.buf;
    message->length = (size_t)message->held.view.len;
    return true;
}

static void let_go(struct message *message) {
    if (message->holding == HELD_VIEW)
        PyBuffer_Release(&message->held.view);
    else if (message->holding == HELD_BYTES)
        Py_DECREF(message->held.bytes);
    else
        sr_close_parts(&message->held.parts);
}

static inline void close_message(struct message *message) {
    if (SR_UNLIKELY(message->holding != HELD_BY_CALLER))
        let_go(message);
}

/* Copies and commits; the caller announces. */
static inline enum sr_result fill(struct ring *self, struct sr_record *record, const struct message *message) {
    const struct parts *parts = &message->held.parts;
    if (SR_UNLIKELY(message->holding == HELD_PARTS))
        sr_gather(self, record->payload, parts->each, parts->count, message->length);
    else
        sr_copy(self, PRODUCING, record->payload, message->data, message->length);
    sr_count_put(self, message->length);
    return sr_commit(&self->endpoint, record);
}

static enum sr_result wait_and_claim(struct ring *self, uint64_t length, int64_t timeout_ns, struct sr_record *record) {
    struct call call;
    sr_call_begin(&call, self, PRODUCING, timeout_ns);
    return sr_claim(&self->endpoint, length, &call.wait, record);
}

static enum sr_result wait_and_take(struct ring *self, uint64_t limit, int64_t timeout_ns, struct sr_record *record) {
    struct call call;
    sr_call_begin(&call, self, CONSUMING, timeout_ns);
    return sr_take(&self->endpoint, limit, &call.wait, record);
}

/* Closes the message too. */
static inline PyObject *put_message(struct ring *self, struct message *message, int64_t timeout_ns) {
    struct sr_record record;
    enum sr_result result = sr_try_claim(&self->endpoint, message->length, &record);
    if (SR_UNLIKELY(result != SR_OK && result != SR_TOO_LONG))
        result = wait_and_claim(self, message->length, timeout_ns, &record);
    if (SR_LIKELY(result == SR_OK)) {
        result = fill(self, &record, message);
        sr_announce(&self->endpoint, 1);
    }
    size_t length = message->length;
    close_message(message);
    PyObject *answer =
        SR_LIKELY(result == SR_OK) ? Py_NewRef(Py_None) : sr_raise(self, result, PRODUCING, length, timeout_ns);
    return sr_answer(self, PRODUCING, answer);
}

PyObject *sr_put_as(const struct arguments *expected, struct ring *self, PyObject *const *args, Py_ssize_t count,
                    PyObject *names) {
    PyObject *data = NULL, *timeout = NULL;
    int64_t timeout_ns = INT64_MAX;
    if (SR_LIKELY(count == 1 && !names))
        data = args[0];
    else if (!sr_parse_arguments(expected, args, count, names, &data, &timeout) ||
             !sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    if (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING))
        return NULL;
    struct message message;
    if (!open_message(self, data, &message))
        return NULL;
    return put_message(self, &message, timeout_ns);
}

/* put_parts(parts, timeout): what a codec made of an object; for whoever tries several rings with it. */
PyObject *sr_ring_put_parts(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"_put_parts", "parts", true};
    struct ring *self = (struct ring *)object;
    PyObject *made = NULL, *timeout = NULL;
    int64_t timeout_ns;
    if (!sr_parse_arguments(&EXPECTED, args, count, names, &made, &timeout) || !sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    struct message message;
    return open_made(self, made, &message) ? put_message(self, &message, timeout_ns) : NULL;
}

/* try_put(object): None when it went in; else what the codec made of it, for put_parts to try again, and no exception
 * but the codec's own. */
PyObject *sr_ring_try_put(PyObject *object, PyObject *value) {
    struct ring *self = (struct ring *)object;
    PyObject *made = sr_encode(self, value);
    struct message message;
    if (!made)
        return NULL;
    if (!open_made(self, made, &message)) {
        PyErr_Clear(); /* put_parts says it again */
        return made;
    }
    struct sr_record record;
    bool fine = sr_try_claim(&self->endpoint, message.length, &record) == SR_OK;
    if (SR_LIKELY(fine)) {
        fine = fill(self, &record, &message) == SR_OK;
        sr_announce(&self->endpoint, 1);
    }
    close_message(&message);
    if (SR_UNLIKELY(!fine))
        return sr_answer(self, PRODUCING, made);
    Py_DECREF(made);
    return sr_answer(self, PRODUCING, Py_NewRef(Py_None));
}

PyObject *sr_ring_put(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"put", "data", true};
    return sr_put_as(&EXPECTED, (struct ring *)object, args, count, names);
}

/* A call that never waits gives up after so many copies in vain, another one at its deadline. */
enum { COPIES_IN_VAIN = 16 };

enum sr_result sr_retry(struct retry *retry) {
    if (PyErr_CheckSignals() != 0)
        return SR_INTERRUPTED;
    if (retry->timeout_ns == 0)
        return ++retry->count < COPIES_IN_VAIN ? SR_OK : SR_TIMED_OUT;
    if (retry->timeout_ns == INT64_MAX)
        return SR_OK;
    int64_t now = sr_os_monotonic_ns();
    if (!retry->deadline_ns)
        retry->deadline_ns = now + retry->timeout_ns;
    return now < retry->deadline_ns ? SR_OK : SR_TIMED_OUT;
}

/* Copies a taken record into a new bytes object and acknowledges it; the caller announces the room. *again: it was
 * overwritten meanwhile, and no exception is set. */
static inline PyObject *deliver(struct ring *self, struct sr_record *record, bool *again) {
    bool is_short = record->length < LONG_ENOUGH_TO_LET_OTHERS_RUN;
    PyObject *message =
        PyBytes_FromStringAndSize(is_short ? (const char *)record->payload : NULL, (Py_ssize_t)record->length);
    if (SR_UNLIKELY(!message)) {
        sr_hand_back(&self->endpoint, record);
        return NULL;
    }
    if (SR_UNLIKELY(!is_short))
        sr_copy(self, CONSUMING, PyBytes_AsString(message), record->payload, record->length);
    enum sr_result result = sr_acknowledge(&self->endpoint, record);
    if (SR_UNLIKELY(result != SR_OK)) {
        Py_DECREF(message);
        *again = result == SR_OVERWRITTEN;
        return *again ? NULL : sr_raise(self, result, CONSUMING, record->length, 0);
    }
    return message;
}

static inline PyObject *get_one(struct ring *self, int64_t timeout_ns, struct sr_record *record,
                                enum sr_result *result) {
    struct retry retry = {.timeout_ns = timeout_ns};
    for (;;) {
        *result = sr_try_take(&self->endpoint, UINT64_MAX, record);
        if (SR_UNLIKELY(*result != SR_OK))
            *result = wait_and_take(self, UINT64_MAX, timeout_ns, record);
        if (SR_UNLIKELY(*result != SR_OK))
            return NULL;
        PyObject *message = NULL;
        bool again = false;
        if (SR_UNLIKELY(self->decode != NULL))
            message = sr_receive(self, record, &again);
        else if (SR_LIKELY((message = deliver(self, record, &again)) != NULL))
            sr_count_got(self, 1, record->length, record->redelivered);
        if (SR_LIKELY(!again)) {
            sr_announce_room(&self->endpoint);
            return message;
        }
        *result = sr_retry(&retry);
        if (*result != SR_OK)
            return NULL;
    }
}

PyObject *sr_ring_get(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"get", NULL, false};
    struct ring *self = (struct ring *)object;
    PyObject *timeout = NULL;
    int64_t timeout_ns = INT64_MAX;
    if (SR_UNLIKELY(count || names) &&
        (!sr_parse_arguments(&EXPECTED, args, count, names, NULL, &timeout) || !sr_parse_timeout(timeout, &timeout_ns)))
        return NULL;
    if (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING))
        return NULL;
    enum sr_result result;
    struct sr_record record;
    PyObject *message = get_one(self, timeout_ns, &record, &result);
    if (SR_UNLIKELY(result != SR_OK))
        sr_raise(self, result, CONSUMING, 0, timeout_ns);
    return sr_answer(self, CONSUMING, message);
}

/* skip(position, timeout): the next message as bytes, past the codec; or the one at this position, None if it is not there
 * to be taken again. */
PyObject *sr_ring_skip(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"_skip", "position", true};
    struct ring *self = (struct ring *)object;
    PyObject *position_object = NULL, *timeout = NULL;
    int64_t timeout_ns;
    if (!sr_parse_arguments(&EXPECTED, args, count, names, &position_object, &timeout) ||
        !sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    uint64_t position = PyLong_AsUnsignedLongLong(position_object);
    if (PyErr_Occurred() || (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING)))
        return NULL;
    struct sr_record record;
    enum sr_result result = position ? sr_try_take_again(&self->endpoint, position, &record)
                                     : wait_and_take(self, UINT64_MAX, timeout_ns, &record);
    PyObject *message = NULL;
    if (result == SR_OK) {
        bool again = false;
        message = deliver(self, &record, &again);
        if (message)
            sr_count_got(self, 1, record.length, record.redelivered);
        else if (again)
            message = Py_NewRef(Py_None); /* overwritten: it is not there any more */
        sr_announce_room(&self->endpoint);
    } else if (position && (result == SR_EMPTY || result == SR_CONTENDED)) {
        message = Py_NewRef(Py_None);
    } else {
        sr_raise(self, result, CONSUMING, 0, timeout_ns);
    }
    return sr_answer(self, CONSUMING, message);
}

PyObject *sr_ring_next(PyObject *object) {
    struct ring *self = (struct ring *)object;
    if (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING))
        return NULL;
    enum sr_result result;
    struct sr_record record;
    PyObject *message = get_one(self, INT64_MAX, &record, &result);
    if (SR_UNLIKELY(result != SR_OK && result != SR_SHUT_DOWN)) /* shut down and drained: the end of the iteration */
        sr_raise(self, result, CONSUMING, 0, INT64_MAX);
    return sr_answer(self, CONSUMING, message);
}

/* A task that is always served at once would keep its event loop from all others. So after so many messages, or so many
 * of their bytes, an attempt in turn answers as if it had failed, and its caller lets the loop run. */
enum { TURN = 64, TURN_BYTES_SHIFT = 14 };

static void count_turn(struct ring *self, uint64_t length) { self->turn += 1 + (unsigned)(length >> TURN_BYTES_SHIFT); }

static bool turn_is_over(struct ring *self) { return self->turn >= TURN; }

PyObject *sr_ring_turn_is_over(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(turn_is_over((struct ring *)object));
}

/* try_get(in_turn): the next message, or the core's NOTHING. */
PyObject *sr_ring_try_get(PyObject *object, PyObject *in_turn) {
    struct ring *self = (struct ring *)object;
    if (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING))
        return NULL;
    if (in_turn != Py_True)
        self->turn = 0;
    else if (turn_is_over(self))
        return Py_NewRef(sr_nothing);
    enum sr_result result;
    struct sr_record record;
    PyObject *message = get_one(self, 0, &record, &result);
    if (result == SR_TIMED_OUT)
        message = Py_NewRef(sr_nothing);
    else if (SR_UNLIKELY(result != SR_OK))
        sr_raise(self, result, CONSUMING, 0, 0);
    else
        count_turn(self, record.length);
    return sr_answer(self, CONSUMING, message);
}

static enum sr_result put_now(struct ring *self, const struct message *message) {
    struct sr_record record;
    enum sr_result result = sr_try_claim(&self->endpoint, message->length, &record);
    if (SR_UNLIKELY(result != SR_OK && result != SR_TOO_LONG))
        result = wait_and_claim(self, message->length, 0, &record);
    if (SR_UNLIKELY(result != SR_OK))
        return result;
    result = fill(self, &record, message);
    sr_announce(&self->endpoint, 1);
    count_turn(self, message->length);
    return result;
}

/* A message that waits for room: opened, and encoded, once. */
static const char HELD[] = "shmring held message";

static void free_held(PyObject *held) {
    struct message *message = PyCapsule_GetPointer(held, HELD);
    close_message(message);
    PyMem_Free(message);
}

static PyObject *hold(struct ring *self, PyObject *data) {
    struct message *message = PyMem_Malloc(sizeof *message); /* it has pointers into itself: it cannot move */
    if (!message)
        return PyErr_NoMemory();
    if (!open_message(self, data, message)) {
        PyMem_Free(message);
        return NULL;
    }
    PyObject *held = PyCapsule_New(message, HELD, free_held);
    if (!held) {
        close_message(message);
        PyMem_Free(message);
    }
    return held;
}

/* put_or_hold(data): None when it is put; else the message for put_held, and its length. */
PyObject *sr_ring_put_or_hold(PyObject *object, PyObject *data) {
    struct ring *self = (struct ring *)object;
    if (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING))
        return NULL;
    PyObject *held = NULL;
    struct message plain;
    struct message *message = &plain;
    if (self->encode) {
        held = hold(self, data);
        message = held ? PyCapsule_GetPointer(held, HELD) : NULL;
    } else if (!open_message(self, data, &plain)) {
        message = NULL;
    }
    if (!message)
        return NULL;
    size_t length = message->length;
    enum sr_result result = turn_is_over(self) ? SR_TIMED_OUT : put_now(self, message);
    if (!held)
        close_message(message);
    PyObject *answer = NULL;
    if (SR_LIKELY(result == SR_OK))
        answer = Py_NewRef(Py_None);
    else if (result != SR_TIMED_OUT)
        sr_raise(self, result, PRODUCING, length, 0);
    else if (held || (held = hold(self, data)))
        answer = Py_BuildValue("(On)", held, (Py_ssize_t)length);
    Py_XDECREF(held);
    return sr_answer(self, PRODUCING, answer);
}

/* put_held(held): whether there was room. */
PyObject *sr_ring_put_held(PyObject *object, PyObject *held) {
    struct ring *self = (struct ring *)object;
    const struct message *message = PyCapsule_GetPointer(held, HELD);
    if (!message || (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING)))
        return NULL;
    self->turn = 0;
    enum sr_result result = put_now(self, message);
    PyObject *answer = NULL;
    if (result == SR_OK || result == SR_TIMED_OUT)
        answer = PyBool_FromLong(result == SR_OK);
    else
        sr_raise(self, result, PRODUCING, message->length, 0);
    return sr_answer(self, PRODUCING, answer);
}

PyObject *sr_ring_get_into(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"get_into", "buffer", true};
    struct ring *self = (struct ring *)object;
    PyObject *target = NULL, *timeout = NULL;
    int64_t timeout_ns;
    if (!sr_parse_arguments(&EXPECTED, args, count, names, &target, &timeout) ||
        !sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    if (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING))
        return NULL;
    Py_buffer buffer;
    if (PyObject_GetBuffer(target, &buffer, PyBUF_WRITABLE) != 0)
        return NULL;
    struct sr_record record;
    struct retry retry = {.timeout_ns = timeout_ns};
    enum sr_result result;
    do {
        result = sr_try_take(&self->endpoint, (uint64_t)buffer.len, &record);
        if (SR_UNLIKELY(result != SR_OK && result != SR_TOO_LONG))
            result = wait_and_take(self, (uint64_t)buffer.len, timeout_ns, &record);
        if (SR_UNLIKELY(result != SR_OK))
            break;
        sr_copy(self, CONSUMING, buffer.buf, record.payload, record.length);
        result = sr_still_whole(&self->endpoint, &record) ? SR_OK : SR_OVERWRITTEN;
    } while (SR_UNLIKELY(result == SR_OVERWRITTEN) && (result = sr_retry(&retry)) == SR_OK);
    PyObject *answer = NULL;
    if (SR_LIKELY(result == SR_OK)) {
        sr_count_got(self, 1, record.length, record.redelivered);
        result = sr_settle(&self->endpoint, &record);
        sr_announce_room(&self->endpoint);
    }
    if (SR_LIKELY(result == SR_OK))
        answer = PyLong_FromUnsignedLongLong(record.length);
    else if (result == SR_TOO_LONG) /* it stays in the ring, first in line */
        PyErr_Format(PyExc_ValueError,
                     "the next message has %llu bytes and the buffer room for %zd; it stays in the ring: come back "
                     "with a larger buffer, or call get()",
                     (unsigned long long)record.length, buffer.len);
    else
        sr_raise(self, result, CONSUMING, 0, timeout_ns);
    PyBuffer_Release(&buffer);
    return sr_answer(self, CONSUMING, answer);
}

/* Tell the other side at least so often within a batch, so that it works while we do. */
enum { BATCH_BETWEEN_ANNOUNCEMENTS = 64 };

struct batch {
    struct ring *ring;
    struct call call;
    bool call_begun; /* one deadline for the whole batch */
    int64_t timeout_ns;
    Py_ssize_t done;
    int unannounced;
};

static void announce_puts(struct batch *batch) {
    if (batch->unannounced)
        sr_announce(&batch->ring->endpoint, batch->unannounced);
    batch->unannounced = 0;
}

/* SR_OK, or why this item did not go in. -1 with an exception set for an item that is no message. */
static int put_item(struct batch *batch, PyObject *item) {
    struct ring *self = batch->ring;
    struct message message;
    if (!open_message(self, item, &message))
        return -1;
    struct sr_record record;
    enum sr_result result = sr_try_claim(&self->endpoint, message.length, &record);
    if (SR_UNLIKELY(result != SR_OK)) {
        announce_puts(batch);
        if (!batch->call_begun)
            sr_call_begin(&batch->call, self, PRODUCING, batch->timeout_ns);
        batch->call_begun = true;
        result = result == SR_TOO_LONG ? result : sr_claim(&self->endpoint, message.length, &batch->call.wait, &record);
    }
    if (SR_LIKELY(result == SR_OK)) {
        result = fill(self, &record, &message);
        batch->done++;
        if (++batch->unannounced == BATCH_BETWEEN_ANNOUNCEMENTS)
            announce_puts(batch);
    } else if (result != SR_TIMED_OUT || !batch->done) {
        sr_raise(self, result, PRODUCING, message.length, batch->timeout_ns);
        close_message(&message);
        return -1;
    }
    close_message(&message);
    return (int)result;
}

/* A list or tuple: its items are at hand, so that announcements can be saved. */
static bool put_sequence(struct batch *batch, PyObject *sequence) {
    /* A list may change while the interpreter is let go: ask for its length each time, and hold on to the item. */
    bool is_list = PyList_CheckExact(sequence);
    for (Py_ssize_t i = 0; i < (is_list ? PyList_Size(sequence) : PyTuple_Size(sequence)); i++) {
        PyObject *item = Py_NewRef(is_list ? PyList_GetItem(sequence, i) : PyTuple_GetItem(sequence, i));
        int result = put_item(batch, item);
        Py_DECREF(item);
        if (result != SR_OK)
            return result > 0;
    }
    return true;
}

/* Any other iterable: its next item may be long in coming, so what went in is announced first. Its code may also close
 * this ring, or use it. */
static bool put_iterable(struct batch *batch, PyObject *iterable) {
    PyObject *iterator = PyObject_GetIter(iterable);
    if (!iterator)
        return false;
    int result = SR_OK;
    PyObject *item;
    while (result == SR_OK && (item = PyIter_Next(iterator))) {
        struct ring *self = batch->ring;
        result = sr_gate_open(self, PRODUCING) || sr_pass_gate(self, PRODUCING) ? put_item(batch, item) : -1;
        announce_puts(batch);
        Py_DECREF(item);
    }
    Py_DECREF(iterator);
    return result >= 0 && !PyErr_Occurred();
}

PyObject *sr_put_many_as(const struct arguments *expected, struct ring *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *names) {
    PyObject *iterable = NULL, *timeout = NULL;
    struct batch batch = {.ring = self};
    if (!sr_parse_arguments(expected, args, count, names, &iterable, &timeout) ||
        !sr_parse_timeout(timeout, &batch.timeout_ns))
        return NULL;
    if (PyUnicode_Check(iterable) || PyBytes_Check(iterable) || PyByteArray_Check(iterable))
        return PyErr_Format(PyExc_TypeError, "%s() takes an iterable of messages, not one %R; use %s()",
                            expected->function, (PyObject *)Py_TYPE(iterable),
                            strcmp(expected->function, "put_many") ? "publish" : "put");
    if (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING))
        return NULL;
    bool is_sequence = PyList_CheckExact(iterable) || PyTuple_CheckExact(iterable);
    bool fine = is_sequence ? put_sequence(&batch, iterable) : put_iterable(&batch, iterable);
    announce_puts(&batch);
    return sr_answer(self, PRODUCING, fine ? PyLong_FromSsize_t(batch.done) : NULL);
}

PyObject *sr_ring_put_many(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"put_many", "iterable", true};
    return sr_put_many_as(&EXPECTED, (struct ring *)object, args, count, names);
}

/* Messages on their way into a list. A chunk at a time, because a list with gaps must not be seen by other threads. */
struct harvest {
    PyObject *list;
    PyObject *chunk[BATCH_BETWEEN_ANNOUNCEMENTS];
    int count;
    uint64_t messages; /* of these, not yet counted */
    uint64_t bytes;
    uint64_t redelivered;
};

/* Moves the chunk into the list, counts it and tells producers of the room. */
static bool store(struct ring *self, struct harvest *harvest) {
    if (!harvest->count)
        return true;
    if (harvest->messages)
        sr_count_got(self, harvest->messages, harvest->bytes, harvest->redelivered);
    sr_announce_room(&self->endpoint);
    PyObject *more = PyList_New(harvest->count);
    for (int i = 0; i < harvest->count; i++) {
        if (more)
            PyList_SetItem(more, i, harvest->chunk[i]);
        else
            Py_DECREF(harvest->chunk[i]);
    }
    harvest->count = 0;
    harvest->messages = harvest->bytes = harvest->redelivered = 0;
    if (!harvest->list) {
        harvest->list = more;
        return more != NULL;
    }
    Py_ssize_t end = PyList_Size(harvest->list);
    bool fine = more && PyList_SetSlice(harvest->list, end, end, more) == 0;
    Py_XDECREF(more);
    return fine;
}

/* From the first record on; NULL with an exception set when not even one could be stored. *again: that one was
 * overwritten, and none is set. */
static PyObject *take_what_is_there(struct ring *self, Py_ssize_t limit, struct sr_record *record, bool *again) {
    struct harvest harvest = {.list = NULL};
    uint64_t granules = 0;
    bool fine = true;
    do {
        granules += sr_granules_for(record->length);
        PyObject *message = self->decode ? sr_receive(self, record, again) : deliver(self, record, again);
        if (!message)
            break;
        harvest.chunk[harvest.count++] = message;
        if (!self->decode) {
            harvest.messages++;
            harvest.bytes += record->length;
            harvest.redelivered += record->redelivered;
        }
        if (harvest.count == BATCH_BETWEEN_ANNOUNCEMENTS)
            fine = store(self, &harvest);
        /* One ring's worth at most: a fast producer must not keep us for ever. */
        fine = fine && --limit && granules < self->endpoint.geometry.granules && !self->gate[CONSUMING];
    } while (fine && sr_try_take(&self->endpoint, UINT64_MAX, record) == SR_OK);
    store(self, &harvest);
    if (harvest.list)
        PyErr_Clear(); /* out of memory, or undecodable, after some: those first; the message was handed back */
    return harvest.list;
}

PyObject *sr_ring_get_many(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"get_many", "limit", false};
    struct ring *self = (struct ring *)object;
    PyObject *limit_object = NULL, *timeout = NULL;
    int64_t timeout_ns;
    Py_ssize_t limit = PY_SSIZE_T_MAX;
    if (!sr_parse_arguments(&EXPECTED, args, count, names, &limit_object, &timeout) ||
        !sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    if (limit_object && limit_object != Py_None) {
        limit = PyNumber_AsSsize_t(limit_object, PyExc_OverflowError);
        if (limit == -1 && PyErr_Occurred())
            return NULL;
        if (limit < 1)
            return PyErr_Format(PyExc_ValueError, "limit is %zd; it must be at least 1, or None for all there is",
                                limit);
    }
    if (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING))
        return NULL;
    struct retry retry = {.timeout_ns = timeout_ns};
    PyObject *messages = NULL;
    enum sr_result result;
    bool again;
    do {
        struct sr_record record;
        again = false;
        result = sr_try_take(&self->endpoint, UINT64_MAX, &record);
        if (result != SR_OK)
            result = wait_and_take(self, UINT64_MAX, timeout_ns, &record);
        if (result == SR_OK)
            messages = take_what_is_there(self, limit, &record, &again);
    } while (again && !messages && (result = sr_retry(&retry)) == SR_OK);
    if (result != SR_OK)
        sr_raise(self, result, CONSUMING, 0, timeout_ns);
    return sr_answer(self, CONSUMING, messages);
}

PyObject *sr_ring_claim(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"claim", "length", true};
    struct ring *self = (struct ring *)object;
    PyObject *length_object = NULL, *timeout = NULL;
    int64_t timeout_ns;
    if (!sr_parse_arguments(&EXPECTED, args, count, names, &length_object, &timeout) ||
        !sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    Py_ssize_t length = PyNumber_AsSsize_t(length_object, PyExc_OverflowError);
    if (length == -1 && PyErr_Occurred())
        return NULL;
    if (length < 0)
        return PyErr_Format(PyExc_ValueError, "length is %zd bytes; a claim has 0 to %llu", length,
                            (unsigned long long)self->endpoint.geometry.max_message);
    if (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING))
        return NULL;
    if ((uint64_t)length > self->endpoint.geometry.max_message)
        return sr_raise(self, SR_TOO_LONG, PRODUCING, (uint64_t)length, 0);
    return sr_lease_new(self, PRODUCING, (uint64_t)length, timeout);
}

PyObject *sr_ring_borrow(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"borrow", NULL, false};
    struct ring *self = (struct ring *)object;
    PyObject *timeout = NULL;
    int64_t timeout_ns;
    if (!sr_parse_arguments(&EXPECTED, args, count, names, NULL, &timeout) || !sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    if (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING))
        return NULL;
    return sr_lease_new(self, CONSUMING, 0, timeout);
}
