/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzz entry of what the façade of the trading domain reads: the first byte chooses a request, the rest is its body or
 * its query.
 *
 * A JSON text is taken if and only if the application's parser (jansson, members of one name refused) takes it; numbers
 * that only it refuses, depths beyond 400, and NUL bytes (it loses one behind a number) are left out.  A request that
 * is understood has parts with keys above 0, each key once, in order, and amounts that the legacy columns hold; the
 * body that split() makes of all of its parts is understood as the same.
 */
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "banyan/json.h"
#include "trading/commands.h"
#include "trading/facade.h"

enum {
    DEPTH_COMPARED_MAX = 400,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
    if (!good)
        abort();
}

static void compare_parsers(struct banyan_str text, struct banyan_arena *arena)
{
    struct banyan_json ours;
    json_error_t error;
    json_t *theirs;
    size_t depth = 0;
    bool taken = banyan_json_parse(text, arena, &ours);

    for (size_t i = 0; i < text.size; i++)
        depth += text.data[i] == '[' || text.data[i] == '{';
    if (depth > DEPTH_COMPARED_MAX || memchr(text.data, '\0', text.size) != NULL)
        return;
    theirs = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (theirs == NULL && json_error_code(&error) == json_error_numeric_overflow)
        return;
    must(taken == (theirs != NULL));
    if (taken && ours.kind == BANYAN_JSON_OBJECT)
        must(json_object_size(theirs) == ours.count);
    if (taken && ours.kind == BANYAN_JSON_STRING)
        must(banyan_str_equal(ours.text, (struct banyan_str){json_string_value(theirs), json_string_length(theirs)}));
    json_decref(theirs);
}

static bool fits(struct banyan_decimal amount)
{
    return amount.scale == 8 && amount.units > 0 && amount.units < (__int128)1000000000000000000;
}

static void check_part(const struct banyan_route_part *part)
{
    const struct place_order *place = part->fields;
    const struct modify_order *modify = part->fields;
    const struct fill_order *fill = part->fields;

    must(part->key > 0 || (part->creates && part->key == 0));
    if (part->command == ORDER_PLACE)
        must(fits(place->quantity) && fits(place->price) && place->symbol.size > 0 && place->trader_id > 0);
    if (part->command == ORDER_MODIFY)
        must((banyan_decimal_is_null(modify->quantity) || fits(modify->quantity)) &&
             (banyan_decimal_is_null(modify->price) || fits(modify->price)));
    if (part->command == ORDER_FILL)
        must(fits(fill->quantity) && fits(fill->price));
}

static void check_split(const struct banyan_request *request, const struct banyan_route *route,
                        struct banyan_arena *arena)
{
    static struct banyan_route again;
    static bool keep[BANYAN_ROUTE_PARTS_MAX];
    struct banyan_request whole = *request;

    memset(keep, true, sizeof(keep));
    if (!facade_split(request, route, keep, arena, &whole.body))
        return;
    must(facade_route(&whole, arena, &again) && again.part_count == route->part_count);
    for (size_t i = 0; i < again.part_count; i++) {
        const struct fill_order *a = route->parts[i].fields, *b = again.parts[i].fields;

        must(route->parts[i].key == again.parts[i].key && a->quantity.units == b->quantity.units &&
             a->price.units == b->price.units);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        const char *method, *path;
        bool query;
    } requests[] = {
        {"POST", "/orders", false},
        {"POST", "/fills", false},
        {"POST", "/orders/7/modify", false},
        {"POST", "/orders/7/fill", false},
        {"GET", "/orders", true},
        {"POST", NULL, false},
        {"GET", NULL, false},
    };
    static struct banyan_route route;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct banyan_request request = {.query = BANYAN_STR(""), .body = BANYAN_STR("")};
    struct banyan_str rest = {(const char *)data + 1, size - 1};
    unsigned which;

    if (size == 0)
        return 0;
    which = data[0] % (sizeof(requests) / sizeof(requests[0]));
    request.method = banyan_str_of(requests[which].method);
    request.path = requests[which].path == NULL ? rest : banyan_str_of(requests[which].path);
    *(requests[which].query ? &request.query : &request.body) = rest;
    compare_parsers(rest, &arena);
    if (facade_route(&request, &arena, &route)) {
        must(route.part_count <= BANYAN_ROUTE_PARTS_MAX);
        must((route.kind == BANYAN_REQUEST_WRITE) == (route.part_count > 0));
        for (size_t i = 0; i < route.part_count; i++) {
            check_part(&route.parts[i]);
            must(i == 0 || route.parts[i - 1].key < route.parts[i].key);
        }
        if (route.kind == BANYAN_REQUEST_WRITE)
            check_split(&request, &route, &arena);
    }
    banyan_arena_release(&arena);
    return 0;
}
