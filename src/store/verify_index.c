/* SPDX-License-Identifier: Apache-2.0 */
/* See verify_index.h. */
#include "store/verify_index.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "log/varint.h"
#include "os/random.h"
#include "store/index_block.h"
#include "store/index_int.h"

enum {
    OPEN_ATTEMPTS = 5, /* a writer may be replacing runs */
    READ_BLOCKS = 64,
};

/* Of a set: the order in which things come does not matter. */
struct sum {
    uint64_t low, high;
};

struct audit_run {
    struct index_run *run; /* NULL: it could not be opened, which was told */
    struct sum ids, streams;
};

struct verify_index {
    struct verify_index_options options;
    char *folder; /* owned */
    struct index_manifest manifest;
    struct audit_run *runs; /* owned; oldest first */
    size_t at;              /* the run of the next event */
    struct cursors cursors; /* as of the covered position */
    uint64_t check;         /* of the record at the covered position */
    uint64_t seed;
};

BANYAN_PRINTF_LIKE(5, 6)
static void tell(const struct verify_index *index, const char *path, enum log_finding_class class, uint64_t position,
                 const char *format, ...)
{
    struct log_finding finding = {.kind = "index", .class = class, .path = path, .position = position};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(finding.text, sizeof(finding.text), format, arguments); /* over-long texts are cut */
    va_end(arguments);
    index->options.finding(index->options.context, &finding);
}

static void sum_add(struct sum *sum, uint64_t seed, const uint64_t words[3], bool less)
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(words, 3 * sizeof(*words), seed);

    sum->low += less ? 0 - hash.low64 : hash.low64;
    sum->high += less ? 0 - hash.high64 : hash.high64;
}

/* ---- opening ---- */

static void close_runs(struct verify_index *index)
{
    for (size_t i = 0; index->runs != NULL && i < index->manifest.run_count; i++)
        index_run_close(index->runs[i].run);
    free(index->runs);
    index->runs = NULL;
}

/* NOT_FOUND: a file is missing, maybe because another one took its place. */
static enum banyan_status open_once(struct verify_index *index, struct banyan_error *err)
{
    struct os_files *files = index->options.files;
    enum banyan_status status = index_manifest_load(files, index->folder, &index->manifest, err);
    uint64_t no_filters = 0, position = 1;

    if (status != BANYAN_OK)
        return status;
    index->runs = alloc_zeroed(index->manifest.run_count + 1, sizeof(*index->runs));
    for (size_t i = 0; i < index->manifest.run_count && status == BANYAN_OK; i++) {
        const struct index_manifest_run *named = &index->manifest.runs[i];
        struct index_run *run = NULL;

        status = index_run_open(files, index->folder, named->sequence, &no_filters, &run, err);
        index->runs[i].run = run;
        if (status == BANYAN_OK && (run->header.first != named->first || run->header.last != named->last ||
                                    run->header.crc != named->header_crc || run->header.first != position))
            status = banyan_error_set(err, BANYAN_CORRUPT, "%s is not the run that the manifest names", run->path);
        position = named->last + 1;
    }
    if (status == BANYAN_OK && position != index->manifest.covered + 1)
        status = banyan_error_set(err, BANYAN_CORRUPT, "the manifest does not cover what its runs hold");
    return status;
}

enum banyan_status verify_index_open(const struct verify_index_options *options, struct verify_index **ret,
                                     struct banyan_error *err)
{
    struct verify_index *index = alloc_zeroed(1, sizeof(*index));
    struct banyan_error why = BANYAN_ERROR_INIT;
    enum banyan_status status = BANYAN_NOT_FOUND;

    index->options = *options;
    index->folder = alloc_text(options->folder);
    os_random_bytes(&index->seed, sizeof(index->seed));
    for (int i = 0; i < OPEN_ATTEMPTS && status == BANYAN_NOT_FOUND; i++) {
        close_runs(index);
        index_manifest_release(&index->manifest);
        index->manifest = (struct index_manifest){.runs = NULL};
        banyan_error_clear(&why);
        status = open_once(index, &why);
    }
    if (status == BANYAN_OK) {
        *ret = index;
        return BANYAN_OK;
    }
    if (status == BANYAN_CORRUPT || (status == BANYAN_NOT_FOUND && index->runs != NULL))
        tell(index, index->folder, LOG_FINDING_DERIVED, 0, "%.200s; the index is made anew at the next open",
             why.message);
    else if (status != BANYAN_NOT_FOUND && err != NULL)
        *err = why;
    *ret = NULL;
    verify_index_close(index);
    return status == BANYAN_CORRUPT || status == BANYAN_NOT_FOUND ? BANYAN_OK : status;
}

void verify_index_close(struct verify_index *index)
{
    if (index == NULL)
        return;
    close_runs(index);
    index_manifest_release(&index->manifest);
    cursors_release(&index->cursors);
    free(index->folder);
    free(index);
}

/* ---- the log's side ---- */

void verify_index_event(struct verify_index *index, const struct envelope *envelope, const struct log_record *record)
{
    const struct index_manifest *manifest = &index->manifest;
    const struct store_event *event = &envelope->event;
    uint64_t position = record->position.value, words[3];
    struct audit_run *run;

    while (index->at < manifest->run_count && position > manifest->runs[index->at].last)
        index->at++;
    if (index->at == manifest->run_count)
        return;
    run = &index->runs[index->at];
    if (position == manifest->covered)
        index->check = XXH3_64bits_withSeed(record->data.data, record->data.size, manifest->seeds[1]);
    if (envelope->cursor.name.size > 0)
        cursors_put(&index->cursors, &envelope->cursor);
    words[0] = XXH3_64bits_withSeed(event->id.bytes, sizeof(event->id.bytes), manifest->seeds[1]);
    words[1] = position;
    words[2] = 0;
    sum_add(&run->ids, index->seed, words, false);
    words[0] = XXH3_64bits_withSeed(event->stream.data, event->stream.size, manifest->seeds[0]);
    words[2] = envelope->version;
    sum_add(&run->streams, index->seed, words, false);
    if (envelope->prev < manifest->runs[index->at].first)
        return;
    words[1] = envelope->prev;
    words[2] = envelope->version - 1;
    sum_add(&run->streams, index->seed, words, true);
}

/* ---- the index's side ---- */

static enum banyan_status check_blocks(const struct verify_index *index, const struct index_run *run,
                                       struct banyan_error *err)
{
    char *data = alloc_zeroed(READ_BLOCKS, INDEX_BLOCK_BYTES);
    enum banyan_status status = BANYAN_OK;
    uint64_t number = 1;

    for (int section = 0; section < INDEX_SECTIONS && status == BANYAN_OK; section++) {
        for (uint32_t done = 0; done < run->header.blocks[section] && status == BANYAN_OK;) {
            uint32_t left = run->header.blocks[section] - done, count = left < READ_BLOCKS ? left : READ_BLOCKS;
            size_t got = 0;

            status = run->files->read(run->file, number * INDEX_BLOCK_BYTES, data, (size_t)count * INDEX_BLOCK_BYTES,
                                      &got, err);
            for (uint32_t i = 0; status == BANYAN_OK && i < count; i++, number++) {
                if ((i + 1) * (size_t)INDEX_BLOCK_BYTES > got ||
                    !index_block_check(data + (size_t)i * INDEX_BLOCK_BYTES, run->header.sequence, number,
                                       (enum index_section)section))
                    tell(index, run->path, LOG_FINDING_DERIVED, run->header.first,
                         "block %" PRIu64 " is damaged; the index is made anew when it is met", number);
            }
            done += count;
        }
    }
    free(data);
    return status;
}

/* Version and position of a stream's entry, which the iterator found whole. */
static void entry_words(const struct index_stream_entry *entry, uint64_t ret[3])
{
    const char *at = entry->data.data + 8, *end = entry->data.data + entry->data.size;

    ret[0] = entry->hash;
    at += varint_get(at, end, &ret[2]);
    (void)varint_get(at, end, &ret[1]);
}

static enum banyan_status sum_section(const struct verify_index *index, const struct index_run *run,
                                      enum index_section section, struct sum *ret, bool *ret_sorted,
                                      struct banyan_error *err)
{
    struct index_iterator iterator;
    uint64_t last = 0, words[3];
    enum banyan_status status = BANYAN_OK;
    bool found = true;

    *ret = (struct sum){0, 0};
    *ret_sorted = true;
    index_iterator_init(&iterator, run, section);
    for (;;) {
        status = index_iterator_next(&iterator, &found, err);
        if (status != BANYAN_OK || !found)
            break;
        if (section == INDEX_IDS) {
            words[0] = iterator.at.id.hash;
            words[1] = iterator.at.id.position;
            words[2] = 0;
        } else {
            entry_words(&iterator.at.stream, words);
            *ret_sorted &= words[0] == XXH3_64bits_withSeed(iterator.at.stream.name.data, iterator.at.stream.name.size,
                                                            index->manifest.seeds[0]);
        }
        *ret_sorted &= words[0] >= last;
        last = words[0];
        sum_add(ret, index->seed, words, false);
    }
    index_iterator_release(&iterator);
    return status;
}

static enum banyan_status check_run(const struct verify_index *index, const struct audit_run *audit, bool compare,
                                    struct banyan_error *err)
{
    static const char *const names[] = {"ids", "streams"};
    const struct index_run *run = audit->run;
    enum banyan_status status = check_blocks(index, run, err);

    for (int section = INDEX_IDS; section <= INDEX_STREAMS && status == BANYAN_OK; section++) {
        const struct sum *wanted = section == INDEX_IDS ? &audit->ids : &audit->streams;
        struct banyan_error why = BANYAN_ERROR_INIT;
        struct sum sum;
        bool sorted;

        status = sum_section(index, run, (enum index_section)section, &sum, &sorted, &why);
        if (status == BANYAN_CORRUPT) { /* told, with the block */
            status = BANYAN_OK;
            continue;
        }
        if (status != BANYAN_OK && err != NULL)
            *err = why;
        if (status == BANYAN_OK && (!sorted || (compare && memcmp(&sum, wanted, sizeof(sum)) != 0)))
            tell(index, run->path, LOG_FINDING_DERIVED, run->header.first,
                 "its %s are not those of positions %" PRIu64 " to %" PRIu64 "; remove the folder to make it anew",
                 names[section], run->header.first, run->header.last);
    }
    return status;
}

static bool same_cursors(const struct cursors *a, const struct cursors *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        const struct cursor *left = &a->items[i], *right = &b->items[i];

        if (left->name_size != right->name_size || left->value_size != right->value_size ||
            memcmp(left->name, right->name, left->name_size) != 0 ||
            memcmp(left->value, right->value, left->value_size) != 0)
            return false;
    }
    return true;
}

enum banyan_status verify_index_finish(struct verify_index *index, uint64_t last, bool whole, struct banyan_error *err)
{
    uint64_t covered = index->manifest.covered;
    enum banyan_status status = BANYAN_OK;

    if (covered > last) {
        tell(index, index->folder, LOG_FINDING_DAMAGE, last + 1,
             "the index holds positions up to %" PRIu64 ", which were durable; the log ends with %" PRIu64, covered,
             last);
        whole = false;
    }
    for (size_t i = 0; i < index->manifest.run_count && status == BANYAN_OK; i++)
        status = check_run(index, &index->runs[i], whole, err);
    if (status == BANYAN_OK && whole && covered > 0 &&
        (index->check != index->manifest.check || !same_cursors(&index->cursors, &index->manifest.cursors)))
        tell(index, index->folder, LOG_FINDING_DERIVED, covered,
             "the manifest's cursors or last record are not those of the log; the index is made anew");
    return status;
}
