/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan migrate rehearse: one migration on a throwaway database, with old and new code.  The real one is only read.
 *
 * Exit code NOT_MET where a phase failed, the rollback left other values, or code failed that must work.
 */
#include <stdio.h>

#include "cli/cmd_migrate.h"
#include "cli/files.h"
#include "migrate/rehearse.h"

static enum banyan_status read_code(const char *path, struct banyan_buf *text, const char **ret,
                                    struct banyan_error *err)
{
    enum banyan_status st;

    if (path == NULL)
        return BANYAN_OK;
    st = files_read(path, text, err);
    *ret = text->data == NULL ? "" : text->data;
    return st;
}

static enum banyan_status print_report(const struct migrate_command *command, const struct migration *migration,
                                       const struct rehearse_report *report, struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(MIGRATE_REPORT_BYTES_MAX);
    enum banyan_status st;

    if (command->json) {
        rehearse_json(report, &text);
        banyan_buf_add_char(&text, '\n');
    } else {
        for (size_t i = 0; i < report->plan.refusal_count; i++)
            banyan_buf_printf(&text, "refused: %.*s\n", (int)report->plan.refusals[i].size,
                              report->plan.refusals[i].data);
        rehearse_text(report, &text);
    }
    st = migrate_print(&text, err);
    banyan_buf_release(&text);
    if (st == BANYAN_OK && report->failed)
        st = banyan_error_set(err, BANYAN_NOT_MET, "%s did not go well, see above", migration->path);
    return st;
}

static enum banyan_status run(struct migrate_command *command, const struct migrate_files *files,
                              struct banyan_error *err)
{
    struct banyan_buf old_code = BANYAN_BUF_INIT(MIGRATE_FILE_BYTES_MAX),
                      new_code = BANYAN_BUF_INIT(MIGRATE_FILE_BYTES_MAX);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct rehearse_options options = {.conninfo = command->conninfo,
                                       .dump = command->dump,
                                       .rows = command->rows,
                                       .allow = command->run.allow,
                                       .stop = &command->stop};
    struct rehearse_report report;
    enum banyan_status st = read_code(command->old_code, &old_code, &options.old_code, err);

    if (st == BANYAN_OK)
        st = read_code(command->new_code, &new_code, &options.new_code, err);
    if (st == BANYAN_OK)
        st = rehearse(&options, files->items[0], &arena, &report, err);
    if (st == BANYAN_OK)
        st = print_report(command, files->items[0], &report, err);
    banyan_buf_release(&old_code);
    banyan_buf_release(&new_code);
    banyan_arena_release(&arena);
    return st;
}

enum banyan_status migrate_rehearse(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    static const struct migrate_verb verb = {
        .title = "banyan migrate rehearse",
        .arguments = "FILE",
        .doc =
            "All phases on a throwaway database with some rows of the real one, and back: every step timed, its locks "
            "measured, the statements of old and new code run in each phase.  Exit code 27 when something failed that "
            "must not.",
        .argument_min = 1,
        .argument_max = 1,
        .rehearses = true,
    };
    struct migrate_command command;
    struct migrate_files files = {.items = NULL};
    enum banyan_status st = migrate_begin(&verb, argc, argv, &command, err);

    (void)cli;
    if (st == BANYAN_OK)
        st = migrate_files_read(command.arguments, command.argument_count, &files, err);
    if (st == BANYAN_OK && files.count != 1)
        st = banyan_error_set(err, BANYAN_USAGE, "one migration at a time: %s has %zu", command.arguments[0],
                              files.count);
    if (st == BANYAN_OK)
        st = run(&command, &files, err);
    migrate_files_release(&files);
    migrate_end(&command);
    if (st == BANYAN_STOPPED) { /* nothing was proven: no success for a script */
        banyan_error_clear(err);
        st = banyan_error_set(err, BANYAN_NOT_MET, "stopped on request; the throwaway database is gone");
    }
    return st;
}
