// SPDX-License-Identifier: Apache-2.0
/* A worker's connection: opening it, preparing the statements, running them, and what their errors mean over HTTP. */
#include "server.h"

#include "../common/faults.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ORDER_COLUMNS                                                                                                  \
    "order_id, trader_id, symbol, side, quantity, price, status, filled_quantity, avg_fill_price, created_at, "        \
    "updated_at"

/* The time of a transaction.  Parameter %s is the application's clock (µs), or NULL where the database's counts. */
#define APPLICATION_TIME "(timestamptz 'epoch' + %s::bigint * interval '1 microsecond')"

static const struct {
    const char *name;
    const char *sql;
} statements[] = {
    {"begin", "BEGIN"},
    {"commit", "COMMIT"},
    {"rollback", "ROLLBACK"},
    {"health", "SELECT 1"},
    {"modify", "UPDATE orders SET price = $2, quantity = $3, updated_at = $4 WHERE order_id = $1 "
               "RETURNING price, quantity"},
    {"audit", "INSERT INTO audit_log (entity_id, field_changed, old_value, new_value, \"timestamp\") "
              "VALUES ($1, $2, $3, $4, $5)"},
    {"cancel", "UPDATE orders SET status = 'CANCELED', updated_at = $2 WHERE order_id = $1"},
    {"cancel-untimed", "UPDATE orders SET status = 'CANCELED' WHERE order_id = $1"},
    {"trade", "INSERT INTO trades (order_id, quantity, price, executed_at) VALUES ($1, $2, $3, $4) RETURNING id"},
    {"fill", "UPDATE orders SET "
             "avg_fill_price = round((coalesce(avg_fill_price, 0) * filled_quantity"
             "                        + $3::numeric(18, 8) * $2::numeric(18, 8))"
             "                       / (filled_quantity + $2::numeric(18, 8)), 8), "
             "filled_quantity = filled_quantity + $2::numeric(18, 8), "
             "status = CASE WHEN filled_quantity + $2::numeric(18, 8) >= quantity"
             "              THEN 'FILLED' ELSE 'PARTIALLY_FILLED' END, "
             "updated_at = $4 "
             "WHERE order_id = $1 "
             "RETURNING order_id, status, filled_quantity, avg_fill_price, quantity - filled_quantity AS remaining"},
    {"get", "SELECT " ORDER_COLUMNS " FROM orders WHERE order_id = $1"},
    {"list-trader", "SELECT " ORDER_COLUMNS " FROM orders WHERE trader_id = $1 "
                    "AND created_at >= coalesce($2::timestamptz, '-infinity') "
                    "AND created_at < coalesce($3::timestamptz, 'infinity') ORDER BY created_at DESC LIMIT $4"},
    {"list-symbol", "SELECT " ORDER_COLUMNS " FROM orders WHERE symbol = $1 "
                    "AND created_at >= coalesce($2::timestamptz, '-infinity') "
                    "AND created_at < coalesce($3::timestamptz, 'infinity') ORDER BY created_at DESC LIMIT $4"},
};

void reply_error(struct reply *reply, int code, const char *format, ...)
{
    char text[512];
    va_list args;

    if (reply->code)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    reply->code = code;
    reply->body = json_pack("{s:s}", "error", text);
}

static bool prepare(struct db *db, const char *name, const char *sql)
{
    PGresult *result = PQprepare(db->conn, name, sql, 0, NULL);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;

    if (!done)
        fprintf(stderr, "legacy-oms: %s: %s", name, PQresultErrorMessage(result));
    PQclear(result);
    return done;
}

/* These two take the time, so that their text depends on the faults. */
static bool prepare_timed(struct db *db)
{
    const char *place_time =
        db->faults & FAULT_TIES ? "date_trunc('milliseconds', clock_timestamp())" : "clock_timestamp()";
    const char *lock_time = db->faults & FAULT_TIES
                                ? "date_trunc('milliseconds', clock_timestamp())"
                                : "greatest(clock_timestamp(), max(updated_at) OVER () + interval '1 microsecond')";
    char sql[1024];

    snprintf(sql, sizeof(sql),
             "INSERT INTO orders (" ORDER_COLUMNS ") "
             "SELECT coalesce($1::bigint, nextval('orders_order_id_seq')), $2::bigint, $3, $4, $5::numeric(18, 8), "
             "$6::numeric(18, 8), 'NEW', 0, NULL, at, at FROM (SELECT coalesce(" APPLICATION_TIME ", %s) AS at) AS t "
             "RETURNING order_id, status, created_at",
             "$7", place_time);
    if (!prepare(db, "place", sql))
        return false;
    /* The outer query reads the clock only when the inner one has the row locks. */
    snprintf(sql, sizeof(sql),
             "SELECT order_id, status, quantity, price, filled_quantity, coalesce(" APPLICATION_TIME ", %s) "
             "FROM (SELECT * FROM orders WHERE order_id = ANY ($1::bigint[]) ORDER BY order_id FOR UPDATE) AS locked",
             "$2", lock_time);
    return prepare(db, "lock", sql);
}

bool db_open(struct db *db)
{
    db_close(db);
    db->conn = PQconnectdb(db->conninfo);
    if (PQstatus(db->conn) != CONNECTION_OK) {
        fprintf(stderr, "legacy-oms: %s", PQerrorMessage(db->conn));
        return false;
    }
    PQclear(PQexec(db->conn, "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET application_name = 'legacy-oms'"));
    for (size_t i = 0; i < sizeof(statements) / sizeof(statements[0]); i++)
        if (!prepare(db, statements[i].name, statements[i].sql))
            return false;
    return prepare_timed(db);
}

void db_close(struct db *db)
{
    PQfinish(db->conn);
    db->conn = NULL;
}

/* A code of HTTP for an SQLSTATE: what the client did wrong, what it may try again, and the rest. */
static int http_code(const char *sqlstate)
{
    static const char *const busy[] = {"08", "25006", "40", "53", "55P03", "57"};

    if (strcmp(sqlstate, "23505") == 0)
        return 409;
    if (strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0)
        return 400;
    for (size_t i = 0; i < sizeof(busy) / sizeof(busy[0]); i++)
        if (strncmp(sqlstate, busy[i], strlen(busy[i])) == 0)
            return 503;
    return 500;
}

PGresult *db_run(struct db *db, struct reply *reply, const char *statement, int count, const char *const *values)
{
    PGresult *result;
    const char *sqlstate;

    /* A request ends at its first failure, so a lost connection is met only here, at the start of the next one. */
    if (PQstatus(db->conn) != CONNECTION_OK && !db_open(db)) {
        reply_error(reply, 503, "the database is not reachable");
        return NULL;
    }
    result = PQexecPrepared(db->conn, statement, count, values, NULL, NULL, 0);
    if (PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK)
        return result;
    sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (sqlstate)
        reply_error(reply, http_code(sqlstate), "%s (SQLSTATE %s)", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY),
                    sqlstate);
    else
        reply_error(reply, 503, "the connection to the database was lost");
    PQclear(result);
    return NULL;
}

static bool run_plain(struct db *db, struct reply *reply, const char *statement)
{
    PGresult *result = db_run(db, reply, statement, 0, NULL);

    PQclear(result);
    return result != NULL;
}

bool db_begin(struct db *db, struct reply *reply)
{
    return run_plain(db, reply, "begin");
}

bool db_commit(struct db *db, struct reply *reply)
{
    unsigned linger_us = faults_linger_us(db->faults, &db->rng);

    if (linger_us)
        usleep(linger_us);
    if (run_plain(db, reply, "commit"))
        return true;
    if (PQstatus(db->conn) != CONNECTION_OK)
        reply->code = 500; /* nobody knows whether it was committed; 503 is for what was surely not */
    return false;
}

void db_rollback(struct db *db)
{
    if (PQstatus(db->conn) == CONNECTION_OK && PQtransactionStatus(db->conn) != PQTRANS_IDLE)
        PQclear(PQexecPrepared(db->conn, "rollback", 0, NULL, NULL, NULL, 0));
}
