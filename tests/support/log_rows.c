/* SPDX-License-Identifier: Apache-2.0 */
/* See log_rows.h.  A row is a line of JSON; a table is its lines, sorted. */
#include "support/log_rows.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "legacy/mirror_row.h"
#include "legacy/tables.h"
#include "pg/copy.h"
#include "store/state.h"

enum {
    TOLD_MAX = 20,
    LINE_BYTES_MAX = 1 << 20,
};

struct line {
    char *text;
    bool possible; /* need not be there */
    /* Where rows may be changed: */
    void *row;        /* in the arena of the lines */
    uint64_t changed; /* by another mapping, before it was known that the row is there: these columns are the newer */
};

struct lines {
    struct line *items;
    size_t count, capacity;
    struct hash by_identity; /* of rows that may be changed: key of the identity → number + 1 */
    bool is_shared;          /* several mappings write the table */
    struct banyan_arena arena;
};

struct folded {
    const struct banyan_legacy_mapping *spec;
    struct states states;
    struct hash docs; /* key → packed state */
    struct lines tables[BANYAN_LEGACY_TABLES_MAX];
    struct lines *lines[BANYAN_LEGACY_TABLES_MAX]; /* those of the first mapping that has the table; NULL: read only */
};

/* What mirror() sees. */
struct collector {
    struct banyan_mirror out;
    struct folded *folded;
    bool possible;
};

/* ---- lines ---- */

static char *line_of(const struct banyan_legacy_table *table, const void *row)
{
    struct banyan_buf text = BANYAN_BUF_INIT(LINE_BYTES_MAX);
    for (size_t i = 0; i < table->row->field_count; i++) {
        const struct banyan_field *field = &table->row->fields[i];
        if (table->generated_column != NULL && strcmp(field->name, table->generated_column) == 0)
            continue;
        banyan_buf_printf(&text, "%s\"%s\":", text.size == 0 ? "{" : ",", field->name);
        banyan_field_json(field, row, &text);
    }
    banyan_buf_add_text(&text, "}");
    char *line = strndup(text.data, text.size);
    banyan_buf_release(&text);
    return line;
}

static struct line *push(struct lines *lines, char *text, bool possible)
{
    if (lines->count == lines->capacity) {
        lines->capacity = lines->capacity == 0 ? 256 : 2 * lines->capacity;
        lines->items = alloc_resized(lines->items, lines->capacity, sizeof(*lines->items));
    }
    lines->items[lines->count++] = (struct line){.text = text, .possible = possible};
    return &lines->items[lines->count - 1];
}

/* The columns that tell a child apart, as a key. */
static int64_t identity_of(const struct lines *lines, const struct banyan_legacy_table *table, const void *row)
{
    struct banyan_buf text = BANYAN_BUF_INIT(LINE_BYTES_MAX);
    for (size_t i = 0; i < table->row->field_count; i++) {
        const struct banyan_field *field = &table->row->fields[i];
        bool wanted = !lines->is_shared && strcmp(field->name, table->key_column) == 0;
        for (const char *const *name = table->row_columns; *name != NULL; name++)
            wanted |= strcmp(field->name, *name) == 0;
        if (wanted) {
            banyan_field_json(field, row, &text);
            banyan_buf_add_char(&text, ',');
        }
    }
    int64_t key = banyan_key_of_text(banyan_buf_str(&text));
    banyan_buf_release(&text);
    return key;
}

static size_t size_of(const struct banyan_field *field)
{
    return field->kind == BANYAN_FIELD_STRING    ? sizeof(struct banyan_str)
           : field->kind == BANYAN_FIELD_DECIMAL ? sizeof(struct banyan_decimal)
           : field->kind == BANYAN_FIELD_BOOL    ? sizeof(bool)
                                                 : sizeof(int64_t);
}

/* Of *from* only those *columns*; both live as long. */
static void take_columns(const struct banyan_record *record, void *to, const void *from, uint64_t columns)
{
    for (size_t i = 0; i < record->field_count; i++) {
        size_t at = record->fields[i].offset;
        if ((columns >> i & 1) != 0)
            memcpy((char *)to + at, (const char *)from + at, size_of(&record->fields[i]));
    }
}

/* A row of a table whose rows may be changed, and by several mappings whose streams come in any order. */
static void change(struct lines *lines, const struct banyan_legacy_table *table, const void *old, const void *new,
                   bool possible)
{
    uintptr_t number = (uintptr_t)hash_remove(&lines->by_identity, identity_of(lines, table, old == NULL ? new : old));
    struct line *line = number == 0 ? NULL : &lines->items[number - 1];
    if (new == NULL && line != NULL) {
        free(line->text);
        line->text = NULL;
    }
    if (new == NULL)
        return;
    uint64_t columns = old == NULL ? ~UINT64_C(0) : banyan_record_diff(table->row, old, new);
    void *row = banyan_arena_zalloc(&lines->arena, table->row->size);
    banyan_record_copy(table->row, row, new, &lines->arena);
    if (line == NULL) {
        line = push(lines, NULL, possible);
        line->changed = old == NULL ? 0 : columns;
        line->row = row;
    } else if (old == NULL) {
        take_columns(table->row, row, line->row, line->changed);
        line->row = row;
        line->changed = 0;
    } else {
        take_columns(table->row, line->row, row, columns);
        line->changed |= line->changed == 0 ? 0 : columns;
    }
    line->possible = possible;
    free(line->text);
    line->text = line_of(table, line->row);
    (void)hash_put(&lines->by_identity, identity_of(lines, table, line->row),
                   (void *)(uintptr_t)(line - lines->items + 1));
}

static void collect(struct banyan_mirror *out, unsigned at, const void *old, const void *new)
{
    struct collector *collector = (struct collector *)out;
    const struct banyan_legacy_table *table = &collector->folded->spec->tables[at];
    struct lines *lines = collector->folded->lines[at];
    if (table->row_columns != NULL)
        change(lines, table, old, new, collector->possible);
    else
        (void)push(lines, line_of(table, new), collector->possible);
}

/* ---- the log ---- */

static enum banyan_status fold_event(struct folded *folded, int64_t key, const struct store_read_event *read,
                                     struct banyan_error *err)
{
    const struct banyan_record *record = folded->spec->aggregate->state;
    const struct state_type *type = states_type(&folded->states, read->event.type);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *before = banyan_arena_zalloc(&arena, record->size), *after = banyan_arena_zalloc(&arena, record->size);
    void *kept = hash_get(&folded->docs, key);
    if (type == NULL)
        return banyan_error_set(err, BANYAN_INVALID, "unknown type at %" PRIu64, read->position.value);
    void *payload = banyan_arena_zalloc(&arena, type->record->size);
    enum banyan_status status = store_decode(folded->states.decoder, (unsigned)(type - folded->states.types),
                                             read->event.schema, read->event.payload, &arena, payload, err);
    if (status == BANYAN_OK) {
        if (kept != NULL)
            states_begin(&folded->states, before, kept, &arena);
        else
            banyan_record_init(record, before);
        states_begin(&folded->states, after, before, &arena);
        folded->spec->aggregate->evolve(after, (unsigned)(type - folded->states.types), payload, read->event.at);
        struct collector collector = {{collect}, folded, read->event.provenance != BANYAN_EXACT};
        struct banyan_seen seen = {.type = (unsigned)(type - folded->states.types),
                                   .payload = payload,
                                   .stream = read->event.stream,
                                   .key = key,
                                   .position = read->position,
                                   .version = read->version,
                                   .at = read->event.at,
                                   .provenance = read->event.provenance};
        if (folded->spec->mirror != NULL)
            folded->spec->mirror(&seen, before, after, &collector.out);
        void *packed = alloc_zeroed(1, banyan_record_packed_size(record, after));
        banyan_record_pack(record, after, packed);
        free(hash_put(&folded->docs, key, packed));
    }
    banyan_arena_release(&arena);
    return status;
}

static enum banyan_status fold_log(struct store *store, struct folded *folded, size_t count, struct banyan_error *err)
{
    struct store_reader *reader = store_reader_open(store);
    struct store_read_event read;
    enum banyan_status status = store_reader_seek(reader, (struct banyan_position){1}, err);
    while (status == BANYAN_OK && (status = store_reader_next(reader, &read, err)) == BANYAN_OK) {
        const char *dash = memchr(read.event.stream.data, '-', read.event.stream.size);
        struct banyan_str category = {read.event.stream.data,
                                      dash == NULL ? 0 : (size_t)(dash - read.event.stream.data)};
        for (size_t m = 0; status == BANYAN_OK && m < count; m++) {
            char digits[32] = "";
            if (!banyan_str_equal(category, banyan_str_of(folded[m].spec->aggregate->category)))
                continue;
            memcpy(digits, dash + 1, read.event.stream.size - category.size - 1);
            status = fold_event(&folded[m], strtoll(digits, NULL, 10), &read, err);
        }
    }
    store_reader_close(reader);
    if (status != BANYAN_NOT_FOUND)
        return status;
    banyan_error_clear(err);
    return BANYAN_OK;
}

static void add_roots(struct folded *folded)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    const struct banyan_record *record = folded->spec->tables[0].row;
    size_t cursor = 0;
    for (struct hash_entry *entry; (entry = hash_next(&folded->docs, &cursor)) != NULL;) {
        void *row = banyan_arena_zalloc(&arena, record->size);
        banyan_record_init(record, row);
        if (folded->spec->row(entry->value, row))
            (void)push(&folded->tables[0], line_of(&folded->spec->tables[0], row), false);
        banyan_arena_reset(&arena);
    }
    banyan_arena_release(&arena);
}

/* ---- the tables ---- */

static enum banyan_status read_table(struct pg_conn *conn, const struct legacy_table *table, struct lines *lines,
                                     struct banyan_error *err)
{
    struct banyan_buf sql = BANYAN_BUF_INIT(LINE_BYTES_MAX);
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    struct pg_copy_out copy;
    legacy_tables_select_unordered(table, INT64_MIN, INT64_MAX, &sql);
    banyan_buf_add_char(&sql, '\0');
    enum banyan_status status = pg_copy_out_begin(&copy, conn, sql.data, table->spec->row, table->column_oids, err);
    if (status == BANYAN_OK) {
        void *row = banyan_arena_zalloc(&arena, table->spec->row->size);
        while ((status = pg_copy_out_row(&copy, NULL, row, err)) == BANYAN_OK)
            (void)push(lines, line_of(table->spec, row), false);
        pg_copy_out_end(&copy);
        status = status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
    }
    banyan_buf_release(&sql);
    banyan_arena_release(&arena);
    return status;
}

static int compare_lines(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    return strcmp(x->text == NULL ? "" : x->text, y->text == NULL ? "" : y->text);
}

static void tell(struct banyan_buf *report, uint64_t *differences, const char *table, const char *what,
                 const char *text, size_t count)
{
    if (count > 0 && *differences < TOLD_MAX)
        banyan_buf_printf(report, "%s: %zu %s: %s\n", table, count, what, text);
    *differences += count;
}

/* Both sorted: lines of one text against each other. */
static void compare(const char *table, const struct lines *log, const struct lines *there, struct banyan_buf *report,
                    uint64_t *differences)
{
    size_t i = 0, j = 0;
    while (i < log->count && log->items[i].text == NULL)
        i++; /* removed again; they sort first */
    while (i < log->count || j < there->count) {
        const char *text = i == log->count                                        ? there->items[j].text
                           : j == there->count                                    ? log->items[i].text
                           : compare_lines(&log->items[i], &there->items[j]) <= 0 ? log->items[i].text
                                                                                  : there->items[j].text;
        size_t certain = 0, possible = 0, found = 0;
        for (; i < log->count && strcmp(log->items[i].text, text) == 0; i++)
            *(log->items[i].possible ? &possible : &certain) += 1;
        for (; j < there->count && strcmp(there->items[j].text, text) == 0; j++)
            found++;
        tell(report, differences, table, "missing in the table", text, certain > found ? certain - found : 0);
        tell(report, differences, table, "not in the log", text,
             found > certain + possible ? found - certain - possible : 0);
    }
}

static void sort_lines(struct lines *lines)
{
    if (lines->count > 0)
        qsort(lines->items, lines->count, sizeof(*lines->items), compare_lines);
}

static void release_lines(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->items[i].text);
    free(lines->items);
    hash_release(&lines->by_identity);
    banyan_arena_release(&lines->arena);
}

static enum banyan_status compare_mapping(struct pg_conn *conn, struct folded *folded, struct banyan_buf *report,
                                          uint64_t *rows, uint64_t *differences, struct banyan_error *err)
{
    struct legacy_tables *tables = alloc_zeroed(1, sizeof(*tables));
    enum banyan_status status = legacy_tables_resolve(conn, folded->spec, tables, err);
    add_roots(folded);
    for (size_t t = 0; status == BANYAN_OK && t < folded->spec->table_count; t++) {
        if (folded->lines[t] != &folded->tables[t])
            continue; /* another mapping's */
        struct lines there = {.items = NULL};
        status = read_table(conn, &tables->tables[t], &there, err);
        sort_lines(&there);
        sort_lines(&folded->tables[t]);
        if (status == BANYAN_OK)
            compare(folded->spec->tables[t].name, &folded->tables[t], &there, report, differences);
        *rows += there.count;
        release_lines(&there);
    }
    free(tables);
    return status;
}

/* Whose lines a mapping's rows are: where two write one table, those of the first. */
static void share_lines(struct folded *folded, size_t at)
{
    for (size_t t = 0; t < folded[at].spec->table_count; t++) {
        const struct banyan_legacy_table *table = &folded[at].spec->tables[t];
        folded[at].lines[t] = table->read_only ? NULL : &folded[at].tables[t];
        for (size_t m = 0; m < at && !table->read_only; m++)
            for (size_t u = 0; u < folded[m].spec->table_count; u++)
                if (folded[m].lines[u] == &folded[m].tables[u] &&
                    strcmp(folded[m].spec->tables[u].name, table->name) == 0) {
                    folded[at].lines[t] = folded[m].lines[u];
                    folded[at].lines[t]->is_shared = true;
                }
    }
}

enum banyan_status log_rows_compare(struct store *store, const struct banyan_domain *domain, struct pg_conn *conn,
                                    struct banyan_buf *report, uint64_t *ret_rows, uint64_t *ret_differences,
                                    struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    size_t count = domain->mapping_count;
    struct folded *folded = alloc_zeroed(count, sizeof(*folded));
    *ret_rows = *ret_differences = 0;
    for (size_t m = 0; m < count; m++) {
        folded[m].spec = &domain->mappings[m];
        share_lines(folded, m);
        states_init(&folded[m].states, store, domain, folded[m].spec->aggregate, &arena);
    }
    enum banyan_status status = fold_log(store, folded, count, err);
    for (size_t m = 0; m < count; m++) {
        size_t cursor = 0;
        if (status == BANYAN_OK)
            status = compare_mapping(conn, &folded[m], report, ret_rows, ret_differences, err);
        for (struct hash_entry *entry; (entry = hash_next(&folded[m].docs, &cursor)) != NULL;)
            free(entry->value);
        hash_release(&folded[m].docs);
        for (size_t t = 0; t < BANYAN_LEGACY_TABLES_MAX; t++)
            release_lines(&folded[m].tables[t]);
        states_release(&folded[m].states);
    }
    free(folded);
    banyan_arena_release(&arena);
    return status;
}
