#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""openapi_truth.py PLAIN VIEWS STARTING TOKENS PROCESSES   is the OpenAPI document true?  Prints TAP.

Each argument is the URL of a running server: an open store alone; one with read models; one whose source does not answer, with one
subscriber at most; one with tokens (URL,READ-TOKEN); one of the commerce domain.  Every path, method and status of the document is asked for, and the answer has to be one that the
document describes; every case here has to be in the document, and the other way round.
"""
import http.client, json, re, sys, urllib.parse
import jsonschema

plain, views, starting, (guarded, reader), processes = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4].split(","), sys.argv[5]
count = bad = 0


def ok(good, name, *why):
    global count, bad
    count += 1
    bad += not good
    print(("ok" if good else "not ok"), count, "-", name)
    for line in why if not good else ():
        print("#  ", str(line)[:2000])


def ask(base, method, path, headers={}, body=None):
    url = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=20)
    connection.request(method, path, body=body, headers=headers)
    answer = connection.getresponse()
    kind = (answer.getheader("Content-Type") or "").split(";")[0]
    data = b"" if kind == "text/event-stream" else answer.read()
    result = (answer.status, kind, data, {k.lower(): v for k, v in answer.getheaders()})
    connection.close()
    return result


status, kind, data, _ = ask(plain, "GET", "/openapi.json")
document = json.loads(data)
jsonschema.Draft202012Validator.check_schema({"$defs": document["components"]["schemas"]})

# ---- structure: what OpenAPI 3.1 demands of the parts that we use ----
META = {
    "type": "object", "required": ["openapi", "info", "paths"], "additionalProperties": False,
    "properties": {
        "openapi": {"pattern": r"^3\.1\.\d+$"},
        "info": {"type": "object", "required": ["title", "version"]},
        "servers": {"type": "array", "items": {"type": "object", "required": ["url"]}},
        "security": {"$ref": "#/$defs/security"},
        "paths": {"type": "object", "patternProperties": {"^/": {"$ref": "#/$defs/path"}}, "additionalProperties": False},
        "components": {"type": "object", "additionalProperties": False, "properties": {
            "schemas": {"type": "object", "propertyNames": {"pattern": r"^[a-zA-Z0-9._-]+$"}},
            "parameters": {"type": "object", "additionalProperties": {"$ref": "#/$defs/parameter"}},
            "securitySchemes": {"type": "object", "additionalProperties": {"required": ["type"], "properties": {
                "type": {"enum": ["apiKey", "http", "mutualTLS", "oauth2", "openIdConnect"]}}}}}},
    },
    "$defs": {
        "security": {"type": "array", "items": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string"}}}},
        "path": {"type": "object", "additionalProperties": False, "patternProperties": {
            "^(get|put|post|delete|options|head|patch|trace)$": {"$ref": "#/$defs/operation"}}},
        "operation": {"type": "object", "required": ["responses", "operationId"], "additionalProperties": False,
                      "patternProperties": {"^x-": True},
                      "properties": {
                          "summary": {"type": "string"}, "operationId": {"type": "string"},
                          "parameters": {"type": "array", "items": {"oneOf": [{"$ref": "#/$defs/reference"}, {"$ref": "#/$defs/parameter"}]}},
                          "requestBody": {"type": "object", "required": ["content"], "additionalProperties": False, "properties": {
                              "required": {"type": "boolean"}, "content": {"$ref": "#/$defs/content"}}},
                          "security": {"$ref": "#/$defs/security"},
                          "responses": {"type": "object", "minProperties": 1, "additionalProperties": False,
                                        "patternProperties": {"^([1-5][0-9][0-9]|default)$": {"$ref": "#/$defs/response"}}}}},
        "reference": {"type": "object", "required": ["$ref"], "properties": {"$ref": {"pattern": "^#/components/"}}, "additionalProperties": False},
        "parameter": {"type": "object", "required": ["name", "in", "schema"], "additionalProperties": False,
                      "properties": {"name": {"type": "string"}, "in": {"enum": ["query", "header", "path", "cookie"]},
                                     "description": {"type": "string"}, "required": {"type": "boolean"}, "schema": {"type": "object"},
                                     "style": {"type": "string"}, "explode": {"type": "boolean"}},
                      "if": {"properties": {"in": {"const": "path"}}}, "then": {"properties": {"required": {"const": True}}, "required": ["required"]}},
        "content": {"type": "object", "additionalProperties": {"type": "object", "required": ["schema"], "additionalProperties": False,
                                                                "properties": {"schema": {"type": ["object", "boolean"]}}}},
        "response": {"type": "object", "required": ["description"], "additionalProperties": False, "properties": {
            "description": {"type": "string"}, "headers": {"type": "object"}, "content": {"$ref": "#/$defs/content"}}},
    },
}
errors = list(jsonschema.Draft202012Validator(META).iter_errors(document))
ok(not errors, "the document has the structure of OpenAPI 3.1", *[f"{list(e.path)}: {e.message}" for e in errors[:10]])


def every(value, key):
    if isinstance(value, dict):
        if isinstance(value.get(key), str):
            yield value[key]
        for part in value.values():
            yield from every(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from every(part, key)


def resolve(reference):
    at = document
    for part in reference[2:].split("/"):
        at = at[part]
    return at


lost = []
for reference in set(every(document, "$ref")):
    try:
        resolve(reference)
    except KeyError:
        lost.append(reference)
ok(not lost, "every reference leads somewhere", lost)
ids = list(every(document["paths"], "operationId"))
ok(len(ids) == len(set(ids)), "operation ids are unique")
for path, operations in document["paths"].items():
    for method, operation in operations.items():
        named = {resolve(p["$ref"])["name"] if "$ref" in p else p["name"]
                 for p in operation.get("parameters", []) if (resolve(p["$ref"]) if "$ref" in p else p)["in"] == "path"}
        if named != set(re.findall(r"{(\w+)}", path)):
            ok(False, f"{method} {path} names the parameters of its path", named)

# ---- truth ----
JSON = {"Content-Type": "application/json"}
EVENT = '{"type":"A","payload":{}}'
AVRO = '{"type":"record","name":"S","fields":[{"name":"a","type":"long"}]}'
WORSE = '{"type":"record","name":"S","fields":[{"name":"a","type":"long"},{"name":"b","type":"long"}]}'
CONTEXT = '{"context":{"targetingKey":"17"}}'
FAR = {"Banyan-Min-Position": "999999999"}
cases = {}


def case(path, method, status, base, real=None, headers={}, body=None, around=(None, None)):
    """*around*: paths that are posted to before and after it."""
    cases[(path, method, str(status))] = (base, real or path, headers, body, around)


for path in document["paths"]:
    for method, operation in document["paths"][path].items():
        real = path.replace("{view}", "current_orders").replace("{key}", "1").replace("{name}", "truth-1") \
            .replace("{version}", "1").replace("{subject}", "S").replace("{category}", "order") \
            .replace("{command}", "PlaceOrder").replace("{process}", "checkout") \
            .replace("{action}", "resume").replace("{table}", "current_orders").replace("{query}", "find")
        body = {} if method == "get" else {"body": EVENT if "/schemas" not in path else AVRO, "headers": JSON}
        if "/ofrep/" in path:
            real, body["body"] = path.replace("{key}", "trading.order.new"), CONTEXT
        if "freeze" in path or "thaw" in path or "retry" in path:
            body = {}
        elif path.endswith("compatibility"):
            body["body"] = '{"compatibility":"FULL"}'
        case(path, method, 400, plain, real + "?no=1", **body)
        if operation.get("security") != []:
            case(path, method, 401, guarded, real, **body)
            if operation["x-role"] != "read":
                case(path, method, 403, guarded, real, {"Authorization": "Bearer " + reader, **body.get("headers", {})}, body.get("body"))
            else:
                del operation["responses"]["403"]  # tokens without the role read do not exist
        if "requestBody" in operation:
            case(path, method, 411, plain, real, {"NO-LENGTH": "1", **JSON})
            case(path, method, 413, plain, real, {"Content-Length": "999999999999", **JSON})
            case(path, method, 415, plain, real, {"Content-Type": "text/plain"}, "x")
        if method == "get" and "200" in operation["responses"]:
            case(path, method, 200, plain, real)
            if any(p.get("$ref", "").endswith("MinPosition") for p in operation.get("parameters", [])):
                case(path, method, 503, plain, real, FAR)
# Of each view path: one that answers, one that is not there, one that makes no sense; not built; too early.
VIEWS = {
    "/views/{view}": ("current_orders?symbol=BTC", "nothing?symbol=BTC", "current_orders"),
    "/views/{view}/{key}": ("current_orders/1", "current_orders/99999", "current_orders/x"),
    "/views/{view}/tables/{table}": ("current_orders/tables/current_orders?symbol=BTC", "current_orders/tables/nothing?symbol=BTC",
                                     "current_orders/tables/current_orders"),
    "/views/{view}/tables/{table}/{key}": ("current_orders/tables/current_orders/1", "current_orders/tables/current_orders/99999",
                                           "current_orders/tables/current_orders/x"),
    "/views/{view}/search": ("order_search/search?q=x", "order_status/search?q=x", "order_search/search?no=1"),
    "/views/{view}/queries/{query}": ("order_search/queries/find?city=x", "order_search/queries/nothing", "order_search/queries/find?no=1"),
}
for path, (good, missing, bad_one) in VIEWS.items():
    base = processes if "order_" in good else views
    case(path, "get", 200, base, "/views/" + good)
    case(path, "get", 404, base, "/views/" + missing)
    case(path, "get", 400, base, "/views/" + bad_one)
    if base is views:
        case(path, "get", 503, starting, "/views/" + good)
    else:
        case(path, "get", 503, base, "/views/" + good, FAR)
for path in ("/projections/{view}", "/projections/{view}/asides"):
    real = path.replace("{view}", "current_orders")
    case(path, "get", 200, views, real)
    case(path, "get", 400, views, real + "?no=1")
    case(path, "get", 404, views, path.replace("{view}", "nothing"))
ACT = "/projections/{view}/{action}"
case(ACT, "post", 200, views, "/projections/current_orders/rebuild")
case(ACT, "post", 400, views, "/projections/current_orders/retry")
case(ACT, "post", 404, views, "/projections/current_orders/dance")
case(ACT, "post", 409, starting, "/projections/current_orders/rebuild")  # its history is not in the log yet
for path in ("/rollout", "/rollout/plan", "/rollout/history"):
    case(path, "get", 200, starting)
    case(path, "get", 404, plain)
MOVE = "/rollout/{action}"
case(MOVE, "post", 200, starting, "/rollout/start?dry-run=true")
case(MOVE, "post", 404, plain, "/rollout/dance")
case(MOVE, "post", 409, starting, "/rollout/complete")
case("/readyz", "get", 503, starting)
COMMAND, AGGREGATE = "/commands/{category}/{key}/{command}", "/aggregates/{category}/{key}"
PLACE = '{"trader_id":2,"symbol":"BTC","side":"BUY","quantity":"1.50000000","price":"100.00000000"}'
TWICE = {"Idempotency-Key": "twice", **JSON}
case(COMMAND, "post", 201, views, "/commands/order/77/PlaceOrder", JSON, PLACE)
case(COMMAND, "post", 200, views, "/commands/order/78/PlaceOrder", TWICE, PLACE)
case(COMMAND, "post", 404, views, "/commands/order/1/Dance", JSON, "{}")
case(COMMAND, "post", 409, views, "/commands/order/78/PlaceOrder", TWICE, PLACE.replace("100.", "200."))
case(COMMAND, "post", 412, views, "/commands/order/79/PlaceOrder", {"If-Match": '"99"', **JSON}, PLACE)
case(COMMAND, "post", 422, views, "/commands/order/80/CancelOrder", JSON, "{}")
case(AGGREGATE, "get", 200, views, "/aggregates/order/1")
case(AGGREGATE, "get", 304, views, "/aggregates/order/1", {"If-None-Match": "*"})
case(AGGREGATE, "get", 404, views, "/aggregates/order/99999")
FLAGS = "/ofrep/v1/evaluate/flags"
case(FLAGS, "post", 200, views, None, JSON, CONTEXT)
case(FLAGS, "post", 304, views, None, {"If-None-Match": "*", **JSON}, CONTEXT)
case(FLAGS, "post", 400, views, None, JSON, '{"context":{}}')
case(FLAGS + "/{key}", "post", 200, views, FLAGS + "/trading.order.new", JSON, CONTEXT)
case(FLAGS + "/{key}", "post", 400, views, FLAGS + "/trading.order.owner", JSON, '{"context":{"targetingKey":"x"}}')
case(FLAGS + "/{key}", "post", 404, views, FLAGS + "/nothing", JSON, CONTEXT)
case("/processes", "get", 200, processes)
case("/processes/{process}/retry", "post", 202, processes, "/processes/checkout/retry")
case("/processes/{process}/retry", "post", 404, plain, "/processes/nothing/retry")
case("/streams/{name}", "get", 304, plain, "/streams/truth-1", {"If-None-Match": "*"})
case("/streams/{name}", "get", 404, plain, "/streams/nothing-1")
case("/streams/{name}/{version}", "get", 404, plain, "/streams/truth-1/99")
case("/streams/{name}", "post", 200, plain, "/streams/truth-1", {"Idempotency-Key": "one", **JSON}, EVENT)
case("/streams/{name}", "post", 201, plain, "/streams/truth-2", JSON, EVENT)
case("/streams/{name}", "post", 409, plain, "/streams/truth-1", {"Idempotency-Key": "one", **JSON}, '{"type":"B"}')
case("/streams/{name}", "post", 412, plain, "/streams/truth-1", {"If-Match": '"99"', **JSON}, EVENT)
case("/events", "post", 200, plain, None, {"Content-Type": "application/x-ndjson"}, '{"stream":"truth-3","type":"A"}\n')
case("/events", "post", 201, plain, None, JSON, '{"events":[{"stream":"truth-3","type":"A"}]}')
case("/events", "post", 409, plain, None, JSON, '{"events":[{"stream":"truth-3","type":"A"}],"conditions":[{"stream":"truth-1","version":99}]}')
case("/events/subscribe", "get", 503, starting)
case("/streams/{name}/subscribe", "get", 503, starting, "/streams/a-1/subscribe")
case("/schemas/{subject}", "post", 200, plain, "/schemas/S", JSON, AVRO)
case("/schemas/{subject}/check", "post", 200, plain, "/schemas/S/check", JSON, AVRO)
case("/schemas/{subject}", "post", 409, plain, "/schemas/S", JSON, WORSE)
case("/schemas/{subject}/check", "post", 409, plain, "/schemas/S/check", JSON, WORSE)
case("/schemas/{subject}/compatibility", "put", 200, plain, "/schemas/S/compatibility", JSON, '{"compatibility":"FULL"}')
case("/schemas/{subject}", "get", 404, plain, "/schemas/nothing")
case("/schemas/{subject}/{version}", "get", 404, plain, "/schemas/S/99")
case("/schemas/freeze", "post", 200, plain)
case("/schemas/thaw", "post", 200, plain)

# What the cases need.
ask(plain, "POST", "/streams/truth-1", {"Idempotency-Key": "one", **JSON}, EVENT)
ask(plain, "POST", "/schemas/S", JSON, AVRO)
ask(views, "POST", "/commands/order/78/PlaceOrder", TWICE, PLACE)
held = http.client.HTTPConnection(urllib.parse.urlsplit(starting).hostname, urllib.parse.urlsplit(starting).port)
held.request("GET", "/events/subscribe")
held_answer = held.getresponse()  # the one subscriber that it takes


def send(base, method, path, headers, body):
    if "NO-LENGTH" not in headers and headers.get("Content-Length") != "999999999999":
        return ask(base, method, path, headers, body)
    import socket
    url = urllib.parse.urlsplit(base)
    with socket.create_connection((url.hostname, url.port), timeout=20) as s:
        lines = [f"{k}: {v}" for k, v in headers.items() if k != "NO-LENGTH"]
        s.sendall("\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode())
        answer = http.client.HTTPResponse(s)
        answer.begin()
        return answer.status, (answer.getheader("Content-Type") or "").split(";")[0], answer.read(), {}


described = {(p, m, s) for p, ms in document["paths"].items() for m, o in ms.items() for s in o["responses"] if s != "default"}
for missing in sorted(described - set(cases)):
    ok(False, f"{missing} of the document is exercised")
for extra in sorted(k for k in set(cases) - described):
    ok(False, f"{extra} is in the document")
for (path, method, status), (base, real, headers, body, (before, after)) in sorted(cases.items()):
    if (path, method, status) not in described:
        continue
    if before:
        ask(base, "POST", before)
    got, kind, data, fields = send(base, method.upper(), real, headers, body)
    if after:
        ask(base, "POST", after)
    response = document["paths"][path][method]["responses"][status]
    why = []
    if got != int(status):
        why.append(f"answered {got}: {data[:300]}")
    elif "content" in response and kind not in response["content"]:
        why.append(f"content type {kind} is not described")
    elif kind.endswith("json") and "content" in response and data:
        schema = {**response["content"][kind]["schema"], "components": document["components"]}
        why += [f"{list(e.path)}: {e.message}" for e in jsonschema.Draft202012Validator(schema).iter_errors(json.loads(data))][:5]
    if got == int(status):
        why += [f"header {h} is missing" for h in response.get("headers", {}) if fields and h.lower() not in fields and kind != "application/json" ]
    ok(not why, f"{method} {path} {status}", *why)

# Every route of the program is in the document: the program prints them in the unit test of routes; here, what the
# document does not name is refused.
for path in ("/", "/stream", "/events/1", "/schemas/S/1/2", "/views"):
    ok(ask(plain, "GET", path)[0] == 404, f"{path} is not described and not there")
for path, operations in document["paths"].items():
    real = re.sub(r"{\w+}", "x", path)
    for method in {"get", "post", "put", "delete", "patch"} - set(operations):
        got = ask(plain, method.upper(), real, {"Content-Length": "0"})
        # A path may fit a pattern with names, too: /schemas/freeze is also a subject.
        if got[0] != 405 and not any(method in document["paths"][p] and re.fullmatch(re.sub(r"{\w+}", "[^/]+", p), path) for p in document["paths"]):
            ok(False, f"{method} {path} is not described and is refused", got)
print(f"1..{count}")
sys.exit(bad > 0)
