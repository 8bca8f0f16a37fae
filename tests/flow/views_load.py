#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Orders over HTTP, and readers that trust nothing.

views_load.py past URL COUNT       COUNT orders of trader 2, and the pair 1 and 2 of trader 1
views_load.py pair URL STOP        until the file STOP is there: both orders of the pair get the same next price, in one batch
views_load.py read URL STOP VIEW…  until STOP: asks the views all the time.  Says what was wrong; exit 1.

The pair always has one price, and it only goes up: a reader that sees anything else sees a mixture, or the past.
"""
import http.client, json, os, sys, time, urllib.parse

what, url = sys.argv[1], urllib.parse.urlsplit(sys.argv[2])
connection = http.client.HTTPConnection(url.hostname, url.port, timeout=30)


def ask(method, path, body=None, headers={}):
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}


def append(events):
    lines = "".join(json.dumps(e, separators=(",", ":")) + "\n" for e in events)
    status, data, _ = ask("POST", "/events", lines, {"Content-Type": "application/x-ndjson"})
    if status not in (200, 201):
        sys.exit(f"append: {status} {data[:300]}")


def created(key, trader):
    return {"stream": f"order-{key}", "type": "OrderCreated", "payload": {
        "order_id": key, "trader_id": trader, "symbol": f"S{key % 7}", "side": "BUY", "quantity": "1.50000000",
        "price": "0.00000000", "updated_at": None}}


def past(count):
    append([created(1, 1), created(2, 1)])
    for first in range(3, count + 3, 500):
        append([created(key, 2) for key in range(first, min(first + 500, count + 3))])


def pair(stop):
    n = int(ask("GET", "/status") and time.time())  # higher than all before
    while not os.path.exists(stop):
        n += 1
        status, data, _ = ask("POST", "/events", json.dumps({"events": [
            {"stream": f"order-{key}", "type": "OrderModified", "payload": {
                "field": "price", "old_value": "0.00000000", "new_value": f"{n}.00000000", "updated_at": None}}
            for key in (1, 2)]}), {"Content-Type": "application/json"})
        if status != 201:
            sys.exit(f"append: {status} {data[:300]}")
        time.sleep(0.005)


def read(stop, views):
    wrong, count, longest, seen, etas, generations = [], 0, 0.0, {}, [], {}
    while not os.path.exists(stop):
        for view in views:
            before = time.monotonic()
            try:
                status, data, headers = ask("GET", f"/views/{view}?trader_id=1")
            except (http.client.HTTPException, OSError) as error:
                wrong.append(f"{view}: {error!r}")
                connection.close()
                continue
            longest, count = max(longest, time.monotonic() - before), count + 1
            if status != 200:
                wrong.append(f"{view}: {status} {data[:200]}")
                continue
            prices = [float(row["price"]) for row in json.loads(data)["items"]]
            at = int(headers["banyan-position"]), prices[0] if prices else -1
            generations.setdefault(view, []).append(int(headers["banyan-generation"]))
            if len(prices) != 2 or prices[0] != prices[1]:
                wrong.append(f"{view}: a mixture: {prices} at {at[0]}")
            last = seen.get(view, (0, 0))
            if at[0] < last[0] or at[1] < last[1]:
                wrong.append(f"{view}: back from {last} to {at}")
            seen[view] = at
            if "banyan-rebuild-eta" in headers:
                etas.append(float(headers["banyan-rebuild-eta"]))
    switches = {view: sorted(set(all_of)) for view, all_of in generations.items()}
    print(f"# {count} reads, longest wait {longest * 1000:.1f} ms, generations {switches}")
    print(f"# {len(etas)} answers said how long the rebuild takes" + (f", {min(etas)} to {max(etas)} s" if etas else ""))
    if any(eta <= 0 for eta in etas):
        wrong.append("an ETA of 0 before the switch")
    for line in wrong[:10]:
        print("#", line)
    sys.exit(1 if wrong or not count else 0)


if what == "past":
    past(int(sys.argv[3]))
elif what == "pair":
    pair(sys.argv[3])
else:
    read(sys.argv[3], sys.argv[4:])
