/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of a migration before it is parsed: what no server would take, told with its place and what to do.
 *
 *   bytes ──▶ UTF-8, no NUL ──scan──▶ tokens ──▶ no psql, no data, no parameters, not too deep ──▶ statement.c
 *
 * psql's own commands and variables, and rows behind COPY … FROM stdin, look like SQL to people and like a mistake to
 * the parser: said here what they are, they never become statements that "run as written".
 *
 * How deep a statement nests is bounded by its tokens, before the parser is asked: the library reads its trees by
 * recursion, and a chain of 5,000 operators ends the process.
 *
 * Threads: none.
 */
#ifndef MIGRATE_SOURCE_H
#define MIGRATE_SOURCE_H

#include "banyan/error.h"
#include "banyan/types.h"
#include "migrate/statement.h"

enum {
    /* Units of nesting: an operator, a parenthesis, a JOIN are one each; a unit takes at most 1.7 KB of the stack. */
    SOURCE_NESTING_MAX = 2000,
    SOURCE_NESTING_DIRECTIVE_MAX = 1500, /* it goes into statements of ours */
};

/* A place that moves forward through a text; backwards it begins anew. */
struct source_cursor {
    struct banyan_str text;
    size_t at;
    unsigned line, column; /* of *at*, from 1; 0: not begun */
};
/* Columns count characters; a byte order mark is none. */
struct statement_place source_place(struct source_cursor *cursor, size_t offset, size_t size);

/* Bytes in front that are no SQL: a byte order mark of UTF-8. */
size_t source_mark_size(struct banyan_str text);

/* What is wrong with a text; *st* OK: nothing. */
struct source_complaint {
    enum banyan_status st;
    size_t offset;     /* of its first byte */
    char message[128]; /* without the place */
    const char *hint;  /* static; NULL: none */
};
/* INVALID: not UTF-8, or a NUL byte. */
struct source_complaint source_check_bytes(struct banyan_str text);

struct PgQuery__ScanResult; /* of pg_query.pb-c.h */
/* INVALID: psql, data, a parameter; LIMIT: nested deeper than *nesting_max*.  *scan*: of *text*, or of its front, up to
 * where the scanner failed. */
struct source_complaint source_check_tokens(struct banyan_str text, const struct PgQuery__ScanResult *scan,
                                            unsigned nesting_max);

#endif
