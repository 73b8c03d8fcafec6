/* replaced.h - the accesses of shmring/core/atomics.h in Relacy's words, so that the core's own sources run under its
 * model of memory. Payload bytes become one rl::var a granule: Relacy reports a race on them, and reading what nobody
 * wrote.
 *
 * Included in atomics.h's stead (SR_ATOMICS_REPLACED), and before that by rings.cpp: the core's headers are C, and what
 * C++ cannot take of them is turned off here.
 */
#ifndef SHMRING_TESTS_RELACY_REPLACED_H
#define SHMRING_TESTS_RELACY_REPLACED_H

#include <stdint.h>
#include <string.h>
#include <relacy/relacy.hpp>

/* layout.h holds the bytes of a segment to their offsets; an rl::atomic is wider than its value. */
#undef static_assert
#define static_assert(...)

typedef rl::atomic<uint64_t> sr_atomic_u64;
typedef rl::atomic<uint32_t> sr_atomic_u32;

#define SR_LOAD(p, order) (p)->load(rl::mo_##order, $)
#define SR_STORE(p, v, order) (p)->store((v), rl::mo_##order, $)
#define SR_CAS(p, expected, desired, order)                                                                            \
    (p)->compare_exchange_strong(*(expected), (desired), rl::mo_##order, $, rl::mo_relaxed, $)
#define SR_ADD(p, v, order) (p)->fetch_add((v), rl::mo_##order, $)
#define SR_GLANCE(p) SR_LOAD(p, relaxed)
#define SR_FENCE(order) rl::atomic_thread_fence(rl::mo_##order, $)

/* The arena of the ring that is being run, and the variable that stands for each granule of it. */
struct sr_checked_payload {
    unsigned char *arena;
    rl::var<uint64_t> *granules;
};
inline sr_checked_payload sr_payload;

/* Of each granule the first eight bytes count, which are all that a test writes. */
inline void sr_payload_write(unsigned char *destination, const void *source, uint64_t length, rl::debug_info_param at) {
    for (uint64_t done = 0; done < length; done += 64) {
        uint64_t value;
        memcpy(&value, (const unsigned char *)source + done, sizeof(value));
        sr_payload.granules[(destination - sr_payload.arena + done) / 64](at).store(value);
    }
}
inline void sr_payload_read(void *destination, const unsigned char *source, uint64_t length, rl::debug_info_param at) {
    for (uint64_t done = 0; done < length; done += 64) {
        uint64_t value = sr_payload.granules[(source - sr_payload.arena + done) / 64](at).load();
        memcpy((unsigned char *)destination + done, &value, sizeof(value));
    }
}
#define SR_PAYLOAD_WRITE(destination, source, length) sr_payload_write((destination), (source), (length), $)
#define SR_PAYLOAD_READ(destination, source, length) sr_payload_read((destination), (source), (length), $)

/* Both ways that the two halves of the fence can be made, as on a kernel with membarrier and on one without. */
inline bool sr_fences_are_asymmetric;
inline void sr_light_fence(void) {
    if (sr_fences_are_asymmetric)
        rl::atomic_signal_fence(rl::mo_seq_cst, $);
    else
        rl::atomic_thread_fence(rl::mo_seq_cst, $);
}
inline void sr_heavy_fence(void) {
    if (sr_fences_are_asymmetric) {
        rl::ctx().sched(); /* Relacy changes threads before every access, but not before this fence */
        rl::systemwide_fence($);
    } else {
        rl::atomic_thread_fence(rl::mo_seq_cst, $);
    }
}
inline void sr_cpu_relax(void) { rl::yield(1, $); }

#endif
