/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a projection keeps its rows: an interface with one file a store (src/sink/).
 *
 *   struct sink_home   a projection's place: all its generations, and the one row that says which of them serves
 *   struct sink        one generation, written by one owner: rows, keys put aside, checkpoint
 *   struct sink_view   for who asks: each question is answered by the generation that serves when it begins
 *
 *   none ──make()──▶ BUILDING ──load…, seal(), flush…, finish()──▶ BUILDING ──serve()──▶ SERVING ──serve(other)──▶ KEPT
 *                        │                                                                  ▲──── serve() ──────────┘
 *                        └── drop() ◀── after a crash before seal() ── drop() of any that does not serve ─────▶ none
 *
 * Invariants
 *   1. A flush writes rows, asides and the checkpoint in one transaction of the store: exactly once needs nothing else.
 *   2. Whatever is asked is answered from one generation at one checkpoint, which is told with the answer.
 *   3. serve() is one row (or one rename): before it all see the old generation, after it all see the new one.
 *   4. The last owner wins: its epoch is in the checkpoint, an earlier owner's write fails with BROKEN.
 *   5. A generation's form (sink_form()) says what it was made for; one of another form is never claimed.
 *   6. A view tells the mark with each answer; who asks of keys that are not ready is refused by ready.h.
 *
 * Threads: one a handle; homes may be asked by any.
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
struct sink_view;
struct sink_load;
struct sink_home;

enum {
    SINK_GENERATIONS_MAX = 16,
    SINK_FORM_DIGITS = 32,                  /* hexadecimal, of a hash of 128 bits */
    SINK_FORM_SIZE = SINK_FORM_DIGITS + 18, /* behind them, where not all keys are ready: "+" and 16 digits */
    SINK_SKIP_MAX = 10000,
};

/* ---- what is kept ---- */

/* The ready mark of a generation: which keys it has rows of.  It is stored with the generation's form, from its making
 * on, and never changes: other keys become ready by the switch to a generation of all keys. */
struct sink_mark {
    bool partial; /* false: all keys */
    int64_t from; /* of a partial one: this key and all larger ones */
};

/* What is stored beside the rows, in their transaction. */
struct sink_checkpoint {
    struct banyan_position position; /* all events up to here are in the rows, but for those that are aside */
    struct banyan_time at;           /* of the event there: recorded_at */
    uint64_t source_lsn;             /* newest legacy position that they include; 0: none */
    uint32_t generation;             /* that it belongs to; given by the sink, not read by flush() */
    struct sink_mark ready;          /* of that generation; given by a view, not read by flush() */
};

struct sink_row {
    unsigned table; /* index in projection.tables */
    int64_t key;
    const void *row;  /* NULL: delete */
    uint64_t changed; /* fields that may differ from the stored row; UINT64_MAX: all, or there is none stored.  A sink
                       * may leave the others alone */
};

/* A key that was put aside: an event of it could not be understood, so its later events are held too. */
struct sink_aside {
    bool by_stream; /* the whole stream is aside (its events have no key, or the projection is JOINED); else the key */
    int64_t key;    /* partition key; 0 where by_stream */
    struct banyan_str stream;        /* of the first event that was held */
    struct banyan_position position; /* of that event */
    struct banyan_time at;           /* when it was put aside */
    uint64_t held;                   /* events that wait, that one included */
    struct banyan_str reason;
};

/* What one flush writes. */
struct sink_flush {
    const struct sink_row *rows; /* each (table, key) once, in that order */
    size_t row_count;
    const struct sink_aside
        *asides; /* put aside, or with a new count or reason: told apart by (by_stream, key, stream) */
    size_t aside_count;
    const struct sink_aside *released; /* no longer aside */
    size_t released_count;
    struct sink_checkpoint checkpoint;
};

enum sink_generation_state {
    SINK_GENERATION_NONE = 0,
    SINK_BUILDING, /* made, perhaps half filled */
    SINK_SERVING,
    SINK_KEPT, /* served before: for going back */
};

struct sink_generation {
    uint32_t number; /* from 1, never used twice */
    enum sink_generation_state state;
    char form[SINK_FORM_SIZE]; /* sink_form_mark() is its mark */
    unsigned version;          /* of the projection that it was made for */
    bool sealed; /* it has a checkpoint, by seal() or flush(): a crash before that leaves nothing to go on from */
    struct sink_checkpoint checkpoint;
    struct banyan_time made_at, served_at; /* served_at: since when, or BANYAN_TIME_NULL */
};

/* ---- what is asked ---- */

/* A page of a list. */
struct sink_list {
    unsigned table;
    const struct banyan_view_index *index;
    struct banyan_str equal; /* value as text */
    struct banyan_time from; /* inclusive; BANYAN_TIME_NULL: open */
    struct banyan_time to;   /* exclusive; BANYAN_TIME_NULL: open */
    bool ready_only;         /* where not all keys are ready: list those that are, do not refuse */
    bool after;              /* continue behind (after_range, after_key) */
    struct banyan_time after_range;
    int64_t after_key;
    size_t limit;
};

/* A page of a search, best first. */
struct sink_search {
    unsigned table;
    struct banyan_str text; /* words: all have to be found, the last one may be a beginning; empty: all rows, newest key
                             * first */
    struct {
        const char *column;      /* of the row */
        struct banyan_str value; /* as text */
    } equal[8];                  /* all have to hold */
    size_t equal_count;
    const char *range;           /* a TIME column; NULL: none */
    struct banyan_time from, to; /* of it, as in a list */
    size_t skip, limit;          /* skip: at most SINK_SKIP_MAX */
    bool ready_only;             /* as in a list */
};

/* Strings of *row* are borrowed for the call.  A status other than OK ends the query and becomes its result. */
typedef enum banyan_status (*sink_row_fn)(void *context, int64_t key, const void *row, struct banyan_error *err);

/* ---- a generation, for who writes it ---- */

struct sink_ops {
    const char *name; /* "sqlite", "postgres", "redis", "memory" */
    void (*close)(struct sink *sink);
    /* Once, first: become its owner, read the checkpoint (position 0: none).  MISMATCH when its form is another. */
    enum banyan_status (*claim)(struct sink *sink, struct sink_checkpoint *ret, struct banyan_error *err);
    enum banyan_status (*checkpoint)(struct sink *sink, struct sink_checkpoint *ret, struct banyan_error *err);
    /* One transaction: rows, asides and the checkpoint.  BROKEN when another owner took over.  After any other failure
     * it may have happened or not: ask checkpoint(). */
    enum banyan_status (*flush)(struct sink *sink, const struct sink_flush *flush, struct banyan_error *err);
    /* Make what only readers need and what would slow the building down (indexes, statistics).  Cheap when it is
     * there. */
    enum banyan_status (*finish)(struct sink *sink, struct banyan_error *err);
    /* What is aside, in an array in *arena*, by position. */
    enum banyan_status (*asides)(struct sink *sink, struct banyan_arena *arena, struct sink_aside **ret,
                                 size_t *ret_count, struct banyan_error *err);
    /* found[i] says whether rows[i] (room of the row's size) was filled; strings into *arena*. */
    enum banyan_status (*get_many)(struct sink *sink, unsigned table, const int64_t *keys, size_t count,
                                   struct banyan_arena *arena, void **rows, bool *found, struct banyan_error *err);

    /* The list (index of projection.tables[table]) in whose order rows are best loaded: value, newest first, largest
     * key first.  NULL, or as an answer: in that of their keys. */
    const struct banyan_view_index *(*load_order)(const struct sink *sink, unsigned table);
    /* Bulk load into a generation that is not sealed: rows in any order, each key once.  load_open() may be called by
     * several threads; a load belongs to one.  Rows may become visible in the generation at any time: nobody reads it.
     */
    enum banyan_status (*load_open)(struct sink *sink, unsigned table, struct sink_load **ret,
                                    struct banyan_error *err);
    enum banyan_status (*load_rows)(struct sink_load *load, const struct sink_row *rows, size_t count,
                                    struct banyan_error *err);
    /* Ends it in any case; *commit* false drops what it can. */
    enum banyan_status (*load_close)(struct sink_load *load, bool commit, struct banyan_error *err);
    /* What makes reading fast, made while nothing is sealed yet: steps of a table whose loads are all closed, before
     * seal().  Those of one table but the last may run at once, by several threads, also while other tables are loaded;
     * the last one runs after them.  What was not made so is made by seal() and finish().  NULL: a store without. */
    unsigned (*index_steps)(const struct sink *sink, unsigned table);
    enum banyan_status (*index_step)(struct sink *sink, unsigned table, unsigned step, struct banyan_error *err);
    /* All loads are closed: one transaction that gives the generation its first checkpoint and asides.  Durable. */
    enum banyan_status (*seal)(struct sink *sink, const struct sink_flush *flush, struct banyan_error *err);
    /* Rows of table *table* that it holds now. */
    enum banyan_status (*count)(struct sink *sink, unsigned table, uint64_t *ret, struct banyan_error *err);
};

/* Every implementation's struct begins with this. */
struct sink {
    const struct sink_ops *ops;
    const struct banyan_projection *projection; /* borrowed for ever */
    uint32_t generation;
    struct sink_mark ready; /* of the generation; known once it is claimed */
};

/* ---- for who asks ---- */

/* Each call begins with the generation that serves then; NOT_FOUND with the text "not built" when none does.
 * *ret_checkpoint* and the rows are of one instant. */
struct sink_view_ops {
    void (*close)(struct sink_view *view);
    enum banyan_status (*checkpoint)(struct sink_view *view, struct sink_checkpoint *ret, struct banyan_error *err);
    /* The row of *key* by *fn*, which is not called when there is none. */
    enum banyan_status (*get)(struct sink_view *view, unsigned table, int64_t key,
                              struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                              struct banyan_error *err);
    enum banyan_status (*list)(struct sink_view *view, const struct sink_list *query,
                               struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                               struct banyan_error *err);
    /* Rows with lo <= key < hi in key order.  INT64_MAX as hi is open: it includes that key. */
    enum banyan_status (*range)(struct sink_view *view, unsigned table, int64_t lo, int64_t hi,
                                struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                struct banyan_error *err);
    enum banyan_status (*search)(struct sink_view *view, const struct sink_search *query,
                                 struct sink_checkpoint *ret_checkpoint, sink_row_fn fn, void *context,
                                 struct banyan_error *err);
    /* Several questions of one instant: between them get, list, range and search answer from one generation at one
     * checkpoint.  Not nested.  A store that keeps no former states (Redis) answers BUSY when the view moved on: end,
     * and begin anew. */
    enum banyan_status (*begin)(struct sink_view *view, struct sink_checkpoint *ret, struct banyan_error *err);
    void (*end)(struct sink_view *view);
    enum banyan_status (*asides)(struct sink_view *view, struct banyan_arena *arena, struct sink_aside **ret,
                                 size_t *ret_count, struct banyan_error *err);
};

struct sink_view {
    const struct sink_view_ops *ops;
    const struct banyan_projection *projection;
};

/* ---- all generations ---- */

struct sink_home_ops {
    const char *name; /* of the store */
    bool durable;     /* false: gone at the end of the process */
    void (*close)(struct sink_home *home);
    /* All there are, by number; *ret* has room for SINK_GENERATIONS_MAX. */
    enum banyan_status (*generations)(struct sink_home *home, struct sink_generation *ret, size_t *ret_count,
                                      struct banyan_error *err);
    /* A new empty one, BUILDING, of sink_form(projection) and for the keys that *ready* names.  LIMIT when there are
     * too many. */
    enum banyan_status (*make)(struct sink_home *home, struct sink_mark ready, uint32_t *ret_number,
                               struct banyan_error *err);
    /* A handle for writing; claim() it first.  NOT_FOUND. */
    enum banyan_status (*open)(struct sink_home *home, uint32_t number, struct sink **ret, struct banyan_error *err);
    /* The switch: *number* serves from now on, if *expected* (0: none) serves now; CONFLICT else.  Only a sealed one.
     * Waits for no reader longer than a moment, and lets none wait longer. */
    enum banyan_status (*serve)(struct sink_home *home, uint32_t expected, uint32_t number, struct banyan_error *err);
    /* INVALID for the one that serves.  Readers that still use it finish. */
    enum banyan_status (*drop)(struct sink_home *home, uint32_t number, struct banyan_error *err);
    /* A handle for questions, for the calling thread; any number. */
    enum banyan_status (*view)(struct sink_home *home, struct sink_view **ret, struct banyan_error *err);
};

struct sink_home {
    const struct sink_home_ops *ops;
    const struct banyan_projection *projection; /* borrowed for ever */
};

/* What a projection's rows are made by: a hash over name, version, tables, columns, indexes, key columns, categories,
 * types, spread and archive policy.  Another form: rebuild. */
void sink_form(const struct banyan_projection *projection, char ret[SINK_FORM_SIZE]);
/* As a generation of these keys stores it. */
void sink_form_marked(const struct banyan_projection *projection, struct sink_mark ready, char ret[SINK_FORM_SIZE]);
struct sink_mark sink_form_mark(const char *stored);
/* Are the rows made by *wanted* (of sink_form()), whatever keys are there? */
bool sink_form_same(const char *stored, const char *wanted);
/* Do both have the same tables, columns and lists?  Then a view of one reads rows of the other: a generation of an
 * earlier version answers until the new one is built.  To a view a generation that it cannot read does not serve. */
bool sink_form_readable(const char *stored, const char *wanted);

static inline void sink_close(struct sink *sink)
{
    if (sink != NULL)
        sink->ops->close(sink);
}

static inline void sink_view_close(struct sink_view *view)
{
    if (view != NULL)
        view->ops->close(view);
}

static inline void sink_home_close(struct sink_home *home)
{
    if (home != NULL)
        home->ops->close(home);
}

#endif
