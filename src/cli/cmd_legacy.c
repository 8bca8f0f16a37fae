/* SPDX-License-Identifier: Apache-2.0 */
/* banyan legacy check: everything that has to be right at the server before anything is made there. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/config.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/table.h"
#include "legacy/check.h"

static const struct argp_child check_children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_check(int key, char *argument, struct argp_state *state)
{
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = state->input;
    return 0;
}

static const char *verdict_text(enum check_verdict verdict)
{
    switch (verdict) {
    case CHECK_OK:
        return "ok";
    case CHECK_WARNING:
        return "warning";
    case CHECK_FAILED:
        return "FAILED";
    default:
        return "?";
    }
}

static void print_report(const struct check_report *report, bool json)
{
    static const char *const columns[] = {"check", "verdict", "found", "hint"};
    struct table *table = table_new("checks", columns, 4);
    for (size_t i = 0; i < report->count; i++) {
        const struct check_finding *finding = &report->findings[i];
        table_add(table, (const char *const[]){finding->name, verdict_text(finding->verdict), finding->found,
                                               finding->hint == NULL ? "" : finding->hint});
    }
    table_print(table, stdout, json);
    table_free(table);
}

enum banyan_status cmd_legacy_check(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct options_common common = OPTIONS_COMMON_INIT;
    const struct argp argp = {
        NULL,           parse_check, NULL, "Check that the legacy database can be captured.  Changes nothing.",
        check_children, NULL,        NULL};
    const struct banyan_domain *domain = NULL;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct config *config = NULL;
    struct legacy_options options;
    struct check_report report = {.count = 0};

    options_parse(&argp, "banyan legacy check", argc, argv, &common);
    enum banyan_status st = config_load(common.config, &config, err);
    if (st == BANYAN_OK && config->source == NULL)
        st = banyan_error_set(err, BANYAN_CONFIG, "%s has no source: there is nothing to check", common.config);
    if (st == BANYAN_OK)
        st = cli_domain(cli, config->domain, &domain, err);
    if (st != BANYAN_OK)
        goto out;
    config_legacy_options(config, domain, &options);
    st = legacy_check(&options, &arena, &report, err);
    if (st != BANYAN_OK)
        goto out;
    print_report(&report, common.json);
    for (size_t i = 0; i < report.count && st == BANYAN_OK; i++) {
        const struct check_finding *finding = &report.findings[i];
        if (finding->verdict != CHECK_FAILED)
            continue;
        st = banyan_error_set(err, finding->status, "%s: %s", finding->name, finding->found);
        banyan_error_hint(err, "%s", finding->hint == NULL ? "" : finding->hint);
    }
    if (st == BANYAN_OK && !common.json)
        printf("\nReady%s. Next: banyan serve --config %s\n", report.warnings > 0 ? ", but read the warnings" : "",
               common.config);
out:
    banyan_arena_release(&arena);
    config_free(config);
    return st;
}
