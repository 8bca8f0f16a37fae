// SPDX-License-Identifier: Apache-2.0
/* The orders that the load driver knows to be open, and the choice of the next request. */
#ifndef LEGACY_OMS_BOOK_H
#define LEGACY_OMS_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../common/random.h"

enum operation {
    OPERATION_PLACE,
    OPERATION_FILL,
    OPERATION_MATCH, /* POST /fills of two orders */
    OPERATION_MODIFY,
    OPERATION_CANCEL,
    OPERATION_GET,
    OPERATION_LIST,
    OPERATION_COUNT,
};

extern const char *const operation_names[OPERATION_COUNT];

/* What is known to have happened, and how much of it the server said to have recorded. */
struct truth {
    int64_t placed, modified, modified_audited, canceled, canceled_audited, fills, filled;
    int64_t adopted;   /* open orders of others that this driver went on to change */
    int64_t conflicts; /* 404 and 409: the order was not as this driver believed */
    int64_t unknown;   /* changes whose outcome is not known: connection lost, or an error but 503 */
};

struct plan {
    enum operation operation;
    char path[160];
    char body[320]; /* empty for GET */
    int64_t order_ids[2];
    int64_t quantities[2]; /* of a fill; the new one of a modification */
    int64_t price;         /* of a placing or modification */
    int symbol;            /* of a placing */
    bool is_buy;
    int64_t ended_before; /* how many orders had ended when this was sent */
};

struct book;

struct book *book_new(uint64_t seed, const int shares[OPERATION_COUNT]);
void book_free(struct book *book);

/* Chooses the next request; its orders are not chosen again until book_apply(). */
void book_plan(struct book *book, struct plan *ret_plan);

/* Takes the answer in.  code 0: no answer.  False when that counts as an error. */
bool book_apply(struct book *book, const struct plan *plan, int code, const char *body, size_t length);

const struct truth *book_truth(const struct book *book);

#endif
