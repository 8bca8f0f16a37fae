// SPDX-License-Identifier: Apache-2.0
/* What the files of the shop's server share.
 *
 * Workers are threads with an event loop and a connection to PostgreSQL each; all accept from one socket (http.c).  A
 * request is a list of SQL statements in one transaction (requests.c), run one after another (run.c). */
#ifndef LEGACY_SHOP_SERVER_H
#define LEGACY_SHOP_SERVER_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct server_options {
    const char *conninfo;
    const char *port_file; /* gets the port once requests are taken; NULL for none */
    int port;
    int workers;
};

/* One statement of a request.  Its parameters are always the same three:
 *   $1 bigint       the number in the path; from a statement with *takes_id* on what that returned
 *   $2 jsonb        the body of a POST, the query of a GET as an object of texts
 *   $3 timestamptz  the transaction's time, from the statement with *takes_time* on */
struct step {
    const char *sql;
    int refuse_code; /* where it returns or changes no row: the answer's HTTP code, and its text; 0: that is all right
                      */
    const char *refuse_text;
    bool takes_id, takes_time;
};

/* The last statement returns the answer: one row with one JSON text. */
struct request_kind {
    const char *method; /* "GET", "POST" */
    const char *before; /* the path, or its part before the number */
    const char *after;  /* the part behind the number; NULL: there is no number */
    int code;           /* of the answer */
    const struct step *steps;
    size_t step_count;
};

extern const struct request_kind request_kinds[];
extern const size_t request_kind_count;

struct reply {
    int code;
    char *text; /* JSON; the caller frees it */
};

/* Connects, waiting for the server no longer than libpq does. */
PGconn *run_connect(const char *conninfo);
/* Runs a request in one transaction, again where PostgreSQL broke a deadlock.  *body* is a JSON object as text. */
void run_request(PGconn *conn, const struct request_kind *kind, int64_t id, const char *body, struct reply *ret);
/* An error as an answer. */
void reply_error(struct reply *ret, int code, const char *text);

int http_serve(const struct server_options *options);

#endif
