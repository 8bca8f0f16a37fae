/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view for those who must not be told half of the truth: where the generation that serves has rows of some keys only
 * (its ready mark, sink.h), what touches others is refused with BUSY.
 *
 *   asked for                          answered when
 *   ─────────────────────────────────  ────────────────────────────────────────────────
 *   get(key)                           the key is ready
 *   range(lo, hi)                      all of them are
 *   list, search                       all keys are, or ready_only was asked for
 *   between begin and end              by the same rules
 *   checkpoint, asides                 always
 *
 * The mark that decides is that of the generation that answered, told with the answer: no switch can come between.
 * Rows that were given before the refusal are to be dropped, as after any failure.  *ret_checkpoint* is written then,
 * too: its mark says which keys are ready.
 *
 * Threads: those of the view.
 */
#ifndef PROJECTION_READY_H
#define PROJECTION_READY_H

#include "projection/sink.h"

/* Takes *view*; end it with sink_view_close(). */
struct sink_view *ready_view(struct sink_view *view);

#endif
