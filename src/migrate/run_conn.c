/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two connections of a run, and statements that are watched.
 *
 * The lock of the books is the session's: who has it knows that no other session of a migrator works any more, also
 * none of his own that he lost.  So a new connection ends the old session where it still lives, takes the lock, and
 * only then the books are read: what they say of a COMMIT whose answer was lost is final.  Where they are not as they
 * were left somebody else had the lock in between (who finds us at work is told how to end our session): this run ends.
 *
 * Through a pooler a session is nobody's, and so is its lock: refused.
 */
#include <inttypes.h>
#include <stdio.h>

#include "migrate/run_int.h"
#include "os/clock.h"

enum {
    WAITING_MAX = 4096,
    BLOCKERS_SHOWN = 3,
    CONNECT_US = 10 * 1000 * 1000,
};

static const char settings_sql[] =
    "SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;"
    "SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off";
/* Of those that not every version knows: a session waits for as long as a backfill is throttled, or a table is read. */
static const char limits_sql[] = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings "
                                 "WHERE name IN ('idle_session_timeout', 'transaction_timeout')";

void run_init(struct run *run, const struct run_options *options, struct banyan_str version)
{
    *run = (struct run){
        .options = options,
        .version = version,
        .waiting = BANYAN_BUF_INIT(WAITING_MAX),
        .seen = BANYAN_BUF_INIT(WAITING_MAX),
        .since = BANYAN_BUF_INIT(WAITING_MAX),
        .vacuumed = BANYAN_BUF_INIT(WAITING_MAX),
        .fraction = -1,
    };
}

void run_release(struct run *run)
{
    pg_close(run->watch);
    pg_close(run->conn);
    banyan_buf_release(&run->vacuumed);
    banyan_buf_release(&run->since);
    banyan_buf_release(&run->waiting);
    banyan_buf_release(&run->seen);
    banyan_arena_release(&run->scratch);
    banyan_arena_release(&run->arena);
}

bool run_is_lost(enum banyan_status st)
{
    return st == BANYAN_UNAVAILABLE || st == BANYAN_BROKEN;
}

int64_t run_lock_us(const struct run *run)
{
    return run->options->lock_timeout_us > 0 ? run->options->lock_timeout_us : RUN_LOCK_US;
}

/* ---- connecting ---- */

static enum banyan_status open_watch(struct run *run, struct banyan_error *err)
{
    struct pg_options options = {
        .conninfo = run->options->conninfo,
        .application_name = RUN_APPLICATION,
        .connect_timeout_us = CONNECT_US,
        .statement_us_max = RUN_WATCH_US,
        .stop = run->options->stop,
    };

    enum banyan_status st;

    pg_close(run->watch);
    run->watch = NULL;
    st = pg_connect(&options, &run->watch, err);
    return st == BANYAN_OK ? pg_run(run->watch, limits_sql, err) : st;
}

/* Our own session of before, that does not know yet that nobody listens. */
static enum banyan_status end_old_session(struct run *run, struct banyan_error *err)
{
    static const char sql[] = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1::int "
                              "AND backend_start::text = $2";
    char pid[16];
    struct pg_param params[2];

    if (run->pid == 0)
        return BANYAN_OK;
    (void)snprintf(pid, sizeof(pid), "%d", run->pid); /* fits */
    params[0].text = banyan_str_of(pid);
    params[1].text = banyan_buf_str(&run->since);
    return pg_exec(run->watch, sql, params, 2, NULL, err);
}

/* Who we are at the server. */
static enum banyan_status meet(struct run *run, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(run->conn,
                                    "SELECT pg_backend_pid(), backend_start::text FROM pg_stat_activity "
                                    "WHERE pid = pg_backend_pid()",
                                    NULL, 0, &result, err);

    if (st == BANYAN_OK && pg_int(result, 0, 0) != pg_backend_pid(run->conn)) {
        st =
            banyan_error_set(err, BANYAN_SETTING, "the connection to %s goes through a pooler", pg_describe(run->conn));
        banyan_error_hint(err, "Migrations need a session of their own: connect to the server itself.");
    }
    if (st == BANYAN_OK) {
        run->pid = pg_backend_pid(run->conn);
        banyan_buf_reset(&run->since);
        banyan_buf_add_str(&run->since, pg_text(result, 0, 1));
    }
    pg_result_free(result);
    return st;
}

static enum banyan_status take_lock(struct run *run, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 20000,
                             .pause_us_max = 200000,
                             .total_us_max = run->connected_once ? RUN_OWN_TAKEN_US : RUN_TAKEN_US};

    for (;;) {
        struct banyan_error why = BANYAN_ERROR_INIT;
        enum banyan_status st = books_lock(run->conn, &why);

        if (st == BANYAN_BUSY && os_retry_pause(&retry, run->options->stop))
            continue;
        if (st != BANYAN_OK && err != NULL)
            *err = why;
        return st;
    }
}

static enum banyan_status connect_both(struct run *run, struct banyan_error *err)
{
    struct pg_options options = {
        .conninfo = run->options->conninfo,
        .application_name = RUN_APPLICATION,
        .connect_timeout_us = CONNECT_US,
        .stop = run->options->stop,
    };
    enum banyan_status st = open_watch(run, err);

    if (st == BANYAN_OK)
        st = end_old_session(run, err);
    if (st == BANYAN_OK)
        st = pg_connect(&options, &run->conn, err);
    if (st == BANYAN_OK)
        st = meet(run, err);
    if (st == BANYAN_OK)
        st = pg_run(run->conn, settings_sql, err);
    if (st == BANYAN_OK)
        st = pg_run(run->conn, limits_sql, err);
    if (st != BANYAN_OK)
        return st;
    /* A killed program's statement ends soon; not known before PostgreSQL 14, and not everywhere. */
    (void)!pg_run(run->conn, "SET client_connection_check_interval = '1s'", NULL);
    st = books_prepare(run->conn, err);
    return st == BANYAN_OK ? take_lock(run, err) : st;
}

enum banyan_status run_connect(struct run *run, struct banyan_error *err)
{
    int64_t total_us = run->options->try_us_max > 0 ? run->options->try_us_max : RUN_TRY_US_MAX;
    struct os_retry retry = {
        .first_us = RUN_PAUSE_US_FIRST, .pause_us_max = RUN_PAUSE_US_MAX, .total_us_max = total_us};

    for (;;) {
        struct banyan_error why = BANYAN_ERROR_INIT;
        enum banyan_status st;

        pg_close(run->conn);
        run->conn = NULL;
        st = connect_both(run, &why);
        if (st == BANYAN_OK) {
            run->connected_once = true;
            return st;
        }
        if (run->connected_once && run_is_lost(st)) {
            banyan_buf_reset(&run->waiting);
            banyan_buf_add_text(&run->waiting, why.message);
            run_tell(run, NULL);
            if (os_retry_pause(&retry, run->options->stop))
                continue;
        }
        if (err != NULL)
            *err = why;
        return st;
    }
}

enum banyan_status run_read(struct run *run, struct banyan_error *err)
{
    enum banyan_status st;

    banyan_arena_release(&run->arena);
    run->plan = (struct plan){.step_count = 0};
    st = books_read(run->conn, run->version, &run->arena, &run->books, err);
    if (st != BANYAN_OK || run->books.plan.size == 0)
        return st;
    st = plan_read(run->books.plan, &run->arena, &run->plan, err);
    if (st == BANYAN_OK && run->plan.step_count != run->books.step_count)
        st = banyan_error_set(err, BANYAN_CORRUPT, "migration %.*s has %zu steps in its plan and %zu in the books",
                              (int)run->version.size, run->version.data, run->plan.step_count, run->books.step_count);
    return st;
}

enum banyan_status run_still_ours(const struct run *run, const struct books_migration *before, struct banyan_error *err)
{
    const struct books_migration *now = &run->books;
    enum banyan_status st;

    if ((now->state == before->state || now->state == run->setting) && now->step_count == before->step_count &&
        (before->applied_us == 0 || now->applied_us == before->applied_us))
        return BANYAN_OK;
    st = banyan_error_set(err, BANYAN_CONFLICT,
                          "the connection was lost, and somebody else went on: migration %.*s is %s",
                          (int)run->version.size, run->version.data, books_state_name(now->state));
    banyan_error_hint(err, "This program does no more.  Its story: banyan migrate status %.*s.", (int)run->version.size,
                      run->version.data);
    return st;
}

/* ---- looking ---- */

void run_tell(struct run *run, const struct batches_progress *batches)
{
    struct run_progress progress = {
        .migration = &run->books,
        .plan = &run->plan,
        .step = run->number,
        .undoing = run->undoing,
        .tries = run->tries,
        .waiting = banyan_buf_str(&run->waiting),
        .fraction = run->fraction,
        .batches = batches,
    };

    if (batches != NULL && batches->reason != NULL)
        progress.waiting = banyan_str_of(batches->reason);
    if (run->options->progress != NULL)
        run->options->progress(run->options->context, &progress);
}

/* How far an index build is, by measured shares of its phases. */
static void look_at_index(struct run *run)
{
    static const struct {
        const char *phase;
        double from, share;
    } phases[] = {
        {"initializing", 0, 0},
        {"waiting for writers before build", 0, 0},
        {"building index: scanning table", 0.02, 0.45},
        {"building index: sorting live tuples", 0.47, 0.08},
        {"building index: loading tuples in tree", 0.55, 0.1},
        {"building index", 0.02, 0.63},
        {"waiting for writers before validation", 0.65, 0},
        {"index validation: scanning index", 0.65, 0.1},
        {"index validation: sorting tuples", 0.75, 0.05},
        {"index validation: scanning table", 0.8, 0.18},
        {"waiting for old snapshots", 0.98, 0},
    };
    static const char sql[] =
        "SELECT phase, greatest(CASE WHEN blocks_total > 0 THEN blocks_done * 1000 / blocks_total ELSE 0 END, "
        "CASE WHEN tuples_total > 0 THEN tuples_done * 1000 / tuples_total ELSE 0 END), lockers_done, lockers_total "
        "FROM pg_stat_progress_create_index WHERE pid = $1::int";
    char pid[16];
    struct pg_param param;
    struct pg_result *result = NULL;
    struct banyan_str phase;

    (void)snprintf(pid, sizeof(pid), "%d", run->pid); /* fits */
    param.text = banyan_str_of(pid);
    if (pg_exec(run->watch, sql, &param, 1, &result, NULL) != BANYAN_OK || pg_rows(result) == 0) {
        pg_result_free(result);
        return;
    }
    phase = pg_text(result, 0, 0);
    for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++)
        if (banyan_str_equal(phase, banyan_str_of(phases[i].phase)))
            run->fraction = phases[i].from + phases[i].share * (double)pg_int(result, 0, 1) / 1000;
    if (phase.size > 8 && memcmp(phase.data, "waiting ", 8) == 0) {
        banyan_buf_add_str(&run->waiting, phase);
        banyan_buf_printf(&run->waiting, " (%" PRId64 " of %" PRId64 " ended)", pg_int(result, 0, 2),
                          pg_int(result, 0, 3));
    }
    pg_result_free(result);
}

/* The tables that an autovacuum is at, for the lock that ends it. */
static void look_at_autovacuum(struct run *run, int vacuum_pid)
{
    static const char sql[] =
        "SELECT string_agg(quote_ident(n.nspname) || '.' || quote_ident(c.relname), ', ') FROM pg_locks l "
        "JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace WHERE l.pid = $1::int "
        "AND l.locktype = 'relation' AND l.granted AND l.mode = 'ShareUpdateExclusiveLock' AND c.relkind = 'r'";
    char pid[16];
    struct pg_param param;
    struct pg_result *result = NULL;

    (void)snprintf(pid, sizeof(pid), "%d", vacuum_pid); /* fits */
    param.text = banyan_str_of(pid);
    if (pg_exec(run->watch, sql, &param, 1, &result, NULL) == BANYAN_OK && pg_text(result, 0, 0).size > 0) {
        banyan_buf_reset(&run->vacuumed);
        banyan_buf_add_str(&run->vacuumed, pg_text(result, 0, 0));
    }
    pg_result_free(result);
}

static bool look_at_blockers(struct run *run)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct blocker *list = NULL;
    size_t count = 0, ended = 0;

    if (blockers_of(run->watch, run->pid, &run->scratch, &list, &count, NULL) != BANYAN_OK)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (banyan_str_equal(list[i].application, BANYAN_STR("autovacuum worker")))
            look_at_autovacuum(run, list[i].pid);
        if (i == BLOCKERS_SHOWN)
            banyan_buf_printf(&run->waiting, "; and %zu more", count - BLOCKERS_SHOWN);
        if (i >= BLOCKERS_SHOWN)
            continue;
        banyan_buf_add_text(&run->waiting, run->waiting.size > 0 ? "; " : "");
        banyan_buf_add_str(&run->waiting, blocker_text(&list[i], &run->scratch));
    }
    if (run->options->kill_idle_us <= 0 || count == 0)
        return true;
    if (blockers_end_idle(run->watch, list, count, run->options->kill_idle_us, &ended, &why) != BANYAN_OK)
        banyan_buf_printf(&run->waiting, " (%s)", why.message);
    else if (ended > 0)
        banyan_buf_printf(&run->waiting, " (%zu idle ended)", ended);
    return true;
}

/* For who reads the books while this runs. */
static void note(struct run *run)
{
    struct books_step step = run->books.steps[run->number];
    int64_t now_us = os_clock_monotonic_us(os_clock_real());

    if (now_us - run->noted_us < RUN_NOTE_US)
        return;
    run->noted_us = now_us;
    step.state = run_noted_state(run, run->number, run->undoing);
    step.tries = run->tries;
    step.message = banyan_buf_str(&run->waiting);
    (void)!books_step(run->watch, run->version, run->number, &step, NULL); /* only a note */
}

static void look(struct run *run, bool index)
{
    banyan_buf_reset(&run->waiting);
    banyan_arena_reset(&run->scratch);
    if (run->watch == NULL && open_watch(run, NULL) != BANYAN_OK)
        return;
    if (index)
        look_at_index(run);
    if (!look_at_blockers(run)) { /* a new one next time */
        pg_close(run->watch);
        run->watch = NULL;
    } else if (run->number < run->books.step_count) {
        note(run);
    }
    if (run->waiting.size > 0) {
        banyan_buf_reset(&run->seen);
        banyan_buf_add_str(&run->seen, banyan_buf_str(&run->waiting));
    }
    run_tell(run, NULL);
}

enum banyan_status run_watched(struct run *run, const char *sql, int64_t look_us, bool index, struct banyan_error *err)
{
    enum banyan_status st = pg_send(run->conn, sql, err);

    if (st != BANYAN_OK)
        return st;
    while (!pg_ended(run->conn, look_us))
        look(run, index);
    return pg_receive(run->conn, NULL, err);
}
