/* SPDX-License-Identifier: Apache-2.0 */
/* Event ids (RFC 9562): version 7 for new events, version 8 derived from a source so that a repeat gives the same. */
#ifndef BANYAN_UUID_H
#define BANYAN_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/attributes.h"
#include "banyan/types.h"

enum {
    BANYAN_UUID_TEXT_SIZE = 37, /* 8-4-4-4-12 and a NUL */
};

struct banyan_uuid {
    uint8_t bytes[16];
};

/* Version 7 from a time and 10 random bytes. */
BANYAN_API struct banyan_uuid banyan_uuid_v7(struct banyan_time now, const uint8_t random[10]);
/* Version 8 whose other bits are *hash* (any 16 well-mixed bytes). */
BANYAN_API struct banyan_uuid banyan_uuid_v8(const uint8_t hash[16]);
BANYAN_API void banyan_uuid_format(struct banyan_uuid id, char text[BANYAN_UUID_TEXT_SIZE]);
BANYAN_API BANYAN_MUST_CHECK bool banyan_uuid_parse(struct banyan_str text, struct banyan_uuid *ret);

static inline bool banyan_uuid_equal(struct banyan_uuid a, struct banyan_uuid b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

#endif
