/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A migration tried on a throwaway database: the schema of the real one with up to N rows a table (or a dump in a
 * throwaway cluster), every step timed, its locks measured, and the statements of old and new code run against every
 * phase.
 *
 *   | code | before | expanded | ready | completed | reopened | rolled back |
 *   | old  | must   | must     | must  | may fail  | must     | must        |
 *   | new  | may    | may      | must  | must      | must     | may         |
 */
#ifndef MIGRATE_REHEARSE_H
#define MIGRATE_REHEARSE_H

#include "migrate/run.h"

struct rehearse_options {
    const char *conninfo;            /* the real one: read only; a throwaway database is made beside it */
    const char *dump;                /* a file of pg_dump: a throwaway cluster is made of it instead; NULL: none */
    int64_t rows;                    /* of each table */
    const char *old_code, *new_code; /* SQL texts, each statement in a transaction that is rolled back; NULL: none */
    bool allow;
    struct os_stop *stop;
};
struct rehearse_step {
    size_t step; /* of the plan */
    bool undo;
    int64_t elapsed_us;
    struct plan_lock locks[PLAN_LOCKS_MAX]; /* held at its end, measured */
    size_t lock_count;
};
struct rehearse_run {
    enum books_state at; /* NONE: before, EXPANDING: behind expand, REOPENING: ready again */
    bool is_new;
    size_t statement; /* of its file, and where it begins */
    unsigned line;
    bool failed, allowed_to; /* to fail: see the table above */
    struct banyan_str message;
    int64_t elapsed_us;
};
struct rehearse_report {
    struct plan plan;
    struct rehearse_step *steps;
    size_t step_count;
    struct rehearse_run *runs;
    size_t run_count;
    int64_t rows;              /* that were copied */
    struct banyan_str failure; /* of a phase: what ended the rehearsal; empty: none */
    bool rolled_back;          /* the rollback was tried, and worked */
    struct banyan_str differs; /* tables whose values are not as before after it; empty: none */
    bool failed;               /* a phase, the values, or code that must work */
};

/* INVALID where old or new code cannot be split into statements.  A plan that refuses, or a step that fails, is no
 * failure of this: it is in the report. */
BANYAN_MUST_CHECK enum banyan_status rehearse(const struct rehearse_options *options, const struct migration *migration,
                                              struct banyan_arena *arena, struct rehearse_report *ret,
                                              struct banyan_error *err);
void rehearse_text(const struct rehearse_report *report, struct banyan_buf *ret);
void rehearse_json(const struct rehearse_report *report, struct banyan_buf *ret);

#endif
