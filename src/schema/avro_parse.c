/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the JSON of a schema to types in memory, one walk from the top to the leaves; defaults are checked at the end
 * (avro_default.c), when every type is complete.
 *
 * Where the specification leaves a choice, or is looser than data that must last:
 * 1. A name refers to what is defined before it, in its own namespace or by its full name; it is not looked for in the
 *    null namespace as well.
 * 2. An "error" is a type of protocols, not of schemas, and is refused.
 * 3. A logical type that is not valid where it stands is ignored; a decimal of more than AVRO_DIGITS_MAX digits is
 * valid but more than can be computed with here, so it is refused rather than made into plain bytes without a word.
 * 4. Two names or aliases of one record's fields must not be the same: which one takes the value would be a guess.
 * 5. A union and an enum need at least one branch or symbol: no value of them could be written.
 */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "schema/avro_parse_int.h"

/* ---- where, and what is wrong --------------------------------------------------------------------------------- */

static enum banyan_status fail(struct avro_parser *parser, enum banyan_status status, const char *format,
                               va_list arguments) __attribute__((format(printf, 3, 0)));

static enum banyan_status fail(struct avro_parser *parser, enum banyan_status status, const char *format,
                               va_list arguments)
{
    char text[BANYAN_ERROR_TEXT_MAX];
    (void)vsnprintf(text, sizeof(text), format, arguments); /* an over-long text is cut */
    if (parser->path.size == 0)
        return banyan_error_set(parser->err, status, "schema: %s", text);
    return banyan_error_set(parser->err, status, "%s: %s", parser->path.data, text);
}

enum banyan_status avro_fail(struct avro_parser *parser, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum banyan_status st = fail(parser, BANYAN_INVALID, format, arguments);
    va_end(arguments);
    return st;
}

enum banyan_status avro_fail_limit(struct avro_parser *parser, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    enum banyan_status st = fail(parser, BANYAN_LIMIT, format, arguments);
    va_end(arguments);
    return st;
}

size_t avro_path_down(struct avro_parser *parser, const char *format, ...)
{
    char text[BANYAN_ERROR_TEXT_MAX];
    size_t before = parser->path.size;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* an over-long step is cut */
    va_end(arguments);
    if (before > 0 && text[0] != '[')
        banyan_buf_add_char(&parser->path, '.');
    banyan_buf_add_text(&parser->path, text);
    return before;
}

void avro_path_up(struct avro_parser *parser, size_t before)
{
    parser->path.size = before;
    if (parser->path.data != NULL)
        parser->path.data[before] = '\0';
}

/* ---- attributes ----------------------------------------------------------------------------------------------- */

static struct banyan_str text_of(const json_t *json)
{
    return (struct banyan_str){json_string_value(json), json_string_length(json)};
}

/* Text attribute *name*, data NULL when it is not there. */
static enum banyan_status get_text(struct avro_parser *parser, const json_t *json, const char *name, bool required,
                                   struct banyan_str *ret)
{
    const json_t *value = json_object_get(json, name);
    if (value == NULL && required)
        return avro_fail(parser, "\"%s\" is missing", name);
    if (value != NULL && !json_is_string(value))
        return avro_fail(parser, "\"%s\" must be a string", name);
    *ret = value == NULL ? (struct banyan_str){NULL, 0} : text_of(value);
    return BANYAN_OK;
}

static enum banyan_status get_list(struct avro_parser *parser, const json_t *json, const char *name, bool required,
                                   const json_t **ret)
{
    const json_t *value = json_object_get(json, name);
    if (value == NULL && required)
        return avro_fail(parser, "\"%s\" is missing", name);
    if (value != NULL && !json_is_array(value))
        return avro_fail(parser, "\"%s\" must be a list", name);
    if (json_array_size(value) > AVRO_LIST_MAX)
        return avro_fail_limit(parser, "\"%s\" has %zu entries, more than %d", name, json_array_size(value),
                               AVRO_LIST_MAX);
    *ret = value;
    return BANYAN_OK;
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

enum {
    FULL_NAME_BYTES = 2 * AVRO_NAME_BYTES_MAX + 2, /* a name behind the namespace of another, dot and NUL */
};

static bool is_name(struct banyan_str text)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9'))
            return false;
    }
    return text.size > 0 && text.size <= AVRO_NAME_BYTES_MAX;
}

/* Names with dots between them. */
static bool is_dotted(struct banyan_str text)
{
    size_t start = 0;
    for (size_t i = 0; i <= text.size; i++) {
        if (i < text.size && text.data[i] != '.')
            continue;
        if (!is_name((struct banyan_str){text.data + start, i - start}))
            return false;
        start = i + 1;
    }
    return text.size <= AVRO_NAME_BYTES_MAX;
}

static struct banyan_str namespace_of(struct banyan_str full)
{
    const char *dot = memrchr(full.data, '.', full.size);
    return dot == NULL ? BANYAN_STR("") : (struct banyan_str){full.data, (size_t)(dot - full.data)};
}

static enum avro_kind primitive_of(struct banyan_str name)
{
    for (enum avro_kind kind = AVRO_NULL; kind <= AVRO_STRING; kind++) {
        if (banyan_str_equal(name, banyan_str_of(avro_kind_name(kind))))
            return kind;
    }
    return AVRO_NONE;
}

/* A name with a dot is full as it is.  Into *memory*, with a NUL behind it. */
static struct banyan_str full_name(struct banyan_str name, struct banyan_str space, char memory[FULL_NAME_BYTES])
{
    bool full = space.size == 0 || memchr(name.data, '.', name.size) != NULL;
    int size = snprintf(memory, FULL_NAME_BYTES, "%.*s%s%.*s", full ? 0 : (int)space.size, space.data, full ? "" : ".",
                        (int)name.size, name.data);
    assert(size > 0 && size < FULL_NAME_BYTES);
    return (struct banyan_str){memory, (size_t)size};
}

static struct avro_type *find_named(struct avro_parser *parser, struct banyan_str full)
{
    struct avro_type *type = hash_get(&parser->named, (int64_t)avro_rabin(full));
    while (type != NULL && !banyan_str_equal(type->name, full))
        type = type->next_named;
    return type;
}

static int compare_texts(const void *a, const void *b)
{
    const struct banyan_str *left = a, *right = b;
    size_t size = left->size < right->size ? left->size : right->size;
    int order = memcmp(left->data, right->data, size);
    return order != 0 ? order : (left->size > right->size) - (left->size < right->size);
}

/* A text that is there twice; data NULL when there is none.  Sorts *texts*. */
static struct banyan_str find_twice(struct banyan_str *texts, size_t count)
{
    if (count > 1)
        qsort(texts, count, sizeof(*texts), compare_texts);
    for (size_t i = 1; i < count; i++) {
        if (banyan_str_equal(texts[i - 1], texts[i]))
            return texts[i];
    }
    return (struct banyan_str){NULL, 0};
}

/* ---- types ---------------------------------------------------------------------------------------------------- */

static enum banyan_status parse_type(struct avro_parser *parser, const json_t *json, struct banyan_str space,
                                     struct avro_type **ret);

static enum banyan_status new_type(struct avro_parser *parser, enum avro_kind kind, struct avro_type **ret)
{
    struct avro_schema *schema = parser->schema;
    if (schema->type_count == AVRO_TYPES_MAX)
        return avro_fail_limit(parser, "the schema has more than %d types", AVRO_TYPES_MAX);
    if (schema->type_count == parser->type_capacity) {
        parser->type_capacity = parser->type_capacity == 0 ? 16 : parser->type_capacity * 2;
        schema->types = alloc_resized(schema->types, parser->type_capacity, sizeof(*schema->types));
    }
    struct avro_type *type = banyan_arena_zalloc(&schema->arena, sizeof(*type));
    type->kind = kind;
    type->index = (unsigned)schema->type_count;
    type->default_symbol = -1;
    schema->types[schema->type_count++] = type;
    *ret = type;
    return BANYAN_OK;
}

static enum banyan_status plain_type(struct avro_parser *parser, enum avro_kind kind, struct avro_type **ret)
{
    enum banyan_status st = BANYAN_OK;
    if (parser->plain[kind] == NULL)
        st = new_type(parser, kind, &parser->plain[kind]);
    if (st == BANYAN_OK)
        *ret = parser->plain[kind];
    return st;
}

/* A primitive type or a name that was defined before. */
static enum banyan_status parse_reference(struct avro_parser *parser, struct banyan_str name, struct banyan_str space,
                                          struct avro_type **ret)
{
    enum avro_kind kind = primitive_of(name);
    if (kind != AVRO_NONE)
        return plain_type(parser, kind, ret);
    if (!is_dotted(name))
        return avro_fail(parser, "\"%.*s\" is no name of a type", (int)name.size, name.data);
    char memory[FULL_NAME_BYTES];
    struct banyan_str full = full_name(name, space, memory);
    *ret = find_named(parser, full);
    if (*ret != NULL)
        return BANYAN_OK;
    enum banyan_status st = avro_fail(parser, "type \"%s\" is not defined before it is used here", full.data);
    if (find_named(parser, name) != NULL)
        banyan_error_hint(parser->err,
                          "\"%.*s\" is in the null namespace, which a name inside namespace %.*s cannot say; "
                          "give it a namespace",
                          (int)name.size, name.data, (int)space.size, space.data);
    else
        banyan_error_hint(parser->err, "Types: null boolean int long float double bytes string, {\"type\": \"record\", "
                                       "enum, array, map or fixed, ...}, [a union], or a name defined earlier in the "
                                       "same schema (full: with its namespace).");
    return st;
}

/* ---- logical types -------------------------------------------------------------------------------------------- */

static enum avro_logical logical_of(enum avro_kind kind, struct banyan_str name)
{
    static const enum avro_kind base[AVRO_LOGICALS] = {
        [AVRO_DECIMAL] = AVRO_BYTES,
        [AVRO_UUID] = AVRO_STRING,
        [AVRO_DATE] = AVRO_INT,
        [AVRO_TIME_MILLIS] = AVRO_INT,
        [AVRO_TIME_MICROS] = AVRO_LONG,
        [AVRO_TIMESTAMP_MILLIS] = AVRO_LONG,
        [AVRO_TIMESTAMP_MICROS] = AVRO_LONG,
        [AVRO_LOCAL_TIMESTAMP_MILLIS] = AVRO_LONG,
        [AVRO_LOCAL_TIMESTAMP_MICROS] = AVRO_LONG,
    };
    for (enum avro_logical logical = AVRO_DECIMAL; logical < AVRO_LOGICALS; logical++) {
        if (banyan_str_equal(name, banyan_str_of(avro_logical_name(logical))))
            return base[logical] == kind || (logical == AVRO_DECIMAL && kind == AVRO_FIXED) ? logical : AVRO_PLAIN;
    }
    return AVRO_PLAIN;
}

/* Digits that two's complement in *size* bytes always holds: floor(log10(2^(8 size - 1) - 1)). */
static int64_t digits_of(size_t size)
{
    const double log10_of_2 = 0.30102999566398120;
    return size == 0 ? 0 : (int64_t)((double)(8 * size - 1) * log10_of_2);
}

/* Precision and scale; false when the decimal is not valid and to be ignored. */
static bool decimal_attributes(const json_t *json, struct avro_type *type)
{
    const json_t *precision = json_object_get(json, "precision");
    const json_t *scale = json_object_get(json, "scale");
    int64_t digits = json_integer_value(precision), behind = json_integer_value(scale);
    if (!json_is_integer(precision) || digits < 1 || (scale != NULL && !json_is_integer(scale)))
        return false;
    if (behind < 0 || behind > digits || digits > INT32_MAX)
        return false;
    if (type->kind == AVRO_FIXED && digits > digits_of(type->size))
        return false;
    type->precision = (unsigned)digits;
    type->scale = (unsigned)behind;
    return true;
}

static enum banyan_status set_logical(struct avro_parser *parser, const json_t *json, struct avro_type *type)
{
    const json_t *name = json_object_get(json, "logicalType");
    enum avro_logical logical = json_is_string(name) ? logical_of(type->kind, text_of(name)) : AVRO_PLAIN;
    if (logical == AVRO_DECIMAL && !decimal_attributes(json, type))
        logical = AVRO_PLAIN;
    if (logical == AVRO_DECIMAL && type->precision > AVRO_DIGITS_MAX)
        return avro_fail_limit(parser, "a decimal of %u digits; at most %d are supported", type->precision,
                               AVRO_DIGITS_MAX);
    type->logical = logical;
    return BANYAN_OK;
}

static enum banyan_status parse_primitive(struct avro_parser *parser, const json_t *json, enum avro_kind kind,
                                          struct avro_type **ret)
{
    struct avro_type probe = {.kind = kind};
    enum banyan_status st = set_logical(parser, json, &probe);
    if (st != BANYAN_OK)
        return st;
    if (probe.logical == AVRO_PLAIN)
        return plain_type(parser, kind, ret);
    st = new_type(parser, kind, ret);
    if (st == BANYAN_OK) {
        (*ret)->logical = probe.logical;
        (*ret)->precision = probe.precision;
        (*ret)->scale = probe.scale;
    }
    return st;
}

/* ---- named types ---------------------------------------------------------------------------------------------- */

/* Texts of a list into the arena: each a name (*dotted*: or a full one), completed by *space*; none twice. */
static enum banyan_status parse_names(struct avro_parser *parser, const json_t *list, const char *what, bool dotted,
                                      struct banyan_str space, const struct banyan_str **ret, size_t *ret_count)
{
    char memory[FULL_NAME_BYTES];
    size_t count = json_array_size(list);
    struct banyan_str *names = banyan_arena_alloc(&parser->schema->arena, (2 * count + 1) * sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(list, i);
        struct banyan_str name = text_of(entry);
        if (!json_is_string(entry) || !(dotted ? is_dotted(name) : is_name(name)))
            return avro_fail(parser, "\"%s\"[%zu] is no name (letters, digits and _, no digit first)", what, i);
        names[i] = banyan_arena_str(&parser->schema->arena, dotted ? full_name(name, space, memory) : name);
    }
    if (count > 0)
        memcpy(names + count, names, count * sizeof(*names));
    struct banyan_str twice = find_twice(names + count, count);
    if (twice.data != NULL)
        return avro_fail(parser, "\"%s\" has \"%s\" twice", what, twice.data);
    *ret = names;
    *ret_count = count;
    return BANYAN_OK;
}

/* Name, namespace, aliases and doc of a record, enum or fixed; known from here on, so that it may contain itself. */
static enum banyan_status parse_name(struct avro_parser *parser, const json_t *json, struct banyan_str space,
                                     struct avro_type *type)
{
    struct banyan_str name, own_space, doc;
    const json_t *aliases = NULL;
    enum banyan_status st = get_text(parser, json, "name", true, &name);
    if (st == BANYAN_OK)
        st = get_text(parser, json, "namespace", false, &own_space);
    if (st == BANYAN_OK)
        st = get_text(parser, json, "doc", false, &doc);
    if (st == BANYAN_OK)
        st = get_list(parser, json, "aliases", false, &aliases);
    if (st != BANYAN_OK)
        return st;
    if (!is_dotted(name))
        return avro_fail(parser, "\"%.*s\" is no name: letters, digits and _, no digit first, dots between names",
                         (int)name.size, name.data);
    if (own_space.size > 0 && !is_dotted(own_space))
        return avro_fail(parser, "\"%.*s\" is no namespace: names with dots between them", (int)own_space.size,
                         own_space.data);
    char memory[FULL_NAME_BYTES];
    type->name =
        banyan_arena_str(&parser->schema->arena, full_name(name, own_space.data != NULL ? own_space : space, memory));
    if (type->name.size > AVRO_NAME_BYTES_MAX)
        return avro_fail_limit(parser, "the full name of the type has more than %d bytes", AVRO_NAME_BYTES_MAX);
    type->simple_name = avro_simple_name(type->name);
    if (primitive_of(type->simple_name) != AVRO_NONE)
        return avro_fail(parser, "\"%s\" cannot be defined: %s is a primitive type", type->name.data,
                         type->simple_name.data);
    if (find_named(parser, type->name) != NULL)
        return avro_fail(parser, "type \"%s\" is defined twice", type->name.data);
    type->next_named = hash_put(&parser->named, (int64_t)avro_rabin(type->name), type);
    return parse_names(parser, aliases, "aliases", true, namespace_of(type->name), &type->aliases, &type->alias_count);
}

static enum banyan_status add_default(struct avro_parser *parser, struct avro_field *field, const json_t *json)
{
    if (json == NULL)
        return BANYAN_OK;
    if (parser->default_count == parser->default_capacity) {
        parser->default_capacity = parser->default_capacity == 0 ? 16 : parser->default_capacity * 2;
        parser->defaults = alloc_resized(parser->defaults, parser->default_capacity, sizeof(*parser->defaults));
    }
    size_t before = avro_path_down(parser, "default");
    field->has_default = true;
    parser->defaults[parser->default_count++] = (struct avro_default){
        .field = field, .json = json, .path = banyan_arena_str(&parser->schema->arena, banyan_buf_str(&parser->path))};
    avro_path_up(parser, before);
    return BANYAN_OK;
}

static enum banyan_status parse_order(struct avro_parser *parser, const json_t *json, enum avro_order *ret)
{
    static const char *const names[] = {"ascending", "descending", "ignore"};
    struct banyan_str name;
    enum banyan_status st = get_text(parser, json, "order", false, &name);
    if (st != BANYAN_OK || name.data == NULL)
        return st;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (banyan_str_equal(name, banyan_str_of(names[i]))) {
            *ret = (enum avro_order)i;
            return BANYAN_OK;
        }
    }
    return avro_fail(parser, "\"order\" is ascending, descending or ignore, not \"%.*s\"", (int)name.size, name.data);
}

static enum banyan_status parse_field(struct avro_parser *parser, const json_t *json, struct banyan_str space,
                                      struct avro_field *field)
{
    struct banyan_str name, doc;
    const json_t *aliases = NULL;
    if (!json_is_object(json))
        return avro_fail(parser, "a field is an object with \"name\" and \"type\"");
    enum banyan_status st = get_text(parser, json, "name", true, &name);
    if (st == BANYAN_OK)
        st = get_text(parser, json, "doc", false, &doc);
    if (st == BANYAN_OK)
        st = get_list(parser, json, "aliases", false, &aliases);
    if (st == BANYAN_OK)
        st = parse_order(parser, json, &field->order);
    if (st != BANYAN_OK)
        return st;
    if (!is_name(name))
        return avro_fail(parser, "\"%.*s\" is no name of a field: letters, digits and _, no digit first",
                         (int)name.size, name.data);
    field->name = banyan_arena_str(&parser->schema->arena, name);
    st = parse_names(parser, aliases, "aliases", false, BANYAN_STR(""), &field->aliases, &field->alias_count);
    const json_t *type = json_object_get(json, "type");
    if (st == BANYAN_OK && type == NULL)
        st = avro_fail(parser, "field \"%s\" has no \"type\"", field->name.data);
    if (st != BANYAN_OK)
        return st;
    size_t before = avro_path_down(parser, "type");
    st = parse_type(parser, type, space, &field->type);
    avro_path_up(parser, before);
    return st == BANYAN_OK ? add_default(parser, field, json_object_get(json, "default")) : st;
}

/* No name or alias of the fields may be there twice. */
static enum banyan_status check_field_names(struct avro_parser *parser, const struct avro_type *type)
{
    size_t count = 0, total = 0;
    for (size_t i = 0; i < type->field_count; i++)
        total += 1 + type->fields[i].alias_count;
    struct banyan_str *names = alloc_zeroed(total + 1, sizeof(*names));
    for (size_t i = 0; i < type->field_count; i++) {
        const struct avro_field *field = &type->fields[i];
        names[count++] = field->name;
        for (size_t j = 0; j < field->alias_count; j++)
            names[count++] = field->aliases[j];
    }
    struct banyan_str twice = find_twice(names, count);
    free(names);
    if (twice.data == NULL)
        return BANYAN_OK;
    return avro_fail(parser, "two fields of \"%s\" have the name or alias \"%s\"", type->name.data, twice.data);
}

static enum banyan_status parse_record(struct avro_parser *parser, const json_t *json, struct banyan_str space,
                                       struct avro_type **ret)
{
    struct avro_type *type = NULL;
    const json_t *fields = NULL;
    enum banyan_status st = new_type(parser, AVRO_RECORD, &type);
    if (st == BANYAN_OK)
        st = parse_name(parser, json, space, type);
    if (st == BANYAN_OK)
        st = get_list(parser, json, "fields", true, &fields);
    if (st != BANYAN_OK)
        return st;
    struct banyan_str inner = namespace_of(type->name);
    type->field_count = json_array_size(fields);
    type->fields = banyan_arena_zalloc(&parser->schema->arena, (type->field_count + 1) * sizeof(*type->fields));
    for (size_t i = 0; i < type->field_count && st == BANYAN_OK; i++) {
        size_t before = avro_path_down(parser, "fields[%zu]", i);
        st = parse_field(parser, json_array_get(fields, i), inner, &type->fields[i]);
        avro_path_up(parser, before);
    }
    if (st == BANYAN_OK)
        st = check_field_names(parser, type);
    if (st == BANYAN_OK)
        *ret = type;
    return st;
}

static enum banyan_status parse_enum(struct avro_parser *parser, const json_t *json, struct banyan_str space,
                                     struct avro_type **ret)
{
    struct avro_type *type = NULL;
    const json_t *symbols = NULL;
    struct banyan_str other;
    enum banyan_status st = new_type(parser, AVRO_ENUM, &type);
    if (st == BANYAN_OK)
        st = parse_name(parser, json, space, type);
    if (st == BANYAN_OK)
        st = get_list(parser, json, "symbols", true, &symbols);
    if (st == BANYAN_OK)
        st = get_text(parser, json, "default", false, &other);
    if (st == BANYAN_OK)
        st = parse_names(parser, symbols, "symbols", false, BANYAN_STR(""), &type->symbols, &type->symbol_count);
    if (st != BANYAN_OK)
        return st;
    if (type->symbol_count == 0)
        return avro_fail(parser, "enum \"%s\" has no symbol", type->name.data);
    if (other.data != NULL)
        type->default_symbol = avro_find_symbol(type, other);
    if (other.data != NULL && type->default_symbol < 0)
        return avro_fail(parser, "the default \"%.*s\" is no symbol of enum \"%s\"", (int)other.size, other.data,
                         type->name.data);
    *ret = type;
    return BANYAN_OK;
}

static enum banyan_status parse_fixed(struct avro_parser *parser, const json_t *json, struct banyan_str space,
                                      struct avro_type **ret)
{
    struct avro_type *type = NULL;
    enum banyan_status st = new_type(parser, AVRO_FIXED, &type);
    if (st == BANYAN_OK)
        st = parse_name(parser, json, space, type);
    if (st != BANYAN_OK)
        return st;
    const json_t *size = json_object_get(json, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return avro_fail(parser, "\"size\" of fixed \"%s\" must be a number of bytes", type->name.data);
    if (json_integer_value(size) > AVRO_FIXED_BYTES_MAX)
        return avro_fail_limit(parser, "fixed \"%s\" has more than %d bytes", type->name.data, AVRO_FIXED_BYTES_MAX);
    type->size = (size_t)json_integer_value(size);
    *ret = type;
    return set_logical(parser, json, type);
}

/* ---- containers ----------------------------------------------------------------------------------------------- */

static enum banyan_status parse_items(struct avro_parser *parser, const json_t *json, enum avro_kind kind,
                                      struct banyan_str space, struct avro_type **ret)
{
    const char *name = kind == AVRO_ARRAY ? "items" : "values";
    const json_t *items = json_object_get(json, name);
    struct avro_type *type = NULL;
    if (items == NULL)
        return avro_fail(parser, "\"%s\" of the %s is missing", name, avro_kind_name(kind));
    enum banyan_status st = new_type(parser, kind, &type);
    if (st != BANYAN_OK)
        return st;
    size_t before = avro_path_down(parser, "%s", name);
    st = parse_type(parser, items, space, &type->items);
    avro_path_up(parser, before);
    *ret = type;
    return st;
}

/* What must not be twice in a union: a name, or the kind of what has none. */
static bool same_branch(const struct avro_type *a, const struct avro_type *b)
{
    return a->kind == b->kind && (!avro_is_named(a) || banyan_str_equal(a->name, b->name));
}

static enum banyan_status check_branch(struct avro_parser *parser, const struct avro_type *type, size_t index)
{
    const struct avro_type *branch = type->branches[index];
    if (branch->kind == AVRO_UNION)
        return avro_fail(parser, "a union cannot be a branch of a union");
    for (size_t i = 0; i < index; i++) {
        if (!same_branch(type->branches[i], branch))
            continue;
        enum banyan_status st = avro_fail(parser, "the union has two branches of %s %s", avro_kind_name(branch->kind),
                                          avro_is_named(branch) ? branch->name.data : "type");
        banyan_error_hint(parser->err, "Only records, enums and fixeds may be there more than once, with different "
                                       "names; a logical type does not make a branch another one.");
        return st;
    }
    return BANYAN_OK;
}

static enum banyan_status parse_union(struct avro_parser *parser, const json_t *json, struct banyan_str space,
                                      struct avro_type **ret)
{
    struct avro_type *type = NULL;
    size_t count = json_array_size(json);
    if (count == 0)
        return avro_fail(parser, "a union needs at least one branch");
    if (count > AVRO_LIST_MAX)
        return avro_fail_limit(parser, "the union has more than %d branches", AVRO_LIST_MAX);
    enum banyan_status st = new_type(parser, AVRO_UNION, &type);
    if (st != BANYAN_OK)
        return st;
    type->branches = banyan_arena_zalloc(&parser->schema->arena, count * sizeof(struct avro_type *));
    type->branch_count = count;
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        size_t before = avro_path_down(parser, "[%zu]", i);
        st = parse_type(parser, json_array_get(json, i), space, &type->branches[i]);
        if (st == BANYAN_OK)
            st = check_branch(parser, type, i);
        avro_path_up(parser, before);
    }
    *ret = type;
    return st;
}

static enum banyan_status parse_object(struct avro_parser *parser, const json_t *json, struct banyan_str space,
                                       struct avro_type **ret)
{
    const json_t *type = json_object_get(json, "type");
    if (json_is_object(type) || json_is_array(type)) {
        enum banyan_status st = avro_fail(parser, "\"type\" must be a name");
        banyan_error_hint(parser->err, "Write the inner schema itself, without an object around it.");
        return st;
    }
    struct banyan_str name;
    enum banyan_status st = get_text(parser, json, "type", true, &name);
    if (st != BANYAN_OK)
        return st;
    if (primitive_of(name) != AVRO_NONE)
        return parse_primitive(parser, json, primitive_of(name), ret);
    if (banyan_str_equal(name, BANYAN_STR("record")))
        return parse_record(parser, json, space, ret);
    if (banyan_str_equal(name, BANYAN_STR("enum")))
        return parse_enum(parser, json, space, ret);
    if (banyan_str_equal(name, BANYAN_STR("fixed")))
        return parse_fixed(parser, json, space, ret);
    if (banyan_str_equal(name, BANYAN_STR("array")))
        return parse_items(parser, json, AVRO_ARRAY, space, ret);
    if (banyan_str_equal(name, BANYAN_STR("map")))
        return parse_items(parser, json, AVRO_MAP, space, ret);
    if (banyan_str_equal(name, BANYAN_STR("error"))) {
        st = avro_fail(parser, "an error is a type of protocols, not of schemas");
        banyan_error_hint(parser->err, "Write \"record\".");
        return st;
    }
    if (banyan_str_equal(name, BANYAN_STR("union"))) {
        st = avro_fail(parser, "\"union\" is not written as a type");
        banyan_error_hint(parser->err, "A union is a list: [\"null\", \"string\"].");
        return st;
    }
    return parse_reference(parser, name, space, ret);
}

static enum banyan_status parse_type(struct avro_parser *parser, const json_t *json, struct banyan_str space,
                                     struct avro_type **ret)
{
    enum banyan_status st;
    if (parser->depth == AVRO_DEPTH_MAX)
        return avro_fail_limit(parser, "more than %d types within each other", AVRO_DEPTH_MAX);
    parser->depth++;
    if (json_is_string(json))
        st = parse_reference(parser, text_of(json), space, ret);
    else if (json_is_array(json))
        st = parse_union(parser, json, space, ret);
    else if (json_is_object(json))
        st = parse_object(parser, json, space, ret);
    else
        st = avro_fail(parser, "a schema is a string (a name), an object or a list (a union)");
    parser->depth--;
    return st;
}

/* ---- the whole ------------------------------------------------------------------------------------------------ */

static enum banyan_status parse_text(struct avro_parser *parser, struct banyan_str text)
{
    json_error_t error;
    if (text.size > AVRO_TEXT_BYTES_MAX)
        return avro_fail_limit(parser, "%zu bytes, more than %d", text.size, AVRO_TEXT_BYTES_MAX);
    parser->json = json_loadb(text.data == NULL ? "" : text.data, text.size,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (parser->json != NULL)
        return BANYAN_OK;
    enum banyan_status st = avro_fail(parser, "line %d, column %d: not JSON: %s", error.line, error.column, error.text);
    banyan_error_hint(parser->err, "An Avro schema is JSON; even a name alone has quotes: \"string\".");
    return st;
}

/* The types move from the heap into the arena. */
static void keep_types(struct avro_schema *schema)
{
    size_t bytes = schema->type_count * sizeof(*schema->types);
    struct avro_type **types = banyan_arena_alloc(&schema->arena, bytes + 1);
    if (bytes > 0)
        memcpy(types, schema->types, bytes);
    free(schema->types);
    schema->types = types;
}

static enum banyan_status keep_canonical(struct avro_parser *parser)
{
    struct banyan_buf form = BANYAN_BUF_INIT(AVRO_CANONICAL_BYTES_MAX);
    enum banyan_status st = BANYAN_OK;
    avro_write(parser->schema, false, &form);
    if (form.overflow)
        st = avro_fail_limit(parser, "its canonical form has more than %d bytes", AVRO_CANONICAL_BYTES_MAX);
    parser->schema->canonical = banyan_arena_str(&parser->schema->arena, banyan_buf_str(&form));
    parser->schema->fingerprint = avro_rabin(parser->schema->canonical);
    banyan_buf_release(&form);
    return st;
}

enum banyan_status avro_parse(struct banyan_str text, struct avro_schema **ret, struct banyan_error *err)
{
    struct avro_parser parser = {
        .schema = alloc_zeroed(1, sizeof(*parser.schema)),
        .named = HASH_INIT,
        .default_of = HASH_INIT,
        .path = BANYAN_BUF_INIT(AVRO_TEXT_BYTES_MAX),
        .err = err,
    };
    enum banyan_status st = parse_text(&parser, text);
    if (st == BANYAN_OK)
        st = parse_type(&parser, parser.json, BANYAN_STR(""), &parser.schema->root);
    if (st == BANYAN_OK)
        st = avro_parse_defaults(&parser);
    keep_types(parser.schema);
    if (st == BANYAN_OK)
        st = keep_canonical(&parser);
    if (st == BANYAN_OK)
        *ret = parser.schema;
    else
        avro_schema_free(parser.schema);
    free(parser.defaults);
    hash_release(&parser.named);
    hash_release(&parser.default_of);
    banyan_buf_release(&parser.path);
    json_decref(parser.json);
    return st;
}
