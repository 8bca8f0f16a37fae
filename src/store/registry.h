/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry of event schemas: which Avro schema a version of an event type has, and what may follow it.
 *
 * A subject is the name of an event type; its versions grow from 1 on and are never changed or removed.  (A domain
 * whose type is at version 3 in a new store registers 3 alone.)  The registry is itself a stream ("$schemas") of the
 * store, so it is durable, ordered, verified and backed up like everything else.  While a registry is frozen nothing
 * can be registered.
 *
 * Several registries over one store, in one process or beside a writer, agree: each change is appended at the version
 * of the stream that it was decided on, and is decided again when that was not the last one.
 *
 * Threads: any.
 */
#ifndef STORE_REGISTRY_H
#define STORE_REGISTRY_H

#include "schema/avro.h"
#include "store/store.h"

struct store_registry;

struct store_schema {
    struct banyan_str subject;
    uint16_t version;
    enum avro_compatibility compatibility; /* of the subject */
    const struct avro_schema *schema;      /* parsed; lives as long as the registry */
    struct banyan_str text;                /* as it was registered; lives as long as the registry */
    struct banyan_time registered_at;
};

/* Read the stream "$schemas"; *store* is borrowed. */
BANYAN_MUST_CHECK enum banyan_status store_registry_open(struct store *store, struct store_registry **ret,
                                                         struct banyan_error *err);
void store_registry_close(struct store_registry *registry); /* NULL allowed */

/* Register *text* (Avro schema JSON) as the next version of *subject*.  The same schema again (documentation aside)
 * answers its version, also while frozen.
 * INVALID: not a schema; CONFLICT: not compatible (the message names field and reason) or frozen. */
BANYAN_MUST_CHECK enum banyan_status store_registry_register(struct store_registry *registry, struct banyan_str subject,
                                                             struct banyan_str text, uint16_t *ret_version,
                                                             struct banyan_error *err);
/* Would it be accepted?  The same statuses; changes nothing. */
BANYAN_MUST_CHECK enum banyan_status store_registry_check(struct store_registry *registry, struct banyan_str subject,
                                                          struct banyan_str text, struct banyan_error *err);
/* Register *text* as exactly *version*, which must be the one that it has, or be above all others. */
BANYAN_MUST_CHECK enum banyan_status store_registry_register_as(struct store_registry *registry,
                                                                struct banyan_str subject, uint16_t version,
                                                                struct banyan_str text, struct banyan_error *err);
/* Register the event types of *domain* (borrowed from now on) as the versions that it says, and use its upcasters: a
 * version that has one needs no compatibility.  Where the store is only read, nothing is registered.  CONFLICT when a
 * type is registered with another schema, is not compatible, or is new and the registry frozen. */
BANYAN_MUST_CHECK enum banyan_status store_registry_use_domain(struct store_registry *registry,
                                                               const struct banyan_domain *domain,
                                                               struct banyan_error *err);
/* How versions of *subject* must follow each other from now on; a subject without its own rule: BACKWARD.  NOT_FOUND.
 */
BANYAN_MUST_CHECK enum banyan_status store_registry_set_compatibility(struct store_registry *registry,
                                                                      struct banyan_str subject,
                                                                      enum avro_compatibility compatibility,
                                                                      struct banyan_error *err);
BANYAN_MUST_CHECK enum banyan_status store_registry_freeze(struct store_registry *registry, bool frozen,
                                                           struct banyan_error *err);
bool store_registry_frozen(struct store_registry *registry);

/* Version 0: the newest.  NOT_FOUND. */
BANYAN_MUST_CHECK enum banyan_status store_registry_get(struct store_registry *registry, struct banyan_str subject,
                                                        uint16_t version, struct store_schema *ret,
                                                        struct banyan_error *err);
/* All versions of all subjects, ordered by subject and version, into *arena*. */
void store_registry_list(struct store_registry *registry, struct banyan_arena *arena, struct store_schema **ret,
                         size_t *ret_count);

/* The payload of an event as JSON under the newest schema of its type (resolved from the version that wrote it, by the
 * rules of Avro or by a registered upcaster); JSON payloads (schema 0) as they are. */
BANYAN_MUST_CHECK enum banyan_status store_registry_to_json(struct store_registry *registry,
                                                            const struct store_event *event, struct banyan_buf *ret,
                                                            struct banyan_error *err);
/* JSON → binary under *version* of *subject* (0: the newest).  INVALID names the field. */
BANYAN_MUST_CHECK enum banyan_status store_registry_from_json(struct store_registry *registry,
                                                              struct banyan_str subject, uint16_t version,
                                                              struct banyan_str json, struct banyan_buf *ret,
                                                              uint16_t *ret_version, struct banyan_error *err);

#endif
