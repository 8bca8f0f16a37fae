/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /events as application/x-ndjson: any number of events, a line each, appended while they come.
 *
 *   lines ──▶ filling batch ──full──▶ on its way (one at a time) ──durable──▶ the next one
 *
 * Invariants
 *   1. A batch is one atomic append; batches follow in the order of their lines.
 *   2. While a batch is on its way the next one fills, and then the body is not read any further: the client waits.
 *   3. The answer counts what is durable, also when a line was bad: what came before it stays.
 *
 * A repeat with the same ids is safe, also when its batches fall in other places: a batch of which some events were
 * there is appended again in smaller parts, until each part is all new or all known.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/body.h"
#include "http/http_int.h"
#include "os/clock.h"

enum {
    BATCH_EVENTS_MAX = 1000,
    BATCH_BYTES_MAX = 1024 * 1024,
};

struct batch {
    struct banyan_arena arena;
    struct store_event events[BATCH_EVENTS_MAX];
    size_t count, bytes;
    uint64_t lines[BATCH_EVENTS_MAX]; /* of each event */
};

struct bulk {
    struct http_job job;    /* the first member */
    struct http_call *call; /* NULL: the client is gone */
    struct http_server *server;
    struct batch *filling, *sending; /* sending: NULL, or on its way */
    size_t sent, part;               /* of sending: events that are done, and that are on their way behind them */
    struct banyan_buf line;          /* the beginning of a line whose end is not there yet */
    struct banyan_buf held;          /* lines behind a full batch */
    struct banyan_str key;           /* Idempotency-Key; data NULL: none */
    char *key_text;
    uint64_t lines, appended, repeated, batches, position;
    bool paused, ended;
    struct banyan_error err; /* the first one: nothing is read any more */
};

static void bulk_free(struct bulk *bulk)
{
    struct batch *const batches[] = {bulk->filling, bulk->sending};
    for (size_t i = 0; i < 2; i++) {
        if (batches[i] != NULL)
            banyan_arena_release(&batches[i]->arena);
        free(batches[i]);
    }
    banyan_buf_release(&bulk->line);
    banyan_buf_release(&bulk->held);
    free(bulk->key_text);
    free(bulk);
}

static void on_gone(struct http_call *call)
{
    struct bulk *bulk = call->context;
    bulk->call = NULL;
    if (bulk->sending == NULL)
        bulk_free(bulk); /* what was not sent is for the client to repeat */
}

/* ---- the answer ---- */

static void answer(struct bulk *bulk)
{
    struct http_call *call = bulk->call;
    struct banyan_buf text = BANYAN_BUF_INIT(4096);
    banyan_buf_printf(&text,
                      "\"appended\":%" PRIu64 ",\"repeated\":%" PRIu64 ",\"batches\":%" PRIu64 ",\"position\":%" PRIu64,
                      bulk->appended, bulk->repeated, bulk->batches, bulk->position);
    call->gone = NULL;
    if (bulk->err.status == BANYAN_OK) {
        struct banyan_buf body = BANYAN_BUF_INIT(4096);
        banyan_buf_printf(&body, "{\"lines\":%" PRIu64 ",%s}\n", bulk->lines, text.data);
        if (bulk->position > 0)
            http_header(call, "Banyan-Position", "%" PRIu64, bulk->position);
        http_reply(call, 200, "application/json", &body);
        banyan_buf_release(&body);
    } else {
        struct banyan_buf more = BANYAN_BUF_INIT(4096);
        banyan_buf_printf(&more, ",%s", text.data);
        http_failure_with(call, http_code_of(bulk->err.status), &bulk->err, more.data);
        banyan_buf_release(&more);
    }
    banyan_buf_release(&text);
    bulk_free(bulk);
}

/* ---- batches ---- */

static void submit(struct bulk *bulk)
{
    const struct batch *batch = bulk->sending;
    if (bulk->part > batch->count - bulk->sent)
        bulk->part = batch->count - bulk->sent;
    bulk->job.err = (struct banyan_error)BANYAN_ERROR_INIT;
    bulk->job.append = (struct store_append){.events = &batch->events[bulk->sent], .event_count = bulk->part};
    http_appender_submit(bulk->server, &bulk->job);
}

static void send_batch(struct bulk *bulk)
{
    bulk->sending = bulk->filling;
    bulk->filling = alloc_zeroed(1, sizeof(*bulk->filling));
    bulk->sent = 0;
    bulk->part = bulk->sending->count;
    submit(bulk);
}

static bool take_lines(struct bulk *bulk, struct banyan_str data);
static bool finish(struct bulk *bulk);

static void on_done(struct http_job *job)
{
    struct bulk *bulk = (struct bulk *)job;
    struct batch *batch = bulk->sending;
    if (job->status == BANYAN_OK) {
        *(job->appended.repeated ? &bulk->repeated : &bulk->appended) += job->append.event_count;
        if (job->appended.last.value > bulk->position)
            bulk->position = job->appended.last.value;
        bulk->sent += bulk->part;
        bulk->part *= 2;
        if (bulk->sent < batch->count) {
            submit(bulk);
            return;
        }
        bulk->batches++;
    } else if (job->status == BANYAN_DUPLICATE && bulk->part > 1) {
        bulk->part /= 2;
        submit(bulk);
        return;
    } else if (bulk->err.status == BANYAN_OK) {
        bulk->err = job->err;
        banyan_error_context(&bulk->err, "line %" PRIu64 " and on", batch->lines[bulk->sent]);
    }
    banyan_arena_release(&batch->arena);
    free(batch);
    bulk->sending = NULL;
    if (bulk->call == NULL) {
        bulk_free(bulk);
        return;
    }
    struct banyan_buf held = bulk->held;
    bulk->held = (struct banyan_buf)BANYAN_BUF_INIT(HTTP_BODY_BYTES_MAX);
    bool go_on = held.size == 0 || take_lines(bulk, banyan_buf_str(&held));
    banyan_buf_release(&held);
    if (finish(bulk) || !go_on || bulk->held.size > 0 || !bulk->paused)
        return;
    bulk->paused = false;
    http_conn_resume(bulk->call); /* may end the call */
}

/* ---- lines ---- */

static void take_line(struct bulk *bulk, struct banyan_str line)
{
    struct batch *batch = bulk->filling;
    struct body_defaults defaults = {.registry = bulk->server->options.registry,
                                     .idempotency_key = bulk->key,
                                     .now = os_clock_now(bulk->server->clock)};
    bulk->lines++;
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    if (line.size == 0 || bulk->err.status != BANYAN_OK)
        return; /* an empty line is nothing */
    batch->lines[batch->count] = bulk->lines;
    struct banyan_str copy = banyan_arena_str(&batch->arena, line);
    if (body_line(copy, &defaults, bulk->lines - 1, &batch->arena, &batch->events[batch->count], &bulk->err) !=
        BANYAN_OK) {
        banyan_error_context(&bulk->err, "line %" PRIu64, bulk->lines);
        return;
    }
    batch->count++;
    batch->bytes += line.size;
}

static bool is_full(const struct bulk *bulk)
{
    return bulk->filling->count == BATCH_EVENTS_MAX || bulk->filling->bytes >= BATCH_BYTES_MAX;
}

/* False: no more for now; what is left is held. */
static bool take_lines(struct bulk *bulk, struct banyan_str data)
{
    const char *at = data.data, *end = data.data + data.size;
    while (at < end && bulk->err.status == BANYAN_OK) {
        if (is_full(bulk) && bulk->sending != NULL) {
            banyan_buf_add(&bulk->held, at, (size_t)(end - at));
            return false;
        }
        if (is_full(bulk))
            send_batch(bulk);
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        banyan_buf_add(&bulk->line, at, (size_t)((stop == NULL ? end : stop) - at));
        if (bulk->line.overflow)
            (void)banyan_error_set(&bulk->err, BANYAN_LIMIT, "line %" PRIu64 " has more than %d bytes", bulk->lines + 1,
                                   HTTP_BODY_BYTES_MAX);
        if (stop == NULL || bulk->line.overflow)
            break;
        take_line(bulk, banyan_buf_str(&bulk->line));
        banyan_buf_reset(&bulk->line);
        at = stop + 1;
    }
    if (bulk->sending == NULL && is_full(bulk))
        send_batch(bulk);
    return true;
}

/* Everything was read, or something was wrong: answer once nothing is on its way.  True: answered. */
static bool finish(struct bulk *bulk)
{
    bool over = bulk->ended || bulk->err.status != BANYAN_OK;
    if (!over || bulk->sending != NULL) /* what is held waits for what is on its way */
        return false;
    if (bulk->err.status == BANYAN_OK && bulk->line.size > 0 && !is_full(bulk)) { /* the last line needs no end */
        take_line(bulk, banyan_buf_str(&bulk->line));
        banyan_buf_reset(&bulk->line);
    }
    if (bulk->err.status == BANYAN_OK && bulk->filling->count > 0) {
        send_batch(bulk);
        return false;
    }
    answer(bulk);
    return true;
}

static bool on_body(struct http_call *call, struct banyan_str data)
{
    struct bulk *bulk = call->context;
    if (data.data == NULL) {
        bulk->ended = true;
        return !finish(bulk);
    }
    if (!take_lines(bulk, data) && !bulk->paused) {
        bulk->paused = true;
        http_conn_pause(call);
    }
    return bulk->err.status == BANYAN_OK || !finish(bulk);
}

void http_events_bulk(struct http_call *call)
{
    const char *key = http_asked(call, "Idempotency-Key");
    struct bulk *bulk = alloc_zeroed(1, sizeof(*bulk));
    bulk->job.done = on_done;
    bulk->call = call;
    bulk->server = call->server;
    bulk->filling = alloc_zeroed(1, sizeof(*bulk->filling));
    bulk->line = (struct banyan_buf)BANYAN_BUF_INIT(HTTP_BODY_BYTES_MAX);
    bulk->held = (struct banyan_buf)BANYAN_BUF_INIT(HTTP_BODY_BYTES_MAX);
    if (key != NULL) {
        bulk->key_text = alloc_text(key);
        bulk->key = banyan_str_of(bulk->key_text);
    }
    call->context = bulk;
    call->gone = on_gone;
    call->on_body = on_body;
}
