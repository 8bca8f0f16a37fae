/* SPDX-License-Identifier: Apache-2.0 */
/* Events as lines: back without loss, whatever they hold; what is wrong with a line is told. */
#include "store/event_line.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/random_event.h"
#include "../../support/seed.h"

/* Names are UTF-8; payloads of schema 0 are sometimes JSON. */
static void make_sensible(struct os_random *random, struct store_read_event *read)
{
    static const char *const payloads[] = {
        "{\"a\": 1.10}", " {}", "[1,\n2]", "null", "{\"a\":", "\"\\ud83d\\ude00\"", ""};
    static const char *const names[] = {"order-1", "caf\xc3\xa9-\"x\"", "a\tb\\", "$schemas"};

    read->event.stream = banyan_str_of(names[os_random_below(random, 4)]);
    read->event.type = banyan_str_of(names[os_random_below(random, 4)]);
    if (read->cursor.name.size > 0)
        read->cursor.name = banyan_str_of(names[os_random_below(random, 4)]);
    if (os_random_below(random, 2) == 0) {
        read->event.schema = 0;
        read->event.payload = banyan_str_of(payloads[os_random_below(random, 7)]);
    }
    /* Times that have four digits of a year or more are covered by the tests of their text. */
    read->recorded_at.us = (int64_t)os_random_below(random, UINT64_C(4000000000000000));
    if (read->event.at.us != BANYAN_TIME_NULL)
        read->event.at.us = (int64_t)os_random_below(random, UINT64_C(4000000000000000));
}

static void events_come_back(void **state)
{
    (void)state;
    static char texts[6][RANDOM_EVENT_TEXT_BYTES];
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_buf line = BANYAN_BUF_INIT(1 << 20);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct os_random random;

    seed_start(&random, "event_line");
    for (uint64_t i = 0; i < seed_rounds(3000); i++) {
        struct store_read_event event = random_event(&random, i, texts), back;

        make_sensible(&random, &event);
        banyan_buf_reset(&line);
        event_line_write(&event, &line);
        assert_int_equal(line.data[line.size - 1], '\n');
        assert_ptr_equal(memchr(line.data, '\n', line.size), line.data + line.size - 1);
        json_t *tree = json_loadb(line.data, line.size, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(tree);
        json_decref(tree);
        if (event_line_read(banyan_buf_str(&line), &arena, &back, &err) != BANYAN_OK)
            fail_msg("%s: %s", err.message, line.data);
        assert_same_event(&event, &back);
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
    banyan_buf_release(&line);
}

static void faults_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"", "column 1: the text ends too early"},
        {"{\"stream\":\"a\",\"type\":\"b\",\"payload\":1}", "id is missing"},
        {"{\"stream\":\"a\",\"type\":\"b\",\"id\":\"0190c9a8-0000-7000-8000-000000000001\"}",
         "payload or payload_base64 is missing"},
        {"{\"stream\":1}", "column 11: a string is expected"},
        {"{\"strem\":\"a\"}", "column 10: no such member"},
        {"{\"stream\":\"a\",\"stream\":\"b\"}", "column 24: the member stands twice"},
        {"{\"stream\":\"a\\ud83d\"}", "column 20: whole characters are expected, not half of a surrogate pair"},
        {"{\"id\":\"x\"}", "column 10: a UUID is expected"},
        {"{\"schema\":65536}", "column 16: a smaller whole number is expected"},
        {"{\"schema\":-1}", "column 13: a smaller whole number is expected"},
        {"{\"at\":\"yesterday\"}", "column 18: a time like 2015-05-01T00:00:04.518Z is expected"},
        {"{\"payload_base64\":\"a\"}", "column 22: base64 is expected"},
        {"{\"provenance\":\"sure\"}", "column 21: none, exact, inferred or reconciled is expected"},
        {"{} {}", "column 4: there is more text behind the value"},
    };
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct store_read_event event;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct banyan_error err = BANYAN_ERROR_INIT;

        assert_int_equal(event_line_read(banyan_str_of(cases[i].line), &arena, &event, &err), BANYAN_INVALID);
        assert_string_equal(err.message, cases[i].message);
    }
    banyan_arena_release(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_back),
        cmocka_unit_test(faults_are_told),
    };
    return cmocka_run_group_tests_name("store-event_line", tests, NULL, NULL);
}
