/* SPDX-License-Identifier: Apache-2.0 */
/* The catalog as it is behind a statement: as much of it as later statements of a migration lean on. */
#include <string.h>

#include "migrate/effect_int.h"

struct following {
    struct catalog *catalog;
    struct banyan_error *err;
};

static enum banyan_status find(struct following *all, const PgQuery__RangeVar *name, struct catalog_table **ret)
{
    *ret = NULL;
    return name == NULL ? BANYAN_OK
                        : catalog_table(all->catalog, banyan_str_of(name->schemaname), banyan_str_of(name->relname),
                                        ret, all->err);
}

static struct catalog_table *make(struct following *all, const PgQuery__RangeVar *name)
{
    struct catalog_table *table =
        catalog_make(all->catalog, banyan_str_of(name->schemaname), banyan_str_of(name->relname));

    table->stale = true; /* its columns are not followed */
    return table;
}

static struct catalog_constraint *find_constraint(struct catalog_table *table, const char *name)
{
    for (size_t i = 0; i < table->constraint_count; i++)
        if (banyan_str_equal(table->constraints[i].name, banyan_str_of(name)))
            return &table->constraints[i];
    return NULL;
}

static void add_check(struct following *all, struct catalog_table *table, const PgQuery__Constraint *check)
{
    struct catalog_constraint *constraints =
        banyan_arena_zalloc(catalog_arena(all->catalog), (table->constraint_count + 1) * sizeof(*constraints));

    if (table->constraint_count > 0)
        memcpy(constraints, table->constraints, table->constraint_count * sizeof(*constraints));
    constraints[table->constraint_count++] = (struct catalog_constraint){
        .name = banyan_str_of(check->conname),
        .kind = CATALOG_CHECK,
        .validated = !check->skip_validation,
        .table = table->oid,
        .tree = check->raw_expr,
    };
    table->constraints = constraints;
}

static void alter(struct following *all, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    struct catalog_constraint *constraint = find_constraint(table, command->name);

    switch (command->subtype) {
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AddConstraint:
        if (command->def->constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_CHECK)
            add_check(all, table, command->def->constraint);
        else
            table->stale = true;
        break;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_ValidateConstraint:
        if (constraint != NULL)
            constraint->validated = true;
        break;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DropConstraint:
        if (constraint != NULL)
            *constraint = (struct catalog_constraint){.name = BANYAN_STR(""), .kind = 0};
        table->stale = true;
        break;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_SetNotNull:
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DropNotNull:
        for (size_t i = 0; i < table->column_count; i++)
            if (banyan_str_equal(table->columns[i].name, banyan_str_of(command->name)))
                table->columns[i].not_null = command->subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_SetNotNull;
        break;
    default:
        table->stale = true;
    }
}

static enum banyan_status follow_alter(struct following *all, const PgQuery__AlterTableStmt *statement)
{
    struct catalog_table *table;
    enum banyan_status st = find(all, statement->relation, &table);

    for (size_t i = 0; table != NULL && i < statement->n_cmds; i++)
        alter(all, table, statement->cmds[i]->alter_table_cmd);
    return st;
}

static enum banyan_status follow_rename(struct following *all, const PgQuery__RenameStmt *statement)
{
    struct catalog_table *table, *renamed, copy;
    enum banyan_status st = find(all, statement->relation, &table);

    if (table == NULL)
        return st;
    table->stale = true;
    if (statement->rename_type != PG_QUERY__OBJECT_TYPE__OBJECT_TABLE)
        return st;
    copy = *table;
    catalog_forget(all->catalog, table);
    renamed = catalog_make(all->catalog, copy.schema, banyan_str_of(statement->newname));
    copy.name = renamed->name;
    copy.shown = renamed->shown;
    copy.oid = renamed->oid;
    *renamed = copy;
    return st;
}

static enum banyan_status follow_drop(struct following *all, const PgQuery__DropStmt *statement)
{
    enum banyan_status st = BANYAN_OK;

    for (size_t i = 0; i < statement->n_objects && st == BANYAN_OK; i++) {
        const PgQuery__Node *object = statement->objects[i];
        struct catalog_table *table = NULL;
        size_t count = object->node_case == PG_QUERY__NODE__NODE_LIST ? object->list->n_items : 0;

        if (count == 0 || count > 2)
            continue;
        st = catalog_table(all->catalog, banyan_str_of(count == 2 ? object->list->items[0]->string->sval : ""),
                           banyan_str_of(object->list->items[count - 1]->string->sval), &table, all->err);
        if (table != NULL)
            catalog_forget(all->catalog, table);
    }
    return st;
}

static enum banyan_status follow_index(struct following *all, const PgQuery__IndexStmt *statement)
{
    struct catalog_table *table;
    enum banyan_status st = find(all, statement->relation, &table);

    if (table != NULL)
        table->stale = true;
    return st;
}

enum banyan_status effect_follow(const struct statement *statement, struct catalog *catalog, struct banyan_error *err)
{
    struct following all = {.catalog = catalog, .err = err};
    const PgQuery__Node *node = statement->tree;
    struct catalog_table *there = NULL;
    enum banyan_status st;

    if (node == NULL)
        return BANYAN_OK;
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_CREATE_STMT:
        st = find(&all, node->create_stmt->relation, &there);
        /* One that may be there already (IF NOT EXISTS) may have rows. */
        if (st == BANYAN_OK && (there == NULL || (!there->known && !node->create_stmt->if_not_exists)))
            make(&all, node->create_stmt->relation)->kind = node->create_stmt->partspec != NULL ? 'p' : 'r';
        return st;
    case PG_QUERY__NODE__NODE_VIEW_STMT:
        make(&all, node->view_stmt->view)->kind = 'v';
        return BANYAN_OK;
    case PG_QUERY__NODE__NODE_CREATE_SEQ_STMT:
        make(&all, node->create_seq_stmt->sequence)->kind = 'S';
        return BANYAN_OK;
    case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
        return follow_alter(&all, node->alter_table_stmt);
    case PG_QUERY__NODE__NODE_RENAME_STMT:
        return follow_rename(&all, node->rename_stmt);
    case PG_QUERY__NODE__NODE_DROP_STMT:
        return follow_drop(&all, node->drop_stmt);
    case PG_QUERY__NODE__NODE_INDEX_STMT:
        return follow_index(&all, node->index_stmt);
    default:
        return BANYAN_OK;
    }
}
