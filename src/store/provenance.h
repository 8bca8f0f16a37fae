/* SPDX-License-Identifier: Apache-2.0 */
/* The words for how surely an event is known, in each text that has them. */
#ifndef STORE_PROVENANCE_H
#define STORE_PROVENANCE_H

#include "banyan/domain.h"

enum {
    PROVENANCE_COUNT = BANYAN_RECONCILED + 1, /* 0: the event does not say */
};

static inline const char *provenance_word(enum banyan_provenance provenance)
{
    static const char *const words[PROVENANCE_COUNT] = {
        "none", [BANYAN_EXACT] = "exact", [BANYAN_INFERRED] = "inferred", [BANYAN_RECONCILED] = "reconciled"};
    return words[provenance];
}

#endif
