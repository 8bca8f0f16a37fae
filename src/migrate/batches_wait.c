/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between two batches: paused in the books, throttled, stopped; who holds a row that is left over; what is told.
 *
 * Why it waits is written into the books as well, at most each second: `banyan migrate status` is another process.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "migrate/batches_int.h"
#include "migrate/sql.h"
#include "os/clock.h"
#include "os/retry.h"

enum {
    ASK_US = 100000,    /* not more often */
    TELL_US = 100000,   /* progress */
    PLACE_US = 1000000, /* the reason, in the books */
    MARK_US = 500000,
    PAUSE_US = 100000,
};

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

/* ---- progress ---- */

static void mark(struct batches *b, int64_t at_us)
{
    struct batches_mark now = {.at_us = at_us, .page = b->step->page, .rows = b->step->rows};

    if (b->mark_count > 0 && at_us - b->marks[b->mark_count - 1].at_us < MARK_US)
        return;
    if (b->mark_count == BATCHES_MARKS) {
        memmove(b->marks, b->marks + 1, sizeof(b->marks[0]) * (BATCHES_MARKS - 1));
        b->mark_count--;
    }
    b->marks[b->mark_count++] = now;
}

void batches_progress(struct batches *b)
{
    int64_t at_us = now_us();
    struct batches_progress progress = {.step = b->step,
                                        .pages_a_batch = b->pages_write,
                                        .eta_us = CATALOG_UNKNOWN,
                                        .reason = b->reason.size > 0 ? b->reason.data : NULL};
    const struct batches_mark *from = &b->marks[0];

    mark(b, at_us);
    if (b->options->progress == NULL || at_us - b->told_us < TELL_US)
        return;
    b->told_us = at_us;
    if (at_us > from->at_us) {
        double seconds = (double)(at_us - from->at_us) / 1e6;
        double pages = (double)(b->step->page - from->page);

        progress.rows_a_second = (double)(b->step->rows - from->rows) / seconds;
        if (pages > 0)
            progress.eta_us = (int64_t)((double)(b->step->pages - b->step->page) / (pages / seconds) * 1e6);
    }
    b->options->progress(b->options->context, &progress);
}

/* ---- reasons ---- */

void batches_tell(struct batches *b, const char *reason)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    int64_t at_us = now_us();
    bool news = reason == NULL ? b->reason.size > 0 : b->reason.size == 0;

    if (reason == NULL && b->reason.size == 0) {
        batches_progress(b);
        return;
    }
    if (reason == NULL || b->reason.data == NULL || strcmp(reason, b->reason.data) != 0) {
        banyan_buf_reset(&b->reason);
        banyan_buf_add_text(&b->reason, reason == NULL ? "" : reason);
    }
    b->step->message = banyan_buf_str(&b->reason);
    if (news || at_us - b->placed_us >= PLACE_US) {
        b->placed_us = at_us;
        if (batches_place(b, &err) != BANYAN_OK) /* a lost connection is met, and told, by the next batch */
            b->placed_us = 0;
    }
    if (news)
        b->told_us = 0; /* at once */
    batches_progress(b);
}

/* "pid 4711 (psql, idle in transaction for 12 s)"; of the row 0 of a result: pid, application, state, seconds, prepared
 * transaction. */
static void add_session(struct banyan_buf *text, const struct pg_result *result)
{
    struct banyan_str prepared = pg_text(result, 0, 4), state = pg_text(result, 0, 2);

    if (prepared.size > 0) {
        banyan_buf_printf(text, "the prepared transaction %.*s", (int)prepared.size, prepared.data);
        return;
    }
    banyan_buf_printf(text, "pid %" PRId64 " (%.*s, %.*s for %" PRId64 " s)", pg_int(result, 0, 0),
                      (int)pg_text(result, 0, 1).size, pg_text(result, 0, 1).data, state.size > 0 ? (int)state.size : 7,
                      state.size > 0 ? state.data : "unknown", pg_int(result, 0, 3));
}

static void tell_sessions(struct batches *b, const char *what, struct banyan_str sql)
{
    struct banyan_buf text = BANYAN_BUF_INIT(BATCHES_REASON_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;

    banyan_buf_add_text(&text, what);
    if (pg_exec(b->watch, sql.data, NULL, 0, &result, &err) == BANYAN_OK && pg_rows(result) > 0) {
        banyan_buf_add_text(&text, " by ");
        add_session(&text, result);
    } else {
        banyan_buf_add_text(&text, " by another session");
    }
    batches_tell(b, text.overflow ? what : text.data);
    pg_result_free(result);
    banyan_buf_release(&text);
}

static const char session_columns[] =
    "SELECT l.pid, coalesce(nullif(a.application_name, ''), a.usename, '?'), a.state,"
    " extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::bigint, p.gid FROM pg_catalog.pg_locks l"
    " LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
    " LEFT JOIN pg_catalog.pg_locks x ON l.pid IS NULL AND x.pid IS NULL AND x.locktype = 'transactionid'"
    " AND x.virtualtransaction = l.virtualtransaction"
    " LEFT JOIN pg_catalog.pg_prepared_xacts p ON p.transaction = x.transactionid";

void batches_tell_holder(struct batches *b, const char *at)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_str what, sql;

    what = banyan_arena_printf(&arena, "row %s of %.*s is locked", at, (int)b->plan->table.size, b->plan->table.data);
    /* What marks the row is the transaction of who holds it; several holders have a number of their own together. */
    sql = sql_make(&arena,
                   "%s JOIN ONLY %S t ON t.ctid = %L AND l.transactionid = t.xmax"
                   " WHERE l.locktype = 'transactionid' AND l.granted LIMIT 1",
                   session_columns, b->plan->table, banyan_str_of(at));
    tell_sessions(b, what.data, sql);
    banyan_arena_release(&arena);
}

void batches_tell_table(struct batches *b)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_str what, sql;

    what = banyan_arena_printf(&arena, "%.*s is locked", (int)b->plan->table.size, b->plan->table.data);
    sql = sql_make(&arena,
                   "%s WHERE l.locktype = 'relation' AND l.relation = %d AND l.database = (SELECT oid FROM"
                   " pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) AND l.mode IN ('ShareLock',"
                   " 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')"
                   " ORDER BY l.granted DESC LIMIT 1",
                   session_columns, b->oid);
    tell_sessions(b, what.data, sql);
    banyan_arena_release(&arena);
}

/* ---- whether to go on ---- */

/* BUSY when it is paused. */
static enum banyan_status paused(struct batches *b, struct banyan_error *err)
{
    struct pg_param params[] = {{b->options->version}};
    struct pg_result *result = NULL;
    enum banyan_status st =
        pg_exec(b->watch, "SELECT paused FROM banyan.schema_migrations WHERE version = $1", params, 1, &result, err);

    if (st == BANYAN_OK && pg_rows(result) > 0 && pg_bool(result, 0, 0)) {
        st = banyan_error_set(err, BANYAN_BUSY, "migration %.*s is paused", (int)b->options->version.size,
                              b->options->version.data);
        banyan_error_hint(err, "banyan migrate resume lets it go on.");
    }
    pg_result_free(result);
    return st;
}

/* Has anybody else worked in this database within the last second?  What cannot be seen counts as somebody; who only
 * watches (`banyan migrate status --watch`) does not: it must not slow down what it looks at. */
static bool in_company(struct batches *b)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_str sql =
        sql_make(&arena,
                 "SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity WHERE pid <> pg_catalog.pg_backend_pid()"
                 " AND pid <> %d AND application_name IS DISTINCT FROM 'banyan migrate status' AND datname = "
                 "pg_catalog.current_database()"
                 " AND (backend_type IS NULL OR (backend_type = 'client backend' AND (state = 'active'"
                 " OR state_change > pg_catalog.clock_timestamp() - interval '1 second'))))",
                 (int64_t)pg_backend_pid(b->conn));
    bool ret = pg_exec(b->watch, sql.data, NULL, 0, &result, &err) != BANYAN_OK || pg_bool(result, 0, 0);

    pg_result_free(result);
    banyan_arena_release(&arena);
    return ret;
}

void batches_rest(struct batches *b, int64_t worked_us)
{
    struct os_retry retry = {.first_us = worked_us, .pause_us_max = worked_us};

    if (b->company && worked_us > 0)
        (void)os_retry_pause(&retry, b->options->stop); /* whether it was stopped is asked before the next batch */
}

enum banyan_status batches_may_go_on(struct batches *b, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = PAUSE_US, .pause_us_max = PAUSE_US};
    enum banyan_status st = BANYAN_OK;

    for (;;) {
        int64_t at_us = now_us();

        if (b->options->stop != NULL && os_stop_requested(b->options->stop))
            return banyan_error_set(err, BANYAN_STOPPED, "stopped in the backfill of %.*s", (int)b->plan->table.size,
                                    b->plan->table.data);
        if (at_us - b->asked_us < ASK_US)
            break;
        b->asked_us = at_us;
        st = paused(b, err);
        if (st != BANYAN_OK)
            return st;
        if (b->options->throttle == NULL)
            break;
        b->company = in_company(b);
        throttle_ask(b->options->throttle, b->watch, &b->throttle);
        if (!b->throttle.hold)
            break;
        batches_tell(b, b->throttle.reason.data);
        (void)os_retry_pause(&retry, b->options->stop); /* whether it was stopped is asked above */
        b->asked_us = 0;
    }
    if (b->reason.size > 0)
        batches_tell(b, NULL);
    return BANYAN_OK;
}
