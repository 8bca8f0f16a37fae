/* SPDX-License-Identifier: Apache-2.0 */
/* See plan_int.h: what a plan is put together with: steps, SQL, checks, refusals, names, directives. */
#include <stdio.h>
#include <string.h>

#include "base/crc32c.h"
#include "migrate/plan_int.h"

enum {
    TEXT_MAX = 1024,
    NAME_MAX_BYTES = 63, /* of an identifier at the server */
};

bool plan_goes_on(const struct plan_work *work)
{
    return work->st == BANYAN_OK;
}

/* Room for one more behind *count* items; doubles at powers of two. */
static void *grown(struct plan_work *work, void *items, size_t count, size_t size)
{
    char *ret;

    if (count > 0 && (count & (count - 1)) != 0)
        return items;
    ret = banyan_arena_zalloc(work->arena, (count == 0 ? 1 : 2 * count) * size);
    if (count > 0)
        memcpy(ret, items, count * size);
    return ret;
}

/* ---- steps ---- */

void plan_action_init(struct plan_action *action, enum plan_kind kind, enum plan_retry retry)
{
    *action = (struct plan_action){.kind = kind, .retry = retry, .index = BANYAN_STR(""), .done = BANYAN_STR("")};
    action->batches = (struct plan_batches){
        .table = BANYAN_STR(""), .set = BANYAN_STR(""), .needs = BANYAN_STR(""), .keep = BANYAN_STR("")};
}

struct plan_step *plan_add(struct plan_work *work, enum plan_phase phase, const char *name, enum plan_kind kind,
                           enum plan_retry retry)
{
    struct plan *plan = work->ret;
    struct plan_step *step;

    plan->steps = grown(work, plan->steps, plan->step_count, sizeof(*plan->steps));
    step = &plan->steps[plan->step_count++];
    *step = (struct plan_step){.phase = phase,
                               .name = name,
                               .title = BANYAN_STR(""),
                               .old_code = BANYAN_STR(""),
                               .new_code = BANYAN_STR(""),
                               .final = phase == PLAN_CLEANUP,
                               .of = work->of};
    plan_action_init(&step->act, kind, retry);
    return step;
}

void plan_sql(struct plan_work *work, struct plan_action *action, const char *format, ...)
{
    va_list list;

    action->statements = grown(work, action->statements, action->statement_count, sizeof(*action->statements));
    va_start(list, format);
    action->statements[action->statement_count++] = sql_make_list(work->arena, format, list);
    va_end(list);
}

struct plan_action *plan_undo(struct plan_work *work, struct plan_step *step, enum plan_kind kind,
                              enum plan_retry retry)
{
    step->undo = grown(work, step->undo, step->undo_count, sizeof(*step->undo));
    plan_action_init(&step->undo[step->undo_count], kind, retry);
    return &step->undo[step->undo_count++];
}

static int order_of(const struct catalog_table *a, const struct catalog_table *b)
{
    int order = strcmp(a->schema.data == NULL ? "" : a->schema.data, b->schema.data == NULL ? "" : b->schema.data);

    return order != 0 ? order : strcmp(a->name.data, b->name.data);
}

void plan_lock_tables(struct plan_work *work, struct plan_action *action, const struct catalog_table *const *tables,
                      size_t count, const char *mode)
{
    const struct catalog_table **sorted = banyan_arena_alloc(work->arena, (count + 1) * sizeof(*sorted));
    struct banyan_str list = BANYAN_STR("");
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        size_t at = 0;

        while (at < used && order_of(sorted[at], tables[i]) < 0)
            at++;
        if (at < used && order_of(sorted[at], tables[i]) == 0)
            continue;
        memmove(&sorted[at + 1], &sorted[at], (used - at) * sizeof(*sorted));
        sorted[at] = tables[i];
        used++;
    }
    for (size_t i = 0; i < used; i++)
        list = sql_make(work->arena, "%S%s%T", list, i > 0 ? ", " : "", sorted[i]);
    if (used == 0)
        return;
    plan_sql(work, action, "LOCK TABLE %S IN %s MODE", list, mode);
    /* In front of those that are there. */
    list = action->statements[action->statement_count - 1];
    memmove(&action->statements[1], &action->statements[0],
            (action->statement_count - 1) * sizeof(*action->statements));
    action->statements[0] = list;
}

struct plan_check *plan_check_add(struct plan_work *work, enum plan_phase phase)
{
    struct plan *plan = work->ret;
    struct plan_check *check;

    plan->checks = grown(work, plan->checks, plan->check_count, sizeof(*plan->checks));
    check = &plan->checks[plan->check_count++];
    *check =
        (struct plan_check){.phase = phase, .sql = BANYAN_STR(""), .message = BANYAN_STR(""), .hint = BANYAN_STR("")};
    return check;
}

/* ---- what is told ---- */

static bool is_known(const struct banyan_str *texts, size_t count, struct banyan_str text)
{
    for (size_t i = 0; i < count; i++)
        if (banyan_str_equal(texts[i], text))
            return true;
    return false;
}

/* Told once, with the line of the statement. */
BANYAN_PRINTF_LIKE(4, 0)
static void tell(struct plan_work *work, struct banyan_str **texts, size_t *count, const char *format, va_list list)
{
    char text[TEXT_MAX];
    struct banyan_str told;

    (void)vsnprintf(text, sizeof(text), format, list); /* over-long texts are cut */
    told = work->of < work->migration->statement_count
               ? banyan_arena_printf(work->arena, "line %u: %s", work->migration->statements[work->of].place.line, text)
               : banyan_arena_str(work->arena, banyan_str_of(text));
    if (is_known(*texts, *count, told))
        return;
    *texts = grown(work, *texts, *count, sizeof(**texts));
    (*texts)[(*count)++] = told;
}

void plan_refuse(struct plan_work *work, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    tell(work, &work->ret->refusals, &work->ret->refusal_count, format, list);
    va_end(list);
}

void plan_note(struct plan_work *work, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    tell(work, &work->ret->notes, &work->ret->note_count, format, list);
    va_end(list);
}

/* ---- tables ---- */

static void changes(struct plan_work *work, struct banyan_str shown)
{
    struct plan *plan = work->ret;

    if (is_known(plan->tables, plan->table_count, shown))
        return;
    plan->tables = grown(work, plan->tables, plan->table_count, sizeof(*plan->tables));
    plan->tables[plan->table_count++] = shown;
}

void plan_changes(struct plan_work *work, const struct catalog_table *table)
{
    if (!table->made_here)
        changes(work, banyan_arena_str(work->arena, table->shown));
}

void plan_changes_foreign(struct plan_work *work, const struct catalog_table *child, struct banyan_str name)
{
    if (!child->made_here)
        changes(work, banyan_arena_printf(work->arena, "foreign key %.*s of %.*s", (int)name.size, name.data,
                                          (int)child->shown.size, child->shown.data));
}

bool plan_is_small(const struct catalog_table *table)
{
    int64_t bytes = table->bytes;

    if (table->made_here)
        return true;
    if (!table->known || table->child_count > 0 || bytes == CATALOG_UNKNOWN)
        return false;
    for (size_t i = 0; i < table->index_count; i++)
        bytes += table->indexes[i].bytes == CATALOG_UNKNOWN ? 0 : table->indexes[i].bytes;
    return bytes <= PLAN_SMALL_BYTES;
}

struct leaves {
    const struct catalog_table **tables;
    size_t count;
};

static void collect_leaves(struct plan_work *work, const struct catalog_table *table, struct leaves *leaves)
{
    if (table->kind == 'f') {
        plan_refuse(work, "%.*s is a foreign table: its rows cannot be written page by page", (int)table->shown.size,
                    table->shown.data);
        return;
    }
    for (size_t i = 0; i < leaves->count; i++)
        if (leaves->tables[i] == table)
            return; /* a child of two parents */
    if (table->kind != 'p') {
        leaves->tables = grown(work, leaves->tables, leaves->count, sizeof(*leaves->tables));
        leaves->tables[leaves->count++] = table;
    }
    for (size_t i = 0; i < table->child_count && plan_goes_on(work); i++) {
        struct catalog_table *child = NULL;

        work->st = catalog_by_oid(work->catalog, table->children[i], &child, work->err);
        if (child != NULL)
            collect_leaves(work, child, leaves);
    }
}

void plan_leaves(struct plan_work *work, const struct catalog_table *table, const struct catalog_table ***ret,
                 size_t *ret_count)
{
    struct leaves leaves = {.count = 0};

    collect_leaves(work, table, &leaves);
    *ret = leaves.tables;
    *ret_count = leaves.count;
}

/* ---- names ---- */

/* One that was given out. */
struct plan_name {
    const struct plan_name *next;
    struct banyan_str schema, table, part, name;
    bool kept;
};

/* At most *size* bytes, whole characters. */
static struct banyan_str cut(struct banyan_str text, size_t size)
{
    if (text.size <= size)
        return text;
    while (size > 0 && ((unsigned char)text.data[size] & 0xC0) == 0x80)
        size--;
    return (struct banyan_str){text.data, size};
}

static bool is_taken(struct plan_work *work, const struct catalog_table *table, struct banyan_str name)
{
    struct catalog_table *there = NULL;

    for (const struct plan_name *given = work->names; given != NULL; given = given->next)
        if (banyan_str_equal(given->name, name) && banyan_str_equal(given->schema, table->schema))
            return true;
    if (catalog_column(table, name) != NULL || catalog_constraint(table, name) != NULL)
        return true;
    if (!plan_goes_on(work) || catalog_is_offline(work->catalog))
        return false;
    work->st = catalog_table(work->catalog, table->schema, name, &there, work->err);
    return there != NULL;
}

static struct banyan_str hashed(struct plan_work *work, const struct catalog_table *table, struct banyan_str part,
                                const char *front, unsigned turn)
{
    const char zero = '\0';
    struct banyan_str version = work->migration->version;
    uint32_t hash = crc32c(0, version.data, version.size);

    hash = crc32c(crc32c(hash, &zero, 1), table->schema.data, table->schema.size);
    hash = crc32c(crc32c(hash, &zero, 1), table->name.data, table->name.size);
    hash = crc32c(crc32c(hash, &zero, 1), part.data, part.size);
    hash = crc32c(hash, &turn, sizeof(turn));
    part = cut(part, NAME_MAX_BYTES - strlen(front) - 9);
    return banyan_arena_printf(work->arena, "%s%.*s_%08x", front, (int)part.size, part.data, (unsigned)hash);
}

static struct banyan_str name_of(struct plan_work *work, const struct catalog_table *table, struct banyan_str part,
                                 bool kept)
{
    const char *front = kept ? "_banyan_old_" : "_banyan_";
    struct banyan_str name = banyan_arena_printf(work->arena, "%s%.*s", front, (int)part.size, part.data);
    struct plan_name *given;

    for (const struct plan_name *old = work->names; old != NULL; old = old->next)
        if (old->kept == kept && banyan_str_equal(old->part, part) && banyan_str_equal(old->table, table->name) &&
            banyan_str_equal(old->schema, table->schema))
            return old->name;
    for (unsigned turn = 0; (name.size > NAME_MAX_BYTES || is_taken(work, table, name)) && turn < 100; turn++)
        name = hashed(work, table, part, front, turn);
    given = banyan_arena_zalloc(work->arena, sizeof(*given));
    *given = (struct plan_name){.next = work->names,
                                .schema = table->schema,
                                .table = table->name,
                                .part = banyan_arena_str(work->arena, part),
                                .name = name,
                                .kept = kept};
    work->names = given;
    return name;
}

struct banyan_str plan_new_name(struct plan_work *work, const struct catalog_table *table, struct banyan_str part)
{
    return name_of(work, table, part, false);
}

struct banyan_str plan_kept_name(struct plan_work *work, const struct catalog_table *table, struct banyan_str part)
{
    return name_of(work, table, part, true);
}

struct banyan_str plan_server_name(struct plan_work *work, const struct catalog_table *table, struct banyan_str columns,
                                   const char *label)
{
    struct banyan_str name = BANYAN_STR("");

    for (unsigned turn = 0; turn < 100; turn++) {
        char number[12] = "";
        size_t rest, first = table->name.size, second = columns.size;

        if (turn > 0)
            (void)snprintf(number, sizeof(number), "%u", turn);
        rest = NAME_MAX_BYTES - strlen(label) - strlen(number) - (second > 0 ? 2 : 1);
        while (first + second > rest) /* the longer one is cut */
            *(first > second ? &first : &second) -= 1;
        name = banyan_arena_printf(work->arena, "%.*s%s%.*s_%s%s", (int)cut(table->name, first).size, table->name.data,
                                   second > 0 ? "_" : "", (int)cut(columns, second).size, columns.data, label, number);
        if (!is_taken(work, table, name) && !plan_name_is_used(work, table, name))
            break;
    }
    return name;
}

/* ---- directives ---- */

const struct directive *plan_directive(struct plan_work *work, enum directive_kind kind,
                                       const struct catalog_table *table, struct banyan_str column)
{
    for (size_t i = 0; i < work->migration->directive_count; i++) {
        const struct directive *directive = &work->migration->directives[i];

        if (directive->kind != kind || !banyan_str_equal(directive->table, table->name) ||
            !banyan_str_equal(directive->column, column) ||
            (directive->schema.size > 0 && !banyan_str_equal(directive->schema, table->schema)))
            continue;
        work->directive_used[i] = true;
        return directive;
    }
    return NULL;
}
