/* SPDX-License-Identifier: Apache-2.0 */
/* Pre-flight: what has to be right at the server before anything is made there.  Changes nothing. */
#ifndef LEGACY_CHECK_H
#define LEGACY_CHECK_H

#include "banyan/arena.h"
#include "banyan/error.h"
#include "legacy/legacy.h"

enum check_verdict {
    CHECK_NONE = 0,
    CHECK_OK,
    CHECK_WARNING,
    CHECK_FAILED,
};

struct check_finding {
    enum check_verdict verdict;
    enum banyan_status status; /* of a failure: what `banyan serve` would end with */
    const char *name;          /* "wal_level", "replication right", "table orders: key" … */
    const char *found;         /* what is there */
    const char *hint;          /* what to do; NULL when ok */
};

struct check_report {
    struct check_finding *findings; /* in the arena */
    size_t count;
    size_t failures, warnings;
};

/* Fails only when the server cannot be asked at all (UNAVAILABLE, AUTH, …). */
BANYAN_MUST_CHECK enum banyan_status legacy_check(const struct legacy_options *options, struct banyan_arena *arena,
                                                  struct check_report *ret, struct banyan_error *err);

#endif
