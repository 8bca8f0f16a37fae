/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON → binary (docs/FORMATS.md), straight from the text: the schema says what has to come.
 *
 * Invariants:
 * 1. What is written is the one form of the value, whatever the order of the fields and the spelling of the text.
 * 2. Numbers are taken digit by digit; only FLOAT and DOUBLE become binary fractions.
 * 3. Fields are written where they come; only a record whose fields come in another order is put together again.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "banyan/decimal.h"
#include "base/base64.h"
#include "base/jtext.h"
#include "schema/avro_plan.h"
#include "schema/avro_value.h"
#include "schema/float_text.h"
#include "schema/time_text.h"

struct reader {
    struct jtext_input in;
    struct avro_out out;
    struct avro_spans spans;
    struct avro_fault fault;
    struct banyan_buf text;  /* of the last string that had escapes, or the bytes of the last base64 */
    struct banyan_buf moved; /* a record that is put together again */
    struct banyan_error *err;
};

static const size_t span_unseen = SIZE_MAX;

static bool parse(struct reader *r, const struct avro_type *type, unsigned depth);

static bool invalid(struct reader *r, const char *reason)
{
    return avro_fault_set(&r->fault, BANYAN_INVALID, reason);
}

static bool no_room(struct reader *r)
{
    return avro_fault_set(&r->fault, BANYAN_LIMIT, "the result does not fit the buffer");
}

/* ---- scalars ---- */

/* The text itself was wrong, or is no value of the kind that was asked for. */
static bool unreadable(struct reader *r)
{
    return invalid(r, r->in.fault);
}

/* What a string says; valid until the next one is read. */
static bool plain_text(struct reader *r, struct banyan_str *text)
{
    if (memchr(text->data, '\\', text->size) == NULL)
        return true;
    banyan_buf_reset(&r->text);
    if (!jtext_unescape(*text, &r->text))
        return invalid(r, "a surrogate lacks its other half");
    if (r->text.overflow)
        return avro_fault_set(&r->fault, BANYAN_LIMIT, "there is no memory for the text");
    *text = banyan_buf_str(&r->text);
    return true;
}

static bool take_text(struct reader *r, struct banyan_str *ret)
{
    return jtext_string(&r->in, ret) ? plain_text(r, ret) : unreadable(r);
}

static bool parse_integer(struct reader *r, const struct avro_type *type, struct avro_scalar *ret)
{
    struct banyan_str text;
    if (!jtext_number(&r->in, &text))
        return unreadable(r);
    bool negative = text.data[0] == '-';
    int64_t value = 0;
    for (size_t i = negative; i < text.size; i++) {
        int64_t digit = text.data[i] - '0';
        if (digit < 0 || digit > 9)
            return invalid(r, "an integer has neither fraction nor exponent");
        if (__builtin_mul_overflow(value, INT64_C(10), &value) ||
            (negative ? __builtin_sub_overflow(value, digit, &value) : __builtin_add_overflow(value, digit, &value)))
            return invalid(r, "the integer has more than 64 bits");
    }
    if (type->kind == AVRO_INT && value != (int32_t)value)
        return invalid(r, "the integer has more than 32 bits");
    ret->integer = value;
    return true;
}

static bool parse_time(struct reader *r, const struct avro_type *type, struct avro_scalar *ret)
{
    struct banyan_str text;
    bool ok = false;
    if (!take_text(r, &text))
        return false;
    switch (type->logical) {
    case AVRO_DATE:
        ok = time_get_date(text, &ret->integer) && ret->integer == (int32_t)ret->integer;
        break;
    case AVRO_TIME_MILLIS:
        ok = time_get_clock(text, TIME_DIGITS_MILLIS, &ret->integer);
        break;
    case AVRO_TIME_MICROS:
        ok = time_get_clock(text, TIME_DIGITS_MICROS, &ret->integer);
        break;
    case AVRO_TIMESTAMP_MILLIS:
        ok = time_get_moment(text, TIME_DIGITS_MILLIS, &ret->integer);
        break;
    case AVRO_TIMESTAMP_MICROS:
        ok = time_get_moment(text, TIME_DIGITS_MICROS, &ret->integer);
        break;
    case AVRO_LOCAL_TIMESTAMP_MILLIS:
        ok = time_get_local(text, TIME_DIGITS_MILLIS, &ret->integer);
        break;
    default:
        ok = time_get_local(text, TIME_DIGITS_MICROS, &ret->integer);
        break;
    }
    return ok || invalid(r, type->logical == AVRO_DATE ? "the text is no such date: \"2015-05-01\" is one"
                            : type->logical == AVRO_TIME_MILLIS || type->logical == AVRO_TIME_MICROS
                                ? "the text is no such time of day: \"08:30:00.250\" is one"
                            : type->logical == AVRO_TIMESTAMP_MILLIS || type->logical == AVRO_TIMESTAMP_MICROS
                                ? "the text is no such time: \"2015-05-01T08:30:00.250Z\" is one"
                                : "the text is no such time without zone: \"2015-05-01T08:30:00.250\" is one");
}

static bool put_floating(struct avro_scalar *ret, enum avro_kind kind, double value)
{
    if (kind == AVRO_FLOAT)
        ret->single = (float)value;
    else
        ret->number = value;
    return true;
}

static bool parse_floating(struct reader *r, const struct avro_type *type, struct avro_scalar *ret)
{
    struct banyan_str text;
    if (jtext_peek(&r->in) == JTEXT_STRING) {
        if (!take_text(r, &text))
            return false;
        if (banyan_str_equal(text, BANYAN_STR("NaN")))
            return put_floating(ret, type->kind, (double)NAN);
        if (banyan_str_equal(text, BANYAN_STR("Infinity")))
            return put_floating(ret, type->kind, (double)INFINITY);
        if (banyan_str_equal(text, BANYAN_STR("-Infinity")))
            return put_floating(ret, type->kind, (double)-INFINITY);
        return invalid(r, "only \"NaN\", \"Infinity\" and \"-Infinity\" are strings; a number is expected");
    }
    if (!jtext_number(&r->in, &text))
        return unreadable(r);
    if (type->kind == AVRO_FLOAT ? float_get_single(text, &ret->single) : float_get_double(text, &ret->number))
        return true;
    return invalid(r, "the number is too large");
}

/* Is the text one JSON number, and nothing else? */
static bool is_number(struct banyan_str text)
{
    struct jtext_input in = jtext_input(text);
    struct banyan_str number;
    return jtext_number(&in, &number) && number.size == text.size;
}

static bool parse_decimal(struct reader *r, const struct avro_type *type, struct avro_scalar *ret)
{
    struct banyan_str text = {"", 0};
    struct banyan_decimal d;
    bool string = jtext_peek(&r->in) == JTEXT_STRING;
    if (string && !take_text(r, &text))
        return false;
    if (string && type->kind == AVRO_BYTES && banyan_str_equal(text, BANYAN_STR("NaN"))) {
        ret->bytes = BANYAN_STR("");
        return true;
    }
    if (string ? !is_number(text) : !jtext_number(&r->in, &text))
        return invalid(r, "a decimal is expected: \"12.50\"");
    if (!banyan_decimal_parse(text, &d))
        return invalid(r, "the decimal has too many digits");
    if (d.scale != (int32_t)type->scale && !banyan_decimal_rescale(d, (int32_t)type->scale, &d))
        return invalid(r, "the decimal has more digits behind the point than its scale");
    if (!banyan_decimal_fits(d, (int32_t)type->precision))
        return invalid(r, "the decimal has more digits than its precision");
    ret->units = d.units;
    ret->bytes = BANYAN_STR("0"); /* not empty: it is a number */
    return true;
}

static bool parse_bytes(struct reader *r, const struct avro_type *type, struct avro_scalar *ret)
{
    struct banyan_str text;
    size_t size;
    if (!take_text(r, &text))
        return false;
    if (text.data != r->text.data) {
        banyan_buf_reset(&r->text);
        banyan_buf_add_str(&r->text, text);
        text = banyan_buf_str(&r->text);
    }
    unsigned char *bytes = (unsigned char *)r->text.data;
    if (r->text.overflow)
        return avro_fault_set(&r->fault, BANYAN_LIMIT, "there is no memory for the bytes");
    if (!base64_decode(text, bytes, &size))
        return invalid(r, "the text is not base64 (with padding)");
    if (type->kind == AVRO_FIXED && size != type->size)
        return invalid(r, "there are not as many bytes as the fixed has");
    ret->bytes = (struct banyan_str){(const char *)bytes, size};
    return true;
}

static bool parse_enum(struct reader *r, const struct avro_type *type, struct avro_scalar *ret)
{
    struct banyan_str text;
    if (!take_text(r, &text))
        return false;
    ret->integer = avro_find_symbol(type, text);
    return ret->integer >= 0 || invalid(r, "the enum has no such symbol");
}

static bool parse_string(struct reader *r, const struct avro_type *type, struct avro_scalar *ret)
{
    if (!take_text(r, &ret->bytes))
        return false;
    const char *fault = type->logical == AVRO_PLAIN ? NULL : avro_scalar_fault(type, ret);
    return fault == NULL || invalid(r, fault);
}

static bool parse_word(struct reader *r, const struct avro_type *type, struct avro_scalar *ret)
{
    bool truth = false;
    bool ok = type->kind == AVRO_NULL ? jtext_null(&r->in) : jtext_boolean(&r->in, &truth);
    ret->integer = truth;
    return ok || unreadable(r);
}

static bool parse_scalar(struct reader *r, const struct avro_type *type)
{
    struct avro_scalar value;
    bool ok;
    switch (type->kind) {
    case AVRO_INT:
    case AVRO_LONG:
        ok = type->logical == AVRO_PLAIN ? parse_integer(r, type, &value) : parse_time(r, type, &value);
        break;
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
        ok = parse_floating(r, type, &value);
        break;
    case AVRO_BYTES:
    case AVRO_FIXED:
        ok = type->logical == AVRO_DECIMAL ? parse_decimal(r, type, &value) : parse_bytes(r, type, &value);
        break;
    case AVRO_STRING:
        ok = parse_string(r, type, &value);
        break;
    case AVRO_ENUM:
        ok = parse_enum(r, type, &value);
        break;
    default:
        ok = parse_word(r, type, &value);
        break;
    }
    return ok && (avro_put_scalar(&r->out, type, &value) || no_room(r));
}

/* ---- records ---- */

/* The field of that name, looked for from *next* on: fields mostly come in order, with some left out. */
static size_t find_field(const struct avro_type *type, struct banyan_str name, size_t next)
{
    const size_t count = type->field_count;
    for (size_t i = next; i < count; i++) {
        if (banyan_str_equal(type->fields[i].name, name))
            return i;
    }
    for (size_t i = 0; i < next; i++) {
        if (banyan_str_equal(type->fields[i].name, name))
            return i;
    }
    return count;
}

static bool unknown_field(struct reader *r, const struct avro_type *type, struct banyan_str name)
{
    struct banyan_buf names = BANYAN_BUF_INIT(BANYAN_ERROR_TEXT_MAX / 2);
    for (size_t i = 0; i < type->field_count; i++) {
        if (i > 0)
            banyan_buf_add_text(&names, ", ");
        banyan_buf_add_str(&names, type->fields[i].name);
    }
    banyan_error_hint(r->err, "The fields of %.*s are: %s%s", (int)type->name.size, type->name.data,
                      names.data == NULL ? "none" : names.data, names.overflow ? " ..." : ".");
    banyan_buf_release(&names);
    (void)invalid(r, "the record has no such field");
    return avro_fault_in_key(&r->fault, name);
}

/* Put the fields, which lie as they came from *start* on, into the order of the schema, defaults between them. */
static bool put_in_order(struct reader *r, const struct avro_type *type, size_t start, size_t spans)
{
    size_t size = avro_out_size(&r->out) - start;
    banyan_buf_reset(&r->moved);
    if (size > 0) {
        banyan_buf_add(&r->moved, r->out.buf->data + start, size);
        r->out.at -= size;
    }
    if (r->moved.overflow)
        return avro_fault_set(&r->fault, BANYAN_LIMIT, "there is no memory for the record");
    for (size_t i = 0; i < type->field_count; i++) {
        const struct avro_field *field = &type->fields[i];
        struct avro_span span = r->spans.list[spans + i];
        struct banyan_str bytes = field->default_binary;
        if (span.at != span_unseen)
            bytes = (struct banyan_str){size == 0 ? "" : r->moved.data + (span.at - start), span.size};
        else if (!field->has_default) {
            (void)invalid(r, "the field is missing and has no default");
            return avro_fault_in_field(&r->fault, field->name);
        }
        if (bytes.size > 0 && !avro_out_str(&r->out, bytes))
            return no_room(r);
    }
    return true;
}

/* The next member of a record, mostly the field *next*; gives which it is.  False at the end, and on failure. */
static bool more_fields(struct reader *r, const struct avro_type *type, size_t *next)
{
    struct banyan_str key;
    if (*next < type->field_count && jtext_member_is(&r->in, type->fields[*next].name))
        return true;
    if (!jtext_member(&r->in, &key))
        return r->in.fault != NULL ? unreadable(r) : false;
    if (!plain_text(r, &key))
        return false;
    *next = find_field(type, key, *next);
    return *next < type->field_count || unknown_field(r, type, key);
}

static bool parse_field(struct reader *r, const struct avro_field *field, size_t span, unsigned depth)
{
    const size_t at = avro_out_size(&r->out);
    if (r->spans.list[span].at != span_unseen) {
        (void)invalid(r, "the field is there twice");
        return avro_fault_in_field(&r->fault, field->name);
    }
    r->spans.list[span].at = at;
    if (!parse(r, field->type, depth))
        return avro_fault_in_field(&r->fault, field->name);
    r->spans.list[span].size = avro_out_size(&r->out) - at; /* the list may have moved */
    return true;
}

static bool parse_record(struct reader *r, const struct avro_type *type, unsigned depth)
{
    const size_t spans = r->spans.count, start = avro_out_size(&r->out);
    size_t seen = 0;
    bool in_order = true;
    if (!jtext_object(&r->in))
        return unreadable(r);
    if (!avro_spans_push(&r->spans, type->field_count))
        return avro_fault_set(&r->fault, BANYAN_LIMIT, "there is no memory for the places of the fields");
    for (size_t i = 0; i < type->field_count; i++)
        r->spans.list[spans + i].at = span_unseen;
    for (size_t next = 0; more_fields(r, type, &next); next++, seen++) {
        if (!parse_field(r, &type->fields[next], spans + next, depth))
            return false;
        in_order = in_order && next == seen;
    }
    if (r->fault.status != BANYAN_OK)
        return false;
    if ((!in_order || seen < type->field_count) && !put_in_order(r, type, start, spans))
        return false;
    r->spans.count = spans;
    return true;
}

/* ---- arrays, maps, unions ---- */

/* A key goes out as it comes, and is remembered, so that no other is the same. */
static bool put_key(struct reader *r, struct banyan_str key)
{
    if (!plain_text(r, &key))
        return false;
    if (!avro_out_long(&r->out, (int64_t)key.size) || !avro_out_str(&r->out, key))
        return no_room(r);
    if (!avro_spans_push(&r->spans, 1))
        return avro_fault_set(&r->fault, BANYAN_LIMIT, "there is no memory for the keys");
    r->spans.list[r->spans.count - 1] = (struct avro_span){avro_out_size(&r->out) - key.size, key.size};
    return true;
}

/* One block; *start* has the place of its number of items, which goes in when it is known. */
static bool close_items(struct reader *r, size_t start, uint64_t count)
{
    if (r->in.fault != NULL)
        return unreadable(r);
    if (count == 0)
        return true;
    return (avro_out_patch_long(&r->out, (struct avro_span){start, 1}, (int64_t)count) && avro_out_char(&r->out, 0)) ||
           no_room(r);
}

static bool parse_array(struct reader *r, const struct avro_type *type, unsigned depth)
{
    const size_t start = avro_out_size(&r->out);
    uint64_t count = 0;
    if (!jtext_array(&r->in))
        return unreadable(r);
    if (!avro_out_char(&r->out, 0))
        return no_room(r);
    for (; jtext_element(&r->in); count++) {
        if (!parse(r, type->items, depth))
            return avro_fault_in_item(&r->fault, count);
    }
    return close_items(r, start, count);
}

static bool parse_map(struct reader *r, const struct avro_type *type, unsigned depth)
{
    const size_t start = avro_out_size(&r->out), keys = r->spans.count;
    uint64_t count = 0;
    struct banyan_str key;
    if (!jtext_object(&r->in))
        return unreadable(r);
    if (!avro_out_char(&r->out, 0))
        return no_room(r);
    for (; jtext_member(&r->in, &key); count++) {
        if (!put_key(r, key))
            return false;
        if (!parse(r, type->items, depth))
            return avro_fault_in_key(&r->fault, key);
    }
    if (count > 0 && avro_spans_repeat(&r->spans, keys, r->out.buf->data))
        return invalid(r, "the map has a key twice");
    r->spans.count = keys;
    return close_items(r, start, count);
}

static bool parse_branch(struct reader *r, const struct avro_type *type, size_t branch, unsigned depth)
{
    return (avro_out_long(&r->out, (int64_t)branch) || no_room(r)) && parse(r, type->branches[branch], depth);
}

/* {"name of the branch": value} */
static bool parse_named_branch(struct reader *r, const struct avro_type *type, unsigned depth)
{
    struct banyan_str key = {"", 0};
    if (jtext_peek(&r->in) != JTEXT_OBJECT || !jtext_object(&r->in))
        return invalid(r, "an object with the name of a branch is expected: {\"string\": \"...\"}");
    if (!jtext_member(&r->in, &key))
        return r->in.fault != NULL ? unreadable(r) : invalid(r, "the name of a branch is expected");
    if (!plain_text(r, &key))
        return false;
    size_t branch = 0;
    while (branch < type->branch_count && (type->branches[branch]->kind == AVRO_NULL ||
                                           !banyan_str_equal(avro_branch_name(type->branches[branch]), key)))
        branch++;
    if (branch == type->branch_count) {
        (void)invalid(r, "the union has no such branch");
        return avro_fault_in_key(&r->fault, key);
    }
    if (!parse_branch(r, type, branch, depth))
        return false;
    if (jtext_member(&r->in, &key))
        return invalid(r, "a union has one branch, and no more names");
    return r->in.fault == NULL || unreadable(r);
}

static bool parse_union(struct reader *r, const struct avro_type *type, unsigned depth)
{
    size_t null = 0;
    while (null < type->branch_count && type->branches[null]->kind != AVRO_NULL)
        null++;
    if (null < type->branch_count && (jtext_peek(&r->in) == JTEXT_NULL || type->branch_count == 1))
        return parse_branch(r, type, null, depth);
    if (avro_union_is_bare(type))
        return parse_branch(r, type, null == 0, depth);
    return parse_named_branch(r, type, depth);
}

static bool parse(struct reader *r, const struct avro_type *type, unsigned depth)
{
    if (depth == 0)
        return avro_fault_set(&r->fault, BANYAN_LIMIT, "the value is nested too deep");
    switch (type->kind) {
    case AVRO_RECORD:
        return parse_record(r, type, depth - 1);
    case AVRO_ARRAY:
        return parse_array(r, type, depth - 1);
    case AVRO_MAP:
        return parse_map(r, type, depth - 1);
    case AVRO_UNION:
        return parse_union(r, type, depth - 1);
    default:
        return parse_scalar(r, type);
    }
}

static enum banyan_status report(const struct reader *r)
{
    struct banyan_str path = avro_fault_path(&r->fault);
    unsigned line, column;
    jtext_place(&r->in, &line, &column);
    return banyan_error_set(r->err, r->fault.status, "%.*s (line %u, column %u): %s", (int)path.size, path.data, line,
                            column, r->fault.reason);
}

enum banyan_status avro_from_json(const struct avro_schema *schema, struct banyan_str json, struct banyan_buf *ret,
                                  struct banyan_error *err)
{
    struct reader r = {.err = err, .text = BANYAN_BUF_INIT(json.size + 1), .moved = BANYAN_BUF_INIT(SIZE_MAX / 4)};
    const size_t before = ret->size;
    r.in = jtext_input(json.data == NULL ? BANYAN_STR("") : json);
    avro_out_open(&r.out, ret);
    bool ok = parse(&r, schema->root, AVRO_VALUE_DEPTH_MAX);
    if (ok && !jtext_end(&r.in))
        ok = unreadable(&r);
    avro_out_close(&r.out, ok ? SIZE_MAX : before);
    enum banyan_status st = ok ? BANYAN_OK : report(&r);
    avro_spans_release(&r.spans);
    banyan_buf_release(&r.text);
    banyan_buf_release(&r.moved);
    return st;
}
