/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to the upstream, and its answer.
 *
 *   new ──start──▶ waits for a connection ──▶ SENDING ──head of the answer──▶ ANSWERING ──whole──▶ ended: OK
 *                                               │ broken, late, bad ───────────────┴──────────────▶ ended: why
 *                                               └ nothing was sent, or GET on a connection that had just ended ──▶
 * waits (once)
 *
 * An answer may come before the request is whole: both go on side by side.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "gateway/gateway_int.h"

struct exchange *exchange_new(struct loop *loop, struct banyan_str method)
{
    struct exchange *exchange = alloc_zeroed(1, sizeof(*exchange));
    exchange->loop = loop;
    exchange->is_head = banyan_str_equal(method, BANYAN_STR("HEAD"));
    exchange->safe = exchange->is_head || banyan_str_equal(method, BANYAN_STR("GET"));
    exchange->request = evbuffer_new();
    exchange->timeout_us = loop->gateway->options.upstream_timeout_us;
    return exchange;
}

void exchange_free(struct exchange *exchange)
{
    evbuffer_free(exchange->request);
    banyan_buf_release(&exchange->copy);
    free(exchange);
}

void exchange_start(struct exchange *exchange)
{
    exchange->began_us = gateway_now(exchange->loop->gateway);
    exchange->safe = exchange->safe && exchange->request_whole;
    pool_ask(exchange);
}

/* ---- the request ---- */

/* What was not handed to the connection yet.  A safe request stays where it is, for a second try. */
static void hand_over(struct exchange *exchange)
{
    struct upstream *upstream = exchange->upstream;
    struct evbuffer *output = bufferevent_get_output(upstream->bev);
    struct evbuffer *data = exchange->safe ? exchange->loop->scratch : exchange->request;
    size_t size = evbuffer_get_length(exchange->request);
    if (exchange->safe)
        (void)evbuffer_add(data, evbuffer_pullup(exchange->request, -1), size); /* out of memory: it is late */
    if (upstream->connected && evbuffer_get_length(output) == 0) {
        gateway_send(upstream->bev, data);
        upstream->sent = upstream->sent || evbuffer_get_length(output) < size;
        upstream->written += evbuffer_get_length(output);
    } else {
        upstream->written += size;
        (void)evbuffer_add_buffer(output, data);
    }
}

void exchange_begin(struct exchange *exchange, struct upstream *upstream)
{
    exchange->upstream = upstream;
    upstream->exchange = exchange;
    upstream->written = 0;
    upstream->sent = false;
    timer_set(&upstream->timer, upstream->connected ? exchange->timeout_us : GATEWAY_CONNECT_US);
    hand_over(exchange);
    if (exchange->on_room != NULL && !exchange->request_whole)
        exchange->on_room(exchange);
}

void exchange_push(struct exchange *exchange)
{
    if (exchange->upstream != NULL && !exchange->safe)
        hand_over(exchange);
}

bool exchange_has_room(const struct exchange *exchange)
{
    size_t held = evbuffer_get_length(exchange->request);
    if (exchange->upstream != NULL)
        held += evbuffer_get_length(bufferevent_get_output(exchange->upstream->bev));
    return held < GATEWAY_OUTPUT_HIGH;
}

/* ---- the end ---- */

void exchange_failed(struct exchange *exchange, enum exchange_end end)
{
    struct upstream *upstream = exchange->upstream;
    exchange->upstream = NULL;
    if (upstream != NULL)
        pool_give(upstream, false);
    gateway_count(&exchange->loop->gateway->counts.upstream_failures);
    health_answered(exchange->loop->gateway, false);
    exchange->on_end(exchange, end);
}

void exchange_drop(struct exchange *exchange)
{
    struct upstream *upstream = exchange->upstream;
    if (exchange->waits)
        pool_forget(exchange);
    if (upstream != NULL)
        pool_give(upstream, false);
    exchange_free(exchange);
}

struct upstream *exchange_detach(struct exchange *exchange)
{
    struct upstream *upstream = exchange->upstream;
    exchange->upstream = NULL;
    upstream->exchange = NULL;
    return upstream;
}

static void finish(struct exchange *exchange, bool keep_alive)
{
    struct upstream *upstream = exchange->upstream;
    struct evbuffer *input = bufferevent_get_input(upstream->bev), *output = bufferevent_get_output(upstream->bev);
    bool clean = exchange->request_whole && evbuffer_get_length(output) == 0 && evbuffer_get_length(input) == 0;
    exchange->upstream = NULL;
    pool_give(upstream, keep_alive && clean);
    exchange->on_end(exchange, EXCHANGE_OK);
}

/* Once more, over another connection: nothing was sent, or it does no harm. */
static bool try_again(struct exchange *exchange)
{
    struct upstream *upstream = exchange->upstream;
    struct evbuffer *output = bufferevent_get_output(upstream->bev);
    bool unsent = !upstream->sent && evbuffer_get_length(output) == upstream->written;
    if (exchange->retried || !upstream->used || exchange->has_answer || (!unsent && !exchange->safe))
        return false;
    if (!exchange->safe) {
        (void)evbuffer_unfreeze(output, 1); /* the connection is over: nobody else takes from it */
        (void)evbuffer_prepend_buffer(exchange->request, output);
    }
    exchange->retried = true;
    exchange->upstream = NULL;
    pool_give(upstream, false);
    pool_ask(exchange);
    return true;
}

/* ---- the answer ---- */

static void begin_body(struct exchange *exchange, const struct wire_head *head)
{
    enum body_kind kind = head->chunked ? BODY_CHUNKED : head->has_length ? BODY_LENGTH : BODY_TO_END;
    if (exchange->is_head || head->code == 204 || head->code == 304)
        kind = BODY_NONE;
    body_init(&exchange->body, kind, head->length, false);
    exchange->code = head->code;
    exchange->keep_alive = head->keep_alive && kind != BODY_TO_END;
    exchange->has_answer = true;
}

/* True: something was read, look again. */
static bool read_head(struct exchange *exchange)
{
    struct evbuffer *input = bufferevent_get_input(exchange->upstream->bev);
    struct wire_head *head = &exchange->loop->answer;
    struct banyan_str text = head_peek(input);
    const char *fault = NULL;
    if (text.size == 0)
        return false;
    enum wire_result result = wire_answer(text, head, &fault);
    if (result == WIRE_MORE)
        return false;
    bool tunnel = head->code == 101 && exchange->tunnel;
    if (result != WIRE_OK || head->code < 100 || (head->code == 101 && !tunnel)) {
        exchange_failed(exchange, EXCHANGE_BAD);
        return false;
    }
    text.size = head->size;
    if (head->code >= 200)
        begin_body(exchange, head);
    health_answered(exchange->loop->gateway, true);
    exchange->on_head(exchange, head, text);
    (void)evbuffer_drain(input, text.size); /* they are there */
    if (tunnel)
        exchange->on_tunnel(exchange);
    return !tunnel;
}

/* Move what the taker has room for. */
static enum wire_result move(struct exchange *exchange)
{
    struct evbuffer *input = bufferevent_get_input(exchange->upstream->bev);
    struct evbuffer *scratch = exchange->to == NULL ? NULL : exchange->loop->scratch;
    size_t held = exchange->to == NULL ? 0 : evbuffer_get_length(bufferevent_get_output(exchange->to));
    size_t room = held < GATEWAY_OUTPUT_HIGH ? GATEWAY_OUTPUT_HIGH - held : 0;
    if (scratch != NULL)
        room += evbuffer_get_length(scratch); /* its head lies there */
    enum wire_result result =
        body_move(&exchange->body, input, scratch, room, exchange->copying ? &exchange->copy : NULL);
    if (result == WIRE_MORE && exchange->ended && evbuffer_get_length(input) == 0)
        result = body_end(&exchange->body, scratch);
    if (scratch != NULL)
        gateway_send(exchange->to, scratch);
    return result;
}

void exchange_on_read(struct exchange *exchange)
{
    timer_set(&exchange->upstream->timer, exchange->timeout_us);
    while (!exchange->has_answer)
        if (!read_head(exchange))
            return;
    enum wire_result result = move(exchange);
    if (result == WIRE_OK)
        finish(exchange, exchange->keep_alive && !exchange->ended);
    else if (result != WIRE_MORE)
        exchange_failed(exchange, exchange->ended ? EXCHANGE_BROKEN : EXCHANGE_BAD);
}

void exchange_pull(struct exchange *exchange)
{
    if (exchange->upstream != NULL && exchange->has_answer)
        exchange_on_read(exchange);
}

/* ---- from the pool ---- */

void exchange_on_written(struct exchange *exchange)
{
    timer_set(&exchange->upstream->timer, exchange->timeout_us);
    if (exchange->on_room != NULL && !exchange->request_whole)
        exchange->on_room(exchange);
}

void exchange_on_event(struct exchange *exchange, short what)
{
    struct upstream *upstream = exchange->upstream;
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        timer_set(&upstream->timer, exchange->timeout_us);
        return;
    }
    if ((what & BEV_EVENT_EOF) != 0 && exchange->has_answer) {
        exchange->ended = true;
        exchange_on_read(exchange);
        return;
    }
    if (!upstream->connected)
        exchange_failed(exchange, EXCHANGE_UNREACHED);
    else if (!try_again(exchange))
        exchange_failed(exchange, EXCHANGE_BROKEN);
}

void exchange_on_time(struct exchange *exchange)
{
    struct upstream *upstream = exchange->upstream;
    bool client_is_late = !exchange->request_whole && evbuffer_get_length(bufferevent_get_output(upstream->bev)) == 0;
    bool taker_is_late =
        exchange->to != NULL && evbuffer_get_length(bufferevent_get_output(exchange->to)) >= GATEWAY_OUTPUT_LOW;
    if (upstream->connected && (client_is_late || taker_is_late))
        timer_set(&upstream->timer, exchange->timeout_us); /* who is waited for has a limit of its own */
    else
        exchange_failed(exchange, upstream->connected ? EXCHANGE_LATE : EXCHANGE_UNREACHED);
}
