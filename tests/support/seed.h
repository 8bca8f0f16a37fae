/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seed of a random test: from BANYAN_TEST_SEED, else a new one each run; always printed, as a TAP comment, so that
 * a failure can be run again.  BANYAN_TEST_ROUNDS multiplies the number of rounds for long runs.
 */
#ifndef SUPPORT_SEED_H
#define SUPPORT_SEED_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "os/random.h"

static inline void seed_start(struct os_random *random, const char *test)
{
    const char *given = getenv("BANYAN_TEST_SEED");
    uint64_t seed;
    os_random_bytes(&seed, sizeof(seed));
    if (given != NULL)
        seed = strtoull(given, NULL, 10);
    (void)printf("# %s: BANYAN_TEST_SEED=%llu\n", test, (unsigned long long)seed);
    (void)fflush(stdout);
    os_random_seed(random, seed);
}

static inline unsigned seed_rounds(unsigned usual)
{
    const char *given = getenv("BANYAN_TEST_ROUNDS");
    return given == NULL ? usual : usual * (unsigned)strtoul(given, NULL, 10);
}

#endif
