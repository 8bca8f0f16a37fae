/* SPDX-License-Identifier: Apache-2.0 */
/* banyan process VERB: the process managers of a running `banyan serve`. */
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

enum {
    CELL_SIZE = 96,
};

struct process_command {
    struct options_common common;
    const char *name; /* of the process */
    bool takes_name;
};

/* ---- options ---- */

static const struct argp_child process_children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_process(int key, char *argument, struct argp_state *state)
{
    struct process_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->common;
        return 0;
    case ARGP_KEY_ARG:
        if (!command->takes_name || command->name != NULL)
            argp_error(state, "too many arguments");
        command->name = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->takes_name && command->name == NULL)
            argp_error(state, "it needs the NAME of a process");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void parse(struct process_command *command, const char *name, const char *doc, int argc, char **argv)
{
    const struct argp argp = {NULL, parse_process, command->takes_name ? "NAME" : NULL, doc, process_children,
                              NULL, NULL};
    options_parse(&argp, name, argc, argv, command);
}

/* ---- printing ---- */

static void print_list(const json_t *processes)
{
    static const char *const columns[] = {"process", "state", "position", "behind", "reactions", "timers", "aside"};
    enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };
    struct table *table = table_new("processes", columns, COLUMNS);
    const json_t *process;
    size_t i;
    json_array_foreach (processes, i, process) {
        char cells[COLUMNS][OUTPUT_TEXT_SIZE];
        uint64_t position = answer_number(process, "position"), tail = answer_number(process, "tail");
        table_add(table, (const char *const[]){answer_text(process, "name"), answer_text(process, "state"),
                                               output_count(position, cells[2]),
                                               output_count(tail > position ? tail - position : 0, cells[3]),
                                               output_count(answer_number(process, "reactions"), cells[4]),
                                               output_count(answer_number(process, "timers"), cells[5]),
                                               output_count(answer_number(process, "instances_aside"), cells[6])});
    }
    if (json_array_size(processes) > 0)
        table_print(table, stdout, false);
    else
        puts("the domain has no process");
    table_free(table);
}

static void print_aside(const json_t *aside)
{
    static const char *const columns[] = {"key", "position", "events", "error"};
    struct table *table = table_new("aside", columns, sizeof(columns) / sizeof(columns[0]));
    const json_t *instance;
    size_t i;
    json_array_foreach (aside, i, instance) {
        char position[OUTPUT_TEXT_SIZE], events[OUTPUT_TEXT_SIZE];
        table_add(table, (const char *const[]){
                             answer_text(instance, "key"), output_count(answer_number(instance, "position"), position),
                             output_count(answer_number(instance, "events"), events), answer_text(instance, "error")});
    }
    if (json_array_size(aside) > 0)
        table_print(table, stdout, false);
    table_free(table);
}

static void print_status(const json_t *process)
{
    char a[OUTPUT_TEXT_SIZE], b[OUTPUT_TEXT_SIZE], c[OUTPUT_TEXT_SIZE];
    uint64_t position = answer_number(process, "position"), tail = answer_number(process, "tail");
    printf("process    %s, %s\n", answer_text(process, "name"), answer_text(process, "state"));
    printf("position   %s, %s behind\n", output_count(position, a),
           output_count(tail > position ? tail - position : 0, b));
    printf("since      the start: %s events seen, %s reactions, %s events appended\n",
           output_count(answer_number(process, "seen"), a), output_count(answer_number(process, "reactions"), b),
           output_count(answer_number(process, "events"), c));
    printf("commands   %s, %s refused; %s decisions made anew\n", output_count(answer_number(process, "commands"), a),
           output_count(answer_number(process, "refused"), b), output_count(answer_number(process, "conflicts"), c));
    printf("timers     %s%s%s; %s time-outs so far\n", output_count(answer_number(process, "timers"), a),
           json_is_string(json_object_get(process, "next_wake")) ? ", the next at " : "",
           answer_text(process, "next_wake"), output_count(answer_number(process, "wakes"), b));
    printf("aside      %s instances, %s events\n", output_count(answer_number(process, "instances_aside"), a),
           output_count(answer_number(process, "events_aside"), b));
    print_aside(json_object_get(process, "aside"));
    if (json_is_string(json_object_get(process, "error")))
        printf("error      %s\n", answer_text(process, "error"));
}

/* ---- verbs ---- */

/* The answer to GET /processes, or one of them. */
static enum banyan_status ask(const struct process_command *command, json_t **ret, const json_t **ret_one,
                              struct banyan_error *err)
{
    struct config *config = NULL;
    json_t *answer = NULL;
    const json_t *process;
    size_t i;
    enum banyan_status st = config_load(command->common.config, &config, err);
    if (st == BANYAN_OK)
        st = client_get(config, "/processes", &answer, err);
    config_free(config);
    if (st != BANYAN_OK)
        return st;
    *ret = answer;
    *ret_one = NULL;
    if (command->name == NULL)
        return BANYAN_OK;
    json_array_foreach (json_object_get(answer, "processes"), i, process) {
        if (strcmp(answer_text(process, "name"), command->name) == 0)
            *ret_one = process;
    }
    if (*ret_one != NULL)
        return BANYAN_OK;
    (void)banyan_error_set(err, BANYAN_NOT_FOUND, "there is no process %s", command->name);
    banyan_error_hint(err, "`banyan process list` shows them");
    json_decref(answer);
    return BANYAN_NOT_FOUND;
}

static void print_json(const json_t *json)
{
    char *dump = json_dumps(json, JSON_COMPACT);
    puts(dump);
    free(dump);
}

enum banyan_status cmd_process_list(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct process_command command = {.common = OPTIONS_COMMON_INIT};
    json_t *answer;
    const json_t *one;
    (void)cli;
    parse(&command, "banyan process list", "List the process managers of a running `banyan serve`.", argc, argv);
    enum banyan_status st = ask(&command, &answer, &one, err);
    if (st != BANYAN_OK)
        return st;
    if (command.common.json)
        print_json(answer);
    else
        print_list(json_object_get(answer, "processes"));
    json_decref(answer);
    return BANYAN_OK;
}

enum banyan_status cmd_process_status(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct process_command command = {.common = OPTIONS_COMMON_INIT, .takes_name = true};
    json_t *answer;
    const json_t *one;
    (void)cli;
    parse(&command, "banyan process status", "What a process manager does, what waits, and what it put aside and why.",
          argc, argv);
    enum banyan_status st = ask(&command, &answer, &one, err);
    if (st != BANYAN_OK)
        return st;
    if (command.common.json)
        print_json(one);
    else
        print_status(one);
    json_decref(answer);
    return BANYAN_OK;
}

enum banyan_status cmd_process_retry(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct process_command command = {.common = OPTIONS_COMMON_INIT, .takes_name = true};
    struct banyan_buf path = BANYAN_BUF_INIT(8192);
    struct config *config = NULL;
    json_t *answer = NULL;
    (void)cli;
    parse(&command, "banyan process retry", "Try again what a process manager put aside.", argc, argv);
    banyan_buf_add_text(&path, "/processes/");
    client_add_escaped(&path, command.name);
    banyan_buf_add_text(&path, "/retry");
    enum banyan_status st = path.overflow ? banyan_error_set(err, BANYAN_INVALID, "the name is too long")
                                          : config_load(command.common.config, &config, err);
    if (st == BANYAN_OK)
        st = client_send(config, CLIENT_POST, path.data, (struct banyan_str){NULL, 0}, &answer, err);
    if (st == BANYAN_OK && command.common.json)
        print_json(answer);
    else if (st == BANYAN_OK)
        printf("%" PRIu64 " instances are tried again; `banyan process status %s` shows what comes of it\n",
               answer_number(answer, "instances_aside"), command.name);
    json_decref(answer);
    config_free(config);
    banyan_buf_release(&path);
    return st;
}
