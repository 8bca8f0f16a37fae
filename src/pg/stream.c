/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replication stream: CopyBoth messages in, feedback out.
 *
 * Invariants:
 *   1. Feedback reports as flushed only what pg_stream_confirm() was told; received is reported as written.  Nothing
 *      here draws conclusions from a keepalive: what is behind it may still be pending with the caller.
 *   2. The confirmed position never goes back.
 *   3. A message is taken from libpq's buffer without a system call as long as there is one; an empty buffer costs one
 *      poll() and one recv(), however many messages that brings.
 *
 * Every CLOCK_EVERY messages, and whenever it waits, it looks at the clock, so that feedback also goes out while a
 * flood of messages never lets it wait.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "pg/pg_int.h"
#include "pg/replication.h"

enum {
    STATUS_INTERVAL_US = 1000000,
    CLOCK_EVERY = 128, /* messages */
    CLOSE_WAIT_US = 500000,
    DATA_HEADER = 25,      /* 'w', start, end, clock */
    KEEPALIVE_SIZE = 18,   /* 'k', end, clock, reply wanted */
    FEEDBACK_SIZE = 34,    /* 'r', written, flushed, applied, clock, reply wanted */
    COMMAND_MAX = 8 << 10, /* bytes of START_REPLICATION */
};

struct pg_stream {
    struct pg_conn *conn; /* borrowed */
    char *message;        /* of libpq; freed at the next one */
    uint64_t received_lsn, confirmed_lsn;
    int64_t status_interval_us, status_due_us;
    unsigned since_clock; /* messages */
    bool ended;           /* the server ended it, or it failed */
};

/* A literal of the replication grammar: it knows no escapes but the doubled quote. */
static void add_text(struct banyan_buf *sql, struct banyan_str text)
{
    banyan_buf_add_char(sql, '\'');
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\0')
            sql->overflow = true;
        if (text.data[i] == '\'')
            banyan_buf_add_char(sql, '\'');
        banyan_buf_add_char(sql, text.data[i]);
    }
    banyan_buf_add_char(sql, '\'');
}

static void add_command(struct banyan_buf *sql, const struct pg_stream_options *options)
{
    struct banyan_buf publication = BANYAN_BUF_INIT(COMMAND_MAX);
    char start[PG_LSN_TEXT_SIZE];

    pg_lsn_format(options->start_lsn, start);
    banyan_buf_add_text(sql, "START_REPLICATION SLOT ");
    pg_add_identifier(sql, options->slot);
    banyan_buf_printf(sql, " LOGICAL %s (proto_version '%u', publication_names ", start, options->protocol);
    pg_add_identifier(&publication, options->publication); /* it is a list of identifiers within the literal */
    add_text(sql, banyan_buf_str(&publication));
    if (options->streaming)
        banyan_buf_add_text(sql, ", streaming 'on'");
    if (options->binary)
        banyan_buf_add_text(sql, ", binary 'true'");
    if (options->messages)
        banyan_buf_add_text(sql, ", messages 'true'");
    banyan_buf_add_text(sql, ")");
    sql->overflow |= publication.overflow;
    banyan_buf_release(&publication);
}

enum banyan_status pg_stream_open(struct pg_conn *conn, const struct pg_stream_options *options, struct pg_stream **ret,
                                  struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(COMMAND_MAX);
    struct pg_stream *stream = NULL;
    PGresult *result = NULL;
    enum banyan_status st;

    add_command(&sql, options);
    if (!conn->replication || sql.overflow || options->protocol < 1 || options->protocol > 2 ||
        (options->streaming && options->protocol < 2)) {
        st = banyan_error_set(err, BANYAN_INVALID,
                              "a stream needs a replication connection, protocol 1 or 2 (2 for "
                              "streaming), and names of ordinary length");
        goto out;
    }
    st = pg_simple_last(conn, sql.data, PG_CONTEXT_STREAM, &result, err);
    if (st == BANYAN_OK && PQresultStatus(result) != PGRES_COPY_BOTH)
        st = banyan_error_set(err, BANYAN_PROTOCOL, "%s did not start a stream", conn->description);
    if (st != BANYAN_OK)
        goto out;
    stream = alloc_zeroed(1, sizeof(*stream));
    stream->conn = conn;
    stream->received_lsn = stream->confirmed_lsn = options->start_lsn;
    stream->status_interval_us = options->status_interval_us > 0 ? options->status_interval_us : STATUS_INTERVAL_US;
    stream->status_due_us = pg_now_us() + stream->status_interval_us;
    *ret = stream;
out:
    if (st != BANYAN_OK)
        banyan_error_context(err, "slot \"%.*s\"", options->slot.size > 100 ? 100 : (int)options->slot.size,
                             options->slot.data);
    PQclear(result);
    banyan_buf_release(&sql);
    return st;
}

void pg_stream_close(struct pg_stream *stream)
{
    struct pg_conn *conn;
    int64_t limit_us;

    if (stream == NULL)
        return;
    conn = stream->conn;
    limit_us = pg_now_us() + CLOSE_WAIT_US;
    PQfreemem(stream->message);
    /* Say good-bye, so that the slot is free at once; a server that is busy sending is not waited for. */
    if (!stream->ended && !conn->broken && PQputCopyEnd(conn->pq, NULL) >= 0) {
        for (int size = 0; size >= 0;) {
            char *message = NULL;

            size = PQgetCopyData(conn->pq, &message, 1);
            PQfreemem(message);
            if (size == 0 && (PQflush(conn->pq) < 0 || pg_wait(conn, POLLIN, limit_us, NULL) != PG_WAKE_READY ||
                              PQconsumeInput(conn->pq) == 0))
                break;
            stream->ended = size < 0;
            if (pg_now_us() > limit_us)
                break;
        }
    }
    conn->deadline_us = limit_us;
    if (!stream->ended || pg_finish(conn, PG_CONTEXT_STREAM, NULL, NULL) != BANYAN_OK)
        conn->broken = true; /* it can only be closed */
    conn->deadline_us = 0;
    free(stream);
}

void pg_stream_confirm(struct pg_stream *stream, uint64_t lsn)
{
    if (lsn > stream->confirmed_lsn)
        stream->confirmed_lsn = lsn;
}

static enum banyan_status send_feedback(struct pg_stream *stream, int64_t now_us, struct banyan_error *err)
{
    uint64_t written = stream->received_lsn > stream->confirmed_lsn ? stream->received_lsn : stream->confirmed_lsn;
    struct pg_conn *conn = stream->conn;
    char message[FEEDBACK_SIZE] = {'r'};

    pg_put_u64(message + 1, written);
    pg_put_u64(message + 9, stream->confirmed_lsn);  /* flushed */
    pg_put_u64(message + 17, stream->confirmed_lsn); /* applied */
    pg_put_u64(message + 25, (uint64_t)(os_clock_now(os_clock_real()).us - PG_EPOCH_US));
    stream->status_due_us = now_us + stream->status_interval_us;
    if (PQputCopyData(conn->pq, message, sizeof(message)) < 0)
        return pg_link_error(conn, err);
    return pg_flush(conn, err);
}

enum banyan_status pg_stream_feedback(struct pg_stream *stream, struct banyan_error *err)
{
    return send_feedback(stream, pg_now_us(), err);
}

/* The server ended the stream, or libpq failed: find out why. */
static enum banyan_status ended(struct pg_stream *stream, struct banyan_error *err)
{
    struct pg_conn *conn = stream->conn;
    char lsn[PG_LSN_TEXT_SIZE];
    enum banyan_status st;

    stream->ended = true;
    pg_lsn_format(stream->received_lsn, lsn);
    st = pg_finish(conn, PG_CONTEXT_STREAM, NULL, err);
    if (st == BANYAN_OK)
        st = banyan_error_set(err, BANYAN_UNAVAILABLE, "%s ended the stream", conn->description);
    conn->broken = true;
    banyan_error_context(err, "stream at %s", lsn);
    return st;
}

static enum banyan_status malformed(struct pg_stream *stream, struct banyan_error *err)
{
    char lsn[PG_LSN_TEXT_SIZE];

    pg_lsn_format(stream->received_lsn, lsn);
    return banyan_error_set(err, BANYAN_PROTOCOL, "stream at %s: a message of an unknown form", lsn);
}

/* Read the frame around a message. */
static enum banyan_status parse(struct pg_stream *stream, size_t size, struct pg_stream_message *ret,
                                struct banyan_error *err)
{
    const char *at = stream->message;

    if (at[0] == 'w' && size >= DATA_HEADER) {
        *ret = (struct pg_stream_message){
            .kind = PG_STREAM_DATA,
            .start_lsn = pg_get_u64(at + 1),
            .end_lsn = pg_get_u64(at + 9),
            .sent.us = (int64_t)(pg_get_u64(at + 17) + (uint64_t)PG_EPOCH_US),
            .data = {at + DATA_HEADER, size - DATA_HEADER},
        };
        if (ret->start_lsn > stream->received_lsn)
            stream->received_lsn = ret->start_lsn;
        return BANYAN_OK;
    }
    if (at[0] != 'k' || size != KEEPALIVE_SIZE)
        return malformed(stream, err);
    *ret = (struct pg_stream_message){
        .kind = PG_STREAM_KEEPALIVE,
        .end_lsn = pg_get_u64(at + 1),
        .sent.us = (int64_t)(pg_get_u64(at + 9) + (uint64_t)PG_EPOCH_US),
        .reply_requested = at[17] != 0,
    };
    if (ret->end_lsn > stream->received_lsn)
        stream->received_lsn = ret->end_lsn;
    return ret->reply_requested ? pg_stream_feedback(stream, err) : BANYAN_OK;
}

/* Send feedback when it is due; gives the time. */
static enum banyan_status feedback_when_due(struct pg_stream *stream, int64_t *ret_now_us, struct banyan_error *err)
{
    stream->since_clock = 0;
    *ret_now_us = pg_now_us();
    return *ret_now_us < stream->status_due_us ? BANYAN_OK : send_feedback(stream, *ret_now_us, err);
}

/* Nothing is in libpq's buffer: wait for the socket and read it.  *ret_over: the time is up. */
static enum banyan_status fill(struct pg_stream *stream, int64_t deadline_us, bool *ret_over, struct banyan_error *err)
{
    struct pg_conn *conn = stream->conn;
    int64_t now_us;
    enum banyan_status st = feedback_when_due(stream, &now_us, err);

    if (st != BANYAN_OK)
        return st;
    switch (
        pg_wait(conn, POLLIN, deadline_us < stream->status_due_us ? deadline_us : stream->status_due_us, conn->stop)) {
    case PG_WAKE_READY:
        break;
    case PG_WAKE_TIMEOUT:
        *ret_over = now_us >= deadline_us;
        return BANYAN_OK;
    case PG_WAKE_STOPPED:
        return banyan_error_set(err, BANYAN_STOPPED, "stopped while waiting for changes");
    }
    return PQconsumeInput(conn->pq) == 0 ? ended(stream, err) : BANYAN_OK;
}

enum banyan_status pg_stream_next(struct pg_stream *stream, int64_t timeout_us, struct pg_stream_message *ret,
                                  struct banyan_error *err)
{
    int64_t now_us, deadline_us = 0;
    enum banyan_status st;
    bool over = false;

    if (stream->ended)
        return banyan_error_set(err, BANYAN_BROKEN, "the stream has ended");
    PQfreemem(stream->message);
    stream->message = NULL;
    if (++stream->since_clock >= CLOCK_EVERY) {
        st = feedback_when_due(stream, &now_us, err);
        if (st != BANYAN_OK)
            return st;
    }
    for (bool first = true;; first = false) {
        int size = PQgetCopyData(stream->conn->pq, &stream->message, 1);

        if (size > 0)
            return parse(stream, (size_t)size, ret, err);
        if (size < 0)
            return ended(stream, err);
        if (first)
            deadline_us = pg_now_us() + (timeout_us > 0 ? timeout_us : 0);
        if (first && PQsslInUse(stream->conn->pq)) {
            /* A walsender's TLS records can be larger than what libpq reads at once: the rest of one lies within
             * OpenSSL, where poll() does not see it. */
            if (PQconsumeInput(stream->conn->pq) == 0)
                return ended(stream, err);
            continue;
        }
        st = fill(stream, deadline_us, &over, err);
        if (st != BANYAN_OK)
            return st;
        if (over) {
            *ret = (struct pg_stream_message){.kind = PG_STREAM_NONE};
            return BANYAN_OK;
        }
    }
}
