// SPDX-License-Identifier: Apache-2.0
/* The invented market: who trades, what, how much and at which price.  Shared by the seeder and the load driver. */
#ifndef LEGACY_OMS_MARKET_H
#define LEGACY_OMS_MARKET_H

#include <stdint.h>

struct rng;

#define MARKET_TRADERS 2000
#define MARKET_PRICE_MIN (2 * INT64_C(100000000)) /* money_average() is exact from here on */

/* A symbol by its weight: number n is drawn 1/(n+1) as often as number 0. */
int market_symbol_pick(struct rng *rng);
const char *market_symbol_name(int symbol);
int64_t market_symbol_price(int symbol);

/* A few traders place most orders. */
int64_t market_trader_pick(struct rng *rng);

/* Whole lots mostly, odd quantities else. */
int64_t market_quantity_pick(struct rng *rng);

/* A price up to *ticks* hundredths away. */
int64_t market_price_near(struct rng *rng, int64_t price, int ticks);

/* Part of *left*, above 0 and at most *left*. */
int64_t market_part_pick(struct rng *rng, int64_t left);

#endif
