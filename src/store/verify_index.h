/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the index on disk agree with the log?  Every block of every run is checked, and what runs and manifest say is
 * compared with the events in memory that does not grow with them: sums of keyed hashes, one pair for each run.
 *
 *     ids      of a run = one (id, position) for each event of its positions
 *     streams  of a run = (stream, version, position) of each event of its positions, less that of the event before it
 *                         in its stream where that is in the run, too: what is left is the last one of each stream
 *
 * Two different sets have the same sum of 128 bits with a chance of 2^-128.  A sum does not say which entry is wrong;
 * the index is made anew from the log anyway.
 *
 * One exception is no matter of the index: positions in it were durable, so a log that ends before them lost events.
 */
#ifndef STORE_VERIFY_INDEX_H
#define STORE_VERIFY_INDEX_H

#include "banyan/error.h"
#include "log/verify.h"
#include "os/file.h"
#include "store/envelope.h"

struct verify_index;

struct verify_index_options {
    struct os_files *files;
    const char *folder; /* of the index; copied */
    void *context;
    void (*finding)(void *context, const struct log_finding *finding);
};

/* Takes the manifest and its runs as they are now.  *ret NULL when there is no index. */
BANYAN_MUST_CHECK enum banyan_status verify_index_open(const struct verify_index_options *options,
                                                       struct verify_index **ret, struct banyan_error *err);
/* Each event of the log, in order. */
void verify_index_event(struct verify_index *index, const struct envelope *envelope, const struct log_record *record);
/* When the log was read, whose last whole batch ends with *last*; *whole*: no event of it is missing. */
BANYAN_MUST_CHECK enum banyan_status verify_index_finish(struct verify_index *index, uint64_t last, bool whole,
                                                         struct banyan_error *err);
void verify_index_close(struct verify_index *index); /* NULL allowed */

#endif
