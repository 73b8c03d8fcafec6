/* errors.c - arguments in, exceptions out. */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "attachment.h"

bool sr_parse_timeout(PyObject *timeout, int64_t *timeout_ns) {
    if (!timeout || timeout == Py_None) {
        *timeout_ns = INT64_MAX;
        return true;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear();
            PyErr_Format(PyExc_TypeError,
                         "timeout is %R; give seconds as a number, 0 to never wait, or None for no limit", timeout);
        }
        return false;
    }
    if (!isfinite(seconds) || seconds < 0) {
        PyErr_Format(PyExc_ValueError,
                     "timeout is %R; it must be a finite number of seconds, at least 0, or None to wait forever",
                     timeout);
        return false;
    }
    if (seconds > 1e9)
        *timeout_ns = INT64_MAX; /* thirty years are for ever */
    else
        *timeout_ns = seconds > 0 && seconds < 1e-9 ? 1 : (int64_t)(seconds * 1e9);
    return true;
}

bool sr_parse_patience(PyObject *timeout, int64_t *timeout_ns) {
    double seconds = timeout && timeout != Py_None ? PyFloat_AsDouble(timeout) : 0;
    if (seconds == -1.0 && PyErr_Occurred())
        PyErr_Clear(); /* it is told as any other */
    else if (seconds < 0) {
        *timeout_ns = 0;
        return true;
    }
    return sr_parse_timeout(timeout, timeout_ns);
}

bool sr_parse_arguments(const struct arguments *expected, PyObject *const *args, Py_ssize_t count, PyObject *names,
                        PyObject **first, PyObject **timeout) {
    const char *wanted[2] = {expected->first, "timeout"};
    PyObject **places[2] = {first, timeout};
    int begin = expected->first ? 0 : 1, end = expected->never_waits ? 1 : 2;
    if (count > end - begin) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional argument(s), not %zd", expected->function,
                     end - begin, count);
        return false;
    }
    for (Py_ssize_t i = 0; i < count; i++)
        *places[begin + i] = args[i];
    Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    for (Py_ssize_t i = 0; i < named; i++) {
        PyObject *key = PyTuple_GetItem(names, i);
        int which = begin;
        while (which < end && PyUnicode_CompareWithASCIIString(key, wanted[which]) != 0)
            which++;
        if (which == end) {
            PyErr_Format(PyExc_TypeError, "%s() has no parameter %R", expected->function, key);
            return false;
        }
        if (*places[which]) {
            PyErr_Format(PyExc_TypeError, "%s() got %R twice", expected->function, key);
            return false;
        }
        *places[which] = args[count + i];
    }
    if (expected->first_required && !*first) {
        PyErr_Format(PyExc_TypeError, "%s() needs the argument %s", expected->function, expected->first);
        return false;
    }
    return true;
}

bool sr_contiguous_bytes(PyObject *object, Py_buffer *buffer) {
    if (PyObject_GetBuffer(object, buffer, PyBUF_SIMPLE) == 0)
        return true;
    if (PyErr_ExceptionMatches(PyExc_BufferError)) {
        PyErr_Clear();
        PyErr_Format(
            PyExc_BufferError,
            "%R is not contiguous in memory; copy it first, as in bytes(view) or numpy.ascontiguousarray(array)",
            (PyObject *)Py_TYPE(object));
    } else if (PyErr_ExceptionMatches(PyExc_TypeError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_TypeError,
                     "a message is bytes, bytearray, memoryview or any other buffer, not %R; %sto put objects, create "
                     "it with codec=\"pickle\"",
                     (PyObject *)Py_TYPE(object),
                     PyUnicode_Check(object) ? "encode text first: text.encode(); or " : "");
    }
    return false;
}

static PyObject *diagnosis;

bool sr_set_diagnosis(PyObject *callable) {
    Py_XINCREF(callable);
    Py_XDECREF(diagnosis);
    diagnosis = callable;
    return true;
}

static const char *const NAMES[] = {
    [SR_OK] = "ok",
    [SR_FULL] = "full",
    [SR_EMPTY] = "empty",
    [SR_CONTENDED] = "contended",
    [SR_SHUT_DOWN] = "shut_down",
    [SR_TOO_LONG] = "too_long",
    [SR_STALE] = "stale",
    [SR_OVERWRITTEN] = "overwritten",
    [SR_OUTRUN] = "outrun",
    [SR_BUSY] = "busy",
    [SR_CORRUPT] = "corrupt",
    [SR_TIMED_OUT] = "timed_out",
    [SR_CLOSED] = "closed",
    [SR_INTERRUPTED] = "interrupted",
    [SR_PEER_DIED] = "peer_died",
    [SR_RETIRED] = "retired",
    [SR_NO_SLOT] = "no_slot",
    [SR_NOT_A_RING] = "not_a_ring",
    [SR_OTHER_LAYOUT] = "other_layout",
    [SR_NOT_READY] = "not_ready",
    [SR_HELD_UP] = "held_up",
    [SR_NO_SPACE] = "no_space",
    [SR_SYSTEM_ERROR] = "system_error",
};

const char *sr_result_name(enum sr_result result) { return NAMES[result]; }

PyObject *sr_raise_errno(PyObject *path) {
    int error = errno;
    PyObject *os = PyImport_ImportModule("os");
    PyObject *words = os ? PyObject_CallMethod(os, "strerror", "i", error) : NULL;
    PyObject *arguments = NULL;
    if (words)
        arguments = path ? Py_BuildValue("(iOO)", error, words, path) : Py_BuildValue("(iO)", error, words);
    if (arguments)
        PyErr_SetObject(PyExc_OSError, arguments);
    Py_XDECREF(arguments);
    Py_XDECREF(words);
    Py_XDECREF(os);
    return NULL;
}

PyObject *sr_raise(struct ring *ring, enum sr_result result, enum side side, uint64_t length, int64_t timeout_ns) {
    if (result == SR_INTERRUPTED && PyErr_Occurred())
        return NULL;
    bool damaged = ring && SR_LOAD(&ring->endpoint.damaged, relaxed) && result != SR_CLOSED;
    if (damaged)
        result = SR_CORRUPT; /* whatever else went wrong, this is why */
    if (result == SR_SYSTEM_ERROR)
        length = (uint64_t)errno;
    if (!diagnosis) {
        PyErr_Format(PyExc_RuntimeError, "shmring._core answered %s", NAMES[result]);
        return NULL;
    }
    /* The words are Python's business: diagnosis.py builds the exception with the actual and the allowed values. */
    PyObject *self = ring ? (PyObject *)ring : Py_None;
    PyObject *exception = PyObject_CallFunction(diagnosis, "OssKO", self, damaged ? "pages_lost" : NAMES[result],
                                                side == PRODUCING ? "put" : "get", (unsigned long long)length,
                                                timeout_ns == 0 ? Py_False : Py_True);
    if (exception) {
        PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_DECREF(exception);
    }
    return NULL;
}
