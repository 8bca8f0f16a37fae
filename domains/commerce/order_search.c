/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read model order_search: orders by any word of their customer, products, categories, place, number or status.
 *
 * Texts are cut at a few kilobytes: who searches for the two-hundredth product of an order finds it by another word.
 */
#include <stdio.h>

#include "events.h"
#include "read_models.h"

enum {
    TEXT_BYTES_MAX = 4096,
};

static const struct banyan_field fields[] = {
    BANYAN_FIELD_INT(struct order_search_row, order_id, 0),
    BANYAN_FIELD_STRING(struct order_search_row, reference, 0),
    BANYAN_FIELD_INT(struct order_search_row, customer_id, 0),
    BANYAN_FIELD_STRING(struct order_search_row, customer, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_search_row, products, 0),
    BANYAN_FIELD_STRING(struct order_search_row, categories, 0),
    BANYAN_FIELD_STRING(struct order_search_row, city, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_search_row, state, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct order_search_row, status, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_DECIMAL(struct order_search_row, total, 0, COMMERCE_SCALE),
    BANYAN_FIELD_TIME(struct order_search_row, placed_at, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct order_search_row, updated_at, BANYAN_FIELD_OPTIONAL),
};

const struct banyan_record commerce_order_search_row = {"OrderSearch", sizeof(struct order_search_row), fields,
                                                        COMMERCE_COUNT(fields)};

static const struct banyan_view_index indexes[] = {
    {"by_city", "city", "placed_at"},
    {"by_status", "status", "placed_at"},
    {"by_customer", "customer_id", "placed_at"},
};

const struct banyan_table commerce_order_search_tables[1] = {
    {"order_search", &commerce_order_search_row, "order_id", indexes, COMMERCE_COUNT(indexes),
     (const char *const[]){"reference", "customer", "products", "categories", "city", "state", "status", NULL}},
};

/* ---- the texts ---- */

struct text {
    size_t size;
    char data[TEXT_BYTES_MAX];
};

static bool has_part(const struct text *text, struct banyan_str part)
{
    for (size_t start = 0, end; start < text->size; start = end + 1) {
        for (end = start; end < text->size && text->data[end] != '\n'; end++)
            ;
        if (banyan_str_equal((struct banyan_str){text->data + start, end - start}, part))
            return true;
    }
    return false;
}

/* Each part once, on a line of its own. */
static void add_part(struct text *text, struct banyan_str part)
{
    if (part.size == 0 || text->size + 1 + part.size > TEXT_BYTES_MAX || has_part(text, part))
        return;
    if (text->size > 0)
        text->data[text->size++] = '\n';
    memcpy(text->data + text->size, part.data, part.size);
    text->size += part.size;
}

static struct banyan_str text_str(const struct text *text)
{
    return (struct banyan_str){text->data, text->size};
}

/* ---- the fold ---- */

static struct order_row order_of(const struct order_search_row *row)
{
    struct order_row order = {
        .order_id = row->order_id,
        .customer_id = row->customer_id,
        .customer = row->customer,
        .city = row->city,
        .state = row->state,
        .status = row->status,
        .items_total = row->total,
        .freight_total = money_of(0),
        .placed_at = row->placed_at,
        .updated_at = row->updated_at,
    };

    return order;
}

void commerce_order_search_apply(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct order_search_row *before = banyan_unit_get(unit, 0, event->key);
    const struct banyan_list *lines = commerce_lines_of(event);
    struct text products, categories, reference;
    struct order_search_row row;
    struct order_row order;

    banyan_record_init(&commerce_order_search_row, &row);
    if (before != NULL)
        row = *before;
    order = order_of(&row);
    if (!commerce_fold_order(&order, event)) {
        if (before != NULL)
            banyan_unit_delete(unit, 0, event->key);
        return;
    }
    row.order_id = event->key;
    row.customer_id = order.customer_id;
    row.customer = order.customer;
    row.city = order.city;
    row.state = order.state;
    row.status = order.status;
    row.total = money_add(order.items_total, order.freight_total);
    row.placed_at = order.placed_at;
    row.updated_at = order.updated_at;
    reference.size = (size_t)snprintf(reference.data, sizeof(reference.data), "%lld", (long long)event->key);
    if (event->type == ORDER_PLACED || event->type == ORDER_RECONCILED)
        add_part(&reference, text_or_empty(order.external_id));
    if (before == NULL || event->type == ORDER_PLACED || event->type == ORDER_RECONCILED)
        row.reference = text_str(&reference);
    products.size = categories.size = 0;
    for (size_t i = 0; lines != NULL && i < lines->count; i++) {
        add_part(&products, ((const struct order_line *)lines->items)[i].product);
        add_part(&categories, ((const struct order_line *)lines->items)[i].category);
    }
    if (lines != NULL || before == NULL) {
        row.products = text_str(&products);
        row.categories = text_str(&categories);
    }
    banyan_unit_put(unit, 0, event->key, &row);
}
