/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of values in binary: the first byte says how long the choices are that make a writer's and a reader's
 * schema; the rest is data.
 *
 * What is checked beyond "does not crash": a value that avro_check() takes is resolved to itself and comes back from
 * JSON the same; whatever is resolved is in the reader's one form, resolving again changes nothing, and both ways to
 * JSON agree; JSON that is printed is JSON.
 */
#include <stdint.h>

#include <jansson.h>

#include "support/random_avro.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static bool same(const struct banyan_buf *buf, struct banyan_str bytes)
{
    return banyan_str_equal(banyan_buf_str(buf), bytes);
}

static void must_be_json(const struct banyan_buf *text)
{
    json_error_t error;
    json_t *json =
        json_loadb(text->data, text->size, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    /* jansson also refuses numbers that its own types cannot hold, and NUL in keys; the grammar is what counts. */
    must(json != NULL || json_error_code(&error) == json_error_numeric_overflow ||
         json_error_code(&error) == json_error_null_byte_in_key);
    json_decref(json);
}

/* A value that its schema takes. */
static void sound(const struct avro_schema *schema, struct banyan_str bytes, bool text_is_whole)
{
    struct avro_plan *plan = NULL;
    struct banyan_buf buf = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX), back = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX);
    must(avro_plan(schema, schema, &plan, NULL) == BANYAN_OK);
    must(avro_resolve(plan, bytes, &buf, NULL) == BANYAN_OK && same(&buf, bytes));
    banyan_buf_reset(&buf);
    enum banyan_status st = avro_to_json(plan, bytes, &buf, NULL);
    must(st == BANYAN_OK || st == BANYAN_LIMIT);
    if (st == BANYAN_OK) {
        must_be_json(&buf);
        st = avro_from_json(schema, banyan_buf_str(&buf), &back, NULL);
        must(st == BANYAN_OK && avro_check(schema, banyan_buf_str(&back), NULL) == BANYAN_OK);
        must(!text_is_whole || same(&back, bytes));
    }
    avro_plan_free(plan);
    banyan_buf_release(&buf);
    banyan_buf_release(&back);
}

static void try(const struct avro_schema *writer, const struct avro_schema *reader, struct banyan_str bytes)
{
    struct avro_plan *plan = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_buf buf = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX), json = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX);
    enum banyan_status can = avro_can_read(reader, writer, NULL), st = avro_plan(writer, reader, &plan, &err);
    must(st == can);
    if (avro_check(writer, bytes, NULL) == BANYAN_OK)
        sound(writer, bytes, false);
    if (st != BANYAN_OK) {
        must(st == BANYAN_CONFLICT && err.message[0] != '\0');
        return;
    }
    st = avro_resolve(plan, bytes, &buf, &err);
    must(st == BANYAN_OK || err.message[0] != '\0');
    enum banyan_status printed = avro_to_json(plan, bytes, &json, NULL);
    must(printed == st || printed == BANYAN_LIMIT || st == BANYAN_LIMIT);
    if (st == BANYAN_OK) {
        must(avro_check(reader, banyan_buf_str(&buf), NULL) == BANYAN_OK);
        sound(reader, banyan_buf_str(&buf), false);
    }
    if (printed == BANYAN_OK)
        must_be_json(&json);
    avro_plan_free(plan);
    banyan_buf_release(&buf);
    banyan_buf_release(&json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t choices = data[0] < size - 1 ? data[0] : size - 1;
    struct random_avro r = {.at = data + 1, .end = data + 1 + choices, .strange = 40};
    struct banyan_buf texts[2] = {BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX), BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX)};
    struct avro_schema *writer = NULL, *reader = NULL;
    random_avro_type(&r, &texts[0], &texts[1], 4);
    struct banyan_str bytes = {(const char *)data + 1 + choices, size - 1 - choices};
    if (avro_parse(banyan_buf_str(&texts[0]), &writer, NULL) == BANYAN_OK &&
        avro_parse(banyan_buf_str(&texts[1]), &reader, NULL) == BANYAN_OK) {
        char *exact = malloc(bytes.size == 0 ? 1 : bytes.size); /* of exact size, so that a read behind it is seen */
        must(exact != NULL);
        memcpy(exact, bytes.data, bytes.size);
        try(writer, reader, (struct banyan_str){exact, bytes.size});
        free(exact);
    }
    avro_schema_free(writer);
    avro_schema_free(reader);
    banyan_buf_release(&texts[0]);
    banyan_buf_release(&texts[1]);
    return 0;
}
