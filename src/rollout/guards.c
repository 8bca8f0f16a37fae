/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures to checks with reasons.
 *
 * Errors and differences.  BREACH needs two things at once: the candidate's rate is above the baseline's by more than
 * the limit (it matters), and chance cannot explain it (it is true).  Of all failures of both sides, equal sides would
 * get shares as their requests are; that the candidate has so many by chance has to be less probable than 1 in 100,000.
 * Where the baseline has fewer requests than samples_min (at 100 % there is none) the limit itself takes its place: so
 * many failures of requests that fail as often as the limit allows.  Two failures are never enough for either.
 *
 * The last second is judged, too: against the baseline of the whole window as above, and against that of the same
 * second with 1 in 1,000, which is enough: it has only to tell a fault of the candidate from a fault of both.
 *
 *   | candidate | baseline        | limit |                                               |
 *   | 1 of 100  | 0 of 1,900      | 1 %   | PASS: not more than the limit                 |
 *   | 3 of 100  | 0 of 1,900      | 1 %   | WAIT: too many, but chance could do it        |
 *   | 4 of 100  | 0 of 1,900      | 1 %   | BREACH                                        |
 *   | 5 of 100  | 95 of 1,900     | 1 %   | PASS: a bad day of both                       |
 *   | 5 of 100  | none            | 1 %   | WAIT                                          |
 *   | 9 of 100  | none            | 1 %   | BREACH                                        |
 *
 * Latency.  BREACH: what the candidate's quantile is surely above (traffic.h) is above the limit, the limit made of
 * what the baseline's is likely below.  Both bounds move apart where samples are few, so a single slow answer never
 * does it, and a hundred do it within the second.  Of the last second alone only the median counts: answers are slow in
 * company, and a pause of the process for 20 ms is the p99 of its second.  Without a baseline at the same time nothing
 * is compared.
 *
 * A breach needs no minimum of samples, since it has to be beyond chance; a PASS does.
 */
#include "rollout/guards.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "banyan/attributes.h"
#include "rollout/chance.h"

#define PPM 1000000

enum {
    FAILURES_MIN = 3, /* fewer may be one client, asking again */
};

void guards_limits_init(struct guards_limits *ret)
{
    *ret = (struct guards_limits){
        .samples_min = 100,
        .window_us = INT64_C(30) * 1000000,
        .step_us_min = INT64_C(300) * 1000000,
        .failures_ppm_max = 10000,
        .latency_p99_percent_max = 150,
        .latency_p50_percent_max = 150,
        .latency_us_floor = 5000,
        .mismatch_ppm_max = 1000,
        .lag_us_max = 1000000,
        .lag_us_breach = INT64_C(30) * 1000000,
        .mirror_backlog_max = 1000,
        .verify_age_us_max = INT64_C(86400) * 1000000,
        .conflicts_max = 0,
    };
}

/* What all checks look at. */
struct judging {
    const struct guards_limits *limits;
    const struct guards_stage *stage;
    const struct traffic_window *window, *late;
    const struct guards_facts *facts;
    struct guards_result *ret;
};

BANYAN_PRINTF_LIKE(4, 5)
static void say(const struct judging *judging, const char *name, enum guards_verdict verdict, const char *format, ...)
{
    assert(judging->ret->check_count < GUARDS_CHECKS_MAX);
    struct guards_check *check = &judging->ret->checks[judging->ret->check_count++];
    *check = (struct guards_check){.name = name, .verdict = verdict};
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(check->text, sizeof(check->text), format, arguments); /* cut where it is too long: for people */
    va_end(arguments);
}

/* "3.20 ms", "84 ms", "12 s", "24 h" */
struct span_text {
    char text[32];
};
static struct span_text span(int64_t us)
{
    struct span_text ret;
    if (us < 10000)
        (void)snprintf(ret.text, sizeof(ret.text), "%" PRId64 ".%02" PRId64 " ms", us / 1000, us % 1000 / 10);
    else if (us < 10000000)
        (void)snprintf(ret.text, sizeof(ret.text), "%" PRId64 " ms", us / 1000);
    else if (us < INT64_C(10000000000))
        (void)snprintf(ret.text, sizeof(ret.text), "%" PRId64 " s", us / 1000000);
    else
        (void)snprintf(ret.text, sizeof(ret.text), "%" PRId64 " h", us / INT64_C(3600000000));
    return ret;
}
/* "1.25 %" of parts of a million. */
static struct span_text percent(uint64_t ppm)
{
    struct span_text ret;
    (void)snprintf(ret.text, sizeof(ret.text), "%" PRIu64 ".%02" PRIu64 " %%", ppm / 10000, ppm % 10000 / 100);
    return ret;
}

/* --- rates --- */

struct rate {
    uint64_t bad, all;
};
static double share_of(struct rate rate)
{
    return rate.all == 0 ? 0 : (double)rate.bad / (double)rate.all;
}
/* By how much the candidate is worse than the baseline, as far as that is more than allowed. */
static bool too_many(struct rate candidate, struct rate baseline, uint32_t ppm_max)
{
    return share_of(candidate) - share_of(baseline) > ppm_max / (double)PPM;
}
/* Of what failed on both sides, equal sides would get shares as their requests are: the exact test of two rates. */
static bool beyond_chance(struct rate candidate, struct rate baseline, double level)
{
    return chance_above(candidate.bad, candidate.bad + baseline.bad,
                        (double)candidate.all / (double)(candidate.all + baseline.all), level);
}

struct rate_check {
    const char *name, *what; /* "failed reads" */
    const char *baseline;    /* "legacy", "noise" */
    uint32_t ppm_max;
};

/* A rate in the whole window, and in its last second. */
struct rates {
    struct rate window, late;
};

/* A baseline that is too small to be compared with counts as none. */
static struct rate rate_known(struct rate baseline, uint32_t samples_min)
{
    return baseline.all < samples_min ? (struct rate){0, 0} : baseline;
}

static bool rate_breach(const struct judging *judging, const struct rate_check *check, struct rate candidate,
                        struct rates baselines, bool late)
{
    uint32_t samples_min = judging->limits->samples_min;
    struct rate whole = rate_known(baselines.window, samples_min);
    struct rate now = late ? rate_known(baselines.late, samples_min) : whole;
    struct rate shown = now.all > 0 ? now : whole;
    if (candidate.bad < FAILURES_MIN || !too_many(candidate, now, check->ppm_max) ||
        !too_many(candidate, whole, check->ppm_max))
        return false;
    if (shown.all == 0 && !chance_above(candidate.bad, candidate.all, check->ppm_max / (double)PPM, CHANCE_SURE))
        return false;
    if (whole.all > 0 && !beyond_chance(candidate, whole, CHANCE_SURE))
        return false;
    if (late && now.all > 0 && !beyond_chance(candidate, now, CHANCE_LATE))
        return false;
    int64_t span_us = late ? judging->late->seconds_us : judging->window->seconds_us;
    say(judging, check->name, GUARDS_BREACH,
        "%s %" PRIu64 " of %" PRIu64 " in %s, %s %" PRIu64 " of %" PRIu64 "%s: limit %s more", check->what,
        candidate.bad, candidate.all, span(span_us).text, check->baseline, shown.bad, shown.all,
        late && now.all == 0 ? " before" : " at the same time", percent(check->ppm_max).text);
    return true;
}

static void judge_rate(const struct judging *judging, const struct rate_check *check, struct rates candidates,
                       struct rates baselines)
{
    if (rate_breach(judging, check, candidates.window, baselines, false) ||
        rate_breach(judging, check, candidates.late, baselines, true))
        return;
    uint32_t samples_min = judging->limits->samples_min;
    struct rate candidate = candidates.window, baseline = rate_known(baselines.window, samples_min);
    enum guards_verdict verdict = GUARDS_PASS;
    if (candidate.all < samples_min)
        verdict = GUARDS_HOLD;
    else if (too_many(candidate, baseline, check->ppm_max))
        verdict = GUARDS_WAIT;
    say(judging, check->name, verdict, "%s %" PRIu64 " of %" PRIu64 "%s, %s %" PRIu64 " of %" PRIu64 ": limit %s more",
        check->what, candidate.bad, candidate.all, verdict == GUARDS_HOLD ? " (too few to tell)" : "", check->baseline,
        baseline.bad, baseline.all, percent(check->ppm_max).text);
}

/* --- latency --- */

struct quantile {
    int64_t us, low, high;
    uint64_t answers;
};
struct latency_check {
    const char *name, *what; /* "p99 of writes" */
    bool late;               /* the last second by itself, too */
    uint32_t percent_max;
};

static int64_t latency_limit(const struct judging *judging, const struct latency_check *check, int64_t baseline_us)
{
    int64_t limit = baseline_us / 100 * check->percent_max + baseline_us % 100 * check->percent_max / 100;
    return limit < judging->limits->latency_us_floor ? judging->limits->latency_us_floor : limit;
}

static bool latency_breach(const struct judging *judging, const struct latency_check *check,
                           const struct quantile *candidate, const struct quantile *baseline, int64_t span_us)
{
    if (baseline->answers < judging->limits->samples_min ||
        candidate->low <= latency_limit(judging, check, baseline->high))
        return false;
    say(judging, check->name, GUARDS_BREACH,
        "%s %s (surely above %s), legacy %s (at most %s) in the same %s: limit %" PRIu32 " %%, or %s", check->what,
        span(candidate->us).text, span(candidate->low).text, span(baseline->us).text, span(baseline->high).text,
        span(span_us).text, check->percent_max, span(judging->limits->latency_us_floor).text);
    return true;
}

static void judge_latency(const struct judging *judging, const struct latency_check *check,
                          const struct quantile candidates[2], const struct quantile baselines[2])
{
    const struct traffic_window *windows[2] = {judging->window, judging->late};
    for (int i = 0; i < (check->late ? 2 : 1); i++)
        if (latency_breach(judging, check, &candidates[i], &baselines[i], windows[i]->seconds_us))
            return;
    uint32_t samples_min = judging->limits->samples_min;
    if (candidates[0].answers < samples_min) {
        say(judging, check->name, GUARDS_HOLD, "%s: %" PRIu64 " answers, at least %" PRIu32 " are needed", check->what,
            candidates[0].answers, samples_min);
    } else if (baselines[0].answers < samples_min) {
        say(judging, check->name, GUARDS_PASS, "%s %s; %" PRIu64 " answers of legacy are too few to compare with",
            check->what, span(candidates[0].us).text, baselines[0].answers);
    } else {
        bool slow = candidates[0].us > latency_limit(judging, check, baselines[0].us);
        say(judging, check->name, slow ? GUARDS_WAIT : GUARDS_PASS,
            "%s %s, legacy %s at the same time: limit %" PRIu32 " %%, or %s", check->what, span(candidates[0].us).text,
            span(baselines[0].us).text, check->percent_max, span(judging->limits->latency_us_floor).text);
    }
}

/* --- the traffic --- */

static struct rate failures_of(const struct traffic_window *window, enum traffic_side side, enum traffic_kind kind)
{
    const struct traffic_figures *figures = &window->by[side][kind];
    return (struct rate){figures->failures, figures->requests};
}
static struct quantile p50_of(const struct traffic_window *window, enum traffic_side side, enum traffic_kind kind)
{
    const struct traffic_figures *figures = &window->by[side][kind];
    return (struct quantile){figures->us_p50, figures->us_p50_low, figures->us_p50_high,
                             figures->requests - figures->failures};
}
static struct quantile p99_of(const struct traffic_window *window, enum traffic_side side, enum traffic_kind kind)
{
    const struct traffic_figures *figures = &window->by[side][kind];
    return (struct quantile){figures->us_p99, figures->us_p99_low, figures->us_p99_high,
                             figures->requests - figures->failures};
}

static void judge_kind(const struct judging *judging, enum traffic_kind kind)
{
    static const char *const samples[] = {"read-samples", "write-samples"};
    static const char *const kinds[] = {"reads", "writes"};
    static const struct rate_check rates[] = {
        {.name = "read-failures", .what = "failed reads", .baseline = "legacy"},
        {.name = "write-failures", .what = "failed writes", .baseline = "legacy"}};
    static const struct latency_check p50[] = {{.name = "read-latency-p50", .what = "p50 of reads", .late = true},
                                               {.name = "write-latency-p50", .what = "p50 of writes", .late = true}};
    static const struct latency_check p99[] = {{.name = "read-latency-p99", .what = "p99 of reads"},
                                               {.name = "write-latency-p99", .what = "p99 of writes"}};
    const struct guards_limits *limits = judging->limits;
    const struct traffic_window *windows[2] = {judging->window, judging->late};
    struct rates rates_of[TRAFFIC_SIDES];
    struct quantile p50_by[TRAFFIC_SIDES][2], p99_by[TRAFFIC_SIDES][2];
    for (enum traffic_side side = TRAFFIC_LEGACY; side < TRAFFIC_SIDES; side++) {
        rates_of[side] =
            (struct rates){failures_of(judging->window, side, kind), failures_of(judging->late, side, kind)};
        for (int i = 0; i < 2; i++) {
            p50_by[side][i] = p50_of(windows[i], side, kind);
            p99_by[side][i] = p99_of(windows[i], side, kind);
        }
    }
    uint64_t requests = rates_of[TRAFFIC_BANYAN].window.all;
    say(judging, samples[kind], requests < limits->samples_min ? GUARDS_HOLD : GUARDS_PASS,
        "%" PRIu64 " %s of Banyan in %s: at least %" PRIu32, requests, kinds[kind],
        span(judging->window->seconds_us).text, limits->samples_min);
    struct rate_check rate = rates[kind];
    rate.ppm_max = limits->failures_ppm_max;
    judge_rate(judging, &rate, rates_of[TRAFFIC_BANYAN], rates_of[TRAFFIC_LEGACY]);
    struct latency_check latency = p50[kind];
    latency.percent_max = limits->latency_p50_percent_max;
    judge_latency(judging, &latency, p50_by[TRAFFIC_BANYAN], p50_by[TRAFFIC_LEGACY]);
    latency = p99[kind];
    latency.percent_max = limits->latency_p99_percent_max;
    judge_latency(judging, &latency, p99_by[TRAFFIC_BANYAN], p99_by[TRAFFIC_LEGACY]);
}

static void judge_answers(const struct judging *judging)
{
    const struct rate_check check = {.name = "answers",
                                     .what = "answers that differ",
                                     .baseline = "noise",
                                     .ppm_max = judging->limits->mismatch_ppm_max};
    const struct traffic_window *window = judging->window, *late = judging->late;
    struct rates answers = {{window->answers.different, window->answers.compared},
                            {late->answers.different, late->answers.compared}};
    struct rates noise = {{window->noise.different, window->noise.compared},
                          {late->noise.different, late->noise.compared}};
    judge_rate(judging, &check, answers, noise);
}

/* --- what else is known --- */

static bool candidate_of(const struct guards_stage *stage)
{
    return stage->candidate_reads || stage->candidate_writes;
}

static void judge_lag(const struct judging *judging, const char *name, const char *what, int64_t lag_us)
{
    const struct guards_limits *limits = judging->limits;
    if (lag_us <= GUARDS_UNKNOWN) {
        say(judging, name, GUARDS_HOLD, "how far %s is behind is not known", what);
        return;
    }
    bool breach = lag_us > limits->lag_us_breach && candidate_of(judging->stage);
    say(judging, name,
        breach                        ? GUARDS_BREACH
        : lag_us > limits->lag_us_max ? GUARDS_WAIT
                                      : GUARDS_PASS,
        "%s is %s behind: limit %s, and %s for going back", what, span(lag_us).text, span(limits->lag_us_max).text,
        span(limits->lag_us_breach).text);
}

static void judge_source(const struct judging *judging)
{
    const struct guards_facts *facts = judging->facts;
    if (!facts->source_captures)
        say(judging, "source", GUARDS_WAIT, "changes of the legacy database are not being captured");
    else if (facts->source_alarm)
        say(judging, "source", GUARDS_WAIT, "the replication slot is in danger: the server may drop its WAL");
    else
        say(judging, "source", GUARDS_PASS, "changes of the legacy database are captured");
    say(judging, "backfill", facts->backfilled ? GUARDS_PASS : GUARDS_WAIT, "%s",
        facts->backfilled ? "everything is backfilled" : "the backfill is not complete");
    say(judging, "views", facts->views_live ? GUARDS_PASS : GUARDS_WAIT, "%s",
        facts->views_live ? "all read models are live" : "not all read models are live");
    judge_lag(judging, "capture-lag", "capture", facts->capture_lag_us);
    judge_lag(judging, "view-lag", "a read model", facts->view_lag_us);
}

static void judge_mirror(const struct judging *judging)
{
    const struct guards_facts *facts = judging->facts;
    const struct guards_limits *limits = judging->limits;
    /* A mirror that fails is no reason to go back: going back needs it.  It stops what is new. */
    if (facts->mirror_failed)
        say(judging, "mirror", GUARDS_WAIT, "the mirror cannot write to the legacy tables: there is no way back now");
    else if (!facts->mirror_proven)
        say(judging, "mirror", GUARDS_WAIT, "the mirror has not proven that it can write to the legacy tables");
    else
        say(judging, "mirror", GUARDS_PASS, "the mirror writes to the legacy tables");
    if (facts->mirror_backlog <= GUARDS_UNKNOWN)
        say(judging, "mirror-backlog", GUARDS_HOLD, "how far the mirror is behind is not known");
    else
        say(judging, "mirror-backlog",
            (uint64_t)facts->mirror_backlog > limits->mirror_backlog_max ? GUARDS_WAIT : GUARDS_PASS,
            "the mirror is %" PRId64 " events behind: limit %" PRIu64, facts->mirror_backlog,
            limits->mirror_backlog_max);
    say(judging, "mirror-conflicts", facts->mirror_conflicts > limits->conflicts_max ? GUARDS_BREACH : GUARDS_PASS,
        "rows of Banyan's aggregates that somebody else wrote: %" PRIu64 ", limit %" PRIu64, facts->mirror_conflicts,
        limits->conflicts_max);
}

static void judge_verification(const struct judging *judging)
{
    const struct guards_facts *facts = judging->facts;
    const struct guards_limits *limits = judging->limits;
    if (facts->verify_differences <= GUARDS_UNKNOWN)
        say(judging, "verify", GUARDS_HOLD, "nothing was verified yet");
    else if (facts->verify_differences > 0)
        say(judging, "verify", candidate_of(judging->stage) ? GUARDS_BREACH : GUARDS_WAIT,
            "rows that differ in the last verification: %" PRId64, facts->verify_differences);
    else
        say(judging, "verify", GUARDS_PASS, "the last verification found no difference");
    if (facts->verify_age_us <= GUARDS_UNKNOWN)
        say(judging, "verify-age", GUARDS_HOLD, "there was no verification without differences yet");
    else
        say(judging, "verify-age", facts->verify_age_us > limits->verify_age_us_max ? GUARDS_WAIT : GUARDS_PASS,
            "the last clean verification is %s old: limit %s", span(facts->verify_age_us).text,
            span(limits->verify_age_us_max).text);
}

static void judge_sides(const struct judging *judging)
{
    const struct guards_facts *facts = judging->facts;
    say(judging, "gateway", facts->gateway_up ? GUARDS_PASS : GUARDS_WAIT, "%s",
        facts->gateway_up ? "the gateway serves" : "the gateway does not serve");
    say(judging, "upstream", facts->upstream_up ? GUARDS_PASS : GUARDS_WAIT, "%s",
        facts->upstream_up ? "the legacy application answers" : "the legacy application does not answer");
    say(judging, "step-time", judging->stage->in_step_us < judging->limits->step_us_min ? GUARDS_WAIT : GUARDS_PASS,
        "%s in this step: at least %s", span(judging->stage->in_step_us).text, span(judging->limits->step_us_min).text);
}

void guards_judge(const struct guards_limits *limits, const struct guards_stage *stage,
                  const struct traffic_window *window, const struct traffic_window *late,
                  const struct guards_facts *facts, struct guards_result *ret)
{
    struct judging judging = {limits, stage, window, late, facts, ret};
    memset(ret, 0, sizeof(*ret));
    judge_source(&judging);
    if (stage->mirror)
        judge_mirror(&judging);
    judge_verification(&judging);
    judge_sides(&judging);
    /* Answers that are thrown away in the shadow tell as much as those that count later. */
    if (stage->candidate_reads || stage->shadow)
        judge_kind(&judging, TRAFFIC_READ);
    if (stage->candidate_writes)
        judge_kind(&judging, TRAFFIC_WRITE);
    if (stage->shadow)
        judge_answers(&judging);
    /* By how much it stands in the way. */
    static const int weight[] = {
        [GUARDS_NONE] = 0, [GUARDS_PASS] = 1, [GUARDS_HOLD] = 2, [GUARDS_WAIT] = 3, [GUARDS_BREACH] = 4};
    ret->verdict = GUARDS_PASS;
    for (size_t i = 0; i < ret->check_count; i++)
        if (weight[ret->checks[i].verdict] > weight[ret->verdict])
            ret->verdict = ret->checks[i].verdict;
}
