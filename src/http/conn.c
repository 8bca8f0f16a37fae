/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection: bytes to calls and back, on a bufferevent (plain or TLS).
 *
 *   HEAD ──head read──▶ BODY ──whole──▶ ANSWERING ──answered, kept alive──▶ HEAD
 *     │                   └─streamed──▶ STREAM ────▶ ANSWERING
 *     └── bad bytes, time over, answered with close ──▶ ENDING (sends the rest, then lingers) ──▶ freed
 *
 * Invariants
 *   1. One call at a time; what is pipelined behind it stays in the input buffer, which is bounded.
 *   2. A connection is freed only by a callback of its own (event, timer, written) or when the server ends, never
 * inside a handler.
 *   3. Whoever is slow is waited for only so long: for the head, for the body by its size, for the answer to be taken.
 *   4. An answer that closes while the client still sends is followed by a short lingering, so that the client sees it.
 */
#include <errno.h>
#include <event2/bufferevent_ssl.h>
#include <inttypes.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "os/clock.h"

enum conn_state {
    CONN_HEAD = 1,
    CONN_BODY,
    CONN_STREAM,
    CONN_ANSWERING,
    CONN_ENDING,
};

struct http_conn {
    struct http_conn *next, **link;
    struct http_server *server;
    struct bufferevent *bev;
    struct event *timer;
    int64_t deadline_us; /* INT64_MAX: none */
    int64_t armed_us;    /* when the timer fires: at the deadline or before it; INT64_MAX: it does not */
    enum conn_state state;
    bool advancing; /* inside advance(): do not nest */
    bool called;    /* call is in use */
    bool endless;   /* the answer goes on: http_conn_begin() */
    bool paused;    /* of a streamed body */
    bool chunked;
    bool close_after;
    bool ended; /* the client sends no more */
    bool shut;  /* our side is closed: lingering */
    bool throttled;
    uint64_t left; /* of a body with a length */
    uint64_t body_got;
    int64_t body_began_us;
    struct wire_chunks chunks;
    int64_t second; /* of the count of requests */
    unsigned requests;
    struct http_call call;
};

static void advance(struct http_conn *conn);

static int64_t now_us(const struct http_conn *conn)
{
    return os_clock_monotonic_us(conn->server->clock);
}

/* ---- time ---- */

static void set_deadline(struct http_conn *conn, int64_t from_now_us)
{
    int64_t now = now_us(conn);
    struct timeval wait = {from_now_us / 1000000, from_now_us % 1000000};
    conn->deadline_us = now + from_now_us;
    if (conn->deadline_us >= conn->armed_us)
        return; /* the timer looks again when it fires */
    conn->armed_us = conn->deadline_us;
    (void)evtimer_add(conn->timer, &wait); /* fails without memory only: the client is waited for longer */
}

/* ---- calls ---- */

static void call_release(struct http_conn *conn)
{
    struct http_call *call = &conn->call;
    conn->server->body_bytes -= call->body.capacity;
    banyan_buf_release(&call->body);
    banyan_buf_release(&call->headers);
    banyan_arena_release(&call->arena);
    conn->called = false;
}

static void call_init(struct http_conn *conn)
{
    /* The head's table of headers is large and need not be cleared. */
    struct http_call *call = &conn->call;
    call->server = conn->server;
    call->conn = conn;
    call->route = NULL;
    call->head.header_count = 0;
    call->arena = (struct banyan_arena)BANYAN_ARENA_INIT;
    call->is_head = false;
    call->path = "";
    call->segment_count = call->parameter_count = 0;
    call->body = (struct banyan_buf)BANYAN_BUF_INIT(0);
    call->headers = (struct banyan_buf)BANYAN_BUF_INIT(WIRE_HEAD_BYTES_MAX);
    call->context = NULL;
    call->gone = NULL;
    call->on_body = NULL;
    call->on_room = NULL;
    conn->called = true;
    conn->endless = conn->paused = false;
}

static void conn_free(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    if (conn->called && conn->call.gone != NULL)
        conn->call.gone(&conn->call);
    if (conn->called)
        call_release(conn);
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
    server->figures.connections--;
    event_free(conn->timer);
    /* libevent closes the socket a turn later: the client shall not wait for that. */
    if (bufferevent_getfd(conn->bev) >= 0)
        (void)shutdown(bufferevent_getfd(conn->bev), SHUT_RDWR); /* it may be gone already */
    bufferevent_free(conn->bev);
    free(conn);
}

/* ---- the end ---- */

/* Everything is sent: close, or linger while the client still sends. */
static void end_now(struct http_conn *conn)
{
    int fd = bufferevent_getfd(conn->bev);
    if (conn->ended || conn->shut || fd < 0 || conn->server->tls != NULL) {
        conn_free(conn);
        return;
    }
    conn->shut = true;
    (void)shutdown(fd, SHUT_WR); /* it may be gone already */
    (void)bufferevent_enable(conn->bev, EV_READ);
    set_deadline(conn, HTTP_LINGER_US_MAX);
}

/* ---- answers ---- */

void http_conn_send(struct http_call *call, const void *data, size_t size)
{
    call->server->figures.bytes_out += size;
    (void)evbuffer_add(bufferevent_get_output(call->conn->bev), data, size); /* out of memory: the client times out */
}

size_t http_conn_unsent(const struct http_call *call)
{
    return evbuffer_get_length(bufferevent_get_output(call->conn->bev));
}

/* The call is over; the next one may begin. */
static void answered(struct http_conn *conn)
{
    conn->call.gone = NULL;
    call_release(conn);
    if (conn->ended && evbuffer_get_length(bufferevent_get_input(conn->bev)) == 0)
        conn->close_after = true;
    conn->state = conn->close_after ? CONN_ENDING : CONN_HEAD;
    if (conn->close_after) {
        (void)bufferevent_disable(conn->bev, EV_READ);
        conn->deadline_us = INT64_MAX;
    } else {
        set_deadline(conn, HTTP_IDLE_US_MAX);
        if (!conn->advancing)
            advance(conn);
    }
}

void http_conn_answer(struct http_call *call, int code, const char *content_type, struct banyan_str body)
{
    struct http_conn *conn = call->conn;
    struct banyan_buf head = BANYAN_BUF_INIT(2 * WIRE_HEAD_BYTES_MAX);
    bool whole = conn->state == CONN_ANSWERING; /* the body was read: what follows is a request */
    if (!whole)
        conn->close_after = true;
    banyan_buf_printf(&head, "HTTP/1.1 %d %s\r\n", code, wire_reason(code));
    if (code != 304)
        banyan_buf_printf(&head, "Content-Type: %s\r\nContent-Length: %zu\r\n", content_type, body.size);
    banyan_buf_add_str(&head, banyan_buf_str(&call->headers));
    banyan_buf_add_text(&head, conn->close_after ? "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
                                                 : "Cache-Control: no-store\r\n\r\n");
    if (code >= 400)
        call->server->figures.errors++;
    http_conn_send(call, head.data, head.size);
    if (!call->is_head && code != 304 && body.size > 0)
        http_conn_send(call, body.data, body.size);
    banyan_buf_release(&head);
    answered(conn);
}

void http_conn_begin(struct http_call *call, const char *content_type)
{
    struct http_conn *conn = call->conn;
    struct banyan_buf head = BANYAN_BUF_INIT(2 * WIRE_HEAD_BYTES_MAX);
    conn->endless = conn->close_after = true; /* its end is the end of the connection */
    conn->deadline_us = INT64_MAX;
    bufferevent_setwatermark(conn->bev, EV_WRITE, HTTP_OUTPUT_BYTES_LOW, 0);
    banyan_buf_printf(&head,
                      "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%.*sCache-Control: no-store\r\nConnection: close\r\n\r\n",
                      content_type, (int)call->headers.size, call->headers.data == NULL ? "" : call->headers.data);
    http_conn_send(call, head.data, head.size);
    banyan_buf_release(&head);
}

void http_conn_end(struct http_call *call)
{
    struct http_conn *conn = call->conn;
    bufferevent_setwatermark(conn->bev, EV_WRITE, 0, 0);
    conn->endless = false;
    answered(conn);
    if (evbuffer_get_length(bufferevent_get_output(conn->bev)) == 0)
        set_deadline(conn, 0); /* the timer ends it: not inside a handler */
}

void http_conn_pause(struct http_call *call)
{
    call->conn->paused = true;
    (void)bufferevent_disable(call->conn->bev, EV_READ);
}

void http_conn_resume(struct http_call *call)
{
    struct http_conn *conn = call->conn;
    conn->paused = false;
    conn->body_began_us = now_us(conn); /* the pause was ours: the client's time begins anew */
    conn->body_got = 0;
    set_deadline(conn, HTTP_BODY_US_MAX);
    (void)bufferevent_enable(conn->bev, EV_READ);
    if (!conn->advancing)
        advance(conn);
}

/* ---- requests ---- */

/* Bytes that are no request, or a client that was too slow: one answer, then the end. */
static void refuse(struct http_conn *conn, int code, const char *fault)
{
    conn->server->figures.refused++;
    conn->close_after = true;
    if (!conn->called)
        call_init(conn);
    http_problem(&conn->call, code, NULL, "%s", fault);
}

static void begin_body(struct http_conn *conn)
{
    struct http_call *call = &conn->call;
    bool streams = call->route->stream != NULL && call->route->body == HTTP_BODY_EVENTS &&
                   http_is_type(http_asked(call, "Content-Type"), "application/x-ndjson");
    uint64_t max = http_body_max(call->route);
    if (call->route->body == HTTP_BODY_NONE) {
        if (call->head.chunked || call->head.length > 0)
            refuse(conn, 400, "a request of this kind takes no body");
        return;
    }
    if (!call->head.chunked && !call->head.has_length) {
        refuse(conn, 411, "a body needs a Content-Length or Transfer-Encoding: chunked");
        return;
    }
    if (!streams && call->head.length > max) {
        conn->close_after = true;
        http_problem(call, 413, "send large events one by one, many events as application/x-ndjson",
                     "the body has %" PRIu64 " bytes; at most %" PRIu64 " are taken here", call->head.length, max);
        return;
    }
    if (!streams && call->head.length > HTTP_SMALL_BODY_BYTES_MAX &&
        conn->server->body_bytes + call->head.length > HTTP_BODIES_BYTES_MAX) {
        conn->close_after = true;
        http_problem(call, 503, "try again", "too many large requests at once");
        return;
    }
    call->body.size_max = (size_t)max;
    conn->chunked = call->head.chunked;
    conn->chunks = (struct wire_chunks){.state = WIRE_CHUNK_SIZE};
    conn->left = call->head.length;
    conn->body_got = 0;
    conn->body_began_us = now_us(conn);
    conn->state = streams ? CONN_STREAM : CONN_BODY;
    set_deadline(conn, HTTP_BODY_US_MAX);
    if (call->head.expects_continue)
        http_conn_send(call, "HTTP/1.1 100 Continue\r\n\r\n", 25);
    if (streams)
        call->route->stream(call);
}

/* Too many requests in this second: go on in the next. */
static bool throttle(struct http_conn *conn)
{
    int64_t second = now_us(conn) / 1000000;
    if (second != conn->second) {
        conn->second = second;
        conn->requests = 0;
    }
    if (++conn->requests <= HTTP_REQUESTS_PER_SECOND_MAX)
        return false;
    conn->throttled = true;
    set_deadline(conn, (second + 1) * 1000000 - now_us(conn) + 1);
    return true;
}

/* True: something was done, look again. */
static bool read_head(struct http_conn *conn)
{
    struct evbuffer *input = bufferevent_get_input(conn->bev);
    size_t size = evbuffer_get_length(input);
    struct http_call *call = &conn->call;
    const char *fault = NULL;
    if (size == 0 || conn->throttled)
        return false;
    if (size > WIRE_HEAD_BYTES_MAX)
        size = WIRE_HEAD_BYTES_MAX;
    const char *data = (const char *)evbuffer_pullup(input, (ssize_t)size);
    call_init(conn);
    enum wire_result result = wire_request((struct banyan_str){data, size}, &call->head, &fault);
    if (result == WIRE_MORE) {
        call_release(conn);
        if (conn->ended)
            set_deadline(conn, 0);
        else if (conn->deadline_us > now_us(conn) + HTTP_HEAD_US_MAX)
            set_deadline(conn, HTTP_HEAD_US_MAX);
        return false;
    }
    if (result != WIRE_OK) {
        refuse(conn, (int)result, fault);
        return false;
    }
    if (throttle(conn)) {
        call_release(conn);
        return false;
    }
    /* The head's spans have to outlive the input buffer: parse the copy. */
    struct banyan_str copy = banyan_arena_str(&call->arena, (struct banyan_str){data, call->head.size});
    (void)wire_request(copy, &call->head, &fault); /* the same bytes, the same answer */
    (void)evbuffer_drain(input, call->head.size);  /* they are there */
    conn->server->figures.requests++;
    conn->server->figures.bytes_in += call->head.size;
    conn->close_after = !call->head.keep_alive;
    conn->state = CONN_ANSWERING;
    conn->deadline_us = INT64_MAX;
    if (call->head.chunked || call->head.length > 0)
        conn->state = CONN_BODY; /* an answer from here on leaves a body unread */
    if (!http_route(call))
        return true;
    begin_body(conn);
    if (conn->called && conn->state == CONN_ANSWERING) {
        call->route->handle(call);
        return true;
    }
    if (conn->called && conn->state == CONN_BODY && !conn->chunked && conn->left == 0) {
        conn->state = CONN_ANSWERING;
        conn->deadline_us = INT64_MAX;
        call->route->handle(call);
    }
    return true;
}

/* Hand a piece of a body on; false when an answer was sent meanwhile. */
static bool take(struct http_conn *conn, struct banyan_str piece)
{
    struct http_call *call = &conn->call;
    conn->body_got += piece.size;
    conn->server->figures.bytes_in += piece.size;
    if (conn->state == CONN_STREAM)
        return call->on_body(call, piece);
    size_t before = call->body.capacity;
    banyan_buf_add(&call->body, piece.data, piece.size);
    conn->server->body_bytes += call->body.capacity - before;
    if (!call->body.overflow)
        return true;
    conn->close_after = true;
    http_problem(call, 413, NULL, "the body is longer than %zu bytes", call->body.size_max);
    return false;
}

static void body_is_whole(struct http_conn *conn)
{
    struct http_call *call = &conn->call;
    bool streamed = conn->state == CONN_STREAM;
    conn->state = CONN_ANSWERING;
    conn->deadline_us = INT64_MAX;
    if (streamed)
        (void)call->on_body(call, (struct banyan_str){NULL, 0}); /* the end: it answers now or later */
    else
        call->route->handle(call);
}

/* One piece of a body.  True: look again. */
static bool read_body(struct http_conn *conn)
{
    struct evbuffer *input = bufferevent_get_input(conn->bev);
    size_t size = evbuffer_get_contiguous_space(input), used = 0;
    struct banyan_str piece;
    if (conn->paused)
        return false;
    if (conn->chunked) {
        size_t there = evbuffer_get_length(input);
        if (conn->chunks.state != WIRE_CHUNK_DATA && size < WIRE_CHUNK_LINE_MAX)
            size = there < WIRE_CHUNK_LINE_MAX ? there : WIRE_CHUNK_LINE_MAX;
        const char *data = (const char *)evbuffer_pullup(input, (ssize_t)size);
        enum wire_result result = wire_chunk(&conn->chunks, (struct banyan_str){data, size}, &used, &piece);
        if (result == WIRE_MORE)
            return false;
        if (result != WIRE_OK) {
            refuse(conn, 400, "the body is not chunked as it has to be");
            return false;
        }
    } else {
        if (size == 0)
            return false;
        used = size < conn->left ? size : (size_t)conn->left;
        piece = (struct banyan_str){(const char *)evbuffer_pullup(input, (ssize_t)used), used};
        conn->left -= used;
    }
    bool go_on = piece.size == 0 || take(conn, piece);
    (void)evbuffer_drain(input, used); /* they are there */
    if (go_on && conn->called && (conn->chunked ? conn->chunks.state == WIRE_CHUNK_DONE : conn->left == 0))
        body_is_whole(conn);
    return go_on;
}

static void advance(struct http_conn *conn)
{
    struct evbuffer *output = bufferevent_get_output(conn->bev);
    bool more = true;
    conn->advancing = true;
    while (more) {
        if (conn->state == CONN_HEAD)
            more = evbuffer_get_length(output) < HTTP_OUTPUT_BYTES_HIGH && read_head(conn);
        else if (conn->state == CONN_BODY || conn->state == CONN_STREAM)
            more = read_body(conn);
        else
            more = false;
    }
    conn->advancing = false;
}

/* ---- callbacks ---- */

static void on_read(struct bufferevent *bev, void *context)
{
    struct http_conn *conn = context;
    if (conn->shut || conn->endless)
        (void)evbuffer_drain(bufferevent_get_input(bev), evbuffer_get_length(bufferevent_get_input(bev)));
    else
        advance(conn);
}

static void on_written(struct bufferevent *bev, void *context)
{
    struct http_conn *conn = context;
    if (conn->endless) {
        if (conn->call.on_room != NULL)
            conn->call.on_room(&conn->call);
    } else if (conn->state == CONN_ENDING && evbuffer_get_length(bufferevent_get_output(bev)) == 0) {
        end_now(conn);
    } else if (conn->state == CONN_HEAD) {
        advance(conn);
    }
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
    struct http_conn *conn = context;
    if ((what & BEV_EVENT_CONNECTED) != 0)
        return; /* the handshake of TLS is done */
    bool waits = conn->called || evbuffer_get_length(bufferevent_get_output(bev)) > 0 || conn->throttled;
    bool half = (what & BEV_EVENT_EOF) != 0 && (what & (BEV_EVENT_WRITING | BEV_EVENT_ERROR)) == 0;
    conn->ended = true;
    if (half && waits && !conn->endless && !conn->shut && conn->state != CONN_BODY && conn->state != CONN_STREAM) {
        conn->close_after = true; /* it said all that it wants to say, and may still listen */
        if (!conn->called && conn->state == CONN_HEAD && evbuffer_get_length(bufferevent_get_input(bev)) == 0)
            conn->state = CONN_ENDING;
        return;
    }
    conn_free(conn);
}

static void on_time(evutil_socket_t fd, short what, void *context)
{
    struct http_conn *conn = context;
    int64_t now = now_us(conn), body_until;
    (void)fd, (void)what;
    conn->armed_us = INT64_MAX;
    if (conn->deadline_us == INT64_MAX)
        return;
    if (now < conn->deadline_us) {
        set_deadline(conn, conn->deadline_us - now);
        return;
    }
    conn->deadline_us = INT64_MAX;
    if (conn->throttled) {
        conn->throttled = false;
        set_deadline(conn, HTTP_HEAD_US_MAX);
        advance(conn);
    } else if (conn->state == CONN_BODY || conn->state == CONN_STREAM) {
        body_until = conn->body_began_us + HTTP_BODY_US_MAX +
                     (int64_t)(conn->body_got / HTTP_BODY_BYTES_PER_SECOND_MIN) * 1000000;
        if (conn->paused || now < body_until)
            set_deadline(conn, conn->paused ? HTTP_BODY_US_MAX : body_until - now);
        else
            refuse(conn, 408, "the body did not come in time");
    } else if (conn->state == CONN_HEAD && !conn->ended && evbuffer_get_length(bufferevent_get_input(conn->bev)) > 0) {
        refuse(conn, 408, "the head of the request did not come in time");
    } else if (conn->state != CONN_ANSWERING) {
        conn_free(conn); /* idle, lingered long enough, or nothing left to send */
    }
}

/* ---- life ---- */

static struct bufferevent *make_bufferevent(struct http_server *server, int fd)
{
    int flags = BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS;
    if (server->tls == NULL)
        return bufferevent_socket_new(server->base, fd, flags);
    SSL *ssl = SSL_new(server->tls);
    struct bufferevent *bev =
        ssl == NULL ? NULL : bufferevent_openssl_socket_new(server->base, fd, ssl, BUFFEREVENT_SSL_ACCEPTING, flags);
    if (bev == NULL)
        SSL_free(ssl);
    else
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}

void http_conn_open(struct http_server *server, int fd)
{
    static const struct timeval stall = {HTTP_SEND_STALL_S, 0};
    struct bufferevent *bev = make_bufferevent(server, fd);
    if (bev == NULL) {
        (void)close(fd); /* no memory for it */
        return;
    }
    struct http_conn *conn = alloc_zeroed(1, sizeof(*conn));
    conn->server = server;
    conn->bev = bev;
    conn->state = CONN_HEAD;
    conn->deadline_us = conn->armed_us = INT64_MAX;
    conn->timer = evtimer_new(server->base, on_time, conn);
    conn->next = server->conns;
    conn->link = &server->conns;
    if (conn->next != NULL)
        conn->next->link = &conn->next;
    server->conns = conn;
    server->figures.connections++;
    server->figures.connections_total++;
    bufferevent_setcb(bev, on_read, on_written, on_event, conn);
    bufferevent_setwatermark(bev, EV_READ, 0, HTTP_OUTPUT_BYTES_HIGH);
    bufferevent_set_timeouts(bev, NULL, &stall);
    set_deadline(conn, HTTP_HEAD_US_MAX);
    (void)bufferevent_enable(bev, EV_READ | EV_WRITE); /* it is connected */
}

void http_conns_close(struct http_server *server)
{
    while (server->conns != NULL)
        conn_free(server->conns);
}
