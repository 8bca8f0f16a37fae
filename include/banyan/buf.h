/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One growing byte buffer with a maximum given at birth and a sticky overflow bit: a run of appends has one check at
 * its end.  After an overflow nothing more is added.
 */
#ifndef BANYAN_BUF_H
#define BANYAN_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/attributes.h"
#include "banyan/types.h"

struct banyan_buf {
    char *data;      /* owned; always NUL-terminated behind size once anything was added; NULL when untouched */
    size_t size;     /* bytes used */
    size_t capacity; /* bytes held */
    size_t size_max; /* more than this is an overflow */
    bool overflow;   /* sticky */
};

#define BANYAN_BUF_INIT(max)                                                                                           \
    {                                                                                                                  \
        .size_max = (max)                                                                                              \
    }

BANYAN_API void banyan_buf_release(struct banyan_buf *buf);
/* Empty it, keep the memory, clear the overflow. */
BANYAN_API void banyan_buf_reset(struct banyan_buf *buf);
BANYAN_API void banyan_buf_add(struct banyan_buf *buf, const void *data, size_t size);
BANYAN_API void banyan_buf_add_char(struct banyan_buf *buf, char c);
BANYAN_API void banyan_buf_add_str(struct banyan_buf *buf, struct banyan_str text);
BANYAN_API void banyan_buf_add_text(struct banyan_buf *buf, const char *text);
BANYAN_API void banyan_buf_printf(struct banyan_buf *buf, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
/* Room for *size* more bytes, to be written by the caller; size grows by it.  NULL on overflow. */
BANYAN_API char *banyan_buf_extend(struct banyan_buf *buf, size_t size);
/* A JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
BANYAN_API void banyan_buf_add_json(struct banyan_buf *buf, struct banyan_str text);

static inline struct banyan_str banyan_buf_str(const struct banyan_buf *buf)
{
    return (struct banyan_str){buf->data == NULL ? "" : buf->data, buf->size};
}

#endif
