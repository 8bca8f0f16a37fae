#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""http_kill.py URL STATE SEED   append events one by one and hear all of them, over restarts of the server, until STATE.stop is there.

The writer repeats an append with the same Idempotency-Key until it is answered; the listener connects again with the last id.  Ends with 0
when what was heard is exactly what was acknowledged, each once, positions and versions without a gap."""
import http.client, json, os, sys, threading, time, urllib.parse

url, state = urllib.parse.urlsplit(sys.argv[1]), sys.argv[2]
heard, acknowledged, stop = [], [], threading.Event()


def listen():
    last = ""
    while not stop.is_set():
        try:
            connection = http.client.HTTPConnection(url.hostname, url.port, timeout=5)
            connection.request("GET", "/events/subscribe", headers={"Last-Event-ID": last} if last else {})
            answer = connection.getresponse()
            event = {}
            while not stop.is_set():
                line = answer.readline().decode()
                if not line:
                    break
                if line == "\n":
                    if "data" in event and "event" not in event:
                        heard.append(json.loads(event["data"]))
                    last = event.get("id", last)
                    event = {}
                elif not line.startswith(":"):
                    key, _, value = line.rstrip("\n").partition(": ")
                    event[key] = value
        except (OSError, http.client.HTTPException):
            stop.wait(0.05)


listener = threading.Thread(target=listen, daemon=True)
listener.start()
connection = None
number = 0
with open(state, "w", buffering=1) as out:
    while not os.path.exists(state + ".stop"):
        number += 1
        while True:
            try:
                connection = connection or http.client.HTTPConnection(url.hostname, url.port, timeout=10)
                connection.request("POST", "/streams/kill-1", json.dumps({"type": "K", "payload": number}),
                                   {"Content-Type": "application/json", "Idempotency-Key": str(number), "If-Match": f'"{number - 1}"'})
                answer = connection.getresponse()
                body = json.loads(answer.read())
                if answer.status in (200, 201):
                    break
                print("answered", answer.status, body)
                sys.exit(1)
            except (OSError, http.client.HTTPException, json.JSONDecodeError):
                connection = None
                time.sleep(0.05)  # the server is down: ask again
        acknowledged.append((body["first"], number))
        print(number, file=out)
until = time.time() + 30
while len(heard) < len(acknowledged) and time.time() < until:
    time.sleep(0.05)
stop.set()
got = [(e["position"], e["payload"]) for e in heard]
print(f"# {len(acknowledged)} acknowledged, {len(got)} heard")
if got != acknowledged or [e["version"] for e in heard] != list(range(1, number + 1)):
    print("# what was heard differs", got[:5], acknowledged[:5])
    sys.exit(1)
