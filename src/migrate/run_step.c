/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One action until it is done.
 *
 *   transaction   BEGIN, limits, statements, mark, COMMIT: what was done and what the books say are one
 *   the others    mark "running", work, mark "done": what was begun is looked at before it is begun again
 *
 *   | failure            | then                                                                       |
 *   | lock_timeout,      | all of it again, behind a pause that doubles, up to the limit; the blockers |
 *   | deadlock           | are in the books meanwhile                                                 |
 *   | connection lost    | a new one; the books tell whether the COMMIT that was under way is done     |
 *   | anything else      | the run ends; the books have the reason; resume or rollback later           |
 *
 * LOCK TABLE in front of a transaction over several tables: all its waits together may take as long as one lock.
 *
 * An autovacuum gives way to who waits for longer than deadlock_timeout (1 s), which is too long to wait in front of
 * readers: on a big table a short lock_timeout would never win.  So a try that met one takes SHARE UPDATE EXCLUSIVE
 * first: for that nobody queues, it ends the autovacuum and keeps the next one out.
 *
 * synchronous_commit is local in short transactions: locks are held until COMMIT has its answer, and readers must not
 * wait for a standby.  What was done and its mark are in one record, a fail-over loses both or none.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "migrate/run_int.h"
#include "os/clock.h"

enum {
    SQL_MAX = 64 * 1024,
};

void run_at(struct run *run, const char *place)
{
    if (run->options->hooks != NULL && run->options->hooks->at != NULL)
        run->options->hooks->at(run->options->hooks->context, place);
}

enum banyan_status run_mark(struct run *run, size_t number, const struct books_step *step, struct banyan_error *err)
{
    enum banyan_status st = books_step(run->conn, run->version, number, step, err);

    if (st == BANYAN_OK) {
        run->books.steps[number] = *step;
        run->books.steps[number].message = BANYAN_STR(""); /* it was borrowed */
    }
    return st;
}

enum books_step_state run_noted_state(const struct run *run, size_t number, bool undoing)
{
    if (!undoing && run->plan.steps[number].act.kind == PLAN_TRANSACTION)
        return BOOKS_STEP_RUNNING;
    return run->books.steps[number].state;
}

enum banyan_status run_ask(struct run *run, struct banyan_str sql, bool *ret, struct banyan_error *err)
{
    struct banyan_str text = banyan_arena_str(&run->scratch, sql);
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(run->conn, text.data, NULL, 0, &result, err);

    if (st == BANYAN_OK)
        *ret = pg_bool(result, 0, 0);
    pg_result_free(result);
    return st;
}

enum banyan_status run_not_paused(struct run *run, struct banyan_error *err)
{
    struct pg_param param = {run->version};
    struct pg_result *result = NULL;
    enum banyan_status st =
        pg_exec(run->conn, "SELECT paused FROM banyan.schema_migrations WHERE version = $1", &param, 1, &result, err);

    if (st == BANYAN_OK && pg_bool(result, 0, 0)) {
        st = banyan_error_set(err, BANYAN_BUSY, "migration %.*s is paused", (int)run->version.size, run->version.data);
        banyan_error_hint(err, "Go on: banyan migrate resume %.*s.", (int)run->version.size, run->version.data);
    }
    pg_result_free(result);
    return st;
}

static int64_t lock_us_of(const struct run *run, const struct plan_action *action)
{
    switch (action->retry) {
    case PLAN_RETRY_SHORT:
        return run_lock_us(run);
    case PLAN_RETRY_LONG:
        return RUN_LONG_LOCK_US;
    case PLAN_RETRY_WATCH:
        break;
    }
    return 0;
}

/* When a statement that got no lock yet is looked at: before it gives up. */
static int64_t look_us_of(const struct run *run, const struct plan_action *action)
{
    return action->retry == PLAN_RETRY_SHORT ? run_lock_us(run) / 2 : RUN_LOOK_US;
}

/* What the books say when *work* is done. */
static struct books_step behind(const struct run *run, const struct run_work *work)
{
    struct books_step step = run->books.steps[work->number];

    step.state = work->state;
    step.undone = work->undone;
    step.tries = run->tries;
    step.ended_us = 0;
    step.message = BANYAN_STR("");
    if (work->undoing) /* the next action begins at its first page */
        step.pass = 0, step.page = 0, step.pages = 0;
    return step;
}

/* Who wants to see the end of a step. */
static enum banyan_status ended(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    const struct run_hooks *hooks = run->options->hooks;

    if (hooks == NULL || hooks->step == NULL || (work->undoing && work->state != BOOKS_STEP_UNDONE))
        return BANYAN_OK;
    return hooks->step(hooks->context, run->conn, work->number, work->undoing,
                       os_clock_monotonic_us(os_clock_real()) - run->try_since_us, err);
}

/* ---- transaction ---- */

static bool is_lock_table(struct banyan_str statement)
{
    return statement.size > 11 && memcmp(statement.data, "LOCK TABLE ", 11) == 0;
}

static enum banyan_status begin(struct run *run, const struct plan_action *action, struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SQL_MAX);
    enum banyan_status st;
    bool is_short = action->retry == PLAN_RETRY_SHORT;

    banyan_buf_add_text(&sql, "BEGIN");
    if (is_short)
        banyan_buf_add_text(&sql, "; SET LOCAL synchronous_commit = local");
    if (is_short && run->vacuumed.size > 0) {
        banyan_buf_printf(&sql, "; SET LOCAL lock_timeout = %d; LOCK TABLE ", RUN_VACUUM_LOCK_US / 1000);
        banyan_buf_add_str(&sql, banyan_buf_str(&run->vacuumed));
        banyan_buf_add_text(&sql, " IN SHARE UPDATE EXCLUSIVE MODE");
    }
    banyan_buf_printf(&sql, "; SET LOCAL lock_timeout = %" PRId64, lock_us_of(run, action) / 1000);
    st = pg_run(run->conn, sql.data, err);
    banyan_buf_reset(&run->vacuumed);
    banyan_buf_release(&sql);
    return st;
}

static enum banyan_status lock_tables(struct run *run, const struct plan_action *action, const char *sql,
                                      struct banyan_error *err)
{
    char limit[64];
    enum banyan_status st;

    (void)snprintf(limit, sizeof(limit), "SET LOCAL statement_timeout = %" PRId64,
                   lock_us_of(run, action) / 1000); /* fits */
    st = pg_run(run->conn, limit, err);
    if (st == BANYAN_OK)
        st = run_watched(run, sql, look_us_of(run, action), false, err);
    if (st == BANYAN_TIMEOUT && err != NULL) /* of its own time limit: a lock that was not had */
        (void)snprintf(err->sqlstate, sizeof(err->sqlstate), "55P03");
    return st == BANYAN_OK ? pg_run(run->conn, "SET LOCAL statement_timeout = 0", err) : st;
}

static enum banyan_status statement(struct run *run, const struct plan_action *action, size_t at,
                                    struct banyan_error *err)
{
    struct banyan_str sql = banyan_arena_str(&run->arena, action->statements[at]); /* ends with a NUL */
    enum banyan_status st;

    if (is_lock_table(sql))
        st = lock_tables(run, action, sql.data, err);
    else
        st = run_watched(run, sql.data, look_us_of(run, action), false, err);
    if (st != BANYAN_OK && err->detail[0] == '\0')
        banyan_error_detail(err, "%s", sql.data);
    run_at(run, "statement");
    return st;
}

static enum banyan_status transaction(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    struct books_step step = behind(run, work);
    enum banyan_status st = begin(run, work->action, err);

    for (size_t i = 0; i < work->action->statement_count && st == BANYAN_OK; i++)
        st = statement(run, work->action, i, err);
    if (st == BANYAN_OK)
        st = books_step(run->conn, run->version, work->number, &step, err);
    if (st == BANYAN_OK)
        st = ended(run, work, err);
    run_at(run, "before commit");
    if (st == BANYAN_OK) {
        st = pg_run(run->conn, "COMMIT", err);
        run_at(run, "after commit");
    } else {
        (void)!pg_run(run->conn, "ROLLBACK", NULL); /* a lost connection has done it by itself */
    }
    if (st == BANYAN_OK)
        run->books.steps[work->number] = step;
    return st;
}

/* ---- outside of one ---- */

/* In the books before it begins; the time of the first begin stays. */
static enum banyan_status mark_running(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    struct books_step step = run->books.steps[work->number];
    enum books_step_state state = work->undoing ? BOOKS_STEP_UNDOING : BOOKS_STEP_RUNNING;

    if (step.state == state)
        return BANYAN_OK;
    step.state = state;
    return run_mark(run, work->number, &step, err);
}

static enum banyan_status mark_done(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    struct books_step step = behind(run, work);
    enum banyan_status st = ended(run, work, err);

    run_at(run, "before mark");
    return st == BANYAN_OK ? run_mark(run, work->number, &step, err) : st;
}

static enum banyan_status outside(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    const struct plan_action *action = work->action;
    bool again = run->books.steps[work->number].state != BOOKS_STEP_OPEN, done = false; /* leftovers are looked for */
    enum banyan_status st = BANYAN_OK;
    char limit[64];

    if (action->done.size > 0)
        st = run_ask(run, action->done, &done, err);
    if (st == BANYAN_OK && again && action->index.size > 0)
        st = run_index_leftovers(run, action->index, err);
    if (st == BANYAN_OK && !done)
        st = mark_running(run, work, err);
    (void)snprintf(limit, sizeof(limit), "SET lock_timeout = %" PRId64, lock_us_of(run, action) / 1000); /* fits */
    if (st == BANYAN_OK && !done)
        st = pg_run(run->conn, limit, err);
    for (size_t i = 0; i < action->statement_count && st == BANYAN_OK && !done; i++)
        st = statement(run, action, i, err);
    if (!done)
        (void)!pg_run(run->conn, "SET lock_timeout = 0", NULL); /* a lost connection has none */
    return st == BANYAN_OK ? mark_done(run, work, err) : st;
}

static void tell_batches(void *context, const struct batches_progress *progress)
{
    struct run *run = context;

    run->fraction = -1;
    if (progress->step != NULL && progress->step->pages > 0 && progress->step->pass <= 1)
        run->fraction = (double)progress->step->page / (double)progress->step->pages;
    run_at(run, "batch");
    run_tell(run, progress);
}

static enum banyan_status batches(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    struct batches_options options = {
        .version = run->version,
        .number = work->number,
        .batch_us = run->options->batch_us,
        .lock_timeout_us = run_lock_us(run),
        .throttle = &run->options->throttle,
        .stop = run->options->stop,
        .progress = tell_batches,
        .context = run,
    };
    enum banyan_status st = mark_running(run, work, err);

    if (st == BANYAN_OK && run->watch == NULL)
        return banyan_error_set(err, BANYAN_UNAVAILABLE, "the connection that looks was lost");
    if (st == BANYAN_OK)
        st = batches_run(run->conn, run->watch, &work->action->batches, &options, &run->books.steps[work->number], err);
    return st == BANYAN_OK ? mark_done(run, work, err) : st;
}

static enum banyan_status index_drop(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    enum banyan_status st = mark_running(run, work, err);

    if (st == BANYAN_OK)
        st = run_index_leftovers(run, work->action->index, err);
    if (st == BANYAN_OK)
        st = run_index_drop(run, work->action->index, err);
    return st == BANYAN_OK ? mark_done(run, work, err) : st;
}

static enum banyan_status index_make(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    enum banyan_status st = run_index(run, work, err);

    return st == BANYAN_OK ? mark_done(run, work, err) : st;
}

/* ---- tries ---- */

static enum banyan_status once(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    switch (work->action->kind) {
    case PLAN_TRANSACTION:
        return transaction(run, work, err);
    case PLAN_OUTSIDE:
        return outside(run, work, err);
    case PLAN_INDEX:
        return index_make(run, work, err);
    case PLAN_INDEX_DROP:
        return index_drop(run, work, err);
    case PLAN_BATCHES:
        return batches(run, work, err);
    }
    return banyan_error_set(err, BANYAN_CORRUPT, "the plan has an action of a kind that is not known");
}

/* A lock that was not had, a deadlock, a serialization failure: the same may work next time. */
static bool is_collision(const struct banyan_error *why)
{
    return strcmp(why->sqlstate, "55P03") == 0 || strncmp(why->sqlstate, "40", 2) == 0;
}

static bool is_done(const struct run *run, const struct run_work *work)
{
    const struct books_step *step = &run->books.steps[work->number];

    if (work->undoing)
        return step->state == BOOKS_STEP_UNDONE || step->undone >= work->undone;
    return step->state == BOOKS_STEP_DONE;
}

/* What the step waits for, or failed with, for who reads the books; the transaction that failed is over. */
static void remember(struct run *run, const struct run_work *work, struct banyan_str message)
{
    struct books_step step = run->books.steps[work->number];

    if (run->conn == NULL || is_done(run, work))
        return;
    step.state = run_noted_state(run, work->number, work->undoing);
    step.tries = run->tries;
    step.message = message;
    (void)!run_mark(run, work->number, &step, NULL); /* the failure itself is what is told */
}

static enum banyan_status gave_up(struct run *run, const struct banyan_error *why, struct banyan_error *err)
{
    enum banyan_status st;

    if (run->options->stop != NULL && os_stop_requested(run->options->stop))
        return banyan_error_set(err, BANYAN_STOPPED, "stopped while it waited: %s", why->message);
    st = banyan_error_set(err, BANYAN_TIMEOUT, "no lock in %u tries: %s", run->tries, why->message);
    if (err != NULL)
        (void)snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", why->sqlstate);
    if (run->seen.size > 0)
        banyan_error_detail(err, "in the way: %s", run->seen.data);
    banyan_error_hint(err,
                      "End who is in the way, or choose a calmer time, then: banyan migrate resume %.*s.  "
                      "--kill-idle-blockers ends those that only idle in a transaction.",
                      (int)run->version.size, run->version.data);
    return st;
}

/* A new connection, and what the books say of the step.  *lost counts those without any progress. */
static enum banyan_status connect_again(struct run *run, const struct run_work *work, unsigned *lost,
                                        const struct banyan_error *why, struct banyan_error *err)
{
    struct books_step before = run->books.steps[work->number], now;
    struct books_migration left = run->books;
    enum banyan_status st;

    if (++*lost > RUN_LOST_MAX) {
        *err = *why;
        return why->status;
    }
    st = run_connect(run, err);
    if (st != BANYAN_OK)
        return st;
    st = books_read(run->conn, run->version, &run->arena, &run->books, err);
    if (st == BANYAN_OK)
        st = run_still_ours(run, &left, err);
    if (st != BANYAN_OK)
        return st;
    now = run->books.steps[work->number];
    if (now.pass != before.pass || now.page != before.page || now.rows != before.rows)
        *lost = 0;
    return BANYAN_OK;
}

static enum banyan_status try_on(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    struct os_retry retry = {
        .first_us = RUN_PAUSE_US_FIRST,
        .pause_us_max = RUN_PAUSE_US_MAX,
        .total_us_max = run->options->try_us_max > 0 ? run->options->try_us_max : RUN_TRY_US_MAX,
    };
    unsigned lost = 0;

    for (;;) {
        struct banyan_error why = BANYAN_ERROR_INIT;
        enum banyan_status st;

        run->try_since_us = os_clock_monotonic_us(os_clock_real());
        st = once(run, work, &why);
        if (st == BANYAN_OK)
            return st;
        if (run_is_lost(st)) {
            st = connect_again(run, work, &lost, &why, err);
            if (st != BANYAN_OK || is_done(run, work))
                return st;
            continue;
        }
        run->tries++;
        if (!is_collision(&why)) {
            remember(run, work, st == BANYAN_STOPPED ? BANYAN_STR("on request") : banyan_str_of(why.message));
            *err = why;
            return st;
        }
        remember(run, work, run->seen.size > 0 ? banyan_buf_str(&run->seen) : banyan_str_of(why.message));
        run_tell(run, NULL);
        if (!os_retry_pause(&retry, run->options->stop))
            return gave_up(run, &why, err);
    }
}

enum banyan_status run_do(struct run *run, const struct run_work *work, struct banyan_error *err)
{
    int64_t begun_us = os_clock_monotonic_us(os_clock_real());
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status st;

    run->number = work->number;
    run->undoing = work->undoing;
    run->tries = work->undoing ? 0 : run->books.steps[work->number].tries;
    run->fraction = -1;
    banyan_buf_reset(&run->waiting);
    banyan_buf_reset(&run->seen);
    banyan_buf_reset(&run->vacuumed);
    run_tell(run, NULL);
    st = try_on(run, work, &why);
    if (run->conn != NULL && st != BANYAN_CONFLICT) /* then it is somebody else's */
        (void)!books_worked(run->conn, run->version, (os_clock_monotonic_us(os_clock_real()) - begun_us + 500) / 1000,
                            NULL); /* a figure for people */
    if (st == BANYAN_OK)
        return st;
    banyan_error_context(&why, "%sstep %zu of %zu (%s)", work->undoing ? "undo of " : "", work->number + 1,
                         run->plan.step_count, run->plan.steps[work->number].name);
    if (err != NULL)
        *err = why;
    return st;
}
