/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /streams/{name} and POST /events: one atomic append, answered when it is durable.
 *
 *   body ──body_*()──▶ events ──http_appender_submit()──▶ … durable ──▶ positions, versions, ETag
 *
 * The request owns the memory of its append: a client that hangs up meanwhile is forgotten by the answer, while the
 * append goes on.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "http/body.h"
#include "http/http_int.h"
#include "os/clock.h"

struct appending {
    struct http_job job;    /* the first member */
    struct http_call *call; /* NULL: the client is gone */
    struct http_server *server;
    struct banyan_arena arena;
    struct banyan_buf body; /* what the events point into */
    struct body_batch batch;
    bool of_stream; /* POST /streams/{name} */
    bool by_header; /* a condition came in If-Match or If-None-Match */
};

static void appending_free(struct appending *appending)
{
    banyan_arena_release(&appending->arena);
    banyan_buf_release(&appending->body);
    free(appending);
}

static void on_gone(struct http_call *call)
{
    struct appending *appending = call->context;
    appending->call = NULL;
}

/* ---- the answer ---- */

static const char *expectation(const struct store_condition *condition)
{
    return condition->expect == STORE_EXPECT_EXISTS   ? "exists"
           : condition->expect == STORE_EXPECT_ABSENT ? "absent"
                                                      : "version";
}

static bool is_met(const struct store_condition *condition, uint64_t version)
{
    return condition->expect == STORE_EXPECT_EXISTS   ? version > 0
           : condition->expect == STORE_EXPECT_ABSENT ? version == 0
                                                      : version == condition->version.value;
}

/* Which conditions do not hold: as the streams are now. */
static void answer_conflict(struct appending *appending)
{
    struct banyan_buf more = BANYAN_BUF_INIT(128 * 1024);
    size_t count = 0;
    banyan_buf_add_text(&more, ",\"conflicts\":[");
    for (size_t i = 0; i < appending->batch.condition_count && count < 32; i++) {
        const struct store_condition *condition = &appending->batch.conditions[i];
        struct store_head head = {{0}, {0}};
        if (store_head(appending->server->options.store, condition->stream, &head, NULL) != BANYAN_OK)
            continue;
        uint64_t version = head.version.value;
        if (is_met(condition, version))
            continue;
        banyan_buf_add_text(&more, count++ > 0 ? ",{\"stream\":" : "{\"stream\":");
        banyan_buf_add_json(&more, condition->stream);
        banyan_buf_printf(&more, ",\"expect\":\"%s\"", expectation(condition));
        if (condition->expect == STORE_EXPECT_VERSION)
            banyan_buf_printf(&more, ",\"expected\":%" PRIu64, condition->version.value);
        banyan_buf_printf(&more, ",\"actual\":%" PRIu64 "}", version);
    }
    banyan_buf_add_char(&more, ']');
    http_failure_with(appending->call, appending->by_header ? 412 : 409, &appending->job.err, more.data);
    banyan_buf_release(&more);
}

/* A version that the head did not tell: of an append that was there already, or that others followed at once. */
static void read_version(struct appending *appending, struct http_written *written)
{
    const struct store_appended *appended = &appending->job.appended;
    struct store_reader *reader = store_reader_open(appending->server->options.store);
    struct store_read_event event;
    uint64_t position = appended->repeated ? appended->last.value : appended->first.value + written->last_event;
    if (store_reader_seek(reader, (struct banyan_position){position}, NULL) == BANYAN_OK &&
        store_reader_next(reader, &event, NULL) == BANYAN_OK && banyan_str_equal(event.event.stream, written->stream))
        written->version = event.version;
    store_reader_close(reader);
}

static void answer_written(struct appending *appending)
{
    struct http_call *call = appending->call;
    struct http_job *job = &appending->job;
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    banyan_buf_printf(&body, "{\"first\":%" PRIu64 ",\"last\":%" PRIu64 ",\"repeated\":%s", job->appended.first.value,
                      job->appended.last.value, job->appended.repeated ? "true" : "false");
    for (size_t i = 0; i < job->written_count; i++)
        if (job->written[i].version.value == 0)
            read_version(appending, &job->written[i]);
    if (appending->of_stream) {
        banyan_buf_printf(&body, ",\"version\":%" PRIu64 "}\n", job->written[0].version.value);
        http_header(call, "ETag", "\"%" PRIu64 "\"", job->written[0].version.value);
    } else {
        banyan_buf_add_text(&body, ",\"streams\":[");
        for (size_t i = 0; i < job->written_count; i++) {
            banyan_buf_add_text(&body, i > 0 ? ",{\"stream\":" : "{\"stream\":");
            banyan_buf_add_json(&body, job->written[i].stream);
            if (job->written[i].version.value != 0)
                banyan_buf_printf(&body, ",\"version\":%" PRIu64, job->written[i].version.value);
            banyan_buf_add_char(&body, '}');
        }
        banyan_buf_add_text(&body, "]}\n");
    }
    http_header(call, "Banyan-Position", "%" PRIu64, job->appended.last.value);
    http_reply(call, job->appended.repeated ? 200 : 201, "application/json", &body);
    banyan_buf_release(&body);
}

static void on_done(struct http_job *job)
{
    struct appending *appending = (struct appending *)job;
    if (appending->call != NULL) {
        appending->call->gone = NULL;
        if (job->status == BANYAN_OK)
            answer_written(appending);
        else if (job->status == BANYAN_CONFLICT)
            answer_conflict(appending);
        else
            http_failure(appending->call, &job->err);
    }
    appending_free(appending);
}

/* ---- the request ---- */

/* The streams that the events go to, each once, and its last event. */
static void note_streams(struct appending *appending)
{
    struct body_batch *batch = &appending->batch;
    struct http_job *job = &appending->job;
    job->written = banyan_arena_zalloc(&appending->arena, batch->event_count * sizeof(*job->written));
    for (size_t i = batch->event_count; i-- > 0;) {
        size_t at = 0;
        /* Few streams an append: a list is enough.  The newest found is looked at first. */
        while (at < job->written_count && at < 256 &&
               !banyan_str_equal(job->written[job->written_count - 1 - at].stream, batch->events[i].stream))
            at++;
        if (at == job->written_count)
            job->written[job->written_count++] = (struct http_written){batch->events[i].stream, i, {0}};
        else if (at == 256)
            continue; /* an append over very many streams does not tell all their versions */
    }
}

bool http_header_condition(struct http_call *call, struct banyan_str stream, struct store_condition *ret, bool *ret_is)
{
    const char *match = http_asked(call, "If-Match"), *none = http_asked(call, "If-None-Match");
    size_t size = match == NULL ? 0 : strlen(match);
    uint64_t version;
    *ret_is = match != NULL || none != NULL;
    *ret = (struct store_condition){.stream = stream};
    if (match != NULL && none != NULL) {
        http_problem(call, 400, NULL, "If-Match and If-None-Match exclude each other");
        return false;
    }
    if (none != NULL) {
        ret->expect = STORE_EXPECT_ABSENT;
        if (strcmp(none, "*") == 0)
            return true;
        http_problem(call, 400, "If-None-Match: * means that the stream must not exist yet",
                     "If-None-Match of an append has to be *");
        return false;
    }
    if (match == NULL)
        return true;
    ret->expect = strcmp(match, "*") == 0 ? STORE_EXPECT_EXISTS : STORE_EXPECT_VERSION;
    if (ret->expect == STORE_EXPECT_EXISTS)
        return true;
    if (size > 2 && match[0] == '"' && match[size - 1] == '"' &&
        wire_number((struct banyan_str){match + 1, size - 2}, &version)) {
        ret->version.value = version;
        return true;
    }
    http_problem(call, 400, "give back the ETag of the stream as it was, for example \"3\", or *",
                 "If-Match has to be a version in quotes");
    return false;
}

/* A CloudEvent whose attributes are headers: the body is the payload. */
static enum banyan_status binary_cloudevent(struct http_call *call, const struct body_defaults *defaults,
                                            struct appending *appending, struct banyan_error *err)
{
    struct body_defaults cloud = *defaults;
    struct banyan_buf text = BANYAN_BUF_INIT(64 * 1024);
    const char *type = http_asked(call, "Content-Type");
    bool json = http_is_type(type, "application/json");
    struct banyan_str payload = banyan_buf_str(&appending->body);
    cloud.cloud = true;
    banyan_buf_add_char(&text, '{');
    for (size_t i = 0; i < call->head.header_count; i++) {
        const struct wire_header *header = &call->head.headers[i];
        if (header->name.size <= 3 || strncasecmp(header->name.data, "ce-", 3) != 0)
            continue;
        if (text.size > 1)
            banyan_buf_add_char(&text, ',');
        struct banyan_str name =
            banyan_arena_str(&appending->arena, (struct banyan_str){header->name.data + 3, header->name.size - 3});
        for (size_t c = 0; c < name.size; c++)
            if (name.data[c] >= 'A' && name.data[c] <= 'Z')
                ((char *)name.data)[c] |= 0x20; /* our copy */
        banyan_buf_add_json(&text, name);
        banyan_buf_add_char(&text, ':');
        banyan_buf_add_json(&text, header->value);
    }
    banyan_buf_add_text(&text, ",\"data\":null}");
    enum banyan_status st = body_events(banyan_arena_str(&appending->arena, banyan_buf_str(&text)), &cloud,
                                        &appending->arena, &appending->batch, err);
    if (st == BANYAN_OK && json && !http_is_json(payload))
        st = banyan_error_set(err, BANYAN_INVALID, "the body is no JSON");
    if (st == BANYAN_OK)
        st = json ? body_payload(&cloud, payload, -1, &appending->arena, appending->batch.events, err) : BANYAN_OK;
    if (st == BANYAN_OK && !json) {
        appending->batch.events->payload = payload;
        appending->batch.events->schema = 0;
    }
    banyan_buf_release(&text);
    return st;
}

/* Cloud or plain by the content type; false: answered. */
static bool media_type(struct http_call *call, bool *ret_cloud)
{
    const char *type = http_asked(call, "Content-Type");
    *ret_cloud =
        http_is_type(type, "application/cloudevents+json") || http_is_type(type, "application/cloudevents-batch+json");
    if (*ret_cloud || http_is_type(type, "application/json"))
        return true;
    http_problem(call, 415,
                 "application/json, application/cloudevents+json, application/cloudevents-batch+json; many "
                 "events to /events as application/x-ndjson",
                 "this content type is not taken here");
    return false;
}

static struct appending *appending_new(struct http_call *call)
{
    struct appending *appending = alloc_zeroed(1, sizeof(*appending));
    appending->job.context = appending;
    appending->job.done = on_done;
    appending->call = call;
    appending->server = call->server;
    /* The body moves: the call may be over before the append is. */
    appending->body = call->body;
    call->server->body_bytes -= call->body.capacity;
    call->body = (struct banyan_buf)BANYAN_BUF_INIT(0);
    return appending;
}

static void append(struct http_call *call, struct banyan_str stream)
{
    static const char *const none[] = {NULL};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_condition condition;
    const char *key = http_asked(call, "Idempotency-Key");
    bool binary = stream.data != NULL && http_asked(call, "ce-specversion") != NULL;
    bool cloud = false, has_condition = false;
    enum banyan_status st;
    if (!http_only(call, none) || (!binary && !media_type(call, &cloud)))
        return;
    if (stream.data != NULL && !http_header_condition(call, stream, &condition, &has_condition))
        return;
    if (key != NULL && (key[0] == '\0' || strlen(key) > 255)) {
        http_problem(call, 400, NULL, "Idempotency-Key has to have 1 to 255 characters");
        return;
    }
    struct appending *appending = appending_new(call);
    struct body_defaults defaults = {.registry = call->server->options.registry,
                                     .stream =
                                         stream.data == NULL ? stream : banyan_arena_str(&appending->arena, stream),
                                     .idempotency_key = banyan_str_of(key),
                                     .now = os_clock_now(call->server->clock),
                                     .cloud = cloud};
    struct banyan_str body = banyan_buf_str(&appending->body);
    appending->of_stream = stream.data != NULL;
    if (binary)
        st = binary_cloudevent(call, &defaults, appending, &err);
    else if (appending->of_stream)
        st = body_events(body, &defaults, &appending->arena, &appending->batch, &err);
    else
        st = body_batch(body, &defaults, &appending->arena, &appending->batch, &err);
    if (st != BANYAN_OK) {
        http_failure(call, &err);
        appending_free(appending);
        return;
    }
    if (has_condition) {
        condition.stream = defaults.stream;
        appending->by_header = true;
        appending->batch.conditions = banyan_arena_alloc(&appending->arena, sizeof(condition));
        *appending->batch.conditions = condition;
        appending->batch.condition_count = 1;
    }
    note_streams(appending);
    appending->job.append = (struct store_append){.events = appending->batch.events,
                                                  .event_count = appending->batch.event_count,
                                                  .conditions = appending->batch.conditions,
                                                  .condition_count = appending->batch.condition_count};
    call->context = appending;
    call->gone = on_gone;
    http_appender_submit(call->server, &appending->job);
}

void http_stream_append(struct http_call *call)
{
    append(call, call->segments[1]);
}

void http_events_append(struct http_call *call)
{
    append(call, (struct banyan_str){NULL, 0});
}
