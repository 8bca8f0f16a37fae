/* SPDX-License-Identifier: Apache-2.0 */
/* Findings as text, JSON, SARIF 2.1.0 and GitHub workflow commands. */
#include <string.h>

#include "migrate/lint.h"

static const char *severity_name(enum lint_severity severity)
{
    return severity == LINT_ERROR ? "error" : severity == LINT_WARNING ? "warning" : "note";
}

static void print_text(const struct lint_of *item, struct banyan_buf *ret)
{
    for (size_t i = 0; i < item->report->count; i++) {
        const struct lint_finding *finding = &item->report->findings[i];

        banyan_buf_printf(ret, "%s:%u:%u: %s: ", item->migration->path, finding->place.line, finding->place.column,
                          severity_name(finding->severity));
        banyan_buf_add_str(ret, finding->message);
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

static void print_sarif_rules(const struct lint_of *items, size_t count, struct banyan_buf *ret)
{
    const char *seen[64];
    size_t seen_count = 0;

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < items[i].report->count; k++) {
            const char *rule = items[i].report->findings[k].rule;
            bool known = seen_count == sizeof(seen) / sizeof(seen[0]);

            for (size_t m = 0; m < seen_count; m++)
                known |= strcmp(seen[m], rule) == 0;
            if (known)
                continue;
            banyan_buf_printf(ret, "%s{\"id\":\"%s\"}", seen_count > 0 ? "," : "", rule);
            seen[seen_count++] = rule;
        }
}

static void print_sarif(const struct lint_of *items, size_t count, struct banyan_buf *ret)
{
    bool first = true;

    banyan_buf_add_text(ret, "{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\","
                             "\"runs\":[{\"tool\":{\"driver\":{\"name\":\"banyan migrate lint\",\"rules\":[");
    print_sarif_rules(items, count, ret);
    banyan_buf_add_text(ret, "]}},\"columnKind\":\"unicodeCodePoints\",\"results\":[");
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < items[i].report->count; k++) {
            const struct lint_finding *finding = &items[i].report->findings[k];

            banyan_buf_printf(ret, "%s{\"ruleId\":\"%s\",\"level\":\"%s\",\"message\":{", first ? "" : ",",
                              finding->rule, severity_name(finding->severity));
            add_field(ret, "text", finding->message);
            banyan_buf_add_text(ret, "},\"locations\":[{\"physicalLocation\":{\"artifactLocation\":{");
            add_field(ret, "uri", banyan_str_of(items[i].migration->path));
            banyan_buf_printf(ret, "},\"region\":{\"startLine\":%u,\"startColumn\":%u}}}]}", finding->place.line,
                              finding->place.column);
            first = false;
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
