/* SPDX-License-Identifier: Apache-2.0 */
/* DROP: what goes is locked, and what hangs on it: referenced tables, parents, default partitions, views. */
#include <stdlib.h>
#include <string.h>

#include "migrate/effect_int.h"
#include "migrate/sql.h"

static bool overlaps(const struct catalog_columns *a, const struct catalog_columns *b)
{
    for (size_t i = 0; i < sizeof(a->bits) / sizeof(a->bits[0]); i++)
        if ((a->bits[i] & b->bits[i]) != 0)
            return true;
    return false;
}

void effect_drop_dependents(struct effect_work *work, const struct catalog_table *table,
                            const struct catalog_columns *columns, bool cascade)
{
    for (size_t i = 0; i < table->dependent_count; i++) {
        const struct catalog_dependent *dependent = &table->dependents[i];
        bool is_view = dependent->kind == 'v' || dependent->kind == 'm';
        const struct catalog_table *view;

        if (columns != NULL ? !overlaps(columns, &dependent->columns) : !is_view)
            continue;
        view = is_view ? effect_by_oid(work, dependent->oid) : NULL;
        if (is_view && view == NULL) /* dropped by a statement above */
            continue;
        if (!cascade) {
            effect_fails(work, "cannot drop it because other objects depend on it: %.*s", (int)dependent->name.size,
                         dependent->name.data);
            return;
        }
        if (view != NULL)
            effect_drop_table(work, view, true);
    }
}

/* Is it named in the same DROP? */
static bool is_named(const struct effect_work *work, const struct catalog_table *table)
{
    const PgQuery__Node *node = work->statement->tree;

    for (size_t i = 0; node->node_case == PG_QUERY__NODE__NODE_DROP_STMT && i < node->drop_stmt->n_objects; i++) {
        const PgQuery__Node *object = node->drop_stmt->objects[i];

        if (object->node_case == PG_QUERY__NODE__NODE_LIST && object->list->n_items > 0 &&
            banyan_str_equal(banyan_str_of(object->list->items[object->list->n_items - 1]->string->sval), table->name))
            return true;
    }
    return false;
}

static void drop_foreign(struct effect_work *work, const struct catalog_table *table, bool cascade)
{
    for (size_t i = 0; i < table->constraint_count; i++) {
        const struct catalog_table *other;

        if (table->constraints[i].kind != CATALOG_FOREIGN)
            continue;
        other = effect_by_oid(work, table->constraints[i].referenced);
        if (other != NULL)
            effect_lock(work, other, EFFECT_ACCESS_EXCLUSIVE);
    }
    for (size_t i = 0; i < table->reference_count; i++) {
        const struct catalog_table *other;

        if (table->references[i].table == table->oid)
            continue;
        other = effect_by_oid(work, table->references[i].table);
        if (!cascade && (other == NULL || !is_named(work, other)))
            effect_fails(work, "cannot drop table %.*s: foreign key %.*s depends on it", (int)table->shown.size,
                         table->shown.data, (int)table->references[i].name.size, table->references[i].name.data);
        if (other != NULL)
            effect_lock(work, other, EFFECT_ACCESS_EXCLUSIVE);
    }
}

static void drop_family(struct effect_work *work, const struct catalog_table *table, bool cascade)
{
    if (table->is_partition) {
        const struct catalog_table *parent = effect_by_oid(work, table->parent);
        const struct catalog_table *other = parent == NULL ? NULL : effect_by_oid(work, parent->default_partition);

        if (parent != NULL)
            effect_lock(work, parent, EFFECT_ACCESS_EXCLUSIVE);
        if (other != NULL)
            effect_lock(work, other, EFFECT_ACCESS_EXCLUSIVE);
    }
    for (size_t i = 0; i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child == NULL)
            continue;
        if (!effect_is_partitioned(table) && !cascade)
            effect_fails(work, "cannot drop table %.*s because other objects depend on it: %.*s",
                         (int)table->shown.size, table->shown.data, (int)child->shown.size, child->shown.data);
        effect_drop_table(work, child, cascade);
    }
}

void effect_drop_table(struct effect_work *work, const struct catalog_table *table, bool cascade)
{
    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    if (!table->known) {
        effect_note(work, "tables that its foreign keys reference are locked as well");
        return;
    }
    effect_lock_indexes(work, table, EFFECT_ACCESS_EXCLUSIVE);
    effect_drop_dependents(work, table, NULL, cascade);
    drop_foreign(work, table, cascade);
    drop_family(work, table, cascade);
    for (size_t i = 0; i < table->column_count; i++) {
        const struct catalog_table *sequence = effect_by_oid(work, table->columns[i].sequence);

        if (sequence != NULL)
            effect_lock(work, sequence, EFFECT_ACCESS_EXCLUSIVE);
    }
}

static const struct catalog_index *index_of(const struct catalog_table *table, uint32_t oid)
{
    for (size_t i = 0; i < table->index_count; i++)
        if (table->indexes[i].oid == oid)
            return &table->indexes[i];
    return NULL;
}

static void drop_index(struct effect_work *work, const struct catalog_table *relation,
                       const PgQuery__DropStmt *statement)
{
    enum effect_lock lock = statement->concurrent ? EFFECT_SHARE_UPDATE_EXCLUSIVE : EFFECT_ACCESS_EXCLUSIVE;
    const struct catalog_table *table = effect_by_oid(work, relation->parent);
    const struct catalog_index *index;

    effect_lock(work, relation, lock);
    if (!relation->known) {
        effect_note(work, "its table is locked in the same mode");
        return;
    }
    if (table == NULL || (index = index_of(table, relation->oid)) == NULL) {
        effect_fails(work, "\"%.*s\" is not an index", (int)relation->shown.size, relation->shown.data);
        return;
    }
    if (index->of_constraint)
        effect_fails(work, "cannot drop index %.*s because a constraint requires it", (int)relation->shown.size,
                     relation->shown.data);
    effect_lock(work, table, lock);
    for (size_t i = 0; relation->kind == 'I' && i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child == NULL)
            continue;
        effect_lock(work, child, lock);
        for (size_t k = 0; k < child->index_count; k++)
            if (memcmp(&child->indexes[k].keys, &index->keys, sizeof(index->keys)) == 0 &&
                child->indexes[k].unique == index->unique)
                effect_lock_index(work, child, &child->indexes[k], lock);
    }
}

/* A part of a table: [schema,] table, name. */
static void drop_part(struct effect_work *work, const PgQuery__Node *object, const PgQuery__DropStmt *statement)
{
    const struct catalog_table *table;
    size_t count = object->node_case == PG_QUERY__NODE__NODE_LIST ? object->list->n_items : 0;
    bool found = true;
    struct banyan_str name;

    if (count < 2) {
        effect_not_understood(work, "a name of an unknown form");
        return;
    }
    table = effect_find_list(work, object->list->items, count - 1, statement->missing_ok);
    if (table == NULL)
        return;
    name = banyan_str_of(object->list->items[count - 1]->string->sval);
    if (statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER && table->known) {
        found = false;
        for (size_t i = 0; i < table->trigger_count; i++)
            found |= banyan_str_equal(table->triggers[i], name);
    }
    if (!found && !statement->missing_ok)
        effect_fails(work, "\"%.*s\" of \"%.*s\" does not exist", (int)name.size, name.data, (int)table->shown.size,
                     table->shown.data);
    if (found || statement->remove_type != PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER)
        effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
}

static bool kind_fits(char kind, PgQuery__ObjectType type)
{
    switch (type) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABLE:
        return kind == 'r' || kind == 'p';
    case PG_QUERY__OBJECT_TYPE__OBJECT_VIEW:
        return kind == 'v';
    case PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW:
        return kind == 'm';
    case PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE:
        return kind == 'S';
    default:
        return true;
    }
}

/* ---- what is no relation ---- */

struct drop_kind {
    PgQuery__ObjectType type;
    const char *cast;    /* of its name, to an oid */
    const char *catalog; /* in whose words others depend on it */
};
static const struct drop_kind drop_kinds[] = {
    {PG_QUERY__OBJECT_TYPE__OBJECT_TYPE, "to_regtype($1)", "pg_type"},
    {PG_QUERY__OBJECT_TYPE__OBJECT_DOMAIN, "to_regtype($1)", "pg_type"},
    {PG_QUERY__OBJECT_TYPE__OBJECT_FUNCTION, "to_regprocedure($1)", "pg_proc"},
    {PG_QUERY__OBJECT_TYPE__OBJECT_PROCEDURE, "to_regprocedure($1)", "pg_proc"},
    {PG_QUERY__OBJECT_TYPE__OBJECT_ROUTINE, "to_regprocedure($1)", "pg_proc"},
    {PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE, "to_regclass($1)", "pg_class"},
    {PG_QUERY__OBJECT_TYPE__OBJECT_SCHEMA, "to_regnamespace($1)", "pg_namespace"},
    {PG_QUERY__OBJECT_TYPE__OBJECT_PUBLICATION, "(SELECT oid FROM pg_publication WHERE $1 = '\"' || pubname || '\"')",
     "pg_publication"},
};

static struct banyan_str dotted(struct effect_work *work, PgQuery__Node *const *names, size_t count)
{
    struct banyan_str text = BANYAN_STR("");

    for (size_t i = 0; i < count; i++)
        if (names[i]->node_case == PG_QUERY__NODE__NODE_STRING)
            text = sql_make(work->arena, "%S%s%i", text, i > 0 ? "." : "", names[i]->string->sval);
    return text;
}

/* Quoted, of a function with its arguments; "" where they were left out, and any will do. */
static struct banyan_str name_of(struct effect_work *work, const PgQuery__Node *object, bool *ret_any)
{
    struct banyan_str types = BANYAN_STR("");
    const PgQuery__ObjectWithArgs *function;

    *ret_any = false;
    switch (object->node_case) {
    case PG_QUERY__NODE__NODE_STRING:
        return sql_make(work->arena, "%i", object->string->sval);
    case PG_QUERY__NODE__NODE_LIST:
        return dotted(work, object->list->items, object->list->n_items);
    case PG_QUERY__NODE__NODE_TYPE_NAME:
        return dotted(work, object->type_name->names, object->type_name->n_names);
    case PG_QUERY__NODE__NODE_OBJECT_WITH_ARGS:
        function = object->object_with_args;
        *ret_any = function->args_unspecified;
        for (size_t i = 0; i < function->n_objargs; i++)
            types = sql_make(work->arena, "%S%s%S", types, i > 0 ? ", " : "",
                             node_deparse_type(function->objargs[i]->type_name, work->arena));
        types = *ret_any ? BANYAN_STR("") : sql_make(work->arena, "(%S)", types);
        return sql_make(work->arena, "%S%S", dotted(work, function->objname, function->n_objname), types);
    default:
        return BANYAN_STR("");
    }
}

/* It locks no table: the question is only whether it is there, and whether something uses it. */
static void drop_object(struct effect_work *work, const PgQuery__Node *object, const PgQuery__DropStmt *statement,
                        const struct drop_kind *kind)
{
    bool any;
    struct banyan_str name = name_of(work, object, &any), *cells = NULL, sql;
    size_t rows = 0;

    if (statement->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE) {
        effect_not_understood(work, "DROP … CASCADE of what is no relation: what it takes along is not looked at");
        return;
    }
    work->ret->breaks_old_code = true;
    if (catalog_is_offline(work->catalog)) {
        effect_note(work, "whether something uses it is not known here");
        return;
    }
    sql = sql_make(work->arena,
                   "SELECT o.oid, string_agg(DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid), ', ') FROM "
                   "(SELECT %s::oid AS oid) o LEFT JOIN pg_depend d ON d.refclassid = '%s'::regclass AND d.refobjid = "
                   "o.oid AND d.deptype = 'n' GROUP BY o.oid",
                   any ? "to_regproc($1)" : kind->cast, kind->catalog);
    if (work->st == BANYAN_OK)
        work->st = catalog_ask(work->catalog, sql.data, &name, 1, &cells, &rows, work->err);
    if (work->st != BANYAN_OK || rows != 1)
        return;
    if (cells[0].data == NULL && !statement->missing_ok)
        effect_fails(work, "%.*s does not exist", (int)name.size, name.data);
    if (cells[0].data != NULL && cells[1].data != NULL)
        effect_fails(work, "cannot drop %.*s because other objects depend on it: %.*s", (int)name.size, name.data,
                     (int)cells[1].size, cells[1].data);
}

/* Its table is locked as by CREATE STATISTICS. */
static void drop_statistics(struct effect_work *work, const PgQuery__Node *object, const PgQuery__DropStmt *statement)
{
    bool any;
    struct banyan_str name = name_of(work, object, &any), *cells = NULL;
    size_t rows = 0;

    if (catalog_is_offline(work->catalog)) {
        effect_note(work, "its table is locked SHARE UPDATE EXCLUSIVE");
        return;
    }
    if (work->st == BANYAN_OK)
        work->st = catalog_ask(work->catalog,
                               "SELECT stxrelid FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace "
                               "WHERE $1 IN (quote_ident(n.nspname) || '.' || quote_ident(s.stxname), CASE WHEN "
                               "pg_statistics_obj_is_visible(s.oid) THEN '\"' || replace(s.stxname, '\"', '\"\"') || "
                               "'\"' END, '\"' || n.nspname || '\".\"' || s.stxname || '\"')",
                               &name, 1, &cells, &rows, work->err);
    if (work->st == BANYAN_OK && rows == 0 && !statement->missing_ok)
        effect_fails(work, "statistics object %.*s does not exist", (int)name.size, name.data);
    if (work->st == BANYAN_OK && rows > 0) {
        const struct catalog_table *table =
            effect_by_oid(work, (uint32_t)strtoul(cells[0].data, NULL, 10)); /* a number of the server */

        if (table != NULL)
            effect_lock(work, table, EFFECT_SHARE_UPDATE_EXCLUSIVE);
    }
}

static void drop_other(struct effect_work *work, const PgQuery__Node *object, const PgQuery__DropStmt *statement)
{
    if (statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_STATISTIC_EXT) {
        drop_statistics(work, object, statement);
        return;
    }
    for (size_t i = 0; i < sizeof(drop_kinds) / sizeof(drop_kinds[0]); i++)
        if (drop_kinds[i].type == statement->remove_type) {
            drop_object(work, object, statement, &drop_kinds[i]);
            return;
        }
    effect_not_understood(work, "DROP of what is no relation: what depends on it is not looked at");
}

static void drop_relation(struct effect_work *work, const PgQuery__Node *object, const PgQuery__DropStmt *statement)
{
    const struct catalog_table *table =
        effect_find_list(work, object->list->items, object->list->n_items, statement->missing_ok);

    if (table == NULL)
        return;
    if (statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_INDEX) {
        drop_index(work, table, statement);
        return;
    }
    if (table->known && !kind_fits(table->kind, statement->remove_type))
        effect_fails(work, "\"%.*s\" is of another kind", (int)table->shown.size, table->shown.data);
    if (statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE && table->known &&
        statement->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE)
        effect_note(work, "columns whose default it is lose it");
    if (statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE && table->known && !table->made_here &&
        statement->behavior != PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE)
        drop_other(work, object, statement);
    work->ret->removes_data |= statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE;
    work->ret->breaks_old_code = true;
    effect_drop_table(work, table, statement->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE);
}

void effect_drop(struct effect_work *work, const PgQuery__DropStmt *statement)
{
    if (statement->concurrent) {
        work->ret->outside_transaction = true;
        work->ret->waits_for_transactions = true;
        work->ret->leaves_invalid = true;
    }
    for (size_t i = 0; i < statement->n_objects && effect_goes_on(work); i++) {
        switch (statement->remove_type) {
        case PG_QUERY__OBJECT_TYPE__OBJECT_TABLE:
        case PG_QUERY__OBJECT_TYPE__OBJECT_VIEW:
        case PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW:
        case PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE:
        case PG_QUERY__OBJECT_TYPE__OBJECT_INDEX:
            drop_relation(work, statement->objects[i], statement);
            break;
        case PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER:
        case PG_QUERY__OBJECT_TYPE__OBJECT_POLICY:
        case PG_QUERY__OBJECT_TYPE__OBJECT_RULE:
            drop_part(work, statement->objects[i], statement);
            break;
        default:
            drop_other(work, statement->objects[i], statement);
        }
    }
}
