/* coming_stories.c - coming and going, one process after the other: each of these is a story that ends well. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "comers.h"

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
    char path[64];
    sr_locks_path(path, sizeof path, "/some/where/ring", 0x12);
    EXPECT(!strcmp(path, "/some/where/shmring-0000000000000012.locks"));
    sr_locks_path(path, sizeof path, "ring", 0x12);
    EXPECT(!strcmp(path, "shmring-0000000000000012.locks"));
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
/* Of two dead the kernel does not tell of the first: that is the answer, whatever it would say of the second. */
static void refused_to_tell_first(void) {
    two_there();
    was_there(2);
    was_there(3);
    died(2);
    died(3);
    bool in_order = ends[2].slot < ends[3].slot;
    kernel_refuse(SR_PAGE + ends[in_order ? 2 : 3].slot * sizeof(struct sr_attachment));
    kernel_is_impatient(0);
    kernel_act_as(0);
    EXPECT(sr_reap(&ends[0]) == -1);
    kernel_refuse(SR_SENT_BYTES);
    EXPECT(sr_reap(&ends[0]) == 2);
}
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

/* Every entry has a living owner: who comes then finds none, also not behind the last. */
static void no_entry_left(void) {
    make(SR_KIND_MPMC, 2, SR_FLAG_NAMED);
    for (int i = 0; i < 4; i++)
        was_there(i);
    struct sr_endpoint fifth = ends[OTHER];
    fifth.locks = -1;
    fifth.self = NULL;
    fifth.attachments[4].state = 0; /* as if it were free */
    EXPECT(sr_attach(&fifth, &arrival) == SR_NO_SLOT && fifth.attachments[4].state == 0);
}
/* The file beside a ring that has its locks. */
static void path_of_locks(void) {
    char path[64];
    sr_locks_path(path, sizeof path, "/dev/shm/shmring.jobs", 0xabc);
    EXPECT(strcmp(path, "/dev/shm/shmring-0000000000000abc.locks") == 0);
    sr_locks_path(path, sizeof path, "/jobs", UINT64_MAX);
    EXPECT(strcmp(path, "/shmring-ffffffffffffffff.locks") == 0);
    sr_locks_path(path, sizeof path, "jobs", 1);
    EXPECT(strcmp(path, "shmring-0000000000000001.locks") == 0);
}

const struct configuration COMING_STORIES[] = {
    {C("no-entry-left", no_entry_left, nothing_else, 1, nothing_else)},
    {C("path-of-locks", path_of_locks, nothing_else, 1, nothing_else)},
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
    {C("entry-taken", entry_taken, nothing_else, 1, nothing_else)},
    {C("refused-to-open", refused_to_open, whole, 1, nothing_else)},
    {C("refused-lifecycle", refused_lifecycle, whole, 1, nothing_else)},
    {C("refused-claim", refused_claim, whole, 1, nothing_else)},
    {C("refused-token", refused_token, whole, 1, nothing_else)},
    {C("refused-to-tell", refused_to_tell, whole, 1, nothing_else)},
    {C("refused-to-tell-first", refused_to_tell_first, nothing_else, 1, nothing_else)},
    {C("held-up", held_up_for_good, nothing_else, 1, nothing_else)},
    {C("goes-and-mends", goes_and_mends, whole, 1, nothing_else)},
    {C("nameless-with-message", nameless_with_a_message, nothing_else, 1, nothing_else)},
    {C("corrupt-as-one-goes", corrupt_as_one_goes, nothing_else, 1, nothing_else)},
    {C("child-of-retired", child_of_a_retired_ring, nothing_else, 1, nothing_else)},
    {C("further-links", further_links, nothing_else, 1, nothing_else)},
    {C("forsaken-semaphore", forsaken_semaphore, nothing_else, 1, nothing_else)},
};
const size_t COMING_STORY_COUNT = sizeof COMING_STORIES / sizeof *COMING_STORIES;
