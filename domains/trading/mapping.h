/* SPDX-License-Identifier: Apache-2.0 */
/* The legacy mapping's parts; see banyan_legacy_mapping. */
#ifndef TRADING_MAPPING_H
#define TRADING_MAPPING_H

#include "banyan/domain.h"
#include "events.h"

void trading_history(const struct banyan_history *history, struct banyan_emitter *out);
void trading_changes(const void *state, bool exists, int64_t key, const struct banyan_change *changes, size_t count,
                     struct banyan_emitter *out);
bool trading_row(const void *state, void *ret_row);
void trading_reconcile(const void *state, int64_t key, const void *row, struct banyan_time now,
                       struct banyan_emitter *out);
void trading_mirror(const struct banyan_seen *event, const void *before, const void *after, struct banyan_mirror *out);

/* How a rebuilt or captured event is vouched for. */
struct order_stamp {
    struct banyan_time at;
    struct banyan_time updated_at; /* as in the payloads: "no value" where it is *at* */
    const char *reason;            /* NULL: exact; else inferred */
};

/* The one place each where history and capture make an event, so that both make the same. */

/* False, and nothing emitted, where the row lacks what an order must have. */
bool emit_created(struct banyan_emitter *out, const struct order_row *row, struct banyan_decimal quantity,
                  struct banyan_decimal price, const struct order_stamp *stamp);
void emit_modified(struct banyan_emitter *out, struct banyan_str field, struct banyan_decimal old_value,
                   struct banyan_decimal new_value, const struct order_stamp *stamp);
/* *filled* includes this fill; *quantity* is the order's.  *type* is ORDER_PARTIALLY_FILLED or ORDER_FILLED. */
void emit_filled(struct banyan_emitter *out, enum order_event type, const struct trade_row *trade,
                 struct banyan_decimal filled, struct banyan_decimal quantity, const struct order_stamp *stamp);
void emit_canceled(struct banyan_emitter *out, struct banyan_decimal filled, struct banyan_decimal quantity,
                   const struct order_stamp *stamp);

/* What an audit row says. */
enum audit_meaning {
    AUDIT_NOTHING = 0, /* not of this mapping, or unreadable */
    AUDIT_PRICE,
    AUDIT_QUANTITY,
    AUDIT_CANCELED,
};
struct audit_change {
    enum audit_meaning meaning;
    struct banyan_decimal old_value; /* "no value" where it cannot be read */
    struct banyan_decimal new_value;
};
struct audit_change audit_read(const struct audit_row *row);

/* A trade that a fill can be made of: a positive quantity at a price. */
bool trade_counts(const struct trade_row *trade);
/* The application's rule: filled when nothing remains. */
enum order_event fill_type(struct banyan_decimal filled, struct banyan_decimal quantity);

#endif
