ALTER TABLE orders RENAME COLUMN placed_at TO execution_timestamp;
