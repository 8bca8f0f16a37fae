/* SPDX-License-Identifier: Apache-2.0 */
/* How the room's files reach a field of a value: one typed accessor a kind. */
#ifndef SCHEMA_RECORD_INT_H
#define SCHEMA_RECORD_INT_H

#include "banyan/record.h"

static inline const struct banyan_str *field_string(const struct banyan_field *field, const void *value)
{
    return (const struct banyan_str *)((const char *)value + field->offset);
}

static inline const int64_t *field_int(const struct banyan_field *field, const void *value)
{
    return (const int64_t *)((const char *)value + field->offset);
}

static inline const bool *field_bool(const struct banyan_field *field, const void *value)
{
    return (const bool *)((const char *)value + field->offset);
}

static inline const struct banyan_time *field_time(const struct banyan_field *field, const void *value)
{
    return (const struct banyan_time *)((const char *)value + field->offset);
}

static inline const struct banyan_decimal *field_decimal(const struct banyan_field *field, const void *value)
{
    return (const struct banyan_decimal *)((const char *)value + field->offset);
}

static inline const struct banyan_list *field_list(const struct banyan_field *field, const void *value)
{
    return (const struct banyan_list *)((const char *)value + field->offset);
}

static inline const void *list_item(const struct banyan_field *field, const struct banyan_list *list, size_t index)
{
    return (const char *)list->items + index * field->item->size;
}

/* INT and BOOL have no bit pattern for "no value", and a list is empty then: the flag means nothing there. */
static inline bool field_is_union(const struct banyan_field *field)
{
    return (field->flags & BANYAN_FIELD_OPTIONAL) != 0 && field->kind != BANYAN_FIELD_INT &&
           field->kind != BANYAN_FIELD_BOOL && field->kind != BANYAN_FIELD_LIST;
}

#endif
