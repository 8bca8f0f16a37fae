/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan verify: every row and every column of the legacy tables against the read models that mirror them, one after
 * the other, beside a running serve.
 *
 * Exit code 0: they agree as of the last fence.  8: they differ; each differing key is listed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/buf.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/views.h"
#include "legacy/verify.h"
#include "os/clock.h"
#include "pg/conn.h"

enum {
    OPTION_VIEW = 0x300,
    OPTION_RANGE_ROWS,
    OPTION_TIMEOUT,
    CELL_BYTES_MAX = 1 << 20,
    POLL_US = 1000,
};

struct verify_command {
    struct options_common common;
    const char *view;
    uint64_t range_rows;
    uint64_t timeout_s;

    struct os_stop stop;
    /* of the view that is being compared */
    struct sink_view *reader;
    const struct view *view_now;
    struct output_progress progress;
    uint64_t rows_done;
    int64_t started_us;
    /* of all */
    struct verify_report total;
    struct banyan_buf differences; /* JSON array items */
    uint64_t listed;
    struct banyan_buf reports; /* JSON array items, one a view */
    uint64_t reported;
};

static const struct argp_option verify_option_list[] = {
    {"view", OPTION_VIEW, "NAME", 0, "Read model to compare (default: each that mirrors a legacy table)", 0},
    {"range-rows", OPTION_RANGE_ROWS, "N", 0, "Rows that are compared in one step (default: 10000)", 0},
    {"timeout", OPTION_TIMEOUT, "SECONDS", 0, "Longest wait for the read model to pass a fence (default: 60)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child verify_children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_verify(int key, char *argument, struct argp_state *state)
{
    struct verify_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->common;
        return 0;
    case OPTION_VIEW:
        command->view = argument;
        return 0;
    case OPTION_RANGE_ROWS:
        command->range_rows = options_number(state, "--range-rows", argument, 1, 10000000);
        return 0;
    case OPTION_TIMEOUT:
        command->timeout_s = options_number(state, "--timeout", argument, 1, 86400);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* The read model says in its checkpoint how far it is: no connection to serve is needed. */
static enum banyan_status wait_for_view(void *context, uint64_t lsn, int64_t timeout_us, struct banyan_error *err)
{
    struct verify_command *command = context;
    struct os_clock *clock = os_clock_real();
    int64_t limit = (int64_t)command->timeout_s * 1000000;
    int64_t until = os_clock_monotonic_us(clock) + (timeout_us > limit || timeout_us <= 0 ? limit : timeout_us);
    struct sink_checkpoint checkpoint = {.source_lsn = 0};
    char want[PG_LSN_TEXT_SIZE], have[PG_LSN_TEXT_SIZE];
    for (;;) {
        enum banyan_status st = command->reader->ops->checkpoint(command->reader, &checkpoint, err);
        if (st != BANYAN_OK || checkpoint.source_lsn >= lsn)
            return st;
        if (os_clock_monotonic_us(clock) > until)
            break;
        if (os_stop_wait(&command->stop, POLL_US))
            return banyan_error_set(err, BANYAN_STOPPED, "stopped");
    }
    pg_lsn_format(lsn, want);
    pg_lsn_format(checkpoint.source_lsn, have);
    banyan_error_set(err, BANYAN_TIMEOUT, "the read model has not reached %s, it is at %s", want, have);
    banyan_error_hint(err, "is `banyan serve` running, and does `banyan status` show it live?");
    return BANYAN_TIMEOUT;
}

static void on_progress(void *context, uint64_t done, uint64_t estimated)
{
    struct verify_command *command = context;
    int64_t elapsed = os_clock_monotonic_us(os_clock_real()) - command->started_us;
    double rate = elapsed > 0 ? (double)done * 1e6 / (double)elapsed : 0;
    int64_t eta = rate > 0 && estimated > done ? (int64_t)((double)(estimated - done) / rate * 1e6) : 0;
    command->rows_done = done;
    if (!command->common.json)
        output_progress_draw(&command->progress, command->view_now->name, done, estimated, rate, eta, false);
}

static void list_begin(struct verify_command *command, int64_t key)
{
    banyan_buf_add_text(&command->differences, command->listed++ > 0 ? ",{\"view\":" : "{\"view\":");
    banyan_buf_add_json(&command->differences, banyan_str_of(command->view_now->name));
    banyan_buf_printf(&command->differences, ",\"key\":%" PRId64, key);
}

static void list_field(struct verify_command *command, const struct verify_difference *difference,
                       const struct banyan_field *field, struct banyan_buf *legacy, struct banyan_buf *view)
{
    const struct banyan_field *other =
        banyan_record_field(command->view_now->projection->tables[0].row, banyan_str_of(field->name));
    banyan_buf_reset(legacy);
    banyan_buf_reset(view);
    banyan_field_json(field, difference->legacy_row, legacy);
    if (other != NULL)
        banyan_field_json(other, difference->view_row, view);
    if (!command->common.json)
        printf("key %" PRId64 ": %s: legacy %s, view %s\n", difference->key, field->name, legacy->data,
               view->size == 0 ? "-" : view->data);
    list_begin(command, difference->key);
    banyan_buf_add_text(&command->differences, ",\"column\":");
    banyan_buf_add_json(&command->differences, banyan_str_of(field->name));
    banyan_buf_printf(&command->differences, ",\"legacy\":%s,\"view\":%s}", legacy->data,
                      view->size == 0 ? "null" : view->data);
}

static void on_difference(void *context, const struct verify_difference *difference)
{
    struct verify_command *command = context;
    struct banyan_buf legacy = BANYAN_BUF_INIT(CELL_BYTES_MAX), view = BANYAN_BUF_INIT(CELL_BYTES_MAX);
    const char *missing = difference->legacy_row == NULL ? "legacy" : difference->view_row == NULL ? "view" : NULL;
    output_progress_end(&command->progress);
    if (missing != NULL) {
        if (!command->common.json)
            printf("key %" PRId64 ": missing in %s\n", difference->key, missing);
        list_begin(command, difference->key);
        banyan_buf_printf(&command->differences, ",\"missing_in\":\"%s\"}", missing);
    }
    const struct banyan_record *row = command->view_now->projection->mirrors->row;
    for (size_t i = 0; missing == NULL && i < row->field_count; i++)
        if ((difference->fields >> i & 1) != 0)
            list_field(command, difference, &row->fields[i], &legacy, &view);
    banyan_buf_release(&legacy);
    banyan_buf_release(&view);
}

/* The members of a report, without braces. */
static void add_report(struct banyan_buf *ret, const struct verify_report *report)
{
    char lsn[PG_LSN_TEXT_SIZE];
    pg_lsn_format(report->fence_lsn, lsn);
    banyan_buf_printf(ret,
                      "\"rows\":%" PRIu64 ",\"cells\":%" PRIu64 ",\"differences\":%" PRIu64
                      ",\"missing_in_view\":%" PRIu64 ",\"missing_in_legacy\":%" PRIu64 ",\"unequal\":%" PRIu64
                      ",\"looked_again\":%" PRIu64 ",\"unsettled\":%" PRIu64 ",\"elapsed_ms\":%.1f,\"fence\":\"%s\"",
                      report->rows, report->cells, report->differences, report->missing_in_view,
                      report->missing_in_legacy, report->unequal, report->looked_again, report->unsettled,
                      (double)report->elapsed_us / 1e3, lsn);
}

static void print_report(const struct verify_report *report)
{
    char rows[OUTPUT_TEXT_SIZE], cells[OUTPUT_TEXT_SIZE], time[OUTPUT_TEXT_SIZE], lsn[PG_LSN_TEXT_SIZE];
    pg_lsn_format(report->fence_lsn, lsn);
    printf("%s rows, %s cells compared in %s, up to %s\n", output_count(report->rows, rows),
           output_count(report->cells, cells), output_duration(report->elapsed_us, time), lsn);
    printf("%" PRIu64 " keys changed meanwhile and were looked at again; %" PRIu64 " never held still\n",
           report->looked_again, report->unsettled);
    printf("%" PRIu64 " differences\n", report->differences);
}

static void add_up(struct verify_report *total, const struct verify_report *report)
{
    total->rows += report->rows;
    total->cells += report->cells;
    total->looked_again += report->looked_again;
    total->differences += report->differences;
    total->missing_in_view += report->missing_in_view;
    total->missing_in_legacy += report->missing_in_legacy;
    total->unequal += report->unequal;
    total->unsettled += report->unsettled;
    total->elapsed_us += report->elapsed_us;
    total->fence_lsn = report->fence_lsn;
}

/* A view is done. */
static void take_report(struct verify_command *command, const struct verify_report *report)
{
    const struct view *view = command->view_now;
    add_up(&command->total, report);
    if (!command->common.json) {
        printf("view %s, table %s: ", view->name, view->projection->mirrors->name);
        print_report(report);
    }
    banyan_buf_add_text(&command->reports, command->reported++ > 0 ? ",{\"view\":" : "{\"view\":");
    banyan_buf_add_json(&command->reports, banyan_str_of(view->name));
    banyan_buf_add_text(&command->reports, ",\"table\":");
    banyan_buf_add_json(&command->reports, banyan_str_of(view->projection->mirrors->name));
    banyan_buf_add_char(&command->reports, ',');
    add_report(&command->reports, report);
    banyan_buf_add_char(&command->reports, '}');
}

static void print_total(const struct verify_command *command)
{
    struct banyan_buf total = BANYAN_BUF_INIT(64 * 1024);
    if (command->common.json) {
        add_report(&total, &command->total);
        printf("{%s,\"views\":[%s],\"list\":[%s]}\n", total.data, command->reports.data,
               command->differences.data == NULL ? "" : command->differences.data);
    } else if (command->reported > 1) {
        printf("%" PRIu64 " views: ", command->reported);
        print_report(&command->total);
    }
    banyan_buf_release(&total);
}

static enum banyan_status compare_view(struct verify_command *command, const struct config *config,
                                       const struct legacy_options *legacy, const struct view *view,
                                       struct banyan_error *err)
{
    struct sink_home *home = NULL;
    struct verify_report report = {.rows = 0};
    enum banyan_status st = views_home(config, view, &home, err);
    if (st == BANYAN_OK)
        st = home->ops->view(home, &command->reader, err);
    if (st != BANYAN_OK)
        goto out;
    command->view_now = view;
    command->started_us = os_clock_monotonic_us(os_clock_real());
    struct verify_options options = {
        .legacy = legacy,
        .projection = view->projection,
        .view = command->reader,
        .wait = wait_for_view,
        .wait_context = command,
        .range_rows = command->range_rows,
        .stop = &command->stop,
        .difference = on_difference,
        .progress = on_progress,
        .context = command,
    };
    st = legacy_verify(&options, &report, err);
    output_progress_end(&command->progress);
    if (st == BANYAN_OK)
        take_report(command, &report);
out:
    if (st != BANYAN_OK)
        banyan_error_context(err, "view %s", view->name);
    sink_view_close(command->reader);
    command->reader = NULL;
    sink_home_close(home);
    return st;
}

/* Is the view to be compared?  INVALID when it is named and cannot be. */
static enum banyan_status is_wanted(const struct verify_command *command, const struct view *view, bool *ret,
                                    struct banyan_error *err)
{
    bool mirrors = view->projection->mirrors != NULL;
    *ret = command->view == NULL ? mirrors : strcmp(view->name, command->view) == 0;
    if (*ret && !mirrors)
        return banyan_error_set(err, BANYAN_INVALID, "view %s does not mirror a legacy table", view->name);
    return BANYAN_OK;
}

static enum banyan_status run(struct verify_command *command, const struct config *config,
                              const struct banyan_domain *domain, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct view *views = NULL;
    size_t count = 0;
    struct legacy_options legacy;

    config_legacy_options(config, domain, &legacy);
    enum banyan_status st = views_list(config, domain, &arena, &views, &count, err);
    for (size_t i = 0; st == BANYAN_OK && i < count; i++) {
        bool wanted = false;
        st = is_wanted(command, &views[i], &wanted, err);
        if (st == BANYAN_OK && wanted)
            st = compare_view(command, config, &legacy, &views[i], err);
    }
    if (st == BANYAN_OK && command->reported == 0) {
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "there is no view %s",
                              command->view == NULL ? "to verify" : command->view);
        banyan_error_hint(err, "`banyan status` lists the views");
    }
    if (st != BANYAN_OK)
        goto out;
    print_total(command);
    if (command->total.differences > 0) {
        st = banyan_error_set(err, BANYAN_MISMATCH, "legacy and read models differ in %" PRIu64 " keys",
                              command->total.differences);
        banyan_error_hint(err, "`banyan stream read` shows how a key came to its state");
    }
out:
    banyan_arena_release(&arena);
    return st;
}

enum banyan_status cmd_verify(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct verify_command command = {.common = OPTIONS_COMMON_INIT,
                                     .timeout_s = 60,
                                     .differences = BANYAN_BUF_INIT((size_t)1 << 30),
                                     .reports = BANYAN_BUF_INIT(1 << 20)};
    const struct argp argp = {
        verify_option_list,
        parse_verify,
        NULL,
        "Compare every row and every column of the legacy tables with the read models that "
        "mirror them, while all are in use.\vExit code 0: no differences.  8: there are; each is listed.",
        verify_children,
        NULL,
        NULL};
    const struct banyan_domain *domain = NULL;
    struct config *config = NULL;

    options_parse(&argp, "banyan verify", argc, argv, &command);
    output_progress_init(&command.progress, stderr);
    enum banyan_status st = os_stop_open(&command.stop, err);
    if (st == BANYAN_OK)
        st = os_stop_on_signals(&command.stop, err);
    if (st == BANYAN_OK)
        st = config_load(command.common.config, &config, err);
    if (st == BANYAN_OK && config->source == NULL)
        st = banyan_error_set(err, BANYAN_CONFIG, "%s has no source to verify against", command.common.config);
    if (st == BANYAN_OK)
        st = cli_domain(cli, config->domain, &domain, err);
    if (st == BANYAN_OK)
        st = run(&command, config, domain, err);
    config_free(config);
    banyan_buf_release(&command.differences);
    banyan_buf_release(&command.reports);
    os_stop_close(&command.stop);
    return st;
}
