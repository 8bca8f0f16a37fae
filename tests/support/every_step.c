/* SPDX-License-Identifier: Apache-2.0 */
#include "support/every_step.h"

#include <string.h>

const char every_step_schema[] =
    "CREATE TYPE mood AS ENUM ('calm', 'busy');"
    "CREATE TABLE t (id bigint PRIMARY KEY, a text NOT NULL, n int NOT NULL, m mood NOT NULL DEFAULT 'calm');"
    "INSERT INTO t SELECT i, 'a' || i, i % 1000 FROM generate_series(1, 4000) i;"
    "CREATE INDEX t_n ON t (n); CREATE INDEX t_a ON t (a);"
    "CREATE TABLE c (id bigint PRIMARY KEY, t_id bigint NOT NULL);"
    "INSERT INTO c SELECT i, i FROM generate_series(1, 1000) i;"
    "CREATE TABLE p (id bigint NOT NULL, k int NOT NULL) PARTITION BY LIST (k);"
    "CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);"
    "INSERT INTO p SELECT i, 1 + i % 2 FROM generate_series(1, 1000) i;";

const char every_step_print[] =
    "SELECT md5(string_agg(line, E'\\n' ORDER BY line)) FROM ("
    "SELECT format('column %s.%s %s %s %s', a.attrelid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), "
    "a.attnotnull, (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d WHERE d.adrelid = a.attrelid "
    "AND d.adnum = a.attnum)) AS line FROM pg_attribute a JOIN pg_class r ON r.oid = a.attrelid "
    "WHERE r.relnamespace = 'public'::regnamespace AND r.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped "
    "UNION ALL SELECT format('index %s %s %s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready) "
    "FROM pg_index i JOIN pg_class r ON r.oid = i.indrelid WHERE r.relnamespace = 'public'::regnamespace "
    "UNION ALL SELECT format('constraint %s %s %s %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid), "
    "k.convalidated) FROM pg_constraint k WHERE k.connamespace = 'public'::regnamespace AND k.conrelid <> 0 "
    "UNION ALL SELECT format('partition %s of %s %s', i.inhrelid::regclass, i.inhparent::regclass, i.inhdetachpending) "
    "FROM pg_inherits i JOIN pg_class r ON r.oid = i.inhrelid WHERE r.relkind = 'r' "
    "UNION ALL SELECT to_jsonb(t)::text FROM t UNION ALL SELECT to_jsonb(c)::text FROM c "
    "UNION ALL SELECT to_jsonb(p1)::text FROM p1 UNION ALL SELECT to_jsonb(p)::text FROM p) lines";

void every_step_empty(struct every_step *every, const char *version)
{
    memset(every, 0, sizeof(*every));
    every->migration = (struct migration){
        .path = "every.sql",
        .version = banyan_str_of(version),
        .description = BANYAN_STR("a step of every kind"),
        .source = BANYAN_STR("-- one\nALTER TABLE t;\n"),
    };
    memcpy(every->migration.checksum, "the checksum of this very file..", 32);
    every->work = (struct plan_work){.arena = &every->arena, .ret = &every->plan};
}

void every_step_release(struct every_step *every)
{
    banyan_arena_release(&every->arena);
}

static void expand(struct plan_work *work)
{
    struct plan_step *step = plan_add(work, PLAN_EXPAND, "add-column", PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    plan_sql(work, &step->act, "ALTER TABLE \"public\".\"t\" ADD COLUMN \"b\" text");
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT),
             "ALTER TABLE \"public\".\"t\" DROP COLUMN \"b\"");
    step = plan_add(work, PLAN_EXPAND, "enum-value", PLAN_OUTSIDE, PLAN_RETRY_SHORT);
    step->final = true;
    plan_sql(work, &step->act, "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'glad'");
    step = plan_add(work, PLAN_EXPAND, "foreign-key", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(work, &step->act, "LOCK TABLE t, c IN SHARE ROW EXCLUSIVE MODE");
    plan_sql(work, &step->act, "ALTER TABLE c ADD CONSTRAINT c_t FOREIGN KEY (t_id) REFERENCES t NOT VALID");
    struct plan_action *undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(work, undo, "LOCK TABLE t, c IN ACCESS EXCLUSIVE MODE");
    plan_sql(work, undo, "ALTER TABLE c DROP CONSTRAINT c_t");
}

static void backfill(struct plan_work *work)
{
    struct plan_step *step = plan_add(work, PLAN_BACKFILL, "fill", PLAN_BATCHES, PLAN_RETRY_SHORT);

    step->act.batches.table = BANYAN_STR("\"public\".\"t\"");
    step->act.batches.set = BANYAN_STR("\"b\" = t.\"a\" || '!'");
    step->act.batches.needs = BANYAN_STR("t.\"b\" IS NULL");
    step = plan_add(work, PLAN_BACKFILL, "index", PLAN_INDEX, PLAN_RETRY_WATCH);
    step->act.index = BANYAN_STR("\"public\".\"t_b\"");
    plan_sql(work, &step->act, "CREATE INDEX CONCURRENTLY \"t_b\" ON \"public\".\"t\" (b)");
    plan_undo(work, step, PLAN_INDEX_DROP, PLAN_RETRY_WATCH)->index = BANYAN_STR("\"public\".\"t_b\"");
    step = plan_add(work, PLAN_BACKFILL, "validate", PLAN_TRANSACTION, PLAN_RETRY_LONG);
    plan_sql(work, &step->act, "ALTER TABLE c VALIDATE CONSTRAINT c_t");
}

static void contract(struct plan_work *work)
{
    struct plan_step *step = plan_add(work, PLAN_CONTRACT, "swap", PLAN_TRANSACTION, PLAN_RETRY_SHORT);

    plan_sql(work, &step->act, "ALTER TABLE t RENAME a TO _kept_a");
    plan_sql(work, &step->act, "ALTER TABLE t RENAME b TO a");
    struct plan_action *undo = plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(work, undo, "ALTER TABLE t RENAME a TO b");
    plan_sql(work, undo, "ALTER TABLE t RENAME _kept_a TO a");
    step = plan_add(work, PLAN_CONTRACT, "drop-index", PLAN_INDEX_DROP, PLAN_RETRY_WATCH);
    step->act.index = BANYAN_STR("\"public\".\"t_n\"");
    undo = plan_undo(work, step, PLAN_INDEX, PLAN_RETRY_WATCH);
    undo->index = BANYAN_STR("\"public\".\"t_n\"");
    plan_sql(work, undo, "CREATE INDEX CONCURRENTLY t_n ON public.t USING btree (n)");
    step = plan_add(work, PLAN_CONTRACT, "update", PLAN_BATCHES, PLAN_RETRY_SHORT);
    step->act.batches.table = BANYAN_STR("\"public\".\"t\"");
    step->act.batches.set = BANYAN_STR("n = t.n + 1000");
    step->act.batches.needs = BANYAN_STR("t.n < 1000");
    undo = plan_undo(work, step, PLAN_BATCHES, PLAN_RETRY_SHORT);
    undo->batches.table = BANYAN_STR("\"public\".\"t\"");
    undo->batches.set = BANYAN_STR("n = t.n - 1000");
    undo->batches.needs = BANYAN_STR("t.n >= 1000");
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT), "COMMENT ON TABLE t IS 'was undone'");
}

/* The second half of a DETACH that was ended between the two. */
static void finalize(struct plan_work *work, struct plan_action *action)
{
    action->done = BANYAN_STR("SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 'p1'::regclass)");
    plan_sql(work, action, "ALTER TABLE p DETACH PARTITION p1 FINALIZE");
}

static void detach_and_clean(struct plan_work *work)
{
    struct plan_step *step = plan_add(work, PLAN_CONTRACT, "detach", PLAN_OUTSIDE, PLAN_RETRY_WATCH);

    step->act.done = BANYAN_STR("SELECT NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = 'p1'::regclass AND NOT "
                                "inhdetachpending)");
    plan_sql(work, &step->act, "ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY");
    finalize(work, plan_undo(work, step, PLAN_OUTSIDE, PLAN_RETRY_WATCH));
    plan_sql(work, plan_undo(work, step, PLAN_TRANSACTION, PLAN_RETRY_SHORT),
             "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1)");
    plan_sql(work, &step->undo[1], "ALTER TABLE p1 DROP CONSTRAINT IF EXISTS p1_k_check");
    step = plan_add(work, PLAN_CONTRACT, "finalize", PLAN_OUTSIDE, PLAN_RETRY_WATCH);
    finalize(work, &step->act);
    step = plan_add(work, PLAN_CLEANUP, "drop-kept", PLAN_TRANSACTION, PLAN_RETRY_SHORT);
    plan_sql(work, &step->act, "ALTER TABLE t DROP COLUMN _kept_a");
}

void every_step_init(struct every_step *every, const char *version)
{
    struct plan_work *work = &every->work;

    every_step_empty(every, version);
    expand(work);
    backfill(work);
    contract(work);
    detach_and_clean(work);
    every->plan.tables = banyan_arena_zalloc(&every->arena, 3 * sizeof(struct banyan_str));
    every->plan.tables[0] = BANYAN_STR("t");
    every->plan.tables[1] = BANYAN_STR("c");
    every->plan.table_count = 2;
    for (size_t i = 0; i < every->plan.step_count; i++)
        every->plan.steps[i].title = banyan_arena_printf(&every->arena, "step %zu", i + 1);
}
