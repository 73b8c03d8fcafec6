/* guard_pages.c - preloaded: puts an inaccessible page right before and right after every mapping, so that a step outside of
 * a segment, which is mapped over one without a file, is a crash and not somebody else's memory. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096 };

static void *map(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    if (address)
        return map(address, length, protection, flags, fd, offset);
    size_t whole = (length + PAGE - 1) / PAGE * PAGE;
    char *fenced = map(NULL, whole + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fenced == MAP_FAILED)
        return MAP_FAILED;
    return map(fenced + PAGE, length, protection, flags | MAP_FIXED, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
    __attribute__((alias("mmap")));
