/* classic_ring.h - the classic fixed-slot single-producer single-consumer ring, as in every textbook: two positions, each
 * side caching the other's. The yardstick of the benches, not a part of the library: no names, no waiting, no death. */
#ifndef CLASSIC_RING_H
#define CLASSIC_RING_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct classic_ring {
    _Alignas(128) _Atomic uint64_t write_position;
    _Alignas(128) _Atomic uint64_t read_position;
    _Alignas(128) uint64_t slots;
    uint64_t slot_bytes;
    _Alignas(4096) unsigned char data[];
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static inline struct classic_ring *classic_ring_new(uint64_t capacity, uint64_t slot_bytes) {
    uint64_t slots = 1;
    while (slots * 2 * slot_bytes <= capacity)
        slots *= 2;
    size_t bytes = sizeof(struct classic_ring) + slots * slot_bytes;
    struct classic_ring *ring =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (ring == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    ring->slots = slots;
    ring->slot_bytes = slot_bytes;
    return ring;
}

static inline unsigned char *slot_of(struct classic_ring *ring, uint64_t position) {
    return ring->data + (position & (ring->slots - 1)) * ring->slot_bytes;
}

static inline void classic_put(struct classic_ring *ring, uint64_t *mine, uint64_t *seen, const void *message,
                               size_t length) {
    while (*mine - *seen == ring->slots) {
        *seen = atomic_load_explicit(&ring->read_position, memory_order_acquire);
        if (*mine - *seen == ring->slots)
            relax();
    }
    memcpy(slot_of(ring, *mine), message, length);
    atomic_store_explicit(&ring->write_position, ++*mine, memory_order_release);
}

/* The next message, in place; classic_done gives its slot back. */
static inline unsigned char *classic_next(struct classic_ring *ring, uint64_t mine, uint64_t *seen) {
    while (mine == *seen) {
        *seen = atomic_load_explicit(&ring->write_position, memory_order_acquire);
        if (mine == *seen)
            relax();
    }
    return slot_of(ring, mine);
}
static inline void classic_done(struct classic_ring *ring, uint64_t *mine) {
    atomic_store_explicit(&ring->read_position, ++*mine, memory_order_release);
}

/* Fork a child that does not outlive its parent, which may be killed. */
static inline pid_t fork_bound(void) {
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return child;
}

/* Keep this process on the place-th CPU of SHMRING_BENCH_CPUS ("2,3"), going round the list; -1 there is none. */
static inline void pin(int place) {
    const char *list = getenv("SHMRING_BENCH_CPUS");
    int cpus[64], count = 0;
    for (char *next; list && *list && count < 64; list = *next == ',' ? next + 1 : "")
        cpus[count++] = (int)strtol(list, &next, 10);
    if (count == 0 || cpus[place % count] < 0)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpus[place % count], &set);
    sched_setaffinity(0, sizeof set, &set);
}

static inline double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Print p50, p90, p99, p99.9, p99.99 and the most, of times in seconds, as nanoseconds. */
static inline void print_percentiles(double *times, long count) {
    static const double shares[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
    qsort(times, (size_t)count, sizeof *times, ascending);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        printf("%.1f ", times[(long)((double)(count - 1) * shares[i])] * 1e9);
    printf("%.1f\n", times[count - 1] * 1e9);
}

#endif
