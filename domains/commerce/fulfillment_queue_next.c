/* SPDX-License-Identifier: Apache-2.0 */
/* What fulfillment_queue answers: next(warehouse, now), jobs that a worker can ask for, those that wait longest first.
 */
#include <stdio.h>

#include "read_models.h"

enum {
    WAREHOUSE_TEXT_MAX = 24,
    NEXT_MAX = 1000,
};

struct next_arguments {
    int64_t warehouse_id;
    struct banyan_time now;
    int64_t limit; /* 0: 20 */
};

static const struct banyan_field next_fields[] = {
    BANYAN_FIELD_INT(struct next_arguments, warehouse_id, 0),
    BANYAN_FIELD_TIME(struct next_arguments, now, BANYAN_FIELD_OPTIONAL),
    BANYAN_FIELD_INT(struct next_arguments, limit, 0),
};

static const struct banyan_record next_record = {"NextJobs", sizeof(struct next_arguments), next_fields,
                                                 COMMERCE_COUNT(next_fields)};

/* The last *limit* rows that were seen; the list is newest first, so they are the oldest. */
struct oldest {
    const struct next_arguments *arguments;
    struct banyan_arena *arena;
    struct queue_row *rows;
    size_t seen, limit;
};

static bool keep(void *context, const void *item)
{
    struct oldest *oldest = context;
    const struct queue_row *row = item;
    bool leased = text_is(row->state.job, JOB_STATUS_LEASED) && row->state.lease_until.us > oldest->arguments->now.us;

    if (!leased && row->state.attempts < JOB_ATTEMPTS_MAX)
        banyan_record_copy(&commerce_queue_row, &oldest->rows[oldest->seen++ % oldest->limit], row, oldest->arena);
    return true;
}

static void next(const void *arguments, struct banyan_reader *reader, struct banyan_answer *answer)
{
    const struct next_arguments *next = arguments;
    struct oldest oldest = {next, banyan_reader_arena(reader), NULL, 0, next->limit == 0 ? 20 : (size_t)next->limit};
    char warehouse[WAREHOUSE_TEXT_MAX];
    struct banyan_reader_list list = {.index = &commerce_fulfillment_queue_tables[0].indexes[0],
                                      .from = COMMERCE_NO_TIME,
                                      .to = {count_add(next->now.us, 1)}};

    if (next->limit < 0 || next->limit > NEXT_MAX) {
        banyan_answer_refuse(answer, "limit is between 1 and 1000");
        return;
    }
    if (time_is_null(next->now)) {
        banyan_answer_refuse(answer, "now is missing: the time at which the jobs are to be free");
        return;
    }
    list.equal = (struct banyan_str){
        warehouse, (size_t)snprintf(warehouse, sizeof(warehouse), "%lld", (long long)next->warehouse_id)};
    oldest.rows = banyan_arena_alloc(oldest.arena, oldest.limit * sizeof(*oldest.rows));
    banyan_reader_each(reader, &list, keep, &oldest);
    for (size_t left = oldest.seen < oldest.limit ? oldest.seen : oldest.limit; left > 0; left--)
        banyan_answer_row(answer, &oldest.rows[--oldest.seen % oldest.limit]);
}

const struct banyan_query commerce_fulfillment_queue_queries[1] = {{"next", &next_record, &commerce_queue_row, next}};
