/* SPDX-License-Identifier: Apache-2.0 */
/* UUIDs of RFC 9562: layout, text and parsing.  Times before 1970 count as 1970: version 7 has no sign. */
#include "banyan/uuid.h"

#include "base/hex.h"

static struct banyan_uuid with_version(struct banyan_uuid id, unsigned version)
{
    id.bytes[6] = (uint8_t)((id.bytes[6] & 0x0F) | (version << 4));
    id.bytes[8] = (uint8_t)((id.bytes[8] & 0x3F) | 0x80);
    return id;
}

struct banyan_uuid banyan_uuid_v7(struct banyan_time now, const uint8_t random[10])
{
    struct banyan_uuid id;
    uint64_t ms = now.us < 0 ? 0 : (uint64_t)now.us / 1000;
    for (int i = 0; i < 6; i++)
        id.bytes[i] = (uint8_t)(ms >> (40 - 8 * i));
    memcpy(id.bytes + 6, random, 10);
    return with_version(id, 7);
}

struct banyan_uuid banyan_uuid_v8(const uint8_t hash[16])
{
    struct banyan_uuid id;
    memcpy(id.bytes, hash, 16);
    return with_version(id, 8);
}

static uint32_t word_of(const struct banyan_uuid *id, size_t number)
{
    uint32_t word;
    memcpy(&word, id->bytes + 4 * number, sizeof(word));
    return bswap_32(word);
}

void banyan_uuid_format(struct banyan_uuid id, char text[BANYAN_UUID_TEXT_SIZE])
{
    char digits[16];
    (void)hex_put(text, word_of(&id, 0));
    (void)hex_put(digits, word_of(&id, 1));
    (void)hex_put(digits + 8, word_of(&id, 2));
    for (size_t i = 0; i < 4; i++) {
        text[8 + 5 * i] = '-';
        memcpy(text + 9 + 5 * i, digits + 4 * i, 4);
    }
    (void)hex_put(text + 28, word_of(&id, 3));
    text[36] = '\0';
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool banyan_uuid_parse(struct banyan_str text, struct banyan_uuid *ret)
{
    struct banyan_uuid id;
    size_t at = 0;
    if (text.data == NULL || text.size != BANYAN_UUID_TEXT_SIZE - 1)
        return false;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            if (text.data[at++] != '-')
                return false;
        }
        int high = digit_of(text.data[at++]);
        int low = digit_of(text.data[at++]);
        if (high < 0 || low < 0)
            return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret = id;
    return true;
}
