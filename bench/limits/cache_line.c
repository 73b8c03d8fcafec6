/* cache_line.c - the bare round trip of one shared word between two CPUs, both spinning.
 * usage: cache_line ROUNDS; prints the median and the 99th percentile of single round trips, in microseconds. */
#include "classic_ring.h"

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    long rounds = argc == 2 ? atol(argv[1]) : 100000;
    _Atomic uint64_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    _Atomic uint64_t *there = words, *back = words + 32;
    if (fork() == 0) {
        pin(0);
        for (uint64_t i = 1; i <= (uint64_t)rounds; i++) {
            while (atomic_load_explicit(there, memory_order_acquire) != i)
                ;
            atomic_store_explicit(back, i, memory_order_release);
        }
        _exit(0);
    }
    pin(1);
    double *trips = malloc(sizeof(double) * (size_t)rounds);
    for (uint64_t i = 1; i <= (uint64_t)rounds; i++) {
        double began = seconds_now();
        atomic_store_explicit(there, i, memory_order_release);
        while (atomic_load_explicit(back, memory_order_acquire) != i)
            ;
        trips[i - 1] = (seconds_now() - began) * 1e6;
    }
    wait(NULL);
    qsort(trips, (size_t)rounds, sizeof *trips, ascending);
    printf("%.4f %.4f\n", trips[rounds / 2], trips[rounds * 99 / 100]);
    return 0;
}
