-- banyan: backfill orders.execution_venue = CASE WHEN order_type = 'MARKET' THEN 'XNYS' WHEN symbol LIKE 'SYM1%' THEN 'XNAS' ELSE 'BATS' END
ALTER TABLE orders ADD COLUMN execution_venue varchar(10) NOT NULL;
