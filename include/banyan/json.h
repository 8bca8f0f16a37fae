/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON text (RFC 8259) as a tree, for domains that read what their legacy application's clients send.
 *
 * Strict: what is not JSON is refused, as are two members of one name, text that is not UTF-8, U+0000 and half
 * surrogate pairs.  Numbers stay text: nothing is rounded.
 */
#ifndef BANYAN_JSON_H
#define BANYAN_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/attributes.h"
#include "banyan/types.h"

enum banyan_json_kind {
    BANYAN_JSON_NONE = 0,
    BANYAN_JSON_NULL,
    BANYAN_JSON_FALSE,
    BANYAN_JSON_TRUE,
    BANYAN_JSON_NUMBER,
    BANYAN_JSON_STRING,
    BANYAN_JSON_ARRAY,
    BANYAN_JSON_OBJECT,
};

struct banyan_json {
    enum banyan_json_kind kind;
    struct banyan_str name;          /* of a member */
    struct banyan_str text;          /* NUMBER: as it is written; STRING: its characters */
    const struct banyan_json *first; /* ARRAY, OBJECT: of its values, in their order; NULL: empty */
    const struct banyan_json *next;  /* beside this one */
    uint32_t count;                  /* ARRAY, OBJECT */
};

/* Everything in *arena*, or borrowed from *text*.  False: it is no JSON text. */
BANYAN_API BANYAN_MUST_CHECK bool banyan_json_parse(struct banyan_str text, struct banyan_arena *arena,
                                                    struct banyan_json *ret);
/* The member of that name; NULL when there is none, or *object* is no object (or NULL). */
BANYAN_API const struct banyan_json *banyan_json_member(const struct banyan_json *object, const char *name);
/* An integer without fraction and exponent that 64 bits hold. */
BANYAN_API BANYAN_MUST_CHECK bool banyan_json_int(const struct banyan_json *value, int64_t *ret);

#endif
