/* memory.c - msync, mlock, populating, and guards against truncation for shmring.segment. */
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

/* A mapping whose pages others may take away is guarded as long as this lives, which is no longer than the mapping. */
struct guarded_mapping {
    PyObject ob_base;
    void *address;
    sr_atomic_u32 damaged;
};

static PyObject *guard(PyObject *module, PyObject *object) {
    (void)module;
    Py_buffer buffer;
    if (PyObject_GetBuffer(object, &buffer, PyBUF_SIMPLE) != 0)
        return NULL;
    struct guarded_mapping *self = PyObject_New(struct guarded_mapping, (PyTypeObject *)sr_guard_type);
    if (self) {
        self->address = buffer.buf;
        SR_STORE(&self->damaged, 0, relaxed);
        if (!sr_os_memory_guard(buffer.buf, (size_t)buffer.len, &self->damaged)) {
            self->address = NULL;
            Py_CLEAR(self);
            PyErr_NoMemory();
        }
    }
    PyBuffer_Release(&buffer);
    return (PyObject *)self;
}

static PyObject *guard_damaged(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(SR_LOAD(&((struct guarded_mapping *)object)->damaged, acquire) != 0);
}

static void guard_dealloc(PyObject *object) {
    struct guarded_mapping *self = (struct guarded_mapping *)object;
    PyTypeObject *type = Py_TYPE(object);
    if (self->address)
        sr_os_memory_unguard(self->address, &self->damaged);
    PyObject_Free(object);
    Py_DECREF((PyObject *)type);
}

static PyGetSetDef guard_attributes[] = {
    {"damaged", guard_damaged, NULL, PyDoc_STR("True once a page was missing as it was touched."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot guard_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Pages that are missing from a mapping read as zeros; made by guard().")},
    {Py_tp_dealloc, (void *)guard_dealloc},
    {Py_tp_getset, guard_attributes},
    {0, NULL},
};

PyType_Spec sr_guard_spec = {
    .name = "shmring._core.Guard",
    .basicsize = sizeof(struct guarded_mapping),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = guard_slots,
};

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
    {"guard", guard, METH_O, PyDoc_STR("guard(mapping): a page that somebody takes away reads as zeros.")},
    {"populate", populate_memory, METH_O, PyDoc_STR("populate(buffer): map its pages before they are touched.")},
    {"unlock", unlock_memory, METH_O, PyDoc_STR("unlock(buffer): munlock.")},
    {NULL, NULL, 0, NULL},
};
