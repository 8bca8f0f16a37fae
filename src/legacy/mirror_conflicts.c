/* SPDX-License-Identifier: Apache-2.0 */
/* What operators ask of conflicts: which are open, and their word on one. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "legacy/conflict.h"
#include "legacy/mirror.h"

/* Open conflicts in the order in which they were first told. */
struct open_list {
    struct banyan_arena *arena;
    struct legacy_conflict *items; /* heap */
    size_t count, capacity;
};

static bool is_same(const struct legacy_conflict *item, const struct conflict *conflict)
{
    return item->key == conflict->key && banyan_str_equal(item->category, conflict->category);
}

static void remove_resolved(struct open_list *list, const struct conflict *conflict)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++)
        if (!is_same(&list->items[i], conflict))
            list->items[kept++] = list->items[i];
    list->count = kept;
}

static void add_open(struct open_list *list, const struct conflict *conflict, const struct store_read_event *read)
{
    bool mirrored = conflict->kind == CONFLICT_MIRRORED;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].mirrored == mirrored && is_same(&list->items[i], conflict))
            return;
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        list->items = alloc_resized(list->items, list->capacity, sizeof(*list->items));
    }
    list->items[list->count++] = (struct legacy_conflict){
        .category = banyan_arena_str(list->arena, conflict->category),
        .key = conflict->key,
        .mirrored = mirrored,
        .position = {conflict->position},
        .recorded = read->position,
        .details = banyan_arena_str(list->arena, read->event.payload),
    };
}

/* *ret_version: of the stream that was read. */
static enum banyan_status read_open(struct store *store, const char *source, struct open_list *list,
                                    uint64_t *ret_version, struct banyan_error *err)
{
    struct banyan_arena scratch = BANYAN_ARENA_INIT;
    struct store_reader *reader = store_reader_open(store);
    struct store_read_event read;
    struct conflict conflict;
    *ret_version = 0;
    enum banyan_status status =
        store_reader_stream(reader, conflict_stream(source, list->arena), (struct banyan_version){1}, err);
    while (status == BANYAN_OK && (status = store_reader_next(reader, &read, err)) == BANYAN_OK) {
        banyan_arena_reset(&scratch);
        *ret_version = read.version.value;
        status = conflict_parse(&read.event, &scratch, &conflict, err);
        if (status == BANYAN_OK && conflict.kind == CONFLICT_RESOLVED)
            remove_resolved(list, &conflict);
        else if (status == BANYAN_OK && conflict.kind != CONFLICT_NONE)
            add_open(list, &conflict, &read);
    }
    store_reader_close(reader);
    banyan_arena_release(&scratch);
    if (status != BANYAN_NOT_FOUND)
        return status;
    banyan_error_clear(err);
    return BANYAN_OK;
}

enum banyan_status legacy_mirror_conflicts(struct store *store, const char *source, struct banyan_arena *arena,
                                           struct legacy_conflict **ret, size_t *ret_count, struct banyan_error *err)
{
    struct open_list list = {.arena = arena};
    uint64_t version;
    enum banyan_status status = read_open(store, source, &list, &version, err);
    if (status == BANYAN_OK) {
        *ret = banyan_arena_alloc(arena, (list.count + 1) * sizeof(**ret));
        for (size_t i = 0; i < list.count; i++)
            (*ret)[i] = list.items[i];
        *ret_count = list.count;
    }
    free(list.items);
    return status;
}

enum banyan_status legacy_mirror_resolve(struct store *store, const char *source, struct banyan_str category,
                                         int64_t key, struct banyan_position *ret_position, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct open_list list = {.arena = &arena};
    struct conflict wanted = {.category = category, .key = key};
    struct banyan_buf json = BANYAN_BUF_INIT(CONFLICT_JSON_BYTES_MAX);
    struct store_appended appended;
    uint64_t version;
    size_t at = 0;
    enum banyan_status status = read_open(store, source, &list, &version, err);
    if (status != BANYAN_OK)
        goto out;
    while (at < list.count && !is_same(&list.items[at], &wanted))
        at++;
    if (at == list.count) {
        status = banyan_error_set(err, BANYAN_NOT_FOUND, "source %s has no open conflict on %.*s %" PRId64, source,
                                  (int)category.size, category.data, key);
        goto out;
    }
    conflict_begin(&json, category, key);
    banyan_buf_add_text(&json, ",\"take\":\"ours\"}");
    struct banyan_str stream = conflict_stream(source, &arena);
    struct store_event event = conflict_event(stream, "ConflictResolved", &json, &arena);
    /* Of two who resolve it at once one is told that it changed. */
    struct store_condition condition = {stream, STORE_EXPECT_VERSION, {version}};
    struct store_append append = {.events = &event, .event_count = 1, .conditions = &condition, .condition_count = 1};
    status = store_append(store, &append, &appended, err);
    if (status == BANYAN_OK)
        *ret_position = appended.last;
out:
    banyan_buf_release(&json);
    free(list.items);
    banyan_arena_release(&arena);
    return status;
}
