-- banyan: backfill public.orders.total = price * amount
ALTER TABLE orders ADD COLUMN total numeric;
