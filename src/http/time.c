/* SPDX-License-Identifier: Apache-2.0 */
/* Moments as people write them in a URL: those of schema/time_text.h, a little looser and within years 0 to 9999. */
#include "http/http_int.h"
#include "schema/time_text.h"

bool http_parse_time(const char *text, struct banyan_time *ret)
{
    char copy[TIME_TEXT_MAX];
    size_t size = 0;
    int fraction = 0; /* how many characters of it there are, the point included */
    if (text[0] < '0' || text[0] > '9')
        return false; /* not the infinities, and no year with a sign */
    for (const char *at = text; *at != '\0'; at++) {
        bool digit = *at >= '0' && *at <= '9';
        fraction = *at == '.' ? 1 : fraction > 0 && digit ? fraction + 1 : 0;
        if (fraction > 1 + TIME_DIGITS_MICROS)
            continue; /* what others measure finer is cut off */
        if (size == sizeof(copy))
            return false;
        copy[size++] = *at == ' ' ? '+' : *at; /* what a form makes of a plus */
    }
    return time_get_moment((struct banyan_str){copy, size}, TIME_DIGITS_MICROS, &ret->us);
}
