/* SPDX-License-Identifier: Apache-2.0 */
/*
 * COPY from one server straight into another: the bytes are passed on as they come, nobody here reads them.
 *
 * A failure of the receiver (a constraint, a full disk) is told by it at the end; until then it throws away what it is
 * sent, so nothing can lock up.
 */
#include "pg/copy.h"
#include "pg/pg_int.h"

/* The statement, whose answer has to be *wanted*. */
static enum banyan_status start(struct pg_conn *conn, const char *sql, ExecStatusType wanted, struct banyan_error *err)
{
    PGresult *result = NULL;
    enum banyan_status st = pg_simple_last(conn, sql, PG_CONTEXT_STATEMENT, &result, err);

    if (st == BANYAN_OK && PQresultStatus(result) != wanted)
        st = banyan_error_set(err, BANYAN_PROTOCOL, "%s did not start a COPY", conn->description);
    PQclear(result);
    return st;
}

static enum banyan_status send(struct pg_conn *to, const char *data, int size, struct banyan_error *err)
{
    for (;;) {
        int put = PQputCopyData(to->pq, data, size);
        enum banyan_status st;

        if (put < 0)
            return pg_link_error(to, err);
        if (put > 0)
            return BANYAN_OK;
        st = pg_flush(to, err); /* its buffer is full */
        if (st != BANYAN_OK)
            return st;
    }
}

/* All messages, one row each. */
static enum banyan_status pass(struct pg_conn *from, struct pg_conn *to, uint64_t *rows, struct banyan_error *err)
{
    for (;;) {
        char *data = NULL;
        int size = PQgetCopyData(from->pq, &data, 1);
        enum banyan_status st = BANYAN_OK;

        if (size > 0) {
            st = send(to, data, size, err);
            PQfreemem(data);
            ++*rows;
            if (st == BANYAN_OK)
                continue;
            from->broken = true; /* what it still sends is not read */
            return st;
        }
        if (size < 0)
            return pg_finish(from, PG_CONTEXT_STATEMENT, NULL, err);
        if (pg_wait(from, POLLIN, 0, from->stop) == PG_WAKE_STOPPED) {
            from->broken = true;
            return banyan_error_set(err, BANYAN_STOPPED, "stopped while reading from %s", from->description);
        }
        if (PQconsumeInput(from->pq) == 0)
            return pg_link_error(from, err);
    }
}

enum banyan_status pg_copy_pass(struct pg_conn *from, const char *out_sql, struct pg_conn *to, const char *in_sql,
                                uint64_t *ret_rows, struct banyan_error *err)
{
    struct banyan_error ending = BANYAN_ERROR_INIT;
    uint64_t rows = 0;
    enum banyan_status st = start(to, in_sql, PGRES_COPY_IN, err), ended;

    if (st != BANYAN_OK)
        return st;
    st = start(from, out_sql, PGRES_COPY_OUT, err);
    if (st == BANYAN_OK)
        st = pass(from, to, &rows, err);
    if (PQputCopyEnd(to->pq, st == BANYAN_OK ? NULL : "given up by the client") < 0)
        ended = pg_link_error(to, &ending);
    else
        ended = pg_finish(to, PG_CONTEXT_STATEMENT, NULL, &ending);
    if (st == BANYAN_OK && ended != BANYAN_OK) {
        *err = ending;
        return ended;
    }
    if (st == BANYAN_OK)
        *ret_rows = rows;
    return st;
}
