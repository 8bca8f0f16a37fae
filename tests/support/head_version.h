/* SPDX-License-Identifier: Apache-2.0 */
/* The version of a stream, for tests: the index can always be read. */
#ifndef SUPPORT_HEAD_VERSION_H
#define SUPPORT_HEAD_VERSION_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "store/store.h"

static inline uint64_t head_version(struct store *store, struct banyan_str stream)
{
    struct banyan_error err = BANYAN_ERROR_INIT;
    struct store_head head;

    if (store_head(store, stream, &head, &err) == BANYAN_OK)
        return head.version.value;
    (void)fprintf(stderr, "head of %.*s: %s\n", (int)stream.size, stream.data, err.message);
    abort();
}

#endif
