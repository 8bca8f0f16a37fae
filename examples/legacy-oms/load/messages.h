// SPDX-License-Identifier: Apache-2.0
/* A recording of an exchange's order messages, and the writes that legacy-oms would have done for them. */
#ifndef LEGACY_OMS_MESSAGES_H
#define LEGACY_OMS_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum write_kind { WRITE_PLACE = 1, WRITE_MODIFY_PRICE, WRITE_MODIFY_QUANTITY, WRITE_FILL, WRITE_CANCEL };

/* One request, and the event that it should become. */
struct order_write {
    int64_t order_id;
    size_t number; /* writes run in this order */
    int64_t quantity, price;
    int64_t old;       /* of a modification */
    int64_t filled;    /* after a fill */
    int64_t remaining; /* after a fill */
    enum write_kind kind;
    bool is_buy;
};

struct message_counts {
    int64_t messages, messages_created, messages_changed, messages_deleted;
    int64_t created;  /* orders placed because of a `created` */
    int64_t imported; /* orders placed because another message names them first */
    int64_t imported_without_quantity;
    int64_t modified, partially_filled, filled, canceled;
    int64_t created_filled, created_canceled; /* the orders among these that are not imported */
    int64_t ignored_duplicate, ignored_after_end, ignored_created_after_end, ignored_unchanged;
    int64_t price_unlike_first; /* `changed` with another price than the order's first message */
};

struct message_writes {
    struct order_write *writes; /* by order, then in the order of the file */
    size_t count, room;
    struct message_counts counts;
};

/* Reads a .csv, or a .csv.xz through xz.  False after it has printed what is wrong. */
bool message_writes_read(const char *path, struct message_writes *ret_writes);
void message_writes_release(struct message_writes *writes);

int64_t message_trader(int64_t order_id);

/* The expected events, one a line: order id, event, field=value…, separated by tabs; by order id. */
void message_writes_print(const struct message_writes *writes, FILE *out);

#endif
