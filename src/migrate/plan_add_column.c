/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ADD COLUMN.  What costs nothing is one step.  Else the definition is taken apart:
 *
 *   ADD COLUMN t.c type DEFAULT volatile NOT NULL CHECK (…) UNIQUE REFERENCES …
 *     expand    the bare column, its default in the same transaction: new rows are born with it; where the default may
 *               be NULL, a column that marks the rows that were there, so that each is filled once
 *               a trigger, where a backfill directive says what rows of old code get
 *     backfill  the rows that are there, batch by batch; NOT NULL by a CHECK; CHECK, UNIQUE, REFERENCES as for a column
 *               that is there, but nobody writes it yet: all of it before "ready"
 *     contract  the trigger goes; an identity takes its sequence over
 */
#include <stdio.h>
#include <string.h>

#include "migrate/plan_int.h"

#define CONSTR(name) PG_QUERY__CONSTR_TYPE__CONSTR_##name

struct adding {
    struct plan_work *work;
    struct catalog_table *table;
    const PgQuery__ColumnDef *definition;
    struct banyan_str column;
    const char *serial_of; /* type below serial; NULL: none */
    const PgQuery__Constraint *default_part, *identity, *generated;
    bool not_null;
    struct banyan_str not_null_name; /* that was given to it; empty: the server's */
    bool light;                      /* its default costs nothing, and no directive says another value */
    struct banyan_str default_value; /* as SQL; size 0: none */
    const struct directive *directive;
    struct banyan_str mark; /* a column that is true in the rows that are not filled yet; size 0: those with NULL are */
};

/* ---- the definition ---- */

static const char *below_serial(const PgQuery__TypeName *type)
{
    static const char *const names[][2] = {
        {"serial", "integer"}, {"serial4", "integer"},      {"bigserial", "bigint"},
        {"serial8", "bigint"}, {"smallserial", "smallint"}, {"serial2", "smallint"},
    };
    const char *name = type->n_names == 1 ? type->names[0]->string->sval : "";

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i][0]) == 0)
            return names[i][1];
    return NULL;
}

static void read_definition(struct adding *all)
{
    all->column = banyan_str_of(all->definition->colname);
    all->serial_of = below_serial(all->definition->type_name);
    all->default_value = all->not_null_name = BANYAN_STR("");
    all->not_null = all->serial_of != NULL;
    for (size_t i = 0; i < all->definition->n_constraints; i++) {
        const PgQuery__Constraint *part = all->definition->constraints[i]->constraint;

        switch (part->contype) {
        case CONSTR(DEFAULT):
            all->default_part = part;
            if (part->raw_expr->node_case != PG_QUERY__NODE__NODE_A_CONST || !part->raw_expr->a_const->isnull)
                all->default_value = node_deparse_expression(part->raw_expr, all->work->arena);
            break;
        case CONSTR(IDENTITY):
            all->identity = part;
            all->not_null = true;
            break;
        case CONSTR(GENERATED):
            all->generated = part;
            break;
        case CONSTR(NOTNULL):
            all->not_null = true;
            if (catalog_server_version(all->work->catalog) >= 180000) /* before, nobody kept the name */
                all->not_null_name = banyan_str_of(part->conname);
            break;
        case CONSTR(PRIMARY):
            all->not_null = true;
            break;
        default:
            break;
        }
    }
}

static bool is_one_of(const char *name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

/* Of what is usual in a volatile default, no more: the rest may be NULL. */
static bool is_never_null(const PgQuery__Node *value)
{
    static const char *const functions[] = {
        "clock_timestamp",
        "concat",
        "floor",
        "gen_random_uuid",
        "left",
        "lower",
        "md5",
        "nextval",
        "now",
        "random",
        "replace",
        "round",
        "timeofday",
        "trunc",
        "upper",
        "uuid_generate_v1",
        "uuid_generate_v4",
        "uuidv4",
        "uuidv7",
        NULL,
    };
    static const char *const operators[] = {"+", "-", "*", "/", "||", NULL};
    const PgQuery__FuncCall *call;
    const PgQuery__AExpr *term;

    switch (value == NULL ? PG_QUERY__NODE__NODE__NOT_SET : value->node_case) {
    case PG_QUERY__NODE__NODE_A_CONST:
        return !value->a_const->isnull;
    case PG_QUERY__NODE__NODE_SQLVALUE_FUNCTION:
        return true;
    case PG_QUERY__NODE__NODE_TYPE_CAST:
        return is_never_null(value->type_cast->arg);
    case PG_QUERY__NODE__NODE_A_EXPR:
        term = value->a_expr;
        return term->kind == PG_QUERY__A__EXPR__KIND__AEXPR_OP && term->n_name == 1 &&
               is_one_of(term->name[0]->string->sval, operators) &&
               (term->lexpr == NULL || is_never_null(term->lexpr)) && is_never_null(term->rexpr);
    case PG_QUERY__NODE__NODE_FUNC_CALL:
        call = value->func_call;
        for (size_t i = 0; i < call->n_args; i++)
            if (!is_never_null(call->args[i]))
                return false;
        return call->n_funcname > 0 && is_one_of(call->funcname[call->n_funcname - 1]->string->sval, functions);
    default:
        return false;
    }
}

/* The command with the parts that are wanted; the table by its full name. */
static PgQuery__Node *command_with(const struct adding *all, bool with_default, bool with_not_null, bool with_rest)
{
    struct banyan_arena *arena = all->work->arena;
    PgQuery__ColumnDef *definition = banyan_arena_alloc(arena, sizeof(*definition));
    PgQuery__AlterTableCmd *command = banyan_arena_alloc(arena, sizeof(*command));
    PgQuery__AlterTableStmt *alter = banyan_arena_alloc(arena, sizeof(*alter));
    PgQuery__RangeVar *relation = banyan_arena_alloc(arena, sizeof(*relation));
    PgQuery__Node *nodes = banyan_arena_alloc(arena, 3 * sizeof(*nodes));
    PgQuery__Node **commands = banyan_arena_alloc(arena, sizeof(*commands));

    nodes[0] = *all->work->statement->tree;
    *alter = *nodes[0].alter_table_stmt;
    nodes[0].alter_table_stmt = alter;
    *relation = *alter->relation;
    relation->schemaname = (char *)banyan_arena_str(arena, all->table->schema).data;
    alter->relation = relation;
    nodes[1] = *alter->cmds[0];
    *command = *nodes[1].alter_table_cmd;
    command->missing_ok = false;
    nodes[1].alter_table_cmd = command;
    commands[0] = &nodes[1];
    alter->cmds = commands;
    nodes[2] = *command->def;
    *definition = *all->definition;
    nodes[2].column_def = definition;
    command->def = &nodes[2];
    definition->constraints = banyan_arena_alloc(arena, (definition->n_constraints + 1) * sizeof(PgQuery__Node *));
    definition->n_constraints = 0;
    for (size_t i = 0; i < all->definition->n_constraints; i++) {
        const PgQuery__Constraint *part = all->definition->constraints[i]->constraint;
        bool wanted = part->contype == CONSTR(DEFAULT)                                    ? with_default
                      : part->contype == CONSTR(NOTNULL) || part->contype == CONSTR(NULL) ? with_not_null
                                                                                          : with_rest;

        if (wanted)
            definition->constraints[definition->n_constraints++] = all->definition->constraints[i];
    }
    return &nodes[0];
}

static struct banyan_str sql_with(const struct adding *all, bool with_default, bool with_not_null, bool with_rest)
{
    struct banyan_str sql = node_deparse(command_with(all, with_default, with_not_null, with_rest), all->work->arena);

    if (sql.data == NULL)
        plan_refuse(all->work, "this ADD COLUMN cannot be written again by the parser");
    return sql.data == NULL ? BANYAN_STR("") : sql;
}

/* ---- steps ---- */

static struct banyan_str shown(const struct adding *all)
{
    return banyan_arena_printf(all->work->arena, "%.*s.%.*s", (int)all->table->shown.size, all->table->shown.data,
                               (int)all->column.size, all->column.data);
}

static struct plan_step *add_step(const struct adding *all, enum plan_phase phase, const char *name, const char *format,
                                  ...) BANYAN_PRINTF_LIKE(4, 5);
static struct plan_step *add_step(const struct adding *all, enum plan_phase phase, const char *name, const char *format,
                                  ...)
{
    struct plan_step *step = plan_add(all->work, phase, name, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    char text[512];
    va_list list;

    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list); /* over-long titles are cut */
    va_end(list);
    step->title = banyan_arena_str(all->work->arena, banyan_str_of(text));
    return step;
}

static void undo_column(const struct adding *all, struct plan_step *step)
{
    plan_sql(all->work, plan_undo(all->work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "ALTER TABLE %T DROP COLUMN %I",
             all->table, all->column);
}

static void lock_referenced(const struct adding *all, struct plan_action *action)
{
    const struct catalog_table *tables[8] = {all->table};
    size_t count = 1;

    for (size_t i = 0; i < all->definition->n_constraints && count < 8; i++) {
        const PgQuery__Constraint *part = all->definition->constraints[i]->constraint;

        if (part->contype == CONSTR(FOREIGN))
            tables[count] = plan_find(all->work, part->pktable, false);
        if (part->contype == CONSTR(FOREIGN) && tables[count] != NULL)
            count++;
    }
    if (count > 1)
        plan_lock_tables(all->work, action, tables, count, "ACCESS EXCLUSIVE");
}

/* One step: nothing is read or written but the catalog, or the table is small. */
static void plan_plain(const struct adding *all)
{
    struct plan_step *step =
        add_step(all, PLAN_EXPAND, "add-column", "the column %.*s", (int)shown(all).size, shown(all).data);

    plan_sql(all->work, &step->act, "%S", sql_with(all, true, true, true));
    lock_referenced(all, &step->act);
    undo_column(all, step);
    lock_referenced(all, &step->undo[0]); /* the foreign key goes with the column */
    step->old_code = all->default_value.size > 0 || all->identity != NULL || all->serial_of != NULL
                         ? BANYAN_STR("goes on; its rows get the default")
                     : all->generated != NULL ? BANYAN_STR("goes on; the server computes the column")
                                              : BANYAN_STR("goes on; its rows have NULL there");
    step->new_code = BANYAN_STR("reads and writes the column");
}

/* What INSERT may do on the table, USAGE may do on the sequence of its default: old code must not fail for lack of it.
 */
static void grant_sequence(const struct adding *all, struct plan_action *action, struct banyan_str sequence)
{
    struct banyan_str table = sql_make(all->work->arena, "%T", all->table);
    struct banyan_str name = sql_make(all->work->arena, "%I.%I", all->table->schema, sequence);

    plan_sql(all->work, action,
             "DO $banyan$ DECLARE grantee text; BEGIN FOR grantee IN SELECT DISTINCT CASE WHEN a.grantee = 0 THEN "
             "'PUBLIC' ELSE a.grantee::regrole::text END FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = "
             "%L::regclass AND a.privilege_type = 'INSERT' LOOP EXECUTE 'GRANT USAGE ON SEQUENCE ' || %L || ' TO ' || "
             "grantee; END LOOP; END $banyan$",
             table, name);
}

/* The column and its default in one transaction.  Gives the sequence that was made; empty: none. */
static struct banyan_str plan_bare(const struct adding *all)
{
    struct plan_work *work = all->work;
    bool owned = all->serial_of != NULL;
    struct banyan_str sequence = BANYAN_STR(""), quoted;
    struct plan_step *step = add_step(all, PLAN_EXPAND, "add-column", "the column %.*s%s", (int)shown(all).size,
                                      shown(all).data, all->light ? "" : ", empty in the rows that are there");

    if (owned)
        sequence = plan_server_name(work, all->table, all->column, "seq");
    else if (all->identity != NULL)
        sequence = plan_new_name(work, all->table,
                                 banyan_arena_printf(work->arena, "%.*s_seq", (int)all->column.size, all->column.data));
    if (owned) {
        struct banyan_str type = banyan_str_of(all->serial_of);

        plan_sql(work, &step->act, "CREATE SEQUENCE %I.%I AS %S", all->table->schema, sequence, type);
        plan_sql(work, &step->act, "ALTER TABLE %T ADD COLUMN %I %S", all->table, all->column, type);
        plan_sql(work, &step->act, "ALTER SEQUENCE %I.%I OWNED BY %T.%I", all->table->schema, sequence, all->table,
                 all->column);
    } else {
        if (sequence.size > 0)
            plan_sql(work, &step->act, "CREATE SEQUENCE %I.%I AS %S", all->table->schema, sequence,
                     node_deparse_type(all->definition->type_name, work->arena));
        plan_sql(work, &step->act, "%S", sql_with(all, all->light, all->light, false));
    }
    if (sequence.size > 0) {
        quoted = sql_make(work->arena, "%I.%I", all->table->schema, sequence);
        plan_sql(work, &step->act, "ALTER TABLE %T ALTER COLUMN %I SET DEFAULT nextval(%L::regclass)", all->table,
                 all->column, quoted);
        grant_sequence(all, &step->act, sequence);
    } else if (all->default_value.size > 0 && !all->light) {
        plan_sql(work, &step->act, "ALTER TABLE %T ALTER COLUMN %I SET DEFAULT %S", all->table, all->column,
                 all->default_value);
    }
    undo_column(all, step);
    if (all->mark.size > 0) {
        plan_sql(work, &step->act, "ALTER TABLE %T ADD COLUMN %I boolean DEFAULT true", all->table, all->mark);
        plan_sql(work, &step->act, "ALTER TABLE %T ALTER COLUMN %I DROP DEFAULT", all->table, all->mark);
        plan_sql(work, &step->undo[0], "ALTER TABLE %T DROP COLUMN IF EXISTS %I", all->table, all->mark);
    }
    if (sequence.size > 0 && !owned)
        plan_sql(work, &step->undo[0], "DROP SEQUENCE %I.%I", all->table->schema, sequence);
    step->old_code = sequence.size > 0 || all->default_value.size > 0
                         ? BANYAN_STR("goes on; its new rows get the default")
                     : all->directive != NULL ? BANYAN_STR("goes on; a trigger gives its new rows a value")
                                              : BANYAN_STR("goes on; its rows have NULL there");
    return sequence;
}

/* NULL is a value of this default: whether a row was filled is told by a column of its own. */
static void fill_marked(const struct adding *all)
{
    struct plan_work *work = all->work;
    struct plan_step *step;

    plan_fill(work, all->table, sql_make(work->arena, "%I = %S, %I = NULL", all->column, all->default_value, all->mark),
              sql_make(work->arena, "t.%I AND t.%I IS NULL", all->mark, all->column));
    step = add_step(all, PLAN_BACKFILL, "drop-fill-mark", "the mark of rows of %.*s that were not filled yet",
                    (int)shown(all).size, shown(all).data);
    plan_sql(work, &step->act, "ALTER TABLE %T DROP COLUMN %I", all->table, all->mark);
    plan_note(work,
              "the default of %.*s may be NULL for a row: until \"ready\" the column %.*s marks the rows that are not "
              "filled yet; read no * by position",
              (int)shown(all).size, shown(all).data, (int)all->mark.size, all->mark.data);
}

static void plan_values(const struct adding *all, struct banyan_str sequence)
{
    struct plan_work *work = all->work;
    struct banyan_str value = all->default_value;
    struct sync_column fill = {
        .kind = SYNC_FILL, .from = BANYAN_STR(""), .to = all->column, .forth = BANYAN_STR(""), .back = BANYAN_STR("")};

    if (all->directive != NULL) {
        value = plan_value(work, all->table, all->directive->value);
        if (all->default_value.size == 0 && sequence.size == 0) {
            fill.expression = all->directive->value;
            plan_sync(work, all->table, &fill, BANYAN_STR(""));
        }
        plan_fill(work, all->table, sql_make(work->arena, "%I = %S", all->column, value),
                  sql_make(work->arena, "t.%I IS NULL AND %S IS NOT NULL", all->column, value));
        return;
    }
    if (all->mark.size > 0) {
        fill_marked(all);
        return;
    }
    if (sequence.size > 0)
        value = sql_make(work->arena, "nextval(%L::regclass)",
                         sql_make(work->arena, "%I.%I", all->table->schema, sequence));
    if (value.size > 0)
        plan_fill(work, all->table, sql_make(work->arena, "%I = %S", all->column, value),
                  sql_make(work->arena, "t.%I IS NULL", all->column));
}

/* In contract the column becomes an identity; its own sequence goes on where the one of the default was. */
static void plan_identity(const struct adding *all, struct banyan_str old)
{
    struct plan_work *work = all->work;
    struct banyan_str own = plan_server_name(work, all->table, all->column, "seq");
    const char *when = all->identity->generated_when[0] == 'a' ? "ALWAYS" : "BY DEFAULT";
    struct plan_step *step =
        add_step(all, PLAN_CONTRACT, "identity", "%.*s becomes an identity", (int)shown(all).size, shown(all).data);
    struct plan_action *undo;
    struct banyan_str schema = all->table->schema;
    struct banyan_str old_name = sql_make(work->arena, "%I.%I", schema, old);
    struct banyan_str own_name = sql_make(work->arena, "%I.%I", schema, own);

    plan_sql(work, &step->act, "ALTER TABLE %T ALTER COLUMN %I DROP DEFAULT", all->table, all->column);
    plan_sql(work, &step->act, "ALTER TABLE %T ALTER COLUMN %I ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %S)",
             all->table, all->column, when, own_name);
    plan_sql(work, &step->act, "SELECT setval(%L::regclass, s.last_value, s.is_called) FROM %S s", own_name, old_name);
    undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(work, undo, "LOCK TABLE %T IN ACCESS EXCLUSIVE MODE", all->table);
    plan_sql(work, undo, "SELECT setval(%L::regclass, s.last_value, s.is_called) FROM %S s", old_name, own_name);
    plan_sql(work, undo, "ALTER TABLE %T ALTER COLUMN %I DROP IDENTITY", all->table, all->column);
    plan_sql(work, undo, "ALTER TABLE %T ALTER COLUMN %I SET DEFAULT nextval(%L::regclass)", all->table, all->column,
             old_name);
    step->old_code =
        when[0] == 'A' ? BANYAN_STR("fails where it writes a value of its own into the column") : BANYAN_STR("");
    step = add_step(all, PLAN_CLEANUP, "drop-sequence", "the sequence that the identity took over");
    plan_sql(work, &step->act, "DROP SEQUENCE %S", old_name);
    if (all->identity->n_options > 0)
        plan_refuse(work, "options of an identity are not known to the planner: add it without, then ALTER COLUMN … "
                          "SET them");
}

/* ---- CHECK, UNIQUE, PRIMARY KEY, REFERENCES ---- */

/* A constraint of the column as one of the table, with a name. */
static PgQuery__Node *constraint_of(const struct adding *all, size_t at)
{
    struct banyan_arena *arena = all->work->arena;
    PgQuery__Constraint *constraint = banyan_arena_alloc(arena, sizeof(*constraint));
    PgQuery__String *name = banyan_arena_alloc(arena, sizeof(*name));
    PgQuery__Node *nodes = banyan_arena_alloc(arena, 2 * sizeof(*nodes));
    PgQuery__Node **names = banyan_arena_alloc(arena, sizeof(*names));
    const char *label;

    nodes[0] = *all->definition->constraints[at];
    *constraint = *nodes[0].constraint;
    nodes[0].constraint = constraint;
    pg_query__node__init(&nodes[1]);
    pg_query__string__init(name);
    name->sval = (char *)banyan_arena_str(arena, all->column).data;
    nodes[1].node_case = PG_QUERY__NODE__NODE_STRING;
    nodes[1].string = name;
    names[0] = &nodes[1];
    if (constraint->contype == CONSTR(FOREIGN)) {
        constraint->fk_attrs = names;
        constraint->n_fk_attrs = 1;
    } else if (constraint->contype != CONSTR(CHECK)) {
        constraint->keys = names;
        constraint->n_keys = 1;
    }
    label = constraint->contype == CONSTR(FOREIGN) ? "fkey" : constraint->contype == CONSTR(CHECK) ? "check" : "key";
    if (constraint->conname[0] == '\0')
        constraint->conname = (char *)(constraint->contype == CONSTR(PRIMARY)
                                           ? plan_server_name(all->work, all->table, BANYAN_STR(""), "pkey")
                                           : plan_server_name(all->work, all->table, all->column, label))
                                  .data;
    /* DEFERRABLE and its kin stand behind it. */
    for (size_t i = at + 1; i < all->definition->n_constraints; i++) {
        const PgQuery__Constraint *next = all->definition->constraints[i]->constraint;

        if (next->contype == CONSTR(ATTR_DEFERRABLE))
            constraint->deferrable = true;
        else if (next->contype == CONSTR(ATTR_DEFERRED))
            constraint->deferrable = constraint->initdeferred = true;
        else if (next->contype != CONSTR(ATTR_NOT_DEFERRABLE) && next->contype != CONSTR(ATTR_IMMEDIATE))
            break;
    }
    return &nodes[0];
}

static void plan_part(const struct adding *all, size_t at)
{
    struct plan_work *work = all->work;
    PgQuery__Node *tree = command_with(all, false, false, false);
    PgQuery__AlterTableCmd *command = tree->alter_table_stmt->cmds[0]->alter_table_cmd;
    const struct statement *whole = work->statement;
    struct statement *one = banyan_arena_alloc(work->arena, sizeof(*one));
    size_t step_count = work->ret->step_count, check_count = work->ret->check_count;

    command->subtype = PG_QUERY__ALTER_TABLE_TYPE__AT_AddConstraint;
    command->def = constraint_of(all, at);
    *one = *whole;
    one->tree = tree;
    one->owned = NULL;
    one->text = node_deparse(tree, work->arena);
    work->statement = one;
    if (!plan_constraint(work, all->table, command))
        plan_refuse(work, "a constraint of this kind on a new column cannot be planned: add it by a statement of its "
                          "own, with \"allow\"");
    /* Nobody writes the column yet: all of it may be there before new code comes, and there is nothing to count. */
    for (size_t i = step_count; i < work->ret->step_count; i++)
        if (work->ret->steps[i].phase <= PLAN_CONTRACT) {
            work->ret->steps[i].phase = PLAN_BACKFILL;
            work->ret->steps[i].old_code = BANYAN_STR("");
        }
    work->ret->check_count = check_count;
    if (plan_goes_on(work))
        work->st = effect_follow(one, work->catalog, work->err);
    work->statement = whole;
}

static void plan_rest(const struct adding *all)
{
    for (size_t i = 0; i < all->definition->n_constraints && plan_goes_on(all->work); i++)
        switch (all->definition->constraints[i]->constraint->contype) {
        case CONSTR(CHECK):
        case CONSTR(UNIQUE):
        case CONSTR(PRIMARY):
        case CONSTR(FOREIGN):
            plan_part(all, i);
            break;
        default:
            break;
        }
}

/* ---- the whole ---- */

/* Does a statement above make what the server does not have before expand: a function, a type, a table? */
static bool makes_objects(const struct plan_work *work)
{
    for (size_t i = 0; i < work->migration->statement_count && i <= work->of; i++) {
        const PgQuery__Node *tree = work->migration->statements[i].tree;

        switch (tree == NULL ? PG_QUERY__NODE__NODE__NOT_SET : tree->node_case) {
        case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
        case PG_QUERY__NODE__NODE_INDEX_STMT:
        case PG_QUERY__NODE__NODE_INSERT_STMT:
        case PG_QUERY__NODE__NODE_UPDATE_STMT:
        case PG_QUERY__NODE__NODE_DELETE_STMT:
            break;
        default:
            return true;
        }
    }
    return false;
}

static bool mentions(struct plan_work *work, struct banyan_str expression, struct banyan_str column)
{
    struct migration *parsed = NULL;
    bool ret = false;

    if (plan_goes_on(work))
        work->st = migration_parse("plan", sql_make(work->arena, "SELECT (%S\n)", expression), &parsed, work->err);
    if (plan_goes_on(work) && parsed->statement_count == 1 && parsed->statements[0].tree != NULL)
        ret = node_mentions(&parsed->statements[0].tree->base, column);
    migration_free(parsed);
    return ret;
}

/* The columns that the server has, and those of this migration that *expression* mentions and that are not there yet,
 * as NULLs; then no row can be asked before expand (*ret_waits*).  False: a type among them is new, too. */
static bool row_of(struct plan_work *work, const struct catalog_table *table, struct banyan_str expression,
                   struct banyan_str *ret, bool *ret_waits)
{
    static const char sql[] = "SELECT coalesce(to_regtype($3), to_regtype($4))::text WHERE NOT EXISTS (SELECT FROM "
                              "pg_attribute WHERE attrelid = to_regclass($1) AND attname = $2 AND NOT attisdropped)";

    *ret = BANYAN_STR("*");
    *ret_waits = false;
    for (size_t i = 0; i < table->column_count && plan_goes_on(work); i++) {
        const struct catalog_column *column = &table->columns[i];
        struct banyan_str params[] = {sql_make(work->arena, "%T", table), column->name, column->shown,
                                      column->type.name.data == NULL ? BANYAN_STR("") : column->type.name};
        struct banyan_str *cells;
        size_t count = 0;

        if (!column->made_here && !column->changed_here)
            continue;
        cells = plan_ask(work, sql, params, 4, &count);
        if (count == 0 || !mentions(work, expression, column->name))
            continue;
        if (cells[0].data == NULL)
            return false;
        *ret_waits = true;
        *ret = sql_make(work->arena, "%S, NULL::%S AS %I", *ret, cells[0], column->name);
    }
    return plan_goes_on(work);
}

/* What the trigger cannot assign fails every statement of old code from the moment that it is there.  So the server
 * is asked first, as far as it can be told from the types: what it gives has to be one value of the row, and its type
 * one that is assigned to the column's without a cast. */
bool plan_value_fits(struct plan_work *work, const struct catalog_table *table, const struct directive *directive,
                     struct banyan_str type)
{
    static const char sql[] =
        "SELECT format_type(v.oid, NULL) FROM (SELECT pg_typeof((SELECT (%S) FROM (SELECT %S FROM %T) AS %I "
        "WHERE (%S) IS NULL AND false))::oid AS given, pg_typeof(NULL::%S)::oid AS wanted) a "
        "JOIN pg_type v ON v.oid = a.given JOIN pg_type w ON w.oid = a.wanted "
        "WHERE v.oid <> w.oid AND v.typtype IN ('b', 'e') AND w.typtype IN ('b', 'e') AND v.typelem = 0 "
        "AND w.typelem = 0 AND w.typcategory <> 'S' AND NOT EXISTS (SELECT FROM pg_cast c WHERE "
        "c.castsource = v.oid AND c.casttarget = w.oid AND c.castcontext IN ('a', 'i'))";
    struct banyan_str value = directive->value, row, *given;
    struct banyan_str shown = banyan_arena_printf(work->arena, "%.*s.%.*s", (int)table->shown.size, table->shown.data,
                                                  (int)directive->column.size, directive->column.data);
    size_t count = 0;
    bool waits;

    if (!row_of(work, table, value, &row, &waits))
        return false;
    given =
        plan_ask(work, sql_make(work->arena, sql, value, row, table, table->name, value, type).data, NULL, 0, &count);
    if (!plan_goes_on(work) && strncmp(work->err->sqlstate, "42", 2) == 0 && makes_objects(work)) {
        work->st = BANYAN_OK; /* it may be what is made above */
        banyan_error_clear(work->err);
        return false;
    }
    if (!plan_goes_on(work))
        banyan_error_context(work->err, "line %u: backfill of %.*s", directive->place.line, (int)shown.size,
                             shown.data);
    if (count > 0)
        plan_refuse(work, "the backfill of %.*s gives %.*s, which is not assigned to %.*s without a cast: (%.*s)::%.*s",
                    (int)shown.size, shown.data, (int)given[0].size, given[0].data, (int)type.size, type.data,
                    (int)value.size, value.data, (int)type.size, type.data);
    return !waits;
}

/* Rows for which the directive has no value, where one is needed; for each the cast says whether it fits. */
static void check_values(const struct adding *all)
{
    struct plan_work *work = all->work;
    struct plan_check *check;
    struct banyan_str type = all->serial_of != NULL ? banyan_str_of(all->serial_of)
                                                    : node_deparse_type(all->definition->type_name, work->arena);

    if (!plan_value_fits(work, all->table, all->directive, type) || !all->not_null || !plan_goes_on(work))
        return; /* rows cannot be asked for what is not there before expand */
    check = plan_check_add(work, PLAN_EXPAND);
    check->sql = sql_make(work->arena, "SELECT count(*) FROM %T t WHERE %S::%S IS NULL", all->table,
                          plan_value(work, all->table, all->directive->value), type);
    check->message = banyan_arena_printf(
        all->work->arena, "rows of %.*s get NULL from the backfill directive, but the column is NOT NULL",
        (int)all->table->shown.size, all->table->shown.data);
    check->hint = BANYAN_STR("give the expression a value for every row: coalesce(…, …)");
}

static void plan_in_parts(struct adding *all)
{
    struct plan_work *work = all->work;
    struct statement *bare = banyan_arena_alloc(work->arena, sizeof(*bare));
    bool not_null = all->not_null, filled = all->default_value.size > 0 || all->identity != NULL ||
                                            all->serial_of != NULL || all->directive != NULL;
    struct banyan_str sequence;

    if (not_null && !filled) {
        plan_refuse(work,
                    "NOT NULL without a default: rows that are there, and those of old code, need a value: -- banyan: "
                    "backfill %.*s.%.*s = expression",
                    (int)all->table->shown.size, all->table->shown.data, (int)all->column.size, all->column.data);
        return;
    }
    if (all->directive != NULL)
        check_values(all);
    if (!all->light && all->directive == NULL && all->default_part != NULL && all->default_value.size > 0 &&
        !is_never_null(all->default_part->raw_expr))
        all->mark =
            plan_new_name(work, all->table,
                          banyan_arena_printf(work->arena, "%.*s_unfilled", (int)all->column.size, all->column.data));
    sequence = plan_bare(all);
    if (!all->light)
        plan_values(all, sequence);
    *bare = *work->statement;
    bare->tree = command_with(all, true, false, false);
    if (plan_goes_on(work))
        work->st = effect_follow(bare, work->catalog, work->err);
    if (not_null && !all->light)
        plan_not_null_named(work, all->table, all->column, all->not_null_name, NULL, PLAN_BACKFILL, PLAN_BACKFILL);
    for (size_t i = 0; i < all->table->column_count && not_null; i++)
        if (banyan_str_equal(all->table->columns[i].name, all->column))
            all->table->columns[i].not_null = true;
    plan_rest(all);
    if (all->identity != NULL)
        plan_identity(all, sequence);
    if (sequence.size > 0)
        plan_note(work, "roles that may INSERT into %.*s get USAGE on the sequence of %.*s",
                  (int)all->table->shown.size, all->table->shown.data, (int)all->column.size, all->column.data);
}

static void plan_rewrite(const struct adding *all, const char *why)
{
    struct plan_step *step = add_step(all, PLAN_EXPAND, "add-column", "the column %.*s, as it was written",
                                      (int)shown(all).size, shown(all).data);

    plan_sql(all->work, &step->act, "%S", sql_with(all, true, true, true));
    step->as_written = true;
    undo_column(all, step);
    plan_note(all->work, "it runs as it was written, and only when allowed: %s", why);
}

void plan_add_column(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    struct adding all = {.work = work, .table = table, .definition = command->def->column_def, .mark = BANYAN_STR("")};
    struct effect bare, whole;

    if (catalog_column(table, banyan_str_of(all.definition->colname)) != NULL && command->missing_ok) {
        plan_note(work, "the column %s is there already: nothing is to be done", all.definition->colname);
        return;
    }
    read_definition(&all);
    all.directive = plan_directive(work, DIRECTIVE_BACKFILL, table, all.column);
    if (all.serial_of != NULL) { /* the parser of effects knows it; its bare form is the type below */
        if (!plan_effect(work, work->statement, &bare))
            return;
        for (size_t i = 0; i < bare.relation_count; i++)
            bare.relations[i].rewrite = bare.relations[i].scan = bare.relations[i].build = EFFECT_NO;
    } else if (!plan_effect_sql(work, sql_with(&all, false, false, false), &bare)) {
        return;
    }
    if (!plan_effect(work, work->statement, &whole))
        return;
    if (all.directive == NULL && all.serial_of == NULL && all.identity == NULL && all.default_value.size > 0) {
        struct effect with_default;

        if (!plan_effect_sql(work, sql_with(&all, true, false, false), &with_default))
            return;
        all.light = with_default.verdict == EFFECT_UNDERSTOOD && plan_heavy(&with_default, true) == NULL;
    }
    if (all.default_part != NULL && all.default_value.data == NULL)
        plan_as_written(work, "its default cannot be written again");
    else if (bare.verdict == EFFECT_FAILS)
        plan_refuse(work, "the server will refuse it: %.*s", (int)bare.why.size, bare.why.data);
    else if (all.generated != NULL && all.directive != NULL)
        plan_refuse(work, "a generated column has no other value: take the backfill directive out");
    else if (whole.verdict == EFFECT_UNDERSTOOD && plan_heavy(&whole, true) == NULL && all.directive == NULL &&
             (!all.not_null || all.default_value.size > 0 || all.identity != NULL || all.serial_of != NULL))
        plan_plain(&all);
    else if (plan_heavy(&bare, true) != NULL)
        plan_rewrite(&all, "a domain with a CHECK rewrites the table; a column of its base type with the CHECK on it "
                           "would not");
    else if (all.generated != NULL)
        plan_rewrite(&all, "a stored generated column is written into every row; a plain column with a backfill "
                           "directive, and a trigger of your own, would not be");
    else
        plan_in_parts(&all);
}
