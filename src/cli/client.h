/* SPDX-License-Identifier: Apache-2.0 */
/* One GET to a running `banyan serve`. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include <jansson.h>

#include "banyan/error.h"
#include "cli/config.h"

/* GET *path*; the answer as JSON (gives *ret, end it with json_decref()).  UNAVAILABLE with a hint when nothing
 * listens; an answer other than 200 becomes NOT_FOUND (404), INVALID (4xx) or UNAVAILABLE (5xx) with its detail. */
BANYAN_MUST_CHECK enum banyan_status client_get(const struct config *config, const char *path, json_t **ret,
                                                struct banyan_error *err);

#endif
