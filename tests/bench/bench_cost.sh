#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What Banyan costs the legacy application: the same traffic without and with `banyan serve` capturing it, in turns.
#
#   at saturation (--rate 0): throughput with / without           bar 0.9
#   at RATE (a core is free): p99 of writes with / without        bar 1.2 (at most)
#   at RATE: lag from commit to durable event, and from there to the visible row
set -u
build=$1
legacy=$build/examples/legacy-oms
banyan=$build/banyan
rounds=${ROUNDS:-3}
rate=${RATE:-300}
seconds=${SECONDS_EACH:-8}
work=$(mktemp -d)
pids=()
trap 'for p in "${pids[@]+"${pids[@]}"}"; do kill -TERM "$p" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$work"' EXIT

psql -Xqc 'CREATE DATABASE cost' || exit 1
export PGDATABASE=cost
psql -Xqf examples/legacy-oms/schema.sql || exit 1
"$legacy/legacy-seed" --orders 50000 >/dev/null || exit 1
"$legacy/legacy-oms" >"$work/oms.log" 2>&1 &
pids+=($!)
until grep -q listening "$work/oms.log"; do sleep 0.1; done
url=$(sed -n 's/^listening on //p' "$work/oms.log")
"$banyan" init --conninfo "host=$PGHOST port=$PGPORT user=$PGUSER dbname=cost" --output "$work/banyan.yaml" >/dev/null || exit 1
sed -i 's/^listen: .*/listen: 127.0.0.1:0/' "$work/banyan.yaml"

serve_on() {
    rm -f "$work/port"
    "$banyan" serve --config "$work/banyan.yaml" --port-file "$work/port" >"$work/serve.log" 2>&1 &
    serve=$!
    pids+=("$serve")
    for _ in $(seq 600); do
        [ -s "$work/port" ] &&
            [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$(cat "$work/port")/readyz")" = 200 ] && return
        kill -0 "$serve" || { cat "$work/serve.log" >&2; exit 1; }
        sleep 0.1
    done
    echo "serve is not ready" >&2
    exit 1
}
serve_off() { kill -TERM "$serve"; wait "$serve"; }
load() { "$legacy/legacy-load" --url "$url" --rate "$1" --seconds "$2" --seed "$3" | tail -1; }

load 0 3 99 >/dev/null
for round in $(seq "$rounds"); do
    load 0 "$seconds" "$round" >>"$work/full-without"
    load "$rate" "$seconds" "$round" >>"$work/rate-without"
    serve_on
    load 0 "$seconds" "$round" >>"$work/full-with"
    for _ in $(seq 300); do
        [ "$(curl -s "http://127.0.0.1:$(cat "$work/port")/status" | jq '.views[0].tail - .views[0].position < 100')" = true ] && break
        sleep 0.1
    done
    load "$rate" "$seconds" "$round" >>"$work/rate-with"
    curl -s "http://127.0.0.1:$(cat "$work/port")/status" >>"$work/status"
    serve_off
done
median() { jq -s "map($2) | sort | .[length / 2 | floor]" "$1"; }
line() { # NAME UNIT VALUE REFERENCE BAR at_least|at_most
    jq -cn --arg name "$1" --arg unit "$2" --argjson value "$3" --argjson reference "$4" --argjson bar "$5" --arg sense "$6" '
        ($value / $reference) as $ratio |
        {name: $name, value: $value, unit: $unit, reference: $reference, ratio: ($ratio * 100 | round / 100), bar: $bar,
         ok: (if $sense == "at_least" then $ratio >= $bar else $ratio <= $bar end)}'
}
line cost_throughput_at_saturation requests/s "$(median "$work/full-with" .per_second)" "$(median "$work/full-without" .per_second)" 0.9 at_least
line "cost_write_p99_at_${rate}_per_second" ms "$(median "$work/rate-with" .writes.p99_ms)" "$(median "$work/rate-without" .writes.p99_ms)" 1.2 at_most
line "cost_write_p50_at_${rate}_per_second" ms "$(median "$work/rate-with" .writes.p50_ms)" "$(median "$work/rate-without" .writes.p50_ms)" 1.2 at_most
jq -cs '{name: "capture_lag_p50", value: (map(.legacy.capture.lag_ms_p50) | sort | .[length / 2 | floor]), unit: "ms"},
        {name: "capture_lag_p99", value: (map(.legacy.capture.lag_ms_p99) | sort | .[length / 2 | floor]), unit: "ms"},
        {name: "view_lag_p50", value: (map(.views[0].lag_ms_p50) | sort | .[length / 2 | floor]), unit: "ms"},
        {name: "view_lag_p99", value: (map(.views[0].lag_ms_p99) | sort | .[length / 2 | floor]), unit: "ms"}' "$work/status"
