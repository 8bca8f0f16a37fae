/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of one form: JSON for everybody else, but read by position, so that nothing can be said in two ways.  Who reads
 * formats again what was read and compares: that also refuses numbers with leading zeros or of more than 64 bits.
 */
#ifndef STORE_LINE_H
#define STORE_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "banyan/buf.h"
#include "banyan/types.h"

/* What is left of a line.  Once bad, nothing more is read. */
struct line {
    const char *next, *end;
    bool bad;
};

void line_expect(struct line *line, const char *text);
uint64_t line_number(struct line *line);
int64_t line_signed(struct line *line);
/* *size* bytes as small hexadecimal digits. */
void line_hex(struct line *line, uint8_t *ret, size_t size);
/* Up to a quotation mark, which stays. */
struct banyan_str line_text(struct line *line);

void line_add_hex(struct banyan_buf *buf, const uint8_t *bytes, size_t size);
/* Adds the bytes that *text* stands for; false when it is no base64 in its one form. */
bool line_from_base64(struct banyan_str text, struct banyan_buf *ret);

#endif
