/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The truth about a statement: run it in a transaction that is rolled back, and look at what it really took.  For
 * `banyan migrate explain-lock`, and for the test that holds effect.h against the server in use.
 *
 *   locks       pg_locks of the own backend, strongest a relation
 *   rewrites    pg_class.relfilenode before and after
 *   scans       pg_stat_xact of the tables, and what the server tells at DEBUG1
 *
 * Never on a database that is in use: oracle_copy() makes a throwaway database with the same schema and no rows beside
 * it.  Statements that cannot run in a transaction cannot be measured.
 */
#ifndef MIGRATE_ORACLE_H
#define MIGRATE_ORACLE_H

#include "migrate/effect.h"
#include "pg/conn.h"

struct oracle_relation {
    struct banyan_str name;
    enum effect_lock lock; /* strongest that was held */
    bool rewritten;
    int64_t scans;
};
struct oracle_result {
    bool failed;
    struct banyan_str failure; /* the server's message */
    struct oracle_relation *relations;
    size_t relation_count;
    struct banyan_str *work; /* "rewrite t", "build t_a", "verify t" */
    size_t work_count;
    int64_t elapsed_us;
};

/* *given*: statements that are run before it, not measured; may be empty. */
BANYAN_MUST_CHECK enum banyan_status oracle_measure(struct pg_conn *conn, struct banyan_str given,
                                                    struct banyan_str statement, struct banyan_arena *arena,
                                                    struct oracle_result *ret, struct banyan_error *err);
/* A throwaway database with the schema of the one that *conninfo* names; *ret_conninfo* reaches it, in *arena*. */
BANYAN_MUST_CHECK enum banyan_status oracle_copy(const char *conninfo, struct banyan_arena *arena,
                                                 const char **ret_conninfo, struct banyan_error *err);
/* Drop what oracle_copy() made. */
BANYAN_MUST_CHECK enum banyan_status oracle_drop(const char *conninfo, const char *copy, struct banyan_error *err);

#endif
