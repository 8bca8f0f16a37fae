/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Positions in the WAL as text: two halves in hexadecimal, "16/B374D848".
 *
 * Invariants: format() and parse() are inverse; parse() takes nothing that PostgreSQL would not.
 */
#include <stdio.h>

#include "pg/conn.h"

/* 1 to 8 hexadecimal digits from *at on. */
static bool parse_half(struct banyan_str text, size_t *at, uint32_t *ret)
{
    uint32_t value = 0;
    size_t start = *at;

    for (; *at < text.size && *at - start < 9; (*at)++) {
        char c = text.data[*at];
        uint32_t digit;

        if (c >= '0' && c <= '9')
            digit = (uint32_t)(c - '0');
        else if (c >= 'A' && c <= 'F')
            digit = (uint32_t)(c - 'A') + 10;
        else if (c >= 'a' && c <= 'f')
            digit = (uint32_t)(c - 'a') + 10;
        else
            break;
        value = value << 4 | digit;
    }
    *ret = value;
    return *at > start && *at - start <= 8;
}

bool pg_lsn_parse(struct banyan_str text, uint64_t *ret)
{
    uint32_t high, low;
    size_t at = 0;

    if (text.data == NULL || !parse_half(text, &at, &high) || at >= text.size || text.data[at] != '/')
        return false;
    at++;
    if (!parse_half(text, &at, &low) || at != text.size)
        return false;
    *ret = (uint64_t)high << 32 | low;
    return true;
}

static char *put_hex(char *at, uint32_t value)
{
    char digits[8];
    size_t count = 0;
    do
        digits[count++] = "0123456789ABCDEF"[value & 15];
    while ((value >>= 4) > 0);
    while (count > 0)
        *at++ = digits[--count];
    return at;
}

/* By hand: it is called for each key of each captured transaction. */
void pg_lsn_format(uint64_t lsn, char text[PG_LSN_TEXT_SIZE])
{
    char *at = put_hex(text, (uint32_t)(lsn >> 32));
    *at++ = '/';
    *put_hex(at, (uint32_t)lsn) = '\0';
}
