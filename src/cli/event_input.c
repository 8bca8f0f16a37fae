/* SPDX-License-Identifier: Apache-2.0 */
/* See event_input.h. */
#include "cli/event_input.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "store/event_file.h"
#include "store/event_line.h"

enum {
    PIECE_BYTES = 256 * 1024,
    LINE_BYTES_MAX = 160 * 1024 * 1024, /* the largest event as base64, with all around it */
};

struct event_input {
    FILE *file;
    const char *name;      /* for messages; borrowed */
    uint64_t size, done;   /* bytes */
    struct banyan_buf buf; /* what was read of a file of lines */
    size_t at;             /* in buf, of the next line */
    uint64_t line;
    bool ended;
    struct event_file_reader *avro; /* NULL: lines */
    size_t sniffed;                 /* first bytes in buf that the Avro reader has yet to get */
};

static enum banyan_status read_piece(struct event_input *input, void *data, size_t size, size_t *ret_size,
                                     struct banyan_error *err)
{
    *ret_size = fread(data, 1, size, input->file);
    input->done += *ret_size;
    if (*ret_size == 0 && ferror(input->file))
        return banyan_error_errno(err, errno, "cannot read %s", input->name);
    return BANYAN_OK;
}

/* For the Avro reader: the sniffed bytes first. */
static enum banyan_status avro_source(void *context, void *data, size_t size, size_t *ret_size,
                                      struct banyan_error *err)
{
    struct event_input *input = context;

    if (input->at == input->sniffed)
        return read_piece(input, data, size, ret_size, err);
    *ret_size = size < input->sniffed - input->at ? size : input->sniffed - input->at;
    memcpy(data, input->buf.data + input->at, *ret_size);
    input->at += *ret_size;
    return BANYAN_OK;
}

/* Read on into the buffer; what was given out before goes. */
static enum banyan_status fill(struct event_input *input, struct banyan_error *err)
{
    size_t left = input->buf.size - input->at, got;
    enum banyan_status status;
    char *to;

    if (left > 0 && input->at > 0)
        memmove(input->buf.data, input->buf.data + input->at, left);
    input->buf.size = left;
    input->at = 0;
    to = banyan_buf_extend(&input->buf, PIECE_BYTES);
    if (to == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "%s, line %" PRIu64 ": more than %d bytes", input->name,
                                input->line + 1, LINE_BYTES_MAX);
    status = read_piece(input, to, PIECE_BYTES, &got, err);
    input->buf.size = left + (status == BANYAN_OK ? got : 0);
    input->ended = got == 0;
    return status;
}

enum banyan_status event_input_open(const char *path, struct event_input **ret, struct banyan_error *err)
{
    bool standard = path == NULL || strcmp(path, "-") == 0;
    struct event_input *input = alloc_zeroed(1, sizeof(*input));
    enum banyan_status status = BANYAN_OK;
    struct stat facts;

    input->name = standard ? "standard input" : path;
    input->buf = (struct banyan_buf)BANYAN_BUF_INIT(LINE_BYTES_MAX + PIECE_BYTES);
    input->file = standard ? stdin : fopen(path, "rb");
    if (input->file == NULL)
        status = banyan_error_errno(err, errno, "cannot open %s", path);
    if (status == BANYAN_OK && fstat(fileno(input->file), &facts) == 0 && S_ISREG(facts.st_mode))
        input->size = (uint64_t)facts.st_size;
    if (status == BANYAN_OK)
        status = fill(input, err);
    if (status == BANYAN_OK && input->buf.size >= 4 && memcmp(input->buf.data, "Obj\x01", 4) == 0) {
        input->sniffed = input->buf.size;
        status = event_file_reader_open(avro_source, input, &input->avro, err);
    }
    if (status != BANYAN_OK) {
        event_input_close(input);
        return status;
    }
    *ret = input;
    return BANYAN_OK;
}

void event_input_close(struct event_input *input)
{
    if (input == NULL)
        return;
    event_file_reader_close(input->avro);
    if (input->file != NULL && input->file != stdin)
        (void)fclose(input->file); /* only read */
    banyan_buf_release(&input->buf);
    free(input);
}

uint64_t event_input_done(const struct event_input *input)
{
    return input->done;
}

uint64_t event_input_size(const struct event_input *input)
{
    return input->size;
}

/* The next line that is not empty, without its break. */
static enum banyan_status next_line(struct event_input *input, struct banyan_str *ret, struct banyan_error *err)
{
    for (;;) {
        const char *begin = input->buf.data + input->at;
        size_t left = input->buf.size - input->at;
        const char *end = left == 0 ? NULL : memchr(begin, '\n', left);

        if (end == NULL && !input->ended) {
            enum banyan_status status = fill(input, err);

            if (status != BANYAN_OK)
                return status;
            continue;
        }
        if (left == 0)
            return BANYAN_NOT_FOUND;
        input->line++;
        *ret = (struct banyan_str){begin, end == NULL ? left : (size_t)(end - begin)};
        input->at += ret->size + (end != NULL);
        if (ret->size > 0 && ret->data[ret->size - 1] == '\r')
            ret->size--;
        if (ret->size > 0)
            return BANYAN_OK;
    }
}

/* Everything that lives in the input's own buffers goes to *arena*. */
static void keep(struct store_read_event *event, struct banyan_arena *arena)
{
    struct banyan_str *texts[] = {&event->event.stream, &event->event.type,  &event->event.payload,
                                  &event->event.meta,   &event->cursor.name, &event->cursor.value};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        *texts[i] = banyan_arena_str(arena, *texts[i]);
}

enum banyan_status event_input_next(struct event_input *input, struct banyan_arena *arena, struct store_read_event *ret,
                                    struct banyan_error *err)
{
    struct banyan_str line;
    enum banyan_status status;

    if (input->avro != NULL) {
        status = event_file_reader_next(input->avro, ret, err);
        if (status != BANYAN_OK && status != BANYAN_NOT_FOUND)
            banyan_error_context(err, "%s", input->name);
    } else {
        status = next_line(input, &line, err);
        if (status == BANYAN_OK) {
            status = event_line_read(line, arena, ret, err);
            if (status != BANYAN_OK)
                banyan_error_context(err, "%s, line %" PRIu64, input->name, input->line);
        }
    }
    if (status == BANYAN_OK)
        keep(ret, arena);
    return status;
}
