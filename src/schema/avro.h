/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Avro 1.11 schemas: parse, compare, check, and values between JSON, binary and the newest schema.
 * https://avro.apache.org/docs/1.11.1/specification/
 *
 *     text ──avro_parse()──▶ schema ──avro_plan()──▶ plan (writer → reader) ──▶ values
 *
 * Beside the specification: decimals in JSON are strings with exactly scale digits ("12.50"), dates and timestamps ISO
 * 8601 strings, bytes and fixed base64 where the plan says so; a double never holds money.
 *
 * Threads: a schema and a plan are constant once made and may be used by any number of threads.
 */
#ifndef SCHEMA_AVRO_H
#define SCHEMA_AVRO_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/error.h"
#include "banyan/types.h"

struct avro_schema;
struct avro_plan;

enum avro_compatibility {
    AVRO_COMPATIBILITY_NONE = 0, /* anything may follow */
    AVRO_BACKWARD,               /* the new schema reads what the last one wrote */
    AVRO_BACKWARD_TRANSITIVE,
    AVRO_FORWARD, /* the last schema reads what the new one writes */
    AVRO_FORWARD_TRANSITIVE,
    AVRO_FULL,
    AVRO_FULL_TRANSITIVE,
    AVRO_COMPATIBILITIES,
};

/* "BACKWARD_TRANSITIVE"; NULL for none of them. */
const char *avro_compatibility_name(enum avro_compatibility rule);
/* The other way round, in any case of letters; false: there is none of that name. */
bool avro_compatibility_of(struct banyan_str name, enum avro_compatibility *ret);

/* INVALID names line and column (not JSON) or path ("fields[2].type.items") and what is wrong; LIMIT for depth, size,
 * count.  Where we differ from the letter of the specification, avro_parse.c and avro_match.c say so. */
BANYAN_MUST_CHECK enum banyan_status avro_parse(struct banyan_str text, struct avro_schema **ret,
                                                struct banyan_error *err);
void avro_schema_free(struct avro_schema *schema); /* NULL allowed */
/* Parsing canonical form, and its CRC-64-AVRO (Rabin) fingerprint. */
void avro_canonical(const struct avro_schema *schema, struct banyan_buf *ret);
uint64_t avro_fingerprint(const struct avro_schema *schema);
/* Do both say the same, documentation aside?  More than the canonical form looks at: aliases, defaults, order and
 * logical types count, too. */
bool avro_same(const struct avro_schema *a, const struct avro_schema *b);

/* Can *reader* read whatever *writer* may have written?  CONFLICT with path and reason ("lines[].price: ..."). */
BANYAN_MUST_CHECK enum banyan_status avro_can_read(const struct avro_schema *reader, const struct avro_schema *writer,
                                                   struct banyan_error *err);
/* May *next* follow *versions* (all of them, oldest first, from version 1; NULL: there is none of that number) under
 * *rule*?  CONFLICT names version, field and reason. */
BANYAN_MUST_CHECK enum banyan_status avro_compatible(enum avro_compatibility rule, const struct avro_schema *next,
                                                     const struct avro_schema *const *versions, size_t count,
                                                     struct banyan_error *err);

/* Work out once how values written under *writer* become values of *reader* (the same one twice: no resolution).
 * CONFLICT when they never can.  Both are borrowed for the life of the plan. */
BANYAN_MUST_CHECK enum banyan_status avro_plan(const struct avro_schema *writer, const struct avro_schema *reader,
                                               struct avro_plan **ret, struct banyan_error *err);
void avro_plan_free(struct avro_plan *plan); /* NULL allowed */
/* Binary of the writer → binary of the reader; appended to *ret*.  CORRUPT, CONFLICT (a value that does not fit). */
BANYAN_MUST_CHECK enum banyan_status avro_resolve(const struct avro_plan *plan, struct banyan_str binary,
                                                  struct banyan_buf *ret, struct banyan_error *err);
/* Binary of the writer → JSON of the reader; appended. */
BANYAN_MUST_CHECK enum banyan_status avro_to_json(const struct avro_plan *plan, struct banyan_str binary,
                                                  struct banyan_buf *ret, struct banyan_error *err);
/* JSON of the reader → its binary, in the one form that equal values have; appended.  INVALID names path and reason. */
BANYAN_MUST_CHECK enum banyan_status avro_from_json(const struct avro_schema *schema, struct banyan_str json,
                                                    struct banyan_buf *ret, struct banyan_error *err);
/* Is it exactly one value in its one form?  CORRUPT names the path. */
BANYAN_MUST_CHECK enum banyan_status avro_check(const struct avro_schema *schema, struct banyan_str binary,
                                                struct banyan_error *err);

#endif
