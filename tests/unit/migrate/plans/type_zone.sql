-- banyan: zone orders.placed_at = 'Europe/Berlin'
ALTER TABLE orders ALTER COLUMN placed_at TYPE timestamptz;
