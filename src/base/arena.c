/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arenas: a chain of blocks, filled from the front.
 *
 *     arena->blocks ──▶ [newest: used … next ▸ free … end] ──▶ [older, full] ──▶ NULL
 *     arena->spare  ──▶ [empty] ──▶ [empty] ──▶ NULL          taken before a new one is made
 *
 * Invariants:
 * 1. arena->bytes is the sum of the blocks' capacities, spare ones included.
 * 2. A new block is half as large again as all before it together (up to BLOCK_BYTES_MAX), so that a loop that resets
 *    its arena settles on one block and stops allocating.  As large as all before would not do: reset would keep one of
 *    two equal blocks for ever.
 * 3. Under AddressSanitizer the free part is poisoned: use after reset is found, and overruns up to the alignment.
 */
#include "banyan/arena.h"

#include <sanitizer/asan_interface.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"

enum {
    ALIGNMENT = 16,
    BLOCK_BYTES_MIN = 4096 - 64, /* with malloc's own bytes about a page */
    BLOCK_BYTES_MAX = 4 << 20,   /* of ordinary blocks; a larger one holds a single large value */
};

struct banyan_arena_block {
    struct banyan_arena_block *older;
    size_t capacity; /* bytes of data */
    _Alignas(ALIGNMENT) char data[];
};

static void free_block(struct banyan_arena_block *block)
{
    ASAN_UNPOISON_MEMORY_REGION(block->data, block->capacity);
    free(block);
}

static void free_blocks(struct banyan_arena_block *block)
{
    while (block != NULL) {
        struct banyan_arena_block *older = block->older;
        free_block(block);
        block = older;
    }
}

void banyan_arena_release(struct banyan_arena *arena)
{
    if (arena == NULL)
        return;
    free_blocks(arena->blocks);
    free_blocks(arena->spare);
    *arena = (struct banyan_arena)BANYAN_ARENA_INIT;
}

void banyan_arena_reset(struct banyan_arena *arena)
{
    struct banyan_arena_block *kept = NULL;
    struct banyan_arena_block *block = arena->blocks;
    free_blocks(arena->spare);
    arena->spare = NULL;
    while (block != NULL) {
        struct banyan_arena_block *older = block->older;
        bool better = block->capacity <= BLOCK_BYTES_MAX && (kept == NULL || block->capacity > kept->capacity);
        struct banyan_arena_block *dropped = better ? kept : block;
        if (better)
            kept = block;
        if (dropped != NULL)
            free_block(dropped);
        block = older;
    }
    if (kept == NULL) {
        *arena = (struct banyan_arena)BANYAN_ARENA_INIT;
        return;
    }
    kept->older = NULL;
    arena->blocks = kept;
    arena->next = kept->data;
    arena->end = kept->data + kept->capacity;
    arena->bytes = kept->capacity;
    ASAN_POISON_MEMORY_REGION(kept->data, kept->capacity);
}

/* The blocks in use become spare ones in the order in which they were filled, so that the next turn, which asks for
 * about the same, finds them fitting. */
void banyan_arena_reset_keeping(struct banyan_arena *arena, size_t bytes_max)
{
    struct banyan_arena_block *lists[] = {arena->spare, arena->blocks}, *kept = NULL;
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        for (struct banyan_arena_block *block = lists[i], *older; block != NULL; block = older) {
            older = block->older;
            if (block->capacity > bytes_max - bytes) {
                free_block(block);
                continue;
            }
            bytes += block->capacity;
            block->older = kept;
            kept = block;
            ASAN_POISON_MEMORY_REGION(block->data, block->capacity);
        }
    *arena = (struct banyan_arena){.spare = kept, .bytes = bytes};
}

/* Take the first spare block with room for *size* bytes; NULL: there is none. */
static struct banyan_arena_block *take_spare(struct banyan_arena *arena, size_t size)
{
    struct banyan_arena_block **link = &arena->spare;
    while (*link != NULL && (*link)->capacity < size)
        link = &(*link)->older;
    struct banyan_arena_block *block = *link;
    if (block != NULL)
        *link = block->older;
    return block;
}

static struct banyan_arena_block *make_block(struct banyan_arena *arena, size_t size)
{
    size_t capacity = arena->bytes < BLOCK_BYTES_MIN ? BLOCK_BYTES_MIN : arena->bytes + arena->bytes / 2;
    if (capacity > BLOCK_BYTES_MAX)
        capacity = BLOCK_BYTES_MAX;
    if (capacity < size)
        capacity = size;
    struct banyan_arena_block *block = alloc_resized(NULL, 1, sizeof(*block) + capacity);
    block->capacity = capacity;
    arena->bytes += capacity;
    ASAN_POISON_MEMORY_REGION(block->data, capacity);
    return block;
}

/* Start a block with room for *size* bytes. */
static void add_block(struct banyan_arena *arena, size_t size)
{
    struct banyan_arena_block *block = arena->spare == NULL ? NULL : take_spare(arena, size);
    if (block == NULL)
        block = make_block(arena, size);
    block->older = arena->blocks;
    arena->blocks = block;
    arena->next = block->data;
    arena->end = block->data + block->capacity;
}

void *banyan_arena_alloc(struct banyan_arena *arena, size_t size)
{
    if (size > PTRDIFF_MAX - 2 * BLOCK_BYTES_MAX)
        abort(); /* a length that no caller can mean: a bug */
    size_t taken = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (taken == 0)
        taken = ALIGNMENT;
    if (taken > (size_t)(arena->end - arena->next))
        add_block(arena, taken);
    char *memory = arena->next;
    arena->next += taken;
    ASAN_UNPOISON_MEMORY_REGION(memory, size);
    return memory;
}

void *banyan_arena_zalloc(struct banyan_arena *arena, size_t size)
{
    void *memory = banyan_arena_alloc(arena, size);
    memset(memory, 0, size);
    return memory;
}

struct banyan_str banyan_arena_str(struct banyan_arena *arena, struct banyan_str text)
{
    if (text.data == NULL)
        return text;
    char *copy = banyan_arena_alloc(arena, text.size + 1);
    if (text.size > 0)
        memcpy(copy, text.data, text.size);
    copy[text.size] = '\0';
    return (struct banyan_str){copy, text.size};
}

struct banyan_str banyan_arena_printf(struct banyan_arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size < 0 || format == NULL)
        abort(); /* a format string that the C library refuses: a bug */
    char *text = banyan_arena_alloc(arena, (size_t)size + 1);
    va_start(arguments, format);
    (void)vsnprintf(text, (size_t)size + 1, format, arguments); /* measured above */
    va_end(arguments);
    return (struct banyan_str){text, (size_t)size};
}
