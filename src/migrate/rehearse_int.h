/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of rehearse.h share.
 *
 *   rehearse.c           the order of things: place, rows, phases, code
 *   rehearse_copy.c      rows of the real database into the throwaway one
 *   rehearse_keys.c      rows without parents, of keys that are about to be added
 *   rehearse_cluster.c   a throwaway cluster made of a dump
 *   rehearse_code.c      statements of old and new code
 *   rehearse_print.c     the report
 */
#ifndef MIGRATE_REHEARSE_INT_H
#define MIGRATE_REHEARSE_INT_H

#include "migrate/rehearse.h"

struct rehearse_cluster {
    const char *folder; /* of its own, removed at the end; NULL: not started */
    const char *pg_ctl;
    const char *conninfo;
};
/* In *arena*.  CONFIG as root, whom PostgreSQL refuses. */
BANYAN_MUST_CHECK enum banyan_status rehearse_cluster_start(const char *dump, struct banyan_arena *arena,
                                                            struct rehearse_cluster *ret, struct banyan_error *err);
void rehearse_cluster_stop(struct rehearse_cluster *cluster);

/* DELETEs of rows without parents, by the foreign keys that *migration* adds. */
void rehearse_keys_find(const struct migration *migration, struct banyan_arena *arena, struct banyan_str **ret,
                        size_t *ret_count);

struct rehearse_copy_options {
    int64_t rows;                     /* of a table, at most */
    const struct banyan_str *deletes; /* of rows without parents, beside those of keys that are there */
    size_t delete_count;
};
/* Rows of each table, of one snapshot, into a database with the same schema.  Rows whose parents were not copied are
 * left out.  Gives how many there are. */
BANYAN_MUST_CHECK enum banyan_status rehearse_copy_rows(struct pg_conn *from, struct pg_conn *to,
                                                        const struct rehearse_copy_options *options,
                                                        struct banyan_arena *arena, int64_t *ret_rows,
                                                        struct banyan_error *err);

/* A table and what its rows add up to. */
struct rehearse_values {
    struct banyan_str table, sum;
};
BANYAN_MUST_CHECK enum banyan_status rehearse_values_read(struct pg_conn *conn, struct banyan_arena *arena,
                                                          struct rehearse_values **ret, size_t *ret_count,
                                                          struct banyan_error *err);
/* The tables of *before* that are not what they were, by name; empty: all are. */
BANYAN_MUST_CHECK enum banyan_status rehearse_values_compare(struct pg_conn *conn, const struct rehearse_values *before,
                                                             size_t count, struct banyan_arena *arena,
                                                             struct banyan_str *ret, struct banyan_error *err);

/* Statements of one side. */
struct rehearse_code {
    struct migration *statements; /* split; NULL: none */
    bool is_new;
};
BANYAN_MUST_CHECK enum banyan_status rehearse_code_read(const char *text, bool is_new, struct rehearse_code *ret,
                                                        struct banyan_error *err);
void rehearse_code_release(struct rehearse_code *code);
/* Each in a transaction that is rolled back; what fails is in the report. */
BANYAN_MUST_CHECK enum banyan_status rehearse_code_run(const struct rehearse_code *code, struct pg_conn *conn,
                                                       enum books_state at, struct banyan_arena *arena,
                                                       struct rehearse_report *report, struct banyan_error *err);

#endif
