/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unit of work: see unit.h for the invariants.
 *
 *   hash of a table: key ──▶ struct unit_row ──▶ block: [ struct of the record | its strings ]
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
    unsigned table;
    struct unit_row *newer, *older; /* order of use */
    void *block;                    /* owned; the row's struct, then its strings; NULL: never existed in memory */
    size_t capacity, used;          /* of the block, bytes */
    uint64_t fields;                /* that changed since the last flush; all when it was not stored then */
    bool exists;
    bool stored;       /* it was in the sink at the last flush */
    bool changed;      /* is in the list of changed rows */
    struct undo *undo; /* what it was before the event that is being applied; NULL: not touched by it */
};

/* A row as it was before the event that is being applied. */
struct undo {
    struct undo *next;
    struct unit_row *row;
    void *bytes; /* of the block, in the arena; what its strings point to is the block where it lay */
    size_t capacity, used;
    void *block; /* where it lay */
    bool kept;   /* the row has a larger block now, and this one is to be freed at the end of the event */
    bool exists;
    uint64_t fields;
};

struct unit_table {
    const struct banyan_record *record;
    const struct banyan_field *key_field;
    struct hash rows;
};

enum {
    /* What a row takes beside its block: its entry, two slots of the hash on average, the allocator's own. */
    ROW_BYTES = sizeof(struct unit_row) + 2 * sizeof(struct hash_entry) + 32,
};

struct banyan_unit {
    struct unit_head head;
    const struct banyan_projection *projection;
    struct unit_table tables[BANYAN_PROJECTION_TABLES_MAX];
    struct sink *sink; /* borrowed; NULL: everything is in memory */
    struct unit_row *newest, *oldest;
    struct unit_row **changed; /* rows to flush */
    size_t changed_count, changed_capacity;
    struct sink_row *flush; /* what unit_rows() gave */
    size_t flush_capacity;
    struct banyan_arena arena; /* rows on their way from the sink */
    struct banyan_buf strings; /* of a row that is rewritten in place */
    size_t cache_bytes_max;
    bool complete; /* invariant 3 */
    /* The event that is being applied. */
    bool in_event, bound;
    int64_t bound_key;
    struct undo *undo; /* the rows that it changed */
    size_t undo_changed_count;
    struct banyan_arena undo_arena;
    struct banyan_error failed, refused;
    struct unit_stats stats;
};

static const void *get_row(struct banyan_unit *unit, unsigned table, int64_t key);
static void put_row(struct banyan_unit *unit, unsigned table, int64_t key, const void *value);
static void remove_row(struct banyan_unit *unit, unsigned table, int64_t key);
static const struct unit_ops unit_ops = {.get = get_row, .put = put_row, .remove = remove_row};

struct banyan_unit *unit_new(const struct banyan_projection *projection, struct sink *sink, bool empty,
                             size_t cache_bytes_max)
{
    struct banyan_unit *unit = alloc_zeroed(1, sizeof(*unit));
    unit->head.ops = &unit_ops;
    unit->projection = projection;
    for (size_t i = 0; i < projection->table_count; i++) {
        struct unit_table *table = &unit->tables[i];
        table->record = projection->tables[i].row;
        table->key_field = banyan_record_field(table->record, banyan_str_of(projection->tables[i].key_column));
        assert(table->key_field != NULL && table->key_field->kind == BANYAN_FIELD_INT);
    }
    unit->sink = sink;
    unit->complete = empty || sink == NULL;
    unit->strings.size_max = SIZE_MAX / 2;
    unit->cache_bytes_max = cache_bytes_max == 0 ? UNIT_CACHE_BYTES : cache_bytes_max;
    return unit;
}

void unit_free(struct banyan_unit *unit)
{
    if (unit == NULL)
        return;
    unit_forget(unit, false);
    for (size_t i = 0; i < unit->projection->table_count; i++)
        hash_release(&unit->tables[i].rows);
    banyan_arena_release(&unit->arena);
    banyan_arena_release(&unit->undo_arena);
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

static struct unit_row *add_row(struct banyan_unit *unit, unsigned table, int64_t key)
{
    struct unit_row *row = alloc_zeroed(1, sizeof(*row));
    row->key = key;
    row->table = table;
    unit->stats.bytes += ROW_BYTES;
    (void)hash_put(&unit->tables[table].rows, key, row); /* nothing is replaced: the caller looked */
    link_newest(unit, row);
    return row;
}

static void drop_row(struct banyan_unit *unit, struct unit_row *row)
{
    unlink_row(unit, row);
    (void)hash_remove(&unit->tables[row->table].rows, row->key); /* it is this row */
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
    const struct banyan_record *record = unit->tables[row->table].record;
    size_t bytes = string_bytes(record, value);

    row->used = record->size + bytes;
    if (row->used > row->capacity) {
        size_t capacity = record->size + bytes + bytes / 4;
        void *block = alloc_zeroed(1, capacity);
        memcpy(block, value, record->size);
        gather(record, block, (char *)block + record->size);
        if (row->undo != NULL && row->undo->block == row->block)
            row->undo->kept = true;
        else
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

static bool lookup(struct banyan_unit *unit, unsigned table, int64_t key, struct unit_row **ret)
{
    struct unit_row *row = hash_get(&unit->tables[table].rows, key);
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
static struct unit_row *fetch(struct banyan_unit *unit, unsigned table, int64_t key)
{
    struct unit_row *row;
    if (lookup(unit, table, key, &row))
        return row;

    struct banyan_error err = BANYAN_ERROR_INIT;
    bool found = false;
    banyan_arena_reset(&unit->arena);
    void *value = banyan_arena_alloc(&unit->arena, unit->tables[table].record->size);
    enum banyan_status st = unit->sink->ops->get_many(unit->sink, table, &key, 1, &unit->arena, &value, &found, &err);
    if (st != BANYAN_OK) {
        unit->failed = err;
        unit->failed.status = st;
        return NULL;
    }
    unit->stats.reads++;
    row = add_row(unit, table, key);
    set_stored(unit, row, found ? value : NULL);
    return row;
}

/* May the event that is being applied touch this row?  When not, it is refused. */
static bool allowed(struct banyan_unit *unit, unsigned table, int64_t key)
{
    if (unit->refused.status != BANYAN_OK)
        return false;
    return unit_check_key(unit->projection, table, key, unit->in_event && unit->bound, unit->bound_key,
                          &unit->refused) == BANYAN_OK;
}

static const void *get_row(struct banyan_unit *unit, unsigned table, int64_t key)
{
    if (!allowed(unit, table, key))
        return NULL;
    struct unit_row *row = fetch(unit, table, key);
    return row != NULL && row->exists ? row->block : NULL;
}

static int compare_keys(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

enum banyan_status unit_read_ahead(struct banyan_unit *unit, unsigned table, const int64_t *keys, size_t count,
                                   struct banyan_error *err)
{
    if (unit->complete || count == 0)
        return BANYAN_OK;
    banyan_arena_reset(&unit->arena);
    int64_t *missing = banyan_arena_alloc(&unit->arena, count * sizeof(*missing));
    size_t missing_count = 0, distinct = 0;
    for (size_t i = 0; i < count; i++)
        if (hash_get(&unit->tables[table].rows, keys[i]) == NULL)
            missing[missing_count++] = keys[i];
    qsort(missing, missing_count, sizeof(*missing), compare_keys);
    for (size_t i = 0; i < missing_count; i++)
        if (i == 0 || missing[i] != missing[i - 1])
            missing[distinct++] = missing[i];
    if (distinct == 0)
        return BANYAN_OK;

    size_t stride = (unit->tables[table].record->size + 15) & ~(size_t)15;
    char *memory = banyan_arena_alloc(&unit->arena, distinct * stride);
    void **rows = banyan_arena_alloc(&unit->arena, distinct * sizeof(*rows));
    bool *found = banyan_arena_zalloc(&unit->arena, distinct * sizeof(*found));
    for (size_t i = 0; i < distinct; i++)
        rows[i] = memory + i * stride;
    enum banyan_status st =
        unit->sink->ops->get_many(unit->sink, table, missing, distinct, &unit->arena, rows, found, err);
    if (st != BANYAN_OK)
        return st;
    for (size_t i = 0; i < distinct; i++)
        set_stored(unit, add_row(unit, table, missing[i]), found[i] ? rows[i] : NULL);
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

/* Remember what the row is before the event changes it. */
static void save(struct banyan_unit *unit, struct unit_row *row)
{
    if (!unit->in_event || row->undo != NULL)
        return;
    struct undo *undo = banyan_arena_alloc(&unit->undo_arena, sizeof(*undo));
    *undo = (struct undo){
        .next = unit->undo,
        .row = row,
        .capacity = row->capacity,
        .used = row->exists ? row->used : 0,
        .block = row->block,
        .exists = row->exists,
        .fields = row->fields,
    };
    if (undo->used > 0) {
        undo->bytes = banyan_arena_alloc(&unit->undo_arena, undo->used);
        memcpy(undo->bytes, row->block, undo->used);
    }
    unit->undo = row->undo = undo;
}

static void put_row(struct banyan_unit *unit, unsigned table, int64_t key, const void *value)
{
    if (!allowed(unit, table, key))
        return;
    if (unit_check_row(unit->projection, table, key, value, &unit->refused) != BANYAN_OK)
        return;
    struct unit_row *row = fetch(unit, table, key);
    if (unit->failed.status != BANYAN_OK)
        return;
    if (row == NULL)
        row = add_row(unit, table, key);
    uint64_t fields = row->exists ? banyan_record_diff(unit->tables[table].record, row->block, value) : UINT64_MAX;
    if (fields == 0)
        return;
    save(unit, row);
    copy_in(unit, row, value);
    *(int64_t *)((char *)row->block + unit->tables[table].key_field->offset) = key;
    row->exists = true;
    row->fields = row->stored ? row->fields | fields : UINT64_MAX;
    mark_changed(unit, row);
}

static void remove_row(struct banyan_unit *unit, unsigned table, int64_t key)
{
    if (!allowed(unit, table, key))
        return;
    struct unit_row *row = fetch(unit, table, key);
    if (row == NULL || !row->exists)
        return;
    save(unit, row);
    row->exists = false;
    row->fields = UINT64_MAX;
    mark_changed(unit, row);
}

/* ---- events ---- */

void unit_begin(struct banyan_unit *unit, bool bound, int64_t key)
{
    assert(!unit->in_event);
    unit->in_event = true;
    unit->bound = bound;
    unit->bound_key = key;
    unit->undo_changed_count = unit->changed_count;
    if (unit->refused.status != BANYAN_OK)
        banyan_error_clear(&unit->refused);
}

/* Put the row back as it was. */
static void restore(struct banyan_unit *unit, struct undo *undo)
{
    struct unit_row *row = undo->row;
    if (undo->kept) {
        unit->stats.bytes -= row->capacity - undo->capacity;
        free(row->block);
        row->block = undo->block;
        row->capacity = undo->capacity;
    }
    if (undo->used > 0)
        memcpy(row->block, undo->bytes, undo->used); /* it lies where it lay: its strings do, too */
    row->used = undo->used;
    row->exists = undo->exists;
    row->fields = undo->fields;
    row->undo = NULL;
}

static void end_event(struct banyan_unit *unit, bool take_back)
{
    for (struct undo *undo = unit->undo; undo != NULL; undo = undo->next) {
        if (take_back) {
            restore(unit, undo);
            continue;
        }
        undo->row->undo = NULL;
        if (undo->kept)
            free(undo->block);
    }
    for (; take_back && unit->changed_count > unit->undo_changed_count; unit->changed_count--)
        unit->changed[unit->changed_count - 1]->changed = false;
    if (unit->undo != NULL)
        banyan_arena_reset(&unit->undo_arena);
    unit->undo = NULL;
    unit->in_event = false;
}

enum banyan_status unit_end(struct banyan_unit *unit, struct banyan_error *err)
{
    assert(unit->in_event);
    bool refused = unit->refused.status != BANYAN_OK;
    end_event(unit, refused || unit->failed.status != BANYAN_OK);
    if (unit->failed.status == BANYAN_OK && !refused)
        return BANYAN_OK;
    const struct banyan_error *why = unit->failed.status != BANYAN_OK ? &unit->failed : &unit->refused;
    enum banyan_status st = why->status;
    if (err != NULL)
        *err = *why;
    banyan_error_clear(&unit->refused);
    return st;
}

enum banyan_status unit_failed(const struct banyan_unit *unit, struct banyan_error *err)
{
    if (unit->failed.status != BANYAN_OK && err != NULL)
        *err = unit->failed;
    return unit->failed.status;
}

/* ---- flushing ---- */

size_t unit_changed(const struct banyan_unit *unit)
{
    return unit->changed_count;
}

static int compare_rows(const void *a, const void *b)
{
    const struct sink_row *x = a, *y = b;
    return x->table != y->table ? (x->table > y->table) - (x->table < y->table) : compare_keys(&x->key, &y->key);
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
        unit->flush[count] = (struct sink_row){
            .table = row->table, .key = row->key, .row = row->exists ? row->block : NULL, .changed = row->fields};
        if (count > 0 && compare_rows(&unit->flush[count - 1], &unit->flush[count]) > 0)
            sorted = false;
        count++;
    }
    if (!sorted)
        qsort(unit->flush, count, sizeof(*unit->flush), compare_rows);
    *ret_count = count;
    return unit->flush;
}

static void make_room(struct banyan_unit *unit)
{
    while (unit->sink != NULL && unit->stats.bytes > unit->cache_bytes_max && unit->oldest != NULL) {
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
    end_event(unit, true);
    while (unit->oldest != NULL) {
        struct unit_row *row = unit->oldest;
        unlink_row(unit, row);
        free(row->block);
        free(row);
    }
    for (size_t i = 0; i < unit->projection->table_count; i++)
        hash_reset(&unit->tables[i].rows);
    unit->stats.bytes = 0;
    unit->changed_count = 0;
    unit->complete = empty || unit->sink == NULL;
    banyan_error_clear(&unit->failed);
    banyan_error_clear(&unit->refused);
}

void unit_stats(const struct banyan_unit *unit, struct unit_stats *ret)
{
    *ret = unit->stats;
    ret->rows = 0;
    for (size_t i = 0; i < unit->projection->table_count; i++)
        ret->rows += unit->tables[i].rows.count;
}
