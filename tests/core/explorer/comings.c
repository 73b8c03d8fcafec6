/* comings.c - the configurations of coming and going: entries, roles, repairs, and when a ring is nobody's any more. The
 * threads are processes beside a kernel with locks (kernel.h), in a ring of four entries. */
#include <errno.h>
#include <stdlib.h>

#include "configurations.h"
#include "kernel.h"

enum { MESSAGES = 12, OTHER = EXPLORE_THREADS };
static const int64_t PATIENCE_NS = 1000000000;

static struct sr_header *const header = (struct sr_header *)segment;
static struct sr_endpoint ends[EXPLORE_THREADS + 1]; /* one a thread, and one to look after them */
static uint32_t alive;
static struct sr_record left[3]; /* records that somebody holds from the start */

static struct {
    bool is_attached[EXPLORE_THREADS + 1];
    enum sr_result came[EXPLORE_THREADS + 1], role[EXPLORE_THREADS + 1];
    int abandoned; /* how often somebody was told so */
    bool committed[MESSAGES + 1];
    int seen[MESSAGES + 1], redelivered[MESSAGES + 1];
} told;

/* --- a ring, and a fresh one for each execution --- */

/* Behind the last of the entries that are looked at: nobody goes there. */
static struct sr_attachment *beyond;
static const uint64_t BEYOND = 5 << 16 | SR_SLOT_ATTACHED;

static struct sr_arrival arrival;

static void make(uint32_t kind, uint64_t granules, uint32_t flags) {
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
static enum sr_result come(int thread) { return come_by(thread, &arrival); }

static void go(int thread) {
    bool abandoned = true;
    if (!told.is_attached[thread])
        return;
    told.is_attached[thread] = false;
    EXPECT(sr_detach(&ends[thread], &abandoned) == SR_OK);
    told.abandoned += abandoned;
    sr_detach_finish(&ends[thread]);
}

/* A role that only one has. */
static enum sr_result take_role(int thread, enum sr_role role) {
    uint32_t holder;
    enum sr_result result = sr_take_role(&ends[thread], role, &holder);
    told.role[thread] = result;
    EXPECT(result == SR_OK || result == SR_BUSY);
    bool is_exclusive = ends[thread].geometry.kind == SR_KIND_SPSC;
    for (int i = 0; is_exclusive && i <= OTHER && result == SR_OK; i++)
        EXPECT(i == thread || !(ends[i].roles & role) || !told.is_attached[i] || (!i && !alive));
    return result;
}
static void has_role_now(int thread, enum sr_role role) { EXPECT(take_role(thread, role) == SR_OK); }
static void give_back(int thread, enum sr_role role) { sr_give_role_back(&ends[thread], role); }

static bool put(int thread, uint32_t id) {
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
static uint32_t get(int thread) {
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

static void was_there(int thread) {
    kernel_act_as(thread);
    if (come(thread) != SR_OK)
        abort();
    kernel_act_as(OTHER);
}
static void has_role(int thread, enum sr_role role) {
    kernel_act_as(thread);
    if (take_role(thread, role) != SR_OK)
        abort();
    kernel_act_as(OTHER);
}
/* Dead, and nobody knows yet. */
static void died(int thread) {
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

static bool lives(uint64_t owner) {
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
static void whole(void) {
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

static void empty_mpmc(void) { make(SR_KIND_MPMC, 2, SR_FLAG_NAMED); }
static void one_there(void) {
    empty_mpmc();
    was_there(0);
}
static void two_there(void) {
    one_there();
    was_there(1);
}
static void two_there_without_a_name(void) {
    make(SR_KIND_MPMC, 2, 0);
    was_there(0);
    was_there(1);
}
static void two_there_with_a_message(void) {
    two_there();
    EXPECT(put(1, 9));
}
/* One has died in a claim: that shows in its entry only. */
static void dies_claiming(int thread) {
    was_there(thread);
    EXPECT(sr_try_claim(&ends[thread], 64, &left[0]) == SR_OK);
    died(thread);
}
static void one_and_a_dead_one(void) {
    one_there();
    dies_claiming(3);
}
/* Two threads of one process share an attachment, and so its locks. */
static void one_of_two_threads_and_a_dead_one(void) {
    one_and_a_dead_one();
    kernel_is_of(1, 0);
}
static void two_and_a_dead_one(void) {
    two_there();
    dies_claiming(3);
}
/* With two claims and two takes among messages of others, a place in line, and a second that died with one. */
static void many_dead(void) {
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
static void full_of_the_dead(void) {
    one_there();
    for (int i = 1; i < 4; i++) {
        was_there(i);
        has_role(i, SR_ROLE_CONSUMER);
    }
    for (int i = 1; i < 4; i++)
        died(i);
}
/* One has the lifecycle lock and stands still for a while. */
static int stopped;
static void held_up(void) {
    two_there();
    stopped = sr_os_locks_open(0, NULL);
    EXPECT(sr_os_lock(stopped, SR_LIFECYCLE_BYTE) == SR_OS_LOCKED);
    kernel_is_impatient(0);
}

/* --- spsc: roles --- */
static void two_sides(void) {
    make(SR_KIND_SPSC, 2, SR_FLAG_NAMED);
    was_there(0);
    has_role(0, SR_ROLE_PRODUCER);
    was_there(1);
}
static void dead_producer(void) {
    make(SR_KIND_SPSC, 2, SR_FLAG_NAMED);
    was_there(0);
    was_there(1);
    was_there(3);
    has_role(3, SR_ROLE_PRODUCER);
    EXPECT(put(3, 1));
    died(3);
}
/* An owner that has both sides. */
static void dead_on_both_sides(void) {
    dead_producer();
    was_there(2);
    has_role(2, SR_ROLE_CONSUMER);
    died(2);
}
static void no_roles(void) {
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
static void parent_and_child(void) {
    one_there();
    forked_from(0);
}
static void nameless_parent_and_child(void) {
    make(SR_KIND_MPMC, 2, 0);
    was_there(0);
    forked_from(0);
}
static int sender;
static struct sr_sent sent;
/* A handle was sent, and has not arrived. */
static void sent_one(void) {
    one_there();
    kernel_act_as(0);
    sender = sr_os_locks_open(0, NULL);
    kernel_act_as(OTHER);
    EXPECT(sr_sent_open(&ends[0], sender, &sent) == SR_OK);
    sr_sent_note(&ends[0], &sent);
}
/* Nobody ever thought that the ring was nobody's. */
static void whole_and_kept(void) {
    EXPECT(header->state == SR_SEGMENT_READY && !told.abandoned);
    EXPECT(told.came[1] == SR_OK);
    whole();
}
/* Somebody did so, once, when it was. */
static void gone(void) { EXPECT(!living() && told.abandoned == 1); }

/* --- threads; each is the process of its endpoint --- */

static void come_0(void) { come(0); }
static void come_1(void) { come(1); }
static void come_2(void) { come(2); }
static void go_0(void) { go(0); }
static void go_1(void) { go(1); }
static void reap_0(void) { EXPECT(sr_reap(&ends[0]) >= 0); }
static void reap_1(void) { EXPECT(sr_reap(&ends[1]) >= 0); }
static void reap_0_too(void) { reap_0(); }
static void come_and_put_1(void) {
    if (come(1) == SR_OK)
        put(1, 5);
}
static void goes_on_2(void) { sr_os_unlock(stopped, SR_LIFECYCLE_BYTE); }
static void produce(int thread, uint32_t id) {
    if (take_role(thread, SR_ROLE_PRODUCER) == SR_OK) {
        put(thread, id);
        give_back(thread, SR_ROLE_PRODUCER);
    }
}
static void produce_0(void) { produce(0, 2); }
static void produce_1(void) { produce(1, 5); }
static void put_0(void) { put(0, 2); }
static void consume(int thread) {
    if (take_role(thread, SR_ROLE_CONSUMER) == SR_OK) {
        get(thread);
        give_back(thread, SR_ROLE_CONSUMER);
    }
}
static void consume_0(void) { consume(0); }
static void consume_1(void) { consume(1); }
static void consume_2(void) { consume(2); }

static void child_comes_1(void) {
    arrival.inherited = true;
    come(1);
}
static void child_comes_and_goes_1(void) {
    child_comes_1();
    go(1);
}
static void child_ends_1(void) { sr_os_let_go(&ends[1].claim); }
static void arrive_1(void) {
    if (come(1) == SR_OK)
        sr_sent_arrived(&ends[1], &sent);
}
static void arrive_and_go_1(void) {
    arrive_1();
    go(1);
}

/* --- one process after the other: each of these is a story that ends well --- */

static void nothing_else(void) {}

/* Whom a consumer may still wait for. */
static void peers_of_0(int alive, int died) {
    EXPECT(sr_reap(&ends[0]) >= 0);
    struct sr_peers peers = sr_peers_of(&ends[0], SR_ROLE_PRODUCER);
    EXPECT(peers.alive == alive && peers.died == died);
}
static void as(int thread, enum sr_role role) {
    was_there(thread);
    if (role)
        has_role(thread, role);
}
static void peers(void) {
    make(SR_KIND_MPMC, 2, SR_FLAG_NAMED);
    as(0, SR_ROLE_CONSUMER);
    peers_of_0(0, 0);
    as(3, SR_ROLE_PRODUCER);
    as(2, SR_ROLE_PRODUCER);
    peers_of_0(2, 0);
    died(3);
    EXPECT(ends[3].self->died_ns == 0 && ends[3].self->active_ns == NOW);
    peers_of_0(1, 1);
    EXPECT(ends[3].self->died_ns == NOW && sr_entry_state(ends[3].self->state) == SR_SLOT_DIED);
    died(2);
    peers_of_0(0, 2);
    uint32_t last = ends[2].slot;
    was_there(1);                                                 /* it may be their successor */
    EXPECT(ends[1].slot != last && ends[1].slot != ends[3].slot); /* of them one may want to hear */
    peers_of_0(1, 2);
    has_role(1, SR_ROLE_CONSUMER); /* it is not */
    peers_of_0(0, 2);
    has_role(1, SR_ROLE_PRODUCER);
    peers_of_0(1, 0);
    has_role(1, SR_ROLE_PRODUCER); /* has it already */
    died(1);
    peers_of_0(0, 1);
}
static void peers_of_a_topic(void) {
    make(SR_KIND_TOPIC, 2, SR_FLAG_NAMED);
    as(0, SR_ROLE_CONSUMER);
    was_there(1); /* it may be there to publish */
    as(3, SR_ROLE_PRODUCER);
    died(3);
    peers_of_0(1, 1);
    sr_note_subscribing(&ends[1]);
    peers_of_0(0, 1);
}
/* What lies in a ring whose consumer has died with a message. */
static void contents_of(int others, uint64_t ready, uint64_t taken) {
    struct sr_contents contents;
    EXPECT(sr_count_living(&ends[OTHER]) == others);
    EXPECT(sr_contents_by_the_living(&ends[OTHER], &contents) == SR_OK);
    EXPECT(contents.ready == ready && contents.taken == taken);
}
static void contents_after_a_death(void) {
    struct sr_record record;
    make(SR_KIND_MPMC, 4, SR_FLAG_NAMED);
    ends[OTHER].locks = sr_os_locks_open(0, NULL); /* it only looks */
    contents_of(0, 0, 0);
    was_there(0);
    was_there(1);
    was_there(2);
    EXPECT(put(0, 1) && put(0, 2) && put(0, 3));
    EXPECT(sr_try_take(&ends[1], UINT64_MAX, &record) == SR_OK);
    EXPECT(sr_try_take(&ends[2], UINT64_MAX, &record) == SR_OK);
    contents_of(3, 1, 2);
    died(1);
    contents_of(2, 2, 1);
    kernel_act_as(0);
    EXPECT(sr_reap(&ends[0]) == 1 && sr_reap(&ends[0]) == 0);
    kernel_act_as(OTHER);
    contents_of(2, 2, 1);
    EXPECT(sr_is_claimed(&ends[OTHER]));
    sr_os_locks_close(ends[OTHER].locks);
    ends[OTHER].locks = -1;
    EXPECT(sr_acknowledge(&ends[2], &record) == SR_OK);
    told.committed[2] = false;
}
/* One leaves as if it had been killed, since pages were taken from under it. */
static void damaged(void) {
    two_there();
    EXPECT(sr_try_claim(&ends[0], 64, &left[0]) == SR_OK);
    SR_STORE(&ends[0].damaged, 1, relaxed);
    kernel_act_as(0);
    go(0);
    kernel_act_as(OTHER);
    EXPECT(!told.abandoned && sr_entry_state(ends[0].self->state) == SR_SLOT_ATTACHED);
    EXPECT(sr_reap(&ends[1]) == 1);
}
/* What it still holds, it gives back before it leaves. */
static void forsaken(void) {
    one_there();
    was_there(1);
    EXPECT(put(0, 1));
    EXPECT(sr_try_take(&ends[1], UINT64_MAX, &left[0]) == SR_OK);
    EXPECT(sr_try_claim(&ends[1], 64, &left[1]) == SR_OK);
    struct sr_place place;
    sr_line_join(&ends[1], &place);
    kernel_act_as(1);
    sr_forsake(&ends[1]);
    go(1);
    kernel_act_as(OTHER);
}
static void emptied(bool is_kept) {
    kernel_act_as(0);
    go(0);
    kernel_act_as(OTHER);
    EXPECT(told.abandoned == !is_kept);
    EXPECT(header->state == (is_kept ? SR_SEGMENT_READY : SR_SEGMENT_RETIRED));
    EXPECT((sr_attach(&ends[OTHER], &arrival) == SR_OK) == is_kept);
}
static void kept_for_its_message(void) {
    one_there();
    EXPECT(put(0, 1));
    emptied(true);
}
static void kept_for_what_was_taken(void) {
    one_there();
    was_there(1);
    EXPECT(put(0, 1));
    EXPECT(sr_try_take(&ends[1], UINT64_MAX, &left[0]) == SR_OK);
    died(1);
    emptied(true);
}
static void kept_as_it_persists(void) {
    make(SR_KIND_MPMC, 2, SR_FLAG_NAMED | SR_FLAG_PERSIST);
    was_there(0);
    emptied(true);
}
static void not_kept_when_stopped(void) {
    one_there();
    EXPECT(put(0, 1));
    sr_shut_down(&ends[0], SR_STOPPED);
    emptied(false);
}
/* Each owner of an entry is another, however often it is taken. */
static void epochs(void) {
    uint64_t last = 0;
    one_there();
    for (int i = 0; i < 130; i++) {
        was_there(1);
        EXPECT(ends[1].owner != last && ends[1].owner != ends[0].owner);
        EXPECT((ends[1].owner & (SR_ATTACHMENTS - 1)) == ends[1].slot);
        last = ends[1].owner;
        kernel_act_as(1);
        go(1);
        kernel_act_as(OTHER);
    }
}
/* Who takes a dead one's role is told whose it was; who lives keeps it. */
static void holders(void) {
    uint32_t holder = 99;
    make(SR_KIND_SPSC, 2, SR_FLAG_NAMED);
    was_there(0);
    was_there(1);
    has_role(1, SR_ROLE_PRODUCER);
    kernel_act_as(0);
    EXPECT(sr_take_role(&ends[0], SR_ROLE_PRODUCER, &holder) == SR_BUSY && holder == ends[1].slot);
    EXPECT(sr_take_role(&ends[0], SR_ROLE_CONSUMER, &holder) == SR_OK);
    give_back(0, SR_ROLE_PRODUCER); /* which it has not */
    EXPECT(header->role_owner[0] == (ends[1].owner | SR_HELD));
    died(1);
    kernel_act_as(0);
    EXPECT(sr_take_role(&ends[0], SR_ROLE_PRODUCER, &holder) == SR_OK && ends[0].roles == 3);
    EXPECT(ends[0].self->roles == 3);
    kernel_act_as(OTHER);
}
/* One writer of a latest value, and any number of readers. */
static void holders_of_a_latest_value(void) {
    uint32_t holder;
    make(SR_KIND_LATEST, 1, SR_FLAG_NAMED);
    for (int i = 0; i < 3; i++)
        was_there(i);
    EXPECT(sr_take_role(&ends[0], SR_ROLE_PRODUCER, &holder) == SR_OK);
    for (int i = 1; i < 3; i++)
        EXPECT(sr_take_role(&ends[i], SR_ROLE_CONSUMER, &holder) == SR_OK);
    kernel_act_as(1);
    EXPECT(sr_take_role(&ends[1], SR_ROLE_PRODUCER, &holder) == SR_BUSY);
    died(0);
    kernel_act_as(1);
    EXPECT(sr_reap(&ends[1]) == 1 && !header->role_owner[0]);
    EXPECT(sr_take_role(&ends[1], SR_ROLE_PRODUCER, &holder) == SR_OK);
    kernel_act_as(OTHER);
}
/* A subscriber that dies, or goes, holds nobody up. */
static void subscribers(void) {
    struct sr_topic_range range;
    make(SR_KIND_TOPIC, 2, SR_FLAG_NAMED);
    for (int i = 0; i < 3; i++)
        was_there(i);
    EXPECT(sr_topic_subscribe(&ends[1], SR_START_OLDEST, 0, &range) == SR_OK);
    EXPECT(sr_topic_subscribe(&ends[2], SR_START_OLDEST, 0, &range) == SR_OK);
    EXPECT(put(0, 1) && put(0, 2) && !put(0, 3));
    kernel_act_as(1);
    go(1);
    EXPECT(!put(0, 3));
    died(2);
    EXPECT(!put(0, 3));
    EXPECT(sr_reap(&ends[0]) == 1);
    EXPECT(put(0, 3) && !header->subscribers[0]);
    EXPECT(sr_try_claim(&ends[0], 64, &left[0]) == SR_OK);
    was_there(1);
    died(0);
    EXPECT(sr_reap(&ends[1]) == 1);
    EXPECT(put(1, 4));
}
static uint32_t semaphores[3];
static void semaphore_of_the_dead(void) {
    make(SR_KIND_SEMAPHORE, 2, SR_FLAG_NAMED);
    semaphores[0] = 1;
    semaphores[1] = 0;
    semaphores[2] = 2;
    for (int i = 0; i <= OTHER; i++)
        ends[i].semaphores = (struct sr_semaphores){&semaphores[0], &semaphores[1], &semaphores[2]};
    was_there(0);
    was_there(1);
    EXPECT(put(1, 1));
    EXPECT(sr_try_claim(&ends[1], 64, &left[0]) == SR_OK);
    EXPECT(sr_try_take(&ends[1], UINT64_MAX, &left[1]) == SR_OK);
    header->mutex_holder = ends[1].owner | SR_HELD;
    semaphores[0] = 0;
    died(1);
    EXPECT(sr_reap(&ends[0]) == 1);
    EXPECT(semaphores[0] == 1 && !header->mutex_holder);
    EXPECT(get(0) == 1 && put(0, 2) && put(0, 3) && get(0) == 2 && get(0) == 3);
}
/* Those who wait share the looking; whom the kernel does not tell lets another look. */
static void looking_in_turn(void) {
    two_there();
    dies_claiming(2);
    kernel_is_impatient(0); /* time passes */
    kernel_act_as(0);
    EXPECT(sr_reap_in_turn(&ends[0], INT64_C(1) << 50) == 0);
    EXPECT(sr_reap_in_turn(&ends[0], 1) == 1);
    EXPECT(header->looked_ns);
    kernel_act_as(OTHER);
}
/* More handles than there are numbers; and one that has arrived keeps nothing. */
static void numbers_of_handles(void) {
    struct sr_sent one, other, none;
    one_there();
    kernel_act_as(0);
    int locks[] = {sr_os_locks_open(0, NULL), sr_os_locks_open(0, NULL), sr_os_locks_open(0, NULL)};
    kernel_act_as(OTHER);
    EXPECT(sr_sent_open(&ends[0], locks[0], &one) == SR_OK);
    EXPECT(sr_sent_open(&ends[0], locks[1], &other) == SR_OK);
    EXPECT(sr_sent_open(&ends[0], locks[2], &none) == SR_FULL);
    EXPECT(one.index != other.index && one.number != other.number);
    EXPECT(!sr_sent_is_awaited(&ends[0], &one));
    sr_sent_arrived(&ends[0], &one); /* counted by a former sender of this number */
    EXPECT(!sr_sent_is_awaited(&ends[0], &one));
    sr_sent_note(&ends[0], &one);
    sr_sent_note(&ends[0], &one);
    sr_sent_arrived(&ends[0], &one);
    EXPECT(sr_sent_is_awaited(&ends[0], &one) && !sr_sent_is_awaited(&ends[0], &other));
    ends[OTHER].locks = sr_os_locks_open(0, NULL);
    kernel_act_as(0);
    go(0);
    kernel_act_as(OTHER);
    EXPECT(!told.abandoned && sr_is_claimed(&ends[OTHER]));
    sr_sent_arrived(&ends[0], &one);
    EXPECT(!sr_is_claimed(&ends[OTHER]));
    sr_sent_note(&ends[0], &other);
    EXPECT(sr_is_claimed(&ends[OTHER]));
    kernel_act_as(0);
    for (int i = 0; i < 3; i++)
        sr_os_locks_close(locks[i]);
    EXPECT(!sr_is_claimed(&ends[OTHER]));
    kernel_act_as(0);
    int again = sr_os_locks_open(0, NULL);
    kernel_act_as(OTHER);
    EXPECT(sr_sent_open(&ends[0], again, &none) == SR_OK && none.number != one.number);
    sr_sent_arrived(&ends[0], &one); /* of a sender that is no more */
    sr_sent_note(&ends[0], &one);
    EXPECT(!sr_sent_is_awaited(&ends[0], &none) && !sr_sent_is_awaited(&ends[0], &one));
    EXPECT(!sr_is_claimed(&ends[OTHER])); /* one of the dead is counted still, beside one who lives */
    sr_sent_note(&ends[0], &none);
    EXPECT(sr_sent_is_awaited(&ends[0], &none) && !sr_sent_is_awaited(&ends[0], &one));
    kernel_act_as(0);
    sr_os_locks_close(again);
    kernel_act_as(OTHER);
    sr_os_locks_close(ends[OTHER].locks);
    ends[OTHER].locks = -1;
}

/* Which of several comings and deaths is the last, in whatever order their entries lie. */
static void peers_in_any_order(void) {
    make(SR_KIND_MPMC, 2, SR_FLAG_NAMED);
    as(0, SR_ROLE_CONSUMER);
    was_there(1);
    was_there(2); /* neither of them is anything */
    as(3, SR_ROLE_PRODUCER);
    peers_of_0(1, 0);
    died(3);
    peers_of_0(0, 1); /* they were there before */
    struct sr_peers consumers = sr_peers_of(&ends[0], SR_ROLE_CONSUMER);
    EXPECT(consumers.alive == 1 && consumers.died == 0);
    kernel_act_as(1);
    go(1);
    kernel_act_as(OTHER);
    peers_of_0(0, 1);
    was_there(1);
    EXPECT(ends[1].slot < ends[2].slot);
    peers_of_0(1, 1); /* it may be the successor, and lies before one who may not */
    died(1);
    EXPECT(sr_reap(&ends[0]) == 1 && sr_entry_state(ends[1].self->state) == SR_SLOT_FREE);
    peers_of_0(0, 1);
}
static void deaths_in_any_order(void) {
    make(SR_KIND_MPMC, 2, SR_FLAG_NAMED);
    as(0, SR_ROLE_CONSUMER);
    as(1, SR_ROLE_PRODUCER);
    as(2, SR_ROLE_PRODUCER);
    died(2);
    peers_of_0(1, 1);
    was_there(3);
    died(1);
    peers_of_0(0, 2); /* one died after it came */
    EXPECT(ends[1].slot < ends[2].slot && ends[2].slot < ends[3].slot);
    kernel_act_as(3);
    go(3);
    kernel_act_as(OTHER);
}
static void nobody_died(void) {
    one_there();
    was_there(1);
    peers_of_0(0, 0);
    beyond->state = 5 << 16 | SR_SLOT_DIED;
    peers_of_0(0, 0);
    has_role(0, SR_ROLE_CONSUMER);
    EXPECT(beyond->state == (5 << 16 | SR_SLOT_DIED));
    beyond->state = BEYOND;
}
/* Who takes a dead one's role is its successor for good: when it goes, nobody hears of the dead any more. */
static void successors(void) {
    dead_producer();
    ends[0].self->active_ns = 0;
    has_role(0, SR_ROLE_PRODUCER);
    EXPECT(ends[0].self->active_ns == NOW);
    give_back(0, SR_ROLE_PRODUCER);
    EXPECT(!ends[0].self->roles && !header->role_owner[0]);
    kernel_act_as(1);
    EXPECT(sr_reap(&ends[1]) == 0);
    EXPECT(sr_peers_of(&ends[1], SR_ROLE_PRODUCER).died == 0);
    kernel_act_as(OTHER);
}
/* A role whose holder is not to be found, or whose positions no writer of ours leaves. */
static void roles_of_nobody(void) {
    uint32_t holder;
    make(SR_KIND_SPSC, 2, SR_FLAG_NAMED);
    was_there(0);
    was_there(1);
    uint64_t stale[] = {(ends[1].owner ^ 1u << SR_SLOT_BITS) | SR_HELD, (1u << SR_SLOT_BITS | 3) | SR_HELD};
    for (int i = 0; i < 2; i++) {
        header->role_owner[0] = stale[i];
        kernel_act_as(0);
        EXPECT(sr_take_role(&ends[0], SR_ROLE_PRODUCER, &holder) == SR_OK);
        EXPECT(sr_take_role(&ends[0], SR_ROLE_PRODUCER, &holder) == SR_OK);
        give_back(0, SR_ROLE_PRODUCER);
    }
    header->write_position = 99999;
    EXPECT(sr_take_role(&ends[0], SR_ROLE_PRODUCER, &holder) == SR_CORRUPT);
    EXPECT(!ends[0].roles);
    kernel_act_as(OTHER);
}
static void goes_with_roles(void) {
    make(SR_KIND_SPSC, 2, SR_FLAG_NAMED);
    was_there(0);
    was_there(1);
    has_role(0, SR_ROLE_PRODUCER);
    has_role(0, SR_ROLE_CONSUMER);
    kernel_act_as(0);
    go(0);
    kernel_act_as(OTHER);
    EXPECT(!header->role_owner[0] && !header->role_owner[1] && !ends[0].self->roles);
}
/* One has a role, and keeps it when the other side is mended. */
static void role_beside_a_dead_one(void) {
    dead_producer();
    has_role(1, SR_ROLE_CONSUMER);
    EXPECT(sr_reap(&ends[0]) == 1);
}

/* The header says what it was made with, and nothing is written beyond its fields. */
static void born(void) {
    char name[300], codec[100];
    struct sr_geometry same;
    memset(name, 'n', sizeof name);
    memset(codec, 'c', sizeof codec);
    name[299] = codec[99] = 0;
    make(SR_KIND_MPMC, 5, 0);
    sr_geometry_plan(&same, SR_KIND_MPMC, 300, 9);
    memset(segment, 0, SR_PAGE);
    const struct sr_birth birth = {name, codec, SR_FLAG_NAMED | SR_FLAG_PERSIST, 0640, 1234};
    sr_format(segment, &same, &birth);
    struct sr_geometry found;
    EXPECT(sr_geometry_read(&found, header, sizeof segment) == SR_OK);
    EXPECT(header->magic == SR_MAGIC && header->layout_version == SR_LAYOUT_VERSION);
    EXPECT(header->byte_order == SR_BYTE_ORDER_MARK && header->kind == SR_KIND_MPMC && header->flags == 3);
    EXPECT(header->segment_size == same.segment_size && header->capacity == 300 && header->granules == 5);
    EXPECT(header->slots == 9 && header->attachments_offset == same.attachments_offset);
    EXPECT(header->words_offset == same.words_offset && header->arena_offset == same.arena_offset);
    EXPECT(header->identity == 1234 && header->created_ns == NOW && header->creator_pid == 1);
    EXPECT(header->mode == 0640 && header->state == SR_SEGMENT_READY);
    EXPECT(header->name[SR_NAME_BYTES - 2] == 'n' && !header->name[SR_NAME_BYTES - 1]);
    EXPECT(header->codec[SR_CODEC_BYTES - 2] == 'c' && !header->codec[SR_CODEC_BYTES - 1]);
    uint64_t first = sr_first_position(&same);
    EXPECT(header->write_position == first && header->read_position == first && header->reclaim_position == first);
    make(SR_KIND_LATEST, 1, 0);
    EXPECT(header->write_position == 0);
}
/* Who sees that a ring is born sees all of it. */
static void unborn(void) {
    empty_mpmc();
    header->state = SR_SEGMENT_NASCENT;
    header->write_position = header->read_position = header->reclaim_position = 0;
}
static void bear_0(void) {
    struct sr_geometry same = ends[0].geometry;
    const struct sr_birth birth = {.name = "ring", .codec = "", .flags = SR_FLAG_NAMED};
    sr_format(segment, &same, &birth);
}
static void find_1(void) {
    struct sr_geometry found;
    if (sr_geometry_read(&found, header, sizeof segment) != SR_OK)
        return;
    uint64_t first = sr_first_position(&found);
    EXPECT(SR_LOAD(&header->write_position, relaxed) == first && SR_LOAD(&header->read_position, relaxed) == first);
    EXPECT(SR_LOAD(&header->reclaim_position, relaxed) == first);
}
/* An entry is its new owner's alone, but for the counters, which go on. */
static void entry_taken(void) {
    empty_mpmc();
    struct sr_attachment *entry = &ends[0].attachments[0];
    *entry = (struct sr_attachment){.state = SR_SLOT_DIED, .pid = 99, .roles = 3, .died_ns = 5};
    ends[0].attachments[1] = ends[0].attachments[2] = *entry;
    entry->state = sr_entry_word(9, 3, SR_SLOT_FREE);
    entry->messages_put = 7;
    entry->messages_got = 8;
    header->order = 20;
    was_there(0);
    EXPECT(ends[0].self == entry && ends[0].owner == 4u << SR_SLOT_BITS);
    EXPECT(entry->state == sr_entry_word(21, 4, SR_SLOT_ATTACHED) && entry->pid == 1 && !entry->roles);
    EXPECT(entry->attached_ns == NOW && entry->active_ns == NOW && !entry->died_ns);
    EXPECT(entry->base_put == 7 && entry->base_got == 8 && entry->messages_put == 7);
}

/* What the kernel refuses is said, with its reason, and nothing is left locked or open. */
static void refused_at(uint64_t byte, bool opens) {
    empty_mpmc();
    kernel_refuse_to_open(!opens);
    if (opens)
        kernel_refuse(byte);
    kernel_act_as(0);
    errno = 0;
    EXPECT(sr_attach(&ends[0], &arrival) == SR_SYSTEM_ERROR);
    EXPECT(errno == (opens ? EACCES : EMFILE) && ends[0].locks == -1 && kernel_open(0) == 0);
    kernel_refuse_to_open(false);
    kernel_refuse(SR_SENT_BYTES);
    EXPECT(come(0) == SR_OK);
    kernel_act_as(OTHER);
}
static void refused_to_open(void) { refused_at(0, false); }
static void refused_lifecycle(void) { refused_at(SR_LIFECYCLE_BYTE, true); }
static void refused_claim(void) { refused_at(SR_CLAIM_BYTE, true); }
static void refused_token(void) { refused_at(SR_PAGE, true); }
/* The kernel does not tell who lives: nobody is taken for dead, and the next one looks at once. */
static void refused_to_tell(void) {
    two_there();
    was_there(2);
    was_there(3);
    died(2);
    died(3);
    kernel_refuse(SR_PAGE + ends[3].slot * sizeof(struct sr_attachment)); /* the other one is mended before */
    kernel_is_impatient(0);
    kernel_act_as(0);
    header->looked_ns = 5;
    EXPECT(sr_reap(&ends[0]) == -1);
    EXPECT(sr_reap_in_turn(&ends[0], 1) == -1 && header->looked_ns == 5);
    struct sr_arrival again = arrival;
    kernel_act_as(1);
    go(1);
    errno = 0;
    EXPECT(sr_attach(&ends[1], &again) == SR_SYSTEM_ERROR && errno == EACCES);
    kernel_act_as(0);
    kernel_refuse(SR_SENT_BYTES);
    EXPECT(sr_reap_in_turn(&ends[0], 1) == 1);
    uint64_t looked = header->looked_ns;
    EXPECT(looked != 5 && sr_reap_in_turn(&ends[0], 1) == 0 && header->looked_ns > looked);
    kernel_act_as(OTHER);
}
/* One holds the lifecycle lock and stands still: who comes is told so; who goes goes, and the ring stays. */
static void held_up_for_good(void) {
    one_there();
    stopped = sr_os_locks_open(0, NULL);
    EXPECT(sr_os_lock(stopped, SR_LIFECYCLE_BYTE) == SR_OS_LOCKED);
    kernel_is_impatient(1);
    kernel_is_impatient(0);
    kernel_act_as(1);
    EXPECT(sr_attach(&ends[1], &arrival) == SR_HELD_UP && kernel_open(1) == 0 && ends[1].locks == -1);
    kernel_act_as(0);
    go(0);
    kernel_act_as(OTHER);
    EXPECT(!told.abandoned && header->state == SR_SEGMENT_READY && ends[0].self->state == 1u << 8);
    EXPECT(kernel_open(0) == 0);
    sr_os_locks_close(stopped);
}
/* Who goes looks after the dead; a child that has not closed its copy of the locks yet keeps nothing. */
static void goes_and_mends(void) {
    two_there();
    dies_claiming(2);
    kernel_fork_locks(ends[0].locks, 3);
    kernel_act_as(0);
    go(0);
    EXPECT(sr_entry_state(ends[2].self->state) == SR_SLOT_FREE);
    sr_detach_finish(&ends[0]);
    kernel_act_as(OTHER);
}
static void nameless_with_a_message(void) {
    make(SR_KIND_MPMC, 2, 0);
    was_there(0);
    EXPECT(put(0, 1));
    kernel_act_as(0);
    go(0);
    EXPECT(told.abandoned == 1);
}
static void corrupt_as_one_goes(void) {
    bool abandoned = true;
    one_there();
    ends[0].words[0] = sr_word(&ends[0].geometry, header->reclaim_position, ends[0].geometry.length_mask, 0, SR_TAKEN);
    kernel_act_as(0);
    EXPECT(sr_detach(&ends[0], &abandoned) == SR_CORRUPT && !abandoned && header->state == SR_SEGMENT_READY);
}
/* The name is gone, and so is no obstacle to a child. */
static void child_of_a_retired_ring(void) {
    parent_and_child();
    header->state = SR_SEGMENT_RETIRED;
    kernel_act_as(1);
    arrival.inherited = true;
    EXPECT(come(1) == SR_OK && ends[1].claim && kernel_open(1) == 3);
    arrival.inherited = false;
    kernel_act_as(2);
    EXPECT(come(2) == SR_RETIRED && kernel_open(2) == 0);
}

/* What a queue adds: its further links, which may not be mended now. */
static int further_calls;
static bool further_is_ready;
static bool mend_further(struct sr_further *self, uint64_t owner) {
    further_calls += self != NULL && owner;
    return further_is_ready;
}
static enum sr_result further_contents(struct sr_further *self, struct sr_contents *contents) {
    *contents = (struct sr_contents){.ready = 3, .undelivered = self != NULL};
    return SR_TOO_LONG;
}
static void further_links(void) {
    static struct sr_further further = {mend_further, further_contents};
    struct sr_contents contents;
    two_there();
    dies_claiming(2);
    further_calls = 0;
    further_is_ready = false;
    ends[0].further = &further;
    kernel_act_as(0);
    EXPECT(sr_reap(&ends[0]) == 0 && further_calls == 1);
    EXPECT(sr_entry_state(ends[2].self->state) == SR_SLOT_ATTACHED);
    EXPECT(sr_contents_by_the_living(&ends[0], &contents) == SR_TOO_LONG && contents.ready == 3);
    further_is_ready = true;
    EXPECT(sr_reap(&ends[0]) == 1 && further_calls == 2 && sr_state_of(ends[0].words[0]) == SR_CLAIMED);
    EXPECT(sr_try_claim(&ends[0], 1, &left[1]) == SR_OK);
    sr_forsake(&ends[0]);
    EXPECT(further_calls == 3 && sr_state_of(ends[0].words[1]) == SR_CLAIMED);
}
static void forsaken_semaphore(void) {
    semaphore_of_the_dead();
    was_there(1);
    EXPECT(sr_try_claim(&ends[1], 64, &left[0]) == SR_OK);
    kernel_act_as(1);
    sr_forsake(&ends[1]);
    go(1);
    kernel_act_as(OTHER);
    EXPECT(semaphores[2] == 2 && put(0, 1) && put(0, 2));
    was_there(1); /* somebody who has no semaphores mends what one that has left */
    ends[0].semaphores = (struct sr_semaphores){0};
    died(1);
    EXPECT(sr_reap(&ends[0]) == 1);
}

/* --- waiting for those who go and die --- */
static void nobody_sleeps(void) {
    for (int i = 0; i < EXPLORE_THREADS; i++)
        EXPECT(!explore_is_asleep(i));
}
/* A message behind a claim of the dead, or of one who forsakes it. */
static void message_behind_a_claim(int owner) {
    make(SR_KIND_MPMC, 4, SR_FLAG_NAMED);
    for (int i = 0; i < 3; i++)
        was_there(i);
    EXPECT(sr_try_claim(&ends[owner], 64, &left[0]) == SR_OK);
    EXPECT(put(1, 9));
}
static void message_behind_the_dead(void) {
    message_behind_a_claim(2);
    died(2);
}
static void message_behind_0(void) { message_behind_a_claim(0); }
/* All room is claimed by the dead, or by one who forsakes it. */
static void room_of(int owner) {
    make(SR_KIND_MPMC, 2, SR_FLAG_NAMED);
    for (int i = 0; i < 3; i++)
        was_there(i);
    for (int i = 0; i < 2; i++)
        EXPECT(sr_try_claim(&ends[owner], 64, &left[i]) == SR_OK);
}
static void room_of_the_dead(void) {
    room_of(2);
    died(2);
}
static void room_of_0(void) { room_of(0); }
static void room_of_a_subscriber(void) {
    struct sr_topic_range range;
    make(SR_KIND_TOPIC, 2, SR_FLAG_NAMED);
    was_there(0);
    was_there(1);
    EXPECT(sr_topic_subscribe(&ends[0], SR_START_OLDEST, 0, &range) == SR_OK);
    EXPECT(put(1, 1) && put(1, 2));
}
static void forsake_0(void) { sr_forsake(&ends[0]); }
static void wait_for_a_message_1(void) {
    struct sr_record record;
    EXPECT(sr_take(&ends[1], UINT64_MAX, &FOR_EVER, &record) == SR_OK);
}
static void wait_for_room_1(void) {
    struct sr_record record;
    EXPECT(sr_claim(&ends[1], 64, &FOR_EVER, &record) == SR_OK);
}

/* --- several at once, of what else there is --- */
static void reap_and_take_role_0(void) {
    reap_0();
    has_role_now(0, SR_ROLE_CONSUMER);
}
static void two_sent(void) {
    sent_one();
    sr_sent_note(&ends[0], &sent);
    was_there(1);
    was_there(2);
}
static void arrived_1(void) { sr_sent_arrived(&ends[1], &sent); }
static void arrived_2(void) { sr_sent_arrived(&ends[2], &sent); }
static void both_have_arrived(void) { EXPECT(!sr_sent_is_awaited(&ends[0], &sent)); }
static void contents_1(void) {
    struct sr_contents contents;
    EXPECT(sr_contents_by_the_living(&ends[1], &contents) == SR_OK);
    EXPECT(contents.taken <= 2 && contents.ready <= 5);
}

const struct configuration COMINGS[] = {
    {C("come-2", empty_mpmc, whole, 2, come_0, come_1)},
    {C("come-3", empty_mpmc, whole, 3, come_0, come_1, come_2)},
    {C("come-beside-reaper", one_and_a_dead_one, whole, 2, reap_0, come_1)},
    {C("come-beside-reapers", two_and_a_dead_one, whole, 3, reap_0, reap_1, come_2)},
    {C("come-beside-goer", one_there, whole, 2, go_0, come_1)},
    {C("come-full", full_of_the_dead, whole, 2, reap_0, come_1)},
    {C("go-2", two_there, whole, 2, go_0, go_1)},
    {C("go-2-nameless", two_there_without_a_name, whole, 2, go_0, go_1)},
    {C("go-with-message", two_there_with_a_message, whole, 2, go_0, go_1)},
    {C("go-held-up", held_up, whole, 3, go_0, reap_1, goes_on_2)},
    {C("reap-2", two_and_a_dead_one, whole, 2, reap_0, reap_1)},
    {C("reap-many", many_dead, whole, 2, reap_0, reap_1)},
    {C("reap-threads", one_of_two_threads_and_a_dead_one, whole, 3, reap_0, reap_0_too, come_2)},
    {C("role-2", no_roles, whole, 2, produce_0, produce_1)},
    {C("role-consumers", no_roles, whole, 3, produce_0, consume_1, consume_2)},
    {C("role-of-the-dead", dead_producer, whole, 2, produce_0, produce_1)},
    {C("role-beside-reaper", dead_on_both_sides, whole, 2, produce_0, reap_1)},
    {C("role-beside-reaper-of-both", dead_on_both_sides, whole, 2, consume_0, reap_1)},
    {C("kill-comer", empty_mpmc, whole, 2, come_0, come_1), .alive = &alive},
    {C("kill-goer", two_there, whole, 2, go_0, go_1), .alive = &alive},
    {C("kill-goer-comer", one_there, whole, 2, go_0, come_1), .alive = &alive},
    {C("kill-reaper", two_and_a_dead_one, whole, 2, reap_0, reap_1), .alive = &alive},
    {C("kill-reaper-comer", one_and_a_dead_one, whole, 2, reap_0, come_and_put_1), .alive = &alive},
    {C("kill-reaper-of-many", many_dead, whole, 2, reap_0, reap_1), .alive = &alive},
    {C("kill-producer", two_sides, whole, 3, put_0, produce_1, come_2), .alive = &alive},
    {C("kill-taker-of-role", dead_producer, whole, 2, produce_0, produce_1), .alive = &alive},
    {C("kill-consumer", dead_producer, whole, 2, consume_0, consume_1), .alive = &alive},
    {C("fork", parent_and_child, whole_and_kept, 2, go_0, child_comes_1)},
    {C("fork-and-go", parent_and_child, gone, 2, go_0, child_comes_and_goes_1)},
    {C("fork-nameless", nameless_parent_and_child, gone, 2, go_0, child_comes_and_goes_1)},
    {C("fork-kill-parent", parent_and_child, whole_and_kept, 2, go_0, child_comes_1), .alive = &alive},
    {C("fork-child-ends", parent_and_child, whole, 2, go_0, child_ends_1)},
    {C("sent", sent_one, whole_and_kept, 2, go_0, arrive_1)},
    {C("sent-and-go", sent_one, gone, 2, go_0, arrive_and_go_1)},
    {C("sent-kill-sender", sent_one, whole, 2, go_0, arrive_1), .alive = &alive},
    {C("peers", peers, whole, 1, nothing_else)},
    {C("peers-topic", peers_of_a_topic, nothing_else, 1, nothing_else)},
    {C("contents", contents_after_a_death, whole, 1, nothing_else)},
    {C("damaged", damaged, whole, 1, nothing_else)},
    {C("forsaken", forsaken, whole, 1, nothing_else)},
    {C("kept-message", kept_for_its_message, nothing_else, 1, nothing_else)},
    {C("kept-taken", kept_for_what_was_taken, nothing_else, 1, nothing_else)},
    {C("kept-persist", kept_as_it_persists, nothing_else, 1, nothing_else)},
    {C("kept-stopped", not_kept_when_stopped, nothing_else, 1, nothing_else)},
    {C("epochs", epochs, whole, 1, nothing_else)},
    {C("holders", holders, whole, 1, nothing_else)},
    {C("holders-latest", holders_of_a_latest_value, nothing_else, 1, nothing_else)},
    {C("subscribers", subscribers, nothing_else, 1, nothing_else)},
    {C("semaphore-of-the-dead", semaphore_of_the_dead, whole, 1, nothing_else)},
    {C("looking-in-turn", looking_in_turn, whole, 1, nothing_else)},
    {C("numbers-of-handles", numbers_of_handles, nothing_else, 1, nothing_else)},
    {C("peers-any-order", peers_in_any_order, whole, 1, nothing_else)},
    {C("deaths-any-order", deaths_in_any_order, whole, 1, nothing_else)},
    {C("nobody-died", nobody_died, whole, 1, nothing_else)},
    {C("successors", successors, whole, 1, nothing_else)},
    {C("roles-of-nobody", roles_of_nobody, nothing_else, 1, nothing_else)},
    {C("goes-with-roles", goes_with_roles, whole, 1, nothing_else)},
    {C("role-beside-a-dead-one", role_beside_a_dead_one, whole, 1, nothing_else)},
    {C("born", born, nothing_else, 1, nothing_else)},
    {C("born-beside", unborn, nothing_else, 2, bear_0, find_1)},
    {C("entry-taken", entry_taken, nothing_else, 1, nothing_else)},
    {C("refused-to-open", refused_to_open, whole, 1, nothing_else)},
    {C("refused-lifecycle", refused_lifecycle, whole, 1, nothing_else)},
    {C("refused-claim", refused_claim, whole, 1, nothing_else)},
    {C("refused-token", refused_token, whole, 1, nothing_else)},
    {C("refused-to-tell", refused_to_tell, whole, 1, nothing_else)},
    {C("held-up", held_up_for_good, nothing_else, 1, nothing_else)},
    {C("goes-and-mends", goes_and_mends, whole, 1, nothing_else)},
    {C("nameless-with-message", nameless_with_a_message, nothing_else, 1, nothing_else)},
    {C("corrupt-as-one-goes", corrupt_as_one_goes, nothing_else, 1, nothing_else)},
    {C("child-of-retired", child_of_a_retired_ring, nothing_else, 1, nothing_else)},
    {C("further-links", further_links, nothing_else, 1, nothing_else)},
    {C("forsaken-semaphore", forsaken_semaphore, nothing_else, 1, nothing_else)},
    {C("park-reap", message_behind_the_dead, nobody_sleeps, 2, reap_0, wait_for_a_message_1)},
    {C("park-reap-room", room_of_the_dead, nobody_sleeps, 2, reap_0, wait_for_room_1)},
    {C("park-forsake", message_behind_0, nobody_sleeps, 2, forsake_0, wait_for_a_message_1)},
    {C("park-forsake-room", room_of_0, nobody_sleeps, 2, forsake_0, wait_for_room_1)},
    {C("park-go", room_of_a_subscriber, nobody_sleeps, 2, go_0, wait_for_room_1)},
    {C("role-beside-comer", full_of_the_dead, whole, 2, reap_and_take_role_0, come_1)},
    {C("sent-2", two_sent, both_have_arrived, 3, nothing_else, arrived_1, arrived_2)},
    {C("contents-beside-reaper", many_dead, whole, 2, reap_0, contents_1)},
};
const size_t COMING_COUNT = sizeof COMINGS / sizeof *COMINGS;
