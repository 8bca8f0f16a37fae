/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread of the mirror: reads the log from the checkpoint, gathers whole appends while they come, writes.
 *
 *     idle ──an append──▶ gathering ──no more there, or the batch is full──▶ writing ──▶ idle
 *       ▲                                                                       │ failed
 *       └──────────── connecting, from the server's checkpoint ◀── a pause ◀────┘
 *
 * Whatever fails, all that the memory believes is thrown away: the server's checkpoint is the only truth.
 *
 * Thread note: everything but *shared* belongs to the thread; shared.lock is held for moments and takes no other lock.
 */
#include "legacy/mirror_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "legacy/mapper.h"
#include "legacy/records.h"
#include "os/clock.h"
#include "os/retry.h"

enum {
    IDLE_US = 50 * 1000,
    RETRY_FIRST_US = 50 * 1000,
    RETRY_US_MAX = 2 * 1000 * 1000,
};

/* ---- life ---- */

struct legacy_mirror *mirror_new(const struct legacy_mirror_options *options)
{
    const struct banyan_domain *domain = options->domain;
    struct legacy_mirror *mirror = alloc_zeroed(1, sizeof(*mirror));
    mirror->options = *options;
    if (mirror->options.batch_events_max == 0)
        mirror->options.batch_events_max = MIRROR_BATCH_EVENTS_DEFAULT;
    mirror->conflict_stream = conflict_stream(options->source, &mirror->arena);
    mirror->origin = banyan_arena_printf(&mirror->arena, "banyan/%s", options->source);
    mirror->mapping_count = domain->mapping_count;
    mirror->mappings = alloc_zeroed(domain->mapping_count, sizeof(*mirror->mappings));
    for (size_t m = 0; m < domain->mapping_count; m++) {
        struct mirror_mapping *mapping = &mirror->mappings[m];
        mapping->spec = &domain->mappings[m];
        mapping->category = banyan_str_of(mapping->spec->aggregate->category);
        states_init(&mapping->states, options->store, domain, mapping->spec->aggregate, &mirror->arena);
    }
    mirror->reader = store_reader_open(options->store);
    mirror->sql = (struct banyan_buf)BANYAN_BUF_INIT(MIRROR_SQL_BYTES_MAX);
    mirror_batch_reset(&mirror->batch);
    pthread_mutex_init(&mirror->shared.lock, NULL);
    os_cond_init(&mirror->shared.changed);
    mirror->shared.lags_us = alloc_zeroed(MIRROR_LAGS_MAX, sizeof(int64_t));
    return mirror;
}

static void disconnect(struct legacy_mirror *mirror)
{
    store_subscription_close(mirror->subscription);
    mirror->subscription = NULL;
    pg_close(mirror->conn);
    mirror->conn = NULL;
}

void mirror_free(struct legacy_mirror *mirror)
{
    if (mirror == NULL)
        return;
    disconnect(mirror);
    for (size_t m = 0; m < mirror->mapping_count; m++) {
        mirror_forget(&mirror->mappings[m]);
        hash_release(&mirror->mappings[m].cache);
        hash_release(&mirror->mappings[m].aside);
        states_release(&mirror->mappings[m].states);
    }
    free(mirror->mappings);
    store_reader_close(mirror->reader);
    mirror_batch_release(&mirror->batch);
    banyan_buf_release(&mirror->sql);
    pthread_mutex_destroy(&mirror->shared.lock);
    pthread_cond_destroy(&mirror->shared.changed);
    free(mirror->shared.lags_us);
    banyan_arena_release(&mirror->arena);
    free(mirror);
}

struct mirror_mapping *mirror_mapping_of(struct legacy_mirror *mirror, struct banyan_str category)
{
    for (size_t m = 0; m < mirror->mapping_count; m++)
        if (banyan_str_equal(mirror->mappings[m].category, category))
            return &mirror->mappings[m];
    return NULL;
}

bool mirror_ending(struct legacy_mirror *mirror)
{
    if (mirror->options.stop != NULL && os_stop_requested(mirror->options.stop))
        return true;
    pthread_mutex_lock(&mirror->shared.lock);
    bool stopping = mirror->shared.stopping;
    pthread_mutex_unlock(&mirror->shared.lock);
    return stopping;
}

enum banyan_status mirror_find_source(struct legacy_mirror *mirror, struct banyan_error *err)
{
    struct banyan_str stream = banyan_arena_printf(&mirror->arena, "$legacy-%s", mirror->options.source);
    struct store_read_event read;
    struct records_event record;
    enum banyan_status status = store_reader_stream(mirror->reader, stream, (struct banyan_version){1}, err);
    while (status == BANYAN_OK && (status = store_reader_next(mirror->reader, &read, err)) == BANYAN_OK) {
        if (!banyan_str_equal(read.event.type, BANYAN_STR("HandoverStarted")))
            continue;
        status = records_parse(read.event.type, read.event.payload, &mirror->arena, &record, err);
        if (status != BANYAN_OK)
            return status;
        struct banyan_str id = banyan_arena_printf(&mirror->arena, "%.*s/%s", (int)record.system.size,
                                                   record.system.data, mirror->options.source);
        for (size_t m = 0; m < mirror->mapping_count; m++)
            mapper_id_prefix(id, mirror->mappings[m].category.data, mirror->mappings[m].id_prefix);
        mirror->has_source_id = true;
        return BANYAN_OK;
    }
    if (status != BANYAN_NOT_FOUND)
        return status;
    banyan_error_clear(err); /* nothing was taken over from there */
    return BANYAN_OK;
}

/* ---- the thread ---- */

static void tell(struct legacy_mirror *mirror, uint64_t written)
{
    pthread_mutex_lock(&mirror->shared.lock);
    struct legacy_mirror_status *status = &mirror->shared.status;
    if (written > status->written.value)
        status->written.value = written;
    status->proven = true;
    banyan_error_clear(&status->error);
    pthread_cond_broadcast(&mirror->shared.changed);
    pthread_mutex_unlock(&mirror->shared.lock);
}

static enum banyan_status begin(struct legacy_mirror *mirror, struct banyan_error *err)
{
    disconnect(mirror);
    mirror_batch_reset(&mirror->batch);
    for (size_t m = 0; m < mirror->mapping_count; m++)
        mirror_forget(&mirror->mappings[m]);
    enum banyan_status status = mirror_connect(mirror, false, err);
    if (status == BANYAN_OK && !mirror->has_source_id)
        status = mirror_find_source(mirror, err);
    if (status == BANYAN_OK)
        status = mirror_load_aside(mirror, mirror->checkpoint, err);
    if (status != BANYAN_OK)
        return status;
    struct store_subscribe from = {.after = {mirror->checkpoint}, .since = {BANYAN_TIME_NULL}};
    status = store_subscription_open(mirror->options.store, &from, &mirror->subscription, err);
    if (status != BANYAN_OK)
        return status;
    mirror->batch.end = mirror->checkpoint;
    tell(mirror, mirror->checkpoint);
    return BANYAN_OK;
}

/* Write what was gathered.  Where there is nothing, the checkpoint follows from time to time only. */
static enum banyan_status flush(struct legacy_mirror *mirror, bool last, struct banyan_error *err)
{
    struct mirror_batch *batch = &mirror->batch;
    uint64_t passed = batch->end - mirror->checkpoint;
    enum banyan_status status = BANYAN_OK;
    if (batch->item_count > 0 || passed >= MIRROR_IDLE_POSITIONS_MAX || (last && passed > 0))
        status = mirror_write(mirror, err);
    if (status != BANYAN_OK)
        return status;
    mirror_batch_reset(batch);
    tell(mirror, batch->end);
    return BANYAN_OK;
}

static bool is_full(const struct legacy_mirror *mirror)
{
    return mirror->batch.events >= mirror->options.batch_events_max || mirror->batch.bytes >= MIRROR_BATCH_BYTES_MAX;
}

static enum banyan_status run(struct legacy_mirror *mirror, struct banyan_error *err)
{
    struct store_subscription_item item;
    enum banyan_status status = begin(mirror, err);
    uint64_t told = 0;
    while (status == BANYAN_OK && !mirror_ending(mirror)) {
        struct mirror_batch *batch = &mirror->batch;
        bool gathered = batch->whole && (batch->item_count > 0 || batch->end > told);
        status = store_subscription_next(mirror->subscription, gathered ? 0 : IDLE_US, &item, err);
        if (status == BANYAN_OK && item.kind == STORE_SUBSCRIPTION_EVENT) {
            status = mirror_take(mirror, &item.event, err);
            if (status != BANYAN_OK || !batch->whole || !is_full(mirror))
                continue;
        } else if (status != BANYAN_OK && status != BANYAN_TIMEOUT) {
            break;
        }
        status = BANYAN_OK;
        banyan_error_clear(err);
        if (batch->whole) {
            status = flush(mirror, false, err);
            told = batch->end;
        }
    }
    if (status == BANYAN_OK && mirror->batch.whole && mirror->subscription != NULL)
        status = flush(mirror, true, err);
    return status;
}

static void mirror_main(void *argument)
{
    struct legacy_mirror *mirror = argument;
    struct os_retry retry = {.first_us = RETRY_FIRST_US, .pause_us_max = RETRY_US_MAX};
    while (!mirror_ending(mirror)) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        uint64_t before = mirror->checkpoint;
        enum banyan_status status = run(mirror, &err);
        if (status == BANYAN_OK || mirror_ending(mirror))
            break;
        if (mirror->checkpoint > before)
            os_retry_reset(&retry);
        pthread_mutex_lock(&mirror->shared.lock);
        mirror->shared.status.error = err;
        mirror->shared.status.proven = false;
        pthread_mutex_unlock(&mirror->shared.lock);
        disconnect(mirror);                                 /* the server's session and its origin end while we pause */
        (void)os_retry_pause(&retry, mirror->options.stop); /* the loop looks at the stop itself */
    }
    disconnect(mirror);
    pthread_mutex_lock(&mirror->shared.lock);
    mirror->shared.status.running = false;
    pthread_cond_broadcast(&mirror->shared.changed);
    pthread_mutex_unlock(&mirror->shared.lock);
}

/* ---- what others call ---- */

static enum banyan_status check_options(const struct legacy_mirror_options *options, struct banyan_error *err)
{
    if (options->domain->mapping_count == 0)
        return banyan_error_set(err, BANYAN_CONFIG, "domain %s has no legacy mapping", options->domain->name);
    if (options->source == NULL || options->source[0] == '\0' || options->conninfo == NULL)
        return banyan_error_set(err, BANYAN_CONFIG, "a mirror needs the name of a source and its connection");
    return BANYAN_OK;
}

static enum banyan_status prove(struct legacy_mirror *mirror, struct banyan_error *err)
{
    enum banyan_status status = mirror_connect(mirror, true, err);
    if (status == BANYAN_OK)
        status = mirror_prove_rows(mirror, err);
    disconnect(mirror);
    mirror_batch_reset(&mirror->batch);
    if (status != BANYAN_OK)
        banyan_error_context(err, "the way back to source %s", mirror->options.source);
    return status;
}

enum banyan_status legacy_mirror_prove(const struct legacy_mirror_options *options, struct banyan_error *err)
{
    enum banyan_status status = check_options(options, err);
    if (status != BANYAN_OK)
        return status;
    struct legacy_mirror *mirror = mirror_new(options);
    status = prove(mirror, err);
    mirror_free(mirror);
    return status;
}

enum banyan_status legacy_mirror_start(const struct legacy_mirror_options *options, struct legacy_mirror **ret,
                                       struct banyan_error *err)
{
    enum banyan_status status = check_options(options, err);
    if (status != BANYAN_OK)
        return status;
    struct legacy_mirror *mirror = mirror_new(options);
    status = prove(mirror, err);
    if (status != BANYAN_OK) {
        mirror_free(mirror);
        return status;
    }
    mirror->shared.status.running = mirror->shared.status.proven = true;
    mirror->shared.status.written.value = mirror->checkpoint;
    os_thread_start(&mirror->thread, "legacy-mirror", mirror_main, mirror);
    *ret = mirror;
    return BANYAN_OK;
}

void legacy_mirror_stop(struct legacy_mirror *mirror)
{
    if (mirror == NULL)
        return;
    pthread_mutex_lock(&mirror->shared.lock);
    mirror->shared.stopping = true;
    pthread_mutex_unlock(&mirror->shared.lock);
    os_thread_join(&mirror->thread);
    mirror_free(mirror);
}

static int compare_us(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void legacy_mirror_status(struct legacy_mirror *mirror, struct legacy_mirror_status *ret)
{
    int64_t *lags = alloc_zeroed(MIRROR_LAGS_MAX, sizeof(*lags));
    pthread_mutex_lock(&mirror->shared.lock);
    size_t count = mirror->shared.lag_count;
    *ret = mirror->shared.status;
    memcpy(lags, mirror->shared.lags_us, count * sizeof(*lags));
    pthread_mutex_unlock(&mirror->shared.lock);
    ret->tail = store_durable(mirror->options.store);
    if (count > 0) {
        qsort(lags, count, sizeof(*lags), compare_us);
        ret->lag_us_p50 = lags[count / 2];
        ret->lag_us_p99 = lags[count * 99 / 100];
    }
    free(lags);
}

enum banyan_status legacy_mirror_wait(struct legacy_mirror *mirror, struct banyan_position position, int64_t timeout_us,
                                      struct banyan_error *err)
{
    int64_t end_us = os_clock_monotonic_us(os_clock_real()) + timeout_us, left_us = timeout_us;
    enum banyan_status status = BANYAN_OK;
    pthread_mutex_lock(&mirror->shared.lock);
    const struct legacy_mirror_status *now = &mirror->shared.status;
    while (now->written.value < position.value && left_us > 0 && now->running) {
        (void)os_cond_wait(&mirror->shared.changed, &mirror->shared.lock, left_us); /* the time is looked at below */
        left_us = end_us - os_clock_monotonic_us(os_clock_real());
    }
    if (now->written.value < position.value)
        status = banyan_error_set(
            err, BANYAN_TIMEOUT, "the mirror has written up to position %" PRIu64 ", %" PRIu64 " was waited for%s%s",
            now->written.value, position.value, now->error.status == BANYAN_OK ? "" : ": ", now->error.message);
    else if (mirror->shared.aside_from != 0 && mirror->shared.aside_from <= position.value)
        status = banyan_error_set(err, BANYAN_CONFLICT,
                                  "%" PRIu64 " aggregates are not written back, for somebody else wrote their rows",
                                  now->conflicts);
    pthread_mutex_unlock(&mirror->shared.lock);
    if (status == BANYAN_CONFLICT)
        banyan_error_hint(err, "the conflicts have to be resolved: stream %s has both rows of each",
                          mirror->conflict_stream.data);
    return status;
}
