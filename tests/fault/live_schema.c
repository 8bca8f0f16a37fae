/* SPDX-License-Identifier: Apache-2.0 */
/* The table that is migrated: see migrate_live.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "migrate_live.h"

PGconn *live_connect(const char *database, const char *application)
{
    const char *const names[] = {"dbname", "application_name", NULL};
    const char *const values[] = {database, application, NULL};
    PGconn *conn = PQconnectdbParams(names, values, 1);

    if (PQstatus(conn) != CONNECTION_OK) {
        fprintf(stderr, "cannot connect: %s", PQerrorMessage(conn));
        exit(1);
    }
    PQclear(PQexec(conn, "SET client_min_messages = warning; SET TimeZone = UTC"));
    return conn;
}

void live_run_sql(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s\n%s", sql, PQerrorMessage(conn));
        exit(1);
    }
    PQclear(result);
}

int64_t live_number(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    int64_t number;

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
        fprintf(stderr, "%s\n%s", sql, PQerrorMessage(conn));
        exit(1);
    }
    number = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return number;
}

void live_schema_views(PGconn *conn)
{
    live_run_sql(
        conn,
        "CREATE VIEW dear_orders AS SELECT order_id, quantity, price, execution_time FROM orders WHERE price > 10;"
        "CREATE VIEW dear_quantities WITH (security_barrier) AS SELECT order_id, quantity * price AS amount "
        "  FROM dear_orders;"
        "COMMENT ON VIEW dear_orders IS 'more than ten';"
        "GRANT SELECT ON dear_orders TO live_reader;");
}

void live_schema_make(PGconn *conn)
{
    live_run_sql(conn, "DO $$ BEGIN CREATE ROLE live_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    live_run_sql(
        conn,
        "CREATE TABLE accounts (account_id bigint PRIMARY KEY, name text NOT NULL, touched integer NOT NULL DEFAULT 0);"
        "CREATE TABLE orders ("
        "  order_id bigint PRIMARY KEY,"
        "  account_id bigint NOT NULL,"
        "  quantity integer NOT NULL CHECK (quantity > 0),"
        "  fills integer NOT NULL DEFAULT 0,"
        "  price numeric(10,2) NOT NULL,"
        "  venue_code text NOT NULL,"
        "  execution_time timestamp NOT NULL,"
        "  updated_at timestamptz NOT NULL DEFAULT now());"
        "CREATE INDEX orders_execution_time ON orders (execution_time);"
        "CREATE INDEX orders_account_price ON orders (account_id, price DESC) WHERE price > 50000;"
        "ALTER TABLE orders ADD CONSTRAINT orders_price_positive CHECK (price > 0);"
        "COMMENT ON COLUMN orders.price IS 'of one';"
        "GRANT SELECT ON orders TO live_reader;"
        "GRANT UPDATE (price) ON orders TO live_reader;"
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS "
        "  $$ BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END $$;"
        "CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();");
    live_schema_views(conn);
}

void live_schema_drop(PGconn *conn)
{
    live_run_sql(conn, "DROP VIEW IF EXISTS dear_quantities, dear_orders; DROP TABLE IF EXISTS orders, accounts;"
                       "DROP FUNCTION IF EXISTS touch()");
}

void live_schema_fill(PGconn *conn, int64_t rows)
{
    char sql[1024];

    (void)snprintf(sql, sizeof(sql),
                   "INSERT INTO accounts SELECT i, 'account ' || i FROM generate_series(1, %d) i;"
                   "INSERT INTO orders SELECT i, i %% %d + 1, i %% 1000 + 1, 0, (i * 7919 %% 10000000 + 1) / 100.0, "
                   "  (ARRAY['N','L','T','X'])[i %% 4 + 1], "
                   "  timestamp '2024-01-01' + (i * 13 %% 31536000) * interval '1 second', '2024-01-01 00:00+00' "
                   "FROM generate_series(1::bigint, %" PRId64 ") i",
                   LIVE_ACCOUNTS, LIVE_ACCOUNTS, rows);
    live_run_sql(conn, sql);
    live_run_sql(conn, "VACUUM ANALYZE orders");
    live_run_sql(conn, "VACUUM ANALYZE accounts");
    live_run_sql(conn, "CHECKPOINT");
}

static void add_rows(PGconn *conn, const char *sql, FILE *out)
{
    PGresult *result = PQexec(conn, sql);

    if (PQresultStatus(result) != PGRES_TUPLES_OK) {
        fprintf(stderr, "%s\n%s", sql, PQerrorMessage(conn));
        exit(1);
    }
    for (int i = 0; i < PQntuples(result); i++)
        fprintf(out, "%s\n", PQgetvalue(result, i, 0));
    PQclear(result);
}

char *live_schema_text(PGconn *conn, bool by_number)
{
    char *text = NULL, sql[2048];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    live_run_sql(conn, "SET search_path = public");
    (void)snprintf(
        sql, sizeof(sql),
        "SELECT concat_ws(' ', 'column', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), "
        "  CASE WHEN a.attnotnull THEN 'not null' END, pg_get_expr(d.adbin, d.adrelid), a.attidentity, "
        "  a.attgenerated, a.attacl, a.attcollation::regcollation, a.attstorage, a.attstattarget, "
        "  col_description(a.attrelid, a.attnum)) "
        "FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d "
        "  ON d.adrelid = a.attrelid AND d.adnum = a.attnum "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT "
        "a.attisdropped "
        "ORDER BY c.relkind, c.relname, %s",
        by_number ? "a.attnum" : "a.attname");
    add_rows(conn, sql, out);
    add_rows(conn,
             "SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, contype, pg_get_constraintdef(oid), "
             "  convalidated, obj_description(oid, 'pg_constraint')) FROM pg_constraint "
             "WHERE connamespace = 'public'::regnamespace ORDER BY conrelid::regclass::text, conname",
             out);
    add_rows(conn,
             "SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid), indisvalid, indisready, indisunique, "
             "  indisprimary, indisreplident, indisclustered) FROM pg_index JOIN pg_class c ON c.oid = indrelid "
             "WHERE relnamespace = 'public'::regnamespace ORDER BY indexrelid::regclass::text",
             out);
    add_rows(conn,
             "SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid), tgenabled) FROM pg_trigger t "
             "JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'public'::regnamespace AND NOT tgisinternal "
             "ORDER BY tgrelid::regclass::text, tgname",
             out);
    add_rows(conn,
             "SELECT concat_ws(' ', 'relation', relkind, relname, relowner::regrole, relacl, reloptions, "
             "  relreplident, relpersistence, obj_description(oid, 'pg_class'), "
             "  CASE WHEN relkind = 'v' THEN pg_get_viewdef(oid) END) FROM pg_class "
             "WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i' ORDER BY relname",
             out);
    add_rows(conn,
             "SELECT concat_ws(' ', 'function', oid::regprocedure, md5(prosrc)) FROM pg_proc "
             "WHERE pronamespace = 'public'::regnamespace ORDER BY oid::regprocedure::text",
             out);
    (void)fclose(out);
    return text;
}
