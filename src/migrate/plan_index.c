/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indexes without waiting: CONCURRENTLY where there is one table, and on a partitioned one an empty index of the parent
 * first, so that partitions that come later have theirs, then one a partition, then each attached.
 *
 *   CREATE INDEX i ON p (a)     CREATE INDEX i ON ONLY p (a)              invalid, costs nothing
 *                               CREATE INDEX CONCURRENTLY p1_a_idx ON p1 (a)
 *                               ALTER INDEX i ATTACH PARTITION p1_a_idx   with the last one i is valid
 */
#include <pg_query.h>
#include <string.h>

#include "migrate/plan_int.h"

/* ---- what is built ---- */

struct building {
    struct plan_sink *sink;
    struct banyan_str columns; /* of the names of its partitions' indexes; joined with _ */
    struct banyan_str definition;
    const struct catalog_table *top; /* the partitioned one and its index: what undoes an attach */
    struct banyan_str top_index;
    bool unique;
};

struct banyan_str plan_relation(struct plan_work *work, const struct catalog_table *table, struct banyan_str name)
{
    return table->schema.size > 0 ? sql_make(work->arena, "%I.%I", table->schema, name)
                                  : sql_make(work->arena, "%I", name);
}

void plan_emit_index(struct plan_sink *sink, const struct catalog_table *table, struct banyan_str name, bool unique,
                     struct banyan_str definition)
{
    struct plan_work *work = sink->work;
    struct banyan_str relation = plan_relation(work, table, name);
    struct plan_action *action =
        plan_emit(sink, "build-index", PLAN_INDEX, PLAN_RETRY_WATCH,
                  banyan_arena_printf(work->arena, "the index %.*s on %.*s, while everybody goes on", (int)name.size,
                                      name.data, (int)table->shown.size, table->shown.data));

    action->index = relation;
    plan_sql(work, action, "CREATE %sINDEX CONCURRENTLY %I ON %T %S", unique ? "UNIQUE " : "", name, table, definition);
    action = plan_emit_undo(sink, PLAN_INDEX_DROP, PLAN_RETRY_WATCH);
    if (action == NULL)
        return;
    action->index = relation;
    plan_sql(work, action, "DROP INDEX CONCURRENTLY IF EXISTS %S", relation);
}

static void drop_top(struct building *all)
{
    struct plan_action *action = plan_emit_undo(all->sink, PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    if (action == NULL)
        return;
    plan_sql(all->sink->work, action, "LOCK TABLE %T IN ACCESS EXCLUSIVE MODE", all->top);
    plan_sql(all->sink->work, action, "DROP INDEX IF EXISTS %S",
             plan_relation(all->sink->work, all->top, all->top_index));
}

/* What follows the table in the text of an index. */
static struct banyan_str using_of(struct banyan_str definition)
{
    const char *at = definition.data == NULL ? NULL : memmem(definition.data, definition.size, " USING ", 7);

    return at == NULL ? (struct banyan_str){NULL, 0}
                      : (struct banyan_str){at + 1, definition.size - (size_t)(at + 1 - definition.data)};
}

/* An index of *table* that the server would take for the partitioned one: the same, and no part of another. */
static const struct catalog_index *fitting(const struct building *all, const struct catalog_table *table,
                                           struct catalog_table **ret_relation)
{
    *ret_relation = NULL;
    for (size_t i = 0; i < table->index_count; i++) {
        const struct catalog_index *index = &table->indexes[i];

        if (!index->valid || index->unique != all->unique || index->of_constraint ||
            !banyan_str_equal(using_of(index->definition), all->definition))
            continue;
        *ret_relation = plan_by_oid(all->sink->work, index->oid);
        if (*ret_relation != NULL && !(*ret_relation)->is_partition)
            return index;
        *ret_relation = NULL;
    }
    return NULL;
}

static void build(struct building *all, const struct catalog_table *table, struct banyan_str name);

static void build_partition(struct building *all, const struct catalog_table *child, struct banyan_str index,
                            const struct catalog_table *parent)
{
    struct plan_work *work = all->sink->work;
    struct catalog_table *relation;
    const struct catalog_index *there = fitting(all, child, &relation);
    struct banyan_str name;

    if (child->kind == 'f') {
        plan_note(work, "the foreign table %.*s gets no index", (int)child->shown.size, child->shown.data);
        return;
    }
    name = relation != NULL ? relation->name : plan_server_name(work, child, all->columns, "idx");
    if (relation == NULL)
        build(all, child, name);
    plan_sql(work,
             plan_emit(all->sink, "attach-index", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                       banyan_arena_printf(work->arena, "%.*s becomes a part of %.*s", (int)name.size, name.data,
                                           (int)index.size, index.data)),
             "ALTER INDEX %S ATTACH PARTITION %S", plan_relation(work, parent, index),
             plan_relation(work, child, name));
    drop_top(all);
    if (relation != NULL && all->sink->undoes == NULL) { /* the partitioned index took it along */
        struct plan_sink back = {.work = work, .undoes = &work->ret->steps[work->ret->step_count - 1]};

        plan_restore_index(&back, child, name, there->definition);
    }
}

static void build(struct building *all, const struct catalog_table *table, struct banyan_str name)
{
    struct plan_work *work = all->sink->work;

    if (table->kind != 'p') {
        plan_emit_index(all->sink, table, name, all->unique, all->definition);
        return;
    }
    if (all->top == NULL) {
        all->top = table;
        all->top_index = name;
    }
    plan_sql(work,
             plan_emit(all->sink, "add-partitioned-index", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                       banyan_arena_printf(work->arena, "the index %.*s on %.*s, still without its parts",
                                           (int)name.size, name.data, (int)table->shown.size, table->shown.data)),
             "CREATE %sINDEX %I ON ONLY %T %S", all->unique ? "UNIQUE " : "", name, table, all->definition);
    drop_top(all);
    for (size_t i = 0; i < table->child_count && plan_goes_on(work); i++) {
        const struct catalog_table *child = plan_by_oid(work, table->children[i]);

        if (child != NULL)
            build_partition(all, child, name, table);
    }
}

/* ---- definitions ---- */

static const char *element_name(const PgQuery__Node *node)
{
    if (node == NULL)
        return "expr";
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_FUNC_CALL:
        return node->func_call->funcname[node->func_call->n_funcname - 1]->string->sval;
    case PG_QUERY__NODE__NODE_COLUMN_REF:
        return node->column_ref->fields[node->column_ref->n_fields - 1]->string->sval;
    case PG_QUERY__NODE__NODE_COLLATE_CLAUSE:
        return element_name(node->collate_clause->arg);
    case PG_QUERY__NODE__NODE_COALESCE_EXPR:
        return "coalesce";
    case PG_QUERY__NODE__NODE_TYPE_CAST: {
        const char *inner = element_name(node->type_cast->arg);
        const PgQuery__TypeName *type = node->type_cast->type_name;

        return strcmp(inner, "expr") != 0 ? inner : type->names[type->n_names - 1]->string->sval;
    }
    default:
        return "expr";
    }
}

/* As the server calls them in the name of an index. */
static struct banyan_str column_names(struct plan_work *work, const PgQuery__IndexStmt *statement)
{
    struct banyan_str text = BANYAN_STR("");

    for (size_t i = 0; i < statement->n_index_params + statement->n_index_including_params; i++) {
        const PgQuery__IndexElem *element =
            i < statement->n_index_params
                ? statement->index_params[i]->index_elem
                : statement->index_including_params[i - statement->n_index_params]->index_elem;

        text = banyan_arena_printf(work->arena, "%.*s%s%s", (int)text.size, text.data, i > 0 ? "_" : "",
                                   element->name[0] != '\0' ? element->name : element_name(element->expr));
    }
    return text;
}

/* What follows the table: "USING btree (a, b) WHERE c"; data NULL where the tree does not become SQL again. */
static struct banyan_str definition_of(struct plan_work *work, const PgQuery__IndexStmt *statement)
{
    static const char head[] = "CREATE INDEX i ON t ";
    PgQuery__IndexStmt copy = *statement;
    PgQuery__RangeVar range = PG_QUERY__RANGE_VAR__INIT;
    PgQuery__Node node = PG_QUERY__NODE__INIT;
    struct banyan_str text;

    range.relname = (char *)"t"; /* it is only read */
    range.inh = true;
    range.relpersistence = (char *)"p"; /* it is only read */
    copy.idxname = (char *)"i";         /* it is only read */
    copy.relation = &range;
    copy.unique = false;
    copy.concurrent = false;
    copy.if_not_exists = false;
    node.node_case = PG_QUERY__NODE__NODE_INDEX_STMT;
    node.index_stmt = &copy;
    text = node_deparse(&node, work->arena);
    if (text.size <= sizeof(head) - 1 || memcmp(text.data, head, sizeof(head) - 1) != 0)
        return (struct banyan_str){NULL, 0};
    return (struct banyan_str){text.data + sizeof(head) - 1, text.size - (sizeof(head) - 1)};
}

void plan_index_build(struct plan_work *work, const struct catalog_table *table, struct banyan_str name, bool unique,
                      struct banyan_str definition, enum plan_phase phase)
{
    struct plan_sink sink = {.work = work, .phase = phase};
    struct building all = {.sink = &sink, .columns = name, .definition = definition, .unique = unique};

    if (table->kind == 'p') { /* the names of the parts need the columns */
        struct banyan_str sql = sql_make(work->arena, "CREATE INDEX ON t %S", definition);
        PgQueryProtobufParseResult result = pg_query_parse_protobuf(sql.data);
        PgQuery__ParseResult *tree = NULL;

        if (result.error == NULL)
            tree = pg_query__parse_result__unpack(NULL, result.parse_tree.len, (const uint8_t *)result.parse_tree.data);
        if (tree != NULL && tree->n_stmts == 1 && tree->stmts[0]->stmt->node_case == PG_QUERY__NODE__NODE_INDEX_STMT)
            all.columns = column_names(work, tree->stmts[0]->stmt->index_stmt);
        if (tree != NULL)
            pg_query__parse_result__free_unpacked(tree, NULL);
        pg_query_free_protobuf_parse_result(result);
    }
    build(&all, table, name);
}

/* ---- CREATE INDEX ---- */

/* Columns that this migration changes have another name, or another twin, while it runs. */
static bool is_changed_here(struct plan_work *work, const struct catalog_table *table,
                            const PgQuery__IndexStmt *statement)
{
    for (size_t i = 0; i < table->column_count; i++) {
        const struct catalog_column *column = &table->columns[i];

        if (column->changed_here && node_mentions(&statement->base, column->name)) {
            plan_refuse(work,
                        "the index is on %.*s.%.*s, which the same migration renames or changes: put it into a "
                        "migration of its own behind this one",
                        (int)table->shown.size, table->shown.data, (int)column->name.size, column->name.data);
            return true;
        }
    }
    return false;
}

/* CONCURRENTLY on a partitioned table is made possible, leaf by leaf. */
static bool is_refused_by_server(struct plan_work *work, const PgQuery__IndexStmt *statement)
{
    PgQuery__IndexStmt plain = *statement;
    PgQuery__Node node = *work->statement->tree;
    struct statement one = *work->statement;
    struct effect effect;

    plain.concurrent = false;
    node.index_stmt = &plain;
    one.tree = &node;
    if (!plan_effect(work, &one, &effect))
        return true;
    if (effect.verdict != EFFECT_FAILS)
        return false;
    plan_refuse(work, "the server will refuse it: %.*s", (int)effect.why.size, effect.why.data);
    return true;
}

static void check_unique(struct plan_work *work, const struct catalog_table *table, const PgQuery__IndexStmt *statement)
{
    struct banyan_str keys = BANYAN_STR(""), present = BANYAN_STR("true");
    struct plan_check *check;

    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].made_here && node_mentions(&statement->base, table->columns[i].name))
            return; /* there is nothing to be asked yet */
    for (size_t i = 0; i < statement->n_index_params; i++) {
        const PgQuery__IndexElem *element = statement->index_params[i]->index_elem;
        struct banyan_str key = element->name[0] != '\0' ? sql_make(work->arena, "%i", element->name)
                                                         : node_deparse_expression(element->expr, work->arena);

        keys = sql_make(work->arena, "%S%s(%S)", keys, i > 0 ? ", " : "", key);
        if (!statement->nulls_not_distinct)
            present = sql_make(work->arena, "%S AND (%S) IS NOT NULL", present, key);
    }
    if (statement->where_clause != NULL)
        present = sql_make(work->arena, "%S AND (%S)", present,
                           node_deparse_expression(statement->where_clause, work->arena));
    check = plan_check_add(work, PLAN_BACKFILL);
    check->sql = sql_make(work->arena,
                          "SELECT count(*) FROM (SELECT 1 FROM %T WHERE %S GROUP BY %S HAVING count(*) > "
                          "1) twice",
                          table, present, keys);
    check->message = banyan_arena_printf(work->arena, "keys of %.*s are there more than once", (int)table->shown.size,
                                         table->shown.data);
    check->hint = BANYAN_STR("remove the rows that are too many, then start again");
}

/* Nothing is stored of it that could be in an index (18). */
static bool has_virtual(struct plan_work *work, const struct catalog_table *table, const PgQuery__IndexStmt *statement)
{
    for (size_t i = 0; i < table->column_count; i++) {
        if (!table->columns[i].is_virtual || !node_mentions(&statement->base, table->columns[i].name))
            continue;
        plan_refuse(work, "the server will refuse it: %.*s is computed when it is read, and has no index",
                    (int)table->columns[i].name.size, table->columns[i].name.data);
        return true;
    }
    return false;
}

static void create(struct plan_work *work, const PgQuery__IndexStmt *statement)
{
    struct catalog_table *table = NULL, *there = NULL;
    struct banyan_str definition = definition_of(work, statement), columns = column_names(work, statement);
    struct plan_sink sink = {.work = work, .phase = PLAN_BACKFILL};
    struct building all = {.sink = &sink, .columns = columns, .definition = definition, .unique = statement->unique};
    struct banyan_str name = banyan_str_of(statement->idxname);

    work->st = catalog_table(work->catalog, banyan_str_of(statement->relation->schemaname),
                             banyan_str_of(statement->relation->relname), &table, work->err);
    if (plan_goes_on(work) && table != NULL && name.size > 0)
        work->st = catalog_table(work->catalog, table->schema, name, &there, work->err);
    if (!plan_goes_on(work))
        return;
    if (table == NULL) {
        plan_refuse(work, "relation \"%s\" does not exist", statement->relation->relname);
        return;
    }
    if (there != NULL && there->known && statement->if_not_exists) {
        plan_note(work, "%.*s is there already: nothing is done, whatever it looks like", (int)name.size, name.data);
        return;
    }
    if (definition.data == NULL || (table->kind == 'p' && !statement->relation->inh)) {
        plan_as_written(work, "this form of index is not known to be built without waiting");
        return;
    }
    if (is_changed_here(work, table, statement) || has_virtual(work, table, statement) ||
        is_refused_by_server(work, statement))
        return;
    if (name.size == 0)
        name = plan_server_name(work, table, columns, "idx");
    if (there == NULL)
        (void)plan_replaces_index(work, table, name, &name);
    if (statement->unique)
        check_unique(work, table, statement);
    build(&all, table, name);
}

/* ---- DROP INDEX ---- */

struct banyan_str plan_index_concurrently(struct plan_work *work, struct banyan_str definition)
{
    static const char *const heads[] = {"CREATE INDEX ", "CREATE UNIQUE INDEX "};

    for (size_t i = 0; i < 2; i++)
        if (definition.size > strlen(heads[i]) && memcmp(definition.data, heads[i], strlen(heads[i])) == 0)
            return sql_make(
                work->arena, "%sCONCURRENTLY %S", heads[i],
                (struct banyan_str){definition.data + strlen(heads[i]), definition.size - strlen(heads[i])});
    return definition;
}

void plan_restore_index(struct plan_sink *sink, const struct catalog_table *table, struct banyan_str name,
                        struct banyan_str definition)
{
    struct plan_action *action = plan_emit(sink, "build-index", PLAN_INDEX, PLAN_RETRY_WATCH, name);

    action->index = plan_relation(sink->work, table, name);
    plan_sql(sink->work, action, "%S", plan_index_concurrently(sink->work, definition));
}

/* A partitioned index and all its parts, from the top down. */
static void restore_parts(struct plan_sink *sink, const struct catalog_table *index)
{
    static const char sql[] =
        "SELECT pg_get_indexdef(p.relid), format('%I.%I', n.nspname, c.relname), p.isleaf, "
        "(SELECT format('%I.%I', pn.nspname, pc.relname) FROM pg_class pc JOIN pg_namespace pn ON pn.oid = "
        "pc.relnamespace WHERE pc.oid = p.parentrelid AND p.level > 0) "
        "FROM pg_partition_tree($1::oid::regclass) p JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = "
        "c.relnamespace ORDER BY p.level, c.relname";
    struct plan_work *work = sink->work;
    struct banyan_str oid = banyan_arena_printf(work->arena, "%u", (unsigned)index->oid);
    size_t rows = 0;
    struct banyan_str *cells = plan_ask(work, sql, &oid, 1, &rows);

    for (size_t i = 0; i < rows; i++) {
        const struct banyan_str *row = &cells[4 * i];
        struct plan_action *action;

        if (banyan_str_equal(row[2], BANYAN_STR("t"))) {
            action = plan_emit(sink, "build-index", PLAN_INDEX, PLAN_RETRY_WATCH, row[1]);
            action->index = row[1];
            plan_sql(work, action, "%S", plan_index_concurrently(work, row[0]));
        } else {
            action = plan_emit(sink, "add-partitioned-index", PLAN_TRANSACTION, PLAN_RETRY_SHORT, row[1]);
            plan_sql(work, action, "%S", row[0]);
        }
    }
    for (size_t i = rows; i > 1; i--) { /* the lowest first */
        const struct banyan_str *row = &cells[4 * (i - 1)];

        plan_sql(work, plan_emit(sink, "attach-index", PLAN_TRANSACTION, PLAN_RETRY_SHORT, row[1]),
                 "ALTER INDEX %S ATTACH PARTITION %S", row[3], row[1]);
    }
}

static void drop_one(struct plan_work *work, struct catalog_table *relation)
{
    struct catalog_table *table = plan_by_oid(work, relation->parent);
    struct banyan_str name = plan_relation(work, relation, relation->name);
    const struct catalog_index *index = NULL;
    struct plan_step *step;
    struct plan_sink sink = {.work = work};

    for (size_t i = 0; table != NULL && i < table->index_count; i++)
        if (table->indexes[i].oid == relation->oid)
            index = &table->indexes[i];
    if (index == NULL) {
        plan_as_written(work, "what the index belongs to is not known");
        return;
    }
    if (relation->is_partition) {
        plan_refuse(work, "%.*s is a part of a partitioned index: drop that one", (int)relation->shown.size,
                    relation->shown.data);
        return;
    }
    sink.phase = index->unique ? PLAN_EXPAND : PLAN_CONTRACT;
    step = relation->kind == 'I' ? plan_add(work, sink.phase, "drop-index", PLAN_TRANSACTION, PLAN_RETRY_SHORT)
                                 : plan_add(work, sink.phase, "drop-index", PLAN_INDEX_DROP, PLAN_RETRY_WATCH);
    step->title = banyan_arena_printf(work->arena, "the index %.*s of %.*s goes", (int)relation->shown.size,
                                      relation->shown.data, (int)table->shown.size, table->shown.data);
    sink.undoes = step;
    if (relation->kind == 'I') {
        plan_sql(work, &step->act, "LOCK TABLE %T IN ACCESS EXCLUSIVE MODE", table);
        plan_sql(work, &step->act, "DROP INDEX %S", name);
        restore_parts(&sink, relation);
        return;
    }
    step->act.index = name;
    plan_sql(work, &step->act, "DROP INDEX CONCURRENTLY IF EXISTS %S", name);
    plan_gone(work, "INDEX", name, BANYAN_STR(""));
    plan_restore_index(&sink, relation, relation->name, index->definition);
}

static void drop(struct plan_work *work, const PgQuery__DropStmt *statement)
{
    if (statement->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE) {
        plan_as_written(work, "CASCADE takes away more than it names");
        return;
    }
    for (size_t i = 0; i < statement->n_objects && plan_goes_on(work); i++) {
        const PgQuery__List *names = statement->objects[i]->list;
        struct catalog_table *relation = NULL;

        work->st = catalog_table(
            work->catalog, banyan_str_of(names->n_items > 1 ? names->items[names->n_items - 2]->string->sval : ""),
            banyan_str_of(names->items[names->n_items - 1]->string->sval), &relation, work->err);
        if (relation != NULL)
            drop_one(work, relation);
        else if (plan_goes_on(work) && !statement->missing_ok)
            plan_refuse(work, "index \"%s\" does not exist", names->items[names->n_items - 1]->string->sval);
    }
}

/* ---- REINDEX ---- */

/* A try that was ended leaves an invalid index of this name. */
static void drop_leftover(struct plan_work *work, const struct catalog_table *index)
{
    struct banyan_str name = banyan_arena_printf(work->arena, "%.*s_ccnew", (int)index->name.size, index->name.data);
    struct catalog_table *there = NULL;
    struct plan_step *step;

    if (plan_goes_on(work))
        work->st = catalog_table(work->catalog, index->schema, name, &there, work->err);
    if (!plan_goes_on(work) || there != NULL || name.size > 63)
        return;
    step = plan_add(work, PLAN_BACKFILL, "drop-leftover-index", PLAN_INDEX_DROP, PLAN_RETRY_WATCH);
    step->title = banyan_arena_printf(work->arena, "what a try of REINDEX that was ended may have left");
    step->act.index = plan_relation(work, index, name);
    plan_sql(work, &step->act, "DROP INDEX CONCURRENTLY IF EXISTS %S", step->act.index);
}

static void reindex(struct plan_work *work, const PgQuery__ReindexStmt *statement)
{
    bool of_index = statement->kind == PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_INDEX;
    struct catalog_table *relation = NULL;
    struct plan_step *step;

    if (statement->relation != NULL)
        work->st = catalog_table(work->catalog, banyan_str_of(statement->relation->schemaname),
                                 banyan_str_of(statement->relation->relname), &relation, work->err);
    if (!plan_goes_on(work))
        return;
    if (relation == NULL || (!of_index && statement->kind != PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_TABLE)) {
        plan_as_written(work, "REINDEX of more than a table or an index");
        return;
    }
    step = plan_add(work, PLAN_BACKFILL, "rebuild-index", PLAN_OUTSIDE, PLAN_RETRY_WATCH);
    step->title =
        banyan_arena_printf(work->arena, "%s %.*s anew, while everybody goes on",
                            of_index ? "the index" : "the indexes of", (int)relation->shown.size, relation->shown.data);
    plan_sql(work, &step->act, "REINDEX %s CONCURRENTLY %T", of_index ? "INDEX" : "TABLE", relation);
    if (of_index && relation->kind == 'i')
        drop_leftover(work, relation);
    for (size_t i = 0; !of_index && i < relation->index_count; i++) {
        const struct catalog_table *index = plan_by_oid(work, relation->indexes[i].oid);

        if (index != NULL && index->kind == 'i')
            drop_leftover(work, index);
    }
}

bool plan_index(struct plan_work *work)
{
    const PgQuery__Node *node = work->statement->tree;

    if (node->node_case == PG_QUERY__NODE__NODE_INDEX_STMT)
        create(work, node->index_stmt);
    else if (node->node_case == PG_QUERY__NODE__NODE_REINDEX_STMT)
        reindex(work, node->reindex_stmt);
    else if (node->node_case == PG_QUERY__NODE__NODE_DROP_STMT &&
             node->drop_stmt->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_INDEX)
        drop(work, node->drop_stmt);
    else
        return false;
    return true;
}
