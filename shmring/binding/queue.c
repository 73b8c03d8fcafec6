/* queue.c - the *chain* under shmring.Queue and its kin: the attachment to a queue's first ring, with its further links.
 * A user's calls (queue_calls.c) are here to the last step, so that no bytecode, and no signal's handler, comes between
 * a message that is taken and the call's return.
 */
#include "message.h"

struct chain {
    struct ring ring;
    struct sr_queue queue;
};

/* --- claiming and taking --- */

enum sr_result sr_queue_claim_for(struct ring *self, uint64_t length, const struct sr_wait *wait,
                                  struct sr_queue_standing *standing, struct placed *placed) {
    struct sr_placed found;
    enum sr_result result = sr_queue_try_claim(self->queue, length, &found);
    if (SR_UNLIKELY(result != SR_OK))
        result = sr_queue_claim(self->queue, length, wait, standing, &found);
    placed->at = &found.link->endpoint;
    placed->record = found.record;
    return result;
}

enum sr_result sr_queue_take_for(struct ring *self, const struct sr_wait *wait, struct placed *placed) {
    struct sr_placed found;
    enum sr_result result = sr_queue_try_take(self->queue, &found);
    if (SR_UNLIKELY(result != SR_OK))
        result = sr_queue_take(self->queue, wait, &found);
    placed->at = &found.link->endpoint;
    placed->record = found.record;
    return result;
}

void sr_queue_handed_back_to(struct ring *self, struct sr_endpoint *at) {
    sr_queue_handed_back(self->queue, (struct sr_link *)at);
    sr_queue_leave(self->queue, (struct sr_link *)at);
}

/* May so much be taken of what a container has? queues/chain.py knows. */
static enum sr_result may_afford(void *context, uint64_t bytes) {
    struct ring *self = context;
    self->calls++; /* other threads run meanwhile, and may close it: not under us */
    PyObject *answer = PyObject_CallMethod(context, "_afford", "K", (unsigned long long)bytes);
    self->calls--;
    bool may = answer == Py_True;
    Py_XDECREF(answer);
    if (!answer)
        return SR_INTERRUPTED;
    if (SR_LOAD(&self->endpoint.closing, relaxed))
        return SR_CLOSED;
    return may ? SR_OK : SR_NO_SPACE;
}

/* --- one message --- */

PyObject *sr_queue_put_object(struct ring *self, PyObject *object, int64_t timeout_ns) {
    if (!sr_gate_open(self, PRODUCING) && !sr_pass_gate(self, PRODUCING))
        return NULL;
    struct message message;
    if (!sr_message_open(self, object, &message))
        return NULL;
    struct call call;
    struct placed placed;
    struct sr_queue_standing standing = {0};
    sr_call_begin(&call, self, PRODUCING, timeout_ns);
    enum sr_result result = sr_queue_claim_for(self, message.length, &call.wait, &standing, &placed);
    if (SR_UNLIKELY(standing.since))
        sr_queue_give_up(self->queue, &standing);
    if (SR_LIKELY(result == SR_OK)) {
        result = sr_message_fill(self, placed.at, &placed.record, &message);
        sr_announce(placed.at, 1);
        sr_done_with(self, placed.at);
    }
    size_t length = message.length;
    sr_message_close(&message);
    PyObject *answer =
        SR_LIKELY(result == SR_OK) ? Py_NewRef(Py_None) : sr_raise(self, result, PRODUCING, length, timeout_ns);
    return sr_answer(self, PRODUCING, answer);
}

void sr_tidy_up(struct ring *self) {
    if (SR_LIKELY(!self->queue->untidy))
        return;
    struct call call;
    sr_call_begin(&call, self, CONSUMING, 0);
    sr_queue_tidy_up(self->queue, &call.wait);
}

/* The object of a record that was taken. The record is settled, or handed back with an exception set. */
static PyObject *receive(struct ring *self, struct placed *placed) {
    uint32_t generation = sr_fork_generation;
    bool again = false; /* never: nothing is overwritten */
    PyObject *object = sr_receive(self, placed->at, &placed->record, &again);
    if (SR_UNLIKELY(generation != sr_fork_generation))
        return object; /* we are a child that was forked by the codec */
    sr_announce_room(placed->at);
    if (SR_UNLIKELY(!object)) {
        sr_queue_handed_back_to(self, placed->at);
        return NULL;
    }
    bool at_once = sr_queue_note_taken(self->queue, (struct sr_link *)placed->at);
    sr_done_with(self, placed->at);
    if (SR_UNLIKELY(at_once))
        sr_tidy_up(self);
    return object;
}

PyObject *sr_queue_get_one(struct ring *self, int64_t timeout_ns, struct sr_record *record, enum sr_result *result) {
    struct call call;
    struct placed placed;
    sr_call_begin(&call, self, CONSUMING, timeout_ns);
    sr_tidy_up(self);
    *result = sr_queue_take_for(self, &call.wait, &placed);
    if (SR_UNLIKELY(*result != SR_OK))
        return NULL;
    *record = placed.record;
    return receive(self, &placed);
}

PyObject *sr_queue_get_object(struct ring *self, int64_t timeout_ns) {
    if (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING))
        return NULL;
    enum sr_result result;
    struct sr_record record;
    PyObject *object = sr_queue_get_one(self, timeout_ns, &record, &result);
    if (SR_UNLIKELY(result != SR_OK))
        sr_raise(self, result, CONSUMING, 0, timeout_ns);
    return sr_answer(self, CONSUMING, object);
}

/* --- the chain --- */

static PyObject *chain_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    PyObject *object = sr_attachment_new(type, args, kwargs);
    struct chain *self = (struct chain *)object;
    if (self) {
        self->ring.queue = &self->queue;
        self->queue.afford = may_afford;
        self->queue.context = self;
    }
    return object;
}

/* skip(identity, position, timeout): a message as bytes, past the codec: the next, or the one at this place; None if it is
 * not there to be taken again. */
static PyObject *chain_skip(PyObject *object, PyObject *args) {
    struct ring *self = (struct ring *)object;
    unsigned long long identity, position;
    PyObject *timeout;
    int64_t timeout_ns;
    if (!PyArg_ParseTuple(args, "KKO", &identity, &position, &timeout) || !sr_parse_timeout(timeout, &timeout_ns) ||
        (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING)))
        return NULL;
    struct call call;
    struct placed placed;
    sr_call_begin(&call, self, CONSUMING, timeout_ns);
    enum sr_result result;
    if (position) {
        struct sr_placed found;
        result = sr_queue_take_again(self->queue, identity, position, &found);
        placed = (struct placed){&found.link->endpoint, found.record};
    } else {
        result = sr_queue_take_for(self, &call.wait, &placed);
    }
    if (result == SR_EMPTY)
        return sr_answer(self, CONSUMING, Py_NewRef(Py_None));
    if (result != SR_OK)
        return sr_answer(self, CONSUMING, sr_raise(self, result, CONSUMING, 0, timeout_ns));
    bool again = false;
    sr_count_task(self, 1);
    PyObject *message = sr_deliver(self, placed.at, &placed.record, &again);
    if (message)
        sr_count_got(self, 1, placed.record.length, placed.record.redelivered);
    else
        sr_count_task(self, -1);
    sr_announce_room(placed.at);
    bool at_once = message && sr_queue_note_taken(self->queue, (struct sr_link *)placed.at);
    sr_queue_handed_back_to(self, placed.at);
    if (at_once)
        sr_tidy_up(self);
    return sr_answer(self, CONSUMING, message);
}

/* Which link one would put into, or get from. */
static bool link_for(struct ring *self, PyObject *argument, struct sr_link **link, enum side *side) {
    *side = PyLong_AsLong(argument) == PRODUCING ? PRODUCING : CONSUMING;
    if (PyErr_Occurred() || (!sr_gate_open(self, *side) && !sr_pass_gate(self, *side)))
        return false;
    enum sr_result result = sr_queue_link_for(self->queue, *side == PRODUCING, link);
    if (result != SR_OK)
        sr_raise(self, result, *side, 0, 0);
    return result == SR_OK;
}

static PyObject *chain_link_at(PyObject *object, PyObject *argument) {
    struct ring *self = (struct ring *)object;
    struct sr_link *link;
    enum side side;
    if (!link_for(self, argument, &link, &side))
        return NULL;
    sr_queue_leave(self->queue, link);
    return PyLong_FromUnsignedLongLong(link->index);
}

static PyObject *chain_watch(PyObject *object, PyObject *argument) {
    struct ring *self = (struct ring *)object;
    struct sr_link *link;
    enum side side;
    if (!link_for(self, argument, &link, &side))
        return NULL;
    struct sr_header *header = link->endpoint.header;
    return sr_watch_new_in(self, link, side == PRODUCING ? &header->room : &header->items);
}

static PyObject *chain_pass_on(PyObject *object, PyObject *const *args, Py_ssize_t count) {
    struct ring *self = (struct ring *)object;
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "_pass_on() takes a side and whether it took, not %zd values", count);
    bool is_claim = PyLong_AsLong(args[0]) == PRODUCING;
    struct sr_link *link = self->attached && self->generation == sr_fork_generation ? self->queue->get : NULL;
    if (link && !is_claim && sr_queue_try_enter(self->queue, link) == SR_OK) {
        sr_pass_on(&link->endpoint, false, args[1] == Py_True);
        sr_queue_leave(self->queue, link);
    }
    Py_RETURN_NONE;
}

static bool is_usable(struct ring *self) {
    if (self->generation != sr_fork_generation && !sr_pass_gate(self, CONSUMING))
        return false;
    if (self->attached && !(self->gate[CONSUMING] & GATE_CLOSED))
        return true;
    sr_raise(self, SR_CLOSED, CONSUMING, 0, 0);
    return false;
}

/* Would a put of a small message fail now? */
static PyObject *chain_is_full(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!is_usable(self))
        return NULL;
    enum sr_result result = sr_queue_try_room(self->queue, 1);
    bool answers = result == SR_OK || result == SR_FULL || result == SR_SHUT_DOWN;
    return sr_answer(self, CONSUMING,
                     answers ? PyBool_FromLong(result == SR_FULL) : sr_raise(self, result, PRODUCING, 1, 0));
}

static PyObject *chain_shut_down(PyObject *object, PyObject *argument) {
    struct ring *self = (struct ring *)object;
    int immediate = PyObject_IsTrue(argument);
    if (immediate < 0 || !is_usable(self))
        return NULL;
    enum sr_result result = sr_queue_shut_down(self->queue, immediate ? SR_STOPPED : SR_DRAINING);
    return sr_answer(self, CONSUMING, result == SR_OK ? Py_NewRef(Py_None) : sr_raise(self, result, PRODUCING, 0, 0));
}

static PyObject *chain_tidy(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!is_usable(self))
        return NULL;
    struct call call;
    sr_call_begin(&call, self, CONSUMING, 0);
    return sr_answer(self, CONSUMING, PyBool_FromLong(sr_queue_tidy(self->queue, &call.wait, 0)));
}

/* --- tasks --- */

static int64_t unfinished(struct ring *self) {
    struct sr_contents contents; /* first: a task is counted as pending before it leaves the queue */
    enum sr_result result = sr_contents_by_the_living(&self->endpoint, &contents);
    if (result != SR_OK) {
        sr_raise(self, result, CONSUMING, 0, 0);
        return -1;
    }
    int64_t all = (int64_t)(contents.ready + contents.claimed + contents.taken) + sr_queue_pending(self->queue);
    return all < 0 ? 0 : all;
}

static PyObject *chain_unfinished(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!is_usable(self))
        return NULL;
    int64_t count = unfinished(self);
    return sr_answer(self, CONSUMING, count < 0 ? NULL : PyLong_FromLongLong(count));
}

static PyObject *chain_task_done(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!is_usable(self))
        return NULL;
    sr_atomic_u64 *mine = &self->queue->control->pending[self->endpoint.slot];
    int64_t count = (int64_t)SR_LOAD(mine, relaxed) > 0 ? 1 : unfinished(self);
    if (count < 1)
        return sr_answer(self, CONSUMING, count < 0 ? NULL : Py_NewRef(Py_False));
    SR_ADD(mine, (uint64_t)-1, acq_rel);
    sr_event_notify(&self->queue->control->done, SR_WAKE_ALL);
    return sr_answer(self, CONSUMING, Py_NewRef(Py_True));
}

/* wait_for_tasks(seconds): True when all are done; else False, after so long at most. */
static PyObject *chain_wait_for_tasks(PyObject *object, PyObject *timeout) {
    struct ring *self = (struct ring *)object;
    int64_t timeout_ns;
    if (!sr_parse_timeout(timeout, &timeout_ns) || !is_usable(self))
        return NULL;
    struct sr_event *done = &self->queue->control->done;
    uint32_t ticket = sr_event_announce(done);
    int64_t count = unfinished(self);
    if (count > 0 && timeout_ns) {
        struct call call;
        sr_call_begin(&call, self, CONSUMING, timeout_ns);
        call.wait.hooks->suspend(&call);
        (void)sr_event_park(done, ticket, timeout_ns);
        bool interrupted = call.wait.hooks->interrupted(&call);
        call.wait.hooks->resume(&call);
        count = interrupted ? -1 : count;
    }
    return sr_answer(self, CONSUMING, count < 0 ? NULL : PyBool_FromLong(count == 0));
}

static PyObject *chain_watch_tasks(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    return is_usable(self) ? sr_watch_new(&self->queue->control->done) : NULL;
}

/* (tasks got and not done by the living, by all) */
static PyObject *chain_pending(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!is_usable(self))
        return NULL;
    int64_t living = 0;
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++) {
        uint64_t state = SR_LOAD(&self->endpoint.attachments[slot].state, acquire);
        if (sr_entry_state(state) == SR_SLOT_ATTACHED && sr_liveness(&self->endpoint, slot) != SR_OS_DEAD)
            living += (int64_t)SR_LOAD(&self->queue->control->pending[slot], acquire);
    }
    return Py_BuildValue("LL", (long long)living, (long long)sr_queue_pending(self->queue));
}

/* (waiting, being put, being got) */
static PyObject *chain_contents(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    struct sr_contents contents;
    if (!is_usable(self))
        return NULL;
    sr_tidy_up(self);
    enum sr_result result = sr_contents_by_the_living(&self->endpoint, &contents);
    return sr_answer(self, CONSUMING,
                     result == SR_OK
                         ? Py_BuildValue("KKK", (unsigned long long)contents.ready,
                                         (unsigned long long)contents.claimed, (unsigned long long)contents.taken)
                         : sr_raise(self, result, CONSUMING, 0, 0));
}

static PyObject *chain_drop_undecodable(PyObject *object, PyObject *argument) {
    ((struct ring *)object)->drops_undecodable = argument == Py_True;
    Py_RETURN_NONE;
}

static PyObject *chain_count_tasks(PyObject *object, PyObject *unused) {
    (void)unused;
    ((struct ring *)object)->counts_tasks = true;
    Py_RETURN_NONE;
}

static PyObject *attribute_of(PyObject *object, size_t offset) {
    struct ring *self = (struct ring *)object;
    if (!self->mapped || !self->queue->control)
        return sr_raise(self, SR_CLOSED, CONSUMING, 0, 0);
    return PyLong_FromUnsignedLongLong(*(uint64_t *)(void *)((char *)self->queue->control + offset));
}

static PyObject *chain_maxsize(PyObject *object, void *unused) {
    (void)unused;
    return attribute_of(object, offsetof(struct sr_control, maxsize));
}

static PyObject *chain_max_bytes(PyObject *object, void *unused) {
    (void)unused;
    return attribute_of(object, offsetof(struct sr_control, max_bytes));
}

static PyObject *chain_has_put(PyObject *object, void *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!is_usable(self))
        return NULL;
    const struct sr_attachment *entry = self->endpoint.self;
    return PyBool_FromLong(SR_LOAD(&entry->messages_put, relaxed) != SR_LOAD(&entry->base_put, relaxed));
}

static PyObject *chain_lacking(PyObject *object, void *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!is_usable(self))
        return NULL;
    return PyLong_FromUnsignedLongLong(SR_LOAD(&self->queue->lacking, relaxed));
}

static PyObject *chain_reserved(PyObject *object, void *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!self->mapped || !self->queue->control)
        return sr_raise(self, SR_CLOSED, CONSUMING, 0, 0);
    return PyLong_FromUnsignedLongLong(sr_queue_reserved(self->queue));
}

static PyObject *chain_is_shut_down(PyObject *object, void *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    return PyBool_FromLong(self->mapped && self->queue->control &&
                           SR_LOAD(&self->queue->control->shutdown, acquire) != SR_OPEN);
}

static PyObject *chain_links(PyObject *object, void *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!self->mapped || !self->queue->control)
        return sr_raise(self, SR_CLOSED, CONSUMING, 0, 0);
    const struct sr_control *control = self->queue->control;
    return Py_BuildValue("KKK", (unsigned long long)SR_LOAD(&control->buried, acquire),
                         (unsigned long long)SR_LOAD(&control->first, acquire),
                         (unsigned long long)SR_LOAD(&control->last, acquire));
}

static PyGetSetDef chain_attributes[] = {
    {"_maxsize", chain_maxsize, NULL, PyDoc_STR("Messages that it takes; 0: no bound."), NULL},
    {"_max_bytes", chain_max_bytes, NULL, PyDoc_STR("Bytes that all its links may take."), NULL},
    {"_has_put", chain_has_put, NULL, PyDoc_STR("Whether this process has put anything."), NULL},
    {"_lacking", chain_lacking, NULL, PyDoc_STR("Bytes that could not be had for a link, or 0."), NULL},
    {"_reserved", chain_reserved, NULL, PyDoc_STR("Bytes that its links take."), NULL},
    {"_is_shut_down", chain_is_shut_down, NULL, PyDoc_STR("No message is taken any more."), NULL},
    {"_links", chain_links, NULL, PyDoc_STR("Indices: the first that has memory, that has messages; the last."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef chain_methods[] = {
    {"_put_or_hold", sr_ring_put_or_hold, METH_O, NULL},
    {"_put_held", sr_ring_put_held, METH_O, NULL},
    {"_try_get", sr_ring_try_get, METH_O, NULL},
    {"_skip", chain_skip, METH_VARARGS, NULL},
    {"_link_at", chain_link_at, METH_O, NULL},
    {"_watch", chain_watch, METH_O, NULL},
    {"_pass_on", (PyCFunction)(void (*)(void))chain_pass_on, METH_FASTCALL, NULL},
    {"_is_full", chain_is_full, METH_NOARGS, NULL},
    {"_shut_down", chain_shut_down, METH_O, NULL},
    {"_tidy", chain_tidy, METH_NOARGS, NULL},
    {"_unfinished", chain_unfinished, METH_NOARGS, NULL},
    {"_task_done", chain_task_done, METH_NOARGS, NULL},
    {"_wait_for_tasks", chain_wait_for_tasks, METH_O, NULL},
    {"_watch_tasks", chain_watch_tasks, METH_NOARGS, NULL},
    {"_pending", chain_pending, METH_NOARGS, NULL},
    {"_contents", chain_contents, METH_NOARGS, NULL},
    {"_drop_undecodable", chain_drop_undecodable, METH_O, NULL},
    {"_count_tasks", chain_count_tasks, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot chain_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("One process's attachment to a queue, and its further links.")},
    {Py_tp_new, (void *)chain_new},
    {Py_tp_dealloc, (void *)sr_attachment_dealloc},
    {Py_tp_methods, chain_methods},
    {Py_tp_getset, chain_attributes},
    {0, NULL},
};

PyType_Spec sr_chain_spec = {
    .name = "shmring._core.Chain",
    .basicsize = sizeof(struct chain),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = chain_slots,
};
