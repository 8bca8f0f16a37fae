/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of the record decoder: the first bytes choose a record type, the rest is decoded.
 *
 * What decodes must encode to the same bytes again (one value, one form), and its JSON must be JSON.
 * See README.md for how to build it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "banyan/record.h"

enum {
    FIELDS = 8,
    FIELD_SIZE = 32,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A byte a field: kind, flag and scale. */
static void make_type(const uint8_t bytes[FIELDS], struct banyan_field fields[FIELDS])
{
    static const char *const names[FIELDS] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (size_t i = 0; i < FIELDS; i++) {
        enum banyan_field_kind kind = (enum banyan_field_kind)(1 + bytes[i] % 5);
        bool optional = bytes[i] >= 128 && kind != BANYAN_FIELD_INT && kind != BANYAN_FIELD_BOOL;
        fields[i] = (struct banyan_field){
            .name = names[i],
            .kind = kind,
            .flags = optional ? BANYAN_FIELD_OPTIONAL : 0,
            .offset = i * FIELD_SIZE,
            .scale = kind == BANYAN_FIELD_DECIMAL ? bytes[i] % 39 : 0,
        };
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < FIELDS)
        return 0;
    struct banyan_field fields[FIELDS];
    make_type(data, fields);
    struct banyan_record record = {"Fuzzed", FIELDS * FIELD_SIZE, fields, FIELDS};
    struct banyan_str bytes = {(const char *)data + FIELDS, size - FIELDS};
    _Alignas(16) char value[FIELDS * FIELD_SIZE];
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (banyan_record_decode(&record, bytes, value, &err) != BANYAN_OK) {
        if (err.status != BANYAN_CORRUPT || err.message[0] == '\0')
            abort();
        return 0;
    }
    struct banyan_buf buf = BANYAN_BUF_INIT(size * 8 + 4096);
    if (banyan_record_encode(&record, value, &buf, NULL) != BANYAN_OK || buf.size != bytes.size ||
        memcmp(buf.data, bytes.data, bytes.size) != 0)
        abort();
    banyan_buf_reset(&buf);
    banyan_record_json(&record, value, &buf);
    json_t *json = json_loadb(buf.data, buf.size, JSON_ALLOW_NUL, NULL);
    if (json == NULL || buf.overflow)
        abort();
    json_decref(json);
    banyan_buf_release(&buf);
    return 0;
}
