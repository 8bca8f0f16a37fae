-- banyan: allow
ALTER TABLE order_items ALTER COLUMN line TYPE bigint;
-- banyan: rollback
ALTER TABLE order_items ALTER COLUMN line TYPE int;
