/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing the rows of a rebuild, and looking at them again.
 *
 *   tables of all workers ─▶ an array of each table, in the store's order ─▶ ranges of it ─▶ a load each, at once ─▶
 * sink
 *
 * Rows in an order are what every store likes: trees grow at their end, and what is read together lies together. Tables
 * are loaded at once before ranges of one are, so that what a store gets of a table is in one order.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "projection/rebuild_int.h"
#include "projection/rebuild_order.h"

enum {
    LOAD_ROWS = 4096,          /* given to the sink at once */
    ROWS_A_LOADER_MIN = 20000, /* fewer are not worth a load of their own */
    REFOLDED_KEYS = 8,
    REFOLDED_EVENTS_MAX = 20000,
};

struct loader {
    struct rebuild *rebuild;
    struct os_thread thread;
    unsigned table;
    const struct sink_row *rows;
    size_t count;
    enum banyan_status status;
    struct banyan_error err;
};

/* ---- load ---- */

static void load_range(void *argument)
{
    struct loader *loader = argument;
    struct sink *sink = loader->rebuild->sink;
    struct sink_load *load = NULL;
    loader->status = sink->ops->load_open(sink, loader->table, &load, &loader->err);
    if (loader->status != BANYAN_OK)
        return;
    for (size_t at = 0; at < loader->count && loader->status == BANYAN_OK; at += LOAD_ROWS) {
        size_t count = loader->count - at < LOAD_ROWS ? loader->count - at : LOAD_ROWS;
        /* Rows have no part in the limit: it was kept while their events were folded. */
        if (!rebuild_gate(loader->rebuild, 0)) {
            loader->status = BANYAN_STOPPED;
            break;
        }
        loader->status = sink->ops->load_rows(load, loader->rows + at, count, &loader->err);
        rebuild_loaded(loader->rebuild, loader->table, count);
    }
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = sink->ops->load_close(load, loader->status == BANYAN_OK, &err);
    if (loader->status == BANYAN_OK && st != BANYAN_OK) {
        loader->status = st;
        loader->err = err;
    }
}

static enum banyan_status load_sorted(struct rebuild *rebuild, unsigned table, const struct sink_row *rows,
                                      size_t count, size_t loaders_max, struct banyan_error *err)
{
    size_t worth = count / ROWS_A_LOADER_MIN + 1;
    size_t loader_count = loaders_max < worth ? loaders_max : worth;
    struct loader *loaders = alloc_zeroed(loader_count, sizeof(*loaders));
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < loader_count; i++) {
        size_t from = count * i / loader_count, to = count * (i + 1) / loader_count;
        loaders[i] = (struct loader){.rebuild = rebuild, .table = table, .rows = rows + from, .count = to - from};
        if (i > 0)
            os_thread_start(&loaders[i].thread, "rebuild-load", load_range, &loaders[i]);
    }
    load_range(&loaders[0]);
    for (size_t i = 0; i < loader_count; i++) {
        os_thread_join(&loaders[i].thread);
        if (st == BANYAN_OK && loaders[i].status != BANYAN_OK) {
            st = loaders[i].status;
            *err = loaders[i].err;
        }
    }
    free(loaders);
    return st;
}

/* Tables are loaded at once, too. */
struct loading {
    struct rebuild *rebuild;
    const struct rebuild_folded *folded;
    struct rebuild_indexing *indexing;
    size_t loaders_max; /* of each table */
    struct {
        pthread_mutex_t lock; /* guards samples and arena of the rebuild, too */
        unsigned next;        /* table */
        enum banyan_status status;
        struct banyan_error err;
    } shared;
};

/* Remember some of the rows, spread over all of them.  The lock is held. */
static void take_samples(struct rebuild *rebuild, unsigned table, const struct sink_row *rows, size_t count)
{
    const struct banyan_record *record = rebuild->options.projection->tables[table].row;
    size_t samples = count < REBUILD_SAMPLES ? count : REBUILD_SAMPLES;
    for (size_t i = 0; i < samples; i++) {
        const struct sink_row *row = &rows[count * i / samples];
        struct rebuild_sample *sample = banyan_arena_alloc(&rebuild->arena, sizeof(*sample));
        *sample = (struct rebuild_sample){.next = rebuild->samples, .table = table, .key = row->key};
        sample->row = banyan_arena_alloc(&rebuild->arena, record->size);
        banyan_record_copy(record, sample->row, row->row, &rebuild->arena);
        rebuild->samples = sample;
    }
}

static enum banyan_status load_table(struct loading *loading, unsigned table, struct banyan_error *err)
{
    struct rebuild *rebuild = loading->rebuild;
    const struct rebuild_folded *folded = loading->folded;
    const struct sink_ops *ops = rebuild->sink->ops;
    size_t count = 0, at = 0;
    for (size_t i = 0; i < folded->table_count; i++)
        count += rebuild_table_count(folded->tables[i], table);
    if (count == 0)
        return BANYAN_OK;
    struct sink_row *rows = alloc_resized(NULL, count, sizeof(*rows));
    struct sink_row *spare = alloc_resized(NULL, count, sizeof(*spare));
    for (size_t i = 0; i < folded->table_count; i++) {
        rebuild_table_rows(folded->tables[i], table, rows + at);
        at += rebuild_table_count(folded->tables[i], table);
    }
    rebuild_order(&rebuild->options.projection->tables[table],
                  ops->load_order == NULL ? NULL : ops->load_order(rebuild->sink, table), &rows, &spare, count);
    free(spare);
    pthread_mutex_lock(&loading->shared.lock);
    take_samples(rebuild, table, rows, count);
    pthread_mutex_unlock(&loading->shared.lock);
    enum banyan_status st = load_sorted(rebuild, table, rows, count, loading->loaders_max, err);
    rebuild->row_counts[table] += count;
    free(rows);
    return st;
}

/* One table after the other, while there are some. */
static void load_tables(void *argument)
{
    struct loading *loading = argument;
    const struct banyan_projection *projection = loading->rebuild->options.projection;
    pthread_mutex_lock(&loading->shared.lock);
    while (loading->shared.status == BANYAN_OK && loading->shared.next < projection->table_count) {
        unsigned table = loading->shared.next++;
        struct banyan_error err = BANYAN_ERROR_INIT;
        pthread_mutex_unlock(&loading->shared.lock);
        enum banyan_status st = load_table(loading, table, &err);
        if (st == BANYAN_OK)
            rebuild_index_table(loading->indexing, table);
        else
            banyan_error_context(&err, "table %s", projection->tables[table].name);
        pthread_mutex_lock(&loading->shared.lock);
        if (st != BANYAN_OK && loading->shared.status == BANYAN_OK) {
            loading->shared.status = st;
            loading->shared.err = err;
        }
    }
    pthread_mutex_unlock(&loading->shared.lock);
}

enum banyan_status rebuild_load(struct rebuild *rebuild, const struct rebuild_folded *folded,
                                struct rebuild_indexing *indexing, struct banyan_error *err)
{
    struct os_thread threads[BANYAN_PROJECTION_TABLES_MAX];
    unsigned workers = rebuild->options.workers, tables = (unsigned)rebuild->options.projection->table_count;
    unsigned at_once = workers < tables ? workers : tables;
    struct loading loading = {.rebuild = rebuild, .folded = folded, .indexing = indexing};
    loading.loaders_max = workers / at_once;
    pthread_mutex_init(&loading.shared.lock, NULL);
    for (unsigned i = 1; i < at_once; i++)
        os_thread_start(&threads[i], "rebuild-load", load_tables, &loading);
    load_tables(&loading);
    for (unsigned i = 1; i < at_once; i++)
        os_thread_join(&threads[i]);
    pthread_mutex_destroy(&loading.shared.lock);
    if (loading.shared.status != BANYAN_OK && loading.shared.status != BANYAN_STOPPED)
        *err = loading.shared.err;
    return loading.shared.status;
}

/* ---- verify ---- */

static enum banyan_status check_counts(struct rebuild *rebuild, struct banyan_error *err)
{
    const struct banyan_projection *projection = rebuild->options.projection;
    for (unsigned i = 0; i < projection->table_count; i++) {
        uint64_t count = 0;
        enum banyan_status st = rebuild->sink->ops->count(rebuild->sink, i, &count, err);
        if (st != BANYAN_OK)
            return st;
        if (count != rebuild->row_counts[i])
            return banyan_error_set(err, BANYAN_MISMATCH,
                                    "generation %" PRIu32 " has %" PRIu64 " rows in %s, %" PRIu64 " were loaded",
                                    rebuild->generation, count, projection->tables[i].name, rebuild->row_counts[i]);
    }
    return BANYAN_OK;
}

static enum banyan_status differs(const struct rebuild *rebuild, const struct rebuild_sample *sample, const char *how,
                                  struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_MISMATCH, "row %" PRId64 " of %s, generation %" PRIu32 ", %s", sample->key,
                            rebuild->options.projection->tables[sample->table].name, rebuild->generation, how);
}

/* What the store gives back is what was folded. */
static enum banyan_status check_sample(struct rebuild *rebuild, const struct rebuild_sample *sample,
                                       struct banyan_arena *arena, struct banyan_error *err)
{
    const struct banyan_record *record = rebuild->options.projection->tables[sample->table].row;
    void *row = banyan_arena_alloc(arena, record->size);
    bool found = false;
    enum banyan_status st =
        rebuild->sink->ops->get_many(rebuild->sink, sample->table, &sample->key, 1, arena, &row, &found, err);
    if (st != BANYAN_OK)
        return st;
    if (!found)
        return differs(rebuild, sample, "was loaded and is not there", err);
    return banyan_record_diff(record, row, sample->row) == 0 ? BANYAN_OK
                                                             : differs(rebuild, sample, "is not as it was folded", err);
}

/* Fold one stream alone, from its first event to the checkpoint; false: too long, or not to be known. */
static bool fold_stream(struct rebuild *rebuild, struct rebuild_table *table, int64_t key)
{
    struct store_reader *reader = store_reader_open(rebuild->options.store);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    struct banyan_seen seen;
    size_t count = 0;
    bool keyed, ok = true;
    char name[STORE_STREAM_NAME_BYTES_MAX];
    int size = snprintf(name, sizeof(name), "%s-%" PRId64, rebuild->options.projection->categories[0], key);
    struct banyan_str stream = {name, (size_t)size};
    enum banyan_status st = store_reader_stream(reader, stream, (struct banyan_version){0}, &err);
    while (st == BANYAN_OK && ok && (st = store_reader_next(reader, &event, &err)) == BANYAN_OK &&
           event.position.value <= rebuild->checkpoint.position.value) {
        banyan_arena_reset(&arena);
        enum seen_kind kind = seen_event(rebuild->rules, &event, &arena, true, &seen, &keyed, &err);
        if (kind == SEEN_POISON || (kind == SEEN_WANTED && rebuild_table_apply(table, &seen, &err) != BANYAN_OK))
            break; /* it went aside here: what was before is what is stored */
        ok = ++count < REFOLDED_EVENTS_MAX;
    }
    banyan_arena_release(&arena);
    store_reader_close(reader);
    return ok && (st == BANYAN_OK || st == BANYAN_NOT_FOUND);
}

static enum banyan_status refold(struct rebuild *rebuild, const struct rebuild_sample *sample, struct banyan_error *err)
{
    const struct banyan_record *record = rebuild->options.projection->tables[sample->table].row;
    struct rebuild_table *table = rebuild_table_new(rebuild->options.projection);
    enum banyan_status st = BANYAN_OK;
    if (fold_stream(rebuild, table, sample->key)) {
        size_t count = rebuild_table_count(table, sample->table);
        struct sink_row *rows = alloc_zeroed(count + 1, sizeof(*rows));
        rebuild_table_rows(table, sample->table, rows);
        if (count != 1 || banyan_record_diff(record, rows[0].row, sample->row) != 0)
            st = differs(rebuild, sample, "is not what its events alone give", err);
        free(rows);
    }
    rebuild_table_free(table);
    return st;
}

/* Are the rows of a key made by the events of one stream? */
static bool by_stream(const struct banyan_projection *projection)
{
    return projection->spread == BANYAN_PARTITIONED && projection->key == NULL && projection->categories[1] == NULL;
}

enum banyan_status rebuild_verify(struct rebuild *rebuild, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    unsigned refolded = 0, turn = 0;
    enum banyan_status st = check_counts(rebuild, err);
    for (const struct rebuild_sample *sample = rebuild->samples; sample != NULL && st == BANYAN_OK;
         sample = sample->next) {
        banyan_arena_reset(&arena);
        st = check_sample(rebuild, sample, &arena, err);
        if (st == BANYAN_OK && by_stream(rebuild->options.projection) && refolded < REFOLDED_KEYS && turn++ % 8 == 0) {
            st = refold(rebuild, sample, err);
            refolded++;
        }
        if (st == BANYAN_OK && rebuild_ends(rebuild))
            st = BANYAN_STOPPED;
    }
    banyan_arena_release(&arena);
    return st;
}
