/* SPDX-License-Identifier: Apache-2.0 */
/* See line.h. */
#include "store/line.h"

#include <string.h>

#include "base/base64.h"

void line_expect(struct line *line, const char *text)
{
    size_t size = strlen(text);

    if (line->bad || (size_t)(line->end - line->next) < size || memcmp(line->next, text, size) != 0)
        line->bad = true;
    else
        line->next += size;
}

uint64_t line_number(struct line *line)
{
    uint64_t value = 0;

    while (!line->bad && line->next < line->end && *line->next >= '0' && *line->next <= '9')
        value = value * 10 + (uint64_t)(*line->next++ - '0');
    return value;
}

int64_t line_signed(struct line *line)
{
    bool negative = !line->bad && line->next < line->end && *line->next == '-';
    uint64_t value;

    line->next += negative;
    value = line_number(line);
    return (int64_t)(negative ? 0 - value : value);
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void line_hex(struct line *line, uint8_t *ret, size_t size)
{
    if (line->bad || (size_t)(line->end - line->next) < 2 * size) {
        line->bad = true;
        return;
    }
    for (size_t i = 0; i < size; i++) {
        int high = digit_of(line->next[0]), low = digit_of(line->next[1]);

        line->bad |= high < 0 || low < 0;
        ret[i] = (uint8_t)((unsigned)high << 4 | (unsigned)low);
        line->next += 2;
    }
}

struct banyan_str line_text(struct line *line)
{
    const char *begin = line->next, *end;

    if (line->bad)
        return (struct banyan_str){"", 0};
    end = memchr(begin, '"', (size_t)(line->end - begin));
    if (end == NULL) {
        line->bad = true;
        return (struct banyan_str){"", 0};
    }
    line->next = end;
    return (struct banyan_str){begin, (size_t)(end - begin)};
}

void line_add_hex(struct banyan_buf *buf, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char *out = banyan_buf_extend(buf, 2 * size);

    for (size_t i = 0; out != NULL && i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

bool line_from_base64(struct banyan_str text, struct banyan_buf *ret)
{
    size_t before = ret->size, size = 0;
    char *out = banyan_buf_extend(ret, text.size / 4 * 3);

    if (out == NULL || !base64_decode(text, (unsigned char *)out, &size))
        return false;
    ret->size = before + size;
    return true;
}
