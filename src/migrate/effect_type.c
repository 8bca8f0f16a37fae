/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ALTER TABLE … ALTER … TYPE: whether the bytes stay as they are, and what rests on the column.
 *
 *   the same type, wider or unbounded ──▶ nothing but the catalog
 *   another type with the same bytes  ──▶ CHECKs are read again, indexes stay where their operators do
 *   all else                          ──▶ table and indexes are written anew, foreign keys checked again
 */
#include <string.h>

#include "migrate/effect_int.h"

enum {
    HEADER_BYTES = 4,  /* modifiers of varchar and numeric are so much greater */
    PRECISION_MAX = 6, /* of times */
};

/* ---- the new type ---- */

static bool modifier_at(const PgQuery__TypeName *name, size_t at, int32_t *ret)
{
    const PgQuery__Node *node = name->typmods[at];

    if (node->node_case != PG_QUERY__NODE__NODE_A_CONST || node->a_const->val_case != PG_QUERY__A__CONST__VAL_IVAL)
        return false;
    *ret = node->a_const->ival->ival;
    return true;
}

static int32_t modifier_of(const PgQuery__TypeName *name, struct banyan_str type)
{
    int32_t first = 0, second = 0;

    if (name->n_typmods == 0 || !modifier_at(name, 0, &first) ||
        (name->n_typmods > 1 && !modifier_at(name, 1, &second)))
        return -1;
    if (banyan_str_equal(type, BANYAN_STR("numeric")))
        return (int32_t)((uint32_t)first << 16 | ((uint32_t)second & 0x7ff)) + HEADER_BYTES;
    if (banyan_str_equal(type, BANYAN_STR("varchar")) || banyan_str_equal(type, BANYAN_STR("bpchar")))
        return first + HEADER_BYTES;
    if (banyan_str_equal(type, BANYAN_STR("interval")))
        return (int32_t)((uint32_t)first << 16 | (name->n_typmods > 1 ? (uint32_t)second : 0xffff));
    return first;
}

/* Those that the grammar has no words for; the catalog of the system is always searched first. */
static bool is_built_in(const char *name)
{
    static const char *const names[] = {"text",        "uuid",      "json",     "jsonb",   "bytea",     "date",
                                        "timestamptz", "inet",      "cidr",     "xml",     "money",     "oid",
                                        "name",        "timetz",    "point",    "int2",    "int4",      "int8",
                                        "bool",        "float4",    "float8",   "macaddr", "tsvector",  "tsquery",
                                        "int4range",   "int8range", "numrange", "tsrange", "tstzrange", "daterange"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* By a statement above.  An enum, a range, a row: no value of it is checked; of a domain only is known that it is
 * there. */
static bool is_made_here(struct effect_work *work, const PgQuery__TypeName *name, const char *last,
                         struct catalog_type *type)
{
    struct catalog_table *made = NULL;

    if (work->st == BANYAN_OK)
        work->st = catalog_table(work->catalog, banyan_str_of(name->n_names > 1 ? name->names[0]->string->sval : ""),
                                 banyan_str_of(last), &made, work->err);
    if (made != NULL && made->made_here && made->kind == 'c')
        *type = (struct catalog_type){.name = banyan_str_of(last), .modifier = -1, .known = true};
    return made != NULL && made->made_here;
}

struct catalog_type effect_type(struct effect_work *work, const PgQuery__TypeName *name)
{
    struct catalog_type type = {.modifier = -1};
    const char *last = name->n_names > 0 ? name->names[name->n_names - 1]->string->sval : "";
    static const struct {
        const char *name, *type;
    } serials[] = {{"serial", "int4"},  {"serial4", "int4"},     {"bigserial", "int8"},
                   {"serial8", "int8"}, {"smallserial", "int2"}, {"serial2", "int2"}};

    for (size_t i = 0; i < sizeof(serials) / sizeof(serials[0]) && name->n_names == 1; i++)
        if (strcmp(last, serials[i].name) == 0)
            return (struct catalog_type){.name = banyan_str_of(serials[i].type), .modifier = -1, .known = true};
    if (work->st == BANYAN_OK)
        work->st = catalog_type(work->catalog, banyan_str_of(name->n_names > 1 ? name->names[0]->string->sval : ""),
                                banyan_str_of(last), &type, work->err);
    if (name->n_names > 1 ? strcmp(name->names[0]->string->sval, "pg_catalog") == 0 : is_built_in(last))
        type.known = true;
    if (!type.known && !catalog_is_offline(work->catalog) && !is_made_here(work, name, last, &type))
        effect_fails(work, "type \"%s\" does not exist", last);
    if (!type.is_domain)
        type.modifier = modifier_of(name, type.name);
    if (name->n_array_bounds > 0) {
        type.name = banyan_arena_printf(work->arena, "_%.*s", (int)type.name.size, type.name.data);
        type.is_array = true;
    }
    return type;
}

/* ---- the change ---- */

static bool is_one_of(struct banyan_str name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (banyan_str_equal(name, banyan_str_of(*names)))
            return true;
    return false;
}

/* The same type: does every value of modifier *from* fit into *to* as it is? */
static bool is_wider(struct banyan_str type, int32_t from, int32_t to)
{
    static const char *const lengths[] = {"varchar", "varbit", NULL};
    static const char *const times[] = {"timestamp", "timestamptz", "time", "timetz", NULL};

    if (to < 0 || from == to)
        return true;
    if (is_one_of(type, lengths))
        return from >= 0 && to >= from;
    if (is_one_of(type, times))
        return to == PRECISION_MAX || (from >= 0 && to >= from);
    if (banyan_str_equal(type, BANYAN_STR("numeric")))
        return from >= HEADER_BYTES && ((from - HEADER_BYTES) & 0x7ff) == ((to - HEADER_BYTES) & 0x7ff) &&
               (to - HEADER_BYTES) >> 16 >= (from - HEADER_BYTES) >> 16;
    if (banyan_str_equal(type, BANYAN_STR("interval"))) {
        const int32_t seconds = 1 << 12; /* the smallest field of the range */
        int32_t old_precision = from & 0xffff, new_precision = to & 0xffff;
        bool same_fields = (to >> 16 & seconds) != 0 || (from >= 0 && from >> 16 == to >> 16);

        return same_fields && (new_precision >= PRECISION_MAX || (from >= 0 && new_precision >= old_precision));
    }
    return false;
}

/* Indexes of these types have the same operators. */
static bool shares_operators(struct banyan_str a, struct banyan_str b)
{
    static const char *const texts[] = {"text", "varchar", NULL};
    static const char *const addresses[] = {"cidr", "inet", NULL};

    return banyan_str_equal(a, b) || (is_one_of(a, texts) && is_one_of(b, texts)) ||
           (is_one_of(a, addresses) && is_one_of(b, addresses));
}

static bool is_timestamp(struct banyan_str type)
{
    static const char *const names[] = {"timestamp", "timestamptz", NULL};

    return is_one_of(type, names);
}

/* 'c': the bare column; 't': a cast of it to the new type; 'o': something else; 0: none. */
static char using_of(struct effect_work *work, const struct catalog_column *column, const PgQuery__Node *expression,
                     struct catalog_type type)
{
    const PgQuery__Node *inner = expression;

    if (expression == NULL)
        return 0;
    if (inner->node_case == PG_QUERY__NODE__NODE_TYPE_CAST) {
        struct catalog_type to = effect_type(work, inner->type_cast->type_name);

        if (!banyan_str_equal(to.name, type.name) || (to.modifier != type.modifier && to.modifier != -1))
            return 'o';
        inner = inner->type_cast->arg;
    }
    if (inner->node_case != PG_QUERY__NODE__NODE_COLUMN_REF || inner->column_ref->n_fields != 1 ||
        inner->column_ref->fields[0]->node_case != PG_QUERY__NODE__NODE_STRING ||
        !banyan_str_equal(banyan_str_of(inner->column_ref->fields[0]->string->sval), column->name))
        return 'o';
    return inner == expression ? 'c' : 't';
}

static void change_by_cast(struct effect_work *work, const struct catalog_column *column, struct catalog_type type,
                           bool explicit_cast, struct effect_type_change *change)
{
    enum catalog_cast cast = CATALOG_CAST_UNKNOWN;

    change->same_operators = shares_operators(column->type.name, type.name);
    if (is_timestamp(column->type.name) && is_timestamp(type.name)) {
        /* The conversion forgets the old precision. */
        change->rewrite =
            catalog_zone_is_utc(work->catalog) && is_wider(type.name, -1, type.modifier) ? EFFECT_NO : EFFECT_YES;
        if (catalog_is_offline(work->catalog))
            change->rewrite = EFFECT_PERHAPS;
        if (change->rewrite == EFFECT_NO)
            effect_note(work, "judged for Banyan's own session, whose TimeZone is UTC; in a session with another zone "
                              "the table is rewritten");
        return;
    }
    if (work->st == BANYAN_OK)
        work->st = catalog_cast(work->catalog, column->type.name, type.name, explicit_cast, &cast, work->err);
    change->refused = cast == CATALOG_CAST_NONE;
    change->rewrite = cast == CATALOG_CAST_BINARY && type.modifier < 0 ? EFFECT_NO : EFFECT_YES;
}

struct effect_type_change effect_type_change(struct effect_work *work, const struct catalog_column *column,
                                             const PgQuery__ColumnDef *definition)
{
    struct catalog_type type = effect_type(work, definition->type_name);
    struct effect_type_change change = {.rewrite = EFFECT_YES};
    char using = 0;

    if (column == NULL || !type.known) {
        change.rewrite = EFFECT_PERHAPS;
        return change;
    }
    using = using_of(work, column, definition->raw_default, type);
    change.same_operators = true;
    if (using == 'o')
        change.same_operators = shares_operators(column->type.name, type.name);
    else if (!banyan_str_equal(column->type.name, type.name))
        change_by_cast(work, column, type, using == 't', &change);
    else
        change.rewrite = is_wider(type.name, column->type.modifier, type.modifier) ? EFFECT_NO : EFFECT_YES;
    if (type.constrained)
        change.rewrite = EFFECT_YES;
    const PgQuery__CollateClause *collate = definition->coll_clause;

    /* A collation goes with the column; without COLLATE the type's own comes back. */
    struct banyan_str name = collate == NULL ? (struct banyan_str){NULL, 0}
                                             : banyan_str_of(collate->collname[collate->n_collname - 1]->string->sval);
    if (!banyan_str_equal(name, column->collation))
        change.same_operators = false;
    return change;
}

/* ---- what rests on the column ---- */

static const char *dependent_name(char kind)
{
    switch (kind) {
    case 'v':
    case 'm':
        return "a view or rule";
    case 'u':
        return "a view or rule";
    case 'p':
        return "a policy definition";
    case 't':
        return "a trigger definition";
    default:
        return "a generated column";
    }
}

static bool is_refused(struct effect_work *work, const struct catalog_table *table, const struct catalog_column *column)
{
    if (column->inherited)
        effect_fails(work, "cannot alter inherited column \"%.*s\"", (int)column->name.size, column->name.data);
    if (catalog_columns_has(&table->partition_keys, column->number))
        effect_fails(work, "cannot alter column \"%.*s\": it is part of the partition key", (int)column->name.size,
                     column->name.data);
    for (size_t i = 0; i < table->dependent_count; i++)
        if (catalog_columns_has(&table->dependents[i].columns, column->number))
            effect_fails(work, "cannot alter type of a column used by %s (%.*s)",
                         dependent_name(table->dependents[i].kind), (int)table->dependents[i].name.size,
                         table->dependents[i].name.data);
    return !effect_goes_on(work);
}

static void change_indexes(struct effect_work *work, const struct catalog_table *table,
                           const struct catalog_column *column, struct effect_type_change change)
{
    for (size_t i = 0; i < table->index_count; i++) {
        const struct catalog_index *index = &table->indexes[i];
        struct effect_relation *relation;

        if (!catalog_columns_has(&index->columns, column->number))
            continue;
        relation = effect_lock_index(work, table, index, EFFECT_ACCESS_EXCLUSIVE);
        if (change.rewrite == EFFECT_NO && change.same_operators && !index->partial && !index->has_expressions &&
            !index->exclusion)
            continue;
        if (effect_is_partitioned(table))
            continue;
        relation->build = change.rewrite == EFFECT_PERHAPS ? EFFECT_PERHAPS : EFFECT_YES;
        effect_scan(work, table, relation->build);
    }
}

static void change_foreign(struct effect_work *work, const struct catalog_constraint *constraint,
                           struct effect_type_change change)
{
    const struct catalog_table *table = effect_by_oid(work, constraint->table);
    const struct catalog_table *referenced = effect_by_oid(work, constraint->referenced);

    if (table == NULL || referenced == NULL)
        return;
    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    /* What nobody checks has no triggers there. */
    effect_lock(work, referenced, constraint->unenforced ? EFFECT_SHARE_ROW_EXCLUSIVE : EFFECT_ACCESS_EXCLUSIVE);
    for (size_t i = 0; i < referenced->index_count && !effect_is_18(work); i++)
        if (referenced->indexes[i].oid == constraint->index)
            effect_lock_index(work, referenced, &referenced->indexes[i], EFFECT_ACCESS_SHARE);
    if (constraint->validated && (change.rewrite != EFFECT_NO || !change.same_operators))
        effect_check_foreign(work, table, referenced);
}

static bool is_string(struct banyan_str type)
{
    return banyan_str_equal(type, BANYAN_STR("varchar")) || banyan_str_equal(type, BANYAN_STR("text"));
}

/* Every value stays what it is: a longer varchar, a wider numeric. */
static bool is_only_wider(struct effect_work *work, const struct catalog_column *column,
                          const PgQuery__ColumnDef *definition, struct effect_type_change change)
{
    struct banyan_str type;

    if (column == NULL || definition->type_name == NULL || change.rewrite != EFFECT_NO || !column->type.known)
        return false;
    type = effect_type(work, definition->type_name).name;
    return banyan_str_equal(type, column->type.name) || (is_string(type) && is_string(column->type.name));
}

static void change_table(struct effect_work *work, struct catalog_table *table, struct banyan_str name,
                         const PgQuery__ColumnDef *definition, bool top)
{
    const struct catalog_column *column = catalog_column(table, name);
    struct effect_type_change change = effect_type_change(work, column, definition);

    effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE);
    work->ret->breaks_old_code |= top && !is_only_wider(work, column, definition, change);
    if (column == NULL) {
        if (table->known && !table->stale)
            effect_fails(work, "column \"%.*s\" does not exist", (int)name.size, name.data);
        effect_note(work, "whether the table is rewritten depends on the type that the column has now");
        effect_rewrite(work, table, EFFECT_PERHAPS);
        return;
    }
    if (top && is_refused(work, table, column))
        return;
    if (change.refused)
        effect_fails(work, "column \"%.*s\" cannot be cast automatically: USING is needed", (int)name.size, name.data);
    change_indexes(work, table, column, change);
    for (size_t i = 0; i < table->constraint_count; i++) {
        const struct catalog_constraint *constraint = &table->constraints[i];

        if (!catalog_columns_has(&constraint->columns, column->number))
            continue;
        if (constraint->kind == CATALOG_CHECK && constraint->validated)
            effect_scan(work, table, EFFECT_YES);
        if (constraint->kind == CATALOG_FOREIGN)
            change_foreign(work, constraint, change);
    }
    for (size_t i = 0; i < table->reference_count; i++)
        if (catalog_columns_has(&table->references[i].referenced_columns, column->number))
            change_foreign(work, &table->references[i], change);
    if (!column->is_virtual)
        effect_rewrite(work, table, change.rewrite);
    for (size_t i = 0; i < table->child_count; i++) {
        struct catalog_table *child = effect_by_oid(work, table->children[i]);

        if (child != NULL)
            change_table(work, child, name, definition, false);
    }
}

void effect_alter_type(struct effect_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    if (command->def != NULL && command->def->node_case == PG_QUERY__NODE__NODE_COLUMN_DEF)
        change_table(work, table, banyan_str_of(command->name), command->def->column_def, true);
}
