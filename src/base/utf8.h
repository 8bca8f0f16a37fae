/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8, as RFC 3629 has it: no over-long forms, no surrogates, nothing above U+10FFFF. */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "banyan/types.h"

/* Bytes of the well-formed character of more than one byte at *text*: 2 to 4; 0 when there is none. */
static inline size_t utf8_size(const unsigned char *text, size_t left)
{
    unsigned char lead = text[0];
    size_t size = lead >= 0xC2 && lead <= 0xDF   ? 2
                  : lead >= 0xE0 && lead <= 0xEF ? 3
                  : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                 : 0;
    if (size == 0 || size > left)
        return 0;
    /* The second byte also rules out over-long forms, surrogates and numbers above U+10FFFF. */
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    if (text[1] < low || text[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++) {
        if ((text[i] & 0xC0) != 0x80)
            return 0;
    }
    return size;
}

/* How many bytes from *text* on stand for themselves in a JSON string: ASCII but controls, quote and backslash. */
static inline size_t utf8_json_run(const unsigned char *text, size_t left)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), tops = ones << 7;
    size_t at = 0;
    for (; left - at >= 8; at += 8) {
        uint64_t word, quote, slash;
        memcpy(&word, text + at, sizeof(word));
        quote = word ^ ones * '"';
        slash = word ^ ones * '\\';
        /* A byte below n borrows into its top bit, and maybe from its neighbour above; so the lowest byte that is
         * marked is really one that does not stand for itself. */
        uint64_t marks = (word | (word - ones * 0x20) | (quote - ones) | (slash - ones)) & tops;
        if (marks != 0)
            return at + (size_t)__builtin_ctzll(marks) / 8;
    }
    while (at < left && text[at] >= 0x20 && text[at] < 0x80 && text[at] != '"' && text[at] != '\\')
        at++;
    return at;
}

static inline bool utf8_valid(struct banyan_str text)
{
    const unsigned char *data = (const unsigned char *)text.data;
    for (size_t at = 0; at < text.size;) {
        size_t size = data[at] < 0x80 ? 1 : utf8_size(data + at, text.size - at);
        if (size == 0)
            return false;
        at += size;
    }
    return true;
}

#endif
