/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows as a plain loop gives them: read, decode, apply one by one.  Shares nothing with what it checks but the domain
 * and the record codec: rows are copies in an array sorted by nothing, found through a chained hash.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "projection/unit.h"
#include "support/tally.h"

enum {
    BUCKETS = 1 << 16,
    STAGED_MAX = 64,
};

struct plain_row {
    struct plain_row *next;
    unsigned table;
    int64_t key;
    void *row; /* NULL: deleted */
};

struct tally_plain {
    struct unit_head head;
    const struct banyan_projection *projection;
    struct plain_row *buckets[BUCKETS];
    size_t counts[BANYAN_PROJECTION_TABLES_MAX];
    struct plain_row staged[STAGED_MAX]; /* of the event that is applied */
    size_t staged_count;
    bool refused;
    struct banyan_error why;
    int64_t event_key;
    struct sink_aside *asides;
    size_t aside_count;
    struct banyan_arena arena;
};

static struct plain_row *find_row(const struct tally_plain *plain, unsigned table, int64_t key)
{
    struct plain_row *row = plain->buckets[((uint64_t)key * 31 + table) % BUCKETS];
    while (row != NULL && (row->table != table || row->key != key))
        row = row->next;
    return row;
}

static const void *get_row(struct banyan_unit *unit, unsigned table, int64_t key)
{
    struct tally_plain *plain = (struct tally_plain *)unit;
    for (size_t i = plain->staged_count; i-- > 0;)
        if (plain->staged[i].table == table && plain->staged[i].key == key)
            return plain->staged[i].row;
    const struct plain_row *row = find_row(plain, table, key);
    return row == NULL ? NULL : row->row;
}

static void stage(struct tally_plain *plain, unsigned table, int64_t key, void *row)
{
    if (plain->staged_count == STAGED_MAX)
        abort();
    plain->staged[plain->staged_count++] = (struct plain_row){.table = table, .key = key, .row = row};
}

static void put_row(struct banyan_unit *unit, unsigned table, int64_t key, const void *value)
{
    struct tally_plain *plain = (struct tally_plain *)unit;
    const struct banyan_record *record = plain->projection->tables[table].row;
    if (plain->refused)
        return;
    if (unit_check_row(plain->projection, table, key, value, &plain->why) != BANYAN_OK) {
        plain->refused = true;
        return;
    }
    void *row = banyan_arena_alloc(&plain->arena, record->size);
    banyan_record_copy(record, row, value, &plain->arena);
    stage(plain, table, key, row);
}

static void remove_row(struct banyan_unit *unit, unsigned table, int64_t key)
{
    stage((struct tally_plain *)unit, table, key, NULL);
}

static const struct unit_ops plain_ops = {.get = get_row, .put = put_row, .remove = remove_row};

static void commit(struct tally_plain *plain)
{
    for (size_t i = 0; i < plain->staged_count; i++) {
        const struct plain_row *staged = &plain->staged[i];
        struct plain_row *row = find_row(plain, staged->table, staged->key);
        if (row == NULL) {
            struct plain_row **bucket = &plain->buckets[((uint64_t)staged->key * 31 + staged->table) % BUCKETS];
            row = banyan_arena_zalloc(&plain->arena, sizeof(*row));
            *row = (struct plain_row){.next = *bucket, .table = staged->table, .key = staged->key};
            *bucket = row;
        }
        plain->counts[row->table] += (staged->row != NULL) - (row->row != NULL);
        row->row = staged->row;
    }
}

/* ---- events ---- */

static bool wants(const struct banyan_projection *projection, struct banyan_str stream, struct banyan_str type,
                  unsigned *ret_type, int64_t *ret_key)
{
    if (stream.size < 7 || memcmp(stream.data, "order-", 6) != 0)
        return false;
    *ret_key = strtoll(stream.data + 6, NULL, 10); /* ends at the first byte that is no digit */
    for (unsigned i = 0; i < TALLY_EVENTS; i++)
        if (banyan_str_equal(type, banyan_str_of(tally_domain.events[i].name))) {
            *ret_type = i;
            return projection->types == NULL || i == projection->types[0];
        }
    return false;
}

static struct sink_aside *aside_of(struct tally_plain *plain, bool by_stream, int64_t key, struct banyan_str stream)
{
    for (size_t i = 0; i < plain->aside_count; i++) {
        struct sink_aside *aside = &plain->asides[i];
        if (aside->by_stream == by_stream && (by_stream ? banyan_str_equal(aside->stream, stream) : aside->key == key))
            return aside;
    }
    return NULL;
}

static void put_aside(struct tally_plain *plain, const struct store_read_event *event, bool by_stream, int64_t key)
{
    plain->asides = realloc(plain->asides, (plain->aside_count + 1) * sizeof(*plain->asides));
    if (plain->asides == NULL)
        abort();
    plain->asides[plain->aside_count++] = (struct sink_aside){
        .by_stream = by_stream,
        .key = by_stream ? 0 : key,
        .stream = banyan_arena_str(&plain->arena, event->event.stream),
        .position = event->position,
        .held = 1,
    };
}

static void apply_one(struct tally_plain *plain, const struct store_read_event *event)
{
    const struct banyan_projection *projection = plain->projection;
    bool joined = projection->spread == BANYAN_JOINED, by_key = !joined && projection->key == NULL;
    struct banyan_seen seen = {.position = event->position, .at = event->event.at, .version = event->version};
    struct sink_aside *aside;
    unsigned type;
    seen.stream = banyan_arena_str(&plain->arena, event->event.stream);
    if (!wants(projection, seen.stream, event->event.type, &type, &seen.key))
        return;
    void *payload = banyan_arena_alloc(&plain->arena, tally_domain.events[type].record->size);
    bool poison =
        banyan_record_decode(tally_domain.events[type].record, banyan_arena_str(&plain->arena, event->event.payload),
                             payload, NULL) != BANYAN_OK;
    seen.type = type;
    seen.payload = payload;
    if (!poison && projection->key != NULL && !projection->key(&seen, &seen.key))
        return;
    if ((aside = aside_of(plain, true, 0, seen.stream)) != NULL ||
        (!joined && (by_key || !poison) && (aside = aside_of(plain, false, seen.key, seen.stream)) != NULL)) {
        aside->held++;
        return;
    }
    plain->refused = false;
    plain->staged_count = 0;
    if (!poison)
        projection->apply(&seen, (struct banyan_unit *)plain);
    if (poison || plain->refused)
        put_aside(plain, event, joined || (poison && !by_key), seen.key);
    else
        commit(plain);
}

struct tally_plain *tally_plain_new(struct store *store, const struct banyan_projection *projection,
                                    struct banyan_position last)
{
    struct tally_plain *plain = calloc(1, sizeof(*plain));
    struct store_reader *reader = store_reader_open(store);
    struct store_read_event event;
    if (plain == NULL)
        abort();
    plain->head.ops = &plain_ops;
    plain->projection = projection;
    if (store_reader_seek(reader, (struct banyan_position){1}, NULL) != BANYAN_OK)
        abort();
    while (store_reader_next(reader, &event, NULL) == BANYAN_OK && event.position.value <= last.value)
        apply_one(plain, &event);
    store_reader_close(reader);
    return plain;
}

void tally_plain_free(struct tally_plain *plain)
{
    if (plain == NULL)
        return;
    banyan_arena_release(&plain->arena);
    free(plain->asides);
    free(plain);
}

size_t tally_plain_count(const struct tally_plain *plain, unsigned table)
{
    return plain->counts[table];
}

const void *tally_plain_row(const struct tally_plain *plain, unsigned table, int64_t key)
{
    const struct plain_row *row = find_row(plain, table, key);
    return row == NULL ? NULL : row->row;
}

const struct sink_aside *tally_plain_asides(const struct tally_plain *plain, size_t *ret_count)
{
    *ret_count = plain->aside_count;
    return plain->asides;
}
