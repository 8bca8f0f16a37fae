/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests to the legacy application mean: its routes, its bodies, its query strings.
 *
 * Whatever it would refuse by itself (400, or 404 for a path) is not understood here, and so left to it; whatever it
 * would take has to be understood, to the letter of how it reads ids (strtoll) and queries (libevent).
 */
#include <assert.h>
#include <stdlib.h>
#include <strings.h>

#include "banyan/json.h"
#include "commands.h"
#include "facade.h"
#include "values.h"

enum {
    BODY_BYTES_MAX = 65536,
    FILLS_MAX = 100,
    LIST_MAX = 1000,
    LIST_DEFAULT = 100,
    SYMBOL_BYTES_MAX = 32,
    INTEGER_AMOUNT_DIGITS_MAX = 10,
};

/* ---- values ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A whole number above 0 as it begins *text*, as strtoll() reads it; returns its length, 0: none. */
static size_t take_id(struct banyan_str text, int64_t *ret)
{
    size_t at = text.size > 0 && text.data[0] == '+' ? 1 : 0, digits = at;
    int64_t value = 0;

    for (; at < text.size && is_digit(text.data[at]); at++) {
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text.data[at] - '0', &value))
            return 0;
    }
    *ret = value;
    return at > digits && value > 0 ? at : 0;
}

static bool is_id(struct banyan_str text, int64_t *ret)
{
    return text.size > 0 && take_id(text, ret) == text.size;
}

/* "12", "12.5" or "12.50000000": up to ten digits, up to eight behind the point. */
static bool parse_amount(struct banyan_str text, int64_t *ret)
{
    int64_t units = 0;
    int whole = 0, decimals = -1;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '.' && decimals < 0 && whole > 0) {
            decimals = 0;
            continue;
        }
        if (!is_digit(text.data[i]) || (decimals >= 0 ? ++decimals > TRADING_SCALE : ++whole > 10))
            return false;
        units = units * 10 + (text.data[i] - '0');
    }
    if (whole == 0 || decimals == 0)
        return false;
    for (int i = decimals < 0 ? 0 : decimals; i < TRADING_SCALE; i++)
        units *= 10;
    *ret = units;
    return true;
}

/* A string, or a whole number: a JSON number with decimals may not be exact. */
static bool get_amount(const struct banyan_json *body, const char *name, struct banyan_decimal *ret)
{
    const struct banyan_json *value = banyan_json_member(body, name);
    int64_t units = 0;

    if (value == NULL)
        return false;
    if (value->kind == BANYAN_JSON_STRING && !parse_amount(value->text, &units))
        return false;
    if (value->kind != BANYAN_JSON_STRING &&
        (!banyan_json_int(value, &units) || value->text.size > INTEGER_AMOUNT_DIGITS_MAX ||
         __builtin_mul_overflow(units, INT64_C(100000000), &units)))
        return false;
    *ret = banyan_decimal_of(units, TRADING_SCALE);
    return units > 0;
}

static bool get_id(const struct banyan_json *body, const char *name, int64_t *ret)
{
    return banyan_json_int(banyan_json_member(body, name), ret) && *ret > 0;
}

/* The application's parser refuses integers of more than 64 bits and fractions without end, wherever they are. */
static bool numbers_fit(const struct banyan_json *value, struct banyan_arena *arena)
{
    int64_t integer;
    char *text, *end;
    double real;

    if (value->kind == BANYAN_JSON_NUMBER) {
        if (memchr(value->text.data, '.', value->text.size) == NULL &&
            memchr(value->text.data, 'e', value->text.size) == NULL &&
            memchr(value->text.data, 'E', value->text.size) == NULL)
            return banyan_json_int(value, &integer);
        text = banyan_arena_zalloc(arena, value->text.size + 1);
        memcpy(text, value->text.data, value->text.size);
        real = strtod(text, &end);
        return real - real == 0; /* not infinite */
    }
    for (const struct banyan_json *item = value->first; item != NULL; item = item->next) {
        if (!numbers_fit(item, arena))
            return false;
    }
    return true;
}

static bool parse_body(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_json *ret)
{
    return request->body.size <= BODY_BYTES_MAX && banyan_json_parse(request->body, arena, ret) &&
           ret->kind == BANYAN_JSON_OBJECT && numbers_fit(ret, arena);
}

/* ---- writes ---- */

static void add_part(struct banyan_route *route, int64_t key, enum order_command command, const void *fields)
{
    route->kind = BANYAN_REQUEST_WRITE;
    route->parts[route->part_count++] = (struct banyan_route_part){
        .category = "order", .key = key, .creates = command == ORDER_PLACE, .command = command, .fields = fields};
}

static void set_request(struct banyan_route *route, enum facade_request kind, struct banyan_arena *arena)
{
    struct facade_context *context = banyan_arena_zalloc(arena, sizeof(*context));

    context->kind = kind;
    route->context = context;
}

static bool route_place(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_route *ret)
{
    struct place_order *place = banyan_arena_zalloc(arena, sizeof(*place));
    const struct banyan_json *symbol, *side;
    struct banyan_json body;
    int64_t key = 0;

    if (!parse_body(request, arena, &body) || !get_id(&body, "trader_id", &place->trader_id) ||
        !get_amount(&body, "quantity", &place->quantity) || !get_amount(&body, "price", &place->price) ||
        (banyan_json_member(&body, "order_id") != NULL && !get_id(&body, "order_id", &key)))
        return false;
    symbol = banyan_json_member(&body, "symbol");
    side = banyan_json_member(&body, "side");
    if (symbol == NULL || symbol->kind != BANYAN_JSON_STRING || symbol->text.size == 0 ||
        symbol->text.size > SYMBOL_BYTES_MAX || side == NULL || side->kind != BANYAN_JSON_STRING ||
        (!banyan_str_equal(side->text, BANYAN_STR("BUY")) && !banyan_str_equal(side->text, BANYAN_STR("SELL"))))
        return false;
    place->symbol = symbol->text;
    place->side = side->text;
    set_request(ret, FACADE_PLACE, arena);
    add_part(ret, key, ORDER_PLACE, place);
    return true;
}

static bool route_modify(const struct banyan_request *request, int64_t key, struct banyan_arena *arena,
                         struct banyan_route *ret)
{
    struct modify_order *modify = banyan_arena_zalloc(arena, sizeof(*modify));
    struct banyan_json body;

    modify->price = modify->quantity = banyan_decimal_null();
    if (!parse_body(request, arena, &body) ||
        (banyan_json_member(&body, "price") != NULL && !get_amount(&body, "price", &modify->price)) ||
        (banyan_json_member(&body, "quantity") != NULL && !get_amount(&body, "quantity", &modify->quantity)) ||
        (banyan_decimal_is_null(modify->price) && banyan_decimal_is_null(modify->quantity)))
        return false;
    set_request(ret, FACADE_MODIFY, arena);
    add_part(ret, key, ORDER_MODIFY, modify);
    return true;
}

static bool route_fill(const struct banyan_request *request, int64_t key, struct banyan_arena *arena,
                       struct banyan_route *ret)
{
    struct fill_order *fill = banyan_arena_zalloc(arena, sizeof(*fill));
    struct banyan_json body;

    if (!parse_body(request, arena, &body) || !get_amount(&body, "quantity", &fill->quantity) ||
        !get_amount(&body, "price", &fill->price))
        return false;
    set_request(ret, FACADE_FILL, arena);
    add_part(ret, key, ORDER_FILL, fill);
    return true;
}

static int compare_parts(const void *a, const void *b)
{
    const struct banyan_route_part *x = a, *y = b;

    return (x->key > y->key) - (x->key < y->key);
}

/* In the order of the orders' ids, as the application takes their locks: which of several errors is told depends on
 * it. */
static bool route_fills(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_route *ret)
{
    const struct banyan_json *list;
    struct banyan_json body;

    static_assert((int)FILLS_MAX <= (int)BANYAN_ROUTE_PARTS_MAX, "a route holds a whole request");
    if (!parse_body(request, arena, &body))
        return false;
    list = banyan_json_member(&body, "fills");
    if (list == NULL || list->kind != BANYAN_JSON_ARRAY || list->count == 0 || list->count > FILLS_MAX)
        return false;
    for (const struct banyan_json *item = list->first; item != NULL; item = item->next) {
        struct fill_order *fill = banyan_arena_zalloc(arena, sizeof(*fill));
        int64_t key;

        if (!get_id(item, "order_id", &key) || !get_amount(item, "quantity", &fill->quantity) ||
            !get_amount(item, "price", &fill->price))
            return false;
        add_part(ret, key, ORDER_FILL, fill);
    }
    qsort(ret->parts, ret->part_count, sizeof(ret->parts[0]), compare_parts);
    for (size_t i = 1; i < ret->part_count; i++) {
        if (ret->parts[i].key == ret->parts[i - 1].key)
            return false;
    }
    set_request(ret, FACADE_FILLS, arena);
    return true;
}

bool facade_split(const struct banyan_request *request, const struct banyan_route *route, const bool *keep,
                  struct banyan_arena *arena, struct banyan_str *ret_body)
{
    const struct facade_context *context = route->context;
    struct banyan_buf body = BANYAN_BUF_INIT(BODY_BYTES_MAX);
    bool first = true;

    (void)request;
    if (context->kind != FACADE_FILLS)
        return false;
    banyan_buf_add_text(&body, "{\"fills\":[");
    for (size_t i = 0; i < route->part_count; i++) {
        const struct fill_order *fill = route->parts[i].fields;
        char quantity[BANYAN_DECIMAL_TEXT_MAX], price[BANYAN_DECIMAL_TEXT_MAX];

        if (!keep[i])
            continue;
        (void)banyan_decimal_format(fill->quantity, quantity);
        (void)banyan_decimal_format(fill->price, price);
        banyan_buf_printf(&body, "%s{\"order_id\":%lld,\"quantity\":\"%s\",\"price\":\"%s\"}", first ? "" : ",",
                          (long long)route->parts[i].key, quantity, price);
        first = false;
    }
    banyan_buf_add_text(&body, "]}");
    *ret_body = banyan_arena_str(arena, banyan_buf_str(&body));
    first = first || body.overflow;
    banyan_buf_release(&body);
    return !first;
}

/* ---- reads ---- */

static int hex(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* '+' is a space, %XX a byte; what is no such pair stays.  False: not plain ASCII, the application shall say. */
static bool decode_value(struct banyan_str raw, struct banyan_arena *arena, struct banyan_str *ret)
{
    char *text = banyan_arena_alloc(arena, raw.size + 1);
    size_t size = 0;

    for (size_t i = 0; i < raw.size; i++) {
        char c = raw.data[i];

        if (c == '+') {
            c = ' ';
        } else if (c == '%' && i + 2 < raw.size && hex(raw.data[i + 1]) >= 0 && hex(raw.data[i + 2]) >= 0) {
            c = (char)(hex(raw.data[i + 1]) * 16 + hex(raw.data[i + 2]));
            i += 2;
        }
        if (c < ' ' || c > '~')
            return false;
        text[size++] = c;
    }
    *ret = (struct banyan_str){text, size};
    return true;
}

/* The first argument of each name counts, whatever its case; one without '=' spoils all of them. */
static bool parse_query(struct banyan_str query, struct banyan_arena *arena, struct banyan_str values[FACADE_ARGUMENTS])
{
    static const char *const names[FACADE_ARGUMENTS] = {"trader_id", "symbol", "from", "to", "limit"};

    for (size_t at = 0; at < query.size;) {
        const char *begin = query.data + at, *end = memchr(begin, '&', query.size - at);
        size_t size = end == NULL ? query.size - at : (size_t)(end - begin);
        const char *equal = memchr(begin, '=', size);
        size_t name = equal == NULL ? 0 : (size_t)(equal - begin);

        if (name == 0)
            return false;
        for (unsigned i = 0; i < FACADE_ARGUMENTS; i++) {
            if (values[i].data == NULL && strlen(names[i]) == name && strncasecmp(begin, names[i], name) == 0 &&
                !decode_value((struct banyan_str){equal + 1, size - name - 1}, arena, &values[i]))
                return false;
        }
        at += size + 1;
    }
    return true;
}

/* Exactly *digits* digits. */
static bool take_digits(struct banyan_str *text, size_t digits, int *ret)
{
    *ret = 0;
    if (text->size < digits)
        return false;
    for (size_t i = 0; i < digits; i++) {
        if (!is_digit(text->data[i]))
            return false;
        *ret = *ret * 10 + (text->data[i] - '0');
    }
    text->data += digits;
    text->size -= digits;
    return true;
}

static bool take_char(struct banyan_str *text, const char *of)
{
    if (text->size == 0 || strchr(of, text->data[0]) == NULL)
        return false;
    text->data++;
    text->size--;
    return true;
}

static int64_t days_of(int year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year, era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : days[month - 1];
}

/* "2026-01-02T03:04:05.123456Z", with a space for T, without fraction, "+00" for Z or nothing (UTC is the application's
 * zone).  PostgreSQL reads much more: that is left to it. */
static bool parse_time(struct banyan_str text, struct banyan_time *ret)
{
    int year, month, day, hour, minute, second, digit, zone = 0;
    int64_t fraction = 0;

    if (!take_digits(&text, 4, &year) || !take_char(&text, "-") || !take_digits(&text, 2, &month) ||
        !take_char(&text, "-") || !take_digits(&text, 2, &day) || year < 1 || month < 1 || month > 12 || day < 1 ||
        day > days_in(year, month))
        return false;
    if (!take_char(&text, "T ") || !take_digits(&text, 2, &hour) || !take_char(&text, ":") ||
        !take_digits(&text, 2, &minute) || !take_char(&text, ":") || !take_digits(&text, 2, &second) || hour > 23 ||
        minute > 59 || second > 59)
        return false;
    if (take_char(&text, ".")) {
        for (int64_t unit = 100000; unit > 0; unit /= 10) {
            if (!take_digits(&text, 1, &digit))
                break;
            fraction += digit * unit;
        }
    }
    if (!take_char(&text, "Z") && take_char(&text, "+") &&
        (!take_digits(&text, 2, &zone) || (take_char(&text, ":") && (!take_digits(&text, 2, &digit) || digit != 0))))
        return false;
    if (text.size != 0 || zone != 0)
        return false;
    ret->us = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * INT64_C(60000000) + (int64_t)second * 1000000 +
              fraction;
    return true;
}

static bool route_list(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_route *ret)
{
    struct banyan_str values[FACADE_ARGUMENTS] = {{NULL, 0}};
    struct facade_context *context = banyan_arena_zalloc(arena, sizeof(*context));
    bool trader;
    int64_t limit = LIST_DEFAULT, id;

    if (!parse_query(request->query, arena, values))
        return false;
    trader = values[FACADE_TRADER].data != NULL;
    if (trader == (values[FACADE_SYMBOL].data != NULL) || (trader && !is_id(values[FACADE_TRADER], &id)))
        return false;
    if (values[FACADE_LIMIT].data != NULL && (!is_id(values[FACADE_LIMIT], &limit) || limit > LIST_MAX))
        return false;
    context->from.us = context->to.us = BANYAN_TIME_NULL;
    if ((values[FACADE_FROM].data != NULL && !parse_time(values[FACADE_FROM], &context->from)) ||
        (values[FACADE_TO].data != NULL && !parse_time(values[FACADE_TO], &context->to)))
        return false;
    context->kind = trader ? FACADE_LIST_TRADER : FACADE_LIST_SYMBOL;
    context->equal = trader ? banyan_arena_printf(arena, "%lld", (long long)id) : values[FACADE_SYMBOL];
    context->limit = (size_t)limit;
    ret->kind = BANYAN_REQUEST_READ;
    ret->context = context;
    ret->user = banyan_arena_printf(arena, "%s-%.*s", trader ? "trader" : "symbol", (int)context->equal.size,
                                    context->equal.data);
    return true;
}

/* ---- routes ---- */

static bool route_order(const struct banyan_request *request, struct banyan_str rest, struct banyan_arena *arena,
                        struct banyan_route *ret)
{
    bool post = banyan_str_equal(request->method, BANYAN_STR("POST"));
    int64_t key;
    size_t size = take_id(rest, &key);
    struct banyan_str verb = {rest.data + size, rest.size - size};

    if (size == 0)
        return false;
    if (!post && verb.size == 0) {
        ret->kind = BANYAN_REQUEST_READ;
        ret->key = key;
        ret->category = "order";
        set_request(ret, FACADE_GET, arena);
        return true;
    }
    if (post && banyan_str_equal(verb, BANYAN_STR("/modify")))
        return route_modify(request, key, arena, ret);
    if (post && banyan_str_equal(verb, BANYAN_STR("/fill")))
        return route_fill(request, key, arena, ret);
    if (post && banyan_str_equal(verb, BANYAN_STR("/cancel"))) {
        set_request(ret, FACADE_CANCEL, arena);
        add_part(ret, key, ORDER_CANCEL, NULL);
        return true;
    }
    return false;
}

bool facade_route(const struct banyan_request *request, struct banyan_arena *arena, struct banyan_route *ret)
{
    static const char prefix[] = "/orders/";
    size_t size = sizeof(prefix) - 1;
    bool get = banyan_str_equal(request->method, BANYAN_STR("GET"));
    bool post = banyan_str_equal(request->method, BANYAN_STR("POST"));

    *ret = (struct banyan_route){.kind = BANYAN_REQUEST_OTHER, .projection = "current_orders"};
    if (!get && !post)
        return true;
    if (request->path.size > size && memcmp(request->path.data, prefix, size) == 0)
        return route_order(request, (struct banyan_str){request->path.data + size, request->path.size - size}, arena,
                           ret);
    if (banyan_str_equal(request->path, BANYAN_STR("/orders")))
        return get ? route_list(request, arena, ret) : route_place(request, arena, ret);
    if (post && banyan_str_equal(request->path, BANYAN_STR("/fills")))
        return route_fills(request, arena, ret);
    return true;
}
