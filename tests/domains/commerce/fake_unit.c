/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "banyan/buf.h"
#include "fake_unit.h"

static const struct banyan_table *table_of(const struct banyan_unit *unit, unsigned table)
{
    assert_true(table < unit->projection->table_count);
    return &unit->projection->tables[table];
}

static int64_t key_in(const struct banyan_table *table, const void *row)
{
    const struct banyan_field *field = banyan_record_field(table->row, banyan_str_of(table->key_column));

    assert_non_null(field);
    return *(const int64_t *)((const char *)row + field->offset);
}

static struct fake_row *find(const struct banyan_unit *unit, unsigned table, int64_t key)
{
    for (size_t i = 0; i < unit->count; i++) {
        if (unit->rows[i].table == table && unit->rows[i].key == key)
            return &unit->rows[i];
    }
    return NULL;
}

static void check_bound(const struct banyan_unit *unit, int64_t key)
{
    if (unit->projection->spread == BANYAN_PARTITIONED)
        assert_int_equal(key, unit->bound);
}

const void *fake_row(const struct banyan_unit *unit, unsigned table, int64_t key)
{
    const struct fake_row *row = find(unit, table, key);

    return row == NULL || !row->present ? NULL : row->row;
}

size_t fake_count(const struct banyan_unit *unit, unsigned table)
{
    size_t count = 0;

    for (size_t i = 0; i < unit->count; i++)
        count += unit->rows[i].table == table && unit->rows[i].present;
    return count;
}

const void *banyan_unit_get(struct banyan_unit *unit, unsigned table, int64_t key)
{
    check_bound(unit, key);
    return fake_row(unit, table, key);
}

void banyan_unit_put(struct banyan_unit *unit, unsigned table, int64_t key, const void *row)
{
    const struct banyan_record *record = table_of(unit, table)->row;
    struct banyan_buf encoded = BANYAN_BUF_INIT(1 << 20);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct fake_row *kept = find(unit, table, key);
    void *copy = banyan_arena_zalloc(unit->arena, record->size);

    check_bound(unit, key);
    assert_int_equal(key_in(table_of(unit, table), row), key);
    if (banyan_record_encode(record, row, &encoded, &err) != BANYAN_OK)
        fail_msg("%s: a row cannot be stored: %s", unit->projection->name, err.message);
    banyan_buf_release(&encoded);
    banyan_record_copy(record, copy, row, unit->arena);
    if (kept == NULL) {
        if (unit->count == unit->capacity) {
            struct fake_row *grown;

            unit->capacity = unit->capacity == 0 ? 64 : 2 * unit->capacity;
            grown = banyan_arena_alloc(unit->arena, unit->capacity * sizeof(*grown));
            if (unit->count > 0)
                memcpy(grown, unit->rows, unit->count * sizeof(*grown));
            unit->rows = grown;
        }
        kept = &unit->rows[unit->count++];
    }
    *kept = (struct fake_row){table, key, copy, true};
}

void banyan_unit_delete(struct banyan_unit *unit, unsigned table, int64_t key)
{
    struct fake_row *row = find(unit, table, key);

    check_bound(unit, key);
    if (row != NULL)
        row->present = false;
}

void fake_apply(struct banyan_unit *unit, const struct banyan_seen *event, const char *category)
{
    const struct banyan_projection *projection = unit->projection;
    struct banyan_seen seen = *event;
    bool wanted = false;

    for (size_t i = 0; projection->categories[i] != NULL; i++)
        wanted |= strcmp(projection->categories[i], category) == 0;
    for (size_t i = 0; wanted && projection->types != NULL; i++) {
        wanted = i < projection->type_count;
        if (wanted && projection->types[i] == event->type)
            break;
    }
    if (!wanted || (projection->key != NULL && !projection->key(event, &seen.key)))
        return;
    unit->bound = seen.key;
    projection->apply(&seen, unit);
}

/* ---- queries ---- */

struct banyan_reader {
    struct banyan_unit *unit;
};

struct listed {
    const void *row;
    int64_t at;
    int64_t key;
};

static int newest_first(const void *a, const void *b)
{
    const struct listed *left = a, *right = b;

    if (left->at != right->at)
        return left->at > right->at ? -1 : 1;
    return (left->key > right->key) - (left->key < right->key);
}

static bool is_listed(const struct banyan_reader_list *list, const struct banyan_record *record, const void *row,
                      int64_t *ret_at)
{
    const struct banyan_field *equal, *range;
    struct banyan_buf text = BANYAN_BUF_INIT(1 << 16);
    bool same;

    *ret_at = 0;
    if (list->index == NULL)
        return true;
    equal = banyan_record_field(record, banyan_str_of(list->index->equal));
    range = banyan_record_field(record, banyan_str_of(list->index->range));
    assert_true(equal != NULL && range != NULL && range->kind == BANYAN_FIELD_TIME);
    banyan_field_text(equal, row, &text);
    same = text.size == list->equal.size && (text.size == 0 || memcmp(text.data, list->equal.data, text.size) == 0);
    banyan_buf_release(&text);
    *ret_at = ((const struct banyan_time *)((const char *)row + range->offset))->us;
    return same && (list->from.us == BANYAN_TIME_NULL || *ret_at >= list->from.us) &&
           (list->to.us == BANYAN_TIME_NULL || *ret_at < list->to.us);
}

void banyan_reader_each(struct banyan_reader *reader, const struct banyan_reader_list *list,
                        bool (*fn)(void *context, const void *row), void *context)
{
    struct banyan_unit *unit = reader->unit;
    struct listed *listed = banyan_arena_alloc(unit->arena, (unit->count + 1) * sizeof(*listed));
    size_t count = 0;

    for (size_t i = 0; i < unit->count; i++) {
        const struct fake_row *row = &unit->rows[i];
        int64_t at;

        if (row->present && row->table == list->table &&
            is_listed(list, table_of(unit, list->table)->row, row->row, &at))
            listed[count++] = (struct listed){row->row, at, row->key};
    }
    qsort(listed, count, sizeof(*listed), newest_first);
    for (size_t i = 0; i < count && (list->limit == 0 || i < list->limit); i++) {
        if (!fn(context, listed[i].row))
            break;
    }
}

struct banyan_arena *banyan_reader_arena(struct banyan_reader *reader)
{
    return reader->unit->arena;
}

void banyan_answer_row(struct banyan_answer *answer, const void *row)
{
    assert_true(answer->count < sizeof(answer->rows) / sizeof(answer->rows[0]));
    answer->rows[answer->count] = banyan_arena_zalloc(answer->arena, answer->record->size);
    banyan_record_copy(answer->record, answer->rows[answer->count++], row, answer->arena);
}

void banyan_answer_refuse(struct banyan_answer *answer, const char *text)
{
    assert_true(strlen(text) > 0);
    answer->refused = true;
    answer->count = 0;
}

void fake_ask(struct banyan_unit *unit, const struct banyan_query *query, const void *arguments,
              struct banyan_answer *ret)
{
    struct banyan_reader reader = {unit};

    ret->record = query->row;
    ret->arena = unit->arena;
    ret->count = 0;
    ret->refused = false;
    query->answer(arguments, &reader, ret);
}
