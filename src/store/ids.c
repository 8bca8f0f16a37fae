/* SPDX-License-Identifier: Apache-2.0 */
/* See ids.h.  Open addressing, linear probing, backward-shift deletion; the high byte of the hash chooses the table. */
#include "store/ids.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/alloc.h"

enum {
    SLOTS_FIRST = 64,
};

void ids_init(struct ids *ids, uint64_t seed)
{
    *ids = (struct ids){.seed = seed};
}

void ids_release(struct ids *ids)
{
    for (int i = 0; i < IDS_TABLES; i++)
        free(ids->tables[i].slots);
}

uint64_t ids_hash(const struct ids *ids, struct banyan_uuid id)
{
    return XXH3_64bits_withSeed(id.bytes, sizeof(id.bytes), ids->seed);
}

static const struct ids_table *table_of(const struct ids *ids, uint64_t hash)
{
    return &ids->tables[hash >> 56];
}

void ids_prefetch(const struct ids *ids, uint64_t hash)
{
    const struct ids_table *table = table_of(ids, hash);

    if (table->slots != NULL)
        __builtin_prefetch(&table->slots[hash & (table->slot_count - 1)]);
}

uint64_t ids_next(const struct ids *ids, uint64_t hash, uint64_t *cursor)
{
    const struct ids_table *table = table_of(ids, hash);
    uint64_t mask = table->slot_count - 1;

    if (table->slots == NULL)
        return 0;
    for (;;) {
        const struct ids_slot *slot = &table->slots[(hash + *cursor) & mask];

        if (slot->position == 0)
            return 0;
        ++*cursor;
        if (slot->hash == hash)
            return slot->position;
    }
}

static void put(struct ids_table *table, uint64_t hash, uint64_t position)
{
    uint64_t mask = table->slot_count - 1, i = hash & mask;

    while (table->slots[i].position != 0)
        i = (i + 1) & mask;
    table->slots[i] = (struct ids_slot){hash, position};
}

void ids_add(struct ids *ids, uint64_t hash, uint64_t position)
{
    struct ids_table *table = &ids->tables[hash >> 56];

    if ((table->count + 1) * 4 > table->slot_count * 3) {
        struct ids_table grown = {.slot_count = table->slot_count == 0 ? SLOTS_FIRST : table->slot_count * 2};

        grown.slots = alloc_zeroed(grown.slot_count, sizeof(*grown.slots));
        for (uint64_t i = 0; i < table->slot_count; i++) {
            if (table->slots[i].position != 0)
                put(&grown, table->slots[i].hash, table->slots[i].position);
        }
        grown.count = table->count;
        free(table->slots);
        *table = grown;
    }
    put(table, hash, position);
    table->count++;
}

void ids_remove(struct ids *ids, uint64_t hash, uint64_t position)
{
    struct ids_table *table = &ids->tables[hash >> 56];
    uint64_t mask = table->slot_count - 1, i = hash & mask, next;

    if (table->slots == NULL)
        return;
    while (table->slots[i].position != position) {
        if (table->slots[i].position == 0)
            return;
        i = (i + 1) & mask;
    }
    for (next = (i + 1) & mask; table->slots[next].position != 0; next = (next + 1) & mask) {
        /* Move it into the hole unless that would put it before the place where its search begins. */
        if (((next - table->slots[next].hash) & mask) >= ((next - i) & mask)) {
            table->slots[i] = table->slots[next];
            i = next;
        }
    }
    table->slots[i] = (struct ids_slot){0};
    table->count--;
}

uint64_t ids_bytes(const struct ids *ids)
{
    uint64_t bytes = sizeof(*ids);

    for (int i = 0; i < IDS_TABLES; i++)
        bytes += ids->tables[i].slot_count * sizeof(struct ids_slot);
    return bytes;
}
