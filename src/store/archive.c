/* SPDX-License-Identifier: Apache-2.0 */
/* See archive.h.  The payload of a mark is one line of JSON: {"version":17,"from":"2015-05-01T00:00:00.000000Z"}. */
#include "store/archive.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/jtext.h"
#include "os/random.h"
#include "schema/time_text.h"
#include "store/store_int.h"

static const char prefix[] = "$archive-";

enum {
    PAYLOAD_BYTES_MAX = 128,
};

/* The stream of marks of *stream*, in *name*. */
static enum banyan_status mark_stream(struct banyan_str stream, char name[STORE_STREAM_NAME_BYTES_MAX],
                                      struct banyan_str *ret, struct banyan_error *err)
{
    if (stream.size > STORE_STREAM_NAME_BYTES_MAX - (sizeof(prefix) - 1))
        return banyan_error_set(err, BANYAN_LIMIT, "a stream with a name of %zu bytes cannot be marked; at most %zu",
                                stream.size, STORE_STREAM_NAME_BYTES_MAX - (sizeof(prefix) - 1));
    memcpy(name, prefix, sizeof(prefix) - 1);
    if (stream.size > 0)
        memcpy(name + sizeof(prefix) - 1, stream.data, stream.size);
    *ret = (struct banyan_str){name, sizeof(prefix) - 1 + stream.size};
    return BANYAN_OK;
}

enum banyan_status store_archive_set(struct store *store, struct banyan_str stream, struct banyan_time from,
                                     struct banyan_error *err)
{
    char name[STORE_STREAM_NAME_BYTES_MAX], payload[PAYLOAD_BYTES_MAX], when[TIME_TEXT_MAX] = "null";
    struct store_head head = {{0}, {0}}, marks = {{0}, {0}};
    struct store_appended appended;
    struct banyan_str marks_stream;
    enum banyan_status status = mark_stream(stream, name, &marks_stream, err);
    bool clear = from.us == BANYAN_TIME_NULL;

    if (status == BANYAN_OK)
        status = store_head(store, stream, &head, err);
    if (status == BANYAN_OK)
        status = store_head(store, marks_stream, &marks, err);
    if (status == BANYAN_OK && head.version.value == 0)
        status = banyan_error_set(err, BANYAN_NOT_FOUND, "there is no stream %.*s", (int)stream.size, stream.data);
    if (status != BANYAN_OK)
        return status;
    if (!clear)
        *time_put_moment(when, from.us, TIME_DIGITS_MICROS) = '\0';
    (void)snprintf(payload, sizeof(payload), "{\"version\":%" PRIu64 ",\"from\":%s%s%s}", head.version.value,
                   clear ? "" : "\"", when, clear ? "" : "\"");
    struct store_event event = {
        .id = os_uuid_new(),
        .stream = marks_stream,
        .type = clear ? BANYAN_STR("$ArchiveMarkCleared") : BANYAN_STR("$StreamArchivable"),
        .at = os_clock_now(store->options.clock),
        .payload = banyan_str_of(payload),
    };
    struct store_condition conditions[] = {
        {stream, STORE_EXPECT_VERSION, head.version}, /* the version that the mark names */
        {marks_stream, STORE_EXPECT_VERSION, marks.version},
    };
    return store_append(store,
                        &(struct store_append){
                            .events = &event,
                            .event_count = 1,
                            .conditions = conditions,
                            .condition_count = sizeof(conditions) / sizeof(conditions[0]),
                        },
                        &appended, err);
}

/* The payload of a mark. */
static bool read_mark(struct banyan_str payload, struct store_archive_mark *ret)
{
    struct jtext_input in = jtext_input(payload);
    struct banyan_str name, text;

    ret->from.us = BANYAN_TIME_NULL;
    if (!jtext_object(&in))
        return false;
    while (jtext_member(&in, &name)) {
        if (jtext_is(name, "version")) {
            if (!jtext_number(&in, &text) || text.size > 19)
                return false;
            for (size_t i = 0; i < text.size; i++)
                ret->version.value = ret->version.value * 10 + (uint64_t)(text.data[i] - '0');
        } else if (jtext_is(name, "from") && jtext_peek(&in) == JTEXT_STRING) {
            if (!jtext_string(&in, &text) || !time_get_moment(text, TIME_DIGITS_MICROS, &ret->from.us))
                return false;
        } else if (!jtext_skip(&in, &text)) {
            return false;
        }
    }
    ret->marked = ret->from.us != BANYAN_TIME_NULL;
    return jtext_end(&in);
}

enum banyan_status store_archive_get(struct store *store, struct banyan_str stream, struct store_archive_mark *ret,
                                     struct banyan_error *err)
{
    char name[STORE_STREAM_NAME_BYTES_MAX];
    struct store_reader *reader = NULL;
    struct store_read_event event;
    struct banyan_str marks_stream;
    enum banyan_status status = mark_stream(stream, name, &marks_stream, NULL);

    *ret = (struct store_archive_mark){.from = {BANYAN_TIME_NULL}};
    if (status != BANYAN_OK)
        return BANYAN_OK; /* such a name was never marked */
    reader = store_reader_open(store);
    status = store_reader_stream_backward(reader, marks_stream, (struct banyan_version){0}, err);
    if (status == BANYAN_OK)
        status = store_reader_next(reader, &event, err);
    if (status == BANYAN_NOT_FOUND) {
        banyan_error_clear(err);
        status = BANYAN_OK;
    } else if (status == BANYAN_OK) {
        ret->recorded_at = event.recorded_at;
        if (!read_mark(event.event.payload, ret))
            status =
                banyan_error_set(err, BANYAN_CORRUPT, "position %" PRIu64 " is no archive mark", event.position.value);
    }
    store_reader_close(reader);
    return status;
}

enum banyan_status store_archive_segments(struct store *store, struct banyan_position limit, store_archive_told told,
                                          void *context, struct log_archived *ret, struct banyan_error *err)
{
    struct log_archived sum = {.segments = 0}, one;
    enum banyan_status status;

    do {
        one = (struct log_archived){.segments = 0};
        status = log_segment_archive(store->log, limit, &one, err);
        if (status != BANYAN_OK || one.segments == 0)
            break;
        if (sum.segments == 0)
            sum.first_position = one.first_position;
        sum.segments += one.segments;
        sum.last_position = one.last_position;
        sum.bytes_before += one.bytes_before;
        sum.bytes_after += one.bytes_after;
        if (told != NULL)
            told(context, &one);
    } while (one.segments > 0);
    *ret = sum;
    return status;
}
