/* SPDX-License-Identifier: Apache-2.0 */
/* Each check in each of its verdicts; traffic through traffic_window(), as it really comes. */
#include "rollout/guards.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"

#define SECOND INT64_C(1000000)

/* A rollout where all is well, but for what a test changes. */
struct scene {
    struct os_clock_test clock;
    struct traffic *traffic;
    struct guards_limits limits;
    struct guards_stage stage;
    struct guards_facts facts;
    struct guards_result result;
};

static void scene_start(struct scene *scene)
{
    memset(scene, 0, sizeof(*scene));
    os_clock_test_init(&scene->clock, (struct banyan_time){0});
    scene->traffic = traffic_new(&scene->clock.base);
    guards_limits_init(&scene->limits);
    scene->stage = (struct guards_stage){
        .candidate_reads = true, .candidate_writes = true, .shadow = true, .mirror = true, .in_step_us = 400 * SECOND};
    scene->facts = (struct guards_facts){.source_captures = true,
                                         .backfilled = true,
                                         .views_live = true,
                                         .capture_lag_us = 4000,
                                         .view_lag_us = 3000,
                                         .mirror_proven = true,
                                         .verify_age_us = 3600 * SECOND,
                                         .gateway_up = true,
                                         .upstream_up = true};
}
static void scene_end(struct scene *scene)
{
    traffic_free(scene->traffic);
}

/* *count* requests within *over_us*, of which every *fails_every*-th fails (0: none). */
static void requests(struct scene *scene, enum traffic_side side, enum traffic_kind kind, int count, int64_t took_us,
                     int failures)
{
    for (int i = 0; i < count; i++)
        traffic_answered(scene->traffic, side, kind, took_us + took_us * (i % 10) / 20, i < failures);
}
static void compared(struct scene *scene, bool noise, int count, int different)
{
    for (int i = 0; i < count; i++)
        traffic_compared(scene->traffic, noise, i >= different);
}
/* What is well: 2,000 of legacy, 100 of Banyan of each kind; faster. */
static void good_traffic(struct scene *scene)
{
    for (enum traffic_kind kind = TRAFFIC_READ; kind < TRAFFIC_KINDS; kind++) {
        requests(scene, TRAFFIC_LEGACY, kind, 2000, 12000, 0);
        requests(scene, TRAFFIC_BANYAN, kind, 100, 3000, 0);
    }
    compared(scene, false, 200, 0);
    compared(scene, true, 100, 0);
}

static enum guards_verdict judge(struct scene *scene)
{
    struct traffic_window window, late;
    traffic_window(scene->traffic, scene->limits.window_us, &window);
    traffic_window(scene->traffic, SECOND, &late);
    guards_judge(&scene->limits, &scene->stage, &window, &late, &scene->facts, &scene->result);
    return scene->result.verdict;
}

static const struct guards_check *check_of(const struct scene *scene, const char *name)
{
    for (size_t i = 0; i < scene->result.check_count; i++)
        if (strcmp(scene->result.checks[i].name, name) == 0)
            return &scene->result.checks[i];
    fail_msg("no check %s", name);
    return NULL;
}

static void assert_verdict(const struct scene *scene, const char *name, enum guards_verdict verdict)
{
    const struct guards_check *check = check_of(scene, name);
    if (check->verdict != verdict)
        fail_msg("%s: verdict %d instead of %d: %s", name, (int)check->verdict, (int)verdict, check->text);
    assert_true(strlen(check->text) > 0 && strlen(check->text) < GUARDS_TEXT_MAX - 1);
}

/* All is well but for one check. */
static void assert_only(struct scene *scene, const char *name, enum guards_verdict verdict)
{
    assert_int_equal(judge(scene), verdict);
    for (size_t i = 0; i < scene->result.check_count; i++) {
        const struct guards_check *check = &scene->result.checks[i];
        assert_verdict(scene, check->name, name != NULL && strcmp(check->name, name) == 0 ? verdict : GUARDS_PASS);
    }
    if (verdict != GUARDS_PASS)
        (void)printf("# %s: %s\n", name, check_of(scene, name)->text);
}

static void what_is_well_passes(void **state)
{
    (void)state;
    struct scene scene;
    scene_start(&scene);
    good_traffic(&scene);
    assert_only(&scene, NULL, GUARDS_PASS);
    assert_true(scene.result.check_count > 15 && scene.result.check_count <= GUARDS_CHECKS_MAX);
    scene_end(&scene);
}

struct fact_case {
    const char *name;
    enum guards_verdict verdict;
    void (*change)(struct scene *scene);
};
static void no_capture(struct scene *scene)
{
    scene->facts.source_captures = false;
}
static void slot_alarm(struct scene *scene)
{
    scene->facts.source_alarm = true;
}
static void no_backfill(struct scene *scene)
{
    scene->facts.backfilled = false;
}
static void no_views(struct scene *scene)
{
    scene->facts.views_live = false;
}
static void capture_unknown(struct scene *scene)
{
    scene->facts.capture_lag_us = GUARDS_UNKNOWN;
}
static void capture_late(struct scene *scene)
{
    scene->facts.capture_lag_us = 2 * SECOND;
}
static void capture_too_late(struct scene *scene)
{
    scene->facts.capture_lag_us = 31 * SECOND;
}
static void too_late_in_shadow(struct scene *scene)
{
    scene->facts.capture_lag_us = 31 * SECOND;
    scene->stage.candidate_reads = scene->stage.candidate_writes = false;
}
static void view_unknown(struct scene *scene)
{
    scene->facts.view_lag_us = GUARDS_UNKNOWN;
}
static void view_late(struct scene *scene)
{
    scene->facts.view_lag_us = 2 * SECOND;
}
static void view_too_late(struct scene *scene)
{
    scene->facts.view_lag_us = 31 * SECOND;
}
static void mirror_fails(struct scene *scene)
{
    scene->facts.mirror_failed = true;
}
static void mirror_unproven(struct scene *scene)
{
    scene->facts.mirror_proven = false;
}
static void backlog_unknown(struct scene *scene)
{
    scene->facts.mirror_backlog = GUARDS_UNKNOWN;
}
static void backlog_high(struct scene *scene)
{
    scene->facts.mirror_backlog = 1001;
}
static void conflict(struct scene *scene)
{
    scene->facts.mirror_conflicts = 1;
}
static void never_verified(struct scene *scene)
{
    scene->facts.verify_differences = GUARDS_UNKNOWN;
}
static void difference(struct scene *scene)
{
    scene->facts.verify_differences = 1;
}
static void difference_in_shadow(struct scene *scene)
{
    scene->facts.verify_differences = 1;
    scene->stage.candidate_reads = scene->stage.candidate_writes = false;
}
static void never_clean(struct scene *scene)
{
    scene->facts.verify_age_us = GUARDS_UNKNOWN;
}
static void verified_long_ago(struct scene *scene)
{
    scene->facts.verify_age_us = 86401 * SECOND;
}
static void no_gateway(struct scene *scene)
{
    scene->facts.gateway_up = false;
}
static void no_upstream(struct scene *scene)
{
    scene->facts.upstream_up = false;
}
static void too_early(struct scene *scene)
{
    scene->stage.in_step_us = 299 * SECOND;
}

static void each_fact_has_its_verdicts(void **state)
{
    (void)state;
    static const struct fact_case cases[] = {
        {"source", GUARDS_WAIT, no_capture},
        {"source", GUARDS_WAIT, slot_alarm},
        {"backfill", GUARDS_WAIT, no_backfill},
        {"views", GUARDS_WAIT, no_views},
        {"capture-lag", GUARDS_HOLD, capture_unknown},
        {"capture-lag", GUARDS_WAIT, capture_late},
        {"capture-lag", GUARDS_BREACH, capture_too_late},
        {"capture-lag", GUARDS_WAIT, too_late_in_shadow},
        {"view-lag", GUARDS_HOLD, view_unknown},
        {"view-lag", GUARDS_WAIT, view_late},
        {"view-lag", GUARDS_BREACH, view_too_late},
        {"mirror", GUARDS_WAIT, mirror_fails},
        {"mirror", GUARDS_WAIT, mirror_unproven},
        {"mirror-backlog", GUARDS_HOLD, backlog_unknown},
        {"mirror-backlog", GUARDS_WAIT, backlog_high},
        {"mirror-conflicts", GUARDS_BREACH, conflict},
        {"verify", GUARDS_HOLD, never_verified},
        {"verify", GUARDS_BREACH, difference},
        {"verify", GUARDS_WAIT, difference_in_shadow},
        {"verify-age", GUARDS_HOLD, never_clean},
        {"verify-age", GUARDS_WAIT, verified_long_ago},
        {"gateway", GUARDS_WAIT, no_gateway},
        {"upstream", GUARDS_WAIT, no_upstream},
        {"step-time", GUARDS_WAIT, too_early},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene scene;
        scene_start(&scene);
        good_traffic(&scene);
        cases[i].change(&scene);
        assert_only(&scene, cases[i].name, cases[i].verdict);
        scene_end(&scene);
    }
}

/* The worst of several: BREACH, then WAIT, then HOLD. */
static void the_worst_verdict_counts(void **state)
{
    (void)state;
    struct scene scene;
    scene_start(&scene);
    assert_int_equal(judge(&scene), GUARDS_HOLD);
    scene.facts.upstream_up = false;
    assert_int_equal(judge(&scene), GUARDS_WAIT);
    scene.facts.mirror_conflicts = 1;
    assert_int_equal(judge(&scene), GUARDS_BREACH);
    scene_end(&scene);
}

/* An idle canary, and one with too little, is no success and no failure. */
static void no_data_is_hold(void **state)
{
    (void)state;
    static const char *const names[] = {"read-samples",      "read-failures",     "read-latency-p50",
                                        "read-latency-p99",  "write-samples",     "write-failures",
                                        "write-latency-p50", "write-latency-p99", "answers"};
    for (int count = 0; count < 100; count += 33) {
        struct scene scene;
        scene_start(&scene);
        for (enum traffic_kind kind = TRAFFIC_READ; kind < TRAFFIC_KINDS; kind++) {
            requests(&scene, TRAFFIC_LEGACY, kind, 2000, 12000, 0);
            requests(&scene, TRAFFIC_BANYAN, kind, count, 3000, count > 50);
        }
        compared(&scene, false, count, count > 50);
        assert_int_equal(judge(&scene), GUARDS_HOLD);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
            assert_verdict(&scene, names[i], GUARDS_HOLD);
        scene_end(&scene);
    }
}

static void figures_of_an_idle_minute_do_not_count(void **state)
{
    (void)state;
    struct scene scene;
    scene_start(&scene);
    good_traffic(&scene);
    assert_int_equal(judge(&scene), GUARDS_PASS);
    os_clock_test_move(&scene.clock, 31 * SECOND);
    assert_int_equal(judge(&scene), GUARDS_HOLD);
    scene_end(&scene);
}

struct rate_case {
    int bad, all, baseline_bad, baseline_all;
    enum guards_verdict verdict;
};

static void failures_have_to_be_beyond_chance(void **state)
{
    (void)state;
    static const struct rate_case cases[] = {
        {1, 100, 0, 1900, GUARDS_PASS},       {2, 100, 0, 1900, GUARDS_WAIT},     {3, 100, 0, 1900, GUARDS_WAIT},
        {4, 100, 0, 1900, GUARDS_BREACH},     {2, 2, 0, 1900, GUARDS_HOLD},       {3, 3, 0, 1900, GUARDS_BREACH},
        {5, 100, 95, 1900, GUARDS_PASS},      {5, 100, 60, 1900, GUARDS_WAIT},    {10, 100, 95, 1900, GUARDS_WAIT},
        {25, 100, 95, 1900, GUARDS_BREACH},   {5, 100, 0, 0, GUARDS_WAIT},        {1, 1, 0, 1000000, GUARDS_HOLD},
        {9, 100, 0, 0, GUARDS_BREACH},        {100, 10000, 0, 9999, GUARDS_PASS}, {500, 10000, 0, 9999, GUARDS_BREACH},
        {500, 10000, 500, 9999, GUARDS_PASS},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct rate_case *one = &cases[i];
        struct scene scene;
        scene_start(&scene);
        scene.stage.candidate_reads = scene.stage.shadow = false;
        requests(&scene, TRAFFIC_BANYAN, TRAFFIC_WRITE, one->all, 3000, one->bad);
        requests(&scene, TRAFFIC_LEGACY, TRAFFIC_WRITE, one->baseline_all, 12000, one->baseline_bad);
        (void)judge(&scene);
        (void)printf("# %s\n", check_of(&scene, "write-failures")->text);
        assert_verdict(&scene, "write-failures", one->verdict);
        scene_end(&scene);
    }
}

/* A canary of which all fails goes back before the minimum of samples is there. */
static void a_disaster_needs_no_minimum(void **state)
{
    (void)state;
    struct scene scene;
    scene_start(&scene);
    requests(&scene, TRAFFIC_LEGACY, TRAFFIC_READ, 300, 12000, 0);
    requests(&scene, TRAFFIC_BANYAN, TRAFFIC_READ, 8, 3000, 8);
    assert_int_equal(judge(&scene), GUARDS_BREACH);
    assert_verdict(&scene, "read-failures", GUARDS_BREACH);
    assert_verdict(&scene, "read-samples", GUARDS_HOLD);
    scene_end(&scene);
}

/* Equal sides that fail, differ and are slow by chance.  By the rule's own words one breach may come in 100,000 looks
 * at each figure; in truth the bound makes it rarer. */
static void equal_sides_never_breach(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "equal_sides_never_breach");
    unsigned breaches = 0, rounds = seed_rounds(1000);
    for (unsigned round = 0; round < rounds; round++) {
        struct scene scene;
        scene_start(&scene);
        unsigned bad_ppm = (unsigned)os_random_below(&random, 50000);
        unsigned slow_ppm = 5000 + (unsigned)os_random_below(&random, 10000); /* around p99 */
        unsigned share = 50 + (unsigned)os_random_below(&random, 500);
        for (int i = 0; i < 2000; i++) {
            enum traffic_side side = os_random_below(&random, 1000) < share ? TRAFFIC_BANYAN : TRAFFIC_LEGACY;
            bool slow = os_random_below(&random, 1000000) < slow_ppm;
            traffic_answered(scene.traffic, side, TRAFFIC_READ,
                             slow ? 300000 : 8000 + (int64_t)os_random_below(&random, 4000),
                             os_random_below(&random, 1000000) < bad_ppm);
            traffic_compared(scene.traffic, os_random_below(&random, 4) == 0,
                             os_random_below(&random, 1000000) >= bad_ppm);
            if (round % 2 == 0)
                os_clock_test_move(&scene.clock, 15000); /* the last second has 67 of them */
        }
        if (judge(&scene) == GUARDS_BREACH) {
            breaches++;
            for (size_t i = 0; i < scene.result.check_count; i++)
                if (scene.result.checks[i].verdict == GUARDS_BREACH)
                    (void)printf("# %s\n", scene.result.checks[i].text);
        }
        scene_end(&scene);
    }
    (void)printf("# %u breaches in %u looks\n", breaches, rounds);
    assert_int_equal(breaches, 0);
}

static void latency(struct scene *scene, int64_t candidate_us, int64_t baseline_us)
{
    requests(scene, TRAFFIC_LEGACY, TRAFFIC_WRITE, 2000, baseline_us, 0);
    requests(scene, TRAFFIC_BANYAN, TRAFFIC_WRITE, 200, candidate_us, 0);
    scene->stage.candidate_reads = scene->stage.shadow = false;
    (void)judge(scene);
    (void)printf("# %s\n", check_of(scene, "write-latency-p99")->text);
}

static void slow_is_slower_than_the_other_at_the_same_time(void **state)
{
    (void)state;
    static const struct {
        int64_t candidate_us, baseline_us;
        enum guards_verdict verdict;
    } cases[] = {
        {12000, 12000, GUARDS_PASS}, {15000, 12000, GUARDS_PASS},   {40000, 12000, GUARDS_BREACH},
        {40000, 40000, GUARDS_PASS}, {900000, 800000, GUARDS_PASS}, {3000, 500, GUARDS_PASS}, /* below the floor */
        {8000, 500, GUARDS_BREACH},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene scene;
        scene_start(&scene);
        latency(&scene, cases[i].candidate_us, cases[i].baseline_us);
        assert_verdict(&scene, "write-latency-p50", cases[i].verdict);
        assert_verdict(&scene, "write-latency-p99", cases[i].verdict);
        assert_int_equal(scene.result.verdict, cases[i].verdict);
        scene_end(&scene);
    }
}

/* Two slow answers of a hundred make a p99: not enough to go back, enough not to go on. */
static void a_few_slow_answers_only_wait(void **state)
{
    (void)state;
    struct scene scene;
    scene_start(&scene);
    good_traffic(&scene);
    for (int i = 0; i < 2; i++)
        traffic_answered(scene.traffic, TRAFFIC_BANYAN, TRAFFIC_WRITE, 900000, false);
    assert_only(&scene, "write-latency-p99", GUARDS_WAIT);
    for (int i = 0; i < 20; i++)
        traffic_answered(scene.traffic, TRAFFIC_BANYAN, TRAFFIC_WRITE, 900000, false);
    assert_only(&scene, "write-latency-p99", GUARDS_BREACH);
    scene_end(&scene);
}

/* At 100 % nobody is left to compare with: no verdict of latency, but of failures. */
static void without_a_baseline(void **state)
{
    (void)state;
    struct scene scene;
    scene_start(&scene);
    scene.stage.shadow = scene.stage.candidate_reads = false;
    requests(&scene, TRAFFIC_BANYAN, TRAFFIC_WRITE, 1000, 90000, 1);
    assert_int_equal(judge(&scene), GUARDS_PASS);
    requests(&scene, TRAFFIC_BANYAN, TRAFFIC_WRITE, 1000, 90000, 60);
    assert_int_equal(judge(&scene), GUARDS_BREACH);
    assert_verdict(&scene, "write-failures", GUARDS_BREACH);
    scene_end(&scene);
}

/* In the shadow nobody gets Banyan's answers, and still they tell what the canary would be. */
static void the_shadow_tells_of_reads(void **state)
{
    (void)state;
    struct scene scene;
    scene_start(&scene);
    good_traffic(&scene);
    scene.stage.candidate_reads = scene.stage.candidate_writes = false;
    assert_only(&scene, NULL, GUARDS_PASS);
    requests(&scene, TRAFFIC_BANYAN, TRAFFIC_READ, 10, 3000, 10);
    assert_only(&scene, "read-failures", GUARDS_BREACH);
    scene_end(&scene);
    scene_start(&scene);
    scene.stage.candidate_reads = scene.stage.candidate_writes = false;
    assert_int_equal(judge(&scene), GUARDS_HOLD);
    assert_verdict(&scene, "read-samples", GUARDS_HOLD);
    scene_end(&scene);
}

static void noise_is_subtracted(void **state)
{
    (void)state;
    static const struct rate_case cases[] = {
        {0, 1000, 0, 500, GUARDS_PASS},      {1, 1000, 0, 500, GUARDS_PASS},   {3, 1000, 0, 500, GUARDS_WAIT},
        {30, 1000, 15, 500, GUARDS_PASS},    {45, 1000, 15, 500, GUARDS_WAIT}, {40, 1000, 0, 500, GUARDS_BREACH},
        {120, 1000, 15, 500, GUARDS_BREACH}, {3, 1000, 0, 0, GUARDS_WAIT},     {12, 1000, 0, 0, GUARDS_BREACH},
        {5, 100, 0, 0, GUARDS_BREACH},       {1, 100, 0, 0, GUARDS_WAIT},      {20, 1000, 2, 50, GUARDS_BREACH},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene scene;
        scene_start(&scene);
        scene.stage.candidate_reads = scene.stage.candidate_writes = false;
        compared(&scene, false, cases[i].all, cases[i].bad);
        compared(&scene, true, cases[i].baseline_all, cases[i].baseline_bad);
        (void)judge(&scene);
        (void)printf("# %s\n", check_of(&scene, "answers")->text);
        assert_verdict(&scene, "answers", cases[i].verdict);
        scene_end(&scene);
    }
}

/* Both sides begin to fail in the same second: no breach, though neither failed before.  The seed is fixed: with
 * another one, one look in 1,000 may be mistaken by the rule's own words. */
static void a_fault_of_both_is_none(void **state)
{
    (void)state;
    struct scene scene;
    struct os_random random;
    os_random_seed(&random, 1);
    scene_start(&scene);
    scene.stage.candidate_reads = scene.stage.shadow = false;
    for (int tenth = -300; tenth < 100; tenth++) {
        for (int i = 0; i < 100; i++) {
            bool failed = tenth >= 0 && os_random_below(&random, 4) == 0;
            traffic_answered(scene.traffic, i % 5 == 0 ? TRAFFIC_BANYAN : TRAFFIC_LEGACY, TRAFFIC_WRITE, 10000, failed);
            os_clock_test_move(&scene.clock, 1000);
        }
        assert_int_not_equal(judge(&scene), GUARDS_BREACH);
    }
    scene_end(&scene);
}

/* Everything of Banyan's waits for a quarter of a second, once: that is no breach, in no window that sees it. */
static void one_stall_is_none(void **state)
{
    (void)state;
    struct scene scene;
    scene_start(&scene);
    scene.stage.candidate_reads = scene.stage.shadow = false;
    for (int ms = -30000; ms < 5000; ms++) {
        bool candidate = ms % 5 == 0;
        int64_t took_us = candidate && ms >= 0 && ms < 250 ? (250 - ms) * 1000 : 10000;
        traffic_answered(scene.traffic, candidate ? TRAFFIC_BANYAN : TRAFFIC_LEGACY, TRAFFIC_WRITE, took_us, false);
        os_clock_test_move(&scene.clock, 1000);
        if (ms % 100 == 0)
            assert_int_not_equal(judge(&scene), GUARDS_BREACH);
    }
    scene_end(&scene);
}

/* Half a minute of good traffic, 1,000 requests a second of which Banyan has 20 %, then a fault: how long until it is
 * seen, looking ten times a second? */
static int64_t until_breach(int64_t took_us, int failed_of_20, const char *name)
{
    struct scene scene;
    scene_start(&scene);
    scene.stage.candidate_reads = scene.stage.shadow = false;
    int64_t ret = 0;
    unsigned fate = 0;
    for (int64_t tenth = -300; tenth < 100 && ret == 0; tenth++) {
        for (int i = 0; i < 100; i++) {
            bool candidate = i % 5 == 0;
            bool faulty = candidate && tenth >= 0;
            fate += faulty;
            traffic_answered(scene.traffic, candidate ? TRAFFIC_BANYAN : TRAFFIC_LEGACY, TRAFFIC_WRITE,
                             faulty ? took_us : 10000 + i * 20, faulty && (int)(fate % 20) < failed_of_20);
            os_clock_test_move(&scene.clock, 1000);
        }
        if (judge(&scene) == GUARDS_BREACH) {
            assert_true(tenth >= 0);
            assert_verdict(&scene, name, GUARDS_BREACH);
            ret = (tenth + 1) * 100000;
        }
    }
    (void)printf("# %s after %lld ms: %s\n", name, (long long)ret / 1000, check_of(&scene, name)->text);
    scene_end(&scene);
    return ret;
}

static void a_breach_shows_within_a_second(void **state)
{
    (void)state;
    assert_in_range(until_breach(40000, 0, "write-latency-p99"), 1, 1000000);
    assert_in_range(until_breach(11000, 1, "write-failures"), 1, 1000000); /* 5 % of 200 a second: 10 of them */
    assert_in_range(until_breach(11000, 20, "write-failures"), 1, 200000);
    assert_int_equal(until_breach(11000, 0, "write-failures"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_well_passes),
        cmocka_unit_test(each_fact_has_its_verdicts),
        cmocka_unit_test(the_worst_verdict_counts),
        cmocka_unit_test(no_data_is_hold),
        cmocka_unit_test(figures_of_an_idle_minute_do_not_count),
        cmocka_unit_test(failures_have_to_be_beyond_chance),
        cmocka_unit_test(a_disaster_needs_no_minimum),
        cmocka_unit_test(equal_sides_never_breach),
        cmocka_unit_test(slow_is_slower_than_the_other_at_the_same_time),
        cmocka_unit_test(a_few_slow_answers_only_wait),
        cmocka_unit_test(without_a_baseline),
        cmocka_unit_test(the_shadow_tells_of_reads),
        cmocka_unit_test(noise_is_subtracted),
        cmocka_unit_test(a_fault_of_both_is_none),
        cmocka_unit_test(one_stall_is_none),
        cmocka_unit_test(a_breach_shows_within_a_second),
    };
    return cmocka_run_group_tests_name("rollout/guards", tests, NULL, NULL);
}
