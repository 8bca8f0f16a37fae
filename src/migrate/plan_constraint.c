/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Constraints: what is new is told first and proven later, what is a key is built first and named later.
 *
 *   CHECK, FOREIGN KEY    contract  ADD … NOT VALID, then VALIDATE in a step of its own
 *     FOREIGN KEY on a partitioned table: each leaf so, then the parent's, which finds them proven
 *   UNIQUE, PRIMARY KEY   backfill  the index CONCURRENTLY
 *                         contract  ADD … USING INDEX; a PRIMARY KEY after NOT NULL was proven
 *     on a partitioned table: each leaf so, then ONLY the parent's, then each attached
 *   EXCLUDE               cannot be built without waiting: as written
 *
 * DROP loosens (expand), but that of a key (contract): new code may lean on it being gone, old code on its being there.
 */
#include <pg_query.h>
#include <string.h>

#include "migrate/plan_int.h"

#define CONSTR(name) PG_QUERY__CONSTR_TYPE__CONSTR_##name
#define AT(name) PG_QUERY__ALTER_TABLE_TYPE__AT_##name

static struct banyan_str titled(struct plan_work *work, const char *what, struct banyan_str name,
                                const struct catalog_table *table)
{
    return banyan_arena_printf(work->arena, "%s %.*s of %.*s", what, (int)name.size, name.data, (int)table->shown.size,
                               table->shown.data);
}

/* ---- definitions ---- */

/* "CHECK (a > 0)": the constraint as SQL, without its name and NOT VALID; data NULL: it does not become SQL again. */
static struct banyan_str definition_of(struct plan_work *work, const PgQuery__Constraint *constraint)
{
    const struct catalog_table *referenced = plan_find(work, constraint->pktable, true);
    PgQuery__Constraint copy = *constraint;
    PgQuery__RangeVar other = PG_QUERY__RANGE_VAR__INIT;
    PgQuery__AlterTableCmd command = PG_QUERY__ALTER_TABLE_CMD__INIT;
    PgQuery__Node def = PG_QUERY__NODE__INIT;

    copy.conname = (char *)"c"; /* it is only read */
    copy.skip_validation = false;
    copy.initially_valid = true;
    if (referenced != NULL) {
        other = *constraint->pktable;
        other.schemaname = (char *)referenced->schema.data; /* it is only read */
        copy.pktable = &other;
    }
    def.node_case = PG_QUERY__NODE__NODE_CONSTRAINT;
    def.constraint = &copy;
    command.subtype = AT(AddConstraint);
    command.def = &def;
    command.behavior = PG_QUERY__DROP_BEHAVIOR__DROP_RESTRICT;
    return node_deparse_command(&command, "ADD CONSTRAINT c ", work->arena);
}

/* The server's own text, without the words that say that it is not proven. */
static struct banyan_str bare(struct banyan_str definition)
{
    static const char tail[] = " NOT VALID";
    const size_t size = sizeof(tail) - 1;

    if (definition.size > size && memcmp(definition.data + definition.size - size, tail, size) == 0)
        definition.size -= size;
    return definition;
}

static bool is_foreign(struct banyan_str definition)
{
    return definition.size > 11 && strncasecmp(definition.data, "FOREIGN KEY", 11) == 0;
}

/* The table that a text of a foreign key names. */
static struct catalog_table *referenced_by(struct plan_work *work, struct banyan_str definition)
{
    struct banyan_str sql = sql_make(work->arena, "ALTER TABLE t ADD CONSTRAINT c %S", definition);
    PgQueryProtobufParseResult result = pg_query_parse_protobuf(sql.data);
    PgQuery__ParseResult *tree = NULL;
    struct catalog_table *table = NULL;

    if (result.error == NULL)
        tree = pg_query__parse_result__unpack(NULL, result.parse_tree.len, (const uint8_t *)result.parse_tree.data);
    if (tree != NULL && tree->n_stmts == 1 && tree->stmts[0]->stmt->node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_STMT)
        table = plan_find(
            work, tree->stmts[0]->stmt->alter_table_stmt->cmds[0]->alter_table_cmd->def->constraint->pktable, true);
    if (tree != NULL)
        pg_query__parse_result__free_unpacked(tree, NULL);
    pg_query_free_protobuf_parse_result(result);
    return table;
}

/* ---- CHECK and FOREIGN KEY ---- */

struct checked {
    const struct catalog_table *table, *referenced; /* referenced NULL: a CHECK */
    struct banyan_str name, definition;
    const char *only; /* "ONLY ", or nothing */
    bool validate;
    enum plan_phase validate_in;
};

static void lock_both(struct plan_work *work, struct plan_action *action, const struct checked *checked,
                      const char *mode)
{
    const struct catalog_table *tables[] = {checked->table, checked->referenced};

    if (action != NULL && checked->referenced != NULL && checked->referenced != checked->table)
        plan_lock_tables(work, action, tables, 2, mode);
}

static void undo_by_drop(struct plan_sink *sink, const struct checked *checked)
{
    struct plan_action *action = plan_emit_undo(sink, PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    if (action == NULL)
        return;
    plan_sql(sink->work, action, "ALTER TABLE %s%T DROP CONSTRAINT IF EXISTS %I", checked->only, checked->table,
             checked->name);
    lock_both(sink->work, action, checked, "ACCESS EXCLUSIVE");
}

/* Who drops it, by what it locks: another foreign key of the same name may reach another table. */
static struct banyan_str locked_by(struct plan_work *work, const struct checked *checked)
{
    struct banyan_str other = checked->referenced == NULL ? BANYAN_STR("") : checked->referenced->shown;

    return banyan_arena_printf(work->arena, "%.*s>%.*s", (int)checked->table->shown.size, checked->table->shown.data,
                               (int)other.size, other.data);
}

/* One of the same name was dropped above: in one transaction with it, so that there is always one. */
static bool add_where_dropped(struct plan_sink *sink, const struct checked *checked, struct banyan_str sql)
{
    struct plan_work *work = sink->work;
    struct plan_step *step =
        sink->undoes != NULL ? NULL : plan_dropped_by(work, "CONSTRAINT", checked->name, locked_by(work, checked));

    if (step != NULL && step->phase != sink->phase)
        plan_note(work,
                  "from start to complete no constraint %.*s holds: the old one goes first, so that new code can write "
                  "what it forbids, the new one comes when no old code is left; rows that do not fit it then stop "
                  "complete",
                  (int)checked->name.size, checked->name.data);
    if (step == NULL || step->phase != sink->phase || step->undo_count == 0)
        return false;
    plan_sql(work, &step->act, "%S", sql);
    plan_sql_first(work, &step->undo[0],
                   sql_make(work->arena, "ALTER TABLE %s%T DROP CONSTRAINT IF EXISTS %I", checked->only, checked->table,
                            checked->name));
    lock_both(work, &step->undo[0], checked, "ACCESS EXCLUSIVE"); /* in the usual order, in front */
    step->name = "replace-constraint";
    step->title = titled(work, "another constraint", checked->name, checked->table);
    return true;
}

static void add_not_valid(struct plan_sink *sink, const struct checked *checked)
{
    struct plan_work *work = sink->work;
    struct banyan_str sql = sql_make(work->arena, "ALTER TABLE %s%T ADD CONSTRAINT %I %S NOT VALID", checked->only,
                                     checked->table, checked->name, checked->definition);
    struct plan_action *action;

    if (add_where_dropped(sink, checked, sql))
        return;
    action = plan_emit(sink, "add-constraint", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                       titled(work, "the constraint", checked->name, checked->table));
    plan_sql(work, action, "%S", sql);
    lock_both(work, action, checked, "SHARE ROW EXCLUSIVE");
    undo_by_drop(sink, checked);
}

static void emit_simple(struct plan_sink *sink, const struct checked *checked)
{
    struct plan_work *work = sink->work;

    add_not_valid(sink, checked);
    if (!checked->validate)
        return;
    sink->phase = sink->undoes != NULL ? sink->phase : checked->validate_in;
    plan_sql(work,
             plan_emit(sink, "validate-constraint", PLAN_TRANSACTION, PLAN_RETRY_LONG,
                       titled(work, "the old rows, read against", checked->name, checked->table)),
             "ALTER TABLE %T VALIDATE CONSTRAINT %I", checked->table, checked->name);
}

/* NOT VALID is not known there before 18: leaf by leaf; the parent's takes those that are proven as its own. */
static void emit_by_leaves(struct plan_sink *sink, const struct checked *checked)
{
    struct plan_work *work = sink->work;
    const struct catalog_table **leaves;
    size_t count;
    struct plan_action *action;

    plan_leaves(work, checked->table, &leaves, &count);
    for (size_t i = 0; i < count && plan_goes_on(work); i++) {
        struct checked leaf = *checked;

        leaf.table = leaves[i];
        leaf.validate = true;
        emit_simple(sink, &leaf);
    }
    action = plan_emit(sink, "add-constraint", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                       titled(work, "the constraint", checked->name, checked->table));
    plan_sql(work, action, "ALTER TABLE %T ADD CONSTRAINT %I %S", checked->table, checked->name, checked->definition);
    lock_both(work, action, checked, "ACCESS EXCLUSIVE"); /* the leaves' triggers on the referenced one go */
    undo_by_drop(sink, checked);
}

static void emit_checked(struct plan_sink *sink, const struct checked *checked)
{
    if (checked->referenced != NULL && checked->table->kind == 'p' &&
        catalog_server_version(sink->work->catalog) < 180000)
        emit_by_leaves(sink, checked);
    else
        emit_simple(sink, checked);
}

void plan_constraint_checked(struct plan_work *work, const struct catalog_table *table, struct banyan_str name,
                             struct banyan_str definition, enum plan_phase add_in, enum plan_phase validate_in)
{
    struct plan_sink sink = {.work = work, .phase = add_in};
    struct checked checked = {.table = table,
                              .name = name,
                              .definition = definition,
                              .only = "",
                              .validate = true,
                              .validate_in = validate_in};

    if (is_foreign(definition)) {
        checked.referenced = referenced_by(work, definition);
        if (checked.referenced == NULL) {
            plan_refuse(work, "the table that the foreign key %.*s references is not known", (int)name.size, name.data);
            return;
        }
    }
    emit_checked(&sink, &checked);
}

/* Columns that are not there yet cannot be asked for, those that change are the swap's business. */
enum use { USE_OLD, USE_NEW, USE_CHANGED };
static enum use columns_used(const struct catalog_table *table, const PgQuery__Constraint *constraint)
{
    enum use use = USE_OLD;

    for (size_t i = 0; i < table->column_count; i++) {
        const struct catalog_column *column = &table->columns[i];
        bool used = node_mentions(&constraint->base, column->name);

        for (size_t k = 0; k < constraint->n_keys + constraint->n_fk_attrs + constraint->n_including; k++) {
            const PgQuery__Node *node = k < constraint->n_keys ? constraint->keys[k]
                                        : k < constraint->n_keys + constraint->n_fk_attrs
                                            ? constraint->fk_attrs[k - constraint->n_keys]
                                            : constraint->including[k - constraint->n_keys - constraint->n_fk_attrs];

            used |= banyan_str_equal(banyan_str_of(node->string->sval), column->name);
        }
        if (used && column->changed_here)
            return USE_CHANGED;
        if (used && column->made_here)
            use = USE_NEW;
    }
    return use;
}

static void check_rows(struct plan_work *work, const struct catalog_table *table, struct banyan_str name,
                       struct banyan_str sql)
{
    struct plan_check *check = plan_check_add(work, PLAN_CONTRACT);

    check->sql = sql;
    check->message = banyan_arena_printf(work->arena, "rows of %.*s do not fit the constraint %.*s",
                                         (int)table->shown.size, table->shown.data, (int)name.size, name.data);
    check->hint = BANYAN_STR("correct them, then go on");
}

static const struct catalog_column *only_column(const struct catalog_table *table, const PgQuery__Node *expression)
{
    const struct catalog_column *found = NULL;

    for (size_t i = 0; i < table->column_count; i++) {
        if (!node_mentions(&expression->base, table->columns[i].name))
            continue;
        if (found != NULL)
            return NULL;
        found = &table->columns[i];
    }
    return found;
}

static void add_check(struct plan_work *work, const struct catalog_table *table, const PgQuery__Constraint *constraint,
                      struct checked *checked, enum use use)
{
    const struct catalog_column *column = only_column(table, constraint->raw_expr);

    if (checked->name.size == 0)
        checked->name = plan_server_name(work, table, column == NULL ? BANYAN_STR("") : column->name, "check");
    if (checked->validate && use == USE_OLD)
        check_rows(work, table, checked->name,
                   sql_make(work->arena, "SELECT count(*) FROM %s%T WHERE NOT (%S)", checked->only, table,
                            node_deparse_expression(constraint->raw_expr, work->arena)));
}

static struct banyan_str joined(struct plan_work *work, PgQuery__Node *const *names, size_t count,
                                struct banyan_str text)
{
    for (size_t i = 0; i < count; i++)
        text = banyan_arena_printf(work->arena, "%.*s%s%s", (int)text.size, text.data, text.size > 0 ? "_" : "",
                                   names[i]->string->sval);
    return text;
}

/* The columns that a foreign key names on the other side, or the primary key's. */
static size_t referenced_columns(const struct catalog_table *table, const PgQuery__Constraint *constraint,
                                 struct plan_work *work, struct banyan_str **ret)
{
    static const char sql[] = "SELECT a.attname FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY k (number, "
                              "place) JOIN pg_attribute a ON a.attnum = k.number WHERE i.indrelid = $1::oid AND "
                              "a.attrelid = i.indrelid AND i.indisprimary ORDER BY k.place";
    struct banyan_str oid = banyan_arena_printf(work->arena, "%u", (unsigned)table->oid);
    size_t count = constraint->n_pk_attrs;

    if (count == 0) {
        *ret = plan_ask(work, sql, &oid, 1, &count);
        return count;
    }
    *ret = banyan_arena_zalloc(work->arena, count * sizeof(**ret));
    for (size_t i = 0; i < count; i++)
        (*ret)[i] = banyan_str_of(constraint->pk_attrs[i]->string->sval);
    return count;
}

static void check_foreign(struct plan_work *work, const struct checked *checked, const PgQuery__Constraint *constraint)
{
    struct banyan_str *names = NULL, all = BANYAN_STR(""), none = BANYAN_STR(""), equal = BANYAN_STR("");
    size_t count = referenced_columns(checked->referenced, constraint, work, &names);

    if (count == 0 || count != constraint->n_fk_attrs || checked->referenced->made_here)
        return;
    for (size_t i = 0; i < count; i++) {
        const char *own = constraint->fk_attrs[i]->string->sval;
        const char *and = i > 0 ? " AND " : "";

        all = sql_make(work->arena, "%S%sc.%i IS NOT NULL", all, and, own);
        none = sql_make(work->arena, "%S%sc.%i IS NULL", none, and, own);
        equal = sql_make(work->arena, "%S%sp.%I = c.%i", equal, and, names[i], own);
    }
    if (constraint->fk_matchtype[0] == 'f')
        all = sql_make(work->arena, "NOT (%S)", none);
    check_rows(work, checked->table, checked->name,
               sql_make(work->arena, "SELECT count(*) FROM %T c WHERE %S AND NOT EXISTS (SELECT FROM %T p WHERE %S)",
                        checked->table, all, checked->referenced, equal));
}

static void add_foreign(struct plan_work *work, const struct catalog_table *table,
                        const PgQuery__Constraint *constraint, struct checked *checked, enum use use)
{
    checked->referenced = plan_find(work, constraint->pktable, true);
    if (checked->referenced == NULL) {
        plan_refuse(work, "relation \"%s\" does not exist", constraint->pktable->relname);
        return;
    }
    if (checked->name.size == 0)
        checked->name = plan_server_name(
            work, table, joined(work, constraint->fk_attrs, constraint->n_fk_attrs, BANYAN_STR("")), "fkey");
    if (checked->validate && use == USE_OLD)
        check_foreign(work, checked, constraint);
}

static bool is_only(const struct plan_work *work)
{
    const PgQuery__Node *node = work->statement->tree;

    return node->node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_STMT && !node->alter_table_stmt->relation->inh;
}

static void add_checked(struct plan_work *work, const struct catalog_table *table,
                        const PgQuery__Constraint *constraint, enum use use)
{
    struct plan_sink sink = {.work = work, .phase = use == USE_NEW ? PLAN_BACKFILL : PLAN_CONTRACT};
    struct checked checked = {.table = table,
                              .name = banyan_str_of(constraint->conname),
                              .definition = definition_of(work, constraint),
                              .only = is_only(work) ? "ONLY " : "",
                              .validate = !constraint->skip_validation,
                              .validate_in = sink.phase};

    if (checked.definition.data == NULL) {
        plan_as_written(work, "this form of constraint is not known to be added without waiting");
        return;
    }
    if (constraint->contype == CONSTR(CHECK))
        add_check(work, table, constraint, &checked, use);
    else
        add_foreign(work, table, constraint, &checked, use);
    if (plan_goes_on(work) && (constraint->contype == CONSTR(CHECK) || checked.referenced != NULL))
        emit_checked(&sink, &checked);
}

/* ---- UNIQUE and PRIMARY KEY ---- */

struct key {
    struct plan_sink *sink;
    enum plan_phase build_in, add_in;
    const char *kind;             /* "UNIQUE", "PRIMARY KEY" */
    const char *label;            /* of names that the server chooses */
    struct banyan_str columns;    /* of such a name */
    struct banyan_str definition; /* of the index: "USING btree (a)" */
    struct banyan_str inner;      /* of the constraint: "(a)" and what follows */
    struct banyan_str tail;       /* " DEFERRABLE" */
    struct banyan_str whole;      /* oid of the constraint that is brought back */
};

static void undo_key(struct key *key, const struct catalog_table *table, struct banyan_str name)
{
    struct plan_action *action = plan_emit_undo(key->sink, PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    if (action != NULL)
        plan_sql(key->sink->work, action, "ALTER TABLE %T DROP CONSTRAINT IF EXISTS %I", table, name);
}

static void key_of_index(struct key *key, const struct catalog_table *table, struct banyan_str name,
                         struct banyan_str index)
{
    struct plan_work *work = key->sink->work;

    key->sink->phase = key->add_in;
    plan_sql(work,
             plan_emit(key->sink, "add-key", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                       titled(work, "its index becomes the key", name, table)),
             "ALTER TABLE %T ADD CONSTRAINT %I %s USING INDEX %I%S", table, name, key->kind, index, key->tail);
    undo_key(key, table, name);
}

/* The part that a partition has of the key that is brought back, under the name that it has now. */
static struct banyan_str part_name(struct key *key, const struct catalog_table *child)
{
    struct plan_work *work = key->sink->work;
    struct banyan_str params[] = {banyan_arena_printf(work->arena, "%u", (unsigned)child->oid), key->whole};
    size_t rows = 0;
    struct banyan_str *cells = NULL;

    if (key->sink->undoes != NULL)
        cells =
            plan_ask(work,
                     "WITH RECURSIVE parts AS (SELECT oid, conrelid, conname FROM pg_constraint WHERE oid = $2::oid "
                     "UNION ALL SELECT c.oid, c.conrelid, c.conname FROM pg_constraint c JOIN parts p ON "
                     "c.conparentid = p.oid) SELECT conname FROM parts WHERE conrelid = $1::oid",
                     params, 2, &rows);
    return rows > 0 ? cells[0] : plan_server_name(work, child, key->columns, key->label);
}

static void emit_key(struct key *key, const struct catalog_table *table, struct banyan_str name)
{
    struct plan_work *work = key->sink->work;
    struct banyan_str *names;

    if (table->kind != 'p') {
        key->sink->phase = key->build_in;
        plan_emit_index(key->sink, table, name, true, key->definition);
        key_of_index(key, table, name, name);
        return;
    }
    names = banyan_arena_zalloc(work->arena, (table->child_count + 1) * sizeof(*names));
    for (size_t i = 0; i < table->child_count && plan_goes_on(work); i++) {
        const struct catalog_table *child = plan_by_oid(work, table->children[i]);

        if (child == NULL)
            continue;
        names[i] = part_name(key, child);
        emit_key(key, child, names[i]);
    }
    key->sink->phase = key->add_in;
    plan_sql(work,
             plan_emit(key->sink, "add-key", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                       titled(work, "still without its parts: the key", name, table)),
             "ALTER TABLE ONLY %T ADD CONSTRAINT %I %s %S%S", table, name, key->kind, key->inner, key->tail);
    undo_key(key, table, name); /* with its parts: those of them that are undone alone have none above */
    for (size_t i = 0; i < table->child_count && plan_goes_on(work); i++) {
        const struct catalog_table *child = plan_by_oid(work, table->children[i]);

        if (child == NULL)
            continue;
        plan_sql(work,
                 plan_emit(key->sink, "attach-index", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                           titled(work, "a part of it: the key", names[i], child)),
                 "ALTER INDEX %S ATTACH PARTITION %S", plan_relation(work, table, name),
                 plan_relation(work, child, names[i]));
        undo_key(key, table, name);
    }
}

static struct banyan_str listed(struct plan_work *work, PgQuery__Node *const *names, size_t count)
{
    struct banyan_str text = BANYAN_STR("");

    for (size_t i = 0; i < count; i++)
        text = sql_make(work->arena, "%S%s%i", text, i > 0 ? ", " : "", names[i]->string->sval);
    return text;
}

static struct banyan_str tail_of(struct plan_work *work, bool deferrable, bool deferred)
{
    return sql_make(work->arena, "%s%s", deferrable ? " DEFERRABLE" : "", deferred ? " INITIALLY DEFERRED" : "");
}

static void check_twice(struct plan_work *work, const struct catalog_table *table,
                        const PgQuery__Constraint *constraint)
{
    struct banyan_str keys = listed(work, constraint->keys, constraint->n_keys), present = BANYAN_STR("true");
    struct plan_check *check = plan_check_add(work, PLAN_BACKFILL);

    for (size_t i = 0; i < constraint->n_keys && !constraint->nulls_not_distinct; i++)
        present = sql_make(work->arena, "%S AND %i IS NOT NULL", present, constraint->keys[i]->string->sval);
    check->sql =
        sql_make(work->arena, "SELECT count(*) FROM (SELECT 1 FROM %T WHERE %S GROUP BY %S HAVING count(*) > 1) twice",
                 table, present, keys);
    check->message = banyan_arena_printf(work->arena, "keys of %.*s are there more than once", (int)table->shown.size,
                                         table->shown.data);
    check->hint = BANYAN_STR("remove the rows that are too many, then start again");
}

static void prove_not_null(struct plan_work *work, const struct catalog_table *table, PgQuery__Node *const *names,
                           size_t count, enum plan_phase phase)
{
    for (size_t i = 0; i < count && plan_goes_on(work); i++) {
        const struct catalog_column *column = catalog_column(table, banyan_str_of(names[i]->string->sval));

        if (column != NULL && !column->not_null)
            plan_not_null(work, table, column->name, phase, phase);
    }
}

static void use_index(struct plan_work *work, const struct catalog_table *table, const PgQuery__Constraint *constraint,
                      struct key *key)
{
    struct banyan_str index = banyan_str_of(constraint->indexname);
    struct banyan_str name = constraint->conname[0] != '\0' ? banyan_str_of(constraint->conname) : index;

    for (size_t i = 0; i < table->index_count; i++) {
        const struct catalog_table *relation = plan_by_oid(work, table->indexes[i].oid);
        struct plan_step *step;
        struct plan_sink undo = {.work = work};

        if (relation == NULL || !banyan_str_equal(relation->name, index))
            continue;
        for (size_t k = 0; key->kind[0] == 'P' && k < table->column_count; k++)
            if (catalog_columns_has(&table->indexes[i].keys, table->columns[k].number) && !table->columns[k].not_null)
                plan_not_null(work, table, table->columns[k].name, key->add_in, key->add_in);
        key_of_index(key, table, name, index);
        step = &work->ret->steps[work->ret->step_count - 1];
        undo.undoes = step;
        if (table->indexes[i].definition.data != NULL && relation->oid < CATALOG_MADE)
            plan_restore_index(&undo, table, index, table->indexes[i].definition);
        return;
    }
    plan_as_written(work, "its index is not known");
}

static void add_key(struct plan_work *work, const struct catalog_table *table, const PgQuery__Constraint *constraint,
                    enum use use)
{
    bool primary = constraint->contype == CONSTR(PRIMARY);
    struct plan_sink sink = {.work = work, .phase = PLAN_BACKFILL};
    struct key key = {.sink = &sink,
                      .build_in = PLAN_BACKFILL,
                      .add_in = use == USE_NEW ? PLAN_BACKFILL : PLAN_CONTRACT,
                      .kind = primary ? "PRIMARY KEY" : "UNIQUE",
                      .label = primary ? "pkey" : "key",
                      .columns = BANYAN_STR("")};
    struct banyan_str name = banyan_str_of(constraint->conname);

    key.tail = tail_of(work, constraint->deferrable, constraint->initdeferred);
    if (constraint->indexname[0] != '\0') {
        use_index(work, table, constraint, &key);
        return;
    }
    if (constraint->n_options > 0) {
        plan_as_written(work, "an index with storage parameters is not known to be built without waiting");
        return;
    }
    if (!primary)
        key.columns = joined(work, constraint->including, constraint->n_including,
                             joined(work, constraint->keys, constraint->n_keys, BANYAN_STR("")));
    key.inner = sql_make(work->arena, "(%S)", listed(work, constraint->keys, constraint->n_keys));
    if (constraint->n_including > 0)
        key.inner = sql_make(work->arena, "%S INCLUDE (%S)", key.inner,
                             listed(work, constraint->including, constraint->n_including));
    key.definition = sql_make(work->arena, "USING btree %S%s", key.inner,
                              constraint->nulls_not_distinct ? " NULLS NOT DISTINCT" : "");
    if (constraint->nulls_not_distinct && table->kind == 'p') {
        plan_as_written(work, "NULLS NOT DISTINCT on a partitioned table is not known to be built without waiting");
        return;
    }
    if (constraint->indexspace[0] != '\0')
        key.definition = sql_make(work->arena, "%S TABLESPACE %i", key.definition, constraint->indexspace);
    if (name.size == 0)
        name = plan_server_name(work, table, key.columns, key.label);
    if (use == USE_OLD)
        check_twice(work, table, constraint);
    if (primary)
        prove_not_null(work, table, constraint->keys, constraint->n_keys, key.add_in);
    emit_key(&key, table, name);
}

/* ---- DROP ---- */

static const struct catalog_index *index_of(const struct catalog_table *table, uint32_t oid)
{
    for (size_t i = 0; i < table->index_count; i++)
        if (table->indexes[i].oid == oid)
            return &table->indexes[i];
    return NULL;
}

/* "USING btree (a)" of the server's text of an index. */
static struct banyan_str using_of(struct banyan_str definition)
{
    const char *at = definition.data == NULL ? NULL : memmem(definition.data, definition.size, "USING ", 6);

    return at == NULL ? (struct banyan_str){NULL, 0}
                      : (struct banyan_str){at, definition.size - (size_t)(at - definition.data)};
}

static bool has_words(struct banyan_str text, const char *words)
{
    return text.data != NULL && memmem(text.data, text.size, words, strlen(words)) != NULL;
}

/* The columns of a key as they stand in the names of its parts. */
static struct banyan_str key_columns(struct plan_work *work, const struct catalog_index *index)
{
    struct banyan_str oid = banyan_arena_printf(work->arena, "%u", (unsigned)index->oid);

    return plan_ask_one(work,
                        "SELECT coalesce(string_agg(attname, '_' ORDER BY attnum), '') FROM pg_attribute WHERE "
                        "attrelid = $1::oid AND attnum > 0",
                        oid);
}

static void restore_key(struct plan_work *work, struct plan_step *step, const struct catalog_table *table,
                        const struct catalog_constraint *constraint)
{
    const struct catalog_index *index = index_of(table, constraint->index);
    bool primary = constraint->kind == CATALOG_PRIMARY;
    struct plan_sink sink = {.work = work, .undoes = step};
    struct key key = {.sink = &sink, .kind = primary ? "PRIMARY KEY" : "UNIQUE", .label = primary ? "pkey" : "key"};
    const char *paren;

    if (index == NULL || using_of(index->definition).data == NULL || constraint->definition.data == NULL)
        return;
    key.definition = using_of(index->definition);
    key.tail = tail_of(work, has_words(constraint->definition, " DEFERRABLE"),
                       has_words(constraint->definition, " INITIALLY DEFERRED"));
    key.columns = primary ? BANYAN_STR("") : key_columns(work, index);
    key.whole = plan_ask_one(work, "SELECT oid FROM pg_constraint WHERE conindid = $1::oid AND contype IN ('p', 'u')",
                             banyan_arena_printf(work->arena, "%u", (unsigned)index->oid));
    paren = memchr(constraint->definition.data, '(', constraint->definition.size);
    key.inner =
        paren == NULL
            ? BANYAN_STR("")
            : (struct banyan_str){paren, constraint->definition.size - (size_t)(paren - constraint->definition.data)};
    key.inner.size -= key.inner.size >= key.tail.size ? key.tail.size : 0;
    emit_key(&key, table, constraint->name);
}

static void drop_key(struct plan_work *work, const struct catalog_table *table,
                     const struct catalog_constraint *constraint)
{
    struct plan_step *step;

    for (size_t i = 0; i < table->reference_count; i++)
        if (table->references[i].index == constraint->index && constraint->index != 0) {
            plan_refuse(work, "the key %.*s is referenced by the foreign key %.*s: drop that first",
                        (int)constraint->name.size, constraint->name.data, (int)table->references[i].name.size,
                        table->references[i].name.data);
            return;
        }
    step = plan_add(work, PLAN_CONTRACT, "drop-constraint", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = titled(work, "away with the key", constraint->name, table);
    plan_sql(work, &step->act, "ALTER TABLE %T DROP CONSTRAINT %I", table, constraint->name);
    /* A key WITHOUT OVERLAPS (18) rests on an exclusion, too. */
    if (constraint->kind != CATALOG_EXCLUSION && !has_words(constraint->definition, " WITHOUT OVERLAPS")) {
        restore_key(work, step, table, constraint);
        plan_comment_again(work, step, table, constraint->name);
        return;
    }
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "ALTER TABLE %T ADD CONSTRAINT %I %S",
             table, constraint->name, constraint->definition);
    if (!plan_is_small(table))
        plan_note(work, "a rollback builds the index of %.*s while everybody waits", (int)constraint->name.size,
                  constraint->name.data);
}

static void drop_checked(struct plan_work *work, const struct catalog_table *table,
                         const struct catalog_constraint *constraint)
{
    bool acts = has_words(constraint->definition, " ON DELETE ") || has_words(constraint->definition, " ON UPDATE ");
    struct plan_step *step =
        plan_add(work, acts ? PLAN_CONTRACT : PLAN_EXPAND, "drop-constraint", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct plan_sink sink = {.work = work, .undoes = step};
    struct checked checked = {
        .table = table,
        .referenced = constraint->kind == CATALOG_FOREIGN ? plan_by_oid(work, constraint->referenced) : NULL,
        .name = constraint->name,
        .definition = bare(constraint->definition),
        .only = is_only(work) ? "ONLY " : "",
        .validate = constraint->validated};

    step->title = titled(work, "away with the constraint", constraint->name, table);
    plan_sql(work, &step->act, "ALTER TABLE %s%T DROP CONSTRAINT %I", checked.only, table, constraint->name);
    lock_both(work, &step->act, &checked, "ACCESS EXCLUSIVE");
    if (table->kind != 'p')
        plan_gone(work, "CONSTRAINT", constraint->name, locked_by(work, &checked));
    if (constraint->definition.data != NULL)
        emit_checked(&sink, &checked);
    plan_comment_again(work, step, table, constraint->name);
}

/* From 18 on it can be dropped by its name. */
static void drop_not_null(struct plan_work *work, struct catalog_table *table,
                          const struct catalog_constraint *constraint)
{
    struct effect effect;

    if (!plan_effect(work, work->statement, &effect))
        return;
    if (effect.verdict == EFFECT_FAILS) {
        plan_refuse(work, "the server will refuse it: %.*s", (int)effect.why.size, effect.why.data);
        return;
    }
    for (size_t i = 0; i < table->column_count; i++) {
        const struct catalog_column *column = &table->columns[i];

        if (!catalog_columns_has(&constraint->columns, column->number))
            continue;
        if (column->changed_here || is_only(work))
            plan_refuse(work,
                        "NOT NULL of a column that the same migration changes, or of the parent only: put it into a "
                        "migration of its own, for all");
        else
            plan_drop_not_null(work, table, column);
        return;
    }
}

static void drop_constraint(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    const struct catalog_constraint *constraint = catalog_constraint(table, banyan_str_of(command->name));

    if (constraint == NULL && command->missing_ok) {
        plan_note(work, "the constraint %s is not there: nothing is done", command->name);
        return;
    }
    if (constraint == NULL) {
        plan_refuse(work, "constraint \"%s\" of relation \"%.*s\" does not exist", command->name,
                    (int)table->shown.size, table->shown.data);
        return;
    }
    if (constraint->inherited) {
        plan_refuse(work, "the constraint %s belongs to the parent of %.*s: drop it there", command->name,
                    (int)table->shown.size, table->shown.data);
        return;
    }
    if (constraint->definition.data == NULL || constraint->kind == CATALOG_TRIGGER)
        plan_as_written(work, "the constraint is of this migration, or of a kind that is not taken apart");
    else if (constraint->kind == CATALOG_CHECK || constraint->kind == CATALOG_FOREIGN)
        drop_checked(work, table, constraint);
    else if (constraint->kind == CATALOG_NOT_NULL)
        drop_not_null(work, table, constraint);
    else
        drop_key(work, table, constraint);
}

/* ---- VALIDATE, ALTER ---- */

/* One of the server is proven in backfill; one that this migration adds is added in contract. */
void plan_validate(struct plan_work *work, const struct catalog_table *table, struct banyan_str name)
{
    const struct catalog_constraint *constraint = catalog_constraint(table, name);
    bool of_server = constraint != NULL && constraint->definition.data != NULL;
    struct plan_action *action;
    struct plan_step *step;

    if (of_server && constraint->validated) {
        plan_note(work, "the constraint %.*s is proven already: nothing is done", (int)name.size, name.data);
        return;
    }
    if (of_server && constraint->unenforced) {
        plan_refuse(work, "the constraint %.*s is NOT ENFORCED, which cannot be validated", (int)name.size, name.data);
        return;
    }
    step = plan_add(work, of_server ? PLAN_BACKFILL : PLAN_CONTRACT, "validate-constraint", PLAN_TRANSACTION,
                    PLAN_RETRY_LONG);
    step->title = titled(work, "the old rows, read against", name, table);
    plan_sql(work, &step->act, "ALTER TABLE %s%T VALIDATE CONSTRAINT %I", is_only(work) ? "ONLY " : "", table, name);
    if (!of_server)
        return;
    struct checked checked = {
        .table = table,
        .referenced = constraint->kind == CATALOG_FOREIGN ? plan_by_oid(work, constraint->referenced) : NULL};

    /* Not proven again: only a new one is. */
    action = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(work, action, "ALTER TABLE %T DROP CONSTRAINT IF EXISTS %I", table, constraint->name);
    plan_sql(work, action, "ALTER TABLE %T ADD CONSTRAINT %I %S NOT VALID", table, constraint->name,
             bare(constraint->definition));
    lock_both(work, action, &checked, "ACCESS EXCLUSIVE");
}

static void alter(struct plan_work *work, const struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    const PgQuery__Constraint *wanted = command->def->constraint;
    const struct catalog_constraint *constraint = catalog_constraint(table, banyan_str_of(wanted->conname));
    struct plan_step *step;

    if (constraint == NULL || constraint->definition.data == NULL) {
        plan_as_written(work, "the constraint is not known");
        return;
    }
    step = plan_add(work, PLAN_EXPAND, "alter-constraint", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = titled(work, "when it is looked at: the constraint", constraint->name, table);
    plan_sql(work, &step->act, "ALTER TABLE %T ALTER CONSTRAINT %I %s %s", table, constraint->name,
             wanted->deferrable ? "DEFERRABLE" : "NOT DEFERRABLE",
             wanted->initdeferred ? "INITIALLY DEFERRED" : "INITIALLY IMMEDIATE");
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT),
             "ALTER TABLE %T ALTER CONSTRAINT %I %s %s", table, constraint->name,
             has_words(constraint->definition, " DEFERRABLE") ? "DEFERRABLE" : "NOT DEFERRABLE",
             has_words(constraint->definition, " INITIALLY DEFERRED") ? "INITIALLY DEFERRED" : "INITIALLY IMMEDIATE");
}

static void add_exclusion(struct plan_work *work, const struct catalog_table *table,
                          const PgQuery__Constraint *constraint)
{
    struct banyan_str name = banyan_str_of(constraint->conname), columns = BANYAN_STR("");
    struct plan_step *step;

    for (size_t i = 0; i < constraint->n_exclusions; i++) {
        const PgQuery__IndexElem *element = constraint->exclusions[i]->list->items[0]->index_elem;

        columns = banyan_arena_printf(work->arena, "%.*s%s%s", (int)columns.size, columns.data, i > 0 ? "_" : "",
                                      element->name[0] != '\0' ? element->name : "expr");
    }
    if (name.size == 0)
        name = plan_server_name(work, table, columns, "excl");
    step = plan_written(work, "an EXCLUDE constraint cannot be built without waiting");
    if (step != NULL)
        plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT),
                 "ALTER TABLE %T DROP CONSTRAINT IF EXISTS %I", table, name);
}

/* NOT VALID on a partitioned table is made possible, leaf by leaf. */
static bool is_refused_by_server(struct plan_work *work, const struct catalog_table *table,
                                 const PgQuery__Constraint *constraint)
{
    struct effect effect;

    if (!plan_effect(work, work->statement, &effect))
        return true;
    if (effect.verdict != EFFECT_FAILS || (constraint->skip_validation && table->kind == 'p'))
        return false;
    plan_refuse(work, "the server will refuse it: %.*s", (int)effect.why.size, effect.why.data);
    return true;
}

static bool add(struct plan_work *work, const struct catalog_table *table, const PgQuery__Constraint *constraint)
{
    enum use use = columns_used(table, constraint);

    if (use == USE_CHANGED) {
        plan_refuse(work,
                    "the constraint is on a column of %.*s that the same migration renames or changes: put it into a "
                    "migration of its own behind this one",
                    (int)table->shown.size, table->shown.data);
        return true;
    }
    if (is_refused_by_server(work, table, constraint))
        return true;
    switch (constraint->contype) {
    case CONSTR(CHECK):
    case CONSTR(FOREIGN):
        add_checked(work, table, constraint, use);
        return true;
    case CONSTR(PRIMARY):
    case CONSTR(UNIQUE):
        add_key(work, table, constraint, use);
        return true;
    case CONSTR(EXCLUSION):
        add_exclusion(work, table, constraint);
        return true;
    default:
        return false;
    }
}

bool plan_constraint(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    switch (command->subtype) {
    case AT(AddConstraint):
        return add(work, table, command->def->constraint);
    case AT(DropConstraint):
        drop_constraint(work, table, command);
        return true;
    case AT(ValidateConstraint):
        plan_validate(work, table, banyan_str_of(command->name));
        return true;
    case AT(AlterConstraint):
        alter(work, table, command);
        return true;
    default:
        return false;
    }
}
