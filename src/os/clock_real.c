/* SPDX-License-Identifier: Apache-2.0 */
/* The system's clock.  Stateless, so one constant serves every thread. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "os/clock.h"

static int64_t read_us(clockid_t id)
{
    struct timespec now;
    if (clock_gettime(id, &now) != 0)
        abort(); /* both clocks exist on every supported kernel */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static struct banyan_time real_now(struct os_clock *clock)
{
    (void)clock; /* stateless */
    return (struct banyan_time){read_us(CLOCK_REALTIME)};
}

static int64_t real_monotonic_us(struct os_clock *clock)
{
    (void)clock; /* stateless */
    return read_us(CLOCK_MONOTONIC);
}

static void real_sleep_us(struct os_clock *clock, int64_t us)
{
    (void)clock; /* stateless */
    if (us <= 0)
        return;
    struct timespec left = {us / 1000000, us % 1000000 * 1000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left) == EINTR)
        continue;
}

struct os_clock *os_clock_real(void)
{
    static struct os_clock clock = {real_now, real_monotonic_us, real_sleep_us};
    return &clock;
}
