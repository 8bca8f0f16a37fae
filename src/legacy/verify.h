/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verify: every row and every column of a legacy table against the read model that mirrors it, while both live.
 *
 *   for each key range:  legacy rows in one snapshot ─▶ fence in the WAL ─▶ wait until the view has passed it ─▶ view
 * rows keys that differ are read again behind a later fence; a difference counts only if it persists
 *
 * Threads: the caller's; it has connections of its own.
 */
#ifndef LEGACY_VERIFY_H
#define LEGACY_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"
#include "legacy/legacy.h"
#include "projection/sink.h"

struct verify_difference {
    int64_t key;
    const void *legacy_row; /* NULL: missing there */
    const void *view_row;   /* NULL: missing there */
    uint64_t fields;        /* that differ, by index in the record of the mirrored table */
};

struct verify_options {
    const struct legacy_options *legacy;
    const struct banyan_projection *projection; /* with mirrors: its tables[0] has to equal that table */
    struct sink_view *view;                     /* borrowed */
    /* Wait until the view has everything up to *lsn*; TIMEOUT. */
    enum banyan_status (*wait)(void *context, uint64_t lsn, int64_t timeout_us, struct banyan_error *err);
    void *wait_context;
    uint64_t range_rows; /* 0: 10,000 */
    unsigned rounds_max; /* of looking again; 0: 10 */
    struct os_stop *stop;
    /* Called for each persisting difference; may be NULL. */
    void (*difference)(void *context, const struct verify_difference *difference);
    /* Called after each range; may be NULL. */
    void (*progress)(void *context, uint64_t rows_done, uint64_t rows_estimated);
    void *context;
};

struct verify_report {
    uint64_t rows, cells;  /* compared */
    uint64_t looked_again; /* keys that differed at first: changed while being compared */
    uint64_t differences;  /* that persisted */
    uint64_t missing_in_view, missing_in_legacy, unequal;
    uint64_t unsettled; /* keys that changed at each look: not judged */
    int64_t elapsed_us;
    uint64_t fence_lsn; /* of the last fence: both sides agree as of this */
};

/* OK also with differences: look at the report.  Errors are those of the two sides. */
BANYAN_MUST_CHECK enum banyan_status legacy_verify(const struct verify_options *options, struct verify_report *ret,
                                                   struct banyan_error *err);

#endif
