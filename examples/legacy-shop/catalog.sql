-- SPDX-License-Identifier: Apache-2.0
-- Something to sell, for who has no recording: psql -v products=200 -f catalog.sql, after schema.sql.  The same every time.
\if :{?products} \else \set products 200 \endif
BEGIN;
SET LOCAL timezone = 'UTC';

INSERT INTO categories (name)
SELECT unnest('{audio,books,computers,fashion,furniture,garden,health,kitchen,music,office,pets,sports,tools,toys}'::text[]);

INSERT INTO products (external_id, name, category_id, price)
SELECT 'P' || n,
       (('{Classic,Compact,Deluxe,Eco,Golden,Light,Modern,Quiet,Robust,Smart,Soft,Vintage}'::text[])[1 + n * 7 % 12]) || ' ' ||
       (('{basket,blanket,bottle,box,cable,chair,clock,cup,frame,lamp,mirror,rack,shelf,table,tray}'::text[])[1 + n * 11 % 15])
           || ' ' || n,
       1 + n * 13 % 14, 3.99 + n * 37 % 400
FROM generate_series(1, :products) AS n;

INSERT INTO sellers (external_id, name, warehouse_id)
SELECT 'S' || n, 'Shop ' || n, 1 + n % 8 FROM generate_series(1, 1 + :products / 10) AS n;

INSERT INTO stock (product_id, seller_id, warehouse_id, available, received, updated_at)
SELECT product_id, seller_id, warehouse_id, 500, 500, timestamptz '2020-01-01 08:00Z'
FROM products JOIN sellers ON seller_id = 1 + product_id % (1 + :products / 10)
ORDER BY product_id;

INSERT INTO stock_movements (stock_id, kind, quantity, occurred_at)
SELECT stock_id, 'receive', received, updated_at FROM stock ORDER BY stock_id;
COMMIT;
