/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calendar, counted from 0000-03-01: years that begin in March put the leap day last, and eras of 400 years all
 * have 146,097 days.
 */
#include "base/civil.h"

#include <assert.h>

enum {
    ERA_DAYS = 146097,
    EPOCH_DAYS = 719468, /* from 0000-03-01 to 1970-01-01 */
};

struct civil_day civil_of_days(int64_t days)
{
    int64_t shifted = days + EPOCH_DAYS;
    int64_t era = (shifted >= 0 ? shifted : shifted - (ERA_DAYS - 1)) / ERA_DAYS;
    unsigned day_of_era = (unsigned)(shifted - era * ERA_DAYS);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;
    unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;
    return (struct civil_day){
        .year = era * 400 + year_of_era + (month <= 2),
        .month = month,
        .day = day_of_year - (153 * march_month + 2) / 5 + 1,
    };
}

bool civil_to_days(struct civil_day civil, int64_t *ret_days)
{
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (civil.year % 4 == 0 && civil.year % 100 != 0) || civil.year % 400 == 0;
    assert(civil.year > -1000000000 && civil.year < 1000000000);
    if (civil.month < 1 || civil.month > 12 || civil.day < 1 ||
        civil.day > lengths[civil.month - 1] + (unsigned)(civil.month == 2 && leap))
        return false;
    int64_t year = civil.year - (civil.month <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * ((int64_t)civil.month + (civil.month > 2 ? -3 : 9)) + 2) / 5 + civil.day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    *ret_days = era * ERA_DAYS + day_of_era - EPOCH_DAYS;
    return true;
}
