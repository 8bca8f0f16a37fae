/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /schemas: the registry of event schemas.
 *
 * What changes the registry waits for the disk; that is rare and short, but the loop does not wait: a thread of its own
 * runs one change after the other.
 */
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

/* What a change is, and how it ended. */
struct http_change {
    struct http_change *next;
    struct http_call *call; /* NULL: the client is gone */
    enum { CHANGE_REGISTER = 1, CHANGE_CHECK, CHANGE_COMPATIBILITY, CHANGE_FREEZE, CHANGE_THAW } kind;
    char *subject; /* owned */
    struct banyan_str text;
    struct banyan_buf body; /* owned; what text points into */
    enum avro_compatibility rule;
    uint16_t version;
    enum banyan_status status;
    struct banyan_error err;
};

struct http_changer {
    struct http_server *server;
    struct event *wake;
    struct os_thread thread;
    struct {
        pthread_mutex_t lock; /* guards the rest */
        pthread_cond_t more;
        struct http_change *queue, **queue_end, *finished;
        bool stop;
    } shared;
};

static void change_free(struct http_change *change)
{
    free(change->subject);
    banyan_buf_release(&change->body);
    free(change);
}

/* ---- the thread ---- */

static void run(struct store_registry *registry, struct http_change *change)
{
    struct banyan_str subject = banyan_str_of(change->subject);
    switch (change->kind) {
    case CHANGE_REGISTER:
        change->status = store_registry_register(registry, subject, change->text, &change->version, &change->err);
        break;
    case CHANGE_CHECK:
        change->status = store_registry_check(registry, subject, change->text, &change->err);
        break;
    case CHANGE_COMPATIBILITY:
        change->status = store_registry_set_compatibility(registry, subject, change->rule, &change->err);
        break;
    default:
        change->status = store_registry_freeze(registry, change->kind == CHANGE_FREEZE, &change->err);
        break;
    }
}

static void changer_main(void *argument)
{
    struct http_changer *changer = argument;
    (void)pthread_mutex_lock(&changer->shared.lock);
    while (!changer->shared.stop) {
        struct http_change *change = changer->shared.queue;
        if (change == NULL) {
            (void)os_cond_wait(&changer->shared.more, &changer->shared.lock, 1000 * 1000);
            continue;
        }
        changer->shared.queue = change->next;
        if (changer->shared.queue == NULL)
            changer->shared.queue_end = &changer->shared.queue;
        (void)pthread_mutex_unlock(&changer->shared.lock);
        run(changer->server->options.registry, change);
        (void)pthread_mutex_lock(&changer->shared.lock);
        change->next = changer->shared.finished;
        changer->shared.finished = change;
        event_active(changer->wake, EV_TIMEOUT, 0);
    }
    (void)pthread_mutex_unlock(&changer->shared.lock);
}

/* ---- answers ---- */

static void answer(struct http_change *change)
{
    struct http_call *call = change->call;
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_SMALL_BODY_BYTES_MAX);
    if (change->status != BANYAN_OK) {
        http_failure(call, &change->err);
        return;
    }
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

static void on_wake(evutil_socket_t fd, short what, void *context)
{
    struct http_changer *changer = context;
    (void)fd, (void)what;
    (void)pthread_mutex_lock(&changer->shared.lock);
    struct http_change *change = changer->shared.finished, *next;
    changer->shared.finished = NULL;
    (void)pthread_mutex_unlock(&changer->shared.lock);
    for (; change != NULL; change = next) {
        next = change->next;
        if (change->call != NULL) {
            change->call->gone = NULL;
            answer(change);
        }
        change_free(change);
    }
}

static void on_gone(struct http_call *call)
{
    ((struct http_change *)call->context)->call = NULL;
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

static void submit(struct http_call *call, int kind, enum avro_compatibility rule)
{
    struct http_changer *changer = call->server->changer;
    struct http_change *change = alloc_zeroed(1, sizeof(*change));
    change->kind = kind;
    change->call = call;
    change->rule = rule;
    change->subject = alloc_text(kind == CHANGE_FREEZE || kind == CHANGE_THAW ? "" : call->segments[1].data);
    change->body = call->body;
    call->server->body_bytes -= call->body.capacity;
    call->body = (struct banyan_buf)BANYAN_BUF_INIT(0);
    change->text = banyan_buf_str(&change->body);
    call->context = change;
    call->gone = on_gone;
    (void)pthread_mutex_lock(&changer->shared.lock);
    *changer->shared.queue_end = change;
    changer->shared.queue_end = &change->next;
    (void)pthread_cond_signal(&changer->shared.more);
    (void)pthread_mutex_unlock(&changer->shared.lock);
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

/* ---- life ---- */

enum banyan_status http_changer_open(struct http_server *server, struct banyan_error *err)
{
    if (server->options.registry == NULL)
        return BANYAN_OK;
    struct http_changer *changer = alloc_zeroed(1, sizeof(*changer));
    server->changer = changer;
    changer->server = server;
    changer->shared.queue_end = &changer->shared.queue;
    (void)pthread_mutex_init(&changer->shared.lock, NULL);
    os_cond_init(&changer->shared.more);
    changer->wake = event_new(server->base, -1, 0, on_wake, changer);
    if (changer->wake == NULL)
        return banyan_error_set(err, BANYAN_LIMIT, "cannot make an event");
    os_thread_start(&changer->thread, "http-schemas", changer_main, changer);
    return BANYAN_OK;
}

void http_changer_close(struct http_server *server)
{
    struct http_changer *changer = server->changer;
    if (changer == NULL)
        return;
    (void)pthread_mutex_lock(&changer->shared.lock);
    changer->shared.stop = true;
    (void)pthread_cond_broadcast(&changer->shared.more);
    (void)pthread_mutex_unlock(&changer->shared.lock);
    os_thread_join(&changer->thread);
    struct http_change *const lists[] = {changer->shared.queue, changer->shared.finished};
    for (size_t i = 0; i < 2; i++) {
        for (struct http_change *change = lists[i], *next; change != NULL; change = next) {
            next = change->next;
            if (change->call != NULL)
                change->call->gone = NULL; /* its connection ends next */
            change_free(change);
        }
    }
    if (changer->wake != NULL)
        event_free(changer->wake);
    (void)pthread_cond_destroy(&changer->shared.more);
    (void)pthread_mutex_destroy(&changer->shared.lock);
    free(changer);
    server->changer = NULL;
}
