/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of a backfill share.
 *
 *   batches.c        the walk: passes, steering, what is left over
 *   batches_sql.c    the statements, and one transaction of them
 *   batches_wait.c   pauses, throttle, who holds a row, progress
 */
#ifndef MIGRATE_BATCHES_INT_H
#define MIGRATE_BATCHES_INT_H

#include "banyan/arena.h"
#include "migrate/batches.h"

enum {
    BATCHES_LEFT_MAX = 4096, /* ranges with rows that others held; more: another whole pass */
    BATCHES_MARKS = 8,
    BATCHES_REASON_MAX = 1024,
};

/* How rows are taken. */
enum batches_mode {
    BATCHES_DIRECT = 1, /* UPDATE alone: fast; waits a moment for a row that is held, then all of the batch is off */
    BATCHES_SKIP,       /* rows are locked first, those that are held are left over */
};

struct batch {
    enum batches_mode mode;
    int64_t first, last; /* pages */
    int64_t lock_us;     /* wait for a lock */
    int64_t statement_us;
    bool leftover;    /* behind the walk: the place in the books stays where it is */
    uint64_t written; /* given */
    uint64_t left;    /* SKIP, given: rows that others hold */
};

struct batches_range {
    uint32_t first, last; /* pages */
};

struct batches_mark {
    int64_t at_us, page, rows;
};

/* One backfill under way. */
struct batches {
    struct pg_conn *conn, *watch; /* borrowed */
    const struct plan_batches *plan;
    const struct batches_options *options;
    struct books_step *step;
    struct banyan_arena arena; /* of statements: lives as long as this */
    /* The table, as it was at the start of the pass. */
    int64_t oid, filenode;
    bool replica_role; /* user triggers can be and are kept from firing */
    int64_t deadlock_us;
    struct banyan_str needs, update_direct, update_skip; /* parts of statements */
    /* Steering. */
    uint32_t pages_write, pages_probe, pages_careful; /* careful: at most so many; 0: no such limit */
    double us_a_row, rows_a_page;                     /* of the last batches; 0: not known */
    unsigned skip_left, skip_next;                    /* batches that still SKIP; how many after the next conflict */
    bool probing;                                     /* look for rows first: the last batch found none */
    bool unlimited;                                   /* one page takes longer than a statement may */
    /* Of this pass. */
    bool dirty; /* rows were found, or nobody knows */
    struct batches_range *left;
    size_t left_count;
    bool left_lost; /* more ranges than fit */
    /* Waiting and telling. */
    bool company; /* others work in this database */
    struct throttle_state throttle;
    struct banyan_buf reason; /* why it waits; empty: it does not */
    int64_t asked_us, told_us, placed_us;
    struct batches_mark marks[BATCHES_MARKS];
    size_t mark_count;
};

/* ---- batches_sql.c ---- */

/* Look at the table: *ret_pages; INVALID for one that has no rows of its own.  *ret_gone: it was dropped since. */
BANYAN_MUST_CHECK enum banyan_status batches_look(struct batches *b, int64_t *ret_pages, bool *ret_gone,
                                                  struct banyan_error *err);
/* Settings of the server and rights of the role; makes the parts of the statements. */
BANYAN_MUST_CHECK enum banyan_status batches_prepare(struct batches *b, struct banyan_error *err);
/* One transaction: rows of the range, and the place.  On failure it was rolled back. */
BANYAN_MUST_CHECK enum banyan_status batches_write(struct batches *b, struct batch *batch, struct banyan_error *err);
/* The first row of the range that needs work: its page, and "(page,number)" in *ret_at; -1: there is none. */
BANYAN_MUST_CHECK enum banyan_status batches_find(struct batches *b, int64_t first, int64_t last, int64_t *ret_page,
                                                  char ret_at[32], struct banyan_error *err);
/* The place alone. */
BANYAN_MUST_CHECK enum banyan_status batches_place(struct batches *b, struct banyan_error *err);

/* ---- batches_wait.c ---- */

/* Wait until nothing is against going on. STOPPED, BUSY (paused), or UNAVAILABLE when nobody can be asked. */
BANYAN_MUST_CHECK enum banyan_status batches_may_go_on(struct batches *b, struct banyan_error *err);
/* In company: rest for as long as the batch took. */
void batches_rest(struct batches *b, int64_t worked_us);
/* Say why it waits, in the books and to the caller; at NULL it does not. */
void batches_tell(struct batches *b, const char *reason);
/* Who holds the row at "(page,number)"; into b->reason by batches_tell(). */
void batches_tell_holder(struct batches *b, const char *at);
/* Who holds the table. */
void batches_tell_table(struct batches *b);
void batches_progress(struct batches *b);

#endif
