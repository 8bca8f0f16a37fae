/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening, and the life of the server.  One thread runs one event loop; everything in this room but http_start(),
 * http_stop(), http_set_legacy(), the tokens' files and the two threads of appender.c is called by it.
 *
 * The requests are read by a parser of our own (wire.c) on libevent's buffers: its own HTTP server takes requests that
 * two programs could read in two ways, and holds whole bodies in memory.
 */
#include "http/server.h"

#include <event2/thread.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "http/listen.h"
#include "os/clock.h"

bool http_legacy_status(struct http_server *server, struct legacy_status *ret)
{
    pthread_mutex_lock(&server->shared.lock);
    bool there = server->shared.legacy != NULL;
    if (there)
        legacy_status(server->shared.legacy, ret);
    pthread_mutex_unlock(&server->shared.lock);
    return there;
}

/* ---- listening ---- */

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address, int size,
                      void *context)
{
    static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
                               "Content-Length: 0\r\n\r\n";
    static const struct timeval pause = {1, 0};
    struct http_server *server = context;
    int64_t second = os_clock_monotonic_us(server->clock) / 1000000;
    (void)address, (void)size;
    if (second != server->accept_second) {
        server->accept_second = second;
        server->accepts = 0;
    }
    if (++server->accepts >= HTTP_ACCEPTS_PER_SECOND_MAX) { /* the others wait in the kernel's queue */
        (void)evconnlistener_disable(listener);
        (void)evtimer_add(server->accept_again, &pause);
    }
    if (server->figures.connections < server->options.connections_max) {
        http_conn_open(server, fd);
        return;
    }
    server->figures.refused++;
    if (server->tls == NULL)
        (void)!send(fd, busy, sizeof(busy) - 1, MSG_NOSIGNAL | MSG_DONTWAIT); /* a courtesy */
    (void)close(fd);
}

static void on_accept_again(evutil_socket_t fd, short what, void *context)
{
    struct http_server *server = context;
    (void)fd, (void)what;
    (void)evconnlistener_enable(server->listener); /* it tries again at the next connection */
}

static enum banyan_status check_exposure(void *context, bool loopback, struct banyan_error *err)
{
    const struct http_options *options = context;
    bool safe = options->tokens_file != NULL && options->certificate_file != NULL;
    if (loopback || safe || options->insecure)
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_CONFIG, "%s is not a loopback address, and there are no %s", options->address,
                     options->tokens_file == NULL ? "tokens" : "certificate and key");
    banyan_error_hint(err,
                      "set http.tokens_file, http.certificate_file and http.key_file, or http.insecure if something "
                      "in front of it does that");
    return BANYAN_CONFIG;
}

static enum banyan_status listen_on(struct http_server *server, struct banyan_error *err)
{
    const struct http_options *options = &server->options;
    int fd = -1;
    enum banyan_status st =
        http_listen(options->address, options->port, check_exposure, &server->options, &fd, &server->port, err);
    if (st != BANYAN_OK)
        return st;
    server->listener =
        evconnlistener_new(server->base, on_accept, server, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (server->listener != NULL)
        return BANYAN_OK;
    (void)close(fd); /* nothing was sent */
    return banyan_error_set(err, BANYAN_LIMIT, "cannot make a listener");
}

/* ---- life ---- */

static void loop_main(void *argument)
{
    struct http_server *server = argument;
    (void)event_base_loop(server->base, EVLOOP_NO_EXIT_ON_EMPTY); /* ends by the ender only */
}

/* Runs inside the loop: a break from outside is forgotten when the loop has not begun yet. */
static void on_end(evutil_socket_t fd, short what, void *context)
{
    struct http_server *server = context;
    (void)fd, (void)what;
    (void)event_base_loopbreak(server->base); /* fails for no base only */
}

/* A new certificate is for new connections; one that cannot be read leaves the old one. */
static void on_hangup(evutil_socket_t fd, short what, void *context)
{
    struct http_server *server = context;
    struct ssl_ctx_st *fresh = NULL;
    (void)fd, (void)what;
    if (server->tls == NULL ||
        http_tls_open(server->options.certificate_file, server->options.key_file, &fresh, NULL) != BANYAN_OK)
        return;
    SSL_CTX_free(server->tls); /* connections that use it hold it */
    server->tls = fresh;
}

static enum banyan_status make_events(struct http_server *server, struct banyan_error *err)
{
    if (evthread_use_pthreads() != 0 || (server->base = event_base_new()) == NULL ||
        (server->ender = event_new(server->base, -1, 0, on_end, server)) == NULL ||
        (server->accept_again = evtimer_new(server->base, on_accept_again, server)) == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "cannot make an event loop");
    if (!server->options.reload_on_hangup)
        return BANYAN_OK;
    server->hangup = evsignal_new(server->base, SIGHUP, on_hangup, server);
    if (server->hangup == NULL || event_add(server->hangup, NULL) != 0)
        return banyan_error_set(err, BANYAN_LIMIT, "cannot watch for SIGHUP");
    return BANYAN_OK;
}

static enum banyan_status open_secrets(struct http_server *server, struct banyan_error *err)
{
    const struct http_options *options = &server->options;
    enum banyan_status st = BANYAN_OK;
    if ((options->certificate_file == NULL) != (options->key_file == NULL))
        return banyan_error_set(err, BANYAN_CONFIG, "http.certificate_file and http.key_file belong together");
    if (options->tokens_file != NULL)
        st = http_tokens_open(options->tokens_file, &server->tokens, err);
    if (st == BANYAN_OK && options->certificate_file != NULL)
        st = http_tls_open(options->certificate_file, options->key_file, &server->tls, err);
    return st;
}

enum banyan_status http_start(const struct http_options *options, struct http_server **ret, struct banyan_error *err)
{
    struct http_server *server = alloc_zeroed(1, sizeof(*server));
    server->options = *options;
    if (options->connections_max == 0)
        server->options.connections_max = HTTP_CONNECTIONS_DEFAULT;
    if (options->subscribers_max == 0)
        server->options.subscribers_max = HTTP_SUBSCRIBERS_DEFAULT;
    server->clock = options->clock == NULL ? os_clock_real() : options->clock;
    server->started_us = os_clock_monotonic_us(server->clock);
    server->view_count = options->projections == NULL ? 0 : projections_count(options->projections);
    server->views = alloc_zeroed(server->view_count + 1, sizeof(struct sink_view *));
    server->rebuilds = alloc_zeroed(server->view_count + 1, sizeof(*server->rebuilds));
    pthread_mutex_init(&server->shared.lock, NULL);
    enum banyan_status st = make_events(server, err);
    if (st == BANYAN_OK)
        st = open_secrets(server, err);
    if (st == BANYAN_OK)
        st = listen_on(server, err);
    for (size_t i = 0; i < server->view_count && st == BANYAN_OK; i++)
        st = projections_view(options->projections, i, &server->views[i], err);
    if (st == BANYAN_OK)
        st = http_subscribers_open(server, err);
    if (st == BANYAN_OK)
        st = http_appender_open(server, err);
    if (st == BANYAN_OK)
        st = http_tasks_open(server, err);
    if (st == BANYAN_OK)
        st = http_commands_open(server, err);
    if (st != BANYAN_OK)
        goto out;
    os_thread_start(&server->thread, "http", loop_main, server);
    *ret = server;
    server = NULL;
out:
    http_stop(server);
    return st;
}

int http_port(const struct http_server *server)
{
    return server->port;
}

void http_set_legacy(struct http_server *server, struct legacy *legacy)
{
    pthread_mutex_lock(&server->shared.lock);
    server->shared.legacy = legacy;
    pthread_mutex_unlock(&server->shared.lock);
}

void http_stop(struct http_server *server)
{
    if (server == NULL)
        return;
    if (server->thread.started)
        event_active(server->ender, EV_TIMEOUT, 0); /* wakes the loop, also one that only begins */
    os_thread_join(&server->thread);
    if (server->listener != NULL)
        (void)evconnlistener_disable(server->listener); /* it is freed below */
    http_appender_close(server); /* its jobs are forgotten; what was submitted becomes durable all the same */
    http_tasks_close(server);
    http_commands_close(server);
    http_conns_close(server);
    http_subscribers_close(server);
    if (server->base != NULL)
        (void)event_base_loop(server->base, EVLOOP_NONBLOCK); /* libevent closes freed sockets in its loop only */
    if (server->listener != NULL)
        evconnlistener_free(server->listener);
    struct event *const events[] = {server->ender, server->hangup, server->accept_again};
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        if (events[i] != NULL)
            event_free(events[i]);
    if (server->base != NULL)
        event_base_free(server->base);
    for (size_t i = 0; i < server->view_count; i++)
        sink_view_close(server->views[i]);
    free(server->views);
    free(server->rebuilds);
    http_tokens_close(server->tokens);
    SSL_CTX_free(server->tls);
    pthread_mutex_destroy(&server->shared.lock);
    free(server);
}
