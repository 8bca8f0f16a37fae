/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From plain DDL to steps that block nobody.
 *
 *   ┌ checks ┐   ┌ expand ┐   ┌ backfill ┐            ┌ contract ┐              ┌ cleanup ┐
 *   │ rows   │ ▶ │ adds   │ ▶ │ fills,   │ ▶ "ready": │ takes    │ ▶ completed: │ drops   │ ▶ done: no way back
 *   │ fit    │   │        │   │ proves   │ both codes │ away     │ kept aside   │ kept    │
 *   └────────┘   └────────┘   └──────────┘  work      └──────────┘              └─────────┘
 *
 *   old code works …until contract begins                 new code works from "ready" on, in every later phase
 *
 *   ALTER TABLE orders ALTER price TYPE numeric(18,8)
 *     expand    shadow column, sync trigger
 *     backfill  batches; NOT NULL proven by a CHECK; indexes made for the shadow CONCURRENTLY
 *     contract  one short transaction: names and constraints swapped, trigger turned round, the old column kept aside
 *     cleanup   trigger and old column dropped
 *
 * Rules that every plan obeys:
 * 1. What tightens for existing code (CHECK, NOT NULL, FOREIGN KEY on columns that are there; DROP of a column, table,
 *    default) is contract.  What loosens or adds is expand.  What is built (index, UNIQUE, PRIMARY KEY) is backfill.
 * 2. No step holds a lock that stops writes while it reads or writes a table's rows, but as written and allowed, or on
 * a table that is so small that it does not matter (PLAN_SMALL_BYTES).
 * 3. Nothing is lost before cleanup: what is dropped or overwritten is kept aside first; each step can be undone until
 *    then, in reverse order.
 * 4. One transaction, one or more tables: their locks are taken at its start, in one order, by LOCK TABLE.
 * 5. What is not understood, or cannot be made safe, is one step that runs as it was written, and only when allowed.
 *
 * Pure: a migration and a catalog in, a plan out; golden files hold it.  A plan is stored when it starts, as JSON, and
 * never made again from a schema that it has half changed.
 *
 * Threads: none; a plan is read-only once made.
 */
#ifndef MIGRATE_PLAN_H
#define MIGRATE_PLAN_H

#include "banyan/buf.h"
#include "migrate/effect.h"

enum {
    PLAN_FORMAT = 1,                    /* of the JSON */
    PLAN_LOCKS_MAX = 16,                /* of a step; those behind are counted */
    PLAN_SMALL_BYTES = 4 * 1024 * 1024, /* written or read under a lock in some tens of milliseconds */
};

enum plan_phase {
    PLAN_EXPAND = 1,
    PLAN_BACKFILL,
    PLAN_CONTRACT,
    PLAN_CLEANUP,
};
const char *plan_phase_name(enum plan_phase phase); /* "expand" */

enum plan_kind {
    PLAN_TRANSACTION = 1, /* statements in one transaction, together with their mark in the books */
    PLAN_OUTSIDE,         /* one statement that cannot run in a transaction: DETACH CONCURRENTLY, ALTER TYPE ADD VALUE.
                             Running it once more has to be harmless, or *done* has to say that it is done */
    PLAN_INDEX,           /* CREATE INDEX CONCURRENTLY of *index*; invalid leftovers are dropped first */
    PLAN_INDEX_DROP,      /* DROP INDEX CONCURRENTLY of *index*, as long as it is there */
    PLAN_BATCHES,
};

/* How a step that met a lock is tried again. */
enum plan_retry {
    PLAN_RETRY_SHORT = 1, /* a strong lock: lock_timeout of some 100 ms, back-off with jitter, many tries */
    PLAN_RETRY_LONG,      /* a weak lock and long work (VALIDATE): lock_timeout of seconds */
    PLAN_RETRY_WATCH,     /* CONCURRENTLY: no lock_timeout; the runner watches what it waits for */
};

/* Rows of one table (a leaf partition) that are written page by page; t is the alias of the table. */
struct plan_batches {
    struct banyan_str table; /* quoted, with schema */
    struct banyan_str set;   /* target list of UPDATE: "a" = t."b"::numeric(18,8) */
    struct banyan_str needs; /* of rows that are still to be written; false for a row as soon as *set* was applied */
    struct banyan_str keep; /* INSERT … SELECT … FROM table t JOIN due ON t.ctid = due.at … ON CONFLICT DO NOTHING:
                               original values, in the same statement; empty: nothing is overwritten */
};

struct plan_action {
    enum plan_kind kind;
    enum plan_retry retry;
    struct banyan_str *statements; /* in order, ready to run, no semicolon; not of BATCHES */
    size_t statement_count;
    struct banyan_str index;     /* INDEX, INDEX_DROP: "schema"."name", quoted */
    struct banyan_str done;      /* OUTSIDE: SQL that answers true once it was done; may be empty */
    struct plan_batches batches; /* BATCHES */
};

struct plan_lock {
    struct banyan_str relation;
    enum effect_lock lock;
};

struct plan_step {
    enum plan_phase phase;
    const char *name;        /* "add-shadow-column"; static, stable: docs/MIGRATE.md lists them */
    struct banyan_str title; /* one line for people: "a column for the new type of orders.price" */
    struct plan_action act;
    struct plan_action *undo; /* in the order in which they run; none: nothing to undo */
    size_t undo_count;
    bool final;                             /* cannot be undone: an enum value, cleanup */
    bool as_written;                        /* not made safe: needs --allow */
    struct banyan_str old_code, new_code;   /* what each sees from here on; empty: nothing changes for it */
    struct plan_lock locks[PLAN_LOCKS_MAX]; /* strongest first; measured facts of effect.h */
    size_t lock_count;                      /* may be more than are told */
    int64_t work_us, disk_bytes, wal_bytes; /* estimates; CATALOG_UNKNOWN, 0: none to speak of */
    size_t of;                              /* statement of the migration that it comes from */
};

/* Asked before expand, and again before the phase that needs it.  *sql* gives one row: a count that has to be 0. */
struct plan_check {
    enum plan_phase phase;
    bool late; /* only before its phase: it is about what expand makes */
    struct banyan_str sql;
    struct banyan_str message; /* "rows of orders.price do not fit numeric(8,2)": behind the count */
    struct banyan_str hint;
};

struct plan {
    struct plan_step *steps; /* in the order in which they run: by phase */
    size_t step_count;
    struct plan_check *checks;
    size_t check_count;
    struct banyan_str *refusals; /* why it cannot start, with the way out; one each */
    size_t refusal_count;
    struct banyan_str *notes; /* what a careful reader should know: triggers that will fire, an enum value that stays */
    size_t note_count;
    struct banyan_str *tables; /* and foreign keys that it changes, shown names: one unfinished migration each */
    size_t table_count;
    bool needs_allow; /* a step is as written */
};

/* All memory from *arena*, or borrowed from *migration* and *catalog*.  INVALID: a directive that fits nothing.  The
 * catalog is changed: it follows the migration. */
BANYAN_MUST_CHECK enum banyan_status plan_make(const struct migration *migration, struct catalog *catalog,
                                               struct banyan_arena *arena, struct plan *ret, struct banyan_error *err);
/* For people: phases, statements, locks, retries, what each code sees, sizes, times, undo. */
void plan_text(const struct plan *plan, const struct migration *migration, struct banyan_buf *ret);
/* All of it; what is stored in the books. */
void plan_json(const struct plan *plan, struct banyan_buf *ret);
/* The same back.  CORRUPT with the place where it is none. */
BANYAN_MUST_CHECK enum banyan_status plan_read(struct banyan_str json, struct banyan_arena *arena, struct plan *ret,
                                               struct banyan_error *err);

#endif
