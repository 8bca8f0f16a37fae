/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of the files of one view in SQLite, and its catalog.  In the folder:
 *
 *   <view>.sqlite            symbolic link to the file that serves: the one thing that a switch changes
 *   <view>.<N>.sqlite        a generation (with -wal and -shm while it is open)
 *   <view>.catalog.sqlite    a row a generation: form, version, sealed, owner's epoch, times
 *
 * The catalog never says that a generation serves: the link does.  It is written in full before what it tells is relied
 * on, and its lock (BEGIN IMMEDIATE) keeps those apart who make, serve and drop.
 */
#ifndef SINK_SQLITE_HOME_H
#define SINK_SQLITE_HOME_H

#include <sqlite3.h>
#include <stdint.h>

#include "banyan/error.h"
#include "projection/sink.h"

struct sqlite_place {
    const struct banyan_projection *projection;
    char *folder, *view; /* owned */
};

struct sqlite_place sqlite_place_copy(const struct sqlite_place *place);
void sqlite_place_release(struct sqlite_place *place);
/* Paths; free() them. */
char *sqlite_place_link(const struct sqlite_place *place);
char *sqlite_place_file(const struct sqlite_place *place, uint32_t generation);
/* What the link says; 0: none serves. */
uint32_t sqlite_place_serving(const struct sqlite_place *place);
/* The file with all that SQLite put beside it; what is not there is no matter. */
void sqlite_place_remove(const struct sqlite_place *place, uint32_t generation);

/* Become the owner of a generation: its new epoch, whether it is sealed, its mark.  NOT_FOUND, MISMATCH. */
BANYAN_MUST_CHECK enum banyan_status sqlite_place_claim(const struct sqlite_place *place, uint32_t generation,
                                                        int64_t *ret_epoch, bool *ret_sealed,
                                                        struct sink_mark *ret_ready, struct banyan_error *err);
/* It has a checkpoint that a power cut does not take away.  BROKEN when *epoch* is not that of the owner. */
BANYAN_MUST_CHECK enum banyan_status sqlite_place_seal(const struct sqlite_place *place, uint32_t generation,
                                                       int64_t epoch, struct banyan_error *err);

/* In sink_sqlite.c and sqlite_view.c. */
enum banyan_status sqlite_sink_open(const struct sqlite_place *place, uint32_t generation, struct sink **ret);
enum banyan_status sqlite_view_open(const struct sqlite_place *place, struct sink_view **ret);

#define SQLITE_READING "PRAGMA query_only = 1; PRAGMA cache_size = -16384; PRAGMA mmap_size = 1073741824"

#endif
