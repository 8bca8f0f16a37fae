/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a text of fixed form, character by character. */
#ifndef BASE_SCAN_H
#define BASE_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/types.h"

/* What is left of the text. */
struct scan {
    const char *at, *end;
};

static inline struct scan scan_of(struct banyan_str text)
{
    return (struct scan){text.data, text.data + text.size};
}

static inline bool scan_char(struct scan *scan, char c)
{
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

/* Between *min* and *max* decimal digits, at most 18. */
static inline bool scan_digits(struct scan *scan, int min, int max, int64_t *ret)
{
    int64_t value = 0;
    int count = 0;

    for (; count < max && scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; count++)
        value = value * 10 + (*scan->at++ - '0');
    *ret = value;
    return count >= min;
}

#endif
