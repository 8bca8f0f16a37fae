/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small legacy application for tests: documents with lines, and the domain that maps them.
 *
 *   docs (id, title, body, amount, note, changed_at)     root; body is large, so that it is TOASTed
 *   lines (doc_id, id, text)                             children
 *
 * Each event says what the row is, so that a lost, doubled or reordered change shows.
 */
#ifndef SUPPORT_DOC_DOMAIN_H
#define SUPPORT_DOC_DOMAIN_H

#include "banyan/domain.h"

enum doc_event {
    DOC_PUT,
    DOC_DELETED,
    DOC_LINE_PUT,
    DOC_LINE_REMOVED,
    DOC_EVENTS,
};

enum {
    DOC_TABLE_DOCS,
    DOC_TABLE_LINES,
};

struct doc_row {
    int64_t id;
    struct banyan_str title;
    struct banyan_str body; /* optional */
    struct banyan_decimal amount;
    struct banyan_str note; /* optional */
    struct banyan_time changed_at;
};
struct doc_line {
    int64_t doc_id;
    int64_t id;
    struct banyan_str text; /* optional */
};
struct doc_deleted {
    bool whole; /* the old row was known */
};

/* The tables. */
extern const char doc_schema_sql[];
extern const struct banyan_domain doc_domain;

#endif
