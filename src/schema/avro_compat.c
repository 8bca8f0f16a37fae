/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a reader read what a writer wrote, and may a schema follow others?
 *
 * Both schemas are walked together.  A union asks for more than one value would: every branch of the writer must find
 * its place, and every one of its symbols a symbol or the reader's default.
 *
 * Invariants:
 * 1. A pair of records is compared once, and while that goes on counts as fitting: so recursive types come to an end,
 *    and what is left to find wrong is found by the first comparison.
 * 2. A branch is chosen by avro_find_branch() and then must fit, so what passes here is what a plan does.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/alloc.h"
#include "schema/avro_int.h"

struct walk {
    size_t reader_count;
    bool *seen; /* writer index * reader_count + reader index: a pair of records */
    struct banyan_buf path;
    struct banyan_error *err;
};

static enum banyan_status compare(struct walk *walk, const struct avro_type *reader, const struct avro_type *writer);

/* "record Order" or "long (timestamp-micros)". */
static void describe(const struct avro_type *type, char *text, size_t size)
{
    const char *kind = avro_kind_name(type->kind);
    if (avro_is_named(type))
        (void)snprintf(text, size, "%s %s", kind, type->name.data);
    else if (type->logical == AVRO_DECIMAL)
        (void)snprintf(text, size, "decimal(%u, %u)", type->precision, type->scale);
    else if (type->logical != AVRO_PLAIN)
        (void)snprintf(text, size, "%s (%s)", kind, avro_logical_name(type->logical));
    else
        (void)snprintf(text, size, "%s", kind);
}

/* Where: the field, or the whole. */
static const char *where(const struct walk *walk)
{
    return walk->path.size == 0 ? "the whole value" : walk->path.data;
}

static enum banyan_status types_differ(struct walk *walk, const struct avro_type *reader,
                                       const struct avro_type *writer, const char *reason)
{
    char read[AVRO_NAME_BYTES_MAX + 32], written[AVRO_NAME_BYTES_MAX + 32];
    describe(reader, read, sizeof(read));
    describe(writer, written, sizeof(written));
    enum banyan_status st = banyan_error_set(walk->err, BANYAN_CONFLICT, "%s: written as %s, read as %s: %s",
                                             where(walk), written, read, reason);
    if (avro_is_named(reader) && reader->kind == writer->kind && reader->size == writer->size)
        banyan_error_hint(walk->err, "A renamed type keeps its old name among its aliases.");
    else
        banyan_error_hint(walk->err, "A type may become a wider one only: int, long, float, double in this order; "
                                     "string and bytes may become each other.  Else add a new field with a default.");
    return st;
}

static size_t down(struct walk *walk, const char *step, struct banyan_str name)
{
    size_t before = walk->path.size;
    if (before > 0 && name.size > 0)
        banyan_buf_add_char(&walk->path, '.');
    banyan_buf_add_str(&walk->path, name);
    banyan_buf_add_text(&walk->path, step);
    return before;
}

static void up(struct walk *walk, size_t before)
{
    walk->path.size = before;
    if (walk->path.data != NULL)
        walk->path.data[before] = '\0';
}

static enum banyan_status compare_field(struct walk *walk, const struct avro_field *field,
                                        const struct avro_type *writer)
{
    int32_t source = avro_find_source(field, writer);
    size_t before = down(walk, "", field->name);
    enum banyan_status st = BANYAN_OK;
    if (source >= 0) {
        st = compare(walk, field->type, writer->fields[source].type);
    } else if (!field->has_default) {
        st = banyan_error_set(walk->err, BANYAN_CONFLICT,
                              "%s: the reader's field has no default, and the writer does not write it", where(walk));
        banyan_error_hint(walk->err, "Give the field a default (a type [\"null\", ...] with the default null), or the "
                                     "old name as an alias where it was renamed.");
    }
    up(walk, before);
    return st;
}

static enum banyan_status compare_records(struct walk *walk, const struct avro_type *reader,
                                          const struct avro_type *writer)
{
    bool *seen = &walk->seen[(size_t)writer->index * walk->reader_count + reader->index];
    enum banyan_status st = BANYAN_OK;
    if (*seen)
        return BANYAN_OK;
    *seen = true;
    for (size_t i = 0; i < reader->field_count && st == BANYAN_OK; i++)
        st = compare_field(walk, &reader->fields[i], writer);
    return st;
}

static enum banyan_status compare_symbols(struct walk *walk, const struct avro_type *reader,
                                          const struct avro_type *writer)
{
    for (size_t i = 0; i < writer->symbol_count && reader->default_symbol < 0; i++) {
        if (avro_find_symbol(reader, writer->symbols[i]) >= 0)
            continue;
        enum banyan_status st =
            banyan_error_set(walk->err, BANYAN_CONFLICT, "%s: the reader's enum %s has no \"%s\" and no default",
                             where(walk), reader->name.data, writer->symbols[i].data);
        banyan_error_hint(walk->err, "Keep what may have been written, or give the enum a \"default\".");
        return st;
    }
    return BANYAN_OK;
}

/* One type of the writer against the reader's union. */
static enum banyan_status compare_branch(struct walk *walk, const struct avro_type *reader,
                                         const struct avro_type *writer)
{
    const char *reason = "no branch of the reader's union takes it";
    char written[AVRO_NAME_BYTES_MAX + 32];
    int32_t branch = avro_find_branch(reader, writer);
    if (branch >= 0)
        return compare(walk, reader->branches[branch], writer);
    for (size_t i = 0; i < reader->branch_count; i++) {
        /* A branch of the same kind is the one that was meant: say what is wrong with it. */
        if (reader->branches[i]->kind == writer->kind && !avro_matches(reader->branches[i], writer, &reason))
            return types_differ(walk, reader->branches[i], writer, reason);
    }
    describe(writer, written, sizeof(written));
    enum banyan_status st =
        banyan_error_set(walk->err, BANYAN_CONFLICT, "%s: written as %s: %s", where(walk), written, reason);
    banyan_error_hint(walk->err, "Keep the branches that may have been written.");
    return st;
}

static enum banyan_status compare(struct walk *walk, const struct avro_type *reader, const struct avro_type *writer)
{
    enum banyan_status st = BANYAN_OK;
    const char *reason = NULL;
    if (writer->kind == AVRO_UNION) {
        for (size_t i = 0; i < writer->branch_count && st == BANYAN_OK; i++)
            st = compare(walk, reader, writer->branches[i]);
        return st;
    }
    if (reader->kind == AVRO_UNION)
        return compare_branch(walk, reader, writer);
    if (!avro_matches(reader, writer, &reason))
        return types_differ(walk, reader, writer, reason);
    if (reader->kind == AVRO_RECORD)
        return compare_records(walk, reader, writer);
    if (reader->kind == AVRO_ENUM)
        return compare_symbols(walk, reader, writer);
    if (reader->kind != AVRO_ARRAY && reader->kind != AVRO_MAP)
        return BANYAN_OK;
    size_t before = down(walk, reader->kind == AVRO_ARRAY ? "[]" : "{}", BANYAN_STR(""));
    st = compare(walk, reader->items, writer->items);
    up(walk, before);
    return st;
}

enum banyan_status avro_can_read(const struct avro_schema *reader, const struct avro_schema *writer,
                                 struct banyan_error *err)
{
    struct walk walk = {
        .reader_count = reader->type_count,
        .seen = alloc_zeroed(reader->type_count * writer->type_count + 1, sizeof(bool)),
        .path = BANYAN_BUF_INIT(AVRO_TEXT_BYTES_MAX),
        .err = err,
    };
    enum banyan_status st = compare(&walk, reader->root, writer->root);
    banyan_buf_release(&walk.path);
    free(walk.seen);
    return st;
}

/* ---- rules ---------------------------------------------------------------------------------------------------- */

struct rule {
    const char *name;
    bool backward, forward, all;
};

static const struct rule rules[AVRO_COMPATIBILITIES] = {
    [AVRO_COMPATIBILITY_NONE] = {"NONE", false, false, false},
    [AVRO_BACKWARD] = {"BACKWARD", true, false, false},
    [AVRO_BACKWARD_TRANSITIVE] = {"BACKWARD_TRANSITIVE", true, false, true},
    [AVRO_FORWARD] = {"FORWARD", false, true, false},
    [AVRO_FORWARD_TRANSITIVE] = {"FORWARD_TRANSITIVE", false, true, true},
    [AVRO_FULL] = {"FULL", true, true, false},
    [AVRO_FULL_TRANSITIVE] = {"FULL_TRANSITIVE", true, true, true},
};

const char *avro_compatibility_name(enum avro_compatibility rule)
{
    return (unsigned)rule < AVRO_COMPATIBILITIES ? rules[rule].name : NULL;
}

bool avro_compatibility_of(struct banyan_str name, enum avro_compatibility *ret)
{
    for (unsigned i = 0; i < AVRO_COMPATIBILITIES; i++) {
        if (name.size == strlen(rules[i].name) && strncasecmp(name.data, rules[i].name, name.size) == 0) {
            *ret = (enum avro_compatibility)i;
            return true;
        }
    }
    return false;
}

enum banyan_status avro_compatible(enum avro_compatibility rule, const struct avro_schema *next,
                                   const struct avro_schema *const *versions, size_t count, struct banyan_error *err)
{
    assert((unsigned)rule < AVRO_COMPATIBILITIES);
    const struct rule *is = &rules[rule];
    bool done = false;
    for (size_t i = count; i > 0 && !done; i--) { /* the newest first: it is the one that people think of */
        if (versions[i - 1] == NULL)
            continue;
        done = !is->all;
        enum banyan_status st = is->backward ? avro_can_read(next, versions[i - 1], err) : BANYAN_OK;
        if (st != BANYAN_OK) {
            banyan_error_context(err, "not %s compatible: the new schema cannot read version %zu", is->name, i);
            return st;
        }
        st = is->forward ? avro_can_read(versions[i - 1], next, err) : BANYAN_OK;
        if (st != BANYAN_OK) {
            banyan_error_context(err, "not %s compatible: version %zu cannot read the new schema", is->name, i);
            return st;
        }
    }
    return BANYAN_OK;
}
