/* SPDX-License-Identifier: Apache-2.0 */
/* Base64, both ways. */
#include "base/base64.h"

static const char letters[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(struct banyan_str data, char *to)
{
    const unsigned char *at = (const unsigned char *)data.data;
    size_t left = data.size;
    for (; left >= 3; at += 3, left -= 3) {
        uint32_t bits = (uint32_t)at[0] << 16 | (uint32_t)at[1] << 8 | at[2];
        *to++ = letters[bits >> 18];
        *to++ = letters[bits >> 12 & 63];
        *to++ = letters[bits >> 6 & 63];
        *to++ = letters[bits & 63];
    }
    if (left == 0)
        return to;
    uint32_t bits = (uint32_t)at[0] << 16 | (left == 2 ? (uint32_t)at[1] << 8 : 0);
    *to++ = letters[bits >> 18];
    *to++ = letters[bits >> 12 & 63];
    *to++ = left == 2 ? letters[bits >> 6 & 63] : '=';
    *to++ = '=';
    return to;
}

void base64_add(struct banyan_buf *ret, struct banyan_str data)
{
    char *to = banyan_buf_extend(ret, base64_text_size(data.size));
    if (to != NULL)
        (void)base64_encode(data, to);
}

/* The six bits of a letter; 64 or more when it is none. */
static uint32_t bits_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (uint32_t)(c - 'A');
    if (c >= 'a' && c <= 'z')
        return (uint32_t)(c - 'a') + 26;
    if (c >= '0' && c <= '9')
        return (uint32_t)(c - '0') + 52;
    return c == '+' ? 62 : c == '/' ? 63 : 64;
}

bool base64_decode(struct banyan_str text, unsigned char *to, size_t *ret_size)
{
    const char *at = text.data;
    const unsigned char *start = to;
    if (text.size % 4 != 0)
        return false;
    for (size_t left = text.size; left > 0; at += 4, left -= 4) {
        unsigned padding = left > 4 || at[3] != '=' ? 0 : at[2] != '=' ? 1 : 2;
        uint32_t c = padding > 1 ? 0 : bits_of(at[2]);
        uint32_t d = padding > 0 ? 0 : bits_of(at[3]);
        uint32_t a = bits_of(at[0]), b = bits_of(at[1]);
        if ((a | b | c | d) > 63)
            return false;
        uint32_t bits = a << 18 | b << 12 | c << 6 | d;
        if ((bits & ((UINT32_C(1) << 8 * padding) - 1)) != 0)
            return false; /* bits that no byte has */
        *to++ = (unsigned char)(bits >> 16);
        if (padding < 2)
            *to++ = (unsigned char)(bits >> 8);
        if (padding < 1)
            *to++ = (unsigned char)bits;
    }
    *ret_size = (size_t)(to - start);
    return true;
}
