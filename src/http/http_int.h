/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share: the server, replies, and the handlers of each path. */
#ifndef HTTP_HTTP_INT_H
#define HTTP_HTTP_INT_H

#include <event2/event.h>
#include <event2/http.h>
#include <pthread.h>
#include <stdatomic.h>

#include "banyan/buf.h"
#include "http/server.h"
#include "os/thread.h"

enum {
    HTTP_HEADER_BYTES_MAX = 16 * 1024,
    HTTP_BODY_BYTES_MAX = 64 * 1024,
    HTTP_ANSWER_BYTES_MAX = 64 * 1024 * 1024,
    HTTP_WAIT_MS_MAX = 10000,
    HTTP_LIMIT_DEFAULT = 100,
    HTTP_LIMIT_MAX = 1000,
    HTTP_TIMEOUT_S = 30,
};

struct http_server {
    struct http_options options; /* strings borrowed */
    struct os_clock *clock;
    int64_t started_us;
    int port;
    struct event_base *base;
    struct evhttp *http;
    struct event *ender; /* ends the loop when it is made active */
    struct os_thread thread;
    struct sink **readers;   /* one a view; used by the loop's thread only */
    struct waiting *waiting; /* requests that wait for a position */
    size_t waiting_count;
    uint64_t requests, errors; /* of the loop's thread */

    struct {
        pthread_mutex_t
            lock; /* guards legacy: held while its figures are copied, so that it cannot go away meanwhile */
        struct legacy *legacy;
    } shared;
};

/* What was asked: borrowed from the request. */
struct http_call {
    struct http_server *server;
    struct evhttp_request *request;
    const char *path;        /* decoded */
    struct evkeyvalq *query; /* decoded parameters */
};

/* ---- server.c ---- */

/* Send *body* (may be NULL) with a status code; ends the request. */
void http_reply(struct http_call *call, int code, const char *content_type, const struct banyan_buf *body);
/* application/problem+json; *hint* may be NULL. */
void http_problem(struct http_call *call, int code, const char *hint, const char *format, ...) BANYAN_PRINTF_LIKE(4, 5);
/* From a status of a lower room. */
void http_failure(struct http_call *call, const struct banyan_error *err);
void http_header(struct http_call *call, const char *name, const char *format, ...) BANYAN_PRINTF_LIKE(3, 4);
/* A copy of the source's figures; false when there is none. */
bool http_legacy_status(struct http_server *server, struct legacy_status *ret);
/* Digits only, and nothing else. */
bool http_parse_number(const char *text, uint64_t *ret);
/* The same with an optional minus. */
bool http_parse_key(const char *text, int64_t *ret);
/* A decimal parameter, *fallback* when absent; false (and a problem was sent) when it is no number within bounds. */
bool http_number(struct http_call *call, const char *name, uint64_t fallback, uint64_t min, uint64_t max,
                 uint64_t *ret);
/* Only these parameters (NULL-terminated) may be there, each at most once; false when a problem was sent. */
bool http_only(struct http_call *call, const char *const *names);

/* ---- time.c ---- */

/* RFC 3339: "2015-05-01T00:00:04.518Z", or with +hh:mm; digits behind the microseconds are cut.  A space stands for the
 * plus, which parameters turn into one.  False when it is no such moment. */
bool http_parse_time(const char *text, struct banyan_time *ret);

/* ---- handlers ---- */

void http_livez(struct http_call *call);
void http_readyz(struct http_call *call);
void http_status(struct http_call *call);
void http_metrics(struct http_call *call);
/* *rest* is the path behind the prefix. */
void http_view(struct http_call *call, const char *rest);
void http_stream(struct http_call *call, const char *rest);
/* Requests that wait for a position are answered now: the server ends. */
void http_view_stop(struct http_server *server);

#endif
