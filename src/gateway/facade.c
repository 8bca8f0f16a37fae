/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a request for the façade: its body, what it means, and the ways back to the client.
 *
 * The façade is asked first with the head alone: what it says is none of its own streams through.  Only then the body
 * is read whole, and it is asked again.
 */
#include "gateway/facade.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

static struct banyan_request request_of(const struct wire_head *head, struct banyan_str body)
{
    const char *query = memchr(head->target.data, '?', head->target.size);
    struct banyan_request request = {.method = head->method,
                                     .path = head->target,
                                     .query = BANYAN_STR(""),
                                     .body = body,
                                     .now = os_clock_now(os_clock_real())};
    if (query != NULL) {
        request.path.size = (size_t)(query - head->target.data);
        request.query = (struct banyan_str){query + 1, head->target.size - request.path.size - 1};
    }
    return request;
}

/* ---- the end ---- */

void ask_free(struct ask *ask)
{
    gate_leave(ask);
    banyan_arena_release(&ask->arena);
    banyan_buf_release(&ask->body);
    free(ask);
}

/* The front that still waits, which is free of the ask from here on; NULL: the client has gone. */
static struct front *leave(struct ask *ask)
{
    struct front *front = ask->front;
    if (front != NULL)
        front->ask = NULL;
    ask->front = NULL;
    return front;
}

void ask_answer(struct ask *ask)
{
    char headers[96];
    int used = 0;
    struct front *front = leave(ask);
    headers[0] = '\0';
    if (ask->position.value > 0)
        used = snprintf(headers, sizeof(headers), "Banyan-Position: %" PRIu64 "\r\n", ask->position.value);
    if (ask->loop->gateway->options.tell_side)
        (void)snprintf(headers + used, sizeof(headers) - (size_t)used, "Banyan-Served-By: banyan\r\n"); /* fits */
    gate_leave(ask);
    if (front != NULL)
        front_answer(front, ask->response.code, headers, ask->response.content_type, ask->response.body);
    ask_free(ask);
}

void ask_problem(struct ask *ask, int code, const char *headers, const char *name, const char *detail)
{
    struct front *front = leave(ask);
    ask_free(ask);
    if (front != NULL)
        front_problem(front, code, headers, name, detail);
}

/* ---- to the upstream ---- */

static void on_head(struct exchange *exchange, const struct wire_head *head, struct banyan_str text)
{
    struct ask *ask = exchange->context;
    if (ask->front != NULL)
        pass_head(ask->front, exchange, head, text);
}

static void on_head_kept(struct exchange *exchange, const struct wire_head *head, struct banyan_str text)
{
    (void)exchange, (void)head, (void)text;
}

void ask_legacy(struct ask *ask, struct banyan_str body, bool streams,
                void (*ended)(struct exchange *exchange, enum exchange_end end))
{
    struct exchange *exchange = exchange_new(ask->loop, ask->head.method);
    struct front *front = ask->front;
    struct head_request how = {.whole = true, .whole_bytes = body.size};
    struct banyan_buf text = BANYAN_BUF_INIT(GATEWAY_HEAD_BYTES);
    how.client = banyan_str_of(front == NULL ? "unknown" : front->address);
    head_request(&ask->head, &how, &text);
    (void)evbuffer_add(exchange->request, text.data, text.size); /* out of memory: it is late */
    (void)evbuffer_add(exchange->request, body.data, body.size); /* as above */
    banyan_buf_release(&text);
    exchange->context = ask;
    exchange->request_whole = true;
    exchange->to = streams && front != NULL ? front->bev : NULL;
    exchange->on_head = streams ? on_head : on_head_kept;
    exchange->on_end = ended;
    exchange->copy.size_max = ask->loop->gateway->options.compare_body_max;
    exchange->copying = !streams || ask->route.kind == BANYAN_REQUEST_READ;
    ask->exchange = exchange;
    ask->place = ASK_AT_LEGACY;
    if (front != NULL) {
        front->state = FRONT_PASS;
        front->told = false;
        timer_set(&front->timer, INT64_MAX);
    }
    exchange_start(exchange);
}

/* The façade does not want it after all. */
static void on_passed(struct exchange *exchange, enum exchange_end end)
{
    struct ask *ask = exchange->context;
    struct front *front = leave(ask);
    ask_free(ask);
    if (front != NULL)
        pass_over(front, exchange, end);
    else
        exchange_free(exchange);
}

/* ---- what it means ---- */

static void decide(struct ask *ask)
{
    const struct banyan_facade *facade = ask->loop->gateway->options.domain->facade;
    ask->request = request_of(&ask->head, banyan_buf_str(&ask->body));
    ask->route = (struct banyan_route){.kind = BANYAN_REQUEST_OTHER};
    ask->front->state = FRONT_THINK;
    bool understood = facade->route(&ask->request, &ask->arena, &ask->route);
    if (understood && ask->route.kind == BANYAN_REQUEST_READ) {
        read_begin(ask);
    } else if (understood && ask->route.kind == BANYAN_REQUEST_WRITE && ask->route.part_count > 0) {
        write_begin(ask);
    } else { /* the legacy application says what is wrong with it */
        ask->route.kind = BANYAN_REQUEST_OTHER;
        gateway_count(&ask->loop->gateway->counts.passed);
        ask_legacy(ask, banyan_buf_str(&ask->body), true, on_passed);
    }
}

/* ---- the body ---- */

static void too_large(struct front *front)
{
    char detail[96];
    gateway_count(&front->loop->gateway->counts.too_large);
    (void)snprintf(detail, sizeof(detail), "a request of this kind has at most %" PRIu64 " bytes",
                   front->loop->gateway->options.facade_body_max); /* fits */
    front->close_after = true;
    ask_problem(front->ask, 413, NULL, "LIMIT", detail);
}

void facade_push(struct front *front)
{
    struct ask *ask = front->ask;
    struct evbuffer *input = bufferevent_get_input(front->bev);
    enum wire_result result = body_move(&front->body, input, NULL, SIZE_MAX, &ask->body);
    if (ask->body.overflow) {
        too_large(front);
    } else if (result == WIRE_OK) {
        timer_set(&front->timer, INT64_MAX);
        decide(ask);
    } else if (result == WIRE_MORE) {
        timer_set(&front->timer, GATEWAY_BODY_US);
    } else {
        front->close_after = true;
        ask_problem(ask, 400, NULL, "BAD_REQUEST", "the body is not chunked as it has to be");
    }
}

static struct ask *ask_new(struct front *front, const struct wire_head *head)
{
    struct evbuffer *input = bufferevent_get_input(front->bev);
    struct ask *ask = alloc_zeroed(1, sizeof(*ask));
    const char *fault;
    char *copy = banyan_arena_alloc(&ask->arena, head->size);
    (void)evbuffer_remove(input, copy, head->size);                                /* it is there */
    (void)wire_request((struct banyan_str){copy, head->size}, &ask->head, &fault); /* the same bytes, the same result */
    ask->loop = front->loop;
    ask->front = front;
    ask->place = ASK_COLLECT;
    ask->began_us = gateway_now(front->loop->gateway);
    ask->body.size_max = (size_t)front->loop->gateway->options.facade_body_max;
    front->ask = ask;
    front->state = FRONT_COLLECT;
    return ask;
}

/* Asked with the head alone. */
static bool is_facades(struct loop *loop, const struct wire_head *head)
{
    struct gateway *gateway = loop->gateway;
    struct banyan_request request = request_of(head, BANYAN_STR(""));
    struct banyan_route *route = &loop->route;
    route->kind = BANYAN_REQUEST_OTHER;
    route->part_count = 0;
    bool understood = gateway->options.domain->facade->route(&request, &loop->arena, route);
    banyan_arena_reset(&loop->arena);
    bool has_body = head->chunked || head->length > 0;
    return understood ? route->kind != BANYAN_REQUEST_OTHER : has_body;
}

bool facade_begin(struct front *front, const struct wire_head *head)
{
    struct gateway *gateway = front->loop->gateway;
    if (gateway->options.domain == NULL || gateway->options.domain->facade == NULL || !is_facades(front->loop, head))
        return false;
    bool continues = head->expects_continue;
    uint64_t length = head->length;
    (void)ask_new(front, head);
    if (length > gateway->options.facade_body_max) {
        too_large(front);
        return true;
    }
    if (continues && !front->body.done)
        (void)evbuffer_add_printf(bufferevent_get_output(front->bev),
                                  "HTTP/1.1 100 Continue\r\n\r\n"); /* or it waits */
    facade_push(front);
    return true;
}

/* ---- time, and clients that go ---- */

void facade_go(struct ask *ask)
{
    int64_t now = gateway_now(ask->loop->gateway);
    if (ask->held_us != 0 && ask->loop->gateway->options.traffic != NULL)
        traffic_held(ask->loop->gateway->options.traffic, now - ask->held_us, false);
    if (ask->front == NULL) { /* nobody waits for it any more: nothing is written */
        ask_free(ask);
        return;
    }
    ask->place = ASK_AT_WORK;
    write_begin(ask);
}

/* The guards need not wait for the answer to know that it is missing. */
static void answer_is_late(struct ask *ask)
{
    struct gateway *gateway = ask->loop->gateway;
    enum traffic_kind kind = ask->route.kind == BANYAN_REQUEST_WRITE ? TRAFFIC_WRITE : TRAFFIC_READ;
    if (ask->late || gateway->options.traffic == NULL)
        return;
    ask->late = true;
    traffic_answered(gateway->options.traffic, TRAFFIC_BANYAN, kind, gateway_now(gateway) - ask->began_us, true);
}

void facade_late(struct front *front)
{
    struct ask *ask = front->ask;
    struct gateway *gateway = front->loop->gateway;
    if (ask->place == ASK_AT_WORK) {
        timer_set(&front->timer, INT64_MAX);
        answer_is_late(ask);
        return;
    }
    if (ask->place == ASK_COLLECT) {
        front->close_after = true;
        ask_problem(ask, 408, NULL, "TIMEOUT", "the body of the request did not come in time");
        return;
    }
    if (ask->place != ASK_GATE || !gate_cancel(ask))
        return; /* it goes on just now */
    gateway_count(&gateway->counts.held_refused);
    if (gateway->options.traffic != NULL)
        traffic_held(gateway->options.traffic, gateway_now(gateway) - ask->began_us, true);
    ask_problem(ask, 503, "Retry-After: 1\r\n", "BUSY",
                "writes are held for a moment, and this one waited for too long; nothing was written");
}

void facade_gone(struct front *front)
{
    struct ask *ask = front->ask;
    struct exchange *exchange = ask->exchange;
    (void)leave(ask);
    if (ask->place == ASK_COLLECT || (ask->place == ASK_GATE && gate_cancel(ask))) {
        ask_free(ask);
    } else if (ask->place == ASK_AT_LEGACY && ask->route.kind != BANYAN_REQUEST_WRITE) {
        exchange_drop(exchange);
        ask_free(ask);
    } else if (ask->place == ASK_AT_LEGACY) { /* it is under way until it was answered */
        exchange->to = NULL;
        exchange_pull(exchange);
    }
}
