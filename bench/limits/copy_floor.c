/* copy_floor.c - the least that plain put and get can cost in CPython: the classic ring with one copy in, and for each
 * message a new bytes object and one copy out. A module of functions, called from the same Python loop as shmring's:
 * make(capacity, length), put(bytes), get() -> bytes; nothing(x) does nothing. Spins; releases no lock; checks nothing. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "classic_ring.h"

static struct classic_ring *ring;
static uint64_t written, written_seen, taken, taken_seen;

static PyObject *make(PyObject *module, PyObject *args) {
    (void)module;
    unsigned long long capacity, length;
    if (!PyArg_ParseTuple(args, "KK", &capacity, &length))
        return NULL;
    ring = classic_ring_new(capacity, length);
    written = written_seen = taken = taken_seen = 0;
    Py_RETURN_NONE;
}

static PyObject *put(PyObject *module, PyObject *message) {
    (void)module;
    classic_put(ring, &written, &taken_seen, PyBytes_AsString(message), (size_t)PyBytes_Size(message));
    Py_RETURN_NONE;
}

static PyObject *get(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    unsigned char *next = classic_next(ring, taken, &written_seen);
    PyObject *message = PyBytes_FromStringAndSize((const char *)next, (Py_ssize_t)ring->slot_bytes);
    classic_done(ring, &taken);
    return message;
}

static PyObject *nothing(PyObject *module, PyObject *argument) {
    (void)module;
    (void)argument;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"make", make, METH_VARARGS, NULL}, {"put", put, METH_O, NULL}, {"get", get, METH_NOARGS, NULL},
    {"nothing", nothing, METH_O, NULL}, {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "copy_floor", .m_size = -1,
                                        .m_methods = methods};

PyMODINIT_FUNC PyInit_copy_floor(void) { return PyModule_Create(&definition); }
