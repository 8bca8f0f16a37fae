/* SPDX-License-Identifier: Apache-2.0 */
/* What the server is asked for while a plan is made, and where actions go. */
#include <string.h>

#include "migrate/plan_int.h"

struct banyan_str *plan_ask(struct plan_work *work, const char *sql, const struct banyan_str *params, size_t count,
                            size_t *ret_count)
{
    struct banyan_str *cells = NULL;

    *ret_count = 0;
    if (plan_goes_on(work))
        work->st = catalog_ask(work->catalog, sql, params, count, &cells, ret_count, work->err);
    return cells;
}

struct banyan_str plan_ask_one(struct plan_work *work, const char *sql, struct banyan_str param)
{
    size_t count = 0;
    struct banyan_str *cells = plan_ask(work, sql, &param, 1, &count);

    return count == 0 ? (struct banyan_str){NULL, 0} : cells[0];
}

static bool is_in_plan(const struct plan_work *work, struct banyan_str quoted)
{
    for (size_t i = 0; i < work->ret->step_count; i++) {
        const struct plan_action *action = &work->ret->steps[i].act;

        for (size_t k = 0; k < action->statement_count; k++)
            if (memmem(action->statements[k].data, action->statements[k].size, quoted.data, quoted.size) != NULL)
                return true;
    }
    return false;
}

bool plan_name_is_used(struct plan_work *work, const struct catalog_table *table, struct banyan_str name)
{
    struct banyan_str params[] = {table->schema, name};
    size_t count = 0;

    if (is_in_plan(work, sql_make(work->arena, "%I", name)))
        return true;
    (void)plan_ask(work,
                   "SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 "
                   "AND c.relname = $2 UNION ALL SELECT 1 FROM pg_constraint k JOIN pg_namespace n ON n.oid = "
                   "k.connamespace WHERE n.nspname = $1 AND k.conname = $2",
                   params, 2, &count); /* only how many rows there are */
    return count > 0;
}

/* ---- actions that are steps, or undo one ---- */

struct plan_action *plan_emit(struct plan_sink *sink, const char *name, enum plan_kind kind, enum plan_retry retry,
                              struct banyan_str title)
{
    struct plan_step *step;

    if (sink->undoes != NULL)
        return plan_undo(sink->work, sink->undoes, kind, retry);
    step = plan_add(sink->work, sink->phase, name, kind, retry);
    step->title = title;
    return &step->act;
}

struct plan_action *plan_emit_undo(struct plan_sink *sink, enum plan_kind kind, enum plan_retry retry)
{
    struct plan *plan = sink->work->ret;

    return sink->undoes != NULL ? NULL : plan_undo(sink->work, &plan->steps[plan->step_count - 1], kind, retry);
}
