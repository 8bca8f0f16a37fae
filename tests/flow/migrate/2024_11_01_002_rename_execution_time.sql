ALTER TABLE orders RENAME COLUMN execution_time TO execution_timestamp;
