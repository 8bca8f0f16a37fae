/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers: the kernel's for ids, xoshiro256** (Blackman, Vigna) for tests and jitter. */
#include "os/random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/types.h>

#include "os/clock.h"

void os_random_bytes(void *data, size_t size)
{
    char *at = data;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            abort(); /* without random numbers ids could repeat: no answer is better than a wrong one */
        }
        at += got;
        size -= (size_t)got;
    }
}

struct banyan_uuid os_uuid_new(void)
{
    uint8_t random[10];
    os_random_bytes(random, sizeof(random));
    return banyan_uuid_v7(os_clock_now(os_clock_real()), random);
}

void os_random_seed(struct os_random *random, uint64_t seed)
{
    /* SplitMix64 spreads any seed, 0 too, over the whole state, which must not be all zero. */
    for (int i = 0; i < 4; i++) {
        seed += UINT64_C(0x9E3779B97F4A7C15);
        uint64_t mixed = seed;
        mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
        random->s[i] = mixed ^ mixed >> 31;
    }
}

static uint64_t rotated(uint64_t value, int by)
{
    return value << by | value >> (64 - by);
}

uint64_t os_random_next(struct os_random *random)
{
    uint64_t *s = random->s;
    uint64_t result = rotated(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotated(s[3], 45);
    return result;
}

uint64_t os_random_below(struct os_random *random, uint64_t bound)
{
    if (bound == 0)
        abort(); /* a bug: there is no such number */
    /* Values below 2^64 mod bound would make small results likelier: draw again. */
    uint64_t least = -bound % bound;
    for (;;) {
        uint64_t value = os_random_next(random);
        if (value >= least)
            return value % bound;
    }
}
