/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States of keys for the mapper: a bounded cache over the streams of the store.
 *
 * Invariants
 *   1. An entry's state is the fold of the first *version* events of its stream.
 *   2. An entry that is ahead of the store (its events are not submitted yet) is never evicted: the store could not
 *      give it back.  Such entries may take the cache over its limit for the length of one append.
 *   3. An entry whose events are submitted but not durable may go: who asks next waits for them.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "legacy/mapper_int.h"

enum {
    CLOCK_STEPS_MAX = 32, /* entries looked at for one eviction; beyond that the ring grows */
};

/* Fold the stream from the store into mapper->state; strings in *arena*. */
static enum banyan_status read_stream(struct mapper *mapper, struct banyan_str stream, struct banyan_version version,
                                      struct banyan_arena *arena, struct banyan_error *err)
{
    if (mapper->reader == NULL)
        mapper->reader = store_reader_open(mapper->store);
    return states_fold_stream(&mapper->states, mapper->state, mapper->kept, mapper->reader, stream,
                              (struct banyan_version){0}, version, arena, err);
}

enum banyan_status mapper_state_load(struct mapper *mapper, int64_t key, struct banyan_arena *arena,
                                     uint64_t *ret_version, struct banyan_error *err)
{
    struct mapper_entry *entry = hash_get(&mapper->cache, key);
    if (entry != NULL) {
        states_begin(&mapper->states, mapper->state, entry->state, arena);
        entry->used = true;
        *ret_version = entry->version;
        return BANYAN_OK;
    }
    memcpy(mapper->state, mapper->fresh, mapper->state_record->size);
    char text[MAPPER_STREAM_BYTES_MAX];
    struct banyan_str stream = mapper_stream(mapper, key, text);
    struct store_head head = {{0}, {0}};
    enum banyan_status status = mapper->store == NULL ? BANYAN_OK : store_head(mapper->store, stream, &head, err);
    if (status == BANYAN_OK && head.version.value > 0) {
        status = store_wait(mapper->store, head.position, INT64_MAX, err);
        if (status == BANYAN_OK)
            status = read_stream(mapper, stream, head.version, arena, err);
    }
    if (status == BANYAN_OK)
        *ret_version = head.version.value;
    return status;
}

static struct mapper_entry *entry_new(const struct mapper *mapper, int64_t key, uint64_t version)
{
    size_t size = banyan_record_packed_size(mapper->state_record, mapper->state);
    struct mapper_entry *entry = alloc_zeroed(1, sizeof(*entry) + size);
    entry->key = key;
    entry->version = version;
    entry->append = mapper->append;
    entry->used = true;
    banyan_record_pack(mapper->state_record, mapper->state, entry->state);
    return entry;
}

/* Are the events of *entry* in the store?  Asked there only when they may be of the append that is being mapped. */
static bool is_submitted(const struct mapper *mapper, const struct mapper_entry *entry)
{
    char text[MAPPER_STREAM_BYTES_MAX];
    struct store_head head;
    if (mapper->store == NULL)
        return false;
    if (entry->append != mapper->append)
        return true;
    /* Without an answer the entry stays, which is always right. */
    return store_head(mapper->store, mapper_stream(mapper, entry->key, text), &head, NULL) == BANYAN_OK &&
           head.version.value >= entry->version;
}

/* A slot of the ring for one more entry. */
static size_t ring_slot(struct mapper *mapper)
{
    for (size_t steps = 0; mapper->ring_count >= mapper->ring_max && steps < CLOCK_STEPS_MAX; steps++) {
        size_t slot = mapper->hand;
        mapper->hand = (mapper->hand + 1) % mapper->ring_count;
        struct mapper_entry *entry = mapper->ring[slot];
        if (entry->used) {
            entry->used = false;
            continue;
        }
        if (!is_submitted(mapper, entry))
            continue; /* invariant 2 */
        hash_remove(&mapper->cache, entry->key);
        free(entry);
        return slot;
    }
    if (mapper->ring_count == mapper->ring_capacity) {
        mapper->ring_capacity = mapper->ring_capacity == 0 ? 1024 : 2 * mapper->ring_capacity;
        mapper->ring = alloc_resized(mapper->ring, mapper->ring_capacity, sizeof(struct mapper_entry *));
    }
    return mapper->ring_count++;
}

void mapper_state_keep(struct mapper *mapper, int64_t key, uint64_t version)
{
    struct mapper_entry *entry = entry_new(mapper, key, version);
    struct mapper_entry *old = hash_put(&mapper->cache, key, entry);
    entry->slot = old != NULL ? old->slot : ring_slot(mapper);
    mapper->ring[entry->slot] = entry;
    free(old);
}

void mapper_forget(struct mapper *mapper)
{
    for (size_t i = 0; i < mapper->ring_count; i++)
        free(mapper->ring[i]);
    mapper->ring_count = 0;
    mapper->hand = 0;
    hash_reset(&mapper->cache);
}

void mapper_state_release(struct mapper *mapper)
{
    mapper_forget(mapper);
    free(mapper->ring);
    hash_release(&mapper->cache);
    store_reader_close(mapper->reader);
}
