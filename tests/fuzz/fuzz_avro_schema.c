/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of the parser of Avro schemas: the input is the text.
 *
 * What parses must have a canonical form that parses to the same form and fingerprint, must be the same as itself, and
 * must be able to read what it wrote.  What does not parse must say why.  See README.md for how to build it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "schema/avro.h"
#include "schema/avro_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool truth)
{
    if (!truth)
        abort();
}

/* The canonical form cannot say "the null namespace" inside another: such a schema does not come back. */
static bool mixes_namespaces(const struct avro_schema *schema)
{
    bool with = false, without = false;
    for (size_t i = 0; i < schema->type_count; i++) {
        const struct avro_type *type = schema->types[i];
        if (!avro_is_named(type))
            continue;
        with = with || type->name.size != type->simple_name.size;
        without = without || type->name.size == type->simple_name.size;
    }
    return with && without;
}

static void check_canonical(const struct avro_schema *schema)
{
    struct banyan_buf first = BANYAN_BUF_INIT(16 * 1024 * 1024), second = BANYAN_BUF_INIT(16 * 1024 * 1024);
    struct avro_schema *again = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    avro_canonical(schema, &first);
    need(!first.overflow);
    enum banyan_status st = avro_parse(banyan_buf_str(&first), &again, &err);
    if (st == BANYAN_LIMIT || mixes_namespaces(schema)) { /* full names can make the form longer than a text may be */
        avro_schema_free(again);
        banyan_buf_release(&first);
        return;
    }
    need(st == BANYAN_OK);
    avro_canonical(again, &second);
    need(banyan_str_equal(banyan_buf_str(&first), banyan_buf_str(&second)));
    need(avro_fingerprint(schema) == avro_fingerprint(again));
    avro_schema_free(again);
    banyan_buf_release(&first);
    banyan_buf_release(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct avro_schema *schema = NULL, *twin = NULL;
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct banyan_str text = {(const char *)data, size};
    enum banyan_status st = avro_parse(text, &schema, &err);
    if (st != BANYAN_OK) {
        need(st == BANYAN_INVALID || st == BANYAN_LIMIT);
        need(err.status == st && err.message[0] != '\0');
        return 0;
    }
    need(avro_parse(text, &twin, NULL) == BANYAN_OK);
    need(avro_same(schema, twin));
    need(avro_can_read(schema, twin, &err) == BANYAN_OK);
    const struct avro_schema *versions[] = {schema, NULL, twin};
    need(avro_compatible(AVRO_FULL_TRANSITIVE, twin, versions, 3, &err) == BANYAN_OK);
    check_canonical(schema);
    avro_schema_free(schema);
    avro_schema_free(twin);
    return 0;
}
