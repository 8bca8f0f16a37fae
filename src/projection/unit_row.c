/* SPDX-License-Identifier: Apache-2.0 */
/* What all units share: the calls of apply(), and which rows are taken.  See unit.h. */
#include <string.h>

#include "banyan/record.h"
#include "projection/unit.h"

const void *banyan_unit_get(struct banyan_unit *unit, unsigned table, int64_t key)
{
    return ((struct unit_head *)unit)->ops->get(unit, table, key);
}

void banyan_unit_put(struct banyan_unit *unit, unsigned table, int64_t key, const void *row)
{
    ((struct unit_head *)unit)->ops->put(unit, table, key, row);
}

void banyan_unit_delete(struct banyan_unit *unit, unsigned table, int64_t key)
{
    ((struct unit_head *)unit)->ops->remove(unit, table, key);
}

/* Why a sink could not give this value back as it was; NULL: it can. */
static const char *objection(const struct banyan_field *field, const void *value)
{
    const void *at = (const char *)value + field->offset;
    bool optional = (field->flags & BANYAN_FIELD_OPTIONAL) != 0;
    switch (field->kind) {
    case BANYAN_FIELD_STRING: {
        const struct banyan_str *text = at;
        if (text->data == NULL)
            return optional ? NULL : "has no value but must have one";
        return text->size > 0 && memchr(text->data, 0, text->size) != NULL ? "has a NUL byte in its text" : NULL;
    }
    case BANYAN_FIELD_TIME:
        return !optional && ((const struct banyan_time *)at)->us == BANYAN_TIME_NULL ? "has no value but must have one"
                                                                                     : NULL;
    case BANYAN_FIELD_DECIMAL: {
        int32_t scale = ((const struct banyan_decimal *)at)->scale;
        if (scale == BANYAN_DECIMAL_NULL)
            return optional ? NULL : "has no value but must have one";
        return scale == field->scale || scale == BANYAN_DECIMAL_NAN ? NULL : "has another scale than its column";
    }
    case BANYAN_FIELD_INT:
    case BANYAN_FIELD_BOOL:
        return NULL;
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    return "has no kind";
}

enum banyan_status unit_check_row(const struct banyan_projection *projection, unsigned table, int64_t key,
                                  const void *row, struct banyan_error *err)
{
    const struct banyan_record *record = projection->tables[table].row;
    for (size_t i = 0; i < record->field_count; i++) {
        const char *why = objection(&record->fields[i], row);
        if (why != NULL)
            return banyan_error_set(err, BANYAN_INVALID, "row %lld of %s: column %s %s", (long long)key,
                                    projection->tables[table].name, record->fields[i].name, why);
    }
    return BANYAN_OK;
}

enum banyan_status unit_check_key(const struct banyan_projection *projection, unsigned table, int64_t key, bool bound,
                                  int64_t bound_key, struct banyan_error *err)
{
    if (table >= projection->table_count)
        return banyan_error_set(err, BANYAN_INVALID, "projection %s has no table %u", projection->name, table);
    if (!bound || key == bound_key)
        return BANYAN_OK;
    banyan_error_set(err, BANYAN_INVALID, "row %lld of %s: the event is of key %lld", (long long)key,
                     projection->tables[table].name, (long long)bound_key);
    banyan_error_hint(err, "a PARTITIONED projection touches only rows of the event's key: give it a key(), or make it "
                           "JOINED");
    return BANYAN_INVALID;
}
