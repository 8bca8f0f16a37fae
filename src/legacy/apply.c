/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decides what happens to changes and chunks, and appends: the only place where the order lock is held for long.
 *
 * Invariants
 *   1. One legacy transaction is one append, with the cursor behind it.  What has an end at or before the cursor is
 *      never looked at again: positions of commits are the only ones that are compared.
 *   2. One chunk is one append: its rows' events, the changes that waited for them, and the fact that it was read.
 *   3. Held changes are in the log before anything acts on their being held.
 *   4. An append that failed leaves the memory (hand-over, cache) ahead of the log: nobody goes on after it, the whole
 *      source fails and recovers from the log at its next start.  A full disk is waited for instead.
 *   5. Capture is not the only writer of its streams: commands append, while Banyan is the owner.  What was decided
 *      carries the versions that it was decided on; where somebody was first, the states are forgotten and the
 *      transaction is mapped again, a large one when the server sends it again.
 *   6. A change of an aggregate that is not the legacy application's any more is told as a conflict, and not applied.
 *   7. A large transaction is mapped to a file first and appended from there, so that a mapping error cannot break off
 *      a half-written append.
 */
#include <assert.h>
#include <string.h>

#include "legacy/conflict.h"
#include "legacy/event_spool.h"
#include "legacy/legacy_int.h"
#include "legacy/records.h"
#include "legacy/relation.h"
#include "legacy/transaction.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/retry.h"

enum {
    DISK_PAUSE_FIRST_US = 100 * 1000,
    DISK_PAUSE_US_MAX = 2 * 1000 * 1000,
    EVENTS_FIRST = 64,
    POLL_WAIT_US = 500 * 1000,
    MAP_TRIES = 16, /* of one transaction, while others append to its streams */
};

struct apply {
    struct legacy *legacy;
    struct transaction *tx;
    struct banyan_arena *arena;
    struct mapper_origin origin;
    struct mapper_events events;
    struct spool *spool; /* where the events of a large transaction go; NULL: they stay in *events* */
    uint64_t appended;   /* events */
    uint64_t held, dropped, conflicts;
    uint64_t exact, inferred, reconciled;
};

/* ---- appending ---- */

static enum banyan_status submit(struct legacy *legacy, const struct store_append *append, struct store_appended *ret,
                                 struct banyan_error *err)
{
    struct os_retry retry = {.first_us = DISK_PAUSE_FIRST_US, .pause_us_max = DISK_PAUSE_US_MAX};
    bool waited = false;
    for (;;) {
        struct banyan_error failure = BANYAN_ERROR_INIT;
        enum banyan_status status = store_submit(legacy->options.store, append, ret, &failure);
        if (status == BANYAN_OK && waited)
            legacy_working(legacy);
        if (status == BANYAN_OK)
            return BANYAN_OK;
        if (status == BANYAN_NO_SPACE) {
            waited = true;
            legacy_retrying(legacy, &failure);
            if (os_retry_pause(&retry, legacy->options.stop) && !legacy_ending(legacy))
                continue;
        }
        if (err != NULL)
            *err = failure;
        return status;
    }
}

static struct store_event *push_event(struct mapper_events *events, struct banyan_arena *arena)
{
    if (events->count == events->capacity) {
        size_t capacity = events->capacity == 0 ? EVENTS_FIRST : 2 * events->capacity;
        struct store_event *items = banyan_arena_alloc(arena, capacity * sizeof(*items));
        if (events->count > 0)
            memcpy(items, events->items, events->count * sizeof(*items));
        events->items = items;
        events->capacity = capacity;
    }
    return &events->items[events->count++];
}

/* One of our own events; *payload* must live until the append. */
static void push_own(struct mapper_events *events, struct banyan_arena *arena, struct banyan_str stream,
                     struct banyan_str type, struct banyan_str payload)
{
    *push_event(events, arena) = (struct store_event){
        .id = os_uuid_new(),
        .stream = stream,
        .type = type,
        .provenance = BANYAN_EXACT,
        .at = os_clock_now(os_clock_real()),
        .payload = payload,
        .meta = BANYAN_STR(""),
    };
}

static struct banyan_str kept_json(struct banyan_buf *json, struct banyan_arena *arena)
{
    assert(!json->overflow);
    struct banyan_str kept = banyan_arena_str(arena, banyan_buf_str(json));
    banyan_buf_release(json);
    return kept;
}

static void count_events(struct legacy *legacy, const struct mapper_events *events)
{
    struct legacy_status *status = &legacy->shared.status;
    status->events_exact += events->exact;
    status->events_inferred += events->inferred;
    status->events_reconciled += events->reconciled;
}

/* ---- one group of changes: the changes of one key in one transaction ---- */

/* The row as it was before *rows[at]*, as far as it is known without the state; NULL: not known. */
static const void *root_row_before(const struct row_change *rows, size_t at)
{
    for (size_t i = at; i > 0; i--)
        if (rows[i - 1].table == 0)
            return rows[i - 1].kind == BANYAN_CHANGE_DELETE ? NULL : rows[i - 1].new_row;
    return NULL;
}

/* Large values that an UPDATE did not touch are not in the stream: take them from the row before.  *rows* are copies:
 * the row before may turn out not to be the newest, and then all of it is done again. */
static enum banyan_status fill_unchanged(struct legacy_mapping *mapping, int64_t key, struct row_change *rows,
                                         size_t at, struct banyan_arena *arena, struct banyan_error *err)
{
    const struct banyan_legacy_table *table = &mapping->spec->tables[rows[at].table];
    struct row_change *change = &rows[at];
    if (change->table == 0 && change->kind == BANYAN_CHANGE_UPDATE) {
        const void *before = root_row_before(rows, at);
        if (before == NULL) {
            void *row = banyan_arena_alloc(arena, table->row->size);
            bool exists = false;
            enum banyan_status status = mapper_row(mapping->mapper, key, arena, row, &exists, err);
            if (status != BANYAN_OK)
                return status;
            before = exists ? row : NULL;
        }
        if (before != NULL) {
            void *filled = banyan_arena_alloc(arena, table->row->size);
            memcpy(filled, change->new_row, table->row->size);
            change->new_row = filled;
            relations_fill(table->row, filled, &change->new_fields, before);
            return BANYAN_OK;
        }
    }
    banyan_error_set(err, BANYAN_TABLE,
                     "table %s, key %lld: the server did not send a large value that did not change, and it is not "
                     "known from before",
                     table->name, (long long)key);
    banyan_error_hint(err,
                      "ALTER TABLE %s REPLICA IDENTITY FULL makes the server send it; then start again with a "
                      "new slot and name",
                      table->name);
    return BANYAN_TABLE;
}

static enum banyan_status map_group(struct legacy_mapping *mapping, int64_t key, struct row_change *rows, size_t count,
                                    const struct mapper_origin *origin, struct banyan_arena *arena,
                                    struct mapper_events *events, struct banyan_error *err)
{
    bool copied = false;
    struct banyan_change *changes = banyan_arena_alloc(arena, count * sizeof(*changes));
    for (size_t i = 0; i < count; i++) {
        uint64_t all = row_change_all_fields(mapping->spec->tables[rows[i].table].row);
        if (rows[i].new_row != NULL && rows[i].new_fields != all) {
            if (!copied) {
                struct row_change *copies = banyan_arena_alloc(arena, count * sizeof(*copies));
                rows = memcpy(copies, rows, count * sizeof(*copies));
                copied = true;
            }
            enum banyan_status status = fill_unchanged(mapping, key, rows, i, arena, err);
            if (status != BANYAN_OK)
                return status;
        }
        changes[i] = (struct banyan_change){
            .kind = (enum banyan_change_kind)rows[i].kind,
            .table = rows[i].table,
            .old = rows[i].old_fields == all ? rows[i].old_row : NULL,
            .new = rows[i].new_row,
        };
    }
    uint64_t index = 0; /* with the commit position and the key the identity of an event */
    return mapper_changes(mapping->mapper, key, changes, count, origin, &index, arena, events, err);
}

static void hold_group(struct apply *apply, struct legacy_mapping *mapping, int64_t key, const struct row_change *rows,
                       size_t count)
{
    struct legacy *legacy = apply->legacy;
    struct banyan_buf encoded = BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        banyan_buf_reset(&encoded);
        records_held_encode(&apply->origin, mapping->spec, &rows[i], &encoded);
        struct banyan_str kept = banyan_arena_str(apply->arena, banyan_buf_str(&encoded));
        push_own(&apply->events, apply->arena, legacy->held_stream, BANYAN_STR("ChangeHeld"), kept);
        handover_hold(mapping->handover, apply->origin.xid, key, kept);
    }
    banyan_buf_release(&encoded);
}

/* ---- what is not the legacy application's ---- */

/* The fields that the stream told. */
static void add_told(struct banyan_buf *json, const char *name, const struct banyan_record *record, const void *row,
                     uint64_t fields)
{
    const char *before = "{";
    banyan_buf_printf(json, ",\"%s\":", name);
    if (row == NULL || fields == 0) {
        banyan_buf_add_text(json, "null");
        return;
    }
    for (size_t i = 0; i < record->field_count; i++) {
        if ((fields >> i & 1) == 0)
            continue;
        banyan_buf_printf(json, "%s\"%s\":", before, record->fields[i].name);
        banyan_field_json(&record->fields[i], row, json);
        before = ",";
    }
    banyan_buf_add_char(json, '}');
}

static void tell_conflict(struct apply *apply, const struct legacy_mapping *mapping, int64_t key,
                          const struct row_change *rows, size_t count)
{
    static const char *const kinds[] = {"", "insert", "update", "delete"};
    struct banyan_buf json = BANYAN_BUF_INIT(CONFLICT_JSON_BYTES_MAX);
    char lsn[PG_LSN_TEXT_SIZE];
    pg_lsn_format(apply->tx->end_lsn, lsn);
    conflict_begin(&json, mapping->category, key);
    banyan_buf_printf(&json, ",\"lsn\":\"%s\",\"xid\":%llu,\"changes\":[", lsn, (unsigned long long)apply->origin.xid);
    for (size_t i = 0; i < count; i++) {
        const struct banyan_legacy_table *table = &mapping->spec->tables[rows[i].table];
        banyan_buf_add_text(&json, i == 0 ? "{\"table\":" : ",{\"table\":");
        banyan_buf_add_json(&json, banyan_str_of(table->name));
        banyan_buf_printf(&json, ",\"kind\":\"%s\"", kinds[rows[i].kind]);
        add_told(&json, "old", table->row, rows[i].old_row, rows[i].old_fields);
        add_told(&json, "new", table->row, rows[i].new_row, rows[i].new_fields);
        banyan_buf_add_char(&json, '}');
    }
    banyan_buf_add_text(&json, "]}");
    if (json.overflow) { /* the rows are too large to be told */
        banyan_buf_release(&json);
        json = (struct banyan_buf)BANYAN_BUF_INIT(CONFLICT_JSON_BYTES_MAX);
        conflict_begin(&json, mapping->category, key);
        banyan_buf_printf(&json, ",\"lsn\":\"%s\",\"xid\":%llu}", lsn, (unsigned long long)apply->origin.xid);
    }
    *push_event(&apply->events, apply->arena) =
        conflict_event(apply->legacy->conflict_stream, "LegacyWrote", &json, apply->arena);
    banyan_buf_release(&json);
    apply->conflicts += count;
}

/* ---- large transactions ---- */

static enum banyan_status spool_events(struct apply *apply, struct banyan_error *err)
{
    const struct mapper_events *events = &apply->events;
    enum banyan_status status = BANYAN_OK;
    size_t span = 0;
    for (size_t i = 0; status == BANYAN_OK && i < events->count; i++) {
        bool first = span < events->span_count && events->spans[span].first == i;
        status = event_spool_add(apply->spool, &events->items[i],
                                 first ? (int64_t)events->spans[span++].version : EVENT_SPOOL_ANY, err);
    }
    apply->exact += apply->events.exact;
    apply->inferred += apply->events.inferred;
    apply->reconciled += apply->events.reconciled;
    apply->appended += apply->events.count;
    apply->events = (struct mapper_events){.items = NULL};
    banyan_arena_reset(apply->arena);
    return status;
}

static enum banyan_status apply_group(void *context, int64_t key, struct row_change *rows, size_t count,
                                      struct banyan_error *err)
{
    struct apply *apply = context;
    struct legacy *legacy = apply->legacy;
    struct legacy_mapping *mapping = &legacy->mappings[rows[0].mapping];
    enum banyan_status status = BANYAN_OK;
    if (legacy->options.owned != NULL && legacy->options.owned(legacy->options.owned_context, mapping->category, key)) {
        tell_conflict(apply, mapping, key, rows, count);
        return apply->spool != NULL ? spool_events(apply, err) : BANYAN_OK;
    }
    enum handover_decision decision =
        legacy->retired ? HANDOVER_APPLY : handover_decide(mapping->handover, apply->origin.xid, key);
    switch (decision) {
    case HANDOVER_APPLY:
        status = map_group(mapping, key, rows, count, &apply->origin, apply->arena, &apply->events, err);
        break;
    case HANDOVER_HOLD:
        hold_group(apply, mapping, key, rows, count);
        apply->held += count;
        break;
    case HANDOVER_DROP:
        apply->dropped += count;
        break;
    case HANDOVER_NONE:
        assert(false);
    }
    if (status == BANYAN_OK && apply->spool != NULL)
        status = spool_events(apply, err);
    return status;
}

/* What was mapped until now was submitted, or else it is forgotten.  Of all mappings: one append has events of many. */
static void mapped_submitted(struct legacy *legacy)
{
    for (size_t m = 0; m < legacy->mapping_count; m++)
        mapper_submitted(legacy->mappings[m].mapper);
}

static void mapped_forget(struct legacy *legacy)
{
    for (size_t m = 0; m < legacy->mapping_count; m++)
        mapper_forget(legacy->mappings[m].mapper);
}

/* States of keys that are ahead of the log cannot leave the cache; but no other group of this transaction needs them.
 */
static void partition_done(void *context)
{
    struct apply *apply = context;
    mapped_forget(apply->legacy);
}

/* ---- what is no row ---- */

struct truncation {
    bool concerns; /* some range is not settled by its rows */
};

static void look_at_range(void *context, int64_t lo, int64_t hi, enum handover_decision decision)
{
    struct truncation *truncation = context;
    (void)lo;
    (void)hi;
    if (decision != HANDOVER_DROP)
        truncation->concerns = true;
}

static enum banyan_status check_truncations(struct apply *apply, struct banyan_error *err)
{
    struct legacy *legacy = apply->legacy;
    const struct transaction_notes *notes = &apply->tx->truncations;
    struct truncation truncation = {.concerns = legacy->retired};
    size_t at = 0;
    for (; at < notes->count && !truncation.concerns; at += !truncation.concerns)
        handover_each_range(legacy->mappings[notes->items[at].mapping].handover, apply->origin.xid, look_at_range,
                            &truncation);
    if (at == notes->count)
        return BANYAN_OK;
    const char *table = legacy->mappings[notes->items[at].mapping].spec->tables[notes->items[at].table].name;
    char lsn[PG_LSN_TEXT_SIZE];
    pg_lsn_format(apply->tx->end_lsn, lsn);
    banyan_error_set(err, BANYAN_TABLE,
                     "table %s was truncated (transaction %llu, ends at %s): its events are not known", table,
                     (unsigned long long)apply->origin.xid, lsn);
    banyan_error_hint(err, "TRUNCATE of a captured table is not taken over, use DELETE instead; to go on from here, "
                           "start again with a new source name and slot");
    return BANYAN_TABLE;
}

static void push_fences(struct apply *apply)
{
    struct legacy *legacy = apply->legacy;
    for (size_t i = 0; i < apply->tx->fences.count; i++) {
        struct banyan_buf json = BANYAN_BUF_INIT(RECORDS_JSON_BYTES_MAX);
        records_fence(apply->tx->fences.items[i].token, apply->tx->end_lsn, &json);
        push_own(&apply->events, apply->arena, legacy->fence_stream, BANYAN_STR("Fence"),
                 kept_json(&json, apply->arena));
    }
}

/* ---- a transaction ---- */

/* A batch takes no conditions, but nobody appends beside it. */
static enum banyan_status check_version(struct store *store, struct banyan_str stream, int64_t decided_on,
                                        struct banyan_error *err)
{
    struct store_head head = {{0}, {0}};
    if (decided_on == EVENT_SPOOL_ANY)
        return BANYAN_OK;
    enum banyan_status status = store_head(store, stream, &head, err);
    if (status == BANYAN_OK && head.version.value != (uint64_t)decided_on)
        status =
            banyan_error_set(err, BANYAN_CONFLICT, "stream %.*s is at version %llu, decided on %lld", (int)stream.size,
                             stream.data, (unsigned long long)head.version.value, (long long)decided_on);
    return status;
}

static enum banyan_status append_spooled(struct apply *apply, struct store_cursor cursor, struct store_appended *ret,
                                         struct banyan_error *err)
{
    struct store *store = apply->legacy->options.store;
    struct store_event event;
    int64_t decided_on = EVENT_SPOOL_ANY;
    enum banyan_status status = spool_rewind(apply->spool, err);
    if (status == BANYAN_OK)
        status = store_batch_begin(store, err);
    if (status != BANYAN_OK)
        return status;
    while (status == BANYAN_OK && (status = event_spool_next(apply->spool, &event, &decided_on, err)) == BANYAN_OK) {
        status = check_version(store, event.stream, decided_on, err);
        if (status == BANYAN_OK)
            status = store_batch_add(store, &event, err);
    }
    if (status == BANYAN_NOT_FOUND)
        return store_batch_commit(store, cursor, ret, err);
    store_batch_abort(store);
    return status;
}

/* That no stream has moved since it was decided on. */
static const struct store_condition *conditions_of(const struct apply *apply)
{
    const struct mapper_events *events = &apply->events;
    struct store_condition *conditions =
        banyan_arena_alloc(apply->arena, (events->span_count + 1) * sizeof(*conditions));
    for (size_t i = 0; i < events->span_count; i++)
        conditions[i] = (struct store_condition){
            events->items[events->spans[i].first].stream, STORE_EXPECT_VERSION, {events->spans[i].version}};
    return conditions;
}

static enum banyan_status append_transaction(struct apply *apply, struct legacy_applied *ret, struct banyan_error *err)
{
    struct legacy *legacy = apply->legacy;
    struct store_appended appended = {.repeated = false};
    char cursor[RECORDS_CURSOR_BYTES_MAX];
    enum banyan_status status = apply->spool != NULL ? spool_events(apply, err) : BANYAN_OK;
    uint64_t count = apply->spool != NULL ? apply->appended : apply->events.count;
    if (status != BANYAN_OK || count == 0)
        return status;
    struct store_append append = {
        .events = apply->events.items,
        .event_count = apply->events.count,
        .conditions = conditions_of(apply),
        .condition_count = apply->events.span_count,
        .cursor = {legacy->cursor_name,
                   {cursor, records_cursor_format(legacy, apply->tx->end_lsn, legacy->xid_reference, cursor)}},
    };
    if (apply->spool != NULL)
        status = append_spooled(apply, append.cursor, &appended, err);
    else
        status = submit(legacy, &append, &appended, err);
    if (status != BANYAN_OK)
        return status;
    apply->appended = count;
    legacy->cursor_lsn = apply->tx->end_lsn;
    *ret = (struct legacy_applied){.appended = true, .last = appended.last};
    return BANYAN_OK;
}

static void count_transaction(struct apply *apply)
{
    struct legacy *legacy = apply->legacy;
    pthread_mutex_lock(&legacy->shared.lock);
    struct legacy_status *status = &legacy->shared.status;
    status->transactions++;
    status->transactions_streamed += apply->tx->streamed;
    status->changes += apply->tx->total_count;
    status->events_captured += apply->appended;
    status->changes_held += apply->held;
    status->changes_dropped += apply->dropped;
    status->conflicts += apply->conflicts;
    status->events_exact += apply->exact;
    status->events_inferred += apply->inferred;
    status->events_reconciled += apply->reconciled;
    count_events(legacy, &apply->events);
    status->xid = apply->origin.xid;
    status->applied_lsn = apply->tx->end_lsn;
    pthread_mutex_unlock(&legacy->shared.lock);
}

static enum banyan_status map_and_append(struct apply *apply, struct legacy_applied *ret, struct banyan_error *err)
{
    enum banyan_status status = transaction_each_group(apply->tx, apply_group, partition_done, apply, err);
    if (status != BANYAN_OK)
        return status;
    push_fences(apply);
    return append_transaction(apply, ret, err);
}

/* Somebody else appended to a stream after its state was looked at: with the states of now it comes out right.  The
 * rows of a large transaction are used up, the server has to send them again; and what was held cannot be held twice.
 */
static enum banyan_status map_until_current(struct apply *apply, struct legacy_applied *ret, struct banyan_error *err)
{
    enum banyan_status status = map_and_append(apply, ret, err);
    for (int tries = 1; status == BANYAN_CONFLICT && apply->spool == NULL && apply->held == 0 && tries < MAP_TRIES;
         tries++) {
        mapped_forget(apply->legacy);
        apply->events = (struct mapper_events){.items = NULL};
        apply->dropped = apply->conflicts = 0;
        if (err != NULL)
            banyan_error_clear(err);
        status = map_and_append(apply, ret, err);
    }
    if (status != BANYAN_CONFLICT || apply->held > 0)
        return status;
    if (err != NULL)
        err->status = BANYAN_BUSY;
    return BANYAN_BUSY;
}

/* Under the order lock. */
static enum banyan_status apply_ordered(struct apply *apply, struct legacy_applied *ret, struct banyan_error *err)
{
    struct legacy *legacy = apply->legacy;
    struct spool spool = {.file = NULL};
    enum banyan_status status = BANYAN_OK;
    apply->origin.xid = pg_xid_widen(apply->tx->xid, legacy->xid_reference);
    if (apply->origin.xid > legacy->xid_reference)
        legacy->xid_reference = apply->origin.xid;
    if (transaction_is_large(apply->tx)) {
        status = spool_open(&spool, legacy->options.spool_folder, 256 * 1024, err);
        apply->spool = &spool;
    }
    if (status == BANYAN_OK)
        status = check_truncations(apply, err);
    if (status == BANYAN_OK)
        status = map_until_current(apply, ret, err);
    if (status == BANYAN_OK) {
        legacy->processed_lsn = apply->tx->end_lsn;
        mapped_submitted(legacy);
    } else {
        mapped_forget(legacy);
    }
    spool_close(&spool);
    return status;
}

/* A transaction arrives before it is visible, so that its changes of unread keys would all be held, in memory and in
 * the log; a snapshot taken now most likely sees it already, and they are dropped.  For small ones that is not worth
 * it. */
static void wait_for_poll(struct legacy *legacy)
{
    int64_t end_us = os_clock_monotonic_us(os_clock_real()) + POLL_WAIT_US;
    pthread_mutex_lock(&legacy->order);
    bool complete = legacy_complete(legacy);
    pthread_mutex_unlock(&legacy->order);
    if (complete)
        return;
    pthread_mutex_lock(&legacy->shared.lock);
    uint64_t wanted = legacy->shared.polls + 2; /* one may be on its way with an older snapshot */
    while (legacy->shared.polls < wanted && !legacy->shared.failed && !legacy->shared.stopping) {
        int64_t left_us = end_us - os_clock_monotonic_us(os_clock_real());
        if (left_us <= 0 || !os_cond_wait(&legacy->shared.changed, &legacy->shared.lock, left_us))
            break;
    }
    pthread_mutex_unlock(&legacy->shared.lock);
}

enum banyan_status legacy_transaction_apply(struct legacy *legacy, struct transaction *tx, struct banyan_arena *arena,
                                            struct legacy_applied *ret, struct banyan_error *err)
{
    struct apply apply = {
        .legacy = legacy,
        .tx = tx,
        .arena = arena,
        .origin = {.commit_lsn = tx->commit_lsn, .time = tx->commit_time},
    };
    *ret = (struct legacy_applied){.appended = false};
    enum banyan_status status = transaction_finish(tx, err);
    if (status != BANYAN_OK)
        return status;
    if (transaction_is_large(tx))
        wait_for_poll(legacy);
    pthread_mutex_lock(&legacy->order);
    bool known = tx->end_lsn <= legacy->processed_lsn;
    if (!known)
        status = apply_ordered(&apply, ret, err);
    pthread_mutex_unlock(&legacy->order);
    if (status == BANYAN_OK && !known)
        count_transaction(&apply);
    banyan_arena_reset(arena);
    if (status != BANYAN_OK)
        banyan_error_context(err, "legacy transaction %u", tx->xid);
    return status;
}

enum banyan_status legacy_move_cursor(struct legacy *legacy, uint64_t lsn, struct banyan_arena *arena,
                                      struct legacy_applied *ret, struct banyan_error *err)
{
    struct mapper_events events = {.items = NULL};
    struct banyan_buf json = BANYAN_BUF_INIT(RECORDS_JSON_BYTES_MAX);
    struct store_appended appended;
    char cursor[RECORDS_CURSOR_BYTES_MAX];
    enum banyan_status status = BANYAN_OK;
    *ret = (struct legacy_applied){.appended = false};
    records_lsn(lsn, &json);
    push_own(&events, arena, legacy->fence_stream, BANYAN_STR("Idle"), kept_json(&json, arena));
    pthread_mutex_lock(&legacy->order);
    if (lsn > legacy->cursor_lsn) {
        struct store_append append = {
            .events = events.items,
            .event_count = events.count,
            .cursor = {legacy->cursor_name,
                       {cursor, records_cursor_format(legacy, lsn, legacy->xid_reference, cursor)}},
        };
        status = submit(legacy, &append, &appended, err);
        if (status == BANYAN_OK) {
            legacy->cursor_lsn = lsn;
            if (lsn > legacy->processed_lsn)
                legacy->processed_lsn = lsn;
            *ret = (struct legacy_applied){.appended = true, .last = appended.last};
        }
    }
    pthread_mutex_unlock(&legacy->order);
    banyan_arena_reset(arena);
    return status;
}

/* ---- a chunk ---- */

static const struct mapper_span *find_span(const struct mapper_events *events, int64_t key)
{
    size_t low = 0, high = events->span_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (events->spans[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < events->span_count && events->spans[low].key == key ? &events->spans[low] : NULL;
}

/* The mapper must see the chunk's events of the keys that have held changes: they are not in the store yet. */
static enum banyan_status seed_keys(struct legacy_mapping *mapping, const struct handover_held *held, size_t count,
                                    const struct mapper_events *events, struct banyan_error *err)
{
    struct hash seeded = HASH_INIT;
    enum banyan_status status = BANYAN_OK;
    for (size_t i = 0; status == BANYAN_OK && i < count; i++) {
        if (hash_put(&seeded, held[i].key, mapping) != NULL)
            continue;
        const struct mapper_span *span = find_span(events, held[i].key);
        if (span != NULL)
            status = mapper_seed(mapping->mapper, held[i].key, &events->items[span->first], span->count, err);
    }
    hash_release(&seeded);
    return status;
}

/* Changes of one key in one transaction are neighbours: they were held together. */
static enum banyan_status map_held(struct legacy_mapping *mapping, const struct handover_held *held, size_t count,
                                   struct banyan_arena *arena, struct mapper_events *events, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;
    for (size_t i = 0, end; status == BANYAN_OK && i < count; i = end) {
        end = i + 1;
        while (end < count && held[end].xid == held[i].xid && held[end].key == held[i].key)
            end++;
        struct row_change *rows = banyan_arena_alloc(arena, (end - i) * sizeof(*rows));
        struct records_held one = {.origin = {.xid = 0}};
        for (size_t j = i; status == BANYAN_OK && j < end; j++) {
            status = records_held_decode(held[j].change, &one, err);
            if (status == BANYAN_OK)
                status = row_change_decode(mapping->spec, one.change, arena, &rows[j - i], err);
        }
        if (status == BANYAN_OK)
            status = map_group(mapping, held[i].key, rows, end - i, &one.origin, arena, events, err);
    }
    return status;
}

/* The whole chunk, in the place of the events of its rows: they are many, what is added is little. */
static enum banyan_status append_chunk(struct legacy *legacy, struct mapper_events *events,
                                       const struct mapper_events *late, struct banyan_str record,
                                       struct banyan_arena *arena, struct banyan_error *err)
{
    struct store_appended appended;
    for (size_t i = 0; i < late->count; i++)
        *push_event(events, arena) = late->items[i];
    push_own(events, arena, legacy->system_stream, BANYAN_STR("ChunkRead"), record);
    struct store_append append = {.events = events->items, .event_count = events->count};
    return submit(legacy, &append, &appended, err);
}

enum banyan_status legacy_chunk_commit(struct legacy *legacy, size_t at, const struct handover_chunk *chunk,
                                       const struct pg_snapshot *snapshot, struct mapper_events *events,
                                       struct banyan_arena *arena, struct banyan_error *err)
{
    struct legacy_mapping *mapping = &legacy->mappings[at];
    struct mapper_events late = {.items = NULL};
    struct banyan_buf json = BANYAN_BUF_INIT(RECORDS_JSON_BYTES_MAX);
    size_t count = 0;
    records_chunk_read(mapping->category, chunk->lo, chunk->hi, snapshot, &json);
    struct banyan_str record = kept_json(&json, arena);

    pthread_mutex_lock(&legacy->order);
    const struct handover_held *held = handover_chunk_end(mapping->handover, chunk->id, snapshot, &count);
    enum banyan_status status = seed_keys(mapping, held, count, events, err);
    if (status == BANYAN_OK)
        status = map_held(mapping, held, count, arena, &late, err);
    if (status == BANYAN_OK)
        status = append_chunk(legacy, events, &late, record, arena, err);
    if (status == BANYAN_OK)
        mapped_submitted(legacy);
    else
        mapped_forget(legacy);
    bool done = handover_complete(mapping->handover);
    pthread_mutex_unlock(&legacy->order);
    if (status != BANYAN_OK) {
        banyan_error_context(err, "%s keys from %lld up to %lld", mapping->category.data, (long long)chunk->lo,
                             (long long)chunk->hi);
        /* The hand-over calls the chunk done, the log does not: nobody may go on. */
        struct banyan_error failure = {.status = status};
        legacy_fail(legacy, err != NULL ? err : &failure);
        return status;
    }
    pthread_mutex_lock(&legacy->shared.lock);
    legacy->shared.status.chunks_done++;
    legacy->shared.status.mappings[at].chunks_done++;
    legacy->shared.status.mappings[at].done |= done; /* another worker may have been later, and told first */
    legacy->shared.status.events_captured += late.count;
    count_events(legacy, events);
    count_events(legacy, &late);
    pthread_mutex_unlock(&legacy->shared.lock);
    return BANYAN_OK;
}

/* ---- our own events ---- */

enum banyan_status legacy_note(struct legacy *legacy, struct banyan_str stream, const char *type,
                               struct banyan_str payload, uint64_t cursor_lsn, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct mapper_events events = {.items = NULL};
    struct store_appended appended;
    char cursor[RECORDS_CURSOR_BYTES_MAX];
    push_own(&events, &arena, stream, banyan_str_of(type), payload);
    struct store_append append = {.events = events.items, .event_count = 1};
    if (cursor_lsn != 0)
        append.cursor = (struct store_cursor){
            legacy->cursor_name, {cursor, records_cursor_format(legacy, cursor_lsn, legacy->xid_reference, cursor)}};
    enum banyan_status status = store_append(legacy->options.store, &append, &appended, err);
    banyan_arena_release(&arena);
    return status;
}
