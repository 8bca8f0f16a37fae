/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads as JSON, under the schemas of the registry.
 *
 * Plans are made at the first event of a version and kept as long as the registry, so they are used outside the lock.
 */
#include "banyan/record.h"
#include "store/decode.h"
#include "store/registry_int.h"

/* With the lock: how values of *writer* become values of *reader*. */
static enum banyan_status find_plan(struct store_registry *registry, struct registry_version *writer,
                                    const struct registry_version *reader, const struct avro_plan **ret,
                                    struct banyan_error *err)
{
    struct registry_plan *found = writer->plans;
    while (found != NULL && found->reader != reader->number)
        found = found->next;
    if (found == NULL) {
        struct avro_plan *plan = NULL;
        enum banyan_status st = avro_plan(writer->schema, reader->schema, &plan, err);
        if (st != BANYAN_OK) {
            banyan_error_context(err, "version %u cannot be read as version %u", (unsigned)writer->number,
                                 (unsigned)reader->number);
            banyan_error_hint(err, "Give the domain an upcaster for that version.");
            return st;
        }
        found = banyan_arena_alloc(&registry->arena, sizeof(*found));
        *found = (struct registry_plan){.next = writer->plans, .reader = reader->number, .plan = plan};
        writer->plans = found;
    }
    *ret = found->plan;
    return BANYAN_OK;
}

/* The plan from version *number* of *name* to its newest one. */
static enum banyan_status plan_of(struct store_registry *registry, struct banyan_str name, uint16_t number,
                                  const struct avro_plan **ret, struct banyan_error *err)
{
    (void)pthread_mutex_lock(&registry->lock);
    enum banyan_status st = registry_refresh(registry, err);
    struct registry_subject *subject = registry_find(registry, name);
    struct registry_version *writer = registry_version(subject, number);
    if (st == BANYAN_OK && writer == NULL)
        st = registry_not_found(subject, name, number, err);
    if (st == BANYAN_OK)
        st = find_plan(registry, writer, registry_version(subject, 0), ret, err);
    (void)pthread_mutex_unlock(&registry->lock);
    return st;
}

/* The upcaster of the event, where its type is one of the domain and has one. */
static const struct banyan_upcaster *upcaster_of(const struct banyan_domain *domain, const struct store_event *event)
{
    for (unsigned i = 0; domain != NULL && domain->upcaster_count > 0 && i < domain->event_count; i++) {
        if (banyan_str_equal(banyan_str_of(domain->events[i].name), event->type))
            return store_find_upcaster(domain, i, event->schema);
    }
    return NULL;
}

/* Old payload → binary of the domain's version. */
static enum banyan_status upcast(const struct banyan_domain *domain, const struct banyan_upcaster *upcaster,
                                 struct banyan_str payload, struct banyan_buf *ret, struct banyan_error *err)
{
    const struct banyan_record *record = domain->events[upcaster->type].record;
    struct banyan_arena arena = BANYAN_ARENA_INIT;
    void *value = banyan_arena_alloc(&arena, record->size);
    enum banyan_status st = store_upcast(domain, upcaster, payload, &arena, value, err);
    if (st == BANYAN_OK)
        st = banyan_record_encode(record, value, ret, err);
    banyan_arena_release(&arena);
    return st;
}

enum banyan_status store_registry_to_json(struct store_registry *registry, const struct store_event *event,
                                          struct banyan_buf *ret, struct banyan_error *err)
{
    struct banyan_buf binary = BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX);
    const struct avro_plan *plan = NULL;
    enum banyan_status st = BANYAN_OK;
    if (event->schema == 0) {
        banyan_buf_add_str(ret, event->payload);
        return ret->overflow ? banyan_error_set(err, BANYAN_LIMIT, "the payload is too large") : BANYAN_OK;
    }
    (void)pthread_mutex_lock(&registry->lock);
    const struct banyan_domain *domain = registry->domain;
    (void)pthread_mutex_unlock(&registry->lock);
    const struct banyan_upcaster *upcaster = upcaster_of(domain, event);
    uint16_t number = upcaster == NULL ? event->schema : domain->events[upcaster->type].version;
    if (upcaster != NULL)
        st = upcast(domain, upcaster, event->payload, &binary, err);
    if (st == BANYAN_OK)
        st = plan_of(registry, event->type, number, &plan, err);
    if (st == BANYAN_OK)
        st = avro_to_json(plan, upcaster == NULL ? event->payload : banyan_buf_str(&binary), ret, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "event type %.*s, version %u", (int)event->type.size, event->type.data,
                             (unsigned)event->schema);
    banyan_buf_release(&binary);
    return st;
}

enum banyan_status store_registry_from_json(struct store_registry *registry, struct banyan_str subject,
                                            uint16_t version, struct banyan_str json, struct banyan_buf *ret,
                                            uint16_t *ret_version, struct banyan_error *err)
{
    struct store_schema schema;
    enum banyan_status st = store_registry_get(registry, subject, version, &schema, err);
    if (st != BANYAN_OK)
        return st;
    st = avro_from_json(schema.schema, json, ret, err);
    if (st == BANYAN_OK && ret_version != NULL)
        *ret_version = schema.version;
    if (st != BANYAN_OK)
        banyan_error_context(err, "%.*s version %u", (int)subject.size, subject.data, (unsigned)schema.version);
    return st;
}
