/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The encoded form of a row change.
 *
 *   front   subxid u32 · kind u8 · table u8 · rows u8 (1: old, 2: new, from 4 on the mapping) · field count u8 ·
 *           bytes u32 · key i64
 *   old     fields u64, then each told field in the order of the record
 *   new     the same
 *   field   STRING u32 length + 1 (0: no value), bytes · INT, TIME i64 · BOOL u8 · DECIMAL units i128, scale i32
 *
 * Numbers are little-endian.  The field count is checked, so that a held change of a mapping that has grown since is
 * refused and not misread.
 */
#include "legacy/row_change.h"

#include <assert.h>
#include <string.h>

enum {
    FRONT_SIZE = 20,
    HAS_OLD = 1,
    HAS_NEW = 2,
    MAPPING_SHIFT = 2,
    BYTES_OF_CHANGE = 96, /* the struct itself and its share of tables */
};

uint64_t row_change_all_fields(const struct banyan_record *record)
{
    assert(record->field_count > 0 && record->field_count <= BANYAN_FIELDS_MAX);
    return UINT64_MAX >> (64 - record->field_count);
}

static size_t row_bytes(const struct banyan_record *record, uint64_t fields, const char *row)
{
    size_t bytes = record->size;
    for (size_t i = 0; i < record->field_count; i++)
        if (record->fields[i].kind == BANYAN_FIELD_STRING && (fields >> i & 1) != 0)
            bytes += ((const struct banyan_str *)(row + record->fields[i].offset))->size;
    return bytes;
}

void row_change_measure(const struct banyan_legacy_mapping *mapping, struct row_change *change)
{
    const struct banyan_record *record = mapping->tables[change->table].row;
    size_t bytes = BYTES_OF_CHANGE;
    if (change->old_row != NULL)
        bytes += row_bytes(record, change->old_fields, change->old_row);
    if (change->new_row != NULL)
        bytes += row_bytes(record, change->new_fields, change->new_row);
    change->bytes = bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes;
}

/* ---- out ---- */

static void encode_field(const struct banyan_field *field, const char *place, struct banyan_buf *ret)
{
    switch (field->kind) {
    case BANYAN_FIELD_STRING: {
        struct banyan_str text;
        memcpy(&text, place, sizeof(text));
        uint32_t length = text.data == NULL ? 0 : (uint32_t)text.size + 1;
        banyan_buf_add(ret, &length, sizeof(length));
        if (length > 1)
            banyan_buf_add(ret, text.data, text.size);
        return;
    }
    case BANYAN_FIELD_INT:
    case BANYAN_FIELD_TIME:
        banyan_buf_add(ret, place, sizeof(int64_t));
        return;
    case BANYAN_FIELD_BOOL:
        banyan_buf_add_char(ret, (char)*(const bool *)place);
        return;
    case BANYAN_FIELD_DECIMAL: {
        const struct banyan_decimal *decimal = (const struct banyan_decimal *)place;
        banyan_buf_add(ret, &decimal->units, sizeof(decimal->units));
        banyan_buf_add(ret, &decimal->scale, sizeof(decimal->scale));
        return;
    }
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    assert(false);
}

static void encode_row(const struct banyan_record *record, uint64_t fields, const char *row, struct banyan_buf *ret)
{
    banyan_buf_add(ret, &fields, sizeof(fields));
    for (size_t i = 0; i < record->field_count; i++)
        if ((fields >> i & 1) != 0)
            encode_field(&record->fields[i], row + record->fields[i].offset, ret);
}

void row_change_encode(const struct banyan_legacy_mapping *mapping, const struct row_change *change,
                       struct banyan_buf *ret)
{
    const struct banyan_record *record = mapping->tables[change->table].row;
    uint8_t rows = (uint8_t)((change->old_row != NULL ? HAS_OLD : 0) | (change->new_row != NULL ? HAS_NEW : 0) |
                             change->mapping << MAPPING_SHIFT);
    char front[FRONT_SIZE];
    memcpy(front, &change->subxid, 4);
    front[4] = (char)change->kind;
    front[5] = (char)change->table;
    front[6] = (char)rows;
    front[7] = (char)record->field_count;
    memcpy(front + 8, &change->bytes, 4);
    memcpy(front + 12, &change->key, 8);
    banyan_buf_add(ret, front, sizeof(front));
    if (change->old_row != NULL)
        encode_row(record, change->old_fields, change->old_row, ret);
    if (change->new_row != NULL)
        encode_row(record, change->new_fields, change->new_row, ret);
}

/* ---- in ---- */

static bool take(struct banyan_str *data, void *ret, size_t size)
{
    if (data->size < size)
        return false;
    memcpy(ret, data->data, size);
    data->data += size;
    data->size -= size;
    return true;
}

static bool decode_field(const struct banyan_field *field, struct banyan_str *data, struct banyan_arena *arena,
                         char *place)
{
    switch (field->kind) {
    case BANYAN_FIELD_STRING: {
        uint32_t length;
        if (!take(data, &length, sizeof(length)))
            return false;
        struct banyan_str text = {NULL, 0};
        if (length > 0) {
            if (data->size < length - 1)
                return false;
            text = banyan_arena_str(arena, (struct banyan_str){data->data, length - 1});
            data->data += length - 1;
            data->size -= length - 1;
        }
        memcpy(place, &text, sizeof(text));
        return true;
    }
    case BANYAN_FIELD_INT:
    case BANYAN_FIELD_TIME:
        return take(data, place, sizeof(int64_t));
    case BANYAN_FIELD_BOOL: {
        uint8_t value;
        if (!take(data, &value, 1) || value > 1)
            return false;
        *(bool *)place = value == 1;
        return true;
    }
    case BANYAN_FIELD_DECIMAL: {
        struct banyan_decimal *decimal = (struct banyan_decimal *)place;
        return take(data, &decimal->units, sizeof(decimal->units)) &&
               take(data, &decimal->scale, sizeof(decimal->scale));
    }
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    return false;
}

static void *decode_row(const struct banyan_record *record, struct banyan_str *data, struct banyan_arena *arena,
                        uint64_t *ret_fields)
{
    if (!take(data, ret_fields, sizeof(*ret_fields)) || (*ret_fields & ~row_change_all_fields(record)) != 0)
        return NULL;
    char *row = banyan_arena_alloc(arena, record->size);
    banyan_record_init(record, row);
    for (size_t i = 0; i < record->field_count; i++)
        if ((*ret_fields >> i & 1) != 0 &&
            !decode_field(&record->fields[i], data, arena, row + record->fields[i].offset))
            return NULL;
    return row;
}

bool row_change_peek(struct banyan_str data, struct row_change *ret)
{
    if (data.size < FRONT_SIZE)
        return false;
    memset(ret, 0, sizeof(*ret));
    memcpy(&ret->subxid, data.data, 4);
    ret->kind = (uint8_t)data.data[4];
    ret->table = (uint8_t)data.data[5];
    ret->mapping = (uint8_t)data.data[6] >> MAPPING_SHIFT;
    memcpy(&ret->bytes, data.data + 8, 4);
    memcpy(&ret->key, data.data + 12, 8);
    return true;
}

enum banyan_status row_change_decode(const struct banyan_legacy_mapping *mapping, struct banyan_str data,
                                     struct banyan_arena *arena, struct row_change *ret, struct banyan_error *err)
{
    struct row_change change;
    if (!row_change_peek(data, &change) || change.table >= mapping->table_count || change.kind < BANYAN_CHANGE_INSERT ||
        change.kind > BANYAN_CHANGE_DELETE)
        return banyan_error_set(err, BANYAN_CORRUPT, "a stored row change has a damaged front");
    const struct banyan_record *record = mapping->tables[change.table].row;
    uint8_t rows = data.data[6] & (HAS_OLD | HAS_NEW), field_count = (uint8_t)data.data[7];
    if (field_count != record->field_count) {
        banyan_error_set(err, BANYAN_CORRUPT, "a stored row change of table %s has %u fields, the mapping has %zu",
                         mapping->tables[change.table].name, field_count, record->field_count);
        banyan_error_hint(err, "run the build of the domain that started this backfill until it is completed");
        return BANYAN_CORRUPT;
    }
    struct banyan_str rest = {data.data + FRONT_SIZE, data.size - FRONT_SIZE};
    bool ok = true;
    if ((rows & HAS_OLD) != 0) {
        change.old_row = decode_row(record, &rest, arena, &change.old_fields);
        ok = change.old_row != NULL;
    }
    if (ok && (rows & HAS_NEW) != 0) {
        change.new_row = decode_row(record, &rest, arena, &change.new_fields);
        ok = change.new_row != NULL;
    }
    if (!ok || rest.size != 0)
        return banyan_error_set(err, BANYAN_CORRUPT, "a stored row change of table %s is damaged",
                                mapping->tables[change.table].name);
    *ret = change;
    return BANYAN_OK;
}
