/* SPDX-License-Identifier: Apache-2.0 */
/* See decode.h.  What old versions need (registry, schemas, plans) is made at the first event that needs it. */
#include "store/decode.h"

#include <pthread.h>
#include <stdlib.h>

#include "banyan/record.h"
#include "base/alloc.h"
#include "store/registry.h"

enum {
    SCHEMA_BYTES_MAX = 1024 * 1024,
};

/* How one old version of one type is read. */
struct old_version {
    struct old_version *next;
    uint16_t version;
    struct avro_plan *plan; /* owned */
};

struct old_type {
    struct avro_schema *reader; /* of the type's record; owned; NULL until needed */
    struct old_version *versions;
};

struct store_decoder {
    struct store *store; /* borrowed; may be NULL */
    const struct banyan_domain *domain;

    pthread_mutex_t lock;            /* guards all below; plans are constant once made */
    struct store_registry *registry; /* owned; NULL until needed */
    struct old_type *types;          /* by index in domain->events; owned */
};

struct store_decoder *store_decoder_new(struct store *store, const struct banyan_domain *domain)
{
    struct store_decoder *decoder = alloc_zeroed(1, sizeof(*decoder));
    decoder->store = store;
    decoder->domain = domain;
    decoder->types = alloc_zeroed(domain->event_count + 1, sizeof(*decoder->types));
    (void)pthread_mutex_init(&decoder->lock, NULL); /* cannot fail with default attributes */
    return decoder;
}

void store_decoder_free(struct store_decoder *decoder)
{
    if (decoder == NULL)
        return;
    for (size_t i = 0; i < decoder->domain->event_count; i++) {
        struct old_version *next = NULL;
        for (struct old_version *old = decoder->types[i].versions; old != NULL; old = next) {
            next = old->next;
            avro_plan_free(old->plan);
            free(old);
        }
        avro_schema_free(decoder->types[i].reader);
    }
    free(decoder->types);
    store_registry_close(decoder->registry);
    (void)pthread_mutex_destroy(&decoder->lock);
    free(decoder);
}

/* ---- upcasters ------------------------------------------------------------------------------------------------- */

const struct banyan_upcaster *store_find_upcaster(const struct banyan_domain *domain, unsigned type, uint16_t version)
{
    for (size_t i = 0; i < domain->upcaster_count; i++) {
        if (domain->upcasters[i].type == type && domain->upcasters[i].from_version == version)
            return &domain->upcasters[i];
    }
    return NULL;
}

enum banyan_status store_upcast(const struct banyan_domain *domain, const struct banyan_upcaster *upcaster,
                                struct banyan_str payload, struct banyan_arena *arena, void *ret,
                                struct banyan_error *err)
{
    const struct banyan_event_type *type = &domain->events[upcaster->type];
    void *old = banyan_arena_alloc(arena, upcaster->from->size);
    enum banyan_status st = banyan_record_decode_in(upcaster->from, payload, arena, old, err);
    if (st != BANYAN_OK) {
        banyan_error_context(err, "version %u", (unsigned)upcaster->from_version);
        return st;
    }
    banyan_record_init(type->record, ret);
    if (upcaster->upcast(old, ret, arena))
        return BANYAN_OK;
    return banyan_error_set(err, BANYAN_INVALID, "the upcaster of version %u refuses the event",
                            (unsigned)upcaster->from_version);
}

/* ---- the rules of Avro ----------------------------------------------------------------------------------------- */

static enum banyan_status make_reader(const struct banyan_event_type *type, struct avro_schema **ret,
                                      struct banyan_error *err)
{
    struct banyan_buf text = BANYAN_BUF_INIT(SCHEMA_BYTES_MAX);
    if (*ret != NULL)
        return BANYAN_OK;
    banyan_record_schema(type->record, &text);
    enum banyan_status st = avro_parse(banyan_buf_str(&text), ret, err);
    banyan_buf_release(&text);
    return st;
}

static enum banyan_status make_plan(struct store_decoder *decoder, unsigned index, uint16_t version,
                                    struct avro_plan **ret, struct banyan_error *err)
{
    const struct banyan_event_type *type = &decoder->domain->events[index];
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct store_schema writer;
    enum banyan_status st = BANYAN_OK;
    if (decoder->registry == NULL && decoder->store != NULL)
        st = store_registry_open(decoder->store, &decoder->registry, err);
    if (st == BANYAN_OK)
        st = make_reader(type, &decoder->types[index].reader, err);
    if (st != BANYAN_OK)
        return st;
    st = decoder->registry == NULL
             ? banyan_error_set(&why, BANYAN_NOT_FOUND, "there is no registry")
             : store_registry_get(decoder->registry, banyan_str_of(type->name), version, &writer, &why);
    if (st == BANYAN_OK)
        st = avro_plan(writer.schema, decoder->types[index].reader, ret, &why);
    if (st == BANYAN_OK)
        return BANYAN_OK;
    st = st == BANYAN_NOT_FOUND || st == BANYAN_CONFLICT ? BANYAN_INVALID : st;
    (void)banyan_error_set(err, st, "it cannot be read as version %u: %s", (unsigned)type->version, why.message);
    banyan_error_hint(err, "Register the schema of that version (`banyan schema register`), or give the domain an "
                           "upcaster for it.");
    return st;
}

static enum banyan_status find_plan(struct store_decoder *decoder, unsigned index, uint16_t version,
                                    const struct avro_plan **ret, struct banyan_error *err)
{
    struct old_type *type = &decoder->types[index];
    struct avro_plan *plan = NULL;
    enum banyan_status st = BANYAN_OK;
    (void)pthread_mutex_lock(&decoder->lock);
    struct old_version *old = type->versions;
    while (old != NULL && old->version != version)
        old = old->next;
    if (old == NULL)
        st = make_plan(decoder, index, version, &plan, err);
    if (old == NULL && st == BANYAN_OK) {
        old = alloc_zeroed(1, sizeof(*old));
        *old = (struct old_version){.next = type->versions, .version = version, .plan = plan};
        type->versions = old;
    }
    (void)pthread_mutex_unlock(&decoder->lock);
    if (st == BANYAN_OK)
        *ret = old->plan;
    return st;
}

static enum banyan_status resolve(struct store_decoder *decoder, unsigned index, uint16_t version,
                                  struct banyan_str payload, struct banyan_arena *arena, void *ret,
                                  struct banyan_error *err)
{
    struct banyan_buf binary = BANYAN_BUF_INIT(STORE_PAYLOAD_BYTES_MAX);
    const struct avro_plan *plan = NULL;
    enum banyan_status st = find_plan(decoder, index, version, &plan, err);
    if (st == BANYAN_OK)
        st = avro_resolve(plan, payload, &binary, err);
    if (st == BANYAN_OK)
        st = banyan_record_decode_in(decoder->domain->events[index].record,
                                     banyan_arena_str(arena, banyan_buf_str(&binary)), arena, ret, err);
    banyan_buf_release(&binary);
    return st;
}

enum banyan_status store_decode(struct store_decoder *decoder, unsigned index, uint16_t version,
                                struct banyan_str payload, struct banyan_arena *arena, void *ret,
                                struct banyan_error *err)
{
    const struct banyan_event_type *type = &decoder->domain->events[index];
    enum banyan_status st;
    if (version == type->version) {
        st = banyan_record_decode_in(type->record, payload, arena, ret, err);
        if (st != BANYAN_OK)
            banyan_error_context(err, "event type %s", type->name);
        return st;
    }
    if (version == 0 || version > type->version) {
        (void)banyan_error_set(err, BANYAN_INVALID, "event type %s is stored in version %u, domain %s has version %u",
                               type->name, (unsigned)version, decoder->domain->name, (unsigned)type->version);
        banyan_error_hint(err, version == 0 ? "it was appended as JSON, without a schema"
                                            : "run a newer build of the domain, one that knows this version");
        return BANYAN_INVALID;
    }
    const struct banyan_upcaster *upcaster = store_find_upcaster(decoder->domain, index, version);
    if (upcaster != NULL)
        st = store_upcast(decoder->domain, upcaster, payload, arena, ret, err);
    else
        st = resolve(decoder, index, version, payload, arena, ret, err);
    if (st != BANYAN_OK)
        banyan_error_context(err, "event type %s is stored in version %u", type->name, (unsigned)version);
    return st;
}
