/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan store VERB: one file a verb, cmd_store_<verb>.c, one line a verb in the table of cmd_store.c.
 *
 * All verbs find their store in the same way: --data FOLDER, else the folder that --config names.
 */
#ifndef CLI_CMD_STORE_H
#define CLI_CMD_STORE_H

#include <argp.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "store/store.h"

/* Which store; set by store_target_argp, whose input it is. */
struct store_target {
    struct options_common common; /* --config, --json */
    const char *data;             /* --data; NULL: what the configuration says */
};

#define STORE_TARGET_INIT                                                                                              \
    {                                                                                                                  \
        .common = OPTIONS_COMMON_INIT                                                                                  \
    }

/* A child parser for --data, --config and --json. */
extern const struct argp store_target_argp;

/* The store's folder; *ret is freed by the caller.  CONFIG or NOT_FOUND when there is neither --data nor a
 * configuration. */
BANYAN_MUST_CHECK enum banyan_status store_target_folder(const struct store_target *target, char **ret,
                                                         struct banyan_error *err);
/* The same, and there is a store in it (NOT_FOUND else): for verbs that do not make one. */
BANYAN_MUST_CHECK enum banyan_status store_target_existing(const struct store_target *target, char **ret,
                                                           struct banyan_error *err);
/* Open the store there, which has to exist. */
BANYAN_MUST_CHECK enum banyan_status store_target_open(const struct store_target *target, bool read_only,
                                                       struct store **ret, struct banyan_error *err);

/* What a backup or restore did. */
struct log_copied;
void store_copied_print(const char *what, const char *folder, const struct log_copied *copied, bool json);

enum banyan_status cmd_store_append(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_archive(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_backup(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_bench(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_create(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_export(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_import(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_check_proof(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_keygen(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_prove(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_sign(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_mark(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_read(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_restore(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_tail(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_stats(struct cli *cli, int argc, char **argv, struct banyan_error *err);
enum banyan_status cmd_store_verify(struct cli *cli, int argc, char **argv, struct banyan_error *err);

#endif
