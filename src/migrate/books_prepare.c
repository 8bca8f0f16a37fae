/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of the books, what they adopt, and the migrator's lock.
 *
 * The tables are looked for before anything is made, so that a role without the right to make them can use those that
 * are there.  IF NOT EXISTS is not safe when two make the same thing at once (a unique index of the catalog says so):
 * the loser looks again.
 *
 * The lock is tried, never waited for: who waits in an advisory lock has a snapshot, CREATE INDEX CONCURRENTLY waits
 * for that, and both wait for ever.
 */
#include <string.h>

#include "migrate/books_int.h"
#include "os/retry.h"

enum {
    SQL_MAX = 64 * 1024,
    MAKE_US_MAX = 10 * 1000 * 1000,
};

/* ---- the tables ---- */

/* Whether the schema and the tables are there, and what the role may do with them. */
static const char look_sql[] =
    "SELECT (SELECT count(*) FROM pg_class c WHERE c.relnamespace = n.oid AND c.relname IN "
    "('schema_migrations', 'schema_migration_steps')) = 2, n.oid IS NOT NULL, current_user, current_database() "
    "FROM (SELECT 1) one LEFT JOIN pg_namespace n ON n.nspname = 'banyan'";
static const char make_schema_sql[] = "CREATE SCHEMA IF NOT EXISTS banyan";
static const char make_tables_sql[] =
    "CREATE TABLE IF NOT EXISTS banyan.schema_migrations ("
    "version text PRIMARY KEY, description text NOT NULL, checksum bytea, state text NOT NULL, "
    "paused boolean NOT NULL DEFAULT false, applied_at timestamptz NOT NULL DEFAULT clock_timestamp(), "
    "applied_by text NOT NULL DEFAULT current_user, execution_time_ms bigint NOT NULL DEFAULT 0, "
    "rollback_script text NOT NULL, tables jsonb NOT NULL, source text NOT NULL, plan text NOT NULL);"
    "COMMENT ON TABLE banyan.schema_migrations IS 'banyan migrate: one row a migration';"
    "CREATE TABLE IF NOT EXISTS banyan.schema_migration_steps ("
    "version text NOT NULL REFERENCES banyan.schema_migrations (version), number integer NOT NULL, "
    "phase text NOT NULL, name text NOT NULL, title text NOT NULL, state text NOT NULL DEFAULT 'open', "
    "started_at timestamptz, ended_at timestamptz, tries integer NOT NULL DEFAULT 0, "
    "undone integer NOT NULL DEFAULT 0, pass integer NOT NULL DEFAULT 0, page bigint NOT NULL DEFAULT 0, "
    "pages bigint NOT NULL DEFAULT 0, batch_pages integer NOT NULL DEFAULT 0, rows bigint NOT NULL DEFAULT 0, message "
    "text NOT NULL DEFAULT '', "
    "PRIMARY KEY (version, number)) WITH (fillfactor = 70);"
    "COMMENT ON TABLE banyan.schema_migration_steps IS 'banyan migrate: one row a step of a migration''s plan'";

static enum banyan_status may_not(const struct pg_result *look, const struct banyan_error *why,
                                  struct banyan_error *err)
{
    struct banyan_str role = pg_text(look, 0, 2), database = pg_text(look, 0, 3);
    enum banyan_status st =
        banyan_error_set(err, BANYAN_PRIVILEGE, "the books of the migrations cannot be made: %s", why->message);

    if (pg_bool(look, 0, 1))
        banyan_error_hint(err, "Run as the schema's owner: GRANT USAGE, CREATE ON SCHEMA banyan TO \"%.*s\";",
                          (int)role.size, role.data);
    else
        banyan_error_hint(err, "Run as the database's owner: GRANT CREATE ON DATABASE \"%.*s\" TO \"%.*s\";",
                          (int)database.size, database.data, (int)role.size, role.data);
    return st;
}

/* Made by somebody else at the same instant. */
static bool is_race(const struct banyan_error *why)
{
    static const char *const codes[] = {"23505", "42P06", "42P07", "42710", "XX000", "40P01", "40001"};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(why->sqlstate, codes[i]) == 0)
            return true;
    return false;
}

static enum banyan_status make(struct pg_conn *conn, bool schema_too, struct banyan_error *why)
{
    enum banyan_status st = pg_run(conn, "BEGIN", why);

    if (st == BANYAN_OK && schema_too)
        st = pg_run(conn, make_schema_sql, why);
    if (st == BANYAN_OK)
        st = pg_run(conn, make_tables_sql, why);
    if (st == BANYAN_OK)
        st = pg_run(conn, "COMMIT", why);
    if (st != BANYAN_OK)
        (void)!pg_run(conn, "ROLLBACK", NULL); /* the first failure is told */
    return st;
}

static enum banyan_status make_where_missing(struct pg_conn *conn, bool *ret_there, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct pg_result *look = NULL;
    enum banyan_status st = pg_exec(conn, look_sql, NULL, 0, &look, err);

    *ret_there = false;
    if (st != BANYAN_OK)
        return st;
    if (!pg_bool(look, 0, 0))
        st = make(conn, !pg_bool(look, 0, 1), &why);
    *ret_there = st == BANYAN_OK;
    if (st == BANYAN_PRIVILEGE)
        st = may_not(look, &why, err);
    else if (st != BANYAN_OK && is_race(&why))
        st = BANYAN_OK; /* look again */
    else
        st = books_tell(err, &why, st);
    pg_result_free(look);
    return st;
}

/* The role may use what is there. */
static enum banyan_status may_use(struct pg_conn *conn, struct banyan_error *err)
{
    static const char sql[] =
        "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_schema_privilege(n.oid, 'CREATE') AND bool_and("
        "has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND "
        "has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE')), current_user "
        "FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relname IN "
        "('schema_migrations', 'schema_migration_steps') WHERE n.nspname = 'banyan' GROUP BY n.oid";
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn, sql, NULL, 0, &result, err);

    if (st == BANYAN_OK && !pg_bool(result, 0, 0)) {
        struct banyan_str role = pg_text(result, 0, 1);

        st = banyan_error_set(err, BANYAN_PRIVILEGE, "role %.*s may not write the books of the migrations",
                              (int)role.size, role.data);
        banyan_error_hint(err,
                          "Run as their owner: GRANT USAGE, CREATE ON SCHEMA banyan TO \"%.*s\"; GRANT SELECT, INSERT, "
                          "UPDATE, DELETE ON banyan.schema_migrations, banyan.schema_migration_steps TO \"%.*s\";",
                          (int)role.size, role.data, (int)role.size, role.data);
    }
    pg_result_free(result);
    return st;
}

/* ---- adoption ---- */

/* The columns of the other table, as expressions of ours; NULL: not one of that form. */
static const char adopted_sql[] =
    "SELECT bool_or(attname = 'version') AND bool_or(attname = 'description') AND bool_or(attname = 'applied_at'), "
    "bool_or(attname = 'applied_by'), bool_or(attname = 'rollback_script'), "
    "(SELECT quote_ident(e.attname) || CASE WHEN e.atttypid = 'interval'::regtype THEN ' i' ELSE ' n' END "
    "FROM pg_attribute e WHERE e.attrelid = r.oid AND e.attname IN ('execution_time_ms', 'execution_time') "
    "AND e.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'float8'::regtype, "
    "'interval'::regtype) ORDER BY e.attname DESC LIMIT 1), has_table_privilege(r.oid, 'SELECT'), current_user "
    "FROM pg_class r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped "
    "WHERE r.oid = to_regclass('public.schema_migrations') AND r.relkind IN ('r', 'p', 'v') "
    "AND NOT EXISTS (SELECT FROM banyan.schema_migrations) GROUP BY r.oid";

static void add_adoption(struct banyan_buf *sql, const struct pg_result *form)
{
    struct banyan_str time = pg_text(form, 0, 3);

    banyan_buf_add_text(sql, "INSERT INTO banyan.schema_migrations (version, description, state, applied_at, "
                             "applied_by, execution_time_ms, rollback_script, tables, source, plan) "
                             "SELECT version::text, coalesce(description::text, ''), 'done', "
                             "coalesce(applied_at::timestamptz, 'epoch'), ");
    banyan_buf_add_text(sql, pg_bool(form, 0, 1) ? "coalesce(applied_by::text, ''), " : "'', ");
    if (time.size > 2) {
        bool is_interval = time.data[time.size - 1] == 'i';

        banyan_buf_add_text(sql, is_interval ? "coalesce((extract(epoch FROM " : "coalesce((");
        banyan_buf_add(sql, time.data, time.size - 2);
        banyan_buf_add_text(sql, is_interval ? ") * 1000)::bigint, 0), " : ")::bigint, 0), ");
    } else {
        banyan_buf_add_text(sql, "0, ");
    }
    banyan_buf_add_text(sql, pg_bool(form, 0, 2) ? "coalesce(rollback_script::text, '')" : "''");
    banyan_buf_add_text(sql, ", '[]', '', '' FROM public.schema_migrations WHERE version IS NOT NULL "
                             "ON CONFLICT DO NOTHING");
}

static enum banyan_status adopt(struct pg_conn *conn, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *form = NULL;
    enum banyan_status st = pg_exec(conn, adopted_sql, NULL, 0, &form, err);

    if (st != BANYAN_OK || pg_rows(form) == 0 || !pg_bool(form, 0, 0))
        goto out;
    if (!pg_bool(form, 0, 4)) {
        struct banyan_str role = pg_text(form, 0, 5);

        st = banyan_error_set(err, BANYAN_PRIVILEGE,
                              "public.schema_migrations has a history to adopt, and role %.*s may not read it",
                              (int)role.size, role.data);
        banyan_error_hint(err, "Run as its owner: GRANT SELECT ON public.schema_migrations TO \"%.*s\";",
                          (int)role.size, role.data);
        goto out;
    }
    add_adoption(&sql, form);
    st = pg_exec(conn, sql.data, NULL, 0, NULL, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "the history in public.schema_migrations cannot be adopted");
out:
    pg_result_free(form);
    banyan_buf_release(&sql);
    return st;
}

enum banyan_status books_prepare(struct pg_conn *conn, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 10000, .pause_us_max = 200000, .total_us_max = MAKE_US_MAX};
    enum banyan_status st;
    bool there;

    do
        st = make_where_missing(conn, &there, err);
    while (st == BANYAN_OK && !there && os_retry_pause(&retry, NULL));
    if (st == BANYAN_OK && !there)
        st = banyan_error_set(err, BANYAN_BUSY, "the books of the migrations are being made by somebody else for long");
    if (st == BANYAN_OK)
        st = may_use(conn, err);
    if (st == BANYAN_OK)
        st = adopt(conn, err);
    return st;
}

/* ---- one migrator at a time ---- */

/* "banyanmi" as a number; in pg_locks its halves. */
#define LOCK_KEY "7089068756062596457"
static const char holder_sql[] =
    "SELECT l.pid, coalesce(a.application_name, ''), coalesce(a.usename, ''), coalesce(a.client_addr::text, 'local'), "
    "to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS'), coalesce(a.state, '') FROM pg_locks l "
    "LEFT JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND l.classid = (" LOCK_KEY " >> 32)::oid AND l.objid = (" LOCK_KEY " & 4294967295)::oid";

static enum banyan_status busy(struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn, holder_sql, NULL, 0, &result, err);

    if (st != BANYAN_OK)
        return st;
    if (pg_rows(result) == 0) {
        st = banyan_error_set(err, BANYAN_BUSY, "another migrator was at work just now");
        banyan_error_hint(err, "Try again.");
    } else {
        struct banyan_str application = pg_text(result, 0, 1), user = pg_text(result, 0, 2),
                          address = pg_text(result, 0, 3), since = pg_text(result, 0, 4);

        st = banyan_error_set(err, BANYAN_BUSY,
                              "another migrator is at work: pid %d (%.*s, user %.*s from %.*s, since %.*s UTC)",
                              (int)pg_int(result, 0, 0), (int)application.size, application.data, (int)user.size,
                              user.data, (int)address.size, address.data, (int)since.size, since.data);
        banyan_error_hint(err,
                          "Wait for it.  If its program is gone, the server ends its session as soon as it "
                          "notices, or at once by: SELECT pg_terminate_backend(%d);",
                          (int)pg_int(result, 0, 0));
    }
    pg_result_free(result);
    return st;
}

enum banyan_status books_lock(struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn, "SELECT pg_try_advisory_lock(" LOCK_KEY ")", NULL, 0, &result, err);

    if (st == BANYAN_OK && !pg_bool(result, 0, 0))
        st = busy(conn, err);
    pg_result_free(result);
    return st;
}
