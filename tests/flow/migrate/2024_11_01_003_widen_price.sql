ALTER TABLE orders ALTER COLUMN price TYPE decimal(18,8);
