/* SPDX-License-Identifier: Apache-2.0 */
/* Events of a large transaction in a temporary file, between mapping and appending.  See spool.h. */
#ifndef LEGACY_EVENT_SPOOL_H
#define LEGACY_EVENT_SPOOL_H

#include "legacy/spool.h"
#include "store/store.h"

BANYAN_MUST_CHECK enum banyan_status event_spool_add(struct spool *spool, const struct store_event *event,
                                                     struct banyan_error *err);
/* Its texts are borrowed until the next call; NOT_FOUND (no error text) at the end. */
BANYAN_MUST_CHECK enum banyan_status event_spool_next(struct spool *spool, struct store_event *ret,
                                                      struct banyan_error *err);

#endif
