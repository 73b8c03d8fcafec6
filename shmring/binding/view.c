/* view.c - a buffer over memory that somebody else maps and unmaps: what mmap.mmap is elsewhere, segment.windows.Segment
 * is on top of this. It counts its exports, so that nobody unmaps what an array still shows. */
#include "os/memory.h"
#include "attachment.h"

struct view {
    PyObject ob_base;
    void *address; /* NULL: bound to nothing */
    Py_ssize_t length;
    bool readonly;
    Py_ssize_t exports;
};

static PyObject *view_bind(PyObject *object, PyObject *args) {
    struct view *self = (struct view *)object;
    unsigned long long address, offset;
    Py_ssize_t length;
    int readonly, source;
    if (!PyArg_ParseTuple(args, "KnpiK", &address, &length, &readonly, &source, &offset))
        return NULL;
    if (self->address) {
        PyErr_SetString(PyExc_RuntimeError, "this view is bound already");
        return NULL;
    }
    if (!sr_os_memory_mapped((void *)(uintptr_t)address, (size_t)length, source, offset))
        return PyErr_NoMemory();
    self->address = (void *)(uintptr_t)address;
    self->length = length;
    self->readonly = readonly;
    Py_RETURN_NONE;
}

static PyObject *view_release(PyObject *object, PyObject *unused) {
    (void)unused;
    struct view *self = (struct view *)object;
    if (self->exports) {
        PyErr_Format(PyExc_BufferError, "%zd view(s) of this memory are alive", self->exports);
        return NULL;
    }
    if (self->address)
        sr_os_memory_unmapped(self->address);
    unsigned long long address = (unsigned long long)(uintptr_t)self->address;
    self->address = NULL;
    self->length = 0;
    return PyLong_FromUnsignedLongLong(address);
}

static int view_get_buffer(PyObject *object, Py_buffer *buffer, int flags) {
    struct view *self = (struct view *)object;
    if (!self->address) {
        buffer->obj = NULL;
        PyErr_SetString(PyExc_ValueError, "this segment is closed");
        return -1;
    }
    if (PyBuffer_FillInfo(buffer, object, self->address, self->length, self->readonly, flags) != 0)
        return -1;
    self->exports++;
    return 0;
}

static void view_release_buffer(PyObject *object, Py_buffer *buffer) {
    (void)buffer;
    ((struct view *)object)->exports--;
}

static Py_ssize_t view_length(PyObject *object) { return ((struct view *)object)->length; }

static PyObject *view_closed(PyObject *object, void *unused) {
    (void)unused;
    return PyBool_FromLong(((struct view *)object)->address == NULL);
}

static void view_dealloc(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(object);
    Py_DECREF((PyObject *)type);
}

static PyMethodDef view_methods[] = {
    {"_bind", view_bind, METH_VARARGS,
     PyDoc_STR("_bind(address, length, readonly, source, offset): show this memory.")},
    {"_release", view_release, METH_NOARGS, PyDoc_STR("Let go of the memory: its address. BufferError while shown.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef view_attributes[] = {
    {"closed", view_closed, NULL, PyDoc_STR("True when it shows no memory."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot view_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("A buffer over mapped memory; see shmring.segment.Segment.")},
    {Py_tp_new, (void *)PyType_GenericNew},
    {Py_tp_dealloc, (void *)view_dealloc},
    {Py_tp_methods, view_methods},
    {Py_tp_getset, view_attributes},
    {Py_mp_length, (void *)view_length},
    {Py_bf_getbuffer, (void *)view_get_buffer},
    {Py_bf_releasebuffer, (void *)view_release_buffer},
    {0, NULL},
};

PyType_Spec sr_view_spec = {
    .name = "shmring._core.View",
    .basicsize = sizeof(struct view),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = view_slots,
};
