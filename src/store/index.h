/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of a store: stream → head, id → positions, cursors.  Derived from the log, bounded in memory.
 *
 *     active table ──full──▶ frozen table ──flusher──▶ run ─┐
 *      (memory)                (memory)                run ─┼─merger──▶ larger run
 *                                                      run ─┘
 *
 * A *table* holds the entries of consecutive positions in memory, a *run* the same in a file.  A lookup goes from the
 * newest to the oldest; what it finds first is the head, while an id is looked for everywhere.
 *
 * Invariants
 *   1. Tables and runs cover the positions from 1 to the last one entered, without gap or overlap.
 *   2. A run named by the manifest holds durable positions only.  Runs of an open batch are *provisional*: no manifest
 *      names them, readers below their first position pass them over, and an abort drops them.
 *   3. All of it can be deleted while the store is closed: it is made anew from the log.
 *   4. What is read is checked; damage is an error and never a wrong answer, and the next open starts anew.
 *
 * Threads: "with the lock" means the store's lock.  The flusher and the merger take only index.lock (after the store's
 * where both are held).
 */
#ifndef STORE_INDEX_H
#define STORE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/error.h"
#include "banyan/types.h"
#include "banyan/uuid.h"
#include "log/log.h"
#include "os/file.h"
#include "store/cursors.h"
#include "store/heads.h"
#include "store/ids.h"
#include "store/index_run.h"

struct index;
struct index_view;

struct index_options {
    const char *folder; /* copied; made when needed */
    struct os_files *files;
    uint64_t table_events_max; /* 0: INDEX_TABLE_EVENTS */
    uint64_t filter_bytes_max; /* 0: INDEX_FILTER_BYTES */
    bool read_only;            /* nothing is written; the table in memory has no limit */
    bool discard;              /* begin with nothing */
};

enum {
    INDEX_TABLE_EVENTS = 128 * 1024,
    INDEX_FILTER_BYTES = 256 * 1024 * 1024, /* of all runs; a filter that does not fit is read by block */
};

/* ---- life ---- */

/* Load the manifest and its runs, if they are there and whole; else begin with nothing. */
BANYAN_MUST_CHECK enum banyan_status index_open(const struct index_options *options, struct index **ret,
                                                struct banyan_error *err);
/* Compare with *log* (borrowed until the end), which was opened after the index: an index that does not belong to it is
 * dropped.  CORRUPT when the log ends before what the index knows was durable: events are missing.  Starts the threads.
 */
BANYAN_MUST_CHECK enum banyan_status index_attach(struct index *index, struct log *log, struct banyan_error *err);
/* Was damage met?  Then the next open begins with nothing. */
bool index_is_damaged(struct index *index);
/* Before the log is closed. */
void index_close(struct index *index); /* NULL allowed */
/* The last position that was loaded: the events behind it have to be entered. */
uint64_t index_covered(const struct index *index);

/* ---- with the lock: lookups ---- */

uint64_t index_stream_hash(const struct index *index, struct banyan_str name);
uint64_t index_id_hash(const struct index *index, struct banyan_uuid id);
/* Between begin and end: bring what a lookup touches first into the cache, and (head) what it touches next. */
void index_prefetch_stream(const struct index *index, uint64_t hash);
void index_prefetch_head(const struct index *index, uint64_t hash);
void index_prefetch_enter(const struct index *index, uint64_t id_hash);
void index_prefetch_id(const struct index *index, uint64_t hash);
/* Between the two the view stays: lookups and entering are done there. */
void index_begin(struct index *index);
void index_end(struct index *index);

/* The head of a stream, to look at or to advance; *ret NULL when there is none.  Lives until the next freeze. */
BANYAN_MUST_CHECK enum banyan_status index_find_head(struct index *index, struct banyan_str name, uint64_t hash,
                                                     struct head **ret, struct banyan_error *err);
/* The same; made with version 0 when there is none. */
BANYAN_MUST_CHECK enum banyan_status index_make_head(struct index *index, struct banyan_str name, uint64_t hash,
                                                     struct head **ret, struct banyan_error *err);
/* All positions under *hash*; *ret is the index's until the next call. */
BANYAN_MUST_CHECK enum banyan_status index_find_id(struct index *index, uint64_t hash, const uint64_t **ret,
                                                   size_t *ret_count, struct banyan_error *err);

/* ---- with the lock: entering ---- */

/* The next event of *head* is at *position*; *ret_old_jumps as of head_advance(). */
void index_enter(struct index *index, struct head *head, uint64_t position, uint64_t id_hash,
                 struct head_jumps **ret_old_jumps);
/* Take the newest event back: *head* gets back what it was. */
void index_take_back(struct index *index, struct head *head, uint64_t position, uint64_t id_hash, uint64_t old_position,
                     struct head_jumps *old_jumps);
/* Not between begin and end: when the active table is full, it goes to the flusher.  *cursors* are those at its last
 * position.  Waits while the flusher is behind.  NO_SPACE, IO … when runs cannot be written. */
BANYAN_MUST_CHECK enum banyan_status index_make_room(struct index *index, const struct cursors *cursors,
                                                     struct banyan_error *err);
bool index_is_full(const struct index *index);

/* A batch *spills* when it does not fit into the active table any more.  At that moment nothing of it may be in the
 * index; then its events are entered anew, and from here on they share no table with others before them.  Gives
 * *ret_kept, a view that keeps older heads in their place, or NULL. */
BANYAN_MUST_CHECK enum banyan_status index_begin_batch(struct index *index, uint64_t first,
                                                       const struct cursors *cursors, struct index_view **ret_kept,
                                                       struct banyan_error *err);
bool index_in_batch(const struct index *index);
/* Drop what was entered since index_begin_batch(). */
void index_drop_batch(struct index *index);
/* The batch was committed … */
void index_end_batch(struct index *index);
/* … and is durable: the manifest may name its runs. */
void index_publish(struct index *index);

/* ---- any thread: readers ---- */

/* What a reader sees; its tables may be searched only with the store's lock, its runs without. */
struct index_view *index_view_get(struct index *index);
void index_view_put(struct index *index, struct index_view *view);
/* With the lock: search the tables of entries that begin at or before *limit*; NULL: not there. */
const struct head *index_view_table_head(const struct index *index, const struct index_view *view,
                                         struct banyan_str name, uint64_t hash, uint64_t limit);
/* Search the runs in the same way; version 0: not there. */
BANYAN_MUST_CHECK enum banyan_status index_view_run_head(struct index *index, const struct index_view *view,
                                                         struct banyan_str name, uint64_t hash, uint64_t limit,
                                                         struct index_head *ret, struct banyan_error *err);

/* ---- facts ---- */

struct index_stats {
    uint64_t memory_bytes, disk_bytes;
    uint64_t runs;
    uint64_t covered; /* last position that the manifest covers */
    uint64_t streams;
    bool rebuilt; /* at open it was missing, damaged or of another log */
};
/* With the lock. */
void index_stats(struct index *index, struct index_stats *ret);
/* With the lock: the cursors that were loaded. */
const struct cursors *index_cursors(const struct index *index);

#endif
