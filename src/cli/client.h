/* SPDX-License-Identifier: Apache-2.0 */
/* One request to a running `banyan serve`. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/client.h"
#include "banyan/error.h"
#include "banyan/types.h"
#include "cli/config.h"

/* A client of the serve that listens where *config* says; nothing is sent yet.  The token is that of the environment
 * variable BANYAN_TOKEN. */
BANYAN_MUST_CHECK enum banyan_status client_open(const struct config *config, struct banyan_client **ret,
                                                 struct banyan_error *err);

/* GET *path*; the answer as JSON (gives *ret, end it with json_decref()).  UNAVAILABLE with a hint when nothing
 * listens; an answer other than 200 becomes the status that its problem names.  A token is taken from the environment
 * variable BANYAN_TOKEN. */
BANYAN_MUST_CHECK enum banyan_status client_get(const struct config *config, const char *path, json_t **ret,
                                                struct banyan_error *err);

enum client_method {
    CLIENT_GET = 1,
    CLIENT_POST,
    CLIENT_PUT,
};

/* The same with a method and a body of JSON (data NULL: none); any answer of 2xx is a success. */
BANYAN_MUST_CHECK enum banyan_status client_send(const struct config *config, enum client_method method,
                                                 const char *path, struct banyan_str body, json_t **ret,
                                                 struct banyan_error *err);
/* The same; *ret is set also where the status is a failure, when the answer was JSON: its problem. */
BANYAN_MUST_CHECK enum banyan_status client_ask(const struct config *config, enum client_method method,
                                                const char *path, struct banyan_str body, json_t **ret,
                                                struct banyan_error *err);
/* A name as one step of a path: everything but letters, digits and a few others is escaped. */
void client_add_escaped(struct banyan_buf *path, const char *name);

/* A member of an answer, borrowed from it; "" and 0 where there is none, or none of that kind. */
const char *answer_text(const json_t *object, const char *key);
uint64_t answer_number(const json_t *object, const char *key);

#endif
