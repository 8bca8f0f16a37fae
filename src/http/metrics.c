/* SPDX-License-Identifier: Apache-2.0 */
/* /metrics in the Prometheus text format.  docs/METRICS.md lists them; a script checks that it does. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "http/http_int.h"
#include "os/clock.h"
#include "process/process.h"
#include "rollout/controller.h"

static void head(struct banyan_buf *ret, const char *name, const char *type, const char *help)
{
    banyan_buf_printf(ret, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void counter(struct banyan_buf *ret, const char *name, const char *help, uint64_t value)
{
    head(ret, name, "counter", help);
    banyan_buf_printf(ret, "%s %" PRIu64 "\n", name, value);
}

static void gauge(struct banyan_buf *ret, const char *name, const char *help, double value)
{
    head(ret, name, "gauge", help);
    banyan_buf_printf(ret, "%s %.9g\n", name, value);
}

static void add_log(struct banyan_buf *ret, struct store *store)
{
    struct store_stats stats;
    store_stats(store, &stats);
    counter(ret, "banyan_log_events_total", "Events in the log.", stats.events);
    gauge(ret, "banyan_log_streams", "Streams in the log.", (double)stats.streams);
    gauge(ret, "banyan_log_durable_position", "Newest durable position.", (double)store_durable(store).value);
    gauge(ret, "banyan_log_bytes", "Bytes of the log on disk.", (double)stats.log.bytes);
    counter(ret, "banyan_log_flushes_total", "Flushes to disk.", stats.log.groups);
    gauge(ret, "banyan_log_flush_seconds_max", "Longest flush since the start.", (double)stats.log.flush_us_max / 1e6);
    gauge(ret, "banyan_log_flush_seconds_sum", "Time spent in flushes.", (double)stats.log.flush_us_total / 1e6);
    gauge(ret, "banyan_log_index_bytes", "Memory of the index of streams and event ids.", (double)stats.index_bytes);
}

static void add_legacy(struct banyan_buf *ret, const struct legacy_status *status)
{
    gauge(ret, "banyan_legacy_capturing", "1 while changes are captured.", status->state == LEGACY_CAPTURING);
    gauge(ret, "banyan_backfill_done", "1 when the backfill is done.", status->backfill_done);
    counter(ret, "banyan_backfill_keys_total", "Keys whose history was read.", status->roots_read);
    counter(ret, "banyan_backfill_rows_total", "Legacy rows read.", status->rows_read);
    head(ret, "banyan_backfill_events_total", "counter", "Events by how they are known.");
    banyan_buf_printf(ret,
                      "banyan_backfill_events_total{provenance=\"exact\"} %" PRIu64
                      "\nbanyan_backfill_events_total{provenance=\"inferred\"} %" PRIu64
                      "\nbanyan_backfill_events_total{provenance=\"reconciled\"} %" PRIu64 "\n",
                      status->events_exact, status->events_inferred, status->events_reconciled);
    counter(ret, "banyan_capture_transactions_total", "Legacy transactions captured.", status->transactions);
    counter(ret, "banyan_capture_changes_total", "Row changes captured.", status->changes);
    counter(ret, "banyan_capture_events_total", "Events captured.", status->events_captured);
    counter(ret, "banyan_capture_held_total", "Changes held until their chunk was read.", status->changes_held);
    counter(ret, "banyan_capture_dropped_total", "Changes that the backfill had already.", status->changes_dropped);
    counter(ret, "banyan_capture_streamed_total", "Large transactions received before their end.",
            status->transactions_streamed);
    gauge(ret, "banyan_capture_lag_bytes", "WAL at the server that is not durable here.", (double)status->lag_bytes);
    head(ret, "banyan_capture_lag_seconds", "gauge", "Commit at the server to durable event.");
    banyan_buf_printf(ret,
                      "banyan_capture_lag_seconds{quantile=\"0.5\"} %.6f\n"
                      "banyan_capture_lag_seconds{quantile=\"0.99\"} %.6f\n",
                      (double)status->lag_us_p50 / 1e6, (double)status->lag_us_p99 / 1e6);
    gauge(ret, "banyan_slot_kept_bytes", "WAL that the slot keeps at the server.", (double)status->kept_bytes);
    gauge(ret, "banyan_slot_safe_bytes", "WAL until the slot is lost; -1: no limit.", (double)status->safe_bytes);
    gauge(ret, "banyan_slot_alarm", "1 when the slot is in danger.", status->alarm);
}

static void add_view(struct banyan_buf *ret, const char *name, const struct projection_status *s, size_t metric,
                     const char *metric_name)
{
    uint64_t position = s->checkpoint.position.value;
    const double values[] = {s->state == PROJECTION_LIVE,
                             s->serves,
                             (double)position,
                             (double)(s->tail.value > position ? s->tail.value - position : 0),
                             (double)s->events_applied,
                             (double)s->rows_written,
                             (double)s->aside,
                             (double)s->lag_us_p99 / 1e6,
                             (double)s->checkpoint.generation,
                             s->rebuild.phase != REBUILD_NONE,
                             s->rebuild.done,
                             s->rebuild.eta_us == INT64_MAX ? -1 : (double)s->rebuild.eta_us / 1e6};
    banyan_buf_printf(ret, "%s{view=\"%s\"} %.15g\n", metric_name, name, values[metric]);
}

static void add_views(struct banyan_buf *ret, struct projections *projections, size_t count)
{
    static const struct {
        const char *name, *type, *help;
    } metrics[] = {
        {"banyan_view_live", "gauge", "1 while the view follows the log."},
        {"banyan_view_serves", "gauge", "1 when it may be asked."},
        {"banyan_view_position", "gauge", "Position that the view includes."},
        {"banyan_view_behind_events", "gauge", "Events that it does not include yet."},
        {"banyan_view_events_total", "counter", "Events applied."},
        {"banyan_view_rows_total", "counter", "Rows written."},
        {"banyan_view_aside", "gauge", "Keys put aside."},
        {"banyan_view_lag_seconds", "gauge", "Event recorded to row visible, 99 of 100."},
        {"banyan_view_generation", "gauge", "Generation that serves."},
        {"banyan_view_rebuilding", "gauge", "1 while a rebuild runs."},
        {"banyan_view_rebuild_done", "gauge", "Part of the rebuild that is done; below 1 until the switch."},
        {"banyan_view_rebuild_eta_seconds", "gauge", "Time until the switch; -1: not known."},
    };
    struct projection_status *statuses = alloc_zeroed(count + 1, sizeof(*statuses));
    for (size_t i = 0; i < count; i++)
        projections_status(projections, i, &statuses[i]);
    for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        head(ret, metrics[m].name, metrics[m].type, metrics[m].help);
        for (size_t i = 0; i < count; i++)
            add_view(ret, projections_name(projections, i), &statuses[i], m, metrics[m].name);
    }
    free(statuses);
}

static void add_processes(struct banyan_buf *ret, const struct http_options *options)
{
    static const struct {
        const char *name, *type, *help;
    } metrics[] = {
        {"banyan_process_live", "gauge", "1 while the process follows the log."},
        {"banyan_process_behind_events", "gauge", "Positions that it has not looked at yet."},
        {"banyan_process_reactions_total", "counter", "Appends that it made."},
        {"banyan_process_events_total", "counter", "Events of them."},
        {"banyan_process_refused_total", "counter", "Commands of it that were refused."},
        {"banyan_process_conflicts_total", "counter", "Decisions made anew, as somebody else was first."},
        {"banyan_process_timers", "gauge", "Instances that wait for a time."},
        {"banyan_process_aside", "gauge", "Instances put aside."},
    };
    for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]) && options->process_count > 0; m++) {
        head(ret, metrics[m].name, metrics[m].type, metrics[m].help);
        for (size_t i = 0; i < options->process_count; i++) {
            struct process_status s;
            process_status(options->processes[i], &s);
            const uint64_t values[] = {s.state == PROCESS_LIVE,
                                       s.tail.value > s.position.value ? s.tail.value - s.position.value : 0,
                                       s.reactions,
                                       s.events,
                                       s.refused,
                                       s.conflicts,
                                       s.timers,
                                       s.aside};
            banyan_buf_printf(ret, "%s{process=\"%s\"} %" PRIu64 "\n", metrics[m].name,
                              process_name(options->processes[i]), values[m]);
        }
    }
}

static void add_commands(struct banyan_buf *ret, const struct http_figures *figures)
{
    counter(ret, "banyan_http_commands_total", "Commands that were decided.", figures->commands);
    counter(ret, "banyan_http_commands_refused_total", "Commands that were refused.", figures->commands_refused);
    counter(ret, "banyan_http_command_events_total", "Events of commands.", figures->command_events);
    gauge(ret, "banyan_http_command_seconds_sum", "Time of commands, from request to durable.",
          (double)figures->command_us_sum / 1e6);
    gauge(ret, "banyan_http_command_seconds_max", "Longest command since the start.",
          (double)figures->command_us_max / 1e6);
}

static void add_http(struct banyan_buf *ret, const struct http_figures *figures, size_t subscribers)
{
    counter(ret, "banyan_http_requests_total", "Requests read.", figures->requests);
    counter(ret, "banyan_http_errors_total", "Answers with 400 or above.", figures->errors);
    counter(ret, "banyan_http_refused_total", "Connections and requests refused before they were understood.",
            figures->refused);
    gauge(ret, "banyan_http_connections", "Open connections.", (double)figures->connections);
    counter(ret, "banyan_http_connections_total", "Connections taken.", figures->connections_total);
    counter(ret, "banyan_http_received_bytes_total", "Bytes of requests.", figures->bytes_in);
    counter(ret, "banyan_http_sent_bytes_total", "Bytes of answers.", figures->bytes_out);
    counter(ret, "banyan_http_appends_total", "Appends that were durable or repeated.", figures->appends);
    counter(ret, "banyan_http_append_events_total", "Events of them.", figures->append_events);
    counter(ret, "banyan_http_append_conflicts_total", "Appends whose condition did not hold.",
            figures->append_conflicts);
    counter(ret, "banyan_http_append_duplicates_total", "Appends of an id with other content.",
            figures->append_duplicates);
    gauge(ret, "banyan_http_append_seconds_sum", "Time of appends, from request to durable.",
          (double)figures->append_us_sum / 1e6);
    gauge(ret, "banyan_http_append_seconds_max", "Longest append since the start.",
          (double)figures->append_us_max / 1e6);
    gauge(ret, "banyan_http_subscribers", "Open subscriptions.", (double)subscribers);
    counter(ret, "banyan_http_subscriber_events_total", "Events sent to subscribers.", figures->subscriber_events);
}

static void add_rollout_states(struct banyan_buf *ret, const struct controller_status *status)
{
    const struct machine *machine = &status->machine;
    head(ret, "banyan_rollout_state", "gauge", "1 of the state that it is in.");
    for (int state = MACHINE_PREPARED; state < MACHINE_STATES; state++)
        banyan_buf_printf(ret, "banyan_rollout_state{state=\"%s\"} %d\n", machine_state_name((enum machine_state)state),
                          machine->state == (enum machine_state)state);
    gauge(ret, "banyan_rollout_paused", "1 while it is paused.", machine->paused);
    gauge(ret, "banyan_rollout_share", "Part of new aggregates that Banyan is to get.", machine->share / 1e4);
    counter(ret, "banyan_rollout_attempts_total", "Starts.", machine->attempt);
    gauge(ret, "banyan_rollout_owner_epoch", "Changes of the ownership.", (double)status->epoch);
    gauge(ret, "banyan_rollout_owned", "Aggregates that are Banyan's while both sides have some.",
          (double)status->owned);
    head(ret, "banyan_rollout_check", "gauge", "Present checks: 0 pass, 1 hold, 2 wait, 3 breach.");
    for (size_t i = 0; i < status->next.checks.check_count; i++) {
        const struct guards_check *check = &status->next.checks.checks[i];
        banyan_buf_printf(ret, "banyan_rollout_check{check=\"%s\"} %d\n", check->name,
                          (int)check->verdict - GUARDS_PASS);
    }
    gauge(ret, "banyan_rollout_pause_seconds", "Writes waited at most so long in the last cutover.",
          (double)status->cutover.pause_us / 1e6);
    gauge(ret, "banyan_rollout_locked_seconds", "Tables were locked so long in the last cutover.",
          (double)status->cutover.locked_us / 1e6);
}

static void add_traffic(struct banyan_buf *ret, const struct traffic_window *window)
{
    static const char *const sides[] = {"legacy", "banyan"}, *const kinds[] = {"read", "write"};
    static const struct {
        const char *name, *help;
    } metrics[] = {
        {"banyan_traffic_requests", "Requests answered, in the window of the guards."},
        {"banyan_traffic_failures", "Those that failed."},
        {"banyan_traffic_latency_p50_seconds", "Median of those that did not fail."},
        {"banyan_traffic_latency_p99_seconds", "99 of 100 were faster."},
    };
    for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        head(ret, metrics[m].name, "gauge", metrics[m].help);
        for (size_t side = 0; side < TRAFFIC_SIDES; side++) {
            for (size_t kind = 0; kind < TRAFFIC_KINDS; kind++) {
                const struct traffic_figures *f = &window->by[side][kind];
                const double values[] = {(double)f->requests, (double)f->failures, (double)f->us_p50 / 1e6,
                                         (double)f->us_p99 / 1e6};
                banyan_buf_printf(ret, "%s{side=\"%s\",kind=\"%s\"} %.9g\n", metrics[m].name, sides[side], kinds[kind],
                                  values[m]);
            }
        }
    }
    gauge(ret, "banyan_traffic_compared", "Answers compared, in the window.", (double)window->answers.compared);
    gauge(ret, "banyan_traffic_different", "Those that differed.", (double)window->answers.different);
    gauge(ret, "banyan_traffic_noise_different", "Answers of the legacy application that differed from its own.",
          (double)window->noise.different);
    gauge(ret, "banyan_traffic_held_seconds_max", "Longest wait of a held write, in the window.",
          (double)window->held_us_max / 1e6);
}

static void add_mirror(struct banyan_buf *ret, const struct legacy_mirror_status *mirror)
{
    uint64_t behind = mirror->tail.value > mirror->written.value ? mirror->tail.value - mirror->written.value : 0;
    gauge(ret, "banyan_mirror_running", "1 while events are written back.", mirror->running);
    gauge(ret, "banyan_mirror_behind_events", "Positions that it has not looked at yet.", (double)behind);
    counter(ret, "banyan_mirror_events_total", "Events written back.", mirror->events);
    counter(ret, "banyan_mirror_rows_total", "Rows of them.", mirror->rows);
    counter(ret, "banyan_mirror_transactions_total", "Transactions of them.", mirror->transactions);
    counter(ret, "banyan_mirror_conflicts_total", "Rows that somebody else wrote.", mirror->conflicts);
    head(ret, "banyan_mirror_lag_seconds", "gauge", "Event durable to row committed.");
    banyan_buf_printf(ret,
                      "banyan_mirror_lag_seconds{quantile=\"0.5\"} %.6f\n"
                      "banyan_mirror_lag_seconds{quantile=\"0.99\"} %.6f\n",
                      (double)mirror->lag_us_p50 / 1e6, (double)mirror->lag_us_p99 / 1e6);
}

static void add_rollout(struct banyan_buf *ret, const struct http_rollout *rollout)
{
    struct controller_status *status = alloc_zeroed(1, sizeof(*status)); /* too large for a stack */
    struct http_figure figures[HTTP_FIGURES_MAX];
    size_t count = rollout->gateway == NULL ? 0 : rollout->gateway(rollout->context, figures);
    controller_status(rollout->controller, status);
    add_rollout_states(ret, status);
    add_traffic(ret, &status->window);
    add_mirror(ret, &status->mirror);
    for (size_t i = 0; i < count; i++) {
        head(ret, figures[i].metric, figures[i].counter ? "counter" : "gauge", figures[i].help);
        banyan_buf_printf(ret, "%s %.15g\n", figures[i].metric, figures[i].value);
    }
    free(status);
}

void http_metrics(struct http_call *call)
{
    static const char *const none[] = {NULL};
    struct http_server *server = call->server;
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct legacy_status legacy;
    if (!http_only(call, none))
        return;
    head(&body, "banyan_info", "gauge", "Version of the program.");
    banyan_buf_printf(&body, "banyan_info{version=\"%s\"} 1\n", server->options.version);
    gauge(&body, "banyan_uptime_seconds", "Time since the start.",
          (double)(os_clock_monotonic_us(server->clock) - server->started_us) / 1e6);
    add_log(&body, server->options.store);
    if (http_legacy_status(server, &legacy))
        add_legacy(&body, &legacy);
    add_views(&body, server->options.projections, server->view_count);
    add_processes(&body, &server->options);
    if (server->options.rollout != NULL)
        add_rollout(&body, server->options.rollout);
    add_http(&body, &server->figures, server->subscriber_count);
    add_commands(&body, &server->figures);
    http_reply(call, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
    banyan_buf_release(&body);
}
