// SPDX-License-Identifier: Apache-2.0
/* A connection is: away (timer runs) → connecting → ready ⇄ waiting for an answer; away again after any loss. */
#include "client.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum client_state { CLIENT_AWAY = 1, CLIENT_CONNECTING, CLIENT_READY, CLIENT_WAITING };

struct client {
    enum client_state state;
    struct event_base *base;
    const struct client_address *address;
    const struct client_handlers *handlers;
    void *arg;
    struct bufferevent *stream;
    struct event *again;
};

bool client_address_parse(const char *url, struct client_address *ret_address)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char *colon;

    if (strncmp(url, "http://", 7) == 0)
        url += 7;
    snprintf(ret_address->host, sizeof(ret_address->host), "%.*s", (int)strcspn(url, "/"), url);
    char host[sizeof(ret_address->host)];
    memcpy(host, ret_address->host, sizeof(host));
    colon = strrchr(host, ':');
    if (!colon)
        return false;
    *colon = '\0';
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return false;
    memcpy(&ret_address->socket, found->ai_addr, found->ai_addrlen);
    ret_address->length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static void client_lose(struct client *client)
{
    bool waiting = client->state == CLIENT_WAITING;

    if (client->stream)
        bufferevent_free(client->stream);
    client->stream = NULL;
    client->state = CLIENT_AWAY;
    event_add(client->again, &(struct timeval){.tv_usec = 50000});
    if (waiting)
        client->handlers->on_answer(client, 0, "", 0, client->arg);
}

/* The value of Content-Length, -1 without one. */
static long content_length(const char *head)
{
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, "Content-Length:", 15) == 0)
            return strtol(line + 17, NULL, 10);
    return -1;
}

static bool wants_close(const char *head)
{
    return strcasestr(head, "\r\nConnection: close") != NULL;
}

static void on_read(struct bufferevent *stream, void *arg)
{
    struct client *client = arg;
    struct evbuffer *input = bufferevent_get_input(stream);
    struct evbuffer_ptr end = evbuffer_search(input, "\r\n\r\n", 4, NULL);
    char head[4096];
    size_t head_length;
    long length;
    int code;
    bool close;

    if (end.pos < 0)
        return;
    head_length = (size_t)end.pos + 4;
    if (head_length >= sizeof(head) || client->state != CLIENT_WAITING) {
        client_lose(client);
        return;
    }
    evbuffer_copyout(input, head, head_length);
    head[head_length] = '\0';
    length = content_length(head);
    if (length < 0 || strncmp(head, "HTTP/1.", 7) != 0) {
        client_lose(client);
        return;
    }
    if (evbuffer_get_length(input) < head_length + (size_t)length)
        return;
    code = atoi(head + 9);
    close = wants_close(head);
    evbuffer_drain(input, head_length);
    client->state = CLIENT_READY;
    client->handlers->on_answer(client, code, length ? (const char *)evbuffer_pullup(input, length) : "",
                                (size_t)length, client->arg);
    evbuffer_drain(input, (size_t)length);
    if (close)
        client_lose(client);
    else
        client->handlers->on_ready(client, client->arg);
}

static void on_event(struct bufferevent *stream, short what, void *arg)
{
    struct client *client = arg;

    if (what & BEV_EVENT_CONNECTED) {
        setsockopt(bufferevent_getfd(stream), IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        client->state = CLIENT_READY;
        client->handlers->on_ready(client, client->arg);
    } else {
        client_lose(client);
    }
}

static void on_connect_time(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;

    client->stream = bufferevent_socket_new(client->base, -1, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(client->stream, on_read, NULL, on_event, client);
    bufferevent_enable(client->stream, EV_READ | EV_WRITE);
    client->state = CLIENT_CONNECTING;
    /* A failure at once is reported through on_event() where there is a socket, and here where there is none. */
    if (bufferevent_socket_connect(client->stream, (struct sockaddr *)&client->address->socket,
                                   (int)client->address->length) != 0 &&
        client->state == CLIENT_CONNECTING)
        client_lose(client);
}

struct client *client_new(struct event_base *base, const struct client_address *address,
                          const struct client_handlers *handlers, void *arg)
{
    struct client *client = calloc(1, sizeof(*client));

    *client = (struct client){.state = CLIENT_AWAY, .base = base, .address = address, .handlers = handlers, .arg = arg};
    client->again = evtimer_new(base, on_connect_time, client);
    event_add(client->again, &(struct timeval){0});
    return client;
}

void client_free(struct client *client)
{
    if (!client)
        return;
    if (client->stream)
        bufferevent_free(client->stream);
    event_free(client->again);
    free(client);
}

void client_send(struct client *client, const char *path, const char *body)
{
    struct evbuffer *output = bufferevent_get_output(client->stream);

    client->state = CLIENT_WAITING;
    if (body)
        evbuffer_add_printf(output,
                            "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n"
                            "Content-Length: %zu\r\n\r\n%s",
                            path, client->address->host, strlen(body), body);
    else
        evbuffer_add_printf(output, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, client->address->host);
}

bool client_is_ready(const struct client *client)
{
    return client->state == CLIENT_READY;
}
