/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipelines: many statements, one round trip.
 *
 * Between two syncs the server treats all statements as one transaction unless they say BEGIN themselves, and skips
 * what follows a failure; the first failure is the one that counts.  Answers are taken in while statements are still
 * being queued, so that neither side's buffer fills up while the other waits.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "pg/pg_int.h"

enum {
    DRAIN_EVERY = 64, /* statements */
    PREPARED_NAME_SIZE = 32,
};

void pg_prepared_forget(struct pg_conn *conn)
{
    for (size_t i = 0; i < conn->prepared_count; i++)
        free(conn->prepared[i]);
    conn->prepared_count = 0;
    conn->prepared_unsure = false;
}

enum banyan_status pg_pipeline_begin(struct pg_conn *conn, struct banyan_error *err)
{
    enum banyan_status st = pg_statement_begin(conn, err);

    if (st == BANYAN_OK && conn->prepared_unsure) {
        st = pg_run(conn, "DEALLOCATE ALL", err);
        if (st == BANYAN_OK)
            pg_prepared_forget(conn);
    }
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

static enum banyan_status sent(struct pg_conn *conn, int accepted, struct banyan_error *err)
{
    if (accepted == 0)
        return pg_link_error(conn, err);
    conn->pipeline_queued++;
    return conn->pipeline_queued % DRAIN_EVERY == 0 ? drain(conn, err) : BANYAN_OK;
}

enum banyan_status pg_pipeline_add(struct pg_conn *conn, const char *sql, const struct pg_param *params,
                                   size_t param_count, struct banyan_error *err)
{
    const char **values = NULL;
    enum banyan_status st = pg_params(params, param_count, &values, err);

    if (st != BANYAN_OK)
        return st;
    st = sent(conn, PQsendQueryParams(conn->pq, sql, (int)param_count, NULL, values, NULL, NULL, 0), err);
    free(values);
    return st;
}

/* The number of a prepared statement, which is prepared here where it is new; PG_PREPARED_MAX: there are too many. */
static enum banyan_status prepare(struct pg_conn *conn, const char *sql, size_t *ret, struct banyan_error *err)
{
    char name[PREPARED_NAME_SIZE];
    size_t at = 0;

    while (at < conn->prepared_count && strcmp(conn->prepared[at], sql) != 0)
        at++;
    *ret = at;
    if (at < conn->prepared_count || at == PG_PREPARED_MAX)
        return BANYAN_OK;
    if (conn->prepared == NULL)
        conn->prepared = alloc_zeroed(PG_PREPARED_MAX, sizeof(*conn->prepared));
    conn->prepared[conn->prepared_count++] = memcpy(alloc_zeroed(1, strlen(sql) + 1), sql, strlen(sql));
    (void)snprintf(name, sizeof(name), "banyan_%zu", at); /* fits */
    return sent(conn, PQsendPrepare(conn->pq, name, sql, 0, NULL), err);
}

enum banyan_status pg_pipeline_add_prepared(struct pg_conn *conn, const char *sql, const struct pg_param *params,
                                            size_t param_count, struct banyan_error *err)
{
    char name[PREPARED_NAME_SIZE];
    const char **values = NULL;
    size_t number = PG_PREPARED_MAX;
    enum banyan_status st = prepare(conn, sql, &number, err);

    if (st != BANYAN_OK)
        return st;
    if (number == PG_PREPARED_MAX)
        return pg_pipeline_add(conn, sql, params, param_count, err);
    st = pg_params(params, param_count, &values, err);
    if (st != BANYAN_OK)
        return st;
    (void)snprintf(name, sizeof(name), "banyan_%zu", number); /* fits */
    st = sent(conn, PQsendQueryPrepared(conn->pq, name, (int)param_count, values, NULL, NULL, 0), err);
    free(values);
    return st;
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
    if (st != BANYAN_OK || conn->pipeline_status != BANYAN_OK)
        conn->prepared_unsure = conn->prepared_count > 0;
    if (conn->pipeline_status == BANYAN_OK)
        return st;
    /* The statement's failure says more than what came of it. */
    if (err != NULL)
        *err = conn->pipeline_error;
    return conn->pipeline_status;
}
