/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading: the events of a stream, one event, all events.
 *
 * A page ends at its limit, or earlier when it is large: `next` says where to go on.  Reading is bounded by a page, so
 * that it may be done in the event loop.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "http/http_int.h"
#include "os/clock.h"
#include "store/subscribe.h"

enum {
    LOOK_US_MAX = 100 * 1000, /* of a page whose filter lets little pass: it ends early and says where to go on */
};

/* How events are shown, by the Accept header. */
enum form {
    FORM_JSON = 1, /* one object with an array */
    FORM_NDJSON,   /* a line each */
    FORM_CLOUD,    /* CloudEvents: one, or a batch */
};

struct page {
    struct http_call *call;
    enum form form;
    uint64_t limit, count;
    struct banyan_buf body;
};

static enum form wanted_form(struct http_call *call)
{
    const char *accept = http_asked(call, "Accept");
    return accept == NULL                                      ? FORM_JSON
           : strstr(accept, "application/x-ndjson") != NULL    ? FORM_NDJSON
           : strstr(accept, "application/cloudevents") != NULL ? FORM_CLOUD
                                                               : FORM_JSON;
}

static void page_init(struct page *page, struct http_call *call, uint64_t limit)
{
    *page = (struct page){
        .call = call, .form = wanted_form(call), .limit = limit, .body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX)};
    if (page->form == FORM_CLOUD)
        banyan_buf_add_char(&page->body, '[');
}

static bool page_is_full(const struct page *page)
{
    return page->count >= page->limit || page->body.size >= HTTP_PAGE_BYTES_MAX;
}

static void page_add(struct page *page, const struct store_read_event *event)
{
    const struct http_options *options = &page->call->server->options;
    if (page->count++ > 0 && page->form != FORM_NDJSON)
        banyan_buf_add_char(&page->body, ',');
    if (page->form == FORM_CLOUD)
        http_cloudevent_json(options, event, &page->body);
    else
        http_event_json(options->domain, options->registry, event, &page->body);
    if (page->form == FORM_NDJSON)
        banyan_buf_add_char(&page->body, '\n');
}

/* *next*: where the page behind this one begins; 0: there is none. */
static void page_send(struct page *page, uint64_t next)
{
    if (next != 0 && page->form != FORM_JSON)
        http_header(page->call, "Banyan-Next", "%" PRIu64, next);
    if (page->form == FORM_CLOUD) {
        banyan_buf_add_text(&page->body, "]\n");
    } else if (page->form == FORM_JSON) {
        banyan_buf_add_char(&page->body, ']');
        if (next != 0)
            banyan_buf_printf(&page->body, ",\"next\":%" PRIu64, next);
        banyan_buf_add_text(&page->body, "}\n");
    }
    http_reply(page->call, 200,
               page->form == FORM_JSON     ? "application/json"
               : page->form == FORM_NDJSON ? "application/x-ndjson"
                                           : "application/cloudevents-batch+json",
               &page->body);
}

/* ---- a stream ---- */

static void no_stream(struct http_call *call)
{
    struct banyan_str name = call->segments[1];
    http_problem(call, 404, NULL, "there is no stream %.*s", (int)(name.size > 200 ? 200 : name.size), name.data);
}

/* The version that can be read: the head's, or where that is not durable yet, the last durable event's. */
static enum banyan_status durable_version(struct store *store, struct banyan_str stream, uint64_t *ret,
                                          struct banyan_error *err)
{
    struct store_head head;
    enum banyan_status st = store_head(store, stream, &head, err);
    if (st != BANYAN_OK)
        return st;
    *ret = head.version.value;
    if (head.version.value == 0)
        return BANYAN_NOT_FOUND;
    if (head.position.value <= store_durable(store).value)
        return BANYAN_OK;
    struct store_reader *reader = store_reader_open(store);
    struct store_read_event event;
    st = store_reader_stream_backward(reader, stream, (struct banyan_version){0}, err);
    if (st == BANYAN_OK)
        st = store_reader_next(reader, &event, err);
    if (st == BANYAN_OK)
        *ret = event.version.value;
    store_reader_close(reader);
    return st;
}

/* ETag, and whether the client has that version already. */
static bool is_unchanged(struct http_call *call, uint64_t version)
{
    const char *none = http_asked(call, "If-None-Match");
    char tag[32];
    http_header(call, "ETag", "\"%" PRIu64 "\"", version);
    (void)snprintf(tag, sizeof(tag), "\"%" PRIu64 "\"", version); /* fits */
    if (none == NULL || (strcmp(none, "*") != 0 && strstr(none, tag) == NULL))
        return false;
    http_reply(call, 304, "application/json", NULL);
    return true;
}

static bool direction(struct http_call *call, bool *ret_backward)
{
    const char *text = http_parameter(call, "direction");
    *ret_backward = text != NULL && strcmp(text, "backward") == 0;
    if (text == NULL || *ret_backward || strcmp(text, "forward") == 0)
        return true;
    http_problem(call, 400, NULL, "direction has to be forward or backward");
    return false;
}

static void stream_read(struct http_call *call)
{
    static const char *const known[] = {"from", "limit", "direction", NULL};
    struct store *store = call->server->options.store;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_str name = call->segments[1];
    struct store_read_event event;
    uint64_t from, limit, version = 0, next = 0;
    bool backward;
    struct page page;
    if (!http_only(call, known) || !direction(call, &backward) ||
        !http_number(call, "from", backward ? 0 : 1, 1, INT64_MAX, &from) ||
        !http_number(call, "limit", HTTP_LIMIT_DEFAULT, 1, HTTP_LIMIT_MAX, &limit))
        return;
    enum banyan_status st = durable_version(store, name, &version, &err);
    if (st == BANYAN_NOT_FOUND) {
        no_stream(call);
        return;
    }
    if (st == BANYAN_OK && is_unchanged(call, version))
        return;
    struct store_reader *reader = store_reader_open(store);
    page_init(&page, call, limit);
    if (page.form == FORM_JSON) {
        banyan_buf_add_text(&page.body, "{\"stream\":");
        banyan_buf_add_json(&page.body, name);
        banyan_buf_printf(&page.body, ",\"version\":%" PRIu64 ",\"events\":[", version);
    }
    if (st == BANYAN_OK)
        st = backward ? store_reader_stream_backward(reader, name, (struct banyan_version){from}, &err)
                      : store_reader_stream(reader, name, (struct banyan_version){from}, &err);
    while (st == BANYAN_OK && !page_is_full(&page)) {
        st = store_reader_next(reader, &event, &err);
        if (st != BANYAN_OK)
            break;
        page_add(&page, &event);
        next = backward ? event.version.value - 1 : event.version.value + 1;
    }
    if (st == BANYAN_NOT_FOUND || next > version) { /* the end: of what was durable when the ETag was told */
        st = BANYAN_OK;
        next = 0;
    }
    if (st == BANYAN_OK)
        page_send(&page, next);
    else
        http_failure(call, &err);
    store_reader_close(reader);
    banyan_buf_release(&page.body);
}

void http_stream_read(struct http_call *call)
{
    if (http_await(call, HTTP_WAIT_LOG, stream_read))
        stream_read(call);
}

static void stream_event(struct http_call *call)
{
    static const char *const none[] = {NULL};
    const struct http_options *options = &call->server->options;
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_read_event event;
    uint64_t version;
    if (!http_only(call, none))
        return;
    if (!wire_number(call->segments[2], &version) || version == 0 || version > INT64_MAX) {
        http_problem(call, 400, "versions are numbers from 1", "\"%.100s\" is no version", call->segments[2].data);
        return;
    }
    struct store_reader *reader = store_reader_open(options->store);
    enum banyan_status st = store_reader_stream(reader, call->segments[1], (struct banyan_version){version}, &err);
    bool stream = st == BANYAN_OK;
    if (st == BANYAN_OK)
        st = store_reader_next(reader, &event, &err);
    if (st == BANYAN_NOT_FOUND && stream) {
        http_problem(call, 404, NULL, "the stream has no version %" PRIu64, version);
    } else if (st == BANYAN_NOT_FOUND) {
        no_stream(call);
    } else if (st != BANYAN_OK) {
        http_failure(call, &err);
    } else {
        bool cloud = wanted_form(call) == FORM_CLOUD;
        if (cloud)
            http_cloudevent_json(options, &event, &body);
        else
            http_event_json(options->domain, options->registry, &event, &body);
        banyan_buf_add_char(&body, '\n');
        http_header(call, "Banyan-Position", "%" PRIu64, event.position.value);
        http_reply(call, 200, cloud ? "application/cloudevents+json" : "application/json", &body);
    }
    store_reader_close(reader);
    banyan_buf_release(&body);
}

void http_stream_event(struct http_call *call)
{
    if (http_await(call, HTTP_WAIT_LOG, stream_event))
        stream_event(call);
}

/* ---- all events ---- */

void http_filter(struct http_call *call, struct store_filter *ret)
{
    struct banyan_str *types = banyan_arena_alloc(&call->arena, HTTP_PARAMETERS_MAX * sizeof(*types));
    struct banyan_str *categories = banyan_arena_alloc(&call->arena, HTTP_PARAMETERS_MAX * sizeof(*categories));
    *ret = (struct store_filter){.types = types, .categories = categories};
    for (size_t i = 0; i < call->parameter_count; i++) {
        const struct http_parameter *parameter = &call->parameters[i];
        if (strcmp(parameter->name, "type") == 0)
            types[ret->type_count++] = banyan_str_of(parameter->value);
        else if (strcmp(parameter->name, "category") == 0)
            categories[ret->category_count++] = banyan_str_of(parameter->value);
    }
}

/* Read a page; *ret_end*: there is nothing behind it yet. */
static enum banyan_status fill(struct page *page, struct store_subscription *subscription, bool *ret_end,
                               struct banyan_error *err)
{
    struct os_clock *clock = page->call->server->clock;
    struct store_subscription_item item;
    int64_t until_us = os_clock_monotonic_us(clock) + LOOK_US_MAX;
    *ret_end = false;
    while (!page_is_full(page)) {
        enum banyan_status st = store_subscription_next(subscription, 0, &item, err);
        *ret_end = st == BANYAN_OK && item.kind == STORE_SUBSCRIPTION_CAUGHT_UP;
        if (*ret_end || (st == BANYAN_TIMEOUT && os_clock_monotonic_us(clock) > until_us))
            return BANYAN_OK;
        if (st == BANYAN_OK)
            page_add(page, &item.event);
        else if (st != BANYAN_TIMEOUT)
            return st;
    }
    return BANYAN_OK;
}

static void events_read(struct http_call *call)
{
    static const char *const known[] = {"from", "since", "type*", "category*", "limit", NULL};
    struct store *store = call->server->options.store;
    struct store_subscription *subscription = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_subscribe begin = {.since = {BANYAN_TIME_NULL}};
    struct store_filter filter;
    uint64_t from, limit, durable = store_durable(store).value;
    bool end = false;
    struct page page;
    if (!http_only(call, known) || !http_number(call, "from", 1, 1, INT64_MAX, &from) ||
        !http_time(call, "since", &begin.since) ||
        !http_number(call, "limit", HTTP_LIMIT_DEFAULT, 1, HTTP_LIMIT_MAX, &limit))
        return;
    http_filter(call, &filter);
    begin.filter = &filter;
    begin.after.value = from - 1 > durable ? durable : from - 1; /* there may be nothing there yet */
    page_init(&page, call, limit);
    banyan_buf_add_text(&page.body, page.form == FORM_JSON ? "{\"events\":[" : "");
    enum banyan_status st = store_subscription_open(store, &begin, &subscription, &err);
    if (st == BANYAN_OK)
        st = fill(&page, subscription, &end, &err);
    if (st == BANYAN_OK) {
        uint64_t passed = store_subscription_position(subscription).value;
        http_header(call, "Banyan-Position", "%" PRIu64, passed);
        page_send(&page, end ? 0 : passed + 1);
    } else {
        http_failure(call, &err);
    }
    store_subscription_close(subscription);
    banyan_buf_release(&page.body);
}

void http_events_read(struct http_call *call)
{
    if (http_await(call, HTTP_WAIT_LOG, events_read))
        events_read(call);
}
