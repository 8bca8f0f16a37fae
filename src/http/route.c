/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which handler a request goes to, and whether its token allows it.
 *
 * A path is cut at its slashes before it is decoded, so that a name may hold any byte, escaped.  A literal segment goes
 * before one in braces.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "http/http_int.h"

static const struct http_route routes[] = {
    {HTTP_GET, "/livez", HTTP_ROLE_NONE, HTTP_BODY_NONE, http_livez, NULL},
    {HTTP_GET, "/readyz", HTTP_ROLE_NONE, HTTP_BODY_NONE, http_readyz, NULL},
    {HTTP_GET, "/openapi.json", HTTP_ROLE_NONE, HTTP_BODY_NONE, http_openapi, NULL},
    {HTTP_GET, "/status", HTTP_ROLE_READ, HTTP_BODY_NONE, http_status, NULL},
    {HTTP_GET, "/metrics", HTTP_ROLE_READ, HTTP_BODY_NONE, http_metrics, NULL},
    {HTTP_GET, "/views/{view}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_view, NULL},
    {HTTP_GET, "/views/{view}/{key}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_view, NULL},
    {HTTP_GET, "/views/{view}/search", HTTP_ROLE_READ, HTTP_BODY_NONE, http_view, NULL},
    {HTTP_GET, "/views/{view}/queries/{query}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_view, NULL},
    {HTTP_GET, "/views/{view}/tables/{table}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_view, NULL},
    {HTTP_GET, "/views/{view}/tables/{table}/{key}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_view, NULL},
    {HTTP_GET, "/projections", HTTP_ROLE_READ, HTTP_BODY_NONE, http_projections, NULL},
    {HTTP_GET, "/projections/{view}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_projection, NULL},
    {HTTP_GET, "/projections/{view}/asides", HTTP_ROLE_READ, HTTP_BODY_NONE, http_projection_asides, NULL},
    {HTTP_POST, "/projections/{view}/{action}", HTTP_ROLE_ADMIN, HTTP_BODY_NONE, http_projection_act, NULL},
    {HTTP_GET, "/rollout", HTTP_ROLE_READ, HTTP_BODY_NONE, http_rollout_status, NULL},
    {HTTP_GET, "/rollout/plan", HTTP_ROLE_READ, HTTP_BODY_NONE, http_rollout_plan, NULL},
    {HTTP_GET, "/rollout/history", HTTP_ROLE_READ, HTTP_BODY_NONE, http_rollout_history, NULL},
    {HTTP_POST, "/rollout/{action}", HTTP_ROLE_ADMIN, HTTP_BODY_NONE, http_rollout_act, NULL},
    {HTTP_GET, "/streams/{name}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_stream_read, NULL},
    {HTTP_POST, "/streams/{name}", HTTP_ROLE_APPEND, HTTP_BODY_EVENTS, http_stream_append, NULL},
    {HTTP_GET, "/streams/{name}/subscribe", HTTP_ROLE_READ, HTTP_BODY_NONE, http_stream_subscribe, NULL},
    {HTTP_GET, "/streams/{name}/{version}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_stream_event, NULL},
    {HTTP_POST, "/commands/{category}/{key}/{command}", HTTP_ROLE_APPEND, HTTP_BODY_SMALL, http_command, NULL},
    {HTTP_GET, "/aggregates/{category}/{key}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_aggregate, NULL},
    {HTTP_POST, "/ofrep/v1/evaluate/flags", HTTP_ROLE_READ, HTTP_BODY_SMALL, http_flags, NULL},
    {HTTP_POST, "/ofrep/v1/evaluate/flags/{key}", HTTP_ROLE_READ, HTTP_BODY_SMALL, http_flag, NULL},
    {HTTP_GET, "/processes", HTTP_ROLE_READ, HTTP_BODY_NONE, http_process_list, NULL},
    {HTTP_POST, "/processes/{process}/retry", HTTP_ROLE_ADMIN, HTTP_BODY_NONE, http_process_retry, NULL},
    {HTTP_GET, "/events", HTTP_ROLE_READ, HTTP_BODY_NONE, http_events_read, NULL},
    {HTTP_POST, "/events", HTTP_ROLE_APPEND, HTTP_BODY_EVENTS, http_events_append, http_events_bulk},
    {HTTP_GET, "/events/subscribe", HTTP_ROLE_READ, HTTP_BODY_NONE, http_events_subscribe, NULL},
    {HTTP_GET, "/schemas", HTTP_ROLE_READ, HTTP_BODY_NONE, http_schemas_list, NULL},
    {HTTP_POST, "/schemas/freeze", HTTP_ROLE_ADMIN, HTTP_BODY_NONE, http_schemas_freeze, NULL},
    {HTTP_POST, "/schemas/thaw", HTTP_ROLE_ADMIN, HTTP_BODY_NONE, http_schemas_thaw, NULL},
    {HTTP_GET, "/schemas/{subject}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_schema_get, NULL},
    {HTTP_POST, "/schemas/{subject}", HTTP_ROLE_ADMIN, HTTP_BODY_SMALL, http_schema_register, NULL},
    {HTTP_GET, "/schemas/{subject}/{version}", HTTP_ROLE_READ, HTTP_BODY_NONE, http_schema_get, NULL},
    {HTTP_POST, "/schemas/{subject}/check", HTTP_ROLE_READ, HTTP_BODY_SMALL, http_schema_check, NULL},
    {HTTP_PUT, "/schemas/{subject}/compatibility", HTTP_ROLE_ADMIN, HTTP_BODY_SMALL, http_schema_compatibility, NULL},
};

enum {
    ROUTE_COUNT = sizeof(routes) / sizeof(routes[0]),
};

const struct http_route *http_routes(size_t *ret_count)
{
    *ret_count = ROUTE_COUNT;
    return routes;
}

size_t http_body_max(const struct http_route *route)
{
    return route->body == HTTP_BODY_EVENTS ? HTTP_BODY_BYTES_MAX : HTTP_SMALL_BODY_BYTES_MAX;
}

const char *http_role_name(enum http_role role)
{
    static const char *const names[] = {"none", "read", "append", "admin"};
    return (unsigned)role < HTTP_ROLE_COUNT ? names[role] : "none";
}

/* ---- paths ---- */

static bool decode_to(struct http_call *call, struct banyan_str text, bool plus_is_space, struct banyan_str *ret)
{
    char *to = banyan_arena_alloc(&call->arena, text.size + 1);
    if (!wire_decode(text, plus_is_space, to, &ret->size))
        return false;
    ret->data = to;
    return true;
}

static bool split_path(struct http_call *call, struct banyan_str path)
{
    const char *at = path.data + 1, *end = path.data + path.size;
    call->segment_count = 0;
    for (;;) {
        const char *slash = memchr(at, '/', (size_t)(end - at));
        struct banyan_str segment = {at, (size_t)((slash == NULL ? end : slash) - at)};
        if (call->segment_count < HTTP_SEGMENTS_MAX &&
            !decode_to(call, segment, false, &call->segments[call->segment_count]))
            return false;
        call->segment_count++; /* more than there is room for: no route has that many */
        if (slash == NULL)
            return true;
        at = slash + 1;
    }
}

static bool split_query(struct http_call *call, struct banyan_str query)
{
    const char *at = query.data, *end = query.data + query.size;
    while (at < end) {
        const char *stop = memchr(at, '&', (size_t)(end - at));
        stop = stop == NULL ? end : stop;
        const char *equal = memchr(at, '=', (size_t)(stop - at));
        struct banyan_str name, value;
        if (call->parameter_count == HTTP_PARAMETERS_MAX || equal == NULL || equal == at ||
            !decode_to(call, (struct banyan_str){at, (size_t)(equal - at)}, true, &name) ||
            !decode_to(call, (struct banyan_str){equal + 1, (size_t)(stop - equal - 1)}, true, &value))
            return false;
        call->parameters[call->parameter_count++] = (struct http_parameter){name.data, value.data};
        at = stop + (stop < end);
    }
    return true;
}

/* Does the path fit?  0: no; else the more, the more of it is literal. */
static int fits(const struct http_call *call, const char *pattern)
{
    size_t i = 0;
    int fit = 1;
    for (const char *at = pattern + 1;; i++) {
        size_t size = strcspn(at, "/");
        if (i >= call->segment_count || i >= HTTP_SEGMENTS_MAX)
            return 0;
        struct banyan_str segment = call->segments[i];
        if (*at == '{') {
            if (segment.size == 0)
                return 0;
        } else if (segment.size != size || memcmp(segment.data, at, size) != 0) {
            return 0;
        } else {
            fit++;
        }
        if (at[size] == '\0')
            break;
        at += size + 1;
    }
    return i + 1 == call->segment_count ? fit : 0;
}

static enum http_method method_of(struct http_call *call)
{
    struct banyan_str name = call->head.method;
    call->is_head = banyan_str_equal(name, BANYAN_STR("HEAD"));
    return call->is_head || banyan_str_equal(name, BANYAN_STR("GET")) ? HTTP_GET
           : banyan_str_equal(name, BANYAN_STR("POST"))               ? HTTP_POST
           : banyan_str_equal(name, BANYAN_STR("PUT"))                ? HTTP_PUT
                                                                      : HTTP_METHOD_NONE;
}

/* ---- tokens ---- */

static bool allowed(struct http_call *call)
{
    const char *header = http_asked(call, "Authorization");
    enum http_role role = HTTP_ROLE_NONE, wanted = call->route->role;
    memcpy(call->actor, "operator", sizeof("operator"));
    if (call->server->tokens == NULL || wanted == HTTP_ROLE_NONE)
        return true;
    if (header != NULL && strncasecmp(header, "Bearer ", 7) == 0 && wire_count(&call->head, "Authorization") == 1)
        role = http_tokens_role(call->server->tokens, banyan_str_of(header + 7), call->actor);
    if (role == HTTP_ROLE_NONE) {
        http_header(call, "WWW-Authenticate", "Bearer realm=\"banyan\"");
        http_problem(call, 401, "send Authorization: Bearer TOKEN; `banyan token create` makes one",
                     header == NULL ? "a token is needed here" : "this token is not known");
        return false;
    }
    if (role >= wanted)
        return true;
    http_problem(call, 403, NULL, "this needs a token with role %s; this one has role %s", http_role_name(wanted),
                 http_role_name(role));
    return false;
}

bool http_route(struct http_call *call)
{
    struct banyan_str target = call->head.target;
    const char *mark = memchr(target.data, '?', target.size);
    struct banyan_str path = {target.data, mark == NULL ? target.size : (size_t)(mark - target.data)};
    struct banyan_str query = {mark == NULL ? target.data : mark + 1,
                               mark == NULL ? 0 : target.size - (size_t)(mark + 1 - target.data)};
    enum http_method method = method_of(call);
    const char *allow[4] = {NULL};
    size_t allow_count = 0;
    int best = 0;
    if (!split_path(call, path) || !split_query(call, query)) {
        http_problem(call, 400, "escape as %XX; parameters are name=value",
                     "the path or its parameters cannot be decoded");
        return false;
    }
    call->path = banyan_arena_str(&call->arena, path).data;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        int fit = fits(call, routes[i].path);
        if (fit < best || fit == 0)
            continue;
        if (fit > best) {
            allow_count = 0;
            call->route = NULL;
        }
        best = fit;
        allow[allow_count++] = routes[i].method == HTTP_GET    ? "GET, HEAD"
                               : routes[i].method == HTTP_POST ? "POST"
                                                               : "PUT";
        if (routes[i].method == method)
            call->route = &routes[i];
    }
    if (best == 0) {
        http_problem(call, 404, "docs/HTTP.md lists the paths", "there is nothing at this path");
        return false;
    }
    if (call->route == NULL) {
        http_header(call, "Allow", "%s%s%s", allow[0], allow_count > 1 ? ", " : "", allow_count > 1 ? allow[1] : "");
        http_problem(call, 405, NULL, "this path takes %s%s%s only", allow[0], allow_count > 1 ? ", " : "",
                     allow_count > 1 ? allow[1] : "");
        return false;
    }
    return allowed(call);
}
