/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DROP COLUMN and DROP TABLE: what is dropped is renamed in contract, and is there until cleanup.
 *
 *   DROP COLUMN  expand: what would make rows of new code fail that do not have it (NOT NULL, CHECKs of it) goes
 *                contract: a name of ours; its values stay
 *                rollback: the old name, NULLs of new code's rows filled where a directive says how, NOT NULL again
 *   DROP TABLE   contract: its foreign keys go (they would block the tables that they reference), a name of ours
 */
#include <string.h>

#include "migrate/plan_int.h"

static struct banyan_str shown(struct plan_work *work, const struct catalog_table *table, struct banyan_str column)
{
    return banyan_arena_printf(work->arena, "%.*s.%.*s", (int)table->shown.size, table->shown.data, (int)column.size,
                               column.data);
}

static bool ends_with(struct banyan_str text, const char *end)
{
    size_t size = strlen(end);

    return text.size >= size && memcmp(text.data + text.size - size, end, size) == 0;
}

/* A constraint that was dropped comes back: for new rows at once, for the others by reading them. */
static void undo_constraint(struct plan_work *work, struct plan_step *step, const struct catalog_table *table,
                            const struct catalog_constraint *constraint, const struct catalog_table *referenced)
{
    const struct catalog_table *both[] = {table, referenced};
    struct plan_action *undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    bool checked = !constraint->unenforced && !ends_with(constraint->definition, " NOT VALID");

    plan_sql(work, undo, "ALTER TABLE %T ADD CONSTRAINT %I %S%s", table, constraint->name, constraint->definition,
             checked ? " NOT VALID" : "");
    if (referenced != NULL)
        plan_lock_tables(work, undo, both, 2, "SHARE ROW EXCLUSIVE");
    if (checked)
        plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_LONG),
                 "ALTER TABLE %T VALIDATE CONSTRAINT %I", table, constraint->name);
    plan_comment_again(work, step, table, constraint->name);
}

/* ---- DROP COLUMN ---- */

static bool is_free(struct plan_work *work, const struct catalog_table *table, const struct catalog_column *column)
{
    struct banyan_str user;

    for (size_t i = 0; i < table->index_count; i++)
        if (table->indexes[i].primary && catalog_columns_has(&table->indexes[i].keys, column->number)) {
            plan_refuse(work,
                        "%.*s is part of the primary key: new code cannot leave it out; give the table another key "
                        "first",
                        (int)shown(work, table, column->name).size, shown(work, table, column->name).data);
            return false;
        }
    user = plan_identity_index(work, table, column->number);
    if (user.size > 0) {
        plan_refuse(
            work,
            "%.*s is part of %.*s, by which replicated rows are found (REPLICA IDENTITY): give the table another "
            "identity first",
            (int)shown(work, table, column->name).size, shown(work, table, column->name).data, (int)user.size,
            user.data);
        return false;
    }
    user = plan_dependent(work, table, column->name);
    if (user.size > 0) {
        plan_refuse(work, "the server will refuse it: cannot drop it because other objects depend on it: %.*s",
                    (int)user.size, user.data);
        return false;
    }
    if (column->made_here || column->changed_here) {
        plan_refuse(work, "the column \"%.*s\" is added or changed and dropped in the same migration",
                    (int)column->name.size, column->name.data);
        return false;
    }
    return true;
}

static void loosen_not_null(struct plan_work *work, const struct catalog_table *table,
                            const struct catalog_column *column, const struct directive *directive)
{
    struct plan_step *step = plan_add(work, PLAN_EXPAND, "drop-not-null", PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    step->title =
        banyan_arena_printf(work->arena, "rows without %.*s are allowed", (int)shown(work, table, column->name).size,
                            shown(work, table, column->name).data);
    plan_sql(work, &step->act, "ALTER TABLE %T ALTER COLUMN %I DROP NOT NULL", table, column->name);
    step->new_code = BANYAN_STR("may insert rows without the column");
    step->old_code = BANYAN_STR("reads NULL in rows of new code");
    plan_not_null_undo(work, step, table, column->name,
                       directive == NULL ? BANYAN_STR("") : plan_value(work, table, directive->value));
    if (directive == NULL)
        plan_note(work,
                  "a rollback needs values in rows that new code made without the column: -- banyan: backfill %.*s = "
                  "expression says which; without it such rows stop the rollback",
                  (int)shown(work, table, column->name).size, shown(work, table, column->name).data);
}

/* CHECKs go with the column in the end; new code's rows must not fail for them before. */
static void loosen_checks(struct plan_work *work, const struct catalog_table *table,
                          const struct catalog_column *column)
{
    for (size_t i = 0; i < table->constraint_count; i++) {
        const struct catalog_constraint *constraint = &table->constraints[i];
        struct plan_step *step;

        if (constraint->kind != CATALOG_CHECK || constraint->inherited || constraint->definition.data == NULL ||
            !catalog_columns_has(&constraint->columns, column->number))
            continue;
        step = plan_add(work, PLAN_EXPAND, "drop-check", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
        step->title = banyan_arena_printf(work->arena, "the CHECK %.*s, which goes with the column",
                                          (int)constraint->name.size, constraint->name.data);
        plan_sql(work, &step->act, "ALTER TABLE %T DROP CONSTRAINT %I", table, constraint->name);
        undo_constraint(work, step, table, constraint, NULL);
    }
}

static void keep_column(struct plan_work *work, const struct catalog_table *table, const struct catalog_column *column)
{
    struct banyan_str kept = plan_kept_name(work, table, column->name);
    struct plan_step *step = plan_add(work, PLAN_CONTRACT, "keep-column", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    const struct catalog_table *tables[9] = {table};
    size_t count = 1;

    step->title =
        banyan_arena_printf(work->arena, "%.*s goes aside under another name",
                            (int)shown(work, table, column->name).size, shown(work, table, column->name).data);
    plan_sql(work, &step->act, "ALTER TABLE %T RENAME COLUMN %I TO %I", table, column->name, kept);
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "ALTER TABLE %T RENAME COLUMN %I TO %I",
             table, kept, column->name);
    step->old_code = BANYAN_STR("fails where it names the column");
    step->new_code = BANYAN_STR("does not know the column");
    step = plan_add(work, PLAN_CLEANUP, "drop-kept-column", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title =
        banyan_arena_printf(work->arena, "the values of %.*s, with indexes and constraints on it",
                            (int)shown(work, table, column->name).size, shown(work, table, column->name).data);
    plan_sql(work, &step->act, "ALTER TABLE %T DROP COLUMN %I", table, kept);
    for (size_t i = 0; i < table->constraint_count && count < 9; i++)
        if (table->constraints[i].kind == CATALOG_FOREIGN &&
            catalog_columns_has(&table->constraints[i].columns, column->number)) {
            tables[count] = plan_by_oid(work, table->constraints[i].referenced);
            count += tables[count] != NULL;
        }
    if (count > 1)
        plan_lock_tables(work, &step->act, tables, count, "ACCESS EXCLUSIVE");
}

void plan_drop_column(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    const struct catalog_column *column = catalog_column(table, banyan_str_of(command->name));
    const struct directive *directive;
    struct effect effect;

    if (column == NULL && command->missing_ok) {
        plan_note(work, "the column %s is not there: nothing is to be done", command->name);
        return;
    }
    if (!plan_effect(work, work->statement, &effect))
        return;
    if (effect.verdict == EFFECT_FAILS || column == NULL) {
        plan_refuse(work, "the server will refuse it: %.*s", effect.verdict == EFFECT_FAILS ? (int)effect.why.size : 18,
                    effect.verdict == EFFECT_FAILS ? effect.why.data : "no such column is there");
        return;
    }
    if (command->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE && table->dependent_count > 0) {
        plan_refuse(work, "CASCADE drops what nobody named: drop it by statements of its own first (%.*s …)",
                    (int)table->dependents[0].name.size, table->dependents[0].name.data);
        return;
    }
    if (!is_free(work, table, column))
        return;
    directive = plan_directive(work, DIRECTIVE_BACKFILL, table, column->name);
    loosen_checks(work, table, column);
    if (column->not_null && !column->has_default && !column->is_identity && !column->is_generated)
        loosen_not_null(work, table, column, directive);
    keep_column(work, table, column);
    if (table->trigger_count > 0)
        plan_note(work, "triggers of %.*s may name the column: %.*s%s", (int)table->shown.size, table->shown.data,
                  (int)table->triggers[0].size, table->triggers[0].data, table->trigger_count > 1 ? ", …" : "");
}

/* ---- DROP TABLE ---- */

static bool is_dropped_here(const PgQuery__DropStmt *statement, const struct catalog_table *table)
{
    for (size_t i = 0; i < statement->n_objects; i++) {
        const PgQuery__Node *object = statement->objects[i];

        if (object->node_case == PG_QUERY__NODE__NODE_LIST && object->list->n_items > 0 &&
            banyan_str_equal(banyan_str_of(object->list->items[object->list->n_items - 1]->string->sval), table->name))
            return true;
    }
    return false;
}

static bool may_go(struct plan_work *work, const struct catalog_table *table, const PgQuery__DropStmt *statement)
{
    struct banyan_str user;

    if (table->is_partition) {
        plan_refuse(work, "%.*s is a partition: ALTER TABLE … DETACH PARTITION it first, then drop it",
                    (int)table->shown.size, table->shown.data);
        return false;
    }
    if (table->made_here) {
        plan_refuse(work, "%.*s is made and dropped in the same migration", (int)table->shown.size, table->shown.data);
        return false;
    }
    for (size_t i = 0; i < table->constraint_count; i++)
        if (table->kind == 'p' && table->constraints[i].kind == CATALOG_FOREIGN) {
            plan_refuse(work,
                        "%.*s is partitioned and has the foreign key %.*s, which could not come back without reading "
                        "it under a lock: drop the foreign key in a migration of its own first",
                        (int)table->shown.size, table->shown.data, (int)table->constraints[i].name.size,
                        table->constraints[i].name.data);
            return false;
        }
    user = plan_dependent(work, table, BANYAN_STR(""));
    if (user.size > 0) {
        plan_refuse(work, "the server will refuse it: cannot drop it because other objects depend on it: %.*s",
                    (int)user.size, user.data);
        return false;
    }
    for (size_t i = 0; i < table->reference_count; i++) {
        const struct catalog_table *other = plan_by_oid(work, table->references[i].table);

        if (other == NULL || other == table || is_dropped_here(statement, other))
            continue;
        plan_refuse(work, "the foreign key %.*s of %.*s needs %.*s: drop it first", (int)table->references[i].name.size,
                    table->references[i].name.data, (int)other->shown.size, other->shown.data, (int)table->shown.size,
                    table->shown.data);
        return false;
    }
    return true;
}

static void drop_foreign(struct plan_work *work, struct plan_step *step, const struct catalog_table *table,
                         const struct catalog_constraint *foreign, struct banyan_str kept)
{
    const struct catalog_table *referenced = plan_by_oid(work, foreign->referenced);

    (void)kept;
    plan_sql(work, &step->act, "ALTER TABLE %T DROP CONSTRAINT %I", table, foreign->name);
    if (referenced != NULL)
        undo_constraint(work, step, table, foreign, referenced);
}

static void keep_table(struct plan_work *work, const struct catalog_table *table)
{
    struct banyan_str kept = plan_kept_name(work, table, table->name);
    struct plan_step *step = plan_add(work, PLAN_CONTRACT, "keep-table", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    const struct catalog_table *tables[PLAN_LOCKS_MAX] = {table};
    size_t count = 1;

    step->title = banyan_arena_printf(work->arena, "%.*s goes aside under another name", (int)table->shown.size,
                                      table->shown.data);
    step->old_code = BANYAN_STR("fails where it names the table");
    step->new_code = BANYAN_STR("does not know the table");
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "ALTER TABLE %I.%I RENAME TO %I",
             table->schema, kept, table->name);
    for (size_t i = 0; i < table->constraint_count && count < PLAN_LOCKS_MAX; i++) {
        const struct catalog_constraint *foreign = &table->constraints[i];

        if (foreign->kind != CATALOG_FOREIGN || foreign->referenced == table->oid)
            continue;
        tables[count] = plan_by_oid(work, foreign->referenced);
        if (tables[count] == NULL)
            continue;
        count++;
        drop_foreign(work, step, table, foreign, kept);
    }
    plan_sql(work, &step->act, "ALTER TABLE %T RENAME TO %I", table, kept);
    if (count > 1)
        plan_lock_tables(work, &step->act, tables, count, "ACCESS EXCLUSIVE");
    step = plan_add(work, PLAN_CLEANUP, "drop-kept-table", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "the rows of %.*s", (int)table->shown.size, table->shown.data);
    plan_sql(work, &step->act, "DROP TABLE %I.%I", table->schema, kept);
}

bool plan_drop_table(struct plan_work *work)
{
    const PgQuery__DropStmt *statement = work->statement->tree->drop_stmt;
    struct effect effect;

    if (!plan_effect(work, work->statement, &effect))
        return true;
    if (effect.verdict == EFFECT_FAILS) {
        plan_refuse(work, "the server will refuse it: %.*s", (int)effect.why.size, effect.why.data);
        return true;
    }
    for (size_t i = 0; i < statement->n_objects && plan_goes_on(work); i++) {
        const PgQuery__Node *object = statement->objects[i];
        size_t count = object->node_case == PG_QUERY__NODE__NODE_LIST ? object->list->n_items : 0;
        struct catalog_table *table = NULL;
        const char *name;

        if (count == 0)
            return false;
        name = object->list->items[count - 1]->string->sval;
        work->st =
            catalog_table(work->catalog, banyan_str_of(count > 1 ? object->list->items[count - 2]->string->sval : ""),
                          banyan_str_of(name), &table, work->err);
        if (!plan_goes_on(work))
            return true;
        if (table == NULL) {
            plan_note(work, "the table %s is not there: nothing is to be done", name);
            continue;
        }
        plan_changes(work, table);
        if (may_go(work, table, statement))
            keep_table(work, table);
    }
    return true;
}
