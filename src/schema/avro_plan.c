/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Comparing writer and reader, into a plan (avro_plan.h).
 *
 * Each pair of types that can meet becomes one operation; pairs wait in the list of operations itself, so that no
 * schema, however it refers to itself, makes this recursive.  What matches what is avro_match.c's to say, and whether a
 * plan exists at all is avro_can_read()'s: both answers are the same by construction.
 */
#include "schema/avro_plan.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/hash.h"

struct compiler {
    struct avro_plan *plan;
    const struct avro_schema *reader_schema;
    struct hash pairs; /* → number of the operation + 1 */
    size_t op_capacity, step_capacity, number_capacity;
    bool full; /* sticky: a limit was passed */
    struct banyan_error *err;
};

/* ---- the growing lists ---- */

/* Room for *count* more of *size* bytes; false (and sticky) beyond *max*. */
static bool reserve(struct compiler *c, void **list, size_t used, size_t *capacity, size_t count, size_t size,
                    size_t max)
{
    if (c->full || used + count > max) {
        c->full = true;
        return false;
    }
    if (used + count > *capacity) {
        *capacity = (used + count) * 2;
        *list = alloc_resized(*list, *capacity, size);
    }
    return true;
}

static struct avro_op *add_op(struct compiler *c)
{
    struct avro_plan *plan = c->plan;
    void *list = plan->ops;
    if (!reserve(c, &list, plan->op_count, &c->op_capacity, 1, sizeof(*plan->ops), AVRO_OPS_MAX))
        return NULL;
    plan->ops = list;
    plan->ops[plan->op_count] = (struct avro_op){.kind = AVRO_OP_NONE};
    return &plan->ops[plan->op_count++];
}

static void add_step(struct compiler *c, struct avro_step step)
{
    struct avro_plan *plan = c->plan;
    void *list = plan->steps;
    if (!reserve(c, &list, plan->step_count, &c->step_capacity, 1, sizeof(step), AVRO_PARTS_MAX))
        return;
    plan->steps = list;
    plan->steps[plan->step_count++] = step;
}

/* *count* numbers, zero; where the first is. */
static uint32_t add_numbers(struct compiler *c, size_t count)
{
    struct avro_plan *plan = c->plan;
    void *list = plan->numbers;
    if (!reserve(c, &list, plan->number_count, &c->number_capacity, count, sizeof(uint32_t), AVRO_PARTS_MAX))
        return 0;
    plan->numbers = list;
    if (count > 0)
        memset(plan->numbers + plan->number_count, 0, count * sizeof(uint32_t));
    plan->number_count += count;
    return (uint32_t)(plan->number_count - count);
}

/* The operation of a pair, new or known.  *own*: the writer's type is one of the reader's schema (its defaults). */
static uint32_t op_of(struct compiler *c, const struct avro_type *writer, const struct avro_type *reader, bool own)
{
    int64_t key = (int64_t)own << 48 | (int64_t)writer->index << 24 | (int64_t)reader->index;
    uintptr_t known = (uintptr_t)hash_get(&c->pairs, key);
    if (known != 0)
        return (uint32_t)(known - 1);
    struct avro_op *op = add_op(c);
    if (op == NULL)
        return 0;
    op->writer = writer;
    op->reader = reader;
    op->own = own;
    (void)hash_put(&c->pairs, key, (void *)(uintptr_t)c->plan->op_count); /* nothing was there */
    return (uint32_t)(c->plan->op_count - 1);
}

/* ---- pairs ---- */

static void fill_scalar(struct avro_op *op)
{
    const struct avro_type *writer = op->writer, *reader = op->reader;
    op->kind = AVRO_OP_SCALAR;
    op->converts =
        writer->kind != reader->kind || (writer->logical != reader->logical && reader->logical != AVRO_PLAIN);
    op->same = !op->converts;
}

static bool fill_enum(struct compiler *c, struct avro_op *op)
{
    const struct avro_type *writer = op->writer, *reader = op->reader;
    op->kind = AVRO_OP_ENUM;
    op->first = add_numbers(c, writer->symbol_count);
    op->same = true;
    for (size_t i = 0; i < writer->symbol_count && !c->full; i++) {
        int32_t found = avro_find_symbol(reader, writer->symbols[i]);
        if (found < 0)
            found = reader->default_symbol;
        if (found < 0)
            return false;
        c->plan->numbers[op->first + i] = (uint32_t)found;
        op->same = op->same && (size_t)found == i;
    }
    return true;
}

static struct banyan_str key_of(struct compiler *c, const struct avro_field *field)
{
    return banyan_arena_printf(&c->plan->arena, ",\"%.*s\":", (int)field->name.size, field->name.data);
}

/* The steps of a record; *sources* has the writer's field of each of the reader's, -1 for its default. */
static void add_steps(struct compiler *c, struct avro_op *op, const int32_t *sources, bool in_order)
{
    const struct avro_type *writer = op->writer, *reader = op->reader;
    size_t next = 0; /* of the writer's fields */
    for (; !in_order && next < writer->field_count; next++)
        add_step(c, (struct avro_step){.kind = AVRO_STEP_MARK, .mark = (uint32_t)next, .field = &writer->fields[next]});
    if (!in_order)
        add_step(c, (struct avro_step){.kind = AVRO_STEP_MARK, .mark = (uint32_t)next});
    for (size_t i = 0; i < reader->field_count && !c->full; i++) {
        const struct avro_field *field = &reader->fields[i];
        if (sources[i] < 0) {
            uint32_t op_number = op_of(c, field->type, field->type, true);
            add_step(c, (struct avro_step){AVRO_STEP_DEFAULT, op_number, 0, field, key_of(c, field)});
            continue;
        }
        size_t source = (size_t)sources[i];
        for (; in_order && next < source; next++)
            add_step(c, (struct avro_step){.kind = AVRO_STEP_SKIP, .field = &writer->fields[next]});
        if (in_order)
            next++;
        else
            add_step(c, (struct avro_step){.kind = AVRO_STEP_GO, .mark = (uint32_t)source});
        uint32_t op_number = op_of(c, writer->fields[source].type, field->type, op->own);
        add_step(c, (struct avro_step){AVRO_STEP_VALUE, op_number, 0, field, key_of(c, field)});
    }
    for (; in_order && next < writer->field_count; next++)
        add_step(c, (struct avro_step){.kind = AVRO_STEP_SKIP, .field = &writer->fields[next]});
    if (!in_order)
        add_step(c, (struct avro_step){.kind = AVRO_STEP_GO, .mark = (uint32_t)writer->field_count});
}

static bool fill_record(struct compiler *c, struct avro_op *op)
{
    const struct avro_type *writer = op->writer, *reader = op->reader;
    int32_t *sources = alloc_zeroed(reader->field_count + 1, sizeof(*sources));
    int32_t last = -1;
    bool in_order = true, whole = true;
    op->kind = AVRO_OP_RECORD;
    op->same = writer->field_count == reader->field_count;
    for (size_t i = 0; i < reader->field_count; i++) {
        sources[i] = avro_find_source(&reader->fields[i], writer);
        whole = whole && (sources[i] >= 0 || reader->fields[i].has_default);
        op->same = op->same && sources[i] == (int32_t)i;
        if (sources[i] < 0)
            continue;
        in_order = in_order && sources[i] > last;
        last = sources[i];
    }
    op->marks = in_order ? 0 : (uint32_t)writer->field_count + 1;
    op->first = (uint32_t)c->plan->step_count;
    if (whole)
        add_steps(c, op, sources, in_order);
    op->count = (uint32_t)(c->plan->step_count - op->first);
    free(sources);
    return whole;
}

static void fill_select(struct compiler *c, struct avro_op *op)
{
    const struct avro_type *writer = op->writer, *reader = op->reader;
    op->kind = AVRO_OP_SELECT;
    op->first = add_numbers(c, writer->branch_count);
    op->count = (uint32_t)writer->branch_count;
    op->same = reader->kind == AVRO_UNION && reader->branch_count == writer->branch_count;
    for (size_t i = 0; i < writer->branch_count && !c->full; i++)
        c->plan->numbers[op->first + i] = op_of(c, writer->branches[i], reader, op->own);
}

static bool fill_wrap(struct compiler *c, struct avro_op *op)
{
    int32_t branch = avro_find_branch(op->reader, op->writer);
    if (branch < 0)
        return false;
    const struct avro_type *type = op->reader->branches[branch];
    op->kind = AVRO_OP_WRAP;
    op->branch = (uint32_t)branch;
    op->bare = avro_union_is_bare(op->reader) || type->kind == AVRO_NULL;
    op->key = op->bare ? BANYAN_STR("") : avro_branch_key(&c->plan->arena, type);
    op->first = op_of(c, op->writer, type, op->own);
    return true;
}

/* Work out a copy of the operation: the list may move meanwhile.  False when the two do not go together. */
static bool fill(struct compiler *c, struct avro_op *op)
{
    const struct avro_type *writer = op->writer, *reader = op->reader;
    const char *reason;
    if (writer->kind == AVRO_UNION) {
        fill_select(c, op);
        return true;
    }
    if (reader->kind == AVRO_UNION)
        return fill_wrap(c, op);
    if (!avro_matches(reader, writer, &reason))
        return false;
    switch (reader->kind) {
    case AVRO_RECORD:
        return fill_record(c, op);
    case AVRO_ENUM:
        return fill_enum(c, op);
    case AVRO_ARRAY:
    case AVRO_MAP:
        op->kind = reader->kind == AVRO_MAP ? AVRO_OP_MAP : AVRO_OP_ARRAY;
        op->first = op_of(c, writer->items, reader->items, op->own);
        op->same = true;
        return true;
    default:
        fill_scalar(op);
        return true;
    }
}

/* ---- what is the same on both sides ---- */

/* Is it still the same, its parts looked at? */
static bool parts_are_same(const struct avro_plan *plan, const struct avro_op *op)
{
    if (op->kind == AVRO_OP_ARRAY || op->kind == AVRO_OP_MAP)
        return plan->ops[op->first].same;
    for (uint32_t i = 0; op->kind == AVRO_OP_RECORD && i < op->count; i++) {
        const struct avro_step *step = &plan->steps[op->first + i];
        if (step->kind != AVRO_STEP_VALUE || !plan->ops[step->op].same)
            return false;
    }
    for (uint32_t i = 0; op->kind == AVRO_OP_SELECT && i < op->count; i++) {
        const struct avro_op *wrap = &plan->ops[plan->numbers[op->first + i]];
        if (wrap->kind != AVRO_OP_WRAP || wrap->branch != i || !plan->ops[wrap->first].same)
            return false;
    }
    return true;
}

/* Everything that may be the same counts as such until a part of it does not: recursive types need that. */
static void settle_same(struct avro_plan *plan)
{
    for (bool changed = true; changed;) {
        changed = false;
        /* Parts mostly come behind what they are parts of. */
        for (size_t i = plan->op_count; i > 0; i--) {
            struct avro_op *op = &plan->ops[i - 1];
            if (op->same && !parts_are_same(plan, op)) {
                op->same = false;
                changed = true;
            }
        }
    }
}

/* ---- entry points ---- */

struct banyan_str avro_branch_name(const struct avro_type *branch)
{
    return avro_is_named(branch) ? branch->name : banyan_str_of(avro_kind_name(branch->kind));
}

struct banyan_str avro_branch_key(struct banyan_arena *arena, const struct avro_type *branch)
{
    struct banyan_str name = avro_branch_name(branch);
    return banyan_arena_printf(arena, "{\"%.*s\":", (int)name.size, name.data);
}

bool avro_union_is_bare(const struct avro_type *type)
{
    size_t values = type->branch_count;
    for (size_t i = 0; i < type->branch_count; i++)
        values -= type->branches[i]->kind == AVRO_NULL;
    return values <= 1;
}

static enum banyan_status compile(struct compiler *c, const struct avro_schema *writer)
{
    struct avro_plan *plan = c->plan;
    (void)op_of(c, writer->root, c->reader_schema->root, writer == c->reader_schema); /* number 0 */
    for (size_t i = 0; i < plan->op_count && !c->full; i++) {
        struct avro_op op = plan->ops[i];
        if (!fill(c, &op))
            return banyan_error_set(c->err, BANYAN_CONFLICT, "the reader's %s cannot take what the writer's %s holds",
                                    avro_kind_name(op.reader->kind), avro_kind_name(op.writer->kind));
        plan->ops[i] = op;
    }
    if (c->full)
        return banyan_error_set(c->err, BANYAN_LIMIT, "the two schemas are too large to be compared");
    settle_same(plan);
    return BANYAN_OK;
}

enum banyan_status avro_plan(const struct avro_schema *writer, const struct avro_schema *reader, struct avro_plan **ret,
                             struct banyan_error *err)
{
    enum banyan_status st = writer == reader ? BANYAN_OK : avro_can_read(reader, writer, err);
    if (st != BANYAN_OK)
        return st;
    struct avro_plan *plan = alloc_zeroed(1, sizeof(*plan));
    struct compiler c = {.plan = plan, .reader_schema = reader, .err = err};
    st = compile(&c, writer);
    hash_release(&c.pairs);
    if (st == BANYAN_OK)
        *ret = plan;
    else
        avro_plan_free(plan);
    return st;
}

void avro_plan_free(struct avro_plan *plan)
{
    if (plan == NULL)
        return;
    banyan_arena_release(&plan->arena);
    free(plan->ops);
    free(plan->steps);
    free(plan->numbers);
    free(plan);
}
