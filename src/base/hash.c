/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash map: linear probing in a power-of-two table; keys made of texts.
 *
 * Invariants:
 * 1. At most three quarters of the slots are used, so every probe ends at a free slot.
 * 2. Between an entry's home slot and its slot there is no free slot; removal shifts later entries back to keep this,
 *    so there are no tombstones and lookups do not degrade.
 */
#include "base/hash.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "banyan/domain.h"
#include "base/alloc.h"

enum {
    CAPACITY_MIN = 16,
};

/* Keys are stored: this never changes.  XXH3 is frozen since its version 0.8. */
int64_t banyan_key_of_text(struct banyan_str text)
{
    return (int64_t)(XXH3_64bits(text.data, text.size) & INT64_MAX);
}

uint64_t hash_mix(uint64_t value)
{
    /* The finaliser of SplitMix64: every input bit flips each output bit with probability near one half. */
    value ^= value >> 30;
    value *= UINT64_C(0xBF58476D1CE4E5B9);
    value ^= value >> 27;
    value *= UINT64_C(0x94D049BB133111EB);
    value ^= value >> 31;
    return value;
}

void hash_release(struct hash *hash)
{
    if (hash == NULL)
        return;
    free(hash->entries);
    *hash = (struct hash)HASH_INIT;
}

void hash_reset(struct hash *hash)
{
    if (hash->count > 0)
        memset(hash->entries, 0, hash->capacity * sizeof(*hash->entries));
    hash->count = 0;
}

static size_t home_of(const struct hash *hash, int64_t key)
{
    return hash_mix((uint64_t)key) & (hash->capacity - 1);
}

/* The slot of *key*, or the free slot where it belongs.  The table is not empty. */
static struct hash_entry *find(const struct hash *hash, int64_t key)
{
    size_t at = home_of(hash, key);
    while (hash->entries[at].value != NULL && hash->entries[at].key != key)
        at = (at + 1) & (hash->capacity - 1);
    return &hash->entries[at];
}

static void grow(struct hash *hash)
{
    struct hash old = *hash;
    hash->capacity = old.capacity == 0 ? CAPACITY_MIN : old.capacity * 2;
    hash->entries = alloc_zeroed(hash->capacity, sizeof(*hash->entries));
    for (size_t i = 0; i < old.capacity; i++) {
        if (old.entries[i].value != NULL)
            *find(hash, old.entries[i].key) = old.entries[i];
    }
    free(old.entries);
}

void *hash_get(const struct hash *hash, int64_t key)
{
    return hash->count == 0 ? NULL : find(hash, key)->value;
}

void *hash_put(struct hash *hash, int64_t key, void *value)
{
    assert(value != NULL);
    if (hash->count + 1 > hash->capacity / 4 * 3)
        grow(hash);
    struct hash_entry *entry = find(hash, key);
    void *replaced = entry->value;
    if (replaced == NULL)
        hash->count++;
    *entry = (struct hash_entry){key, value};
    return replaced;
}

void *hash_remove(struct hash *hash, int64_t key)
{
    if (hash->count == 0)
        return NULL;
    struct hash_entry *entry = find(hash, key);
    void *removed = entry->value;
    if (removed == NULL)
        return NULL;
    size_t mask = hash->capacity - 1;
    size_t hole = (size_t)(entry - hash->entries);
    for (size_t at = (hole + 1) & mask; hash->entries[at].value != NULL; at = (at + 1) & mask) {
        size_t home = home_of(hash, hash->entries[at].key);
        /* It may move into the hole unless its home lies (cyclically) behind the hole. */
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            hash->entries[hole] = hash->entries[at];
            hole = at;
        }
    }
    hash->entries[hole].value = NULL;
    hash->count--;
    return removed;
}

struct hash_entry *hash_next(const struct hash *hash, size_t *cursor)
{
    while (*cursor < hash->capacity) {
        struct hash_entry *entry = &hash->entries[(*cursor)++];
        if (entry->value != NULL)
            return entry;
    }
    return NULL;
}
