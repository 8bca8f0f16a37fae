/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which types and fields of a reader and a writer go together: the one place that knows, for checks of compatibility
 * and for plans alike.
 *
 * The specification's rules, and what they leave open:
 * 1. Names of records, enums and fixeds match by their last part, or by the last part of an alias of the reader.
 * 2. Where a reader's union could take a value by several branches, the very same type goes before a promoted one.  By
 *    the letter the first branch that matches counts, and then ["bytes", "string"] would turn its own strings into
 * bytes.
 * 3. Decimals match decimals of the same precision and scale only: bytes read as a decimal, or money as bytes, is a
 *    change of meaning.  Other logical types match plain types, but not each other: milliseconds are no microseconds.
 */
#include "schema/avro_int.h"

static bool promotes(enum avro_kind writer, enum avro_kind reader)
{
    switch (writer) {
    case AVRO_INT:
        return reader == AVRO_LONG || reader == AVRO_FLOAT || reader == AVRO_DOUBLE;
    case AVRO_LONG:
        return reader == AVRO_FLOAT || reader == AVRO_DOUBLE;
    case AVRO_FLOAT:
        return reader == AVRO_DOUBLE;
    case AVRO_STRING:
        return reader == AVRO_BYTES;
    case AVRO_BYTES:
        return reader == AVRO_STRING;
    default:
        return false;
    }
}

static bool names_match(const struct avro_type *reader, const struct avro_type *writer)
{
    if (banyan_str_equal(reader->simple_name, writer->simple_name))
        return true;
    for (size_t i = 0; i < reader->alias_count; i++) {
        if (banyan_str_equal(avro_simple_name(reader->aliases[i]), writer->simple_name))
            return true;
    }
    return false;
}

static bool logicals_match(const struct avro_type *reader, const struct avro_type *writer, const char **ret_reason)
{
    if (reader->logical == AVRO_DECIMAL || writer->logical == AVRO_DECIMAL) {
        *ret_reason = reader->logical != writer->logical ? "only one of them is a decimal"
                                                         : "precision and scale of the decimals differ";
        return reader->logical == writer->logical && reader->precision == writer->precision &&
               reader->scale == writer->scale;
    }
    *ret_reason = "the logical types differ";
    return reader->logical == writer->logical || reader->logical == AVRO_PLAIN || writer->logical == AVRO_PLAIN;
}

bool avro_matches(const struct avro_type *reader, const struct avro_type *writer, const char **ret_reason)
{
    *ret_reason = "the types differ";
    if (reader->kind != writer->kind && !promotes(writer->kind, reader->kind))
        return false;
    if (avro_is_named(reader) && !names_match(reader, writer)) {
        *ret_reason = "the names differ";
        return false;
    }
    if (reader->kind == AVRO_FIXED && reader->size != writer->size) {
        *ret_reason = "the sizes differ";
        return false;
    }
    return logicals_match(reader, writer, ret_reason);
}

static bool very_same(const struct avro_type *reader, const struct avro_type *writer)
{
    const char *reason;
    return reader->kind == writer->kind && reader->logical == writer->logical &&
           (!avro_is_named(reader) || banyan_str_equal(reader->name, writer->name)) &&
           avro_matches(reader, writer, &reason);
}

int32_t avro_find_branch(const struct avro_type *reader, const struct avro_type *writer)
{
    const char *reason;
    for (size_t i = 0; i < reader->branch_count; i++) {
        if (very_same(reader->branches[i], writer))
            return (int32_t)i;
    }
    for (size_t i = 0; i < reader->branch_count; i++) {
        if (avro_matches(reader->branches[i], writer, &reason))
            return (int32_t)i;
    }
    return -1;
}

int32_t avro_find_source(const struct avro_field *field, const struct avro_type *writer)
{
    int32_t found = avro_find_field(writer, field->name);
    for (size_t i = 0; i < field->alias_count && found < 0; i++)
        found = avro_find_field(writer, field->aliases[i]);
    return found;
}
