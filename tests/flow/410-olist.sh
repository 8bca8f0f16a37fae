#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A monolith with real orders and all that is odd about them: migrated while it is used, verified, asked.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/flow/history.sh
. "$(dirname "$0")/history.sh"
# shellcheck source=tests/flow/shop.sh
. "$(dirname "$0")/shop.sh"

if [ ! -f "$data/olist-8k-orders.csv.xz" ]; then
    skip "the orders of Olist" "there is no $data/olist-8k-orders.csv.xz; BANYAN_DATA names its folder"
    plan_done
fi
views=(legacy_orders legacy_payments legacy_shipments legacy_stock order_search fulfillment_queue inventory)
mirrors=4
if engine_has_all; then
    views+=(legacy_items order_status analytics)
    mirrors=5
fi

sql -c "CREATE DATABASE olist" && sql -d olist -f "$root/examples/legacy-shop/schema.sql" || exit 1
check "the files are loaded" "$root/examples/legacy-shop/load-olist" "$data" -d olist
start_bg shop "$shop/legacy-shop" --conninfo "dbname=olist" --port-file "$work/shop.port"
wait_until 30 "the shop to listen" test -s "$work/shop.port" || { cat "$work/shop.log"; exit 1; }
shop_port=$(cat "$work/shop.port")

# --- the past and the present together
shop_config "$work/live" commerce olist "${views[@]}"
start_bg load "$shop/legacy-shop-load" --port "$shop_port" --rate 15 --seconds 12 --seed 4 --threads 3
load_pid=$started
serve "$work/live" serve || exit 1
wait_until 120 "serve to be ready" ready || { cat "$work/serve.log"; exit 1; }
wait "$load_pid"
equal "the shop's traffic has no errors" "$?$(jq .errors "$work/load.log")" 00
check "and places orders" jq -e '.placed > 20 and .delivered > 0 and .canceled > 0' "$work/load.log"
all_drained 120 olist "$url" || { cat "$work/serve.log"; exit 1; }
"$banyan" verify --config "$work/live/banyan.yaml" --json >"$work/verify.json" 2>"$work/verify.err"
equal "verify exits with 0" "$?$(cat "$work/verify.err")" 0
equal "differences of all mirrors" "$(jq -s -c '[.[] | (.views? // [.])[] | [.differences, .unsettled]] | unique' \
    "$work/verify.json")" '[[0,0]]'
equal "mirrors" "$(jq -s '[.[] | (.views? // [.])[] | select(.view)] | length' "$work/verify.json")" "$mirrors"

# --- the read models answer what SQL answers
PGDATABASE=olist python3 "$(dirname "$0")/shop_queries.py" "$url" "$work/live/data/views" "${views[@]}" >"$work/queries" 2>&1
equal "the queries can be asked" "$?" 0
read -r _ asked _ _ _ different < <(tail -1 "$work/queries")
check "at least 200 queries ($(tail -1 "$work/queries"))" test "${asked:-0}" -ge 200
equal "all of them answer what SQL answers" "${different:-none}$(grep -v '^asked' "$work/queries" | head -5)" 0
stop_bg "$serve_pid"

# --- the history
commerce_history "$work/live/data" "$work/history" || exit 1
equal "versions are dense" "$(versions_dense "$work/history")" 0
equal "what is not exact has a reason" "$(awk -F'\t' '$5 != "exact"' "$work/history" | cut -f7 |
    jq -Rn '[inputs | select((try (fromjson | .reason) catch null) | (type != "string" or . == ""))] | length')" 0
# Orders of the files have the numbers up to 8,000.
awk -F'\t' '{ split($1, a, "-"); if (a[1] == "order" && a[2] <= 8000) print }' "$work/history" >"$work/olist"
equal "each anomaly is in the history of its orders" "$(anomalies "$work/olist" | paste -sd' ')" \
    "canceled-but-paid=60 no-lines=68 no-payment=1 paid-differs-from-total=43 several-payments=240 several-sellers=77 \
shipped-before-approval=111 shipped-before-placement=19 unavailable-but-paid=47"
equal "none is noted twice" "$(awk -F'\t' '$3 == "OrderAnomalyNoted" { print $1, $6 }' "$work/olist" | sort | uniq -d | wc -l)" 0
# The same, seen in the events themselves and not in what was noted of them.
seen() { awk -F'\t' "$1" "$work/olist"; }
equal "shipped before approval, by the events" "$(seen '$3 == "OrderShipped" { s[$1] = $4 }
    $3 == "OrderConfirmed" { a[$1] = $4 } END { for (o in s) n += (o in a) && s[o] < a[o]; print n }')" 111
equal "shipped before placement, by the events" "$(seen '$3 == "OrderPlaced" { p[$1] = $4 }
    $3 == "OrderShipped" { s[$1] = $4 } END { for (o in s) n += s[o] < p[o]; print n }')" 19
equal "canceled, by the events, and inferred" "$(seen '$3 == "OrderCanceled" { print $5 }' | sort | uniq -c | awk '{ print $1 $2 }')" \
    60inferred
equal "without lines, by the events" "$(seen '$3 == "OrderPlaced" { print $6 }' | jq -s '[.[] | select(.lines == [])] | length')" 68
equal "several sellers, by the events" "$(seen '$3 == "OrderPlaced" { print $6 }' |
    jq -s '[.[] | select([.lines[].seller_id] | unique | length > 1)] | length')" 77
equal "several payments, by the events" "$(awk -F'\t' '$3 == "PaymentRequested" { print $6 }' "$work/history" |
    jq -s '[group_by(.order_id)[] | select(.[0].order_id <= 8000) | select([.[].payment_id] | unique | length > 1)] | length')" 240
plan_done
