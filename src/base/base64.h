/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648, section 4), with padding; one text a value, so decoding refuses every other spelling. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/types.h"

static inline size_t base64_text_size(size_t bytes)
{
    return (bytes + 2) / 3 * 4;
}

/* Write base64_text_size(data.size) characters; returns the end. */
char *base64_encode(struct banyan_str data, char *to);
/* Append the text. */
void base64_add(struct banyan_buf *ret, struct banyan_str data);
/* Write the bytes of *text*, at most text.size / 4 * 3; false when it is not base64.  *to* may be the text itself. */
bool base64_decode(struct banyan_str text, unsigned char *to, size_t *ret_size);

#endif
