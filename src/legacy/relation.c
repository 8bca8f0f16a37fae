/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stream tells of a row depends on the replica identity of its table:
 *
 *                     INSERT   UPDATE                                        DELETE
 *   default, index    new      new; the old identity only when it changed    the old identity
 *   full              new      new and the whole old row                     the whole old row
 *
 * In an old identity everything else is sent as NULL, which means "not told".  In a new row a large value that did not
 * change is not sent; a whole old row has it, and fills it in here.
 */
#include "legacy/relation.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pg/copy.h"

enum {
    FIRST_NORMAL_OID = 16384, /* below are the built-in types */
};

void relations_init(struct relations *relations, const struct legacy_tables *tables, size_t mapping_count)
{
    size_t count = 0, at = 0;
    for (size_t m = 0; m < mapping_count; m++)
        count += tables[m].count;
    *relations = (struct relations){.places = alloc_zeroed(count, sizeof(struct relation_place)), .place_count = count};
    for (size_t m = 0; m < mapping_count; m++)
        for (size_t t = 0; t < tables[m].count; t++)
            relations->places[at++] = (struct relation_place){
                .table = &tables[m].tables[t], .mapping = (uint8_t)m, .index = (uint8_t)t, .next = -1};
    for (size_t i = 0; i < count; i++)
        for (size_t j = i + 1; j < count && relations->places[i].next < 0; j++)
            if (relations->places[j].table->oid == relations->places[i].table->oid)
                relations->places[i].next = (int)j;
}

void relations_release(struct relations *relations)
{
    free(relations->places);
    relations->places = NULL;
}

void relations_reset(struct relations *relations)
{
    for (size_t i = 0; i < relations->place_count; i++)
        relations->places[i].map.known = false;
}

int relations_place(const struct relations *relations, const struct pgoutput_relation *relation)
{
    for (size_t i = 0; i < relations->place_count; i++)
        if (relations->places[i].table->oid == relation->id)
            return (int)i;
    return -1;
}

/* ---- shapes ---- */

static bool type_fits(const struct legacy_table *table, size_t field, uint32_t type)
{
    if (type == table->column_oids[field])
        return true;
    /* Types made by users can only be enums here: everything else that fits is built in. */
    return pg_type_fits(type, type >= FIRST_NORMAL_OID, table->spec->row->fields[field].kind);
}

static enum banyan_status map_field(const struct legacy_table *table, size_t field,
                                    const struct pgoutput_relation *relation, struct relation_map *map,
                                    struct banyan_error *err)
{
    struct banyan_str name = banyan_str_of(table->spec->row->fields[field].name);
    for (uint16_t c = 0; c < relation->column_count; c++) {
        const struct pgoutput_column *column = &relation->columns[c];
        if (!banyan_str_equal(column->name, name))
            continue;
        if (!type_fits(table, field, column->type)) {
            banyan_error_set(err, BANYAN_TABLE, "table %s, column %s: its type was changed and no longer fits",
                             table->spec->name, name.data);
            banyan_error_detail(err, "type oid %u, it was %u when capture started", column->type,
                                table->column_oids[field]);
            banyan_error_hint(err, "adapt the mapping of the domain to the new type and start again");
            return BANYAN_TABLE;
        }
        map->column[field] = c;
        map->type[field] = column->type;
        if (column->identity || relation->identity == 'f')
            map->identity |= UINT64_C(1) << field;
        return BANYAN_OK;
    }
    banyan_error_set(err, BANYAN_TABLE, "table %s: the column %s is gone from the stream", table->spec->name,
                     name.data);
    banyan_error_hint(err, "it was dropped, renamed or left out of the publication while it was captured; bring it "
                           "back, or adapt the mapping of the domain and start again");
    return BANYAN_TABLE;
}

static enum banyan_status map_relation(const struct legacy_table *table, const struct pgoutput_relation *relation,
                                       struct relation_map *map, struct banyan_error *err)
{
    struct relation_map made = {.column_count = relation->column_count};
    for (size_t i = 0; i < table->spec->row->field_count; i++) {
        enum banyan_status status = map_field(table, i, relation, &made, err);
        if (status != BANYAN_OK)
            return status;
    }
    made.known = true;
    made.generation = relation->generation;
    *map = made;
    return BANYAN_OK;
}

/* ---- rows ---- */

struct decoding {
    const struct legacy_table *table;
    const struct relation_map *map;
    struct banyan_arena *arena;
};

static enum banyan_status decode_cell(const struct decoding *d, size_t i, const struct pgoutput_cell *cell, void *row,
                                      struct banyan_error *err)
{
    const struct banyan_field *field = &d->table->spec->row->fields[i];
    enum banyan_status status;
    if (cell->kind == PGOUTPUT_CELL_TEXT)
        status = pg_cell_parse(field, d->map->type[i], cell->data, d->arena, row, err);
    else if (cell->kind == PGOUTPUT_CELL_BINARY)
        status = pg_cell_decode(field, d->map->type[i], cell->data, d->arena, row, err);
    else
        status = pg_cell_decode(field, d->map->type[i], (struct banyan_str){NULL, 0}, d->arena, row, err);
    if (status != BANYAN_OK)
        banyan_error_context(err, "table %s, column %s", d->table->spec->name, field->name);
    return status;
}

/* *only*: the fields that the tuple tells. */
static enum banyan_status decode_tuple(const struct decoding *d, const struct pgoutput_tuple *tuple, uint64_t only,
                                       void **ret_row, uint64_t *ret_fields, struct banyan_error *err)
{
    const struct banyan_record *record = d->table->spec->row;
    if (tuple->cell_count < d->map->column_count)
        return banyan_error_set(err, BANYAN_PROTOCOL, "table %s: a row of %u columns, its description has %u",
                                d->table->spec->name, tuple->cell_count, d->map->column_count);
    void *row = banyan_arena_alloc(d->arena, record->size);
    banyan_record_init(record, row);
    uint64_t fields = 0;
    for (size_t i = 0; i < record->field_count; i++) {
        const struct pgoutput_cell *cell = &tuple->cells[d->map->column[i]];
        if ((only >> i & 1) == 0 || cell->kind == PGOUTPUT_CELL_UNCHANGED)
            continue;
        enum banyan_status status = decode_cell(d, i, cell, row, err);
        if (status != BANYAN_OK)
            return status;
        fields |= UINT64_C(1) << i;
    }
    *ret_row = row;
    *ret_fields = fields;
    return BANYAN_OK;
}

static void copy_field(const struct banyan_field *field, void *to, const void *from)
{
    static const size_t sizes[] = {
        [BANYAN_FIELD_STRING] = sizeof(struct banyan_str),
        [BANYAN_FIELD_INT] = sizeof(int64_t),
        [BANYAN_FIELD_BOOL] = sizeof(bool),
        [BANYAN_FIELD_TIME] = sizeof(struct banyan_time),
        [BANYAN_FIELD_DECIMAL] = sizeof(struct banyan_decimal),
    };
    memcpy((char *)to + field->offset, (const char *)from + field->offset, sizes[field->kind]);
}

void relations_fill(const struct banyan_record *record, void *row, uint64_t *fields, const void *from)
{
    for (size_t i = 0; i < record->field_count; i++)
        if ((*fields >> i & 1) == 0)
            copy_field(&record->fields[i], row, from);
    *fields = row_change_all_fields(record);
}

static enum banyan_status decode_message(const struct decoding *d, const struct pgoutput_message *message,
                                         struct row_change *change, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    uint64_t all = row_change_all_fields(d->table->spec->row);
    if (message->old.cell_count > 0)
        status = decode_tuple(d, &message->old, message->old_kind == 'O' ? all : d->map->identity, &change->old_row,
                              &change->old_fields, err);
    if (status == BANYAN_OK && message->kind != PGOUTPUT_DELETE)
        status = decode_tuple(d, &message->new, all, &change->new_row, &change->new_fields, err);
    if (status != BANYAN_OK || change->new_row == NULL || change->new_fields == all || change->old_fields != all)
        return status;
    relations_fill(d->table->spec->row, change->new_row, &change->new_fields, change->old_row);
    return BANYAN_OK;
}

/* ---- changes ---- */

static enum banyan_status add_moved(const struct row_change *change, int64_t old_key, struct transaction *tx,
                                    struct banyan_error *err)
{
    struct row_change half = *change;
    half.kind = BANYAN_CHANGE_DELETE;
    half.key = old_key;
    half.new_row = NULL;
    half.new_fields = 0;
    /* Both at once: adding one alone could spill, which gives the memory of the other's row back. */
    struct row_change halves[2] = {half, *change};
    halves[1].kind = BANYAN_CHANGE_INSERT;
    halves[1].old_row = NULL;
    halves[1].old_fields = 0;
    return transaction_add(tx, halves, 2, err);
}

static enum banyan_status add_to_place(struct relations *relations, struct relation_place *place,
                                       const struct pgoutput_message *message, struct transaction *tx,
                                       struct banyan_error *err)
{
    const struct legacy_table *table = place->table;
    enum banyan_status status = BANYAN_OK;
    if (!place->map.known || place->map.generation != message->relation->generation)
        status = map_relation(table, message->relation, &place->map, err);
    if (status != BANYAN_OK)
        return status;
    struct decoding decoding = {table, &place->map, transaction_arena(tx)};
    struct row_change change = {.subxid = message->xid, .mapping = place->mapping, .table = place->index};
    status = decode_message(&decoding, message, &change, err);
    if (status != BANYAN_OK)
        return status;
    bool old_key_known = change.old_row != NULL && (change.old_fields >> table->key_field & 1) != 0;
    int64_t old_key = old_key_known ? legacy_table_key(table, change.old_row) : 0;
    if (message->kind == PGOUTPUT_DELETE) {
        if (!old_key_known) {
            if (relations->without_key++ == 0)
                relations->without_key_table = table->spec->name;
            return BANYAN_OK;
        }
        change.kind = BANYAN_CHANGE_DELETE;
        change.key = old_key;
        return transaction_add(tx, &change, 1, err);
    }
    change.key = legacy_table_key(table, change.new_row);
    change.kind = message->kind == PGOUTPUT_INSERT ? BANYAN_CHANGE_INSERT : BANYAN_CHANGE_UPDATE;
    if (change.kind == BANYAN_CHANGE_UPDATE && old_key_known && old_key != change.key)
        return add_moved(&change, old_key, tx, err);
    return transaction_add(tx, &change, 1, err);
}

enum banyan_status relations_add(struct relations *relations, const struct pgoutput_message *message,
                                 struct transaction *tx, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    /* Each place decodes for itself: adding may spill what was decoded before, and give its memory back. */
    for (int i = relations_place(relations, message->relation); i >= 0 && status == BANYAN_OK;
         i = relations->places[i].next)
        status = add_to_place(relations, &relations->places[i], message, tx, err);
    return status;
}
