/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Partitions come and go without their rows being read under a lock.
 *
 *   ATTACH   the bound as a CHECK on the table, NOT VALID, then VALIDATE; what it lacks of the parent's indexes and
 *            foreign keys is made on it; on a default partition the contrary of the bound as a CHECK; then ATTACH,
 * which finds all of it proven, and the CHECKs go in the same transaction. DETACH   CONCURRENTLY and FINALIZE, or,
 * beside a default partition, plainly: no rows are read in either. PARTITION OF   CREATE TABLE (LIKE parent), then
 * ATTACH.
 *
 * The CHECK is the condition that the server makes of the bound (bound.h); where its proof failed the server would read
 * the table and nothing would be wrong but slow (a test measures that it does not).
 */
#include <pg_query.h>
#include <string.h>

#include "migrate/bound.h"
#include "migrate/plan_int.h"

static struct banyan_str oid_text(struct plan_work *work, const struct catalog_table *table)
{
    return banyan_arena_printf(work->arena, "%u", (unsigned)table->oid);
}

static struct banyan_str titled(struct plan_work *work, const char *what, const struct catalog_table *table)
{
    return banyan_arena_printf(work->arena, "%s %.*s", what, (int)table->shown.size, table->shown.data);
}

/* ---- the bound ---- */

/* Of rows of *parent* that belong there; data NULL: not known. */
static struct banyan_str bound_of(struct plan_work *work, const struct catalog_table *parent,
                                  const PgQuery__PartitionBoundSpec *spec)
{
    struct banyan_str ret = {NULL, 0};

    if (plan_goes_on(work))
        work->st = bound_condition(work->catalog, parent, spec, work->arena, &ret, work->err);
    return ret;
}

/* "FOR VALUES FROM (1) TO (10)" as it was written; data NULL: it does not become SQL again. */
static struct banyan_str spec_of(struct plan_work *work, PgQuery__PartitionBoundSpec *spec)
{
    PgQuery__RangeVar child = PG_QUERY__RANGE_VAR__INIT;
    PgQuery__PartitionCmd partition = PG_QUERY__PARTITION_CMD__INIT;
    PgQuery__AlterTableCmd command = PG_QUERY__ALTER_TABLE_CMD__INIT;
    PgQuery__Node def = PG_QUERY__NODE__INIT;

    child.inh = true;
    child.relpersistence = (char *)"p"; /* it is only read */
    child.relname = (char *)"c";        /* it is only read */
    partition.name = &child;
    partition.bound = spec;
    def.node_case = PG_QUERY__NODE__NODE_PARTITION_CMD;
    def.partition_cmd = &partition;
    command.subtype = PG_QUERY__ALTER_TABLE_TYPE__AT_AttachPartition;
    command.behavior = PG_QUERY__DROP_BEHAVIOR__DROP_RESTRICT;
    command.def = &def;
    return node_deparse_command(&command, "ATTACH PARTITION c ", work->arena);
}

/* ---- ATTACH ---- */

struct attaching {
    struct plan_sink *sink;
    struct catalog_table *parent;
    const struct catalog_table *child, *other; /* other: the default partition, NULL: none */
    struct banyan_str bound;                   /* condition; data NULL: not known */
    struct banyan_str spec;                    /* SQL */
    struct banyan_str check, other_check;      /* names; size 0: none is added */
};

/* A CHECK, proven in an own step. */
static void prove(struct attaching *all, const struct catalog_table *table, struct banyan_str name,
                  struct banyan_str condition)
{
    struct plan_work *work = all->sink->work;
    struct plan_action *action = plan_emit(all->sink, "add-bound-check", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                                           titled(work, "the bound, told to", table));

    plan_sql(work, action, "ALTER TABLE %T ADD CONSTRAINT %I CHECK (%S) NOT VALID", table, name, condition);
    action = plan_emit_undo(all->sink, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    if (action != NULL)
        plan_sql(work, action, "ALTER TABLE %T DROP CONSTRAINT IF EXISTS %I", table, name);
    plan_sql(work,
             plan_emit(all->sink, "validate-bound-check", PLAN_TRANSACTION, PLAN_RETRY_LONG,
                       titled(work, "the bound, proven for the rows of", table)),
             "ALTER TABLE %T VALIDATE CONSTRAINT %I", table, name);
}

static void check_bound(struct attaching *all)
{
    struct plan_work *work = all->sink->work;
    struct plan_check *check;

    if (all->bound.data == NULL)
        return;
    if (!all->child->made_here) {
        check = plan_check_add(work, PLAN_BACKFILL);
        check->sql = sql_make(work->arena, "SELECT count(*) FROM %T WHERE (%S) IS NOT TRUE", all->child, all->bound);
        check->message = banyan_arena_printf(work->arena, "rows of %.*s are outside the bound",
                                             (int)all->child->shown.size, all->child->shown.data);
        check->hint = BANYAN_STR("move them, or attach it with another bound");
    }
    if (all->other == NULL)
        return;
    check = plan_check_add(work, PLAN_BACKFILL);
    check->sql = sql_make(work->arena, "SELECT count(*) FROM %T WHERE %S", all->other, all->bound);
    check->message = banyan_arena_printf(work->arena, "rows of the default partition %.*s belong into the new one",
                                         (int)all->other->shown.size, all->other->shown.data);
    check->hint = BANYAN_STR("move them into the table that is attached, then start again");
}

/* What follows the table in the server's text of an index. */
static struct banyan_str using_of(struct banyan_str definition)
{
    const char *at = definition.data == NULL ? NULL : memmem(definition.data, definition.size, " USING ", 7);

    return at == NULL ? (struct banyan_str){NULL, 0}
                      : (struct banyan_str){at + 1, definition.size - (size_t)(at + 1 - definition.data)};
}

static bool has_index(const struct catalog_table *child, const struct catalog_index *wanted)
{
    for (size_t i = 0; i < child->index_count; i++)
        if (child->indexes[i].valid && child->indexes[i].unique == wanted->unique &&
            child->indexes[i].primary == wanted->primary &&
            (!wanted->of_constraint || child->indexes[i].of_constraint) &&
            banyan_str_equal(using_of(child->indexes[i].definition), using_of(wanted->definition)))
            return true;
    return false;
}

/* The parent's indexes that the child lacks: ATTACH would build them under its lock. */
static void build_indexes(struct attaching *all)
{
    struct plan_work *work = all->sink->work;

    for (size_t i = 0; i < all->parent->index_count && plan_goes_on(work); i++) {
        const struct catalog_index *index = &all->parent->indexes[i];
        struct banyan_str oid = banyan_arena_printf(work->arena, "%u", (unsigned)index->oid), columns, name;
        struct plan_action *action;

        if (has_index(all->child, index) || using_of(index->definition).data == NULL)
            continue;
        columns = plan_ask_one(work,
                               "SELECT string_agg(attname, '_' ORDER BY attnum) FROM pg_attribute WHERE attrelid = "
                               "$1::oid AND attnum > 0",
                               oid);
        if (columns.data == NULL || index->primary)
            columns = BANYAN_STR("");
        name = plan_server_name(work, all->child, columns,
                                index->primary         ? "pkey"
                                : index->of_constraint ? "key"
                                                       : "idx");
        if (all->child->kind == 'p') { /* keys of it: lacks_key() */
            plan_index_build(work, all->child, name, index->unique, using_of(index->definition), all->sink->phase);
            continue;
        }
        plan_emit_index(all->sink, all->child, name, index->unique, using_of(index->definition));
        if (!index->of_constraint)
            continue;
        plan_sql(work,
                 plan_emit(all->sink, "add-key", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                           titled(work, "its index becomes a key of", all->child)),
                 "ALTER TABLE %T ADD CONSTRAINT %I %s USING INDEX %I", all->child, name,
                 index->primary ? "PRIMARY KEY" : "UNIQUE", name);
        action = plan_emit_undo(all->sink, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
        if (action != NULL)
            plan_sql(work, action, "ALTER TABLE %T DROP CONSTRAINT IF EXISTS %I", all->child, name);
    }
}

/* A key that a partitioned child would have to be given, leaf by leaf: not done here. */
static bool lacks_key(const struct attaching *all)
{
    for (size_t i = 0; all->child->kind == 'p' && i < all->parent->index_count; i++)
        if (all->parent->indexes[i].of_constraint && !has_index(all->child, &all->parent->indexes[i]))
            return true;
    return false;
}

/* The same for its foreign keys: they would be checked under its lock. */
static void prove_foreign(struct attaching *all)
{
    struct plan_work *work = all->sink->work;

    for (size_t i = 0; i < all->parent->constraint_count; i++) {
        const struct catalog_constraint *wanted = &all->parent->constraints[i];
        bool found = wanted->kind != CATALOG_FOREIGN || wanted->definition.data == NULL;

        for (size_t k = 0; k < all->child->constraint_count && !found; k++)
            found = all->child->constraints[k].kind == CATALOG_FOREIGN && all->child->constraints[k].validated &&
                    banyan_str_equal(all->child->constraints[k].definition, wanted->definition);
        if (!found)
            plan_constraint_checked(work, all->child, wanted->name, wanted->definition, all->sink->phase,
                                    all->sink->phase);
    }
}

static void lock_all(struct attaching *all, struct plan_action *action, const char *mode)
{
    struct plan_work *work = all->sink->work;

    plan_sql(work, action, "LOCK TABLE ONLY %T IN %s MODE", all->parent, mode);
    for (size_t i = 0; i < all->parent->constraint_count; i++) {
        const struct catalog_table *referenced = all->parent->constraints[i].kind == CATALOG_FOREIGN
                                                     ? plan_by_oid(work, all->parent->constraints[i].referenced)
                                                     : NULL;

        if (referenced != NULL) /* triggers on it come or go with a partition */
            plan_sql(work, action, "LOCK TABLE %T IN ACCESS EXCLUSIVE MODE", referenced);
    }
    if (all->child->made_here)
        return;
    if (all->other != NULL)
        plan_sql(work, action, "LOCK TABLE %T, %T IN ACCESS EXCLUSIVE MODE", all->child, all->other);
    else
        plan_sql(work, action, "LOCK TABLE %T IN ACCESS EXCLUSIVE MODE", all->child);
}

static void emit_attach(struct attaching *all)
{
    struct plan_work *work = all->sink->work;
    struct plan_action *action = plan_emit(all->sink, "attach-partition", PLAN_TRANSACTION, PLAN_RETRY_SHORT,
                                           titled(work, "a partition from now on:", all->child));

    lock_all(all, action, "SHARE UPDATE EXCLUSIVE");
    plan_sql(work, action, "ALTER TABLE %T ATTACH PARTITION %T %S", all->parent, all->child, all->spec);
    if (all->check.size > 0)
        plan_sql(work, action, "ALTER TABLE %T DROP CONSTRAINT %I", all->child, all->check);
    if (all->other_check.size > 0)
        plan_sql(work, action, "ALTER TABLE %T DROP CONSTRAINT %I", all->other, all->other_check);
    action = plan_emit_undo(all->sink, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    if (action == NULL)
        return;
    lock_all(all, action, "ACCESS EXCLUSIVE");
    plan_sql(work, action, "ALTER TABLE %T DETACH PARTITION %T", all->parent, all->child);
}

/* Everything that ATTACH would read or build, done before it. */
static void prepare(struct attaching *all)
{
    struct plan_work *work = all->sink->work;

    if (all->bound.data != NULL && !plan_is_small(all->child)) {
        all->check = plan_new_name(work, all->child, BANYAN_STR("bound"));
        prove(all, all->child, all->check, all->bound);
    }
    if (!plan_is_small(all->child)) {
        build_indexes(all);
        prove_foreign(all);
    }
    if (all->other != NULL && all->bound.data != NULL && !plan_is_small(all->other)) {
        all->other_check = plan_new_name(
            work, all->other,
            banyan_arena_printf(work->arena, "not_%.*s", (int)all->child->name.size, all->child->name.data));
        prove(all, all->other, all->other_check, sql_make(work->arena, "NOT (%S)", all->bound));
        plan_note(
            work,
            "from its backfill until it is attached, rows for the new partition %.*s that would go into the default "
            "partition %.*s are refused",
            (int)all->child->shown.size, all->child->shown.data, (int)all->other->shown.size, all->other->shown.data);
    }
}

static void attach(struct plan_work *work, struct catalog_table *table, const PgQuery__PartitionCmd *command)
{
    struct plan_sink sink = {.work = work, .phase = PLAN_BACKFILL};
    struct attaching all = {.sink = &sink, .parent = table, .child = plan_find(work, command->name, true)};

    if (all.child == NULL) {
        plan_refuse(work, "relation \"%s\" does not exist", command->name->relname);
        return;
    }
    if (table->kind == 'I') {
        plan_as_written(work, "an index is attached: no rows are read");
        return;
    }
    if (table->kind != 'p') {
        plan_refuse(work, "%.*s is not partitioned", (int)table->shown.size, table->shown.data);
        return;
    }
    all.other = command->bound->is_default ? NULL : plan_by_oid(work, table->default_partition);
    all.bound = bound_of(work, table, command->bound);
    all.spec = spec_of(work, command->bound);
    if (all.spec.data == NULL ||
        (all.bound.data == NULL && (!plan_is_small(all.child) || (all.other != NULL && !plan_is_small(all.other))))) {
        plan_as_written(work, "that the rows fit this kind of bound cannot be proven beforehand");
        return;
    }
    if (lacks_key(&all)) {
        plan_as_written(work, "its partitions lack a key of the parent: give it to them first");
        return;
    }
    check_bound(&all);
    prepare(&all);
    emit_attach(&all);
}

/* ---- DETACH ---- */

/* DETACH CONCURRENTLY leaves the bound as a CHECK, under a name that the server chooses; what was written does not. The
 * lock in front is the one that DROP CONSTRAINT takes: inside of DO nobody would see it. */
static void drop_left_check(struct plan_work *work, struct plan_action *action, const struct catalog_table *child)
{
    struct banyan_str name = sql_make(work->arena, "%T", child), body;

    body = sql_make(work->arena,
                    "DECLARE name text; BEGIN FOR name IN SELECT conname FROM pg_constraint WHERE conrelid = "
                    "%L::regclass AND contype = 'c' AND pg_get_expr(conbin, conrelid) = %L LOOP EXECUTE "
                    "format('ALTER TABLE %%s DROP CONSTRAINT %%I', %L::regclass, name); END LOOP; END",
                    name, child->partition_condition, name);
    plan_sql(work, action, "LOCK TABLE %S IN ACCESS EXCLUSIVE MODE", name);
    plan_sql(work, action, "DO %L", body);
}

/* The server's text of a bound as a condition; data NULL: not known. */
static struct banyan_str bound_of_text(struct plan_work *work, const struct catalog_table *parent,
                                       struct banyan_str spec)
{
    struct banyan_str sql = sql_make(work->arena, "ALTER TABLE t ATTACH PARTITION c %S", spec), ret = {NULL, 0};
    PgQueryProtobufParseResult result = pg_query_parse_protobuf(sql.data);
    PgQuery__ParseResult *tree = NULL;

    if (result.error == NULL)
        tree = pg_query__parse_result__unpack(NULL, result.parse_tree.len, (const uint8_t *)result.parse_tree.data);
    if (tree != NULL && tree->n_stmts == 1 && tree->stmts[0]->stmt->node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_STMT)
        ret = bound_of(work, parent,
                       tree->stmts[0]->stmt->alter_table_stmt->cmds[0]->alter_table_cmd->def->partition_cmd->bound);
    if (tree != NULL)
        pg_query__parse_result__free_unpacked(tree, NULL);
    pg_query_free_protobuf_parse_result(result);
    return ret;
}

static void detach_undo(struct plan_work *work, struct plan_step *step, const struct attaching *all, bool leaves_check)
{
    struct plan_sink undo = {.work = work, .undoes = step};
    struct attaching back = *all;

    back.sink = &undo;
    if (all->spec.data == NULL) {
        step->final = true;
        return;
    }
    back.bound = bound_of_text(work, all->parent, all->spec);
    prepare(&back);
    emit_attach(&back);
    if (leaves_check)
        drop_left_check(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), all->child);
}

static bool has_condition(const struct catalog_table *child)
{
    for (size_t i = 0; i < child->constraint_count; i++)
        if (child->constraints[i].kind == CATALOG_CHECK &&
            banyan_str_equal(child->constraints[i].expression, child->partition_condition))
            return true;
    return child->partition_condition.data == NULL;
}

static void detach_concurrently(struct plan_work *work, const struct attaching *all, bool as_written)
{
    static const char part[] =
        "SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = %L::regclass AND inhparent = "
        "%L::regclass%s)";
    struct banyan_str child = sql_make(work->arena, "%T", all->child);
    struct banyan_str parent = sql_make(work->arena, "%T", all->parent);
    struct plan_step *step = plan_add(work, PLAN_CONTRACT, "detach-partition", PLAN_OUTSIDE, PLAN_RETRY_WATCH);
    struct plan_action *undo;

    step->title = titled(work, "no partition any more:", all->child);
    plan_sql(work, &step->act, "ALTER TABLE %S DETACH PARTITION %S CONCURRENTLY", parent, child);
    step->act.done = sql_make(work->arena, part, child, parent, " AND NOT inhdetachpending");
    step->old_code =
        banyan_arena_printf(work->arena, "the rows of %.*s are gone from %.*s", (int)all->child->shown.size,
                            all->child->shown.data, (int)all->parent->shown.size, all->parent->shown.data);
    step->new_code = step->old_code;
    if (all->spec.data != NULL) { /* interrupted half way it can only be ended, and then be attached again */
        undo = plan_undo(work, step, PLAN_OUTSIDE, PLAN_RETRY_WATCH);
        plan_sql(work, undo, "ALTER TABLE %S DETACH PARTITION %S FINALIZE", parent, child);
        undo->done = sql_make(work->arena, part, child, parent, " AND inhdetachpending");
    }
    detach_undo(work, step, all, !has_condition(all->child));
    step = plan_add(work, PLAN_CONTRACT, "finalize-detach", PLAN_OUTSIDE, PLAN_RETRY_WATCH);
    step->title = titled(work, "the second half, where the first was interrupted:", all->child);
    plan_sql(work, &step->act, "ALTER TABLE %S DETACH PARTITION %S FINALIZE", parent, child);
    step->act.done = sql_make(work->arena, part, child, parent, "");
    if (as_written || has_condition(all->child))
        return;
    step = plan_add(work, PLAN_CLEANUP, "drop-bound-check", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = titled(work, "the bound that DETACH left as a CHECK of", all->child);
    drop_left_check(work, &step->act, all->child);
}

static void detach(struct plan_work *work, struct catalog_table *table, const PgQuery__PartitionCmd *command)
{
    struct attaching all = {.parent = table, .child = plan_find(work, command->name, true)};
    struct plan_sink sink = {.work = work, .phase = PLAN_CONTRACT};
    struct plan_step *step;

    all.sink = &sink;
    if (all.child == NULL) {
        plan_refuse(work, "relation \"%s\" does not exist", command->name->relname);
        return;
    }
    all.spec = plan_ask_one(work, "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = $1::oid",
                            oid_text(work, all.child));
    all.other = table->default_partition == all.child->oid ? NULL : plan_by_oid(work, table->default_partition);
    if (table->default_partition == 0 && catalog_server_version(work->catalog) >= 140000) {
        detach_concurrently(work, &all, command->concurrent);
        return;
    }
    step = plan_add(work, PLAN_CONTRACT, "detach-partition", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = titled(work, "no partition any more:", all.child);
    lock_all(&all, &step->act, "ACCESS EXCLUSIVE");
    plan_sql(work, &step->act, "ALTER TABLE %T DETACH PARTITION %T", table, all.child);
    if (all.other != NULL)
        plan_note(work,
                  "once %.*s is detached its rows go into the default partition %.*s; with such rows it cannot be "
                  "attached again, also not by a rollback",
                  (int)all.child->shown.size, all.child->shown.data, (int)all.other->shown.size, all.other->shown.data);
    detach_undo(work, step, &all, false);
}

bool plan_partition(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    switch (command->subtype) {
    case PG_QUERY__ALTER_TABLE_TYPE__AT_AttachPartition:
        attach(work, table, command->def->partition_cmd);
        return true;
    case PG_QUERY__ALTER_TABLE_TYPE__AT_DetachPartition:
        detach(work, table, command->def->partition_cmd);
        return true;
    default:
        return false;
    }
}

/* ---- CREATE TABLE … PARTITION OF ---- */

/* CREATE TABLE c (LIKE parent …) with the options of the statement; data NULL: it does not become SQL again. */
static struct banyan_str create_like(struct plan_work *work, const PgQuery__CreateStmt *statement,
                                     const struct catalog_table *parent)
{
    /* COMPRESSION, CONSTRAINTS, DEFAULTS, GENERATED, STORAGE: what a partition has of its parent. */
    const uint32_t options = 1U << 1 | 1U << 2 | 1U << 3 | 1U << 4 | 1U << 8;
    PgQuery__CreateStmt copy = *statement;
    PgQuery__RangeVar model = *statement->inh_relations[0]->range_var;
    PgQuery__TableLikeClause like = PG_QUERY__TABLE_LIKE_CLAUSE__INIT;
    PgQuery__Node node = PG_QUERY__NODE__INIT, element = PG_QUERY__NODE__INIT;
    PgQuery__Node *elements[1] = {&element};

    model.schemaname = (char *)parent->schema.data; /* it is only read */
    like.relation = &model;
    like.options = options;
    element.node_case = PG_QUERY__NODE__NODE_TABLE_LIKE_CLAUSE;
    element.table_like_clause = &like;
    copy.n_table_elts = 1;
    copy.table_elts = elements;
    copy.n_inh_relations = 0;
    copy.partbound = NULL;
    node.node_case = PG_QUERY__NODE__NODE_CREATE_STMT;
    node.create_stmt = &copy;
    return node_deparse(&node, work->arena);
}

/* Rows that were written into it meanwhile go where they go without it; where that is nowhere, the undo is refused. */
static void undo_create(struct attaching *all, struct plan_step *step)
{
    struct plan_work *work = all->sink->work;
    struct plan_action *action = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    plan_sql(work, action, "LOCK TABLE ONLY %T IN ACCESS EXCLUSIVE MODE", all->parent);
    plan_sql(work, action, "ALTER TABLE %T DETACH PARTITION %T", all->parent, all->child);
    plan_sql(work, action, "INSERT INTO %T OVERRIDING SYSTEM VALUE SELECT * FROM %T", all->parent, all->child);
    plan_sql(work, action, "DROP TABLE %T", all->child);
}

bool plan_create_partition(struct plan_work *work)
{
    const PgQuery__CreateStmt *statement;
    struct plan_sink sink = {.work = work, .phase = PLAN_EXPAND};
    struct attaching all = {.sink = &sink};
    struct banyan_str create;
    struct catalog_table child;
    struct plan_step *step;
    struct effect effect;

    if (work->statement->tree->node_case != PG_QUERY__NODE__NODE_CREATE_STMT ||
        work->statement->tree->create_stmt->partbound == NULL)
        return false;
    if (plan_effect(work, work->statement, &effect) && effect.verdict == EFFECT_FAILS) {
        plan_refuse(work, "the server will refuse it: %.*s", (int)effect.why.size, effect.why.data);
        return true;
    }
    statement = work->statement->tree->create_stmt;
    all.parent = plan_find(work, statement->inh_relations[0]->range_var, true);
    if (all.parent == NULL || statement->n_table_elts > 0 || statement->if_not_exists ||
        statement->of_typename != NULL) {
        plan_as_written(work, "a partition with columns or constraints of its own is not made in two steps");
        return true;
    }
    child = (struct catalog_table){.schema = banyan_str_of(statement->relation->schemaname),
                                   .name = banyan_str_of(statement->relation->relname),
                                   .shown = banyan_str_of(statement->relation->relname),
                                   .known = true,
                                   .made_here = true,
                                   .kind = 'r'};
    all.child = &child;
    all.other = statement->partbound->is_default ? NULL : plan_by_oid(work, all.parent->default_partition);
    all.bound = bound_of(work, all.parent, statement->partbound);
    all.spec = spec_of(work, statement->partbound);
    create = create_like(work, statement, all.parent);
    if (create.data == NULL || all.spec.data == NULL ||
        (all.other != NULL && all.bound.data == NULL && !plan_is_small(all.other))) {
        plan_as_written(work, "this form of partition is not known to be made without reading rows");
        return true;
    }
    check_bound(&all);
    if (all.other != NULL && !plan_is_small(all.other))
        sink.phase = PLAN_BACKFILL;
    prepare(&all);
    step = plan_add(work, sink.phase, "create-partition", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = titled(work, "a new partition:", &child);
    plan_sql(work, &step->act, "LOCK TABLE ONLY %T IN SHARE UPDATE EXCLUSIVE MODE", all.parent);
    if (all.other != NULL)
        plan_sql(work, &step->act, "LOCK TABLE %T IN ACCESS EXCLUSIVE MODE", all.other);
    plan_sql(work, &step->act, "%S", create);
    plan_sql(work, &step->act, "ALTER TABLE %T ATTACH PARTITION %T %S", all.parent, &child, all.spec);
    if (all.other_check.size > 0)
        plan_sql(work, &step->act, "ALTER TABLE %T DROP CONSTRAINT %I", all.other, all.other_check);
    undo_create(&all, step);
    return true;
}
