/* futex.c - the round trip by shared futex between two CPUs, both sides asleep until they are woken.
 * usage: futex SECONDS; prints percentiles of single round trips, in nanoseconds. */
#include "classic_ring.h"

#include <linux/futex.h>
#include <sys/syscall.h>

enum { MOST = 1 << 20 };
#define OVER UINT32_MAX

/* Sleep until the word is what is wanted; 0 when it says that it is over. */
static int wait_for(_Atomic uint32_t *word, uint32_t wanted) {
    for (uint32_t now; (now = atomic_load(word)) != wanted;) {
        if (now == OVER)
            return 0;
        syscall(SYS_futex, word, FUTEX_WAIT, now, NULL, NULL, 0);
    }
    return 1;
}

static void wake(_Atomic uint32_t *word, uint32_t value) {
    atomic_store(word, value);
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

int main(int argc, char **argv) {
    double seconds = argc == 2 ? atof(argv[1]) : 0.1;
    _Atomic uint32_t *words = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (fork_bound() == 0) {
        pin(1);
        for (uint32_t i = 1; wait_for(words, i); i++)
            wake(words + 32, i);
        _exit(0);
    }
    pin(0);
    double *trips = malloc(sizeof(double) * MOST), began = seconds_now(), stop = began + seconds;
    long count = 0;
    while (began < stop && count < MOST) {
        uint32_t i = (uint32_t)++count;
        began = seconds_now();
        wake(words, i);
        wait_for(words + 32, i);
        trips[count - 1] = seconds_now() - began;
    }
    wake(words, OVER);
    wait(NULL);
    print_percentiles(trips, count);
    return 0;
}
