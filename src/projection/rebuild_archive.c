/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams that are done with, in a rebuild: see banyan_archive_policy.
 *
 * A stream is covered when it is marked, its date has come, and nothing was appended to it since it was marked.
 *
 * CARRIED: the rows of covered keys are copied from the generation that serves, as of one checkpoint C, and the fold
 * ends at C, too.  So each event is in the rows exactly once, whichever way they came; what follows C is caught up with
 * for all keys alike.  A key that is aside there has events that are not in its row: it is folded.
 *
 * What can go wrong (nothing serves; what serves has other columns) costs time only: the streams are then read like
 * others.  Rows are never lost.
 */
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "projection/rebuild_int.h"
#include "store/archive.h"

enum {
    CARRY_ROWS = 1000,
    PREFIX_BYTES = sizeof("$archive-") - 1, /* of a mark's stream */
};

static char marked[] = "marked";

static bool covered(struct rebuild *rebuild, struct banyan_str stream, struct banyan_time now)
{
    struct store_archive_mark mark;
    struct store_head head;
    struct banyan_error err = BANYAN_ERROR_INIT;
    return store_archive_get(rebuild->options.store, stream, &mark, &err) == BANYAN_OK && mark.marked &&
           mark.from.us <= now.us && store_head(rebuild->options.store, stream, &head, &err) == BANYAN_OK &&
           head.version.value <= mark.version.value;
}

static bool of_category(struct banyan_str stream, const char *category)
{
    size_t size = strlen(category);
    return stream.size > size && stream.data[size] == '-' && memcmp(stream.data, category, size) == 0;
}

static void note(struct rebuild *rebuild, struct banyan_str stream, struct banyan_time now)
{
    const struct banyan_projection *projection = rebuild->options.projection;
    bool number;
    if (projection->archived == BANYAN_ARCHIVED_CARRIED) {
        int64_t key = seen_stream_key(stream, &number);
        if (of_category(stream, projection->categories[0]) && number && covered(rebuild, stream, now))
            (void)hash_put(&rebuild->skip.keys, key, marked); /* the same mark */
        return;
    }
    for (const char *const *category = projection->categories; *category != NULL; category++)
        if (of_category(stream, *category) && covered(rebuild, stream, now))
            (void)hash_put(&rebuild->skip.streams, rebuild_stream_hash(stream), marked); /* the same mark */
}

/* Every stream that was ever marked. */
static enum banyan_status find_marked(struct rebuild *rebuild, struct banyan_error *err)
{
    static const struct banyan_str category = {"$archive", sizeof("$archive") - 1};
    struct store_filter filter = {.categories = &category, .category_count = 1};
    struct store_reader *reader = store_reader_open(rebuild->options.store);
    struct banyan_time now = os_clock_now(os_clock_real());
    struct store_read_event event;
    store_reader_filter(reader, &filter);
    enum banyan_status st = store_reader_seek(reader, (struct banyan_position){1}, err);
    while (st == BANYAN_OK && (st = store_reader_next(reader, &event, err)) == BANYAN_OK) {
        struct banyan_str name = event.event.stream;
        if (name.size > PREFIX_BYTES)
            note(rebuild, (struct banyan_str){name.data + PREFIX_BYTES, name.size - PREFIX_BYTES}, now);
        if (rebuild_ends(rebuild))
            st = BANYAN_STOPPED;
    }
    store_reader_close(reader);
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st;
}

/* ---- carry ---- */

struct carrying {
    struct rebuild *rebuild;
    unsigned table;
    struct sink_load *load;
    struct sink_row rows[CARRY_ROWS];
    size_t count;
    struct banyan_arena arena;
};

static enum banyan_status put_carried(struct carrying *carrying, struct banyan_error *err)
{
    struct rebuild *rebuild = carrying->rebuild;
    enum banyan_status st = rebuild->sink->ops->load_rows(carrying->load, carrying->rows, carrying->count, err);
    rebuild->row_counts[carrying->table] += carrying->count;
    carrying->count = 0;
    banyan_arena_reset_keeping(&carrying->arena, (size_t)1 << 20);
    if (st == BANYAN_OK && rebuild_ends(rebuild))
        st = BANYAN_STOPPED;
    return st;
}

static enum banyan_status carry_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct carrying *carrying = context;
    const struct banyan_record *record = carrying->rebuild->options.projection->tables[carrying->table].row;
    if (hash_get(&carrying->rebuild->skip.keys, key) == NULL)
        return BANYAN_OK;
    void *copy = banyan_arena_alloc(&carrying->arena, record->size);
    banyan_record_copy(record, copy, row, &carrying->arena);
    carrying->rows[carrying->count++] =
        (struct sink_row){.table = carrying->table, .key = key, .row = copy, .changed = UINT64_MAX};
    return carrying->count < CARRY_ROWS ? BANYAN_OK : put_carried(carrying, err);
}

static enum banyan_status carry_table(struct rebuild *rebuild, struct sink_view *view, unsigned table,
                                      struct banyan_error *err)
{
    struct carrying *carrying = alloc_zeroed(1, sizeof(*carrying));
    struct sink_checkpoint checkpoint;
    struct banyan_error close_err = BANYAN_ERROR_INIT;
    carrying->rebuild = rebuild;
    carrying->table = table;
    enum banyan_status st = rebuild->sink->ops->load_open(rebuild->sink, table, &carrying->load, err);
    if (st != BANYAN_OK)
        goto out;
    st = view->ops->range(view, table, INT64_MIN, INT64_MAX, &checkpoint, carry_row, carrying, err);
    if (st == BANYAN_OK && carrying->count > 0)
        st = put_carried(carrying, err);
    enum banyan_status closed = rebuild->sink->ops->load_close(carrying->load, st == BANYAN_OK, &close_err);
    if (st == BANYAN_OK && closed != BANYAN_OK) {
        st = closed;
        *err = close_err;
    }
out:
    banyan_arena_release(&carrying->arena);
    free(carrying);
    return st;
}

/* Keys that are aside are not whole in their rows. */
static enum banyan_status leave_asides(struct rebuild *rebuild, struct sink_view *view, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink_aside *asides = NULL;
    size_t count = 0;
    enum banyan_status st = view->ops->asides(view, &arena, &asides, &count, err);
    for (size_t i = 0; i < count && st == BANYAN_OK; i++)
        if (asides[i].by_stream)
            hash_reset(&rebuild->skip.keys); /* its events may be of any key */
        else
            (void)hash_remove(&rebuild->skip.keys, asides[i].key); /* there or not */
    banyan_arena_release(&arena);
    return st;
}

static enum banyan_status carry(struct rebuild *rebuild, struct banyan_position *last, struct banyan_error *err)
{
    struct sink_view *view = NULL;
    struct sink_checkpoint checkpoint = {.position = {0}};
    bool begun = false;
    enum banyan_status st = rebuild->options.home->ops->view(rebuild->options.home, &view, err);
    if (st == BANYAN_OK)
        st = view->ops->begin(view, &checkpoint, err);
    begun = st == BANYAN_OK;
    if (st == BANYAN_OK)
        st = leave_asides(rebuild, view, err);
    if (checkpoint.position.value == 0)
        hash_reset(&rebuild->skip.keys);
    for (unsigned i = 0; i < rebuild->options.projection->table_count && st == BANYAN_OK; i++)
        if (rebuild->skip.keys.count > 0)
            st = carry_table(rebuild, view, i, err);
    if (begun)
        view->ops->end(view);
    sink_view_close(view);
    if (st == BANYAN_OK && rebuild->skip.keys.count > 0 && checkpoint.position.value < last->value)
        *last = checkpoint.position;
    if (st != BANYAN_OK && st != BANYAN_STOPPED)
        rebuild->carry_failed = true;
    return st;
}

enum banyan_status rebuild_archived(struct rebuild *rebuild, struct banyan_position *last, struct banyan_error *err)
{
    const struct banyan_projection *projection = rebuild->options.projection;
    bool carries = projection->archived == BANYAN_ARCHIVED_CARRIED;
    hash_reset(&rebuild->skip.keys);
    hash_reset(&rebuild->skip.streams);
    if (projection->archived == BANYAN_ARCHIVED_INCLUDED ||
        (carries && (projection->spread != BANYAN_PARTITIONED || rebuild->serving == 0 || rebuild->carry_failed)))
        return BANYAN_OK;
    enum banyan_status st = find_marked(rebuild, err);
    if (st == BANYAN_OK && carries && rebuild->skip.keys.count > 0)
        st = carry(rebuild, last, err);
    return st;
}
