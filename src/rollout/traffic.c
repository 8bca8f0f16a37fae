/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters and histograms of the traffic in a ring of slots of 100 ms.
 *
 *   ring:  … | n-2 | n-1 |  n  |n+1: cleared, or from a minute ago | …        n = now / 100 ms, at n % SLOTS
 *
 *   | a slot's stamp  | what it means                                                        |
 *   | n               | holds what was seen in slot n; writers add to it                     |
 *   | n with CLEARING | one writer, the first of its time, is emptying it; nobody else may add |
 *
 * Writers take no lock.  The first of a new slot wins it by one compare-and-swap and empties it; who comes meanwhile
 * adds to the slot before, which is at most 100 ms off, and only where that is not in use either (the first requests
 * after a silence) waits for the few microseconds of emptying.  A writer that was put to sleep for a whole turn of the
 * ring adds a request of a minute ago to the present: not worth a lock.
 *
 * A histogram has 64 buckets for each doubling, so a bucket's bounds are at most 1/64 apart.  Which doublings were
 * touched is a bit mask: slots are mostly empty, and neither emptying nor summing looks at the rest.
 */
#include "rollout/traffic.h"

#include <assert.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "rollout/chance.h"

enum {
    SLOT_US = 100000,
    WINDOW_US_MAX = 60 * 1000 * 1000,
    SLOTS = WINDOW_US_MAX / SLOT_US + 8, /* the window, the present one, and distance to those that are emptied */
    PART_BITS = 6,                       /* buckets of a doubling: 64 */
    PART = 1 << PART_BITS,
    RANGES = 22, /* 0 to 63 µs one by one, then 21 doublings: up to 134 s */
    BUCKETS = RANGES * PART,
};
#define CLEARING (UINT64_C(1) << 63)
#define NEVER (CLEARING - 1) /* the stamp of a slot that was never used */

static_assert(RANGES <= 32, "the mask of touched ranges has 32 bits");

struct cell {
    uint64_t requests, failures;
    uint64_t us_max;
    uint32_t touched; /* bit r: buckets of range r */
    uint32_t buckets[BUCKETS];
};

struct slot {
    uint64_t stamp;
    struct cell cells[TRAFFIC_SIDES][TRAFFIC_KINDS];
    uint64_t compared[2], different[2]; /* [noise] */
    uint64_t held, held_refused, held_us_max;
};

struct traffic {
    struct os_clock *clock; /* borrowed */
    int64_t born_us;
    struct {
        struct slot slots[SLOTS];
    } shared; /* atomics */
};

static void add(uint64_t *counter)
{
    (void)__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

static void raise_to(uint64_t *most, uint64_t value)
{
    uint64_t seen = __atomic_load_n(most, __ATOMIC_RELAXED);
    while (seen < value && !__atomic_compare_exchange_n(most, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static uint64_t read_of(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static unsigned bucket_of(uint64_t us)
{
    if (us < PART)
        return (unsigned)us;
    unsigned doubling = 63 - (unsigned)__builtin_clzll(us) - PART_BITS; /* 0 for 64 to 127 */
    if (doubling + 1 >= RANGES)
        return BUCKETS - 1;
    return (doubling + 1) * PART + (unsigned)(us >> doubling) % PART;
}

/* The largest value of a bucket. */
static uint64_t bucket_bound(unsigned bucket)
{
    if (bucket < PART)
        return bucket;
    unsigned doubling = bucket / PART - 1;
    return ((uint64_t)(PART + bucket % PART + 1) << doubling) - 1;
}

struct traffic *traffic_new(struct os_clock *clock)
{
    struct traffic *traffic = alloc_zeroed(1, sizeof(*traffic));
    traffic->clock = clock == NULL ? os_clock_real() : clock;
    traffic->born_us = os_clock_monotonic_us(traffic->clock);
    for (size_t i = 0; i < SLOTS; i++)
        traffic->shared.slots[i].stamp = NEVER;
    return traffic;
}

void traffic_free(struct traffic *traffic)
{
    free(traffic);
}

static void cell_clear(struct cell *cell)
{
    for (uint32_t left = cell->touched; left != 0; left &= left - 1) {
        uint32_t *range = cell->buckets + (size_t)__builtin_ctz(left) * PART;
        for (size_t i = 0; i < PART; i++)
            __atomic_store_n(&range[i], 0, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&cell->touched, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&cell->requests, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&cell->failures, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&cell->us_max, 0, __ATOMIC_RELAXED);
}

static void slot_clear(struct slot *slot)
{
    for (int side = 0; side < TRAFFIC_SIDES; side++)
        for (int kind = 0; kind < TRAFFIC_KINDS; kind++)
            cell_clear(&slot->cells[side][kind]);
    for (int noise = 0; noise < 2; noise++) {
        __atomic_store_n(&slot->compared[noise], 0, __ATOMIC_RELAXED);
        __atomic_store_n(&slot->different[noise], 0, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&slot->held, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->held_refused, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&slot->held_us_max, 0, __ATOMIC_RELAXED);
}

/* The slot to add to now. */
static struct slot *present(struct traffic *traffic)
{
    uint64_t number = (uint64_t)os_clock_monotonic_us(traffic->clock) / SLOT_US;
    struct slot *slot = &traffic->shared.slots[number % SLOTS];
    struct slot *before = &traffic->shared.slots[(number + SLOTS - 1) % SLOTS];
    for (;;) {
        uint64_t stamp = __atomic_load_n(&slot->stamp, __ATOMIC_ACQUIRE);
        /* A later number is that of a writer whose clock was read a moment after ours, a minute on: as good. */
        if (stamp != NEVER && (stamp & CLEARING) == 0 && stamp >= number)
            return slot;
        if ((stamp & CLEARING) == 0) {
            if (!__atomic_compare_exchange_n(&slot->stamp, &stamp, number | CLEARING, false, __ATOMIC_ACQUIRE,
                                             __ATOMIC_RELAXED))
                continue;
            slot_clear(slot);
            __atomic_store_n(&slot->stamp, number, __ATOMIC_RELEASE);
            return slot;
        }
        if (__atomic_load_n(&before->stamp, __ATOMIC_ACQUIRE) == number - 1)
            return before;
        (void)sched_yield(); /* always succeeds on Linux */
    }
}

void traffic_answered(struct traffic *traffic, enum traffic_side side, enum traffic_kind kind, int64_t took_us,
                      bool failed)
{
    assert(side < TRAFFIC_SIDES && kind < TRAFFIC_KINDS);
    struct cell *cell = &present(traffic)->cells[side][kind];
    add(&cell->requests);
    if (failed) {
        /* Behind its request: who reads failures first never sees more of them than requests. */
        (void)__atomic_fetch_add(&cell->failures, 1, __ATOMIC_RELEASE);
        return;
    }
    uint64_t us = took_us < 0 ? 0 : (uint64_t)took_us;
    unsigned bucket = bucket_of(us);
    uint32_t bit = UINT32_C(1) << (bucket / PART);
    if ((__atomic_load_n(&cell->touched, __ATOMIC_RELAXED) & bit) == 0)
        (void)__atomic_fetch_or(&cell->touched, bit, __ATOMIC_RELAXED);
    (void)__atomic_fetch_add(&cell->buckets[bucket], 1, __ATOMIC_RELAXED);
    raise_to(&cell->us_max, us);
}

void traffic_compared(struct traffic *traffic, bool noise, bool equal)
{
    struct slot *slot = present(traffic);
    add(&slot->compared[noise]);
    if (!equal)
        (void)__atomic_fetch_add(&slot->different[noise], 1, __ATOMIC_RELEASE); /* as failures */
}

void traffic_held(struct traffic *traffic, int64_t waited_us, bool refused)
{
    struct slot *slot = present(traffic);
    add(&slot->held);
    if (refused)
        (void)__atomic_fetch_add(&slot->held_refused, 1, __ATOMIC_RELEASE); /* as failures */
    raise_to(&slot->held_us_max, waited_us < 0 ? 0 : (uint64_t)waited_us);
}

/* The sum of one cell over a window. */
struct total {
    uint64_t requests, failures, us_max, answers;
    uint64_t buckets[BUCKETS];
};

static void cell_sum(const struct cell *cell, struct total *total)
{
    uint64_t failures = __atomic_load_n(&cell->failures, __ATOMIC_ACQUIRE);
    uint64_t requests = read_of(&cell->requests);
    if (requests == 0)
        return;
    total->failures += failures;
    total->requests += requests;
    uint64_t us_max = read_of(&cell->us_max);
    total->us_max = us_max > total->us_max ? us_max : total->us_max;
    for (uint32_t left = __atomic_load_n(&cell->touched, __ATOMIC_RELAXED); left != 0; left &= left - 1) {
        size_t first = (size_t)__builtin_ctz(left) * PART;
        for (size_t i = first; i < first + PART; i++) {
            uint32_t count = __atomic_load_n(&cell->buckets[i], __ATOMIC_RELAXED);
            total->buckets[i] += count;
            total->answers += count;
        }
    }
}

/* The value of the answer with this rank, from 1; 0 for rank 0, the largest of all for a rank above their number. */
static int64_t value_at(const struct total *total, uint64_t rank)
{
    uint64_t seen = 0;
    if (rank == 0)
        return 0;
    for (unsigned i = 0; i < BUCKETS && rank <= total->answers; i++) {
        seen += total->buckets[i];
        if (seen >= rank) {
            uint64_t bound = bucket_bound(i);
            return (int64_t)(bound < total->us_max ? bound : total->us_max);
        }
    }
    return (int64_t)total->us_max;
}

/* Nearest rank: the smallest value that at least *percent* % do not exceed. */
static int64_t quantile(const struct total *total, unsigned percent)
{
    return value_at(total, (total->answers * percent + 99) / 100);
}

/* Below it the true quantile would hardly be: that many above it would be too improbable. */
static int64_t surely_above(const struct total *total, unsigned percent)
{
    uint64_t most = chance_most(total->answers, (100 - percent) / 100.0, CHANCE_SURE);
    return most > total->answers ? 0 : value_at(total, total->answers - most + 1);
}

/* Above it the true quantile would hardly be: so few above it would be improbable. */
static int64_t likely_below(const struct total *total, unsigned percent)
{
    uint64_t fewest = chance_fewest(total->answers, (100 - percent) / 100.0, CHANCE_FAIR);
    return fewest == 0 ? (int64_t)total->us_max : value_at(total, total->answers - fewest + 1);
}

static void figures_of(const struct total *total, struct traffic_figures *ret)
{
    *ret = (struct traffic_figures){.requests = total->requests, .failures = total->failures};
    if (total->answers == 0)
        return;
    ret->us_p50 = quantile(total, 50);
    ret->us_p99 = quantile(total, 99);
    ret->us_max = (int64_t)total->us_max;
    ret->us_p50_low = surely_above(total, 50);
    ret->us_p99_low = surely_above(total, 99);
    ret->us_p50_high = likely_below(total, 50);
    ret->us_p99_high = likely_below(total, 99);
}

static void slot_sum(const struct slot *slot, struct traffic_window *ret)
{
    struct traffic_comparison *by[2] = {&ret->answers, &ret->noise};
    for (int noise = 0; noise < 2; noise++) {
        by[noise]->different += __atomic_load_n(&slot->different[noise], __ATOMIC_ACQUIRE);
        by[noise]->compared += read_of(&slot->compared[noise]);
    }
    ret->held_refused += __atomic_load_n(&slot->held_refused, __ATOMIC_ACQUIRE);
    ret->held += read_of(&slot->held);
    int64_t held_us_max = (int64_t)read_of(&slot->held_us_max);
    ret->held_us_max = held_us_max > ret->held_us_max ? held_us_max : ret->held_us_max;
}

void traffic_window(struct traffic *traffic, int64_t window_us, struct traffic_window *ret)
{
    int64_t now_us = os_clock_monotonic_us(traffic->clock);
    window_us = window_us < 1 ? 1 : window_us > WINDOW_US_MAX ? WINDOW_US_MAX : window_us;
    int64_t from_us = now_us - window_us > traffic->born_us ? now_us - window_us : traffic->born_us;
    uint64_t first = (uint64_t)from_us / SLOT_US, last = (uint64_t)now_us / SLOT_US;
    *ret = (struct traffic_window){.seconds_us = now_us - from_us};
    const struct slot *slots[SLOTS];
    size_t count = 0;
    for (uint64_t number = first; number <= last; number++) {
        const struct slot *slot = &traffic->shared.slots[number % SLOTS];
        if (__atomic_load_n(&slot->stamp, __ATOMIC_ACQUIRE) == number)
            slots[count++] = slot;
    }
    for (size_t i = 0; i < count; i++)
        slot_sum(slots[i], ret);
    struct total *total = alloc_zeroed(1, sizeof(*total));
    for (int side = 0; side < TRAFFIC_SIDES; side++) {
        for (int kind = 0; kind < TRAFFIC_KINDS; kind++) {
            memset(total, 0, sizeof(*total));
            for (size_t i = 0; i < count; i++)
                cell_sum(&slots[i]->cells[side][kind], total);
            figures_of(total, &ret->by[side][kind]);
        }
    }
    free(total);
}
