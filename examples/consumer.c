/* consumer.c - takes the messages of a ring that any program made, and prints them as lines.
 *
 * Build, with CORE=$(python -c 'import shmring; print(shmring.get_include())'):
 *   gcc -std=gnu11 -O2 -I$CORE consumer.c -L$CORE -lshmring -pthread -o consumer
 * Run: ./consumer greetings
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shmring.h"

static void nothing(void *context) { (void)context; }
static bool is_interrupted(void *context) { return context != NULL; } /* true ends the wait; here, it never is */
static const struct sr_hooks HOOKS = {.suspend = nothing, .resume = nothing, .interrupted = is_interrupted};

int main(int argc, char **argv) {
    char path[300];
    snprintf(path, sizeof path, "/dev/shm/shmring.%s", argc > 1 ? argv[1] : "greetings");
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0)
        return perror(path), 1;
    void *base = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct sr_geometry geometry;
    if (base == MAP_FAILED || sr_geometry_read(&geometry, base, (uint64_t)status.st_size) != SR_OK)
        return fprintf(stderr, "%s is no ring of this version\n", path), 1;

    sr_os_start();
    struct sr_endpoint ring = {0};
    uint32_t holder;
    sr_endpoint_bind(&ring, base, &geometry);
    char locks[4096];
    struct sr_arrival arrival = {.locks_fd = fd, .path = path, .patience_ns = 10000000000};
    bool apart = geometry.flags & SR_FLAG_LOCKS_APART; /* others may read the ring, and so lock its bytes */
    if (apart) {
        sr_locks_path(locks, sizeof locks, path, ((struct sr_header *)base)->identity);
        arrival.path = locks;
        arrival.locks_fd = open(locks, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (arrival.locks_fd < 0)
            return perror(locks), 1;
    }
    if (sr_attach(&ring, &arrival) != SR_OK || sr_take_role(&ring, SR_ROLE_CONSUMER, &holder) != SR_OK)
        return fprintf(stderr, "%s cannot be attached, or has its one consumer\n", path), 1;

    struct sr_wait for_ever = {.deadline_ns = INT64_MAX, .spin_ns = SR_SPIN_ADAPTIVE, .hooks = &HOOKS};
    struct sr_record record;
    enum sr_result result;
    while ((result = sr_take(&ring, UINT64_MAX, &for_ever, &record)) == SR_OK) {
        printf("%.*s\n", (int)record.length, (const char *)record.payload);
        sr_acknowledge(&ring, &record);
        sr_announce_room(&ring);
    }

    bool abandoned;
    if (sr_detach(&ring, &abandoned) == SR_OK && abandoned) { /* we were the last to leave an empty ring */
        unlink(path);
        if (apart)
            unlink(locks);
    }
    sr_detach_finish(&ring);
    return result == SR_SHUT_DOWN ? 0 : 1;
}
