-- SPDX-License-Identifier: Apache-2.0
-- Olist's orders, which ./load-olist has copied into temporary tables, as rows of the shop; as they are, with all that
-- is odd about them.  What this selection of Olist does not have is made from the ids, always the same: names of
-- customers, products and sellers, categories, warehouses, and the goods that were received before the first order.

SET LOCAL timezone = 'UTC';

CREATE FUNCTION pg_temp.pick(id text, salt text, choices text[]) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT choices[1 + ('x' || substr(md5(salt || id), 1, 7))::bit(28)::int % cardinality(choices)] $$;

-- ---- who and what

INSERT INTO customers (external_id, name, order_count, last_order_at, created_at)
SELECT customer_unique_id,
       pg_temp.pick(customer_unique_id, 'given', '{Ana,Bruno,Carla,Diego,Elisa,Fabio,Gilda,Hugo,Ines,Joao,Katia,Luis,Marta,
           Nilo,Olga,Paulo,Rita,Sergio,Tania,Vitor}') || ' ' ||
       pg_temp.pick(customer_unique_id, 'family', '{Alves,Barbosa,Cardoso,Dias,Esteves,Ferreira,Gomes,Lima,Machado,Nunes,
           Oliveira,Pereira,Queiroz,Ramos,Souza,Teixeira,Vieira,Xavier}'),
       count(*), max(purchased_at), min(purchased_at)
FROM olist_customers JOIN olist_orders USING (customer_id)
GROUP BY customer_unique_id ORDER BY min(purchased_at), customer_unique_id;

INSERT INTO addresses (customer_id, zip, city, state, last_used_at)
SELECT c.customer_id, o.zip, o.city, o.state, max(purchased_at)
FROM olist_customers o JOIN olist_orders USING (customer_id) JOIN customers c ON c.external_id = o.customer_unique_id
GROUP BY c.customer_id, o.zip, o.city, o.state ORDER BY c.customer_id, o.zip, o.city, o.state;

INSERT INTO categories (name)
SELECT unnest('{audio,baby,books,computers,cosmetics,electronics,fashion,furniture,garden,health,home,music,
    office,perfume,pets,phones,sports,stationery,tools,toys,watches}'::text[]);

INSERT INTO products (external_id, name, category_id, price, units_sold)
SELECT i.product_id,
       pg_temp.pick(i.product_id, 'quality', '{Classic,Compact,Deluxe,Eco,Foldable,Golden,Light,Mini,Modern,Portable,Quiet,
           Rapid,Robust,Silver,Smart,Soft,Solid,Vintage}') || ' ' ||
       pg_temp.pick(i.product_id, 'thing', '{basket,blanket,bottle,box,cable,case,chair,clock,cup,frame,kit,lamp,mirror,pad,
           pen,rack,set,shelf,speaker,stand,table,tray}') || ' ' || upper(left(i.product_id, 4)),
       c.category_id, max(i.price), count(*)
FROM olist_items i
JOIN categories c ON c.name = pg_temp.pick(i.product_id, 'category', (SELECT array_agg(name ORDER BY name) FROM categories))
GROUP BY i.product_id, c.category_id ORDER BY i.product_id;

UPDATE categories c SET units_sold = p.units
FROM (SELECT category_id, sum(units_sold) AS units FROM products GROUP BY category_id) p
WHERE p.category_id = c.category_id;

INSERT INTO sellers (external_id, name, warehouse_id)
SELECT seller_id, 'Loja ' || initcap(left(seller_id, 6)), pg_temp.pick(seller_id, 'warehouse', '{1,2,3,4,5,6,7,8}')::integer
FROM olist_items GROUP BY seller_id ORDER BY seller_id;

-- ---- orders

INSERT INTO orders (external_id, customer_id, customer, address_id, zip, city, state, status, items_total,
    freight_total, placed_at, approved_at, shipped_at, delivered_at, promised_at, updated_at)
SELECT o.order_id, c.customer_id, c.name, a.address_id, a.zip, a.city, a.state, o.status,
       coalesce((SELECT sum(price) FROM olist_items i WHERE i.order_id = o.order_id), 0),
       coalesce((SELECT sum(freight) FROM olist_items i WHERE i.order_id = o.order_id), 0),
       o.purchased_at, o.approved_at, o.carrier_at, o.delivered_at, o.estimated_at,
       greatest(o.purchased_at, o.approved_at, o.carrier_at, o.delivered_at)
FROM olist_orders o
JOIN olist_customers oc USING (customer_id)
JOIN customers c ON c.external_id = oc.customer_unique_id
JOIN addresses a ON (a.customer_id, a.zip, a.city, a.state) = (c.customer_id, oc.zip, oc.city, oc.state)
ORDER BY o.purchased_at, o.order_id;

CREATE TEMPORARY TABLE parts ON COMMIT DROP AS
SELECT o.order_id, i.line, p.product_id, p.name AS product, c.name AS category, s.seller_id, s.warehouse_id, i.price, i.freight,
       i.ship_by
FROM olist_items i
JOIN orders o ON o.external_id = i.order_id
JOIN products p ON p.external_id = i.product_id
JOIN categories c ON c.category_id = p.category_id
JOIN sellers s ON s.external_id = i.seller_id;

INSERT INTO stock (product_id, seller_id, warehouse_id, updated_at)
SELECT DISTINCT product_id, seller_id, warehouse_id, timestamptz 'epoch' FROM parts ORDER BY product_id, seller_id;

INSERT INTO shipments (order_id, seller_id, warehouse_id, status, created_at, shipped_at, delivered_at, updated_at)
SELECT DISTINCT o.order_id, p.seller_id, p.warehouse_id,
       CASE WHEN o.delivered_at IS NOT NULL THEN 'delivered' WHEN o.shipped_at IS NOT NULL THEN 'shipped'
            WHEN o.status IN ('canceled', 'unavailable') THEN 'canceled' ELSE 'assigned' END,
       o.placed_at, o.shipped_at, o.delivered_at, greatest(o.placed_at, o.shipped_at, o.delivered_at)
FROM orders o JOIN parts p USING (order_id) ORDER BY o.order_id, p.seller_id;

INSERT INTO order_items (order_id, line, product_id, product, category, seller_id, stock_id, shipment_id, quantity, unit_price,
    freight, ship_by)
SELECT p.order_id, p.line, p.product_id, p.product, p.category, p.seller_id, k.stock_id, h.shipment_id, 1, p.price, p.freight,
       p.ship_by
FROM parts p JOIN stock k USING (product_id, seller_id) JOIN shipments h USING (order_id, seller_id)
ORDER BY p.order_id, p.line;

UPDATE sellers s SET orders_open = o.open
FROM (SELECT seller_id, count(*) AS open FROM shipments WHERE status = 'assigned' GROUP BY seller_id) o
WHERE o.seller_id = s.seller_id;

-- Olist does not say when an order was canceled or became unavailable: no row.
INSERT INTO order_status_history (order_id, status, changed_at)
SELECT order_id, step.status, step.at
FROM orders, LATERAL (VALUES (1, 'created', placed_at), (2, 'approved', approved_at), (3, 'shipped', shipped_at),
    (4, 'delivered', delivered_at)) AS step (number, status, at)
WHERE step.at IS NOT NULL
ORDER BY order_id, step.at, step.number;

-- ---- payments

INSERT INTO payments (order_id, sequence, method, installments, amount, captured, status, created_at, authorized_at,
    captured_at, updated_at)
SELECT o.order_id, p.sequence, p.method, p.installments, p.amount,
       CASE WHEN o.approved_at IS NULL THEN 0 ELSE p.amount END,
       CASE WHEN o.approved_at IS NULL THEN 'requested' ELSE 'captured' END, o.placed_at, o.approved_at, o.approved_at,
       greatest(o.placed_at, o.approved_at)
FROM olist_payments p JOIN orders o ON o.external_id = p.order_id
ORDER BY o.order_id, p.sequence;

INSERT INTO payment_events (payment_id, kind, amount, occurred_at)
SELECT payment_id, step.kind, amount, step.at
FROM payments, LATERAL (VALUES (1, 'requested', created_at), (2, 'authorized', authorized_at),
    (3, 'captured', captured_at)) AS step (number, kind, at)
WHERE step.at IS NOT NULL
ORDER BY payment_id, step.number;

-- ---- stock

-- Allocated with the approval, or with the shipping where that came first.
INSERT INTO stock_movements (stock_id, order_id, kind, quantity, occurred_at)
WITH sold AS (
    SELECT i.stock_id, o.order_id, o.status, o.placed_at, o.shipped_at, o.updated_at, sum(i.quantity) AS units,
           least(o.approved_at, o.shipped_at) AS allocated_at
    FROM orders o JOIN order_items i USING (order_id)
    GROUP BY i.stock_id, o.order_id)
SELECT stock_id, order_id, kind, units, at FROM (
    SELECT stock_id, 0::bigint AS order_id, 0 AS number, 'receive' AS kind,
           sum(units) + 5 + ('x' || substr(md5(stock_id::text), 1, 4))::bit(16)::int % 20 AS units,
           timestamptz '2016-09-01 08:00Z' AS at
    FROM sold GROUP BY stock_id
    UNION ALL SELECT stock_id, order_id, 1, 'reserve', units, placed_at FROM sold
    UNION ALL SELECT stock_id, order_id, 2, 'allocate', units, allocated_at FROM sold WHERE allocated_at IS NOT NULL
    UNION ALL SELECT stock_id, order_id, 3, CASE WHEN allocated_at IS NULL THEN 'release' ELSE 'return' END, units, updated_at
              FROM sold WHERE status IN ('canceled', 'unavailable') AND shipped_at IS NULL
    UNION ALL SELECT stock_id, order_id, 4, 'ship', units, shipped_at FROM sold WHERE shipped_at IS NOT NULL) AS m
ORDER BY at, stock_id, order_id, number;

UPDATE stock s SET available = m.received - m.shipped - m.reserved - m.allocated, reserved = m.reserved,
    allocated = m.allocated, shipped = m.shipped, received = m.received, updated_at = m.at
FROM (SELECT stock_id, max(occurred_at) AS at,
             sum(quantity * (kind = 'receive')::int) AS received,
             sum(quantity * ((kind = 'reserve')::int - (kind IN ('release', 'allocate'))::int)) AS reserved,
             sum(quantity * ((kind = 'allocate')::int - (kind IN ('return', 'ship'))::int)) AS allocated,
             sum(quantity * (kind = 'ship')::int) AS shipped
      FROM stock_movements GROUP BY stock_id) m
WHERE m.stock_id = s.stock_id;

INSERT INTO outbox (order_id, topic, payload, created_at)
SELECT order_id, 'order.imported', jsonb_build_object('order_id', order_id), updated_at FROM orders ORDER BY order_id;
