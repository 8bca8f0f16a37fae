/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See plan_int.h: what each step does, told by what is known of its own SQL.
 *
 *   step 1 ──parse──▶ effect_of(catalog) ──▶ locks, estimates, own check ──▶ effect_follow(catalog) ──▶ step 2 …
 *
 * A step that the planner made and that would read or write a table while its writers wait is a mistake of the planner:
 * it is refused, not run.
 */
#include <string.h>

#include "migrate/plan_int.h"

enum {
    READ_BYTES_A_SECOND = 250 * 1024 * 1024,
    INDEX_ROWS_A_SECOND = 1000 * 1000,
    INDEX_BYTES_A_ROW = 32,
    BATCH_ROWS_A_SECOND = 100 * 1000, /* 133 k measured, less what a pause between batches costs */
    /* Measured on 15 (9 backfills of 20,000 to 200,000 rows of 50 to 110 bytes, 1 to 5 indexes, pages full, a
     * checkpoint behind the last write): 320 to 620 bytes of WAL a row, and within a factor of 2 these together: the
     * row twice (it and its page), and its entries, for no room is left on its page. */
    BATCH_WAL_BYTES_A_ROW = 130,
    BATCH_WAL_BYTES_AN_ENTRY = 70,
    BATCH_KEPT_TIMES = 2, /* with the values that are overwritten: 900 to 1300 bytes a row, and two writes */
    ROW_BYTES_ASSUMED = 100,
    NOTE_BYTES_MAX = 200,
    SECOND_US = 1000 * 1000,
};

struct measuring {
    struct plan_work *work;
    struct catalog *catalog;
    struct migration **parsed; /* trees that *catalog* borrows */
    size_t parsed_count;
};

bool plan_effect(struct plan_work *work, const struct statement *statement, struct effect *ret)
{
    if (plan_goes_on(work))
        work->st = effect_of(statement, work->catalog, work->arena, ret, work->err);
    return plan_goes_on(work);
}

bool plan_effect_sql(struct plan_work *work, struct banyan_str sql, struct effect *ret)
{
    struct migration *parsed = NULL;

    *ret = (struct effect){.verdict = EFFECT_NOT_UNDERSTOOD, .why = BANYAN_STR("")};
    if (plan_goes_on(work))
        work->st = migration_parse("plan", sql, &parsed, work->err);
    if (plan_goes_on(work) && parsed->statement_count == 1)
        work->st = effect_of(&parsed->statements[0], work->catalog, work->arena, ret, work->err);
    for (size_t i = 0; i < ret->relation_count; i++)
        ret->relations[i].name = banyan_arena_str(work->arena, ret->relations[i].name);
    migration_free(parsed);
    return plan_goes_on(work);
}

bool plan_effect_behind(struct plan_work *work, struct banyan_str before, struct banyan_str sql, struct effect *ret)
{
    struct catalog *now = work->catalog, *then = catalog_copy(now);
    struct migration *parsed = NULL;

    if (plan_goes_on(work))
        work->st = migration_parse("plan", before, &parsed, work->err);
    for (size_t i = 0; plan_goes_on(work) && i < parsed->statement_count; i++)
        work->st = effect_follow(&parsed->statements[i], then, work->err);
    work->catalog = then;
    (void)plan_effect_sql(work, sql, ret); /* what fails stays in *st* */
    work->catalog = now;
    catalog_free(then); /* before the trees that it borrows */
    migration_free(parsed);
    return plan_goes_on(work);
}

/* All that is heavy counts together: a thousand small partitions are not small. */
const struct effect_relation *plan_heavy(const struct effect *effect, bool perhaps)
{
    enum effect_certainty least = perhaps ? EFFECT_PERHAPS : EFFECT_YES;
    const struct effect_relation *heaviest = NULL;
    int64_t bytes = 0;

    for (size_t i = 0; i < effect->relation_count; i++) {
        const struct effect_relation *relation = &effect->relations[i];
        bool heavy = relation->rewrite == EFFECT_YES || relation->scan == EFFECT_YES || relation->build == EFFECT_YES ||
                     relation->rewrite == least || relation->scan == least || relation->build == least;

        if (!heavy || relation->made_here || relation->lock < EFFECT_SHARE)
            continue;
        if (relation->bytes == CATALOG_UNKNOWN)
            return relation;
        bytes += relation->bytes;
        if (heaviest == NULL || relation->bytes > heaviest->bytes)
            heaviest = relation;
    }
    return bytes > PLAN_SMALL_BYTES ? heaviest : NULL;
}

/* ---- locks ---- */

static void add_lock(struct plan_step *step, struct banyan_str name, enum effect_lock lock)
{
    size_t held = step->lock_count < PLAN_LOCKS_MAX ? step->lock_count : PLAN_LOCKS_MAX, at;

    for (size_t i = 0; i < held; i++)
        if (banyan_str_equal(step->locks[i].relation, name)) {
            if (step->locks[i].lock >= lock)
                return;
            memmove(&step->locks[i], &step->locks[i + 1], (held - i - 1) * sizeof(step->locks[0]));
            held--;
            step->lock_count--;
            break;
        }
    for (at = 0; at < held && step->locks[at].lock >= lock;)
        at++;
    step->lock_count++;
    if (at == PLAN_LOCKS_MAX)
        return;
    if (held == PLAN_LOCKS_MAX)
        held--;
    memmove(&step->locks[at + 1], &step->locks[at], (held - at) * sizeof(step->locks[0]));
    step->locks[at] = (struct plan_lock){.relation = name, .lock = lock};
}

/* ---- estimates ---- */

static int64_t sum(int64_t a, int64_t b)
{
    return a == CATALOG_UNKNOWN || b == CATALOG_UNKNOWN ? CATALOG_UNKNOWN : a + b;
}

static int64_t rows_of(const struct catalog_table *table)
{
    if (table->rows > 0 || table->bytes <= 0)
        return table->rows;
    return table->bytes / ROW_BYTES_ASSUMED;
}

static void estimate_index(struct plan_step *step, const struct effect *effect)
{
    for (size_t i = 0; i < effect->relation_count; i++) {
        const struct effect_relation *relation = &effect->relations[i];
        int64_t rows = relation->rows, bytes = relation->bytes;

        if (relation->is_index || relation->scan == EFFECT_NO || relation->made_here)
            continue;
        if (bytes == CATALOG_UNKNOWN) {
            step->work_us = step->disk_bytes = step->wal_bytes = CATALOG_UNKNOWN;
            return;
        }
        if (rows <= 0)
            rows = bytes / ROW_BYTES_ASSUMED;
        /* CONCURRENTLY reads the table twice. */
        step->work_us = sum(step->work_us, 2 * (bytes / (READ_BYTES_A_SECOND / SECOND_US)) +
                                               rows * (SECOND_US / (INDEX_ROWS_A_SECOND)));
        step->disk_bytes = sum(step->disk_bytes, rows * INDEX_BYTES_A_ROW);
        step->wal_bytes = sum(step->wal_bytes, rows * INDEX_BYTES_A_ROW);
    }
}

static void estimate(struct plan_step *step, const struct effect *effect)
{
    step->work_us = sum(step->work_us, effect_duration_us(effect));
    for (size_t i = 0; i < effect->relation_count; i++) {
        const struct effect_relation *relation = &effect->relations[i];

        if (relation->made_here || (relation->rewrite != EFFECT_YES && relation->build != EFFECT_YES))
            continue;
        if (relation->bytes == CATALOG_UNKNOWN && relation->is_index)
            continue;
        step->disk_bytes = sum(step->disk_bytes, relation->bytes);
        step->wal_bytes = sum(step->wal_bytes, relation->bytes);
    }
}

/* The name in "schema"."name"; false: it is none. */
static bool take_quoted(const char **at, struct banyan_arena *arena, struct banyan_str *ret)
{
    char *name;
    size_t size = 0;

    if (**at != '"')
        return false;
    name = banyan_arena_alloc(arena, strlen(*at) + 1);
    for ((*at)++; **at != '\0'; (*at)++) {
        if (**at == '"' && *++*at != '"') {
            *ret = (struct banyan_str){name, size};
            return true;
        }
        name[size++] = **at;
    }
    return false;
}

static struct catalog_table *table_of(struct measuring *all, struct banyan_str quoted)
{
    struct plan_work *work = all->work;
    const char *at = banyan_arena_str(work->arena, quoted).data;
    struct banyan_str first, second;
    struct catalog_table *table = NULL;

    if (!take_quoted(&at, work->arena, &first))
        return NULL;
    second = first;
    if (*at == '.') {
        at++;
        if (!take_quoted(&at, work->arena, &second))
            return NULL;
    } else {
        first = BANYAN_STR("");
    }
    if (plan_goes_on(work))
        work->st = catalog_table(all->catalog, first, second, &table, work->err);
    return table;
}

static void measure_batches(struct measuring *all, struct plan_step *step)
{
    const struct catalog_table *table = table_of(all, step->act.batches.table);
    int64_t rows, entries, times;

    if (table == NULL) {
        step->work_us = step->disk_bytes = step->wal_bytes = CATALOG_UNKNOWN;
        return;
    }
    /* The catalog that was measured with does not outlive the measuring. */
    add_lock(step, banyan_arena_str(all->work->arena, table->shown), EFFECT_ROW_EXCLUSIVE);
    plan_changes(all->work, table);
    rows = rows_of(table);
    if (table->bytes == CATALOG_UNKNOWN || rows < 0) {
        step->work_us = step->disk_bytes = step->wal_bytes = CATALOG_UNKNOWN;
        return;
    }
    times = step->act.batches.keep.size > 0 ? BATCH_KEPT_TIMES : 1;
    entries = rows * (int64_t)table->index_count;
    step->work_us = times * rows * (SECOND_US / BATCH_ROWS_A_SECOND);
    /* Of the old versions, until vacuum was there. */
    step->disk_bytes = times * table->bytes + entries * INDEX_BYTES_A_ROW;
    step->wal_bytes = times * (2 * table->bytes + rows * BATCH_WAL_BYTES_A_ROW + entries * BATCH_WAL_BYTES_AN_ENTRY);
}

/* ---- one statement ---- */

static const char *verb_of(const struct effect_relation *relation)
{
    return relation->rewrite == EFFECT_YES ? "write anew" : relation->build == EFFECT_YES ? "build" : "read";
}

static void check(struct measuring *all, const struct plan_step *step, const struct effect *effect,
                  struct banyan_str sql, bool undo)
{
    const struct effect_relation *heavy = step->as_written ? NULL : plan_heavy(effect, false);

    all->work->of = step->of;
    if (heavy != NULL)
        plan_refuse(all->work,
                    "internal: %s step %s would %s \"%.*s\" from end to end while its writers wait (%s); this is a "
                    "mistake of the planner, please report it: %.*s",
                    undo ? "the undo of" : "the", step->name, verb_of(heavy), (int)heavy->name.size, heavy->name.data,
                    effect_lock_name(heavy->lock), (int)(sql.size < NOTE_BYTES_MAX ? sql.size : NOTE_BYTES_MAX),
                    sql.data);
}

/* Does it fail for the name of a relation, which is there already, or not?  Those are followed from step to step;
 * types, views' columns and triggers of partitions are not, and what is not known refuses nothing. */
static bool fails_by_name(struct measuring *all, const struct statement *statement, const struct effect *effect)
{
    const PgQuery__Node *tree = statement->tree;
    const PgQuery__RangeVar *name = NULL;
    struct catalog_table *table = NULL;

    if (effect->verdict != EFFECT_FAILS || tree == NULL)
        return false;
    if (memmem(effect->why.data, effect->why.size, "multiple primary keys", 21) != NULL)
        return true;
    switch (tree->node_case) {
    case PG_QUERY__NODE__NODE_VIEW_STMT:
        return tree->view_stmt->replace == 0;
    case PG_QUERY__NODE__NODE_CREATE_STMT:
    case PG_QUERY__NODE__NODE_CREATE_SEQ_STMT:
    case PG_QUERY__NODE__NODE_CREATE_TABLE_AS_STMT:
        return true;
    case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
        name = tree->alter_table_stmt->missing_ok ? NULL : tree->alter_table_stmt->relation;
        break;
    case PG_QUERY__NODE__NODE_INDEX_STMT:
        name = tree->index_stmt->relation;
        if (memmem(effect->why.data, effect->why.size, "already exists", 14) != NULL)
            return true;
        break;
    default:
        break;
    }
    if (name != NULL && plan_goes_on(all->work))
        all->work->st = catalog_table(all->catalog, banyan_str_of(name->schemaname), banyan_str_of(name->relname),
                                      &table, all->work->err);
    return name != NULL && table == NULL;
}

/* Each statement was possible where it stands in the file; in the order of the phases it is not.  One is told: what is
 * behind it fails for the same reason. */
static void check_order(struct measuring *all, const struct plan_step *step, const struct statement *statement,
                        const struct effect *effect)
{
    struct plan_work *work = all->work;

    if (work->ret->refusal_count > 0 || !fails_by_name(all, statement, effect))
        return;
    work->of = step->of;
    plan_refuse(work,
                "in the order of the phases this statement fails: %s, in %s, would meet \"%.*s\"; split it: into two "
                "migrations, where the second is started when the first is through its cleanup",
                step->name, plan_phase_name(step->phase), (int)effect->why.size, effect->why.data);
}

static size_t without(struct banyan_str text, const char *tail)
{
    size_t size = strlen(tail);

    return text.size >= size && memcmp(text.data + text.size - size, tail, size) == 0 ? text.size - size : text.size;
}

/* "ADD CONSTRAINT "n" NOT NULL c" is our own for 18, and none of the parser's: it does what SET NOT NULL does. */
static struct banyan_str as_parsed(struct plan_work *work, struct banyan_str sql)
{
    static const char add[] = " ADD CONSTRAINT ", not_null[] = " NOT NULL ";
    const char *text = banyan_arena_str(work->arena, sql).data, *head = strstr(text, add), *at;
    struct banyan_str name, column;

    if (head == NULL || catalog_server_version(work->catalog) < 180000)
        return sql;
    at = head + sizeof(add) - 1;
    if (!take_quoted(&at, work->arena, &name) || strncmp(at, not_null, sizeof(not_null) - 1) != 0)
        return sql;
    column = banyan_str_of(at + sizeof(not_null) - 1);
    column.size = without(column, " NO INHERIT");
    if (without(column, " NOT VALID") != column.size)
        return sql;
    return sql_make(work->arena, "%S ALTER COLUMN %S SET NOT NULL", (struct banyan_str){text, (size_t)(head - text)},
                    column);
}

/* The statements in *sql*; their trees live as long as *all*. */
static const struct migration *parse(struct measuring *all, struct banyan_str sql)
{
    struct plan_work *work = all->work;
    struct migration *parsed = NULL;

    if (plan_goes_on(work))
        work->st = migration_parse("plan", as_parsed(work, sql), &parsed, work->err);
    if (!plan_goes_on(work))
        return NULL;
    all->parsed[all->parsed_count++] = parsed;
    return parsed;
}

static void measure_sql(struct measuring *all, struct plan_step *step, const struct plan_action *action,
                        struct banyan_str sql, bool undo)
{
    struct plan_work *work = all->work;
    const struct migration *parsed = parse(all, sql);
    bool index = action->kind == PLAN_INDEX;

    for (size_t i = 0; parsed != NULL && i < parsed->statement_count && plan_goes_on(work); i++) {
        struct effect effect;

        work->st = effect_of(&parsed->statements[i], all->catalog, work->arena, &effect, work->err);
        if (!plan_goes_on(work))
            return;
        check(all, step, &effect, sql, undo);
        if (!undo)
            check_order(all, step, &parsed->statements[i], &effect);
        for (size_t k = 0; k < effect.relation_count && !undo; k++)
            if (!effect.relations[k].is_index && !effect.relations[k].made_here &&
                effect.relations[k].lock != EFFECT_LOCK_NONE)
                add_lock(step, banyan_arena_str(work->arena, effect.relations[k].name), effect.relations[k].lock);
        if (!undo && index)
            estimate_index(step, &effect);
        else if (!undo)
            estimate(step, &effect);
        work->st = effect_follow(&parsed->statements[i], all->catalog, work->err);
    }
}

static void measure_undo(struct measuring *all, struct plan_step *step)
{
    struct catalog *before = all->catalog;

    if (step->undo_count == 0 || !plan_goes_on(all->work))
        return;
    all->catalog = catalog_copy(before);
    for (size_t i = 0; i < step->undo_count; i++)
        for (size_t k = 0; k < step->undo[i].statement_count && plan_goes_on(all->work); k++)
            measure_sql(all, step, &step->undo[i], step->undo[i].statements[k], true);
    catalog_free(all->catalog);
    all->catalog = before;
}

static void measure(struct measuring *all, struct plan_step *step)
{
    bool given = step->work_us != 0 || step->disk_bytes != 0 || step->wal_bytes != 0;
    int64_t work_us = step->work_us, disk_bytes = step->disk_bytes, wal_bytes = step->wal_bytes;

    step->work_us = step->disk_bytes = step->wal_bytes = 0;
    if (step->act.kind == PLAN_BATCHES)
        measure_batches(all, step);
    for (size_t i = 0; i < step->act.statement_count && plan_goes_on(all->work); i++)
        measure_sql(all, step, &step->act, step->act.statements[i], false);
    if (given) { /* by who knows better */
        step->work_us = work_us;
        step->disk_bytes = disk_bytes;
        step->wal_bytes = wal_bytes;
    }
    measure_undo(all, step);
}

void plan_measure(struct plan_work *work, struct catalog *catalog)
{
    struct measuring all = {.work = work, .catalog = catalog};
    size_t count = 0;

    for (size_t i = 0; i < work->ret->step_count; i++) {
        const struct plan_step *step = &work->ret->steps[i];

        count += step->act.statement_count;
        for (size_t k = 0; k < step->undo_count; k++)
            count += step->undo[k].statement_count;
    }
    all.parsed = banyan_arena_zalloc(work->arena, (count + 1) * sizeof(*all.parsed));
    for (size_t i = 0; i < work->ret->step_count && plan_goes_on(work); i++)
        measure(&all, &work->ret->steps[i]);
    for (size_t i = 0; i < all.parsed_count; i++)
        migration_free(all.parsed[i]);
}
