/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C: published values, the fast version against the table, and both against a bit-by-bit model. */
#include "base/crc32c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"

static uint32_t model(uint32_t crc, const unsigned char *data, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
    }
    return ~crc;
}

static void published_values(void **state)
{
    (void)state;
    unsigned char bytes[32];
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283u);
    memset(bytes, 0, sizeof(bytes)); /* RFC 3720, B.4 */
    assert_int_equal(crc32c(0, bytes, 32), 0x8A9136AAu);
    memset(bytes, 0xFF, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, 32), 0x62A8AB43u);
    for (int i = 0; i < 32; i++)
        bytes[i] = (unsigned char)i;
    assert_int_equal(crc32c(0, bytes, 32), 0x46DD794Eu);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void versions_agree_at_any_length_alignment_and_cut(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "versions_agree_at_any_length_alignment_and_cut");
    unsigned char bytes[4200];
    for (unsigned round = 0; round < seed_rounds(3000); round++) {
        size_t offset = os_random_below(&random, 16);
        size_t size = os_random_below(&random, round % 10 == 0 ? 4000 : 70);
        uint32_t start = (uint32_t)os_random_next(&random);
        for (size_t i = 0; i < size; i++)
            bytes[offset + i] = (unsigned char)os_random_next(&random);
        uint32_t expected = model(start, bytes + offset, size);
        assert_int_equal(crc32c(start, bytes + offset, size), expected);
        assert_int_equal(crc32c_table(start, bytes + offset, size), expected);
        size_t cut = os_random_below(&random, size + 1);
        uint32_t first = crc32c(start, bytes + offset, cut);
        assert_int_equal(crc32c(first, bytes + offset + cut, size - cut), expected);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(versions_agree_at_any_length_alignment_and_cut),
    };
    return cmocka_run_group_tests_name("base-crc32c", tests, NULL, NULL);
}
