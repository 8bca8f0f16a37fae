/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From stored events to calls of a projection's apply(), in the order of the log, with what cannot be applied put
 * aside.
 *
 *   fold_add() ──▶ batch of events seen (seen.h) ──fold_apply(): read ahead their keys, apply in order──▶ unit of work
 *                                                     │
 *                     not understood, or refused ◀────┴────▶ its key or stream is aside: held, and counted
 *
 * What goes aside is the partition key where it is known and the projection PARTITIONED, else the whole stream.  All
 * later events of it are held until it is tried again (fold_lift(), fold_again()).  An event whose stream and whose key
 * are both aside is counted once, with its stream.
 *
 * Threads: one.
 */
#ifndef PROJECTION_FOLD_H
#define PROJECTION_FOLD_H

#include <stdbool.h>
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
/* Events of other keys are not wanted from now on. */
void fold_ready(struct fold *fold, struct sink_mark ready);
/* What a reader may leave out; borrowed from the fold. */
const struct store_filter *fold_filter(const struct fold *fold);

/* Take one event into the batch (copied) if the projection wants it; true: it does. */
bool fold_add(struct fold *fold, const struct store_read_event *event);
/* In the batch now. */
size_t fold_count(const struct fold *fold);
size_t fold_bytes(const struct fold *fold);
/* Apply the batch and empty it.  Gives the number of events applied.  An error is one of the sink: the unit cannot be
 * trusted then. */
BANYAN_MUST_CHECK enum banyan_status fold_apply(struct fold *fold, struct banyan_unit *unit, size_t *ret_applied,
                                                struct banyan_error *err);

/* ---- asides ---- */

/* What of them changed since fold_flushed(): new ones, other counts, other reasons; borrowed until the next call. */
const struct sink_aside *fold_asides(struct fold *fold, size_t *ret_count);
/* Lifted since then; borrowed likewise. */
const struct sink_aside *fold_released(struct fold *fold, size_t *ret_count);
/* They were written. */
void fold_flushed(struct fold *fold);
/* Begin anew: no batch, and exactly these are aside. */
void fold_restore(struct fold *fold, const struct sink_aside *asides, size_t count);
/* All in all. */
size_t fold_aside_count(const struct fold *fold);
/* The aside of that stream, or of that key where *stream* is empty; texts in *arena*. */
bool fold_aside_find(const struct fold *fold, int64_t key, struct banyan_str stream, struct banyan_arena *arena,
                     struct sink_aside *ret);
/* It is no longer aside: the caller applies what was held, or goes back to what is stored (fold_restore()).  */
void fold_lift(struct fold *fold, const struct sink_aside *aside);
/* It was not lifted after all, for another *reason*. */
void fold_explain(struct fold *fold, const struct sink_aside *aside, struct banyan_str reason);
/* An event that was passed before: apply it now if *aside*, which is lifted, held it.  INVALID: it fails again. */
BANYAN_MUST_CHECK enum banyan_status fold_again(struct fold *fold, struct banyan_unit *unit,
                                                const struct sink_aside *aside, const struct store_read_event *event,
                                                bool *ret_applied, struct banyan_error *err);

#endif
