/* SPDX-License-Identifier: Apache-2.0 */
/* Base64: the vectors of RFC 4648, every other spelling refused, random bytes there and back. */
#include "base/base64.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "../../support/seed.h"

static void vectors(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xfb\xff\xbf", "+/+/"},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        char text[16];
        unsigned char bytes[16];
        size_t size;
        char *end = base64_encode(banyan_str_of(pairs[i][0]), text);
        assert_int_equal(end - text, strlen(pairs[i][1]));
        assert_int_equal(end - text, base64_text_size(strlen(pairs[i][0])));
        assert_memory_equal(text, pairs[i][1], strlen(pairs[i][1]));
        assert_true(base64_decode(banyan_str_of(pairs[i][1]), bytes, &size));
        assert_int_equal(size, strlen(pairs[i][0]));
        assert_memory_equal(bytes, pairs[i][0], size);
    }
}

static void other_spellings_are_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "Z", "Zg", "Zg=", "Zh==", "Zm9=", "====", "=g==", "Z===", "Zm=v", "Zg==Zg==", "Zm9-", "Zm 9"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        unsigned char bytes[16];
        size_t size;
        if (base64_decode(banyan_str_of(texts[i]), bytes, &size))
            fail_msg("%s was accepted", texts[i]);
    }
}

static void there_and_back(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "base64");
    for (unsigned round = 0; round < 2000; round++) {
        unsigned char bytes[100];
        char text[140];
        size_t size = os_random_below(&random, sizeof(bytes) + 1), back;
        for (size_t i = 0; i < size; i++)
            bytes[i] = (unsigned char)os_random_next(&random);
        struct banyan_buf added = BANYAN_BUF_INIT(sizeof(text) + 2);
        char *end = base64_encode((struct banyan_str){(char *)bytes, size}, text);
        banyan_buf_add_char(&added, '"');
        base64_add(&added, (struct banyan_str){(char *)bytes, size});
        assert_int_equal(added.size, end - text + 1);
        assert_memory_equal(added.data + 1, text, added.size - 1);
        banyan_buf_release(&added);
        /* In place: the bytes lie over the text that they come from. */
        assert_true(base64_decode((struct banyan_str){text, (size_t)(end - text)}, (unsigned char *)text, &back));
        assert_int_equal(back, size);
        assert_memory_equal(text, bytes, size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(other_spellings_are_refused),
        cmocka_unit_test(there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
