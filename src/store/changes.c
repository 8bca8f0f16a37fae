/* SPDX-License-Identifier: Apache-2.0 */
/* Index entries of events that are not durable yet; see store_int.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "store/store_int.h"

enum {
    BLOCK_CHANGES = 4096,
};

static struct change *item(const struct changes *changes, size_t i)
{
    i += changes->first;
    return &changes->blocks[i / BLOCK_CHANGES][i % BLOCK_CHANGES];
}

void changes_release(struct changes *changes)
{
    for (size_t i = changes->jumps_first; i < changes->jumps_end; i++)
        free(changes->jumps[i].old);
    free(changes->jumps);
    for (size_t i = 0; i < changes->block_count; i++)
        free(changes->blocks[i]);
    free(changes->blocks);
}

uint64_t changes_bytes(const struct changes *changes)
{
    return changes->block_count * BLOCK_CHANGES * sizeof(struct change) +
           changes->jumps_capacity * sizeof(struct change_jumps);
}

/* ---- the queue ---- */

static struct change *push(struct changes *changes, uint64_t position)
{
    if (changes->count == 0)
        changes->base = position;
    assert(position == changes->base + changes->count);
    if (changes->first + changes->count == changes->block_count * BLOCK_CHANGES) {
        if (changes->block_count == changes->block_capacity) {
            changes->block_capacity = changes->block_capacity == 0 ? 16 : changes->block_capacity * 2;
            changes->blocks = alloc_resized(changes->blocks, changes->block_capacity, sizeof(*changes->blocks));
        }
        changes->blocks[changes->block_count++] = alloc_resized(NULL, BLOCK_CHANGES, sizeof(struct change));
    }
    return item(changes, changes->count++);
}

static void pop_newest(struct changes *changes)
{
    changes->count--;
    if (changes->count == 0)
        changes->first = 0;
    size_t used = (changes->first + changes->count + BLOCK_CHANGES - 1) / BLOCK_CHANGES;
    while (changes->block_count > used + 1)
        free(changes->blocks[--changes->block_count]);
}

/* Forget the oldest; one block stays for those to come. */
static void drop_oldest(struct changes *changes, size_t count)
{
    changes->first += count;
    changes->count -= count;
    changes->base += count;
    size_t done = changes->first / BLOCK_CHANGES;
    if (changes->count == 0)
        done = changes->block_count - (changes->block_count > 0);
    for (size_t i = 0; i < done; i++)
        free(changes->blocks[i]);
    if (done > 0)
        memmove(changes->blocks, changes->blocks + done, (changes->block_count - done) * sizeof(*changes->blocks));
    changes->block_count -= done;
    changes->first = changes->count == 0 ? 0 : changes->first - done * BLOCK_CHANGES;
}

static void push_jumps(struct changes *changes, uint64_t position, struct head_jumps *old)
{
    if (changes->jumps_end == changes->jumps_capacity) {
        size_t count = changes->jumps_end - changes->jumps_first;

        if (count * 2 > changes->jumps_capacity || count == 0) {
            changes->jumps_capacity = changes->jumps_capacity == 0 ? 16 : changes->jumps_capacity * 2;
            changes->jumps = alloc_resized(changes->jumps, changes->jumps_capacity, sizeof(*changes->jumps));
        }
        memmove(changes->jumps, changes->jumps + changes->jumps_first, count * sizeof(*changes->jumps));
        changes->jumps_first = 0;
        changes->jumps_end = count;
    }
    changes->jumps[changes->jumps_end++] = (struct change_jumps){position, old};
}

/* What push_jumps() got for *position*, given back; NULL where there was nothing. */
static struct head_jumps *pop_jumps(struct changes *changes, uint64_t position)
{
    if (changes->jumps_end == changes->jumps_first || changes->jumps[changes->jumps_end - 1].position != position)
        return NULL;
    return changes->jumps[--changes->jumps_end].old;
}

/* ---- entries ---- */

void changes_apply(struct store *store, struct head *head, uint64_t position, uint64_t id_hash)
{
    struct head_jumps *old_jumps = NULL;

    *push(&store->changes, position) = (struct change){head, head->position, id_hash};
    index_enter(store->index, head, position, id_hash, &old_jumps);
    if (old_jumps != NULL)
        push_jumps(&store->changes, position, old_jumps);
}

void changes_undo(struct store *store, uint64_t position)
{
    struct changes *changes = &store->changes;

    while (changes->count > 0 && changes->base + changes->count - 1 > position) {
        uint64_t at = changes->base + changes->count - 1;
        struct change *change = item(changes, changes->count - 1);

        index_take_back(store->index, change->head, at, change->id_hash, change->old_position, pop_jumps(changes, at));
        pop_newest(changes);
    }
}

void changes_settle(struct store *store)
{
    struct changes *changes = &store->changes;
    uint64_t durable = log_durable(store->log).value;

    if (changes->count == 0 || changes->base > durable)
        return;
    for (; changes->jumps_first < changes->jumps_end && changes->jumps[changes->jumps_first].position <= durable;
         changes->jumps_first++)
        free(changes->jumps[changes->jumps_first].old);
    uint64_t settled = durable - changes->base + 1;
    drop_oldest(changes, settled < changes->count ? settled : changes->count);
}

struct store_head changes_head_at(const struct store *store, const struct head *head, uint64_t limit)
{
    const struct changes *changes = &store->changes;
    struct store_head at = {{head->version}, {head->position}};

    while (at.position.value > limit) { /* each event behind the durable ones has its item */
        assert(at.position.value - changes->base < changes->count);
        at.position.value = item(changes, at.position.value - changes->base)->old_position;
        at.version.value--;
    }
    return at;
}

struct change *changes_from(const struct changes *changes, uint64_t position, size_t *ret_count)
{
    size_t skip = position <= changes->base ? 0 : position - changes->base;
    size_t count = changes->count <= skip ? 0 : changes->count - skip;
    struct change *copy = alloc_resized(NULL, count + 1, sizeof(*copy));

    for (size_t i = 0; i < count; i++)
        copy[i] = *item(changes, skip + i);
    *ret_count = count;
    return copy;
}
