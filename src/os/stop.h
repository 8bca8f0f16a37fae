/* SPDX-License-Identifier: Apache-2.0 */
/* Stop tokens: how lower rooms learn that they should end.  Set from signal handlers and from any thread. */
#ifndef OS_STOP_H
#define OS_STOP_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/error.h"

/* All zero is "not stopped" but without a descriptor: use os_stop_open(). */
struct os_stop {
    int event_fd;  /* readable once stopped; for poll() */
    int requested; /* atomic */
};

BANYAN_MUST_CHECK enum banyan_status os_stop_open(struct os_stop *stop, struct banyan_error *err);
void os_stop_close(struct os_stop *stop);
/* Async-signal-safe. */
void os_stop_request(struct os_stop *stop);
bool os_stop_requested(const struct os_stop *stop);
/* Wait until stopped or *timeout_us* passed; true when stopped. */
bool os_stop_wait(struct os_stop *stop, int64_t timeout_us);
/* SIGINT, SIGTERM → *stop*; SIGPIPE ignored.  One token a process. */
BANYAN_MUST_CHECK enum banyan_status os_stop_on_signals(struct os_stop *stop, struct banyan_error *err);

#endif
