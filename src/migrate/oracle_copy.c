/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A throwaway database with the schema of another, made by pg_dump and psql, which know best what a schema is.  Its
 * name begins with banyan_explain_, so that one that was left behind can be told and dropped.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "migrate/oracle.h"
#include "migrate/program.h"
#include "os/clock.h"

enum {
    SQL_MAX = 4096,
};

static const char prefix[] = "banyan_explain_";

/* The same server, another database. */
static const char *conninfo_of(const char *conninfo, const char *database, struct banyan_arena *arena)
{
    if (strncmp(conninfo, "postgres://", 11) == 0 || strncmp(conninfo, "postgresql://", 13) == 0)
        return banyan_arena_printf(arena, "%s%cdbname=%s", conninfo, strchr(conninfo, '?') != NULL ? '&' : '?',
                                   database)
            .data;
    if (conninfo[0] != '\0' && strchr(conninfo, '=') == NULL) /* the name of a database alone */
        return banyan_arena_printf(arena, "dbname=%s", database).data;
    return banyan_arena_printf(arena, "%s dbname=%s", conninfo, database).data;
}

static enum banyan_status copy_schema(const char *from, const char *to, struct banyan_error *err)
{
    char path[] = "/tmp/banyan-schema-XXXXXX";
    int file = mkstemp(path);
    enum banyan_status st;

    if (file < 0)
        return banyan_error_errno(err, errno, "a temporary file");
    (void)close(file); /* only its name is needed */
    const char *const dump[] = {"pg_dump",
                                "--schema-only",
                                "--no-owner",
                                "--no-privileges",
                                "--no-publications",
                                "--no-subscriptions",
                                "--file",
                                path,
                                "--dbname",
                                from,
                                NULL};
    const char *const load[] = {"psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f",
                                path,   "-d", to,   NULL};

    st = program_run(dump, false, err);
    if (st == BANYAN_OK)
        st = program_run(load, false, err);
    (void)unlink(path); /* what is left in /tmp is a schema, no data */
    return st;
}

static enum banyan_status create_database(struct pg_conn *conn, const char *name, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn,
                                    "SELECT pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database "
                                    "WHERE datname = current_database()",
                                    NULL, 0, &result, err);

    if (st != BANYAN_OK)
        return st;
    banyan_buf_printf(&sql, "CREATE DATABASE %s TEMPLATE template0 ENCODING ", name);
    pg_add_literal(&sql, pg_text(result, 0, 0));
    banyan_buf_add_text(&sql, " LC_COLLATE ");
    pg_add_literal(&sql, pg_text(result, 0, 1));
    banyan_buf_add_text(&sql, " LC_CTYPE ");
    pg_add_literal(&sql, pg_text(result, 0, 2));
    st = sql.overflow ? banyan_error_set(err, BANYAN_LIMIT, "the name of a locale is too long")
                      : pg_run(conn, sql.data, err);
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status drop_database(const char *conninfo, const char *name, struct banyan_error *err)
{
    struct pg_options options = {.conninfo = conninfo};
    struct pg_conn *conn = NULL;
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st = pg_connect(&options, &conn, err);

    if (st == BANYAN_OK) {
        banyan_buf_printf(&sql, "DROP DATABASE IF EXISTS %s WITH (FORCE)", name);
        st = pg_run(conn, sql.data, err);
    }
    banyan_buf_release(&sql);
    pg_close(conn);
    return st;
}

enum banyan_status oracle_copy(const char *conninfo, struct banyan_arena *arena, const char **ret_conninfo,
                               struct banyan_error *err)
{
    struct pg_options options = {.conninfo = conninfo};
    struct pg_conn *conn = NULL;
    struct banyan_error ignored = BANYAN_ERROR_INIT;
    const char *name = banyan_arena_printf(arena, "%s%ld_%lld", prefix, (long)getpid(),
                                           (long long)(os_clock_monotonic_us(os_clock_real()) % 1000000000))
                           .data;
    const char *copy = conninfo_of(conninfo, name, arena);
    enum banyan_status st;

    if (program_shows_password(conninfo)) {
        st = banyan_error_set(err, BANYAN_CONFIG, "a password in the connection string would be seen by others");
        banyan_error_hint(err, "leave it out and use PGPASSWORD, PGPASSFILE or ~/.pgpass");
        return st;
    }
    st = pg_connect(&options, &conn, err);

    if (st == BANYAN_OK)
        st = create_database(conn, name, err);
    pg_close(conn);
    if (st != BANYAN_OK)
        return st;
    st = copy_schema(conninfo, copy, err);
    if (st != BANYAN_OK) {
        (void)drop_database(conninfo, name, &ignored); /* the first error is told */
        return st;
    }
    *ret_conninfo = copy;
    return BANYAN_OK;
}

enum banyan_status oracle_drop(const char *conninfo, const char *copy, struct banyan_error *err)
{
    const char *name = strrchr(copy, '=');

    if (name == NULL || strncmp(name + 1, prefix, sizeof(prefix) - 1) != 0)
        return banyan_error_set(err, BANYAN_INVALID, "not a throwaway database");
    return drop_database(conninfo, name + 1, err);
}
