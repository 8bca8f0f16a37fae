/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Marks the streams of a domain's groups (struct banyan_archive_group) as archivable, once all of a group were closed
 * for as long as the domain says.
 *
 *   events ──root()──▶ which stream belongs to which group ──┐
 *          ──closes()─▶ open, or closed since when ──────────┴──▶ all closed for keep_days ──▶ store_archive_set()
 *
 * What it knows is in memory, and folded from the log at each start; groups that are marked are forgotten again, so
 * that memory is that of the open ones.  Nothing is marked before the end of the log was reached, nor while the history
 * is still being brought in: a later event may open a stream again.  An event that cannot be understood keeps its
 * stream open for ever.  Marks are the store's, in "$archive-<stream>"; they say nothing about events that come later.
 *
 * Threads: one of its own; all functions by any.
 */
#ifndef PROJECTION_ARCHIVE_H
#define PROJECTION_ARCHIVE_H

#include <stdint.h>

#include "projection/engine.h"
#include "projection/scan.h"

struct archive;

struct archive_options {
    const struct banyan_domain *domain; /* has an archive group */
    struct store *store;
    struct scan *scan;
    struct os_stop *stop;
    struct os_clock *clock;             /* what "closed for so long" is compared with; NULL: the system's */
    int64_t every_us;                   /* between two looks for groups that are due; 0: a minute */
    bool (*waits)(const void *context); /* should nothing be marked now?  Asked often; may be NULL */
    const void *context;
};

/* Starts its thread. */
struct archive *archive_new(const struct archive_options *options);
/* After the stop was requested.  NULL allowed. */
void archive_free(struct archive *archive);
void archive_status(struct archive *archive, struct projections_archive_status *ret);

#endif
