/* SPDX-License-Identifier: Apache-2.0 */
/* Findings as text, JSON, SARIF 2.1.0 (with what GitHub's code scanning asks for beside) and GitHub workflow commands.
 */
#include <string.h>

#include "migrate/lint.h"
#include "migrate/source.h"

static const char *severity_name(enum lint_severity severity)
{
    return severity == LINT_ERROR ? "error" : severity == LINT_WARNING ? "warning" : "note";
}

/* One line for a terminal: names may have line ends and escapes in them. */
static void add_line(struct banyan_buf *ret, struct banyan_str text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c < 0x20 || c == 0x7F)
            banyan_buf_printf(ret, "\\x%02x", (unsigned)c);
        else
            banyan_buf_add_char(ret, text.data[i]);
    }
}

static void print_text(const struct lint_of *item, struct banyan_buf *ret)
{
    for (size_t i = 0; i < item->report->count; i++) {
        const struct lint_finding *finding = &item->report->findings[i];

        add_line(ret, banyan_str_of(item->migration->path));
        banyan_buf_printf(ret, ":%u:%u: %s: ", finding->place.line, finding->place.column,
                          severity_name(finding->severity));
        add_line(ret, finding->message);
        banyan_buf_printf(ret, " [%s]\n", finding->rule);
        if (finding->safe_way.size > 0) {
            banyan_buf_add_text(ret, "  safe way: ");
            banyan_buf_add_str(ret, finding->safe_way);
            banyan_buf_add_char(ret, '\n');
        }
    }
}

static void add_field(struct banyan_buf *ret, const char *name, struct banyan_str value)
{
    banyan_buf_printf(ret, "\"%s\":", name);
    banyan_buf_add_json(ret, value);
}

static void print_relations(const struct effect *effect, struct banyan_buf *ret)
{
    static const char *const certainties[] = {"no", "yes", "perhaps"};

    for (size_t i = 0; i < effect->relation_count; i++) {
        const struct effect_relation *relation = &effect->relations[i];

        banyan_buf_add_text(ret, i > 0 ? ",{" : "{");
        add_field(ret, "name", relation->name);
        banyan_buf_printf(ret, ",\"lock\":\"%s\",\"rewrite\":\"%s\",\"scan\":\"%s\",\"build\":\"%s\"}",
                          effect_lock_name(relation->lock), certainties[relation->rewrite], certainties[relation->scan],
                          certainties[relation->build]);
    }
}

static void print_json(const struct lint_of *item, bool first, struct banyan_buf *ret)
{
    banyan_buf_add_text(ret, first ? "{" : ",{");
    add_field(ret, "file", banyan_str_of(item->migration->path));
    banyan_buf_add_text(ret, ",\"statements\":[");
    for (size_t i = 0; i < item->migration->statement_count; i++) {
        const struct statement_place *place = &item->migration->statements[i].place;

        banyan_buf_printf(ret, "%s{\"line\":%u,\"column\":%u,\"relations\":[", i > 0 ? "," : "", place->line,
                          place->column);
        print_relations(&item->report->effects[i], ret);
        banyan_buf_add_text(ret, "]}");
    }
    banyan_buf_add_text(ret, "],\"findings\":[");
    for (size_t i = 0; i < item->report->count; i++) {
        const struct lint_finding *finding = &item->report->findings[i];

        banyan_buf_printf(ret, "%s{\"rule\":\"%s\",\"severity\":\"%s\",\"line\":%u,\"column\":%u,", i > 0 ? "," : "",
                          finding->rule, severity_name(finding->severity), finding->place.line, finding->place.column);
        add_field(ret, "message", finding->message);
        banyan_buf_add_char(ret, ',');
        add_field(ret, "safe_way", finding->safe_way);
        banyan_buf_add_char(ret, '}');
    }
    banyan_buf_add_text(ret, "]}");
}

/* What each rule says of itself; docs/MIGRATE.md has the same in more words. */
static const struct {
    const char *id, *text, *help;
} rules[] = {
    {"rewrite-under-lock", "A table is written anew while everybody waits",
     "Add a new column of the wanted form, fill it in small batches, and switch over to it."},
    {"index-build-under-lock", "An index is built while writes wait",
     "CREATE INDEX CONCURRENTLY; for a key, then ADD CONSTRAINT … USING INDEX."},
    {"scan-under-lock", "A table is read from end to end while writes wait",
     "NOT VALID, then VALIDATE CONSTRAINT in a transaction of its own."},
    {"strong-lock", "A strong lock is taken for a moment", "SET lock_timeout before it, and try again where it fails."},
    {"not-in-transaction", "The statement cannot run between BEGIN and COMMIT", "Put it into a file of its own."},
    {"may-leave-invalid-index", "A cancelled CONCURRENTLY leaves an invalid index",
     "Look at pg_index.indisvalid; repair with REINDEX INDEX CONCURRENTLY."},
    {"data-in-ddl-transaction", "Rows are changed under the lock of an earlier statement", "Commit first."},
    {"removes-data", "A rollback cannot bring back what is removed", "Stop the readers first, keep a copy."},
    {"breaks-running-code", "A name or type that running code uses changes",
     "Let both forms live until no old code is left."},
    {"will-fail", "The server will refuse the statement", "Correct it; the message says what is wrong."},
    {"not-understood", "The statement is not known, so it is not called safe",
     "Measure it with banyan migrate explain-lock, then accept it with -- banyan: allow."},
    {"too-many-relations", "More relations are touched than are judged", "Split the statement."},
};

static void print_sarif_rules(struct banyan_buf *ret)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        banyan_buf_printf(ret, "%s{\"id\":\"%s\",\"shortDescription\":{", i > 0 ? "," : "", rules[i].id);
        add_field(ret, "text", banyan_str_of(rules[i].text));
        banyan_buf_add_text(ret, "},\"fullDescription\":{");
        add_field(ret, "text", banyan_str_of(rules[i].text));
        banyan_buf_add_text(ret, "},\"help\":{");
        add_field(ret, "text", banyan_str_of(rules[i].help));
        banyan_buf_add_text(ret, "}}");
    }
}

/* A path as a reference of RFC 3986: whatever could mean something else is a percent code, so is ':' (a scheme). */
static void add_uri(struct banyan_buf *ret, struct banyan_str path)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";

    for (size_t i = 0; i < path.size; i++) {
        if (memchr(plain, path.data[i], sizeof(plain) - 1) != NULL)
            banyan_buf_add_char(ret, path.data[i]);
        else
            banyan_buf_printf(ret, "%%%02X", (unsigned)(unsigned char)path.data[i]);
    }
}

/* From the first character to behind the last. */
static void add_region(struct banyan_buf *ret, const struct statement_place *place, struct source_cursor *cursor)
{
    struct statement_place end = source_place(cursor, place->offset + place->size, 0);

    banyan_buf_printf(ret, "\"region\":{\"startLine\":%u,\"startColumn\":%u,\"endLine\":%u,\"endColumn\":%u}",
                      place->line, place->column, end.line, end.column);
}

static void print_sarif(const struct lint_of *items, size_t count, struct banyan_buf *ret)
{
    bool first = true;

    banyan_buf_add_text(ret, "{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\","
                             "\"runs\":[{\"tool\":{\"driver\":{\"name\":\"banyan migrate lint\",\"rules\":[");
    print_sarif_rules(ret);
    banyan_buf_add_text(ret, "]}},\"columnKind\":\"unicodeCodePoints\",\"results\":[");
    for (size_t i = 0; i < count; i++) {
        struct source_cursor cursor = {.text = items[i].migration->source};

        for (size_t k = 0; k < items[i].report->count; k++) {
            const struct lint_finding *finding = &items[i].report->findings[k];

            banyan_buf_printf(ret, "%s{\"ruleId\":\"%s\",\"level\":\"%s\",\"message\":{", first ? "" : ",",
                              finding->rule, severity_name(finding->severity));
            add_field(ret, "text", finding->message);
            banyan_buf_add_text(ret, "},\"locations\":[{\"physicalLocation\":{\"artifactLocation\":{\"uri\":\"");
            add_uri(ret, banyan_str_of(items[i].migration->path));
            banyan_buf_add_text(ret, "\"},");
            add_region(ret, &finding->place, &cursor);
            banyan_buf_add_text(ret, "}}]}");
            first = false;
        }
    }
    banyan_buf_add_text(ret, "]}]}\n");
}

/* Of a workflow command: %, line ends, and in properties ':' and ','. */
static void add_escaped(struct banyan_buf *ret, struct banyan_str text, bool property)
{
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];

        if (c == '%' || c == '\r' || c == '\n' || (property && (c == ':' || c == ',')))
            banyan_buf_printf(ret, "%%%02X", (unsigned)(unsigned char)c);
        else
            banyan_buf_add_char(ret, c);
    }
}

static void print_github(const struct lint_of *item, struct banyan_buf *ret)
{
    for (size_t i = 0; i < item->report->count; i++) {
        const struct lint_finding *finding = &item->report->findings[i];

        banyan_buf_printf(ret,
                          "::%s file=", finding->severity == LINT_NOTE ? "notice" : severity_name(finding->severity));
        add_escaped(ret, banyan_str_of(item->migration->path), true);
        banyan_buf_printf(ret, ",line=%u,col=%u,title=%s::", finding->place.line, finding->place.column, finding->rule);
        add_escaped(ret, finding->message, false);
        if (finding->safe_way.size > 0) {
            banyan_buf_add_text(ret, "%0Asafe way: ");
            add_escaped(ret, finding->safe_way, false);
        }
        banyan_buf_add_char(ret, '\n');
    }
}

void lint_print(const struct lint_of *items, size_t count, enum lint_format format, struct banyan_buf *ret)
{
    if (format == LINT_SARIF) {
        print_sarif(items, count, ret);
        return;
    }
    if (format == LINT_JSON)
        banyan_buf_add_text(ret, "{\"files\":[");
    for (size_t i = 0; i < count; i++) {
        if (format == LINT_JSON)
            print_json(&items[i], i == 0, ret);
        else if (format == LINT_GITHUB)
            print_github(&items[i], ret);
        else
            print_text(&items[i], ret);
    }
    if (format == LINT_JSON)
        banyan_buf_add_text(ret, "]}\n");
}
