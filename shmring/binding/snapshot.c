/* snapshot.c - what stats(), inspect() and list() read. Changes nothing in the ring. */
#include <string.h>

#include "attachment.h"

static unsigned long long load(sr_atomic_u64 *counter) { return SR_LOAD(counter, acquire); }

static const char *role_name(uint32_t roles) {
    static const char *const NAMES[] = {"none", "producer", "consumer", "both"};
    return NAMES[roles & 3];
}

static PyObject *liveness_object(enum sr_os_liveness liveness) {
    return Py_NewRef(liveness == SR_OS_UNKNOWN ? Py_None : liveness == SR_OS_ALIVE ? Py_True : Py_False);
}

static PyObject *attachment_dict(struct sr_endpoint *endpoint, uint32_t slot, uint64_t state) {
    struct sr_attachment *entry = &endpoint->attachments[slot];
    bool attached = sr_entry_state(state) == SR_SLOT_ATTACHED;
    return Py_BuildValue("{sIsKsIsssNsKsKsKsKsK}", "slot", slot, "epoch", (unsigned long long)sr_entry_epoch(state),
                         "pid", SR_LOAD(&entry->pid, relaxed), "role", role_name(SR_LOAD(&entry->roles, acquire)),
                         "alive", attached ? liveness_object(sr_liveness(endpoint, slot)) : Py_NewRef(Py_False),
                         "attached_ns", load(&entry->attached_ns), "active_ns", load(&entry->active_ns), "died_ns",
                         load(&entry->died_ns), "messages_put", load(&entry->messages_put) - load(&entry->base_put),
                         "messages_got", load(&entry->messages_got) - load(&entry->base_got));
}

static PyObject *attachments(struct sr_endpoint *endpoint) {
    PyObject *list = PyList_New(0);
    for (uint32_t slot = 0; list && slot < SR_ATTACHMENTS; slot++) {
        uint64_t state = SR_LOAD(&endpoint->attachments[slot].state, acquire);
        if (sr_entry_state(state) == SR_SLOT_FREE)
            continue;
        PyObject *entry = attachment_dict(endpoint, slot, state);
        if (!entry || PyList_Append(list, entry) != 0)
            Py_CLEAR(list);
        Py_XDECREF(entry);
    }
    return list;
}

static PyObject *totals(struct sr_endpoint *endpoint) {
    unsigned long long sums[6] = {0};
    for (uint32_t slot = 0; slot < SR_ATTACHMENTS; slot++) {
        struct sr_attachment *entry = &endpoint->attachments[slot];
        sums[0] += load(&entry->messages_put);
        sums[1] += load(&entry->bytes_put);
        sums[2] += load(&entry->messages_got);
        sums[3] += load(&entry->bytes_got);
        sums[4] += load(&entry->redelivered);
        sums[5] += load(&entry->aborted);
    }
    struct sr_contents contents;
    if (sr_contents_by_the_living(endpoint, &contents) != SR_OK)
        return sr_raise(NULL, SR_CORRUPT, CONSUMING, 0, 0);
    if (SR_LOAD(&endpoint->header->shutdown, acquire) == SR_STOPPED)
        contents.ready = 0; /* nobody will get what is left */
    uint64_t used = contents.used_granules << SR_GRANULE_SHIFT;
    return Py_BuildValue("{sKsKsKsKsKsKsKsKsKsK}", "messages_put", sums[0], "bytes_put", sums[1], "messages_got",
                         sums[2], "bytes_got", sums[3], "redelivered", sums[4], "aborted", sums[5], "messages",
                         (unsigned long long)contents.ready, "claimed", (unsigned long long)contents.claimed, "taken",
                         (unsigned long long)contents.taken, "used",
                         (unsigned long long)(used < endpoint->geometry.capacity ? used : endpoint->geometry.capacity));
}

/* Positions are shown in bytes since the ring was made. */
static unsigned long long in_bytes(const struct sr_geometry *g, uint64_t position) {
    return (unsigned long long)sr_distance(g, sr_first_position(g), position) << SR_GRANULE_SHIFT;
}

static PyObject *text(const char *characters, size_t room) {
    size_t length = 0;
    while (length < room && characters[length])
        length++;
    return PyUnicode_DecodeUTF8(characters, (Py_ssize_t)length, "replace");
}

static PyObject *snapshot(struct sr_endpoint *endpoint) {
    struct sr_header *header = endpoint->header;
    const struct sr_geometry *g = &endpoint->geometry;
    PyObject *sums = totals(endpoint);
    PyObject *entries = sums ? attachments(endpoint) : NULL;
    if (!entries) {
        Py_XDECREF(sums);
        return NULL;
    }
    static const char *const KINDS[] = {"", "spsc", "mpmc", "semaphore", "topic", "latest"};
    /* In this order, so that none seems to have overtaken the next. */
    uint64_t reclaimed = SR_LOAD(&header->reclaim_position, acquire);
    uint64_t read = SR_LOAD(&header->read_position, acquire);
    uint64_t written = SR_LOAD(&header->write_position, acquire);
    if (g->kind == SR_KIND_SPSC)
        reclaimed = read;
    else if (sr_distance(g, reclaimed, read) <
             0) /* a taker died before it moved on, and all that it left is room now */
        read = reclaimed;
    if (g->kind != SR_KIND_LATEST && sr_distance(g, read, written) < 0) /* a claimer did */
        written = read;
    return Py_BuildValue("{sNsssNsKsKsKsIsIsIsKsKsIsIsKsKsKsNsN}", "name", text(header->name, SR_NAME_BYTES), "kind",
                         KINDS[g->kind], "codec", text(header->codec, SR_CODEC_BYTES), "capacity",
                         (unsigned long long)g->capacity, "slots", (unsigned long long)g->slots, "size",
                         (unsigned long long)g->segment_size, "segment_state", SR_LOAD(&header->state, acquire),
                         "shutdown", SR_LOAD(&header->shutdown, acquire), "flags", header->flags, "identity",
                         (unsigned long long)header->identity, "created_ns", (unsigned long long)header->created_ns,
                         "creator_pid", header->creator_pid, "layout_version", header->layout_version, "write_position",
                         in_bytes(g, written), "read_position", in_bytes(g, read), "reclaim_position",
                         in_bytes(g, reclaimed), "totals", sums, "attachments", entries);
}

PyObject *sr_ring_snapshot(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    return self->attached ? snapshot(&self->endpoint) : sr_raise(self, SR_CLOSED, CONSUMING, 0, 0);
}

PyObject *sr_ring_totals(PyObject *object, PyObject *unused) {
    (void)unused;
    struct ring *self = (struct ring *)object;
    if (!self->attached)
        return sr_raise(self, SR_CLOSED, CONSUMING, 0, 0);
    return sr_answer(self, CONSUMING, totals(&self->endpoint));
}

/* _core.snapshot(buffer, locks_fd, fd): the same for a ring that we are not attached to. */
static PyObject *look_at(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *segment;
    int locks_fd, fd;
    struct look look;
    struct sr_endpoint endpoint;
    struct sr_queue queue = {.root = NULL};
    if (!PyArg_ParseTuple(args, "Oii", &segment, &locks_fd, &fd) || !sr_look_begin(&look, segment, PyBUF_SIMPLE))
        return NULL;
    PyObject *answer = NULL;
    int locks = sr_os_locks_open(locks_fd, NULL);
    enum sr_result result = locks < 0 ? SR_SYSTEM_ERROR : sr_look_through(&look, &endpoint, &queue, locks, fd);
    if (result == SR_OK)
        answer = snapshot(&endpoint);
    else
        sr_raise(NULL, result, CONSUMING, 0, 0);
    sr_look_away(&queue);
    if (locks >= 0)
        sr_os_locks_close(locks);
    return sr_look_answer(&look, answer);
}

PyMethodDef sr_snapshot_methods[] = {
    {"snapshot", look_at, METH_VARARGS, PyDoc_STR("Everything that the header and the records tell, as a dict.")},
    {NULL, NULL, 0, NULL},
};
