/* SPDX-License-Identifier: Apache-2.0 */
/* Statements of a few forms: RENAME, domains, data, triggers, comments, and what touches no table at all. */
#include <string.h>

#include "migrate/effect_int.h"

/* ---- RENAME ---- */

void effect_rename(struct effect_work *work, const PgQuery__RenameStmt *statement)
{
    struct catalog_table *table;
    enum effect_lock lock = EFFECT_ACCESS_EXCLUSIVE;

    if (statement->relation == NULL) {
        if (statement->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_ROLE ||
            statement->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE)
            effect_not_understood(work, "RENAME of what is no relation");
        return;
    }
    table = effect_find(work, statement->relation, statement->missing_ok);
    if (table == NULL)
        return;
    if (statement->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_INDEX && (table->kind == 'i' || table->kind == 'I'))
        lock = EFFECT_SHARE_UPDATE_EXCLUSIVE;
    work->ret->breaks_old_code = statement->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABLE ||
                                 statement->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN ||
                                 statement->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_VIEW;
    effect_lock(work, table, lock);
    if (statement->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN && table->known && !table->stale) {
        const struct catalog_column *column = catalog_column(table, banyan_str_of(statement->subname));

        if (column == NULL)
            effect_fails(work, "column \"%s\" does not exist", statement->subname);
        if (catalog_column(table, banyan_str_of(statement->newname)) != NULL)
            effect_fails(work, "column \"%s\" already exists", statement->newname);
        if (column != NULL && column->inherited)
            effect_fails(work, "cannot rename inherited column \"%s\"", statement->subname);
        for (size_t i = 0; i < table->child_count && statement->relation->inh; i++) {
            const struct catalog_table *child = effect_by_oid(work, table->children[i]);

            if (child != NULL)
                effect_lock(work, child, EFFECT_ACCESS_EXCLUSIVE);
        }
    }
    if (statement->rename_type == PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT && table->known && !table->stale) {
        const struct catalog_constraint *constraint = catalog_constraint(table, banyan_str_of(statement->subname));

        if (constraint == NULL)
            effect_fails(work, "constraint \"%s\" for table does not exist", statement->subname);
        for (size_t i = 0; constraint != NULL && i < table->index_count; i++)
            if (table->indexes[i].oid == constraint->index && strchr("pux", constraint->kind) != NULL)
                effect_lock_index(work, table, &table->indexes[i], EFFECT_SHARE_UPDATE_EXCLUSIVE);
    }
}

/* ---- domains ---- */

static void domain_users(struct effect_work *work, const PgQuery__AlterDomainStmt *statement)
{
    const char *name = statement->type_name[statement->n_type_name - 1]->string->sval;
    const char *schema = statement->n_type_name > 1 ? statement->type_name[0]->string->sval : "";
    uint32_t *oids = NULL;
    size_t count = 0;

    work->st =
        catalog_domain_users(work->catalog, banyan_str_of(schema), banyan_str_of(name), &oids, &count, work->err);
    for (size_t i = 0; i < count && work->st == BANYAN_OK; i++) {
        const struct catalog_table *table = effect_by_oid(work, oids[i]);

        if (table == NULL)
            continue;
        effect_lock(work, table, EFFECT_SHARE);
        effect_scan(work, table, EFFECT_YES);
    }
    if (catalog_is_offline(work->catalog))
        effect_not_understood(work, "every table with a column of the domain is read under SHARE; which, is not known");
}

void effect_domain(struct effect_work *work, const PgQuery__AlterDomainStmt *statement)
{
    bool adds = statement->subtype[0] == 'C' && statement->def != NULL && !statement->def->constraint->skip_validation;

    /* T: default, N: drop not null, O: set not null, C: add, X: drop, V: validate */
    if (adds || statement->subtype[0] == 'O' || statement->subtype[0] == 'V')
        domain_users(work, statement);
}

/* ---- data ---- */

static void lock_written(struct effect_work *work, const struct catalog_table *table, enum effect_lock lock,
                         bool foreign_own, bool foreign_others)
{
    effect_lock(work, table, lock);
    if (!foreign_own) /* an INSERT gives those on indexes back at once */
        effect_lock_indexes(work, table, lock);
    for (size_t i = 0; foreign_own && i < table->constraint_count; i++) {
        const struct catalog_table *other = table->constraints[i].kind == CATALOG_FOREIGN
                                                ? effect_by_oid(work, table->constraints[i].referenced)
                                                : NULL;

        if (other == NULL)
            continue;
        effect_lock(work, other, EFFECT_ROW_SHARE);
        effect_lock_indexes(work, other, EFFECT_ROW_SHARE);
        effect_scan_by_plan(work, other);
    }
    for (size_t i = 0; foreign_others && i < table->reference_count; i++) {
        const struct catalog_table *other = effect_by_oid(work, table->references[i].table);

        if (other == NULL)
            continue;
        effect_lock(work, other, EFFECT_ROW_SHARE);
        effect_lock_indexes(work, other, EFFECT_ROW_SHARE);
        effect_scan_by_plan(work, other);
    }
}

static void lock_read(struct effect_work *work, enum effect_lock lock, bool whole)
{
    size_t count = work->ret->relation_count;

    for (size_t i = 0; i < count; i++) {
        struct catalog_table *table = NULL;

        if (work->ret->relations[i].is_index || work->st != BANYAN_OK)
            continue;
        work->st = catalog_table(work->catalog, BANYAN_STR(""), work->ret->relations[i].name, &table, work->err);
        if (table == NULL || table->kind == 'v' || table->kind == 'S')
            continue;
        effect_lock(work, table, lock);
        effect_lock_indexes(work, table, lock);
        if (whole)
            effect_scan(work, table, EFFECT_YES);
        else
            effect_scan_by_plan(work, table);
    }
}

static void data_target(struct effect_work *work, const PgQuery__RangeVar *name, bool whole, char kind)
{
    struct catalog_table *table = effect_find(work, name, false);

    if (table == NULL)
        return;
    if (kind == 'i') {
        lock_written(work, table, EFFECT_ROW_EXCLUSIVE, true, false);
        return;
    }
    lock_written(work, table, EFFECT_ROW_EXCLUSIVE, false, false);
    if (whole)
        effect_scan(work, table, EFFECT_YES);
    else
        effect_scan_by_plan(work, table);
    if (kind == 'd')
        lock_written(work, table, EFFECT_ROW_EXCLUSIVE, false, true);
    for (size_t i = 0; effect_is_partitioned(table) && i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child != NULL)
            lock_written(work, child, EFFECT_ROW_EXCLUSIVE, false, false);
    }
}

static void copy(struct effect_work *work, const PgQuery__CopyStmt *statement)
{
    const struct catalog_table *table;

    if (statement->relation == NULL) {
        effect_query(work, statement->query);
        lock_read(work, EFFECT_ACCESS_SHARE, false);
        return;
    }
    table = effect_find(work, statement->relation, false);
    if (table == NULL)
        return;
    if (statement->is_from) {
        if (table->kind == 'v' || table->kind == 'm')
            effect_fails(work, "cannot copy to \"%.*s\"", (int)table->shown.size, table->shown.data);
        lock_written(work, table, EFFECT_ROW_EXCLUSIVE, true, false);
        return;
    }
    if (table->kind == 'v' || table->kind == 'p')
        effect_fails(work, "cannot copy from \"%.*s\": use COPY (SELECT …) TO", (int)table->shown.size,
                     table->shown.data);
    effect_lock(work, table, EFFECT_ACCESS_SHARE);
    effect_scan(work, table, EFFECT_YES);
}

static void merge(struct effect_work *work, const PgQuery__MergeStmt *statement, const PgQuery__Node *node)
{
    bool changes = false;

    effect_query(work, node);
    lock_read(work, EFFECT_ACCESS_SHARE, false);
    for (size_t i = 0; i < statement->n_merge_when_clauses; i++) {
        PgQuery__CmdType type = statement->merge_when_clauses[i]->merge_when_clause->command_type;

        changes |= type == PG_QUERY__CMD_TYPE__CMD_UPDATE || type == PG_QUERY__CMD_TYPE__CMD_DELETE;
        work->ret->removes_data |= type == PG_QUERY__CMD_TYPE__CMD_DELETE;
    }
    data_target(work, statement->relation, false, changes ? 'd' : 'u');
}

static enum effect_lock select_lock(const PgQuery__SelectStmt *select)
{
    return select->n_locking_clause > 0 ? EFFECT_ROW_SHARE : EFFECT_ACCESS_SHARE;
}

void effect_data(struct effect_work *work, const PgQuery__Node *node)
{
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_SELECT_STMT: {
        const PgQuery__SelectStmt *select = node->select_stmt;

        effect_query(work, node);
        lock_read(work, select_lock(select),
                  select->where_clause == NULL && select->limit_count == NULL && select->n_from_clause == 1 &&
                      select->n_sort_clause == 0);
        break;
    }
    case PG_QUERY__NODE__NODE_INSERT_STMT:
        if (node->insert_stmt->select_stmt != NULL) {
            effect_query(work, node->insert_stmt->select_stmt);
            lock_read(work, EFFECT_ACCESS_SHARE, false);
        }
        data_target(work, node->insert_stmt->relation, false, 'i');
        break;
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
        effect_query(work, node);
        lock_read(work, EFFECT_ACCESS_SHARE, false);
        data_target(work, node->update_stmt->relation, node->update_stmt->where_clause == NULL, 'u');
        break;
    case PG_QUERY__NODE__NODE_DELETE_STMT:
        effect_query(work, node);
        lock_read(work, EFFECT_ACCESS_SHARE, false);
        data_target(work, node->delete_stmt->relation, node->delete_stmt->where_clause == NULL, 'd');
        work->ret->removes_data = true;
        break;
    case PG_QUERY__NODE__NODE_COPY_STMT:
        copy(work, node->copy_stmt);
        break;
    default:
        merge(work, node->merge_stmt, node);
    }
}

/* ---- small ones ---- */

static void lock_one(struct effect_work *work, const PgQuery__RangeVar *name, enum effect_lock lock)
{
    const struct catalog_table *table = name == NULL ? NULL : effect_find(work, name, false);

    if (table != NULL)
        effect_lock(work, table, lock);
}

static void truncate_one(struct effect_work *work, const struct catalog_table *table, bool cascade, bool restart)
{
    if (table->kind == 'v' || table->kind == 'm')
        effect_fails(work, "\"%.*s\" is not a table", (int)table->shown.size, table->shown.data);
    if (effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE)->rewrite == EFFECT_YES)
        return;
    effect_rewrite(work, table, EFFECT_YES);
    /* Nothing is read but by the indexes, that are built anew and empty. */
    if (table->index_count == 0)
        effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE)->scan = EFFECT_NO;
    for (size_t i = 0; i < table->column_count && restart; i++) {
        const struct catalog_table *sequence = effect_by_oid(work, table->columns[i].sequence);

        if (sequence != NULL)
            effect_lock(work, sequence, EFFECT_SHARE_ROW_EXCLUSIVE)->rewrite = EFFECT_YES;
    }
    for (size_t i = 0; i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child != NULL)
            truncate_one(work, child, cascade, restart);
    }
    for (size_t i = 0; i < table->reference_count && cascade; i++) {
        const struct catalog_table *other = effect_by_oid(work, table->references[i].table);

        if (other != NULL)
            truncate_one(work, other, true, restart);
    }
}

static void truncate_tables(struct effect_work *work, const PgQuery__TruncateStmt *statement)
{
    bool cascade = statement->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE;

    work->ret->removes_data = true;
    for (size_t i = 0; i < statement->n_relations && effect_goes_on(work); i++) {
        const struct catalog_table *table = effect_find(work, statement->relations[i]->range_var, false);

        if (table != NULL)
            truncate_one(work, table, cascade, statement->restart_seqs);
    }
    for (size_t i = 0; i < statement->n_relations && effect_goes_on(work); i++) {
        const struct catalog_table *table = effect_find(work, statement->relations[i]->range_var, false);

        for (size_t k = 0; table != NULL && k < table->reference_count; k++) {
            const struct catalog_table *other = effect_by_oid(work, table->references[k].table);

            if (other != NULL && effect_named(work, other->shown)->rewrite != EFFECT_YES)
                effect_fails(work, "cannot truncate a table referenced in a foreign key constraint");
        }
    }
}

static void refresh(struct effect_work *work, const PgQuery__RefreshMatViewStmt *statement)
{
    struct catalog_table *view = effect_find(work, statement->relation, false);
    bool unique = false;

    if (view == NULL)
        return;
    if (view->known && view->kind != 'm')
        effect_fails(work, "\"%.*s\" is not a materialized view", (int)view->shown.size, view->shown.data);
    for (size_t i = 0; i < view->index_count; i++)
        unique |= view->indexes[i].unique && !view->indexes[i].partial && !view->indexes[i].has_expressions;
    if (statement->concurrent && view->known && !unique)
        effect_fails(work, "cannot refresh it concurrently without a unique index");
    effect_note(work, "its query runs from end to end; the tables that it reads are locked ACCESS SHARE");
    effect_lock(work, view, statement->concurrent ? EFFECT_EXCLUSIVE : EFFECT_ACCESS_EXCLUSIVE);
    if (!statement->concurrent) {
        effect_rewrite(work, view, EFFECT_YES);
    } else {
        effect_lock_indexes(work, view, EFFECT_ROW_EXCLUSIVE);
        effect_scan(work, view, EFFECT_YES);
    }
    if (statement->skip_data || work->st != BANYAN_OK || catalog_is_offline(work->catalog))
        return;
    work->st = catalog_view_sources(work->catalog, view, work->err);
    for (size_t i = 0; i < view->source_count; i++) {
        const struct catalog_table *source = effect_by_oid(work, view->sources[i]);

        if (source == NULL)
            continue;
        effect_lock(work, source, EFFECT_ACCESS_SHARE);
        effect_lock_indexes(work, source, EFFECT_ACCESS_SHARE);
        if (source->kind == 'r')
            effect_scan(work, source, EFFECT_YES);
    }
}

static void comment(struct effect_work *work, const PgQuery__CommentStmt *statement)
{
    const PgQuery__Node *object = statement->object;
    size_t cut = 0;
    enum effect_lock lock = EFFECT_SHARE_UPDATE_EXCLUSIVE;
    const struct catalog_table *table;

    switch (statement->objtype) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN:
        cut = 1;
        break;
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT:
    case PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER:
    case PG_QUERY__OBJECT_TYPE__OBJECT_POLICY:
    case PG_QUERY__OBJECT_TYPE__OBJECT_RULE:
        cut = 1;
        lock = EFFECT_ACCESS_SHARE;
        break;
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABLE:
    case PG_QUERY__OBJECT_TYPE__OBJECT_INDEX:
    case PG_QUERY__OBJECT_TYPE__OBJECT_VIEW:
    case PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW:
    case PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE:
        break;
    default:
        return; /* of no table */
    }
    if (object->node_case != PG_QUERY__NODE__NODE_LIST || object->list->n_items <= cut)
        return;
    table = effect_find_list(work, object->list->items, object->list->n_items - cut, false);
    if (table == NULL)
        return;
    if (statement->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN && table->known && !table->stale &&
        catalog_column(table, banyan_str_of(object->list->items[object->list->n_items - 1]->string->sval)) == NULL)
        effect_fails(work, "the column does not exist");
    effect_lock(work, table, lock);
}

static void lock_tables(struct effect_work *work, const PgQuery__LockStmt *statement)
{
    for (size_t i = 0; i < statement->n_relations; i++) {
        const struct catalog_table *table = effect_find(work, statement->relations[i]->range_var, false);

        if (table == NULL)
            continue;
        effect_lock(work, table, (enum effect_lock)statement->mode);
        for (size_t k = 0; k < table->child_count && statement->relations[i]->range_var->inh; k++) {
            const struct catalog_table *child = effect_by_oid(work, table->children[k]);

            if (child != NULL)
                effect_lock(work, child, (enum effect_lock)statement->mode);
        }
    }
}

static void vacuum(struct effect_work *work, const PgQuery__VacuumStmt *statement)
{
    bool full = false;

    work->ret->outside_transaction = statement->is_vacuumcmd;
    for (size_t i = 0; i < statement->n_options; i++)
        full |= strcmp(statement->options[i]->def_elem->defname, "full") == 0;
    for (size_t i = 0; i < statement->n_rels; i++) {
        const struct catalog_table *table = effect_find(work, statement->rels[i]->vacuum_relation->relation, false);

        if (table == NULL)
            continue;
        effect_lock(work, table, full ? EFFECT_ACCESS_EXCLUSIVE : EFFECT_SHARE_UPDATE_EXCLUSIVE);
        if (full)
            effect_rewrite(work, table, EFFECT_YES);
        else if (!effect_is_partitioned(table))
            effect_lock_indexes(work, table, EFFECT_ACCESS_SHARE);
        for (size_t k = 0; k < table->child_count && !full; k++) {
            const struct catalog_table *child = effect_by_oid(work, table->children[k]);

            if (child == NULL)
                continue;
            effect_lock(work, child,
                        effect_is_partitioned(table) ? EFFECT_SHARE_UPDATE_EXCLUSIVE : EFFECT_ACCESS_SHARE);
            effect_lock_indexes(work, child, EFFECT_ACCESS_SHARE);
        }
    }
    if (statement->n_rels == 0)
        effect_not_understood(work, "VACUUM or ANALYZE of the whole database");
}

static void statistics(struct effect_work *work, const PgQuery__CreateStatsStmt *statement)
{
    for (size_t i = 0; i < statement->n_relations; i++)
        lock_one(work, statement->relations[i]->range_var, EFFECT_SHARE_UPDATE_EXCLUSIVE);
}

static void publication(struct effect_work *work, const PgQuery__CreatePublicationStmt *statement)
{
    for (size_t i = 0; i < statement->n_pubobjects; i++) {
        const PgQuery__PublicationObjSpec *object = statement->pubobjects[i]->publication_obj_spec;

        if (object->pubtable != NULL)
            lock_one(work, object->pubtable->relation, EFFECT_SHARE_UPDATE_EXCLUSIVE);
    }
}

static void view(struct effect_work *work, const PgQuery__ViewStmt *statement)
{
    struct catalog_table *there = effect_find(work, statement->view, true);

    if (there != NULL && there->known && !statement->replace)
        effect_fails(work, "relation \"%s\" already exists", statement->view->relname);
    if (there != NULL && statement->replace) /* the server lets it have more columns, and lose or change none */
        effect_lock(work, there, EFFECT_ACCESS_EXCLUSIVE);
    effect_query(work, statement->query);
}

static void set_schema(struct effect_work *work, const PgQuery__AlterObjectSchemaStmt *statement)
{
    const struct catalog_table *table =
        statement->relation == NULL ? NULL : effect_find(work, statement->relation, statement->missing_ok);

    if (table == NULL)
        return;
    work->ret->breaks_old_code = true;
    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    for (size_t i = 0; i < table->column_count; i++) {
        const struct catalog_table *sequence = effect_by_oid(work, table->columns[i].sequence);

        if (sequence != NULL)
            effect_lock(work, sequence, EFFECT_ACCESS_EXCLUSIVE);
    }
}

static void create_as(struct effect_work *work, const PgQuery__CreateTableAsStmt *statement)
{
    struct catalog_table *there = effect_find(work, statement->into->rel, true);

    if (there != NULL && there->known) {
        if (!statement->if_not_exists)
            effect_fails(work, "relation \"%s\" already exists", statement->into->rel->relname);
        return;
    }
    effect_query(work, statement->query);
    if (statement->into->skip_data)
        return;
    lock_read(work, EFFECT_ACCESS_SHARE,
              statement->query->node_case == PG_QUERY__NODE__NODE_SELECT_STMT &&
                  statement->query->select_stmt->where_clause == NULL &&
                  statement->query->select_stmt->limit_count == NULL);
}

static void setting(struct effect_work *work, const PgQuery__VariableSetStmt *statement)
{
    if (strcmp(statement->name, "timezone") == 0)
        effect_note(work, "changes of timestamp columns below depend on this zone");
}

/* 18 locks what is named; before, nothing. */
static void grant(struct effect_work *work, const PgQuery__GrantStmt *statement)
{
    for (size_t i = 0; i < statement->n_objects && effect_is_18(work); i++)
        if (statement->objects[i]->node_case == PG_QUERY__NODE__NODE_RANGE_VAR)
            lock_one(work, statement->objects[i]->range_var, EFFECT_ACCESS_SHARE);
}

static bool on_one_table(struct effect_work *work, const PgQuery__Node *node)
{
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
        lock_one(work, node->create_trig_stmt->relation, EFFECT_SHARE_ROW_EXCLUSIVE);
        lock_one(work, node->create_trig_stmt->constrrel, EFFECT_ACCESS_SHARE);
        return true;
    case PG_QUERY__NODE__NODE_RULE_STMT:
        lock_one(work, node->rule_stmt->relation, EFFECT_ACCESS_EXCLUSIVE);
        return true;
    case PG_QUERY__NODE__NODE_CREATE_POLICY_STMT:
        lock_one(work, node->create_policy_stmt->table, EFFECT_ACCESS_EXCLUSIVE);
        return true;
    case PG_QUERY__NODE__NODE_ALTER_POLICY_STMT:
        lock_one(work, node->alter_policy_stmt->table, EFFECT_ACCESS_EXCLUSIVE);
        return true;
    case PG_QUERY__NODE__NODE_ALTER_SEQ_STMT: {
        const struct catalog_table *sequence =
            effect_find(work, node->alter_seq_stmt->sequence, node->alter_seq_stmt->missing_ok);

        if (sequence != NULL)
            effect_lock(work, sequence, EFFECT_SHARE_ROW_EXCLUSIVE)->rewrite = EFFECT_YES;
        return true;
    }
    default:
        return false;
    }
}

static bool touches_no_table(PgQuery__Node__NodeCase kind)
{
    switch (kind) {
    case PG_QUERY__NODE__NODE_GRANT_ROLE_STMT:
    case PG_QUERY__NODE__NODE_CREATE_FUNCTION_STMT:
    case PG_QUERY__NODE__NODE_ALTER_FUNCTION_STMT:
    case PG_QUERY__NODE__NODE_CREATE_DOMAIN_STMT:
    case PG_QUERY__NODE__NODE_CREATE_ENUM_STMT:
    case PG_QUERY__NODE__NODE_ALTER_ENUM_STMT:
    case PG_QUERY__NODE__NODE_CREATE_RANGE_STMT:
    case PG_QUERY__NODE__NODE_COMPOSITE_TYPE_STMT:
    case PG_QUERY__NODE__NODE_CREATE_SEQ_STMT:
    case PG_QUERY__NODE__NODE_CREATE_ROLE_STMT:
    case PG_QUERY__NODE__NODE_VARIABLE_SHOW_STMT:
    case PG_QUERY__NODE__NODE_TRANSACTION_STMT:
    case PG_QUERY__NODE__NODE_ALTER_DEFAULT_PRIVILEGES_STMT:
    case PG_QUERY__NODE__NODE_CONSTRAINTS_SET_STMT:
    case PG_QUERY__NODE__NODE_ALTER_OWNER_STMT:
    case PG_QUERY__NODE__NODE_ALTER_ROLE_STMT:
    case PG_QUERY__NODE__NODE_ALTER_ROLE_SET_STMT:
    case PG_QUERY__NODE__NODE_DEFINE_STMT:
    case PG_QUERY__NODE__NODE_CREATE_CAST_STMT:
    case PG_QUERY__NODE__NODE_NOTIFY_STMT:
        return true;
    default:
        return false;
    }
}

void effect_other(struct effect_work *work, const PgQuery__Node *node)
{
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_TRUNCATE_STMT:
        truncate_tables(work, node->truncate_stmt);
        break;
    case PG_QUERY__NODE__NODE_REFRESH_MAT_VIEW_STMT:
        refresh(work, node->refresh_mat_view_stmt);
        break;
    case PG_QUERY__NODE__NODE_COMMENT_STMT:
        comment(work, node->comment_stmt);
        break;
    case PG_QUERY__NODE__NODE_GRANT_STMT:
        grant(work, node->grant_stmt);
        break;
    case PG_QUERY__NODE__NODE_LOCK_STMT:
        lock_tables(work, node->lock_stmt);
        break;
    case PG_QUERY__NODE__NODE_VACUUM_STMT:
        vacuum(work, node->vacuum_stmt);
        break;
    case PG_QUERY__NODE__NODE_CREATE_STATS_STMT:
        statistics(work, node->create_stats_stmt);
        break;
    case PG_QUERY__NODE__NODE_CREATE_PUBLICATION_STMT:
        publication(work, node->create_publication_stmt);
        break;
    case PG_QUERY__NODE__NODE_VIEW_STMT:
        view(work, node->view_stmt);
        break;
    case PG_QUERY__NODE__NODE_ALTER_OBJECT_SCHEMA_STMT:
        set_schema(work, node->alter_object_schema_stmt);
        break;
    case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT:
        create_as(work, node->create_table_as_stmt);
        break;
    case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT:
        setting(work, node->variable_set_stmt);
        break;
    case PG_QUERY__NODE__NODE_DO_STMT:
    case PG_QUERY__NODE__NODE_CALL_STMT:
        effect_not_understood(work, "what a block or a procedure does is known when it runs");
        break;
    case PG_QUERY__NODE__NODE_CREATE_EXTENSION_STMT:
        effect_not_understood(work, "an extension's script may do anything");
        break;
    case PG_QUERY__NODE__NODE_CREATE_SCHEMA_STMT:
        if (node->create_schema_stmt->n_schema_elts > 0)
            effect_not_understood(work, "CREATE SCHEMA with objects in it: write them as statements");
        break;
    default:
        if (!touches_no_table(node->node_case) && !on_one_table(work, node))
            effect_not_understood(work, "a statement that is not known here");
    }
}
