/* spsc_ring.c - messages a second through the classic ring: one copy in, one copy out into a reused buffer, every message
 * checked for its number at both ends.
 * usage: spsc_ring LENGTH SECONDS CAPACITY POOL; prints messages a second. The producer goes round POOL distinct
 * messages, as those who are measured against this do: one message for ever would stay in its cache. */
#include "classic_ring.h"

enum { BYTES_OBJECT_HEADER = 32, BETWEEN_LOOKS = 64 };

/* Put messages until the time is over; the last one has no number. */
static void produce(struct classic_ring *ring, unsigned char **pool, uint64_t distinct, size_t length, double seconds) {
    uint64_t mine = 0, seen = 0, i = 0;
    for (double stop = seconds_now() + seconds; seconds_now() < stop;)
        for (int batch = 0; batch < BETWEEN_LOOKS; batch++, i++) {
            unsigned char *message = pool[i % distinct];
            memcpy(message, &i, sizeof i);
            memcpy(message + length - sizeof i, &i, sizeof i);
            classic_put(ring, &mine, &seen, message, length);
        }
    memset(pool[0], 0xff, length);
    classic_put(ring, &mine, &seen, pool[0], length);
}

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    size_t length = strtoull(argv[1], NULL, 10);
    struct classic_ring *ring = classic_ring_new(strtoull(argv[3], NULL, 10), length);
    uint64_t distinct = strtoull(argv[4], NULL, 10);
    unsigned char **pool = malloc(distinct * sizeof *pool);
    for (uint64_t i = 0; i < distinct; i++) {
        pool[i] = (unsigned char *)malloc(length + BYTES_OBJECT_HEADER + 1) + BYTES_OBJECT_HEADER;
        memset(pool[i], 7, length);
    }
    if (fork_bound() == 0) {
        pin(0);
        produce(ring, pool, distinct, length, atof(argv[2]));
        _exit(0);
    }
    pin(1);
    unsigned char *message = malloc(length + 1);
    uint64_t mine = 0, seen = 0;
    double began = 0;
    for (uint64_t i = 0;; i++) {
        unsigned char *next = classic_next(ring, mine, &seen);
        if (i == 0)
            began = seconds_now();
        memcpy(message, next, length);
        classic_done(ring, &mine);
        uint64_t first, last;
        memcpy(&first, message, sizeof first);
        memcpy(&last, message + length - sizeof last, sizeof last);
        if (first == UINT64_MAX) {
            printf("%.1f\n", (double)i / (seconds_now() - began));
            break;
        }
        if (first != i || last != i) {
            fprintf(stderr, "message %llu is wrong\n", (unsigned long long)i);
            return 1;
        }
    }
    wait(NULL);
    return 0;
}
