/* memory.c - see memory.h. */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>

enum { NOBODY = 255 };

struct location {
    unsigned char *address;
    unsigned width;
    int count;
    struct value values[VALUES];
    int storer; /* the last thread that has stored, NOBODY */
    int stored; /* what that was: read-modify-writes that came after it stay behind it */
    uint8_t data_writer;
    uint16_t data_written;
    uint16_t data_read[WITNESSES];
};

struct witness {
    struct view now;      /* what its next access must respect */
    struct view acquired; /* what an acquire fence would add */
    struct view released; /* what it had seen at its last release fence: attached to its relaxed stores */
    uint32_t accesses;
    uint64_t fingerprint;
};

static struct location locations[LOCATIONS];
static struct witness witnesses[WITNESSES];
static struct view fences; /* the total order of seq_cst fences, as what they have seen so far */
static int location_count, witness_count;

static bool acquires(enum explore_order order) { return order == ORDER_acquire || order == ORDER_acq_rel; }
static bool releases(enum explore_order order) { return order == ORDER_release || order == ORDER_acq_rel; }

static void mix(uint64_t *hash, uint64_t value) {
    *hash = (*hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    *hash ^= *hash >> 29;
}

static void join_seen(struct view *into, const struct view *from) {
    for (int i = 0; i < location_count; i++)
        if (from->seen[i] > into->seen[i])
            into->seen[i] = from->seen[i];
}

static void join(struct view *into, const struct view *from) {
    join_seen(into, from);
    for (int i = 0; i < witness_count; i++)
        if (from->clock[i] > into->clock[i])
            into->clock[i] = from->clock[i];
}

void memory_reset(int threads) {
    location_count = 0;
    witness_count = threads;
    memset(&fences, 0, sizeof fences);
    memset(witnesses, 0, sizeof witnesses);
    for (int i = 0; i < threads; i++)
        witnesses[i].now.clock[i] = witnesses[i].acquired.clock[i] = 1;
}

static uint64_t fetch(const unsigned char *address, unsigned width) {
    uint64_t bits = 0;
    memcpy(&bits, address, width);
    return bits;
}

int memory_location(void *p, unsigned width) {
    for (int i = 0; i < location_count; i++)
        if (locations[i].address == p)
            return i;
    if (location_count == LOCATIONS) {
        fprintf(stderr, "more than %d locations: raise LOCATIONS\n", LOCATIONS);
        abort();
    }
    struct location *fresh = &locations[location_count];
    fresh->address = p;
    fresh->width = width;
    fresh->count = 1;
    fresh->values[0] = (struct value){.bits = width <= 8 ? fetch(p, width) : 0};
    fresh->storer = NOBODY;
    fresh->stored = 0;
    fresh->data_writer = NOBODY;
    memset(fresh->data_read, 0, sizeof fresh->data_read);
    return location_count++;
}

int memory_oldest(int thread, int location) { return witnesses[thread].now.seen[location]; }
int memory_last(int location) { return locations[location].count - 1; }
uint64_t memory_bits(int location, int index) { return locations[location].values[index].bits; }

uint64_t memory_read(int thread, int location, int index, enum explore_order order) {
    struct witness *reader = &witnesses[thread];
    const struct value *value = &locations[location].values[index];
    mix(&reader->fingerprint, value->writer * UINT64_C(7919) + (uintptr_t)locations[location].address);
    reader->accesses++;
    reader->now.seen[location] = (uint8_t)index;
    join(acquires(order) ? &reader->now : &reader->acquired, &value->view);
    return value->bits;
}

static void write(int thread, int location, uint64_t bits, enum explore_order order, const struct view *chain) {
    struct witness *writer = &witnesses[thread];
    struct location *place = &locations[location];
    if (place->count == VALUES) {
        fprintf(stderr, "more than %d values of one location: raise VALUES\n", VALUES);
        abort();
    }
    int index = place->count++;
    writer->now.seen[location] = (uint8_t)index;
    struct value *value = &place->values[index];
    value->bits = bits;
    value->writer = 1 + (uint32_t)thread * 1024 + writer->accesses++;
    value->view = releases(order) ? writer->now : writer->released;
    if (chain) /* a read-modify-write goes on with the release sequence that it reads from */
        join(&value->view, chain);
    value->view.seen[location] = (uint8_t)index;
    memcpy(place->address, &bits, place->width);
    if (releases(order))
        writer->now.clock[thread]++;
}

void memory_store(int thread, int location, uint64_t bits, enum explore_order order) {
    struct location *place = &locations[location];
    bool alone = place->storer == NOBODY || place->storer == thread;
    if (!alone && memory_oldest(thread, location) < place->stored)
        explore_fail("two threads store to one location, and nothing orders them: outside of this memory model");
    place->storer = thread;
    write(thread, location, bits, order, NULL);
    place->stored = memory_last(location);
}

uint64_t memory_modify(int thread, int location, uint64_t bits, enum explore_order order) {
    int last = memory_last(location);
    struct view chain = locations[location].values[last].view;
    uint64_t before = memory_read(thread, location, last, acquires(order) ? ORDER_acquire : ORDER_relaxed);
    write(thread, location, bits, releases(order) ? ORDER_release : ORDER_relaxed, &chain);
    return before;
}

void memory_fence(int thread) {
    struct witness *self = &witnesses[thread];
    join(&self->now, &self->acquired);
    join_seen(&self->now, &fences);
    join_seen(&fences, &self->now);
    self->released = self->now;
    self->now.clock[thread]++;
}

void memory_half_fence(int thread, enum explore_order order) {
    struct witness *self = &witnesses[thread];
    if (acquires(order))
        join(&self->now, &self->acquired);
    if (releases(order)) {
        self->released = self->now;
        self->now.clock[thread]++;
    }
}

void memory_data(int thread, int location, bool is_write) {
    struct location *place = &locations[location];
    const struct view *now = &witnesses[thread].now;
    uint8_t writer = place->data_writer;
    if (writer != NOBODY && writer != thread && now->clock[writer] < place->data_written)
        explore_fail(is_write ? "data race: two writes" : "data race: a read of what is being written");
    for (int other = 0; is_write && other < witness_count; other++)
        if (other != thread && place->data_read[other] && now->clock[other] < place->data_read[other])
            explore_fail("data race: a write over what is being read");
    if (is_write) {
        place->data_writer = (uint8_t)thread;
        place->data_written = now->clock[thread];
    } else {
        place->data_read[thread] = now->clock[thread];
    }
}

void memory_death(int killer, int victim, int location) {
    witnesses[killer].now = witnesses[victim].now;
    witnesses[killer].now.clock[killer] = 1;
    write(killer, location, 0, ORDER_release, NULL);
}

uint64_t memory_fingerprint(void) {
    uint64_t hash = 1, all = 0;
    for (int i = 0; i < witness_count; i++)
        mix(&hash, witnesses[i].fingerprint);
    for (int i = 0; i < location_count; i++) {
        uint64_t one = (uintptr_t)locations[i].address;
        for (int j = 0; j < locations[i].count; j++)
            mix(&one, locations[i].values[j].writer);
        all += one; /* locations are numbered in the order of their first use, which differs */
    }
    mix(&hash, all);
    return hash;
}
