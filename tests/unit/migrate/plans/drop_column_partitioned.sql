ALTER TABLE measurements DROP COLUMN value;
