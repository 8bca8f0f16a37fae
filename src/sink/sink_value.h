/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all stores have in common about values: what people wrote in a question, the order of rows, and words.
 *
 * A word is a run of letters and digits, in lower case; all that is not ASCII counts as a letter, but for the
 * punctuation of U+0080–U+00BF and U+2000–U+206F.
 */
#ifndef SINK_SINK_VALUE_H
#define SINK_SINK_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "banyan/record.h"
#include "projection/sink.h"

enum {
    SINK_WORDS_MAX = 32, /* of a search */
};

/* Can the projection be kept at all?  INVALID. */
BANYAN_MUST_CHECK enum banyan_status sink_check(const struct banyan_projection *projection, struct banyan_error *err);

int64_t sink_key_of(const struct banyan_table *table, const void *row);
/* A value that a person wrote → the field in *row*; strings borrow.  INVALID with a hint. */
BANYAN_MUST_CHECK enum banyan_status sink_value_parse(const struct banyan_field *field, struct banyan_str text,
                                                      void *row, struct banyan_error *err);
bool sink_value_null(const struct banyan_field *field, const void *row);
/* <0, 0, >0; "no value" is the smallest, and equal to itself. */
int sink_value_compare(const struct banyan_field *field, const void *a, const void *b);
/* Is it within [from, to)?  BANYAN_TIME_NULL is open; "no value" is in only where both are. */
static inline bool sink_time_within(struct banyan_time at, struct banyan_time from, struct banyan_time to)
{
    return (from.us == BANYAN_TIME_NULL || (at.us != BANYAN_TIME_NULL && at.us >= from.us)) &&
           (to.us == BANYAN_TIME_NULL || (at.us != BANYAN_TIME_NULL && at.us < to.us));
}

/* ---- what every store says in the same words ---- */

/* NOT_FOUND, "not built". */
enum banyan_status sink_not_built(const struct banyan_projection *projection, struct banyan_error *err);
enum banyan_status sink_no_generation(const struct banyan_projection *projection, uint32_t number,
                                      struct banyan_error *err);
/* BROKEN. */
enum banyan_status sink_taken_over(const struct banyan_projection *projection, uint32_t number,
                                   struct banyan_error *err);
/* INVALID: no load into it. */
enum banyan_status sink_is_sealed(const struct banyan_projection *projection, uint32_t number,
                                  struct banyan_error *err);
/* OK, or MISMATCH: the generation was made for another definition. */
BANYAN_MUST_CHECK enum banyan_status sink_form_check(const struct banyan_projection *projection, uint32_t number,
                                                     const char *form, struct banyan_error *err);
/* May *number* serve after *expected*, if *all* are the generations?  NOT_FOUND, INVALID (not sealed), CONFLICT. */
BANYAN_MUST_CHECK enum banyan_status sink_serve_check(const struct banyan_projection *projection,
                                                      const struct sink_generation *all, size_t count,
                                                      uint32_t expected, uint32_t number, struct banyan_error *err);
/* May it be dropped?  NOT_FOUND, INVALID (it serves). */
BANYAN_MUST_CHECK enum banyan_status sink_drop_check(const struct banyan_projection *projection,
                                                     const struct sink_generation *all, size_t count, uint32_t number,
                                                     struct banyan_error *err);
/* Is it among *all*?  NOT_FOUND. */
BANYAN_MUST_CHECK enum banyan_status sink_open_check(const struct banyan_projection *projection,
                                                     const struct sink_generation *all, size_t count, uint32_t number,
                                                     struct banyan_error *err);
/* May rows be loaded into it?  INVALID: no such table, or it is sealed. */
BANYAN_MUST_CHECK enum banyan_status sink_load_check(const struct sink *sink, unsigned table, bool sealed,
                                                     struct banyan_error *err);
/* May there be one more?  LIMIT. */
BANYAN_MUST_CHECK enum banyan_status sink_make_check(const struct banyan_projection *projection, size_t count,
                                                     struct banyan_error *err);
/* The same key put aside? */
bool sink_aside_same(const struct sink_aside *a, const struct sink_aside *b);

/* ---- a search, looked at once for all stores ---- */

struct sink_words {
    struct banyan_str words[SINK_WORDS_MAX];
    size_t count;
};

struct sink_search_plan {
    const struct banyan_table *table;
    const void *values;                  /* a row that holds what equal[i] has to equal */
    const struct banyan_field *equal[8]; /* fields of equal[i] */
    size_t equal_count;
    const struct banyan_field *range; /* NULL: none */
    struct sink_words words;          /* of the text; the last may be a beginning */
    bool open;                        /* the last is a beginning: nothing but a letter ends the text */
    bool empty;                       /* there was text, but no word in it: nothing is found */
};

/* INVALID with a hint: no such column, no such table, not searched, too far a skip.  Memory in *arena*. */
BANYAN_MUST_CHECK enum banyan_status sink_search_plan(const struct banyan_projection *projection,
                                                      const struct sink_search *search, struct banyan_arena *arena,
                                                      struct sink_search_plan *ret, struct banyan_error *err);
/* Do the values of a row hold, whatever its words are? */
bool sink_search_holds(const struct sink_search_plan *plan, const struct sink_search *search, const void *row);
/* How well do its words fit: 0 not all are found; else the larger the better. */
double sink_search_rank(const struct sink_search_plan *plan, const void *row, struct banyan_arena *scratch);

/* What a list's *equal* must equal, in a row in *arena*.  INVALID with a hint. */
BANYAN_MUST_CHECK enum banyan_status sink_list_value(const struct banyan_projection *projection,
                                                     const struct sink_list *list, struct banyan_arena *arena,
                                                     const void **ret_row, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status sink_table_check(const struct banyan_projection *projection, unsigned table,
                                                      struct banyan_error *err);

#endif
