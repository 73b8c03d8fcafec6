/* memory.h - the memory model: what each location has held, what each thread must have seen of it, and who raced.
 *
 * An operational form of RC11 without load buffering (Lahav et al., PLDI 2017; views after Kang et al., POPL 2017): each
 * location keeps all the values ever written to it; each thread has a view, the oldest value of every location that it
 * may still read; releases attach views to values, acquires take them over.
 *
 * New values come last. That is exact for locations that one thread stores to or several one after the other, and for
 * those that are changed by read-modify-writes; memory_store refuses others.
 */
#ifndef EXPLORER_MEMORY_H
#define EXPLORER_MEMORY_H

#include "explored.h"

#ifndef EXPLORE_LOCATIONS
#define EXPLORE_LOCATIONS 48 /* every value has a view of all of them: no more than a program needs */
#endif
enum { LOCATIONS = EXPLORE_LOCATIONS, VALUES = 96, WITNESSES = EXPLORE_THREADS + 1 /* the killer */ };

struct view {
    uint8_t seen[LOCATIONS];   /* index of the oldest value that may be read */
    uint16_t clock[WITNESSES]; /* how much of each thread happened before */
};

struct value {
    uint64_t bits;
    uint32_t writer; /* thread and number of its access, for telling executions apart */
    struct view view;
};

void memory_reset(int threads);
int memory_location(void *p, unsigned width);
/* Indices of the values that this thread may read: from the answer to memory_last. */
int memory_oldest(int thread, int location);
int memory_last(int location);
uint64_t memory_bits(int location, int index);

uint64_t memory_read(int thread, int location, int index, enum explore_order order);
void memory_store(int thread, int location, uint64_t bits, enum explore_order order);
/* Reads the last value and writes the next one in one step. */
uint64_t memory_modify(int thread, int location, uint64_t bits, enum explore_order order);
void memory_fence(int thread);
void memory_half_fence(int thread, enum explore_order order);
void memory_data(int thread, int location, bool is_write);
/* The kernel tells of a death: whoever sees it has seen all that the dead did. */
void memory_death(int killer, int victim, int location);

/* A number that is the same for two executions only if every read had the same writer and every location the same order. */
uint64_t memory_fingerprint(void);

#endif
