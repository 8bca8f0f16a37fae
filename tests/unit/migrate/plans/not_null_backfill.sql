-- banyan: backfill orders.note = 'none'
ALTER TABLE orders ALTER COLUMN note SET NOT NULL;
