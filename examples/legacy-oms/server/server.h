// SPDX-License-Identifier: Apache-2.0
/* What the files of the server share.
 *
 * One thread runs the HTTP loop (http.c); it hands each request to a worker, which owns one connection to PostgreSQL
 * (db.c), runs the request as one transaction (write.c, read.c) and hands the reply back. */
#ifndef LEGACY_OMS_SERVER_H
#define LEGACY_OMS_SERVER_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "../common/random.h"

struct evkeyvalq;

#define FILLS_MAX 100 /* orders in one POST /fills */
#define LIST_MAX 1000 /* orders in one GET /orders */

struct server_options {
    const char *conninfo;
    const char *port_file; /* gets the port once requests are taken; NULL for none */
    int port;
    int pool;
    unsigned faults;
    uint64_t seed;
};

/* One worker's connection.  Only its thread uses it. */
struct db {
    PGconn *conn;
    const char *conninfo;
    unsigned faults;
    struct rng rng; /* decides the faults of this worker's transactions */
};

/* What a worker answers: code 0 until it is decided; body is owned here. */
struct reply {
    int code;
    json_t *body;
};

enum method { METHOD_UNKNOWN, METHOD_GET, METHOD_POST };

struct request {
    enum method method;
    char *path;              /* without the query string */
    struct evkeyvalq *query; /* the decoded query string */
    char *body;              /* ends with a 0 byte */
    size_t body_length;
    int64_t arrived_us; /* wall clock, µs since 1970 */
};

int http_serve(const struct server_options *options);

/* Routes one request and runs it. */
void route(struct db *db, const struct request *request, struct reply *reply);

/* db.c: statements are prepared under the names that the list in db.c gives. */
bool db_open(struct db *db);
void db_close(struct db *db);
/* Runs a prepared statement.  NULL after a failure; then the reply says what went wrong. */
PGresult *db_run(struct db *db, struct reply *reply, const char *statement, int count, const char *const *values);
bool db_begin(struct db *db, struct reply *reply);
/* Commits after the linger that the faults ask for. */
bool db_commit(struct db *db, struct reply *reply);
/* Leaves a transaction that failed or was refused. */
void db_rollback(struct db *db);

/* write.c */
void order_place(struct db *db, const struct request *request, struct reply *reply);
void order_modify(struct db *db, const struct request *request, int64_t order_id, struct reply *reply);
void order_cancel(struct db *db, const struct request *request, int64_t order_id, struct reply *reply);
void order_fill(struct db *db, const struct request *request, int64_t order_id, struct reply *reply);
void orders_fill(struct db *db, const struct request *request, struct reply *reply);

/* read.c */
void order_get(struct db *db, int64_t order_id, struct reply *reply);
void orders_list(struct db *db, const struct request *request, struct reply *reply);
void health_get(struct db *db, struct reply *reply);

/* Sets an error answer; the first one wins. */
__attribute__((format(printf, 3, 4))) void reply_error(struct reply *reply, int code, const char *format, ...);

#endif
