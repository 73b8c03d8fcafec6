/* atomics.h - every access to memory that another process may touch at the same time.
 *
 * This is the only file that knows <stdatomic.h>. Algorithms name an ordering with each access
 * (SR_LOAD(p, acquire)), so that a checker can define SR_ATOMICS_REPLACED, supply the same macros and run the very same
 * source under its own memory model.
 *
 * Invariants: words are 8 bytes, aligned and lock-free (static_assert below). seq_cst occurs on fences only.
 * Compare-and-swap failures are relaxed: every caller reloads with acquire before it believes what it saw.
 */
#ifndef SHMRING_ATOMICS_H
#define SHMRING_ATOMICS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef SR_ATOMICS_REPLACED
#include SR_ATOMICS_REPLACED
#else

#include <assert.h>
#include <stdatomic.h>
#include <string.h>

typedef _Atomic uint64_t sr_atomic_u64;
typedef _Atomic uint32_t sr_atomic_u32;

static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "shmring needs lock-free 8-byte atomics; this CPU has none");
static_assert(sizeof(sr_atomic_u64) == 8 && sizeof(sr_atomic_u32) == 4, "atomics must be as wide as their values");

#define SR_LOAD(p, order) atomic_load_explicit((p), memory_order_##order)
#define SR_STORE(p, v, order) atomic_store_explicit((p), (v), memory_order_##order)
#define SR_CAS(p, expected, desired, order)                                                                            \
    atomic_compare_exchange_strong_explicit((p), (expected), (desired), memory_order_##order, memory_order_relaxed)
#define SR_ADD(p, v, order) atomic_fetch_add_explicit((p), (v), memory_order_##order)
/* A word of this process that only a signal handler in this very thread sets: no step to a checker. */
#define SR_GLANCE(p) atomic_load_explicit((p), memory_order_relaxed)
/* Where payload is read while it may be overwritten, and the look afterwards decides: release after the announcement of
 * the writer, acquire before the look of the reader. Compiler barriers on x86. */
#define SR_FENCE(order) atomic_thread_fence(memory_order_##order)

/* Payload bytes are plain memory: the record word orders them. (Not where a topic overwrites, and in a latest segment:
 * there a reader throws away what it copied when the word that it looks at afterwards has moved on.) */
#define SR_PAYLOAD_WRITE(destination, source, length) memcpy((destination), (source), (length))
#define SR_PAYLOAD_READ(destination, source, length) memcpy((destination), (source), (length))

/* The store-load fence of the two Dekker-style handshakes (commit against park, claim against shutdown) comes in two
 * halves. The side that runs for every message takes the light half, the rare side the heavy one; together they order
 * like two seq_cst fences. Where the kernel can run a barrier on all CPUs of the registered processes (Linux membarrier),
 * the light half is a compiler barrier; else both are full fences. */
extern bool sr_fences_are_asymmetric; /* set once, before the first endpoint exists, by sr_os_start() */
void sr_heavy_fence(void);            /* os_*.c */

static inline void sr_light_fence(void) {
    if (sr_fences_are_asymmetric)
        atomic_signal_fence(memory_order_seq_cst);
    else
        atomic_thread_fence(memory_order_seq_cst);
}

/* Tells the CPU that this is a spin loop. */
static inline void sr_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ __volatile__("yield" ::: "memory");
#else
    atomic_signal_fence(memory_order_seq_cst);
#endif
}

#endif /* SR_ATOMICS_REPLACED */

#define SR_LIKELY(x) __builtin_expect(!!(x), 1)
#define SR_UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
