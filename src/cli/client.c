/* SPDX-License-Identifier: Apache-2.0 */
/* One request to a running serve, through the public client: see client.h. */
#include "cli/client.h"

#include <stdlib.h>
#include <string.h>

enum {
    TIMEOUT_MS = 15000,
};

enum banyan_status client_open(const struct config *config, struct banyan_client **ret, struct banyan_error *err)
{
    struct banyan_buf url = BANYAN_BUF_INIT(1024);
    char *address = NULL;
    int port = 0;
    enum banyan_status st = config_listen(config, &address, &port, err);
    if (st != BANYAN_OK)
        return st;
    bool v6 = strchr(address, ':') != NULL;
    banyan_buf_printf(&url, "http%s://%s%s%s:%d", config->http->certificate_file == NULL ? "" : "s", v6 ? "[" : "",
                      address, v6 ? "]" : "", port);
    st = banyan_client_open(&(struct banyan_client_options){.url = url.data,
                                                            .token = getenv("BANYAN_TOKEN"),
                                                            .ca_file = config->http->certificate_file,
                                                            .timeout_ms = TIMEOUT_MS},
                            ret, err);
    banyan_buf_release(&url);
    free(address);
    return st;
}

enum banyan_status client_ask(const struct config *config, enum client_method method, const char *path,
                              struct banyan_str body, json_t **ret, struct banyan_error *err)
{
    static const char *const methods[] = {[CLIENT_GET] = "GET", [CLIENT_POST] = "POST", [CLIENT_PUT] = "PUT"};
    struct banyan_client_answer answer = {.body = BANYAN_BUF_INIT(0)};
    struct banyan_client *client = NULL;
    json_error_t where;
    json_t *json = NULL;
    enum banyan_status st = client_open(config, &client, err);
    if (st == BANYAN_OK)
        st = banyan_client_request(client, methods[method], path, NULL, body, &answer, err);
    if (st != BANYAN_OK)
        goto out;
    st = banyan_client_status(&answer, err);
    if (st == BANYAN_AUTH)
        banyan_error_hint(err, "put a token with role read into the environment variable BANYAN_TOKEN");
    json =
        json_loadb(answer.body.data == NULL ? "" : answer.body.data, answer.body.size, JSON_REJECT_DUPLICATES, &where);
    if (json == NULL && st == BANYAN_OK)
        st = banyan_error_set(err, BANYAN_PROTOCOL, "%s answers no JSON: %s", config->listen, where.text);
    else if (json != NULL)
        *ret = json;
out:
    banyan_client_close(client);
    banyan_buf_release(&answer.body);
    return st;
}

enum banyan_status client_send(const struct config *config, enum client_method method, const char *path,
                               struct banyan_str body, json_t **ret, struct banyan_error *err)
{
    json_t *json = NULL;
    enum banyan_status st = client_ask(config, method, path, body, &json, err);
    if (st == BANYAN_OK)
        *ret = json;
    else
        json_decref(json);
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

const char *answer_text(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));
    return value == NULL ? "" : value;
}

uint64_t answer_number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value))
        return json_integer_value(value) < 0 ? 0 : (uint64_t)json_integer_value(value);
    /* A figure that was printed with an exponent. */
    double real = json_real_value(value);
    return real > 0 && real < 0x1p63 ? (uint64_t)real : 0;
}
