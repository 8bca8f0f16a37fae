/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a migration drops and makes again under the same name: a view, a trigger, a policy, a function, an index.  The
 * drop is contract and the new one would be expand or backfill, where the old one still has the name; so the two are
 * one step, in one transaction of contract, and nobody ever meets neither.
 *
 *   DROP TRIGGER a ON t; CREATE TRIGGER a …   contract: both; undone by both
 *   DROP VIEW v; CREATE VIEW v AS …           contract: the old one renamed, the new one made
 *   DROP CONSTRAINT c, ADD CONSTRAINT c       contract: both, NOT VALID; then VALIDATE (plan_constraint.c)
 *   DROP INDEX i; CREATE INDEX i ON t (…)     backfill: built CONCURRENTLY under a name of ours
 *                                             contract: the names change; cleanup: the old one goes
 */
#include <string.h>

#include "migrate/plan_int.h"

struct plan_gone {
    const struct plan_gone *next;
    const char *kind;
    struct banyan_str name, table;
    size_t step; /* that drops it */
};

static struct banyan_str behind_schema(struct banyan_str name)
{
    const char *dot = memrchr(name.data, '.', name.size);

    return dot == NULL || name.data[name.size - 1] == ')'
               ? name
               : (struct banyan_str){dot + 1, name.size - (size_t)(dot + 1 - name.data)};
}

/* "a" and "public.a" may be one; which schema comes first is not asked. */
static bool same_name(struct banyan_str a, struct banyan_str b)
{
    struct banyan_str short_a = behind_schema(a), short_b = behind_schema(b);

    return banyan_str_equal(a, b) ||
           ((short_a.size == a.size || short_b.size == b.size) && banyan_str_equal(short_a, short_b));
}

void plan_gone(struct plan_work *work, const char *kind, struct banyan_str name, struct banyan_str table)
{
    struct plan_gone *gone = banyan_arena_zalloc(work->arena, sizeof(*gone));

    *gone = (struct plan_gone){.next = work->gone,
                               .kind = kind,
                               .name = banyan_arena_str(work->arena, name),
                               .table = banyan_arena_str(work->arena, table),
                               .step = work->ret->step_count - 1};
    work->gone = gone;
}

struct plan_step *plan_dropped_by(struct plan_work *work, const char *kind, struct banyan_str name,
                                  struct banyan_str table)
{
    for (const struct plan_gone *gone = work->gone; gone != NULL; gone = gone->next)
        if (strcmp(gone->kind, kind) == 0 && same_name(gone->name, name) && same_name(gone->table, table))
            return &work->ret->steps[gone->step];
    return NULL;
}

void plan_sql_first(struct plan_work *work, struct plan_action *action, struct banyan_str sql)
{
    struct banyan_str last;

    plan_sql(work, action, "%S", sql);
    last = action->statements[action->statement_count - 1];
    memmove(&action->statements[1], &action->statements[0],
            (action->statement_count - 1) * sizeof(*action->statements));
    action->statements[0] = last;
}

bool plan_replaces(struct plan_work *work, const char *kind, struct banyan_str name, struct banyan_str table,
                   struct banyan_str undo)
{
    struct plan_step *step = plan_dropped_by(work, kind, name, table);
    struct effect effect;

    if (step == NULL || !plan_effect(work, work->statement, &effect))
        return false;
    if (effect.verdict != EFFECT_UNDERSTOOD || effect.outside_transaction || plan_heavy(&effect, true) != NULL ||
        step->undo_count == 0) {
        plan_refuse(work,
                    "%.*s is dropped and made again in the same migration, which cannot be done in one short "
                    "transaction: put the new one into a migration of its own behind this one",
                    (int)name.size, name.data);
        return true;
    }
    step->name = "replace";
    step->title = banyan_arena_printf(work->arena, "%.*s%s%.*s is another one from here on", (int)name.size, name.data,
                                      table.size > 0 ? " of " : "", (int)table.size, table.data);
    step->old_code = BANYAN_STR("meets the new one");
    plan_sql(work, &step->act, "%S", work->statement->text);
    plan_sql_first(work, &step->undo[0], undo);
    plan_note(work, "%.*s is replaced in complete: until then the old one is there for both codes", (int)name.size,
              name.data);
    return true;
}

bool plan_replaces_index(struct plan_work *work, const struct catalog_table *table, struct banyan_str name,
                         struct banyan_str *ret_name)
{
    struct banyan_str kept, other = plan_new_name(work, table, name), schema = table->schema;
    struct plan_step *step = plan_dropped_by(work, "INDEX", plan_relation(work, table, name), BANYAN_STR(""));

    if (step == NULL || step->phase != PLAN_CONTRACT || step->act.kind != PLAN_INDEX_DROP || table->kind == 'p')
        return false;
    kept = plan_kept_name(work, table, name);
    *step = (struct plan_step){.phase = PLAN_CONTRACT, .name = "swap-index", .of = step->of};
    step->title = banyan_arena_printf(work->arena, "the new index has the name %.*s, the old one is kept aside",
                                      (int)name.size, name.data);
    step->old_code = step->new_code = BANYAN_STR("");
    plan_action_init(&step->act, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(work, &step->act, "ALTER INDEX %I.%I RENAME TO %I", schema, name, kept);
    plan_sql(work, &step->act, "ALTER INDEX %I.%I RENAME TO %I", schema, other, name);
    (void)plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(work, &step->undo[0], "ALTER INDEX %I.%I RENAME TO %I", schema, name, other);
    plan_sql(work, &step->undo[0], "ALTER INDEX %I.%I RENAME TO %I", schema, kept, name);
    step = plan_add(work, PLAN_CLEANUP, "drop-kept-index", PLAN_INDEX_DROP, PLAN_RETRY_WATCH);
    step->title = banyan_arena_printf(work->arena, "the index that was %.*s", (int)name.size, name.data);
    step->act.index = plan_relation(work, table, kept);
    plan_sql(work, &step->act, "DROP INDEX CONCURRENTLY IF EXISTS %S", step->act.index);
    *ret_name = other;
    return true;
}
