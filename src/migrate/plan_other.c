/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is neither column, constraint, index, partition nor row: new objects, which nobody waits for, and their undo;
 * objects that go, which get another name until cleanup, with their owner, grants and comments; enum values, which
 * stay; grants, comments, sequences.  Everything else runs as it was written, and where no undo is known it says so.
 */
#include <string.h>

#include "migrate/plan_int.h"

#define OBJECT(name) PG_QUERY__OBJECT_TYPE__OBJECT_##name

/* ---- the statement itself ---- */

/* NULL: nothing was planned. */
static struct plan_step *as_written(struct plan_work *work, const char *name, const char *why)
{
    struct plan_step *step = plan_written(work, why);

    if (step != NULL && !step->as_written)
        step->name = name;
    return step;
}

static void undo_sql(struct plan_work *work, struct plan_step *step, struct banyan_str sql)
{
    if (step != NULL && sql.data != NULL)
        plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "%S", sql);
}

/* ---- names ---- */

static struct banyan_str range_name(struct plan_work *work, const PgQuery__RangeVar *name)
{
    return name->schemaname[0] != '\0' ? sql_make(work->arena, "%i.%i", name->schemaname, name->relname)
                                       : sql_make(work->arena, "%i", name->relname);
}

static struct banyan_str list_name(struct plan_work *work, PgQuery__Node *const *names, size_t count)
{
    struct banyan_str text = BANYAN_STR("");

    for (size_t i = 0; i < count; i++)
        if (names[i]->node_case == PG_QUERY__NODE__NODE_STRING)
            text = sql_make(work->arena, "%S%s%i", text, i > 0 ? "." : "", names[i]->string->sval);
    return text;
}

/* name(types) as DROP wants it. */
static struct banyan_str signature(struct plan_work *work, const PgQuery__CreateFunctionStmt *statement)
{
    struct banyan_str types = BANYAN_STR("");

    for (size_t i = 0; i < statement->n_parameters; i++) {
        const PgQuery__FunctionParameter *parameter = statement->parameters[i]->function_parameter;

        if (parameter->mode == PG_QUERY__FUNCTION_PARAMETER_MODE__FUNC_PARAM_OUT ||
            parameter->mode == PG_QUERY__FUNCTION_PARAMETER_MODE__FUNC_PARAM_TABLE)
            continue;
        types = sql_make(work->arena, "%S%s%S", types, types.size > 0 ? ", " : "",
                         node_deparse_type(parameter->arg_type, work->arena));
    }
    return sql_make(work->arena, "%S(%S)", list_name(work, statement->funcname, statement->n_funcname), types);
}

/* ---- new objects ---- */

static struct banyan_str old_function(struct plan_work *work, struct banyan_str name)
{
    return plan_ask_one(
        work, "SELECT pg_get_functiondef(to_regprocedure($1)::oid) WHERE to_regprocedure($1) IS NOT NULL", name);
}

/* A view as it is, made again: in place where the server lets that, else dropped and made with its owner and grants. */
static struct banyan_str old_view(struct plan_work *work, struct banyan_str name)
{
    static const char sql[] =
        "SELECT format('DO %L', format('BEGIN EXECUTE %L; EXCEPTION WHEN invalid_table_definition THEN EXECUTE %L; "
        "EXECUTE %L; %s END', 'CREATE OR REPLACE ' || made, 'DROP VIEW ' || name, 'CREATE ' || made, rights)) FROM ("
        "SELECT c.oid::regclass::text AS name, format('VIEW %s%s AS %s', c.oid::regclass, CASE WHEN c.reloptions IS "
        "NULL "
        "THEN '' ELSE format(' WITH (%s)', array_to_string(c.reloptions, ', ')) END, rtrim(pg_get_viewdef(c.oid), "
        "';')) "
        "AS made, (SELECT string_agg(format('EXECUTE %L;', right_of), ' ') FROM ("
        "SELECT format('ALTER VIEW %s OWNER TO %I', c.oid::regclass, pg_get_userbyid(c.relowner)) AS right_of UNION "
        "ALL "
        "SELECT format('GRANT %s ON %s TO %s%s', a.privilege_type, c.oid::regclass, CASE WHEN a.grantee = 0 THEN "
        "'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' "
        "ELSE '' END) FROM aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) r) AS rights "
        "FROM pg_class c WHERE c.oid = to_regclass($1) AND c.relkind = 'v') v";

    return plan_ask_one(work, sql, name);
}

static bool is_there(struct plan_work *work, const char *sql, struct banyan_str name)
{
    return plan_ask_one(work, sql, name).data != NULL;
}

static void create_relation(struct plan_work *work, const PgQuery__RangeVar *name, const char *kind, bool missing_only)
{
    struct banyan_str text = range_name(work, name);

    if (missing_only && is_there(work, "SELECT to_regclass($1)::text", text)) {
        plan_note(work, "%.*s is there already: nothing is done, whatever it looks like", (int)text.size, text.data);
        return;
    }
    undo_sql(work, as_written(work, "create", "it is new"), sql_make(work->arena, "DROP %s IF EXISTS %S", kind, text));
}

static void create_view(struct plan_work *work, const PgQuery__ViewStmt *statement)
{
    struct banyan_str name = range_name(work, statement->view);
    struct banyan_str old = statement->replace ? old_view(work, name) : (struct banyan_str){NULL, 0};

    if (old.data == NULL)
        old = sql_make(work->arena, "DROP VIEW IF EXISTS %S", name);
    if (plan_replaces(work, "VIEW", name, BANYAN_STR(""), sql_make(work->arena, "DROP VIEW IF EXISTS %S", name)))
        return;
    undo_sql(work, as_written(work, "create", "it is new"), old);
}

static void create_function(struct plan_work *work, const PgQuery__CreateFunctionStmt *statement)
{
    struct banyan_str name = signature(work, statement);
    struct banyan_str old = statement->replace ? old_function(work, name) : (struct banyan_str){NULL, 0};

    if (old.data == NULL)
        old = sql_make(work->arena, "DROP ROUTINE IF EXISTS %S", name);
    if (plan_replaces(work, statement->is_procedure ? "PROCEDURE" : "FUNCTION", name, BANYAN_STR(""),
                      sql_make(work->arena, "DROP ROUTINE IF EXISTS %S", name)))
        return;
    undo_sql(work, as_written(work, "create", "it is new"), old);
}

/* The server's text of a part of a table, by its table and name. */
static struct banyan_str part_definition(struct plan_work *work, const char *sql, struct banyan_str table,
                                         struct banyan_str name)
{
    struct banyan_str params[] = {table, name};
    size_t rows = 0;
    struct banyan_str *cells = plan_ask(work, sql, params, 2, &rows);

    return rows == 0 ? (struct banyan_str){NULL, 0} : cells[0];
}

static const char trigger_sql[] = "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = to_regclass($1) AND "
                                  "tgname = $2 AND NOT tgisinternal";
static const char rule_sql[] =
    "SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE ev_class = to_regclass($1) AND rulename = $2";
static const char policy_sql[] =
    "SELECT format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', p.polname, p.polrelid::regclass, CASE WHEN "
    "p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN "
    "'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END, (SELECT string_agg(CASE WHEN r = 0 THEN "
    "'PUBLIC' ELSE quote_ident(pg_get_userbyid(r)) END, ', ') FROM unnest(p.polroles) r)) || coalesce(' USING (' || "
    "pg_get_expr(p.polqual, p.polrelid) || ')', '') || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, "
    "p.polrelid) || ')', '') FROM pg_policy p WHERE p.polrelid = to_regclass($1) AND p.polname = $2";

static void create_trigger(struct plan_work *work, const PgQuery__CreateTrigStmt *statement)
{
    struct banyan_str table = range_name(work, statement->relation);
    struct banyan_str undo = sql_make(work->arena, "DROP TRIGGER IF EXISTS %i ON %S", statement->trigname, table);
    struct plan_step *step;

    if (plan_replaces(work, "TRIGGER", sql_make(work->arena, "%i", statement->trigname), table, undo))
        return;
    step = as_written(work, "create", "it is new");
    if (step == NULL)
        return;
    undo_sql(work, step, undo);
    if (statement->replace)
        undo_sql(work, step, part_definition(work, trigger_sql, table, banyan_str_of(statement->trigname)));
}

/* Those of one name and no arguments; NULL: another kind of statement. */
static struct banyan_str undo_of_new(struct plan_work *work, const PgQuery__Node *node)
{
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_CREATE_ENUM_STMT:
        return sql_make(work->arena, "DROP TYPE IF EXISTS %S",
                        list_name(work, node->create_enum_stmt->type_name, node->create_enum_stmt->n_type_name));
    case PG_QUERY__NODE__NODE_CREATE_RANGE_STMT:
        return sql_make(work->arena, "DROP TYPE IF EXISTS %S",
                        list_name(work, node->create_range_stmt->type_name, node->create_range_stmt->n_type_name));
    case PG_QUERY__NODE__NODE_COMPOSITE_TYPE_STMT:
        return sql_make(work->arena, "DROP TYPE IF EXISTS %S", range_name(work, node->composite_type_stmt->typevar));
    case PG_QUERY__NODE__NODE_CREATE_DOMAIN_STMT:
        return sql_make(work->arena, "DROP DOMAIN IF EXISTS %S",
                        list_name(work, node->create_domain_stmt->domainname, node->create_domain_stmt->n_domainname));
    case PG_QUERY__NODE__NODE_CREATE_POLICY_STMT:
        return sql_make(work->arena, "DROP POLICY IF EXISTS %i ON %S", node->create_policy_stmt->policy_name,
                        range_name(work, node->create_policy_stmt->table));
    case PG_QUERY__NODE__NODE_CREATE_PUBLICATION_STMT:
        return sql_make(work->arena, "DROP PUBLICATION IF EXISTS %i", node->create_publication_stmt->pubname);
    case PG_QUERY__NODE__NODE_CREATE_ROLE_STMT:
        return sql_make(work->arena, "DROP ROLE IF EXISTS %i", node->create_role_stmt->role);
    case PG_QUERY__NODE__NODE_CREATE_STATS_STMT:
        return node->create_stats_stmt->n_defnames == 0
                   ? (struct banyan_str){NULL, 0}
                   : sql_make(work->arena, "DROP STATISTICS IF EXISTS %S",
                              list_name(work, node->create_stats_stmt->defnames, node->create_stats_stmt->n_defnames));
    case PG_QUERY__NODE__NODE_CREATE_SCHEMA_STMT:
        return node->create_schema_stmt->n_schema_elts > 0 || node->create_schema_stmt->schemaname[0] == '\0' ||
                       is_there(work, "SELECT to_regnamespace(quote_ident($1))::text",
                                banyan_str_of(node->create_schema_stmt->schemaname))
                   ? (struct banyan_str){NULL, 0}
                   : sql_make(work->arena, "DROP SCHEMA IF EXISTS %i", node->create_schema_stmt->schemaname);
    case PG_QUERY__NODE__NODE_CREATE_EXTENSION_STMT:
        return is_there(work, "SELECT extname FROM pg_extension WHERE extname = $1",
                        banyan_str_of(node->create_extension_stmt->extname))
                   ? (struct banyan_str){NULL, 0}
                   : sql_make(work->arena, "DROP EXTENSION IF EXISTS %i", node->create_extension_stmt->extname);
    default:
        return (struct banyan_str){NULL, 0};
    }
}

static bool create(struct plan_work *work, const PgQuery__Node *node)
{
    struct banyan_str undo;

    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_CREATE_STMT:
        create_relation(work, node->create_stmt->relation, "TABLE", node->create_stmt->if_not_exists);
        return true;
    case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT:
        create_relation(work, node->create_table_as_stmt->into->rel,
                        node->create_table_as_stmt->objtype == OBJECT(MATVIEW) ? "MATERIALIZED VIEW" : "TABLE",
                        node->create_table_as_stmt->if_not_exists);
        return true;
    case PG_QUERY__NODE__NODE_CREATE_SEQ_STMT:
        create_relation(work, node->create_seq_stmt->sequence, "SEQUENCE", node->create_seq_stmt->if_not_exists);
        return true;
    case PG_QUERY__NODE__NODE_VIEW_STMT:
        create_view(work, node->view_stmt);
        return true;
    case PG_QUERY__NODE__NODE_CREATE_FUNCTION_STMT:
        create_function(work, node->create_function_stmt);
        return true;
    case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
        create_trigger(work, node->create_trig_stmt);
        return true;
    case PG_QUERY__NODE__NODE_RULE_STMT:
        undo = node->rule_stmt->replace ? part_definition(work, rule_sql, range_name(work, node->rule_stmt->relation),
                                                          banyan_str_of(node->rule_stmt->rulename))
                                        : (struct banyan_str){NULL, 0};
        if (undo.data == NULL)
            undo = sql_make(work->arena, "DROP RULE IF EXISTS %i ON %S", node->rule_stmt->rulename,
                            range_name(work, node->rule_stmt->relation));
        else
            undo =
                sql_make(work->arena, "%s%S", "CREATE OR REPLACE ", (struct banyan_str){undo.data + 7, undo.size - 7});
        break;
    default:
        undo = undo_of_new(work, node);
    }
    if (undo.data == NULL)
        return false;
    if (node->node_case == PG_QUERY__NODE__NODE_CREATE_POLICY_STMT &&
        plan_replaces(work, "POLICY", sql_make(work->arena, "%i", node->create_policy_stmt->policy_name),
                      range_name(work, node->create_policy_stmt->table), undo))
        return true;
    undo_sql(work, as_written(work, "create", "it is new"), undo);
    return true;
}

/* ---- objects that go ---- */

struct going {
    const char *kind;            /* "VIEW" */
    struct banyan_str name;      /* quoted, as written; of a function with its arguments */
    struct banyan_str last;      /* its last part, unquoted */
    struct banyan_str front;     /* "schema"., or nothing */
    struct banyan_str arguments; /* "(int4)", or nothing */
    const char *address;         /* regclass, regprocedure, regtype */
    const char *catalog;
};

static const char *drop_kind(PgQuery__ObjectType type, struct going *going)
{
    going->address = "regclass";
    going->catalog = "pg_class";
    switch (type) {
    case OBJECT(VIEW):
        return "VIEW";
    case OBJECT(MATVIEW):
        return "MATERIALIZED VIEW";
    case OBJECT(SEQUENCE):
        return "SEQUENCE";
    case OBJECT(FUNCTION):
    case OBJECT(PROCEDURE):
    case OBJECT(ROUTINE):
        going->address = "regprocedure";
        going->catalog = "pg_proc";
        return type == OBJECT(FUNCTION) ? "FUNCTION" : type == OBJECT(PROCEDURE) ? "PROCEDURE" : "ROUTINE";
    case OBJECT(TYPE):
    case OBJECT(DOMAIN):
        going->address = "regtype";
        going->catalog = "pg_type";
        return type == OBJECT(TYPE) ? "TYPE" : "DOMAIN";
    default:
        return NULL;
    }
}

static bool read_going(struct plan_work *work, const PgQuery__Node *object, struct going *going)
{
    PgQuery__Node *const *names = NULL;
    size_t count = 0;

    going->arguments = BANYAN_STR("");
    if (object->node_case == PG_QUERY__NODE__NODE_LIST) {
        names = object->list->items;
        count = object->list->n_items;
    } else if (object->node_case == PG_QUERY__NODE__NODE_TYPE_NAME) {
        names = object->type_name->names;
        count = object->type_name->n_names;
    } else if (object->node_case == PG_QUERY__NODE__NODE_OBJECT_WITH_ARGS) {
        const PgQuery__ObjectWithArgs *function = object->object_with_args;
        struct banyan_str types = BANYAN_STR("");

        names = function->objname;
        count = function->n_objname;
        for (size_t i = 0; i < function->n_objargs; i++)
            types = sql_make(work->arena, "%S%s%S", types, i > 0 ? ", " : "",
                             node_deparse_type(function->objargs[i]->type_name, work->arena));
        if (function->args_unspecified) /* there is only one of it */
            types = plan_ask_one(work,
                                 "SELECT string_agg(format_type(t.type, NULL), ', ' ORDER BY t.place) FROM pg_proc p, "
                                 "unnest(p.proargtypes::oid[]) WITH ORDINALITY t (type, place) WHERE p.oid = "
                                 "to_regproc($1)",
                                 list_name(work, names, count));
        going->arguments = sql_make(work->arena, "(%S)", types.data == NULL ? BANYAN_STR("") : types);
    }
    if (count == 0 || names[count - 1]->node_case != PG_QUERY__NODE__NODE_STRING)
        return false;
    going->last = banyan_str_of(names[count - 1]->string->sval);
    going->front = count > 1 ? sql_make(work->arena, "%S.", list_name(work, names, count - 1)) : BANYAN_STR("");
    going->name = sql_make(work->arena, "%S%I%S", going->front, going->last, going->arguments);
    return true;
}

/* Its oid, as text; data NULL: it is not there. */
static struct banyan_str oid_of_going(struct plan_work *work, const struct going *going)
{
    struct banyan_str sql = sql_make(work->arena, "SELECT to_%s($1)::oid", going->address);

    return plan_ask_one(work, sql.data, going->name);
}

static bool is_needed(struct plan_work *work, const struct going *going, struct banyan_str oid)
{
    static const char sql[] = "SELECT string_agg(DISTINCT pg_describe_object(classid, objid, objsubid), ', ') FROM "
                              "pg_depend WHERE refclassid = $2::regclass AND refobjid = $1::oid AND deptype = 'n' AND "
                              "NOT (classid = 'pg_rewrite'::regclass AND objid IN (SELECT oid FROM pg_rewrite WHERE "
                              "ev_class = $1::oid))";
    struct banyan_str params[] = {oid, banyan_str_of(going->catalog)};
    size_t rows = 0;
    struct banyan_str *cells = plan_ask(work, sql, params, 2, &rows);

    if (rows == 0 || cells[0].data == NULL)
        return false;
    plan_refuse(work, "%.*s is used by %.*s: drop that first", (int)going->name.size, going->name.data,
                (int)cells[0].size, cells[0].data);
    return true;
}

/* It gets another name until cleanup: nothing of it is lost. */
static void put_aside(struct plan_work *work, const struct going *going)
{
    struct catalog_table shape = {.schema = BANYAN_STR(""), .name = going->last, .shown = going->last};
    struct banyan_str kept = plan_kept_name(work, &shape, going->last);
    struct plan_step *step = plan_add(work, PLAN_CONTRACT, "put-aside", PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    step->title = banyan_arena_printf(work->arena, "%.*s goes, and is kept under another name", (int)going->name.size,
                                      going->name.data);
    plan_sql(work, &step->act, "ALTER %s %S RENAME TO %I", going->kind, going->name, kept);
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "ALTER %s %S%I%S RENAME TO %I",
             going->kind, going->front, kept, going->arguments, going->last);
    step->old_code = banyan_arena_printf(work->arena, "%.*s is gone", (int)going->name.size, going->name.data);
    plan_gone(work, going->kind, going->name, BANYAN_STR(""));
    step = plan_add(work, PLAN_CLEANUP, "drop-kept", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title =
        banyan_arena_printf(work->arena, "%.*s for good: no way back", (int)going->name.size, going->name.data);
    plan_sql(work, &step->act, "DROP %s IF EXISTS %S%I%S", going->kind, going->front, kept, going->arguments);
}

/* DROP TRIGGER, RULE, POLICY name ON table: [schema,] table, name. */
static void drop_part(struct plan_work *work, const PgQuery__DropStmt *statement, const PgQuery__Node *object)
{
    const PgQuery__List *names = object->list;
    const char *name = names->items[names->n_items - 1]->string->sval;
    struct banyan_str table = list_name(work, names->items, names->n_items - 1), old;
    const char *kind = statement->remove_type == OBJECT(TRIGGER) ? "TRIGGER"
                       : statement->remove_type == OBJECT(RULE)  ? "RULE"
                                                                 : "POLICY";
    struct plan_step *step;

    old = part_definition(work,
                          kind[0] == 'T'   ? trigger_sql
                          : kind[0] == 'R' ? rule_sql
                                           : policy_sql,
                          table, banyan_str_of(name));
    if (old.data == NULL && statement->missing_ok) {
        plan_note(work, "%s is not there: nothing is done", name);
        return;
    }
    step = plan_add(work, PLAN_CONTRACT, "drop", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "%s of %.*s goes", name, (int)table.size, table.data);
    plan_sql(work, &step->act, "DROP %s %i ON %S", kind, name, table);
    undo_sql(work, step, old);
    plan_gone(work, kind, sql_make(work->arena, "%i", name), table);
}

static void drop(struct plan_work *work, const PgQuery__DropStmt *statement)
{
    bool is_part = statement->remove_type == OBJECT(TRIGGER) || statement->remove_type == OBJECT(RULE) ||
                   statement->remove_type == OBJECT(POLICY);
    struct going going;

    if (statement->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE) {
        plan_as_written(work, "CASCADE takes away more than it names");
        return;
    }
    going.kind = drop_kind(statement->remove_type, &going);
    if (going.kind == NULL && !is_part) {
        plan_as_written(work, "what is dropped cannot be kept aside");
        return;
    }
    for (size_t i = 0; i < statement->n_objects && plan_goes_on(work); i++) {
        struct banyan_str oid;

        if (is_part) {
            drop_part(work, statement, statement->objects[i]);
            continue;
        }
        if (!read_going(work, statement->objects[i], &going)) {
            plan_as_written(work, "a name of an unknown form");
            return;
        }
        oid = oid_of_going(work, &going);
        if (oid.data != NULL && !is_needed(work, &going, oid))
            put_aside(work, &going);
        else if (oid.data == NULL && !statement->missing_ok && !catalog_is_offline(work->catalog))
            plan_refuse(work, "%.*s does not exist", (int)going.name.size, going.name.data);
        else if (oid.data == NULL)
            plan_note(work, "%.*s is not there: nothing is done", (int)going.name.size, going.name.data);
    }
}

/* ---- enum values ---- */

static void alter_enum(struct plan_work *work, const PgQuery__AlterEnumStmt *statement)
{
    struct banyan_str name = list_name(work, statement->type_name, statement->n_type_name);
    struct plan_step *step;

    if (statement->old_val[0] != '\0') {
        step = plan_add(work, PLAN_CONTRACT, "rename-enum-value", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
        step->title = banyan_arena_printf(work->arena, "the value %s of %.*s has the name %s", statement->old_val,
                                          (int)name.size, name.data, statement->new_val);
        step->old_code = banyan_arena_printf(work->arena, "the value %s is gone", statement->old_val);
        plan_sql(work, &step->act, "ALTER TYPE %S RENAME VALUE %L TO %L", name, banyan_str_of(statement->old_val),
                 banyan_str_of(statement->new_val));
        plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "ALTER TYPE %S RENAME VALUE %L TO %L",
                 name, banyan_str_of(statement->new_val), banyan_str_of(statement->old_val));
        return;
    }
    step = plan_add(work, PLAN_EXPAND, "add-enum-value", PLAN_OUTSIDE, PLAN_RETRY_SHORT);
    step->title =
        banyan_arena_printf(work->arena, "the value %s of %.*s", statement->new_val, (int)name.size, name.data);
    step->final = true;
    plan_sql(work, &step->act, "ALTER TYPE %S ADD VALUE IF NOT EXISTS %L", name, banyan_str_of(statement->new_val));
    if (statement->new_val_neighbor[0] != '\0')
        step->act.statements[0] =
            sql_make(work->arena, "%S %s %L", step->act.statements[0], statement->new_val_is_after ? "AFTER" : "BEFORE",
                     banyan_str_of(statement->new_val_neighbor));
    plan_note(work, "the value %s of %.*s stays, also after a rollback: PostgreSQL cannot take it away",
              statement->new_val, (int)name.size, name.data);
}

/* ---- grants and comments ---- */

static const char *const table_rights[] = {"SELECT",   "INSERT",     "UPDATE",  "DELETE",
                                           "TRUNCATE", "REFERENCES", "TRIGGER", NULL};

/* Only what it changes is undone: a right that was there before stays. */
static void undo_right(struct plan_work *work, struct plan_step *step, bool is_grant, struct banyan_str table,
                       struct banyan_str role, const char *right)
{
    static const char sql[] =
        "SELECT CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END FROM pg_class c, aclexplode(c.relacl) a "
        "WHERE c.oid = to_regclass($1) AND a.privilege_type = upper($3) AND a.grantee = CASE WHEN $2 = '' THEN 0 ELSE "
        "coalesce(to_regrole($2)::oid, 1) END";
    struct banyan_str params[] = {table, role, banyan_str_of(right)};
    size_t rows = 0;
    struct banyan_str *cells = plan_ask(work, sql, params, 3, &rows);
    struct banyan_str who = role.size == 0 ? BANYAN_STR("PUBLIC") : role;

    if (is_grant && rows == 0)
        undo_sql(work, step, sql_make(work->arena, "REVOKE %s ON %S FROM %S", right, table, who));
    if (!is_grant && rows > 0)
        undo_sql(work, step, sql_make(work->arena, "GRANT %s ON %S TO %S%S", right, table, who, cells[0]));
}

static struct banyan_str role_name(struct plan_work *work, const PgQuery__RoleSpec *role)
{
    switch (role->roletype) {
    case PG_QUERY__ROLE_SPEC_TYPE__ROLESPEC_CSTRING:
        return sql_make(work->arena, "%i", role->rolename);
    case PG_QUERY__ROLE_SPEC_TYPE__ROLESPEC_PUBLIC:
        return BANYAN_STR("");
    default:
        return plan_ask_one(work, "SELECT quote_ident(current_user) WHERE $1 = ''", BANYAN_STR(""));
    }
}

static bool is_simple(const PgQuery__GrantStmt *statement)
{
    if (statement->objtype != OBJECT(TABLE) || statement->targtype != PG_QUERY__GRANT_TARGET_TYPE__ACL_TARGET_OBJECT ||
        statement->grant_option)
        return false;
    for (size_t i = 0; i < statement->n_privileges; i++)
        if (statement->privileges[i]->access_priv->n_cols > 0)
            return false;
    return true;
}

static void grant(struct plan_work *work, const PgQuery__GrantStmt *statement)
{
    struct plan_step *step;

    if (!is_simple(statement)) {
        plan_as_written(work, "rights");
        return;
    }
    step = as_written(work, statement->is_grant ? "grant" : "revoke", "rights");
    if (step == NULL)
        return;
    if (!statement->is_grant)
        step->phase = PLAN_CONTRACT;
    for (size_t i = 0; i < statement->n_objects; i++)
        for (size_t k = 0; k < statement->n_grantees; k++) {
            struct banyan_str table = range_name(work, statement->objects[i]->range_var);
            struct banyan_str role = role_name(work, statement->grantees[k]->role_spec);

            for (size_t n = 0; n < statement->n_privileges; n++)
                undo_right(work, step, statement->is_grant, table, role,
                           statement->privileges[n]->access_priv->priv_name);
            for (size_t n = 0; statement->n_privileges == 0 && table_rights[n] != NULL; n++)
                undo_right(work, step, statement->is_grant, table, role, table_rights[n]);
        }
}

/* What is there now, for those kinds that are looked up by a name. */
static struct banyan_str old_comment(struct plan_work *work, const PgQuery__CommentStmt *statement)
{
    const PgQuery__Node *object = statement->object;
    const struct banyan_str none = {NULL, 0};
    struct banyan_str name;

    if (object->node_case == PG_QUERY__NODE__NODE_TYPE_NAME)
        return plan_ask_one(work, "SELECT obj_description(to_regtype($1), 'pg_type')",
                            list_name(work, object->type_name->names, object->type_name->n_names));
    if (object->node_case == PG_QUERY__NODE__NODE_STRING && statement->objtype == OBJECT(SCHEMA))
        return plan_ask_one(work, "SELECT obj_description(to_regnamespace(quote_ident($1)), 'pg_namespace')",
                            banyan_str_of(object->string->sval));
    if (object->node_case != PG_QUERY__NODE__NODE_LIST)
        return none;
    switch (statement->objtype) {
    case OBJECT(TABLE):
    case OBJECT(VIEW):
    case OBJECT(MATVIEW):
    case OBJECT(INDEX):
    case OBJECT(SEQUENCE):
        name = list_name(work, object->list->items, object->list->n_items);
        return plan_ask_one(work, "SELECT obj_description(to_regclass($1), 'pg_class')", name);
    case OBJECT(COLUMN):
        name = list_name(work, object->list->items, object->list->n_items - 1);
        return part_definition(work,
                               "SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = "
                               "to_regclass($1) AND attname = $2",
                               name, banyan_str_of(object->list->items[object->list->n_items - 1]->string->sval));
    case OBJECT(TABCONSTRAINT):
        name = list_name(work, object->list->items, object->list->n_items - 1);
        return part_definition(work,
                               "SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conrelid = "
                               "to_regclass($1) AND conname = $2",
                               name, banyan_str_of(object->list->items[object->list->n_items - 1]->string->sval));
    case OBJECT(TRIGGER):
        name = list_name(work, object->list->items, object->list->n_items - 1);
        return part_definition(work,
                               "SELECT obj_description(oid, 'pg_trigger') FROM pg_trigger WHERE tgrelid = "
                               "to_regclass($1) AND tgname = $2",
                               name, banyan_str_of(object->list->items[object->list->n_items - 1]->string->sval));
    default:
        return none;
    }
}

static void comment(struct plan_work *work, const PgQuery__CommentStmt *statement)
{
    struct banyan_str old = old_comment(work, statement);
    PgQuery__CommentStmt copy = *statement;
    PgQuery__Node node = PG_QUERY__NODE__INIT;

    copy.comment = (char *)(old.data == NULL ? "" : old.data); /* it is only read; nothing is NULL */
    node.node_case = PG_QUERY__NODE__NODE_COMMENT_STMT;
    node.comment_stmt = &copy;
    undo_sql(work, as_written(work, "comment", "a comment"), node_deparse(&node, work->arena));
}

/* ---- the rest ---- */

static void alter_sequence(struct plan_work *work, const PgQuery__AlterSeqStmt *statement)
{
    static const char sql[] =
        "SELECT format('ALTER SEQUENCE %s AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s CACHE %s %s', "
        "seqrelid::regclass, seqtypid::regtype, seqincrement, seqmin, seqmax, seqstart, seqcache, CASE WHEN seqcycle "
        "THEN "
        "'CYCLE' ELSE 'NO CYCLE' END) FROM pg_sequence WHERE seqrelid = to_regclass($1)";
    struct banyan_str name = range_name(work, statement->sequence);

    for (size_t i = 0; i < statement->n_options; i++)
        if (strcmp(statement->options[i]->def_elem->defname, "restart") == 0 ||
            strcmp(statement->options[i]->def_elem->defname, "owned_by") == 0) {
            plan_as_written(work, "where the sequence stands, or whose it is, changes");
            return;
        }
    undo_sql(work, as_written(work, "alter-sequence", "a sequence"), plan_ask_one(work, sql, name));
}

static void refresh(struct plan_work *work, const PgQuery__RefreshMatViewStmt *statement)
{
    struct catalog_table *view = NULL;
    bool unique = false;
    struct plan_step *step;

    work->st = catalog_table(work->catalog, banyan_str_of(statement->relation->schemaname),
                             banyan_str_of(statement->relation->relname), &view, work->err);
    for (size_t i = 0; plan_goes_on(work) && view != NULL && i < view->index_count; i++)
        unique |= view->indexes[i].unique && !view->indexes[i].partial && !view->indexes[i].has_expressions;
    if (!unique || statement->skip_data) {
        plan_as_written(work, "without a unique index a materialized view is filled while its readers wait");
        return;
    }
    step = plan_add(work, PLAN_BACKFILL, "refresh", PLAN_TRANSACTION, PLAN_RETRY_LONG);
    step->title =
        banyan_arena_printf(work->arena, "%.*s anew, while it is read", (int)view->shown.size, view->shown.data);
    plan_sql(work, &step->act, "REFRESH MATERIALIZED VIEW CONCURRENTLY %T", view);
}

static void vacuum(struct plan_work *work, const PgQuery__VacuumStmt *statement)
{
    struct plan_step *step;

    for (size_t i = 0; i < statement->n_options; i++)
        if (strcmp(statement->options[i]->def_elem->defname, "full") == 0) {
            plan_as_written(work, "VACUUM FULL writes the table anew while everybody waits");
            return;
        }
    step = plan_add(work, PLAN_BACKFILL, statement->is_vacuumcmd ? "vacuum" : "analyze",
                    statement->is_vacuumcmd ? PLAN_OUTSIDE : PLAN_TRANSACTION, PLAN_RETRY_LONG);
    step->title = BANYAN_STR("statistics, and room for new rows");
    plan_sql(work, &step->act, "%S", work->statement->text);
}

static void setting(struct plan_work *work, const PgQuery__VariableSetStmt *statement)
{
    if (strcmp(statement->name, "lock_timeout") == 0 || strcmp(statement->name, "statement_timeout") == 0)
        plan_note(work, "SET %s is not needed: each step has its own", statement->name);
    else
        plan_refuse(work, "SET %s would hold for none of the steps: leave it out", statement->name);
}

bool plan_other(struct plan_work *work)
{
    const PgQuery__Node *node = work->statement->tree;

    if (node == NULL) {
        plan_as_written(work, "the statement is not understood");
        return true;
    }
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_DROP_STMT:
        drop(work, node->drop_stmt);
        break;
    case PG_QUERY__NODE__NODE_ALTER_ENUM_STMT:
        alter_enum(work, node->alter_enum_stmt);
        break;
    case PG_QUERY__NODE__NODE_GRANT_STMT:
        grant(work, node->grant_stmt);
        break;
    case PG_QUERY__NODE__NODE_COMMENT_STMT:
        comment(work, node->comment_stmt);
        break;
    case PG_QUERY__NODE__NODE_ALTER_SEQ_STMT:
        alter_sequence(work, node->alter_seq_stmt);
        break;
    case PG_QUERY__NODE__NODE_REFRESH_MAT_VIEW_STMT:
        refresh(work, node->refresh_mat_view_stmt);
        break;
    case PG_QUERY__NODE__NODE_VACUUM_STMT:
        vacuum(work, node->vacuum_stmt);
        break;
    case PG_QUERY__NODE__NODE_TRANSACTION_STMT:
        plan_note(work, "BEGIN and COMMIT mean nothing here: each step has its own transaction");
        break;
    case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT:
        setting(work, node->variable_set_stmt);
        break;
    default:
        if (!create(work, node))
            plan_as_written(work, "no safer way is known for it");
    }
    return true;
}
