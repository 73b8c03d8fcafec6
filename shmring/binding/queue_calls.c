/* queue_calls.c - shmring._core.Queue and SimpleQueue: the calls of a user, over a chain (queue.c). */
#include <string.h>

#include "docstrings.h"
#include "message.h"

/* What a user holds: the calls, on a chain. */
struct queue_object {
    PyObject ob_base;
    PyObject *chain;
};

/* The chain, which the caller gives back: another thread may close the queue, or give it another. */
static struct ring *hold_chain(PyObject *object) {
    PyObject *chain = ((struct queue_object *)object)->chain;
    if (chain)
        return (struct ring *)Py_NewRef(chain);
    PyErr_Format(PyExc_ValueError, "this %R was not made: its __init__ was not called", (PyObject *)Py_TYPE(object));
    return NULL;
}

/* `block` and `timeout` as the standard library's queues have them: not to block is a timeout of 0, and so is a negative. */
static bool parse_blocking(PyObject *block, PyObject *timeout, int64_t *timeout_ns) {
    int waits = block ? PyObject_IsTrue(block) : 1;
    *timeout_ns = waits ? INT64_MAX : 0;
    return waits > 0 ? sr_parse_patience(timeout, timeout_ns) : waits == 0;
}

enum { MOST_PARAMETERS = 3 };

/* Values by position or by name; `required` of them, at least. */
static bool parse(const char *function, const char *const *parameters, int required, PyObject *const *args,
                  Py_ssize_t count, PyObject *names, PyObject **values) {
    Py_ssize_t most = 0, named = names ? PyTuple_Size(names) : 0;
    while (most < MOST_PARAMETERS && parameters[most])
        most++;
    if (count > most) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments, not %zd", function, most, count);
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        values[i] = args[i];
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *name = PyTuple_GetItem(names, i);
        Py_ssize_t which = 0;
        while (which < most && PyUnicode_CompareWithASCIIString(name, parameters[which]) != 0)
            which++;
        if (which == most || values[which]) {
            PyErr_Format(PyExc_TypeError, "%s() got %s argument %R", function,
                         which == most ? "an unexpected" : "twice the", name);
            return false;
        }
        values[which] = args[count + i];
    }
    if (required && !values[0])
        PyErr_Format(PyExc_TypeError, "%s() needs the argument %s", function, parameters[0]);
    return !required || values[0];
}

static PyObject *queue_put(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const char *const PARAMETERS[] = {"obj", "block", "timeout"};
    PyObject *values[MOST_PARAMETERS] = {NULL};
    int64_t timeout_ns = INT64_MAX;
    if (SR_LIKELY(count == 1 && !names))
        values[0] = args[0];
    else if (!parse("put", PARAMETERS, 1, args, count, names, values) ||
             !parse_blocking(values[1], values[2], &timeout_ns))
        return NULL;
    struct ring *chain = hold_chain(object);
    PyObject *answer = chain ? sr_queue_put_object(chain, values[0], timeout_ns) : NULL;
    Py_XDECREF((PyObject *)chain);
    return answer;
}

static PyObject *queue_get(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const char *const PARAMETERS[] = {"block", "timeout", NULL};
    PyObject *values[MOST_PARAMETERS] = {NULL};
    int64_t timeout_ns = INT64_MAX;
    if (SR_UNLIKELY(count || names) && (!parse("get", PARAMETERS, 0, args, count, names, values) ||
                                        !parse_blocking(values[0], values[1], &timeout_ns)))
        return NULL;
    struct ring *chain = hold_chain(object);
    PyObject *answer = chain ? sr_queue_get_object(chain, timeout_ns) : NULL;
    Py_XDECREF((PyObject *)chain);
    return answer;
}

/* By way of put and get, which a subclass may have its own of. */
static PyObject *queue_put_nowait(PyObject *object, PyObject *value) {
    return PyObject_CallMethod(object, "put", "OO", value, Py_False);
}

static PyObject *queue_get_nowait(PyObject *object, PyObject *unused) {
    (void)unused;
    return PyObject_CallMethod(object, "get", "O", Py_False);
}

static PyObject *queue_put_many(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"put_many", "iterable", true};
    struct ring *chain = hold_chain(object);
    PyObject *answer = chain ? sr_put_many_as(&EXPECTED, chain, args, count, names) : NULL;
    Py_XDECREF((PyObject *)chain);
    return answer;
}

static PyObject *queue_get_many(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    struct ring *chain = hold_chain(object);
    PyObject *answer = chain ? sr_ring_get_many((PyObject *)chain, args, count, names) : NULL;
    Py_XDECREF((PyObject *)chain);
    return answer;
}

static PyObject *simple_put(PyObject *object, PyObject *value) {
    struct ring *chain = hold_chain(object);
    PyObject *answer = chain ? sr_queue_put_object(chain, value, INT64_MAX) : NULL;
    Py_XDECREF((PyObject *)chain);
    return answer;
}

static PyObject *simple_get(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *chain = hold_chain(object);
    PyObject *answer = chain ? sr_queue_get_object(chain, INT64_MAX) : NULL;
    Py_XDECREF((PyObject *)chain);
    return answer;
}

/* try_get(): the next object, or the core's NOTHING; and put_or_hold, put_held: see event_loop.c. */
static PyObject *queue_try_get(PyObject *object, PyObject *in_turn) {
    struct ring *chain = hold_chain(object);
    PyObject *answer = chain ? sr_ring_try_get((PyObject *)chain, in_turn) : NULL;
    Py_XDECREF((PyObject *)chain);
    return answer;
}

static PyObject *queue_get_chain(PyObject *object, void *unused) {
    (void)unused;
    PyObject *chain = ((struct queue_object *)object)->chain;
    if (chain)
        return Py_NewRef(chain);
    PyErr_SetString(PyExc_AttributeError, "_chain"); /* its __init__ was not called */
    return NULL;
}

static int queue_set_chain(PyObject *object, PyObject *value, void *unused) {
    (void)unused;
    PyObject **chain = &((struct queue_object *)object)->chain, *before = *chain;
    if (value && !PyObject_TypeCheck(value, (PyTypeObject *)sr_chain_type)) {
        PyErr_SetString(PyExc_TypeError, "_chain is a Chain");
        return -1;
    }
    *chain = Py_XNewRef(value);
    Py_XDECREF(before);
    return 0;
}

static void queue_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(((struct queue_object *)object)->chain);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF((PyObject *)type);
}

static PyGetSetDef queue_attributes[] = {
    {"_chain", queue_get_chain, queue_set_chain, PyDoc_STR("The attachment."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef queue_methods[] = {
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {"put", SR_METHOD(queue_put), DOC_Queue_put},
    {"get", SR_METHOD(queue_get), DOC_Queue_get},
    {"put_nowait", queue_put_nowait, METH_O, DOC_Queue_put_nowait},
    {"get_nowait", queue_get_nowait, METH_NOARGS, DOC_Queue_get_nowait},
    {"put_many", SR_METHOD(queue_put_many), DOC_Queue_put_many},
    {"get_many", SR_METHOD(queue_get_many), DOC_Queue_get_many},
    {"_try_get", queue_try_get, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef simple_queue_methods[] = {
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {"put", simple_put, METH_O, DOC_SimpleQueue_put},
    {"get", simple_get, METH_NOARGS, DOC_SimpleQueue_get},
    {"_try_get", queue_try_get, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot queue_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The calls of a queue; see shmring.Queue.")},
    {Py_tp_dealloc, (void *)queue_dealloc},
    {Py_tp_methods, queue_methods},
    {Py_tp_getset, queue_attributes},
    {0, NULL},
};

PyType_Spec sr_queue_spec = {
    .name = "shmring._core.Queue",
    .basicsize = sizeof(struct queue_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = queue_slots,
};

static PyType_Slot simple_queue_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("The calls of a simple queue; see shmring.SimpleQueue.")},
    {Py_tp_dealloc, (void *)queue_dealloc},
    {Py_tp_methods, simple_queue_methods},
    {Py_tp_getset, queue_attributes},
    {0, NULL},
};

PyType_Spec sr_simple_queue_spec = {
    .name = "shmring._core.SimpleQueue",
    .basicsize = sizeof(struct queue_object),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = simple_queue_slots,
};
