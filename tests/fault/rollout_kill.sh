#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A rollout of the whole program under fire: canary, ramp, cutover and back, while serve is killed or frozen, PostgreSQL is
# stopped at once, or the legacy application killed, in the middle of the moves; clients write through the gateway all the while.
#
#   rollout_kill.sh BUILD [MOVES [SEED]]     beside tools/with-postgres; RATE (200): writes a second
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/../flow/lib.sh"

root=$(cd "$(dirname "$0")/../.." && pwd)
sql -c 'CREATE DATABASE oms' && export PGDATABASE=oms
sql -f "$root/examples/legacy-oms/schema.sql"
"$build/examples/legacy-oms/legacy-seed" --orders 300 --seed 5 --faults none >/dev/null || exit 1

# Three ports that nobody has now, and that nobody is given as a client's.
read -r OMS_PORT BANYAN_PORT GATEWAY_PORT < <(python3 -c '
import random, socket
taken = []
while len(taken) < 3:
    s = socket.socket()
    try: s.bind(("127.0.0.1", random.randint(10000, 19999))); taken.append(s)
    except OSError: pass
print(*[s.getsockname()[1] for s in taken])')
export OMS_PORT BANYAN_PORT GATEWAY_PORT
write_config "$work/banyan.yaml" "host=$PGHOST port=$PGPORT user=$PGUSER dbname=oms" "gateway:
  listen: 127.0.0.1:$GATEWAY_PORT
  upstream: http://127.0.0.1:$OMS_PORT
  tell_side: true
rollout:
  steps_percent: [20, 100]
  step_seconds_min: 1
  window_seconds: 3
  samples_min: 10
  latency_floor_ms: 5000
  failures_percent_max: 50
  pause_ms_max: 2000
  keys_block: 16"
sed -i "s|^listen: .*|listen: 127.0.0.1:$BANYAN_PORT|" "$work/banyan.yaml"
"$(dirname "$0")/rollout_kill.py" "$work" "$build" "${2:-50}" "${3:-${BANYAN_TEST_SEED:-1}}" &
driver=$!
started_pids+=("$driver")
wait "$driver"
