/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read_writes URL PAIRS CLIENTS   write, then read what was written: over HTTP, never stale.
 *
 * Each client writes with a command or, now and then, with an append, and asks the view for at least that position. The
 * answer has to hold the very value: each write has a price that no other has.  Rows and lists are asked for.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/client.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/thread.h"

enum {
    CLIENTS_MAX = 64,
    ORDERS = 16, /* of one client, written again and again */
    APPEND_EVERY = 8,
    LIST_EVERY = 16,
};

struct worker {
    struct os_thread thread;
    const char *url;
    unsigned number;
    uint64_t pairs, stale;
    int64_t write_us, read_us, read_us_max;
};

static void must(enum banyan_status status, const struct banyan_error *err, const char *what)
{
    if (status == BANYAN_OK)
        return;
    (void)fprintf(stderr, "# %s: %s: %s\n", what, banyan_status_name(status), err->message);
    exit(1);
}

/* The position behind which *price* is the price of the order. */
static uint64_t write_command(struct banyan_client *client, const char *key, bool exists, uint64_t price)
{
    char fields[256];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_client_decided decided;
    struct banyan_client_command command = {.category = BANYAN_STR("order"), .key = banyan_str_of(key)};

    command.name = exists ? BANYAN_STR("ModifyOrder") : BANYAN_STR("PlaceOrder");
    (void)snprintf(fields, sizeof(fields),
                   exists ? "{\"price\":\"%" PRIu64 ".00000000\"}"
                          : "{\"price\":\"%" PRIu64 ".00000000\",\"trader_id\":7,\"symbol\":\"S%s\",\"side\":\"BUY\","
                            "\"quantity\":\"1.00000000\"}",
                   price, key);
    command.fields = banyan_str_of(fields);
    must(banyan_client_command(client, &command, &decided, &err), &err, "command");
    if (!decided.accepted || decided.events == 0) {
        (void)fprintf(stderr, "# order %s: %s %s\n", key, decided.refusal, decided.text);
        exit(1);
    }
    return decided.position.value;
}

static uint64_t write_append(struct banyan_client *client, const char *key, uint64_t price)
{
    char stream[64], payload[256];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_client_appended appended;
    struct banyan_client_event event = {.type = BANYAN_STR("OrderModified")};

    (void)snprintf(stream, sizeof(stream), "order-%s", key);
    (void)snprintf(payload, sizeof(payload),
                   "{\"field\":\"price\",\"old_value\":\"1.00000000\",\"new_value\":\"%" PRIu64
                   ".00000000\",\"updated_at\":null}",
                   price);
    event.payload = banyan_str_of(payload);
    must(banyan_client_append(
             client,
             &(struct banyan_client_append){.stream = banyan_str_of(stream), .events = &event, .event_count = 1},
             &appended, &err),
         &err, "append");
    return appended.last.value;
}

/* Does the view show it? */
static bool read_back(struct banyan_client *client, const char *path, uint64_t position, uint64_t price)
{
    char header[128], wanted[64];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_client_answer answer;
    bool fresh;

    (void)snprintf(header, sizeof(header), "Banyan-Min-Position: %" PRIu64 "\r\nPrefer: wait=10000\r\n", position);
    (void)snprintf(wanted, sizeof(wanted), "\"price\":\"%" PRIu64 ".00000000\"", price);
    must(banyan_client_request(client, "GET", path, header, (struct banyan_str){NULL, 0}, &answer, &err), &err, path);
    banyan_buf_add_char(&answer.body, '\0');
    fresh = answer.code == 200 && strstr(answer.body.data, wanted) != NULL;
    if (!fresh)
        (void)fprintf(stderr, "# stale: %s behind %" PRIu64 ": %d, not %s: %.300s\n", path, position, answer.code,
                      wanted, answer.body.data);
    banyan_buf_release(&answer.body);
    return fresh;
}

static void work(void *argument)
{
    struct worker *worker = argument;
    struct os_clock *clock = os_clock_real();
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_client *client;
    bool exists[ORDERS] = {false};
    struct os_random random;

    os_random_seed(&random, worker->number);
    must(banyan_client_open(&(struct banyan_client_options){.url = worker->url}, &client, &err), &err, worker->url);
    for (uint64_t pair = 0; pair < worker->pairs; pair++) {
        size_t order = os_random_below(&random, ORDERS);
        uint64_t price = 1 + pair * CLIENTS_MAX + worker->number, position;
        char key[24], path[96];
        int64_t began_us = os_clock_monotonic_us(clock), written_us, took_us;

        (void)snprintf(key, sizeof(key), "%zu", 1000 * (worker->number + 1) + order);
        position = exists[order] && pair % APPEND_EVERY == 0 ? write_append(client, key, price)
                                                             : write_command(client, key, exists[order], price);
        exists[order] = true;
        written_us = os_clock_monotonic_us(clock);
        (void)snprintf(path, sizeof(path),
                       pair % LIST_EVERY == 0 ? "/views/current_orders?symbol=S%s" : "/views/current_orders/%s", key);
        worker->stale += !read_back(client, path, position, price);
        took_us = os_clock_monotonic_us(clock) - written_us;
        worker->write_us += written_us - began_us;
        worker->read_us += took_us;
        worker->read_us_max = took_us > worker->read_us_max ? took_us : worker->read_us_max;
    }
    banyan_client_close(client);
}

int main(int argc, char **argv)
{
    static struct worker workers[CLIENTS_MAX];
    uint64_t pairs = argc > 2 ? strtoull(argv[2], NULL, 10) : 0, stale = 0;
    unsigned clients = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    int64_t began_us = os_clock_monotonic_us(os_clock_real()), write_us = 0, read_us = 0, read_us_max = 0;

    if (pairs == 0 || clients == 0 || clients > CLIENTS_MAX) {
        (void)fprintf(stderr, "read_writes URL PAIRS CLIENTS\n");
        return 2;
    }
    for (unsigned i = 0; i < clients; i++) {
        workers[i] = (struct worker){.url = argv[1], .number = i, .pairs = pairs / clients + (i < pairs % clients)};
        os_thread_start(&workers[i].thread, "client", work, &workers[i]);
    }
    for (unsigned i = 0; i < clients; i++) {
        os_thread_join(&workers[i].thread);
        stale += workers[i].stale;
        write_us += workers[i].write_us;
        read_us += workers[i].read_us;
        read_us_max = workers[i].read_us_max > read_us_max ? workers[i].read_us_max : read_us_max;
    }
    (void)printf("# %" PRIu64 " pairs of %u clients in %.1f s: write %.2f ms, read %.2f ms, at most %.1f ms; %" PRIu64
                 " stale\n",
                 pairs, clients, (double)(os_clock_monotonic_us(os_clock_real()) - began_us) / 1e6,
                 (double)write_us / 1e3 / (double)pairs, (double)read_us / 1e3 / (double)pairs,
                 (double)read_us_max / 1e3, stale);
    return stale == 0 ? 0 : 1;
}
