/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /views/{view}/{key} and GET /views/{view}?{column}={value}: rows of a read model with their freshness.
 *
 * A request with Banyan-Min-Position that came too early is kept (struct waiting) and looked at again by a timer until
 * its time is over: the loop never blocks.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "os/clock.h"

enum {
    LOOK_AGAIN_US = 2000,
    WAITING_MAX = 1000,
    AFTER_TEXT_SIZE = 64,
};

/* A request that waits for a position; linked from the server. */
struct waiting {
    struct waiting *next;
    struct http_call *call;
    struct event *timer;
    int view; /* or HTTP_WAIT_LOG */
    void (*again)(struct http_call *call);
    uint64_t position;
    int64_t until_us;
};

/* ---- rows ---- */

struct rows {
    const struct banyan_record *record;
    const struct banyan_field *range; /* of the list's index */
    struct banyan_buf *body;
    size_t count, limit; /* a row more than limit only says that there is a next page */
    bool more;
    struct banyan_time last_range;
    int64_t last_key;
};

static enum banyan_status add_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct rows *rows = context;
    (void)err;
    if (rows->count == rows->limit) {
        rows->more = true;
        return BANYAN_OK;
    }
    banyan_buf_add_text(rows->body, rows->count++ > 0 ? "," : "");
    banyan_record_json(rows->record, row, rows->body);
    rows->last_key = key;
    if (rows->range != NULL)
        rows->last_range = *(const struct banyan_time *)(const void *)((const char *)row + rows->range->offset);
    return BANYAN_OK;
}

static void reply_rows(struct http_call *call, const struct sink_checkpoint *checkpoint, const struct banyan_buf *body)
{
    http_header(call, "Banyan-Position", "%" PRIu64, checkpoint->position.value);
    http_reply(call, 200, "application/json", body);
}

static void one(struct http_call *call, size_t view, const char *text)
{
    static const char *const none[] = {NULL};
    const struct http_view *options = &call->server->options.views[view];
    struct sink *sink = call->server->readers[view];
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    struct rows rows = {.record = options->projection->tables[0].row, .body = &body, .limit = 1};
    int64_t key;
    if (!http_only(call, none))
        return;
    if (!http_parse_key(text, &key) || key == INT64_MAX) { /* the last one cannot be asked for as a range */
        http_problem(call, 400, "keys are integers", "\"%.100s\" is no key", text);
        return;
    }
    enum banyan_status st = sink->ops->range(sink, key, key + 1, &checkpoint, add_row, &rows, &err);
    if (st != BANYAN_OK)
        http_failure(call, &err);
    else if (rows.count == 0)
        http_problem(call, 404, NULL, "view %s has no row %" PRId64, options->name, key);
    else
        reply_rows(call, &checkpoint, &body);
    banyan_buf_release(&body);
}

/* ---- lists ---- */

/* The index whose column is among the parameters; a problem is sent where there is none or something unknown. */
static const struct banyan_view_index *choose_index(struct http_call *call, const struct banyan_projection *projection)
{
    const struct banyan_view_index *chosen = NULL;
    const char *known[] = {"from", "to", "limit", "after", NULL, NULL};
    for (size_t i = 0; i < projection->tables[0].index_count; i++)
        if (http_parameter(call, projection->tables[0].indexes[i].equal) != NULL && chosen == NULL)
            chosen = &projection->tables[0].indexes[i];
    if (chosen != NULL)
        known[4] = chosen->equal;
    if (chosen == NULL) {
        char names[512] = "";
        for (size_t i = 0; i < projection->tables[0].index_count && strlen(names) < 400; i++) {
            strncat(names, i > 0 ? ", " : "lists are by ", 32);
            strncat(names, projection->tables[0].indexes[i].equal, 64);
        }
        http_problem(call, 400, names, "a list needs a column to select by");
        return NULL;
    }
    return http_only(call, known) ? chosen : NULL;
}

static bool after_parameter(struct http_call *call, struct sink_list *query)
{
    const char *text = http_parameter(call, "after");
    const char *point = text == NULL ? NULL : strchr(text, '.');
    char range[AFTER_TEXT_SIZE];
    if (text == NULL)
        return true;
    query->after = true;
    if (point != NULL && (size_t)(point - text) < sizeof(range)) {
        memcpy(range, text, (size_t)(point - text));
        range[point - text] = '\0';
        if (http_parse_key(range, &query->after_range.us) && http_parse_key(point + 1, &query->after_key))
            return true;
    }
    http_problem(call, 400, "give back `next` of the page before, unchanged", "after is no continuation");
    return false;
}

static void list(struct http_call *call, size_t view)
{
    const struct banyan_projection *projection = call->server->options.views[view].projection;
    struct sink *sink = call->server->readers[view];
    const struct banyan_view_index *index = choose_index(call, projection);
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint;
    uint64_t limit;
    if (index == NULL)
        return;
    struct sink_list query = {.index = index, .equal = banyan_str_of(http_parameter(call, index->equal))};
    struct rows rows = {.record = projection->tables[0].row,
                        .range = banyan_record_field(projection->tables[0].row, banyan_str_of(index->range)),
                        .body = &body};
    if (!http_time(call, "from", &query.from) || !http_time(call, "to", &query.to) || !after_parameter(call, &query) ||
        !http_number(call, "limit", HTTP_LIMIT_DEFAULT, 1, HTTP_LIMIT_MAX, &limit))
        return;
    query.limit = limit + 1;
    rows.limit = limit;
    banyan_buf_add_text(&body, "{\"items\":[");
    enum banyan_status st = sink->ops->list(sink, &query, &checkpoint, add_row, &rows, &err);
    banyan_buf_add_text(&body, "]");
    if (rows.more)
        banyan_buf_printf(&body, ",\"next\":\"%" PRId64 ".%" PRId64 "\"", rows.last_range.us, rows.last_key);
    banyan_buf_add_text(&body, "}\n");
    if (st != BANYAN_OK)
        http_failure(call, &err);
    else
        reply_rows(call, &checkpoint, &body);
    banyan_buf_release(&body);
}

/* ---- waiting ---- */

static void waiting_unlink(struct waiting *waiting)
{
    struct http_server *server = waiting->call->server;
    for (struct waiting **link = &server->waiting; *link != NULL; link = &(*link)->next) {
        if (*link == waiting) {
            *link = waiting->next;
            server->waiting_count--;
            break;
        }
    }
    waiting->call->gone = NULL;
    event_free(waiting->timer);
    free(waiting);
}

static bool reached(struct http_server *server, int view, uint64_t position)
{
    struct sink_checkpoint checkpoint;
    if (view == HTTP_WAIT_LOG)
        return store_durable(server->options.store).value >= position;
    (void)projection_state(server->options.views[view].runner, &checkpoint); /* only its position matters */
    return checkpoint.position.value >= position;
}

static void too_early(struct http_call *call, int view, uint64_t position)
{
    http_problem(call, 503, "ask again, or wait with Prefer: wait=MS", "%s%s has not reached position %" PRIu64,
                 view == HTTP_WAIT_LOG ? "the log" : "view ",
                 view == HTTP_WAIT_LOG ? "" : call->server->options.views[view].name, position);
}

static void look_again(evutil_socket_t fd, short what, void *context)
{
    struct waiting *waiting = context, copy = *waiting;
    struct timeval pause = {0, LOOK_AGAIN_US};
    struct http_server *server = waiting->call->server;
    (void)fd, (void)what;
    bool there = reached(server, waiting->view, waiting->position);
    if (!there && os_clock_monotonic_us(server->clock) < waiting->until_us) {
        (void)event_add(waiting->timer, &pause); /* fails without memory only: the client gives up */
        return;
    }
    waiting_unlink(waiting);
    if (there)
        copy.again(copy.call);
    else
        too_early(copy.call, copy.view, copy.position);
}

/* The client went away: nobody waits any more. */
static void on_gone(struct http_call *call)
{
    for (struct waiting *waiting = call->server->waiting; waiting != NULL; waiting = waiting->next) {
        if (waiting->call == call) {
            waiting_unlink(waiting);
            return;
        }
    }
}

static void keep(struct http_call *call, int view, void (*again)(struct http_call *), uint64_t position,
                 uint64_t wait_ms)
{
    struct http_server *server = call->server;
    struct waiting *waiting = alloc_zeroed(1, sizeof(*waiting));
    struct timeval pause = {0, LOOK_AGAIN_US};
    *waiting = (struct waiting){.next = server->waiting,
                                .call = call,
                                .view = view,
                                .again = again,
                                .position = position,
                                .until_us = os_clock_monotonic_us(server->clock) + (int64_t)wait_ms * 1000};
    waiting->timer = evtimer_new(server->base, look_again, waiting);
    server->waiting = waiting;
    server->waiting_count++;
    call->gone = on_gone;
    (void)event_add(waiting->timer, &pause); /* fails without memory only: the client gives up */
}

/* "wait=250" of the Prefer header; 0 when there is none that can be understood: preferences are no demands. */
static uint64_t preferred_wait_ms(struct http_call *call)
{
    const char *prefer = http_asked(call, "Prefer");
    const char *wait = prefer == NULL ? NULL : strstr(prefer, "wait=");
    char digits[8] = "";
    uint64_t ms = 0;
    if (wait == NULL)
        return 0;
    size_t size = strspn(wait + 5, "0123456789");
    if (size >= sizeof(digits))
        return HTTP_WAIT_MS_MAX;
    memcpy(digits, wait + 5, size);
    if (!http_parse_number(digits, &ms))
        return 0;
    return ms > HTTP_WAIT_MS_MAX ? HTTP_WAIT_MS_MAX : ms;
}

bool http_await(struct http_call *call, int view, void (*again)(struct http_call *call))
{
    const char *wanted = http_asked(call, "Banyan-Min-Position");
    uint64_t position = 0, wait_ms = preferred_wait_ms(call);
    if (wanted == NULL)
        return true;
    if (!http_parse_number(wanted, &position))
        http_problem(call, 400, NULL, "Banyan-Min-Position is no number");
    else if (reached(call->server, view, position))
        return true;
    else if (wait_ms == 0 || call->server->waiting_count >= WAITING_MAX)
        too_early(call, view, position);
    else
        keep(call, view, again, position, wait_ms);
    return false;
}

/* ---- entry ---- */

/* The view that the path names; -1 and a problem when there is none. */
static int view_of(struct http_call *call)
{
    const struct http_options *options = &call->server->options;
    struct banyan_str name = call->segments[1];
    for (size_t i = 0; i < options->view_count; i++)
        if (banyan_str_equal(banyan_str_of(options->views[i].name), name))
            return (int)i;
    http_problem(call, 404, "GET /status lists the views", "there is no view %.*s",
                 (int)(name.size > 100 ? 100 : name.size), name.data);
    return -1;
}

static bool is_built(struct http_call *call, int view)
{
    const struct http_view *options = &call->server->options.views[view];
    if (projection_serves(options->runner))
        return true;
    http_problem(call, 503, "GET /status shows how long it will take", "view %s is still being built", options->name);
    return false;
}

static void answer_list(struct http_call *call)
{
    int view = view_of(call);
    if (view >= 0 && is_built(call, view))
        list(call, (size_t)view);
}

static void answer_row(struct http_call *call)
{
    int view = view_of(call);
    if (view >= 0 && is_built(call, view))
        one(call, (size_t)view, call->segments[2].data);
}

void http_view_list(struct http_call *call)
{
    int view = view_of(call);
    if (view >= 0 && http_await(call, view, answer_list))
        answer_list(call);
}

void http_view_row(struct http_call *call)
{
    int view = view_of(call);
    if (view >= 0 && http_await(call, view, answer_row))
        answer_row(call);
}
