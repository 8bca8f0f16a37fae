#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What mirror() makes of each event that the shop caused is the row that the shop wrote: history and capture of the real
# shop, then its tables against the fold of the log.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/flow/history.sh
. "$(dirname "$0")/history.sh"
# shellcheck source=tests/flow/shop.sh
. "$(dirname "$0")/shop.sh"

sql -c "CREATE DATABASE shop" && sql -d shop -f "$root/examples/legacy-shop/schema.sql" >/dev/null || exit 1
check "the catalog is loaded" sql -d shop -v products=100 -f "$root/examples/legacy-shop/catalog.sql"
shop_start shop || exit 1
check "orders before" "$shop/legacy-shop-load" --port "$shop_port" --rate 30 --seconds 6 --seed 7 --threads 3

shop_config "$work/live" commerce shop
serve "$work/live" serve || exit 1
wait_until 120 "serve to be ready" ready || { cat "$work/serve.log"; exit 1; }
check "orders while it captures" "$shop/legacy-shop-load" --port "$shop_port" --rate 30 --seconds 6 --seed 8 --threads 3
all_drained 120 shop "$url" || { cat "$work/serve.log"; exit 1; }
stop_bg "$serve_pid"
"$build/tests/compare_rows" "$work/live/data" "host=$PGHOST port=$PGPORT user=$PGUSER dbname=shop" commerce >"$work/rows" 2>&1
different=$?
sed 's/^/# /' "$work/rows" | cut -c1-400
equal "the tables are what the events make of them" $different 0
check "there are orders of each end" test "$(sql -d shop -c "SELECT count(DISTINCT status) FROM orders")" -ge 4
plan_done
