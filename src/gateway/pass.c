/* SPDX-License-Identifier: Apache-2.0 */
/* A request that goes through as it came, and its answer: an exchange between a front and the upstream. */
#include <stdlib.h>

#include "base/alloc.h"
#include "gateway/front.h"

/* ---- the request ---- */

void pass_push(struct front *front)
{
    struct exchange *exchange = front->exchange;
    if (exchange == NULL || front->body.done || front->pushing || !exchange_has_room(exchange))
        return;
    front->pushing = true; /* what is handed over may make room at once */
    enum wire_result result =
        body_move(&front->body, bufferevent_get_input(front->bev), exchange->request, GATEWAY_OUTPUT_HIGH, NULL);
    front->pushing = false;
    if (result == WIRE_OK || result == WIRE_MORE) {
        exchange->request_whole = front->body.done;
        timer_set(&front->timer, front->body.done ? INT64_MAX : GATEWAY_BODY_US);
        exchange_push(exchange);
        return;
    }
    front->close_after = true;
    pass_abandon(front);
    if (front->told)
        timer_set(&front->timer, 0); /* the answer ends here, without its end */
    else
        front_problem(front, 400, NULL, "BAD_REQUEST", "the body is not chunked as it has to be");
}

void pass_abandon(struct front *front)
{
    struct exchange *exchange = front->exchange;
    front->exchange = NULL;
    exchange_drop(exchange);
}

/* ---- the answer ---- */

void pass_head(struct front *front, struct exchange *exchange, const struct wire_head *head, struct banyan_str text)
{
    struct evbuffer *scratch = front->loop->scratch;
    struct gateway *gateway = front->loop->gateway;
    struct head_answer how = {.to_head = front->is_head, .old = front->old};
    size_t line = 0;
    if (head->code < 200 && head->code != 101) {
        if (!front->old)
            (void)evbuffer_add(scratch, text.data, text.size); /* out of memory: the client does not know */
        gateway_send(front->bev, scratch);
        return;
    }
    while (text.data[line] != '\r')
        line++;
    how.line = (struct banyan_str){text.data, line};
    how.tunnel = head->code == 101;
    if (!how.tunnel) {
        bool framed = exchange->body.kind == BODY_CHUNKED || exchange->body.kind == BODY_TO_END;
        how.chunked = exchange->body.chunk = framed && !front->old;
        if ((framed && front->old) || !front->body.done || atomic_load(&gateway->draining))
            front->close_after = true;
        how.close = front->close_after;
    }
    if (gateway->options.tell_side)
        how.served_by = "legacy";
    banyan_buf_reset(&front->text);
    head_answer(head, &how, &front->text);
    (void)evbuffer_add(scratch, front->text.data, front->text.size); /* out of memory: the client times out */
    front->told = true;
    if (how.tunnel)
        gateway_send(front->bev, scratch); /* else the body goes with it */
}

static void on_head(struct exchange *exchange, const struct wire_head *head, struct banyan_str text)
{
    pass_head(exchange->context, exchange, head, text);
}

static void on_tunnel(struct exchange *exchange)
{
    struct front *front = exchange->context;
    struct upstream *upstream = exchange_detach(exchange);
    front->exchange = NULL;
    exchange_free(exchange);
    tunnel_begin(front, upstream);
}

static void on_room(struct exchange *exchange)
{
    pass_push(exchange->context);
}

static void answer_failure(struct front *front, enum exchange_end end)
{
    static const struct {
        int code;
        const char *headers, *name, *detail;
    } answers[] = {
        [EXCHANGE_UNREACHED] = {503, "Retry-After: 1\r\n", "UNAVAILABLE",
                                "the application cannot be reached; nothing was sent to it"},
        [EXCHANGE_LATE] = {504, NULL, "TIMEOUT",
                           "the application did not answer in time; it may still do what it was asked to"},
        [EXCHANGE_BROKEN] = {502, NULL, "PROTOCOL",
                             "the connection to the application broke; it may have done what it was asked to"},
        [EXCHANGE_BAD] = {502, NULL, "PROTOCOL", "the application's answer is not HTTP as it has to be"},
    };
    if (!front->body.done)
        front->close_after = true;
    front_problem(front, answers[end].code, answers[end].headers, answers[end].name, answers[end].detail);
}

void pass_over(struct front *front, struct exchange *exchange, enum exchange_end end)
{
    exchange_free(exchange);
    if (end == EXCHANGE_OK) {
        front_answered(front);
    } else if (front->told) {
        front->close_after = true; /* half an answer: the client has to see that it is one */
        front->state = FRONT_ENDING;
        (void)bufferevent_disable(front->bev, EV_READ);
        front->ended = true;
        timer_set(&front->timer, 0);
    } else {
        answer_failure(front, end);
    }
}

static void on_end(struct exchange *exchange, enum exchange_end end)
{
    struct front *front = exchange->context;
    front->exchange = NULL;
    pass_over(front, exchange, end);
}

void pass_begin(struct front *front, const struct wire_head *head)
{
    struct exchange *exchange = exchange_new(front->loop, head->method);
    struct head_request how = {.client = banyan_str_of(front->address), .tunnel = head_is_tunnel(head)};
    gateway_count(&front->loop->gateway->counts.passed);
    exchange->context = front;
    exchange->to = front->bev;
    exchange->tunnel = how.tunnel;
    exchange->on_head = on_head;
    exchange->on_room = on_room;
    exchange->on_tunnel = on_tunnel;
    exchange->on_end = on_end;
    banyan_buf_reset(&front->text);
    head_request(head, &how, &front->text);
    (void)evbuffer_add(exchange->request, front->text.data, front->text.size); /* out of memory: it is late */
    (void)evbuffer_drain(bufferevent_get_input(front->bev), head->size);       /* it is there */
    front->exchange = exchange;
    front->state = FRONT_PASS;
    if (front->body.done)
        exchange->request_whole = true;
    else
        pass_push(front);
    if (front->exchange == exchange)
        exchange_start(exchange);
}
