/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One batch, one transaction: the rows and the checkpoint.
 *
 *     fast   BEGIN, checkpoint, all statements, COMMIT in one pipeline: one round trip
 *     slow   where a row was not as expected: the same again, a savepoint an event; what fails is put aside
 *
 * A conflict is in the log before the transaction commits: a crash in between finds it there and passes over the same
 * events (mirror_load_aside()).  The first statement moves the checkpoint from where this mirror believes it to be:
 * two of them cannot both write, and after a COMMIT whose answer was lost the checkpoint says what happened.
 */
#include "legacy/mirror_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"

static const char begin_sql[] = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE";
static const char checkpoint_sql[] =
    "WITH moved AS (UPDATE banyan.mirror SET position = $2, at = clock_timestamp() WHERE source = $1 AND position = $3"
    " RETURNING 1) SELECT 1 / (count(*) = 1)::int FROM moved";

enum {
    CHECKPOINT_PARAMS = 3,
};

static void checkpoint_params(struct legacy_mirror *mirror, struct pg_param params[CHECKPOINT_PARAMS])
{
    struct mirror_batch *batch = &mirror->batch;
    params[0].text = banyan_str_of(mirror->options.source);
    params[1].text = banyan_arena_printf(&batch->arena, "%" PRIu64, batch->end);
    params[2].text = banyan_arena_printf(&batch->arena, "%" PRIu64, mirror->checkpoint);
}

/* Is it the row, and not the server, that is in the way?  Values that it does not take, constraints, no such row. */
static bool is_conflict(const struct banyan_error *err)
{
    return strncmp(err->sqlstate, "22", 2) == 0 || strncmp(err->sqlstate, "23", 2) == 0 ||
           (err->sqlstate[0] == '\0' && err->status == BANYAN_INVALID); /* a text that cannot be sent */
}

/* ---- fast ---- */

static enum banyan_status queue(struct legacy_mirror *mirror, struct banyan_error *err)
{
    struct mirror_batch *batch = &mirror->batch;
    struct pg_param checkpoint[CHECKPOINT_PARAMS], *params;
    size_t count;
    checkpoint_params(mirror, checkpoint);
    enum banyan_status status = pg_pipeline_add(mirror->conn, begin_sql, NULL, 0, err);
    if (status == BANYAN_OK)
        status = pg_pipeline_add_prepared(mirror->conn, checkpoint_sql, checkpoint, CHECKPOINT_PARAMS, err);
    for (size_t i = 0; status == BANYAN_OK && i < batch->item_count; i++) {
        const struct mirror_item *item = &batch->items[i];
        for (size_t j = item->first; status == BANYAN_OK && j < item->first + item->count; j++) {
            mirror_statement(mirror, item->mapping, item->key, &batch->operations[j], &batch->arena, &params, &count);
            status = pg_pipeline_add_prepared(mirror->conn, mirror->sql.data, params, count, err);
        }
    }
    return status == BANYAN_OK ? pg_pipeline_add(mirror->conn, "COMMIT", NULL, 0, err) : status;
}

static enum banyan_status write_fast(struct legacy_mirror *mirror, struct banyan_error *err)
{
    struct banyan_error failure = BANYAN_ERROR_INIT;
    enum banyan_status status = pg_pipeline_begin(mirror->conn, err);
    if (status != BANYAN_OK)
        return status;
    status = queue(mirror, &failure);
    struct banyan_error ended = BANYAN_ERROR_INIT;
    enum banyan_status end = pg_pipeline_end(mirror->conn, &ended);
    if (status == BANYAN_OK) {
        status = end;
        failure = ended;
    }
    if (status != BANYAN_OK && err != NULL)
        *err = failure;
    return status;
}

/* ---- slow ---- */

struct slow {
    struct legacy_mirror *mirror;
    struct store_event *conflicts; /* in the batch's arena */
    bool *aside;                   /* by item: it failed, or waits behind one that did */
    size_t conflict_count;
    uint64_t rows;
};

/* What stands there, for who has to judge. */
static enum banyan_status find_row(struct legacy_mirror *mirror, const struct mirror_item *item, void *row,
                                   bool *ret_found, struct banyan_error *err)
{
    struct pg_result *result = NULL;
    mirror_select(item->mapping, 0, &item->key, &mirror->sql);
    enum banyan_status status = pg_exec(mirror->conn, mirror->sql.data, NULL, 0, &result, err);
    *ret_found = status == BANYAN_OK && pg_rows(result) > 0;
    if (*ret_found)
        status = mirror_row_parse(item->mapping, 0, result, &mirror->batch.arena, row, err);
    pg_result_free(result);
    return status;
}

/* A text for people, of our own where the server could only say that it divided by zero. */
static const char *reason_of(const struct mirror_operation *operation, const struct banyan_error *why)
{
    if (strcmp(why->sqlstate, "22012") == 0)
        return operation->action == MIRROR_UPDATE ? "the row to change is not as expected"
                                                  : "the row to remove is not as expected";
    return why->message;
}

static enum banyan_status note_conflict(struct slow *slow, const struct mirror_item *item,
                                        const struct mirror_operation *operation, const struct banyan_error *why,
                                        struct banyan_error *err)
{
    struct legacy_mirror *mirror = slow->mirror;
    const struct banyan_legacy_table *table = &item->mapping->spec->tables[operation->table];
    const struct banyan_record *root = item->mapping->spec->tables[0].row;
    void *found = banyan_arena_zalloc(&mirror->batch.arena, root->size);
    bool is_found = false;
    enum banyan_status status = find_row(mirror, item, found, &is_found, err);
    if (status != BANYAN_OK)
        return status;
    struct banyan_buf json = BANYAN_BUF_INIT(CONFLICT_JSON_BYTES_MAX);
    conflict_begin(&json, item->mapping->category, item->key);
    banyan_buf_printf(&json, ",\"position\":%" PRIu64 ",\"table\":", item->position);
    banyan_buf_add_json(&json, banyan_str_of(table->name));
    banyan_buf_add_text(&json, ",\"error\":");
    banyan_buf_add_json(&json, banyan_str_of(reason_of(operation, why)));
    banyan_buf_add_char(&json, ',');
    conflict_add_row(&json, "expected", table->row, operation->old);
    banyan_buf_add_char(&json, ',');
    conflict_add_row(&json, "wanted", table->row, operation->new);
    banyan_buf_add_char(&json, ',');
    conflict_add_row(&json, "found", root, is_found ? found : NULL);
    banyan_buf_add_char(&json, '}');
    slow->conflicts[slow->conflict_count++] =
        conflict_event(mirror->conflict_stream, "MirrorConflict", &json, &mirror->batch.arena);
    banyan_buf_release(&json);
    return BANYAN_OK;
}

static enum banyan_status write_item(struct slow *slow, size_t at, struct banyan_error *err)
{
    struct legacy_mirror *mirror = slow->mirror;
    struct mirror_batch *batch = &mirror->batch;
    const struct mirror_item *item = &batch->items[at];
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status status = pg_run(mirror->conn, "SAVEPOINT item", err);
    struct pg_param *params;
    size_t count, j = item->first;
    if (status != BANYAN_OK)
        return status;
    for (; j < item->first + item->count; j++) {
        mirror_statement(mirror, item->mapping, item->key, &batch->operations[j], &batch->arena, &params, &count);
        status = pg_exec(mirror->conn, mirror->sql.data, params, count, NULL, &why);
        if (status != BANYAN_OK)
            break;
    }
    if (status == BANYAN_OK) {
        slow->rows += item->count;
        return pg_run(mirror->conn, "RELEASE item", err);
    }
    if (!is_conflict(&why)) {
        if (err != NULL)
            *err = why;
        return status;
    }
    status = pg_run(mirror->conn, "ROLLBACK TO item", err);
    if (status == BANYAN_OK)
        status = note_conflict(slow, item, &batch->operations[j], &why, err);
    slow->aside[at] = true;
    return status;
}

static bool waits(const struct slow *slow, size_t at)
{
    const struct mirror_item *items = slow->mirror->batch.items;
    for (size_t i = 0; i < at; i++)
        if (slow->aside[i] && items[i].mapping == items[at].mapping && items[i].key == items[at].key)
            return true;
    return false;
}

static enum banyan_status append_conflicts(struct slow *slow, struct banyan_error *err)
{
    struct store_append append = {.events = slow->conflicts, .event_count = slow->conflict_count};
    struct store_appended appended;
    if (slow->conflict_count == 0)
        return BANYAN_OK;
    return store_append(slow->mirror->options.store, &append, &appended, err);
}

static enum banyan_status write_slow(struct slow *slow, struct banyan_error *err)
{
    struct legacy_mirror *mirror = slow->mirror;
    struct mirror_batch *batch = &mirror->batch;
    struct pg_param checkpoint[CHECKPOINT_PARAMS];
    checkpoint_params(mirror, checkpoint);
    enum banyan_status status = pg_run(mirror->conn, begin_sql, err);
    if (status == BANYAN_OK)
        status = pg_exec(mirror->conn, checkpoint_sql, checkpoint, CHECKPOINT_PARAMS, NULL, err);
    for (size_t i = 0; status == BANYAN_OK && i < batch->item_count; i++) {
        if (slow->conflict_count > 0 && waits(slow, i))
            slow->aside[i] = true;
        else
            status = write_item(slow, i, err);
    }
    if (status == BANYAN_OK)
        status = append_conflicts(slow, err);
    return status == BANYAN_OK ? pg_run(mirror->conn, "COMMIT", err) : status;
}

/* ---- both ---- */

static void count_written(struct legacy_mirror *mirror, uint64_t rows, const bool *aside)
{
    const struct mirror_batch *batch = &mirror->batch;
    int64_t now_us = os_clock_now(os_clock_real()).us;
    pthread_mutex_lock(&mirror->shared.lock);
    struct legacy_mirror_status *status = &mirror->shared.status;
    status->events += batch->events;
    status->rows += rows;
    status->transactions++;
    for (size_t i = 0; i < batch->item_count; i++) {
        int64_t lag_us = now_us - batch->items[i].recorded_us;
        if (aside != NULL && aside[i])
            continue;
        mirror->shared.lags_us[mirror->shared.lag_next] = lag_us > 0 ? lag_us : 0;
        mirror->shared.lag_next = (mirror->shared.lag_next + 1) % MIRROR_LAGS_MAX;
        mirror->shared.lag_count += mirror->shared.lag_count < MIRROR_LAGS_MAX;
    }
    pthread_mutex_unlock(&mirror->shared.lock);
}

enum banyan_status mirror_write(struct legacy_mirror *mirror, struct banyan_error *err)
{
    struct mirror_batch *batch = &mirror->batch;
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct slow slow = {.mirror = mirror, .rows = batch->operation_count};
    enum banyan_status status = write_fast(mirror, &why);
    if (status != BANYAN_OK && !is_conflict(&why)) {
        if (err != NULL)
            *err = why;
        return status;
    }
    if (status != BANYAN_OK) {
        slow.conflicts = banyan_arena_alloc(&batch->arena, (batch->item_count + 1) * sizeof(*slow.conflicts));
        slow.aside = banyan_arena_zalloc(&batch->arena, batch->item_count + 1);
        slow.rows = 0;
        status = pg_run(mirror->conn, "ROLLBACK", err);
        if (status == BANYAN_OK)
            status = write_slow(&slow, err);
    }
    if (status != BANYAN_OK)
        return status;
    mirror->checkpoint = batch->end;
    for (size_t i = 0; slow.aside != NULL && i < batch->item_count; i++)
        if (slow.aside[i])
            mirror_put_aside(mirror, batch->items[i].mapping, batch->items[i].key, batch->items[i].position);
    count_written(mirror, slow.rows, slow.aside);
    return BANYAN_OK;
}
