/* semaphore.c - the textbook bounded buffer (Dijkstra, EWD 123, 1965): a mutex, a count of empty slots, a count of full
 * ones, all three semaphores of the operating system.
 *
 * Inside the mutex runs the claim or take of mpmc.c, uncontended; the payload is copied outside it. Whoever wants the
 * mutex writes its name into mutex_holder first, and only then does it touch the semaphore, so that at most one touches
 * it at a time: after a death the name says who held it, and the semaphore whether it did so yet. A count that a death
 * made too small is topped up, since a permit too many only costs a look.
 *
 * Waiting is not sem_wait: shutdown, close, deadlines, signals, dead peers and room in bytes must wake the same sleeper,
 * and a semaphore can only count. blocking.c waits, as for every kind.
 */
#include "os/semaphore.h"
#include "ring/endpoint.h"

static bool enter_mutex(struct sr_endpoint *self) {
    uint64_t nobody = 0;
    /* SYNC: mutex-held (acquire; pairs with the release in leave and in sr_semaphore_repair). */
    if (!SR_CAS(&self->header->mutex_holder, &nobody, self->owner | SR_HELD, acquire))
        return false;
    if (sr_os_semaphore_try_wait(self->semaphores.mutex))
        return true;
    SR_STORE(&self->header->mutex_holder, 0, release); /* taken away by hand: somebody called sem_wait on it */
    return false;
}

static void leave(struct sr_endpoint *self) {
    sr_os_semaphore_post(self->semaphores.mutex);
    SR_STORE(&self->header->mutex_holder, 0, release); /* SYNC: mutex-held (release) */
}

enum sr_result sr_semaphore_try_claim(struct sr_endpoint *self, uint64_t length, uint64_t turn,
                                      struct sr_record *record) {
    if (SR_LOAD(&self->header->shutdown, relaxed))
        return SR_SHUT_DOWN;
    if (!sr_os_semaphore_try_wait(self->semaphores.empty))
        return SR_FULL;
    enum sr_result result = SR_CONTENDED;
    if (enter_mutex(self)) {
        result = sr_mpmc_try_claim(self, length, turn, record);
        leave(self);
    }
    if (result != SR_OK)
        sr_os_semaphore_post(self->semaphores.empty);
    return result;
}

enum sr_result sr_semaphore_try_room(struct sr_endpoint *self, uint64_t length) {
    if (SR_LOAD(&self->header->shutdown, relaxed))
        return SR_SHUT_DOWN;
    return sr_os_semaphore_value(self->semaphores.empty) ? sr_mpmc_try_room(self, length) : SR_FULL;
}

static enum sr_result take(struct sr_endpoint *self, uint64_t position, uint64_t limit, struct sr_record *record) {
    if (!sr_os_semaphore_try_wait(self->semaphores.full))
        return SR_EMPTY;
    enum sr_result result = SR_CONTENDED;
    if (enter_mutex(self)) {
        result = position ? sr_mpmc_try_take_again(self, position, record) : sr_mpmc_try_take(self, limit, record);
        leave(self);
    }
    if (result != SR_OK)
        sr_os_semaphore_post(self->semaphores.full);
    return result;
}

enum sr_result sr_semaphore_try_take(struct sr_endpoint *self, uint64_t limit, struct sr_record *record) {
    return take(self, 0, limit, record);
}

enum sr_result sr_semaphore_try_take_again(struct sr_endpoint *self, uint64_t position, struct sr_record *record) {
    return take(self, position, UINT64_MAX, record);
}

enum sr_result sr_semaphore_commit(struct sr_endpoint *self, struct sr_record *record) {
    enum sr_result result = sr_mpmc_commit(self, record);
    sr_os_semaphore_post(self->semaphores.full);
    return result;
}

enum sr_result sr_semaphore_commit_part(struct sr_endpoint *self, struct sr_record *record, uint64_t length) {
    enum sr_result result = sr_mpmc_commit_part(self, record, length);
    sr_os_semaphore_post(self->semaphores.full);
    return result;
}

enum sr_result sr_semaphore_abort(struct sr_endpoint *self, struct sr_record *record) {
    enum sr_result result = sr_mpmc_abort(self, record);
    sr_os_semaphore_post(self->semaphores.empty);
    return result;
}

enum sr_result sr_semaphore_acknowledge(struct sr_endpoint *self, struct sr_record *record) {
    enum sr_result result = sr_mpmc_acknowledge(self, record);
    sr_os_semaphore_post(self->semaphores.empty);
    return result;
}

enum sr_result sr_semaphore_hand_back(struct sr_endpoint *self, struct sr_record *record) {
    enum sr_result result = sr_mpmc_hand_back(self, record);
    sr_os_semaphore_post(self->semaphores.full);
    return result;
}

void sr_semaphore_repair(struct sr_endpoint *self, uint64_t dead_owner) {
    uint64_t holder = dead_owner | SR_HELD;
    /* SYNC: mutex-held (acquire): what it did inside. */
    if (SR_LOAD(&self->header->mutex_holder, acquire) == holder) {
        if (sr_os_semaphore_value(self->semaphores.mutex) == 0)
            sr_os_semaphore_post(self->semaphores.mutex);
        SR_CAS(&self->header->mutex_holder, &holder, 0, release); /* SYNC: mutex-held (release) */
    }
    sr_semaphore_top_up(self);
}

void sr_semaphore_top_up(struct sr_endpoint *self) {
    struct sr_contents contents;
    if (sr_contents_read(self, &contents) != SR_OK)
        return;
    uint64_t slots = sr_semaphore_slots(&self->geometry);
    uint64_t in_flight = contents.ready + contents.claimed + contents.taken;
    for (int full = sr_os_semaphore_value(self->semaphores.full); full >= 0 && (uint64_t)full < contents.ready; full++)
        sr_os_semaphore_post(self->semaphores.full);
    for (int empty = sr_os_semaphore_value(self->semaphores.empty); empty >= 0 && (uint64_t)empty + in_flight < slots;
         empty++)
        sr_os_semaphore_post(self->semaphores.empty);
}
