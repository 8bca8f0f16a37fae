/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start, stop, figures: the life of a source.
 *
 *   start:  connect ─▶ tables, publication ─▶ what does the log say?
 *             ├─ nothing:  SlotCreating (durable) ─▶ slot ─▶ barrier ─▶ HandoverStarted with the cursor (durable)
 *             └─ begun:    prove system, slot and position; a mapping that the log does not know: wait until all that
 * is open has ended ─▶ MappingStarted (durable), its keys are unread ─▶ threads: workers (unless the backfill is done),
 * watcher, capture
 *
 *   a crash after SlotCreating leaves a slot that is ours: the next start drops it and makes a new one
 *   a crash after HandoverStarted loses nothing: the slot holds everything behind the cursor
 *
 * Thread note: legacy->shared.lock guards figures and ends; it is the innermost lock and never held during a call out
 * of this file.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "legacy/conflict.h"
#include "legacy/legacy_int.h"
#include "legacy/records.h"
#include "legacy/recovery.h"
#include "legacy/source.h"
#include "legacy/spool.h"
#include "os/clock.h"

enum {
    CHUNK_ROWS = 10000,
    WORKERS = 2,
    HEARTBEAT_US = 10 * 1000 * 1000,
    LOCK_TIMEOUT_US = 10 * 1000 * 1000,
    SPOOL_MEMORY_BYTES = 8 * 1024 * 1024,
    NAME_BYTES_MAX = 56, /* application_name has 63, with "banyan/" in front */
};

/* ---- figures and ends ---- */

static void set_state(struct legacy *legacy, enum legacy_state state)
{
    legacy->shared.status.state = state;
    pthread_cond_broadcast(&legacy->shared.changed);
}

void legacy_fail(struct legacy *legacy, const struct banyan_error *err)
{
    pthread_mutex_lock(&legacy->shared.lock);
    if (!legacy->shared.failed) {
        legacy->shared.failed = true;
        legacy->shared.status.error = *err;
        set_state(legacy, LEGACY_FAILED);
    }
    pthread_mutex_unlock(&legacy->shared.lock);
}

bool legacy_ending(struct legacy *legacy)
{
    pthread_mutex_lock(&legacy->shared.lock);
    bool ending = legacy->shared.failed || legacy->shared.stopping;
    pthread_mutex_unlock(&legacy->shared.lock);
    return ending || os_stop_requested(legacy->options.stop);
}

void legacy_retrying(struct legacy *legacy, const struct banyan_error *err)
{
    pthread_mutex_lock(&legacy->shared.lock);
    if (!legacy->shared.failed && !legacy->shared.stopping) {
        legacy->shared.status.error = *err;
        set_state(legacy, LEGACY_RETRYING);
    }
    pthread_mutex_unlock(&legacy->shared.lock);
}

void legacy_working(struct legacy *legacy)
{
    pthread_mutex_lock(&legacy->shared.lock);
    if (!legacy->shared.failed && !legacy->shared.stopping) {
        banyan_error_clear(&legacy->shared.status.error);
        set_state(legacy, legacy->shared.status.backfill_done ? LEGACY_CAPTURING : LEGACY_BACKFILLING);
    }
    pthread_mutex_unlock(&legacy->shared.lock);
}

static int compare_us(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

void legacy_status(struct legacy *legacy, struct legacy_status *ret)
{
    int64_t *lags = alloc_zeroed(LEGACY_LAGS_MAX, sizeof(*lags));
    pthread_mutex_lock(&legacy->shared.lock);
    *ret = legacy->shared.status;
    size_t count = legacy->shared.lag_count;
    memcpy(lags, legacy->shared.lags_us, count * sizeof(*lags));
    if (!ret->backfill_done && legacy->shared.started_us != 0)
        ret->backfill_us = os_clock_monotonic_us(os_clock_real()) - legacy->shared.started_us;
    pthread_mutex_unlock(&legacy->shared.lock);
    if (count > 0) {
        qsort(lags, count, sizeof(*lags), compare_us);
        ret->lag_us_p50 = lags[count / 2];
        ret->lag_us_p99 = lags[count * 99 / 100];
    }
    free(lags);
    if (ret->backfill_done && ret->backfill_us > 0) /* until then: the rate of the last seconds */
        ret->roots_per_second = (double)ret->roots_read * 1e6 / (double)ret->backfill_us;
    ret->eta_us = INT64_MAX;
    if (ret->backfill_done)
        ret->eta_us = 0;
    else if (ret->roots_per_second > 0 && ret->rows_estimated >= ret->roots_read)
        ret->eta_us = (int64_t)((double)(ret->rows_estimated - ret->roots_read) * 1e6 / ret->roots_per_second);
    if (ret->server_lsn > ret->confirmed_lsn)
        ret->lag_bytes = ret->server_lsn - ret->confirmed_lsn;
}

enum banyan_status legacy_wait(struct legacy *legacy, uint64_t lsn, int64_t timeout_us, struct banyan_error *err)
{
    int64_t end = os_clock_monotonic_us(os_clock_real()) + timeout_us;
    enum banyan_status status = BANYAN_OK;
    pthread_mutex_lock(&legacy->shared.lock);
    while (legacy->shared.status.confirmed_lsn < lsn) {
        if (legacy->shared.failed) {
            status = legacy->shared.status.error.status;
            if (err != NULL)
                *err = legacy->shared.status.error;
            break;
        }
        if (legacy->shared.stopping || os_stop_requested(legacy->options.stop)) {
            status = banyan_error_set(err, BANYAN_STOPPED, "capture was stopped");
            break;
        }
        int64_t left = end - os_clock_monotonic_us(os_clock_real());
        if (left <= 0) {
            char wanted[PG_LSN_TEXT_SIZE], reached[PG_LSN_TEXT_SIZE];
            pg_lsn_format(lsn, wanted);
            pg_lsn_format(legacy->shared.status.confirmed_lsn, reached);
            status = banyan_error_set(err, BANYAN_TIMEOUT, "capture has reached %s, %s is wanted", reached, wanted);
            break;
        }
        (void)os_cond_wait(&legacy->shared.changed, &legacy->shared.lock, left > 100000 ? 100000 : left);
    }
    pthread_mutex_unlock(&legacy->shared.lock);
    return status;
}

uint64_t legacy_cursor_lsn(struct store_cursor cursor)
{
    static const char mark[] = "\"lsn\":\"";
    uint64_t lsn;
    if (cursor.value.data == NULL)
        return 0;
    const char *place = memmem(cursor.value.data, cursor.value.size, mark, sizeof(mark) - 1);
    if (place == NULL)
        return 0;
    place += sizeof(mark) - 1;
    const char *end = memchr(place, '"', (size_t)(cursor.value.data + cursor.value.size - place));
    if (end == NULL || !pg_lsn_parse((struct banyan_str){place, (size_t)(end - place)}, &lsn))
        return 0;
    return lsn;
}

/* ---- mappings ---- */

bool legacy_complete(const struct legacy *legacy)
{
    for (size_t m = 0; m < legacy->mapping_count; m++)
        if (!handover_complete(legacy->mappings[m].handover))
            return false;
    return true;
}

size_t legacy_mapping_of(const struct legacy *legacy, struct banyan_str category)
{
    size_t m = 0;
    while (category.size > 0 && m < legacy->mapping_count && !banyan_str_equal(legacy->mappings[m].category, category))
        m++;
    return m;
}

static void make_mappings(struct legacy *legacy)
{
    const struct banyan_domain *domain = legacy->options.domain;
    struct legacy_status *status = &legacy->shared.status;
    legacy->mapping_count = status->mapping_count = domain->mapping_count;
    legacy->mappings = alloc_zeroed(legacy->mapping_count, sizeof(*legacy->mappings));
    legacy->tables = alloc_zeroed(legacy->mapping_count, sizeof(*legacy->tables));
    for (size_t m = 0; m < legacy->mapping_count; m++) {
        const char *category = domain->mappings[m].aggregate->category;
        legacy->mappings[m] = (struct legacy_mapping){
            .spec = &domain->mappings[m], .category = banyan_str_of(category), .handover = handover_new()};
        status->mappings[m].category = category;
    }
}

static void make_mappers(struct legacy *legacy)
{
    for (size_t m = 0; m < legacy->mapping_count; m++)
        legacy->mappings[m].mapper = mapper_new(&(struct mapper_options){.domain = legacy->options.domain,
                                                                         .mapping = m,
                                                                         .store = legacy->options.store,
                                                                         .source_id = legacy->source_id});
}

static void free_mappings(struct legacy *legacy)
{
    for (size_t m = 0; m < legacy->mapping_count; m++) {
        mapper_free(legacy->mappings[m].mapper);
        handover_free(legacy->mappings[m].handover);
    }
    free(legacy->mappings);
    free(legacy->tables);
}

/* ---- making ---- */

static enum banyan_status check_mappings(const struct banyan_domain *domain, struct banyan_error *err)
{
    static_assert(LEGACY_MAPPINGS_MAX <= (int)ROW_CHANGE_MAPPINGS_MAX, "stored changes can name each mapping");
    if (domain->mapping_count == 0)
        return banyan_error_set(err, BANYAN_CONFIG, "domain %s has no legacy mapping", domain->name);
    if (domain->mapping_count > LEGACY_MAPPINGS_MAX)
        return banyan_error_set(err, BANYAN_INVALID, "domain %s has %zu legacy mappings; %d are possible", domain->name,
                                domain->mapping_count, LEGACY_MAPPINGS_MAX);
    for (size_t m = 1; m < domain->mapping_count; m++)
        for (size_t i = 0; i < m; i++)
            if (strcmp(domain->mappings[m].aggregate->category, domain->mappings[i].aggregate->category) == 0)
                return banyan_error_set(err, BANYAN_INVALID, "domain %s has two legacy mappings for category %s",
                                        domain->name, domain->mappings[m].aggregate->category);
    return BANYAN_OK;
}

static enum banyan_status check_options(const struct legacy_options *options, struct banyan_error *err)
{
    assert(options->domain != NULL && options->store != NULL && options->stop != NULL);
    enum banyan_status status = check_mappings(options->domain, err);
    if (status != BANYAN_OK)
        return status;
    if (options->name == NULL || options->name[0] == '\0' || strlen(options->name) > NAME_BYTES_MAX)
        return banyan_error_set(err, BANYAN_CONFIG, "a source needs a name of at most %d bytes", NAME_BYTES_MAX);
    if (options->slot == NULL || options->publication == NULL || options->spool_folder == NULL)
        return banyan_error_set(err, BANYAN_CONFIG, "source %s needs a slot, a publication and a spool folder",
                                options->name);
    if (options->workers > LEGACY_WORKERS_MAX)
        return banyan_error_set(err, BANYAN_CONFIG, "source %s: at most %d workers", options->name, LEGACY_WORKERS_MAX);
    return BANYAN_OK;
}

static struct legacy *legacy_new(const struct legacy_options *options)
{
    struct legacy *legacy = alloc_zeroed(1, sizeof(*legacy));
    legacy->options = *options;
    struct legacy_options *o = &legacy->options;
    if (o->chunk_rows == 0)
        o->chunk_rows = CHUNK_ROWS;
    if (o->workers == 0)
        o->workers = WORKERS;
    if (o->heartbeat_us == 0)
        o->heartbeat_us = HEARTBEAT_US;
    if (o->lock_timeout_us == 0)
        o->lock_timeout_us = LOCK_TIMEOUT_US;
    if (o->spool_memory_bytes == 0)
        o->spool_memory_bytes = SPOOL_MEMORY_BYTES;
    legacy->system_stream = banyan_arena_printf(&legacy->arena, "$legacy-%s", o->name);
    legacy->held_stream = banyan_arena_printf(&legacy->arena, "$held-%s", o->name);
    legacy->fence_stream = banyan_arena_printf(&legacy->arena, "$fence-%s", o->name);
    legacy->conflict_stream = conflict_stream(o->name, &legacy->arena);
    legacy->cursor_name = banyan_arena_printf(&legacy->arena, "legacy/%s", o->name);
    legacy->application_name = banyan_arena_printf(&legacy->arena, "banyan/%s", o->name);
    make_mappings(legacy);
    pthread_mutex_init(&legacy->plan, NULL);
    pthread_mutex_init(&legacy->order, NULL);
    pthread_mutex_init(&legacy->shared.lock, NULL);
    os_cond_init(&legacy->shared.changed);
    legacy->shared.lags_us = alloc_zeroed(LEGACY_LAGS_MAX, sizeof(int64_t));
    legacy->shared.status.state = LEGACY_CONNECTING;
    return legacy;
}

static void legacy_free(struct legacy *legacy)
{
    free_mappings(legacy);
    pthread_mutex_destroy(&legacy->plan);
    pthread_mutex_destroy(&legacy->order);
    pthread_mutex_destroy(&legacy->shared.lock);
    pthread_cond_destroy(&legacy->shared.changed);
    free(legacy->shared.lags_us);
    banyan_arena_release(&legacy->arena);
    free(legacy);
}

/* ---- starting ---- */

static enum banyan_status note_json(struct legacy *legacy, const char *type, struct banyan_buf *json,
                                    uint64_t cursor_lsn, struct banyan_error *err)
{
    enum banyan_status status = legacy_note(legacy, legacy->system_stream, type, banyan_buf_str(json), cursor_lsn, err);
    banyan_buf_release(json);
    return status;
}

/* capture_only: all keys count as read, and nothing was there: history begins behind the snapshot. */
static enum banyan_status skip_backfill(struct legacy *legacy, size_t at, const struct pg_snapshot *snapshot,
                                        struct banyan_error *err)
{
    struct banyan_buf json = BANYAN_BUF_INIT(RECORDS_JSON_BYTES_MAX);
    struct legacy_mapping *mapping = &legacy->mappings[at];
    if (handover_complete(mapping->handover))
        return BANYAN_OK;
    if (legacy->shared.status.mappings[at].chunks_done > 0)
        return banyan_error_set(err, BANYAN_CONFIG, "source %s has begun its backfill: it cannot go on without",
                                legacy->options.name);
    handover_chunk_restore(mapping->handover, INT64_MIN, INT64_MAX, snapshot);
    records_chunk_read(mapping->category, INT64_MIN, INT64_MAX, snapshot, &json);
    return note_json(legacy, "ChunkRead", &json, 0, err);
}

/*
 * Mappings that the log does not know: they came into the domain after the source had begun.  Exact for the reason of
 * the first barrier: a chunk read from now on sees every transaction that had begun when the wait began, so what it
 * does not see began later; its commit is behind the cursor, and its tables were published when it wrote.
 */
static enum banyan_status begin_new_mappings(struct legacy *legacy, struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_snapshot snapshot = {.xmin = 0};
    enum banyan_status status = BANYAN_OK;
    for (size_t m = 0; status == BANYAN_OK && m < legacy->mapping_count; m++) {
        struct legacy_mapping *mapping = &legacy->mappings[m];
        struct banyan_buf json = BANYAN_BUF_INIT(RECORDS_JSON_BYTES_MAX);
        if (mapping->begun)
            continue;
        if (snapshot.xmax == 0)
            status = source_wait_settled(legacy, conn, &legacy->arena, &snapshot, err);
        if (status == BANYAN_OK) {
            records_mapping_started(mapping->category, legacy->cursor_lsn, &snapshot, &json);
            status = note_json(legacy, "MappingStarted", &json, 0, err);
        }
        if (status == BANYAN_OK && legacy->options.capture_only)
            status = skip_backfill(legacy, m, &snapshot, err);
        mapping->begun = true;
        legacy->backfill_lsn = 0;
        legacy->shared.status.backfill_done = false;
        if (status != BANYAN_OK)
            banyan_error_context(err, "%s, a new mapping of source %s", mapping->category.data, legacy->options.name);
    }
    return status;
}

static enum banyan_status first_start(struct legacy *legacy, struct pg_conn *conn, struct pg_conn *replication,
                                      struct recovery *recovery, struct banyan_error *err)
{
    struct banyan_arena *arena = &legacy->arena;
    struct banyan_buf json = BANYAN_BUF_INIT(RECORDS_JSON_BYTES_MAX);
    struct pg_slot slot;
    bool leftover_is_ours = recovery->slot_creating;
    enum banyan_status status = pg_slot_read(conn, banyan_str_of(legacy->options.slot), arena, &slot, err);
    /* A slot of somebody else's must not become ours by our saying so. */
    if (status == BANYAN_OK && !leftover_is_ours && !slot.exists) {
        records_slot_creating(legacy, &json);
        status = note_json(legacy, "SlotCreating", &json, 0, err);
    }
    if (status == BANYAN_OK)
        status = source_slot_create(legacy, conn, replication, leftover_is_ours, arena, &recovery->snapshot, err);
    if (status != BANYAN_OK)
        goto out;
    legacy->cursor_front = records_cursor_front(legacy, &legacy->arena);
    legacy->cursor_lsn = legacy->processed_lsn = legacy->consistent_lsn;
    legacy->xid_reference = recovery->snapshot.xmax;
    records_handover_started(legacy, &recovery->snapshot, &json);
    status = note_json(legacy, "HandoverStarted", &json, legacy->cursor_lsn, err);
out:
    banyan_buf_release(&json);
    return status;
}

static enum banyan_status check_primary(struct pg_conn *conn, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    enum banyan_status status = pg_exec(conn, "SELECT pg_catalog.pg_is_in_recovery()", NULL, 0, &result, err);
    if (status == BANYAN_OK && pg_bool(result, 0, 0)) {
        status = banyan_error_set(err, BANYAN_SETTING, "the server is a standby");
        banyan_error_hint(err, "connect to its primary");
    }
    pg_result_free(result);
    return status;
}

static enum banyan_status identify(struct legacy *legacy, struct pg_conn *replication, struct banyan_error *err)
{
    struct pg_system system;
    enum banyan_status status = pg_identify(replication, &legacy->arena, &system, err);
    if (status != BANYAN_OK)
        return status;
    legacy->system_id = system.id;
    legacy->timeline = system.timeline;
    return BANYAN_OK;
}

static enum banyan_status resolve_tables(struct legacy *legacy, struct pg_conn *conn, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    for (size_t m = 0; status == BANYAN_OK && m < legacy->mapping_count; m++)
        status = legacy_tables_resolve(conn, legacy->mappings[m].spec, &legacy->tables[m], err);
    return status;
}

/* Everything that needs the server once: afterwards the threads connect for themselves. */
static enum banyan_status prepare(struct legacy *legacy, struct banyan_error *err)
{
    struct pg_conn *conn = NULL, *replication = NULL;
    struct recovery recovery;
    enum banyan_status status = spool_clean(legacy->options.spool_folder, err);
    if (status == BANYAN_OK)
        status = recovery_run(legacy, &recovery, err);
    if (status == BANYAN_OK)
        status = source_connect(legacy, false, &conn, err);
    if (status == BANYAN_OK)
        status = check_primary(conn, err);
    if (status == BANYAN_OK)
        status = source_connect(legacy, true, &replication, err);
    if (status == BANYAN_OK)
        status = recovery.handover_started ? source_prove_system(legacy, replication, err)
                                           : identify(legacy, replication, err);
    if (status == BANYAN_OK)
        status = resolve_tables(legacy, conn, err);
    /* Before anything is made at the server: a refusal leaves nothing there. */
    if (status == BANYAN_OK && !recovery.handover_started)
        status = source_slot_free(legacy, conn, recovery.slot_creating, err);
    if (status == BANYAN_OK)
        status = source_publication(legacy, conn, err);
    if (status != BANYAN_OK)
        goto out;
    if (recovery.handover_started) {
        legacy->cursor_front = records_cursor_front(legacy, &legacy->arena);
        status = source_prove_slot(legacy, conn, legacy->cursor_lsn, err);
        if (status == BANYAN_OK)
            status = begin_new_mappings(legacy, conn, err);
    } else
        status = first_start(legacy, conn, replication, &recovery, err);
    for (size_t m = 0; status == BANYAN_OK && legacy->options.capture_only && m < legacy->mapping_count; m++)
        status = skip_backfill(legacy, m, &recovery.snapshot, err);
out:
    pg_close(replication);
    pg_close(conn);
    return status;
}

static void start_threads(struct legacy *legacy)
{
    static const char *const worker_name = "legacy-backfill";
    bool unread = !legacy_complete(legacy);
    struct legacy_status *status = &legacy->shared.status;
    for (size_t m = 0; m < legacy->mapping_count; m++)
        status->mappings[m].done = handover_complete(legacy->mappings[m].handover);
    legacy->shared.started_us = os_clock_monotonic_us(os_clock_real());
    status->confirmed_lsn = status->applied_lsn = status->received_lsn = legacy->cursor_lsn;
    status->xid = legacy->xid_reference;
    status->state = status->backfill_done ? LEGACY_CAPTURING : LEGACY_BACKFILLING;
    for (unsigned i = 0; unread && i < legacy->options.workers; i++)
        os_thread_start(&legacy->workers[i], worker_name, backfill_worker, legacy);
    os_thread_start(&legacy->watcher, "legacy-watch", poll_main, legacy);
    os_thread_start(&legacy->capture, "legacy-capture", capture_main, legacy);
}

enum banyan_status legacy_start(const struct legacy_options *options, struct legacy **ret, struct banyan_error *err)
{
    enum banyan_status status = check_options(options, err);
    if (status != BANYAN_OK)
        return status;
    struct legacy *legacy = legacy_new(options);
    status = prepare(legacy, err);
    if (status != BANYAN_OK) {
        legacy_free(legacy);
        return status;
    }
    legacy->source_id = banyan_arena_printf(&legacy->arena, "%.*s/%s", (int)legacy->system_id.size,
                                            legacy->system_id.data, legacy->options.name);
    make_mappers(legacy);
    start_threads(legacy);
    *ret = legacy;
    return BANYAN_OK;
}

void legacy_stop(struct legacy *legacy)
{
    if (legacy == NULL)
        return;
    pthread_mutex_lock(&legacy->shared.lock);
    legacy->shared.stopping = true;
    if (!legacy->shared.failed)
        set_state(legacy, LEGACY_STOPPED);
    pthread_mutex_unlock(&legacy->shared.lock);
    for (unsigned i = 0; i < LEGACY_WORKERS_MAX; i++)
        os_thread_join(&legacy->workers[i]);
    os_thread_join(&legacy->watcher);
    os_thread_join(&legacy->capture);
    legacy_free(legacy);
}
