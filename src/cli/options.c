/* SPDX-License-Identifier: Apache-2.0 */
/* Shared option parsing: see options.h. */
#include "cli/options.h"

#include <errno.h>
#include <stdlib.h>

#include "banyan/status.h"

enum {
    OPTION_JSON = 0x100,
};

static const struct argp_option common_options[] = {
    {"config", 'c', "FILE", 0, "Configuration (default: banyan.yaml)", 0},
    {"json", OPTION_JSON, NULL, 0, "Print JSON, for scripts", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_common(int key, char *argument, struct argp_state *state)
{
    struct options_common *common = state->input;
    switch (key) {
    case 'c':
        common->config = argument;
        return 0;
    case OPTION_JSON:
        common->json = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp options_common_argp = {common_options, parse_common, NULL, NULL, NULL, NULL, NULL};

uint64_t options_number(struct argp_state *state, const char *name, const char *text, uint64_t min, uint64_t max)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] == '-' || end == text || *end != '\0' || errno != 0 || value < min || value > max)
        argp_error(state, "%s: \"%s\" is not a number from %llu to %llu", name, text, (unsigned long long)min,
                   (unsigned long long)max);
    return value;
}

void options_parse(const struct argp *argp, const char *command, int argc, char **argv, void *input)
{
    argp_err_exit_status = banyan_status_exit_code(BANYAN_USAGE);
    argv[0] = (char *)command;
    (void)argp_parse(argp, argc, argv, 0, NULL, input); /* leaves the process on wrong use */
}
