/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was seen of the traffic, for the guards: counters and latency histograms in slots of 100 ms, two sides at the
 * same time.  Writing is a few atomic additions; a window is the sum of its slots.
 *
 * Threads: any number write, any read.
 */
#ifndef ROLLOUT_TRAFFIC_H
#define ROLLOUT_TRAFFIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/clock.h"

enum traffic_side {
    TRAFFIC_LEGACY = 0, /* the baseline */
    TRAFFIC_BANYAN,     /* the candidate */
    TRAFFIC_SIDES,
};
enum traffic_kind {
    TRAFFIC_READ = 0,
    TRAFFIC_WRITE,
    TRAFFIC_KINDS,
};

struct traffic;

struct traffic *traffic_new(struct os_clock *clock); /* NULL: the system's */
void traffic_free(struct traffic *traffic);

/* A request was answered by *side*, also where its answer was only compared and thrown away (shadow).  *failed*: 5xx,
 * no answer, or not in time.  What the client did wrong (4xx) is no failure. */
void traffic_answered(struct traffic *traffic, enum traffic_side side, enum traffic_kind kind, int64_t took_us,
                      bool failed);
/* Two answers to one read were compared, and again where they differed.  *noise*: both were the legacy application's.
 */
void traffic_compared(struct traffic *traffic, bool noise, bool equal);
/* Writes that waited in a pause, and those that were refused because it was too long. */
void traffic_held(struct traffic *traffic, int64_t waited_us, bool refused);

struct traffic_figures {
    uint64_t requests, failures;
    int64_t us_p50, us_p99, us_max; /* of those that did not fail; a bucket's upper bound, 2 % wide */
    /* What the samples can vouch for: the true quantile is above *low* (0: nothing can be said) but for a chance of 1
     * in 100,000, and below *high* but for 1 in 40 (or *high* is the largest value).  A candidate is slow when its low
     * is above the limit that the baseline's high gives. */
    int64_t us_p50_low, us_p99_low, us_p50_high, us_p99_high;
};
struct traffic_comparison {
    uint64_t compared, different;
};
struct traffic_window {
    int64_t seconds_us; /* that it covers */
    struct traffic_figures by[TRAFFIC_SIDES][TRAFFIC_KINDS];
    struct traffic_comparison answers, noise;
    uint64_t held, held_refused;
    int64_t held_us_max;
};
/* The last *window_us*, at most 60 s. */
void traffic_window(struct traffic *traffic, int64_t window_us, struct traffic_window *ret);

#endif
