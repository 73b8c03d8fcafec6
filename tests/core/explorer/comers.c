/* comers.c - see comers.h. */
#include "comers.h"

#include <stdlib.h>

static const int64_t PATIENCE_NS = 1000000000;

struct sr_endpoint ends[EXPLORE_THREADS + 1];
uint32_t alive;
struct sr_record left[3];
struct told told;

/* --- a ring, and a fresh one for each execution --- */

/* Behind the last of the entries that are looked at: nobody goes there. */
struct sr_attachment *beyond;

struct sr_arrival arrival;

void make(uint32_t kind, uint64_t granules, uint32_t flags) {
    struct sr_geometry plan;
    if (sr_geometry_plan(&plan, kind, granules * SR_GRANULE, 0) != SR_OK || plan.segment_size > sizeof segment)
        abort();
    memset(segment, 0, plan.attachments_offset + 8 * sizeof(struct sr_attachment));
    memset(segment + plan.words_offset, 0, plan.arena_offset - plan.words_offset);
    plan.flags = flags;
    const struct sr_birth birth = {.name = "ring", .codec = "", .flags = flags};
    sr_format(segment, &plan, &birth);
    beyond = (struct sr_attachment *)(segment + plan.attachments_offset) + KERNEL_ENTRIES;
    beyond->state = BEYOND;
    beyond->roles = SR_ROLE_PRODUCER | SR_ROLE_CONSUMER;
    header->sent[KERNEL_SENT] = 1;
    kernel_reset();
    memset(&told, 0, sizeof told);
    alive = 1;
    arrival = (struct sr_arrival){.patience_ns = PATIENCE_NS};
    for (uint32_t i = 0; i <= EXPLORE_THREADS; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        sr_endpoint_bind(&ends[i], segment, &plan);
        ends[i].locks = -1;
    }
}

/* --- what a thread does --- */

/* Nobody else has its entry, but for the victim that may be dead. */
static bool is_its_own(int thread) {
    for (int i = 0; i <= OTHER; i++)
        if (i != thread && told.is_attached[i] && ends[i].slot == ends[thread].slot && (i || alive))
            return false;
    return true;
}

static enum sr_result come_by(int thread, const struct sr_arrival *way) {
    enum sr_result result = sr_attach(&ends[thread], way);
    told.came[thread] = result;
    told.is_attached[thread] = result == SR_OK;
    EXPECT(result != SR_OK || is_its_own(thread));
    return result;
}
enum sr_result come(int thread) { return come_by(thread, &arrival); }

void go(int thread) {
    bool abandoned = true;
    if (!told.is_attached[thread])
        return;
    told.is_attached[thread] = false;
    EXPECT(sr_detach(&ends[thread], &abandoned) == SR_OK);
    told.abandoned += abandoned;
    sr_detach_finish(&ends[thread]);
}

/* A role that only one has. */
enum sr_result take_role(int thread, enum sr_role role) {
    uint32_t holder;
    enum sr_result result = sr_take_role(&ends[thread], role, &holder);
    told.role[thread] = result;
    EXPECT(result == SR_OK || result == SR_BUSY);
    bool is_exclusive = ends[thread].geometry.kind == SR_KIND_SPSC;
    for (int i = 0; is_exclusive && i <= OTHER && result == SR_OK; i++)
        EXPECT(i == thread || !(ends[i].roles & role) || !told.is_attached[i] || (!i && !alive));
    return result;
}
void has_role_now(int thread, enum sr_role role) { EXPECT(take_role(thread, role) == SR_OK); }
void give_back(int thread, enum sr_role role) { sr_give_role_back(&ends[thread], role); }

bool put(int thread, uint32_t id) {
    struct sr_record record;
    enum sr_result result = sr_try_claim(&ends[thread], 64, &record);
    EXPECT(result == SR_OK || result == SR_FULL);
    if (result != SR_OK)
        return false;
    explore_data(record.payload, true);
    memcpy(record.payload, &id, sizeof id);
    EXPECT(sr_commit(&ends[thread], &record) == SR_OK);
    if (ends[thread].geometry.kind == SR_KIND_SPSC)
        sr_spsc_publish(&ends[thread]);
    told.committed[id] = true;
    return true;
}
uint32_t get(int thread) {
    struct sr_record record;
    uint32_t id;
    enum sr_result result = sr_try_take(&ends[thread], UINT64_MAX, &record);
    EXPECT(result == SR_OK || result == SR_EMPTY);
    if (result != SR_OK)
        return 0;
    explore_data(record.payload, false);
    memcpy(&id, record.payload, sizeof id);
    EXPECT(id >= 1 && id <= MESSAGES);
    if (id < 1 || id > MESSAGES)
        return 0;
    told.seen[id]++;
    told.redelivered[id] += record.redelivered;
    EXPECT(sr_acknowledge(&ends[thread], &record) == SR_OK);
    if (ends[thread].geometry.kind == SR_KIND_SPSC)
        sr_spsc_give_back_room(&ends[thread]);
    return id;
}

/* --- processes that were there before --- */

void was_there(int thread) {
    kernel_act_as(thread);
    if (come(thread) != SR_OK)
        abort();
    kernel_act_as(OTHER);
}
void has_role(int thread, enum sr_role role) {
    kernel_act_as(thread);
    if (take_role(thread, role) != SR_OK)
        abort();
    kernel_act_as(OTHER);
}
/* Dead, and nobody knows yet. */
void died(int thread) {
    kernel_act_as(thread);
    sr_os_locks_close(ends[thread].locks);
    sr_os_let_go(&ends[thread].token);
    sr_os_let_go(&ends[thread].claim);
    kernel_act_as(OTHER);
    told.is_attached[thread] = false;
}

/* --- what must hold afterwards --- */

static int living(void) {
    int count = 0;
    for (int i = 0; i <= OTHER; i++)
        count += told.is_attached[i];
    return count;
}

/* Who is attached has an entry that says so, and the kernel as well. */
static void entries_are_true(void) {
    unsigned mine = 0;
    for (int i = 0; i < OTHER; i++) {
        if (!told.is_attached[i])
            continue;
        uint64_t state = ends[i].self->state;
        EXPECT(sr_entry_state(state) == SR_SLOT_ATTACHED);
        EXPECT((sr_entry_epoch(state) << SR_SLOT_BITS | ends[i].slot) == ends[i].owner);
        EXPECT(ends[i].self == &ends[i].attachments[ends[i].slot]);
        EXPECT(sr_liveness(&ends[OTHER], ends[i].slot) == SR_OS_ALIVE);
        EXPECT(!(mine >> ends[i].slot & 1));
        mine |= 1u << ends[i].slot;
    }
    for (uint32_t slot = 0; slot < KERNEL_ENTRIES; slot++) /* of all others, nothing is left for anybody to mend */
        if (!(mine >> slot & 1) && &ends[OTHER].attachments[slot] != ends[OTHER].self)
            EXPECT(sr_entry_state(ends[OTHER].attachments[slot].state) != SR_SLOT_ATTACHED);
}

bool lives(uint64_t owner) {
    for (int i = 0; i <= OTHER; i++)
        if (told.is_attached[i] && ends[i].owner == owner)
            return true;
    return false;
}

/* No record, role, mutex or place in line of one who is not there; and what the others have is theirs. */
static void nothing_is_of_the_dead(void) {
    struct sr_endpoint *self = &ends[OTHER];
    EXPECT(beyond->state == BEYOND);
    for (int i = 0; i < OTHER && self->geometry.kind == SR_KIND_SPSC; i++)
        for (int side = 0; side < 2; side++)
            EXPECT(!told.is_attached[i] || !(ends[i].roles >> side & 1) ||
                   header->role_owner[side] == (ends[i].owner | SR_HELD));
    for (int side = 0; side < 2; side++)
        EXPECT(!header->role_owner[side] || lives(header->role_owner[side] & ~SR_HELD));
    for (uint64_t i = 0; i < self->geometry.granules && self->geometry.kind == SR_KIND_MPMC; i++) {
        enum sr_state state = sr_state_of(self->words[i]);
        EXPECT((state != SR_CLAIMED && state != SR_TAKEN) || lives(sr_owner_of(self->words[i])));
    }
    for (uint32_t i = 0; i < SR_LINE; i++)
        EXPECT(!header->line[i] || lives(header->line[i] >> 1 & ((1u << SR_OWNER_BITS) - 1)));
    EXPECT(!header->turn || lives(header->turn >> 1 & ((1u << SR_OWNER_BITS) - 1)));
}

/* All entries can be had, and no more; then all go, and the last of them knows it. */
static void filled_and_emptied(void) {
    static struct sr_endpoint more[KERNEL_ENTRIES + 1];
    int count = 0;
    bool abandoned, is_named = ends[OTHER].geometry.flags & SR_FLAG_NAMED;
    enum sr_result result;
    for (;;) {
        kernel_act_as(count % OTHER);
        more[count] = ends[OTHER];
        more[count].token = more[count].claim = NULL;
        more[count].self = NULL;
        result = sr_attach(&more[count], &arrival);
        if (result != SR_OK)
            break;
        count++;
    }
    EXPECT(result == SR_NO_SLOT && count == KERNEL_ENTRIES - living());
    while (count) {
        kernel_act_as(--count % OTHER);
        EXPECT(sr_detach(&more[count], &abandoned) == SR_OK && !abandoned);
        sr_detach_finish(&more[count]);
    }
    for (int i = 0; i <= OTHER; i++) {
        kernel_act_as(i);
        told.abandoned = 0;
        bool was = told.is_attached[i];
        go(i);
        EXPECT(told.abandoned == (was && !living()));
    }
    kernel_act_as(OTHER);
    EXPECT(!is_named || sr_attach(&ends[OTHER], &arrival) == SR_RETIRED);
}

static void goes_on(void) {
    struct sr_endpoint *self = &ends[OTHER];
    bool is_spsc = self->geometry.kind == SR_KIND_SPSC, has_roles = true;
    if (is_spsc)
        for (int side = 0; side < 2; side++) /* its former holders have done */
            for (int i = 0; i < OTHER; i++)
                if (told.is_attached[i])
                    give_back(i, side ? SR_ROLE_CONSUMER : SR_ROLE_PRODUCER);
    has_roles = take_role(OTHER, SR_ROLE_PRODUCER) == SR_OK && take_role(OTHER, SR_ROLE_CONSUMER) == SR_OK;
    EXPECT(has_roles);
    if (!has_roles)
        return;
    while (get(OTHER))
        ;
    for (int id = 1; id <= MESSAGES; id++) {
        EXPECT(!told.committed[id] || told.seen[id] >= 1);
        EXPECT(told.seen[id] <= 1 + told.redelivered[id] + (is_spsc && !alive));
        EXPECT(told.committed[id] || !told.seen[id] || !alive);
    }
    for (int i = 0; i < 5; i++)
        EXPECT(put(OTHER, 12) && get(OTHER) == 12);
}

/* One more comes, and finds everything as it should be. */
void whole(void) {
    arrival.inherited = false;
    for (int i = 0; i < EXPLORE_THREADS; i++)
        EXPECT(!explore_is_asleep(i));
    if (!alive)
        told.is_attached[0] = false;
    if (header->state != SR_SEGMENT_READY) {
        EXPECT(told.abandoned == 1 || !alive);
        EXPECT(!living());
        return;
    }
    kernel_act_as(OTHER);
    EXPECT(come(OTHER) == SR_OK);
    if (!told.is_attached[OTHER])
        return;
    entries_are_true();
    nothing_is_of_the_dead();
    goes_on();
    filled_and_emptied();
}

/* --- rings to begin with --- */

void empty_mpmc(void) { make(SR_KIND_MPMC, 2, SR_FLAG_NAMED); }
void one_there(void) {
    empty_mpmc();
    was_there(0);
}
void two_there(void) {
    one_there();
    was_there(1);
}
void two_there_without_a_name(void) {
    make(SR_KIND_MPMC, 2, 0);
    was_there(0);
    was_there(1);
}
void two_there_with_a_message(void) {
    two_there();
    EXPECT(put(1, 9));
}
/* One has died in a claim: that shows in its entry only. */
void dies_claiming(int thread) {
    was_there(thread);
    EXPECT(sr_try_claim(&ends[thread], 64, &left[0]) == SR_OK);
    died(thread);
}
void one_and_a_dead_one(void) {
    one_there();
    dies_claiming(3);
}
/* Two threads of one process share an attachment, and so its locks. */
void one_of_two_threads_and_a_dead_one(void) {
    one_and_a_dead_one();
    kernel_is_of(1, 0);
}
void two_and_a_dead_one(void) {
    two_there();
    dies_claiming(3);
}
/* With two claims and two takes among messages of others, a place in line, and a second that died with one. */
void many_dead(void) {
    struct sr_place place;
    make(SR_KIND_MPMC, 6, SR_FLAG_NAMED);
    for (int i = 0; i < 4; i++)
        was_there(i);
    EXPECT(put(2, 1) && put(2, 2));
    EXPECT(sr_try_claim(&ends[3], 64, &left[0]) == SR_OK);
    EXPECT(put(2, 3));
    EXPECT(sr_try_claim(&ends[2], 64, &left[0]) == SR_OK);
    EXPECT(sr_try_claim(&ends[3], 64, &left[0]) == SR_OK);
    for (int i = 0; i < 2; i++)
        EXPECT(sr_try_take(&ends[3], UINT64_MAX, &left[i]) == SR_OK);
    sr_line_join(&ends[3], &place);
    died(2);
    died(3);
}
/* All four entries are taken, three of them by dead consumers, of whom somebody may want to hear. */
void full_of_the_dead(void) {
    one_there();
    for (int i = 1; i < 4; i++) {
        was_there(i);
        has_role(i, SR_ROLE_CONSUMER);
    }
    for (int i = 1; i < 4; i++)
        died(i);
}
/* One has the lifecycle lock and stands still for a while. */
int stopped;
void held_up(void) {
    two_there();
    stopped = sr_os_locks_open(0, NULL);
    EXPECT(sr_os_lock(stopped, SR_LIFECYCLE_BYTE) == SR_OS_LOCKED);
    kernel_is_impatient(0);
}

/* --- spsc: roles --- */
void two_sides(void) {
    make(SR_KIND_SPSC, 2, SR_FLAG_NAMED);
    was_there(0);
    has_role(0, SR_ROLE_PRODUCER);
    was_there(1);
}
void dead_producer(void) {
    make(SR_KIND_SPSC, 2, SR_FLAG_NAMED);
    was_there(0);
    was_there(1);
    was_there(3);
    has_role(3, SR_ROLE_PRODUCER);
    EXPECT(put(3, 1));
    died(3);
}
/* An owner that has both sides. */
void dead_on_both_sides(void) {
    dead_producer();
    was_there(2);
    has_role(2, SR_ROLE_CONSUMER);
    died(2);
}
void no_roles(void) {
    make(SR_KIND_SPSC, 2, SR_FLAG_NAMED);
    was_there(0);
    was_there(1);
    was_there(2);
}

/* --- forks and handles on their way --- */

/* Endpoint 1 is in a child that was forked from process 0, and has not been used there. */
static void forked_from(int parent) {
    ends[1] = ends[parent];
    ends[1].reaping = 1; /* by a thread that is not in the child */
    ends[1].roles = SR_ROLE_PRODUCER;
    kernel_fork(ends[parent].claim, 1);
    kernel_fork_locks(ends[parent].locks, 1);
    kernel_act_as(1);
    sr_forget(&ends[1]);
    EXPECT(kernel_open(1) == 1 && ends[1].locks == -1 && ends[1].claim && !ends[1].token);
    EXPECT(!ends[1].self && !ends[1].roles && !ends[1].reaping);
    sr_forget(&ends[1]);
    kernel_act_as(OTHER);
}
void parent_and_child(void) {
    one_there();
    forked_from(0);
}
void nameless_parent_and_child(void) {
    make(SR_KIND_MPMC, 2, 0);
    was_there(0);
    forked_from(0);
}
int sender;
struct sr_sent sent;
/* A handle was sent, and has not arrived. */
void sent_one(void) {
    one_there();
    kernel_act_as(0);
    sender = sr_os_locks_open(0, NULL);
    kernel_act_as(OTHER);
    EXPECT(sr_sent_open(&ends[0], sender, &sent) == SR_OK);
    sr_sent_note(&ends[0], &sent);
}
/* Nobody ever thought that the ring was nobody's. */
void whole_and_kept(void) {
    EXPECT(header->state == SR_SEGMENT_READY && !told.abandoned);
    EXPECT(told.came[1] == SR_OK);
    whole();
}
/* Somebody did so, once, when it was. */
void gone(void) { EXPECT(!living() && told.abandoned == 1); }
