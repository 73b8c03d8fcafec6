/* layout.h - the bytes of a segment. LAYOUT.md says the same in words and is normative; tests hold both to it.
 *
 * Deliberately not here: algorithms, the operating system, anything process-local.
 */
#ifndef SHMRING_LAYOUT_H
#define SHMRING_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "atomics.h"

/* "SHMRING\0" in memory, whatever the byte order: so that a ring of the other order is known as one. */
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define SR_MAGIC UINT64_C(0x53484D52494E4700)
#else
#define SR_MAGIC UINT64_C(0x00474E49524D4853)
#endif
#define SR_LAYOUT_VERSION 3u
#define SR_BYTE_ORDER_MARK 0x01020304u

#define SR_GRANULE_SHIFT 6u
#define SR_GRANULE (UINT64_C(1) << SR_GRANULE_SHIFT) /* bytes; payloads begin on a granule */
#define SR_CAPACITY_MAX (UINT64_C(1) << 40)
#define SR_SLOTS_MAX (UINT64_C(1) << 20)
#define SR_ATTACHMENTS 256u
#define SR_PAGE 4096u
#define SR_NAME_BYTES 256u
#define SR_CODEC_BYTES 64u
#define SR_LATEST_PLACES 4u /* values that a latest segment has room for */
#define SR_LINE 16u         /* claimers that stand in line for room */
#define SR_SENT 64u         /* attachments whose handles are on their way to other processes */

/* Bytes whose locks mean something, of the segment's file or of the one beside it; further on, the first byte of each attachment entry. */
#define SR_LIFECYCLE_BYTE 0u /* somebody comes, goes or removes */
#define SR_CLAIM_BYTE 1u     /* shared: a process that may yet attach */
#define SR_SENT_BYTES 64u    /* one for each of SR_SENT: a process that has sent handles */

enum sr_kind { SR_KIND_SPSC = 1, SR_KIND_MPMC = 2, SR_KIND_SEMAPHORE = 3, SR_KIND_TOPIC = 4, SR_KIND_LATEST = 5 };
enum sr_segment_state { SR_SEGMENT_NASCENT = 0, SR_SEGMENT_READY = 1, SR_SEGMENT_RETIRED = 2 };
enum sr_segment_flag {
    SR_FLAG_PERSIST = 1,
    SR_FLAG_NAMED = 2,
    SR_FLAG_OVERWRITE = 4,
    SR_FLAG_QUEUE = 8,
    SR_FLAG_LOCKS_APART = 16, /* the locks are on a file beside the segment: see sr_locks_path */
};
enum sr_shutdown { SR_OPEN = 0, SR_DRAINING = 1, SR_STOPPED = 2 };
enum sr_role { SR_ROLE_PRODUCER = 1, SR_ROLE_CONSUMER = 2, SR_ROLE_SUBSCRIBES = 4 /* a topic, by way of others */ };
enum sr_attachment_state { SR_SLOT_FREE = 0, SR_SLOT_ATTACHED = 1, SR_SLOT_DIED = 2 };

/* The state of a record, in the low bits of its word. */
enum sr_state {
    SR_FREE = 0,      /* never a record's start at this lap */
    SR_CLAIMED = 1,   /* its owner is writing the payload */
    SR_COMMITTED = 2, /* ready to be taken */
    SR_TAKEN = 3,     /* its owner is reading the payload */
    SR_RELEASED = 4,  /* acknowledged: room */
    SR_ABORTED = 5,   /* never was a message: room */
    SR_PADDING = 6,   /* the rest of the arena before the wrap: room */
    SR_RETURNED = 7,  /* was taken, then handed back or its taker died: to be taken again */
};

/* A place to park: see wait.h. */
struct sr_event {
    sr_atomic_u32 sequence; /* even; a waker adds two; the kernel waits on it */
    sr_atomic_u32 armed;    /* 0: nobody waits; else the sequence that the latest waiter saw, with bit 0 set */
};

struct sr_header {
    /* Identity: written once by the creator, before state becomes READY. */
    uint64_t magic;
    uint32_t layout_version;
    uint32_t byte_order;
    sr_atomic_u32 state; /* enum sr_segment_state */
    uint32_t kind;
    uint32_t flags;
    uint32_t attachment_count;
    uint64_t segment_size;
    uint64_t capacity; /* as asked for; the arena is this, rounded up to whole granules */
    uint64_t granules;
    uint64_t slots; /* most messages at a time; 0: as many as fit */
    uint64_t attachments_offset;
    uint64_t words_offset;
    uint64_t arena_offset;
    uint64_t identity; /* random; tells this ring from a later one of the same name */
    uint64_t created_ns;
    uint32_t creator_pid;
    uint32_t mode;
    char name[SR_NAME_BYTES];
    char codec[SR_CODEC_BYTES];
    unsigned char reserved_identity[512 - 432];

    /* Control: each hot field alone on two cache lines, because neighbours are prefetched in pairs. */
    sr_atomic_u32 shutdown; /* enum sr_shutdown; only ever rises */
    uint32_t pad_shutdown;
    /* The line for room; beside shutdown, which every claimer looks at. */
    sr_atomic_u64 turn;       /* the place whose turn it is, as it stands in line; 0: nobody's */
    sr_atomic_u64 turn_limit; /* the others may claim up to a ring behind this position */
    unsigned char pad_turn[40];
    sr_atomic_u64
        role_owner[2]; /* spsc: who produces, who consumes; latest: who sets; an owner with bit 63 set, or 0 */
    unsigned char pad_roles[48];
    sr_atomic_u64 write_position; /* latest: the version */
    unsigned char pad_write[120];
    sr_atomic_u64 read_position;
    sr_atomic_u64 returns;          /* raised after each record that became RETURNED */
    sr_atomic_u64 returns_searched; /* the value of returns whose records have all been taken again */
    unsigned char pad_read[104];
    sr_atomic_u64 reclaim_position;
    unsigned char pad_reclaim[120];
    struct sr_event items; /* consumers park here */
    unsigned char pad_items[120];
    struct sr_event room; /* producers park here */
    unsigned char pad_room[120];
    sr_atomic_u64 mutex_holder; /* semaphore kind: the owner inside the mutex, with bit 63 set, or 0 */
    unsigned char pad_mutex[120];
    sr_atomic_u64 subscribers[SR_ATTACHMENTS / 64]; /* topic: a bit for each entry whose cursor counts */
    sr_atomic_u64 delivered; /* topic: messages up to the newest that a subscriber who left had got */
    sr_atomic_u64 order;     /* raised by each comer and each repair: tells who came before which death */
    sr_atomic_u64 looked_ns; /* when somebody last looked whether all live, on the monotonic clock */
    sr_atomic_u64 tickets;   /* of the line, given out so far */
    unsigned char pad_subscribers[64];
    sr_atomic_u64 line[SR_LINE]; /* ticket << 15 | owner << 1 | 1; 0: free */
    sr_atomic_u64 sent[SR_SENT]; /* number of the sender << 32 | handles on their way; 0: free */
    sr_atomic_u64 stored;        /* a queue's: granules of the arena that have storage, from its beginning */
    unsigned char reserved[SR_PAGE - 2184];
};

/* One process's entry. Counters are the owner's alone to write and go on from owner to owner, so that their sums over all
 * entries are the ring's totals, whoever has died. */
struct sr_attachment {
    sr_atomic_u64 state; /* order << 16 | epoch << 8 | enum sr_attachment_state */
    sr_atomic_u32 pid;
    sr_atomic_u32 roles; /* enum sr_role, or-ed */
    sr_atomic_u64 attached_ns;
    sr_atomic_u64 active_ns; /* last time it waited, took a role or attached */
    sr_atomic_u64 died_ns;
    sr_atomic_u64 base_put; /* messages_put and messages_got when this owner came */
    sr_atomic_u64 base_got;
    sr_atomic_u64 base_lost;
    sr_atomic_u64 messages_put;
    sr_atomic_u64 bytes_put;
    sr_atomic_u64 messages_got;
    sr_atomic_u64 bytes_got;
    sr_atomic_u64 redelivered; /* topic: messages lost, overwritten before it got them */
    sr_atomic_u64 aborted;
    sr_atomic_u64 cursor; /* topic: the position of the subscriber's next message; queue: of the oldest link it is in */
    sr_atomic_u64 sequence; /* topic: that message's number */
};

#define SR_AT(type, field, offset) static_assert(offsetof(struct type, field) == (offset), #field " moved")
SR_AT(sr_header, state, 16);
SR_AT(sr_header, segment_size, 32);
SR_AT(sr_header, capacity, 40);
SR_AT(sr_header, attachments_offset, 64);
SR_AT(sr_header, identity, 88);
SR_AT(sr_header, created_ns, 96);
SR_AT(sr_header, creator_pid, 104);
SR_AT(sr_header, name, 112);
SR_AT(sr_header, codec, 368);
SR_AT(sr_header, shutdown, 512);
SR_AT(sr_header, turn, 520);
SR_AT(sr_header, turn_limit, 528);
SR_AT(sr_header, role_owner, 576);
SR_AT(sr_header, write_position, 640);
SR_AT(sr_header, read_position, 768);
SR_AT(sr_header, reclaim_position, 896);
SR_AT(sr_header, items, 1024);
SR_AT(sr_header, room, 1152);
SR_AT(sr_header, mutex_holder, 1280);
SR_AT(sr_header, subscribers, 1408);
SR_AT(sr_header, delivered, 1440);
SR_AT(sr_header, order, 1448);
SR_AT(sr_header, looked_ns, 1456);
SR_AT(sr_header, tickets, 1464);
SR_AT(sr_header, line, 1536);
SR_AT(sr_header, sent, 1664);
SR_AT(sr_header, stored, 2176);
SR_AT(sr_attachment, messages_put, 64);
SR_AT(sr_attachment, cursor, 112);
static_assert(sizeof(struct sr_header) == SR_PAGE, "the header is one page");
static_assert(sizeof(struct sr_attachment) == 128, "an attachment is two cache lines");

#endif
