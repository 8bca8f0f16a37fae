/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan as JSON and back, without loss: it is what runs, hours after it was made and by another process.
 *
 *   {"format":1,"needs_allow":…,"tables":[…],"checks":[…],"steps":[{"phase":"expand","name":…,"act":{…},"undo":[…],
 *    "locks":[["orders","ACCESS EXCLUSIVE"]],…}],"refusals":[…],"notes":[…]}
 *
 * Reading is strict: a member that is missing, of another kind or unknown is CORRUPT, with the path to it.
 */
#include <inttypes.h>
#include <string.h>

#include "banyan/json.h"
#include "base/jtext.h"
#include "migrate/plan.h"

static const char *const kinds[] = {
    [PLAN_TRANSACTION] = "transaction", [PLAN_OUTSIDE] = "outside", [PLAN_INDEX] = "index",
    [PLAN_INDEX_DROP] = "index_drop",   [PLAN_BATCHES] = "batches",
};
static const char *const retries[] = {
    [PLAN_RETRY_SHORT] = "short",
    [PLAN_RETRY_LONG] = "long",
    [PLAN_RETRY_WATCH] = "watch",
};

/* ---- writing ---- */

static void add_name(struct banyan_buf *ret, const char *name)
{
    banyan_buf_printf(ret, "%s\"%s\":", ret->data[ret->size - 1] == '{' ? "" : ",", name);
}

static void add_str(struct banyan_buf *ret, const char *name, struct banyan_str text)
{
    add_name(ret, name);
    banyan_buf_add_json(ret, text.data == NULL ? BANYAN_STR("") : text);
}

static void add_bool(struct banyan_buf *ret, const char *name, bool value)
{
    add_name(ret, name);
    banyan_buf_add_text(ret, value ? "true" : "false");
}

static void add_int(struct banyan_buf *ret, const char *name, int64_t value)
{
    add_name(ret, name);
    banyan_buf_printf(ret, "%" PRId64, value);
}

static void add_list(struct banyan_buf *ret, const char *name, const struct banyan_str *texts, size_t count)
{
    add_name(ret, name);
    banyan_buf_add_char(ret, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            banyan_buf_add_char(ret, ',');
        banyan_buf_add_json(ret, texts[i]);
    }
    banyan_buf_add_char(ret, ']');
}

static void add_action(struct banyan_buf *ret, const struct plan_action *action)
{
    banyan_buf_add_char(ret, '{');
    add_str(ret, "kind", banyan_str_of(kinds[action->kind]));
    add_str(ret, "retry", banyan_str_of(retries[action->retry]));
    add_list(ret, "statements", action->statements, action->statement_count);
    add_str(ret, "index", action->index);
    add_str(ret, "done", action->done);
    add_name(ret, "batches");
    banyan_buf_add_char(ret, '{');
    add_str(ret, "table", action->batches.table);
    add_str(ret, "set", action->batches.set);
    add_str(ret, "needs", action->batches.needs);
    add_str(ret, "keep", action->batches.keep);
    banyan_buf_add_text(ret, "}}");
}

static void add_locks(struct banyan_buf *ret, const struct plan_step *step)
{
    size_t held = step->lock_count < PLAN_LOCKS_MAX ? step->lock_count : PLAN_LOCKS_MAX;

    add_int(ret, "lock_count", (int64_t)step->lock_count);
    add_name(ret, "locks");
    banyan_buf_add_char(ret, '[');
    for (size_t i = 0; i < held; i++) {
        banyan_buf_add_text(ret, i > 0 ? ",{" : "{");
        add_str(ret, "relation", step->locks[i].relation);
        add_str(ret, "lock", banyan_str_of(effect_lock_name(step->locks[i].lock)));
        banyan_buf_add_char(ret, '}');
    }
    banyan_buf_add_char(ret, ']');
}

static void add_step(struct banyan_buf *ret, const struct plan_step *step)
{
    banyan_buf_add_char(ret, '{');
    add_str(ret, "phase", banyan_str_of(plan_phase_name(step->phase)));
    add_str(ret, "name", banyan_str_of(step->name));
    add_str(ret, "title", step->title);
    add_int(ret, "of", (int64_t)step->of);
    add_name(ret, "act");
    add_action(ret, &step->act);
    add_name(ret, "undo");
    banyan_buf_add_char(ret, '[');
    for (size_t i = 0; i < step->undo_count; i++) {
        if (i > 0)
            banyan_buf_add_char(ret, ',');
        add_action(ret, &step->undo[i]);
    }
    banyan_buf_add_char(ret, ']');
    add_bool(ret, "final", step->final);
    add_bool(ret, "as_written", step->as_written);
    add_str(ret, "old_code", step->old_code);
    add_str(ret, "new_code", step->new_code);
    add_locks(ret, step);
    add_int(ret, "work_us", step->work_us);
    add_int(ret, "disk_bytes", step->disk_bytes);
    add_int(ret, "wal_bytes", step->wal_bytes);
    banyan_buf_add_char(ret, '}');
}

static void add_check(struct banyan_buf *ret, const struct plan_check *check)
{
    banyan_buf_add_char(ret, '{');
    add_str(ret, "phase", banyan_str_of(plan_phase_name(check->phase)));
    add_bool(ret, "late", check->late);
    add_str(ret, "sql", check->sql);
    add_str(ret, "message", check->message);
    add_str(ret, "hint", check->hint);
    banyan_buf_add_char(ret, '}');
}

void plan_json(const struct plan *plan, struct banyan_buf *ret)
{
    banyan_buf_add_char(ret, '{');
    if (ret->size == 0) /* no room at all */
        return;
    add_int(ret, "format", PLAN_FORMAT);
    add_bool(ret, "needs_allow", plan->needs_allow);
    add_list(ret, "tables", plan->tables, plan->table_count);
    add_name(ret, "checks");
    banyan_buf_add_char(ret, '[');
    for (size_t i = 0; i < plan->check_count; i++) {
        if (i > 0)
            banyan_buf_add_char(ret, ',');
        add_check(ret, &plan->checks[i]);
    }
    banyan_buf_add_char(ret, ']');
    add_name(ret, "steps");
    banyan_buf_add_char(ret, '[');
    for (size_t i = 0; i < plan->step_count; i++) {
        banyan_buf_add_text(ret, i > 0 ? ",\n" : "\n");
        add_step(ret, &plan->steps[i]);
    }
    banyan_buf_add_char(ret, ']');
    add_list(ret, "refusals", plan->refusals, plan->refusal_count);
    add_list(ret, "notes", plan->notes, plan->note_count);
    banyan_buf_add_text(ret, "}\n");
}

/* ---- reading ---- */

/* Where reading is; a path for people is made of it when something is wrong. */
struct place {
    const struct place *outer;
    const char *name;
    size_t index; /* of an element; its *name* is NULL */
};
struct reading {
    struct banyan_arena *arena;
    struct banyan_error *err;
    bool failed;
};

static void add_place(struct banyan_buf *path, const struct place *place)
{
    if (place->outer != NULL)
        add_place(path, place->outer);
    if (place->name != NULL)
        banyan_buf_printf(path, "%s%s", path->size > 0 ? "." : "", place->name);
    else
        banyan_buf_printf(path, "[%zu]", place->index);
}

static void wrong(struct reading *all, const struct place *place, const char *what)
{
    struct banyan_buf path = BANYAN_BUF_INIT(256);

    if (!all->failed) {
        add_place(&path, place);
        (void)banyan_error_set(all->err, BANYAN_CORRUPT, "the plan cannot be read: %s: %s",
                               path.data == NULL ? "" : path.data, what); /* told by *failed* */
        banyan_error_hint(all->err, "it was changed by somebody else, or written by another version of banyan");
    }
    all->failed = true;
    banyan_buf_release(&path);
}

static const struct banyan_json *member(struct reading *all, const struct banyan_json *object, struct place place,
                                        enum banyan_json_kind kind)
{
    const struct banyan_json *value = banyan_json_member(object, place.name);

    if (all->failed)
        return NULL;
    if (value == NULL)
        wrong(all, &place, "is missing");
    else if (value->kind != kind)
        wrong(all, &place, "is of another kind");
    return all->failed ? NULL : value;
}

/* An object with just *count* members: those that are asked for. */
static bool is_object(struct reading *all, const struct banyan_json *value, const struct place *place, uint32_t count)
{
    if (!all->failed && (value == NULL || value->kind != BANYAN_JSON_OBJECT))
        wrong(all, place, "is no object");
    else if (!all->failed && value->count != count)
        wrong(all, place, "has members that are not known, or not all that it needs");
    return !all->failed;
}

static struct banyan_str read_str(struct reading *all, const struct banyan_json *object, const struct place *outer,
                                  const char *name)
{
    const struct banyan_json *value =
        member(all, object, (struct place){.outer = outer, .name = name}, BANYAN_JSON_STRING);

    return value == NULL ? BANYAN_STR("") : banyan_arena_str(all->arena, value->text);
}

static bool read_bool(struct reading *all, const struct banyan_json *object, const struct place *outer,
                      const char *name)
{
    const struct banyan_json *value = banyan_json_member(object, name);
    struct place place = {.outer = outer, .name = name};

    if (!all->failed && (value == NULL || (value->kind != BANYAN_JSON_TRUE && value->kind != BANYAN_JSON_FALSE)))
        wrong(all, &place, "is not true or false");
    return !all->failed && value->kind == BANYAN_JSON_TRUE;
}

static int64_t read_int(struct reading *all, const struct banyan_json *object, const struct place *outer,
                        const char *name, int64_t least)
{
    struct place place = {.outer = outer, .name = name};
    const struct banyan_json *value = member(all, object, place, BANYAN_JSON_NUMBER);
    int64_t number = 0;

    if (value != NULL && (!banyan_json_int(value, &number) || number < least))
        wrong(all, &place, "is no number, or out of range");
    return all->failed ? 0 : number;
}

/* One of *names*, from 1. */
static unsigned read_one_of(struct reading *all, const struct banyan_json *object, const struct place *outer,
                            const char *name, const char *const *names, size_t count)
{
    struct place place = {.outer = outer, .name = name};
    struct banyan_str text = read_str(all, object, outer, name);

    for (unsigned i = 1; i < count && !all->failed; i++)
        if (banyan_str_equal(text, banyan_str_of(names[i])))
            return i;
    wrong(all, &place, "is a word that is not known");
    return 1;
}

static enum plan_phase read_phase(struct reading *all, const struct banyan_json *object, const struct place *outer)
{
    const char *names[PLAN_CLEANUP + 1] = {""};

    for (enum plan_phase phase = PLAN_EXPAND; phase <= PLAN_CLEANUP; phase++)
        names[phase] = plan_phase_name(phase);
    return (enum plan_phase)read_one_of(all, object, outer, "phase", names, PLAN_CLEANUP + 1);
}

/* The elements of an array; *ret_first* NULL: it has none. */
static size_t read_array(struct reading *all, const struct banyan_json *object, struct place place,
                         const struct banyan_json **ret_first)
{
    const struct banyan_json *value = member(all, object, place, BANYAN_JSON_ARRAY);

    *ret_first = value == NULL ? NULL : value->first;
    return value == NULL ? 0 : value->count;
}

static struct banyan_str *read_list(struct reading *all, const struct banyan_json *object, const struct place *outer,
                                    const char *name, size_t *ret_count)
{
    struct place place = {.outer = outer, .name = name};
    const struct banyan_json *value = NULL;
    size_t count = read_array(all, object, place, &value);
    struct banyan_str *texts = banyan_arena_zalloc(all->arena, (count + 1) * sizeof(*texts));

    for (size_t i = 0; i < count && !all->failed; i++, value = value->next) {
        struct place at = {.outer = &place, .index = i};

        if (value->kind != BANYAN_JSON_STRING)
            wrong(all, &at, "is no text");
        else
            texts[i] = banyan_arena_str(all->arena, value->text);
    }
    *ret_count = count;
    return texts;
}

static void read_action(struct reading *all, const struct banyan_json *value, const struct place *place,
                        struct plan_action *ret)
{
    struct place inner = {.outer = place, .name = "batches"};
    const struct banyan_json *batches;

    if (!is_object(all, value, place, 6))
        return;
    ret->kind = (enum plan_kind)read_one_of(all, value, place, "kind", kinds, sizeof(kinds) / sizeof(kinds[0]));
    ret->retry =
        (enum plan_retry)read_one_of(all, value, place, "retry", retries, sizeof(retries) / sizeof(retries[0]));
    ret->statements = read_list(all, value, place, "statements", &ret->statement_count);
    ret->index = read_str(all, value, place, "index");
    ret->done = read_str(all, value, place, "done");
    batches = banyan_json_member(value, "batches");
    if (!is_object(all, batches, &inner, 4))
        return;
    ret->batches.table = read_str(all, batches, &inner, "table");
    ret->batches.set = read_str(all, batches, &inner, "set");
    ret->batches.needs = read_str(all, batches, &inner, "needs");
    ret->batches.keep = read_str(all, batches, &inner, "keep");
}

static void read_locks(struct reading *all, const struct banyan_json *object, const struct place *outer,
                       struct plan_step *ret)
{
    const char *names[EFFECT_ACCESS_EXCLUSIVE + 1] = {""};
    struct place place = {.outer = outer, .name = "locks"};
    const struct banyan_json *value = NULL;
    size_t held = read_array(all, object, place, &value);

    for (enum effect_lock lock = EFFECT_ACCESS_SHARE; lock <= EFFECT_ACCESS_EXCLUSIVE; lock++)
        names[lock] = effect_lock_name(lock);
    ret->lock_count = (size_t)read_int(all, object, outer, "lock_count", 0);
    if (!all->failed && held != (ret->lock_count < PLAN_LOCKS_MAX ? ret->lock_count : PLAN_LOCKS_MAX))
        wrong(all, &place, "are not as many as lock_count says");
    for (size_t i = 0; i < held && !all->failed; i++, value = value->next) {
        struct place at = {.outer = &place, .index = i};

        if (!is_object(all, value, &at, 2))
            return;
        ret->locks[i].relation = read_str(all, value, &at, "relation");
        ret->locks[i].lock = (enum effect_lock)read_one_of(all, value, &at, "lock", names, EFFECT_ACCESS_EXCLUSIVE + 1);
    }
}

static void read_step(struct reading *all, const struct banyan_json *value, const struct place *place,
                      struct plan_step *ret)
{
    struct place act = {.outer = place, .name = "act"}, undo = {.outer = place, .name = "undo"};
    const struct banyan_json *action = NULL;

    if (!is_object(all, value, place, 15))
        return;
    ret->phase = read_phase(all, value, place);
    ret->name = read_str(all, value, place, "name").data;
    ret->title = read_str(all, value, place, "title");
    ret->of = (size_t)read_int(all, value, place, "of", 0);
    read_action(all, banyan_json_member(value, "act"), &act, &ret->act);
    ret->undo_count = read_array(all, value, undo, &action);
    ret->undo = banyan_arena_zalloc(all->arena, (ret->undo_count + 1) * sizeof(*ret->undo));
    for (size_t i = 0; i < ret->undo_count && !all->failed; i++, action = action->next) {
        struct place at = {.outer = &undo, .index = i};

        read_action(all, action, &at, &ret->undo[i]);
    }
    ret->final = read_bool(all, value, place, "final");
    ret->as_written = read_bool(all, value, place, "as_written");
    ret->old_code = read_str(all, value, place, "old_code");
    ret->new_code = read_str(all, value, place, "new_code");
    read_locks(all, value, place, ret);
    ret->work_us = read_int(all, value, place, "work_us", CATALOG_UNKNOWN);
    ret->disk_bytes = read_int(all, value, place, "disk_bytes", CATALOG_UNKNOWN);
    ret->wal_bytes = read_int(all, value, place, "wal_bytes", CATALOG_UNKNOWN);
}

static void read_steps(struct reading *all, const struct banyan_json *object, struct plan *ret)
{
    struct place place = {.name = "steps"};
    const struct banyan_json *value = NULL;

    ret->step_count = read_array(all, object, place, &value);
    ret->steps = banyan_arena_zalloc(all->arena, (ret->step_count + 1) * sizeof(*ret->steps));
    for (size_t i = 0; i < ret->step_count && !all->failed; i++, value = value->next) {
        struct place at = {.outer = &place, .index = i};

        read_step(all, value, &at, &ret->steps[i]);
        if (!all->failed && i > 0 && ret->steps[i].phase < ret->steps[i - 1].phase)
            wrong(all, &at, "is of an earlier phase than the one before it");
    }
}

static void read_checks(struct reading *all, const struct banyan_json *object, struct plan *ret)
{
    struct place place = {.name = "checks"};
    const struct banyan_json *value = NULL;

    ret->check_count = read_array(all, object, place, &value);
    ret->checks = banyan_arena_zalloc(all->arena, (ret->check_count + 1) * sizeof(*ret->checks));
    for (size_t i = 0; i < ret->check_count && !all->failed; i++, value = value->next) {
        struct place at = {.outer = &place, .index = i};
        struct plan_check *check = &ret->checks[i];

        if (!is_object(all, value, &at, 5))
            return;
        check->phase = read_phase(all, value, &at);
        check->late = read_bool(all, value, &at, "late");
        check->sql = read_str(all, value, &at, "sql");
        check->message = read_str(all, value, &at, "message");
        check->hint = read_str(all, value, &at, "hint");
    }
}

/* What is no JSON at all: where it stops to be. */
static void not_json(struct reading *all, struct banyan_str text)
{
    struct jtext_input in = jtext_input(text);
    struct banyan_str raw;
    unsigned line = 0, column = 0;

    if (jtext_skip(&in, &raw) && jtext_end(&in))
        in.fault = "a name comes twice, or a text has half a character";
    jtext_place(&in, &line, &column);
    (void)banyan_error_set(all->err, BANYAN_CORRUPT, "the plan cannot be read: line %u, column %u: %s", line, column,
                           in.fault == NULL ? "there is more behind its end" : in.fault); /* told by *failed* */
    all->failed = true;
}

enum banyan_status plan_read(struct banyan_str json, struct banyan_arena *arena, struct plan *ret,
                             struct banyan_error *err)
{
    struct reading all = {.arena = arena, .err = err};
    struct plan plan = {.step_count = 0};
    struct place top = {.name = "plan"};
    struct banyan_json tree;

    if (!banyan_json_parse(json, arena, &tree)) {
        not_json(&all, json);
    } else if (is_object(&all, &tree, &top, 7)) {
        struct place format = {.name = "format"};

        if (read_int(&all, &tree, NULL, "format", 0) != PLAN_FORMAT)
            wrong(&all, &format, "is of another version of banyan");
        plan.needs_allow = read_bool(&all, &tree, NULL, "needs_allow");
        plan.tables = read_list(&all, &tree, NULL, "tables", &plan.table_count);
        read_checks(&all, &tree, &plan);
        read_steps(&all, &tree, &plan);
        plan.refusals = read_list(&all, &tree, NULL, "refusals", &plan.refusal_count);
        plan.notes = read_list(&all, &tree, NULL, "notes", &plan.note_count);
    }
    if (all.failed)
        return BANYAN_CORRUPT;
    *ret = plan;
    return BANYAN_OK;
}
