/* event_loop.c - put and get for tasks of an event loop: they answer where the others wait. */
#include "message.h"

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
    PyObject *message =
        self->queue ? sr_queue_get_one(self, 0, &record, &result) : sr_get_one(self, 0, &record, &result);
    if (result == SR_TIMED_OUT)
        message = Py_NewRef(sr_nothing);
    else if (SR_UNLIKELY(result != SR_OK))
        sr_raise(self, result, CONSUMING, 0, 0);
    else
        count_turn(self, record.length);
    return sr_answer(self, CONSUMING, message);
}

/* What an attempt leaves for the next; the one or the other. */
struct standing {
    struct sr_standing in_line;
    struct sr_queue_standing in_queue;
};

static enum sr_result try_put_in_queue(struct ring *self, const struct message *message,
                                       struct sr_queue_standing *standing) {
    struct call call;
    struct placed placed;
    sr_call_begin(&call, self, PRODUCING, 0);
    enum sr_result result = sr_queue_claim_for(self, message->length, &call.wait, standing, &placed);
    if (SR_UNLIKELY(result != SR_OK))
        return result;
    sr_queue_give_up(self->queue, standing);
    result = sr_message_fill(self, placed.at, &placed.record, message);
    sr_announce(placed.at, 1);
    sr_done_with(self, placed.at);
    count_turn(self, message->length);
    return result;
}

static enum sr_result try_put_in_ring(struct ring *self, const struct message *message, struct sr_standing *standing) {
    struct sr_record record;
    enum sr_result result = sr_try_claim_again(&self->endpoint, message->length, standing, &record);
    if (SR_UNLIKELY(result != SR_OK && result != SR_TOO_LONG))
        result = sr_wait_and_claim(self, message->length, 0, &record);
    if (SR_UNLIKELY(result != SR_OK))
        return result;
    sr_give_up(&self->endpoint, standing);
    result = sr_message_fill(self, &self->endpoint, &record, message);
    sr_announce(&self->endpoint, 1);
    count_turn(self, message->length);
    return result;
}

static enum sr_result put_now(struct ring *self, const struct message *message, struct standing *standing) {
    return self->queue ? try_put_in_queue(self, message, &standing->in_queue)
                       : try_put_in_ring(self, message, &standing->in_line);
}

static void give_up(struct ring *self, struct standing *standing) {
    if (self->queue)
        sr_queue_give_up(self->queue, &standing->in_queue);
    else
        sr_give_up(&self->endpoint, &standing->in_line);
}

/* A message that waits for room: opened, and encoded, once. */
static const char HELD[] = "shmring held message";
struct held {
    struct message message;
    struct standing standing;
    struct ring *ring;
    uint32_t generation;
};

static void free_held(PyObject *capsule) {
    struct held *held = PyCapsule_GetPointer(capsule, HELD);
    if (held->ring->attached && held->generation == sr_fork_generation)
        give_up(held->ring, &held->standing);
    sr_message_close(&held->message);
    Py_DECREF((PyObject *)held->ring);
    PyMem_Free(held);
}

static PyObject *hold_data(struct ring *self, PyObject *data) {
    struct held *held = PyMem_Calloc(1, sizeof *held); /* it has pointers into itself: it cannot move */
    if (!held)
        return PyErr_NoMemory();
    if (!sr_message_open(self, data, &held->message)) {
        PyMem_Free(held);
        return NULL;
    }
    held->ring = self;
    held->generation = sr_fork_generation;
    PyObject *capsule = PyCapsule_New(held, HELD, free_held);
    if (!capsule) {
        sr_message_close(&held->message);
        PyMem_Free(held);
        return NULL;
    }
    Py_INCREF((PyObject *)self);
    return capsule;
}

/* put_or_hold(data): None when it is put; else the message for put_held, and its length. */
PyObject *sr_ring_put_or_hold(PyObject *object, PyObject *data) {
    struct ring *self = (struct ring *)object;
    if (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING))
        return NULL;
    PyObject *held = NULL;
    struct message plain;
    struct message *message = &plain;
    struct standing none = {0};
    struct standing *standing = &none;
    if (self->encode) {
        held = hold_data(self, data);
        struct held *found = held ? PyCapsule_GetPointer(held, HELD) : NULL;
        message = found ? &found->message : NULL;
        standing = found ? &found->standing : NULL;
    } else if (!sr_message_open(self, data, &plain)) {
        message = NULL;
    }
    if (!message)
        return NULL;
    size_t length = message->length;
    enum sr_result result = turn_is_over(self) ? SR_TIMED_OUT : put_now(self, message, standing);
    if (!held)
        sr_message_close(message);
    PyObject *answer = NULL;
    if (standing == &none)
        give_up(self, &none);
    if (SR_LIKELY(result == SR_OK))
        answer = Py_NewRef(Py_None);
    else if (result != SR_TIMED_OUT)
        sr_raise(self, result, PRODUCING, length, 0);
    else if (held || (held = hold_data(self, data)))
        answer = Py_BuildValue("(On)", held, (Py_ssize_t)length);
    Py_XDECREF(held);
    return sr_answer(self, PRODUCING, answer);
}

/* put_held(held): whether there was room. */
PyObject *sr_ring_put_held(PyObject *object, PyObject *capsule) {
    struct ring *self = (struct ring *)object;
    struct held *held = PyCapsule_GetPointer(capsule, HELD);
    if (!held || (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING)))
        return NULL;
    self->turn = 0;
    enum sr_result result = put_now(self, &held->message, &held->standing);
    PyObject *answer = NULL;
    if (result == SR_OK || result == SR_TIMED_OUT)
        answer = PyBool_FromLong(result == SR_OK);
    else
        sr_raise(self, result, PRODUCING, held->message.length, 0);
    return sr_answer(self, PRODUCING, answer);
}
