/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind banyan_mirror_row(): whoever asks a mapping's mirror() for rows takes them himself. */
#ifndef LEGACY_MIRROR_ROW_H
#define LEGACY_MIRROR_ROW_H

#include "banyan/domain.h"

struct banyan_mirror {
    /* *old* and *new* are borrowed for the call; never of the root table, never both NULL. */
    void (*row)(struct banyan_mirror *mirror, unsigned table, const void *old, const void *new);
};

#endif
