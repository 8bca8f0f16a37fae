/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From stored events to calls of a projection's apply(): filter, decode, put aside what cannot be understood.
 *
 *   fold_add() ──▶ batch of decoded events ──fold_apply(): read ahead their keys, apply in order──▶ unit of work
 *
 * A stream of which an event cannot be understood is put aside: that event and the later ones of the stream are
 * skipped, and the flush says so.  The other streams go on.
 *
 * Threads: one.
 */
#ifndef PROJECTION_FOLD_H
#define PROJECTION_FOLD_H

#include <stddef.h>
#include <stdint.h>

#include "banyan/domain.h"
#include "banyan/error.h"
#include "projection/sink.h"
#include "projection/unit.h"
#include "store/store.h"

struct fold;

/* *store*: where the schemas of old versions are; NULL: there are none. */
struct fold *fold_new(struct store *store, const struct banyan_domain *domain,
                      const struct banyan_projection *projection);
void fold_free(struct fold *fold); /* NULL allowed */

/* Take one event into the batch (copied) if the projection wants it. */
void fold_add(struct fold *fold, const struct store_read_event *event);
/* In the batch now. */
size_t fold_count(const struct fold *fold);
size_t fold_bytes(const struct fold *fold);
/* Apply the batch and empty it.  Gives the number of events applied.  An error is one of the sink: the unit cannot be
 * trusted then. */
BANYAN_MUST_CHECK enum banyan_status fold_apply(struct fold *fold, struct banyan_unit *unit, size_t *ret_applied,
                                                struct banyan_error *err);

/* Streams put aside since fold_flushed(); borrowed until the next call on the fold. */
const struct sink_aside *fold_asides(struct fold *fold, size_t *ret_count);
/* They were written. */
void fold_flushed(struct fold *fold);
/* Begin anew: no batch, and exactly these streams are aside. */
void fold_restore(struct fold *fold, const struct sink_aside *asides, size_t count);
/* Streams aside in all. */
size_t fold_aside_count(const struct fold *fold);

/* "<category>-<key>" → key.  False when the stream is not of the category; *ret_ok says whether the key is one. */
bool fold_stream_key(struct banyan_str stream, const char *category, int64_t *ret_key, bool *ret_ok);

#endif
