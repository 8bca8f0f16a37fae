/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One reading of the log for many projections.
 *
 *      log ──▶ chunk ──▶ chunk ──▶ chunk ──▶ … end          a ring of the newest chunks, counted by who uses them
 *                          ▲          ▲
 *                       reader     reader                   near: the events of the ring, read and checked once
 *      ▲
 *   reader with a log reader of its own                     far behind: skips what its filter does not want
 *
 * There is no thread: the first reader that needs the next chunk reads it, the others wait for it; who is at the end
 * waits for the log on behalf of all.  A reader that is behind the ring reads by itself, a stretch at a time, until it
 * meets the ring; one that is ahead of it takes the ring with it.  So nobody waits for a slower one.
 *
 * A reader that is alone reads by itself always: there is nobody to share with.
 *
 * Threads: a scan any; a reader one, but for scan_reader_wake().
 */
#ifndef PROJECTION_SCAN_H
#define PROJECTION_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/error.h"
#include "store/store.h"

struct scan;
struct scan_reader;

struct scan_stats {
    uint64_t chunks, events; /* read for all */
    uint64_t shared;         /* events given out of chunks */
    uint64_t alone;          /* events read by one for itself */
};

struct scan *scan_new(struct store *store); /* borrowed */
void scan_free(struct scan *scan);          /* after all its readers; NULL allowed */
void scan_stats(struct scan *scan, struct scan_stats *ret);

/* *filter*: what a stretch of its own may leave out, borrowed until the close; NULL: nothing. */
struct scan_reader *scan_reader_open(struct scan *scan, const struct store_filter *filter);
void scan_reader_close(struct scan_reader *reader); /* NULL allowed */
BANYAN_MUST_CHECK enum banyan_status scan_reader_seek(struct scan_reader *reader, struct banyan_position position,
                                                      struct banyan_error *err);
/* The next event; borrowed until the next call.  It may leave out what the filter does not want, but not while *all* is
 * true: then the next one is the one behind scan_reader_passed().  NOT_FOUND at the end, without a text. */
BANYAN_MUST_CHECK enum banyan_status scan_reader_next(struct scan_reader *reader, bool all,
                                                      struct store_read_event *ret, struct banyan_error *err);
/* The last position that was given or left out. */
struct banyan_position scan_reader_passed(const struct scan_reader *reader);
/* At the end: wait for more, at most *timeout_us*, or until woken.  BROKEN and the like from the store. */
BANYAN_MUST_CHECK enum banyan_status scan_reader_wait(struct scan_reader *reader, int64_t timeout_us,
                                                      struct banyan_error *err);
/* End its wait soon; by any thread. */
void scan_reader_wake(struct scan_reader *reader);

#endif
