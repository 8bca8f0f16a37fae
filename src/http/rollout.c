/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /rollout: where it stands, what stands in its way, the plan, its history, and the acts.  docs/ROLLOUT.md explains.
 *
 * The status is copied from the controller in the loop; acts and history wait for the disk, so they are tasks.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "rollout/controller.h"

enum {
    PAUSE_MS_MAX = 60000,
    HISTORY_BYTES_MAX = 4 * 1024 * 1024,
};

/* ---- parts of answers ---- */

static void add_bool(struct banyan_buf *ret, const char *key, bool value)
{
    banyan_buf_printf(ret, ",\"%s\":%s", key, value ? "true" : "false");
}

static void add_share(struct banyan_buf *ret, const char *key, uint32_t share)
{
    banyan_buf_printf(ret, ",\"%s\":%" PRIu32 ".%02" PRIu32, key, share / 100, share % 100);
}

/* null when it is GUARDS_UNKNOWN */
static void add_known_ms(struct banyan_buf *ret, const char *key, int64_t us)
{
    if (us == GUARDS_UNKNOWN)
        banyan_buf_printf(ret, ",\"%s\":null", key);
    else
        http_json_ms(ret, key, us);
}

static void add_known_count(struct banyan_buf *ret, const char *key, int64_t value)
{
    if (value == GUARDS_UNKNOWN)
        banyan_buf_printf(ret, ",\"%s\":null", key);
    else
        banyan_buf_printf(ret, ",\"%s\":%" PRId64, key, value);
}

static void add_checks(struct banyan_buf *ret, const struct guards_result *checks)
{
    static const char *const verdicts[] = {"none", "pass", "hold", "wait", "breach"};
    banyan_buf_add_text(ret, ",\"checks\":[");
    for (size_t i = 0; i < checks->check_count; i++) {
        const struct guards_check *check = &checks->checks[i];
        banyan_buf_printf(ret, "%s{\"name\":\"%s\"", i > 0 ? "," : "", check->name);
        http_json_text(ret, "verdict", verdicts[check->verdict]);
        http_json_text(ret, "text", check->text);
        banyan_buf_add_char(ret, '}');
    }
    banyan_buf_add_char(ret, ']');
}

static void add_event(struct banyan_buf *ret, const struct machine_event *event)
{
    banyan_buf_add_text(ret, "{\"type\":");
    banyan_buf_add_json(ret, banyan_str_of(event->type));
    http_json_text(ret, "state", machine_state_name(event->to));
    add_bool(ret, "paused", event->paused);
    http_json_count(ret, "step", event->step);
    add_share(ret, "share_percent", event->share);
    http_json_count(ret, "attempt", event->attempt);
    http_json_time(ret, "at", event->at);
    http_json_text(ret, "actor", event->actor);
    http_json_text(ret, "reason", event->reason);
    add_checks(ret, &event->checks);
    banyan_buf_add_char(ret, '}');
}

static void add_answer(struct banyan_buf *ret, const struct machine_answer *answer)
{
    banyan_buf_printf(ret, "{\"moves\":%s", answer->moves ? "true" : "false");
    add_bool(ret, "refused", answer->refused);
    http_json_text(ret, "refusal", answer->refused ? answer->refusal : "");
    banyan_buf_add_text(ret, ",\"event\":");
    if (answer->moves)
        add_event(ret, &answer->event);
    else
        banyan_buf_add_text(ret, "null");
    add_checks(ret, &answer->checks);
    banyan_buf_add_char(ret, '}');
}

static void add_figures(struct banyan_buf *ret, const char *key, const struct traffic_figures *figures)
{
    banyan_buf_printf(ret, "\"%s\":{\"requests\":%" PRIu64, key, figures->requests);
    http_json_count(ret, "failures", figures->failures);
    http_json_ms(ret, "ms_p50", figures->us_p50);
    http_json_ms(ret, "ms_p99", figures->us_p99);
    http_json_ms(ret, "ms_max", figures->us_max);
    banyan_buf_add_char(ret, '}');
}

static void add_traffic(struct banyan_buf *ret, const struct traffic_window *window)
{
    static const char *const sides[] = {"legacy", "banyan"};
    banyan_buf_printf(ret, ",\"traffic\":{\"seconds\":%.1f", (double)window->seconds_us / 1e6);
    for (size_t side = 0; side < TRAFFIC_SIDES; side++) {
        banyan_buf_printf(ret, ",\"%s\":{", sides[side]);
        add_figures(ret, "reads", &window->by[side][TRAFFIC_READ]);
        banyan_buf_add_char(ret, ',');
        add_figures(ret, "writes", &window->by[side][TRAFFIC_WRITE]);
        banyan_buf_add_char(ret, '}');
    }
    http_json_count(ret, "compared", window->answers.compared);
    http_json_count(ret, "different", window->answers.different);
    http_json_count(ret, "noise_compared", window->noise.compared);
    http_json_count(ret, "noise_different", window->noise.different);
    http_json_count(ret, "held", window->held);
    http_json_count(ret, "held_refused", window->held_refused);
    http_json_ms(ret, "held_ms_max", window->held_us_max);
    banyan_buf_add_char(ret, '}');
}

static void add_facts(struct banyan_buf *ret, const struct guards_facts *facts)
{
    banyan_buf_printf(ret, ",\"facts\":{\"source_captures\":%s", facts->source_captures ? "true" : "false");
    add_bool(ret, "source_alarm", facts->source_alarm);
    add_bool(ret, "backfilled", facts->backfilled);
    add_bool(ret, "views_live", facts->views_live);
    add_known_ms(ret, "capture_lag_ms", facts->capture_lag_us);
    add_known_ms(ret, "view_lag_ms", facts->view_lag_us);
    add_known_count(ret, "mirror_backlog", facts->mirror_backlog);
    add_known_ms(ret, "verify_age_ms", facts->verify_age_us);
    add_known_count(ret, "verify_differences", facts->verify_differences);
    add_bool(ret, "gateway_up", facts->gateway_up);
    add_bool(ret, "upstream_up", facts->upstream_up);
    banyan_buf_add_char(ret, '}');
}

static void add_mirror(struct banyan_buf *ret, const struct controller_status *status)
{
    const struct legacy_mirror_status *mirror = &status->mirror;
    banyan_buf_printf(ret, ",\"mirror\":{\"running\":%s", mirror->running ? "true" : "false");
    add_bool(ret, "proven", status->facts.mirror_proven);
    http_json_count(ret, "written", mirror->written.value);
    http_json_count(ret, "tail", mirror->tail.value);
    http_json_count(ret, "events", mirror->events);
    http_json_count(ret, "rows", mirror->rows);
    http_json_count(ret, "transactions", mirror->transactions);
    http_json_count(ret, "conflicts", mirror->conflicts);
    http_json_ms(ret, "lag_ms_p50", mirror->lag_us_p50);
    http_json_ms(ret, "lag_ms_p99", mirror->lag_us_p99);
    http_json_error(ret, &mirror->error);
    banyan_buf_add_char(ret, '}');
}

static void add_cutover(struct banyan_buf *ret, const struct cutover_report *report)
{
    if (report->last == CUTOVER_NOT_BEGUN) {
        banyan_buf_add_text(ret, ",\"cutover\":null");
        return;
    }
    banyan_buf_printf(ret, ",\"cutover\":{\"done\":%s", report->done ? "true" : "false");
    http_json_text(ret, "last", cutover_step_name(report->last));
    http_json_count(ret, "lock_tries", report->lock_tries);
    http_json_count(ret, "epoch", report->epoch);
    http_json_lsn(ret, "fence_lsn", report->fence_lsn);
    http_json_ms(ret, "pause_ms", report->pause_us);
    http_json_ms(ret, "locked_ms", report->locked_us);
    banyan_buf_add_text(ret, ",\"steps_ms\":{");
    for (int step = CUTOVER_PREFLIGHT; step < CUTOVER_STEPS; step++)
        banyan_buf_printf(ret, "%s\"%s\":%.3f", step > CUTOVER_PREFLIGHT ? "," : "",
                          cutover_step_name((enum cutover_step)step), (double)report->step_us[step] / 1e3);
    banyan_buf_add_text(ret, "}}");
}

static void add_wants(struct banyan_buf *ret, const struct machine_wants *wants)
{
    banyan_buf_printf(ret, "{\"owner\":\"%s\"", owner_mode_name(wants->owner));
    add_share(ret, "new_percent", wants->new_share);
    add_share(ret, "read_percent", wants->read_share);
    add_bool(ret, "shadow_reads", wants->shadow_reads);
    add_bool(ret, "mirror", wants->mirror);
    banyan_buf_add_char(ret, '}');
}

static void add_machine(struct banyan_buf *ret, const struct machine *machine)
{
    banyan_buf_printf(ret, "\"state\":\"%s\"", machine_state_name(machine->state));
    add_bool(ret, "paused", machine->paused);
    http_json_count(ret, "step", machine->step);
    add_share(ret, "share_percent", machine->share);
    http_json_count(ret, "attempt", machine->attempt);
    http_json_time(ret, "since", machine->since);
    http_json_time(ret, "started_at", machine->started_at);
    http_json_text(ret, "came_from", machine_state_name(machine->came_from));
    http_json_count(ret, "version", machine->version);
}

static void add_gateway(struct banyan_buf *ret, const struct http_rollout *rollout)
{
    struct http_figure figures[HTTP_FIGURES_MAX];
    size_t count = rollout->gateway == NULL ? 0 : rollout->gateway(rollout->context, figures);
    banyan_buf_add_text(ret, count == 0 ? ",\"gateway\":null" : ",\"gateway\":{");
    for (size_t i = 0; i < count; i++)
        banyan_buf_printf(ret, "%s\"%s\":%.15g", i > 0 ? "," : "", figures[i].key, figures[i].value);
    banyan_buf_add_text(ret, count == 0 ? "" : "}");
}

static void add_status(struct banyan_buf *ret, const struct http_rollout *rollout)
{
    struct controller_status *status = alloc_zeroed(1, sizeof(*status)); /* too large for a stack */
    controller_status(rollout->controller, status);
    banyan_buf_add_char(ret, '{');
    add_machine(ret, &status->machine);
    http_json_text(ret, "owner", owner_mode_name(status->owner));
    http_json_count(ret, "epoch", status->epoch);
    http_json_count(ret, "owned", status->owned);
    banyan_buf_add_text(ret, ",\"wants\":");
    add_wants(ret, &status->wants);
    banyan_buf_add_text(ret, ",\"next\":");
    add_answer(ret, &status->next);
    add_traffic(ret, &status->window);
    add_facts(ret, &status->facts);
    add_mirror(ret, status);
    add_cutover(ret, &status->cutover);
    add_bool(ret, "verifying", status->verifying);
    add_gateway(ret, rollout);
    http_json_error(ret, &status->error);
    banyan_buf_add_text(ret, "}\n");
    free(status);
}

void http_add_rollout(struct banyan_buf *ret, const struct http_rollout *rollout)
{
    struct controller_status *status;
    if (rollout == NULL) {
        banyan_buf_add_text(ret, "null");
        return;
    }
    status = alloc_zeroed(1, sizeof(*status)); /* too large for a stack */
    controller_status(rollout->controller, status);
    banyan_buf_add_char(ret, '{');
    add_machine(ret, &status->machine);
    http_json_text(ret, "owner", owner_mode_name(status->owner));
    add_bool(ret, "next_refused", status->next.refused);
    http_json_text(ret, "refusal", status->next.refused ? status->next.refusal : "");
    banyan_buf_add_char(ret, '}');
    free(status);
}

/* ---- looking ---- */

/* The rollout, or NULL: a problem was sent. */
static const struct http_rollout *find(struct http_call *call)
{
    const struct http_rollout *rollout = call->server->options.rollout;
    if (rollout == NULL)
        http_problem(call, 404, "it needs a source, and a domain that maps its tables", "there is no rollout here");
    return rollout;
}

void http_rollout_status(struct http_call *call)
{
    static const char *const none[] = {NULL};
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    const struct http_rollout *rollout = http_only(call, none) ? find(call) : NULL;
    if (rollout == NULL)
        return;
    add_status(&body, rollout);
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
}

static void add_limits(struct banyan_buf *ret, const struct guards_limits *limits)
{
    banyan_buf_printf(ret, ",\"limits\":{\"samples_min\":%" PRIu32, limits->samples_min);
    http_json_seconds(ret, "window_seconds", limits->window_us);
    http_json_seconds(ret, "step_seconds_min", limits->step_us_min);
    banyan_buf_printf(ret, ",\"failures_percent_max\":%.4f", (double)limits->failures_ppm_max / 1e4);
    http_json_count(ret, "latency_p99_percent_max", limits->latency_p99_percent_max);
    http_json_count(ret, "latency_p50_percent_max", limits->latency_p50_percent_max);
    http_json_ms(ret, "latency_floor_ms", limits->latency_us_floor);
    banyan_buf_printf(ret, ",\"mismatch_percent_max\":%.4f", (double)limits->mismatch_ppm_max / 1e4);
    http_json_ms(ret, "lag_ms_max", limits->lag_us_max);
    http_json_ms(ret, "lag_ms_breach", limits->lag_us_breach);
    http_json_count(ret, "mirror_backlog_max", limits->mirror_backlog_max);
    http_json_count(ret, "conflicts_max", limits->conflicts_max);
    banyan_buf_printf(ret, ",\"verify_age_minutes_max\":%" PRId64 "}",
                      limits->verify_age_us_max / (60 * (int64_t)1000000));
}

/* Is *step* of the plan behind the present one (-1), it (0), or before it (1)? */
static int compare_step(const struct machine *step, const struct machine *now)
{
    enum machine_state state = now->state == MACHINE_ROLLING_BACK ? now->came_from : now->state;
    if (step->state != state)
        return step->state < state ? -1 : 1;
    if (state != MACHINE_CANARY && state != MACHINE_RAMP)
        return 0;
    return step->step < now->step ? -1 : step->step > now->step;
}

static void add_step(struct banyan_buf *ret, const struct machine *step, const struct machine *now)
{
    static const char *const places[] = {"done", "now", "ahead"};
    struct machine_wants wants;
    machine_wants(step, &wants);
    banyan_buf_printf(ret, "{\"state\":\"%s\"", machine_state_name(step->state));
    add_share(ret, "share_percent", step->share);
    http_json_text(ret, "place", places[compare_step(step, now) + 1]);
    banyan_buf_add_text(ret, ",\"wants\":");
    add_wants(ret, &wants);
    banyan_buf_add_char(ret, '}');
}

void http_rollout_plan(struct http_call *call)
{
    static const char *const none[] = {NULL};
    static const enum machine_state before[] = {MACHINE_PREPARED, MACHINE_BACKFILLING, MACHINE_SHADOW};
    static const enum machine_state behind[] = {MACHINE_CUTTING_OVER, MACHINE_EVENT_FIRST, MACHINE_COMPLETED};
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    const struct http_rollout *rollout = http_only(call, none) ? find(call) : NULL;
    if (rollout == NULL)
        return;
    struct controller_status *status = alloc_zeroed(1, sizeof(*status));
    controller_status(rollout->controller, status);
    banyan_buf_add_char(&body, '{');
    add_machine(&body, &status->machine);
    banyan_buf_add_text(&body, ",\"steps\":[");
    for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
        add_step(&body, &(struct machine){.state = before[i]}, &status->machine);
        banyan_buf_add_char(&body, ',');
    }
    for (size_t i = 0; i < rollout->policy->step_count; i++) {
        struct machine step = {
            .state = i == 0 ? MACHINE_CANARY : MACHINE_RAMP, .step = i, .share = rollout->policy->steps[i]};
        add_step(&body, &step, &status->machine);
        banyan_buf_add_char(&body, ',');
    }
    for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++) {
        banyan_buf_add_text(&body, i > 0 ? "," : "");
        add_step(&body, &(struct machine){.state = behind[i], .share = ROUTING_SHARE_ALL}, &status->machine);
    }
    banyan_buf_add_char(&body, ']');
    add_bool(&body, "automatic", rollout->policy->automatic);
    add_limits(&body, &rollout->policy->limits);
    banyan_buf_add_text(&body, "}\n");
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
    free(status);
}

/* ---- history ---- */

struct history {
    struct http_task task;
    uint64_t from, limit;
    struct banyan_buf reply; /* owned */
};

static void history_release(struct http_task *task)
{
    banyan_buf_release(&((struct history *)task)->reply);
}

static void history_answer(struct http_call *call, struct http_task *task)
{
    http_reply(call, 200, "application/json", &((struct history *)task)->reply);
}

static enum banyan_status add_past(struct history *history, struct store_reader *reader, struct banyan_error *err)
{
    struct machine_event *event = alloc_zeroed(1, sizeof(*event));
    struct store_read_event read;
    enum banyan_status st = BANYAN_OK;
    uint64_t count = 0;
    for (; st == BANYAN_OK && count <= history->limit; count++) {
        st = store_reader_next(reader, &read, err);
        if (st != BANYAN_OK)
            break;
        if (count == history->limit || history->reply.size > HISTORY_BYTES_MAX) {
            banyan_buf_printf(&history->reply, "],\"next\":%" PRIu64 "}\n", read.version.value);
            free(event);
            return BANYAN_OK;
        }
        st = machine_event_parse(read.event.type, read.event.payload, event, err);
        if (st != BANYAN_OK)
            break;
        banyan_buf_printf(&history->reply, "%s{\"version\":%" PRIu64 ",\"event\":", count > 0 ? "," : "",
                          read.version.value);
        add_event(&history->reply, event);
        banyan_buf_add_char(&history->reply, '}');
    }
    banyan_buf_add_text(&history->reply, "]}\n");
    free(event);
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st;
}

static enum banyan_status run_history(struct http_server *server, struct http_task *task, struct banyan_error *err)
{
    struct history *history = (struct history *)task;
    struct banyan_buf stream = BANYAN_BUF_INIT(256);
    struct store_reader *reader = store_reader_open(server->options.store);
    banyan_buf_printf(&stream, "$rollout-%s", server->options.rollout->source);
    banyan_buf_add_text(&history->reply, "{\"events\":[");
    enum banyan_status st =
        store_reader_stream(reader, banyan_buf_str(&stream), (struct banyan_version){history->from}, NULL);
    if (st == BANYAN_NOT_FOUND) /* nothing was started yet */
        banyan_buf_add_text(&history->reply, "]}\n");
    else if (st == BANYAN_OK)
        st = add_past(history, reader, err);
    else
        banyan_error_set(err, st, "the history of the rollout cannot be read");
    store_reader_close(reader);
    banyan_buf_release(&stream);
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st;
}

void http_rollout_history(struct http_call *call)
{
    static const char *const names[] = {"from", "limit", NULL};
    uint64_t from, limit;
    if (!http_only(call, names) || !http_number(call, "from", 1, 1, INT64_MAX, &from) ||
        !http_number(call, "limit", HTTP_LIMIT_DEFAULT, 1, HTTP_LIMIT_MAX, &limit) || find(call) == NULL)
        return;
    struct history *history = alloc_zeroed(1, sizeof(*history));
    history->task = (struct http_task){.run = run_history, .answer = history_answer, .release = history_release};
    history->from = from;
    history->limit = limit;
    history->reply = (struct banyan_buf)BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    http_task_submit(call, &history->task);
}

/* ---- acts ---- */

struct act {
    struct http_task task;
    struct machine_request request;
    char actor[MACHINE_ACTOR_MAX], reason[MACHINE_REASON_MAX];
    bool dry;
    struct machine_answer answer;
};

static enum banyan_status run_act(struct http_server *server, struct http_task *task, struct banyan_error *err)
{
    struct act *act = (struct act *)task;
    return controller_ask(server->options.rollout->controller, &act->request, act->dry, &act->answer, err);
}

/* A refusal that a check is the reason of begins with its name. */
static bool check_refuses(const struct machine_answer *answer)
{
    for (size_t i = 0; i < answer->checks.check_count; i++)
        if (strncmp(answer->refusal, answer->checks.checks[i].name, strlen(answer->checks.checks[i].name)) == 0)
            return true;
    return false;
}

static void answer_act(struct http_call *call, struct http_task *task)
{
    const struct act *act = (const struct act *)task;
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    if (act->answer.refused && !act->dry) {
        bool checks = check_refuses(&act->answer);
        add_checks(&body, checks ? &act->answer.checks : &(struct guards_result){.check_count = 0});
        http_problem_named(call, 409, banyan_status_name(BANYAN_NOT_MET),
                           checks ? "the checks say what is not met; docs/ROLLOUT.md" : NULL, body.data, "%s",
                           act->answer.refusal);
    } else {
        add_answer(&body, &act->answer);
        body.size--; /* its brace */
        add_bool(&body, "dry_run", act->dry);
        banyan_buf_add_text(&body, "}\n");
        http_reply(call, 200, "application/json", &body);
    }
    banyan_buf_release(&body);
}

static bool act_flag(struct http_call *call, const char *name, bool *ret)
{
    const char *text = http_parameter(call, name);
    *ret = text != NULL && strcmp(text, "true") == 0;
    if (text == NULL || *ret || strcmp(text, "false") == 0)
        return true;
    http_problem(call, 400, NULL, "%s has to be true or false", name);
    return false;
}

/* False: a problem was sent. */
static bool act_parameters(struct http_call *call, struct act *act)
{
    static const char *const names[] = {"dry-run", "force", "reason", "max-pause-ms", NULL};
    const char *reason = http_parameter(call, "reason");
    uint64_t pause_ms;
    if (!http_only(call, names) || !act_flag(call, "dry-run", &act->dry) ||
        !act_flag(call, "force", &act->request.force) ||
        !http_number(call, "max-pause-ms", 0, 1, PAUSE_MS_MAX, &pause_ms))
        return false;
    if (reason != NULL && strlen(reason) >= MACHINE_REASON_MAX) {
        http_problem(call, 400, NULL, "reason has more than %d bytes", MACHINE_REASON_MAX - 1);
        return false;
    }
    memcpy(act->reason, reason == NULL ? "" : reason, reason == NULL ? 1 : strlen(reason) + 1);
    memcpy(act->actor, call->actor, sizeof(act->actor));
    act->request.actor = act->actor;
    act->request.reason = reason == NULL ? NULL : act->reason;
    act->request.pause_us_max = (int64_t)pause_ms * 1000;
    return true;
}

static_assert(MACHINE_ACTOR_MAX >= HTTP_TOKEN_NAME_MAX + 1, "an actor is the name of a token");

void http_rollout_act(struct http_call *call)
{
    static const struct {
        const char *name;
        enum machine_verb verb;
    } verbs[] = {{"start", MACHINE_START},   {"next", MACHINE_NEXT},         {"pause", MACHINE_PAUSE},
                 {"resume", MACHINE_RESUME}, {"rollback", MACHINE_ROLLBACK}, {"complete", MACHINE_COMPLETE}};
    struct banyan_str name = call->segments[1];
    struct act *act = alloc_zeroed(1, sizeof(*act));
    act->task = (struct http_task){.run = run_act, .answer = answer_act};
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (banyan_str_equal(name, banyan_str_of(verbs[i].name)))
            act->request.verb = verbs[i].verb;
    if (!act_parameters(call, act))
        goto out;
    if (act->request.verb == MACHINE_TICK) {
        http_problem(call, 404, "start, next, pause, resume, rollback, complete", "there is no action %.*s",
                     (int)(name.size > 100 ? 100 : name.size), name.data);
        goto out;
    }
    if (find(call) == NULL)
        goto out;
    http_task_submit(call, &act->task);
    return;
out:
    free(act);
}
