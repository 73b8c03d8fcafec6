/* explored.h - takes the place of <stdatomic.h> in atomics.h, so that the explorer runs the very sources of the core.
 *
 * A *configuration* is a handful of threads, what to set up before them and what must hold after them. The explorer runs
 * it again and again until it has seen every execution that C11's memory model allows (RC11, without load buffering): every
 * order of accesses that matters, every older value that a load may still read, every instant at which a thread may be
 * killed. Between its accesses to atomics a thread runs undisturbed, which loses nothing, because only those can be seen.
 */
#ifndef EXPLORED_H
#define EXPLORED_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum explore_order { ORDER_relaxed, ORDER_acquire, ORDER_release, ORDER_acq_rel };

uint64_t explore_load(void *p, unsigned width, enum explore_order order);
void explore_store(void *p, unsigned width, uint64_t value, enum explore_order order);
bool explore_cas(void *p, unsigned width, void *expected, uint64_t desired, enum explore_order order);
uint64_t explore_add(void *p, unsigned width, uint64_t value, enum explore_order order);
void explore_fence(void); /* seq_cst */
void explore_half_fence(enum explore_order order);
/* Plain memory, one access for all of it. Two that nothing orders, one of them a write, are an error. */
void explore_data(void *p, bool is_write);
/* A futex. */
void explore_park(void *p, uint64_t expected);
int explore_unpark(void *p, int count);
/* A word of the kernel's own, looked at and changed in one step: its value, which is always the last one; then, before any
 * other access, perhaps a new one, which wakes those who are parked on it. The kernel's locks order what they guard. */
uint64_t explore_kernel(uint64_t *p);
void explore_kernel_set(uint64_t *p, uint64_t value);
int explore_thread(void); /* that runs now; EXPLORE_THREADS in before() and after() */

/* Where no atomic access may go, in before() and after(). */
void explore_forbid(const void *begin, size_t length);

void explore_fail(const char *what);
#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            explore_fail(#condition);                                                                                  \
    } while (0)

enum { EXPLORE_THREADS = 5 };

struct configuration {
    const char *name;
    int threads;
    void (*thread[EXPLORE_THREADS])(void);
    void (*before)(void);
    void (*after)(void);  /* every thread has ended, sleeps for good or is dead */
    uint32_t *alive;      /* set: the first thread is killed at every instant; this then becomes 0 */
    bool fences_are_void; /* leave fences out: allows more executions, and spares their orders */
};

bool explore_is_asleep(int thread); /* in after() */

/* For a program with a kernel that has locks: the words that a dead thread has something in, and letting go of that. Each is
 * a step of its own, in any order: the kernel takes a process apart piece by piece. */
int kernel_words_of(int thread, uint64_t *words[], int most) __attribute__((weak));
void kernel_let_go(int thread, uint64_t *word) __attribute__((weak));

typedef uint64_t sr_atomic_u64;
typedef uint32_t sr_atomic_u32;

#define SR_LOAD(p, order) ((__typeof__(*(p)))explore_load((p), sizeof *(p), ORDER_##order))
#define SR_STORE(p, v, order) explore_store((p), sizeof *(p), (v), ORDER_##order)
#define SR_CAS(p, expected, desired, order) explore_cas((p), sizeof *(p), (expected), (desired), ORDER_##order)
#define SR_ADD(p, v, order) explore_add((p), sizeof *(p), (v), ORDER_##order)
#define SR_GLANCE(p) (*(p))
#define SR_FENCE(order) explore_half_fence(ORDER_##order)
#define SR_PAYLOAD_WRITE(destination, source, length) memcpy((destination), (source), (length))
#define SR_PAYLOAD_READ(destination, source, length) memcpy((destination), (source), (length))

/* Both halves are full fences here: what membarrier makes of a light and a heavy one together. */
static inline void sr_light_fence(void) { explore_fence(); }
static inline void sr_heavy_fence(void) { explore_fence(); }
static inline void sr_cpu_relax(void) {}

#endif
