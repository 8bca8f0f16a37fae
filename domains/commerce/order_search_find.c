/* SPDX-License-Identifier: Apache-2.0 */
/* What order_search answers without words: find(city, state, status, from, to), newest first. */
#include "read_models.h"

struct find_arguments {
    struct banyan_str city, state, status; /* optional */
    struct banyan_time from, to;           /* of the placement; optional */
    int64_t limit;                         /* 0: 50 */
};

static const struct banyan_field find_fields[] = {
    BANYAN_FIELD_STRING(struct find_arguments, city, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct find_arguments, state, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_STRING(struct find_arguments, status, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct find_arguments, from, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_TIME(struct find_arguments, to, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct find_arguments, limit, 0),
};

static const struct banyan_record find_record = {"FindOrders", sizeof(struct find_arguments), find_fields,
                                                 COMMERCE_COUNT(find_fields)};

struct finding {
    const struct find_arguments *arguments;
    struct banyan_answer *answer;
    int64_t left;
};

static bool matches(struct banyan_str wanted, struct banyan_str value)
{
    return wanted.data == NULL || banyan_str_equal(wanted, value);
}

static bool take(void *context, const void *item)
{
    struct finding *finding = context;
    const struct find_arguments *arguments = finding->arguments;
    const struct order_search_row *row = item;

    if (matches(arguments->city, row->city) && matches(arguments->state, row->state) &&
        matches(arguments->status, row->status)) {
        banyan_answer_row(finding->answer, row);
        finding->left--;
    }
    return finding->left > 0;
}

static void find(const void *arguments, struct banyan_reader *reader, struct banyan_answer *answer)
{
    const struct find_arguments *find = arguments;
    struct finding finding = {find, answer, find->limit == 0 ? 50 : find->limit};
    struct banyan_reader_list list = {.from = find->from, .to = find->to};

    if (find->limit < 0 || find->limit > 1000) {
        banyan_answer_refuse(answer, "limit is between 1 and 1000");
        return;
    }
    if (find->city.data == NULL && find->status.data == NULL) {
        banyan_answer_refuse(answer, "give a city or a status, or use the search");
        return;
    }
    list.index = &commerce_order_search_tables[0].indexes[find->city.data != NULL ? 0 : 1];
    list.equal = find->city.data != NULL ? find->city : find->status;
    banyan_reader_each(reader, &list, take, &finding);
}

const struct banyan_query commerce_order_search_queries[1] = {{"find", &find_record, &commerce_order_search_row, find}};
