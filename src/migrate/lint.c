/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See lint.h: from effects to findings.  One statement may have several; the heaviest relation of each kind is named.
 * How they are printed is in lint_print.c.
 */
#include "migrate/lint.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "migrate/node.h"

enum {
    FINDINGS_EACH_MAX = 8,
    TEXT_MAX = 1024,
    ROWS_BYTES_SMALL = 4 * 1024 * 1024, /* of a table that is changed in some tens of milliseconds */
};

struct linting {
    struct banyan_arena *arena;
    struct lint_report *report;
    const struct statement *statement;
    bool holds_strong_lock; /* an earlier statement of the same BEGIN … COMMIT did */
    bool in_transaction;
    bool has_lock_timeout;
};

/* A text that is full may end within a character. */
static void cut_whole(char *text, size_t full)
{
    size_t size = strlen(text);

    if (size < full)
        return;
    while (size > 0 && ((unsigned char)text[size - 1] & 0xC0) == 0x80)
        size--;
    text[size - (size > 0 && (unsigned char)text[size - 1] >= 0xC0)] = '\0';
}

static void add(struct linting *all, const char *rule, enum lint_severity severity, const char *safe_way,
                const char *format, ...) BANYAN_PRINTF_LIKE(5, 6);
static void add(struct linting *all, const char *rule, enum lint_severity severity, const char *safe_way,
                const char *format, ...)
{
    char text[TEXT_MAX];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments); /* over-long texts are cut */
    va_end(arguments);
    cut_whole(text, sizeof(text) - 1);
    all->report->findings[all->report->count++] = (struct lint_finding){
        .rule = rule,
        .severity = severity,
        .place = all->statement->place,
        .message = banyan_arena_str(all->arena, banyan_str_of(text)),
        .safe_way = banyan_str_of(safe_way),
    };
}

/* " (1.2 GB, about 20 s)"; empty where nothing is known. */
static const char *size_text(struct linting *all, const struct effect *effect, const struct effect_relation *relation)
{
    int64_t us = effect_duration_us(effect);

    if (relation->bytes == CATALOG_UNKNOWN || us == CATALOG_UNKNOWN)
        return " (its size is not known here)";
    if (us < 1000000)
        return banyan_arena_printf(all->arena, " (%lld kB, less than a second)", (long long)(relation->bytes >> 10))
            .data;
    return banyan_arena_printf(all->arena, " (%lld MB, about %lld s)", (long long)(relation->bytes >> 20),
                               (long long)((us + 999999) / 1000000))
        .data;
}

/* The strongest lock among the relations of which *pick* says yes. */
static const struct effect_relation *heaviest(const struct effect *effect,
                                              enum effect_certainty (*pick)(const struct effect_relation *))
{
    const struct effect_relation *found = NULL;

    for (size_t i = 0; i < effect->relation_count; i++) {
        const struct effect_relation *relation = &effect->relations[i];

        if (relation->made_here || pick(relation) == EFFECT_NO)
            continue;
        if (found == NULL || pick(relation) == EFFECT_YES || relation->lock > found->lock)
            found = relation;
    }
    return found;
}

static enum effect_certainty is_rewritten(const struct effect_relation *relation)
{
    return relation->is_index ? EFFECT_NO : relation->rewrite;
}

static enum effect_certainty is_scanned(const struct effect_relation *relation)
{
    bool blocks = relation->lock >= EFFECT_SHARE && !relation->is_index && relation->rewrite == EFFECT_NO;

    return blocks && !relation->scan_by_plan ? relation->scan : EFFECT_NO;
}

static enum effect_certainty is_built(const struct effect_relation *relation)
{
    return relation->build;
}

static bool blocks_writes(const struct effect *effect)
{
    for (size_t i = 0; i < effect->relation_count; i++)
        if (effect->relations[i].lock >= EFFECT_SHARE && !effect->relations[i].is_index &&
            !effect->relations[i].made_here)
            return true;
    return false;
}

static enum lint_severity severity_of(enum effect_certainty certainty)
{
    return certainty == EFFECT_YES ? LINT_ERROR : LINT_WARNING;
}

static bool changes_type(const struct linting *all)
{
    const PgQuery__Node *tree = all->statement->tree;
    const PgQuery__AlterTableStmt *alter =
        tree != NULL && tree->node_case == PG_QUERY__NODE__NODE_ALTER_TABLE_STMT ? tree->alter_table_stmt : NULL;

    return alter != NULL && alter->n_cmds == 1 &&
           alter->cmds[0]->alter_table_cmd->subtype == PG_QUERY__ALTER_TABLE_TYPE__AT_AlterColumnType;
}

/* UPDATE or DELETE without WHERE. */
static bool changes_all_rows(const struct linting *all)
{
    const PgQuery__Node *tree = all->statement->tree;

    if (tree == NULL)
        return false;
    if (tree->node_case == PG_QUERY__NODE__NODE_UPDATE_STMT)
        return tree->update_stmt->where_clause == NULL && tree->update_stmt->n_from_clause == 0;
    return tree->node_case == PG_QUERY__NODE__NODE_DELETE_STMT && tree->delete_stmt->where_clause == NULL;
}

static void find_all_rows(struct linting *all, const struct effect *effect)
{
    for (size_t i = 0; i < effect->relation_count && changes_all_rows(all); i++) {
        const struct effect_relation *relation = &effect->relations[i];
        bool small = relation->bytes != CATALOG_UNKNOWN && relation->bytes <= ROWS_BYTES_SMALL;

        if (relation->is_index || relation->made_here || relation->lock != EFFECT_ROW_EXCLUSIVE || small)
            continue;
        add(all, "all-rows-at-once", LINT_WARNING,
            "batches of your own by key, each committed; of an UPDATE `banyan migrate start` makes them",
            "every row of \"%.*s\" is changed in one transaction: who writes one of them waits until its end, and so "
            "do "
            "vacuum and replicas",
            (int)relation->name.size, relation->name.data);
        return;
    }
}

static void find_heavy(struct linting *all, const struct effect *effect)
{
    const struct effect_relation *relation = heaviest(effect, is_rewritten);
    bool destroys = all->statement->tree != NULL && effect->removes_data;

    if (relation != NULL && !destroys) {
        add(all, "rewrite-under-lock", severity_of(relation->rewrite),
            "add a new column of the wanted form, fill it in small batches, and switch over to it",
            "the table \"%.*s\" %s written anew under %s: %s%s", (int)relation->name.size, relation->name.data,
            relation->rewrite == EFFECT_YES ? "is" : "may be", effect_lock_name(relation->lock),
            effect_lock_stops(relation->lock), size_text(all, effect, relation));
        return;
    }
    relation = heaviest(effect, is_built);
    if (relation != NULL && blocks_writes(effect) && !destroys) {
        add(all, "index-build-under-lock", severity_of(relation->build),
            "CREATE INDEX CONCURRENTLY outside of a transaction; for a key, then ADD CONSTRAINT … USING INDEX",
            "the index \"%.*s\" is built while writes to its table wait", (int)relation->name.size,
            relation->name.data);
        return;
    }
    relation = heaviest(effect, is_scanned);
    if (relation != NULL && !destroys)
        add(all, "scan-under-lock", severity_of(relation->scan),
            changes_type(all) ? "a CHECK names the column: drop it, change the type and add it again NOT VALID in one "
                                "transaction, then "
                                "VALIDATE CONSTRAINT in another"
                              : "ADD CONSTRAINT … NOT VALID, then VALIDATE CONSTRAINT in a transaction of its own; SET "
                                "NOT NULL after "
                                "a valid CHECK (… IS NOT NULL)",
            "the table \"%.*s\" %s read from end to end under %s: %s%s", (int)relation->name.size, relation->name.data,
            relation->scan == EFFECT_YES ? "is" : "may be", effect_lock_name(relation->lock),
            effect_lock_stops(relation->lock), size_text(all, effect, relation));
}

static const struct effect_relation *strongest(const struct effect *effect)
{
    const struct effect_relation *found = NULL;

    for (size_t i = 0; i < effect->relation_count; i++) {
        const struct effect_relation *relation = &effect->relations[i];

        if (!relation->made_here && !relation->is_index && (found == NULL || relation->lock > found->lock))
            found = relation;
    }
    return found;
}

static void find_lock(struct linting *all, const struct effect *effect)
{
    const struct effect_relation *relation = strongest(effect);
    struct banyan_buf others = BANYAN_BUF_INIT(TEXT_MAX / 2);

    if (relation == NULL || relation->lock < EFFECT_SHARE)
        return;
    for (size_t i = 0; i < effect->relation_count; i++) {
        const struct effect_relation *other = &effect->relations[i];

        if (other != relation && !other->is_index && other->lock >= EFFECT_SHARE)
            banyan_buf_printf(&others, "%s\"%.*s\"", others.size == 0 ? "; also on " : ", ", (int)other->name.size,
                              other->name.data);
    }
    if (!all->has_lock_timeout)
        add(all, "strong-lock", LINT_NOTE, "SET lock_timeout before it, and try again where it fails",
            "%s on \"%.*s\"%s: %s, and while it waits for its lock everybody behind it waits, too",
            effect_lock_name(relation->lock), (int)relation->name.size, relation->name.data,
            others.size > 0 ? others.data : "", effect_lock_stops(relation->lock));
    banyan_buf_release(&others);
    all->holds_strong_lock |= all->in_transaction;
}

static void find_rest(struct linting *all, const struct effect *effect)
{
    bool data = all->statement->kind == STATEMENT_DML;

    if (effect->outside_transaction && all->in_transaction)
        add(all, "not-in-transaction", LINT_ERROR, "put it into a file of its own, without BEGIN",
            "this statement cannot run inside a transaction block");
    if (effect->leaves_invalid)
        add(all, "may-leave-invalid-index", LINT_NOTE,
            "look at pg_index.indisvalid afterwards; repair with REINDEX INDEX CONCURRENTLY, never trust IF NOT EXISTS",
            "where it is cancelled or fails it leaves an invalid index behind");
    if (effect->removes_data && !data)
        add(all, "removes-data", LINT_WARNING, "first stop all code that reads it, and keep a copy",
            "what it removes cannot be brought back by a rollback");
    else if (effect->breaks_old_code)
        add(all, "breaks-running-code", LINT_WARNING,
            "let both forms live until no old code is left, then remove the old one",
            "code that runs now and knows the old name or type fails");
    if (data && all->holds_strong_lock)
        add(all, "data-in-ddl-transaction", LINT_ERROR, "commit first; fill in small batches outside of it",
            "rows are changed while the transaction still holds the strong lock of an earlier statement");
    if (effect->more_relations)
        add(all, "too-many-relations", LINT_WARNING, "split the statement",
            "it touches more than %d relations; not all of them were judged", EFFECT_RELATIONS_MAX);
}

static void judge(struct linting *all, const struct effect *effect)
{
    if (effect->verdict == EFFECT_NOT_UNDERSTOOD) {
        add(all, "not-understood", LINT_WARNING,
            "measure it with `banyan migrate explain-lock`, then write \"-- banyan: allow\" above it",
            "not understood, so not called safe: %.*s", (int)effect->why.size, effect->why.data);
        return;
    }
    if (effect->verdict == EFFECT_FAILS) {
        add(all, "will-fail", LINT_ERROR, "", "the server will refuse it: %.*s", (int)effect->why.size,
            effect->why.data);
        return;
    }
    find_heavy(all, effect);
    find_lock(all, effect);
    find_rest(all, effect);
    find_all_rows(all, effect);
}

static bool stays_open(const PgQuery__TransactionStmt *statement, bool open)
{
    switch (statement->kind) {
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START:
        return true;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO:
        return open;
    default:
        return open && statement->chain;
    }
}

/* Set to nothing, or to 0, it does not end a wait. */
static bool has_limit(const PgQuery__VariableSetStmt *statement)
{
    const PgQuery__AConst *value =
        statement->n_args == 1 && statement->args[0]->node_case == PG_QUERY__NODE__NODE_A_CONST
            ? statement->args[0]->a_const
            : NULL;

    if (value == NULL)
        return false;
    if (value->val_case == PG_QUERY__A__CONST__VAL_IVAL)
        return value->ival->ival > 0;
    return value->val_case != PG_QUERY__A__CONST__VAL_SVAL || strspn(value->sval->sval, " 0") == 0;
}

/* BEGIN, COMMIT, SET lock_timeout. */
static void follow(struct linting *all)
{
    const PgQuery__Node *tree = all->statement->tree;

    if (tree != NULL && tree->node_case == PG_QUERY__NODE__NODE_TRANSACTION_STMT) {
        bool chained = tree->transaction_stmt->chain;

        all->in_transaction = stays_open(tree->transaction_stmt, all->in_transaction);
        all->holds_strong_lock &= all->in_transaction && !chained;
    }
    if (tree != NULL && tree->node_case == PG_QUERY__NODE__NODE_VARIABLE_SET_STMT &&
        strcmp(tree->variable_set_stmt->name, "lock_timeout") == 0)
        all->has_lock_timeout = has_limit(tree->variable_set_stmt);
}

/* A statement that is allowed as it is keeps its findings, as notes. */
static void soften(struct lint_report *report, size_t from)
{
    for (size_t i = from; i < report->count; i++)
        report->findings[i].severity = LINT_NOTE;
}

enum banyan_status lint_migration(const struct migration *migration, struct catalog *catalog,
                                  struct banyan_arena *arena, struct lint_report *ret, struct banyan_error *err)
{
    struct linting all = {.arena = arena, .report = ret};
    enum banyan_status st = BANYAN_OK;

    *ret = (struct lint_report){.count = 0};
    ret->findings =
        banyan_arena_zalloc(arena, (migration->statement_count * FINDINGS_EACH_MAX + 1) * sizeof(*ret->findings));
    ret->effects = banyan_arena_zalloc(arena, (migration->statement_count + 1) * sizeof(*ret->effects));
    for (size_t i = 0; i < migration->statement_count && st == BANYAN_OK; i++) {
        size_t before = ret->count;

        all.statement = &migration->statements[i];
        st = effect_of(all.statement, catalog, arena, &ret->effects[i], err);
        if (st != BANYAN_OK)
            break;
        follow(&all);
        judge(&all, &ret->effects[i]);
        if (all.statement->allowed)
            soften(ret, before);
        st = effect_follow(all.statement, catalog, err);
    }
    return st;
}
