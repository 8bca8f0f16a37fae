/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling errors.
 *
 * Invariants:
 * 1. Every text is NUL-terminated and is cut only between characters, so that it stays valid UTF-8.
 * 2. The first error wins: once the status is set, the message changes only by context put in front.
 */
#include "banyan/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Drop a character whose last bytes were cut off at the end of a full text. */
static void cut_at_character(char text[BANYAN_ERROR_TEXT_MAX])
{
    size_t size = strlen(text);
    if (size < BANYAN_ERROR_TEXT_MAX - 1)
        return;
    size_t start = size;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    if (size - (start - 1) < want)
        text[start - 1] = '\0';
}

static void fill(char text[BANYAN_ERROR_TEXT_MAX], const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

static void fill(char text[BANYAN_ERROR_TEXT_MAX], const char *format, va_list arguments)
{
    int saved = errno;
    if (vsnprintf(text, BANYAN_ERROR_TEXT_MAX, format, arguments) < 0)
        (void)snprintf(text, BANYAN_ERROR_TEXT_MAX, "%s", format); /* better an unformatted text than none */
    cut_at_character(text);
    errno = saved;
}

enum banyan_status banyan_error_set(struct banyan_error *err, enum banyan_status status, const char *format, ...)
{
    if (err == NULL || err->status != BANYAN_OK)
        return status;
    va_list arguments;
    va_start(arguments, format);
    fill(err->message, format, arguments);
    va_end(arguments);
    err->status = status;
    return status;
}

void banyan_error_detail(struct banyan_error *err, const char *format, ...)
{
    if (err == NULL)
        return;
    va_list arguments;
    va_start(arguments, format);
    fill(err->detail, format, arguments);
    va_end(arguments);
}

void banyan_error_hint(struct banyan_error *err, const char *format, ...)
{
    if (err == NULL)
        return;
    va_list arguments;
    va_start(arguments, format);
    fill(err->hint, format, arguments);
    va_end(arguments);
}

void banyan_error_context(struct banyan_error *err, const char *format, ...)
{
    if (err == NULL)
        return;
    char context[BANYAN_ERROR_TEXT_MAX];
    char whole[2 * BANYAN_ERROR_TEXT_MAX + 2];
    va_list arguments;
    va_start(arguments, format);
    fill(context, format, arguments);
    va_end(arguments);
    (void)snprintf(whole, sizeof(whole), "%s: %s", context, err->message); /* always fits */
    size_t size = strlen(whole);
    if (size > BANYAN_ERROR_TEXT_MAX - 1)
        size = BANYAN_ERROR_TEXT_MAX - 1;
    memcpy(err->message, whole, size);
    err->message[size] = '\0';
    cut_at_character(err->message);
}

enum banyan_status banyan_error_errno(struct banyan_error *err, int code, const char *format, ...)
{
    enum banyan_status status = code == ENOSPC || code == EDQUOT ? BANYAN_NO_SPACE : BANYAN_IO;
    if (err == NULL || err->status != BANYAN_OK)
        return status;
    va_list arguments;
    va_start(arguments, format);
    fill(err->message, format, arguments);
    va_end(arguments);
    err->status = status;
    /* The reason matters more than the end of a very long path: make room for it. */
    char reason_memory[128];
    const char *reason = strerror_r(code, reason_memory, sizeof(reason_memory));
    size_t reason_size = strlen(reason) + 2;
    size_t size = strlen(err->message);
    if (size + reason_size > BANYAN_ERROR_TEXT_MAX - 1)
        size = BANYAN_ERROR_TEXT_MAX - 1 - reason_size;
    (void)snprintf(err->message + size, BANYAN_ERROR_TEXT_MAX - size, ": %s", reason);
    if (status == BANYAN_NO_SPACE)
        banyan_error_hint(err, "Make room on the disk (or raise the quota); nothing that was acknowledged is lost.");
    return status;
}

void banyan_error_clear(struct banyan_error *err)
{
    if (err == NULL)
        return;
    err->status = BANYAN_OK;
    err->sqlstate[0] = '\0';
    err->message[0] = '\0';
    err->detail[0] = '\0';
    err->hint[0] = '\0';
}
