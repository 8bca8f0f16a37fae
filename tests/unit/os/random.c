/* SPDX-License-Identifier: Apache-2.0 */
/* Random numbers: same seed, same run; bounded numbers stay in bounds and are spread evenly; ids differ. */
#include "os/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void same_seed_same_run(void **state)
{
    (void)state;
    struct os_random a, b, c;
    os_random_seed(&a, 0);
    os_random_seed(&b, 0);
    os_random_seed(&c, 1);
    int differing = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t value = os_random_next(&a);
        assert_true(value == os_random_next(&b));
        differing += value != os_random_next(&c);
    }
    assert_in_range(differing, 99, 100);
}

static void the_generator_is_xoshiro(void **state)
{
    (void)state;
    /* The first numbers of the published reference code from the state 1, 2, 3, 4. */
    struct os_random random = {{1, 2, 3, 4}};
    assert_true(os_random_next(&random) == 11520);
    assert_true(os_random_next(&random) == 0);
    assert_true(os_random_next(&random) == 1509978240);
    assert_true(os_random_next(&random) == UINT64_C(1215971899390074240));
}

static void bounded_numbers_are_even(void **state)
{
    (void)state;
    struct os_random random;
    os_random_seed(&random, 42);
    unsigned counts[7] = {0};
    for (int i = 0; i < 70000; i++)
        counts[os_random_below(&random, 7)]++;
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    for (int i = 0; i < 1000; i++) {
        assert_true(os_random_below(&random, UINT64_MAX) < UINT64_MAX);
        assert_int_equal(os_random_below(&random, 1), 0);
    }
}

static void kernel_bytes_and_ids_differ(void **state)
{
    (void)state;
    uint8_t a[32] = {0}, b[32] = {0};
    os_random_bytes(a, sizeof(a));
    os_random_bytes(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    struct banyan_uuid first = os_uuid_new(), second = os_uuid_new();
    assert_false(banyan_uuid_equal(first, second));
    assert_int_equal(first.bytes[6] >> 4, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_seed_same_run),
        cmocka_unit_test(the_generator_is_xoshiro),
        cmocka_unit_test(bounded_numbers_are_even),
        cmocka_unit_test(kernel_bytes_and_ids_differ),
    };
    return cmocka_run_group_tests_name("os-random", tests, NULL, NULL);
}
