/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows in memory: see rebuild_table.h.
 *
 * A deleted row keeps its slot (its key may come again), so that probing needs no tombstones.  A put writes the row to
 * another block: what was there before is then its own undo log, and no row is ever copied over itself.  The block that
 * an event has left is the one that the next event writes to, so that both are near.  Blocks have sizes in steps of 16
 * bytes with a list of free ones for each step; larger ones are the allocator's.
 */
#include "projection/rebuild_table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "os/memory.h"
#include "projection/unit.h"

enum {
    SLOTS_MIN = 1024,
    STEP = 16,
    PIECE_BYTES_MIN = 16 * 1024,
    PIECE_BYTES_MAX = 32 * 1024 * 1024,
    STEPS = 256, /* blocks up to 4 KiB are used again */
};

struct row {
    size_t capacity; /* bytes behind this head */
    bool exists;
    _Alignas(16) char data[];
};

struct slot {
    int64_t key;
    struct row *row; /* NULL: free */
};

/* The rows of one of the projection's tables. */
struct rows {
    const struct banyan_record *record;
    size_t key_offset;
    size_t strings[BANYAN_FIELDS_MAX]; /* offsets of the STRING fields */
    size_t string_count;
    uint64_t required_strings;       /* bits of *strings* */
    size_t times[BANYAN_FIELDS_MAX]; /* offsets of the TIME fields that must have a value */
    size_t time_count;
    const struct banyan_field *decimals[BANYAN_FIELDS_MAX];
    size_t decimal_count;
    struct slot *slots; /* owned */
    size_t capacity;    /* power of two */
    size_t used;        /* slots */
    size_t count;       /* rows that exist */
    struct slot *last;  /* where the last look-up ended; NULL after growing */
};

/* What an event changed, to take it back. */
struct undo {
    unsigned table;
    int64_t key;
    struct row *before; /* its block, where it got another one */
    bool existed;
};

/* Memory that blocks are cut from. */
struct piece {
    struct piece *older;
    _Alignas(16) char data[];
};

struct rebuild_table {
    struct unit_head head;
    const struct banyan_projection *projection;
    struct rows rows[BANYAN_PROJECTION_TABLES_MAX];
    struct piece *pieces;           /* owned; the newest first */
    char *next, *end;               /* free part of the newest */
    size_t piece_bytes;             /* in all of them */
    struct row *free_blocks[STEPS]; /* linked through their data */
    size_t large_bytes;             /* in blocks of the allocator */
    struct undo *undo;              /* owned */
    size_t undo_count, undo_capacity;
    int64_t key; /* of the event that is applied */
    bool partitioned;
    struct banyan_error refused;
};

static const void *get_row(struct banyan_unit *unit, unsigned index, int64_t key);
static void put_row(struct banyan_unit *unit, unsigned index, int64_t key, const void *value);
static void remove_row(struct banyan_unit *unit, unsigned index, int64_t key);
static const struct unit_ops table_ops = {.get = get_row, .put = put_row, .remove = remove_row};

static struct slot *new_slots(size_t capacity)
{
    size_t bytes = capacity * sizeof(struct slot);
    struct slot *slots = os_memory_scattered(&bytes);
    memset(slots, 0, capacity * sizeof(*slots));
    return slots;
}

static void init_rows(struct rows *rows, const struct banyan_table *table)
{
    const struct banyan_field *key = banyan_record_field(table->row, banyan_str_of(table->key_column));
    assert(key != NULL && key->kind == BANYAN_FIELD_INT);
    rows->record = table->row;
    rows->key_offset = key->offset;
    for (size_t i = 0; i < table->row->field_count; i++) {
        const struct banyan_field *field = &table->row->fields[i];
        bool required = (field->flags & BANYAN_FIELD_OPTIONAL) == 0;
        if (field->kind == BANYAN_FIELD_STRING) {
            rows->required_strings |= (uint64_t)required << rows->string_count;
            rows->strings[rows->string_count++] = field->offset;
        } else if (field->kind == BANYAN_FIELD_TIME && required) {
            rows->times[rows->time_count++] = field->offset;
        } else if (field->kind == BANYAN_FIELD_DECIMAL) {
            rows->decimals[rows->decimal_count++] = field;
        }
    }
    rows->capacity = SLOTS_MIN;
    rows->slots = new_slots(rows->capacity);
}

struct rebuild_table *rebuild_table_new(const struct banyan_projection *projection)
{
    struct rebuild_table *table = alloc_zeroed(1, sizeof(*table));
    table->head.ops = &table_ops;
    table->projection = projection;
    table->partitioned = projection->spread == BANYAN_PARTITIONED;
    for (size_t i = 0; i < projection->table_count; i++)
        init_rows(&table->rows[i], &projection->tables[i]);
    return table;
}

static void free_pieces(struct rebuild_table *table)
{
    while (table->pieces != NULL) {
        struct piece *older = table->pieces->older;
        free(table->pieces);
        table->pieces = older;
    }
    table->next = table->end = NULL;
    table->piece_bytes = 0;
}

static bool is_large(size_t capacity)
{
    return capacity >= (size_t)STEP * STEPS;
}

static void free_large(struct rebuild_table *table)
{
    for (size_t i = 0; i < table->projection->table_count && table->large_bytes > 0; i++) {
        const struct rows *rows = &table->rows[i];
        for (size_t at = 0; at < rows->capacity; at++)
            if (rows->slots[at].row != NULL && is_large(rows->slots[at].row->capacity))
                free(rows->slots[at].row);
    }
    table->large_bytes = 0;
}

void rebuild_table_free(struct rebuild_table *table)
{
    if (table == NULL)
        return;
    free_large(table);
    for (size_t i = 0; i < table->projection->table_count; i++)
        free(table->rows[i].slots);
    free_pieces(table);
    free(table->undo);
    free(table);
}

void rebuild_table_reset(struct rebuild_table *table)
{
    free_large(table);
    for (size_t i = 0; i < table->projection->table_count; i++) {
        struct rows *rows = &table->rows[i];
        free(rows->slots);
        rows->capacity = SLOTS_MIN;
        rows->slots = new_slots(rows->capacity);
        rows->used = rows->count = 0;
        rows->last = NULL;
    }
    free_pieces(table);
    memset(table->free_blocks, 0, sizeof(table->free_blocks));
    table->undo_count = 0;
}

/* ---- slots ---- */

/* Multiplication spreads keys that follow each other; the fold behind it those that differ in high bits only. */
static inline size_t home_of(const struct rows *rows, int64_t key)
{
    uint64_t hash = (uint64_t)key * UINT64_C(0x9E3779B97F4A7C15);
    return (hash ^ (hash >> 32)) & (rows->capacity - 1);
}

static struct slot *find(struct rows *rows, int64_t key)
{
    if (rows->last != NULL && rows->last->key == key)
        return rows->last; /* get and put of one event */
    size_t at = home_of(rows, key);
    while (rows->slots[at].row != NULL && rows->slots[at].key != key)
        at = (at + 1) & (rows->capacity - 1);
    struct slot *slot = &rows->slots[at];
    if (slot->row != NULL)
        rows->last = slot;
    return slot;
}

static void grow(struct rows *rows)
{
    struct slot *old = rows->slots;
    size_t old_capacity = rows->capacity;
    rows->capacity *= 2;
    rows->slots = new_slots(rows->capacity);
    rows->last = NULL;
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i].row != NULL) {
            size_t at = home_of(rows, old[i].key);
            while (rows->slots[at].row != NULL)
                at = (at + 1) & (rows->capacity - 1);
            rows->slots[at] = old[i];
        }
    free(old);
}

void rebuild_table_prefetch_slot(const struct rebuild_table *table, int64_t key)
{
    for (size_t i = 0; i < table->projection->table_count && i < 2; i++)
        __builtin_prefetch(&table->rows[i].slots[home_of(&table->rows[i], key)], 0, 3);
}

void rebuild_table_prefetch_row(const struct rebuild_table *table, int64_t key)
{
    for (size_t i = 0; i < table->projection->table_count && i < 2; i++) {
        const char *row = (const char *)table->rows[i].slots[home_of(&table->rows[i], key)].row;
        if (row == NULL)
            continue;
        __builtin_prefetch(row, 1, 3);
        __builtin_prefetch(row + 64, 1, 3);
        __builtin_prefetch(row + 128, 1, 3);
    }
}

/* ---- blocks ---- */

/* *bytes*: a multiple of STEP, fewer than a piece has.  Each piece is half as large as all before. */
static void *cut(struct rebuild_table *table, size_t bytes)
{
    if ((size_t)(table->end - table->next) < bytes) {
        size_t size = table->piece_bytes / 2;
        size = size < PIECE_BYTES_MIN ? PIECE_BYTES_MIN : size > PIECE_BYTES_MAX ? PIECE_BYTES_MAX : size;
        struct piece *piece = os_memory_scattered(&size);
        piece->older = table->pieces;
        table->pieces = piece;
        table->next = piece->data;
        table->end = (char *)piece + size;
        table->piece_bytes += size;
    }
    void *memory = table->next;
    table->next += bytes;
    return memory;
}

static struct row *take_block(struct rebuild_table *table, size_t bytes)
{
    size_t step = (bytes + STEP - 1) / STEP;
    if (step >= STEPS) {
        struct row *row = alloc_resized(NULL, 1, sizeof(*row) + step * STEP);
        row->capacity = step * STEP;
        table->large_bytes += row->capacity;
        return row;
    }
    struct row *row = table->free_blocks[step];
    if (row != NULL) {
        memcpy(&table->free_blocks[step], row->data, sizeof(struct row *));
        return row;
    }
    row = cut(table, sizeof(*row) + step * STEP);
    row->capacity = step * STEP;
    return row;
}

static void give_block(struct rebuild_table *table, struct row *row)
{
    if (is_large(row->capacity)) {
        table->large_bytes -= row->capacity;
        free(row);
        return;
    }
    size_t step = row->capacity / STEP;
    memcpy(row->data, &table->free_blocks[step], sizeof(struct row *));
    table->free_blocks[step] = row;
}

/* Short texts are the rule, and a call costs more than they do. */
static void copy_text(char *to, const char *from, size_t size)
{
    if (size > 16) {
        memcpy(to, from, size);
    } else if (size >= 8) {
        memcpy(to, from, 8);
        memcpy(to + size - 8, from + size - 8, 8);
    } else {
        for (size_t i = 0; i < size; i++)
            to[i] = from[i];
    }
}

/* What is to be known of a row before it is taken. */
struct look {
    size_t bytes; /* of its strings */
    bool plain;   /* it can be taken; else unit_check_row() is asked, which can say why not */
};

/* *before*: the row as it is, whose strings were looked at when they came; NULL: there is none. */
static inline struct look look_at(const struct rows *rows, const void *value, const struct row *before)
{
    struct look look = {.plain = true};
    for (size_t i = 0; i < rows->string_count; i++) {
        const struct banyan_str *text = (const void *)((const char *)value + rows->strings[i]);
        if (text->data == NULL) {
            look.plain &= (rows->required_strings >> i & 1) == 0;
            continue;
        }
        bool ours = before != NULL && (uintptr_t)text->data - (uintptr_t)before->data < before->capacity;
        if (text->size > 0 && !ours)
            look.plain &= memchr(text->data, 0, text->size) == NULL;
        look.bytes += text->size;
    }
    for (size_t i = 0; i < rows->time_count; i++)
        look.plain &= *(const int64_t *)(const void *)((const char *)value + rows->times[i]) != BANYAN_TIME_NULL;
    for (size_t i = 0; i < rows->decimal_count; i++) {
        const struct banyan_field *field = rows->decimals[i];
        look.plain &=
            ((const struct banyan_decimal *)(const void *)((const char *)value + field->offset))->scale == field->scale;
    }
    return look;
}

/* The block, which holds nothing of *value*, becomes a deep copy of it. */
static inline void copy_in(const struct rows *rows, struct row *row, const void *value)
{
    char *to = row->data + rows->record->size;
    memcpy(row->data, value, rows->record->size);
    for (size_t i = 0; i < rows->string_count; i++) {
        struct banyan_str *text = (struct banyan_str *)(row->data + rows->strings[i]);
        if (text->data == NULL)
            continue;
        copy_text(to, text->data, text->size);
        text->data = to;
        to += text->size;
    }
}

/* ---- undo ---- */

static void grow_undo(struct rebuild_table *table)
{
    table->undo_capacity = table->undo_capacity == 0 ? 16 : table->undo_capacity * 2;
    table->undo = alloc_resized(table->undo, table->undo_capacity, sizeof(*table->undo));
}

/* To be filled in field by field: a struct that is made elsewhere and copied waits for its own stores. */
static inline struct undo *remember(struct rebuild_table *table)
{
    if (__builtin_expect(table->undo_count == table->undo_capacity, 0))
        grow_undo(table);
    return &table->undo[table->undo_count++];
}

static void take_back(struct rebuild_table *table)
{
    for (size_t i = table->undo_count; i-- > 0;) {
        const struct undo *undo = &table->undo[i];
        struct rows *rows = &table->rows[undo->table];
        struct slot *slot = find(rows, undo->key);
        rows->count -= slot->row->exists;
        if (undo->before != NULL) {
            give_block(table, slot->row);
            slot->row = undo->before;
        }
        slot->row->exists = undo->existed;
        rows->count += undo->existed;
    }
    table->undo_count = 0;
}

/* The event is done: the blocks that its rows left are free now. */
static inline void forget_undo(struct rebuild_table *table)
{
    for (size_t i = 0; i < table->undo_count; i++)
        if (table->undo[i].before != NULL)
            give_block(table, table->undo[i].before);
    table->undo_count = 0;
}

/* ---- what apply() calls ---- */

static bool refuse_key(struct rebuild_table *table, unsigned index, int64_t key)
{
    if ((!table->partitioned || key == table->key) && index < table->projection->table_count)
        return false;
    return table->refused.status != BANYAN_OK ||
           unit_check_key(table->projection, index, key, table->partitioned, table->key, &table->refused) != BANYAN_OK;
}

static const void *get_row(struct banyan_unit *unit, unsigned index, int64_t key)
{
    struct rebuild_table *table = (struct rebuild_table *)unit;
    if (refuse_key(table, index, key))
        return NULL;
    const struct row *row = find(&table->rows[index], key)->row;
    return row != NULL && row->exists ? row->data : NULL;
}

static struct slot *take_slot(struct rows *rows, int64_t key)
{
    struct slot *slot = find(rows, key);
    if (slot->row != NULL)
        return slot;
    if ((rows->used + 1) * 3 > rows->capacity * 2) {
        grow(rows);
        slot = find(rows, key);
    }
    return slot;
}

static void put_row(struct banyan_unit *unit, unsigned index, int64_t key, const void *value)
{
    struct rebuild_table *table = (struct rebuild_table *)unit;
    if (table->refused.status != BANYAN_OK || refuse_key(table, index, key))
        return;
    struct rows *rows = &table->rows[index];
    struct slot *slot = take_slot(rows, key);
    struct row *before = slot->row;
    struct look look = look_at(rows, value, before);
    if (!look.plain && unit_check_row(table->projection, index, key, value, &table->refused) != BANYAN_OK)
        return;
    struct row *row = take_block(table, rows->record->size + look.bytes);
    bool existed = before != NULL && before->exists;
    struct undo *undo = remember(table);
    undo->table = index;
    undo->key = key;
    undo->before = before;
    undo->existed = existed;
    copy_in(rows, row, value);
    memcpy(row->data + rows->key_offset, &key, sizeof(key));
    row->exists = true;
    rows->used += before == NULL;
    rows->count += !existed;
    slot->key = key;
    slot->row = row;
    rows->last = slot;
}

static void remove_row(struct banyan_unit *unit, unsigned index, int64_t key)
{
    struct rebuild_table *table = (struct rebuild_table *)unit;
    if (table->refused.status != BANYAN_OK || refuse_key(table, index, key))
        return;
    struct rows *rows = &table->rows[index];
    struct slot *slot = find(rows, key);
    if (slot->row == NULL || !slot->row->exists)
        return;
    struct undo *undo = remember(table);
    undo->table = index;
    undo->key = key;
    undo->before = NULL; /* it keeps its block */
    undo->existed = true;
    slot->row->exists = false;
    rows->count--;
}

enum banyan_status rebuild_table_apply(struct rebuild_table *table, const struct banyan_seen *event,
                                       struct banyan_error *err)
{
    table->key = event->key;
    table->projection->apply(event, (struct banyan_unit *)table);
    if (__builtin_expect(table->refused.status == BANYAN_OK, 1)) {
        forget_undo(table);
        return BANYAN_OK;
    }
    take_back(table);
    *err = table->refused;
    banyan_error_clear(&table->refused);
    return err->status;
}

/* ---- look ---- */

size_t rebuild_table_bytes(const struct rebuild_table *table)
{
    size_t bytes = table->piece_bytes + table->large_bytes;
    for (size_t i = 0; i < table->projection->table_count; i++)
        bytes += table->rows[i].capacity * sizeof(struct slot);
    return bytes;
}

size_t rebuild_table_count(const struct rebuild_table *table, unsigned index)
{
    return table->rows[index].count;
}

void rebuild_table_rows(const struct rebuild_table *table, unsigned index, struct sink_row *rows)
{
    const struct rows *from = &table->rows[index];
    for (size_t i = 0; i < from->capacity; i++)
        if (from->slots[i].row != NULL && from->slots[i].row->exists)
            *rows++ = (struct sink_row){
                .table = index, .key = from->slots[i].key, .row = from->slots[i].row->data, .changed = UINT64_MAX};
}
