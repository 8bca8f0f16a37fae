/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process over a store, in process; JSON lines on stdout.
 *
 *   process_catch_up   200,000 events wait; each causes an append over two or three streams, with its cursor
 *   process_latency    one at a time: a command that is durable until what it caused, in two steps, is durable
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/log/folder.h"
#include "os/clock.h"
#include "os/random.h"
#include "os/stop.h"
#include "process/process.h"
#include "store/aggregate.h"
#include "support/transfers.h"

enum {
    TRANSFERS = 100000, /* two events each */
    ACCOUNTS = 1000,
    SAMPLES = 2000,
    LIMIT_US = 600 * 1000 * 1000,
};

static struct {
    struct store *store;
    struct aggregates *aggregates;
    struct process *process;
    struct os_stop stop;
} world;

static void must(enum banyan_status status, const struct banyan_error *err, const char *what)
{
    if (status != BANYAN_OK) {
        (void)fprintf(stderr, "%s: %s\n", what, err->message);
        abort();
    }
}

static int64_t now_us(void)
{
    return os_clock_monotonic_us(os_clock_real());
}

static struct banyan_position command(const char *category, int64_t key, const char *name, const void *fields)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct aggregate_answer answer;
    struct aggregate_command command = {
        .id = os_uuid_new(), .category = banyan_str_of(category), .name = banyan_str_of(name), .fields = fields};

    command.key = banyan_arena_printf(&arena, "%" PRId64, key);
    must(aggregates_submit(world.aggregates, &command, &arena, &answer, &err), &err, name);
    banyan_arena_release(&arena);
    return answer.position;
}

static struct banyan_position ask(int64_t key)
{
    struct transfers_asked asked = {1 + key % ACCOUNTS, 1 + (key * 7 + 1) % ACCOUNTS, 1};

    return command("transfer", key, "Ask", &asked);
}

static void start_process(void)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    must(process_start(&(struct process_options){.domain = &transfers_domain,
                                                 .process = transfers_domain.processes,
                                                 .store = world.store,
                                                 .aggregates = world.aggregates,
                                                 .stop = &world.stop},
                       &world.process, &err),
         &err, "process");
}

/* Until all that was caused, and what that caused, is durable. */
static void settle(struct banyan_position from)
{
    struct banyan_error err = BANYAN_ERROR_INIT;

    while (true) {
        must(process_wait(world.process, from, LIMIT_US, &err), &err, "wait");
        if (from.value == store_tail(world.store).value)
            return;
        from = store_tail(world.store);
    }
}

static void line(const char *name, double value, const char *unit)
{
    (void)printf("{\"name\":\"%s\",\"value\":%.0f,\"unit\":\"%s\",\"reference\":null,\"ratio\":null,\"bar\":null,"
                 "\"ok\":null}\n",
                 name, value, unit);
    (void)fflush(stdout);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

int main(void)
{
    static int64_t samples[SAMPLES];
    char folder[FOLDER_PATH_MAX], path[FOLDER_PATH_MAX + 8];
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct process_status status;
    int64_t began_us;

    folder_make(folder);
    (void)snprintf(path, sizeof(path), "%s/store", folder);
    must(os_stop_open(&world.stop, &err), &err, "stop");
    must(store_open(&(struct store_options){.folder = path}, &world.store, &err), &err, "open");
    world.aggregates = aggregates_new(&(struct aggregates_options){.store = world.store, .domain = &transfers_domain});
    for (int64_t key = 1; key <= ACCOUNTS; key++)
        (void)command("account", key, "Open", &(struct transfers_opened){TRANSFERS});
    for (int64_t key = 1; key <= TRANSFERS; key++)
        (void)ask(key);
    must(store_wait(world.store, store_tail(world.store), INT64_MAX, &err), &err, "wait");
    began_us = now_us();
    start_process();
    settle(store_tail(world.store));
    process_status(world.process, &status);
    line("process_catch_up", (double)status.reactions * 1e6 / (double)(now_us() - began_us), "reactions/s");
    for (int64_t i = 0; i < SAMPLES; i++) {
        struct banyan_position position = ask(TRANSFERS + 1 + i);

        must(store_wait(world.store, position, INT64_MAX, &err), &err, "wait");
        began_us = now_us();
        settle(position);
        samples[i] = now_us() - began_us;
    }
    qsort(samples, SAMPLES, sizeof(samples[0]), compare);
    line("process_latency_p50", (double)samples[SAMPLES / 2], "us");
    line("process_latency_p99", (double)samples[SAMPLES * 99 / 100], "us");
    (void)fprintf(stderr, "process: %" PRIu64 " reactions, %" PRIu64 " events, %" PRIu64 " conflicts\n",
                  status.reactions, status.events, status.conflicts);
    os_stop_request(&world.stop);
    process_stop(world.process);
    aggregates_free(world.aggregates);
    store_close(world.store);
    os_stop_close(&world.stop);
    folder_remove(folder);
    return 0;
}
