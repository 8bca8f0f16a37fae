/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan store read: events in order, from the log itself, beside a running writer, too.
 * banyan store tail: the last ones, and what comes, from a running serve.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/client.h"
#include "cli/cmd_store.h"
#include "cli/event_text.h"
#include "http/server.h"
#include "schema/time_text.h"
#include "store/registry.h"

enum {
    OPTION_FROM = 0x860,
    OPTION_SINCE,
    OPTION_LIMIT,
    OPTION_TYPE,
    OPTION_CATEGORY,
    FILTERS_MAX = 64,
    TAIL_EVENTS = 10,
    EVENT_JSON_BYTES_MAX = 512 * 1024 * 1024,
};

struct read_command {
    struct store_target target;
    uint64_t from, limit; /* limit 0: all */
    struct banyan_time since;
    struct banyan_str types[FILTERS_MAX], categories[FILTERS_MAX];
    struct store_filter filter;
    bool follow;
    uint64_t shown;
};

static const struct argp_option read_options[] = {
    {"from", OPTION_FROM, "POSITION", 0, "Begin with this event (default: 1)", 0},
    {"since", OPTION_SINCE, "TIME", 0, "Begin with the first recorded then, like 2015-05-01T12:00:00Z", 0},
    {"limit", OPTION_LIMIT, "N", 0, "At most N events (default: all)", 0},
    {"type", OPTION_TYPE, "NAME", 0, "Only events of this type; may be given more than once", 0},
    {"category", OPTION_CATEGORY, "NAME", 0, "Only streams named NAME-…; may be given more than once", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_option tail_options[] = {
    {"limit", OPTION_LIMIT, "N", 0, "Begin with the last N events (default: 10)", 0},
    {"follow", 'f', NULL, 0, "Go on with what is appended, until a signal; from a running serve", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child read_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static void add_name(struct argp_state *state, const char *option, const char *name, struct banyan_str *names,
                     size_t *count)
{
    if (*count == FILTERS_MAX)
        argp_error(state, "%s: at most %d names", option, FILTERS_MAX);
    names[(*count)++] = banyan_str_of(name);
}

static error_t parse_read(int key, char *argument, struct argp_state *state)
{
    struct read_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_FROM:
        command->from = options_number(state, "--from", argument, 1, INT64_MAX);
        return 0;
    case OPTION_SINCE:
        if (!time_get_moment(banyan_str_of(argument), TIME_DIGITS_MICROS, &command->since.us))
            argp_error(state, "--since: a time like 2015-05-01T12:00:00Z");
        return 0;
    case OPTION_LIMIT:
        command->limit = options_number(state, "--limit", argument, 1, INT64_MAX);
        return 0;
    case OPTION_TYPE:
        add_name(state, "--type", argument, command->types, &command->filter.type_count);
        return 0;
    case OPTION_CATEGORY:
        add_name(state, "--category", argument, command->categories, &command->filter.category_count);
        return 0;
    case 'f':
        command->follow = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* Print events from where *reader* stands. */
static enum banyan_status print_events(struct read_command *command, const struct banyan_domain *domain,
                                       struct store_registry *registry, struct store_reader *reader,
                                       struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(EVENT_JSON_BYTES_MAX);
    enum banyan_status status = BANYAN_OK;
    struct store_read_event event;

    while (status == BANYAN_OK && (command->limit == 0 || command->shown < command->limit)) {
        status = store_reader_next(reader, &event, err);
        if (status != BANYAN_OK)
            break;
        banyan_buf_reset(&text);
        http_event_json(domain, registry, &event, &text);
        if (!event_text_print(banyan_buf_str(&text), command->target.common.json, true))
            status =
                banyan_error_set(err, BANYAN_CORRUPT, "position %" PRIu64 " cannot be shown", event.position.value);
        command->shown++;
    }
    banyan_buf_release(&text);
    return status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
}

static enum banyan_status read_store(struct read_command *command, struct cli *cli, struct store *store,
                                     struct banyan_error *err)
{
    const struct banyan_domain *domain = cli->domain_count > 0 ? cli->domains[0] : NULL;
    struct banyan_position from = {command->from};
    struct store_registry *registry = NULL;
    struct store_reader *reader = NULL;
    enum banyan_status status = store_registry_open(store, &registry, err);

    if (status == BANYAN_OK && command->since.us != BANYAN_TIME_NULL) {
        status = store_position_at(store, command->since, &from, err);
        if (from.value < command->from)
            from.value = command->from;
    }
    if (status == BANYAN_OK && from.value <= store_durable(store).value) {
        command->filter.types = command->types;
        command->filter.categories = command->categories;
        reader = store_reader_open(store);
        store_reader_filter(reader, &command->filter);
        status = store_reader_seek(reader, from, err);
        if (status == BANYAN_OK)
            status = print_events(command, domain, registry, reader, err);
    }
    store_reader_close(reader);
    store_registry_close(registry);
    return status;
}

enum banyan_status cmd_store_read(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct read_command command = {.target = STORE_TARGET_INIT, .from = 1, .since = {BANYAN_TIME_NULL}};
    const struct argp argp = {read_options,
                              parse_read,
                              NULL,
                              "Print events in the order of their positions, straight from the log: position, stream, "
                              "version, time, type, payload.  With --json one object a line.",
                              read_children,
                              NULL,
                              NULL};
    struct store *store = NULL;
    enum banyan_status status;

    options_parse(&argp, "banyan store read", argc, argv, &command);
    status = store_target_open(&command.target, true, &store, err);
    if (status == BANYAN_OK)
        status = read_store(&command, cli, store, err);
    store_close(store);
    return status;
}

/* ---- tail ---- */

static bool print_seen(void *context, const struct banyan_client_seen *event)
{
    struct read_command *command = context;

    if (!event->caught_up) {
        (void)event_text_print(event->json, command->target.common.json, true);
        (void)fflush(stdout); /* somebody looks on; what cannot be written is noticed at the end */
    }
    return true;
}

static enum banyan_status follow(struct read_command *command, uint64_t after, struct banyan_error *err)
{
    struct banyan_client *client = NULL;
    struct config *config = NULL;
    enum banyan_status status = config_load(command->target.common.config, &config, err);

    if (status == BANYAN_OK)
        status = client_open(config, &client, err);
    if (status == BANYAN_OK)
        status = banyan_client_follow(client, (struct banyan_str){NULL, 0}, &after, print_seen, command, err);
    banyan_client_close(client);
    config_free(config);
    return status;
}

enum banyan_status cmd_store_tail(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct read_command command = {
        .target = STORE_TARGET_INIT, .from = 1, .limit = TAIL_EVENTS, .since = {BANYAN_TIME_NULL}};
    const struct argp argp = {tail_options,
                              parse_read,
                              NULL,
                              "Print the last events; with -f also what is appended from now on, which a running serve "
                              "tells (--config says where it listens).",
                              read_children,
                              NULL,
                              NULL};
    struct store *store = NULL;
    uint64_t last = 0;
    enum banyan_status status;

    options_parse(&argp, "banyan store tail", argc, argv, &command);
    status = store_target_open(&command.target, true, &store, err);
    if (status != BANYAN_OK)
        return status;
    last = store_durable(store).value;
    command.from = last > command.limit ? last - command.limit + 1 : 1;
    status = read_store(&command, cli, store, err);
    store_close(store);
    if (status == BANYAN_OK && command.follow)
        status = follow(&command, last, err);
    return status;
}
