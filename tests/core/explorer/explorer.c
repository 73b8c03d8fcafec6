/* explorer.c - depth-first search over schedules and over the values that loads read, with dynamic partial-order reduction
 * (Flanagan and Godefroid, POPL 2005) and sleep sets (Godefroid 1996).
 *
 * Each thread is a coroutine that stops before every access. A *choice* is which thread goes on, or which of several
 * values a load reads; the stack of choices is replayed from the start for each execution. Two steps are *dependent* when
 * their order can matter; only orders of dependent steps are tried both ways. A store before a load of the same location
 * counts as dependent, although a load may read older values anyway: leaving that out lost executions.
 */
#include "explorer.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "memory.h"

enum { STEPS_MOST = 4096, STACK_BYTES = 65536 };

enum kind { LOAD, STORE, MODIFY, FENCE, PARK, RESUME, UNPARK, KERNEL, KILL, ENDED };
struct step {
    enum kind kind;
    int location; /* -1: none */
};

struct thread {
    struct step next;
    bool dead, asleep;
    char *stack;
    ucontext_t start;
    jmp_buf here;
    uint16_t order[WITNESSES]; /* which steps of each thread must come before its next one */
};

struct choice {
    bool of_thread; /* else of a value */
    int chosen, count;
    unsigned enabled, to_try, done, asleep; /* sets of threads */
};

struct trace {
    struct step step;
    int thread, choice;
    uint16_t order[WITNESSES];
};

static const struct configuration *configuration;
static struct thread threads[WITNESSES];
static struct choice choices[STEPS_MOST];
static struct trace trace[STEPS_MOST];
static int thread_count, killer, current, choice_count, replayed, traced;
static bool running, naive;
static const char *failure;
static jmp_buf scheduler;

void explore_fail(const char *what) {
    if (!failure)
        failure = what;
    if (!running) { /* before the threads or after them: what goes on from here may go round in circles */
        printf("0 0 0 stopped %s\n", what);
        exit(1);
    }
}

bool explore_is_asleep(int thread) { return threads[thread].asleep; }

/* --- coroutines --- */
static void enter(void) {
    configuration->thread[current]();
    threads[current].next = (struct step){ENDED, -1};
    _longjmp(scheduler, 1);
}

static void go_on(int thread) {
    current = thread;
    if (_setjmp(scheduler) == 0)
        _longjmp(threads[thread].here, 1);
}

static void start(int thread) {
    struct thread *self = &threads[thread];
    getcontext(&self->start);
    self->start.uc_stack.ss_sp = self->stack;
    self->start.uc_stack.ss_size = STACK_BYTES;
    self->start.uc_link = NULL;
    makecontext(&self->start, enter, 0);
    current = thread;
    if (_setjmp(scheduler) == 0)
        setcontext(&self->start);
}

static void stop_before(enum kind kind, int location) {
    threads[current].next = (struct step){kind, location};
    if (_setjmp(threads[current].here) == 0)
        _longjmp(scheduler, 1);
}

/* --- choices --- */
static struct choice *next_choice(bool *is_new) {
    *is_new = replayed == choice_count;
    if (*is_new && ++choice_count == STEPS_MOST) {
        fprintf(stderr, "more than %d choices: is there a loop without an end?\n", STEPS_MOST);
        abort();
    }
    return &choices[replayed++];
}

static int choose_value(int count) {
    if (count == 1)
        return 0;
    bool is_new;
    struct choice *choice = next_choice(&is_new);
    if (is_new)
        *choice = (struct choice){.count = count};
    return choice->chosen;
}

/* --- what the core calls --- */
static const unsigned char *forbidden;
static size_t forbidden_length;

void explore_forbid(const void *begin, size_t length) {
    forbidden = begin;
    forbidden_length = length;
}

static void is_allowed(const void *p) {
    const unsigned char *at = p;
    if (forbidden_length && at >= forbidden && at < forbidden + forbidden_length)
        explore_fail("an access to where no word is");
}

static uint64_t plain(const void *p, unsigned width) {
    is_allowed(p);
    uint64_t bits = 0;
    memcpy(&bits, p, width);
    return bits;
}

uint64_t explore_load(void *p, unsigned width, enum explore_order order) {
    if (!running)
        return plain(p, width);
    int location = memory_location(p, width);
    stop_before(LOAD, location);
    int last = memory_last(location);
    int index = last - choose_value(last - memory_oldest(current, location) + 1);
    return memory_read(current, location, index, order);
}

void explore_store(void *p, unsigned width, uint64_t value, enum explore_order order) {
    if (!running) {
        is_allowed(p);
        memcpy(p, &value, width);
        return;
    }
    int location = memory_location(p, width);
    stop_before(STORE, location);
    memory_store(current, location, value, order);
}

bool explore_cas(void *p, unsigned width, void *expected, uint64_t desired, enum explore_order order) {
    uint64_t wanted = plain(expected, width);
    if (!running) {
        uint64_t now = plain(p, width);
        memcpy(now == wanted ? p : expected, now == wanted ? &desired : &now, width);
        return now == wanted;
    }
    int location = memory_location(p, width);
    stop_before(MODIFY, location);
    int readable[VALUES], count = 0, last = memory_last(location);
    for (int i = last; i >= memory_oldest(current, location); i--)
        if (i == last || memory_bits(location, i) != wanted) /* it succeeds on the last value only, or fails */
            readable[count++] = i;
    int index = readable[choose_value(count)];
    if (index == last && memory_bits(location, last) == wanted) {
        memory_modify(current, location, desired, order);
        return true;
    }
    uint64_t seen = memory_read(current, location, index, ORDER_relaxed);
    memcpy(expected, &seen, width);
    return false;
}

uint64_t explore_add(void *p, unsigned width, uint64_t value, enum explore_order order) {
    uint64_t now = plain(p, width), sum = now + value;
    if (!running) {
        memcpy(p, &sum, width);
        return now;
    }
    int location = memory_location(p, width);
    stop_before(MODIFY, location);
    return memory_modify(current, location, memory_bits(location, memory_last(location)) + value, order);
}

void explore_fence(void) {
    if (!running || configuration->fences_are_void)
        return;
    stop_before(FENCE, -1);
    memory_fence(current);
}

void explore_half_fence(enum explore_order order) { /* nobody else can see it happen, so nobody has to stop for it */
    if (running)
        memory_half_fence(current, order);
}

void explore_data(void *p, bool is_write) {
    if (running)
        memory_data(current, memory_location(p, 64), is_write);
}

void explore_park(void *p, uint64_t expected) {
    int location = memory_location(p, sizeof(uint32_t));
    stop_before(PARK, location);
    if (memory_bits(location, memory_last(location)) != expected) {
        /* The kernel compares under a lock of its own, and orders nothing for us. But it is this thread that has read:
         * it never reads an older value of the word again. */
        memory_read(current, location, memory_last(location), ORDER_relaxed);
        return;
    }
    threads[current].asleep = true;
    stop_before(RESUME, location);
}

int explore_unpark(void *p, int count) {
    if (!running)
        return 0;
    int location = memory_location(p, sizeof(uint32_t));
    stop_before(UNPARK, location);
    int woken = 0;
    while (woken < count) {
        int sleepers[WITNESSES], found = 0;
        for (int i = 0; i < thread_count; i++)
            if (threads[i].asleep && !threads[i].dead && threads[i].next.location == location)
                sleepers[found++] = i;
        if (!found)
            break;
        threads[sleepers[count < found ? choose_value(found) : 0]].asleep = false;
        woken++;
    }
    return woken;
}

int explore_thread(void) { return running ? current : EXPLORE_THREADS; }

uint64_t explore_kernel(uint64_t *p) {
    if (!running)
        return *p;
    int location = memory_location(p, sizeof *p);
    stop_before(KERNEL, location);
    return memory_read(current, location, memory_last(location), ORDER_acquire);
}

static void kernel_set(int thread, uint64_t *p, uint64_t value) {
    int location = memory_location(p, sizeof *p);
    memory_modify(thread, location, value, ORDER_acq_rel);
    for (int i = 0; i < thread_count; i++)
        if (threads[i].asleep && threads[i].next.location == location)
            threads[i].asleep = false;
}

void explore_kernel_set(uint64_t *p, uint64_t value) {
    if (running)
        kernel_set(current, p, value);
    else
        *p = value;
}

/* --- which orders matter --- */
static bool dependent(struct step a, int thread_a, struct step b, int thread_b) {
    if (thread_a == thread_b)
        return true;
    if (a.kind == KILL || b.kind == KILL) {
        int other = a.kind == KILL ? thread_b : thread_a;
        return other == 0 || a.location == b.location; /* the victim's steps, and those who look for its death */
    }
    if (a.kind == FENCE && b.kind == FENCE)
        return true;
    if (a.location < 0 || a.location != b.location)
        return false;
    return a.kind != LOAD || b.kind != LOAD;
}

static bool is_enabled(int thread) {
    const struct thread *self = &threads[thread];
    return !self->dead && !self->asleep && self->next.kind != ENDED;
}

/* For each thread's next step: where could it have come before the last step that it depends on? There, try it. */
static void note_races(void) {
    for (int thread = 0; thread < thread_count; thread++) {
        const struct thread *self = &threads[thread];
        if (self->next.kind == ENDED || (self->dead && thread != 0) || (thread == killer && self->dead))
            continue;
        for (int i = traced - 1; i >= 0; i--) {
            const struct trace *earlier = &trace[i];
            if (earlier->thread == thread || !dependent(earlier->step, earlier->thread, self->next, thread))
                continue;
            bool must_precede = self->order[earlier->thread] >= earlier->order[earlier->thread];
            if (!must_precede)
                choices[earlier->choice].to_try |= choices[earlier->choice].enabled;
            if (earlier->step.kind != LOAD) /* other loads before it may race as well */
                break;
        }
    }
}

static int pick(unsigned candidates) {
    int fallback = -1;
    for (int thread = 0; thread < thread_count; thread++) {
        if (!(candidates >> thread & 1))
            continue;
        if (thread != killer && threads[thread].next.kind != LOAD)
            return thread;
        if (fallback < 0 || fallback == killer)
            fallback = thread;
    }
    return fallback;
}

static void record(int thread, struct step step, int choice) {
    uint16_t *order = threads[thread].order;
    for (int i = traced - 1; i >= 0; i--)
        if (dependent(trace[i].step, trace[i].thread, step, thread))
            for (int j = 0; j < thread_count; j++)
                if (trace[i].order[j] > order[j])
                    order[j] = trace[i].order[j];
    order[thread]++;
    if (traced == STEPS_MOST)
        abort();
    trace[traced] = (struct trace){.step = step, .thread = thread, .choice = choice};
    memcpy(trace[traced++].order, order, sizeof trace[0].order);
}

static uint64_t *dropped; /* what the kernel takes from the dead next */

static void drop_next(void) {
    uint64_t *words[8];
    int count = kernel_words_of ? kernel_words_of(0, words, 8) : 0;
    threads[killer].dead = !count;
    if (!count)
        return;
    dropped = words[choose_value(count)];
    threads[killer].next = (struct step){KERNEL, memory_location(dropped, sizeof *dropped)};
}

/* The killer's first step, and those that the kernel does after it. */
static void kill_victim(void) {
    if (!threads[0].dead) {
        threads[0].dead = true;
        memory_death(killer, 0, memory_location(configuration->alive, sizeof *configuration->alive));
    } else {
        current = killer;
        kernel_let_go(0, dropped);
    }
    drop_next();
}

static void begin(void) {
    replayed = traced = 0;
    running = false;
    memory_reset(thread_count);
    configuration->before();
    running = true;
    for (int i = 0; i < thread_count; i++) {
        struct thread *self = &threads[i];
        self->dead = self->asleep = false;
        memset(self->order, 0, sizeof self->order);
        if (i == killer)
            self->next = (struct step){KILL, memory_location(configuration->alive, sizeof *configuration->alive)};
        else
            start(i);
    }
}

/* One execution, along the choices made so far and then into the new. False: it turned out to repeat another. */
static bool execute(void) {
    unsigned asleep = 0; /* threads whose next step was tried here before, and nothing dependent has happened since */
    begin();
    while (!failure) {
        unsigned enabled = 0;
        for (int i = 0; i < thread_count; i++)
            enabled |= is_enabled(i) ? 1u << i : 0;
        if (!enabled)
            break;
        bool is_new;
        struct choice *choice = next_choice(&is_new);
        if (is_new) {
            note_races();
            unsigned candidates = enabled & ~asleep;
            if (!candidates) {
                choice_count--;
                running = false;
                return false;
            }
            int first = pick(candidates);
            *choice = (struct choice){.of_thread = true, .chosen = first, .enabled = enabled, .asleep = asleep};
            choice->to_try = naive ? enabled : 1u << first;
        }
        int thread = choice->chosen;
        struct step step = threads[thread].next;
        unsigned sleepers = (choice->asleep | choice->done) & ~(1u << thread);
        asleep = 0;
        for (int i = 0; i < thread_count && !naive; i++)
            if (sleepers >> i & 1 && !dependent(threads[i].next, i, step, thread))
                asleep |= 1u << i;
        record(thread, step, (int)(choice - choices));
        if (thread == killer)
            kill_victim();
        else
            go_on(thread);
    }
    running = false;
    return true;
}

/* The next untried alternative of the latest choice that has one. */
static bool advance(void) {
    for (; choice_count; choice_count--) {
        struct choice *last = &choices[choice_count - 1];
        if (!last->of_thread) {
            if (++last->chosen < last->count)
                return true;
            continue;
        }
        last->done |= 1u << last->chosen;
        unsigned left = last->to_try & ~last->done & ~last->asleep & last->enabled;
        if (left) {
            last->chosen = __builtin_ctz(left);
            return true;
        }
    }
    return false;
}

/* --- a set of fingerprints --- */
static uint64_t *fingerprints, fingerprint_room, fingerprint_count;

static void note_fingerprint(uint64_t fingerprint) {
    if (2 * fingerprint_count >= fingerprint_room) {
        uint64_t *before = fingerprints, room = fingerprint_room;
        fingerprint_room = room ? 4 * room : 1 << 16;
        fingerprints = calloc(fingerprint_room, sizeof *fingerprints);
        fingerprint_count = 0;
        for (uint64_t i = 0; i < room; i++)
            if (before[i])
                note_fingerprint(before[i]);
        free(before);
    }
    uint64_t mask = fingerprint_room - 1, i = fingerprint & mask;
    while (fingerprints[i] && fingerprints[i] != fingerprint)
        i = (i + 1) & mask;
    fingerprint_count += !fingerprints[i];
    fingerprints[i] = fingerprint;
}

struct exploration explore(const struct configuration *wanted, bool naively, bool count_distinct, uint64_t limit) {
    struct exploration result = {.finished = true};
    configuration = wanted;
    naive = naively;
    failure = NULL;
    choice_count = 0;
    thread_count = wanted->threads + (wanted->alive != NULL);
    killer = wanted->alive ? wanted->threads : -1;
    for (int i = 0; i < thread_count; i++)
        if (!threads[i].stack)
            threads[i].stack = malloc(STACK_BYTES);
    free(fingerprints);
    fingerprints = NULL;
    fingerprint_room = fingerprint_count = 0;
    do {
        bool whole = execute();
        result.steps += (uint64_t)traced;
        result.pruned += !whole;
        if (whole && !failure) {
            result.executions++;
            wanted->after();
            if (count_distinct)
                note_fingerprint(memory_fingerprint());
        }
        if (limit && result.executions + result.pruned >= limit)
            result.finished = false;
    } while (!failure && result.finished && advance());
    result.distinct = fingerprint_count;
    result.failure = failure;
    return result;
}
