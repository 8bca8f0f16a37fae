/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /events/subscribe and /streams/{name}/subscribe: server-sent events.
 *
 *   open ──▶ serving (events until the output is full, or the end) ◀──▶ full: waits for the client to read
 *                 │ at the end: caught-up, once each time; then waits for the durable position to move
 *
 * Invariants
 *   1. A subscriber that does not read costs HTTP_OUTPUT_BYTES_HIGH and one event of memory, and no time.
 *   2. The id of each event is where to go on: the position, or for one stream the version.  Who connects again with
 *      Last-Event-ID gets the next one, without a gap and without a repeat.
 *   3. One turn serves a subscriber up to a full output only, so that many are served in turn.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "store/subscribe.h"

enum {
    KEEP_ALIVE_S = 15,
    ENDING_MS = 1000, /* what a client waits before it connects again */
};

struct subscriber {
    struct subscriber *next;
    struct http_call *call;
    bool cloud;
    struct store_subscription *subscription; /* of all events */
    struct store_reader *reader;             /* of one stream */
    struct banyan_str stream;                /* in the call's arena */
    uint64_t version;                        /* given last */
    bool reading;                            /* the reader stands in the stream */
    bool live;                               /* caught-up was told */
    struct event *again;                     /* there is more to do, at once */
    struct banyan_buf text;
};

static void subscriber_free(struct subscriber *subscriber)
{
    struct http_server *server = subscriber->call->server;
    for (struct subscriber **link = &server->subscribers; *link != NULL; link = &(*link)->next) {
        if (*link == subscriber) {
            *link = subscriber->next;
            server->subscriber_count--;
            break;
        }
    }
    store_subscription_close(subscriber->subscription);
    store_reader_close(subscriber->reader);
    event_free(subscriber->again);
    banyan_buf_release(&subscriber->text);
    free(subscriber);
}

static void on_gone(struct http_call *call)
{
    subscriber_free(call->context);
}

/* ---- what is sent ---- */

static void send_event(struct subscriber *subscriber, const struct store_read_event *event, uint64_t id)
{
    const struct http_options *options = &subscriber->call->server->options;
    struct banyan_buf *text = &subscriber->text;
    banyan_buf_reset(text);
    banyan_buf_printf(text, "id: %" PRIu64 "\ndata: ", id);
    size_t begin = text->size;
    if (subscriber->cloud)
        http_cloudevent_json(options, event, text);
    else
        http_event_json(options->domain, options->registry, event, text);
    /* A line ends the data: line ends between the tokens of a payload are only space. */
    for (size_t i = begin; i < text->size; i++)
        if (text->data[i] == '\n' || text->data[i] == '\r')
            text->data[i] = ' ';
    banyan_buf_add_text(text, "\n\n");
    http_conn_send(subscriber->call, text->data, text->size);
    subscriber->call->server->figures.subscriber_events++;
    if (text->capacity > HTTP_PAGE_BYTES_MAX)
        banyan_buf_release(text); /* of a very large event */
}

static void send_caught_up(struct subscriber *subscriber, uint64_t id)
{
    banyan_buf_reset(&subscriber->text);
    banyan_buf_printf(&subscriber->text, "id: %" PRIu64 "\nevent: caught-up\ndata: {\"%s\":%" PRIu64 "}\n\n", id,
                      subscriber->subscription != NULL ? "position" : "version", id);
    http_conn_send(subscriber->call, subscriber->text.data, subscriber->text.size);
}

static void send_error(struct subscriber *subscriber, const struct banyan_error *err)
{
    struct http_call *call = subscriber->call;
    banyan_buf_reset(&subscriber->text);
    banyan_buf_printf(&subscriber->text,
                      "event: error\ndata: {\"code\":\"%s\",\"detail\":", banyan_status_name(err->status));
    banyan_buf_add_json(&subscriber->text, banyan_str_of(err->message));
    banyan_buf_add_text(&subscriber->text, "}\n\n");
    http_conn_send(call, subscriber->text.data, subscriber->text.size);
    subscriber_free(subscriber);
    call->gone = NULL;
    call->on_room = NULL;
    http_conn_end(call);
}

/* ---- serving ---- */

/* TIMEOUT: nothing more for now. */
static enum banyan_status next_of_all(struct subscriber *subscriber, struct banyan_error *err)
{
    struct store *store = subscriber->call->server->options.store;
    struct store_subscription_item item;
    enum banyan_status st = store_subscription_next(subscriber->subscription, 0, &item, err);
    if (st == BANYAN_OK && item.kind == STORE_SUBSCRIPTION_CAUGHT_UP)
        send_caught_up(subscriber, item.position.value);
    else if (st == BANYAN_OK)
        send_event(subscriber, &item.event, item.position.value);
    else if (st == BANYAN_TIMEOUT &&
             store_subscription_position(subscriber->subscription).value < store_durable(store).value)
        event_active(subscriber->again, EV_TIMEOUT, 0); /* it looked for long: others first */
    return st;
}

static enum banyan_status next_of_stream(struct subscriber *subscriber, struct banyan_error *err)
{
    struct store *store = subscriber->call->server->options.store;
    struct store_read_event event;
    struct store_head head;
    enum banyan_status st = BANYAN_OK;
    if (!subscriber->reading) {
        st = store_head(store, subscriber->stream, &head, err);
        if (st == BANYAN_OK && head.version.value > subscriber->version)
            st = store_reader_stream(subscriber->reader, subscriber->stream,
                                     (struct banyan_version){subscriber->version + 1}, err);
        else if (st == BANYAN_OK)
            st = BANYAN_NOT_FOUND;
        subscriber->reading = st == BANYAN_OK;
    }
    if (subscriber->reading)
        st = store_reader_next(subscriber->reader, &event, err);
    if (st == BANYAN_OK) {
        subscriber->version = event.version.value;
        send_event(subscriber, &event, event.version.value);
        return BANYAN_OK;
    }
    if (st != BANYAN_NOT_FOUND)
        return st;
    banyan_error_clear(err);
    bool was_reading = subscriber->reading;
    subscriber->reading = false;
    if (!subscriber->live) {
        subscriber->live = true;
        send_caught_up(subscriber, subscriber->version);
    }
    /* Some may have become durable while this was read. */
    return was_reading ? BANYAN_OK : BANYAN_TIMEOUT;
}

static void serve(struct subscriber *subscriber)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = BANYAN_OK;
    while (st == BANYAN_OK && http_conn_unsent(subscriber->call) < HTTP_OUTPUT_BYTES_HIGH)
        st = subscriber->subscription != NULL ? next_of_all(subscriber, &err) : next_of_stream(subscriber, &err);
    if (st != BANYAN_OK && st != BANYAN_TIMEOUT)
        send_error(subscriber, &err);
}

static void on_again(evutil_socket_t fd, short what, void *context)
{
    (void)fd, (void)what;
    serve(context);
}

static void on_room(struct http_call *call)
{
    serve(call->context);
}

void http_subscribers_wake(struct http_server *server)
{
    for (struct subscriber *subscriber = server->subscribers, *next; subscriber != NULL; subscriber = next) {
        next = subscriber->next;
        if (http_conn_unsent(subscriber->call) < HTTP_OUTPUT_BYTES_LOW) /* others go on when they have read */
            serve(subscriber);
    }
}

static void on_keep_alive(evutil_socket_t fd, short what, void *context)
{
    struct http_server *server = context;
    (void)fd, (void)what;
    for (struct subscriber *subscriber = server->subscribers; subscriber != NULL; subscriber = subscriber->next) {
        char text[64];
        /* The id alone moves what the client would go on from, also where a filter lets nothing pass. */
        uint64_t id = subscriber->subscription != NULL ? store_subscription_position(subscriber->subscription).value
                                                       : subscriber->version;
        int size = snprintf(text, sizeof(text), ": keep-alive\nid: %" PRIu64 "\n\n", id);
        if (http_conn_unsent(subscriber->call) == 0)
            http_conn_send(subscriber->call, text, (size_t)size);
    }
}

/* ---- the request ---- */

/* Last-Event-ID, else the parameter `after`; false: answered. */
static bool begin_after(struct http_call *call, uint64_t *ret)
{
    const char *last = http_asked(call, "Last-Event-ID");
    if (!http_number(call, "after", 0, 0, INT64_MAX, ret))
        return false;
    if (last == NULL || last[0] == '\0' || (http_parse_number(last, ret) && *ret <= INT64_MAX))
        return true;
    http_problem(call, 400, "send back the id of the last event, unchanged", "Last-Event-ID is no number");
    return false;
}

/* A new subscriber that is not linked yet; NULL: answered. */
static struct subscriber *subscriber_new(struct http_call *call)
{
    struct http_server *server = call->server;
    const char *accept = http_asked(call, "Accept");
    if (call->is_head) {
        http_problem(call, 405, NULL, "a subscription has no end, and no HEAD");
        return NULL;
    }
    if (server->subscriber_count >= server->options.subscribers_max) {
        http_problem_named(call, 503, "LIMIT", "raise http.subscribers_max, or read in pages from GET /events", NULL,
                           "there are %zu subscribers already", server->subscriber_count);
        return NULL;
    }
    struct subscriber *subscriber = alloc_zeroed(1, sizeof(*subscriber));
    subscriber->call = call;
    subscriber->cloud = accept != NULL && strstr(accept, "application/cloudevents") != NULL;
    subscriber->text = (struct banyan_buf)BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    subscriber->again = event_new(server->base, -1, 0, on_again, subscriber);
    return subscriber;
}

static void begin(struct subscriber *subscriber)
{
    struct http_call *call = subscriber->call;
    struct http_server *server = call->server;
    char retry[32];
    subscriber->next = server->subscribers;
    server->subscribers = subscriber;
    server->subscriber_count++;
    call->context = subscriber;
    call->gone = on_gone;
    call->on_room = on_room;
    http_conn_begin(call, "text/event-stream");
    int size = snprintf(retry, sizeof(retry), "retry: %d\n\n", ENDING_MS);
    http_conn_send(call, retry, (size_t)size);
    event_active(subscriber->again, EV_TIMEOUT, 0); /* not inside the handler: it may end at once */
}

void http_events_subscribe(struct http_call *call)
{
    static const char *const known[] = {"after", "since", "type*", "category*", NULL};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_subscribe from = {.since = {BANYAN_TIME_NULL}};
    struct store_filter filter;
    if (!http_only(call, known) || !http_time(call, "since", &from.since) || !begin_after(call, &from.after.value))
        return;
    http_filter(call, &filter);
    from.filter = &filter;
    struct subscriber *subscriber = subscriber_new(call);
    if (subscriber == NULL)
        return;
    if (store_subscription_open(call->server->options.store, &from, &subscriber->subscription, &err) != BANYAN_OK) {
        subscriber_free(subscriber);
        http_failure(call, &err);
        return;
    }
    begin(subscriber);
}

void http_stream_subscribe(struct http_call *call)
{
    static const char *const known[] = {"after", NULL};
    uint64_t after;
    if (!http_only(call, known) || !begin_after(call, &after))
        return;
    struct subscriber *subscriber = subscriber_new(call);
    if (subscriber == NULL)
        return;
    subscriber->stream = call->segments[1];
    subscriber->version = after;
    subscriber->reader = store_reader_open(call->server->options.store);
    begin(subscriber);
}

/* ---- life ---- */

enum banyan_status http_subscribers_open(struct http_server *server, struct banyan_error *err)
{
    static const struct timeval every = {KEEP_ALIVE_S, 0};
    server->keep_alive = event_new(server->base, -1, EV_PERSIST, on_keep_alive, server);
    if (server->keep_alive == NULL || event_add(server->keep_alive, &every) != 0)
        return banyan_error_set(err, BANYAN_LIMIT, "cannot make an event");
    return BANYAN_OK;
}

void http_subscribers_close(struct http_server *server)
{
    if (server->keep_alive != NULL)
        event_free(server->keep_alive);
    server->keep_alive = NULL;
}
