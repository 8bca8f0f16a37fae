/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of a parsed schema everywhere: names of kinds, fields and symbols by name, and its end.
 */
#include <stdlib.h>

#include "schema/avro_int.h"

const char *avro_kind_name(enum avro_kind kind)
{
    static const char *const names[AVRO_KINDS] = {
        [AVRO_NULL] = "null",     [AVRO_BOOLEAN] = "boolean", [AVRO_INT] = "int",     [AVRO_LONG] = "long",
        [AVRO_FLOAT] = "float",   [AVRO_DOUBLE] = "double",   [AVRO_BYTES] = "bytes", [AVRO_STRING] = "string",
        [AVRO_RECORD] = "record", [AVRO_ENUM] = "enum",       [AVRO_ARRAY] = "array", [AVRO_MAP] = "map",
        [AVRO_UNION] = "union",   [AVRO_FIXED] = "fixed",
    };
    return (unsigned)kind < AVRO_KINDS ? names[kind] : NULL;
}

const char *avro_logical_name(enum avro_logical logical)
{
    static const char *const names[AVRO_LOGICALS] = {
        [AVRO_DECIMAL] = "decimal",
        [AVRO_UUID] = "uuid",
        [AVRO_DATE] = "date",
        [AVRO_TIME_MILLIS] = "time-millis",
        [AVRO_TIME_MICROS] = "time-micros",
        [AVRO_TIMESTAMP_MILLIS] = "timestamp-millis",
        [AVRO_TIMESTAMP_MICROS] = "timestamp-micros",
        [AVRO_LOCAL_TIMESTAMP_MILLIS] = "local-timestamp-millis",
        [AVRO_LOCAL_TIMESTAMP_MICROS] = "local-timestamp-micros",
    };
    return (unsigned)logical < AVRO_LOGICALS ? names[logical] : NULL;
}

struct banyan_str avro_simple_name(struct banyan_str name)
{
    const char *dot = memrchr(name.data, '.', name.size);
    return dot == NULL ? name : (struct banyan_str){dot + 1, name.size - (size_t)(dot + 1 - name.data)};
}

int32_t avro_find_field(const struct avro_type *record, struct banyan_str name)
{
    for (size_t i = 0; i < record->field_count; i++) {
        if (banyan_str_equal(record->fields[i].name, name))
            return (int32_t)i;
    }
    return -1;
}

int32_t avro_find_symbol(const struct avro_type *enumeration, struct banyan_str name)
{
    for (size_t i = 0; i < enumeration->symbol_count; i++) {
        if (banyan_str_equal(enumeration->symbols[i], name))
            return (int32_t)i;
    }
    return -1;
}

void avro_schema_free(struct avro_schema *schema)
{
    if (schema == NULL)
        return;
    banyan_arena_release(&schema->arena);
    free(schema);
}
