/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a projection's rows are made by, as a hash over an encoding that no two definitions share: each text has its
 * length in front, each list its count, "none" differs from "empty".
 *
 * The first half of the digits is over what a reader must know (tables and columns), the second over everything: so a
 * reader of the program of today can tell whether it understands rows that an earlier definition made.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "banyan/buf.h"
#include "banyan/record.h"
#include "projection/sink.h"

enum {
    FORM_BYTES_MAX = 16 * 1024 * 1024,
    HALF = SINK_FORM_DIGITS / 2,
};

static_assert(HALF == 16, "a half is the digits of 64 bits");

static void add_text(struct banyan_buf *ret, const char *text)
{
    if (text == NULL)
        banyan_buf_add_text(ret, "-;");
    else
        banyan_buf_printf(ret, "%zu:%s;", strlen(text), text);
}

static void add_number(struct banyan_buf *ret, uint64_t number)
{
    banyan_buf_printf(ret, "%llu;", (unsigned long long)number);
}

static void add_texts(struct banyan_buf *ret, const char *const *texts)
{
    for (; texts != NULL && *texts != NULL; texts++)
        add_text(ret, *texts);
    add_text(ret, NULL);
}

static void add_layout(struct banyan_buf *ret, const struct banyan_projection *projection)
{
    add_number(ret, projection->table_count);
    for (size_t i = 0; i < projection->table_count; i++) {
        const struct banyan_table *table = &projection->tables[i];
        add_text(ret, table->name);
        add_text(ret, table->key_column);
        add_number(ret, table->row->field_count);
        for (size_t f = 0; f < table->row->field_count; f++) {
            const struct banyan_field *field = &table->row->fields[f];
            add_text(ret, field->name);
            add_number(ret, field->kind);
            add_number(ret, field->flags);
            add_number(ret, (uint32_t)field->scale);
        }
        add_number(ret, table->index_count);
        for (size_t n = 0; n < table->index_count; n++) {
            add_text(ret, table->indexes[n].name);
            add_text(ret, table->indexes[n].equal);
            add_text(ret, table->indexes[n].range);
        }
        add_texts(ret, table->search);
    }
}

static void add_making(struct banyan_buf *ret, const struct banyan_projection *projection)
{
    add_text(ret, projection->name);
    add_number(ret, projection->version);
    add_texts(ret, projection->categories);
    add_number(ret, projection->types == NULL ? 0 : 1 + (uint64_t)projection->type_count);
    for (size_t i = 0; projection->types != NULL && i < projection->type_count; i++)
        add_number(ret, projection->types[i]);
    add_number(ret, projection->spread);
    add_number(ret, projection->archived);
}

void sink_form(const struct banyan_projection *projection, char ret[SINK_FORM_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    struct banyan_buf text = BANYAN_BUF_INIT(FORM_BYTES_MAX);
    add_layout(&text, projection);
    XXH64_hash_t layout = XXH3_64bits(text.data, text.size);
    add_making(&text, projection);
    XXH64_hash_t all = XXH3_64bits(text.data, text.size);
    banyan_buf_release(&text);
    for (int i = 0; i < HALF; i++) {
        ret[i] = digits[layout >> (60 - 4 * i) & 15];
        ret[HALF + i] = digits[all >> (60 - 4 * i) & 15];
    }
    ret[2 * HALF] = '\0';
}

bool sink_form_readable(const char *stored, const char *wanted)
{
    return strncmp(stored, wanted, HALF) == 0;
}

void sink_form_marked(const struct banyan_projection *projection, struct sink_mark ready, char ret[SINK_FORM_SIZE])
{
    sink_form(projection, ret);
    if (ready.partial)
        (void)snprintf(ret + SINK_FORM_DIGITS, SINK_FORM_SIZE - SINK_FORM_DIGITS, "+%016" PRIx64,
                       (uint64_t)ready.from); /* always 17 characters */
}

struct sink_mark sink_form_mark(const char *stored)
{
    if (strnlen(stored, SINK_FORM_SIZE) != SINK_FORM_SIZE - 1 || stored[SINK_FORM_DIGITS] != '+')
        return (struct sink_mark){.partial = false};
    return (struct sink_mark){.partial = true, .from = (int64_t)strtoull(stored + SINK_FORM_DIGITS + 1, NULL, 16)};
}

bool sink_form_same(const char *stored, const char *wanted)
{
    return strncmp(stored, wanted, SINK_FORM_DIGITS) == 0 &&
           (stored[SINK_FORM_DIGITS] == '\0' || sink_form_mark(stored).partial);
}
