/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Binary of the writer → JSON of the reader (docs/FORMATS.md), straight from the bytes.
 *
 * Whatever the bytes are, what is written is JSON, and avro_from_json() makes the same value of it, but for strings
 * that are not UTF-8.
 */
#include <math.h>

#include "banyan/decimal.h"
#include "base/base64.h"
#include "base/utf8.h"
#include "schema/avro_plan.h"
#include "schema/avro_value.h"
#include "schema/float_text.h"
#include "schema/time_text.h"

struct printer {
    struct avro_walk walk;
    struct avro_out out;
    const struct avro_plan *plan;
};

static bool print(struct printer *p, uint32_t op_number, unsigned depth);

static bool overflow(struct printer *p)
{
    return avro_walk_overflow(&p->walk);
}

/* ---- scalars; each answers false when it does not fit ---- */

static bool put_string(struct avro_out *out, struct banyan_str text)
{
    const unsigned char *data = (const unsigned char *)text.data;
    /* The usual text is copied as it is. */
    if (text.size + 2 <= (size_t)(out->end - out->at) && utf8_json_run(data, text.size) == text.size) {
        *out->at++ = '"';
        if (text.size > 0)
            memcpy(out->at, data, text.size);
        out->at += text.size;
        *out->at++ = '"';
        return true;
    }
    avro_out_close(out, SIZE_MAX);
    banyan_buf_add_json(out->buf, text);
    avro_out_open(out, out->buf);
    return !out->buf->overflow;
}

static bool put_integer(struct avro_out *out, int64_t value)
{
    char text[24];
    char *end = text;
    if (value < 0)
        *end++ = '-';
    end = time_put_digits(end, value < 0 ? -(uint64_t)value : (uint64_t)value, 1);
    return avro_out_add(out, text, (size_t)(end - text));
}

static bool put_floating(struct avro_out *out, const struct avro_type *type, const struct avro_scalar *value)
{
    char text[FLOAT_TEXT_MAX];
    double number = type->kind == AVRO_FLOAT ? (double)value->single : value->number;
    if (isnan(number))
        return avro_out_str(out, BANYAN_STR("\"NaN\""));
    if (isinf(number))
        return avro_out_str(out, number > 0 ? BANYAN_STR("\"Infinity\"") : BANYAN_STR("\"-Infinity\""));
    char *end =
        type->kind == AVRO_FLOAT ? float_put_single(text, value->single) : float_put_double(text, value->number);
    return avro_out_add(out, text, (size_t)(end - text));
}

static bool put_base64(struct avro_out *out, struct banyan_str bytes)
{
    size_t size = base64_text_size(bytes.size) + 2;
    if (size > (size_t)(out->end - out->at) && !avro_out_grow(out, size))
        return false;
    *out->at++ = '"';
    out->at = base64_encode(bytes, out->at);
    *out->at++ = '"';
    return true;
}

static bool put_decimal(struct avro_out *out, const struct avro_type *type, const struct avro_scalar *value)
{
    char text[BANYAN_DECIMAL_TEXT_MAX + 2];
    int32_t scale = value->bytes.size == 0 ? BANYAN_DECIMAL_NAN : (int32_t)type->scale;
    size_t size = banyan_decimal_format((struct banyan_decimal){value->units, scale}, text + 1);
    text[0] = '"';
    text[size + 1] = '"';
    return avro_out_add(out, text, size + 2);
}

static bool put_time(struct avro_out *out, const struct avro_type *type, int64_t value)
{
    char text[TIME_TEXT_MAX + 2];
    char *to = text;
    *to++ = '"';
    switch (type->logical) {
    case AVRO_DATE:
        to = time_put_date(to, value);
        break;
    case AVRO_TIME_MILLIS:
        to = time_put_clock(to, value, TIME_DIGITS_MILLIS);
        break;
    case AVRO_TIME_MICROS:
        to = time_put_clock(to, value, TIME_DIGITS_MICROS);
        break;
    case AVRO_TIMESTAMP_MILLIS:
        to = time_put_moment(to, value, TIME_DIGITS_MILLIS);
        break;
    case AVRO_TIMESTAMP_MICROS:
        to = time_put_moment(to, value, TIME_DIGITS_MICROS);
        break;
    case AVRO_LOCAL_TIMESTAMP_MILLIS:
        to = time_put_local(to, value, TIME_DIGITS_MILLIS);
        break;
    default:
        to = time_put_local(to, value, TIME_DIGITS_MICROS);
        break;
    }
    *to++ = '"';
    return avro_out_add(out, text, (size_t)(to - text));
}

static bool put_scalar(struct avro_out *out, const struct avro_type *type, const struct avro_scalar *value)
{
    switch (type->kind) {
    case AVRO_NULL:
        return avro_out_str(out, BANYAN_STR("null"));
    case AVRO_BOOLEAN:
        return avro_out_str(out, value->integer != 0 ? BANYAN_STR("true") : BANYAN_STR("false"));
    case AVRO_INT:
    case AVRO_LONG:
        return type->logical == AVRO_PLAIN ? put_integer(out, value->integer) : put_time(out, type, value->integer);
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
        return put_floating(out, type, value);
    case AVRO_BYTES:
    case AVRO_FIXED:
        return type->logical == AVRO_DECIMAL ? put_decimal(out, type, value) : put_base64(out, value->bytes);
    case AVRO_STRING:
        return put_string(out, value->bytes);
    default:
        return false;
    }
}

/* ---- what contains others ---- */

static bool print_scalar(struct printer *p, const struct avro_op *op)
{
    struct avro_scalar value;
    if (!avro_read_scalar(&p->walk, op->writer, &value) ||
        (op->converts && !avro_convert_scalar(&p->walk, op->writer, op->reader, &value)))
        return false;
    return put_scalar(&p->out, op->reader, &value) || overflow(p);
}

static bool print_enum(struct printer *p, const struct avro_op *op)
{
    struct avro_scalar value;
    if (!avro_read_scalar(&p->walk, op->writer, &value))
        return false;
    struct banyan_str symbol = op->reader->symbols[p->plan->numbers[op->first + (size_t)value.integer]];
    return put_string(&p->out, symbol) || overflow(p);
}

static bool print_items(struct printer *p, const struct avro_op *op, unsigned depth)
{
    struct avro_blocks blocks;
    struct banyan_str key;
    bool map = op->kind == AVRO_OP_MAP;
    avro_blocks_open(&p->walk, &blocks);
    if (!avro_out_char(&p->out, map ? '{' : '['))
        return overflow(p);
    while (avro_blocks_more(&p->walk, &blocks)) {
        if (blocks.index > 1 && !avro_out_char(&p->out, ','))
            return overflow(p);
        if (map && !avro_blocks_key(&p->walk, &blocks, &key))
            return false;
        if (map && !(put_string(&p->out, key) && avro_out_char(&p->out, ':')))
            return overflow(p);
        if (!print(p, op->first, depth))
            return map ? avro_fault_in_key(&p->walk.fault, key) : avro_fault_in_item(&p->walk.fault, blocks.index - 1);
    }
    return avro_blocks_close(&p->walk, &blocks) && (avro_out_char(&p->out, map ? '}' : ']') || overflow(p));
}

/* A default is read instead of the input, and has some steps of its own. */
static bool print_default(struct printer *p, const struct avro_step *step, unsigned depth)
{
    struct banyan_str binary = step->field->default_binary;
    struct wire_input in = p->walk.in;
    struct banyan_str input = p->walk.input;
    const unsigned char *at = (const unsigned char *)(binary.data == NULL ? "" : binary.data);
    size_t before = avro_out_size(&p->out); /* behind the key */
    p->walk.in = (struct wire_input){at, at + binary.size, NULL};
    p->walk.input = binary;
    p->walk.steps_left += (uint64_t)binary.size * AVRO_DEFAULT_STEPS_A_BYTE;
    bool ok = print(p, step->op, depth);
    p->walk.in = in;
    p->walk.input = input;
    return ok && avro_charge_default(&p->walk, step->key.size + avro_out_size(&p->out) - before);
}

static bool print_record(struct printer *p, const struct avro_op *op, unsigned depth)
{
    size_t first = 1; /* the comma of the first field is left out */
    size_t marks;
    if (!avro_marks_open(&p->walk, op->marks, &marks))
        return false;
    if (!avro_out_char(&p->out, '{'))
        return overflow(p);
    for (uint32_t i = 0; i < op->count; i++) {
        const struct avro_step *step = &p->plan->steps[op->first + i];
        bool ok;
        if (step->kind != AVRO_STEP_VALUE && step->kind != AVRO_STEP_DEFAULT) {
            ok = avro_marks_step(&p->walk, step, marks, depth);
        } else {
            ok = avro_out_add(&p->out, step->key.data + first, step->key.size - first) || overflow(p);
            first = 0;
            if (ok)
                ok = step->kind == AVRO_STEP_VALUE ? print(p, step->op, depth) : print_default(p, step, depth);
        }
        if (!ok)
            return avro_fault_in_field(&p->walk.fault, step->field->name);
    }
    avro_marks_close(&p->walk, op->marks);
    return avro_out_char(&p->out, '}') || overflow(p);
}

static bool print_wrap(struct printer *p, const struct avro_op *op, unsigned depth)
{
    if (op->bare)
        return print(p, op->first, depth);
    return (avro_out_str(&p->out, op->key) || overflow(p)) && print(p, op->first, depth) &&
           (avro_out_char(&p->out, '}') || overflow(p));
}

static bool print(struct printer *p, uint32_t op_number, unsigned depth)
{
    const struct avro_op *op = &p->plan->ops[op_number];
    size_t branch;
    if (!avro_enter(&p->walk, depth))
        return false;
    switch (op->kind) {
    case AVRO_OP_SCALAR:
        return print_scalar(p, op);
    case AVRO_OP_ENUM:
        return print_enum(p, op);
    case AVRO_OP_ARRAY:
    case AVRO_OP_MAP:
        return print_items(p, op, depth - 1);
    case AVRO_OP_RECORD:
        return print_record(p, op, depth - 1);
    case AVRO_OP_SELECT:
        return avro_read_branch(&p->walk, op->count, &branch) &&
               print(p, p->plan->numbers[op->first + branch], depth - 1);
    case AVRO_OP_WRAP:
        return print_wrap(p, op, depth);
    case AVRO_OP_NONE:
        break;
    }
    return avro_accept(&p->walk, "the plan has a hole");
}

enum banyan_status avro_to_json(const struct avro_plan *plan, struct banyan_str binary, struct banyan_buf *ret,
                                struct banyan_error *err)
{
    struct printer p = {.plan = plan};
    const size_t before = ret->size;
    avro_walk_open(&p.walk, binary);
    avro_out_open(&p.out, ret);
    bool ok = print(&p, 0, AVRO_VALUE_DEPTH_MAX) &&
              (p.walk.in.at == p.walk.in.end || avro_accept(&p.walk, "bytes follow the value"));
    avro_out_close(&p.out, ok ? SIZE_MAX : before);
    enum banyan_status st = ok ? BANYAN_OK : avro_walk_error(&p.walk, err);
    avro_walk_release(&p.walk);
    return st;
}
