/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a rebuild share. */
#ifndef PROJECTION_REBUILD_INT_H
#define PROJECTION_REBUILD_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "os/retry.h"
#include "os/thread.h"
#include "projection/eta.h"
#include "projection/rebuild.h"
#include "projection/rebuild_fold.h"

enum {
    REBUILD_SAMPLES = 64, /* rows of a table and slice that VERIFY compares */
    REBUILD_ROUND_US = 200 * 1000,
    REBUILD_PAUSE_US = 20 * 1000, /* how late a yield that ends, a limit or a cancel is seen */
};

/* A row that was loaded, to be looked at again. */
struct rebuild_sample {
    struct rebuild_sample *next;
    unsigned table;
    int64_t key;
    void *row;
};

struct rebuild {
    struct rebuild_options options; /* learned_path is owned */
    struct os_thread thread;
    struct os_retry retry;
    struct seen_rules *rules;

    /* An attempt's, of the rebuild's thread. */
    uint32_t serving;    /* when it began; 0: none */
    uint32_t generation; /* atomic, written by this thread */
    bool droppable;      /* it has not served: a cancel drops it */
    bool sealed;
    struct sink *sink; /* owned, until the engine takes it */
    struct sink_checkpoint checkpoint;
    struct rebuild_skip skip;
    bool recent;               /* the newest keys are still to be served first */
    bool carry_failed;         /* rows of archived streams could not be carried over: fold them, too */
    struct sink_aside *asides; /* owned array, texts in the arena */
    size_t aside_count;
    struct rebuild_sample *samples;                    /* in the arena */
    uint64_t row_counts[BANYAN_PROJECTION_TABLES_MAX]; /* loaded */
    struct banyan_arena arena;
    struct eta_learned run; /* what it teaches */

    uint64_t passed, loaded; /* atomic: positions folded, rows loaded */
    uint64_t load_work;      /* atomic: fields of the rows loaded: what loading takes goes by them */
    int64_t first_row_us;    /* atomic: when LOAD had loaded some; 0: not yet */
    uint64_t rows;           /* atomic: in the tables of the slice that is folded */
    int64_t newest;          /* atomic: recorded_at of the newest event folded */

    struct {
        pthread_mutex_t lock;
        pthread_cond_t moved; /* asked to end, a limit changed, ended */
        bool cancelled;
        uint64_t events_per_second_max;
        int64_t next_events_us; /* when the limit lets events through again */
        enum rebuild_outcome outcome;
        struct banyan_error err; /* of the last attempt */
        enum rebuild_phase phase;
        bool yielding;
        int64_t started_us, phase_started_us, fold_us, load_us; /* monotone; of phases that ended: sums */
        int64_t order_us;                                       /* of load_us: before the first row of each */
        uint64_t events_expected, rows_expected, work_expected;
        struct banyan_position last; /* F0 */
        uint64_t rounds;
        double apply_rate, append_rate;
        uint64_t tail_seen; /* durable position when append_rate was last looked at */
        int64_t tail_seen_us;
        double done; /* told before: it does not go back */
        struct sink_checkpoint checkpoint;
        struct eta_learned learned;
    } shared;
};

int64_t rebuild_clock_us(void);
void rebuild_enter(struct rebuild *rebuild, enum rebuild_phase phase);
/* May *events* more be worked on?  Waits for critical ones and for the limit.  False: it is to end. */
bool rebuild_gate(void *rebuild, uint64_t events);
bool rebuild_ends(struct rebuild *rebuild);
/* So long of the phase that runs had nothing to do with it. */
void rebuild_leave_out(struct rebuild *rebuild, int64_t us);
/* So many rows of a table are loaded. */
void rebuild_loaded(struct rebuild *rebuild, unsigned table, size_t rows);

/* rebuild_archive.c: which streams are left out; loads the rows that are carried over instead.  Then the fold may go up
 * to *last only, which is lowered. */
BANYAN_MUST_CHECK enum banyan_status rebuild_archived(struct rebuild *rebuild, struct banyan_position *last,
                                                      struct banyan_error *err);

/* recorded_at of the event there. */
BANYAN_MUST_CHECK enum banyan_status rebuild_read_at(struct rebuild *rebuild, struct banyan_position position,
                                                     struct banyan_time *ret, struct banyan_error *err);

/* rebuild_recent.c: the newest keys, served while the others are loaded.  Can it be done, and is it of use? */
bool rebuild_recent_wanted(const struct rebuild *rebuild, const struct sink_generation *generations, size_t count);
/* Make and serve them, from all rows.  STOPPED; whatever else fails, the rebuild goes on without: OK. */
BANYAN_MUST_CHECK enum banyan_status rebuild_recent(struct rebuild *rebuild, const struct rebuild_folded *folded,
                                                    struct banyan_error *err);
/* The same, where all rows do not fit into memory: those of the newest keys are folded alone. */
BANYAN_MUST_CHECK enum banyan_status
rebuild_recent_slice(struct rebuild *rebuild, const struct rebuild_fold_options *all, struct banyan_error *err);

/* rebuild_index.c: what the store can make of a table whose loads are closed, beside other loads. */
struct rebuild_indexing;
/* NULL: a store that makes all when it is sealed; allowed below. */
struct rebuild_indexing *rebuild_index_begin(struct rebuild *rebuild);
/* The loads of *table* are closed. */
void rebuild_index_table(struct rebuild_indexing *indexing, unsigned table);
/* Waits until all is made, and frees it.  *so_far* other than OK leaves out what was not begun, and is the result. */
BANYAN_MUST_CHECK enum banyan_status rebuild_index_end(struct rebuild_indexing *indexing, enum banyan_status so_far,
                                                       struct banyan_error *err);

/* rebuild_load.c; *indexing* not NULL: no more rows come. */
BANYAN_MUST_CHECK enum banyan_status rebuild_load(struct rebuild *rebuild, const struct rebuild_folded *folded,
                                                  struct rebuild_indexing *indexing, struct banyan_error *err);
/* MISMATCH with what differs. */
BANYAN_MUST_CHECK enum banyan_status rebuild_verify(struct rebuild *rebuild, struct banyan_error *err);

/* rebuild_catch_up.c: does it serve now?  Then rounds, and the switch. */
bool rebuild_serves(struct rebuild *rebuild, uint32_t generation);
BANYAN_MUST_CHECK enum banyan_status rebuild_catch_up(struct rebuild *rebuild, struct banyan_error *err);

#endif
