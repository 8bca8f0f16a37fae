/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of streams in memory: name → version and position of the last event, and where jumps lead.
 *
 *     slots (hash bits, number) ──▶ entries in blocks ──▶ name in the arena
 *                                          └──▶ jumps, from version 16 on
 *
 * Some 70 bytes and the name a stream.  Not for two threads: the store's lock.
 */
#ifndef STORE_HEADS_H
#define STORE_HEADS_H

#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/types.h"

/* Positions of the nodes on the way of jumps from the last one down, the last one at the end. */
struct head_jumps {
    uint32_t count, capacity;
    uint64_t positions[];
};

struct head {
    uint64_t hash;
    const char *name;         /* two bytes of size, then the name; in the arena */
    uint64_t version;         /* 0: the stream does not exist (an append was taken back) */
    uint64_t position;        /* of the last event */
    struct head_jumps *jumps; /* owned; NULL below STORE_JUMP_STEP */
};

struct heads {
    uint64_t *slots; /* owned; high half: bits of the hash, low half: number + 1; 0: free */
    uint64_t slot_count;
    struct head **blocks; /* owned */
    uint64_t count, block_capacity;
    uint64_t seed;
    uint64_t jump_bytes;
    struct banyan_arena names;
};

void heads_init(struct heads *heads, uint64_t seed);
void heads_release(struct heads *heads);
uint64_t heads_hash(const struct heads *heads, struct banyan_str name);
/* Bring what the lookup of *hash* touches first into the cache. */
void heads_prefetch(const struct heads *heads, uint64_t hash);
/* The same for what it touches next, some time later. */
void heads_prefetch_head(const struct heads *heads, uint64_t hash);
/* NULL when it was never there.  Stays at its place for ever. */
struct head *heads_find(const struct heads *heads, struct banyan_str name, uint64_t hash);
/* Find or add one with version 0. */
struct head *heads_make(struct heads *heads, struct banyan_str name, uint64_t hash);
/* Add one that is not there, as it is known from elsewhere. */
struct head *heads_load(struct heads *heads, struct banyan_str name, uint64_t hash, uint64_t version, uint64_t position,
                        const uint64_t *jumps, uint32_t jump_count);
/* The one added as number *number*, from 0. */
struct head *heads_number(const struct heads *heads, uint64_t number);
struct banyan_str head_name(const struct head *head);
uint64_t heads_bytes(const struct heads *heads);

/* Position that the event of *version* (the next of *head*) jumps to; 0: none. */
uint64_t head_jump(const struct head *head, uint64_t version);
/* The event of the next version is at *position*.  *ret_old_jumps, unless NULL: gets a copy of the jumps if they
 * change (owned by the caller), else NULL. */
void head_advance(struct heads *heads, struct head *head, uint64_t position, struct head_jumps **ret_old_jumps);

#endif
