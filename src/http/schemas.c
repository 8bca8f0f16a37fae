/* SPDX-License-Identifier: Apache-2.0 */
/* /schemas: the registry of event schemas.  What changes it waits for the disk, and is a task (task.c). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/jtext.h"
#include "http/http_int.h"
#include "store/registry.h"

static const struct {
    enum avro_compatibility rule;
    const char *name;
} rules[] = {
    {AVRO_COMPATIBILITY_NONE, "NONE"},
    {AVRO_BACKWARD, "BACKWARD"},
    {AVRO_BACKWARD_TRANSITIVE, "BACKWARD_TRANSITIVE"},
    {AVRO_FORWARD, "FORWARD"},
    {AVRO_FORWARD_TRANSITIVE, "FORWARD_TRANSITIVE"},
    {AVRO_FULL, "FULL"},
    {AVRO_FULL_TRANSITIVE, "FULL_TRANSITIVE"},
};

enum change_kind {
    CHANGE_REGISTER = 1,
    CHANGE_CHECK,
    CHANGE_COMPATIBILITY,
    CHANGE_FREEZE,
    CHANGE_THAW,
};

struct change {
    struct http_task task;
    enum change_kind kind;
    char *subject; /* owned */
    enum avro_compatibility rule;
    uint16_t version;
};

static void change_release(struct http_task *task)
{
    free(((struct change *)task)->subject);
}

static enum banyan_status change_run(struct http_server *server, struct http_task *task, struct banyan_error *err)
{
    struct change *change = (struct change *)task;
    struct store_registry *registry = server->options.registry;
    struct banyan_str subject = banyan_str_of(change->subject), text = banyan_buf_str(&task->body);
    switch (change->kind) {
    case CHANGE_REGISTER:
        return store_registry_register(registry, subject, text, &change->version, err);
    case CHANGE_CHECK:
        return store_registry_check(registry, subject, text, err);
    case CHANGE_COMPATIBILITY:
        return store_registry_set_compatibility(registry, subject, change->rule, err);
    default:
        return store_registry_freeze(registry, change->kind == CHANGE_FREEZE, err);
    }
}

static void change_answer(struct http_call *call, struct http_task *task)
{
    const struct change *change = (const struct change *)task;
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_SMALL_BODY_BYTES_MAX);
    switch (change->kind) {
    case CHANGE_REGISTER:
        banyan_buf_add_text(&body, "{\"subject\":");
        banyan_buf_add_json(&body, banyan_str_of(change->subject));
        banyan_buf_printf(&body, ",\"version\":%u}\n", change->version);
        break;
    case CHANGE_CHECK:
        banyan_buf_add_text(&body, "{\"compatible\":true}\n");
        break;
    case CHANGE_COMPATIBILITY:
        banyan_buf_add_text(&body, "{\"subject\":");
        banyan_buf_add_json(&body, banyan_str_of(change->subject));
        banyan_buf_printf(&body, ",\"compatibility\":\"%s\"}\n", rules[change->rule].name);
        break;
    default:
        banyan_buf_printf(&body, "{\"frozen\":%s}\n", change->kind == CHANGE_FREEZE ? "true" : "false");
        break;
    }
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
}

/* ---- requests ---- */

/* False: answered, there is no registry or a parameter is wrong. */
static bool has_registry(struct http_call *call)
{
    static const char *const none[] = {NULL};
    if (!http_only(call, none))
        return false;
    if (call->server->options.registry != NULL)
        return true;
    http_problem(call, 404, NULL, "this server has no schemas");
    return false;
}

static void submit(struct http_call *call, enum change_kind kind, enum avro_compatibility rule)
{
    struct change *change = alloc_zeroed(1, sizeof(*change));
    *change = (struct change){
        .task = {.run = change_run, .answer = change_answer, .release = change_release}, .kind = kind, .rule = rule};
    change->subject = alloc_text(kind == CHANGE_FREEZE || kind == CHANGE_THAW ? "" : call->segments[1].data);
    http_task_submit(call, &change->task);
}

static bool is_json(struct http_call *call)
{
    if (http_is_type(http_asked(call, "Content-Type"), "application/json"))
        return true;
    http_problem(call, 415, "application/json", "this content type is not taken here");
    return false;
}

void http_schema_register(struct http_call *call)
{
    if (has_registry(call) && is_json(call))
        submit(call, CHANGE_REGISTER, AVRO_COMPATIBILITY_NONE);
}

void http_schema_check(struct http_call *call)
{
    if (has_registry(call) && is_json(call))
        submit(call, CHANGE_CHECK, AVRO_COMPATIBILITY_NONE);
}

void http_schemas_freeze(struct http_call *call)
{
    if (has_registry(call))
        submit(call, CHANGE_FREEZE, AVRO_COMPATIBILITY_NONE);
}

void http_schemas_thaw(struct http_call *call)
{
    if (has_registry(call))
        submit(call, CHANGE_THAW, AVRO_COMPATIBILITY_NONE);
}

void http_schema_compatibility(struct http_call *call)
{
    struct jtext_input in = jtext_input(banyan_buf_str(&call->body));
    struct banyan_str name, value = {NULL, 0};
    bool good = true;
    if (!has_registry(call) || !is_json(call))
        return;
    if (jtext_object(&in))
        while (jtext_member(&in, &name))
            good = jtext_is(name, "compatibility") && jtext_string(&in, &value) && good;
    for (size_t i = 0; good && jtext_end(&in) && i < sizeof(rules) / sizeof(rules[0]); i++) {
        if (value.data != NULL && jtext_is(value, rules[i].name)) {
            submit(call, CHANGE_COMPATIBILITY, rules[i].rule);
            return;
        }
    }
    http_problem(call, 400, "NONE, BACKWARD, FORWARD or FULL, each but NONE also with _TRANSITIVE",
                 "the body has to be {\"compatibility\": \"…\"}");
}

static void add_info(struct banyan_buf *body, const struct store_schema *schema)
{
    banyan_buf_add_text(body, "{\"subject\":");
    banyan_buf_add_json(body, schema->subject);
    banyan_buf_printf(body, ",\"version\":%u,\"compatibility\":\"%s\",\"registered_at\":", schema->version,
                      rules[schema->compatibility].name);
    http_add_time(body, schema->registered_at);
}

void http_schemas_list(struct http_call *call)
{
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct store_schema *schemas = NULL;
    size_t count = 0;
    if (!has_registry(call))
        return;
    store_registry_list(call->server->options.registry, &call->arena, &schemas, &count);
    banyan_buf_printf(&body, "{\"frozen\":%s,\"schemas\":[",
                      store_registry_frozen(call->server->options.registry) ? "true" : "false");
    for (size_t i = 0; i < count; i++) {
        banyan_buf_add_text(&body, i > 0 ? "," : "");
        add_info(&body, &schemas[i]);
        banyan_buf_add_char(&body, '}');
    }
    banyan_buf_add_text(&body, "]}\n");
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
}

void http_schema_get(struct http_call *call)
{
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_schema schema;
    uint64_t version = 0;
    if (!has_registry(call))
        return;
    if (call->segment_count == 3 &&
        (!wire_number(call->segments[2], &version) || version == 0 || version > UINT16_MAX)) {
        http_problem(call, 400, "versions are numbers from 1", "\"%.100s\" is no version", call->segments[2].data);
        return;
    }
    if (store_registry_get(call->server->options.registry, call->segments[1], (uint16_t)version, &schema, &err) !=
        BANYAN_OK) {
        http_failure(call, &err);
        return;
    }
    add_info(&body, &schema);
    banyan_buf_add_text(&body, ",\"schema\":");
    banyan_buf_add_str(&body, schema.text); /* as it was registered */
    banyan_buf_add_text(&body, "}\n");
    http_reply(call, 200, "application/json", &body);
    banyan_buf_release(&body);
}
