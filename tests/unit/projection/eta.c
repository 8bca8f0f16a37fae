/* SPDX-License-Identifier: Apache-2.0 */
/* Estimates of rebuilds: made-up runs whose truth is known, and what is kept of past ones. */
#include "projection/eta.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/random.h"
#include "support/test_domain.h"

/* A run that goes exactly like this. */
struct course {
    double fold_s, order_s, load_s, index_s, verify_s, catch_up_s, switch_s;
    uint64_t events, rows;
};

static double total_s(const struct course *course)
{
    return course->fold_s + course->order_s + course->load_s + course->index_s + course->verify_s + course->catch_up_s +
           course->switch_s;
}

static struct eta_now at(const struct course *course, double s)
{
    struct eta_now now = {.elapsed_us = (int64_t)(s * 1e6), .events_expected = course->events};
    if (s < course->fold_s) {
        now.phase = REBUILD_FOLD;
        now.fold_us = now.phase_us = (int64_t)(s * 1e6);
        now.events_done = (uint64_t)((double)course->events * s / course->fold_s);
        return now;
    }
    s -= course->fold_s;
    now.fold_us = (int64_t)(course->fold_s * 1e6);
    now.events_done = course->events;
    now.rows_expected = course->rows;
    if (s < course->order_s + course->load_s) {
        now.phase = REBUILD_LOAD;
        now.phase_us = now.load_us = (int64_t)(s * 1e6);
        now.order_us = (int64_t)((s < course->order_s ? s : course->order_s) * 1e6);
        if (s > course->order_s)
            now.rows_done = (uint64_t)((double)course->rows * (s - course->order_s) / course->load_s);
        return now;
    }
    s -= course->order_s + course->load_s;
    now.order_us = (int64_t)(course->order_s * 1e6);
    now.load_us = (int64_t)(course->load_s * 1e6) + now.order_us;
    now.rows_done = course->rows;
    const double left[] = {course->index_s, course->verify_s, course->catch_up_s, course->switch_s};
    for (int i = 0; i < 4; i++) {
        now.phase = (enum rebuild_phase)(REBUILD_INDEX + i);
        now.phase_us = (int64_t)(s * 1e6);
        if (s < left[i])
            break;
        s -= left[i];
    }
    return now;
}

static struct eta_learned learned_from(const struct course *course)
{
    return (struct eta_learned){
        .fold_event_s = course->fold_s / (double)course->events,
        .order_row_s = course->order_s / (double)course->rows,
        .load_row_s = course->load_s / (double)course->rows,
        .index_row_s = course->index_s / ((double)course->rows * log2((double)course->rows)),
        .verify_row_s = course->verify_s / (double)course->rows,
        .apply_event_s = 1e-5,
        .switch_s = course->switch_s,
        .rows_per_event = (double)course->rows / (double)course->events,
    };
}

static const struct course usual = {8, 0.3, 4, 3, 0.5, 0, 0.1, 20000000, 5000000};

/* A run like the last one is known to a few hundredths from its beginning on. */
static void test_like_before(void **state)
{
    struct eta_learned learned = learned_from(&usual);
    double total = total_s(&usual);
    for (double s = 0.01; s < total * 0.98; s += 0.01) {
        struct eta_now now = at(&usual, s);
        struct eta eta;
        eta_estimate(&learned, &now, &eta);
        double left = total - s, said = (double)eta.us / 1e6;
        assert_true(eta.us > 0);
        assert_true(eta.done < 1);
        assert_true(fabs(said - left) < 0.05 * left + 0.04 * total);
    }
}

/* Another speed than the last time, or nothing learned: wrong at first, then it follows; never 0. */
static void test_otherwise(void **state)
{
    struct os_random random;
    os_random_seed(&random, test_seed());
    for (int turn = 0; turn < 200; turn++) {
        struct course course = usual;
        double speed = 0.3 + (double)os_random_below(&random, 300) / 100;
        course.fold_s *= speed;
        course.order_s *= speed;
        course.load_s *= speed;
        course.index_s *= speed;
        course.verify_s *= speed;
        struct eta_learned learned = learned_from(&usual), nothing = {0};
        double total = total_s(&course), last_done = 0;
        for (double part = 0.1; part < 0.99; part += 0.01) {
            struct eta_now now = at(&course, total * part);
            struct eta eta, blind;
            eta_estimate(&learned, &now, &eta);
            eta_estimate(&nothing, &now, &blind);
            assert_true(eta.us > 0 && blind.us > 0);
            assert_true(eta.done < 1 && blind.done < 1);
            /* All phases are as much slower or faster: once rows are loaded that is known. */
            double left = total * (1 - part), said = (double)eta.us / 1e6;
            if (now.phase > REBUILD_LOAD)
                assert_true(fabs(said - left) < 0.1 * left + 0.05 * total);
            else
                assert_true(fabs(said - left) < 0.65 * left + 0.1 * total);
            last_done = eta.done > last_done ? eta.done : last_done;
        }
        assert_true(last_done > 0.7);
    }
}

static void test_catch_up(void **state)
{
    struct eta_learned learned = {.apply_event_s = 1e-5, .switch_s = 0.1};
    struct eta_now now = {.phase = REBUILD_CATCH_UP, .backlog = 1000000, .apply_rate = 50000, .append_rate = 10000};
    struct eta eta;
    eta_estimate(&learned, &now, &eta);
    assert_in_range(eta.us, 25 * 1000000, 25 * 1000000 + 200000); /* 1,000,000 / 40,000 and the switch */
    now.append_rate = 50000;
    eta_estimate(&learned, &now, &eta);
    assert_true(eta.us == INT64_MAX);
    assert_true(eta.us_high == INT64_MAX);
    assert_true(eta.done == 0);
    /* A limit below what is appended: the same, from the beginning on. */
    now = (struct eta_now){
        .phase = REBUILD_FOLD, .events_expected = 1000, .append_rate = 2000, .events_per_second_max = 1000};
    eta_estimate(&learned, &now, &eta);
    assert_true(eta.us == INT64_MAX);
    now.append_rate = 100;
    eta_estimate(&learned, &now, &eta);
    assert_in_range(eta.us, 1000000, 3000000);
}

/* A phase that takes longer than was thought is not over for that. */
static void test_overdue(void **state)
{
    struct eta_learned learned = learned_from(&usual);
    struct eta_now now = at(&usual, usual.fold_s + usual.order_s + usual.load_s + 0.1);
    struct eta eta;
    int64_t before = 0;
    for (now.phase_us = 10000000; now.phase_us < 100000000; now.phase_us += 10000000) {
        now.elapsed_us += 10000000;
        eta_estimate(&learned, &now, &eta);
        assert_true(eta.us > before);
        assert_true(eta.done < 1);
        before = eta.us;
    }
}

static void test_learned(void **state)
{
    struct eta_learned learned = {0}, run = learned_from(&usual), back;
    struct banyan_buf text = BANYAN_BUF_INIT(4096);
    eta_learn(&learned, &run);
    assert_true(learned.index_row_s == run.index_row_s);
    run.index_row_s *= 3;
    run.load_row_s = 0; /* not known this time */
    double load = learned.load_row_s, index = learned.index_row_s;
    eta_learn(&learned, &run);
    assert_true(learned.load_row_s == load);
    assert_true(fabs(learned.index_row_s / index - 2) < 1e-9);
    eta_learned_write(&learned, &text);
    eta_learned_read(banyan_buf_str(&text), &back);
    assert_true(fabs(back.index_row_s / learned.index_row_s - 1) < 1e-6);
    assert_true(fabs(back.rows_per_event / learned.rows_per_event - 1) < 1e-6);
    eta_learned_read(BANYAN_STR("nonsense\nswitch_s -3\nload_row_s nan\nverify_row_s 1e99\n\nfold_event_s 2e-6"),
                     &back);
    assert_true(back.switch_s == 0 && back.load_row_s == 0 && back.verify_row_s == 0);
    assert_true(back.fold_event_s == 2e-6);
    banyan_buf_release(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_like_before), cmocka_unit_test(test_otherwise), cmocka_unit_test(test_catch_up),
        cmocka_unit_test(test_overdue),     cmocka_unit_test(test_learned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
