/* topic.c - the types under shmring.Topic and its subscriptions. A subscription is an attachment of its own, whose gets
 * are those of a ring (put_get.c); only where it begins, and what it has lost, are its own.
 */
#include "docstrings.h"
#include "attachment.h"

static PyObject *topic_publish(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"publish", "data", true};
    return sr_put_as(&EXPECTED, (struct ring *)object, args, count, names);
}

static PyObject *topic_publish_many(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"publish_many", "iterable", true};
    return sr_put_many_as(&EXPECTED, (struct ring *)object, args, count, names);
}

/* (oldest, next): numbers of the oldest message that is there, and of the one that will be published next. */
static PyObject *topic_range(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!self->attached)
        return sr_raise(self, SR_CLOSED, CONSUMING, 0, 0);
    struct sr_topic_range range;
    enum sr_result result = sr_topic_range_read(&self->endpoint, &range);
    PyObject *answer = result == SR_OK
                           ? Py_BuildValue("KK", (unsigned long long)range.oldest, (unsigned long long)range.next)
                           : sr_raise(self, result, CONSUMING, 0, 0);
    return sr_answer(self, CONSUMING, answer);
}

/* (slot, pid, alive, number of its next message, messages lost, messages got) of each subscription. */
static PyObject *topic_subscribers(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    struct sr_endpoint *endpoint = &self->endpoint;
    if (!self->attached)
        return sr_raise(self, SR_CLOSED, CONSUMING, 0, 0);
    PyObject *list = PyList_New(0);
    for (uint32_t slot = 0; list && slot < SR_ATTACHMENTS; slot++) {
        struct sr_attachment *entry = &endpoint->attachments[slot];
        if (!(SR_LOAD(&endpoint->header->subscribers[slot / 64], acquire) >> slot % 64 & 1))
            continue;
        PyObject *one = Py_BuildValue(
            "IIOKKK", slot, SR_LOAD(&entry->pid, relaxed),
            sr_liveness(endpoint, slot) == SR_OS_DEAD ? Py_False : Py_True,
            (unsigned long long)SR_LOAD(&entry->sequence, relaxed),
            (unsigned long long)(SR_LOAD(&entry->redelivered, relaxed) - SR_LOAD(&entry->base_lost, relaxed)),
            (unsigned long long)(SR_LOAD(&entry->messages_got, relaxed) - SR_LOAD(&entry->base_got, relaxed)));
        if (!one || PyList_Append(list, one) != 0)
            Py_CLEAR(list);
        Py_XDECREF(one);
    }
    return sr_answer(self, CONSUMING, list);
}

/* Somebody subscribes through this attachment: so it is not here to publish, unless it does. */
static PyObject *topic_note_subscribing(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (self->attached && self->generation == sr_fork_generation)
        sr_note_subscribing(&self->endpoint);
    Py_RETURN_NONE;
}

static PyMethodDef topic_methods[] = {
    {"publish", SR_METHOD(topic_publish), DOC_Topic_publish},
    {"publish_many", SR_METHOD(topic_publish_many), DOC_Topic_publish_many},
    {"claim", SR_METHOD(sr_ring_claim), DOC_Topic_claim},
    {"_put_or_hold", sr_ring_put_or_hold, METH_O, NULL},
    {"_put_held", sr_ring_put_held, METH_O, NULL},
    {"_range", topic_range, METH_NOARGS, NULL},
    {"_subscribers", topic_subscribers, METH_NOARGS, NULL},
    {"_note_subscribing", topic_note_subscribing, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot topic_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("One process's attachment to a topic; see shmring.Topic.")},
    {Py_tp_dealloc, (void *)sr_attachment_dealloc},
    {Py_tp_methods, topic_methods},
    {0, NULL},
};

PyType_Spec sr_topic_spec = {
    .name = "shmring._core.Topic",
    .basicsize = sizeof(struct ring),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = topic_slots,
};

/* _subscribe(start, sequence) -> (oldest, next), or None when it began there. start: 0 oldest, 1 latest, 2 at. */
static PyObject *subscription_subscribe(PyObject *object, PyObject *args) {
    struct ring *self = (struct ring *)object;
    int start;
    unsigned long long sequence;
    if (!PyArg_ParseTuple(args, "iK", &start, &sequence) || !sr_pass_gate(self, CONSUMING))
        return NULL;
    struct sr_topic_range range;
    enum sr_result result = sr_topic_subscribe(&self->endpoint, (enum sr_start)start, sequence, &range);
    PyObject *answer = NULL;
    if (result == SR_OK)
        answer = Py_NewRef(Py_None);
    else if (result == SR_EMPTY)
        answer = Py_BuildValue("KK", (unsigned long long)range.oldest, (unsigned long long)range.next);
    else
        sr_raise(self, result, CONSUMING, 0, 0);
    return sr_answer(self, CONSUMING, answer);
}

static PyObject *subscription_lost(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(((struct ring *)object)->endpoint.lost);
}

static PyObject *subscription_sequence(PyObject *object, void *unused) {
    (void)unused;
    return PyLong_FromUnsignedLongLong(((struct ring *)object)->endpoint.sequence);
}

static PyMethodDef subscription_methods[] = {
    {"get", SR_METHOD(sr_ring_get), DOC_Subscription_get},
    {"get_into", SR_METHOD(sr_ring_get_into), DOC_Subscription_get_into},
    {"get_many", SR_METHOD(sr_ring_get_many), DOC_Subscription_get_many},
    {"borrow", SR_METHOD(sr_ring_borrow), DOC_Subscription_borrow},
    {"_skip", SR_METHOD(sr_ring_skip), NULL},
    {"_try_get", sr_ring_try_get, METH_O, NULL},
    {"_subscribe", subscription_subscribe, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef subscription_attributes[] = {
    {"lost", subscription_lost, NULL, DOC_Subscription_lost, NULL},
    {"sequence", subscription_sequence, NULL, DOC_Subscription_sequence, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot subscription_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("A subscription to a topic; made by shmring.Topic.subscribe().")},
    {Py_tp_dealloc, (void *)sr_attachment_dealloc},
    {Py_tp_methods, subscription_methods},
    {Py_tp_getset, subscription_attributes},
    {Py_tp_iter, (void *)PyObject_SelfIter},
    {Py_tp_iternext, (void *)sr_ring_next},
    {0, NULL},
};

PyType_Spec sr_subscription_spec = {
    .name = "shmring._core.Subscription",
    .basicsize = sizeof(struct ring),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = subscription_slots,
};
