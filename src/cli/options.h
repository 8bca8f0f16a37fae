/* SPDX-License-Identifier: Apache-2.0 */
/* Options that most commands share, on top of argp: --config FILE and --json. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"

struct options_common {
    const char *config; /* path; default banyan.yaml */
    bool json;
};

/* A child parser for --config and --json; its input is a struct options_common. */
extern const struct argp options_common_argp;

#define OPTIONS_COMMON_INIT                                                                                            \
    {                                                                                                                  \
        .config = "banyan.yaml"                                                                                        \
    }

/* A decimal number within bounds, or an argp usage error (exit code 2). */
uint64_t options_number(struct argp_state *state, const char *name, const char *text, uint64_t min, uint64_t max);
/* argp_parse() with the name "banyan <command>" in front of usage messages. */
void options_parse(const struct argp *argp, const char *command, int argc, char **argv, void *input);

#endif
