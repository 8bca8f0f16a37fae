/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which events a projection sees: see seen.h.
 *
 * Every event of a rebuild comes by here, so that calls are what costs: a type's name is found by its length and its
 * first and last bytes in a small open hash table, and what a category tells of the stream's name is not looked for
 * again.
 */
#include "projection/seen.h"

#include <stdlib.h>
#include <string.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "store/decode.h"

enum {
    DIGITS_SAFE = 18, /* of a number that cannot overflow */
};

struct seen_rules {
    const struct banyan_domain *domain;
    const struct banyan_projection *projection;
    struct store_decoder *decoder; /* owned */
    struct {
        struct banyan_str name;
        size_t size;    /* of its struct, so that bytes may follow it */
        uint16_t index; /* in domain->events, and 1; 0: free */
        bool wanted;
    } * types; /* owned; open hash table */
    size_t capacity;
    struct banyan_str *type_names; /* owned; of the filter */
    struct banyan_str *categories; /* owned */
    struct store_filter filter;
};

static bool wants_type(const struct banyan_projection *projection, unsigned type)
{
    for (size_t i = 0; i < projection->type_count; i++)
        if (projection->types[i] == type)
            return true;
    return projection->types == NULL;
}

static bool same_text(const char *a, const char *b, size_t size)
{
    uint64_t x, y;
    if (size < 8) {
        size_t at = 0;
        while (at < size && a[at] == b[at])
            at++;
        return at == size;
    }
    for (size_t at = 0; at + 8 < size; at += 8) {
        memcpy(&x, a + at, 8);
        memcpy(&y, b + at, 8);
        if (x != y)
            return false;
    }
    memcpy(&x, a + size - 8, 8);
    memcpy(&y, b + size - 8, 8);
    return x == y;
}

static size_t type_slot(const struct seen_rules *rules, struct banyan_str name)
{
    uint64_t ends =
        name.size == 0 ? 0
                       : (uint64_t)(unsigned char)name.data[0] << 8 | (uint64_t)(unsigned char)name.data[name.size - 1];
    uint64_t middle = name.size == 0 ? 0 : (unsigned char)name.data[name.size / 2];
    size_t slot = hash_mix(name.size << 32 | middle << 16 | ends) & (rules->capacity - 1);
    while (rules->types[slot].index != 0 && !(rules->types[slot].name.size == name.size &&
                                              same_text(rules->types[slot].name.data, name.data, name.size)))
        slot = (slot + 1) & (rules->capacity - 1);
    return slot;
}

struct seen_rules *seen_rules_new(struct store *store, const struct banyan_domain *domain,
                                  const struct banyan_projection *projection)
{
    struct seen_rules *rules = alloc_zeroed(1, sizeof(*rules));
    rules->domain = domain;
    rules->projection = projection;
    rules->decoder = store_decoder_new(store, domain);
    rules->capacity = 16;
    while (rules->capacity < domain->event_count * 2)
        rules->capacity *= 2;
    rules->types = alloc_zeroed(rules->capacity, sizeof(*rules->types));
    rules->type_names = alloc_zeroed(projection->type_count + 1, sizeof(*rules->type_names));
    for (size_t i = 0; i < domain->event_count; i++) {
        struct banyan_str name = banyan_str_of(domain->events[i].name);
        size_t slot = type_slot(rules, name);
        rules->types[slot].name = name;
        rules->types[slot].size = (domain->events[i].record->size + 15) & ~(size_t)15;
        rules->types[slot].index = (uint16_t)(i + 1);
        rules->types[slot].wanted = wants_type(projection, (unsigned)i);
        if (projection->types != NULL && rules->types[slot].wanted)
            rules->type_names[rules->filter.type_count++] = banyan_str_of(domain->events[i].name);
    }
    while (projection->categories[rules->filter.category_count] != NULL)
        rules->filter.category_count++;
    rules->categories = alloc_zeroed(rules->filter.category_count + 1, sizeof(*rules->categories));
    for (size_t i = 0; i < rules->filter.category_count; i++)
        rules->categories[i] = banyan_str_of(projection->categories[i]);
    rules->filter.types = rules->type_names;
    rules->filter.categories = rules->categories;
    return rules;
}

void seen_rules_free(struct seen_rules *rules)
{
    if (rules == NULL)
        return;
    store_decoder_free(rules->decoder);
    free(rules->types);
    free(rules->type_names);
    free(rules->categories);
    free(rules);
}

const struct store_filter *seen_filter(const struct seen_rules *rules)
{
    return &rules->filter;
}

/* ---- keys ---- */

/* Digits, perhaps with a sign, that a key can hold.  Only as a number is written: "7" and "07" are two streams, and
 * must not share a key. */
static bool parse_key(struct banyan_str text, int64_t *ret)
{
    size_t at = 0;
    bool negative = text.size > 0 && text.data[0] == '-';
    if (negative)
        at++;
    bool ok = at < text.size && (text.data[at] != '0' || text.size == 1);
    uint64_t value = 0;
    size_t safe = at + DIGITS_SAFE < text.size ? at + DIGITS_SAFE : text.size;
    for (; at < safe && ok; at++) {
        unsigned digit = (unsigned)(unsigned char)text.data[at] - '0';
        ok = digit <= 9;
        value = value * 10 + digit;
    }
    for (; at < text.size && ok; at++) {
        char c = text.data[at];
        ok = c >= '0' && c <= '9' && !__builtin_mul_overflow(value, 10, &value) &&
             !__builtin_add_overflow(value, (uint64_t)(c - '0'), &value);
    }
    ok = ok && value <= (uint64_t)INT64_MAX + (negative ? 1 : 0);
    if (ok)
        *ret = negative ? (int64_t)(0 - value) : (int64_t)value;
    return ok;
}

/* *text*: what stands behind the dash. */
static int64_t key_of(struct banyan_str text, bool *ret_number)
{
    int64_t key = 0;
    *ret_number = parse_key(text, &key);
    return *ret_number ? key : banyan_key_of_text(text);
}

int64_t seen_stream_key(struct banyan_str stream, bool *ret_number)
{
    const char *dash = stream.size == 0 ? NULL : memchr(stream.data, '-', stream.size);
    struct banyan_str text = {stream.data, 0};
    if (dash != NULL)
        text = (struct banyan_str){dash + 1, stream.size - (size_t)(dash + 1 - stream.data)};
    return key_of(text, ret_number);
}

/* The length of the wanted category that *stream* is of; 0: it is of another one. */
static size_t wanted_category(const struct seen_rules *rules, struct banyan_str stream)
{
    for (size_t i = 0; i < rules->filter.category_count; i++) {
        struct banyan_str category = rules->categories[i];
        if (stream.size > category.size && stream.data[category.size] == '-' &&
            same_text(stream.data, category.data, category.size))
            return category.size;
    }
    return 0;
}

/* ---- events ---- */

static enum banyan_status unknown_type(const struct seen_rules *rules, struct banyan_str type, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_INVALID, "event type %.*s is not known to domain %s", (int)type.size, type.data,
                           rules->domain->name); /* returned below */
    banyan_error_hint(err, "run a program whose domain has this type");
    return BANYAN_INVALID;
}

/* One piece of memory for all: the struct, the bytes that its strings point into, the stream's name. */
static enum banyan_status decode(const struct seen_rules *rules, const struct store_event *event, size_t slot,
                                 struct banyan_arena *arena, bool borrow, struct banyan_seen *ret,
                                 struct banyan_error *err)
{
    size_t size = rules->types[slot].size;
    unsigned type = rules->types[slot].index - 1U;
    char *payload = banyan_arena_alloc(arena, size + event->payload.size + (borrow ? 0 : event->stream.size));
    struct banyan_str data = {payload + size, event->payload.size};
    if (data.size > 0)
        memcpy(payload + size, event->payload.data, data.size);
    if (!borrow) {
        memcpy(payload + size + data.size, event->stream.data, event->stream.size);
        ret->stream.data = payload + size + data.size;
    }
    ret->type = type;
    ret->payload = payload;
    return store_decode(rules->decoder, type, event->schema, data, arena, payload, err);
}

enum seen_kind seen_event(const struct seen_rules *rules, const struct store_read_event *event,
                          struct banyan_arena *arena, bool borrow, struct banyan_seen *ret, bool *ret_keyed,
                          struct banyan_error *err)
{
    const struct store_event *stored = &event->event;
    const struct banyan_projection *projection = rules->projection;
    size_t category = wanted_category(rules, stored->stream);
    if (category == 0)
        return SEEN_UNWANTED;
    size_t slot = type_slot(rules, stored->type);
    unsigned index = rules->types[slot].index;
    /* A type that nobody knows might have been wanted where all are, and is certainly not where they are named. */
    if (index != 0 ? !rules->types[slot].wanted : projection->types != NULL)
        return SEEN_UNWANTED;

    bool number;
    enum banyan_status st = BANYAN_OK;
    ret->type = 0;
    ret->payload = NULL;
    ret->stream = stored->stream;
    ret->key =
        key_of((struct banyan_str){stored->stream.data + category + 1, stored->stream.size - category - 1}, &number);
    ret->position = event->position;
    ret->version = event->version;
    ret->at = stored->at;
    ret->provenance = stored->provenance;
    *ret_keyed = projection->spread == BANYAN_PARTITIONED && projection->key == NULL && number;
    if (index == 0)
        st = unknown_type(rules, stored->type, err);
    else if (projection->key == NULL && !number)
        st = banyan_error_set(err, BANYAN_INVALID, "stream name %.*s has no integer key", (int)stored->stream.size,
                              stored->stream.data);
    else
        st = decode(rules, stored, slot, arena, borrow, ret, err);
    if (st == BANYAN_OK && projection->key != NULL && !projection->key(ret, &ret->key))
        return SEEN_UNWANTED;
    if (st != BANYAN_OK && !borrow)
        ret->stream = banyan_arena_str(arena, stored->stream);
    return st == BANYAN_OK ? SEEN_WANTED : SEEN_POISON;
}
