/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a migration stands, seen from outside: what the books say, who works on it, who is in its way, how far an index
 * build is.  Over a connection of its own; changes nothing, and waits for nobody.
 *
 * Threads: one at a time.
 */
#ifndef MIGRATE_LOOK_H
#define MIGRATE_LOOK_H

#include "migrate/blockers.h"
#include "migrate/books.h"

/* pg_stat_progress_create_index of a session that works on the migration. */
struct look_index {
    struct banyan_str phase; /* "building index: scanning table"; empty: none is built */
    struct banyan_str table;
    int64_t done, total; /* blocks, or tuples where the phase counts them; 0: not counted */
    int64_t waiting_pid; /* whose end it waits for; 0: nobody's */
};

/* Two looks make a rate: keep it between them, all zero before the first. */
struct look_memory {
    size_t step;
    uint32_t pass;
    int64_t at_us, rows, page; /* monotone time of the look, and what was done then */
    double rows_a_second, pages_a_second;
};

struct look {
    struct books_migration migration;
    struct plan plan;
    size_t step;          /* at work, or the next one; plan.step_count: none is left in this phase */
    size_t done;          /* steps */
    bool working;         /* somebody works on it now */
    double fraction;      /* of the step; negative: not known */
    double rows_a_second; /* of a backfill; negative: not known */
    int64_t eta_us;       /* of the step; CATALOG_UNKNOWN */
    int64_t session_us;   /* since whoever works on it is connected */
    int64_t running_us;   /* of the backfill that is under way, since then: not yet in execution_ms */
    struct look_index index;
    struct blocker *blockers;
    size_t blocker_count;
};

/* NOT_FOUND: no such migration.  Memory from *arena*. */
BANYAN_MUST_CHECK enum banyan_status look_at(struct pg_conn *conn, struct banyan_str version,
                                             struct look_memory *memory, struct banyan_arena *arena, struct look *ret,
                                             struct banyan_error *err);

#endif
