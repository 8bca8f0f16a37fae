/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which rows are loaded, against what comparing any two of them says. */
#include "projection/rebuild_order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "banyan/record.h"
#include "os/random.h"
#include "support/test_domain.h"

struct thing {
    int64_t id;
    struct banyan_str name; /* optional */
    int64_t number;
    bool flag;
    struct banyan_time at; /* optional */
};

static const struct banyan_field fields[] = {
    BANYAN_FIELD_INT(struct thing, id, 0),
    BANYAN_FIELD_STRING(struct thing, name, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct thing, number, 0),
    BANYAN_FIELD_BOOL(struct thing, flag, 0),
    BANYAN_FIELD_TIME(struct thing, at, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_record record = {.name = "thing", .size = sizeof(struct thing), .fields = fields, 5};
static const struct banyan_table table = {.name = "things", .row = &record, .key_column = "id"};
static const struct banyan_view_index lists[] = {
    {"by_name", "name", "at"}, {"by_number", "number", "at"}, {"by_flag", "flag", "at"}};

enum {
    ROWS = 3000,
    ROWS_MANY = 150000,
};

static struct thing *random_things(struct os_random *random, size_t count, size_t names)
{
    struct thing *things = calloc(count, sizeof(*things));
    char *texts = malloc(count * 16);
    for (size_t i = 0; i < count; i++) {
        char *text = texts + i * 16;
        int size = snprintf(text, 16, "%.*s%zu", (int)os_random_below(random, 4), "\xc3\xa4zx",
                            (size_t)os_random_below(random, names));
        things[i] = (struct thing){.id = (int64_t)os_random_next(random),
                                   .name = {text, (size_t)size},
                                   .number = (int64_t)os_random_below(random, 9) - 4,
                                   .flag = os_random_below(random, 2) == 0,
                                   .at = {(int64_t)os_random_below(random, 50) - 25}};
        if (os_random_below(random, 10) == 0)
            things[i].name = (struct banyan_str){NULL, 0};
        if (os_random_below(random, 10) == 0)
            things[i].at.us = BANYAN_TIME_NULL;
    }
    return things;
}

static int sign_of(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_names(const struct thing *a, const struct thing *b)
{
    if (a->name.data == NULL || b->name.data == NULL)
        return (a->name.data == NULL) - (b->name.data == NULL);
    size_t size = a->name.size < b->name.size ? a->name.size : b->name.size;
    int order = memcmp(a->name.data, b->name.data, size);
    return order != 0 ? order : sign_of((int64_t)a->name.size, (int64_t)b->name.size);
}

static int compare(const struct banyan_view_index *list, const struct thing *a, const struct thing *b)
{
    int order = list == &lists[0]   ? compare_names(a, b)
                : list == &lists[1] ? sign_of(a->number, b->number)
                : list == &lists[2] ? a->flag - b->flag
                                    : 0;
    if (list != NULL && order == 0) /* "no time" is the smallest, so it comes last */
        order = sign_of(b->at.us, a->at.us);
    return order != 0 ? order : list == NULL ? sign_of(a->id, b->id) : sign_of(b->id, a->id);
}

static void check(const struct thing *things, size_t count, const struct banyan_view_index *list)
{
    struct sink_row *rows = calloc(count, sizeof(*rows)), *spare = calloc(count, sizeof(*spare));
    bool *seen = calloc(count, sizeof(*seen));
    for (size_t i = 0; i < count; i++)
        rows[i] = (struct sink_row){1, things[i].id, &things[i], UINT64_MAX};
    rebuild_order(&table, list, &rows, &spare, count);
    for (size_t i = 0; i < count; i++) {
        const struct thing *thing = rows[i].row;
        assert_int_equal(rows[i].key, thing->id);
        assert_true(rows[i].changed == UINT64_MAX && rows[i].table == 1);
        assert_false(seen[thing - things]);
        seen[thing - things] = true;
        if (i > 0)
            assert_true(compare(list, rows[i - 1].row, thing) <= 0);
    }
    free(rows);
    free(spare);
    free(seen);
}

static void test_orders(void **state)
{
    struct os_random random;
    os_random_seed(&random, test_seed());
    for (size_t names = 1; names <= 10000; names *= 10) {
        struct thing *things = random_things(&random, ROWS, names);
        char *texts = NULL;
        for (size_t i = 0; i < ROWS && texts == NULL; i++)
            texts = things[i].name.data == NULL ? NULL : (char *)(uintptr_t)things[i].name.data - i * 16;
        check(things, ROWS, NULL);
        for (size_t i = 0; i < 3; i++)
            check(things, ROWS, &lists[i]);
        check(things, 0, &lists[0]);
        check(things, 1, &lists[0]);
        free(texts);
        free(things);
    }
}

/* More different texts than are ranked: by their first bytes, and these are short. */
static void test_many_texts(void **state)
{
    struct os_random random;
    os_random_seed(&random, test_seed());
    struct thing *things = calloc(ROWS_MANY, sizeof(*things));
    char *texts = malloc((size_t)ROWS_MANY * 16);
    for (size_t i = 0; i < ROWS_MANY; i++) {
        int size = snprintf(texts + i * 16, 16, "%zu", (size_t)os_random_below(&random, 90000000));
        things[i] = (struct thing){.id = (int64_t)i, .name = {texts + i * 16, (size_t)size}};
    }
    check(things, ROWS_MANY, &lists[0]);
    free(texts);
    free(things);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_many_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
