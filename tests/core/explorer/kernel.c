/* kernel.c - see kernel.h. */
#include "kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "format/layout.h"

enum { NOBODY = EXPLORE_THREADS, PROCESSES, EACH = 10, WORDS = 2 + KERNEL_SENT + KERNEL_ENTRIES + 1 };
static const uint64_t ALONE = UINT64_C(1) << 63;

/* What each locked byte looks like: a bit for each description that has it, and whether that has it alone. */
static uint64_t words[WORDS];

struct description {
    unsigned processes; /* that have it */
    bool is_inherited;
};
static struct description descriptions[PROCESSES * EACH];
static int process_of[PROCESSES], acting;
static uint64_t *refused[PROCESSES], refused_as[PROCESSES];
static uint64_t *refused_word;
static bool opens_nothing;
static int64_t clock_of[PROCESSES], pace_of[PROCESSES];

static int me(void) {
    int thread = explore_thread();
    return thread == NOBODY ? acting : thread;
}
static unsigned bit_of(int process) { return 1u << process; }

void kernel_reset(void) {
    memset(words, 0, sizeof words);
    memset(descriptions, 0, sizeof descriptions);
    memset(refused, 0, sizeof refused);
    memset(clock_of, 0, sizeof clock_of);
    memset(pace_of, 0, sizeof pace_of);
    for (int i = 0; i < PROCESSES; i++)
        process_of[i] = i;
    acting = NOBODY;
    refused_word = NULL;
    opens_nothing = false;
}
void kernel_act_as(int process) { acting = process; }
void kernel_is_of(int thread, int process) { process_of[thread] = process; }
void kernel_is_impatient(int thread) { pace_of[thread] = INT64_C(1) << 40; }

static uint64_t *word_of(uint64_t byte) {
    if (byte == SR_LIFECYCLE_BYTE || byte == SR_CLAIM_BYTE)
        return &words[byte];
    if (byte >= SR_SENT_BYTES && byte < SR_SENT_BYTES + KERNEL_SENT)
        return &words[2 + byte - SR_SENT_BYTES];
    if (byte >= SR_PAGE + SR_ATTACHMENTS * sizeof(struct sr_attachment)) /* a queue's */
        return &words[WORDS - 1];
    uint64_t entry = (byte - SR_PAGE) / sizeof(struct sr_attachment);
    if (byte < SR_PAGE || entry >= KERNEL_ENTRIES)
        abort();
    return &words[2 + KERNEL_SENT + entry];
}

/* --- descriptions --- */

static int open_description(bool is_inherited) {
    int process = process_of[me()];
    for (int i = process * EACH; i < (process + 1) * EACH; i++)
        if (!descriptions[i].processes) {
            descriptions[i] = (struct description){bit_of(process), is_inherited};
            return i;
        }
    abort();
}

void kernel_refuse(uint64_t byte) { refused_word = word_of(byte); }
void kernel_refuse_to_open(bool refuses) { opens_nothing = refuses; }
int kernel_open(int process) {
    int count = 0;
    for (int i = 0; i < PROCESSES * EACH; i++)
        count += descriptions[i].processes >> process & 1;
    return count;
}

static uint64_t without(uint64_t word, int description) {
    word &= ~(UINT64_C(1) << description);
    return word & ~ALONE ? word : 0;
}

static void unlock(uint64_t *word, int description) { /* one step */
    errno = EBUSY;                                    /* it may change, whatever comes of it */
    explore_kernel_set(word, without(explore_kernel(word), description));
}

static void close_description(int description, int process) {
    errno = EBUSY;
    bool is_last = descriptions[description].processes == bit_of(process);
    for (int i = 0; i < WORDS; i++)
        if (words[i] >> description & 1) { /* which no other process changes */
            if (is_last)
                unlock(&words[i], description);
            else
                (void)explore_kernel(&words[i]); /* in an order with the others who have it */
        }
    descriptions[description].processes &= ~bit_of(process);
}

static enum sr_os_lock lock(int description, uint64_t byte, bool alone) {
    uint64_t *word = word_of(byte);
    if (word == refused_word) {
        errno = EACCES;
        return SR_OS_LOCK_REFUSED;
    }
    uint64_t now = explore_kernel(word), mine = UINT64_C(1) << description;
    if (now & ~ALONE & ~mine && (alone || now & ALONE)) {
        refused[me()] = word;
        refused_as[me()] = now;
        return SR_OS_LOCK_HELD;
    }
    explore_kernel_set(word, now | mine | (alone ? ALONE : 0));
    return SR_OS_LOCKED;
}

/* --- what the core asks --- */

int sr_os_locks_open(int segment_fd, const char *path) {
    if (!opens_nothing)
        return segment_fd && path ? -1 : open_description(false);
    errno = EMFILE;
    return -1;
}
void sr_os_locks_close(int locks) { close_description(locks, process_of[me()]); }
enum sr_os_lock sr_os_lock(int locks, uint64_t byte) { return lock(locks, byte, true); }
enum sr_os_lock sr_os_lock_shared(int locks, uint64_t byte) { return lock(locks, byte, false); }
void sr_os_unlock(int locks, uint64_t byte) { unlock(word_of(byte), locks); }

enum sr_os_liveness sr_os_probe(int locks, uint64_t byte) {
    return without(explore_kernel(word_of(byte)), locks) ? SR_OS_ALIVE : SR_OS_DEAD;
}
bool sr_os_sees_lock(int locks, uint64_t begin, uint64_t length) {
    for (uint64_t byte = begin; byte < begin + length; byte++)
        if (sr_os_probe(locks, byte) == SR_OS_ALIVE)
            return true;
    return false;
}

enum sr_os_lock sr_os_hold(void **hold, int segment_fd, uint64_t byte, enum sr_os_holding holding) {
    int description = open_description(holding == SR_OS_SHARED_AND_INHERITED);
    enum sr_os_lock result = segment_fd ? SR_OS_LOCK_REFUSED : lock(description, byte, holding == SR_OS_ALONE);
    if (result == SR_OS_LOCKED)
        *hold = &descriptions[description];
    else
        descriptions[description].processes = 0;
    return result;
}
void sr_os_let_go(void **hold) {
    struct description *held = *hold;
    if (held && held->processes & bit_of(process_of[me()])) /* else it is a parent's, and not here */
        close_description((int)(held - descriptions), process_of[me()]);
    *hold = NULL;
}
void kernel_fork_locks(int locks, int thread) { descriptions[locks].processes |= bit_of(process_of[thread]); }
void kernel_fork(void *hold, int thread) {
    struct description *held = hold;
    if (held->is_inherited)
        held->processes |= bit_of(process_of[thread]);
}

/* Who waits for a lock looks again when it has been let go; or has no patience. */
int64_t sr_os_monotonic_ns(void) { return clock_of[me()] += pace_of[me()]; }
void sr_os_sleep_ns(int64_t duration_ns) {
    (void)duration_ns;
    uint64_t *word = refused[me()];
    refused[me()] = NULL;
    if (!word)
        return;
    if (explore_thread() != NOBODY) {
        explore_park(word, refused_as[me()]);
    } else { /* all is over, and nobody is there to let go of it */
        explore_fail("a lock that is held for good");
        clock_of[me()] += INT64_MAX / 4;
    }
}

/* --- a death --- */

int kernel_words_of(int thread, uint64_t *found[], int most) {
    int count = 0;
    for (int i = 0; i < WORDS && count < most; i++)
        for (int j = 0; j < PROCESSES * EACH; j++)
            if (words[i] >> j & 1 && descriptions[j].processes & bit_of(process_of[thread])) {
                found[count++] = &words[i];
                break;
            }
    return count;
}

static bool is_anywhere(int description) {
    uint64_t all = 0;
    for (int i = 0; i < WORDS; i++)
        all |= words[i];
    return all >> description & 1;
}

void kernel_let_go(int thread, uint64_t *word) { /* the killer has stopped before this step */
    unsigned process = bit_of(process_of[thread]);
    for (int i = 0; i < PROCESSES * EACH; i++) {
        if (!(*word >> i & 1) || !(descriptions[i].processes & process))
            continue;
        bool is_last = descriptions[i].processes == process;
        explore_kernel_set(word, is_last ? without(*word, i) : *word);
        if (!is_last || !is_anywhere(i))
            descriptions[i].processes &= ~process;
    }
}
