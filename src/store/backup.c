/* SPDX-License-Identifier: Apache-2.0 */
/* See backup.h. */
#include "store/backup.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "store/signed_head.h"

enum {
    HEADS_BYTES_MAX = 256 * 1024 * 1024,
};

/* A log and what leads to it. */
struct place {
    struct os_files *files;
    char *hot, *cold; /* owned: folders */
    struct log *log;
};

static enum banyan_status open_place(struct place *place, const char *folder, struct os_files *files, bool read_only,
                                     struct os_clock *clock, struct banyan_error *err)
{
    *place = (struct place){
        .files = files == NULL ? os_files_real() : files,
        .hot = alloc_path(folder, "log"),
        .cold = alloc_path(folder, "cold"),
    };
    struct log_options options = {
        .folder = place->hot,
        .cold_folder = place->cold,
        .files = place->files,
        .clock = clock,
        .read_only = read_only,
    };
    return log_open(&options, &place->log, err);
}

static void close_place(struct place *place)
{
    log_close(place->log);
    free(place->hot);
    free(place->cold);
}

static enum banyan_status no_store(const char *folder, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_NOT_FOUND, "there is no store in %s", folder);
    banyan_error_hint(err, "a store's folder holds `log`");
    return BANYAN_NOT_FOUND;
}

static enum banyan_status copy_until(const struct store_copy_options *options, struct place *from,
                                     struct banyan_position until, struct log_copied *ret, struct banyan_error *err)
{
    char *hot = alloc_path(options->to, "log"), *cold = alloc_path(options->to, "cold");
    struct log_copy_options copy = {.folder = hot, .cold_folder = cold, .until = until, .link = options->link};
    enum banyan_status status = log_copy(from->log, &copy, ret, err);

    free(hot);
    free(cold);
    return status;
}

/* ---- backup ---- */

/* Keep the lines of heads up to position *last*: they sign nothing that a cut changes. */
static size_t heads_until(const char *data, size_t size, uint64_t last)
{
    size_t kept = 0;

    while (kept < size) {
        const char *end = memchr(data + kept, '\n', size - kept);
        struct signed_head head;
        struct banyan_str line;

        if (end == NULL)
            break; /* being written */
        line = (struct banyan_str){data + kept, (size_t)(end - data) - kept};
        if (signed_head_parse(line, &head, NULL) != BANYAN_OK || head.position > last)
            break;
        kept += line.size + 1;
    }
    return kept;
}

static enum banyan_status next_of_text(void *context, uint64_t at, void *data, size_t room, size_t *ret_size,
                                       struct banyan_error *err)
{
    const struct banyan_str *text = context;
    size_t left = text->size - (size_t)at;

    (void)err;
    *ret_size = left < room ? left : room;
    if (*ret_size > 0)
        memcpy(data, text->data + at, *ret_size);
    return BANYAN_OK;
}

/* Signed heads go with the log that they sign.  A small file, read whole. */
static enum banyan_status copy_heads(const struct store_copy_options *options, struct os_files *files, uint64_t last,
                                     struct banyan_error *err)
{
    char *from = alloc_path(options->from, SIGNED_HEADS_FILE), *to = alloc_path(options->to, SIGNED_HEADS_FILE);
    struct os_file *in = NULL;
    struct banyan_str kept;
    char *data = NULL;
    enum banyan_status status = files->open(files, from, false, &in, err);
    uint64_t size = 0;
    size_t got = 0;

    if (status == BANYAN_NOT_FOUND) {
        banyan_error_clear(err);
        status = BANYAN_OK;
        goto out;
    }
    if (status == BANYAN_OK)
        status = files->size(in, &size, err);
    if (status == BANYAN_OK && size > HEADS_BYTES_MAX)
        status = banyan_error_set(err, BANYAN_LIMIT, "%s has more than %d bytes", from, HEADS_BYTES_MAX);
    if (status != BANYAN_OK)
        goto out;
    data = alloc_zeroed(1, size + 1);
    status = files->read(in, 0, data, size, &got, err);
    if (status == BANYAN_OK) {
        kept = (struct banyan_str){data, heads_until(data, got, last)};
        status = os_file_put(files, to, next_of_text, &kept, err);
    }
out:
    files->close(in);
    free(data);
    free(to);
    free(from);
    return status;
}

enum banyan_status store_backup(const struct store_copy_options *options, struct log_copied *ret,
                                struct banyan_error *err)
{
    struct os_files *files = options->files == NULL ? os_files_real() : options->files;
    struct place from;
    enum banyan_status status = files->make_folder(files, options->to, err);

    /* Heads first: what is signed meanwhile would be behind the end of the copy. */
    if (status == BANYAN_OK)
        status = copy_heads(options, files, UINT64_MAX, err);
    if (status != BANYAN_OK)
        return status;
    status = open_place(&from, options->from, files, true, os_clock_real(), err);
    if (status == BANYAN_OK && log_durable(from.log).value == 0)
        status = no_store(options->from, err);
    if (status == BANYAN_OK)
        status = copy_until(options, &from, (struct banyan_position){0}, ret, err);
    if (status == BANYAN_OK)
        status = files->sync_folder(files, options->to, err);
    close_place(&from);
    return status;
}

/* ---- restore ---- */

/* A clock that says when the records at hand were recorded. */
struct replay_clock {
    struct os_clock base;
    struct banyan_time now;
};

static struct banyan_time replay_now(struct os_clock *clock)
{
    return ((struct replay_clock *)clock)->now;
}

/* Append the records of *from* behind *last* up to *until*: whole batches only. */
static enum banyan_status replay(struct log *from, struct banyan_position last, struct banyan_position until,
                                 struct log *to, struct replay_clock *clock, struct banyan_error *err)
{
    struct log_reader *reader = log_reader_open(from);
    enum banyan_status status = log_reader_seek(reader, (struct banyan_position){last.value + 1}, err);
    struct banyan_position position = last;
    struct log_record record;
    bool open = false;

    while (status == BANYAN_OK && position.value < until.value) {
        status = log_reader_next(reader, &record, err);
        if (status == BANYAN_OK && !open) {
            clock->now = record.recorded_at;
            status = log_append_begin(to, err);
            open = status == BANYAN_OK;
        }
        if (status == BANYAN_OK)
            status = log_append_record(to, record.data, &position, err);
        if (status == BANYAN_OK && record.ends_batch) {
            status = log_append_commit(to, err);
            open = status != BANYAN_OK;
        }
    }
    if (open) /* a batch that goes on behind *until*, or a failure */
        log_append_abort(to);
    if (status == BANYAN_OK && log_tail(to).value > 0)
        status = log_wait_durable(to, log_tail(to), INT64_MAX, err);
    log_reader_close(reader);
    return status;
}

static enum banyan_status find_until(struct log *log, const struct store_restore_until *until,
                                     struct banyan_position *ret, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    *ret = until->position.value == 0 ? log_durable(log) : until->position;
    if (until->time.us != BANYAN_TIME_NULL) {
        status = log_position_at(log, until->time, ret, err);
        ret->value--;
    }
    if (status == BANYAN_OK && ret->value == 0)
        status = banyan_error_set(err, BANYAN_INVALID, "nothing was recorded before that time");
    return status;
}

/* The folder must not hold a log. */
static enum banyan_status check_empty(const char *folder, struct os_files *files, struct banyan_error *err)
{
    char *hot = alloc_path(folder, "log"), **names = NULL;
    enum banyan_status status = BANYAN_OK;

    if (files->list(files, hot, &names, NULL) == BANYAN_OK) {
        if (names[0] != NULL) {
            status = banyan_error_set(err, BANYAN_CONFLICT, "there is a store in %s already", folder);
            banyan_error_hint(err, "take an empty folder");
        }
        for (size_t i = 0; names[i] != NULL; i++)
            free(names[i]);
        free(names);
    }
    free(hot);
    return status;
}

enum banyan_status store_restore(const struct store_copy_options *options, const struct store_restore_until *until,
                                 struct log_copied *ret, struct banyan_error *err)
{
    struct os_files *files = options->files == NULL ? os_files_real() : options->files;
    struct replay_clock clock = {.base = *os_clock_real()};
    struct place from, to;
    struct banyan_position last = {0};
    enum banyan_status status = check_empty(options->to, files, err);

    if (status != BANYAN_OK)
        return status;
    clock.base.now = replay_now;
    status = open_place(&from, options->from, files, true, os_clock_real(), err);
    if (status == BANYAN_OK && log_durable(from.log).value == 0)
        status = no_store(options->from, err);
    if (status == BANYAN_OK)
        status = find_until(from.log, until, &last, err);
    if (status == BANYAN_OK)
        status = files->make_folder(files, options->to, err);
    if (status == BANYAN_OK)
        status = copy_until(options, &from, last, ret, err);
    if (status == BANYAN_OK)
        status = copy_heads(options, files, ret->last.value, err);
    if (status == BANYAN_OK && ret->last.value < last.value) {
        status = open_place(&to, options->to, files, false, &clock.base, err);
        if (status == BANYAN_OK)
            status = replay(from.log, ret->last, last, to.log, &clock, err);
        if (status == BANYAN_OK)
            ret->last = log_durable(to.log);
        close_place(&to);
    }
    if (status == BANYAN_OK)
        status = files->sync_folder(files, options->to, err);
    close_place(&from);
    return status;
}
