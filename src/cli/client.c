/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking HTTP request on an event loop of its own: see client.h. */
#include "cli/client.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <event2/http.h>
#include <stdlib.h>
#include <string.h>

enum {
    TIMEOUT_S = 15,
    ANSWER_BYTES_MAX = 64 * 1024 * 1024,
};

/* The answer, copied out of the callback. */
struct answer {
    int code; /* 0: there was none */
    struct banyan_buf body;
};

static void on_answer(struct evhttp_request *request, void *context)
{
    struct answer *answer = context;
    if (request == NULL || evhttp_request_get_response_code(request) == 0)
        return;
    answer->code = evhttp_request_get_response_code(request);
    struct evbuffer *input = evhttp_request_get_input_buffer(request);
    size_t size = evbuffer_get_length(input);
    char *to = banyan_buf_extend(&answer->body, size);
    if (to != NULL && size > 0)
        (void)evbuffer_remove(input, to, size); /* all of it is there */
}

static enum banyan_status status_of(const struct answer *answer, json_t *json, const char *path,
                                    struct banyan_error *err)
{
    const char *detail = json_string_value(json_object_get(json, "detail"));
    const char *title = json_string_value(json_object_get(json, "title"));
    const char *hint = json_string_value(json_object_get(json, "hint"));
    enum banyan_status st = answer->code == 404   ? BANYAN_NOT_FOUND
                            : answer->code == 409 ? BANYAN_CONFLICT
                            : answer->code >= 500 ? BANYAN_UNAVAILABLE
                                                  : BANYAN_INVALID;
    banyan_error_set(err, st, "%s", detail != NULL ? detail : title != NULL ? title : path);
    if (hint != NULL)
        banyan_error_hint(err, "%s", hint);
    return st;
}

/* What is asked. */
struct question {
    enum client_method method;
    const char *path;
    struct banyan_str body; /* data NULL: none */
};

static void add_body(struct evhttp_request *request, struct banyan_str body)
{
    if (body.data == NULL)
        return;
    evhttp_add_header(evhttp_request_get_output_headers(request), "Content-Type", "application/json");
    (void)evbuffer_add(evhttp_request_get_output_buffer(request), body.data, body.size); /* no memory: no answer */
}

static enum banyan_status ask(const char *address, int port, const struct question *question, struct answer *ret,
                              struct banyan_error *err)
{
    static const enum evhttp_cmd_type methods[] = {
        [CLIENT_GET] = EVHTTP_REQ_GET, [CLIENT_POST] = EVHTTP_REQ_POST, [CLIENT_PUT] = EVHTTP_REQ_PUT};
    struct event_base *base = event_base_new();
    struct evhttp_connection *connection =
        base == NULL ? NULL : evhttp_connection_base_new(base, NULL, address, (unsigned short)port);
    struct evhttp_request *request = connection == NULL ? NULL : evhttp_request_new(on_answer, ret);
    if (request != NULL) {
        char host[300];
        (void)snprintf(host, sizeof(host), "%s:%d", address, port); /* a cut host is still a host header */
        evhttp_connection_set_timeout(connection, TIMEOUT_S);
        evhttp_add_header(evhttp_request_get_output_headers(request), "Host", host);
        evhttp_add_header(evhttp_request_get_output_headers(request), "Connection", "close");
        add_body(request, question->body);
        if (evhttp_make_request(connection, request, methods[question->method], question->path) == 0)
            (void)event_base_dispatch(base); /* an empty answer says how it ended */
    }
    if (connection != NULL)
        evhttp_connection_free(connection);
    if (base != NULL)
        event_base_free(base);
    if (ret->code != 0)
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_UNAVAILABLE, "nothing answers at %s:%d", address, port);
    banyan_error_hint(err, "is `banyan serve` running with this configuration?");
    return BANYAN_UNAVAILABLE;
}

enum banyan_status client_send(const struct config *config, enum client_method method, const char *path,
                               struct banyan_str body, json_t **ret, struct banyan_error *err)
{
    const struct question question = {method, path, body};
    struct answer answer = {.body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX)};
    json_error_t where;
    json_t *json = NULL;
    char *address = NULL;
    int port = 0;
    enum banyan_status st = config_listen(config, &address, &port, err);
    if (st == BANYAN_OK)
        st = ask(address, port, &question, &answer, err);
    if (st != BANYAN_OK)
        goto out;
    json =
        json_loadb(answer.body.data == NULL ? "" : answer.body.data, answer.body.size, JSON_REJECT_DUPLICATES, &where);
    if (answer.code < 200 || answer.code > 299)
        st = status_of(&answer, json, path, err);
    else if (json == NULL)
        st = banyan_error_set(err, BANYAN_PROTOCOL, "%s:%d answers no JSON: %s", address, port, where.text);
    if (st != BANYAN_OK)
        goto out;
    *ret = json;
    json = NULL;
out:
    json_decref(json);
    free(address);
    banyan_buf_release(&answer.body);
    return st;
}

enum banyan_status client_get(const struct config *config, const char *path, json_t **ret, struct banyan_error *err)
{
    return client_send(config, CLIENT_GET, path, (struct banyan_str){NULL, 0}, ret, err);
}

void client_add_escaped(struct banyan_buf *path, const char *name)
{
    for (; *name != '\0'; name++) {
        bool plain = strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.$", *name) != NULL;
        banyan_buf_printf(path, plain ? "%c" : "%%%02X", (unsigned char)*name);
    }
}
