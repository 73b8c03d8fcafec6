/* message.h - one message on its way in, and one on its way out: what put_get.c, batches.c and event_loop.c share.
 * Inline, because it is the fast path: no call to the operating system, no allocation but the message itself. */
#ifndef SHMRING_BINDING_MESSAGE_H
#define SHMRING_BINDING_MESSAGE_H

#include "attachment.h"

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

/* What a codec made: most often bytes. False: an exception is set. */
bool sr_message_open_made(struct ring *self, PyObject *made, struct message *message);
bool sr_message_open_object(struct ring *self, PyObject *object, struct message *message);
void sr_message_let_go(struct message *message);
enum sr_result sr_wait_and_claim(struct ring *self, uint64_t length, int64_t timeout_ns, struct sr_record *record);
enum sr_result sr_wait_and_take(struct ring *self, uint64_t limit, int64_t timeout_ns, struct sr_record *record);

/* Bytes are read in place, anything else through the buffer protocol, or what the codec makes of it. */
static inline bool sr_message_open(struct ring *self, PyObject *object, struct message *message) {
    if (SR_UNLIKELY(self->encode != NULL))
        return sr_message_open_object(self, object, message);
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

static inline void sr_message_close(struct message *message) {
    if (SR_UNLIKELY(message->holding != HELD_BY_CALLER))
        sr_message_let_go(message);
}

/* Copies and commits; the caller announces. */
static inline enum sr_result sr_message_fill(struct ring *self, struct sr_endpoint *at, struct sr_record *record,
                                             const struct message *message) {
    const struct parts *parts = &message->held.parts;
    if (SR_UNLIKELY(message->holding == HELD_PARTS))
        sr_gather(self, record->payload, parts->each, parts->count, message->length);
    else
        sr_copy(self, PRODUCING, record->payload, message->data, message->length);
    sr_count_put(self, message->length);
    return sr_commit(at, record);
}

/* Copies a taken record into a new bytes object and acknowledges it; the caller announces the room. *again: it was
 * overwritten meanwhile, and no exception is set. */
static inline PyObject *sr_deliver(struct ring *self, struct sr_endpoint *at, struct sr_record *record, bool *again) {
    bool is_short = record->length < LONG_ENOUGH_TO_LET_OTHERS_RUN;
    PyObject *message =
        PyBytes_FromStringAndSize(is_short ? (const char *)record->payload : NULL, (Py_ssize_t)record->length);
    if (SR_UNLIKELY(!message)) {
        sr_hand_back(at, record);
        return NULL;
    }
    if (SR_UNLIKELY(!is_short)) {
        bool ours;
        sr_copy(self, CONSUMING, PyBytes_AsString(message), record->payload, record->length);
        if (sr_serve_signals(self, &ours) != 0) { /* it took long enough for one to come */
            Py_DECREF(message);
            if (ours)
                sr_hand_back(at, record);
            return NULL;
        }
    }
    enum sr_result result = sr_acknowledge(at, record);
    if (SR_UNLIKELY(result != SR_OK)) {
        Py_DECREF(message);
        *again = result == SR_OVERWRITTEN;
        return *again ? NULL : sr_raise(self, result, CONSUMING, record->length, 0);
    }
    return message;
}

/* The next message, waited for, its room announced. NULL: for the reason in *result, or with an exception set where that is
 * SR_OK. */
static inline PyObject *sr_get_one(struct ring *self, int64_t timeout_ns, struct sr_record *record,
                                   enum sr_result *result) {
    struct retry retry = {.timeout_ns = timeout_ns};
    for (;;) {
        *result = sr_try_take(&self->endpoint, UINT64_MAX, record);
        if (SR_UNLIKELY(*result != SR_OK))
            *result = sr_wait_and_take(self, UINT64_MAX, timeout_ns, record);
        if (SR_UNLIKELY(*result != SR_OK))
            return NULL;
        PyObject *message = NULL;
        bool again = false;
        if (SR_UNLIKELY(self->decode != NULL))
            message = sr_receive(self, &self->endpoint, record, &again);
        else if (SR_LIKELY((message = sr_deliver(self, &self->endpoint, record, &again)) != NULL))
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

#endif
