/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trigger of each table, and the one transaction in which its columns change places.
 *
 *   expand    columns added (by whoever calls), trigger made, or its function made again with one more column
 *   backfill  fill; what hang_all() says
 *   contract  forward: trigger off ▶ … ▶ c renamed to the kept name, the shadow to c ▶ … ▶ turned trigger
 *   cleanup   turned trigger, kept columns
 *
 * The function is replaced under SHARE ROW EXCLUSIVE: a statement that still runs the old one would write a row behind
 * the backfill without filling the new column.
 *
 *   writer (old function)           migrator                      with the lock
 *   UPDATE … begins
 *                                   CREATE OR REPLACE FUNCTION    waits for the writer's end
 *                                   backfill fills row 7
 *   writes row 7, column not synced                               cannot be
 */
#include <string.h>

#include "migrate/plan_swap.h"

enum {
    SET_MAX = 256 * 1024,
    SWAPS_MAX = 64, /* tables of one migration */
};

/* ---- the lists ---- */

static void list_add(struct plan_work *work, struct swap_list *list, struct banyan_str text)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? 8 : 2 * list->capacity;
        struct banyan_str *items = banyan_arena_zalloc(work->arena, capacity * sizeof(*items));

        if (list->count > 0)
            memcpy(items, list->items, list->count * sizeof(*items));
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = text;
}

void swap_sql(struct plan_work *work, struct swap_list *section, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    list_add(work, section, sql_make_list(work->arena, format, list));
    va_end(list);
}

struct plan_swap *swap_find(struct plan_work *work, uint32_t table)
{
    for (size_t i = 0; i < work->swap_count; i++)
        if (work->swaps[i].table->oid == table)
            return &work->swaps[i];
    return NULL;
}

bool plan_swap_has_type(struct plan_work *work, const struct catalog_table *table, struct banyan_str column)
{
    const struct plan_swap *swap = swap_find(work, table->oid);

    for (size_t i = 0; swap != NULL && i < swap->column_count; i++)
        if (swap_is_type(&swap->columns[i]) && banyan_str_equal(swap->columns[i].sync.from, column))
            return true;
    return false;
}

static struct plan_swap *find_or_make(struct plan_work *work, const struct catalog_table *table)
{
    struct plan_swap *swap = swap_find(work, table->oid);

    if (swap != NULL)
        return swap;
    if (work->swaps == NULL)
        work->swaps = banyan_arena_zalloc(work->arena, SWAPS_MAX * sizeof(*work->swaps));
    if (work->swap_count == SWAPS_MAX) {
        plan_refuse(work, "columns of more than %d tables change: make it two migrations", (int)SWAPS_MAX);
        return NULL;
    }
    swap = &work->swaps[work->swap_count++];
    swap->table = table;
    return swap;
}

/* ---- the trigger ---- */

static struct banyan_str search_path(struct plan_work *work, const struct plan_swap *swap)
{
    struct banyan_str path = BANYAN_STR("");

    if (swap->needs_path && work->st == BANYAN_OK)
        work->st = catalog_search_path(work->catalog, &path, work->err);
    return path;
}

/* The trigger of the first *count* columns; turned: of those that are kept aside. */
static struct sync sync_of(struct plan_work *work, const struct plan_swap *swap, size_t count, bool turned)
{
    struct sync sync = {.table = swap->table,
                        .turned = turned,
                        .columns = banyan_arena_zalloc(work->arena, (count + 1) * sizeof(*sync.columns))};

    for (size_t i = 0; i < count; i++) {
        const struct swap_column *column = &swap->columns[i];
        struct banyan_str live = swap_is_type(column) ? column->sync.from : column->sync.to;

        if (!turned)
            sync.columns[sync.column_count++] = column->sync;
        else if (column->kept.size > 0)
            sync.columns[sync.column_count++] =
                (struct sync_column){.kind = SYNC_TO,
                                     .from = live,
                                     .to = column->kept,
                                     .forth = swap_is_type(column) ? column->back : BANYAN_STR("$"),
                                     .forth_fails = swap_is_type(column)};
    }
    return sync;
}

/* Partitions, whose triggers are copies of the parent's, or children by INHERITS, which do not meet it. */
static size_t below(struct plan_work *work, const struct sync *sync, const struct catalog_table ***ret)
{
    size_t count = 0;

    *ret = NULL;
    if (sync->table->kind == 'p' || sync->table->child_count > 0)
        plan_leaves(work, sync->table, ret, &count);
    return count;
}

static bool is_own(const struct sync *sync, const struct catalog_table *leaf)
{
    return sync->table->kind != 'p' && leaf != sync->table;
}

static void make_trigger(struct plan_work *work, struct swap_list *section, const struct sync *sync,
                         struct banyan_str path)
{
    struct banyan_str version = work->migration->version;
    const struct catalog_table **leaves;
    size_t count = below(work, sync, &leaves);

    list_add(work, section, sync_function_sql(sync, version, path, work->arena));
    list_add(work, section, sync_trigger_sql(sync, version, work->arena));
    list_add(work, section, sync_always_sql(sync, version, work->arena));
    for (size_t i = 0; i < count; i++) {
        if (leaves[i] == sync->table)
            continue;
        if (is_own(sync, leaves[i]))
            list_add(work, section, sync_trigger_of_sql(sync, leaves[i], version, work->arena));
        list_add(work, section, sync_always_of_sql(sync, leaves[i], version, work->arena));
    }
}

static void drop_trigger(struct plan_work *work, struct swap_list *section, const struct sync *sync)
{
    const struct catalog_table **leaves;
    size_t count = below(work, sync, &leaves);

    list_add(work, section, sync_drop_trigger_sql(sync, work->migration->version, work->arena));
    for (size_t i = 0; i < count; i++)
        if (is_own(sync, leaves[i]))
            list_add(work, section, sync_drop_trigger_of_sql(sync, leaves[i], work->migration->version, work->arena));
    list_add(work, section, sync_drop_function_sql(sync, work->migration->version, work->arena));
}

static void put(struct plan_work *work, struct plan_action *action, const struct swap_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        plan_sql(work, action, "%S", list->items[i]);
}

static void lock_for_writers(struct plan_work *work, struct plan_action *action, const struct plan_swap *swap)
{
    plan_sql(work, action, "LOCK TABLE %T IN SHARE ROW EXCLUSIVE MODE", swap->table);
}

/* What was written while it was off is in one column only, and contract would put the other one in its place. */
static void check_trigger(struct plan_work *work, const struct sync *sync)
{
    struct plan_check *check = plan_check_add(work, PLAN_CONTRACT);

    check->sql = sync_broken_sql(sync, work->migration->version, work->arena);
    check->message = banyan_arena_printf(
        work->arena, "triggers of %.*s that hold columns equal are gone, or were switched off for a while",
        (int)sync->table->shown.size, sync->table->shown.data);
    check->hint = banyan_arena_printf(
        work->arena,
        "rows that were written meanwhile are not filled: banyan migrate rollback %.*s, and start it again",
        (int)work->migration->version.size, work->migration->version.data);
}

/* The first column makes the trigger, each other one the function again. */
static void trigger_step(struct plan_work *work, struct plan_swap *swap)
{
    bool first = swap->column_count == 1;
    struct plan_step *step = plan_add(work, PLAN_EXPAND, first ? "make-sync-trigger" : "extend-sync-trigger",
                                      PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct sync now = sync_of(work, swap, swap->column_count, false);
    struct sync before = sync_of(work, swap, swap->column_count - 1, false);
    struct banyan_str path = search_path(work, swap), version = work->migration->version;
    struct swap_list list = {.items = NULL};
    struct plan_action *undo;

    step->title = banyan_arena_printf(work->arena, "%s of %.*s holds %zu column%s equal while both codes write",
                                      first ? "the trigger" : "the trigger's function", (int)swap->table->shown.size,
                                      swap->table->shown.data, swap->column_count, first ? "" : "s");
    undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    if (first) {
        make_trigger(work, &list, &now, path);
        put(work, &step->act, &list);
        list = (struct swap_list){.items = NULL};
        drop_trigger(work, &list, &now);
        put(work, undo, &list);
        check_trigger(work, &now);
        return;
    }
    lock_for_writers(work, &step->act, swap);
    plan_sql(work, &step->act, "%S", sync_function_sql(&now, version, path, work->arena));
    lock_for_writers(work, undo, swap);
    plan_sql(work, undo, "%S", sync_function_sql(&before, version, path, work->arena));
}

static bool is_name_of(struct banyan_str name, const struct sync_column *column)
{
    return name.size > 0 && (banyan_str_equal(name, column->from) || banyan_str_equal(name, column->to));
}

/* Two swaps of one column are not undone one by one: what the first put aside has another name behind the second. */
static bool is_taken(struct plan_work *work, const struct plan_swap *swap, const struct sync_column *column)
{
    for (size_t i = 0; i < swap->column_count; i++) {
        const struct sync_column *before = &swap->columns[i].sync;
        struct banyan_str name = is_name_of(column->from, before) ? column->from : column->to;

        if (!is_name_of(name, before))
            continue;
        plan_refuse(work,
                    "%.*s.%.*s is renamed, filled or given a type by two statements of this migration; put the "
                    "second into a migration of its own, to be started when this one is cleaned up",
                    (int)swap->table->shown.size, swap->table->shown.data, (int)name.size, name.data);
        return true;
    }
    return false;
}

void swap_add(struct plan_work *work, const struct catalog_table *table, const struct swap_column *column)
{
    struct plan_swap *swap = plan_goes_on(work) ? find_or_make(work, table) : NULL;
    struct swap_column *columns;

    if (swap == NULL || is_taken(work, swap, &column->sync))
        return;
    columns = banyan_arena_zalloc(work->arena, (swap->column_count + 1) * sizeof(*columns));
    if (swap->column_count > 0)
        memcpy(columns, swap->columns, swap->column_count * sizeof(*columns));
    columns[swap->column_count++] = *column;
    swap->columns = columns;
    swap->of = work->of;
    swap->needs_path = swap->needs_path || column->user_wrote || column->sync.kind == SYNC_FILL;
    trigger_step(work, swap);
}

void plan_sync(struct plan_work *work, const struct catalog_table *table, const struct sync_column *column,
               struct banyan_str kept)
{
    struct swap_column one = {.sync = *column, .kept = kept};

    swap_add(work, table, &one);
}

/* ---- backfill ---- */

static void add_part(struct banyan_buf *list, const char *between, struct banyan_str part)
{
    if (list->size > 0)
        banyan_buf_add_text(list, between);
    banyan_buf_add_str(list, part);
}

/* A partition that was attached since, or triggers that somebody switched off for a while, bring rows that were never
 * filled: nothing changes places then. */
static void whole_before_swap(struct plan_work *work, const struct catalog_table *table, struct banyan_str needs)
{
    struct plan_check *check = plan_check_add(work, PLAN_CONTRACT);

    check->late = true;
    check->sql = sql_make(work->arena, "SELECT count(*) FROM %T t WHERE %S", table, needs);
    check->message =
        banyan_arena_printf(work->arena, "rows of %.*s that nobody filled", (int)table->shown.size, table->shown.data);
    check->hint = banyan_arena_printf(work->arena,
                                      "They came in without the trigger (a partition that was attached, triggers off). "
                                      "Roll it back and start it again.");
}

/* One pass for all columns of the table.  A value that fills nothing (NULL of a user's expression, one that does not
 * fit) is no work, or the passes would never end. */
static void fill(struct plan_work *work, const struct plan_swap *swap)
{
    struct banyan_buf set = BANYAN_BUF_INIT(SET_MAX), needs = BANYAN_BUF_INIT(SET_MAX);

    for (size_t i = 0; i < swap->column_count; i++) {
        const struct swap_column *column = &swap->columns[i];
        struct banyan_str from = column->sync.from, to = column->sync.to, value, due;

        if (column->kept.size == 0)
            continue;
        value = sync_value(work->arena, column->sync.forth, "t.", from);
        due = sql_make(work->arena, "%S IS NOT NULL",
                       column->user_wrote ? sql_make(work->arena, "(%S)", value) : sql_make(work->arena, "t.%I", from));
        if (column->fits.size > 0) {
            due = sql_make(work->arena, "CASE WHEN %S(t.%I) THEN %S ELSE false END", column->fits, from, due);
            value = sql_make(work->arena, "CASE WHEN %S(t.%I) THEN %S END", column->fits, from, value);
        }
        /* Those of the other columns that are filled already are written once more, with what they hold. */
        if (swap->column_count > 1)
            value = sql_make(work->arena, "CASE WHEN t.%I IS NULL THEN %S ELSE t.%I END", to, value, to);
        add_part(&set, ", ", sql_make(work->arena, "%I = %S", to, value));
        add_part(&needs, " OR ", sql_make(work->arena, "(t.%I IS NULL AND %S)", to, due));
    }
    plan_fill(work, swap->table, banyan_arena_str(work->arena, banyan_buf_str(&set)),
              banyan_arena_str(work->arena, banyan_buf_str(&needs)));
    whole_before_swap(work, swap->table, banyan_buf_str(&needs));
    banyan_buf_release(&set);
    banyan_buf_release(&needs);
}

/* ---- contract ---- */

static void columns_change(struct plan_work *work, struct plan_swap *swap)
{
    for (size_t i = 0; i < swap->column_count; i++) {
        const struct swap_column *column = &swap->columns[i];
        /* A type change puts the old one aside, a rename the helper. */
        bool is_type = swap_is_type(column);
        struct banyan_str goes = is_type ? column->sync.from : column->sync.to;
        struct banyan_str comes = is_type ? column->sync.to : column->sync.from;
        struct swap_list *forward = &swap->forward[is_type ? SWAP_COLUMNS : SWAP_NAMES];
        struct swap_list *backward = &swap->backward[is_type ? SWAP_COLUMNS : SWAP_NAMES_BACK];

        if (column->kept.size == 0)
            continue;
        swap_sql(work, forward, "ALTER TABLE %T RENAME COLUMN %I TO %I", swap->table, goes, column->kept);
        swap_sql(work, forward, "ALTER TABLE %T RENAME COLUMN %I TO %I", swap->table, comes, goes);
        swap_sql(work, backward, "ALTER TABLE %T RENAME COLUMN %I TO %I", swap->table, goes, comes);
        swap_sql(work, backward, "ALTER TABLE %T RENAME COLUMN %I TO %I", swap->table, column->kept, goes);
    }
}

static void triggers_change(struct plan_work *work, struct plan_swap *swap)
{
    struct sync sync = sync_of(work, swap, swap->column_count, false);
    struct sync turned = sync_of(work, swap, swap->column_count, true);
    struct banyan_str path = search_path(work, swap);

    drop_trigger(work, &swap->forward[SWAP_TRIGGER_OFF], &sync);
    make_trigger(work, &swap->forward[SWAP_TRIGGER], &turned, path);
    drop_trigger(work, &swap->backward[SWAP_TRIGGER_OFF], &turned);
    make_trigger(work, &swap->backward[SWAP_TRIGGER], &sync, path);
}

static void lock_all(struct plan_work *work, struct plan_action *action, const struct plan_swap *swap)
{
    const struct catalog_table **tables = banyan_arena_zalloc(work->arena, (swap->other_count + 1) * sizeof(*tables));

    tables[0] = swap->table;
    if (swap->other_count > 0)
        memcpy(&tables[1], swap->others, swap->other_count * sizeof(*tables));
    plan_lock_tables(work, action, tables, swap->other_count + 1, "ACCESS EXCLUSIVE");
}

/* Locks in the order of who reads through a view: that first, then the tables.  LOCK TABLE of a view would lock all
 * that it reads. */
static void put_all(struct plan_work *work, struct plan_action *action, const struct plan_swap *swap,
                    const struct swap_list sections[SWAP_SECTIONS])
{
    struct plan_action lock = {.statement_count = 0};

    put(work, action, &sections[SWAP_VIEWS_OFF]);
    lock_all(work, &lock, swap);
    for (size_t i = 0; i < lock.statement_count; i++)
        plan_sql(work, action, "%S", lock.statements[i]);
    for (size_t i = 0; i < SWAP_SECTIONS; i++)
        if (i != SWAP_VIEWS_OFF)
            put(work, action, &sections[i]);
}

/* Before what was kept aside comes back: every value that is live has come back into it, and NOT NULL is proven, so
 * that nothing is read under the strong lock, and nothing is lost. */
static void undo_is_whole(struct plan_work *work, struct plan_step *step, struct plan_swap *swap)
{
    for (size_t i = 0; i < swap->column_count; i++) {
        const struct swap_column *column = &swap->columns[i];
        struct plan_action *action;
        struct banyan_str name;

        if (!swap_is_type(column))
            continue;
        name = plan_new_name(work, swap->table, sql_make(work->arena, "%S_whole", column->sync.from));
        action = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
        plan_sql(work, action, "ALTER TABLE %T DROP CONSTRAINT IF EXISTS %I", swap->table, name);
        if (column->column->not_null)
            plan_sql(work, action, "ALTER TABLE %T ADD CONSTRAINT %I CHECK (%I IS NOT NULL) NOT VALID", swap->table,
                     name, column->kept);
        else
            plan_sql(work, action, "ALTER TABLE %T ADD CONSTRAINT %I CHECK (%I IS NULL OR %I IS NOT NULL) NOT VALID",
                     swap->table, name, column->sync.from, column->kept);
        action = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_LONG);
        plan_sql(work, action, "ALTER TABLE %T VALIDATE CONSTRAINT %I", swap->table, name);
        if (column->column->not_null) {
            action = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
            swap_not_null_back(work, swap, column, action);
        }
        swap_sql(work, &swap->backward[SWAP_CONSTRAINTS_OFF], "ALTER TABLE %T DROP CONSTRAINT %I", swap->table, name);
    }
}

static void undo_swap(struct plan_work *work, struct plan_step *step, struct plan_swap *swap)
{
    struct plan_action *action;

    for (size_t i = 0; i < swap->index_count; i++) {
        const struct swap_index *index = &swap->indexes[i];

        action = plan_undo(work, step, PLAN_INDEX, PLAN_RETRY_WATCH);
        action->index = sql_make(work->arena, "%I.%I", index->schema, index->name);
        plan_sql(work, action, "CREATE UNIQUE INDEX CONCURRENTLY %I ON %T %S", index->name, swap->table,
                 index->definition);
    }
    undo_is_whole(work, step, swap);
    action = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    put_all(work, action, swap, swap->backward);
    for (size_t i = 0; i < swap->validation_count; i++) {
        action = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_LONG);
        plan_sql(work, action, "ALTER TABLE %T VALIDATE CONSTRAINT %I", swap->validations[i].table,
                 swap->validations[i].name);
    }
}

static struct banyan_str names_of(struct plan_work *work, const struct plan_swap *swap)
{
    struct banyan_buf names = BANYAN_BUF_INIT(SET_MAX);
    struct banyan_str ret;

    for (size_t i = 0; i < swap->column_count; i++) {
        const struct swap_column *column = &swap->columns[i];

        if (column->kept.size > 0)
            add_part(&names, ", ", swap_is_type(column) ? column->sync.from : column->sync.to);
    }
    ret = banyan_arena_str(work->arena, banyan_buf_str(&names));
    banyan_buf_release(&names);
    return ret;
}

static void swap_step(struct plan_work *work, struct plan_swap *swap)
{
    struct plan_step *step = plan_add(work, PLAN_CONTRACT, "swap-columns", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct banyan_str names = names_of(work, swap);

    step->title =
        banyan_arena_printf(work->arena, "the columns of %.*s change places: %.*s", (int)swap->table->shown.size,
                            swap->table->shown.data, (int)names.size, names.data);
    step->old_code = BANYAN_STR("a renamed column's old name is gone; a changed type is there");
    step->new_code = BANYAN_STR("the new names and types, without a helper column");
    put_all(work, &step->act, swap, swap->forward);
    undo_swap(work, step, swap);
}

static void cleanup_step(struct plan_work *work, const struct plan_swap *swap)
{
    struct plan_step *step = plan_add(work, PLAN_CLEANUP, "drop-kept-columns", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct sync turned = sync_of(work, swap, swap->column_count, true);
    struct swap_list list = {.items = NULL};

    step->title = banyan_arena_printf(work->arena, "what was kept aside of %.*s goes", (int)swap->table->shown.size,
                                      swap->table->shown.data);
    step->final = true;
    drop_trigger(work, &list, &turned);
    put(work, &step->act, &list);
    for (size_t i = 0; i < swap->column_count; i++) {
        const struct swap_column *column = &swap->columns[i];

        if (column->kept.size > 0)
            plan_sql(work, &step->act, "ALTER TABLE %T DROP COLUMN IF EXISTS %I", swap->table, column->kept);
        if (column->fits.size > 0)
            plan_sql(work, &step->act, "DROP FUNCTION IF EXISTS %S", column->fits);
    }
}

/* Nothing is kept aside: the trigger was there for old code only. */
static void drop_trigger_step(struct plan_work *work, struct plan_swap *swap)
{
    struct plan_step *step = plan_add(work, PLAN_CONTRACT, "drop-sync-trigger", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct sync sync = sync_of(work, swap, swap->column_count, false);
    struct swap_list off = {.items = NULL}, on = {.items = NULL};

    step->title = banyan_arena_printf(work->arena, "%.*s needs no trigger any more", (int)swap->table->shown.size,
                                      swap->table->shown.data);
    drop_trigger(work, &off, &sync);
    put(work, &step->act, &off);
    make_trigger(work, &on, &sync, search_path(work, swap));
    put(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), &on);
}

/* ---- the rest of the migration ---- */

static bool is_of(const PgQuery__RangeVar *name, const struct catalog_table *table)
{
    return name != NULL && banyan_str_equal(banyan_str_of(name->relname), table->name) &&
           (name->schemaname[0] == '\0' || banyan_str_equal(banyan_str_of(name->schemaname), table->schema));
}

const PgQuery__AlterTableStmt *swap_alter_of(struct plan_work *work, size_t at, const struct catalog_table *table)
{
    const struct statement *statement = &work->migration->statements[at];

    if (statement->of_rollback || statement->tree == NULL ||
        statement->tree->node_case != PG_QUERY__NODE__NODE_ALTER_TABLE_STMT ||
        !is_of(statement->tree->alter_table_stmt->relation, table))
        return NULL;
    return statement->tree->alter_table_stmt;
}

struct mention {
    const struct plan_swap *swap;
    struct banyan_str found; /* data NULL: none */
};

static void visit_text(void *context, const ProtobufCMessage *message)
{
    struct mention *mention = context;
    const char *text = NULL;

    if (message->descriptor == &pg_query__string__descriptor)
        text = ((const PgQuery__String *)(const void *)message)->sval;
    else if (message->descriptor == &pg_query__index_elem__descriptor)
        text = ((const PgQuery__IndexElem *)(const void *)message)->name;
    else if (message->descriptor == &pg_query__alter_table_cmd__descriptor)
        text = ((const PgQuery__AlterTableCmd *)(const void *)message)->name;
    for (size_t i = 0; text != NULL && i < mention->swap->column_count; i++) {
        const struct swap_column *column = &mention->swap->columns[i];
        struct banyan_str name = banyan_str_of(text);

        if (column->kept.size > 0 && (banyan_str_equal(name, column->sync.from) ||
                                      (!swap_is_type(column) && banyan_str_equal(name, column->sync.to))))
            mention->found = name;
    }
}

/* Those that made the swap, and defaults, which go with it. */
static bool is_followed(const PgQuery__AlterTableCmd *command)
{
    return command->subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_AlterColumnType ||
           command->subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_ColumnDefault;
}

/* What the migration does to a column before its type changes would be done to the one that goes aside, and what is
 * read of it now says nothing of that.  What it does behind has been refused before. */
static void refuse_others(struct plan_work *work, const struct plan_swap *swap)
{
    if (work->ret->refusal_count > 0)
        return;
    for (size_t i = 0; i < work->migration->statement_count; i++) {
        const PgQuery__AlterTableStmt *alter = swap_alter_of(work, i, swap->table);
        const PgQuery__Node *tree = work->migration->statements[i].tree;
        struct mention mention = {.swap = swap, .found = {.data = NULL}};

        if (work->migration->statements[i].of_rollback || tree == NULL)
            continue;
        for (size_t k = 0; alter != NULL && k < alter->n_cmds; k++)
            if (!is_followed(alter->cmds[k]->alter_table_cmd))
                node_walk(&alter->cmds[k]->base, visit_text, &mention);
        if (tree->node_case == PG_QUERY__NODE__NODE_INDEX_STMT && is_of(tree->index_stmt->relation, swap->table))
            node_walk(&tree->base, visit_text, &mention);
        if (mention.found.data == NULL)
            continue;
        work->of = i;
        plan_refuse(work, "%.*s.%.*s changes its type in the same migration; put this into a migration of its own",
                    (int)swap->table->shown.size, swap->table->shown.data, (int)mention.found.size, mention.found.data);
        work->of = swap->of;
    }
}

static const char published_sql[] =
    "SELECT string_agg(pubname, ', ' ORDER BY pubname) FROM pg_publication_tables WHERE schemaname = $1 AND tablename "
    "= $2";

static void note_publications(struct plan_work *work, const struct plan_swap *swap)
{
    struct pg_param params[] = {{swap->table->schema}, {swap->table->name}};
    struct pg_result *result = NULL;

    work->st = catalog_query(work->catalog, published_sql, params, 2, &result, work->err);
    if (work->st != BANYAN_OK)
        return;
    if (pg_text(result, 0, 0).data != NULL)
        plan_note(work,
                  "%.*s is published (%.*s): its subscribers need the new columns before start, or their apply stops",
                  (int)swap->table->shown.size, swap->table->shown.data, (int)pg_text(result, 0, 0).size,
                  pg_text(result, 0, 0).data);
    pg_result_free(result);
}

/* ---- the end ---- */

static void finish(struct plan_work *work, struct plan_swap *swap)
{
    bool kept = false;

    swap->finished = true;
    work->of = swap->of;
    for (size_t i = 0; i < swap->column_count; i++)
        kept = kept || swap->columns[i].kept.size > 0;
    if (!kept) {
        drop_trigger_step(work, swap);
        return;
    }
    refuse_others(work, swap);
    note_publications(work, swap);
    /* What was refused may be in the catalog by now, and cannot be read from the server. */
    if (!plan_goes_on(work) || work->ret->refusal_count > 0)
        return;
    fill(work, swap);
    columns_change(work, swap);
    triggers_change(work, swap);
    hang_all(work, swap);
    if (!plan_goes_on(work))
        return;
    swap_step(work, swap);
    cleanup_step(work, swap);
}

/* Does a foreign key with both its ends in swaps lead from *swap* to one that is not finished?  That one goes first. */
static bool waits(struct plan_work *work, const struct plan_swap *swap)
{
    for (size_t i = 0; i < swap->table->constraint_count; i++) {
        const struct catalog_constraint *foreign = &swap->table->constraints[i];
        const struct plan_swap *other = swap_find(work, foreign->referenced);

        if (foreign->kind == CATALOG_FOREIGN && other != NULL && other != swap && !other->finished &&
            hang_is_double(work, foreign))
            return true;
    }
    return false;
}

void plan_swap_finish(struct plan_work *work)
{
    size_t left = work->swap_count;

    while (left > 0 && plan_goes_on(work)) {
        size_t before = left;

        for (size_t i = 0; i < work->swap_count && plan_goes_on(work); i++) {
            if (work->swaps[i].finished || waits(work, &work->swaps[i]))
                continue;
            finish(work, &work->swaps[i]);
            left--;
        }
        if (left == before) {
            plan_refuse(work, "tables whose columns change refer to each other in a circle: make it two migrations");
            return;
        }
    }
}
