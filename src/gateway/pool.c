/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to the upstream, of one loop.
 *
 *   connecting ──▶ busy (has an exchange) ──answer whole, kept alive──▶ idle ──asked for──▶ busy
 *                    └── anything else ──▶ closed                        └── old, or it speaks ──▶ closed
 *
 * The connection used last is used first, so that those which are not needed grow old and end.  Before an idle one is
 * used, the kernel is asked whether the upstream has closed it: so a request seldom meets a connection that just ended.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "gateway/gateway_int.h"

static void upstream_free(struct upstream *upstream)
{
    struct loop *loop = upstream->loop;
    *upstream->link = upstream->next;
    if (upstream->next != NULL)
        upstream->next->link = upstream->link;
    loop->upstream_count--;
    atomic_fetch_sub(&loop->gateway->counts.upstream_connections, 1);
    timer_release(&upstream->timer);
    if (bufferevent_getfd(upstream->bev) >= 0)
        (void)shutdown(bufferevent_getfd(upstream->bev), SHUT_RDWR); /* libevent closes it a turn later */
    bufferevent_free(upstream->bev);
    free(upstream);
}

static void forget_idle(struct upstream *upstream)
{
    struct upstream **at = &upstream->loop->idle;
    while (*at != NULL && *at != upstream)
        at = &(*at)->next_idle;
    if (*at != NULL)
        *at = upstream->next_idle;
}

/* ---- callbacks ---- */

static void idle_ends(struct upstream *upstream)
{
    forget_idle(upstream);
    upstream_free(upstream);
}

static void on_read(struct bufferevent *bev, void *context)
{
    struct upstream *upstream = context;
    (void)bev;
    if (upstream->exchange != NULL)
        exchange_on_read(upstream->exchange);
    else
        idle_ends(upstream); /* nobody asked */
}

static void on_written(struct bufferevent *bev, void *context)
{
    struct upstream *upstream = context;
    (void)bev;
    if (upstream->exchange != NULL)
        exchange_on_written(upstream->exchange);
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
    struct upstream *upstream = context;
    int on = 1;
    if ((what & BEV_EVENT_CONNECTED) != 0) {
        upstream->connected = true;
        (void)setsockopt(bufferevent_getfd(bev), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* slower without */
    }
    if (upstream->exchange != NULL)
        exchange_on_event(upstream->exchange, what);
    else if ((what & BEV_EVENT_CONNECTED) == 0)
        idle_ends(upstream);
}

static void on_time(void *context)
{
    struct upstream *upstream = context;
    if (upstream->exchange != NULL)
        exchange_on_time(upstream->exchange);
    else
        idle_ends(upstream);
}

/* ---- connections ---- */

/* NULL: there is no memory or no descriptor for it. */
static struct upstream *connect_new(struct loop *loop)
{
    const struct gateway *gateway = loop->gateway;
    struct bufferevent *bev = bufferevent_socket_new(loop->base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (bev == NULL)
        return NULL;
    struct upstream *upstream = alloc_zeroed(1, sizeof(*upstream));
    upstream->loop = loop;
    upstream->bev = bev;
    timer_init(&upstream->timer, loop, on_time, upstream);
    upstream->next = loop->upstreams;
    upstream->link = &loop->upstreams;
    if (upstream->next != NULL)
        upstream->next->link = &upstream->next;
    loop->upstreams = upstream;
    loop->upstream_count++;
    atomic_fetch_add(&loop->gateway->counts.upstream_connections, 1);
    bufferevent_setcb(bev, on_read, on_written, on_event, upstream);
    bufferevent_setwatermark(bev, EV_READ, 0, GATEWAY_OUTPUT_HIGH);
    bufferevent_setwatermark(bev, EV_WRITE, GATEWAY_OUTPUT_LOW, 0);
    (void)bufferevent_enable(bev, EV_READ | EV_WRITE); /* it has a buffer */
    if (bufferevent_socket_connect(bev, (const struct sockaddr *)&gateway->upstream, (int)gateway->upstream_size) !=
        0) {
        upstream_free(upstream);
        return NULL;
    }
    return upstream;
}

static bool is_alive(const struct upstream *upstream)
{
    char byte;
    ssize_t got = recv(bufferevent_getfd(upstream->bev), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static struct upstream *take_idle(struct loop *loop)
{
    struct upstream *upstream;
    while ((upstream = loop->idle) != NULL) {
        loop->idle = upstream->next_idle;
        if (is_alive(upstream))
            return upstream;
        upstream_free(upstream);
    }
    return NULL;
}

static void wait_for_one(struct exchange *exchange)
{
    struct loop *loop = exchange->loop;
    exchange->waits = true;
    exchange->next = NULL;
    *loop->waiting_end = exchange;
    loop->waiting_end = &exchange->next;
}

void pool_ask(struct exchange *exchange)
{
    struct loop *loop = exchange->loop;
    struct upstream *upstream = exchange->retried ? NULL : take_idle(loop);
    if (upstream == NULL && loop->upstream_count >= loop->upstream_max && loop->idle != NULL)
        idle_ends(loop->idle); /* a second try takes a new one */
    if (upstream == NULL && loop->upstream_count >= loop->upstream_max) {
        wait_for_one(exchange);
        return;
    }
    if (upstream == NULL)
        upstream = connect_new(loop);
    if (upstream == NULL)
        exchange_failed(exchange, EXCHANGE_UNREACHED);
    else
        exchange_begin(exchange, upstream);
}

void pool_forget(struct exchange *exchange)
{
    struct loop *loop = exchange->loop;
    struct exchange **at = &loop->waiting;
    while (*at != NULL && *at != exchange)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    *at = exchange->next;
    if (loop->waiting_end == &exchange->next)
        loop->waiting_end = at;
    exchange->waits = false;
}

void pool_give(struct upstream *upstream, bool reusable)
{
    struct loop *loop = upstream->loop;
    struct exchange *next = loop->waiting;
    upstream->exchange = NULL;
    upstream->used = true;
    if (next != NULL)
        pool_forget(next);
    if (!reusable) {
        upstream_free(upstream);
        if (next != NULL)
            pool_ask(next);
    } else if (next != NULL) {
        exchange_begin(next, upstream);
    } else {
        upstream->next_idle = loop->idle;
        loop->idle = upstream;
        timer_set(&upstream->timer, GATEWAY_POOL_IDLE_US);
    }
}

void pool_tick(struct loop *loop)
{
    int64_t now = gateway_now(loop->gateway);
    struct exchange *exchange;
    while ((exchange = loop->waiting) != NULL && now - exchange->began_us > exchange->timeout_us) {
        pool_forget(exchange);
        exchange_failed(exchange, EXCHANGE_UNREACHED);
    }
}

void pool_close(struct loop *loop)
{
    struct exchange *exchange;
    while ((exchange = loop->waiting) != NULL) {
        pool_forget(exchange);
        exchange_failed(exchange, EXCHANGE_UNREACHED);
    }
    loop->idle = NULL;
    while (loop->upstreams != NULL) {
        if (loop->upstreams->exchange != NULL)
            exchange_failed(loop->upstreams->exchange, EXCHANGE_BROKEN);
        else
            upstream_free(loop->upstreams);
    }
}
