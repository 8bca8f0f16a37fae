/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reasons to wait, one question each; what is not looked at is not asked.  The order is that of the header: the first
 * reason is told, and nothing behind it is asked.
 */
#include "migrate/throttle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "migrate/throttle_int.h"

/* ---- reasons ---- */

void throttle_hold(struct throttle_state *state, const char *format, ...)
{
    char text[THROTTLE_REASON_MAX];
    va_list list;

    if (state->hold)
        return;
    state->hold = true;
    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list); /* a long reason is cut */
    va_end(list);
    banyan_buf_add_text(&state->reason, text);
}

void throttle_unknown(struct throttle_state *state, const char *what, const struct banyan_error *err)
{
    throttle_hold(state, "%s cannot be asked for: %s", what, err->message);
}

/* ---- questions ---- */

static bool is_asked(const struct throttle_options *options, const struct throttle_state *state, bool matters)
{
    return options->look || (matters && !state->hold);
}

static void ask_flag_file(const struct throttle_options *options, struct throttle_state *state)
{
    struct stat facts;

    if (options->flag_file == NULL)
        return;
    if (stat(options->flag_file, &facts) == 0)
        throttle_hold(state, "the flag file %s is there", options->flag_file);
    else if (errno != ENOENT && errno != ENOTDIR)
        throttle_hold(state, "the flag file %s cannot be looked for: %s", options->flag_file, strerror(errno));
}

static void ask_kept_wal(const struct throttle_options *options, struct pg_conn *conn, struct throttle_state *state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;

    if (!is_asked(options, state, options->kept_wal_bytes_max > 0))
        return;
    if (pg_exec(conn,
                "SELECT slot_name, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::bigint"
                " FROM pg_catalog.pg_replication_slots WHERE restart_lsn IS NOT NULL ORDER BY restart_lsn LIMIT 1",
                NULL, 0, &result, &err) != BANYAN_OK) {
        throttle_unknown(state, "the WAL that slots keep", &err);
    } else if (pg_rows(result) == 1) {
        state->kept_wal_bytes = pg_int(result, 0, 1);
        if (options->kept_wal_bytes_max > 0 && state->kept_wal_bytes > options->kept_wal_bytes_max)
            throttle_hold(state, "slot %.*s keeps %" PRId64 " MiB of WAL (limit %" PRId64 " MiB)",
                          (int)pg_text(result, 0, 0).size, pg_text(result, 0, 0).data, state->kept_wal_bytes >> 20,
                          options->kept_wal_bytes_max >> 20);
    }
    pg_result_free(result);
}

static void ask_lock_waiters(const struct throttle_options *options, struct pg_conn *conn, struct throttle_state *state)
{
    int64_t limit = options->lock_waiters_max == 0 ? THROTTLE_LOCK_WAITERS : options->lock_waiters_max;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;

    if (!is_asked(options, state, limit >= 0))
        return;
    if (pg_exec(conn,
                "SELECT count(DISTINCT l.pid) FROM pg_catalog.pg_locks l"
                " JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
                " WHERE NOT l.granted AND a.datname = pg_catalog.current_database()",
                NULL, 0, &result, &err) != BANYAN_OK) {
        throttle_unknown(state, "sessions that wait for a lock", &err);
    } else {
        state->lock_waiters = pg_int(result, 0, 0);
        if (limit >= 0 && state->lock_waiters > limit)
            throttle_hold(state, "%" PRId64 " sessions wait for a lock (limit %" PRId64 ")", state->lock_waiters,
                          limit);
    }
    pg_result_free(result);
}

/* A role that may not see other sessions gets them without a state: that is not "none is active". */
static void ask_active_sessions(const struct throttle_options *options, struct pg_conn *conn,
                                struct throttle_state *state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;

    if (!is_asked(options, state, options->active_sessions_max > 0))
        return;
    if (pg_exec(conn,
                "SELECT count(*) FILTER (WHERE state <> 'idle' AND state NOT LIKE 'idle in transaction%'),"
                " count(*) FILTER (WHERE backend_type IS NULL AND datname = pg_catalog.current_database())"
                " FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid()"
                " AND (backend_type = 'client backend' OR backend_type IS NULL)",
                NULL, 0, &result, &err) != BANYAN_OK) {
        throttle_unknown(state, "active sessions", &err);
    } else {
        state->active_sessions = pg_int(result, 0, 0);
        if (pg_int(result, 0, 1) > 0) {
            state->active_sessions = -1;
            if (options->active_sessions_max > 0)
                throttle_hold(state, "active sessions cannot be counted: the role needs pg_read_all_stats");
        }
        if (options->active_sessions_max > 0 && state->active_sessions > options->active_sessions_max)
            throttle_hold(state, "%" PRId64 " sessions are active (limit %" PRId64 ")", state->active_sessions,
                          options->active_sessions_max);
    }
    pg_result_free(result);
}

/* In a transaction that can write nothing and takes a second at most. */
static void ask_query(const struct throttle_options *options, struct pg_conn *conn, struct throttle_state *state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    struct banyan_str answer;

    if (options->query == NULL || state->hold)
        return;
    if (pg_run(conn, "BEGIN READ ONLY; SET LOCAL statement_timeout = '1s'", &err) != BANYAN_OK ||
        pg_exec(conn, options->query, NULL, 0, &result, &err) != BANYAN_OK) {
        throttle_unknown(state, "the throttle query", &err);
    } else {
        answer = pg_rows(result) == 1 ? pg_text(result, 0, 0) : (struct banyan_str){"nothing", 7};
        if (banyan_str_equal(answer, BANYAN_STR("t")))
            throttle_hold(state, "the throttle query says so");
        else if (!banyan_str_equal(answer, BANYAN_STR("f")))
            throttle_hold(state, "the throttle query answers %.*s, neither true nor false",
                          answer.data == NULL ? 4 : (int)answer.size, answer.data == NULL ? "NULL" : answer.data);
    }
    pg_result_free(result);
    if (pg_run(conn, "ROLLBACK", NULL) != BANYAN_OK)
        throttle_hold(state, "the throttle query left its transaction open");
}

void throttle_ask(const struct throttle_options *options, struct pg_conn *conn, struct throttle_state *state)
{
    if (state->reason.size_max == 0)
        state->reason = (struct banyan_buf)BANYAN_BUF_INIT(THROTTLE_REASON_MAX);
    banyan_buf_reset(&state->reason);
    state->hold = false;
    state->replica_lag_us = -1;
    state->replica_behind_bytes = 0;
    state->replicas_hidden = false;
    state->kept_wal_bytes = state->lock_waiters = state->active_sessions = 0;
    ask_flag_file(options, state);
    throttle_ask_replicas(options, conn, state);
    ask_kept_wal(options, conn, state);
    ask_lock_waiters(options, conn, state);
    ask_active_sessions(options, conn, state);
    ask_query(options, conn, state);
}

void throttle_state_release(struct throttle_state *state)
{
    if (state == NULL)
        return;
    banyan_buf_release(&state->reason);
    throttle_memory_free(state->memory);
    state->memory = NULL;
}
