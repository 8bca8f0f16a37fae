/* SPDX-License-Identifier: Apache-2.0 */
/* Index entries of events that are not durable yet; see store_int.h. */
#include <assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "store/store_int.h"

static struct change *item(const struct changes *changes, size_t i)
{
    return &changes->items[(changes->first + i) & (changes->capacity - 1)];
}

void changes_release(struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++)
        free(item(changes, i)->old_jumps);
    free(changes->items);
}

static void grow(struct changes *changes)
{
    struct changes grown = {.count = changes->count, .capacity = changes->capacity == 0 ? 64 : changes->capacity * 2};

    grown.items = alloc_resized(NULL, grown.capacity, sizeof(*grown.items));
    for (size_t i = 0; i < changes->count; i++)
        grown.items[i] = *item(changes, i);
    free(changes->items);
    *changes = grown;
}

void changes_apply(struct store *store, struct head *head, uint64_t position, uint64_t id_hash)
{
    struct changes *changes = &store->changes;
    struct change *change;

    if (changes->count == changes->capacity)
        grow(changes);
    change = item(changes, changes->count++);
    *change = (struct change){.head = head, .position = position, .old_position = head->position, .id_hash = id_hash};
    head_advance(&store->heads, head, position, &change->old_jumps);
    ids_add(&store->ids, id_hash, position);
}

void changes_undo(struct store *store, uint64_t position)
{
    struct changes *changes = &store->changes;

    while (changes->count > 0) {
        struct change *change = item(changes, changes->count - 1);
        struct head *head = change->head;

        if (change->position <= position)
            return;
        assert(head->position == change->position);
        if (head->version % STORE_JUMP_STEP == 0) {
            free(head->jumps);
            head->jumps = change->old_jumps;
        }
        head->version--;
        head->position = change->old_position;
        ids_remove(&store->ids, change->id_hash, change->position);
        changes->count--;
    }
}

void changes_settle(struct store *store)
{
    struct changes *changes = &store->changes;
    uint64_t durable = log_durable(store->log).value;

    while (changes->count > 0 && item(changes, 0)->position <= durable) {
        free(item(changes, 0)->old_jumps);
        changes->first = (changes->first + 1) & (changes->capacity - 1);
        changes->count--;
    }
}

struct store_head changes_head_at(const struct store *store, const struct head *head, uint64_t limit)
{
    const struct changes *changes = &store->changes;
    struct store_head at = {{head->version}, {head->position}};

    for (size_t i = changes->count; i > 0 && at.position.value > limit; i--) {
        const struct change *change = item(changes, i - 1);

        if (change->head == head) {
            at.version.value--;
            at.position.value = change->old_position;
        }
    }
    return at;
}
