/* SPDX-License-Identifier: Apache-2.0 */
/* CREATE INDEX, REINDEX, CLUSTER. */
#include <string.h>

#include "migrate/effect_int.h"

/* As the server calls the columns of an index that has no name. */
static struct banyan_str column_names(struct effect_work *work, const PgQuery__IndexStmt *statement)
{
    struct banyan_str text = BANYAN_STR("");

    for (size_t i = 0; i < statement->n_index_params + statement->n_index_including_params; i++) {
        const PgQuery__IndexElem *element =
            i < statement->n_index_params
                ? statement->index_params[i]->index_elem
                : statement->index_including_params[i - statement->n_index_params]->index_elem;
        const char *name = element->name[0] != '\0' ? element->name : "expr";

        if (element->expr != NULL && element->expr->node_case == PG_QUERY__NODE__NODE_FUNC_CALL)
            name = element->expr->func_call->funcname[element->expr->func_call->n_funcname - 1]->string->sval;
        text = banyan_arena_printf(work->arena, "%.*s%s%s", (int)text.size, text.data, i > 0 ? "_" : "", name);
    }
    return text;
}

static void build_below(struct effect_work *work, const struct catalog_table *table, enum effect_lock lock,
                        struct banyan_str name, struct banyan_str columns, bool recurse)
{
    effect_lock(work, table, lock);
    if (!effect_is_partitioned(table)) {
        effect_build(work, table, name.size > 0 ? name : effect_new_name(work, table, columns, "idx"));
        return;
    }
    for (size_t i = 0; recurse && i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child != NULL)
            build_below(work, child, lock, BANYAN_STR(""), columns, true);
    }
}

void effect_needs_partition_keys(struct effect_work *work, const struct catalog_table *table,
                                 PgQuery__Node *const *keys, size_t count, bool recurse)
{
    for (size_t i = 0; i < table->column_count && effect_goes_on(work); i++) {
        bool found = !catalog_columns_has(&table->partition_keys, table->columns[i].number);

        for (size_t k = 0; k < count; k++)
            found |= banyan_str_equal(table->columns[i].name,
                                      banyan_str_of(keys[k]->node_case == PG_QUERY__NODE__NODE_INDEX_ELEM
                                                        ? keys[k]->index_elem->name
                                                        : keys[k]->string->sval));
        if (!found)
            effect_fails(work, "unique constraint on partitioned table must include all partitioning columns");
    }
    for (size_t i = 0; recurse && effect_is_partitioned(table) && i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child != NULL)
            effect_needs_partition_keys(work, child, keys, count, true);
    }
}

static bool is_refused(struct effect_work *work, const struct catalog_table *table, const PgQuery__IndexStmt *statement)
{
    if (table->kind == 'v' || table->kind == 'S' || table->kind == 'f')
        effect_fails(work, "cannot create index on relation \"%.*s\"", (int)table->shown.size, table->shown.data);
    if (statement->concurrent && effect_is_partitioned(table))
        effect_fails(work, "cannot create index on partitioned table concurrently: ON ONLY, then each partition, then "
                           "ALTER INDEX ATTACH PARTITION");
    for (size_t i = 0; i < statement->n_index_params; i++) {
        const PgQuery__IndexElem *element = statement->index_params[i]->index_elem;
        const struct catalog_column *column = catalog_column(table, banyan_str_of(element->name));

        if (element->expr == NULL && column != NULL && column->is_virtual)
            effect_fails(work, "indexes on virtual generated columns are not supported");
        if (element->expr == NULL && table->known && !table->stale && column == NULL)
            effect_fails(work, "column \"%s\" does not exist", element->name);
        if (element->expr != NULL && effect_is_volatile(work, element->expr) == EFFECT_YES)
            effect_fails(work, "functions in index expression must be marked IMMUTABLE");
    }
    if (statement->unique && effect_is_partitioned(table))
        effect_needs_partition_keys(work, table, statement->index_params, statement->n_index_params,
                                    statement->relation->inh);
    return !effect_goes_on(work);
}

static bool name_is_taken(struct effect_work *work, const struct catalog_table *table,
                          const PgQuery__IndexStmt *statement)
{
    struct catalog_table *there = NULL;

    if (statement->idxname[0] == '\0' || work->st != BANYAN_OK || catalog_is_offline(work->catalog))
        return false;
    work->st = catalog_table(work->catalog, table->schema, banyan_str_of(statement->idxname), &there, work->err);
    return there != NULL;
}

void effect_create_index(struct effect_work *work, const PgQuery__IndexStmt *statement)
{
    struct catalog_table *table = effect_find(work, statement->relation, false);
    enum effect_lock lock = statement->concurrent ? EFFECT_SHARE_UPDATE_EXCLUSIVE : EFFECT_SHARE;
    struct banyan_str name = banyan_str_of(statement->idxname);

    work->ret->outside_transaction = statement->concurrent;
    work->ret->waits_for_transactions = statement->concurrent;
    work->ret->leaves_invalid = statement->concurrent;
    if (table == NULL || is_refused(work, table, statement))
        return;
    if (name_is_taken(work, table, statement)) {
        if (!statement->if_not_exists)
            effect_fails(work, "relation \"%s\" already exists", statement->idxname);
        effect_note(work, "an index of that name is there, which may be another, or invalid");
        effect_lock(work, table, lock);
        return;
    }
    if (name.size > 0 && table->shown.size != table->name.size)
        name = banyan_arena_printf(work->arena, "%.*s.%s", (int)table->schema.size, table->schema.data,
                                   statement->idxname);
    build_below(work, table, lock, name, column_names(work, statement), statement->relation->inh);
}

/* ---- REINDEX ---- */

static bool has_option(PgQuery__Node *const *options, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(options[i]->def_elem->defname, name) == 0)
            return true;
    return false;
}

static void rebuild(struct effect_work *work, const struct catalog_table *table, const struct catalog_index *index,
                    bool concurrent)
{
    struct effect_relation *relation =
        effect_lock_index(work, table, index, concurrent ? EFFECT_SHARE_UPDATE_EXCLUSIVE : EFFECT_ACCESS_EXCLUSIVE);

    relation->rewrite = EFFECT_YES;
    relation->build = EFFECT_YES;
    effect_scan(work, table, EFFECT_YES);
}

void effect_reindex(struct effect_work *work, const PgQuery__ReindexStmt *statement)
{
    bool concurrent = has_option(statement->params, statement->n_params, "concurrently");
    bool of_index = statement->kind == PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_INDEX;
    struct catalog_table *relation, *table;

    work->ret->outside_transaction = concurrent;
    work->ret->waits_for_transactions = concurrent;
    work->ret->leaves_invalid = concurrent;
    if (!of_index && statement->kind != PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_TABLE) {
        effect_not_understood(work, "REINDEX of all that a schema or database holds");
        work->ret->outside_transaction = true;
        return;
    }
    relation = effect_find(work, statement->relation, false);
    if (relation == NULL)
        return;
    table = of_index && relation->known ? effect_by_oid(work, relation->parent) : relation;
    if (table == NULL || (relation->known && of_index != (relation->kind == 'i' || relation->kind == 'I'))) {
        effect_fails(work, "\"%.*s\" is not %s", (int)relation->shown.size, relation->shown.data,
                     of_index ? "an index" : "a table");
        return;
    }
    if (relation->kind == 'p' || relation->kind == 'I')
        work->ret->outside_transaction = true;
    if (!relation->known) {
        effect_lock(work, relation, of_index ? EFFECT_ACCESS_EXCLUSIVE : EFFECT_SHARE)->build = EFFECT_YES;
        return;
    }
    effect_lock(work, table, concurrent ? EFFECT_SHARE_UPDATE_EXCLUSIVE : EFFECT_SHARE);
    for (size_t i = 0; i < table->index_count; i++)
        if (!of_index || table->indexes[i].oid == relation->oid)
            rebuild(work, table, &table->indexes[i], concurrent);
}

void effect_cluster(struct effect_work *work, const PgQuery__ClusterStmt *statement)
{
    struct catalog_table *table;

    if (statement->relation == NULL) {
        work->ret->outside_transaction = true;
        effect_not_understood(work, "CLUSTER of every table");
        return;
    }
    table = effect_find(work, statement->relation, false);
    if (table == NULL)
        return;
    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    if (table->known) {
        bool found = false;

        for (size_t i = 0; i < table->index_count; i++)
            found |= banyan_str_equal(table->indexes[i].name, banyan_str_of(statement->indexname)) &&
                     !table->indexes[i].partial;
        if (!found)
            effect_fails(work, "there is no index \"%s\" to cluster on", statement->indexname);
    }
    effect_rewrite(work, table, EFFECT_YES);
}
