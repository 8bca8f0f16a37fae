/* SPDX-License-Identifier: Apache-2.0 */
/* GET /openapi.json: the document beside this file, compiled in. */
#include "http/http_int.h"

/* Made by the build from openapi.json. */
extern const char http_openapi_document[];
extern const size_t http_openapi_document_size;

void http_openapi(struct http_call *call)
{
    static const char *const none[] = {NULL};
    if (http_only(call, none))
        http_conn_answer(call, 200, "application/json",
                         (struct banyan_str){http_openapi_document, http_openapi_document_size});
}
