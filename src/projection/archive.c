/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of streams, and when they are done with: see archive.h.
 *
 *   streams: hash of the name ──▶ stream ──▶ its group, if it is known yet
 *   groups:  root's key ────────▶ group ──▶ its streams (a chain), how many of them are open
 *
 * A stream is known from its first event that says anything: its root, or that it is open or closed.  Before its root
 * is known it belongs to no group, and is not marked.
 */
#include "projection/archive.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "banyan/arena.h"
#include "base/alloc.h"
#include "base/hash.h"
#include "os/clock.h"
#include "os/retry.h"
#include "os/thread.h"
#include "projection/seen.h"
#include "store/archive.h"

enum {
    EVERY_US = 60 * 1000 * 1000,
    WAIT_US = 100 * 1000,
    BATCH_EVENTS = 4096,
    RETRY_FIRST_US = 100 * 1000,
    RETRY_PAUSE_US_MAX = 30 * 1000 * 1000,
};

#define DAY_US (INT64_C(24) * 3600 * 1000 * 1000)

static const char mark_prefix[] = "$archive-";

struct stream {
    struct stream *next; /* of its group */
    struct group *group; /* NULL: not known */
    bool closed;
    bool doubtful; /* an event of it was not understood: it stays open */
    bool marked;   /* and nothing came after the mark */
    struct banyan_time closed_at;
    size_t size;
    char name[];
};

struct group {
    struct stream *streams;
    int64_t root;
};

struct archive {
    struct archive_options options;
    struct banyan_projection everything; /* what is read, in the words of seen.h */
    const char **categories;             /* of it; owned */
    struct seen_rules *rules;
    struct scan_reader *reader;
    struct hash streams, groups;
    struct banyan_arena arena; /* of one event */
    struct os_retry retry;
    struct os_thread thread;
    int64_t looked_us; /* monotone */

    struct {
        pthread_mutex_t lock;
        struct projections_archive_status status;
    } shared;
};

/* ---- what is known ---- */

static int64_t name_hash(struct banyan_str name)
{
    return (int64_t)XXH3_64bits(name.data, name.size);
}

static struct stream *stream_of(struct archive *archive, struct banyan_str name)
{
    struct stream *stream = hash_get(&archive->streams, name_hash(name));
    if (stream != NULL)
        return stream;
    stream = alloc_zeroed(1, sizeof(*stream) + name.size);
    stream->size = name.size;
    memcpy(stream->name, name.data, name.size);
    (void)hash_put(&archive->streams, name_hash(name), stream); /* it was not there */
    return stream;
}

static void tie(struct archive *archive, struct stream *stream, int64_t root)
{
    if (stream->group != NULL)
        return; /* the first tie counts: a stream does not change its group */
    struct group *group = hash_get(&archive->groups, root);
    if (group == NULL) {
        group = alloc_zeroed(1, sizeof(*group));
        group->root = root;
        (void)hash_put(&archive->groups, root, group); /* it was not there */
    }
    stream->group = group;
    stream->next = group->streams;
    group->streams = stream;
}

static void forget_group(struct archive *archive, struct group *group)
{
    for (struct stream *stream = group->streams, *next; stream != NULL; stream = next) {
        next = stream->next;
        (void)hash_remove(&archive->streams, name_hash((struct banyan_str){stream->name, stream->size}));
        free(stream);
    }
    (void)hash_remove(&archive->groups, group->root);
    free(group);
}

static void forget_all(struct archive *archive)
{
    size_t cursor = 0;
    for (struct hash_entry *at; (at = hash_next(&archive->streams, &cursor)) != NULL;)
        free(at->value);
    cursor = 0;
    for (struct hash_entry *at; (at = hash_next(&archive->groups, &cursor)) != NULL;)
        free(at->value);
    hash_reset(&archive->streams);
    hash_reset(&archive->groups);
}

/* A group all of whose streams are marked has nothing left to be done. */
static void see_mark(struct archive *archive, const struct store_read_event *event)
{
    struct banyan_str name = event->event.stream;
    name.data += sizeof(mark_prefix) - 1;
    name.size -= sizeof(mark_prefix) - 1;
    struct stream *stream = hash_get(&archive->streams, name_hash(name));
    if (stream == NULL)
        return;
    stream->marked = banyan_str_equal(event->event.type, BANYAN_STR("$StreamArchivable"));
    if (stream->group == NULL)
        return;
    for (const struct stream *each = stream->group->streams; each != NULL; each = each->next)
        if (!each->marked)
            return;
    forget_group(archive, stream->group);
}

static bool in_category(struct banyan_str stream, const char *category)
{
    size_t size = strlen(category);
    return stream.size > size && stream.data[size] == '-' && memcmp(stream.data, category, size) == 0;
}

static void see(struct archive *archive, const struct store_read_event *event)
{
    const struct banyan_archive_group *rule = archive->options.domain->archive;
    struct banyan_str name = event->event.stream;
    struct banyan_error why = BANYAN_ERROR_INIT;
    struct banyan_seen seen;
    bool keyed;
    if (name.size > sizeof(mark_prefix) - 1 && memcmp(name.data, mark_prefix, sizeof(mark_prefix) - 1) == 0) {
        see_mark(archive, event);
        return;
    }
    banyan_arena_reset(&archive->arena);
    enum seen_kind kind = seen_event(archive->rules, event, &archive->arena, true, &seen, &keyed, &why);
    if (kind == SEEN_UNWANTED)
        return;
    struct stream *stream = stream_of(archive, name);
    stream->marked = false;
    if (kind == SEEN_POISON) {
        stream->doubtful = true;
        return;
    }
    int64_t root = seen.key;
    if (in_category(name, rule->category) || (rule->root != NULL && rule->root(&seen, &root)))
        tie(archive, stream, root);
    int closes = rule->closes(&seen);
    if (closes != 0)
        stream->closed = closes > 0;
    if (closes > 0)
        stream->closed_at = seen.at;
}

/* ---- marking ---- */

/* From when on may all of the group go?  BANYAN_TIME_NULL: not yet. */
static struct banyan_time due(const struct archive *archive, const struct group *group)
{
    int64_t keep_us, last_us = INT64_MIN;
    for (const struct stream *stream = group->streams; stream != NULL; stream = stream->next) {
        if (!stream->closed || stream->doubtful)
            return (struct banyan_time){BANYAN_TIME_NULL};
        last_us = stream->closed_at.us > last_us ? stream->closed_at.us : last_us;
    }
    if (group->streams == NULL ||
        __builtin_mul_overflow(archive->options.domain->archive->keep_days, DAY_US, &keep_us) ||
        __builtin_add_overflow(last_us, keep_us, &last_us))
        return (struct banyan_time){BANYAN_TIME_NULL};
    return (struct banyan_time){last_us};
}

static enum banyan_status mark_group(struct archive *archive, struct group *group, struct banyan_time from,
                                     struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    for (struct stream *stream = group->streams; stream != NULL && st == BANYAN_OK; stream = stream->next) {
        if (stream->marked)
            continue;
        st = store_archive_set(archive->options.store, (struct banyan_str){stream->name, stream->size}, from, err);
        if (st == BANYAN_CONFLICT) { /* an event came in between: it is read soon, and may open the stream again */
            banyan_error_clear(err);
            return BANYAN_OK;
        }
        if (st != BANYAN_OK)
            break;
        pthread_mutex_lock(&archive->shared.lock);
        archive->shared.status.marked++;
        pthread_mutex_unlock(&archive->shared.lock);
    }
    return st; /* its own marks come back through the log, and end the group */
}

static enum banyan_status mark_due(struct archive *archive, struct banyan_error *err)
{
    struct os_clock *clock = archive->options.clock != NULL ? archive->options.clock : os_clock_real();
    struct banyan_time now = os_clock_now(clock);
    enum banyan_status st = BANYAN_OK;
    size_t cursor = 0;
    for (struct hash_entry *at; st == BANYAN_OK && (at = hash_next(&archive->groups, &cursor)) != NULL;) {
        struct banyan_time from = due(archive, at->value);
        if (from.us == BANYAN_TIME_NULL || from.us > now.us)
            continue;
        if (os_stop_requested(archive->options.stop) ||
            (archive->options.waits != NULL && archive->options.waits(archive->options.context)))
            break; /* the rest at the next look */
        st = mark_group(archive, at->value, from, err);
    }
    return st;
}

/* ---- the thread ---- */

static enum banyan_status read_batch(struct archive *archive, bool *ret_at_end, struct banyan_error *err)
{
    enum banyan_status st = BANYAN_OK;
    for (size_t i = 0; i < BATCH_EVENTS && st == BANYAN_OK; i++) {
        struct store_read_event event;
        st = scan_reader_next(archive->reader, false, &event, err);
        if (st == BANYAN_OK)
            see(archive, &event);
    }
    *ret_at_end = st == BANYAN_NOT_FOUND;
    pthread_mutex_lock(&archive->shared.lock);
    archive->shared.status.position = scan_reader_passed(archive->reader);
    archive->shared.status.groups = archive->groups.count;
    archive->shared.status.streams = archive->streams.count;
    pthread_mutex_unlock(&archive->shared.lock);
    return st == BANYAN_NOT_FOUND ? BANYAN_OK : st;
}

static enum banyan_status session(struct archive *archive, struct banyan_error *err)
{
    forget_all(archive);
    archive->looked_us = 0;
    enum banyan_status st = scan_reader_seek(archive->reader, (struct banyan_position){1}, err);
    while (st == BANYAN_OK && !os_stop_requested(archive->options.stop)) {
        bool at_end = false;
        st = read_batch(archive, &at_end, err);
        bool waits = archive->options.waits != NULL && archive->options.waits(archive->options.context);
        int64_t now_us = os_clock_monotonic_us(os_clock_real());
        if (st == BANYAN_OK && waits)
            (void)os_stop_wait(archive->options.stop, WAIT_US); /* the loop looks */
        if (st != BANYAN_OK || !at_end || waits)
            continue;
        if (archive->looked_us == 0 || now_us - archive->looked_us >= archive->options.every_us) {
            st = mark_due(archive, err);
            archive->looked_us = now_us;
            pthread_mutex_lock(&archive->shared.lock);
            if (st == BANYAN_OK)
                banyan_error_clear(&archive->shared.status.error);
            pthread_mutex_unlock(&archive->shared.lock);
        } else {
            st = scan_reader_wait(archive->reader, WAIT_US, err);
        }
        if (st == BANYAN_OK)
            os_retry_reset(&archive->retry);
    }
    return st;
}

static void run(void *argument)
{
    struct archive *archive = argument;
    bool more = true;
    while (more && !os_stop_requested(archive->options.stop)) {
        struct banyan_error err = BANYAN_ERROR_INIT;
        enum banyan_status st = session(archive, &err);
        if (st == BANYAN_OK)
            break;
        banyan_error_context(&err, "archive");
        pthread_mutex_lock(&archive->shared.lock);
        archive->shared.status.error = err;
        pthread_mutex_unlock(&archive->shared.lock);
        more = os_retry_pause(&archive->retry, archive->options.stop);
    }
}

static bool any_key(const struct banyan_seen *event, int64_t *ret_key)
{
    *ret_key = event->key; /* a stream may be named by a text */
    return true;
}

struct archive *archive_new(const struct archive_options *options)
{
    const struct banyan_domain *domain = options->domain;
    struct archive *archive = alloc_zeroed(1, sizeof(*archive));
    archive->options = *options;
    if (options->every_us == 0)
        archive->options.every_us = EVERY_US;
    archive->categories = alloc_zeroed(domain->aggregate_count + 1, sizeof(*archive->categories));
    for (size_t i = 0; i < domain->aggregate_count; i++)
        archive->categories[i] = domain->aggregates[i].category;
    archive->everything = (struct banyan_projection){
        .name = "archive", .categories = archive->categories, .key = any_key, .spread = BANYAN_JOINED};
    archive->rules = seen_rules_new(options->store, domain, &archive->everything);
    archive->reader = scan_reader_open(options->scan, NULL);
    archive->retry = (struct os_retry){.first_us = RETRY_FIRST_US, .pause_us_max = RETRY_PAUSE_US_MAX};
    pthread_mutex_init(&archive->shared.lock, NULL);
    os_thread_start(&archive->thread, "archive", run, archive);
    return archive;
}

void archive_free(struct archive *archive)
{
    if (archive == NULL)
        return;
    os_thread_join(&archive->thread);
    forget_all(archive);
    hash_release(&archive->streams);
    hash_release(&archive->groups);
    scan_reader_close(archive->reader);
    seen_rules_free(archive->rules);
    banyan_arena_release(&archive->arena);
    pthread_mutex_destroy(&archive->shared.lock);
    free(archive->categories);
    free(archive);
}

void archive_status(struct archive *archive, struct projections_archive_status *ret)
{
    pthread_mutex_lock(&archive->shared.lock);
    *ret = archive->shared.status;
    pthread_mutex_unlock(&archive->shared.lock);
}
