/* SPDX-License-Identifier: Apache-2.0 */
/* banyan store keygen, banyan store sign: who has the key says what the log held at this moment. */
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/cmd_store.h"
#include "cli/files.h"
#include "cli/output.h"
#include "store/sign.h"

enum {
    OPTION_KEY = 0x640,
};

/* ---- keygen ---- */

static error_t parse_keygen(int key, char *argument, struct argp_state *state)
{
    const char **file = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        if (*file != NULL)
            argp_error(state, "one file at a time");
        *file = argument;
        return 0;
    case ARGP_KEY_END:
        if (*file == NULL)
            argp_error(state, "which file? For example: banyan store keygen banyan.key");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

enum banyan_status cmd_store_keygen(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    const struct argp argp = {
        NULL,
        parse_keygen,
        "FILE",
        "Make an Ed25519 key: FILE (private, mode 0600) and FILE.pub (public), both PEM.\vKeep the "
        "private key away from the store: who has both can sign another history.",
        NULL,
        NULL,
        NULL};
    struct banyan_buf private = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX), public = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX);
    const char *file = NULL;
    char *public_file = NULL;
    size_t size;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store keygen", argc, argv, &file);
    size = strlen(file) + sizeof(".pub");
    public_file = alloc_zeroed(1, size);
    (void)snprintf(public_file, size, "%s.pub", file); /* fits: counted above */
    status = signed_keys_new(&private, &public, err);
    if (status == BANYAN_OK)
        status = files_write_new(file, banyan_buf_str(&private), true, err);
    if (status == BANYAN_OK)
        status = files_write_new(public_file, banyan_buf_str(&public), false, err);
    if (status == BANYAN_OK)
        printf("%-12s %s\n%-12s %s\n", "private key", file, "public key", public_file);
    if (private.data != NULL)
        OPENSSL_cleanse(private.data, private.size);
    banyan_buf_release(&private);
    banyan_buf_release(&public);
    free(public_file);
    return status;
}

/* ---- sign ---- */

struct sign_command {
    struct store_target target;
    const char *key;
};

static const struct argp_option sign_option_list[] = {
    {"key", OPTION_KEY, "FILE", 0, "Private key (PEM), as banyan store keygen makes it", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static const struct argp_child sign_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static error_t parse_sign(int key, char *argument, struct argp_state *state)
{
    struct sign_command *command = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_KEY:
        command->key = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->key == NULL)
            argp_error(state, "--key FILE is needed; banyan store keygen makes one");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void print_head(const struct signed_head *head, const char *folder, bool json)
{
    struct banyan_buf line = BANYAN_BUF_INIT(SIGNED_LINE_BYTES_MAX);
    char text[OUTPUT_TEXT_SIZE];

    signed_head_format(head, &line);
    if (json)
        printf("%s\n", line.data);
    else
        printf("signed all up to position %s\n%s\n\nIt is in %s/" SIGNED_HEADS_FILE
               ", too.  Keep a copy where nobody who can write the store can write.\n",
               output_count(head->position, text), line.data, folder);
    banyan_buf_release(&line);
}

enum banyan_status cmd_store_sign(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct sign_command command = {.target = STORE_TARGET_INIT};
    const struct argp argp = {
        sign_option_list,
        parse_sign,
        NULL,
        "Sign all that the log holds.  What was not read for a signature before is checked first; "
        "with damage nothing is signed.  A writer may be at work.",
        sign_children,
        NULL,
        NULL};
    struct banyan_buf key = BANYAN_BUF_INIT(SIGNED_PEM_BYTES_MAX);
    struct signed_head head;
    char *folder = NULL;
    enum banyan_status status;

    (void)cli;
    options_parse(&argp, "banyan store sign", argc, argv, &command);
    status = store_target_existing(&command.target, &folder, err);
    if (status == BANYAN_OK)
        status = files_read(command.key, &key, err);
    if (status == BANYAN_OK)
        status =
            store_sign(&(struct store_sign_options){.folder = folder, .private_key = banyan_buf_str(&key)}, &head, err);
    if (status == BANYAN_OK)
        print_head(&head, folder, command.target.common.json);
    if (key.data != NULL)
        OPENSSL_cleanse(key.data, key.size);
    banyan_buf_release(&key);
    free(folder);
    return status;
}
