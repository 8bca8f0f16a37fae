/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of appends: JSON to events.  Pure but for schemas, which are looked up in the registry.
 *
 * Everything points into the body or the arena; payloads are the bytes that were sent.
 */
#ifndef HTTP_BODY_H
#define HTTP_BODY_H

#include "banyan/arena.h"
#include "banyan/error.h"
#include "store/store.h"

struct store_registry;

struct body_batch {
    struct store_event *events;
    size_t event_count;
    struct store_condition *conditions;
    size_t condition_count;
};

/* What events lack and the request says. */
struct body_defaults {
    struct store_registry *registry;   /* NULL: no schemas */
    struct banyan_str stream;          /* data NULL: each event has to name its own */
    struct banyan_str idempotency_key; /* data NULL: an id that is missing is made up */
    uint64_t index;                    /* of the first event, for ids from the key */
    struct banyan_time now;
    bool cloud; /* CloudEvents, structured */
};

/* One event or an array of them.  INVALID names event and member; LIMIT. */
BANYAN_MUST_CHECK enum banyan_status body_events(struct banyan_str body, const struct body_defaults *defaults,
                                                 struct banyan_arena *arena, struct body_batch *ret,
                                                 struct banyan_error *err);
/* {"events": […], "conditions": […]}, or what body_events() takes. */
BANYAN_MUST_CHECK enum banyan_status body_batch(struct banyan_str body, const struct body_defaults *defaults,
                                                struct banyan_arena *arena, struct body_batch *ret,
                                                struct banyan_error *err);
/* One event that begins at *scan*'s place, for the lines of a bulk append. */
BANYAN_MUST_CHECK enum banyan_status body_line(struct banyan_str line, const struct body_defaults *defaults,
                                               uint64_t index, struct banyan_arena *arena, struct store_event *ret,
                                               struct banyan_error *err);
/* Payload and schema of an event whose JSON is *json*: as it is, or in binary where its type has a schema (*schema* 0:
 * the newest). */
BANYAN_MUST_CHECK enum banyan_status body_payload(const struct body_defaults *defaults, struct banyan_str json,
                                                  int32_t schema, struct banyan_arena *arena, struct store_event *event,
                                                  struct banyan_error *err);
/* The id of event *index* of a request with an Idempotency-Key: version 8 from the first 16 bytes of
 * SHA-256("banyan-idempotency-1" NUL stream NUL key NUL index in decimal digits). */
struct banyan_uuid body_derived_id(struct banyan_str stream, struct banyan_str key, uint64_t index);
/* The id of a CloudEvent: its own where that is a UUID, else derived from source and id in the same way. */
struct banyan_uuid body_cloud_id(struct banyan_str source, struct banyan_str id);

#endif
