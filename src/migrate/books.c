/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See books.h: names of states, reading, marks.  books_prepare.c makes the tables and takes the lock, books_start.c
 * writes a migration into them.
 *
 * A mark is one UPDATE of one row by its key, so that it fits into any transaction.  Times travel as microseconds.
 */
#include "migrate/books.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "migrate/books_int.h"

enum {
    NUMBER_TEXT = 24,
};

static const char *const state_names[] = {
    [BOOKS_NONE] = "none",
    [BOOKS_STARTED] = "started",
    [BOOKS_EXPANDING] = "expanding",
    [BOOKS_BACKFILLING] = "backfilling",
    [BOOKS_READY] = "ready",
    [BOOKS_CONTRACTING] = "contracting",
    [BOOKS_REOPENING] = "reopening",
    [BOOKS_COMPLETED] = "completed",
    [BOOKS_CLEANING] = "cleaning",
    [BOOKS_DONE] = "done",
    [BOOKS_ROLLING_BACK] = "rolling_back",
    [BOOKS_ROLLED_BACK] = "rolled_back",
};
static const char *const step_names[] = {
    [BOOKS_STEP_OPEN] = "open",       [BOOKS_STEP_RUNNING] = "running", [BOOKS_STEP_DONE] = "done",
    [BOOKS_STEP_UNDOING] = "undoing", [BOOKS_STEP_UNDONE] = "undone",
};

const char *books_state_name(enum books_state state)
{
    return state_names[state];
}

static size_t find_name(const char *const *names, size_t count, struct banyan_str name)
{
    for (size_t i = 0; i < count; i++)
        if (banyan_str_equal(banyan_str_of(names[i]), name))
            return i;
    return count;
}

/* ---- reading ---- */

#define MICROSECONDS(column) "(extract(epoch FROM " column ") * 1000000)::bigint"
#define MIGRATION_COLUMNS                                                                                              \
    "version, description, encode(checksum, 'hex'), state, paused, " MICROSECONDS("applied_at") ", applied_by, "       \
                                                                                                "execution_time_ms"
static const char read_sql[] = "SELECT " MIGRATION_COLUMNS ", rollback_script, source, plan "
                               "FROM banyan.schema_migrations WHERE version = $1";
static const char list_sql[] = "SELECT " MIGRATION_COLUMNS " FROM banyan.schema_migrations "
                               "ORDER BY applied_at, version";
static const char steps_sql[] = "SELECT state, " MICROSECONDS("started_at") ", " MICROSECONDS(
    "ended_at") ", tries, undone, pass, page, pages, "
                "rows, message, batch_pages FROM banyan.schema_migration_steps WHERE version = $1 ORDER BY number";

static void take_checksum(struct banyan_str hex, uint8_t ret[32])
{
    memset(ret, 0, 32);
    for (size_t i = 0; i < 32 && 2 * i + 1 < hex.size; i++) {
        unsigned byte = 0;

        if (sscanf(hex.data + 2 * i, "%2x", &byte) == 1)
            ret[i] = (uint8_t)byte;
    }
}

static enum banyan_status take_migration(const struct pg_result *result, size_t row, struct banyan_arena *arena,
                                         struct books_migration *ret, struct banyan_error *err)
{
    struct banyan_str state = pg_text(result, row, 3);

    *ret = (struct books_migration){
        .version = banyan_arena_str(arena, pg_text(result, row, 0)),
        .description = banyan_arena_str(arena, pg_text(result, row, 1)),
        .state = (enum books_state)find_name(state_names, BOOKS_ROLLED_BACK + 1, state),
        .paused = pg_bool(result, row, 4),
        .applied_us = pg_int(result, row, 5),
        .applied_by = banyan_arena_str(arena, pg_text(result, row, 6)),
        .execution_ms = pg_int(result, row, 7),
        .rollback_script = BANYAN_STR(""),
        .source = BANYAN_STR(""),
        .plan = BANYAN_STR(""),
    };
    take_checksum(pg_text(result, row, 2), ret->checksum);
    if (ret->state > BOOKS_ROLLED_BACK)
        return banyan_error_set(err, BANYAN_CORRUPT,
                                "migration %.*s has the state '%.*s', which this program does not "
                                "know: a newer one wrote it",
                                (int)ret->version.size, ret->version.data, (int)state.size, state.data);
    return BANYAN_OK;
}

static void take_steps(const struct pg_result *result, struct banyan_arena *arena, struct books_migration *ret)
{
    ret->step_count = pg_rows(result);
    ret->steps = banyan_arena_zalloc(arena, (ret->step_count + 1) * sizeof(*ret->steps));
    for (size_t i = 0; i < ret->step_count; i++) {
        size_t state = find_name(step_names, BOOKS_STEP_UNDONE + 1, pg_text(result, i, 0));

        ret->steps[i] = (struct books_step){
            .state = state > BOOKS_STEP_UNDONE ? BOOKS_STEP_OPEN : (enum books_step_state)state,
            .started_us = pg_int(result, i, 1),
            .ended_us = pg_int(result, i, 2),
            .tries = (uint32_t)pg_int(result, i, 3),
            .undone = (uint32_t)pg_int(result, i, 4),
            .pass = (uint32_t)pg_int(result, i, 5),
            .page = pg_int(result, i, 6),
            .pages = pg_int(result, i, 7),
            .rows = pg_int(result, i, 8),
            .message = banyan_arena_str(arena, pg_text(result, i, 9)),
            .batch_pages = (uint32_t)pg_int(result, i, 10),
        };
    }
}

/* The tables are not there: nothing was ever migrated. */
static bool is_no_table(const struct banyan_error *why)
{
    return strcmp(why->sqlstate, "42P01") == 0 || strcmp(why->sqlstate, "3F000") == 0;
}

/* Which GRANT is missing, for whom. */
static void tell_grant(struct pg_conn *conn, enum banyan_status st, struct banyan_error *why)
{
    struct pg_result *result = NULL;

    if (st != BANYAN_PRIVILEGE)
        return;
    if (pg_exec(conn, "SELECT quote_ident(current_user)", NULL, 0, &result, NULL) == BANYAN_OK) {
        struct banyan_str role = pg_text(result, 0, 0);

        banyan_error_hint(why,
                          "Run as their owner: GRANT USAGE, CREATE ON SCHEMA banyan TO %.*s; GRANT SELECT, INSERT, "
                          "UPDATE, DELETE ON ALL TABLES IN SCHEMA banyan TO %.*s; (to look only: USAGE and SELECT)",
                          (int)role.size, role.data, (int)role.size, role.data);
    }
    pg_result_free(result);
}

static enum banyan_status not_found(struct banyan_str version, struct banyan_error *err)
{
    enum banyan_status st = banyan_error_set(err, BANYAN_NOT_FOUND, "there is no migration %.*s in this database",
                                             (int)version.size, version.data);

    banyan_error_hint(err, "Those that are there: banyan migrate history.");
    return st;
}

enum banyan_status books_read(struct pg_conn *conn, struct banyan_str version, struct banyan_arena *arena,
                              struct books_migration *ret, struct banyan_error *err)
{
    struct pg_param param = {version};
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL, *steps = NULL;
    struct books_migration found;
    enum banyan_status st = pg_exec(conn, read_sql, &param, 1, &result, &why);

    if (st == BANYAN_OK)
        st = pg_exec(conn, steps_sql, &param, 1, &steps, &why);
    tell_grant(conn, st, &why);
    if ((st != BANYAN_OK && is_no_table(&why)) || (st == BANYAN_OK && pg_rows(result) == 0)) {
        banyan_error_clear(&why);
        st = not_found(version, &why);
    }
    if (st == BANYAN_OK)
        st = take_migration(result, 0, arena, &found, &why);
    if (st == BANYAN_OK) {
        found.rollback_script = banyan_arena_str(arena, pg_text(result, 0, 8));
        found.source = banyan_arena_str(arena, pg_text(result, 0, 9));
        found.plan = banyan_arena_str(arena, pg_text(result, 0, 10));
        take_steps(steps, arena, &found);
        *ret = found;
    }
    pg_result_free(steps);
    pg_result_free(result);
    return books_tell(err, &why, st);
}

enum banyan_status books_list(struct pg_conn *conn, struct banyan_arena *arena, struct books_migration **ret,
                              size_t *ret_count, struct banyan_error *err)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    struct books_migration *list;
    enum banyan_status st = pg_exec(conn, list_sql, NULL, 0, &result, &why);
    size_t count;

    if (st != BANYAN_OK && is_no_table(&why)) {
        *ret = NULL;
        *ret_count = 0;
        return BANYAN_OK;
    }
    tell_grant(conn, st, &why);
    if (st != BANYAN_OK)
        return books_tell(err, &why, st);
    count = pg_rows(result);
    list = banyan_arena_zalloc(arena, (count + 1) * sizeof(*list));
    for (size_t i = 0; i < count && st == BANYAN_OK; i++)
        st = take_migration(result, i, arena, &list[i], &why);
    if (st == BANYAN_OK) {
        *ret = list;
        *ret_count = count;
    }
    pg_result_free(result);
    return books_tell(err, &why, st);
}

/* ---- marks ---- */

/* An UPDATE that has to find its row. */
static enum banyan_status mark(struct pg_conn *conn, const char *sql, const struct pg_param *params, size_t count,
                               struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn, sql, params, count, &result, err);

    if (st == BANYAN_OK && pg_affected(result) != 1)
        st = not_found(params[0].text, err);
    pg_result_free(result);
    return st;
}

enum banyan_status books_state(struct pg_conn *conn, struct banyan_str version, enum books_state state,
                               struct banyan_error *err)
{
    struct pg_param params[] = {{version}, {banyan_str_of(state_names[state])}};

    return mark(conn, "UPDATE banyan.schema_migrations SET state = $2 WHERE version = $1", params, 2, err);
}

enum banyan_status books_pause(struct pg_conn *conn, struct banyan_str version, bool paused, struct banyan_error *err)
{
    struct pg_param params[] = {{version}, {paused ? BANYAN_STR("true") : BANYAN_STR("false")}};

    return mark(conn, "UPDATE banyan.schema_migrations SET paused = $2::boolean WHERE version = $1", params, 2, err);
}

static struct pg_param number(char text[NUMBER_TEXT], int64_t value)
{
    (void)snprintf(text, NUMBER_TEXT, "%" PRId64, value); /* fits */
    return (struct pg_param){banyan_str_of(text)};
}

enum banyan_status books_step(struct pg_conn *conn, struct banyan_str version, size_t step_number,
                              const struct books_step *step, struct banyan_error *err)
{
    static const char sql[] =
        "UPDATE banyan.schema_migration_steps SET state = $3, started_at = CASE WHEN $4::bigint <> 0 "
        "THEN 'epoch'::timestamptz + $4::bigint * interval '1 microsecond' WHEN $3 <> 'open' THEN "
        "coalesce(CASE WHEN state IN ('running', 'undoing') THEN started_at END, now()) END, "
        "ended_at = CASE WHEN $5::bigint <> 0 THEN 'epoch'::timestamptz + $5::bigint * interval '1 microsecond' "
        "WHEN $3 IN ('done', 'undone') THEN clock_timestamp() END, tries = $6::bigint, undone = $7::bigint, "
        "pass = $8::bigint, page = $9::bigint, pages = $10::bigint, rows = $11::bigint, message = $12, "
        "batch_pages = $13::bigint "
        "WHERE version = $1 AND number = $2::bigint";
    char texts[10][NUMBER_TEXT];
    struct pg_param params[] = {
        {version},
        number(texts[0], (int64_t)step_number),
        {banyan_str_of(step_names[step->state])},
        number(texts[1], step->started_us),
        number(texts[2], step->ended_us),
        number(texts[3], step->tries),
        number(texts[4], step->undone),
        number(texts[5], step->pass),
        number(texts[6], step->page),
        number(texts[7], step->pages),
        number(texts[8], step->rows),
        {step->message.data == NULL ? BANYAN_STR("") : step->message},
        number(texts[9], step->batch_pages),
    };

    return mark(conn, sql, params, sizeof(params) / sizeof(params[0]), err);
}

enum banyan_status books_worked(struct pg_conn *conn, struct banyan_str version, int64_t ms, struct banyan_error *err)
{
    char text[NUMBER_TEXT];
    struct pg_param params[] = {{version}, number(text, ms)};

    return mark(conn,
                "UPDATE banyan.schema_migrations SET execution_time_ms = execution_time_ms + $2::bigint "
                "WHERE version = $1",
                params, 2, err);
}

enum banyan_status books_tell(struct banyan_error *err, const struct banyan_error *why, enum banyan_status st)
{
    if (st != BANYAN_OK && err != NULL && err->status == BANYAN_OK)
        *err = *why;
    return st;
}
