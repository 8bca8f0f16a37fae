/* SPDX-License-Identifier: Apache-2.0 */
/* Random bytes from the kernel, and a small seeded generator for tests and jitter. */
#ifndef OS_RANDOM_H
#define OS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "banyan/types.h"
#include "banyan/uuid.h"

/* Cannot fail on a supported kernel; ends the process else. */
void os_random_bytes(void *data, size_t size);
struct banyan_uuid os_uuid_new(void); /* version 7, now */

/* xoshiro256**; seed it with any number.  Same seed, same run. */
struct os_random {
    uint64_t s[4];
};
void os_random_seed(struct os_random *random, uint64_t seed);
uint64_t os_random_next(struct os_random *random);
/* 0 … bound-1 without bias; bound > 0. */
uint64_t os_random_below(struct os_random *random, uint64_t bound);

#endif
