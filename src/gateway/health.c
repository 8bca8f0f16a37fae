/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the upstream there?  The last answer says so; where there was none for a second, it is asked: HEAD /, and any
 * answer is good.
 */
#include "gateway/gateway_int.h"

enum {
    HEALTH_TIMEOUT_US = 2 * 1000 * 1000,
};

void health_answered(struct gateway *gateway, bool good)
{
    atomic_store_explicit(&gateway->answered_us, gateway_now(gateway), memory_order_relaxed);
    atomic_store_explicit(&gateway->upstream_state, good ? 1 : -1, memory_order_relaxed);
}

bool health_is_up(const struct gateway *gateway)
{
    return atomic_load_explicit(&gateway->upstream_state, memory_order_relaxed) > 0;
}

static void on_head(struct exchange *exchange, const struct wire_head *head, struct banyan_str text)
{
    (void)exchange, (void)head, (void)text;
}

static void on_end(struct exchange *exchange, enum exchange_end end)
{
    (void)end; /* the exchange has told already */
    exchange->loop->health_asked = false;
    exchange_free(exchange);
}

void health_tick(struct loop *loop)
{
    struct gateway *gateway = loop->gateway;
    int64_t since = gateway_now(gateway) - atomic_load_explicit(&gateway->answered_us, memory_order_relaxed);
    if (loop->health_asked || loop->number != 0 || since < GATEWAY_HEALTH_US)
        return;
    struct exchange *exchange = exchange_new(loop, BANYAN_STR("HEAD"));
    loop->health_asked = true;
    (void)evbuffer_add_printf(exchange->request, "HEAD / HTTP/1.1\r\nHost: %s\r\nUser-Agent: banyan-gateway\r\n\r\n",
                              gateway->upstream_name); /* out of memory: late */
    exchange->request_whole = true;
    exchange->timeout_us = HEALTH_TIMEOUT_US;
    exchange->on_head = on_head;
    exchange->on_end = on_end;
    exchange_start(exchange);
}
