ALTER TABLE orders ADD COLUMN lots positive;
