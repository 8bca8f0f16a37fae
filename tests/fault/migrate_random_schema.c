/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "migrate_random.h"

void text_add(char *text, const char *format, ...)
{
    size_t size = strlen(text);
    va_list list;
    int more;

    va_start(list, format);
    more = vsnprintf(text + size, TEXT_SIZE - size, format, list);
    va_end(list);
    MUST(more >= 0 && size + (size_t)more < TEXT_SIZE, "the text is too long");
}

static uint64_t below(struct os_random *random, uint64_t bound)
{
    return os_random_below(random, bound);
}

/* ---- tables ---- */

static void new_name(struct table *table, struct os_random *random, char ret[NAME_SIZE])
{
    static const char *const forms[][2] = {{"c", ""},
                                           {"\"Col ", "\""},
                                           {"\"a\"\"b", "\""},
                                           {"\"select", "\""},
                                           {"col_of_a_rather_long_name_that_goes_on_and_on_until_62_bytes_", ""}};
    uint64_t form = below(random, 5);

    (void)snprintf(ret, NAME_SIZE, "%s%u%s", forms[form][0], ++table->made, forms[form][1]); /* fits */
}

static struct column *add_column(struct table *table, struct os_random *random, enum value_kind kind,
                                 enum column_use use)
{
    static const char *const types[VALUE_KINDS][3] = {
        {"integer", "bigint", "integer"},
        {"numeric(10,2)", "numeric(12,2)", "numeric"},
        {"text", "varchar(40)", "text"},
        {"timestamp", "timestamp", "timestamptz"},
    };
    struct column *column = &table->columns[table->column_count++];

    *column = (struct column){.kind = kind, .use = use, .in_old = true, .in_new = true};
    new_name(table, random, column->name);
    (void)snprintf(column->type, sizeof(column->type), "%s", types[kind][below(random, 3)]); /* fits */
    memcpy(column->after, column->name, NAME_SIZE);
    memcpy(column->type_after, column->type, sizeof(column->type));
    column->nullable = below(random, 2) == 0;
    return column;
}

void table_random(struct table *table, struct os_random *random)
{
    static const char *const names[] = {"orders", "\"Order Lines\"", "\"we\"\"ird\"", "\"table\""};
    unsigned columns = 3 + (unsigned)below(random, 6);

    *table = (struct table){.rows = (int64_t)(200 + below(random, 3000))};
    (void)snprintf(table->name, NAME_SIZE, "%s", names[below(random, 4)]); /* fits */
    memcpy(table->after, table->name, NAME_SIZE);
    table->has_key = below(random, 4) != 0;
    table->parts = table->has_key && below(random, 5) == 0;
    add_column(table, random, VALUE_INT, USE_KEY)->nullable = false;
    for (unsigned i = 0; i < columns; i++)
        add_column(table, random, (enum value_kind)below(random, VALUE_KINDS), i % 2 == 0 ? USE_WRITTEN : USE_STABLE);
}

void value_text(enum value_kind kind, uint64_t n, char ret[64])
{
    switch (kind) {
    case VALUE_INT:
        (void)snprintf(ret, 64, "%" PRIu64, n % 1000); /* all fit */
        break;
    case VALUE_MONEY:
        (void)snprintf(ret, 64, "%" PRIu64 ".%02" PRIu64, n % 5000, n / 7 % 100);
        break;
    case VALUE_WORD:
        (void)snprintf(ret, 64, "'it''s %" PRIu64 "'", n % 100);
        break;
    default:
        (void)snprintf(ret, 64, "'2024-%02" PRIu64 "-%02" PRIu64 " 0%" PRIu64 ":30:00'", n % 12 + 1, n / 12 % 28 + 1,
                       n / 5 % 10);
    }
}

/* A value for each row, in SQL. */
static void add_generated(char *sql, const struct column *column)
{
    static const char *const values[VALUE_KINDS] = {"(i * 7 % 1000)::int", "(i * 13 % 500000) / 100.0",
                                                    "'it''s ' || i % 100",
                                                    "timestamp '2024-01-01 00:30' + i % 300 * interval '1 day'"};

    if (column->use == USE_KEY)
        text_add(sql, "i");
    else if (column->nullable)
        text_add(sql, "CASE WHEN i %% 5 = 0 THEN NULL ELSE ");
    if (column->use != USE_KEY)
        text_add(sql, "%s", values[column->kind]);
    if (column->use != USE_KEY && column->nullable)
        text_add(sql, " END");
}

void table_make(const struct table *table, struct pg_conn *conn, struct os_random *random)
{
    char *sql = calloc(1, TEXT_SIZE);

    text_add(sql, "CREATE TABLE %s (", table->name);
    for (unsigned i = 0; i < table->column_count; i++)
        text_add(sql, "%s%s %s%s", i > 0 ? ", " : "", table->columns[i].name, table->columns[i].type,
                 table->columns[i].nullable ? "" : " NOT NULL");
    if (table->has_key)
        text_add(sql, ", PRIMARY KEY (%s)", table->columns[0].name);
    text_add(sql, ")%s%s%s", table->parts ? " PARTITION BY HASH (" : "", table->parts ? table->columns[0].name : "",
             table->parts ? ")" : "");
    for (int i = 0; i < 3 && table->parts; i++)
        text_add(sql, "; CREATE TABLE part%d PARTITION OF %s FOR VALUES WITH (MODULUS 3, REMAINDER %d)", i, table->name,
                 i);
    text_add(sql, "; INSERT INTO %s SELECT ", table->name);
    for (unsigned i = 0; i < table->column_count; i++) {
        text_add(sql, i > 0 ? ", " : "");
        add_generated(sql, &table->columns[i]);
    }
    text_add(sql, " FROM generate_series(1, %" PRId64 ") i", table->rows);
    for (unsigned i = 1; i < table->column_count; i++)
        if (below(random, 3) == 0)
            text_add(sql, "; CREATE INDEX ON %s (%s%s)", table->name, table->columns[i].name,
                     below(random, 2) == 0 ? " DESC" : "");
    text_add(sql, "; ANALYZE %s", table->name);
    random_run(conn, sql);
    free(sql);
}

void table_select(const struct table *table, bool is_new, char ret[TEXT_SIZE])
{
    ret[0] = '\0';
    text_add(ret, "SELECT concat_ws('|'");
    for (unsigned i = 0; i < table->column_count; i++) {
        const struct column *column = &table->columns[i];

        if (is_new ? column->in_new : column->in_old)
            text_add(ret, ", coalesce(%s::%s::text, '~')", is_new ? column->after : column->name,
                     is_new ? column->type_after : column->type);
    }
    text_add(ret, ") FROM %s ORDER BY 1", is_new ? table->after : table->name);
}

/* ---- changes ---- */

static struct column *pick(struct table *table, struct os_random *random, bool key_too)
{
    for (int tries = 0; tries < 20; tries++) {
        struct column *column = &table->columns[below(random, table->column_count)];

        if (!column->taken && column->in_old && column->in_new && (key_too || column->use != USE_KEY)) {
            column->taken = true;
            return column;
        }
    }
    return NULL;
}

static void both(struct change *ret, const char *sql)
{
    text_add(ret->migration, "%s;\n", sql);
    text_add(ret->plain, "%s;\n", sql);
}

static void rename_column(struct table *table, struct os_random *random, struct change *ret)
{
    struct column *column = pick(table, random, !table->parts);
    char sql[512];

    if (column == NULL)
        return;
    new_name(table, random, column->after);
    (void)snprintf(sql, sizeof(sql), "ALTER TABLE %s RENAME COLUMN %s TO %s", table->name, column->name,
                   column->after); /* fits */
    both(ret, sql);
}

static void change_type(struct table *table, struct os_random *random, struct change *ret)
{
    static const char *const types[VALUE_KINDS] = {"bigint", "numeric(18,8)", "varchar(60)", "timestamptz"};
    struct column *column = pick(table, random, !table->parts);
    char sql[512];

    if (column == NULL || strcmp(column->type, types[column->kind]) == 0 || strcmp(column->type, "numeric") == 0 ||
        strcmp(column->type, "text") == 0)
        return;
    (void)snprintf(column->type_after, sizeof(column->type_after), "%s", types[column->kind]); /* all fit */
    if (column->kind == VALUE_STAMP)
        text_add(ret->migration, "-- banyan: zone %s.%s = 'UTC'\n", table->name, column->name);
    (void)snprintf(sql, sizeof(sql), "ALTER TABLE %s ALTER COLUMN %s TYPE %s", table->name, column->name,
                   column->type_after);
    both(ret, sql);
}

static void new_column(struct table *table, struct os_random *random, struct change *ret)
{
    struct column *column;
    char sql[512];

    if (table->column_count == COLUMNS_MAX)
        return;
    column = add_column(table, random, VALUE_WORD, USE_WRITTEN);
    column->in_old = false;
    column->taken = true;
    column->nullable = false;
    (void)snprintf(column->type, sizeof(column->type), "text");
    memcpy(column->type_after, column->type, sizeof(column->type));
    switch (below(random, table->columns[0].taken ? 2 : 3)) {
    case 0: /* a constant: nothing is written */
        (void)snprintf(sql, sizeof(sql), "ALTER TABLE %s ADD COLUMN %s text NOT NULL DEFAULT 'none'", table->name,
                       column->name);
        both(ret, sql);
        break;
    case 1: /* volatile, and yet always the same */
        (void)snprintf(sql, sizeof(sql),
                       "ALTER TABLE %s ADD COLUMN %s text NOT NULL DEFAULT 'x' || left(clock_timestamp()::text, 0)",
                       table->name, column->name);
        both(ret, sql);
        break;
    default: /* of the row's key */
        table->columns[0].taken = true;
        text_add(ret->migration,
                 "-- banyan: backfill %s.%s = CASE WHEN %s %% 2 = 0 THEN 'even' ELSE 'odd' END\n"
                 "ALTER TABLE %s ADD COLUMN %s text NOT NULL;\n",
                 table->name, column->name, table->columns[0].name, table->name, column->name);
        text_add(ret->plain,
                 "ALTER TABLE %s ADD COLUMN %s text;\nUPDATE %s SET %s = CASE WHEN %s %% 2 = 0 THEN 'even' ELSE 'odd' "
                 "END;\nALTER TABLE %s ALTER %s SET NOT NULL;\n",
                 table->name, column->name, table->name, column->name, table->columns[0].name, table->name,
                 column->name);
    }
}

static void drop_column(struct table *table, struct os_random *random, struct change *ret)
{
    struct column *column = table->column_count > 4 ? pick(table, random, false) : NULL;
    char sql[512];

    if (column == NULL)
        return;
    if (!column->nullable) { /* what new code does not write has to have a value: that is another migration's matter */
        column->taken = false;
        return;
    }
    column->in_new = false;
    (void)snprintf(sql, sizeof(sql), "ALTER TABLE %s DROP COLUMN %s", table->name, column->name); /* fits */
    both(ret, sql);
}

static void add_check(struct table *table, struct os_random *random, struct change *ret)
{
    struct column *column = pick(table, random, false);
    char sql[512];

    if (column == NULL)
        return;
    (void)snprintf(sql, sizeof(sql), "ALTER TABLE %s ADD CONSTRAINT ck%u CHECK (%s::text <> 'never')", table->name,
                   ++table->made, column->name); /* fits */
    both(ret, sql);
}

static void add_index(struct table *table, struct os_random *random, struct change *ret)
{
    struct column *column = pick(table, random, true);
    char sql[512];

    if (column == NULL)
        return;
    (void)snprintf(sql, sizeof(sql), "CREATE %sINDEX ix%u ON %s (%s)",
                   column->use == USE_KEY && !table->parts && below(random, 2) == 0 ? "UNIQUE " : "", ++table->made,
                   table->name, column->name); /* fits */
    both(ret, sql);
}

/* Keys that 3 divides are never written by anybody else meanwhile. */
static void update_rows(struct table *table, struct os_random *random, struct change *ret)
{
    struct column *column = table->has_key && !table->columns[0].taken ? pick(table, random, false) : NULL;
    char sql[512];

    if (column == NULL)
        return;
    if (column->kind != VALUE_WORD || column->use != USE_STABLE) {
        column->taken = false;
        return;
    }
    table->update_third = true;
    table->columns[0].taken = true;
    (void)snprintf(sql, sizeof(sql), "UPDATE %s SET %s = left(%s || '!', 30) WHERE %s %% 3 = 0", table->name,
                   column->name, column->name, table->columns[0].name); /* fits */
    both(ret, sql);
}

static void rename_table(struct table *table, struct change *ret)
{
    char sql[512];

    (void)snprintf(table->after, NAME_SIZE, "\"Table %u\"", ++table->made); /* both fit */
    (void)snprintf(sql, sizeof(sql), "ALTER TABLE %s RENAME TO %s", table->name, table->after);
    both(ret, sql);
}

void change_random(struct table *table, struct os_random *random, struct change *ret)
{
    static void (*const changes[])(struct table * table, struct os_random * random, struct change * ret) = {
        rename_column, change_type, new_column,    drop_column, add_check,
        add_index,     update_rows, rename_column, change_type};

    ret->migration[0] = ret->plain[0] = '\0';
    while (ret->plain[0] == '\0') {
        if (below(random, 12) == 0 && !table->parts) {
            rename_table(table, ret);
            return;
        }
        for (uint64_t left = 1 + below(random, 3); left > 0; left--)
            changes[below(random, sizeof(changes) / sizeof(changes[0]))](table, random, ret);
    }
}

void change_done(struct table *table, bool kept)
{
    unsigned count = 0;

    table->update_third = false;
    memcpy(kept ? table->name : table->after, kept ? table->after : table->name, NAME_SIZE);
    for (unsigned i = 0; i < table->column_count; i++) {
        struct column *column = &table->columns[i];

        if (kept ? !column->in_new : !column->in_old)
            continue;
        memcpy(kept ? column->name : column->after, kept ? column->after : column->name, NAME_SIZE);
        memcpy(kept ? column->type : column->type_after, kept ? column->type_after : column->type,
               sizeof(column->type));
        column->in_old = column->in_new = true;
        column->taken = false;
        table->columns[count++] = *column;
    }
    table->column_count = count;
}
