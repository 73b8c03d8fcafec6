/* py_batches.c - put_many and get_many: as many messages as there are, with announcements saved. */
#include <string.h>

#include "py_message.h"

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
    if (!sr_message_open(self, item, &message))
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
        result = sr_message_fill(self, &record, &message);
        batch->done++;
        if (++batch->unannounced == BATCH_BETWEEN_ANNOUNCEMENTS)
            announce_puts(batch);
    } else if (result != SR_TIMED_OUT || !batch->done) {
        sr_raise(self, result, PRODUCING, message.length, batch->timeout_ns);
        sr_message_close(&message);
        return -1;
    }
    sr_message_close(&message);
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
        PyObject *message = self->decode ? sr_receive(self, record, again) : sr_deliver(self, record, again);
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
            result = sr_wait_and_take(self, UINT64_MAX, timeout_ns, &record);
        if (result == SR_OK)
            messages = take_what_is_there(self, limit, &record, &again);
    } while (again && !messages && (result = sr_retry(&retry)) == SR_OK);
    if (result != SR_OK)
        sr_raise(self, result, CONSUMING, 0, timeout_ns);
    return sr_answer(self, CONSUMING, messages);
}
