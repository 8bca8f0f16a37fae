#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The façade of the shop answers as the shop does: the same random requests to legacy-shop over PostgreSQL and to the
# commerce domain over a store, every answer compared.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
requests=${2:-${REQUESTS:-4000}}

sql -c "CREATE DATABASE shop" && sql -d shop -f "$here/../../examples/legacy-shop/schema.sql" >/dev/null &&
    sql -d shop -v products=60 -f "$here/../../examples/legacy-shop/catalog.sql" >/dev/null || exit 1
start_bg shop "$build/examples/legacy-shop/legacy-shop" --conninfo "dbname=shop" --port-file "$work/shop.port"
wait_until 20 "legacy-shop to listen" test -s "$work/shop.port" || { cat "$work/shop.log"; exit 1; }
"$build/tests/flow/shop_truth" "$(cat "$work/shop.port")" "$work" "$requests" >"$work/truth.log" 2>&1
same=$?
grep '^#' "$work/truth.log" | head -40
equal "no answer is different, of $requests requests" $same 0
compared=$(sed -n 's/^# \([0-9]*\) answers compared.*/\1/p' "$work/truth.log")
check "at least a third of them were the façade's" test "${compared:-0}" -ge $((requests / 3))
plan_done
