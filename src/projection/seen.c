/* SPDX-License-Identifier: Apache-2.0 */
/* Which events a projection sees: see seen.h.  Type names are found through a small open hash table. */
#include "projection/seen.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "store/decode.h"

enum {
    DIGITS_SAFE = 18, /* of a number that cannot overflow */
};

struct seen_rules {
    const struct banyan_domain *domain;
    const struct banyan_projection *projection;
    struct store_decoder *decoder; /* owned */
    struct {
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

static size_t type_slot(const struct seen_rules *rules, struct banyan_str name)
{
    size_t slot = XXH3_64bits(name.data, name.size) & (rules->capacity - 1);
    while (rules->types[slot].index != 0 &&
           !banyan_str_equal(banyan_str_of(rules->domain->events[rules->types[slot].index - 1].name), name))
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
        size_t slot = type_slot(rules, banyan_str_of(domain->events[i].name));
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

int64_t seen_stream_key(struct banyan_str stream, bool *ret_number)
{
    const char *dash = stream.size == 0 ? NULL : memchr(stream.data, '-', stream.size);
    struct banyan_str text = {stream.data, 0};
    int64_t key = 0;
    if (dash != NULL)
        text = (struct banyan_str){dash + 1, stream.size - (size_t)(dash + 1 - stream.data)};
    *ret_number = parse_key(text, &key);
    return *ret_number ? key : banyan_key_of_text(text);
}

static bool wants_category(const struct seen_rules *rules, struct banyan_str stream)
{
    for (size_t i = 0; i < rules->filter.category_count; i++) {
        struct banyan_str category = rules->categories[i];
        if (stream.size > category.size && stream.data[category.size] == '-' &&
            memcmp(stream.data, category.data, category.size) == 0)
            return true;
    }
    return false;
}

/* ---- events ---- */

static enum banyan_status unknown_type(const struct seen_rules *rules, struct banyan_str type, struct banyan_error *err)
{
    (void)banyan_error_set(err, BANYAN_INVALID, "event type %.*s is not known to domain %s", (int)type.size, type.data,
                           rules->domain->name); /* returned below */
    banyan_error_hint(err, "run a program whose domain has this type");
    return BANYAN_INVALID;
}

static enum banyan_status decode(const struct seen_rules *rules, const struct store_event *event, unsigned type,
                                 struct banyan_arena *arena, struct banyan_seen *ret, struct banyan_error *err)
{
    /* One piece of memory for both: the struct, and the bytes that its strings point into. */
    size_t size = (rules->domain->events[type].record->size + 15) & ~(size_t)15;
    char *payload = banyan_arena_alloc(arena, size + event->payload.size);
    struct banyan_str data = {payload + size, event->payload.size};
    if (data.size > 0)
        memcpy(payload + size, event->payload.data, data.size);
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
    if (!wants_category(rules, stored->stream))
        return SEEN_UNWANTED;
    size_t slot = type_slot(rules, stored->type);
    unsigned index = rules->types[slot].index;
    /* A type that nobody knows might have been wanted where all are, and is certainly not where they are named. */
    if (index != 0 ? !rules->types[slot].wanted : projection->types != NULL)
        return SEEN_UNWANTED;

    bool number;
    struct banyan_seen seen = {
        .stream = borrow ? stored->stream : banyan_arena_str(arena, stored->stream),
        .key = seen_stream_key(stored->stream, &number),
        .position = event->position,
        .version = event->version,
        .at = stored->at,
        .provenance = stored->provenance,
    };
    enum banyan_status st = BANYAN_OK;
    *ret_keyed = projection->spread == BANYAN_PARTITIONED && projection->key == NULL && number;
    if (index == 0)
        st = unknown_type(rules, stored->type, err);
    else if (projection->key == NULL && !number)
        st = banyan_error_set(err, BANYAN_INVALID, "stream name %.*s has no integer key", (int)stored->stream.size,
                              stored->stream.data);
    else
        st = decode(rules, stored, index - 1, arena, &seen, err);
    if (st == BANYAN_OK && projection->key != NULL && !projection->key(&seen, &seen.key))
        return SEEN_UNWANTED;
    *ret = seen;
    return st == BANYAN_OK ? SEEN_WANTED : SEEN_POISON;
}
