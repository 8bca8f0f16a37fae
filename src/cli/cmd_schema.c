/* SPDX-License-Identifier: Apache-2.0 */
/*
 * banyan schema VERB: what is registered, and changes of it.
 *
 * Questions read the store's folder, beside a running writer, too.  Changes are written to the folder; where a serve
 * holds its lock, they are asked of that serve (docs/HTTP.md).
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/buf.h"
#include "banyan/record.h"
#include "cli/client.h"
#include "cli/cmd_store.h"
#include "cli/config.h"
#include "cli/table.h"
#include "store/registry.h"

enum {
    OPTION_VERSION = 0x700,
    TEXT_BYTES_MAX = 4 * 1024 * 1024, /* the registry has a smaller limit, and says so */
    ARGUMENTS_MAX = 2,
};

struct schema_command {
    struct store_target target;
    const char *verb;
    const char *arguments[ARGUMENTS_MAX];
    int argument_count, arguments_min, arguments_max;
    const char *arguments_help;
    uint16_t version; /* --version; 0: not given */
};

/* ---- options --------------------------------------------------------------------------------------------------- */

static const struct argp_child schema_children[] = {{&store_target_argp, 0, NULL, 0}, {NULL, 0, NULL, 0}};

static const struct argp_option version_options[] = {
    {"version", OPTION_VERSION, "N", 0, "This version (default: show the newest, register the next)", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static error_t parse_schema(int key, char *argument, struct argp_state *state)
{
    struct schema_command *command = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &command->target;
        return 0;
    case OPTION_VERSION:
        command->version = (uint16_t)options_number(state, "--version", argument, 1, UINT16_MAX);
        return 0;
    case ARGP_KEY_ARG:
        if (command->argument_count == command->arguments_max)
            argp_error(state, "too many arguments");
        command->arguments[command->argument_count++] = argument;
        return 0;
    case ARGP_KEY_END:
        if (command->argument_count < command->arguments_min)
            argp_error(state, "it needs %s", command->arguments_help);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void parse(struct schema_command *command, const char *doc, int argc, char **argv)
{
    char name[64];
    bool versioned = strcmp(command->verb, "show") == 0 || strcmp(command->verb, "register") == 0;
    const struct argp argp = {
        versioned ? version_options : NULL, parse_schema, command->arguments_help, doc, schema_children, NULL, NULL};
    (void)snprintf(name, sizeof(name), "banyan schema %s", command->verb); /* fits: verbs are short */
    options_parse(&argp, name, argc, argv, command);
}

/* ---- the registry of the folder -------------------------------------------------------------------------------- */

struct opened {
    struct store *store;
    struct store_registry *registry;
};

static void close_registry(struct opened *opened)
{
    store_registry_close(opened->registry);
    store_close(opened->store);
}

static enum banyan_status open_registry(const struct schema_command *command, bool read_only, struct opened *ret,
                                        struct banyan_error *err)
{
    *ret = (struct opened){NULL, NULL};
    enum banyan_status st = store_target_open(&command->target, read_only, &ret->store, err);
    if (st == BANYAN_OK)
        st = store_registry_open(ret->store, &ret->registry, err);
    if (st != BANYAN_OK)
        close_registry(ret);
    return st;
}

/* Ask the serve that holds the lock.  Without a configuration it cannot be found, and *busy* stands. */
static enum banyan_status ask_serve(const struct schema_command *command, enum client_method method, const char *path,
                                    struct banyan_str body, const struct banyan_error *busy, json_t **ret,
                                    struct banyan_error *err)
{
    struct config *config = NULL;
    if (command->target.data != NULL) {
        enum banyan_status st = banyan_error_set(err, busy->status, "%s", busy->message);
        banyan_error_hint(err, "Ask the serve that holds it: --config FILE instead of --data.");
        return st;
    }
    enum banyan_status st = config_load(command->target.common.config, &config, err);
    if (st == BANYAN_OK)
        st = client_send(config, method, path, body, ret, err);
    config_free(config);
    return st;
}

/* Open for a change: in the folder, or *ret_served where a serve has to be asked. */
static enum banyan_status open_for_change(const struct schema_command *command, struct opened *ret, bool *ret_served,
                                          struct banyan_error *ret_busy, struct banyan_error *err)
{
    enum banyan_status st = open_registry(command, false, ret, ret_busy);
    *ret_served = st == BANYAN_BUSY;
    if (st == BANYAN_OK || st == BANYAN_BUSY)
        return BANYAN_OK;
    if (err != NULL)
        *err = *ret_busy;
    return st;
}

/* ---- printing -------------------------------------------------------------------------------------------------- */

static void add_time(struct banyan_buf *ret, struct banyan_time time)
{
    static const struct banyan_field field = {"time", BANYAN_FIELD_TIME, BANYAN_FIELD_OPTIONAL, 0, 0};
    banyan_field_json(&field, &time, ret);
}

static void add_schema(struct banyan_buf *ret, const struct store_schema *schema, bool with_text)
{
    banyan_buf_add_text(ret, "{\"subject\":");
    banyan_buf_add_json(ret, schema->subject);
    banyan_buf_printf(ret, ",\"version\":%u,\"compatibility\":\"%s\",\"fingerprint\":\"%016" PRIx64 "\"",
                      (unsigned)schema->version, avro_compatibility_name(schema->compatibility),
                      avro_fingerprint(schema->schema));
    banyan_buf_add_text(ret, ",\"registered_at\":");
    add_time(ret, schema->registered_at);
    if (with_text) {
        banyan_buf_add_text(ret, ",\"schema\":");
        banyan_buf_add_str(ret, schema->text);
    }
    banyan_buf_add_char(ret, '}');
}

static void print_list_json(const struct store_schema *schemas, size_t count, bool frozen)
{
    struct banyan_buf text = BANYAN_BUF_INIT(SIZE_MAX / 2);
    banyan_buf_printf(&text, "{\"frozen\":%s,\"schemas\":[", frozen ? "true" : "false");
    for (size_t i = 0; i < count; i++) {
        banyan_buf_add_text(&text, i == 0 ? "" : ",");
        add_schema(&text, &schemas[i], false);
    }
    banyan_buf_add_text(&text, "]}");
    puts(text.data);
    banyan_buf_release(&text);
}

static void print_list(const struct store_schema *schemas, size_t count, bool frozen)
{
    static const char *const columns[] = {"subject", "version", "compatibility", "fingerprint", "registered"};
    struct table *table = table_new("schemas", columns, sizeof(columns) / sizeof(columns[0]));
    struct banyan_buf subject = BANYAN_BUF_INIT(1024), time = BANYAN_BUF_INIT(64);
    for (size_t i = 0; i < count; i++) {
        char version[8], fingerprint[20];
        banyan_buf_reset(&subject);
        banyan_buf_reset(&time);
        banyan_buf_add_str(&subject, schemas[i].subject);
        add_time(&time, schemas[i].registered_at);
        time.data[time.size - 1] = '\0'; /* without its quotes */
        (void)snprintf(version, sizeof(version), "%u", (unsigned)schemas[i].version);
        (void)snprintf(fingerprint, sizeof(fingerprint), "%016" PRIx64, avro_fingerprint(schemas[i].schema));
        table_add(table, (const char *const[]){subject.data, version, avro_compatibility_name(schemas[i].compatibility),
                                               fingerprint, time.data + 1});
    }
    if (count > 0)
        table_print(table, stdout, false);
    else
        puts("no schema is registered");
    if (frozen)
        puts("the registry is frozen: nothing can be registered");
    table_free(table);
    banyan_buf_release(&subject);
    banyan_buf_release(&time);
}

/* ---- questions ------------------------------------------------------------------------------------------------- */

static enum banyan_status schema_list(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct schema_command command = {.target = STORE_TARGET_INIT, .verb = "list"};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct store_schema *schemas;
    struct opened opened;
    size_t count;
    (void)cli;
    parse(&command, "List all versions of all schemas.", argc, argv);
    enum banyan_status st = open_registry(&command, true, &opened, err);
    if (st != BANYAN_OK)
        return st;
    store_registry_list(opened.registry, &arena, &schemas, &count);
    bool frozen = store_registry_frozen(opened.registry);
    if (command.target.common.json)
        print_list_json(schemas, count, frozen);
    else
        print_list(schemas, count, frozen);
    banyan_arena_release(&arena);
    close_registry(&opened);
    return BANYAN_OK;
}

static enum banyan_status schema_show(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct schema_command command = {.target = STORE_TARGET_INIT,
                                     .verb = "show",
                                     .arguments_min = 1,
                                     .arguments_max = 1,
                                     .arguments_help = "SUBJECT"};
    struct store_schema schema;
    struct opened opened;
    (void)cli;
    parse(&command, "Print a schema as it was registered.  With --json as an object with what is known of it.", argc,
          argv);
    enum banyan_status st = open_registry(&command, true, &opened, err);
    if (st != BANYAN_OK)
        return st;
    st = store_registry_get(opened.registry, banyan_str_of(command.arguments[0]), command.version, &schema, err);
    if (st == BANYAN_OK && command.target.common.json) {
        struct banyan_buf text = BANYAN_BUF_INIT(SIZE_MAX / 2);
        add_schema(&text, &schema, true);
        puts(text.data);
        banyan_buf_release(&text);
    } else if (st == BANYAN_OK) {
        printf("%.*s\n", (int)schema.text.size, schema.text.data);
    }
    close_registry(&opened);
    return st;
}

/* FILE, or standard input for "-". */
static enum banyan_status read_text(const char *path, struct banyan_buf *ret, struct banyan_error *err)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "re");
    if (file == NULL)
        return banyan_error_set(err, BANYAN_NOT_FOUND, "cannot read %s", path);
    char part[16384];
    size_t size;
    while ((size = fread(part, 1, sizeof(part), file)) > 0)
        banyan_buf_add(ret, part, size);
    bool failed = ferror(file) != 0;
    if (!standard)
        (void)fclose(file); /* it was only read */
    if (failed)
        return banyan_error_set(err, BANYAN_IO, "cannot read %s", path);
    return ret->overflow ? banyan_error_set(err, BANYAN_LIMIT, "%s is too large for a schema", path) : BANYAN_OK;
}

static enum banyan_status schema_check(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct schema_command command = {.target = STORE_TARGET_INIT,
                                     .verb = "check",
                                     .arguments_min = 2,
                                     .arguments_max = 2,
                                     .arguments_help = "SUBJECT FILE"};
    struct banyan_buf text = BANYAN_BUF_INIT(TEXT_BYTES_MAX);
    struct opened opened = {NULL, NULL};
    (void)cli;
    parse(&command, "Would the schema in FILE (- for standard input) be accepted?  Changes nothing.", argc, argv);
    enum banyan_status st = read_text(command.arguments[1], &text, err);
    if (st == BANYAN_OK)
        st = open_registry(&command, true, &opened, err);
    if (st == BANYAN_OK)
        st = store_registry_check(opened.registry, banyan_str_of(command.arguments[0]), banyan_buf_str(&text), err);
    if (st == BANYAN_OK)
        puts(command.target.common.json ? "{\"compatible\":true}" : "it would be accepted");
    close_registry(&opened);
    banyan_buf_release(&text);
    return st;
}

/* ---- changes --------------------------------------------------------------------------------------------------- */

static enum banyan_status register_served(const struct schema_command *command, struct banyan_str text,
                                          const struct banyan_error *busy, uint16_t *ret_version,
                                          struct banyan_error *err)
{
    struct banyan_buf path = BANYAN_BUF_INIT(8192);
    json_t *answer = NULL;
    if (command->version != 0) {
        (void)banyan_error_set(err, BANYAN_BUSY, "%s", busy->message);
        banyan_error_hint(err, "A running serve registers the next version alone: leave --version out, or stop it.");
        return BANYAN_BUSY;
    }
    banyan_buf_add_text(&path, "/schemas/");
    client_add_escaped(&path, command->arguments[0]);
    enum banyan_status st = path.overflow ? banyan_error_set(err, BANYAN_INVALID, "the name of the subject is too long")
                                          : ask_serve(command, CLIENT_POST, path.data, text, busy, &answer, err);
    if (st == BANYAN_OK)
        *ret_version = (uint16_t)json_integer_value(json_object_get(answer, "version"));
    json_decref(answer);
    banyan_buf_release(&path);
    return st;
}

static enum banyan_status register_here(const struct schema_command *command, struct store_registry *registry,
                                        struct banyan_str text, uint16_t *ret_version, struct banyan_error *err)
{
    struct banyan_str subject = banyan_str_of(command->arguments[0]);
    if (command->version == 0)
        return store_registry_register(registry, subject, text, ret_version, err);
    *ret_version = command->version;
    return store_registry_register_as(registry, subject, command->version, text, err);
}

static enum banyan_status schema_register(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct schema_command command = {.target = STORE_TARGET_INIT,
                                     .verb = "register",
                                     .arguments_min = 2,
                                     .arguments_max = 2,
                                     .arguments_help = "SUBJECT FILE"};
    struct banyan_buf text = BANYAN_BUF_INIT(TEXT_BYTES_MAX), line = BANYAN_BUF_INIT(8192);
    struct banyan_error busy = BANYAN_ERROR_INIT;
    struct opened opened = {NULL, NULL};
    uint16_t version = 0;
    bool served = false;
    (void)cli;
    parse(&command,
          "Register the schema in FILE (- for standard input) as the next version of SUBJECT, an event type.  The same "
          "schema again answers the version that it has.",
          argc, argv);
    enum banyan_status st = read_text(command.arguments[1], &text, err);
    if (st == BANYAN_OK)
        st = open_for_change(&command, &opened, &served, &busy, err);
    if (st != BANYAN_OK)
        goto out;
    st = served ? register_served(&command, banyan_buf_str(&text), &busy, &version, err)
                : register_here(&command, opened.registry, banyan_buf_str(&text), &version, err);
    if (st != BANYAN_OK)
        goto out;
    banyan_buf_add_json(&line, banyan_str_of(command.arguments[0]));
    if (command.target.common.json)
        printf("{\"subject\":%s,\"version\":%u}\n", line.data, (unsigned)version);
    else
        printf("%s version %u\n", command.arguments[0], (unsigned)version);
out:
    if (!served)
        close_registry(&opened);
    banyan_buf_release(&text);
    banyan_buf_release(&line);
    return st;
}

static enum banyan_status freeze(struct schema_command *command, bool frozen, struct banyan_error *err)
{
    struct banyan_error busy = BANYAN_ERROR_INIT;
    struct opened opened = {NULL, NULL};
    json_t *answer = NULL;
    bool served = false;
    enum banyan_status st = open_for_change(command, &opened, &served, &busy, err);
    if (st != BANYAN_OK)
        return st;
    st = served ? ask_serve(command, CLIENT_POST, frozen ? "/schemas/freeze" : "/schemas/thaw",
                            (struct banyan_str){NULL, 0}, &busy, &answer, err)
                : store_registry_freeze(opened.registry, frozen, err);
    if (st == BANYAN_OK && command->target.common.json)
        printf("{\"frozen\":%s}\n", frozen ? "true" : "false");
    else if (st == BANYAN_OK)
        puts(frozen ? "frozen: nothing can be registered" : "thawed");
    if (!served)
        close_registry(&opened);
    json_decref(answer);
    return st;
}

static enum banyan_status schema_freeze(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct schema_command command = {.target = STORE_TARGET_INIT, .verb = "freeze"};
    (void)cli;
    parse(&command, "Let nothing be registered until thawed.", argc, argv);
    return freeze(&command, true, err);
}

static enum banyan_status schema_thaw(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct schema_command command = {.target = STORE_TARGET_INIT, .verb = "thaw"};
    (void)cli;
    parse(&command, "Let schemas be registered again.", argc, argv);
    return freeze(&command, false, err);
}

static enum banyan_status set_rule(const struct schema_command *command, enum avro_compatibility rule,
                                   struct banyan_error *err)
{
    struct banyan_buf path = BANYAN_BUF_INIT(8192), body = BANYAN_BUF_INIT(256);
    struct banyan_error busy = BANYAN_ERROR_INIT;
    struct opened opened = {NULL, NULL};
    json_t *answer = NULL;
    bool served = false;
    banyan_buf_add_text(&path, "/schemas/");
    client_add_escaped(&path, command->arguments[0]);
    banyan_buf_add_text(&path, "/compatibility");
    banyan_buf_printf(&body, "{\"compatibility\":\"%s\"}", avro_compatibility_name(rule));
    enum banyan_status st = path.overflow ? banyan_error_set(err, BANYAN_INVALID, "the name of the subject is too long")
                                          : open_for_change(command, &opened, &served, &busy, err);
    if (st == BANYAN_OK)
        st = served
                 ? ask_serve(command, CLIENT_PUT, path.data, banyan_buf_str(&body), &busy, &answer, err)
                 : store_registry_set_compatibility(opened.registry, banyan_str_of(command->arguments[0]), rule, err);
    if (!served)
        close_registry(&opened);
    json_decref(answer);
    banyan_buf_release(&path);
    banyan_buf_release(&body);
    return st;
}

static enum banyan_status get_rule(const struct schema_command *command, enum avro_compatibility *ret,
                                   struct banyan_error *err)
{
    struct store_schema schema;
    struct opened opened;
    enum banyan_status st = open_registry(command, true, &opened, err);
    if (st != BANYAN_OK)
        return st;
    st = store_registry_get(opened.registry, banyan_str_of(command->arguments[0]), 0, &schema, err);
    if (st == BANYAN_OK)
        *ret = schema.compatibility;
    close_registry(&opened);
    return st;
}

static enum banyan_status schema_compatibility(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    struct schema_command command = {.target = STORE_TARGET_INIT,
                                     .verb = "compatibility",
                                     .arguments_min = 1,
                                     .arguments_max = 2,
                                     .arguments_help = "SUBJECT [RULE]"};
    enum avro_compatibility rule = AVRO_BACKWARD;
    (void)cli;
    parse(&command,
          "How the versions of SUBJECT must follow each other: NONE, BACKWARD (the new schema reads what the last one "
          "wrote), FORWARD (the last one reads what the new one writes), FULL (both), each but NONE also with "
          "_TRANSITIVE: with all earlier versions.  Without RULE: print the one that holds.",
          argc, argv);
    bool set = command.argument_count == 2;
    if (set && !avro_compatibility_of(banyan_str_of(command.arguments[1]), &rule)) {
        (void)banyan_error_set(err, BANYAN_USAGE, "there is no rule \"%s\"", command.arguments[1]);
        banyan_error_hint(err, "NONE, BACKWARD, FORWARD or FULL, each but NONE also with _TRANSITIVE");
        return BANYAN_USAGE;
    }
    enum banyan_status st = set ? set_rule(&command, rule, err) : get_rule(&command, &rule, err);
    if (st == BANYAN_OK)
        printf(command.target.common.json ? "{\"compatibility\":\"%s\"}\n" : "%s\n", avro_compatibility_name(rule));
    return st;
}

/* ---- verbs ----------------------------------------------------------------------------------------------------- */

static const struct cli_command verbs[] = {
    {"register", "register a schema as the next version of an event type", schema_register},
    {"check", "would a schema be accepted?", schema_check},
    {"list", "all versions of all schemas", schema_list},
    {"show", "print a schema", schema_show},
    {"compatibility", "how versions must follow each other", schema_compatibility},
    {"freeze", "let nothing be registered", schema_freeze},
    {"thaw", "let schemas be registered again", schema_thaw},
};

enum banyan_status cmd_schema(struct cli *cli, int argc, char **argv, struct banyan_error *err)
{
    return cli_verb(cli, "schema", "Works on the schemas of events.", verbs, sizeof(verbs) / sizeof(verbs[0]), argc,
                    argv, err);
}
