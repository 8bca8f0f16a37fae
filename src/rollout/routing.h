/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request goes: buckets, sticky and monotone.
 *
 * A key has a bucket from 0 to 9,999 by a hash with a seed of its own; it is in when its bucket is below the share.
 * Who is in at 5 % is in at 25 %.  Reads and new aggregates use different seeds, so that they do not correlate.
 * What has no key goes to the legacy application.
 *
 * The present decisions are one small struct behind an atomic: gateway, flags and commands read it, the controller
 * writes it.
 */
#ifndef ROLLOUT_ROUTING_H
#define ROLLOUT_ROUTING_H

#include <stdbool.h>
#include <stdint.h>

#include "banyan/types.h"

enum {
    ROUTING_SHARE_ALL = 10000, /* shares are in hundredths of a percent */
};

struct routing;

struct routing_decisions {
    uint32_t new_share;    /* of new aggregates that Banyan gets */
    uint32_t read_share;   /* of reads that Banyan answers, where the aggregate is not Banyan's anyway */
    uint32_t noise_share;  /* of shadowed reads that are asked of the legacy application twice */
    bool shadow_reads;     /* reads of the legacy application are asked of Banyan too, and compared */
    bool hold_writes;      /* the pause: writes wait */
    int64_t hold_until_us; /* monotone; a hold ends then by itself, whoever is alive */
    uint64_t version;      /* grows with each change */
};

struct routing *routing_new(uint64_t seed);
void routing_free(struct routing *routing);
/* The version is set here; the same decisions again change nothing. */
void routing_set(struct routing *routing, const struct routing_decisions *decisions);
void routing_get(const struct routing *routing, struct routing_decisions *ret);

enum routing_flag {
    ROUTING_NEW,
    ROUTING_READ,
};
/* 0 to 9,999 */
uint32_t routing_bucket(const struct routing *routing, enum routing_flag flag, struct banyan_str category,
                        struct banyan_str key);
bool routing_in(const struct routing *routing, enum routing_flag flag, struct banyan_str category,
                struct banyan_str key);

#endif
