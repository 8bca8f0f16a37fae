/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backup of a store while it is written to, and restore of a backup (or of any store) up to a position or a time.
 *
 *     store ──backup──▶ folder: log/, cold/ (linked where possible), signed heads, backup.json ──restore──▶ new store
 *
 * A backup is itself a store: it can be opened, read, verified and backed up.  Taken again into the same folder it only
 * adds what is new.  The index is not in it: it is derived.
 *
 * What a restore cuts off in the middle of a frame is appended anew with its old time, so that events, positions and
 * times are as they were; the chain is the old one up to the last frame before.
 *
 * Threads: any.
 */
#ifndef STORE_BACKUP_H
#define STORE_BACKUP_H

#include "log/copy.h"
#include "store/store.h"

struct store_copy_options {
    const char *from, *to;  /* folders of stores */
    struct os_files *files; /* NULL: the system's */
    bool link;              /* share files that never change, where the file system can */
};

/* Bring *to* up to what is durable in *from*.  Takes no lock: a writer may be at work.  NOT_FOUND, CONFLICT (the folder
 * holds another store), CORRUPT, NO_SPACE, IO. */
BANYAN_MUST_CHECK enum banyan_status store_backup(const struct store_copy_options *options, struct log_copied *ret,
                                                  struct banyan_error *err);

struct store_restore_until {
    struct banyan_position position; /* 0: not given */
    struct banyan_time time;         /* events recorded before it; BANYAN_TIME_NULL: not given */
};

/* Make a store in *to*, which must not hold one, of the whole batches of *from* up to *until* (neither given: all).
 * ret->last is its last position. */
BANYAN_MUST_CHECK enum banyan_status store_restore(const struct store_copy_options *options,
                                                   const struct store_restore_until *until, struct log_copied *ret,
                                                   struct banyan_error *err);

#endif
