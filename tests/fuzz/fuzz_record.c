/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of the record decoder: the first bytes choose a record type, the next those of the items of its lists, and
 * of the items of lists in them; the rest is decoded.
 *
 * What decodes must come back from its bytes; without lists they are the same bytes again (one value, one form).  Its
 * copies and its JSON must be what they should.  See README.md for how to build it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "banyan/record.h"

enum {
    FIELDS = 8,
    FIELD_SIZE = 32,
    LEVELS = 3,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A byte a field: kind, flag and scale.  *item*: of its lists; NULL: it has none. */
static void make_type(const uint8_t bytes[FIELDS], struct banyan_field fields[FIELDS], const struct banyan_record *item)
{
    static const char *const names[FIELDS] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    for (size_t i = 0; i < FIELDS; i++) {
        enum banyan_field_kind kind = (enum banyan_field_kind)(1 + bytes[i] % (item == NULL ? 5 : 6));
        bool optional = bytes[i] >= 128 && kind != BANYAN_FIELD_INT && kind != BANYAN_FIELD_BOOL;
        fields[i] = (struct banyan_field){
            .name = names[i],
            .kind = kind,
            .flags = optional && kind != BANYAN_FIELD_LIST ? BANYAN_FIELD_OPTIONAL : 0,
            .offset = i * FIELD_SIZE,
            .scale = kind == BANYAN_FIELD_DECIMAL ? bytes[i] % 39 : 0,
            .item = kind == BANYAN_FIELD_LIST ? item : NULL,
        };
    }
}

static void must(bool right)
{
    if (!right)
        abort();
}

static void check_json(const struct banyan_record *record, const void *value, size_t size)
{
    struct banyan_buf buf = BANYAN_BUF_INIT(size * 256 + 4096);
    banyan_record_json(record, value, &buf);
    json_t *json = json_loadb(buf.data, buf.size, JSON_ALLOW_NUL, NULL);
    must(json != NULL && !buf.overflow);
    json_decref(json);
    banyan_buf_release(&buf);
}

static void check_value(const struct banyan_record *record, struct banyan_str bytes, const void *value,
                        struct banyan_arena *arena)
{
    struct banyan_buf buf = BANYAN_BUF_INIT(bytes.size + 4096);
    bool lists = banyan_record_refuse_lists(record, NULL) != BANYAN_OK;
    void *back = banyan_arena_alloc(arena, record->size);
    must(banyan_record_encode(record, value, &buf, NULL) == BANYAN_OK);
    must(buf.size <= bytes.size); /* several blocks are longer than one */
    must(lists || (buf.size == bytes.size && memcmp(buf.data, bytes.data, bytes.size) == 0));
    must(banyan_record_decode_in(record, banyan_buf_str(&buf), arena, back, NULL) == BANYAN_OK);
    must(banyan_record_diff(record, value, back) == 0);
    void *packed = malloc(banyan_record_packed_size(record, value));
    must(packed != NULL);
    banyan_record_pack(record, value, packed);
    must(banyan_record_diff(record, value, packed) == 0);
    free(packed);
    banyan_buf_release(&buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < (size_t)LEVELS * FIELDS)
        return 0;
    struct banyan_field fields[LEVELS][FIELDS];
    struct banyan_record records[LEVELS];
    for (int level = LEVELS - 1; level >= 0; level--) {
        make_type(data + level * FIELDS, fields[level], level == LEVELS - 1 ? NULL : &records[level + 1]);
        records[level] = (struct banyan_record){"Fuzzed", FIELDS * FIELD_SIZE, fields[level], FIELDS};
    }
    struct banyan_str bytes = {(const char *)data + LEVELS * FIELDS, size - LEVELS * FIELDS};
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    _Alignas(16) char value[FIELDS * FIELD_SIZE];
    struct banyan_error err = BANYAN_ERROR_INIT;
    if (banyan_record_decode_in(&records[0], bytes, &arena, value, &err) == BANYAN_OK) {
        check_value(&records[0], bytes, value, &arena);
        check_json(&records[0], value, size);
    } else {
        must(err.status == BANYAN_CORRUPT && err.message[0] != '\0');
    }
    banyan_arena_release(&arena);
    return 0;
}
