/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ALTER TABLE and its kin: each form has its lock; a statement of several takes the strongest.  What one form proves is
 * not there for another of the same statement.
 */
#include <string.h>

#include "migrate/effect_int.h"

#define AT(name) PG_QUERY__ALTER_TABLE_TYPE__AT_##name

/* Forms that take a lock and do nothing under it; *recurse*: on children as well. */
static const struct form {
    PgQuery__AlterTableType type;
    enum effect_lock lock;
    bool recurse;
} forms[] = {
    {AT(ColumnDefault), EFFECT_ACCESS_EXCLUSIVE, true},
    {AT(DropNotNull), EFFECT_ACCESS_EXCLUSIVE, true},
    {AT(SetStatistics), EFFECT_SHARE_UPDATE_EXCLUSIVE, true},
    {AT(SetOptions), EFFECT_SHARE_UPDATE_EXCLUSIVE, false},
    {AT(ResetOptions), EFFECT_SHARE_UPDATE_EXCLUSIVE, false},
    {AT(SetStorage), EFFECT_ACCESS_EXCLUSIVE, true},
    {AT(SetCompression), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(DropExpression), EFFECT_ACCESS_EXCLUSIVE, true},
    {AT(DropCluster), EFFECT_SHARE_UPDATE_EXCLUSIVE, false},
    {AT(EnableTrig), EFFECT_SHARE_ROW_EXCLUSIVE, true},
    {AT(EnableAlwaysTrig), EFFECT_SHARE_ROW_EXCLUSIVE, true},
    {AT(EnableReplicaTrig), EFFECT_SHARE_ROW_EXCLUSIVE, true},
    {AT(DisableTrig), EFFECT_SHARE_ROW_EXCLUSIVE, true},
    {AT(EnableTrigAll), EFFECT_SHARE_ROW_EXCLUSIVE, true},
    {AT(DisableTrigAll), EFFECT_SHARE_ROW_EXCLUSIVE, true},
    {AT(EnableTrigUser), EFFECT_SHARE_ROW_EXCLUSIVE, true},
    {AT(DisableTrigUser), EFFECT_SHARE_ROW_EXCLUSIVE, true},
    {AT(EnableRule), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(EnableAlwaysRule), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(EnableReplicaRule), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(DisableRule), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(EnableRowSecurity), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(DisableRowSecurity), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(ForceRowSecurity), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(NoForceRowSecurity), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(ChangeOwner), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(SetIdentity), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(AlterConstraint), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(AddOf), EFFECT_ACCESS_EXCLUSIVE, false},
    {AT(DropOf), EFFECT_ACCESS_EXCLUSIVE, false},
};

typedef void (*table_fn)(struct effect_work *work, const struct catalog_table *table, const void *context);

/* Call for the table and all below it. */
static void each_below(struct effect_work *work, const struct catalog_table *table, table_fn call, const void *context)
{
    call(work, table, context);
    for (size_t i = 0; i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child != NULL)
            each_below(work, child, call, context);
    }
}

static void lock_one(struct effect_work *work, const struct catalog_table *table, const void *context)
{
    effect_lock(work, table, *(const enum effect_lock *)context);
}

static void scan_one(struct effect_work *work, const struct catalog_table *table, const void *context)
{
    (void)context;
    effect_scan(work, table, EFFECT_YES);
}

static void rewrite_one(struct effect_work *work, const struct catalog_table *table, const void *context)
{
    effect_rewrite(work, table, *(const enum effect_certainty *)context);
}

static void lock_below(struct effect_work *work, const struct catalog_table *table, enum effect_lock lock, bool recurse)
{
    if (recurse)
        each_below(work, table, lock_one, &lock);
    else
        effect_lock(work, table, lock);
}

static const struct catalog_column *need_column(struct effect_work *work, const struct catalog_table *table,
                                                const char *name, bool missing_ok)
{
    const struct catalog_column *column = catalog_column(table, banyan_str_of(name));

    if (column == NULL && table->known && !table->stale && !missing_ok)
        effect_fails(work, "column \"%s\" of relation \"%.*s\" does not exist", name, (int)table->shown.size,
                     table->shown.data);
    return column;
}

/* ---- ADD COLUMN ---- */

static bool is_serial(const PgQuery__TypeName *type)
{
    const char *name = type->n_names == 1 ? type->names[0]->string->sval : "";
    size_t size = strlen(name);

    return strcmp(name, "serial") == 0 || (size > 6 && strcmp(name + size - 6, "serial") == 0) ||
           (strncmp(name, "serial", 6) == 0 && size == 7);
}

struct added {
    const PgQuery__ColumnDef *definition;
    enum effect_certainty rewrite;
    bool has_default, not_null;
};

static void add_column_parts(struct effect_work *work, struct added *added)
{
    struct catalog_type type = effect_type(work, added->definition->type_name);

    added->has_default = is_serial(added->definition->type_name);
    if (added->has_default || type.constrained)
        added->rewrite = EFFECT_YES;
    else if (!type.known)
        added->rewrite = EFFECT_PERHAPS; /* it may be a domain with a CHECK */
    for (size_t i = 0; i < added->definition->n_constraints; i++) {
        const PgQuery__Constraint *part = added->definition->constraints[i]->constraint;

        if (part->contype == PG_QUERY__CONSTR_TYPE__CONSTR_DEFAULT) {
            enum effect_certainty wild = effect_is_volatile(work, part->raw_expr);

            added->has_default = true;
            if (wild == EFFECT_YES || added->rewrite == EFFECT_NO)
                added->rewrite = wild;
            effect_lock_sequences(work, part->raw_expr);
        }
        if (part->contype == PG_QUERY__CONSTR_TYPE__CONSTR_IDENTITY ||
            part->contype == PG_QUERY__CONSTR_TYPE__CONSTR_GENERATED) {
            added->has_default = true;
            added->rewrite = EFFECT_YES;
        }
        added->not_null |= part->contype == PG_QUERY__CONSTR_TYPE__CONSTR_NOTNULL ||
                           part->contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY;
    }
}

static bool has_primary(const struct catalog_table *table)
{
    for (size_t i = 0; i < table->constraint_count; i++)
        if (table->constraints[i].kind == CATALOG_PRIMARY)
            return true;
    return false;
}

static void add_column_constraint(struct effect_work *work, struct catalog_table *table, const struct added *added,
                                  const PgQuery__Constraint *part)
{
    struct banyan_str column = banyan_str_of(added->definition->colname);
    const struct banyan_str given = banyan_str_of(part->conname);

    switch (part->contype) {
    case PG_QUERY__CONSTR_TYPE__CONSTR_CHECK:
        each_below(work, table, scan_one, NULL);
        break;
    case PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY:
        if (has_primary(table))
            effect_fails(work, "multiple primary keys for table \"%.*s\" are not allowed", (int)table->shown.size,
                         table->shown.data);
        effect_build(work, table, given.size > 0 ? given : effect_new_name(work, table, BANYAN_STR(""), "pkey"));
        break;
    case PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE:
        effect_build(work, table, given.size > 0 ? given : effect_new_name(work, table, column, "key"));
        break;
    case PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN:
        effect_add_foreign(work, table, part, added->has_default ? EFFECT_YES : EFFECT_NO);
        break;
    default:
        break;
    }
}

static void add_column(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command,
                       bool recurse)
{
    struct added added = {.definition = command->def->column_def};

    lock_below(work, table, EFFECT_ACCESS_EXCLUSIVE, recurse);
    if (table->child_count > 0 && !recurse)
        effect_fails(work, "column must be added to child tables too");
    if (catalog_column(table, banyan_str_of(added.definition->colname)) != NULL) {
        if (!command->missing_ok)
            effect_fails(work, "column \"%s\" of relation \"%.*s\" already exists", added.definition->colname,
                         (int)table->shown.size, table->shown.data);
        return;
    }
    if (table->is_partition)
        effect_fails(work, "cannot add column to a partition");
    add_column_parts(work, &added);
    if (added.not_null && !added.has_default && effect_has_rows(table) == EFFECT_YES)
        effect_fails(work, "column \"%s\" contains null values: NOT NULL needs a DEFAULT", added.definition->colname);
    if (added.not_null && !added.has_default)
        effect_note(work, "NOT NULL without DEFAULT fails where the table has rows");
    if (!effect_goes_on(work))
        return;
    if (recurse)
        each_below(work, table, rewrite_one, &added.rewrite);
    else
        effect_rewrite(work, table, added.rewrite);
    if (added.rewrite == EFFECT_PERHAPS)
        effect_note(work, "the table is rewritten if the default is volatile, or the type is a domain with a CHECK");
    if (added.not_null && !added.has_default && table->known)
        effect_scan(work, table, EFFECT_YES);
    for (size_t i = 0; i < added.definition->n_constraints; i++)
        add_column_constraint(work, table, &added, added.definition->constraints[i]->constraint);
}

/* ---- DROP COLUMN ---- */

static void drop_column_constraints(struct effect_work *work, const struct catalog_table *table,
                                    const struct catalog_column *column, bool cascade)
{
    for (size_t i = 0; i < table->constraint_count; i++) {
        const struct catalog_constraint *constraint = &table->constraints[i];
        const struct catalog_table *referenced;

        if (constraint->kind != CATALOG_FOREIGN || !catalog_columns_has(&constraint->columns, column->number))
            continue;
        referenced = effect_by_oid(work, constraint->referenced);
        if (referenced != NULL)
            effect_lock(work, referenced, EFFECT_ACCESS_EXCLUSIVE);
    }
    for (size_t i = 0; i < table->reference_count; i++) {
        const struct catalog_constraint *reference = &table->references[i];
        const struct catalog_table *child;

        if (!catalog_columns_has(&reference->referenced_columns, column->number))
            continue;
        if (!cascade)
            effect_fails(work, "cannot drop column: foreign key %.*s depends on it", (int)reference->name.size,
                         reference->name.data);
        child = effect_by_oid(work, reference->table);
        if (child != NULL)
            effect_lock(work, child, EFFECT_ACCESS_EXCLUSIVE);
    }
}

static void lock_column_indexes(struct effect_work *work, const struct catalog_table *table, const void *context)
{
    const struct catalog_column *column = catalog_column(table, banyan_str_of(context));

    for (size_t i = 0; column != NULL && i < table->index_count; i++)
        if (catalog_columns_has(&table->indexes[i].columns, column->number))
            effect_lock_index(work, table, &table->indexes[i], EFFECT_ACCESS_EXCLUSIVE);
}

static void drop_column(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command,
                        bool recurse)
{
    const struct catalog_column *column = need_column(work, table, command->name, command->missing_ok);
    bool cascade = command->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE;
    struct catalog_columns columns = {{0}};

    work->ret->removes_data = true;
    work->ret->breaks_old_code = true;
    lock_below(work, table, EFFECT_ACCESS_EXCLUSIVE, recurse);
    if (column == NULL) {
        if (!table->known)
            effect_note(work, "a foreign key on the column locks the referenced table as well");
        return;
    }
    if (column->inherited)
        effect_fails(work, "cannot drop inherited column \"%s\"", command->name);
    if (catalog_columns_has(&table->partition_keys, column->number))
        effect_fails(work, "cannot drop column \"%s\": it is part of the partition key", command->name);
    catalog_columns_add(&columns, column->number);
    effect_drop_dependents(work, table, &columns, cascade);
    drop_column_constraints(work, table, column, cascade);
    if (recurse)
        each_below(work, table, lock_column_indexes, command->name);
    else
        lock_column_indexes(work, table, command->name);
    if (column->sequence != 0) {
        const struct catalog_table *sequence = effect_by_oid(work, column->sequence);

        if (sequence != NULL)
            effect_lock(work, sequence, EFFECT_ACCESS_EXCLUSIVE);
    }
}

/* ---- SET NOT NULL ---- */

static bool drops_in(const PgQuery__AlterTableStmt *statement, struct banyan_str constraint)
{
    for (size_t i = 0; i < statement->n_cmds; i++) {
        const PgQuery__AlterTableCmd *command = statement->cmds[i]->alter_table_cmd;

        if (command->subtype == AT(DropConstraint) && banyan_str_equal(banyan_str_of(command->name), constraint))
            return true;
    }
    return false;
}

struct not_null {
    const PgQuery__AlterTableStmt *statement;
    const char *column;
};

static void set_not_null(struct effect_work *work, const struct catalog_table *table, const void *context)
{
    const struct not_null *wanted = context;
    const struct catalog_column *column = need_column(work, table, wanted->column, false);

    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    if (column != NULL && column->not_null)
        return;
    for (size_t i = 0; i < table->constraint_count; i++) {
        const struct catalog_constraint *constraint = &table->constraints[i];

        if (constraint->kind != CATALOG_CHECK || !constraint->validated ||
            drops_in(wanted->statement, constraint->name) ||
            !effect_proves_not_null(constraint, banyan_str_of(wanted->column)))
            continue;
        effect_note(work, "the CHECK %.*s proves it: nothing is read", (int)constraint->name.size,
                    constraint->name.data);
        return;
    }
    if (!table->known)
        effect_note(work, "nothing is read where a valid CHECK proves NOT NULL");
    effect_scan(work, table, table->known && !table->stale ? EFFECT_YES : EFFECT_PERHAPS);
}

/* ---- constraints ---- */

/* That of a partition is a part of its parent's. */
static void lock_same_index(struct effect_work *work, const struct catalog_table *table, const void *context)
{
    const struct catalog_index *wanted = context;

    for (size_t i = 0; i < table->index_count; i++) {
        const struct catalog_index *index = &table->indexes[i];

        if (index->oid == wanted->oid ||
            (table->is_partition && memcmp(&index->keys, &wanted->keys, sizeof(index->keys)) == 0 &&
             index->primary == wanted->primary && index->unique == wanted->unique))
            effect_lock_index(work, table, index, EFFECT_ACCESS_EXCLUSIVE);
    }
}

/* Something is there that NOT NULL cannot be taken from. */
static void needs_not_null(struct effect_work *work, const struct catalog_table *table,
                           const struct catalog_column *column)
{
    for (size_t i = 0; i < table->index_count; i++)
        if (table->indexes[i].primary && catalog_columns_has(&table->indexes[i].keys, column->number))
            effect_fails(work, "column \"%.*s\" is in a primary key", (int)column->name.size, column->name.data);
    if (column->is_identity)
        effect_fails(work, "column \"%.*s\" is an identity column", (int)column->name.size, column->name.data);
}

static void drop_constraint(struct effect_work *work, struct catalog_table *table,
                            const PgQuery__AlterTableCmd *command)
{
    const struct catalog_constraint *constraint = catalog_constraint(table, banyan_str_of(command->name));
    const struct catalog_table *other;
    bool cascade = command->behavior == PG_QUERY__DROP_BEHAVIOR__DROP_CASCADE;

    lock_below(work, table, EFFECT_ACCESS_EXCLUSIVE, constraint != NULL && constraint->kind != CATALOG_FOREIGN);
    if (constraint == NULL) {
        if (table->known && !table->stale && !command->missing_ok)
            effect_fails(work, "constraint \"%s\" of relation \"%.*s\" does not exist", command->name,
                         (int)table->shown.size, table->shown.data);
        if (!table->known)
            effect_note(work, "if it is a foreign key, the referenced table is locked as well");
        return;
    }
    if (constraint->inherited)
        effect_fails(work, "cannot drop inherited constraint \"%s\"", command->name);
    for (size_t i = 0; i < table->column_count && constraint->kind == CATALOG_NOT_NULL; i++)
        if (catalog_columns_has(&constraint->columns, table->columns[i].number))
            needs_not_null(work, table, &table->columns[i]);
    if (constraint->kind == CATALOG_FOREIGN) {
        other = effect_by_oid(work, constraint->referenced);
        if (other != NULL)
            effect_lock(work, other, EFFECT_ACCESS_EXCLUSIVE);
        return;
    }
    for (size_t i = 0; i < table->index_count; i++)
        if (table->indexes[i].oid == constraint->index && constraint->kind != CATALOG_CHECK)
            each_below(work, table, lock_same_index, &table->indexes[i]);
    for (size_t i = 0; i < table->reference_count && constraint->kind != CATALOG_CHECK; i++) {
        if (table->references[i].index != constraint->index)
            continue;
        if (!cascade)
            effect_fails(work, "cannot drop constraint %s: foreign key %.*s depends on it", command->name,
                         (int)table->references[i].name.size, table->references[i].name.data);
        other = effect_by_oid(work, table->references[i].table);
        if (other != NULL)
            effect_lock(work, other, EFFECT_ACCESS_EXCLUSIVE);
    }
}

static void validate_check(struct effect_work *work, const struct catalog_table *table, const void *context)
{
    const struct catalog_constraint *constraint = catalog_constraint(table, banyan_str_of(context));

    effect_lock(work, table, EFFECT_SHARE_UPDATE_EXCLUSIVE);
    if (constraint == NULL || !constraint->validated)
        effect_scan(work, table, EFFECT_YES);
}

static void validate(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    const struct catalog_constraint *constraint = catalog_constraint(table, banyan_str_of(command->name));
    const struct catalog_table *referenced;

    effect_lock(work, table, EFFECT_SHARE_UPDATE_EXCLUSIVE);
    if (constraint == NULL) {
        if (table->known && !table->stale)
            effect_fails(work, "constraint \"%s\" of relation \"%.*s\" does not exist", command->name,
                         (int)table->shown.size, table->shown.data);
        effect_scan(work, table, EFFECT_YES);
        effect_note(work, "of a foreign key the referenced table is read, too, under ROW SHARE");
        return;
    }
    if (constraint->kind != CATALOG_CHECK && constraint->kind != CATALOG_FOREIGN &&
        constraint->kind != CATALOG_NOT_NULL)
        effect_fails(work, "constraint \"%s\" is not a foreign key or check constraint", command->name);
    if (constraint->unenforced)
        effect_fails(work, "cannot validate the NOT ENFORCED constraint \"%s\"", command->name);
    if (constraint->validated)
        return;
    if (constraint->kind != CATALOG_FOREIGN) {
        each_below(work, table, validate_check, command->name);
        return;
    }
    referenced = effect_by_oid(work, constraint->referenced);
    if (referenced == NULL)
        return;
    effect_lock(work, referenced, EFFECT_ROW_SHARE);
    effect_check_foreign(work, table, referenced);
}

/* ---- options ---- */

static bool is_weak_option(const char *name)
{
    static const char *const weak[] = {"fillfactor",       "toast_tuple_target",   "parallel_workers",
                                       "n_distinct",       "n_distinct_inherited", "log_autovacuum_min_duration",
                                       "deduplicate_items"};

    if (strncmp(name, "autovacuum_", 11) == 0 || strncmp(name, "vacuum_", 7) == 0)
        return true;
    for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++)
        if (strcmp(name, weak[i]) == 0)
            return true;
    return false;
}

static void set_options(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    enum effect_lock lock = EFFECT_SHARE_UPDATE_EXCLUSIVE;

    for (size_t i = 0; command->def != NULL && i < command->def->list->n_items; i++)
        if (!is_weak_option(command->def->list->items[i]->def_elem->defname))
            lock = EFFECT_ACCESS_EXCLUSIVE;
    effect_lock(work, table, lock);
}

/* ---- storage ---- */

static void set_persistence(struct effect_work *work, struct catalog_table *table, bool logged)
{
    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    if (!table->known) {
        effect_rewrite(work, table, EFFECT_PERHAPS);
        return;
    }
    if (table->persistence == (logged ? 'p' : 'u'))
        return;
    for (size_t i = 0; i < table->constraint_count + table->reference_count; i++) {
        bool own = i < table->constraint_count;
        const struct catalog_constraint *constraint =
            own ? &table->constraints[i] : &table->references[i - table->constraint_count];
        const struct catalog_table *other;

        if (constraint->kind != CATALOG_FOREIGN)
            continue;
        other = effect_by_oid(work, own ? constraint->referenced : constraint->table);
        if (other != NULL && other->oid != table->oid && own == logged && other->persistence != (logged ? 'p' : 'u'))
            effect_fails(work, "a table that a logged table references, or that references an unlogged one: %.*s",
                         (int)other->shown.size, other->shown.data);
        if (other != NULL && other->oid != table->oid && own != logged && other->persistence == 'p' && !logged && !own)
            effect_fails(work, "could not change table to unlogged: logged table %.*s references it",
                         (int)other->shown.size, other->shown.data);
    }
    effect_rewrite(work, table, EFFECT_YES);
}

static void cluster_on(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    effect_lock(work, table, EFFECT_SHARE_UPDATE_EXCLUSIVE);
    for (size_t i = 0; i < table->index_count; i++)
        if (banyan_str_equal(table->indexes[i].name, banyan_str_of(command->name))) {
            if (table->indexes[i].partial)
                effect_fails(work, "cannot cluster on partial index \"%s\"", command->name);
            effect_lock_index(work, table, &table->indexes[i], EFFECT_SHARE_UPDATE_EXCLUSIVE);
            return;
        }
    if (table->known)
        effect_fails(work, "index \"%s\" for table \"%.*s\" does not exist", command->name, (int)table->shown.size,
                     table->shown.data);
}

static void replica_identity(struct effect_work *work, struct catalog_table *table,
                             const PgQuery__ReplicaIdentityStmt *identity)
{
    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    if (identity->identity_type[0] != 'i')
        return;
    for (size_t i = 0; i < table->index_count; i++) {
        const struct catalog_index *index = &table->indexes[i];

        if (!banyan_str_equal(index->name, banyan_str_of(identity->name)))
            continue;
        if (!index->unique || index->partial || index->has_expressions)
            effect_fails(work, "cannot use index \"%s\" as replica identity", identity->name);
        for (size_t k = 0; k < table->column_count; k++)
            if (catalog_columns_has(&index->keys, table->columns[k].number) && !table->columns[k].not_null)
                effect_fails(work, "index \"%s\" cannot be used as replica identity: a column is nullable",
                             identity->name);
        effect_lock_index(work, table, index, EFFECT_SHARE);
        return;
    }
    if (table->known)
        effect_fails(work, "index \"%s\" does not exist", identity->name);
}

static void inherit(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    const struct catalog_table *parent = effect_find(work, command->def->range_var, false);

    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    if (parent == NULL)
        return;
    effect_lock(work, parent, command->subtype == AT(AddInherit) ? EFFECT_SHARE_UPDATE_EXCLUSIVE : EFFECT_ACCESS_SHARE);
    if (!table->known || !parent->known)
        return;
    if (command->subtype == AT(DropInherit) && table->parent != parent->oid)
        effect_fails(work, "relation is not a parent of it");
    for (size_t i = 0; command->subtype == AT(AddInherit) && i < parent->column_count; i++)
        if (catalog_column(table, parent->columns[i].name) == NULL)
            effect_fails(work, "child table is missing column \"%.*s\"", (int)parent->columns[i].name.size,
                         parent->columns[i].name.data);
}

static void identity(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    const struct catalog_column *column = need_column(work, table, command->name, false);

    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    if (column == NULL)
        return;
    if (command->subtype == AT(AddIdentity)) {
        if (!column->not_null)
            effect_fails(work, "column \"%s\" must be declared NOT NULL before identity can be added", command->name);
        if (column->is_identity || column->has_default)
            effect_fails(work, "column \"%s\" has a default already", command->name);
        return;
    }
    if (!column->is_identity && !command->missing_ok)
        effect_fails(work, "column \"%s\" is not an identity column", command->name);
    if (column->is_identity && column->sequence != 0) {
        const struct catalog_table *sequence = effect_by_oid(work, column->sequence);

        if (sequence != NULL)
            effect_lock(work, sequence,
                        command->subtype == AT(DropIdentity) ? EFFECT_ACCESS_EXCLUSIVE : EFFECT_SHARE_ROW_EXCLUSIVE);
    }
}

/* ---- the statement ---- */

static void check_simple(struct effect_work *work, const struct catalog_table *table,
                         const PgQuery__AlterTableCmd *command)
{
    const struct catalog_column *column = NULL;

    switch (command->subtype) {
    case AT(ColumnDefault):
    case AT(DropNotNull):
    case AT(SetStatistics):
    case AT(SetOptions):
    case AT(ResetOptions):
    case AT(SetStorage):
    case AT(SetCompression):
    case AT(DropExpression):
        if (command->name[0] != '\0' && table->kind != 'i' && table->kind != 'I')
            column = need_column(work, table, command->name, false);
        break;
    case AT(AlterConstraint):
        if (command->def != NULL && command->def->node_case == PG_QUERY__NODE__NODE_CONSTRAINT && table->known) {
            const struct catalog_constraint *constraint =
                catalog_constraint(table, banyan_str_of(command->def->constraint->conname));

            if (constraint == NULL || constraint->kind != CATALOG_FOREIGN)
                effect_fails(work, "constraint \"%s\" is no foreign key of it", command->def->constraint->conname);
        }
        break;
    default:
        break;
    }
    if (column == NULL)
        return;
    if (command->subtype == AT(DropNotNull))
        needs_not_null(work, table, column);
    if (command->subtype == AT(DropExpression) && column->is_virtual)
        effect_fails(work, "DROP EXPRESSION of \"%s\" is not supported: it is a virtual generated column",
                     command->name);
    if (command->subtype == AT(DropExpression) && !column->is_generated && !command->missing_ok)
        effect_fails(work, "column \"%s\" is not a stored generated column", command->name);
    if (command->subtype == AT(ColumnDefault) && (column->is_generated || column->is_identity))
        effect_fails(work, "column \"%s\" is an identity or generated column", command->name);
}

static bool is_trigger_form(PgQuery__AlterTableType type)
{
    return type == AT(EnableTrig) || type == AT(EnableAlwaysTrig) || type == AT(EnableReplicaTrig) ||
           type == AT(DisableTrig);
}

static bool simple(struct effect_work *work, const struct catalog_table *table, const PgQuery__AlterTableCmd *command,
                   bool recurse)
{
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (forms[i].type != command->subtype)
            continue;
        check_simple(work, table, command);
        if (is_trigger_form(command->subtype) && table->known) {
            bool found = false;

            for (size_t k = 0; k < table->trigger_count; k++)
                found |= banyan_str_equal(table->triggers[k], banyan_str_of(command->name));
            if (!found)
                effect_fails(work, "trigger \"%s\" for table \"%.*s\" does not exist", command->name,
                             (int)table->shown.size, table->shown.data);
        }
        lock_below(work, table, forms[i].lock, recurse && forms[i].recurse);
        return true;
    }
    return false;
}

static bool of_storage(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    switch (command->subtype) {
    case AT(SetRelOptions):
    case AT(ResetRelOptions):
    case AT(ReplaceRelOptions):
        set_options(work, table, command);
        return true;
    case AT(SetLogged):
        set_persistence(work, table, true);
        return true;
    case AT(SetUnLogged):
        set_persistence(work, table, false);
        return true;
    case AT(ClusterOn):
        cluster_on(work, table, command);
        return true;
    case AT(ReplicaIdentity):
        replica_identity(work, table, command->def->replica_identity_stmt);
        return true;
    case AT(SetAccessMethod):
        effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
        if (strcmp(command->name, "heap") != 0)
            effect_rewrite(work, table, EFFECT_PERHAPS);
        return true;
    case AT(SetTableSpace):
        effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
        if (strcmp(command->name, "pg_default") != 0)
            effect_rewrite(work, table, EFFECT_PERHAPS);
        return true;
    default:
        return false;
    }
}

static void alter(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableStmt *statement,
                  const PgQuery__AlterTableCmd *command)
{
    bool recurse = statement->relation->inh;

    switch (command->subtype) {
    case AT(AddColumn):
        add_column(work, table, command, recurse);
        break;
    case AT(DropColumn):
        drop_column(work, table, command, recurse);
        break;
    case AT(AlterColumnType):
        effect_alter_type(work, table, command);
        break;
    case AT(SetNotNull): {
        struct not_null wanted = {statement, command->name};

        const struct catalog_column *column = catalog_column(table, banyan_str_of(command->name));

        /* Where it holds already the children are not even looked at. */
        if (recurse && (column == NULL || !column->not_null))
            each_below(work, table, set_not_null, &wanted);
        else
            set_not_null(work, table, &wanted);
        break;
    }
    case AT(AddConstraint):
        effect_add_constraint(work, table, command->def->constraint, recurse);
        break;
    case AT(DropConstraint):
        drop_constraint(work, table, command);
        break;
    case AT(ValidateConstraint):
        validate(work, table, command);
        break;
    case AT(AddInherit):
    case AT(DropInherit):
        inherit(work, table, command);
        break;
    case AT(AddIdentity):
    case AT(SetIdentity):
    case AT(DropIdentity):
        identity(work, table, command);
        break;
    case AT(AttachPartition):
        effect_attach(work, table, command);
        break;
    case AT(DetachPartition):
    case AT(DetachPartitionFinalize):
        effect_detach(work, table, command);
        break;
    default:
        if (!of_storage(work, table, command) && !simple(work, table, command, recurse))
            effect_not_understood(work, "a form of ALTER that is not known here");
    }
}

void effect_alter_table(struct effect_work *work, const PgQuery__AlterTableStmt *statement)
{
    struct catalog_table *table = effect_find(work, statement->relation, statement->missing_ok);

    if (statement->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_TYPE ||
        statement->objtype == PG_QUERY__OBJECT_TYPE__OBJECT_FOREIGN_TABLE) {
        effect_not_understood(work, "ALTER of a composite type or a foreign table");
        return;
    }
    for (size_t i = 0; table != NULL && i < statement->n_cmds && effect_goes_on(work); i++)
        alter(work, table, statement, statement->cmds[i]->alter_table_cmd);
}
