/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of the registry: decide on what is known, append at the version of the stream that it was decided on, and
 * decide again when somebody else was faster.
 *
 *     lock: refresh, decide ──▶ unlock: append at the version seen ──▶ lock: refresh (the change is read back)
 *              ▲                           │ CONFLICT: wait until the other change is durable
 *              └───────────────────────────┘
 *
 * A change is known only by reading it back, so what a process knows is what every other will.
 */
#include <jansson.h>

#include "os/clock.h"
#include "os/random.h"
#include "store/decode.h"
#include "store/registry_int.h"
#include "store/store_int.h"

enum {
    TRIES_MAX = 1000, /* each lost one means that somebody else's change was made */
    PAYLOAD_BYTES_MAX = 16 * 1024 * 1024,
};

/* One change that is wanted; decide() fills *type* and the payload, or leaves *type* empty: nothing to do. */
struct wish {
    enum banyan_status (*decide)(struct store_registry *registry, struct wish *wish, struct banyan_error *err);
    struct banyan_str subject;
    struct banyan_str text;
    const struct avro_schema *schema; /* of *text* */
    uint16_t exactly;                 /* the version that it must become; 0: the next one */
    enum avro_compatibility compatibility;
    bool frozen;

    struct banyan_buf payload;
    struct banyan_str type;
    uint16_t version; /* that it is, or becomes */
};

/* ---- deciding: with the lock, nothing is changed --------------------------------------------------------------- */

static bool has_upcaster(const struct store_registry *registry, struct banyan_str type, uint16_t version)
{
    const struct banyan_domain *domain = registry->domain;
    for (size_t i = 0; domain != NULL && i < domain->upcaster_count; i++) {
        const struct banyan_upcaster *upcaster = &domain->upcasters[i];
        if (upcaster->from_version == version &&
            banyan_str_equal(banyan_str_of(domain->events[upcaster->type].name), type))
            return true;
    }
    return false;
}

static enum banyan_status check_subject(struct banyan_str subject, struct banyan_error *err)
{
    if (subject.size == 0)
        return banyan_error_set(err, BANYAN_INVALID, "a subject needs a name: that of the event type");
    if (subject.size > STORE_TYPE_NAME_BYTES_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "the name of a subject has %zu bytes; at most %d are allowed",
                                subject.size, STORE_TYPE_NAME_BYTES_MAX);
    for (size_t i = 0; i < subject.size; i++) {
        if ((unsigned char)subject.data[i] < 0x20 || subject.data[i] == 0x7F || subject.data[i] == '/')
            return banyan_error_set(err, BANYAN_INVALID,
                                    "the name of a subject has no control characters and no slash");
    }
    return BANYAN_OK;
}

/* Does the schema stand there already, under the wanted number? */
static enum banyan_status find_same(const struct registry_subject *subject, struct wish *wish, struct banyan_error *err)
{
    for (size_t i = subject == NULL ? 0 : subject->count; i > 0 && wish->exactly == 0; i--) {
        if (subject->versions[i - 1] != NULL && avro_same(subject->versions[i - 1]->schema, wish->schema)) {
            wish->version = (uint16_t)i;
            return BANYAN_OK;
        }
    }
    const struct registry_version *there = wish->exactly == 0 ? NULL : registry_version(subject, wish->exactly);
    if (there == NULL)
        return BANYAN_OK;
    if (avro_same(there->schema, wish->schema)) {
        wish->version = wish->exactly;
        return BANYAN_OK;
    }
    (void)banyan_error_set(err, BANYAN_CONFLICT, "%.*s version %u is registered with another schema",
                           (int)wish->subject.size, wish->subject.data, (unsigned)wish->exactly);
    banyan_error_hint(err,
                      "A version never changes: give the changed schema the next version (of a domain's event type: "
                      "raise banyan_event_type.version).  `banyan schema show` prints what is registered.");
    return BANYAN_CONFLICT;
}

static enum banyan_status check_compatible(struct store_registry *registry, const struct registry_subject *subject,
                                           const struct wish *wish, struct banyan_error *err)
{
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    const struct avro_schema **schemas = banyan_arena_zalloc(&arena, (subject->count + 1) * sizeof(*schemas));
    for (size_t i = 0; i < subject->count; i++) {
        if (subject->versions[i] != NULL && !has_upcaster(registry, subject->name, (uint16_t)(i + 1)))
            schemas[i] = subject->versions[i]->schema;
    }
    enum banyan_status st = avro_compatible(subject->compatibility, wish->schema, schemas, subject->count, err);
    banyan_arena_release(&arena);
    return st;
}

/* May it be registered?  *ret_version 0 in the wish: it is new. */
static enum banyan_status judge(struct store_registry *registry, struct wish *wish, struct banyan_error *err)
{
    const struct registry_subject *subject = registry_find(registry, wish->subject);
    size_t newest = subject == NULL ? 0 : subject->count;
    wish->version = 0;
    enum banyan_status st = check_subject(wish->subject, err);
    if (st == BANYAN_OK)
        st = find_same(subject, wish, err);
    if (st != BANYAN_OK || wish->version != 0)
        return st;
    if (registry->frozen) {
        st = banyan_error_set(err, BANYAN_CONFLICT, "the registry is frozen: the new schema of %.*s is not registered",
                              (int)wish->subject.size, wish->subject.data);
        banyan_error_hint(err, "`banyan schema thaw` lets schemas be registered again.");
        return st;
    }
    if (wish->exactly != 0 && wish->exactly <= newest)
        return banyan_error_set(err, BANYAN_CONFLICT, "%.*s cannot get a version %u any more: the newest is %zu",
                                (int)wish->subject.size, wish->subject.data, (unsigned)wish->exactly, newest);
    if (newest == UINT16_MAX)
        return banyan_error_set(err, BANYAN_LIMIT, "%.*s has %d versions, and can have no more",
                                (int)wish->subject.size, wish->subject.data, UINT16_MAX);
    if (subject != NULL)
        st = check_compatible(registry, subject, wish, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "%.*s", (int)wish->subject.size, wish->subject.data);
    return st;
}

static enum banyan_status decide_register(struct store_registry *registry, struct wish *wish, struct banyan_error *err)
{
    enum banyan_status st = judge(registry, wish, err);
    if (st != BANYAN_OK || wish->version != 0)
        return st;
    const struct registry_subject *subject = registry_find(registry, wish->subject);
    wish->version = wish->exactly != 0 ? wish->exactly : (uint16_t)(subject == NULL ? 1 : subject->count + 1);
    wish->type = BANYAN_STR("SchemaRegistered");
    banyan_buf_add_text(&wish->payload, "{\"subject\":");
    banyan_buf_add_json(&wish->payload, wish->subject);
    banyan_buf_printf(&wish->payload, ",\"version\":%u,\"schema\":", (unsigned)wish->version);
    banyan_buf_add_json(&wish->payload, wish->text);
    banyan_buf_add_char(&wish->payload, '}');
    return BANYAN_OK;
}

static enum banyan_status decide_compatibility(struct store_registry *registry, struct wish *wish,
                                               struct banyan_error *err)
{
    const struct registry_subject *subject = registry_find(registry, wish->subject);
    if (registry_version(subject, 0) == NULL)
        return registry_not_found(subject, wish->subject, 0, err);
    if (subject->compatibility == wish->compatibility)
        return BANYAN_OK;
    wish->type = BANYAN_STR("CompatibilitySet");
    banyan_buf_add_text(&wish->payload, "{\"subject\":");
    banyan_buf_add_json(&wish->payload, wish->subject);
    banyan_buf_printf(&wish->payload, ",\"compatibility\":\"%s\"}", avro_compatibility_name(wish->compatibility));
    return BANYAN_OK;
}

static enum banyan_status decide_freeze(struct store_registry *registry, struct wish *wish, struct banyan_error *err)
{
    if (registry->frozen == wish->frozen)
        return BANYAN_OK;
    wish->type = wish->frozen ? BANYAN_STR("SchemasFrozen") : BANYAN_STR("SchemasThawed");
    banyan_buf_add_text(&wish->payload, "{}");
    return BANYAN_OK;
}

/* ---- doing ----------------------------------------------------------------------------------------------------- */

static enum banyan_status append(struct store_registry *registry, const struct wish *wish, uint64_t seen,
                                 struct banyan_error *err)
{
    struct store_event event = {
        .id = os_uuid_new(),
        .stream = REGISTRY_STREAM,
        .type = wish->type,
        .provenance = BANYAN_EXACT,
        .at = os_clock_now(registry->store->options.clock),
        .payload = banyan_buf_str(&wish->payload),
    };
    struct store_condition condition = {
        .stream = REGISTRY_STREAM, .expect = seen == 0 ? STORE_EXPECT_ABSENT : STORE_EXPECT_VERSION, .version = {seen}};
    struct store_append append = {.events = &event, .event_count = 1, .conditions = &condition, .condition_count = 1};
    struct store_appended appended;
    if (wish->payload.overflow)
        return banyan_error_set(err, BANYAN_LIMIT, "the schema is too large to be registered");
    return store_append(registry->store, &append, &appended, err);
}

/* One try.  CONFLICT with *ret_again: somebody else's change is waited for, and all may be different then. */
static enum banyan_status try_once(struct store_registry *registry, struct wish *wish, bool *ret_again,
                                   struct banyan_error *err)
{
    struct store_head head;
    *ret_again = false;
    wish->type = (struct banyan_str){NULL, 0};
    banyan_buf_reset(&wish->payload);
    (void)pthread_mutex_lock(&registry->lock);
    enum banyan_status st = registry_refresh(registry, err);
    uint64_t seen = registry->seen;
    if (st == BANYAN_OK)
        st = wish->decide(registry, wish, err);
    (void)pthread_mutex_unlock(&registry->lock);
    if (st != BANYAN_OK || wish->type.data == NULL)
        return st;
    st = append(registry, wish, seen, err);
    if (st == BANYAN_CONFLICT) {
        *ret_again = true;
        banyan_error_clear(err);
        st = store_head(registry->store, REGISTRY_STREAM, &head, err);
        return st == BANYAN_OK ? store_wait(registry->store, head.position, INT64_MAX, err) : st;
    }
    if (st != BANYAN_OK)
        return st;
    (void)pthread_mutex_lock(&registry->lock);
    st = registry_refresh(registry, err);
    (void)pthread_mutex_unlock(&registry->lock);
    return st;
}

static enum banyan_status fulfil(struct store_registry *registry, struct wish *wish, struct banyan_error *err)
{
    struct banyan_error own = BANYAN_ERROR_INIT;
    err = err == NULL ? &own : err; /* a lost try has to be forgotten */
    bool again = true;
    enum banyan_status st = BANYAN_OK;
    wish->payload = (struct banyan_buf)BANYAN_BUF_INIT(PAYLOAD_BYTES_MAX);
    for (int i = 0; i < TRIES_MAX && again && st == BANYAN_OK; i++)
        st = try_once(registry, wish, &again, err);
    banyan_buf_release(&wish->payload);
    if (st == BANYAN_OK && again)
        return banyan_error_set(err, BANYAN_BUSY, "the registry is being changed by others all the time");
    return st;
}

static enum banyan_status register_text(struct store_registry *registry, struct banyan_str subject, uint16_t exactly,
                                        struct banyan_str text, uint16_t *ret_version, struct banyan_error *err)
{
    struct avro_schema *schema = NULL;
    enum banyan_status st = avro_parse(text, &schema, err);
    if (st != BANYAN_OK)
        return st;
    struct wish wish = {
        .decide = decide_register, .subject = subject, .text = text, .schema = schema, .exactly = exactly};
    st = fulfil(registry, &wish, err);
    avro_schema_free(schema);
    if (st == BANYAN_OK && ret_version != NULL)
        *ret_version = wish.version;
    return st;
}

enum banyan_status store_registry_register(struct store_registry *registry, struct banyan_str subject,
                                           struct banyan_str text, uint16_t *ret_version, struct banyan_error *err)
{
    return register_text(registry, subject, 0, text, ret_version, err);
}

enum banyan_status store_registry_register_as(struct store_registry *registry, struct banyan_str subject,
                                              uint16_t version, struct banyan_str text, struct banyan_error *err)
{
    if (version == 0)
        return banyan_error_set(err, BANYAN_INVALID, "versions begin at 1");
    return register_text(registry, subject, version, text, NULL, err);
}

enum banyan_status store_registry_check(struct store_registry *registry, struct banyan_str subject,
                                        struct banyan_str text, struct banyan_error *err)
{
    struct avro_schema *schema = NULL;
    enum banyan_status st = avro_parse(text, &schema, err);
    if (st != BANYAN_OK)
        return st;
    struct wish wish = {.subject = subject, .text = text, .schema = schema};
    (void)pthread_mutex_lock(&registry->lock);
    st = registry_refresh(registry, err);
    if (st == BANYAN_OK)
        st = judge(registry, &wish, err);
    (void)pthread_mutex_unlock(&registry->lock);
    avro_schema_free(schema);
    return st;
}

enum banyan_status store_registry_set_compatibility(struct store_registry *registry, struct banyan_str subject,
                                                    enum avro_compatibility compatibility, struct banyan_error *err)
{
    if ((unsigned)compatibility >= AVRO_COMPATIBILITIES)
        return banyan_error_set(err, BANYAN_INVALID, "%d is no rule of compatibility", (int)compatibility);
    struct wish wish = {.decide = decide_compatibility, .subject = subject, .compatibility = compatibility};
    return fulfil(registry, &wish, err);
}

enum banyan_status store_registry_freeze(struct store_registry *registry, bool frozen, struct banyan_error *err)
{
    struct wish wish = {.decide = decide_freeze, .frozen = frozen};
    return fulfil(registry, &wish, err);
}

/* A table of upcasters that is wrong is found at the start, not at the first old event. */
static enum banyan_status check_upcasters(const struct banyan_domain *domain, struct banyan_error *err)
{
    for (size_t i = 0; i < domain->upcaster_count; i++) {
        const struct banyan_upcaster *upcaster = &domain->upcasters[i];
        bool good = upcaster->type < domain->event_count && upcaster->from != NULL && upcaster->upcast != NULL &&
                    upcaster->from_version > 0 && upcaster->from_version < domain->events[upcaster->type].version &&
                    store_find_upcaster(domain, upcaster->type, upcaster->from_version) == upcaster;
        if (good)
            continue;
        (void)banyan_error_set(err, BANYAN_INVALID, "domain %s: upcaster %zu is not valid", domain->name, i);
        banyan_error_hint(err, "Each is of one older version of one type of the domain, with its record and function.");
        return BANYAN_INVALID;
    }
    return BANYAN_OK;
}

/* The same for records that cannot be stored. */
static enum banyan_status check_records(const struct banyan_domain *domain, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < domain->event_count && st == BANYAN_OK; i++)
        st = banyan_record_check(domain->events[i].record, err);
    for (size_t i = 0; i < domain->upcaster_count && st == BANYAN_OK; i++)
        st = banyan_record_check(domain->upcasters[i].from, err);
    for (size_t i = 0; i < domain->aggregate_count && st == BANYAN_OK; i++) {
        const struct banyan_aggregate *aggregate = &domain->aggregates[i];
        st = banyan_record_check(aggregate->state, err);
        for (size_t k = 0; k < aggregate->command_count && st == BANYAN_OK; k++)
            st = banyan_record_check(aggregate->commands[k].record, err);
    }
    if (st != BANYAN_OK)
        banyan_error_context(err, "domain %s", domain->name);
    return st;
}

enum banyan_status store_registry_use_domain(struct store_registry *registry, const struct banyan_domain *domain,
                                             struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(PAYLOAD_BYTES_MAX);
    enum banyan_status st = check_upcasters(domain, err);
    if (st == BANYAN_OK)
        st = check_records(domain, err);
    if (st != BANYAN_OK)
        return st;
    (void)pthread_mutex_lock(&registry->lock);
    registry->domain = domain;
    (void)pthread_mutex_unlock(&registry->lock);
    for (size_t i = 0; i < domain->event_count && st == BANYAN_OK && !registry->store->options.read_only; i++) {
        const struct banyan_event_type *type = &domain->events[i];
        banyan_buf_reset(&text);
        banyan_record_schema(type->record, &text);
        st = store_registry_register_as(registry, banyan_str_of(type->name), type->version, banyan_buf_str(&text), err);
        if (st != BANYAN_OK)
            banyan_error_context(err, "event type %s of domain %s", type->name, domain->name);
    }
    banyan_buf_release(&text);
    return st;
}
