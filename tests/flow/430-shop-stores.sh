#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The shop migrated into other stores: read models in PostgreSQL, the inventory in Redis; asked, and built anew under load.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/flow/history.sh
. "$(dirname "$0")/history.sh"
# shellcheck source=tests/flow/shop.sh
. "$(dirname "$0")/shop.sh"

if ! command -v redis-server >/dev/null; then
    skip "the shop in other stores" "there is no redis-server"
    plan_done
fi
redis=$work/redis.sock
start_bg redis redis-server --port 0 --unixsocket "$redis" --save '' --dir "$work"
wait_until 20 "redis" test -S "$redis" || exit 1
sql -c "CREATE DATABASE olist" -c "CREATE DATABASE views" && sql -d olist -f "$root/examples/legacy-shop/schema.sql" || exit 1
least=120
if [ -f "$data/olist-8k-orders.csv.xz" ]; then
    check "the files are loaded" "$root/examples/legacy-shop/load-olist" "$data" -d olist
    least=200
else
    check "the catalog is loaded" sql -d olist -v products=200 -f "$root/examples/legacy-shop/catalog.sql"
fi
shop_start olist || exit 1

lines=("{projection: inventory, store: redis, address: $redis}")
for view in legacy_orders legacy_payments legacy_shipments legacy_stock legacy_items order_status order_search analytics \
    fulfillment_queue; do
    lines+=("{projection: $view, store: postgres, conninfo: 'host=$PGHOST port=$PGPORT user=$PGUSER dbname=views'}")
done
shop_config "$work/live" commerce olist "${lines[@]}"
start_bg load "$shop/legacy-shop-load" --port "$shop_port" --rate 15 --seconds 8 --seed 6 --threads 3
load_pid=$started
serve "$work/live" serve || exit 1
wait_until 180 "serve to be ready" ready || { cat "$work/serve.log"; exit 1; }
wait "$load_pid"
equal "the shop's traffic has no errors" "$?$(jq .errors "$work/load.log")" 00
all_drained 120 olist "$url" || { cat "$work/serve.log"; exit 1; }
no_differences live "$work/live" 5
rebuild_each "$work/live" 120000
all_drained 120 olist "$url" || { cat "$work/serve.log"; exit 1; }
no_differences rebuilt "$work/live" 5
answer_as_sql rebuilt olist "$url" "$least"
equal "a view that somebody else can read with SQL" "$(sql -d views -c 'SELECT count(*) FROM banyan.order_status')" \
    "$(sql -d olist -c 'SELECT count(*) FROM orders')"
plan_done
