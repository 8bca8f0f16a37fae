/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan stream read NAME: the events of a stream, from a running `banyan serve`, else straight from the log.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/buf.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/config.h"
#include "cli/event_text.h"
#include "cli/options.h"
#include "cli/output.h"
#include "http/server.h"
#include "store/store.h"

enum {
    OPTION_FROM = 0x500,
    OPTION_LIMIT,
    OPTION_OFFLINE,
    EVENT_JSON_BYTES_MAX = 512 * 1024 * 1024,
};

struct stream_command {
    struct options_common common;
    const char *name;
    uint64_t from, limit; /* limit 0: all */
    bool offline;
    uint64_t shown;
};

static const struct argp_option stream_option_list[] = {
    {"from", OPTION_FROM, "VERSION", 0, "First version to show (default: 1)", 0},
    {"limit", OPTION_LIMIT, "N", 0, "Show at most N events (default: all)", 0},
    {"offline", OPTION_OFFLINE, NULL, 0, "Read the log itself, do not ask a running serve", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child stream_children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_stream(int key, char *argument, struct argp_state *state)
{
    struct stream_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->common;
        return 0;
    case OPTION_FROM:
        command->from = options_number(state, "--from", argument, 1, INT64_MAX);
        return 0;
    case OPTION_LIMIT:
        command->limit = options_number(state, "--limit", argument, 1, INT64_MAX);
        return 0;
    case OPTION_OFFLINE:
        command->offline = true;
        return 0;
    case ARGP_KEY_ARG:
        if (command->name != NULL)
            argp_error(state, "one stream at a time");
        command->name = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->name == NULL)
            argp_error(state, "which stream? For example: banyan stream read order-1");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* False: enough. */
static bool show(struct stream_command *command, struct banyan_str event)
{
    if (command->limit != 0 && command->shown == command->limit)
        return false;
    command->shown++;
    return event_text_print(event, command->common.json, false);
}

static bool show_seen(void *context, const struct banyan_client_seen *event)
{
    return show(context, event->json);
}

static enum banyan_status read_served(struct stream_command *command, const struct config *config,
                                      struct banyan_error *err)
{
    struct banyan_client *client = NULL;
    enum banyan_status st = client_open(config, &client, err);

    if (st == BANYAN_OK)
        st = banyan_client_read(client, banyan_str_of(command->name), (struct banyan_version){command->from}, show_seen,
                                command, err);
    banyan_client_close(client);
    return st;
}

static enum banyan_status read_offline(struct stream_command *command, const struct config *config,
                                       const struct banyan_domain *domain, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(EVENT_JSON_BYTES_MAX);
    struct store_read_event event;
    struct store_reader *reader = NULL;
    struct store *store = NULL;
    enum banyan_status st = store_open(&(struct store_options){.folder = config->data, .read_only = true}, &store, err);
    if (st != BANYAN_OK)
        goto out;
    reader = store_reader_open(store);
    st = store_reader_stream(reader, banyan_str_of(command->name), (struct banyan_version){command->from}, err);
    if (st == BANYAN_NOT_FOUND)
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "there is no stream %s", command->name);
    while (st == BANYAN_OK) {
        st = store_reader_next(reader, &event, err);
        if (st != BANYAN_OK)
            break;
        banyan_buf_reset(&text);
        http_event_json(domain, NULL, &event, &text);
        if (!show(command, banyan_buf_str(&text)))
            break;
    }
    if (st == BANYAN_NOT_FOUND && command->shown > 0)
        st = BANYAN_OK;
out:
    store_reader_close(reader);
    store_close(store);
    banyan_buf_release(&text);
    return st;
}

enum banyan_status cmd_stream_read(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct stream_command command = {.common = OPTIONS_COMMON_INIT, .from = 1};
    const struct argp argp = {stream_option_list,
                              parse_stream,
                              "NAME",
                              "Print the events of a stream, oldest first.  With --json one object a line.",
                              stream_children,
                              NULL,
                              NULL};
    const struct banyan_domain *domain = NULL;
    struct config *config = NULL;

    options_parse(&argp, "banyan stream read", argc, argv, &command);
    enum banyan_status st = config_load(command.common.config, &config, err);
    if (st == BANYAN_OK && config->domain != NULL)
        st = cli_domain(cli, config->domain, &domain, err);
    if (st != BANYAN_OK)
        goto out;
    st = command.offline ? BANYAN_UNAVAILABLE : read_served(&command, config, err);
    if (st == BANYAN_UNAVAILABLE && command.shown == 0) {
        banyan_error_clear(err);
        st = read_offline(&command, config, domain, err);
    }
out:
    config_free(config);
    return st;
}
