/* SPDX-License-Identifier: Apache-2.0 */
/* See effect.h: the list of relations, and which family a statement belongs to. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "migrate/effect_int.h"

enum {
    TEXT_MAX = 512,
    NAME_MAX_BYTES = 63, /* of an identifier at the server */
    READ_BYTES_A_SECOND = 250 * 1024 * 1024,
    WRITE_BYTES_A_SECOND = 60 * 1024 * 1024,
};

const char *effect_lock_name(enum effect_lock lock)
{
    static const char *const names[] = {
        [EFFECT_LOCK_NONE] = "none",
        [EFFECT_ACCESS_SHARE] = "ACCESS SHARE",
        [EFFECT_ROW_SHARE] = "ROW SHARE",
        [EFFECT_ROW_EXCLUSIVE] = "ROW EXCLUSIVE",
        [EFFECT_SHARE_UPDATE_EXCLUSIVE] = "SHARE UPDATE EXCLUSIVE",
        [EFFECT_SHARE] = "SHARE",
        [EFFECT_SHARE_ROW_EXCLUSIVE] = "SHARE ROW EXCLUSIVE",
        [EFFECT_EXCLUSIVE] = "EXCLUSIVE",
        [EFFECT_ACCESS_EXCLUSIVE] = "ACCESS EXCLUSIVE",
    };

    return names[lock];
}

const char *effect_lock_stops(enum effect_lock lock)
{
    if (lock == EFFECT_ACCESS_EXCLUSIVE)
        return "reads and writes wait";
    if (lock >= EFFECT_SHARE)
        return "writes wait";
    return lock == EFFECT_SHARE_UPDATE_EXCLUSIVE ? "other DDL waits" : "nothing but stronger DDL waits";
}

/* ---- what is told ---- */

BANYAN_PRINTF_LIKE(2, 0)
static struct banyan_str text_of(struct effect_work *work, const char *format, va_list arguments)
{
    char text[TEXT_MAX];

    (void)vsnprintf(text, sizeof(text), format, arguments); /* over-long texts are cut */
    return banyan_arena_str(work->arena, banyan_str_of(text));
}

void effect_fails(struct effect_work *work, const char *format, ...)
{
    va_list arguments;

    if (work->ret->verdict != EFFECT_UNDERSTOOD)
        return;
    work->ret->verdict = EFFECT_FAILS;
    va_start(arguments, format);
    work->ret->why = text_of(work, format, arguments);
    va_end(arguments);
}

void effect_not_understood(struct effect_work *work, const char *format, ...)
{
    va_list arguments;

    if (work->ret->verdict != EFFECT_UNDERSTOOD)
        return;
    work->ret->verdict = EFFECT_NOT_UNDERSTOOD;
    va_start(arguments, format);
    work->ret->why = text_of(work, format, arguments);
    va_end(arguments);
}

void effect_note(struct effect_work *work, const char *format, ...)
{
    const size_t max = sizeof(work->ret->notes) / sizeof(work->ret->notes[0]);
    va_list arguments;

    if (work->ret->note_count == max)
        return;
    va_start(arguments, format);
    work->ret->notes[work->ret->note_count++] = text_of(work, format, arguments);
    va_end(arguments);
}

bool effect_goes_on(const struct effect_work *work)
{
    return work->st == BANYAN_OK && work->ret->verdict == EFFECT_UNDERSTOOD;
}

/* ---- relations ---- */

struct effect_relation *effect_named(struct effect_work *work, struct banyan_str name)
{
    struct effect *effect = work->ret;

    for (size_t i = 0; i < effect->relation_count; i++)
        if (banyan_str_equal(effect->relations[i].name, name))
            return &effect->relations[i];
    if (effect->relation_count == EFFECT_RELATIONS_MAX) {
        effect->more_relations = true;
        return banyan_arena_zalloc(work->arena, sizeof(struct effect_relation));
    }
    effect->relations[effect->relation_count] =
        (struct effect_relation){.name = name, .rows = CATALOG_UNKNOWN, .bytes = CATALOG_UNKNOWN};
    return &effect->relations[effect->relation_count++];
}

struct effect_relation *effect_lock(struct effect_work *work, const struct catalog_table *table, enum effect_lock lock)
{
    struct effect_relation *relation = effect_named(work, table->shown);

    if (lock > relation->lock)
        relation->lock = lock;
    relation->rows = table->made_here ? 0 : table->rows;
    relation->bytes = table->made_here ? 0 : table->bytes;
    relation->made_here = table->made_here;
    relation->is_index = table->kind == 'i' || table->kind == 'I';
    return relation;
}

struct effect_relation *effect_lock_index(struct effect_work *work, const struct catalog_table *table,
                                          const struct catalog_index *index, enum effect_lock lock)
{
    struct effect_relation *relation = effect_named(work, index->name);

    if (lock > relation->lock)
        relation->lock = lock;
    relation->is_index = true;
    relation->bytes = index->bytes;
    relation->made_here = table->made_here;
    return relation;
}

void effect_lock_indexes(struct effect_work *work, const struct catalog_table *table, enum effect_lock lock)
{
    for (size_t i = 0; i < table->index_count; i++)
        effect_lock_index(work, table, &table->indexes[i], lock);
}

static void raise_to(enum effect_certainty *certainty, enum effect_certainty to)
{
    if (to == EFFECT_YES || *certainty == EFFECT_NO)
        *certainty = to;
}

void effect_scan(struct effect_work *work, const struct catalog_table *table, enum effect_certainty certainty)
{
    if (!effect_is_partitioned(table))
        raise_to(&effect_lock(work, table, EFFECT_LOCK_NONE)->scan, certainty);
}

void effect_scan_by_plan(struct effect_work *work, const struct catalog_table *table)
{
    struct effect_relation *relation;

    if (effect_is_partitioned(table))
        return;
    relation = effect_lock(work, table, EFFECT_LOCK_NONE);
    relation->scan_by_plan |= relation->scan == EFFECT_NO;
    raise_to(&relation->scan, EFFECT_PERHAPS);
}

void effect_build(struct effect_work *work, const struct catalog_table *table, struct banyan_str name)
{
    struct effect_relation *relation;

    effect_scan(work, table, EFFECT_YES);
    relation = effect_named(work, name);
    relation->is_index = true;
    relation->build = EFFECT_YES;
    relation->made_here = table->made_here;
    relation->rows = table->made_here ? 0 : table->rows;
}

void effect_rewrite(struct effect_work *work, const struct catalog_table *table, enum effect_certainty certainty)
{
    if (certainty == EFFECT_NO || effect_is_partitioned(table))
        return;
    raise_to(&effect_lock(work, table, EFFECT_ACCESS_EXCLUSIVE)->rewrite, certainty);
    effect_scan(work, table, certainty);
    for (size_t i = 0; i < table->index_count; i++) {
        struct effect_relation *index = effect_lock_index(work, table, &table->indexes[i], EFFECT_ACCESS_EXCLUSIVE);

        /* One that is dropped and made again has no new file: it is another index. */
        if (index->build == EFFECT_NO)
            raise_to(&index->rewrite, certainty);
        raise_to(&index->build, certainty);
    }
}

enum effect_certainty effect_has_rows(const struct catalog_table *table)
{
    if (table->made_here)
        return EFFECT_NO;
    if (!table->known)
        return EFFECT_PERHAPS;
    return table->bytes > 0 ? EFFECT_YES : EFFECT_NO;
}

/* ---- finding ---- */

static struct catalog_table *find(struct effect_work *work, const char *schema, const char *name, bool missing_ok)
{
    struct catalog_table *table = NULL;

    if (work->st != BANYAN_OK)
        return NULL;
    work->st = catalog_table(work->catalog, banyan_str_of(schema), banyan_str_of(name), &table, work->err);
    if (work->st == BANYAN_OK && table == NULL && !missing_ok)
        effect_fails(work, "relation \"%s\" does not exist", name);
    return table;
}

struct catalog_table *effect_find(struct effect_work *work, const PgQuery__RangeVar *name, bool missing_ok)
{
    return find(work, name->schemaname, name->relname, missing_ok);
}

struct catalog_table *effect_find_list(struct effect_work *work, PgQuery__Node *const *names, size_t count,
                                       bool missing_ok)
{
    if (count == 0 || count > 3 || names[count - 1]->node_case != PG_QUERY__NODE__NODE_STRING) {
        effect_not_understood(work, "a name of an unknown form");
        return NULL;
    }
    return find(work, count > 1 ? names[count - 2]->string->sval : "", names[count - 1]->string->sval, missing_ok);
}

struct catalog_table *effect_by_oid(struct effect_work *work, uint32_t oid)
{
    struct catalog_table *table = NULL;

    if (work->st == BANYAN_OK && oid != 0)
        work->st = catalog_by_oid(work->catalog, oid, &table, work->err);
    return table;
}

struct banyan_str effect_new_name(struct effect_work *work, const struct catalog_table *table,
                                  struct banyan_str columns, const char *label)
{
    for (unsigned turn = 0; turn < 100; turn++) {
        char number[12] = "";
        struct catalog_table *there = NULL;
        struct banyan_str name;
        size_t rest, first = table->name.size, second = columns.size;

        if (turn > 0)
            (void)snprintf(number, sizeof(number), "%u", turn);
        rest = NAME_MAX_BYTES - strlen(label) - strlen(number) - 1 - (second > 0 ? 1 : 0);
        while (first + second > rest) /* the longer one is cut */
            *(first > second ? &first : &second) -= 1;
        name = banyan_arena_printf(work->arena, "%.*s%s%.*s_%s%s", (int)first, table->name.data, second > 0 ? "_" : "",
                                   (int)second, columns.data, label, number);
        if (work->st != BANYAN_OK || catalog_is_offline(work->catalog))
            return name;
        work->st = catalog_table(work->catalog, table->schema, name, &there, work->err);
        if (there == NULL)
            return table->shown.size == table->name.size
                       ? name
                       : banyan_arena_printf(work->arena, "%.*s.%s", (int)table->schema.size, table->schema.data,
                                             name.data);
    }
    return BANYAN_STR("");
}

/* ---- one statement ---- */

static void judge(struct effect_work *work)
{
    const PgQuery__Node *node = work->statement->tree;

    switch (node->node_case) {
    case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
        effect_alter_table(work, node->alter_table_stmt);
        break;
    case PG_QUERY__NODE__NODE_CREATE_STMT:
        effect_create_table(work, node->create_stmt);
        break;
    case PG_QUERY__NODE__NODE_DROP_STMT:
        effect_drop(work, node->drop_stmt);
        break;
    case PG_QUERY__NODE__NODE_INDEX_STMT:
        effect_create_index(work, node->index_stmt);
        break;
    case PG_QUERY__NODE__NODE_REINDEX_STMT:
        effect_reindex(work, node->reindex_stmt);
        break;
    case PG_QUERY__NODE__NODE_CLUSTER_STMT:
        effect_cluster(work, node->cluster_stmt);
        break;
    case PG_QUERY__NODE__NODE_RENAME_STMT:
        effect_rename(work, node->rename_stmt);
        break;
    case PG_QUERY__NODE__NODE_ALTER_DOMAIN_STMT:
        effect_domain(work, node->alter_domain_stmt);
        break;
    case PG_QUERY__NODE__NODE_SELECT_STMT:
    case PG_QUERY__NODE__NODE_INSERT_STMT:
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
    case PG_QUERY__NODE__NODE_DELETE_STMT:
    case PG_QUERY__NODE__NODE_COPY_STMT:
    case PG_QUERY__NODE__NODE_MERGE_STMT:
        effect_data(work, node);
        break;
    default:
        effect_other(work, node);
    }
}

enum banyan_status effect_of(const struct statement *statement, struct catalog *catalog, struct banyan_arena *arena,
                             struct effect *ret, struct banyan_error *err)
{
    struct effect_work work = {.statement = statement, .catalog = catalog, .arena = arena, .ret = ret, .err = err};

    *ret = (struct effect){.verdict = EFFECT_UNDERSTOOD, .why = BANYAN_STR("")};
    if (statement->tree == NULL)
        effect_not_understood(&work, "%.*s", (int)statement->why.size, statement->why.data);
    else
        judge(&work);
    return work.st;
}

int64_t effect_duration_us(const struct effect *effect)
{
    int64_t total_us = 0;

    for (size_t i = 0; i < effect->relation_count; i++) {
        const struct effect_relation *relation = &effect->relations[i];
        bool writes = relation->rewrite != EFFECT_NO || relation->build != EFFECT_NO;

        if ((!writes && relation->scan == EFFECT_NO) || relation->made_here)
            continue;
        if (relation->bytes == CATALOG_UNKNOWN) {
            if (relation->is_index) /* its size is its table's business */
                continue;
            return CATALOG_UNKNOWN;
        }
        total_us += relation->bytes / (writes ? WRITE_BYTES_A_SECOND / 1000000 : READ_BYTES_A_SECOND / 1000000);
    }
    return total_us;
}
