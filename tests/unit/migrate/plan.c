/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans against their files (plans/NAME.sql becomes plans/NAME.plan), and as JSON and back.
 *
 * BANYAN_GOLDEN=write writes the files anew: look at the difference before it is committed.
 */
#include "migrate/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/golden_plan.h"
#include "support/seed.h"
#include "unit/migrate/plans_path.h"

static char names[GOLDEN_MAX][GOLDEN_NAME_MAX];
static size_t name_count;
static struct pg_conn *conn;

static int prepare(void **state)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    const char *base = getenv("BANYAN_TEST_CONNINFO");
    struct pg_conn *admin = golden_connect(base, "");
    char *schema = golden_read(MIGRATE_PLANS, "schema", ".sql");

    (void)state;
    if (admin == NULL || schema == NULL || pg_run(admin, "CREATE DATABASE plans", &err) != BANYAN_OK)
        return -1;
    pg_close(admin);
    conn = golden_connect(base, "plans");
    if (conn == NULL || pg_run(conn, schema, &err) != BANYAN_OK) {
        (void)fprintf(stderr, "schema.sql: %s\n", err.message);
        return -1;
    }
    free(schema);
    name_count = golden_list(MIGRATE_PLANS, names);
    return name_count == 0;
}

static int end(void **state)
{
    (void)state;
    pg_close(conn);
    return 0;
}

/* ---- text ---- */

static void text_of(const struct golden *golden, struct banyan_buf *ret)
{
    if (golden->st == BANYAN_OK) {
        plan_text(&golden->plan, golden->migration, ret);
        return;
    }
    banyan_buf_printf(ret, "%s: %s\n", banyan_status_name(golden->st), golden->err.message);
    if (golden->err.hint[0] != '\0')
        banyan_buf_printf(ret, "hint: %s\n", golden->err.hint);
}

/* The first line that differs. */
static void tell_difference(const char *name, const char *want, const char *have)
{
    unsigned line = 1;
    const char *begin_want = want, *begin_have = have;

    for (; *want != '\0' && *want == *have; want++, have++)
        if (*want == '\n') {
            line++;
            begin_want = want + 1;
            begin_have = have + 1;
        }
    print_message("# %s.plan:%u\n  file: %.*s\n  now:  %.*s\n", name, line, (int)strcspn(begin_want, "\n"), begin_want,
                  (int)strcspn(begin_have, "\n"), begin_have);
}

static bool compare(const char *name, struct banyan_str text)
{
    const char *mode = getenv("BANYAN_GOLDEN");
    char *want;
    bool equal;

    if (mode != NULL && strcmp(mode, "write") == 0)
        return golden_write(MIGRATE_PLANS, name, ".plan", text);
    want = golden_read(MIGRATE_PLANS, name, ".plan");
    equal = want != NULL && strcmp(want, text.data) == 0;
    if (!equal)
        tell_difference(name, want == NULL ? "" : want, text.data);
    free(want);
    return equal;
}

static void test_text(void **state)
{
    unsigned wrong = 0;

    (void)state;
    for (size_t i = 0; i < name_count; i++) {
        struct banyan_buf text = BANYAN_BUF_INIT(GOLDEN_FILE_MAX);
        struct golden golden;

        if (!golden_make(&golden, conn, MIGRATE_PLANS, names[i])) {
            wrong++;
            continue;
        }
        text_of(&golden, &text);
        wrong += !compare(names[i], banyan_buf_str(&text));
        banyan_buf_release(&text);
        golden_release(&golden);
    }
    assert_int_equal(wrong, 0);
}

/* ---- JSON ---- */

static void read_back(const struct banyan_buf *json, bool must, const struct banyan_buf *equal)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_buf again = BANYAN_BUF_INIT(GOLDEN_FILE_MAX);
    /* A copy of just its size, so that reading behind the end is seen by the sanitizer. */
    char *copy = malloc(json->size + 1);
    struct plan plan;
    enum banyan_status st;

    assert_non_null(copy);
    memcpy(copy, json->data, json->size);
    st = plan_read((struct banyan_str){copy, json->size}, &arena, &plan, &err);
    if (must && st != BANYAN_OK)
        fail_msg("%s", err.message);
    if (st == BANYAN_OK) {
        plan_json(&plan, &again);
        if (equal != NULL)
            assert_string_equal(again.data, equal->data);
    } else {
        assert_int_equal(st, BANYAN_CORRUPT);
        assert_true(err.message[0] != '\0');
    }
    free(copy);
    banyan_buf_release(&again);
    banyan_arena_release(&arena);
}

static void mangle(struct banyan_buf *json, struct os_random *random)
{
    static const char bytes[] = "\"{}[],:0-9ntf\\\x01\xc3 ";
    size_t at = os_random_next(random) % json->size;

    switch (os_random_next(random) % 4) {
    case 0:
        json->size = at;
        break;
    case 1:
        json->data[at] = bytes[os_random_next(random) % (sizeof(bytes) - 1)];
        break;
    case 2:
        json->data[at] = (char)os_random_next(random);
        break;
    default:
        memmove(json->data + at, json->data + at + 1, json->size - at - 1);
        json->size--;
    }
}

static void test_json(void **state)
{
    struct os_random random;

    (void)state;
    seed_start(&random, "mangled plans");
    for (size_t i = 0; i < name_count; i++) {
        struct banyan_buf json = BANYAN_BUF_INIT(GOLDEN_FILE_MAX), broken = BANYAN_BUF_INIT(GOLDEN_FILE_MAX);
        struct golden golden;

        if (!golden_make(&golden, conn, MIGRATE_PLANS, names[i]))
            fail_msg("%s", names[i]);
        plan_json(&golden.plan, &json);
        assert_false(json.overflow);
        read_back(&json, true, &json);
        for (unsigned turn = 0; turn < 20; turn++) {
            banyan_buf_reset(&broken);
            banyan_buf_add(&broken, json.data, json.size);
            for (uint64_t times = os_random_next(&random) % 3 + 1; times > 0 && broken.size > 0; times--)
                mangle(&broken, &random);
            read_back(&broken, false, NULL);
        }
        banyan_buf_release(&json);
        banyan_buf_release(&broken);
        golden_release(&golden);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, prepare, end);
}
