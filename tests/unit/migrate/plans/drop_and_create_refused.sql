DROP TABLE journal;
CREATE TABLE journal (id int PRIMARY KEY, line text);
