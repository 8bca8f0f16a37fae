/* SPDX-License-Identifier: Apache-2.0 */
/* Schemas from text, bytes from hexadecimal: for the tests of the codec. */
#ifndef SCHEMA_AVRO_CODEC_H
#define SCHEMA_AVRO_CODEC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "schema/avro.h"

enum {
    CODEC_BYTES_MAX = 64 * 1024 * 1024,
};

static inline struct avro_schema *codec_schema(const char *text)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct avro_schema *schema = NULL;
    if (avro_parse(banyan_str_of(text), &schema, &err) != BANYAN_OK)
        fail_msg("%s: %s", text, err.message);
    return schema;
}

/* "06 66 6f 6f" → bytes, in memory of just that size, so that the sanitizer sees a read behind them; free() it. */
static inline struct banyan_str codec_bytes(const char *hex)
{
    size_t size = 0;
    char *bytes = malloc(strlen(hex) / 2 + 1), *exact;
    assert_non_null(bytes);
    for (const char *at = hex; *at != '\0';) {
        if (*at == ' ') {
            at++;
            continue;
        }
        char pair[3] = {at[0], at[1], '\0'};
        bytes[size++] = (char)strtoul(pair, NULL, 16);
        at += 2;
    }
    exact = malloc(size == 0 ? 1 : size);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    free(bytes);
    return (struct banyan_str){exact, size};
}

static inline void codec_free(struct banyan_str bytes)
{
    free((void *)(uintptr_t)bytes.data);
}

static inline void codec_same(struct banyan_str found, struct banyan_str wanted, const char *what)
{
    if (banyan_str_equal(found, wanted))
        return;
    struct banyan_buf text = BANYAN_BUF_INIT(CODEC_BYTES_MAX);
    for (size_t i = 0; i < found.size; i++)
        banyan_buf_printf(&text, "%02x ", (unsigned char)found.data[i]);
    banyan_buf_add_text(&text, " instead of  ");
    for (size_t i = 0; i < wanted.size; i++)
        banyan_buf_printf(&text, "%02x ", (unsigned char)wanted.data[i]);
    fail_msg("%s: %s", what, text.data);
}

static inline void codec_same_text(struct banyan_str found, const char *wanted)
{
    if (!banyan_str_equal(found, banyan_str_of(wanted)))
        fail_msg("%.*s instead of %s", (int)found.size, found.data, wanted);
}

static inline struct avro_plan *codec_plan(const struct avro_schema *writer, const struct avro_schema *reader)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct avro_plan *plan = NULL;
    if (avro_plan(writer, reader, &plan, &err) != BANYAN_OK)
        fail_msg("%s", err.message);
    return plan;
}

#endif
