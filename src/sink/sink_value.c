/* SPDX-License-Identifier: Apache-2.0 */
/* Values, words and what a question means, the same in each store: see sink_value.h.  Pure. */
#include "sink/sink_value.h"

#include <string.h>

#include "banyan/decimal.h"
#include "base/utf8.h"

/* ---- definitions ---- */

static enum banyan_status check_table(const struct banyan_projection *projection, const struct banyan_table *table,
                                      struct banyan_error *err)
{
    const struct banyan_field *key = banyan_record_field(table->row, banyan_str_of(table->key_column));
    if (key == NULL || key->kind != BANYAN_FIELD_INT)
        return banyan_error_set(err, BANYAN_INVALID, "view %s, table %s: the key column %s is no integer of its row",
                                projection->name, table->name, table->key_column);
    if (strncmp(table->name, "banyan_", 7) == 0 || strncmp(table->name, "sqlite_", 7) == 0)
        return banyan_error_set(err, BANYAN_INVALID,
                                "view %s: tables cannot be named %s: banyan_… and sqlite_… are "
                                "not for views",
                                projection->name, table->name);
    if (banyan_record_refuse_lists(table->row, err) != BANYAN_OK) {
        banyan_error_context(err, "view %s, table %s", projection->name, table->name);
        return BANYAN_INVALID;
    }
    for (size_t i = 0; i < table->index_count; i++) {
        const struct banyan_view_index *index = &table->indexes[i];
        const struct banyan_field *range = banyan_record_field(table->row, banyan_str_of(index->range));
        if (range == NULL || range->kind != BANYAN_FIELD_TIME ||
            banyan_record_field(table->row, banyan_str_of(index->equal)) == NULL)
            return banyan_error_set(err, BANYAN_INVALID, "view %s, table %s: list %s is not over columns of its row",
                                    projection->name, table->name, index->name);
    }
    for (const char *const *column = table->search; column != NULL && *column != NULL; column++) {
        const struct banyan_field *field = banyan_record_field(table->row, banyan_str_of(*column));
        if (field == NULL || field->kind != BANYAN_FIELD_STRING)
            return banyan_error_set(err, BANYAN_INVALID, "view %s, table %s: %s is no text that can be searched",
                                    projection->name, table->name, *column);
    }
    return BANYAN_OK;
}

enum banyan_status sink_check(const struct banyan_projection *projection, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    if (projection->table_count == 0 || projection->table_count > BANYAN_PROJECTION_TABLES_MAX)
        return banyan_error_set(err, BANYAN_INVALID, "view %s has %zu tables: 1 to %d are possible", projection->name,
                                projection->table_count, BANYAN_PROJECTION_TABLES_MAX);
    for (size_t i = 0; i < projection->table_count && st == BANYAN_OK; i++)
        st = check_table(projection, &projection->tables[i], err);
    return st;
}

enum banyan_status sink_table_check(const struct banyan_projection *projection, unsigned table,
                                    struct banyan_error *err)
{
    if (table < projection->table_count)
        return BANYAN_OK;
    return banyan_error_set(err, BANYAN_INVALID, "view %s has no table number %u", projection->name, table);
}

int64_t sink_key_of(const struct banyan_table *table, const void *row)
{
    const struct banyan_field *key = banyan_record_field(table->row, banyan_str_of(table->key_column));
    return *(const int64_t *)((const char *)row + key->offset);
}

/* ---- what every store says ---- */

enum banyan_status sink_not_built(const struct banyan_projection *projection, struct banyan_error *err)
{
    enum banyan_status st = banyan_error_set(err, BANYAN_NOT_FOUND, "view %s is not built", projection->name);
    banyan_error_hint(err, "it is being built: banyan status says how far it is");
    return st;
}

enum banyan_status sink_no_generation(const struct banyan_projection *projection, uint32_t number,
                                      struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_NOT_FOUND, "view %s has no generation %u", projection->name, number);
}

enum banyan_status sink_taken_over(const struct banyan_projection *projection, uint32_t number,
                                   struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_BROKEN,
                            "view %s, generation %u: another process has taken it over, or it was "
                            "dropped",
                            projection->name, number);
}

enum banyan_status sink_is_sealed(const struct banyan_projection *projection, uint32_t number, struct banyan_error *err)
{
    return banyan_error_set(err, BANYAN_INVALID, "view %s, generation %u has a checkpoint: it is flushed, not loaded",
                            projection->name, number);
}

enum banyan_status sink_form_check(const struct banyan_projection *projection, uint32_t number, const char *form,
                                   struct banyan_error *err)
{
    char wanted[SINK_FORM_SIZE];
    sink_form(projection, wanted);
    if (sink_form_same(form, wanted))
        return BANYAN_OK;
    enum banyan_status st = banyan_error_set(err, BANYAN_MISMATCH,
                                             "view %s, generation %u was made for another "
                                             "definition of the view",
                                             projection->name, number);
    banyan_error_hint(err, "build a new generation: banyan projection rebuild %s", projection->name);
    return st;
}

static const struct sink_generation *find(const struct sink_generation *all, size_t count, uint32_t number)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].number == number)
            return &all[i];
    return NULL;
}

enum banyan_status sink_serve_check(const struct banyan_projection *projection, const struct sink_generation *all,
                                    size_t count, uint32_t expected, uint32_t number, struct banyan_error *err)
{
    const struct sink_generation *next = find(all, count, number);
    uint32_t serving = 0;
    for (size_t i = 0; i < count; i++)
        if (all[i].state == SINK_SERVING)
            serving = all[i].number;
    if (next == NULL)
        return sink_no_generation(projection, number, err);
    if (serving != expected)
        return banyan_error_set(err, BANYAN_CONFLICT, "view %s: generation %u serves, not %u", projection->name,
                                serving, expected);
    if (!next->sealed)
        return banyan_error_set(err, BANYAN_INVALID, "view %s: generation %u is not complete", projection->name,
                                number);
    return BANYAN_OK;
}

enum banyan_status sink_drop_check(const struct banyan_projection *projection, const struct sink_generation *all,
                                   size_t count, uint32_t number, struct banyan_error *err)
{
    const struct sink_generation *generation = find(all, count, number);
    if (generation == NULL)
        return sink_no_generation(projection, number, err);
    if (generation->state != SINK_SERVING)
        return BANYAN_OK;
    enum banyan_status st = banyan_error_set(err, BANYAN_INVALID, "view %s: generation %u serves and cannot be dropped",
                                             projection->name, number);
    banyan_error_hint(err, "let another one serve first");
    return st;
}

enum banyan_status sink_open_check(const struct banyan_projection *projection, const struct sink_generation *all,
                                   size_t count, uint32_t number, struct banyan_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (all[i].number == number)
            return BANYAN_OK;
    return sink_no_generation(projection, number, err);
}

enum banyan_status sink_load_check(const struct sink *sink, unsigned table, bool sealed, struct banyan_error *err)
{
    enum banyan_status st = sink_table_check(sink->projection, table, err);
    return st == BANYAN_OK && sealed ? sink_is_sealed(sink->projection, sink->generation, err) : st;
}

enum banyan_status sink_make_check(const struct banyan_projection *projection, size_t count, struct banyan_error *err)
{
    if (count < SINK_GENERATIONS_MAX)
        return BANYAN_OK;
    enum banyan_status st =
        banyan_error_set(err, BANYAN_LIMIT, "view %s has %zu generations already", projection->name, count);
    banyan_error_hint(err, "drop some: banyan projection drop %s", projection->name);
    return st;
}

bool sink_aside_same(const struct sink_aside *a, const struct sink_aside *b)
{
    return a->by_stream == b->by_stream && a->key == b->key && banyan_str_equal(a->stream, b->stream);
}

/* ---- values ---- */

static bool parse_int(struct banyan_str text, int64_t *ret)
{
    struct banyan_decimal d;
    if (text.size == 0 || text.size > 20 || memchr(text.data, '.', text.size) != NULL ||
        memchr(text.data, 'e', text.size) != NULL || memchr(text.data, 'E', text.size) != NULL)
        return false;
    if (!banyan_decimal_parse(text, &d) || d.scale != 0 || d.units > INT64_MAX || d.units < INT64_MIN)
        return false;
    *ret = (int64_t)d.units;
    return true;
}

enum banyan_status sink_value_parse(const struct banyan_field *field, struct banyan_str text, void *row,
                                    struct banyan_error *err)
{
    void *at = (char *)row + field->offset;
    const char *wanted = "a value";
    struct banyan_decimal d;

    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        if (utf8_valid(text) && memchr(text.data == NULL ? "" : text.data, '\0', text.size) == NULL) {
            *(struct banyan_str *)at = text.data == NULL ? BANYAN_STR("") : text;
            return BANYAN_OK;
        }
        wanted = "text in UTF-8";
        break;
    case BANYAN_FIELD_INT:
        if (parse_int(text, at))
            return BANYAN_OK;
        wanted = "a whole number of 64 bits";
        break;
    case BANYAN_FIELD_BOOL:
        if (banyan_str_equal(text, BANYAN_STR("true")) || banyan_str_equal(text, BANYAN_STR("false"))) {
            *(bool *)at = text.data[0] == 't';
            return BANYAN_OK;
        }
        wanted = "true or false";
        break;
    case BANYAN_FIELD_DECIMAL:
        if (banyan_decimal_parse(text, &d) &&
            (d.scale == BANYAN_DECIMAL_NAN || banyan_decimal_rescale(d, field->scale, &d))) {
            *(struct banyan_decimal *)at = d;
            return BANYAN_OK;
        }
        wanted = "a decimal number with no more digits than the column";
        break;
    case BANYAN_FIELD_TIME: /* equality of times is nothing that a view offers */
        wanted = "a range of times instead";
        break;
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    enum banyan_status st = banyan_error_set(err, BANYAN_INVALID, "%.*s is no value of column %s",
                                             text.size > 200 ? 200 : (int)text.size, text.data, field->name);
    banyan_error_hint(err, "give %s", wanted);
    return st;
}

bool sink_value_null(const struct banyan_field *field, const void *row)
{
    const void *value = (const char *)row + field->offset;
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        return ((const struct banyan_str *)value)->data == NULL;
    case BANYAN_FIELD_TIME:
        return ((const struct banyan_time *)value)->us == BANYAN_TIME_NULL;
    case BANYAN_FIELD_DECIMAL:
        return banyan_decimal_is_null(*(const struct banyan_decimal *)value);
    default:
        return false;
    }
}

static int compare_numbers(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

static int compare_texts(struct banyan_str a, struct banyan_str b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_decimals(struct banyan_decimal a, struct banyan_decimal b)
{
    bool a_nan = a.scale == BANYAN_DECIMAL_NAN, b_nan = b.scale == BANYAN_DECIMAL_NAN;
    return a_nan || b_nan ? a_nan - b_nan : banyan_decimal_compare(a, b);
}

int sink_value_compare(const struct banyan_field *field, const void *a, const void *b)
{
    bool a_null = sink_value_null(field, a), b_null = sink_value_null(field, b);
    const void *x = (const char *)a + field->offset, *y = (const char *)b + field->offset;
    if (a_null || b_null)
        return b_null - a_null;
    switch (field->kind) {
    case BANYAN_FIELD_STRING:
        return compare_texts(*(const struct banyan_str *)x, *(const struct banyan_str *)y);
    case BANYAN_FIELD_INT:
        return compare_numbers(*(const int64_t *)x, *(const int64_t *)y);
    case BANYAN_FIELD_BOOL:
        return *(const bool *)x - *(const bool *)y;
    case BANYAN_FIELD_TIME:
        return compare_numbers(((const struct banyan_time *)x)->us, ((const struct banyan_time *)y)->us);
    case BANYAN_FIELD_DECIMAL:
        return compare_decimals(*(const struct banyan_decimal *)x, *(const struct banyan_decimal *)y);
    case BANYAN_FIELD_LIST:
    case BANYAN_FIELD_NONE:
        break;
    }
    return 0;
}

/* ---- words ---- */

static uint32_t character(const unsigned char *text, size_t size)
{
    switch (size) {
    case 2:
        return (uint32_t)(text[0] & 31) << 6 | (text[1] & 63);
    case 3:
        return (uint32_t)(text[0] & 15) << 12 | (uint32_t)(text[1] & 63) << 6 | (text[2] & 63);
    default:
        return (uint32_t)(text[0] & 7) << 18 | (uint32_t)(text[1] & 63) << 12 | (uint32_t)(text[2] & 63) << 6 |
               (text[3] & 63);
    }
}

/* What the stores take for letters, too: a sign that is none for one of them would be a word that it never finds. */
static bool is_letter(uint32_t c)
{
    if (c < 0x80)
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (c < 0xC0)
        return c == 0xAA || c == 0xB5 || c == 0xBA;
    bool punctuation = c == 0xD7 || c == 0xF7 || (c >= 0x2000 && c < 0x2070) || (c >= 0x3001 && c < 0x3004) ||
                       (c >= 0x3008 && c < 0x3021) || (c >= 0xFE00 && c < 0xFE10) || c == 0xFEFF;
    bool sign = (c >= 0x20A0 && c < 0x20C1) || (c >= 0x2190 && c < 0x2460) || (c >= 0x2500 && c < 0x2776) ||
                (c >= 0x1F300 && c < 0x1FB00);
    return !punctuation && !sign;
}

/* Latin 1, Greek and Cyrillic: capitals whose small letters are as many bytes long. */
static uint32_t lower(uint32_t c)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 0xC0 && c <= 0xDE && c != 0xD7) || (c >= 0x391 && c <= 0x3A9) ||
        (c >= 0x410 && c <= 0x42F))
        return c + 0x20;
    return c >= 0x400 && c <= 0x40F ? c + 0x50 : c;
}

struct word_reader {
    struct banyan_str text;
    size_t at;
    char *lowered; /* as long as the text */
};

static struct word_reader read_words(struct banyan_str text, struct banyan_arena *arena)
{
    return (struct word_reader){text, 0, banyan_arena_alloc(arena, text.size + 1)};
}

/* The next word, in the reader's memory; false at the end. */
static bool next_word(struct word_reader *reader, struct banyan_str *ret)
{
    const unsigned char *data = (const unsigned char *)reader->text.data;
    size_t begin = reader->at;
    while (reader->at < reader->text.size) {
        size_t left = reader->text.size - reader->at;
        size_t size = data[reader->at] < 0x80 ? 1 : utf8_size(data + reader->at, left);
        uint32_t c = size == 1 ? data[reader->at] : size == 0 ? ' ' : character(data + reader->at, size);
        if (!is_letter(c)) {
            size_t end = reader->at;
            reader->at += size == 0 ? 1 : size;
            if (end > begin) {
                *ret = (struct banyan_str){reader->lowered + begin, end - begin};
                return true;
            }
            begin = reader->at;
            continue;
        }
        memcpy(reader->lowered + reader->at, data + reader->at, size);
        if (size == 1) {
            reader->lowered[reader->at] = (char)lower(c);
        } else if (size == 2) {
            c = lower(c);
            reader->lowered[reader->at] = (char)(0xC0 | c >> 6);
            reader->lowered[reader->at + 1] = (char)(0x80 | (c & 63));
        }
        reader->at += size;
    }
    *ret = (struct banyan_str){reader->lowered + begin, reader->at - begin};
    return reader->at > begin;
}

/* ---- questions ---- */

enum banyan_status sink_list_value(const struct banyan_projection *projection, const struct sink_list *list,
                                   struct banyan_arena *arena, const void **ret_row, struct banyan_error *err)
{
    enum banyan_status st = sink_table_check(projection, list->table, err);
    if (st != BANYAN_OK)
        return st;
    const struct banyan_record *record = projection->tables[list->table].row;
    void *row = banyan_arena_zalloc(arena, record->size);
    st = sink_value_parse(banyan_record_field(record, banyan_str_of(list->index->equal)), list->equal, row, err);
    if (st == BANYAN_OK)
        *ret_row = row;
    return st;
}

static enum banyan_status no_column(const struct banyan_table *table, const char *column, struct banyan_error *err)
{
    enum banyan_status st =
        banyan_error_set(err, BANYAN_INVALID, "table %s has no such column: %s", table->name, column);
    banyan_error_hint(err, "the columns are listed with the view");
    return st;
}

static enum banyan_status plan_words(const struct banyan_table *table, struct banyan_str text,
                                     struct banyan_arena *arena, struct sink_search_plan *ret, struct banyan_error *err)
{
    struct banyan_str word;
    struct word_reader reader = read_words(text, arena);
    while (next_word(&reader, &word)) {
        if (ret->words.count == SINK_WORDS_MAX) {
            enum banyan_status st =
                banyan_error_set(err, BANYAN_INVALID, "a search has at most %d words", SINK_WORDS_MAX);
            banyan_error_hint(err, "look for fewer words");
            return st;
        }
        ret->words.words[ret->words.count++] = word;
        ret->open = reader.at == text.size && word.data + word.size == reader.lowered + text.size;
    }
    ret->empty = text.size > 0 && ret->words.count == 0;
    if (text.size == 0 || table->search != NULL)
        return BANYAN_OK;
    enum banyan_status st = banyan_error_set(err, BANYAN_INVALID, "table %s has no text search", table->name);
    banyan_error_hint(err, "ask by key, by list or by columns");
    return st;
}

enum banyan_status sink_search_plan(const struct banyan_projection *projection, const struct sink_search *search,
                                    struct banyan_arena *arena, struct sink_search_plan *ret, struct banyan_error *err)
{
    enum banyan_status st = sink_table_check(projection, search->table, err);
    if (st != BANYAN_OK)
        return st;
    const struct banyan_table *table = &projection->tables[search->table];
    void *values = banyan_arena_zalloc(arena, table->row->size);
    *ret = (struct sink_search_plan){.table = table, .values = values, .equal_count = search->equal_count};
    if (search->skip > SINK_SKIP_MAX) {
        st = banyan_error_set(err, BANYAN_INVALID, "a search skips at most %d rows", SINK_SKIP_MAX);
        banyan_error_hint(err, "narrow it down with more words, or by columns");
        return st;
    }
    for (size_t i = 0; i < search->equal_count; i++) {
        for (size_t j = 0; j < i; j++)
            if (strcmp(search->equal[j].column, search->equal[i].column) == 0)
                return banyan_error_set(err, BANYAN_INVALID, "column %s is asked for twice", search->equal[i].column);
        ret->equal[i] = banyan_record_field(table->row, banyan_str_of(search->equal[i].column));
        if (ret->equal[i] == NULL)
            return no_column(table, search->equal[i].column, err);
        st = sink_value_parse(ret->equal[i], search->equal[i].value, values, err);
        if (st != BANYAN_OK)
            return st;
    }
    if (search->range != NULL) {
        ret->range = banyan_record_field(table->row, banyan_str_of(search->range));
        if (ret->range == NULL || ret->range->kind != BANYAN_FIELD_TIME)
            return no_column(table, search->range, err);
    }
    return plan_words(table, search->text, arena, ret, err);
}

bool sink_search_holds(const struct sink_search_plan *plan, const struct sink_search *search, const void *row)
{
    for (size_t i = 0; i < plan->equal_count; i++)
        if (sink_value_null(plan->equal[i], row) || sink_value_compare(plan->equal[i], row, plan->values) != 0)
            return false;
    if (plan->range == NULL)
        return true;
    struct banyan_time at = *(const struct banyan_time *)((const char *)row + plan->range->offset);
    return sink_time_within(at, search->from, search->to);
}

double sink_search_rank(const struct sink_search_plan *plan, const void *row, struct banyan_arena *scratch)
{
    static const double weights[] = {1.0, 0.4, 0.2, 0.1};
    size_t found[SINK_WORDS_MAX] = {0};
    double rank = 0;
    for (size_t column = 0; plan->table->search[column] != NULL; column++) {
        const struct banyan_field *field =
            banyan_record_field(plan->table->row, banyan_str_of(plan->table->search[column]));
        struct banyan_str word;
        struct word_reader reader =
            read_words(*(const struct banyan_str *)((const char *)row + field->offset), scratch);
        while (next_word(&reader, &word)) {
            for (size_t i = 0; i < plan->words.count; i++) {
                struct banyan_str wanted = plan->words.words[i];
                bool prefix = plan->open && i + 1 == plan->words.count;
                if (word.size < wanted.size || (word.size > wanted.size && !prefix) ||
                    memcmp(word.data, wanted.data, wanted.size) != 0)
                    continue;
                found[i]++;
                rank += weights[column < 3 ? column : 3];
            }
        }
    }
    for (size_t i = 0; i < plan->words.count; i++)
        if (found[i] == 0)
            return 0;
    return rank;
}
