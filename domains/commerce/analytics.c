/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read model analytics: revenue, funnel and delivery times, each kept up to date with every event.
 *
 *     event ─▶ fact of the order before: taken back from the sums
 *            ─▶ fact of the order after: added to the sums
 *
 * So a change of any kind (a line less, a cancellation, a corrected day) needs no code of its own, and the sums are
 * always those of the facts.  A sum that comes to nothing has no row.
 *
 * Invariant: each row of revenue, funnel and delivery is the sum over the facts; the tests rebuild it from them.
 */
#include "read_models.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "events.h"
#include "order.h"

enum {
    PARTS_MAX = 64, /* categories of one order; what is beyond counts for the last */
    PARTS_BYTES_MAX = 16384,
    PART_NUMBERS_MAX = 64,
    KEY_BYTES_MAX = 4096,
};

#define DAY_US INT64_C(86400000000)

/* ---- tables ---- */

#define FACT_FIELD(kind, name, flags, scale)                                                                           \
    {#name, BANYAN_FIELD_##kind, flags, offsetof(struct fact_row, order.name), scale, NULL},

static const struct banyan_field fact_fields[] = {
    ORDER_ROW_COLUMNS(FACT_FIELD) BANYAN_FIELD_STRING(struct fact_row, parts, 0),
};

static const struct banyan_field revenue_fields[] = {
    BANYAN_FIELD_INT(struct revenue_row, revenue_id, 0),
    BANYAN_FIELD_TIME(struct revenue_row, day, 0),
    BANYAN_FIELD_STRING(struct revenue_row, state, 0),
    BANYAN_FIELD_STRING(struct revenue_row, category, 0),
    BANYAN_FIELD_INT(struct revenue_row, orders, 0),
    BANYAN_FIELD_INT(struct revenue_row, units, 0),
    BANYAN_FIELD_DECIMAL(struct revenue_row, items, 0, COMMERCE_SCALE),
    BANYAN_FIELD_DECIMAL(struct revenue_row, freight, 0, COMMERCE_SCALE),
};

static const struct banyan_field funnel_fields[] = {
    BANYAN_FIELD_INT(struct funnel_row, funnel_id, 0),
    BANYAN_FIELD_TIME(struct funnel_row, day, 0),
    BANYAN_FIELD_STRING(struct funnel_row, status, 0),
    BANYAN_FIELD_INT(struct funnel_row, orders, 0),
};

static const struct banyan_field delivery_fields[] = {
    BANYAN_FIELD_INT(struct delivery_row, delivery_id, 0),
    BANYAN_FIELD_STRING(struct delivery_row, state, 0),
    BANYAN_FIELD_INT(struct delivery_row, days, 0),
    BANYAN_FIELD_INT(struct delivery_row, orders, 0),
};

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, COMMERCE_COUNT(fields)                                                             \
    }

static const struct banyan_record fact_record = RECORD("OrderFact", struct fact_row, fact_fields);
const struct banyan_record commerce_revenue_record = RECORD("Revenue", struct revenue_row, revenue_fields);
static const struct banyan_record funnel_record = RECORD("Funnel", struct funnel_row, funnel_fields);
static const struct banyan_record delivery_record = RECORD("Delivery", struct delivery_row, delivery_fields);

static const struct banyan_view_index revenue_indexes[] = {{"by_state", "state", "day"},
                                                           {"by_category", "category", "day"}};
static const struct banyan_view_index funnel_indexes[] = {{"by_status", "status", "day"}};

const struct banyan_table commerce_analytics_tables[ANALYTICS_TABLE_COUNT] = {
    [ANALYTICS_FACTS] = {"analytics", &fact_record, "order_id", NULL, 0, NULL},
    [ANALYTICS_REVENUE] = {"revenue", &commerce_revenue_record, "revenue_id", revenue_indexes, 2, NULL},
    [ANALYTICS_FUNNEL] = {"funnel", &funnel_record, "funnel_id", funnel_indexes, 1, NULL},
    [ANALYTICS_DELIVERY] = {"delivery", &delivery_record, "delivery_id", NULL, 0, NULL},
};

/* ---- parts: what the lines of an order come to by category, as "units items freight category" on a line each ---- */

struct part {
    struct banyan_str category;
    int64_t units;
    __int128 items, freight; /* units of money */
};

static struct part *find_part(struct part parts[PARTS_MAX], size_t *count, struct banyan_str category)
{
    for (size_t i = 0; i < *count; i++) {
        if (banyan_str_equal(parts[i].category, category))
            return &parts[i];
    }
    if (*count == PARTS_MAX)
        return &parts[PARTS_MAX - 1];
    parts[*count] = (struct part){.category = category};
    return &parts[(*count)++];
}

/* As text into *text*; the numbers of a part fit 64 bits where commands placed the order, others are cut there. */
static struct banyan_str write_parts(const struct banyan_list *lines, char text[PARTS_BYTES_MAX])
{
    struct part parts[PARTS_MAX];
    size_t count = 0, size = 0;

    for (size_t i = 0; i < lines->count; i++) {
        const struct order_line *line = (const struct order_line *)lines->items + i;
        struct part *part = find_part(parts, &count, line->category);
        struct banyan_decimal price = money_of(0);

        (void)order_line_price(line, &price); /* what does not fit counts as nothing */
        part->units = count_add(part->units, line->quantity);
        part->items = money_units(money_add(money_from_units(part->items), price));
        part->freight = money_units(money_add(money_from_units(part->freight), line->freight));
    }
    for (size_t i = 0; i < count && size + PART_NUMBERS_MAX + parts[i].category.size < PARTS_BYTES_MAX; i++) {
        size += (size_t)snprintf(text + size, PART_NUMBERS_MAX, "%" PRId64 " %" PRId64 " %" PRId64 " ", parts[i].units,
                                 (int64_t)parts[i].items, (int64_t)parts[i].freight);
        for (size_t j = 0; j < parts[i].category.size; j++)
            text[size++] = parts[i].category.data[j] == '\n' ? ' ' : parts[i].category.data[j];
        text[size++] = '\n';
    }
    return (struct banyan_str){text, size};
}

/* The next part of *text*, which is moved behind it; false: none. */
static bool read_part(struct banyan_str *text, struct part *ret)
{
    const char *end = text->size == 0 ? NULL : memchr(text->data, '\n', text->size);
    char *at;

    if (end == NULL)
        return false;
    ret->units = strtoll(text->data, &at, 10);
    ret->items = strtoll(at, &at, 10);
    ret->freight = strtoll(at, &at, 10);
    ret->category = (struct banyan_str){at + 1, (size_t)(end - at - 1)};
    text->size -= (size_t)(end + 1 - text->data);
    text->data = end + 1;
    return true;
}

/* ---- sums ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool is_known(struct banyan_time t)
{
    return !time_is_null(t) && t.us != BANYAN_TIME_INFINITY && t.us != BANYAN_TIME_MINUS_INFINITY;
}

/* The days of what has no known time are all one. */
static struct banyan_time day_of(struct banyan_time t)
{
    return (struct banyan_time){is_known(t) ? floor_div(t.us, DAY_US) * DAY_US : 0};
}

static int64_t key_of(const char *kind, int64_t number, struct banyan_str a, struct banyan_str b)
{
    char text[KEY_BYTES_MAX];
    int size = snprintf(text, sizeof(text), "%s\n%" PRId64 "\n%.*s\n%.*s", kind, number, (int)a.size, a.data,
                        (int)b.size, b.data);

    return banyan_key_of_text((struct banyan_str){text, size < KEY_BYTES_MAX ? (size_t)size : KEY_BYTES_MAX - 1});
}

static void put_or_delete(struct banyan_unit *unit, unsigned table, int64_t key, const void *row, bool some,
                          const void *before)
{
    if (some)
        banyan_unit_put(unit, table, key, row);
    else if (before != NULL)
        banyan_unit_delete(unit, table, key);
}

static void add_revenue(struct banyan_unit *unit, const struct order_row *order, const struct part *part, int sign)
{
    struct revenue_row row = {.day = day_of(order->placed_at),
                              .state = text_or_empty(order->state),
                              .category = part->category,
                              .items = money_of(0),
                              .freight = money_of(0)};
    const struct revenue_row *before;

    row.revenue_id = key_of("revenue", row.day.us, row.state, row.category);
    before = banyan_unit_get(unit, ANALYTICS_REVENUE, row.revenue_id);
    if (before != NULL)
        row = *before;
    row.orders = count_add(row.orders, sign);
    row.units = sign > 0 ? count_add(row.units, part->units) : count_sub(row.units, part->units);
    row.items = money_add(row.items, money_from_units(sign * part->items));
    row.freight = money_add(row.freight, money_from_units(sign * part->freight));
    put_or_delete(unit, ANALYTICS_REVENUE, row.revenue_id, &row, row.orders != 0, before);
}

static void add_funnel(struct banyan_unit *unit, const struct order_row *order, int sign)
{
    struct funnel_row row = {.day = day_of(order->placed_at), .status = text_or_empty(order->status)};
    const struct funnel_row *before;

    row.funnel_id = key_of("funnel", row.day.us, row.status, BANYAN_STR(""));
    before = banyan_unit_get(unit, ANALYTICS_FUNNEL, row.funnel_id);
    row.orders = count_add(before == NULL ? 0 : before->orders, sign);
    put_or_delete(unit, ANALYTICS_FUNNEL, row.funnel_id, &row, row.orders != 0, before);
}

static void add_delivery(struct banyan_unit *unit, const struct order_row *order, int sign)
{
    struct delivery_row row = {.state = text_or_empty(order->state)};
    const struct delivery_row *before;

    if (!is_known(order->placed_at) || !is_known(order->delivered_at))
        return;
    row.days = floor_div(count_sub(order->delivered_at.us, order->placed_at.us), DAY_US);
    row.delivery_id = key_of("delivery", row.days, row.state, BANYAN_STR(""));
    before = banyan_unit_get(unit, ANALYTICS_DELIVERY, row.delivery_id);
    row.orders = count_add(before == NULL ? 0 : before->orders, sign);
    put_or_delete(unit, ANALYTICS_DELIVERY, row.delivery_id, &row, row.orders != 0, before);
}

static bool is_revenue(struct banyan_str status)
{
    return !text_is(status, ORDER_STATUS_CANCELED) && !text_is(status, ORDER_STATUS_REJECTED) &&
           !text_is(status, ORDER_STATUS_UNAVAILABLE);
}

/* What of a fact differs: the other sums need not be touched. */
struct change {
    bool revenue, funnel, delivery;
};

static struct change compare_facts(const struct fact_row *a, const struct fact_row *b)
{
    bool same_day = a->order.placed_at.us == b->order.placed_at.us;
    bool same_state = banyan_str_equal(text_or_empty(a->order.state), text_or_empty(b->order.state));

    return (struct change){
        .revenue = !same_day || !same_state || is_revenue(a->order.status) != is_revenue(b->order.status) ||
                   !banyan_str_equal(text_or_empty(a->parts), text_or_empty(b->parts)),
        .funnel = !same_day || !banyan_str_equal(text_or_empty(a->order.status), text_or_empty(b->order.status)),
        .delivery = !same_day || !same_state || a->order.delivered_at.us != b->order.delivered_at.us,
    };
}

/* Add the fact to the sums that change, or with *sign* -1 take it back. */
static void add_fact(struct banyan_unit *unit, const struct fact_row *fact, struct change change, int sign)
{
    struct banyan_str parts = fact->parts;
    struct part part;

    while (change.revenue && is_revenue(fact->order.status) && read_part(&parts, &part))
        add_revenue(unit, &fact->order, &part, sign);
    if (change.funnel)
        add_funnel(unit, &fact->order, sign);
    if (change.delivery)
        add_delivery(unit, &fact->order, sign);
}

void commerce_analytics_apply(const struct banyan_seen *event, struct banyan_unit *unit)
{
    const struct fact_row *before = banyan_unit_get(unit, ANALYTICS_FACTS, event->key);
    const struct banyan_list *lines = commerce_lines_of(event);
    struct fact_row after;
    struct change change = {true, true, true};
    char parts[PARTS_BYTES_MAX];
    bool exists;

    banyan_record_init(&fact_record, &after);
    if (before != NULL)
        after = *before;
    exists = commerce_fold_order(&after.order, event);
    after.order.order_id = event->key;
    if (lines != NULL)
        after.parts = write_parts(lines, parts);
    if (before != NULL && exists)
        change = compare_facts(before, &after);
    if (before != NULL)
        add_fact(unit, before, change, -1);
    if (exists) {
        add_fact(unit, &after, change, 1);
        banyan_unit_put(unit, ANALYTICS_FACTS, event->key, &after);
    } else if (before != NULL) {
        banyan_unit_delete(unit, ANALYTICS_FACTS, event->key);
    }
}
