/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that parse a schema share: where they are in the text, and how they say what is wrong there. */
#ifndef SCHEMA_AVRO_PARSE_INT_H
#define SCHEMA_AVRO_PARSE_INT_H

#include <jansson.h>

#include "banyan/attributes.h"
#include "banyan/buf.h"
#include "base/hash.h"
#include "schema/avro_int.h"

enum avro_default_state {
    AVRO_DEFAULT_NONE = 0,
    AVRO_DEFAULT_OPEN, /* being worked on: to meet it again is a default that contains itself */
    AVRO_DEFAULT_DONE, /* field->default_binary is set */
};

/* A default waits until all types are complete: it may be a value of a type that is still being read. */
struct avro_default {
    struct avro_field *field;
    const json_t *json; /* borrowed from avro_parser.json */
    struct banyan_str path;
    enum avro_default_state state;
};

struct avro_parser {
    struct avro_schema *schema;
    json_t *json;                        /* the whole text; owned */
    struct hash named;                   /* avro_rabin(full name) → struct avro_type, chained by next_named */
    struct avro_type *plain[AVRO_KINDS]; /* primitive types without a logical type, once seen */
    size_t type_capacity;                /* of schema->types, on the heap until all are known */
    struct avro_default *defaults;       /* on the heap; owned */
    size_t default_count, default_capacity;
    struct hash default_of; /* address of a field → struct avro_default, once all are known */
    size_t default_bytes;   /* of all defaults so far */
    size_t default_steps;   /* values looked at, so that no text makes work that is out of proportion to it */
    struct banyan_buf path; /* "fields[2].type" */
    unsigned depth;         /* types around this one */
    struct banyan_error *err;
};

/* INVALID: "<path>: <text>". */
enum banyan_status avro_fail(struct avro_parser *parser, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
/* The same with LIMIT. */
enum banyan_status avro_fail_limit(struct avro_parser *parser, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
/* Go one step down; gives what avro_path_up() needs to come back. */
size_t avro_path_down(struct avro_parser *parser, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
void avro_path_up(struct avro_parser *parser, size_t before);

/* Check all defaults and put them into binary (avro_default.c). */
BANYAN_MUST_CHECK enum banyan_status avro_parse_defaults(struct avro_parser *parser);

#endif
