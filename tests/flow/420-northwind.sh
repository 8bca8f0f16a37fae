#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Another schema for the same aggregates: the Northwind sample database, changed while it is followed.
# shellcheck source=tests/flow/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/flow/history.sh
. "$(dirname "$0")/history.sh"
# shellcheck source=tests/flow/shop.sh
. "$(dirname "$0")/shop.sh"

dump=$data/northwind.sql.xz
if [ ! -f "$dump" ]; then
    skip "the Northwind sample database" "there is no $dump; BANYAN_DATA names its folder"
    plan_done
fi

# It sets one thing that PostgreSQL no longer has.
sql -c "CREATE DATABASE northwind" && xz -dc "$dump" | grep -v '^SET default_with_oids' | sql -d northwind >/dev/null || exit 1
equal "orders, details, products" "$(sql -d northwind -c 'SELECT (SELECT count(*) FROM orders), (SELECT count(*)
    FROM order_details), (SELECT count(*) FROM products)')" '830|2155|77'
shop_config "$work/live" commerce-northwind northwind
serve "$work/live" serve || exit 1
wait_until 60 "serve to be ready" ready || { cat "$work/serve.log"; exit 1; }
sql -d northwind <<'SQL' || exit 1
BEGIN;
INSERT INTO orders VALUES (20001, 'VINET', 5, '1998-06-01', '1998-06-20', NULL, 2, 1.5, 'Vins', 'Rue 1', 'Reims', NULL, '51100', 'France');
INSERT INTO order_details VALUES (20001, 11, 14, 2, 0), (20001, 42, 9.8, 3, 0.25);
UPDATE products SET units_in_stock = units_in_stock - 1 WHERE product_id IN (11, 42);
COMMIT;
UPDATE orders SET shipped_date = '1998-06-03' WHERE order_id = 20001;
UPDATE orders SET ship_city = 'Lyon', ship_region = 'ARA', ship_country = 'FR', freight = 7.77 WHERE order_id = 10248;
UPDATE orders SET shipped_date = NULL WHERE order_id = 10249;
INSERT INTO order_details VALUES (10251, 11, 14, 1, 0);
UPDATE orders SET ship_via = NULL WHERE order_id = 10252;
DELETE FROM order_details WHERE order_id = 10250;
DELETE FROM orders WHERE order_id = 10250;
UPDATE products SET supplier_id = NULL, units_in_stock = NULL WHERE product_id = 3;
SQL
all_drained 60 northwind "$url" || { cat "$work/serve.log"; exit 1; }
no_differences live "$work/live" 3
list() { curl -s --max-time 20 "$url/views/$1" | jq -c "$2"; }
for city in London Madrid Lyon Reims Boise; do
    equal "orders to $city" "$(list "order_search?city=$city&limit=500" '[.items[].order_id] | sort')" \
        "$(sql -d northwind -c "SELECT json_agg(order_id ORDER BY order_id)::text FROM orders WHERE ship_city = '$city'" | tr -d ' ')"
done
for product in 1 11 42; do
    equal "stock of product $product" "$(list "inventory/$product" .available)" \
        "$(sql -d northwind -c "SELECT units_in_stock FROM products WHERE product_id = $product")"
done
stop_bg "$serve_pid"

commerce_history "$work/live/data" "$work/history" || exit 1
equal "versions are dense" "$(versions_dense "$work/history")" 0
equal "never shipped and late orders are named" "$(anomalies "$work/history" | paste -sd' ')" 'never-shipped=21 shipped-late=37'
# A discount is in the total of the order, to the cent.
equal "what orders cost" "$(awk -F'\t' '$3 == "OrderPlaced" { print $6 }' "$work/history" |
    jq -s '[.[] | .items_total | tonumber * 100 | round] | add')" "$(sql -d northwind -c "SELECT (sum(round(unit_price::numeric *
    quantity * (1 - discount::numeric), 2)) * 100)::bigint FROM order_details" |
    awk -v gone="$(xz -dc "$dump" | grep '^INSERT INTO order_details VALUES (10250,' | sed 's/.*(//; s/[);]//g' |
        awk -F', ' '{ n += int($3 * $4 * (1 - $5) * 100 + 0.5) } END { print n }')" '{ print $1 + gone - 1400 }')"
plan_done
