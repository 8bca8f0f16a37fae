/* SPDX-License-Identifier: Apache-2.0 */
/* banyan_main(): finds the command, runs it, prints its error once, returns its exit code. */
#include "banyan/main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"
#include "cli/version.h"

static const struct cli_command commands[] = {
    {"init", "ask the database what it can, write a commented banyan.yaml", cmd_init},
    {"legacy check", "check everything that has to be right before the first start", cmd_legacy_check},
    {"serve", "backfill, capture, keep the read models, answer HTTP", cmd_serve},
    {"status", "what a running `banyan serve` does  [--watch] [--json]", cmd_status},
    {"verify", "compare every row and column of legacy and read model, live", cmd_verify},
    {"projection", "read models: `banyan projection --help` lists the verbs", cmd_projection},
    {"rollout", "move the traffic to Banyan in steps, and back: `banyan rollout --help` lists the verbs", cmd_rollout},
    {"query", "ask a read model", cmd_query},
    {"stream read", "print the events of a stream", cmd_stream_read},
    {"schema", "schemas of events: `banyan schema --help` lists the verbs", cmd_schema},
    {"process list", "the process managers of a running serve", cmd_process_list},
    {"process status", "one of them: what it does, what waits, what it put aside and why", cmd_process_status},
    {"process retry", "try again what it put aside", cmd_process_retry},
    {"migrate", "PostgreSQL migrations: `banyan migrate --help` lists the verbs", cmd_migrate},
    {"token create", "make a token for HTTP and print it once", cmd_token_create},
    {"token list", "list the tokens", cmd_token_list},
    {"token revoke", "end a token", cmd_token_revoke},
    {"store", "work on the event store itself: `banyan store --help` lists the verbs", cmd_store},
};

enum {
    COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]),
};

static void print_help(FILE *out)
{
    fputs("Usage: banyan COMMAND [OPTION...]\n\n"
          "Takes a live PostgreSQL system to event sourcing without stopping it.\n\nCommands:\n",
          out);
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-14s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`banyan COMMAND --help` tells the options of a command; `banyan --version` the version.\n"
          "First steps: banyan init, banyan legacy check, banyan serve.\n",
          out);
}

/* How many of the words *argv* (from 1) name the command; 0: it is another one. */
static int command_words(const struct cli_command *command, int argc, char **argv)
{
    const char *name = command->name;
    int words = 0;
    while (*name != '\0') {
        size_t size = strcspn(name, " ");
        if (words + 1 >= argc || strlen(argv[words + 1]) != size || strncmp(argv[words + 1], name, size) != 0)
            return 0;
        words++;
        name += size + (name[size] == ' ');
    }
    return words;
}

enum banyan_status cli_domain(struct cli *cli, const char *name, const struct banyan_domain **ret,
                              struct banyan_error *err)
{
    if (name == NULL) {
        banyan_error_set(err, BANYAN_CONFIG, "the configuration names no domain");
        banyan_error_hint(err, "`domain` says what the legacy tables and read models are");
        return BANYAN_CONFIG;
    }
    for (size_t i = 0; i < cli->domain_count; i++) {
        if (strcmp(cli->domains[i]->name, name) != 0)
            continue;
        if (cli->domains[i]->abi != BANYAN_DOMAIN_ABI)
            return banyan_error_set(err, BANYAN_CONFIG, "domain %s was built for interface %u, this is %u", name,
                                    cli->domains[i]->abi, BANYAN_DOMAIN_ABI);
        *ret = cli->domains[i];
        return BANYAN_OK;
    }
    banyan_error_set(err, BANYAN_CONFIG, "there is no domain \"%s\"", name);
    if (cli->domain_count > 0)
        banyan_error_hint(err, "this program was linked with: %s", cli->domains[0]->name);
    return BANYAN_CONFIG;
}

static void print_verbs(FILE *out, const char *command, const char *summary, const struct cli_command *verbs,
                        size_t count)
{
    fprintf(out, "Usage: banyan %s VERB [OPTION...]\n\n%s\n\nVerbs:\n", command, summary);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "  %s %-13s %s\n", command, verbs[i].name, verbs[i].summary);
    fprintf(out, "\n`banyan %s VERB --help` tells the options of a verb.\n", command);
}

enum banyan_status cli_verb(struct cli *cli, const char *command, const char *summary, const struct cli_command *verbs,
                            size_t count, int argc, char **argv, struct banyan_error *err)
{
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_verbs(stdout, command, summary, verbs, count);
        return BANYAN_OK;
    }
    for (size_t i = 0; argc > 1 && i < count; i++) {
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(cli, argc - 1, argv + 1, err);
    }
    if (argc > 1)
        (void)banyan_error_set(err, BANYAN_USAGE, "there is no verb \"%s %s\"", command, argv[1]);
    else
        (void)banyan_error_set(err, BANYAN_USAGE, "%s: which verb?", command);
    banyan_error_hint(err, "banyan %s --help lists the verbs", command);
    return BANYAN_USAGE;
}

static bool wants_json(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--json") == 0)
            return true;
    return false;
}

static int unknown_command(int argc, char **argv)
{
    fprintf(stderr, "banyan: there is no command \"%s", argv[1]);
    if (argc > 2 && argv[2][0] != '-')
        fprintf(stderr, " %s", argv[2]);
    fputs("\"\n  hint: banyan --help lists the commands\n", stderr);
    return banyan_status_exit_code(BANYAN_USAGE);
}

int banyan_main(int argc, char **argv, const struct banyan_domain *const *domains, size_t domain_count)
{
    struct cli cli = {.domains = domains, .domain_count = domain_count, .program = "banyan"};
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (argc < 2) {
        print_help(stderr);
        return banyan_status_exit_code(BANYAN_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("banyan " CLI_VERSION);
        return 0;
    }
    for (int i = 0; i < COMMAND_COUNT; i++) {
        int words = command_words(&commands[i], argc, argv);
        if (words == 0)
            continue;
        bool json = wants_json(argc, argv);
        enum banyan_status st = commands[i].run(&cli, argc - words, argv + words, &err);
        if (st != BANYAN_OK && err.message[0] == '\0')
            banyan_error_set(&err, st, "%s", banyan_status_text(st));
        if (st != BANYAN_OK && st != BANYAN_STOPPED && json)
            output_error_json(&err);
        else if (st != BANYAN_OK && st != BANYAN_STOPPED)
            output_error(cli.program, &err);
        fflush(stdout);
        return st == BANYAN_STOPPED ? 0 : banyan_status_exit_code(st);
    }
    return unknown_command(argc, argv);
}
