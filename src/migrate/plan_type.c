/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ALTER TABLE … ALTER … TYPE.
 *
 *   nothing but the catalog changes ──▶ one step in expand: new code may use it, old code goes on
 *   all else                        ──▶ a shadow column of the new type, held equal, and a swap (plan_swap.c)
 *
 * What a value may meet on its way, which decides what is asked of the user:
 *
 *   | every value fits         | numeric(10,2) → numeric(18,8), int → bigint, … → text | nothing                      |
 *   | some do not, or change   | numeric(18,8) → numeric(10,2), bigint → int           | "lossy", and a check         |
 *   | another kind of value    | text → enum, text → int                               | USING, and a check           |
 *   | it depends on a zone     | timestamp → timestamptz, and back                     | "zone", or USING             |
 */
#include <stdio.h>
#include <string.h>

#include "migrate/effect_int.h"
#include "migrate/plan_swap.h"

enum {
    HEADER_BYTES = 4, /* of a modifier */
    VALUE_MAX = 64 * 1024,
};
/* Stands for the value in a tree, until the text is made of it. */
#define PLACE "_banyan_value_"

struct change {
    struct plan_work *work;
    struct catalog_table *table;
    const struct catalog_column *column;
    const PgQuery__ColumnDef *definition;
    struct catalog_type to;
    struct banyan_str type; /* as SQL */
    bool is_enum;
    struct banyan_str *labels; /* of the enum */
    size_t label_count;
    bool plain;                    /* no USING, or a cast of the bare column to the new type */
    struct banyan_str forth, back; /* $ stands for the value */
    bool total;                    /* every value fits */
    bool narrows;                  /* of the same family: some do not fit, or change */
    const struct directive *zone, *lossy;
    struct banyan_str zone_literal;
};

/* ---- types ---- */

static bool is_one_of(struct banyan_str name, const char *const *names)
{
    for (; *names != NULL; names++)
        if (banyan_str_equal(name, banyan_str_of(*names)))
            return true;
    return false;
}

static const char *const texts[] = {"text", "varchar", "bpchar", "citext", NULL};
static const char *const times[] = {"timestamp", "timestamptz", "date", "time", "timetz", NULL};

/* Decimal digits that an integer may have; 0: it is none. */
static int digits_of(struct banyan_str name)
{
    return banyan_str_equal(name, BANYAN_STR("int2"))   ? 5
           : banyan_str_equal(name, BANYAN_STR("int4")) ? 10
           : banyan_str_equal(name, BANYAN_STR("int8")) ? 19
                                                        : 0;
}

static bool is_numeric(struct banyan_str name)
{
    return banyan_str_equal(name, BANYAN_STR("numeric"));
}

static bool is_float(struct banyan_str name)
{
    return banyan_str_equal(name, BANYAN_STR("float4")) || banyan_str_equal(name, BANYAN_STR("float8"));
}

static bool is_number(struct banyan_str name)
{
    return digits_of(name) > 0 || is_numeric(name) || is_float(name);
}

static int scale_of(const struct catalog_type *type)
{
    return (type->modifier - HEADER_BYTES) & 0x7ff;
}

static int whole_digits_of(const struct catalog_type *type)
{
    return ((type->modifier - HEADER_BYTES) >> 16 & 0xffff) - scale_of(type);
}

static bool number_fits(const struct catalog_type *from, const struct catalog_type *to)
{
    if (is_numeric(to->name)) {
        if (to->modifier < HEADER_BYTES)
            return digits_of(from->name) > 0 || is_numeric(from->name);
        if (digits_of(from->name) > 0)
            return whole_digits_of(to) >= digits_of(from->name);
        return is_numeric(from->name) && from->modifier >= HEADER_BYTES && scale_of(from) <= scale_of(to) &&
               whole_digits_of(from) <= whole_digits_of(to);
    }
    if (digits_of(to->name) > 0)
        return digits_of(from->name) > 0 && digits_of(from->name) <= digits_of(to->name);
    if (banyan_str_equal(to->name, BANYAN_STR("float8")))
        return banyan_str_equal(from->name, BANYAN_STR("float4")) ||
               (digits_of(from->name) > 0 && digits_of(from->name) <= 10);
    return false;
}

static bool all_fit(const struct catalog_type *from, const struct catalog_type *to)
{
    if (!from->known || !to->known || to->constrained || to->is_array || from->is_array)
        return false;
    if (is_number(from->name) && is_number(to->name))
        return number_fits(from, to);
    if (banyan_str_equal(to->name, BANYAN_STR("text")) ||
        (banyan_str_equal(to->name, BANYAN_STR("varchar")) && to->modifier < 0))
        return true;
    if (banyan_str_equal(to->name, BANYAN_STR("varchar")) && banyan_str_equal(from->name, to->name))
        return from->modifier >= 0 && from->modifier <= to->modifier;
    if (banyan_str_equal(from->name, BANYAN_STR("date")))
        return banyan_str_equal(to->name, BANYAN_STR("timestamp"));
    return false;
}

static bool same_family(const struct catalog_type *from, const struct catalog_type *to)
{
    return (is_number(from->name) && is_number(to->name)) ||
           (is_one_of(from->name, texts) && is_one_of(to->name, texts)) ||
           (is_one_of(from->name, times) && is_one_of(to->name, times)) || banyan_str_equal(from->name, to->name);
}

static bool is_timestamp(struct banyan_str name)
{
    return banyan_str_equal(name, BANYAN_STR("timestamp")) || banyan_str_equal(name, BANYAN_STR("timestamptz"));
}

static bool needs_zone(const struct change *change)
{
    return is_timestamp(change->column->type.name) && is_timestamp(change->to.name) &&
           !banyan_str_equal(change->column->type.name, change->to.name);
}

/* ---- USING ---- */

struct using
{
    struct banyan_str column;
    struct {
        char **at, *was;
    } replaced[64];
    size_t count;
    bool others; /* columns, or the same in a way that is not replaced */
};

static void visit_column(void *context, const ProtobufCMessage *message)
{
    static char place[] = PLACE;
    struct using *all = context;
    const PgQuery__ColumnRef *column = (const void *)message;
    PgQuery__String *name;

    if (message->descriptor != &pg_query__column_ref__descriptor)
        return;
    if (column->n_fields != 1 || column->fields[0]->node_case != PG_QUERY__NODE__NODE_STRING ||
        !banyan_str_equal(banyan_str_of(column->fields[0]->string->sval), all->column) ||
        all->count == sizeof(all->replaced) / sizeof(all->replaced[0])) {
        all->others = true;
        return;
    }
    name = column->fields[0]->string;
    all->replaced[all->count].at = &name->sval;
    all->replaced[all->count++].was = name->sval;
    name->sval = place;
}

/* The expression with $ for the column; data NULL: it reads more than that. */
static struct banyan_str template_of(struct plan_work *work, const PgQuery__Node *expression, struct banyan_str column)
{
    struct using all = {.column = column};
    struct banyan_str text, ret = {.data = NULL};
    struct banyan_buf made = BANYAN_BUF_INIT(VALUE_MAX);

    node_walk(&expression->base, visit_column, &all);
    text = node_deparse_expression(expression, work->arena);
    while (all.count > 0) {
        all.count--;
        *all.replaced[all.count].at = all.replaced[all.count].was;
    }
    if (text.data == NULL || all.others)
        return ret;
    for (size_t i = 0; i < text.size;) {
        if (text.size - i >= sizeof(PLACE) - 1 && memcmp(&text.data[i], PLACE, sizeof(PLACE) - 1) == 0) {
            banyan_buf_add_char(&made, '$');
            i += sizeof(PLACE) - 1;
            continue;
        }
        if (text.data[i] == '$')
            banyan_buf_add_char(&made, '$');
        banyan_buf_add_char(&made, text.data[i++]);
    }
    ret = banyan_arena_str(work->arena, banyan_buf_str(&made));
    banyan_buf_release(&made);
    return ret;
}

static bool is_plain(const PgQuery__Node *expression, struct banyan_str column)
{
    const PgQuery__Node *inner = expression;

    if (inner->node_case == PG_QUERY__NODE__NODE_TYPE_CAST)
        inner = inner->type_cast->arg;
    return inner->node_case == PG_QUERY__NODE__NODE_COLUMN_REF && inner->column_ref->n_fields == 1 &&
           inner->column_ref->fields[0]->node_case == PG_QUERY__NODE__NODE_STRING &&
           banyan_str_equal(banyan_str_of(inner->column_ref->fields[0]->string->sval), column);
}

/* ---- what the server would do ---- */

/* The statement with this command alone, as the catalog would be without views on the table. */
static void effect_alone(struct change *change, struct effect *ret)
{
    struct plan_work *work = change->work;
    PgQuery__AlterTableStmt alter = *work->statement->tree->alter_table_stmt;
    PgQuery__AlterTableCmd command = PG_QUERY__ALTER_TABLE_CMD__INIT;
    PgQuery__ColumnDef definition = *change->definition;
    PgQuery__Node node = PG_QUERY__NODE__INIT, inner = PG_QUERY__NODE__INIT, def = PG_QUERY__NODE__INIT;
    PgQuery__Node *commands[1] = {&inner};
    struct statement statement = *work->statement;
    size_t dependents = change->table->dependent_count;
    char *name = (char *)change->column->name.data; /* only read; NUL-terminated as all of an arena */

    command.subtype = PG_QUERY__ALTER_TABLE_TYPE__AT_AlterColumnType;
    command.name = name;
    command.behavior = PG_QUERY__DROP_BEHAVIOR__DROP_RESTRICT;
    def.node_case = PG_QUERY__NODE__NODE_COLUMN_DEF;
    def.column_def = &definition;
    command.def = &def;
    inner.node_case = PG_QUERY__NODE__NODE_ALTER_TABLE_CMD;
    inner.alter_table_cmd = &command;
    alter.cmds = commands;
    alter.n_cmds = 1;
    node.node_case = PG_QUERY__NODE__NODE_ALTER_TABLE_STMT;
    node.alter_table_stmt = &alter;
    statement.tree = &node;
    change->table->dependent_count = 0; /* views are made again */
    if (work->st == BANYAN_OK)
        work->st = effect_of(&statement, work->catalog, work->arena, ret, work->err);
    change->table->dependent_count = dependents;
}

static bool is_heavy(const struct effect *effect)
{
    for (size_t i = 0; i < effect->relation_count; i++)
        if (effect->relations[i].rewrite != EFFECT_NO || effect->relations[i].build != EFFECT_NO ||
            (effect->relations[i].scan != EFFECT_NO && !effect->relations[i].is_index))
            return true;
    return effect->more_relations;
}

/* Another one than that of the migrator's sessions. */
static bool is_local_zone(const struct change *change)
{
    static const char *const utc[] = {"'UTC'", "'Etc/UTC'", "'GMT'", "UTC", "Etc/UTC", "GMT", NULL};

    return needs_zone(change) && change->zone != NULL && !is_one_of(change->zone->value, utc);
}

/* ---- refusals ---- */

static const char *shown(const struct change *change)
{
    return banyan_arena_printf(change->work->arena, "%.*s.%.*s", (int)change->table->shown.size,
                               change->table->shown.data, (int)change->column->name.size, change->column->name.data)
        .data;
}

static bool is_possible(struct change *change)
{
    struct plan_work *work = change->work;
    const struct catalog_table *table = change->table;
    struct banyan_str user;

    if (change->column->inherited || (table->child_count > 0 && table->kind != 'p')) {
        plan_refuse(work, "%s: the type of an inherited column is changed by hand, child by child", shown(change));
        return false;
    }
    if (catalog_columns_has(&table->partition_keys, change->column->number)) {
        plan_refuse(work, "%s is part of the partition key, whose type cannot change: a new table is needed",
                    shown(change));
        return false;
    }
    if (change->column->is_generated) {
        plan_refuse(work, "%s is a generated column: drop it and add it again with its new type", shown(change));
        return false;
    }
    for (size_t i = 0; i < table->dependent_count; i++) {
        const struct catalog_dependent *dependent = &table->dependents[i];

        if (!catalog_columns_has(&dependent->columns, change->column->number) || dependent->kind == 'v' ||
            dependent->kind == 'm')
            continue;
        plan_refuse(work, "%s is used by %s %.*s: drop that first, and make it again afterwards", shown(change),
                    dependent->kind == 'p'   ? "the policy"
                    : dependent->kind == 'u' ? "the rule"
                    : dependent->kind == 't' ? "the trigger"
                                             : "the generated column",
                    (int)dependent->name.size, dependent->name.data);
        return false;
    }
    user = plan_dependent(work, table, change->column->name);
    if (user.size > 0)
        plan_refuse(work, "%s is used by %.*s: take it out of there first, and put it back afterwards", shown(change),
                    (int)user.size, user.data);
    return user.size == 0;
}

/* ---- values ---- */

static bool read_enum(struct change *change)
{
    struct plan_work *work = change->work;
    const PgQuery__TypeName *type = change->definition->type_name;
    const char *last = type->n_names > 0 ? type->names[type->n_names - 1]->string->sval : "";

    for (size_t i = 0; i < work->migration->statement_count; i++) {
        const PgQuery__Node *node = work->migration->statements[i].tree;
        const PgQuery__CreateEnumStmt *made;

        if (node == NULL || node->node_case != PG_QUERY__NODE__NODE_CREATE_ENUM_STMT)
            continue;
        made = node->create_enum_stmt;
        if (strcmp(made->type_name[made->n_type_name - 1]->string->sval, last) != 0)
            continue;
        change->label_count = made->n_vals;
        change->labels = banyan_arena_zalloc(work->arena, (made->n_vals + 1) * sizeof(*change->labels));
        for (size_t k = 0; k < made->n_vals; k++)
            change->labels[k] = banyan_str_of(made->vals[k]->string->sval);
        return true;
    }
    if (!catalog_is_offline(work->catalog) && work->st == BANYAN_OK)
        work->st = definition_labels(work->catalog, change->type, &change->labels, &change->label_count, work->err);
    return change->label_count > 0;
}

static bool by_zone(struct change *change)
{
    struct banyan_str zone = change->zone->value;

    if (zone.size >= 2 && zone.data[0] == '\'') { /* as it was written: quoted */
        zone.data++;
        zone.size -= 2;
    }
    change->zone_literal = sql_make(change->work->arena, "%L", zone);
    change->forth = change->back = sql_make(change->work->arena, "$ AT TIME ZONE %S", change->zone_literal);
    change->total = true;
    change->plain = false;
    return true;
}

/* How a value goes there and back; false: refused. */
static bool read_values(struct change *change)
{
    struct plan_work *work = change->work;
    const PgQuery__Node *using = change->definition->raw_default;

    change->plain = using == NULL || is_plain(using, change->column->name);
    change->forth = change->back = BANYAN_STR("$");
    if (needs_zone(change) && change->plain) {
        if (change->zone != NULL)
            return by_zone(change);
        plan_refuse(work,
                    "%s: what a time means without its zone is not known. Say it: -- banyan: zone %s = "
                    "'Europe/Berlin'   (or 'UTC', or USING … AT TIME ZONE …)",
                    shown(change), shown(change));
        return false;
    }
    if (using != NULL) {
        change->forth = template_of(work, using, change->column->name);
        if (change->forth.data == NULL) {
            plan_refuse(work,
                        "%s: USING reads more than the column itself, so that its value would change with others: "
                        "add a new column, fill it, and drop the old one",
                        shown(change));
            return false;
        }
    }
    change->is_enum = read_enum(change);
    change->total = change->plain && all_fit(&change->column->type, &change->to);
    change->narrows = change->plain && !change->total && same_family(&change->column->type, &change->to);
    if (change->narrows)
        change->forth = BANYAN_STR("$"); /* by assignment: what is too long is refused, not cut */
    if (change->narrows && change->lossy == NULL) {
        plan_refuse(work, "%s: not every value of %.*s is one of %.*s. If that is wanted: -- banyan: lossy %s",
                    shown(change), (int)change->column->shown.size, change->column->shown.data, (int)change->type.size,
                    change->type.data, shown(change));
        return false;
    }
    return true;
}

/* ---- the check before ---- */

static struct banyan_str number_misfit(const struct change *change, struct banyan_str column)
{
    struct banyan_arena *arena = change->work->arena;
    int digits = digits_of(change->to.name);

    if (is_numeric(change->to.name) && change->to.modifier >= HEADER_BYTES)
        return sql_make(arena, "%I::numeric <> round(%I::numeric, %d) OR abs(%I::numeric) >= 10::numeric ^ %d", column,
                        column, (int64_t)scale_of(&change->to), column, (int64_t)whole_digits_of(&change->to));
    if (digits > 0)
        return sql_make(arena, "%I::numeric <> round(%I::numeric) OR %I NOT BETWEEN %s", column, column, column,
                        digits == 5    ? "-32768 AND 32767"
                        : digits == 10 ? "-2147483648 AND 2147483647"
                                       : "-9223372036854775808 AND 9223372036854775807");
    return sql_make(arena, "%I::%S IS DISTINCT FROM %I", column, change->type, column);
}

/* Rows that do not fit, or would change; data NULL: only trying tells. */
static struct banyan_str misfit(const struct change *change)
{
    struct banyan_arena *arena = change->work->arena;
    struct banyan_str column = change->column->name, labels = BANYAN_STR("");

    if (change->is_enum && change->plain) {
        for (size_t i = 0; i < change->label_count; i++)
            labels = sql_make(arena, "%S%s%L", labels, i > 0 ? ", " : "", change->labels[i]);
        return sql_make(arena, "%I::text NOT IN (%S)", column, labels);
    }
    if (!change->narrows)
        return (struct banyan_str){.data = NULL};
    if (is_number(change->to.name))
        return number_misfit(change, column);
    if (is_one_of(change->to.name, texts) && change->to.modifier >= HEADER_BYTES)
        return sql_make(arena, "char_length(%I::text) > %d", column, (int64_t)(change->to.modifier - HEADER_BYTES));
    if (is_one_of(change->to.name, times))
        return sql_make(arena, "%I::%S IS DISTINCT FROM %I", column, change->type, column);
    return (struct banyan_str){.data = NULL};
}

static void check_before(const struct change *change)
{
    struct plan_work *work = change->work;
    struct banyan_str which = misfit(change);
    struct plan_check *check;

    if (which.data == NULL) {
        plan_note(work,
                  "%s: whether each value becomes one of %.*s is only known when it is tried; complete proves it "
                  "before anything changes its place",
                  shown(change), (int)change->type.size, change->type.data);
        return;
    }
    check = plan_check_add(work, PLAN_CONTRACT);
    check->sql = sql_make(work->arena, "SELECT count(*) FROM %T WHERE %S", change->table, which);
    check->message = banyan_arena_printf(work->arena, "rows of %s do not fit %.*s", shown(change),
                                         (int)change->type.size, change->type.data);
    check->hint = BANYAN_STR("change these rows first, or say with USING what becomes of them");
}

/* ---- one step ---- */

static struct banyan_str alter_sql(struct change *change, struct banyan_str type, struct banyan_str value)
{
    return sql_make(change->work->arena, "ALTER TABLE %T ALTER COLUMN %I TYPE %S%S", change->table,
                    change->column->name, type,
                    value.size == 0 ? value
                                    : sql_make(change->work->arena, " USING %S",
                                               sync_value(change->work->arena, value, "", change->column->name)));
}

static void around_views(struct change *change, struct plan_action *action, const struct definition_views *views,
                         struct banyan_str alter)
{
    struct plan_work *work = change->work;

    for (size_t i = views->view_count; i-- > 0;)
        plan_sql(work, action, "DROP VIEW %I.%I", views->views[i].schema, views->views[i].name);
    plan_sql(work, action, "%S", alter);
    for (size_t i = 0; i < views->view_count; i++)
        for (size_t k = 0; k < views->views[i].statement_count; k++)
            plan_sql(work, action, "%S", views->views[i].statements[k]);
}

/* Does the way back read or write a table while its writers wait?  varchar to text does not. */
static bool is_light_back(struct change *change, const struct definition_views *views, struct banyan_str forth,
                          struct banyan_str back)
{
    struct plan_work *work = change->work;
    struct banyan_str before = BANYAN_STR("");
    struct effect effect;

    for (size_t i = views->view_count; i-- > 0;)
        before = sql_make(work->arena, "%SDROP VIEW %I.%I;", before, views->views[i].schema, views->views[i].name);
    return plan_effect_behind(work, sql_make(work->arena, "%S%S", before, forth), back, &effect) &&
           effect.verdict == EFFECT_UNDERSTOOD && plan_heavy(&effect, true) == NULL;
}

static void change_at_once(struct change *change)
{
    struct plan_work *work = change->work;
    struct banyan_str forth, back;
    struct catalog_columns columns = {{0}};
    struct definition_views views = {.obstacle = BANYAN_STR("")};
    /* Zones: the migrator's sessions are in UTC, so that no USING says the same, and costs nothing. */
    struct banyan_str value = change->definition->raw_default == NULL ? BANYAN_STR("") : change->forth;
    struct plan_step *step;

    catalog_columns_add(&columns, change->column->number);
    if (change->table->known && work->st == BANYAN_OK)
        work->st = definition_views(work->catalog, change->table, &columns, &views, work->err);
    if (!plan_goes_on(work))
        return;
    if (views.obstacle.size > 0) {
        plan_refuse(work, "%.*s depends on %s: drop it first, and make it again afterwards", (int)views.obstacle.size,
                    views.obstacle.data, shown(change));
        return;
    }
    step = plan_add(work, PLAN_EXPAND, "change-type", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "%s becomes %.*s: nothing but the catalog changes", shown(change),
                                      (int)change->type.size, change->type.data);
    step->new_code = BANYAN_STR("the new type");
    forth = alter_sql(change, change->type, value);
    back = alter_sql(change, change->column->shown, BANYAN_STR(""));
    around_views(change, &step->act, &views, forth);
    if (plan_is_small(change->table) || needs_zone(change) || is_light_back(change, &views, forth, back)) {
        around_views(change, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), &views, back);
        return;
    }
    step->final = true;
    plan_note(work,
              "%s: a rollback leaves it %.*s, which old code works with: the way back would write the whole table "
              "under a lock",
              shown(change), (int)change->type.size, change->type.data);
}

/* ---- the shadow ---- */

static void add_settings(struct change *change, struct plan_action *action, struct banyan_str shadow,
                         const struct definition_column *hang)
{
    struct plan_work *work = change->work;

    for (size_t i = 0; i < hang->setting_count; i++)
        plan_sql(work, action, "ALTER TABLE %T ALTER COLUMN %I %S", change->table, shadow, hang->settings[i]);
    if (hang->comment.data != NULL)
        plan_sql(work, action, "COMMENT ON COLUMN %T.%I IS %L", change->table, shadow, hang->comment);
    for (size_t i = 0; i < hang->grant_count; i++)
        plan_sql(work, action, "GRANT %S (%I) ON %T TO %S%s", hang->grants[i].privilege, shadow, change->table,
                 hang->grants[i].grantee, hang->grants[i].grantable ? " WITH GRANT OPTION" : "");
}

static void add_shadow(struct change *change, const struct swap_column *column)
{
    struct plan_work *work = change->work;
    struct plan_step *step = plan_add(work, PLAN_EXPAND, "add-shadow-column", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    struct plan_action *undo;
    struct banyan_str collate = BANYAN_STR("");

    if (change->definition->coll_clause != NULL) {
        const PgQuery__CollateClause *clause = change->definition->coll_clause;

        for (size_t i = 0; i < clause->n_collname; i++)
            collate = sql_make(work->arena, "%S%s%I", collate, i == 0 ? " COLLATE " : ".",
                               banyan_str_of(clause->collname[i]->string->sval));
    }
    step->title = banyan_arena_printf(work->arena, "a column for the new type of %s", shown(change));
    plan_sql(work, &step->act, "ALTER TABLE %T ADD COLUMN %I %S%S", change->table, column->sync.to, change->type,
             collate);
    add_settings(change, &step->act, column->sync.to, &column->hang);
    undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(work, undo, "ALTER TABLE %T DROP COLUMN %I", change->table, column->sync.to);
}

/* Whether a value goes into the new type, and comes out as it was. */
static struct banyan_str add_fits(struct change *change)
{
    struct plan_work *work = change->work;
    struct banyan_str value = BANYAN_STR("value"), path = BANYAN_STR(""), body, function;
    struct plan_step *step;

    if (change->total)
        return BANYAN_STR("");
    function = sql_make(work->arena, "banyan.%I",
                        plan_new_name(work, change->table,
                                      sql_make(work->arena, "%S_%S_%S_fits", change->table->schema, change->table->name,
                                               change->column->name)));
    if (work->st == BANYAN_OK)
        work->st = catalog_search_path(work->catalog, &path, work->err);
    body = sql_make(work->arena,
                    "DECLARE made %S; BEGIN made := %S; RETURN %s; EXCEPTION WHEN OTHERS THEN RETURN false; END",
                    change->type, sync_value(work->arena, change->forth, "", value),
                    change->narrows ? "made IS NOT DISTINCT FROM value" : "true");
    step = plan_add(work, PLAN_EXPAND, "make-fits-function", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    step->title = banyan_arena_printf(work->arena, "a function that tells which values of %s fit", shown(change));
    plan_sql(work, &step->act,
             "CREATE OR REPLACE FUNCTION %S(value %S) RETURNS boolean LANGUAGE plpgsql STABLE SET search_path = %S "
             "AS %L",
             function, change->column->shown, path, body);
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "DROP FUNCTION IF EXISTS %S", function);
    return function;
}

static void change_by_shadow(struct change *change)
{
    struct plan_work *work = change->work;
    struct banyan_str name = change->column->name;
    struct swap_column column = {
        .kept = plan_kept_name(work, change->table, name),
        .column = change->column,
        .type = change->type,
        .back = change->back,
        .zone = change->zone_literal,
        .user_wrote = change->definition->raw_default != NULL && !change->narrows,
        .sync = {.kind = SYNC_TO,
                 .from = name,
                 .to = plan_new_name(work, change->table, name),
                 .forth = change->forth,
                 .forth_fails = !change->total},
    };

    if (work->st == BANYAN_OK)
        work->st =
            definition_column(work->catalog, change->table->oid, change->column->number, &column.hang, work->err);
    if (!plan_goes_on(work))
        return;
    if (!change->total)
        check_before(change);
    column.fits = add_fits(change);
    add_shadow(change, &column);
    if (change->definition->raw_default != NULL && !change->plain)
        plan_note(work,
                  "%s: USING says how values go there; values that are written after complete come back as the server "
                  "casts them, or as NULL",
                  shown(change));
    if (change->table->trigger_count > 0)
        plan_note(work, "%s: triggers of the user fire for the statements of both codes, before the column is synced",
                  shown(change));
    plan_note(
        work,
        "%s: the new column is behind the others: give INSERT a list of columns, and read no * by position, before "
        "complete",
        shown(change));
    swap_add(work, change->table, &column);
}

/* ---- entry ---- */

static struct catalog_type type_of(struct change *change)
{
    struct effect effect = {.relation_count = 0};
    struct effect_work inner = {.statement = change->work->statement,
                                .catalog = change->work->catalog,
                                .arena = change->work->arena,
                                .ret = &effect,
                                .err = change->work->err};
    struct catalog_type type = effect_type(&inner, change->definition->type_name);

    if (change->work->st == BANYAN_OK)
        change->work->st = inner.st;
    return type;
}

bool plan_type(struct plan_work *work, struct catalog_table *table, const PgQuery__AlterTableCmd *command)
{
    struct change change = {.work = work, .table = table};
    struct effect effect = {.relation_count = 0};

    if (command->subtype != PG_QUERY__ALTER_TABLE_TYPE__AT_AlterColumnType || command->def == NULL ||
        command->def->node_case != PG_QUERY__NODE__NODE_COLUMN_DEF)
        return false;
    change.column = catalog_column(table, banyan_str_of(command->name));
    change.definition = command->def->column_def;
    if (!table->known || change.column == NULL) {
        plan_refuse(work, "%.*s.%s: how its type can change depends on the type that it has; that takes a database",
                    (int)table->shown.size, table->shown.data, command->name);
        return true;
    }
    change.to = type_of(&change);
    change.type = node_deparse_type(change.definition->type_name, work->arena);
    change.zone = plan_directive(work, DIRECTIVE_ZONE, table, change.column->name);
    change.lossy = plan_directive(work, DIRECTIVE_LOSSY, table, change.column->name);
    if (!plan_goes_on(work) || !is_possible(&change) || !read_values(&change))
        return true;
    effect_alone(&change, &effect);
    if (!plan_goes_on(work))
        return true;
    if (effect.verdict == EFFECT_FAILS && !change.is_enum && change.definition->raw_default == NULL) {
        plan_refuse(work, "%s: %.*s", shown(&change), (int)effect.why.size, effect.why.data);
        return true;
    }
    if (effect.verdict == EFFECT_UNDERSTOOD && !is_heavy(&effect) && !change.narrows && !is_local_zone(&change))
        change_at_once(&change);
    else
        change_by_shadow(&change);
    return true;
}
