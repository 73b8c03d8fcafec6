/* comers.h - what the configurations of coming and going share: processes that come to a ring of four entries, what they do
 * there, rings to begin with, and what must hold afterwards. */
#ifndef EXPLORER_COMERS_H
#define EXPLORER_COMERS_H

#include "configurations.h"
#include "kernel.h"

enum { MESSAGES = 12, OTHER = EXPLORE_THREADS };

static struct sr_header *const header = (struct sr_header *)segment;
extern struct sr_endpoint ends[EXPLORE_THREADS + 1]; /* one a thread, and one to look after them */
extern uint32_t alive;
extern struct sr_record left[3]; /* records that somebody holds from the start */
extern struct sr_arrival arrival;
/* Behind the last of the entries that are looked at: nobody goes there. */
extern struct sr_attachment *beyond;
static const uint64_t BEYOND = 5 << 16 | SR_SLOT_ATTACHED;
extern int stopped, sender; /* locks of one that stands still, and of one that has sent a handle, */
extern struct sr_sent sent; /* which is this */

struct told {
    bool is_attached[EXPLORE_THREADS + 1];
    enum sr_result came[EXPLORE_THREADS + 1], role[EXPLORE_THREADS + 1];
    int abandoned; /* how often somebody was told so */
    int reaped;    /* how many deaths reapers say that they mended */
    bool committed[MESSAGES + 1];
    int seen[MESSAGES + 1], redelivered[MESSAGES + 1];
};
extern struct told told;

void make(uint32_t kind, uint64_t granules, uint32_t flags);
enum sr_result come(int thread);
void go(int thread);
enum sr_result take_role(int thread, enum sr_role role);
void has_role_now(int thread, enum sr_role role);
void give_back(int thread, enum sr_role role);
bool put(int thread, uint32_t id);
uint32_t get(int thread);
void was_there(int thread);
void has_role(int thread, enum sr_role role);
void died(int thread);
bool lives(uint64_t owner);
void whole(void);
void empty_mpmc(void);
void one_there(void);
void two_there(void);
void two_there_without_a_name(void);
void two_there_with_a_message(void);
void dies_claiming(int thread);
void one_and_a_dead_one(void);
void one_of_two_threads_and_a_dead_one(void);
void two_and_a_dead_one(void);
void many_dead(void);
void full_of_the_dead(void);
void held_up(void);
void two_sides(void);
void dead_producer(void);
void dead_on_both_sides(void);
void no_roles(void);
void parent_and_child(void);
void nameless_parent_and_child(void);
void sent_one(void);
void whole_and_kept(void);
void gone(void);

#endif
