/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalog as it is behind a statement: as much of it as later statements of a migration lean on.  Columns, CHECKs,
 * NOT NULL, keys, foreign keys and indexes are followed, on partitions, too; what is not makes the table stale.
 */
#include <string.h>

#include "migrate/effect_int.h"

#define AT(name) PG_QUERY__ALTER_TABLE_TYPE__AT_##name
#define CONSTR(name) PG_QUERY__CONSTR_TYPE__CONSTR_##name

struct following {
    struct catalog *catalog;
    struct banyan_error *err;
    struct banyan_arena *arena; /* of the catalog */
    enum banyan_status st;      /* sticky */
};

static struct catalog_table *find(struct following *all, const char *schema, const char *name)
{
    struct catalog_table *table = NULL;

    if (all->st == BANYAN_OK)
        all->st = catalog_table(all->catalog, banyan_str_of(schema), banyan_str_of(name), &table, all->err);
    return table;
}

static struct catalog_table *find_range(struct following *all, const PgQuery__RangeVar *name)
{
    return name == NULL ? NULL : find(all, name->schemaname, name->relname);
}

static struct catalog_table *by_oid(struct following *all, uint32_t oid)
{
    struct catalog_table *table = NULL;

    if (all->st == BANYAN_OK && oid != 0)
        all->st = catalog_by_oid(all->catalog, oid, &table, all->err);
    return table;
}

static struct catalog_table *make(struct following *all, const PgQuery__RangeVar *name)
{
    struct catalog_table *table =
        catalog_make(all->catalog, banyan_str_of(name->schemaname), banyan_str_of(name->relname));

    table->stale = true; /* its columns are not followed */
    return table;
}

/* ---- lists that grow ---- */

static void *grown(struct following *all, const void *items, size_t count, size_t size)
{
    char *ret = banyan_arena_zalloc(all->arena, (count + 1) * size);

    if (count > 0)
        memcpy(ret, items, count * size);
    return ret;
}

static struct catalog_column *column_of(struct catalog_table *table, const char *name)
{
    for (size_t i = 0; i < table->column_count; i++)
        if (banyan_str_equal(table->columns[i].name, banyan_str_of(name)))
            return &table->columns[i];
    return NULL;
}

static struct catalog_constraint *find_constraint(struct catalog_table *table, const char *name)
{
    for (size_t i = 0; i < table->constraint_count; i++)
        if (banyan_str_equal(table->constraints[i].name, banyan_str_of(name)))
            return &table->constraints[i];
    return NULL;
}

static struct catalog_constraint *push_constraint(struct following *all, struct catalog_table *table,
                                                  const PgQuery__Constraint *constraint, char kind)
{
    table->constraints = grown(all, table->constraints, table->constraint_count, sizeof(*table->constraints));
    table->constraints[table->constraint_count] = (struct catalog_constraint){
        .name = banyan_arena_str(all->arena, banyan_str_of(constraint->conname)),
        .kind = kind,
        .validated = !constraint->skip_validation,
        .table = table->oid,
    };
    return &table->constraints[table->constraint_count++];
}

static struct catalog_index *push_index(struct following *all, struct catalog_table *table, struct banyan_str name)
{
    struct catalog_table *relation = catalog_make(all->catalog, table->schema, name);

    relation->kind = 'i';
    relation->parent = table->oid;
    table->indexes = grown(all, table->indexes, table->index_count, sizeof(*table->indexes));
    table->indexes[table->index_count] =
        (struct catalog_index){.oid = relation->oid, .name = relation->name, .valid = true, .bytes = CATALOG_UNKNOWN};
    return &table->indexes[table->index_count++];
}

static void remove_index(struct following *all, struct catalog_table *table, uint32_t oid)
{
    for (size_t i = 0; i < table->index_count; i++)
        if (table->indexes[i].oid == oid) {
            struct catalog_table *relation = by_oid(all, oid);

            memmove(&table->indexes[i], &table->indexes[i + 1], (table->index_count - i - 1) * sizeof(*table->indexes));
            table->index_count--;
            if (relation != NULL)
                catalog_forget(all->catalog, relation);
            return;
        }
}

static void add_named(const struct catalog_table *table, PgQuery__Node *const *names, size_t count,
                      struct catalog_columns *columns)
{
    for (size_t i = 0; i < count; i++) {
        const struct catalog_column *column = names[i]->node_case == PG_QUERY__NODE__NODE_STRING
                                                  ? catalog_column(table, banyan_str_of(names[i]->string->sval))
                                                  : NULL;

        if (column != NULL)
            catalog_columns_add(columns, column->number);
    }
}

/* ---- columns ---- */

static void set_type(struct following *all, struct catalog_column *column, PgQuery__TypeName *type)
{
    struct effect ignored = {.verdict = EFFECT_UNDERSTOOD};
    struct effect_work work = {.catalog = all->catalog, .arena = all->arena, .ret = &ignored, .err = all->err};

    column->type = effect_type(&work, type);
    column->shown = node_deparse_type(type, all->arena);
    if (all->st == BANYAN_OK)
        all->st = work.st;
}

static void add_column(struct following *all, struct catalog_table *table, const PgQuery__ColumnDef *definition)
{
    struct catalog_column column = {.name = banyan_arena_str(all->arena, banyan_str_of(definition->colname)),
                                    .made_here = true};

    if (column_of(table, definition->colname) != NULL)
        return;
    for (size_t i = 0; i < table->column_count; i++)
        if (table->columns[i].number > column.number)
            column.number = table->columns[i].number;
    column.number++;
    set_type(all, &column, definition->type_name);
    for (size_t i = 0; i < definition->n_constraints; i++) {
        const PgQuery__Constraint *part = definition->constraints[i]->constraint;

        switch (part->contype) {
        case CONSTR(NOTNULL):
            column.not_null = true;
            break;
        case CONSTR(DEFAULT):
            column.has_default = true;
            column.default_value = node_deparse_expression(part->raw_expr, all->arena);
            break;
        case CONSTR(IDENTITY):
            column.is_identity = column.not_null = true;
            break;
        case CONSTR(GENERATED):
            column.is_generated = true;
            break;
        case CONSTR(NULL):
            break;
        default:
            table->stale = true;
        }
    }
    table->columns = grown(all, table->columns, table->column_count, sizeof(*table->columns));
    table->columns[table->column_count++] = column;
}

/* What rests on the column goes with it. */
static void drop_column(struct following *all, struct catalog_table *table, const char *name)
{
    const struct catalog_column *column = column_of(table, name);
    size_t at;

    if (column == NULL)
        return;
    for (size_t i = table->index_count; i > 0; i--)
        if (catalog_columns_has(&table->indexes[i - 1].columns, column->number))
            remove_index(all, table, table->indexes[i - 1].oid);
    for (size_t i = 0; i < table->constraint_count; i++)
        if (catalog_columns_has(&table->constraints[i].columns, column->number))
            table->constraints[i] = (struct catalog_constraint){.name = BANYAN_STR(""), .kind = 0};
    at = (size_t)(column - table->columns);
    memmove(&table->columns[at], &table->columns[at + 1], (table->column_count - at - 1) * sizeof(*table->columns));
    table->column_count--;
}

static void set_default(struct following *all, struct catalog_column *column, const PgQuery__Node *value)
{
    column->has_default = value != NULL;
    column->default_value = value == NULL ? (struct banyan_str){NULL, 0} : node_deparse_expression(value, all->arena);
}

/* ---- constraints ---- */

static void add_check(struct following *all, struct catalog_table *table, const PgQuery__Constraint *check)
{
    struct catalog_constraint *constraint = push_constraint(all, table, check, CATALOG_CHECK);

    constraint->tree = check->raw_expr;
    if (constraint->name.size == 0)
        table->stale = true;
}

static void add_foreign(struct following *all, struct catalog_table *table, const PgQuery__Constraint *foreign)
{
    struct catalog_constraint *constraint = push_constraint(all, table, foreign, CATALOG_FOREIGN);
    struct catalog_table *referenced = find_range(all, foreign->pktable);

    add_named(table, foreign->fk_attrs, foreign->n_fk_attrs, &constraint->columns);
    if (referenced == NULL)
        return;
    constraint->referenced = referenced->oid;
    add_named(referenced, foreign->pk_attrs, foreign->n_pk_attrs, &constraint->referenced_columns);
    referenced->references =
        grown(all, referenced->references, referenced->reference_count, sizeof(*referenced->references));
    referenced->references[referenced->reference_count++] = *constraint;
}

static void rename_relation(struct following *all, uint32_t oid, struct banyan_str name)
{
    struct catalog_table *relation = by_oid(all, oid);

    if (relation != NULL && !banyan_str_equal(relation->name, name))
        catalog_rename(all->catalog, relation, name);
}

static void add_key(struct following *all, struct catalog_table *table, const PgQuery__Constraint *key)
{
    bool primary = key->contype == CONSTR(PRIMARY);
    struct catalog_index *index = NULL;
    struct catalog_constraint *constraint;

    for (size_t i = 0; i < table->index_count && key->indexname[0] != '\0'; i++)
        if (banyan_str_equal(table->indexes[i].name, banyan_str_of(key->indexname)))
            index = &table->indexes[i];
    if (key->conname[0] == '\0' || (index == NULL && key->indexname[0] != '\0')) {
        table->stale = true;
        return;
    }
    if (index == NULL) {
        index = push_index(all, table, banyan_str_of(key->conname));
        add_named(table, key->keys, key->n_keys, &index->keys);
        index->columns = index->keys;
    }
    constraint = push_constraint(all, table, key, primary ? CATALOG_PRIMARY : CATALOG_UNIQUE);
    constraint->validated = true;
    constraint->columns = index->keys;
    constraint->index = index->oid;
    index->unique = index->of_constraint = true;
    index->primary = primary;
    index->name = constraint->name;
    rename_relation(all, index->oid, constraint->name);
    for (size_t i = 0; i < table->column_count && primary; i++)
        table->columns[i].not_null |= catalog_columns_has(&index->keys, table->columns[i].number);
}

static void add_constraint(struct following *all, struct catalog_table *table, const PgQuery__Constraint *constraint)
{
    switch (constraint->contype) {
    case CONSTR(CHECK):
        add_check(all, table, constraint);
        break;
    case CONSTR(FOREIGN):
        add_foreign(all, table, constraint);
        break;
    case CONSTR(PRIMARY):
    case CONSTR(UNIQUE):
        add_key(all, table, constraint);
        break;
    default:
        table->stale = true;
    }
}

/* It is a constraint, too, from 18 on. */
static void forget_not_null(struct catalog_table *table, const struct catalog_column *column)
{
    for (size_t i = 0; i < table->constraint_count; i++)
        if (table->constraints[i].kind == CATALOG_NOT_NULL &&
            catalog_columns_has(&table->constraints[i].columns, column->number))
            table->constraints[i] = (struct catalog_constraint){.name = BANYAN_STR(""), .kind = 0};
}

static void drop_constraint(struct following *all, struct catalog_table *table, const char *name)
{
    struct catalog_constraint *constraint = find_constraint(table, name), gone;
    struct catalog_table *referenced;

    if (constraint == NULL) {
        table->stale = true;
        return;
    }
    gone = *constraint;
    *constraint = (struct catalog_constraint){.name = BANYAN_STR(""), .kind = 0};
    for (size_t i = 0; i < table->column_count && gone.kind == CATALOG_NOT_NULL; i++)
        if (catalog_columns_has(&gone.columns, table->columns[i].number))
            table->columns[i].not_null = false;
    if (gone.kind == CATALOG_PRIMARY || gone.kind == CATALOG_UNIQUE || gone.kind == CATALOG_EXCLUSION)
        remove_index(all, table, gone.index);
    referenced = gone.kind == CATALOG_FOREIGN ? by_oid(all, gone.referenced) : NULL;
    for (size_t i = 0; referenced != NULL && i < referenced->reference_count; i++)
        if (referenced->references[i].table == table->oid &&
            banyan_str_equal(referenced->references[i].name, gone.name)) {
            memmove(&referenced->references[i], &referenced->references[i + 1],
                    (referenced->reference_count - i - 1) * sizeof(*referenced->references));
            referenced->reference_count--;
            break;
        }
}

/* ---- ALTER TABLE ---- */

static bool alter_column(struct following *all, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    struct catalog_column *column = column_of(table, command->name);

    switch (command->subtype) {
    case AT(SetNotNull):
    case AT(DropNotNull):
        if (column != NULL)
            column->not_null = command->subtype == AT(SetNotNull);
        if (column != NULL && command->subtype == AT(DropNotNull))
            forget_not_null(table, column);
        return true;
    case AT(ColumnDefault):
        if (column != NULL)
            set_default(all, column, command->def);
        return true;
    case AT(AlterColumnType):
        if (column != NULL) {
            set_type(all, column, command->def->column_def->type_name);
            column->changed_here = true;
        }
        return true;
    case AT(AddColumn):
        add_column(all, table, command->def->column_def);
        return true;
    case AT(DropColumn):
        drop_column(all, table, command->name);
        return true;
    case AT(AddIdentity):
    case AT(DropIdentity):
        if (column != NULL)
            column->is_identity = command->subtype == AT(AddIdentity);
        return true;
    default:
        return false;
    }
}

/* Forms that change nothing of what is known here. */
static bool is_harmless(PgQuery__AlterTableType type)
{
    switch (type) {
    case AT(SetStatistics):
    case AT(SetOptions):
    case AT(ResetOptions):
    case AT(SetStorage):
    case AT(SetCompression):
    case AT(SetRelOptions):
    case AT(ResetRelOptions):
    case AT(ChangeOwner):
    case AT(ClusterOn):
    case AT(DropCluster):
    case AT(EnableAlwaysTrig):
    case AT(EnableTrig):
        return true;
    default:
        return false;
    }
}

static void alter(struct following *all, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    struct catalog_constraint *constraint;
    bool recurse = true;

    if (!alter_column(all, table, command)) {
        switch (command->subtype) {
        case AT(AddConstraint):
            recurse = command->def->constraint->contype == CONSTR(CHECK) && !command->def->constraint->is_no_inherit;
            add_constraint(all, table, command->def->constraint);
            break;
        case AT(ValidateConstraint):
            constraint = find_constraint(table, command->name);
            if (constraint != NULL)
                constraint->validated = true;
            break;
        case AT(DropConstraint):
            constraint = find_constraint(table, command->name);
            recurse = constraint != NULL && constraint->kind == CATALOG_CHECK;
            drop_constraint(all, table, command->name);
            break;
        default:
            recurse = false;
            table->stale |= !is_harmless(command->subtype);
        }
    }
    for (size_t i = 0; recurse && i < table->child_count; i++) {
        struct catalog_table *child = by_oid(all, table->children[i]);

        if (child != NULL)
            alter(all, child, command);
    }
}

static void follow_alter(struct following *all, const PgQuery__AlterTableStmt *statement)
{
    struct catalog_table *table = find_range(all, statement->relation);

    for (size_t i = 0; table != NULL && i < statement->n_cmds; i++)
        alter(all, table, statement->cmds[i]->alter_table_cmd);
}

/* ---- the rest ---- */

static void rename_column(struct following *all, struct catalog_table *table, const PgQuery__RenameStmt *statement)
{
    struct catalog_column *column = column_of(table, statement->subname);

    if (column != NULL) {
        column->name = banyan_arena_str(all->arena, banyan_str_of(statement->newname));
        column->changed_here = true;
    }
    for (size_t i = 0; i < table->child_count; i++) {
        struct catalog_table *child = by_oid(all, table->children[i]);

        if (child != NULL)
            rename_column(all, child, statement);
    }
}

static void rename_constraint(struct following *all, struct catalog_table *table, const PgQuery__RenameStmt *statement)
{
    struct catalog_constraint *constraint = find_constraint(table, statement->subname);

    if (constraint == NULL)
        return;
    constraint->name = banyan_arena_str(all->arena, banyan_str_of(statement->newname));
    for (size_t i = 0; i < table->index_count && strchr("pux", constraint->kind) != NULL; i++)
        if (table->indexes[i].oid == constraint->index) {
            table->indexes[i].name = constraint->name;
            rename_relation(all, constraint->index, constraint->name);
        }
}

static void rename_index(struct following *all, const struct catalog_table *index, const char *name)
{
    struct catalog_table *table = by_oid(all, index->parent);

    for (size_t i = 0; table != NULL && i < table->index_count; i++)
        if (table->indexes[i].oid == index->oid)
            table->indexes[i].name = banyan_arena_str(all->arena, banyan_str_of(name));
}

static void follow_rename(struct following *all, const PgQuery__RenameStmt *statement)
{
    struct catalog_table *table = find_range(all, statement->relation);

    if (table == NULL)
        return;
    switch (statement->rename_type) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_COLUMN:
        rename_column(all, table, statement);
        break;
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABCONSTRAINT:
        rename_constraint(all, table, statement);
        break;
    case PG_QUERY__OBJECT_TYPE__OBJECT_INDEX:
        rename_index(all, table, statement->newname);
        catalog_rename(all->catalog, table, banyan_str_of(statement->newname));
        break;
    case PG_QUERY__OBJECT_TYPE__OBJECT_TABLE:
    case PG_QUERY__OBJECT_TYPE__OBJECT_VIEW:
    case PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW:
    case PG_QUERY__OBJECT_TYPE__OBJECT_SEQUENCE:
        catalog_rename(all->catalog, table, banyan_str_of(statement->newname));
        break;
    default:
        table->stale = true;
    }
}

static void add_trigger(struct following *all, const PgQuery__CreateTrigStmt *statement)
{
    struct catalog_table *table = find_range(all, statement->relation);

    if (table == NULL)
        return;
    for (size_t i = 0; i < table->trigger_count; i++)
        if (banyan_str_equal(table->triggers[i], banyan_str_of(statement->trigname)))
            return;
    table->triggers = grown(all, table->triggers, table->trigger_count, sizeof(*table->triggers));
    table->triggers[table->trigger_count++] = banyan_arena_str(all->arena, banyan_str_of(statement->trigname));
}

/* [schema,] table, trigger */
static void drop_trigger(struct following *all, const PgQuery__List *names)
{
    size_t count = names->n_items;
    struct catalog_table *table = count < 2 ? NULL
                                            : find(all, count > 2 ? names->items[count - 3]->string->sval : "",
                                                   names->items[count - 2]->string->sval);

    for (size_t i = 0; table != NULL && i < table->trigger_count; i++)
        if (banyan_str_equal(table->triggers[i], banyan_str_of(names->items[count - 1]->string->sval))) {
            struct banyan_str *left = grown(all, table->triggers, table->trigger_count, sizeof(*left));

            memmove(&left[i], &left[i + 1], (table->trigger_count - i) * sizeof(*left));
            table->triggers = left; /* the old list may be of a catalog that this one is a copy of */
            table->trigger_count--;
            return;
        }
}

static void follow_drop(struct following *all, const PgQuery__DropStmt *statement)
{
    for (size_t i = 0; i < statement->n_objects && statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER; i++)
        if (statement->objects[i]->node_case == PG_QUERY__NODE__NODE_LIST)
            drop_trigger(all, statement->objects[i]->list);
    if (statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_TRIGGER ||
        statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_POLICY ||
        statement->remove_type == PG_QUERY__OBJECT_TYPE__OBJECT_RULE)
        return; /* their names are of a table's parts */
    for (size_t i = 0; i < statement->n_objects; i++) {
        const PgQuery__Node *object = statement->objects[i];
        size_t count = object->node_case == PG_QUERY__NODE__NODE_LIST ? object->list->n_items : 0;
        struct catalog_table *table, *owner;

        if (count == 0 || count > 2 || object->list->items[count - 1]->node_case != PG_QUERY__NODE__NODE_STRING)
            continue;
        table = find(all, count == 2 ? object->list->items[0]->string->sval : "",
                     object->list->items[count - 1]->string->sval);
        if (table == NULL)
            continue;
        owner = table->kind == 'i' || table->kind == 'I' ? by_oid(all, table->parent) : NULL;
        if (owner != NULL)
            remove_index(all, owner, table->oid);
        catalog_forget(all->catalog, table);
    }
}

static void follow_index(struct following *all, const PgQuery__IndexStmt *statement)
{
    struct catalog_table *table = find_range(all, statement->relation);
    struct catalog_index *index;

    if (table == NULL)
        return;
    if (statement->idxname[0] == '\0') {
        table->stale = true;
        return;
    }
    if (find(all, table->schema.data, statement->idxname) != NULL && !catalog_is_offline(all->catalog))
        return;
    index = push_index(all, table, banyan_arena_str(all->arena, banyan_str_of(statement->idxname)));
    index->unique = statement->unique;
    index->partial = statement->where_clause != NULL;
    index->valid = table->kind != 'p' || statement->relation->inh;
    for (size_t i = 0; i < statement->n_index_params; i++) {
        const PgQuery__IndexElem *element = statement->index_params[i]->index_elem;
        const struct catalog_column *column = catalog_column(table, banyan_str_of(element->name));

        index->has_expressions |= element->expr != NULL;
        if (column != NULL)
            catalog_columns_add(&index->keys, column->number);
    }
    index->columns = index->keys;
}

/* A type has the name of a relation for itself: no table of that name can be there. */
static void make_type(struct following *all, PgQuery__Node *const *names, size_t count, char kind)
{
    if (count == 0 || count > 2 || names[count - 1]->node_case != PG_QUERY__NODE__NODE_STRING || all->st != BANYAN_OK)
        return;
    catalog_make(all->catalog, banyan_str_of(count == 2 ? names[0]->string->sval : ""),
                 banyan_str_of(names[count - 1]->string->sval))
        ->kind = kind;
}

static void follow_type(struct following *all, const PgQuery__Node *node)
{
    if (node->node_case == PG_QUERY__NODE__NODE_CREATE_ENUM_STMT)
        make_type(all, node->create_enum_stmt->type_name, node->create_enum_stmt->n_type_name, 'c');
    else if (node->node_case == PG_QUERY__NODE__NODE_CREATE_RANGE_STMT)
        make_type(all, node->create_range_stmt->type_name, node->create_range_stmt->n_type_name, 'c');
    else if (node->node_case == PG_QUERY__NODE__NODE_CREATE_DOMAIN_STMT)
        make_type(all, node->create_domain_stmt->domainname, node->create_domain_stmt->n_domainname, 'd');
    else if (node->node_case == PG_QUERY__NODE__NODE_COMPOSITE_TYPE_STMT && all->st == BANYAN_OK)
        make(all, node->composite_type_stmt->typevar)->kind = 'c';
}

enum banyan_status effect_follow(const struct statement *statement, struct catalog *catalog, struct banyan_error *err)
{
    struct following all = {.catalog = catalog, .err = err, .arena = catalog_arena(catalog)};
    const PgQuery__Node *node = statement->tree;
    struct catalog_table *there = NULL;

    if (node == NULL)
        return BANYAN_OK;
    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_CREATE_STMT:
        there = find_range(&all, node->create_stmt->relation);
        /* One that may be there already (IF NOT EXISTS) may have rows. */
        if (all.st == BANYAN_OK && (there == NULL || (!there->known && !node->create_stmt->if_not_exists)))
            make(&all, node->create_stmt->relation)->kind = node->create_stmt->partspec != NULL ? 'p' : 'r';
        break;
    case PG_QUERY__NODE__NODE_VIEW_STMT:
        make(&all, node->view_stmt->view)->kind = 'v';
        break;
    case PG_QUERY__NODE__NODE_CREATE_SEQ_STMT:
        make(&all, node->create_seq_stmt->sequence)->kind = 'S';
        break;
    case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT:
        if (node->create_table_as_stmt->into->rel->relname != NULL)
            make(&all, node->create_table_as_stmt->into->rel)->kind =
                node->create_table_as_stmt->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_MATVIEW ? 'm' : 'r';
        break;
    case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
        follow_alter(&all, node->alter_table_stmt);
        break;
    case PG_QUERY__NODE__NODE_RENAME_STMT:
        follow_rename(&all, node->rename_stmt);
        break;
    case PG_QUERY__NODE__NODE_DROP_STMT:
        follow_drop(&all, node->drop_stmt);
        break;
    case PG_QUERY__NODE__NODE_INDEX_STMT:
        follow_index(&all, node->index_stmt);
        break;
    case PG_QUERY__NODE__NODE_CREATE_TRIG_STMT:
        add_trigger(&all, node->create_trig_stmt);
        break;
    default:
        follow_type(&all, node);
    }
    return all.st;
}
