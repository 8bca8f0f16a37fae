/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON text (RFC 8259) piece by piece, strictly and without a tree.
 *
 *     jtext_object(&in);
 *     while (jtext_member(&in, &key)) {
 *         if (jtext_is(key, "size"))
 *             jtext_number(&in, &text);
 *         else
 *             jtext_skip(&in, &raw);     -- the bytes of the value as they are
 *     }
 *     if (!jtext_end(&in)) … in.fault, jtext_place()
 *
 * Invariants
 *   1. The first fault stays; after it every call answers false and moves nothing.
 *   2. Values are spans of the input: nothing is copied, no number is converted.  What is given out is valid: UTF-8
 *      without over-long forms, escapes complete, numbers by the grammar.
 *   3. No byte outside the input is read; depth is bounded.
 *
 * Names that come twice are the caller's to refuse.
 */
#ifndef BASE_JTEXT_H
#define BASE_JTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/types.h"

enum {
    JTEXT_DEPTH_MAX = 512,
};

enum jtext_kind {
    JTEXT_NONE = 0, /* no value begins here */
    JTEXT_NULL,
    JTEXT_BOOLEAN,
    JTEXT_NUMBER,
    JTEXT_STRING,
    JTEXT_ARRAY,
    JTEXT_OBJECT,
};

struct jtext_input {
    const char *begin, *at, *end;
    const char *fault; /* static text; NULL: nothing was wrong so far */
    uint16_t depth;
    bool first; /* nothing of the innermost array or object was read yet */
};

static inline struct jtext_input jtext_input(struct banyan_str text)
{
    return (struct jtext_input){.begin = text.data, .at = text.data, .end = text.data + text.size};
}

/* What comes next; skips space. */
enum jtext_kind jtext_peek(struct jtext_input *in);
/* Enter an object or array.  Left by jtext_member() or jtext_element() answering false. */
bool jtext_object(struct jtext_input *in);
bool jtext_array(struct jtext_input *in);
/* The next member's name, as jtext_string() gives it; its value comes next.  False at the end, or at a fault. */
bool jtext_member(struct jtext_input *in, struct banyan_str *ret_name);
/* Step over the next member's name if it is *name* (plain ASCII), written as it is; else false, and nothing moved. */
bool jtext_member_is(struct jtext_input *in, struct banyan_str name);
bool jtext_element(struct jtext_input *in);
/* The bytes between the quotes, escapes as they are. */
bool jtext_string(struct jtext_input *in, struct banyan_str *ret_raw);
bool jtext_number(struct jtext_input *in, struct banyan_str *ret_text);
bool jtext_boolean(struct jtext_input *in, bool *ret);
bool jtext_null(struct jtext_input *in);
/* Any value: all of its bytes. */
bool jtext_skip(struct jtext_input *in, struct banyan_str *ret_raw);
/* Nothing but space is left, and there was no fault. */
bool jtext_end(struct jtext_input *in);

/* The characters of a string, escapes resolved; appended.  A surrogate without its other half becomes U+FFFD, and the
 * answer is false then: who keeps the text may rather refuse it. */
bool jtext_unescape(struct banyan_str raw, struct banyan_buf *ret);
/* Does a string say *text* (ASCII)? */
bool jtext_is(struct banyan_str raw, const char *text);
/* Remember a fault of the caller's own ("a number is expected"), unless there is one; always false. */
bool jtext_fault(struct jtext_input *in, const char *fault);
/* Line and column (in bytes), from 1, of where reading stopped. */
void jtext_place(const struct jtext_input *in, unsigned *ret_line, unsigned *ret_column);

#endif
