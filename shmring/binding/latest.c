/* latest.c - the type under shmring.Latest: the newest value, copied and then checked to be one. */
#include <string.h>

#include "docstrings.h"
#include "attachment.h"

static PyObject *latest_set(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"set", "value", true, .never_waits = true};
    return sr_put_as(&EXPECTED, (struct ring *)object, args, count, names);
}

/* Waits for a version above `known` and fills the record, not yet checked. */
static enum sr_result wait_for_newer(struct ring *self, uint64_t known, int64_t timeout_ns, struct sr_record *record) {
    enum sr_result result = sr_try_take(&self->endpoint, known, record);
    if (SR_LIKELY(result == SR_OK))
        return SR_OK;
    struct call call;
    sr_call_begin(&call, self, CONSUMING, timeout_ns);
    return sr_take(&self->endpoint, known, &call.wait, record);
}

static PyObject *copy_of(struct ring *self, const struct sr_record *record, bool *again) {
    if (SR_UNLIKELY(self->decode != NULL))
        return sr_decode_copy(self, record, again);
    bool is_short = record->length < LONG_ENOUGH_TO_LET_OTHERS_RUN;
    PyObject *value =
        PyBytes_FromStringAndSize(is_short ? (const char *)record->payload : NULL, (Py_ssize_t)record->length);
    if (SR_UNLIKELY(!value))
        return NULL;
    if (SR_UNLIKELY(!is_short))
        sr_copy(self, CONSUMING, PyBytes_AsString(value), record->payload, record->length);
    *again = !sr_still_whole(&self->endpoint, record);
    if (SR_UNLIKELY(*again))
        Py_CLEAR(value);
    return value;
}

/* The newest value, and in *version which it is; NULL with an exception set. */
static PyObject *get_one(struct ring *self, int64_t timeout_ns, uint64_t *version) {
    struct retry retry = {.timeout_ns = timeout_ns};
    enum sr_result result;
    for (;;) {
        struct sr_record record;
        result = wait_for_newer(self, 0, timeout_ns, &record);
        if (SR_UNLIKELY(result != SR_OK))
            break;
        bool again = false;
        PyObject *value = copy_of(self, &record, &again);
        if (SR_LIKELY(!again)) {
            *version = record.position;
            if (SR_LIKELY(value != NULL))
                sr_count_got(self, 1, record.length, false);
            return value;
        }
        result = sr_retry(&retry);
        if (result != SR_OK)
            break;
    }
    return sr_raise(self, result, CONSUMING, 0, timeout_ns);
}

static bool parse_timeout(const char *function, PyObject *const *args, Py_ssize_t count, PyObject *names,
                          int64_t *timeout_ns) {
    struct arguments expected = {function, NULL, false};
    PyObject *timeout = NULL;
    *timeout_ns = 0;
    if (SR_LIKELY(!count && !names))
        return true;
    return sr_parse_arguments(&expected, args, count, names, NULL, &timeout) && sr_parse_timeout(timeout, timeout_ns);
}

static PyObject *latest_get(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    struct ring *self = (struct ring *)object;
    int64_t timeout_ns;
    uint64_t version;
    if (!parse_timeout("get", args, count, names, &timeout_ns) ||
        (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING)))
        return NULL;
    return sr_answer(self, CONSUMING, get_one(self, timeout_ns, &version));
}

static PyObject *latest_get_versioned(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    struct ring *self = (struct ring *)object;
    int64_t timeout_ns;
    uint64_t version = 0;
    if (!parse_timeout("get_versioned", args, count, names, &timeout_ns) ||
        (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING)))
        return NULL;
    PyObject *value = get_one(self, timeout_ns, &version);
    return sr_answer(self, CONSUMING, value ? Py_BuildValue("KN", (unsigned long long)version, value) : NULL);
}

static PyObject *latest_get_into(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"get_into", "buffer", true};
    struct ring *self = (struct ring *)object;
    PyObject *target = NULL, *timeout = NULL;
    struct retry retry = {0};
    if (!sr_parse_arguments(&EXPECTED, args, count, names, &target, &timeout) ||
        (timeout && !sr_parse_timeout(timeout, &retry.timeout_ns)))
        return NULL;
    if (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING))
        return NULL;
    Py_buffer buffer;
    if (PyObject_GetBuffer(target, &buffer, PyBUF_WRITABLE) != 0)
        return NULL;
    struct sr_record record;
    enum sr_result result;
    do {
        result = wait_for_newer(self, 0, retry.timeout_ns, &record);
        if (result != SR_OK)
            break;
        if (record.length <= (uint64_t)buffer.len)
            sr_copy(self, CONSUMING, buffer.buf, record.payload, record.length);
        result = sr_still_whole(&self->endpoint, &record) ? SR_OK : SR_OVERWRITTEN;
    } while (result == SR_OVERWRITTEN && (result = sr_retry(&retry)) == SR_OK);
    PyObject *answer = NULL;
    if (result != SR_OK) {
        sr_raise(self, result, CONSUMING, 0, retry.timeout_ns);
    } else if (record.length > (uint64_t)buffer.len) {
        PyErr_Format(PyExc_ValueError, "the value has %llu bytes and the buffer room for %zd; values have at most %llu",
                     (unsigned long long)record.length, buffer.len,
                     (unsigned long long)self->endpoint.geometry.max_message);
    } else {
        sr_count_got(self, 1, record.length, false);
        answer = PyLong_FromUnsignedLongLong(record.length);
    }
    PyBuffer_Release(&buffer);
    return sr_answer(self, CONSUMING, answer);
}

static PyObject *latest_wait_newer(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const struct arguments EXPECTED = {"wait_newer", "version", true};
    struct ring *self = (struct ring *)object;
    PyObject *version = NULL, *timeout = NULL;
    int64_t timeout_ns;
    if (!sr_parse_arguments(&EXPECTED, args, count, names, &version, &timeout) ||
        !sr_parse_timeout(timeout, &timeout_ns))
        return NULL;
    uint64_t known = PyLong_AsUnsignedLongLong(version);
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_OverflowError))
        return PyErr_Format(PyExc_ValueError, "version is %S; it is one that `version` or `get_versioned` gave, or 0",
                            version);
    if (PyErr_Occurred() || (!sr_gate_open(self, CONSUMING) && !sr_pass_gate(self, CONSUMING)))
        return NULL;
    struct sr_record record;
    enum sr_result result = wait_for_newer(self, known, timeout_ns, &record);
    PyObject *answer = result == SR_OK ? PyLong_FromUnsignedLongLong(record.position)
                                       : sr_raise(self, result, CONSUMING, 0, timeout_ns);
    return sr_answer(self, CONSUMING, answer);
}

static PyObject *latest_version(PyObject *object, void *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!self->attached)
        return sr_raise(self, SR_CLOSED, CONSUMING, 0, 0);
    return PyLong_FromUnsignedLongLong(SR_LOAD(&self->endpoint.header->write_position, acquire));
}

static PyMethodDef latest_methods[] = {
    {"set", SR_METHOD(latest_set), DOC_Latest_set},
    {"get", SR_METHOD(latest_get), DOC_Latest_get},
    {"get_versioned", SR_METHOD(latest_get_versioned), DOC_Latest_get_versioned},
    {"get_into", SR_METHOD(latest_get_into), DOC_Latest_get_into},
    {"wait_newer", SR_METHOD(latest_wait_newer), DOC_Latest_wait_newer},
    {"_put_or_hold", sr_ring_put_or_hold, METH_O, NULL},
    {"_put_held", sr_ring_put_held, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef latest_attributes[] = {
    {"version", latest_version, NULL, DOC_Latest_version, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot latest_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("One process's attachment to a latest value; see shmring.Latest.")},
    {Py_tp_dealloc, (void *)sr_attachment_dealloc},
    {Py_tp_methods, latest_methods},
    {Py_tp_getset, latest_attributes},
    {0, NULL},
};

PyType_Spec sr_latest_spec = {
    .name = "shmring._core.Latest",
    .basicsize = sizeof(struct ring),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = latest_slots,
};
