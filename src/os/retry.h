/* SPDX-License-Identifier: Apache-2.0 */
/* Retrying: one place with a cap, jitter and a total limit.  No other loop sleeps. */
#ifndef OS_RETRY_H
#define OS_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "os/stop.h"

struct os_retry {
    int64_t first_us; /* first pause */
    int64_t pause_us_max;
    int64_t total_us_max; /* give up after this; 0: never */
    /* state */
    unsigned attempts;
    int64_t started_us;
};

/* Pause before the next attempt (doubling, ±25 % jitter).  False when the total is used up or *stop* was requested. */
bool os_retry_pause(struct os_retry *retry, struct os_stop *stop);
/* It worked: start from the first pause next time. */
void os_retry_reset(struct os_retry *retry);

#endif
