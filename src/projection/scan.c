/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring of chunks and its readers: see scan.h.
 *
 * Invariants
 *   1. The chunks of the ring follow on each other without a gap; `next` is the position behind the last one.
 *   2. Only who set `leading` uses the scan's log reader, or waits in the store for all; it does so without the lock.
 *   3. A chunk lives while it is in the ring or held by a reader.
 *
 *   reader A                      reader B                     reader C (far behind)
 *   needs 5001, leads             needs 5001, waits            reads 120 … by itself
 *   reads 5001–9096, wakes ─────▶ takes the same chunk         … meets the ring at 5001, takes that chunk
 *
 * Thread note: `shared` under its lock; nothing is read or waited for under it but its own condition.
 */
#include "projection/scan.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/arena.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/thread.h"

enum {
    CHUNK_EVENTS_MAX = 4096,
    CHUNK_BYTES_MAX = 4 * 1024 * 1024,
    RING_CHUNKS = 32,
    RING_BYTES_MAX = 32 * 1024 * 1024,
    STRETCH_EVENTS = 4096,   /* that a reader reads by itself before it looks for the ring again */
    LEAD_US_MAX = 20 * 1000, /* how long who waits for all may not hear that it is woken … */
    LEAD_US_MIN = 1000,      /* … where it does not mean to wait for long anyway */
    FOLLOW_US = 1000 * 1000,
};

struct chunk {
    _Atomic unsigned holders;
    uint64_t first, last;
    struct banyan_arena arena;
    struct store_read_event *events; /* in the arena */
    size_t count;
};

struct scan {
    struct store *store;
    struct store_reader *log_reader; /* of who leads */
    uint64_t log_next;               /* where it stands; the same */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t moved; /* a chunk more, a leader less, or somebody is woken */
        bool leading;
        unsigned readers;
        struct chunk *ring[RING_CHUNKS]; /* oldest first */
        size_t count, bytes;
        uint64_t next; /* invariant 1; 0: nothing was read yet */
        struct scan_stats stats;
    } shared;
};

struct scan_reader {
    struct scan *scan;
    const struct store_filter *filter;
    uint64_t next; /* position */
    struct chunk *chunk;
    size_t at; /* in the chunk */
    struct store_reader *own;
    bool own_placed, own_filtered;
    size_t stretch; /* events until it looks for the ring again */
    bool woken;     /* under the scan's lock */
};

struct scan *scan_new(struct store *store)
{
    struct scan *scan = alloc_zeroed(1, sizeof(*scan));
    scan->store = store;
    scan->log_reader = store_reader_open(store);
    pthread_mutex_init(&scan->shared.lock, NULL);
    os_cond_init(&scan->shared.moved);
    return scan;
}

static void let_go(struct chunk *chunk)
{
    if (chunk == NULL || atomic_fetch_sub(&chunk->holders, 1) > 1)
        return;
    banyan_arena_release(&chunk->arena);
    free(chunk);
}

static void empty_ring(struct scan *scan)
{
    for (size_t i = 0; i < scan->shared.count; i++)
        let_go(scan->shared.ring[i]);
    scan->shared.count = scan->shared.bytes = 0;
}

void scan_free(struct scan *scan)
{
    if (scan == NULL)
        return;
    empty_ring(scan);
    store_reader_close(scan->log_reader);
    pthread_mutex_destroy(&scan->shared.lock);
    pthread_cond_destroy(&scan->shared.moved);
    free(scan);
}

void scan_stats(struct scan *scan, struct scan_stats *ret)
{
    pthread_mutex_lock(&scan->shared.lock);
    *ret = scan->shared.stats;
    pthread_mutex_unlock(&scan->shared.lock);
}

struct scan_reader *scan_reader_open(struct scan *scan, const struct store_filter *filter)
{
    struct scan_reader *reader = alloc_zeroed(1, sizeof(*reader));
    reader->scan = scan;
    reader->filter = filter;
    reader->own = store_reader_open(scan->store);
    pthread_mutex_lock(&scan->shared.lock);
    scan->shared.readers++;
    pthread_mutex_unlock(&scan->shared.lock);
    return reader;
}

void scan_reader_close(struct scan_reader *reader)
{
    if (reader == NULL)
        return;
    struct scan *scan = reader->scan;
    pthread_mutex_lock(&scan->shared.lock);
    if (--scan->shared.readers == 1)
        empty_ring(scan);
    pthread_mutex_unlock(&scan->shared.lock);
    let_go(reader->chunk);
    store_reader_close(reader->own);
    free(reader);
}

enum banyan_status scan_reader_seek(struct scan_reader *reader, struct banyan_position position,
                                    struct banyan_error *err)
{
    let_go(reader->chunk);
    reader->chunk = NULL;
    reader->next = position.value;
    reader->own_placed = false;
    reader->stretch = 0;
    if (position.value == 0 || position.value > store_durable(reader->scan->store).value + 1)
        return banyan_error_set(err, BANYAN_INVALID, "position %llu is not in the log",
                                (unsigned long long)position.value);
    return BANYAN_OK;
}

struct banyan_position scan_reader_passed(const struct scan_reader *reader)
{
    return (struct banyan_position){reader->next - 1};
}

/* ---- chunks ---- */

static void copy_event(struct banyan_arena *arena, struct store_read_event *event)
{
    struct store_event *stored = &event->event;
    struct banyan_str *texts[] = {&stored->stream, &stored->type,       &stored->payload,
                                  &stored->meta,   &event->cursor.name, &event->cursor.value};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        bytes += texts[i]->data == NULL ? 0 : texts[i]->size;
    char *to = bytes == 0 ? NULL : banyan_arena_alloc(arena, bytes);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i]->data == NULL || texts[i]->size == 0)
            continue;
        memcpy(to, texts[i]->data, texts[i]->size);
        texts[i]->data = to;
        to += texts[i]->size;
    }
}

/* Read the chunk that begins at *first*, which is durable.  Only who leads. */
static enum banyan_status read_chunk(struct scan *scan, uint64_t first, struct chunk **ret, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    if (scan->log_next != first) {
        st = store_reader_seek(scan->log_reader, (struct banyan_position){first}, err);
        scan->log_next = st == BANYAN_OK ? first : 0;
        if (st != BANYAN_OK)
            return st;
    }
    uint64_t most = store_durable(scan->store).value + 1 - first;
    most = most < CHUNK_EVENTS_MAX ? most : CHUNK_EVENTS_MAX;
    struct chunk *chunk = alloc_zeroed(1, sizeof(*chunk));
    chunk->holders = 1;
    chunk->first = first;
    chunk->events = banyan_arena_alloc(&chunk->arena, most * sizeof(*chunk->events));
    while (chunk->count < most && chunk->arena.bytes < CHUNK_BYTES_MAX) {
        struct store_read_event *event = &chunk->events[chunk->count];
        st = store_reader_next(scan->log_reader, event, err);
        if (st != BANYAN_OK)
            break;
        copy_event(&chunk->arena, event);
        chunk->count++;
    }
    scan->log_next = st == BANYAN_OK ? first + chunk->count : 0;
    if (chunk->count == 0 || (st != BANYAN_OK && st != BANYAN_NOT_FOUND)) {
        let_go(chunk);
        return st == BANYAN_OK ? BANYAN_NOT_FOUND : st;
    }
    chunk->last = first + chunk->count - 1;
    *ret = chunk;
    return BANYAN_OK;
}

/* Under the lock. */
static void add_chunk(struct scan *scan, struct chunk *chunk)
{
    if (chunk->first != scan->shared.next)
        empty_ring(scan); /* it moved on without the slower ones */
    while (scan->shared.count > 0 &&
           (scan->shared.count == RING_CHUNKS || scan->shared.bytes + chunk->arena.bytes > RING_BYTES_MAX)) {
        scan->shared.bytes -= scan->shared.ring[0]->arena.bytes;
        let_go(scan->shared.ring[0]);
        memmove(&scan->shared.ring[0], &scan->shared.ring[1], --scan->shared.count * sizeof(scan->shared.ring[0]));
    }
    scan->shared.ring[scan->shared.count++] = chunk;
    scan->shared.bytes += chunk->arena.bytes;
    scan->shared.next = chunk->last + 1;
    scan->shared.stats.chunks++;
    scan->shared.stats.events += chunk->count;
}

/* Under the lock: the chunk that holds *position*, or NULL. */
static struct chunk *find_chunk(struct scan *scan, uint64_t position)
{
    for (size_t i = scan->shared.count; i > 0 && position < scan->shared.next; i--)
        if (scan->shared.ring[i - 1]->first <= position)
            return scan->shared.ring[i - 1];
    return NULL;
}

/* Under the lock, which it gives up meanwhile: read the chunk at *first* for all. */
static enum banyan_status lead_chunk(struct scan *scan, uint64_t first, struct banyan_error *err)
{
    struct chunk *chunk = NULL;
    scan->shared.leading = true;
    pthread_mutex_unlock(&scan->shared.lock);
    enum banyan_status st = read_chunk(scan, first, &chunk, err);
    pthread_mutex_lock(&scan->shared.lock);
    scan->shared.leading = false;
    if (st == BANYAN_OK)
        add_chunk(scan, chunk);
    pthread_cond_broadcast(&scan->shared.moved);
    return st;
}

/* Take the chunk with the reader's next event.  OK without a chunk: it has to read by itself. */
static enum banyan_status take_chunk(struct scan_reader *reader, struct banyan_error *err)
{
    struct scan *scan = reader->scan;
    enum banyan_status st = BANYAN_OK;
    pthread_mutex_lock(&scan->shared.lock);
    while (st == BANYAN_OK && scan->shared.readers > 1) {
        struct chunk *chunk = find_chunk(scan, reader->next);
        if (chunk != NULL) {
            atomic_fetch_add(&chunk->holders, 1);
            reader->chunk = chunk;
            reader->at = (size_t)(reader->next - chunk->first);
            scan->shared.stats.shared += chunk->last + 1 - reader->next;
            break;
        }
        if (reader->next < scan->shared.next)
            break;
        if (reader->next > store_durable(scan->store).value)
            st = BANYAN_NOT_FOUND;
        else if (!scan->shared.leading)
            st = lead_chunk(scan, reader->next, err);
        else
            (void)os_cond_wait(&scan->shared.moved, &scan->shared.lock, FOLLOW_US); /* the loop looks */
    }
    if (st == BANYAN_OK && reader->chunk == NULL && reader->next > store_durable(scan->store).value)
        st = BANYAN_NOT_FOUND;
    pthread_mutex_unlock(&scan->shared.lock);
    return st;
}

/* ---- by itself ---- */

static enum banyan_status next_own(struct scan_reader *reader, bool all, struct store_read_event *ret,
                                   struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    bool filtered = !all && reader->filter != NULL;
    if (!reader->own_placed)
        st = store_reader_seek(reader->own, (struct banyan_position){reader->next}, err);
    if (st != BANYAN_OK)
        return st;
    reader->own_placed = true;
    if (filtered != reader->own_filtered)
        store_reader_filter(reader->own, filtered ? reader->filter : NULL);
    reader->own_filtered = filtered;
    st = store_reader_next(reader->own, ret, err);
    uint64_t next = store_reader_passed(reader->own).value + 1;
    if (st == BANYAN_OK || st == BANYAN_NOT_FOUND)
        reader->next = next > reader->next ? next : reader->next;
    return st;
}

enum banyan_status scan_reader_next(struct scan_reader *reader, bool all, struct store_read_event *ret,
                                    struct banyan_error *err)
{
    if (reader->chunk != NULL && reader->at == reader->chunk->count) {
        let_go(reader->chunk);
        reader->chunk = NULL;
    }
    if (reader->chunk == NULL && reader->stretch == 0) {
        enum banyan_status st = take_chunk(reader, err);
        if (st != BANYAN_OK)
            return st;
        reader->stretch = reader->chunk == NULL ? STRETCH_EVENTS : 0;
    }
    if (reader->chunk != NULL) {
        reader->own_placed = false;
        *ret = reader->chunk->events[reader->at++];
        reader->next = ret->position.value + 1;
        return BANYAN_OK;
    }
    enum banyan_status st = next_own(reader, all, ret, err);
    if (--reader->stretch == 0 || st == BANYAN_NOT_FOUND) {
        pthread_mutex_lock(&reader->scan->shared.lock);
        reader->scan->shared.stats.alone += STRETCH_EVENTS - reader->stretch;
        pthread_mutex_unlock(&reader->scan->shared.lock);
        reader->stretch = 0;
    }
    return st;
}

/* ---- waiting ---- */

enum banyan_status scan_reader_wait(struct scan_reader *reader, int64_t timeout_us, struct banyan_error *err)
{
    struct scan *scan = reader->scan;
    int64_t until = os_clock_monotonic_us(os_clock_real()) + timeout_us;
    int64_t lead_us = timeout_us >= 5 * LEAD_US_MAX ? LEAD_US_MAX : LEAD_US_MIN;
    enum banyan_status st = BANYAN_OK;
    bool led = false;
    pthread_mutex_lock(&scan->shared.lock);
    while (st == BANYAN_OK && !reader->woken && store_durable(scan->store).value < reader->next) {
        int64_t left = until - os_clock_monotonic_us(os_clock_real());
        if (left <= 0)
            break;
        if (scan->shared.leading) {
            (void)os_cond_wait(&scan->shared.moved, &scan->shared.lock, left); /* the loop looks */
            continue;
        }
        scan->shared.leading = true;
        pthread_mutex_unlock(&scan->shared.lock);
        st = store_wait(scan->store, (struct banyan_position){reader->next}, left < lead_us ? left : lead_us, err);
        pthread_mutex_lock(&scan->shared.lock);
        scan->shared.leading = false;
        led = true;
        if (st == BANYAN_TIMEOUT) {
            banyan_error_clear(err);
            st = BANYAN_OK;
        }
    }
    reader->woken = false;
    if (led)
        pthread_cond_broadcast(&scan->shared.moved); /* there is more, or another one has to lead */
    pthread_mutex_unlock(&scan->shared.lock);
    return st;
}

void scan_reader_wake(struct scan_reader *reader)
{
    pthread_mutex_lock(&reader->scan->shared.lock);
    reader->woken = true;
    pthread_cond_broadcast(&reader->scan->shared.moved);
    pthread_mutex_unlock(&reader->scan->shared.lock);
}
