/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See look.h.
 *
 * Who works on a migration is told by the session's name in pg_stat_activity: the runner calls its connections
 * RUN_APPLICATION.  Several migrations may be unfinished, but only one is worked on at a time (books_lock()), and it is
 * the one with a step under way.
 */
#include <string.h>

#include "migrate/look.h"
#include "migrate/run.h"
#include "os/clock.h"

enum {
    RATE_AFTER_US = 500 * 1000,     /* two looks closer than this tell nothing */
    RATE_OVER_US = 5 * 1000 * 1000, /* a batch may take longer than a look: one that saw none is no standstill */
};

/* ---- the step ---- */

static void find_step(struct look *look)
{
    const struct books_migration *books = &look->migration;

    look->step = look->plan.step_count;
    for (size_t i = books->step_count; i-- > 0;) {
        enum books_step_state state = books->steps[i].state;

        if (state == BOOKS_STEP_RUNNING || state == BOOKS_STEP_UNDOING)
            look->step = i;
        look->done += state == BOOKS_STEP_DONE;
    }
    if (look->step != look->plan.step_count)
        return;
    /* Between two steps: the next of what is under way. */
    for (size_t i = 0; i < books->step_count && i < look->plan.step_count; i++) {
        enum plan_phase phase = look->plan.steps[i].phase;
        enum plan_phase until = books->state == BOOKS_CLEANING      ? PLAN_CLEANUP
                                : books->state == BOOKS_CONTRACTING ? PLAN_CONTRACT
                                : books->state <= BOOKS_BACKFILLING ? PLAN_BACKFILL
                                                                    : 0;

        if (phase <= until && books->steps[i].state == BOOKS_STEP_OPEN) {
            look->step = i;
            return;
        }
    }
}

/* The server's clock against that of the step's start. */
static enum banyan_status running_us(struct pg_conn *conn, const struct books_step *step, int64_t *ret,
                                     struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status st =
        pg_exec(conn, "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint", NULL, 0, &result, err);

    if (st == BANYAN_OK)
        *ret = pg_int(result, 0, 0) - step->started_us;
    pg_result_free(result);
    return st;
}

/* Since the last look, or since the start of the step; where another session began it, it may have rested meanwhile. */
static void rate_of(struct look *look, struct look_memory *memory, const struct books_step *step, int64_t elapsed_us)
{
    int64_t now = os_clock_monotonic_us(os_clock_real());
    bool same = memory->at_us != 0 && memory->step == look->step && memory->pass == step->pass;

    if (same && now - memory->at_us < RATE_AFTER_US)
        return;
    if (same) {
        double us = (double)(now - memory->at_us), weight = us / (us + RATE_OVER_US);

        if (memory->rows_a_second < 0)
            weight = 1;
        memory->rows_a_second += weight * ((double)(step->rows - memory->rows) * 1e6 / us - memory->rows_a_second);
        memory->pages_a_second += weight * ((double)(step->page - memory->page) * 1e6 / us - memory->pages_a_second);
    } else if (elapsed_us > 0 && elapsed_us <= look->session_us) {
        memory->rows_a_second = (double)step->rows * 1e6 / (double)elapsed_us;
        memory->pages_a_second = (double)step->page * 1e6 / (double)elapsed_us;
    } else {
        memory->rows_a_second = memory->pages_a_second = -1;
    }
    memory->step = look->step;
    memory->pass = step->pass;
    memory->at_us = now;
    memory->rows = step->rows;
    memory->page = step->page;
}

static enum banyan_status look_at_batches(struct pg_conn *conn, struct look *look, struct look_memory *memory,
                                          struct banyan_error *err)
{
    const struct books_step *step = &look->migration.steps[look->step];
    int64_t elapsed_us = 0;
    enum banyan_status st;

    if (step->state != BOOKS_STEP_RUNNING || step->started_us == 0)
        return BANYAN_OK;
    st = running_us(conn, step, &elapsed_us, err);
    if (st != BANYAN_OK)
        return st;
    if (step->pages > 0)
        look->fraction = (double)step->page / (double)step->pages;
    if (!look->working) { /* it was stopped or killed: what it did since is no rate */
        memory->at_us = 0;
        return BANYAN_OK;
    }
    look->running_us = elapsed_us < look->session_us ? elapsed_us : look->session_us;
    rate_of(look, memory, step, elapsed_us);
    look->rows_a_second = memory->rows_a_second;
    if (step->pages > step->page && memory->pages_a_second > 0)
        look->eta_us = (int64_t)((double)(step->pages - step->page) / memory->pages_a_second * 1e6);
    return BANYAN_OK;
}

/* ---- who works on it ---- */

static enum banyan_status look_at_index(struct pg_conn *conn, const struct pg_param *pid, struct banyan_arena *arena,
                                        struct look *look, struct banyan_error *err)
{
    static const char sql[] = "SELECT phase, relid::regclass::text,"
                              " CASE WHEN blocks_total > 0 THEN blocks_done ELSE tuples_done END,"
                              " CASE WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END,"
                              " current_locker_pid FROM pg_stat_progress_create_index WHERE pid = $1::int";
    struct pg_result *result = NULL;
    enum banyan_status st = pg_exec(conn, sql, pid, 1, &result, err);

    if (st == BANYAN_OK && pg_rows(result) > 0) {
        look->index.phase = banyan_arena_str(arena, pg_text(result, 0, 0));
        look->index.table = banyan_arena_str(arena, pg_text(result, 0, 1));
        look->index.done = pg_int(result, 0, 2);
        look->index.total = pg_int(result, 0, 3);
        look->index.waiting_pid = pg_int(result, 0, 4);
        if (look->index.total > 0)
            look->fraction = (double)look->index.done / (double)look->index.total;
    }
    pg_result_free(result);
    return st;
}

static enum banyan_status look_at_session(struct pg_conn *conn, const struct pg_result *sessions, size_t row,
                                          struct banyan_arena *arena, struct look *look, struct banyan_error *err)
{
    struct pg_param pid = {pg_text(sessions, row, 0)};
    enum banyan_status st = look_at_index(conn, &pid, arena, look, err);

    look->working = true;
    if (pg_int(sessions, row, 2) > look->session_us)
        look->session_us = pg_int(sessions, row, 2);
    if (st == BANYAN_OK && pg_bool(sessions, row, 1) && look->blocker_count == 0)
        st = blockers_of(conn, (int)pg_int(sessions, row, 0), arena, &look->blockers, &look->blocker_count, err);
    return st;
}

static enum banyan_status look_at_sessions(struct pg_conn *conn, struct banyan_arena *arena, struct look *look,
                                           struct banyan_error *err)
{
    static const char sql[] =
        "SELECT pid, wait_event_type IS NOT DISTINCT FROM 'Lock',"
        " (extract(epoch FROM clock_timestamp() - backend_start) * 1000000)::bigint FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = $1"
        " AND pid <> pg_backend_pid() ORDER BY backend_start";
    const struct pg_param name = {banyan_str_of(RUN_APPLICATION)};
    struct pg_result *sessions = NULL;
    enum banyan_status st = pg_exec(conn, sql, &name, 1, &sessions, err);

    for (size_t i = 0; st == BANYAN_OK && i < pg_rows(sessions); i++)
        st = look_at_session(conn, sessions, i, arena, look, err);
    pg_result_free(sessions);
    return st;
}

/* ---- all of it ---- */

static bool is_under_way(const struct books_migration *books)
{
    switch (books->state) {
    case BOOKS_NONE:
    case BOOKS_READY:
    case BOOKS_COMPLETED:
    case BOOKS_DONE:
    case BOOKS_ROLLED_BACK:
        return false;
    default:
        return true;
    }
}

enum banyan_status look_at(struct pg_conn *conn, struct banyan_str version, struct look_memory *memory,
                           struct banyan_arena *arena, struct look *ret, struct banyan_error *err)
{
    enum banyan_status st;

    *ret = (struct look){.fraction = -1, .rows_a_second = -1, .eta_us = CATALOG_UNKNOWN};
    st = books_read(conn, version, arena, &ret->migration, err);
    if (st == BANYAN_OK && ret->migration.plan.size > 0)
        st = plan_read(ret->migration.plan, arena, &ret->plan, err);
    if (st != BANYAN_OK)
        return st;
    find_step(ret);
    if (!is_under_way(&ret->migration))
        return BANYAN_OK;
    st = look_at_sessions(conn, arena, ret, err);
    if (st == BANYAN_OK && ret->step < ret->plan.step_count && ret->plan.steps[ret->step].act.kind == PLAN_BATCHES &&
        ret->step < ret->migration.step_count)
        st = look_at_batches(conn, ret, memory, err);
    return st;
}
