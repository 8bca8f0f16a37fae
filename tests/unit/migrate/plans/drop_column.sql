-- banyan: backfill orders.side = 'buy'
ALTER TABLE orders DROP COLUMN side, DROP COLUMN region;
