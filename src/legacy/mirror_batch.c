/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events → states before and after → operations on rows.  Reads the store, knows no server.
 *
 * Invariants
 *   1. A cached state is the fold of the first *version* events of its stream; it goes before it would be wrong.
 *   2. What an operation holds lies in the batch's arena: events and states may go.
 */
#include "legacy/mirror_int.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "legacy/mapper.h"
#include "legacy/mirror_row.h"

/* Where a mapping's mirror() puts rows. */
struct children {
    struct banyan_mirror out; /* what the domain sees */
    struct legacy_mirror *mirror;
    const struct mirror_mapping *mapping;
};

/* ---- the batch ---- */

void mirror_batch_reset(struct mirror_batch *batch)
{
    banyan_arena_reset(&batch->arena);
    batch->operation_count = batch->item_count = 0;
    batch->bytes = 0;
    batch->events = 0;
    batch->whole = true;
}

void mirror_batch_release(struct mirror_batch *batch)
{
    free(batch->operations);
    free(batch->items);
    banyan_arena_release(&batch->arena);
}

static const void *copy_row(struct mirror_batch *batch, const struct banyan_record *record, const void *row)
{
    if (row == NULL)
        return NULL;
    void *copy = banyan_arena_alloc(&batch->arena, record->size);
    banyan_record_copy(record, copy, row, &batch->arena);
    batch->bytes += record->size;
    return copy;
}

static void add_operation(struct mirror_batch *batch, const struct banyan_record *record,
                          const struct mirror_operation *operation)
{
    if (batch->operation_count == batch->operation_capacity) {
        batch->operation_capacity = batch->operation_capacity == 0 ? 256 : 2 * batch->operation_capacity;
        batch->operations = alloc_resized(batch->operations, batch->operation_capacity, sizeof(*batch->operations));
    }
    struct mirror_operation *copy = &batch->operations[batch->operation_count++];
    *copy = *operation;
    copy->old = copy_row(batch, record, operation->old);
    copy->new = copy_row(batch, record, operation->new);
}

static void add_item(struct mirror_batch *batch, const struct mirror_item *item)
{
    if (item->count == 0)
        return;
    if (batch->item_count == batch->item_capacity) {
        batch->item_capacity = batch->item_capacity == 0 ? 256 : 2 * batch->item_capacity;
        batch->items = alloc_resized(batch->items, batch->item_capacity, sizeof(*batch->items));
    }
    batch->items[batch->item_count++] = *item;
}

static void add_child(struct banyan_mirror *out, unsigned table, const void *old, const void *new)
{
    struct children *children = (struct children *)out; /* its first member */
    assert(table < children->mapping->spec->table_count);
    enum mirror_action action = old == NULL ? MIRROR_INSERT : new == NULL ? MIRROR_DELETE : MIRROR_UPDATE;
    add_operation(&children->mirror->batch, children->mapping->spec->tables[table].row,
                  &(struct mirror_operation){action, table, old, new});
}

/* ---- what is put aside ---- */

static void note_aside(struct legacy_mirror *mirror)
{
    uint64_t first = 0, count = 0;
    for (size_t m = 0; m < mirror->mapping_count; m++) {
        size_t cursor = 0;
        for (struct hash_entry *entry; (entry = hash_next(&mirror->mappings[m].aside, &cursor)) != NULL; count++) {
            uint64_t from = *(uint64_t *)entry->value;
            if (first == 0 || from < first)
                first = from;
        }
    }
    pthread_mutex_lock(&mirror->shared.lock);
    mirror->shared.aside_from = first;
    mirror->shared.status.conflicts = count;
    pthread_cond_broadcast(&mirror->shared.changed);
    pthread_mutex_unlock(&mirror->shared.lock);
}

void mirror_put_aside(struct legacy_mirror *mirror, struct mirror_mapping *mapping, int64_t key, uint64_t position)
{
    uint64_t *from = hash_get(&mapping->aside, key);
    if (from == NULL) {
        from = alloc_zeroed(1, sizeof(*from));
        *from = position;
        (void)hash_put(&mapping->aside, key, from);
    } else if (position < *from) {
        *from = position;
    }
    free(hash_remove(&mapping->cache, key));
    note_aside(mirror);
}

void mirror_take_back(struct legacy_mirror *mirror, struct mirror_mapping *mapping, int64_t key)
{
    free(hash_remove(&mapping->aside, key));
    note_aside(mirror);
}

static void free_values(struct hash *hash)
{
    size_t cursor = 0;
    for (struct hash_entry *entry; (entry = hash_next(hash, &cursor)) != NULL;)
        free(entry->value);
    hash_reset(hash);
}

void mirror_forget(struct mirror_mapping *mapping)
{
    free_values(&mapping->cache);
    free_values(&mapping->aside);
}

enum banyan_status mirror_load_aside(struct legacy_mirror *mirror, uint64_t checkpoint, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct store_read_event read;
    struct conflict conflict;
    enum banyan_status status =
        store_reader_stream(mirror->reader, mirror->conflict_stream, (struct banyan_version){1}, err);
    while (status == BANYAN_OK && (status = store_reader_next(mirror->reader, &read, err)) == BANYAN_OK) {
        banyan_arena_reset(&arena);
        status = conflict_parse(&read.event, &arena, &conflict, err);
        struct mirror_mapping *mapping =
            status == BANYAN_OK && conflict.kind != CONFLICT_NONE ? mirror_mapping_of(mirror, conflict.category) : NULL;
        if (mapping == NULL)
            continue;
        if (conflict.kind == CONFLICT_MIRRORED)
            mirror_put_aside(mirror, mapping, conflict.key, conflict.position);
        else if (conflict.kind == CONFLICT_RESOLVED && read.position.value <= checkpoint)
            mirror_take_back(mirror, mapping, conflict.key);
    }
    banyan_arena_release(&arena);
    if (status != BANYAN_NOT_FOUND)
        return status;
    banyan_error_clear(err);
    return BANYAN_OK;
}

/* ---- states ---- */

bool mirror_key(struct banyan_str stream, size_t category_size, int64_t *ret)
{
    const char *at = stream.data + category_size + 1, *end = stream.data + stream.size;
    bool negative = at < end && *at == '-';
    int64_t key = 0;
    at += negative;
    if (at >= end || (*at == '0' && (end - at > 1 || negative)))
        return false;
    for (; at < end; at++)
        if (*at < '0' || *at > '9' || __builtin_mul_overflow(key, (int64_t)10, &key) ||
            __builtin_sub_overflow(key, (int64_t)(*at - '0'), &key))
            return false;
    return negative ? (*ret = key, true) : !__builtin_sub_overflow((int64_t)0, key, ret);
}

static void keep_state(struct mirror_mapping *mapping, int64_t key, uint64_t version, const void *state)
{
    const struct banyan_record *record = mapping->spec->aggregate->state;
    struct mirror_state *kept = alloc_zeroed(1, sizeof(*kept) + banyan_record_packed_size(record, state));
    kept->version = version;
    banyan_record_pack(record, state, kept->state);
    if (mapping->cache.count >= MIRROR_STATES_MAX) /* not earlier: the state may borrow from the one before */
        free_values(&mapping->cache);
    free(hash_put(&mapping->cache, key, kept));
}

/* The state at *version* of the stream, in *arena*; NULL: it is not in the cache and *wanted* is false. */
static enum banyan_status load_state(struct legacy_mirror *mirror, struct mirror_mapping *mapping,
                                     struct banyan_str stream, int64_t key, uint64_t version, bool wanted,
                                     struct banyan_arena *arena, void **ret, struct banyan_error *err)
{
    const struct banyan_record *record = mapping->spec->aggregate->state;
    struct mirror_state *kept = hash_get(&mapping->cache, key);
    *ret = NULL;
    if (kept != NULL && kept->version == version) {
        void *state = banyan_arena_alloc(arena, record->size);
        states_begin(&mapping->states, state, kept->state, arena);
        *ret = state;
        return BANYAN_OK;
    }
    free(hash_remove(&mapping->cache, key));
    if (!wanted)
        return BANYAN_OK;
    void *state = banyan_arena_zalloc(arena, record->size);
    banyan_record_init(record, state);
    *ret = state;
    if (version == 0)
        return BANYAN_OK;
    void *scratch = banyan_arena_alloc(arena, mapping->states.payload_size_max);
    return states_fold_stream(&mapping->states, state, scratch, mirror->reader, stream, (struct banyan_version){0},
                              (struct banyan_version){version}, arena, err);
}

/* Decode the event and fold it: *ret_after* and the payload in *arena*. */
static enum banyan_status fold(const struct mirror_mapping *mapping, const struct store_event *event,
                               const void *before, struct banyan_arena *arena, unsigned *ret_type, void **ret_payload,
                               void **ret_after, struct banyan_error *err)
{
    const struct states *states = &mapping->states;
    const struct state_type *type = states_type(states, event->type);
    if (type == NULL)
        return banyan_error_set(err, BANYAN_INVALID, "domain %s has no event type %.*s", states->domain->name,
                                (int)event->type.size, event->type.data);
    *ret_type = (unsigned)(type - states->types);
    *ret_payload = banyan_arena_zalloc(arena, type->record->size);
    enum banyan_status status =
        store_decode(states->decoder, *ret_type, event->schema, event->payload, arena, *ret_payload, err);
    if (status != BANYAN_OK)
        return status;
    *ret_after = banyan_arena_alloc(arena, mapping->spec->aggregate->state->size);
    states_begin(states, *ret_after, before, arena);
    mapping->spec->aggregate->evolve(*ret_after, *ret_type, *ret_payload, event->at);
    return BANYAN_OK;
}

/* ---- operations ---- */

static void add_children(struct legacy_mirror *mirror, struct mirror_mapping *mapping, int64_t key,
                         const struct store_read_event *read, unsigned type, const void *payload, const void *before,
                         const void *after)
{
    struct children out = {{add_child}, mirror, mapping};
    struct banyan_seen seen = {
        .type = type,
        .payload = payload,
        .stream = read->event.stream,
        .key = key,
        .position = read->position,
        .version = read->version,
        .at = read->event.at,
        .provenance = read->event.provenance,
    };
    if (mapping->spec->mirror != NULL)
        mapping->spec->mirror(&seen, before, after, &out.out);
}

/* Row of a state in *memory*; NULL: none. */
static const void *row_of(const struct mirror_mapping *mapping, const void *state, struct banyan_arena *arena)
{
    const struct banyan_record *record = mapping->spec->tables[0].row;
    void *row = banyan_arena_zalloc(arena, record->size);
    banyan_record_init(record, row);
    return mapping->spec->row(state, row) ? row : NULL;
}

static void add_root(struct legacy_mirror *mirror, const struct mirror_mapping *mapping, const void *old,
                     const void *new)
{
    const struct banyan_record *record = mapping->spec->tables[0].row;
    struct mirror_operation operation = {.old = old, .new = new};
    if (old == NULL && new == NULL)
        return;
    if (old != NULL && new != NULL && banyan_record_diff(record, old, new) == 0)
        return;
    operation.action = old == NULL ? MIRROR_INSERT : new == NULL ? MIRROR_DELETE : MIRROR_UPDATE;
    add_operation(&mirror->batch, record, &operation);
}

/* Is the event of the source itself?  See mirror.h. */
static bool is_own(const struct legacy_mirror *mirror, const struct mirror_mapping *mapping, int64_t key,
                   const struct store_read_event *read)
{
    static const char captured[] = "{\"xid\":";
    const struct banyan_str meta = read->event.meta;
    if (meta.size >= sizeof(captured) - 1 && memcmp(meta.data, captured, sizeof(captured) - 1) == 0)
        return true;
    return mirror->has_source_id &&
           banyan_uuid_equal(read->event.id, mapper_history_id(mapping->id_prefix, key, read->version.value - 1));
}

static enum banyan_status take_mapped(struct legacy_mirror *mirror, struct mirror_mapping *mapping, int64_t key,
                                      const struct store_read_event *read, struct banyan_arena *scratch,
                                      struct banyan_error *err)
{
    struct mirror_batch *batch = &mirror->batch;
    const uint64_t *aside = hash_get(&mapping->aside, key);
    bool own = is_own(mirror, mapping, key, read);
    void *before, *payload, *after;
    unsigned type;
    if (aside != NULL && read->position.value >= *aside)
        return BANYAN_OK;
    enum banyan_status status =
        load_state(mirror, mapping, read->event.stream, key, read->version.value - 1, !own, scratch, &before, err);
    if (status != BANYAN_OK || before == NULL)
        return status;
    status = fold(mapping, &read->event, before, scratch, &type, &payload, &after, err);
    if (status != BANYAN_OK)
        return status;
    if (!own) {
        struct mirror_item item = {.mapping = mapping,
                                   .key = key,
                                   .position = read->position.value,
                                   .recorded_us = read->recorded_at.us,
                                   .first = batch->operation_count};
        const void *old = row_of(mapping, before, scratch), *new = row_of(mapping, after, scratch);
        if (new != NULL)
            add_root(mirror, mapping, old, new);
        add_children(mirror, mapping, key, read, type, payload, before, after);
        if (new == NULL)
            add_root(mirror, mapping, old, new);
        item.count = batch->operation_count - item.first;
        add_item(batch, &item);
        batch->events++;
    }
    keep_state(mapping, key, read->version.value, after);
    return BANYAN_OK;
}

/* ---- a conflict that was resolved ---- */

/* The children of what waited, from *from* on; then the row as the log says, before the event at *end*. */
static enum banyan_status take_waiting(struct legacy_mirror *mirror, struct mirror_mapping *mapping, int64_t key,
                                       uint64_t from, uint64_t end, struct banyan_arena *scratch,
                                       struct banyan_error *err)
{
    const struct banyan_record *record = mapping->spec->aggregate->state;
    struct banyan_str stream = banyan_arena_printf(scratch, "%s-%" PRId64, mapping->category.data, key);
    void *state = banyan_arena_zalloc(scratch, record->size), *payload, *after;
    struct store_read_event read;
    unsigned type;
    banyan_record_init(record, state);
    enum banyan_status status = store_reader_stream(mirror->reader, stream, (struct banyan_version){1}, err);
    while (status == BANYAN_OK && (status = store_reader_next(mirror->reader, &read, err)) == BANYAN_OK) {
        if (read.position.value >= end)
            break;
        struct store_event event = read.event;
        event.payload = banyan_arena_str(scratch, event.payload); /* states point into it */
        status = fold(mapping, &event, state, scratch, &type, &payload, &after, err);
        if (status != BANYAN_OK)
            break;
        if (read.position.value >= from && !is_own(mirror, mapping, key, &read))
            add_children(mirror, mapping, key, &read, type, payload, state, after);
        state = after;
    }
    if (status != BANYAN_OK && status != BANYAN_NOT_FOUND)
        return status;
    banyan_error_clear(err);
    struct mirror_operation root = {.action = MIRROR_OVERWRITE, .new = row_of(mapping, state, scratch)};
    add_operation(&mirror->batch, mapping->spec->tables[0].row, &root);
    return BANYAN_OK;
}

static enum banyan_status take_conflict(struct legacy_mirror *mirror, const struct store_read_event *read,
                                        struct banyan_arena *scratch, struct banyan_error *err)
{
    struct mirror_batch *batch = &mirror->batch;
    struct conflict conflict;
    enum banyan_status status = conflict_parse(&read->event, scratch, &conflict, err);
    if (status != BANYAN_OK || conflict.kind != CONFLICT_RESOLVED)
        return status; /* what the mirror recorded itself it knows */
    struct mirror_mapping *mapping = mirror_mapping_of(mirror, conflict.category);
    if (mapping == NULL)
        return BANYAN_OK;
    const uint64_t *aside = hash_get(&mapping->aside, conflict.key);
    struct mirror_item item = {
        .mapping = mapping,
        .key = conflict.key,
        .position = aside != NULL ? *aside : read->position.value,
        .recorded_us = read->recorded_at.us,
        .resolves = true,
        .first = batch->operation_count,
    };
    status = take_waiting(mirror, mapping, conflict.key, item.position, read->position.value, scratch, err);
    if (status != BANYAN_OK)
        return status;
    item.count = batch->operation_count - item.first;
    add_item(batch, &item);
    mirror_take_back(mirror, mapping, conflict.key);
    return BANYAN_OK;
}

enum banyan_status mirror_take(struct legacy_mirror *mirror, const struct store_read_event *read,
                               struct banyan_error *err)
{
    const struct store_event *event = &read->event;
    struct banyan_arena scratch = BANYAN_ARENA_INIT;
    enum banyan_status status = BANYAN_OK;
    const char *dash = memchr(event->stream.data, '-', event->stream.size);
    size_t category_size = dash != NULL ? (size_t)(dash - event->stream.data) : event->stream.size;
    struct mirror_mapping *mapping = mirror_mapping_of(mirror, (struct banyan_str){event->stream.data, category_size});
    int64_t key;
    mirror->batch.end = read->position.value;
    mirror->batch.whole = read->ends_batch;
    if (mapping != NULL && dash != NULL && mirror_key(event->stream, category_size, &key))
        status = take_mapped(mirror, mapping, key, read, &scratch, err);
    else if (banyan_str_equal(event->stream, mirror->conflict_stream))
        status = take_conflict(mirror, read, &scratch, err);
    if (status != BANYAN_OK)
        banyan_error_context(err, "position %" PRIu64, read->position.value);
    banyan_arena_release(&scratch);
    return status;
}
