/* SPDX-License-Identifier: Apache-2.0 */
/* banyan store stats: how much is in a store, and where; beside a running writer, too. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cmd_store.h"
#include "cli/output.h"
#include "os/clock.h"

static const struct argp_child stats_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_stats(int key, char *argument, struct argp_state *state)
{
    (void)argument;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = state->input;
    return 0;
}

static void print_stats(const struct store_stats *stats, int64_t open_us, bool json)
{
    char text[OUTPUT_TEXT_SIZE];

    if (json) {
        printf("{\"events\":%" PRIu64 ",\"streams\":%" PRIu64 ",\"cursors\":%" PRIu64 ",\"segments\":%" PRIu64
               ",\"index_bytes\":%" PRIu64 ",\"open_ms\":%.1f}\n",
               stats->events, stats->streams, stats->cursors, stats->log.segments, stats->index_bytes,
               (double)open_us / 1e3);
        return;
    }
    printf("%-16s %s\n", "events", output_count(stats->events, text));
    printf("%-16s %s\n", "streams", output_count(stats->streams, text));
    printf("%-16s %s\n", "cursors", output_count(stats->cursors, text));
    printf("%-16s %s\n", "segments", output_count(stats->log.segments, text));
    printf("%-16s %s\n", "index in memory", output_bytes((int64_t)stats->index_bytes, text));
    printf("%-16s %s\n", "opened in", output_duration(open_us, text));
}

enum banyan_status cmd_store_stats(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct store_target target = STORE_TARGET_INIT;
    const struct argp argp = {
        NULL,           parse_stats, NULL, "Print how much is in the store.  Takes no lock: a writer may be at work.",
        stats_children, NULL,        NULL};
    int64_t started = os_clock_monotonic_us(os_clock_real());
    struct store *store = NULL;
    struct store_stats stats;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store stats", argc, argv, &target);
    status = store_target_open(&target, true, &store, err);
    if (status != BANYAN_OK)
        return status;
    store_stats(store, &stats);
    print_stats(&stats, os_clock_monotonic_us(os_clock_real()) - started, target.common.json);
    store_close(store);
    return BANYAN_OK;
}
