/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filter, decode, apply: see fold.h.
 *
 * Decoded payloads live in the arena of the batch: their strings point into copies of the stored bytes.  Type names
 * are found through a small open hash table, streams that are aside through the hash of their name.
 */
#include "projection/fold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "banyan/arena.h"
#include "banyan/record.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "store/decode.h"

struct fold {
    const struct banyan_domain *domain;
    const struct banyan_projection *projection;
    struct store_decoder *decoder; /* owned */
    uint16_t *types;               /* open hash table of index + 1 in domain->events; 0: free */
    size_t types_capacity;
    struct banyan_seen *batch;
    int64_t *keys; /* of the batch, for reading ahead */
    size_t count, capacity;
    struct banyan_arena arena; /* of the batch */
    struct hash aside;         /* hash of a stream's name → a mark; all that are aside */
    struct sink_aside *news;   /* put aside since the last flush */
    size_t news_count, news_capacity;
    struct banyan_arena news_arena;
};

static const char ASIDE_MARK[] = "aside";

/* ---- types ---- */

static void index_types(struct fold *fold)
{
    fold->types_capacity = 16;
    while (fold->types_capacity < fold->domain->event_count * 2)
        fold->types_capacity *= 2;
    fold->types = alloc_zeroed(fold->types_capacity, sizeof(*fold->types));
    for (size_t i = 0; i < fold->domain->event_count; i++) {
        const char *name = fold->domain->events[i].name;
        size_t slot = XXH3_64bits(name, strlen(name)) & (fold->types_capacity - 1);
        while (fold->types[slot] != 0)
            slot = (slot + 1) & (fold->types_capacity - 1);
        fold->types[slot] = (uint16_t)(i + 1);
    }
}

static const struct banyan_event_type *find_type(const struct fold *fold, struct banyan_str name, unsigned *ret_index)
{
    size_t slot = XXH3_64bits(name.data, name.size) & (fold->types_capacity - 1);
    for (; fold->types[slot] != 0; slot = (slot + 1) & (fold->types_capacity - 1)) {
        const struct banyan_event_type *type = &fold->domain->events[fold->types[slot] - 1];
        if (banyan_str_equal(banyan_str_of(type->name), name)) {
            *ret_index = fold->types[slot] - 1u;
            return type;
        }
    }
    return NULL;
}

struct fold *fold_new(struct store *store, const struct banyan_domain *domain,
                      const struct banyan_projection *projection)
{
    struct fold *fold = alloc_zeroed(1, sizeof(*fold));
    fold->domain = domain;
    fold->projection = projection;
    fold->decoder = store_decoder_new(store, domain);
    index_types(fold);
    return fold;
}

void fold_free(struct fold *fold)
{
    if (fold == NULL)
        return;
    store_decoder_free(fold->decoder);
    free(fold->types);
    free(fold->batch);
    free(fold->keys);
    free(fold->news);
    hash_release(&fold->aside);
    banyan_arena_release(&fold->arena);
    banyan_arena_release(&fold->news_arena);
    free(fold);
}

bool fold_stream_key(struct banyan_str stream, const char *category, int64_t *ret_key, bool *ret_ok)
{
    size_t prefix = strlen(category);
    if (stream.size <= prefix || memcmp(stream.data, category, prefix) != 0 || stream.data[prefix] != '-')
        return false;
    size_t at = prefix + 1;
    bool negative = at < stream.size && stream.data[at] == '-';
    if (negative)
        at++;
    bool ok = at < stream.size;
    uint64_t value = 0;
    for (; at < stream.size && ok; at++) {
        char c = stream.data[at];
        ok = c >= '0' && c <= '9' && !__builtin_mul_overflow(value, 10, &value) &&
             !__builtin_add_overflow(value, (uint64_t)(c - '0'), &value);
    }
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    *ret_ok = ok && value <= limit;
    if (*ret_ok)
        *ret_key = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

/* ---- aside ---- */

static int64_t stream_hash(struct banyan_str stream)
{
    return (int64_t)XXH3_64bits(stream.data, stream.size);
}

static bool is_aside(const struct fold *fold, struct banyan_str stream)
{
    return fold->aside.count > 0 && hash_get(&fold->aside, stream_hash(stream)) != NULL;
}

static void put_aside(struct fold *fold, struct banyan_str stream, struct banyan_position position,
                      const struct banyan_error *why)
{
    if (hash_put(&fold->aside, stream_hash(stream), (void *)(uintptr_t)ASIDE_MARK) != NULL)
        return;
    if (fold->news_count == fold->news_capacity) {
        fold->news_capacity = fold->news_capacity == 0 ? 16 : fold->news_capacity * 2;
        fold->news = alloc_resized(fold->news, fold->news_capacity, sizeof(*fold->news));
    }
    fold->news[fold->news_count++] = (struct sink_aside){
        .stream = banyan_arena_str(&fold->news_arena, stream),
        .position = position,
        .reason = banyan_arena_printf(&fold->news_arena, "%s%s%s", why->message, why->detail[0] == '\0' ? "" : ": ",
                                      why->detail),
    };
}

const struct sink_aside *fold_asides(struct fold *fold, size_t *ret_count)
{
    *ret_count = fold->news_count;
    return fold->news;
}

void fold_flushed(struct fold *fold)
{
    fold->news_count = 0;
    banyan_arena_reset(&fold->news_arena);
}

void fold_restore(struct fold *fold, const struct sink_aside *asides, size_t count)
{
    fold->count = 0;
    banyan_arena_reset(&fold->arena);
    fold_flushed(fold);
    hash_reset(&fold->aside);
    for (size_t i = 0; i < count; i++)
        (void)hash_put(&fold->aside, stream_hash(asides[i].stream), (void *)(uintptr_t)ASIDE_MARK);
}

size_t fold_aside_count(const struct fold *fold)
{
    return fold->aside.count;
}

/* ---- the batch ---- */

size_t fold_count(const struct fold *fold)
{
    return fold->count;
}

size_t fold_bytes(const struct fold *fold)
{
    return fold->arena.bytes;
}

/* Find the type and decode the payload into the batch's arena. */
static enum banyan_status decode(struct fold *fold, const struct store_event *event, struct banyan_seen *seen,
                                 struct banyan_error *err)
{
    const struct banyan_event_type *type = find_type(fold, event->type, &seen->type);
    if (type == NULL) {
        enum banyan_status st = banyan_error_set(err, BANYAN_INVALID, "event type %.*s is not known to domain %s",
                                                 (int)event->type.size, event->type.data, fold->domain->name);
        banyan_error_hint(err, "run a program whose domain has this type");
        return st;
    }
    struct banyan_str data = banyan_arena_str(&fold->arena, event->payload);
    void *payload = banyan_arena_alloc(&fold->arena, type->record->size);
    enum banyan_status st = store_decode(fold->decoder, seen->type, event->schema, data, &fold->arena, payload, err);
    if (st == BANYAN_OK)
        seen->payload = payload;
    return st;
}

static void grow(struct fold *fold)
{
    fold->capacity = fold->capacity == 0 ? 1024 : fold->capacity * 2;
    fold->batch = alloc_resized(fold->batch, fold->capacity, sizeof(*fold->batch));
    fold->keys = alloc_resized(fold->keys, fold->capacity, sizeof(*fold->keys));
}

void fold_add(struct fold *fold, const struct store_read_event *event)
{
    const struct store_event *stored = &event->event;
    struct banyan_seen seen = {
        .position = event->position,
        .version = event->version,
        .at = stored->at,
        .provenance = stored->provenance,
    };
    struct banyan_error err = BANYAN_ERROR_INIT;
    bool key_ok;

    if (!fold_stream_key(stored->stream, fold->projection->categories[0], &seen.key, &key_ok) ||
        is_aside(fold, stored->stream))
        return;
    if (!key_ok) {
        (void)banyan_error_set(&err, BANYAN_INVALID, "stream name %.*s has no integer key", (int)stored->stream.size,
                               stored->stream.data); /* the aside carries it */
        put_aside(fold, stored->stream, event->position, &err);
        return;
    }
    if (decode(fold, stored, &seen, &err) != BANYAN_OK) {
        put_aside(fold, stored->stream, event->position, &err);
        return;
    }
    if (fold->count == fold->capacity)
        grow(fold);
    seen.stream = banyan_arena_str(&fold->arena, stored->stream);
    fold->batch[fold->count] = seen;
    fold->keys[fold->count++] = seen.key;
}

/* Was the stream put aside by an earlier event of this batch?  (By a later one: this one still counts.) */
static bool aside_before(const struct fold *fold, const struct banyan_seen *seen)
{
    if (!is_aside(fold, seen->stream))
        return false;
    for (size_t i = 0; i < fold->news_count; i++)
        if (banyan_str_equal(fold->news[i].stream, seen->stream))
            return fold->news[i].position.value <= seen->position.value;
    return true;
}

enum banyan_status fold_apply(struct fold *fold, struct banyan_unit *unit, size_t *ret_applied,
                              struct banyan_error *err)
{
    size_t applied = 0;
    enum banyan_status st = unit_read_ahead(unit, fold->keys, fold->count, err);
    for (size_t i = 0; i < fold->count && st == BANYAN_OK; i++) {
        const struct banyan_seen *seen = &fold->batch[i];
        struct banyan_error why = BANYAN_ERROR_INIT;
        if (aside_before(fold, seen))
            continue;
        fold->projection->apply(seen, unit);
        applied++;
        st = unit_failed(unit, err);
        if (unit_refused(unit, &why) != BANYAN_OK)
            put_aside(fold, seen->stream, seen->position, &why);
    }
    fold->count = 0;
    banyan_arena_reset(&fold->arena);
    if (st == BANYAN_OK)
        *ret_applied = applied;
    return st;
}
