/* memcpy.c - messages a second that one CPU copies from a pool of distinct ones into a ring's worth of memory.
 * usage: memcpy LENGTH SECONDS CAPACITY POOL; prints messages a second. */
#include "classic_ring.h"

int main(int argc, char **argv) {
    if (argc != 5)
        return 2;
    size_t length = strtoull(argv[1], NULL, 10), capacity = strtoull(argv[3], NULL, 10);
    double seconds = atof(argv[2]);
    size_t distinct = strtoull(argv[4], NULL, 10), slots = capacity / length;
    if (slots == 0)
        slots = 1;
    unsigned char *to = malloc(slots * length), **pool = malloc(distinct * sizeof *pool);
    memset(to, 1, slots * length);
    for (size_t i = 0; i < distinct; i++) {
        pool[i] = malloc(length);
        memset(pool[i], (int)i, length);
    }
    pin(0);
    size_t batch = length < 4096 ? 4096 : 8, slot = 0, from = 0;
    double count = 0, began = seconds_now(), now = began;
    while (now - began < seconds) {
        for (size_t i = 0; i < batch; i++) {
            memcpy(to + slot * length, pool[from], length);
            __asm__ __volatile__("" ::: "memory"); /* or the compiler would keep the last copy only */
            slot = slot + 1 == slots ? 0 : slot + 1;
            from = from + 1 == distinct ? 0 : from + 1;
        }
        count += (double)batch;
        now = seconds_now();
    }
    printf("%.1f\n", count / (now - began));
    return 0;
}
