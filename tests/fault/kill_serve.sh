#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# serve is killed with -9 over and over, beside a serve on the same live database that is not: both logs are the same.
#
# One kill in five comes with a crash of PostgreSQL.  KILLS (50) in all, SEEDS (5) rounds, each with a fresh database and
# a seed from SEED (1) on.  ORDERS (30000) is the past of each, RATE (300) the writes and reads a second beside it.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/../flow/lib.sh"
# shellcheck source=tests/flow/history.sh
. "$(dirname "$0")/../flow/history.sh"

kills=${KILLS:-50}
rounds=${SEEDS:-5}
first=${SEED:-1}
orders=${ORDERS:-30000}
rate=${RATE:-300}

starting=0 backfilling=0 capturing=0 crashes=0 gave_up=0

# killed_start ROUND   the serve that is going to be killed; sets $killed_pid, $killed_log
killed_start() {
    killed_log=killed-$1-$((++starts))
    rm -f "$work/b$1/port"
    start_bg "$killed_log" "$banyan" serve --config "$work/b$1/banyan.yaml" --port-file "$work/b$1/port"
    killed_pid=$started
}
# killed_kill   with -9, and count what it was doing
killed_kill() {
    if grep -q 'backfill done' "$work/$killed_log.log"; then capturing=$((capturing + 1))
    elif grep -q listening "$work/$killed_log.log"; then backfilling=$((backfilling + 1))
    else starting=$((starting + 1)); fi
    kill -KILL "$killed_pid" 2>/dev/null
    wait "$killed_pid" 2>/dev/null
}
# pause_random LONGEST   so many ms at most; the point of this test is that nothing waits for anything
pause_random() {
    local ms=$((RANDOM % $1))
    sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
}
# attack ROUND COUNT
attack() {
    local i=0 code offset=$((RANDOM % 5))
    while [ "$i" -lt "$2" ]; do
        killed_start "$1"
        # Short lives and long ones: a start, a few chunks, the hand-over, capture.
        pause_random $((RANDOM % 2 ? 400 : 2500))
        if ! kill -0 "$killed_pid" 2>/dev/null; then
            wait "$killed_pid"
            code=$?
            # A supervisor would start it again, so this does: only a server that was away is a reason to end.
            gave_up=$((gave_up + 1))
            grep -qE 'connect|starting up|shutting down' "$work/$killed_log.log" && continue
            not_ok "round $1: serve ended by itself" "exit code $code" "$(tail -5 "$work/$killed_log.log")"
            exit 1
        fi
        killed_kill
        i=$((i + 1))
        if [ $(((i + offset) % 5)) = 0 ]; then
            crashes=$((crashes + 1))
            if [ $((RANDOM % 2)) = 0 ]; then
                "$BANYAN_TEST_PG/ctl" restart >>"$work/ctl.log" 2>&1
            else # it comes back while serve starts
                "$BANYAN_TEST_PG/ctl" immediate >>"$work/ctl.log" 2>&1
                "$BANYAN_TEST_PG/ctl" start >>"$work/ctl.log" 2>&1 &
            fi
        fi
    done
}
begun_backfill() { curl -s "$url/status" | jq -e '.legacy.state == "backfilling" or .legacy.state == "capturing"'; }
server_up() { psql -XqAtc 'SELECT 1'; }
# verified WHO FOLDER
verified() {
    "$banyan" verify --config "$2/banyan.yaml" --json --timeout 300 >"$work/verify.json" 2>"$work/verify.err"
    equal "$1: verify" "$? $(jq -c '[.differences,.unsettled]' "$work/verify.json")$(cat "$work/verify.err")" "0 [0,0]"
}

# round NUMBER SEED KILLS
round() {
    local database=oms$1 a=$work/a$1 b=$work/b$1 load a_pid a_url b_url
    RANDOM=$2
    starts=0
    oms_start "$database" none || exit 1
    "$example/legacy-seed" --conninfo "dbname=$database" --orders "$orders" --seed "$2" --faults none >"$work/seed.log" ||
        exit 1
    source_config "$a" "$database" "a$1"
    source_config "$b" "$database" "b$1"
    sed -i 's/^  heartbeat_seconds:/  backfill_chunk_rows: 30\n&/' "$a/banyan.yaml" "$b/banyan.yaml"
    start_bg "load$1" "$example/legacy-load" --url "$oms_url" --rate "$rate" --seed "$2" --stop-file "$work/stop$1"
    load=$started
    serve "$a" "never-$1" || exit 1
    a_pid=$serve_pid a_url=$url
    # Before that, a server that goes away ends it, too.
    wait_until 60 "its backfill to begin" begun_backfill || exit 1

    attack "$1" "$3"

    wait_until 120 "PostgreSQL" server_up || exit 1
    touch "$work/stop$1"
    wait "$load"
    check "round $1: there was traffic" jq -e '.truth.placed > 100' <(tail -1 "$work/load$1.log")
    serve "$b" "killed-$1-last" || exit 1
    b_url=$url
    check "round $1: the other one lives" kill -0 "$a_pid"
    wait_until 300 "ready" ready || { cat "$work/killed-$1-last.log"; exit 1; }
    url=$a_url
    wait_until 300 "the other one to be ready" ready || { cat "$work/never-$1.log"; exit 1; }
    drained 120 "$database" "$a_url" && drained 120 "$database" "$b_url" || exit 1
    verified "round $1: never killed" "$a"
    verified "round $1: killed" "$b"
    stop_bg "$oms_pid"
    kill -TERM "$a_pid" "$serve_pid"
    wait "$a_pid"
    equal "round $1: the one never killed ends well" $? 0
    wait "$serve_pid"
    equal "round $1: the killed one ends well" $? 0
    history "$a/data" "$work/a.history" && history "$b/data" "$work/b.history" || exit 1
    equal "round $1: versions are dense" "$(versions_dense "$work/a.history") $(versions_dense "$work/b.history")" "0 0"
    facts "$work/a.history" >"$work/a.facts"
    facts "$work/b.history" >"$work/b.facts"
    local output
    if output=$(diff "$work/a.facts" "$work/b.facts"); then
        ok "round $1: $(wc -l <"$work/a.facts") events are the same in stream, version, type, time and payload"
    else
        not_ok "round $1: both logs are the same" "$(grep -c '^[<>]' <<<"$output") lines differ" "$(head -20 <<<"$output")"
    fi
    sql -c "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots" >/dev/null
    sql -c "DROP DATABASE $database WITH (FORCE)"
}

echo "# SEED=$first SEEDS=$rounds KILLS=$kills ORDERS=$orders RATE=$rate"
for ((number = 1; number <= rounds; number++)); do
    begun=$SECONDS
    round "$number" $((first + number - 1)) $((kills / rounds + (number <= kills % rounds)))
    echo "# round $number, seed $((first + number - 1)): $((SECONDS - begun)) s; so far killed $starting starting," \
        "$backfilling backfilling, $capturing capturing; $crashes crashes of PostgreSQL; $gave_up starts without it"
done
plan_done
