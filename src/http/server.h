/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server of `banyan serve`: probes, metrics, status, read models, streams.  docs/HTTP.md is its contract.
 *
 * Threads: one thread with one event loop of its own; it only reads.  Nothing blocks the loop: a request that waits
 * for a position is looked at again by a timer.
 */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stddef.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "legacy/legacy.h"
#include "projection/runner.h"
#include "store/store.h"

struct http_server;

/* A read model under /views/<name>. */
struct http_view {
    const char *name;
    const struct banyan_projection *projection;
    struct projection_runner *runner; /* borrowed */
};

struct http_options {
    const char *address; /* to listen on */
    int port;            /* 0: any free one */
    const char *version; /* of the program, shown in /status */
    const struct banyan_domain *domain;
    struct store *store; /* borrowed */
    const struct http_view *views;
    size_t view_count;
    bool has_source;        /* a legacy source will be set: not ready before it captures */
    struct os_clock *clock; /* NULL: the system's */
};

/* Start listening; the readers of the views are opened here.  UNAVAILABLE/BUSY when the address cannot be used. */
BANYAN_MUST_CHECK enum banyan_status http_start(const struct http_options *options, struct http_server **ret,
                                                struct banyan_error *err);
/* The port that it listens on. */
int http_port(const struct http_server *server);
/* The legacy source came up (or NULL: it is going away): thread-safe; borrowed until it is set to NULL again. */
void http_set_legacy(struct http_server *server, struct legacy *legacy);
void http_stop(struct http_server *server); /* NULL allowed */

/* One event as JSON, as /streams/{name} and `banyan stream read --json` show it; the payload decoded by the domain's
 * event type, or as it is where it is JSON, else as base64. */
void http_event_json(const struct banyan_domain *domain, const struct store_read_event *event, struct banyan_buf *ret);

#endif
