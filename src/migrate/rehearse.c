/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of a rehearsal:
 *
 *   place ▶ rows ▶ plan ▶ old and new code ▶ start (code behind expand, too) ▶ code ▶ complete ▶ code ▶ rollback ▶
 * code, values as before? ▶ start, complete, cleanup once more ▶ the place is removed
 *
 * The plan is that of the real database: on a copy of a few rows everything would be small, and the plan another.
 */
#include <stdlib.h>
#include <string.h>

#include "migrate/oracle.h"
#include "migrate/rehearse_int.h"

enum {
    PLAN_BYTES_MAX = 64 << 20,
    STATEMENT_US_MAX = 60 * 1000 * 1000,
};

struct rehearsal {
    const struct rehearse_options *options;
    const struct migration *migration;
    struct banyan_arena *arena;
    struct rehearse_report *report;
    struct rehearse_cluster cluster;
    const char *copy;     /* database beside the real one; NULL: none */
    const char *conninfo; /* of the place */
    struct pg_conn *conn; /* code runs over it */
    struct rehearse_code old_code, new_code;
    struct rehearse_values *values;
    size_t value_count;
    struct run_hooks hooks;
    struct run_options run;
    bool again; /* the second start: only cleanup is new */
};

/* ---- the place ---- */

static enum banyan_status connect_to(const struct rehearsal *all, const char *conninfo, struct pg_conn **ret,
                                     struct banyan_error *err)
{
    struct pg_options options = {.conninfo = conninfo,
                                 .application_name = "banyan migrate rehearse",
                                 .statement_us_max = STATEMENT_US_MAX,
                                 .stop = all->options->stop};

    return pg_connect(&options, ret, err);
}

static enum banyan_status copy_rows(struct rehearsal *all, struct banyan_error *err)
{
    struct rehearse_copy_options options = {.rows = all->options->rows};
    struct banyan_str *deletes = NULL;
    struct pg_conn *from = NULL;
    enum banyan_status st = connect_to(all, all->options->conninfo, &from, err);

    rehearse_keys_find(all->migration, all->arena, &deletes, &options.delete_count);
    options.deletes = deletes;
    if (st == BANYAN_OK)
        st = rehearse_copy_rows(from, all->conn, &options, all->arena, &all->report->rows, err);
    pg_close(from);
    return st;
}

static enum banyan_status make_place(struct rehearsal *all, struct banyan_error *err)
{
    enum banyan_status st;

    if (all->options->dump != NULL) {
        st = rehearse_cluster_start(all->options->dump, all->arena, &all->cluster, err);
        all->conninfo = all->cluster.conninfo;
    } else {
        st = oracle_copy(all->options->conninfo, all->arena, &all->copy, err);
        all->conninfo = all->copy;
    }
    if (st == BANYAN_OK)
        st = connect_to(all, all->conninfo, &all->conn, err);
    if (st == BANYAN_OK && all->copy != NULL)
        st = copy_rows(all, err);
    return st;
}

static enum banyan_status remove_place(struct rehearsal *all, struct banyan_error *err)
{
    pg_close(all->conn);
    all->conn = NULL;
    rehearse_cluster_stop(&all->cluster);
    return all->copy == NULL ? BANYAN_OK : oracle_drop(all->options->conninfo, all->copy, err);
}

/* ---- the plan ---- */

/* By way of JSON: what was read of the catalog does not outlive it, the report does. */
static enum banyan_status keep_plan(struct rehearsal *all, const struct plan *plan, struct banyan_error *err)
{
    struct banyan_buf json = BANYAN_BUF_INIT(PLAN_BYTES_MAX);
    enum banyan_status st;

    plan_json(plan, &json);
    st = json.overflow
             ? banyan_error_set(err, BANYAN_LIMIT, "the plan is longer than %d bytes", PLAN_BYTES_MAX)
             : plan_read(banyan_arena_str(all->arena, banyan_buf_str(&json)), all->arena, &all->report->plan, err);
    banyan_buf_release(&json);
    return st;
}

static enum banyan_status make_plan(struct rehearsal *all, struct banyan_error *err)
{
    struct pg_conn *conn = NULL;
    struct catalog *catalog = NULL;
    struct plan plan;
    enum banyan_status st = connect_to(all, all->copy == NULL ? all->conninfo : all->options->conninfo, &conn, err);

    if (st == BANYAN_OK)
        st = catalog_open(conn, &catalog, err);
    if (st == BANYAN_OK)
        st = plan_make(all->migration, catalog, all->arena, &plan, err);
    if (st == BANYAN_OK)
        st = keep_plan(all, &plan, err);
    catalog_free(catalog);
    pg_close(conn);
    return st;
}

/* ---- steps ---- */

static enum effect_lock lock_of(struct banyan_str mode)
{
    static const char *const names[] = {
        "",          "AccessShareLock",       "RowShareLock",  "RowExclusiveLock",   "ShareUpdateExclusiveLock",
        "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"};

    for (size_t i = 1; i < sizeof(names) / sizeof(names[0]); i++)
        if (banyan_str_equal(mode, banyan_str_of(names[i])))
            return (enum effect_lock)i;
    return EFFECT_LOCK_NONE;
}

static void add_lock(struct rehearse_step *step, struct banyan_str name, enum effect_lock lock,
                     struct banyan_arena *arena)
{
    for (size_t i = 0; i < step->lock_count; i++)
        if (banyan_str_equal(step->locks[i].relation, name)) {
            if (lock > step->locks[i].lock)
                step->locks[i].lock = lock;
            return;
        }
    if (step->lock_count < PLAN_LOCKS_MAX)
        step->locks[step->lock_count++] = (struct plan_lock){banyan_arena_str(arena, name), lock};
}

/* Of the backend that did the step, while its transaction is open. */
static enum banyan_status measure_locks(struct pg_conn *conn, struct banyan_arena *arena, struct rehearse_step *step,
                                        struct banyan_error *err)
{
    static const char sql[] =
        "SELECT CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE n.nspname || '.' END || c.relname, l.mode"
        " FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation' AND l.granted AND c.relkind IN ('r', 'p', 'v', "
        "'m')"
        " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'banyan', 'pg_toast')"
        " AND l.mode <> 'AccessShareLock' ORDER BY 1";
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn, sql, NULL, 0, &result, err);

    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(result); i++)
        add_lock(step, pg_text(result, i, 0), lock_of(pg_text(result, i, 1)), arena);
    pg_result_free(result);
    return st;
}

static enum banyan_status on_step(void *context, struct pg_conn *conn, size_t number, bool undo, int64_t elapsed_us,
                                  struct banyan_error *err)
{
    struct rehearsal *all = context;
    struct rehearse_report *report = all->report;
    struct rehearse_step *steps;

    if (all->again && (undo || report->plan.steps[number].phase != PLAN_CLEANUP))
        return BANYAN_OK;
    steps = banyan_arena_zalloc(all->arena, (report->step_count + 1) * sizeof(*steps));
    if (report->step_count > 0)
        memcpy(steps, report->steps, report->step_count * sizeof(*steps));
    steps[report->step_count] = (struct rehearse_step){.step = number, .undo = undo, .elapsed_us = elapsed_us};
    report->steps = steps;
    return measure_locks(conn, all->arena, &steps[report->step_count++], err);
}

/* ---- code ---- */

static enum banyan_status run_code(struct rehearsal *all, enum books_state at, struct banyan_error *err)
{
    enum banyan_status st = rehearse_code_run(&all->old_code, all->conn, at, all->arena, all->report, err);

    return st == BANYAN_OK ? rehearse_code_run(&all->new_code, all->conn, at, all->arena, all->report, err) : st;
}

static enum banyan_status on_state(void *context, enum books_state state, struct banyan_error *err)
{
    struct rehearsal *all = context;

    return state == BOOKS_BACKFILLING && !all->again ? run_code(all, BOOKS_EXPANDING, err) : BANYAN_OK;
}

/* ---- phases ---- */

static enum banyan_status roll_back(struct rehearsal *all, struct banyan_error *err)
{
    enum banyan_status st = run_reopen(&all->run, all->migration->version, err);

    if (st == BANYAN_OK)
        st = run_code(all, BOOKS_REOPENING, err);
    if (st == BANYAN_OK)
        st = run_rollback(&all->run, all->migration->version, err);
    if (st == BANYAN_OK)
        st = rehearse_values_compare(all->conn, all->values, all->value_count, all->arena, &all->report->differs, err);
    if (st != BANYAN_OK)
        return st;
    all->report->rolled_back = true;
    all->report->failed |= all->report->differs.size > 0;
    return run_code(all, BOOKS_ROLLED_BACK, err);
}

/* Forwards to the end once more, for the time of cleanup, and because a rollback must leave nothing in the way. */
static enum banyan_status clean_up(struct rehearsal *all, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;

    all->again = true;
    if (all->report->rolled_back)
        st = run_start(&all->run, all->migration, &all->report->plan, err);
    if (st == BANYAN_OK && all->report->rolled_back)
        st = run_complete(&all->run, all->migration->version, err);
    return st == BANYAN_OK ? run_cleanup(&all->run, all->migration->version, err) : st;
}

static bool has_final(const struct plan *plan)
{
    for (size_t i = 0; i < plan->step_count; i++)
        if (plan->steps[i].final && plan->steps[i].phase != PLAN_CLEANUP)
            return true;
    return false;
}

static enum banyan_status run_phases(struct rehearsal *all, struct banyan_error *err)
{
    enum banyan_status st = rehearse_values_read(all->conn, all->arena, &all->values, &all->value_count, err);

    if (st == BANYAN_OK)
        st = run_code(all, BOOKS_NONE, err);
    if (st == BANYAN_OK)
        st = run_start(&all->run, all->migration, &all->report->plan, err);
    if (st == BANYAN_OK)
        st = run_code(all, BOOKS_READY, err);
    if (st == BANYAN_OK)
        st = run_complete(&all->run, all->migration->version, err);
    if (st == BANYAN_OK)
        st = run_code(all, BOOKS_COMPLETED, err);
    if (st == BANYAN_OK && !has_final(&all->report->plan))
        st = roll_back(all, err);
    return st == BANYAN_OK ? clean_up(all, err) : st;
}

/* A failure of the world ends the rehearsal; one of the migration is what it is for. */
static bool is_of_the_migration(enum banyan_status st)
{
    return st != BANYAN_OK && st != BANYAN_STOPPED && st != BANYAN_UNAVAILABLE && st != BANYAN_AUTH;
}

static enum banyan_status perform(struct rehearsal *all, struct banyan_error *err)
{
    struct rehearse_report *report = all->report;
    struct banyan_error failure = BANYAN_ERROR_INIT;
    enum banyan_status st = make_plan(all, err);

    if (st != BANYAN_OK)
        return st;
    if (report->plan.refusal_count > 0) {
        report->failure = report->plan.refusals[0];
        report->failed = true;
        return BANYAN_OK;
    }
    st = run_phases(all, &failure);
    if (is_of_the_migration(st)) {
        report->failure = banyan_arena_printf(all->arena, "%s%s%s", failure.message,
                                              failure.detail[0] == '\0' ? "" : "; ", failure.detail);
        report->failed = true;
        return BANYAN_OK;
    }
    if (st != BANYAN_OK)
        *err = failure;
    return st;
}

enum banyan_status rehearse(const struct rehearse_options *options, const struct migration *migration,
                            struct banyan_arena *arena, struct rehearse_report *ret, struct banyan_error *err)
{
    struct rehearsal all = {.options = options, .migration = migration, .arena = arena, .report = ret};
    struct banyan_error removing = BANYAN_ERROR_INIT;
    enum banyan_status st, removed;

    *ret = (struct rehearse_report){.rows = 0};
    st = rehearse_code_read(options->old_code, false, &all.old_code, err);
    if (st == BANYAN_OK)
        st = rehearse_code_read(options->new_code, true, &all.new_code, err);
    if (st == BANYAN_OK)
        st = make_place(&all, err);
    all.hooks = (struct run_hooks){.step = on_step, .state = on_state, .context = &all};
    all.run = (struct run_options){
        .conninfo = all.conninfo, .allow = options->allow, .stop = options->stop, .hooks = &all.hooks};
    /* Nobody else is there: what the real server suffers is not what is rehearsed. */
    all.run.throttle.replica_lag_us_max = -1;
    all.run.throttle.lock_waiters_max = -1;
    if (st == BANYAN_OK)
        st = perform(&all, err);
    removed = remove_place(&all, &removing);
    if (st == BANYAN_OK && removed != BANYAN_OK) {
        *err = removing;
        st = removed;
    }
    rehearse_code_release(&all.old_code);
    rehearse_code_release(&all.new_code);
    return st;
}
