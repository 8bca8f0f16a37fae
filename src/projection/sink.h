/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a projection keeps its rows: an interface with one file a store (src/sink/).
 *
 * A flush writes changed rows and the checkpoint in one transaction of the store: exactly once needs nothing else.
 */
#ifndef PROJECTION_SINK_H
#define PROJECTION_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "banyan/types.h"

struct sink;

/* What is stored beside the rows, in their transaction. */
struct sink_checkpoint {
    struct banyan_position position; /* all events up to here are in the rows */
    struct banyan_time at;           /* of the event there: recorded_at */
    uint64_t source_lsn;             /* newest legacy position that they include; 0: none */
};

struct sink_row {
    int64_t key;
    const void *row;  /* NULL: delete */
    uint64_t changed; /* fields that may differ from the stored row; UINT64_MAX: all, or there is none stored.  A sink
                       * may leave the others alone */
};

/* A stream that was put aside: an event of it cannot be understood, so its later events are not applied either. */
struct sink_aside {
    struct banyan_str stream;
    struct banyan_position position; /* of that event */
    struct banyan_str reason;
};

/* What one flush writes. */
struct sink_flush {
    const struct sink_row *rows; /* each key once, in key order */
    size_t row_count;
    const struct sink_aside *asides;
    size_t aside_count;
    struct sink_checkpoint checkpoint;
};

/* A page of a list. */
struct sink_list {
    const struct banyan_view_index *index;
    struct banyan_str equal; /* value as text */
    struct banyan_time from; /* inclusive; BANYAN_TIME_NULL: open */
    struct banyan_time to;   /* exclusive; BANYAN_TIME_NULL: open */
    bool after;              /* continue behind (after_range, after_key) */
    struct banyan_time after_range;
    int64_t after_key;
    size_t limit;
};

/* Strings of *row* are borrowed for the call.  A status other than OK ends the query and becomes its result. */
typedef enum banyan_status (*sink_row_fn)(void *context, int64_t key, const void *row, struct banyan_error *err);

struct sink_ops {
    const char *name; /* "sqlite", "postgres" */
    void (*close)(struct sink *sink);
    /* Once at start: make what is missing, read the checkpoint (zero: none).  A read model of another
     * projection version is emptied in the same transaction. */
    enum banyan_status (*start)(struct sink *sink, struct sink_checkpoint *ret, struct banyan_error *err);
    /* One transaction: rows, asides and the checkpoint.  BROKEN when another writer took the read model over.  After
     * any other failure it may have happened or not: ask checkpoint(). */
    enum banyan_status (*flush)(struct sink *sink, const struct sink_flush *flush, struct banyan_error *err);
    /* Each time that the view has caught up: make what is only needed by readers and would slow the building down
     * (indexes).  Cheap when it was made before. */
    enum banyan_status (*finish)(struct sink *sink, struct banyan_error *err);
    /* The streams that were put aside, in an array in *arena*. */
    enum banyan_status (*asides)(struct sink *sink, struct banyan_arena *arena, struct sink_aside **ret,
                                 size_t *ret_count, struct banyan_error *err);
    /* The row of *key* into *ret_row*, strings into *arena*; NOT_FOUND without text.  For the projection thread. */
    enum banyan_status (*get)(struct sink *sink, int64_t key, struct banyan_arena *arena, void *ret_row,
                              struct banyan_error *err);
    /* Many at once: found[i] says whether rows[i] (room of the row's size) was filled. */
    enum banyan_status (*get_many)(struct sink *sink, const int64_t *keys, size_t count, struct banyan_arena *arena,
                                   void **rows, bool *found, struct banyan_error *err);
    /* A second handle for reading from another thread (HTTP, verify); same interface, flush refused. */
    enum banyan_status (*reader)(struct sink *sink, struct sink **ret, struct banyan_error *err);
    /* Rows and the checkpoint that they belong to, in one read transaction. */
    enum banyan_status (*list)(struct sink *sink, const struct sink_list *query, struct sink_checkpoint *ret_checkpoint,
                               sink_row_fn fn, void *context, struct banyan_error *err);
    /* Rows with lo <= key < hi in key order, and their checkpoint, in one read transaction.  INT64_MAX as hi is open:
     * it includes that key. */
    enum banyan_status (*range)(struct sink *sink, int64_t lo, int64_t hi, struct sink_checkpoint *ret_checkpoint,
                                sink_row_fn fn, void *context, struct banyan_error *err);
    enum banyan_status (*checkpoint)(struct sink *sink, struct sink_checkpoint *ret, struct banyan_error *err);
};

/* Every implementation's struct begins with this. */
struct sink {
    const struct sink_ops *ops;
    const struct banyan_projection *projection; /* borrowed for ever */
};

static inline void sink_close(struct sink *sink)
{
    if (sink != NULL)
        sink->ops->close(sink);
}

#endif
