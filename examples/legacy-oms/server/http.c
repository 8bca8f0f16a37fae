// SPDX-License-Identifier: Apache-2.0
/* The HTTP loop and the pool of workers.
 *
 * Threads: the loop's thread alone touches evhttp objects.  A job belongs to the loop, then to the queue, then to one
 * worker, then to the done list, then to the loop again; the two lists are guarded by pool.lock.  A connection that a
 * client closes meanwhile is no danger: evhttp does not read from it until its request is answered. */
#include "server.h"

#include "../common/random.h"

#include <arpa/inet.h>
#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#define BODY_BYTES_MAX 65536

struct job {
    struct job *next;
    struct evhttp_request *http; /* used by the loop's thread alone */
    struct request request;
    struct evkeyvalq query;
    struct evbuffer *answer;
    int code;
};

struct job_list {
    struct job *first;
    struct job **last;
};

struct pool {
    const struct server_options *options;
    int done_fd; /* an eventfd: written when the done list is no longer empty */
    pthread_t *threads;
    int threads_started;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t wake;
        struct job_list waiting;
        struct job_list done;
        bool stop;
    } shared;
};

struct worker_start {
    struct pool *pool;
    struct db db;
};

static void list_add(struct job_list *list, struct job *job)
{
    job->next = NULL;
    *list->last = job;
    list->last = &job->next;
}

static struct job *list_take(struct job_list *list)
{
    struct job *job = list->first;

    if (job) {
        list->first = job->next;
        if (!list->first)
            list->last = &list->first;
    }
    return job;
}

static void job_free(struct job *job)
{
    evhttp_clear_headers(&job->query);
    if (job->answer)
        evbuffer_free(job->answer);
    free(job->request.path);
    free(job->request.body);
    free(job);
}

static void job_run(struct db *db, struct job *job)
{
    struct reply reply = {0};
    char *text;

    route(db, &job->request, &reply);
    text = json_dumps(reply.body, JSON_COMPACT);
    job->code = reply.code;
    job->answer = evbuffer_new();
    evbuffer_add_printf(job->answer, "%s\n", text);
    free(text);
    json_decref(reply.body);
}

static void *worker_main(void *arg)
{
    struct worker_start *start = arg;
    struct pool *pool = start->pool;

    for (;;) {
        struct job *job;
        bool first;

        pthread_mutex_lock(&pool->shared.lock);
        while (!pool->shared.waiting.first && !pool->shared.stop)
            pthread_cond_wait(&pool->shared.wake, &pool->shared.lock);
        job = list_take(&pool->shared.waiting);
        pthread_mutex_unlock(&pool->shared.lock);
        if (!job)
            break;
        job_run(&start->db, job);
        pthread_mutex_lock(&pool->shared.lock);
        first = !pool->shared.done.first;
        list_add(&pool->shared.done, job);
        pthread_mutex_unlock(&pool->shared.lock);
        if (first)
            (void)!write(pool->done_fd, &(uint64_t){1}, sizeof(uint64_t)); /* full means that a wake-up is due anyway */
    }
    db_close(&start->db);
    free(start);
    return NULL;
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* A request has arrived whole. */
static void on_request(struct evhttp_request *http, void *arg)
{
    struct pool *pool = arg;
    struct job *job = calloc(1, sizeof(*job));
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http);
    struct evbuffer *input = evhttp_request_get_input_buffer(http);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL, *query = uri ? evhttp_uri_get_query(uri) : NULL;

    TAILQ_INIT(&job->query);
    job->http = http;
    job->request.arrived_us = now_us();
    job->request.method = evhttp_request_get_command(http) == EVHTTP_REQ_GET    ? METHOD_GET
                          : evhttp_request_get_command(http) == EVHTTP_REQ_POST ? METHOD_POST
                                                                                : METHOD_UNKNOWN;
    job->request.path = strdup(path && *path ? path : "/");
    job->request.query = &job->query;
    if (query)
        (void)evhttp_parse_query_str(query, &job->query); /* what cannot be read is not there */
    job->request.body_length = evbuffer_get_length(input);
    job->request.body = malloc(job->request.body_length + 1);
    evbuffer_remove(input, job->request.body, job->request.body_length);
    job->request.body[job->request.body_length] = '\0';

    pthread_mutex_lock(&pool->shared.lock);
    list_add(&pool->shared.waiting, job);
    pthread_cond_signal(&pool->shared.wake);
    pthread_mutex_unlock(&pool->shared.lock);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
    struct pool *pool = arg;
    uint64_t count;
    struct job *job;

    (void)!read(fd, &count, sizeof(count)); /* only clears the signal */
    pthread_mutex_lock(&pool->shared.lock);
    job = pool->shared.done.first;
    pool->shared.done = (struct job_list){.last = &pool->shared.done.first};
    pthread_mutex_unlock(&pool->shared.lock);
    while (job) {
        struct job *next = job->next;

        evhttp_add_header(evhttp_request_get_output_headers(job->http), "Content-Type", "application/json");
        evhttp_send_reply(job->http, job->code, NULL, job->answer);
        job_free(job);
        job = next;
    }
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    event_base_loopbreak(arg);
}

/* Binds the loopback socket and returns its port, or -1.  Accepted sockets inherit TCP_NODELAY from it. */
static int http_bind(struct evhttp *http, int port)
{
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(http, "127.0.0.1", (unsigned short)port);
    struct sockaddr_in address = {0};
    socklen_t length = sizeof(address);
    int fd;

    if (!bound)
        return -1;
    fd = evhttp_bound_socket_get_fd(bound);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return -1;
    return ntohs(address.sin_port);
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

static bool pool_start(struct pool *pool)
{
    const struct server_options *options = pool->options;

    pool->threads = calloc((size_t)options->pool, sizeof(pool->threads[0]));
    for (int i = 0; i < options->pool; i++) {
        struct worker_start *start = calloc(1, sizeof(*start));

        start->pool = pool;
        start->db = (struct db){
            .conninfo = options->conninfo, .faults = options->faults, .rng = rng_fork(options->seed, (uint64_t)i)};
        if (!db_open(&start->db) || pthread_create(&pool->threads[i], NULL, worker_main, start) != 0) {
            db_close(&start->db);
            free(start);
            return false;
        }
        pool->threads_started++;
    }
    return true;
}

static void pool_stop(struct pool *pool)
{
    struct job *job;

    pthread_mutex_lock(&pool->shared.lock);
    pool->shared.stop = true;
    pthread_cond_broadcast(&pool->shared.wake);
    pthread_mutex_unlock(&pool->shared.lock);
    for (int i = 0; i < pool->threads_started; i++)
        pthread_join(pool->threads[i], NULL);
    while ((job = list_take(&pool->shared.done)))
        job_free(job);
    free(pool->threads);
    close(pool->done_fd);
}

int http_serve(const struct server_options *options)
{
    struct pool pool = {.options = options, .done_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    struct event_base *base = event_base_new();
    struct evhttp *http = evhttp_new(base);
    struct event *done, *terminate, *interrupt;
    int port, code = 1;

    pthread_mutex_init(&pool.shared.lock, NULL);
    pthread_cond_init(&pool.shared.wake, NULL);
    pool.shared.waiting.last = &pool.shared.waiting.first;
    pool.shared.done.last = &pool.shared.done.first;
    evhttp_set_allowed_methods(http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
    evhttp_set_max_body_size(http, BODY_BYTES_MAX);
    evhttp_set_gencb(http, on_request, &pool);
    signal(SIGPIPE, SIG_IGN);
    done = event_new(base, pool.done_fd, EV_READ | EV_PERSIST, on_done, &pool);
    terminate = evsignal_new(base, SIGTERM, on_signal, base);
    interrupt = evsignal_new(base, SIGINT, on_signal, base);
    event_add(done, NULL);
    event_add(terminate, NULL);
    event_add(interrupt, NULL);
    port = http_bind(http, options->port);
    if (port < 0) {
        fprintf(stderr, "legacy-oms: cannot listen on port %d\n", options->port);
    } else if (pool_start(&pool) && port_tell(options, port)) {
        event_base_dispatch(base);
        code = 0;
    }
    pool_stop(&pool);
    event_free(done);
    event_free(terminate);
    event_free(interrupt);
    evhttp_free(http);
    event_base_free(base);
    return code;
}
