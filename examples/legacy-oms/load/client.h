// SPDX-License-Identifier: Apache-2.0
/* One keep-alive HTTP connection with one request at a time, on an event loop.  Everything runs on the loop's thread.
 */
#ifndef LEGACY_OMS_CLIENT_H
#define LEGACY_OMS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct client;
struct event_base;

struct client_address {
    struct sockaddr_storage socket;
    socklen_t length;
    char host[128]; /* for the Host header */
};

struct client_handlers {
    /* The connection can take a request: after connecting and after each answer. */
    void (*on_ready)(struct client *client, void *arg);
    /* The answer; code 0 when the connection was lost and the outcome is not known.  body is borrowed for the call. */
    void (*on_answer)(struct client *client, int code, const char *body, size_t length, void *arg);
};

/* Reads "http://host:port" or "host:port". */
bool client_address_parse(const char *url, struct client_address *ret_address);

/* Starts to connect, and does so again 50 ms after each loss. */
struct client *client_new(struct event_base *base, const struct client_address *address,
                          const struct client_handlers *handlers, void *arg);
void client_free(struct client *client);

/* Only for a connection that is ready.  body is NULL for GET. */
void client_send(struct client *client, const char *path, const char *body);

bool client_is_ready(const struct client *client);

#endif
