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

struct banyan_str plan_dependent(struct plan_work *work, const struct catalog_table *table, struct banyan_str column)
{
    static const char sql[] =
        "WITH tree AS (SELECT $1::oid AS oid UNION SELECT relid FROM pg_partition_tree($1::oid::regclass)), "
        "type AS (SELECT unnest(ARRAY[t.oid, t.typarray]) AS oid FROM tree JOIN pg_type t ON t.typrelid = tree.oid) "
        "SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d LEFT JOIN pg_attribute a "
        "ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid WHERE d.deptype = 'n' AND "
        "(d.refclassid = 'pg_class'::regclass AND d.refobjid IN (SELECT oid FROM tree) AND ($2 = '' OR a.attname = $2) "
        "AND d.classid NOT IN ('pg_class'::regclass, 'pg_rewrite'::regclass, 'pg_policy'::regclass, "
        "'pg_trigger'::regclass, 'pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_statistic_ext'::regclass) "
        "OR $2 = '' AND d.refclassid = 'pg_type'::regclass AND d.refobjid IN (SELECT oid FROM type)) ORDER BY 1 "
        "LIMIT 1";
    struct banyan_str params[] = {banyan_arena_printf(work->arena, "%u", (unsigned)table->oid), column};
    size_t count = 0;
    struct banyan_str *cells = table->made_here ? NULL : plan_ask(work, sql, params, 2, &count);

    return count == 0 ? BANYAN_STR("") : cells[0];
}

struct banyan_str plan_identity_index(struct plan_work *work, const struct catalog_table *table, int column)
{
    struct banyan_str params[] = {banyan_arena_printf(work->arena, "%u", (unsigned)table->oid),
                                  banyan_arena_printf(work->arena, "%d", column)};
    size_t count = 0;
    struct banyan_str *cells = plan_ask(work,
                                        "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = $1::oid AND "
                                        "indisreplident AND $2::int2 = ANY (indkey::int2[])",
                                        params, 2, &count);

    return count == 0 ? BANYAN_STR("") : cells[0];
}

void plan_rules(struct plan_work *work, const struct catalog_table *table, char event)
{
    struct banyan_str params[] = {banyan_arena_printf(work->arena, "%u", (unsigned)table->oid),
                                  banyan_arena_printf(work->arena, "%c", event)};
    size_t count = 0;
    struct banyan_str *cells = plan_ask(work,
                                        "SELECT rulename FROM pg_rewrite WHERE ev_class = $1::oid AND ev_type = "
                                        "$2::\"char\" AND ev_enabled <> 'D' ORDER BY 1 LIMIT 1",
                                        params, 2, &count);

    if (count > 0)
        plan_refuse(work,
                    "the rule %.*s of %.*s makes something else of %s: rows cannot be written page by page; switch it "
                    "off (ALTER TABLE … DISABLE RULE) until the migration is ready, or write -- banyan: allow before "
                    "the statement",
                    (int)cells[0].size, cells[0].data, (int)table->shown.size, table->shown.data,
                    event == '3' ? "INSERT" : "UPDATE");
}

void plan_comment_again(struct plan_work *work, struct plan_step *step, const struct catalog_table *table,
                        struct banyan_str constraint)
{
    struct banyan_str params[] = {banyan_arena_printf(work->arena, "%u", (unsigned)table->oid), constraint};
    size_t count = 0;
    struct banyan_str *cells = plan_ask(work,
                                        "SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE "
                                        "conrelid = $1::oid AND conname = $2",
                                        params, 2, &count);

    if (count > 0 && cells[0].data != NULL)
        plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT),
                 "COMMENT ON CONSTRAINT %I ON %T IS %L", constraint, table, cells[0]);
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
