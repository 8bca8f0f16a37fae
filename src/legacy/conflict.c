/* SPDX-License-Identifier: Apache-2.0 */
/* See conflict.h. */
#include "legacy/conflict.h"

#include <inttypes.h>
#include <jansson.h>

#include "os/clock.h"
#include "os/random.h"

struct banyan_str conflict_stream(const char *source, struct banyan_arena *arena)
{
    return banyan_arena_printf(arena, "$conflict-%s", source);
}

static enum conflict_kind kind_of(struct banyan_str type)
{
    if (banyan_str_equal(type, BANYAN_STR("LegacyWrote")))
        return CONFLICT_CAPTURED;
    if (banyan_str_equal(type, BANYAN_STR("MirrorConflict")))
        return CONFLICT_MIRRORED;
    return banyan_str_equal(type, BANYAN_STR("ConflictResolved")) ? CONFLICT_RESOLVED : CONFLICT_NONE;
}

enum banyan_status conflict_parse(const struct store_event *event, struct banyan_arena *arena, struct conflict *ret,
                                  struct banyan_error *err)
{
    *ret = (struct conflict){.kind = kind_of(event->type)};
    if (ret->kind == CONFLICT_NONE)
        return BANYAN_OK;
    json_t *json = json_loadb(event->payload.data, event->payload.size, 0, NULL);
    const json_t *category = json_object_get(json, "category"), *key = json_object_get(json, "key");
    const json_t *position = json_object_get(json, "position");
    enum banyan_status status = BANYAN_OK;
    if (json_is_string(category) && json_is_integer(key) &&
        (ret->kind != CONFLICT_MIRRORED || json_is_integer(position))) {
        ret->category =
            banyan_arena_str(arena, (struct banyan_str){json_string_value(category), json_string_length(category)});
        ret->key = json_integer_value(key);
        ret->position = (uint64_t)json_integer_value(position);
    } else {
        status = banyan_error_set(err, BANYAN_CORRUPT, "an event %.*s of stream %.*s is not readable",
                                  (int)event->type.size, event->type.data, (int)event->stream.size, event->stream.data);
    }
    json_decref(json);
    return status;
}

void conflict_begin(struct banyan_buf *json, struct banyan_str category, int64_t key)
{
    banyan_buf_add_text(json, "{\"category\":");
    banyan_buf_add_json(json, category);
    banyan_buf_printf(json, ",\"key\":%" PRId64, key);
}

void conflict_add_row(struct banyan_buf *json, const char *name, const struct banyan_record *record, const void *row)
{
    banyan_buf_printf(json, "\"%s\":", name);
    if (row != NULL)
        banyan_record_json(record, row, json);
    else
        banyan_buf_add_text(json, "null");
}

struct store_event conflict_event(struct banyan_str stream, const char *type, const struct banyan_buf *json,
                                  struct banyan_arena *arena)
{
    return (struct store_event){
        .id = os_uuid_new(),
        .stream = stream,
        .type = banyan_str_of(type),
        .provenance = BANYAN_EXACT,
        .at = os_clock_now(os_clock_real()),
        .payload = banyan_arena_str(arena, banyan_buf_str(json)),
        .meta = BANYAN_STR(""),
    };
}
