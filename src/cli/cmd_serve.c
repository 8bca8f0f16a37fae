/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan serve: the store, its read models, HTTP, and the legacy source, until a signal or a failure ends it.
 *
 *   starting ─▶ store open ─▶ views run ─▶ HTTP (not ready) and gateway answer ─▶ source started ─▶ following ─▶
 * stopping
 *
 * Ends in the reverse order, so that nothing reads what is closed.  A failure of the source that needs an operator ends
 * the process with the status's exit code: a supervisor shall see it.  Not where there is a gateway: it serves on, as
 * ending it would be an outage of the application, and /readyz tells.  Everything acknowledged is durable at any time,
 * so that kill -9 is as good as a signal.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/buf.h"
#include "cli/cli.h"
#include "cli/config.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/serve_rollout.h"
#include "cli/version.h"
#include "cli/views.h"
#include "http/server.h"
#include "legacy/legacy.h"
#include "os/clock.h"
#include "os/file.h"
#include "process/process.h"
#include "projection/engine.h"
#include "store/aggregate.h"
#include "store/registry.h"
#include "store/snapshot.h"
#include "store/store.h"

enum {
    OPTION_PORT_FILE = 0x600,
    OPTION_GATEWAY_PORT_FILE,
    OPTION_UNTIL_BACKFILLED,
    LOOK_EVERY_US = 100 * 1000,
    SOURCE_AGAIN_US = 1000 * 1000,
};

struct serve {
    struct options_common common;
    const char *port_file, *gateway_port_file;
    bool until_backfilled;

    struct config *config;
    const struct banyan_domain *domain;
    struct banyan_arena arena; /* for the life of the command */
    struct os_stop stop;
    struct store *store;
    struct store_registry *registry;
    struct snapshots *snapshots;
    struct serve_rollout *rollout; /* NULL: nothing to roll out */
    struct aggregates *aggregates; /* NULL without a domain */
    struct process **processes;
    size_t process_count; /* running */
    struct view *views;
    size_t view_count;
    struct projections *projections;
    struct http_server *http;
    struct legacy *legacy;
    int64_t source_again_us; /* when to try to start it again; 0: it runs, or there is none */
    struct output_progress progress;
    bool told_backfilled, told_live;
    char told_error[BANYAN_ERROR_TEXT_MAX]; /* what the source was last said to wait for */
};

static const struct argp_option serve_option_list[] = {
    {"port-file", OPTION_PORT_FILE, "FILE", 0, "Write the port that HTTP listens on to FILE (for listen: …:0)", 0},
    {"gateway-port-file", OPTION_GATEWAY_PORT_FILE, "FILE", 0, "The same of the gateway", 0},
    {"until-backfilled", OPTION_UNTIL_BACKFILLED, NULL, 0,
     "End when the backfill is done and every view is live; a later serve goes on from there", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child serve_children[] = {{&options_common_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_serve(int key, char *argument, struct argp_state *state)
{
    struct serve *serve = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &serve->common;
        return 0;
    case OPTION_PORT_FILE:
        serve->port_file = argument;
        return 0;
    case OPTION_GATEWAY_PORT_FILE:
        serve->gateway_port_file = argument;
        return 0;
    case OPTION_UNTIL_BACKFILLED:
        serve->until_backfilled = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* ---- start ---- */

static enum banyan_status start_view(struct serve *serve, const struct view *view, struct banyan_error *err)
{
    struct projection_options options = {.name = view->name, .projection = view->projection};
    enum banyan_status st = views_home(serve->config, view, &options.home, err);
    if (view->config != NULL) {
        options.keep = view->config->keep_generations;
        options.events_per_second_max = view->config->rebuild_events_per_second;
    }
    if (st == BANYAN_OK)
        st = projections_add(serve->projections, &options, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "view %s", view->name);
    return st;
}

static enum banyan_status start_views(struct serve *serve, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    if (serve->domain == NULL)
        return BANYAN_OK;
    st = views_list(serve->config, serve->domain, &serve->arena, &serve->views, &serve->view_count, err);
    if (st != BANYAN_OK)
        return st;
    struct banyan_str folder = banyan_arena_printf(&serve->arena, "%s/views", serve->config->data);
    st = os_files_real()->make_folder(os_files_real(), folder.data, err);
    if (st != BANYAN_OK)
        return st;
    serve->projections = projections_new(&(struct projections_options){.domain = serve->domain,
                                                                       .folder = folder.data,
                                                                       .store = serve->store,
                                                                       .stop = &serve->stop,
                                                                       .cursor_lsn = legacy_cursor_lsn,
                                                                       .held = serve->config->source != NULL});
    for (size_t i = 0; i < serve->view_count && st == BANYAN_OK; i++)
        st = start_view(serve, &serve->views[i], err);
    return st;
}

static void start_aggregates(struct serve *serve)
{
    struct banyan_str path = banyan_arena_printf(&serve->arena, "%s/snapshots.sqlite", serve->config->data);
    if (serve->domain == NULL || serve->domain->aggregate_count == 0)
        return;
    serve->snapshots = snapshots_open(path.data);
    serve->aggregates = aggregates_new(&(struct aggregates_options){.store = serve->store,
                                                                    .domain = serve->domain,
                                                                    .snapshots = serve->snapshots,
                                                                    .permit = serve_rollout_permit(serve->rollout)});
}

/* Processes do not act on history: with a source they begin when it is in the log. */
static enum banyan_status start_processes(struct serve *serve, struct banyan_error *err)
{
    size_t count = serve->aggregates == NULL ? 0 : serve->domain->process_count;
    enum banyan_status st = BANYAN_OK;
    serve->processes = banyan_arena_zalloc(&serve->arena, (count + 1) * sizeof(struct process *));
    for (size_t i = 0; i < count && st == BANYAN_OK; i++) {
        st = process_start(&(struct process_options){.domain = serve->domain,
                                                     .process = &serve->domain->processes[i],
                                                     .store = serve->store,
                                                     .aggregates = serve->aggregates,
                                                     .stop = &serve->stop,
                                                     .held = serve->config->source != NULL},
                           &serve->processes[i], err);
        serve->process_count += st == BANYAN_OK;
    }
    return st;
}

static enum banyan_status write_port(const char *path, int port, struct banyan_error *err)
{
    if (path == NULL)
        return BANYAN_OK;
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return banyan_error_set(err, BANYAN_IO, "cannot write %s", path);
    fprintf(file, "%d\n", port);
    return fclose(file) == 0 ? BANYAN_OK : banyan_error_set(err, BANYAN_IO, "cannot write %s", path);
}

static enum banyan_status start_http(struct serve *serve, struct banyan_error *err)
{
    const struct config_http *http = serve->config->http;
    char *address = NULL;
    struct http_options options = {.version = CLI_VERSION,
                                   .domain = serve->domain,
                                   .store = serve->store,
                                   .registry = serve->registry,
                                   .aggregates = serve->aggregates,
                                   .processes = serve->processes,
                                   .process_count = serve->process_count,
                                   .projections = serve->projections,
                                   .has_source = serve->config->source != NULL,
                                   .tokens_file = http->tokens_file,
                                   .certificate_file = http->certificate_file,
                                   .key_file = http->key_file,
                                   .insecure = http->insecure,
                                   .reload_on_hangup = true,
                                   .connections_max = http->connections_max,
                                   .subscribers_max = http->subscribers_max};
    enum banyan_status st = config_listen(serve->config, &address, &options.port, err);
    options.address = address;
    serve_rollout_http(serve->rollout, &options);
    if (st == BANYAN_OK)
        st = http_start(&options, &serve->http, err);
    if (st == BANYAN_OK)
        st = write_port(serve->port_file, http_port(serve->http), err);
    if (st == BANYAN_OK)
        fprintf(stderr, "listening on http%s://%s:%d\n", http->certificate_file == NULL ? "" : "s", address,
                http_port(serve->http));
    free(address);
    return st;
}

static enum banyan_status start_gateway(struct serve *serve, struct banyan_error *err)
{
    enum banyan_status st = serve_rollout_gateway(serve->rollout, err);
    if (st == BANYAN_OK && serve_rollout_has_gateway(serve->rollout))
        st = write_port(serve->gateway_port_file, serve_rollout_gateway_port(serve->rollout), err);
    return st;
}

static enum banyan_status start_source(struct serve *serve, struct banyan_error *err)
{
    struct os_files *files = os_files_real();
    struct legacy_options options;
    if (serve->config->source == NULL)
        return BANYAN_OK;
    if (serve->domain->mapping_count == 0)
        return banyan_error_set(err, BANYAN_CONFIG, "domain %s maps no legacy tables, but there is a source",
                                serve->domain->name);
    struct banyan_str spool = banyan_arena_printf(&serve->arena, "%s/spool", serve->config->data);
    enum banyan_status st = files->make_folder(files, spool.data, err);
    if (st != BANYAN_OK)
        return st;
    config_legacy_options(serve->config, serve->domain, &options);
    options.spool_folder = spool.data;
    options.store = serve->store;
    options.stop = &serve->stop;
    serve_rollout_legacy_options(serve->rollout, &options);
    st = legacy_start(&options, &serve->legacy, err);
    if (st != BANYAN_OK)
        return st;
    http_set_legacy(serve->http, serve->legacy);
    serve_rollout_set_legacy(serve->rollout, serve->legacy);
    return BANYAN_OK;
}

/* Without a gateway a source that is not there ends the process.  With one, requests have to go on to whom they belong,
 * also to Banyan alone: it is tried again. */
static enum banyan_status start_source_soon(struct serve *serve, struct banyan_error *err)
{
    struct banyan_error failure = BANYAN_ERROR_INIT;
    enum banyan_status st = start_source(serve, &failure);
    if (st == BANYAN_OK)
        return st;
    if (!serve_rollout_has_gateway(serve->rollout) || banyan_status_class(st) != BANYAN_CLASS_RETRY) {
        *err = failure;
        return st;
    }
    serve->source_again_us = os_clock_monotonic_us(os_clock_real()) + SOURCE_AGAIN_US;
    if (strcmp(serve->told_error, failure.message) != 0)
        output_error("banyan: source", &failure);
    (void)snprintf(serve->told_error, sizeof(serve->told_error), "%s", failure.message);
    return BANYAN_OK;
}

static enum banyan_status start_store(struct serve *serve, struct cli *cli, struct banyan_error *err)
{
    enum banyan_status st = config_load(serve->common.config, &serve->config, err);
    if (st == BANYAN_OK && serve->config->domain != NULL)
        st = cli_domain(cli, serve->config->domain, &serve->domain, err);
    if (st == BANYAN_OK)
        st = store_open(&(struct store_options){.folder = serve->config->data}, &serve->store, err);
    if (st == BANYAN_OK)
        st = store_registry_open(serve->store, &serve->registry, err);
    if (st == BANYAN_OK && serve->domain != NULL)
        st = store_registry_use_domain(serve->registry, serve->domain, err);
    return st;
}

static enum banyan_status start(struct serve *serve, struct cli *cli, struct banyan_error *err)
{
    enum banyan_status st = os_stop_open(&serve->stop, err);
    if (st == BANYAN_OK)
        st = os_stop_on_signals(&serve->stop, err);
    if (st == BANYAN_OK)
        st = start_store(serve, cli, err);
    if (st == BANYAN_OK)
        st = serve_rollout_open(
            &(struct serve_rollout_options){
                .config = serve->config, .domain = serve->domain, .store = serve->store, .stop = &serve->stop},
            &serve->rollout, err);
    if (st == BANYAN_OK)
        start_aggregates(serve);
    if (st == BANYAN_OK)
        st = start_views(serve, err);
    if (st == BANYAN_OK)
        st = start_processes(serve, err);
    if (st == BANYAN_OK)
        st = serve_rollout_start(serve->rollout, serve->projections, serve->aggregates, err);
    if (st == BANYAN_OK)
        st = start_http(serve, err);
    if (st == BANYAN_OK)
        st = start_gateway(serve, err);
    if (st == BANYAN_OK)
        st = start_source_soon(serve, err);
    return st;
}

/* ---- follow ---- */

static bool views_live(struct serve *serve)
{
    for (size_t i = 0; i < serve->view_count; i++) {
        struct projection_status status;
        projections_status(serve->projections, i, &status);
        if (status.state != PROJECTION_LIVE && status.state != PROJECTION_PAUSED)
            return false;
    }
    return true;
}

/* The history is in the log: the views may go live once they have folded it, and processes act on what follows. */
static void release_history(struct serve *serve)
{
    for (size_t i = 0; i < serve->process_count; i++)
        process_release(serve->processes[i]);
    if (serve->projections != NULL)
        projections_release(serve->projections);
}

static void tell_backfilled(struct serve *serve, const struct legacy_status *status)
{
    char keys[OUTPUT_TEXT_SIZE], time[OUTPUT_TEXT_SIZE], exact[OUTPUT_TEXT_SIZE], inferred[OUTPUT_TEXT_SIZE],
        reconciled[OUTPUT_TEXT_SIZE];
    output_progress_draw(&serve->progress, "backfill", status->roots_read, status->roots_read,
                         status->backfill_us > 0 ? (double)status->roots_read * 1e6 / (double)status->backfill_us : 0,
                         0, true);
    output_progress_end(&serve->progress);
    fprintf(stderr, "backfill done: %s keys in %s; events: %s exact, %s inferred, %s reconciled\n",
            output_count(status->roots_read, keys), output_duration(status->backfill_us, time),
            output_count(status->events_exact, exact), output_count(status->events_inferred, inferred),
            output_count(status->events_reconciled, reconciled));
    serve->told_backfilled = true;
}

/* A source that tries again says once what it waits for, and once that it goes on; one that failed says it once. */
static void tell_retrying(struct serve *serve, const struct legacy_status *status)
{
    bool retrying = status->state == LEGACY_RETRYING || status->state == LEGACY_FAILED;
    if (strcmp(serve->told_error, retrying ? status->error.message : "") == 0)
        return;
    output_progress_end(&serve->progress);
    if (retrying)
        output_error("banyan: source", &status->error);
    else
        fprintf(stderr, "banyan: source: goes on\n");
    (void)snprintf(serve->told_error, sizeof(serve->told_error), "%s", retrying ? status->error.message : "");
}

/* Look at the source and the views, tell what changed.  Returns the failure of the source. */
static enum banyan_status look(struct serve *serve, bool *ret_finished, struct banyan_error *err)
{
    struct legacy_status status = {.backfill_done =
                                       serve->config->source == NULL || serve_rollout_has_history(serve->rollout)};
    if (serve->source_again_us != 0 && os_clock_monotonic_us(os_clock_real()) >= serve->source_again_us) {
        serve->source_again_us = 0;
        enum banyan_status st = start_source_soon(serve, err);
        if (st != BANYAN_OK)
            return st;
    }
    if (serve->legacy != NULL)
        legacy_status(serve->legacy, &status);
    if (status.state == LEGACY_FAILED && !serve_rollout_has_gateway(serve->rollout)) {
        output_progress_end(&serve->progress);
        *err = status.error;
        return status.error.status;
    }
    if (serve->legacy != NULL)
        tell_retrying(serve, &status);
    if (serve->legacy != NULL && !status.backfill_done)
        output_progress_draw(&serve->progress, "backfill", status.roots_read, status.rows_estimated,
                             status.roots_per_second, status.eta_us, false);
    else if (serve->legacy != NULL && !serve->told_backfilled)
        tell_backfilled(serve, &status);
    if (status.backfill_done)
        release_history(serve);
    bool live = status.backfill_done && views_live(serve);
    if (live && !serve->told_live && serve->view_count > 0) {
        fprintf(stderr, "live: every view follows the log\n");
        serve->told_live = true;
    }
    *ret_finished = live && serve->until_backfilled;
    return store_health(serve->store, err);
}

static enum banyan_status follow(struct serve *serve, struct banyan_error *err)
{
    bool finished = false;
    enum banyan_status st = BANYAN_OK;
    while (st == BANYAN_OK && !finished && !os_stop_wait(&serve->stop, LOOK_EVERY_US))
        st = look(serve, &finished, err);
    output_progress_end(&serve->progress);
    return st;
}

/* ---- stop ---- */

/* Clients first: what is under way in the gateway still has everything that it needs. */
static void stop(struct serve *serve)
{
    os_stop_request(&serve->stop);
    serve_rollout_close_gateway(serve->rollout);
    serve_rollout_set_legacy(serve->rollout, NULL);
    if (serve->http != NULL)
        http_set_legacy(serve->http, NULL);
    legacy_stop(serve->legacy);
    http_stop(serve->http);
    serve_rollout_stop(serve->rollout);
    projections_free(serve->projections);
    for (size_t i = 0; i < serve->process_count; i++)
        process_stop(serve->processes[i]);
    aggregates_free(serve->aggregates);
    serve_rollout_close(serve->rollout);
    snapshots_close(serve->snapshots);
    store_registry_close(serve->registry);
    store_close(serve->store);
    config_free(serve->config);
    banyan_arena_release(&serve->arena);
    os_stop_close(&serve->stop);
}

enum banyan_status cmd_serve(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct serve serve = {.common = OPTIONS_COMMON_INIT};
    const struct argp argp = {serve_option_list,
                              parse_serve,
                              NULL,
                              "Backfill the history of the legacy database, capture its changes, keep the read models, "
                              "answer HTTP.  Ends on SIGINT or SIGTERM; a later start goes on where this one was.",
                              serve_children,
                              NULL,
                              NULL};
    options_parse(&argp, "banyan serve", argc, argv, &serve);
    output_progress_init(&serve.progress, stderr);
    enum banyan_status st = start(&serve, cli, err);
    if (st == BANYAN_OK)
        st = follow(&serve, err);
    stop(&serve);
    return st;
}
