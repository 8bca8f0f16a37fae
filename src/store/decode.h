/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Payloads of stored events as the structs of a domain, whatever version of its type an event was written in.
 *
 *     version of the domain ──────────────────────────────────────────────▶ struct of the type's record
 *     older, with an upcaster ──decode as it was──▶ upcast() ─────────────▶ the same
 *     older ──schema of the registry, resolved by the rules of Avro────────▶ the same
 *     newer: refused, since what a newer program meant is not known here
 *
 * Threads: any.
 */
#ifndef STORE_DECODE_H
#define STORE_DECODE_H

#include <stdint.h>

#include "banyan/arena.h"
#include "banyan/domain.h"
#include "banyan/error.h"
#include "store/store.h"

struct store_decoder;

/* Both are borrowed.  *store* NULL: there is no registry, and old versions need an upcaster. */
struct store_decoder *store_decoder_new(struct store *store, const struct banyan_domain *domain);
void store_decoder_free(struct store_decoder *decoder); /* NULL allowed */

/* Decode a payload that was written as *version* (store_event.schema) of domain->events[type] into *ret*, a struct of
 * that type's record.  Its strings point into the payload or lie in *arena*, as its lists do.  INVALID: the version
 * cannot be read, with the reason; CORRUPT. */
BANYAN_MUST_CHECK enum banyan_status store_decode(struct store_decoder *decoder, unsigned type, uint16_t version,
                                                  struct banyan_str payload, struct banyan_arena *arena, void *ret,
                                                  struct banyan_error *err);

/* The upcaster of that version of domain->events[type]; NULL: none. */
const struct banyan_upcaster *store_find_upcaster(const struct banyan_domain *domain, unsigned type, uint16_t version);
/* Apply it: *payload* in the old version → *ret*, a struct of the type's record; *arena* holds its strings and lists.
 */
BANYAN_MUST_CHECK enum banyan_status store_upcast(const struct banyan_domain *domain,
                                                  const struct banyan_upcaster *upcaster, struct banyan_str payload,
                                                  struct banyan_arena *arena, void *ret, struct banyan_error *err);

#endif
