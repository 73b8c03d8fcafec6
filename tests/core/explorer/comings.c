/* comings.c - the configurations of coming and going: entries, roles, repairs, and when a ring is nobody's any more, with
 * several at it. */
#include "comers.h"

static void nothing_else(void) {}

/* --- threads; each is the process of its endpoint --- */

static void come_0(void) { come(0); }
static void come_1(void) { come(1); }
static void come_2(void) { come(2); }
static void go_0(void) { go(0); }
static void go_1(void) { go(1); }
static void reap(int thread) {
    int reaped = sr_reap(&ends[thread]);
    EXPECT(reaped >= 0);
    told.reaped += reaped;
}
static void reap_0(void) { reap(0); }
static void reap_1(void) { reap(1); }
/* One death is mended by one of them, and the other finds that it was. */
static void whole_and_reaped_once(void) {
    EXPECT(told.reaped == 1);
    whole();
}
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
/* Somebody has a message; another takes two, and is killed in any of it. */
static void one_taken(void) {
    make(SR_KIND_MPMC, 4, SR_FLAG_NAMED);
    for (int i = 0; i < 3; i++)
        was_there(i);
    for (uint32_t id = 1; id <= 4; id++)
        EXPECT(put(2, id));
    EXPECT(sr_try_take(&ends[2], UINT64_MAX, &left[0]) == SR_OK);
}
static void take_two_0(void) {
    EXPECT(sr_try_take(&ends[0], UINT64_MAX, &left[1]) == SR_OK);
    EXPECT(sr_try_take(&ends[0], UINT64_MAX, &left[2]) == SR_OK);
}
static void contents_1(void) {
    struct sr_contents contents;
    EXPECT(sr_contents_by_the_living(&ends[1], &contents) == SR_OK);
    EXPECT(contents.taken <= 3 && contents.ready <= 5);
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
    {C("reap-2", two_and_a_dead_one, whole_and_reaped_once, 2, reap_0, reap_1)},
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
    {C("born-beside", unborn, nothing_else, 2, bear_0, find_1)},
    {C("park-reap", message_behind_the_dead, nobody_sleeps, 2, reap_0, wait_for_a_message_1)},
    {C("park-reap-room", room_of_the_dead, nobody_sleeps, 2, reap_0, wait_for_room_1)},
    {C("park-forsake", message_behind_0, nobody_sleeps, 2, forsake_0, wait_for_a_message_1)},
    {C("park-forsake-room", room_of_0, nobody_sleeps, 2, forsake_0, wait_for_room_1)},
    {C("park-go", room_of_a_subscriber, nobody_sleeps, 2, go_0, wait_for_room_1)},
    {C("role-beside-comer", full_of_the_dead, whole, 2, reap_and_take_role_0, come_1)},
    {C("sent-2", two_sent, both_have_arrived, 3, nothing_else, arrived_1, arrived_2)},
    {C("contents-beside-reaper", many_dead, whole, 2, reap_0, contents_1)},
    {C("contents-beside-victim", one_taken, nothing_else, 2, take_two_0, contents_1), .alive = &alive},
};
const size_t COMING_COUNT = sizeof COMINGS / sizeof *COMINGS;
