# SPDX-License-Identifier: Apache-2.0
"""probe.py STOP_FILE NAME=URL...   asks each URL 200 times a second until STOP_FILE is there; JSON of each on stdout:
requests, failed, and the longest time between two answers that were good, in ms: the downtime that a client saw."""
import http.client, json, os, sys, threading, time
from urllib.parse import urlsplit

stop, results = sys.argv[1], {}


def probe(name, url):
    at = urlsplit(url)
    count = failed = 0
    longest = 0.0
    last = time.monotonic()
    while not os.path.exists(stop):
        try:
            connection = http.client.HTTPConnection(at.hostname, at.port, timeout=10)
            connection.request("GET", at.path)
            good = connection.getresponse().status == 200
            connection.close()
        except (OSError, http.client.HTTPException):
            good = False
        count += 1
        now = time.monotonic()
        if good:
            longest, last = max(longest, now - last), now
        else:
            failed += 1
        time.sleep(0.005)  # the rate
    results[name] = {"requests": count, "failed": failed, "longest_gap_ms": round(longest * 1000, 1)}


threads = [threading.Thread(target=probe, args=argument.split("=", 1)) for argument in sys.argv[2:]]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps(results))
