/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records: the one way in which a domain describes data.
 *
 * A record type is a table of fields over a plain C struct.  From it the engine derives everything that would else be
 * written by hand for each type: the stored (Avro binary) form, JSON, the Avro schema, comparison, deep copies, the
 * decoding of PostgreSQL rows, and the columns of read models.  Event payloads, aggregate states, legacy rows and read
 * model rows are all records.
 *
 *     struct order_canceled { struct banyan_time at; struct banyan_str reason; };
 *
 *     static const struct banyan_field fields[] = {
 *         BANYAN_FIELD_TIME(struct order_canceled, at, 0),
 *         BANYAN_FIELD_STRING(struct order_canceled, reason, BANYAN_FIELD_OPTIONAL),
 *     };
 *
 * C type of a field by its kind:  STRING struct banyan_str · INT int64_t · BOOL bool · TIME struct banyan_time ·
 * DECIMAL struct banyan_decimal (always with the field's scale, or a special) · LIST struct banyan_list.
 * "No value" of an optional field: data NULL, us BANYAN_TIME_NULL, scale BANYAN_DECIMAL_NULL.  INT, BOOL and LIST
 * cannot be optional; a list without items is empty.
 *
 * Thread-safe: record types are constant.
 */
#ifndef BANYAN_RECORD_H
#define BANYAN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/attributes.h"
#include "banyan/buf.h"
#include "banyan/decimal.h"
#include "banyan/error.h"
#include "banyan/status.h"
#include "banyan/types.h"

enum banyan_field_kind {
    BANYAN_FIELD_NONE = 0,
    BANYAN_FIELD_STRING,
    BANYAN_FIELD_INT,
    BANYAN_FIELD_BOOL,
    BANYAN_FIELD_TIME,
    BANYAN_FIELD_DECIMAL,
    BANYAN_FIELD_LIST,
};

enum {
    BANYAN_FIELD_OPTIONAL = 1 << 0, /* may hold "no value" */
    BANYAN_FIELDS_MAX = 64,         /* fields of one record: a set of fields is a uint64_t */
    BANYAN_RECORD_DEPTH_MAX = 4,    /* lists in items of lists */
};

/* The lines of an order: an array of structs of the field's item record.  Legacy rows and read models have no lists. */
struct banyan_list {
    void *items; /* in the arena of whoever made the record; NULL when empty */
    size_t count;
};

struct banyan_field {
    const char *name; /* also the JSON key and the column name */
    enum banyan_field_kind kind;
    unsigned flags;                   /* BANYAN_FIELD_… */
    size_t offset;                    /* in the struct */
    int32_t scale;                    /* of DECIMAL; 0 for the others */
    const struct banyan_record *item; /* of LIST; NULL for the others */
};

struct banyan_record {
    const char *name;
    size_t size; /* of the struct, bytes */
    const struct banyan_field *fields;
    size_t field_count;
};

#define BANYAN_FIELD_STRING(type, member, f)                                                                           \
    {                                                                                                                  \
#member, BANYAN_FIELD_STRING, (f), offsetof(type, member), 0, NULL                                             \
    }
#define BANYAN_FIELD_INT(type, member, f)                                                                              \
    {                                                                                                                  \
#member, BANYAN_FIELD_INT, (f), offsetof(type, member), 0, NULL                                                \
    }
#define BANYAN_FIELD_BOOL(type, member, f)                                                                             \
    {                                                                                                                  \
#member, BANYAN_FIELD_BOOL, (f), offsetof(type, member), 0, NULL                                               \
    }
#define BANYAN_FIELD_TIME(type, member, f)                                                                             \
    {                                                                                                                  \
#member, BANYAN_FIELD_TIME, (f), offsetof(type, member), 0, NULL                                               \
    }
#define BANYAN_FIELD_DECIMAL(type, member, f, scale)                                                                   \
    {                                                                                                                  \
#member, BANYAN_FIELD_DECIMAL, (f), offsetof(type, member), (scale), NULL                                      \
    }

#define BANYAN_FIELD_LIST_OF(type, member, item_record)                                                                \
    {                                                                                                                  \
#member, BANYAN_FIELD_LIST, 0, offsetof(type, member), 0, (item_record)                                        \
    }

/* INVALID when the record cannot be stored: more than BANYAN_FIELDS_MAX fields, lists that nest deeper than
 * BANYAN_RECORD_DEPTH_MAX (the functions below then stop the process or fail), items without fields (any number of them
 * would take no byte). */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status banyan_record_check(const struct banyan_record *record,
                                                                    struct banyan_error *err);
/* INVALID when the record has a list: rows of legacy tables and of read models have none. */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status banyan_record_refuse_lists(const struct banyan_record *record,
                                                                           struct banyan_error *err);
/* Every field zero, empty or, where optional, "no value". */
BANYAN_API void banyan_record_init(const struct banyan_record *record, void *value);
/* Copy with all strings and lists copied into *arena*. */
BANYAN_API void banyan_record_copy(const struct banyan_record *record, void *ret, const void *value,
                                   struct banyan_arena *arena);
/* The fields that differ: bit i for fields[i]; 0 when equal.  Decimals and times compare by value, lists item by item.
 */
BANYAN_API uint64_t banyan_record_diff(const struct banyan_record *record, const void *a, const void *b);
/* Bytes that *value* takes as one block: its struct, its lists, its strings. */
BANYAN_API size_t banyan_record_packed_size(const struct banyan_record *record, const void *value);
/* Copy *value* into one block: *memory* has room for banyan_record_packed_size() bytes, is aligned as malloc() does and
 * begins with the struct afterwards; its lists and strings lie behind it. */
BANYAN_API void banyan_record_pack(const struct banyan_record *record, const void *value, void *memory);

/* Append the Avro binary form (docs/FORMATS.md).  INVALID when a required field has no value or a decimal does not
 * have the field's scale exactly; LIMIT when it does not fit *ret*.  On failure *ret* has the same bytes as before. */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status banyan_record_encode(const struct banyan_record *record,
                                                                     const void *value, struct banyan_buf *ret,
                                                                     struct banyan_error *err);
/* Decode a record without lists; strings point into *data* (borrowed).  CORRUPT when the bytes are not exactly one such
 * record, INVALID when it has lists; *ret is undefined then. */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status
banyan_record_decode(const struct banyan_record *record, struct banyan_str data, void *ret, struct banyan_error *err);
/* Decode any record: the same, with the items of lists in *arena*, which takes no more than a fixed number of bytes for
 * each byte of *data*, whatever they are. */
BANYAN_API BANYAN_MUST_CHECK enum banyan_status banyan_record_decode_in(const struct banyan_record *record,
                                                                        struct banyan_str data,
                                                                        struct banyan_arena *arena, void *ret,
                                                                        struct banyan_error *err);
/* Append as a JSON object: decimals and times (RFC 3339, µs, UTC) as strings, "no value" as null, lists as arrays. */
BANYAN_API void banyan_record_json(const struct banyan_record *record, const void *value, struct banyan_buf *ret);
/* False: the field of that value is "no value" (a string without data, a time or a decimal that is null). */
BANYAN_API bool banyan_field_has_value(const struct banyan_field *field, const void *value);
/* Append one field's value as JSON. */
BANYAN_API void banyan_field_json(const struct banyan_field *field, const void *value, struct banyan_buf *ret);
/* Append one field's value as plain text (as PostgreSQL would print it with TimeZone UTC); "no value" adds nothing, a
 * list is its JSON. */
BANYAN_API void banyan_field_text(const struct banyan_field *field, const void *value, struct banyan_buf *ret);
/* Append the Avro schema of the record as JSON.  The records of list items are named by their place, so that no two
 * have one name: "OrderPlaced.lines.OrderLine".  The default of a list is an empty one: versions may add lists. */
BANYAN_API void banyan_record_schema(const struct banyan_record *record, struct banyan_buf *ret);
/* The field of that name, or NULL. */
BANYAN_API const struct banyan_field *banyan_record_field(const struct banyan_record *record, struct banyan_str name);

#endif
