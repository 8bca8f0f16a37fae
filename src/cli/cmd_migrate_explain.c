/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan migrate explain-lock: one statement, measured on a throwaway copy of the schema.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cmd_migrate.h"
#include "cli/options.h"
#include "migrate/oracle.h"

enum {
    OPTION_CONNINFO = 0x900,
    OPTION_FORMAT,
};

struct explain_command {
    const char *conninfo, *statement;
    bool json;
};

static const struct argp_option explain_options[] = {
    {"conninfo", OPTION_CONNINFO, "CONNINFO", 0,
     "Database whose schema is copied; the role needs CREATEDB.  Nothing is run in it", 0},
    {"format", OPTION_FORMAT, "FORMAT", 0, "text or json (default text)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct explain_command *command = state->input;

    switch (key) {
    case OPTION_CONNINFO:
        command->conninfo = argument;
        return 0;
    case OPTION_FORMAT:
        command->json = strcmp(argument, "json") == 0;
        if (!command->json && strcmp(argument, "text") != 0)
            argp_error(state, "--format of explain-lock is text or json");
        return 0;
    case ARGP_KEY_ARG:
        if (command->statement != NULL)
            argp_error(state, "too many arguments");
        command->statement = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->statement == NULL)
            argp_error(state, "which statement?");
        if (command->conninfo == NULL)
            argp_error(state, "explain-lock needs --conninfo: the schema is copied from there");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_text(const struct oracle_result *result)
{
    if (result->failed)
        printf("the server refuses it: %s\n", result->failure.data);
    for (size_t i = 0; i < result->relation_count; i++) {
        const struct oracle_relation *relation = &result->relations[i];

        printf("%.*s: %s (%s)%s", (int)relation->name.size, relation->name.data, effect_lock_name(relation->lock),
               effect_lock_stops(relation->lock), relation->rewritten ? ", written anew" : "");
        if (relation->scans > 0)
            printf(", read %" PRId64 " time%s", relation->scans, relation->scans == 1 ? "" : "s");
        putchar('\n');
    }
    for (size_t i = 0; i < result->work_count; i++)
        printf("work: %.*s\n", (int)result->work[i].size, result->work[i].data);
    if (!result->failed && result->relation_count == 0)
        puts("locks no relation");
}

static void print_json(const struct oracle_result *result)
{
    struct banyan_buf text = BANYAN_BUF_INIT(MIGRATE_REPORT_BYTES_MAX);

    banyan_buf_printf(&text, "{\"failed\":%s,\"failure\":", result->failed ? "true" : "false");
    banyan_buf_add_json(&text, result->failed ? result->failure : BANYAN_STR(""));
    banyan_buf_add_text(&text, ",\"relations\":[");
    for (size_t i = 0; i < result->relation_count; i++) {
        const struct oracle_relation *relation = &result->relations[i];

        banyan_buf_add_text(&text, i > 0 ? ",{\"name\":" : "{\"name\":");
        banyan_buf_add_json(&text, relation->name);
        banyan_buf_printf(&text, ",\"lock\":\"%s\",\"rewritten\":%s,\"scans\":%" PRId64 "}",
                          effect_lock_name(relation->lock), relation->rewritten ? "true" : "false", relation->scans);
    }
    banyan_buf_add_text(&text, "],\"work\":[");
    for (size_t i = 0; i < result->work_count; i++) {
        banyan_buf_add_text(&text, i > 0 ? "," : "");
        banyan_buf_add_json(&text, result->work[i]);
    }
    banyan_buf_add_text(&text, "]}\n");
    (void)fwrite(text.data, 1, text.size, stdout); /* nobody else to tell */
    banyan_buf_release(&text);
}

static enum banyan_status measure(const char *copy, const char *statement, struct banyan_arena *arena,
                                  struct oracle_result *ret, struct banyan_error *err)
{
    struct pg_options options = {.conninfo = copy, .application_name = "banyan migrate explain-lock"};
    struct pg_conn *conn = NULL;
    enum banyan_status st = pg_connect(&options, &conn, err);

    if (st == BANYAN_OK)
        st = oracle_measure(conn, BANYAN_STR(""), banyan_str_of(statement), arena, ret, err);
    pg_close(conn);
    return st;
}

enum banyan_status migrate_explain_lock(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct explain_command command = {.json = false};
    const struct argp argp = {explain_options,
                              parse_option,
                              "STATEMENT",
                              "Runs the statement in a transaction that is rolled back, on a throwaway database with "
                              "the same schema, and tells "
                              "what it locked, rewrote and read there.",
                              NULL,
                              NULL,
                              NULL};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct oracle_result result = {.failed = false};
    struct banyan_error dropping = BANYAN_ERROR_INIT;
    const char *copy = NULL;
    enum banyan_status st;

    (void)cli;
    options_parse(&argp, "banyan migrate explain-lock", argc, argv, &command);
    st = oracle_copy(command.conninfo, &arena, &copy, err);
    if (st == BANYAN_OK) {
        st = measure(copy, command.statement, &arena, &result, err);
        if (oracle_drop(command.conninfo, copy, &dropping) != BANYAN_OK && st == BANYAN_OK) {
            st = dropping.status;
            *err = dropping;
        }
    }
    if (st == BANYAN_OK && command.json)
        print_json(&result);
    else if (st == BANYAN_OK)
        print_text(&result);
    banyan_arena_release(&arena);
    return st;
}
