/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary of the writer → binary of the reader.
 *
 * What is the same on both sides is checked and copied in one piece.  That keeps the one form only if the input has it;
 * so when the first pass meets another spelling, all is done again, value by value, and each is written in its one
 * form.  Both passes give one form; the second is the rare one.
 */
#include "schema/avro_plan.h"
#include "schema/avro_value.h"

struct resolver {
    struct avro_walk walk;
    struct avro_out out;
    const struct avro_plan *plan;
    bool rewrite; /* the second pass: copy nothing in one piece */
};

static bool resolve(struct resolver *r, uint32_t op_number, unsigned depth);

static bool overflow(struct resolver *r)
{
    return avro_walk_overflow(&r->walk);
}

static bool copy(struct resolver *r, const struct avro_type *type, unsigned depth)
{
    const unsigned char *from = r->walk.in.at;
    if (!avro_step_over(&r->walk, type, depth))
        return false;
    return avro_out_add(&r->out, from, (size_t)(r->walk.in.at - from)) || overflow(r);
}

static bool resolve_scalar(struct resolver *r, const struct avro_op *op)
{
    struct avro_scalar value;
    if (!avro_read_scalar(&r->walk, op->writer, &value) ||
        (op->converts && !avro_convert_scalar(&r->walk, op->writer, op->reader, &value)))
        return false;
    return avro_put_scalar(&r->out, op->reader, &value) || overflow(r);
}

static bool resolve_enum(struct resolver *r, const struct avro_op *op)
{
    struct avro_scalar value;
    return avro_read_scalar(&r->walk, op->writer, &value) &&
           (avro_out_long(&r->out, r->plan->numbers[op->first + (size_t)value.integer]) || overflow(r));
}

/* Arrays and maps: one block, whose number of items is known at its end when the writer had several. */
static bool resolve_items(struct resolver *r, const struct avro_op *op, unsigned depth)
{
    struct avro_blocks blocks;
    struct avro_span count = {avro_out_size(&r->out), 0};
    struct banyan_str key;
    bool map = op->kind == AVRO_OP_MAP;
    avro_blocks_open(&r->walk, &blocks);
    while (avro_blocks_more(&r->walk, &blocks)) {
        if (blocks.index == 1) {
            if (!avro_out_long(&r->out, (int64_t)(blocks.left + 1)))
                return overflow(r);
            count.size = avro_out_size(&r->out) - count.at;
        }
        if (map && !avro_blocks_key(&r->walk, &blocks, &key))
            return false;
        if (map && !(avro_out_long(&r->out, (int64_t)key.size) && avro_out_str(&r->out, key)))
            return overflow(r);
        if (!resolve(r, op->first, depth))
            return map ? avro_fault_in_key(&r->walk.fault, key) : avro_fault_in_item(&r->walk.fault, blocks.index - 1);
    }
    if (!avro_blocks_close(&r->walk, &blocks))
        return false;
    if (blocks.several && !avro_out_patch_long(&r->out, count, (int64_t)blocks.index))
        return overflow(r);
    return avro_out_char(&r->out, 0) || overflow(r);
}

static bool resolve_record(struct resolver *r, const struct avro_op *op, unsigned depth)
{
    size_t marks;
    if (!avro_marks_open(&r->walk, op->marks, &marks))
        return false;
    for (uint32_t i = 0; i < op->count; i++) {
        const struct avro_step *step = &r->plan->steps[op->first + i];
        bool ok = true;
        switch (step->kind) {
        case AVRO_STEP_VALUE:
            ok = resolve(r, step->op, depth);
            break;
        case AVRO_STEP_DEFAULT:
            ok = avro_charge_default(&r->walk, step->field->default_binary.size) &&
                 (avro_out_str(&r->out, step->field->default_binary) || overflow(r));
            break;
        default:
            ok = avro_marks_step(&r->walk, step, marks, depth);
            break;
        }
        if (!ok)
            return avro_fault_in_field(&r->walk.fault, step->field->name);
    }
    avro_marks_close(&r->walk, op->marks);
    return true;
}

static bool resolve(struct resolver *r, uint32_t op_number, unsigned depth)
{
    const struct avro_op *op = &r->plan->ops[op_number];
    size_t branch;
    if (op->same && !r->rewrite)
        return copy(r, op->writer, depth);
    if (!avro_enter(&r->walk, depth))
        return false;
    switch (op->kind) {
    case AVRO_OP_SCALAR:
        return resolve_scalar(r, op);
    case AVRO_OP_ENUM:
        return resolve_enum(r, op);
    case AVRO_OP_ARRAY:
    case AVRO_OP_MAP:
        return resolve_items(r, op, depth - 1);
    case AVRO_OP_RECORD:
        return resolve_record(r, op, depth - 1);
    case AVRO_OP_SELECT:
        return avro_read_branch(&r->walk, op->count, &branch) &&
               resolve(r, r->plan->numbers[op->first + branch], depth - 1);
    case AVRO_OP_WRAP:
        return (avro_out_long(&r->out, op->branch) || overflow(r)) && resolve(r, op->first, depth);
    case AVRO_OP_NONE:
        break;
    }
    return avro_accept(&r->walk, "the plan has a hole");
}

static bool resolve_whole(struct resolver *r)
{
    if (!resolve(r, 0, AVRO_VALUE_DEPTH_MAX))
        return false;
    return r->walk.in.at == r->walk.in.end || avro_accept(&r->walk, "bytes follow the value");
}

enum banyan_status avro_resolve(const struct avro_plan *plan, struct banyan_str binary, struct banyan_buf *ret,
                                struct banyan_error *err)
{
    struct resolver r = {.plan = plan};
    const size_t before = ret->size;
    avro_walk_open(&r.walk, binary);
    avro_out_open(&r.out, ret);
    bool ok = resolve_whole(&r);
    if (ok && r.walk.in.irregular != NULL) {
        struct avro_spans spans = r.walk.spans;
        avro_walk_open(&r.walk, binary);
        r.walk.spans = (struct avro_spans){spans.list, 0, spans.capacity};
        avro_out_close(&r.out, before);
        avro_out_open(&r.out, ret);
        r.rewrite = true;
        ok = resolve_whole(&r);
    }
    avro_out_close(&r.out, ok ? SIZE_MAX : before);
    enum banyan_status st = ok ? BANYAN_OK : avro_walk_error(&r.walk, err);
    avro_walk_release(&r.walk);
    return st;
}
