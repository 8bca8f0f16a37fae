// SPDX-License-Identifier: Apache-2.0
/* The habits that make this system's tables an incomplete record of what happened; README.md tells about each. */
#ifndef LEGACY_OMS_FAULTS_H
#define LEGACY_OMS_FAULTS_H

#include <stdbool.h>

struct rng;

enum fault {
    FAULT_AUDIT = 1 << 0,       /* about a third of the modifications write no audit row */
    FAULT_CANCEL_TIME = 1 << 1, /* a cancellation writes no audit row and leaves updated_at alone */
    FAULT_ORDER = 1 << 2,       /* timestamps are taken early and commits linger: commits are not in timestamp order */
    FAULT_TIES = 1 << 3,        /* timestamps are cut to whole milliseconds */
    FAULT_ALL = FAULT_AUDIT | FAULT_CANCEL_TIME | FAULT_ORDER | FAULT_TIES,
};

/* "none", "all" or a list such as "audit,ties"; false when a word is not known. */
bool faults_parse(const char *text, unsigned *ret_faults);

/* Whether this modification is forgotten by the audit log. */
bool faults_skip_audit(unsigned faults, struct rng *rng);

/* How long (µs) this transaction lies between its timestamp and its commit; 0 for most. */
unsigned faults_linger_us(unsigned faults, struct rng *rng);

#endif
