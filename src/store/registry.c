/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry: what the stream "$schemas" says, in memory.
 *
 *     SchemaRegistered  {"subject": "OrderFilled", "version": 2, "schema": "<the text as it was sent>"}
 *     CompatibilitySet  {"subject": "OrderFilled", "compatibility": "FULL"}
 *     SchemasFrozen, SchemasThawed  {}
 *
 * Changes are in registry_change.c, payloads in registry_json.c.
 */
#include "store/registry.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "store/registry_int.h"

/* ---- subjects and versions ------------------------------------------------------------------------------------ */

/* Below, at or above 0 as strcmp(). */
static int compare_names(struct banyan_str a, struct banyan_str b)
{
    size_t size = a.size < b.size ? a.size : b.size;
    int order = size == 0 ? 0 : memcmp(a.data, b.data, size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

/* Where *name* is or belongs. */
static size_t place_of(const struct store_registry *registry, struct banyan_str name, bool *ret_found)
{
    size_t low = 0, high = registry->subject_count;
    *ret_found = false;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(registry->subjects[middle]->name, name);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct registry_subject *registry_find(const struct store_registry *registry, struct banyan_str name)
{
    bool found;
    size_t at = place_of(registry, name, &found);
    return found ? registry->subjects[at] : NULL;
}

static struct registry_subject *find_or_add(struct store_registry *registry, struct banyan_str name)
{
    bool found;
    size_t at = place_of(registry, name, &found);
    if (found)
        return registry->subjects[at];
    if (registry->subject_count == registry->subject_capacity) {
        registry->subject_capacity = registry->subject_capacity == 0 ? 16 : registry->subject_capacity * 2;
        registry->subjects =
            alloc_resized(registry->subjects, registry->subject_capacity, sizeof(struct registry_subject *));
    }
    struct registry_subject *subject = banyan_arena_zalloc(&registry->arena, sizeof(*subject));
    subject->name = banyan_arena_str(&registry->arena, name);
    subject->compatibility = AVRO_BACKWARD;
    memmove(registry->subjects + at + 1, registry->subjects + at,
            (registry->subject_count - at) * sizeof(struct registry_subject *));
    registry->subjects[at] = subject;
    registry->subject_count++;
    return subject;
}

struct registry_version *registry_version(const struct registry_subject *subject, uint16_t number)
{
    size_t index = number == 0 ? (subject == NULL ? 0 : subject->count) : number;
    return subject == NULL || index == 0 || index > subject->count ? NULL : subject->versions[index - 1];
}

static void put_version(struct registry_subject *subject, struct registry_version *version)
{
    size_t need = version->number;
    if (need > subject->capacity) {
        size_t capacity = subject->capacity == 0 ? 4 : subject->capacity * 2;
        capacity = capacity < need ? need : capacity;
        subject->versions = alloc_resized(subject->versions, capacity, sizeof(struct registry_version *));
        subject->capacity = capacity;
    }
    for (; subject->count < need; subject->count++)
        subject->versions[subject->count] = NULL;
    subject->versions[need - 1] = version;
}

enum banyan_status registry_not_found(const struct registry_subject *subject, struct banyan_str name, uint16_t number,
                                      struct banyan_error *err)
{
    enum banyan_status st;
    if (registry_version(subject, 0) == NULL)
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "no schema of %.*s is registered", (int)name.size, name.data);
    else
        st = banyan_error_set(err, BANYAN_NOT_FOUND, "%.*s has no version %u; the newest is %zu", (int)name.size,
                              name.data, (unsigned)number, subject->count);
    banyan_error_hint(err, "`banyan schema list` tells what is registered.");
    return st;
}

/* ---- events of the stream ------------------------------------------------------------------------------------- */

static struct banyan_str text_at(const json_t *json, const char *name)
{
    const json_t *value = json_object_get(json, name);
    return (struct banyan_str){json_string_value(value), json_string_length(value)};
}

/* False: it is no such event. */
static bool apply_registered(struct store_registry *registry, const json_t *json, struct banyan_time at,
                             struct banyan_error *err)
{
    struct banyan_str subject = text_at(json, "subject"), text = text_at(json, "schema");
    json_int_t number = json_integer_value(json_object_get(json, "version"));
    struct avro_schema *schema = NULL;
    if (subject.size == 0 || text.data == NULL || number < 1 || number > UINT16_MAX)
        return false;
    struct registry_subject *to = find_or_add(registry, subject);
    if ((size_t)number <= to->count || avro_parse(text, &schema, err) != BANYAN_OK)
        return false;
    struct registry_version *version = banyan_arena_zalloc(&registry->arena, sizeof(*version));
    *version = (struct registry_version){
        .number = (uint16_t)number, .schema = schema, .text = banyan_arena_str(&registry->arena, text), .at = at};
    put_version(to, version);
    return true;
}

static bool apply_compatibility(struct store_registry *registry, const json_t *json)
{
    struct banyan_str subject = text_at(json, "subject"), name = text_at(json, "compatibility");
    enum avro_compatibility rule;
    if (subject.size == 0 || name.data == NULL || !avro_compatibility_of(name, &rule))
        return false;
    find_or_add(registry, subject)->compatibility = rule;
    return true;
}

static enum banyan_status apply(struct store_registry *registry, const struct store_read_event *read,
                                struct banyan_error *err)
{
    const struct store_event *event = &read->event;
    struct banyan_error why = BANYAN_ERROR_INIT;
    json_t *json = json_loadb(event->payload.data == NULL ? "" : event->payload.data, event->payload.size,
                              JSON_REJECT_DUPLICATES, NULL);
    bool ok = json != NULL;
    if (banyan_str_equal(event->type, BANYAN_STR("SchemaRegistered")))
        ok = ok && apply_registered(registry, json, event->at, &why);
    else if (banyan_str_equal(event->type, BANYAN_STR("CompatibilitySet")))
        ok = ok && apply_compatibility(registry, json);
    else if (banyan_str_equal(event->type, BANYAN_STR("SchemasFrozen")))
        registry->frozen = true;
    else if (banyan_str_equal(event->type, BANYAN_STR("SchemasThawed")))
        registry->frozen = false;
    else
        ok = false;
    json_decref(json);
    if (ok)
        return BANYAN_OK;
    (void)banyan_error_set(err, BANYAN_CORRUPT, "event %" PRIu64 " of stream $schemas (%.*s) cannot be understood%s%s",
                           read->version.value, (int)event->type.size, event->type.data,
                           why.message[0] == '\0' ? "" : ": ", why.message);
    banyan_error_hint(err, "Only the registry writes this stream; a newer program may have written it.");
    return BANYAN_CORRUPT;
}

enum banyan_status registry_refresh(struct store_registry *registry, struct banyan_error *err)
{
    struct store_head head;
    enum banyan_status st = store_head(registry->store, REGISTRY_STREAM, &head, err);
    if (st != BANYAN_OK || head.version.value <= registry->seen)
        return st;
    struct store_reader *reader = store_reader_open(registry->store);
    st = store_reader_stream(reader, REGISTRY_STREAM, (struct banyan_version){registry->seen + 1}, err);
    while (st == BANYAN_OK) {
        struct store_read_event read;
        st = store_reader_next(reader, &read, err);
        if (st == BANYAN_OK)
            st = apply(registry, &read, err);
        if (st == BANYAN_OK)
            registry->seen = read.version.value;
    }
    store_reader_close(reader);
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st; /* the end, or nothing of it is durable yet */
}

/* ---- open, close ---------------------------------------------------------------------------------------------- */

enum banyan_status store_registry_open(struct store *store, struct store_registry **ret, struct banyan_error *err)
{
    struct store_registry *registry = alloc_zeroed(1, sizeof(*registry));
    registry->store = store;
    (void)pthread_mutex_init(&registry->lock, NULL); /* cannot fail with default attributes */
    (void)pthread_mutex_lock(&registry->lock);
    enum banyan_status st = registry_refresh(registry, err);
    (void)pthread_mutex_unlock(&registry->lock);
    if (st == BANYAN_OK)
        *ret = registry;
    else
        store_registry_close(registry);
    return st;
}

static void release_version(struct registry_version *version)
{
    if (version == NULL)
        return;
    for (struct registry_plan *plan = version->plans; plan != NULL; plan = plan->next)
        avro_plan_free(plan->plan);
    avro_schema_free(version->schema);
}

void store_registry_close(struct store_registry *registry)
{
    if (registry == NULL)
        return;
    for (size_t i = 0; i < registry->subject_count; i++) {
        struct registry_subject *subject = registry->subjects[i];
        for (size_t j = 0; j < subject->count; j++)
            release_version(subject->versions[j]);
        free(subject->versions);
    }
    free(registry->subjects);
    banyan_arena_release(&registry->arena);
    (void)pthread_mutex_destroy(&registry->lock);
    free(registry);
}

/* ---- questions ------------------------------------------------------------------------------------------------ */

static struct store_schema schema_of(const struct registry_subject *subject, const struct registry_version *version)
{
    return (struct store_schema){
        .subject = subject->name,
        .version = version->number,
        .compatibility = subject->compatibility,
        .schema = version->schema,
        .text = version->text,
        .registered_at = version->at,
    };
}

/* Where no error can be told, what is known counts. */
static void refresh_if_possible(struct store_registry *registry)
{
    enum banyan_status st = registry_refresh(registry, NULL);
    (void)st;
}

bool store_registry_frozen(struct store_registry *registry)
{
    (void)pthread_mutex_lock(&registry->lock);
    refresh_if_possible(registry);
    bool frozen = registry->frozen;
    (void)pthread_mutex_unlock(&registry->lock);
    return frozen;
}

enum banyan_status store_registry_get(struct store_registry *registry, struct banyan_str subject, uint16_t version,
                                      struct store_schema *ret, struct banyan_error *err)
{
    (void)pthread_mutex_lock(&registry->lock);
    enum banyan_status st = registry_refresh(registry, err);
    const struct registry_subject *found = registry_find(registry, subject);
    const struct registry_version *at = registry_version(found, version);
    if (st == BANYAN_OK && at == NULL)
        st = registry_not_found(found, subject, version, err);
    if (st == BANYAN_OK)
        *ret = schema_of(found, at);
    (void)pthread_mutex_unlock(&registry->lock);
    return st;
}

void store_registry_list(struct store_registry *registry, struct banyan_arena *arena, struct store_schema **ret,
                         size_t *ret_count)
{
    size_t count = 0;
    (void)pthread_mutex_lock(&registry->lock);
    refresh_if_possible(registry);
    for (size_t i = 0; i < registry->subject_count; i++)
        count += registry->subjects[i]->count;
    struct store_schema *schemas = banyan_arena_alloc(arena, (count + 1) * sizeof(*schemas));
    count = 0;
    for (size_t i = 0; i < registry->subject_count; i++) {
        const struct registry_subject *subject = registry->subjects[i];
        for (size_t j = 0; j < subject->count; j++) {
            if (subject->versions[j] != NULL)
                schemas[count++] = schema_of(subject, subject->versions[j]);
        }
    }
    (void)pthread_mutex_unlock(&registry->lock);
    *ret = schemas;
    *ret_count = count;
}
