// SPDX-License-Identifier: Apache-2.0
/* Small seeded random numbers (splitmix64): the same seed gives the same run. */
#ifndef LEGACY_OMS_RANDOM_H
#define LEGACY_OMS_RANDOM_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* A number of [0, 1). */
static inline double rng_unit(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1.0p-53;
}

/* A number of [low, high], both included. */
static inline int64_t rng_between(struct rng *rng, int64_t low, int64_t high)
{
    return low + (int64_t)(rng_next(rng) % (uint64_t)(high - low + 1));
}

static inline bool rng_chance(struct rng *rng, double probability)
{
    return rng_unit(rng) < probability;
}

/* Waiting time of a Poisson process. */
static inline double rng_exponential(struct rng *rng, double mean)
{
    return -mean * log(1.0 - rng_unit(rng));
}

/* A generator of its own for part number *part* of a run. */
static inline struct rng rng_fork(uint64_t seed, uint64_t part)
{
    struct rng rng = {.state = seed * UINT64_C(0x2545f4914f6cdd1d) + part};

    rng.state = rng_next(&rng);
    return rng;
}

#endif
