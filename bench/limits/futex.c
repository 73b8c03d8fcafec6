/* futex.c - the round trip by shared futex between two CPUs, both sides asleep until they are woken.
 * usage: futex ROUNDS; prints the median and the 99th percentile of single round trips, in microseconds. */
#include "classic_ring.h"

#include <linux/futex.h>
#include <sys/syscall.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void wait_for(_Atomic uint32_t *word, uint32_t wanted) {
    for (uint32_t now; (now = atomic_load(word)) != wanted;)
        syscall(SYS_futex, word, FUTEX_WAIT, now, NULL, NULL, 0);
}

static void wake(_Atomic uint32_t *word, uint32_t value) {
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

int main(int argc, char **argv) {
    long rounds = argc == 2 ? atol(argv[1]) : 10000;
    _Atomic uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fork() == 0) {
        pin(0);
        for (uint32_t i = 1; i <= (uint32_t)rounds; i++) {
            wait_for(words, i);
            wake(words + 32, i);
        }
        _exit(0);
    }
    pin(1);
    double *trips = malloc(sizeof(double) * (size_t)rounds);
    for (uint32_t i = 1; i <= (uint32_t)rounds; i++) {
        double began = seconds_now();
        wake(words, i);
        wait_for(words + 32, i);
        trips[i - 1] = (seconds_now() - began) * 1e6;
    }
    wait(NULL);
    qsort(trips, (size_t)rounds, sizeof *trips, ascending);
    printf("%.4f %.4f\n", trips[rounds / 2], trips[rounds * 99 / 100]);
    return 0;
}
