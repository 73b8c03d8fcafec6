/* py_segment.c - planning and formatting a segment, and the byte locks by which registry.py creates and removes names. */
#include <string.h>

#include "os_memory.h"
#include "py_module.h"

bool sr_look_begin(struct look *look, PyObject *segment, int buffer_flags) {
    SR_STORE(&look->damaged, 0, relaxed);
    if (PyObject_GetBuffer(segment, &look->buffer, buffer_flags) != 0)
        return false;
    if (sr_os_memory_guard(look->buffer.buf, (size_t)look->buffer.len, &look->damaged))
        return true;
    PyBuffer_Release(&look->buffer);
    PyErr_NoMemory();
    return false;
}

bool sr_look_end(struct look *look) {
    sr_os_memory_unguard(&look->damaged);
    PyBuffer_Release(&look->buffer);
    return SR_LOAD(&look->damaged, relaxed) == 0;
}

PyObject *sr_look_answer(struct look *look, PyObject *answer) {
    if (sr_look_end(look))
        return answer;
    PyErr_Clear(); /* what zeros seemed to be */
    Py_XDECREF(answer);
    return sr_raise(NULL, SR_CORRUPT, CONSUMING, 0, 0);
}

static bool plan(const char *kind, unsigned long long capacity, unsigned long long slots,
                 struct sr_geometry *geometry) {
    static const char *const KINDS[] = {"spsc", "mpmc", "semaphore", "topic", "latest"};
    for (uint32_t i = 0; i < 5; i++) {
        if (strcmp(kind, KINDS[i]) == 0)
            return sr_geometry_plan(geometry, i + 1, capacity, slots) == SR_OK;
    }
    return false;
}

static PyObject *segment_size(PyObject *module, PyObject *args) {
    (void)module;
    const char *kind;
    unsigned long long capacity, slots;
    struct sr_geometry geometry;
    if (!PyArg_ParseTuple(args, "sKK", &kind, &capacity, &slots))
        return NULL;
    if (!plan(kind, capacity, slots, &geometry))
        return PyErr_Format(PyExc_ValueError, "no ring has kind %s, capacity %llu and %llu slots", kind, capacity,
                            slots);
    return PyLong_FromUnsignedLongLong(geometry.segment_size);
}

static PyObject *format(PyObject *module, PyObject *args, PyObject *kwargs) {
    (void)module;
    static char *keywords[] = {"segment", "kind",  "capacity", "slots",    "name",
                               "codec",   "flags", "mode",     "identity", NULL};
    PyObject *segment;
    const char *kind;
    unsigned long long capacity, slots, identity;
    unsigned flags, mode;
    struct sr_birth birth;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OsKKssIIK", keywords, &segment, &kind, &capacity, &slots,
                                     &birth.name, &birth.codec, &flags, &mode, &identity))
        return NULL;
    birth.flags = flags;
    birth.mode = mode;
    birth.identity = identity;
    struct sr_geometry geometry;
    Py_buffer buffer;
    if (PyObject_GetBuffer(segment, &buffer, PyBUF_WRITABLE) != 0)
        return NULL;
    PyObject *answer = NULL;
    if (!plan(kind, capacity, slots, &geometry) || (uint64_t)buffer.len < geometry.segment_size)
        PyErr_Format(PyExc_ValueError, "a segment of %zd bytes cannot hold this ring", buffer.len);
    else {
        sr_format(buffer.buf, &geometry, &birth);
        answer = Py_NewRef(Py_None);
    }
    PyBuffer_Release(&buffer);
    return answer;
}

static PyObject *check(PyObject *module, PyObject *segment) {
    (void)module;
    struct look look;
    if (!sr_look_begin(&look, segment, PyBUF_SIMPLE))
        return NULL;
    struct sr_geometry geometry;
    enum sr_result result = sr_geometry_read(&geometry, look.buffer.buf, (uint64_t)look.buffer.len);
    bool retired =
        result == SR_OK && SR_LOAD(&((struct sr_header *)look.buffer.buf)->state, acquire) == SR_SEGMENT_RETIRED;
    if (!sr_look_end(&look))
        result = SR_CORRUPT;
    return PyUnicode_FromString(result == SR_OK             ? retired ? "retired" : "ready"
                                : result == SR_NOT_READY    ? "incomplete"
                                : result == SR_NOT_A_RING   ? "not_a_ring"
                                : result == SR_OTHER_LAYOUT ? "other_layout"
                                                            : "corrupt");
}

static PyObject *describe(PyObject *module, PyObject *segment) {
    (void)module;
    static const char *const KINDS[] = {"", "spsc", "mpmc", "semaphore", "topic", "latest"};
    struct look look;
    if (!sr_look_begin(&look, segment, PyBUF_SIMPLE))
        return NULL;
    struct sr_geometry geometry;
    const struct sr_header *header = look.buffer.buf;
    enum sr_result result = sr_geometry_read(&geometry, header, (uint64_t)look.buffer.len);
    PyObject *answer = result == SR_OK
                           ? Py_BuildValue("sKKIy#", KINDS[geometry.kind], (unsigned long long)geometry.slots,
                                           (unsigned long long)header->identity, header->flags, header->codec,
                                           (Py_ssize_t)strnlen(header->codec, sizeof header->codec))
                           : sr_raise(NULL, result, CONSUMING, 0, 0);
    return sr_look_answer(&look, answer);
}

static PyObject *count_living(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *segment;
    int token;
    unsigned long long at = 0;
    struct look look;
    if (!PyArg_ParseTuple(args, "Oi|K", &segment, &token, &at) || !sr_look_begin(&look, segment, PyBUF_SIMPLE))
        return NULL;
    struct sr_geometry geometry;
    struct sr_endpoint endpoint = {.token = token, .at = at};
    struct sr_contents contents = {0};
    enum sr_result result = sr_geometry_read(&geometry, look.buffer.buf, (uint64_t)look.buffer.len);
    int living = 0;
    bool stopped = false;
    if (result == SR_OK) {
        sr_endpoint_bind(&endpoint, look.buffer.buf, &geometry);
        living = sr_count_living(&endpoint);
        result = sr_contents_read(&endpoint, &contents);
        stopped = SR_LOAD(&endpoint.header->shutdown, acquire) == SR_STOPPED;
    }
    if (!sr_look_end(&look))
        result = SR_CORRUPT;
    if (result != SR_OK)
        return sr_raise(NULL, result, CONSUMING, 0, 0);
    return Py_BuildValue("iK", living, stopped ? 0ULL : (unsigned long long)contents.undelivered);
}

static PyObject *retire(PyObject *module, PyObject *segment) {
    (void)module;
    struct look look;
    if (!sr_look_begin(&look, segment, PyBUF_WRITABLE))
        return NULL;
    struct sr_geometry geometry;
    if (sr_geometry_read(&geometry, look.buffer.buf, (uint64_t)look.buffer.len) == SR_OK)
        SR_STORE(&((struct sr_header *)look.buffer.buf)->state, SR_SEGMENT_RETIRED, release);
    (void)sr_look_end(&look); /* nobody can attach to what is truncated */
    Py_RETURN_NONE;
}

static PyObject *token_open(PyObject *module, PyObject *fd_object) {
    (void)module;
    int fd = PyLong_AsLong(fd_object);
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    int token = sr_os_token_open(fd);
    return token < 0 ? sr_raise_errno(NULL) : PyLong_FromLong(token);
}

static PyObject *token_close(PyObject *module, PyObject *token) {
    (void)module;
    int fd = (int)PyLong_AsLong(token);
    if (fd == -1 && PyErr_Occurred())
        return NULL;
    sr_os_token_unlock(fd, 0); /* by name: a child forked meanwhile may hold a copy of the descriptor */
    sr_os_token_close(fd);
    Py_RETURN_NONE;
}

static PyObject *token_lock(PyObject *module, PyObject *args) {
    (void)module;
    int token;
    unsigned long long byte;
    if (!PyArg_ParseTuple(args, "iK", &token, &byte))
        return NULL;
    return PyBool_FromLong(sr_os_token_lock(token, byte));
}

static PyObject *token_unlock(PyObject *module, PyObject *args) {
    (void)module;
    int token;
    unsigned long long byte;
    if (!PyArg_ParseTuple(args, "iK", &token, &byte))
        return NULL;
    sr_os_token_unlock(token, byte);
    Py_RETURN_NONE;
}

static PyObject *token_sees_lock(PyObject *module, PyObject *args) {
    (void)module;
    int token;
    unsigned long long begin, length;
    if (!PyArg_ParseTuple(args, "iKK", &token, &begin, &length))
        return NULL;
    return PyBool_FromLong(sr_os_token_sees_lock(token, begin, length));
}

PyMethodDef sr_segment_methods[] = {
    {"segment_size", segment_size, METH_VARARGS,
     PyDoc_STR("Bytes that a ring of this kind, capacity and slots takes.")},
    {"format", (PyCFunction)(void (*)(void))format, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("Write a header into a zeroed segment; the ring is born with its last store.")},
    {"check", check, METH_O, PyDoc_STR("'ready', 'retired', 'incomplete', 'not_a_ring', 'other_layout' or 'corrupt'.")},
    {"describe", describe, METH_O, PyDoc_STR("(kind, slots, identity, flags, codec as bytes), from the header alone.")},
    {"count_living", count_living, METH_VARARGS, PyDoc_STR("(attachments alive, messages undelivered)")},
    {"retire", retire, METH_O, PyDoc_STR("Refuse further attachments; under the lifecycle lock.")},
    {"token_open", token_open, METH_O, PyDoc_STR("A descriptor for byte locks on the segment behind this one.")},
    {"token_close", token_close, METH_O, PyDoc_STR("Close it, dropping its locks.")},
    {"token_unlock", token_unlock, METH_VARARGS, PyDoc_STR("Let go of a byte, in the copies of forked children too.")},
    {"token_sees_lock", token_sees_lock, METH_VARARGS, PyDoc_STR("Does another token hold a byte of this range?")},
    {"token_lock", token_lock, METH_VARARGS, PyDoc_STR("Try to lock one byte; False when another token holds it.")},
    {NULL, NULL, 0, NULL},
};
