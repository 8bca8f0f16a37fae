/* SPDX-License-Identifier: Apache-2.0 */
/* See verify_blocks.h. */
#include "store/verify_blocks.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/crc32c.h"

static void tell(struct verify_blocks *blocks, uint64_t byte, uint64_t position, const char *text)
{
    struct log_finding finding = {
        .kind = "blocks", .class = LOG_FINDING_DERIVED, .path = blocks->path, .byte = byte, .position = position};

    (void)snprintf(finding.text, sizeof(finding.text), "%s", text); /* over-long texts are cut */
    blocks->finding(blocks->context, &finding);
    blocks->page.covered = 0; /* one finding a page */
}

enum banyan_status verify_blocks_open(struct verify_blocks *blocks, const char *path, struct banyan_error *err)
{
    enum banyan_status status;
    struct banyan_error why = BANYAN_ERROR_INIT;

    blocks->path = alloc_text(path);
    status = blocks->files->open(blocks->files, path, false, &blocks->file, &why);
    if (status != BANYAN_OK && status != BANYAN_NOT_FOUND && err != NULL)
        *err = why;
    return status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
}

void verify_blocks_release(struct verify_blocks *blocks)
{
    if (blocks->file != NULL)
        blocks->files->close(blocks->file);
    free(blocks->path);
}

static void load_page(struct verify_blocks *blocks, uint64_t number)
{
    struct blocks_stored_page *page = &blocks->page;
    size_t from = offsetof(struct blocks_stored_page, format), got = 0;
    uint64_t byte = number * sizeof(*page), before = number * BLOCKS_PAGE_POSITIONS;

    blocks->page_end = before + BLOCKS_PAGE_POSITIONS;
    if (blocks->files->read(blocks->file, byte, page, sizeof(*page), &got, NULL) != BANYAN_OK)
        got = 1; /* neither whole nor absent */
    if (got == 0)
        page->covered = 0; /* the file ends before it: not saved yet */
    else if (got < sizeof(*page) || memcmp(page->magic, BLOCKS_MAGIC, sizeof(page->magic)) != 0 || page->format != 1 ||
             page->number != number || page->crc != crc32c(0, (const char *)page + from, sizeof(*page) - from) ||
             page->covered <= before || page->covered > blocks->page_end)
        tell(blocks, byte, before + 1, "a page is damaged; it is made anew");
}

void verify_blocks_event(struct verify_blocks *blocks, const struct envelope *envelope, uint64_t position)
{
    const struct store_event *event = &envelope->event;
    const struct blocks_entry *entry;

    if (blocks->file == NULL)
        return;
    if (position > blocks->page_end || blocks->page_end == 0)
        load_page(blocks, (position - 1) / BLOCKS_PAGE_POSITIONS);
    if (position > blocks->page.covered)
        return;
    entry = &blocks->page.entries[(position - 1) / BLOCK_POSITIONS % BLOCKS_A_PAGE];
    if ((filter_bits(event->type) & ~entry->types) != 0 ||
        (filter_bits(filter_category(event->stream)) & ~entry->categories) != 0)
        tell(blocks, blocks->page.number * sizeof(blocks->page), position,
             "a block lacks the type or category of an event; remove the file to make it anew");
    else if (position == blocks->page.covered &&
             XXH3_64bits(event->id.bytes, sizeof(event->id.bytes)) != blocks->page.event)
        tell(blocks, blocks->page.number * sizeof(blocks->page), position,
             "a page is of another past; it is made anew");
}

void verify_blocks_finish(struct verify_blocks *blocks, uint64_t last)
{
    uint64_t size = 0, pages = (last + BLOCKS_PAGE_POSITIONS - 1) / BLOCKS_PAGE_POSITIONS;

    if (blocks->file == NULL || blocks->files->size(blocks->file, &size, NULL) != BANYAN_OK)
        return;
    if (blocks->page.covered > last)
        tell(blocks, blocks->page.number * sizeof(blocks->page), last + 1, "a page covers more than the log holds");
    else if (size > pages * sizeof(blocks->page))
        tell(blocks, pages * sizeof(blocks->page), last, "pages behind the end of the log; they are removed");
}
