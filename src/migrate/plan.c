/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See plan.h and plan_int.h: which family a statement, or a command of an ALTER TABLE, belongs to; then the order of
 * the phases.
 *
 *   statement ──┬ of a table that was made above ──▶ as it is: nobody waits
 *               ├ "allow" stands before it       ──▶ as it was written
 *               ├ ALTER TABLE ──command by command──▶ the families of commands
 *               └ all else                       ──▶ the families of statements
 *   behind each: the catalog follows it; behind all: the swaps, the order, the locks
 */
#include <string.h>
#include <strings.h>

#include "migrate/plan_int.h"

const char *plan_phase_name(enum plan_phase phase)
{
    static const char *const names[] = {
        [PLAN_EXPAND] = "expand",
        [PLAN_BACKFILL] = "backfill",
        [PLAN_CONTRACT] = "contract",
        [PLAN_CLEANUP] = "cleanup",
    };

    return names[phase];
}

/* ---- finding ---- */

struct catalog_table *plan_find(struct plan_work *work, const PgQuery__RangeVar *name, bool missing_ok)
{
    struct catalog_table *table = NULL;

    if (!plan_goes_on(work) || name == NULL)
        return NULL;
    work->st =
        catalog_table(work->catalog, banyan_str_of(name->schemaname), banyan_str_of(name->relname), &table, work->err);
    if (plan_goes_on(work) && table == NULL && !missing_ok)
        plan_refuse(work, "relation \"%s\" does not exist", name->relname);
    return table;
}

struct catalog_table *plan_by_oid(struct plan_work *work, uint32_t oid)
{
    struct catalog_table *table = NULL;

    if (plan_goes_on(work) && oid != 0)
        work->st = catalog_by_oid(work->catalog, oid, &table, work->err);
    return table;
}

/* ---- as it was written ---- */

/* The user's own rollback belongs to what Banyan cannot undo itself; it runs once, when the first such step is undone.
 */
static void undo_by_user(struct plan_work *work, struct plan_step *step)
{
    struct plan_action *undo = NULL;

    for (size_t i = 0; i + 1 < work->ret->step_count; i++)
        if (work->ret->steps[i].as_written && work->ret->steps[i].undo_count > 0)
            return;
    for (size_t i = 0; i < work->migration->statement_count; i++) {
        const struct statement *statement = &work->migration->statements[i];

        if (!statement->of_rollback || statement->kind == STATEMENT_TRANSACTION)
            continue;
        if (undo == NULL)
            undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
        plan_sql(work, undo, "%S", statement->text);
    }
}

struct plan_step *plan_written(struct plan_work *work, const char *why)
{
    const struct statement *statement = work->statement;
    struct effect effect;
    struct plan_step *step;
    bool safe, later;

    if (!plan_effect(work, statement, &effect))
        return NULL;
    if (effect.verdict == EFFECT_FAILS) {
        plan_refuse(work, "the server will refuse it: %.*s", (int)effect.why.size, effect.why.data);
        return NULL;
    }
    later = effect.breaks_old_code || effect.removes_data;
    safe = effect.verdict == EFFECT_UNDERSTOOD && !later && !effect.outside_transaction &&
           plan_heavy(&effect, true) == NULL && !effect.more_relations && statement->kind == STATEMENT_DDL;
    step = plan_add(work, later ? PLAN_CONTRACT : PLAN_EXPAND, "as-written",
                    effect.outside_transaction ? PLAN_OUTSIDE : PLAN_TRANSACTION,
                    effect.waits_for_transactions ? PLAN_RETRY_WATCH : PLAN_RETRY_SHORT);
    step->title = BANYAN_STR("the statement as it was written");
    step->as_written = !safe;
    plan_sql(work, &step->act, "%S", statement->text);
    if (!safe && statement->allowed)
        plan_note(work, "it runs as it was written, for \"allow\" stands before it");
    else if (!safe && why != NULL)
        plan_note(work, "it runs as it was written, and only when allowed: %s", why);
    if (!safe && effect.verdict == EFFECT_NOT_UNDERSTOOD)
        plan_note(work, "what it locks is not known: %.*s", (int)effect.why.size, effect.why.data);
    return step;
}

void plan_as_written(struct plan_work *work, const char *why)
{
    struct plan_step *step = plan_written(work, why);

    if (step == NULL)
        return;
    undo_by_user(work, step);
    step->final = step->undo_count == 0;
    if (step->final)
        plan_note(work, "nothing undoes this statement: a rollback leaves it as it is");
}

/* ---- what nobody else knows yet ---- */

static const PgQuery__RangeVar *target_of(const PgQuery__Node *node)
{
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
        return node->alter_table_stmt->relation;
    case PG_QUERY__NODE__NODE_RENAME_STMT:
        return node->rename_stmt->relation;
    case PG_QUERY__NODE__NODE_INDEX_STMT:
        return node->index_stmt->relation;
    case PG_QUERY__NODE__NODE_INSERT_STMT:
        return node->insert_stmt->relation;
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
        return node->update_stmt->relation;
    case PG_QUERY__NODE__NODE_DELETE_STMT:
        return node->delete_stmt->relation;
    case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
        return node->create_trig_stmt->relation;
    case PG_QUERY__NODE__NODE_CREATE_POLICY_STMT:
        return node->create_policy_stmt->table;
    default:
        return NULL;
    }
}

/* CONCURRENTLY helps nobody there, and does not run in a transaction. */
static struct banyan_str plain_text(struct plan_work *work)
{
    PgQuery__Node node = *work->statement->tree;
    PgQuery__IndexStmt index;

    if (node.node_case != PG_QUERY__NODE__NODE_INDEX_STMT || !node.index_stmt->concurrent)
        return work->statement->text;
    index = *node.index_stmt;
    index.concurrent = false;
    node.index_stmt = &index;
    return node_deparse(&node, work->arena);
}

static void undo_rename(struct plan_work *work, struct plan_step *step, const struct catalog_table *table)
{
    const PgQuery__RenameStmt *rename = work->statement->tree->rename_stmt;
    PgQuery__Node node = PG_QUERY__NODE__INIT;
    PgQuery__RenameStmt back = *rename;
    PgQuery__RangeVar relation = *rename->relation;

    (void)table;
    node.node_case = PG_QUERY__NODE__NODE_RENAME_STMT;
    node.rename_stmt = &back;
    back.relation = &relation;
    back.newname = rename->subname;
    back.subname = rename->newname;
    if (rename->subname[0] == '\0') { /* of the relation itself */
        back.newname = rename->relation->relname;
        back.subname = (char *)"";
        relation.relname = rename->newname;
    }
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "%S", node_deparse(&node, work->arena));
}

/* On a table of this migration: as it is, and gone with it. */
static bool made_here(struct plan_work *work)
{
    const PgQuery__Node *tree = work->statement->tree;
    const struct catalog_table *table = plan_find(work, target_of(tree), true);
    struct plan_step *step;
    struct effect effect;

    if (table == NULL || !table->made_here || !plan_effect(work, work->statement, &effect) ||
        effect.verdict != EFFECT_UNDERSTOOD || plan_heavy(&effect, true) != NULL)
        return false;
    step = plan_add(work, PLAN_EXPAND, "new-table", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "on %.*s, which is new: nobody waits", (int)table->shown.size,
                                      table->shown.data);
    plan_sql(work, &step->act, "%S", plain_text(work));
    if (tree->node_case == PG_QUERY__NODE__NODE_RENAME_STMT)
        undo_rename(work, step, table);
    return true;
}

/* ---- ALTER TABLE ---- */

/* The statement with one of its commands. */
static bool single(struct plan_work *work, const struct statement *whole, size_t at, struct statement *ret)
{
    PgQuery__AlterTableStmt *alter = banyan_arena_alloc(work->arena, sizeof(*alter));
    PgQuery__Node *node = banyan_arena_alloc(work->arena, sizeof(*node));

    *ret = *whole;
    if (whole->tree->alter_table_stmt->n_cmds == 1)
        return true;
    *alter = *whole->tree->alter_table_stmt;
    *node = *whole->tree;
    alter->n_cmds = 1;
    alter->cmds = &whole->tree->alter_table_stmt->cmds[at];
    node->alter_table_stmt = alter;
    ret->tree = node;
    ret->owned = NULL;
    ret->text = node_deparse(node, work->arena);
    if (ret->text.data == NULL)
        plan_refuse(work, "this ALTER TABLE cannot be taken apart; write each of its commands as a statement");
    return ret->text.data != NULL;
}

static void plan_command(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    if (work->statement->allowed)
        plan_as_written(work, "\"allow\" stands before it");
    else if (!made_here(work) && !plan_type(work, table, command) && !plan_constraint(work, table, command) &&
             !plan_partition(work, table, command) && !plan_column(work, table, command))
        plan_as_written(work, "no safer way is known for this form of ALTER TABLE");
}

static void plan_alter(struct plan_work *work)
{
    const struct statement *whole = work->statement;
    const PgQuery__AlterTableStmt *alter = whole->tree->alter_table_stmt;
    struct catalog_table *table = plan_find(work, alter->relation, alter->missing_ok);

    if (table == NULL) {
        if (plan_goes_on(work) && alter->missing_ok)
            plan_note(work, "\"%s\" does not exist: nothing is to be done", alter->relation->relname);
        return;
    }
    if (!table->known) {
        plan_refuse(work, "nothing is known of \"%.*s\": a plan needs a connection to the database",
                    (int)table->shown.size, table->shown.data);
        return;
    }
    plan_changes(work, table);
    for (size_t i = 0; i < alter->n_cmds && plan_goes_on(work); i++) {
        struct statement *one = banyan_arena_alloc(work->arena, sizeof(*one));

        if (!single(work, whole, i, one))
            return;
        work->statement = one;
        plan_command(work, table, one->tree->alter_table_stmt->cmds[0]->alter_table_cmd);
        if (plan_goes_on(work))
            work->st = effect_follow(one, work->catalog, work->err);
    }
    work->statement = whole;
}

/* ---- one statement ---- */

static bool is_relation_rename(const PgQuery__Node *node)
{
    return node->node_case == PG_QUERY__NODE__NODE_RENAME_STMT && node->rename_stmt->relation != NULL;
}

static bool drops(const PgQuery__Node *node, PgQuery__ObjectType type)
{
    return node->node_case == PG_QUERY__NODE__NODE_DROP_STMT && node->drop_stmt->remove_type == type;
}

static bool by_family(struct plan_work *work, const PgQuery__Node *tree)
{
    if (is_relation_rename(tree) && plan_rename(work, tree->rename_stmt))
        return true;
    if ((tree->node_case == PG_QUERY__NODE__NODE_INDEX_STMT || tree->node_case == PG_QUERY__NODE__NODE_REINDEX_STMT ||
         drops(tree, PG_QUERY__OBJECT_TYPE__OBJECT_INDEX)) &&
        plan_index(work))
        return true;
    if (drops(tree, PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) && plan_drop_table(work))
        return true;
    if (tree->node_case == PG_QUERY__NODE__NODE_CREATE_STMT && tree->create_stmt->partbound != NULL &&
        plan_create_partition(work))
        return true;
    if (work->statement->kind == STATEMENT_DML && plan_rows(work))
        return true;
    return plan_other(work);
}

static bool is_setting_of(const PgQuery__Node *tree, const char *name)
{
    return tree->node_case == PG_QUERY__NODE__NODE_VARIABLE_SET_STMT &&
           strcmp(tree->variable_set_stmt->name, name) == 0;
}

/* BEGIN, COMMIT, SET: the runner's business. */
static bool of_session(struct plan_work *work)
{
    struct banyan_str text = work->statement->text;

    if (work->statement->kind == STATEMENT_TRANSACTION) {
        if (text.size >= 5 && (strncasecmp(text.data, "begin", 5) == 0 || strncasecmp(text.data, "start", 5) == 0 ||
                               strncasecmp(text.data, "commi", 5) == 0 || strncasecmp(text.data, "end", 3) == 0))
            plan_note(work, "BEGIN and COMMIT are left out: each step has a transaction of its own");
        else
            plan_refuse(work, "savepoints and ROLLBACK have no place in a migration");
        return true;
    }
    if (work->statement->kind != STATEMENT_SETTING)
        return false;
    if (is_setting_of(work->statement->tree, "lock_timeout") ||
        is_setting_of(work->statement->tree, "statement_timeout"))
        plan_note(work, "the setting is left out: time limits are set step by step");
    else
        plan_refuse(work, "SET applies to nothing here: each step has a session state of its own; set it for the role "
                          "or the database, or name schemas in the statements");
    return true;
}

static void plan_statement(struct plan_work *work)
{
    const PgQuery__Node *tree = work->statement->tree;
    const struct catalog_table *target;

    if (tree == NULL) {
        plan_as_written(work, "the grammar of PostgreSQL 15 does not know it");
        return;
    }
    if (of_session(work))
        return;
    if (tree->node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_STMT &&
        tree->alter_table_stmt->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE) {
        plan_alter(work);
        return;
    }
    target = plan_find(work, target_of(tree), true);
    if (target != NULL)
        plan_changes(work, target);
    if (work->statement->allowed)
        plan_as_written(work, "\"allow\" stands before it");
    else if (!made_here(work) && !by_family(work, tree))
        plan_as_written(work, "no safer way is known");
    if (plan_goes_on(work))
        work->st = effect_follow(work->statement, work->catalog, work->err);
}

/* ---- all of them ---- */

static void sort_steps(struct plan_work *work)
{
    struct plan *plan = work->ret;
    struct plan_step *sorted = banyan_arena_zalloc(work->arena, (plan->step_count + 1) * sizeof(*sorted));
    size_t count = 0;

    for (enum plan_phase phase = PLAN_EXPAND; phase <= PLAN_CLEANUP; phase++)
        for (size_t i = 0; i < plan->step_count; i++)
            if (plan->steps[i].phase == phase)
                sorted[count++] = plan->steps[i];
    plan->steps = sorted;
    plan->needs_allow = false;
    for (size_t i = 0; i < count; i++)
        plan->needs_allow |= sorted[i].as_written && !(sorted[i].of < work->migration->statement_count &&
                                                       work->migration->statements[sorted[i].of].allowed);
}

static enum banyan_status check_directives(const struct plan_work *work)
{
    const struct migration *migration = work->migration;

    for (size_t i = 0; i < migration->directive_count; i++) {
        const struct directive *directive = &migration->directives[i];

        if (work->directive_used[i])
            continue;
        (void)banyan_error_set(work->err, BANYAN_INVALID, "%s:%u:%u: this directive fits nothing in the migration",
                               migration->path, directive->place.line, directive->place.column); /* it is returned */
        banyan_error_hint(work->err, "no statement needs one for %.*s.%.*s: correct the name, or take it out",
                          (int)directive->table.size, directive->table.data, (int)directive->column.size,
                          directive->column.data);
        return BANYAN_INVALID;
    }
    return BANYAN_OK;
}

static void plan_all(struct plan_work *work)
{
    const struct migration *migration = work->migration;

    for (size_t i = 0; i < migration->statement_count && plan_goes_on(work); i++) {
        work->statement = &migration->statements[i];
        work->of = i;
        if (!work->statement->of_rollback)
            plan_statement(work);
    }
    if (plan_goes_on(work))
        plan_rows_finish(work);
    if (plan_goes_on(work))
        plan_swap_finish(work);
    if (plan_goes_on(work) && work->ret->refusal_count == 0)
        work->st = check_directives(work);
}

enum banyan_status plan_make(const struct migration *migration, struct catalog *catalog, struct banyan_arena *arena,
                             struct plan *ret, struct banyan_error *err)
{
    struct plan_work work = {
        .migration = migration, .catalog = catalog, .arena = arena, .ret = ret, .err = err, .st = BANYAN_OK};
    struct catalog *start;

    catalog_settle(catalog);
    start = catalog_copy(catalog);
    *ret = (struct plan){.step_count = 0};
    work.directive_used = banyan_arena_zalloc(arena, migration->directive_count + 1);
    plan_all(&work);
    if (plan_goes_on(&work)) {
        sort_steps(&work);
        plan_measure(&work, start);
    }
    catalog_free(start);
    return work.st;
}
