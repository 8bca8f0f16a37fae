/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a segment, wherever they are kept: what readers, marks, recovery and verification read through.
 *
 * A hot segment is a plain file in the log's folder.  A cold one is compressed, block by block, in a folder that may be
 * on another disk; what is read of it is byte for byte what the hot file had, up to its last frame.  Where both exist
 * the hot one counts: a cold one is whole before the hot one goes.
 *
 * Bytes of a cold block that is damaged are read as zeros: whoever reads frames checks them, and goes on behind them.
 */
#ifndef LOG_SOURCE_H
#define LOG_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/error.h"
#include "os/file.h"

#define LOG_SEGMENT_SUFFIX ".seg"
#define LOG_MARKS_SUFFIX ".idx"
#define LOG_COLD_SUFFIX ".seg.zst"
#define LOG_COLD_NEW_SUFFIX ".seg.zst.new" /* being made */

struct log_folders {
    struct os_files *files; /* borrowed */
    const char *hot;        /* borrowed */
    const char *cold;       /* borrowed; NULL: none */
};

/* Gives "<folder>/<20 digits><suffix>". */
char *log_segment_path(const char *folder, uint64_t first_position, const char *suffix);
/* "<20 digits>.seg" → first position; false for other names. */
bool log_segment_parse_name(const char *name, uint64_t *ret_first_position);
/* First positions of all segments, hot and cold, ascending, each once.  Gives *ret. */
BANYAN_MUST_CHECK enum banyan_status log_segments_list(const struct log_folders *folders, uint64_t **ret,
                                                       size_t *ret_count, struct banyan_error *err);

/* Not for two threads at once. */
struct log_source;
/* NOT_FOUND; CORRUPT when what leads to a cold segment's blocks is damaged. */
BANYAN_MUST_CHECK enum banyan_status log_source_open(const struct log_folders *folders, uint64_t first_position,
                                                     struct log_source **ret, struct banyan_error *err);
void log_source_close(struct log_source *source); /* NULL allowed */
const char *log_source_path(const struct log_source *source);
bool log_source_is_cold(const struct log_source *source);
/* Of the file; of a cold one: of the segment up to its last frame. */
uint64_t log_source_bytes(const struct log_source *source);
/* Bytes of the segment from *at* on: *least*, or fewer where it ends; up to *size* where that costs no other block. */
BANYAN_MUST_CHECK enum banyan_status log_source_read(struct log_source *source, uint64_t at, void *data, size_t least,
                                                     size_t size, size_t *ret_size, struct banyan_error *err);

#endif
