#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The example shop: its writes and its traffic do what its README says.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"

shop=$build/examples/legacy-shop
example=$(cd "$(dirname "$0")/../.." && pwd)/examples/legacy-shop
sql -f "$example/schema.sql" && sql -v products=40 -f "$example/catalog.sql" || exit 1
start_bg shop "$shop/legacy-shop" --port-file "$work/port"
wait_until 30 "the shop to listen" test -s "$work/port" || { cat "$work/shop.log"; exit 1; }
port=$(cat "$work/port")
post() { curl -s --max-time 20 -d "$2" "http://127.0.0.1:$port$1"; }
get() { curl -s --max-time 20 "http://127.0.0.1:$port$1"; }
refused() { equal "$1: $2" "$(curl -s --max-time 20 -o /dev/null -w '%{http_code}' -d "$4" "http://127.0.0.1:$port$3")" "$2"; }
order='{"customer":"c1","name":"Ana","zip":"1","city":"santos","state":"SP","items":[{"stock_id":1,"quantity":2},
    {"stock_id":2,"quantity":1}],"payments":[{"method":"voucher"},{"method":"credit_card","installments":3}]}'

equal "place" "$(post /orders "$order" | jq -c '[.order_id,.status,.shipments,.items]')" '[1,"created",[1,2],[1,2]]'
tables=$(sql -c "SELECT string_agg(format('SELECT %L AS t, count(*) AS n FROM %I WHERE xmin = (SELECT xmin FROM orders)',
    relname, relname), ' UNION ALL ') FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
equal "a placement writes fourteen tables in one transaction" "$(sql -c "SELECT count(*) FROM ($tables) AS x WHERE n > 0")" 14
equal "payments add up" "$(sql -c 'SELECT sum(amount) = items_total + freight_total FROM payments JOIN orders USING (order_id)
    GROUP BY items_total, freight_total')" t
equal "modify" "$(post /orders/1/modify '{"item_id":1,"quantity":3}' | jq -r .status)" created
equal "payments still add up" "$(sql -c 'SELECT sum(amount) = items_total + freight_total FROM payments JOIN orders
    USING (order_id) GROUP BY items_total, freight_total')" t
refused "pack before it is paid" 409 /shipments/1/pack ''
equal "pay one of two" "$(post /orders/1/pay '{"payment_id":1}' | jq -r .status)" created
equal "pay the other" "$(post /orders/1/pay '' | jq -r .status)" approved
refused "modify what is paid" 409 /orders/1/modify '{"city":"x"}'
equal "queue of a warehouse" "$(get '/shipments?limit=9' | jq -c '[.shipments[].shipment_id]')" '[1,2]'
for step in 1/pack 1/ship 1/deliver 2/pack 2/ship; do post "/shipments/$step" '' >"$work/step"; done
equal "one shipment is not all" "$(jq -r .status "$work/step")" shipped
refused "cancel what is shipped" 409 /orders/1/cancel ''
equal "deliver the last" "$(post /shipments/2/deliver '' | jq -r .status)" delivered
equal "statuses as they came" "$(sql -c "SELECT string_agg(status, ' ' ORDER BY id) FROM order_status_history")" \
    'created approved processing shipped delivered'
refused "too much" 409 /orders "${order/\"quantity\":1/\"quantity\":1000}"
refused "no such stock" 400 /orders '{"items":[]}'
refused "no such order" 404 /orders/99/pay ''
refused "no JSON" 400 /orders x
equal "search" "$(get '/orders?city=sant&status=delivered&customer=ana' | jq -c '[.orders[].order_id]')" '[1]'

"$shop/legacy-shop-load" --port "$port" --rate 40 --seconds 4 --seed 9 >"$work/load"
equal "traffic has no errors" "$?$(jq .errors "$work/load")" 00
equal "its figures are those of the tables" "$(jq -r '[.placed,.canceled,.shipped] | join("|")' "$work/load")" "$(sql -c "SELECT
    (SELECT count(*) - 1 FROM orders), (SELECT count(*) FROM orders WHERE status = 'canceled'),
    (SELECT count(*) - 2 FROM shipments WHERE shipped_at IS NOT NULL)")"
equal "stock is conserved, and none is below nothing" "$(sql -c 'SELECT count(*) FROM stock LEFT JOIN (SELECT stock_id,
    sum(CASE kind WHEN $$receive$$ THEN quantity ELSE 0 END) AS came, sum(CASE kind WHEN $$ship$$ THEN quantity ELSE 0 END)
    AS went FROM stock_movements GROUP BY 1) AS m USING (stock_id) WHERE received <> available + reserved + allocated +
    shipped OR least(available, reserved, allocated) < 0 OR came <> received OR went <> shipped')" 0
equal "nobody pays for what is canceled" "$(sql -c "SELECT count(*) FROM payments JOIN orders o USING (order_id)
    WHERE o.status = 'canceled' AND captured <> refunded")" 0
plan_done
