/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a large transaction in a temporary file, between mapping and appending.  See spool.h. */
#ifndef LEGACY_EVENT_SPOOL_H
#define LEGACY_EVENT_SPOOL_H

#include "legacy/spool.h"
#include "store/store.h"

enum {
    EVENT_SPOOL_ANY = -1, /* decided on nothing */
};

/* *decided_on*: the version of its stream before it, or EVENT_SPOOL_ANY; of the first of several in one stream. */
BANYAN_MUST_CHECK enum banyan_status event_spool_add(struct spool *spool, const struct store_event *event,
                                                     int64_t decided_on, struct banyan_error *err);
/* Its texts are borrowed until the next call; NOT_FOUND (no error text) at the end. */
BANYAN_MUST_CHECK enum banyan_status event_spool_next(struct spool *spool, struct store_event *ret,
                                                      int64_t *ret_decided_on, struct banyan_error *err);

#endif
