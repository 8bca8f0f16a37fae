/* SPDX-License-Identifier: Apache-2.0 */
/* What each row has to be: see migrate_live.h. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "migrate_live.h"

enum {
    TOLD_MAX = 10,
    ROOM_ADDED = 400000, /* rows that clients may insert */
    FIELDS = 10,
};

/* The same arithmetic as live_schema_fill(). */
void live_model_init(struct live_model *model, int64_t rows)
{
    model->loaded = rows;
    model->room = rows + ROOM_ADDED;
    model->rows = calloc((size_t)model->room + 1, sizeof(*model->rows));
    assert(model->rows != NULL);
    for (int64_t id = 1; id <= rows; id++)
        model->rows[id] = (struct live_row){.price_e8 = (id * 7919 % 10000000 + 1) * (LIVE_UNIT_E8 / 100),
                                            .seconds = (int32_t)(id * 13 % 31536000),
                                            .quantity = (int32_t)(id % 1000 + 1),
                                            .account = (uint16_t)(id % LIVE_ACCOUNTS + 1),
                                            .venue = (uint8_t)(id % 4),
                                            .exists = true};
}

void live_model_free(struct live_model *model)
{
    free(model->rows);
    *model = (struct live_model){0};
}

const char *live_venue(unsigned venue)
{
    static const char *const codes[] = {"N", "L", "T", "X"};
    return codes[venue % 4];
}

/* Of the directive: CASE venue_code WHEN 'N' THEN 'NYSE' … END; and what new code writes. */
const char *live_execution(const struct live_row *row)
{
    static const char *const of_code[] = {"NYSE", "LSE", "TSE", "OTHER"};
    static const char *const written[] = {"", "XETRA", "Euronext", "Börse 'S'"};
    return row->execution == 0 ? of_code[row->venue % 4] : written[row->execution % 4];
}

int64_t live_price(const char *text)
{
    char *end;
    int64_t value = strtoll(text, &end, 10) * LIVE_UNIT_E8, unit = LIVE_UNIT_E8 / 10;

    if (*end != '.')
        return value;
    for (end++; *end >= '0' && *end <= '9'; end++, unit /= 10)
        value += (*end - '0') * unit;
    return value;
}

void live_price_text(int64_t price_e8, char text[32])
{
    (void)snprintf(text, 32, "%" PRId64 ".%08" PRId64, price_e8 / LIVE_UNIT_E8, price_e8 % LIVE_UNIT_E8);
}

int64_t live_round(int64_t price_e8)
{
    return (price_e8 + LIVE_UNIT_E8 / 200) / (LIVE_UNIT_E8 / 100) * (LIVE_UNIT_E8 / 100);
}

void live_model_round(struct live_model *model)
{
    for (int64_t id = 1; id <= model->room; id++)
        model->rows[id].price_e8 = live_round(model->rows[id].price_e8);
}

void live_model_forget_execution(struct live_model *model)
{
    for (int64_t id = 1; id <= model->room; id++)
        model->rows[id].execution = 0;
}

void live_model_since(struct live_model *model)
{
    for (int64_t id = 1; id <= model->room; id++)
        model->rows[id].since = false;
}

/* ---- comparing ---- */

/* order_id, account_id, quantity, fills, price, venue_code, seconds, touched, the two names differ, execution_venue */
static const char *why_wrong(const struct live_row *row, char *const fields[FIELDS], const struct live_expect *expect)
{
    int64_t quantity = strtoll(fields[2], NULL, 10);
    bool added = quantity > LIVE_ADDED;

    if (!row->exists)
        return "is there, and must not";
    if (strtoll(fields[1], NULL, 10) != row->account)
        return "account_id";
    if (quantity - (added ? LIVE_ADDED : 0) != row->quantity)
        return "quantity";
    if (added && expect->added == LIVE_NOT_ADDED)
        return "quantity: added to, and must not be";
    if (!added && expect->added == LIVE_IS_ADDED && !row->since)
        return "quantity: not added to";
    if (strtoll(fields[3], NULL, 10) != row->fills)
        return "fills";
    if (live_price(fields[4]) != row->price_e8)
        return "price";
    if (strcmp(fields[5], live_venue(row->venue)) != 0)
        return "venue_code";
    if (strtoll(fields[6], NULL, 10) != row->seconds)
        return "time";
    if (fields[7][0] != '0' && !row->touched && !expect->fired)
        return "updated_at: the table's own trigger fired, and no client wrote";
    if (fields[8][0] != '0')
        return "the two names differ";
    if (expect->execution && strcmp(fields[9], live_execution(row)) != 0)
        return "execution_venue";
    return NULL;
}

static int64_t compare_line(const struct live_model *model, char *line, const struct live_expect *expect, int64_t *rows,
                            int64_t wrong)
{
    char *fields[FIELDS], *at = line, text[32];
    const char *why;
    int64_t id;

    for (int i = 0; i < FIELDS; i++) {
        fields[i] = strsep(&at, "\t\n");
        assert(fields[i] != NULL);
    }
    id = strtoll(fields[0], NULL, 10);
    (*rows)++;
    why = id < 1 || id > model->room ? "no such row" : why_wrong(&model->rows[id], fields, expect);
    if (why == NULL)
        return 0;
    if (wrong < TOLD_MAX && id >= 1 && id <= model->room) {
        live_price_text(model->rows[id].price_e8, text);
        printf("# order %" PRId64 ": %s: account %s/%u quantity %s/%d%s fills %s/%d price %s/%s venue %s/%s "
               "seconds %s/%d execution %s/%s\n",
               id, why, fields[1], model->rows[id].account, fields[2], model->rows[id].quantity,
               model->rows[id].since ? " (since)" : "", fields[3], model->rows[id].fills, fields[4], text, fields[5],
               live_venue(model->rows[id].venue), fields[6], model->rows[id].seconds, fields[9],
               live_execution(&model->rows[id]));
    }
    return 1;
}

int64_t live_model_compare(const struct live_model *model, PGconn *conn, const struct live_expect *expect)
{
    char sql[1024], *line;
    int64_t wrong = 0, rows = 0, there = 0;
    PGresult *result;

    (void)snprintf(sql, sizeof(sql),
                   "COPY (SELECT order_id, account_id, quantity, fills, price, venue_code, "
                   "extract(epoch FROM %s - timestamp '2024-01-01')::bigint, "
                   "(updated_at <> timestamptz '2024-01-01 00:00+00')::int, (%s IS DISTINCT FROM %s)::int, %s "
                   "FROM orders) TO STDOUT",
                   expect->time, expect->time, expect->second == NULL ? expect->time : expect->second,
                   expect->execution ? "execution_venue" : "''");
    result = PQexec(conn, sql);
    if (PQresultStatus(result) != PGRES_COPY_OUT) {
        printf("# the table cannot be read: %s", PQerrorMessage(conn));
        PQclear(result);
        return 1;
    }
    PQclear(result);
    while (PQgetCopyData(conn, &line, 0) > 0) {
        wrong += compare_line(model, line, expect, &rows, wrong);
        PQfreemem(line);
    }
    while ((result = PQgetResult(conn)) != NULL) {
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            printf("# the table cannot be read: %s", PQerrorMessage(conn));
            wrong++;
        }
        PQclear(result);
    }
    for (int64_t id = 1; id <= model->room; id++)
        there += model->rows[id].exists;
    if (rows != there) {
        printf("# %" PRId64 " rows, %" PRId64 " expected\n", rows, there);
        wrong += 1;
    }
    return wrong;
}
