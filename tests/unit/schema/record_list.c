/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists in records: bytes by hand from the Avro specification, random records with nested lists through each form and
 * back, and counts that promise more than there is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../support/seed.h"
#include "banyan/record.h"
#include "random_record.h"
#include "schema/avro.h"

/* ---- an order with its lines, by hand ---- */

struct line {
    int64_t product;
    struct banyan_str note;
};

struct order {
    int64_t id;
    struct banyan_list lines;
    bool paid;
};

static const struct banyan_field line_fields[] = {
    BANYAN_FIELD_INT(struct line, product, 0),
    BANYAN_FIELD_STRING(struct line, note, BANYAN_FIELD_OPTIONAL),
};
static const struct banyan_record line_record = {"Line", sizeof(struct line), line_fields, 2};
static const struct banyan_field order_fields[] = {
    BANYAN_FIELD_INT(struct order, id, 0),
    BANYAN_FIELD_LIST_OF(struct order, lines, &line_record),
    BANYAN_FIELD_BOOL(struct order, paid, 0),
};
static const struct banyan_record order_record = {"Order", sizeof(struct order), order_fields, 3};

static struct line two_lines[] = {{1, {NULL, 0}}, {-2, {"ab", 2}}};
static const struct order an_order = {3, {two_lines, 2}, true};

#define BYTES(text) ((struct banyan_str){(text), sizeof(text) - 1})

static void lists_are_arrays_of_the_specification(void **state)
{
    (void)state;
    struct banyan_buf buf = BANYAN_BUF_INIT(1000);
    struct order empty = {3, {NULL, 0}, true};
    /* id 3; a block of 2: product 1, no note; product -2, a note of 2 bytes; the end of the list; paid */
    static const char bytes[] = "\x06\x04\x02\x00\x03\x02\x04"
                                "ab\x00\x01";
    assert_int_equal(banyan_record_encode(&order_record, &an_order, &buf, NULL), BANYAN_OK);
    assert_int_equal(buf.size, sizeof(bytes) - 1);
    assert_memory_equal(buf.data, bytes, buf.size);
    banyan_buf_reset(&buf);
    assert_int_equal(banyan_record_encode(&order_record, &empty, &buf, NULL), BANYAN_OK);
    assert_int_equal(buf.size, 3);
    assert_memory_equal(buf.data, "\x06\x00\x01", 3);
    banyan_buf_release(&buf);
}

/* Decode from memory of just the size, so that the sanitizer sees a byte too many. */
static enum banyan_status decode(const struct banyan_record *record, struct banyan_str bytes,
                                 struct banyan_arena *arena, void *ret, struct banyan_error *err)
{
    char *exact = malloc(bytes.size == 0 ? 1 : bytes.size);
    assert_non_null(exact);
    if (bytes.size > 0)
        memcpy(exact, bytes.data, bytes.size);
    enum banyan_status st = banyan_record_decode_in(record, (struct banyan_str){exact, bytes.size}, arena, ret, err);
    if (st == BANYAN_OK) {
        char *copy = banyan_arena_alloc(arena, record->size);
        banyan_record_copy(record, copy, ret, arena); /* its strings are in *exact* */
        memcpy(ret, copy, record->size);
    }
    free(exact);
    return st;
}

static void blocks_are_read_in_each_form(void **state)
{
    (void)state;
    static const struct banyan_str forms[] = {
        BYTES("\x06\x04\x02\x00\x03\x02\x04"
              "ab\x00\x01"), /* one block */
        BYTES("\x06\x02\x02\x00\x02\x03\x02\x04"
              "ab\x00\x01"), /* two blocks */
        BYTES("\x06\x03\x0e\x02\x00\x03\x02\x04"
              "ab\x00\x01"), /* -2: a block that names its size, 7 */
        BYTES("\x06\x01\x04\x02\x00\x01\x0a\x03\x02\x04"
              "ab\x00\x01"), /* two of them */
    };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        struct banyan_arena arena = BANYAN_ARENA_INIT;
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct order order;
        if (decode(&order_record, forms[i], &arena, &order, &err) != BANYAN_OK)
            fail_msg("form %zu: %s", i, err.message);
        assert_int_equal(banyan_record_diff(&order_record, &order, &an_order), 0);
        banyan_arena_release(&arena);
    }
}

static void assert_refused(struct banyan_str bytes, const char *reason)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct order order;
    assert_int_equal(decode(&order_record, bytes, &arena, &order, &err), BANYAN_CORRUPT);
    if (strstr(err.message, reason) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", reason, err.message);
    assert_true(arena.bytes < 100000);
    banyan_arena_release(&arena);
}

static void counts_cannot_promise_more_than_there_is(void **state)
{
    (void)state;
    assert_refused(BYTES("\x06\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "more items than");
    assert_refused(BYTES("\x06\xfe\xff\xff\xff\x0f\x02\x00\x00\x01"), "more items than");
    assert_refused(BYTES("\x06\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x04\x02\x00\x00\x01"), "more items than");
    assert_refused(BYTES("\x06\x01\x7e\x02\x00\x00\x01"), "passes the end");
    assert_refused(BYTES("\x06\x01\x01\x02\x00\x00\x01"), "passes the end"); /* its size is -1 */
    assert_refused(BYTES("\x06\x01\x06\x02\x00\x00\x01"), "not of the size");
    assert_refused(BYTES("\x06\x02\x02\x00"), "end inside");
    assert_refused(BYTES("\x06\x02\x02\x00\x80\x00\x01"), "shortest form");
    assert_refused(BYTES("\x06\x02\x82\x00\x00\x00\x01"), "shortest form");
    assert_refused(BYTES("\x06\x02\x02\x04\x00\x01"), "no such branch");
    assert_refused(BYTES("\x06"), "end inside");
}

/* A million blocks of one item each: memory follows the bytes, and time, too. */
static void many_small_blocks_cost_no_more_than_a_large_one(void **state)
{
    (void)state;
    enum { BLOCKS = 1000000 };
    struct banyan_buf buf = BANYAN_BUF_INIT(8000000);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct order order;
    banyan_buf_add(&buf, "\x06", 1);
    for (int i = 0; i < BLOCKS; i++)
        banyan_buf_add(&buf, "\x02\x02\x00", 3);
    banyan_buf_add(&buf, "\x00\x01", 2);
    assert_int_equal(banyan_record_decode_in(&order_record, banyan_buf_str(&buf), &arena, &order, NULL), BANYAN_OK);
    assert_int_equal(order.lines.count, BLOCKS);
    assert_int_equal(((struct line *)order.lines.items)[BLOCKS - 1].product, 1);
    assert_true(arena.bytes < 5 * BLOCKS * sizeof(struct line));
    banyan_arena_release(&arena);
    banyan_buf_release(&buf);
}

/* ---- what cannot be stored ---- */

static const struct banyan_record nothing_record = {"Nothing", 16, NULL, 0};
static const struct banyan_record endless_record;
static const struct banyan_field endless_fields[] = {
    {"more", BANYAN_FIELD_LIST, 0, 0, 0, &endless_record},
};
static const struct banyan_record endless_record = {"Endless", sizeof(struct banyan_list), endless_fields, 1};

static void records_that_cannot_be_stored_are_told(void **state)
{
    (void)state;
    struct banyan_field field = {"all", BANYAN_FIELD_LIST, 0, 0, 0, &nothing_record};
    struct banyan_record record = {"Bag", sizeof(struct banyan_list), &field, 1};
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_buf buf = BANYAN_BUF_INIT(1000);
    char item[16] = "";
    struct banyan_list list = {item, 1};

    assert_int_equal(banyan_record_check(&record, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.message, "record Bag, field all"));
    assert_int_equal(banyan_record_encode(&record, &list, &buf, NULL), BANYAN_INVALID);
    assert_int_equal(banyan_record_decode_in(&record, BYTES("\xfe\xff\xff\xff\x0f\x00"), &arena, &list, NULL),
                     BANYAN_CORRUPT);

    struct banyan_list ends[BANYAN_RECORD_DEPTH_MAX + 2] = {{NULL, 0}};
    for (int i = 0; i <= BANYAN_RECORD_DEPTH_MAX; i++)
        ends[i] = (struct banyan_list){&ends[i + 1], 1};
    assert_int_equal(banyan_record_check(&endless_record, NULL), BANYAN_INVALID);
    assert_int_equal(banyan_record_encode(&endless_record, &ends[0], &buf, NULL), BANYAN_INVALID);
    assert_int_equal(buf.size, 0);
    assert_int_equal(banyan_record_decode_in(&endless_record, BYTES("\x02\x02\x02\x02\x02\x00\x00\x00\x00\x00\x00"),
                                             &arena, &list, NULL),
                     BANYAN_CORRUPT);

    assert_int_equal(banyan_record_check(&order_record, NULL), BANYAN_OK);
    assert_int_equal(banyan_record_refuse_lists(&line_record, NULL), BANYAN_OK);
    err = (struct banyan_error)BANYAN_ERROR_INIT;
    assert_int_equal(banyan_record_refuse_lists(&order_record, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.message, "record Order, field lines"));
    struct order order;
    assert_int_equal(banyan_record_decode(&order_record, BYTES("\x06\x00\x01"), &order, NULL), BANYAN_INVALID);
    err = (struct banyan_error)BANYAN_ERROR_INIT;
    struct order wrong = {3, {NULL, 1}, true};
    assert_int_equal(banyan_record_encode(&order_record, &wrong, &buf, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.message, "no items"));
    struct line unset[] = {{1, {NULL, 0}}};
    struct banyan_field required = BANYAN_FIELD_STRING(struct line, note, 0);
    struct banyan_record strict_line = {"Line", sizeof(struct line), &required, 1};
    struct banyan_field lines = {"lines", BANYAN_FIELD_LIST, 0, 0, 0, &strict_line};
    struct banyan_record strict = {"Strict", sizeof(struct banyan_list), &lines, 1};
    err = (struct banyan_error)BANYAN_ERROR_INIT;
    assert_int_equal(banyan_record_encode(&strict, &(struct banyan_list){unset, 1}, &buf, &err), BANYAN_INVALID);
    assert_non_null(strstr(err.message, "record Strict, field lines, item 0: record Line, field note"));
    banyan_arena_release(&arena);
    banyan_buf_release(&buf);
}

/* ---- texts ---- */

struct tree {
    struct banyan_list left, right;
};

static const struct banyan_field tree_fields[] = {
    BANYAN_FIELD_LIST_OF(struct tree, left, &order_record),
    BANYAN_FIELD_LIST_OF(struct tree, right, &order_record),
};
static const struct banyan_record tree_record = {"Tree", sizeof(struct tree), tree_fields, 2};

static void items_are_named_by_their_place(void **state)
{
    (void)state;
    struct banyan_buf buf = BANYAN_BUF_INIT(10000);
    struct avro_schema *schema = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    banyan_record_schema(&order_record, &buf);
    assert_string_equal(buf.data,
                        "{\"type\":\"record\",\"name\":\"Order\",\"fields\":["
                        "{\"name\":\"id\",\"type\":\"long\"},"
                        "{\"name\":\"lines\",\"type\":{\"type\":\"array\",\"items\":"
                        "{\"type\":\"record\",\"name\":\"Order.lines.Line\",\"fields\":["
                        "{\"name\":\"product\",\"type\":\"long\"},"
                        "{\"name\":\"note\",\"type\":[\"null\",\"string\"],\"default\":null}]}},\"default\":[]},"
                        "{\"name\":\"paid\",\"type\":\"boolean\"}]}");
    banyan_buf_reset(&buf);
    banyan_record_schema(&tree_record, &buf);
    assert_non_null(strstr(buf.data, "\"Tree.left.lines.Line\""));
    assert_non_null(strstr(buf.data, "\"Tree.right.lines.Line\""));
    if (avro_parse(banyan_buf_str(&buf), &schema, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    avro_schema_free(schema);
    banyan_buf_release(&buf);
}

static void lists_are_json_arrays(void **state)
{
    (void)state;
    struct banyan_buf buf = BANYAN_BUF_INIT(1000);
    struct order order;
    banyan_record_json(&order_record, &an_order, &buf);
    assert_string_equal(
        buf.data,
        "{\"id\":3,\"lines\":[{\"product\":1,\"note\":null},{\"product\":-2,\"note\":\"ab\"}],\"paid\":true}");
    banyan_buf_reset(&buf);
    banyan_field_text(&order_fields[1], &an_order, &buf);
    assert_string_equal(buf.data, "[{\"product\":1,\"note\":null},{\"product\":-2,\"note\":\"ab\"}]");
    banyan_buf_reset(&buf);
    memset(&order, 0xAA, sizeof(order));
    banyan_record_init(&order_record, &order);
    banyan_record_json(&order_record, &order, &buf);
    assert_string_equal(buf.data, "{\"id\":0,\"lines\":[],\"paid\":false}");
    banyan_buf_release(&buf);
}

/* ---- random records ---- */

enum {
    ITEMS_MAX = 4,
};

/* Some fields become lists, as deep as *depth* allows. */
static const struct banyan_record *random_type(struct os_random *random, unsigned depth, struct banyan_arena *arena)
{
    struct random_record *type = banyan_arena_zalloc(arena, sizeof(*type));
    do {
        random_record_type(random, type);
    } while (type->record.field_count == 0);
    for (size_t i = 0; i < type->record.field_count && depth > 0; i++) {
        if (os_random_below(random, 5) != 0)
            continue;
        type->fields[i].kind = BANYAN_FIELD_LIST;
        type->fields[i].flags = 0;
        type->fields[i].scale = 0;
        type->fields[i].item = random_type(random, depth - 1, arena);
    }
    return &type->record;
}

static void random_value(struct os_random *random, const struct banyan_record *record, struct banyan_str text,
                         struct banyan_arena *arena, void *ret)
{
    random_record_value(random, record, text, ret);
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        if (field->kind != BANYAN_FIELD_LIST)
            continue;
        struct banyan_list *list = (struct banyan_list *)((char *)ret + field->offset);
        *list = (struct banyan_list){NULL, os_random_below(random, ITEMS_MAX)};
        if (list->count > 0)
            list->items = banyan_arena_zalloc(arena, list->count * field->item->size);
        for (size_t k = 0; k < list->count; k++)
            random_value(random, field->item, text, arena, (char *)list->items + k * field->item->size);
    }
}

struct round {
    struct os_random *random;
    struct banyan_arena arena;
    const struct banyan_record *record;
    void *value, *back;
    struct banyan_buf buf;
};

static void round_open(struct round *round, struct os_random *random)
{
    const struct banyan_str text = BANYAN_STR("plain text with \"quotes\" and \n more of it");
    *round = (struct round){.random = random, .buf = BANYAN_BUF_INIT((size_t)10000000)};
    round->record = random_type(random, (unsigned)os_random_below(random, BANYAN_RECORD_DEPTH_MAX), &round->arena);
    round->value = banyan_arena_zalloc(&round->arena, round->record->size);
    round->back = banyan_arena_zalloc(&round->arena, round->record->size);
    random_value(random, round->record, text, &round->arena, round->value);
}

static void round_close(struct round *round)
{
    banyan_arena_release(&round->arena);
    banyan_buf_release(&round->buf);
}

static void assert_same(const struct round *round, const void *value)
{
    if (banyan_record_diff(round->record, round->value, value) != 0) {
        struct banyan_buf a = BANYAN_BUF_INIT(100000), b = BANYAN_BUF_INIT(100000);
        banyan_record_json(round->record, round->value, &a);
        banyan_record_json(round->record, value, &b);
        fail_msg("%s\nbecame\n%s", a.data, b.data);
    }
}

static void random_lists_come_back(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "random_lists_come_back");
    for (unsigned i = 0; i < seed_rounds(5000); i++) {
        struct banyan_arena copies = BANYAN_ARENA_INIT;
        struct round round;
        round_open(&round, &random);
        assert_int_equal(banyan_record_encode(round.record, round.value, &round.buf, NULL), BANYAN_OK);
        struct banyan_buf tight = BANYAN_BUF_INIT(round.buf.size), small = BANYAN_BUF_INIT(round.buf.size - 1);
        assert_int_equal(banyan_record_encode(round.record, round.value, &tight, NULL), BANYAN_OK);
        assert_int_equal(tight.size, round.buf.size);
        assert_int_equal(banyan_record_encode(round.record, round.value, &small, NULL), BANYAN_LIMIT);
        assert_int_equal(small.size, 0);
        assert_int_equal(decode(round.record, banyan_buf_str(&round.buf), &round.arena, round.back, NULL), BANYAN_OK);
        assert_same(&round, round.back);

        /* Copies stand alone: what they were made of may change. */
        void *copy = banyan_arena_alloc(&copies, round.record->size);
        void *packed = malloc(banyan_record_packed_size(round.record, round.back));
        assert_non_null(packed);
        banyan_record_copy(round.record, copy, round.back, &copies);
        banyan_record_pack(round.record, round.back, packed);
        struct banyan_arena again = BANYAN_ARENA_INIT;
        void *value = round.value, *kept = banyan_arena_alloc(&again, round.record->size);
        banyan_record_copy(round.record, kept, value, &again);
        const struct banyan_record *record = round.record;
        assert_int_equal(banyan_record_diff(record, kept, copy), 0);
        assert_int_equal(banyan_record_diff(record, kept, packed), 0);
        banyan_buf_reset(&tight);
        assert_int_equal(banyan_record_encode(record, packed, &tight, NULL), BANYAN_OK);
        assert_int_equal(tight.size, round.buf.size);
        assert_memory_equal(tight.data, round.buf.data, tight.size);
        free(packed);
        banyan_arena_release(&copies);
        banyan_arena_release(&again);
        banyan_buf_release(&tight);
        banyan_buf_release(&small);
        round_close(&round);
    }
}

/* JSON → binary by the record's schema → record: how requests become payloads and commands. */
static void random_lists_come_back_from_json(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "random_lists_come_back_from_json");
    for (unsigned i = 0; i < seed_rounds(1000); i++) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        struct banyan_buf json = BANYAN_BUF_INIT(10000000), binary = BANYAN_BUF_INIT(10000000);
        struct avro_schema *schema = NULL;
        struct round round;
        round_open(&round, &random);
        banyan_record_schema(round.record, &round.buf);
        banyan_record_json(round.record, round.value, &json);
        if (avro_parse(banyan_buf_str(&round.buf), &schema, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        if (avro_from_json(schema, banyan_buf_str(&json), &binary, &err) != BANYAN_OK)
            fail_msg("%s: %s", json.data, err.message);
        assert_int_equal(avro_check(schema, banyan_buf_str(&binary), &err), BANYAN_OK);
        if (decode(round.record, banyan_buf_str(&binary), &round.arena, round.back, &err) != BANYAN_OK)
            fail_msg("%s", err.message);
        assert_same(&round, round.back);
        avro_schema_free(schema);
        banyan_buf_release(&json);
        banyan_buf_release(&binary);
        round_close(&round);
    }
}

static void one_change_is_one_difference(void **state)
{
    (void)state;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct order a, b;
    banyan_record_copy(&order_record, &a, &an_order, &arena);
    banyan_record_copy(&order_record, &b, &an_order, &arena);
    assert_int_equal(banyan_record_diff(&order_record, &a, &b), 0);
    ((struct line *)b.lines.items)[1].product++;
    assert_int_equal(banyan_record_diff(&order_record, &a, &b), 2);
    ((struct line *)b.lines.items)[1].product--;
    b.lines.count--;
    assert_int_equal(banyan_record_diff(&order_record, &a, &b), 2);
    banyan_arena_release(&arena);
}

static void hostile_bytes_are_refused_or_come_back(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "hostile_bytes_are_refused_or_come_back");
    unsigned accepted = 0;
    for (unsigned i = 0; i < seed_rounds(20000); i++) {
        struct round round;
        round_open(&round, &random);
        assert_int_equal(banyan_record_encode(round.record, round.value, &round.buf, NULL), BANYAN_OK);
        for (uint64_t changes = os_random_below(&random, 4); changes > 0; changes--)
            round.buf.data[os_random_below(&random, round.buf.size)] = (char)os_random_next(&random);
        struct banyan_arena arena = BANYAN_ARENA_INIT;
        enum banyan_status st = decode(round.record, banyan_buf_str(&round.buf), &arena, round.back, NULL);
        assert_true(st == BANYAN_OK || st == BANYAN_CORRUPT);
        /* An item of 16 fields of 32 bytes takes 16 bytes at least; decoding, doubling and copying are factors. */
        assert_true(arena.bytes < 1000000 + round.buf.size * RANDOM_FIELD_SIZE * 8);
        if (st == BANYAN_OK) {
            accepted++;
            banyan_buf_reset(&round.buf);
            round.value = round.back;
            assert_int_equal(banyan_record_encode(round.record, round.value, &round.buf, NULL), BANYAN_OK);
            round.back = banyan_arena_alloc(&arena, round.record->size);
            assert_int_equal(decode(round.record, banyan_buf_str(&round.buf), &arena, round.back, NULL), BANYAN_OK);
            assert_same(&round, round.back);
        }
        banyan_arena_release(&arena);
        round_close(&round);
    }
    assert_true(accepted > seed_rounds(20000) / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_arrays_of_the_specification),
        cmocka_unit_test(blocks_are_read_in_each_form),
        cmocka_unit_test(counts_cannot_promise_more_than_there_is),
        cmocka_unit_test(many_small_blocks_cost_no_more_than_a_large_one),
        cmocka_unit_test(records_that_cannot_be_stored_are_told),
        cmocka_unit_test(items_are_named_by_their_place),
        cmocka_unit_test(lists_are_json_arrays),
        cmocka_unit_test(one_change_is_one_difference),
        cmocka_unit_test(random_lists_come_back),
        cmocka_unit_test(random_lists_come_back_from_json),
        cmocka_unit_test(hostile_bytes_are_refused_or_come_back),
    };
    return cmocka_run_group_tests_name("schema-record_list", tests, NULL, NULL);
}
