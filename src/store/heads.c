/* SPDX-License-Identifier: Apache-2.0 */
/* See heads.h.  Hashes are seeded at random, so that nobody can choose names that collide. */
#include "store/heads.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "store/envelope.h"

enum {
    BLOCK_HEADS = 1024,
    SLOTS_FIRST = 1024,
};

void heads_init(struct heads *heads, uint64_t seed)
{
    *heads = (struct heads){.seed = seed, .slot_count = SLOTS_FIRST};
    heads->slots = alloc_zeroed(SLOTS_FIRST, sizeof(*heads->slots));
}

struct head *heads_number(const struct heads *heads, uint64_t number)
{
    return &heads->blocks[number / BLOCK_HEADS][number % BLOCK_HEADS];
}

void heads_release(struct heads *heads)
{
    for (uint64_t i = 0; i < heads->count; i++)
        free(heads_number(heads, i)->jumps);
    for (uint64_t i = 0; i * BLOCK_HEADS < heads->count; i++)
        free(heads->blocks[i]);
    free(heads->blocks);
    free(heads->slots);
    banyan_arena_release(&heads->names);
}

uint64_t heads_hash(const struct heads *heads, struct banyan_str name)
{
    return XXH3_64bits_withSeed(name.data, name.size, heads->seed);
}

void heads_prefetch(const struct heads *heads, uint64_t hash)
{
    __builtin_prefetch(&heads->slots[hash & (heads->slot_count - 1)]);
}

void heads_prefetch_head(const struct heads *heads, uint64_t hash)
{
    uint64_t slot = heads->slots[hash & (heads->slot_count - 1)];

    if (slot != 0)
        __builtin_prefetch(heads_number(heads, (slot & UINT32_MAX) - 1));
}

struct banyan_str head_name(const struct head *head)
{
    uint16_t size;

    memcpy(&size, head->name, sizeof(size));
    return (struct banyan_str){head->name + sizeof(size), size};
}

static bool has_name(const struct head *head, struct banyan_str name)
{
    struct banyan_str own = head_name(head);

    return own.size == name.size && memcmp(own.data, name.data, name.size) == 0;
}

struct head *heads_find(const struct heads *heads, struct banyan_str name, uint64_t hash)
{
    uint64_t mask = heads->slot_count - 1;

    for (uint64_t i = hash & mask; heads->slots[i] != 0; i = (i + 1) & mask) {
        if (heads->slots[i] >> 32 == hash >> 32) {
            struct head *head = heads_number(heads, (heads->slots[i] & UINT32_MAX) - 1);

            if (head->hash == hash && has_name(head, name))
                return head;
        }
    }
    return NULL;
}

static void put_slot(struct heads *heads, uint64_t hash, uint64_t number)
{
    uint64_t mask = heads->slot_count - 1, i = hash & mask;

    while (heads->slots[i] != 0)
        i = (i + 1) & mask;
    heads->slots[i] = (hash >> 32 << 32) | (number + 1);
}

static void grow(struct heads *heads)
{
    free(heads->slots);
    heads->slot_count *= 2;
    heads->slots = alloc_zeroed(heads->slot_count, sizeof(*heads->slots));
    for (uint64_t i = 0; i < heads->count; i++)
        put_slot(heads, heads_number(heads, i)->hash, i);
}

static const char *keep_name(struct heads *heads, struct banyan_str name)
{
    uint16_t size = (uint16_t)name.size;
    char *copy = banyan_arena_alloc(&heads->names, sizeof(size) + name.size);

    memcpy(copy, &size, sizeof(size));
    memcpy(copy + sizeof(size), name.data, name.size);
    return copy;
}

struct head *heads_make(struct heads *heads, struct banyan_str name, uint64_t hash)
{
    struct head *head = heads_find(heads, name, hash);

    if (head != NULL)
        return head;
    if ((heads->count + 1) * 10 > heads->slot_count * 7)
        grow(heads);
    if (heads->count % BLOCK_HEADS == 0) {
        uint64_t block = heads->count / BLOCK_HEADS;

        if (block == heads->block_capacity) {
            heads->block_capacity = block == 0 ? 16 : block * 2;
            heads->blocks = alloc_resized(heads->blocks, heads->block_capacity, sizeof(*heads->blocks));
        }
        heads->blocks[block] = alloc_zeroed(BLOCK_HEADS, sizeof(struct head));
    }
    head = heads_number(heads, heads->count);
    head->hash = hash;
    head->name = keep_name(heads, name);
    put_slot(heads, hash, heads->count);
    heads->count++;
    return head;
}

struct head *heads_load(struct heads *heads, struct banyan_str name, uint64_t hash, uint64_t version, uint64_t position,
                        const uint64_t *jumps, uint32_t jump_count)
{
    struct head *head = heads_make(heads, name, hash);

    head->version = version;
    head->position = position;
    if (jump_count > 0) {
        size_t size = jump_count * sizeof(jumps[0]);

        head->jumps = alloc_resized(NULL, sizeof(*head->jumps) + size, 1);
        head->jumps->count = head->jumps->capacity = jump_count;
        memcpy(head->jumps->positions, jumps, size);
        heads->jump_bytes += sizeof(*head->jumps) + size;
    }
    return head;
}

uint64_t heads_bytes(const struct heads *heads)
{
    return heads->slot_count * sizeof(*heads->slots) +
           (heads->count + BLOCK_HEADS - 1) / BLOCK_HEADS * BLOCK_HEADS * sizeof(struct head) + heads->names.bytes +
           heads->jump_bytes;
}

/* How many nodes stay on the way when *version* becomes the last node. */
static uint32_t jumps_kept(const struct head *head, uint64_t version)
{
    uint64_t target = store_jump_target(version), node = version - STORE_JUMP_STEP;
    uint32_t count = head->jumps == NULL ? 0 : head->jumps->count;

    while (count > 0 && node > target) {
        node = store_jump_target(node);
        count--;
    }
    return count;
}

uint64_t head_jump(const struct head *head, uint64_t version)
{
    uint32_t count;

    if (version % STORE_JUMP_STEP != 0)
        return 0;
    count = jumps_kept(head, version);
    return count == 0 ? 0 : head->jumps->positions[count - 1];
}

void head_advance(struct heads *heads, struct head *head, uint64_t position, struct head_jumps **ret_old_jumps)
{
    uint64_t version = head->version + 1;
    struct head_jumps *jumps = head->jumps;
    uint32_t count;

    if (ret_old_jumps != NULL)
        *ret_old_jumps = NULL;
    head->version = version;
    head->position = position;
    if (version % STORE_JUMP_STEP != 0)
        return;
    if (jumps != NULL && ret_old_jumps != NULL) {
        size_t size = sizeof(*jumps) + jumps->capacity * sizeof(jumps->positions[0]);

        *ret_old_jumps = memcpy(alloc_resized(NULL, size, 1), jumps, size);
    }
    count = jumps_kept(head, version);
    if (jumps == NULL || count == jumps->capacity) {
        uint32_t capacity = count + 2;

        heads->jump_bytes += sizeof(*jumps) + 2 * sizeof(jumps->positions[0]);
        jumps = alloc_resized(jumps, sizeof(*jumps) + capacity * sizeof(jumps->positions[0]), 1);
        jumps->capacity = capacity;
        head->jumps = jumps;
    }
    jumps->positions[count] = position;
    jumps->count = count + 1;
}
