-- SPDX-License-Identifier: Apache-2.0
-- The tables that forms are planned for: quoted names everywhere, some too big to be read under a lock (4 MiB).
CREATE SCHEMA "Sa les";
CREATE TYPE "Mo od" AS ENUM ('so', 'la la');
CREATE TABLE "Sa les"."Cu st" (
    "Id" int PRIMARY KEY,
    "Na me" text NOT NULL,
    "E-mail" text,
    "Pay" json
);
INSERT INTO "Sa les"."Cu st" SELECT i, 'name ' || i, 'mail' || i, '{"a": 1}' FROM generate_series(1, 1000) i;
CREATE TABLE "Sa les"."Or der" (
    "Id" int PRIMARY KEY,
    "Cu st" int,
    "Pri ce" numeric(10, 2),
    "Am ount" int NOT NULL,
    pad text,
    CONSTRAINT "Ck one" CHECK ("Am ount" >= 0),
    CONSTRAINT "Fk one" FOREIGN KEY ("Cu st") REFERENCES "Sa les"."Cu st" ("Id")
);
INSERT INTO "Sa les"."Or der" SELECT i, i % 1000 + 1, i, i, repeat('x', 100) FROM generate_series(1, 40000) i;
CREATE INDEX "In dex" ON "Sa les"."Or der" ("Pri ce");
CREATE UNIQUE INDEX "Un ique" ON "Sa les"."Or der" ("Am ount", "Id");
ALTER TABLE "Sa les"."Or der" ADD CONSTRAINT "Ck not" CHECK ("Pri ce" > 0) NOT VALID;
ALTER TABLE "Sa les"."Or der" ADD CONSTRAINT "Ke y" UNIQUE ("Am ount");
CREATE VIEW "Sa les"."Vi ew" AS SELECT "Id", "Am ount" FROM "Sa les"."Or der";
GRANT SELECT ON "Sa les"."Vi ew" TO PUBLIC;
CREATE SEQUENCE "Se q" INCREMENT 5;
CREATE FUNCTION "Fu n"("A" int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION "Tr f"() RETURNS trigger LANGUAGE plpgsql AS 'begin return coalesce(new, old); end';
CREATE TRIGGER "Tr g" BEFORE DELETE ON "Sa les"."Cu st" FOR EACH ROW EXECUTE FUNCTION "Tr f"();
COMMENT ON TABLE "Sa les"."Cu st" IS 'it''s old';
CREATE TABLE bare (a int, b text);
INSERT INTO bare SELECT i, 'b' FROM generate_series(1, 100) i;

CREATE TABLE "Pa rt" ("K" int NOT NULL, "Id" int NOT NULL, "V" text) PARTITION BY RANGE ("K");
CREATE TABLE "Pa rt 1" PARTITION OF "Pa rt" FOR VALUES FROM (0) TO (100);
CREATE TABLE "Pa rt 2" PARTITION OF "Pa rt" FOR VALUES FROM (100) TO (200) PARTITION BY RANGE ("Id");
CREATE TABLE "Pa rt 2a" PARTITION OF "Pa rt 2" FOR VALUES FROM (0) TO (1000000);
INSERT INTO "Pa rt" SELECT i % 200, i, 'v' FROM generate_series(1, 2000) i;
CREATE INDEX "Pa rt V" ON "Pa rt" ("V");
