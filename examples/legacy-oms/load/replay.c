// SPDX-License-Identifier: Apache-2.0
/* Replays a recording as fast as the server takes it.  All writes of an order go over one connection, one after the
 * other, so that they happen in the order of the recording; different orders may overtake one another. */
#include "load.h"

#include <event2/event.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "../common/money.h"
#include "messages.h"

#define ERRORS_SHOWN_MAX 5

struct replay {
    const struct load_options *options;
    struct event_base *base;
    struct client **clients;
    const struct order_write **queue; /* sorted by connection, then by number */
    size_t *next, *end;               /* by connection: the part of the queue that is left */
    size_t left;
    int64_t errors;
    int64_t start_us;
    bool connected;
};

static int connections_of_sort; /* qsort() has no argument for its comparison; set once before */

static int queue_compare(const void *a, const void *b)
{
    const struct order_write *x = *(const struct order_write *const *)a, *y = *(const struct order_write *const *)b;
    int64_t left = x->order_id % connections_of_sort, right = y->order_id % connections_of_sort;

    if (left != right)
        return left < right ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static int client_number(const struct replay *replay, const struct client *client)
{
    int i = 0;

    while (replay->clients[i] != client)
        i++;
    return i;
}

static void write_send(struct client *client, const struct order_write *write)
{
    char path[64], body[320], quantity[MONEY_TEXT_MAX], price[MONEY_TEXT_MAX];
    static const char *const verbs[] = {[WRITE_MODIFY_PRICE] = "modify",
                                        [WRITE_MODIFY_QUANTITY] = "modify",
                                        [WRITE_FILL] = "fill",
                                        [WRITE_CANCEL] = "cancel"};

    money_format(quantity, write->quantity);
    money_format(price, write->price);
    if (write->kind != WRITE_PLACE)
        snprintf(path, sizeof(path), "/orders/%" PRId64 "/%s", write->order_id, verbs[write->kind]);
    switch (write->kind) {
    case WRITE_PLACE:
        snprintf(path, sizeof(path), "/orders");
        snprintf(body, sizeof(body),
                 "{\"order_id\":%" PRId64 ",\"trader_id\":%" PRId64
                 ",\"symbol\":\"BTCUSD\",\"side\":\"%s\",\"quantity\":\"%s\",\"price\":\"%s\"}",
                 write->order_id, message_trader(write->order_id), write->is_buy ? "BUY" : "SELL", quantity, price);
        break;
    case WRITE_MODIFY_PRICE:
        snprintf(body, sizeof(body), "{\"price\":\"%s\"}", price);
        break;
    case WRITE_MODIFY_QUANTITY:
        snprintf(body, sizeof(body), "{\"quantity\":\"%s\"}", quantity);
        break;
    case WRITE_FILL:
        snprintf(body, sizeof(body), "{\"quantity\":\"%s\",\"price\":\"%s\"}", quantity, price);
        break;
    case WRITE_CANCEL:
        snprintf(body, sizeof(body), "{}");
        break;
    }
    client_send(client, path, body);
}

static void on_ready(struct client *client, void *arg)
{
    struct replay *replay = arg;
    int number = client_number(replay, client);

    replay->connected = true;
    if (replay->next[number] < replay->end[number])
        write_send(client, replay->queue[replay->next[number]++]);
}

static void on_answer(struct client *client, int code, const char *body, size_t length, void *arg)
{
    struct replay *replay = arg;
    const struct order_write *write = replay->queue[replay->next[client_number(replay, client)] - 1];

    if (code != 200 && code != 201 && ++replay->errors <= ERRORS_SHOWN_MAX)
        fprintf(stderr, "legacy-load: order %" PRId64 ": %d %.*s\n", write->order_id, code, (int)length, body);
    if (--replay->left == 0)
        event_base_loopbreak(replay->base);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct replay *replay = arg;

    if (!replay->connected && monotonic_us() - replay->start_us > CONNECT_SECONDS_MAX * INT64_C(1000000)) {
        fprintf(stderr, "legacy-load: nobody answers at %s\n", replay->options->address.host);
        event_base_loopbreak(replay->base);
    }
}

static void counts_print(const struct message_counts *counts, size_t requests, int64_t errors, double seconds)
{
    const struct {
        const char *name;
        int64_t value;
    } figures[] = {
        {"messages", counts->messages},
        {"messages_created", counts->messages_created},
        {"messages_changed", counts->messages_changed},
        {"messages_deleted", counts->messages_deleted},
        {"created", counts->created},
        {"imported", counts->imported},
        {"imported_without_quantity", counts->imported_without_quantity},
        {"modified", counts->modified},
        {"partially_filled", counts->partially_filled},
        {"filled", counts->filled},
        {"canceled", counts->canceled},
        {"created_filled", counts->created_filled},
        {"created_canceled", counts->created_canceled},
        {"ignored", counts->ignored_duplicate + counts->ignored_after_end + counts->ignored_unchanged},
        {"ignored_duplicate", counts->ignored_duplicate},
        {"ignored_after_end", counts->ignored_after_end},
        {"ignored_created_after_end", counts->ignored_created_after_end},
        {"ignored_unchanged", counts->ignored_unchanged},
        {"price_unlike_first", counts->price_unlike_first},
        {"requests", (int64_t)requests},
        {"errors", errors},
    };

    printf("{\"type\":\"replay\"");
    for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
        printf(",\"%s\":%" PRId64, figures[i].name, figures[i].value);
    printf(",\"seconds\":%.2f,\"per_second\":%.0f}\n", seconds, (double)requests / seconds);
}

static bool expected_write(const struct message_writes *writes, const char *path)
{
    FILE *out = fopen(path, "w");
    bool done;

    if (!out) {
        perror(path);
        return false;
    }
    message_writes_print(writes, out);
    done = !ferror(out);
    return fclose(out) == 0 && done;
}

/* Sorts the writes into one queue a connection. */
static void queues_make(struct replay *replay, const struct message_writes *writes)
{
    int connections = replay->options->connections;
    size_t at = 0;

    replay->left = writes->count;
    replay->queue = calloc(writes->count + 1, sizeof(replay->queue[0]));
    replay->next = calloc((size_t)connections, sizeof(replay->next[0]));
    replay->end = calloc((size_t)connections, sizeof(replay->end[0]));
    for (size_t i = 0; i < writes->count; i++)
        replay->queue[i] = &writes->writes[i];
    connections_of_sort = connections;
    qsort(replay->queue, writes->count, sizeof(replay->queue[0]), queue_compare);
    for (int i = 0; i < connections; i++) {
        replay->next[i] = at;
        while (at < writes->count && replay->queue[at]->order_id % connections == i)
            at++;
        replay->end[i] = at;
    }
}

int replay_run(const struct load_options *options)
{
    static const struct client_handlers handlers = {.on_ready = on_ready, .on_answer = on_answer};
    struct replay replay = {.options = options, .base = event_base_new(), .start_us = monotonic_us()};
    struct message_writes writes = {0};
    struct event *tick = event_new(replay.base, -1, EV_PERSIST, on_tick, &replay);
    int code = 1;

    if (!message_writes_read(options->replay, &writes) ||
        (options->expected && !expected_write(&writes, options->expected)))
        goto out;
    queues_make(&replay, &writes);
    event_add(tick, &(struct timeval){.tv_usec = 100000});
    replay.clients = calloc((size_t)options->connections, sizeof(replay.clients[0]));
    for (int i = 0; i < options->connections; i++)
        replay.clients[i] = client_new(replay.base, &options->address, &handlers, &replay);
    if (replay.left)
        event_base_dispatch(replay.base);
    counts_print(&writes.counts, writes.count - replay.left, replay.errors,
                 (double)(monotonic_us() - replay.start_us) / 1e6);
    code = replay.left || replay.errors;
out:
    for (int i = 0; replay.clients && i < options->connections; i++)
        client_free(replay.clients[i]);
    free(replay.clients);
    free(replay.queue);
    free(replay.next);
    free(replay.end);
    message_writes_release(&writes);
    event_free(tick);
    event_base_free(replay.base);
    return code;
}
