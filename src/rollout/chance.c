/* SPDX-License-Identifier: Apache-2.0 */
/* Chernoff's bound of the binomial distribution, and its inverse by bisection. */
#include "rollout/chance.h"

#include <assert.h>
#include <math.h>

/* n times the Kullback-Leibler divergence of two coins with k/n and p. */
static double divergence(uint64_t k, uint64_t n, double p)
{
    double share = (double)k / (double)n;
    double sum = 0;
    if (k > 0)
        sum += p > 0 ? share * log(share / p) : INFINITY;
    if (k < n)
        sum += p < 1 ? (1 - share) * log((1 - share) / (1 - p)) : INFINITY;
    return (double)n * sum;
}

bool chance_above(uint64_t k, uint64_t n, double p, double level)
{
    assert(k <= n && p >= 0 && p <= 1);
    return n > 0 && (double)k > (double)n * p && divergence(k, n, p) > level;
}

bool chance_below(uint64_t k, uint64_t n, double p, double level)
{
    assert(k <= n && p >= 0 && p <= 1);
    return n > 0 && (double)k < (double)n * p && divergence(k, n, p) > level;
}

uint64_t chance_most(uint64_t n, double p, double level)
{
    uint64_t low = 0, high = n + 1; /* holds at none below *low*, at all from *high* on */
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (chance_above(middle, n, p, level))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint64_t chance_fewest(uint64_t n, double p, double level)
{
    uint64_t low = 0, high = n;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (chance_below(middle, n, p, level))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
