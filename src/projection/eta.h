/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a rebuild will still take: the sum of its phases, each from its own rate.
 *
 *   FOLD      events left × seconds an event          measured in this run, first blended with what was learned
 *   LOAD      rows × a constant, to put them in order; rows left × seconds a row
 *   INDEX     rows × log2 rows × a constant           nothing can be seen of it while it runs: learned from past runs
 *   VERIFY    rows × a constant
 *   CATCH_UP  backlog then / (apply rate − append rate), never when appends outrun it
 *   SWITCH    a constant
 *
 * A phase that takes longer than was thought does not go to 0: what is left is a part of what it has taken.
 *
 * Pure.  Threads: any, on their own data.
 */
#ifndef PROJECTION_ETA_H
#define PROJECTION_ETA_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/types.h"
#include "projection/engine.h"

/* What past runs of a projection taught; 0: nothing. */
struct eta_learned {
    double fold_event_s; /* seconds an event */
    double order_row_s;  /* of loading, before the first row is given */
    double load_row_s;
    double index_row_s; /* divided by log2 of the rows */
    double verify_row_s;
    double apply_event_s; /* of catching up */
    double switch_s;
    double rows_per_event; /* rows that there were at the end, for each event of the fold */
};

/* Where it is. */
struct eta_now {
    enum rebuild_phase phase;
    int64_t elapsed_us;       /* since it was begun */
    int64_t phase_us;         /* of that, in this phase (FOLD and LOAD of all slices so far) */
    int64_t fold_us, load_us; /* in all slices so far */
    int64_t order_us;         /* of load_us: before the first row of each */
    uint64_t events_done, events_expected;
    uint64_t rows_done, rows_expected; /* expected 0: not known; a row of many fields counts for more */
    uint64_t rows_seen;                /* in memory while it folds */
    uint64_t backlog;                  /* events to catch up with now: those behind what is folded at the end */
    double append_rate;                /* events a second; what is appended while it runs */
    double apply_rate;                 /* measured in this run's catching up; 0: not yet */
    uint64_t events_per_second_max;    /* 0: no limit */
};

struct eta {
    int64_t us;              /* never 0; INT64_MAX: never, or not known */
    int64_t us_low, us_high; /* about 1 of 10 runs ends before, 1 of 10 after */
    double done;             /* below 1 */
};

void eta_estimate(const struct eta_learned *learned, const struct eta_now *now, struct eta *ret);
/* Take in a run: *run* has 0 for what it does not know. */
void eta_learn(struct eta_learned *learned, const struct eta_learned *run);
/* Append as lines of text; read them back, leaving out what makes no sense. */
void eta_learned_write(const struct eta_learned *learned, struct banyan_buf *ret);
void eta_learned_read(struct banyan_str text, struct eta_learned *ret);

#endif
