/* batches.c - put_many and get_many: as many messages as there are, with announcements saved. */
#include <string.h>

#include "message.h"

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

static const struct sr_wait *wait_of(struct batch *batch) {
    announce_puts(batch);
    if (!batch->call_begun)
        sr_call_begin(&batch->call, batch->ring, PRODUCING, batch->timeout_ns);
    batch->call_begun = true;
    return &batch->call.wait;
}

/* The exception that is set says how many went in; `unsent` is the item that did not, or NULL. */
static void tell_how_many(struct batch *batch, PyObject *unsent) {
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *answer = PyObject_CallMethod((PyObject *)batch->ring, "_tell_how_many", "OnOO", error, batch->done,
                                           unsent ? Py_True : Py_False, unsent ? unsent : Py_None);
    if (!answer)
        PyErr_WriteUnraisable((PyObject *)batch->ring); /* without the words, then */
    Py_XDECREF(answer);
    PyErr_Restore(type, error, traceback);
}

static enum sr_result put_one_in_ring(struct batch *batch, const struct message *message) {
    struct ring *self = batch->ring;
    struct sr_record record;
    enum sr_result result = sr_try_claim(&self->endpoint, message->length, &record);
    if (SR_UNLIKELY(result != SR_OK && result != SR_TOO_LONG))
        result = sr_claim(&self->endpoint, message->length, wait_of(batch), &record);
    if (SR_UNLIKELY(result != SR_OK))
        return result;
    result = sr_message_fill(self, &self->endpoint, &record, message);
    if (++batch->unannounced == BATCH_BETWEEN_ANNOUNCEMENTS)
        announce_puts(batch);
    return result;
}

/* Each is announced at once, in the link where it is. */
static enum sr_result put_one_in_queue(struct batch *batch, const struct message *message) {
    struct ring *self = batch->ring;
    struct placed placed;
    struct sr_queue_standing standing = {0};
    enum sr_result result = sr_queue_claim_for(self, message->length, wait_of(batch), &standing, &placed);
    if (SR_UNLIKELY(standing.since))
        sr_queue_give_up(self->queue, &standing);
    if (SR_UNLIKELY(result != SR_OK))
        return result;
    result = sr_message_fill(self, placed.at, &placed.record, message);
    sr_announce(placed.at, 1);
    sr_done_with(self, placed.at);
    return result;
}

/* SR_OK, or why this item did not go in. -1 with an exception set for an item that is no message. */
static int put_item(struct batch *batch, PyObject *item) {
    struct ring *self = batch->ring;
    struct message message;
    if (!sr_message_open(self, item, &message))
        return -1;
    enum sr_result result = (self->queue ? put_one_in_queue : put_one_in_ring)(batch, &message);
    batch->done += result == SR_OK;
    if (SR_UNLIKELY(result != SR_OK && result != SR_TIMED_OUT))
        sr_raise(self, result, PRODUCING, message.length, batch->timeout_ns);
    size_t length = message.length;
    sr_message_close(&message);
    if (SR_UNLIKELY(result == SR_TIMED_OUT))
        batch->call.length = length;
    return result == SR_OK || result == SR_TIMED_OUT ? (int)result : -1;
}

/* A list or tuple: its items are at hand, so that announcements can be saved; the count tells which did not go in. */
static bool put_sequence(struct batch *batch, PyObject *sequence) {
    /* A list may change while the interpreter is let go: ask for its length each time, and hold on to the item. */
    bool is_list = PyList_CheckExact(sequence);
    for (Py_ssize_t i = 0; i < (is_list ? PyList_Size(sequence) : PyTuple_Size(sequence)); i++) {
        PyObject *item = Py_NewRef(is_list ? PyList_GetItem(sequence, i) : PyTuple_GetItem(sequence, i));
        int result = put_item(batch, item);
        if (SR_UNLIKELY(result != SR_OK)) {
            announce_puts(batch);
            bool some_went = result == SR_TIMED_OUT && batch->done;
            if (result == SR_TIMED_OUT && !some_went)
                sr_raise(batch->ring, SR_TIMED_OUT, PRODUCING, batch->call.length, batch->timeout_ns);
            if (!some_went)
                tell_how_many(batch, item);
            Py_DECREF(item);
            return some_went;
        }
        Py_DECREF(item);
    }
    return true;
}

/* Room for some message: an item that is taken from an iterator cannot be given back to it. */
static int wait_for_room(struct batch *batch) {
    struct ring *self = batch->ring;
    if (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING))
        return -1;
    enum sr_result result = self->queue ? SR_FULL : sr_try_room(&self->endpoint, 0);
    if (self->queue)
        result = sr_queue_wait_for_room(self->queue, 0, wait_of(batch));
    else if (SR_UNLIKELY(result != SR_OK))
        result = sr_wait_for_room(&self->endpoint, 0, wait_of(batch));
    if (result == SR_OK || (result == SR_TIMED_OUT && batch->done))
        return (int)result;
    sr_raise(self, result, PRODUCING, 0, batch->timeout_ns);
    return -1;
}

/* Any other iterable: its next item may be long in coming, so what went in is announced first. Its code may also close
 * this ring, or use it. An item that it gave and that does not go in is in the exception. */
static bool put_iterable(struct batch *batch, PyObject *iterable) {
    PyObject *iterator = PyObject_GetIter(iterable);
    if (!iterator)
        return false;
    struct ring *self = batch->ring;
    int result;
    PyObject *item = NULL;
    while ((result = wait_for_room(batch)) == SR_OK && (item = PyIter_Next(iterator))) {
        result = sr_gate_open(self, PRODUCING) || sr_pass_gate(self, PRODUCING) ? put_item(batch, item) : -1;
        announce_puts(batch);
        if (result != SR_OK)
            break;
        Py_CLEAR(item);
    }
    Py_DECREF(iterator);
    if (item && result == SR_TIMED_OUT)
        sr_raise(self, SR_TIMED_OUT, PRODUCING, batch->call.length, batch->timeout_ns);
    bool fine = !PyErr_Occurred();
    if (!fine)
        tell_how_many(batch, item);
    Py_XDECREF(item);
    return fine;
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

/* Messages on their way into a list. It has room for them before they are taken, filled with None: a list with gaps must
 * not be seen by other threads, and nothing may fail once a message is acknowledged. */
struct harvest {
    PyObject *list;
    Py_ssize_t room, count;
};

static bool make_room_in(struct harvest *harvest, Py_ssize_t more) {
    PyObject *blank = PyList_New(more);
    for (Py_ssize_t i = 0; blank && i < more; i++)
        PyList_SetItem(blank, i, Py_NewRef(Py_None));
    bool fine = blank != NULL;
    if (fine && !harvest->list)
        harvest->list = Py_NewRef(blank);
    else if (fine)
        fine = PyList_SetSlice(harvest->list, harvest->room, harvest->room, blank) == 0;
    Py_XDECREF(blank);
    harvest->room += fine ? more : 0;
    return fine;
}

/* The list without what it has too much; a few at a time, which takes no memory. */
static PyObject *finished(struct harvest *harvest) {
    enum { A_FEW = 4 };
    while (harvest->room > harvest->count) {
        Py_ssize_t begin = harvest->room - A_FEW < harvest->count ? harvest->count : harvest->room - A_FEW;
        PyList_SetSlice(harvest->list, begin, harvest->room, NULL);
        harvest->room = begin;
    }
    return harvest->list;
}

/* From the first record on, each acknowledged as it is copied: no code but ours runs in between. NULL with an exception set
 * when not even one was; or *again: that one was overwritten, and none is set. */
static PyObject *take_bytes(struct ring *self, Py_ssize_t limit, struct sr_record *record, bool *again) {
    struct harvest harvest = {.list = NULL};
    uint64_t granules = 0, bytes = 0, redelivered = 0;
    Py_ssize_t uncounted = 0;
    do {
        if (harvest.count == harvest.room && !make_room_in(&harvest, limit - harvest.count < BATCH_BETWEEN_ANNOUNCEMENTS
                                                                         ? limit - harvest.count
                                                                         : BATCH_BETWEEN_ANNOUNCEMENTS)) {
            sr_hand_back(&self->endpoint, record);
            break;
        }
        PyObject *message = sr_deliver(self, &self->endpoint, record, again);
        if (!message)
            break;
        PyList_SetItem(harvest.list, harvest.count++, message);
        granules += sr_granules_for(record->length);
        bytes += record->length;
        redelivered += record->redelivered;
        if (++uncounted == BATCH_BETWEEN_ANNOUNCEMENTS) {
            sr_count_got(self, (uint64_t)uncounted, bytes, redelivered);
            sr_announce_room(&self->endpoint);
            uncounted = 0;
            bytes = redelivered = 0;
        }
        /* One ring's worth at most: a fast producer must not keep us for ever. */
    } while (harvest.count < limit && granules < self->endpoint.geometry.granules && !self->gate[CONSUMING] &&
             sr_try_take(&self->endpoint, UINT64_MAX, record) == SR_OK);
    if (uncounted)
        sr_count_got(self, (uint64_t)uncounted, bytes, redelivered);
    sr_announce_room(&self->endpoint);
    if (!harvest.count) {
        Py_XDECREF(harvest.list);
        return NULL;
    }
    PyErr_Clear(); /* out of memory after some: those first; the message was handed back, and says it again */
    return finished(&harvest);
}

/* Records that are taken, and decoded, and not settled. */
struct taken {
    struct placed *each;
    size_t count, room;
};

static bool remember(struct taken *taken, const struct placed *placed) {
    if (taken->count == taken->room) {
        size_t room = taken->room ? 2 * taken->room : 16;
        struct placed *more = PyMem_Realloc(taken->each, room * sizeof *more);
        if (!more) {
            PyErr_NoMemory();
            return false;
        }
        taken->each = more;
        taken->room = room;
    }
    taken->each[taken->count++] = *placed;
    return true;
}

static bool settle_all(struct ring *self, const struct taken *taken) {
    enum sr_result result = SR_OK;
    for (size_t i = 0; i < taken->count; i++) {
        struct placed *placed = &taken->each[i];
        sr_count_task(self, 1);
        enum sr_result one = sr_settle(placed->at, &placed->record);
        if (one == SR_OK) {
            sr_count_got(self, 1, placed->record.length, placed->record.redelivered);
        } else {
            sr_count_task(self, -1);
            result = one;
        }
        if (i + 1 == taken->count || taken->each[i + 1].at != placed->at)
            sr_announce_room(placed->at);
    }
    bool at_once = false;
    for (size_t i = 0; i < taken->count; i++) {
        if (self->queue)
            at_once = sr_queue_note_taken(self->queue, (struct sr_link *)taken->each[i].at);
        sr_done_with(self, taken->each[i].at);
    }
    if (at_once)
        sr_tidy_up(self);
    if (result != SR_OK)
        sr_raise(self, result, CONSUMING, 0, 0); /* we were taken for dead: they are delivered elsewhere */
    return result == SR_OK;
}

static void hand_back(struct ring *self, struct placed *placed) {
    (void)sr_hand_back(placed->at, &placed->record);
    if (self->queue)
        sr_queue_handed_back_to(self, placed->at);
}

/* One that cannot be decoded, where that is to be gone: the error about it stays. */
static void drop(struct ring *self, struct placed *placed) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    const struct taken alone = {.each = placed, .count = 1};
    if (!settle_all(self, &alone))
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
}

static void hand_all_back(struct ring *self, const struct taken *taken) {
    for (size_t i = 0; i < taken->count; i++)
        hand_back(self, &taken->each[i]);
    sr_announce_room(&self->endpoint);
}

/* A further record: it is there already. */
static enum sr_result take_next(struct ring *self, struct placed *placed) {
    if (!self->queue) {
        const struct sr_record before = placed->record;
        return sr_try_take_next(&self->endpoint, &before, &placed->record);
    }
    struct call call;
    sr_call_begin(&call, self, CONSUMING, 0);
    return sr_queue_take_for(self, &call.wait, placed);
}

/* Decodes records from this one on until one fails; what was remembered is in the list. True when the last is to be handed
 * back. */
static bool decode_some(struct ring *self, Py_ssize_t limit, struct placed *placed, PyObject *list, struct taken *taken,
                        bool *again) {
    uint64_t granules = 0;
    uint64_t most = self->queue ? sr_queue_reserved(self->queue) >> SR_GRANULE_SHIFT : self->endpoint.geometry.granules;
    for (;;) {
        bool settled;
        PyObject *object = sr_read_taken(self, placed->at, &placed->record, again, &settled);
        if (!object)
            return !settled && !*again;
        bool stored = remember(taken, placed) && PyList_Append(list, object) == 0;
        Py_DECREF(object);
        if (!stored)
            return true;
        granules += sr_granules_for(placed->record.length);
        if ((Py_ssize_t)taken->count >= limit || granules >= most || self->gate[CONSUMING] ||
            take_next(self, placed) != SR_OK)
            return false;
    }
}

/* The same for objects. Their codec runs code, and so do signals then: so all are settled at the end, or handed back. One
 * that cannot be decoded ends the batch; with whatever came between, nothing was taken at all. */
static PyObject *take_objects(struct ring *self, Py_ssize_t limit, struct placed *placed, bool *again) {
    uint32_t generation = sr_fork_generation;
    struct taken taken = {.each = NULL};
    PyObject *list = PyList_New(0);
    bool unsettled = !list || decode_some(self, limit, placed, list, &taken, again);
    if (generation == sr_fork_generation) { /* or we are a child that was forked by the codec: nothing is ours */
        bool is_last_alone = (Py_ssize_t)taken.count > (list ? PyList_Size(list) : 0); /* remembered, and not stored */
        if (is_last_alone)
            taken.count--;
        bool some_are_good = taken.count && (!PyErr_Occurred() || sr_is_decode_error());
        if (some_are_good)
            PyErr_Clear(); /* the undecodable one is for the next call to tell of */
        else
            hand_all_back(self, &taken);
        if (unsettled && self->drops_undecodable && PyErr_Occurred() && sr_is_decode_error())
            drop(self, placed);
        else if (unsettled)
            hand_back(self, placed);
        if (!some_are_good || !settle_all(self, &taken))
            Py_CLEAR(list);
    } else {
        Py_CLEAR(list);
    }
    PyMem_Free(taken.each);
    return list;
}

static enum sr_result take_first(struct ring *self, int64_t timeout_ns, struct placed *placed) {
    if (self->queue) {
        struct call call;
        sr_call_begin(&call, self, CONSUMING, timeout_ns);
        return sr_queue_take_for(self, &call.wait, placed);
    }
    placed->at = &self->endpoint;
    enum sr_result result = sr_try_take(&self->endpoint, UINT64_MAX, &placed->record);
    return result == SR_OK ? result : sr_wait_and_take(self, UINT64_MAX, timeout_ns, &placed->record);
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
    if (self->queue)
        sr_tidy_up(self);
    enum sr_result result;
    bool again;
    do {
        struct placed placed;
        again = false;
        result = take_first(self, timeout_ns, &placed);
        if (result == SR_OK)
            messages = self->decode ? take_objects(self, limit, &placed, &again)
                                    : take_bytes(self, limit, &placed.record, &again);
    } while (again && !messages && (result = sr_retry(&retry)) == SR_OK);
    if (result != SR_OK)
        sr_raise(self, result, CONSUMING, 0, timeout_ns);
    return sr_answer(self, CONSUMING, messages);
}
