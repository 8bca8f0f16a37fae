/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of records.h. */
#include "legacy/records.h"

#include <assert.h>
#include <jansson.h>
#include <string.h>

enum {
    HELD_VERSION_FIRST = 1, /* without a category */
    HELD_VERSION = 2,
    HELD_FRONT_SIZE = 25,
};

/* ---- out ---- */

static void add_text(struct banyan_buf *ret, const char *name, struct banyan_str text)
{
    banyan_buf_printf(ret, "%s\"%s\":", ret->size == 1 ? "" : ",", name);
    banyan_buf_add_json(ret, text);
}

static void add_lsn(struct banyan_buf *ret, uint64_t lsn)
{
    char text[PG_LSN_TEXT_SIZE];
    pg_lsn_format(lsn, text);
    add_text(ret, "lsn", banyan_str_of(text));
}

static void add_snapshot(struct banyan_buf *ret, const struct pg_snapshot *snapshot)
{
    struct banyan_buf text = BANYAN_BUF_INIT(RECORDS_JSON_BYTES_MAX / 2);
    pg_snapshot_format(snapshot, &text);
    add_text(ret, "snapshot", banyan_buf_str(&text));
    banyan_buf_release(&text);
}

struct banyan_str records_cursor_front(const struct legacy *legacy, struct banyan_arena *arena)
{
    struct banyan_buf text = BANYAN_BUF_INIT(RECORDS_CURSOR_BYTES_MAX);
    banyan_buf_add_char(&text, '{');
    add_text(&text, "system", legacy->system_id);
    banyan_buf_printf(&text, ",\"timeline\":%u", legacy->timeline);
    add_text(&text, "slot", banyan_str_of(legacy->options.slot));
    banyan_buf_add_text(&text, ",\"lsn\":\"");
    assert(!text.overflow);
    struct banyan_str front = banyan_arena_str(arena, banyan_buf_str(&text));
    banyan_buf_release(&text);
    return front;
}

static char *put_number(char *at, uint64_t value, unsigned base)
{
    char digits[24];
    size_t count = 0;
    do
        digits[count++] = "0123456789ABCDEF"[value % base];
    while ((value /= base) > 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

/* Once a transaction: by hand, printf() would be a tenth of what capture costs. */
size_t records_cursor_format(const struct legacy *legacy, uint64_t lsn, uint64_t xid,
                             char text[RECORDS_CURSOR_BYTES_MAX])
{
    static const char middle[] = "\",\"xid\":";
    static_assert(sizeof(middle) + 80 < RECORDS_CURSOR_BYTES_MAX / 4, "room behind the front");
    assert(legacy->cursor_front.size < RECORDS_CURSOR_BYTES_MAX / 4 * 3);
    memcpy(text, legacy->cursor_front.data, legacy->cursor_front.size);
    char *at = text + legacy->cursor_front.size;
    at = put_number(at, lsn >> 32, 16);
    *at++ = '/';
    at = put_number(at, lsn & UINT32_MAX, 16);
    memcpy(at, middle, sizeof(middle) - 1);
    at = put_number(at + sizeof(middle) - 1, xid, 10);
    *at++ = '}';
    return (size_t)(at - text);
}

void records_slot_creating(const struct legacy *legacy, struct banyan_buf *ret)
{
    banyan_buf_add_char(ret, '{');
    add_text(ret, "slot", banyan_str_of(legacy->options.slot));
    add_text(ret, "system", legacy->system_id);
    banyan_buf_add_char(ret, '}');
}

void records_handover_started(const struct legacy *legacy, const struct pg_snapshot *snapshot, struct banyan_buf *ret)
{
    banyan_buf_add_char(ret, '{');
    add_text(ret, "slot", banyan_str_of(legacy->options.slot));
    add_text(ret, "system", legacy->system_id);
    banyan_buf_printf(ret, ",\"timeline\":%u", legacy->timeline);
    add_lsn(ret, legacy->consistent_lsn);
    add_snapshot(ret, snapshot);
    banyan_buf_add_text(ret, ",\"categories\":");
    for (size_t m = 0; m < legacy->mapping_count; m++) {
        banyan_buf_add_char(ret, m == 0 ? '[' : ',');
        banyan_buf_add_json(ret, legacy->mappings[m].category);
    }
    banyan_buf_add_text(ret, "]}");
}

void records_mapping_started(struct banyan_str category, uint64_t lsn, const struct pg_snapshot *snapshot,
                             struct banyan_buf *ret)
{
    banyan_buf_add_char(ret, '{');
    add_lsn(ret, lsn);
    add_snapshot(ret, snapshot);
    add_text(ret, "category", category);
    banyan_buf_add_char(ret, '}');
}

void records_chunk_read(struct banyan_str category, int64_t lo, int64_t hi, const struct pg_snapshot *snapshot,
                        struct banyan_buf *ret)
{
    banyan_buf_add_char(ret, '{');
    if (lo == INT64_MIN)
        banyan_buf_add_text(ret, "\"lo\":null");
    else
        banyan_buf_printf(ret, "\"lo\":%lld", (long long)lo);
    if (hi == INT64_MAX)
        banyan_buf_add_text(ret, ",\"hi\":null");
    else
        banyan_buf_printf(ret, ",\"hi\":%lld", (long long)hi);
    add_snapshot(ret, snapshot);
    add_text(ret, "category", category);
    banyan_buf_add_char(ret, '}');
}

void records_lsn(uint64_t lsn, struct banyan_buf *ret)
{
    banyan_buf_add_char(ret, '{');
    add_lsn(ret, lsn);
    banyan_buf_add_char(ret, '}');
}

void records_fence(struct banyan_str token, uint64_t lsn, struct banyan_buf *ret)
{
    banyan_buf_add_char(ret, '{');
    add_text(ret, "token", token);
    add_lsn(ret, lsn);
    banyan_buf_add_char(ret, '}');
}

/* ---- in ---- */

static struct banyan_str get_text(const json_t *object, const char *name, struct banyan_arena *arena)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value))
        return (struct banyan_str){NULL, 0};
    return banyan_arena_str(arena, (struct banyan_str){json_string_value(value), json_string_length(value)});
}

static bool get_lsn(const json_t *object, uint64_t *ret)
{
    const json_t *value = json_object_get(object, "lsn");
    return json_is_string(value) &&
           pg_lsn_parse((struct banyan_str){json_string_value(value), json_string_length(value)}, ret);
}

/* A missing or null number is *absent*. */
static int64_t get_int(const json_t *object, const char *name, int64_t absent)
{
    const json_t *value = json_object_get(object, name);
    return json_is_integer(value) ? json_integer_value(value) : absent;
}

enum banyan_status records_cursor_parse(struct banyan_str value, struct banyan_arena *arena, struct records_cursor *ret,
                                        struct banyan_error *err)
{
    struct records_cursor cursor = {.lsn = 0};
    json_t *object = json_loadb(value.data, value.size, 0, NULL);
    bool ok = json_is_object(object) && get_lsn(object, &cursor.lsn);
    cursor.system = get_text(object, "system", arena);
    cursor.slot = get_text(object, "slot", arena);
    cursor.timeline = (uint32_t)get_int(object, "timeline", 0);
    cursor.xid = (uint64_t)get_int(object, "xid", 0);
    json_decref(object);
    if (!ok || cursor.system.data == NULL || cursor.timeline == 0 || cursor.xid == 0)
        return banyan_error_set(err, BANYAN_CORRUPT, "the cursor of a legacy source is not readable: %.*s",
                                (int)(value.size > 200 ? 200 : value.size), value.data);
    *ret = cursor;
    return BANYAN_OK;
}

static bool get_categories(const json_t *object, struct banyan_arena *arena, struct records_event *ret)
{
    const json_t *list = json_object_get(object, "categories");
    if (json_array_size(list) > LEGACY_MAPPINGS_MAX)
        return false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_string(value))
            return false;
        ret->categories[ret->category_count++] =
            banyan_arena_str(arena, (struct banyan_str){json_string_value(value), json_string_length(value)});
    }
    return true;
}

enum banyan_status records_parse(struct banyan_str type, struct banyan_str payload, struct banyan_arena *arena,
                                 struct records_event *ret, struct banyan_error *err)
{
    struct records_event event = {.lsn = 0};
    json_t *object = json_loadb(payload.data, payload.size, 0, NULL);
    bool ok = json_is_object(object);
    event.slot = get_text(object, "slot", arena);
    event.system = get_text(object, "system", arena);
    event.timeline = (uint32_t)get_int(object, "timeline", 0);
    event.lo = get_int(object, "lo", INT64_MIN);
    event.hi = get_int(object, "hi", INT64_MAX);
    if (ok && json_object_get(object, "lsn") != NULL)
        ok = get_lsn(object, &event.lsn);
    event.category = get_text(object, "category", arena);
    ok = ok && get_categories(object, arena, &event);
    struct banyan_str snapshot = get_text(object, "snapshot", arena);
    if (ok && snapshot.data != NULL)
        ok = pg_snapshot_parse(snapshot, arena, &event.snapshot);
    json_decref(object);
    if (!ok)
        return banyan_error_set(err, BANYAN_CORRUPT, "an event %.*s of the legacy source is not readable",
                                (int)type.size, type.data);
    *ret = event;
    return BANYAN_OK;
}

/* ---- held changes ---- */

void records_held_encode(const struct mapper_origin *origin, const struct banyan_legacy_mapping *mapping,
                         const struct row_change *change, struct banyan_buf *ret)
{
    char front[HELD_FRONT_SIZE];
    front[0] = HELD_VERSION;
    memcpy(front + 1, &origin->xid, 8);
    memcpy(front + 9, &origin->commit_lsn, 8);
    memcpy(front + 17, &origin->time.us, 8);
    banyan_buf_add(ret, front, sizeof(front));
    const char *category = mapping->aggregate->category;
    uint16_t size = (uint16_t)strlen(category);
    banyan_buf_add(ret, &size, sizeof(size));
    banyan_buf_add(ret, category, size);
    row_change_encode(mapping, change, ret);
}

/* Take the category from the front of what follows the fixed part. */
static bool take_category(struct banyan_str *rest, struct banyan_str *ret)
{
    uint16_t size;
    if (rest->size < sizeof(size))
        return false;
    memcpy(&size, rest->data, sizeof(size));
    if (rest->size - sizeof(size) < size)
        return false;
    *ret = (struct banyan_str){rest->data + sizeof(size), size};
    rest->data += sizeof(size) + size;
    rest->size -= sizeof(size) + size;
    return true;
}

enum banyan_status records_held_decode(struct banyan_str data, struct records_held *ret, struct banyan_error *err)
{
    struct records_held held = {.category = BANYAN_STR("")};
    bool ok = data.size >= HELD_FRONT_SIZE;
    if (ok)
        held.change = (struct banyan_str){data.data + HELD_FRONT_SIZE, data.size - HELD_FRONT_SIZE};
    if (!ok || (data.data[0] != HELD_VERSION_FIRST &&
                (data.data[0] != HELD_VERSION || !take_category(&held.change, &held.category))))
        return banyan_error_set(err, BANYAN_CORRUPT, "a held change has a damaged front");
    memcpy(&held.origin.xid, data.data + 1, 8);
    memcpy(&held.origin.commit_lsn, data.data + 9, 8);
    memcpy(&held.origin.time.us, data.data + 17, 8);
    *ret = held;
    return BANYAN_OK;
}
