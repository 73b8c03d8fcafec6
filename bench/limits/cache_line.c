/* cache_line.c - the bare round trip of one shared word between two CPUs, both spinning.
 * usage: cache_line SECONDS; prints percentiles of single round trips, in nanoseconds. */
#include "classic_ring.h"

enum { MOST = 1 << 22 };

int main(int argc, char **argv) {
    double seconds = argc == 2 ? atof(argv[1]) : 0.1;
    _Atomic uint64_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    _Atomic uint64_t *there = words, *back = words + 32;
    if (fork_bound() == 0) {
        pin(1);
        for (uint64_t i = 1;; i++) {
            uint64_t seen;
            while ((seen = atomic_load_explicit(there, memory_order_acquire)) != i)
                if (seen == UINT64_MAX)
                    _exit(0);
            atomic_store_explicit(back, i, memory_order_release);
        }
    }
    pin(0);
    double *trips = malloc(sizeof(double) * MOST), began = seconds_now(), stop = began + seconds;
    long count = 0;
    while (began < stop && count < MOST) {
        uint64_t i = (uint64_t)++count;
        began = seconds_now();
        atomic_store_explicit(there, i, memory_order_release);
        while (atomic_load_explicit(back, memory_order_acquire) != i)
            ;
        trips[count - 1] = seconds_now() - began;
    }
    atomic_store(there, UINT64_MAX);
    wait(NULL);
    print_percentiles(trips, count);
    return 0;
}
