/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h: defaults and NOT NULL of columns that are there. */
#include <string.h>

#include "migrate/definition.h"
#include "migrate/plan_int.h"

#define AT(name) PG_QUERY__ALTER_TABLE_TYPE__AT_##name

/* A subquery that reads nothing of the row is computed once a statement, also where it is volatile: one uuid for all
 * rows of a batch.  So it always reads something: of the inner t, for the table may be called t, too. */
struct banyan_str plan_value(struct plan_work *work, const struct catalog_table *table, struct banyan_str expression)
{
    return sql_make(work->arena, "(SELECT (%S) FROM (SELECT t.* WHERE t.tableoid <> 0) AS %I)", expression,
                    table->name);
}

static struct banyan_str titled(struct plan_work *work, const char *what, const struct catalog_table *table,
                                struct banyan_str column)
{
    return banyan_arena_printf(work->arena, "%s of %.*s.%.*s", what, (int)table->shown.size, table->shown.data,
                               (int)column.size, column.data);
}

/* ---- NOT NULL ---- */

static struct banyan_str check_name(struct plan_work *work, const struct catalog_table *table, struct banyan_str column)
{
    return plan_new_name(work, table, banyan_arena_printf(work->arena, "%.*s_not_null", (int)column.size, column.data));
}

/* Nothing has to be proven first: a CHECK does it already, or the table is small. */
static bool is_light(struct plan_work *work, const struct catalog_table *table, struct banyan_str column)
{
    struct effect effect;

    return plan_effect_sql(work, sql_make(work->arena, "ALTER TABLE %T ALTER COLUMN %I SET NOT NULL", table, column),
                           &effect) &&
           effect.verdict == EFFECT_UNDERSTOOD && plan_heavy(&effect, true) == NULL;
}

static void prove_not_null(struct plan_work *work, const struct catalog_table *table, struct banyan_str column,
                           struct banyan_str check, enum plan_phase phase)
{
    struct plan_step *step = plan_add(work, phase, "not-null-check", PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    step->title = titled(work, "no new NULLs: a CHECK for the rows to come,", table, column);
    plan_sql(work, &step->act, "ALTER TABLE %T ADD CONSTRAINT %I CHECK (%I IS NOT NULL) NOT VALID", table, check,
             column);
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT),
             "ALTER TABLE %T DROP CONSTRAINT IF EXISTS %I", table, check);
    if (phase == PLAN_CONTRACT)
        step->old_code = BANYAN_STR("fails where it writes NULL into the column");
    step = plan_add(work, phase == PLAN_EXPAND ? PLAN_BACKFILL : phase, "not-null-validate", PLAN_TRANSACTION,
                    PLAN_RETRY_LONG);
    step->title = titled(work, "the rows that are there are read: none is NULL,", table, column);
    plan_sql(work, &step->act, "ALTER TABLE %T VALIDATE CONSTRAINT %I", table, check);
}

const struct catalog_constraint *plan_not_null_of(const struct catalog_table *table, struct banyan_str column)
{
    const struct catalog_column *there = catalog_column(table, column);

    for (size_t i = 0; there != NULL && i < table->constraint_count; i++)
        if (table->constraints[i].kind == CATALOG_NOT_NULL &&
            catalog_columns_has(&table->constraints[i].columns, there->number))
            return &table->constraints[i];
    return NULL;
}

static bool ends_with(struct banyan_str text, const char *tail)
{
    size_t size = strlen(tail);

    return text.size >= size && memcmp(text.data + text.size - size, tail, size) == 0;
}

void plan_not_null_sql(struct plan_work *work, struct plan_action *action, const struct catalog_table *table,
                       struct banyan_str column, struct banyan_str name, const struct catalog_constraint *like)
{
    if (name.size == 0)
        plan_sql(work, action, "ALTER TABLE %T ALTER COLUMN %I SET NOT NULL", table, column);
    else
        plan_sql(work, action, "ALTER TABLE %T ADD CONSTRAINT %I NOT NULL %I%s", table, name, column,
                 like != NULL && ends_with(like->definition, " NO INHERIT") ? " NO INHERIT" : "");
}

void plan_not_null(struct plan_work *work, const struct catalog_table *table, struct banyan_str column,
                   enum plan_phase check_in, enum plan_phase set_in)
{
    plan_not_null_named(work, table, column, BANYAN_STR(""), NULL, check_in, set_in);
}

void plan_not_null_named(struct plan_work *work, const struct catalog_table *table, struct banyan_str column,
                         struct banyan_str name, const struct catalog_constraint *like, enum plan_phase check_in,
                         enum plan_phase set_in)
{
    const struct catalog_column *there = catalog_column(table, column);
    const struct catalog_constraint *unproven = plan_not_null_of(table, column);
    struct banyan_str check = check_name(work, table, column);
    struct plan_step *step;
    bool light;

    if (there != NULL && there->not_null)
        return;
    if (unproven != NULL) {
        plan_refuse(
            work,
            "the NOT NULL constraint %.*s of %.*s.%.*s is NOT VALID: ALTER TABLE … VALIDATE CONSTRAINT first, in a "
            "migration of its own",
            (int)unproven->name.size, unproven->name.data, (int)table->shown.size, table->shown.data, (int)column.size,
            column.data);
        return;
    }
    light = is_light(work, table, column);
    if (!light)
        prove_not_null(work, table, column, check, check_in);
    step = plan_add(work, set_in, "not-null", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = titled(work, light ? "NOT NULL" : "NOT NULL, which the CHECK proves,", table, column);
    plan_not_null_sql(work, &step->act, table, column, name, like);
    if (!light) /* not in the same ALTER: it would read the table after all */
        plan_sql(work, &step->act, "ALTER TABLE %T DROP CONSTRAINT %I", table, check);
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT),
             "ALTER TABLE %T ALTER COLUMN %I DROP NOT NULL", table, column);
    if (set_in == PLAN_CONTRACT)
        step->old_code = BANYAN_STR("fails where it writes NULL into the column");
}

static void fill_in_undo(struct plan_work *work, struct plan_step *step, const struct catalog_table *table,
                         struct banyan_str column, struct banyan_str value)
{
    const struct catalog_table **leaves = NULL;
    size_t count = 0;

    plan_leaves(work, table, &leaves, &count);
    for (size_t i = 0; i < count; i++) {
        struct plan_action *undo = plan_undo(work, step, PLAN_BATCHES, PLAN_RETRY_SHORT);

        undo->batches.table = sql_make(work->arena, "%T", leaves[i]);
        undo->batches.set = sql_make(work->arena, "%I = %S", column, value);
        undo->batches.needs = sql_make(work->arena, "t.%I IS NULL AND %S IS NOT NULL", column, value);
    }
}

static void constraint_again(struct plan_work *work, struct plan_action *undo, const struct catalog_table *table,
                             const struct catalog_constraint *constraint)
{
    struct definition_constraint definition = {.comment = {.data = NULL}};

    if (work->st == BANYAN_OK)
        work->st = definition_constraint(work->catalog, table->oid, constraint->name, &definition, work->err);
    plan_sql(work, undo, "ALTER TABLE %T ADD CONSTRAINT %I %S", table, constraint->name, constraint->definition);
    if (definition.comment.data != NULL)
        plan_sql(work, undo, "COMMENT ON CONSTRAINT %I ON %T IS %L", constraint->name, table, definition.comment);
}

/* Partitions that were attached may have it under names of their own.  Added to each first it would keep its name, but
 * be the partition's own from then on, and stay when the parent's goes. */
static bool has_other_names_below(struct plan_work *work, const struct catalog_table *table, struct banyan_str column,
                                  struct banyan_str name)
{
    for (size_t i = 0; i < table->child_count && plan_goes_on(work); i++) {
        const struct catalog_table *child = plan_by_oid(work, table->children[i]);
        const struct catalog_constraint *own = child == NULL ? NULL : plan_not_null_of(child, column);

        if (own != NULL && (!banyan_str_equal(own->name, name) || has_other_names_below(work, child, column, name)))
            return true;
    }
    return false;
}

static void not_null_again(struct plan_work *work, struct plan_action *undo, const struct catalog_table *table,
                           struct banyan_str column)
{
    const struct catalog_constraint *constraint = plan_not_null_of(table, column);

    if (constraint == NULL || constraint->definition.data == NULL) {
        plan_not_null_sql(work, undo, table, column, BANYAN_STR(""), NULL);
        return;
    }
    constraint_again(work, undo, table, constraint);
    if (has_other_names_below(work, table, column, constraint->name))
        plan_note(work, "after a rollback NOT NULL of %.*s has the name %.*s in all partitions", (int)column.size,
                  column.data, (int)constraint->name.size, constraint->name.data);
}

void plan_not_null_undo(struct plan_work *work, struct plan_step *step, const struct catalog_table *table,
                        struct banyan_str column, struct banyan_str value)
{
    struct banyan_str check = check_name(work, table, column);
    const struct catalog_constraint *constraint = plan_not_null_of(table, column);
    struct plan_action *undo;

    if (constraint != NULL && !constraint->validated) { /* it said nothing of the rows that are there */
        not_null_again(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), table, column);
        return;
    }
    if (value.size > 0)
        fill_in_undo(work, step, table, column, value);
    if (!plan_is_small(table)) {
        plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT),
                 "ALTER TABLE %T ADD CONSTRAINT %I CHECK (%I IS NOT NULL) NOT VALID", table, check, column);
        plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_LONG),
                 "ALTER TABLE %T VALIDATE CONSTRAINT %I", table, check);
    }
    undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    not_null_again(work, undo, table, column);
    if (!plan_is_small(table))
        plan_sql(work, undo, "ALTER TABLE %T DROP CONSTRAINT %I", table, check);
}

/* Does an UPDATE further up write the column?  Then its NULLs are no reason not to begin. */
static bool is_written_above(const struct plan_work *work, const struct catalog_table *table, struct banyan_str column)
{
    for (size_t i = 0; i < work->of; i++) {
        const PgQuery__Node *tree = work->migration->statements[i].tree;

        if (tree == NULL || tree->node_case != PG_QUERY__NODE__NODE_UPDATE_STMT ||
            !banyan_str_equal(banyan_str_of(tree->update_stmt->relation->relname), table->name))
            continue;
        for (size_t k = 0; k < tree->update_stmt->n_target_list; k++)
            if (banyan_str_equal(banyan_str_of(tree->update_stmt->target_list[k]->res_target->name), column))
                return true;
    }
    return false;
}

static void count_nulls(struct plan_work *work, const struct catalog_table *table, struct banyan_str column)
{
    struct plan_check *check = plan_check_add(work, PLAN_CONTRACT);

    check->sql = sql_make(work->arena, "SELECT count(*) FROM %T WHERE %I IS NULL", table, column);
    check->message = banyan_arena_printf(work->arena, "rows of %.*s have NULL in %.*s", (int)table->shown.size,
                                         table->shown.data, (int)column.size, column.data);
    check->hint = banyan_arena_printf(work->arena, "say what they get: -- banyan: backfill %.*s.%.*s = expression",
                                      (int)table->shown.size, table->shown.data, (int)column.size, column.data);
}

/* From 18 on: new rows hold it, those that are there are to be read. */
static bool is_not_valid(const struct catalog_table *table, const struct catalog_column *column)
{
    const struct catalog_constraint *constraint = plan_not_null_of(table, column->name);

    return constraint != NULL && !constraint->validated && constraint->definition.data != NULL;
}

static void set_not_null(struct plan_work *work, struct catalog_table *table, const struct catalog_column *column)
{
    const struct directive *directive = plan_directive(work, DIRECTIVE_BACKFILL, table, column->name);
    struct sync_column fill = {
        .kind = SYNC_FILL, .from = BANYAN_STR(""), .to = column->name, .forth = BANYAN_STR(""), .back = BANYAN_STR("")};
    struct banyan_str value;

    if (column->not_null) {
        plan_note(work, "%.*s.%.*s is NOT NULL already", (int)table->shown.size, table->shown.data,
                  (int)column->name.size, column->name.data);
        return;
    }
    if (directive == NULL && is_not_valid(table, column)) {
        count_nulls(work, table, column->name);
        plan_validate(work, table, plan_not_null_of(table, column->name)->name);
        return;
    }
    if (directive == NULL) {
        if (!column->made_here && !is_written_above(work, table, column->name))
            count_nulls(work, table, column->name);
        plan_not_null(work, table, column->name, PLAN_CONTRACT, PLAN_CONTRACT);
        return;
    }
    if (!column->made_here) { /* else ADD COLUMN fills it */
        if (!column->changed_here)
            (void)plan_value_fits(work, table, directive, column->shown); /* rows are asked by the NOT NULL below */
        value = plan_value(work, table, directive->value);
        fill.expression = directive->value;
        plan_sync(work, table, &fill, BANYAN_STR(""));
        plan_fill(work, table, sql_make(work->arena, "%I = %S", column->name, value),
                  sql_make(work->arena, "t.%I IS NULL AND %S IS NOT NULL", column->name, value));
        plan_note(work,
                  "NULLs of %.*s.%.*s that are filled stay filled after a rollback; an UPDATE above it in place of the "
                  "directive keeps them, but fills none that old code writes later",
                  (int)table->shown.size, table->shown.data, (int)column->name.size, column->name.data);
    }
    plan_not_null(work, table, column->name, PLAN_BACKFILL, column->made_here ? PLAN_BACKFILL : PLAN_CONTRACT);
}

void plan_drop_not_null(struct plan_work *work, struct catalog_table *table, const struct catalog_column *column)
{
    const struct directive *directive = plan_directive(work, DIRECTIVE_BACKFILL, table, column->name);
    struct banyan_str identity;
    struct plan_step *step;

    if (!column->not_null && plan_not_null_of(table, column->name) == NULL) {
        plan_note(work, "%.*s.%.*s takes NULL already", (int)table->shown.size, table->shown.data,
                  (int)column->name.size, column->name.data);
        return;
    }
    identity = plan_identity_index(work, table, column->number);
    if (identity.size > 0) {
        plan_refuse(work, "the server will refuse it: column \"%.*s\" is in index %.*s, used as replica identity",
                    (int)column->name.size, column->name.data, (int)identity.size, identity.data);
        return;
    }
    step = plan_add(work, PLAN_EXPAND, "drop-not-null", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = titled(work, "NULL is allowed in the rows", table, column->name);
    plan_sql(work, &step->act, "ALTER TABLE %T ALTER COLUMN %I DROP NOT NULL", table, column->name);
    step->new_code = BANYAN_STR("may write NULL into the column");
    step->old_code = BANYAN_STR("may read NULL as soon as new code writes it");
    plan_not_null_undo(work, step, table, column->name,
                       directive == NULL ? BANYAN_STR("") : plan_value(work, table, directive->value));
    plan_note(work, "a rollback needs the column without NULL again: rows that have it then %s",
              directive == NULL ? "stop it, unless a backfill directive says what they get"
                                : "get the value of the backfill directive");
}

/* ---- defaults ---- */

static void set_default(struct plan_work *work, struct catalog_table *table, const struct catalog_column *column,
                        const PgQuery__Node *value)
{
    struct banyan_str text = value == NULL ? BANYAN_STR("") : node_deparse_expression(value, work->arena);
    struct plan_step *step;
    struct plan_action *undo;

    if (value == NULL && !column->has_default) {
        plan_note(work, "%.*s.%.*s has no default", (int)table->shown.size, table->shown.data, (int)column->name.size,
                  column->name.data);
        return;
    }
    if (value != NULL && text.data == NULL) {
        plan_as_written(work, "the default cannot be written again");
        return;
    }
    step = plan_add(work, value == NULL ? PLAN_CONTRACT : PLAN_EXPAND, value == NULL ? "drop-default" : "set-default",
                    PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = titled(work, value == NULL ? "the default goes" : "the default", table, column->name);
    undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    if (value == NULL) {
        plan_sql(work, &step->act, "ALTER TABLE %T ALTER COLUMN %I DROP DEFAULT", table, column->name);
        step->old_code = column->not_null ? BANYAN_STR("fails where it inserts rows without the column")
                                          : BANYAN_STR("its rows without the column get NULL");
    } else {
        plan_sql(work, &step->act, "ALTER TABLE %T ALTER COLUMN %I SET DEFAULT %S", table, column->name, text);
        step->old_code = BANYAN_STR("its rows without the column get the new default, too");
    }
    if (column->has_default && column->default_value.data != NULL)
        plan_sql(work, undo, "ALTER TABLE %T ALTER COLUMN %I SET DEFAULT %S", table, column->name,
                 column->default_value);
    else
        plan_sql(work, undo, "ALTER TABLE %T ALTER COLUMN %I DROP DEFAULT", table, column->name);
}

/* ---- commands ---- */

/* False: it has been refused, or is not there. */
static bool is_plannable(struct plan_work *work, const struct catalog_table *table, const char *name)
{
    const struct catalog_column *column = catalog_column(table, banyan_str_of(name));
    struct effect effect;

    if (!plan_effect(work, work->statement, &effect))
        return false;
    if (column != NULL && column->changed_here) {
        plan_refuse(work,
                    "the column \"%s\" changes its type or name in the same migration; put this into a migration of "
                    "its own",
                    name);
        return false;
    }
    if (effect.verdict == EFFECT_FAILS || column == NULL) {
        plan_refuse(work, "the server will refuse it: %.*s", effect.verdict == EFFECT_FAILS ? (int)effect.why.size : 19,
                    effect.verdict == EFFECT_FAILS ? effect.why.data : "there is no column.");
        return false;
    }
    return true;
}

bool plan_column(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    if (!work->statement->tree->alter_table_stmt->relation->inh && table->child_count > 0)
        return false; /* ONLY: what is told here goes for the children, too */
    switch (command->subtype) {
    case AT(AddColumn):
        plan_add_column(work, table, command);
        return true;
    case AT(DropColumn):
        plan_drop_column(work, table, command);
        return true;
    case AT(SetNotNull):
        if (is_plannable(work, table, command->name))
            set_not_null(work, table, catalog_column(table, banyan_str_of(command->name)));
        return true;
    case AT(DropNotNull):
        if (is_plannable(work, table, command->name))
            plan_drop_not_null(work, table, catalog_column(table, banyan_str_of(command->name)));
        return true;
    case AT(ColumnDefault):
        if (!plan_swap_has_type(work, table, banyan_str_of(command->name)) && is_plannable(work, table, command->name))
            set_default(work, table, catalog_column(table, banyan_str_of(command->name)), command->def);
        return true;
    default:
        return false;
    }
}
