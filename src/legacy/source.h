/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done at the legacy server besides reading: the publication, the slot, and the proofs that both are the ones
 * that we know.  Nothing here changes anything of the application's.
 *
 * Threads: the connection's.
 */
#ifndef LEGACY_SOURCE_H
#define LEGACY_SOURCE_H

#include "banyan/arena.h"
#include "banyan/error.h"
#include "legacy/legacy_int.h"
#include "pg/conn.h"
#include "pg/snapshot.h"

BANYAN_MUST_CHECK enum banyan_status source_connect(struct legacy *legacy, bool replication, struct pg_conn **ret,
                                                    struct banyan_error *err);
/* A snapshot as the server sees it now; *ret_lsn (may be NULL) is an insert position taken after it. */
BANYAN_MUST_CHECK enum banyan_status source_snapshot(struct pg_conn *conn, struct banyan_arena *arena,
                                                     struct pg_snapshot *ret, uint64_t *ret_lsn,
                                                     struct banyan_error *err);
/* Write a transactional message into the WAL: its transaction comes back in the stream. */
BANYAN_MUST_CHECK enum banyan_status source_emit(struct pg_conn *conn, const char *prefix, const char *token,
                                                 uint64_t *ret_lsn, struct banyan_error *err);

/* Every table must have an identity before it may be published, else the application's UPDATEs would fail; then make
 * the publication where it is missing, or prove that the existing one has all tables and all operations. */
BANYAN_MUST_CHECK enum banyan_status source_publication(struct legacy *legacy, struct pg_conn *conn,
                                                        struct banyan_error *err);
/* The slot's name has to be free: a leftover of ours is dropped, somebody else's is SLOT. */
BANYAN_MUST_CHECK enum banyan_status source_slot_free(struct legacy *legacy, struct pg_conn *conn, bool is_ours,
                                                      struct banyan_error *err);
/* First start: make the slot.  *ret_snapshot: every transaction that it does not see comes in the stream (the first
 * barrier has been waited for).  Fills in legacy->consistent_lsn. */
BANYAN_MUST_CHECK enum banyan_status source_slot_create(struct legacy *legacy, struct pg_conn *conn,
                                                        struct pg_conn *replication, bool leftover_is_ours,
                                                        struct banyan_arena *arena, struct pg_snapshot *ret_snapshot,
                                                        struct banyan_error *err);
/* A mapping comes to a source that has begun: wait until every transaction of before now has ended.  Those are what
 * *ret_snapshot*, and every later one, sees; what such a snapshot does not see begins after now, and comes in the
 * stream whole: behind the cursor, and with tables that are published by now.  TIMEOUT names who is open. */
BANYAN_MUST_CHECK enum banyan_status source_wait_settled(struct legacy *legacy, struct pg_conn *conn,
                                                         struct banyan_arena *arena, struct pg_snapshot *ret_snapshot,
                                                         struct banyan_error *err);
/* The server is the one that we know, and not an old primary or a new one. */
BANYAN_MUST_CHECK enum banyan_status source_prove_system(struct legacy *legacy, struct pg_conn *replication,
                                                         struct banyan_error *err);
/* The slot is the one that we know and has everything behind *cursor_lsn*.  Waits for, then ends, a left-over reader
 * of ours; BUSY with the reader's pid. */
BANYAN_MUST_CHECK enum banyan_status source_prove_slot(struct legacy *legacy, struct pg_conn *conn, uint64_t cursor_lsn,
                                                       struct banyan_error *err);

#endif
