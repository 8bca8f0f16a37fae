/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recent first: where nothing can be shown while a rebuild runs, the newest keys are served before the others are
 * there.
 *
 *   fold ─▶ rows of the newest keys ─▶ a generation of its own, with a ready mark ─▶ seal, index, serve ─▶ followed
 *     └───▶ all rows ─▶ load, index, verify, catch up ─▶ switch ─▶ the small one goes
 *
 * The small one is a whole generation of fewer keys, exact for each of them: all its events up to F0 are in its rows,
 * wherever they stand in the log, and later ones follow.  So nobody sees a mixture: who asks of a smaller key, or of
 * all, is refused (ready.h), until the one row of the switch says otherwise.
 *
 *   killed before serve()    nothing serves, as before; the next start drops both and begins anew
 *   killed after serve()     the newest keys serve and follow; the next start drops the large one and makes it again
 *   killed after the switch  all keys serve; the small one is dropped as a KEPT one with a mark (rebuild_plan.c)
 *
 * What it costs: the newest keys are written twice.  Where all rows fit into memory nothing is read again; where they
 * do not, one reading of the log is added to the several that it takes.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "projection/rebuild_int.h"
#include "projection/rebuild_order.h"

enum {
    RECENT_PERCENT = 10, /* of the keys */
    SAMPLES_MAX = 10000,
    TAIL_EVENTS = 20000,
    RECENT_ROWS = 4096, /* given to the sink at once */
};

/* ---- which keys ---- */

static int compare_keys(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* The key above which *percent* of them are.  Sorts them. */
static int64_t key_above(int64_t *keys, size_t count, unsigned percent)
{
    qsort(keys, count, sizeof(*keys), compare_keys);
    size_t above = count * percent / 100;
    return keys[count - 1 - (above < count ? above : count - 1)];
}

/* All rows of a table; *ret_count of them, owned by the caller. */
static struct sink_row *all_rows(const struct rebuild_folded *folded, unsigned table, size_t *ret_count)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < folded->table_count; i++)
        count += rebuild_table_count(folded->tables[i], table);
    struct sink_row *rows = alloc_zeroed(count + 1, sizeof(*rows));
    for (size_t i = 0; i < folded->table_count; i++) {
        rebuild_table_rows(folded->tables[i], table, rows + at);
        at += rebuild_table_count(folded->tables[i], table);
    }
    *ret_count = count;
    return rows;
}

/* False: there are no rows. */
static bool choose_of_rows(const struct rebuild_folded *folded, struct sink_mark *ret)
{
    size_t count = 0, samples = 0;
    struct sink_row *rows = all_rows(folded, 0, &count);
    int64_t *keys = alloc_zeroed(SAMPLES_MAX, sizeof(*keys));
    size_t step = count / SAMPLES_MAX + 1;
    for (size_t i = 0; i < count; i += step)
        keys[samples++] = rows[i].key;
    if (samples > 0)
        *ret = (struct sink_mark){true, key_above(keys, samples, RECENT_PERCENT)};
    free(keys);
    free(rows);
    return samples > 0;
}

/* From what the newest events are about: half of their keys.  NOT_FOUND: nothing of the projection's. */
static enum banyan_status choose_of_tail(struct rebuild *rebuild, struct banyan_position last, struct sink_mark *ret,
                                         struct banyan_error *err)
{
    struct store_reader *reader = store_reader_open(rebuild->options.store);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error why = BANYAN_ERROR_INIT;
    int64_t *keys = alloc_zeroed(TAIL_EVENTS, sizeof(*keys));
    struct store_read_event event;
    struct banyan_seen seen;
    size_t count = 0;
    bool keyed;
    store_reader_filter(reader, seen_filter(rebuild->rules));
    uint64_t from = last.value > TAIL_EVENTS ? last.value - TAIL_EVENTS + 1 : 1;
    enum banyan_status st = store_reader_seek(reader, (struct banyan_position){from}, err);
    store_reader_end(reader, last);
    while (st == BANYAN_OK && (st = store_reader_next(reader, &event, err)) == BANYAN_OK) {
        banyan_arena_reset(&arena);
        if (count < TAIL_EVENTS && seen_event(rebuild->rules, &event, &arena, true, &seen, &keyed, &why) == SEEN_WANTED)
            keys[count++] = seen.key;
    }
    if (st == BANYAN_NOT_FOUND && count > 0) {
        *ret = (struct sink_mark){true, key_above(keys, count, 50)};
        st = BANYAN_OK;
    }
    free(keys);
    banyan_arena_release(&arena);
    store_reader_close(reader);
    return st;
}

/* ---- the small generation ---- */

static enum banyan_status give(struct rebuild *rebuild, struct sink *sink, unsigned table, const struct sink_row *rows,
                               size_t count, struct banyan_error *err)
{
    struct sink_load *load = NULL;
    struct banyan_error close_err = BANYAN_ERROR_INIT;
    enum banyan_status st = sink->ops->load_open(sink, table, &load, err);
    if (st != BANYAN_OK)
        return st;
    for (size_t at = 0; at < count && st == BANYAN_OK; at += RECENT_ROWS)
        st = !rebuild_gate(rebuild, 0)
                 ? BANYAN_STOPPED
                 : sink->ops->load_rows(load, rows + at, count - at < RECENT_ROWS ? count - at : RECENT_ROWS, err);
    enum banyan_status closed = sink->ops->load_close(load, st == BANYAN_OK, &close_err);
    if (st == BANYAN_OK && closed != BANYAN_OK) {
        st = closed;
        *err = close_err;
    }
    return st;
}

static enum banyan_status load(struct rebuild *rebuild, struct sink *sink, const struct rebuild_folded *folded,
                               struct banyan_error *err)
{
    const struct banyan_projection *projection = rebuild->options.projection;
    enum banyan_status st = BANYAN_OK;
    for (unsigned table = 0; table < projection->table_count && st == BANYAN_OK; table++) {
        size_t count = 0, ready = 0;
        struct sink_row *rows = all_rows(folded, table, &count);
        for (size_t i = 0; i < count; i++)
            if (rows[i].key >= sink->ready.from)
                rows[ready++] = rows[i];
        struct sink_row *spare = alloc_zeroed(ready + 1, sizeof(*spare));
        rebuild_order(&projection->tables[table],
                      sink->ops->load_order == NULL ? NULL : sink->ops->load_order(sink, table), &rows, &spare, ready);
        if (ready > 0)
            st = give(rebuild, sink, table, rows, ready, err);
        free(spare);
        free(rows);
    }
    return st;
}

static enum banyan_status seal(struct rebuild *rebuild, struct sink *sink, const struct rebuild_folded *folded,
                               struct sink_checkpoint *ret, struct banyan_error *err)
{
    struct sink_aside *asides = alloc_zeroed(folded->aside_count + 1, sizeof(*asides));
    struct sink_flush flush = {.asides = asides};
    for (size_t i = 0; i < folded->aside_count; i++)
        if (folded->asides[i].by_stream || folded->asides[i].key >= sink->ready.from)
            asides[flush.aside_count++] = folded->asides[i];
    flush.checkpoint = (struct sink_checkpoint){.position = folded->last,
                                                .source_lsn = rebuild->checkpoint.source_lsn,
                                                .generation = sink->generation,
                                                .ready = sink->ready};
    if (folded->source_lsn > flush.checkpoint.source_lsn)
        flush.checkpoint.source_lsn = folded->source_lsn;
    enum banyan_status st = rebuild_read_at(rebuild, folded->last, &flush.checkpoint.at, err);
    if (st == BANYAN_OK)
        st = sink->ops->seal(sink, &flush, err);
    if (st == BANYAN_OK)
        st = sink->ops->finish(sink, err);
    if (st == BANYAN_OK)
        *ret = flush.checkpoint;
    free(asides);
    return st;
}

/* Takes *sink* when it serves: the engine follows it. */
static enum banyan_status serve(struct rebuild *rebuild, struct sink *sink, const struct sink_checkpoint *checkpoint,
                                struct banyan_error *err)
{
    const struct rebuild_host *host = rebuild->options.host;
    struct sink_home *home = rebuild->options.home;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink_checkpoint old = {.position = {0}};
    struct sink_aside *asides = NULL;
    size_t count = 0;
    enum banyan_status st = host->hold(rebuild->options.context, &old, err);
    if (st == BANYAN_OK)
        st = sink->ops->asides(sink, &arena, &asides, &count, err);
    if (st == BANYAN_OK) {
        st = home->ops->serve(home, rebuild->serving, sink->generation, err);
        if (st != BANYAN_OK && rebuild_serves(rebuild, sink->generation)) {
            banyan_error_clear(err); /* it happened all the same */
            st = BANYAN_OK;
        }
    }
    if (st == BANYAN_OK) {
        rebuild->serving = sink->generation;
        host->release(rebuild->options.context, sink, checkpoint, asides, count);
    } else {
        host->release(rebuild->options.context, NULL, NULL, NULL, 0);
    }
    banyan_arena_release(&arena);
    return st;
}

/* ---- for the rebuild ---- */

static enum banyan_status make_and_serve(struct rebuild *rebuild, const struct rebuild_folded *folded,
                                         struct sink_mark ready, struct banyan_error *err)
{
    struct sink_home *home = rebuild->options.home;
    struct sink *sink = NULL;
    struct sink_checkpoint checkpoint;
    struct banyan_error drop_err = BANYAN_ERROR_INIT;
    uint32_t number = 0;
    enum banyan_status st = home->ops->make(home, ready, &number, err);
    if (st == BANYAN_OK)
        st = home->ops->open(home, number, &sink, err);
    if (st == BANYAN_OK)
        st = sink->ops->claim(sink, &checkpoint, err);
    if (st == BANYAN_OK)
        st = load(rebuild, sink, folded, err);
    if (st == BANYAN_OK)
        st = seal(rebuild, sink, folded, &checkpoint, err);
    if (st == BANYAN_OK)
        st = serve(rebuild, sink, &checkpoint, err);
    if (st == BANYAN_OK)
        return BANYAN_OK;
    sink_close(sink);
    if (number != 0)
        (void)home->ops->drop(home, number, &drop_err); /* the next start drops what stays; one that serves stays */
    return st;
}

/* What failed here fails again where it matters. */
static enum banyan_status without(enum banyan_status st, struct banyan_error *err)
{
    if (st == BANYAN_STOPPED)
        return st;
    banyan_error_clear(err);
    return BANYAN_OK;
}

bool rebuild_recent_wanted(const struct rebuild *rebuild, const struct sink_generation *generations, size_t count)
{
    const struct banyan_projection *projection = rebuild->options.projection;
    char form[SINK_FORM_SIZE];
    if (!projection->recent_first || projection->spread != BANYAN_PARTITIONED ||
        projection->archived != BANYAN_ARCHIVED_INCLUDED)
        return false;
    sink_form(projection, form);
    for (size_t i = 0; i < count; i++)
        if (generations[i].state == SINK_SERVING && sink_form_readable(generations[i].form, form))
            return false; /* all that it has is shown until the switch: that is more than a part */
    return true;
}

enum banyan_status rebuild_recent(struct rebuild *rebuild, const struct rebuild_folded *folded,
                                  struct banyan_error *err)
{
    struct sink_mark ready;
    int64_t began_us = rebuild_clock_us();
    rebuild->recent = false;
    if (!choose_of_rows(folded, &ready))
        return BANYAN_OK;
    enum banyan_status st = make_and_serve(rebuild, folded, ready, err);
    rebuild_leave_out(rebuild, rebuild_clock_us() - began_us);
    return without(st, err);
}

enum banyan_status rebuild_recent_slice(struct rebuild *rebuild, const struct rebuild_fold_options *all,
                                        struct banyan_error *err)
{
    struct rebuild_fold_options options = *all;
    struct rebuild_folded folded;
    struct banyan_position reached;
    int64_t began_us = rebuild_clock_us();
    rebuild->recent = false;
    options.slice = 0;
    options.slices = 1;
    options.passed = options.rows = NULL;
    options.newest = NULL;
    enum banyan_status st = choose_of_tail(rebuild, options.last, &options.ready, err);
    if (st == BANYAN_OK)
        st = rebuild_fold(&options, &folded, &reached, err); /* LIMIT: still too many */
    if (st == BANYAN_OK) {
        st = make_and_serve(rebuild, &folded, options.ready, err);
        rebuild_folded_release(&folded);
    }
    rebuild_leave_out(rebuild, rebuild_clock_us() - began_us);
    return without(st, err);
}
