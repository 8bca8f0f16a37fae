/* SPDX-License-Identifier: Apache-2.0 */
/* The proleptic Gregorian calendar: days ↔ year, month, day.  Year 0 is 1 BC.  No time zone, no C library calendar. */
#ifndef BASE_CIVIL_H
#define BASE_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

struct civil_day {
    int64_t year;
    unsigned month, day; /* from 1 */
};

/* The day that is *days* after 1970-01-01; any number that milliseconds in 64 bits can reach. */
struct civil_day civil_of_days(int64_t days);
/* Days after 1970-01-01; false when the month has no such day.  |year| below 10^9. */
bool civil_to_days(struct civil_day civil, int64_t *ret_days);

#endif
