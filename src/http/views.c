/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read models: rows by key, lists, searches and the domain's queries, each with its freshness.
 *
 *   /views/{view}/{key}                    a row of the first table     /views/{view}/tables/{table}/{key}
 *   /views/{view}?{column}={value}         a list of it                 /views/{view}/tables/{table}?{column}={value}
 *   /views/{view}/search?q={words}         a search in it               /views/{view}/queries/{query}?{argument}=…
 *
 * Each answer says to which position its rows belong, when the newest event in them was recorded, and from which
 * generation they are.  A view that was never built whole is not shown: 503, and when to come again; where the newest
 * keys are ready before the others, what touches others is answered so (projection/ready.h).
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "http/http_int.h"
#include "os/clock.h"
#include "projection/query.h"
#include "sink/sink_value.h"

enum {
    AFTER_TEXT_SIZE = 64,
    SKIP_MAX = 10000,
};

/* What is asked: which view and table, by the path. */
struct asked {
    size_t view;
    unsigned table;
    const struct banyan_projection *projection;
    const struct banyan_table *rows;
    struct sink_view *reader;
};

/* ---- rows ---- */

struct rows {
    const struct banyan_record *record;
    const struct banyan_field *range; /* of the list's index */
    struct banyan_buf *body;
    size_t count, limit; /* a row more than limit only says that there is a next page */
    bool more;
    struct banyan_time last_range;
    int64_t last_key;
};

static enum banyan_status add_row(void *context, int64_t key, const void *row, struct banyan_error *err)
{
    struct rows *rows = context;
    (void)err;
    if (rows->count == rows->limit) {
        rows->more = true;
        return BANYAN_OK;
    }
    banyan_buf_add_text(rows->body, rows->count++ > 0 ? "," : "");
    banyan_record_json(rows->record, row, rows->body);
    rows->last_key = key;
    if (rows->range != NULL)
        rows->last_range = *(const struct banyan_time *)(const void *)((const char *)row + rows->range->offset);
    return BANYAN_OK;
}

static void add_freshness(struct http_call *call, const struct sink_checkpoint *checkpoint)
{
    struct banyan_buf time = BANYAN_BUF_INIT(64);
    http_header(call, "Banyan-Position", "%" PRIu64, checkpoint->position.value);
    http_header(call, "Banyan-Generation", "%" PRIu32, checkpoint->generation);
    if (checkpoint->ready.partial)
        http_header(call, "Banyan-Ready-From", "%" PRId64, checkpoint->ready.from);
    if (checkpoint->position.value > 0 && checkpoint->at.us != BANYAN_TIME_NULL) {
        http_add_time(&time, checkpoint->at);
        http_header(call, "Banyan-Last-Event", "%.*s", (int)time.size - 2, time.data + 1); /* its quotes */
    }
    banyan_buf_release(&time);
}

/* When it will be whole. */
static void add_retry(struct http_call *call, size_t view)
{
    struct projection_status status;
    projections_status(call->server->options.projections, view, &status);
    int64_t eta_us = status.rebuild.phase == REBUILD_NONE ? status.eta_us : status.rebuild.eta_us;
    int64_t seconds = eta_us == INT64_MAX || eta_us < 0 ? 60 : eta_us / 1000000 + 1;
    http_header(call, "Retry-After", "%" PRId64, seconds > 3600 ? 3600 : seconds);
}

static void not_built(struct http_call *call, size_t view)
{
    add_retry(call, view);
    http_problem(call, 503, "GET /projections shows how long it will take", "view %s is still being built",
                 projections_name(call->server->options.projections, view));
}

static void reply_rows(struct http_call *call, const struct asked *asked, enum banyan_status status,
                       const struct sink_checkpoint *checkpoint, const struct banyan_buf *body,
                       const struct banyan_error *err)
{
    if (status == BANYAN_NOT_FOUND && checkpoint->generation == 0) { /* none serves any more */
        not_built(call, asked->view);
        return;
    }
    if (status == BANYAN_BUSY && checkpoint->ready.partial) {
        add_retry(call, asked->view);
        add_freshness(call, checkpoint);
    }
    if (status != BANYAN_OK) {
        http_failure(call, err);
        return;
    }
    add_freshness(call, checkpoint);
    http_add_rebuild_headers(call, asked->view);
    http_reply(call, 200, "application/json", body);
}

static void one(struct http_call *call, const struct asked *asked, const char *text)
{
    static const char *const none[] = {NULL};
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint = {.generation = 0};
    struct rows rows = {.record = asked->rows->row, .body = &body, .limit = 1};
    int64_t key;
    if (!http_only(call, none))
        return;
    if (!http_parse_key(text, &key)) {
        http_problem(call, 400, "keys are integers", "\"%.100s\" is no key", text);
        return;
    }
    enum banyan_status st =
        asked->reader->ops->get(asked->reader, asked->table, key, &checkpoint, add_row, &rows, &err);
    if (st == BANYAN_OK && rows.count == 0) {
        add_freshness(call, &checkpoint);
        http_problem(call, 404, NULL, "view %s has no row %" PRId64 " in table %s",
                     projections_name(call->server->options.projections, asked->view), key, asked->rows->name);
    } else {
        reply_rows(call, asked, st, &checkpoint, &body, &err);
    }
    banyan_buf_release(&body);
}

/* ---- lists ---- */

/* The index whose column is among the parameters; a problem is sent where there is none or something unknown. */
static const struct banyan_view_index *choose_index(struct http_call *call, const struct banyan_table *table)
{
    const struct banyan_view_index *chosen = NULL;
    const char *known[] = {"from", "to", "limit", "after", "partial", NULL, NULL};
    for (size_t i = 0; i < table->index_count; i++)
        if (http_parameter(call, table->indexes[i].equal) != NULL && chosen == NULL)
            chosen = &table->indexes[i];
    if (chosen != NULL)
        known[5] = chosen->equal;
    if (chosen == NULL) {
        char names[512] = "";
        for (size_t i = 0; i < table->index_count && strlen(names) < 400; i++) {
            strncat(names, i > 0 ? ", " : "lists are by ", 32);
            strncat(names, table->indexes[i].equal, 64);
        }
        http_problem(call, 400, names, "a list needs a column to select by");
        return NULL;
    }
    return http_only(call, known) ? chosen : NULL;
}

/* partial=true: what is ready will do. */
static bool partial_parameter(struct http_call *call, bool *ret)
{
    const char *text = http_parameter(call, "partial");
    *ret = text != NULL && strcmp(text, "true") == 0;
    if (text == NULL || *ret || strcmp(text, "false") == 0)
        return true;
    http_problem(call, 400, "docs/HTTP.md says what it does", "partial is true or false");
    return false;
}

static bool after_parameter(struct http_call *call, struct sink_list *query)
{
    const char *text = http_parameter(call, "after");
    const char *point = text == NULL ? NULL : strchr(text, '.');
    char range[AFTER_TEXT_SIZE];
    if (text == NULL)
        return true;
    query->after = true;
    if (point != NULL && (size_t)(point - text) < sizeof(range)) {
        memcpy(range, text, (size_t)(point - text));
        range[point - text] = '\0';
        if (http_parse_key(range, &query->after_range.us) && http_parse_key(point + 1, &query->after_key))
            return true;
    }
    http_problem(call, 400, "give back `next` of the page before, unchanged", "after is no continuation");
    return false;
}

static void list(struct http_call *call, const struct asked *asked)
{
    const struct banyan_view_index *index = choose_index(call, asked->rows);
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint = {.generation = 0};
    uint64_t limit;
    if (index == NULL)
        return;
    struct sink_list query = {
        .table = asked->table, .index = index, .equal = banyan_str_of(http_parameter(call, index->equal))};
    struct rows rows = {.record = asked->rows->row,
                        .range = banyan_record_field(asked->rows->row, banyan_str_of(index->range)),
                        .body = &body};
    if (!http_time(call, "from", &query.from) || !http_time(call, "to", &query.to) || !after_parameter(call, &query) ||
        !partial_parameter(call, &query.ready_only) ||
        !http_number(call, "limit", HTTP_LIMIT_DEFAULT, 1, HTTP_LIMIT_MAX, &limit))
        return;
    query.limit = limit + 1;
    rows.limit = limit;
    banyan_buf_add_text(&body, "{\"items\":[");
    enum banyan_status st = asked->reader->ops->list(asked->reader, &query, &checkpoint, add_row, &rows, &err);
    banyan_buf_add_text(&body, "]");
    if (rows.more)
        banyan_buf_printf(&body, ",\"next\":\"%" PRId64 ".%" PRId64 "\"", rows.last_range.us, rows.last_key);
    banyan_buf_add_text(&body, "}\n");
    reply_rows(call, asked, st, &checkpoint, &body, &err);
    banyan_buf_release(&body);
}

/* ---- searches ---- */

/* Every other parameter is a column that has to have its value. */
static bool search_columns(struct http_call *call, const struct banyan_table *table, struct sink_search *query)
{
    static const char *const words[] = {"q", "from", "to", "by", "limit", "skip", "partial"};
    for (size_t i = 0; i < call->parameter_count; i++) {
        const struct http_parameter *parameter = &call->parameters[i];
        bool is_word = false;
        for (size_t w = 0; w < sizeof(words) / sizeof(words[0]); w++)
            is_word |= strcmp(words[w], parameter->name) == 0;
        if (is_word)
            continue;
        const struct banyan_field *field = banyan_record_field(table->row, banyan_str_of(parameter->name));
        if (field == NULL || query->equal_count == sizeof(query->equal) / sizeof(query->equal[0])) {
            http_problem(call, 400, "docs/HTTP.md lists the parameters of a search", "%.100s is no column of %s",
                         parameter->name, table->name);
            return false;
        }
        query->equal[query->equal_count].column = field->name;
        query->equal[query->equal_count++].value = banyan_str_of(parameter->value);
    }
    return true;
}

/* The times are of the column *by*, or of the first list's. */
static bool search_range(struct http_call *call, const struct banyan_table *table, struct sink_search *query)
{
    const char *by = http_parameter(call, "by");
    if (!http_time(call, "from", &query->from) || !http_time(call, "to", &query->to))
        return false;
    if (by == NULL && query->from.us == BANYAN_TIME_NULL && query->to.us == BANYAN_TIME_NULL)
        return true;
    if (by == NULL && table->index_count > 0)
        by = table->indexes[0].range;
    const struct banyan_field *field = by == NULL ? NULL : banyan_record_field(table->row, banyan_str_of(by));
    if (field == NULL || field->kind != BANYAN_FIELD_TIME) {
        http_problem(call, 400, "by names a column of times", "from and to need a time of %s", table->name);
        return false;
    }
    query->range = field->name;
    return true;
}

static void search(struct http_call *call, const struct asked *asked)
{
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint = {.generation = 0};
    struct sink_search query = {.table = asked->table};
    const char *text = http_parameter(call, "q");
    uint64_t limit, skip;
    if (asked->rows->search == NULL) {
        http_problem(call, 404, "lists are by a column: /views/{view}?{column}={value}", "view %s has no search",
                     projections_name(call->server->options.projections, asked->view));
        return;
    }
    if (!search_columns(call, asked->rows, &query) || !search_range(call, asked->rows, &query) ||
        !partial_parameter(call, &query.ready_only) ||
        !http_number(call, "limit", HTTP_LIMIT_DEFAULT, 1, HTTP_LIMIT_MAX, &limit) ||
        !http_number(call, "skip", 0, 0, SKIP_MAX, &skip))
        return;
    query.text = text == NULL ? BANYAN_STR("") : banyan_str_of(text);
    query.limit = limit + 1;
    query.skip = skip;
    struct rows rows = {.record = asked->rows->row, .body = &body, .limit = limit};
    banyan_buf_add_text(&body, "{\"items\":[");
    enum banyan_status st = asked->reader->ops->search(asked->reader, &query, &checkpoint, add_row, &rows, &err);
    banyan_buf_add_text(&body, "]");
    if (rows.more)
        banyan_buf_printf(&body, ",\"next_skip\":%" PRIu64, skip + limit);
    banyan_buf_add_text(&body, "}\n");
    reply_rows(call, asked, st, &checkpoint, &body, &err);
    banyan_buf_release(&body);
}

/* ---- queries ---- */

/* Each argument from the parameter of its name; those that are not there stay fresh. */
static bool query_arguments(struct http_call *call, const struct banyan_query *query, void *ret)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    const char *known[BANYAN_FIELDS_MAX + 1] = {NULL};
    for (size_t i = 0; i < query->arguments->field_count; i++)
        known[i] = query->arguments->fields[i].name;
    if (!http_only(call, known))
        return false;
    banyan_record_init(query->arguments, ret);
    for (size_t i = 0; i < query->arguments->field_count; i++) {
        const struct banyan_field *field = &query->arguments->fields[i];
        const char *text = http_parameter(call, field->name);
        if (text == NULL)
            continue;
        if (field->kind == BANYAN_FIELD_TIME) {
            if (!http_time(call, field->name, (struct banyan_time *)(void *)((char *)ret + field->offset)))
                return false;
        } else if (sink_value_parse(field, banyan_str_of(text), ret, &err) != BANYAN_OK) {
            http_failure(call, &err);
            return false;
        }
    }
    return true;
}

static void query(struct http_call *call, const struct asked *asked, struct banyan_str name)
{
    const struct banyan_query *query = query_find(asked->projection, name);
    struct banyan_buf body = BANYAN_BUF_INIT(HTTP_ANSWER_BYTES_MAX);
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct sink_checkpoint checkpoint = {.generation = 0};
    if (query == NULL) {
        http_problem(call, 404, "GET /projections lists the queries", "view %s has no query %.*s",
                     projections_name(call->server->options.projections, asked->view),
                     (int)(name.size > 100 ? 100 : name.size), name.data);
        return;
    }
    void *arguments = banyan_arena_zalloc(&call->arena, query->arguments->size);
    if (!query_arguments(call, query, arguments))
        return;
    struct rows rows = {.record = query->row, .body = &body, .limit = SIZE_MAX};
    banyan_buf_add_text(&body, "{\"items\":[");
    enum banyan_status st = query_run(asked->reader, query, arguments, &checkpoint, add_row, &rows, &err);
    banyan_buf_add_text(&body, "]}\n");
    reply_rows(call, asked, st, &checkpoint, &body, &err);
    banyan_buf_release(&body);
}

/* ---- entry ---- */

/* The view and table that the path names; false: a problem was sent. */
static bool find(struct http_call *call, struct asked *ret)
{
    struct http_server *server = call->server;
    struct banyan_str name = call->segments[1], table = BANYAN_STR("");
    int view = server->options.projections == NULL ? -1 : projections_find(server->options.projections, name);
    if (view < 0) {
        http_problem(call, 404, "GET /projections lists the views", "there is no view %.*s",
                     (int)(name.size > 100 ? 100 : name.size), name.data);
        return false;
    }
    *ret = (struct asked){.view = (size_t)view,
                          .projection = projections_spec(server->options.projections, (size_t)view),
                          .reader = server->views[view]};
    if (call->segment_count >= 4 && banyan_str_equal(call->segments[2], BANYAN_STR("tables")))
        table = call->segments[3];
    for (; ret->table < ret->projection->table_count; ret->table++) {
        ret->rows = &ret->projection->tables[ret->table];
        if (table.size == 0 || banyan_str_equal(table, banyan_str_of(ret->rows->name)))
            return true;
    }
    http_problem(call, 404, "GET /projections lists the tables", "view %.*s has no table %.*s",
                 (int)(name.size > 100 ? 100 : name.size), name.data, (int)(table.size > 100 ? 100 : table.size),
                 table.data);
    return false;
}

static bool is_built(struct http_call *call, size_t view)
{
    if (projections_serving(call->server->options.projections, view, NULL))
        return true;
    not_built(call, view);
    return false;
}

/* Once the view has reached the position that was asked for. */
static void answer(struct http_call *call)
{
    struct asked asked;
    bool is_table = call->segment_count >= 4 && banyan_str_equal(call->segments[2], BANYAN_STR("tables"));
    if (!find(call, &asked) || !is_built(call, asked.view))
        return;
    if (call->segment_count == 2 || (is_table && call->segment_count == 4))
        list(call, &asked);
    else if (is_table)
        one(call, &asked, call->segments[4].data);
    else if (call->segment_count == 4)
        query(call, &asked, call->segments[3]);
    else if (banyan_str_equal(call->segments[2], BANYAN_STR("search")))
        search(call, &asked);
    else
        one(call, &asked, call->segments[2].data);
}

void http_view(struct http_call *call)
{
    struct asked asked;
    if (find(call, &asked) && http_await(call, (int)asked.view, answer))
        answer(call);
}
