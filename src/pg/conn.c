/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making, describing, waiting on and ending connections.
 *
 * The settings that decide how values look as text travel in the start-up packet, because a walsender is given its
 * settings no other way before it streams, and because defaults of the server, the database and the role must not
 * change what we read.  Options of the user's come before ours, so that ours win.
 *
 * Invariants:
 *   1. A connection is non-blocking from its first byte; all waits are in pg_wait().
 *   2. No text of libpq's about a malformed connection string leaves this file: it could hold a password.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "pg/pg_int.h"

enum {
    CONNINFO_MAX = 16 << 10,
    PARAMETERS_MAX = 16,
};

static const char fixed_options[] =
    "-c TimeZone=UTC -c DateStyle=ISO,YMD -c IntervalStyle=iso_8601 -c extra_float_digits=3 -c bytea_output=hex";
/* A walsender must not be ended while its snapshot is being used, nor while it waits for us. */
static const char fixed_replication_options[] = " -c idle_in_transaction_session_timeout=0 -c statement_timeout=0";

int64_t pg_now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

/* ---- waiting ---- */

/* Milliseconds for poll() until *deadline_us*, rounded up; -1: no limit. */
static int poll_ms(int64_t deadline_us)
{
    int64_t left;

    if (deadline_us == 0)
        return -1;
    left = deadline_us - pg_now_us();
    if (left <= 0)
        return 0;
    return left > INT64_C(3600000000) ? 3600000 : (int)((left + 999) / 1000);
}

enum pg_wake pg_wait(struct pg_conn *conn, short events, int64_t deadline_us, struct os_stop *stop)
{
    for (;;) {
        struct pollfd fds[2] = {{.fd = PQsocket(conn->pq), .events = events}, {.fd = -1, .events = POLLIN}};
        int timeout_ms = poll_ms(deadline_us), ready;

        if (stop != NULL && os_stop_requested(stop))
            return PG_WAKE_STOPPED;
        if (stop != NULL && stop->event_fd > 0)
            fds[1].fd = stop->event_fd;
        if (fds[0].fd < 0)
            return PG_WAKE_READY; /* lost: the next call of libpq says so */
        ready = poll(fds, 2, timeout_ms);
        if (ready < 0 && errno != EINTR && errno != EAGAIN)
            return PG_WAKE_READY;
        if (ready > 0 && fds[0].revents != 0)
            return PG_WAKE_READY;
        if (ready == 0 && deadline_us != 0 && deadline_us <= pg_now_us())
            return PG_WAKE_TIMEOUT;
    }
}

enum banyan_status pg_flush(struct pg_conn *conn, struct banyan_error *err)
{
    for (;;) {
        int left = PQflush(conn->pq);

        if (left < 0)
            return pg_link_error(conn, err);
        if (left == 0)
            return BANYAN_OK;
        switch (pg_wait(conn, POLLIN | POLLOUT, conn->deadline_us, conn->stop)) {
        case PG_WAKE_READY:
            if (PQconsumeInput(conn->pq) == 0)
                return pg_link_error(conn, err);
            break;
        case PG_WAKE_TIMEOUT:
            conn->broken = true;
            return banyan_error_set(err, BANYAN_TIMEOUT, "%s takes no more data", conn->description);
        case PG_WAKE_STOPPED:
            conn->broken = true;
            return banyan_error_set(err, BANYAN_STOPPED, "stopped while sending to %s", conn->description);
        }
    }
}

void pg_cancel(struct pg_conn *conn)
{
    PGcancel *cancel = PQgetCancel(conn->pq);
    char text[256];

    if (cancel != NULL)
        (void)PQcancel(cancel, text, sizeof(text)); /* best effort: the wait that follows has a limit of its own */
    PQfreeCancel(cancel);
}

/* ---- connecting ---- */

/* Is this a connection string at all (else libpq takes it for a database name)? */
static bool looks_like_conninfo(const char *text)
{
    return strchr(text, '=') != NULL || strncmp(text, "postgres://", 11) == 0 ||
           strncmp(text, "postgresql://", 13) == 0;
}

/* Check the string and find the options that the user put into it (or into PGOPTIONS); *ret_options is malloc()ed. */
static enum banyan_status user_options(const char *conninfo, char **ret_options, struct banyan_error *err)
{
    const char *options = getenv("PGOPTIONS");
    PQconninfoOption *parsed = NULL;
    enum banyan_status st = BANYAN_OK;
    char *text = NULL;

    if (conninfo != NULL && looks_like_conninfo(conninfo)) {
        parsed = PQconninfoParse(conninfo, &text);
        if (parsed == NULL) {
            st = banyan_error_set(err, BANYAN_CONFIG, "the connection string is not valid");
            banyan_error_hint(err, "Write postgresql://user@host:port/database or host=… port=… dbname=…; put values "
                                   "with spaces in single quotes, and percent-encode special characters in a URI.");
            goto out;
        }
        for (const PQconninfoOption *o = parsed; o->keyword != NULL; o++) {
            if (strcmp(o->keyword, "options") == 0 && o->val != NULL)
                options = o->val;
        }
    }
    *ret_options = options == NULL ? NULL : alloc_text(options);
out:
    PQfreemem(text);
    PQconninfoFree(parsed);
    return st;
}

struct parameters {
    const char *names[PARAMETERS_MAX], *values[PARAMETERS_MAX];
    size_t count;
};

static void put_parameter(struct parameters *parameters, const char *name, const char *value)
{
    if (parameters->count + 1 < PARAMETERS_MAX) {
        parameters->names[parameters->count] = name;
        parameters->values[parameters->count++] = value;
    }
}

static enum banyan_status start(const struct pg_options *options, PGconn **ret, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(2 * CONNINFO_MAX);
    struct parameters parameters = {.count = 0};
    char *theirs = NULL, silence[24];
    enum banyan_status st = user_options(options->conninfo, &theirs, err);

    if (st != BANYAN_OK)
        goto out;
    if (theirs != NULL) {
        banyan_buf_add_text(&text, theirs);
        banyan_buf_add_char(&text, ' ');
    }
    banyan_buf_add_text(&text, fixed_options);
    if (options->replication)
        banyan_buf_add_text(&text, fixed_replication_options);
    if (text.overflow) {
        st = banyan_error_set(err, BANYAN_CONFIG, "the options of the connection string are too long");
        goto out;
    }
    /* What stands before the connection string is a default, what stands behind it is fixed. */
    put_parameter(&parameters, "keepalives_idle", options->silence_us_max > 0 ? "1" : "30");
    put_parameter(&parameters, "keepalives_interval", options->silence_us_max > 0 ? "1" : "10");
    put_parameter(&parameters, "keepalives_count", "3");
    (void)snprintf(silence, sizeof(silence), "%" PRId64, options->silence_us_max / 1000); /* fits */
    if (options->silence_us_max > 0)
        put_parameter(&parameters, "tcp_user_timeout", silence);
    put_parameter(&parameters, "fallback_application_name", "banyan");
    if (options->conninfo != NULL && options->conninfo[0] != '\0')
        put_parameter(&parameters, "dbname", options->conninfo);
    if (options->application_name != NULL)
        put_parameter(&parameters, "application_name", options->application_name);
    put_parameter(&parameters, "client_encoding", "UTF8");
    put_parameter(&parameters, "options", text.data);
    if (options->replication)
        put_parameter(&parameters, "replication", "database");
    *ret = PQconnectStartParams(parameters.names, parameters.values, 1);
    if (*ret == NULL)
        st = banyan_error_set(err, BANYAN_LIMIT, "out of memory");
out:
    free(theirs);
    banyan_buf_release(&text);
    return st;
}

/* "host:port/database as user"; malloc()ed. */
static char *describe(const PGconn *pq)
{
    struct banyan_buf text = BANYAN_BUF_INIT(CONNINFO_MAX);
    const char *host = PQhost(pq), *port = PQport(pq), *database = PQdb(pq), *user = PQuser(pq);
    char *ret;

    banyan_buf_printf(&text, "%s:%s/%s as %s", host == NULL || host[0] == '\0' ? "localhost" : host,
                      port == NULL || port[0] == '\0' ? "5432" : port, database == NULL ? "?" : database,
                      user == NULL ? "?" : user);
    ret = alloc_text(text.overflow ? "a server with an over-long name" : text.data);
    banyan_buf_release(&text);
    return ret;
}

/* libpq would print it. */
static void take_notice(void *argument, const PGresult *result)
{
    const struct pg_conn *conn = argument;
    const char *text = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (conn->notice != NULL && text != NULL)
        conn->notice(conn->notice_context, banyan_str_of(text));
}

/* Go through the login.  On success the connection can be used. */
static enum banyan_status handshake(struct pg_conn *conn, int64_t deadline_us, struct banyan_error *err)
{
    for (;;) {
        PostgresPollingStatusType next = PQconnectPoll(conn->pq);
        enum banyan_status st;

        if (next == PGRES_POLLING_OK)
            return BANYAN_OK;
        free(conn->description); /* the address that is tried now */
        conn->description = describe(conn->pq);
        if (next == PGRES_POLLING_FAILED)
            return pg_connect_error(conn->pq, conn->description, conn->replication, err);
        switch (pg_wait(conn, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline_us, conn->stop)) {
        case PG_WAKE_READY:
            break;
        case PG_WAKE_TIMEOUT:
            st =
                banyan_error_set(err, BANYAN_UNAVAILABLE, "cannot connect to %s: no answer in time", conn->description);
            banyan_error_hint(err, "Check host and port, and firewalls between: packets seem to be dropped.");
            return st;
        case PG_WAKE_STOPPED:
            return banyan_error_set(err, BANYAN_STOPPED, "stopped while connecting to %s", conn->description);
        }
    }
}

enum banyan_status pg_connect(const struct pg_options *options, struct pg_conn **ret, struct banyan_error *err)
{
    int64_t wait_us = options->connect_timeout_us > 0 ? options->connect_timeout_us : PG_CONNECT_WAIT_US;
    struct pg_conn *conn = alloc_zeroed(1, sizeof(*conn));
    enum banyan_status st;

    conn->stop = options->stop;
    conn->replication = options->replication;
    conn->statement_us_max = options->statement_us_max;
    st = start(options, &conn->pq, err);
    if (st != BANYAN_OK)
        goto out;
    conn->description = describe(conn->pq);
    if (PQstatus(conn->pq) == CONNECTION_BAD) {
        st = pg_connect_error(conn->pq, conn->description, conn->replication, err);
        goto out;
    }
    (void)PQsetErrorVerbosity(conn->pq, PQERRORS_VERBOSE); /* has the SQLSTATE; returns the old value */
    (void)PQsetNoticeReceiver(conn->pq, take_notice, conn);
    st = handshake(conn, pg_now_us() + wait_us, err);
    if (st != BANYAN_OK)
        goto out;
    (void)PQsetErrorVerbosity(conn->pq, PQERRORS_DEFAULT);
    free(conn->description);
    conn->description = describe(conn->pq);
    if (PQsetnonblocking(conn->pq, 1) != 0) {
        st = pg_link_error(conn, err);
        goto out;
    }
    *ret = conn;
    conn = NULL;
out:
    pg_close(conn);
    return st;
}

void pg_on_notice(struct pg_conn *conn, void (*notice)(void *context, struct banyan_str text), void *context)
{
    conn->notice = notice;
    conn->notice_context = context;
}

void pg_close(struct pg_conn *conn)
{
    if (conn == NULL)
        return;
    PQfinish(conn->pq); /* NULL is fine */
    pg_prepared_forget(conn);
    free(conn->prepared);
    free(conn->description);
    free(conn);
}

int pg_server_version(const struct pg_conn *conn)
{
    return PQserverVersion(conn->pq);
}

const char *pg_describe(const struct pg_conn *conn)
{
    return conn->description;
}

int pg_backend_pid(const struct pg_conn *conn)
{
    return PQbackendPID(conn->pq);
}

int pg_socket(const struct pg_conn *conn)
{
    return PQsocket(conn->pq);
}
