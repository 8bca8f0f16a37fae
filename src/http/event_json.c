/* SPDX-License-Identifier: Apache-2.0 */
/* Events as JSON: our own form, and CloudEvents 1.0 (structured). */
#include <inttypes.h>
#include <string.h>

#include "banyan/arena.h"
#include "base/base64.h"
#include "base/jtext.h"
#include "http/http_int.h"
#include "store/provenance.h"
#include "store/registry.h"

static const struct banyan_event_type *type_of(const struct banyan_domain *domain, const struct store_event *event)
{
    for (size_t i = 0; domain != NULL && i < domain->event_count; i++)
        if (banyan_str_equal(event->type, banyan_str_of(domain->events[i].name)) &&
            domain->events[i].version == event->schema)
            return &domain->events[i];
    return NULL;
}

bool http_is_json(struct banyan_str text)
{
    struct jtext_input in = jtext_input(text);
    struct banyan_str value;
    return jtext_skip(&in, &value) && jtext_end(&in);
}

/* The payload as JSON; false when it has none. */
static bool add_json(const struct banyan_domain *domain, struct store_registry *registry,
                     const struct store_event *event, struct banyan_buf *ret)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    const struct banyan_event_type *type = type_of(domain, event);
    size_t before = ret->size;
    bool done = false;
    if (event->schema == 0) {
        done = http_is_json(event->payload);
        if (done)
            banyan_buf_add_str(ret, event->payload);
        /* One event, one line: outside of strings JSON has line breaks only as space, inside of them none. */
        for (size_t i = before; done && i < ret->size; i++) {
            if (ret->data[i] == '\n' || ret->data[i] == '\r')
                ret->data[i] = ' ';
        }
        return done;
    }
    if (type != NULL) {
        void *value = banyan_arena_zalloc(&arena, type->record->size);
        done = banyan_record_decode_in(type->record, event->payload, &arena, value, NULL) == BANYAN_OK;
        if (done)
            banyan_record_json(type->record, value, ret);
        banyan_arena_release(&arena);
    }
    if (!done && registry != NULL) {
        done = store_registry_to_json(registry, event, ret, NULL) == BANYAN_OK;
        if (!done)
            ret->size = before; /* what it wrote of it */
    }
    return done;
}

void http_add_time(struct banyan_buf *ret, struct banyan_time time)
{
    static const struct banyan_field field = {"time", BANYAN_FIELD_TIME, BANYAN_FIELD_OPTIONAL, 0, 0};
    banyan_field_json(&field, &time, ret);
}

void http_event_json(const struct banyan_domain *domain, struct store_registry *registry,
                     const struct store_read_event *read, struct banyan_buf *ret)
{
    char id[BANYAN_UUID_TEXT_SIZE];
    const struct store_event *event = &read->event;
    banyan_uuid_format(event->id, id);
    banyan_buf_printf(ret, "{\"position\":%" PRIu64 ",\"stream\":", read->position.value);
    banyan_buf_add_json(ret, event->stream);
    banyan_buf_printf(ret, ",\"version\":%" PRIu64 ",\"type\":", read->version.value);
    banyan_buf_add_json(ret, event->type);
    banyan_buf_printf(ret, ",\"id\":\"%s\",\"at\":", id);
    http_add_time(ret, event->at);
    banyan_buf_add_text(ret, ",\"recorded_at\":");
    http_add_time(ret, read->recorded_at);
    banyan_buf_printf(ret, ",\"provenance\":\"%s\",\"payload\":", provenance_word(event->provenance));
    if (!add_json(domain, registry, event, ret)) {
        banyan_buf_add_text(ret, "{\"base64\":\"");
        base64_add(ret, event->payload);
        banyan_buf_add_text(ret, "\"}");
    }
    banyan_buf_add_text(ret, ",\"meta\":");
    banyan_buf_add_str(ret, event->meta.size > 0 ? event->meta : BANYAN_STR("{}"));
    banyan_buf_add_char(ret, '}');
}

/* Extensions are texts: an integer of a CloudEvent has 32 bits only. */
void http_cloudevent_json(const struct http_options *options, const struct store_read_event *read,
                          struct banyan_buf *ret)
{
    char id[BANYAN_UUID_TEXT_SIZE];
    const struct store_event *event = &read->event;
    banyan_uuid_format(event->id, id);
    banyan_buf_printf(ret, "{\"specversion\":\"1.0\",\"id\":\"%s\",\"source\":\"/streams/", id);
    for (size_t i = 0; i < event->stream.size; i++) {
        unsigned char c = (unsigned char)event->stream.data[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     (c != '\0' && strchr("-_.~$", c) != NULL);
        banyan_buf_printf(ret, plain ? "%c" : "%%%02X", c);
    }
    banyan_buf_add_text(ret, "\",\"type\":");
    banyan_buf_add_json(ret, event->type);
    banyan_buf_add_text(ret, ",\"subject\":");
    banyan_buf_add_json(ret, event->stream);
    banyan_buf_add_text(ret, ",\"time\":");
    http_add_time(ret, event->at);
    banyan_buf_printf(ret, ",\"banyanposition\":\"%" PRIu64 "\",\"banyanversion\":\"%" PRIu64 "\"",
                      read->position.value, read->version.value);
    size_t before = ret->size;
    banyan_buf_add_text(ret, ",\"datacontenttype\":\"application/json\",\"data\":");
    if (!add_json(options->domain, options->registry, event, ret)) {
        ret->size = before;
        banyan_buf_add_text(ret, ",\"data_base64\":\"");
        base64_add(ret, event->payload);
        banyan_buf_add_char(ret, '"');
    }
    banyan_buf_add_char(ret, '}');
}
