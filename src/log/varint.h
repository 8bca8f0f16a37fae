/* SPDX-License-Identifier: Apache-2.0 */
/* Unsigned LEB128 integers: seven bits a byte, lowest first.  Used inside frames and inside the records of the store.
 */
#ifndef LOG_VARINT_H
#define LOG_VARINT_H

#include <stddef.h>
#include <stdint.h>

enum {
    VARINT_BYTES_MAX = 10,
};

/* Write *value*; returns the bytes used. */
static inline size_t varint_put(char *out, uint64_t value)
{
    size_t size = 0;

    while (value >= 0x80) {
        out[size++] = (char)(value | 0x80);
        value >>= 7;
    }
    out[size++] = (char)value;
    return size;
}

/* Read a number that ends before *end*; returns the bytes used, 0 when there is none. */
static inline size_t varint_get(const char *data, const char *end, uint64_t *ret)
{
    uint64_t value = 0;

    if (data < end && (unsigned char)*data < 0x80) {
        *ret = (unsigned char)*data;
        return 1;
    }
    for (size_t i = 0; i < VARINT_BYTES_MAX && data + i < end; i++) {
        uint64_t byte = (unsigned char)data[i];

        value |= (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret = value;
            return i + 1;
        }
    }
    return 0;
}

#endif
