ALTER TABLE measurements ALTER COLUMN value TYPE numeric(10, 3);
