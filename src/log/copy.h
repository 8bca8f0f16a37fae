/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of a log, whole or up to a position: what backups and restores are made of.
 *
 * Segments before the last one never change: they may be linked instead of copied.  The last one of a copy is always a
 * file of its own, cut behind a frame, because a writer goes on in it.  A copy made beside a running writer (open the
 * log for reading only) ends with what was durable then.
 *
 * A copy into a folder that holds an older copy of the same log brings that up to date; what it has already stays.
 * Each file appears whole, in order; so a copy that was interrupted is a log, too, only shorter.
 */
#ifndef LOG_COPY_H
#define LOG_COPY_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"
#include "banyan/types.h"
#include "banyan/uuid.h"
#include "log/frame.h"
#include "log/log.h"

struct log_copy_options {
    const char *folder;           /* of the copy's segments; made when missing */
    const char *cold_folder;      /* of its cold ones; made when it is needed */
    struct banyan_position until; /* the last one wanted; 0: all that is durable */
    bool link;                    /* share files where the file system can */
};

struct log_copied {
    struct banyan_uuid log_id;
    struct banyan_position
        last;        /* of the copy: a whole batch; at most until, and less where a frame goes on behind it */
    uint64_t offset; /* in the log, behind it */
    uint8_t chain[LOG_CHAIN_BYTES];
    uint64_t segments, linked, present; /* present: they were there already */
    uint64_t bytes;                     /* copied */
};

/* CONFLICT when the folder holds another log, or one that went another way; NO_SPACE, IO, CORRUPT. */
BANYAN_MUST_CHECK enum banyan_status log_copy(struct log *log, const struct log_copy_options *options,
                                              struct log_copied *ret, struct banyan_error *err);

#endif
