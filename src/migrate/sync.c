/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See sync.h.  The function is text made of a few lines a column:
 *
 *   IF TG_OP = 'INSERT' THEN … ELSE … END IF;     both names, one name
 *   IF NEW.c IS NULL THEN … END IF;               filled
 *
 * Two sessions, one row, both names written at once: the second waits for the first's row lock, and sees as OLD what
 * the first left behind, both names.  So its difference is its own, and the later one wins, as with one name.
 *
 *   old code            new code                        row (old name, new name)
 *   SET a = 1                                           (1, 1)
 *                       SET b = 2    waits
 *   COMMIT                                              OLD of the second is (1, 1)
 *                       b changed: a := b               (2, 2)
 */
#include "migrate/sync.h"

#include <string.h>

enum {
    SYNC_SQL_MAX = 1024 * 1024,
    NAME_PART_MAX = 32, /* bytes of the table's name in ours */
};

/* ---- names ---- */

static uint64_t hash_more(uint64_t hash, struct banyan_str text)
{
    for (size_t i = 0; i < text.size; i++)
        hash = (hash ^ (unsigned char)text.data[i]) * UINT64_C(0x100000001b3);
    return (hash ^ 0xff) * UINT64_C(0x100000001b3);
}

/* sync_<table>_<hash>: the same in each run, another one for each version and table. */
static struct banyan_str name_of(const struct sync *sync, struct banyan_str version, const char *head,
                                 struct banyan_arena *arena)
{
    uint64_t hash = hash_more(UINT64_C(0xcbf29ce484222325), version);
    struct banyan_str table = sync->table->name;

    hash = hash_more(hash_more(hash, sync->table->schema), table);
    if (table.size > NAME_PART_MAX) {
        table.size = NAME_PART_MAX;
        while (table.size > 0 && ((unsigned char)table.data[table.size] & 0xc0) == 0x80)
            table.size--; /* not within a character */
    }
    return banyan_arena_printf(arena, "%s_%.*s_%08x", head, (int)table.size, table.data,
                               (unsigned)(hash ^ (hash >> 32)));
}

static struct banyan_str function_name(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena)
{
    return name_of(sync, version, sync->turned ? "sync_kept" : "sync", arena);
}

/* '~' is behind all letters: triggers fire in the order of their names. */
static struct banyan_str trigger_name(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena)
{
    return name_of(sync, version, sync->turned ? "~banyan_kept" : "~banyan_sync", arena);
}

/* ---- values ---- */

struct banyan_str sync_value(struct banyan_arena *arena, struct banyan_str expression, const char *prefix,
                             struct banyan_str column)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(SYNC_SQL_MAX);
    struct banyan_str ret;

    for (size_t i = 0; i < expression.size; i++) {
        if (expression.data[i] != '$') {
            banyan_buf_add_char(&sql, expression.data[i]);
        } else if (i + 1 < expression.size && expression.data[i + 1] == '$') {
            banyan_buf_add_char(&sql, '$');
            i++;
        } else {
            banyan_buf_add_text(&sql, prefix);
            pg_add_identifier(&sql, column);
        }
    }
    ret = banyan_arena_str(arena, banyan_buf_str(&sql));
    banyan_buf_release(&sql);
    return ret;
}

/* Types whose "=" says that the bytes are the same, so that the cheap operator will do. */
static bool equal_is_same(const struct catalog_column *column)
{
    static const char *const names[] = {"int2", "int4",      "int8",        "oid",  "bool", "uuid",
                                        "date", "timestamp", "timestamptz", "time", "bytea"};

    if (column == NULL || !column->type.known || column->type.is_array)
        return false;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (banyan_str_equal(column->type.name, banyan_str_of(names[i])))
            return true;
    if (banyan_str_equal(column->type.name, BANYAN_STR("numeric")))
        return column->type.modifier >= 0; /* one scale */
    return column->collation.size == 0 && (banyan_str_equal(column->type.name, BANYAN_STR("text")) ||
                                           banyan_str_equal(column->type.name, BANYAN_STR("varchar")));
}

static struct banyan_str changed(const struct sync *sync, const struct sync_column *column, struct banyan_str name,
                                 struct banyan_arena *arena)
{
    /* Of a new name nothing is known yet: its type is that of the old one. */
    const struct catalog_column *known = catalog_column(sync->table, name);

    if (known == NULL && column->kind == SYNC_BOTH)
        known = catalog_column(sync->table, column->from);
    return equal_is_same(known) ? sql_make(arena, "NEW.%I IS DISTINCT FROM OLD.%I", name, name)
                                : sql_make(arena, "pg_catalog.record_image_ne(ROW(NEW.%I), ROW(OLD.%I))", name, name);
}

/* to := value of from; NULL where it cannot be said in the other type. */
static struct banyan_str assign(struct banyan_str to, struct banyan_str expression, struct banyan_str from, bool fails,
                                struct banyan_arena *arena)
{
    struct banyan_str set = sql_make(arena, "NEW.%I := %S;", to, sync_value(arena, expression, "NEW.", from));

    return fails ? sql_make(arena, "BEGIN %S EXCEPTION WHEN OTHERS THEN NEW.%I := NULL; END;", set, to) : set;
}

/* ---- the function ---- */

static void add_both(const struct sync *sync, const struct sync_column *column, struct banyan_arena *arena,
                     struct banyan_buf *insert, struct banyan_buf *update)
{
    struct banyan_str forth = assign(column->to, column->forth, column->from, column->forth_fails, arena);
    struct banyan_str back = assign(column->from, column->back, column->to, column->back_fails, arena);

    banyan_buf_add_str(insert,
                       sql_make(arena, "    IF NEW.%I IS NOT NULL THEN %S ELSE %S END IF;\n", column->to, back, forth));
    banyan_buf_add_str(update,
                       sql_make(arena,
                                "    IF %S THEN %S\n    ELSIF %S OR (NEW.%I IS NULL AND NEW.%I IS NOT NULL) THEN %S\n"
                                "    END IF;\n",
                                changed(sync, column, column->to, arena), back,
                                changed(sync, column, column->from, arena), column->to, column->from, forth));
}

static void add_one(const struct sync *sync, const struct sync_column *column, struct banyan_arena *arena,
                    struct banyan_buf *insert, struct banyan_buf *update)
{
    struct banyan_str forth = assign(column->to, column->forth, column->from, column->forth_fails, arena);

    banyan_buf_add_str(insert, sql_make(arena, "    %S\n", forth));
    banyan_buf_add_str(update, sql_make(arena, "    IF %S OR (NEW.%I IS NULL AND NEW.%I IS NOT NULL) THEN %S END IF;\n",
                                        changed(sync, column, column->from, arena), column->to, column->from, forth));
}

static struct banyan_str body_of(const struct sync *sync, struct banyan_arena *arena)
{
    struct banyan_buf insert = BANYAN_BUF_INIT(SYNC_SQL_MAX), update = BANYAN_BUF_INIT(SYNC_SQL_MAX);
    struct banyan_buf fill = BANYAN_BUF_INIT(SYNC_SQL_MAX);
    struct banyan_str ret;

    for (size_t i = 0; i < sync->column_count; i++) {
        const struct sync_column *column = &sync->columns[i];

        if (column->kind == SYNC_BOTH)
            add_both(sync, column, arena, &insert, &update);
        else if (column->kind == SYNC_TO)
            add_one(sync, column, arena, &insert, &update);
        else
            banyan_buf_add_str(
                &fill, sql_make(arena,
                                "  IF NEW.%I IS NULL THEN\n    NEW.%I := (SELECT (%S) FROM (SELECT NEW.*) AS %I);\n"
                                "  END IF;\n",
                                column->to, column->to, column->expression, sync->table->name));
    }
    /* A column of the user's that is named as a variable of plpgsql means the column. */
    ret = sql_make(arena, "#variable_conflict use_column\nBEGIN\n%s%S%s%S%s%S  RETURN NEW;\nEND",
                   insert.size > 0 ? "  IF TG_OP = 'INSERT' THEN\n" : "", banyan_buf_str(&insert),
                   insert.size > 0 ? "  ELSE\n" : "", banyan_buf_str(&update), insert.size > 0 ? "  END IF;\n" : "",
                   banyan_buf_str(&fill));
    banyan_buf_release(&insert);
    banyan_buf_release(&update);
    banyan_buf_release(&fill);
    return ret;
}

struct banyan_str sync_function_sql(const struct sync *sync, struct banyan_str version, struct banyan_str search_path,
                                    struct banyan_arena *arena)
{
    struct banyan_str path =
        search_path.size == 0 ? BANYAN_STR("") : sql_make(arena, " SET search_path = %S", search_path);

    return sql_make(arena, "CREATE OR REPLACE FUNCTION banyan.%I() RETURNS trigger LANGUAGE plpgsql%S AS %L",
                    function_name(sync, version, arena), path, body_of(sync, arena));
}

struct banyan_str sync_trigger_of_sql(const struct sync *sync, const struct catalog_table *child,
                                      struct banyan_str version, struct banyan_arena *arena)
{
    return sql_make(arena, "CREATE TRIGGER %I BEFORE INSERT OR UPDATE ON %T FOR EACH ROW EXECUTE FUNCTION banyan.%I()",
                    trigger_name(sync, version, arena), child, function_name(sync, version, arena));
}

struct banyan_str sync_trigger_sql(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena)
{
    return sync_trigger_of_sql(sync, sync->table, version, arena);
}

struct banyan_str sync_always_of_sql(const struct sync *sync, const struct catalog_table *child,
                                     struct banyan_str version, struct banyan_arena *arena)
{
    return sql_make(arena, "ALTER TABLE %T ENABLE ALWAYS TRIGGER %I", child, trigger_name(sync, version, arena));
}

struct banyan_str sync_always_sql(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena)
{
    return sync_always_of_sql(sync, sync->table, version, arena);
}

struct banyan_str sync_drop_trigger_of_sql(const struct sync *sync, const struct catalog_table *child,
                                           struct banyan_str version, struct banyan_arena *arena)
{
    return sql_make(arena, "DROP TRIGGER IF EXISTS %I ON %T", trigger_name(sync, version, arena), child);
}

struct banyan_str sync_drop_trigger_sql(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena)
{
    return sync_drop_trigger_of_sql(sync, sync->table, version, arena);
}

struct banyan_str sync_drop_function_sql(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena)
{
    return sql_make(arena, "DROP FUNCTION IF EXISTS banyan.%I()", function_name(sync, version, arena));
}

struct banyan_str sync_broken_sql(const struct sync *sync, struct banyan_str version, struct banyan_arena *arena)
{
    return sql_make(arena,
                    "SELECT count(*) FROM pg_catalog.pg_proc p LEFT JOIN pg_catalog.pg_trigger g ON g.tgfoid = p.oid "
                    "WHERE p.pronamespace = pg_catalog.to_regnamespace('banyan') AND p.proname = %L AND (g.oid IS NULL "
                    "OR g.tgenabled NOT IN ('A', 'O') OR g.tgparentid = 0 AND g.tgenabled <> 'A')",
                    function_name(sync, version, arena));
}
