/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the index share.
 *
 * The tables and runs that are in use form a *view*, which never changes: whoever makes a new one (freeze, flush,
 * merge, drop) puts it in the place of the old one, and tables and runs live as long as a view holds them.
 *
 * The newest table that was flushed stays in the view beside its run, as the last of the tables, so that streams which
 * are written all the time are not read from the disk after each flush.
 */
#ifndef STORE_INDEX_INT_H
#define STORE_INDEX_INT_H

#include <pthread.h>

#include "os/thread.h"
#include "store/envelope.h"
#include "store/index.h"

enum {
    INDEX_MERGE_RATIO = 8,
    INDEX_MERGE_MAX = 16,                   /* runs at once */
    INDEX_FROZEN_MAX = 1,                   /* tables that wait for the flusher */
    INDEX_RUNS_MAX = 256,                   /* then appenders wait for the merger */
    INDEX_TABLE_SLACK = 4,                  /* times its limit a table may grow while runs cannot be written */
    INDEX_NAME_BYTES_MAX = 8 * 1024 * 1024, /* of a table's names and jumps */
    INDEX_RETRY_US = 1000 * 1000,           /* after a failure in the background */
    INDEX_PACE_BYTES = 128 * 1024 * 1024,   /* a second, of a merge */
};

struct index_table {
    size_t refs; /* guarded by index.lock */
    struct heads heads;
    struct ids ids;
    uint64_t first, last; /* positions; last is set when it is frozen */
    uint64_t count;       /* events */
    uint64_t streams;     /* of the whole store at last */
    struct cursors cursors;
    bool provisional;
};

struct index_view {
    size_t refs; /* guarded by index.lock */
    size_t table_count, run_count;
    size_t waiting;              /* of the tables: all, or all but the last */
    struct index_table **tables; /* newest first */
    struct index_run **runs;     /* newest first */
};

struct index_manifest {
    uint64_t seeds[2];
    uint64_t covered, check, next_sequence, stream_count;
    struct index_manifest_run *runs; /* owned; oldest first */
    size_t run_count;
    struct cursors cursors;
};

struct index {
    struct index_options options; /* folder is owned */
    struct log *log;
    uint64_t seeds[2];
    uint64_t loaded;        /* position that was covered at open */
    uint64_t check;         /* of the record there */
    struct cursors cursors; /* at *loaded* */
    bool rebuilt;

    /* Guarded by the store's lock. */
    struct index_table *active;
    struct index_view *pinned; /* between begin and end */
    uint64_t stream_count;
    uint64_t batch_first;   /* of the batch that spilled; 0: none */
    uint64_t batch_streams; /* stream_count before it */
    uint64_t *found;        /* scratch of index_find_id(), owned */
    size_t found_capacity;

    struct os_thread flusher, merger;
    pthread_mutex_t lock;
    pthread_cond_t work;    /* for the flusher */
    pthread_cond_t mergers; /* for the merger, and to end its pauses */
    pthread_cond_t changed; /* a new view, or a failure */

    /* Guarded by lock. */
    struct {
        struct index_view *view;
        uint64_t next_sequence;
        uint64_t filter_bytes; /* what is left of the budget */
        uint64_t covered;      /* by the manifest */
        char **garbage;        /* owned; paths of files that no manifest names once it is written again */
        size_t garbage_count, garbage_capacity;
        enum banyan_status failed;       /* of the flusher's last attempt … */
        uint64_t attempts;               /* … of so many */
        enum banyan_status merge_failed; /* of the merger's */
        struct banyan_error why;
        bool publish, stopping, damaged;
    } shared;
};

/* ---- index.c ---- */

/* What the log's record at *position* hashes to: it tells whether log and index belong together. */
BANYAN_MUST_CHECK enum banyan_status index_read_check(const struct index *index, uint64_t position, uint64_t *ret,
                                                      struct banyan_error *err);

/* ---- index_view.c ---- */

struct index_table *index_table_new(const struct index *index, uint64_t first);
void index_table_free(struct index_table *table);
/* With index.lock: a view of *parts*, newest first; takes a reference on each.  Owns arrays of its own. */
struct index_view *index_view_new(const struct index_view *parts);
/* With index.lock: put *view* in the place of the old one, which the caller puts back without the lock. */
struct index_view *index_view_swap(struct index *index, struct index_view *view);
/* With index.lock: remove this file once no manifest names it. */
void index_add_garbage(struct index *index, const char *path);
/* A lookup met *status*: remember damage. */
void index_note(struct index *index, enum banyan_status status);

/* ---- index_manifest.c ---- */

void index_manifest_release(struct index_manifest *manifest);
/* NOT_FOUND, CORRUPT, IO. */
BANYAN_MUST_CHECK enum banyan_status index_manifest_load(struct os_files *files, const char *folder,
                                                         struct index_manifest *ret, struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status index_manifest_save(struct os_files *files, const char *folder,
                                                         const struct index_manifest *manifest,
                                                         struct banyan_error *err);
/* What cannot be removed is left: the manifest's checks find it out. */
void index_manifest_remove(struct os_files *files, const char *folder);
/* Remove all files of the index but those that *kept* names, or (NULL) all. */
void index_manifest_clean(struct os_files *files, const char *folder, const struct index_manifest *kept);

/* ---- index_merge.c ---- */

/* Write *table* as a run. */
BANYAN_MUST_CHECK enum banyan_status index_write_table(struct index *index, const struct index_table *table,
                                                       struct index_run **ret, struct banyan_error *err);
/* Neighbours of a view that should become one run. */
struct index_merge {
    size_t first, count; /* view->runs; count 0: none */
    uint32_t level;      /* of the new run */
};
struct index_merge index_choose_merge(const struct index_view *view, uint64_t durable);
/* Write that run. */
BANYAN_MUST_CHECK enum banyan_status index_write_merged(struct index *index, const struct index_view *view,
                                                        struct index_merge merge, struct index_run **ret,
                                                        struct banyan_error *err);

/* ---- index_work.c ---- */

void index_flusher_main(void *index);
void index_merger_main(void *index);

#endif
