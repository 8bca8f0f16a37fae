/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See blocks.h.
 *
 * Why a page of the file may be believed: it was written when all up to its *covered* position was durable, its
 * checksum is right, and the event at the last covered position of the newest such page is the one that it names.
 * Pages behind that one are of a past that this log does not have (it was restored, or cut): they are removed from the
 * file before anything is appended, so that they can never be taken for the pages of what comes.
 *
 * Thread note: words of a page are read and written atomically.  Appends only add bits, before the event is durable; a
 * reader that has seen a whole durable block replaces "everything" by what it saw.  Nobody adds to such a block any
 * more, and any order of these two words is a set that says enough.
 */
#include "store/blocks.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "store/blocks_format.h"
#include "store/envelope.h"

enum {
    SAVE_AT =
        BLOCKS_PAGE_POSITIONS / 2, /* positions into a page: the one before is durable by then, or waits for the end */
};

#define EVERYTHING UINT64_MAX

struct blocks_page {
    struct blocks_entry entries[BLOCKS_A_PAGE];
    uint64_t saved; /* covered position in the file; 0: not there */
    bool changed;   /* atomic: learnt something since */
};

/* ---- the table ---- */

static struct blocks_page *page_of(const struct blocks *blocks, uint64_t number)
{
    struct blocks_page **pages;

    if (number >= __atomic_load_n(&blocks->page_count, __ATOMIC_ACQUIRE))
        return NULL;
    pages = __atomic_load_n(&blocks->pages, __ATOMIC_ACQUIRE);
    return pages[number];
}

static struct blocks_entry *entry_of(const struct blocks *blocks, uint64_t position)
{
    struct blocks_page *page = page_of(blocks, (position - 1) / BLOCKS_PAGE_POSITIONS);

    return page == NULL ? NULL : &page->entries[(position - 1) / BLOCK_POSITIONS % BLOCKS_A_PAGE];
}

/* Make the next page; all of it says nothing, or everything. */
static struct blocks_page *add_page(struct blocks *blocks, uint64_t word)
{
    struct blocks_page *page = alloc_zeroed(1, sizeof(*page));

    for (size_t i = 0; i < BLOCKS_A_PAGE; i++)
        page->entries[i] = (struct blocks_entry){word, word};
    if (blocks->page_count == blocks->page_capacity) {
        uint64_t capacity = blocks->page_capacity == 0 ? 16 : 2 * blocks->page_capacity;
        struct blocks_page **pages = alloc_zeroed(capacity, sizeof(struct blocks_page *));

        if (blocks->page_count > 0)
            memcpy(pages, blocks->pages, blocks->page_count * sizeof(struct blocks_page *));
        blocks->outgrown = alloc_resized(blocks->outgrown, blocks->outgrown_count + 1, sizeof(struct blocks_page **));
        blocks->outgrown[blocks->outgrown_count++] = blocks->pages;
        __atomic_store_n(&blocks->pages, pages, __ATOMIC_RELEASE);
        blocks->page_capacity = capacity;
    }
    blocks->pages[blocks->page_count] = page;
    __atomic_store_n(&blocks->page_count, blocks->page_count + 1, __ATOMIC_RELEASE);
    return page;
}

uint64_t blocks_bytes(const struct blocks *blocks)
{
    return __atomic_load_n(&blocks->page_count, __ATOMIC_ACQUIRE) * sizeof(struct blocks_page);
}

/* ---- appends ---- */

static void save_page(struct blocks *blocks, uint64_t number);

void blocks_add(struct blocks *blocks, uint64_t position, const struct store_event *event)
{
    uint64_t number = (position - 1) / BLOCKS_PAGE_POSITIONS;
    struct blocks_entry *entry;
    uint64_t types, categories;

    while (blocks->page_count <= number)
        (void)add_page(blocks, 0);
    entry = entry_of(blocks, position);
    types = filter_bits(event->type) | entry->types;
    categories = filter_bits(filter_category(event->stream)) | entry->categories;
    if (types != entry->types)
        __atomic_store_n(&entry->types, types, __ATOMIC_RELAXED);
    if (categories != entry->categories)
        __atomic_store_n(&entry->categories, categories, __ATOMIC_RELAXED);
    if ((position - 1) % BLOCKS_PAGE_POSITIONS == SAVE_AT && number > 0)
        save_page(blocks, number - 1);
}

/* ---- readers ---- */

uint64_t blocks_next(const struct blocks *blocks, const struct filter *filter, uint64_t from, uint64_t durable)
{
    while (from <= durable) {
        const struct blocks_entry *entry = entry_of(blocks, from);

        if (entry == NULL || filter_may_pass(filter, __atomic_load_n(&entry->types, __ATOMIC_RELAXED),
                                             __atomic_load_n(&entry->categories, __ATOMIC_RELAXED)))
            return from;
        from = ((from - 1) / BLOCK_POSITIONS + 1) * BLOCK_POSITIONS + 1;
    }
    return durable + 1;
}

bool blocks_unknown(const struct blocks *blocks, uint64_t position)
{
    const struct blocks_entry *entry = entry_of(blocks, position);

    return entry != NULL && __atomic_load_n(&entry->types, __ATOMIC_RELAXED) == EVERYTHING &&
           __atomic_load_n(&entry->categories, __ATOMIC_RELAXED) == EVERYTHING;
}

void blocks_learn(struct blocks *blocks, uint64_t last, uint64_t types, uint64_t categories)
{
    struct blocks_entry *entry = entry_of(blocks, last);

    __atomic_store_n(&entry->types, types, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->categories, categories, __ATOMIC_RELAXED);
    __atomic_store_n(&page_of(blocks, (last - 1) / BLOCKS_PAGE_POSITIONS)->changed, true, __ATOMIC_RELEASE);
}

/* ---- the file ---- */

/* Hash of the id of the event at *position*; false when it cannot be read. */
static bool event_at(struct log *log, uint64_t position, uint64_t *ret)
{
    struct log_reader *reader = log_reader_open(log);
    struct envelope envelope;
    struct log_record record;
    bool found = log_reader_seek(reader, (struct banyan_position){position}, NULL) == BANYAN_OK &&
                 log_reader_next(reader, &record, NULL) == BANYAN_OK &&
                 envelope_decode(record.data, position, &envelope);

    if (found)
        *ret = XXH3_64bits(envelope.event.id.bytes, sizeof(envelope.event.id.bytes));
    log_reader_close(reader);
    return found;
}

static uint32_t page_crc(const struct blocks_stored_page *stored)
{
    size_t begin = offsetof(struct blocks_stored_page, format);

    return crc32c(0, (const char *)stored + begin, sizeof(*stored) - begin);
}

static bool write_page(struct blocks *blocks, const struct blocks_stored_page *stored)
{
    struct os_file *file = NULL;
    enum banyan_status status = blocks->files->open(blocks->files, blocks->path, true, &file, NULL);

    if (status == BANYAN_OK)
        status = blocks->files->write(file, stored->number * sizeof(*stored), stored, sizeof(*stored), NULL);
    blocks->files->close(file);
    return status == BANYAN_OK;
}

/* Write one page if there is something new in it that is durable. */
static void save_page(struct blocks *blocks, uint64_t number)
{
    struct blocks_page *page = blocks->pages[number];
    uint64_t last = (number + 1) * BLOCKS_PAGE_POSITIONS, durable = log_durable(blocks->log).value;
    bool changed = __atomic_exchange_n(&page->changed, false, __ATOMIC_ACQ_REL);
    struct blocks_stored_page stored = {.format = 1, .number = number, .covered = last < durable ? last : durable};

    if (blocks->read_only || stored.covered <= number * BLOCKS_PAGE_POSITIONS ||
        (!changed && page->saved == stored.covered))
        return;
    memcpy(stored.magic, BLOCKS_MAGIC, sizeof(stored.magic));
    for (size_t i = 0; i < BLOCKS_A_PAGE; i++) {
        stored.entries[i].types = __atomic_load_n(&page->entries[i].types, __ATOMIC_RELAXED);
        stored.entries[i].categories = __atomic_load_n(&page->entries[i].categories, __ATOMIC_RELAXED);
    }
    if (event_at(blocks->log, stored.covered, &stored.event)) {
        stored.crc = page_crc(&stored);
        if (write_page(blocks, &stored))
            page->saved = stored.covered;
        else
            __atomic_store_n(&page->changed, true, __ATOMIC_RELEASE); /* a full disk, perhaps: tried again */
    }
}

void blocks_save(struct blocks *blocks)
{
    for (uint64_t i = 0; i < blocks->page_count; i++)
        save_page(blocks, i);
}

/* The pages of the file as far as each is whole and covers only what is durable: others have covered 0. */
static struct blocks_stored_page *load(const struct blocks *blocks, uint64_t durable, uint64_t *ret_count)
{
    struct blocks_stored_page *pages = NULL;
    struct os_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;

    *ret_count = 0;
    if (blocks->files->open(blocks->files, blocks->path, false, &file, NULL) != BANYAN_OK)
        return NULL;
    if (blocks->files->size(file, &size, NULL) == BANYAN_OK && size >= sizeof(*pages) &&
        size / sizeof(*pages) <= durable / BLOCKS_PAGE_POSITIONS + 2)
        pages = alloc_try(size / sizeof(*pages) * sizeof(*pages));
    if (pages != NULL &&
        blocks->files->read(file, 0, pages, size / sizeof(*pages) * sizeof(*pages), &got, NULL) == BANYAN_OK)
        *ret_count = got / sizeof(*pages);
    blocks->files->close(file);
    for (uint64_t i = 0; i < *ret_count; i++) {
        struct blocks_stored_page *page = &pages[i];

        if (memcmp(page->magic, BLOCKS_MAGIC, sizeof(page->magic)) != 0 || page->format != 1 || page->number != i ||
            page->crc != page_crc(page) || page->covered > durable || page->covered <= i * BLOCKS_PAGE_POSITIONS ||
            page->covered > (i + 1) * BLOCKS_PAGE_POSITIONS)
            page->covered = 0;
    }
    return pages;
}

/* How many pages of the file are of this log's past. */
static uint64_t trusted_count(const struct blocks *blocks, const struct blocks_stored_page *pages, uint64_t count)
{
    uint64_t event;

    while (count > 0 && pages[count - 1].covered == 0)
        count--;
    if (count > 0 && (!event_at(blocks->log, pages[count - 1].covered, &event) || event != pages[count - 1].event))
        count = 0;
    return count;
}

/* Cut the file behind *count* pages; where that fails it is not touched again. */
static void cut_file(struct blocks *blocks, uint64_t count)
{
    struct os_file *file = NULL;
    uint64_t size = 0;
    enum banyan_status status = blocks->files->open(blocks->files, blocks->path, false, &file, NULL);

    if (status == BANYAN_OK)
        status = blocks->files->size(file, &size, NULL);
    if (status == BANYAN_OK && size > count * sizeof(struct blocks_stored_page))
        status = blocks->files->truncate(file, count * sizeof(struct blocks_stored_page), NULL);
    blocks->files->close(file);
    if (status != BANYAN_OK && status != BANYAN_NOT_FOUND &&
        blocks->files->remove(blocks->files, blocks->path, NULL) != BANYAN_OK)
        blocks->read_only = true;
}

/* Fill a page with what the file says, if it does: blocks from *covered* on are known only where there is nothing. */
static void fill_page(struct blocks_page *page, uint64_t number, const struct blocks_stored_page *stored,
                      uint64_t durable)
{
    for (uint64_t i = 0; i < BLOCKS_A_PAGE; i++) {
        uint64_t first = number * BLOCKS_PAGE_POSITIONS + i * BLOCK_POSITIONS + 1, last = first + BLOCK_POSITIONS - 1;

        if (first > durable)
            page->entries[i] = (struct blocks_entry){0, 0};
        else if (stored != NULL && (last <= stored->covered || stored->covered == durable))
            page->entries[i] = stored->entries[i];
    }
    if (stored != NULL)
        page->saved = stored->covered;
}

void blocks_init(struct blocks *blocks, struct log *log, struct os_files *files, const char *path, bool read_only)
{
    uint64_t durable = log_durable(log).value, count = 0, trusted;
    struct blocks_stored_page *stored;

    *blocks = (struct blocks){.log = log, .files = files, .path = alloc_text(path), .read_only = read_only};
    stored = load(blocks, durable, &count);
    trusted = trusted_count(blocks, stored, count);
    if (!read_only)
        cut_file(blocks, trusted);
    for (uint64_t i = 0; i * BLOCKS_PAGE_POSITIONS < durable; i++)
        fill_page(add_page(blocks, EVERYTHING), i, i < trusted && stored[i].covered > 0 ? &stored[i] : NULL, durable);
    free(stored);
}

void blocks_release(struct blocks *blocks)
{
    for (uint64_t i = 0; i < blocks->page_count; i++)
        free(blocks->pages[i]);
    for (size_t i = 0; i < blocks->outgrown_count; i++)
        free(blocks->outgrown[i]);
    free(blocks->outgrown);
    free(blocks->pages);
    free(blocks->path);
}
