/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the gateway adds: the same requests to the real application, directly and through the gateway, in turns in one
 * run.
 *
 *   gateway_added_latency_1_client     one after the other: p50 through it less p50 directly; bar 0.3 ms
 *   gateway_added_latency_16_clients   the same with 16 clients and 2,000 requests/s in all, which leaves the machine
 * room: where it has none, the figure is that of the queue gateway_throughput_16_clients      requests/s through it /
 * directly, as fast as answers come
 *
 * Reads of one order by key, connections kept open; the façade looks at each request, the legacy application answers.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/gateway.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"
#include "trading/trading.h"

enum {
    ORDERS = 20000,
    CLIENTS_MAX = 16,
    PACE_US = 8000, /* of each of 16 clients: 2,000 a second */
    ROUNDS = 6,
    ROUND_US = 1500 * 1000,
    SAMPLES_MAX = 1 << 20,
    ANSWER_MAX = 64 * 1024,
};

extern char **environ;

static void must(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

/* ---- a client ---- */

struct client {
    struct os_thread thread;
    struct os_random random;
    int port, fd;
    int64_t until_us;
    int64_t every_us;  /* from one request to the next; 0: at once */
    uint32_t *samples; /* of one side, owned; µs */
    size_t count;
    uint64_t requests, failed;
};

static int dial(int port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static bool ask(struct client *client)
{
    char text[ANSWER_MAX];
    int size = snprintf(text, sizeof(text), "GET /orders/%u HTTP/1.1\r\nHost: oms\r\n\r\n",
                        1 + (unsigned)os_random_below(&client->random, ORDERS));
    must(send(client->fd, text, (size_t)size, MSG_NOSIGNAL) == size, "send");
    size_t have = 0, wanted = SIZE_MAX;
    while (have < wanted) {
        ssize_t got = recv(client->fd, text + have, sizeof(text) - 1 - have, 0);
        must(got > 0, "recv");
        have += (size_t)got;
        text[have] = '\0';
        const char *end = strstr(text, "\r\n\r\n"), *length = strstr(text, "Content-Length:");
        if (end != NULL)
            wanted = (size_t)(end + 4 - text) + (length == NULL ? 0 : strtoul(length + 15, NULL, 10));
    }
    return strncmp(text, "HTTP/1.1 200", 12) == 0;
}

static void client_main(void *argument)
{
    struct client *client = argument;
    client->fd = dial(client->port);
    int64_t next = now_us() + (client->every_us == 0 ? 0 : (int64_t)os_random_below(&client->random, PACE_US));
    for (int64_t before = next, after; before < client->until_us; before = after) {
        for (; now_us() < next && client->every_us > 0; before = now_us())
            usleep((useconds_t)(next - now_us() > 0 ? next - now_us() : 0)); /* its turn */
        next += client->every_us;
        client->failed += !ask(client);
        after = now_us();
        client->requests++;
        if (client->count < SAMPLES_MAX)
            client->samples[client->count++] = (uint32_t)(after - before);
    }
    (void)close(client->fd);
}

/* ---- a side ---- */

struct side {
    int port;
    uint32_t *samples;
    size_t count;
    uint64_t requests, failed;
    int64_t took_us;
};

static void run_side(struct side *side, struct client *clients, unsigned count)
{
    int64_t began = now_us();
    for (unsigned i = 0; i < count; i++) {
        clients[i].port = side->port;
        clients[i].until_us = began + ROUND_US;
        clients[i].count = 0;
        clients[i].requests = clients[i].failed = 0;
        os_thread_start(&clients[i].thread, "client", client_main, &clients[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        os_thread_join(&clients[i].thread);
        for (size_t s = 0; s < clients[i].count && side->count < SAMPLES_MAX; s++)
            side->samples[side->count++] = clients[i].samples[s];
        side->requests += clients[i].requests;
        side->failed += clients[i].failed;
    }
    side->took_us += now_us() - began;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double at(const struct side *side, double share)
{
    return side->count == 0 ? 0 : side->samples[(size_t)((double)(side->count - 1) * share)] / 1000.0;
}

static void measure(struct client *clients, unsigned count, bool paced, int direct_port, int gateway_port)
{
    for (unsigned i = 0; i < count; i++)
        clients[i].every_us = paced ? PACE_US : 0;
    struct side sides[2] = {{.port = direct_port}, {.port = gateway_port}};
    for (int i = 0; i < 2; i++)
        sides[i].samples = calloc(SAMPLES_MAX, sizeof(uint32_t));
    for (int round = 0; round < ROUNDS; round++) /* in turns, each first as often as the other */
        for (int i = 0; i < 2; i++)
            run_side(&sides[(i + round) % 2], clients, count);
    for (int i = 0; i < 2; i++)
        qsort(sides[i].samples, sides[i].count, sizeof(uint32_t), compare);
    double added = at(&sides[1], 0.5) - at(&sides[0], 0.5);
    double rates[2];
    for (int i = 0; i < 2; i++)
        rates[i] = (double)sides[i].requests * 1e6 / (double)sides[i].took_us;
    if (count == 1 || paced)
        printf("{\"name\":\"gateway_added_latency_%u_client%s\",\"value\":%.3f,\"unit\":\"ms\",\"reference\":%.3f,"
               "\"ratio\":%.3f,\"bar\":0.3,\"ok\":%s}\n",
               count, count == 1 ? "" : "s", added, at(&sides[0], 0.5), at(&sides[1], 0.5) / at(&sides[0], 0.5),
               added < 0.3 ? "true" : "false");
    else
        printf("{\"name\":\"gateway_throughput_%u_clients\",\"value\":%.0f,\"unit\":\"requests/s\",\"reference\":%.0f,"
               "\"ratio\":%.3f}\n",
               count, rates[1], rates[0], rates[1] / rates[0]);
    fprintf(stderr, "%u clients%s: p50 %.3f ms, p99 %.3f ms directly; p50 %.3f ms, p99 %.3f ms through the gateway\n",
            count, paced ? ", 2,000/s" : "", at(&sides[0], 0.5), at(&sides[0], 0.99), at(&sides[1], 0.5),
            at(&sides[1], 0.99));
    if (sides[0].failed + sides[1].failed > 0) {
        fprintf(stderr, "%llu requests failed\n", (unsigned long long)(sides[0].failed + sides[1].failed));
        exit(1);
    }
    for (int i = 0; i < 2; i++)
        free(sides[i].samples);
}

/* ---- the application ---- */

static pid_t start(const char *build, const char *port_file)
{
    char command[4096], program[4096];
    pid_t pid = 0;
    snprintf(command, sizeof(command),
             "psql -Xqc 'CREATE DATABASE gateway' && psql -Xqd gateway -f examples/legacy-oms/schema.sql && "
             "%s/examples/legacy-oms/legacy-seed --conninfo dbname=gateway --orders %d >/dev/null",
             build, (int)ORDERS);
    must(system(command) == 0, "seed");
    snprintf(program, sizeof(program), "%s/examples/legacy-oms/legacy-oms", build);
    char *arguments[] = {program,
                         (char *)(uintptr_t) "--conninfo",
                         (char *)(uintptr_t) "dbname=gateway",
                         (char *)(uintptr_t) "--port-file",
                         (char *)(uintptr_t)port_file,
                         NULL};
    must(posix_spawn(&pid, program, NULL, NULL, arguments, environ) == 0, "start legacy-oms");
    return pid;
}

static int port_of(const char *port_file)
{
    int port = 0;
    for (int i = 0; i < 1000 && port == 0; i++) {
        FILE *file = fopen(port_file, "r");
        if (file != NULL && fscanf(file, "%d", &port) != 1)
            port = 0;
        if (file != NULL)
            fclose(file);
        usleep(10 * 1000); /* a condition, with a limit */
    }
    must(port != 0, "port of legacy-oms");
    return port;
}

int main(int argc, char **argv)
{
    static struct client clients[CLIENTS_MAX];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct gateway *gateway = NULL;
    char folder[] = "/tmp/bench-gateway.XXXXXX", port_file[64], url[64];
    (void)signal(SIGPIPE, SIG_IGN);
    must(argc > 1 && mkdtemp(folder) != NULL, "usage: bench_gateway BUILD");
    snprintf(port_file, sizeof(port_file), "%s/port", folder);
    pid_t pid = start(argv[1], port_file);
    int port = port_of(port_file);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", port);
    struct gateway_options options = {.address = "127.0.0.1", .upstream = url, .domain = &banyan_domain_trading};
    if (gateway_start(&options, &gateway, &err) != BANYAN_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    for (unsigned i = 0; i < CLIENTS_MAX; i++) {
        os_random_seed(&clients[i].random, i + 1);
        clients[i].samples = calloc(SAMPLES_MAX, sizeof(uint32_t));
    }
    struct side warm = {.port = gateway_port(gateway), .samples = calloc(SAMPLES_MAX, sizeof(uint32_t))};
    run_side(&warm, clients, CLIENTS_MAX);
    measure(clients, 1, false, port, gateway_port(gateway));
    measure(clients, CLIENTS_MAX, true, port, gateway_port(gateway));
    measure(clients, CLIENTS_MAX, false, port, gateway_port(gateway));
    gateway_stop(gateway, 0);
    (void)kill(pid, SIGTERM);
    (void)waitpid(pid, NULL, 0);
    (void)unlink(port_file);
    (void)rmdir(folder);
    free(warm.samples);
    for (unsigned i = 0; i < CLIENTS_MAX; i++)
        free(clients[i].samples);
    return 0;
}
