/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share.
 *
 * Index entries are made when an event is submitted, before it is durable.  `changes` remembers each entry until then:
 * it takes back what fails, and tells readers what a stream's last durable event is.  A batch that spills needs none:
 * its entries have tables and runs of their own, which readers below them pass over and an abort drops.
 *
 * Lock order: store.lock, then the log's.
 */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "log/log.h"
#include "os/clock.h"
#include "os/file.h"
#include "store/blocks.h"
#include "store/cursors.h"
#include "store/envelope.h"
#include "store/index.h"
#include "store/store.h"
#include "store/watch.h"

/* ---- changes.c: what is not durable yet ---- */

struct change {
    struct head *head;
    uint64_t old_position; /* of the stream's event before; 0: none */
    uint64_t id_hash;
};

/* What the jumps of a stream were before the event at *position* changed them. */
struct change_jumps {
    uint64_t position;
    struct head_jumps *old; /* owned */
};

/* A queue, oldest first.  Positions are dense: item i is of the event at position base + i.  In blocks, because a batch
 * of millions makes it long for a moment. */
struct changes {
    struct change **blocks; /* owned */
    size_t block_count, block_capacity;
    size_t first; /* in the first block */
    size_t count;
    uint64_t base;
    struct change_jumps *jumps; /* owned; those from jumps_first to jumps_end count */
    size_t jumps_first, jumps_end, jumps_capacity;
};

/* ---- the store ---- */

struct store {
    struct store_options options; /* texts are owned */
    struct log *log;
    struct os_file *lock_file;
    struct watch watch;   /* who waits for events at the end */
    struct blocks blocks; /* changed with the lock, read without */

    pthread_mutex_t lock;       /* guards all below, and orders appends */
    pthread_cond_t batch_ended; /* the open batch is over */
    struct index *index;
    struct cursors cursors;
    struct changes changes;
    struct log_reader *checker; /* reads events whose id comes again */
    struct banyan_buf record;   /* being encoded; in a batch: its last event, which waits for a cursor */
    uint64_t *hashes;           /* scratch of one append: of ids, then of streams; owned */
    size_t hashes_capacity;
    bool batch_open;
    uint64_t batch_first, batch_last; /* positions; 0: none yet */
    enum banyan_status batch_failed;  /* nothing but abort is left */
};

/* ---- changes.c ---- */

void changes_release(struct changes *changes);
uint64_t changes_bytes(const struct changes *changes);
/* Give the next version of *head* to *position*, and remember how it was. */
void changes_apply(struct store *store, struct head *head, uint64_t position, uint64_t id_hash);
/* Take back all events behind *position*. */
void changes_undo(struct store *store, uint64_t position);
/* Forget what is durable. */
void changes_settle(struct store *store);
/* The last event of *head* at or before position *limit*. */
struct store_head changes_head_at(const struct store *store, const struct head *head, uint64_t limit);
/* The changes of the events from *position* on, oldest first (owned by the caller); *ret_count. */
struct change *changes_from(const struct changes *changes, uint64_t position, size_t *ret_count);

/* ---- store.c ---- */

/* The last durable event of *stream*; version 0: there is none.  Takes the lock. */
BANYAN_MUST_CHECK enum banyan_status store_durable_head(struct store *store, struct banyan_str stream,
                                                        struct store_head *ret, struct banyan_error *err);

/* ---- read.c ---- */

/* Let store_reader_next() end with TIMEOUT (no text) when it has passed over *looks_max* events; 0: never. */
void store_reader_look(struct store_reader *reader, uint64_t looks_max);

/* ---- append.c ---- */

/* INVALID or LIMIT when *event* cannot be stored. */
BANYAN_MUST_CHECK enum banyan_status store_check_event(const struct store_event *event, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status store_check_cursor(const struct store_cursor *cursor, struct banyan_error *err);
/* With the lock: where the id of *event* is; position 0: nowhere.  DUPLICATE when its content is another. */
BANYAN_MUST_CHECK enum banyan_status store_find_id(struct store *store, const struct store_event *event, uint64_t hash,
                                                   uint64_t *ret, struct banyan_error *err);
/* With the lock, between index_begin() and index_end(): encode *event* for *position* into store->record and enter it
 * into the index. */
BANYAN_MUST_CHECK enum banyan_status store_enter_event(struct store *store, const struct store_event *event,
                                                       uint64_t id_hash, uint64_t stream_hash, uint64_t position,
                                                       const struct store_cursor *cursor, struct banyan_error *err);
enum banyan_status store_twice(const struct store_event *event, struct banyan_error *err);

#endif
