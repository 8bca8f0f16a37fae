/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shop's own API, as far as one request concerns one aggregate that it names:
 *
 *     POST /stock/ID/receive     {"quantity": N}
 *     GET  /stock                from limit
 *
 * All else is left to the shop; docs/SHOP.md says why.  So is what it would refuse by itself, and every way to write
 * a number that is not plain digits.
 */
#include "facade_shop.h"

#include "banyan/json.h"
#include "commerce.h"
#include "mapping_shop.h"
#include "stock.h"

enum {
    BODY_BYTES_MAX = 65536,
    ANSWER_BYTES_MAX = 16 * 1024 * 1024,
    KEY_DIGITS_MAX = 18,
    LIMIT_DIGITS_MAX = 9,
    LIMIT_DEFAULT = 50,
    LIMIT_MAX = 10000,
};

#define QUANTITY_MAX INT64_C(1000000000)

/* banyan_route.context of a list. */
struct stock_list {
    int64_t from;
    size_t limit;
};

/* ---- requests ---- */

/* All of *text*: 1 to *digits_max* digits. */
static bool parse_digits(struct banyan_str text, size_t digits_max, int64_t *ret)
{
    int64_t value = 0;

    if (text.size == 0 || text.size > digits_max)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    *ret = value;
    return true;
}

/* The rest of *text* behind *prefix*; false: it begins otherwise. */
static bool take_prefix(struct banyan_str *text, struct banyan_str prefix)
{
    if (text->size < prefix.size || memcmp(text->data, prefix.data, prefix.size) != 0)
        return false;
    text->data += prefix.size;
    text->size -= prefix.size;
    return true;
}

static bool route_receive(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_route *ret)
{
    static const struct banyan_str suffix = {"/receive", sizeof("/receive") - 1};
    struct receive_stock *receive = banyan_arena_zalloc(arena, sizeof(*receive));
    struct banyan_str rest = request->path;
    struct banyan_json body;
    int64_t key;

    if (!take_prefix(&rest, BANYAN_STR("/stock/")) || rest.size <= suffix.size ||
        memcmp(rest.data + rest.size - suffix.size, suffix.data, suffix.size) != 0)
        return false;
    rest.size -= suffix.size;
    if (!parse_digits(rest, KEY_DIGITS_MAX, &key) || key == 0 || request->body.size > BODY_BYTES_MAX ||
        !banyan_json_parse(request->body, arena, &body) || body.kind != BANYAN_JSON_OBJECT || body.count != 1 ||
        !banyan_str_equal(body.first->name, BANYAN_STR("quantity")) ||
        (body.first->kind != BANYAN_JSON_NUMBER && body.first->kind != BANYAN_JSON_STRING) ||
        !parse_digits(body.first->text, KEY_DIGITS_MAX, &receive->quantity) || receive->quantity == 0 ||
        receive->quantity > QUANTITY_MAX)
        return false;
    ret->kind = BANYAN_REQUEST_WRITE;
    ret->part_count = 1;
    ret->parts[0] = (struct banyan_route_part){.category = commerce_aggregates[AGGREGATE_STOCK].category,
                                               .key = key,
                                               .command = STOCK_RECEIVE,
                                               .fields = receive};
    return true;
}

static bool route_list(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_route *ret)
{
    struct stock_list *list = banyan_arena_zalloc(arena, sizeof(*list));
    struct banyan_str rest = request->query;
    bool has_from = false, has_limit = false;
    int64_t limit = LIMIT_DEFAULT;

    while (rest.size > 0) {
        const char *end = memchr(rest.data, '&', rest.size);
        struct banyan_str pair = {rest.data, end == NULL ? rest.size : (size_t)(end - rest.data)};

        rest.data += pair.size + (end != NULL);
        rest.size -= pair.size + (end != NULL);
        if (!has_from && take_prefix(&pair, BANYAN_STR("from=")))
            has_from = parse_digits(pair, KEY_DIGITS_MAX, &list->from);
        else if (!has_limit && take_prefix(&pair, BANYAN_STR("limit=")))
            has_limit = parse_digits(pair, LIMIT_DIGITS_MAX, &limit) && limit > 0;
        else
            return false;
        if ((end != NULL && rest.size == 0) || (!has_from && !has_limit))
            return false;
    }
    list->limit = limit > LIMIT_MAX ? LIMIT_MAX : (size_t)limit;
    ret->kind = BANYAN_REQUEST_READ;
    ret->projection = "legacy_stock";
    ret->category = commerce_aggregates[AGGREGATE_STOCK].category;
    ret->context = list;
    return true;
}

static bool route(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_route *ret)
{
    bool understood = false;

    *ret = (struct banyan_route){.kind = BANYAN_REQUEST_OTHER};
    if (banyan_str_equal(request->method, BANYAN_STR("POST")))
        understood = route_receive(request, arena, ret);
    else if (banyan_str_equal(request->method, BANYAN_STR("GET")) &&
             banyan_str_equal(request->path, BANYAN_STR("/stock")))
        understood = route_list(request, arena, ret);
    if (!understood)
        *ret = (struct banyan_route){.kind = BANYAN_REQUEST_OTHER};
    return true;
}

/* ---- answers ---- */

/* As row_to_json() has it: a time is 2026-11-22T09:07:11.123456+00:00. */
static void add_row(struct banyan_buf *out, const struct stock_row *row)
{
    for (size_t i = 0; i < commerce_stock_row.field_count; i++) {
        const struct banyan_field *field = &commerce_stock_row.fields[i];
        struct banyan_buf text = BANYAN_BUF_INIT(BODY_BYTES_MAX);

        banyan_buf_printf(out, "%s\"%s\":", i == 0 ? "{" : ",", field->name);
        banyan_field_text(field, row, &text);
        if (field->kind != BANYAN_FIELD_TIME) {
            banyan_buf_add_str(out, banyan_buf_str(&text));
        } else if (text.size == 0) {
            banyan_buf_add_text(out, "null");
        } else {
            char *gap = memchr(text.data, ' ', text.size);

            if (gap != NULL) {
                *gap = 'T';
                banyan_buf_add_text(&text, ":00");
            }
            banyan_buf_add_json(out, banyan_buf_str(&text));
        }
        banyan_buf_release(&text);
    }
    banyan_buf_add_char(out, '}');
}

/* Every answer ends with a line end. */
static void finish(struct banyan_buf *body, int code, struct banyan_arena *arena, struct banyan_response *ret)
{
    banyan_buf_add_char(body, '\n');
    *ret = (struct banyan_response){code, "application/json", banyan_arena_str(arena, banyan_buf_str(body))};
    banyan_buf_release(body);
}

static void answer_error(int code, struct banyan_str text, struct banyan_arena *arena, struct banyan_response *ret)
{
    struct banyan_buf body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX);

    banyan_buf_add_text(&body, "{\"error\":");
    banyan_buf_add_json(&body, text);
    banyan_buf_add_char(&body, '}');
    finish(&body, code, arena, ret);
}

static void answer(const struct banyan_request *request, const struct banyan_route *route,
                   const struct banyan_outcome *outcomes, struct banyan_arena *arena, struct banyan_response *ret)
{
    struct banyan_buf body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX);
    struct stock_row row;

    (void)request, (void)route;
    if (!shop_stock_row(outcomes[0].state, &row)) {
        answer_error(404, BANYAN_STR("there is no such stock"), arena, ret);
    } else if (!outcomes[0].accepted) {
        answer_error(400, outcomes[0].refusal.text, arena, ret);
    } else {
        add_row(&body, &row);
        finish(&body, 200, arena, ret);
    }
}

/* The rows of a list that goes on. */
struct listing {
    struct banyan_buf body;
    const struct stock_list *list;
    size_t count;
};

static bool list_row(void *context, const void *row)
{
    struct listing *listing = context;

    if (((const struct stock_row *)row)->stock_id < listing->list->from)
        return true;
    if (listing->count++ > 0)
        banyan_buf_add_char(&listing->body, ',');
    add_row(&listing->body, row);
    return listing->count < listing->list->limit && !listing->body.overflow;
}

static void read(const struct banyan_request *request, const struct banyan_route *route, struct banyan_reader *reader,
                 struct banyan_arena *arena, struct banyan_response *ret)
{
    struct listing listing = {.body = BANYAN_BUF_INIT(ANSWER_BYTES_MAX), .list = route->context};

    (void)request;
    banyan_buf_add_text(&listing.body, "{\"stock\":[");
    banyan_reader_each(reader, &(struct banyan_reader_list){.table = 0}, list_row, &listing);
    banyan_buf_add_text(&listing.body, "]}");
    finish(&listing.body, 200, arena, ret);
}

const struct banyan_facade shop_facade = {.route = route, .answer = answer, .read = read, .shadow_only = true};
