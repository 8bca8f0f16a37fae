/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The append-only log: batches of records in segment files.  It knows nothing of streams: the store does.
 *
 *   append (any thread, one at a time) ─▶ queue ─▶ flusher: pwrite, one fdatasync a group ─▶ durable ─▶ readers
 *
 * Invariants
 *   1. Positions are dense: the n-th record ever appended has position n.
 *   2. A batch is visible whole or not at all, and only after it was flushed.
 *   3. A position once visible never changes its bytes.
 *   4. Recovery removes only what was never acknowledged: an incomplete or torn tail.  Damage that is followed by
 *      something written after the damaged place had been flushed is corruption: open refuses and names the place.
 *   5. After a failed flush the log is broken: it refuses work until it is opened again.
 *
 * A batch may be written in several frames, so that a batch larger than memory can be appended; only the last frame
 * makes it real.  docs/FORMATS.md has the bytes.
 *
 * Threads: log_append_*() by one thread at a time (the store has the lock); everything else by any thread.
 */
#ifndef LOG_LOG_H
#define LOG_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/error.h"
#include "banyan/types.h"
#include "os/clock.h"
#include "os/file.h"

struct log;
struct log_reader;

enum {
    LOG_RECORD_BYTES_MAX = 64 * 1024 * 1024 + 65536, /* an event of 64 MiB with its envelope */
};

struct log_options {
    const char *folder;      /* of the segments; made when missing */
    const char *cold_folder; /* of archived ones, maybe on another disk; made when it is needed; NULL: none */
    struct os_files *files;  /* borrowed */
    struct os_clock *clock;  /* borrowed */
    uint64_t segment_bytes;  /* 0: 64 MiB */
    bool read_only;          /* no flusher, no repair: a torn tail is only left out */
};

/* Open, repairing a torn tail.  Gives *ret.  CORRUPT names file, offset and position; NO_SPACE, IO. */
BANYAN_MUST_CHECK enum banyan_status log_open(const struct log_options *options, struct log **ret,
                                              struct banyan_error *err);
/* Flushes what was appended, stops the flusher.  NULL allowed. */
void log_close(struct log *log);

/* ---- append ---- */

/* Start a batch.  */
BANYAN_MUST_CHECK enum banyan_status log_append_begin(struct log *log, struct banyan_error *err);
/* Add one record; gives its position.  May hand full frames to the flusher. */
BANYAN_MUST_CHECK enum banyan_status log_append_record(struct log *log, struct banyan_str record,
                                                       struct banyan_position *ret, struct banyan_error *err);
/* End the batch (at least one record).  It becomes visible when the flusher has flushed it.  After NO_SPACE the batch
 * is still open: commit again or abort. */
BANYAN_MUST_CHECK enum banyan_status log_append_commit(struct log *log, struct banyan_error *err);
/* The same, for a caller that calls log_wait_durable() at once: no other thread is woken for it, which saves a lone
 * writer two switches of threads. */
BANYAN_MUST_CHECK enum banyan_status log_append_commit_quiet(struct log *log, struct banyan_error *err);
/* Give the batch up.  What of it was written already is taken back from the disk; where that fails the log is broken
 * until it is opened again. */
void log_append_abort(struct log *log);

/* Last position handed out to a committed batch, flushed or not. */
struct banyan_position log_tail(struct log *log);
/* Last position that is flushed and visible. */
struct banyan_position log_durable(struct log *log);
/* Wait until *position* is durable; BROKEN when it never will be; TIMEOUT.  NO_SPACE: it was appended but the disk is
 * full; it becomes durable when there is room, unless the process ends before.  INT64_MAX: no limit. */
BANYAN_MUST_CHECK enum banyan_status log_wait_durable(struct log *log, struct banyan_position position,
                                                      int64_t timeout_us, struct banyan_error *err);
/* Why the log is broken; OK when it is not. */
enum banyan_status log_health(struct log *log, struct banyan_error *err);

/* ---- read ---- */

struct log_record {
    struct banyan_position position;
    struct banyan_time recorded_at; /* when its batch was appended */
    struct banyan_str data;         /* borrowed until the next call on the reader */
    bool ends_batch;
};

/* A reader of durable records, checksums verified.  Ends with log_reader_close().  Not for two threads at once. */
struct log_reader *log_reader_open(struct log *log);
void log_reader_close(struct log_reader *reader);
/* The next record is *position* (1 … durable+1). */
BANYAN_MUST_CHECK enum banyan_status log_reader_seek(struct log_reader *reader, struct banyan_position position,
                                                     struct banyan_error *err);
/* Is *position* in the frame that is loaded, so that a seek there reads and checks nothing? */
bool log_reader_holds(const struct log_reader *reader, struct banyan_position position);
/* NOT_FOUND at the durable end (no error text): try again after log_wait_durable(). */
BANYAN_MUST_CHECK enum banyan_status log_reader_next(struct log_reader *reader, struct log_record *ret,
                                                     struct banyan_error *err);

/* The first position recorded at or after *time*, also where the clock went back; durable+1 when there is none yet. */
BANYAN_MUST_CHECK enum banyan_status log_position_at(struct log *log, struct banyan_time time,
                                                     struct banyan_position *ret, struct banyan_error *err);

/* ---- archive ---- */

struct log_archived {
    uint64_t segments; /* 0: there was nothing to do; else 1 */
    uint64_t first_position, last_position;
    uint64_t bytes_before, bytes_after; /* of the segment */
};
/* Compress the oldest sealed segment that is not cold and has only records up to *limit* into the cold folder, then
 * remove the plain file.  It is read, checked and made sure of before; readers go on, whatever they have open.  A crash
 * at any point leaves one whole file at least.  For one thread at a time (BUSY). INVALID without a cold folder or read
 * only; CORRUPT when the segment is damaged (it stays); NO_SPACE; IO. */
BANYAN_MUST_CHECK enum banyan_status log_segment_archive(struct log *log, struct banyan_position limit,
                                                         struct log_archived *ret, struct banyan_error *err);

/* ---- facts ---- */

struct log_stats {
    uint64_t records, batches, groups; /* since the open */
    uint64_t bytes;                    /* of all frames, before they are compressed */
    uint64_t segments;
    uint64_t cold_segments;  /* of the segments */
    uint64_t pending_bytes;  /* appended and not yet written; bounded, but for one record */
    uint64_t torn_bytes_cut; /* at the last open */
    int64_t flush_us_total, flush_us_max;
};
void log_stats(struct log *log, struct log_stats *ret);

#endif
