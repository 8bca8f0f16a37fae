/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging figures: may the rollout go on, has it to wait, has it to go back?  Pure: figures and limits in, checks out.
 *
 *   HOLD    too little was seen to say anything: no step forward, no step back
 *   PASS    good enough for the next step
 *   WAIT    not good enough for a step forward, no reason to go back (lag, a verification that is old)
 *   BREACH  back, now
 *
 * Latency and errors are compared with the other side at the same time, so that a slow day of both is nobody's fault;
 * mismatches with the noise of the legacy application against itself.
 */
#ifndef ROLLOUT_GUARDS_H
#define ROLLOUT_GUARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rollout/traffic.h"

/* What a cautious engineer would choose; `rollout:` in banyan.yaml; docs/ROLLOUT.md has the reasons. */
struct guards_limits {
    uint32_t samples_min;             /* of the candidate in the window; default 100 */
    int64_t window_us;                /* default 30 s; a breach may show in the last second of it */
    int64_t step_us_min;              /* shortest stay in a step; default 5 min */
    uint32_t failures_ppm_max;        /* above the baseline's; default 10,000 (1 %) */
    uint32_t latency_p99_percent_max; /* of the baseline's; default 150 */
    uint32_t latency_p50_percent_max; /* default 150 */
    int64_t latency_us_floor;         /* faster than this is never too slow; default 5 ms */
    uint32_t mismatch_ppm_max;        /* above the noise; default 1,000 (0.1 %) */
    int64_t lag_us_max;               /* of capture and read models, for a step; default 1 s */
    int64_t lag_us_breach;            /* default 30 s */
    uint64_t mirror_backlog_max;      /* events, for a step; default 1,000 */
    int64_t verify_age_us_max;        /* since the last verification without differences; default 24 h */
    uint64_t conflicts_max;           /* of the mirror, in this attempt; default 0 */
};
void guards_limits_init(struct guards_limits *ret); /* the defaults */

/* What is known besides the traffic; "not known" is a value of its own, never 0. */
enum {
    GUARDS_UNKNOWN = -1,
};
struct guards_facts {
    bool source_captures, source_alarm; /* alarm: its slot is in danger */
    bool backfilled, views_live;
    int64_t capture_lag_us, view_lag_us; /* p99 of late, or GUARDS_UNKNOWN */
    int64_t mirror_backlog;              /* events, or GUARDS_UNKNOWN */
    bool mirror_proven, mirror_failed;
    uint64_t mirror_conflicts;
    int64_t verify_age_us;      /* or GUARDS_UNKNOWN: never */
    int64_t verify_differences; /* of the last one, or GUARDS_UNKNOWN */
    bool gateway_up, upstream_up;
};

enum guards_verdict {
    GUARDS_NONE = 0,
    GUARDS_PASS,
    GUARDS_HOLD,
    GUARDS_WAIT,
    GUARDS_BREACH,
};

enum {
    GUARDS_CHECKS_MAX = 24,
    GUARDS_TEXT_MAX = 160,
};
/* One judged figure; the reason that is stored and shown. */
struct guards_check {
    const char *name; /* "write-latency-p99"; static, stable */
    enum guards_verdict verdict;
    char text[GUARDS_TEXT_MAX]; /* "p99 of writes 84 ms, legacy 31 ms at the same time: limit 150 %" */
};
struct guards_result {
    enum guards_verdict verdict; /* the worst: BREACH, then WAIT, then HOLD */
    struct guards_check checks[GUARDS_CHECKS_MAX];
    size_t check_count;
};

/* What the present step asks for. */
struct guards_stage {
    bool candidate_reads, candidate_writes; /* Banyan answers such: their figures count */
    bool shadow;                            /* reads are asked of Banyan, too, and compared: so do theirs */
    bool mirror;                            /* it has to be armed, proven and near */
    int64_t in_step_us;                     /* since it began */
};

/* *late* is a window of the last second, *window* the whole: a breach in either is a breach. */
void guards_judge(const struct guards_limits *limits, const struct guards_stage *stage,
                  const struct traffic_window *window, const struct traffic_window *late,
                  const struct guards_facts *facts, struct guards_result *ret);

#endif
