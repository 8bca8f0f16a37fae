/* SPDX-License-Identifier: Apache-2.0 */
/* See event_line.h. */
#include "store/event_line.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/jtext.h"
#include "schema/time_text.h"
#include "store/provenance.h"

/* ---- write ---- */

static void add_base64(struct banyan_buf *ret, struct banyan_str data)
{
    banyan_buf_add_char(ret, '"');
    base64_add(ret, data);
    banyan_buf_add_char(ret, '"');
}

static void add_time(struct banyan_buf *ret, const char *name, struct banyan_time time)
{
    char text[TIME_TEXT_MAX];

    if (time.us == BANYAN_TIME_NULL) {
        banyan_buf_printf(ret, ",\"%s\":null", name);
        return;
    }
    banyan_buf_printf(ret, ",\"%s\":\"%.*s\"", name, (int)(time_put_moment(text, time.us, TIME_DIGITS_MICROS) - text),
                      text);
}

/* Is it one JSON value that stays on its line? */
static bool is_line(struct banyan_str text)
{
    struct jtext_input in = jtext_input(text);
    struct banyan_str raw;

    if (memchr(text.data, '\n', text.size) != NULL || memchr(text.data, '\r', text.size) != NULL)
        return false;
    /* Only a value that fills the text comes back as the same bytes. */
    return jtext_skip(&in, &raw) && jtext_end(&in) && raw.size == text.size;
}

void event_line_write(const struct store_read_event *read, struct banyan_buf *ret)
{
    const struct store_event *event = &read->event;
    char id[BANYAN_UUID_TEXT_SIZE];

    banyan_uuid_format(event->id, id);
    banyan_buf_printf(ret, "{\"position\":%" PRIu64 ",\"stream\":", read->position.value);
    banyan_buf_add_json(ret, event->stream);
    banyan_buf_printf(ret, ",\"version\":%" PRIu64 ",\"type\":", read->version.value);
    banyan_buf_add_json(ret, event->type);
    banyan_buf_printf(ret, ",\"id\":\"%s\"", id);
    add_time(ret, "at", event->at);
    add_time(ret, "recorded_at", read->recorded_at);
    banyan_buf_printf(ret, ",\"provenance\":\"%s\",\"schema\":%u", provenance_word(event->provenance), event->schema);
    if (event->schema == 0 && is_line(event->payload)) {
        banyan_buf_add_text(ret, ",\"payload\":");
        banyan_buf_add_str(ret, event->payload);
    } else {
        banyan_buf_add_text(ret, ",\"payload_base64\":");
        add_base64(ret, event->payload);
    }
    if (event->meta.size > 0) {
        banyan_buf_add_text(ret, is_line(event->meta) ? ",\"meta\":" : ",\"meta_base64\":");
        if (is_line(event->meta))
            banyan_buf_add_str(ret, event->meta);
        else
            add_base64(ret, event->meta);
    }
    if (read->cursor.name.size > 0) {
        banyan_buf_add_text(ret, ",\"cursor_name\":");
        banyan_buf_add_json(ret, read->cursor.name);
        banyan_buf_add_text(ret, ",\"cursor_base64\":");
        add_base64(ret, read->cursor.value);
    }
    banyan_buf_add_text(ret, read->ends_batch ? ",\"ends_batch\":true}\n" : ",\"ends_batch\":false}\n");
}

/* ---- read ---- */

enum member {
    MEMBER_POSITION,
    MEMBER_STREAM,
    MEMBER_VERSION,
    MEMBER_TYPE,
    MEMBER_ID,
    MEMBER_AT,
    MEMBER_RECORDED_AT,
    MEMBER_PROVENANCE,
    MEMBER_SCHEMA,
    MEMBER_PAYLOAD,
    MEMBER_PAYLOAD_BASE64,
    MEMBER_META,
    MEMBER_META_BASE64,
    MEMBER_CURSOR_NAME,
    MEMBER_CURSOR_BASE64,
    MEMBER_ENDS_BATCH,
    MEMBER_COUNT,
};

static const char *const members[MEMBER_COUNT] = {
    [MEMBER_POSITION] = "position",
    [MEMBER_STREAM] = "stream",
    [MEMBER_VERSION] = "version",
    [MEMBER_TYPE] = "type",
    [MEMBER_ID] = "id",
    [MEMBER_AT] = "at",
    [MEMBER_RECORDED_AT] = "recorded_at",
    [MEMBER_PROVENANCE] = "provenance",
    [MEMBER_SCHEMA] = "schema",
    [MEMBER_PAYLOAD] = "payload",
    [MEMBER_PAYLOAD_BASE64] = "payload_base64",
    [MEMBER_META] = "meta",
    [MEMBER_META_BASE64] = "meta_base64",
    [MEMBER_CURSOR_NAME] = "cursor_name",
    [MEMBER_CURSOR_BASE64] = "cursor_base64",
    [MEMBER_ENDS_BATCH] = "ends_batch",
};

struct line {
    struct jtext_input in;
    struct banyan_arena *arena;
    struct store_read_event *event;
    uint32_t seen; /* a bit a member */
};

/* A string, its escapes resolved. */
static bool get_text(struct line *line, struct banyan_str *ret)
{
    struct banyan_buf plain;
    struct banyan_str raw;

    if (!jtext_string(&line->in, &raw))
        return false;
    *ret = raw;
    if (raw.size == 0 || memchr(raw.data, '\\', raw.size) == NULL)
        return true;
    plain = (struct banyan_buf)BANYAN_BUF_INIT(raw.size);
    bool whole = jtext_unescape(raw, &plain); /* never longer than with escapes */
    *ret = banyan_arena_str(line->arena, banyan_buf_str(&plain));
    banyan_buf_release(&plain);
    return whole || jtext_fault(&line->in, "whole characters are expected, not half of a surrogate pair");
}

static bool get_base64(struct line *line, struct banyan_str *ret)
{
    struct banyan_str raw;
    unsigned char *bytes;
    size_t size;

    if (!jtext_string(&line->in, &raw))
        return false;
    bytes = banyan_arena_alloc(line->arena, raw.size + 1);
    if (!base64_decode(raw, bytes, &size))
        return jtext_fault(&line->in, "base64 is expected");
    *ret = (struct banyan_str){(const char *)bytes, size};
    return true;
}

static bool get_number(struct line *line, uint64_t max, uint64_t *ret)
{
    struct banyan_str text;

    if (!jtext_number(&line->in, &text))
        return false;
    *ret = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)(text.data[i] - '0');

        if (text.data[i] < '0' || text.data[i] > '9' || *ret > (max - digit) / 10)
            return jtext_fault(&line->in, "a smaller whole number is expected");
        *ret = *ret * 10 + digit;
    }
    return true;
}

static bool get_time(struct line *line, struct banyan_time *ret)
{
    struct banyan_str raw;

    ret->us = BANYAN_TIME_NULL;
    if (jtext_peek(&line->in) == JTEXT_NULL)
        return jtext_null(&line->in);
    return jtext_string(&line->in, &raw) &&
           (time_get_moment(raw, TIME_DIGITS_MICROS, &ret->us) ||
            jtext_fault(&line->in, "a time like 2015-05-01T00:00:04.518Z is expected"));
}

static bool get_id(struct line *line)
{
    struct banyan_str raw;

    return jtext_string(&line->in, &raw) &&
           (banyan_uuid_parse(raw, &line->event->event.id) || jtext_fault(&line->in, "a UUID is expected"));
}

static bool get_provenance(struct line *line)
{
    struct banyan_str raw;

    if (!jtext_string(&line->in, &raw))
        return false;
    for (unsigned i = 0; i < PROVENANCE_COUNT; i++) {
        if (jtext_is(raw, provenance_word((enum banyan_provenance)i))) {
            line->event->event.provenance = (enum banyan_provenance)i;
            return true;
        }
    }
    return jtext_fault(&line->in, "none, exact, inferred or reconciled is expected");
}

static bool get_member(struct line *line, enum member member)
{
    struct store_read_event *read = line->event;
    uint64_t number = 0;

    switch (member) {
    case MEMBER_POSITION:
        return get_number(line, INT64_MAX, &read->position.value);
    case MEMBER_STREAM:
        return get_text(line, &read->event.stream);
    case MEMBER_VERSION:
        return get_number(line, INT64_MAX, &read->version.value);
    case MEMBER_TYPE:
        return get_text(line, &read->event.type);
    case MEMBER_ID:
        return get_id(line);
    case MEMBER_AT:
        return get_time(line, &read->event.at);
    case MEMBER_RECORDED_AT:
        return get_time(line, &read->recorded_at);
    case MEMBER_PROVENANCE:
        return get_provenance(line);
    case MEMBER_SCHEMA:
        if (!get_number(line, UINT16_MAX, &number))
            return false;
        read->event.schema = (uint16_t)number;
        return true;
    case MEMBER_PAYLOAD:
        return jtext_skip(&line->in, &read->event.payload);
    case MEMBER_PAYLOAD_BASE64:
        return get_base64(line, &read->event.payload);
    case MEMBER_META:
        return jtext_skip(&line->in, &read->event.meta);
    case MEMBER_META_BASE64:
        return get_base64(line, &read->event.meta);
    case MEMBER_CURSOR_NAME:
        return get_text(line, &read->cursor.name);
    case MEMBER_CURSOR_BASE64:
        return get_base64(line, &read->cursor.value);
    case MEMBER_ENDS_BATCH:
        return jtext_boolean(&line->in, &read->ends_batch);
    case MEMBER_COUNT:
        break;
    }
    return false;
}

static bool get_any_member(struct line *line, struct banyan_str name)
{
    for (enum member member = 0; member < MEMBER_COUNT; member++) {
        if (!jtext_is(name, members[member]))
            continue;
        if ((line->seen >> member & 1) != 0)
            return jtext_fault(&line->in, "the member stands twice");
        line->seen |= 1u << member;
        return get_member(line, member);
    }
    return jtext_fault(&line->in, "no such member");
}

/* What has to be there, and what excludes each other. */
static const char *missing(const struct line *line)
{
    const uint32_t seen = line->seen;

    for (enum member member = MEMBER_STREAM; member <= MEMBER_ID; member++) {
        if (member != MEMBER_VERSION && (seen >> member & 1) == 0)
            return members[member];
    }
    return (seen >> MEMBER_PAYLOAD & 1) + (seen >> MEMBER_PAYLOAD_BASE64 & 1) == 1 ? NULL : "payload or payload_base64";
}

enum banyan_status event_line_read(struct banyan_str text, struct banyan_arena *arena, struct store_read_event *ret,
                                   struct banyan_error *err)
{
    struct line line = {.in = jtext_input(text), .arena = arena, .event = ret};
    struct banyan_str name;
    unsigned row, column;

    *ret = (struct store_read_event){.ends_batch = true};
    ret->event.at.us = ret->recorded_at.us = BANYAN_TIME_NULL;
    if (jtext_object(&line.in)) {
        while (jtext_member(&line.in, &name)) {
            if (!get_any_member(&line, name))
                break;
        }
    }
    if (!jtext_end(&line.in)) {
        jtext_place(&line.in, &row, &column);
        return banyan_error_set(err, BANYAN_INVALID, "column %u: %s", column, line.in.fault);
    }
    if (missing(&line) != NULL)
        return banyan_error_set(err, BANYAN_INVALID, "%s is missing", missing(&line));
    return BANYAN_OK;
}
