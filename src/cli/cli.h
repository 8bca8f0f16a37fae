/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line: the only room that prints and exits.
 *
 * Each command is one file, cmd_<verb>.c, with one entry function.  A command returns a status; banyan_main() turns it
 * into the exit code and prints the error once.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "banyan/domain.h"
#include "banyan/error.h"

/* What banyan_main() was given. */
struct cli {
    const struct banyan_domain *const *domains;
    size_t domain_count;
    const char *program; /* name to show in messages */
};

typedef enum banyan_status (*cli_command_fn)(struct cli *cli, int argc, char **argv, struct banyan_error *err);

struct cli_command {
    const char *name;    /* "serve", "legacy check" */
    const char *summary; /* one line of `banyan --help` */
    cli_command_fn run;
};

enum banyan_status cmd_init(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_legacy_check(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_migrate(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_projection(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_query(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_process_list(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_process_status(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_process_retry(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_rollout(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_schema(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_serve(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_status(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_stream_read(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_token_create(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_token_list(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_token_revoke(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_verify(struct cli *cli, int argc, char **argv, struct banyan_error *err);

/* Run the verb of *command* that argv[1] names, or print the verbs; USAGE when there is none. */
enum banyan_status cli_verb(struct cli *cli, const char *command, const char *summary, const struct cli_command *verbs,
                            size_t count, int argc, char **argv, struct banyan_error *err);

/* The domain of that name; CONFIG with the known names else. */
BANYAN_MUST_CHECK enum banyan_status cli_domain(struct cli *cli, const char *name, const struct banyan_domain **ret,
                                                struct banyan_error *err);

#endif
