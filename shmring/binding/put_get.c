/* put_get.c - put, get and their kin. The fast path is: parse, gate, try, copy, commit, count; no call to the
 * operating system, no allocation but the message itself.
 */
#include "message.h"

bool sr_message_open_made(struct ring *self, PyObject *made, struct message *message) {
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

bool sr_message_open_object(struct ring *self, PyObject *object, struct message *message) {
    PyObject *made = sr_encode(self, object);
    bool fine = made && sr_message_open_made(self, made, message);
    Py_XDECREF(made);
    return fine;
}

void sr_message_let_go(struct message *message) {
    if (message->holding == HELD_VIEW)
        PyBuffer_Release(&message->held.view);
    else if (message->holding == HELD_BYTES)
        Py_DECREF(message->held.bytes);
    else
        sr_close_parts(&message->held.parts);
}

enum sr_result sr_wait_and_claim(struct ring *self, uint64_t length, int64_t timeout_ns, struct sr_record *record) {
    struct call call;
    sr_call_begin(&call, self, PRODUCING, timeout_ns);
    return sr_claim(&self->endpoint, length, &call.wait, record);
}

enum sr_result sr_wait_and_take(struct ring *self, uint64_t limit, int64_t timeout_ns, struct sr_record *record) {
    struct call call;
    sr_call_begin(&call, self, CONSUMING, timeout_ns);
    return sr_take(&self->endpoint, limit, &call.wait, record);
}

/* Closes the message too. */
static inline PyObject *put_message(struct ring *self, struct message *message, int64_t timeout_ns) {
    struct sr_record record;
    enum sr_result result = sr_try_claim(&self->endpoint, message->length, &record);
    if (SR_UNLIKELY(result != SR_OK && result != SR_TOO_LONG))
        result = sr_wait_and_claim(self, message->length, timeout_ns, &record);
    if (SR_LIKELY(result == SR_OK)) {
        result = sr_message_fill(self, &self->endpoint, &record, message);
        sr_announce(&self->endpoint, 1);
    }
    size_t length = message->length;
    sr_message_close(message);
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
    if (!sr_message_open(self, data, &message))
        return NULL;
    return put_message(self, &message, timeout_ns);
}

PyObject *sr_ring_put(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"put", "data", true};
    return sr_put_as(&EXPECTED, (struct ring *)object, args, count, names);
}

/* Copies in vain, and for so long, before a call that never waits gives up; another one does at its deadline. A value that
 * is set every few cache misses can outrun many short copies in a row. */
enum { COPIES_IN_VAIN = 16 };
static const int64_t OUTRUN_NS = 100 * 1000 * 1000;

enum sr_result sr_retry(struct retry *retry) {
    if (PyErr_CheckSignals() != 0)
        return SR_INTERRUPTED;
    bool waits = retry->timeout_ns != 0;
    if (retry->timeout_ns == INT64_MAX || (!waits && ++retry->count < COPIES_IN_VAIN))
        return SR_OK;
    int64_t now = sr_os_monotonic_ns();
    if (!retry->deadline_ns)
        retry->deadline_ns = now + (waits ? retry->timeout_ns : OUTRUN_NS);
    return now < retry->deadline_ns ? SR_OK : SR_OUTRUN;
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
    PyObject *message = sr_get_one(self, timeout_ns, &record, &result);
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
                                     : sr_wait_and_take(self, UINT64_MAX, timeout_ns, &record);
    PyObject *message = NULL;
    if (result == SR_OK) {
        bool again = false;
        message = sr_deliver(self, &self->endpoint, &record, &again);
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
    PyObject *message = sr_get_one(self, INT64_MAX, &record, &result);
    if (SR_UNLIKELY(result != SR_OK && result != SR_SHUT_DOWN)) /* shut down and drained: the end of the iteration */
        sr_raise(self, result, CONSUMING, 0, INT64_MAX);
    return sr_answer(self, CONSUMING, message);
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
    bool ours;
    do {
        result = sr_try_take(&self->endpoint, (uint64_t)buffer.len, &record);
        if (SR_UNLIKELY(result != SR_OK && result != SR_TOO_LONG))
            result = sr_wait_and_take(self, (uint64_t)buffer.len, timeout_ns, &record);
        if (SR_UNLIKELY(result != SR_OK))
            break;
        sr_copy(self, CONSUMING, buffer.buf, record.payload, record.length);
        if (SR_UNLIKELY(record.length >= LONG_ENOUGH_TO_LET_OTHERS_RUN) && sr_serve_signals(self, &ours) != 0) {
            if (ours)
                sr_hand_back(&self->endpoint, &record);
            PyBuffer_Release(&buffer);
            return sr_answer(self, CONSUMING, NULL);
        }
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
