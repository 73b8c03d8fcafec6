/* py_control.c - single words of shared memory for Python: loads, stores, sums, and an event to wait on. What the words
 * mean, and in which order they are written, is said where they are used (queues/control.py).
 */
#include "py_module.h"

/* A word of the buffer at a byte offset, or NULL with an exception set. The buffer stays held until it is released. */
static sr_atomic_u64 *open_word(PyObject *object, unsigned long long offset, Py_buffer *buffer) {
    if (PyObject_GetBuffer(object, buffer, PyBUF_WRITABLE) != 0)
        return NULL;
    if (offset % 8 == 0 && offset + 8 <= (unsigned long long)buffer->len && offset + 8 > offset)
        return (sr_atomic_u64 *)(void *)((char *)buffer->buf + offset);
    PyErr_Format(PyExc_ValueError, "offset %llu is no word of a buffer of %zd bytes", offset, buffer->len);
    PyBuffer_Release(buffer);
    return NULL;
}

static PyObject *word_load(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object;
    unsigned long long offset;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OK", &object, &offset))
        return NULL;
    sr_atomic_u64 *word = open_word(object, offset, &buffer);
    if (!word)
        return NULL;
    int64_t value = (int64_t)SR_LOAD(word, acquire);
    PyBuffer_Release(&buffer);
    return PyLong_FromLongLong(value);
}

static PyObject *word_store(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object;
    unsigned long long offset;
    long long value;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OKL", &object, &offset, &value))
        return NULL;
    sr_atomic_u64 *word = open_word(object, offset, &buffer);
    if (!word)
        return NULL;
    SR_STORE(word, (uint64_t)value, release);
    PyBuffer_Release(&buffer);
    Py_RETURN_NONE;
}

static PyObject *word_add(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object;
    unsigned long long offset;
    long long amount;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OKL", &object, &offset, &amount))
        return NULL;
    sr_atomic_u64 *word = open_word(object, offset, &buffer);
    if (!word)
        return NULL;
    int64_t before = (int64_t)SR_ADD(word, (uint64_t)amount, acq_rel);
    PyBuffer_Release(&buffer);
    return PyLong_FromLongLong(before + amount);
}

static PyObject *word_sum(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object;
    unsigned long long offset, count;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OKK", &object, &offset, &count))
        return NULL;
    sr_atomic_u64 *word = open_word(object, offset, &buffer);
    if (!word)
        return NULL;
    if (count > ((unsigned long long)buffer.len - offset) / 8)
        count = ((unsigned long long)buffer.len - offset) / 8;
    int64_t sum = 0;
    for (unsigned long long i = 0; i < count; i++)
        sum += (int64_t)SR_LOAD(&word[i], acquire);
    PyBuffer_Release(&buffer);
    return PyLong_FromLongLong(sum);
}

static PyObject *event_announce(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object;
    unsigned long long offset;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OK", &object, &offset))
        return NULL;
    sr_atomic_u64 *word = open_word(object, offset, &buffer);
    if (!word)
        return NULL;
    uint32_t ticket = sr_event_announce((struct sr_event *)(void *)word);
    PyBuffer_Release(&buffer);
    return PyLong_FromUnsignedLong(ticket);
}

static PyObject *event_park(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *timeout;
    unsigned long long offset;
    unsigned ticket;
    int64_t timeout_ns;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OKIO", &object, &offset, &ticket, &timeout) || !sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    sr_atomic_u64 *word = open_word(object, offset, &buffer);
    if (!word)
        return NULL;
    Py_BEGIN_ALLOW_THREADS sr_event_park((struct sr_event *)(void *)word, ticket, timeout_ns);
    Py_END_ALLOW_THREADS PyBuffer_Release(&buffer);
    return PyErr_CheckSignals() ? NULL : Py_NewRef(Py_None);
}

static PyObject *event_notify(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object;
    unsigned long long offset;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OK", &object, &offset))
        return NULL;
    sr_atomic_u64 *word = open_word(object, offset, &buffer);
    if (!word)
        return NULL;
    sr_event_notify((struct sr_event *)(void *)word, SR_WAKE_ALL);
    PyBuffer_Release(&buffer);
    Py_RETURN_NONE;
}

PyMethodDef sr_control_methods[] = {
    {"word_load", word_load, METH_VARARGS, PyDoc_STR("word_load(buffer, offset): a signed word, by acquire.")},
    {"word_store", word_store, METH_VARARGS, PyDoc_STR("word_store(buffer, offset, value): by release.")},
    {"word_add", word_add, METH_VARARGS, PyDoc_STR("word_add(buffer, offset, amount): the sum, atomically.")},
    {"word_sum", word_sum, METH_VARARGS, PyDoc_STR("word_sum(buffer, offset, count): of so many words.")},
    {"event_announce", event_announce, METH_VARARGS, PyDoc_STR("event_announce(buffer, offset): a ticket.")},
    {"event_park", event_park, METH_VARARGS, PyDoc_STR("event_park(buffer, offset, ticket, timeout): sleep.")},
    {"event_notify", event_notify, METH_VARARGS, PyDoc_STR("event_notify(buffer, offset): wake everyone.")},
    {NULL, NULL, 0, NULL},
};
