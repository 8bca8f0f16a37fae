/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Archiving: which streams are done with, and old segments out of the way.
 *
 * A stream is marked archivable from a date on.  The mark is an event of its own, in the stream "$archive-<stream>", so
 * it is ordered, durable and backed up like everything else, and found without a table in memory.  Nothing is removed:
 * a mark says to projections and to who reads that the stream may be left out.
 *
 * Old segments are compressed into the cold folder, whatever streams they hold; they stay readable and verifiable.
 *
 * Threads: any; one archiving of segments at a time (BUSY).
 */
#ifndef STORE_ARCHIVE_H
#define STORE_ARCHIVE_H

#include "log/log.h"
#include "store/store.h"

struct store_archive_mark {
    bool marked;
    struct banyan_time from;        /* archivable from then on */
    struct banyan_version version;  /* of the stream when it was marked: later events are not covered */
    struct banyan_time recorded_at; /* when it was marked or cleared */
};

/* Mark *stream* archivable from *from* on, or clear its mark (*from* BANYAN_TIME_NULL).  Durable when it returns.
 * NOT_FOUND: there is no such stream; LIMIT: its name is too long; CONFLICT: another one was faster. */
BANYAN_MUST_CHECK enum banyan_status store_archive_set(struct store *store, struct banyan_str stream,
                                                       struct banyan_time from, struct banyan_error *err);
/* What is said of *stream*; not marked when nothing was ever said. */
BANYAN_MUST_CHECK enum banyan_status store_archive_get(struct store *store, struct banyan_str stream,
                                                       struct store_archive_mark *ret, struct banyan_error *err);

/* Called for each segment that was compressed; may be NULL. */
typedef void (*store_archive_told)(void *context, const struct log_archived *segment);

/* Compress all sealed segments that have only events up to *limit*.  *ret sums up.  What was done before a failure
 * stays done. */
BANYAN_MUST_CHECK enum banyan_status store_archive_segments(struct store *store, struct banyan_position limit,
                                                            store_archive_told told, void *context,
                                                            struct log_archived *ret, struct banyan_error *err);

#endif
