UPDATE orders SET venue = 'OTC' WHERE venue IS NULL;
ALTER TABLE orders ALTER venue SET NOT NULL;
