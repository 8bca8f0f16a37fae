/* SPDX-License-Identifier: Apache-2.0 */
/* What analytics answers: revenue(from, to, state, category), funnel(from, to), delivery-times(state). */
#include <stdlib.h>

#include "read_models.h"

/* ---- revenue: the rows of the table that fit ---- */

static const struct banyan_field revenue_fields[] = {
    BANYAN_FIELD_TIME(struct revenue_arguments, from, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct revenue_arguments, to, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct revenue_arguments, state, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct revenue_arguments, category, BANYAN_FIELD_OPTIONAL),
};

#define RECORD(name, type, fields)                                                                                     \
    {                                                                                                                  \
        name, sizeof(type), fields, COMMERCE_COUNT(fields)                                                             \
    }

static const struct banyan_record revenue_arguments =
    RECORD("RevenueArguments", struct revenue_arguments, revenue_fields);

struct asked {
    const void *arguments;
    struct banyan_reader *reader;
    struct banyan_answer *answer;
    void *items; /* collected, in the reader's arena */
    size_t count, capacity;
};

static bool in_range(struct banyan_time t, struct banyan_time from, struct banyan_time to)
{
    return (time_is_null(from) || t.us >= from.us) && (time_is_null(to) || t.us < to.us);
}

static bool take_revenue(void *context, const void *item)
{
    const struct asked *asked = context;
    const struct revenue_arguments *arguments = asked->arguments;
    const struct revenue_row *row = item;

    if (in_range(row->day, arguments->from, arguments->to) &&
        (arguments->state.data == NULL || banyan_str_equal(arguments->state, row->state)) &&
        (arguments->category.data == NULL || banyan_str_equal(arguments->category, row->category)))
        banyan_answer_row(asked->answer, row);
    return true;
}

static void answer_revenue(const void *arguments, struct banyan_reader *reader, struct banyan_answer *answer)
{
    const struct revenue_arguments *revenue = arguments;
    const struct banyan_table *table = &commerce_analytics_tables[ANALYTICS_REVENUE];
    struct asked asked = {.arguments = arguments, .reader = reader, .answer = answer};
    struct banyan_reader_list list = {.table = ANALYTICS_REVENUE, .from = COMMERCE_NO_TIME, .to = COMMERCE_NO_TIME};

    if (revenue->state.data != NULL || revenue->category.data != NULL) {
        list.index = &table->indexes[revenue->state.data != NULL ? 0 : 1];
        list.equal = revenue->state.data != NULL ? revenue->state : revenue->category;
        list.from = revenue->from;
        list.to = revenue->to;
    }
    banyan_reader_each(reader, &list, take_revenue, &asked);
}

/* ---- funnel: orders by the status that they have now ---- */

static const struct banyan_field funnel_fields[] = {
    BANYAN_FIELD_TIME(struct funnel_arguments, from, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct funnel_arguments, to, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field funnel_answer_fields[] = {
    BANYAN_FIELD_STRING(struct funnel_answer, status, 0),
    BANYAN_FIELD_INT(struct funnel_answer, orders, 0),
};

static const struct banyan_record funnel_arguments = RECORD("FunnelArguments", struct funnel_arguments, funnel_fields);
static const struct banyan_record funnel_answer = RECORD("FunnelAnswer", struct funnel_answer, funnel_answer_fields);

/* Room for one more item of *size* bytes. */
static void *grow(struct asked *asked, size_t size)
{
    if (asked->count == asked->capacity) {
        void *grown;

        asked->capacity = asked->capacity == 0 ? 16 : 2 * asked->capacity;
        grown = banyan_arena_alloc(banyan_reader_arena(asked->reader), asked->capacity * size);
        if (asked->count > 0)
            memcpy(grown, asked->items, asked->count * size);
        asked->items = grown;
    }
    return (char *)asked->items + asked->count++ * size;
}

static bool take_funnel(void *context, const void *item)
{
    struct asked *asked = context;
    const struct funnel_arguments *arguments = asked->arguments;
    const struct funnel_row *row = item;
    struct funnel_answer *sums = asked->items;

    if (!in_range(row->day, arguments->from, arguments->to))
        return true;
    for (size_t i = 0; i < asked->count; i++) {
        if (banyan_str_equal(sums[i].status, row->status)) {
            sums[i].orders = count_add(sums[i].orders, row->orders);
            return true;
        }
    }
    *(struct funnel_answer *)grow(asked, sizeof(struct funnel_answer)) =
        (struct funnel_answer){banyan_arena_str(banyan_reader_arena(asked->reader), row->status), row->orders};
    return true;
}

static int compare_funnel(const void *a, const void *b)
{
    const struct funnel_answer *left = a, *right = b;
    size_t size = left->status.size < right->status.size ? left->status.size : right->status.size;
    int order = size == 0 ? 0 : memcmp(left->status.data, right->status.data, size);

    if (left->orders != right->orders)
        return left->orders > right->orders ? -1 : 1;
    return order != 0 ? order : (left->status.size > right->status.size) - (left->status.size < right->status.size);
}

/* The status with the most orders first. */
static void answer_funnel(const void *arguments, struct banyan_reader *reader, struct banyan_answer *answer)
{
    struct asked asked = {.arguments = arguments, .reader = reader};
    struct banyan_reader_list list = {.table = ANALYTICS_FUNNEL, .from = COMMERCE_NO_TIME, .to = COMMERCE_NO_TIME};

    banyan_reader_each(reader, &list, take_funnel, &asked);
    if (asked.count > 0)
        qsort(asked.items, asked.count, sizeof(struct funnel_answer), compare_funnel);
    for (size_t i = 0; i < asked.count; i++)
        banyan_answer_row(answer, (const struct funnel_answer *)asked.items + i);
}

/* ---- delivery-times ---- */

static const struct banyan_field delivery_fields[] = {
    BANYAN_FIELD_STRING(struct delivery_arguments, state, BANYAN_FIELD_OPTIONAL),
};

static const struct banyan_field delivery_answer_fields[] = {
    BANYAN_FIELD_INT(struct delivery_answer, orders, 0), BANYAN_FIELD_INT(struct delivery_answer, p50, 0),
    BANYAN_FIELD_INT(struct delivery_answer, p90, 0),    BANYAN_FIELD_INT(struct delivery_answer, p99, 0),
    BANYAN_FIELD_INT(struct delivery_answer, least, 0),  BANYAN_FIELD_INT(struct delivery_answer, most, 0),
};

static const struct banyan_record delivery_arguments =
    RECORD("DeliveryArguments", struct delivery_arguments, delivery_fields);
static const struct banyan_record delivery_answer =
    RECORD("DeliveryAnswer", struct delivery_answer, delivery_answer_fields);

struct bar {
    int64_t days;
    int64_t orders;
};

static bool take_delivery(void *context, const void *item)
{
    struct asked *asked = context;
    const struct delivery_arguments *arguments = asked->arguments;
    const struct delivery_row *row = item;

    if (arguments->state.data == NULL || banyan_str_equal(arguments->state, row->state))
        *(struct bar *)grow(asked, sizeof(struct bar)) = (struct bar){row->days, row->orders};
    return true;
}

static int compare_bars(const void *a, const void *b)
{
    int64_t left = ((const struct bar *)a)->days, right = ((const struct bar *)b)->days;

    return (left > right) - (left < right);
}

static int64_t percentile(const struct bar *bars, size_t count, int64_t orders, int64_t percent)
{
    int64_t rank = (int64_t)(((__int128)orders * percent + 99) / 100), seen = 0;

    for (size_t i = 0; i < count; i++) {
        seen += bars[i].orders;
        if (seen >= rank)
            return bars[i].days;
    }
    return count == 0 ? 0 : bars[count - 1].days;
}

static void answer_delivery(const void *arguments, struct banyan_reader *reader, struct banyan_answer *answer)
{
    struct asked asked = {.arguments = arguments, .reader = reader};
    struct banyan_reader_list list = {.table = ANALYTICS_DELIVERY, .from = COMMERCE_NO_TIME, .to = COMMERCE_NO_TIME};
    struct delivery_answer row = {.orders = 0};
    const struct bar *bars;

    banyan_reader_each(reader, &list, take_delivery, &asked);
    bars = asked.items;
    if (asked.count > 0) {
        qsort(asked.items, asked.count, sizeof(*bars), compare_bars);
        for (size_t i = 0; i < asked.count; i++)
            row.orders = count_add(row.orders, bars[i].orders);
        row.p50 = percentile(bars, asked.count, row.orders, 50);
        row.p90 = percentile(bars, asked.count, row.orders, 90);
        row.p99 = percentile(bars, asked.count, row.orders, 99);
        row.least = bars[0].days;
        row.most = bars[asked.count - 1].days;
    }
    banyan_answer_row(answer, &row);
}

const struct banyan_query commerce_analytics_queries[ANALYTICS_QUERY_COUNT] = {
    {"revenue", &revenue_arguments, &commerce_revenue_record, answer_revenue},
    {"funnel", &funnel_arguments, &funnel_answer, answer_funnel},
    {"delivery-times", &delivery_arguments, &delivery_answer, answer_delivery},
};
