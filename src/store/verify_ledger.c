/* SPDX-License-Identifier: Apache-2.0 */
/* See verify_ledger.h.  Tables use open addressing with linear probing; nothing is ever removed from one. */
#include "store/verify_ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"

enum {
    SLOTS_FIRST = 16,
    BUFFER_BYTES = 32 * 1024,
    READ_BYTES = 1024 * 1024,
    PATH_MAX_BYTES = 4096,
};

void ledger_init(struct ledger *ledger, enum ledger_kind kind, struct os_files *files, const char *folder,
                 uint64_t bytes_max)
{
    memset(ledger, 0, sizeof(*ledger));
    ledger->kind = kind;
    ledger->files = files;
    ledger->folder = folder;
    ledger->bytes_max = bytes_max;
    ledger->entry_size = kind == LEDGER_IDS ? offsetof(struct ledger_entry, version) : sizeof(struct ledger_entry);
    ledger->fact_size = kind == LEDGER_IDS ? offsetof(struct ledger_fact, version) : sizeof(struct ledger_fact);
}

static struct ledger_entry *slot_at(const struct ledger *ledger, const struct ledger_part *part, uint64_t number)
{
    return (struct ledger_entry *)(void *)(part->slots + number * ledger->entry_size);
}

static uint64_t path_bytes(const struct ledger_entry *entry)
{
    if (entry->path == NULL)
        return 0;
    return 8 + (entry->path[0] == UINT64_MAX ? 0 : entry->path[0] * 8);
}

static void clear_table(struct ledger *ledger, struct ledger_part *part)
{
    for (uint64_t i = 0; ledger->kind == LEDGER_STREAMS && i < part->slot_count; i++) {
        struct ledger_entry *entry = slot_at(ledger, part, i);

        if (entry->position != 0) {
            ledger->bytes -= path_bytes(entry);
            free(entry->path);
        }
    }
    ledger->bytes -= part->slot_count * ledger->entry_size;
    free(part->slots);
    part->slots = NULL;
    part->slot_count = part->count = 0;
}

void ledger_release(struct ledger *ledger)
{
    for (size_t i = 0; i < LEDGER_PARTS; i++) {
        clear_table(ledger, &ledger->parts[i]);
        free(ledger->parts[i].buffer);
    }
}

/* The slot of *key*, or the free one where it belongs. */
static struct ledger_entry *find(const struct ledger *ledger, const struct ledger_part *part, const uint64_t key[2])
{
    uint64_t mask = part->slot_count - 1;

    for (uint64_t at = key[0] & mask;; at = (at + 1) & mask) {
        struct ledger_entry *entry = slot_at(ledger, part, at);

        if (entry->position == 0 || (entry->key[0] == key[0] && entry->key[1] == key[1]))
            return entry;
    }
}

static void grow(struct ledger *ledger, struct ledger_part *part)
{
    struct ledger_part old = *part;

    part->slot_count = old.slot_count == 0 ? SLOTS_FIRST : old.slot_count * 2;
    part->slots = alloc_zeroed(part->slot_count, ledger->entry_size);
    ledger->bytes += (part->slot_count - old.slot_count) * ledger->entry_size;
    for (uint64_t i = 0; i < old.slot_count; i++) {
        const struct ledger_entry *entry = slot_at(ledger, &old, i);

        if (entry->position != 0)
            memcpy(find(ledger, part, entry->key), entry, ledger->entry_size);
    }
    free(old.slots);
}

static void apply(struct ledger *ledger, struct ledger_part *part, const struct ledger_fact *fact)
{
    struct ledger_entry *entry;
    uint64_t before;

    if (part->count * 4 >= part->slot_count * 3)
        grow(ledger, part);
    entry = find(ledger, part, fact->key);
    if (entry->position == 0)
        part->count++;
    before = ledger->kind == LEDGER_STREAMS ? path_bytes(entry) : 0;
    ledger->check(ledger->context, entry, fact);
    memcpy(entry->key, fact->key, sizeof(entry->key));
    if (ledger->kind == LEDGER_STREAMS)
        ledger->bytes += path_bytes(entry) - before;
}

/* ---- files ---- */

static void make_path(const struct ledger *ledger, size_t number, const char *what, char ret[PATH_MAX_BYTES])
{
    /* Longer names are refused when the file is opened. */
    (void)snprintf(ret, PATH_MAX_BYTES, "%s/%s-%02zx.%s", ledger->folder,
                   ledger->kind == LEDGER_IDS ? "ids" : "streams", number, what);
}

static enum banyan_status append(struct ledger *ledger, size_t number, const char *what, struct ledger_file *written,
                                 const void *data, size_t size, struct banyan_error *err)
{
    struct os_file *file = NULL;
    char path[PATH_MAX_BYTES];
    enum banyan_status status;

    make_path(ledger, number, what, path);
    status = ledger->files->open(ledger->files, path, true, &file, err);
    if (status == BANYAN_OK)
        status = ledger->files->write(file, written->bytes, data, size, err);
    ledger->files->close(file);
    if (status == BANYAN_OK) {
        written->bytes += size;
        written->crc = crc32c(written->crc, data, size);
    }
    return status;
}

static enum banyan_status flush(struct ledger *ledger, size_t number, struct banyan_error *err)
{
    struct ledger_part *part = &ledger->parts[number];
    enum banyan_status status = BANYAN_OK;

    if (part->buffered == 0)
        return BANYAN_OK;
    status = append(ledger, number, "facts", &part->facts, part->buffer, part->buffered, err);
    if (status == BANYAN_OK)
        part->buffered = 0;
    return status;
}

/* Entries one behind the other, each followed by its path. */
static enum banyan_status write_table(struct ledger *ledger, size_t number, struct banyan_error *err)
{
    struct ledger_part *part = &ledger->parts[number];
    char *data = alloc_zeroed(1, BUFFER_BYTES);
    enum banyan_status status = BANYAN_OK;
    size_t used = 0;

    for (uint64_t i = 0; i < part->slot_count && status == BANYAN_OK; i++) {
        const struct ledger_entry *entry = slot_at(ledger, part, i);
        size_t path = entry->position != 0 && ledger->kind == LEDGER_STREAMS ? (size_t)path_bytes(entry) : 0;

        if (entry->position == 0)
            continue;
        memcpy(data + used, entry, ledger->entry_size);
        used += ledger->entry_size;
        if (path > 0)
            memcpy(data + used, entry->path, path);
        used += path;
        if (used >= BUFFER_BYTES / 2) { /* an entry with its path is far smaller */
            status = append(ledger, number, "table", &part->table, data, used, err);
            used = 0;
        }
    }
    if (status == BANYAN_OK && used > 0)
        status = append(ledger, number, "table", &part->table, data, used, err);
    free(data);
    return status;
}

static enum banyan_status give_up_part(struct ledger *ledger, size_t number, struct banyan_error *err)
{
    struct ledger_part *part = &ledger->parts[number];
    enum banyan_status status = write_table(ledger, number, err);

    if (status != BANYAN_OK)
        return status;
    clear_table(ledger, part);
    part->on_disk = true;
    return BANYAN_OK;
}

static size_t largest_part(const struct ledger *ledger)
{
    size_t largest = 0;

    for (size_t i = 1; i < LEDGER_PARTS; i++)
        if (ledger->parts[i].slot_count > ledger->parts[largest].slot_count)
            largest = i;
    return largest;
}

enum banyan_status ledger_add(struct ledger *ledger, const struct ledger_fact *fact, struct banyan_error *err)
{
    size_t number = fact->key[1] >> 56;
    struct ledger_part *part = &ledger->parts[number];
    enum banyan_status status = BANYAN_OK;

    if (!part->on_disk) {
        apply(ledger, part, fact);
        while (ledger->bytes > ledger->bytes_max && status == BANYAN_OK)
            status = give_up_part(ledger, largest_part(ledger), err);
        return status;
    }
    if (part->buffer == NULL)
        part->buffer = alloc_zeroed(1, BUFFER_BYTES);
    if (part->buffered + ledger->fact_size > BUFFER_BYTES)
        status = flush(ledger, number, err);
    if (status != BANYAN_OK)
        return status;
    memcpy(part->buffer + part->buffered, fact, ledger->fact_size);
    part->buffered += ledger->fact_size;
    return BANYAN_OK;
}

/* Hand a file out in pieces, as far as *use* takes them. */
static enum banyan_status read_file(struct ledger *ledger, size_t number, const char *what, struct ledger_file written,
                                    size_t (*use)(struct ledger *ledger, struct ledger_part *part, const char *data,
                                                  size_t size),
                                    struct banyan_error *err)
{
    struct os_file *file = NULL;
    char path[PATH_MAX_BYTES], *data = NULL;
    size_t kept = 0, got, used;
    enum banyan_status status;
    uint32_t crc = 0;

    make_path(ledger, number, what, path);
    status = ledger->files->open(ledger->files, path, false, &file, err);
    data = alloc_zeroed(1, READ_BYTES);
    for (uint64_t at = 0; status == BANYAN_OK && at < written.bytes;) {
        size_t want = written.bytes - at < READ_BYTES - kept ? (size_t)(written.bytes - at) : READ_BYTES - kept;

        status = ledger->files->read(file, at, data + kept, want, &got, err);
        if (status == BANYAN_OK && got < want)
            status = banyan_error_set(err, BANYAN_CORRUPT, "%s ends too early; begin the verification anew", path);
        if (status != BANYAN_OK)
            break;
        crc = crc32c(crc, data + kept, got);
        at += got;
        kept += got;
        used = use(ledger, &ledger->parts[number], data, kept);
        if (used == 0 && (kept == READ_BYTES || at == written.bytes)) {
            status = banyan_error_set(err, BANYAN_CORRUPT, "%s is damaged; begin the verification anew", path);
            break;
        }
        kept -= used;
        memmove(data, data + used, kept);
    }
    if (status == BANYAN_OK && (kept > 0 || crc != written.crc))
        status = banyan_error_set(err, BANYAN_CORRUPT, "%s is damaged; begin the verification anew", path);
    ledger->files->close(file);
    free(data);
    return status;
}

static size_t use_facts(struct ledger *ledger, struct ledger_part *part, const char *data, size_t size)
{
    struct ledger_fact fact = {.position = 0};
    size_t used = 0;

    for (; size - used >= ledger->fact_size; used += ledger->fact_size) {
        memcpy(&fact, data + used, ledger->fact_size);
        apply(ledger, part, &fact);
    }
    return used;
}

static size_t use_table(struct ledger *ledger, struct ledger_part *part, const char *data, size_t size)
{
    size_t used = 0;

    while (size - used >= ledger->entry_size) {
        struct ledger_entry entry = {.position = 0};
        uint64_t count = 0;
        size_t path = 0;

        memcpy(&entry, data + used, ledger->entry_size);
        if (entry.path != NULL) { /* a path follows; the pointer itself means nothing any more */
            if (size - used < ledger->entry_size + 8)
                return used;
            memcpy(&count, data + used + ledger->entry_size, 8);
            path = 8 + (count == UINT64_MAX ? 0 : (size_t)count * 8);
            if (count != UINT64_MAX && count > 1024)
                return 0;
            if (size - used < ledger->entry_size + path)
                return used;
            entry.path = alloc_zeroed(1, path);
            memcpy(entry.path, data + used + ledger->entry_size, path);
            ledger->bytes += path;
        }
        if (part->count * 4 >= part->slot_count * 3)
            grow(ledger, part);
        memcpy(find(ledger, part, entry.key), &entry, ledger->entry_size);
        part->count++;
        used += ledger->entry_size + path;
    }
    return used;
}

enum banyan_status ledger_finish(struct ledger *ledger, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    for (size_t i = 0; i < LEDGER_PARTS && status == BANYAN_OK; i++) {
        struct ledger_part *part = &ledger->parts[i];

        if (!part->on_disk) {
            clear_table(ledger, part);
            continue;
        }
        status = flush(ledger, i, err);
        if (status == BANYAN_OK && part->table.bytes > 0)
            status = read_file(ledger, i, "table", part->table, use_table, err);
        if (status == BANYAN_OK && part->facts.bytes > 0)
            status = read_file(ledger, i, "facts", part->facts, use_facts, err);
        clear_table(ledger, part);
    }
    return status;
}

enum banyan_status ledger_save(struct ledger *ledger, struct ledger_saved *ret, struct banyan_error *err)
{
    enum banyan_status status = BANYAN_OK;

    for (size_t i = 0; i < LEDGER_PARTS && status == BANYAN_OK; i++) {
        struct ledger_part *part = &ledger->parts[i];

        if (!part->on_disk)
            status = give_up_part(ledger, i, err);
        if (status == BANYAN_OK)
            status = flush(ledger, i, err);
        ret->facts[i] = part->facts;
        ret->table[i] = part->table;
    }
    return status;
}

void ledger_resume(struct ledger *ledger, const struct ledger_saved *saved)
{
    for (size_t i = 0; i < LEDGER_PARTS; i++) {
        ledger->parts[i].on_disk = true;
        ledger->parts[i].facts = saved->facts[i];
        ledger->parts[i].table = saved->table[i];
    }
}

void ledger_remove(struct ledger *ledger)
{
    char path[PATH_MAX_BYTES];

    for (size_t i = 0; i < LEDGER_PARTS; i++) {
        make_path(ledger, i, "facts", path);
        if (ledger->parts[i].facts.bytes > 0)
            (void)ledger->files->remove(ledger->files, path, NULL); /* a left over file does no harm */
        make_path(ledger, i, "table", path);
        if (ledger->parts[i].table.bytes > 0)
            (void)ledger->files->remove(ledger->files, path, NULL); /* as above */
    }
}
