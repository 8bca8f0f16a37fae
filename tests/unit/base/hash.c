/* SPDX-License-Identifier: Apache-2.0 */
/* The hash map against a plain array, with keys that collide often. */
#include "base/hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"
#include "banyan/domain.h"

enum {
    KEYS = 300,
};

static void check_all(const struct hash *hash, const int64_t keys[KEYS], void *const model[KEYS])
{
    size_t count = 0;
    for (int i = 0; i < KEYS; i++) {
        assert_ptr_equal(hash_get(hash, keys[i]), model[i]);
        count += model[i] != NULL;
    }
    assert_int_equal(hash->count, count);
    size_t cursor = 0;
    size_t walked = 0;
    for (struct hash_entry *entry; (entry = hash_next(hash, &cursor)) != NULL; walked++)
        assert_ptr_equal(hash_get(hash, entry->key), entry->value);
    assert_int_equal(walked, count);
}

static void random_steps_match_an_array(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "random_steps_match_an_array");
    static char values[1000];
    for (unsigned round = 0; round < seed_rounds(20); round++) {
        struct hash hash = HASH_INIT;
        int64_t keys[KEYS];
        void *model[KEYS] = {NULL};
        for (int i = 0; i < KEYS; i++)
            keys[i] = round % 2 == 0 ? i - KEYS / 2 : (int64_t)os_random_next(&random) & ~(int64_t)1023;
        for (int i = 1; i < KEYS; i++)
            keys[i] = keys[i] == keys[0] ? INT64_MIN + i : keys[i];
        for (int step = 0; step < 5000; step++) {
            int i = (int)os_random_below(&random, KEYS);
            /* Phases that mostly grow and phases that mostly shrink. */
            if (os_random_below(&random, 10) < (step / 700 % 2 == 0 ? 7u : 3u)) {
                void *value = &values[os_random_below(&random, sizeof(values))];
                assert_ptr_equal(hash_put(&hash, keys[i], value), model[i]);
                model[i] = value;
            } else {
                assert_ptr_equal(hash_remove(&hash, keys[i]), model[i]);
                model[i] = NULL;
            }
            if (step % 50 == 0)
                check_all(&hash, keys, model);
        }
        check_all(&hash, keys, model);
        hash_reset(&hash);
        memset(model, 0, sizeof(model));
        check_all(&hash, keys, model);
        hash_release(&hash);
    }
}

static void an_empty_map_answers(void **state)
{
    (void)state;
    struct hash hash = HASH_INIT;
    size_t cursor = 0;
    assert_null(hash_get(&hash, 5));
    assert_null(hash_remove(&hash, 5));
    assert_null(hash_next(&hash, &cursor));
    hash_reset(&hash);
    hash_release(&hash);
    hash_release(NULL);
}

static void mixing_spreads_neighbours(void **state)
{
    (void)state;
    /* Each of 256 buckets gets its share of 64 Ki consecutive keys, within a quarter. */
    unsigned counts[256] = {0};
    for (uint64_t key = 0; key < 65536; key++)
        counts[hash_mix(key) & 255]++;
    for (int i = 0; i < 256; i++)
        assert_in_range(counts[i], 192, 320);
}

/* Keys are stored in read models: another value for one of these texts loses rows. */
static void keys_of_texts_never_change(void **state)
{
    (void)state;
    char long_text[1000];
    memset(long_text, 'z', sizeof(long_text));
    assert_true(banyan_key_of_text(BANYAN_STR("")) == INT64_C(0x2d06800538d394c2));
    assert_true(banyan_key_of_text((struct banyan_str){NULL, 0}) == INT64_C(0x2d06800538d394c2));
    assert_true(banyan_key_of_text(BANYAN_STR("a")) == INT64_C(0x66c632b61e964e1f));
    assert_true(banyan_key_of_text(BANYAN_STR("abc")) == INT64_C(0x78af5f94892f3950));
    assert_true(banyan_key_of_text(BANYAN_STR("order-42/line-7")) == INT64_C(0x7522179d5cbe1180));
    assert_true(banyan_key_of_text((struct banyan_str){long_text, sizeof(long_text)}) == INT64_C(0x4d3a574700eddf41));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_steps_match_an_array),
        cmocka_unit_test(an_empty_map_answers),
        cmocka_unit_test(mixing_spreads_neighbours),
        cmocka_unit_test(keys_of_texts_never_change),
    };
    return cmocka_run_group_tests_name("base-hash", tests, NULL, NULL);
}
