/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event store: streams with versions over the one log.
 *
 * Invariants
 *   1. A stream's versions are dense from 1, in the order of their positions.
 *   2. An append is atomic over all its streams, its conditions and its cursor.
 *   3. The same event id with the same content answers the original position, for ever; with other content it is
 *      DUPLICATE.  The id is looked at before the version, so that a retry after a lost answer succeeds.
 *   4. Only durable events are read.  A failed append changes nothing.
 *
 * Threads: any.  One lock orders appends; readers do not take it.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "banyan/types.h"
#include "banyan/uuid.h"
#include "log/log.h"

struct store;

enum {
    STORE_PAYLOAD_BYTES_MAX = 64 * 1024 * 1024,
    STORE_STREAM_NAME_BYTES_MAX = 1024,
    STORE_TYPE_NAME_BYTES_MAX = 255,
    STORE_META_BYTES_MAX = 64 * 1024,
    STORE_CURSOR_BYTES_MAX = 64 * 1024,
};

struct store_options {
    const char *folder;      /* holds lock, log/ and whatever else; made when missing */
    const char *cold_folder; /* of archived segments, maybe on another disk; NULL: cold/ in *folder* */
    struct os_files *files;  /* NULL: the system's */
    struct os_clock *clock;  /* NULL: the system's */
    uint64_t segment_bytes;  /* 0: the log's default */
    bool read_only;          /* beside a running writer: sees what was durable at open; takes no lock */
    /* For tests; 0: the index's defaults. */
    uint64_t index_events_max;       /* of a table in memory */
    uint64_t index_filter_bytes_max; /* of all filters in memory */
};

/* BUSY when another process has it open for writing; CORRUPT; IO; NO_SPACE. */
BANYAN_MUST_CHECK enum banyan_status store_open(const struct store_options *options, struct store **ret,
                                                struct banyan_error *err);
void store_close(struct store *store); /* NULL allowed */

/* ---- append ---- */

struct store_event {
    struct banyan_uuid id;
    struct banyan_str stream; /* "<category>-<key>"; names that begin with '$' are the engine's own */
    struct banyan_str type;
    uint16_t schema; /* version of the type's record; 0: payload is JSON or bytes of the caller's */
    enum banyan_provenance provenance;
    struct banyan_time at;     /* when it happened */
    struct banyan_str payload; /* borrowed for the call */
    struct banyan_str meta;    /* JSON object or empty; borrowed for the call */
};

enum store_expect {
    STORE_EXPECT_NONE = 0,
    STORE_EXPECT_VERSION, /* exactly this version */
    STORE_EXPECT_EXISTS,
    STORE_EXPECT_ABSENT,
};

/* Holds before the append, whether or not the stream is written by it. */
struct store_condition {
    struct banyan_str stream;
    enum store_expect expect;
    struct banyan_version version; /* of STORE_EXPECT_VERSION */
};

/* Where a source has been read to; committed with the events. */
struct store_cursor {
    struct banyan_str name;  /* empty: none */
    struct banyan_str value; /* opaque */
};

struct store_append {
    const struct store_event *events; /* at least one */
    size_t event_count;
    const struct store_condition *conditions;
    size_t condition_count;
    struct store_cursor cursor;
};

struct store_appended {
    struct banyan_position first, last; /* of the events; where repeated: of the original ones */
    bool repeated;                      /* nothing was written: all of it was there */
};

/* Check, number and hand to the log; returns before it is durable (store_wait()).
 * CONFLICT (message names stream, expected, actual), DUPLICATE, INVALID, LIMIT, NO_SPACE, BROKEN. */
BANYAN_MUST_CHECK enum banyan_status store_submit(struct store *store, const struct store_append *append,
                                                  struct store_appended *ret, struct banyan_error *err);
/* store_submit() and wait until durable. */
BANYAN_MUST_CHECK enum banyan_status store_append(struct store *store, const struct store_append *append,
                                                  struct store_appended *ret, struct banyan_error *err);

/* A batch larger than memory, as one atomic append without conditions.  Between begin and commit nobody else appends.
 * Event ids must be new (DUPLICATE else).  An abort takes back what was written of it; only when that fails the store
 * is broken until opened again. */
BANYAN_MUST_CHECK enum banyan_status store_batch_begin(struct store *store, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status store_batch_add(struct store *store, const struct store_event *event,
                                                     struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status store_batch_commit(struct store *store, struct store_cursor cursor,
                                                        struct store_appended *ret, struct banyan_error *err);
void store_batch_abort(struct store *store);

/* ---- positions ---- */

struct banyan_position store_tail(struct store *store);    /* submitted */
struct banyan_position store_durable(struct store *store); /* readable */
/* Wait until *position* is durable.  TIMEOUT, BROKEN, NO_SPACE (it stays queued).  INT64_MAX: no limit.  The caller may
 * lead the flush itself and then stays for its length, whatever the time-out. */
BANYAN_MUST_CHECK enum banyan_status store_wait(struct store *store, struct banyan_position position,
                                                int64_t timeout_us, struct banyan_error *err);
enum banyan_status store_health(struct store *store, struct banyan_error *err);

/* Where the event with *id* is, once it is durable; 0: no event has it. */
BANYAN_MUST_CHECK enum banyan_status store_find(struct store *store, struct banyan_uuid id, struct banyan_position *ret,
                                                struct banyan_error *err);

/* ---- streams ---- */

struct store_head {
    struct banyan_version version;   /* 0: the stream does not exist */
    struct banyan_position position; /* of its last event; may not be durable yet */
};
/* Of the last event that was submitted.  CORRUPT or IO when the index cannot be read. */
BANYAN_MUST_CHECK enum banyan_status store_head(struct store *store, struct banyan_str stream, struct store_head *ret,
                                                struct banyan_error *err);
/* The last committed value of a cursor, into *arena*; data NULL when there is none.  May not be durable yet. */
struct banyan_str store_cursor(struct store *store, struct banyan_str name, struct banyan_arena *arena);

/* ---- read ---- */

struct store_read_event {
    struct store_event event; /* borrowed from the reader until its next call */
    struct banyan_position position;
    struct banyan_version version;
    struct banyan_time recorded_at;
    struct store_cursor cursor; /* set on the last event of a batch that has one */
    bool ends_batch;
};

struct store_reader;
/* A reader over all events (store_reader_seek) or one stream.  Not for two threads at once. */
struct store_reader *store_reader_open(struct store *store);
void store_reader_close(struct store_reader *reader);
/* All events from *position* on (1 … durable+1). */
BANYAN_MUST_CHECK enum banyan_status store_reader_seek(struct store_reader *reader, struct banyan_position position,
                                                       struct banyan_error *err);
/* The durable events of one stream from *version* on (0 is 1), oldest first.  NOT_FOUND when it does not exist. */
BANYAN_MUST_CHECK enum banyan_status store_reader_stream(struct store_reader *reader, struct banyan_str stream,
                                                         struct banyan_version version, struct banyan_error *err);
/* The same, newest first, from *version* down (0: from the last one). */
BANYAN_MUST_CHECK enum banyan_status store_reader_stream_backward(struct store_reader *reader, struct banyan_str stream,
                                                                  struct banyan_version version,
                                                                  struct banyan_error *err);

/* What a reader of all events wants; no types and no categories: everything.  An event passes when its type is one of
 * *types* (or there are none) and its category, the part of the stream's name before its first '-', is one of
 * *categories* (or there are none). */
struct store_filter {
    const struct banyan_str *types;
    size_t type_count;
    const struct banyan_str *categories;
    size_t category_count;
};
/* Give out only what passes; copied; kept until the reader is closed.  NULL: everything again.  Parts of the log that
 * cannot match are skipped without being read. */
void store_reader_filter(struct store_reader *reader, const struct store_filter *filter);
/* A reader of all events ends behind *last* (NOT_FOUND), until this is called again; 0: no end.  It does not look for
 * what passes the filter beyond it. */
void store_reader_end(struct store_reader *reader, struct banyan_position last);
/* How far a reader of all events has looked: the last position that it gave out or passed over. */
struct banyan_position store_reader_passed(const struct store_reader *reader);
/* The first position recorded at or after *time*; durable+1 when there is none yet. */
BANYAN_MUST_CHECK enum banyan_status store_position_at(struct store *store, struct banyan_time time,
                                                       struct banyan_position *ret, struct banyan_error *err);
/* NOT_FOUND at the end (no error text); a reader of all events may be asked again after store_wait(). */
BANYAN_MUST_CHECK enum banyan_status store_reader_next(struct store_reader *reader, struct store_read_event *ret,
                                                       struct banyan_error *err);

/* ---- facts ---- */

struct store_stats {
    struct log_stats log;
    uint64_t events, streams, cursors;
    uint64_t index_bytes;                 /* memory of the index */
    uint64_t index_runs;                  /* its files */
    uint64_t index_disk_bytes;            /* their size */
    struct banyan_position index_covered; /* events up to here need no replay at open */
    bool index_rebuilt;                   /* at open it was found damaged, or of another log */
};
void store_stats(struct store *store, struct store_stats *ret);

#endif
