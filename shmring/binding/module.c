/* module.c - the module shmring._core. */
#include "attachment.h"
#include "wait/watch.h"

PyObject *sr_lease_type, *sr_leased_type, *sr_guard_type;
PyObject *sr_release_name;
PyObject *sr_watch_type;
PyObject *sr_chain_type;
PyObject *sr_nothing;
PyObject *sr_decode_error;

static void note_fork_in_child(void) {
    sr_fork_generation++;
    sr_watch_after_fork();
}

static PyObject *set_diagnosis(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *callable, *decode_error;
    if (!PyArg_ParseTuple(args, "OO", &callable, &decode_error))
        return NULL;
    sr_set_diagnosis(callable);
    PyObject *before = sr_decode_error;
    sr_decode_error = Py_NewRef(decode_error);
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static PyMethodDef core_methods[] = {
    {"set_diagnosis", set_diagnosis, METH_VARARGS,
     PyDoc_STR("The callable that turns a core result into an exception, and the class DecodeError.")},
    {"leave_at_exit", sr_leave_at_exit, METH_NOARGS,
     PyDoc_STR("Leave every ring after the interpreter's end; False where that cannot be.")},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "shmring._core",
    .m_doc = PyDoc_STR("The C core of shmring; the public names are in the package."),
    .m_size = -1,
    .m_methods = core_methods,
};

/* Attachment, and what derives from it. */
static bool add_attachments(PyObject *module) {
    static const struct {
        const char *name;
        PyType_Spec *spec;
    } DERIVED[] = {{"Ring", &sr_ring_spec},
                   {"Topic", &sr_topic_spec},
                   {"Subscription", &sr_subscription_spec},
                   {"Latest", &sr_latest_spec},
                   {"Chain", &sr_chain_spec}};
    PyObject *base = PyType_FromSpec(&sr_attachment_spec);
    bool fine = base && PyModule_AddObjectRef(module, "Attachment", base) == 0;
    for (size_t i = 0; fine && i < sizeof DERIVED / sizeof *DERIVED; i++) {
        PyObject *type = PyType_FromSpecWithBases(DERIVED[i].spec, base);
        fine = type && PyModule_AddObjectRef(module, DERIVED[i].name, type) == 0;
        if (DERIVED[i].spec == &sr_chain_spec)
            sr_chain_type = Py_XNewRef(type);
        Py_XDECREF(type);
    }
    Py_XDECREF(base);
    return fine;
}

PyMODINIT_FUNC PyInit__core(void) {
    sr_os_start();
    if (!sr_os_at_fork(note_fork_in_child))
        return PyErr_NoMemory();
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    sr_lease_type = PyType_FromSpec(&sr_lease_spec);
    sr_leased_type = PyType_FromSpec(&sr_leased_spec);
    sr_guard_type = PyType_FromSpec(&sr_guard_spec);
    PyObject *view_type = PyType_FromSpec(&sr_view_spec);
    PyObject *queue_type = PyType_FromSpec(&sr_queue_spec);
    PyObject *simple_queue_type = PyType_FromSpec(&sr_simple_queue_spec);
    sr_watch_type = PyType_FromSpec(&sr_watch_spec);
    sr_nothing = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    sr_release_name = PyUnicode_InternFromString("release");
    if (!sr_lease_type || !sr_leased_type || !sr_guard_type || !sr_watch_type || !sr_nothing || !sr_release_name ||
        !view_type || !add_attachments(module) || PyModule_AddObjectRef(module, "Lease", sr_lease_type) != 0 ||
        PyModule_AddObjectRef(module, "Watch", sr_watch_type) != 0 ||
        PyModule_AddObjectRef(module, "NOTHING", sr_nothing) != 0 ||
        PyModule_AddObjectRef(module, "View", view_type) != 0 || !queue_type || !simple_queue_type ||
        PyModule_AddObjectRef(module, "Queue", queue_type) != 0 ||
        PyModule_AddObjectRef(module, "SimpleQueue", simple_queue_type) != 0 ||
        PyModule_AddFunctions(module, sr_segment_methods) != 0 ||
        PyModule_AddFunctions(module, sr_snapshot_methods) != 0 ||
        PyModule_AddFunctions(module, sr_memory_methods) != 0 ||
        PyModule_AddFunctions(module, sr_watch_functions) != 0 ||
        PyModule_AddIntConstant(module, "LAYOUT_VERSION", SR_LAYOUT_VERSION) != 0 ||
        PyModule_AddIntConstant(module, "ATTACHMENTS", SR_ATTACHMENTS) != 0 ||
        PyModule_AddIntConstant(module, "LIFECYCLE_BYTE", SR_LIFECYCLE_BYTE) != 0 ||
        PyModule_AddIntConstant(module, "CLAIM_BYTE", SR_CLAIM_BYTE) != 0 ||
        PyModule_AddIntConstant(module, "FLAG_LOCKS_APART", SR_FLAG_LOCKS_APART) != 0 ||
        PyModule_AddIntConstant(module, "GRANULE", SR_GRANULE) != 0 ||
        PyModule_AddIntConstant(module, "CONTROL_BYTES", sizeof(struct sr_control)) != 0) {
        Py_CLEAR(module);
    }
    Py_XDECREF(view_type);
    Py_XDECREF(queue_type);
    Py_XDECREF(simple_queue_type);
    return module;
}
