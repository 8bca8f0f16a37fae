/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the pre-flight share: the report that is being written. */
#ifndef LEGACY_CHECK_INT_H
#define LEGACY_CHECK_INT_H

#include <stdbool.h>

#include "legacy/check.h"
#include "legacy/tables.h"

enum {
    CHECK_FINDINGS_MAX = 1024,
    CHECK_SQL_MAX = 64 * 1024,
};

struct check {
    const struct legacy_options *options;
    struct pg_conn *conn;
    struct banyan_arena *arena;
    struct check_report *report;
    bool slot_exists;           /* nothing has to be made, so nothing can block it */
    struct check_place *places; /* in the arena; mapping by mapping */
    size_t place_count;
};

/* A table as one mapping uses it. */
struct check_place {
    const struct banyan_legacy_table *spec;
    const char *category; /* of the mapping */
    bool root;
    bool again; /* a mapping before has the table: what does not depend on the mapping has been told */
    bool resolved;
    struct legacy_table table;
};

/* Add a finding; texts are copied.  *hint* NULL where nothing has to be done. */
void check_ok(struct check *check, const char *name, const char *found);
void check_warn(struct check *check, const char *name, const char *found, const char *hint);
void check_fail(struct check *check, enum banyan_status status, const char *name, const char *found, const char *hint);
/* A text in the report's arena. */
const char *check_text(struct check *check, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
/* A cell in the report's arena; NULL is "". */
const char *check_cell(struct check *check, const struct pg_result *result, size_t row, size_t column);

/* ---- check_tables.c: tables and the publication ---- */
BANYAN_MUST_CHECK enum banyan_status check_tables(struct check *check, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status check_publication(struct check *check, struct banyan_error *err);

#endif
