#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The checkout of the commerce domain as a client sees it: commands over HTTP, what the process makes of them, a kill in
# between, an event that nobody understands, and what `banyan process` shows of it.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib.sh"
json=(-H 'Content-Type: application/json')
mkdir "$work/shop"
printf 'domain: commerce\ndata: data\nlisten: 127.0.0.1:0\n' >"$work/shop/banyan.yaml"
serve "$work/shop" shop || exit 1

ask() { curl -s "${json[@]}" "$url/commands/$1" -d "$2"; }
line() { printf '{"line_id":0,"product_id":1,"product":"Lamp","category":"home","seller_id":1,"stock_id":7,"quantity":%s,"unit_price":"10.00","freight":"1.50"}' "$1"; }
place() { # place KEY QUANTITY
    ask "order/$1/PlaceOrder" "{\"customer_id\":5,\"customer\":\"Ada\",\"city\":\"Recife\",\"state\":\"PE\",\"address\":\"Rua 1\",\"postal_code\":\"50000\",\"country\":\"BR\",\"lines\":[$(line "$2")]}"
}
step() { curl -s "$url/aggregates/checkout/$1" | jq -r '.state.step + .state.reason'; }
step_is() { [ "$(step "$1")" = "$2" ]; }
stock() { curl -s "$url/aggregates/stock/7" | jq -c '.state | [.available, .reserved, .allocated]'; }
# Ids of 63 bits: jq would round them.
payment() { curl -s "$url/aggregates/checkout/$1" | grep -oE '"payment_id":[0-9]+' | head -1 | cut -d: -f2; }

matches "stock is received" "$(ask stock/7/ReceiveStock '{"product_id":1,"seller_id":1,"warehouse_id":3,"quantity":10}')" '"version":1,"events":1'
matches "a text with a NUL is refused, also in a list" "$(ask order/99/PlaceOrder "{\"customer_id\":5,\"customer\":\"Ada\",\"city\":\"Recife\",\"state\":\"PE\",\"address\":\"Rua 1\",\"postal_code\":\"50000\",\"country\":\"BR\",\"lines\":[$(line 1 | sed 's/Lamp/La\\u0000mp/')]}")" 'product: a text must not have a NUL byte'
matches "an order is placed" "$(place 1 2)" '"version":1'
wait_until 10 "the reservation" step_is 1 reserved
equal "its stock is reserved" "$(stock)" '[8,2,0]'
kill -KILL "$serve_pid"
wait "$serve_pid" 2>/dev/null
serve "$work/shop" again || exit 1
matches "the payment is authorized after a kill" "$(ask "payment/$(payment 1)/AuthorizePayment" '{"order_id":0,"sequence":0,"installments":0}')" '"events":1'
wait_until 10 "the confirmation" step_is 1 confirmed
equal "its stock is allocated" "$(stock)" '[8,0,2]'
equal "its payment is captured, once" "$(curl -s "$url/streams/payment-$(payment 1)" | jq -c '[.events[].type]')" \
    '["PaymentRequested","PaymentAuthorized","PaymentCaptured"]'
matches "the event says what caused it" "$(curl -s "$url/streams/payment-$(payment 1)/3" | jq -c .meta)" \
    '"process":"checkout","key":"1","cause":[0-9]+,"command":"CapturePayment"'
place 2 9 >"$work/order2"
ended() { [[ "$(step 2)" = compensated* ]]; }
wait_until 10 "the end of an order without stock" ended
equal "nothing of it is held" "$(stock)" '[8,0,2]'
equal "and it is rejected" "$(curl -s "$url/aggregates/order/2" | jq -r .state.status)" rejected

# An event of the process that cannot be decoded is put aside; others go on.
curl -s "${json[@]}" "$url/streams/order-99" -d '{"type":"OrderPlaced","schema":0,"payload":{}}' >"$work/bad"
place 3 1 >"$work/order3"
wait_until 10 "an order behind it" step_is 3 reserved
config=(--config "$work/shop/banyan.yaml")
matches "the list of processes" "$("$banyan" process list "${config[@]}" | tail -1)" '^checkout +live .* 1$'
matches "what is aside, and why" "$("$banyan" process status checkout "${config[@]}")" 'OrderPlaced|version 0|schema'
equal "the same for programs" "$("$banyan" process status checkout --json "${config[@]}" | jq -c '[.instances_aside, .timers, .aside[0].key]')" '[1,1,""]'
matches "it is tried again" "$("$banyan" process retry checkout "${config[@]}")" '^1 instances'
"$banyan" process status nobody "${config[@]}" 2>/dev/null
equal "a process that is not there" $? 5
matches "metrics" "$(curl -s "$url/metrics")" 'banyan_process_aside\{process="checkout"\} 1'
plan_done
