/* SPDX-License-Identifier: Apache-2.0 */
/* banyan token create|list|revoke: who may use a running serve.  The secret is printed once and stored nowhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/buf.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/options.h"
#include "http/server.h"

enum {
    OPTION_ROLE = 0x700,
    OPTION_FILE,
};

struct token_command {
    struct options_common common;
    const char *name, *file, *role;
    bool wants_name, wants_role;
};

static const struct argp_option create_options[] = {
    {"role", OPTION_ROLE, "ROLE", 0, "read, append or admin; each includes those before it", 0},
    {"file", OPTION_FILE, "FILE", 0, "The tokens' file (default: http.tokens_file of the configuration)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};
static const struct argp_option *const other_options = &create_options[1];

static const struct argp_child token_children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_token(int key, char *argument, struct argp_state *state)
{
    struct token_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->common;
        return 0;
    case OPTION_ROLE:
        command->role = argument;
        return 0;
    case OPTION_FILE:
        command->file = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (!command->wants_name || command->name != NULL)
            argp_error(state, command->wants_name ? "one name at a time" : "there is nothing to name here");
        command->name = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->wants_name && command->name == NULL)
            argp_error(state, "which token? Name it after who uses it");
        if (command->wants_role && command->role == NULL)
            argp_error(state, "what may it do? --role read, append or admin");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The file; *ret_config keeps its name alive. */
static enum banyan_status find_file(const struct token_command *command, struct config **ret_config, const char **ret,
                                    struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    *ret = command->file;
    if (command->file != NULL)
        return BANYAN_OK;
    st = config_load(command->common.config, ret_config, err);
    if (st != BANYAN_OK)
        return st;
    *ret = (*ret_config)->http->tokens_file;
    if (*ret != NULL)
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_CONFIG, "%s has no http.tokens_file", command->common.config);
    banyan_error_hint(err, "set it, or say --file FILE");
    return BANYAN_CONFIG;
}

enum banyan_status cmd_token_create(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct token_command command = {.common = OPTIONS_COMMON_INIT, .wants_name = true, .wants_role = true};
    const struct argp argp = {create_options, parse_token, "NAME", "Make a token, print it once, store its hash.",
                              token_children, NULL,        NULL};
    struct config *config = NULL;
    enum http_role role = HTTP_ROLE_NONE;
    char token[HTTP_TOKEN_TEXT_SIZE];
    const char *file;
    (void)cli;
    options_parse(&argp, "banyan token create", argc, argv, &command);
    for (int i = HTTP_ROLE_READ; i < HTTP_ROLE_COUNT; i++)
        if (strcmp(command.role, http_role_name((enum http_role)i)) == 0)
            role = (enum http_role)i;
    if (role == HTTP_ROLE_NONE)
        return banyan_error_set(err, BANYAN_USAGE, "\"%s\" is no role: read, append or admin", command.role);
    enum banyan_status st = find_file(&command, &config, &file, err);
    if (st == BANYAN_OK)
        st = http_token_create(file, command.name, role, token, err);
    if (st == BANYAN_OK && command.common.json)
        printf("{\"name\":\"%s\",\"role\":\"%s\",\"token\":\"%s\"}\n", command.name, http_role_name(role), token);
    else if (st == BANYAN_OK)
        printf("%s\n", token);
    explicit_bzero(token, sizeof(token));
    config_free(config);
    return st;
}

enum banyan_status cmd_token_list(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct token_command command = {.common = OPTIONS_COMMON_INIT};
    const struct argp argp = {other_options,  parse_token, NULL, "List the tokens: names, roles, when they were made.",
                              token_children, NULL,        NULL};
    static const struct banyan_field field = {"time", BANYAN_FIELD_TIME, 0, 0, 0};
    struct http_token_info *infos = NULL;
    struct config *config = NULL;
    const char *file;
    size_t count = 0;
    (void)cli;
    options_parse(&argp, "banyan token list", argc, argv, &command);
    enum banyan_status st = find_file(&command, &config, &file, err);
    if (st == BANYAN_OK)
        st = http_token_list(file, &infos, &count, err);
    for (size_t i = 0; i < count; i++) {
        struct banyan_buf time = BANYAN_BUF_INIT(64);
        banyan_field_json(&field, &infos[i].created_at, &time);
        if (command.common.json)
            printf("{\"name\":\"%s\",\"role\":\"%s\",\"created_at\":%s}\n", infos[i].name,
                   http_role_name(infos[i].role), time.data);
        else
            printf("%-24s %-8s %.*s\n", infos[i].name, http_role_name(infos[i].role), (int)time.size - 2,
                   time.data + 1);
        banyan_buf_release(&time);
    }
    free(infos);
    config_free(config);
    return st;
}

enum banyan_status cmd_token_revoke(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct token_command command = {.common = OPTIONS_COMMON_INIT, .wants_name = true};
    const struct argp argp = {
        other_options,  parse_token, "NAME", "End a token: a running serve knows within a second.",
        token_children, NULL,        NULL};
    struct config *config = NULL;
    const char *file;
    (void)cli;
    options_parse(&argp, "banyan token revoke", argc, argv, &command);
    enum banyan_status st = find_file(&command, &config, &file, err);
    if (st == BANYAN_OK)
        st = http_token_revoke(file, command.name, err);
    config_free(config);
    return st;
}
