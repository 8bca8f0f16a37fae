/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The replication protocol: system identity, slots, the stream, feedback.
 *
 * Threads: one stream, one thread.
 */
#ifndef PG_REPLICATION_H
#define PG_REPLICATION_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/error.h"
#include "banyan/types.h"
#include "pg/conn.h"

/* IDENTIFY_SYSTEM. */
struct pg_system {
    struct banyan_str id; /* system identifier, decimal */
    uint32_t timeline;
    uint64_t lsn; /* flushed */
};
BANYAN_MUST_CHECK enum banyan_status pg_identify(struct pg_conn *replication, struct banyan_arena *arena,
                                                 struct pg_system *ret, struct banyan_error *err);

struct pg_slot_created {
    uint64_t consistent_lsn;
    struct banyan_str snapshot; /* exported; dies with the next command on the connection */
};
/* CREATE_REPLICATION_SLOT … LOGICAL pgoutput (SNAPSHOT 'export').  *lock_timeout_us* bounds the wait for older
 * writers (TIMEOUT; nothing is left behind). */
BANYAN_MUST_CHECK enum banyan_status pg_slot_create(struct pg_conn *replication, struct banyan_str slot,
                                                    int64_t lock_timeout_us, struct banyan_arena *arena,
                                                    struct pg_slot_created *ret, struct banyan_error *err);

/* A row of pg_replication_slots. */
struct pg_slot {
    bool exists;
    struct banyan_str plugin, database, wal_status;
    bool active;
    int active_pid;
    uint64_t restart_lsn, confirmed_lsn;
    int64_t kept_bytes; /* WAL held back by it */
    int64_t safe_bytes; /* may still be written before it is lost; -1: no limit */
    int64_t catalog_xmin_age;
};
BANYAN_MUST_CHECK enum banyan_status pg_slot_read(struct pg_conn *conn, struct banyan_str slot,
                                                  struct banyan_arena *arena, struct pg_slot *ret,
                                                  struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status pg_slot_drop(struct pg_conn *conn, struct banyan_str slot,
                                                  struct banyan_error *err);

/* ---- stream ---- */

struct pg_stream; /* over a replication connection */

struct pg_stream_options {
    struct banyan_str slot;
    struct banyan_str publication;
    uint64_t start_lsn;         /* our cursor */
    unsigned protocol;          /* 1 or 2 */
    bool streaming;             /* big open transactions before their end (protocol 2) */
    bool binary;                /* binary cells */
    bool messages;              /* logical messages (fences) */
    int64_t status_interval_us; /* feedback at least this often; 0: 1 s */
};

enum pg_stream_kind {
    PG_STREAM_NONE = 0, /* nothing came within the time-out */
    PG_STREAM_DATA,     /* one pgoutput message */
    PG_STREAM_KEEPALIVE,
};

struct pg_stream_message {
    enum pg_stream_kind kind;
    uint64_t start_lsn;      /* DATA: of the WAL it came from */
    uint64_t end_lsn;        /* end of WAL at the server */
    struct banyan_time sent; /* the server's clock */
    struct banyan_str data;  /* DATA; borrowed until the next call */
    bool reply_requested;    /* KEEPALIVE; already answered with the last confirmed position */
};

/* Gives *ret; borrows *conn* until pg_stream_close(). */
BANYAN_MUST_CHECK enum banyan_status pg_stream_open(struct pg_conn *conn, const struct pg_stream_options *options,
                                                    struct pg_stream **ret, struct banyan_error *err);
void pg_stream_close(struct pg_stream *stream);
/* The next message, waiting at most *timeout_us* (0: do not wait).  Sends due feedback by itself. */
BANYAN_MUST_CHECK enum banyan_status pg_stream_next(struct pg_stream *stream, int64_t timeout_us,
                                                    struct pg_stream_message *ret, struct banyan_error *err);
/* All up to *lsn* is durable here: the only position that feedback reports as flushed.  Never goes back. */
void pg_stream_confirm(struct pg_stream *stream, uint64_t lsn);
/* Send feedback now. */
BANYAN_MUST_CHECK enum banyan_status pg_stream_feedback(struct pg_stream *stream, struct banyan_error *err);

#endif
