/* SPDX-License-Identifier: Apache-2.0 */
/* How PostgreSQL writes numbers and times on the wire.  Without libpq, so that decoders can be built alone. */
#ifndef PG_WIRE_H
#define PG_WIRE_H

#include <stdint.h>
#include <string.h>

/* 2000-01-01 in microseconds since 1970-01-01: the zero of PostgreSQL's clock. */
#define PG_EPOCH_US INT64_C(946684800000000)

static inline uint16_t pg_get_u16(const char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t pg_get_u32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t pg_get_u64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void pg_put_u16(char *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void pg_put_u32(char *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void pg_put_u64(char *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

#endif
