/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of a client.
 *
 *   HEAD ──a request──▶ PASS ──answered, kept alive──▶ HEAD
 *     │      │            └── 101 ──▶ TUNNEL ──both sides ended──▶ freed
 *     │      └ the façade's ──▶ COLLECT ──whole──▶ THINK ──▶ HEAD, or PASS
 *     └── bad bytes, time over, answered with close ──▶ ENDING (sends the rest, then lingers) ──▶ freed
 *
 * One request at a time; what is pipelined behind it stays in the input buffer, which is bounded.  A front is freed
 * only by a callback of its own or when the loop ends.
 */
#include "gateway/front.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "gateway/facade.h"

/* ---- the end ---- */

void front_free(struct front *front)
{
    struct gateway *gateway = front->loop->gateway;
    if (front->exchange != NULL)
        pass_abandon(front);
    if (front->ask != NULL)
        facade_gone(front);
    if (front->tunnel != NULL)
        tunnel_end(front);
    *front->link = front->next;
    if (front->next != NULL)
        front->next->link = front->link;
    timer_release(&front->timer);
    if (bufferevent_getfd(front->bev) >= 0)
        (void)shutdown(bufferevent_getfd(front->bev), SHUT_RDWR); /* libevent closes it a turn later */
    bufferevent_free(front->bev);
    banyan_buf_release(&front->text);
    free(front);
    (void)pthread_mutex_lock(&gateway->shared.lock);
    atomic_fetch_sub(&gateway->counts.connections, 1);
    (void)pthread_cond_broadcast(&gateway->shared.changed);
    (void)pthread_mutex_unlock(&gateway->shared.lock);
}

/* Everything is sent: close, or linger while the client still sends, so that it sees the answer. */
static void end_now(struct front *front)
{
    if (front->ended || front->shut) {
        front_free(front);
        return;
    }
    front->shut = true;
    (void)shutdown(bufferevent_getfd(front->bev), SHUT_WR); /* it may be gone already */
    (void)bufferevent_enable(front->bev, EV_READ);
    timer_set(&front->timer, GATEWAY_LINGER_US);
}

/* ---- answers ---- */

void front_answered(struct front *front)
{
    struct evbuffer *input = bufferevent_get_input(front->bev), *output = bufferevent_get_output(front->bev);
    if (front->ended && evbuffer_get_length(input) == 0)
        front->close_after = true;
    if (front->close_after) {
        front->state = FRONT_ENDING;
        (void)bufferevent_disable(front->bev, EV_READ);
        timer_set(&front->timer, INT64_MAX);
        if (evbuffer_get_length(output) == 0)
            timer_set(&front->timer, 0); /* not inside a handler */
        return;
    }
    front->state = FRONT_HEAD;
    timer_set(&front->timer, GATEWAY_IDLE_US);
    if (!front->advancing)
        front_advance(front);
}

void front_answer(struct front *front, int code, const char *headers, const char *content_type, struct banyan_str body)
{
    struct evbuffer *scratch = front->loop->scratch;
    struct banyan_buf *text = &front->text;
    if (atomic_load_explicit(&front->loop->gateway->draining, memory_order_relaxed))
        front->close_after = true;
    banyan_buf_reset(text);
    banyan_buf_printf(text, "HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n", code, wire_reason(code),
                      content_type, body.size);
    banyan_buf_add_text(text, headers == NULL ? "" : headers);
    banyan_buf_add_text(text, front->close_after ? "Connection: close\r\n\r\n"
                              : front->old       ? "Connection: keep-alive\r\n\r\n"
                                                 : "\r\n");
    (void)evbuffer_add(scratch, text->data, text->size); /* out of memory: the client times out */
    if (!front->is_head)
        (void)evbuffer_add(scratch, body.data, body.size); /* as above */
    gateway_send(front->bev, scratch);
    front_answered(front);
}

void front_problem(struct front *front, int code, const char *headers, const char *name, const char *detail)
{
    struct banyan_buf body = BANYAN_BUF_INIT(4096);
    banyan_buf_printf(&body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\",\"detail\":",
                      wire_reason(code), code, name);
    banyan_buf_add_json(&body, banyan_str_of(detail));
    banyan_buf_add_text(&body, "}\n");
    front_answer(front, code, headers, "application/problem+json", banyan_buf_str(&body));
    banyan_buf_release(&body);
}

/* Bytes that are no request, or a client that was too slow: one answer, then the end. */
static void refuse(struct front *front, int code, const char *fault)
{
    front->close_after = true;
    front->is_head = front->old = false;
    front_problem(front, code, NULL, code == 408 ? "TIMEOUT" : "BAD_REQUEST", fault);
}

/* ---- requests ---- */

static void answer_health(struct front *front)
{
    struct gateway *gateway = front->loop->gateway;
    bool draining = atomic_load(&gateway->draining), up = health_is_up(gateway);
    atomic_store_explicit(&gateway->checked_us, gateway_now(gateway), memory_order_relaxed);
    front_answer(front, up && !draining ? 200 : 503, "Cache-Control: no-store\r\n", "text/plain",
                 draining ? BANYAN_STR("draining\n")
                 : up     ? BANYAN_STR("up\n")
                          : BANYAN_STR("the upstream does not answer\n"));
}

static bool is_health(const struct wire_head *head)
{
    static const struct banyan_str path = {GATEWAY_HEALTH_PATH, sizeof(GATEWAY_HEALTH_PATH) - 1};
    return banyan_str_equal(head->target, path) && !head->chunked && head->length == 0 &&
           (banyan_str_equal(head->method, BANYAN_STR("GET")) || banyan_str_equal(head->method, BANYAN_STR("HEAD")));
}

static void begin_request(struct front *front, const struct wire_head *head)
{
    struct gateway *gateway = front->loop->gateway;
    front->close_after = !head->keep_alive;
    front->old = head->minor == 0;
    front->is_head = banyan_str_equal(head->method, BANYAN_STR("HEAD"));
    front->told = false;
    body_init(&front->body, head->chunked ? BODY_CHUNKED : BODY_LENGTH, head->length, head->chunked);
    timer_set(&front->timer, INT64_MAX);
    if (is_health(head)) {
        answer_health(front);
        return;
    }
    gateway_count(&gateway->counts.requests);
    if (banyan_str_equal(head->method, BANYAN_STR("TRACE"))) { /* would show what was added to the request */
        front->close_after = true;
        front_problem(front, 405, NULL, "NOT_ALLOWED", "TRACE is not passed on");
        return;
    }
    if (!facade_begin(front, head))
        pass_begin(front, head);
}

/* True: a request was taken, look again. */
static bool read_head(struct front *front)
{
    struct evbuffer *input = bufferevent_get_input(front->bev);
    struct wire_head *head = &front->loop->request;
    struct banyan_str text = head_peek(input);
    const char *fault = NULL;
    if (text.size == 0)
        return false;
    enum wire_result result = wire_request(text, head, &fault);
    if (result == WIRE_MORE) {
        if (front->ended)
            timer_set(&front->timer, 0);
        else if (front->timer.deadline_us > gateway_now(front->loop->gateway) + GATEWAY_HEAD_US)
            timer_set(&front->timer, GATEWAY_HEAD_US);
        return false;
    }
    if (result != WIRE_OK) {
        refuse(front, (int)result, fault);
        return false;
    }
    /* The head's spans lie in the input: it is drained by who has used them. */
    begin_request(front, head);
    return true;
}

void front_advance(struct front *front)
{
    struct evbuffer *output = bufferevent_get_output(front->bev);
    bool more = true;
    front->advancing = true;
    while (more) {
        more = false;
        if (front->state == FRONT_HEAD && evbuffer_get_length(output) < GATEWAY_OUTPUT_HIGH) {
            more = read_head(front);
        } else if (front->state == FRONT_PASS) {
            pass_push(front);
            more = front->state == FRONT_HEAD;
        } else if (front->state == FRONT_COLLECT) {
            facade_push(front);
            more = front->state == FRONT_HEAD; /* it was answered at once */
        } else if (front->state == FRONT_TUNNEL) {
            tunnel_move(front);
        }
    }
    front->advancing = false;
}

/* ---- callbacks ---- */

static void on_read(struct bufferevent *bev, void *context)
{
    struct front *front = context;
    if (front->shut)
        (void)evbuffer_drain(bufferevent_get_input(bev), evbuffer_get_length(bufferevent_get_input(bev)));
    else
        front_advance(front);
}

static void on_written(struct bufferevent *bev, void *context)
{
    struct front *front = context;
    if (front->state == FRONT_ENDING) {
        if (evbuffer_get_length(bufferevent_get_output(bev)) == 0)
            end_now(front);
        return;
    }
    struct exchange *exchange = front->ask != NULL ? front->ask->exchange : front->exchange;
    if (front->state == FRONT_PASS && exchange != NULL)
        exchange_pull(exchange);
    else
        front_advance(front);
}

static void on_event(struct bufferevent *bev, short what, void *context)
{
    struct front *front = context;
    bool half = (what & BEV_EVENT_EOF) != 0 && (what & (BEV_EVENT_WRITING | BEV_EVENT_ERROR)) == 0;
    bool waits = front->state == FRONT_ENDING || evbuffer_get_length(bufferevent_get_output(bev)) > 0 ||
                 (front->state == FRONT_PASS && front->body.done) || front->state == FRONT_THINK ||
                 front->state == FRONT_TUNNEL;
    front->ended = true;
    if (!half || !waits || front->shut) {
        front_free(front);
        return;
    }
    if (front->state == FRONT_TUNNEL) {
        tunnel_move(front);
    } else if (front->state == FRONT_HEAD && evbuffer_get_length(bufferevent_get_input(bev)) ==
                                                 0) { /* it said all that it wants to say, and may still listen */
        front->close_after = true;
        front->state = FRONT_ENDING;
    }
}

static void on_time(void *context)
{
    struct front *front = context;
    struct evbuffer *input = bufferevent_get_input(front->bev), *output = bufferevent_get_output(front->bev);
    if (front->state == FRONT_HEAD && !front->ended && evbuffer_get_length(input) > 0) {
        refuse(front, 408, "the head of the request did not come in time");
    } else if (front->state == FRONT_PASS && !front->body.done && evbuffer_get_length(input) > 0) {
        timer_set(&front->timer, GATEWAY_BODY_US); /* it is the upstream that is slow */
    } else if (front->state == FRONT_PASS && !front->told && !front->body.done) {
        pass_abandon(front);
        refuse(front, 408, "the body of the request did not come in time");
    } else if (front->ask != NULL && (front->state == FRONT_COLLECT || front->state == FRONT_THINK)) {
        facade_late(front);
    } else if (front->state == FRONT_ENDING && !front->shut && evbuffer_get_length(output) == 0) {
        end_now(front);
    } else {
        front_free(front);
    }
}

/* ---- life ---- */

static void note_address(struct front *front, const struct sockaddr *address)
{
    const void *from = NULL;
    if (address->sa_family == AF_INET)
        from = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    else if (address->sa_family == AF_INET6)
        from = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (from == NULL || inet_ntop(address->sa_family, from, front->address, sizeof(front->address)) == NULL)
        memcpy(front->address, "unknown", sizeof("unknown"));
}

void front_open(struct loop *loop, int fd, const struct sockaddr *address)
{
    static const struct timeval stall = {GATEWAY_STALL_S, 0};
    struct bufferevent *bev = bufferevent_socket_new(loop->base, fd, BEV_OPT_CLOSE_ON_FREE);
    struct front *front = alloc_zeroed(1, sizeof(*front));
    front->loop = loop;
    front->bev = bev;
    front->state = FRONT_HEAD;
    front->body.done = true;
    front->text = (struct banyan_buf)BANYAN_BUF_INIT(GATEWAY_HEAD_BYTES);
    note_address(front, address);
    timer_init(&front->timer, loop, on_time, front);
    front->next = loop->fronts;
    front->link = &loop->fronts;
    if (front->next != NULL)
        front->next->link = &front->next;
    loop->fronts = front;
    bufferevent_setcb(bev, on_read, on_written, on_event, front);
    bufferevent_setwatermark(bev, EV_READ, 0, GATEWAY_OUTPUT_HIGH);
    bufferevent_setwatermark(bev, EV_WRITE, GATEWAY_OUTPUT_LOW, 0);
    bufferevent_set_timeouts(bev, NULL, &stall);
    timer_set(&front->timer, GATEWAY_HEAD_US);
    (void)bufferevent_enable(bev, EV_READ | EV_WRITE); /* it is connected */
}

void fronts_close(struct loop *loop)
{
    while (loop->fronts != NULL)
        front_free(loop->fronts);
}

void fronts_drain(struct loop *loop)
{
    bool late = gateway_now(loop->gateway) - loop->gateway->drain_since_us > GATEWAY_DRAIN_IDLE_US;
    for (struct front *front = loop->fronts, *next; front != NULL; front = next) {
        next = front->next;
        bool idle = front->state == FRONT_HEAD && evbuffer_get_length(bufferevent_get_input(front->bev)) == 0 &&
                    evbuffer_get_length(bufferevent_get_output(front->bev)) == 0;
        if ((idle && late) || front->state == FRONT_TUNNEL)
            front_free(front);
    }
}
