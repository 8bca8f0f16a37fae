/* SPDX-License-Identifier: Apache-2.0 */
/* Requests as bytes over a plain socket, for tests of the server that have to say exactly what is sent. */
#ifndef SUPPORT_HTTP_RAW_H
#define SUPPORT_HTTP_RAW_H

#include <jansson.h>
#include <stddef.h>

/* Where the server listens, on loopback. */
extern int http_raw_port;

int dial(void);
void say(int fd, const char *data, size_t size);
const char *hear(int fd);
const char *raw(const char *request);
int code_of(const char *answer);
const char *body_of(const char *answer);
const char *header_of(const char *answer, const char *name);
const char *get_with(const char *path, const char *headers);
const char *get(const char *path);
json_t *json_at(const char *path, int code);
const char *text_at(const json_t *json, const char *key);
const char *post_with(const char *method, const char *path, const char *headers, const char *body);
json_t *json_of(const char *answer, int code);
long long number_at(const json_t *json, const char *key);

#endif
