#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Read models in every store as an operator works on them: rebuilt while events arrive and readers read, cancelled, rolled
# back, dropped, paused, killed in the middle, changed by a new version of the program.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
orders=${ORDERS:-30000}
json=(-H 'Content-Type: application/json')
load() { python3 "$here/views_load.py" "$@"; }
p() { "$banyan" projection "$@" --config "$config"; }
q() { "$banyan" query "$@" --config "$config"; }
mkdir "$work/desk"
config=$work/desk/banyan.yaml
write_views() { # write_views LIMIT
    cat >"$config" <<YAML
domain: trading
data: data
listen: 127.0.0.1:${port:-0}
views:
  - {projection: current_orders, name: files, rebuild_events_per_second: $1}
  - {projection: current_orders, name: tables, store: postgres, conninfo: '$BANYAN_TEST_CONNINFO', rebuild_events_per_second: $1}
  - {projection: current_orders, name: memory, store: memory, rebuild_events_per_second: $1}
YAML
    if [ -n "$redis" ]; then
        echo "  - {projection: current_orders, name: keys, store: redis, address: $redis, rebuild_events_per_second: $1}" >>"$config"
    fi
}
redis='' views=(files tables memory)
if command -v redis-server >/dev/null; then
    redis=$work/redis.sock
    start_bg redis redis-server --port 0 --unixsocket "$redis" --save '' --dir "$work"
    wait_until 20 "redis" test -S "$redis"
    views+=(keys)
else
    skip "a view in Redis" "there is no redis-server"
fi
state() { curl -s "$url/projections/$1" | jq -r "$2"; }
state_is() { [ "$(state "$1" "$2")" = "$3" ]; }
code() { curl -s -o /dev/null -w '%{http_code}' "$@"; }

# ---- built, asked ----
write_views 0
serve "$work/desk" desk || exit 1
port=${url##*:}
wait_until 60 "the views" ready
check "$orders orders over HTTP" load past "$url" "$orders"
position=$(curl -s "$url/status" | jq .log.durable)
for view in "${views[@]}"; do
    equal "$view: read after the write" "$(code -H "Banyan-Min-Position: $position" -H 'Prefer: wait=10000' "$url/views/$view/$((orders + 2))")" 200
    equal "$view: a row by its key" "$(q "$view" 7 --json | jq -c '[.order_id,.symbol,.status]')" '[7,"S0","NEW"]'
    equal "$view: a list" "$(q "$view" trader_id=1 --json | jq -c '[.items[].order_id] | sort')" '[1,2]'
done
matches "rows as people read them" "$(q files trader_id=1 | head -1)" '^order_id +.*symbol'
q files 99999999 >"$work/none" 2>&1
equal "a row that is not there" $? 5
q nothing 1 >"$work/none" 2>&1
equal "a view that is not there" $? 5
q files 2>"$work/none" >&2
equal "a list by nothing" $? 4
matches "says by what it can be asked" "$(cat "$work/none")" 'lists are by trader_id, symbol'
matches "the list of projections" "$(p list)" '^tables +live +1 '
equal "the same for programs" "$(p list --json | jq -c '[.projections[].name] | sort')" "$(printf '%s\n' "${views[@]}" | jq -Rnc '[inputs] | sort')"
p show nobody >"$work/none" 2>&1
equal "a projection that is not there" $? 5

# ---- rebuilt while events arrive and readers read ----
load pair "$url" "$work/stop.pair" >"$work/pair.log" 2>&1 &
pair=$!
started_pids+=("$pair")
readers=()
for view in "${views[@]}"; do
    load read "$url" "$work/stop.read" "$view" >"$work/read-$view.log" 2>&1 &
    readers+=($!)
    started_pids+=($!)
done
for view in "${views[@]}"; do
    p limit "$view" $((orders / 3)) >/dev/null
    p rebuild "$view" --wait >"$work/rebuild-$view" 2>"$work/rebuild-$view.err" &
    waits=$!
    running() { state_is "$view" '.rebuild.phase != null' true; }
    wait_until 10 "the rebuild of $view" running
    timeout 2 "$banyan" status --watch --config "$config" >"$work/watch-$view"
    p rebuild "$view" >"$work/none" 2>&1
    equal "$view: not twice at once" $? 6
    p limit "$view" 0 >/dev/null
    wait "$waits"
    equal "$view: rebuilt" "$?$(cat "$work/rebuild-$view.err" | grep '^banyan:')" 0
    matches "$view: status --watch showed it" "$(cat "$work/watch-$view")" "^$view .*(fold|load|catch up) [0-9]+ %, [0-9.]+ .*left"
    equal "$view: the new generation serves, the old one is kept" \
        "$(state "$view" '[.generation, ([.generations[] | [.number,.state]] | sort)] | tostring')" '[2,[[1,"kept"],[2,"serving"]]]'
done
for view in "${views[@]}"; do
    p rollback "$view" >/dev/null
    back() { state_is "$view" '[.generation, .rebuild] | tostring' '[1,null]'; }
    wait_until 30 "$view to be rolled back" back && ok "$view: rolled back to the generation before"
done
touch "$work/stop.read"
i=0
for view in "${views[@]}"; do
    wait "${readers[$i]}"
    equal "$view: no reader saw an error, a mixture or the past" "$?$(grep -v '^# [0-9]* ' "$work/read-$view.log")" 0
    cat "$work/read-$view.log"
    matches "$view: answers said how long the rebuild takes" "$(cat "$work/read-$view.log")" '^# [1-9][0-9]* answers said'
    i=$((i + 1))
done
touch "$work/stop.pair"
wait "$pair"
equal "every append was taken" $? 0

# ---- cancel, drop, limit, pause ----
for view in "${views[@]}"; do
    p drop "$view" >/dev/null
    equal "$view: what does not serve is dropped" "$(state "$view" '[.generations[].number] | tostring')" '[1]'
    p limit "$view" $((orders / 20)) >/dev/null
    p rebuild "$view" >/dev/null
    p cancel "$view" >/dev/null
    over() { state_is "$view" .rebuild null; }
    wait_until 10 "$view: the end of a cancelled rebuild" over
    equal "$view: a cancelled rebuild leaves nothing" "$(state "$view" '[.generation, [.generations[].number]] | tostring')" '[1,[1]]'
    p cancel "$view" >"$work/none" 2>&1
    equal "$view: nothing to cancel" $? 5
    p rollback "$view" >"$work/none" 2>&1
    equal "$view: nothing to go back to" $? 5
    p drop "$view" --generation 1 >"$work/none" 2>&1
    equal "$view: what serves is not dropped" $? 4
    p limit "$view" 0 >/dev/null
done
p pause files >/dev/null
matches "paused" "$(p show files | sed -n 2p)" '^files +paused'
at=$(state files .position)
load past "$url" 1000 >/dev/null
equal "it stands still" "$(state files .position)" "$at"
equal "and answers" "$(code "$url/views/files/1")" 200
kill -KILL "$serve_pid"
wait "$serve_pid" 2>/dev/null
serve "$work/desk" paused || exit 1
paused() { state_is files .state paused; }
wait_until 20 "it to be paused after kill -9" paused && ok "still paused after kill -9"
equal "where it stood" "$(state files .position)" "$at"
p resume files >/dev/null
tail=$(curl -s "$url/status" | jq .log.durable)
there() { [ "$(state files .position)" -ge "$tail" ]; }
wait_until 30 "it to catch up" there && ok "resumed"

# ---- a server that was away, a store that lost all it had ----
"$BANYAN_TEST_PG/ctl" immediate >/dev/null
"$BANYAN_TEST_PG/ctl" start >/dev/null
wait_until 30 "PostgreSQL" sql -c 'SELECT 1'
equal "the first reader after a restart sees no error" "$(code "$url/views/tables/7") $(code "$url/views/tables/8")" "200 200"
wait_until 30 "tables after the restart" state_is tables .state live
if [ -n "$redis" ]; then
    redis-cli -s "$redis" flushall >/dev/null
    load past "$url" 10 >/dev/null
    tail=$(curl -s "$url/status" | jq .log.durable)
    whole() { state_is keys "[.state, .serves, .position >= $tail] | tostring" '["live",true,true]'; }
    wait_until 60 "the view to be built again" whole && ok "what a store lost is built again, without being asked"
    equal "its rows" "$(q keys symbol=S3 --limit 1000 --json | jq -c '[.items[].order_id] | length')" 1000
fi

# ---- what cannot be applied ----
matches "an event of a schema that nobody knows" "$(curl -s "${json[@]}" "$url/streams/order-5" -d '{"type":"OrderModified","schema":0,"payload":{}}')" '"version":'
for view in "${views[@]}"; do
    aside() { [ "$(state "$view" .aside)" = 1 ]; }
    wait_until 20 "$view: the key to be aside" aside
    matches "$view: what is aside, and why" "$(p asides "$view" | tr '\n' ' ')" 'order-5, 1 held since .* reason: '
    equal "$view: others go on" "$(code "$url/views/$view/6")" 200
    argument=$(p asides "$view" --json | jq -r '.asides[0] | if has("key") then "--key=\(.key)" else "--stream=\(.stream)" end')
    p retry "$view" "$argument" >"$work/retry" 2>&1
    equal "$view: tried again, it fails again" "$? $(grep -c 'banyan: .*version 0' "$work/retry")" "4 1"
    p retry "$view" --key=424242 >"$work/none" 2>&1
    equal "$view: nothing to try again" $? 5
done

# ---- kill -9 in the middle of a rebuild ----
stop_bg "$serve_pid"
write_views $((orders / 4))
serve "$work/desk" slow || exit 1
not_built() { [ "$(code "$url/views/memory/1")" = 503 ]; }
check "a view in memory is built at the start, and is not shown before" not_built
matches "it says when to come again" "$(curl -s -D - -o /dev/null "$url/views/memory/1" | grep -ic '^retry-after: [1-9]')" '^1$'
equal "the serve is not ready" "$(code "$url/readyz")" 503
wait_until 60 "the views" ready
for view in "${views[@]}"; do
    p rebuild "$view" >/dev/null
    folding() { state_is "$view" '.rebuild.events_done > 0 or .rebuild.phase == "fold"' true; }
    wait_until 10 "the rebuild of $view" folding
done
kill -KILL "$serve_pid"
wait "$serve_pid" 2>/dev/null
serve "$work/desk" killed || exit 1
for view in "${views[@]}"; do
    [ "$view" = memory ] && continue
    rebuilt() { state_is "$view" '.rebuild == null and .generation > 1' true; }
    wait_until 60 "the rebuild of $view after kill -9" rebuilt && ok "$view: rebuilt after kill -9, without being asked"
    equal "$view: its rows" "$(q "$view" symbol=S3 --limit 1000 --json | jq -c '[.items[].order_id] | length')" 1000
    equal "$view: its keys aside" "$(state "$view" .aside)" 1
done
stop_bg "$serve_pid"

# ---- a new version of the program ----
old=$banyan
banyan=$build/tests/flow/new_form
write_views $((orders / 4))
serve "$work/desk" version2 || exit 1
matches "an outdated view answers while it is rebuilt" "$(code "$url/views/files/1") $(state files '[.outdated, .rebuild.reason] | tostring')" '^200 \[true,"form changed"\]$'
for view in "${views[@]}"; do
    new() { state_is "$view" '.rebuild == null and .outdated == false and .serves and ([.generations[] | select(.state == "serving").version] == [2])' true; }
    wait_until 60 "version 2 of $view" new && ok "$view: a new version is built without being asked"
    equal "$view: its rows" "$(q "$view" trader_id=1 --json | jq -c '[.items[].order_id] | sort')" '[1,2]'
done
stop_bg "$serve_pid"
banyan=$old
export FORM=lists
banyan=$build/tests/flow/new_form
serve "$work/desk" lists || exit 1
equal "rows that the program cannot read are not shown" "$(code "$url/views/files/1") $(code "$url/readyz")" "503 503"
matches "and it says when to come again" "$(curl -s -D - -o /dev/null "$url/views/files/1" | grep -i '^retry-after:')" '[1-9]'
wait_until 60 "the views" ready
equal "until they are built" "$(code "$url/views/files/1")" 200
stop_bg "$serve_pid"
plan_done
