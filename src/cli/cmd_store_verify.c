/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan store verify: every byte of a store, offline or beside a running writer.
 *
 * Exit code 0: no damage.  22: there is; each finding is named with file, byte and position.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/cmd_store.h"
#include "cli/files.h"
#include "cli/output.h"
#include "store/signed_head.h"
#include "store/verify.h"

enum {
    OPTION_PUBLIC_KEY = 0x620,
    OPTION_HEADS,
    OPTION_RESUME,
    OPTION_MEMORY,
    OPTION_LIST,
    LISTED_DEFAULT = 100,
};

struct verify_command {
    struct store_target target;
    const char *public_key, *heads, *resume;
    uint64_t memory_mib;
    uint64_t list_max;

    struct os_stop stop;
    struct output_progress progress;
    int64_t started_us;
    uint64_t done_first; /* bytes that a resumed one did not have to read */
    bool began;
    struct banyan_buf list; /* JSON array items */
    uint64_t listed;
};

static const struct argp_option verify_option_list[] = {
    {"public-key", OPTION_PUBLIC_KEY, "FILE", 0, "Signed heads have to be of this key (PEM)", 0},
    {"heads", OPTION_HEADS, "FILE", 0, "Check these signed heads, too: a copy that was kept elsewhere", 0},
    {"resume", OPTION_RESUME, "FOLDER", 0,
     "Keep there what is needed to go on after an interruption, and go on from it", 0},
    {"memory", OPTION_MEMORY, "MIB", 0, "Memory for streams and ids (default: 512); the rest goes through files", 0},
    {"list", OPTION_LIST, "N", 0, "Print at most N findings (default: 100); all are counted", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child verify_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_verify(int key, char *argument, struct argp_state *state)
{
    struct verify_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_PUBLIC_KEY:
        command->public_key = argument;
        return 0;
    case OPTION_HEADS:
        command->heads = argument;
        return 0;
    case OPTION_RESUME:
        command->resume = argument;
        return 0;
    case OPTION_MEMORY:
        command->memory_mib = options_number(state, "--memory", argument, 1, 1024 * 1024);
        return 0;
    case OPTION_LIST:
        command->list_max = options_number(state, "--list", argument, 0, UINT32_MAX);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char *class_name(enum log_finding_class class)
{
    return class == LOG_FINDING_DAMAGE ? "damage" : class == LOG_FINDING_DERIVED ? "derived" : "note";
}

static void on_finding(void *context, const struct log_finding *finding)
{
    struct verify_command *command = context;

    if (command->listed == command->list_max)
        return;
    if (!command->target.common.json) {
        output_progress_end(&command->progress);
        printf("%s %s: %s byte %" PRIu64 ", position %" PRIu64 ": %s\n", class_name(finding->class), finding->kind,
               finding->path, finding->byte, finding->position, finding->text);
    }
    banyan_buf_printf(&command->list, "%s{\"class\":\"%s\",\"kind\":\"%s\",\"file\":", command->listed > 0 ? "," : "",
                      class_name(finding->class), finding->kind);
    banyan_buf_add_json(&command->list, banyan_str_of(finding->path));
    banyan_buf_printf(&command->list, ",\"byte\":%" PRIu64 ",\"position\":%" PRIu64 ",\"text\":", finding->byte,
                      finding->position);
    banyan_buf_add_json(&command->list, banyan_str_of(finding->text));
    banyan_buf_add_text(&command->list, "}");
    command->listed++;
}

static void on_progress(void *context, uint64_t done, uint64_t total, uint64_t events)
{
    struct verify_command *command = context;
    int64_t elapsed = os_clock_monotonic_us(os_clock_real()) - command->started_us;
    double rate;

    (void)events;
    if (!command->began)
        command->done_first = done;
    command->began = true;
    if (command->target.common.json || elapsed <= 0)
        return;
    rate = (double)(done - command->done_first) * 1e6 / (double)elapsed;
    output_progress_draw(&command->progress, "verify, bytes", done, total, rate,
                         rate > 0 && total > done ? (int64_t)((double)(total - done) / rate * 1e6) : 0, false);
}

static void print_report(const struct verify_command *command, const struct store_verify_report *report)
{
    char events[OUTPUT_TEXT_SIZE], streams[OUTPUT_TEXT_SIZE], bytes[OUTPUT_TEXT_SIZE], time[OUTPUT_TEXT_SIZE];
    double seconds = (double)report->elapsed_us / 1e6;
    double mb = seconds > 0 ? (double)report->log.bytes / 1e6 / seconds : 0;

    if (command->target.common.json) {
        printf("{\"events\":%" PRIu64 ",\"streams\":%" PRIu64 ",\"batches\":%" PRIu64 ",\"frames\":%" PRIu64
               ",\"segments\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"last_position\":%" PRIu64
               ",\"closed\":%s,\"signed_heads\":%" PRIu64 ",\"damages\":%" PRIu64 ",\"derived\":%" PRIu64
               ",\"notes\":%" PRIu64 ",\"unchecked\":%" PRIu64
               ",\"elapsed_ms\":%.1f,\"mb_per_s\":%.1f,\"list\":[%s]}\n",
               report->events, report->streams, report->log.batches, report->log.frames, report->log.segments,
               report->log.bytes, report->log.whole_position, report->log.closed ? "true" : "false", report->heads,
               report->damages, report->derived, report->notes, report->unchecked, seconds * 1e3, mb,
               command->list.data == NULL ? "" : command->list.data);
        return;
    }
    printf("%s events of %s streams in %s of log, read in %s (%.0f MB/s)\n", output_count(report->events, events),
           output_count(report->streams, streams), output_bytes((int64_t)report->log.bytes, bytes),
           output_duration(report->elapsed_us, time), mb);
    printf("up to position %" PRIu64 "%s; %" PRIu64 " signed heads agree\n", report->log.whole_position,
           report->log.closed ? "" : ", not closed in good order", report->heads);
    printf("%" PRIu64 " damages, %" PRIu64 " in derived files, %" PRIu64 " notes\n", report->damages, report->derived,
           report->notes);
}

static enum banyan_status run(struct verify_command *command, struct banyan_error *err)
{
    struct banyan_buf key = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX);
    struct store_verify_options options = {
        .heads_path = command->heads,
        .resume = command->resume != NULL,
        .memory_bytes = command->memory_mib * 1024 * 1024,
        .stop = &command->stop,
        .context = command,
        .finding = on_finding,
        .progress = on_progress,
    };
    const char *base = getenv("TMPDIR");
    char *folder = NULL, work[4096];
    struct store_verify_report report;
    enum banyan_status status = store_target_existing(&command->target, &folder, err);

    if (status == BANYAN_OK && command->public_key != NULL)
        status = files_read(command->public_key, &key, err);
    if (status != BANYAN_OK)
        goto out;
    (void)snprintf(work, sizeof(work), "%s/banyan-verify-%ld", base == NULL ? "/tmp" : base, (long)getpid());
    options.folder = folder;
    options.public_key = banyan_buf_str(&key);
    options.work_folder = command->resume != NULL ? command->resume : work;
    status = store_verify(&options, &report, err);
    output_progress_end(&command->progress);
    if (command->resume == NULL)
        (void)rmdir(work); /* it was emptied; a left over folder does no harm */
    if (status == BANYAN_STOPPED && command->resume != NULL)
        banyan_error_hint(err, "the same command goes on from there");
    if (status != BANYAN_OK)
        goto out;
    print_report(command, &report);
    if (report.damages > 0) {
        status = banyan_error_set(err, BANYAN_CORRUPT, "%s: %" PRIu64 " damages", folder, report.damages);
        banyan_error_hint(err,
                          "nothing was changed; restore the named files from a backup, or from a replica of the log");
    }
out:
    banyan_buf_release(&key);
    free(folder);
    return status;
}

enum banyan_status cmd_store_verify(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct verify_command command = {.target = STORE_TARGET_INIT,
                                     .list_max = LISTED_DEFAULT,
                                     .memory_mib = 512,
                                     .list = BANYAN_BUF_INIT((size_t)1 << 30)};
    const struct argp argp = {verify_option_list,
                              parse_verify,
                              NULL,
                              "Read every byte of a store and check it: checksums, chain, versions, links, ids, "
                              "derived files, signed heads.  Changes nothing and takes no lock.\vExit code 0: no "
                              "damage.  22: there is; each finding is named.",
                              verify_children,
                              NULL,
                              NULL};
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store verify", argc, argv, &command);
    output_progress_init(&command.progress, stderr);
    command.started_us = os_clock_monotonic_us(os_clock_real());
    status = os_stop_open(&command.stop, err);
    if (status == BANYAN_OK)
        status = os_stop_on_signals(&command.stop, err);
    if (status == BANYAN_OK)
        status = run(&command, err);
    banyan_buf_release(&command.list);
    os_stop_close(&command.stop);
    return status;
}
