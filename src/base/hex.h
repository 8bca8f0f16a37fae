/* SPDX-License-Identifier: Apache-2.0 */
/* Eight hex digits at once: what ids and digests in every event's metadata are made of. */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include <byteswap.h>
#include <stdint.h>
#include <string.h>

/* The digits of *value*, highest first, as they lie in memory. */
static inline uint64_t hex_digits(uint32_t value)
{
    uint64_t x = value;
    x = (x << 16 | x) & UINT64_C(0x0000FFFF0000FFFF);
    x = (x << 8 | x) & UINT64_C(0x00FF00FF00FF00FF);
    x = (x << 4 | x) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    /* A digit above 9 plus 6 has bit 4 set: it gets the distance from '9' + 1 to 'a' on top. */
    uint64_t letters = (x + UINT64_C(0x0606060606060606)) >> 4 & UINT64_C(0x0101010101010101);
    return bswap_64(x + UINT64_C(0x3030303030303030) + letters * ('a' - '9' - 1));
}

/* Eight digits; returns the end. */
static inline char *hex_put(char *to, uint32_t value)
{
    uint64_t digits = hex_digits(value);
    memcpy(to, &digits, sizeof(digits));
    return to + sizeof(digits);
}

#endif
