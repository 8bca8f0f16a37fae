/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See source.h.  How deep a tree can get, from its tokens alone:
 *
 *   a + b + c        a chain: each token since the last separator may be one level
 *   a, b  a AND b    separators: what stands on both sides lies side by side in the tree (the parser flattens AND, OR)
 *   ( [ CASE         a level more, until ) ] END
 *   JOIN, UNION      chains over separators: each is a level, whatever stands between them
 *
 * The sum over all open levels is never less than the depth of the tree, but for a constant factor.
 */
#include "migrate/source.h"

#include <pg_query/pg_query.pb-c.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

enum {
    WORD_MAX = 32,    /* of a psql command, as it is told */
    CASE_UNITS = 3,   /* beside its own token: a CASE is a list of WHENs */
    SELECT_UNITS = 2, /* a query in parentheses: link, query, target */
};

static const char mark[] = "\xEF\xBB\xBF"; /* byte order mark */

/* ---- places ---- */

struct statement_place source_place(struct source_cursor *cursor, size_t offset, size_t size)
{
    size_t mark_size = source_mark_size(cursor->text);

    if (cursor->line == 0 || cursor->at > offset) {
        cursor->at = 0;
        cursor->line = cursor->column = 1;
    }
    for (; cursor->at < offset && cursor->at < cursor->text.size; cursor->at++) {
        unsigned char c = (unsigned char)cursor->text.data[cursor->at];

        cursor->column = c == '\n' ? 1 : cursor->column + ((c & 0xC0) != 0x80 && cursor->at >= mark_size);
        cursor->line += c == '\n';
    }
    return (struct statement_place){.line = cursor->line, .column = cursor->column, .offset = offset, .size = size};
}

size_t source_mark_size(struct banyan_str text)
{
    size_t size = sizeof(mark) - 1;

    return text.size >= size && memcmp(text.data, mark, size) == 0 ? size : 0;
}

/* ---- bytes ---- */

BANYAN_PRINTF_LIKE(4, 5)
static struct source_complaint complain(enum banyan_status st, size_t offset, const char *hint, const char *format, ...)
{
    struct source_complaint ret = {.st = st, .offset = offset, .hint = hint};
    va_list list;

    va_start(list, format);
    (void)vsnprintf(ret.message, sizeof(ret.message), format, list); /* over-long texts are cut */
    va_end(list);
    return ret;
}

struct source_complaint source_check_bytes(struct banyan_str text)
{
    const unsigned char *data = (const unsigned char *)text.data;
    const char *hint = "save it as UTF-8: `iconv -f LATIN1 -t UTF-8`, or what it is written in";

    if (text.size >= 2 && ((data[0] == 0xFF && data[1] == 0xFE) || (data[0] == 0xFE && data[1] == 0xFF)))
        return complain(BANYAN_INVALID, 0, "save it as UTF-8: `iconv -f UTF-16 -t UTF-8`", "the text is UTF-16");
    for (size_t i = 0; i < text.size;) {
        size_t size = data[i] < 0x80 ? 1 : utf8_size(data + i, text.size - i);

        if (data[i] == 0)
            return complain(BANYAN_INVALID, i, "is this file SQL?  UTF-16 has to be saved as UTF-8",
                            "a NUL byte is no SQL");
        if (size == 0)
            return complain(BANYAN_INVALID, i, hint, "the text is not UTF-8: byte 0x%02X", data[i]);
        i += size;
    }
    return (struct source_complaint){.st = BANYAN_OK};
}

/* ---- tokens ---- */

struct level {
    char kind; /* ( [ C; 0: the outermost */
    unsigned units;
    unsigned chained; /* of JOIN, UNION, and what the level itself costs: separators do not end them */
};

struct checking {
    struct banyan_str text;
    const PgQuery__ScanResult *scan;
    unsigned nesting_max, sum;
    struct level levels[SOURCE_NESTING_MAX + 1];
    size_t level; /* the innermost */
    size_t brackets;
    bool begins;     /* the next token begins a statement */
    bool copies;     /* this is a COPY */
    bool parameters; /* $1 means something from here on: arguments of a function, of PREPARE */
};

static bool is_comment(const PgQuery__ScanToken *token)
{
    return token->token == PG_QUERY__TOKEN__SQL_COMMENT || token->token == PG_QUERY__TOKEN__C_COMMENT;
}

/* The next one that is no comment; NULL: none. */
static const PgQuery__ScanToken *token_behind(const struct checking *all, size_t at)
{
    for (at++; at < all->scan->n_tokens; at++)
        if (!is_comment(all->scan->tokens[at]))
            return all->scan->tokens[at];
    return NULL;
}

static struct source_complaint of_psql(const struct checking *all, size_t offset)
{
    struct banyan_str text = all->text;
    size_t end = offset + 1;
    const char *hint = "a migration is SQL for the server: psql's own commands have no place in it";

    while (end < text.size && end - offset < WORD_MAX && (unsigned char)text.data[end] > ' ' && text.data[end] != ';')
        end++;
    while (end > offset && ((unsigned char)text.data[end] & 0xC0) == 0x80 && end < text.size)
        end--;
    if (text.data[offset + 1] == 'i' && end - offset <= 3)
        hint = "name both files on the command line, each is a migration; or put the text of the other one here";
    else if (strncmp(text.data + offset, "\\copy", 5) == 0 || strncmp(text.data + offset, "\\.", 2) == 0)
        hint = "load rows with psql beside the migration, or write them as INSERT";
    else if (strncmp(text.data + offset, "\\set", 4) == 0)
        hint = "write the value itself: there are no variables in a migration";
    return complain(BANYAN_INVALID, offset, hint, "%.*s is a command of psql, not SQL", (int)(end - offset),
                    text.data + offset);
}

/* :name, :'name', :"name" are psql's; a[1:n] and 'key':value are not. */
static bool is_variable(const struct checking *all, size_t at)
{
    const PgQuery__ScanToken *token = all->scan->tokens[at], *next = token_behind(all, at);
    const PgQuery__ScanToken *before = at > 0 ? all->scan->tokens[at - 1] : NULL;
    size_t end = (size_t)token->end;
    char c = end < all->text.size ? all->text.data[end] : ' ';

    if (all->brackets > 0 || next == NULL || next->start != token->end)
        return false;
    if (before != NULL && before->end == token->start && before->token >= PG_QUERY__TOKEN__IDENT)
        return false;
    return c == '\'' || c == '"' || c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static struct source_complaint check_foreign(struct checking *all, size_t at)
{
    const PgQuery__ScanToken *token = all->scan->tokens[at], *next;
    size_t start = (size_t)token->start;

    switch (token->token) {
    case PG_QUERY__TOKEN__ASCII_92:
        return of_psql(all, start);
    case PG_QUERY__TOKEN__ASCII_58:
        if (is_variable(all, at))
            return complain(BANYAN_INVALID, start, "write the value itself: there are no variables in a migration",
                            "a variable of psql is not SQL");
        break;
    case PG_QUERY__TOKEN__PARAM:
        if (!all->parameters)
            return complain(BANYAN_INVALID, start, "write the value itself",
                            "a parameter (%.*s) has no value in a migration", (int)(token->end - token->start),
                            all->text.data + start);
        break;
    case PG_QUERY__TOKEN__FROM:
    case PG_QUERY__TOKEN__TO:
        next = token_behind(all, at);
        if (all->copies && next != NULL &&
            (next->token == PG_QUERY__TOKEN__STDIN || next->token == PG_QUERY__TOKEN__STDOUT))
            return complain(BANYAN_INVALID, start, "load rows with psql beside the migration, or write them as INSERT",
                            "COPY … %s needs a client that has the rows; a migration has none",
                            next->token == PG_QUERY__TOKEN__STDIN ? "FROM stdin" : "TO stdout");
        break;
    default:
        break;
    }
    return (struct source_complaint){.st = BANYAN_OK};
}

/* ---- nesting ---- */

static void open_level(struct checking *all, char kind, unsigned units)
{
    struct level *parent = &all->levels[all->level];

    parent->units++;
    all->sum += 1 + units;
    if (all->level + 1 < sizeof(all->levels) / sizeof(all->levels[0])) /* else the sum is above the limit, too */
        all->levels[++all->level] = (struct level){.kind = kind, .chained = units};
    all->brackets += kind == '[';
}

static void close_level(struct checking *all, char kind)
{
    struct level *level = &all->levels[all->level];

    if (level->kind != kind) {
        level->units++;
        all->sum++;
        return;
    }
    all->sum -= level->units + level->chained;
    all->level--;
    all->brackets -= kind == '[';
}

/* What stands behind lies beside what stands before. */
static void separate(struct checking *all, bool statement)
{
    struct level *level = &all->levels[all->level];

    all->sum -= level->units;
    level->units = 0;
    if (statement && level->kind == 0) {
        all->sum -= level->chained;
        level->chained = 0;
    }
}

static bool begins_query(const PgQuery__ScanToken *token)
{
    return token != NULL && (token->token == PG_QUERY__TOKEN__SELECT || token->token == PG_QUERY__TOKEN__WITH ||
                             token->token == PG_QUERY__TOKEN__VALUES || token->token == PG_QUERY__TOKEN__TABLE);
}

static void follow_nesting(struct checking *all, size_t at)
{
    switch (all->scan->tokens[at]->token) {
    case PG_QUERY__TOKEN__ASCII_40:
        open_level(all, '(', begins_query(token_behind(all, at)) ? SELECT_UNITS : 0);
        break;
    case PG_QUERY__TOKEN__ASCII_91:
        open_level(all, '[', 0);
        break;
    case PG_QUERY__TOKEN__CASE:
        open_level(all, 'C', CASE_UNITS);
        break;
    case PG_QUERY__TOKEN__ASCII_41:
        close_level(all, '(');
        break;
    case PG_QUERY__TOKEN__ASCII_93:
        close_level(all, '[');
        break;
    case PG_QUERY__TOKEN__END_P:
        close_level(all, 'C');
        break;
    case PG_QUERY__TOKEN__ASCII_44:
    case PG_QUERY__TOKEN__AND:
    case PG_QUERY__TOKEN__OR:
    case PG_QUERY__TOKEN__WHEN:
    case PG_QUERY__TOKEN__THEN:
    case PG_QUERY__TOKEN__ELSE:
        separate(all, false);
        break;
    case PG_QUERY__TOKEN__ASCII_59:
        separate(all, true);
        break;
    case PG_QUERY__TOKEN__JOIN:
    case PG_QUERY__TOKEN__UNION:
    case PG_QUERY__TOKEN__INTERSECT:
    case PG_QUERY__TOKEN__EXCEPT:
        separate(all, false);
        all->levels[all->level].chained++;
        all->sum++;
        break;
    default:
        all->levels[all->level].units++;
        all->sum++;
        break;
    }
}

/* ---- all of them ---- */

static void follow_statement(struct checking *all, const PgQuery__ScanToken *token)
{
    if (token->token == PG_QUERY__TOKEN__ASCII_59 && all->level == 0) {
        all->begins = true;
        return;
    }
    if (all->begins)
        all->copies = all->parameters = false;
    all->copies |= all->begins && token->token == PG_QUERY__TOKEN__COPY;
    all->parameters |= token->token == PG_QUERY__TOKEN__FUNCTION || token->token == PG_QUERY__TOKEN__PROCEDURE ||
                       token->token == PG_QUERY__TOKEN__PREPARE;
    all->begins = false;
}

struct source_complaint source_check_tokens(struct banyan_str text, const PgQuery__ScanResult *scan,
                                            unsigned nesting_max)
{
    struct checking all = {.text = text, .scan = scan, .nesting_max = nesting_max, .begins = true};

    for (size_t i = 0; i < scan->n_tokens; i++) {
        const PgQuery__ScanToken *token = scan->tokens[i];
        struct source_complaint found;

        if (is_comment(token))
            continue;
        follow_statement(&all, token);
        found = check_foreign(&all, i);
        if (found.st != BANYAN_OK)
            return found;
        follow_nesting(&all, i);
        if (all.sum > nesting_max)
            return complain(BANYAN_LIMIT, (size_t)token->start,
                            "write it as several statements; lists, AND, OR and WHEN may be as long as they like",
                            "this statement nests too deep: more than %u operators, parentheses or joins in a chain",
                            nesting_max);
    }
    return (struct source_complaint){.st = BANYAN_OK};
}
