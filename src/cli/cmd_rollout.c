/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan rollout VERB: look at the rollout and move it: asked of a running `banyan serve` (docs/ROLLOUT.md).
 *
 * It runs in the serve whether somebody watches or not; --wait stays until nothing is in progress, and its exit code
 * then says whether the state that was asked for is reached.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/client.h"
#include "cli/config.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/rollout_text.h"
#include "os/stop.h"

enum {
    OPTION_WAIT = 0x900,
    OPTION_WATCH,
    OPTION_DRY_RUN,
    OPTION_FORCE,
    OPTION_REASON,
    OPTION_MAX_PAUSE,
    OPTION_FROM,
    OPTION_LIMIT,
    LOOK_EVERY_US = 100 * 1000,
    WATCH_EVERY_US = 1000 * 1000,
    PATH_MAX_BYTES = 8192,
    MAX_PAUSE_MS_MAX = 60000,
    HISTORY_LIMIT_MAX = 1000,
};

struct rollout_command {
    struct options_common common;
    const char *verb, *reason;
    bool wait, watch, dry_run, force;
    uint64_t max_pause_ms, from, limit;
    struct os_stop stop;
};

/* ---- options ---- */

#define DRY_RUN                                                                                                        \
    {                                                                                                                  \
        "dry-run", OPTION_DRY_RUN, NULL, 0, "Only say what would happen, and what stands in its way", 0                \
    }
#define FORCE                                                                                                          \
    {                                                                                                                  \
        "force", OPTION_FORCE, NULL, 0, "In spite of checks that hold or wait; never of a breach", 0                   \
    }
#define REASON                                                                                                         \
    {                                                                                                                  \
        "reason", OPTION_REASON, "TEXT", 0, "Why; kept in the history", 0                                              \
    }
#define WAIT                                                                                                           \
    {                                                                                                                  \
        "wait", OPTION_WAIT, NULL, 0, "Stay until nothing is in progress any more", 0                                  \
    }
#define MAX_PAUSE                                                                                                      \
    {                                                                                                                  \
        "max-pause", OPTION_MAX_PAUSE, "MS", 0,                                                                        \
            "Writes wait for at most so many milliseconds while the ownership moves (default: rollout.pause_ms_max)",  \
            0                                                                                                          \
    }
#define END                                                                                                            \
    {                                                                                                                  \
        NULL, 0, NULL, 0, NULL, 0                                                                                      \
    }

static const struct argp_child children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};
static const struct argp_option status_options[] = {
    {"watch", OPTION_WATCH, NULL, 0, "Again every second", 0},
    END,
};
static const struct argp_option history_options[] = {
    {"from", OPTION_FROM, "VERSION", 0, "From this event on (default: 1)", 0},
    {"limit", OPTION_LIMIT, "N", 0, "At most so many (default: 100)", 0},
    END,
};
static const struct argp_option start_options[] = {DRY_RUN, FORCE, REASON, WAIT, END};
static const struct argp_option next_options[] = {DRY_RUN, FORCE, REASON, WAIT, MAX_PAUSE, END};
static const struct argp_option plain_options[] = {DRY_RUN, REASON, END};
static const struct argp_option rollback_options[] = {DRY_RUN, REASON, WAIT, MAX_PAUSE, END};
static const struct argp_option complete_options[] = {DRY_RUN, FORCE, REASON, END};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct rollout_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->common;
        return 0;
    case OPTION_WAIT:
        command->wait = true;
        return 0;
    case OPTION_WATCH:
        command->watch = true;
        return 0;
    case OPTION_DRY_RUN:
        command->dry_run = true;
        return 0;
    case OPTION_FORCE:
        command->force = true;
        return 0;
    case OPTION_REASON:
        command->reason = argument;
        return 0;
    case OPTION_MAX_PAUSE:
        command->max_pause_ms = options_number(state, "--max-pause", argument, 1, MAX_PAUSE_MS_MAX);
        return 0;
    case OPTION_FROM:
        command->from = options_number(state, "--from", argument, 1, INT64_MAX);
        return 0;
    case OPTION_LIMIT:
        command->limit = options_number(state, "--limit", argument, 1, HISTORY_LIMIT_MAX);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "too many arguments");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- asking ---- */

static bool acts(const struct rollout_command *command)
{
    return strcmp(command->verb, "status") != 0 && strcmp(command->verb, "plan") != 0 &&
           strcmp(command->verb, "history") != 0;
}

static void add_parameter(struct banyan_buf *path, const char *name, const char *value)
{
    banyan_buf_printf(path, "%c%s=", memchr(path->data, '?', path->size) == NULL ? '?' : '&', name);
    client_add_escaped(path, value);
}

static void add_number(struct banyan_buf *path, const char *name, uint64_t value)
{
    char digits[24];
    (void)snprintf(digits, sizeof(digits), "%" PRIu64, value); /* fits */
    if (value != 0)
        add_parameter(path, name, digits);
}

static enum banyan_status ask(const struct rollout_command *command, const struct config *config, json_t **ret,
                              struct banyan_error *err)
{
    struct banyan_buf path = BANYAN_BUF_INIT(PATH_MAX_BYTES);
    banyan_buf_add_text(&path, "/rollout");
    if (strcmp(command->verb, "status") != 0)
        banyan_buf_printf(&path, "/%s", command->verb);
    if (command->dry_run)
        add_parameter(&path, "dry-run", "true");
    if (command->force)
        add_parameter(&path, "force", "true");
    if (command->reason != NULL)
        add_parameter(&path, "reason", command->reason);
    add_number(&path, "max-pause-ms", command->max_pause_ms);
    add_number(&path, "from", command->from);
    add_number(&path, "limit", command->limit);
    enum banyan_status st = path.overflow ? banyan_error_set(err, BANYAN_USAGE, "the arguments are too long")
                                          : client_ask(config, acts(command) ? CLIENT_POST : CLIENT_GET, path.data,
                                                       BANYAN_STR(""), ret, err);
    banyan_buf_release(&path);
    return st;
}

/* ---- waiting ---- */

static bool in_progress(const json_t *status)
{
    static const char *const states[] = {"backfilling", "cutting-over", "rolling-back"};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        if (strcmp(answer_text(status, "state"), states[i]) == 0)
            return true;
    return false;
}

/* Until nothing is in progress.  MISMATCH when it ended elsewhere than where *wanted* was to lead. */
static enum banyan_status wait_done(struct rollout_command *command, const struct config *config, const char *wanted,
                                    struct banyan_error *err)
{
    char shown[32] = "";
    for (;;) {
        json_t *status = NULL;
        enum banyan_status st = client_get(config, "/rollout", &status, err);
        if (st != BANYAN_OK)
            return st;
        bool busy = in_progress(status);
        if (!command->common.json && strcmp(shown, answer_text(status, "state")) != 0)
            fprintf(stderr, "%s\n", answer_text(status, "state"));
        (void)snprintf(shown, sizeof(shown), "%s", answer_text(status, "state")); /* fits */
        if (!busy && command->common.json)
            (void)json_dumpf(status, stdout, JSON_COMPACT);
        else if (!busy)
            rollout_print_status(status);
        if (!busy && command->common.json)
            putchar('\n');
        bool reached = strcmp(wanted, "cutting-over") != 0 || strcmp(shown, "event-first") == 0;
        json_decref(status);
        if (!busy && reached)
            return BANYAN_OK;
        if (!busy) {
            banyan_error_set(err, BANYAN_NOT_MET, "the cutover was given up; the rollout is in state %s again", shown);
            banyan_error_hint(err, "`banyan rollout history` tells why; nothing was lost, and it can be tried again");
            return BANYAN_NOT_MET;
        }
        if (os_stop_wait(&command->stop, LOOK_EVERY_US)) {
            fputs("it goes on; `banyan rollout status` tells how far it is\n", stderr);
            return BANYAN_STOPPED;
        }
    }
}

/* ---- running ---- */

static void print_json(const json_t *answer)
{
    (void)json_dumpf(answer, stdout, JSON_COMPACT); /* to standard output: nobody else to tell */
    putchar('\n');
}

static void print_answer(const struct rollout_command *command, const json_t *answer)
{
    if (command->common.json)
        print_json(answer);
    else if (strcmp(command->verb, "status") == 0)
        rollout_print_status(answer);
    else if (strcmp(command->verb, "plan") == 0)
        rollout_print_plan(answer);
    else if (strcmp(command->verb, "history") == 0)
        rollout_print_history(answer);
    else
        rollout_print_answer(answer);
    fflush(stdout);
}

/* One question and its answer; a refusal with the checks that are not met. */
static enum banyan_status run_once(struct rollout_command *command, const struct config *config,
                                   struct banyan_error *err)
{
    json_t *answer = NULL;
    char wanted[32] = "";
    enum banyan_status st = ask(command, config, &answer, err);
    if (st == BANYAN_NOT_MET && command->common.json)
        print_json(answer);
    else if (st == BANYAN_NOT_MET)
        rollout_print_checks(json_object_get(answer, "checks"), false, stdout);
    if (st != BANYAN_OK)
        goto out;
    if (command->watch && output_colored(stdout))
        fputs("\033[H\033[2J", stdout);
    (void)snprintf(wanted, sizeof(wanted), "%s", answer_text(json_object_get(answer, "event"), "state"));
    bool waits = command->wait && !command->dry_run;
    if (!waits || !command->common.json)
        print_answer(command, answer);
    if (json_is_true(json_object_get(answer, "refused")))
        st = banyan_error_set(err, BANYAN_NOT_MET, "%s", answer_text(answer, "refusal"));
    else if (waits)
        st = wait_done(command, config, wanted, err);
out:
    json_decref(answer);
    return st;
}

static enum banyan_status run(const char *verb, const char *doc, const struct argp_option *options, int argc,
                              char **argv, struct banyan_error *err)
{
    struct rollout_command command = {.common = OPTIONS_COMMON_INIT, .verb = verb};
    const struct argp argp = {options, parse_option, NULL, doc, children, NULL, NULL};
    struct config *config = NULL;
    char title[64];
    (void)snprintf(title, sizeof(title), "banyan rollout %s", verb); /* fits: verbs are short */
    options_parse(&argp, title, argc, argv, &command);
    enum banyan_status st = os_stop_open(&command.stop, err);
    if (st == BANYAN_OK)
        st = os_stop_on_signals(&command.stop, err);
    if (st == BANYAN_OK)
        st = config_load(command.common.config, &config, err);
    do {
        if (st == BANYAN_OK)
            st = run_once(&command, config, err);
    } while (st == BANYAN_OK && command.watch && !os_stop_wait(&command.stop, WATCH_EVERY_US));
    config_free(config);
    os_stop_close(&command.stop);
    return st;
}

/* ---- verbs ---- */

#define VERB(function, name, options, doc)                                                                             \
    static enum banyan_status function(struct cli *cli, int argc, char **argv, struct banyan_error *err)               \
    {                                                                                                                  \
        (void)cli;                                                                                                     \
        return run((name), (doc), (options), argc, argv, err);                                                         \
    }

VERB(status, "status", status_options, "Where the rollout is, what is seen of the traffic, and what stands in the way.")
VERB(plan, "plan", NULL, "The steps: who owns what in each, and what a step needs.")
VERB(start, "start", start_options, "Begin: prove that the mirror can work, wait for the backfill, then shadow reads.")
VERB(next, "next", next_options,
     "The next step: canary, ramp, cutover.  Refused (exit code 27) while a check is not met.")
VERB(pause_verb, "pause", plain_options, "Stay in this step; the guards go on to look, and roll back on a breach.")
VERB(resume_verb, "resume", plain_options, "Steps may be taken again.")
VERB(rollback, "rollback", rollback_options, "Give everything back to the legacy application; nothing is lost.")
VERB(complete, "complete", complete_options, "End the rollout: the mirror stops, and there is no way back any more.")
VERB(history, "history", history_options, "Every move with who, why, and the checks that justified it.")

static const struct cli_command verbs[] = {
    {"status", "where it is, and what stands in the way", status},
    {"plan", "the steps and what they need", plan},
    {"start", "begin: shadow", start},
    {"next", "the next step, or why not", next},
    {"pause", "stay in this step", pause_verb},
    {"resume", "steps may be taken again", resume_verb},
    {"rollback", "give everything back to the legacy application", rollback},
    {"complete", "end it; no way back", complete},
    {"history", "every move with who, why and its figures", history},
};

enum banyan_status cmd_rollout(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    return cli_verb(cli, "rollout",
                    "Move the traffic of the legacy application to Banyan in steps, and back at any time.", verbs,
                    sizeof(verbs) / sizeof(verbs[0]), argc, argv, err);
}
