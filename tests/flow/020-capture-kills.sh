#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# serve is killed again and again, in the backfill and after it, and the server crashes once: the same history as if not.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/flow/history.sh
. "$(dirname "$0")/history.sh"

seed=${SEED:-$RANDOM}
RANDOM=$seed
echo "# seed $seed"
kill_serve() { kill -KILL "$serve_pid" 2>/dev/null; wait "$serve_pid" 2>/dev/null; }

oms_start app none || exit 1
check "seeded" "$example/legacy-seed" --conninfo "dbname=app" --orders 60000 --faults none
source_config "$work/killed" app killed
start_bg load "$example/legacy-load" --url "$oms_url" --rate 150 --stop-file "$work/stop" --seed "$seed"
load_pid=$started

for round in 1 2 3 4 5 6; do
    serve "$work/killed" "serve-$round" || exit 1
    # The first rounds end in the middle of the backfill, the later ones after it.
    if [ $round -gt 3 ]; then wait_until 120 "serve to be ready" ready || { cat "$work/serve-$round.log"; exit 1; }; fi
    lsn=$(sql -d app -c "SELECT pg_current_wal_lsn() + $((RANDOM * 4))")
    wait_until 60 "the application to write up to $lsn" \
        sh -c "[ \"\$(psql -XqAt -d app -c \"SELECT pg_current_wal_lsn() >= '$lsn'\")\" = t ]"
    echo "# round $round: $(curl -s --max-time 5 "$url/status" | jq -c '[.. | objects | .chunks_done // empty][0]') chunks"
    kill_serve
done
ok "killed six times"
touch "$work/stop"
wait "$load_pid"
equal "the load ends with 0" "$?" 0

serve "$work/killed" serve-last || exit 1
wait_until 120 "serve to be ready" ready || { cat "$work/serve-last.log"; exit 1; }
check "the server crashes and comes back" "$BANYAN_TEST_PG/ctl" restart
drained 120 app "$url" || { cat "$work/serve-last.log"; exit 1; }
"$banyan" verify --config "$work/killed/banyan.yaml" --json >"$work/verify.json" 2>"$work/verify.err"
equal "verify exits with 0" "$?$(cat "$work/verify.err")" 0
equal "differences" "$(jq -c '[.differences,.unsettled]' "$work/verify.json")" '[0,0]'
stop_bg "$serve_pid"

# The same history from the tables alone, by a source that nobody kills.
source_config "$work/calm" app calm
check "backfill of the end" "$banyan" serve --until-backfilled --config "$work/calm/banyan.yaml"
history "$work/killed/data" "$work/killed.history" || exit 1
history "$work/calm/data" "$work/calm.history" || exit 1
equal "versions are dense" "$(versions_dense "$work/killed.history")" 0
facts "$work/killed.history" >"$work/killed.facts"
facts "$work/calm.history" >"$work/calm.facts"
check "there are events" test "$(wc -l <"$work/killed.facts")" -gt 120000
if output=$(diff "$work/killed.facts" "$work/calm.facts"); then
    ok "equal in streams, versions, types, times and payloads"
else
    not_ok "equal in streams, versions, types, times and payloads" "$(head -20 <<<"$output")"
fi
plan_done
