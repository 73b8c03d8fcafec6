/* attachment.h - what the binding's files share. The only headers above the core that know Python. */
#ifndef SHMRING_BINDING_ATTACHMENT_H
#define SHMRING_BINDING_ATTACHMENT_H

#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "queue/queue.h"

enum side { PRODUCING = 0, CONSUMING = 1 };

/* Why an operation may not start at once; 0 on the fast path. */
enum gate { GATE_ROLE = 1, GATE_BUSY = 2, GATE_CLOSED = 4 };

struct ring {
    PyObject ob_base;
    struct sr_endpoint endpoint;
    struct sr_queue *queue; /* whose root this is; NULL for everything else */
    bool counts_tasks;
    bool drops_undecodable;
    Py_buffer mapping;
    PyObject *name;
    char *path; /* where its name stands in the file system, or NULL */
    unsigned gate[2];
    unsigned calls;  /* that have let the interpreter go */
    unsigned leases; /* open claims and borrows */
    bool claim_open;
    bool mapped;
    bool attached;
    bool outlive_peers;
    bool populate; /* map all pages when a role is taken */
    bool populated;
    bool keeps_name; /* for who has it may not remove it */
    bool clears_claims;
    unsigned turn; /* messages moved for event loops since one of them was let run */
    int segment_fd;
    int locks_fd;     /* the segment's, or that of the file beside it */
    char *locks_path; /* of a file beside it, or NULL */
    struct sr_os_file segment_file, locks_file;
    bool wary;       /* messages are decoded only while nobody else may write: the file is looked at again and again */
    bool was_opened; /* once that is not so, it never is again: he may have it mapped */
    uint64_t owner;  /* the file's, when we came */
    int64_t looked_ns;
    PyObject *encode, *decode, *view, *release; /* the codec's; NULL where messages are bytes, or it has none */
    /* Short cuts of a codec that has them: for objects of plain types, and for short records that begin with the mark. */
    PyObject *plain_encode, *plain_decode;
    int plain_mark;
    PyObject *scratch;   /* a bytearray, for copies that are thrown away; or NULL */
    uint32_t generation; /* of forks; differs in a child until it has an attachment of its own */
    char *semaphore_names[3];
    struct ring *next, *previous; /* of those that are attached: leaving.c */
    int64_t spin_ns;
};

extern uint32_t sr_fork_generation;
extern PyObject *sr_lease_type, *sr_leased_type, *sr_guard_type;
extern PyObject *sr_release_name; /* "release", interned */
extern PyObject *sr_watch_type;
extern PyObject *sr_chain_type;
extern PyObject *sr_decode_error; /* the class; NULL until the package has told us */
extern PyObject *sr_nothing;      /* what there is where no message is: any other object may be one */

/* One blocking call: what blocking.c needs, and the interpreter's state while it is let go. */
struct call {
    struct ring *ring;
    PyThreadState *thread;
    struct sr_wait wait;
    enum side side;
    size_t length; /* of the message that waits */
};

/* errors.c */
/* Relative; 0 never waits, INT64_MAX waits for ever. false: an exception is set. */
bool sr_parse_timeout(PyObject *timeout, int64_t *timeout_ns);
/* The same, but that a negative one is 0, as in the standard library's queues. */
bool sr_parse_patience(PyObject *timeout, int64_t *timeout_ns);
struct arguments {
    const char *function;
    const char *first; /* name of the one other parameter, or NULL */
    bool first_required;
    bool never_waits; /* has no timeout */
};
bool sr_parse_arguments(const struct arguments *expected, PyObject *const *args, Py_ssize_t count, PyObject *names,
                        PyObject **first, PyObject **timeout);
/* Sets the exception for a result; always returns NULL. `length`: of the message concerned. */
PyObject *sr_raise(struct ring *ring, enum sr_result result, enum side side, uint64_t length, int64_t timeout_ns);
/* OSError from this module's errno, which is not Python's where the two are linked with different C libraries. */
PyObject *sr_raise_errno(PyObject *path);
/* Whoever waits for another that comes or goes does it so long. */
#define SR_PATIENCE_NS INT64_C(10000000000)
bool sr_set_diagnosis(PyObject *callable);
bool sr_contiguous_bytes(PyObject *object, Py_buffer *buffer); /* false: an exception is set */

const char *sr_result_name(enum sr_result result);

/* segment.c: a look at a segment that we are not attached to, guarded against truncation as long as it lasts. */
struct look {
    Py_buffer buffer;
    sr_atomic_u32 damaged;
};
bool sr_look_begin(struct look *look, PyObject *segment, int buffer_flags); /* false: an exception is set */
/* An endpoint of what is looked at, with locks to ask for the living through; and, of a queue, its further links, which the
 * caller closes again. */
enum sr_result sr_look_through(struct look *look, struct sr_endpoint *endpoint, struct sr_queue *queue, int locks,
                               int fd);
void sr_look_away(struct sr_queue *queue); /* after it, whatever it answered */
bool sr_look_end(struct look *look);       /* false: pages were missing, and what was seen of them were zeros */
PyObject *sr_look_answer(struct look *look, PyObject *answer); /* ends the look: the answer, or else Corrupt */

/* attachment.c */
bool sr_pass_gate(struct ring *self, enum side side); /* the slow way in; false: an exception is set */
void sr_call_begin(struct call *call, struct ring *self, enum side side, int64_t timeout_ns);
/* Ends a call; the last one out of a ring that was closed meanwhile completes that close. */
void sr_leave(struct ring *self);
static inline void sr_call_end(struct ring *self, enum side side) {
    if (SR_UNLIKELY(self->gate[side] & GATE_CLOSED))
        sr_leave(self);
}
/* What a call answers: nothing that it did counts when pages were taken from under it. */
static inline PyObject *sr_answer(struct ring *self, enum side side, PyObject *answer) {
    if (SR_UNLIKELY(SR_LOAD(&self->endpoint.damaged, relaxed)) && answer) {
        Py_DECREF(answer);
        answer = sr_raise(self, SR_CORRUPT, side, 0, 0);
    }
    sr_call_end(self, side);
    return answer;
}
extern PyType_Spec sr_attachment_spec;
PyObject *sr_attachment_new(PyTypeObject *type, PyObject *args, PyObject *kwargs);
void sr_attachment_dealloc(PyObject *object);

/* Whether one thread at a time may use this side: what it does lies in the endpoint, not in the segment alone. */
static inline bool sr_one_at_a_time(const struct ring *self, enum side side) {
    uint32_t kind = self->endpoint.geometry.kind;
    return kind == SR_KIND_SPSC || (kind == SR_KIND_TOPIC && side == CONSUMING) ||
           (kind == SR_KIND_LATEST && side == PRODUCING);
}

/* Copies let other threads run when they are long. */
enum { LONG_ENOUGH_TO_LET_OTHERS_RUN = 256 * 1024 }; /* some tens of microseconds */
enum { LONG_ENOUGH_FOR_SIGNALS = 2048 };             /* to be decoded: some microseconds */
void sr_copy(struct ring *self, enum side side, void *destination, const void *source, size_t length);
void sr_gather(struct ring *self, void *destination, const Py_buffer *parts, Py_ssize_t count, size_t length);

static inline bool sr_gate_open(struct ring *self, enum side side) {
    return SR_LIKELY(!self->gate[side] && self->generation == sr_fork_generation);
}

static inline void sr_count(sr_atomic_u64 *counter, uint64_t amount) {
    SR_STORE(counter, SR_LOAD(counter, relaxed) + amount,
             relaxed); /* ours alone; the interpreter lock guards threads */
}
/* For whoever asks how long ago we did anything: a look at the clock every few hundred messages. */
static inline void sr_note_activity(struct ring *self, sr_atomic_u64 *messages) {
    if (SR_UNLIKELY((SR_LOAD(messages, relaxed) & 255) == 0))
        SR_STORE(&self->endpoint.self->active_ns, (uint64_t)sr_os_realtime_ns(), relaxed);
}
static inline void sr_count_put(struct ring *self, uint64_t length) {
    sr_note_activity(self, &self->endpoint.self->messages_put);
    sr_count(&self->endpoint.self->messages_put, 1);
    sr_count(&self->endpoint.self->bytes_put, length);
}
static inline void sr_count_got(struct ring *self, uint64_t messages, uint64_t bytes, uint64_t redelivered) {
    sr_note_activity(self, &self->endpoint.self->messages_got);
    sr_count(&self->endpoint.self->messages_got, messages);
    sr_count(&self->endpoint.self->bytes_got, bytes);
    if (SR_UNLIKELY(redelivered))
        sr_count(&self->endpoint.self->redelivered, redelivered);
}

/* put_get.c, batches.c, event_loop.c */
#define SR_FASTCALL(name) PyObject *name(PyObject *object, PyObject *const *args, Py_ssize_t count, PyObject *names)
SR_FASTCALL(sr_ring_put);
SR_FASTCALL(sr_ring_get);
SR_FASTCALL(sr_ring_get_into);
SR_FASTCALL(sr_ring_put_many);
SR_FASTCALL(sr_ring_get_many);
SR_FASTCALL(sr_ring_claim);
SR_FASTCALL(sr_ring_borrow);
SR_FASTCALL(sr_ring_skip);
PyObject *sr_ring_next(PyObject *object);
/* For event loops: they answer where the others wait. */
PyObject *sr_ring_try_get(PyObject *object, PyObject *in_turn);
PyObject *sr_ring_put_or_hold(PyObject *object, PyObject *data);
PyObject *sr_ring_put_held(PyObject *object, PyObject *held);
PyObject *sr_ring_turn_is_over(PyObject *object, void *unused);
/* The same under other names, for topics and latest values. */
PyObject *sr_put_as(const struct arguments *expected, struct ring *self, PyObject *const *args, Py_ssize_t count,
                    PyObject *names);
PyObject *sr_put_many_as(const struct arguments *expected, struct ring *self, PyObject *const *args, Py_ssize_t count,
                         PyObject *names);
/* What was copied was overwritten meanwhile: may we try again? SR_OK, or why not. */
struct retry {
    int64_t timeout_ns;
    int64_t deadline_ns; /* 0: not set yet */
    int count;
};
enum sr_result sr_retry(struct retry *retry);

/* codec.c: messages that a codec makes and reads */
/* What the codec made of an object, held by its buffers from here on: nobody can resize them under us. */
struct parts {
    Py_buffer few[4];
    Py_buffer *each;
    Py_ssize_t count;
    size_t length; /* of all */
};
PyObject *sr_encode(struct ring *self, PyObject *object);                   /* what the codec makes of it, or NULL */
bool sr_hold_parts(struct ring *self, PyObject *made, struct parts *parts); /* false: an exception is set */
void sr_close_parts(struct parts *parts);
/* Records are at an endpoint: the ring's own, or that of a queue's link, which whoever has a record there is in.
 * The object in a taken record, which is settled and counted in any case; the caller announces the room. NULL: an
 * exception is set, and the message was handed back; or it was overwritten: *again. */
PyObject *sr_receive(struct ring *self, struct sr_endpoint *at, struct sr_record *record, bool *again);
/* The same without settling: the caller does, unless *settled. */
PyObject *sr_read_taken(struct ring *self, struct sr_endpoint *at, struct sr_record *record, bool *again,
                        bool *settled);
PyObject *sr_decode_copy(struct ring *self, const struct sr_record *record, bool *again);
/* What a reader of the codec, decode or view, makes of a message. NULL: an exception is set, DecodeError if it is the
 * message's fault. */
PyObject *sr_read_record(struct ring *self, struct sr_endpoint *at, const struct sr_record *record, PyObject *reader,
                         PyObject *argument);
bool sr_is_decode_error(void); /* is the exception that is set one? */
/* Signals, while the message at hand can be handed back. 0; or -1 with an exception set, and *ours false in a child that a
 * handler has forked: there nothing is to be handed back. */
int sr_serve_signals(struct ring *self, bool *ours);
void sr_refuse_reference(struct ring *self, struct sr_endpoint *at, const struct sr_record *record, PyObject *value);

/* lease.c */
extern PyType_Spec sr_lease_spec, sr_leased_spec;
PyObject *sr_lease_new(struct ring *ring, enum side side, uint64_t length, PyObject *timeout);
/* Calls the codec with a view of the record. *kept: something refers to the record still, and it is settled when the last
 * of that goes; else the caller settles it. */
PyObject *sr_lease_read(struct ring *ring, struct sr_endpoint *at, const struct sr_record *record, PyObject *reader,
                        bool *kept);

/* queue.c: what puts into a queue and gets from it, for whoever does that elsewhere */
extern PyType_Spec sr_chain_spec, sr_queue_spec, sr_simple_queue_spec;
/* A record of this ring, or of a link of this queue: which we are in until sr_done_with. */
struct placed {
    struct sr_endpoint *at;
    struct sr_record record;
};
enum sr_result sr_queue_claim_for(struct ring *self, uint64_t length, const struct sr_wait *wait,
                                  struct sr_queue_standing *standing, struct placed *placed);
enum sr_result sr_queue_take_for(struct ring *self, const struct sr_wait *wait, struct placed *placed);
/* As sr_get_one of message.h. */
PyObject *sr_queue_get_one(struct ring *self, int64_t timeout_ns, struct sr_record *record, enum sr_result *result);
PyObject *sr_queue_put_object(struct ring *self, PyObject *object, int64_t timeout_ns);
PyObject *sr_queue_get_object(struct ring *self, int64_t timeout_ns);
void sr_tidy_up(struct ring *self);                                      /* what the last get left to do */
void sr_queue_handed_back_to(struct ring *self, struct sr_endpoint *at); /* and done with */
static inline void sr_done_with(struct ring *self, struct sr_endpoint *at) {
    if (self->queue)
        sr_queue_leave(self->queue, (struct sr_link *)at);
}
/* JoinableQueue: a task is counted before its record is settled, so that no look at both misses it. */
static inline void sr_count_task(struct ring *self, int64_t amount) {
    if (SR_UNLIKELY(self->counts_tasks))
        SR_ADD(&self->queue->control->pending[self->endpoint.slot], (uint64_t)amount, acq_rel);
}

/* leaving.c */
void sr_live(struct ring *self); /* it is attached */
void sr_live_no_more(struct ring *self);
/* Detaches, and removes the names of what is nobody's any more; before sr_detach_finish. */
enum sr_result sr_leave_segment(struct ring *self, bool *abandoned);
PyObject *sr_leave_at_exit(PyObject *module, PyObject *unused);

/* memory.c */
extern PyType_Spec sr_guard_spec;

/* view.c: memory that windows.py maps */
extern PyType_Spec sr_view_spec;

/* watch.c: waiting in an event loop */
extern PyType_Spec sr_watch_spec;
extern PyMethodDef sr_watch_functions[];
PyObject *sr_watch_new(struct sr_event *event);
/* The same in a link of a queue, which it stays in until it is closed. */
PyObject *sr_watch_new_in(struct ring *ring, struct sr_link *link, struct sr_event *event);
PyObject *sr_ring_watch(PyObject *object, PyObject *side);
PyObject *sr_ring_look_up(PyObject *object, PyObject *side);
PyObject *sr_ring_pass_on(PyObject *object, PyObject *const *args, Py_ssize_t count);

/* attachment.c, topic.c, latest.c */
extern PyType_Spec sr_ring_spec, sr_topic_spec, sr_subscription_spec, sr_latest_spec;
#define SR_METHOD(function) (PyCFunction)(void (*)(void))(function), METH_FASTCALL | METH_KEYWORDS

/* snapshot.c: what inspect and stats show */
PyObject *sr_ring_snapshot(PyObject *object, PyObject *unused);
PyObject *sr_ring_totals(PyObject *object, PyObject *unused);

/* snapshot.c, segment.c, memory.c */
extern PyMethodDef sr_snapshot_methods[];
extern PyMethodDef sr_segment_methods[];
extern PyMethodDef sr_memory_methods[];

#endif
