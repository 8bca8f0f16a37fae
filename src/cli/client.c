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
                            : answer->code >= 500 ? BANYAN_UNAVAILABLE
                                                  : BANYAN_INVALID;
    banyan_error_set(err, st, "%s", detail != NULL ? detail : title != NULL ? title : path);
    if (hint != NULL)
        banyan_error_hint(err, "%s", hint);
    return st;
}

static enum banyan_status ask(const char *address, int port, const char *path, struct answer *ret,
                              struct banyan_error *err)
{
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
        if (evhttp_make_request(connection, request, EVHTTP_REQ_GET, path) == 0)
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

enum banyan_status client_get(const struct config *config, const char *path, json_t **ret, struct banyan_error *err)
{
    struct answer answer = {.body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX)};
    json_error_t where;
    json_t *json = NULL;
    char *address = NULL;
    int port = 0;
    enum banyan_status st = config_listen(config, &address, &port, err);
    if (st == BANYAN_OK)
        st = ask(address, port, path, &answer, err);
    if (st != BANYAN_OK)
        goto out;
    json =
        json_loadb(answer.body.data == NULL ? "" : answer.body.data, answer.body.size, JSON_REJECT_DUPLICATES, &where);
    if (answer.code != 200)
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
