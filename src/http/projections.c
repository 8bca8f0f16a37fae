/* SPDX-License-Identifier: Apache-2.0 */
/* /projections: state, progress and ETA of each, and what can be done with it.  docs/HTTP.md is the contract. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "os/clock.h"

enum {
    REBUILD_KNOWN_US = 250 * 1000, /* headers may be as old as that */
    ASIDES_SHOWN_MAX = 1000,
};

/* ---- states ---- */

static void add_rebuild(struct banyan_buf *ret, const struct rebuild_status *rebuild)
{
    if (rebuild->phase == REBUILD_NONE) {
        banyan_buf_add_text(ret, ",\"rebuild\":null");
        return;
    }
    banyan_buf_printf(ret, ",\"rebuild\":{\"phase\":\"%s\"", rebuild_phase_name(rebuild->phase));
    http_json_text(ret, "reason", rebuild->reason == NULL ? "" : rebuild->reason);
    http_json_count(ret, "generation", rebuild->generation);
    banyan_buf_printf(ret, ",\"done\":%.4f", rebuild->done);
    http_json_seconds(ret, "elapsed_s", rebuild->elapsed_us);
    http_json_seconds(ret, "eta_s", rebuild->eta_us);
    http_json_seconds(ret, "eta_s_low", rebuild->eta_us_low);
    http_json_seconds(ret, "eta_s_high", rebuild->eta_us_high);
    http_json_count(ret, "events_done", rebuild->events_done);
    http_json_count(ret, "events_expected", rebuild->events_expected);
    http_json_count(ret, "rows_done", rebuild->rows_done);
    http_json_count(ret, "rows_expected", rebuild->rows_expected);
    http_json_time(ret, "last_event_at", rebuild->last_event_at);
    http_json_count(ret, "rounds", rebuild->rounds);
    http_json_count(ret, "backlog", rebuild->backlog);
    banyan_buf_add_char(ret, '}');
}

static void add_names(struct banyan_buf *ret, const struct banyan_projection *projection)
{
    static const char *const priorities[] = {"normal", "critical", "background"};
    http_json_text(ret, "priority", priorities[projection->priority]);
    banyan_buf_add_text(ret, ",\"tables\":[");
    for (size_t i = 0; i < projection->table_count; i++) {
        banyan_buf_add_text(ret, i > 0 ? "," : "");
        banyan_buf_add_json(ret, banyan_str_of(projection->tables[i].name));
    }
    banyan_buf_add_text(ret, "],\"queries\":[");
    for (size_t i = 0; i < projection->query_count; i++) {
        banyan_buf_add_text(ret, i > 0 ? "," : "");
        banyan_buf_add_json(ret, banyan_str_of(projection->queries[i].name));
    }
    banyan_buf_add_char(ret, ']');
}

void http_add_projection(struct http_server *server, size_t view, struct banyan_buf *ret)
{
    struct projections *projections = server->options.projections;
    struct projection_status status;
    projections_status(projections, view, &status);
    banyan_buf_add_text(ret, "{\"name\":");
    banyan_buf_add_json(ret, banyan_str_of(projections_name(projections, view)));
    http_json_text(ret, "state", projection_state_name(status.state));
    banyan_buf_printf(ret, ",\"serves\":%s,\"paused\":%s,\"outdated\":%s", status.serves ? "true" : "false",
                      status.paused ? "true" : "false", status.outdated ? "true" : "false");
    http_json_count(ret, "generation", status.checkpoint.generation);
    if (status.serves && status.checkpoint.ready.partial)
        banyan_buf_printf(ret, ",\"ready_from\":%" PRId64, status.checkpoint.ready.from);
    else
        banyan_buf_add_text(ret, ",\"ready_from\":null");
    http_json_count(ret, "position", status.checkpoint.position.value);
    http_json_count(ret, "tail", status.tail.value);
    http_json_time(ret, "last_event_at",
                   status.checkpoint.position.value == 0 ? (struct banyan_time){BANYAN_TIME_NULL}
                                                         : status.checkpoint.at);
    http_json_lsn(ret, "source_lsn", status.checkpoint.source_lsn);
    http_json_count(ret, "events_applied", status.events_applied);
    http_json_count(ret, "rows_written", status.rows_written);
    banyan_buf_printf(ret, ",\"events_per_second\":%.1f", status.events_per_second);
    http_json_seconds(ret, "eta_s", status.eta_us);
    http_json_ms(ret, "lag_ms_p50", status.lag_us_p50);
    http_json_ms(ret, "lag_ms_p99", status.lag_us_p99);
    http_json_ms(ret, "lag_ms_max", status.lag_us_max);
    http_json_count(ret, "aside", status.aside);
    add_names(ret, projections_spec(projections, view));
    add_rebuild(ret, &status.rebuild);
    http_json_error(ret, &status.error);
    banyan_buf_add_char(ret, '}');
}

void http_add_rebuild_headers(struct http_call *call, size_t view)
{
    struct http_server *server = call->server;
    struct http_rebuild *known = &server->rebuilds[view];
    int64_t now_us = os_clock_monotonic_us(server->clock);
    if (known->asked_us == 0 || now_us - known->asked_us > REBUILD_KNOWN_US) {
        struct projection_status status;
        projections_status(server->options.projections, view, &status);
        *known = (struct http_rebuild){now_us, status.rebuild.phase, status.rebuild.eta_us};
    }
    if (known->phase == REBUILD_NONE)
        return;
    http_header(call, "Banyan-Rebuild-Phase", "%s", rebuild_phase_name(known->phase));
    if (known->eta_us != INT64_MAX)
        http_header(call, "Banyan-Rebuild-Eta", "%.3f", (double)(known->eta_us < 1000 ? 1000 : known->eta_us) / 1e6);
}

void http_projections(struct http_call *call)
{
    static const char *const none[] = {NULL};
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    if (!http_only(call, none))
        return;
    banyan_buf_add_text(&body, "{\"projections\":[");
    for (size_t i = 0; i < call->server->view_count; i++) {
        banyan_buf_add_text(&body, i > 0 ? "," : "");
        http_add_projection(call->server, i, &body);
    }
    banyan_buf_add_text(&body, "]}\n");
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
}

/* ---- what may ask a server: tasks ---- */

struct act {
    struct http_task task;
    size_t view;
    char action[16];
    uint64_t number; /* generation, or events a second */
    int64_t key;
    char *stream;            /* owned; NULL: by key */
    struct banyan_buf reply; /* owned */
};

static void act_release(struct http_task *task)
{
    struct act *act = (struct act *)task;
    free(act->stream);
    banyan_buf_release(&act->reply);
}

static void act_answer(struct http_call *call, struct http_task *task)
{
    const struct act *act = (const struct act *)task;
    http_reply(call, 200, "application/json", &act->reply);
}

static struct act *act_new(size_t view,
                           enum banyan_status (*run)(struct http_server *, struct http_task *, struct banyan_error *))
{
    struct act *act = alloc_zeroed(1, sizeof(*act));
    act->task = (struct http_task){.run = run, .answer = act_answer, .release = act_release};
    act->view = view;
    act->reply = (struct banyan_buf)BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    return act;
}

static int find(struct http_call *call)
{
    struct banyan_str name = call->segments[1];
    int view =
        call->server->options.projections == NULL ? -1 : projections_find(call->server->options.projections, name);
    if (view < 0)
        http_problem(call, 404, "GET /projections lists them", "there is no projection %.*s",
                     (int)(name.size > 100 ? 100 : name.size), name.data);
    return view;
}

static void add_generation(struct banyan_buf *ret, const struct sink_generation *generation)
{
    static const char *const states[] = {"none", "building", "serving", "kept"};
    banyan_buf_printf(ret, "{\"number\":%" PRIu32 ",\"state\":\"%s\"", generation->number, states[generation->state]);
    http_json_count(ret, "version", generation->version);
    http_json_text(ret, "form", generation->form);
    banyan_buf_printf(ret, ",\"sealed\":%s", generation->sealed ? "true" : "false");
    http_json_count(ret, "position", generation->checkpoint.position.value);
    http_json_time(ret, "made_at", generation->made_at);
    http_json_time(ret, "served_at", generation->served_at);
    banyan_buf_add_char(ret, '}');
}

static enum banyan_status run_show(struct http_server *server, struct http_task *task, struct banyan_error *err)
{
    struct act *act = (struct act *)task;
    struct sink_generation generations[SINK_GENERATIONS_MAX];
    size_t count = 0;
    enum banyan_status st = projections_generations(server->options.projections, act->view, generations, &count, err);
    if (st != BANYAN_OK)
        return st;
    http_add_projection(server, act->view, &act->reply);
    act->reply.size--; /* its brace: there is more to say */
    banyan_buf_add_text(&act->reply, ",\"generations\":[");
    for (size_t i = 0; i < count; i++) {
        banyan_buf_add_text(&act->reply, i > 0 ? "," : "");
        add_generation(&act->reply, &generations[i]);
    }
    banyan_buf_add_text(&act->reply, "]}\n");
    return BANYAN_OK;
}

void http_projection(struct http_call *call)
{
    static const char *const none[] = {NULL};
    int view = find(call);
    if (view < 0 || !http_only(call, none))
        return;
    http_task_submit(call, &act_new((size_t)view, run_show)->task);
}

static enum banyan_status run_asides(struct http_server *server, struct http_task *task, struct banyan_error *err)
{
    struct act *act = (struct act *)task;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct sink_view *view = NULL;
    struct sink_aside *asides = NULL;
    size_t count = 0;
    enum banyan_status st = projections_view(server->options.projections, act->view, &view, err);
    if (st == BANYAN_OK)
        st = view->ops->asides(view, &arena, &asides, &count, err);
    banyan_buf_printf(&act->reply, "{\"count\":%zu,\"asides\":[", count);
    for (size_t i = 0; i < count && i < ASIDES_SHOWN_MAX && st == BANYAN_OK; i++) {
        banyan_buf_add_text(&act->reply, i > 0 ? ",{\"stream\":" : "{\"stream\":");
        banyan_buf_add_json(&act->reply, asides[i].stream);
        if (!asides[i].by_stream)
            banyan_buf_printf(&act->reply, ",\"key\":%" PRId64, asides[i].key);
        http_json_count(&act->reply, "position", asides[i].position.value);
        http_json_count(&act->reply, "held", asides[i].held);
        http_json_time(&act->reply, "at", asides[i].at);
        banyan_buf_add_text(&act->reply, ",\"reason\":");
        banyan_buf_add_json(&act->reply, asides[i].reason);
        banyan_buf_add_char(&act->reply, '}');
    }
    banyan_buf_add_text(&act->reply, "]}\n");
    sink_view_close(view);
    banyan_arena_release(&arena);
    return st;
}

void http_projection_asides(struct http_call *call)
{
    static const char *const none[] = {NULL};
    int view = find(call);
    if (view < 0 || !http_only(call, none))
        return;
    http_task_submit(call, &act_new((size_t)view, run_asides)->task);
}

/* ---- acts ---- */

static enum banyan_status run_act(struct http_server *server, struct http_task *task, struct banyan_error *err)
{
    struct act *act = (struct act *)task;
    struct projections *projections = server->options.projections;
    struct banyan_str stream = act->stream == NULL ? BANYAN_STR("") : banyan_str_of(act->stream);
    enum banyan_status st = BANYAN_OK;
    if (strcmp(act->action, "rebuild") == 0)
        st = projections_rebuild(projections, act->view, err);
    else if (strcmp(act->action, "cancel") == 0)
        st = projections_cancel(projections, act->view, err);
    else if (strcmp(act->action, "rollback") == 0)
        st = projections_rollback(projections, act->view, err);
    else if (strcmp(act->action, "drop") == 0)
        st = projections_drop(projections, act->view, (uint32_t)act->number, err);
    else if (strcmp(act->action, "retry") == 0)
        st = projections_retry(projections, act->view, act->key, stream, err);
    else if (strcmp(act->action, "limit") == 0)
        projections_limit(projections, act->view, act->number);
    else
        st = projections_pause(projections, act->view, strcmp(act->action, "pause") == 0, err);
    if (st != BANYAN_OK)
        return st;
    http_add_projection(server, act->view, &act->reply);
    banyan_buf_add_char(&act->reply, '\n');
    return BANYAN_OK;
}

/* The parameters that an action takes; false: a problem was sent. */
static bool act_parameters(struct http_call *call, struct act *act)
{
    static const char *const none[] = {NULL};
    static const char *const drop[] = {"generation", NULL}, *const limit[] = {"events-per-second", NULL},
                             *const retry[] = {"key", "stream", NULL};
    if (strcmp(act->action, "drop") == 0)
        return http_only(call, drop) && http_number(call, "generation", 0, 0, UINT32_MAX, &act->number);
    if (strcmp(act->action, "limit") == 0)
        return http_only(call, limit) && http_number(call, "events-per-second", 0, 0, INT64_MAX, &act->number);
    if (strcmp(act->action, "retry") != 0)
        return http_only(call, none);
    const char *key = http_parameter(call, "key"), *stream = http_parameter(call, "stream");
    if (!http_only(call, retry))
        return false;
    if ((key == NULL) == (stream == NULL) || (stream != NULL && stream[0] == '\0') ||
        (key != NULL && !http_parse_key(key, &act->key))) {
        http_problem(call, 400, "GET /projections/{view}/asides lists them", "retry needs ?key=… or ?stream=…");
        return false;
    }
    if (stream != NULL)
        act->stream = alloc_text(stream);
    return true;
}

void http_projection_act(struct http_call *call)
{
    static const char *const actions[] = {"rebuild", "cancel", "rollback", "drop", "pause", "resume", "retry", "limit"};
    struct banyan_str action = call->segments[2];
    int view = find(call);
    if (view < 0)
        return;
    for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++) {
        if (!banyan_str_equal(action, banyan_str_of(actions[i])))
            continue;
        struct act *act = act_new((size_t)view, run_act);
        memcpy(act->action, actions[i], strlen(actions[i]) + 1);
        if (act_parameters(call, act)) {
            http_task_submit(call, &act->task);
            return;
        }
        act_release(&act->task);
        free(act);
        return;
    }
    http_problem(call, 404, "rebuild, cancel, rollback, drop, pause, resume, retry, limit", "there is no action %.*s",
                 (int)(action.size > 100 ? 100 : action.size), action.data);
}
