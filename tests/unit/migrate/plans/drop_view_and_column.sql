DROP VIEW order_summary;
ALTER TABLE orders DROP COLUMN price;
