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

sql -c "CREATE DATABASE olist" && sql -d olist -f "$root/examples/legacy-shop/schema.sql" || exit 1
check "the files are loaded" "$root/examples/legacy-shop/load-olist" "$data" -d olist
shop_start olist || exit 1

# --- the past and the present together
shop_config "$work/live" commerce olist
start_bg load "$shop/legacy-shop-load" --port "$shop_port" --rate 15 --seconds 12 --seed 4 --threads 3
load_pid=$started
serve "$work/live" serve || exit 1
wait_until 120 "serve to be ready" ready || { cat "$work/serve.log"; exit 1; }
wait "$load_pid"
equal "the shop's traffic has no errors" "$?$(jq .errors "$work/load.log")" 00
check "and places orders" jq -e '.placed > 5 and .delivered + .canceled > 0' "$work/load.log"
all_drained 120 olist "$url" || { cat "$work/serve.log"; exit 1; }
no_differences live "$work/live" 5
answer_as_sql live olist "$url" 200

# --- each is built anew while the shop writes
rebuild_each "$work/live" 120000
all_drained 120 olist "$url" || { cat "$work/serve.log"; exit 1; }
no_differences rebuilt "$work/live" 5
answer_as_sql rebuilt olist "$url" 200
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
# order_facts FILE   what its events say of each order: order, fact, and of a placement lines and cents, of a payment cents
order_facts() {
    grep -P '\t(OrderPlaced|OrderShipped|OrderCanceled|OrderStatusNoted|PaymentRequested)\t' "$1" |
        jq -Rr 'def cents: tonumber * 100 | round; split("\t") | .[2] as $type | .[5] | fromjson | [.order_id] +
            (if $type == "OrderPlaced" then ["placed", (.lines | length), (.items_total | cents) + (.freight_total | cents)]
             elif $type == "PaymentRequested" then ["asked", (.amount | cents)]
             elif $type == "OrderStatusNoted" then [.status] else [$type] end) | @tsv'
}
equal "canceled but paid, of these shipped, unavailable but paid, no payment, paid differs, several payments, by the events" \
    "$(order_facts "$work/history" | awk -F'\t' '$1 > 8000 { next }
    $2 == "placed" { lines[$1] = $3; total[$1] = $4 }
    $2 == "asked" { asked[$1] += $3; payments[$1]++ }
    $2 == "OrderShipped" { shipped[$1] = 1 }
    $2 == "OrderCanceled" { canceled[$1] = 1 }
    $2 == "unavailable" { gone[$1] = 1 }
    END {
        for (o in lines) {
            paid = o in payments; none += !paid; several += payments[o] > 1
            back += (o in canceled) && paid; both += (o in canceled) && (o in shipped); lost += (o in gone) && paid
            differ += paid && lines[o] > 0 && asked[o] != total[o]
        }
        print back, both, lost, none, differ, several
    }')" "60 4 47 1 43 240"
plan_done
