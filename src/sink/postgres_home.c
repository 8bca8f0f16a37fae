/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All generations of a view in a PostgreSQL schema: see postgres_place.h.
 *
 * Invariants
 *   1. make, serve and drop are one transaction each, and one advisory lock a schema keeps those of all views apart.
 *   2. Nobody queues behind us: a lock that a reader's long transaction holds is asked for during 100 ms, then left and
 *      asked for again later.
 *
 * Threads: any; a lock guards the one connection.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/retry.h"
#include "sink/postgres_place.h"
#include "sink/sink_value.h"
#include "sink/sinks.h"

struct postgres_home {
    struct sink_home base;
    struct postgres_place place;
    struct {
        pthread_mutex_t lock;
        struct pg_conn *conn; /* NULL: to be made */
    } shared;
};

/* ---- the connection ---- */

static enum banyan_status begin_use(struct postgres_home *home, struct banyan_error *err)
{
    (void)pthread_mutex_lock(&home->shared.lock); /* fails only for a lock that is none */
    return home->shared.conn != NULL ? BANYAN_OK : postgres_connect(&home->place, false, &home->shared.conn, err);
}

/* After a failure nothing of a transaction can be left: the connection is given up. */
static enum banyan_status end_use(struct postgres_home *home, enum banyan_status st)
{
    if (st != BANYAN_OK) {
        pg_close(home->shared.conn);
        home->shared.conn = NULL;
    }
    (void)pthread_mutex_unlock(&home->shared.lock); /* as above */
    return st;
}

/* ---- the engine's tables ---- */

static const char engine_tables[] =
    "CREATE TABLE IF NOT EXISTS @view (view text PRIMARY KEY, last int NOT NULL);"
    "CREATE TABLE IF NOT EXISTS @generation (view text NOT NULL, number int NOT NULL, state text NOT NULL, "
    "form text NOT NULL, version bigint NOT NULL, position bigint NOT NULL DEFAULT 0, at bigint NOT NULL DEFAULT 0, "
    "lsn bigint NOT NULL DEFAULT 0, epoch bigint NOT NULL DEFAULT 0, sealed boolean NOT NULL DEFAULT false, "
    "made_at timestamptz NOT NULL DEFAULT clock_timestamp(), served_at timestamptz, PRIMARY KEY (view, number));"
    "CREATE TABLE IF NOT EXISTS @aside (view text NOT NULL, generation int NOT NULL, by_stream boolean NOT NULL, "
    "key bigint NOT NULL, stream text NOT NULL, position bigint NOT NULL, at bigint NOT NULL, held bigint NOT NULL, "
    "reason text NOT NULL, PRIMARY KEY (view, generation, by_stream, key, stream));";

static enum banyan_status exists(struct postgres_home *home, const char *name, bool *ret, struct banyan_error *err)
{
    struct pg_param params[] = {postgres_text(banyan_str_of(home->place.schema)), postgres_text(banyan_str_of(name))};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(home->shared.conn,
                                    "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE "
                                    "n.nspname = $1::text AND c.relname = $2::text",
                                    params, 2, &result, err);
    if (st == BANYAN_OK)
        *ret = pg_rows(result) > 0;
    pg_result_free(result);
    return st;
}

/* Versions before generations had a table a view, and the names of these in banyan_checkpoint: they are only views of
 * the log, and are in the way. */
static enum banyan_status remove_former_layout(struct postgres_home *home, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    bool there = false;
    enum banyan_status st = exists(home, "banyan_checkpoint", &there, err);
    if (st != BANYAN_OK || !there)
        return st;
    st = postgres_exec(&home->place, home->shared.conn, "SELECT view FROM @checkpoint", NULL, 0, &result, err);
    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(result); i++) {
        struct banyan_str view = pg_text(result, i, 0);
        banyan_buf_add_text(&sql, "DROP TABLE IF EXISTS ");
        pg_add_identifier(&sql, banyan_str_of(home->place.schema));
        banyan_buf_add_char(&sql, '.');
        pg_add_identifier(&sql, view);
        banyan_buf_add_char(&sql, ';');
    }
    postgres_add_sql(&home->place, "DROP TABLE IF EXISTS @aside; DROP TABLE @checkpoint;", &sql);
    if (st == BANYAN_OK)
        st = pg_run(home->shared.conn, sql.data, err);
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

/* Within a transaction.  The lock keeps apart who starts at the same time: CREATE … IF NOT EXISTS alone does not.  An
 * existing schema is not created, which would need a right on the database. */
static enum banyan_status begin_change(struct postgres_home *home, struct banyan_error *err)
{
    struct pg_param schema = postgres_text(banyan_str_of(home->place.schema));
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    struct pg_result *result = NULL;
    bool made = false;
    enum banyan_status st = pg_run(home->shared.conn, "BEGIN", err);
    if (st == BANYAN_OK)
        st = pg_exec(home->shared.conn, "SELECT pg_advisory_xact_lock(hashtext('banyan views in ' || $1::text))",
                     &schema, 1, NULL, err);
    if (st == BANYAN_OK)
        st = pg_exec(home->shared.conn, "SELECT FROM pg_namespace WHERE nspname = $1::text", &schema, 1, &result, err);
    if (st == BANYAN_OK && pg_rows(result) == 0) {
        banyan_buf_add_text(&sql, "CREATE SCHEMA ");
        pg_add_identifier(&sql, banyan_str_of(home->place.schema));
        st = pg_run(home->shared.conn, sql.data, err);
    }
    if (st == BANYAN_OK)
        st = remove_former_layout(home, err);
    if (st == BANYAN_OK)
        st = exists(home, "banyan_generation", &made, err);
    if (st == BANYAN_OK && !made) {
        banyan_buf_reset(&sql);
        postgres_add_sql(&home->place, engine_tables, &sql);
        st = pg_run(home->shared.conn, sql.data, err);
    }
    pg_result_free(result);
    banyan_buf_release(&sql);
    return st;
}

/* ---- generations ---- */

static enum sink_generation_state state_of(struct banyan_str text)
{
    return banyan_str_equal(text, BANYAN_STR("serving")) ? SINK_SERVING
           : banyan_str_equal(text, BANYAN_STR("kept"))  ? SINK_KEPT
                                                         : SINK_BUILDING;
}

static void read_generation(const struct pg_result *result, size_t at, struct sink_generation *ret)
{
    struct banyan_str form = pg_text(result, at, 2);
    *ret = (struct sink_generation){
        .number = (uint32_t)pg_int(result, at, 0),
        .state = state_of(pg_text(result, at, 1)),
        .version = (unsigned)pg_int(result, at, 3),
        .sealed = pg_bool(result, at, 4),
        .checkpoint = {.position = {(uint64_t)pg_int(result, at, 5)},
                       .at = {pg_int(result, at, 6)},
                       .source_lsn = (uint64_t)pg_int(result, at, 7),
                       .generation = (uint32_t)pg_int(result, at, 0)},
        .made_at = {pg_int(result, at, 8)},
        .served_at = {BANYAN_TIME_NULL},
    };
    memcpy(ret->form, form.data, form.size < SINK_FORM_SIZE ? form.size : SINK_FORM_SIZE - 1);
    ret->checkpoint.ready = sink_form_mark(ret->form);
    if (ret->state == SINK_SERVING && pg_text(result, at, 9).data != NULL)
        ret->served_at.us = pg_int(result, at, 9);
}

static enum banyan_status list(struct postgres_home *home, struct sink_generation *ret, size_t *ret_count,
                               struct banyan_error *err)
{
    struct pg_param view = postgres_text(banyan_str_of(home->place.view));
    struct pg_result *result = NULL;
    enum banyan_status st =
        postgres_exec(&home->place, home->shared.conn,
                      "SELECT number, state, form, version, sealed, position, at, lsn, (extract(epoch FROM made_at) * "
                      "1000000)::bigint, (extract(epoch FROM served_at) * 1000000)::bigint FROM @generation "
                      "WHERE view = $1 ORDER BY number LIMIT 16",
                      &view, 1, &result, err);
    if (st != BANYAN_OK)
        return st;
    *ret_count = pg_rows(result);
    for (size_t i = 0; i < *ret_count; i++)
        read_generation(result, i, &ret[i]);
    pg_result_free(result);
    return BANYAN_OK;
}

static enum banyan_status home_generations(struct sink_home *base, struct sink_generation *ret, size_t *ret_count,
                                           struct banyan_error *err)
{
    struct postgres_home *home = (struct postgres_home *)base;
    bool made = false;
    size_t count = 0;
    enum banyan_status st = begin_use(home, err);
    if (st == BANYAN_OK)
        st = exists(home, "banyan_generation", &made, err);
    if (st == BANYAN_OK && made)
        st = list(home, ret, &count, err);
    if (st == BANYAN_OK)
        *ret_count = count;
    return end_use(home, st);
}

/* The names must be free: another view of this schema may have tables of the same name. */
static enum banyan_status check_names(struct postgres_home *home, uint32_t number, struct banyan_error *err)
{
    struct banyan_buf name = BANYAN_BUF_INIT(4096);
    enum banyan_status st = BANYAN_OK;
    for (unsigned i = 0; i < home->base.projection->table_count && st == BANYAN_OK; i++) {
        bool taken = false;
        struct sink_sql sql = postgres_sql(&home->place, i, number, &name);
        st = exists(home, sql.name, &taken, err);
        if (st == BANYAN_OK && taken) {
            st = banyan_error_set(err, BANYAN_INVALID, "schema %s has a table %s already, and it is not of view %s",
                                  home->place.schema, sql.name, home->place.view);
            banyan_error_hint(err, "keep this view in another schema, or remove that table");
        }
    }
    banyan_buf_release(&name);
    return st;
}

static enum banyan_status insert_generation(struct postgres_home *home, struct sink_mark ready, uint32_t *ret_number,
                                            struct banyan_error *err)
{
    char form[SINK_FORM_SIZE], memory[2][POSTGRES_INT_MAX];
    struct pg_result *result = NULL;
    struct pg_param params[] = {postgres_text(banyan_str_of(home->place.view)), {{NULL, 0}}, {{NULL, 0}}, {{NULL, 0}}};
    sink_form_marked(home->base.projection, ready, form);
    enum banyan_status st = postgres_exec(&home->place, home->shared.conn,
                                          "INSERT INTO @view AS v (view, last) VALUES ($1, 1) ON CONFLICT (view) DO "
                                          "UPDATE SET last = v.last + 1 RETURNING last",
                                          params, 1, &result, err);
    if (st != BANYAN_OK)
        return st;
    *ret_number = (uint32_t)pg_int(result, 0, 0);
    pg_result_free(result);
    params[1] = postgres_int(*ret_number, memory[0]);
    params[2] = postgres_text(banyan_str_of(form));
    params[3] = postgres_int(home->base.projection->version, memory[1]);
    return postgres_exec(
        &home->place, home->shared.conn,
        "INSERT INTO @generation (view, number, state, form, version) VALUES ($1, $2::int, 'building', "
        "$3, $4::bigint)",
        params, 4, NULL, err);
}

static enum banyan_status home_make(struct sink_home *base, struct sink_mark ready, uint32_t *ret_number,
                                    struct banyan_error *err)
{
    struct postgres_home *home = (struct postgres_home *)base;
    struct sink_generation all[SINK_GENERATIONS_MAX];
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    size_t count = 0;
    uint32_t number = 0;
    enum banyan_status st = begin_use(home, err);
    if (st == BANYAN_OK)
        st = begin_change(home, err);
    if (st == BANYAN_OK)
        st = list(home, all, &count, err);
    if (st == BANYAN_OK)
        st = sink_make_check(base->projection, count, err);
    if (st == BANYAN_OK)
        st = insert_generation(home, ready, &number, err);
    if (st == BANYAN_OK)
        st = check_names(home, number, err);
    if (st == BANYAN_OK) {
        postgres_add_tables(&home->place, number, &sql);
        banyan_buf_add_text(&sql, "COMMIT");
        st = pg_run(home->shared.conn, sql.data, err);
    }
    if (st == BANYAN_OK)
        *ret_number = number;
    else
        banyan_error_context(err, "view %s in schema %s", home->place.view, home->place.schema);
    banyan_buf_release(&sql);
    return end_use(home, st);
}

/* ---- the switch ---- */

/* For people: a VIEW of the table's name.  Replacing keeps their rights on it and what they built over it; where its
 * columns are others it has to be made anew. */
static enum banyan_status replace_views(struct postgres_home *home, uint32_t number, bool anew,
                                        struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(POSTGRES_SQL_MAX), name = BANYAN_BUF_INIT(4096);
    for (unsigned i = 0; i < home->base.projection->table_count; i++) {
        struct sink_sql sql = postgres_sql(&home->place, i, number, &name);
        if (anew) {
            banyan_buf_add_text(&text, "DROP VIEW IF EXISTS ");
            postgres_add_name(&home->place, sql.table->name, &text);
            banyan_buf_add_text(&text, "; ");
        }
        banyan_buf_add_text(&text, anew ? "CREATE VIEW " : "CREATE OR REPLACE VIEW ");
        postgres_add_name(&home->place, sql.table->name, &text);
        banyan_buf_add_text(&text, " AS SELECT ");
        sink_sql_add_columns(&sql, &text);
        banyan_buf_add_text(&text, " FROM ");
        sink_sql_add_table(&sql, &text);
        banyan_buf_add_text(&text, "; ");
    }
    enum banyan_status st = pg_run(home->shared.conn, text.data, err);
    banyan_buf_release(&name);
    banyan_buf_release(&text);
    return st;
}

static enum banyan_status switch_views(struct postgres_home *home, uint32_t number, struct banyan_error *err)
{
    struct banyan_error first = BANYAN_ERROR_INIT;
    enum banyan_status st = pg_run(home->shared.conn, "SAVEPOINT replaced", err);
    if (st != BANYAN_OK)
        return st;
    st = replace_views(home, number, false, &first);
    if (st == BANYAN_OK || banyan_status_class(st) == BANYAN_CLASS_RETRY) {
        if (st != BANYAN_OK && err != NULL)
            *err = first;
        return st;
    }
    st = pg_run(home->shared.conn, "ROLLBACK TO SAVEPOINT replaced", err);
    if (st == BANYAN_OK)
        st = replace_views(home, number, true, err);
    if (st != BANYAN_OK && banyan_status_class(st) != BANYAN_CLASS_RETRY)
        banyan_error_context(err, "schema %s: a table or something of yours is where the view %s wants to be",
                             home->place.schema, home->place.view);
    return st;
}

static enum banyan_status try_serve(struct postgres_home *home, uint32_t expected, uint32_t number,
                                    struct banyan_error *err)
{
    char memory[POSTGRES_INT_MAX];
    struct pg_param params[] = {postgres_text(banyan_str_of(home->place.view)), postgres_int(number, memory)};
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = begin_change(home, err);
    if (st == BANYAN_OK)
        st = pg_run(home->shared.conn, "SET LOCAL lock_timeout = '100ms'", err);
    if (st == BANYAN_OK)
        st = list(home, all, &count, err);
    if (st == BANYAN_OK)
        st = sink_serve_check(home->base.projection, all, count, expected, number, err);
    if (st == BANYAN_OK && expected != number) {
        st = postgres_exec(&home->place, home->shared.conn,
                           "UPDATE @generation SET state = CASE WHEN number = $2::int THEN 'serving' ELSE 'kept' END, "
                           "served_at = CASE WHEN number = $2::int THEN clock_timestamp() END WHERE view = $1 AND "
                           "(number = $2::int OR state = 'serving')",
                           params, 2, NULL, err);
        if (st == BANYAN_OK)
            st = switch_views(home, number, err);
    }
    return st == BANYAN_OK ? pg_run(home->shared.conn, "COMMIT", err) : st;
}

static enum banyan_status try_drop(struct postgres_home *home, uint32_t number, struct banyan_error *err)
{
    char memory[POSTGRES_INT_MAX];
    struct pg_param params[] = {postgres_text(banyan_str_of(home->place.view)), postgres_int(number, memory)};
    struct sink_generation all[SINK_GENERATIONS_MAX];
    struct banyan_buf sql = BANYAN_BUF_INIT(POSTGRES_SQL_MAX);
    size_t count = 0;
    enum banyan_status st = begin_change(home, err);
    if (st == BANYAN_OK)
        st = pg_run(home->shared.conn, "SET LOCAL lock_timeout = '100ms'", err);
    if (st == BANYAN_OK)
        st = list(home, all, &count, err);
    if (st == BANYAN_OK)
        st = sink_drop_check(home->base.projection, all, count, number, err);
    if (st == BANYAN_OK)
        st = postgres_exec(&home->place, home->shared.conn,
                           "WITH gone AS (DELETE FROM @generation WHERE view = $1 AND number = $2::int) DELETE FROM "
                           "@aside WHERE view = $1 AND generation = $2::int",
                           params, 2, NULL, err);
    if (st == BANYAN_OK) {
        postgres_drop_tables(&home->place, number, &sql);
        banyan_buf_add_text(&sql, "COMMIT");
        st = pg_run(home->shared.conn, sql.data, err);
    }
    banyan_buf_release(&sql);
    return st;
}

/* Serve (*expected* counts) or drop, again and again while somebody holds a lock that it takes. */
static enum banyan_status persist(struct postgres_home *home, bool serves, uint32_t expected, uint32_t number,
                                  struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 20000, .pause_us_max = 500000, .total_us_max = 30 * 1000 * 1000};
    for (;;) {
        struct banyan_error problem = BANYAN_ERROR_INIT;
        enum banyan_status st = begin_use(home, &problem);
        if (st == BANYAN_OK)
            st = serves ? try_serve(home, expected, number, &problem) : try_drop(home, number, &problem);
        st = end_use(home, st);
        bool held = st == BANYAN_TIMEOUT || (st == BANYAN_BUSY && problem.sqlstate[0] != '\0');
        if (st == BANYAN_OK || !held || !os_retry_pause(&retry, NULL)) {
            if (st != BANYAN_OK && err != NULL && err->status == BANYAN_OK)
                *err = problem;
            return st;
        }
    }
}

static enum banyan_status home_serve(struct sink_home *base, uint32_t expected, uint32_t number,
                                     struct banyan_error *err)
{
    return persist((struct postgres_home *)base, true, expected, number, err);
}

static enum banyan_status home_drop(struct sink_home *base, uint32_t number, struct banyan_error *err)
{
    return persist((struct postgres_home *)base, false, 0, number, err);
}

/* ---- handles ---- */

static enum banyan_status home_open(struct sink_home *base, uint32_t number, struct sink **ret,
                                    struct banyan_error *err)
{
    struct sink_generation all[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = home_generations(base, all, &count, err);
    if (st == BANYAN_OK)
        st = sink_open_check(base->projection, all, count, number, err);
    if (st == BANYAN_OK)
        *ret = postgres_sink_open(&((struct postgres_home *)base)->place, number);
    return st;
}

static enum banyan_status home_view(struct sink_home *base, struct sink_view **ret, struct banyan_error *err)
{
    *ret = postgres_view_open(&((struct postgres_home *)base)->place);
    return BANYAN_OK;
}

static void home_close(struct sink_home *base)
{
    struct postgres_home *home = (struct postgres_home *)base;
    pg_close(home->shared.conn);
    (void)pthread_mutex_destroy(&home->shared.lock); /* nobody holds it */
    postgres_place_release(&home->place);
    free(home);
}

static const struct sink_home_ops postgres_home_ops = {
    .name = "postgres",
    .durable = true,
    .close = home_close,
    .generations = home_generations,
    .make = home_make,
    .open = home_open,
    .serve = home_serve,
    .drop = home_drop,
    .view = home_view,
};

enum banyan_status sink_postgres_home(const struct banyan_projection *projection, const char *conninfo,
                                      const char *schema, const char *view, struct sink_home **ret,
                                      struct banyan_error *err)
{
    enum banyan_status st = sink_check(projection, err);
    if (st != BANYAN_OK)
        return st;
    struct postgres_home *home = alloc_zeroed(1, sizeof(*home));
    home->base = (struct sink_home){&postgres_home_ops, projection};
    home->place = (struct postgres_place){projection, conninfo == NULL ? NULL : alloc_text(conninfo),
                                          alloc_text(schema == NULL ? "banyan" : schema), alloc_text(view)};
    (void)pthread_mutex_init(&home->shared.lock, NULL); /* cannot fail with default attributes */
    st = end_use(home, begin_use(home, err));
    if (st != BANYAN_OK) {
        home_close(&home->base);
        return st;
    }
    *ret = &home->base;
    return BANYAN_OK;
}
