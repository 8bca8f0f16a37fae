/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit of work: see unit.h for the invariants.
 *
 *   hash: key ──▶ struct unit_row ──▶ block: [ struct of the record | its strings ]
 *                    │  ▲
 *                    └──┘ newer/older: order of use, newest first, through all rows
 *
 * A block is rewritten in place as long as it is large enough: a row that changes with each event costs no allocation.
 */
#include "projection/unit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/record.h"
#include "base/alloc.h"
#include "base/hash.h"

struct unit_row {
    int64_t key;
    struct unit_row *newer, *older; /* order of use */
    void *block;                    /* owned; the row's struct, then its strings; NULL: never existed in memory */
    size_t capacity;                /* of the block, bytes */
    uint64_t fields;                /* that changed since the last flush; all when it was not stored then */
    bool exists;
    bool stored;  /* it was in the sink at the last flush */
    bool changed; /* is in the list of changed rows */
};

enum {
    /* What a row takes beside its block: its entry, two slots of the hash on average, the allocator's own. */
    ROW_BYTES = sizeof(struct unit_row) + 2 * sizeof(struct hash_entry) + 32,
};

struct banyan_unit {
    const struct banyan_projection *projection;
    const struct banyan_field *key_field;
    struct sink *sink; /* borrowed */
    struct hash rows;
    struct unit_row *newest, *oldest;
    struct unit_row **changed; /* rows to flush */
    size_t changed_count, changed_capacity;
    struct sink_row *flush; /* what unit_rows() gave */
    size_t flush_capacity;
    struct banyan_arena arena; /* rows on their way from the sink */
    struct banyan_buf strings; /* of a row that is rewritten in place */
    size_t cache_bytes_max;
    bool complete; /* invariant 3 */
    struct banyan_error failed, refused;
    struct unit_stats stats;
};

struct banyan_unit *unit_new(const struct banyan_projection *projection, struct sink *sink, bool empty,
                             size_t cache_bytes_max)
{
    struct banyan_unit *unit = alloc_zeroed(1, sizeof(*unit));
    unit->projection = projection;
    unit->key_field = banyan_record_field(projection->tables[0].row, banyan_str_of(projection->tables[0].key_column));
    assert(unit->key_field != NULL && unit->key_field->kind == BANYAN_FIELD_INT);
    unit->sink = sink;
    unit->complete = empty;
    unit->strings.size_max = SIZE_MAX / 2;
    unit->cache_bytes_max = cache_bytes_max == 0 ? UNIT_CACHE_BYTES : cache_bytes_max;
    return unit;
}

void unit_free(struct banyan_unit *unit)
{
    if (unit == NULL)
        return;
    unit_forget(unit, false);
    hash_release(&unit->rows);
    banyan_arena_release(&unit->arena);
    banyan_buf_release(&unit->strings);
    free(unit->changed);
    free(unit->flush);
    free(unit);
}

/* ---- order of use ---- */

static void unlink_row(struct banyan_unit *unit, struct unit_row *row)
{
    if (row->newer != NULL)
        row->newer->older = row->older;
    else
        unit->newest = row->older;
    if (row->older != NULL)
        row->older->newer = row->newer;
    else
        unit->oldest = row->newer;
}

static void link_newest(struct banyan_unit *unit, struct unit_row *row)
{
    row->newer = NULL;
    row->older = unit->newest;
    if (unit->newest != NULL)
        unit->newest->newer = row;
    else
        unit->oldest = row;
    unit->newest = row;
}

static void touch(struct banyan_unit *unit, struct unit_row *row)
{
    if (unit->newest == row)
        return;
    unlink_row(unit, row);
    link_newest(unit, row);
}

static struct unit_row *add_row(struct banyan_unit *unit, int64_t key)
{
    struct unit_row *row = alloc_zeroed(1, sizeof(*row));
    row->key = key;
    unit->stats.bytes += ROW_BYTES;
    (void)hash_put(&unit->rows, key, row); /* nothing is replaced: the caller looked */
    link_newest(unit, row);
    return row;
}

static void drop_row(struct banyan_unit *unit, struct unit_row *row)
{
    unlink_row(unit, row);
    (void)hash_remove(&unit->rows, row->key); /* it is this row */
    unit->stats.bytes -= ROW_BYTES + row->capacity;
    free(row->block);
    free(row);
}

/* ---- blocks ---- */

static struct banyan_str *string_at(const struct banyan_field *field, void *row)
{
    return (struct banyan_str *)((char *)row + field->offset);
}

static size_t string_bytes(const struct banyan_record *record, const void *value)
{
    size_t bytes = 0;
    for (size_t i = 0; i < record->field_count; i++)
        if (record->fields[i].kind == BANYAN_FIELD_STRING) {
            const struct banyan_str *text = (const void *)((const char *)value + record->fields[i].offset);
            bytes += text->data == NULL ? 0 : text->size;
        }
    return bytes;
}

/* Write the strings that *block*'s struct points to behind the struct. */
static void gather(const struct banyan_record *record, void *block, char *to)
{
    for (size_t i = 0; i < record->field_count; i++) {
        if (record->fields[i].kind != BANYAN_FIELD_STRING)
            continue;
        struct banyan_str *text = string_at(&record->fields[i], block);
        if (text->data == NULL)
            continue;
        if (text->size > 0)
            memcpy(to, text->data, text->size);
        text->data = to;
        to += text->size;
    }
}

/* The block becomes a deep copy of *value*, which may be the block itself or point into it. */
static void copy_in(struct banyan_unit *unit, struct unit_row *row, const void *value)
{
    const struct banyan_record *record = unit->projection->tables[0].row;
    size_t bytes = string_bytes(record, value);

    if (record->size + bytes > row->capacity) {
        size_t capacity = record->size + bytes + bytes / 4;
        void *block = alloc_zeroed(1, capacity);
        memcpy(block, value, record->size);
        gather(record, block, (char *)block + record->size);
        free(row->block);
        unit->stats.bytes += capacity - row->capacity;
        row->block = block;
        row->capacity = capacity;
        return;
    }
    banyan_buf_reset(&unit->strings);
    char *strings = bytes == 0 ? NULL : banyan_buf_extend(&unit->strings, bytes);
    memmove(row->block, value, record->size);
    if (strings == NULL)
        strings = (char *)row->block + record->size;
    gather(record, row->block, strings);
    gather(record, row->block, (char *)row->block + record->size);
}

static void set_stored(struct banyan_unit *unit, struct unit_row *row, const void *value)
{
    row->stored = row->exists = value != NULL;
    if (value != NULL)
        copy_in(unit, row, value);
}

/* ---- reading ---- */

static bool lookup(struct banyan_unit *unit, int64_t key, struct unit_row **ret)
{
    struct unit_row *row = hash_get(&unit->rows, key);
    if (row != NULL) {
        unit->stats.hits++;
        touch(unit, row);
        *ret = row;
        return true;
    }
    if (unit->complete || unit->failed.status != BANYAN_OK) {
        *ret = NULL;
        return true;
    }
    return false;
}

/* The row's entry; NULL when it does not exist and nothing need be remembered. */
static struct unit_row *fetch(struct banyan_unit *unit, int64_t key)
{
    struct unit_row *row;
    if (lookup(unit, key, &row))
        return row;

    struct banyan_error err = BANYAN_ERROR_INIT;
    banyan_arena_reset(&unit->arena);
    void *value = banyan_arena_alloc(&unit->arena, unit->projection->tables[0].row->size);
    enum banyan_status st = unit->sink->ops->get(unit->sink, key, &unit->arena, value, &err);
    if (st != BANYAN_OK && st != BANYAN_NOT_FOUND) {
        unit->failed = err;
        unit->failed.status = st;
        return NULL;
    }
    unit->stats.reads++;
    row = add_row(unit, key);
    set_stored(unit, row, st == BANYAN_OK ? value : NULL);
    return row;
}

const void *banyan_unit_get(struct banyan_unit *unit, unsigned table, int64_t key)
{
    assert(table == 0);
    struct unit_row *row = fetch(unit, key);
    return row != NULL && row->exists ? row->block : NULL;
}

static int compare_keys(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

enum banyan_status unit_read_ahead(struct banyan_unit *unit, const int64_t *keys, size_t count,
                                   struct banyan_error *err)
{
    if (unit->complete || count == 0)
        return BANYAN_OK;
    banyan_arena_reset(&unit->arena);
    int64_t *missing = banyan_arena_alloc(&unit->arena, count * sizeof(*missing));
    size_t missing_count = 0, distinct = 0;
    for (size_t i = 0; i < count; i++)
        if (hash_get(&unit->rows, keys[i]) == NULL)
            missing[missing_count++] = keys[i];
    qsort(missing, missing_count, sizeof(*missing), compare_keys);
    for (size_t i = 0; i < missing_count; i++)
        if (i == 0 || missing[i] != missing[i - 1])
            missing[distinct++] = missing[i];
    if (distinct == 0)
        return BANYAN_OK;

    size_t stride = (unit->projection->tables[0].row->size + 15) & ~(size_t)15;
    char *memory = banyan_arena_alloc(&unit->arena, distinct * stride);
    void **rows = banyan_arena_alloc(&unit->arena, distinct * sizeof(*rows));
    bool *found = banyan_arena_zalloc(&unit->arena, distinct * sizeof(*found));
    for (size_t i = 0; i < distinct; i++)
        rows[i] = memory + i * stride;
    enum banyan_status st = unit->sink->ops->get_many(unit->sink, missing, distinct, &unit->arena, rows, found, err);
    if (st != BANYAN_OK)
        return st;
    for (size_t i = 0; i < distinct; i++)
        set_stored(unit, add_row(unit, missing[i]), found[i] ? rows[i] : NULL);
    unit->stats.reads += distinct;
    unit->stats.read_aheads++;
    return BANYAN_OK;
}

/* ---- changing ---- */

static void mark_changed(struct banyan_unit *unit, struct unit_row *row)
{
    if (row->changed)
        return;
    row->changed = true;
    if (unit->changed_count == unit->changed_capacity) {
        unit->changed_capacity = unit->changed_capacity == 0 ? 1024 : unit->changed_capacity * 2;
        unit->changed = alloc_resized(unit->changed, unit->changed_capacity, sizeof(struct unit_row *));
    }
    unit->changed[unit->changed_count++] = row;
}

/* Why a sink could not give this value back as it was; NULL: it can. */
static const char *objection(const struct banyan_field *field, const void *value)
{
    const void *at = (const char *)value + field->offset;
    bool optional = (field->flags & BANYAN_FIELD_OPTIONAL) != 0;
    switch (field->kind) {
    case BANYAN_FIELD_STRING: {
        const struct banyan_str *text = at;
        if (text->data == NULL)
            return optional ? NULL : "has no value but must have one";
        return text->size > 0 && memchr(text->data, 0, text->size) != NULL ? "has a NUL byte in its text" : NULL;
    }
    case BANYAN_FIELD_TIME:
        return !optional && ((const struct banyan_time *)at)->us == BANYAN_TIME_NULL ? "has no value but must have one"
                                                                                     : NULL;
    case BANYAN_FIELD_DECIMAL: {
        int32_t scale = ((const struct banyan_decimal *)at)->scale;
        if (scale == BANYAN_DECIMAL_NULL)
            return optional ? NULL : "has no value but must have one";
        return scale == field->scale || scale == BANYAN_DECIMAL_NAN ? NULL : "has another scale than its column";
    }
    case BANYAN_FIELD_INT:
    case BANYAN_FIELD_BOOL:
        return NULL;
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    return "has no kind";
}

static bool acceptable(struct banyan_unit *unit, int64_t key, const void *value)
{
    const struct banyan_record *record = unit->projection->tables[0].row;
    for (size_t i = 0; i < record->field_count; i++) {
        const char *why = objection(&record->fields[i], value);
        if (why == NULL)
            continue;
        (void)banyan_error_set(&unit->refused, BANYAN_INVALID, "row %lld of %s: column %s %s", (long long)key,
                               unit->projection->name, record->fields[i].name, why); /* it is kept, not returned */
        return false;
    }
    return true;
}

void banyan_unit_put(struct banyan_unit *unit, unsigned table, int64_t key, const void *value)
{
    assert(table == 0);
    if (!acceptable(unit, key, value))
        return;
    struct unit_row *row = fetch(unit, key);
    if (unit->failed.status != BANYAN_OK)
        return;
    if (row == NULL)
        row = add_row(unit, key);
    uint64_t fields = row->exists ? banyan_record_diff(unit->projection->tables[0].row, row->block, value) : UINT64_MAX;
    if (fields == 0)
        return;
    copy_in(unit, row, value);
    *(int64_t *)((char *)row->block + unit->key_field->offset) = key;
    row->exists = true;
    row->fields = row->stored ? row->fields | fields : UINT64_MAX;
    mark_changed(unit, row);
}

void banyan_unit_delete(struct banyan_unit *unit, unsigned table, int64_t key)
{
    assert(table == 0);
    struct unit_row *row = fetch(unit, key);
    if (row == NULL || !row->exists)
        return;
    row->exists = false;
    row->fields = UINT64_MAX;
    mark_changed(unit, row);
}

enum banyan_status unit_failed(const struct banyan_unit *unit, struct banyan_error *err)
{
    if (unit->failed.status != BANYAN_OK && err != NULL)
        *err = unit->failed;
    return unit->failed.status;
}

enum banyan_status unit_refused(struct banyan_unit *unit, struct banyan_error *err)
{
    enum banyan_status st = unit->refused.status;
    if (st == BANYAN_OK)
        return st;
    if (err != NULL)
        *err = unit->refused;
    banyan_error_clear(&unit->refused);
    return st;
}

/* ---- flushing ---- */

size_t unit_changed(const struct banyan_unit *unit)
{
    return unit->changed_count;
}

static int compare_rows(const void *a, const void *b)
{
    return compare_keys(&((const struct sink_row *)a)->key, &((const struct sink_row *)b)->key);
}

const struct sink_row *unit_rows(struct banyan_unit *unit, size_t *ret_count)
{
    if (unit->flush_capacity < unit->changed_count) {
        unit->flush_capacity = unit->changed_capacity;
        unit->flush = alloc_resized(unit->flush, unit->flush_capacity, sizeof(*unit->flush));
    }
    size_t count = 0;
    bool sorted = true;
    for (size_t i = 0; i < unit->changed_count; i++) {
        const struct unit_row *row = unit->changed[i];
        if (!row->exists && !row->stored)
            continue; /* came and went between two flushes */
        if (count > 0 && unit->flush[count - 1].key > row->key)
            sorted = false;
        unit->flush[count++] =
            (struct sink_row){.key = row->key, .row = row->exists ? row->block : NULL, .changed = row->fields};
    }
    if (!sorted)
        qsort(unit->flush, count, sizeof(*unit->flush), compare_rows);
    *ret_count = count;
    return unit->flush;
}

static void make_room(struct banyan_unit *unit)
{
    while (unit->stats.bytes > unit->cache_bytes_max && unit->oldest != NULL) {
        if (unit->oldest->exists)
            unit->complete = false;
        unit->stats.evictions++;
        drop_row(unit, unit->oldest);
    }
}

void unit_flushed(struct banyan_unit *unit)
{
    for (size_t i = 0; i < unit->changed_count; i++) {
        struct unit_row *row = unit->changed[i];
        row->changed = false;
        row->stored = row->exists;
        row->fields = 0;
    }
    unit->changed_count = 0;
    make_room(unit);
}

void unit_forget(struct banyan_unit *unit, bool empty)
{
    while (unit->oldest != NULL) {
        struct unit_row *row = unit->oldest;
        unlink_row(unit, row);
        free(row->block);
        free(row);
    }
    hash_reset(&unit->rows);
    unit->stats.bytes = 0;
    unit->changed_count = 0;
    unit->complete = empty;
    banyan_error_clear(&unit->failed);
    banyan_error_clear(&unit->refused);
}

void unit_stats(const struct banyan_unit *unit, struct unit_stats *ret)
{
    *ret = unit->stats;
    ret->rows = unit->rows.count;
}
