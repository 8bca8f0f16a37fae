/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defaults of fields: from the JSON of the schema to binary, checked against their type.
 *
 * The JSON of a default is that of the specification, not that of events: bytes and fixed are strings whose characters
 * U+0000 … U+00FF are the bytes (of a decimal: of its unscaled value), enums are symbols, and a union's default is a
 * value of its first branch, without a name around it (Avro 1.11; 1.12 would look through all branches).
 *
 * Invariants:
 * 1. A default is one value in the one form that avro_from_json() would write.
 * 2. A field that a record's default leaves out has its own default, or the default is refused; a default that needs
 *    itself that way is refused.
 * 3. Bytes and steps of all defaults together have a limit.
 */
#include <math.h>

#include "schema/avro_parse_int.h"
#include "schema/avro_value.h"

enum {
    STEPS_MAX = 4 * 1024 * 1024,
};

static enum banyan_status put_value(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                    struct banyan_buf *out);
static enum banyan_status need_default(struct avro_parser *parser, struct avro_default *own);

/* ---- bytes ---------------------------------------------------------------------------------------------------- */

static void put_long(struct banyan_buf *out, int64_t value)
{
    uint64_t bits = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    for (; bits >= 0x80; bits >>= 7)
        banyan_buf_add_char(out, (char)(bits | 0x80));
    banyan_buf_add_char(out, (char)bits);
}

static void put_little_endian(struct banyan_buf *out, uint64_t bits, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        banyan_buf_add_char(out, (char)(bits >> 8 * i));
}

static void put_bytes(struct banyan_buf *out, struct banyan_str bytes)
{
    put_long(out, (int64_t)bytes.size);
    banyan_buf_add_str(out, bytes);
}

/* The bytes that the characters of *json* stand for, in the schema's arena.  The parser of JSON has seen to it that
 * the text is UTF-8. */
static enum banyan_status bytes_of(struct avro_parser *parser, const json_t *json, struct banyan_str *ret)
{
    const unsigned char *text = (const unsigned char *)json_string_value(json);
    size_t size = json_string_length(json), count = 0;
    char *bytes = banyan_arena_alloc(&parser->schema->arena, size + 1);
    for (size_t i = 0; i < size; i++) {
        unsigned c = text[i];
        if (c >= 0x80) {
            if (c > 0xC3)
                return avro_fail(parser, "a default of bytes has characters up to \\u00FF only");
            c = (c & 0x03) << 6 | (text[++i] & 0x3F);
        }
        bytes[count++] = (char)c;
    }
    *ret = (struct banyan_str){bytes, count};
    return BANYAN_OK;
}

/* Without the bytes in front that say nothing but the sign. */
static struct banyan_str shortest_units(struct banyan_str bytes)
{
    while (bytes.size > 1 && ((bytes.data[0] == 0 && bytes.data[1] >= 0) ||
                              ((unsigned char)bytes.data[0] == 0xFF && bytes.data[1] < 0))) {
        bytes.data++;
        bytes.size--;
    }
    return bytes;
}

static enum banyan_status put_binary(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                     struct banyan_buf *out)
{
    struct banyan_str bytes;
    enum banyan_status st = bytes_of(parser, json, &bytes);
    if (st != BANYAN_OK)
        return st;
    if (type->kind == AVRO_FIXED && bytes.size != type->size)
        return avro_fail(parser, "the default has %zu bytes, fixed \"%s\" %zu", bytes.size, type->name.data,
                         type->size);
    struct banyan_str units = type->logical == AVRO_DECIMAL ? shortest_units(bytes) : bytes;
    if (type->kind == AVRO_FIXED)
        banyan_buf_add_str(out, bytes);
    else
        put_bytes(out, units);
    return BANYAN_OK;
}

/* ---- values --------------------------------------------------------------------------------------------------- */

static enum banyan_status wrong_kind(struct avro_parser *parser, const struct avro_type *type, const json_t *json)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "a list",       [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a real number", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null"};
    return avro_fail(parser, "the default is %s and no value of type %s", names[json_typeof(json)],
                     avro_kind_name(type->kind));
}

static enum banyan_status put_integer(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                      struct banyan_buf *out)
{
    json_int_t value = json_integer_value(json);
    if (type->kind == AVRO_INT && (value < INT32_MIN || value > INT32_MAX))
        return avro_fail(parser, "the default %lld is no int of 32 bits", (long long)value);
    put_long(out, value);
    return BANYAN_OK;
}

static enum banyan_status put_real(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                   struct banyan_buf *out)
{
    double value = json_number_value(json);
    if (type->kind == AVRO_DOUBLE) {
        uint64_t bits;
        memcpy(&bits, &value, sizeof(bits));
        put_little_endian(out, bits, 8);
        return BANYAN_OK;
    }
    float narrow = (float)value;
    uint32_t bits;
    if (!isfinite(narrow))
        return avro_fail(parser, "the default %g is too large for a float", value);
    memcpy(&bits, &narrow, sizeof(bits));
    put_little_endian(out, bits, 4);
    return BANYAN_OK;
}

static enum banyan_status put_symbol(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                     struct banyan_buf *out)
{
    int32_t index = avro_find_symbol(type, (struct banyan_str){json_string_value(json), json_string_length(json)});
    if (index < 0)
        return avro_fail(parser, "the default \"%.64s\" is no symbol of enum \"%s\"", json_string_value(json),
                         type->name.data);
    put_long(out, index);
    return BANYAN_OK;
}

static enum banyan_status put_array(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                    struct banyan_buf *out)
{
    enum banyan_status st = BANYAN_OK;
    size_t count = json_array_size(json);
    if (count > 0)
        put_long(out, (int64_t)count);
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        size_t before = avro_path_down(parser, "[%zu]", i);
        st = put_value(parser, type->items, json_array_get(json, i), out);
        avro_path_up(parser, before);
    }
    put_long(out, 0);
    return st;
}

/* jansson walks through an object by functions that take no const; nothing is changed. */
static json_t *for_walk(const json_t *json)
{
    return (json_t *)(uintptr_t)json;
}

/* In the order of the text: a map keeps its order. */
static enum banyan_status put_map(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                  struct banyan_buf *out)
{
    enum banyan_status st = BANYAN_OK;
    json_t *map = for_walk(json);
    if (json_object_size(json) > 0)
        put_long(out, (int64_t)json_object_size(json));
    for (void *i = json_object_iter(map); i != NULL && st == BANYAN_OK; i = json_object_iter_next(map, i)) {
        const char *key = json_object_iter_key(i);
        size_t before = avro_path_down(parser, "%.64s", key);
        put_bytes(out, banyan_str_of(key));
        st = put_value(parser, type->items, json_object_iter_value(i), out);
        avro_path_up(parser, before);
    }
    put_long(out, 0);
    return st;
}

/* A field that the default of its record leaves out. */
static enum banyan_status put_left_out(struct avro_parser *parser, struct avro_field *field, struct banyan_buf *out)
{
    struct avro_default *own = hash_get(&parser->default_of, (int64_t)(uintptr_t)field);
    if (own == NULL)
        return avro_fail(parser, "the default has no field \"%s\", which has no default of its own", field->name.data);
    enum banyan_status st = need_default(parser, own);
    if (st == BANYAN_OK)
        banyan_buf_add_str(out, field->default_binary);
    return st;
}

static enum banyan_status put_fields(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                     struct banyan_buf *out)
{
    enum banyan_status st = BANYAN_OK;
    size_t found = 0;
    for (size_t i = 0; i < type->field_count && st == BANYAN_OK; i++) {
        struct avro_field *field = &type->fields[i];
        const json_t *value = json_object_get(json, field->name.data);
        if (++parser->default_steps > STEPS_MAX)
            return avro_fail_limit(parser, "the defaults of the schema are too much work");
        if (value == NULL) {
            st = put_left_out(parser, field, out);
            continue;
        }
        size_t before = avro_path_down(parser, "%s", field->name.data);
        st = put_value(parser, field->type, value, out);
        avro_path_up(parser, before);
        found++;
    }
    if (st == BANYAN_OK && found < json_object_size(json))
        st = avro_fail(parser, "the default has a field that record \"%s\" does not have", type->name.data);
    return st;
}

static enum banyan_status put_branch(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                     struct banyan_buf *out)
{
    put_long(out, 0);
    enum banyan_status st = put_value(parser, type->branches[0], json, out);
    if (st == BANYAN_INVALID && type->branch_count > 1)
        banyan_error_hint(parser->err,
                          "The default of a union is a value of its first branch (here %s): put the "
                          "branch of the default first.",
                          avro_kind_name(type->branches[0]->kind));
    return st;
}

static bool json_fits(enum avro_kind kind, const json_t *json)
{
    switch (kind) {
    case AVRO_NULL:
        return json_is_null(json);
    case AVRO_BOOLEAN:
        return json_is_boolean(json);
    case AVRO_INT:
    case AVRO_LONG:
        return json_is_integer(json);
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
        return json_is_number(json);
    case AVRO_BYTES:
    case AVRO_STRING:
    case AVRO_FIXED:
    case AVRO_ENUM:
        return json_is_string(json);
    case AVRO_ARRAY:
        return json_is_array(json);
    case AVRO_MAP:
    case AVRO_RECORD:
        return json_is_object(json);
    case AVRO_UNION:
        return true; /* its first branch says */
    case AVRO_NONE:
    case AVRO_KINDS:
        break;
    }
    return false;
}

static enum banyan_status put_fitting(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                      struct banyan_buf *out)
{
    switch (type->kind) {
    case AVRO_BOOLEAN:
        banyan_buf_add_char(out, json_is_true(json));
        return BANYAN_OK;
    case AVRO_INT:
    case AVRO_LONG:
        return put_integer(parser, type, json, out);
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
        return put_real(parser, type, json, out);
    case AVRO_STRING:
        put_bytes(out, (struct banyan_str){json_string_value(json), json_string_length(json)});
        return BANYAN_OK;
    case AVRO_BYTES:
    case AVRO_FIXED:
        return put_binary(parser, type, json, out);
    case AVRO_ENUM:
        return put_symbol(parser, type, json, out);
    case AVRO_ARRAY:
        return put_array(parser, type, json, out);
    case AVRO_MAP:
        return put_map(parser, type, json, out);
    case AVRO_RECORD:
        return put_fields(parser, type, json, out);
    case AVRO_UNION:
        return put_branch(parser, type, json, out);
    case AVRO_NULL:
    case AVRO_NONE:
    case AVRO_KINDS:
        break;
    }
    return BANYAN_OK;
}

static enum banyan_status put_value(struct avro_parser *parser, const struct avro_type *type, const json_t *json,
                                    struct banyan_buf *out)
{
    if (++parser->default_steps > STEPS_MAX || out->overflow)
        return avro_fail_limit(parser, "the defaults of the schema are too large");
    if (parser->depth == AVRO_DEPTH_MAX)
        return avro_fail_limit(parser, "more than %d values within each other", AVRO_DEPTH_MAX);
    if (!json_fits(type->kind, json))
        return wrong_kind(parser, type, json);
    parser->depth++;
    enum banyan_status st = put_fitting(parser, type, json, out);
    parser->depth--;
    return st;
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */

/* What logical types ask of the value: digits, times of a day, uuids. */
static enum banyan_status check_value(struct avro_parser *parser, const struct avro_type *type,
                                      const struct banyan_buf *binary)
{
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct avro_walk walk;
    enum banyan_status st = BANYAN_OK;
    avro_walk_open(&walk, banyan_buf_str(binary));
    walk.strict = true;
    if (!avro_step_over(&walk, type, AVRO_VALUE_DEPTH_MAX)) {
        (void)avro_walk_error(&walk, &why); /* its words are what counts */
        st = avro_fail(parser, "the default is not allowed: %s", why.message);
    }
    avro_walk_release(&walk);
    return st;
}

static enum banyan_status need_default(struct avro_parser *parser, struct avro_default *own)
{
    if (own->state == AVRO_DEFAULT_DONE)
        return BANYAN_OK;
    if (own->state == AVRO_DEFAULT_OPEN)
        return avro_fail(parser, "the default of field \"%s\" contains itself", own->field->name.data);
    struct banyan_buf outer = parser->path; /* an error is at the default that is needed, not where it is needed */
    parser->path = (struct banyan_buf)BANYAN_BUF_INIT(outer.size_max);
    banyan_buf_add_str(&parser->path, own->path);
    own->state = AVRO_DEFAULT_OPEN;
    struct banyan_buf out = BANYAN_BUF_INIT(AVRO_DEFAULT_BYTES_MAX - parser->default_bytes);
    enum banyan_status st = put_value(parser, own->field->type, own->json, &out);
    if (st == BANYAN_OK && out.overflow)
        st = avro_fail_limit(parser, "the defaults of the schema need more than %d bytes", AVRO_DEFAULT_BYTES_MAX);
    if (st == BANYAN_OK)
        st = check_value(parser, own->field->type, &out);
    if (st == BANYAN_OK) {
        parser->default_bytes += out.size;
        own->field->default_binary = banyan_arena_str(&parser->schema->arena, banyan_buf_str(&out));
        own->state = AVRO_DEFAULT_DONE;
    }
    banyan_buf_release(&out);
    banyan_buf_release(&parser->path);
    parser->path = outer;
    return st;
}

enum banyan_status avro_parse_defaults(struct avro_parser *parser)
{
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < parser->default_count; i++)
        (void)hash_put(&parser->default_of, (int64_t)(uintptr_t)parser->defaults[i].field, &parser->defaults[i]);
    for (size_t i = 0; i < parser->default_count && st == BANYAN_OK; i++)
        st = need_default(parser, &parser->defaults[i]);
    return st;
}
