/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs: immutable sorted files of index entries, written once, in order, and read by block.
 *
 * In memory a run has its fences (the first hash of each block) and, within a budget, its filters; everything else is
 * read when it is asked for and checked each time.
 *
 * Threads: a run is read by any number of threads; a writer and an iterator belong to one.
 */
#ifndef STORE_INDEX_RUN_H
#define STORE_INDEX_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/error.h"
#include "banyan/types.h"
#include "os/file.h"
#include "store/cursors.h"
#include "store/index_format.h"

struct index_run {
    size_t refs; /* guarded by the index's lock */
    struct os_files *files;
    struct os_file *file;
    char *path; /* owned */
    struct index_run_header header;
    uint64_t bytes;              /* of the file */
    uint64_t *fences[2];         /* owned; of ids, of streams */
    unsigned char *lines_memory; /* owned; of both filters; NULL: they are read by block */
    unsigned char *lines[2];     /* in it, each line in one cache line */
    uint64_t line_count[2];
    uint64_t stream_count;  /* of the whole store at its last position */
    struct cursors cursors; /* the same */
};

/* What a run knows of a stream. */
struct index_head {
    uint64_t version, position;
    uint32_t jump_count;
    uint64_t jumps[INDEX_JUMPS_MAX];
};

char *index_run_path(const char *folder, uint64_t sequence);
/* "<20 digits>.run" → sequence; false for other names. */
bool index_run_parse_name(const char *name, uint64_t *ret_sequence);

/* Check header, size and fences, and load the filters when *filter_bytes has room for them.  NOT_FOUND, CORRUPT, IO. */
BANYAN_MUST_CHECK enum banyan_status index_run_open(struct os_files *files, const char *folder, uint64_t sequence,
                                                    uint64_t *filter_bytes, struct index_run **ret,
                                                    struct banyan_error *err);
/* Take the filters into memory if they are not and *filter_bytes (what is left) has room.  By one thread, before others
 * see the run. */
BANYAN_MUST_CHECK enum banyan_status index_run_load_filters(struct index_run *run, uint64_t *filter_bytes,
                                                            struct banyan_error *err);
void index_run_close(struct index_run *run); /* NULL allowed */
uint64_t index_run_filter_bytes(const struct index_run *run);
/* Memory of the run. */
uint64_t index_run_bytes(const struct index_run *run);

void index_run_prefetch(const struct index_run *run, enum index_section section, uint64_t hash);
/* Up to *max* positions under *hash*; *ret_count: how many there are (maybe more than max). */
BANYAN_MUST_CHECK enum banyan_status index_run_find_id(const struct index_run *run, uint64_t hash, uint64_t *positions,
                                                       size_t max, size_t *ret_count, struct banyan_error *err);
/* version 0: the run does not know it. */
BANYAN_MUST_CHECK enum banyan_status index_run_find_head(const struct index_run *run, uint64_t hash,
                                                         struct banyan_str name, struct index_head *ret,
                                                         struct banyan_error *err);

/* ---- walking ---- */

struct index_stream_entry {
    uint64_t hash;
    struct banyan_str name; /* borrowed from the iterator */
    struct banyan_str data; /* the whole entry; the same */
};

struct index_iterator {
    const struct index_run *run;
    enum index_section section;
    uint32_t block, block_end; /* next to be read */
    char *buffer;              /* owned */
    size_t buffered, used;     /* blocks */
    const char *next, *end;    /* in the block */
    uint16_t left;             /* entries of the block */
    union {
        struct index_id id;
        struct index_stream_entry stream;
    } at;
};

void index_iterator_init(struct index_iterator *iterator, const struct index_run *run, enum index_section section);
void index_iterator_release(struct index_iterator *iterator);
/* Go to the next entry (to the first one at first); *ret_found false at the end. */
BANYAN_MUST_CHECK enum banyan_status index_iterator_next(struct index_iterator *iterator, bool *ret_found,
                                                         struct banyan_error *err);

/* ---- writing ---- */

struct index_writer;

struct index_writer_options {
    struct os_files *files;
    const char *folder;
    uint64_t sequence;
    uint64_t first, last;
    uint64_t seeds[2];
    uint32_t level;
    /* Called after each half MiB; may wait; false: give up (STOPPED).  NULL: never. */
    bool (*pace)(void *argument, size_t bytes);
    void *argument;
};

BANYAN_MUST_CHECK enum banyan_status index_writer_new(const struct index_writer_options *options,
                                                      struct index_writer **ret, struct banyan_error *err);
/* All ids, sorted; then all streams, sorted by hash and name.  Failures are kept for index_writer_finish(). */
void index_writer_id(struct index_writer *writer, uint64_t hash, uint64_t position);
void index_writer_stream(struct index_writer *writer, uint64_t hash, struct banyan_str entry);
/* Write the rest, flush it, and open the run without filters in memory.  Frees the writer; on failure the file is
 * removed. */
BANYAN_MUST_CHECK enum banyan_status index_writer_finish(struct index_writer *writer, struct index_run **ret,
                                                         struct banyan_error *err);
void index_writer_abort(struct index_writer *writer); /* NULL allowed */

enum {
    INDEX_ENTRY_BYTES_MAX = 8 + 10 + 10 + 10 + INDEX_JUMPS_MAX * 10 + 10 + 1024,
};
/* Encode a stream's entry; returns its size. */
size_t index_entry_encode(char out[INDEX_ENTRY_BYTES_MAX], uint64_t hash, struct banyan_str name, uint64_t version,
                          uint64_t position, const uint64_t *jumps, uint32_t jump_count);

#endif
