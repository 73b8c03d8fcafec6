/* latest.c - the newest value only: one writer at a time, which never waits, and any number of readers, which never hold
 * it up.
 *
 * Version v lies in place v mod 4. The writer of version w writes over version w - 4 while w - 1 is the newest, so a
 * reader of v that finds the version at most v + 2 after its copy knows that nobody had begun to write over it. The
 * version is 64 bits long and only rises: no reader can be so slow that it comes round. There is nothing else to agree on:
 * a writer that dies leaves the version as it was, and its successor writes over what it had begun.
 *
 * Invariants: `write_position` is the version, 0 before the first value; a place is written only by whoever has the
 * producer's role, and only that of the version to come.
 * A set takes a bounded number of steps. A get copies again only when three values were set during its copy.
 * Deliberately not here: who has the role (attach.c), waiting.
 */
#include "ring/endpoint.h"

static uint64_t place_of(uint64_t version) { return version % SR_LATEST_PLACES; }

static unsigned char *value_at(const struct sr_endpoint *self, uint64_t version) {
    uint64_t granules = self->geometry.granules / SR_LATEST_PLACES;
    return self->arena + (place_of(version) * granules << SR_GRANULE_SHIFT);
}

enum sr_result sr_latest_try_claim(struct sr_endpoint *self, uint64_t length, struct sr_record *record) {
    if (SR_UNLIKELY(SR_LOAD(&self->header->shutdown, relaxed)))
        return SR_SHUT_DOWN;
    /* Relaxed: with the role we took over what its last holder had stored. */
    uint64_t version = SR_LOAD(&self->header->write_position, relaxed) + 1;
    record->position = version;
    record->length = length;
    record->payload = value_at(self, version);
    record->redelivered = false;
    /* SYNC: place-reused (release; pairs with the fence in sr_latest_acknowledge): whoever sees a byte of the new value
     * sees that the version before it was there. */
    SR_FENCE(release);
    SR_STORE(&self->words[place_of(version)], length, relaxed);
    return SR_OK;
}

void sr_latest_shorten(struct sr_endpoint *self, struct sr_record *record, uint64_t length) {
    record->length = length;
    SR_STORE(&self->words[place_of(record->position)], length, relaxed); /* the version publishes it */
}

void sr_latest_commit(struct sr_endpoint *self, struct sr_record *record) {
    /* SYNC: value-published (release; pairs with the acquire in sr_latest_try_take): the value and its length. */
    SR_STORE(&self->header->write_position, record->position, release);
}

enum sr_result sr_latest_try_take(struct sr_endpoint *self, uint64_t known, struct sr_record *record) {
    for (;;) {
        uint64_t version = SR_LOAD(&self->header->write_position, acquire); /* SYNC: value-published (acquire) */
        if (version <= known)
            return SR_EMPTY;
        record->position = version;
        record->length = SR_LOAD(&self->words[place_of(version)], relaxed);
        record->payload = value_at(self, version);
        record->redelivered = false;
        if (SR_LIKELY(record->length <= self->geometry.max_message))
            return SR_OK;
        if (sr_latest_acknowledge(self, record) == SR_OK)
            return SR_CORRUPT;
    }
}

enum sr_result sr_latest_acknowledge(struct sr_endpoint *self, const struct sr_record *record) {
    SR_FENCE(acquire); /* SYNC: place-reused (acquire) */
    uint64_t version = SR_LOAD(&self->header->write_position, relaxed);
    return version - record->position <= SR_LATEST_PLACES - 2 ? SR_OK : SR_OVERWRITTEN;
}
