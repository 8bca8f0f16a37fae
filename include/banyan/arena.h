/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of one unit of work (a command, a batch, a chunk), given back all at once.
 *
 * Allocation cannot fail: when the machine has no memory left the process ends with a message (a log is safe against
 * that at any instant).  Sizes that come from outside are checked against a limit before.  Not for two threads.
 */
#ifndef BANYAN_ARENA_H
#define BANYAN_ARENA_H

#include <stddef.h>

#include "banyan/attributes.h"
#include "banyan/types.h"

struct banyan_arena_block;

/* Place it anywhere; BANYAN_ARENA_INIT or all zero is an empty arena. */
struct banyan_arena {
    struct banyan_arena_block *blocks; /* newest first */
    char *next;                        /* free part of the newest block */
    char *end;
    size_t bytes;                     /* held in blocks, spare ones included */
    struct banyan_arena_block *spare; /* empty ones, kept by a reset */
};

#define BANYAN_ARENA_INIT                                                                                              \
    {                                                                                                                  \
        .blocks = NULL                                                                                                 \
    }

/* Free everything.  The arena is empty afterwards and may be used again. */
BANYAN_API void banyan_arena_release(struct banyan_arena *arena);
/* Forget everything but keep one block, so that a loop does not allocate each turn. */
BANYAN_API void banyan_arena_reset(struct banyan_arena *arena);
/* Forget everything but keep the memory, up to *bytes_max*: for a loop whose turns each need about as much. */
BANYAN_API void banyan_arena_reset_keeping(struct banyan_arena *arena, size_t bytes_max);
/* *size* bytes aligned for any type; valid until reset or release.  Not zeroed. */
BANYAN_API void *banyan_arena_alloc(struct banyan_arena *arena, size_t size) __attribute__((malloc, alloc_size(2)));
/* The same, zeroed. */
BANYAN_API void *banyan_arena_zalloc(struct banyan_arena *arena, size_t size) __attribute__((malloc, alloc_size(2)));
/* A copy of *text* (NULL stays NULL), with a NUL behind it for convenience. */
BANYAN_API struct banyan_str banyan_arena_str(struct banyan_arena *arena, struct banyan_str text);
/* Formatted text, NUL-terminated. */
BANYAN_API struct banyan_str banyan_arena_printf(struct banyan_arena *arena, const char *format, ...)
    BANYAN_PRINTF_LIKE(2, 3);

#endif
