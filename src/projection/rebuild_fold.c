/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parallel fold: see rebuild_fold.h.
 *
 *   chunk:  FREE ──take──▶ DECODING ──▶ READY ──applied by all owners──▶ FREE
 *
 * A ring of chunks bounds the memory: who would decode a chunk whose place is not free applies or waits.  The oldest
 * chunk is always decoded or READY, and its owners apply before they decode, so somebody can always go on.
 *
 * Poison: an event that is not understood has a key or not.  With a key it lies in its owner's list and puts the key
 * aside there.  Without, its whole stream goes aside, and the stream's later events may belong to any owner: the chunk
 * carries a list of those, which each owner reads before the chunk's own events, and so in order.
 *
 * Threads: `shared` is guarded by its lock.  A chunk belongs to who decodes it, then to its owners, who only read it.
 */
#include "projection/rebuild_fold.h"

#include <assert.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/thread.h"

enum {
    CHUNK_EVENTS_MAX = 4096, /* multiples of what the store knows blocks of */
    CHUNK_EVENTS_MIN = 256,
    CHUNK_BYTES = 512 * 1024,
    CHUNK_KEPT_BYTES = 16 * 1024 * 1024,
    CHUNKS_A_WORKER = 3,
    AHEAD_SLOT = 16, /* events: prefetching */
    AHEAD_ROW = 8,
    ROW_LOAD_BYTES = 2 * sizeof(struct sink_row), /* what LOAD needs for each row */
};

static const unsigned TYPE_POISON = UINT_MAX; /* banyan_seen.type: payload is the reason, a C string */

enum chunk_state {
    CHUNK_NONE = 0,
    CHUNK_FREE,
    CHUNK_DECODING,
    CHUNK_READY,
};

struct list {
    struct banyan_seen *items; /* owned */
    size_t count, capacity;
};

struct chunk {
    enum chunk_state state;
    uint64_t number;
    unsigned applied;   /* owners that are done with it */
    struct list *lists; /* of each owner */
    struct list poison; /* events without a key whose stream goes aside */
    struct banyan_arena arena;
    uint64_t source_lsn;
    int64_t newest; /* recorded_at */
};

/* A key or a stream that is aside. */
struct held {
    struct held *next;
    struct sink_aside aside; /* texts in the worker's arena */
};

struct worker {
    struct fold_run *run;
    unsigned index;
    struct os_thread thread;
    struct store_reader *reader;
    bool unfiltered;
    struct rebuild_table *table; /* NULL: it only decodes */
    uint64_t next;               /* chunk to apply */
    struct hash keys, streams;   /* aside → struct held */
    struct held *helds;
    size_t held_count;
    struct banyan_arena arena;
    uint64_t applied;
    size_t bytes, rows; /* atomic: of its table */
};

struct fold_run {
    struct rebuild_fold_options options;
    unsigned owners;
    uint64_t chunk_events, chunk_count;
    struct chunk *ring;
    size_t ring_size;
    struct worker *workers;

    struct {
        pthread_mutex_t lock;
        pthread_cond_t moved;
        uint64_t next_decode;
        uint64_t end; /* chunks to do: all, or fewer when memory was used up */
        bool ended;   /* stopped or failed */
        enum banyan_status status;
        struct banyan_error err;
        uint64_t source_lsn, reached;
    } shared;
};

int64_t rebuild_stream_hash(struct banyan_str stream)
{
    return (int64_t)XXH3_64bits(stream.data, stream.size);
}

/* Bits of the hash that the table does not index by, so that a slice or an owner has no clusters. */
unsigned rebuild_slice_of(int64_t key, unsigned slices)
{
    uint64_t bits = hash_mix((uint64_t)key + UINT64_C(0x9E3779B97F4A7C15)) >> 32;
    return (unsigned)((bits * slices) >> 32);
}

static unsigned owner_of(int64_t key, unsigned owners)
{
    uint64_t bits = hash_mix((uint64_t)key) >> 32;
    return (unsigned)((bits * owners) >> 32);
}

/* ---- decode ---- */

static struct banyan_seen *list_add(struct list *list)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 256 : list->capacity * 2;
        list->items = alloc_resized(list->items, list->capacity, sizeof(*list->items));
    }
    return &list->items[list->count++];
}

static bool skipped(const struct fold_run *run, const struct banyan_seen *seen)
{
    const struct rebuild_skip *skip = run->options.skip;
    if (skip == NULL)
        return false;
    return (skip->keys.count > 0 && hash_get(&skip->keys, seen->key) != NULL) ||
           (skip->streams.count > 0 && hash_get(&skip->streams, rebuild_stream_hash(seen->stream)) != NULL);
}

static void explain(struct chunk *chunk, struct banyan_seen *event, const struct banyan_error *why)
{
    event->type = TYPE_POISON;
    event->payload =
        banyan_arena_printf(&chunk->arena, "%s%s%s", why->message, why->detail[0] == '\0' ? "" : ": ", why->detail)
            .data;
}

static void route(struct fold_run *run, struct chunk *chunk, struct banyan_seen *event, enum seen_kind kind, bool keyed,
                  const struct banyan_error *why)
{
    bool joined = run->options.projection->spread == BANYAN_JOINED;
    if (kind == SEEN_POISON)
        explain(chunk, event, why);
    if (skipped(run, event))
        return;
    if (kind == SEEN_POISON && !keyed && !joined) {
        *list_add(&chunk->poison) = *event;
        return;
    }
    if (run->options.ready.partial && event->key < run->options.ready.from)
        return;
    if (run->options.slices > 1 && rebuild_slice_of(event->key, run->options.slices) != run->options.slice)
        return;
    *list_add(&chunk->lists[run->owners == 1 ? 0 : owner_of(event->key, run->owners)]) = *event;
}

static void note_cursor(const struct fold_run *run, struct chunk *chunk, const struct store_read_event *event)
{
    if (run->options.cursor_lsn == NULL || event->cursor.name.size == 0)
        return;
    uint64_t lsn = run->options.cursor_lsn(event->cursor);
    if (lsn > chunk->source_lsn)
        chunk->source_lsn = lsn;
}

static void begin_chunk(struct fold_run *run, struct chunk *chunk)
{
    banyan_arena_reset_keeping(&chunk->arena, CHUNK_KEPT_BYTES);
    for (unsigned i = 0; i < run->owners; i++)
        chunk->lists[i].count = 0;
    chunk->poison.count = 0;
    chunk->source_lsn = 0;
    chunk->newest = 0;
}

static uint64_t chunk_last(const struct fold_run *run, uint64_t number)
{
    uint64_t last = (number + 1) * run->chunk_events;
    return last < run->options.last.value ? last : run->options.last.value;
}

/* Cursors are looked for behind what the caller knows: there every event has to be seen. */
static void choose_filter(struct worker *worker, uint64_t last)
{
    const struct rebuild_fold_options *options = &worker->run->options;
    bool unfiltered = options->cursor_lsn != NULL && last > options->lsn_from;
    if (unfiltered != worker->unfiltered)
        store_reader_filter(worker->reader, unfiltered ? NULL : seen_filter(options->rules));
    worker->unfiltered = unfiltered;
}

static enum banyan_status decode_chunk(struct worker *worker, struct chunk *chunk, struct banyan_error *err)
{
    struct fold_run *run = worker->run;
    uint64_t first = chunk->number * run->chunk_events + 1, last = chunk_last(run, chunk->number);
    struct store_read_event event;
    struct banyan_error why = BANYAN_ERROR_INIT; /* of all events: see apply_one() */

    if (run->options.gate != NULL && !run->options.gate(run->options.context, last - first + 1))
        return BANYAN_STOPPED;
    begin_chunk(run, chunk);
    choose_filter(worker, last);
    enum banyan_status st = store_reader_seek(worker->reader, (struct banyan_position){first}, err);
    store_reader_end(worker->reader, (struct banyan_position){last});
    struct banyan_seen seen;
    bool keyed;
    while (st == BANYAN_OK && (st = store_reader_next(worker->reader, &event, err)) == BANYAN_OK) {
        note_cursor(run, chunk, &event);
        enum seen_kind kind = seen_event(run->options.rules, &event, &chunk->arena, false, &seen, &keyed, &why);
        if (kind == SEEN_UNWANTED)
            continue;
        route(run, chunk, &seen, kind, keyed, &why);
        chunk->newest = event.recorded_at.us;
    }
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st;
}

/* ---- apply ---- */

static struct held *hold(struct worker *worker, const struct banyan_seen *event, bool by_stream, const char *reason)
{
    struct held *held = banyan_arena_zalloc(&worker->arena, sizeof(*held));
    held->aside = (struct sink_aside){
        .by_stream = by_stream,
        .key = by_stream ? 0 : event->key,
        .stream = banyan_arena_str(&worker->arena, event->stream),
        .position = event->position,
        .at = os_clock_now(os_clock_real()),
        .reason = banyan_arena_str(&worker->arena, banyan_str_of(reason)),
    };
    held->next = worker->helds;
    worker->helds = held;
    worker->held_count++;
    (void)hash_put(by_stream ? &worker->streams : &worker->keys,
                   by_stream ? rebuild_stream_hash(event->stream) : event->key, held); /* nobody was there */
    return held;
}

/* The streams that events of this chunk put aside.  The first owner, and in the first slice only, counts the events
 * that have no key. */
static void take_poison(struct worker *worker, const struct chunk *chunk)
{
    bool counts = worker->index == 0 && worker->run->options.slice == 0;
    for (size_t i = 0; i < chunk->poison.count; i++) {
        const struct banyan_seen *event = &chunk->poison.items[i];
        struct held *held = hash_get(&worker->streams, rebuild_stream_hash(event->stream));
        if (held == NULL)
            held = hold(worker, event, true, event->payload);
        held->aside.held += counts;
    }
}

/* Why the event is not to be applied now; NULL: it is. */
static struct held *held_by(const struct worker *worker, const struct banyan_seen *event)
{
    struct held *held = NULL;
    if (worker->streams.count > 0)
        held = hash_get(&worker->streams, rebuild_stream_hash(event->stream));
    if (held != NULL && event->position.value >= held->aside.position.value)
        return held;
    return worker->keys.count > 0 ? hash_get(&worker->keys, event->key) : NULL;
}

/* *why* is scratch: an error is as large as its texts, too large to be made for each event. */
static void apply_one(struct worker *worker, const struct banyan_seen *event, struct banyan_error *why)
{
    struct held *held = worker->held_count == 0 ? NULL : held_by(worker, event);
    bool by_stream = worker->run->options.projection->spread == BANYAN_JOINED;
    if (held == NULL && event->type == TYPE_POISON)
        held = hold(worker, event, by_stream, event->payload);
    if (held == NULL && rebuild_table_apply(worker->table, event, why) != BANYAN_OK)
        held = hold(worker, event, by_stream, why->message);
    if (held != NULL)
        held->aside.held++;
    else
        worker->applied++;
}

static void apply_chunk(struct worker *worker, const struct chunk *chunk)
{
    const struct list *list = &chunk->lists[worker->index];
    struct banyan_error why = BANYAN_ERROR_INIT;
    take_poison(worker, chunk);
    for (size_t i = 0; i < list->count && i < AHEAD_SLOT; i++)
        rebuild_table_prefetch_slot(worker->table, list->items[i].key);
    for (size_t i = 0; i < list->count; i++) {
        if (i + AHEAD_SLOT < list->count)
            rebuild_table_prefetch_slot(worker->table, list->items[i + AHEAD_SLOT].key);
        if (i + AHEAD_ROW < list->count)
            rebuild_table_prefetch_row(worker->table, list->items[i + AHEAD_ROW].key);
        apply_one(worker, &list->items[i], &why);
    }
    size_t rows = 0;
    for (unsigned i = 0; i < worker->run->options.projection->table_count; i++)
        rows += rebuild_table_count(worker->table, i);
    __atomic_store_n(&worker->rows, rows, __ATOMIC_RELAXED);
    __atomic_store_n(&worker->bytes, rebuild_table_bytes(worker->table) + rows * ROW_LOAD_BYTES, __ATOMIC_RELAXED);
}

static bool fits(const struct fold_run *run)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < run->owners; i++)
        bytes += __atomic_load_n(&run->workers[i].bytes, __ATOMIC_RELAXED);
    return bytes <= run->options.bytes_max;
}

/* ---- workers; the lock is held ---- */

static void end_run(struct fold_run *run, enum banyan_status st, const struct banyan_error *err)
{
    if (run->shared.ended)
        return;
    run->shared.ended = true;
    run->shared.status = st;
    run->shared.err = *err;
}

static void chunk_applied(struct fold_run *run, struct chunk *chunk)
{
    uint64_t last = chunk_last(run, chunk->number);
    if (chunk->source_lsn > run->shared.source_lsn)
        run->shared.source_lsn = chunk->source_lsn;
    if (run->options.newest != NULL && chunk->newest > __atomic_load_n(run->options.newest, __ATOMIC_RELAXED))
        __atomic_store_n(run->options.newest, chunk->newest, __ATOMIC_RELAXED);
    if (run->options.passed != NULL)
        (void)__atomic_add_fetch(run->options.passed, last - chunk->number * run->chunk_events, __ATOMIC_RELAXED);
    if (run->options.rows != NULL) {
        uint64_t rows = 0;
        for (unsigned i = 0; i < run->owners; i++)
            rows += __atomic_load_n(&run->workers[i].rows, __ATOMIC_RELAXED);
        __atomic_store_n(run->options.rows, rows, __ATOMIC_RELAXED);
    }
    run->shared.reached = last;
    chunk->state = CHUNK_FREE;
    if (fits(run) || chunk->number + 1 == run->shared.end)
        return;
    if (run->options.projection->spread == BANYAN_JOINED) {
        run->shared.end = chunk->number + 1; /* the one owner has applied exactly this much */
    } else {
        struct banyan_error err = BANYAN_ERROR_INIT;
        end_run(run, banyan_error_set(&err, BANYAN_LIMIT, "its rows do not fit into memory"), &err);
    }
}

static bool apply_next(struct worker *worker)
{
    struct fold_run *run = worker->run;
    struct chunk *chunk = &run->ring[worker->next % run->ring_size];
    if (worker->table == NULL || worker->next >= run->shared.end || chunk->state != CHUNK_READY ||
        chunk->number != worker->next)
        return false;
    pthread_mutex_unlock(&run->shared.lock);
    apply_chunk(worker, chunk);
    pthread_mutex_lock(&run->shared.lock);
    worker->next++;
    if (++chunk->applied == run->owners)
        chunk_applied(run, chunk);
    pthread_cond_broadcast(&run->shared.moved);
    return true;
}

static bool decode_next(struct worker *worker)
{
    struct fold_run *run = worker->run;
    uint64_t number = run->shared.next_decode;
    struct chunk *chunk = &run->ring[number % run->ring_size];
    if (number >= run->shared.end || chunk->state != CHUNK_FREE)
        return false;
    run->shared.next_decode++;
    chunk->number = number;
    chunk->applied = 0;
    chunk->state = CHUNK_DECODING;
    pthread_mutex_unlock(&run->shared.lock);
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = decode_chunk(worker, chunk, &err);
    pthread_mutex_lock(&run->shared.lock);
    chunk->state = CHUNK_READY;
    if (st != BANYAN_OK)
        end_run(run, st, &err);
    pthread_cond_broadcast(&run->shared.moved);
    return true;
}

static bool worker_done(const struct worker *worker)
{
    const struct fold_run *run = worker->run;
    return run->shared.ended || (worker->table == NULL ? run->shared.next_decode : worker->next) >= run->shared.end;
}

static void work(void *argument)
{
    struct worker *worker = argument;
    struct fold_run *run = worker->run;
    pthread_mutex_lock(&run->shared.lock);
    while (!worker_done(worker))
        if (!apply_next(worker) && !decode_next(worker))
            pthread_cond_wait(&run->shared.moved, &run->shared.lock);
    pthread_mutex_unlock(&run->shared.lock);
}

/* ---- a run ---- */

static uint64_t choose_chunk(const struct rebuild_fold_options *options)
{
    if (options->chunk_events != 0)
        return options->chunk_events;
    struct store_stats stats;
    store_stats(options->store, &stats);
    uint64_t bytes = stats.events == 0 ? 0 : stats.log.bytes / stats.events;
    uint64_t events = bytes == 0 ? CHUNK_EVENTS_MAX : CHUNK_BYTES / bytes / CHUNK_EVENTS_MIN * CHUNK_EVENTS_MIN;
    return events < CHUNK_EVENTS_MIN ? CHUNK_EVENTS_MIN : events > CHUNK_EVENTS_MAX ? CHUNK_EVENTS_MAX : events;
}

static void begin_run(struct fold_run *run, const struct rebuild_fold_options *options)
{
    run->options = *options;
    run->owners = options->projection->spread == BANYAN_JOINED ? 1 : options->workers;
    run->chunk_events = choose_chunk(options);
    run->chunk_count = (options->last.value + run->chunk_events - 1) / run->chunk_events;
    run->ring_size = (size_t)options->workers * CHUNKS_A_WORKER;
    run->ring = alloc_zeroed(run->ring_size, sizeof(*run->ring));
    for (size_t i = 0; i < run->ring_size; i++) {
        run->ring[i].state = CHUNK_FREE;
        run->ring[i].lists = alloc_zeroed(run->owners, sizeof(*run->ring[i].lists));
    }
    pthread_mutex_init(&run->shared.lock, NULL);
    pthread_cond_init(&run->shared.moved, NULL);
    run->shared.end = run->chunk_count;
    run->workers = alloc_zeroed(options->workers, sizeof(*run->workers));
    for (unsigned i = 0; i < options->workers; i++) {
        struct worker *worker = &run->workers[i];
        worker->run = run;
        worker->index = i;
        worker->reader = store_reader_open(options->store);
        store_reader_filter(worker->reader, seen_filter(options->rules));
        if (i < run->owners)
            worker->table = rebuild_table_new(options->projection);
    }
}

static void release_run(struct fold_run *run)
{
    for (size_t i = 0; i < run->ring_size; i++) {
        for (unsigned j = 0; j < run->owners; j++)
            free(run->ring[i].lists[j].items);
        free(run->ring[i].lists);
        free(run->ring[i].poison.items);
        banyan_arena_release(&run->ring[i].arena);
    }
    for (unsigned i = 0; i < run->options.workers; i++) {
        struct worker *worker = &run->workers[i];
        store_reader_close(worker->reader);
        rebuild_table_free(worker->table);
        hash_release(&worker->keys);
        hash_release(&worker->streams);
        banyan_arena_release(&worker->arena);
    }
    free(run->ring);
    free(run->workers);
    pthread_mutex_destroy(&run->shared.lock);
    pthread_cond_destroy(&run->shared.moved);
}

static struct sink_aside *find_aside(struct rebuild_folded *folded, const struct sink_aside *aside)
{
    for (size_t i = 0; i < folded->aside_count; i++)
        if (folded->asides[i].by_stream && banyan_str_equal(folded->asides[i].stream, aside->stream))
            return &folded->asides[i];
    return NULL;
}

/* Every owner knows every stream that went aside, and has counted its own events of it. */
static void collect(struct fold_run *run, struct rebuild_folded *ret)
{
    size_t count = 0;
    for (unsigned i = 0; i < run->owners; i++)
        count += run->workers[i].held_count;
    ret->asides = banyan_arena_alloc(&ret->arena, count * sizeof(*ret->asides));
    ret->tables = alloc_zeroed(run->owners, sizeof(struct rebuild_table *));
    ret->table_count = run->owners;
    for (unsigned i = 0; i < run->owners; i++) {
        struct worker *worker = &run->workers[i];
        ret->tables[i] = worker->table;
        worker->table = NULL;
        ret->applied += worker->applied;
        for (const struct held *held = worker->helds; held != NULL; held = held->next) {
            struct sink_aside *same = held->aside.by_stream ? find_aside(ret, &held->aside) : NULL;
            if (same != NULL) {
                same->held += held->aside.held;
                continue;
            }
            struct sink_aside aside = held->aside;
            aside.stream = banyan_arena_str(&ret->arena, aside.stream);
            aside.reason = banyan_arena_str(&ret->arena, aside.reason);
            ret->asides[ret->aside_count++] = aside;
        }
    }
    ret->last.value = run->shared.reached;
    ret->source_lsn = run->shared.source_lsn;
}

enum banyan_status rebuild_fold(const struct rebuild_fold_options *options, struct rebuild_folded *ret,
                                struct banyan_position *ret_reached, struct banyan_error *err)
{
    struct fold_run run = {.shared.status = BANYAN_OK};
    assert(options->workers > 0 && options->slice < options->slices);
    assert(options->projection->spread == BANYAN_PARTITIONED || options->slices == 1);
    begin_run(&run, options);
    for (unsigned i = 1; i < options->workers; i++)
        os_thread_start(&run.workers[i].thread, "rebuild-fold", work, &run.workers[i]);
    work(&run.workers[0]);
    for (unsigned i = 1; i < options->workers; i++)
        os_thread_join(&run.workers[i].thread);
    enum banyan_status st = run.shared.status;
    ret_reached->value = run.shared.reached;
    if (st == BANYAN_OK) {
        *ret = (struct rebuild_folded){.tables = NULL};
        collect(&run, ret);
    } else if (st != BANYAN_STOPPED) {
        *err = run.shared.err;
    }
    release_run(&run);
    return st;
}

void rebuild_folded_release(struct rebuild_folded *folded)
{
    for (size_t i = 0; i < folded->table_count; i++)
        rebuild_table_free(folded->tables[i]);
    free(folded->tables);
    banyan_arena_release(&folded->arena);
    *folded = (struct rebuild_folded){.tables = NULL};
}
