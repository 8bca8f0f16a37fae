// SPDX-License-Identifier: Apache-2.0
/* Every request of the shop as its SQL.
 *
 * Rows are locked in one order by all: the order, then stock by number, then the counters of products, sellers and
 * categories.  The time is taken under these locks, so the times of an order, and of a piece of stock, increase. */
#include "server.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What is asked for, by stock. */
#define WANTED                                                                                                         \
    "WITH wanted AS (SELECT (i ->> 'stock_id')::bigint AS stock_id, sum((i ->> 'quantity')::integer) AS quantity"      \
    " FROM jsonb_array_elements($2 -> 'items') AS i GROUP BY 1) "
/* What the order, and a shipment, hold of each stock. */
#define HELD                                                                                                           \
    "WITH held AS (SELECT stock_id, sum(quantity) AS quantity FROM order_items WHERE order_id = $1 GROUP BY 1) "
#define SHIPPED                                                                                                        \
    "WITH held AS (SELECT stock_id, sum(quantity) AS quantity FROM order_items WHERE shipment_id = $1 GROUP BY 1) "
#define ORDER_OF_SHIPMENT "(SELECT order_id FROM shipments WHERE shipment_id = $1)"

#define TIME                                                                                                           \
    {                                                                                                                  \
        .sql = "SELECT clock_timestamp()", .takes_time = true                                                          \
    }
#define LOCK_ORDER                                                                                                     \
    {                                                                                                                  \
        "SELECT 1 FROM orders WHERE order_id = $1 FOR UPDATE", 404, "there is no such order"                           \
    }
#define LOCK_ORDER_OF_SHIPMENT                                                                                         \
    {                                                                                                                  \
        "SELECT 1 FROM orders WHERE order_id = " ORDER_OF_SHIPMENT " FOR UPDATE", 404, "there is no such shipment"     \
    }
#define OUTBOX(topic, order)                                                                                           \
    {                                                                                                                  \
        .sql = "INSERT INTO outbox (order_id, topic, payload, created_at) VALUES (" order ", '" topic "', $2, $3)"     \
    }
#define ANSWER_ORDER(order)                                                                                            \
    {                                                                                                                  \
        .sql =                                                                                                         \
            "SELECT json_build_object('order_id', order_id, 'status', status, 'total', (items_total +"                 \
            " freight_total)::text, 'shipments', (SELECT coalesce(json_agg(shipment_id ORDER BY shipment_id), '[]')"   \
            " FROM shipments s WHERE s.order_id = o.order_id), 'items', (SELECT coalesce(json_agg(item_id ORDER BY"    \
            " item_id), '[]') FROM order_items i WHERE i.order_id = o.order_id))"                                      \
            " FROM orders o WHERE order_id = " order                                                                   \
    }

/* ---- place ---- */

static const struct step place[] = {
    {"SELECT 1 FROM stock WHERE stock_id IN (SELECT (i ->> 'stock_id')::bigint FROM jsonb_array_elements($2 -> 'items')"
     " AS i) ORDER BY stock_id FOR UPDATE",
     400, "items must name stock that there is"},
    {WANTED "SELECT 1 WHERE NOT EXISTS (SELECT FROM wanted LEFT JOIN stock USING (stock_id)"
            " WHERE available IS NULL OR available < quantity OR quantity <= 0)",
     409, "there is not enough stock"},
    {.sql = "SELECT 1 FROM products WHERE product_id IN (SELECT product_id FROM stock WHERE stock_id IN"
            " (SELECT (i ->> 'stock_id')::bigint FROM jsonb_array_elements($2 -> 'items') AS i))"
            " ORDER BY product_id FOR UPDATE"},
    {.sql = "SELECT 1 FROM sellers WHERE seller_id IN (SELECT seller_id FROM stock WHERE stock_id IN"
            " (SELECT (i ->> 'stock_id')::bigint FROM jsonb_array_elements($2 -> 'items') AS i))"
            " ORDER BY seller_id FOR UPDATE"},
    {.sql = "SELECT 1 FROM categories WHERE category_id IN (SELECT category_id FROM products JOIN stock"
            " USING (product_id) WHERE stock_id IN (SELECT (i ->> 'stock_id')::bigint"
            " FROM jsonb_array_elements($2 -> 'items') AS i)) ORDER BY category_id FOR UPDATE"},
    TIME,
    {.sql = "INSERT INTO customers AS c (external_id, name, order_count, last_order_at, created_at)"
            " VALUES ($2 ->> 'customer', $2 ->> 'name', 1, $3, $3) ON CONFLICT (external_id) DO UPDATE"
            " SET order_count = c.order_count + 1, last_order_at = $3"},
    {.sql = "INSERT INTO addresses (customer_id, zip, city, state, last_used_at)"
            " SELECT customer_id, $2 ->> 'zip', $2 ->> 'city', $2 ->> 'state', $3 FROM customers"
            " WHERE external_id = $2 ->> 'customer'"
            " ON CONFLICT (customer_id, zip, city, state) DO UPDATE SET last_used_at = $3"},
    {.sql = WANTED
     "INSERT INTO orders (order_id, external_id, customer_id, customer, address_id, zip, city, state, status,"
     " items_total, freight_total, placed_at, promised_at, updated_at)"
     " SELECT n.id, coalesce($2 ->> 'external_id', 'shop-' || n.id), c.customer_id, c.name, a.address_id, a.zip, "
     "a.city,"
     " a.state, 'created', t.items, t.freight, $3, date_trunc('day', $3) + interval '10 days', $3"
     " FROM (SELECT nextval(pg_get_serial_sequence('orders', 'order_id')) AS id) AS n,"
     " customers c JOIN addresses a USING (customer_id),"
     " (SELECT sum(quantity * price) AS items, sum(5 + 1.5 * quantity) AS freight FROM wanted JOIN stock"
     " USING (stock_id) JOIN products USING (product_id)) AS t"
     " WHERE c.external_id = $2 ->> 'customer' AND (a.zip, a.city, a.state) ="
     " ($2 ->> 'zip', $2 ->> 'city', $2 ->> 'state') RETURNING order_id",
     .takes_id = true},
    {.sql =
         WANTED "INSERT INTO shipments (order_id, seller_id, warehouse_id, status, created_at, updated_at)"
                " SELECT $1, seller_id, min(warehouse_id), 'assigned', $3, $3 FROM wanted JOIN stock USING (stock_id)"
                " GROUP BY seller_id ORDER BY seller_id"},
    {.sql = WANTED
     "INSERT INTO order_items (order_id, line, product_id, product, category, seller_id, stock_id, shipment_id, "
     "quantity,"
     " unit_price, freight, ship_by)"
     " SELECT $1, row_number() OVER (ORDER BY stock_id), p.product_id, p.name, c.name, s.seller_id, stock_id,"
     " h.shipment_id, w.quantity, p.price, 5 + 1.5 * w.quantity, $3 + interval '3 days'"
     " FROM wanted w JOIN stock s USING (stock_id) JOIN products p USING (product_id) JOIN categories c USING"
     " (category_id) JOIN shipments h ON h.order_id = $1 AND h.seller_id = s.seller_id ORDER BY stock_id"},
    {.sql = HELD "UPDATE stock s SET available = available - quantity, reserved = reserved + quantity, updated_at = $3"
                 " FROM held h WHERE h.stock_id = s.stock_id"},
    {.sql = HELD "INSERT INTO stock_movements (stock_id, order_id, kind, quantity, occurred_at)"
                 " SELECT stock_id, $1, 'reserve', quantity, $3 FROM held ORDER BY stock_id"},
    {.sql = "UPDATE products p SET units_sold = units_sold + q FROM (SELECT product_id, sum(quantity) AS q"
            " FROM order_items WHERE order_id = $1 GROUP BY 1) AS i WHERE i.product_id = p.product_id"},
    {.sql = "UPDATE sellers s SET orders_open = orders_open + 1 FROM shipments h"
            " WHERE h.order_id = $1 AND h.seller_id = s.seller_id"},
    {.sql = "UPDATE categories c SET units_sold = units_sold + q FROM (SELECT category, sum(quantity) AS q"
            " FROM order_items WHERE order_id = $1 GROUP BY 1) AS i WHERE i.category = c.name"},
    /* The total in equal parts, one a payment; the first has what is left over. */
    {.sql = "INSERT INTO payments (order_id, sequence, method, installments, amount, status, created_at, updated_at)"
            " SELECT $1, n, coalesce(p ->> 'method', 'credit_card'), coalesce((p ->> 'installments')::integer, 1),"
            " trunc(total / parts, 2) + CASE n WHEN 1 THEN total - parts * trunc(total / parts, 2) ELSE 0 END,"
            " 'requested', $3, $3"
            " FROM (SELECT items_total + freight_total AS total FROM orders WHERE order_id = $1) AS t,"
            " (SELECT coalesce($2 -> 'payments', '[{}]') AS list) AS l, jsonb_array_length(list) AS parts,"
            " jsonb_array_elements(list) WITH ORDINALITY AS e (p, n) ORDER BY n"},
    {.sql = "INSERT INTO payment_events (payment_id, kind, amount, occurred_at)"
            " SELECT payment_id, 'requested', amount, $3 FROM payments WHERE order_id = $1 ORDER BY payment_id"},
    {.sql = "INSERT INTO order_status_history (order_id, status, changed_at) VALUES ($1, 'created', $3)"},
    OUTBOX("order.placed", "$1"),
    ANSWER_ORDER("$1"),
};

/* ---- modify ---- */

/* The item that changes, with the difference. */
#define CHANGED                                                                                                        \
    "WITH changed AS (SELECT item_id, stock_id, (coalesce($2 ->> 'quantity', quantity::text))::integer - quantity"     \
    " AS more FROM order_items WHERE order_id = $1 AND item_id = ($2 ->> 'item_id')::bigint) "

static const struct step modify[] = {
    LOCK_ORDER,
    {"SELECT 1 FROM orders WHERE order_id = $1 AND status = 'created'", 409, "the order can no longer be modified"},
    {"SELECT 1 WHERE $2 ? 'city' OR $2 ? 'state' OR ($2 ? 'item_id' AND ($2 ->> 'quantity')::integer > 0)", 400,
     "give item_id and a quantity above 0, or city or state"},
    {.sql = "SELECT 1 FROM stock WHERE stock_id IN (SELECT stock_id FROM order_items WHERE order_id = $1 AND item_id ="
            " ($2 ->> 'item_id')::bigint) FOR UPDATE"},
    {CHANGED "SELECT 1 WHERE NOT $2 ? 'item_id' OR EXISTS (SELECT FROM changed JOIN stock USING (stock_id)"
             " WHERE more <= available)",
     409, "there is no such item, or not enough stock"},
    TIME,
    {.sql = CHANGED "INSERT INTO stock_movements (stock_id, order_id, kind, quantity, occurred_at)"
                    " SELECT stock_id, $1, CASE WHEN more > 0 THEN 'reserve' ELSE 'release' END, abs(more), $3"
                    " FROM changed WHERE more <> 0"},
    {.sql = CHANGED "UPDATE stock s SET available = available - more, reserved = reserved + more, updated_at = $3"
                    " FROM changed c WHERE c.stock_id = s.stock_id AND more <> 0"},
    {.sql = CHANGED "UPDATE order_items i SET quantity = quantity + more, freight = 5 + 1.5 * (quantity + more)"
                    " FROM changed c WHERE c.item_id = i.item_id"},
    {.sql = "INSERT INTO payment_events (payment_id, kind, amount, occurred_at)"
            " SELECT payment_id, 'requested', amount + t.total - o.items_total - o.freight_total, $3"
            " FROM payments p JOIN orders o USING (order_id), (SELECT sum(quantity * unit_price + freight) AS total"
            " FROM order_items WHERE order_id = $1) AS t"
            " WHERE p.order_id = $1 AND p.status = 'requested' AND t.total <> o.items_total + o.freight_total"
            " ORDER BY payment_id LIMIT 1"},
    {.sql = "UPDATE payments p SET amount = e.amount, updated_at = $3 FROM payment_events e WHERE p.order_id = $1"
            " AND e.payment_id = p.payment_id AND e.kind = 'requested' AND e.occurred_at = $3"},
    {.sql = "UPDATE orders o SET items_total = t.items, freight_total = t.freight,"
            " city = coalesce($2 ->> 'city', city), state = coalesce($2 ->> 'state', state), updated_at = $3"
            " FROM (SELECT sum(quantity * unit_price) AS items, sum(freight) AS freight FROM order_items"
            " WHERE order_id = $1) AS t WHERE o.order_id = $1"},
    OUTBOX("order.modified", "$1"),
    ANSWER_ORDER("$1"),
};

/* ---- pay ---- */

#define DUE                                                                                                            \
    "order_id = $1 AND status = 'requested' AND (NOT $2 ? 'payment_id' OR payment_id = ($2 ->> 'payment_id')::bigint)"
#define ALL_PAID " NOT EXISTS (SELECT FROM payments WHERE order_id = $1 AND status = 'requested')"

static const struct step pay[] = {
    LOCK_ORDER,
    {"SELECT 1 FROM orders WHERE order_id = $1 AND status = 'created'", 409, "the order is not waiting for a payment"},
    {"SELECT 1 FROM payments WHERE " DUE, 409, "there is no such payment to be made"},
    {.sql = "SELECT 1 FROM stock WHERE stock_id IN (SELECT stock_id FROM order_items WHERE order_id = $1)"
            " ORDER BY stock_id FOR UPDATE"},
    TIME,
    {.sql = "INSERT INTO payment_events (payment_id, kind, amount, occurred_at) SELECT payment_id, kind, amount, $3"
            " FROM payments, unnest('{authorized,captured}'::text[]) WITH ORDINALITY AS k (kind, n) WHERE " DUE
            " ORDER BY payment_id, n"},
    {.sql = "UPDATE payments SET status = 'captured', captured = amount, authorized_at = $3, captured_at = $3,"
            " updated_at = $3 WHERE " DUE},
    {.sql = HELD "INSERT INTO stock_movements (stock_id, order_id, kind, quantity, occurred_at)"
                 " SELECT stock_id, $1, 'allocate', quantity, $3 FROM held WHERE" ALL_PAID " ORDER BY stock_id"},
    {.sql = HELD "UPDATE stock s SET reserved = reserved - quantity, allocated = allocated + quantity, updated_at = $3"
                 " FROM held h WHERE h.stock_id = s.stock_id AND" ALL_PAID},
    {.sql = "INSERT INTO order_status_history (order_id, status, changed_at) SELECT $1, 'approved', $3 WHERE" ALL_PAID},
    {.sql =
         "UPDATE orders SET status = 'approved', approved_at = $3, updated_at = $3 WHERE order_id = $1 AND" ALL_PAID},
    OUTBOX("order.paid", "$1"),
    ANSWER_ORDER("$1"),
};

/* ---- cancel ---- */

static const struct step cancel[] = {
    LOCK_ORDER,
    {"SELECT 1 FROM orders WHERE order_id = $1 AND status IN ('created', 'approved', 'processing') AND NOT EXISTS"
     " (SELECT FROM shipments WHERE order_id = $1 AND shipped_at IS NOT NULL)",
     409, "the order can no longer be canceled"},
    {.sql = "SELECT 1 FROM stock WHERE stock_id IN (SELECT stock_id FROM order_items WHERE order_id = $1)"
            " ORDER BY stock_id FOR UPDATE"},
    {.sql = "SELECT 1 FROM sellers WHERE seller_id IN (SELECT seller_id FROM shipments WHERE order_id = $1)"
            " ORDER BY seller_id FOR UPDATE"},
    TIME,
    {.sql = HELD "INSERT INTO stock_movements (stock_id, order_id, kind, quantity, occurred_at)"
                 " SELECT stock_id, $1, CASE WHEN approved_at IS NULL THEN 'release' ELSE 'return' END, quantity, $3"
                 " FROM held, orders WHERE order_id = $1 ORDER BY stock_id"},
    {.sql = HELD "UPDATE stock s SET available = available + quantity, updated_at = $3,"
                 " reserved = reserved - CASE WHEN approved_at IS NULL THEN quantity ELSE 0 END,"
                 " allocated = allocated - CASE WHEN approved_at IS NULL THEN 0 ELSE quantity END"
                 " FROM held h, orders o WHERE h.stock_id = s.stock_id AND o.order_id = $1"},
    {.sql = "INSERT INTO payment_events (payment_id, kind, amount, occurred_at)"
            " SELECT payment_id, CASE status WHEN 'captured' THEN 'refunded' ELSE 'voided' END, amount, $3"
            " FROM payments WHERE order_id = $1 AND status IN ('requested', 'captured') ORDER BY payment_id"},
    {.sql = "UPDATE payments SET refunded = captured, updated_at = $3,"
            " status = CASE status WHEN 'captured' THEN 'refunded' ELSE 'voided' END"
            " WHERE order_id = $1 AND status IN ('requested', 'captured')"},
    {.sql = "UPDATE shipments SET status = 'canceled', canceled_at = $3, updated_at = $3 WHERE order_id = $1"},
    {.sql = "UPDATE sellers s SET orders_open = orders_open - 1 FROM shipments h"
            " WHERE h.order_id = $1 AND h.seller_id = s.seller_id"},
    {.sql = "INSERT INTO order_status_history (order_id, status, changed_at) VALUES ($1, 'canceled', $3)"},
    {.sql = "UPDATE orders SET status = 'canceled', canceled_at = $3, updated_at = $3 WHERE order_id = $1"},
    OUTBOX("order.canceled", "$1"),
    ANSWER_ORDER("$1"),
};

/* ---- shipments ---- */

static const struct step pack[] = {
    LOCK_ORDER_OF_SHIPMENT,
    {"SELECT 1 FROM shipments s JOIN orders o USING (order_id) WHERE shipment_id = $1 AND s.status = 'assigned'"
     " AND o.status IN ('approved', 'processing', 'shipped')",
     409, "the shipment cannot be packed"},
    TIME,
    {.sql = "UPDATE shipments SET status = 'packed', packed_at = $3, updated_at = $3 WHERE shipment_id = $1"},
    {.sql = "INSERT INTO order_status_history (order_id, status, changed_at) SELECT order_id, 'processing', $3"
            " FROM orders WHERE order_id = " ORDER_OF_SHIPMENT " AND status = 'approved'"},
    {.sql = "UPDATE orders SET status = 'processing', updated_at = $3 WHERE order_id = " ORDER_OF_SHIPMENT
            " AND status = 'approved'"},
    OUTBOX("shipment.packed", ORDER_OF_SHIPMENT),
    ANSWER_ORDER(ORDER_OF_SHIPMENT),
};

static const struct step ship[] = {
    LOCK_ORDER_OF_SHIPMENT,
    {"SELECT 1 FROM shipments WHERE shipment_id = $1 AND status = 'packed'", 409, "the shipment is not packed"},
    {.sql = "SELECT 1 FROM stock WHERE stock_id IN (SELECT stock_id FROM order_items WHERE shipment_id = $1)"
            " ORDER BY stock_id FOR UPDATE"},
    TIME,
    {.sql = SHIPPED "INSERT INTO stock_movements (stock_id, order_id, kind, quantity, occurred_at)"
                    " SELECT stock_id, " ORDER_OF_SHIPMENT ", 'ship', quantity, $3 FROM held ORDER BY stock_id"},
    {.sql = SHIPPED "UPDATE stock s SET allocated = allocated - quantity, shipped = shipped + quantity, updated_at = $3"
                    " FROM held h WHERE h.stock_id = s.stock_id"},
    {.sql = "UPDATE shipments SET status = 'shipped', shipped_at = $3, updated_at = $3,"
            " carrier = coalesce($2 ->> 'carrier', 'post'), tracking = $2 ->> 'tracking' WHERE shipment_id = $1"},
    {.sql = "INSERT INTO order_status_history (order_id, status, changed_at) SELECT order_id, 'shipped', $3"
            " FROM orders WHERE order_id = " ORDER_OF_SHIPMENT " AND shipped_at IS NULL"},
    {.sql = "UPDATE orders SET status = 'shipped', shipped_at = $3, updated_at = $3"
            " WHERE order_id = " ORDER_OF_SHIPMENT " AND shipped_at IS NULL"},
    OUTBOX("shipment.shipped", ORDER_OF_SHIPMENT),
    ANSWER_ORDER(ORDER_OF_SHIPMENT),
};

#define ALL_DELIVERED                                                                                                  \
    " NOT EXISTS (SELECT FROM shipments WHERE order_id = " ORDER_OF_SHIPMENT " AND status <> 'delivered')"

static const struct step deliver[] = {
    LOCK_ORDER_OF_SHIPMENT,
    {"SELECT 1 FROM shipments WHERE shipment_id = $1 AND status = 'shipped'", 409, "the shipment is not on its way"},
    TIME,
    {.sql = "UPDATE shipments SET status = 'delivered', delivered_at = $3, updated_at = $3 WHERE shipment_id = $1"},
    {.sql = "UPDATE sellers s SET orders_open = orders_open - 1 FROM shipments h"
            " WHERE h.shipment_id = $1 AND h.seller_id = s.seller_id"},
    {.sql =
         "INSERT INTO order_status_history (order_id, status, changed_at) SELECT " ORDER_OF_SHIPMENT ", 'delivered', $3"
         " WHERE" ALL_DELIVERED},
    {.sql = "UPDATE orders SET status = 'delivered', delivered_at = $3, updated_at = $3"
            " WHERE order_id = " ORDER_OF_SHIPMENT " AND" ALL_DELIVERED},
    OUTBOX("shipment.delivered", ORDER_OF_SHIPMENT),
    ANSWER_ORDER(ORDER_OF_SHIPMENT),
};

/* ---- stock ---- */

static const struct step receive[] = {
    {"SELECT 1 FROM stock WHERE stock_id = $1 FOR UPDATE", 404, "there is no such stock"},
    {"SELECT 1 WHERE ($2 ->> 'quantity')::integer > 0", 400, "quantity must be above 0"},
    TIME,
    {.sql = "INSERT INTO stock_movements (stock_id, kind, quantity, occurred_at)"
            " VALUES ($1, 'receive', ($2 ->> 'quantity')::integer, $3)"},
    {.sql = "UPDATE stock SET available = available + ($2 ->> 'quantity')::integer,"
            " received = received + ($2 ->> 'quantity')::integer, updated_at = $3 WHERE stock_id = $1"},
    {.sql = "SELECT row_to_json(s) FROM stock s WHERE stock_id = $1"},
};

/* ---- reading ---- */

static const struct step get_order[] = {
    {"SELECT row_to_json(r) FROM (SELECT o.*, (SELECT coalesce(json_agg(i ORDER BY item_id), '[]') FROM order_items i"
     " WHERE i.order_id = o.order_id) AS items, (SELECT coalesce(json_agg(p ORDER BY payment_id), '[]') FROM payments p"
     " WHERE p.order_id = o.order_id) AS payments, (SELECT coalesce(json_agg(s ORDER BY shipment_id), '[]')"
     " FROM shipments s WHERE s.order_id = o.order_id) AS shipments FROM orders o WHERE order_id = $1) AS r",
     404, "there is no such order"},
};

/* As slow as such searches are. */
static const struct step search[] = {
    {.sql =
         "SELECT json_build_object('orders', coalesce(json_agg(r), '[]')) FROM (SELECT order_id, customer, city, state,"
         " status, (items_total + freight_total)::text AS total, placed_at FROM orders o"
         " WHERE ($2 ->> 'status' IS NULL OR status = $2 ->> 'status')"
         " AND ($2 ->> 'city' IS NULL OR city ILIKE '%' || ($2 ->> 'city') || '%')"
         " AND ($2 ->> 'customer' IS NULL OR customer ILIKE '%' || ($2 ->> 'customer') || '%')"
         " AND ($2 ->> 'product' IS NULL OR EXISTS (SELECT FROM order_items i WHERE i.order_id = o.order_id"
         " AND i.product ILIKE '%' || ($2 ->> 'product') || '%'))"
         " AND ($2 ->> 'from' IS NULL OR placed_at >= ($2 ->> 'from')::timestamptz)"
         " AND ($2 ->> 'to' IS NULL OR placed_at < ($2 ->> 'to')::timestamptz)"
         " ORDER BY placed_at DESC, order_id DESC LIMIT least(coalesce(($2 ->> 'limit')::integer, 50), 1000)) AS r"},
};

static const struct step queue[] = {
    {.sql = "SELECT json_build_object('shipments', coalesce(json_agg(r), '[]')) FROM (SELECT s.shipment_id, order_id,"
            " s.seller_id, s.warehouse_id, s.created_at FROM shipments s JOIN orders o USING (order_id)"
            " WHERE s.status = 'assigned' AND o.status IN ('approved', 'processing', 'shipped')"
            " AND ($2 ->> 'warehouse_id' IS NULL OR s.warehouse_id = ($2 ->> 'warehouse_id')::integer)"
            " ORDER BY s.created_at, s.shipment_id LIMIT least(coalesce(($2 ->> 'limit')::integer, 50), 1000)) AS r"},
};

static const struct step list_stock[] = {
    {.sql = "SELECT json_build_object('stock', coalesce(json_agg(r), '[]')) FROM (SELECT * FROM stock"
            " WHERE stock_id >= coalesce(($2 ->> 'from')::bigint, 0)"
            " ORDER BY stock_id LIMIT least(coalesce(($2 ->> 'limit')::integer, 50), 10000)) AS r"},
};

static const struct step health[] = {{.sql = "SELECT '{\"status\": \"ok\"}'"}};

const struct request_kind request_kinds[] = {
    {"POST", "/orders", NULL, 201, place, COUNT(place)},
    {"POST", "/orders/", "/modify", 200, modify, COUNT(modify)},
    {"POST", "/orders/", "/pay", 200, pay, COUNT(pay)},
    {"POST", "/orders/", "/cancel", 200, cancel, COUNT(cancel)},
    {"POST", "/shipments/", "/pack", 200, pack, COUNT(pack)},
    {"POST", "/shipments/", "/ship", 200, ship, COUNT(ship)},
    {"POST", "/shipments/", "/deliver", 200, deliver, COUNT(deliver)},
    {"POST", "/stock/", "/receive", 200, receive, COUNT(receive)},
    {"GET", "/orders/", "", 200, get_order, COUNT(get_order)},
    {"GET", "/orders", NULL, 200, search, COUNT(search)},
    {"GET", "/shipments", NULL, 200, queue, COUNT(queue)},
    {"GET", "/stock", NULL, 200, list_stock, COUNT(list_stock)},
    {"GET", "/health", NULL, 200, health, COUNT(health)},
};
const size_t request_kind_count = COUNT(request_kinds);
