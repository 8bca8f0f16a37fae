/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small domain with a legacy mapping, for tests: baskets(id, name) with items(id, basket, label).
 *
 *   basket-<key>:  Opened, Renamed, Added*, Removed
 *
 * Names steer it: a basket whose name begins with "drift" is explained wrongly at first, so that it needs reconcile();
 * one named "stubborn" is not even explained by reconcile(); one named "untimed" is emitted without a time.
 */
#ifndef SUPPORT_BASKETS_H
#define SUPPORT_BASKETS_H

#include "banyan/domain.h"

enum baskets_event {
    BASKET_OPENED,
    BASKET_RENAMED,
    BASKET_ADDED,
    BASKET_REMOVED,
};

struct basket_opened {
    int64_t id;
    struct banyan_str name;
};
struct basket_renamed {
    struct banyan_str name;
};
struct basket_added {
    struct banyan_str label; /* optional */
};
struct basket_removed {
    bool sure;
};

struct basket {
    bool exists;
    int64_t id, items;
    struct banyan_str name;
    struct banyan_str last_label; /* optional */
};

/* Legacy rows. */
struct basket_row {
    int64_t id;
    struct banyan_str name;
};
struct item_row {
    int64_t id, basket;
    struct banyan_str label; /* optional */
};

#define BASKETS_SQL                                                                                                    \
    "CREATE TABLE baskets (id bigint PRIMARY KEY, name text NOT NULL);"                                                \
    "CREATE TABLE items (id bigserial PRIMARY KEY, basket bigint NOT NULL, label text);"                               \
    "CREATE INDEX items_basket ON items (basket, id)"

extern const struct banyan_domain baskets_domain;

#endif
