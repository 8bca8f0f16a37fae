/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRC-32C (polynomial 0x1EDC6F41, reflected 0x82F63B78).
 *
 * The table version takes eight bytes a step: tables[k][b] is the CRC of byte b followed by k zero bytes.  Both the
 * tables and the choice of the implementation are made before main() runs, so that no call needs a lock.
 * The one #if of this room is here: the instruction exists on one processor family only.
 */
#include "base/crc32c.h"

#include <string.h>

static uint32_t tables[8][256];

static void make_tables(void) __attribute__((constructor(101)));

static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82F63B78) : 0);
        tables[0][byte] = crc;
    }
    for (int k = 1; k < 8; k++) {
        for (int byte = 0; byte < 256; byte++)
            tables[k][byte] = tables[k - 1][byte] >> 8 ^ tables[0][tables[k - 1][byte] & 0xFF];
    }
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t size)
{
    const unsigned char *at = data;
    crc = ~crc;
    while (size >= 8) {
        crc ^= (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
        crc = tables[7][crc & 0xFF] ^ tables[6][crc >> 8 & 0xFF] ^ tables[5][crc >> 16 & 0xFF] ^ tables[4][crc >> 24] ^
              tables[3][at[4]] ^ tables[2][at[5]] ^ tables[1][at[6]] ^ tables[0][at[7]];
        at += 8;
        size -= 8;
    }
    while (size-- > 0)
        crc = crc >> 8 ^ tables[0][(crc ^ *at++) & 0xFF];
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse42(uint32_t crc, const void *data, size_t size)
{
    const unsigned char *at = data;
    uint64_t sum = ~crc;
    while (size >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        sum = __builtin_ia32_crc32di(sum, word);
        at += 8;
        size -= 8;
    }
    uint32_t rest = (uint32_t)sum;
    while (size-- > 0)
        rest = __builtin_ia32_crc32qi(rest, *at++);
    return ~rest;
}

static uint32_t (*chosen)(uint32_t, const void *, size_t) = crc32c_table;

static void choose(void) __attribute__((constructor(102)));

static void choose(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("sse4.2"))
        chosen = crc32c_sse42;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    return chosen(crc, data, size);
}

#else

uint32_t crc32c(uint32_t crc, const void *data, size_t size)
{
    return crc32c_table(crc, data, size);
}

#endif
