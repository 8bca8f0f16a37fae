-- SPDX-License-Identifier: Apache-2.0
-- The tables on which effects of statements are measured: each has something that changes an answer.
CREATE DOMAIN dpos AS int CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('a', 'b');
CREATE TABLE ref (id int PRIMARY KEY);
INSERT INTO ref SELECT generate_series(1, 10);

-- t: many types; views, a trigger, foreign keys, CHECKs that prove something and that do not
CREATE SEQUENCE s;
CREATE TABLE t (
    id int DEFAULT nextval('s') PRIMARY KEY,
    a int,
    b varchar(10),
    c text,
    d numeric(10, 2),
    e timestamp,
    f timestamptz,
    g varchar(10),
    h int NOT NULL DEFAULT 1,
    j int,
    k cidr,
    n numeric,
    r int,
    ts3 timestamp(3),
    vb varbit(8),
    iv interval(3),
    m mood,
    CONSTRAINT ck_a CHECK (a > 0),
    CONSTRAINT ck_c CHECK (c IS NOT NULL)
);
ALTER SEQUENCE s OWNED BY t.id;
INSERT INTO t (a, b, c, d, e, f, g, j, k, n, r, ts3, vb, iv, m)
SELECT i, 'b', 'c', i, now(), now(), 'g', i, '10.0.0.0/8', i, i % 10 + 1, now(), B'1', '1 day', 'a'
FROM generate_series(1, 100) i;
CREATE INDEX t_a ON t (a);
CREATE INDEX t_b ON t (b);
CREATE UNIQUE INDEX t_j ON t (j);
ALTER TABLE t ADD CONSTRAINT ck_d CHECK (d IS NOT NULL) NOT VALID;
ALTER TABLE t ADD CONSTRAINT ck_nv CHECK (a > 0) NOT VALID;
ALTER TABLE t ADD CONSTRAINT fk_nv FOREIGN KEY (r) REFERENCES ref (id) NOT VALID;
CREATE VIEW v AS SELECT id, a FROM t;
CREATE MATERIALIZED VIEW mv AS SELECT id, a FROM t;
CREATE UNIQUE INDEX mvu ON mv (id);
CREATE FUNCTION tf() RETURNS trigger LANGUAGE plpgsql AS 'begin return new; end';
CREATE TRIGGER trg BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION tf();
CREATE TABLE child (pid int PRIMARY KEY REFERENCES t (id));
INSERT INTO child SELECT generate_series(1, 10);

-- q: no views; an index of each kind on columns that may change their type
CREATE TABLE q (id int PRIMARY KEY, a int, u int, c text, e timestamp);
INSERT INTO q SELECT i, i, i, 'c', now() FROM generate_series(1, 100) i;
CREATE INDEX q_a ON q (a);
CREATE INDEX q_u ON q (u) WHERE u > 5;
CREATE INDEX q_e ON q (e);
CREATE TABLE qc (id int PRIMARY KEY, qid int REFERENCES q (id));
INSERT INTO qc SELECT i, i FROM generate_series(1, 10) i;

-- p: partitions, one of them the default; p2 and p3 are ready to be attached, p3 with a CHECK that proves its bound
CREATE TABLE p (id int NOT NULL, k int NOT NULL, PRIMARY KEY (id, k)) PARTITION BY RANGE (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
CREATE TABLE pd PARTITION OF p DEFAULT;
CREATE TABLE p2 (id int NOT NULL, k int NOT NULL);
CREATE TABLE p3 (id int NOT NULL, k int NOT NULL, CHECK (k IS NOT NULL AND k >= 20 AND k < 30));
INSERT INTO p SELECT i % 10 + 1, i % 10 FROM generate_series(1, 10) i;

CREATE TABLE par (id int);
CREATE TABLE kid () INHERITS (par);
CREATE TABLE lone (id int);
INSERT INTO par VALUES (1);
INSERT INTO kid VALUES (2);
INSERT INTO lone VALUES (3);

CREATE TABLE ck (id int, b varchar(10) CHECK (b <> ''));
INSERT INTO ck VALUES (1, 'x');
CREATE TABLE ul (id int PRIMARY KEY);
INSERT INTO ul VALUES (1);
CREATE TABLE gt (w int, gg int GENERATED ALWAYS AS (w * 2) STORED);
INSERT INTO gt VALUES (1);
CREATE TABLE dt (x dpos);
INSERT INTO dt VALUES (1);
