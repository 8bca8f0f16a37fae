/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that hangs on columns that change places.  A rename keeps the original column, and with it everything: only
 * indexes are made for the new name, so that new code is fast before contract.  A type change has a new column, and
 * each of these moves to it and keeps its name:
 *
 *   | what               | before contract                  | in the swap                    | on the way back | |
 * index              | helper, CONCURRENTLY             | names swapped                  | names swapped             |
 *   | unique index       | helper, CONCURRENTLY             | old one dropped                | built again before | |
 * PRIMARY KEY UNIQUE | helper index                     | dropped, ADD … USING INDEX     | index built again before  |
 *   | CHECK              | helper, NOT VALID, VALIDATE      | dropped, renamed               | NOT VALID, VALIDATE
 * after | | own FOREIGN KEY    | the same                         | the same                       | the same | |
 * FOREIGN KEY to it  | the same, to the helper's index  | the same                       | the same                  |
 *   | NOT NULL           | proven by a CHECK                | dropped for the kept one       | proven before | |
 * default, sequence  |                                  | moved                          | moved back                |
 *   | identity           |                                  | made again, setval             | the same | | views | |
 * dropped and made again         | the same                  |
 *
 * The way back ends where contract began, helpers and all, so that contract can be gone once more from there.
 *
 * The kept column loses all that could make a statement fail: what comes back from the new type may be NULL, or equal
 * where it was not.
 */
#include <string.h>

#include "migrate/plan_swap.h"

static bool is_swapped(const struct plan_swap *swap, const struct catalog_columns *columns, bool types_only)
{
    for (size_t i = 0; i < swap->column_count; i++) {
        const struct swap_column *column = &swap->columns[i];
        const struct catalog_column *known = catalog_column(swap->table, column->sync.from);

        if (known == NULL && !swap_is_type(column))
            known = catalog_column(swap->table, column->sync.to); /* the catalog has followed the rename */
        if (column->kept.size > 0 && known != NULL && (!types_only || swap_is_type(column)) &&
            catalog_columns_has(columns, known->number))
            return true;
    }
    return false;
}

static struct catalog_columns type_columns(const struct plan_swap *swap)
{
    struct catalog_columns set = {{0}};

    for (size_t i = 0; i < swap->column_count; i++)
        if (swap_is_type(&swap->columns[i]))
            catalog_columns_add(&set, swap->columns[i].column->number);
    return set;
}

enum names {
    NAMES_OF_NEW,    /* renamed columns, before contract: the second one */
    NAMES_OF_SHADOW, /* of another type, before contract: the shadow; what is renamed has its old name */
    NAMES_KEPT,      /* behind contract: what was kept aside of another type, and new names */
    NAMES_LIVE,      /* behind contract: what lives */
};

static struct definition_names names_of(struct plan_work *work, const struct plan_swap *swap, enum names which)
{
    struct definition_name *names;
    size_t count = 0;

    if (swap == NULL)
        return (struct definition_names){NULL, 0};
    names = banyan_arena_zalloc(work->arena, (swap->column_count + 1) * sizeof(*names));
    for (size_t i = 0; i < swap->column_count; i++) {
        const struct swap_column *column = &swap->columns[i];
        bool is_type = swap_is_type(column);

        if (column->kept.size == 0 || (is_type && (which == NAMES_OF_NEW || which == NAMES_LIVE)) ||
            (!is_type && which == NAMES_OF_SHADOW))
            continue;
        names[count++] = (struct definition_name){column->sync.from,
                                                  is_type && which == NAMES_KEPT ? column->kept : column->sync.to};
    }
    return (struct definition_names){names, count};
}

static void failed(struct plan_work *work, enum banyan_status st)
{
    if (work->st == BANYAN_OK)
        work->st = st;
}

static bool understood(struct plan_work *work, struct banyan_str definition, struct banyan_str name)
{
    if (definition.data == NULL)
        plan_refuse(work, "the definition of %.*s cannot be read: drop it, migrate, and make it again", (int)name.size,
                    name.data);
    return definition.data != NULL;
}

static void lock_together(struct plan_work *work, struct plan_swap *swap, const struct catalog_table *table)
{
    const struct catalog_table **others;

    if (table == swap->table)
        return;
    for (size_t i = 0; i < swap->other_count; i++)
        if (swap->others[i] == table)
            return;
    others = banyan_arena_zalloc(work->arena, (swap->other_count + 1) * sizeof(*others));
    if (swap->other_count > 0)
        memcpy(others, swap->others, swap->other_count * sizeof(*others));
    others[swap->other_count++] = table;
    swap->others = others;
}

/* The same statement in both directions. */
static void both(struct plan_work *work, struct plan_swap *swap, enum swap_section section, struct banyan_str sql)
{
    swap_sql(work, &swap->forward[section], "%S", sql);
    swap_sql(work, &swap->backward[section], "%S", sql);
}

/* ---- indexes ---- */

static void built_before_undo(struct plan_work *work, struct plan_swap *swap, const struct definition_index *of,
                              struct banyan_str name, enum names which)
{
    struct swap_index *indexes = banyan_arena_zalloc(work->arena, (swap->index_count + 1) * sizeof(*indexes));

    if (swap->index_count > 0)
        memcpy(indexes, swap->indexes, swap->index_count * sizeof(*indexes));
    indexes[swap->index_count++] = (struct swap_index){
        of->schema, name, definition_index_over(of->text, names_of(work, swap, which), work->arena)};
    swap->indexes = indexes;
}

static const struct catalog_constraint *constraint_of(const struct plan_swap *swap, const struct catalog_index *index)
{
    for (size_t i = 0; i < swap->table->constraint_count; i++)
        if (swap->table->constraints[i].index == index->oid &&
            (swap->table->constraints[i].kind == CATALOG_PRIMARY || swap->table->constraints[i].kind == CATALOG_UNIQUE))
            return &swap->table->constraints[i];
    return NULL;
}

static bool is_deferred(struct plan_work *work, const struct plan_swap *swap, const struct catalog_index *index)
{
    const struct catalog_constraint *key = constraint_of(swap, index);
    struct definition_constraint definition = {.deferred = BANYAN_STR("")};

    if (key != NULL && work->st == BANYAN_OK)
        work->st = definition_constraint(work->catalog, swap->table->oid, key->name, &definition, work->err);
    return definition.deferred.size > 0;
}

static void comment_on(struct plan_work *work, struct plan_swap *swap, const char *what, struct banyan_str name,
                       const struct catalog_table *table, struct banyan_str comment)
{
    if (comment.data != NULL)
        both(work, swap, SWAP_SMALL, sql_make(work->arena, "COMMENT ON %s %I ON %T IS %L", what, name, table, comment));
}

static void key_changes(struct plan_work *work, struct plan_swap *swap, const struct catalog_constraint *key,
                        struct banyan_str helper, struct banyan_str again)
{
    const char *kind = key->kind == CATALOG_PRIMARY ? "PRIMARY KEY" : "UNIQUE";
    struct definition_constraint definition = {.text = BANYAN_STR("")};
    enum banyan_status st = definition_constraint(work->catalog, swap->table->oid, key->name, &definition, work->err);

    failed(work, st);
    if (st != BANYAN_OK)
        return;
    both(work, swap, SWAP_CONSTRAINTS_OFF,
         sql_make(work->arena, "ALTER TABLE %T DROP CONSTRAINT %I", swap->table, key->name));
    swap_sql(work, &swap->forward[SWAP_KEYS], "ALTER TABLE %T ADD CONSTRAINT %I %s USING INDEX %I%S", swap->table,
             key->name, kind, helper, definition.deferred);
    swap_sql(work, &swap->backward[SWAP_KEYS], "ALTER TABLE %T ADD CONSTRAINT %I %s USING INDEX %I%S", swap->table,
             key->name, kind, again, definition.deferred);
    comment_on(work, swap, "CONSTRAINT", key->name, swap->table, definition.comment);
}

static void index_changes(struct plan_work *work, struct plan_swap *swap, const struct catalog_index *index,
                          const struct definition_index *definition, struct banyan_str helper, struct banyan_str aside)
{
    struct banyan_str schema = definition->schema, name = definition->name;

    if (index->unique) {
        swap_sql(work, &swap->forward[SWAP_CONSTRAINTS_OFF], "DROP INDEX %I.%I", schema, name);
        swap_sql(work, &swap->backward[SWAP_CONSTRAINTS_OFF], "ALTER INDEX %I.%I RENAME TO %I", schema, name, helper);
    } else {
        swap_sql(work, &swap->forward[SWAP_ASIDE], "ALTER INDEX %I.%I RENAME TO %I", schema, name, aside);
        swap_sql(work, &swap->backward[SWAP_ASIDE], "ALTER INDEX %I.%I RENAME TO %I", schema, name, helper);
    }
    swap_sql(work, &swap->forward[SWAP_KEYS], "ALTER INDEX %I.%I RENAME TO %I", schema, helper, name);
    swap_sql(work, &swap->backward[SWAP_KEYS], "ALTER INDEX %I.%I RENAME TO %I", schema, aside, name);
    if (definition->comment.data != NULL)
        both(work, swap, SWAP_SMALL,
             sql_make(work->arena, "COMMENT ON INDEX %I.%I IS %L", schema, name, definition->comment));
}

static bool index_is_possible(struct plan_work *work, const struct plan_swap *swap, const struct catalog_index *index)
{
    struct banyan_str name = index->name;

    if (!index->valid) {
        plan_note(work, "the index %.*s is invalid and is left behind: drop or rebuild it", (int)name.size, name.data);
        return false;
    }
    if (index->exclusion) {
        plan_refuse(work, "%.*s is an EXCLUDE constraint, which cannot be built beside running writes: drop it first",
                    (int)name.size, name.data);
        return false;
    }
    if (index->of_constraint && swap->table->kind == 'p') {
        plan_refuse(work,
                    "%.*s is a key of a partitioned table, which cannot be put on an index that is there: "
                    "drop the constraint first, or change the type in a new table",
                    (int)name.size, name.data);
        return false;
    }
    return true;
}

static void hang_index(struct plan_work *work, struct plan_swap *swap, const struct catalog_index *index)
{
    bool is_type = is_swapped(swap, &index->columns, true);
    struct definition_index definition = {.text = BANYAN_STR("")};
    struct banyan_str helper, aside, over;
    enum banyan_status st;
    bool deferred;

    if (!is_swapped(swap, &index->columns, false) || (!is_type && (index->exclusion || !index->valid)) ||
        !index_is_possible(work, swap, index))
        return;
    st = definition_index(work->catalog, index->oid, &definition, work->err);
    failed(work, st);
    if (st != BANYAN_OK)
        return;
    helper = plan_new_name(work, swap->table, definition.name);
    aside = plan_kept_name(work, swap->table, definition.name);
    over = definition_index_over(definition.text, names_of(work, swap, is_type ? NAMES_OF_SHADOW : NAMES_OF_NEW),
                                 work->arena);
    if (!understood(work, over, definition.name))
        return;
    /* A plain unique index is asked at once, and would refuse what a deferred constraint lets through. */
    deferred = is_deferred(work, swap, index);
    plan_index_build(work, swap->table, helper, index->unique && (is_type || !deferred), over,
                     is_type && deferred ? PLAN_CONTRACT : PLAN_BACKFILL);
    if (!is_type)
        return;
    if (swap->table->kind == 'p')
        plan_note(work, "the parts of the index %.*s on the partitions have other names afterwards",
                  (int)definition.name.size, definition.name.data);
    if (index->unique)
        built_before_undo(work, swap, &definition, aside, NAMES_KEPT);
    if (index->of_constraint && constraint_of(swap, index) != NULL) {
        /* The helper became the constraint's own, and goes with it on the way back. */
        built_before_undo(work, swap, &definition, helper, NAMES_LIVE);
        key_changes(work, swap, constraint_of(swap, index), helper, aside);
    } else {
        index_changes(work, swap, index, &definition, helper, aside);
    }
    if (definition.clustered)
        both(work, swap, SWAP_SMALL,
             sql_make(work->arena, "ALTER TABLE %T CLUSTER ON %I", swap->table, definition.name));
    if (definition.identity)
        both(work, swap, SWAP_SMALL,
             sql_make(work->arena, "ALTER TABLE %T REPLICA IDENTITY USING INDEX %I", swap->table, definition.name));
}

/* ---- constraints ---- */

static void validated_after_undo(struct plan_work *work, struct plan_swap *swap, const struct catalog_table *table,
                                 struct banyan_str name)
{
    struct swap_validation *all = banyan_arena_zalloc(work->arena, (swap->validation_count + 1) * sizeof(*all));

    if (swap->validation_count > 0)
        memcpy(all, swap->validations, swap->validation_count * sizeof(*all));
    all[swap->validation_count++] = (struct swap_validation){table, name};
    swap->validations = all;
}

/* NOT VALID, then VALIDATE: two steps.  The undo finds it gone where the swap's undo has dropped it. */
static void constraint_steps(struct plan_work *work, const struct catalog_table *table,
                             const struct catalog_table *other, struct banyan_str name, struct banyan_str definition,
                             bool validated, enum plan_phase phase)
{
    const struct catalog_table *tables[] = {other, table};
    struct plan_step *step = plan_add(work, phase, "add-helper-constraint", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct plan_action *undo;

    step->title = banyan_arena_printf(work->arena, "a constraint of %.*s for the new column, not proven yet",
                                      (int)table->shown.size, table->shown.data);
    if (other != NULL && other != table)
        plan_lock_tables(work, &step->act, tables, 2, "SHARE ROW EXCLUSIVE");
    plan_sql(work, &step->act, "ALTER TABLE %T ADD CONSTRAINT %I %S NOT VALID", table, name, definition);
    undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    if (other != NULL && other != table)
        plan_lock_tables(work, undo, tables, 2, "ACCESS EXCLUSIVE");
    plan_sql(work, undo, "ALTER TABLE %T DROP CONSTRAINT IF EXISTS %I", table, name);
    if (!validated)
        return;
    step = plan_add(work, phase, "prove-helper-constraint", PLAN_TRANSACTION, PLAN_RETRY_LONG);
    step->title = banyan_arena_printf(work->arena, "it is proven for the rows of %.*s", (int)table->shown.size,
                                      table->shown.data);
    plan_sql(work, &step->act, "ALTER TABLE %T VALIDATE CONSTRAINT %I", table, name);
}

/* Its text says NOT VALID where it is not proven. */
static struct banyan_str bare(struct banyan_str text)
{
    static const char tail[] = " NOT VALID";

    if (text.size >= sizeof(tail) - 1 &&
        memcmp(text.data + text.size - (sizeof(tail) - 1), tail, sizeof(tail) - 1) == 0)
        text.size -= sizeof(tail) - 1;
    return text;
}

/* One that is there again behind the columns' way back. */
static void comes_back(struct plan_work *work, struct plan_swap *swap, const struct catalog_table *table,
                       struct banyan_str name, struct banyan_str text, bool validated)
{
    swap_sql(work, &swap->backward[SWAP_FOREIGN], "ALTER TABLE %T ADD CONSTRAINT %I %S NOT VALID", table, name, text);
    if (validated)
        validated_after_undo(work, swap, table, name);
}

static void hang_check(struct plan_work *work, struct plan_swap *swap, const struct catalog_constraint *check)
{
    struct definition_constraint definition = {.text = BANYAN_STR("")};
    struct definition_names none = {NULL, 0};
    struct banyan_str helper, over;
    enum banyan_status st;

    if (!is_swapped(swap, &check->columns, true))
        return;
    st = definition_constraint(work->catalog, swap->table->oid, check->name, &definition, work->err);
    failed(work, st);
    if (st != BANYAN_OK)
        return;
    over = definition_constraint_over(definition.text, names_of(work, swap, NAMES_OF_SHADOW), none, work->arena);
    if (!understood(work, over, check->name))
        return;
    helper = plan_new_name(work, swap->table, check->name);
    constraint_steps(work, swap->table, NULL, helper, over, check->validated, PLAN_BACKFILL);
    swap_sql(work, &swap->forward[SWAP_CONSTRAINTS_OFF], "ALTER TABLE %T DROP CONSTRAINT %I", swap->table, check->name);
    swap_sql(work, &swap->backward[SWAP_CONSTRAINTS_OFF], "ALTER TABLE %T RENAME CONSTRAINT %I TO %I", swap->table,
             check->name, helper);
    swap_sql(work, &swap->forward[SWAP_KEYS], "ALTER TABLE %T RENAME CONSTRAINT %I TO %I", swap->table, helper,
             check->name);
    comes_back(work, swap, swap->table, check->name, bare(definition.text), check->validated);
    comment_on(work, swap, "CONSTRAINT", check->name, swap->table, definition.comment);
}

bool hang_is_double(struct plan_work *work, const struct catalog_constraint *foreign)
{
    const struct plan_swap *own = swap_find(work, foreign->table), *other = swap_find(work, foreign->referenced);

    return foreign->table != foreign->referenced && own != NULL && other != NULL &&
           is_swapped(own, &foreign->columns, true) && is_swapped(other, &foreign->referenced_columns, true);
}

static bool foreign_is_possible(struct plan_work *work, const struct catalog_constraint *foreign,
                                const struct catalog_table *child)
{
    if (child->kind != 'p' && !child->is_partition)
        return true;
    plan_refuse(work,
                "the foreign key %.*s of the partitioned table %.*s cannot be added without a proof under a lock: "
                "drop it first, and add it again afterwards",
                (int)foreign->name.size, foreign->name.data, (int)child->shown.size, child->shown.data);
    return false;
}

/* One that leads from *child* to *parent*, one of which is *swap*'s table.
 *
 *   it rests on a key that changes    dropped and made again on the way back: its index goes with the key
 *   both ends change                  the parent's swap, which comes first, takes the old one away; the child's gives
 *                                     the helper its name
 */
static void hang_foreign(struct plan_work *work, struct plan_swap *swap, const struct catalog_constraint *foreign,
                         const struct catalog_table *child, const struct catalog_table *parent)
{
    bool is_double = hang_is_double(work, foreign), of_child = child == swap->table;
    bool rests = parent == swap->table && is_swapped(swap, &foreign->referenced_columns, true);
    struct definition_constraint definition = {.text = BANYAN_STR("")};
    struct banyan_str name = foreign->name, helper = plan_new_name(work, child, name), over;
    enum banyan_status st;

    if (!foreign_is_possible(work, foreign, child))
        return;
    st = definition_constraint(work->catalog, child->oid, name, &definition, work->err);
    failed(work, st);
    if (st != BANYAN_OK)
        return;
    over = definition_constraint_over(definition.text, names_of(work, swap_find(work, child->oid), NAMES_OF_SHADOW),
                                      names_of(work, swap_find(work, parent->oid), NAMES_OF_SHADOW), work->arena);
    if (!understood(work, over, name))
        return;
    if (child != parent)
        plan_changes_foreign(work, child, name);
    lock_together(work, swap, of_child ? parent : child);
    if (!is_double || of_child)
        constraint_steps(work, child, parent, helper, over, foreign->validated, PLAN_BACKFILL);
    if (!is_double || !of_child)
        swap_sql(work, &swap->forward[SWAP_FOREIGN_OFF], "ALTER TABLE %T DROP CONSTRAINT %I", child, name);
    if (!is_double || of_child)
        swap_sql(work, &swap->forward[SWAP_FOREIGN], "ALTER TABLE %T RENAME CONSTRAINT %I TO %I", child, helper, name);
    if (rests) {
        swap_sql(work, &swap->backward[SWAP_FOREIGN_OFF], "ALTER TABLE %T DROP CONSTRAINT %I", child,
                 is_double ? helper : name);
        comes_back(work, swap, child, helper, over, foreign->validated);
    } else {
        swap_sql(work, &swap->backward[SWAP_FOREIGN_OFF], "ALTER TABLE %T RENAME CONSTRAINT %I TO %I", child, name,
                 helper);
    }
    if (!is_double || !of_child)
        comes_back(work, swap, child, name, bare(definition.text), foreign->validated);
    comment_on(work, swap, "CONSTRAINT", name, child, definition.comment);
}

static void hang_foreigns(struct plan_work *work, struct plan_swap *swap)
{
    for (size_t i = 0; i < swap->table->constraint_count && plan_goes_on(work); i++) {
        const struct catalog_constraint *foreign = &swap->table->constraints[i];
        struct catalog_table *parent = NULL;

        if (foreign->kind != CATALOG_FOREIGN ||
            (!is_swapped(swap, &foreign->columns, true) &&
             (foreign->referenced != swap->table->oid || !is_swapped(swap, &foreign->referenced_columns, true))))
            continue;
        failed(work, catalog_by_oid(work->catalog, foreign->referenced, &parent, work->err));
        if (parent != NULL)
            hang_foreign(work, swap, foreign, swap->table, parent);
    }
    for (size_t i = 0; i < swap->table->reference_count && plan_goes_on(work); i++) {
        const struct catalog_constraint *foreign = &swap->table->references[i];
        struct catalog_table *child = NULL;

        if (foreign->table == swap->table->oid || !is_swapped(swap, &foreign->referenced_columns, true))
            continue;
        failed(work, catalog_by_oid(work->catalog, foreign->table, &child, work->err));
        if (child != NULL)
            hang_foreign(work, swap, foreign, child, swap->table);
    }
}

/* ---- the column's own ---- */

/* 'new'::text is the literal 'new' again: the column gives it its type.  *is_literal*: it was one. */
static struct banyan_str bare_literal(struct banyan_str expression, bool *is_literal)
{
    size_t end = 1;

    *is_literal = false;
    if (expression.size < 2 || expression.data[0] != '\'')
        return expression;
    for (; end < expression.size; end++) {
        if (expression.data[end] != '\'')
            continue;
        if (end + 1 == expression.size || expression.data[end + 1] != '\'')
            break;
        end++;
    }
    if (end + 2 >= expression.size || expression.data[end + 1] != ':' || expression.data[end + 2] != ':' ||
        memchr(expression.data + end + 1, '\'', expression.size - end - 1) != NULL)
        return expression;
    *is_literal = true;
    expression.size = end + 1;
    return expression;
}

/* A time without a zone means what the times of the column meant. */
static struct banyan_str new_default(struct plan_work *work, const struct swap_column *column)
{
    bool is_literal;
    struct banyan_str bare = bare_literal(column->hang.expression, &is_literal);

    if (!is_literal || column->zone.size == 0)
        return bare;
    return sql_make(work->arena, "(%S AT TIME ZONE %S)", column->hang.expression, column->zone);
}

/* c is the live one in both directions; *other* is what the way goes away from. */
static void identity_one_way(struct plan_work *work, const struct plan_swap *swap, const struct swap_column *column,
                             struct swap_list *sections, struct banyan_str other)
{
    const struct definition_column *hang = &column->hang;
    struct banyan_str aside = plan_kept_name(work, swap->table, hang->sequence);
    struct banyan_str sequence = sql_make(work->arena, "%I.%I", hang->sequence_schema, hang->sequence);

    swap_sql(work, &sections[SWAP_ASIDE], "ALTER SEQUENCE %S RENAME TO %I", sequence, aside);
    swap_sql(work, &sections[SWAP_MAKE],
             "ALTER TABLE %T ALTER COLUMN %I ADD GENERATED %s AS IDENTITY (SEQUENCE NAME %S %S)", swap->table,
             column->sync.from, hang->identity == 'a' ? "ALWAYS" : "BY DEFAULT", sequence, hang->sequence_options);
    swap_sql(work, &sections[SWAP_MAKE], "SELECT setval(%L::regclass, last_value, is_called) FROM %I.%I", sequence,
             hang->sequence_schema, aside);
    swap_sql(work, &sections[SWAP_MAKE], "ALTER TABLE %T ALTER COLUMN %I DROP IDENTITY", swap->table, other);
}

/* The last word of the migration's own on the default. */
static void default_of_migration(struct plan_work *work, const struct catalog_table *table, struct banyan_str column,
                                 struct banyan_str *expression)
{
    for (size_t i = 0; i < work->migration->statement_count; i++) {
        const PgQuery__AlterTableStmt *alter = swap_alter_of(work, i, table);

        for (size_t k = 0; alter != NULL && k < alter->n_cmds; k++) {
            const PgQuery__AlterTableCmd *command = alter->cmds[k]->alter_table_cmd;

            if (command->subtype != PG_QUERY__ALTER_TABLE_TYPE__AT_ColumnDefault ||
                !banyan_str_equal(banyan_str_of(command->name), column))
                continue;
            *expression = command->def == NULL ? (struct banyan_str){.data = NULL}
                                               : node_deparse_expression(command->def, work->arena);
        }
    }
}

static void hang_default(struct plan_work *work, struct plan_swap *swap, const struct swap_column *column)
{
    const struct definition_column *hang = &column->hang;
    struct banyan_str name = column->sync.from;

    struct banyan_str after =
        hang->expression.data != NULL ? new_default(work, column) : (struct banyan_str){.data = NULL};

    default_of_migration(work, swap->table, name, &after);
    if (hang->identity == 0)
        both(work, swap, SWAP_ASIDE,
             sql_make(work->arena, "ALTER TABLE %T ALTER COLUMN %I DROP DEFAULT", swap->table, name));
    if (after.data != NULL)
        swap_sql(work, &swap->forward[SWAP_MAKE], "ALTER TABLE %T ALTER COLUMN %I SET DEFAULT %S", swap->table, name,
                 after);
    if (hang->expression.data != NULL)
        swap_sql(work, &swap->backward[SWAP_MAKE], "ALTER TABLE %T ALTER COLUMN %I SET DEFAULT %S", swap->table, name,
                 hang->expression);
    if (hang->identity == 0 && hang->sequence.data != NULL)
        both(work, swap, SWAP_MAKE,
             sql_make(work->arena, "ALTER SEQUENCE %I.%I OWNED BY %T.%I", hang->sequence_schema, hang->sequence,
                      swap->table, name));
    if (hang->identity != 0) {
        identity_one_way(work, swap, column, swap->forward, column->kept);
        identity_one_way(work, swap, column, swap->backward, column->sync.to);
    }
}

/* From 18 on it is a constraint of its own, which keeps its name and comment: the shadow's has a helper's name before.
 */
static void hang_not_null(struct plan_work *work, struct plan_swap *swap, const struct swap_column *column)
{
    const struct catalog_constraint *constraint = plan_not_null_of(swap->table, column->sync.from);
    enum plan_phase phase = column->fits.size == 0 ? PLAN_BACKFILL : PLAN_CONTRACT;
    struct definition_constraint definition = {.comment = {.data = NULL}};
    struct banyan_str helper = BANYAN_STR(""), kept;

    if (constraint != NULL && !constraint->validated) {
        plan_refuse(work, "the NOT NULL constraint %.*s is NOT VALID: validate it first, in a migration of its own",
                    (int)constraint->name.size, constraint->name.data);
        return;
    }
    if (!column->column->not_null)
        return;
    swap_sql(work, &swap->forward[SWAP_MAKE], "ALTER TABLE %T ALTER COLUMN %I DROP NOT NULL", swap->table,
             column->kept);
    if (constraint != NULL) {
        helper = plan_new_name(work, swap->table, constraint->name);
        kept = plan_kept_name(work, swap->table, constraint->name);
        swap_sql(work, &swap->forward[SWAP_MAKE], "ALTER TABLE %T RENAME CONSTRAINT %I TO %I", swap->table, helper,
                 constraint->name);
        swap_sql(work, &swap->backward[SWAP_MAKE], "ALTER TABLE %T RENAME CONSTRAINT %I TO %I", swap->table,
                 constraint->name, helper);
        swap_sql(work, &swap->backward[SWAP_MAKE], "ALTER TABLE %T RENAME CONSTRAINT %I TO %I", swap->table, kept,
                 constraint->name);
        failed(work, definition_constraint(work->catalog, swap->table->oid, constraint->name, &definition, work->err));
        comment_on(work, swap, "CONSTRAINT", constraint->name, swap->table, definition.comment);
        if (swap->table->child_count > 0)
            plan_note(work, "NOT NULL of %.*s has the name %.*s in all partitions and children afterwards",
                      (int)column->sync.from.size, column->sync.from.data, (int)constraint->name.size,
                      constraint->name.data);
    }
    plan_not_null_named(work, swap->table, column->sync.to, helper, constraint, phase, phase);
}

void swap_not_null_back(struct plan_work *work, const struct plan_swap *swap, const struct swap_column *column,
                        struct plan_action *action)
{
    const struct catalog_constraint *constraint = plan_not_null_of(swap->table, column->sync.from);

    plan_not_null_sql(work, action, swap->table, column->kept,
                      constraint == NULL ? BANYAN_STR("") : plan_kept_name(work, swap->table, constraint->name),
                      constraint);
}

/* A type that does not hold every value of the old one: from contract on what does not fit is refused, and it is proven
 * that nothing of it is there, before the old column goes aside. */
static void prove_fits(struct plan_work *work, struct plan_swap *swap, const struct swap_column *column)
{
    struct banyan_str name;

    if (column->fits.size == 0)
        return;
    name = plan_new_name(work, swap->table, sql_make(work->arena, "%S_fits", column->sync.from));
    constraint_steps(work, swap->table, NULL, name,
                     sql_make(work->arena, "CHECK (%S(%I))", column->fits, column->sync.from), true, PLAN_CONTRACT);
    swap_sql(work, &swap->forward[SWAP_CONSTRAINTS_OFF], "ALTER TABLE %T DROP CONSTRAINT %I", swap->table, name);
}

static void hang_columns(struct plan_work *work, struct plan_swap *swap)
{
    for (size_t i = 0; i < swap->column_count && plan_goes_on(work); i++) {
        const struct swap_column *column = &swap->columns[i];

        if (!swap_is_type(column))
            continue;
        hang_default(work, swap, column);
        prove_fits(work, swap, column);
        hang_not_null(work, swap, column);
    }
}

/* ---- views, statistics ---- */

static void hang_views(struct plan_work *work, struct plan_swap *swap, const struct catalog_columns *columns)
{
    struct definition_views views = {.obstacle = BANYAN_STR("")};
    enum banyan_status st = definition_views(work->catalog, swap->table, columns, &views, work->err);

    failed(work, st);
    if (st != BANYAN_OK)
        return;
    if (views.obstacle.size > 0) {
        plan_refuse(work, "%.*s depends on a column whose type changes: drop it first, and make it again afterwards",
                    (int)views.obstacle.size, views.obstacle.data);
        return;
    }
    for (size_t i = views.view_count; i-- > 0;)
        both(work, swap, SWAP_VIEWS_OFF,
             sql_make(work->arena, "DROP VIEW %I.%I", views.views[i].schema, views.views[i].name));
    for (size_t i = 0; i < views.view_count; i++)
        for (size_t k = 0; k < views.views[i].statement_count; k++)
            both(work, swap, SWAP_VIEWS, views.views[i].statements[k]);
}

static void hang_statistics(struct plan_work *work, struct plan_swap *swap, const struct catalog_columns *columns)
{
    struct definition_statistics *all = NULL;
    size_t count = 0;

    failed(work, definition_statistics(work->catalog, swap->table, columns, &all, &count, work->err));
    for (size_t i = 0; i < count && plan_goes_on(work); i++) {
        both(work, swap, SWAP_ASIDE, sql_make(work->arena, "DROP STATISTICS %I.%I", all[i].schema, all[i].name));
        both(work, swap, SWAP_SMALL, all[i].text);
        for (size_t k = 0; k < sizeof(all[i].more) / sizeof(all[i].more[0]); k++)
            if (all[i].more[k].data != NULL)
                both(work, swap, SWAP_SMALL, all[i].more[k]);
    }
}

void hang_all(struct plan_work *work, struct plan_swap *swap)
{
    struct catalog_columns columns = type_columns(swap);
    bool any_type = false;

    for (size_t i = 0; i < swap->column_count; i++)
        any_type = any_type || swap_is_type(&swap->columns[i]);
    hang_columns(work, swap);
    for (size_t i = 0; i < swap->table->index_count && plan_goes_on(work); i++)
        hang_index(work, swap, &swap->table->indexes[i]);
    if (!any_type)
        return;
    for (size_t i = 0; i < swap->table->constraint_count && plan_goes_on(work); i++)
        if (swap->table->constraints[i].kind == CATALOG_CHECK)
            hang_check(work, swap, &swap->table->constraints[i]);
    hang_foreigns(work, swap);
    hang_views(work, swap, &columns);
    hang_statistics(work, swap, &columns);
}
