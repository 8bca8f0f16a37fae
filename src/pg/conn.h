/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to PostgreSQL: the only user of libpq together with the other files of this room.
 *
 * Every failure becomes a status of its own class (pg/sqlstate.c has the one table): UNAVAILABLE, AUTH, PRIVILEGE,
 * SETTING, SLOT, TABLE, BUSY, TIMEOUT, NO_SPACE, QUERY; SQLSTATE, detail and hint are kept.  Passwords are never part
 * of a message.
 *
 * Text and times are in a fixed form on every connection: client_encoding UTF8, TimeZone UTC, DateStyle ISO,
 * IntervalStyle iso_8601, extra_float_digits 3, bytea_output hex.
 *
 * Threads: one connection, one thread.
 */
#ifndef PG_CONN_H
#define PG_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/buf.h"
#include "banyan/error.h"
#include "banyan/types.h"
#include "os/stop.h"

struct pg_conn;
struct pg_result;

struct pg_options {
    const char *conninfo;         /* URI or key=value list; what is missing comes from PG* variables and .pgpass */
    const char *application_name; /* shown in pg_stat_activity */
    bool replication;             /* a walsender connection (database) */
    int64_t connect_timeout_us;   /* 0: 10 s */
    int64_t statement_us_max;     /* each statement is cancelled after it (TIMEOUT); 0: no limit */
    int64_t silence_us_max;       /* a peer that acknowledges nothing for so long is lost; 0: the system's, minutes */
    struct os_stop *stop;         /* ends waits; may be NULL */
};

BANYAN_MUST_CHECK enum banyan_status pg_connect(const struct pg_options *options, struct pg_conn **ret,
                                                struct banyan_error *err);
void pg_close(struct pg_conn *conn);               /* NULL allowed */
int pg_server_version(const struct pg_conn *conn); /* 150004 */
/* "host:port/database as user", without secrets; lives as long as the connection. */
const char *pg_describe(const struct pg_conn *conn);
/* Its process id at the server. */
int pg_backend_pid(const struct pg_conn *conn);
/* The socket, for poll(). */
int pg_socket(const struct pg_conn *conn);
/* Call *notice* for each message below an error that the server sends from now on (client_min_messages); NULL: drop
 * them, as at first. */
void pg_on_notice(struct pg_conn *conn, void (*notice)(void *context, struct banyan_str text), void *context);

/* ---- statements ---- */

struct pg_param {
    struct banyan_str text; /* text form; data NULL is NULL */
};

/* Run one statement with parameters ($1 …); gives *ret_result where not NULL. */
BANYAN_MUST_CHECK enum banyan_status pg_exec(struct pg_conn *conn, const char *sql, const struct pg_param *params,
                                             size_t param_count, struct pg_result **ret_result,
                                             struct banyan_error *err);
/* Several statements without parameters or results (BEGIN; SET …). */
BANYAN_MUST_CHECK enum banyan_status pg_run(struct pg_conn *conn, const char *sql, struct banyan_error *err);
/* One statement in three parts, to look around (over another connection) while it runs: send it, ask now and then
 * whether it has ended, take its result.  pg_ended() waits for up to *wait_us*; it is true as soon as pg_receive() has
 * something to say: a result, a lost connection, a stop. */
BANYAN_MUST_CHECK enum banyan_status pg_send(struct pg_conn *conn, const char *sql, struct banyan_error *err);
bool pg_ended(struct pg_conn *conn, int64_t wait_us);
BANYAN_MUST_CHECK enum banyan_status pg_receive(struct pg_conn *conn, struct pg_result **ret_result,
                                                struct banyan_error *err);
void pg_result_free(struct pg_result *result); /* NULL allowed */
size_t pg_rows(const struct pg_result *result);
size_t pg_columns(const struct pg_result *result);
/* Rows that an INSERT, UPDATE or DELETE touched. */
uint64_t pg_affected(const struct pg_result *result);
/* Text of a cell; data NULL is NULL.  Borrowed from the result. */
struct banyan_str pg_text(const struct pg_result *result, size_t row, size_t column);
/* The cell as an integer, 0 where NULL or no number. */
int64_t pg_int(const struct pg_result *result, size_t row, size_t column);
bool pg_bool(const struct pg_result *result, size_t row, size_t column);

/* ---- pipeline: many statements, one round trip ---- */

BANYAN_MUST_CHECK enum banyan_status pg_pipeline_begin(struct pg_conn *conn, struct banyan_error *err);
/* Queue one statement; its result is thrown away, its error is kept for the end. */
BANYAN_MUST_CHECK enum banyan_status pg_pipeline_add(struct pg_conn *conn, const char *sql,
                                                     const struct pg_param *params, size_t param_count,
                                                     struct banyan_error *err);
/* The same for a statement that comes again and again: the server parses and plans its text once a connection. */
BANYAN_MUST_CHECK enum banyan_status pg_pipeline_add_prepared(struct pg_conn *conn, const char *sql,
                                                              const struct pg_param *params, size_t param_count,
                                                              struct banyan_error *err);
/* Sync and wait for all; the first error, if any.  The connection is out of pipeline mode afterwards. */
BANYAN_MUST_CHECK enum banyan_status pg_pipeline_end(struct pg_conn *conn, struct banyan_error *err);

/* ---- quoting: the one place ---- */

void pg_add_identifier(struct banyan_buf *sql, struct banyan_str name);
/* "schema.table" or "table", each part quoted; a part may itself be in double quotes. */
void pg_add_table(struct banyan_buf *sql, struct banyan_str name);
void pg_add_literal(struct banyan_buf *sql, struct banyan_str text);

/* ---- positions in the WAL ---- */

enum {
    PG_LSN_TEXT_SIZE = 18,
};
/* "16/B374D848" */
BANYAN_MUST_CHECK bool pg_lsn_parse(struct banyan_str text, uint64_t *ret);
void pg_lsn_format(uint64_t lsn, char text[PG_LSN_TEXT_SIZE]);

#endif
