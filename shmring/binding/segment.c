/* segment.c - planning and formatting a segment, and the byte locks by which registry.py creates and removes names. */
#include <string.h>

#include "os/memory.h"
#include "attachment.h"

static const int64_t LOOK_PATIENCE_NS = 200000000; /* who holds a queue's lock for longer has been stopped */

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
    sr_os_memory_unguard(look->buffer.buf, &look->damaged);
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

enum sr_result sr_look_through(struct look *look, struct sr_endpoint *endpoint, struct sr_queue *queue, int locks,
                               int fd) {
    struct sr_geometry geometry;
    *endpoint = (struct sr_endpoint){.locks = locks};
    *queue = (struct sr_queue){.root = NULL};
    enum sr_result result = sr_geometry_read(&geometry, look->buffer.buf, (uint64_t)look->buffer.len);
    if (result != SR_OK)
        return result;
    sr_endpoint_bind(endpoint, look->buffer.buf, &geometry);
    if (!(geometry.flags & SR_FLAG_QUEUE))
        return SR_OK;
    result = sr_queue_open(queue, endpoint, look->buffer.buf, (uint64_t)look->buffer.len, fd);
    if (result == SR_OK && locks >= 0) { /* we have no entry to say which links we are in, so nobody is to finish any */
        Py_BEGIN_ALLOW_THREADS(void)
        sr_queue_lock(queue, NULL, LOOK_PATIENCE_NS);
        Py_END_ALLOW_THREADS
    }
    return result;
}

void sr_look_away(struct sr_queue *queue) {
    if (queue->locked)
        sr_queue_unlock(queue);
    sr_queue_close(queue);
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

/* (kind, capacity, slots). False: an exception is set. */
static bool parse_plan(PyObject *args, struct sr_geometry *geometry) {
    const char *kind;
    unsigned long long capacity, slots;
    if (!PyArg_ParseTuple(args, "sKK", &kind, &capacity, &slots))
        return false;
    if (plan(kind, capacity, slots, geometry))
        return true;
    PyErr_Format(PyExc_ValueError, "no ring has kind %s, capacity %llu and %llu slots", kind, capacity, slots);
    return false;
}

static PyObject *segment_size(PyObject *module, PyObject *args) {
    (void)module;
    struct sr_geometry geometry;
    return parse_plan(args, &geometry) ? PyLong_FromUnsignedLongLong(geometry.segment_size) : NULL;
}

static PyObject *arena_offset(PyObject *module, PyObject *args) {
    (void)module;
    struct sr_geometry geometry;
    return parse_plan(args, &geometry) ? PyLong_FromUnsignedLongLong(geometry.arena_offset) : NULL;
}

static PyObject *format_segment(PyObject *module, PyObject *args, PyObject *kwargs) {
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
    int locks, fd;
    struct look look;
    struct sr_endpoint endpoint;
    struct sr_queue queue;
    if (!PyArg_ParseTuple(args, "Oii", &segment, &locks, &fd) || !sr_look_begin(&look, segment, PyBUF_SIMPLE))
        return NULL;
    struct sr_contents contents = {0};
    enum sr_result result = sr_look_through(&look, &endpoint, &queue, locks, fd);
    int living = 0;
    bool stopped = false, claimed = false;
    if (result == SR_OK) {
        living = sr_count_living(&endpoint);
        claimed = sr_is_claimed(&endpoint);
        result = sr_contents_by_the_living(&endpoint, &contents);
        stopped = SR_LOAD(&endpoint.header->shutdown, acquire) == SR_STOPPED;
    }
    sr_look_away(&queue);
    if (!sr_look_end(&look) || SR_LOAD(&endpoint.damaged, relaxed))
        result = SR_CORRUPT;
    if (result != SR_OK)
        return sr_raise(NULL, result, CONSUMING, 0, 0);
    return Py_BuildValue("iOK", living, claimed ? Py_True : Py_False,
                         stopped ? 0ULL : (unsigned long long)contents.undelivered);
}

/* format_queue(segment, maxsize, max_bytes, capacity, stored): the control block, behind the first ring. `stored`: that
 * ring has all its storage. */
static PyObject *format_queue(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *segment;
    unsigned long long maxsize, max_bytes, capacity;
    int stored;
    struct sr_geometry geometry;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "OKKKp", &segment, &maxsize, &max_bytes, &capacity, &stored) ||
        PyObject_GetBuffer(segment, &buffer, PyBUF_WRITABLE) != 0)
        return NULL;
    PyObject *answer = NULL;
    enum sr_result result = sr_geometry_read(&geometry, buffer.buf, (uint64_t)buffer.len);
    if (result == SR_OK && (uint64_t)buffer.len >= geometry.segment_size + sizeof(struct sr_control)) {
        sr_queue_format(buffer.buf, geometry.segment_size, maxsize, max_bytes, capacity);
        if (stored)
            SR_STORE(&((struct sr_header *)buffer.buf)->stored, geometry.granules, relaxed);
        answer = Py_NewRef(Py_None);
    } else {
        PyErr_Format(PyExc_ValueError, "a segment of %zd bytes cannot hold this queue", buffer.len);
    }
    PyBuffer_Release(&buffer);
    return answer;
}

/* describe_queue(segment): (maxsize, max_bytes, capacity) */
static PyObject *describe_queue(PyObject *module, PyObject *segment) {
    (void)module;
    struct look look;
    struct sr_endpoint endpoint;
    struct sr_queue queue;
    if (!sr_look_begin(&look, segment, PyBUF_SIMPLE))
        return NULL;
    enum sr_result result = sr_look_through(&look, &endpoint, &queue, -1, -1);
    if (result == SR_OK && !queue.root)
        result = SR_CORRUPT;
    PyObject *answer = result == SR_OK ? Py_BuildValue("KKK", (unsigned long long)queue.control->maxsize,
                                                       (unsigned long long)queue.control->max_bytes,
                                                       (unsigned long long)queue.control->capacity)
                                       : sr_raise(NULL, result, CONSUMING, 0, 0);
    sr_look_away(&queue);
    return sr_look_answer(&look, answer);
}

/* The tasks of a queue that one has left. */
static PyObject *tasks(PyObject *args, bool one_is_done) {
    PyObject *segment;
    int fd, file;
    struct look look;
    struct sr_endpoint endpoint;
    struct sr_queue queue = {.root = NULL};
    if (!PyArg_ParseTuple(args, "Oii", &segment, &fd, &file) || !sr_look_begin(&look, segment, PyBUF_WRITABLE))
        return NULL;
    struct sr_contents contents = {0};
    int locks = sr_os_locks_open(fd, NULL);
    enum sr_result result = locks < 0 ? SR_SYSTEM_ERROR : sr_look_through(&look, &endpoint, &queue, locks, file);
    if (result == SR_OK && !queue.root)
        result = SR_CORRUPT; /* its header says no more that it is a queue */
    if (result == SR_OK)
        result = sr_contents_by_the_living(&endpoint, &contents);
    int64_t count = 0;
    if (result == SR_OK) {
        count = (int64_t)(contents.ready + contents.claimed + contents.taken) + sr_queue_pending(&queue);
        if (one_is_done && count > 0) {
            SR_ADD(&queue.control->pending[0], (uint64_t)-1, acq_rel);
            sr_event_notify(&queue.control->done, SR_WAKE_ALL);
        }
    }
    PyObject *answer = result == SR_OK ? PyLong_FromLongLong(count) : sr_raise(NULL, result, CONSUMING, 0, 0);
    sr_look_away(&queue);
    if (locks >= 0)
        sr_os_locks_close(locks);
    return sr_look_answer(&look, answer);
}

static PyObject *queue_unfinished(PyObject *module, PyObject *args) {
    (void)module;
    return tasks(args, false);
}

static PyObject *queue_task_done(PyObject *module, PyObject *args) {
    (void)module;
    return tasks(args, true);
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

static PyObject *locks_path(PyObject *module, PyObject *args) {
    (void)module;
    const char *ring;
    unsigned long long identity;
    char path[4096];
    if (!PyArg_ParseTuple(args, "sK", &ring, &identity))
        return NULL;
    sr_locks_path(path, sizeof path, ring, identity);
    return PyUnicode_DecodeFSDefault(path);
}

static PyObject *locks_open(PyObject *module, PyObject *args) {
    (void)module;
    int fd;
    const char *path = NULL;
    if (!PyArg_ParseTuple(args, "i|z", &fd, &path))
        return NULL;
    int locks = sr_os_locks_open(fd, path);
    return locks < 0 ? sr_raise_errno(NULL) : PyLong_FromLong(locks);
}

static PyObject *locks_close(PyObject *module, PyObject *locks_object) {
    (void)module;
    int locks = (int)PyLong_AsLong(locks_object);
    if (locks == -1 && PyErr_Occurred())
        return NULL;
    sr_os_locks_close(locks);
    Py_RETURN_NONE;
}

static PyObject *locks_take(PyObject *module, PyObject *args) {
    (void)module;
    int locks;
    unsigned long long byte;
    if (!PyArg_ParseTuple(args, "iK", &locks, &byte))
        return NULL;
    enum sr_os_lock lock = sr_os_lock(locks, byte);
    return lock == SR_OS_LOCK_REFUSED ? sr_raise_errno(NULL) : PyBool_FromLong(lock == SR_OS_LOCKED);
}

static PyObject *locks_drop(PyObject *module, PyObject *args) {
    (void)module;
    int locks;
    unsigned long long byte;
    if (!PyArg_ParseTuple(args, "iK", &locks, &byte))
        return NULL;
    sr_os_unlock(locks, byte);
    Py_RETURN_NONE;
}

static PyObject *locks_seen(PyObject *module, PyObject *args) {
    (void)module;
    int locks;
    unsigned long long begin, length;
    if (!PyArg_ParseTuple(args, "iKK", &locks, &begin, &length))
        return NULL;
    return PyBool_FromLong(sr_os_sees_lock(locks, begin, length));
}

static PyObject *locks_share(PyObject *module, PyObject *args) {
    (void)module;
    int locks;
    unsigned long long byte;
    if (!PyArg_ParseTuple(args, "iK", &locks, &byte))
        return NULL;
    enum sr_os_lock lock = sr_os_lock_shared(locks, byte);
    return lock == SR_OS_LOCK_REFUSED ? sr_raise_errno(NULL) : PyBool_FromLong(lock == SR_OS_LOCKED);
}

static PyObject *locks_descriptor(PyObject *module, PyObject *locks_object) {
    (void)module;
    int locks = (int)PyLong_AsLong(locks_object);
    if (locks == -1 && PyErr_Occurred())
        return NULL;
    int fd = sr_os_locks_descriptor(locks);
    return fd < 0 ? sr_raise_errno(NULL) : PyLong_FromLong(fd);
}

/* Handles on their way: what to do with the count of a sender, in a segment that one may not be attached to. */
enum sent_step { SENT_OPEN, SENT_NOTE, SENT_ARRIVED, SENT_IS_AWAITED };

static PyObject *take_step(struct sr_endpoint *endpoint, enum sent_step step, int locks, struct sr_sent sent) {
    if (step == SENT_OPEN)
        return sr_sent_open(endpoint, locks, &sent) == SR_OK ? Py_BuildValue("II", sent.index, sent.number)
                                                             : Py_NewRef(Py_None);
    if (step == SENT_IS_AWAITED)
        return PyBool_FromLong(sr_sent_is_awaited(endpoint, &sent));
    (step == SENT_NOTE ? sr_sent_note : sr_sent_arrived)(endpoint, &sent);
    return Py_NewRef(Py_None);
}

static PyObject *sent(PyObject *args, enum sent_step step) {
    PyObject *segment;
    int locks = -1;
    struct sr_sent sent = {0};
    struct look look;
    const char *format = step == SENT_OPEN ? "Oi" : "OII";
    bool fine = step == SENT_OPEN ? PyArg_ParseTuple(args, format, &segment, &locks)
                                  : PyArg_ParseTuple(args, format, &segment, &sent.index, &sent.number);
    if (!fine || !sr_look_begin(&look, segment, PyBUF_WRITABLE))
        return NULL;
    struct sr_geometry geometry;
    struct sr_endpoint endpoint = {.locks = -1};
    enum sr_result result = sr_geometry_read(&geometry, look.buffer.buf, (uint64_t)look.buffer.len);
    if (result != SR_OK)
        return sr_look_answer(&look, sr_raise(NULL, result, CONSUMING, 0, 0));
    sr_endpoint_bind(&endpoint, look.buffer.buf, &geometry);
    return sr_look_answer(&look, take_step(&endpoint, step, locks, sent));
}

static PyObject *sent_open(PyObject *module, PyObject *args) {
    (void)module;
    return sent(args, SENT_OPEN);
}
static PyObject *sent_note(PyObject *module, PyObject *args) {
    (void)module;
    return sent(args, SENT_NOTE);
}
static PyObject *sent_arrived(PyObject *module, PyObject *args) {
    (void)module;
    return sent(args, SENT_ARRIVED);
}
static PyObject *sent_is_awaited(PyObject *module, PyObject *args) {
    (void)module;
    return sent(args, SENT_IS_AWAITED);
}

PyMethodDef sr_segment_methods[] = {
    {"segment_size", segment_size, METH_VARARGS,
     PyDoc_STR("Bytes that a ring of this kind, capacity and slots takes.")},
    {"arena_offset", arena_offset, METH_VARARGS, PyDoc_STR("Where the messages of such a ring begin.")},
    {"format", (PyCFunction)(void (*)(void))format_segment, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("Write a header into a zeroed segment; the ring is born with its last store.")},
    {"check", check, METH_O, PyDoc_STR("'ready', 'retired', 'incomplete', 'not_a_ring', 'other_layout' or 'corrupt'.")},
    {"describe", describe, METH_O, PyDoc_STR("(kind, slots, identity, flags, codec as bytes), from the header alone.")},
    {"count_living", count_living, METH_VARARGS,
     PyDoc_STR("(attachments alive, whether others may yet attach, messages undelivered)")},
    {"format_queue", format_queue, METH_VARARGS, PyDoc_STR("Write a queue's control block behind its first ring.")},
    {"describe_queue", describe_queue, METH_O, PyDoc_STR("(maxsize, max_bytes, capacity), from the control block.")},
    {"queue_unfinished", queue_unfinished, METH_VARARGS, PyDoc_STR("Tasks of a queue that are not done.")},
    {"queue_task_done", queue_task_done, METH_VARARGS, PyDoc_STR("One is done; how many were not before that.")},
    {"retire", retire, METH_O, PyDoc_STR("Refuse further attachments; under the lifecycle lock.")},
    {"locks_path", locks_path, METH_VARARGS, PyDoc_STR("Of the file that has the locks of the ring at a path.")},
    {"locks_open", locks_open, METH_VARARGS, PyDoc_STR("A way to lock bytes of the segment behind a descriptor.")},
    {"locks_close", locks_close, METH_O, PyDoc_STR("Close it, dropping its locks.")},
    {"locks_take", locks_take, METH_VARARGS, PyDoc_STR("Try to lock one byte; False when somebody else has it.")},
    {"locks_share", locks_share, METH_VARARGS, PyDoc_STR("The same, beside others who share it.")},
    {"locks_descriptor", locks_descriptor, METH_O, PyDoc_STR("The descriptor behind them, to go along to a child.")},
    {"sent_open", sent_open, METH_VARARGS, PyDoc_STR("(index, number) of a sender; None when there are too many.")},
    {"sent_note", sent_note, METH_VARARGS, PyDoc_STR("One more handle is on its way.")},
    {"sent_arrived", sent_arrived, METH_VARARGS, PyDoc_STR("One has arrived.")},
    {"sent_is_awaited", sent_is_awaited, METH_VARARGS, PyDoc_STR("Is one still on its way?")},
    {"locks_drop", locks_drop, METH_VARARGS, PyDoc_STR("Let go of a byte.")},
    {"locks_seen", locks_seen, METH_VARARGS, PyDoc_STR("Does anybody else hold a byte of this range?")},
    {NULL, NULL, 0, NULL},
};
