/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A migration goes from state to state; the drawing is in books.h.
 *
 *   | from                                 | to           | by                                       |
 *   | (none), rolled_back                  | started      | run_start(): checks, books                |
 *   | started, expanding                   | backfilling  | to_ready(): steps of expand               |
 *   | backfilling                          | ready        | to_ready(): steps of backfill             |
 *   | ready, contracting                   | completed    | to_completed(): checks, steps of contract |
 *   | contracting, completed, reopening    | ready        | to_reopened(): undo of contract           |
 *   | completed, cleaning                  | done         | to_done(): steps of cleanup               |
 *   | any of the above but done, cleaning  | rolled_back  | to_rolled_back(): undo of all             |
 *
 * Each of these reads the books, and goes on where they say that it stands: what kill -9 ended, a lost connection or an
 * error is all one.  All states survive a crash.
 */
#include <inttypes.h>
#include <string.h>

#include "migrate/run_int.h"

enum {
    LOST_MAX = 100, /* connections of a run, outside of actions */
};

typedef enum banyan_status run_body(struct run *run, struct banyan_error *err);

/* ---- states, checks, steps ---- */

static enum banyan_status set_state(struct run *run, enum books_state state, struct banyan_error *err)
{
    const struct run_hooks *hooks = run->options->hooks;
    enum banyan_status st;

    if (run->books.state == state)
        return BANYAN_OK;
    run->setting = state;
    st = books_state(run->conn, run->version, state, err);
    if (st != BANYAN_OK)
        return st;
    run->books.state = state;
    run_at(run, "state");
    run_tell(run, NULL);
    return hooks != NULL && hooks->state != NULL ? hooks->state(hooks->context, state, err) : BANYAN_OK;
}

static enum banyan_status check(struct run *run, const struct plan_check *check, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    struct banyan_str sql = banyan_arena_str(&run->arena, check->sql);
    enum banyan_status st = pg_exec(run->conn, sql.data, NULL, 0, &result, err);
    int64_t count;

    if (st != BANYAN_OK) {
        banyan_error_context(err, "check '%.*s'", (int)check->message.size, check->message.data);
        return st;
    }
    count = pg_int(result, 0, 0);
    pg_result_free(result);
    if (count == 0)
        return BANYAN_OK;
    st =
        banyan_error_set(err, BANYAN_NOT_MET, "%" PRId64 " %.*s", count, (int)check->message.size, check->message.data);
    if (check->hint.size > 0)
        banyan_error_hint(err, "%.*s", (int)check->hint.size, check->hint.data);
    return st;
}

/* Those of *phase*; 0: all that can be asked before there is anything. */
static enum banyan_status checks(struct run *run, const struct plan *plan, enum plan_phase phase,
                                 struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    for (size_t i = 0; i < plan->check_count && st == BANYAN_OK; i++)
        if (phase == 0 ? !plan->checks[i].late : plan->checks[i].phase == phase)
            st = check(run, &plan->checks[i], err);
    return st;
}

static bool has_begun(const struct run *run, enum plan_phase phase)
{
    for (size_t i = 0; i < run->plan.step_count; i++)
        if (run->plan.steps[i].phase == phase && run->books.steps[i].state != BOOKS_STEP_OPEN)
            return true;
    return false;
}

/* Every step of the phase that is not done. */
static enum banyan_status forward(struct run *run, enum plan_phase phase, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    /* Those of expand and contract were asked before the state that says that it begins. */
    if ((phase == PLAN_BACKFILL || phase == PLAN_CLEANUP) && !has_begun(run, phase))
        st = checks(run, &run->plan, phase, err);

    for (size_t i = 0; i < run->plan.step_count && st == BANYAN_OK; i++) {
        struct run_work work = {.number = i, .action = &run->plan.steps[i].act, .state = BOOKS_STEP_DONE};

        if (run->plan.steps[i].phase != phase || run->books.steps[i].state == BOOKS_STEP_DONE)
            continue;
        st = run_not_paused(run, err);
        if (st == BANYAN_OK)
            st = run_do(run, &work, err);
    }
    return st;
}

static enum banyan_status wrong_state(const struct run *run, const char *wanted, const char *hint,
                                      struct banyan_error *err)
{
    enum banyan_status st =
        banyan_error_set(err, BANYAN_CONFLICT, "migration %.*s is %s: it cannot %s", (int)run->version.size,
                         run->version.data, books_state_name(run->books.state), wanted);

    banyan_error_hint(err, "%s", hint);
    return st;
}

/* ---- from state to state ---- */

static enum banyan_status to_ready(struct run *run, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    if (run->books.state == BOOKS_STARTED)
        st = set_state(run, BOOKS_EXPANDING, err);
    if (st == BANYAN_OK && run->books.state == BOOKS_EXPANDING) {
        st = forward(run, PLAN_EXPAND, err);
        if (st == BANYAN_OK)
            st = set_state(run, BOOKS_BACKFILLING, err);
    }
    if (st == BANYAN_OK && run->books.state == BOOKS_BACKFILLING) {
        st = forward(run, PLAN_BACKFILL, err);
        if (st == BANYAN_OK)
            st = set_state(run, BOOKS_READY, err);
    }
    return st;
}

static enum banyan_status to_completed(struct run *run, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    switch (run->books.state) {
    case BOOKS_COMPLETED:
        return BANYAN_OK;
    case BOOKS_READY:
        st = run_not_paused(run, err);
        if (st == BANYAN_OK)
            st = checks(run, &run->plan, PLAN_CONTRACT, err);
        if (st == BANYAN_OK)
            st = set_state(run, BOOKS_CONTRACTING, err);
        break;
    case BOOKS_CONTRACTING:
        break;
    case BOOKS_STARTED:
    case BOOKS_EXPANDING:
    case BOOKS_BACKFILLING:
        return wrong_state(run, "be completed yet", "Let it come to 'ready' first: banyan migrate resume.", err);
    default:
        return wrong_state(run, "be completed", "Its story: banyan migrate status.", err);
    }
    if (st == BANYAN_OK)
        st = forward(run, PLAN_CONTRACT, err);
    return st == BANYAN_OK ? set_state(run, BOOKS_COMPLETED, err) : st;
}

static enum banyan_status to_done(struct run *run, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    if (run->books.state == BOOKS_DONE)
        return BANYAN_OK;
    if (run->books.state != BOOKS_COMPLETED && run->books.state != BOOKS_CLEANING)
        return wrong_state(run, "be cleaned up", "Complete it first: banyan migrate complete.", err);
    st = run_not_paused(run, err);
    if (st == BANYAN_OK)
        st = set_state(run, BOOKS_CLEANING, err);
    if (st == BANYAN_OK)
        st = forward(run, PLAN_CLEANUP, err);
    return st == BANYAN_OK ? set_state(run, BOOKS_DONE, err) : st;
}

/* What was migrated behind it on the same tables stands on it. */
static enum banyan_status nothing_on_top(struct run *run, struct banyan_error *err)
{
    static const char sql[] =
        "SELECT other.version FROM banyan.schema_migrations mine JOIN banyan.schema_migrations other "
        "ON other.applied_at > mine.applied_at AND other.state <> 'rolled_back' AND EXISTS ("
        "SELECT FROM jsonb_array_elements_text(mine.tables) a JOIN jsonb_array_elements_text(other.tables) b ON a = b) "
        "WHERE mine.version = $1 ORDER BY other.applied_at DESC LIMIT 1";
    struct pg_param param = {run->version};
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(run->conn, sql, &param, 1, &result, err);

    if (st == BANYAN_OK && pg_rows(result) > 0) {
        struct banyan_str other = pg_text(result, 0, 0);

        st = banyan_error_set(err, BANYAN_CONFLICT, "migration %.*s changed the same tables after %.*s",
                              (int)other.size, other.data, (int)run->version.size, run->version.data);
        banyan_error_hint(err, "The last one goes first: banyan migrate rollback %.*s.", (int)other.size, other.data);
    }
    pg_result_free(result);
    return st;
}

static enum banyan_status to_rolled_back(struct run *run, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    switch (run->books.state) {
    case BOOKS_ROLLED_BACK:
        return BANYAN_OK;
    case BOOKS_DONE:
    case BOOKS_CLEANING:
        return wrong_state(run, "be rolled back any more", "What it kept is dropped; the way back is a new migration.",
                           err);
    case BOOKS_ROLLING_BACK:
        break;
    default:
        st = nothing_on_top(run, err);
        if (st == BANYAN_OK)
            st = set_state(run, BOOKS_ROLLING_BACK, err);
    }
    if (st == BANYAN_OK)
        st = run_undo_from(run, PLAN_EXPAND, err);
    return st == BANYAN_OK ? set_state(run, BOOKS_ROLLED_BACK, err) : st;
}

static enum banyan_status to_reopened(struct run *run, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    switch (run->books.state) {
    case BOOKS_READY:
        return BANYAN_OK;
    case BOOKS_REOPENING:
        break;
    case BOOKS_CONTRACTING:
    case BOOKS_COMPLETED:
        st = nothing_on_top(run, err);
        if (st == BANYAN_OK)
            st = set_state(run, BOOKS_REOPENING, err);
        break;
    default:
        return wrong_state(run, "go back to 'ready'", "Its story: banyan migrate status.", err);
    }
    if (st == BANYAN_OK)
        st = run_undo_from(run, PLAN_CONTRACT, err);
    return st == BANYAN_OK ? set_state(run, BOOKS_READY, err) : st;
}

static enum banyan_status on(struct run *run, struct banyan_error *err)
{
    switch (run->books.state) {
    case BOOKS_STARTED:
    case BOOKS_EXPANDING:
    case BOOKS_BACKFILLING:
        return to_ready(run, err);
    case BOOKS_CONTRACTING:
        return to_completed(run, err);
    case BOOKS_REOPENING:
        return to_reopened(run, err);
    case BOOKS_CLEANING:
        return to_done(run, err);
    case BOOKS_ROLLING_BACK:
        return to_rolled_back(run, err);
    default:
        return BANYAN_OK; /* nothing is under way */
    }
}

/* ---- a run ---- */

/* *body* until it ends, over as many connections as it takes; from what *run->books* say, where they say anything. */
static enum banyan_status over(struct run *run, run_body *body, struct banyan_error *err)
{
    for (unsigned lost = 0;; lost++) {
        struct banyan_error why = BANYAN_ERROR_INIT;
        struct books_migration left = run->books;
        enum banyan_status st = run_read(run, &why);

        if (st == BANYAN_OK && left.state != BOOKS_NONE)
            st = run_still_ours(run, &left, &why);
        if (st == BANYAN_OK)
            st = body(run, &why);
        if (run_is_lost(st) && lost < LOST_MAX) {
            st = run_connect(run, err);
            if (st != BANYAN_OK)
                return st;
            continue;
        }
        if (st != BANYAN_OK && err != NULL)
            *err = why;
        return st;
    }
}

static enum banyan_status run_it(const struct run_options *options, struct banyan_str version, run_body *body,
                                 bool unpause, struct banyan_error *err)
{
    struct run run;
    enum banyan_status st;

    run_init(&run, options, version);
    st = run_connect(&run, err);
    if (st == BANYAN_OK && unpause)
        st = books_pause(run.conn, version, false, err);
    if (st == BANYAN_OK)
        st = over(&run, body, err);
    run_release(&run);
    return st;
}

enum banyan_status run_complete(const struct run_options *options, struct banyan_str version, struct banyan_error *err)
{
    return run_it(options, version, to_completed, false, err);
}

enum banyan_status run_reopen(const struct run_options *options, struct banyan_str version, struct banyan_error *err)
{
    return run_it(options, version, to_reopened, true, err);
}

enum banyan_status run_rollback(const struct run_options *options, struct banyan_str version, struct banyan_error *err)
{
    return run_it(options, version, to_rolled_back, true, err);
}

enum banyan_status run_cleanup(const struct run_options *options, struct banyan_str version, struct banyan_error *err)
{
    return run_it(options, version, to_done, false, err);
}

enum banyan_status run_resume(const struct run_options *options, struct banyan_str version, struct banyan_error *err)
{
    return run_it(options, version, on, true, err);
}

/* ---- start ---- */

static enum banyan_status may_start(const struct run_options *options, const struct migration *migration,
                                    const struct plan *plan, struct banyan_error *err)
{
    enum banyan_status st;

    if (plan->refusal_count > 0) {
        st = banyan_error_set(err, BANYAN_NOT_MET, "migration %.*s cannot start: %.*s", (int)migration->version.size,
                              migration->version.data, (int)plan->refusals[0].size, plan->refusals[0].data);
        if (plan->refusal_count > 1)
            banyan_error_detail(err, "and %zu more reasons: banyan migrate plan tells them", plan->refusal_count - 1);
        return st;
    }
    if (!plan->needs_allow || options->allow)
        return BANYAN_OK;
    for (size_t i = 0; i < plan->step_count; i++) {
        if (!plan->steps[i].as_written)
            continue;
        st = banyan_error_set(err, BANYAN_NOT_MET, "step %zu of migration %.*s would run as it is written: %.*s", i + 1,
                              (int)migration->version.size, migration->version.data, (int)plan->steps[i].title.size,
                              plan->steps[i].title.data);
        banyan_error_hint(err, "Look at what it locks (banyan migrate plan); if that may be: --allow.");
        return st;
    }
    return BANYAN_OK;
}

/* The answer of its COMMIT may be lost: what is in the books is looked at before it is written again. */
static enum banyan_status into_books(struct run *run, const struct migration *migration, const struct plan *plan,
                                     struct banyan_error *err)
{
    for (unsigned lost = 0;; lost++) {
        struct banyan_error why = BANYAN_ERROR_INIT;
        enum banyan_status st = books_start(run->conn, migration, plan, &why);

        if (st == BANYAN_CONFLICT && lost > 0 && run_read(run, NULL) == BANYAN_OK &&
            run->books.state == BOOKS_STARTED && memcmp(run->books.checksum, migration->checksum, 32) == 0)
            return BANYAN_OK;
        if (run_is_lost(st) && lost < LOST_MAX) {
            st = run_connect(run, err);
            if (st != BANYAN_OK)
                return st;
            continue;
        }
        if (st != BANYAN_OK && err != NULL)
            *err = why;
        return st;
    }
}

enum banyan_status run_start(const struct run_options *options, const struct migration *migration,
                             const struct plan *plan, struct banyan_error *err)
{
    enum banyan_status st = may_start(options, migration, plan, err);
    struct run run;

    if (st != BANYAN_OK)
        return st;
    run_init(&run, options, migration->version);
    st = run_connect(&run, err);
    if (st == BANYAN_OK)
        st = checks(&run, plan, 0, err);
    if (st == BANYAN_OK)
        st = into_books(&run, migration, plan, err);
    run.books = (struct books_migration){.state = BOOKS_STARTED, .step_count = plan->step_count};
    run_at(&run, "in the books");
    if (st == BANYAN_OK)
        st = over(&run, to_ready, err);
    run_release(&run);
    return st;
}
