/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was done, in the database itself: banyan.schema_migrations (one row a migration, its plan in it) and
 * banyan.schema_migration_steps (one row a step).
 *
 *   started ▶ expanding ▶ backfilling ▶ ready ▶ contracting ▶ completed ▶ cleaning ▶ done
 *                 │           │          ▲        │              │
 *                 │           │          └─ reopening ───────────┤
 *                 └───────────┴──────────┴────────┴──────────────┴──▶ rolling_back ▶ rolled_back
 *
 * A step is marked in the transaction that does it, or, where it runs outside one, before and after, and proven by what
 * the catalog says.  A backfill's place is written by the batch's own transaction.  So kill -9 at any instant goes on
 * where it was.
 *
 * One migrator at a time: a session lock (pg_try_advisory_lock) that is tried and never waited for: CREATE INDEX
 * CONCURRENTLY waits for who waits.  One unfinished migration a table.
 *
 * Threads: one at a time; books_read() on a connection of its own from anywhere.
 */
#ifndef MIGRATE_BOOKS_H
#define MIGRATE_BOOKS_H

#include "banyan/arena.h"
#include "migrate/plan.h"
#include "pg/conn.h"

enum books_state {
    BOOKS_NONE = 0,
    BOOKS_STARTED,
    BOOKS_EXPANDING,
    BOOKS_BACKFILLING,
    BOOKS_READY,
    BOOKS_CONTRACTING,
    BOOKS_REOPENING, /* back from contract to ready */
    BOOKS_COMPLETED,
    BOOKS_CLEANING,
    BOOKS_DONE,
    BOOKS_ROLLING_BACK,
    BOOKS_ROLLED_BACK,
};
const char *books_state_name(enum books_state state); /* "rolling_back" */

enum books_step_state {
    BOOKS_STEP_OPEN = 0,
    BOOKS_STEP_RUNNING,
    BOOKS_STEP_DONE,
    BOOKS_STEP_UNDOING, /* *undone* actions of it are done */
    BOOKS_STEP_UNDONE,
};
struct books_step {
    enum books_step_state state;
    int64_t started_us, ended_us; /* of the server's clock, UTC; 0: not yet; written as 0 where it has begun (or has
                                     ended), it is the time of the mark's transaction (of the mark) */
    uint32_t tries, undone;
    uint32_t pass;             /* of a backfill: from 1 */
    int64_t page, pages;       /* the next one, and as many as there were at the start of the pass */
    uint32_t batch_pages;      /* of the last batch; it follows --batch-time */
    int64_t rows;              /* written so far */
    struct banyan_str message; /* what it waits for, why it failed; may be empty */
};

struct books_migration {
    struct banyan_str version, description;
    uint8_t checksum[32]; /* zeroes: adopted, not known */
    enum books_state state;
    bool paused;
    int64_t applied_us; /* when it was started */
    struct banyan_str applied_by;
    int64_t execution_ms;              /* working time so far, all phases */
    struct banyan_str rollback_script; /* what a rollback of all of it would run, as SQL */
    struct banyan_str source;          /* the file as it was started: drift is told with a diff */
    struct banyan_str plan;            /* JSON, plan_read() */
    struct books_step *steps;          /* one a step of the plan */
    size_t step_count;
};

/* Make or upgrade the tables; PRIVILEGE with the GRANT to run.  Where a schema_migrations of the usual form is found
 * (public, version, description, applied_at, applied_by, execution_time_ms, rollback_script) and ours is empty, its
 * rows are adopted, once. */
BANYAN_MUST_CHECK enum banyan_status books_prepare(struct pg_conn *conn, struct banyan_error *err);
/* The session lock; BUSY with who has it (pid, application, since when). */
BANYAN_MUST_CHECK enum banyan_status books_lock(struct pg_conn *conn, struct banyan_error *err);

/* A new one, state started; also in place of one of the same version that was rolled back.  CONFLICT: the version is
 * there (with the diff where the file was edited), or a table is in another unfinished one: one that was completed
 * counts until its cleanup is done, if there is any. */
BANYAN_MUST_CHECK enum banyan_status books_start(struct pg_conn *conn, const struct migration *migration,
                                                 const struct plan *plan, struct banyan_error *err);
/* NOT_FOUND where there is none (also no tables). */
BANYAN_MUST_CHECK enum banyan_status books_read(struct pg_conn *conn, struct banyan_str version,
                                                struct banyan_arena *arena, struct books_migration *ret,
                                                struct banyan_error *err);
/* All, oldest first, without plan, source and steps. */
BANYAN_MUST_CHECK enum banyan_status books_list(struct pg_conn *conn, struct banyan_arena *arena,
                                                struct books_migration **ret, size_t *ret_count,
                                                struct banyan_error *err);
/* MISMATCH with a unified diff as the detail, cut to what fits (difference.h gives all of it): the file is not the one
 * that was started. */
BANYAN_MUST_CHECK enum banyan_status books_same(const struct books_migration *books, const struct migration *migration,
                                                struct banyan_error *err);

/* ---- marks; each one statement, inside or outside a transaction ---- */

BANYAN_MUST_CHECK enum banyan_status books_state(struct pg_conn *conn, struct banyan_str version,
                                                 enum books_state state, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status books_pause(struct pg_conn *conn, struct banyan_str version, bool paused,
                                                 struct banyan_error *err);
/* All members of *step* are written. */
BANYAN_MUST_CHECK enum banyan_status books_step(struct pg_conn *conn, struct banyan_str version, size_t number,
                                                const struct books_step *step, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status books_worked(struct pg_conn *conn, struct banyan_str version, int64_t ms,
                                                  struct banyan_error *err);

#endif
