/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs: the example of RFC 9562, order by time, text there and back, refusals. */
#include "banyan/uuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"

static void version_7_is_that_of_the_rfc(void **state)
{
    (void)state;
    /* RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC. */
    const uint8_t random[10] = {0x0C, 0xC3, 0x18, 0xC4, 0xDC, 0x0C, 0x0C, 0x07, 0x39, 0x8F};
    struct banyan_uuid id = banyan_uuid_v7((struct banyan_time){INT64_C(1645557742000) * 1000}, random);
    char text[BANYAN_UUID_TEXT_SIZE];
    banyan_uuid_format(id, text);
    assert_string_equal(text, "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

static void version_7_sorts_by_time(void **state)
{
    (void)state;
    const uint8_t high[10] = {255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const uint8_t low[10] = {0};
    struct banyan_uuid before = banyan_uuid_v7((struct banyan_time){1999000}, high);
    struct banyan_uuid after = banyan_uuid_v7((struct banyan_time){2000000}, low);
    assert_true(memcmp(before.bytes, after.bytes, 16) < 0);
    struct banyan_uuid old = banyan_uuid_v7((struct banyan_time){-5}, low);
    assert_true(memcmp(old.bytes, before.bytes, 16) < 0);
}

static void version_8_keeps_the_hash(void **state)
{
    (void)state;
    uint8_t hash[16];
    memset(hash, 0xFF, sizeof(hash));
    char text[BANYAN_UUID_TEXT_SIZE];
    banyan_uuid_format(banyan_uuid_v8(hash), text);
    assert_string_equal(text, "ffffffff-ffff-8fff-bfff-ffffffffffff");
    memset(hash, 0, sizeof(hash));
    banyan_uuid_format(banyan_uuid_v8(hash), text);
    assert_string_equal(text, "00000000-0000-8000-8000-000000000000");
}

static void text_reads_back(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "text_reads_back");
    for (unsigned round = 0; round < seed_rounds(1000); round++) {
        struct banyan_uuid id, back;
        for (int i = 0; i < 16; i++)
            id.bytes[i] = (uint8_t)os_random_next(&random);
        char text[BANYAN_UUID_TEXT_SIZE];
        banyan_uuid_format(id, text);
        if (round % 2 == 0) {
            for (char *c = text; *c != '\0'; c++)
                *c = (char)(*c >= 'a' ? *c - 32 : *c);
        }
        assert_true(banyan_uuid_parse(banyan_str_of(text), &back));
        assert_true(banyan_uuid_equal(id, back));
        /* Any one wrong character is refused. */
        text[os_random_below(&random, 36)] = 'g';
        assert_false(banyan_uuid_parse(banyan_str_of(text), &back));
    }
}

static void other_texts_are_refused(void **state)
{
    (void)state;
    struct banyan_uuid id;
    assert_false(banyan_uuid_parse((struct banyan_str){NULL, 0}, &id));
    assert_false(banyan_uuid_parse(BANYAN_STR(""), &id));
    assert_false(banyan_uuid_parse(BANYAN_STR("017f22e2-79b0-7cc3-98c4-dc0c0c07398"), &id));
    assert_false(banyan_uuid_parse(BANYAN_STR("017f22e2-79b0-7cc3-98c4-dc0c0c07398f0"), &id));
    assert_false(banyan_uuid_parse(BANYAN_STR("017f22e279b0-7cc3-98c4-dc0c0c07398f00"), &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(version_7_is_that_of_the_rfc), cmocka_unit_test(version_7_sorts_by_time),
        cmocka_unit_test(version_8_keeps_the_hash),     cmocka_unit_test(text_reads_back),
        cmocka_unit_test(other_texts_are_refused),
    };
    return cmocka_run_group_tests_name("base-uuid", tests, NULL, NULL);
}
