/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the mirror share.
 *
 *   mirror.c        the thread: log → batches; start, stop, figures
 *   mirror_batch.c  events → states before and after → operations on rows
 *   mirror_write.c  operations → one transaction, fast or step by step; conflicts
 *   mirror_sql.c    statements
 *   mirror_prove.c  the session at the server, rights, checkpoint
 */
#ifndef LEGACY_MIRROR_INT_H
#define LEGACY_MIRROR_INT_H

#include <pthread.h>

#include "banyan/buf.h"
#include "base/hash.h"
#include "legacy/conflict.h"
#include "legacy/mirror.h"
#include "legacy/tables.h"
#include "os/thread.h"
#include "pg/conn.h"
#include "store/state.h"
#include "store/subscribe.h"

enum {
    MIRROR_BATCH_EVENTS_DEFAULT = 500,
    MIRROR_BATCH_BYTES_MAX = 8 * 1024 * 1024,
    MIRROR_STATES_MAX = 65536, /* of one mapping; then all are forgotten */
    MIRROR_LAGS_MAX = 10000,
    MIRROR_SQL_BYTES_MAX = 1024 * 1024,
    /* Without anything to write the checkpoint follows so far behind. */
    MIRROR_IDLE_POSITIONS_MAX = 100000,
};

/* A state in the cache, its strings behind it. */
struct mirror_state {
    uint64_t version; /* events folded into it */
    _Alignas(16) char state[];
};

struct mirror_mapping {
    const struct banyan_legacy_mapping *spec;
    struct banyan_str category;
    struct states states;
    struct hash cache; /* key → struct mirror_state */
    struct hash aside; /* key → uint64_t *: the position from which on nothing is written */
    uint8_t id_prefix[16];
    uint32_t column_oids[BANYAN_LEGACY_TABLES_MAX][BANYAN_FIELDS_MAX]; /* types */
};

enum mirror_action {
    MIRROR_INSERT = 1,
    MIRROR_UPDATE,
    MIRROR_DELETE,
    MIRROR_OVERWRITE, /* of the root: whatever is there; *new* NULL: nothing shall be */
};

/* One row to write; rows in the batch's arena. */
struct mirror_operation {
    enum mirror_action action;
    unsigned table;
    const void *old, *new;
};

/* The operations of one event, or of a conflict that was resolved. */
struct mirror_item {
    struct mirror_mapping *mapping;
    int64_t key;
    uint64_t position; /* of the event; resolved: of the first that waited */
    int64_t recorded_us;
    bool resolves;
    size_t first, count; /* in operations */
};

struct mirror_batch {
    struct banyan_arena arena;
    struct mirror_operation *operations; /* heap */
    size_t operation_count, operation_capacity;
    struct mirror_item *items; /* heap */
    size_t item_count, item_capacity;
    size_t bytes;
    uint64_t end;    /* everything up to here is in it, or not for the tables */
    bool whole;      /* ends with an append */
    uint64_t events; /* that are written */
};

struct legacy_mirror {
    struct legacy_mirror_options options;
    struct banyan_arena arena; /* lives as long as the mirror */
    struct mirror_mapping *mappings;
    size_t mapping_count;
    struct banyan_str conflict_stream, origin;
    bool has_source_id; /* id_prefix is valid: the source has a backfill of its own */

    /* of the thread */
    struct os_thread thread;
    struct pg_conn *conn;
    struct store_subscription *subscription;
    struct store_reader *reader; /* of streams */
    struct mirror_batch batch;
    uint64_t checkpoint; /* at the server */
    struct banyan_buf sql;

    struct {
        pthread_mutex_t lock; /* guards all of this struct */
        pthread_cond_t changed;
        struct legacy_mirror_status status;
        uint64_t aside_from; /* the first position that is not written for a conflict; 0: none */
        bool stopping;
        int64_t *lags_us; /* ring of MIRROR_LAGS_MAX */
        size_t lag_count, lag_next;
    } shared;
};

/* ---- mirror.c ---- */

struct legacy_mirror *mirror_new(const struct legacy_mirror_options *options);
void mirror_free(struct legacy_mirror *mirror);
struct mirror_mapping *mirror_mapping_of(struct legacy_mirror *mirror, struct banyan_str category);
/* The system identifier of the source's first start: what the ids of its backfill are made of. */
BANYAN_MUST_CHECK enum banyan_status mirror_find_source(struct legacy_mirror *mirror, struct banyan_error *err);
bool mirror_ending(struct legacy_mirror *mirror);

/* ---- mirror_batch.c ---- */

/* Take one event of the log into the batch. */
BANYAN_MUST_CHECK enum banyan_status mirror_take(struct legacy_mirror *mirror, const struct store_read_event *read,
                                                 struct banyan_error *err);
void mirror_batch_reset(struct mirror_batch *batch);
void mirror_batch_release(struct mirror_batch *batch);
/* Which aggregates are put aside when everything up to *checkpoint* is written. */
BANYAN_MUST_CHECK enum banyan_status mirror_load_aside(struct legacy_mirror *mirror, uint64_t checkpoint,
                                                       struct banyan_error *err);
void mirror_put_aside(struct legacy_mirror *mirror, struct mirror_mapping *mapping, int64_t key, uint64_t position);
void mirror_take_back(struct legacy_mirror *mirror, struct mirror_mapping *mapping, int64_t key);
void mirror_forget(struct mirror_mapping *mapping); /* states and what is aside */
/* Key of a stream of the mapping's category; false: it is not of this form. */
bool mirror_key(struct banyan_str stream, size_t category_size, int64_t *ret);

/* ---- mirror_sql.c ---- */

/* The statement of an operation into mirror->sql; its parameters into *ret_params* (arena). */
void mirror_statement(struct legacy_mirror *mirror, const struct mirror_mapping *mapping, int64_t key,
                      const struct mirror_operation *operation, struct banyan_arena *arena,
                      struct pg_param **ret_params, size_t *ret_count);
/* SELECT of the root row of a key, or of any one row of a table (*key* NULL), locked where it is not already. */
void mirror_select(const struct mirror_mapping *mapping, unsigned table, const int64_t *key, struct banyan_buf *sql);
/* A row of such a result. */
BANYAN_MUST_CHECK enum banyan_status mirror_row_parse(const struct mirror_mapping *mapping, unsigned table,
                                                      const struct pg_result *result, struct banyan_arena *arena,
                                                      void *ret, struct banyan_error *err);

/* ---- mirror_write.c ---- */

/* Write the batch and the checkpoint, recording conflicts; the batch is empty afterwards. */
BANYAN_MUST_CHECK enum banyan_status mirror_write(struct legacy_mirror *mirror, struct banyan_error *err);

/* ---- mirror_prove.c ---- */

/* Connect as who writes: role replica, origin; finds the checkpoint.  *prove*: for a look only, so that another
 * session may have the origin. */
BANYAN_MUST_CHECK enum banyan_status mirror_connect(struct legacy_mirror *mirror, bool prove, struct banyan_error *err);
/* The rights that the rows need. */
BANYAN_MUST_CHECK enum banyan_status mirror_prove_rows(struct legacy_mirror *mirror, struct banyan_error *err);

#endif
