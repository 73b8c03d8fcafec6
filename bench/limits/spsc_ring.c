/* spsc_ring.c - messages a second through the classic ring: one copy in, one copy out into a reused buffer, every message
 * checked for its number at both ends.
 * usage: spsc_ring LENGTH COUNT CAPACITY POOL; prints seconds. The producer goes round POOL distinct messages, as those
 * who are measured against this do: one message for ever would stay in its cache. */
#include "classic_ring.h"

enum { BYTES_OBJECT_HEADER = 32 };

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    size_t length = strtoull(argv[1], NULL, 10);
    uint64_t count = strtoull(argv[2], NULL, 10);
    struct classic_ring *ring = classic_ring_new(strtoull(argv[3], NULL, 10), length);
    uint64_t distinct = strtoull(argv[4], NULL, 10);
    unsigned char **pool = malloc(distinct * sizeof *pool);
    for (uint64_t i = 0; i < distinct; i++) {
        pool[i] = (unsigned char *)malloc(length + BYTES_OBJECT_HEADER + 1) + BYTES_OBJECT_HEADER;
        memset(pool[i], 7, length);
    }
    uint64_t mine = 0, seen = 0;
    if (fork() == 0) {
        pin(0);
        for (uint64_t i = 0; i < count; i++) {
            unsigned char *message = pool[i % distinct];
            memcpy(message, &i, sizeof i);
            memcpy(message + length - sizeof i, &i, sizeof i);
            classic_put(ring, &mine, &seen, message, length);
        }
        _exit(0);
    }
    pin(1);
    unsigned char *message = malloc(length + 1);
    double began = 0;
    for (uint64_t i = 0; i < count; i++) {
        unsigned char *next = classic_next(ring, mine, &seen);
        if (i == 0)
            began = seconds_now();
        memcpy(message, next, length);
        classic_done(ring, &mine);
        uint64_t first, last;
        memcpy(&first, message, sizeof first);
        memcpy(&last, message + length - sizeof last, sizeof last);
        if (first != i || last != i) {
            fprintf(stderr, "message %llu is wrong\n", (unsigned long long)i);
            return 1;
        }
    }
    double seconds = seconds_now() - began;
    wait(NULL);
    printf("%.9f\n", seconds);
    return 0;
}
