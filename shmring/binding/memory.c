/* memory.c - msync, mlock and populating for shmring.segment. */
#include "os/memory.h"
#include "attachment.h"

static PyObject *sync_memory(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object;
    Py_ssize_t offset, length;
    int wait;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "Onnp", &object, &offset, &length, &wait) ||
        PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) != 0)
        return NULL;
    PyObject *answer = NULL;
    if (offset < 0 || length < 0 || offset > buffer.len || length > buffer.len - offset) {
        PyErr_Format(PyExc_ValueError, "offset %zd and length %zd do not lie in a buffer of %zd bytes", offset, length,
                     buffer.len);
    } else {
        bool done;
        Py_BEGIN_ALLOW_THREADS
        done = sr_os_memory_sync((char *)buffer.buf + offset, (size_t)length, wait);
        Py_END_ALLOW_THREADS
        answer = done ? Py_NewRef(Py_None) : sr_raise_errno(NULL);
    }
    PyBuffer_Release(&buffer);
    return answer;
}

static PyObject *with_buffer(PyObject *object, bool (*function)(const void *, size_t)) {
    Py_buffer buffer;
    if (PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) != 0)
        return NULL;
    bool done;
    Py_BEGIN_ALLOW_THREADS
    done = function(buffer.buf, (size_t)buffer.len);
    Py_END_ALLOW_THREADS
    PyObject *answer = done ? Py_NewRef(Py_None) : sr_raise_errno(NULL);
    PyBuffer_Release(&buffer);
    return answer;
}

static PyObject *lock_memory(PyObject *module, PyObject *object) {
    (void)module;
    return with_buffer(object, sr_os_memory_lock);
}

static PyObject *unlock_memory(PyObject *module, PyObject *object) {
    (void)module;
    return with_buffer(object, sr_os_memory_unlock);
}

static PyObject *populate_memory(PyObject *module, PyObject *object) {
    (void)module;
    Py_buffer buffer;
    if (PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) != 0)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    sr_os_memory_populate(buffer.buf, (size_t)buffer.len);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&buffer);
    Py_RETURN_NONE;
}

#if !defined(_WIN32)
static PyObject *map_over(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object;
    int file, writable, shared;
    unsigned long long offset;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OiKpp", &object, &file, &offset, &writable, &shared) ||
        PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) != 0)
        return NULL;
    bool done;
    Py_BEGIN_ALLOW_THREADS
    done = sr_os_memory_map_over(buffer.buf, (size_t)buffer.len, file, offset, writable != 0, shared != 0);
    Py_END_ALLOW_THREADS
    PyObject *answer = done ? Py_NewRef(Py_None) : sr_raise_errno(NULL);
    PyBuffer_Release(&buffer);
    return answer;
}
#endif

PyMethodDef sr_memory_methods[] = {
    {"sync", sync_memory, METH_VARARGS, PyDoc_STR("sync(buffer, offset, length, wait): msync.")},
    {"lock", lock_memory, METH_O, PyDoc_STR("lock(buffer): mlock.")},
#if !defined(_WIN32)
    {"map_over", map_over, METH_VARARGS,
     PyDoc_STR("map_over(mapping, fd, offset, writable, shared): a file in the place of a mapping's memory.")},
#endif
    {"populate", populate_memory, METH_O, PyDoc_STR("populate(buffer): map its pages before they are touched.")},
    {"unlock", unlock_memory, METH_O, PyDoc_STR("unlock(buffer): munlock.")},
    {NULL, NULL, 0, NULL},
};
