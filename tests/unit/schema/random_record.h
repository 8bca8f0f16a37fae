/* SPDX-License-Identifier: Apache-2.0 */
/* Random record types and values, for the property tests of this room: every kind, order, flag and scale comes up. */
#ifndef SCHEMA_RANDOM_RECORD_H
#define SCHEMA_RANDOM_RECORD_H

#include <string.h>

#include "banyan/record.h"
#include "os/random.h"

enum {
    RANDOM_FIELDS_MAX = 16,
    RANDOM_FIELD_SIZE = 32, /* holds each kind */
};

struct random_record {
    struct banyan_record record;
    struct banyan_field fields[RANDOM_FIELDS_MAX];
    char names[RANDOM_FIELDS_MAX][4];
};

static inline void random_record_type(struct os_random *random, struct random_record *ret)
{
    size_t count = os_random_below(random, RANDOM_FIELDS_MAX + 1);
    for (size_t i = 0; i < count; i++) {
        struct banyan_field *field = &ret->fields[i];
        ret->names[i][0] = 'f';
        ret->names[i][1] = (char)('a' + i);
        ret->names[i][2] = '\0';
        *field = (struct banyan_field){
            .name = ret->names[i],
            .kind = (enum banyan_field_kind)(1 + os_random_below(random, 5)),
            .offset = i * RANDOM_FIELD_SIZE,
        };
        if (field->kind != BANYAN_FIELD_INT && field->kind != BANYAN_FIELD_BOOL && os_random_below(random, 2) == 0)
            field->flags = BANYAN_FIELD_OPTIONAL;
        if (field->kind == BANYAN_FIELD_DECIMAL)
            field->scale = (int32_t)os_random_below(random, 39);
    }
    ret->record = (struct banyan_record){"Random", count * RANDOM_FIELD_SIZE, ret->fields, count};
}

/* Any number of bits is equally likely, and either sign. */
static inline int64_t random_int(struct os_random *random)
{
    uint64_t bits = os_random_next(random) >> os_random_below(random, 64);
    return (int64_t)(os_random_below(random, 2) == 0 ? bits : ~bits);
}

static inline struct banyan_decimal random_units(struct os_random *random, int32_t scale)
{
    unsigned __int128 limit = 1;
    for (uint64_t digits = os_random_below(random, 39); digits > 0; digits--)
        limit *= 10;
    unsigned __int128 units = ((unsigned __int128)os_random_next(random) << 64 | os_random_next(random)) % limit;
    if (os_random_below(random, 4) == 0)
        units = limit - 1;
    __int128 value = (__int128)units;
    return (struct banyan_decimal){os_random_below(random, 2) == 0 ? value : -value, scale};
}

/* Strings point into *text*, which the caller has filled; half of the optional fields get no value. */
static inline void random_record_value(struct os_random *random, const struct banyan_record *record,
                                       struct banyan_str text, void *value)
{
    banyan_record_init(record, value);
    for (size_t i = 0; i < record->field_count; i++) {
        const struct banyan_field *field = &record->fields[i];
        char *at = (char *)value + field->offset;
        if ((field->flags & BANYAN_FIELD_OPTIONAL) != 0 && os_random_below(random, 2) == 0)
            continue;
        switch (field->kind) {
        case BANYAN_FIELD_STRING: {
            size_t start = os_random_below(random, text.size + 1);
            size_t size = os_random_below(random, os_random_below(random, 5) == 0 ? text.size - start + 1 : 1);
            if (size == 0 && start + 10 < text.size)
                size = os_random_below(random, 10);
            *(struct banyan_str *)at = (struct banyan_str){text.data + start, size};
            break;
        }
        case BANYAN_FIELD_INT:
            *(int64_t *)at = random_int(random);
            break;
        case BANYAN_FIELD_BOOL:
            *(bool *)at = os_random_below(random, 2) == 1;
            break;
        case BANYAN_FIELD_TIME:
            ((struct banyan_time *)at)->us = random_int(random);
            if (((struct banyan_time *)at)->us == BANYAN_TIME_NULL || os_random_below(random, 20) == 0)
                ((struct banyan_time *)at)->us =
                    os_random_below(random, 2) == 0 ? BANYAN_TIME_INFINITY : BANYAN_TIME_MINUS_INFINITY;
            break;
        case BANYAN_FIELD_DECIMAL:
            *(struct banyan_decimal *)at = random_units(random, field->scale);
            if (os_random_below(random, 20) == 0)
                *(struct banyan_decimal *)at = (struct banyan_decimal){0, BANYAN_DECIMAL_NAN};
            break;
        case BANYAN_FIELD_LIST:
        case BANYAN_FIELD_NONE:
            break;
        }
    }
}

#endif
