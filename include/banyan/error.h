/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong, for people: message, detail, hint and SQLSTATE are separate fields.
 *
 * The function that sees the failure fills the error; callers put context in front of the message.  Untouched on
 * success.  The struct lives with the caller and holds no memory of its own, so that reporting an error cannot fail;
 * over-long texts are cut.
 */
#ifndef BANYAN_ERROR_H
#define BANYAN_ERROR_H

#include "banyan/attributes.h"
#include "banyan/status.h"

enum {
    BANYAN_ERROR_TEXT_MAX = 768, /* bytes of each text, its NUL included */
};

struct banyan_error {
    enum banyan_status status;
    char sqlstate[6]; /* empty when no SQL server was involved */
    char message[BANYAN_ERROR_TEXT_MAX];
    char detail[BANYAN_ERROR_TEXT_MAX]; /* may be empty */
    char hint[BANYAN_ERROR_TEXT_MAX];   /* what the operator can do next; may be empty */
};

#define BANYAN_ERROR_INIT                                                                                              \
    {                                                                                                                  \
        .status = BANYAN_OK                                                                                            \
    }

/* Fill *err* and return *status*, so that one line reports and returns.  A second call on the same error is ignored:
 * the first error wins.  *err* may be NULL: the status alone is returned. */
BANYAN_API enum banyan_status banyan_error_set(struct banyan_error *err, enum banyan_status status, const char *format,
                                               ...) BANYAN_PRINTF_LIKE(3, 4);
/* Add to a filled error.  Ignored when *err* is NULL. */
BANYAN_API void banyan_error_detail(struct banyan_error *err, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
BANYAN_API void banyan_error_hint(struct banyan_error *err, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
/* Put "<context>: " in front of the message. */
BANYAN_API void banyan_error_context(struct banyan_error *err, const char *format, ...) BANYAN_PRINTF_LIKE(2, 3);
/* As banyan_error_set() with the text of errno *code* behind the message; ENOSPC and EDQUOT become BANYAN_NO_SPACE. */
BANYAN_API enum banyan_status banyan_error_errno(struct banyan_error *err, int code, const char *format, ...)
    BANYAN_PRINTF_LIKE(3, 4);
/* Make the error empty again, for a retry. */
BANYAN_API void banyan_error_clear(struct banyan_error *err);

#endif
