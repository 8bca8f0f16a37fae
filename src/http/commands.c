/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POST /commands/{category}/{key}/{command} and GET /aggregates/{category}/{key}: what the domain decides.
 *
 *   body ──schema of the command──▶ fields ──worker: aggregates_submit()──▶ … durable ──▶ version, position, ETag
 *                                                       └─ refused: 422 with the domain's code and text
 *
 * POST /commands/{category}/new/{command} of a mapped category: a new aggregate, under a key that nobody else gets.  A
 * repeat is known by the command's id, which says under which key it was executed the first time.
 *
 * Deciding may have to read a state, or to wait for a stream that somebody else writes to: that is a worker's, not the
 * loop's.  A refusal, too, is told when the events it rests on are durable.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "http/body.h"
#include "http/http_int.h"
#include "os/clock.h"
#include "os/random.h"
#include "rollout/keys.h"
#include "schema/avro.h"
#include "store/aggregate.h"

enum {
    KEY_CHARACTERS_MAX = 255, /* of an Idempotency-Key */
    NEW_TRIES = 8,            /* of a new aggregate: keys that were taken, repeats under way */
};

/* How the fields of one command are read. */
struct command_schema {
    const struct banyan_record *record;
    struct avro_schema *schema; /* owned */
};

struct http_commands {
    struct command_schema *items; /* owned */
    size_t count;
};

struct commanding {
    struct http_job job;    /* the first member */
    struct http_call *call; /* NULL: the client is gone */
    struct http_server *server;
    struct banyan_arena arena;
    struct aggregate_command command; /* name empty: only the state is asked for */
    bool by_header;                   /* a condition came in If-Match or If-None-Match */
    bool is_new;                      /* the key is to be made; category and key of *command* say which it got */
    struct aggregate_answer answer;
    struct banyan_buf state; /* as JSON */
    struct banyan_version version;
    uint64_t seen; /* everything up to here is in the state */
};

/* ---- schemas ---- */

static enum banyan_status add_schema(struct http_commands *commands, const struct banyan_record *record,
                                     struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(HTTP_ENVELOPE_BYTES_MAX);
    struct command_schema *item = &commands->items[commands->count];
    item->record = record;
    banyan_record_schema(record, &text);
    enum banyan_status st = avro_parse(banyan_buf_str(&text), &item->schema, err);
    if (st == BANYAN_OK)
        commands->count++;
    else
        banyan_error_context(err, "command fields %s", record->name);
    banyan_buf_release(&text);
    return st;
}

enum banyan_status http_commands_open(struct http_server *server, struct banyan_error *err)
{
    const struct banyan_domain *domain = server->options.domain;
    size_t count = 0;
    enum banyan_status st = BANYAN_OK;
    if (server->options.aggregates == NULL)
        return BANYAN_OK;
    for (size_t a = 0; a < domain->aggregate_count; a++)
        count += domain->aggregates[a].command_count;
    server->commands = alloc_zeroed(1, sizeof(*server->commands));
    server->commands->items = alloc_zeroed(count + 1, sizeof(*server->commands->items));
    for (size_t a = 0; a < domain->aggregate_count; a++)
        for (size_t c = 0; c < domain->aggregates[a].command_count && st == BANYAN_OK; c++)
            st = add_schema(server->commands, domain->aggregates[a].commands[c].record, err);
    return st;
}

void http_commands_close(struct http_server *server)
{
    struct http_commands *commands = server->commands;
    if (commands == NULL)
        return;
    for (size_t i = 0; i < commands->count; i++)
        avro_schema_free(commands->items[i].schema);
    free(commands->items);
    free(commands);
    server->commands = NULL;
}

/* The first text with a NUL in it: read models could not keep it, and JSON can say it; NULL: none. */
static const struct banyan_field *find_nul(const struct banyan_record *record, const void *value)
{
    const struct banyan_field *found = NULL;
    for (size_t i = 0; i < record->field_count && found == NULL; i++) {
        const struct banyan_field *field = &record->fields[i];
        const void *at = (const char *)value + field->offset;
        if (field->kind == BANYAN_FIELD_STRING) {
            const struct banyan_str *text = at;
            if (text->size > 0 && memchr(text->data, 0, text->size) != NULL)
                found = field;
        } else if (field->kind == BANYAN_FIELD_LIST) {
            const struct banyan_list *list = at;
            for (size_t item = 0; item < list->count && found == NULL; item++)
                found = find_nul(field->item, (const char *)list->items + item * field->item->size);
        }
    }
    return found;
}

static enum banyan_status read_fields(const struct http_commands *commands, const struct banyan_record *record,
                                      struct banyan_str json, struct banyan_arena *arena, const void **ret,
                                      struct banyan_error *err)
{
    struct banyan_buf binary = BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX);
    void *fields = banyan_arena_alloc(arena, record->size);
    size_t at = 0;
    while (commands->items[at].record != record)
        at++; /* it is there: every command of the domain is */
    enum banyan_status st = avro_from_json(commands->items[at].schema, json, &binary, err);
    if (st == BANYAN_OK)
        st = banyan_record_decode_in(record, banyan_arena_str(arena, banyan_buf_str(&binary)), arena, fields, err);
    else if (st != BANYAN_LIMIT && err->status != BANYAN_INVALID)
        err->status = st = BANYAN_INVALID;
    const struct banyan_field *nul = st == BANYAN_OK ? find_nul(record, fields) : NULL;
    if (nul != NULL)
        st = banyan_error_set(err, BANYAN_INVALID, "%s: a text must not have a NUL byte", nul->name);
    banyan_buf_release(&binary);
    *ret = fields;
    return st;
}

/* ---- life ---- */

static void commanding_free(struct commanding *commanding)
{
    banyan_arena_release(&commanding->arena);
    banyan_buf_release(&commanding->state);
    free(commanding);
}

static void on_gone(struct http_call *call)
{
    struct commanding *commanding = call->context;
    commanding->call = NULL;
}

static struct commanding *commanding_new(struct http_call *call, void (*done)(struct http_job *job),
                                         enum banyan_status (*run)(struct http_job *job))
{
    struct commanding *commanding = alloc_zeroed(1, sizeof(*commanding));
    commanding->job.done = done;
    commanding->job.run = run;
    commanding->call = call;
    commanding->server = call->server;
    commanding->state = (struct banyan_buf)BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    commanding->command.category = banyan_arena_str(&commanding->arena, call->segments[1]);
    commanding->command.key = banyan_arena_str(&commanding->arena, call->segments[2]);
    return commanding;
}

static void submit(struct commanding *commanding)
{
    commanding->call->context = commanding;
    commanding->call->gone = on_gone;
    http_appender_submit(commanding->server, &commanding->job);
}

/* ---- a command ---- */

/* In a worker. */
static enum banyan_status run_command(struct http_job *job)
{
    struct commanding *commanding = (struct commanding *)job;
    enum banyan_status st = aggregates_submit(commanding->server->options.aggregates, &commanding->command,
                                              &commanding->arena, &commanding->answer, &job->err);
    if (st == BANYAN_OK)
        job->appended.last = commanding->answer.position;
    return st;
}

/* While the legacy application makes them all, none is made here, and no key of its sequence used up. */
static enum banyan_status check_making(const struct http_server *server, const struct aggregate_command *command,
                                       struct banyan_error *err)
{
    enum owner_mode mode = owner_mode(server->options.owner, NULL);
    int size = (int)command->category.size;
    if (mode >= OWNER_SHARED && server->options.keys != NULL)
        return BANYAN_OK;
    (void)banyan_error_set(err, BANYAN_CONFLICT, "a new %.*s is made by the legacy application", size,
                           command->category.data);
    banyan_error_hint(err, "send it to the legacy application, or through the gateway, which knows the owner");
    return BANYAN_CONFLICT;
}

/* Under which key: that of the first time, else one that nobody has. */
static enum banyan_status choose_key(struct commanding *commanding, struct banyan_error *err)
{
    struct aggregate_command *command = &commanding->command;
    const struct http_options *options = &commanding->server->options;
    struct banyan_str stream = {NULL, 0}, category = command->category;
    int64_t key = 0;
    enum banyan_status st = aggregates_executed(options->aggregates, command->id, &commanding->arena, &stream, err);
    command->new_key = stream.data == NULL;
    command->expect = command->new_key ? STORE_EXPECT_ABSENT : STORE_EXPECT_NONE;
    if (st == BANYAN_OK && command->new_key)
        st = check_making(commanding->server, command, err);
    if (st == BANYAN_OK && command->new_key)
        st = keys_next(options->keys, category, &key, err);
    if (st != BANYAN_OK)
        return st;
    if (command->new_key)
        command->key = banyan_arena_printf(&commanding->arena, "%" PRId64, key);
    else if (stream.size > category.size && memcmp(stream.data, category.data, category.size) == 0 &&
             stream.data[category.size] == '-')
        command->key = (struct banyan_str){stream.data + category.size + 1, stream.size - category.size - 1};
    else
        st = banyan_error_set(err, BANYAN_DUPLICATE, "the command's id was used before, for another command");
    return st;
}

/* In a worker. */
static enum banyan_status run_new(struct http_job *job)
{
    struct commanding *commanding = (struct commanding *)job;
    struct aggregate_command *command = &commanding->command;
    enum banyan_status st = BANYAN_OK;
    bool again = true;
    for (int tries = 0; again && tries < NEW_TRIES; tries++) {
        struct store_head head = {.version = {0}};
        banyan_error_clear(&job->err);
        st = choose_key(commanding, &job->err);
        if (st != BANYAN_OK)
            return st;
        st = run_command(job);
        /* The same command was under way under another key, or somebody appended under this one just now. */
        again = command->new_key && st == BANYAN_DUPLICATE;
        if (command->new_key && st == BANYAN_CONFLICT)
            again = store_head(commanding->server->options.store,
                               banyan_arena_printf(&commanding->arena, "%.*s-%.*s", (int)command->category.size,
                                                   command->category.data, (int)command->key.size, command->key.data),
                               &head, NULL) == BANYAN_OK &&
                    head.version.value != 0;
    }
    return st;
}

static void answer_accepted(struct http_call *call, const struct commanding *commanding)
{
    const struct aggregate_answer *answer = &commanding->answer;
    struct banyan_buf body = BANYAN_BUF_INIT(1024);
    banyan_buf_printf(&body, "{\"position\":%" PRIu64 ",\"version\":%" PRIu64 ",\"events\":%zu,\"repeated\":%s",
                      answer->position.value, answer->version.value, answer->event_count,
                      answer->repeated ? "true" : "false");
    if (commanding->is_new && answer->event_count > 0) {
        struct banyan_str category = commanding->command.category, key = commanding->command.key; /* an integer */
        banyan_buf_printf(&body, ",\"key\":\"%.*s\"", (int)key.size, key.data);
        http_header(call, "Location", "/aggregates/%.*s/%.*s", (int)category.size, category.data, (int)key.size,
                    key.data);
    }
    banyan_buf_add_text(&body, "}\n");
    http_header(call, "ETag", "\"%" PRIu64 "\"", answer->version.value);
    http_header(call, "Banyan-Position", "%" PRIu64, answer->position.value);
    http_reply(call, answer->repeated || answer->event_count == 0 ? 200 : 201, "application/json", &body);
    banyan_buf_release(&body);
}

static void answer_refused(struct http_call *call, const struct aggregate_answer *answer)
{
    struct banyan_buf more = BANYAN_BUF_INIT(4096);
    banyan_buf_add_text(&more, ",\"refusal\":");
    banyan_buf_add_json(&more, banyan_str_of(answer->code));
    banyan_buf_printf(&more, ",\"version\":%" PRIu64, answer->version.value);
    http_header(call, "ETag", "\"%" PRIu64 "\"", answer->version.value);
    http_header(call, "Banyan-Position", "%" PRIu64, answer->position.value);
    http_problem_named(call, 422, "REFUSED", NULL, more.data, "%.*s", (int)answer->text.size, answer->text.data);
    banyan_buf_release(&more);
}

static void count(struct http_figures *figures, const struct commanding *commanding)
{
    if (commanding->job.status != BANYAN_OK)
        return;
    figures->commands++;
    figures->commands_refused += !commanding->answer.accepted;
    figures->command_events += commanding->answer.repeated ? 0 : commanding->answer.event_count;
    figures->command_us_sum += commanding->job.took_us;
    if (commanding->job.took_us > figures->command_us_max)
        figures->command_us_max = commanding->job.took_us;
}

static void on_decided(struct http_job *job)
{
    struct commanding *commanding = (struct commanding *)job;
    struct http_call *call = commanding->call;
    count(&commanding->server->figures, commanding);
    if (call != NULL) {
        call->gone = NULL;
        if (job->status == BANYAN_CONFLICT && commanding->by_header)
            http_failure_with(call, 412, &job->err, NULL);
        else if (job->status != BANYAN_OK)
            http_failure(call, &job->err);
        else if (commanding->answer.accepted)
            answer_accepted(call, commanding);
        else
            answer_refused(call, &commanding->answer);
    }
    commanding_free(commanding);
}

/* The command's id: the Idempotency-Key where it is a UUID, else made from it and the stream; false: answered. */
static bool command_id(struct http_call *call, struct banyan_str stream, struct banyan_uuid *ret)
{
    const char *key = http_asked(call, "Idempotency-Key");
    if (key == NULL) {
        *ret = os_uuid_new();
        return true;
    }
    if (key[0] == '\0' || strlen(key) > KEY_CHARACTERS_MAX) {
        http_problem(call, 400, NULL, "Idempotency-Key has to have 1 to %d characters", KEY_CHARACTERS_MAX);
        return false;
    }
    if (!banyan_uuid_parse(banyan_str_of(key), ret))
        *ret = body_derived_id(stream, banyan_str_of(key), 0);
    return true;
}

/* A word that is no key of a mapped category; elsewhere it is a key as any other. */
static bool asks_new(const struct http_call *call)
{
    struct owner *owner = call->server->options.owner;
    return owner != NULL && banyan_str_equal(call->segments[2], BANYAN_STR("new")) &&
           owner_side(owner, call->segments[1], 0) != OWNER_SIDE_NONE;
}

void http_command(struct http_call *call)
{
    static const char *const none[] = {NULL};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_condition condition;
    bool has_condition;
    struct banyan_uuid id;
    if (!http_only(call, none))
        return;
    if (call->body.size > 0 && !http_is_type(http_asked(call, "Content-Type"), "application/json")) {
        http_problem(call, 415, "application/json", "this content type is not taken here");
        return;
    }
    struct banyan_str stream =
        banyan_arena_printf(&call->arena, "%.*s-%.*s", (int)call->segments[1].size, call->segments[1].data,
                            (int)call->segments[2].size, call->segments[2].data);
    const struct banyan_record *record =
        call->server->commands == NULL
            ? NULL
            : aggregates_record(call->server->options.aggregates, call->segments[1], call->segments[3]);
    if (record == NULL) {
        http_problem(call, 404, NULL, "there is no command %.*s of %.*s", (int)call->segments[3].size,
                     call->segments[3].data, (int)call->segments[1].size, call->segments[1].data);
        return;
    }
    if (!http_header_condition(call, stream, &condition, &has_condition) || !command_id(call, stream, &id))
        return;
    bool is_new = asks_new(call);
    if (is_new && has_condition && condition.expect != STORE_EXPECT_ABSENT) {
        http_problem(call, 400, NULL, "what is new has no version: If-Match makes no sense here");
        return;
    }
    struct commanding *commanding = commanding_new(call, on_decided, is_new ? run_new : run_command);
    commanding->is_new = is_new;
    struct aggregate_command *command = &commanding->command;
    command->id = id;
    command->name = banyan_arena_str(&commanding->arena, call->segments[3]);
    command->expect = has_condition ? condition.expect : STORE_EXPECT_NONE;
    command->version = condition.version;
    commanding->by_header = has_condition;
    if (read_fields(call->server->commands, record,
                    call->body.size == 0 ? BANYAN_STR("{}") : banyan_buf_str(&call->body), &commanding->arena,
                    &command->fields, &err) == BANYAN_OK) {
        submit(commanding);
        return;
    }
    http_failure(call, &err);
    commanding_free(commanding);
}

/* ---- a state ---- */

/* In a worker. */
static enum banyan_status run_state(struct http_job *job)
{
    struct commanding *commanding = (struct commanding *)job;
    const struct aggregate_command *asked = &commanding->command;
    struct aggregates *aggregates = commanding->server->options.aggregates;
    struct store *store = commanding->server->options.store;
    const struct banyan_record *record = aggregates_find(aggregates, asked->category)->state;
    void *state = banyan_arena_alloc(&commanding->arena, record->size);
    struct store_head head;
    commanding->seen = store_durable(store).value;
    enum banyan_status st = aggregates_submitted(aggregates, asked->category, asked->key, &commanding->arena, state,
                                                 &commanding->version, &job->err);
    struct banyan_str stream = banyan_arena_printf(&commanding->arena, "%.*s-%.*s", (int)asked->category.size,
                                                   asked->category.data, (int)asked->key.size, asked->key.data);
    if (st == BANYAN_OK)
        st = store_head(store, stream, &head, &job->err);
    if (st != BANYAN_OK)
        return st;
    job->appended.last = head.position; /* at least what the state rests on */
    if (head.version.value == commanding->version.value && head.position.value > commanding->seen)
        commanding->seen = head.position.value;
    banyan_record_json(record, state, &commanding->state);
    return BANYAN_OK;
}

static void answer_state(struct commanding *commanding)
{
    struct http_call *call = commanding->call;
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    const char *none_match = http_asked(call, "If-None-Match");
    char etag[32];
    http_header(call, "Banyan-Position", "%" PRIu64, commanding->seen);
    if (commanding->version.value == 0) {
        http_problem(call, 404, NULL, "there is no %.*s %.*s", (int)commanding->command.category.size,
                     commanding->command.category.data, (int)commanding->command.key.size,
                     commanding->command.key.data);
        return;
    }
    (void)snprintf(etag, sizeof(etag), "\"%" PRIu64 "\"", commanding->version.value); /* a number fits */
    http_header(call, "ETag", "%s", etag);
    if (none_match != NULL && (strcmp(none_match, etag) == 0 || strcmp(none_match, "*") == 0)) {
        http_reply(call, 304, "application/json", NULL);
        return;
    }
    banyan_buf_add_text(&body, "{\"category\":");
    banyan_buf_add_json(&body, commanding->command.category);
    banyan_buf_add_text(&body, ",\"key\":");
    banyan_buf_add_json(&body, commanding->command.key);
    banyan_buf_printf(&body, ",\"version\":%" PRIu64 ",\"state\":", commanding->version.value);
    banyan_buf_add_str(&body, banyan_buf_str(&commanding->state));
    banyan_buf_add_text(&body, "}\n");
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
}

static void on_state(struct http_job *job)
{
    struct commanding *commanding = (struct commanding *)job;
    if (commanding->call != NULL) {
        commanding->call->gone = NULL;
        if (job->status == BANYAN_OK)
            answer_state(commanding);
        else
            http_failure(commanding->call, &job->err);
    }
    commanding_free(commanding);
}

static void aggregate(struct http_call *call)
{
    static const char *const none[] = {NULL};
    struct aggregates *aggregates = call->server->options.aggregates;
    if (!http_only(call, none))
        return;
    if (aggregates == NULL || aggregates_find(aggregates, call->segments[1]) == NULL) {
        http_problem(call, 404, NULL, "there is no aggregate %.*s", (int)call->segments[1].size,
                     call->segments[1].data);
        return;
    }
    submit(commanding_new(call, on_state, run_state));
}

void http_aggregate(struct http_call *call)
{
    if (http_await(call, HTTP_WAIT_LOG, aggregate))
        aggregate(call);
}
