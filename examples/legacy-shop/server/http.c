// SPDX-License-Identifier: Apache-2.0
/* Workers: each a thread with an event loop and a connection to PostgreSQL, all accepting from one socket.  A request
 * is run where it arrived; the worker does nothing else meanwhile.  Threads share the options and the stop flag alone.
 */
#include "server.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define BODY_BYTES_MAX 65536
#define WORKERS_MAX 256

struct worker {
    pthread_t thread;
    PGconn *conn;
    struct event_base *base;
    struct evhttp *http;
};

static atomic_bool stop_asked;

/* The kind of request, and the number in its path. */
static const struct request_kind *route(const char *method, const char *path, int64_t *ret_id)
{
    for (size_t i = 0; i < request_kind_count; i++) {
        const struct request_kind *kind = &request_kinds[i];
        size_t before = strlen(kind->before);
        char *end;

        if (strcmp(kind->method, method) != 0 || strncmp(path, kind->before, before) != 0)
            continue;
        if (kind->after == NULL) {
            if (path[before] == '\0')
                return kind;
            continue;
        }
        if (path[before] < '0' || path[before] > '9')
            continue;
        *ret_id = strtoll(path + before, &end, 10);
        if (strcmp(end, kind->after) == 0)
            return kind;
    }
    return NULL;
}

/* The query string as a JSON object. */
static json_t *query_object(const char *query)
{
    json_t *object = json_object();
    struct evkeyvalq pairs;
    struct evkeyval *pair;

    TAILQ_INIT(&pairs);
    if (query != NULL && evhttp_parse_query_str(query, &pairs) == 0)
        TAILQ_FOREACH (pair, &pairs, next)
            json_object_set_new(object, pair->key, json_string(pair->value));
    evhttp_clear_headers(&pairs);
    return object;
}

/* The body as a JSON object; an empty one is {}. */
static json_t *body_object(struct evbuffer *input)
{
    size_t size = evbuffer_get_length(input);
    json_error_t error;
    json_t *object;

    if (size == 0)
        return json_object();
    object = json_loadb((const char *)evbuffer_pullup(input, -1), size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

static void on_request(struct evhttp_request *http, void *arg)
{
    struct worker *worker = arg;
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http);
    bool is_get = evhttp_request_get_command(http) == EVHTTP_REQ_GET;
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    int64_t id = 0;
    const struct request_kind *kind = route(is_get ? "GET" : "POST", path && *path ? path : "/", &id);
    json_t *object = is_get ? query_object(uri ? evhttp_uri_get_query(uri) : NULL)
                            : body_object(evhttp_request_get_input_buffer(http));
    struct evbuffer *answer = evbuffer_new();
    struct reply reply = {0};
    char *body = object ? json_dumps(object, JSON_COMPACT) : NULL;

    if (kind == NULL)
        reply_error(&reply, 404, "there is no such request");
    else if (body == NULL)
        reply_error(&reply, 400, "the body must be a JSON object");
    else
        run_request(worker->conn, kind, id, body, &reply);
    evbuffer_add_printf(answer, "%s\n", reply.text ? reply.text : "{}");
    evhttp_add_header(evhttp_request_get_output_headers(http), "Content-Type", "application/json");
    evhttp_send_reply(http, reply.code, NULL, answer);
    evbuffer_free(answer);
    free(reply.text);
    free(body);
    json_decref(object);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;

    (void)fd;
    (void)what;
    if (atomic_load(&stop_asked))
        event_base_loopbreak(worker->base);
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct event *tick = event_new(worker->base, -1, EV_PERSIST, on_tick, worker);

    event_add(tick, &(struct timeval){.tv_usec = 50000});
    event_base_dispatch(worker->base);
    event_free(tick);
    return NULL;
}

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stop_asked, true);
}

/* Binds the loopback socket; -1 after a message. */
static int listen_on(int port, int *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); /* accepted sockets inherit it */
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, 128) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        perror("legacy-shop: cannot listen");
        close(fd);
        return -1;
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* Tells the port: a line of output, and the file where one was asked for, which appears whole. */
static bool port_tell(const struct server_options *options, int port)
{
    char name[4096];
    FILE *file;
    bool done;

    printf("listening on http://127.0.0.1:%d\n", port);
    fflush(stdout);
    if (!options->port_file)
        return true;
    if ((size_t)snprintf(name, sizeof(name), "%s.new", options->port_file) >= sizeof(name))
        return false;
    file = fopen(name, "w");
    done = file && fprintf(file, "%d\n", port) > 0;
    if (file)
        done = fclose(file) == 0 && done;
    done = done && rename(name, options->port_file) == 0;
    if (!done)
        perror(options->port_file);
    return done;
}

static bool worker_start(struct worker *worker, const struct server_options *options, int fd)
{
    worker->conn = run_connect(options->conninfo);
    if (PQstatus(worker->conn) != CONNECTION_OK) {
        fprintf(stderr, "legacy-shop: %s", PQerrorMessage(worker->conn));
        return false;
    }
    worker->base = event_base_new();
    worker->http = evhttp_new(worker->base);
    evhttp_set_allowed_methods(worker->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
    evhttp_set_max_body_size(worker->http, BODY_BYTES_MAX);
    evhttp_set_gencb(worker->http, on_request, worker);
    /* Each worker closes its own copy of the socket at its end. */
    if (evhttp_accept_socket(worker->http, dup(fd)) != 0)
        return false;
    return pthread_create(&worker->thread, NULL, worker_main, worker) == 0;
}

int http_serve(const struct server_options *options)
{
    struct worker *workers = calloc((size_t)options->workers, sizeof(*workers));
    int port = 0, started = 0, code = 1, fd = listen_on(options->port, &port);

    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    while (fd >= 0 && started < options->workers && worker_start(&workers[started], options, fd))
        started++;
    if (started == options->workers && port_tell(options, port))
        code = 0;
    else
        atomic_store(&stop_asked, true);
    for (int i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < options->workers; i++) {
        if (workers[i].http)
            evhttp_free(workers[i].http);
        if (workers[i].base)
            event_base_free(workers[i].base);
        PQfinish(workers[i].conn);
    }
    if (fd >= 0)
        close(fd);
    free(workers);
    return code;
}
