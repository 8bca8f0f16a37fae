/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum {
    CONNINFO_SIZE = 1024,
};

const char world_orders_schema[] =
    "CREATE TABLE users (id int PRIMARY KEY, name text NOT NULL);"
    "INSERT INTO users SELECT i, 'user ' || i FROM generate_series(1, 2000) i;"
    "CREATE TABLE orders (id int PRIMARY KEY, user_id int NOT NULL, symbol text NOT NULL, price numeric(10,2) NOT "
    "NULL, "
    "execution_time timestamptz, status text NOT NULL DEFAULT 'new', filler text NOT NULL);"
    "INSERT INTO orders SELECT i, 1 + i % 2000, CASE WHEN i % 3 = 0 THEN 'BTC' ELSE 'DAX' END, i % 10000 / 100.0, "
    "'2024-01-01'::timestamptz + i * interval '1 minute', 'new', repeat('x', 150) FROM generate_series(1, 24000) i;"
    "CREATE INDEX orders_time ON orders (execution_time); CREATE INDEX orders_price ON orders (price);"
    "CREATE TABLE trades (id int PRIMARY KEY, order_id int NOT NULL REFERENCES orders (id));"
    "INSERT INTO trades SELECT i, i FROM generate_series(1, 3000) i;"
    "CREATE VIEW dear AS SELECT id, price FROM orders WHERE price > 90;";

static const char print_sql[] =
    "CREATE OR REPLACE FUNCTION pg_temp.print() RETURNS SETOF text LANGUAGE plpgsql AS $print$ "
    "DECLARE r regclass; BEGIN "
    "RETURN QUERY SELECT format('column %s.%s %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, "
    "a.atttypmod), a.attnotnull, (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = "
    "a.attrelid "
    "AND d.adnum = a.attnum)) FROM pg_attribute a JOIN pg_class r2 ON r2.oid = a.attrelid "
    "WHERE r2.relnamespace = 'public'::regnamespace AND r2.relkind IN ('r', 'p') AND a.attnum > 0 "
    "AND NOT a.attisdropped;"
    "RETURN QUERY SELECT format('index %s %s %s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready) "
    "FROM pg_index i JOIN pg_class r2 ON r2.oid = i.indrelid WHERE r2.relnamespace = 'public'::regnamespace;"
    "RETURN QUERY SELECT format('constraint %s %s %s %s', k.conrelid::regclass, k.conname, "
    "pg_get_constraintdef(k.oid), "
    "k.convalidated) FROM pg_constraint k WHERE k.connamespace = 'public'::regnamespace AND k.conrelid <> 0;"
    "RETURN QUERY SELECT format('partition %s of %s %s', i.inhrelid::regclass, i.inhparent::regclass, "
    "i.inhdetachpending) FROM pg_inherits i JOIN pg_class r2 ON r2.oid = i.inhrelid WHERE r2.relkind = 'r';"
    "RETURN QUERY SELECT format('view %s %s', v.viewname, v.definition) FROM pg_views v WHERE v.schemaname = 'public';"
    "RETURN QUERY SELECT format('trigger %s %s', pg_get_triggerdef(g.oid), g.tgenabled) FROM pg_trigger g "
    "WHERE NOT g.tgisinternal;"
    "RETURN QUERY SELECT format('function %s', f.oid::regprocedure) FROM pg_proc f JOIN pg_namespace n "
    "ON n.oid = f.pronamespace WHERE n.nspname IN ('public', 'banyan');"
    "RETURN QUERY SELECT format('kept %s', c.oid::regclass) FROM pg_class c JOIN pg_namespace n "
    "ON n.oid = c.relnamespace WHERE n.nspname = 'banyan' AND c.relkind = 'r' "
    "AND c.relname NOT LIKE 'schema_migration%';"
    "FOR r IN SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'p') AND (c.relnamespace = "
    "'public'::regnamespace OR c.relnamespace::regnamespace::text = 'banyan' AND c.relname NOT LIKE "
    "'schema_migration%') LOOP RETURN QUERY EXECUTE format('SELECT %L || md5(string_agg(to_jsonb(x)::text, '','' ORDER "
    "BY "
    "to_jsonb(x)::text)) FROM %s x', 'rows of ' || r::text || ' ', r); END LOOP; END $print$";

const char *world_conninfo(const char *database)
{
    static char text[CONNINFO_SIZE];

    (void)snprintf(text, sizeof(text), "%s dbname=%s", getenv("BANYAN_TEST_CONNINFO"), database); /* fits */
    return text;
}

struct pg_conn *world_connect(const char *database)
{
    struct pg_options options = {.conninfo = world_conninfo(database), .application_name = "world"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = NULL;

    if (pg_connect(&options, &conn, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return conn;
}

void world_run(const char *database, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = world_connect(database);

    if (pg_run(conn, sql, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
    pg_close(conn);
}

static char *ask(struct pg_conn *conn, const char *sql)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    struct banyan_str text = BANYAN_STR("");
    char *ret;

    if (pg_exec(conn, sql, NULL, 0, &result, &err) != BANYAN_OK)
        fail_msg("%s: %s", sql, err.message);
    if (pg_rows(result) > 0)
        text = pg_text(result, 0, 0);
    ret = strndup(text.data == NULL ? "" : text.data, text.size);
    pg_result_free(result);
    return ret;
}

char *world_ask(const char *database, const char *sql)
{
    struct pg_conn *conn = world_connect(database);
    char *ret = ask(conn, sql);

    pg_close(conn);
    return ret;
}

char *world_print(const char *database)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_conn *conn = world_connect(database);
    char *ret;

    if (pg_run(conn, print_sql, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    ret = ask(conn, "SELECT string_agg(l, E'\\n' ORDER BY l) FROM pg_temp.print() l");
    pg_close(conn);
    return ret;
}

void world_restart(void)
{
    char command[CONNINFO_SIZE];

    (void)snprintf(command, sizeof(command), "%s/ctl restart", getenv("BANYAN_TEST_PG"));
    assert_int_equal(system(command), 0);
}
