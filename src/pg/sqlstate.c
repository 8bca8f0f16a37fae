/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table that says what a failure of PostgreSQL means for us: SQLSTATE → status and hint.
 *
 * A row with five characters is an exact code, one with two a whole class; the first row that fits wins, so exact
 * codes and rows with a context come before what they specialise.  What fits no row is QUERY: somebody has to look.
 *
 * libpq keeps no SQLSTATE of a failed connection; pg_connect() asks for verbose messages, and the code is read out of
 * them here.  No text that libpq made from the connection string is passed on: it could hold a password.
 */
#include <stdio.h>
#include <string.h>

#include "pg/pg_int.h"

struct row {
    const char *code;        /* SQLSTATE or its class */
    enum pg_context context; /* 0: any */
    enum banyan_status status;
    const char *hint; /* may be NULL */
};

static const struct row rows[] = {
    /* login */
    {"28P01", 0, BANYAN_AUTH, "Check user and password: the connection string, PGPASSWORD or ~/.pgpass."},
    {"28", 0, BANYAN_AUTH,
     "Check the user name and the server's pg_hba.conf: it needs a line for this user, database and address."},
    {"3D000", 0, BANYAN_CONFIG, "Check the database name in the connection string."},
    {"42501", PG_CONTEXT_CONNECT, BANYAN_PRIVILEGE,
     "Give the role the CONNECT right on the database and, for replication, the REPLICATION attribute "
     "(ALTER ROLE … REPLICATION)."},
    {"42501", 0, BANYAN_PRIVILEGE, "Grant the role the missing right, or connect as a role that has it."},
    {"08P01", PG_CONTEXT_CONNECT, BANYAN_UNAVAILABLE,
     "A connection pooler may be in between: connect to the server itself."},
    {"53300", 0, BANYAN_UNAVAILABLE,
     "All connections are in use: end idle ones, or raise max_connections (for replication: max_wal_senders)."},

    /* slots and streams */
    {"55000", PG_CONTEXT_SLOT, BANYAN_SETTING,
     "Logical decoding needs wal_level=logical at the primary: ALTER SYSTEM SET wal_level = logical, then restart."},
    {"0A000", PG_CONTEXT_SLOT, BANYAN_SETTING, "Connect to the primary: a standby cannot be the source."},
    {"53400", PG_CONTEXT_SLOT, BANYAN_SETTING, "All replication slots are in use: raise max_replication_slots."},
    {"42710", PG_CONTEXT_SLOT, BANYAN_SLOT,
     "A slot of that name exists: drop it if nothing needs it, or choose another name."},
    {"42704", PG_CONTEXT_SLOT, BANYAN_SLOT, "The slot does not exist: it was dropped or never made."},
    {"42704", PG_CONTEXT_STREAM, BANYAN_SLOT,
     "The slot or the publication does not exist: changes may be lost, the hand-over has to start again."},
    {"55000", PG_CONTEXT_STREAM, BANYAN_SLOT,
     "The slot cannot be used any more (invalidated, or the WAL it needs is gone): the hand-over has to start again."},
    {"58P01", PG_CONTEXT_STREAM, BANYAN_SLOT,
     "The WAL that the slot needs is gone (see max_slot_wal_keep_size): the hand-over has to start again."},
    {"42501", PG_CONTEXT_STREAM, BANYAN_PRIVILEGE, "The role needs the REPLICATION attribute."},

    /* retry */
    {"55006", 0, BANYAN_BUSY, "Another process uses it: wait, or end that process if it is a leftover of ours."},
    {"55P03", 0, BANYAN_TIMEOUT, "A lock could not be had in time: look for long transactions in pg_stat_activity."},
    {"57014", 0, BANYAN_TIMEOUT, "The statement was cancelled or hit statement_timeout."},
    {"40", 0, BANYAN_BUSY, "It collided with another transaction: the same statement may work next time."},
    {"53100", 0, BANYAN_NO_SPACE, "The server's disk is full: free or add space there."},
    {"53200", 0, BANYAN_UNAVAILABLE, "The server is out of memory."},
    {"53", 0, BANYAN_UNAVAILABLE, "The server is short of resources."},
    {"25P03", 0, BANYAN_UNAVAILABLE,
     "The server ended the session for idling in a transaction (idle_in_transaction_session_timeout)."},
    {"57P", 0, BANYAN_UNAVAILABLE, "The server is starting, stopping or has ended the session: try again."},
    {"08", 0, BANYAN_UNAVAILABLE, "The connection was lost: try again."},
    {"58030", 0, BANYAN_UNAVAILABLE, "The server could not read or write a file: see its log."},

    /* tables and settings */
    {"42P01", 0, BANYAN_TABLE, "The table does not exist, or is not in the search_path: name it with its schema."},
    {"42703", 0, BANYAN_TABLE, "The column does not exist: the table is not as expected."},
    {"3F000", 0, BANYAN_TABLE, "The schema does not exist."},
    {"42P07", 0, BANYAN_TABLE, "It exists already."},
    {"25006", 0, BANYAN_SETTING,
     "The session is read-only: connect to the primary, and look at default_transaction_read_only."},
    {"42704", PG_CONTEXT_CONNECT, BANYAN_SETTING,
     "The server does not know a setting: PostgreSQL 14 or later is needed."},
    {"54", 0, BANYAN_LIMIT, NULL},
};

enum banyan_status pg_sqlstate_status(const char *sqlstate, enum pg_context context, const char **ret_hint)
{
    *ret_hint = NULL;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (strncmp(sqlstate, rows[i].code, strlen(rows[i].code)) != 0)
            continue;
        if (rows[i].context != 0 && rows[i].context != context)
            continue;
        *ret_hint = rows[i].hint;
        return rows[i].status;
    }
    return BANYAN_QUERY;
}

/* The length of a text without the line ends behind it. */
static int trimmed(const char *text)
{
    size_t size = strlen(text);

    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == ' '))
        size--;
    return size > 4096 ? 4096 : (int)size;
}

static void put_sqlstate(struct banyan_error *err, const char *sqlstate)
{
    if (err != NULL)
        (void)snprintf(err->sqlstate, sizeof(err->sqlstate), "%s", sqlstate); /* five characters */
}

/* The server's hint, ours, or both. */
static void put_hint(struct banyan_error *err, const char *theirs, const char *ours)
{
    if (theirs != NULL && ours != NULL)
        banyan_error_hint(err, "%s %s", theirs, ours);
    else if (theirs != NULL || ours != NULL)
        banyan_error_hint(err, "%s", theirs != NULL ? theirs : ours);
}

enum banyan_status pg_link_error(const struct pg_conn *conn, struct banyan_error *err)
{
    const char *text = PQerrorMessage(conn->pq);
    enum banyan_status st;

    if (err != NULL && err->status != BANYAN_OK)
        return err->status;                  /* the first error wins */
    if (PQstatus(conn->pq) == CONNECTION_OK) /* libpq refused the call, the connection itself is well */
        return banyan_error_set(err, BANYAN_PROTOCOL, "%s: %.*s", conn->description, trimmed(text), text);
    st = banyan_error_set(err, BANYAN_UNAVAILABLE, "lost the connection to %s: %.*s", conn->description, trimmed(text),
                          text);
    banyan_error_hint(err, "Look at the server's log and the network between; it is safe to try again.");
    return st;
}

enum banyan_status pg_result_error(const struct pg_conn *conn, const PGresult *result, enum pg_context context,
                                   struct banyan_error *err)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);
    const char *where = PQresultErrorField(result, PG_DIAG_CONTEXT);
    const char *hint;
    enum banyan_status st;

    if (err != NULL && err->status != BANYAN_OK)
        return err->status; /* the first error wins */
    if (sqlstate == NULL) {
        const char *text = result == NULL ? PQerrorMessage(conn->pq) : PQresultErrorMessage(result);

        if (PQstatus(conn->pq) == CONNECTION_BAD)
            return pg_link_error(conn, err);
        return banyan_error_set(err, BANYAN_PROTOCOL, "%s: %.*s", conn->description, trimmed(text), text);
    }
    st = pg_sqlstate_status(sqlstate, context, &hint);
    if (strcmp(sqlstate, "57014") == 0 && conn->cancel_cause != BANYAN_OK) {
        st = conn->cancel_cause;
        hint = NULL;
    }
    st = banyan_error_set(err, st, "%s", message == NULL ? "the server gave no message" : message);
    put_sqlstate(err, sqlstate);
    if (detail != NULL)
        banyan_error_detail(err, "%s", detail);
    else if (where != NULL)
        banyan_error_detail(err, "%s", where);
    put_hint(err, PQresultErrorField(result, PG_DIAG_MESSAGE_HINT), hint);
    return st;
}

/* The SQLSTATE in a verbose message ("FATAL:  28P01: password …"): the last one, which belongs to the last address
 * that was tried.  Points *ret_text behind it. */
static bool find_sqlstate(const char *text, char ret[6], const char **ret_text)
{
    bool found = false;

    for (const char *at = strstr(text, ":  "); at != NULL; at = strstr(at + 1, ":  ")) {
        const char *code = at + 3;

        if (strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && code[5] == ':' && code[6] == ' ') {
            memcpy(ret, code, 5);
            ret[5] = '\0';
            *ret_text = code + 7;
            found = true;
        }
    }
    return found;
}

enum banyan_status pg_connect_error(PGconn *pq, const char *where, bool replication, struct banyan_error *err)
{
    const char *text = PQerrorMessage(pq), *message, *hint;
    enum banyan_status st;
    char sqlstate[6];

    if (find_sqlstate(text, sqlstate, &message)) {
        st = pg_sqlstate_status(sqlstate, PG_CONTEXT_CONNECT, &hint);
        st = banyan_error_set(err, st, "cannot connect to %s%s: %.*s", where, replication ? " for replication" : "",
                              (int)strcspn(message, "\n"), message);
        put_sqlstate(err, sqlstate);
        put_hint(err, NULL, hint);
        return st;
    }
    if (PQconnectionNeedsPassword(pq)) {
        st = banyan_error_set(err, BANYAN_AUTH, "cannot connect to %s: the server wants a password and none was given",
                              where);
        banyan_error_hint(err, "Give it in PGPASSWORD, in ~/.pgpass or in the connection string.");
        return st;
    }
    if (strncmp(text, "invalid ", 8) == 0) { /* libpq's word for a parameter that it does not take */
        st = banyan_error_set(err, BANYAN_CONFIG, "cannot connect to %s: %.*s", where, (int)strcspn(text, "\n"), text);
        banyan_error_hint(err, "Correct the connection string or the PG* environment variable.");
        return st;
    }
    st = banyan_error_set(err, BANYAN_UNAVAILABLE, "cannot connect to %s: %.*s", where, (int)strcspn(text, "\n"), text);
    banyan_error_hint(err, "Check that the server runs and listens at this host and port, and that nothing in between "
                           "blocks it.");
    return st;
}
