/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fold of a rebuild: the log from its beginning to a position into rows in memory, on all cores.
 *
 *   log ═╤═ chunk 0 ═╤═ chunk 1 ═╤═ chunk 2 ═╤ …     a worker takes the next chunk: read, decode, key()
 *        ▼           ▼           ▼
 *      [A│B]       [A│B]       [A│B]                 each event goes to the list of the worker that owns its key
 *       │ └──────────│─┴─────────│─┴──▶ worker B: its lists in the order of the chunks ─▶ its table
 *       └────────────┴───────────┴────▶ worker A
 *
 * Every worker does both: it applies the next list of its own when that is ready, else it decodes another chunk, so
 * that all are busy whatever the two cost.  The events of a key are applied by one worker, in the order of the log.  A
 * JOINED projection has one list and one owner; the other workers only decode.
 *
 * The keys of a slice are folded in one run; where their rows do not fit, the caller folds more slices, one by one.
 *
 * Tried: each worker reads the whole log and takes what is its own (reading and decoding cost more than applying: two
 * workers were hardly faster than one); readers and appliers as threads of their own (one of them waits always).
 */
#ifndef PROJECTION_REBUILD_FOLD_H
#define PROJECTION_REBUILD_FOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "base/hash.h"
#include "projection/engine.h"
#include "projection/rebuild_table.h"
#include "projection/seen.h"
#include "projection/sink.h"
#include "store/store.h"

/* What is not read, because it was archived. */
struct rebuild_skip {
    struct hash keys;    /* partition keys, to a mark */
    struct hash streams; /* rebuild_stream_hash() of names, to a mark */
};
int64_t rebuild_stream_hash(struct banyan_str stream);

struct rebuild_fold_options {
    const struct banyan_projection *projection; /* borrowed, like all here */
    const struct seen_rules *rules;
    struct store *store;
    struct banyan_position last; /* up to and including */
    unsigned workers;            /* at least 1 */
    unsigned slice, slices;      /* of the keys: 0 of 1 is all.  JOINED: 0 of 1 */
    struct sink_mark ready;      /* of those, the keys that are wanted */
    size_t bytes_max;            /* of rows in memory */
    uint64_t chunk_events;       /* 0: by the size of the log's events */
    const struct rebuild_skip *skip;
    projection_cursor_lsn_fn cursor_lsn; /* may be NULL */
    uint64_t lsn_from;                   /* cursors up to this position are known to the caller */
    /* Called by the workers before each chunk with the number of its positions; may wait; false: stop. */
    bool (*gate)(void *context, uint64_t events);
    void *context;
    uint64_t *passed; /* atomic: positions folded so far, added to */
    uint64_t *rows;   /* atomic: that there are now */
    int64_t *newest;  /* atomic: recorded_at of the newest event folded, us */
};

struct rebuild_folded {
    struct rebuild_table **tables; /* of each owner */
    size_t table_count;
    struct sink_aside *asides; /* in the arena */
    size_t aside_count;
    struct banyan_arena arena;
    struct banyan_position last; /* JOINED: the first of what did not fit any more comes behind it */
    uint64_t source_lsn;         /* of cursors behind lsn_from */
    uint64_t applied;            /* events */
};

/* STOPPED: by the gate.  LIMIT: PARTITIONED rows did not fit; *ret_reached* says how much of the log did.  Else
 * rebuild_folded_release() ends *ret. */
BANYAN_MUST_CHECK enum banyan_status rebuild_fold(const struct rebuild_fold_options *options,
                                                  struct rebuild_folded *ret, struct banyan_position *ret_reached,
                                                  struct banyan_error *err);
void rebuild_folded_release(struct rebuild_folded *folded);
/* The slice of *slices* that a key is in. */
unsigned rebuild_slice_of(int64_t key, unsigned slices);

#endif
