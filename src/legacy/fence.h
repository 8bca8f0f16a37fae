/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cutover does at the server: the schema banyan with its journal, the fence triggers, locks, messages in the
 * WAL, sequences.  Each function is one statement or one transaction; cutover.h (room rollout) says in which order and
 * why.
 *
 *   banyan.journal (source text, epoch bigint, owner text, fence_lsn pg_lsn, at timestamptz; PRIMARY KEY (source,
 * epoch)) banyan.refuse_write()   the trigger function: SQLSTATE 25006 and a message that names who owns the table now
 *   trigger banyan_fence    on each mapped table, BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE FOR EACH STATEMENT,
 *                           plain ENABLE: sessions in replica role (the mirror) pass
 *
 * Threads: a session, one thread.
 */
#ifndef LEGACY_FENCE_H
#define LEGACY_FENCE_H

#include "banyan/domain.h"
#include "banyan/error.h"
#include "pg/conn.h"

struct fence_options {
    const struct banyan_domain *domain;
    const char *source;
    int64_t lock_timeout_us;  /* 0: 100 ms */
    int64_t session_limit_us; /* the server ends a session that is idle in the transaction for longer; 0: 1 s */
};

/* Make schema, tables and function where they are missing.  PRIVILEGE with the GRANT that is needed. */
BANYAN_MUST_CHECK enum banyan_status fence_prepare(struct pg_conn *conn, struct banyan_error *err);
/* BEGIN; limits; LOCK all mapped tables IN SHARE ROW EXCLUSIVE MODE; triggers.  BUSY when a lock was not to be had in
 * time: the transaction is rolled back, and the error's detail names who is in the way. */
BANYAN_MUST_CHECK enum banyan_status fence_lock(struct pg_conn *conn, const struct fence_options *options,
                                                struct banyan_error *err);
/* pg_logical_emit_message(true, …) in a transaction of its own on another connection; its end. */
BANYAN_MUST_CHECK enum banyan_status fence_message(struct pg_conn *conn, const char *source, uint64_t *ret_lsn,
                                                   struct banyan_error *err);
/* The journal row and COMMIT of what fence_lock() began.  UNCERTAIN when the answer is lost. */
BANYAN_MUST_CHECK enum banyan_status fence_commit(struct pg_conn *conn, const struct fence_options *options,
                                                  uint64_t epoch, uint64_t fence_lsn, struct banyan_error *err);
/* One transaction: sequences (*keys*: one value a mapping, 0: leave it), triggers away, the journal row. */
BANYAN_MUST_CHECK enum banyan_status fence_remove(struct pg_conn *conn, const struct fence_options *options,
                                                  uint64_t epoch, const int64_t *keys, struct banyan_error *err);
struct fence_journal {
    uint64_t epoch; /* 0: no row */
    bool banyan;    /* the owner; else the legacy application */
};
BANYAN_MUST_CHECK enum banyan_status fence_journal_read(struct pg_conn *conn, const char *source,
                                                        struct fence_journal *ret, struct banyan_error *err);
/* Who could stand in the way: transactions that are open for longer than *older_us* and hold locks on mapped tables,
 * prepared transactions; one a line into *ret, empty: nobody. */
BANYAN_MUST_CHECK enum banyan_status fence_blockers(struct pg_conn *conn, const struct fence_options *options,
                                                    int64_t older_us, struct banyan_buf *ret, struct banyan_error *err);

#endif
