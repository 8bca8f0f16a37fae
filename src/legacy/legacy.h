/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A legacy PostgreSQL database as a source of the log: backfill of its history and capture of its changes, for all
 * mappings of the domain at once: one slot, one publication of all their tables, one append for one transaction.
 *
 *   new ──▶ connecting ──▶ backfilling (capture runs beside it) ──▶ capturing ──▶ stopped
 *                └──────────────────────── retrying ◀─────────────────┘
 *                                              └──▶ failed (needs an operator: slot lost, table changed, …)
 *
 * Threads: capture has one, each backfill worker one; the functions below may be called by any.
 */
#ifndef LEGACY_LEGACY_H
#define LEGACY_LEGACY_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "os/stop.h"
#include "store/store.h"

struct legacy;

struct legacy_options {
    const struct banyan_domain *domain;
    const char *name; /* of the source; part of stream and cursor names */
    const char *conninfo;
    const char *slot;
    const char *publication;
    const char *spool_folder;    /* for transactions larger than memory */
    uint64_t chunk_rows;         /* 0: 10,000 */
    unsigned workers;            /* 0: 2 */
    int64_t heartbeat_us;        /* 0: 10 s */
    int64_t lock_timeout_us;     /* of the slot's creation; 0: 10 s */
    uint64_t spool_memory_bytes; /* a transaction above this goes to disk; 0: 8 MiB */
    bool capture_only;           /* no backfill: history begins now; for tests and benchmarks */
    bool backfill_only;          /* stop after the backfill, leaving the slot */
    struct store *store;         /* borrowed */
    struct os_stop *stop;        /* borrowed */
    /* Is this aggregate not the legacy application's any more?  What is captured for it is a conflict: recorded in the
     * stream "$conflict-<name>", not applied.  Called under the order lock: must not wait.  NULL: all are.
     *
     * At a hand back from behind the fence the answer is false as soon as Banyan accepts nothing more, and not only
     * when the ownership has moved: what gets past the fence from then on was written after it went, and is the
     * application's own.  Without a fence (some aggregates are Banyan's) it is true until the ownership has moved. */
    bool (*owned)(void *context, struct banyan_str category, int64_t key);
    void *owned_context;
};

enum legacy_state {
    LEGACY_NONE = 0,
    LEGACY_CONNECTING,
    LEGACY_BACKFILLING,
    LEGACY_CAPTURING,
    LEGACY_RETRYING,
    LEGACY_FAILED,
    LEGACY_STOPPED,
};

enum {
    LEGACY_MAPPINGS_MAX = 32,
};

/* The backfill of one mapping. */
struct legacy_mapping_status {
    const char *category;    /* of its streams; lives as long as the domain */
    bool done;               /* all keys are read */
    uint64_t rows_estimated; /* of the root table */
    uint64_t roots_read, rows_read, chunks_done;
};

struct legacy_status {
    enum legacy_state state;
    /* backfill; sums over the mappings */
    bool backfill_done;
    uint64_t rows_estimated; /* of the root tables */
    uint64_t roots_read, rows_read;
    uint64_t events_exact, events_inferred, events_reconciled;
    uint64_t chunks_done;
    double roots_per_second;
    int64_t backfill_us; /* so far, or in all */
    int64_t eta_us;      /* INT64_MAX: not known */
    struct legacy_mapping_status mappings[LEGACY_MAPPINGS_MAX];
    size_t mapping_count;
    /* capture; a row of a table that is in several mappings is a change of each */
    uint64_t transactions, changes, events_captured, changes_held, changes_dropped;
    uint64_t transactions_streamed;
    uint64_t changes_without_key; /* DELETEs that were ignored: the replica identity of the table does not tell whose */
    const char *without_key_table; /* the first such table; NULL: none */
    uint64_t conflicts;            /* changes of aggregates that are not the legacy application's, since the start */
    uint64_t received_lsn, applied_lsn, confirmed_lsn, server_lsn;
    uint64_t xid;                   /* newest applied */
    int64_t lag_us_p50, lag_us_p99; /* commit at the server → event durable; last 10,000 */
    uint64_t lag_bytes;
    /* source protection */
    char wal_status[16]; /* "reserved", "extended", "unreserved", "lost" */
    int64_t kept_bytes, safe_bytes;
    bool alarm; /* the slot is in danger: see error */
    struct banyan_error error;
};

/* Start the threads.  Settings are checked and the slot is proven before it returns; a server that cannot be reached
 * is retried in the background only after it was reached once. */
BANYAN_MUST_CHECK enum banyan_status legacy_start(const struct legacy_options *options, struct legacy **ret,
                                                  struct banyan_error *err);
/* After os_stop_request(): joins all threads.  Everything acknowledged is durable. */
void legacy_stop(struct legacy *legacy);
void legacy_status(struct legacy *legacy, struct legacy_status *ret);
/* Wait until everything up to *lsn* is durable in the log; TIMEOUT; the failure when capture failed. */
BANYAN_MUST_CHECK enum banyan_status legacy_wait(struct legacy *legacy, uint64_t lsn, int64_t timeout_us,
                                                 struct banyan_error *err);
/* The legacy position in a store cursor's value; 0 when it has none. */
uint64_t legacy_cursor_lsn(struct store_cursor cursor);

#endif
