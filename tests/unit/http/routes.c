/* SPDX-License-Identifier: Apache-2.0 */
/* The table of routes and the OpenAPI document name the same paths, methods and roles. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/http_int.h"

extern const char http_openapi_document[];
extern const size_t http_openapi_document_size;

static void the_document_names_every_route(void **state)
{
    static const char *const methods[] = {"", "get", "post", "put"};
    json_error_t error;
    json_t *document = json_loadb(http_openapi_document, http_openapi_document_size, JSON_REJECT_DUPLICATES, &error);
    if (document == NULL)
        fail_msg("%s", error.text);
    const json_t *paths = json_object_get(document, "paths");
    const struct http_route *routes;
    size_t count, described = 0;
    const char *path;
    json_t *operations;
    routes = http_routes(&count);
    for (size_t i = 0; i < count; i++) {
        const json_t *operation = json_object_get(json_object_get(paths, routes[i].path), methods[routes[i].method]);
        if (operation == NULL)
            fail_msg("%s %s is not in openapi.json", methods[routes[i].method], routes[i].path);
        assert_string_equal(json_string_value(json_object_get(operation, "x-role")), http_role_name(routes[i].role));
        assert_int_equal(json_object_get(operation, "requestBody") != NULL, routes[i].body != HTTP_BODY_NONE);
    }
    json_object_foreach ((json_t *)paths, path, operations)
        described += json_object_size(operations);
    assert_int_equal(described, count); /* and no other */
    json_decref(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_names_every_route),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
