/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sorting rows by digits: see rebuild_order.h.
 *
 * `changed` of a row carries the number that it is sorted by meanwhile; in the end it is what it was, UINT64_MAX.
 * Texts go in the order of their bytes.  A store of another collation sorts them again, and nothing is lost.
 */
#include "projection/rebuild_order.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "banyan/record.h"
#include "base/alloc.h"

enum {
    TEXTS_MAX = 1 << 16, /* different ones that are ranked; where there are more, they differ early */
    TEXT_SLOTS = TEXTS_MAX * 2,
    AHEAD = 16, /* rows: prefetching */
};

static const uint64_t sign = UINT64_C(1) << 63;

/* Least digit first, a byte at a time; stable; digits that are the same in all cost one look. */
static void sort_by_number(struct sink_row **rows, struct sink_row **spare, size_t count)
{
    size_t counts[8][256] = {{0}};
    for (size_t i = 0; i < count; i++)
        for (unsigned digit = 0; digit < 8; digit++)
            counts[digit][(*rows)[i].changed >> (digit * 8) & 255]++;
    for (unsigned digit = 0; digit < 8; digit++) {
        size_t at = 0;
        bool same = false;
        for (unsigned value = 0; value < 256; value++) {
            size_t here = counts[digit][value];
            same |= here == count;
            counts[digit][value] = at;
            at += here;
        }
        if (same)
            continue;
        for (size_t i = 0; i < count; i++)
            (*spare)[counts[digit][(*rows)[i].changed >> (digit * 8) & 255]++] = (*rows)[i];
        struct sink_row *swapped = *rows;
        *rows = *spare;
        *spare = swapped;
    }
}

static void prefetch(const struct sink_row *rows, size_t at, size_t count, size_t offset)
{
    if (at + AHEAD < count)
        __builtin_prefetch((const char *)rows[at + AHEAD].row + offset, 0, 1);
}

/* ---- texts ---- */

struct texts {
    struct banyan_str *texts; /* of each number */
    uint32_t *slots;          /* number and 1; 0: free */
    size_t count;
};

static struct banyan_str text_of(const struct sink_row *row, size_t offset)
{
    return *(const struct banyan_str *)(const void *)((const char *)row->row + offset);
}

/* The number of *text*, or TEXTS_MAX: there are too many. */
static size_t number_of(struct texts *texts, struct banyan_str text)
{
    size_t slot = XXH3_64bits(text.data, text.size) & (TEXT_SLOTS - 1);
    while (texts->slots[slot] != 0 && !banyan_str_equal(texts->texts[texts->slots[slot] - 1], text))
        slot = (slot + 1) & (TEXT_SLOTS - 1);
    if (texts->slots[slot] == 0) {
        if (texts->count == TEXTS_MAX)
            return TEXTS_MAX;
        texts->texts[texts->count++] = text;
        texts->slots[slot] = (uint32_t)texts->count;
    }
    return texts->slots[slot] - 1;
}

static int compare_texts(struct banyan_str a, struct banyan_str b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_numbered(const void *a, const void *b, void *context)
{
    const struct banyan_str *texts = context;
    return compare_texts(texts[*(const uint32_t *)a], texts[*(const uint32_t *)b]);
}

/* Numbers become ranks. */
static void rank(const struct texts *texts, struct sink_row *rows, size_t count)
{
    uint32_t *order = alloc_zeroed(texts->count + 1, sizeof(*order));
    uint64_t *ranks = alloc_zeroed(texts->count + 1, sizeof(*ranks));
    for (size_t i = 0; i < texts->count; i++)
        order[i] = (uint32_t)i;
    qsort_r(order, texts->count, sizeof(*order), compare_numbered, texts->texts);
    for (size_t i = 0; i < texts->count; i++)
        ranks[order[i]] = i;
    for (size_t i = 0; i < count; i++)
        rows[i].changed = rows[i].changed == UINT64_MAX ? UINT64_MAX : ranks[rows[i].changed];
    free(order);
    free(ranks);
}

/* The first bytes, for texts that differ early. */
static void begin_of(struct sink_row *rows, size_t count, size_t offset)
{
    for (size_t i = 0; i < count; i++) {
        struct banyan_str text = text_of(&rows[i], offset);
        uint64_t begin = 0;
        prefetch(rows, i, count, offset);
        for (size_t at = 0; at < 8; at++)
            begin = begin << 8 | (at < text.size ? (unsigned char)text.data[at] : 0);
        rows[i].changed = text.data == NULL ? UINT64_MAX : begin;
    }
}

/* Rows without a text come last. */
static void number_texts(struct sink_row *rows, size_t count, size_t offset)
{
    struct texts texts = {.texts = alloc_zeroed(TEXTS_MAX, sizeof(*texts.texts)),
                          .slots = alloc_zeroed(TEXT_SLOTS, sizeof(*texts.slots))};
    size_t number = 0;
    for (size_t i = 0; i < count && number < TEXTS_MAX; i++) {
        struct banyan_str text = text_of(&rows[i], offset);
        prefetch(rows, i, count, offset);
        number = text.data == NULL ? 0 : number_of(&texts, text);
        rows[i].changed = text.data == NULL ? UINT64_MAX : number;
    }
    if (number < TEXTS_MAX)
        rank(&texts, rows, count);
    else
        begin_of(rows, count, offset);
    free(texts.texts);
    free(texts.slots);
}

/* ---- lists ---- */

static void number_values(const struct banyan_field *field, struct sink_row *rows, size_t count)
{
    if (field->kind == BANYAN_FIELD_STRING) {
        number_texts(rows, count, field->offset);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const char *value = (const char *)rows[i].row + field->offset;
        prefetch(rows, i, count, field->offset);
        rows[i].changed = field->kind == BANYAN_FIELD_INT    ? (uint64_t)(*(const int64_t *)(const void *)value) ^ sign
                          : field->kind == BANYAN_FIELD_BOOL ? (uint64_t)(*(const bool *)value)
                                                             : 0;
    }
}

/* Newest first, those without a time last. */
static void number_times(const struct banyan_field *field, struct sink_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t us = *(const int64_t *)(const void *)((const char *)rows[i].row + field->offset);
        prefetch(rows, i, count, field->offset);
        rows[i].changed = us == BANYAN_TIME_NULL ? UINT64_MAX : ~((uint64_t)us ^ sign);
    }
}

void rebuild_order(const struct banyan_table *table, const struct banyan_view_index *list, struct sink_row **rows,
                   struct sink_row **spare, size_t count)
{
    /* The largest key first in a list. */
    uint64_t turned = list == NULL ? 0 : UINT64_MAX;
    for (size_t i = 0; i < count; i++)
        (*rows)[i].changed = ((uint64_t)(*rows)[i].key ^ sign) ^ turned;
    sort_by_number(rows, spare, count);
    if (list != NULL) {
        number_times(banyan_record_field(table->row, banyan_str_of(list->range)), *rows, count);
        sort_by_number(rows, spare, count);
        number_values(banyan_record_field(table->row, banyan_str_of(list->equal)), *rows, count);
        sort_by_number(rows, spare, count);
    }
    for (size_t i = 0; i < count; i++)
        (*rows)[i].changed = UINT64_MAX;
}
