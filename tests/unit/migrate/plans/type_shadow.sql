ALTER TABLE orders ALTER COLUMN price TYPE numeric(18, 8);
