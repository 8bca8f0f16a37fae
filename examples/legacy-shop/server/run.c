// SPDX-License-Identifier: Apache-2.0
/* Runs the statements of a request in one transaction. */
#include "server.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TRIES_MAX 5 /* of a transaction that PostgreSQL ended to break a deadlock */

enum { OID_BIGINT = 20, OID_TIMESTAMPTZ = 1184, OID_JSONB = 3802 };

struct run {
    PGconn *conn;
    char id[24];
    char time[64];
    const char *body;
    bool again; /* the transaction may be tried again */
};

void reply_error(struct reply *ret, int code, const char *text)
{
    json_t *object = json_pack("{s:s}", "error", text);

    free(ret->text);
    ret->code = code;
    ret->text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
}

PGconn *run_connect(const char *conninfo)
{
    PGconn *conn = PQconnectdb(conninfo);

    PQclear(PQexec(conn, "SET timezone = 'UTC'"));
    return conn;
}

/* What an SQLSTATE means over HTTP: what the client did wrong, what may be tried again, and the rest. */
static void refuse_failure(struct run *run, const PGresult *result, struct reply *ret)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (state == NULL) {
        reply_error(ret, 503, "the connection to the database was lost");
        return;
    }
    run->again = strncmp(state, "40", 2) == 0;
    reply_error(ret,
                strcmp(state, "23505") == 0                                                  ? 409
                : strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0               ? 400
                : run->again || strncmp(state, "57", 2) == 0 || strncmp(state, "53", 2) == 0 ? 503
                                                                                             : 500,
                PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
}

/* False: the reply says why the request ends here.  The answer of the last statement is in *ret*. */
static bool run_step(struct run *run, const struct step *step, struct reply *ret)
{
    static const Oid types[] = {OID_BIGINT, OID_JSONB, OID_TIMESTAMPTZ};
    const char *values[] = {*run->id ? run->id : NULL, run->body, *run->time ? run->time : NULL};
    PGresult *result = PQexecParams(run->conn, step->sql, 3, types, values, NULL, NULL, 0);
    bool done = false;

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        refuse_failure(run, result, ret);
    } else if (step->refuse_code != 0 && atol(PQcmdTuples(result)) == 0) {
        reply_error(ret, step->refuse_code, step->refuse_text);
    } else {
        done = true;
        if (step->takes_id)
            snprintf(run->id, sizeof(run->id), "%s", PQgetvalue(result, 0, 0));
        if (step->takes_time)
            snprintf(run->time, sizeof(run->time), "%s", PQgetvalue(result, 0, 0));
        free(ret->text);
        ret->text = PQntuples(result) > 0 ? strdup(PQgetvalue(result, 0, 0)) : NULL;
    }
    PQclear(result);
    return done;
}

static bool run_plain(struct run *run, const char *sql, struct reply *ret)
{
    PGresult *result = PQexec(run->conn, sql);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;

    if (!done)
        refuse_failure(run, result, ret);
    PQclear(result);
    return done;
}

/* One try. */
static void run_once(struct run *run, const struct request_kind *kind, struct reply *ret)
{
    size_t i = 0;

    run->again = false;
    run->time[0] = '\0';
    if (!run_plain(run, "BEGIN", ret))
        return;
    while (i < kind->step_count && run_step(run, &kind->steps[i], ret))
        i++;
    if (i == kind->step_count) {
        char *answer = ret->text;

        ret->text = NULL;
        if (run_plain(run, "COMMIT", ret)) {
            ret->code = kind->code;
            ret->text = answer;
            return;
        }
        free(answer);
    }
    PQclear(PQexec(run->conn, "ROLLBACK"));
}

void run_request(PGconn *conn, const struct request_kind *kind, int64_t id, const char *body, struct reply *ret)
{
    struct run run = {.conn = conn, .body = body};

    if (PQstatus(conn) != CONNECTION_OK)
        PQreset(conn);
    for (int i = 0; i < TRIES_MAX; i++) {
        run.id[0] = '\0';
        if (kind->after != NULL)
            snprintf(run.id, sizeof(run.id), "%" PRId64, id);
        run_once(&run, kind, ret);
        if (!run.again)
            break;
    }
}
