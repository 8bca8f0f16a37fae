/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RENAME: both names live from expand on.
 *
 *   column   a second column under the new name, both held equal (sync.h); in contract the original column takes the
 *            new name, with all that hangs on it, and the second one is kept until cleanup
 *   table    a view under the new name, through which new code reads and writes; in contract the table takes its place
 *   others   as they are: short
 */
#include <string.h>

#include "migrate/plan_swap.h"

/* ---- columns ---- */

static bool column_is_possible(struct plan_work *work, const struct catalog_table *table,
                               const struct catalog_column *column, struct banyan_str to)
{
    if (catalog_column(table, to) != NULL) {
        plan_refuse(work, "%.*s has a column %.*s already", (int)table->shown.size, table->shown.data, (int)to.size,
                    to.data);
        return false;
    }
    if (column->inherited || (table->child_count > 0 && table->kind != 'p')) {
        plan_refuse(work, "%.*s: inherited columns are renamed by hand, together with their children",
                    (int)table->shown.size, table->shown.data);
        return false;
    }
    if (catalog_columns_has(&table->partition_keys, column->number)) {
        plan_refuse(work,
                    "%.*s.%.*s is part of the partition key: a row is given its partition before a trigger could fill "
                    "it from the new name; give old and new code a view instead",
                    (int)table->shown.size, table->shown.data, (int)column->name.size, column->name.data);
        return false;
    }
    if (column->is_generated) {
        plan_refuse(work, "%.*s.%.*s is generated: add a second generated column, and drop this one later",
                    (int)table->shown.size, table->shown.data, (int)column->name.size, column->name.data);
        return false;
    }
    return true;
}

/* A domain with a CHECK would have every row written: the helper has the type below, and what is written to it goes
 * through the column that has the domain. */
static struct banyan_str helper_type(struct plan_work *work, const struct catalog_table *table,
                                     const struct catalog_column *column)
{
    static const char sql[] =
        "WITH RECURSIVE below AS (SELECT atttypid AS oid, atttypmod AS modifier FROM pg_attribute WHERE attrelid = "
        "$1::oid AND attnum = $2::int2 UNION ALL SELECT t.typbasetype, t.typtypmod FROM below JOIN pg_type t ON t.oid "
        "= "
        "below.oid WHERE t.typtype = 'd') SELECT format_type(below.oid, modifier) FROM below JOIN pg_type t ON t.oid = "
        "below.oid WHERE t.typtype <> 'd'";
    struct banyan_str params[] = {banyan_arena_printf(work->arena, "%u", (unsigned)table->oid),
                                  banyan_arena_printf(work->arena, "%d", column->number)};
    size_t count = 0;
    struct banyan_str *cells = NULL;

    if (column->type.is_domain && column->type.constrained)
        cells = plan_ask(work, sql, params, 2, &count);
    return count == 1 ? cells[0] : column->shown;
}

static void add_column(struct plan_work *work, const struct catalog_table *table, const struct catalog_column *column,
                       struct banyan_str to)
{
    struct plan_step *step = plan_add(work, PLAN_EXPAND, "add-renamed-column", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct definition_column hang = {.identity = 0};

    step->title =
        banyan_arena_printf(work->arena, "%.*s gets %.*s under its new name, %.*s", (int)table->shown.size,
                            table->shown.data, (int)column->name.size, column->name.data, (int)to.size, to.data);
    step->new_code = banyan_arena_printf(work->arena, "%.*s is there, and whole once the backfill is through",
                                         (int)to.size, to.data);
    plan_sql(work, &step->act, "ALTER TABLE %T ADD COLUMN %I %S%s%S", table, to, helper_type(work, table, column),
             column->collation.size > 0 ? " COLLATE " : "",
             column->collation.size > 0 ? sql_make(work->arena, "%I", column->collation) : BANYAN_STR(""));
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "ALTER TABLE %T DROP COLUMN %I", table,
             to);
    if (work->st == BANYAN_OK)
        work->st = definition_column(work->catalog, table->oid, column->number, &hang, work->err);
    for (size_t i = 0; i < hang.grant_count; i++)
        plan_sql(work, &step->act, "GRANT %S (%I) ON %T TO %S%s", hang.grants[i].privilege, to, table,
                 hang.grants[i].grantee, hang.grants[i].grantable ? " WITH GRANT OPTION" : "");
}

static void rename_column(struct plan_work *work, const PgQuery__RenameStmt *statement, struct catalog_table *table)
{
    struct banyan_str from = banyan_str_of(statement->subname), to = banyan_str_of(statement->newname);
    const struct catalog_column *column = catalog_column(table, from);
    struct sync_column sync = {
        .kind = SYNC_BOTH, .from = from, .to = to, .forth = BANYAN_STR("$"), .back = BANYAN_STR("$")};

    if (table->known && column == NULL) {
        plan_refuse(work, "column \"%.*s\" of %.*s does not exist", (int)from.size, from.data, (int)table->shown.size,
                    table->shown.data);
        return;
    }
    if (!table->known) {
        plan_refuse(work, "%.*s.%s: what hangs on the column has to be known; that takes a database",
                    (int)table->shown.size, table->shown.data, statement->subname);
        return;
    }
    if (!column_is_possible(work, table, column, to))
        return;
    add_column(work, table, column, to);
    if (column->has_default)
        plan_note(work,
                  "%.*s.%.*s has a default: an INSERT of new code that gives %.*s as NULL explicitly gets the default "
                  "until complete",
                  (int)table->shown.size, table->shown.data, (int)from.size, from.data, (int)to.size, to.data);
    for (size_t i = 0; i < table->dependent_count; i++)
        if (table->dependents[i].kind == 't' && catalog_columns_has(&table->dependents[i].columns, column->number))
            plan_note(work,
                      "the trigger %.*s fires on UPDATE OF %.*s: not for statements that write %.*s, until complete",
                      (int)table->dependents[i].name.size, table->dependents[i].name.data, (int)from.size, from.data,
                      (int)to.size, to.data);
    plan_sync(work, table, &sync, plan_kept_name(work, table, to));
}

/* ---- tables ---- */

static const char grants_sql[] =
    "SELECT CASE WHEN g.privilege_type IS NOT NULL THEN format('GRANT %s%s ON %%s TO %s%s', g.privilege_type, CASE "
    "WHEN g.attname IS NULL THEN '' "
    "ELSE format(' (%I)', g.attname) END, CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE "
    "quote_ident(pg_get_userbyid(g.grantee)) END, CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END) END, "
    "quote_ident(pg_get_userbyid(g.relowner)), g.relrowsecurity FROM "
    "(SELECT c.relowner, c.relrowsecurity, NULL::name AS attname, a.* FROM pg_class c, aclexplode(c.relacl) a "
    "WHERE c.oid = $1::oid AND a.grantee <> c.relowner UNION ALL "
    "SELECT c.relowner, c.relrowsecurity, t.attname, a.* FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid, "
    "aclexplode(t.attacl) a WHERE c.oid = $1::oid UNION ALL "
    "SELECT c.relowner, c.relrowsecurity, NULL, 0, 0, NULL, false FROM pg_class c WHERE c.oid = $1::oid) g "
    "ORDER BY g.attname NULLS FIRST, g.privilege_type NULLS FIRST, g.grantee";

/* The text with the view's name in the place of %s. */
static struct banyan_str over(struct plan_work *work, struct banyan_str text, const struct catalog_table *view)
{
    for (size_t i = 0; i + 1 < text.size; i++)
        if (text.data[i] == '%' && text.data[i + 1] == 's')
            return sql_make(work->arena, "%S%T%S", (struct banyan_str){text.data, i}, view,
                            (struct banyan_str){text.data + i + 2, text.size - i - 2});
    return text;
}

/* The view with owner and grants of the table. */
static bool make_view(struct plan_work *work, struct plan_action *const *actions, size_t count,
                      const struct catalog_table *table, const struct catalog_table *view)
{
    bool invoker = catalog_server_version(work->catalog) >= 150000;
    struct pg_param params[] = {{banyan_arena_printf(work->arena, "%u", (unsigned)table->oid)}};
    struct pg_result *result = NULL;

    work->st = catalog_query(work->catalog, grants_sql, params, 1, &result, work->err);
    if (work->st != BANYAN_OK)
        return false;
    if (pg_rows(result) > 0 && pg_bool(result, 0, 2) && !invoker)
        plan_refuse(work, "%.*s has row-level security, which a view hides before PostgreSQL 15: rename it in one go",
                    (int)table->shown.size, table->shown.data);
    for (size_t i = 0; i < count; i++) {
        plan_sql(work, actions[i], "CREATE VIEW %T%s AS SELECT * FROM %T", view,
                 invoker ? " WITH (security_invoker = true)" : "", table);
        for (size_t k = 0; k < pg_rows(result); k++)
            if (pg_text(result, k, 0).data != NULL)
                plan_sql(work, actions[i], "%S", over(work, pg_text(result, k, 0), view));
        if (pg_rows(result) > 0)
            plan_sql(work, actions[i], "ALTER VIEW %T OWNER TO %S", view, pg_text(result, 0, 1));
    }
    pg_result_free(result);
    return true;
}

static void rename_table(struct plan_work *work, const PgQuery__RenameStmt *statement, struct catalog_table *table)
{
    struct catalog_table view = {.schema = table->schema, .name = banyan_str_of(statement->newname)};
    const struct catalog_table *renamed[] = {&view};
    struct plan_action *undo, made = {.statement_count = 0}, again = {.statement_count = 0};
    struct plan_action *both[] = {&made, &again};
    struct plan_step *step;

    if (!table->known) {
        plan_refuse(work, "%.*s: its owner and grants have to be known; that takes a database", (int)table->shown.size,
                    table->shown.data);
        return;
    }
    if (!make_view(work, both, 2, table, &view))
        return;
    step = plan_add(work, PLAN_EXPAND, "add-renamed-view", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "a view %s over %.*s for new code", statement->newname,
                                      (int)table->shown.size, table->shown.data);
    step->new_code = BANYAN_STR("reads and writes through the view; COPY and TRUNCATE need the table");
    for (size_t i = 0; i < made.statement_count; i++)
        plan_sql(work, &step->act, "%S", made.statements[i]);
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "DROP VIEW IF EXISTS %T", &view);

    step = plan_add(work, PLAN_CONTRACT, "rename-table", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "%.*s becomes %s", (int)table->shown.size, table->shown.data,
                                      statement->newname);
    step->old_code = BANYAN_STR("the old name is gone");
    /* The view goes first: new code locks it before the table.  (LOCK TABLE of it would ask for rights on the table.)
     */
    plan_sql(work, &step->act, "DROP VIEW %T", &view);
    plan_sql(work, &step->act, "ALTER TABLE %T RENAME TO %I", table, view.name);
    undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_lock_tables(work, undo, renamed, 1, "ACCESS EXCLUSIVE");
    plan_sql(work, undo, "ALTER TABLE %T RENAME TO %I", &view, table->name);
    for (size_t i = 0; i < again.statement_count; i++)
        plan_sql(work, undo, "%S", again.statements[i]);
}

/* ---- the short ones ---- */

static void rename_at_once(struct plan_work *work, const PgQuery__RenameStmt *statement,
                           const struct catalog_table *table, bool is_index)
{
    struct plan_step *step =
        plan_add(work, is_index ? PLAN_EXPAND : PLAN_CONTRACT, is_index ? "rename-index" : "rename-constraint",
                 PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct banyan_str to = banyan_str_of(statement->newname), from = banyan_str_of(statement->subname);
    struct catalog_table renamed = *table;
    struct plan_action *undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    step->title =
        banyan_arena_printf(work->arena, "%s is called %s", is_index ? "an index" : "a constraint", statement->newname);
    if (is_index) {
        renamed.name = to;
        plan_sql(work, &step->act, "ALTER INDEX %T RENAME TO %I", table, to);
        plan_sql(work, undo, "ALTER INDEX %T RENAME TO %I", &renamed, table->name);
        return;
    }
    step->old_code = BANYAN_STR("ON CONFLICT ON CONSTRAINT with the old name fails");
    plan_sql(work, &step->act, "ALTER TABLE %T RENAME CONSTRAINT %I TO %I", table, from, to);
    plan_sql(work, undo, "ALTER TABLE %T RENAME CONSTRAINT %I TO %I", table, to, from);
}

bool plan_rename(struct plan_work *work, const PgQuery__RenameStmt *statement)
{
    struct catalog_table *table = NULL;

    if (statement->relation == NULL)
        return false;
    if (work->st == BANYAN_OK)
        work->st = catalog_table(work->catalog, banyan_str_of(statement->relation->schemaname),
                                 banyan_str_of(statement->relation->relname), &table, work->err);
    if (!plan_goes_on(work) || table == NULL)
        return false;
    bool is_table = table->kind == 'r' || table->kind == 'p' || !table->known;

    switch (statement->rename_type) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN:
        if (is_table)
            rename_column(work, statement, table);
        return is_table;
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABLE:
        if (is_table)
            rename_table(work, statement, table);
        return is_table;
    case PG_QUERY__OBJECT_TYPE__OBJECT_INDEX:
        rename_at_once(work, statement, table, true);
        return true;
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT:
        rename_at_once(work, statement, table, false);
        return true;
    default:
        return false;
    }
}
