#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The rollout end to end: a live application behind the gateway goes all the way, back from each state, and to the end.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

example=$build/examples/legacy-oms
root=$(cd "$(dirname "$0")/../.." && pwd)
compare_rows=$build/tests/compare_rows
orders=400

# documented FILE HEADING   the first SQL block below the heading
documented() { awk -v heading="## $2" '$0 == heading { on = 1 } on && /^```$/ { exit } on && block { print } on && /^```sql$/ { block = 1 }' "$root/docs/$1"; }

# The tables belong to a role of the application's; Banyan has what its documentation asks for, and nothing else.
superuser=$PGUSER
sql -c 'CREATE ROLE app_owner LOGIN' -c 'CREATE DATABASE oms OWNER app_owner' && export PGDATABASE=oms PGUSER=app_owner
sql -f "$root/examples/legacy-oms/schema.sql"
{
    documented CONFIGURATION.md "What the role at the legacy database needs"
    documented ROLLOUT.md "What the role at the legacy database needs besides"
} >"$work/grants.sql"
PGUSER=$superuser sql -f "$work/grants.sql"
equal "grants as documented" "$?" 0
"$example/legacy-seed" --orders $orders --seed 5 >/dev/null
start_bg oms "$example/legacy-oms" --faults none --port-file "$work/oms.port"
wait_until 20 "the application" test -s "$work/oms.port" || exit 1
oms=http://127.0.0.1:$(cat "$work/oms.port")

conninfo="host=$PGHOST port=$PGPORT user=banyan dbname=oms"
write_config "$work/banyan.yaml" "$conninfo" "gateway:
  listen: 127.0.0.1:0
  upstream: $oms
  split: true
  tell_side: true
rollout:
  steps_percent: [20, 100]
  step_seconds_min: 1
  window_seconds: 3
  samples_min: 10
  latency_floor_ms: 2000
  pause_ms_max: 3000"
# start_serve NAME   the gateway keeps its port, so that clients find it again
start_serve() {
    rm -f "$work/port" "$work/gateway.port"
    start_bg "$1" "$banyan" serve --config "$work/banyan.yaml" --port-file "$work/port" --gateway-port-file "$work/gateway.port"
    serve_pid=$started
    wait_until 30 "serve to listen" test -s "$work/gateway.port" || { cat "$work/$1.log"; exit 1; }
    url=http://127.0.0.1:$(cat "$work/port")
    gateway=http://127.0.0.1:$(cat "$work/gateway.port")
    sed -i "s|^listen: .*|listen: ${url#http://}|; s|^  listen: .*|  listen: ${gateway#http://}|" "$work/banyan.yaml"
}
start_serve serve
wait_until 60 "the history" ready || { cat "$work/serve.log"; exit 1; }

rollout() { "$banyan" rollout "$@" --config "$work/banyan.yaml" >"$work/out" 2>"$work/err"; }
field() { curl -s "$url/rollout" | jq -r "$1"; }
state() { field .state; }
# wait_state STATE
is_state() { [ "$(state)" = "$1" ]; }
# forward WHAT WANTED   the next step as soon as its checks are met
try_next() { rollout next --wait --reason "$what"; }
forward() {
    what=$1
    wait_until 60 "the step: $1" try_next || { cat "$work/out" "$work/err"; tail -5 "$work"/serve*.log; exit 1; }
    equal "$1" "$(state)" "$2"
}
# back FROM   everything is the application's again, and its tables are what the log says
back() {
    rollout rollback --wait --reason "from $1"
    equal "rollback from $1" "$? $(state) $(field .owner)" "0 ${2:-shadow} ${3:-legacy}"
    compared "the tables after rollback from $1"
    traffic
    equal "the application writes again after $1" "$(curl -s -o /dev/null -w '%{http_code}' "$oms/orders" -d "$order")" 201
}
order='{"trader_id":7,"symbol":"ALDR","side":"BUY","quantity":"10","price":"100.25"}'
# Capture and mirror are at the end.
settled() {
    curl -s "$url/rollout" | jq -e '.mirror.running == false or .mirror.tail == .mirror.written' >/dev/null &&
        "$banyan" verify --config "$work/banyan.yaml" >/dev/null 2>&1
}
compared() {
    end_traffic
    wait_until 60 "what is under way" settled
    check "$1 equal the fold of the log" "$compare_rows" "$work/data" "$conninfo"
}
load_seed=0
traffic() {
    load_seed=$((load_seed + 1))
    start_bg "load$load_seed" "$example/legacy-load" --url "$gateway" --rate 120 --connections 8 --seed $load_seed \
        --mix place=30,fill=18,match=4,modify=8,cancel=8,get=24,list=8
    load_pid=$started
}
failed=0 requests=0 conflicts=0
end_traffic() {
    stop_bg "$load_pid"
    tail -1 "$work/load$load_seed.log" >"$work/total"
    failed=$((failed + $(jq '.errors + .truth.unknown' "$work/total")))
    conflicts=$((conflicts + $(jq .truth.conflicts "$work/total")))
    requests=$((requests + $(jq .requests "$work/total")))
    [ "$(jq '.errors + .truth.unknown + .truth.conflicts' "$work/total")" = 0 ] ||
        jq -c '[.errors, .truth, (.operations | map_values(.errors))]' "$work/total" | sed 's/^/# failed: /'
}
# answered N   Banyan did more than so many writes
answered() { [ "$(field .gateway.writes_banyan)" -gt "$1" ]; }

# ---- before the start ----
equal "it is prepared" "$(state)" prepared
rollout next
equal "next before start is refused with 27" $? 27
matches "with the reason" "$(cat "$work/err")" 'start it first'
rollout rollback
equal "so is a rollback" $? 27
rollout plan
matches "the plan has the steps" "$(cat "$work/out")" 'canary +20 % Banyan +their owner +20 % Banyan'
rollout start --dry-run
equal "a dry run changes nothing" "$? $(state)" "0 prepared"
matches "and says what would happen" "$(cat "$work/out")" 'it would become: backfilling'

# ---- shadow ----
traffic
rollout start --wait --reason "the first time"
equal "start" "$? $(state)" "0 shadow"
rollout pause
equal "pause" "$? $(field .paused)" "0 true"
rollout next
equal "a paused rollout takes no step" "$?" 27
rollout resume
equal "resume" "$? $(field .paused)" "0 false"
back shadow prepared none
rollout start --wait
equal "start again" "$? $(state)" "0 shadow"

# ---- canary ----
forward "canary" canary
rollout next
equal "the next step needs samples and time" $? 27
matches "the checks that are not met are a table" "$(cat "$work/out")" '^check +verdict +figures'
wait_until 30 "writes of Banyan's" answered 5 && ok "Banyan does writes"
mine=$(curl -s "$url/events?category=order&limit=1000&since=$(date -u -d '-5 min' +%FT%TZ)" | jq '.events | length')
check "there are events ($mine)" test "$mine" -gt 0
back canary

# ---- ramp ----
forward "canary" canary
forward "ramp" ramp
back ramp

# ---- the cutover, and a restart in between ----
forward "canary" canary
forward "ramp" ramp
forward "cutover" event-first
equal "the owner" "$(field .owner)" banyan
check "the pause was $(field .cutover.pause_ms) ms" test "$(field '.cutover.pause_ms | floor')" -lt 3000
matches "past the gateway nobody writes the tables" "$(psql -Xqc "UPDATE orders SET price = 1 WHERE order_id = 1" 2>&1)" 'ERROR'
wait_until 30 "writes of Banyan's" answered 50
compared "the tables while the mirror runs"
kill -KILL "$serve_pid"
wait "$serve_pid" 2>/dev/null
start_serve again
wait_until 60 "it to be ready again" ready
equal "kill -9 changes nothing" "$(state) $(field .owner)" "event-first banyan"
order_id=$(curl -s "$gateway/orders" -d "$order" | jq .order_id)
check "an order by Banyan gets a key ($order_id)" test "${order_id:-0}" -gt $orders
equal "and is read back" "$(curl -s "$gateway/orders/$order_id" | jq -r .price)" 100.25000000
traffic
back event-first

# ---- to the end ----
forward "canary" canary
forward "ramp" ramp
forward "cutover" event-first
could_complete() { rollout complete --dry-run; }
wait_until 30 "enough answers of Banyan's" could_complete
end_traffic
complete() { rollout complete --reason "the end"; }
wait_until 30 "complete" complete
equal "complete" "$(state)" completed
matches "status says so" "$("$banyan" status --config "$work/banyan.yaml")" 'rollout   completed, owner banyan'
rollout rollback
equal "there is no way back then" $? 27
check "the tables equal the fold of the log at the end" "$compare_rows" "$work/data" "$conninfo"
matches "Banyan answers" "$(curl -si "$gateway/orders" -d "$order")" 'Banyan-Served-By: banyan'
equal "requests that failed, of $requests" "$failed" 0
# The driver takes up orders from lists on other connections, which may be older than its last write (docs/ROLLOUT.md).
check "hardly a write met an order that had ended ($conflicts)" test "$conflicts" -le $((requests / 500))
rollout history
equal "the history has every move" "$(grep -cE 'CanaryStarted|RampStepped|CutoverStarted|EventFirstStarted|RollbackStarted|RolledBack|RolloutCompleted' "$work/out")" 18
stop_bg "$serve_pid"
plan_done
