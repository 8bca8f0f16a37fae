/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is in the way: the sessions that a backend waits for, and those that hold what a statement will need.
 */
#ifndef MIGRATE_BLOCKERS_H
#define MIGRATE_BLOCKERS_H

#include "banyan/arena.h"
#include "pg/conn.h"

struct blocker {
    int pid;
    struct banyan_str user, application, state, query; /* query cut to 200 bytes */
    int64_t age_us;                                    /* of its transaction */
    bool idle_in_transaction;
    bool prepared; /* a prepared transaction: *query* is its name; nothing to end */
};

/* What *pid* waits for now (locks, and old snapshots for CONCURRENTLY); over another connection. */
BANYAN_MUST_CHECK enum banyan_status blockers_of(struct pg_conn *conn, int pid, struct banyan_arena *arena,
                                                 struct blocker **ret, size_t *ret_count, struct banyan_error *err);
/* Who holds or waits for a lock on one of these relations ("schema"."name") now. */
BANYAN_MUST_CHECK enum banyan_status blockers_on(struct pg_conn *conn, const struct banyan_str *relations, size_t count,
                                                 struct banyan_arena *arena, struct blocker **ret, size_t *ret_count,
                                                 struct banyan_error *err);
/* End those that are idle in a transaction for longer than *age_us*; gives how many. */
BANYAN_MUST_CHECK enum banyan_status blockers_end_idle(struct pg_conn *conn, const struct blocker *blockers,
                                                       size_t count, int64_t age_us, size_t *ret,
                                                       struct banyan_error *err);
/* "pid 4711 (app, idle in transaction for 12 s): UPDATE …" */
struct banyan_str blocker_text(const struct blocker *blocker, struct banyan_arena *arena);

#endif
