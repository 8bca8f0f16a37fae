/* SPDX-License-Identifier: Apache-2.0 */
/* Tables that are made, and partitions that come and go: the default partition is always in it. */
#include <string.h>

#include "migrate/bound.h"
#include "migrate/effect_int.h"

/* Is every AND part of the bound a part of a valid CHECK?  Both are as the server prints them; anything cleverer is the
 * server's, so "no" only means that a scan has to be expected. */
static bool check_has(const struct catalog_table *table, struct banyan_str part)
{
    for (size_t i = 0; i < table->constraint_count; i++) {
        const struct catalog_constraint *constraint = &table->constraints[i];

        if (constraint->kind == CATALOG_CHECK && constraint->validated && constraint->expression.data != NULL &&
            memmem(constraint->expression.data, constraint->expression.size, part.data, part.size) != NULL)
            return true;
    }
    return false;
}

static const char *integer_text(struct effect_work *work, const PgQuery__Node *datum)
{
    const PgQuery__Node *node = datum;

    if (node->node_case == PG_QUERY__NODE__NODE_PARTITION_RANGE_DATUM)
        node = node->partition_range_datum->value;
    if (node == NULL || node->node_case != PG_QUERY__NODE__NODE_A_CONST ||
        node->a_const->val_case != PG_QUERY__A__CONST__VAL_IVAL)
        return NULL;
    return banyan_arena_printf(work->arena, "%d", node->a_const->ival->ival).data;
}

/* The bound as a CHECK would say it; data NULL: not known. */
static struct banyan_str condition_of(struct effect_work *work, const struct catalog_table *parent,
                                      const PgQuery__PartitionBoundSpec *bound, const char *front)
{
    struct banyan_str condition = {NULL, 0};

    if (work->st == BANYAN_OK && parent->known && !parent->made_here)
        work->st = bound_condition(work->catalog, parent, bound, work->arena, &condition, work->err);
    return condition.data == NULL
               ? condition
               : banyan_arena_printf(work->arena, "%s(%.*s)", front, (int)condition.size, condition.data);
}

/* A CHECK of just the bound, or of a range over one column with integer bounds; nothing else is proved here. */
static bool bound_is_proved(struct effect_work *work, const struct catalog_table *parent,
                            const struct catalog_table *table, const PgQuery__PartitionBoundSpec *bound)
{
    const struct catalog_column *key = NULL;
    const char *low, *high;

    if (bound_is_checked(table, condition_of(work, parent, bound, ""), work->arena))
        return true;
    for (size_t i = 0; i < parent->column_count; i++)
        if (catalog_columns_has(&parent->partition_keys, parent->columns[i].number))
            key = key == NULL ? &parent->columns[i] : NULL;
    if (key == NULL || bound->n_lowerdatums != 1 || bound->n_upperdatums != 1)
        return false;
    low = integer_text(work, bound->lowerdatums[0]);
    high = integer_text(work, bound->upperdatums[0]);
    const struct catalog_column *own = catalog_column(table, key->name);

    return low != NULL && high != NULL && own != NULL &&
           (own->not_null || check_has(table, banyan_arena_printf(work->arena, "(%.*s IS NOT NULL)",
                                                                  (int)key->name.size, key->name.data))) &&
           check_has(table,
                     banyan_arena_printf(work->arena, "(%.*s >= %s)", (int)key->name.size, key->name.data, low)) &&
           check_has(table, banyan_arena_printf(work->arena, "(%.*s < %s)", (int)key->name.size, key->name.data, high));
}

/* *bound*: of the new partition; NULL: none comes.  The default one is read, unless a CHECK says the contrary of it. */
static void lock_default(struct effect_work *work, const struct catalog_table *parent,
                         const PgQuery__PartitionBoundSpec *bound)
{
    const struct catalog_table *other = effect_by_oid(work, parent->default_partition);

    if (other == NULL)
        return;
    effect_lock(work, other, EFFECT_ACCESS_EXCLUSIVE);
    if (bound != NULL && !bound->is_default &&
        !bound_is_checked(other, condition_of(work, parent, bound, "NOT "), work->arena)) {
        effect_scan(work, other, EFFECT_YES);
        effect_note(work, "the default partition %.*s is read and locked, too", (int)other->shown.size,
                    other->shown.data);
    }
}

/* Both tables are looked at; nobody waits but who has to plan with the index just then. */
static void attach_index(struct effect_work *work, const struct catalog_table *index, const struct catalog_table *part)
{
    const struct catalog_table *parent = effect_by_oid(work, index->parent), *child = effect_by_oid(work, part->parent);

    if (part->known && part->kind != 'i' && part->kind != 'I')
        effect_fails(work, "\"%.*s\" is not an index", (int)part->shown.size, part->shown.data);
    effect_lock(work, index, EFFECT_SHARE_UPDATE_EXCLUSIVE);
    effect_lock(work, part, EFFECT_ACCESS_EXCLUSIVE);
    if (parent != NULL)
        effect_lock(work, parent, EFFECT_ACCESS_SHARE);
    if (child != NULL)
        effect_lock(work, child, EFFECT_ACCESS_SHARE);
}

/* Foreign keys of the parent: one that is there, proven, is taken, any other is made and checked. */
static void attach_foreign(struct effect_work *work, const struct catalog_table *table,
                           const struct catalog_table *child)
{
    for (size_t i = 0; i < table->constraint_count; i++) {
        const struct catalog_table *other = table->constraints[i].kind == CATALOG_FOREIGN
                                                ? effect_by_oid(work, table->constraints[i].referenced)
                                                : NULL;
        bool proved = false;

        if (other == NULL)
            continue;
        for (size_t k = 0; k < child->constraint_count; k++)
            proved |= child->constraints[k].kind == CATALOG_FOREIGN && child->constraints[k].validated &&
                      child->constraints[k].referenced == other->oid &&
                      memcmp(&child->constraints[k].columns, &table->constraints[i].columns,
                             sizeof(struct catalog_columns)) == 0;
        effect_lock(work, other, proved ? EFFECT_ACCESS_EXCLUSIVE : EFFECT_SHARE_ROW_EXCLUSIVE);
        if (!proved)
            effect_check_foreign(work, child, other);
    }
}

void effect_attach(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    const PgQuery__PartitionCmd *partition = command->def->partition_cmd;
    const struct catalog_table *child = effect_find(work, partition->name, false);

    if (child == NULL)
        return;
    if (partition->bound == NULL) {
        attach_index(work, table, child);
        return;
    }
    if (table->known && !effect_is_partitioned(table))
        effect_fails(work, "table is not partitioned");
    if (child->is_partition)
        effect_fails(work, "\"%.*s\" is already a partition", (int)child->shown.size, child->shown.data);
    for (size_t i = 0; i < table->column_count && child->known && !child->stale; i++) {
        const struct catalog_column *column = catalog_column(child, table->columns[i].name);

        if (column == NULL || !banyan_str_equal(column->shown, table->columns[i].shown))
            effect_fails(work, "column \"%.*s\" is missing or of another type", (int)table->columns[i].name.size,
                         table->columns[i].name.data);
        else if (table->columns[i].not_null && !column->not_null)
            effect_fails(work, "column \"%.*s\" in child table must be marked NOT NULL",
                         (int)table->columns[i].name.size, table->columns[i].name.data);
    }
    effect_lock(work, table, EFFECT_SHARE_UPDATE_EXCLUSIVE);
    effect_lock(work, child, EFFECT_ACCESS_EXCLUSIVE);
    if (!bound_is_proved(work, table, child, partition->bound))
        effect_scan(work, child, table->known ? EFFECT_YES : EFFECT_PERHAPS);
    lock_default(work, table, partition->bound);
    if (partition->bound->is_default && table->default_partition != 0)
        effect_fails(work, "there is a default partition already");
    attach_foreign(work, table, child);
    for (size_t i = 0; i < table->index_count; i++) {
        bool primary = table->indexes[i].primary;
        bool has = false;

        effect_lock_index(work, table, &table->indexes[i], EFFECT_SHARE_UPDATE_EXCLUSIVE);
        for (size_t k = 0; k < child->index_count; k++)
            has |= memcmp(&child->indexes[k].keys, &table->indexes[i].keys, sizeof(struct catalog_columns)) == 0 &&
                   child->indexes[k].unique == table->indexes[i].unique;
        if (!has)
            effect_build(work, child, effect_new_name(work, child, BANYAN_STR(""), primary ? "pkey" : "idx"));
    }
}

void effect_detach(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    const PgQuery__PartitionCmd *partition = command->def->partition_cmd;
    const struct catalog_table *child = effect_find(work, partition->name, false);
    bool light = partition->concurrent || command->subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_DetachPartitionFinalize;

    if (child == NULL)
        return;
    if (child->known && child->parent != table->oid)
        effect_fails(work, "relation \"%.*s\" is not a partition of it", (int)child->shown.size, child->shown.data);
    work->ret->outside_transaction = partition->concurrent;
    work->ret->waits_for_transactions = partition->concurrent;
    if (partition->concurrent && table->default_partition != 0)
        effect_fails(work, "cannot detach partitions concurrently when a default partition exists");
    effect_lock(work, table, light ? EFFECT_SHARE_UPDATE_EXCLUSIVE : EFFECT_ACCESS_EXCLUSIVE);
    effect_lock(work, child, EFFECT_ACCESS_EXCLUSIVE);
    if (light)
        return;
    lock_default(work, table, NULL);
    effect_lock_indexes(work, child, EFFECT_ACCESS_EXCLUSIVE);
}

/* ---- CREATE TABLE ---- */

static void create_constraint(struct effect_work *work, struct catalog_table *table,
                              const PgQuery__Constraint *constraint, struct banyan_str columns)
{
    struct banyan_str given = banyan_str_of(constraint->conname);

    switch (constraint->contype) {
    case PG_QUERY__CONSTR_TYPE__CONSTR_PRIMARY:
        effect_build(work, table, given.size > 0 ? given : effect_new_name(work, table, BANYAN_STR(""), "pkey"));
        break;
    case PG_QUERY__CONSTR_TYPE__CONSTR_UNIQUE:
        for (size_t i = 0; i < constraint->n_keys; i++)
            columns = banyan_arena_printf(work->arena, "%.*s%s%s", (int)columns.size, columns.data,
                                          columns.size > 0 ? "_" : "", constraint->keys[i]->string->sval);
        effect_build(work, table, given.size > 0 ? given : effect_new_name(work, table, columns, "key"));
        break;
    case PG_QUERY__CONSTR_TYPE__CONSTR_EXCLUSION:
        effect_not_understood(work, "EXCLUDE in CREATE TABLE");
        break;
    case PG_QUERY__CONSTR_TYPE__CONSTR_FOREIGN:
        effect_add_foreign(work, table, constraint, EFFECT_NO);
        break;
    default:
        break;
    }
}

static void create_like(struct effect_work *work, struct catalog_table *table, const PgQuery__TableLikeClause *like)
{
    const struct catalog_table *model = effect_find(work, like->relation, false);
    const uint32_t with_defaults = 1U << 3, with_indexes = 1U << 6;

    if (model == NULL)
        return;
    effect_lock(work, model, EFFECT_ACCESS_SHARE);
    for (size_t i = 0; (like->options & with_defaults) != 0 && i < model->column_count; i++) {
        const struct catalog_table *sequence = model->columns[i].has_default && !effect_is_18(work)
                                                   ? effect_by_oid(work, model->columns[i].sequence)
                                                   : NULL;

        if (sequence != NULL)
            effect_lock(work, sequence, EFFECT_ACCESS_SHARE);
    }
    for (size_t i = 0; (like->options & with_indexes) != 0 && i < model->index_count; i++) {
        const struct catalog_index *index = &model->indexes[i];
        struct banyan_str columns = BANYAN_STR("");

        for (size_t k = 0; k < model->column_count && !index->primary; k++)
            if (catalog_columns_has(&index->keys, model->columns[k].number))
                columns = banyan_arena_printf(work->arena, "%.*s%s%.*s", (int)columns.size, columns.data,
                                              columns.size > 0 ? "_" : "", (int)model->columns[k].name.size,
                                              model->columns[k].name.data);
        effect_build(work, table,
                     effect_new_name(work, table, columns,
                                     index->primary         ? "pkey"
                                     : index->of_constraint ? "key"
                                                            : "idx"));
    }
}

static void create_partition(struct effect_work *work, struct catalog_table *table, const struct catalog_table *parent,
                             const PgQuery__CreateStmt *statement)
{
    if (parent->known && !effect_is_partitioned(parent))
        effect_fails(work, "\"%.*s\" is not partitioned", (int)parent->shown.size, parent->shown.data);
    effect_lock(work, parent, EFFECT_ACCESS_EXCLUSIVE);
    lock_default(work, parent, statement->partbound);
    if (statement->partbound->is_default && parent->default_partition != 0)
        effect_fails(work, "there is a default partition already");
    for (size_t i = 0; i < parent->index_count; i++) {
        effect_lock_index(work, parent, &parent->indexes[i], EFFECT_SHARE_UPDATE_EXCLUSIVE);
        if (statement->partspec == NULL)
            effect_build(work, table,
                         effect_new_name(work, table, BANYAN_STR(""), parent->indexes[i].primary ? "pkey" : "idx"));
    }
    for (size_t i = 0; i < parent->constraint_count; i++)
        if (parent->constraints[i].kind == CATALOG_FOREIGN) {
            const struct catalog_table *other = effect_by_oid(work, parent->constraints[i].referenced);

            if (other != NULL)
                effect_lock(work, other, EFFECT_SHARE_ROW_EXCLUSIVE);
        }
}

static void create_parents(struct effect_work *work, struct catalog_table *table, const PgQuery__CreateStmt *statement)
{
    for (size_t i = 0; i < statement->n_inh_relations; i++) {
        const struct catalog_table *parent = effect_find(work, statement->inh_relations[i]->range_var, false);

        if (parent == NULL)
            continue;
        if (statement->partbound != NULL)
            create_partition(work, table, parent, statement);
        else
            effect_lock(work, parent, EFFECT_SHARE_UPDATE_EXCLUSIVE);
    }
}

void effect_create_table(struct effect_work *work, const PgQuery__CreateStmt *statement)
{
    struct banyan_str schema = banyan_str_of(statement->relation->schemaname);
    struct banyan_str name = banyan_str_of(statement->relation->relname);
    struct catalog_table *there = effect_find(work, statement->relation, true);
    struct catalog_table table = {.schema = schema,
                                  .name = name,
                                  .shown = name,
                                  .known = true,
                                  .made_here = true,
                                  .kind = statement->partspec != NULL ? 'p' : 'r',
                                  .persistence = 'p',
                                  .stale = true};

    if (there != NULL && there->known) {
        if (!statement->if_not_exists)
            effect_fails(work, "relation \"%s\" already exists", statement->relation->relname);
        return;
    }
    if (schema.size > 0 && !banyan_str_equal(schema, BANYAN_STR("public")))
        table.shown = banyan_arena_printf(work->arena, "%s.%s", schema.data, name.data);
    if (statement->relation->relpersistence[0] != '\0')
        table.persistence = statement->relation->relpersistence[0];
    create_parents(work, &table, statement);
    for (size_t i = 0; i < statement->n_table_elts && effect_goes_on(work); i++) {
        const PgQuery__Node *element = statement->table_elts[i];

        if (element->node_case == PG_QUERY__NODE__NODE_CONSTRAINT)
            create_constraint(work, &table, element->constraint, BANYAN_STR(""));
        else if (element->node_case == PG_QUERY__NODE__NODE_TABLE_LIKE_CLAUSE)
            create_like(work, &table, element->table_like_clause);
        else if (element->node_case == PG_QUERY__NODE__NODE_COLUMN_DEF)
            for (size_t k = 0; k < element->column_def->n_constraints; k++)
                create_constraint(work, &table, element->column_def->constraints[k]->constraint,
                                  banyan_str_of(element->column_def->colname));
    }
    /* What nobody else knows of takes no lock that matters. */
    for (size_t i = 0; i < work->ret->relation_count; i++)
        if (banyan_str_equal(work->ret->relations[i].name, table.shown))
            work->ret->relations[i] = (struct effect_relation){.name = table.shown, .made_here = true};
}
