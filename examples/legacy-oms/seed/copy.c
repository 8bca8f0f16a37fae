// SPDX-License-Identifier: Apache-2.0
/* COPY in text form, with the secondary indexes and the foreign key taken off meanwhile and put back as they were:
 * that takes a third of the time of loading with them. */
#include "copy.h"

#include "../common/money.h"
#include "model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_BYTES_MAX 512
#define BLOCK_BYTES (256 * 1024)

struct block {
    PGconn *conn;
    bool failed;
    size_t length;
    char data[BLOCK_BYTES];
};

static bool run(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;

    if (!done)
        fprintf(stderr, "legacy-seed: %s", PQresultErrorMessage(result));
    PQclear(result);
    return done;
}

static void block_send(struct block *block)
{
    if (!block->failed && PQputCopyData(block->conn, block->data, (int)block->length) != 1)
        block->failed = true;
    block->length = 0;
}

/* Where the next line goes; block_line_end() takes what was written there. */
static char *block_line(struct block *block)
{
    if (block->length + LINE_BYTES_MAX > BLOCK_BYTES)
        block_send(block);
    return block->data + block->length;
}

static void block_line_end(struct block *block, const char *end)
{
    block->length = (size_t)(end - block->data);
}

static char *put_text(char *to, const char *text, char separator)
{
    size_t length = strlen(text);

    memcpy(to, text, length);
    to[length] = separator;
    return to + length + 1;
}

static char *put_number(char *to, int64_t number, char separator)
{
    char digits[24];
    int length = 0;

    do {
        digits[length++] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    while (length)
        *to++ = digits[--length];
    *to++ = separator;
    return to;
}

static char *put_padded(char *to, int64_t number, int width, char separator)
{
    for (int i = width - 1; i >= 0; i--, number /= 10)
        to[i] = (char)('0' + number % 10);
    to[width] = separator;
    return to + width + 1;
}

static char *put_money(char *to, int64_t units, char separator)
{
    to = put_number(to, units / MONEY_ONE, '.');
    return put_padded(to, units % MONEY_ONE, 8, separator);
}

/* "2026-05-01 12:00:00.000000+00", by the usual count of days from 1 March of year 0. */
static char *put_time(char *to, int64_t at_us, char separator)
{
    int64_t seconds = at_us / 1000000, days = seconds / 86400 + 719468, era = days / 146097, day = days % 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    int64_t year_day = day - (365 * year + year / 4 - year / 100), month = (5 * year_day + 2) / 153;

    year += era * 400 + (month >= 10);
    to = put_padded(to, year, 4, '-');
    to = put_padded(to, month < 10 ? month + 3 : month - 9, 2, '-');
    to = put_padded(to, year_day - (153 * month + 2) / 5 + 1, 2, ' ');
    to = put_padded(to, seconds % 86400 / 3600, 2, ':');
    to = put_padded(to, seconds % 3600 / 60, 2, ':');
    to = put_padded(to, seconds % 60, 2, '.');
    to = put_padded(to, at_us % 1000000, 6, '+');
    return put_text(to, "00", separator);
}

static void orders_put(struct block *block, const struct past *past)
{
    for (size_t i = 0; i < past->order_count; i++) {
        const struct past_order *order = &past->orders[i];
        char *to = block_line(block);

        to = put_number(to, order->order_id, '\t');
        to = put_number(to, order->trader_id, '\t');
        to = put_text(to, order->symbol, '\t');
        to = put_text(to, order->is_buy ? "BUY" : "SELL", '\t');
        to = put_money(to, order->quantity, '\t');
        to = put_money(to, order->price, '\t');
        to = put_text(to, order_status_name(order->status), '\t');
        to = put_money(to, order->filled, '\t');
        to = order->filled ? put_money(to, order->average, '\t') : put_text(to, "\\N", '\t');
        to = put_time(to, order->created_us, '\t');
        to = put_time(to, order->updated_us, '\n');
        block_line_end(block, to);
    }
}

static void trades_put(struct block *block, const struct past *past)
{
    for (size_t i = 0; i < past->row_count; i++) {
        const struct past_row *row = &past->rows[i];
        char *to;

        if (row->kind != PAST_TRADE)
            continue;
        to = block_line(block);
        to = put_number(to, row->order_id, '\t');
        to = put_money(to, row->a, '\t');
        to = put_money(to, row->b, '\t');
        to = put_time(to, row->at_us, '\n');
        block_line_end(block, to);
    }
}

static void audit_put(struct block *block, const struct past *past)
{
    for (size_t i = 0; i < past->row_count; i++) {
        const struct past_row *row = &past->rows[i];
        char *to;

        if (row->kind == PAST_TRADE)
            continue;
        to = block_line(block);
        to = put_number(to, row->order_id, '\t');
        if (row->kind == PAST_AUDIT_STATUS) {
            to = put_text(to, "status", '\t');
            to = put_text(to, order_status_name((enum order_status)row->a), '\t');
            to = put_text(to, order_status_name((enum order_status)row->b), '\t');
        } else {
            to = put_text(to, row->kind == PAST_AUDIT_PRICE ? "price" : "quantity", '\t');
            to = put_money(to, row->a, '\t');
            to = put_money(to, row->b, '\t');
        }
        to = put_time(to, row->at_us, '\n');
        block_line_end(block, to);
    }
}

static bool copy(PGconn *conn, const char *sql, void (*put)(struct block *, const struct past *),
                 const struct past *past)
{
    struct block *block = malloc(sizeof(*block));
    PGresult *result = PQexec(conn, sql);
    bool done = block && PQresultStatus(result) == PGRES_COPY_IN;

    PQclear(result);
    if (done) {
        block->conn = conn;
        block->failed = false;
        block->length = 0;
        put(block, past);
        block_send(block);
        done = !block->failed && PQputCopyEnd(conn, NULL) == 1;
        while ((result = PQgetResult(conn))) {
            done = done && PQresultStatus(result) == PGRES_COMMAND_OK;
            PQclear(result);
        }
    }
    if (!done)
        fprintf(stderr, "legacy-seed: %s: %s", sql, PQerrorMessage(conn));
    free(block);
    return done;
}

/* Statements that take off (column 0) and put back (column 1) what makes loading slow. */
static const char slow_parts_sql[] =
    "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),"
    "       format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) "
    "FROM pg_constraint WHERE contype = 'f' AND conrelid = 'trades'::regclass "
    "UNION ALL "
    "SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid) FROM pg_index "
    "WHERE indrelid IN ('orders'::regclass, 'audit_log'::regclass, 'trades'::regclass) AND NOT indisunique";

static bool slow_parts_run(PGconn *conn, const PGresult *parts, int column)
{
    for (int row = 0; row < PQntuples(parts); row++)
        if (!run(conn, PQgetvalue(parts, row, column)))
            return false;
    return true;
}

static bool is_empty(PGconn *conn)
{
    PGresult *result = PQexec(conn, "SELECT 1 FROM orders UNION ALL SELECT 1 FROM trades "
                                    "UNION ALL SELECT 1 FROM audit_log LIMIT 1");
    bool empty = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 0;

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fprintf(stderr, "legacy-seed: %s", PQresultErrorMessage(result));
    else if (!empty)
        fprintf(stderr, "legacy-seed: the tables already hold rows\n");
    PQclear(result);
    return empty;
}

bool past_copy(PGconn *conn, const struct past *past)
{
    PGresult *parts = NULL;
    bool done = false;

    if (!is_empty(conn) || !run(conn, "BEGIN"))
        return false;
    parts = PQexec(conn, slow_parts_sql);
    if (PQresultStatus(parts) != PGRES_TUPLES_OK) {
        fprintf(stderr, "legacy-seed: %s", PQresultErrorMessage(parts));
        goto out;
    }
    done = slow_parts_run(conn, parts, 0) && copy(conn, "COPY orders FROM STDIN", orders_put, past) &&
           copy(conn, "COPY trades (order_id, quantity, price, executed_at) FROM STDIN", trades_put, past) &&
           copy(conn, "COPY audit_log (entity_id, field_changed, old_value, new_value, \"timestamp\") FROM STDIN",
                audit_put, past) &&
           slow_parts_run(conn, parts, 1) &&
           run(conn, "SELECT setval('orders_order_id_seq', max(order_id)) FROM orders") && run(conn, "COMMIT") &&
           run(conn, "ANALYZE orders, trades, audit_log");
out:
    PQclear(parts);
    return done;
}
