/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Properties over random pairs of schemas and random values: binary → JSON → binary is the same; what is resolved is
 * the reader's one form, and the same as through JSON; a plan exists if and only if the reader can read; cut or changed
 * bytes never break anything.  BANYAN_TEST_SEED repeats a run.
 */
#include "avro_codec.h"

#include "../../support/seed.h"
#include "support/random_avro.h"

enum {
    PAIRS = 400,
    VALUES = 6,
    DEPTH = 4,
};

struct pair {
    struct banyan_buf texts[2];
    struct avro_schema *writer, *reader;
};

static void make_pair(struct random_avro *r, struct pair *ret)
{
    *ret = (struct pair){{BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX), BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX)}, NULL, NULL};
    r->names = 0;
    r->outer = NULL;
    random_avro_type(r, &ret->texts[0], &ret->texts[1], DEPTH);
    ret->writer = codec_schema(ret->texts[0].data);
    ret->reader = codec_schema(ret->texts[1].data);
}

static void free_pair(struct pair *pair)
{
    avro_schema_free(pair->writer);
    avro_schema_free(pair->reader);
    banyan_buf_release(&pair->texts[0]);
    banyan_buf_release(&pair->texts[1]);
}

/* Binary → JSON → binary, to the byte. */
static void there_and_back(const struct avro_schema *schema, const char *text, struct banyan_str bytes)
{
    struct avro_plan *plan = codec_plan(schema, schema);
    struct banyan_buf json = BANYAN_BUF_INIT(CODEC_BYTES_MAX), back = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (avro_check(schema, bytes, &err) != BANYAN_OK || avro_to_json(plan, bytes, &json, &err) != BANYAN_OK ||
        avro_from_json(schema, banyan_buf_str(&json), &back, &err) != BANYAN_OK)
        fail_msg("%s: %s of %s", err.message, json.data == NULL ? "?" : json.data, text);
    codec_same(banyan_buf_str(&back), bytes, json.data);
    banyan_buf_reset(&back);
    assert_int_equal(avro_resolve(plan, bytes, &back, &err), BANYAN_OK);
    codec_same(banyan_buf_str(&back), bytes, text);
    banyan_buf_release(&json);
    banyan_buf_release(&back);
    avro_plan_free(plan);
}

/* Resolved to the reader's one form; to JSON at once, or after, gives the same text; and that gives the same bytes. */
static void resolved(const struct pair *pair, const struct avro_plan *plan, struct banyan_str bytes)
{
    struct avro_plan *own = codec_plan(pair->reader, pair->reader);
    struct banyan_buf binary = BANYAN_BUF_INIT(CODEC_BYTES_MAX), direct = BANYAN_BUF_INIT(CODEC_BYTES_MAX),
                      after = BANYAN_BUF_INIT(CODEC_BYTES_MAX), back = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (avro_resolve(plan, bytes, &binary, &err) != BANYAN_OK ||
        avro_check(pair->reader, banyan_buf_str(&binary), &err) != BANYAN_OK)
        fail_msg("%s\n%s\n%s", err.message, pair->texts[0].data, pair->texts[1].data);
    assert_int_equal(avro_to_json(plan, bytes, &direct, &err), BANYAN_OK);
    assert_int_equal(avro_to_json(own, banyan_buf_str(&binary), &after, &err), BANYAN_OK);
    codec_same_text(banyan_buf_str(&direct), after.data);
    /* Bytes that the reader takes for text become marks in JSON: only what is UTF-8 comes back. */
    if (strstr(after.data, "\xEF\xBF\xBD") == NULL) {
        if (avro_from_json(pair->reader, banyan_buf_str(&direct), &back, &err) != BANYAN_OK)
            fail_msg("%s: %s", err.message, direct.data);
        codec_same(banyan_buf_str(&back), banyan_buf_str(&binary), direct.data);
    }
    banyan_buf_release(&binary);
    banyan_buf_release(&direct);
    banyan_buf_release(&after);
    banyan_buf_release(&back);
    avro_plan_free(own);
}

static void random_values(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "random_values");
    struct random_avro r = {.random = &random};
    struct banyan_buf bytes = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    for (unsigned i = seed_rounds(PAIRS); i > 0; i--) {
        struct pair pair;
        make_pair(&r, &pair);
        struct avro_plan *plan = codec_plan(pair.writer, pair.reader);
        for (unsigned k = 0; k < VALUES; k++) {
            banyan_buf_reset(&bytes);
            random_avro_value(&r, pair.writer->root, 16, &bytes);
            there_and_back(pair.writer, pair.texts[0].data, banyan_buf_str(&bytes));
            resolved(&pair, plan, banyan_buf_str(&bytes));
        }
        avro_plan_free(plan);
        free_pair(&pair);
    }
    banyan_buf_release(&bytes);
}

static void a_plan_exists_where_the_reader_can_read(void **state)
{
    (void)state;
    struct os_random random;
    unsigned answers[2] = {0, 0};
    seed_start(&random, "a_plan_exists_where_the_reader_can_read");
    struct random_avro r = {.random = &random, .strange = 8};
    for (unsigned i = seed_rounds(PAIRS); i > 0; i--) {
        struct pair pair;
        struct avro_plan *plan = NULL;
        make_pair(&r, &pair);
        enum banyan_status can = avro_can_read(pair.reader, pair.writer, NULL);
        assert_int_equal(avro_plan(pair.writer, pair.reader, &plan, NULL), can);
        answers[can == BANYAN_OK]++;
        avro_plan_free(plan);
        free_pair(&pair);
    }
    assert_true(answers[0] > 0 && answers[1] > 0);
}

/* Whatever is done to the bytes: refused, or a value that is sound. */
static void changed_bytes(void **state)
{
    (void)state;
    struct os_random random;
    seed_start(&random, "changed_bytes");
    struct random_avro r = {.random = &random};
    struct banyan_buf bytes = BANYAN_BUF_INIT(CODEC_BYTES_MAX), ret = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    for (unsigned i = seed_rounds(PAIRS); i > 0; i--) {
        struct pair pair;
        make_pair(&r, &pair);
        struct avro_plan *plan = codec_plan(pair.writer, pair.reader);
        for (unsigned k = 0; k < VALUES; k++) {
            banyan_buf_reset(&bytes);
            random_avro_value(&r, pair.writer->root, 16, &bytes);
            size_t size = os_random_below(&random, bytes.size + 1);
            for (unsigned n = (unsigned)os_random_below(&random, 3); n > 0 && size > 0; n--)
                bytes.data[os_random_below(&random, size)] = (char)os_random_next(&random);
            char *exact = malloc(size == 0 ? 1 : size);
            assert_non_null(exact);
            if (size > 0)
                memcpy(exact, bytes.data, size);
            struct banyan_str cut = {exact, size};
            banyan_buf_reset(&ret);
            enum banyan_status st = avro_resolve(plan, cut, &ret, NULL);
            if (st == BANYAN_OK)
                assert_int_equal(avro_check(pair.reader, banyan_buf_str(&ret), NULL), BANYAN_OK);
            else
                assert_int_equal(ret.size, 0);
            banyan_buf_reset(&ret);
            assert_int_equal(avro_to_json(plan, cut, &ret, NULL), st);
            free(exact);
        }
        avro_plan_free(plan);
        free_pair(&pair);
    }
    banyan_buf_release(&bytes);
    banyan_buf_release(&ret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_values),
        cmocka_unit_test(a_plan_exists_where_the_reader_can_read),
        cmocka_unit_test(changed_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
