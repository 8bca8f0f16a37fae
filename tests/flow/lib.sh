# SPDX-License-Identifier: Apache-2.0
# Helpers of the flow tests: TAP output, waiting with a limit, and everything that was started is stopped.
#
# A test is started as   NNN-name.sh BUILD   below tools/with-postgres, which gives it a server of its own.
# shellcheck shell=bash
set -u

build=$1
banyan=$build/banyan
test_count=0
test_bad=0
started_pids=()
work=$(mktemp -d "${TMPDIR:-/tmp}/banyan-flow.XXXXXX")
chmod 755 "$work"

finish() {
    local code=$? pid
    trap - EXIT
    for pid in "${started_pids[@]+"${started_pids[@]}"}"; do kill -TERM "$pid" 2>/dev/null; done
    for pid in "${started_pids[@]+"${started_pids[@]}"}"; do
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
    done
    if [ "$test_bad" != 0 ] || [ "$code" != 0 ]; then
        echo "# kept for a look: $work"
        mv "$work" "$work.failed" 2>/dev/null
    fi
    rm -rf "$work"
    [ "$code" = 0 ] && [ "$test_bad" != 0 ] && code=1
    exit "$code"
}
trap finish EXIT
trap 'exit 143' TERM INT

ok() { test_count=$((test_count + 1)); echo "ok $test_count - $1"; }
not_ok() {
    test_count=$((test_count + 1)); test_bad=$((test_bad + 1)); echo "not ok $test_count - $1"
    shift; for line in "$@"; do sed 's/^/#   /' <<<"$line"; done
}
skip() { test_count=$((test_count + 1)); echo "ok $test_count - $1 # SKIP $2"; }
plan_done() { echo "1..$test_count"; exit 0; }

# check NAME CONDITION...   CONDITION is a command; its output is shown when it fails.
check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then ok "$name"; else not_ok "$name" "command: $*" "$output"; fi
}
# equal NAME GOT WANTED
equal() { if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "got:    $2" "wanted: $3"; fi; }
# matches NAME TEXT REGEX
matches() { if grep -qE -- "$3" <<<"$2"; then ok "$1"; else not_ok "$1" "text:   $2" "wanted: $3"; fi; }

# wait_until SECONDS WHAT COMMAND...   polls; dies with a message when the time is over.
wait_until() {
    local limit=$1 what=$2 until=$((SECONDS + $1))
    shift 2
    while ! "$@" >/dev/null 2>&1; do
        if [ $SECONDS -ge $until ]; then not_ok "waiting for $what" "not within $limit s"; return 1; fi
        sleep 0.05
    done
}

sql() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
# start_bg NAME COMMAND...   runs it in the background, output to $work/NAME.log; pid in $started
start_bg() {
    local name=$1
    shift
    "$@" >"$work/$name.log" 2>&1 &
    started=$!
    started_pids+=("$started")
}
# stop_bg PID   TERM, and wait
stop_bg() { kill -TERM "$1" 2>/dev/null; wait "$1" 2>/dev/null; }

# write_config FILE CONNINFO [EXTRA]   a configuration with everything below FILE's folder
write_config() {
    cat >"$1" <<YAML
domain: trading
data: data
listen: 127.0.0.1:0
source:
  name: legacy
  conninfo: '$2'
  slot: banyan
  publication: banyan
  heartbeat_seconds: 1
  lock_timeout_seconds: 3
views:
  - projection: current_orders
${3:-}
YAML
}
# serve FOLDER NAME   starts `banyan serve` on FOLDER/banyan.yaml; sets $serve_pid and $url
serve() {
    rm -f "$1/port"
    start_bg "$2" "$banyan" serve --config "$1/banyan.yaml" --port-file "$1/port"
    serve_pid=$started
    wait_until 30 "serve to listen" test -s "$1/port" || { cat "$work/$2.log"; return 1; }
    url=http://127.0.0.1:$(cat "$1/port")
    sed -i "s|^listen: .*|listen: 127.0.0.1:$(cat "$1/port")|" "$1/banyan.yaml"
}
ready() { [ "$(curl -s -o /dev/null -w '%{http_code}' "$url/readyz")" = 200 ]; }
