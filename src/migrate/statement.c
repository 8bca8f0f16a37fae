/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See statement.h.
 *
 *   source ──scan──▶ comments ──▶ directives, and where "allow" and "rollback" stand
 *          └─split─▶ pieces ──parse──▶ statements
 *
 * Only comments that the scanner calls so are looked at: what stands in a literal is no directive.
 */
#include "migrate/statement.h"

#include <openssl/evp.h>
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "migrate/node.h"
#include "migrate/source.h"

enum {
    SOURCE_BYTES_MAX = 64 * 1024 * 1024, /* places of the parser are int */
    MARKS_MAX = 1024,
    NAME_BYTES_MAX = 63, /* of an identifier at the server */
};

static const char prefix[] = "banyan:";

/* "allow" and "rollback", by place. */
struct mark {
    size_t offset;
    bool rollback;
};

struct parsing {
    struct migration *migration;
    struct banyan_error *err;
    PgQuery__ScanResult *scan;
    struct mark marks[MARKS_MAX];
    size_t mark_count;
    size_t directive_capacity;
    struct banyan_str text; /* the source without its byte order mark, byte by byte in the same places */
    struct source_cursor cursor;
    size_t token; /* the first that is not in a piece yet */
};

/* ---- places ---- */

static struct statement_place place_of(struct parsing *parsing, size_t offset, size_t size)
{
    return source_place(&parsing->cursor, offset, size);
}

static enum banyan_status refuse(struct parsing *parsing, size_t offset, const char *what)
{
    struct statement_place place = place_of(parsing, offset, 0);

    return banyan_error_set(parsing->err, BANYAN_INVALID, "%s:%u:%u: %s", parsing->migration->path, place.line,
                            place.column, what);
}

/* Of a text that begins at *offset* of the file; a complaint about a part of a directive is told at the directive. */
static enum banyan_status refuse_complaint(struct parsing *parsing, size_t offset, const struct source_complaint *found)
{
    struct statement_place place;

    if (found->st == BANYAN_OK)
        return BANYAN_OK;
    place = place_of(parsing, offset, 0);
    (void)banyan_error_set(parsing->err, found->st, "%s:%u:%u: %s", parsing->migration->path, place.line, place.column,
                           found->message); /* it is returned */
    if (found->hint != NULL)
        banyan_error_hint(parsing->err, "%s", found->hint);
    return found->st;
}

/* ---- small texts ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' ||
           (unsigned char)c >= 0x80;
}

static struct banyan_str trimmed(struct banyan_str text)
{
    while (text.size > 0 && is_space(text.data[0]))
        text = (struct banyan_str){text.data + 1, text.size - 1};
    while (text.size > 0 && is_space(text.data[text.size - 1]))
        text.size--;
    return text;
}

static struct banyan_str behind(struct banyan_str text, size_t size)
{
    return (struct banyan_str){text.data + size, text.size - size};
}

/* Takes the word at the front. */
static struct banyan_str take_word(struct banyan_str *text)
{
    struct banyan_str word = {text->data, 0};

    while (word.size < text->size && is_word(text->data[word.size]))
        word.size++;
    *text = trimmed(behind(*text, word.size));
    return word;
}

/* At most as long as a name is at the server, which cuts what is longer; whole characters. */
static size_t name_size(const char *name, size_t size)
{
    size_t cut = NAME_BYTES_MAX;

    if (size <= cut)
        return size;
    while (cut > 0 && ((unsigned char)name[cut] & 0xC0) == 0x80)
        cut--;
    return cut;
}

/* Takes an identifier as SQL has it: folded to lower case unless it is quoted.  Data NULL: there is none. */
static struct banyan_str take_identifier(struct banyan_str *text, struct banyan_arena *arena)
{
    struct banyan_str none = {NULL, 0};
    char *name = banyan_arena_alloc(arena, text->size + 1);
    size_t at = 0, size = 0;

    if (text->size > 0 && text->data[0] == '"') {
        for (at = 1;; at++) {
            if (at == text->size)
                return none;
            if (text->data[at] == '"' && (at + 1 == text->size || text->data[at + 1] != '"'))
                break;
            at += text->data[at] == '"';
            name[size++] = text->data[at];
        }
        at++;
    } else {
        for (; at < text->size && is_word(text->data[at]); at++)
            name[size++] =
                (char)(text->data[at] >= 'A' && text->data[at] <= 'Z' ? text->data[at] + 32 : text->data[at]);
    }
    *text = behind(*text, at);
    return size == 0 ? none : (struct banyan_str){name, name_size(name, size)};
}

/* ---- directives ---- */

/* [schema.]table.column */
static bool take_target(struct banyan_str *text, struct directive *directive, struct banyan_arena *arena)
{
    struct banyan_str names[3];
    size_t count = 0;

    for (;;) {
        names[count] = take_identifier(text, arena);
        if (names[count++].data == NULL)
            return false;
        if (count == 3 || text->size == 0 || text->data[0] != '.')
            break;
        *text = behind(*text, 1);
    }
    *text = trimmed(*text);
    if (count < 2)
        return false;
    directive->schema = count == 3 ? names[0] : BANYAN_STR("");
    directive->table = names[count - 2];
    directive->column = names[count - 1];
    return true;
}

static bool take_equals(struct banyan_str *text)
{
    if (text->size == 0 || text->data[0] != '=')
        return false;
    *text = trimmed(behind(*text, 1));
    return text->size > 0;
}

static PgQuery__ScanResult *scan_of(const char *text, struct source_complaint *ret_failed)
{
    PgQueryScanResult result = pg_query_scan(text);
    PgQuery__ScanResult *scan = NULL;

    *ret_failed = (struct source_complaint){.st = BANYAN_OK};
    if (result.error == NULL)
        scan = pg_query__scan_result__unpack(NULL, result.pbuf.len, (const uint8_t *)result.pbuf.data);
    if (scan == NULL) {
        const char *why = result.error == NULL ? "the scanner's answer cannot be read" : result.error->message;
        int characters = result.error == NULL ? 0 : result.error->cursorpos;

        ret_failed->st = BANYAN_INVALID;
        ret_failed->hint = strncmp(why, "unterminated", 12) == 0
                               ? "it begins here and is never closed: all behind it would be a part of it"
                               : "the scanner of PostgreSQL cannot read on from here";
        (void)snprintf(ret_failed->message, sizeof(ret_failed->message), "%s", why); /* over-long texts are cut */
        for (; characters > 1 && text[ret_failed->offset] != '\0'; characters--)     /* it counts characters, from 1 */
            while (((unsigned char)text[++ret_failed->offset] & 0xC0) == 0x80)
                ;
    }
    pg_query_free_scan_result(result);
    return scan;
}

static PgQuery__ParseResult *parse(const char *text, struct banyan_arena *arena, struct banyan_str *ret_why)
{
    PgQueryProtobufParseResult result = pg_query_parse_protobuf(text);
    PgQuery__ParseResult *tree = NULL;

    *ret_why = BANYAN_STR("the parser gave no statement");
    if (result.error != NULL)
        *ret_why = banyan_arena_str(arena, banyan_str_of(result.error->message));
    else
        tree = pg_query__parse_result__unpack(NULL, result.parse_tree.len, (const uint8_t *)result.parse_tree.data);
    pg_query_free_protobuf_parse_result(result);
    return tree;
}

/* What the text of a directive must not have, told at the directive. */
static enum banyan_status check_words(struct parsing *parsing, size_t offset, const char *text)
{
    struct source_complaint found;
    PgQuery__ScanResult *scan = scan_of(text, &found);

    if (scan != NULL)
        found = source_check_tokens(banyan_str_of(text), scan, SOURCE_NESTING_DIRECTIVE_MAX);
    if (scan != NULL)
        pg_query__scan_result__free_unpacked(scan, NULL);
    return refuse_complaint(parsing, offset, &found);
}

/* In parentheses it is one expression and nothing else; without them its own close no other. */
static enum banyan_status check_expression(struct parsing *parsing, size_t offset, struct banyan_str expression)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    enum banyan_status st = BANYAN_OK;

    for (int i = 0; i < 2 && st == BANYAN_OK; i++) {
        struct banyan_str query = banyan_arena_printf(&arena, "SELECT %s%.*s\n%s", i == 0 ? "" : "(",
                                                      (int)expression.size, expression.data, i == 0 ? "" : ")");
        PgQuery__ParseResult *tree = NULL;
        struct banyan_str why = BANYAN_STR("");

        st = check_words(parsing, offset, query.data);
        if (st == BANYAN_OK)
            tree = parse(query.data, &arena, &why);
        if (st == BANYAN_OK && (tree == NULL || tree->n_stmts != 1 || !node_is_one_expression(tree->stmts[0]->stmt))) {
            st = refuse(parsing, offset, "what is to be filled in is not one expression");
            if (tree == NULL)
                banyan_error_detail(parsing->err, "%.*s", (int)why.size, why.data);
        }
        if (tree != NULL)
            pg_query__parse_result__free_unpacked(tree, NULL);
    }
    banyan_arena_release(&arena);
    return st;
}

static struct directive *push_directive(struct parsing *parsing)
{
    struct migration *migration = parsing->migration;

    if (migration->directive_count == parsing->directive_capacity) {
        parsing->directive_capacity = parsing->directive_capacity == 0 ? 8 : 2 * parsing->directive_capacity;
        migration->directives =
            alloc_resized(migration->directives, parsing->directive_capacity, sizeof(*migration->directives));
    }
    return &migration->directives[migration->directive_count++];
}

static enum banyan_status add_mark(struct parsing *parsing, size_t offset, bool rollback, struct banyan_str rest)
{
    if (rest.size > 0)
        return refuse(parsing, offset, "nothing may stand behind this word");
    if (parsing->mark_count == MARKS_MAX)
        return refuse(parsing, offset, "too many directives");
    parsing->marks[parsing->mark_count++] = (struct mark){offset, rollback};
    return BANYAN_OK;
}

static enum banyan_status add_directive(struct parsing *parsing, size_t offset, enum directive_kind kind,
                                        struct banyan_str text)
{
    struct directive directive = {.kind = kind, .value = BANYAN_STR("")};
    enum banyan_status st = BANYAN_OK;

    directive.place = place_of(parsing, offset, text.size);
    if (!take_target(&text, &directive, &parsing->migration->arena))
        return refuse(parsing, offset, "this directive needs table.column or schema.table.column");
    if (kind == DIRECTIVE_LOSSY)
        return text.size == 0 ? (*push_directive(parsing) = directive, BANYAN_OK)
                              : refuse(parsing, offset, "nothing may stand behind the column");
    if (!take_equals(&text))
        return refuse(parsing, offset, "this directive needs \"= value\" behind the column");
    directive.value = text;
    if (kind == DIRECTIVE_BACKFILL) {
        st = check_expression(parsing, offset, text);
        if (memmem(text.data, text.size, "--", 2) != NULL) /* a comment at its end ends where it ends */
            directive.value = banyan_arena_printf(&parsing->migration->arena, "%.*s\n", (int)text.size, text.data);
    } else {
        if (text.size < 3 || text.data[0] != '\'' || text.data[text.size - 1] != '\'' ||
            memchr(text.data + 1, '\'', text.size - 2) != NULL)
            return refuse(parsing, offset, "a zone is a name in single quotes: 'Europe/Berlin'");
        directive.value = (struct banyan_str){text.data + 1, text.size - 2};
    }
    if (st == BANYAN_OK)
        *push_directive(parsing) = directive;
    return st;
}

static enum banyan_status read_comment(struct parsing *parsing, size_t offset, struct banyan_str text)
{
    struct banyan_str word;

    text = trimmed(text);
    if (text.size < sizeof(prefix) - 1 || memcmp(text.data, prefix, sizeof(prefix) - 1) != 0)
        return BANYAN_OK;
    text = trimmed(behind(text, sizeof(prefix) - 1));
    word = take_word(&text);
    if (banyan_str_equal(word, BANYAN_STR("backfill")))
        return add_directive(parsing, offset, DIRECTIVE_BACKFILL, text);
    if (banyan_str_equal(word, BANYAN_STR("zone")))
        return add_directive(parsing, offset, DIRECTIVE_ZONE, text);
    if (banyan_str_equal(word, BANYAN_STR("lossy")))
        return add_directive(parsing, offset, DIRECTIVE_LOSSY, text);
    if (banyan_str_equal(word, BANYAN_STR("allow")))
        return add_mark(parsing, offset, false, text);
    if (banyan_str_equal(word, BANYAN_STR("rollback")))
        return add_mark(parsing, offset, true, text);
    return refuse(parsing, offset, "unknown directive; known are backfill, zone, lossy, allow, rollback");
}

static bool is_comment(const PgQuery__ScanToken *token)
{
    return token->token == PG_QUERY__TOKEN__SQL_COMMENT || token->token == PG_QUERY__TOKEN__C_COMMENT;
}

static enum banyan_status read_comments(struct parsing *parsing)
{
    struct banyan_str source = parsing->migration->source;
    enum banyan_status st = BANYAN_OK;

    for (size_t i = 0; i < parsing->scan->n_tokens && st == BANYAN_OK; i++) {
        const PgQuery__ScanToken *token = parsing->scan->tokens[i];
        size_t start = (size_t)token->start, end = (size_t)token->end;

        if (!is_comment(token) || end < start + 2 || end > source.size)
            continue;
        bool block = token->token == PG_QUERY__TOKEN__C_COMMENT;
        struct banyan_str text = {source.data + start + 2, end - start - 2 - (block && end >= start + 4 ? 2 : 0)};
        st = read_comment(parsing, start, text);
    }
    return st;
}

/* ---- statements ---- */

static void parse_statement(struct migration *migration, struct statement *statement)
{
    struct banyan_str text = banyan_arena_str(&migration->arena, statement->text);
    PgQuery__ParseResult *tree = parse(text.data, &migration->arena, &statement->why);

    statement->kind = STATEMENT_UNKNOWN;
    if (tree != NULL && tree->n_stmts == 1 && tree->stmts[0]->stmt != NULL) {
        statement->tree = tree->stmts[0]->stmt;
        statement->owned = tree;
        statement->kind = node_statement_kind(tree->stmts[0]->stmt);
        statement->why = BANYAN_STR("");
    } else if (tree != NULL) {
        pg_query__parse_result__free_unpacked(tree, NULL);
    }
}

/* The first token of a piece that is no comment; false: there is none.  Pieces come in their order. */
static bool first_token(struct parsing *parsing, size_t start, size_t end, size_t *ret)
{
    for (; parsing->token < parsing->scan->n_tokens; parsing->token++) {
        const PgQuery__ScanToken *token = parsing->scan->tokens[parsing->token];

        if ((size_t)token->start >= end)
            return false;
        if ((size_t)token->start >= start && !is_comment(token) && token->token != PG_QUERY__TOKEN__ASCII_59) {
            *ret = (size_t)token->start;
            return true;
        }
    }
    return false;
}

/* A mark counts for the statement that follows it next; "rollback" for all that follow. */
static void apply_marks(const struct parsing *parsing, struct statement *statement, size_t before)
{
    for (size_t i = 0; i < parsing->mark_count; i++) {
        const struct mark *mark = &parsing->marks[i];

        if (mark->offset >= statement->place.offset)
            continue;
        if (mark->rollback)
            statement->of_rollback = true;
        else if (mark->offset >= before)
            statement->allowed = true;
    }
}

/* What stands between *start* and *end*; nothing where that is only comments and semicolons. */
static void add_piece(struct parsing *parsing, size_t start, size_t end, size_t *before)
{
    struct migration *migration = parsing->migration;
    struct statement *statement = &migration->statements[migration->statement_count];
    size_t offset = 0;

    if (!first_token(parsing, start, end, &offset))
        return;
    while (end > offset && (is_space(migration->source.data[end - 1]) || migration->source.data[end - 1] == ';'))
        end--;
    statement->text = trimmed((struct banyan_str){migration->source.data + offset, end - offset});
    statement->place = place_of(parsing, offset, statement->text.size);
    apply_marks(parsing, statement, *before);
    parse_statement(migration, statement);
    *before = offset;
    migration->statement_count++;
}

/* The scanner's split leaves out what has no keyword of its grammar in it; that is not to be lost. */
static enum banyan_status read_statements(struct parsing *parsing)
{
    struct migration *migration = parsing->migration;
    PgQuerySplitResult split = pg_query_split_with_scanner(parsing->text.data);
    size_t before = 0, end = 0;
    enum banyan_status st = BANYAN_OK;

    if (split.error != NULL) {
        st = refuse(parsing, split.error->cursorpos > 0 ? (size_t)split.error->cursorpos - 1 : 0, split.error->message);
    } else {
        migration->statements = alloc_zeroed(2 * (size_t)split.n_stmts + 1, sizeof(*migration->statements));
        for (int i = 0; i < split.n_stmts; i++) {
            size_t start = (size_t)split.stmts[i]->stmt_location;

            add_piece(parsing, end, start, &before);
            end = start + (size_t)split.stmts[i]->stmt_len;
            add_piece(parsing, start, end, &before);
        }
        add_piece(parsing, end, migration->source.size, &before);
    }
    pg_query_free_split_result(split);
    return st;
}

/* ---- the file ---- */

/* "2024_11_01_001_add_venue.sql" is version 2024_11_01_001, "add venue"; "V7__add_venue.sql" is V7; a name without
 * digits in front is the version itself. */
static void name_migration(struct migration *migration)
{
    const char *slash = strrchr(migration->path, '/');
    const char *name = slash == NULL ? migration->path : slash + 1;
    size_t size = strlen(name), end = 0;
    const char *two = strstr(name, "__");
    char *description;

    if (size > 4 && strcmp(name + size - 4, ".sql") == 0)
        size -= 4;
    if (two != NULL && (size_t)(two - name) < size) {
        end = (size_t)(two - name);
    } else {
        while (end < size && (is_digit(name[end]) || (name[end] == '_' && end > 0)))
            end++;
        if (end < size)
            while (end > 0 && name[end - 1] != '_')
                end--;
        while (end > 0 && name[end - 1] == '_')
            end--;
        end = end == 0 ? size : end;
    }
    migration->version = banyan_arena_str(&migration->arena, (struct banyan_str){name, end});
    while (end < size && name[end] == '_')
        end++;
    migration->description = banyan_arena_str(&migration->arena, (struct banyan_str){name + end, size - end});
    description = (char *)migration->description.data;
    for (size_t i = 0; i < migration->description.size; i++)
        if (description[i] == '_')
            description[i] = ' ';
}

/* Where the scanner failed, what stands before that place may say why: rows behind a COPY have quotes that do not end.
 */
static enum banyan_status explain_failure(struct parsing *parsing, const struct source_complaint *failed)
{
    struct banyan_str front =
        banyan_arena_str(&parsing->migration->arena, (struct banyan_str){parsing->text.data, failed->offset});
    struct source_complaint found = {.st = BANYAN_OK}, again;
    PgQuery__ScanResult *scan = scan_of(front.data, &again);

    if (scan != NULL)
        found = source_check_tokens(front, scan, SOURCE_NESTING_MAX);
    if (scan != NULL)
        pg_query__scan_result__free_unpacked(scan, NULL);
    if (found.st == BANYAN_OK)
        found = *failed;
    return refuse_complaint(parsing, found.offset, &found);
}

static enum banyan_status scan_source(struct parsing *parsing)
{
    struct source_complaint found;

    parsing->scan = scan_of(parsing->text.data, &found);
    if (parsing->scan == NULL)
        return explain_failure(parsing, &found);
    found = source_check_tokens(parsing->text, parsing->scan, SOURCE_NESTING_MAX);
    return refuse_complaint(parsing, found.offset, &found);
}

/* The parser takes a byte order mark for a part of the first word. */
static void read_text(struct parsing *parsing)
{
    struct banyan_str source = parsing->migration->source;
    size_t mark = source_mark_size(source);

    parsing->cursor.text = parsing->text = source;
    if (mark > 0) {
        parsing->text = banyan_arena_str(&parsing->migration->arena, source);
        memset((char *)parsing->text.data, ' ', mark); /* a copy of our own */
    }
}

enum banyan_status migration_parse(const char *path, struct banyan_str source, struct migration **ret,
                                   struct banyan_error *err)
{
    struct migration *migration = alloc_zeroed(1, sizeof(*migration));
    struct parsing parsing = {.migration = migration, .err = err};
    struct source_complaint found;
    enum banyan_status st;

    migration->path = banyan_arena_str(&migration->arena, banyan_str_of(path)).data;
    if (source.size > SOURCE_BYTES_MAX) {
        migration_free(migration);
        return banyan_error_set(err, BANYAN_LIMIT, "%s: a migration has at most 64 MiB", path);
    }
    migration->source = banyan_arena_str(&migration->arena, source);
    name_migration(migration);
    (void)EVP_Digest(source.data, source.size, migration->checksum, NULL, EVP_sha256(), NULL); /* cannot fail */
    read_text(&parsing);
    found = source_check_bytes(migration->source);
    st = refuse_complaint(&parsing, found.offset, &found);
    if (st == BANYAN_OK)
        st = scan_source(&parsing);
    if (st == BANYAN_OK)
        st = read_comments(&parsing);
    if (st == BANYAN_OK)
        st = read_statements(&parsing);
    if (parsing.scan != NULL)
        pg_query__scan_result__free_unpacked(parsing.scan, NULL);
    if (st != BANYAN_OK) {
        migration_free(migration);
        return st;
    }
    *ret = migration;
    return BANYAN_OK;
}

void migration_free(struct migration *migration)
{
    if (migration == NULL)
        return;
    for (size_t i = 0; i < migration->statement_count; i++)
        if (migration->statements[i].owned != NULL)
            pg_query__parse_result__free_unpacked(migration->statements[i].owned, NULL);
    free(migration->statements);
    free(migration->directives);
    banyan_arena_release(&migration->arena);
    free(migration);
}
