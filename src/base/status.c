/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, texts, exit codes and classes of statuses, from the one list in banyan/status.h.
 *
 * A number outside the list (it can only come from a bug or an older library) is treated as a failure that somebody
 * has to look at, never as success.
 */
#include "banyan/status.h"

#include <stddef.h>

struct status_row {
    const char *name;
    const char *text;
    int exit_code;
    enum banyan_class class;
};

static const struct status_row rows[BANYAN_STATUS_COUNT] = {
#define STATUS_ROW(name, exit_code, class, text) [BANYAN_##name] = {#name, text, exit_code, BANYAN_CLASS_##class},
    BANYAN_STATUS_MAP(STATUS_ROW)
#undef STATUS_ROW
};

static const struct status_row unknown = {"UNKNOWN", "an unknown status", 70, BANYAN_CLASS_STOP};

static const struct status_row *row_of(enum banyan_status status)
{
    if ((unsigned)status >= BANYAN_STATUS_COUNT)
        return &unknown;
    return &rows[status];
}

const char *banyan_status_name(enum banyan_status status)
{
    return row_of(status)->name;
}

const char *banyan_status_text(enum banyan_status status)
{
    return row_of(status)->text;
}

int banyan_status_exit_code(enum banyan_status status)
{
    return row_of(status)->exit_code;
}

enum banyan_class banyan_status_class(enum banyan_status status)
{
    return row_of(status)->class;
}
