#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A day of a real exchange's order messages, written by the legacy application: its history is known, event by event.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/flow/history.sh
. "$(dirname "$0")/history.sh"

recording=${BANYAN_DATA:-$root/../shared/data}/bitstamp-l3-2015-05-01.csv.xz
if [ ! -f "$recording" ]; then
    skip "a real recording" "there is no $recording; BANYAN_DATA names its folder"
    plan_done
fi

# same NAME FILE WANTED   equal files; the first differences are shown
same() {
    local output
    if output=$(diff "$2" "$3"); then ok "$1"; else not_ok "$1" "$(head -10 <<<"$output")"; fi
}
# verified NAME FOLDER   banyan verify of the running serve of FOLDER
verified() {
    "$banyan" verify --config "$2/banyan.yaml" --json >"$work/verify.json" 2>"$work/verify.err"
    equal "$1: verify exits with 0" "$?$(cat "$work/verify.err")" 0
    equal "$1: rows and differences" "$(jq -c '[.rows,.differences,.unsettled]' "$work/verify.json")" '[25076,0,0]'
}
# known FILE   how the events of a history are known
known() { cut -f5 "$1" | LC_ALL=C sort | uniq -c | awk '{ printf "%s%s %s", sep, $1, $2; sep = ", " }'; }
# unexplained FILE   counts the events that are not exact and have no reason
unexplained() { awk -F'\t' '$5 != "exact"' "$1" | cut -f7 | jq -Rn '[inputs | select((try (fromjson | .reason) catch null) |
    (type != "string" or . == ""))] | length'; }

# replay DATABASE FAULTS   captures a replay from empty tables into $work/DATABASE; leaves serve running
replay() {
    local folder=$work/$1
    oms_start "$1" "$2" || exit 1
    source_config "$folder" "$1" "$1"
    serve "$folder" "serve-$1" || exit 1
    wait_until 60 "serve to be ready" ready || { cat "$work/serve-$1.log"; exit 1; }
    "$example/legacy-load" --url "$oms_url" --replay "$recording" --expected "$work/expected" >"$work/replay" 2>"$work/replay.err"
    equal "$1: replay exits with 0" "$?$(cat "$work/replay.err")" 0
    drained 120 "$1" "$url" || exit 1
    verified "$1, captured" "$folder"
    stop_bg "$serve_pid"
    history "$folder/data" "$work/$1.captured" || exit 1
    business "$work/$1.captured" >"$work/$1.business"
    same "$1: the captured history is the recording's, event by event" "$work/$1.business" "$work/expected"
    equal "$1: versions are dense" "$(versions_dense "$work/$1.captured")" 0
}
# rebuild DATABASE   rebuilds the history from the tables alone, in a log of its own, and follows from there
rebuild() {
    local folder=$work/$1-again
    source_config "$folder" "$1" "${1}_again"
    check "$1: backfill" "$banyan" serve --until-backfilled --config "$folder/banyan.yaml"
    serve "$folder" "serve-$1-again" || exit 1
    wait_until 60 "serve to be ready again" ready || { cat "$work/serve-$1-again.log"; exit 1; }
    verified "$1, rebuilt" "$folder"
    stop_bg "$serve_pid"
    history "$folder/data" "$work/$1.rebuilt" || exit 1
    equal "$1: versions are dense after backfill" "$(versions_dense "$work/$1.rebuilt")" 0
}

# --- an application that records everything
replay plain none
equal "messages" "$(jq -c '[.messages_created,.messages_changed,.messages_deleted]' "$work/replay")" '[24894,602,24918]'
types() { cut -f3 "$1" | LC_ALL=C sort | uniq -c | awk '{ print $2 "=" $1 }' | tr '\n' ' '; }
equal "events as the replay counts them" "$(types "$work/plain.captured")" "$(jq -r '"OrderCanceled=\(.canceled) " +
    "OrderCreated=\(.created + .imported) OrderFilled=\(.filled) OrderModified=\(.modified) " +
    "OrderPartiallyFilled=\(.partially_filled) "' "$work/replay")"
equal "orders as the recording's publisher counts them" "$(jq -c '[.created,.imported,.created_filled,.filled,
    .created_canceled,.canceled]' "$work/replay")" '[24889,187,557,580,24153,24317]'
equal "every captured event is exact" "$(known "$work/plain.captured")" "$(wc -l <"$work/expected") exact"
rebuild plain
business "$work/plain.rebuilt" >"$work/plain.rebuilt.business"
same "the rebuilt history is the recording's, event by event" "$work/plain.rebuilt.business" "$work/expected"
facts "$work/plain.captured" >"$work/captured.facts"
facts "$work/plain.rebuilt" >"$work/rebuilt.facts"
same "rebuilt and captured history are equal in streams, versions, types, times and payloads" "$work/rebuilt.facts" \
    "$work/captured.facts"
equal "every rebuilt event is exact" "$(known "$work/plain.rebuilt")" "$(wc -l <"$work/expected") exact"
stop_bg "$oms_pid"

# --- one that forgets, at all its faults
replay faulty all
echo "# faulty, captured: $(known "$work/faulty.captured")"
rebuild faulty
echo "# faulty, rebuilt: $(known "$work/faulty.rebuilt")"
equal "every captured event that is not exact has a reason" "$(unexplained "$work/faulty.captured")" 0
equal "every rebuilt event that is not exact has a reason" "$(unexplained "$work/faulty.rebuilt")" 0
check "what was not recorded is not called exact" grep -qE $'\t(inferred|reconciled)\t' "$work/faulty.rebuilt"
plan_done
