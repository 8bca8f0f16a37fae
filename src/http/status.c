/* SPDX-License-Identifier: Apache-2.0 */
/* /livez, /readyz, /status: what the parts say of themselves, as JSON.  docs/HTTP.md is the contract. */
#include <inttypes.h>

#include "http/http_int.h"
#include "os/clock.h"

static const char *legacy_state_name(enum legacy_state state)
{
    static const char *const names[] = {"none",     "connecting", "backfilling", "capturing",
                                        "retrying", "failed",     "stopped"};
    return (unsigned)state < sizeof(names) / sizeof(names[0]) ? names[state] : "none";
}

static void add_log(struct banyan_buf *ret, struct store *store)
{
    struct store_stats stats;
    struct banyan_error err = BANYAN_ERROR_INIT;
    store_stats(store, &stats);
    banyan_buf_printf(ret, "{\"events\":%" PRIu64, stats.events);
    http_json_count(ret, "streams", stats.streams);
    http_json_count(ret, "tail", store_tail(store).value);
    http_json_count(ret, "durable", store_durable(store).value);
    http_json_count(ret, "bytes", stats.log.bytes);
    http_json_count(ret, "segments", stats.log.segments);
    http_json_count(ret, "index_bytes", stats.index_bytes);
    banyan_buf_printf(ret, ",\"healthy\":%s", store_health(store, &err) == BANYAN_OK ? "true" : "false");
    http_json_error(ret, &err);
    banyan_buf_add_char(ret, '}');
}

static void add_mapping(struct banyan_buf *ret, size_t at, const struct legacy_mapping_status *mapping)
{
    banyan_buf_add_text(ret, at == 0 ? "{\"category\":" : ",{\"category\":");
    banyan_buf_add_json(ret, banyan_str_of(mapping->category));
    banyan_buf_printf(ret, ",\"done\":%s", mapping->done ? "true" : "false");
    http_json_count(ret, "rows_estimated", mapping->rows_estimated);
    http_json_count(ret, "roots_read", mapping->roots_read);
    http_json_count(ret, "rows_read", mapping->rows_read);
    http_json_count(ret, "chunks_done", mapping->chunks_done);
    banyan_buf_add_char(ret, '}');
}

static void add_backfill(struct banyan_buf *ret, const struct legacy_status *status)
{
    banyan_buf_printf(ret, ",\"backfill\":{\"done\":%s", status->backfill_done ? "true" : "false");
    http_json_count(ret, "rows_estimated", status->rows_estimated);
    http_json_count(ret, "roots_read", status->roots_read);
    http_json_count(ret, "rows_read", status->rows_read);
    http_json_count(ret, "chunks_done", status->chunks_done);
    banyan_buf_printf(ret, ",\"roots_per_second\":%.1f", status->roots_per_second);
    http_json_seconds(ret, "elapsed_s", status->backfill_us);
    http_json_seconds(ret, "eta_s", status->backfill_done ? 0 : status->eta_us);
    http_json_count(ret, "exact", status->events_exact);
    http_json_count(ret, "inferred", status->events_inferred);
    http_json_count(ret, "reconciled", status->events_reconciled);
    banyan_buf_add_text(ret, ",\"mappings\":[");
    for (size_t m = 0; m < status->mapping_count; m++)
        add_mapping(ret, m, &status->mappings[m]);
    banyan_buf_add_text(ret, "]}");
}

static void add_capture(struct banyan_buf *ret, const struct legacy_status *status)
{
    banyan_buf_printf(ret, ",\"capture\":{\"transactions\":%" PRIu64, status->transactions);
    http_json_count(ret, "changes", status->changes);
    http_json_count(ret, "events", status->events_captured);
    http_json_count(ret, "held", status->changes_held);
    http_json_count(ret, "dropped", status->changes_dropped);
    http_json_count(ret, "streamed", status->transactions_streamed);
    http_json_lsn(ret, "received_lsn", status->received_lsn);
    http_json_lsn(ret, "applied_lsn", status->applied_lsn);
    http_json_lsn(ret, "confirmed_lsn", status->confirmed_lsn);
    http_json_lsn(ret, "server_lsn", status->server_lsn);
    http_json_count(ret, "lag_bytes", status->lag_bytes);
    http_json_ms(ret, "lag_ms_p50", status->lag_us_p50);
    http_json_ms(ret, "lag_ms_p99", status->lag_us_p99);
    banyan_buf_add_char(ret, '}');
}

static void add_legacy(struct banyan_buf *ret, const struct legacy_status *status)
{
    banyan_buf_printf(ret, "{\"state\":\"%s\"", legacy_state_name(status->state));
    add_backfill(ret, status);
    add_capture(ret, status);
    banyan_buf_add_text(ret, ",\"slot\":{\"wal_status\":");
    banyan_buf_add_json(ret, banyan_str_of(status->wal_status));
    banyan_buf_printf(ret, ",\"kept_bytes\":%" PRId64 ",\"safe_bytes\":%" PRId64 ",\"alarm\":%s}", status->kept_bytes,
                      status->safe_bytes, status->alarm ? "true" : "false");
    http_json_error(ret, &status->error);
    banyan_buf_add_char(ret, '}');
}

/* Append to *missing* (where not NULL) what is not ready yet; true when everything is. */
static bool is_ready(struct http_server *server, struct banyan_buf *missing)
{
    struct legacy_status legacy;
    bool ready = true;
    if (server->options.has_source && !http_legacy_status(server, &legacy)) {
        banyan_buf_add_text(missing, "the source is not started; ");
        ready = false;
    } else if (server->options.has_source && (legacy.state != LEGACY_CAPTURING || !legacy.backfill_done)) {
        banyan_buf_printf(missing, "the source is %s; ", legacy_state_name(legacy.state));
        ready = false;
    }
    for (size_t i = 0; i < server->view_count; i++) {
        if (projections_serving(server->options.projections, i, NULL))
            continue;
        banyan_buf_printf(missing, "view %s is still being built; ", projections_name(server->options.projections, i));
        ready = false;
    }
    return ready;
}

void http_livez(struct http_call *call)
{
    static const char *const none[] = {NULL};
    struct banyan_buf body = BANYAN_BUF_INIT(64);
    if (!http_only(call, none))
        return;
    banyan_buf_add_text(&body, "{\"live\":true}\n");
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
}

void http_readyz(struct http_call *call)
{
    static const char *const none[] = {NULL};
    struct banyan_buf missing = BANYAN_BUF_INIT(8192);
    struct banyan_buf body = BANYAN_BUF_INIT(64);
    if (!http_only(call, none))
        return;
    if (is_ready(call->server, &missing)) {
        banyan_buf_add_text(&body, "{\"ready\":true}\n");
        http_reply(call, 200, "application/json", &body);
    } else {
        http_problem(call, 503, NULL, "%.*s", (int)(missing.size > 2 ? missing.size - 2 : 0), missing.data);
    }
    banyan_buf_release(&missing);
    banyan_buf_release(&body);
}

void http_status(struct http_call *call)
{
    static const char *const none[] = {NULL};
    struct http_server *server = call->server;
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_buf missing = BANYAN_BUF_INIT(8192);
    struct legacy_status legacy;
    if (!http_only(call, none))
        return;
    banyan_buf_add_text(&body, "{\"version\":");
    banyan_buf_add_json(&body, banyan_str_of(server->options.version));
    if (server->options.domain == NULL)
        banyan_buf_add_text(&body, ",\"domain\":null");
    else
        http_json_text(&body, "domain", server->options.domain->name);
    banyan_buf_printf(&body, ",\"ready\":%s", is_ready(server, &missing) ? "true" : "false");
    http_json_seconds(&body, "uptime_s", os_clock_monotonic_us(server->clock) - server->started_us);
    banyan_buf_add_text(&body, ",\"log\":");
    add_log(&body, server->options.store);
    banyan_buf_add_text(&body, ",\"legacy\":");
    if (http_legacy_status(server, &legacy))
        add_legacy(&body, &legacy);
    else
        banyan_buf_add_text(&body, "null");
    banyan_buf_add_text(&body, ",\"views\":[");
    for (size_t i = 0; i < server->view_count; i++) {
        banyan_buf_add_text(&body, i > 0 ? "," : "");
        http_add_projection(server, i, &body);
    }
    banyan_buf_add_text(&body, "],\"rollout\":");
    http_add_rollout(&body, server->options.rollout);
    banyan_buf_add_text(&body, "}\n");
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
    banyan_buf_release(&missing);
}
