/* SPDX-License-Identifier: Apache-2.0 */
/* banyan store append STREAM TYPE [PAYLOAD]: one event by hand, with the condition of one's choice. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/jtext.h"
#include "cli/cmd_store.h"
#include "os/clock.h"
#include "os/random.h"

enum {
    OPTION_EXPECT = 0x740,
    OPTION_ID,
    OPTION_META,
    OPTION_BYTES,
};

struct append_command {
    struct store_target target;
    const char *stream, *type, *payload; /* payload NULL or "-": standard input */
    const char *meta;
    struct store_condition condition;
    struct banyan_uuid id;
    bool has_id, bytes;
};

static const struct argp_option append_options[] = {
    {"expect", OPTION_EXPECT, "WHAT", 0, "Append only if the stream is at this version, or absent, or exists", 0},
    {"id", OPTION_ID, "UUID", 0, "Id of the event (default: a new one); the same id again appends nothing", 0},
    {"meta", OPTION_META, "JSON", 0, "Metadata: a JSON object", 0},
    {"bytes", OPTION_BYTES, NULL, 0, "The payload is no JSON: keep its bytes as they are", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child append_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static void parse_expect(struct append_command *command, const char *text, struct argp_state *state)
{
    if (strcmp(text, "absent") == 0) {
        command->condition.expect = STORE_EXPECT_ABSENT;
    } else if (strcmp(text, "exists") == 0) {
        command->condition.expect = STORE_EXPECT_EXISTS;
    } else {
        command->condition.expect = STORE_EXPECT_VERSION;
        command->condition.version.value = options_number(state, "--expect", text, 0, INT64_MAX);
    }
}

static error_t parse_append(int key, char *argument, struct argp_state *state)
{
    struct append_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_EXPECT:
        parse_expect(command, argument, state);
        return 0;
    case OPTION_ID:
        if (!banyan_uuid_parse(banyan_str_of(argument), &command->id))
            argp_error(state, "--id: a UUID like 0190c9a8-5c1e-7000-8000-000000000001");
        command->has_id = true;
        return 0;
    case OPTION_META:
        command->meta = argument;
        return 0;
    case OPTION_BYTES:
        command->bytes = true;
        return 0;
    case ARGP_KEY_ARG:
        if (command->stream == NULL)
            command->stream = argument;
        else if (command->type == NULL)
            command->type = argument;
        else if (command->payload == NULL)
            command->payload = argument;
        else
            argp_error(state, "one event at a time");
        return 0;
    case ARGP_KEY_END:
        if (command->type == NULL)
            argp_error(state,
                       "which stream and type? For example: banyan store append order-1 OrderNoted '{\"by\":\"me\"}'");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static enum banyan_status read_input(struct banyan_buf *ret, struct banyan_error *err)
{
    char piece[64 * 1024];
    size_t size;

    while ((size = fread(piece, 1, sizeof(piece), stdin)) > 0)
        banyan_buf_add(ret, piece, size);
    if (ferror(stdin))
        return banyan_error_set(err, BANYAN_IO, "cannot read the payload from standard input");
    if (ret->overflow)
        return banyan_error_set(err, BANYAN_LIMIT, "the payload has more than %d bytes", STORE_PAYLOAD_BYTES_MAX);
    return BANYAN_OK;
}

/* *text* loses the space around its value.  *kind* JTEXT_NONE: any value will do. */
static enum banyan_status check_json(const char *what, struct banyan_str *text, enum jtext_kind kind,
                                     struct banyan_error *err)
{
    struct jtext_input in = jtext_input(*text);
    struct banyan_str raw;
    unsigned line, column;

    if (kind != JTEXT_NONE && jtext_peek(&in) != kind)
        (void)jtext_fault(&in, "an object is expected");
    if (jtext_skip(&in, &raw) && jtext_end(&in)) {
        *text = raw;
        return BANYAN_OK;
    }
    jtext_place(&in, &line, &column);
    (void)banyan_error_set(err, BANYAN_INVALID, "the %s is no JSON: line %u, column %u: %s", what, line, column,
                           in.fault);
    if (kind == JTEXT_NONE)
        banyan_error_hint(err, "--bytes keeps a payload that is something else");
    return BANYAN_INVALID;
}

static enum banyan_status append(const struct append_command *command, struct banyan_str payload,
                                 struct banyan_str meta, struct store *store, struct banyan_error *err)
{
    struct store_event event = {
        .id = command->has_id ? command->id : os_uuid_new(),
        .stream = banyan_str_of(command->stream),
        .type = banyan_str_of(command->type),
        .at = os_clock_now(os_clock_real()),
        .payload = payload,
        .meta = meta,
    };
    struct store_append request = {
        .events = &event, .event_count = 1, .conditions = &command->condition, .condition_count = 1};
    struct store_appended appended;
    char id[BANYAN_UUID_TEXT_SIZE];
    enum banyan_status status = store_append(store, &request, &appended, err);

    if (status != BANYAN_OK)
        return status;
    banyan_uuid_format(event.id, id);
    if (command->target.common.json)
        printf("{\"position\":%" PRIu64 ",\"id\":\"%s\",\"repeated\":%s}\n", appended.last.value, id,
               appended.repeated ? "true" : "false");
    else
        printf("%s at position %" PRIu64 ", id %s\n", appended.repeated ? "it was there before," : "appended",
               appended.last.value, id);
    return BANYAN_OK;
}

enum banyan_status cmd_store_append(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct append_command command = {.target = STORE_TARGET_INIT};
    const struct argp argp = {append_options,
                              parse_append,
                              "STREAM TYPE [PAYLOAD]",
                              "Append one event, durable when the command ends.  Without PAYLOAD it is read from "
                              "standard input.",
                              append_children,
                              NULL,
                              NULL};
    struct banyan_buf input = BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX);
    enum banyan_status status = BANYAN_OK;
    struct store *store = NULL;
    struct banyan_str payload, meta;

    (void)cli;
    options_parse(&argp, "banyan store append", argc, argv, &command);
    meta = banyan_str_of(command.meta == NULL ? "" : command.meta);
    command.condition.stream = banyan_str_of(command.stream);
    if (command.payload == NULL || strcmp(command.payload, "-") == 0)
        status = read_input(&input, err);
    payload = command.payload == NULL || strcmp(command.payload, "-") == 0 ? banyan_buf_str(&input)
                                                                           : banyan_str_of(command.payload);
    if (status == BANYAN_OK && !command.bytes)
        status = check_json("payload", &payload, JTEXT_NONE, err);
    if (status == BANYAN_OK && command.meta != NULL)
        status = check_json("metadata", &meta, JTEXT_OBJECT, err);
    if (status == BANYAN_OK)
        status = store_target_open(&command.target, false, &store, err);
    if (status == BANYAN_OK)
        status = append(&command, payload, meta, store, err);
    store_close(store);
    banyan_buf_release(&input);
    return status;
}
