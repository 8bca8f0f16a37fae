/* SPDX-License-Identifier: Apache-2.0 */
/* Counters and quantiles of windows, against plain lists, with a clock that stands still and with threads. */
#include "rollout/traffic.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "../../support/seed.h"
#include "os/thread.h"

enum {
    SLOT_US = 100000,
    SAMPLES_MAX = 20000,
    WRITERS = 4,
};

static struct traffic *standing(struct os_clock_test *clock)
{
    os_clock_test_init(clock, (struct banyan_time){0});
    return traffic_new(&clock->base);
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The true value, or at most 2 % above it. */
static void assert_near(int64_t seen, int64_t truth)
{
    if (seen < truth || seen - truth > truth / 50)
        fail_msg("%" PRId64 " instead of %" PRId64, seen, truth);
}

static void quantiles_are_those_of_the_sorted_list(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "quantiles_are_those_of_the_sorted_list");
    static int64_t list[SAMPLES_MAX];
    for (unsigned round = 0; round < seed_rounds(100); round++) {
        struct os_clock_test clock;
        struct traffic *traffic = standing(&clock);
        size_t count = 1 + (size_t)os_random_below(&random, round % 3 == 0 ? 200 : SAMPLES_MAX);
        for (size_t i = 0; i < count; i++) {
            /* From microseconds to a minute, all doublings equally often. */
            list[i] = (int64_t)os_random_below(&random, UINT64_C(2) << os_random_below(&random, 25));
            traffic_answered(traffic, TRAFFIC_BANYAN, TRAFFIC_READ, list[i], false);
            traffic_answered(traffic, TRAFFIC_BANYAN, TRAFFIC_WRITE, i % 2 == 0 ? 9000000 : 1000000, i % 2 == 0);
        }
        qsort(list, count, sizeof(list[0]), ascending);
        struct traffic_window window;
        traffic_window(traffic, 1000000, &window);
        const struct traffic_figures *reads = &window.by[TRAFFIC_BANYAN][TRAFFIC_READ];
        assert_int_equal(reads->requests, count);
        assert_int_equal(reads->failures, 0);
        assert_near(reads->us_p50, list[(count * 50 + 99) / 100 - 1]);
        assert_near(reads->us_p99, list[(count * 99 + 99) / 100 - 1]);
        assert_int_equal(reads->us_max, list[count - 1]);
        assert_true(reads->us_p50_low <= reads->us_p50 && reads->us_p50 <= reads->us_p50_high);
        assert_true(reads->us_p99_low <= reads->us_p99 && reads->us_p99 <= reads->us_p99_high);
        assert_true(reads->us_p99_high <= reads->us_max);
        const struct traffic_figures *writes = &window.by[TRAFFIC_BANYAN][TRAFFIC_WRITE];
        assert_int_equal(writes->failures, (count + 1) / 2);
        assert_int_equal(writes->us_max, count > 1 ? 1000000 : 0); /* how long a failure took does not count */
        assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].requests, 0);
        traffic_free(traffic);
    }
}

/* The bounds hold the true quantile of what the samples come from: here p99 is 9,900 µs, p50 5,000. */
static void bounds_hold_the_true_quantile(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "bounds_hold_the_true_quantile");
    unsigned rounds = seed_rounds(500), above = 0;
    for (unsigned round = 0; round < rounds; round++) {
        struct os_clock_test clock;
        struct traffic *traffic = standing(&clock);
        unsigned count = 20 + (unsigned)os_random_below(&random, 2000);
        for (unsigned i = 0; i < count; i++)
            traffic_answered(traffic, TRAFFIC_LEGACY, TRAFFIC_WRITE, (int64_t)os_random_below(&random, 10001), false);
        struct traffic_window window;
        traffic_window(traffic, 1000000, &window);
        const struct traffic_figures *writes = &window.by[TRAFFIC_LEGACY][TRAFFIC_WRITE];
        assert_true(writes->us_p99_low < 9900 * 51 / 50);
        assert_true(writes->us_p50_low < 5000 * 51 / 50);
        assert_true(writes->us_p50_low > 1000 || count < 60);
        above += writes->us_p99_high < 9900 && writes->us_p99_high != writes->us_max;
        traffic_free(traffic);
    }
    assert_true(above <= rounds / 20);
}

/* Of 100, nine above it are more than the 1 % that p99 allows, eight may be chance. */
static void how_many_are_sure(void **state)
{
    (void)state;
    for (int slow = 7; slow <= 10; slow++) {
        struct os_clock_test clock;
        struct traffic *traffic = standing(&clock);
        for (int i = 0; i < 100; i++)
            traffic_answered(traffic, TRAFFIC_BANYAN, TRAFFIC_READ, i < slow ? 100000 : 1000, false);
        struct traffic_window window;
        traffic_window(traffic, 1000000, &window);
        assert_near(window.by[TRAFFIC_BANYAN][TRAFFIC_READ].us_p99_low, slow >= 9 ? 100000 : 1000);
        assert_near(window.by[TRAFFIC_BANYAN][TRAFFIC_READ].us_p50_low, 1000);
        traffic_free(traffic);
    }
}

static void a_window_forgets(void **state)
{
    (void)state;
    struct os_clock_test clock;
    struct traffic *traffic = standing(&clock);
    struct traffic_window window;
    for (int second = 0; second < 90; second++) {
        for (int i = 0; i < 10; i++) {
            traffic_answered(traffic, TRAFFIC_LEGACY, TRAFFIC_READ, 1000 + second, second % 2 == 0);
            traffic_compared(traffic, false, second % 2 == 0);
            traffic_compared(traffic, true, true);
            traffic_held(traffic, second, i == 0);
            os_clock_test_move(&clock, SLOT_US);
        }
    }
    traffic_window(traffic, 1000000, &window);
    assert_int_equal(window.seconds_us, 1000000);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].requests, 10);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].failures, 0);
    traffic_window(traffic, 10000000, &window);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].requests, 100);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].failures, 50);
    assert_int_equal(window.answers.compared, 100);
    assert_int_equal(window.answers.different, 50);
    assert_int_equal(window.noise.compared, 100);
    assert_int_equal(window.noise.different, 0);
    assert_int_equal(window.held, 100);
    assert_int_equal(window.held_refused, 10);
    assert_int_equal(window.held_us_max, 89);
    traffic_window(traffic, INT64_C(3600) * 1000000, &window);
    assert_int_equal(window.seconds_us, 60000000);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].requests, 600);
    os_clock_test_move(&clock, INT64_C(61) * 1000000);
    traffic_window(traffic, INT64_C(60) * 1000000, &window);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].requests, 0);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].us_p99, 0);
    assert_int_equal(window.held_us_max, 0);
    /* The first after a silence finds slots of a minute ago. */
    traffic_answered(traffic, TRAFFIC_LEGACY, TRAFFIC_READ, 5, false);
    traffic_window(traffic, INT64_C(60) * 1000000, &window);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].requests, 1);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].us_max, 5);
    traffic_free(traffic);
}

static void it_says_what_it_covers(void **state)
{
    (void)state;
    struct os_clock_test clock;
    struct traffic *traffic = standing(&clock);
    struct traffic_window window;
    os_clock_test_move(&clock, 250000);
    traffic_answered(traffic, TRAFFIC_BANYAN, TRAFFIC_WRITE, -3, false);
    traffic_answered(traffic, TRAFFIC_BANYAN, TRAFFIC_WRITE, INT64_MAX, false);
    traffic_window(traffic, 30000000, &window);
    assert_int_equal(window.seconds_us, 250000);
    assert_int_equal(window.by[TRAFFIC_BANYAN][TRAFFIC_WRITE].requests, 2);
    assert_int_equal(window.by[TRAFFIC_BANYAN][TRAFFIC_WRITE].us_p50, 0);
    assert_int_equal(window.by[TRAFFIC_BANYAN][TRAFFIC_WRITE].us_max, INT64_MAX);
    traffic_free(traffic);
}

struct writing {
    struct traffic *traffic;
    struct os_clock_test *clock;
    uint64_t count, failures;
};

static void write_on(void *argument)
{
    struct writing *writing = argument;
    for (uint64_t i = 0; i < writing->count; i++) {
        bool failed = i % 16 == 0;
        traffic_answered(writing->traffic, TRAFFIC_BANYAN, TRAFFIC_WRITE, (int64_t)(i % 5000), failed);
        writing->failures += failed;
        if (i % 200 == 0)
            os_clock_test_move(writing->clock, 2000); /* a slot every 50 turns of one thread */
    }
}

/* While threads write and time goes on, no request is lost and no window sees more failures than requests. */
static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    struct os_clock_test clock;
    struct traffic *traffic = standing(&clock);
    struct writing writings[WRITERS];
    struct os_thread threads[WRITERS] = {{.started = false}};
    const uint64_t each = 1000000; /* four threads: 4 × 5,000 × 2 ms = 40 s */
    for (int i = 0; i < WRITERS; i++) {
        writings[i] = (struct writing){.traffic = traffic, .clock = &clock, .count = each};
        os_thread_start(&threads[i], "writer", write_on, &writings[i]);
    }
    struct traffic_window window;
    for (int i = 0; i < 200; i++) {
        traffic_window(traffic, 1000000, &window);
        const struct traffic_figures *writes = &window.by[TRAFFIC_BANYAN][TRAFFIC_WRITE];
        assert_true(writes->failures <= writes->requests);
        assert_true(writes->us_max < 5000);
    }
    uint64_t failures = 0;
    for (int i = 0; i < WRITERS; i++) {
        os_thread_join(&threads[i]);
        failures += writings[i].failures;
    }
    traffic_window(traffic, INT64_C(60) * 1000000, &window);
    assert_int_equal(window.by[TRAFFIC_BANYAN][TRAFFIC_WRITE].requests, each * WRITERS);
    assert_int_equal(window.by[TRAFFIC_BANYAN][TRAFFIC_WRITE].failures, failures);
    assert_near(window.by[TRAFFIC_BANYAN][TRAFFIC_WRITE].us_p50, 2500);
    traffic_free(traffic);
}

static void it_costs_little(void **state)
{
    (void)state;
    struct os_clock *clock = os_clock_real();
    struct traffic *traffic = traffic_new(NULL);
    int64_t start_us = os_clock_monotonic_us(clock);
    for (int i = 0; i < 1000000; i++)
        traffic_answered(traffic, TRAFFIC_LEGACY, TRAFFIC_READ, i % 30000, false);
    int64_t written_us = os_clock_monotonic_us(clock);
    struct traffic_window window;
    for (int i = 0; i < 100; i++)
        traffic_window(traffic, 30000000, &window);
    int64_t read_us = os_clock_monotonic_us(clock);
    assert_int_equal(window.by[TRAFFIC_LEGACY][TRAFFIC_READ].requests, 1000000);
    (void)printf("# %" PRId64 " ns a request, %" PRId64 " us a window\n", (written_us - start_us) / 1000,
                 (read_us - written_us) / 100);
    traffic_free(traffic);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_those_of_the_sorted_list),
        cmocka_unit_test(bounds_hold_the_true_quantile),
        cmocka_unit_test(how_many_are_sure),
        cmocka_unit_test(a_window_forgets),
        cmocka_unit_test(it_says_what_it_covers),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(it_costs_little),
    };
    return cmocka_run_group_tests_name("rollout/traffic", tests, NULL, NULL);
}
