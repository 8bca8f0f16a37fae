/* SPDX-License-Identifier: Apache-2.0 */
/* banyan status: what a running `banyan serve` does, once or again and again. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/config.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/rollout_text.h"
#include "cli/table.h"
#include "os/stop.h"

enum {
    OPTION_WATCH = 0x400,
    CELL_SIZE = 96,
};

struct status_command {
    struct options_common common;
    bool watch;
    uint64_t interval_s;
};

static const struct argp_option status_option_list[] = {
    {"watch", OPTION_WATCH, "SECONDS", OPTION_ARG_OPTIONAL, "Print again every SECONDS (default: 1) until Ctrl-C", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child status_children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_status(int key, char *argument, struct argp_state *state)
{
    struct status_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->common;
        return 0;
    case OPTION_WATCH:
        command->watch = true;
        command->interval_s = argument == NULL ? 1 : options_number(state, "--watch", argument, 1, 3600);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A number of seconds or null as a duration. */
static const char *seconds(const json_t *object, const char *key, char ret[OUTPUT_TEXT_SIZE])
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        return "unknown";
    return output_duration((int64_t)(json_number_value(value) * 1e6), ret);
}

static void print_error(const json_t *object)
{
    const json_t *error = json_object_get(object, "error");
    if (json_is_object(error))
        printf("  error: %s\n  hint: %s\n", answer_text(error, "message"), answer_text(error, "hint"));
    else if (json_is_string(error))
        printf("  error: %s\n", json_string_value(error));
}

/* The backfill of each mapping, where there are several. */
static void print_mappings(const json_t *mappings)
{
    for (size_t i = 0; json_array_size(mappings) > 1 && i < json_array_size(mappings); i++) {
        const json_t *mapping = json_array_get(mappings, i);
        char a[OUTPUT_TEXT_SIZE], b[OUTPUT_TEXT_SIZE];
        printf("          %s: %s of %s keys%s\n", answer_text(mapping, "category"),
               output_count(answer_number(mapping, "roots_read"), a),
               output_count(answer_number(mapping, "rows_estimated"), b),
               json_is_true(json_object_get(mapping, "done")) ? ", done" : "");
    }
}

static void print_legacy(const json_t *legacy)
{
    const json_t *backfill = json_object_get(legacy, "backfill");
    const json_t *capture = json_object_get(legacy, "capture");
    const json_t *slot = json_object_get(legacy, "slot");
    char a[OUTPUT_TEXT_SIZE], b[OUTPUT_TEXT_SIZE], c[OUTPUT_TEXT_SIZE];
    printf("legacy    %s\n", answer_text(legacy, "state"));
    printf("backfill  %s of %s keys, %s, %s\n", output_count(answer_number(backfill, "roots_read"), a),
           output_count(answer_number(backfill, "rows_estimated"), b),
           json_is_true(json_object_get(backfill, "done")) ? "done" : "running",
           json_is_true(json_object_get(backfill, "done")) ? seconds(backfill, "elapsed_s", c) : "ETA below");
    if (!json_is_true(json_object_get(backfill, "done")))
        printf("          %.0f keys/s, ETA %s\n", json_number_value(json_object_get(backfill, "roots_per_second")),
               seconds(backfill, "eta_s", a));
    print_mappings(json_object_get(backfill, "mappings"));
    printf("          events: %s exact, %s inferred, %s reconciled\n",
           output_count(answer_number(backfill, "exact"), a), output_count(answer_number(backfill, "inferred"), b),
           output_count(answer_number(backfill, "reconciled"), c));
    printf("capture   %s transactions, %s events, lag p50 %.1f ms, p99 %.1f ms, %s behind\n",
           output_count(answer_number(capture, "transactions"), a), output_count(answer_number(capture, "events"), b),
           json_number_value(json_object_get(capture, "lag_ms_p50")),
           json_number_value(json_object_get(capture, "lag_ms_p99")),
           output_bytes((int64_t)answer_number(capture, "lag_bytes"), c));
    printf("slot      %s, keeps %s of WAL%s\n", answer_text(slot, "wal_status"),
           output_bytes((int64_t)answer_number(slot, "kept_bytes"), a),
           json_is_true(json_object_get(slot, "alarm")) ? "  ALARM" : "");
    print_error(legacy);
}

/* "fold 42 %, 12 s left" */
static void rebuild_cell(const json_t *rebuild, char ret[CELL_SIZE])
{
    char left[OUTPUT_TEXT_SIZE];
    if (!json_is_object(rebuild)) {
        (void)snprintf(ret, CELL_SIZE, "-");
        return;
    }
    (void)snprintf(ret, CELL_SIZE, "%s %.0f %%, %s left", answer_text(rebuild, "phase"),
                   json_number_value(json_object_get(rebuild, "done")) * 100, seconds(rebuild, "eta_s", left));
}

static void print_views(const json_t *views)
{
    static const char *const columns[] = {"view",    "state",   "position", "behind",     "rate",   "eta",
                                          "lag p50", "lag p99", "aside",    "last event", "rebuild"};
    enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
    struct table *table = table_new("views", columns, COLUMNS);
    const json_t *view;
    size_t i;
    json_array_foreach (views, i, view) {
        char cells[COLUMNS][CELL_SIZE];
        char number_text[OUTPUT_TEXT_SIZE];
        const char *row[COLUMNS];
        uint64_t position = answer_number(view, "position"), tail = answer_number(view, "tail");
        (void)snprintf(cells[0], CELL_SIZE, "%s", answer_text(view, "name"));
        (void)snprintf(cells[1], CELL_SIZE, "%s", answer_text(view, "state"));
        (void)snprintf(cells[2], CELL_SIZE, "%s", output_count(position, number_text));
        (void)snprintf(cells[3], CELL_SIZE, "%s", output_count(tail > position ? tail - position : 0, number_text));
        (void)snprintf(cells[4], CELL_SIZE, "%.0f/s", json_number_value(json_object_get(view, "events_per_second")));
        (void)snprintf(cells[5], CELL_SIZE, "%s",
                       strcmp(answer_text(view, "state"), "live") == 0 ? "-" : seconds(view, "eta_s", number_text));
        (void)snprintf(cells[6], CELL_SIZE, "%.1f ms", json_number_value(json_object_get(view, "lag_ms_p50")));
        (void)snprintf(cells[7], CELL_SIZE, "%.1f ms", json_number_value(json_object_get(view, "lag_ms_p99")));
        (void)snprintf(cells[8], CELL_SIZE, "%" PRIu64, answer_number(view, "aside"));
        (void)snprintf(cells[9], CELL_SIZE, "%s", answer_text(view, "last_event_at"));
        rebuild_cell(json_object_get(view, "rebuild"), cells[10]);
        for (size_t c = 0; c < COLUMNS; c++)
            row[c] = cells[c];
        table_add(table, row);
    }
    table_print(table, stdout, false);
    table_free(table);
    json_array_foreach (views, i, view)
        print_error(view);
}

static void print_status(const json_t *status)
{
    const json_t *log = json_object_get(status, "log");
    const json_t *legacy = json_object_get(status, "legacy");
    char a[OUTPUT_TEXT_SIZE], b[OUTPUT_TEXT_SIZE], c[OUTPUT_TEXT_SIZE];
    printf("banyan %s, domain %s, up %s, %s\n", answer_text(status, "version"), answer_text(status, "domain"),
           seconds(status, "uptime_s", a), json_is_true(json_object_get(status, "ready")) ? "ready" : "not ready yet");
    printf("log       %s events in %s streams, %s%s\n", output_count(answer_number(log, "events"), a),
           output_count(answer_number(log, "streams"), b), output_bytes((int64_t)answer_number(log, "bytes"), c),
           json_is_false(json_object_get(log, "healthy")) ? "  BROKEN" : "");
    if (json_is_object(legacy))
        print_legacy(legacy);
    rollout_print_line(json_object_get(status, "rollout"));
    print_views(json_object_get(status, "views"));
}

static enum banyan_status show_once(const struct status_command *command, const struct config *config,
                                    struct banyan_error *err)
{
    json_t *status = NULL;
    enum banyan_status st = client_get(config, "/status", &status, err);
    if (st != BANYAN_OK)
        return st;
    if (command->common.json) {
        (void)json_dumpf(status, stdout, JSON_COMPACT); /* to standard output: nobody else to tell */
        putchar('\n');
    } else {
        if (command->watch && output_colored(stdout))
            fputs("\033[H\033[2J", stdout);
        print_status(status);
    }
    fflush(stdout);
    json_decref(status);
    return BANYAN_OK;
}

enum banyan_status cmd_status(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct status_command command = {.common = OPTIONS_COMMON_INIT, .interval_s = 1};
    const struct argp argp = {status_option_list,
                              parse_status,
                              NULL,
                              "What a running `banyan serve` does: backfill, capture, slot, read models.",
                              status_children,
                              NULL,
                              NULL};
    struct config *config = NULL;
    struct os_stop stop;

    options_parse(&argp, "banyan status", argc, argv, &command);
    enum banyan_status st = os_stop_open(&stop, err);
    if (st == BANYAN_OK)
        st = os_stop_on_signals(&stop, err);
    if (st == BANYAN_OK)
        st = config_load(command.common.config, &config, err);
    do {
        if (st == BANYAN_OK)
            st = show_once(&command, config, err);
    } while (st == BANYAN_OK && command.watch && !os_stop_wait(&stop, (int64_t)command.interval_s * 1000000));
    config_free(config);
    os_stop_close(&stop);
    return st;
}
