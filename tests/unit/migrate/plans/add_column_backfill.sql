-- banyan: backfill orders.execution_venue = CASE WHEN venue IS NULL THEN 'OTC' ELSE venue END
ALTER TABLE orders ADD COLUMN execution_venue text NOT NULL;
