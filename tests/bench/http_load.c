/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load over HTTP/1.1 with one thread and epoll; one line of JSON at the end.
 *
 *     http_load KIND PORT CONNECTIONS SECONDS [RATE [FIRST]]
 *
 *   legacy     the life of orders at the legacy application: place, modify, fill, fill, cancel; closed loop
 *   banyan     the same orders as commands: POST /commands/order/<key>/<command>
 *   seed       as banyan, but each order is only placed; keys 1 to RATE, no time limit
 *   state      GET /aggregates/order/<key> of seeded orders; open loop at RATE: latency counts from the intended time,
 *              so a slow answer cannot hide behind fewer requests
 *   view       GET /views/current_orders/<key>, the same
 *   orders     GET /orders/<key> of the legacy application, the same
 *
 * Every answer is looked at: a code that is not the wanted one is counted and ends with failure.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 16384,
    CONNECTIONS_MAX = 4096,
    SAMPLES_MAX = 1 << 24,
    EVENTS_MAX = 256,
    LIFE_STEPS = 5,
};

enum kind {
    KIND_LEGACY,
    KIND_BANYAN,
    KIND_SEED,
    KIND_STATE,
    KIND_VIEW,
    KIND_ORDERS,
    KINDS,
};

struct connection {
    int fd;
    bool busy;
    int64_t began_us; /* of the request: sent, or intended */
    unsigned step;    /* of an order's life */
    int64_t order;
    size_t size; /* of what came */
    char in[BUFFER_BYTES];
};

static struct {
    enum kind kind;
    int port, epoll;
    unsigned connection_count;
    double rate;
    int64_t first, next_order, until_us;
    uint64_t random;
    struct connection *connections;
    uint32_t *samples;
    size_t sample_count, failed;
    unsigned idle[CONNECTIONS_MAX], idle_count;
} load;

static void die(const char *what)
{
    (void)fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static uint64_t random_below(uint64_t bound)
{
    load.random = load.random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (load.random >> 33) % bound;
}

static void dial(struct connection *connection)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load.port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("connect");
    (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (epoll_ctl(load.epoll, EPOLL_CTL_ADD, connection->fd, &event) != 0)
        die("epoll");
}

/* ---- requests ---- */

static const char placed[] =
    "{\"trader_id\":7,\"symbol\":\"BTCUSD\",\"side\":\"BUY\",\"quantity\":\"3\",\"price\":\"250.5\"}";

static int write_post(char *out, size_t size, const char *path, const char *body)
{
    return snprintf(out, size,
                    "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu"
                    "\r\n\r\n%s",
                    path, strlen(body), body);
}

/* The next request of an order's life, at either side. */
static int write_life(struct connection *connection, char *out, size_t size)
{
    static const char *const verbs[LIFE_STEPS] = {"", "modify", "fill", "fill", "cancel"};
    static const char *const commands[LIFE_STEPS] = {"PlaceOrder", "ModifyOrder", "FillOrder", "FillOrder",
                                                     "CancelOrder"};
    char path[128], body[128] = "{}";
    unsigned step = connection->step;

    if (step == 0) {
        (void)snprintf(body, sizeof(body), "%s", placed);
        connection->order = load.next_order++; /* the application answers with a number of its own */
    } else if (step == 1) {
        (void)snprintf(body, sizeof(body), "{\"price\":\"%u.25\"}", 100 + (unsigned)random_below(500));
    } else if (step < 4) {
        (void)snprintf(body, sizeof(body), "{\"quantity\":\"1\",\"price\":\"249.75\"}");
    }
    if (load.kind == KIND_LEGACY && step == 0)
        (void)snprintf(path, sizeof(path), "/orders");
    else if (load.kind == KIND_LEGACY)
        (void)snprintf(path, sizeof(path), "/orders/%lld/%s", (long long)connection->order, verbs[step]);
    else
        (void)snprintf(path, sizeof(path), "/commands/order/%lld/%s", (long long)connection->order, commands[step]);
    return write_post(out, size, path, body);
}

static int write_request(struct connection *connection, char *out, size_t size)
{
    static const char *const reads[KINDS] = {
        [KIND_STATE] = "/aggregates/order", [KIND_VIEW] = "/views/current_orders", [KIND_ORDERS] = "/orders"};

    if (reads[load.kind] == NULL)
        return write_life(connection, out, size);
    return snprintf(out, size, "GET %s/%llu HTTP/1.1\r\nHost: localhost\r\n\r\n", reads[load.kind],
                    (unsigned long long)load.first + random_below((uint64_t)load.next_order));
}

static void send_request(struct connection *connection, int64_t began_us)
{
    char out[1024];
    int size = write_request(connection, out, sizeof(out));

    connection->busy = true;
    connection->began_us = began_us;
    connection->size = 0;
    if (write(connection->fd, out, (size_t)size) != size) /* a request fits the socket's buffer */
        die("write");
}

/* ---- answers ---- */

/* The whole answer is there: its code; 0: not yet. */
static int answer_code(struct connection *connection)
{
    char *gap, *field;
    size_t length;

    connection->in[connection->size] = '\0';
    gap = strstr(connection->in, "\r\n\r\n");
    if (gap == NULL)
        return 0;
    field = strcasestr(connection->in, "\r\ncontent-length:");
    length = field == NULL || field > gap ? 0 : strtoul(field + strlen("\r\ncontent-length:"), NULL, 10);
    if (connection->size < (size_t)(gap + 4 - connection->in) + length)
        return 0;
    return atoi(connection->in + strlen("HTTP/1.1 "));
}

static void take_answer(struct connection *connection, int code)
{
    const char *id;

    if (code < 200 || code > 299) {
        if (load.failed++ < 5)
            (void)fprintf(stderr, "http_load: %s\n", connection->in);
    } else if (load.sample_count < SAMPLES_MAX) {
        load.samples[load.sample_count++] = (uint32_t)(now_us() - connection->began_us);
    }
    if (load.kind == KIND_LEGACY && connection->step == 0) {
        id = strstr(connection->in, "\"order_id\":");
        connection->order = id == NULL ? 0 : strtoll(id + strlen("\"order_id\":"), NULL, 10);
    }
    if (load.kind != KIND_SEED)
        connection->step = (connection->step + 1) % LIFE_STEPS;
    connection->busy = false;
}

static bool hear(struct connection *connection)
{
    ssize_t got =
        recv(connection->fd, connection->in + connection->size, BUFFER_BYTES - 1 - connection->size, MSG_DONTWAIT);
    int code;

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0)
        die("the server closed a connection");
    connection->size += (size_t)got;
    code = answer_code(connection);
    if (code == 0)
        return false;
    take_answer(connection, code);
    return true;
}

/* ---- loops ---- */

static bool more(int64_t now)
{
    return load.kind == KIND_SEED ? load.next_order <= (int64_t)load.rate : now < load.until_us;
}

static void run_closed(void)
{
    struct epoll_event events[EVENTS_MAX];
    unsigned busy = load.connection_count;

    for (unsigned i = 0; i < load.connection_count; i++)
        send_request(&load.connections[i], now_us());
    while (busy > 0) {
        int count = epoll_wait(load.epoll, events, EVENTS_MAX, 10000);

        if (count <= 0)
            die("no answer within 10 s");
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;

            if (!hear(connection))
                continue;
            if (more(now_us()))
                send_request(connection, now_us());
            else
                busy--;
        }
    }
}

/* Answers until that time; it sleeps, so that it takes no processor from what it measures. */
static int wait_until(int64_t until_us, int64_t now, struct epoll_event events[EVENTS_MAX])
{
    int64_t left_us = until_us > now ? until_us - now : 0;
    struct timespec left = {left_us / 1000000, left_us % 1000000 * 1000};

    return epoll_pwait2(load.epoll, events, EVENTS_MAX, &left, NULL);
}

/* Request k is meant for start + k / rate; where no connection is free it is late, and its latency says so. */
static void run_open(void)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t start = now_us();
    uint64_t sent = 0;

    for (unsigned i = 0; i < load.connection_count; i++)
        load.idle[load.idle_count++] = i;
    for (;;) {
        int64_t due = start + (int64_t)((double)sent * 1e6 / load.rate), now = now_us();
        int count;

        if (due >= load.until_us && load.idle_count == load.connection_count)
            return;
        if (due <= now && due < load.until_us && load.idle_count > 0) {
            send_request(&load.connections[load.idle[--load.idle_count]], due);
            sent++;
            continue;
        }
        count = wait_until(due < load.until_us && load.idle_count > 0 ? due : now + 1000000, now, events);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;

            if (hear(connection))
                load.idle[load.idle_count++] = (unsigned)(connection - load.connections);
        }
        if (now > load.until_us + 10000000)
            die("no answer within 10 s");
    }
}

static int compare_samples(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const char *const names[KINDS] = {"legacy", "banyan", "seed", "state", "view", "orders"};
    int64_t start;
    double seconds;
    size_t n;

    if (argc < 5)
        return 2;
    while (load.kind < KINDS && strcmp(names[load.kind], argv[1]) != 0)
        load.kind++;
    load.port = atoi(argv[2]);
    load.connection_count = (unsigned)atoi(argv[3]);
    load.rate = argc > 5 ? atof(argv[5]) : 0;
    load.first = argc > 6 ? atoll(argv[6]) : 1;
    load.next_order = load.kind >= KIND_STATE ? 100000 : load.first;
    load.random = 42;
    if (load.kind == KINDS || load.connection_count < 1 || load.connection_count > CONNECTIONS_MAX)
        return 2;
    (void)prctl(PR_SET_TIMERSLACK, 1UL); /* ns; the usual 50 µs would be part of every latency */
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.connections = calloc(load.connection_count, sizeof(*load.connections));
    load.samples = malloc(SAMPLES_MAX * sizeof(*load.samples));
    for (unsigned i = 0; i < load.connection_count; i++)
        dial(&load.connections[i]);
    start = now_us();
    load.until_us = start + (int64_t)(atof(argv[4]) * 1e6);
    if (load.kind >= KIND_STATE)
        run_open();
    else
        run_closed();
    seconds = (double)(now_us() - start) / 1e6;
    n = load.sample_count;
    qsort(load.samples, n, sizeof(*load.samples), compare_samples);
    printf("{\"requests\":%zu,\"failed\":%zu,\"rate\":%.0f,\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u,\"max_us\":%u}\n",
           n, load.failed, (double)n / seconds, n ? load.samples[n / 2] : 0, n ? load.samples[n * 99 / 100] : 0,
           n ? load.samples[n * 999 / 1000] : 0, n ? load.samples[n - 1] : 0);
    return load.failed == 0 && n > 0 ? 0 : 1;
}
