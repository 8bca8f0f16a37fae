/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watcher: a small connection that looks at the server every now and then.
 *
 *   while chunks are unread   a snapshot every 30 ms: held changes that it sees need not be held (whoever reads their
 *                             chunk later finds them in the rows)
 *   when all are read         BackfillCompleted; then the retirement: once a snapshot P has no running transaction
 *                             older than the newest chunk, and the stream has passed a position taken after P,
 *                             everything that still comes is newer than every chunk, and applies
 *   always                    heartbeats, so that the slot of an idle or filtered database moves; the slot's health
 *
 * Thread: its own; see legacy_int.h for the locks.
 */
#include <string.h>

#include "legacy/legacy_int.h"
#include "legacy/records.h"
#include "legacy/source.h"
#include "os/clock.h"
#include "os/retry.h"

enum {
    POLL_US = 30 * 1000,
    POLL_IDLE_US = 100 * 1000,
    HEALTH_US = 1000 * 1000,
    RETRY_FIRST_US = 100 * 1000,
    RETRY_US_MAX = 5 * 1000 * 1000,
    UNCONFIRMED_BYTES_MAX = 16 * 1024 * 1024,
    SAFE_BYTES_MIN = 256 * 1024 * 1024,
    XMIN_AGE_MAX = 200 * 1000 * 1000,
};

struct watcher {
    struct legacy *legacy;
    struct pg_conn *conn;
    struct banyan_arena arena; /* of one turn */
    int64_t health_at_us, heartbeat_at_us;
    uint64_t heartbeat_lsn; /* of the last one that was sent */
    bool retiring;          /* waiting for the stream to pass *retire_lsn* */
    uint64_t retire_lsn;
    struct banyan_arena retire_arena;
    struct pg_snapshot retire_snapshot;
};

static enum banyan_status heartbeat(struct watcher *w, struct banyan_error *err)
{
    w->heartbeat_at_us = os_clock_monotonic_us(os_clock_real());
    return source_emit(w->conn, "banyan.heartbeat", w->legacy->options.name, &w->heartbeat_lsn, err);
}

/* ---- hand-over ---- */

static enum banyan_status complete_backfill(struct watcher *w, struct banyan_error *err)
{
    struct legacy *legacy = w->legacy;
    struct banyan_buf json = BANYAN_BUF_INIT(RECORDS_JSON_BYTES_MAX);
    struct pg_snapshot snapshot;
    uint64_t lsn = 0;
    /* Asked again: the position must lie behind those of all chunks, and the last one has only just ended. */
    enum banyan_status status = source_snapshot(w->conn, &w->arena, &snapshot, &lsn, err);
    if (status != BANYAN_OK)
        return status;
    records_lsn(lsn, &json);
    status = legacy_note(legacy, legacy->system_stream, "BackfillCompleted", banyan_buf_str(&json), 0, err);
    banyan_buf_release(&json);
    if (status != BANYAN_OK)
        return status;
    pthread_mutex_lock(&legacy->order);
    legacy->backfill_lsn = lsn;
    pthread_mutex_unlock(&legacy->order);
    pthread_mutex_lock(&legacy->shared.lock);
    legacy->shared.status.backfill_done = true;
    for (size_t m = 0; m < legacy->mapping_count; m++)
        legacy->shared.status.mappings[m].done = true;
    legacy->shared.status.backfill_us = os_clock_monotonic_us(os_clock_real()) - legacy->shared.started_us;
    legacy->shared.stopping |= legacy->options.backfill_only;
    if (!legacy->shared.failed && legacy->shared.status.state != LEGACY_RETRYING)
        legacy->shared.status.state = legacy->options.backfill_only ? LEGACY_STOPPED : LEGACY_CAPTURING;
    pthread_cond_broadcast(&legacy->shared.changed);
    pthread_mutex_unlock(&legacy->shared.lock);
    return BANYAN_OK;
}

/* Take P and a position behind it; when the stream has passed that, try to retire with P. */
static enum banyan_status retire(struct watcher *w, const struct pg_snapshot *snapshot, uint64_t lsn,
                                 struct banyan_error *err)
{
    struct legacy *legacy = w->legacy;
    if (!w->retiring) {
        banyan_arena_reset(&w->retire_arena);
        uint64_t *xip = banyan_arena_alloc(&w->retire_arena, (snapshot->xip_count + 1) * sizeof(*xip));
        if (snapshot->xip_count > 0)
            memcpy(xip, snapshot->xip, snapshot->xip_count * sizeof(*xip));
        w->retire_snapshot = (struct pg_snapshot){snapshot->xmin, snapshot->xmax, xip, snapshot->xip_count};
        w->retire_lsn = lsn;
        w->retiring = true;
        return heartbeat(w, err);
    }
    pthread_mutex_lock(&legacy->order);
    if (legacy->processed_lsn >= w->retire_lsn) {
        bool all = true; /* each for itself: a mapping that came late retires late */
        for (size_t m = 0; m < legacy->mapping_count; m++)
            all &= handover_retire(legacy->mappings[m].handover, &w->retire_snapshot);
        legacy->retired = all;
        w->retiring = false;
    }
    pthread_mutex_unlock(&legacy->order);
    return BANYAN_OK;
}

static enum banyan_status poll_handover(struct watcher *w, struct banyan_error *err)
{
    struct legacy *legacy = w->legacy;
    struct pg_snapshot snapshot;
    uint64_t lsn = 0;
    enum banyan_status status = source_snapshot(w->conn, &w->arena, &snapshot, &lsn, err);
    if (status != BANYAN_OK)
        return status;
    pthread_mutex_lock(&legacy->order);
    for (size_t m = 0; m < legacy->mapping_count; m++)
        handover_poll(legacy->mappings[m].handover, &snapshot);
    if (snapshot.xmax > legacy->xid_reference)
        legacy->xid_reference = snapshot.xmax;
    bool complete = legacy_complete(legacy);
    bool noted = legacy->backfill_lsn != 0;
    pthread_mutex_unlock(&legacy->order);
    pthread_mutex_lock(&legacy->shared.lock);
    legacy->shared.polls++;
    pthread_cond_broadcast(&legacy->shared.changed);
    pthread_mutex_unlock(&legacy->shared.lock);
    if (!complete)
        return BANYAN_OK;
    return noted ? retire(w, &snapshot, lsn, err) : complete_backfill(w, err);
}

/* ---- the source's health ---- */

/* The slot's state in words that an operator can act upon; false when all is well. */
static bool danger(const struct pg_slot *slot, struct banyan_error *ret)
{
    if (banyan_str_equal(slot->wal_status, BANYAN_STR("lost"))) {
        banyan_error_set(ret, BANYAN_SLOT, "the server has removed WAL that was not captured yet");
        banyan_error_hint(ret, "begin anew with another source name and slot, with a larger max_slot_wal_keep_size");
    } else if (banyan_str_equal(slot->wal_status, BANYAN_STR("unreserved"))) {
        banyan_error_set(ret, BANYAN_SLOT,
                         "the server will remove WAL that was not captured yet at its next checkpoint");
        banyan_error_hint(ret, "raise max_slot_wal_keep_size now, and find out what holds capture up");
    } else if (slot->safe_bytes >= 0 && slot->safe_bytes < SAFE_BYTES_MIN) {
        banyan_error_set(ret, BANYAN_SLOT, "after %lld more bytes of WAL the slot is lost",
                         (long long)slot->safe_bytes);
        banyan_error_hint(ret, "raise max_slot_wal_keep_size, and find out what holds capture up");
    } else if (slot->catalog_xmin_age > XMIN_AGE_MAX) {
        banyan_error_set(ret, BANYAN_SLOT, "the slot holds back the catalog's vacuum by %lld transactions",
                         (long long)slot->catalog_xmin_age);
        banyan_error_hint(ret, "find out what holds capture up");
    } else
        return false;
    return true;
}

static enum banyan_status look_at_slot(struct watcher *w, struct banyan_error *err)
{
    struct legacy *legacy = w->legacy;
    struct pg_slot slot;
    struct banyan_error alarm = BANYAN_ERROR_INIT;
    struct pg_result *result = NULL;
    uint64_t server_lsn = 0;
    enum banyan_status status = pg_slot_read(w->conn, banyan_str_of(legacy->options.slot), &w->arena, &slot, err);
    if (status == BANYAN_OK)
        status = pg_exec(w->conn, "SELECT pg_catalog.pg_current_wal_insert_lsn()", NULL, 0, &result, err);
    if (status == BANYAN_OK && !pg_lsn_parse(pg_text(result, 0, 0), &server_lsn))
        status = banyan_error_set(err, BANYAN_PROTOCOL, "the server's position is not readable");
    pg_result_free(result);
    if (status != BANYAN_OK || !slot.exists)
        return status; /* a slot that is gone is found by capture, which fails with the reason */
    bool alarmed = danger(&slot, &alarm);
    pthread_mutex_lock(&legacy->shared.lock);
    struct legacy_status *shown = &legacy->shared.status;
    size_t size =
        slot.wal_status.size < sizeof(shown->wal_status) ? slot.wal_status.size : sizeof(shown->wal_status) - 1;
    memcpy(shown->wal_status, slot.wal_status.data == NULL ? "" : slot.wal_status.data, size);
    shown->wal_status[size] = '\0';
    shown->kept_bytes = slot.kept_bytes;
    shown->safe_bytes = slot.safe_bytes;
    if (server_lsn > shown->server_lsn)
        shown->server_lsn = server_lsn;
    if (alarmed)
        shown->error = alarm;
    else if (shown->alarm && !legacy->shared.failed && shown->state != LEGACY_RETRYING)
        banyan_error_clear(&shown->error);
    shown->alarm = alarmed;
    uint64_t confirmed = shown->confirmed_lsn;
    pthread_mutex_unlock(&legacy->shared.lock);
    /* One heartbeat on its way is enough: it moves everything before it. */
    bool moved = confirmed >= w->heartbeat_lsn;
    bool due = os_clock_monotonic_us(os_clock_real()) - w->heartbeat_at_us >= legacy->options.heartbeat_us;
    if (due || (moved && server_lsn > confirmed && server_lsn - confirmed > UNCONFIRMED_BYTES_MAX))
        return heartbeat(w, err);
    return BANYAN_OK;
}

/* ---- the thread ---- */

static enum banyan_status turn(struct watcher *w, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    banyan_arena_reset(&w->arena);
    pthread_mutex_lock(&w->legacy->order);
    bool retired = w->legacy->retired;
    pthread_mutex_unlock(&w->legacy->order);
    if (!retired)
        status = poll_handover(w, err);
    int64_t now = os_clock_monotonic_us(os_clock_real());
    if (status == BANYAN_OK && now >= w->health_at_us) {
        status = look_at_slot(w, err);
        w->health_at_us = now + HEALTH_US;
    }
    if (status == BANYAN_OK)
        (void)os_stop_wait(w->legacy->options.stop, retired ? POLL_IDLE_US : POLL_US); /* stopped or not: look again */
    return status;
}

static enum banyan_status session(struct watcher *w, struct os_retry *retry, struct banyan_error *err)
{
    enum banyan_status status = source_connect(w->legacy, false, &w->conn, err);
    while (status == BANYAN_OK && !legacy_ending(w->legacy)) {
        status = turn(w, err);
        if (status == BANYAN_OK)
            os_retry_reset(retry);
    }
    pg_close(w->conn);
    w->conn = NULL;
    return status;
}

void poll_main(void *argument)
{
    struct legacy *legacy = argument;
    struct watcher w = {.legacy = legacy, .heartbeat_at_us = os_clock_monotonic_us(os_clock_real())};
    struct os_retry retry = {.first_us = RETRY_FIRST_US, .pause_us_max = RETRY_US_MAX};
    while (!legacy_ending(legacy)) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status status = session(&w, &retry, &err);
        if (status == BANYAN_OK || legacy_ending(legacy))
            break;
        banyan_error_context(&err, "watching the source");
        if (banyan_status_class(status) == BANYAN_CLASS_RETRY)
            (void)os_retry_pause(&retry, legacy->options.stop); /* stopped: the loop sees it */
        else
            legacy_fail(legacy, &err);
    }
    banyan_arena_release(&w.arena);
    banyan_arena_release(&w.retire_arena);
}
