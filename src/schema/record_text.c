/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as people and other programs read them: JSON, and plain text as PostgreSQL prints it.
 *
 * Nothing passes through a double or through the C library's calendar: digits are exact, and no locale or time zone of
 * the process matters.  Times are proleptic Gregorian, UTC.
 */
#include <assert.h>
#include <stdlib.h>

#include "schema/record_int.h"

enum {
    TIME_TEXT_MAX = 48,
    INT_TEXT_MAX = 24,
};

/* A moment as the calendar has it. */
struct civil {
    int64_t year; /* 0 is 1 BC */
    unsigned month, day, hour, minute, second, us;
};

static struct civil civil_of(int64_t us)
{
    const int64_t day_us = INT64_C(86400) * 1000000;
    int64_t days = us / day_us;
    int64_t rest = us % day_us;
    if (rest < 0) {
        rest += day_us;
        days--;
    }
    /* Years that begin in March put the leap day last; eras of 400 years all have 146,097 days. */
    int64_t shifted = days + 719468; /* days since 0000-03-01 */
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    unsigned day_of_era = (unsigned)(shifted - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;
    unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;
    unsigned second_of_day = (unsigned)(rest / 1000000);
    return (struct civil){
        .year = era * 400 + year_of_era + (month <= 2),
        .month = month,
        .day = day_of_year - (153 * march_month + 2) / 5 + 1,
        .hour = second_of_day / 3600,
        .minute = second_of_day / 60 % 60,
        .second = second_of_day % 60,
        .us = (unsigned)(rest % 1000000),
    };
}

/* *value* with at least *width* digits, zeros in front. */
static char *put_digits(char *to, uint64_t value, int width)
{
    char memory[INT_TEXT_MAX];
    char *end = memory + sizeof(memory);
    char *at = end;
    while (value > 0 || end - at < width) {
        *--at = (char)('0' + value % 10);
        value /= 10;
    }
    memcpy(to, at, (size_t)(end - at));
    return to + (end - at);
}

static char *put_two(char *to, unsigned value, char before)
{
    to[0] = before;
    to[1] = (char)('0' + value / 10);
    to[2] = (char)('0' + value % 10);
    return to + 3;
}

/* Behind the year: "-05-01T00:00:04". */
static char *put_month_to_second(char *to, const struct civil *civil, char separator)
{
    to = put_two(to, civil->month, '-');
    to = put_two(to, civil->day, '-');
    to = put_two(to, civil->hour, separator);
    to = put_two(to, civil->minute, ':');
    return put_two(to, civil->second, ':');
}

static char *put_word(char *to, const char *word)
{
    size_t size = strlen(word);
    memcpy(to, word, size);
    return to + size;
}

/* The words of the two infinities, or NULL. */
static const char *infinity_word(int64_t us)
{
    return us == BANYAN_TIME_INFINITY ? "infinity" : us == BANYAN_TIME_MINUS_INFINITY ? "-infinity" : NULL;
}

/* RFC 3339 with microseconds; other years than 0000 … 9999 as ISO 8601 writes them, with a sign and six digits. */
static void add_time_json(int64_t us, struct banyan_buf *ret)
{
    char text[TIME_TEXT_MAX];
    char *to = text;
    const char *word = infinity_word(us);
    *to++ = '"';
    if (word != NULL) {
        to = put_word(to, word);
    } else {
        struct civil civil = civil_of(us);
        bool usual = civil.year >= 0 && civil.year <= 9999;
        if (!usual)
            *to++ = civil.year < 0 ? '-' : '+';
        to = put_digits(to, (uint64_t)llabs(civil.year), usual ? 4 : 6);
        to = put_month_to_second(to, &civil, 'T');
        *to++ = '.';
        to = put_digits(to, civil.us, 6);
        *to++ = 'Z';
    }
    *to++ = '"';
    assert(to - text <= TIME_TEXT_MAX);
    banyan_buf_add(ret, text, (size_t)(to - text));
}

/* As PostgreSQL's ISO style with TimeZone UTC: zeros at the end of the fraction are left out, BC behind. */
static void add_time_text(int64_t us, struct banyan_buf *ret)
{
    char text[TIME_TEXT_MAX];
    char *to = text;
    const char *word = infinity_word(us);
    if (word != NULL) {
        to = put_word(to, word);
    } else {
        struct civil civil = civil_of(us);
        bool before_christ = civil.year <= 0;
        to = put_digits(to, (uint64_t)(before_christ ? 1 - civil.year : civil.year), 4);
        to = put_month_to_second(to, &civil, ' ');
        if (civil.us != 0) {
            *to++ = '.';
            to = put_digits(to, civil.us, 6);
            while (to[-1] == '0')
                to--;
        }
        to = put_word(to, before_christ ? "+00 BC" : "+00");
    }
    assert(to - text <= TIME_TEXT_MAX);
    banyan_buf_add(ret, text, (size_t)(to - text));
}

static void add_int(int64_t value, struct banyan_buf *ret)
{
    char text[INT_TEXT_MAX];
    char *to = text;
    if (value < 0)
        *to++ = '-';
    to = put_digits(to, value < 0 ? -(uint64_t)value : (uint64_t)value, 1);
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

static bool has_value(const struct banyan_field *field, const void *value)
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
        return true;
    case BANYAN_FIELD_NONE:
        break;
    }
    return false;
}

void banyan_field_json(const struct banyan_field *field, const void *value, struct banyan_buf *ret)
{
    if (!has_value(field, value)) {
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
    case BANYAN_FIELD_NONE:
        break;
    }
}

void banyan_field_text(const struct banyan_field *field, const void *value, struct banyan_buf *ret)
{
    if (!has_value(field, value))
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
