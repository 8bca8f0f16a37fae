#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who writes over HTTP and reads a view with the position of the answer sees what was written: 16 clients, PAIRS pairs.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
pairs=${2:-${PAIRS:-6000}}

mkdir "$work/views"
printf 'domain: trading\ndata: data\nlisten: 127.0.0.1:0\nviews:\n  - projection: current_orders\n' >"$work/views/banyan.yaml"
serve "$work/views" views || exit 1
wait_until 30 "the view to be live" ready
"$build/tests/flow/read_writes" "$url" "$pairs" 16 >"$work/read_writes.log" 2>&1
fresh=$?
grep '^#' "$work/read_writes.log" | head -20
equal "no read is stale, of $pairs" $fresh 0
# A view that is behind says so instead of showing what is old.
far=$(($(curl -s "$url/status" | jq .log.durable) + 1000))
equal "a position that is not there yet is not answered" \
    "$(curl -s -o /dev/null -w '%{http_code}' -H "Banyan-Min-Position: $far" -H 'Prefer: wait=50' "$url/views/current_orders/1000")" 503
plan_done
