ALTER TABLE orders ADD COLUMN execution_venue text NOT NULL;
