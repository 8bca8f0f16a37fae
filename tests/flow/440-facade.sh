#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The façade answers as the application does: the same random requests to legacy-oms over PostgreSQL and to the trading
# domain over a store, every answer compared.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
requests=${2:-${REQUESTS:-5000}}

sql -c "CREATE DATABASE oms" && sql -d oms -f "$here/../../examples/legacy-oms/schema.sql" >/dev/null || exit 1
start_bg oms "$build/examples/legacy-oms/legacy-oms" --conninfo "dbname=oms" --faults none --port-file "$work/oms.port"
wait_until 20 "legacy-oms to listen" test -s "$work/oms.port" || { cat "$work/oms.log"; exit 1; }
"$build/tests/flow/facade_truth" "$(cat "$work/oms.port")" "$work" "$requests" >"$work/truth.log" 2>&1
same=$?
grep '^#' "$work/truth.log" | head -40
equal "no answer is different, of $requests requests" $same 0
compared=$(sed -n 's/^# \([0-9]*\) answers compared.*/\1/p' "$work/truth.log")
check "at least a third of them were the façade's" test "${compared:-0}" -ge $((requests / 3))
plan_done
