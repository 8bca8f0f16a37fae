/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The small types that everything shares.  Position, version and time are different types, so that none can be
 * passed for another.
 */
#ifndef BANYAN_TYPES_H
#define BANYAN_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Text or bytes of somebody else's: pointer and length, not NUL-terminated.  data == NULL means "no value" (NULL). */
struct banyan_str {
    const char *data;
    size_t size; /* bytes */
};

/* Place of an event in the log: dense, from 1.  0 means "none" or "before the first". */
struct banyan_position {
    uint64_t value;
};

/* Place of an event in its stream: dense, from 1.  0 means "the stream does not exist". */
struct banyan_version {
    uint64_t value;
};

/* Microseconds since 1970-01-01 00:00:00 UTC. */
struct banyan_time {
    int64_t us;
};

#define BANYAN_TIME_NULL INT64_MIN              /* us of "no value" */
#define BANYAN_TIME_INFINITY INT64_MAX          /* us of PostgreSQL's infinity */
#define BANYAN_TIME_MINUS_INFINITY (-INT64_MAX) /* us of PostgreSQL's -infinity */

/* A string literal as a banyan_str. */
#define BANYAN_STR(literal) ((struct banyan_str){(literal), sizeof(literal) - 1})

static inline struct banyan_str banyan_str_of(const char *text)
{
    return (struct banyan_str){text, text == NULL ? 0 : strlen(text)};
}

/* NULL equals NULL only. */
static inline bool banyan_str_equal(struct banyan_str a, struct banyan_str b)
{
    if (a.data == NULL || b.data == NULL)
        return a.data == NULL && b.data == NULL;
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

#endif
