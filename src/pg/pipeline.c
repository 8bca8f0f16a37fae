/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipelines: many statements, one round trip.
 *
 * Between two syncs the server treats all statements as one transaction unless they say BEGIN themselves, and skips
 * what follows a failure; the first failure is the one that counts.  Answers are taken in while statements are still
 * being queued, so that neither side's buffer fills up while the other waits.
 */
#include <stdlib.h>

#include "pg/pg_int.h"

enum {
    DRAIN_EVERY = 64, /* statements */
};

enum banyan_status pg_pipeline_begin(struct pg_conn *conn, struct banyan_error *err)
{
    enum banyan_status st = pg_statement_begin(conn, err);

    if (st != BANYAN_OK)
        return st;
    if (PQenterPipelineMode(conn->pq) == 0)
        return banyan_error_set(err, BANYAN_INVALID, "%s cannot start a pipeline now", conn->description);
    conn->pipeline_status = BANYAN_OK;
    conn->pipeline_queued = 0;
    banyan_error_clear(&conn->pipeline_error);
    return BANYAN_OK;
}

/* Take one result; true when it was the sync. */
static bool take_result(struct pg_conn *conn, PGresult *result)
{
    ExecStatusType kind = PQresultStatus(result);
    bool sync = kind == PGRES_PIPELINE_SYNC;

    if (kind == PGRES_FATAL_ERROR && conn->pipeline_status == BANYAN_OK)
        conn->pipeline_status = pg_result_error(conn, result, PG_CONTEXT_STATEMENT, &conn->pipeline_error);
    PQclear(result);
    return sync;
}

/* Take the answers that are already here. */
static enum banyan_status drain(struct pg_conn *conn, struct banyan_error *err)
{
    if (PQflush(conn->pq) < 0 || PQconsumeInput(conn->pq) == 0)
        return pg_link_error(conn, err);
    while (conn->pipeline_queued > 0 && !PQisBusy(conn->pq)) {
        PGresult *result = PQgetResult(conn->pq);

        if (result != NULL)
            (void)take_result(conn, result); /* no sync was sent yet */
        else
            conn->pipeline_queued--; /* NULL ends the results of each statement */
    }
    return BANYAN_OK;
}

enum banyan_status pg_pipeline_add(struct pg_conn *conn, const char *sql, const struct pg_param *params,
                                   size_t param_count, struct banyan_error *err)
{
    const char **values = NULL;
    enum banyan_status st = pg_params(params, param_count, &values, err);
    int sent;

    if (st != BANYAN_OK)
        return st;
    sent = PQsendQueryParams(conn->pq, sql, (int)param_count, NULL, values, NULL, NULL, 0);
    free(values);
    if (sent == 0)
        return pg_link_error(conn, err);
    conn->pipeline_queued++;
    return conn->pipeline_queued % DRAIN_EVERY == 0 ? drain(conn, err) : BANYAN_OK;
}

/* Read until the sync, then leave pipeline mode. */
static enum banyan_status drain_all(struct pg_conn *conn, struct banyan_error *err)
{
    for (;;) {
        enum banyan_status st = pg_await(conn, err);
        PGresult *result;

        if (st != BANYAN_OK)
            return st;
        result = PQgetResult(conn->pq);
        if (result == NULL) {
            if (PQstatus(conn->pq) != CONNECTION_OK)
                return pg_link_error(conn, err);
            continue;
        }
        if (take_result(conn, result))
            break;
    }
    if (PQexitPipelineMode(conn->pq) == 0) {
        conn->broken = true;
        return banyan_error_set(err, BANYAN_PROTOCOL, "%s: the pipeline did not end", conn->description);
    }
    return BANYAN_OK;
}

enum banyan_status pg_pipeline_end(struct pg_conn *conn, struct banyan_error *err)
{
    enum banyan_status st;

    if (PQpipelineSync(conn->pq) == 0)
        return pg_link_error(conn, err);
    st = drain_all(conn, err);
    if (conn->pipeline_status == BANYAN_OK)
        return st;
    /* The statement's failure says more than what came of it. */
    if (err != NULL)
        *err = conn->pipeline_error;
    return conn->pipeline_status;
}
