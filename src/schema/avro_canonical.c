/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Schemas as text again: the parsing canonical form, its fingerprint, and the form by which two are the same.
 *
 * The walk meets types in the order in which they were written, so the first meeting of a named type is its definition
 * and every later one its full name alone.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "schema/avro_int.h"

struct writer {
    struct banyan_buf *out;
    bool whole;
    bool *defined; /* by avro_type.index */
};

static void write_type(struct writer *writer, const struct avro_type *type);

/* Names hold nothing that JSON would escape. */
static void write_name(struct writer *writer, const char *attribute, struct banyan_str name)
{
    banyan_buf_printf(writer->out, "%s\"%.*s\"", attribute, (int)name.size, name.data);
}

static void write_names(struct writer *writer, const char *attribute, const struct banyan_str *names, size_t count)
{
    banyan_buf_add_text(writer->out, attribute);
    for (size_t i = 0; i < count; i++)
        write_name(writer, i == 0 ? "[" : ",", names[i]);
    banyan_buf_add_text(writer->out, count == 0 ? "[]" : "]");
}

static void write_field(struct writer *writer, const struct avro_field *field)
{
    write_name(writer, "{\"name\":", field->name);
    banyan_buf_add_text(writer->out, ",\"type\":");
    write_type(writer, field->type);
    if (writer->whole) {
        write_names(writer, ",\"aliases\":", field->aliases, field->alias_count);
        banyan_buf_printf(writer->out, ",\"order\":%d", (int)field->order);
    }
    if (writer->whole && field->has_default) {
        banyan_buf_add_text(writer->out, ",\"default\":\"");
        for (size_t i = 0; i < field->default_binary.size; i++)
            banyan_buf_printf(writer->out, "%02x", (unsigned char)field->default_binary.data[i]);
        banyan_buf_add_char(writer->out, '"');
    }
    banyan_buf_add_char(writer->out, '}');
}

static void write_fields(struct writer *writer, const struct avro_type *type)
{
    banyan_buf_add_text(writer->out, ",\"fields\":[");
    for (size_t i = 0; i < type->field_count; i++) {
        if (i > 0)
            banyan_buf_add_char(writer->out, ',');
        write_field(writer, &type->fields[i]);
    }
    banyan_buf_add_char(writer->out, ']');
}

static void write_logical(struct writer *writer, const struct avro_type *type)
{
    if (!writer->whole || type->logical == AVRO_PLAIN)
        return;
    banyan_buf_printf(writer->out, ",\"logicalType\":\"%s\"", avro_logical_name(type->logical));
    if (type->logical == AVRO_DECIMAL)
        banyan_buf_printf(writer->out, ",\"precision\":%u,\"scale\":%u", type->precision, type->scale);
}

static void write_named(struct writer *writer, const struct avro_type *type)
{
    if (writer->defined[type->index]) {
        write_name(writer, "", type->name);
        return;
    }
    writer->defined[type->index] = true;
    write_name(writer, "{\"name\":", type->name);
    banyan_buf_printf(writer->out, ",\"type\":\"%s\"", avro_kind_name(type->kind));
    if (type->kind == AVRO_RECORD)
        write_fields(writer, type);
    else if (type->kind == AVRO_ENUM)
        write_names(writer, ",\"symbols\":", type->symbols, type->symbol_count);
    else
        banyan_buf_printf(writer->out, ",\"size\":%zu", type->size);
    write_logical(writer, type);
    if (writer->whole)
        write_names(writer, ",\"aliases\":", type->aliases, type->alias_count);
    if (writer->whole && type->default_symbol >= 0)
        banyan_buf_printf(writer->out, ",\"default\":%d", (int)type->default_symbol);
    banyan_buf_add_char(writer->out, '}');
}

static void write_primitive(struct writer *writer, const struct avro_type *type)
{
    if (!writer->whole || type->logical == AVRO_PLAIN) {
        write_name(writer, "", banyan_str_of(avro_kind_name(type->kind)));
        return;
    }
    write_name(writer, "{\"type\":", banyan_str_of(avro_kind_name(type->kind)));
    write_logical(writer, type);
    banyan_buf_add_char(writer->out, '}');
}

static void write_type(struct writer *writer, const struct avro_type *type)
{
    if (writer->out->overflow)
        return;
    switch (type->kind) {
    case AVRO_RECORD:
    case AVRO_ENUM:
    case AVRO_FIXED:
        write_named(writer, type);
        break;
    case AVRO_ARRAY:
    case AVRO_MAP:
        banyan_buf_add_text(writer->out, type->kind == AVRO_ARRAY ? "{\"type\":\"array\",\"items\":"
                                                                  : "{\"type\":\"map\",\"values\":");
        write_type(writer, type->items);
        banyan_buf_add_char(writer->out, '}');
        break;
    case AVRO_UNION:
        for (size_t i = 0; i < type->branch_count; i++) {
            banyan_buf_add_char(writer->out, i == 0 ? '[' : ',');
            write_type(writer, type->branches[i]);
        }
        banyan_buf_add_char(writer->out, ']');
        break;
    case AVRO_NULL:
    case AVRO_BOOLEAN:
    case AVRO_INT:
    case AVRO_LONG:
    case AVRO_FLOAT:
    case AVRO_DOUBLE:
    case AVRO_BYTES:
    case AVRO_STRING:
        write_primitive(writer, type);
        break;
    case AVRO_NONE:
    case AVRO_KINDS:
        break;
    }
}

void avro_write(const struct avro_schema *schema, bool whole, struct banyan_buf *ret)
{
    struct writer writer = {ret, whole, alloc_zeroed(schema->type_count + 1, sizeof(bool))};
    write_type(&writer, schema->root);
    free(writer.defined);
}

void avro_canonical(const struct avro_schema *schema, struct banyan_buf *ret)
{
    banyan_buf_add_str(ret, schema->canonical);
}

bool avro_same(const struct avro_schema *a, const struct avro_schema *b)
{
    struct banyan_buf left = BANYAN_BUF_INIT(SIZE_MAX / 2), right = BANYAN_BUF_INIT(SIZE_MAX / 2);
    if (a->fingerprint != b->fingerprint)
        return false;
    avro_write(a, true, &left);
    avro_write(b, true, &right);
    bool same = banyan_str_equal(banyan_buf_str(&left), banyan_buf_str(&right));
    banyan_buf_release(&left);
    banyan_buf_release(&right);
    return same;
}

/* ---- fingerprint ---------------------------------------------------------------------------------------------- */

#define RABIN_EMPTY UINT64_C(0xC15D213AA4D7A795)

uint64_t avro_rabin(struct banyan_str bytes)
{
    uint64_t table[16], value = RABIN_EMPTY; /* by half bytes: a table of 16 is made faster than 256 are kept */
    for (unsigned i = 0; i < 16; i++) {
        table[i] = i;
        for (int j = 0; j < 4; j++)
            table[i] = table[i] >> 1 ^ (RABIN_EMPTY & -(table[i] & 1));
    }
    for (size_t i = 0; i < bytes.size; i++) {
        value ^= (unsigned char)bytes.data[i];
        value = value >> 4 ^ table[value & 15];
        value = value >> 4 ^ table[value & 15];
    }
    return value;
}

uint64_t avro_fingerprint(const struct avro_schema *schema)
{
    return schema->fingerprint;
}
