/* os_named_tokens.c - the books of tokens whose locks have names: which token holds what. See os_named_tokens.h. */
#include "os_named_tokens.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "layout.h"

enum { HELD_AT_ONCE = 6 }; /* an entry, the lifecycle, and an entry under repair; some room for threads */
enum { TOKENS_MORE = 64 };

struct token {
    uint64_t identity; /* 0: free */
    struct {
        uint64_t byte;
        intptr_t lock; /* 0: free */
    } held[HELD_AT_ONCE];
};
static struct token *tokens;
static int tokens_room;
static sr_atomic_u32 busy; /* some thread is at the books, for a system call at most */

static void open_books(void) {
    uint32_t nobody = 0;
    while (!SR_CAS(&busy, &nobody, 1, acquire)) {
        nobody = 0;
        sr_os_yield();
    }
}
static void close_books(void) { SR_STORE(&busy, 0, release); }

int sr_os_token_open(int segment_fd) {
    uint64_t identity = sr_named_lock_identity(segment_fd);
    if (!identity) {
        errno = EINVAL;
        return -1;
    }
    open_books();
    int i = 0;
    while (i < tokens_room && tokens[i].identity)
        i++;
    if (i == tokens_room) {
        struct token *more = realloc(tokens, (size_t)(tokens_room + TOKENS_MORE) * sizeof *tokens);
        if (more) {
            memset(more + tokens_room, 0, TOKENS_MORE * sizeof *more);
            tokens = more;
            tokens_room += TOKENS_MORE;
        } else {
            i = -1;
            errno = ENOMEM;
        }
    }
    if (i >= 0)
        tokens[i].identity = identity;
    close_books();
    return i;
}

void sr_os_token_close(int token) {
    open_books();
    for (int i = 0; i < HELD_AT_ONCE; i++)
        if (tokens[token].held[i].lock)
            sr_named_lock_release(tokens[token].held[i].lock, tokens[token].identity, tokens[token].held[i].byte);
    tokens[token] = (struct token){0};
    close_books();
}

bool sr_os_token_lock(int token, uint64_t byte) {
    open_books();
    struct token *self = &tokens[token];
    int i = 0;
    while (i < HELD_AT_ONCE && self->held[i].lock)
        i++;
    intptr_t lock = i < HELD_AT_ONCE ? sr_named_lock_try(self->identity, byte) : 0;
    if (lock) {
        self->held[i].byte = byte;
        self->held[i].lock = lock;
    }
    close_books();
    return lock != 0;
}

void sr_os_token_unlock(int token, uint64_t byte) {
    open_books();
    for (int i = 0; i < HELD_AT_ONCE; i++)
        if (tokens[token].held[i].lock && tokens[token].held[i].byte == byte) {
            sr_named_lock_release(tokens[token].held[i].lock, tokens[token].identity, byte);
            tokens[token].held[i].lock = 0;
        }
    close_books();
}

enum sr_os_liveness sr_os_token_probe(int token, uint64_t byte) {
    open_books();
    uint64_t identity = tokens[token].identity;
    close_books();
    return sr_named_lock_probe(identity, byte);
}

bool sr_os_token_sees_lock(int token, uint64_t begin, uint64_t length) {
    /* Names cannot be asked for by range. Locks are on the first bytes of attachment entries, and at the beginning. */
    for (uint64_t byte = begin; byte < begin + length; byte += sizeof(struct sr_attachment))
        if (sr_os_token_probe(token, byte) != SR_OS_DEAD)
            return true;
    return false;
}

void sr_named_tokens_forget(void (*let_go)(intptr_t lock)) {
    for (int t = 0; t < tokens_room; t++) {
        for (int i = 0; i < HELD_AT_ONCE; i++)
            if (tokens[t].held[i].lock)
                let_go(tokens[t].held[i].lock);
        memset(tokens[t].held, 0, sizeof tokens[t].held);
    }
    close_books(); /* perhaps opened by a thread that the fork did not copy */
}
