/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See verify.h.
 *
 *     log_verify() ─┬─ record ─▶ envelope, limits, cursor ─▶ ledgers of streams and ids ─▶ now, or when the log was
 * read ├─ frame ──▶ Merkle trees ─▶ signed heads that end there └─ segment ▶ the checkpoint of a verification that may
 * be resumed
 *
 * What leads into lost positions cannot be checked; it is counted and then believed.
 */
#include "store/verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "log/varint.h"
#include "os/random.h"
#include "store/envelope.h"
#include "store/sign.h"
#include "store/signed_head.h"
#include "store/verify_blocks.h"
#include "store/verify_index.h"
#include "store/verify_ledger.h"

enum {
    MEMORY_BYTES = 512 * 1024 * 1024,
    LOST_MAX = 4096, /* ranges; beyond them all links count as leading into what is lost */
    CHECKPOINT_EVERY_US = 5 * 1000 * 1000,
    CHECKPOINT_FORMAT = 1,
};

struct range {
    uint64_t first, last;
};

/* What the work folder keeps besides the ledgers' files.  Read by the program that wrote it only. */
struct checkpoint {
    uint32_t crc; /* of all behind it */
    uint32_t format, size, lost_count;
    uint64_t seed;
    struct log_verify_place log;
    struct store_verify_report report;
    struct signed_tree tree;
    struct range lost[LOST_MAX];
    struct ledger_saved streams, ids;
};

struct verify {
    const struct store_verify_options *options;
    struct os_files *files;
    struct os_clock *clock;
    struct store_verify_report *report;
    char *log_folder;  /* owned */
    char *cold_folder; /* owned */
    struct ledger streams, ids;
    uint64_t seed;
    int64_t saved_us; /* when the last checkpoint was written */

    const char *path; /* of the record that is looked at; NULL: of none */
    uint64_t byte;

    struct range lost[LOST_MAX];
    size_t lost_count;
    bool all_lost;

    struct signed_tree tree;
    struct verify_index *index; /* NULL: there is none, or its events were not all seen by this run */
    struct verify_blocks blocks;
    struct signed_root *roots; /* of the derived file; owned */
    size_t root_count;
    struct signed_heads heads; /* sorted by offset */
    size_t head_next;

    enum banyan_status failed; /* of a call that could not return it */
    struct banyan_error why;
};

static void tell(struct verify *verify, const struct log_finding *finding)
{
    struct store_verify_report *report = verify->report;

    report->damages += finding->class == LOG_FINDING_DAMAGE;
    report->derived += finding->class == LOG_FINDING_DERIVED;
    report->notes += finding->class == LOG_FINDING_NOTE;
    if (verify->options->finding != NULL)
        verify->options->finding(verify->options->context, finding);
}

BANYAN_PRINTF_LIKE(4, 5)
static void damage(struct verify *verify, const char *kind, uint64_t position, const char *format, ...)
{
    struct log_finding finding = {.kind = kind,
                                  .class = LOG_FINDING_DAMAGE,
                                  .path = verify->path == NULL ? verify->log_folder : verify->path,
                                  .byte = verify->byte,
                                  .position = position};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(finding.text, sizeof(finding.text), format, arguments); /* over-long texts are cut */
    va_end(arguments);
    tell(verify, &finding);
}

/* ---- streams and ids ---- */

static bool is_lost(const struct verify *verify, uint64_t position)
{
    size_t low = 0, high = verify->lost_count;

    if (verify->all_lost)
        return true;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (verify->lost[middle].last < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low < verify->lost_count && verify->lost[low].first <= position;
}

static void check_id(void *context, struct ledger_entry *entry, const struct ledger_fact *fact)
{
    struct verify *verify = context;

    if (entry->position != 0)
        damage(verify, "id_twice", fact->position, "the event has the id of the event at position %" PRIu64,
               entry->position);
    entry->position = fact->position;
}

/* How many nodes are on the way of jumps from *version*, itself included. */
static uint64_t path_length(uint64_t version)
{
    uint64_t length = 0;

    for (; version != 0; version = store_jump_target(version))
        length++;
    return length;
}

/* The jump of a fact whose version has one, and the path behind it. */
static void check_jump(struct verify *verify, struct ledger_entry *entry, const struct ledger_fact *fact)
{
    uint64_t length, wanted, *path = entry->path;

    if (fact->version % STORE_JUMP_STEP != 0) {
        if (fact->jump != 0)
            damage(verify, "jump", fact->position, "version %" PRIu64 " has no jump, and the event has one",
                   fact->version);
        return;
    }
    length = path_length(fact->version);
    if (path != NULL && path[0] == UINT64_MAX)
        return;
    if (length - 1 > (path == NULL ? 0 : path[0])) { /* something before it was lost */
        free(entry->path);
        entry->path = alloc_zeroed(1, sizeof(*path));
        entry->path[0] = UINT64_MAX;
        return;
    }
    wanted = length == 1 ? 0 : path[length - 1];
    if (fact->jump != wanted && !(fact->jump != 0 && is_lost(verify, fact->jump)))
        damage(verify, "jump", fact->position, "the jump leads to position %" PRIu64 "; %" PRIu64 " was expected",
               fact->jump, wanted);
    if (path == NULL || path[0] != length)
        entry->path = alloc_resized(path, length + 1, sizeof(*path));
    entry->path[0] = length;
    entry->path[length] = fact->position;
}

static void check_stream(void *context, struct ledger_entry *entry, const struct ledger_fact *fact)
{
    struct verify *verify = context;
    bool known = entry->position != 0;
    bool fits = fact->version == entry->version + 1 && fact->prev == entry->position;

    if (!fits && fact->prev != 0 && is_lost(verify, fact->prev)) {
        verify->report->unchecked++;
        free(entry->path);
        entry->path = NULL;
        if (fact->version >= STORE_JUMP_STEP) {
            entry->path = alloc_zeroed(1, sizeof(*entry->path));
            entry->path[0] = UINT64_MAX;
        }
    } else if (fact->version != entry->version + 1) {
        damage(verify, "version", fact->position,
               "the event is version %" PRIu64 " of its stream; %" PRIu64 " was expected", fact->version,
               entry->version + 1);
    } else if (!fits) {
        damage(verify, "previous", fact->position,
               "the event names position %" PRIu64 " as the one before in its stream; it is %" PRIu64, fact->prev,
               entry->position);
    } else {
        check_jump(verify, entry, fact);
    }
    verify->report->streams += !known;
    entry->position = fact->position;
    entry->version = fact->version;
}

static void fail(struct verify *verify, enum banyan_status status)
{
    if (verify->failed == BANYAN_OK)
        verify->failed = status;
}

static void add_facts(struct verify *verify, const struct envelope *envelope, uint64_t position)
{
    XXH128_hash_t stream =
        XXH3_128bits_withSeed(envelope->event.stream.data, envelope->event.stream.size, verify->seed);
    XXH128_hash_t id = XXH3_128bits_withSeed(envelope->event.id.bytes, sizeof(envelope->event.id.bytes), verify->seed);
    struct ledger_fact fact = {.key = {stream.low64, stream.high64},
                               .position = position,
                               .version = envelope->version,
                               .prev = envelope->prev,
                               .jump = envelope->jump};
    enum banyan_status status = ledger_add(&verify->streams, &fact, &verify->why);

    if (status == BANYAN_OK) {
        fact = (struct ledger_fact){.key = {id.low64, id.high64}, .position = position};
        status = ledger_add(&verify->ids, &fact, &verify->why);
    }
    if (status != BANYAN_OK)
        fail(verify, status);
}

/* ---- records ---- */

static size_t varint_size(uint64_t value)
{
    size_t size = 1;

    for (; value >= 0x80; value >>= 7)
        size++;
    return size;
}

static size_t text_size(struct banyan_str text)
{
    return varint_size(text.size) + text.size;
}

/* Bytes of the one form that *envelope* has. */
static size_t envelope_size(const struct envelope *envelope, uint64_t position)
{
    const struct store_event *event = &envelope->event;
    size_t size = 1 + sizeof(event->id.bytes) + sizeof(event->at.us) + varint_size(envelope->version);

    size += envelope->version > 1 ? varint_size(position - envelope->prev) : 0;
    size += envelope->jump != 0 ? varint_size(position - envelope->jump) : 0;
    size += varint_size(event->schema) + text_size(event->stream) + text_size(event->type);
    size += event->meta.size > 0 ? text_size(event->meta) : 0;
    size += text_size(event->payload);
    if (envelope->cursor.name.data != NULL)
        size += text_size(envelope->cursor.name) + text_size(envelope->cursor.value);
    return size;
}

static const char *wrong_in(const struct envelope *envelope, const struct log_record *record)
{
    const struct store_event *event = &envelope->event;

    if (event->stream.size == 0 || event->stream.size > STORE_STREAM_NAME_BYTES_MAX)
        return "the size of the stream's name";
    if (event->type.size == 0 || event->type.size > STORE_TYPE_NAME_BYTES_MAX)
        return "the size of the type's name";
    if (event->meta.size > STORE_META_BYTES_MAX)
        return "the size of the metadata";
    if (event->payload.size > STORE_PAYLOAD_BYTES_MAX)
        return "the size of the payload";
    if (envelope->version > record->position.value)
        return "the version, which is larger than the position";
    if (envelope->cursor.name.data != NULL &&
        (envelope->cursor.name.size == 0 || envelope->cursor.name.size > STORE_STREAM_NAME_BYTES_MAX ||
         envelope->cursor.value.size > STORE_CURSOR_BYTES_MAX))
        return "the size of the cursor's name or value";
    if (envelope->cursor.name.data != NULL && !record->ends_batch)
        return "a cursor before the end of its batch";
    if (envelope_size(envelope, record->position.value) != record->data.size)
        return "a number that is not in its shortest form";
    return NULL;
}

static void on_record(void *context, const struct log_record *record, const char *path, uint64_t byte)
{
    struct verify *verify = context;
    uint64_t position = record->position.value;
    struct envelope envelope;
    const char *wrong;

    verify->path = path;
    verify->byte = byte;
    verify->report->events++;
    if (!envelope_decode(record->data, position, &envelope)) {
        damage(verify, "envelope", position, "the record holds no event");
        return;
    }
    wrong = wrong_in(&envelope, record);
    if (wrong != NULL)
        damage(verify, "envelope", position, "not as an event is written: %s", wrong);
    verify->report->cursors += envelope.cursor.name.data != NULL;
    verify->report->payload_bytes += envelope.event.payload.size;
    verify_blocks_event(&verify->blocks, &envelope, position);
    if (verify->index != NULL)
        verify_index_event(verify->index, &envelope, record);
    if (verify->failed == BANYAN_OK)
        add_facts(verify, &envelope, position);
    verify->path = NULL;
    verify->byte = 0;
}

static void on_lost(void *context, uint64_t first, uint64_t last)
{
    struct verify *verify = context;

    if (verify->lost_count == LOST_MAX)
        verify->all_lost = true;
    else if (verify->lost_count == 0 || first > verify->lost[verify->lost_count - 1].last)
        verify->lost[verify->lost_count++] = (struct range){first, last};
}

static void on_log_finding(void *context, const struct log_finding *finding)
{
    tell(context, finding);
}

/* ---- signed heads ---- */

BANYAN_PRINTF_LIKE(3, 4)
static void head_damage(struct verify *verify, const struct signed_head *head, const char *format, ...)
{
    struct log_finding finding = {.kind = "signed_head",
                                  .class = LOG_FINDING_DAMAGE,
                                  .path = head->path,
                                  .byte = head->byte,
                                  .position = head->position};
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(finding.text, sizeof(finding.text), format, arguments); /* over-long texts are cut */
    va_end(arguments);
    tell(verify, &finding);
}

static void check_head(struct verify *verify, const struct signed_head *head, const struct frame_header *frame)
{
    struct merkle_hash root = signed_tree_root(&verify->tree);

    if (frame->first_position + frame->record_count - 1 != head->position ||
        verify->tree.segments.count + 1 != head->segments || verify->tree.frames.count != head->frames ||
        memcmp(frame->chain, head->chain, sizeof(head->chain)) != 0 ||
        memcmp(root.bytes, head->root.bytes, sizeof(root.bytes)) != 0)
        head_damage(verify, head, "history up to position %" PRIu64 " is not what was signed", head->position);
    else
        verify->report->heads++;
}

static void on_frame(void *context, const struct frame_header *frame, uint64_t offset)
{
    struct verify *verify = context;
    const struct signed_heads *heads = &verify->heads;

    if (heads->count == 0 && verify->root_count == 0 && !verify->options->resume) /* which may meet heads later */
        return;
    signed_tree_add(&verify->tree, frame);
    for (; verify->head_next < heads->count && heads->items[verify->head_next].offset <= offset; verify->head_next++) {
        const struct signed_head *head = &heads->items[verify->head_next];

        if (head->offset == offset)
            check_head(verify, head, frame);
        else
            head_damage(verify, head, "no frame ends at offset %" PRIu64 ", which was signed", head->offset);
    }
}

/* ---- the derived file of roots ---- */

static void root_finding(struct verify *verify, uint64_t number, uint64_t position, const char *text)
{
    size_t size = strlen(verify->options->folder) + sizeof("/" SIGNED_ROOTS_FILE);
    char *path = alloc_zeroed(1, size);
    struct log_finding finding = {.kind = "roots",
                                  .class = LOG_FINDING_DERIVED,
                                  .path = path,
                                  .byte = number * sizeof(struct signed_root),
                                  .position = position};

    (void)snprintf(path, size, "%s/" SIGNED_ROOTS_FILE, verify->options->folder); /* fits: counted above */
    (void)snprintf(finding.text, sizeof(finding.text), "%s", text);               /* over-long texts are cut */
    tell(verify, &finding);
    free(path);
}

static void check_root(struct verify *verify, const struct log_verify_place *place, uint64_t first_position)
{
    struct signed_root wanted = signed_root_make(&verify->tree, place, first_position);

    if (memcmp(&wanted, &verify->roots[place->segment - 1], sizeof(wanted)) != 0)
        root_finding(verify, place->segment - 1, first_position, "not the root of the segment; it is made anew");
}

static enum banyan_status load_roots(struct verify *verify, struct banyan_error *err)
{
    bool more = false;
    enum banyan_status status =
        signed_roots_load(verify->files, verify->options->folder, &verify->roots, &verify->root_count, &more, err);

    if (status == BANYAN_OK && more)
        root_finding(verify, verify->root_count, 0, "bytes that are no root; they are made anew");
    return status;
}

/* ---- resuming ---- */

static char *checkpoint_path(const struct verify *verify, const char *suffix)
{
    size_t size = strlen(verify->options->work_folder) + 32;
    char *path = alloc_zeroed(1, size);

    (void)snprintf(path, size, "%s/progress%s", verify->options->work_folder, suffix); /* fits: counted above */
    return path;
}

static enum banyan_status save_checkpoint(struct verify *verify, const struct log_verify_place *place,
                                          struct banyan_error *err)
{
    struct checkpoint *checkpoint = alloc_zeroed(1, sizeof(*checkpoint));
    char *path = checkpoint_path(verify, ""), *fresh = checkpoint_path(verify, ".new");
    struct os_file *file = NULL;
    enum banyan_status status;

    checkpoint->format = CHECKPOINT_FORMAT;
    checkpoint->size = sizeof(*checkpoint);
    checkpoint->lost_count = verify->all_lost ? UINT32_MAX : (uint32_t)verify->lost_count;
    checkpoint->seed = verify->seed;
    checkpoint->log = *place;
    checkpoint->report = *verify->report;
    checkpoint->tree = verify->tree;
    memcpy(checkpoint->lost, verify->lost, sizeof(verify->lost));
    status = ledger_save(&verify->streams, &checkpoint->streams, err);
    if (status == BANYAN_OK)
        status = ledger_save(&verify->ids, &checkpoint->ids, err);
    checkpoint->crc = crc32c(0, &checkpoint->format, sizeof(*checkpoint) - offsetof(struct checkpoint, format));
    if (status == BANYAN_OK)
        status = verify->files->open(verify->files, fresh, true, &file, err);
    if (status == BANYAN_OK)
        status = verify->files->write(file, 0, checkpoint, sizeof(*checkpoint), err);
    if (status == BANYAN_OK)
        status = verify->files->sync(file, err);
    verify->files->close(file);
    if (status == BANYAN_OK)
        status = verify->files->rename(verify->files, fresh, path, err);
    free(checkpoint);
    free(fresh);
    free(path);
    verify->saved_us = os_clock_monotonic_us(verify->clock);
    return status;
}

/* NOT_FOUND, without an error: there is none, or none that can be used. */
static enum banyan_status load_checkpoint(struct verify *verify, struct log_verify_place *place)
{
    struct checkpoint *checkpoint = alloc_zeroed(1, sizeof(*checkpoint));
    char *path = checkpoint_path(verify, "");
    struct os_file *file = NULL;
    size_t size = 0;
    enum banyan_status status = verify->files->open(verify->files, path, false, &file, NULL);

    if (status == BANYAN_OK)
        status = verify->files->read(file, 0, checkpoint, sizeof(*checkpoint), &size, NULL);
    verify->files->close(file);
    if (status != BANYAN_OK || size != sizeof(*checkpoint) || checkpoint->format != CHECKPOINT_FORMAT ||
        checkpoint->size != sizeof(*checkpoint) ||
        checkpoint->crc != crc32c(0, &checkpoint->format, sizeof(*checkpoint) - offsetof(struct checkpoint, format))) {
        status = BANYAN_NOT_FOUND;
        goto out;
    }
    *place = checkpoint->log;
    *verify->report = checkpoint->report;
    verify->report->resumed_position = place->next_position;
    verify->seed = checkpoint->seed;
    verify->tree = checkpoint->tree;
    verify->all_lost = checkpoint->lost_count == UINT32_MAX;
    verify->lost_count = verify->all_lost ? 0 : checkpoint->lost_count;
    memcpy(verify->lost, checkpoint->lost, sizeof(verify->lost));
    ledger_resume(&verify->streams, &checkpoint->streams);
    ledger_resume(&verify->ids, &checkpoint->ids);
out:
    free(checkpoint);
    free(path);
    return status;
}

static void remove_checkpoint(struct verify *verify)
{
    char *path = checkpoint_path(verify, "");

    (void)verify->files->remove(verify->files, path, NULL); /* it may not be there */
    free(path);
}

static enum banyan_status on_segment(void *context, const struct log_verify_place *place, uint64_t first_position,
                                     struct banyan_error *err)
{
    struct verify *verify = context;
    const struct store_verify_options *options = verify->options;
    bool stopped = options->stop != NULL && os_stop_requested(options->stop);
    enum banyan_status status = BANYAN_OK;

    if (place->segment <= verify->root_count)
        check_root(verify, place, first_position);
    signed_tree_seal(&verify->tree, first_position);
    if (options->resume && (stopped || os_clock_monotonic_us(verify->clock) - verify->saved_us >= CHECKPOINT_EVERY_US))
        status = save_checkpoint(verify, place, err);
    if (status == BANYAN_OK && stopped)
        status = banyan_error_set(err, BANYAN_STOPPED, "stopped at position %" PRIu64, place->next_position);
    return status;
}

static enum banyan_status on_progress(void *context, uint64_t done, uint64_t total, struct banyan_error *err)
{
    struct verify *verify = context;
    const struct store_verify_options *options = verify->options;

    if (verify->failed != BANYAN_OK) {
        if (err != NULL)
            *err = verify->why;
        return verify->failed;
    }
    if (options->progress != NULL)
        options->progress(options->context, done, total, verify->report->events);
    /* One that may be resumed goes on to the end of its segment. */
    if (!options->resume && options->stop != NULL && os_stop_requested(options->stop))
        return banyan_error_set(err, BANYAN_STOPPED, "stopped");
    return BANYAN_OK;
}

/* ---- all of it ---- */

static enum banyan_status begin(struct verify *verify, struct log_verify_place *place, struct banyan_error *err)
{
    const struct store_verify_options *options = verify->options;
    uint64_t memory = options->memory_bytes == 0 ? MEMORY_BYTES : options->memory_bytes;
    size_t size = strlen(options->folder) + sizeof("/log");
    enum banyan_status status = BANYAN_OK;

    verify->files = options->files == NULL ? os_files_real() : options->files;
    verify->clock = options->clock == NULL ? os_clock_real() : options->clock;
    verify->log_folder = alloc_zeroed(1, size);
    (void)snprintf(verify->log_folder, size, "%s/log", options->folder); /* fits: counted above */
    if (options->cold_folder == NULL) {
        verify->cold_folder = alloc_zeroed(1, size + 1);
        (void)snprintf(verify->cold_folder, size + 1, "%s/cold", options->folder); /* as above */
    } else {
        verify->cold_folder = alloc_text(options->cold_folder);
    }
    ledger_init(&verify->streams, LEDGER_STREAMS, verify->files, options->work_folder, memory / 2);
    ledger_init(&verify->ids, LEDGER_IDS, verify->files, options->work_folder, memory / 2);
    verify->streams.check = check_stream;
    verify->ids.check = check_id;
    verify->streams.context = verify->ids.context = verify;
    os_random_bytes(&verify->seed, sizeof(verify->seed));
    verify->saved_us = os_clock_monotonic_us(verify->clock);
    if (options->work_folder != NULL)
        status = verify->files->make_folder(verify->files, options->work_folder, err);
    if (status != BANYAN_OK || !options->resume)
        return status;
    if (load_checkpoint(verify, place) == BANYAN_NOT_FOUND) {
        static const struct ledger_saved nothing;

        ledger_resume(&verify->streams, &nothing);
        ledger_resume(&verify->ids, &nothing);
    }
    return BANYAN_OK;
}

/* Heads behind the end of the log; those before where a resumed one went on were checked then. */
static void finish_heads(struct verify *verify)
{
    for (size_t i = 0; i < verify->heads.count; i++) {
        const struct signed_head *head = &verify->heads.items[i];

        if (!banyan_uuid_equal(head->log_id, verify->report->log.log_id))
            head_damage(verify, head, "the head is of another log");
    }
    for (; verify->head_next < verify->heads.count; verify->head_next++) {
        const struct signed_head *head = &verify->heads.items[verify->head_next];

        head_damage(verify, head, "the log ends before position %" PRIu64 ", which was signed", head->position);
    }
}

static enum banyan_status load_heads(struct verify *verify, const struct log_verify_place *place,
                                     struct banyan_error *err)
{
    const struct store_verify_options *options = verify->options;
    struct signed_heads_options load = {.files = verify->files,
                                        .folder = options->folder,
                                        .more_path = options->heads_path,
                                        .public_key = options->public_key,
                                        .context = verify,
                                        .finding = on_log_finding};
    enum banyan_status status = signed_heads_load(&load, &verify->heads, err);

    while (verify->head_next < verify->heads.count && place->segment > 0 &&
           verify->heads.items[verify->head_next].offset <= place->offset)
        verify->head_next++;
    return status;
}

static enum banyan_status open_blocks(struct verify *verify, struct banyan_error *err)
{
    size_t size = strlen(verify->options->folder) + sizeof("/blocks");
    char *path = alloc_zeroed(1, size);
    enum banyan_status status;

    (void)snprintf(path, size, "%s/blocks", verify->options->folder); /* fits: counted above */
    verify->blocks.files = verify->files;
    verify->blocks.context = verify;
    verify->blocks.finding = on_log_finding;
    status = verify_blocks_open(&verify->blocks, path, err);
    free(path);
    return status;
}

/* A resumed verification did not see all events: the index is then left to one that does. */
static enum banyan_status open_index(struct verify *verify, const struct log_verify_place *place,
                                     struct banyan_error *err)
{
    size_t size = strlen(verify->options->folder) + sizeof("/index");
    char *folder = alloc_zeroed(1, size);
    struct verify_index_options options = {
        .files = verify->files, .folder = folder, .context = verify, .finding = on_log_finding};
    enum banyan_status status = BANYAN_OK;

    (void)snprintf(folder, size, "%s/index", verify->options->folder); /* fits: counted above */
    if (place->segment == 0)
        status = verify_index_open(&options, &verify->index, err);
    free(folder);
    return status;
}

static enum banyan_status run(struct verify *verify, struct banyan_error *err)
{
    static const struct log_verify_visitor calls = {.finding = on_log_finding,
                                                    .frame = on_frame,
                                                    .record = on_record,
                                                    .lost = on_lost,
                                                    .segment = on_segment,
                                                    .progress = on_progress};
    struct log_verify_visitor visitor = calls;
    struct log_verify_options log = {.visitor = &visitor, .one_thread = verify->options->one_thread};
    struct log_verify_place place;
    enum banyan_status status;

    log_verify_place_init(&place);
    visitor.context = verify;
    status = begin(verify, &place, err);
    log.files = verify->files;
    log.folder = verify->log_folder;
    log.cold_folder = verify->cold_folder;
    if (status == BANYAN_OK)
        status = load_heads(verify, &place, err);
    if (status == BANYAN_OK)
        status = load_roots(verify, err);
    if (status == BANYAN_OK)
        status = open_index(verify, &place, err);
    if (status == BANYAN_OK)
        status = open_blocks(verify, err);
    if (status == BANYAN_OK)
        status = log_verify(&log, &place, err);
    if (status == BANYAN_OK)
        status = on_progress(verify, 1, 1, err);
    verify->report->log = place;
    if (status == BANYAN_OK && verify->root_count > 0 && verify->root_count >= place.segment)
        root_finding(verify, place.segment, 0, "roots of segments that are not sealed; they are made anew");
    if (status == BANYAN_OK)
        finish_heads(verify);
    if (status == BANYAN_OK)
        verify_blocks_finish(&verify->blocks, place.whole_position);
    if (status == BANYAN_OK && verify->index != NULL)
        status = verify_index_finish(verify->index, place.whole_position, verify->report->damages == 0, err);
    if (status == BANYAN_OK)
        status = ledger_finish(&verify->streams, err);
    if (status == BANYAN_OK)
        status = ledger_finish(&verify->ids, err);
    return status;
}

enum banyan_status store_verify(const struct store_verify_options *options, struct store_verify_report *ret,
                                struct banyan_error *err)
{
    struct verify *verify = alloc_zeroed(1, sizeof(*verify));
    struct store_verify_report report = {.events = 0};
    int64_t started;
    enum banyan_status status;

    verify->options = options;
    verify->report = &report;
    started = os_clock_monotonic_us(options->clock == NULL ? os_clock_real() : options->clock);
    status = run(verify, err);
    report.elapsed_us = os_clock_monotonic_us(verify->clock) - started;
    if (status == BANYAN_OK)
        *ret = report;
    if (options->work_folder != NULL && (!options->resume || status == BANYAN_OK)) {
        ledger_remove(&verify->streams);
        ledger_remove(&verify->ids);
        remove_checkpoint(verify);
    }
    ledger_release(&verify->streams);
    ledger_release(&verify->ids);
    signed_heads_release(&verify->heads);
    verify_index_close(verify->index);
    verify_blocks_release(&verify->blocks);
    free(verify->roots);
    free(verify->log_folder);
    free(verify->cold_folder);
    free(verify);
    return status;
}
