/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream thread: one replication connection, messages into transactions, transactions to
 * legacy_transaction_apply(), and the server told what is durable.
 *
 *     BEGIN ─▶ rows ─▶ COMMIT                                       one at a time: *plain*
 *     START(x) ─▶ rows ─▶ STOP … START(y) ─▶ rows ─▶ STOP … ABORT(x, sub) … COMMIT(x)     many at once: *open*
 *
 * Invariants
 *   1. A transaction is applied at its COMMIT or STREAM COMMIT and nowhere else, in the order of the stream.
 *   2. The server is told a position only when an event with a cursor at or behind it is durable.  What gave no event
 *      is not told: heartbeats, and an event of our own when the server asks, move the position over it.
 *   3. A connection that broke takes all open transactions with it: the server sends them again from their beginning.
 *   4. Each connection proves system, timeline, slot and position before it reads.
 *
 * Thread: its own.  The queue of what is submitted but not durable belongs to it alone.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "legacy/legacy_int.h"
#include "legacy/relation.h"
#include "legacy/source.h"
#include "legacy/transaction.h"
#include "os/clock.h"
#include "os/retry.h"

enum {
    PROTOCOL = 2,
    PENDING_MAX = 65536, /* submitted, not durable; power of two */
    SETTLE_EVERY = 64,   /* transactions between two looks at what is durable */
    IDLE_US = 50 * 1000,
    /* So long we look away from the socket while something is not durable yet.  A local server's socket holds only some
     * sixty small transactions, and a server that found it full goes on only when most of it was read: while changes
     * flow, the pause is a small part of the time that filling it takes. */
    PENDING_US_MIN = 200,
    PENDING_US_MAX = 1000,
    DURABLE_WAIT_US = 20 * 1000,
    CLOSE_WAIT_US = 10 * 1000 * 1000,
    RETRY_FIRST_US = 50 * 1000,
    RETRY_US_MAX = 5 * 1000 * 1000,
};

struct pending {
    struct banyan_position last;
    uint64_t end_lsn;
    struct banyan_time commit_time;
};

struct capture {
    struct legacy *legacy;
    struct banyan_arena arena; /* of one transaction's mapping */
    struct relations relations;
    struct transaction plain;
    bool in_plain;
    struct hash open;             /* xid → struct transaction *, streamed ones */
    struct transaction *streamed; /* the one whose stream block we are in */
    struct pending *pending;      /* ring: [first, first + count) */
    size_t pending_first, pending_count;
    unsigned since_settled;
    int64_t pause_us; /* the last look away from the socket; 0: something came since */
    uint64_t received_lsn, server_lsn;
    /* of the connection */
    struct pg_conn *replication;
    struct pg_stream *stream;
    struct pgoutput *decoder;
};

/* ---- what is durable ---- */

static void note_lag(struct legacy *legacy, int64_t now_us, struct banyan_time commit_time)
{
    int64_t lag = now_us - commit_time.us;
    legacy->shared.lags_us[legacy->shared.lag_next] = lag > 0 ? lag : 0;
    legacy->shared.lag_next = (legacy->shared.lag_next + 1) % LEGACY_LAGS_MAX;
    if (legacy->shared.lag_count < LEGACY_LAGS_MAX)
        legacy->shared.lag_count++;
}

/* Take from the queue what has become durable, and tell the server and the figures. */
static void settle(struct capture *c)
{
    struct legacy *legacy = c->legacy;
    uint64_t confirmed = 0;
    c->since_settled = 0;
    struct banyan_position durable = store_durable(legacy->options.store);
    pthread_mutex_lock(&legacy->shared.lock);
    int64_t now_us = c->pending_count > 0 ? os_clock_now(os_clock_real()).us : 0;
    while (c->pending_count > 0 && c->pending[c->pending_first].last.value <= durable.value) {
        const struct pending *pending = &c->pending[c->pending_first];
        if (pending->commit_time.us != BANYAN_TIME_NULL)
            note_lag(legacy, now_us, pending->commit_time);
        confirmed = pending->end_lsn;
        c->pending_first = (c->pending_first + 1) % PENDING_MAX;
        c->pending_count--;
    }
    struct legacy_status *status = &legacy->shared.status;
    if (confirmed > status->confirmed_lsn)
        status->confirmed_lsn = confirmed;
    status->changes_without_key = c->relations.without_key;
    status->without_key_table = c->relations.without_key_table;
    if (c->received_lsn > status->received_lsn)
        status->received_lsn = c->received_lsn;
    if (c->server_lsn > status->server_lsn)
        status->server_lsn = c->server_lsn;
    if (confirmed != 0)
        pthread_cond_broadcast(&legacy->shared.changed);
    pthread_mutex_unlock(&legacy->shared.lock);
    if (confirmed != 0 && c->stream != NULL)
        pg_stream_confirm(c->stream, confirmed);
}

/* Wait until the newest of the queue is durable, or a while. */
static enum banyan_status wait_durable(struct capture *c, int64_t timeout_us, struct banyan_error *err)
{
    if (c->pending_count == 0)
        return BANYAN_OK;
    struct banyan_error failure = BANYAN_ERROR_INIT;
    const struct pending *newest = &c->pending[(c->pending_first + c->pending_count - 1) % PENDING_MAX];
    enum banyan_status status = store_wait(c->legacy->options.store, newest->last, timeout_us, &failure);
    if (status != BANYAN_OK && status != BANYAN_TIMEOUT) {
        if (err != NULL)
            *err = failure;
        return status;
    }
    settle(c);
    return BANYAN_OK;
}

static enum banyan_status push_pending(struct capture *c, struct pending pending, struct banyan_error *err)
{
    while (c->pending_count == PENDING_MAX) {
        enum banyan_status status = wait_durable(c, DURABLE_WAIT_US, err);
        if (status != BANYAN_OK)
            return status;
    }
    c->pending[(c->pending_first + c->pending_count++) % PENDING_MAX] = pending;
    if (++c->since_settled >= SETTLE_EVERY)
        settle(c);
    return BANYAN_OK;
}

/* ---- transactions ---- */

static enum banyan_status finish(struct capture *c, struct transaction *tx, const struct pgoutput_message *message,
                                 struct banyan_error *err)
{
    struct legacy_applied applied;
    tx->commit_lsn = message->lsn;
    tx->end_lsn = message->end_lsn;
    tx->commit_time = message->commit_time;
    if (tx->foreign_origin)
        return BANYAN_OK;
    enum banyan_status status = legacy_transaction_apply(c->legacy, tx, &c->arena, &applied, err);
    if (status == BANYAN_OK && applied.appended)
        status = push_pending(c, (struct pending){applied.last, tx->end_lsn, tx->commit_time}, err);
    return status;
}

static void init_transaction(const struct legacy *legacy, struct transaction *tx)
{
    transaction_init(tx, legacy->options.domain->mappings, legacy->mapping_count, legacy->options.spool_folder,
                     legacy->options.spool_memory_bytes);
}

static struct transaction *open_streamed(struct capture *c, uint32_t xid)
{
    struct transaction *tx = alloc_zeroed(1, sizeof(*tx));
    init_transaction(c->legacy, tx);
    transaction_reset(tx, xid);
    tx->streamed = true;
    (void)hash_put(&c->open, xid, tx); /* there was none: the caller looked */
    return tx;
}

static void close_streamed(struct capture *c, uint32_t xid)
{
    struct transaction *tx = hash_remove(&c->open, xid);
    transaction_release(tx);
    free(tx);
}

static void forget_open(struct capture *c)
{
    size_t cursor = 0;
    for (struct hash_entry *entry; (entry = hash_next(&c->open, &cursor)) != NULL;) {
        transaction_release(entry->value);
        free(entry->value);
    }
    hash_reset(&c->open);
    transaction_reset(&c->plain, 0);
    c->in_plain = false;
    c->streamed = NULL;
}

/* The transaction that a message without a transaction of its own belongs to; NULL: none is open. */
static struct transaction *current(struct capture *c)
{
    if (c->streamed != NULL)
        return c->streamed;
    return c->in_plain ? &c->plain : NULL;
}

/* ---- messages ---- */

static bool is_ours(struct banyan_str origin)
{
    static const char name[] = "banyan";
    size_t size = sizeof(name) - 1;
    return origin.size >= size && memcmp(origin.data, name, size) == 0 &&
           (origin.size == size || origin.data[size] == '/' || origin.data[size] == '_');
}

static enum banyan_status out_of_place(const struct pgoutput_message *message, struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_PROTOCOL, "message %d of transaction %u is out of place in the stream",
                            (int)message->kind, message->xid);
}

static enum banyan_status take_stream_message(struct capture *c, const struct pgoutput_message *message,
                                              struct banyan_error *err)
{
    struct transaction *tx = hash_get(&c->open, message->xid);
    enum banyan_status status = BANYAN_OK;
    switch (message->kind) {
    case PGOUTPUT_STREAM_START:
        if (message->first_segment && tx != NULL) {
            close_streamed(c, message->xid);
            tx = NULL;
        }
        if (tx == NULL && !message->first_segment)
            return out_of_place(message, err);
        c->streamed = tx != NULL ? tx : open_streamed(c, message->xid);
        return BANYAN_OK;
    case PGOUTPUT_STREAM_STOP:
        c->streamed = NULL;
        return BANYAN_OK;
    case PGOUTPUT_STREAM_COMMIT:
        if (tx == NULL)
            return out_of_place(message, err);
        status = finish(c, tx, message, err);
        close_streamed(c, message->xid);
        return status;
    case PGOUTPUT_STREAM_ABORT:
        /* Of a transaction that we never saw: some servers send such ones. */
        if (tx == NULL)
            return BANYAN_OK;
        if (message->subxid == message->xid || message->subxid == 0)
            close_streamed(c, message->xid);
        else
            transaction_abort_sub(tx, message->subxid);
        return BANYAN_OK;
    default:
        return out_of_place(message, err);
    }
}

static void take_note(struct capture *c, const struct pgoutput_message *message, struct transaction *tx)
{
    if (message->kind == PGOUTPUT_ORIGIN) {
        tx->foreign_origin = is_ours(message->prefix);
        return;
    }
    if (message->kind == PGOUTPUT_MESSAGE) {
        if (message->transactional && (banyan_str_equal(message->prefix, BANYAN_STR("banyan.fence")) ||
                                       banyan_str_equal(message->prefix, BANYAN_STR("banyan.heartbeat"))))
            transaction_fence(tx, message->xid, message->content);
        return;
    }
    const struct relation_place *places = c->relations.places;
    for (uint32_t i = 0; i < message->truncated_count; i++)
        for (int at = relations_place(&c->relations, message->truncated[i]); at >= 0; at = places[at].next)
            transaction_truncate(tx, message->xid, places[at].mapping, places[at].index);
}

static enum banyan_status take_message(struct capture *c, const struct pgoutput_message *message,
                                       struct banyan_error *err)
{
    struct transaction *tx = current(c);
    switch (message->kind) {
    case PGOUTPUT_INSERT:
    case PGOUTPUT_UPDATE:
    case PGOUTPUT_DELETE:
        return tx == NULL ? out_of_place(message, err) : relations_add(&c->relations, message, tx, err);
    case PGOUTPUT_BEGIN:
        transaction_reset(&c->plain, message->xid);
        c->in_plain = true;
        return BANYAN_OK;
    case PGOUTPUT_COMMIT: {
        if (!c->in_plain)
            return out_of_place(message, err);
        c->in_plain = false;
        return finish(c, &c->plain, message, err);
    }
    case PGOUTPUT_STREAM_START:
    case PGOUTPUT_STREAM_STOP:
    case PGOUTPUT_STREAM_COMMIT:
    case PGOUTPUT_STREAM_ABORT:
        return take_stream_message(c, message, err);
    case PGOUTPUT_MESSAGE:
        if (!message->transactional)
            return BANYAN_OK;
        __attribute__((fallthrough));
    case PGOUTPUT_TRUNCATE:
    case PGOUTPUT_ORIGIN:
        if (tx == NULL)
            return out_of_place(message, err);
        take_note(c, message, tx);
        return BANYAN_OK;
    case PGOUTPUT_RELATION:
    case PGOUTPUT_TYPE:
        return BANYAN_OK; /* the decoder remembers them */
    case PGOUTPUT_NONE:
        break;
    }
    return out_of_place(message, err);
}

/* The server wants to hear how far we are.  When it is shutting down it waits until we have all that it sent, also what
 * gave no event; and only a position that a durable cursor has may be told.  So, when nothing is under way, the cursor
 * moves to here, is flushed, and told at once.  (Every commit up to the position was sent before.) */
static enum banyan_status answer(struct capture *c, uint64_t sent_lsn, struct banyan_error *err)
{
    struct legacy_applied applied;
    if (c->pending_count > 0 || c->in_plain || c->streamed != NULL)
        return BANYAN_OK;
    enum banyan_status status = legacy_move_cursor(c->legacy, sent_lsn, &c->arena, &applied, err);
    if (status != BANYAN_OK || !applied.appended)
        return status;
    status = push_pending(c, (struct pending){applied.last, sent_lsn, {BANYAN_TIME_NULL}}, err);
    if (status == BANYAN_OK)
        status = wait_durable(c, DURABLE_WAIT_US, err);
    return status == BANYAN_OK ? pg_stream_feedback(c->stream, err) : status;
}

/* One turn of the loop: a message, or a while without one. */
static enum banyan_status turn(struct capture *c, struct banyan_error *err)
{
    struct pg_stream_message received;
    struct pgoutput_message message;
    enum banyan_status status = pg_stream_next(c->stream, c->pending_count > 0 ? 0 : IDLE_US, &received, err);
    if (status != BANYAN_OK)
        return status;
    switch (received.kind) {
    case PG_STREAM_DATA:
        c->pause_us = 0;
        c->received_lsn = received.start_lsn > c->received_lsn ? received.start_lsn : c->received_lsn;
        c->server_lsn = received.end_lsn > c->server_lsn ? received.end_lsn : c->server_lsn;
        status = pgoutput_decode(c->decoder, received.data, &message, err);
        if (status == BANYAN_OK)
            status = take_message(c, &message, err);
        if (status != BANYAN_OK) {
            char lsn[PG_LSN_TEXT_SIZE];
            pg_lsn_format(received.start_lsn, lsn);
            banyan_error_context(err, "at %s", lsn);
        }
        return status;
    case PG_STREAM_KEEPALIVE:
        c->server_lsn = received.end_lsn > c->server_lsn ? received.end_lsn : c->server_lsn;
        return received.reply_requested ? answer(c, received.end_lsn, err) : BANYAN_OK;
    case PG_STREAM_NONE:
        break;
    }
    /* Not a wait for the socket: small messages gather there, and are read in one call.  Nor for the log: who waits for
     * it may have to flush it himself, and a slow disk must not keep us from the stream. */
    if (c->pending_count > 0) {
        c->pause_us = c->pause_us == 0 ? PENDING_US_MIN : 2 * c->pause_us;
        if (c->pause_us > PENDING_US_MAX)
            c->pause_us = PENDING_US_MAX;
        (void)os_stop_wait(c->legacy->options.stop, c->pause_us); /* stopped or not: the loop looks */
    }
    settle(c);
    return store_health(c->legacy->options.store, err);
}

/* ---- connections ---- */

static enum banyan_status open_stream(struct capture *c, struct banyan_error *err)
{
    struct legacy *legacy = c->legacy;
    struct pg_conn *conn = NULL;
    pthread_mutex_lock(&legacy->order);
    uint64_t cursor_lsn = legacy->cursor_lsn;
    pthread_mutex_unlock(&legacy->order);
    enum banyan_status status = source_connect(legacy, true, &c->replication, err);
    if (status == BANYAN_OK)
        status = source_prove_system(legacy, c->replication, err);
    if (status == BANYAN_OK)
        status = source_connect(legacy, false, &conn, err);
    if (status == BANYAN_OK)
        status = source_prove_slot(legacy, conn, cursor_lsn, err);
    pg_close(conn);
    if (status != BANYAN_OK)
        return status;
    struct pg_stream_options options = {
        .slot = banyan_str_of(legacy->options.slot),
        .publication = banyan_str_of(legacy->options.publication),
        .start_lsn = cursor_lsn,
        .protocol = PROTOCOL,
        .streaming = true,
        .binary = true,
        .messages = true,
    };
    status = pg_stream_open(c->replication, &options, &c->stream, err);
    if (status == BANYAN_OK)
        c->decoder = pgoutput_new(PROTOCOL);
    return status;
}

static void close_stream(struct capture *c)
{
    pg_stream_close(c->stream);
    pgoutput_free(c->decoder);
    pg_close(c->replication);
    c->stream = NULL;
    c->decoder = NULL;
    c->replication = NULL;
    forget_open(c);
    relations_reset(&c->relations);
}

static enum banyan_status session(struct capture *c, struct os_retry *retry, struct banyan_error *err)
{
    enum banyan_status status = open_stream(c, err);
    if (status == BANYAN_OK) {
        legacy_working(c->legacy);
        os_retry_reset(retry);
    }
    while (status == BANYAN_OK && !legacy_ending(c->legacy))
        status = turn(c, err);
    if (status == BANYAN_OK) {
        /* The end: what was submitted becomes durable, and the server is told. */
        struct banyan_error ignored = BANYAN_ERROR_INIT;
        enum banyan_status told = wait_durable(c, CLOSE_WAIT_US, &ignored);
        if (told == BANYAN_OK)
            told = pg_stream_feedback(c->stream, &ignored);
        (void)told; /* it only spares the next start some work */
    }
    close_stream(c);
    return status;
}

static struct capture *capture_new(struct legacy *legacy)
{
    struct capture *c = alloc_zeroed(1, sizeof(*c));
    c->legacy = legacy;
    relations_init(&c->relations, legacy->tables, legacy->mapping_count);
    init_transaction(legacy, &c->plain);
    transaction_reset(&c->plain, 0);
    c->pending = alloc_zeroed(PENDING_MAX, sizeof(*c->pending));
    return c;
}

static void capture_free(struct capture *c)
{
    forget_open(c);
    hash_release(&c->open);
    transaction_release(&c->plain);
    relations_release(&c->relations);
    banyan_arena_release(&c->arena);
    free(c->pending);
    free(c);
}

void capture_main(void *argument)
{
    struct legacy *legacy = argument;
    struct capture *c = capture_new(legacy);
    struct os_retry retry = {.first_us = RETRY_FIRST_US, .pause_us_max = RETRY_US_MAX};
    while (!legacy_ending(legacy)) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status status = session(c, &retry, &err);
        if (status == BANYAN_OK || legacy_ending(legacy))
            break;
        banyan_error_context(&err, "capture of %s", legacy->options.name);
        if (banyan_status_class(status) == BANYAN_CLASS_RETRY) {
            legacy_retrying(legacy, &err);
            (void)os_retry_pause(&retry, legacy->options.stop); /* stopped: the loop sees it */
        } else
            legacy_fail(legacy, &err);
    }
    capture_free(c);
}
