/* SPDX-License-Identifier: Apache-2.0 */
/* Answers, problems, and what handlers ask of a request: headers, parameters, numbers, moments. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "http/http_int.h"

/* ---- answers ---- */

void http_header(struct http_call *call, const char *name, const char *format, ...)
{
    char value[2048];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(value, sizeof(value), format, arguments); /* numbers, dates, methods: they fit */
    va_end(arguments);
    banyan_buf_printf(&call->headers, "%s: %s\r\n", name, value);
}

void http_reply(struct http_call *call, int code, const char *content_type, const struct banyan_buf *body)
{
    if (body != NULL && body->overflow)
        http_problem(call, 500, "ask for fewer items", "the answer is larger than %zu bytes", body->size_max);
    else
        http_conn_answer(call, code, content_type, body == NULL ? BANYAN_STR("") : banyan_buf_str(body));
}

static const struct {
    int code;
    const char *title, *name;
} titles[] = {
    {400, "Bad Request", "INVALID"},
    {401, "Unauthorized", "AUTH"},
    {403, "Forbidden", "PRIVILEGE"},
    {404, "Not Found", "NOT_FOUND"},
    {405, "Method Not Allowed", "METHOD"},
    {408, "Request Timeout", "TIMEOUT"},
    {409, "Conflict", "CONFLICT"},
    {411, "Length Required", "INVALID"},
    {412, "Precondition Failed", "CONFLICT"},
    {413, "Content Too Large", "LIMIT"},
    {415, "Unsupported Media Type", "MEDIA_TYPE"},
    {417, "Expectation Failed", "INVALID"},
    {422, "Unprocessable Content", "REFUSED"},
    {431, "Request Header Fields Too Large", "LIMIT"},
    {500, "Internal Server Error", "IO"},
    {501, "Not Implemented", "INVALID"},
    {503, "Service Unavailable", "UNAVAILABLE"},
    {505, "HTTP Version Not Supported", "INVALID"},
    {507, "Insufficient Storage", "NO_SPACE"},
};

static size_t title_of(int code)
{
    for (size_t i = 0; i < sizeof(titles) / sizeof(titles[0]); i++)
        if (titles[i].code == code)
            return i;
    return title_of(500);
}

/* Who knows how long it will take has said so already. */
static bool has_header(const struct http_call *call, struct banyan_str name)
{
    return call->headers.size > 0 && memmem(call->headers.data, call->headers.size, name.data, name.size) != NULL;
}

static void problem(struct http_call *call, int code, const char *code_name, const char *hint, const char *more,
                    const char *detail)
{
    struct banyan_buf body = BANYAN_BUF_INIT(256 * 1024);
    banyan_buf_printf(&body, "{\"type\":\"about:blank\",\"title\":\"%s\",\"status\":%d,\"code\":\"%s\",\"detail\":",
                      titles[title_of(code)].title, code, code_name);
    banyan_buf_add_json(&body, banyan_str_of(detail));
    if (hint != NULL && hint[0] != '\0') {
        banyan_buf_add_text(&body, ",\"hint\":");
        banyan_buf_add_json(&body, banyan_str_of(hint));
    }
    banyan_buf_add_text(&body, more == NULL ? "" : more);
    banyan_buf_add_text(&body, "}\n");
    if ((code == 503 || code == 507) && !has_header(call, BANYAN_STR("Retry-After: ")))
        http_header(call, "Retry-After", "1");
    http_reply(call, code, "application/problem+json", &body);
    banyan_buf_release(&body);
}

void http_problem_named(struct http_call *call, int code, const char *code_name, const char *hint, const char *more,
                        const char *format, ...)
{
    char detail[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments); /* a cut text still tells */
    va_end(arguments);
    problem(call, code, code_name, hint, more, detail);
}

void http_problem(struct http_call *call, int code, const char *hint, const char *format, ...)
{
    char detail[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(detail, sizeof(detail), format, arguments); /* a cut text still tells */
    va_end(arguments);
    problem(call, code, titles[title_of(code)].name, hint, NULL, detail);
}

int http_code_of(enum banyan_status status)
{
    switch (status) {
    case BANYAN_INVALID:
    case BANYAN_USAGE:
        return 400;
    case BANYAN_LIMIT:
        return 413;
    case BANYAN_NOT_FOUND:
        return 404;
    case BANYAN_CONFLICT:
    case BANYAN_DUPLICATE:
        return 409;
    case BANYAN_NO_SPACE:
        return 507;
    default:
        return banyan_status_class(status) == BANYAN_CLASS_RETRY ? 503 : 500;
    }
}

void http_failure_with(struct http_call *call, int code, const struct banyan_error *err, const char *more)
{
    problem(call, code, banyan_status_name(err->status), err->hint, more, err->message);
}

void http_failure(struct http_call *call, const struct banyan_error *err)
{
    http_failure_with(call, http_code_of(err->status), err, NULL);
}

/* ---- what was asked ---- */

const char *http_asked(struct http_call *call, const char *name)
{
    struct banyan_str value = wire_find(&call->head, name);
    return value.data == NULL ? NULL : banyan_arena_str(&call->arena, value).data;
}

const char *http_parameter(const struct http_call *call, const char *name)
{
    for (size_t i = 0; i < call->parameter_count; i++)
        if (strcmp(call->parameters[i].name, name) == 0)
            return call->parameters[i].value;
    return NULL;
}

bool http_parse_number(const char *text, uint64_t *ret)
{
    return wire_number(banyan_str_of(text), ret);
}

bool http_parse_key(const char *text, int64_t *ret)
{
    bool negative = *text == '-';
    uint64_t value;
    if (!http_parse_number(text + negative, &value) || value > (uint64_t)INT64_MAX + negative)
        return false;
    *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return true;
}

bool http_number(struct http_call *call, const char *name, uint64_t fallback, uint64_t min, uint64_t max, uint64_t *ret)
{
    const char *text = http_parameter(call, name);
    uint64_t value = fallback;
    if (text != NULL && (!http_parse_number(text, &value) || value < min || value > max)) {
        http_problem(call, 400, NULL, "%s has to be a number from %" PRIu64 " to %" PRIu64, name, min, max);
        return false;
    }
    *ret = value;
    return true;
}

bool http_time(struct http_call *call, const char *name, struct banyan_time *ret)
{
    const char *text = http_parameter(call, name);
    struct banyan_time time = {BANYAN_TIME_NULL};
    if (text != NULL && !http_parse_time(text, &time)) {
        http_problem(call, 400, "for example 2015-05-01T00:00:00Z; write a plus as %2B", "%s is no time", name);
        return false;
    }
    *ret = time;
    return true;
}

bool http_only(struct http_call *call, const char *const *names)
{
    for (size_t p = 0; p < call->parameter_count; p++) {
        const char *name = call->parameters[p].name;
        size_t size = strlen(name);
        bool known = false, many = false;
        for (size_t i = 0; names[i] != NULL && !known; i++) {
            many = names[i][strlen(names[i]) - 1] == '*';
            known = strncmp(name, names[i], size) == 0 && strlen(names[i]) == size + many;
        }
        if (!known) {
            http_problem(call, 400, "docs/HTTP.md lists the parameters", "unknown parameter \"%.100s\"", name);
            return false;
        }
        for (size_t q = 0; q < p && !many; q++) {
            if (strcmp(call->parameters[q].name, name) != 0)
                continue;
            http_problem(call, 400, NULL, "parameter \"%.100s\" is there more than once", name);
            return false;
        }
    }
    return true;
}

bool http_is_type(const char *header, const char *type)
{
    size_t size = strlen(type);
    return header != NULL && strncasecmp(header, type, size) == 0 &&
           (header[size] == '\0' || header[size] == ';' || header[size] == ' ' || header[size] == '\t');
}
