ALTER TYPE order_status ADD VALUE 'expired';
CREATE VIEW big_orders AS SELECT id, amount FROM orders WHERE amount > 50;
GRANT SELECT ON big_orders TO PUBLIC;
COMMENT ON COLUMN orders.venue IS 'where';
DROP VIEW order_summary;
