/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pauses between attempts: doubling with ±25 % jitter up to a cap.
 *
 * The last pause is cut to what is left of the total, so that one attempt is made right at its end.
 */
#include "os/retry.h"

#include <stddef.h>

#include "os/clock.h"
#include "os/random.h"

static int64_t next_pause_us(const struct os_retry *retry)
{
    int64_t pause = retry->first_us > 0 ? retry->first_us : 1000;
    int64_t pause_max = retry->pause_us_max > pause ? retry->pause_us_max : pause;
    for (unsigned i = 0; i < retry->attempts && pause < pause_max; i++)
        pause = pause > pause_max / 2 ? pause_max : pause * 2;
    uint32_t random;
    os_random_bytes(&random, sizeof(random));
    int64_t span = pause / 2; /* from 75 % to 125 % */
    return pause - span / 2 + (span > 0 ? (int64_t)random % (span + 1) : 0);
}

bool os_retry_pause(struct os_retry *retry, struct os_stop *stop)
{
    struct os_clock *clock = os_clock_real();
    int64_t now_us = os_clock_monotonic_us(clock);
    if (stop != NULL && os_stop_requested(stop))
        return false;
    if (retry->attempts == 0)
        retry->started_us = now_us;
    int64_t pause_us = next_pause_us(retry);
    if (retry->total_us_max > 0) {
        int64_t left_us = retry->started_us + retry->total_us_max - now_us;
        if (left_us <= 0)
            return false;
        if (pause_us > left_us)
            pause_us = left_us;
    }
    retry->attempts++;
    if (stop != NULL)
        return !os_stop_wait(stop, pause_us);
    clock->sleep_us(clock, pause_us);
    return true;
}

void os_retry_reset(struct os_retry *retry)
{
    retry->attempts = 0;
    retry->started_us = 0;
}
