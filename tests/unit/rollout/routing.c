/* SPDX-License-Identifier: Apache-2.0 */
/* Buckets: even, monotone, sticky, and of each flag its own; decisions under concurrent writers; holds that end. */
#include "rollout/routing.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "os/clock.h"
#include "os/thread.h"

enum {
    KEYS = 1000000,
    READERS = 3,
    CHANGES = 100000,
};

struct key_text {
    char text[24];
};
static struct banyan_str key_of(struct key_text *text, int number)
{
    int size = snprintf(text->text, sizeof(text->text), "%d", number);
    return (struct banyan_str){text->text, (size_t)size};
}

static void share(struct routing *routing, uint32_t of_new, uint32_t of_reads)
{
    routing_set(routing, &(struct routing_decisions){.new_share = of_new, .read_share = of_reads});
}

static void shares_are_exact_and_nobody_leaves(void **state)
{
    (void)state;
    static const uint32_t steps[] = {500, 2500, 5000, ROUTING_SHARE_ALL};
    static bool in[KEYS];
    struct routing *routing = routing_new(42);
    for (size_t step = 0; step < 4; step++) {
        share(routing, steps[step], 0);
        long count = 0;
        for (int i = 0; i < KEYS; i++) {
            struct key_text text;
            bool now = routing_in(routing, ROUTING_NEW, BANYAN_STR("order"), key_of(&text, i));
            assert_true(now || !in[i]);
            in[i] = now;
            count += now;
        }
        /* Four standard deviations of a fair coin of this share. */
        double wanted = (double)steps[step] / ROUTING_SHARE_ALL * KEYS;
        double off = (double)count - wanted;
        (void)printf("# share %u: %ld of %d\n", steps[step], count, KEYS);
        assert_true(off * off <= 16 * wanted * (1 - wanted / KEYS));
    }
    share(routing, 0, 0);
    struct key_text text;
    for (int i = 0; i < 1000; i++)
        assert_false(routing_in(routing, ROUTING_NEW, BANYAN_STR("order"), key_of(&text, i)));
    routing_free(routing);
}

/* Pearson's test of a table of 10 by 10: 81 degrees of freedom, above 137.4 with a chance of 1 in 10,000. */
static double chi_square(const struct routing *routing, enum routing_flag a, struct banyan_str category_a,
                         const struct routing *other, enum routing_flag b, struct banyan_str category_b)
{
    enum {
        SIDE = 10,
        COUNT = 200000,
    };
    double cells[SIDE][SIDE] = {{0}}, rows[SIDE] = {0}, columns[SIDE] = {0};
    for (int i = 0; i < COUNT; i++) {
        struct key_text text;
        struct banyan_str key = key_of(&text, i * 7 + 1000);
        uint32_t row = routing_bucket(routing, a, category_a, key) / (ROUTING_SHARE_ALL / SIDE);
        uint32_t column = routing_bucket(other, b, category_b, key) / (ROUTING_SHARE_ALL / SIDE);
        assert_true(row < SIDE && column < SIDE);
        cells[row][column]++;
        rows[row]++;
        columns[column]++;
    }
    double sum = 0;
    for (int row = 0; row < SIDE; row++) {
        for (int column = 0; column < SIDE; column++) {
            double expected = rows[row] * columns[column] / COUNT;
            sum += (cells[row][column] - expected) * (cells[row][column] - expected) / expected;
        }
    }
    return sum;
}

static void flags_do_not_correlate(void **state)
{
    (void)state;
    struct routing *routing = routing_new(7), *other = routing_new(8);
    const struct banyan_str order = BANYAN_STR("order"), account = BANYAN_STR("account");
    double by_flag = chi_square(routing, ROUTING_NEW, order, routing, ROUTING_READ, order);
    double by_category = chi_square(routing, ROUTING_NEW, order, routing, ROUTING_NEW, account);
    double by_seed = chi_square(routing, ROUTING_NEW, order, other, ROUTING_NEW, order);
    double itself = chi_square(routing, ROUTING_NEW, order, routing, ROUTING_NEW, order);
    (void)printf("# chi-square by flag %.1f, category %.1f, seed %.1f; of one with itself %.0f\n", by_flag, by_category,
                 by_seed, itself);
    assert_true(by_flag < 137.4);
    assert_true(by_category < 137.4);
    assert_true(by_seed < 137.4);
    assert_true(itself > 100000);
    routing_free(routing);
    routing_free(other);
}

/* Buckets are stored nowhere: who is in must be in after an upgrade, too. */
static void buckets_never_change(void **state)
{
    (void)state;
    struct routing *routing = routing_new(1);
    assert_int_equal(routing_bucket(routing, ROUTING_NEW, BANYAN_STR("order"), BANYAN_STR("1")), 9563);
    assert_int_equal(routing_bucket(routing, ROUTING_NEW, BANYAN_STR("order"), BANYAN_STR("10000001")), 2278);
    assert_int_equal(routing_bucket(routing, ROUTING_READ, BANYAN_STR("order"), BANYAN_STR("1")), 5286);
    assert_int_equal(
        routing_bucket(routing, ROUTING_READ, BANYAN_STR("account"), BANYAN_STR("a user of more than 16 bytes")), 8335);
    /* Where the one text ends and the other begins matters. */
    assert_int_not_equal(routing_bucket(routing, ROUTING_NEW, BANYAN_STR("ab"), BANYAN_STR("c")),
                         routing_bucket(routing, ROUTING_NEW, BANYAN_STR("a"), BANYAN_STR("bc")));
    routing_free(routing);
}

static void without_a_key_it_is_legacy(void **state)
{
    (void)state;
    struct routing *routing = routing_new(3);
    share(routing, ROUTING_SHARE_ALL, ROUTING_SHARE_ALL);
    assert_false(routing_in(routing, ROUTING_NEW, BANYAN_STR("order"), BANYAN_STR("")));
    assert_false(routing_in(routing, ROUTING_READ, BANYAN_STR("order"), (struct banyan_str){NULL, 0}));
    assert_true(routing_in(routing, ROUTING_READ, BANYAN_STR("order"), BANYAN_STR("0")));
    routing_free(routing);
}

static void a_hold_ends_by_its_own_clock(void **state)
{
    (void)state;
    struct os_clock *clock = os_clock_real();
    struct routing *routing = routing_new(3);
    struct routing_decisions decisions = {.hold_writes = true, .hold_until_us = os_clock_monotonic_us(clock) + 50000};
    routing_set(routing, &decisions);
    int64_t until_us = decisions.hold_until_us;
    routing_get(routing, &decisions);
    assert_true(decisions.hold_writes || os_clock_monotonic_us(clock) >= until_us);
    do
        routing_get(routing, &decisions);
    while (decisions.hold_writes && os_clock_monotonic_us(clock) < until_us + 10000000);
    assert_false(decisions.hold_writes);
    assert_true(os_clock_monotonic_us(clock) >= until_us);
    assert_int_equal(decisions.hold_until_us, until_us);
    routing_free(routing);
}

struct reading {
    struct routing *routing;
    bool *stop;
    uint64_t reads, torn, back;
};

static void read_on(void *argument)
{
    struct reading *reading = argument;
    uint64_t before = 0;
    while (!__atomic_load_n(reading->stop, __ATOMIC_ACQUIRE)) {
        struct routing_decisions now;
        routing_get(reading->routing, &now);
        reading->torn += now.new_share != now.read_share || now.noise_share != now.read_share ||
                         (uint64_t)now.hold_until_us % ROUTING_SHARE_ALL != now.new_share ||
                         now.shadow_reads != (now.new_share % 2 == 1);
        reading->back += now.version < before;
        before = now.version;
        reading->reads++;
    }
}

static void decisions_are_never_torn(void **state)
{
    (void)state;
    struct routing *routing = routing_new(9);
    bool stop = false;
    struct reading readings[READERS];
    struct os_thread threads[READERS] = {{.started = false}};
    for (int i = 0; i < READERS; i++) {
        readings[i] = (struct reading){.routing = routing, .stop = &stop};
        os_thread_start(&threads[i], "reader", read_on, &readings[i]);
    }
    for (uint32_t i = 1; i <= CHANGES; i++) {
        uint32_t value = i % ROUTING_SHARE_ALL;
        routing_set(routing, &(struct routing_decisions){.new_share = value,
                                                         .read_share = value,
                                                         .noise_share = value,
                                                         .hold_until_us = i,
                                                         .shadow_reads = value % 2 == 1});
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    uint64_t reads = 0;
    for (int i = 0; i < READERS; i++) {
        os_thread_join(&threads[i]);
        assert_int_equal(readings[i].torn, 0);
        assert_int_equal(readings[i].back, 0);
        reads += readings[i].reads;
    }
    (void)printf("# %" PRIu64 " reads beside %d changes\n", reads, CHANGES);
    struct routing_decisions last;
    routing_get(routing, &last);
    assert_int_equal(last.version, CHANGES + 1);
    routing_free(routing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_are_exact_and_nobody_leaves),
        cmocka_unit_test(flags_do_not_correlate),
        cmocka_unit_test(buckets_never_change),
        cmocka_unit_test(without_a_key_it_is_legacy),
        cmocka_unit_test(a_hold_ends_by_its_own_clock),
        cmocka_unit_test(decisions_are_never_torn),
    };
    return cmocka_run_group_tests_name("rollout/routing", tests, NULL, NULL);
}
