/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rounds of catching up, and the switch.
 *
 *   round: up to what is durable when it begins, in flushes ─▶ long: another ─▶ … ─▶ short
 *   short: hold the old generation still ─▶ one more round, at least up to its checkpoint ─▶ serve() ─▶ release
 *
 * What can come between, and why it does no harm (old = generation that serves, new = ours):
 *
 *   event 7 appended, old at 7, new at 6   hold() says 7: the last round takes 7, then serve()
 *   event 8 appended after hold()          nobody has it; new takes it when it serves: readers wait, none is told less
 *   killed before serve()                  old serves, new is sealed: catching up goes on at the next start
 *   killed after serve(), before release   new serves, is whole up to its checkpoint: the next start follows it
 *   serve() fails, outcome not known       the generations are asked who serves
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "projection/fold.h"
#include "projection/rebuild_int.h"
#include "projection/unit.h"

enum {
    BATCH_EVENTS = 4096,
    BATCH_BYTES = 8 * 1024 * 1024,
    FLUSH_ROWS = 50000,
    FLUSH_EVENTS = 100000,
    HARD_EVENTS = 20 * FLUSH_EVENTS, /* where an appended batch does not end before */
};

struct follow {
    struct rebuild *rebuild;
    struct fold *fold;
    struct banyan_unit *unit;
    struct store_reader *reader;
    struct sink_checkpoint read;
    bool at_batch_end;
    size_t pending; /* events since the last flush */
};

static enum banyan_status follow_open(struct rebuild *rebuild, struct follow *ret, struct banyan_error *err)
{
    const struct rebuild_options *options = &rebuild->options;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink_aside *asides = NULL;
    size_t count = 0;
    *ret = (struct follow){.rebuild = rebuild, .read = rebuild->checkpoint, .at_batch_end = true};
    enum banyan_status st = rebuild->sink->ops->asides(rebuild->sink, &arena, &asides, &count, err);
    if (st == BANYAN_OK) {
        ret->fold = fold_new(options->store, options->domain, options->projection);
        ret->unit = unit_new(options->projection, rebuild->sink, false, 0);
        ret->reader = store_reader_open(options->store);
        fold_restore(ret->fold, asides, count);
        st = store_reader_seek(ret->reader, (struct banyan_position){rebuild->checkpoint.position.value + 1}, err);
    }
    banyan_arena_release(&arena);
    return st;
}

static void follow_close(struct follow *follow)
{
    fold_free(follow->fold);
    unit_free(follow->unit);
    store_reader_close(follow->reader);
}

static void show(struct rebuild *rebuild)
{
    pthread_mutex_lock(&rebuild->shared.lock);
    rebuild->shared.checkpoint = rebuild->checkpoint;
    pthread_mutex_unlock(&rebuild->shared.lock);
}

static enum banyan_status flush(struct follow *follow, struct banyan_error *err)
{
    struct rebuild *rebuild = follow->rebuild;
    struct sink_flush flush = {.checkpoint = follow->read};
    flush.rows = unit_rows(follow->unit, &flush.row_count);
    flush.asides = fold_asides(follow->fold, &flush.aside_count);
    flush.released = fold_released(follow->fold, &flush.released_count);
    enum banyan_status st = rebuild->sink->ops->flush(rebuild->sink, &flush, err);
    if (st != BANYAN_OK)
        return st;
    unit_flushed(follow->unit);
    fold_flushed(follow->fold);
    follow->pending = 0;
    rebuild->checkpoint = follow->read;
    rebuild->checkpoint.generation = rebuild->generation;
    os_retry_reset(&rebuild->retry);
    show(rebuild);
    return BANYAN_OK;
}

static void note_read(struct follow *follow, const struct store_read_event *event)
{
    projection_cursor_lsn_fn cursor_lsn = follow->rebuild->options.cursor_lsn;
    follow->pending++;
    follow->read.position = event->position;
    follow->read.at = event->recorded_at;
    follow->at_batch_end = event->ends_batch;
    __atomic_store_n(&follow->rebuild->newest, event->recorded_at.us, __ATOMIC_RELAXED);
    if (cursor_lsn != NULL && event->cursor.name.size > 0) {
        uint64_t lsn = cursor_lsn(event->cursor);
        if (lsn > follow->read.source_lsn)
            follow->read.source_lsn = lsn;
    }
}

/* Read and apply events up to *target*, which is durable and the end of a batch. */
static enum banyan_status follow_batch(struct follow *follow, uint64_t target, struct banyan_error *err)
{
    struct store_read_event event;
    size_t events = 0, applied;
    bool full = follow->pending >= FLUSH_EVENTS || unit_changed(follow->unit) >= FLUSH_ROWS;
    enum banyan_status st = BANYAN_OK;
    while (events < BATCH_EVENTS && fold_bytes(follow->fold) < BATCH_BYTES && follow->read.position.value < target) {
        st = store_reader_next(follow->reader, &event, err);
        if (st != BANYAN_OK)
            return st;
        (void)fold_add(follow->fold, &event); /* it counts what it takes */
        note_read(follow, &event);
        events++;
        if (full && event.ends_batch)
            break;
    }
    return fold_apply(follow->fold, follow->unit, &applied, err);
}

static enum banyan_status round_to(struct follow *follow, uint64_t target, bool gated, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    while (st == BANYAN_OK && follow->read.position.value < target) {
        if (gated && !rebuild_gate(follow->rebuild, BATCH_EVENTS))
            return BANYAN_STOPPED;
        st = follow_batch(follow, target, err);
        bool full = follow->pending >= FLUSH_EVENTS || unit_changed(follow->unit) >= FLUSH_ROWS;
        if (st == BANYAN_OK &&
            ((full && follow->at_batch_end) || follow->pending >= HARD_EVENTS || follow->read.position.value >= target))
            st = flush(follow, err);
    }
    return st;
}

/* ---- switch ---- */

/* Who serves, where a serve() has failed and may have happened. */
bool rebuild_serves(struct rebuild *rebuild, uint32_t generation)
{
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    struct banyan_error err = BANYAN_ERROR_INIT;
    size_t count = 0;
    if (rebuild->options.home->ops->generations(rebuild->options.home, generations, &count, &err) != BANYAN_OK)
        return false;
    for (size_t i = 0; i < count; i++)
        if (generations[i].number == generation)
            return generations[i].state == SINK_SERVING;
    return false;
}

static void hand_over(struct rebuild *rebuild)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_aside *asides = NULL;
    struct sink *sink = rebuild->sink;
    size_t count = 0;
    if (sink->ops->asides(sink, &arena, &asides, &count, &err) != BANYAN_OK)
        count = 0; /* the engine reads them again, as it does after any failure */
    rebuild->sink = NULL;
    rebuild->options.host->release(rebuild->options.context, sink, &rebuild->checkpoint, asides, count);
    banyan_arena_release(&arena);
}

static enum banyan_status switch_over(struct follow *follow, struct banyan_error *err)
{
    struct rebuild *rebuild = follow->rebuild;
    const struct rebuild_host *host = rebuild->options.host;
    struct sink_home *home = rebuild->options.home;
    struct sink_checkpoint old = {.position = {0}};
    int64_t began_us = rebuild_clock_us();
    rebuild_enter(rebuild, REBUILD_SWITCH);
    enum banyan_status st = host->hold(rebuild->options.context, &old, err);
    if (st != BANYAN_OK)
        goto out;
    uint64_t durable = store_durable(rebuild->options.store).value;
    st = round_to(follow, durable > old.position.value ? durable : old.position.value, false, err);
    if (st == BANYAN_OK && rebuild->checkpoint.source_lsn < old.source_lsn)
        rebuild->checkpoint.source_lsn = old.source_lsn; /* it has all that the old one has */
    if (st == BANYAN_OK)
        st = home->ops->serve(home, rebuild->serving, rebuild->generation, err);
    if (st != BANYAN_OK && st != BANYAN_STOPPED && rebuild_serves(rebuild, rebuild->generation)) {
        banyan_error_clear(err);
        st = BANYAN_OK;
    }
out:
    rebuild->run.switch_s = (double)(rebuild_clock_us() - began_us) / 1e6;
    if (st == BANYAN_OK)
        hand_over(rebuild);
    else
        host->release(rebuild->options.context, NULL, NULL, NULL, 0);
    return st;
}

/* ---- rounds ---- */

static void note_round(struct rebuild *rebuild, uint64_t events, int64_t us)
{
    double seconds = us <= 0 ? 1e-6 : (double)us / 1e6;
    pthread_mutex_lock(&rebuild->shared.lock);
    rebuild->shared.rounds++;
    /* Small rounds say nothing of the rate. */
    if (events >= 1000)
        rebuild->shared.apply_rate = (double)events / seconds;
    pthread_mutex_unlock(&rebuild->shared.lock);
    if (events >= 1000)
        rebuild->run.apply_event_s = seconds / (double)events;
}

enum banyan_status rebuild_catch_up(struct rebuild *rebuild, struct banyan_error *err)
{
    struct follow follow = {.rebuild = NULL};
    enum banyan_status st = follow_open(rebuild, &follow, err);
    show(rebuild);
    while (st == BANYAN_OK) {
        rebuild_enter(rebuild, REBUILD_CATCH_UP);
        int64_t began_us = rebuild_clock_us();
        uint64_t from = follow.read.position.value;
        st = round_to(&follow, store_durable(rebuild->options.store).value, true, err);
        if (st != BANYAN_OK)
            break;
        if (rebuild_ends(rebuild)) {
            st = BANYAN_STOPPED;
            break;
        }
        int64_t took_us = rebuild_clock_us() - began_us;
        note_round(rebuild, follow.read.position.value - from, took_us);
        if (took_us > REBUILD_ROUND_US)
            continue;
        st = switch_over(&follow, err);
        break;
    }
    follow_close(&follow);
    return st;
}
