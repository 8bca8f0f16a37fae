/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings of a migration: place, lock, what it stops and for how long, the safe way.  Works offline; with a catalog it
 * knows sizes and proofs.  What was not understood is a finding too: never called safe.
 *
 *   | severity | means                                                              |
 *   | error    | stops reads or writes for as long as a table is read or written    |
 *   | warning  | may do so, or breaks running code, or could not be judged          |
 *   | note     | takes a strong lock for a moment: needs lock_timeout and retries   |
 */
#ifndef MIGRATE_LINT_H
#define MIGRATE_LINT_H

#include "banyan/buf.h"
#include "migrate/effect.h"

enum lint_severity {
    LINT_NONE = 0,
    LINT_NOTE,
    LINT_WARNING,
    LINT_ERROR,
};

struct lint_finding {
    const char *rule; /* "rewrite-under-lock"; static, stable: docs/MIGRATE.md lists them */
    enum lint_severity severity;
    struct statement_place place;
    struct banyan_str message;  /* one sentence */
    struct banyan_str safe_way; /* what to write instead, or that `banyan migrate start` does it */
};

struct lint_report {
    struct lint_finding *findings;
    size_t count;
    struct effect *effects; /* one a statement */
};

/* All memory from *arena*. */
BANYAN_MUST_CHECK enum banyan_status lint_migration(const struct migration *migration, struct catalog *catalog,
                                                    struct banyan_arena *arena, struct lint_report *ret,
                                                    struct banyan_error *err);

enum lint_format {
    LINT_TEXT = 0,
    LINT_JSON,
    LINT_SARIF,  /* 2.1.0 */
    LINT_GITHUB, /* workflow commands */
};
struct lint_of {
    const struct migration *migration;
    const struct lint_report *report;
};
void lint_print(const struct lint_of *items, size_t count, enum lint_format format, struct banyan_buf *ret);

#endif
