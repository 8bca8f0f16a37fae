/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The growing buffer.
 *
 * Invariants:
 * 1. size <= size_max, and size < capacity once data is there (the NUL has room).
 * 2. After an overflow (the maximum, or no memory) nothing is added until reset.
 * 3. An append may not point into the buffer itself.
 */
#include "banyan/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "banyan/decimal.h"
#include "base/utf8.h"

enum {
    CAPACITY_MIN = 256,
};

void banyan_buf_release(struct banyan_buf *buf)
{
    if (buf == NULL)
        return;
    free(buf->data);
    *buf = (struct banyan_buf)BANYAN_BUF_INIT(buf->size_max);
}

void banyan_buf_reset(struct banyan_buf *buf)
{
    buf->size = 0;
    buf->overflow = false;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}

/* Make room for *size* more bytes and a NUL; false (and sticky) on overflow. */
static bool grow(struct banyan_buf *buf, size_t size)
{
    if (size > buf->size_max || buf->size > buf->size_max - size) {
        buf->overflow = true;
        return false;
    }
    size_t need = buf->size + size + 1;
    size_t capacity = buf->capacity < CAPACITY_MIN ? CAPACITY_MIN : buf->capacity * 2;
    if (capacity < need)
        capacity = need;
    if (capacity > buf->size_max)
        capacity = buf->size_max + 1;
    char *data = realloc(buf->data, capacity);
    if (data == NULL) {
        buf->overflow = true;
        return false;
    }
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

char *banyan_buf_extend(struct banyan_buf *buf, size_t size)
{
    if (buf->overflow)
        return NULL;
    /* capacity never exceeds size_max + 1, so this one comparison also keeps the maximum. */
    if (buf->capacity == 0 || size > buf->capacity - 1 - buf->size) {
        if (!grow(buf, size))
            return NULL;
    }
    char *room = buf->data + buf->size;
    buf->size += size;
    buf->data[buf->size] = '\0';
    return room;
}

void banyan_buf_add(struct banyan_buf *buf, const void *data, size_t size)
{
    char *room = banyan_buf_extend(buf, size);
    if (room != NULL && size > 0)
        memcpy(room, data, size);
}

void banyan_buf_add_char(struct banyan_buf *buf, char c)
{
    char *room = banyan_buf_extend(buf, 1);
    if (room != NULL)
        *room = c;
}

void banyan_buf_add_str(struct banyan_buf *buf, struct banyan_str text)
{
    banyan_buf_add(buf, text.data, text.size);
}

void banyan_buf_add_text(struct banyan_buf *buf, const char *text)
{
    banyan_buf_add(buf, text, strlen(text));
}

void banyan_buf_printf(struct banyan_buf *buf, const char *format, ...)
{
    if (buf->overflow)
        return;
    va_list arguments;
    size_t room = buf->capacity - buf->size;
    va_start(arguments, format);
    int size = vsnprintf(room == 0 ? NULL : buf->data + buf->size, room, format, arguments);
    va_end(arguments);
    if (size < 0) {
        buf->overflow = true;
        return;
    }
    if ((size_t)size < room) {
        buf->size += (size_t)size;
        return;
    }
    if (room > 0)
        buf->data[buf->size] = '\0'; /* drop the part that was written */
    if (!grow(buf, (size_t)size))
        return;
    va_start(arguments, format);
    (void)vsnprintf(buf->data + buf->size, (size_t)size + 1, format, arguments); /* measured above */
    va_end(arguments);
    buf->size += (size_t)size;
}

static void add_json_escape(struct banyan_buf *buf, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    switch (c) {
    case '"':
    case '\\':
        text[1] = (char)c;
        break;
    case '\n':
        text[1] = 'n';
        break;
    case '\r':
        text[1] = 'r';
        break;
    case '\t':
        text[1] = 't';
        break;
    default:
        break;
    }
    banyan_buf_add(buf, text, text[1] == 'u' ? 6 : 2);
}

void banyan_buf_add_json(struct banyan_buf *buf, struct banyan_str text)
{
    const unsigned char *data = (const unsigned char *)text.data;
    size_t start = 0; /* of the run that is copied as it is */
    size_t at = 0;

    banyan_buf_add_char(buf, '"');
    while (at < text.size) {
        at += utf8_json_run(data + at, text.size - at);
        if (at == text.size)
            break;
        unsigned char c = data[at];
        size_t size = c >= 0x80 ? utf8_size(data + at, text.size - at) : 0;
        if (size > 0) {
            at += size;
            continue;
        }
        banyan_buf_add(buf, data + start, at - start);
        if (c >= 0x80)
            banyan_buf_add(buf, "\xEF\xBF\xBD", 3);
        else
            add_json_escape(buf, c);
        at++;
        start = at;
    }
    if (at > start)
        banyan_buf_add(buf, data + start, at - start);
    banyan_buf_add_char(buf, '"');
}

void banyan_buf_add_decimal(struct banyan_buf *buf, struct banyan_decimal d)
{
    char text[BANYAN_DECIMAL_TEXT_MAX];
    banyan_buf_add(buf, text, banyan_decimal_format(d, text));
}
