/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as bytes: see http_raw.h. */
#include "support/http_raw.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
    ANSWER_MAX = 128 * 1024 * 1024,
};

int http_raw_port;

int dial(void)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)http_raw_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval limit = {20, 0};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

void say(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* it hung up on us: the answer tells */
        data += sent;
        size -= (size_t)sent;
    }
}

/* All that comes until the server hangs up; static memory. */
const char *hear(int fd)
{
    static char answer[ANSWER_MAX]; /* touched as far as it is needed */
    size_t size = 0;
    for (;;) {
        ssize_t got = recv(fd, answer + size, sizeof(answer) - 1 - size, 0);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            fail_msg("no answer in time");
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    answer[size] = '\0';
    close(fd);
    return answer;
}

const char *raw(const char *request)
{
    int fd = dial();
    say(fd, request, strlen(request));
    shutdown(fd, SHUT_WR);
    return hear(fd);
}

int code_of(const char *answer)
{
    int code = 0;
    return sscanf(answer, "HTTP/1.%*d %d", &code) == 1 ? code : 0;
}

const char *body_of(const char *answer)
{
    const char *gap = strstr(answer, "\r\n\r\n");
    return gap == NULL ? "" : gap + 4;
}

/* The value of a header in static memory; empty when there is none. */
const char *header_of(const char *answer, const char *name)
{
    static char value[256];
    const char *end = strstr(answer, "\r\n\r\n");
    value[0] = '\0';
    for (const char *line = answer; line != NULL && line < end; line = strstr(line, "\r\n")) {
        line += line == answer ? 0 : 2;
        if (strncasecmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':') {
            sscanf(line + strlen(name) + 1, " %255[^\r]", value);
            break;
        }
    }
    return value;
}

/* GET with more header lines (each with its end of line) and Connection: close. */
const char *get_with(const char *path, const char *headers)
{
    char request[8192];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s\r\n", path,
             headers);
    int fd = dial();
    say(fd, request, strlen(request));
    return hear(fd);
}

const char *get(const char *path)
{
    return get_with(path, "");
}

json_t *json_at(const char *path, int code)
{
    json_error_t error;
    const char *answer = get(path);
    if (code_of(answer) != code)
        fail_msg("%s: %.300s", path, answer);
    assert_string_equal(header_of(answer, "Content-Type"),
                        code == 200 ? "application/json" : "application/problem+json");
    json_t *json = json_loads(body_of(answer), JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        fail_msg("%s: %s in %.300s", path, error.text, body_of(answer));
    return json;
}

const char *text_at(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));
    return text == NULL ? "" : text;
}

const char *post_with(const char *method, const char *path, const char *headers, const char *body)
{
    size_t size = strlen(body) + strlen(headers) + strlen(path) + 256;
    char *request = malloc(size);
    snprintf(request, size, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s",
             method, path, strlen(body), headers, body);
    int fd = dial();
    say(fd, request, strlen(request));
    free(request);
    return hear(fd);
}

json_t *json_of(const char *answer, int code)
{
    json_error_t error;
    if (code_of(answer) != code)
        fail_msg("wanted %d: %.600s", code, answer);
    json_t *json = json_loads(body_of(answer), JSON_REJECT_DUPLICATES, &error);
    if (json == NULL)
        fail_msg("%s in %.300s", error.text, body_of(answer));
    return json;
}

long long number_at(const json_t *json, const char *key)
{
    const json_t *value = json_object_get(json, key);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}
