/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows in the order that ORDER BY key, <order columns> would give.
 *
 * The keys of a chunk lie close together, so they are sorted by a radix over their distance from the smallest; the few
 * rows of each key are then sorted by comparing.  Both steps are stable.
 */
#include <stdlib.h>
#include <string.h>

#include "legacy/backfill_rows.h"

enum {
    RADIX_BITS = 11,
    RADIX_SIZE = 1 << RADIX_BITS,
    INSERTION_MAX = 24, /* rows of a key; more are merged */
};

struct keyed {
    uint64_t distance; /* of the key from the smallest */
    const void *row;
};

struct order {
    const struct banyan_field *fields[BANYAN_FIELDS_MAX];
    size_t count;
};

static const struct banyan_field *order_field(const struct banyan_legacy_table *table, size_t at)
{
    return banyan_record_field(table->row, banyan_str_of(table->order_columns[at]));
}

bool backfill_rows_sortable(const struct banyan_legacy_table *table)
{
    for (size_t i = 0; table->order_columns != NULL && table->order_columns[i] != NULL; i++) {
        const struct banyan_field *field = order_field(table, i);
        if (field == NULL || field->kind == BANYAN_FIELD_STRING || i == BANYAN_FIELDS_MAX)
            return false;
    }
    return true;
}

/* ---- comparing ---- */

static int compare_int(int64_t a, int64_t b)
{
    return a < b ? -1 : a > b;
}

/* "No value" comes last; it is the smallest time. */
static int compare_time(struct banyan_time a, struct banyan_time b)
{
    if (a.us == BANYAN_TIME_NULL || b.us == BANYAN_TIME_NULL)
        return (a.us == BANYAN_TIME_NULL) - (b.us == BANYAN_TIME_NULL);
    return compare_int(a.us, b.us);
}

static int compare_decimal(struct banyan_decimal a, struct banyan_decimal b)
{
    if (banyan_decimal_is_null(a) || banyan_decimal_is_null(b))
        return banyan_decimal_is_null(a) - banyan_decimal_is_null(b);
    return banyan_decimal_compare(a, b);
}

static int compare_field(const struct banyan_field *field, const void *a, const void *b)
{
    const char *x = (const char *)a + field->offset, *y = (const char *)b + field->offset;
    switch (field->kind) {
    case BANYAN_FIELD_INT:
        return compare_int(*(const int64_t *)x, *(const int64_t *)y);
    case BANYAN_FIELD_BOOL:
        return *(const bool *)x - *(const bool *)y;
    case BANYAN_FIELD_TIME:
        return compare_time(*(const struct banyan_time *)x, *(const struct banyan_time *)y);
    case BANYAN_FIELD_DECIMAL:
        return compare_decimal(*(const struct banyan_decimal *)x, *(const struct banyan_decimal *)y);
    default:
        abort(); /* backfill_rows_sortable() was not asked */
    }
}

static int compare_rows(const struct order *order, const void *a, const void *b)
{
    for (size_t i = 0; i < order->count; i++) {
        int result = compare_field(order->fields[i], a, b);
        if (result != 0)
            return result;
    }
    return 0;
}

static void sort_few(const struct order *order, const void **rows, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const void *row = rows[i];
        size_t at = i;
        for (; at > 0 && compare_rows(order, rows[at - 1], row) > 0; at--)
            rows[at] = rows[at - 1];
        rows[at] = row;
    }
}

/* Merge sort, bottom up, in pieces that begin sorted. */
static void sort_many(const struct order *order, const void **rows, size_t count, struct banyan_arena *arena)
{
    const void **from = rows, **to = banyan_arena_alloc(arena, count * sizeof(*to));
    for (size_t i = 0; i < count; i += INSERTION_MAX)
        sort_few(order, rows + i, count - i < INSERTION_MAX ? count - i : INSERTION_MAX);
    for (size_t width = INSERTION_MAX; width < count; width *= 2) {
        for (size_t start = 0; start < count; start += 2 * width) {
            size_t left = start, middle = start + width < count ? start + width : count;
            size_t right = middle, end = start + 2 * width < count ? start + 2 * width : count;
            for (size_t i = start; i < end; i++) {
                bool take_left = left < middle && (right == end || compare_rows(order, from[left], from[right]) <= 0);
                to[i] = take_left ? from[left++] : from[right++];
            }
        }
        const void **swapped = from;
        from = to;
        to = swapped;
    }
    if (from != rows)
        memcpy(rows, from, count * sizeof(*rows));
}

/* ---- by key ---- */

static struct keyed *sort_keys(struct keyed *items, size_t count, uint64_t distance_max, struct banyan_arena *arena)
{
    struct keyed *other = banyan_arena_alloc(arena, count * sizeof(*other));
    for (unsigned shift = 0; shift < 64 && distance_max >> shift > 0; shift += RADIX_BITS) {
        size_t starts[RADIX_SIZE] = {0};
        for (size_t i = 0; i < count; i++)
            starts[items[i].distance >> shift & (RADIX_SIZE - 1)]++;
        for (size_t digit = 0, sum = 0; digit < RADIX_SIZE; digit++) {
            size_t here = starts[digit];
            starts[digit] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++)
            other[starts[items[i].distance >> shift & (RADIX_SIZE - 1)]++] = items[i];
        struct keyed *swapped = items;
        items = other;
        other = swapped;
    }
    return items;
}

void backfill_rows_sort(const struct legacy_table *table, const void **rows, size_t count, struct banyan_arena *arena)
{
    const struct banyan_legacy_table *spec = table->spec;
    struct order order = {.count = 0};
    if (count < 2)
        return;
    for (size_t i = 0; spec->order_columns != NULL && spec->order_columns[i] != NULL; i++)
        order.fields[order.count++] = order_field(spec, i);
    int64_t low = INT64_MAX, high = INT64_MIN;
    for (size_t i = 0; i < count; i++) {
        int64_t key = legacy_table_key(table, rows[i]);
        low = key < low ? key : low;
        high = key > high ? key : high;
    }
    struct keyed *items = banyan_arena_alloc(arena, count * sizeof(*items));
    for (size_t i = 0; i < count; i++)
        items[i] = (struct keyed){(uint64_t)legacy_table_key(table, rows[i]) - (uint64_t)low, rows[i]};
    items = sort_keys(items, count, (uint64_t)high - (uint64_t)low, arena);
    for (size_t start = 0, end; start < count; start = end) {
        for (end = start; end < count && items[end].distance == items[start].distance; end++)
            rows[end] = items[end].row;
        if (end - start <= INSERTION_MAX)
            sort_few(&order, rows + start, end - start);
        else
            sort_many(&order, rows + start, end - start, arena);
    }
}
