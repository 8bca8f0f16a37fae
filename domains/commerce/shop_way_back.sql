-- SPDX-License-Identifier: Apache-2.0
-- Once, in the shop's database, before the way back is armed: psql -f shop_way_back.sql
--
-- The mirror writes the columns that the mappings read.  These three the shop's tables demand, and the events do not
-- have them; the shop itself always names them, so the defaults are for the mirror alone.
BEGIN;

-- The address of orders that were not placed by the shop.  Their zip is empty.
INSERT INTO customers (customer_id, external_id, name, created_at)
VALUES (0, 'banyan', 'placed elsewhere', timestamptz '2000-01-01 00:00Z');
INSERT INTO addresses (address_id, customer_id, zip, city, state, last_used_at)
VALUES (0, 0, '', '', '', timestamptz '2000-01-01 00:00Z');
ALTER TABLE orders ALTER COLUMN address_id SET DEFAULT 0, ALTER COLUMN zip SET DEFAULT '';

-- Lines of such orders are in order and told apart, but do not begin with 1.
CREATE SEQUENCE order_items_line_seq AS integer CYCLE;
ALTER TABLE order_items ALTER COLUMN line SET DEFAULT nextval('order_items_line_seq');

COMMIT;
