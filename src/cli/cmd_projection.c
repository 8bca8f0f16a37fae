/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan projection VERB: rebuild, go back, pause, retry: asked of a running `banyan serve` (docs/HTTP.md).
 *
 * A rebuild runs in the serve whether somebody watches or not; --wait shows its phases with the ETA until the switch.
 */
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
#include "cli/table.h"
#include "os/stop.h"

enum {
    OPTION_WAIT = 0x800,
    OPTION_GENERATION,
    OPTION_KEY,
    OPTION_STREAM,
    LOOK_EVERY_US = 200 * 1000,
    CELL_SIZE = 96,
    PATH_MAX_BYTES = 8192,
};

struct projection_command {
    struct options_common common;
    const char *verb;
    const char *name;
    const char *number; /* of limit */
    bool needs_name, wait;
    uint64_t generation;
    const char *key, *stream;
    struct os_stop stop;
    struct output_progress progress;
};

/* ---- options ---- */

static const struct argp_child children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp_option rebuild_options[] = {
    {"wait", OPTION_WAIT, NULL, 0, "Show the phases and the ETA until the new generation serves", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option drop_options[] = {
    {"generation", OPTION_GENERATION, "N", 0, "Only this one (default: all that do not serve)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option retry_options[] = {
    {"key", OPTION_KEY, "KEY", 0, "Key that was put aside", 0},
    {"stream", OPTION_STREAM, "NAME", 0, "Stream that was put aside", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct projection_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->common;
        return 0;
    case OPTION_WAIT:
        command->wait = true;
        return 0;
    case OPTION_GENERATION:
        command->generation = options_number(state, "--generation", argument, 1, UINT32_MAX);
        return 0;
    case OPTION_KEY:
        command->key = argument;
        return 0;
    case OPTION_STREAM:
        command->stream = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (command->name == NULL && command->needs_name)
            command->name = argument;
        else if (command->number == NULL && strcmp(command->verb, "limit") == 0)
            command->number = argument;
        else
            argp_error(state, "too many arguments");
        return 0;
    case ARGP_KEY_END:
        if (command->needs_name && command->name == NULL)
            argp_error(state, "which projection? `banyan projection list` shows them");
        if (strcmp(command->verb, "limit") == 0 && command->number == NULL)
            argp_error(state, "how many events a second? 0: no limit");
        if (strcmp(command->verb, "retry") == 0 && (command->key == NULL) == (command->stream == NULL))
            argp_error(state, "retry needs --key KEY or --stream NAME; `banyan projection asides` shows them");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- printing ---- */

/* What is left; "-": nothing. */
static const char *seconds(const json_t *object, const char *key, char ret[OUTPUT_TEXT_SIZE])
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        return "unknown";
    return json_number_value(value) == 0 ? "-" : output_duration((int64_t)(json_number_value(value) * 1e6), ret);
}

static void print_projections(const json_t *projections)
{
    static const char *const columns[] = {"projection", "state", "generation", "position",
                                          "behind",     "aside", "rebuild",    "eta"};
    enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
    struct table *table = table_new("projections", columns, COLUMNS);
    const json_t *projection;
    size_t i;
    json_array_foreach (projections, i, projection) {
        const json_t *rebuild = json_object_get(projection, "rebuild");
        char cells[COLUMNS][CELL_SIZE], buffer[OUTPUT_TEXT_SIZE];
        const char *row[COLUMNS];
        uint64_t position = answer_number(projection, "position"), tail = answer_number(projection, "tail");
        (void)snprintf(cells[0], CELL_SIZE, "%s", answer_text(projection, "name"));
        (void)snprintf(cells[1], CELL_SIZE, "%s", answer_text(projection, "state"));
        (void)snprintf(cells[2], CELL_SIZE, "%" PRIu64, answer_number(projection, "generation"));
        (void)snprintf(cells[3], CELL_SIZE, "%s", output_count(position, buffer));
        (void)snprintf(cells[4], CELL_SIZE, "%s", output_count(tail > position ? tail - position : 0, buffer));
        (void)snprintf(cells[5], CELL_SIZE, "%" PRIu64, answer_number(projection, "aside"));
        (void)snprintf(cells[6], CELL_SIZE, "%s", json_is_object(rebuild) ? answer_text(rebuild, "phase") : "-");
        (void)snprintf(cells[7], CELL_SIZE, "%s",
                       json_is_object(rebuild) ? seconds(rebuild, "eta_s", buffer)
                                               : seconds(projection, "eta_s", buffer));
        for (size_t c = 0; c < COLUMNS; c++)
            row[c] = cells[c];
        table_add(table, row);
    }
    table_print(table, stdout, false);
    table_free(table);
}

static void print_generations(const json_t *generations)
{
    static const char *const columns[] = {"generation", "state", "version", "position", "made at", "serves since"};
    enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
    struct table *table = table_new("generations", columns, COLUMNS);
    const json_t *generation;
    size_t i;
    json_array_foreach (generations, i, generation) {
        char cells[3][CELL_SIZE], buffer[OUTPUT_TEXT_SIZE];
        (void)snprintf(cells[0], CELL_SIZE, "%" PRIu64, answer_number(generation, "number"));
        (void)snprintf(cells[1], CELL_SIZE, "%" PRIu64, answer_number(generation, "version"));
        (void)snprintf(cells[2], CELL_SIZE, "%s", output_count(answer_number(generation, "position"), buffer));
        const char *row[COLUMNS] = {cells[0], answer_text(generation, "state"),   cells[1],
                                    cells[2], answer_text(generation, "made_at"), answer_text(generation, "served_at")};
        table_add(table, row);
    }
    table_print(table, stdout, false);
    table_free(table);
}

static void print_asides(const json_t *asides)
{
    const json_t *aside;
    size_t i;
    json_array_foreach (asides, i, aside) {
        if (json_is_integer(json_object_get(aside, "key")))
            printf("key %" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(aside, "key")));
        else
            printf("stream %s", answer_text(aside, "stream"));
        printf(": event %" PRIu64 " of %s, %" PRIu64 " held since %s\n  reason: %s\n", answer_number(aside, "position"),
               answer_text(aside, "stream"), answer_number(aside, "held"), answer_text(aside, "at"),
               answer_text(aside, "reason"));
    }
    if (json_array_size(asides) == 0)
        puts("nothing is aside");
}

static void print_answer(const struct projection_command *command, const json_t *answer)
{
    if (command->common.json) {
        (void)json_dumpf(answer, stdout, JSON_COMPACT); /* to standard output: nobody else to tell */
        putchar('\n');
        return;
    }
    if (strcmp(command->verb, "asides") == 0) {
        print_asides(json_object_get(answer, "asides"));
        return;
    }
    const json_t *all = json_object_get(answer, "projections");
    if (all != NULL) {
        print_projections(all);
        return;
    }
    json_t *one = json_array();
    (void)json_array_append(one, (json_t *)(uintptr_t)answer); /* fails without memory: an empty table */
    print_projections(one);
    json_decref(one);
    if (json_object_get(answer, "generations") != NULL)
        print_generations(json_object_get(answer, "generations"));
    const json_t *error = json_object_get(answer, "error");
    if (json_is_object(error))
        printf("  error: %s\n  hint: %s\n", answer_text(error, "message"), answer_text(error, "hint"));
}

/* ---- asking ---- */

static void add_path(const struct projection_command *command, const char *action, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, "/projections");
    if (command->name == NULL)
        return;
    banyan_buf_add_char(ret, '/');
    client_add_escaped(ret, command->name);
    if (action == NULL)
        return;
    banyan_buf_printf(ret, "/%s", action);
    if (command->generation != 0)
        banyan_buf_printf(ret, "?generation=%" PRIu64, command->generation);
    if (command->number != NULL) {
        banyan_buf_add_text(ret, "?events-per-second=");
        client_add_escaped(ret, command->number);
    }
    if (command->key != NULL || command->stream != NULL) {
        banyan_buf_add_text(ret, command->key != NULL ? "?key=" : "?stream=");
        client_add_escaped(ret, command->key != NULL ? command->key : command->stream);
    }
}

static enum banyan_status ask(const struct projection_command *command, const struct config *config,
                              enum client_method method, const char *action, json_t **ret, struct banyan_error *err)
{
    struct banyan_buf path = BANYAN_BUF_INIT(PATH_MAX_BYTES);
    add_path(command, action, &path);
    enum banyan_status st = path.overflow ? banyan_error_set(err, BANYAN_USAGE, "the arguments are too long")
                                          : client_send(config, method, path.data, BANYAN_STR(""), ret, err);
    banyan_buf_release(&path);
    return st;
}

/* Until no rebuild runs; *ret is the last answer.  *before*: the generation that served when it was asked for. */
static enum banyan_status watch(struct projection_command *command, const struct config *config, uint64_t before,
                                json_t **ret, struct banyan_error *err)
{
    while (json_is_object(json_object_get(*ret, "rebuild"))) {
        const json_t *rebuild = json_object_get(*ret, "rebuild");
        const json_t *eta = json_object_get(rebuild, "eta_s");
        double done = json_number_value(json_object_get(rebuild, "done"));
        int64_t eta_us = json_is_number(eta) ? (int64_t)(json_number_value(eta) * 1e6) : INT64_MAX;
        double elapsed = json_number_value(json_object_get(rebuild, "elapsed_s"));
        uint64_t events = answer_number(rebuild, "events_done");
        if (!command->common.json)
            output_progress_draw(&command->progress, answer_text(rebuild, "phase"), (uint64_t)(done * 1000), 1000,
                                 elapsed > 0 ? (double)events / elapsed : 0, eta_us, false);
        if (os_stop_wait(&command->stop, LOOK_EVERY_US)) {
            output_progress_end(&command->progress);
            fputs("the rebuild goes on; `banyan projection show` tells how far it is\n", stderr);
            return BANYAN_STOPPED;
        }
        json_decref(*ret);
        *ret = NULL;
        enum banyan_status st = ask(command, config, CLIENT_GET, NULL, ret, err);
        if (st != BANYAN_OK)
            return st;
    }
    output_progress_end(&command->progress);
    if (answer_number(*ret, "generation") != before)
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_MISMATCH, "the rebuild ended, and generation %" PRIu64 " still serves", before);
    banyan_error_hint(err, "`banyan projection show %s` tells the last error", command->name);
    return BANYAN_MISMATCH;
}

static enum banyan_status run(struct projection_command *command, const char *doc, const struct argp_option *options,
                              int argc, char **argv, struct banyan_error *err)
{
    const struct argp argp = {options, parse_option, NULL, doc, children, NULL, NULL};
    struct argp named = argp;
    struct config *config = NULL;
    json_t *answer = NULL, *before = NULL;
    char title[64];
    bool looks = strcmp(command->verb, "list") == 0 || strcmp(command->verb, "show") == 0;
    const char *action = looks ? NULL : command->verb;

    named.args_doc = !command->needs_name ? NULL : strcmp(command->verb, "limit") == 0 ? "NAME EVENTS" : "NAME";
    (void)snprintf(title, sizeof(title), "banyan projection %s", command->verb); /* fits: verbs are short */
    options_parse(&named, title, argc, argv, command);
    output_progress_init(&command->progress, stderr);
    enum banyan_status st = os_stop_open(&command->stop, err);
    if (st == BANYAN_OK)
        st = os_stop_on_signals(&command->stop, err);
    if (st == BANYAN_OK)
        st = config_load(command->common.config, &config, err);
    if (st == BANYAN_OK && command->wait) /* a short one may be over before its answer is here */
        st = ask(command, config, CLIENT_GET, NULL, &before, err);
    if (st == BANYAN_OK)
        st = ask(command, config, looks || strcmp(action, "asides") == 0 ? CLIENT_GET : CLIENT_POST, action, &answer,
                 err);
    if (st == BANYAN_OK && command->wait)
        st = watch(command, config, answer_number(before, "generation"), &answer, err);
    if (answer != NULL && st == BANYAN_OK)
        print_answer(command, answer);
    json_decref(before);
    json_decref(answer);
    config_free(config);
    os_stop_close(&command->stop);
    return st;
}

/* ---- verbs ---- */

#define VERB(function, name, named, options, doc)                                                                      \
    static enum banyan_status function(struct cli *cli, int argc, char **argv, struct banyan_error *err)               \
    {                                                                                                                  \
        struct projection_command command = {.common = OPTIONS_COMMON_INIT, .verb = (name), .needs_name = (named)};    \
        (void)cli;                                                                                                     \
        return run(&command, (doc), (options), argc, argv, err);                                                       \
    }

VERB(list, "list", false, NULL, "All projections: state, generation, position, rebuild, ETA.")
VERB(show, "show", true, NULL, "One projection and all its generations.")
VERB(rebuild, "rebuild", true, rebuild_options,
     "Build a new generation beside the one that serves, then switch.  It runs in the serve; nothing waits for it.")
VERB(cancel, "cancel", true, NULL, "Stop a rebuild and drop what it made; what serves goes on.")
VERB(rollback, "rollback", true, NULL, "Let the generation before serve again, once it has caught up.")
VERB(drop, "drop", true, drop_options, "Drop generations that do not serve.")
VERB(pause_verb, "pause", true, NULL, "Follow the log no more, also after a restart; readers are answered.")
VERB(resume_verb, "resume", true, NULL, "Follow the log again.")
VERB(limit, "limit", true, NULL, "At most EVENTS a second for a rebuild, also one that runs; 0: no limit.")
VERB(asides, "asides", true, NULL, "Keys and streams that were put aside, and why.")
VERB(retry, "retry", true, retry_options, "Apply the events of a key that was put aside, in their order.")

static const struct cli_command verbs[] = {
    {"list", "all projections", list},
    {"show", "one, with its generations", show},
    {"rebuild", "build a new generation beside it, then switch", rebuild},
    {"cancel", "stop a rebuild", cancel},
    {"rollback", "let the generation before serve again", rollback},
    {"drop", "drop generations that do not serve", drop},
    {"pause", "follow the log no more", pause_verb},
    {"resume", "follow it again", resume_verb},
    {"limit", "speed of a rebuild", limit},
    {"asides", "what was put aside, and why", asides},
    {"retry", "try a key that was put aside again", retry},
};

enum banyan_status cmd_projection(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    return cli_verb(cli, "projection", "Read models: rebuild them, go back, pause them, retry what was put aside.",
                    verbs, sizeof(verbs) / sizeof(verbs[0]), argc, argv, err);
}
