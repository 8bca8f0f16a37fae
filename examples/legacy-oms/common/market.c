// SPDX-License-Identifier: Apache-2.0
/* The invented market. */
#include "market.h"

#include "money.h"
#include "random.h"

#define TICK (MONEY_ONE / 100)

static const char *const symbols[] = {
    "ALDR", "BRCH", "CEDR", "DOGW", "ELMX", "FIGS", "GINK", "HAZL", "IRON", "JUNI", "KAPK", "LARC", "MAPL",
    "NUTM", "OAKS", "PINE", "QUIN", "ROWN", "SPRC", "TEAK", "UMBR", "VIBR", "WLLW", "XYLO", "YEWS", "ZELK",
    "ACAC", "BAOB", "COTN", "DATE", "EBON", "FIRS", "GUAV", "HOLY", "IVYS", "JACK", "KUMQ", "LIME", "MYRT",
    "NEEM", "OLIV", "PALM", "QUAR", "RATA", "SAGO", "TULP", "ULMO", "VITX", "WATL", "YLNG",
};
#define SYMBOLS ((int)(sizeof(symbols) / sizeof(symbols[0])))
#define SYMBOL_WEIGHTS 4.4992053383 /* 1 + 1/2 + … + 1/50 */

int market_symbol_pick(struct rng *rng)
{
    double at = rng_unit(rng) * SYMBOL_WEIGHTS;

    for (int symbol = 0; symbol < SYMBOLS - 1; symbol++) {
        at -= 1.0 / (symbol + 1);
        if (at < 0)
            return symbol;
    }
    return SYMBOLS - 1;
}

const char *market_symbol_name(int symbol)
{
    return symbols[symbol];
}

int64_t market_symbol_price(int symbol)
{
    return (5 + symbol * 37 % 400) * MONEY_ONE;
}

int64_t market_trader_pick(struct rng *rng)
{
    return 1 + (int64_t)(rng_unit(rng) * rng_unit(rng) * MARKET_TRADERS);
}

int64_t market_quantity_pick(struct rng *rng)
{
    if (rng_chance(rng, 0.6))
        return rng_between(rng, 1, 50) * 10 * MONEY_ONE;
    if (rng_chance(rng, 0.5))
        return rng_between(rng, 1, 5000) * MONEY_ONE / 10;
    return rng_between(rng, MONEY_ONE / 100, 100 * MONEY_ONE);
}

int64_t market_price_near(struct rng *rng, int64_t price, int ticks)
{
    int64_t near = price + rng_between(rng, -ticks, ticks) * TICK;

    return near < MARKET_PRICE_MIN ? MARKET_PRICE_MIN : near;
}

int64_t market_part_pick(struct rng *rng, int64_t left)
{
    int64_t part = (int64_t)((double)left * (0.05 + 0.55 * rng_unit(rng)));

    if (part > MONEY_ONE && rng_chance(rng, 0.6))
        part -= part % MONEY_ONE;
    return part ? part : left;
}
