/* SPDX-License-Identifier: Apache-2.0 */
/* banyan store prove, banyan store check-proof: one event belongs to a signed head, without the store. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "cli/cmd_store.h"
#include "cli/files.h"
#include "store/proof.h"

enum {
    OPTION_HEAD = 0x660,
    OPTION_HEADS,
    OPTION_OUTPUT,
    OPTION_PUBLIC_KEY,
    OPTION_JSON,
};

/* ---- prove ---- */

struct prove_command {
    struct store_target target;
    uint64_t position, head;
    const char *heads, *output;
};

static const struct argp_option prove_option_list[] = {
    {"head", OPTION_HEAD, "POSITION", 0,
     "Prove it by the signed head at this position (default: the first that "
     "covers the event)",
     0},
    {"heads", OPTION_HEADS, "FILE", 0, "Take these signed heads, too", 0},
    {"output", 'o', "FILE", 0, "Write the proof to a new file (default: standard output)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child prove_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_prove(int key, char *argument, struct argp_state *state)
{
    struct prove_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_HEAD:
        command->head = options_number(state, "--head", argument, 1, INT64_MAX);
        return 0;
    case OPTION_HEADS:
        command->heads = argument;
        return 0;
    case 'o':
        command->output = argument;
        return 0;
    case ARGP_KEY_ARG:
        if (command->position != 0)
            argp_error(state, "one position at a time");
        command->position = options_number(state, "POSITION", argument, 1, INT64_MAX);
        return 0;
    case ARGP_KEY_END:
        if (command->position == 0)
            argp_error(state, "which event? For example: banyan store prove 17");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum banyan_status cmd_store_prove(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct prove_command command = {.target = STORE_TARGET_INIT};
    const struct argp argp = {prove_option_list,
                              parse_prove,
                              "POSITION",
                              "Write a proof that the event at POSITION belongs to a signed head.",
                              prove_children,
                              NULL,
                              NULL};
    struct banyan_buf text = BANYAN_BUF_INIT(PROOF_BYTES_MAX);
    struct store_prove_options options = {.folder = NULL};
    struct proof proof;
    char *folder = NULL;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store prove", argc, argv, &command);
    status = store_target_existing(&command.target, &folder, err);
    if (status != BANYAN_OK)
        return status;
    options.folder = folder;
    options.position = command.position;
    options.head_position = command.head;
    options.heads_path = command.heads;
    status = store_prove(&options, &proof, err);
    if (status == BANYAN_OK) {
        proof_format(&proof, &text);
        banyan_buf_add_char(&text, '\n');
        if (text.overflow)
            status = banyan_error_set(err, BANYAN_LIMIT, "the proof has more than %d bytes", PROOF_BYTES_MAX);
        else if (command.output != NULL)
            status = files_write_new(command.output, banyan_buf_str(&text), false, err);
        else
            (void)fwrite(text.data, 1, text.size, stdout); /* to standard output: nobody else to tell */
        proof_release(&proof);
    }
    banyan_buf_release(&text);
    free(folder);
    return status;
}

/* ---- check-proof ---- */

struct check_command {
    const char *file, *public_key;
    bool json;
};

static const struct argp_option check_option_list[] = {
    {"public-key", OPTION_PUBLIC_KEY, "FILE", 0, "Public key (PEM) of who signed the head", 0},
    {"json", OPTION_JSON, NULL, 0, "Print JSON, for scripts", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_check(int key, char *argument, struct argp_state *state)
{
    struct check_command *command = state->input;

    switch (key) {
    case OPTION_PUBLIC_KEY:
        command->public_key = argument;
        return 0;
    case OPTION_JSON:
        command->json = true;
        return 0;
    case ARGP_KEY_ARG:
        if (command->file != NULL)
            argp_error(state, "one proof at a time");
        command->file = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->file == NULL)
            argp_error(state, "which proof? For example: banyan store check-proof event-17.proof");
        if (command->public_key == NULL)
            argp_error(state, "--public-key FILE is needed: a proof is worth what you know of the key");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A JSON payload as it is, any other in base64. */
static void add_payload(struct banyan_buf *text, const struct store_event *event)
{
    json_t *json =
        event->schema == 0 ? json_loadb(event->payload.data, event->payload.size, JSON_DECODE_ANY, NULL) : NULL;

    if (json != NULL) {
        banyan_buf_add_text(text, ",\"payload\":");
        banyan_buf_add_str(text, event->payload);
    } else {
        banyan_buf_add_text(text, ",\"payload_base64\":\"");
        base64_add(text, event->payload);
        banyan_buf_add_text(text, "\"");
    }
    json_decref(json);
}

static void print_event(const struct proof *proof, const struct envelope *envelope, const struct log_record *record,
                        bool json)
{
    struct banyan_buf text = BANYAN_BUF_INIT(PROOF_BYTES_MAX);
    const struct store_event *event = &envelope->event;
    char id[BANYAN_UUID_TEXT_SIZE];

    banyan_uuid_format(event->id, id);
    banyan_buf_printf(&text, "{\"position\":%" PRIu64 ",\"id\":\"%s\",\"stream\":", proof->position, id);
    banyan_buf_add_json(&text, event->stream);
    banyan_buf_printf(&text, ",\"version\":%" PRIu64 ",\"type\":", envelope->version);
    banyan_buf_add_json(&text, event->type);
    banyan_buf_printf(&text, ",\"schema\":%u,\"recorded_at_us\":%" PRId64, event->schema, record->recorded_at.us);
    if (event->at.us != BANYAN_TIME_NULL)
        banyan_buf_printf(&text, ",\"at_us\":%" PRId64, event->at.us);
    if (event->meta.size > 0) {
        banyan_buf_add_text(&text, ",\"meta\":");
        banyan_buf_add_json(&text, event->meta);
    }
    add_payload(&text, event);
    banyan_buf_add_text(&text, "}\n");
    if (!json)
        printf("proved: this event is in the log whose head at position %" PRIu64 " was signed\n",
               proof->head.position);
    (void)fwrite(text.data, 1, text.size, stdout); /* to standard output: nobody else to tell */
    banyan_buf_release(&text);
}

enum banyan_status cmd_store_check_proof(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct check_command command = {.file = NULL};
    const struct argp argp = {check_option_list,
                              parse_check,
                              "FILE",
                              "Check a proof, without the store, and print the event that it proves.\vExit code 0: "
                              "proved.  8: it proves nothing.  4: it is no proof.",
                              NULL,
                              NULL,
                              NULL};
    struct banyan_buf text = BANYAN_BUF_INIT(PROOF_BYTES_MAX), key = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX);
    struct envelope envelope;
    struct log_record record;
    struct proof proof;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store check-proof", argc, argv, &command);
    proof_init(&proof);
    status = files_read(command.public_key, &key, err);
    if (status == BANYAN_OK)
        status = files_read(command.file, &text, err);
    if (status == BANYAN_OK)
        status = proof_parse(banyan_buf_str(&text), &proof, err);
    if (status == BANYAN_OK)
        status = proof_check(&proof, banyan_buf_str(&key), &envelope, &record, err);
    if (status == BANYAN_OK)
        print_event(&proof, &envelope, &record, command.json);
    proof_release(&proof);
    banyan_buf_release(&text);
    banyan_buf_release(&key);
    return status;
}
