/* SPDX-License-Identifier: Apache-2.0 */
/* ADD CONSTRAINT: a CHECK reads the table, a key builds an index, a foreign key locks and reads both sides. */
#include <string.h>

#include "migrate/effect_int.h"

void effect_check_foreign(struct effect_work *work, const struct catalog_table *table,
                          const struct catalog_table *referenced)
{
    effect_scan(work, table, EFFECT_YES);
    effect_scan_by_plan(work, referenced);
    effect_lock_indexes(work, table, EFFECT_ACCESS_SHARE);
    effect_lock_indexes(work, referenced, EFFECT_ACCESS_SHARE);
}

/* The index of *table* whose key is just these columns; NULL: none. */
static const struct catalog_index *key_index(const struct catalog_table *table, PgQuery__Node *const *names,
                                             size_t count)
{
    struct catalog_columns wanted = {{0}};

    for (size_t i = 0; i < count; i++) {
        const struct catalog_column *column = catalog_column(table, banyan_str_of(names[i]->string->sval));

        if (column == NULL)
            return NULL;
        catalog_columns_add(&wanted, column->number);
    }
    for (size_t i = 0; i < table->index_count; i++) {
        const struct catalog_index *index = &table->indexes[i];

        if (count == 0 ? index->primary
                       : index->unique && !index->partial && !index->has_expressions &&
                             memcmp(&index->keys, &wanted, sizeof(wanted)) == 0)
            return index;
    }
    return NULL;
}

/* A partition that has the same one, proven, is taken as it is. */
static bool is_proved_foreign(const struct catalog_table *table, const struct catalog_table *referenced,
                              const PgQuery__Constraint *wanted)
{
    struct catalog_columns columns = {{0}};

    for (size_t i = 0; i < wanted->n_fk_attrs; i++) {
        const struct catalog_column *column = catalog_column(table, banyan_str_of(wanted->fk_attrs[i]->string->sval));

        if (column != NULL)
            catalog_columns_add(&columns, column->number);
    }
    for (size_t i = 0; table->is_partition && i < table->constraint_count; i++)
        if (table->constraints[i].kind == CATALOG_FOREIGN && table->constraints[i].validated &&
            !table->constraints[i].inherited && table->constraints[i].referenced == referenced->oid &&
            memcmp(&table->constraints[i].columns, &columns, sizeof(columns)) == 0)
            return true;
    return false;
}

/* Every partition as the table itself; they have to be checked one by one. */
static void foreign_below(struct effect_work *work, const struct catalog_table *table,
                          const struct catalog_table *referenced, enum effect_certainty validate,
                          const PgQuery__Constraint *constraint)
{
    effect_lock(work, table, EFFECT_SHARE_ROW_EXCLUSIVE);
    if (is_proved_foreign(table, referenced, constraint)) {
        validate = EFFECT_NO;
        effect_lock(work, referenced, EFFECT_ACCESS_EXCLUSIVE); /* its triggers for the partition go */
    }
    if (validate != EFFECT_NO && !effect_is_partitioned(table))
        effect_check_foreign(work, table, referenced);
    for (size_t i = 0; effect_is_partitioned(table) && i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child != NULL)
            foreign_below(work, child, referenced, validate, constraint);
    }
}

static void lock_referenced(struct effect_work *work, const struct catalog_table *referenced)
{
    effect_lock(work, referenced, EFFECT_SHARE_ROW_EXCLUSIVE);
    for (size_t i = 0; effect_is_partitioned(referenced) && i < referenced->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, referenced->children[i]);

        if (child != NULL)
            lock_referenced(work, child);
    }
}

void effect_add_foreign(struct effect_work *work, struct catalog_table *table, const PgQuery__Constraint *constraint,
                        enum effect_certainty validate)
{
    struct catalog_table *referenced = effect_find(work, constraint->pktable, false);
    const struct catalog_index *index;

    if (referenced == NULL)
        return;
    for (size_t i = 0; i < constraint->n_fk_attrs && table->known && !table->stale; i++)
        if (catalog_column(table, banyan_str_of(constraint->fk_attrs[i]->string->sval)) == NULL)
            effect_fails(work, "column \"%s\" referenced in foreign key constraint does not exist",
                         constraint->fk_attrs[i]->string->sval);
    if (constraint->skip_validation && effect_is_partitioned(table) && !effect_is_18(work))
        effect_fails(work, "cannot add NOT VALID foreign key on a partitioned table");
    if (table->persistence == 'p' && referenced->known && referenced->persistence != 'p')
        effect_fails(work, "constraints on permanent tables may reference only permanent tables");
    index = key_index(referenced, constraint->pk_attrs, constraint->n_pk_attrs);
    if (index == NULL && referenced->known && !referenced->stale && !referenced->made_here)
        effect_fails(work, "there is no unique constraint matching given keys for referenced table \"%.*s\"",
                     (int)referenced->shown.size, referenced->shown.data);
    if (!effect_goes_on(work))
        return;
    lock_referenced(work, referenced);
    if (index != NULL && !effect_is_18(work))
        effect_lock_index(work, referenced, index, EFFECT_ACCESS_SHARE);
    foreign_below(work, table, referenced, validate, constraint);
}

/* ---- keys ---- */

static struct banyan_str joined(struct effect_work *work, PgQuery__Node *const *names, size_t count)
{
    struct banyan_str text = BANYAN_STR("");

    for (size_t i = 0; i < count; i++)
        text = banyan_arena_printf(work->arena, "%.*s%s%s", (int)text.size, text.data, i > 0 ? "_" : "",
                                   names[i]->string->sval);
    return text;
}

static void build_below(struct effect_work *work, const struct catalog_table *table,
                        const PgQuery__Constraint *constraint, struct banyan_str name)
{
    bool primary = constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY;
    struct banyan_str columns = primary ? BANYAN_STR("") : joined(work, constraint->keys, constraint->n_keys);

    if (name.size == 0)
        name = effect_new_name(work, table, columns, primary ? "pkey" : "key");
    if (!effect_is_partitioned(table)) {
        effect_build(work, table, name);
        return;
    }
    for (size_t i = 0; i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child == NULL)
            continue;
        effect_lock(work, child, EFFECT_SHARE);
        build_below(work, child, constraint, BANYAN_STR(""));
    }
}

static void need_not_null(struct effect_work *work, const struct catalog_table *table, const char *name)
{
    const struct catalog_column *column = catalog_column(table, banyan_str_of(name));

    if (column == NULL && table->known && !table->stale)
        effect_fails(work, "column \"%s\" named in key does not exist", name);
    if (column != NULL && column->not_null)
        return;
    for (size_t i = 0; i < table->constraint_count && column != NULL; i++)
        if (table->constraints[i].kind == CATALOG_NOT_NULL && !table->constraints[i].validated &&
            catalog_columns_has(&table->constraints[i].columns, column->number))
            effect_fails(work, "NOT NULL of \"%s\" is NOT VALID: validate it before the primary key", name);
    effect_note(work, "the column %s is nullable: the table is read to prove that it holds no NULL", name);
    effect_scan(work, table, column != NULL ? EFFECT_YES : EFFECT_PERHAPS);
}

static void using_index(struct effect_work *work, const struct catalog_table *table,
                        const PgQuery__Constraint *constraint)
{
    bool primary = constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY;

    for (size_t i = 0; i < table->index_count; i++) {
        const struct catalog_index *index = &table->indexes[i];
        bool renamed = constraint->conname[0] != '\0' && strcmp(constraint->conname, constraint->indexname) != 0;

        if (!banyan_str_equal(index->name, banyan_str_of(constraint->indexname)))
            continue;
        if (!index->unique || index->partial || index->has_expressions || index->of_constraint || !index->valid)
            effect_fails(work, "index \"%s\" cannot be used for a constraint", constraint->indexname);
        effect_lock_index(work, table, index, renamed ? EFFECT_SHARE_UPDATE_EXCLUSIVE : EFFECT_ACCESS_SHARE);
        for (size_t k = 0; primary && k < table->column_count; k++)
            if (catalog_columns_has(&index->keys, table->columns[k].number))
                need_not_null(work, table, table->columns[k].name.data);
        return;
    }
    if (table->known && !table->stale)
        effect_fails(work, "index \"%s\" does not exist", constraint->indexname);
    if (primary)
        effect_scan(work, table, EFFECT_PERHAPS);
}

static void add_key(struct effect_work *work, struct catalog_table *table, const PgQuery__Constraint *constraint,
                    bool recurse)
{
    bool primary = constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY;

    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    for (size_t i = 0; primary && i < table->constraint_count; i++)
        if (table->constraints[i].kind == CATALOG_PRIMARY)
            effect_fails(work, "multiple primary keys for table \"%.*s\" are not allowed", (int)table->shown.size,
                         table->shown.data);
    if (constraint->indexname[0] != '\0') {
        if (effect_is_partitioned(table))
            effect_fails(work, "ADD CONSTRAINT USING INDEX is not supported on partitioned tables");
        using_index(work, table, constraint);
        return;
    }
    for (size_t i = 0; i < constraint->n_keys; i++) {
        const char *name = constraint->keys[i]->string->sval;

        if (primary)
            need_not_null(work, table, name);
        else if (catalog_column(table, banyan_str_of(name)) == NULL && table->known && !table->stale)
            effect_fails(work, "column \"%s\" named in key does not exist", name);
    }
    effect_needs_partition_keys(work, table, constraint->keys, constraint->n_keys, recurse);
    if (effect_goes_on(work) && (recurse || !effect_is_partitioned(table)))
        build_below(work, table, constraint, banyan_str_of(constraint->conname));
}

static void add_exclusion(struct effect_work *work, struct catalog_table *table, const PgQuery__Constraint *constraint)
{
    struct banyan_str columns = BANYAN_STR("");

    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    if (effect_is_partitioned(table))
        effect_fails(work, "exclusion constraints are not supported on partitioned tables");
    for (size_t i = 0; i < constraint->n_exclusions; i++) {
        const PgQuery__Node *element = constraint->exclusions[i]->list->items[0];
        const char *name = element->index_elem->name[0] != '\0' ? element->index_elem->name : "expr";

        columns = banyan_arena_printf(work->arena, "%.*s%s%s", (int)columns.size, columns.data, i > 0 ? "_" : "", name);
    }
    effect_build(work, table,
                 constraint->conname[0] != '\0' ? banyan_str_of(constraint->conname)
                                                : effect_new_name(work, table, columns, "excl"));
}

static void check_below(struct effect_work *work, const struct catalog_table *table, bool scan, bool recurse)
{
    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    if (scan)
        effect_scan(work, table, EFFECT_YES);
    for (size_t i = 0; recurse && i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child != NULL)
            check_below(work, child, scan, true);
    }
}

/* 18 locks all that inherit, whatever the constraint, before it looks whether it goes there. */
static void lock_below(struct effect_work *work, const struct catalog_table *table, enum effect_lock lock)
{
    for (size_t i = 0; i < table->child_count; i++) {
        const struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child == NULL)
            continue;
        effect_lock(work, child, lock);
        lock_below(work, child, lock);
    }
}

void effect_add_constraint(struct effect_work *work, struct catalog_table *table, const PgQuery__Constraint *constraint,
                           bool recurse)
{
    if (constraint->conname[0] != '\0' && catalog_constraint(table, banyan_str_of(constraint->conname)) != NULL)
        effect_fails(work, "constraint \"%s\" for relation \"%.*s\" already exists", constraint->conname,
                     (int)table->shown.size, table->shown.data);
    if (table->kind == 'f' && constraint->contype != PG_QUERY__CONSTR_TYPE__CONSTR_CHECK)
        effect_fails(work, "constraints of this kind are not supported on foreign tables");
    if (recurse && effect_is_18(work))
        lock_below(work, table,
                   constraint->contype == PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN ? EFFECT_SHARE_ROW_EXCLUSIVE
                                                                                : EFFECT_ACCESS_EXCLUSIVE);
    switch (constraint->contype) {
    case PG_QUERY__CONSTR_TYPE__CONSTR_CHECK:
        if (table->child_count > 0 && !recurse && !constraint->is_no_inherit)
            effect_fails(work, "constraint must be added to child tables too");
        if (effect_is_partitioned(table) && constraint->is_no_inherit)
            effect_fails(work, "cannot add NO INHERIT constraint to a partitioned table");
        check_below(work, table, !constraint->skip_validation, recurse && !constraint->is_no_inherit);
        break;
    case PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY:
    case PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE:
        add_key(work, table, constraint, recurse);
        break;
    case PG_QUERY__CONSTR_TYPE__CONSTR_EXCLUSION:
        add_exclusion(work, table, constraint);
        break;
    case PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN:
        effect_add_foreign(work, table, constraint, constraint->skip_validation ? EFFECT_NO : EFFECT_YES);
        break;
    default:
        effect_not_understood(work, "a kind of constraint that is not known here");
    }
}
