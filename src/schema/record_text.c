/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as people and other programs read them: JSON, and plain text as PostgreSQL prints it.
 *
 * Nothing passes through a double or through the C library's calendar: digits are exact, and no locale or time zone of
 * the process matters.  Times are proleptic Gregorian, UTC.
 */
#include "base/civil.h"
#include "schema/record_int.h"
#include "schema/time_text.h"

/* RFC 3339 with microseconds; other years than 0000 … 9999 as ISO 8601 writes them, with a sign and six digits. */
static void add_time_json(int64_t us, struct banyan_buf *ret)
{
    char text[TIME_TEXT_MAX + 2];
    text[0] = '"';
    char *to = time_put_moment(text + 1, us, TIME_DIGITS_MICROS);
    *to++ = '"';
    banyan_buf_add(ret, text, (size_t)(to - text));
}

/* As PostgreSQL's ISO style with TimeZone UTC: zeros at the end of the fraction are left out, BC behind. */
static void add_time_text(int64_t us, struct banyan_buf *ret)
{
    const int64_t day_us = INT64_C(86400) * 1000000;
    char text[TIME_TEXT_MAX];
    if (us == BANYAN_TIME_INFINITY || us == BANYAN_TIME_MINUS_INFINITY) {
        banyan_buf_add_text(ret, us > 0 ? "infinity" : "-infinity");
        return;
    }
    int64_t rest = us % day_us;
    bool before_epoch = rest < 0;
    struct civil_day civil = civil_of_days(us / day_us - before_epoch);
    bool before_christ = civil.year <= 0;
    char *to = time_put_digits(text, (uint64_t)(before_christ ? 1 - civil.year : civil.year), 4);
    *to++ = '-';
    to = time_put_digits(to, civil.month, 2);
    *to++ = '-';
    to = time_put_digits(to, civil.day, 2);
    *to++ = ' ';
    to = time_put_clock(to, before_epoch ? rest + day_us : rest, TIME_DIGITS_MICROS);
    while (to[-1] == '0')
        to--;
    if (to[-1] == '.')
        to--;
    banyan_buf_add(ret, text, (size_t)(to - text));
    banyan_buf_add_text(ret, before_christ ? "+00 BC" : "+00");
}

static void add_int(int64_t value, struct banyan_buf *ret)
{
    char text[24];
    char *to = text;
    if (value < 0)
        *to++ = '-';
    to = time_put_digits(to, value < 0 ? -(uint64_t)value : (uint64_t)value, 1);
    banyan_buf_add(ret, text, (size_t)(to - text));
}

static void add_decimal_json(struct banyan_decimal d, struct banyan_buf *ret)
{
    char text[BANYAN_DECIMAL_TEXT_MAX + 2];
    size_t size = banyan_decimal_format(d, text + 1);
    text[0] = '"';
    text[size + 1] = '"';
    banyan_buf_add(ret, text, size + 2);
}

bool banyan_field_has_value(const struct banyan_field *field, const void *value)
{
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        return field_string(field, value)->data != NULL;
    case BANYAN_FIELD_TIME:
        return field_time(field, value)->us != BANYAN_TIME_NULL;
    case BANYAN_FIELD_DECIMAL:
        return !banyan_decimal_is_null(*field_decimal(field, value));
    case BANYAN_FIELD_INT:
    case BANYAN_FIELD_BOOL:
    case BANYAN_FIELD_LIST:
        return true;
    case BANYAN_FIELD_NONE:
        break;
    }
    return false;
}

static void add_list_json(const struct banyan_field *field, const struct banyan_list *list, struct banyan_buf *ret)
{
    banyan_buf_add_char(ret, '[');
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0)
            banyan_buf_add_char(ret, ',');
        banyan_record_json(field->item, list_item(field, list, i), ret);
    }
    banyan_buf_add_char(ret, ']');
}

void banyan_field_json(const struct banyan_field *field, const void *value, struct banyan_buf *ret)
{
    if (!banyan_field_has_value(field, value)) {
        banyan_buf_add(ret, "null", 4);
        return;
    }
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        banyan_buf_add_json(ret, *field_string(field, value));
        break;
    case BANYAN_FIELD_INT:
        add_int(*field_int(field, value), ret);
        break;
    case BANYAN_FIELD_BOOL:
        banyan_buf_add_text(ret, *field_bool(field, value) ? "true" : "false");
        break;
    case BANYAN_FIELD_TIME:
        add_time_json(field_time(field, value)->us, ret);
        break;
    case BANYAN_FIELD_DECIMAL:
        add_decimal_json(*field_decimal(field, value), ret);
        break;
    case BANYAN_FIELD_LIST:
        add_list_json(field, field_list(field, value), ret);
        break;
    case BANYAN_FIELD_NONE:
        break;
    }
}

void banyan_field_text(const struct banyan_field *field, const void *value, struct banyan_buf *ret)
{
    if (!banyan_field_has_value(field, value))
        return;
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        banyan_buf_add_str(ret, *field_string(field, value));
        break;
    case BANYAN_FIELD_INT:
        add_int(*field_int(field, value), ret);
        break;
    case BANYAN_FIELD_BOOL:
        banyan_buf_add_char(ret, *field_bool(field, value) ? 't' : 'f');
        break;
    case BANYAN_FIELD_TIME:
        add_time_text(field_time(field, value)->us, ret);
        break;
    case BANYAN_FIELD_DECIMAL:
        banyan_buf_add_decimal(ret, *field_decimal(field, value));
        break;
    case BANYAN_FIELD_LIST:
        add_list_json(field, field_list(field, value), ret);
        break;
    case BANYAN_FIELD_NONE:
        break;
    }
}

void banyan_record_json(const struct banyan_record *record, const void *value, struct banyan_buf *ret)
{
    banyan_buf_add_char(ret, '{');
    for (size_t i = 0; i < record->field_count; i++) {
        if (i > 0)
            banyan_buf_add_char(ret, ',');
        banyan_buf_add_json(ret, banyan_str_of(record->fields[i].name));
        banyan_buf_add_char(ret, ':');
        banyan_field_json(&record->fields[i], value, ret);
    }
    banyan_buf_add_char(ret, '}');
}
