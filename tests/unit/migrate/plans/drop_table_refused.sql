DROP TABLE customers;
DROP TABLE measurements_2023;
