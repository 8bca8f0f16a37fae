/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/sql.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SQL_BYTES_MAX = 16 * 1024 * 1024,
};

static void add_table(struct banyan_buf *sql, const struct catalog_table *table)
{
    if (table->schema.size > 0) {
        pg_add_identifier(sql, table->schema);
        banyan_buf_add_text(sql, ".");
    }
    pg_add_identifier(sql, table->name);
}

static void add_text(struct banyan_buf *sql, struct banyan_str text)
{
    banyan_buf_add(sql, text.data, text.size);
}

static void add_number(struct banyan_buf *sql, int64_t number)
{
    char digits[24];

    (void)snprintf(digits, sizeof(digits), "%" PRId64, number); /* fits */
    banyan_buf_add_text(sql, digits);
}

struct banyan_str sql_make_list(struct banyan_arena *arena, const char *format, va_list list)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_BYTES_MAX);
    struct banyan_str ret;

    for (const char *at = format; *at != '\0'; at++) {
        if (*at != '%') {
            banyan_buf_add(&sql, at, 1);
            continue;
        }
        switch (*++at) {
        case 'I':
            pg_add_identifier(&sql, va_arg(list, struct banyan_str));
            break;
        case 'i':
            pg_add_identifier(&sql, banyan_str_of(va_arg(list, const char *)));
            break;
        case 'T':
            add_table(&sql, va_arg(list, const struct catalog_table *));
            break;
        case 'L':
            pg_add_literal(&sql, va_arg(list, struct banyan_str));
            break;
        case 'S':
            add_text(&sql, va_arg(list, struct banyan_str));
            break;
        case 's':
            banyan_buf_add_text(&sql, va_arg(list, const char *));
            break;
        case 'd':
            add_number(&sql, va_arg(list, int64_t));
            break;
        case '%':
            banyan_buf_add_text(&sql, "%");
            break;
        default:
            abort();
        }
    }
    if (sql.overflow) /* cut SQL must never run */
        abort();
    ret = banyan_arena_str(arena, banyan_buf_str(&sql));
    banyan_buf_release(&sql);
    return ret;
}

struct banyan_str sql_make(struct banyan_arena *arena, const char *format, ...)
{
    struct banyan_str ret;
    va_list list;

    va_start(list, format);
    ret = sql_make_list(arena, format, list);
    va_end(list);
    return ret;
}
