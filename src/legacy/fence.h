/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cutover does at the server: the schema banyan with its journal, the fence triggers, locks, messages in the
 * WAL, sequences.  Each function is one statement or one transaction; cutover.h (room rollout) says in which order and
 * why.
 *
 *   banyan.journal         (source text, epoch bigint, owner text, fence_lsn pg_lsn, at timestamptz;
 *                           PRIMARY KEY (source, epoch))
 *   banyan.refuse_write()   the trigger function: SQLSTATE 25006 and a message that names who owns the table now
 *   trigger banyan_fence    on each mapped table and each of its partitions, BEFORE INSERT OR UPDATE OR DELETE OR
 *                           TRUNCATE FOR EACH STATEMENT, plain ENABLE: sessions in replica role (the mirror) pass.
 *                           Where the fence is down it is disabled, not dropped: that waits for no reader
 *   advisory lock           held by the transactions of fence_lock() and fence_remove() to their end.  Who can take it
 *                           knows that none of them is left which could still commit (fence_settle())
 *
 * `DROP SCHEMA banyan CASCADE` takes all of it away.
 *
 * Threads: a session, one thread.
 */
#ifndef LEGACY_FENCE_H
#define LEGACY_FENCE_H

#include "banyan/buf.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "pg/conn.h"

struct fence_options {
    const struct banyan_domain *domain;
    const char *source;
    int64_t lock_timeout_us;  /* 0: 100 ms */
    int64_t session_limit_us; /* the server ends a session that is idle in the transaction for longer; 0: 1 s */
};

/* Make the schema banyan where it is missing; the mirror has a table there, too.  PRIVILEGE with the GRANT. */
BANYAN_MUST_CHECK enum banyan_status fence_schema(struct pg_conn *conn, struct banyan_error *err);
/* Make schema, journal and function where they are missing, and look whether the role may do all of the rest.
 * PRIVILEGE with the GRANT that is needed. */
BANYAN_MUST_CHECK enum banyan_status fence_prepare(struct pg_conn *conn, const struct fence_options *options,
                                                   struct banyan_error *err);
/* BEGIN; limits; LOCK all mapped tables IN SHARE ROW EXCLUSIVE MODE; triggers.  BUSY when the locks were not to be had
 * in time, all of them together: the error's detail names who is in the way.  On a failure the transaction is rolled
 * back. */
BANYAN_MUST_CHECK enum banyan_status fence_lock(struct pg_conn *conn, const struct fence_options *options,
                                                struct banyan_error *err);
/* pg_logical_emit_message(true, …) in a transaction of its own on another connection; its end. */
BANYAN_MUST_CHECK enum banyan_status fence_message(struct pg_conn *conn, const char *source, uint64_t *ret_lsn,
                                                   struct banyan_error *err);
/* The journal row and COMMIT of what fence_lock() began.  UNCERTAIN when the COMMIT failed, however; every other
 * failure says that it was not done. */
BANYAN_MUST_CHECK enum banyan_status fence_commit(struct pg_conn *conn, const struct fence_options *options,
                                                  uint64_t epoch, uint64_t fence_lsn, struct banyan_error *err);
/* One transaction: sequences (*keys*: one value a mapping, the highest in use, 0: leave it; none is moved back),
 * triggers disabled, the journal row.  BUSY and UNCERTAIN as above. */
BANYAN_MUST_CHECK enum banyan_status fence_remove(struct pg_conn *conn, const struct fence_options *options,
                                                  uint64_t epoch, const int64_t *keys, struct banyan_error *err);
/* Until no transaction of an earlier fence_lock() or fence_remove() is left: its session is ended, also when it is
 * another process's.  TIMEOUT.  Not over a connection that holds one itself. */
BANYAN_MUST_CHECK enum banyan_status fence_settle(struct pg_conn *conn, const char *source, int64_t timeout_us,
                                                  struct banyan_error *err);
/* The same, and from then on nobody else can begin one before the connection is at its end: by itself, or because
 * somebody else settled. */
BANYAN_MUST_CHECK enum banyan_status fence_take(struct pg_conn *conn, const char *source, int64_t timeout_us,
                                                struct banyan_error *err);
/* A row of the journal that says Banyan, and nothing else.  UNCERTAIN as above. */
BANYAN_MUST_CHECK enum banyan_status fence_claim(struct pg_conn *conn, const struct fence_options *options,
                                                 uint64_t epoch, struct banyan_error *err);
/* The last committed row. */
struct fence_journal {
    uint64_t epoch; /* 0: no row */
    bool banyan;    /* the owner; else the legacy application */
};
BANYAN_MUST_CHECK enum banyan_status fence_journal_read(struct pg_conn *conn, const char *source,
                                                        struct fence_journal *ret, struct banyan_error *err);
/* Who could stand in the way: transactions that are open for longer than *older_us* and hold locks on mapped tables
 * that keep fence_lock() waiting, prepared transactions of any age; one a line into *ret, empty: nobody. */
BANYAN_MUST_CHECK enum banyan_status fence_blockers(struct pg_conn *conn, const struct fence_options *options,
                                                    int64_t older_us, struct banyan_buf *ret, struct banyan_error *err);

#endif
