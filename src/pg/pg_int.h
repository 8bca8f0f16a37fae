/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this room share: the connection itself, waiting, and how a failure of libpq becomes a status.
 *
 * Every connection is non-blocking, so that each wait can be ended by a time limit or by the stop token.
 */
#ifndef PG_PG_INT_H
#define PG_PG_INT_H

#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"
#include "banyan/record.h"
#include "pg/conn.h"
#include "pg/wire.h"

enum {
    PG_SQL_MAX = 64 << 20,        /* bytes of one statement */
    PG_PREPARED_MAX = 256,        /* statements; further ones are sent unprepared */
    PG_NAME_MAX = 63,             /* bytes of a name at the server */
    PG_CANCEL_WAIT_US = 5000000,  /* how long a cancelled statement may take to end */
    PG_CONNECT_WAIT_US = 10000000 /* default of pg_options.connect_timeout_us */
};

/* What a failure happened in: some codes mean different things. */
enum pg_context {
    PG_CONTEXT_STATEMENT = 1,
    PG_CONTEXT_CONNECT,
    PG_CONTEXT_SLOT, /* creating, reading or dropping a slot */
    PG_CONTEXT_STREAM,
};

struct pg_conn {
    PGconn *pq;
    struct os_stop *stop;                                  /* borrowed; may be NULL */
    char *description;                                     /* owned */
    void (*notice)(void *context, struct banyan_str text); /* NULL: nobody wants them */
    void *notice_context;
    bool replication;
    bool broken;                     /* an answer is still outstanding: no more work before a new connection */
    enum banyan_status cancel_cause; /* why we cancelled the present statement: STOPPED, TIMEOUT or OK (we did not) */
    int64_t deadline_us;             /* monotone time limit of the present statement; 0: none */
    int64_t statement_us_max;        /* of every statement; 0: none */
    enum banyan_status pipeline_status; /* first failure of the pipeline */
    struct banyan_error pipeline_error;
    size_t pipeline_queued; /* statements whose answer is outstanding */
    char **prepared;        /* texts of prepared statements, number i + 1 is named "banyan_<i>"; owned */
    size_t prepared_count;
    bool prepared_unsure; /* a pipeline failed: what it was to prepare may not be there */
};

struct pg_result {
    PGresult *pq;
};

/* ---- conn.c ---- */

enum pg_wake {
    PG_WAKE_READY = 1, /* the socket */
    PG_WAKE_TIMEOUT,
    PG_WAKE_STOPPED,
};

/* Wait for *events* on the socket until *deadline_us* (monotone; 0: no limit; past: only look).  *stop* may be NULL. */
enum pg_wake pg_wait(struct pg_conn *conn, short events, int64_t deadline_us, struct os_stop *stop);
/* Send all that is queued, reading meanwhile, so that two full buffers cannot lock each other. */
BANYAN_MUST_CHECK enum banyan_status pg_flush(struct pg_conn *conn, struct banyan_error *err);
/* Ask the server to end what it does; no answer is waited for. */
void pg_cancel(struct pg_conn *conn);
int64_t pg_now_us(void); /* monotone */

/* ---- statement.c ---- */

/* Refuse work on a connection that cannot take any; forget the last statement's cancellation. */
BANYAN_MUST_CHECK enum banyan_status pg_statement_begin(struct pg_conn *conn, struct banyan_error *err);
/* Wait until libpq has the next result.  A stop or the deadline cancels the statement, whose end is then awaited: its
 * result says how it ended. */
BANYAN_MUST_CHECK enum banyan_status pg_await(struct pg_conn *conn, struct banyan_error *err);
/* Read results until there is none; the first failure wins.  *ret_last may be NULL. */
BANYAN_MUST_CHECK enum banyan_status pg_finish(struct pg_conn *conn, enum pg_context context, PGresult **ret_last,
                                               struct banyan_error *err);
/* A simple-protocol statement (the only kind that a walsender takes) with a context of its own. */
BANYAN_MUST_CHECK enum banyan_status pg_simple(struct pg_conn *conn, const char *sql, enum pg_context context,
                                               struct pg_result **ret_result, struct banyan_error *err);
/* The same, where the last result is looked at by itself: a COPY or a stream begins.  *ret_last stays as it is when
 * nothing was sent. */
BANYAN_MUST_CHECK enum banyan_status pg_simple_last(struct pg_conn *conn, const char *sql, enum pg_context context,
                                                    PGresult **ret_last, struct banyan_error *err);
/* Parameters as libpq wants them: NUL-terminated.  One free() each; INVALID when a text holds a NUL byte. */
BANYAN_MUST_CHECK enum banyan_status pg_params(const struct pg_param *params, size_t count, const char ***ret,
                                               struct banyan_error *err);

/* ---- pipeline.c ---- */

/* Forget which statements are prepared; the server's are its own. */
void pg_prepared_forget(struct pg_conn *conn);

/* ---- copy_start.c ---- */

struct pg_copy_start {
    const char *before, *text, *after;  /* the statement */
    ExecStatusType answer;              /* PGRES_COPY_IN or PGRES_COPY_OUT */
    const struct banyan_record *record; /* a field a column */
};
/* *ret_started: the COPY began and has to be ended, also where its columns are wrong (TABLE). */
BANYAN_MUST_CHECK enum banyan_status pg_copy_start(struct pg_conn *conn, const struct pg_copy_start *start,
                                                   bool *ret_started, struct banyan_error *err);

/* ---- sqlstate.c ---- */

/* The status of a code; *ret_hint may become NULL. */
enum banyan_status pg_sqlstate_status(const char *sqlstate, enum pg_context context, const char **ret_hint);
/* Fill *err* from a failed result.  Never BANYAN_OK. */
enum banyan_status pg_result_error(const struct pg_conn *conn, const PGresult *result, enum pg_context context,
                                   struct banyan_error *err);
/* Fill *err* from a connection that was lost or could not be used. */
enum banyan_status pg_link_error(const struct pg_conn *conn, struct banyan_error *err);
/* Fill *err* from a connection that could not be made; *where* is "host:port/database as user". */
enum banyan_status pg_connect_error(PGconn *pq, const char *where, bool replication, struct banyan_error *err);

#endif
