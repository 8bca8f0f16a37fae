/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of values in JSON: the first byte says how long the choices are that make a schema; the rest is text.
 * What is taken is in the one form, and comes back from its own JSON as the same bytes.
 */
#include <stdint.h>

#include "support/random_avro.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void try(const struct avro_schema *schema, struct banyan_str text)
{
    struct banyan_buf first = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX), json = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX),
                      second = BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    enum banyan_status st = avro_from_json(schema, text, &first, &err);
    if (st != BANYAN_OK) {
        must((st == BANYAN_INVALID || st == BANYAN_LIMIT) && err.message[0] != '\0' && first.size == 0);
    } else {
        struct avro_plan *plan = NULL;
        must(avro_check(schema, banyan_buf_str(&first), NULL) == BANYAN_OK);
        must(avro_plan(schema, schema, &plan, NULL) == BANYAN_OK);
        must(avro_to_json(plan, banyan_buf_str(&first), &json, NULL) == BANYAN_OK);
        must(avro_from_json(schema, banyan_buf_str(&json), &second, NULL) == BANYAN_OK);
        must(banyan_str_equal(banyan_buf_str(&first), banyan_buf_str(&second)));
        avro_plan_free(plan);
    }
    banyan_buf_release(&first);
    banyan_buf_release(&json);
    banyan_buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t choices = data[0] < size - 1 ? data[0] : size - 1;
    struct random_avro r = {.at = data + 1, .end = data + 1 + choices};
    struct banyan_buf texts[2] = {BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX), BANYAN_BUF_INIT(RANDOM_AVRO_BYTES_MAX)};
    struct avro_schema *schema = NULL;
    random_avro_type(&r, &texts[0], &texts[1], 4);
    if (avro_parse(banyan_buf_str(&texts[1]), &schema, NULL) == BANYAN_OK) {
        size_t left = size - 1 - choices;
        char *exact = malloc(left == 0 ? 1 : left); /* of exact size, so that a read behind it is seen */
        must(exact != NULL);
        memcpy(exact, data + 1 + choices, left);
        try(schema, (struct banyan_str){exact, left});
        free(exact);
    }
    avro_schema_free(schema);
    banyan_buf_release(&texts[0]);
    banyan_buf_release(&texts[1]);
    return 0;
}
