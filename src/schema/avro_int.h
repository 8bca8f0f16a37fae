/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A schema in memory; for the files of this room only.
 *
 * Everything lies in the arena of its struct avro_schema and is constant after avro_parse().  A named type is one
 * struct however often it is used, so a recursive type is a cycle of pointers; a primitive type without a logical type
 * is one struct as well.  avro_type.index numbers the types of one schema, for tables beside them.
 *
 *     schema ─▶ root: record ─▶ fields[] ─▶ type ─▶ items (array, map) · branches (union)
 *                  ▲─────────────────────────────────┘ recursion
 */
#ifndef SCHEMA_AVRO_INT_H
#define SCHEMA_AVRO_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/types.h"
#include "schema/avro.h"

enum avro_kind {
    AVRO_NONE = 0,
    AVRO_NULL,
    AVRO_BOOLEAN,
    AVRO_INT,
    AVRO_LONG,
    AVRO_FLOAT,
    AVRO_DOUBLE,
    AVRO_BYTES,
    AVRO_STRING,
    AVRO_RECORD,
    AVRO_ENUM,
    AVRO_ARRAY,
    AVRO_MAP,
    AVRO_UNION,
    AVRO_FIXED,
    AVRO_KINDS,
};

/* What a value means beside its kind.  A logical type that is unknown, or on a kind where it does not belong, or with
 * attributes that are not valid, is ignored, as the specification says: the kind alone counts ("duration", too). */
enum avro_logical {
    AVRO_PLAIN = 0,
    AVRO_DECIMAL,                /* bytes, fixed */
    AVRO_UUID,                   /* string */
    AVRO_DATE,                   /* int: days since 1970-01-01 */
    AVRO_TIME_MILLIS,            /* int: since midnight */
    AVRO_TIME_MICROS,            /* long */
    AVRO_TIMESTAMP_MILLIS,       /* long: since 1970-01-01 UTC */
    AVRO_TIMESTAMP_MICROS,       /* long */
    AVRO_LOCAL_TIMESTAMP_MILLIS, /* long: in whatever zone */
    AVRO_LOCAL_TIMESTAMP_MICROS, /* long */
    AVRO_LOGICALS,
};

enum avro_order {
    AVRO_ASCENDING = 0,
    AVRO_DESCENDING,
    AVRO_IGNORE,
};

/* Limits of a schema; avro_parse() answers LIMIT beyond. */
enum {
    AVRO_TEXT_BYTES_MAX = 1024 * 1024,
    AVRO_DEPTH_MAX = 64,                        /* types within types, as written */
    AVRO_TYPES_MAX = 4096,                      /* of one schema: named, array, map, union, logical */
    AVRO_LIST_MAX = 4096,                       /* fields, symbols, branches or aliases of one type */
    AVRO_NAME_BYTES_MAX = 512,                  /* of a full name */
    AVRO_DIGITS_MAX = 38,                       /* of a decimal: banyan_decimal holds no more */
    AVRO_CANONICAL_BYTES_MAX = 4 * 1024 * 1024, /* full names can make it longer than the text */
    AVRO_FIXED_BYTES_MAX = 1024 * 1024,
    AVRO_DEFAULT_BYTES_MAX = 1024 * 1024, /* of all defaults in binary */
};

struct avro_type;

struct avro_field {
    struct banyan_str name;
    struct avro_type *type;
    const struct banyan_str *aliases;
    size_t alias_count;
    enum avro_order order;
    bool has_default;
    /* The default as a value of *type* in binary, in the form that avro_from_json() writes: shortest integers, arrays
     * and maps as one block, decimals in the fewest bytes.  A union's default is a value of its first branch.  Fields
     * that a record's default leaves out have their own defaults. */
    struct banyan_str default_binary;
};

struct avro_type {
    enum avro_kind kind;
    enum avro_logical logical;
    unsigned index;            /* in avro_schema.types */
    unsigned precision, scale; /* of AVRO_DECIMAL: 1 … AVRO_DIGITS_MAX, 0 … precision */

    /* RECORD, ENUM, FIXED */
    struct banyan_str name;           /* full: "com.example.Order" */
    struct banyan_str simple_name;    /* "Order"; the end of *name* */
    const struct banyan_str *aliases; /* full names */
    size_t alias_count;
    struct avro_type *next_named; /* while parsing: next with the same hash of its name */

    struct avro_field *fields; /* RECORD, in the order of the binary form */
    size_t field_count;
    const struct banyan_str *symbols; /* ENUM, in the order of the binary form */
    size_t symbol_count;
    int32_t default_symbol;      /* ENUM: index in symbols; -1: none */
    struct avro_type *items;     /* ARRAY: of its items; MAP: of its values */
    struct avro_type **branches; /* UNION, in the order of the binary form */
    size_t branch_count;
    size_t size; /* FIXED: bytes */
};

struct avro_schema {
    struct banyan_arena arena; /* holds all of it */
    struct avro_type *root;
    struct avro_type **types; /* every type once; types[i]->index == i */
    size_t type_count;
    struct banyan_str canonical; /* parsing canonical form */
    uint64_t fingerprint;        /* of it: CRC-64-AVRO */
};

/* "record", "long" …; NULL for no kind. */
const char *avro_kind_name(enum avro_kind kind);
/* "decimal", "timestamp-micros" …; NULL for AVRO_PLAIN. */
const char *avro_logical_name(enum avro_logical logical);

/* What is behind the last dot. */
struct banyan_str avro_simple_name(struct banyan_str name);

static inline bool avro_is_named(const struct avro_type *type)
{
    return type->kind == AVRO_RECORD || type->kind == AVRO_ENUM || type->kind == AVRO_FIXED;
}

/* Append the parsing canonical form; *whole*: with all that resolution and JSON look at as well (aliases, defaults,
 * logical types, order), which the canonical form leaves out. */
void avro_write(const struct avro_schema *schema, bool whole, struct banyan_buf *ret);

/* Index of the field, the symbol; -1: none. */
int32_t avro_find_field(const struct avro_type *record, struct banyan_str name);
int32_t avro_find_symbol(const struct avro_type *enumeration, struct banyan_str name);

/* ---- resolution: which types and fields go together (avro_match.c) ---- */

/* Do the two go together, looking at them alone and not at what they contain (the specification's "match")?  Unions
 * are not asked about: see avro_find_branch().  *ret_reason is static text when they do not. */
bool avro_matches(const struct avro_type *reader, const struct avro_type *writer, const char **ret_reason);
/* The branch of the union *reader* that takes values of *writer* (no union): the first one of the very same type (kind,
 * logical type and full name), else the first that matches; -1: none. */
int32_t avro_find_branch(const struct avro_type *reader, const struct avro_type *writer);
/* The field of the record *writer* that *field* of the reader takes its values from: the one of its name, else of its
 * first alias that is there; -1: none, and its default counts. */
int32_t avro_find_source(const struct avro_field *field, const struct avro_type *writer);

/* CRC-64-AVRO over any bytes. */
uint64_t avro_rabin(struct banyan_str bytes);

#endif
