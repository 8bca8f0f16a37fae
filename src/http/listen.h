/* SPDX-License-Identifier: Apache-2.0 */
/* A socket that listens: of the server, and of the gateway in the room above. */
#ifndef HTTP_LISTEN_H
#define HTTP_LISTEN_H

#include <stdbool.h>

#include "banyan/error.h"

/* Listen on *address* and *port* (0: any free one), without delays of small writes, not blocking.  *check*, when not
 * NULL, is asked before: its failure is the result.  Gives *ret_fd.  CONFIG, BUSY: the port is taken. */
BANYAN_MUST_CHECK enum banyan_status http_listen(const char *address, int port,
                                                 enum banyan_status (*check)(void *context, bool loopback,
                                                                             struct banyan_error *err),
                                                 void *context, int *ret_fd, int *ret_port, struct banyan_error *err);

#endif
