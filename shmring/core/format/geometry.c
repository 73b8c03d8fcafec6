/* geometry.c - from a wish (kind, capacity, slots) to the byte map of a segment, and back from a header that is not
 * trusted. Deliberately does not touch anything that other processes change. */
#include "ring/endpoint.h"

static unsigned bits_for(uint64_t value) {
    unsigned bits = 0;
    while (value >> bits)
        bits++;
    return bits;
}

static uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) / unit * unit; }

enum sr_result sr_geometry_plan(struct sr_geometry *plan, uint32_t kind, uint64_t capacity, uint64_t slots) {
    if (kind < SR_KIND_SPSC || kind > SR_KIND_LATEST)
        return SR_CORRUPT;
    if (capacity < 1 || capacity > SR_CAPACITY_MAX || slots > SR_SLOTS_MAX || (slots && kind >= SR_KIND_TOPIC))
        return SR_CORRUPT;
    uint64_t granules = (capacity + SR_GRANULE - 1) >> SR_GRANULE_SHIFT;
    if (granules < 2)
        granules = 2;
    if (kind == SR_KIND_LATEST)
        granules = SR_LATEST_PLACES * sr_granules_for(capacity);
    *plan = (struct sr_geometry){.kind = kind, .capacity = capacity, .slots = slots, .granules = granules};
    plan->max_message = kind == SR_KIND_LATEST ? capacity : capacity / 2;
    plan->index_bits = bits_for(granules - 1);
    plan->index_mask = (UINT64_C(1) << plan->index_bits) - 1;
    /* Two bits of slack: a difference of two positions read at different moments must not wrap either. */
    plan->sequence_bits = slots ? bits_for(slots) + 2 : 0;
    plan->sequence_mask = (UINT64_C(1) << plan->sequence_bits) - 1;
    plan->length_bits = bits_for(granules << SR_GRANULE_SHIFT);
    plan->length_mask = (UINT64_C(1) << plan->length_bits) - 1;
    plan->lap_at = SR_LENGTH_AT + plan->length_bits;
    plan->lap_bits = 64 - plan->lap_at;
    plan->attachments_offset = SR_PAGE;
    plan->words_offset = SR_PAGE + SR_ATTACHMENTS * sizeof(struct sr_attachment);
    uint64_t words = kind == SR_KIND_LATEST ? SR_LATEST_PLACES : granules;
    plan->counts_offset = plan->words_offset + words * sizeof(sr_atomic_u64);
    uint64_t counts = kind == SR_KIND_TOPIC ? granules : 0;
    plan->arena_offset = round_up(plan->counts_offset + counts * sizeof(sr_atomic_u64), SR_PAGE);
    plan->segment_size = round_up(plan->arena_offset + (granules << SR_GRANULE_SHIFT), SR_PAGE);
    return SR_OK;
}

enum sr_result sr_geometry_read(struct sr_geometry *geometry, const struct sr_header *header, uint64_t mapped) {
    if (mapped < sizeof(struct sr_header))
        return SR_NOT_READY;
    uint32_t state = SR_LOAD(&((struct sr_header *)header)->state, acquire); /* SYNC: ring-born (acquire) */
    if (state == SR_SEGMENT_NASCENT)
        return header->magic && header->magic != SR_MAGIC ? SR_NOT_A_RING : SR_NOT_READY;
    if (header->magic != SR_MAGIC)
        return SR_NOT_A_RING;
    if (header->layout_version != SR_LAYOUT_VERSION || header->byte_order != SR_BYTE_ORDER_MARK)
        return SR_OTHER_LAYOUT;
    if (state != SR_SEGMENT_READY && state != SR_SEGMENT_RETIRED)
        return SR_CORRUPT;
    if (sr_geometry_plan(geometry, header->kind, header->capacity, header->slots) != SR_OK)
        return SR_CORRUPT;
    geometry->flags = header->flags;
    geometry->overwrite = geometry->kind == SR_KIND_TOPIC && geometry->flags & SR_FLAG_OVERWRITE;
    bool same = header->granules == geometry->granules && header->attachment_count == SR_ATTACHMENTS &&
                header->attachments_offset == geometry->attachments_offset &&
                header->words_offset == geometry->words_offset && header->arena_offset == geometry->arena_offset &&
                header->segment_size == geometry->segment_size && mapped >= geometry->segment_size;
    return same ? SR_OK : SR_CORRUPT;
}

void sr_endpoint_bind(struct sr_endpoint *endpoint, void *base, const struct sr_geometry *geometry) {
    unsigned char *bytes = base;
    endpoint->root = endpoint;
    endpoint->geometry = *geometry;
    endpoint->header = base;
    endpoint->attachments = (struct sr_attachment *)(void *)(bytes + geometry->attachments_offset);
    endpoint->words = (sr_atomic_u64 *)(void *)(bytes + geometry->words_offset);
    endpoint->counts = (sr_atomic_u64 *)(void *)(bytes + geometry->counts_offset);
    endpoint->arena = bytes + geometry->arena_offset;
}
