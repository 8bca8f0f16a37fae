/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Avro's binary primitives: what the codec of records and that of schemas share.
 *
 * Readers touch no byte outside the input.  They accept each legal spelling, and note in *irregular* a spelling that
 * the writers here would not have used: who wants one form for each value refuses it.
 */
#ifndef SCHEMA_WIRE_H
#define SCHEMA_WIRE_H

#include <byteswap.h>
#include <stdint.h>
#include <string.h>

#include "banyan/decimal.h"
#include "banyan/types.h"

enum {
    WIRE_LONG_BYTES_MAX = 10,
    WIRE_DECIMAL_BYTES_MAX = 16,
};

/* ---- writing: each returns the end ---- */

static inline unsigned char *wire_put_long(unsigned char *to, int64_t value)
{
    uint64_t bits = (uint64_t)value << 1 ^ (uint64_t)(value >> 63);
    while (bits >= 0x80) {
        *to++ = (unsigned char)(bits | 0x80);
        bits >>= 7;
    }
    *to++ = (unsigned char)bits;
    return to;
}

/* Length and the shortest two's complement, big-endian.  Up to seven bytes behind the end are overwritten, too. */
static inline unsigned char *wire_put_units(unsigned char *to, __int128 units)
{
    int64_t low = (int64_t)units;
    if ((__int128)low == units) {
        unsigned size = (unsigned)(64 - __builtin_clrsbll(low) + 7) / 8;
        uint64_t word = bswap_64((uint64_t)low << (64 - 8 * size));
        *to++ = (unsigned char)(size << 1);
        memcpy(to, &word, sizeof(word)); /* bytes past *size* are overwritten by the next field or cut off */
        return to + size;
    }
    int64_t high = (int64_t)(units >> 64);
    unsigned size = (unsigned)(64 - __builtin_clrsbll(high) + 7) / 8;
    /* high may be nothing but the sign of low: then its one byte is needed just for that sign. */
    uint64_t words[2] = {bswap_64((uint64_t)high << (64 - 8 * size)), bswap_64((uint64_t)low)};
    *to++ = (unsigned char)((size + 8) << 1);
    memcpy(to, &words[0], 8);
    memcpy(to + size, &words[1], 8);
    return to + size + 8;
}

/* ---- reading: NULL, or what is wrong ---- */

struct wire_input {
    const unsigned char *at;
    const unsigned char *end;
    const char *irregular; /* what was legal but not in its one form; NULL: nothing so far */
};

static inline const char *wire_cut_off(void)
{
    return "the bytes end inside the value";
}

static inline const char *wire_get_long(struct wire_input *in, int64_t *ret)
{
    uint64_t bits = 0;
    const unsigned char *at = in->at;
    for (unsigned shift = 0;; shift += 7) {
        if (at == in->end)
            return wire_cut_off();
        unsigned char byte = *at++;
        if (shift == 63 && byte > 1)
            return "the integer has more than 64 bits";
        bits |= (uint64_t)(byte & 0x7F) << shift;
        if (byte >= 0x80)
            continue;
        if (byte == 0 && shift > 0)
            in->irregular = "the integer is not in its shortest form";
        in->at = at;
        *ret = (int64_t)(bits >> 1 ^ -(bits & 1));
        return NULL;
    }
}

/* *size* bytes as they are. */
static inline const char *wire_get_raw(struct wire_input *in, size_t size, struct banyan_str *ret)
{
    if (size > (size_t)(in->end - in->at))
        return wire_cut_off();
    *ret = (struct banyan_str){(const char *)in->at, size};
    in->at += size;
    return NULL;
}

static inline const char *wire_get_bytes(struct wire_input *in, struct banyan_str *ret)
{
    int64_t size = 0;
    const char *fault = wire_get_long(in, &size);
    if (fault != NULL)
        return fault;
    if (size < 0)
        return "the length is negative";
    return wire_get_raw(in, (size_t)size, ret);
}

static inline const char *wire_get_boolean(struct wire_input *in, bool *ret)
{
    if (in->at == in->end)
        return wire_cut_off();
    unsigned char byte = *in->at++;
    if (byte > 1)
        return "the truth value is neither 0 nor 1";
    *ret = byte == 1;
    return NULL;
}

/* Two's complement, big-endian, 1 to 16 bytes; *end* is that of the memory. */
static inline __int128 wire_units_of(const unsigned char *at, size_t size, const unsigned char *end)
{
    if (size <= 8 && end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word)); /* some bytes belong to what follows: the shift drops them */
        return (int64_t)bswap_64(word) >> (64 - 8 * size);
    }
    unsigned __int128 units = (at[0] & 0x80) != 0 ? ~(unsigned __int128)0 : 0;
    for (size_t i = 0; i < size; i++)
        units = units << 8 | at[i];
    return (__int128)units;
}

/* Does the first byte only repeat the sign of the second? */
static inline bool wire_repeats_sign(const unsigned char *at, size_t size)
{
    return size > 1 && (at[0] == 0 ? at[1] < 0x80 : at[0] == 0xFF && at[1] >= 0x80);
}

/* Units of a decimal of any number of bytes but 0; the number of digits is for the caller to check. */
static inline const char *wire_units(struct wire_input *in, struct banyan_str bytes, __int128 *ret)
{
    const unsigned char *at = (const unsigned char *)bytes.data;
    size_t size = bytes.size;
    if (wire_repeats_sign(at, size))
        in->irregular = "the decimal is not in its shortest form";
    for (; size > WIRE_DECIMAL_BYTES_MAX && wire_repeats_sign(at, size); size--)
        at++;
    if (size > WIRE_DECIMAL_BYTES_MAX)
        return "the decimal has more than 38 digits";
    *ret = wire_units_of(at, size, in->end);
    return NULL;
}

#endif
