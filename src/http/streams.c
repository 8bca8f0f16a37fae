/* SPDX-License-Identifier: Apache-2.0 */
/* GET /streams/{name}: the events of a stream as JSON. */
#include <inttypes.h>
#include <string.h>

#include "banyan/arena.h"
#include "http/http_int.h"

static const char *const provenances[] = {"none", "exact", "inferred", "reconciled"};

static const struct banyan_event_type *type_of(const struct banyan_domain *domain, const struct store_event *event)
{
    for (size_t i = 0; i < domain->event_count; i++)
        if (banyan_str_equal(event->type, banyan_str_of(domain->events[i].name)) &&
            domain->events[i].version == event->schema)
            return &domain->events[i];
    return NULL;
}

static void add_base64(struct banyan_buf *ret, struct banyan_str data)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    banyan_buf_add_text(ret, "{\"base64\":\"");
    for (size_t i = 0; i < data.size; i += 3) {
        uint32_t bits = (uint32_t)(unsigned char)data.data[i] << 16;
        if (i + 1 < data.size)
            bits |= (uint32_t)(unsigned char)data.data[i + 1] << 8;
        if (i + 2 < data.size)
            bits |= (unsigned char)data.data[i + 2];
        banyan_buf_add_char(ret, digits[bits >> 18]);
        banyan_buf_add_char(ret, digits[bits >> 12 & 63]);
        banyan_buf_add_char(ret, i + 1 < data.size ? digits[bits >> 6 & 63] : '=');
        banyan_buf_add_char(ret, i + 2 < data.size ? digits[bits & 63] : '=');
    }
    banyan_buf_add_text(ret, "\"}");
}

static void add_payload(const struct banyan_domain *domain, const struct store_event *event, struct banyan_buf *ret)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    const struct banyan_event_type *type = type_of(domain, event);
    void *value = type == NULL ? NULL : banyan_arena_zalloc(&arena, type->record->size);
    if (value != NULL && banyan_record_decode(type->record, event->payload, value, &err) == BANYAN_OK)
        banyan_record_json(type->record, value, ret);
    else if (event->schema == 0 && event->payload.size > 0 && event->payload.data[0] == '{')
        banyan_buf_add_str(ret, event->payload);
    else
        add_base64(ret, event->payload);
    banyan_arena_release(&arena);
}

static void add_time(struct banyan_buf *ret, struct banyan_time time)
{
    static const struct banyan_field field = {"time", BANYAN_FIELD_TIME, BANYAN_FIELD_OPTIONAL, 0, 0};
    banyan_field_json(&field, &time, ret);
}

void http_event_json(const struct banyan_domain *domain, const struct store_read_event *read, struct banyan_buf *ret)
{
    char id[BANYAN_UUID_TEXT_SIZE];
    const struct store_event *event = &read->event;
    banyan_uuid_format(event->id, id);
    banyan_buf_printf(ret, "{\"position\":%" PRIu64 ",\"version\":%" PRIu64 ",\"type\":", read->position.value,
                      read->version.value);
    banyan_buf_add_json(ret, event->type);
    banyan_buf_printf(ret, ",\"id\":\"%s\",\"at\":", id);
    add_time(ret, event->at);
    banyan_buf_add_text(ret, ",\"recorded_at\":");
    add_time(ret, read->recorded_at);
    banyan_buf_printf(ret, ",\"provenance\":\"%s\",\"payload\":", provenances[event->provenance]);
    add_payload(domain, event, ret);
    banyan_buf_add_text(ret, ",\"meta\":");
    banyan_buf_add_str(ret, event->meta.size > 0 ? event->meta : BANYAN_STR("{}"));
    banyan_buf_add_char(ret, '}');
}

static enum banyan_status add_events(struct http_call *call, struct store_reader *reader, uint64_t limit,
                                     struct banyan_buf *ret, struct banyan_error *err)
{
    struct store_read_event event;
    enum banyan_status st = BANYAN_OK;
    uint64_t count = 0, next = 0;
    while (count < limit && ret->size < HTTP_ANSWER_BYTES_MAX / 2) {
        st = store_reader_next(reader, &event, err);
        if (st != BANYAN_OK)
            break;
        banyan_buf_add_text(ret, count++ > 0 ? "," : "");
        http_event_json(call->server->options.domain, &event, ret);
        next = event.version.value + 1;
    }
    if (st != BANYAN_OK && st != BANYAN_NOT_FOUND)
        return st;
    banyan_buf_add_text(ret, "]");
    if (st == BANYAN_OK)
        banyan_buf_printf(ret, ",\"next\":%" PRIu64, next);
    banyan_buf_add_text(ret, "}\n");
    return BANYAN_OK;
}

void http_stream(struct http_call *call, const char *rest)
{
    static const char *const known[] = {"from", "limit", NULL};
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_reader *reader = NULL;
    uint64_t from, limit;
    if (!http_only(call, known) || !http_number(call, "from", 1, 1, INT64_MAX, &from) ||
        !http_number(call, "limit", HTTP_LIMIT_DEFAULT, 1, HTTP_LIMIT_MAX, &limit))
        return;
    reader = store_reader_open(call->server->options.store);
    enum banyan_status st = store_reader_stream(reader, banyan_str_of(rest), (struct banyan_version){from}, &err);
    if (st == BANYAN_NOT_FOUND) {
        http_problem(call, 404, NULL, "there is no stream %.200s", rest);
        goto out;
    }
    banyan_buf_add_text(&body, "{\"stream\":");
    banyan_buf_add_json(&body, banyan_str_of(rest));
    banyan_buf_add_text(&body, ",\"events\":[");
    if (st == BANYAN_OK)
        st = add_events(call, reader, limit, &body, &err);
    if (st == BANYAN_OK)
        http_reply(call, 200, "application/json", &body);
    else
        http_failure(call, &err);
out:
    store_reader_close(reader);
    banyan_buf_release(&body);
}
