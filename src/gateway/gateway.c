/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a gateway: its address, its upstream, its loops. */
#include "gateway/gateway.h"

#include <event2/thread.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "gateway/facade.h"
#include "http/listen.h"

enum {
    TICK_US = 25 * 1000,
};

void gateway_send(struct bufferevent *bev, struct evbuffer *data)
{
    struct evbuffer *output = bufferevent_get_output(bev);
    if (evbuffer_get_length(output) == 0 && evbuffer_get_length(data) > 0)
        (void)evbuffer_write(data, bufferevent_getfd(bev)); /* where it fails, the loop finds out why */
    if (evbuffer_get_length(data) > 0)
        (void)evbuffer_add_buffer(output, data);
}

/* ---- messages ---- */

void loop_post(struct loop *loop, struct message *message)
{
    message->next = NULL;
    (void)pthread_mutex_lock(&loop->shared.lock);
    *loop->shared.messages_end = message;
    loop->shared.messages_end = &message->next;
    bool wake = !loop->shared.woken;
    loop->shared.woken = true;
    (void)pthread_mutex_unlock(&loop->shared.lock);
    if (wake)
        event_active(loop->wake, EV_TIMEOUT, 0);
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct loop *loop = context;
    (void)fd, (void)what;
    (void)pthread_mutex_lock(&loop->shared.lock);
    struct message *message = loop->shared.messages, *next;
    loop->shared.messages = NULL;
    loop->shared.messages_end = &loop->shared.messages;
    loop->shared.woken = false;
    (void)pthread_mutex_unlock(&loop->shared.lock);
    for (; message != NULL; message = next) {
        next = message->next;
        message->run(message);
    }
}

/* ---- the loop ---- */

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int size,
                      void *context)
{
    static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
                               "Content-Length: 0\r\n\r\n";
    struct loop *loop = context;
    struct gateway *gateway = loop->gateway;
    (void)listener, (void)size;
    if (atomic_fetch_add(&gateway->counts.connections, 1) < gateway->options.connections_max) {
        gateway_count(&gateway->counts.connections_total);
        front_open(loop, fd, address);
        return;
    }
    atomic_fetch_sub(&gateway->counts.connections, 1);
    (void)!send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* a courtesy */
    (void)close(fd);
}

static void on_tick(evutil_socket_t fd, short what, void *context)
{
    struct loop *loop = context;
    (void)fd, (void)what;
    pool_tick(loop);
    if (loop->number == 0)
        gate_poll(loop->gateway->gate);
    if (!atomic_load(&loop->gateway->draining))
        health_tick(loop);
    else
        fronts_drain(loop);
}

static void loop_main(void *argument)
{
    struct loop *loop = argument;
    (void)event_base_loop(loop->base, EVLOOP_NO_EXIT_ON_EMPTY); /* ends by a message only */
}

static enum banyan_status loop_open(struct gateway *gateway, struct loop *loop, struct banyan_error *err)
{
    static const struct timeval tick = {TICK_US / 1000000, TICK_US % 1000000};
    unsigned share = gateway->options.upstream_max / gateway->loop_count;
    int fd = dup(gateway->fd);
    loop->gateway = gateway;
    loop->number = (unsigned)(loop - gateway->loops);
    loop->waiting_end = &loop->waiting;
    loop->shared.messages_end = &loop->shared.messages;
    loop->upstream_max = share == 0 ? 1 : share;
    (void)pthread_mutex_init(&loop->shared.lock, NULL);
    if (fd >= 0 && (loop->base = event_base_new()) != NULL && (loop->scratch = evbuffer_new()) != NULL &&
        (loop->wake = event_new(loop->base, -1, 0, on_wake, loop)) != NULL &&
        (loop->tick = event_new(loop->base, -1, EV_PERSIST, on_tick, loop)) != NULL)
        loop->listener =
            evconnlistener_new(loop->base, on_accept, loop, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (loop->listener == NULL) {
        if (fd >= 0)
            (void)close(fd); /* nothing was sent */
        return banyan_error_set(err, BANYAN_LIMIT, "cannot make an event loop");
    }
    (void)event_add(loop->tick, &tick); /* without memory: old connections stay */
    return BANYAN_OK;
}

static void loop_close(struct loop *loop)
{
    if (loop->gateway == NULL)
        return;
    fronts_close(loop);
    on_wake(-1, 0, loop); /* what was left for it: its clients have gone */
    pool_close(loop);
    on_wake(-1, 0, loop);
    banyan_arena_release(&loop->arena);
    if (loop->scratch != NULL)
        evbuffer_free(loop->scratch);
    if (loop->listener != NULL)
        evconnlistener_free(loop->listener);
    if (loop->base != NULL)
        (void)event_base_loop(loop->base, EVLOOP_NONBLOCK); /* libevent closes freed sockets in its loop only */
    if (loop->wake != NULL)
        event_free(loop->wake);
    if (loop->tick != NULL)
        event_free(loop->tick);
    if (loop->base != NULL)
        event_base_free(loop->base);
    (void)pthread_mutex_destroy(&loop->shared.lock);
}

/* ---- start ---- */

static enum banyan_status find_upstream(struct gateway *gateway, const char *url, struct banyan_error *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found = NULL;
    const char *host = strncmp(url, "http://", 7) == 0 ? url + 7 : NULL;
    size_t size = host == NULL ? 0 : strcspn(host, "/?#");
    if (size == 0 || size > 255 || (host[size] != '\0' && strcmp(host + size, "/") != 0)) {
        banyan_error_set(err, BANYAN_CONFIG, "\"%.200s\" is no address of an upstream", url);
        banyan_error_hint(err, "it is http://host:port, without a path");
        return BANYAN_CONFIG;
    }
    gateway->upstream_name = alloc_zeroed(size + 1, 1);
    memcpy(gateway->upstream_name, host, size);
    char *name = alloc_text(gateway->upstream_name);
    char *bracket = name[0] == '[' ? strchr(name, ']') : NULL;
    char *colon = strchr(bracket == NULL ? name : bracket, ':');
    if (colon != NULL)
        *colon = '\0';
    if (bracket != NULL)
        *bracket = '\0';
    int code = getaddrinfo(bracket == NULL ? name : name + 1, colon == NULL ? "80" : colon + 1, &hints, &found);
    enum banyan_status st = BANYAN_OK;
    if (code != 0) {
        st = banyan_error_set(err, BANYAN_CONFIG, "upstream %s: %s", gateway->upstream_name, gai_strerror(code));
    } else {
        memcpy(&gateway->upstream, found->ai_addr, found->ai_addrlen);
        gateway->upstream_size = found->ai_addrlen;
        freeaddrinfo(found);
    }
    free(name);
    return st;
}

static void fill_in(struct gateway_options *options)
{
    if (options->loops == 0)
        options->loops = 1;
    if (options->loops > GATEWAY_LOOPS_MAX)
        options->loops = GATEWAY_LOOPS_MAX;
    if (options->connections_max == 0)
        options->connections_max = GATEWAY_CONNECTIONS_DEFAULT;
    if (options->upstream_max == 0)
        options->upstream_max = GATEWAY_UPSTREAM_DEFAULT;
    if (options->facade_body_max == 0)
        options->facade_body_max = GATEWAY_BODY_DEFAULT;
    if (options->compare_body_max == 0)
        options->compare_body_max = GATEWAY_BODY_DEFAULT;
    if (options->upstream_timeout_us == 0)
        options->upstream_timeout_us = GATEWAY_UPSTREAM_TIMEOUT_US;
    if (options->hold_us_max == 0)
        options->hold_us_max = GATEWAY_HOLD_US;
}

enum banyan_status gateway_start(const struct gateway_options *options, struct gateway **ret, struct banyan_error *err)
{
    struct gateway *gateway = alloc_zeroed(1, sizeof(*gateway));
    gateway->options = *options;
    gateway->fd = -1;
    gateway->clock = os_clock_real();
    (void)pthread_mutex_init(&gateway->shared.lock, NULL);
    os_cond_init(&gateway->shared.changed);
    fill_in(&gateway->options);
    gateway->answered_us = gateway_now(gateway) - GATEWAY_HEALTH_US; /* the upstream is asked at once */
    enum banyan_status st = find_upstream(gateway, options->upstream, err);
    if (st == BANYAN_OK && evthread_use_pthreads() != 0)
        st = banyan_error_set(err, BANYAN_LIMIT, "cannot use threads");
    if (st == BANYAN_OK)
        st = http_listen(options->address, options->port, NULL, NULL, &gateway->fd, &gateway->port, err);
    gateway->gate = gate_new(gateway);
    if (st == BANYAN_OK && options->domain != NULL && options->domain->facade != NULL) {
        gateway->recent = recent_new();
        gateway->work = work_new(gateway);
        gateway->shadow = shadow_new(gateway);
    }
    if (st == BANYAN_OK) {
        gateway->loop_count = gateway->options.loops;
        gateway->loops = alloc_zeroed(gateway->loop_count, sizeof(*gateway->loops));
    }
    for (unsigned i = 0; i < gateway->loop_count && st == BANYAN_OK; i++)
        st = loop_open(gateway, &gateway->loops[i], err);
    if (st != BANYAN_OK) {
        banyan_error_context(err, "gateway");
        gateway_stop(gateway, 0);
        return st;
    }
    for (unsigned i = 0; i < gateway->loop_count; i++)
        os_thread_start(&gateway->loops[i].thread, "gateway", loop_main, &gateway->loops[i]);
    *ret = gateway;
    return BANYAN_OK;
}

int gateway_port(const struct gateway *gateway)
{
    return gateway->port;
}

/* ---- stop ---- */

struct loop_message {
    struct message message;
    struct loop *loop;
};

static void in_loop(struct loop *loop, void (*run)(struct message *message))
{
    struct loop_message *message = alloc_zeroed(1, sizeof(*message));
    message->message.run = run;
    message->loop = loop;
    loop_post(loop, &message->message);
}

static void run_refuse(struct message *message)
{
    struct loop *loop = ((struct loop_message *)message)->loop;
    free(message);
    evconnlistener_free(loop->listener);
    loop->listener = NULL;
    fronts_drain(loop);
}

static void run_end(struct message *message)
{
    struct loop *loop = ((struct loop_message *)message)->loop;
    free(message);
    (void)event_base_loopbreak(loop->base);
}

/* Until *until_us*, or no client is connected where *all*. */
static void wait_for_clients(struct gateway *gateway, int64_t until_us, bool all)
{
    (void)pthread_mutex_lock(&gateway->shared.lock);
    while (!all || atomic_load(&gateway->counts.connections) > 0) {
        int64_t left = until_us - gateway_now(gateway);
        if (left <= 0)
            break;
        (void)os_cond_wait(&gateway->shared.changed, &gateway->shared.lock, left);
    }
    (void)pthread_mutex_unlock(&gateway->shared.lock);
}

/* Who balances shall send nothing more before nothing more is taken: our health says so a moment earlier. */
static void take_leave(struct gateway *gateway, int64_t drain_us)
{
    int64_t now = gateway_now(gateway), checked = atomic_load(&gateway->checked_us);
    int64_t leave_us = drain_us / 4 < GATEWAY_LEAVE_US ? drain_us / 4 : GATEWAY_LEAVE_US;
    if (checked != 0 && now - checked < GATEWAY_CHECKED_US)
        wait_for_clients(gateway, now + leave_us, false);
}

void gateway_stop(struct gateway *gateway, int64_t drain_us)
{
    if (gateway == NULL)
        return;
    bool runs = gateway->loop_count > 0 && gateway->loops[0].thread.started;
    int64_t until = gateway_now(gateway) + drain_us;
    gateway->drain_since_us = gateway_now(gateway);
    atomic_store(&gateway->draining, true);
    if (runs)
        take_leave(gateway, drain_us);
    if (gateway->fd >= 0)
        (void)close(gateway->fd); /* the loops have their own */
    for (unsigned i = 0; i < gateway->loop_count && runs; i++)
        in_loop(&gateway->loops[i], run_refuse);
    if (runs)
        wait_for_clients(gateway, until, true);
    for (unsigned i = 0; i < gateway->loop_count && runs; i++)
        in_loop(&gateway->loops[i], run_end);
    for (unsigned i = 0; i < gateway->loop_count; i++)
        os_thread_join(&gateway->loops[i].thread);
    work_stop(gateway->work);
    shadow_stop(gateway->shadow);
    for (unsigned i = 0; i < gateway->loop_count; i++)
        loop_close(&gateway->loops[i]);
    work_free(gateway->work);
    shadow_free(gateway->shadow);
    gate_free(gateway->gate);
    recent_free(gateway->recent);
    (void)pthread_cond_destroy(&gateway->shared.changed);
    (void)pthread_mutex_destroy(&gateway->shared.lock);
    free(gateway->loops);
    free(gateway->upstream_name);
    free(gateway);
}

/* ---- look ---- */

void gateway_figures(struct gateway *gateway, struct gateway_figures *ret)
{
    const struct gateway_counts *counts = &gateway->counts;
    *ret = (struct gateway_figures){
        .connections = counts->connections,
        .connections_total = counts->connections_total,
        .requests = counts->requests,
        .passed = counts->passed,
        .reads_legacy = counts->reads_legacy,
        .reads_banyan = counts->reads_banyan,
        .writes_legacy = counts->writes_legacy,
        .writes_banyan = counts->writes_banyan,
        .split = counts->split,
        .held = counts->held,
        .held_refused = counts->held_refused,
        .shadows = counts->shadows,
        .shadows_dropped = counts->shadows_dropped,
        .mismatches = counts->mismatches,
        .too_large = counts->too_large,
        .upstream_failures = counts->upstream_failures,
        .upstream_connections = counts->upstream_connections,
        .upstream_up = health_is_up(gateway),
    };
}
