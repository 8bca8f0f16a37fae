/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way in which a call can end.
 *
 * One list gives each status its name, its text, the exit code of a command that ends with it, and its class.
 * Exit codes are stable: scripts rely on them; docs/ERRORS.md lists them.
 */
#ifndef BANYAN_STATUS_H
#define BANYAN_STATUS_H

#include "banyan/attributes.h"

/* What the caller can do about a status. */
enum banyan_class {
    BANYAN_CLASS_NONE = 0, /* nothing went wrong */
    BANYAN_CLASS_RETRY,    /* the same call may succeed later */
    BANYAN_CLASS_CONFLICT, /* the world changed: read again, decide again */
    BANYAN_CLASS_STOP,     /* somebody has to change something first */
};

/*                name          exit  class     text */
#define BANYAN_STATUS_MAP(X)                                                                                           \
    X(OK, 0, NONE, "ok")                                                                                               \
    X(USAGE, 2, STOP, "the command was used wrongly")                                                                  \
    X(CONFIG, 3, STOP, "the configuration is not valid")                                                               \
    X(INVALID, 4, STOP, "the input is not valid")                                                                      \
    X(NOT_FOUND, 5, STOP, "not found")                                                                                 \
    X(CONFLICT, 6, CONFLICT, "the stream is not at the expected version")                                              \
    X(DUPLICATE, 7, CONFLICT, "the event id was used before with other content")                                       \
    X(MISMATCH, 8, STOP, "the two sides differ")                                                                       \
    X(UNAVAILABLE, 10, RETRY, "the server cannot be reached")                                                          \
    X(AUTH, 11, STOP, "the server refused the login")                                                                  \
    X(PRIVILEGE, 12, STOP, "the role lacks a right")                                                                   \
    X(SETTING, 13, STOP, "a server setting has to change")                                                             \
    X(SLOT, 14, STOP, "the replication slot is not the one that we know")                                              \
    X(TABLE, 15, STOP, "a table is not as expected")                                                                   \
    X(BUSY, 16, RETRY, "in use by another process")                                                                    \
    X(TIMEOUT, 17, RETRY, "it took too long")                                                                          \
    X(QUERY, 18, STOP, "the server refused a statement")                                                               \
    X(PROTOCOL, 19, STOP, "the server sent something unexpected")                                                      \
    X(NO_SPACE, 20, RETRY, "the disk is full")                                                                         \
    X(IO, 21, STOP, "reading or writing failed")                                                                       \
    X(CORRUPT, 22, STOP, "stored data is damaged")                                                                     \
    X(LIMIT, 23, STOP, "a limit is exceeded")                                                                          \
    X(BROKEN, 24, STOP, "the object failed before and refuses work until it is opened again")                          \
    X(STOPPED, 25, STOP, "stopped on request")                                                                         \
    X(UNCERTAIN, 26, CONFLICT, "whether it was done is not known")                                                     \
    X(NOT_MET, 27, STOP, "a check is not met")

enum banyan_status {
#define BANYAN_STATUS_ENUM(name, exit_code, class, text) BANYAN_##name,
    BANYAN_STATUS_MAP(BANYAN_STATUS_ENUM)
#undef BANYAN_STATUS_ENUM
        BANYAN_STATUS_COUNT
};

/* Static strings; never NULL. */
BANYAN_API const char *banyan_status_name(enum banyan_status status);
BANYAN_API const char *banyan_status_text(enum banyan_status status);
BANYAN_API int banyan_status_exit_code(enum banyan_status status);
BANYAN_API enum banyan_class banyan_status_class(enum banyan_status status);

#endif
