#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Commands and reads over HTTP, the legacy application measured in the same run, in turns.
#
#   CLIENTS clients each send the life of orders (place, modify, fill, fill, cancel), closed loop, durable before answered:
#       throughput beside the application's with the same number of clients      bar 5
#       p99 beside the application's                                             bar below 1
#   status reads at RATE a second, open loop from intended times, the server on one core, the client on the other:
#       p99 of GET /aggregates/order/<key>                                       bar 2 ms
#
# For the reads, server and client run before all else (chrt -r) where that is allowed: what another program takes from
# the two cores is not their latency.  REALTIME= turns it off.
set -u
build=$1
clients=${CLIENTS:-64}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-5}
rate=${RATE:-10000}
load=$build/tests/bench/http_load
work=$(mktemp -d -p "${BENCH_FOLDER:-$build}")
pids=()
trap 'for p in "${pids[@]+"${pids[@]}"}"; do kill -TERM "$p" 2>/dev/null; done; wait 2>/dev/null; rm -rf "$work"' EXIT

psql -Xqc 'CREATE DATABASE http_commands' || exit 1
psql -Xq -d http_commands -f examples/legacy-oms/schema.sql || exit 1
"$build/examples/legacy-oms/legacy-oms" --conninfo "dbname=http_commands" --faults none --pool "${POOL:-16}" \
    --port-file "$work/oms.port" >"$work/oms.log" 2>&1 &
pids+=($!)
printf 'domain: trading\ndata: data\nlisten: 127.0.0.1:0\nviews:\n  - projection: current_orders\n' >"$work/banyan.yaml"

serve_on() { # serve_on COMMAND...   before it: where it runs
    rm -f "$work/port"
    "$@" "$build/banyan" serve --config "$work/banyan.yaml" --port-file "$work/port" >"$work/serve.log" 2>&1 &
    serve=$!
    pids+=("$serve")
    for _ in $(seq 300); do
        [ -s "$work/port" ] &&
            [ "$(curl -s -o /dev/null -w '%{http_code}' "http://127.0.0.1:$(cat "$work/port")/readyz")" = 200 ] && return
        kill -0 "$serve" || break
        sleep 0.1
    done
    cat "$work/serve.log" >&2
    exit 1
}
# The view is where the log is, and nothing is left to do.
quiet() {
    for _ in $(seq 600); do
        curl -s "http://127.0.0.1:$(cat "$work/port")/status" | jq -e '.views[0].position >= .log.durable' >/dev/null && break
        sleep 0.1
    done
    sleep 1
}
serve_off() { kill -TERM "$serve"; wait "$serve"; }
ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
until [ -s "$work/oms.port" ]; do sleep 0.1; done

serve_on
"$load" legacy "$(cat "$work/oms.port")" "$clients" 1 >/dev/null || exit 1
first=1
for _ in $(seq "$rounds"); do
    "$load" legacy "$(cat "$work/oms.port")" "$clients" "$seconds" >>"$work/legacy" || exit 1
    before=$(ticks "$serve")
    "$load" banyan "$(cat "$work/port")" "$clients" "$seconds" 0 "$first" >>"$work/banyan" || exit 1
    echo "$(($(ticks "$serve") - before))" >>"$work/ticks"
    first=$((first + 10000000))
done
echo "legacy: $(jq -c . "$work/legacy" | tr '\n' ' ')" >&2
echo "banyan: $(jq -c . "$work/banyan" | tr '\n' ' ')" >&2
echo "processor of banyan: $(jq -s --slurpfile t "$work/ticks" '($t | add) * 10000 / (map(.requests) | add) | . * 100 | round / 100' "$work/banyan") us a command" >&2
serve_off

# Reads: 100,000 orders, the server on one core.
rm -rf "$work/data"
serve_on
"$load" seed "$(cat "$work/port")" 256 0 100000 1 >/dev/null || exit 1
serve_off
realtime=()
if [ "${REALTIME-yes}" = yes ] && chrt -r 1 true 2>/dev/null; then realtime=(chrt -r 1); fi
serve_on taskset -c 0 "${realtime[@]+"${realtime[@]}"}"
client=(taskset -c 1 "${realtime[@]+"${realtime[@]}"}")
quiet
"${client[@]}" "$load" state "$(cat "$work/port")" 64 2 "$rate" 1 >/dev/null || exit 1
for _ in $(seq "$rounds"); do
    "${client[@]}" "$load" state "$(cat "$work/port")" 64 "$seconds" "$rate" 1 >>"$work/state" || exit 1
    "${client[@]}" "$load" view "$(cat "$work/port")" 64 "$seconds" "$rate" 1 >>"$work/view" || exit 1
done
echo "reads: ${realtime[*]:-no} priority" >&2
echo "state: $(jq -c . "$work/state" | tr '\n' ' ')" >&2
echo "view:  $(jq -c . "$work/view" | tr '\n' ' ')" >&2

# The middle one of the rounds.
middle() { jq -s "map(.$2) | sort | .[length / 2 | floor]" "$work/$1"; }
jq -nc --argjson a "$(middle banyan rate)" --argjson b "$(middle legacy rate)" \
    '{name: "http_commands", value: $a, unit: "commands/s", reference: $b, ratio: ($a / $b), bar: 5, ok: ($a >= 5 * $b)}'
jq -nc --argjson a "$(middle banyan p99_us)" --argjson b "$(middle legacy p99_us)" \
    '{name: "http_commands_p99", value: $a, unit: "us", reference: $b, ratio: ($a / $b), bar: 1, ok: ($a < $b)}'
jq -nc --argjson a "$(middle state p99_us)" --argjson rate "$rate" \
    '{name: "http_status_p99", value: $a, unit: "us", reference: $rate, ratio: null, bar: 2000, ok: ($a <= 2000)}'
jq -nc --argjson a "$(middle view p99_us)" --argjson rate "$rate" \
    '{name: "http_view_p99", value: $a, unit: "us", reference: $rate, ratio: null, bar: 2000, ok: ($a <= 2000)}'
