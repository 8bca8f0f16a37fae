/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening, routing, replies.  One thread runs one event loop; everything here but http_start(), http_stop() and
 * http_set_legacy() is called by it.
 *
 * libevent's parser lets some requests pass that could mean two things to two programs (several Content-Length, a
 * length with a sign): they are refused here, and their connection is closed.
 */
#include "http/server.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/keyvalq_struct.h>
#include <event2/thread.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "banyan/uuid.h"
#include "base/alloc.h"
#include "http/http_int.h"
#include "os/clock.h"

/* ---- replies ---- */

void http_header(struct http_call *call, const char *name, const char *format, ...)
{
    char value[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(value, sizeof(value), format, arguments); /* only numbers and dates: they fit */
    va_end(arguments);
    (void)evhttp_add_header(evhttp_request_get_output_headers(call->request), name,
                            value); /* fails for bad names only */
}

void http_reply(struct http_call *call, int code, const char *content_type, const struct banyan_buf *body)
{
    struct evbuffer *out = evhttp_request_get_output_buffer(call->request);
    if (body != NULL && body->overflow) {
        http_problem(call, 500, "ask for fewer items", "the answer is larger than %d bytes", HTTP_ANSWER_BYTES_MAX);
        return;
    }
    if (code >= 400)
        call->server->errors++;
    http_header(call, "Cache-Control", "no-store");
    (void)evhttp_add_header(evhttp_request_get_output_headers(call->request), "Content-Type", content_type);
    if (body != NULL && body->size > 0 && evhttp_request_get_command(call->request) != EVHTTP_REQ_HEAD)
        (void)evbuffer_add(out, body->data, body->size); /* out of memory ends the connection */
    evhttp_send_reply(call->request, code, NULL, NULL);
}

static const char *title_of(int code)
{
    switch (code) {
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

void http_problem(struct http_call *call, int code, const char *hint, const char *format, ...)
{
    char detail[1024];
    struct banyan_buf body = BANYAN_BUF_INIT(16 * 1024);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments); /* a cut text still tells */
    va_end(arguments);
    banyan_buf_printf(&body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"detail\":", title_of(code),
                      code);
    banyan_buf_add_json(&body, banyan_str_of(detail));
    if (hint != NULL) {
        banyan_buf_add_text(&body, ",\"hint\":");
        banyan_buf_add_json(&body, banyan_str_of(hint));
    }
    banyan_buf_add_text(&body, "}\n");
    if (code == 503)
        http_header(call, "Retry-After", "1");
    http_reply(call, code, "application/problem+json", &body);
    banyan_buf_release(&body);
}

void http_failure(struct http_call *call, const struct banyan_error *err)
{
    enum banyan_class class = banyan_status_class(err->status);
    bool bad_input = err->status == BANYAN_INVALID || err->status == BANYAN_LIMIT;
    int code = bad_input ? 400 : err->status == BANYAN_NOT_FOUND ? 404 : class == BANYAN_CLASS_RETRY ? 503 : 500;
    http_problem(call, code, err->hint[0] == '\0' ? NULL : err->hint, "%s", err->message);
}

bool http_parse_number(const char *text, uint64_t *ret)
{
    uint64_t value = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++)
        if (*text < '0' || *text > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
            return false;
    *ret = value;
    return true;
}

bool http_parse_key(const char *text, int64_t *ret)
{
    bool negative = *text == '-';
    uint64_t value;
    if (!http_parse_number(text + negative, &value) || value > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

bool http_number(struct http_call *call, const char *name, uint64_t fallback, uint64_t min, uint64_t max, uint64_t *ret)
{
    const char *text = evhttp_find_header(call->query, name);
    uint64_t value = fallback;
    if (text != NULL && (!http_parse_number(text, &value) || value < min || value > max)) {
        http_problem(call, 400, NULL, "%s has to be a number from %" PRIu64 " to %" PRIu64, name, min, max);
        return false;
    }
    *ret = value;
    return true;
}

bool http_only(struct http_call *call, const char *const *names)
{
    struct evkeyval *parameter, *other;
    TAILQ_FOREACH (parameter, call->query, next) {
        bool known = false;
        for (size_t i = 0; names[i] != NULL && !known; i++)
            known = strcmp(parameter->key, names[i]) == 0;
        if (!known) {
            http_problem(call, 400, "docs/HTTP.md lists the parameters", "unknown parameter \"%.100s\"",
                         parameter->key);
            return false;
        }
        for (other = TAILQ_NEXT(parameter, next); other != NULL; other = TAILQ_NEXT(other, next)) {
            if (strcmp(parameter->key, other->key) != 0)
                continue;
            http_problem(call, 400, NULL, "parameter \"%.100s\" is there more than once", parameter->key);
            return false;
        }
    }
    return true;
}

bool http_legacy_status(struct http_server *server, struct legacy_status *ret)
{
    pthread_mutex_lock(&server->shared.lock);
    bool there = server->shared.legacy != NULL;
    if (there)
        legacy_status(server->shared.legacy, ret);
    pthread_mutex_unlock(&server->shared.lock);
    return there;
}

/* ---- requests ---- */

/* NULL, or why the request is refused. */
static const char *framing_fault(struct evhttp_request *request)
{
    const struct evkeyvalq *headers = evhttp_request_get_input_headers(request);
    const struct evkeyval *header;
    unsigned lengths = 0;
    TAILQ_FOREACH (header, headers, next) {
        size_t size = strlen(header->key);
        if (size == 0 || strchr(" \t", header->key[size - 1]) != NULL)
            return "white space before the colon of a header";
        if (strcasecmp(header->key, "Transfer-Encoding") == 0)
            return "this server takes no Transfer-Encoding";
        if (strcasecmp(header->key, "Content-Length") != 0)
            continue;
        if (header->value[0] == '\0' || header->value[strspn(header->value, "0123456789")] != '\0')
            return "Content-Length is no number";
        lengths++;
    }
    return lengths > 1 ? "more than one Content-Length" : NULL;
}

/* Every % is followed by two hexadecimal digits, and none stands for a NUL: texts end there. */
static bool escapes_are_sound(const char *raw)
{
    static const char digits[] = "0123456789abcdefABCDEF";
    if (raw == NULL)
        return true;
    for (const char *at = strchr(raw, '%'); at != NULL; at = strchr(at + 1, '%'))
        if (at[1] == '\0' || strchr(digits, at[1]) == NULL || at[2] == '\0' || strchr(digits, at[2]) == NULL ||
            (at[1] == '0' && at[2] == '0'))
            return false;
    return true;
}

static void route(struct http_call *call)
{
    static const char *const none[] = {NULL};
    static const struct {
        const char *path;
        void (*handle)(struct http_call *call);
    } plain[] = {
        {"/livez", http_livez}, {"/readyz", http_readyz}, {"/status", http_status}, {"/metrics", http_metrics}};
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (strcmp(call->path, plain[i].path) != 0)
            continue;
        if (http_only(call, none))
            plain[i].handle(call);
        return;
    }
    if (strncmp(call->path, "/views/", 7) == 0)
        http_view(call, call->path + 7);
    else if (strncmp(call->path, "/streams/", 9) == 0)
        http_stream(call, call->path + 9);
    else
        http_problem(call, 404, "docs/HTTP.md lists the paths", "there is nothing at this path");
}

static void on_request(struct evhttp_request *request, void *context)
{
    struct http_server *server = context;
    struct evkeyvalq query;
    struct http_call call = {.server = server, .request = request, .query = &query};
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(request);
    const char *raw = uri == NULL ? NULL : evhttp_uri_get_path(uri);
    const char *raw_query = uri == NULL ? NULL : evhttp_uri_get_query(uri);
    const char *fault = framing_fault(request);
    enum evhttp_cmd_type method = evhttp_request_get_command(request);
    size_t size = 0;
    char *path = raw == NULL ? NULL : evhttp_uridecode(raw, 0, &size);

    server->requests++;
    TAILQ_INIT(&query);
    call.path = path;
    if (fault != NULL) {
        http_header(&call, "Connection", "close");
        http_problem(&call, 400, NULL, "%s", fault);
    } else if (path == NULL || strlen(path) != size || !escapes_are_sound(raw) || !escapes_are_sound(raw_query) ||
               (raw_query != NULL && evhttp_parse_query_str(raw_query, &query) != 0)) {
        http_problem(&call, 400, NULL, "the path or its parameters cannot be decoded");
    } else if (method != EVHTTP_REQ_GET && method != EVHTTP_REQ_HEAD) {
        http_header(&call, "Allow", "GET, HEAD");
        http_problem(&call, 405, NULL, "only GET and HEAD are answered here");
    } else {
        route(&call);
    }
    evhttp_clear_headers(&query);
    free(path);
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

static enum banyan_status listen_on(struct http_server *server, struct banyan_error *err)
{
    const struct http_options *options = &server->options;
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    int on = 1;
    errno = 0;
    struct evhttp_bound_socket *bound =
        evhttp_bind_socket_with_handle(server->http, options->address, (unsigned short)options->port);
    if (bound == NULL) {
        enum banyan_status st = errno == EADDRINUSE ? BANYAN_BUSY : BANYAN_CONFIG;
        banyan_error_set(err, st, "cannot listen on %s:%d: %s", options->address, options->port, strerror(errno));
        banyan_error_hint(err, "another program may have the port; `listen` in the configuration chooses it");
        return st;
    }
    int fd = evhttp_bound_socket_get_fd(bound);
    /* Accepted connections inherit it; without it pipelined requests wait for each other's acknowledgement. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* slower where it fails */
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0)
        return banyan_error_errno(err, errno, "cannot ask for the port");
    server->port = address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                                 : ntohs(((struct sockaddr_in *)&address)->sin_port);
    return BANYAN_OK;
}

enum banyan_status http_start(const struct http_options *options, struct http_server **ret, struct banyan_error *err)
{
    struct http_server *server = alloc_zeroed(1, sizeof(*server));
    enum banyan_status st = BANYAN_OK;
    server->options = *options;
    server->clock = options->clock == NULL ? os_clock_real() : options->clock;
    server->started_us = os_clock_monotonic_us(server->clock);
    server->readers = alloc_zeroed(options->view_count + 1, sizeof(*server->readers));
    pthread_mutex_init(&server->shared.lock, NULL);
    if (evthread_use_pthreads() != 0 || (server->base = event_base_new()) == NULL ||
        (server->http = evhttp_new(server->base)) == NULL ||
        (server->ender = event_new(server->base, -1, 0, on_end, server)) == NULL) {
        st = banyan_error_set(err, BANYAN_LIMIT, "cannot make an event loop");
        goto out;
    }
    evhttp_set_max_headers_size(server->http, HTTP_HEADER_BYTES_MAX);
    evhttp_set_max_body_size(server->http, HTTP_BODY_BYTES_MAX);
    evhttp_set_timeout(server->http, HTTP_TIMEOUT_S);
    evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_HEAD | EVHTTP_REQ_POST | EVHTTP_REQ_PUT |
                                                 EVHTTP_REQ_DELETE | EVHTTP_REQ_OPTIONS | EVHTTP_REQ_PATCH);
    evhttp_set_gencb(server->http, on_request, server);
    st = listen_on(server, err);
    for (size_t i = 0; i < options->view_count && st == BANYAN_OK; i++)
        st = projection_reader(options->views[i].runner, &server->readers[i], err);
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
    http_view_stop(server);
    if (server->http != NULL)
        evhttp_free(server->http);
    if (server->ender != NULL)
        event_free(server->ender);
    if (server->base != NULL)
        event_base_free(server->base);
    for (size_t i = 0; i < server->options.view_count; i++)
        sink_close(server->readers[i]);
    free(server->readers);
    pthread_mutex_destroy(&server->shared.lock);
    free(server);
}
