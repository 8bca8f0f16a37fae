/* SPDX-License-Identifier: Apache-2.0 */
/* src/migrate/difference.c: pieces, their lines, and every script against its own texts. */
#include "migrate/difference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/seed.h"

enum {
    TEXT_MAX = 8 * 1024 * 1024,
};

static void expect(const char *before, const char *after, const char *wanted)
{
    struct banyan_buf text = BANYAN_BUF_INIT(TEXT_MAX);

    difference_add(&text, banyan_str_of(before), banyan_str_of(after));
    assert_string_equal(text.data == NULL ? "" : text.data, wanted);
    banyan_buf_release(&text);
}

static void test_forms(void **state)
{
    (void)state;
    expect("a\nb\n", "a\nb\n", "");
    expect("", "", "");
    expect("a\n", "b\n", "@@ -1,1 +1,1 @@\n-a\n+b\n");
    expect("", "a\nb\n", "@@ -0,0 +1,2 @@\n+a\n+b\n");
    expect("a\n", "", "@@ -1,1 +0,0 @@\n-a\n");
    expect("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nx\n6\n7\n8\n9\n",
           "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+x\n 6\n 7\n 8\n");
    expect("1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n", "0\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n13\n",
           "@@ -1,4 +1,4 @@\n-1\n+0\n 2\n 3\n 4\n@@ -9,4 +9,4 @@\n 9\n 10\n 11\n-12\n+13\n");
    expect("a\nb\nc\n", "a\nc\nb\n", "@@ -1,3 +1,3 @@\n a\n-b\n c\n+b\n");
}

/* The lines of one side, as the difference has them where all of it is one piece. */
static void check_sides(const char *before, const char *after)
{
    struct banyan_buf text = BANYAN_BUF_INIT(TEXT_MAX), a = BANYAN_BUF_INIT(TEXT_MAX), b = BANYAN_BUF_INIT(TEXT_MAX);

    difference_add(&text, banyan_str_of(before), banyan_str_of(after));
    for (const char *at = text.data; at != NULL && *at != '\0';) {
        const char *end = strchr(at, '\n');
        size_t size = (size_t)(end - at);

        if (*at == ' ' || *at == '-')
            banyan_buf_add(&a, at + 1, size);
        if (*at == ' ' || *at == '+')
            banyan_buf_add(&b, at + 1, size);
        at = end + 1;
    }
    if (text.size > 0) {
        assert_string_equal(a.data == NULL ? "" : a.data, before);
        assert_string_equal(b.data == NULL ? "" : b.data, after);
    } else {
        assert_string_equal(before, after);
    }
    banyan_buf_release(&b);
    banyan_buf_release(&a);
    banyan_buf_release(&text);
}

/* So few lines that no piece leaves any out. */
static void test_random(void **state)
{
    struct os_random random;

    (void)state;
    seed_start(&random, "difference");
    for (unsigned round = 0; round < seed_rounds(3000); round++) {
        char texts[2][32] = {"", ""};

        for (int side = 0; side < 2; side++) {
            size_t lines = os_random_below(&random, 4);

            for (size_t i = 0; i < lines; i++)
                (void)snprintf(texts[side] + 2 * i, 3, "%c\n", (char)('a' + os_random_below(&random, 3)));
        }
        check_sides(texts[0], texts[1]);
    }
}

/* Larger than the table may be: shown as one piece. */
static void test_large(void **state)
{
    struct banyan_buf a = BANYAN_BUF_INIT(TEXT_MAX), b = BANYAN_BUF_INIT(TEXT_MAX);

    (void)state;
    for (int i = 0; i < 3000; i++) {
        banyan_buf_printf(&a, "a %d\n", i);
        banyan_buf_printf(&b, "b %d\n", i);
    }
    check_sides(a.data, b.data);
    banyan_buf_release(&b);
    banyan_buf_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
