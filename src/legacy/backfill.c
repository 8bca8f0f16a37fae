/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backfill worker: takes the newest unread keys of the first mapping that has some, reads all tables of the mapping
 * for them in one snapshot, maps, commits.
 *
 *      take     border ◀─ root table; hand-over knows of the chunk BEFORE its snapshot can be taken
 *      read     BEGIN; LOCK tables; snapshot S, WAL position L; COPY root; COPY children; COMMIT
 *      map      rows merged by key ─▶ histories ─▶ events
 *      flush    wait until the server's WAL is flushed up to L (barrier 2)
 *      commit   legacy_chunk_commit(): events, held changes and the chunk's snapshot as one append
 *
 * Invariants
 *   1. The lock comes before the snapshot: a TRUNCATE is either over and seen, or waits for the chunk.
 *   2. The transaction ends before the mapping begins: a snapshot is held for the reading only.
 *   3. A chunk that was read is not committed before all that its snapshot saw is on the server's disk: after a crash
 *      of the server those transactions would never have been, and their ids would be used again.
 *   4. Whatever fails before the commit gives the chunk back; reading it again is always right.
 *
 * Threads: each worker has its own connection, mappers and memory; see legacy_int.h for the locks.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "legacy/backfill_rows.h"
#include "legacy/legacy_int.h"
#include "os/clock.h"
#include "os/retry.h"

enum {
    SQL_BYTES_MAX = 256 * 1024,
    LOCK_TIMEOUT_MS = 3000,
    RETRY_FIRST_US = 100 * 1000,
    RETRY_US_MAX = 10 * 1000 * 1000,
    ARENA_BYTES_KEPT = 64 << 20, /* from chunk to chunk */
    RATE_WINDOW_US = 2 * 1000 * 1000,
};

struct worker {
    struct legacy *legacy;
    struct pg_conn *conn;      /* NULL: to be connected */
    struct mapper **mappers;   /* one a mapping; made at the first need */
    struct banyan_arena arena; /* of one chunk */
    struct banyan_buf sql;
    size_t mapping; /* of the chunk */
    struct handover_chunk chunk;
    bool has_chunk;  /* taken, and to be given back when it fails */
    bool committing; /* the engine has the chunk: what fails now is final */
    struct backfill_rows rows;
    struct mapper_events events;
    struct pg_snapshot snapshot;
    struct banyan_time read_at;
    uint64_t flush_lsn; /* L */
};

/* ---- connection ---- */

/* What the chunks' queries need: plans that follow the key order, and a commit that waits for no standby. */
static const char session_sql[] = "SET jit = off; SET max_parallel_workers_per_gather = 0; SET work_mem = '64MB';"
                                  "SET synchronous_commit = local; SET statement_timeout = 0;"
                                  "SET idle_in_transaction_session_timeout = 0";

static enum banyan_status note_estimate(struct worker *worker, size_t mapping, struct banyan_error *err)
{
    struct legacy *legacy = worker->legacy;
    uint32_t root = legacy->tables[mapping].tables[0].oid;
    struct pg_result *result = NULL;
    banyan_buf_reset(&worker->sql);
    banyan_buf_printf(&worker->sql,
                      "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint FROM pg_catalog.pg_class c"
                      " WHERE c.relkind = 'r' AND (c.oid = %" PRIu32 " OR c.oid IN"
                      " (SELECT p.relid FROM pg_catalog.pg_partition_tree(%" PRIu32 "::oid::regclass) p))",
                      root, root);
    enum banyan_status status = pg_exec(worker->conn, worker->sql.data, NULL, 0, &result, err);
    if (status == BANYAN_OK) {
        pthread_mutex_lock(&legacy->shared.lock);
        struct legacy_status *status_shown = &legacy->shared.status;
        uint64_t *shown = &status_shown->mappings[mapping].rows_estimated;
        uint64_t rows = (uint64_t)pg_int(result, 0, 0);
        status_shown->rows_estimated += rows - *shown; /* of all; unsigned: also when it has become less */
        *shown = rows;
        pthread_mutex_unlock(&legacy->shared.lock);
    }
    pg_result_free(result);
    return status;
}

static enum banyan_status connect_worker(struct worker *worker, struct banyan_error *err)
{
    struct legacy *legacy = worker->legacy;
    struct pg_options options = {
        .conninfo = legacy->options.conninfo,
        .application_name = legacy->application_name.data,
        .stop = legacy->options.stop,
    };
    enum banyan_status status = pg_connect(&options, &worker->conn, err);
    if (status == BANYAN_OK)
        status = pg_run(worker->conn, session_sql, err);
    for (size_t m = 0; status == BANYAN_OK && m < legacy->mapping_count; m++)
        status = note_estimate(worker, m, err);
    return status;
}

/* ---- take ---- */

/* The key from which on the interval has chunk_rows rows; *lo* where it has fewer. */
static enum banyan_status find_border(struct worker *worker, int64_t lo, int64_t hi, int64_t *ret,
                                      struct banyan_error *err)
{
    const struct legacy *legacy = worker->legacy;
    const struct banyan_legacy_table *root = legacy->tables[worker->mapping].tables[0].spec;
    struct banyan_buf *sql = &worker->sql;
    struct pg_result *result = NULL;
    banyan_buf_reset(sql);
    banyan_buf_add_text(sql, "SELECT ");
    pg_add_identifier(sql, banyan_str_of(root->key_column));
    banyan_buf_add_text(sql, " FROM ");
    pg_add_table(sql, banyan_str_of(root->name));
    banyan_buf_add_text(sql, " WHERE true");
    if (lo != INT64_MIN) {
        banyan_buf_add_text(sql, " AND ");
        pg_add_identifier(sql, banyan_str_of(root->key_column));
        banyan_buf_printf(sql, " >= %" PRId64, lo);
    }
    if (hi != INT64_MAX) {
        banyan_buf_add_text(sql, " AND ");
        pg_add_identifier(sql, banyan_str_of(root->key_column));
        banyan_buf_printf(sql, " < %" PRId64, hi);
    }
    banyan_buf_add_text(sql, " ORDER BY ");
    pg_add_identifier(sql, banyan_str_of(root->key_column));
    banyan_buf_printf(sql, " DESC OFFSET %" PRIu64 " LIMIT 1", legacy->options.chunk_rows - 1);
    enum banyan_status status = pg_exec(worker->conn, sql->data, NULL, 0, &result, err);
    if (status == BANYAN_OK)
        *ret = pg_rows(result) == 0 ? lo : pg_int(result, 0, 0);
    /* [INT64_MAX, INT64_MAX] cannot be told from an empty interval. */
    if (status == BANYAN_OK && *ret == INT64_MAX)
        *ret = INT64_MAX - 1;
    pg_result_free(result);
    return status;
}

/* The unread keys to take next, of worker->mapping; false when nothing is unread.  Under the order lock. */
static bool find_unread(struct worker *worker, int64_t *ret_lo, int64_t *ret_hi)
{
    const struct legacy *legacy = worker->legacy;
    for (size_t m = 0; m < legacy->mapping_count; m++) {
        worker->mapping = m;
        if (handover_unread(legacy->mappings[m].handover, ret_lo, ret_hi))
            return true;
    }
    return false;
}

static struct handover *handover_of(struct worker *worker)
{
    return worker->legacy->mappings[worker->mapping].handover;
}

/* Take the next chunk; *ret_any false: nothing is unread. */
static enum banyan_status take_chunk(struct worker *worker, bool *ret_any, struct banyan_error *err)
{
    struct legacy *legacy = worker->legacy;
    enum banyan_status status = BANYAN_OK;
    int64_t lo, hi, border = 0;
    pthread_mutex_lock(&legacy->plan);
    pthread_mutex_lock(&legacy->order);
    *ret_any = find_unread(worker, &lo, &hi);
    pthread_mutex_unlock(&legacy->order);
    if (*ret_any)
        status = find_border(worker, lo, hi, &border, err);
    if (*ret_any && status == BANYAN_OK) {
        pthread_mutex_lock(&legacy->order);
        worker->chunk = handover_chunk_begin(handover_of(worker), border, hi);
        pthread_mutex_unlock(&legacy->order);
        worker->has_chunk = true;
    }
    pthread_mutex_unlock(&legacy->plan);
    return status;
}

static void give_chunk_back(struct worker *worker)
{
    if (!worker->has_chunk)
        return;
    pthread_mutex_lock(&worker->legacy->order);
    handover_chunk_abandon(handover_of(worker), worker->chunk.id);
    pthread_mutex_unlock(&worker->legacy->order);
    worker->has_chunk = false;
}

/* ---- read ---- */

/* BEGIN and LOCK take no snapshot; the first SELECT does. */
static enum banyan_status begin_snapshot(struct worker *worker, struct banyan_error *err)
{
    const struct legacy_tables *tables = &worker->legacy->tables[worker->mapping];
    struct banyan_buf *sql = &worker->sql;
    struct pg_result *result = NULL;
    banyan_buf_reset(sql);
    banyan_buf_printf(sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = %d; LOCK TABLE ",
                      LOCK_TIMEOUT_MS);
    for (size_t i = 0; i < tables->count; i++) {
        if (i > 0)
            banyan_buf_add_text(sql, ", ");
        pg_add_table(sql, banyan_str_of(tables->tables[i].spec->name));
    }
    banyan_buf_add_text(sql, " IN ACCESS SHARE MODE");
    enum banyan_status status = pg_run(worker->conn, sql->data, err);
    if (status == BANYAN_OK)
        status = pg_exec(worker->conn,
                         "SELECT pg_catalog.pg_current_snapshot()::text, pg_catalog.pg_current_wal_insert_lsn()::text",
                         NULL, 0, &result, err);
    if (status == BANYAN_OK && (!pg_snapshot_parse(pg_text(result, 0, 0), &worker->arena, &worker->snapshot) ||
                                !pg_lsn_parse(pg_text(result, 0, 1), &worker->flush_lsn)))
        status = banyan_error_set(err, BANYAN_PROTOCOL, "the server told a snapshot that cannot be read");
    pg_result_free(result);
    return status;
}

static enum banyan_status read_tables(struct worker *worker, struct banyan_error *err)
{
    const struct legacy_tables *tables = &worker->legacy->tables[worker->mapping];
    enum banyan_status status = begin_snapshot(worker, err);
    worker->read_at = os_clock_now(os_clock_real());
    backfill_rows_init(&worker->rows, tables, &worker->arena);
    for (size_t i = 0; status == BANYAN_OK && i < tables->count; i++)
        status = backfill_rows_read(&worker->rows, i, worker->conn, worker->chunk.lo, worker->chunk.hi, err);
    if (status == BANYAN_OK)
        status = pg_run(worker->conn, "COMMIT", err);
    return status;
}

/* ---- map ---- */

static struct mapper *mapper_of(struct worker *worker)
{
    const struct legacy *legacy = worker->legacy;
    struct mapper **mapper = &worker->mappers[worker->mapping];
    if (*mapper == NULL)
        *mapper = mapper_new(&(struct mapper_options){.domain = legacy->options.domain,
                                                      .mapping = worker->mapping,
                                                      .store = legacy->options.store,
                                                      .source_id = legacy->source_id});
    return *mapper;
}

static enum banyan_status map_rows(struct worker *worker, struct banyan_error *err)
{
    struct mapper *mapper = mapper_of(worker);
    struct mapper_origin origin = {.time = worker->read_at};
    struct banyan_history history;
    enum banyan_status status = BANYAN_OK;
    /* Room for one and a half events a row: mostly enough, also for what legacy_chunk_commit() adds; what is not used
     * is never touched. */
    struct mapper_events *events = &worker->events;
    *events = (struct mapper_events){.capacity = worker->rows.row_count * 3 / 2 + 1,
                                     .span_capacity = worker->rows.tables[0].count + 1};
    events->items = banyan_arena_alloc(&worker->arena, events->capacity * sizeof(*events->items));
    events->spans = banyan_arena_alloc(&worker->arena, events->span_capacity * sizeof(*events->spans));
    while (status == BANYAN_OK && backfill_rows_next(&worker->rows, &history))
        status = mapper_history(mapper, &history, &origin, &worker->arena, events, err);
    return status;
}

/* ---- flush: barrier 2 ---- */

static enum banyan_status flushed_lsn(struct worker *worker, uint64_t *ret, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status status =
        pg_exec(worker->conn, "SELECT pg_catalog.pg_current_wal_flush_lsn()::text", NULL, 0, &result, err);
    if (status == BANYAN_OK && !pg_lsn_parse(pg_text(result, 0, 0), ret))
        status = banyan_error_set(err, BANYAN_PROTOCOL, "the server told a WAL position that cannot be read");
    pg_result_free(result);
    return status;
}

/* A commit of our own flushes everything before it; by then the background writer has often done it. */
static enum banyan_status wait_flushed(struct worker *worker, struct banyan_error *err)
{
    struct os_retry retry = {.first_us = 1000, .pause_us_max = 100 * 1000};
    for (;;) {
        uint64_t lsn = 0;
        enum banyan_status status = flushed_lsn(worker, &lsn, err);
        if (status != BANYAN_OK || lsn >= worker->flush_lsn)
            return status;
        status = pg_exec(worker->conn, "SELECT pg_catalog.pg_logical_emit_message(true, 'banyan-flush', '')", NULL, 0,
                         NULL, err);
        if (status == BANYAN_OK)
            status = flushed_lsn(worker, &lsn, err);
        if (status != BANYAN_OK || lsn >= worker->flush_lsn)
            return status;
        if (!os_retry_pause(&retry, worker->legacy->options.stop))
            return banyan_error_set(err, BANYAN_STOPPED, "stopped while waiting for the server's WAL to be flushed");
    }
}

/* ---- one chunk ---- */

static void count_chunk(struct worker *worker)
{
    struct legacy *legacy = worker->legacy;
    int64_t now = os_clock_monotonic_us(os_clock_real());
    pthread_mutex_lock(&legacy->shared.lock);
    struct legacy_status *status = &legacy->shared.status;
    struct backfill_rate *rate = &legacy->shared.rate;
    struct legacy_mapping_status *mapping = &status->mappings[worker->mapping];
    status->roots_read += worker->rows.tables[0].count;
    status->rows_read += worker->rows.row_count;
    mapping->roots_read += worker->rows.tables[0].count;
    mapping->rows_read += worker->rows.row_count;
    if (rate->newer_us == 0)
        rate->older_us = rate->newer_us = legacy->shared.started_us;
    if (now - rate->newer_us >= RATE_WINDOW_US) {
        rate->older_us = rate->newer_us;
        rate->older_roots = rate->newer_roots;
        rate->newer_us = now;
        rate->newer_roots = status->roots_read;
    }
    int64_t since = now - rate->older_us;
    if (since > 0)
        status->roots_per_second = (double)(status->roots_read - rate->older_roots) * 1e6 / (double)since;
    pthread_mutex_unlock(&legacy->shared.lock);
}

/* One chunk from its taking to its commit; *ret_any false: nothing was unread. */
static enum banyan_status work_chunk(struct worker *worker, bool *ret_any, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    *ret_any = true;
    banyan_arena_reset_keeping(&worker->arena, ARENA_BYTES_KEPT);
    if (worker->conn == NULL)
        status = connect_worker(worker, err);
    if (status == BANYAN_OK)
        status = take_chunk(worker, ret_any, err);
    if (status != BANYAN_OK || !*ret_any)
        return status;
    status = read_tables(worker, err);
    if (status == BANYAN_OK)
        status = map_rows(worker, err);
    if (status == BANYAN_OK)
        status = wait_flushed(worker, err);
    if (status != BANYAN_OK)
        return status;
    worker->has_chunk = false;
    worker->committing = true;
    status = legacy_chunk_commit(worker->legacy, worker->mapping, &worker->chunk, &worker->snapshot, &worker->events,
                                 &worker->arena, err);
    if (status != BANYAN_OK)
        return status;
    worker->committing = false;
    count_chunk(worker);
    return BANYAN_OK;
}

/* True: try again. */
static bool failed(struct worker *worker, struct os_retry *retry, const struct banyan_error *failure)
{
    struct legacy *legacy = worker->legacy;
    give_chunk_back(worker);
    pg_close(worker->conn);
    worker->conn = NULL;
    if (failure->status == BANYAN_STOPPED || legacy_ending(legacy))
        return false;
    if (!worker->committing && banyan_status_class(failure->status) == BANYAN_CLASS_RETRY) {
        legacy_retrying(legacy, failure);
        return os_retry_pause(retry, legacy->options.stop) && !legacy_ending(legacy);
    }
    legacy_fail(legacy, failure);
    return false;
}

void backfill_worker(void *argument)
{
    struct legacy *legacy = argument;
    struct worker worker = {.legacy = legacy, .sql = BANYAN_BUF_INIT(SQL_BYTES_MAX)};
    struct os_retry retry = {.first_us = RETRY_FIRST_US, .pause_us_max = RETRY_US_MAX};
    bool any = true, retrying = false;
    worker.mappers = alloc_zeroed(legacy->mapping_count, sizeof(struct mapper *));
    while (any && !legacy_ending(legacy)) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status status = work_chunk(&worker, &any, &err);
        if (status == BANYAN_OK) {
            if (retrying)
                legacy_working(legacy);
            retrying = false;
            os_retry_reset(&retry);
            continue;
        }
        retrying = any = failed(&worker, &retry, &err);
    }
    give_chunk_back(&worker);
    pg_close(worker.conn);
    for (size_t m = 0; m < legacy->mapping_count; m++)
        mapper_free(worker.mappers[m]);
    free(worker.mappers);
    banyan_buf_release(&worker.sql);
    banyan_arena_release(&worker.arena);
}
