/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Statements and their results.
 *
 * A statement that is stopped or runs into its time limit is cancelled, and its end is awaited: when it got done
 * nevertheless (a COMMIT, say) the caller is told so, else the caller learns why it was cancelled.  Only when the
 * server does not end it within PG_CANCEL_WAIT_US its fate is unknown; then the connection refuses further work.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "pg/pg_int.h"

enum banyan_status pg_statement_begin(struct pg_conn *conn, struct banyan_error *err)
{
    enum banyan_status st;

    if (conn->broken) {
        st =
            banyan_error_set(err, BANYAN_BROKEN, "the connection to %s has an unfinished statement", conn->description);
        banyan_error_hint(err, "Connect again.");
        return st;
    }
    if (PQstatus(conn->pq) != CONNECTION_OK)
        return pg_link_error(conn, err);
    conn->cancel_cause = BANYAN_OK;
    if (conn->statement_us_max > 0)
        conn->deadline_us = pg_now_us() + conn->statement_us_max;
    return BANYAN_OK;
}

/* The server did not end a cancelled statement. */
static enum banyan_status unfinished(struct pg_conn *conn, struct banyan_error *err)
{
    conn->broken = true;
    return banyan_error_set(err, conn->cancel_cause, "%s did not end a cancelled statement: it may still take effect",
                            conn->description);
}

enum banyan_status pg_await(struct pg_conn *conn, struct banyan_error *err)
{
    struct os_stop *stop = conn->cancel_cause == BANYAN_OK ? conn->stop : NULL;
    int64_t deadline_us = conn->deadline_us;

    for (;;) {
        int left = PQflush(conn->pq);

        if (left < 0 && PQstatus(conn->pq) == CONNECTION_BAD)
            left = 0; /* what the server said before it hung up may still be readable */
        if (!PQisBusy(conn->pq))
            return BANYAN_OK;
        switch (pg_wait(conn, left > 0 ? POLLIN | POLLOUT : POLLIN, deadline_us, stop)) {
        case PG_WAKE_READY:
            if (PQconsumeInput(conn->pq) == 0 && PQstatus(conn->pq) == CONNECTION_BAD && PQisBusy(conn->pq))
                return pg_link_error(conn, err);
            continue;
        case PG_WAKE_TIMEOUT:
            if (conn->cancel_cause != BANYAN_OK)
                return unfinished(conn, err);
            conn->cancel_cause = BANYAN_TIMEOUT;
            break;
        case PG_WAKE_STOPPED:
            conn->cancel_cause = BANYAN_STOPPED;
            break;
        }
        pg_cancel(conn);
        stop = NULL;
        deadline_us = pg_now_us() + PG_CANCEL_WAIT_US;
    }
}

static bool is_failure(const PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
        return false;
    default:
        return true;
    }
}

enum banyan_status pg_finish(struct pg_conn *conn, enum pg_context context, PGresult **ret_last,
                             struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK, failed;
    PGresult *last = NULL;

    for (;;) {
        PGresult *result;
        ExecStatusType kind;

        failed = pg_await(conn, err);
        if (failed != BANYAN_OK) {
            st = st == BANYAN_OK ? failed : st;
            break;
        }
        result = PQgetResult(conn->pq);
        if (result == NULL)
            break;
        if (is_failure(result)) {
            failed = pg_result_error(conn, result, context, err);
            st = st == BANYAN_OK ? failed : st;
        }
        kind = PQresultStatus(result);
        PQclear(last);
        last = result;
        if (kind == PGRES_COPY_IN || kind == PGRES_COPY_OUT || kind == PGRES_COPY_BOTH)
            break; /* the caller goes on from here */
    }
    if (st == BANYAN_OK && ret_last != NULL) {
        *ret_last = last;
        last = NULL;
    }
    PQclear(last);
    return st;
}

/* A statement of a caller's must not leave the connection in COPY mode. */
static enum banyan_status refuse_copy(struct pg_conn *conn, const PGresult *result, struct banyan_error *err)
{
    ExecStatusType kind = PQresultStatus(result);

    if (kind != PGRES_COPY_IN && kind != PGRES_COPY_OUT && kind != PGRES_COPY_BOTH)
        return BANYAN_OK;
    conn->broken = true;
    return banyan_error_set(err, BANYAN_INVALID, "a COPY was run as a plain statement");
}

/* Collect what a sent statement gives. */
static enum banyan_status collect(struct pg_conn *conn, enum pg_context context, struct pg_result **ret_result,
                                  struct banyan_error *err)
{
    PGresult *result = NULL;
    enum banyan_status st = pg_finish(conn, context, &result, err);

    if (st == BANYAN_OK)
        st = refuse_copy(conn, result, err);
    if (st != BANYAN_OK || ret_result == NULL) {
        PQclear(result);
        return st;
    }
    *ret_result = alloc_zeroed(1, sizeof(**ret_result));
    (*ret_result)->pq = result;
    return BANYAN_OK;
}

enum banyan_status pg_params(const struct pg_param *params, size_t count, const char ***ret, struct banyan_error *err)
{
    size_t size = (count + 1) * sizeof(char *);
    const char **values;
    char *text;

    if (count > UINT16_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "a statement has %zu parameters, the most is %d", count, UINT16_MAX);
    for (size_t i = 0; i < count; i++) {
        if (params[i].text.data == NULL)
            continue;
        if (memchr(params[i].text.data, '\0', params[i].text.size) != NULL)
            return banyan_error_set(err, BANYAN_INVALID, "parameter $%zu holds a NUL byte, PostgreSQL's text cannot",
                                    i + 1);
        size += params[i].text.size + 1;
    }
    values = alloc_try(size);
    if (values == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "no memory for %zu bytes of parameters", size);
    text = (char *)(values + count + 1);
    for (size_t i = 0; i < count; i++) {
        values[i] = NULL;
        if (params[i].text.data == NULL)
            continue;
        values[i] = text;
        memcpy(text, params[i].text.data, params[i].text.size);
        text[params[i].text.size] = '\0';
        text += params[i].text.size + 1;
    }
    *ret = values;
    return BANYAN_OK;
}

static enum banyan_status send_simple(struct pg_conn *conn, const char *sql, struct banyan_error *err)
{
    enum banyan_status st = pg_statement_begin(conn, err);

    if (st == BANYAN_OK && PQsendQuery(conn->pq, sql) == 0)
        st = pg_link_error(conn, err);
    return st;
}

enum banyan_status pg_simple_last(struct pg_conn *conn, const char *sql, enum pg_context context, PGresult **ret_last,
                                  struct banyan_error *err)
{
    enum banyan_status st = send_simple(conn, sql, err);

    return st == BANYAN_OK ? pg_finish(conn, context, ret_last, err) : st;
}

enum banyan_status pg_simple(struct pg_conn *conn, const char *sql, enum pg_context context,
                             struct pg_result **ret_result, struct banyan_error *err)
{
    enum banyan_status st = send_simple(conn, sql, err);

    return st == BANYAN_OK ? collect(conn, context, ret_result, err) : st;
}

enum banyan_status pg_exec(struct pg_conn *conn, const char *sql, const struct pg_param *params, size_t param_count,
                           struct pg_result **ret_result, struct banyan_error *err)
{
    const char **values = NULL;
    enum banyan_status st;
    int sent;

    if (conn->replication) { /* a walsender knows the simple protocol only */
        if (param_count > 0)
            return banyan_error_set(err, BANYAN_INVALID, "a replication connection takes no parameters");
        return pg_simple(conn, sql, PG_CONTEXT_STATEMENT, ret_result, err);
    }
    st = pg_statement_begin(conn, err);
    if (st != BANYAN_OK)
        return st;
    st = pg_params(params, param_count, &values, err);
    if (st != BANYAN_OK)
        return st;
    sent = PQsendQueryParams(conn->pq, sql, (int)param_count, NULL, values, NULL, NULL, 0);
    free(values);
    if (sent == 0)
        return pg_link_error(conn, err);
    return collect(conn, PG_CONTEXT_STATEMENT, ret_result, err);
}

enum banyan_status pg_send(struct pg_conn *conn, const char *sql, struct banyan_error *err)
{
    enum banyan_status st = pg_statement_begin(conn, err);

    if (st == BANYAN_OK && PQsendQueryParams(conn->pq, sql, 0, NULL, NULL, NULL, NULL, 0) == 0)
        st = pg_link_error(conn, err);
    return st;
}

bool pg_ended(struct pg_conn *conn, int64_t wait_us)
{
    int64_t deadline_us = pg_now_us() + wait_us;

    for (;;) {
        int left = PQflush(conn->pq);

        if (!PQisBusy(conn->pq))
            return true;
        switch (pg_wait(conn, left > 0 ? POLLIN | POLLOUT : POLLIN, deadline_us, conn->stop)) {
        case PG_WAKE_READY:
            if (PQconsumeInput(conn->pq) == 0 && PQstatus(conn->pq) == CONNECTION_BAD)
                return true;
            break;
        case PG_WAKE_TIMEOUT:
            return false;
        case PG_WAKE_STOPPED:
            return true;
        }
    }
}

enum banyan_status pg_receive(struct pg_conn *conn, struct pg_result **ret_result, struct banyan_error *err)
{
    return collect(conn, PG_CONTEXT_STATEMENT, ret_result, err);
}

enum banyan_status pg_run(struct pg_conn *conn, const char *sql, struct banyan_error *err)
{
    return pg_simple(conn, sql, PG_CONTEXT_STATEMENT, NULL, err);
}

/* ---- results ---- */

void pg_result_free(struct pg_result *result)
{
    if (result == NULL)
        return;
    PQclear(result->pq);
    free(result);
}

size_t pg_rows(const struct pg_result *result)
{
    return (size_t)PQntuples(result->pq);
}

size_t pg_columns(const struct pg_result *result)
{
    return (size_t)PQnfields(result->pq);
}

uint64_t pg_affected(const struct pg_result *result)
{
    return strtoull(PQcmdTuples(result->pq), NULL, 10); /* "" is 0 */
}

struct banyan_str pg_text(const struct pg_result *result, size_t row, size_t column)
{
    int r = (int)row, c = (int)column;

    if (row >= pg_rows(result) || column >= pg_columns(result) || PQgetisnull(result->pq, r, c))
        return (struct banyan_str){NULL, 0};
    return (struct banyan_str){PQgetvalue(result->pq, r, c), (size_t)PQgetlength(result->pq, r, c)};
}

int64_t pg_int(const struct pg_result *result, size_t row, size_t column)
{
    struct banyan_str text = pg_text(result, row, column);

    return text.data == NULL ? 0 : strtoll(text.data, NULL, 10);
}

bool pg_bool(const struct pg_result *result, size_t row, size_t column)
{
    struct banyan_str text = pg_text(result, row, column);

    return text.size > 0 && text.data[0] == 't';
}
