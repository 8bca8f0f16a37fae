/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can chance explain it?  Two questions about n independent trials that each succeed with probability p, answered by
 * Chernoff's bound: P(k or more) <= exp(-n KL(k/n, p)) for k >= np, and the same for k or fewer.  A bound, not an
 * estimate: the true probability is smaller, at any n, also where the normal distribution would be wrong.
 *
 * Threads: values only.
 */
#ifndef ROLLOUT_CHANCE_H
#define ROLLOUT_CHANCE_H

#include <stdbool.h>
#include <stdint.h>

/* How improbable is improbable: minus the natural logarithm. */
#define CHANCE_SURE 11.513 /* 1 in 100,000: enough to act on, ten times a second, all day */
#define CHANCE_LATE 6.908  /* 1 in 1,000: a second opinion */
#define CHANCE_FAIR 3.689  /* 1 in 40: enough for a margin */

/* Are *k* successes of *n*, or more, less probable than exp(-*level*)?  Never for k <= np. */
bool chance_above(uint64_t k, uint64_t n, double p, double level);
/* Are *k* successes of *n*, or fewer?  Never for k >= np. */
bool chance_below(uint64_t k, uint64_t n, double p, double level);
/* The smallest k for which chance_above() holds; n + 1 where none does. */
uint64_t chance_most(uint64_t n, double p, double level);
/* The number of k for which chance_below() holds: 0 where none does, not even for k = 0. */
uint64_t chance_fewest(uint64_t n, double p, double level);

#endif
