/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows: what DDL and DML of a migration fill or change, page by page, with the values kept that are overwritten.
 *
 *   UPDATE t SET x = x + 1 WHERE …
 *     backfill  banyan.kept_<hash>: key, value before and value after, of each column; a trigger that puts the keys of
 *               rows into it that others insert, so that they stay as they are and the batches have an end, and that
 *               follows a key that others change
 *               batches: a row that is not kept yet and meets the condition is kept and written in one statement, so it
 *               is written exactly once, also by SET x = x + 1, also after a kill
 *               the trigger is dropped
 *     undo      batches: rows that still have the value that was written get the one from before; what others wrote
 *               since stays
 *     cleanup   the kept values are dropped
 *
 * Expressions see the row under the name that the statement gives it: SELECT (expression) FROM (SELECT t.*) AS orders.
 */
#include <string.h>

#include "base/crc32c.h"
#include "migrate/effect_int.h"
#include "migrate/plan_int.h"

enum {
    COLUMNS_MAX = 64,
    NAME_BYTES_MAX = 63, /* of an identifier at the server */
};

/* ---- filling ---- */

/* Triggers of the user that batches.h cannot keep from firing, as it does where it may. */
static void tell_triggers(struct plan_work *work, const struct catalog_table *table,
                          const struct catalog_table *const *leaves, size_t count, struct banyan_str set)
{
    struct banyan_str params[2] = {BANYAN_STR(""), set}, sql, *cells;
    size_t rows = 0;

    for (size_t i = 0; i < count; i++)
        params[0] = sql_make(work->arena, "%S%s%d", params[0], i > 0 ? "," : "", (int64_t)leaves[i]->oid);
    sql = sql_make(
        work->arena,
        "SELECT string_agg(DISTINCT quote_ident(g.tgname), ', '), bool_or(g.tgenabled = 'O' AND NOT may.may) FROM "
        "pg_trigger g, (SELECT %s) AS may (may) WHERE g.tgrelid = ANY (string_to_array($1, ',')::oid[]) AND NOT "
        "g.tgisinternal AND g.tgtype & 16 <> 0 AND (g.tgenabled = 'A' OR g.tgenabled = 'O' AND (NOT may.may OR EXISTS "
        "(SELECT FROM pg_constraint c, pg_attribute a WHERE c.contype = 'f' AND c.convalidated AND c.conrelid = "
        "g.tgrelid AND a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey) AND strpos($2, '\"' || replace(a.attname, "
        "'\"', '\"\"') || '\" = ') > 0)))",
        catalog_server_version(work->catalog) >= 150000 ? "has_parameter_privilege('session_replication_role', 'SET')"
                                                        : "rolsuper FROM pg_roles WHERE rolname = current_user");
    cells = plan_ask(work, sql.data, params, 2, &rows);
    if (rows != 1 || cells[0].data == NULL)
        return;
    plan_note(work, "triggers of %.*s fire for each row that is filled: %.*s%s", (int)table->shown.size,
              table->shown.data, (int)cells[0].size, cells[0].data,
              cells[1].data != NULL && cells[1].data[0] == 't'
                  ? "; a role that may SET session_replication_role keeps them from it"
                  : "");
}

void plan_fill(struct plan_work *work, const struct catalog_table *table, struct banyan_str set,
               struct banyan_str needs)
{
    const struct catalog_table **leaves;
    size_t count;

    plan_leaves(work, table, &leaves, &count);
    for (size_t i = 0; i < count; i++)
        plan_rules(work, leaves[i], '2');
    tell_triggers(work, table, leaves, count, set);
    for (size_t i = 0; i < count && plan_goes_on(work); i++) {
        struct plan_step *step = plan_add(work, PLAN_BACKFILL, "fill", PLAN_BATCHES, PLAN_RETRY_LONG);

        step->title = banyan_arena_printf(work->arena, "the rows of %.*s, page by page", (int)leaves[i]->shown.size,
                                          leaves[i]->shown.data);
        step->act.batches = (struct plan_batches){
            .table = sql_make(work->arena, "%T", leaves[i]), .set = set, .needs = needs, .keep = BANYAN_STR("")};
    }
}

/* ---- kept values ---- */

struct change {
    const struct catalog_table *table;
    struct banyan_str names[COLUMNS_MAX];  /* written columns */
    struct banyan_str values[COLUMNS_MAX]; /* SQL over t */
    size_t count;
    struct banyan_str keys[COLUMNS_MAX]; /* columns that tell one row */
    size_t key_count;
    struct banyan_str condition; /* SQL over t */
    struct banyan_str kept;      /* "banyan"."kept_…" */
    bool only;                   /* not the children by INHERITS */
};

static bool read_key(struct plan_work *work, struct change *change)
{
    static const char sql[] =
        "SELECT a.attname FROM pg_attribute a JOIN (SELECT i.indrelid, i.indkey FROM pg_index i WHERE i.indrelid = "
        "$1::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND NOT EXISTS "
        /* The mark's function trusts pg_catalog only: types whose equality is elsewhere are no keys for it. */
        "(SELECT FROM pg_attribute n JOIN pg_type y ON y.oid = n.atttypid WHERE n.attrelid = i.indrelid AND n.attnum = "
        "ANY (i.indkey::int2[]) AND (NOT n.attnotnull OR (y.typtype NOT IN ('e', 'd') AND y.typnamespace <> "
        "'pg_catalog'::regnamespace))) "
        "ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) k ON a.attrelid = k.indrelid AND a.attnum "
        "= ANY (k.indkey::int2[]) ORDER BY a.attnum";
    struct banyan_str oid = banyan_arena_printf(work->arena, "%u", (unsigned)change->table->oid);
    struct banyan_str *cells = plan_ask(work, sql, &oid, 1, &change->key_count);

    if (change->key_count > COLUMNS_MAX)
        change->key_count = 0;
    for (size_t i = 0; i < change->key_count; i++)
        change->keys[i] = cells[i];
    return change->key_count > 0;
}

static struct banyan_str kept_name(struct plan_work *work, const struct catalog_table *table, size_t of)
{
    struct banyan_str text = sql_make(work->arena, "%S/%T/%d", work->migration->version, table, (int64_t)of);

    return sql_make(work->arena, "%i.%I", "banyan",
                    banyan_arena_printf(work->arena, "kept_%08x", (unsigned)crc32c(0, text.data, text.size)));
}

/* Names that are as long as a name may be keep apart: the server would cut them behind what differs. */
static struct banyan_str kept_column(struct plan_work *work, const char *front, struct banyan_str name)
{
    struct banyan_str whole = banyan_arena_printf(work->arena, "%s_%.*s", front, (int)name.size, name.data);
    size_t size = NAME_BYTES_MAX - 9;

    if (whole.size <= NAME_BYTES_MAX)
        return sql_make(work->arena, "%I", whole);
    while (((unsigned char)whole.data[size] & 0xC0) == 0x80)
        size--;
    return sql_make(work->arena, "%I",
                    banyan_arena_printf(work->arena, "%.*s_%08x", (int)size, whole.data,
                                        (unsigned)crc32c(0, name.data, name.size)));
}

static struct banyan_str same_key(struct plan_work *work, const struct change *change)
{
    struct banyan_str text = BANYAN_STR("");

    for (size_t i = 0; i < change->key_count; i++)
        text = sql_make(work->arena, "%S%sk.%S = t.%I", text, i > 0 ? " AND " : "",
                        kept_column(work, "key", change->keys[i]), change->keys[i]);
    return text;
}

/* Types without an equality are compared as text. */
static const char *as_text(const struct catalog_table *table, struct banyan_str name)
{
    static const char *const names[] = {"json", "xml", "point", "line", "lseg", "path", "polygon", "box", "circle"};
    const struct catalog_column *column = catalog_column(table, name);

    for (size_t i = 0; column != NULL && i < sizeof(names) / sizeof(names[0]); i++)
        if (banyan_str_equal(column->type.name, banyan_str_of(names[i])))
            return "::text";
    return "";
}

/* The name of the trigger and, in the schema banyan, of its function: that of the kept table. */
static struct banyan_str mark_name(const struct change *change)
{
    static const char schema[] = "\"banyan\".";

    return (struct banyan_str){change->kept.data + sizeof(schema) - 1, change->kept.size - sizeof(schema) + 1};
}

/* The application's role may not write the kept table: the function runs as its owner, and trusts no search_path. */
static void make_marks(struct plan_work *work, const struct change *change, struct plan_action *action)
{
    struct banyan_str into = BANYAN_STR(""), born = into, now = into, before = into, follow = into, found = into;
    struct banyan_str body;

    for (size_t i = 0; i < change->key_count; i++) {
        struct banyan_str name = kept_column(work, "key", change->keys[i]);
        const char *comma = i > 0 ? ", " : "", *and = i > 0 ? " AND " : "";

        into = sql_make(work->arena, "%S%s%S", into, comma, name);
        born = sql_make(work->arena, "%S%sNEW.%I", born, comma, change->keys[i]);
        now = sql_make(work->arena, "%S%sNEW.%I", now, comma, change->keys[i]);
        before = sql_make(work->arena, "%S%sOLD.%I", before, comma, change->keys[i]);
        follow = sql_make(work->arena, "%S%s%S = NEW.%I", follow, comma, name, change->keys[i]);
        found = sql_make(work->arena, "%S%s%S = OLD.%I", found, and, name, change->keys[i]);
    }
    body = sql_make(work->arena,
                    "BEGIN\n  IF TG_OP = 'INSERT' THEN\n    INSERT INTO %S (%S) VALUES (%S) ON CONFLICT DO NOTHING;\n"
                    "  ELSIF (%S) IS DISTINCT FROM (%S) THEN\n    UPDATE %S SET %S WHERE %S;\n  END IF;\n"
                    "  RETURN NULL;\nEND",
                    change->kept, into, born, now, before, change->kept, follow, found);
    plan_sql(work, action,
             "CREATE OR REPLACE FUNCTION \"banyan\".%S() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET "
             "search_path = pg_catalog, pg_temp AS %L",
             mark_name(change), body);
    plan_sql(work, action,
             "CREATE TRIGGER %S AFTER INSERT OR UPDATE ON %T FOR EACH ROW EXECUTE FUNCTION \"banyan\".%S()",
             mark_name(change), change->table, mark_name(change));
    plan_sql(work, action, "ALTER TABLE %T ENABLE ALWAYS TRIGGER %S", change->table, mark_name(change));
}

static void drop_marks(struct plan_work *work, const struct change *change, struct plan_action *action)
{
    plan_sql(work, action, "DROP TRIGGER IF EXISTS %S ON %T", mark_name(change), change->table);
    plan_sql(work, action, "DROP FUNCTION IF EXISTS \"banyan\".%S()", mark_name(change));
}

static void make_kept(struct plan_work *work, const struct change *change)
{
    struct plan_action *undo;
    struct plan_step *step = plan_add(work, PLAN_BACKFILL, "keep-values", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct banyan_str columns = BANYAN_STR(""), keys = BANYAN_STR("");

    step->title = banyan_arena_printf(work->arena, "a table for the values of %.*s that are overwritten",
                                      (int)change->table->shown.size, change->table->shown.data);
    for (size_t i = 0; i < change->key_count; i++) {
        struct banyan_str name = kept_column(work, "key", change->keys[i]);

        keys = sql_make(work->arena, "%S%s%S", keys, i > 0 ? ", " : "", name);
        columns = sql_make(work->arena, "%S%st.%I AS %S", columns, i > 0 ? ", " : "", change->keys[i], name);
    }
    for (size_t i = 0; i < change->count; i++)
        columns = sql_make(work->arena, "%S, t.%I AS %S, t.%I AS %S", columns, change->names[i],
                           kept_column(work, "old", change->names[i]), change->names[i],
                           kept_column(work, "new", change->names[i]));
    plan_sql(work, &step->act, "CREATE TABLE %S AS SELECT %S FROM %T t WITH NO DATA", change->kept, columns,
             change->table);
    plan_sql(work, &step->act, "ALTER TABLE %S ADD PRIMARY KEY (%S)", change->kept, keys);
    make_marks(work, change, &step->act);
    undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    drop_marks(work, change, undo);
    plan_sql(work, undo, "DROP TABLE IF EXISTS %S", change->kept);
    step = plan_add(work, PLAN_CLEANUP, "drop-kept-values", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "the values of %.*s from before go: no way back",
                                      (int)change->table->shown.size, change->table->shown.data);
    plan_sql(work, &step->act, "DROP TABLE IF EXISTS %S", change->kept);
}

/* INSERT of the values from before, in the statement that overwrites them. */
static struct banyan_str keep_sql(struct plan_work *work, const struct change *change, const struct catalog_table *leaf)
{
    struct banyan_str into = BANYAN_STR(""), from = BANYAN_STR("");

    for (size_t i = 0; i < change->key_count; i++) {
        into = sql_make(work->arena, "%S%s%S", into, i > 0 ? ", " : "", kept_column(work, "key", change->keys[i]));
        from = sql_make(work->arena, "%S%st.%I", from, i > 0 ? ", " : "", change->keys[i]);
    }
    for (size_t i = 0; i < change->count; i++) {
        into = sql_make(work->arena, "%S, %S, %S", into, kept_column(work, "old", change->names[i]),
                        kept_column(work, "new", change->names[i]));
        from = sql_make(work->arena, "%S, t.%I, %S", from, change->names[i], change->values[i]);
    }
    return sql_make(work->arena,
                    "INSERT INTO %S (%S) SELECT %S FROM ONLY %T t JOIN due ON t.ctid = due.at ON CONFLICT DO "
                    "NOTHING",
                    change->kept, into, from, leaf);
}

static void undo_batches(struct plan_work *work, const struct change *change, struct plan_step *step)
{
    struct plan_action *action = plan_undo(work, step, PLAN_BATCHES, PLAN_RETRY_LONG);
    struct banyan_str set = BANYAN_STR(""), still = BANYAN_STR(""), differs = BANYAN_STR("");

    for (size_t i = 0; i < change->count; i++) {
        struct banyan_str old = kept_column(work, "old", change->names[i]);
        struct banyan_str new = kept_column(work, "new", change->names[i]);
        const char *text = as_text(change->table, change->names[i]);

        set = sql_make(work->arena, "%S%s%I = (SELECT k.%S FROM %S k WHERE %S)", set, i > 0 ? ", " : "",
                       change->names[i], old, change->kept, same_key(work, change));
        still = sql_make(work->arena, "%S AND t.%I%s IS NOT DISTINCT FROM k.%S%s", still, change->names[i], text, new,
                         text);
        differs = sql_make(work->arena, "%S%sk.%S%s IS DISTINCT FROM k.%S%s", differs, i > 0 ? " OR " : "", old, text,
                           new, text);
    }
    action->batches =
        (struct plan_batches){.table = step->act.batches.table,
                              .set = set,
                              .needs = sql_make(work->arena, "EXISTS (SELECT FROM %S k WHERE %S%S AND (%S))",
                                                change->kept, same_key(work, change), still, differs),
                              .keep = BANYAN_STR("")};
}

/* The batches of every leaf.  *needs* is false for a row that was written. */
static void write_batches(struct plan_work *work, const struct change *change)
{
    const struct catalog_table *itself[] = {change->table}, **leaves = itself;
    struct banyan_str set = BANYAN_STR(""), needs;
    size_t count = 1;

    for (size_t i = 0; i < change->count; i++)
        set = sql_make(work->arena, "%S%s%I = %S", set, i > 0 ? ", " : "", change->names[i], change->values[i]);
    needs = sql_make(work->arena, "(%S) AND NOT EXISTS (SELECT FROM %S k WHERE %S)", change->condition, change->kept,
                     same_key(work, change));
    if (change->table->kind == 'p')
        plan_leaves(work, change->table, &leaves, &count);
    for (size_t i = 0; i < count && plan_goes_on(work); i++) {
        struct plan_step *step = plan_add(work, PLAN_BACKFILL, "update-rows", PLAN_BATCHES, PLAN_RETRY_LONG);

        step->title = banyan_arena_printf(work->arena, "the rows of %.*s, page by page, their old values kept",
                                          (int)leaves[i]->shown.size, leaves[i]->shown.data);
        step->act.batches = (struct plan_batches){.table = sql_make(work->arena, "%T", leaves[i]),
                                                  .set = set,
                                                  .needs = needs,
                                                  .keep = keep_sql(work, change, leaves[i])};
        undo_batches(work, change, step);
    }
}

static bool is_key_column(const struct change *change, struct banyan_str name)
{
    for (size_t i = 0; i < change->key_count; i++)
        if (banyan_str_equal(change->keys[i], name))
            return true;
    return false;
}

/* One table, or one tree of partitions. */
static void write_one(struct plan_work *work, struct change *change)
{
    struct plan_step *step;

    if (!read_key(work, change)) {
        plan_refuse(work,
                    "%.*s has no key (unique, NOT NULL, of types of PostgreSQL's own): values that are overwritten "
                    "cannot be kept; give it one, or "
                    "write -- banyan: allow before the statement",
                    (int)change->table->shown.size, change->table->shown.data);
        return;
    }
    for (size_t i = 0; i < change->count; i++)
        if (is_key_column(change, change->names[i])) {
            plan_as_written(work, "it changes the key by which its rows are found again");
            return;
        }
    plan_rules(work, change->table, '2');
    if (change->table->trigger_count > 0)
        plan_note(work,
                  "triggers of %.*s fire for the rows that are changed, as they do for the statement in one piece",
                  (int)change->table->shown.size, change->table->shown.data);
    change->kept = kept_name(work, change->table, work->of);
    make_kept(work, change);
    write_batches(work, change);
    step = plan_add(work, PLAN_BACKFILL, "drop-mark-trigger", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "new rows of %.*s are not marked any more",
                                      (int)change->table->shown.size, change->table->shown.data);
    drop_marks(work, change, &step->act);
}

/* Children by INHERITS have keys and triggers of their own: one key may be in several of them. */
static void write_kept(struct plan_work *work, struct change *change)
{
    const struct catalog_table **leaves = NULL;
    size_t count = 0;

    if (change->only || change->table->kind == 'p' || change->table->child_count == 0) {
        write_one(work, change);
        return;
    }
    plan_leaves(work, change->table, &leaves, &count);
    change->only = true;
    for (size_t i = 0; i < count && plan_goes_on(work); i++) {
        struct change *one = banyan_arena_alloc(work->arena, sizeof(*one));

        *one = *change;
        one->table = leaves[i];
        write_one(work, one);
    }
}

/* ---- UPDATE ---- */

/* SELECT *value* FROM (SELECT t.*) AS alias, from… WHERE condition; all parts but the alias may be missing. */
struct query {
    PgQuery__Node *value, *condition;
    const char *alias;
    PgQuery__Node *const *from;
    size_t from_count;
};

static struct banyan_str query_sql(struct plan_work *work, const struct query *query)
{
    struct banyan_str text = sql_make(
        work->arena, "SELECT %S FROM (SELECT t.*) AS %i",
        query->value == NULL ? BANYAN_STR("") : node_deparse_expression(query->value, work->arena), query->alias);

    if (query->from_count > 0) {
        static const char head[] = "SELECT FROM ";
        PgQuery__SelectStmt select = PG_QUERY__SELECT_STMT__INIT;
        PgQuery__Node node = PG_QUERY__NODE__INIT;
        struct banyan_str from;

        select.from_clause = (PgQuery__Node **)query->from; /* it is only read */
        select.n_from_clause = query->from_count;
        select.limit_option = PG_QUERY__LIMIT_OPTION__LIMIT_OPTION_DEFAULT;
        select.op = PG_QUERY__SET_OPERATION__SETOP_NONE;
        node.node_case = PG_QUERY__NODE__NODE_SELECT_STMT;
        node.select_stmt = &select;
        from = node_deparse(&node, work->arena);
        if (from.size <= sizeof(head) - 1 || memcmp(from.data, head, sizeof(head) - 1) != 0)
            return (struct banyan_str){NULL, 0};
        text = sql_make(work->arena, "%S, %S", text,
                        (struct banyan_str){from.data + sizeof(head) - 1, from.size - (sizeof(head) - 1)});
    }
    if (query->condition != NULL)
        text = sql_make(work->arena, "%S WHERE %S", text, node_deparse_expression(query->condition, work->arena));
    return text;
}

static enum effect_certainty is_volatile(struct plan_work *work, const PgQuery__Node *expression)
{
    struct effect effect = {.verdict = EFFECT_UNDERSTOOD};
    struct effect_work looking = {
        .statement = work->statement, .catalog = work->catalog, .arena = work->arena, .ret = &effect, .err = work->err};
    enum effect_certainty certainty = effect_is_volatile(&looking, expression);

    if (work->st == BANYAN_OK)
        work->st = looking.st;
    return certainty;
}

/* What makes it unfit for batches; NULL: nothing. */
static const char *unfit(struct plan_work *work, const PgQuery__UpdateStmt *statement,
                         const struct catalog_table *table)
{
    if (statement->with_clause != NULL || statement->n_returning_list > 0)
        return "an UPDATE with WITH or RETURNING is not done in batches";
    if (statement->n_target_list > COLUMNS_MAX)
        return "an UPDATE of so many columns is not done in batches";
    for (size_t i = 0; i < statement->n_from_clause; i++)
        if (node_reads(&statement->from_clause[i]->base, table->name))
            return "it reads the table that it changes: in batches it would see what it wrote";
    if (statement->where_clause != NULL && node_reads(&statement->where_clause->base, table->name))
        return "it reads the table that it changes: in batches it would see what it wrote";
    for (size_t i = 0; i < statement->n_target_list; i++) {
        const PgQuery__ResTarget *target = statement->target_list[i]->res_target;

        if (target->n_indirection > 0 || target->val == NULL ||
            target->val->node_case == PG_QUERY__NODE__NODE_MULTI_ASSIGN_REF ||
            target->val->node_case == PG_QUERY__NODE__NODE_SET_TO_DEFAULT)
            return "SET of a part of a column, of several at once, or to DEFAULT is not done in batches";
        if (node_reads(&target->val->base, table->name))
            return "it reads the table that it changes: in batches it would see what it wrote";
        if (is_volatile(work, target->val) != EFFECT_NO)
            return "its values differ each time that they are computed: what was written could not be told from what "
                   "others wrote";
    }
    return NULL;
}

static void update(struct plan_work *work, const PgQuery__UpdateStmt *statement)
{
    struct catalog_table *table = NULL;
    struct change change = {.condition = BANYAN_STR("true")};
    const PgQuery__RangeVar *range = statement->relation;
    struct query query = {.alias = range->alias != NULL ? range->alias->aliasname : range->relname,
                          .from = statement->from_clause,
                          .from_count = statement->n_from_clause};
    const char *why;

    work->st = catalog_table(work->catalog, banyan_str_of(range->schemaname), banyan_str_of(range->relname), &table,
                             work->err);
    if (!plan_goes_on(work))
        return;
    if (table == NULL) {
        plan_refuse(work, "relation \"%s\" does not exist", range->relname);
        return;
    }
    why = table->kind == 'v' ? "it writes through a view" : unfit(work, statement, table);
    if (why != NULL || table->made_here) {
        plan_as_written(work, why == NULL ? "the table is new" : why);
        return;
    }
    change.table = table;
    change.only = !range->inh;
    query.condition = statement->where_clause;
    if (query.from_count > 0)
        change.condition = sql_make(work->arena, "EXISTS (%S)", query_sql(work, &query));
    else if (query.condition != NULL) {
        struct query whole = {.alias = query.alias, .value = query.condition};

        change.condition = sql_make(work->arena, "(%S)", query_sql(work, &whole));
        query.condition = NULL;
    }
    for (size_t i = 0; i < statement->n_target_list; i++) {
        const PgQuery__ResTarget *target = statement->target_list[i]->res_target;

        query.value = target->val;
        change.names[change.count] = banyan_str_of(target->name);
        /* A bare constant has the type of its column; behind a SELECT it would be text. */
        change.values[change.count++] =
            target->val->node_case == PG_QUERY__NODE__NODE_A_CONST
                ? node_deparse_expression(target->val, work->arena)
                : sql_make(work->arena, "(%S%s)", query_sql(work, &query), query.from_count > 0 ? " LIMIT 1" : "");
    }
    write_kept(work, &change);
}

/* ---- INSERT ---- */

static bool overwrites(const PgQuery__InsertStmt *statement)
{
    return statement->on_conflict_clause != NULL &&
           statement->on_conflict_clause->action == PG_QUERY__ON_CONFLICT_ACTION__ONCONFLICT_UPDATE;
}

/* The keys of what is inserted are kept: an undo takes away just that. */
static void insert_kept(struct plan_work *work, struct change *change, const PgQuery__InsertStmt *statement)
{
    struct plan_step *step = plan_add(work, PLAN_BACKFILL, "insert-rows", PLAN_TRANSACTION, PLAN_RETRY_LONG);
    struct banyan_str keys = BANYAN_STR(""), columns = BANYAN_STR("");
    struct plan_action *action;
    (void)statement;

    for (size_t i = 0; i < change->key_count; i++) {
        const char *comma = i > 0 ? ", " : "";

        keys = sql_make(work->arena, "%S%s%I", keys, comma, change->keys[i]);
        columns = sql_make(work->arena, "%S%st.%I AS %S", columns, comma, change->keys[i],
                           kept_column(work, "key", change->keys[i]));
    }
    step->title = banyan_arena_printf(work->arena, "new rows of %.*s; their keys are kept",
                                      (int)change->table->shown.size, change->table->shown.data);
    plan_sql(work, &step->act, "CREATE TABLE %S AS SELECT %S FROM %T t WITH NO DATA", change->kept, columns,
             change->table);
    plan_sql(work, &step->act, "WITH made AS (%S RETURNING %S) INSERT INTO %S SELECT * FROM made",
             work->statement->text, keys, change->kept);
    action = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_LONG);
    plan_sql(work, action, "DELETE FROM %s%T t USING %S k WHERE %S", change->table->kind == 'p' ? "" : "ONLY ",
             change->table, change->kept, same_key(work, change));
    plan_sql(work, action, "DROP TABLE %S", change->kept);
    step = plan_add(work, PLAN_CLEANUP, "drop-kept-values", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "the keys of the rows that were inserted into %.*s",
                                      (int)change->table->shown.size, change->table->shown.data);
    plan_sql(work, &step->act, "DROP TABLE IF EXISTS %S", change->kept);
}

static void insert(struct plan_work *work, const PgQuery__InsertStmt *statement)
{
    struct catalog_table *table = NULL;
    struct change change = {.count = 0};
    struct plan_step *step;

    work->st = catalog_table(work->catalog, banyan_str_of(statement->relation->schemaname),
                             banyan_str_of(statement->relation->relname), &table, work->err);
    if (!plan_goes_on(work))
        return;
    if (table == NULL || overwrites(statement) || statement->with_clause != NULL || statement->n_returning_list > 0 ||
        table->kind == 'v') {
        plan_as_written(work, "an INSERT that overwrites rows, or with WITH or RETURNING, cannot be undone");
        return;
    }
    change.table = table;
    plan_rules(work, table, '3');
    if (!table->made_here && read_key(work, &change)) {
        change.kept = kept_name(work, table, work->of);
        insert_kept(work, &change, statement);
        return;
    }
    step = plan_add(work, PLAN_BACKFILL, "insert-rows", PLAN_TRANSACTION, PLAN_RETRY_LONG);
    step->title = banyan_arena_printf(work->arena, "new rows of %.*s", (int)table->shown.size, table->shown.data);
    plan_sql(work, &step->act, "%S", work->statement->text);
    if (table->made_here)
        return; /* the table goes with them */
    step->final = true;
    plan_note(work,
              "%.*s has no key: the rows that are inserted cannot be told from others, no rollback takes them away",
              (int)table->shown.size, table->shown.data);
}

bool plan_rows(struct plan_work *work)
{
    const PgQuery__Node *node = work->statement->tree;

    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
        update(work, node->update_stmt);
        return true;
    case PG_QUERY__NODE__NODE_INSERT_STMT:
        insert(work, node->insert_stmt);
        return true;
    case PG_QUERY__NODE__NODE_DELETE_STMT:
        plan_as_written(work, "rows that are deleted are not kept");
        return true;
    default:
        return false;
    }
}

/* ---- directives that stand alone ---- */

/* Old values are NULL, and so is what an undo writes; the kept table says which rows it is about. */
static void fill_alone(struct plan_work *work, const struct directive *directive)
{
    struct catalog_table *table = NULL;
    struct change change = {.count = 1};

    work->st = catalog_table(work->catalog, directive->schema, directive->table, &table, work->err);
    if (!plan_goes_on(work))
        return;
    if (table == NULL || (table->known && !table->stale && catalog_column(table, directive->column) == NULL)) {
        plan_refuse(work, "line %u: backfill of %.*s.%.*s, which does not exist", directive->place.line,
                    (int)directive->table.size, directive->table.data, (int)directive->column.size,
                    directive->column.data);
        return;
    }
    change.table = table;
    change.names[0] = directive->column;
    change.values[0] = plan_value(work, table, directive->value);
    change.condition = sql_make(work->arena, "t.%I IS NULL AND %S IS NOT NULL", directive->column, change.values[0]);
    write_kept(work, &change);
}

void plan_rows_finish(struct plan_work *work)
{
    for (size_t i = 0; i < work->migration->directive_count && plan_goes_on(work); i++) {
        const struct directive *directive = &work->migration->directives[i];

        if (work->directive_used[i] || directive->kind != DIRECTIVE_BACKFILL)
            continue;
        work->directive_used[i] = true;
        work->of = work->migration->statement_count + i; /* no statement: a name of its own for what is kept */
        fill_alone(work, directive);
    }
    work->of = work->migration->statement_count == 0 ? 0 : work->migration->statement_count - 1;
}
